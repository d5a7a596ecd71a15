//! What a person is told when something does not go through.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::complaint::{Complaint, Exit};
use seinhuis_shell::lang::Text;

use crate::agent::stopped;

/// A page that is not shown, or something that was not done.
#[derive(Debug, Clone)]
pub(super) struct Trouble(Box<Words>);

#[derive(Debug, Clone)]
struct Words {
    status: StatusCode,
    what: Text,
    advice: Text,
}

impl Trouble {
    fn new(status: StatusCode, what: Text, advice: Text) -> Self {
        Self(Box::new(Words { status, what, advice }))
    }

    /// There is nothing here, or nothing that this person may know of.
    pub(super) fn nothing() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Text::new("Deze pagina bestaat hier niet.", "There is no such page here."),
            Text::new(
                "Ga terug naar het begin. Wie iets mist, vraagt de beheerder naar de rechten van de toegangscode.",
                "Go back to the start. Who misses something asks the administrator for the rights of the access code.",
            ),
        )
    }

    /// The access code does not let do this.
    pub(super) fn not_allowed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new("Uw toegangscode geeft dit recht niet.", "Your access code does not give this right."),
            Text::new(
                "Vraag de beheerder van de agent om dat recht (seinhuis-agent person add --may).",
                "Ask the agent's administrator for that right (seinhuis-agent person add --may).",
            ),
        )
    }

    /// Who made a message wants to release it.
    pub(super) fn four_eyes() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new(
                "U maakte dit bericht zelf; iemand anders beslist erover.",
                "You made this message yourself; somebody else decides about it.",
            ),
            Text::new(
                "Vraag een collega met het recht om vrij te geven.",
                "Ask a colleague with the right to release.",
            ),
        )
    }

    /// A page of another site asks, or something that does not say from where.
    pub(super) fn from_elsewhere() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new("Dit verzoek komt van een andere site.", "This request comes from another site."),
            Text::new(
                "Typ het adres van deze pagina zelf in de adresbalk, of gebruik een bladwijzer.",
                "Type the address of this page in the address bar yourself, or use a bookmark.",
            ),
        )
    }

    /// The name in `Host` is not this machine's own.
    pub(super) fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            Text::new("Deze naam is niet die van deze pagina.", "This name is not that of this page."),
            Text::new(
                "Gebruik localhost of 127.0.0.1 met de poort uit agent.toml.",
                "Use localhost or 127.0.0.1 with the port in agent.toml.",
            ),
        )
    }

    /// A form that is not of this session.
    pub(super) fn old_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new(
                "Dit formulier is niet van deze sessie. Er is niets gedaan.",
                "This form is not of this session. Nothing was done.",
            ),
            Text::new(
                "Open de pagina opnieuw en probeer het nog eens.",
                "Open the page again and try once more.",
            ),
        )
    }

    /// More than a form can be.
    pub(super) fn too_long() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Text::new("Dit is te veel voor één bericht.", "This is too much for one message."),
            Text::new("Maak het korter, of verdeel het.", "Make it shorter, or divide it."),
        )
    }

    /// A form that did not come in whole.
    pub(super) fn broken_off() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Text::new("Het formulier kwam niet heel aan.", "The form did not come in whole."),
            Text::new("Ga terug en verstuur het opnieuw.", "Go back and send it again."),
        )
    }

    /// Too many wrong codes.
    pub(super) fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Text::new("Er zijn te veel verkeerde codes geprobeerd.", "Too many wrong codes were tried."),
            Text::new("Wacht een minuut en probeer het opnieuw.", "Wait a minute and try again."),
        )
    }

    /// Another method than this page has.
    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Text::new("Dit kan op deze pagina niet.", "This cannot be done on this page."),
            Text::new("Ga terug naar het begin.", "Go back to the start."),
        )
    }

    /// The title of the page that tells it, and the page.
    pub(super) fn told(&self, lang: Lang) -> (String, Markup) {
        let (what, advice) = (self.0.what.in_lang(lang), self.0.advice.in_lang(lang));
        let title = lang.pick("Dat ging niet", "That did not work");
        let page = html! {
            h1 { (title) }
            div class="errors" role="alert" {
                p { strong { (what) } }
                p { (advice) }
            }
            p { a href="/" { (lang.pick("Naar het begin", "To the start")) } }
        };
        (title.to_owned(), page)
    }
}

impl From<Complaint> for Trouble {
    fn from(complaint: Complaint) -> Self {
        let Complaint { what, advice, exit, refusal } = complaint;
        match exit {
            Exit::Refused => {
                let status =
                    if refusal.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::CONFLICT };
                Self::new(status, what, advice)
            }
            Exit::Usage if what == stopped().what => Self::new(StatusCode::SERVICE_UNAVAILABLE, what, advice),
            Exit::Usage => {
                tracing::error!(what = %what.en, "the page could not do what was asked");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    Text::new(
                        "Er is iets mis met de agent zelf.",
                        "Something is wrong with the agent itself.",
                    ),
                    Text::new(
                        "Vraag de beheerder het log van de agent te bekijken (seinhuis-agent doctor).",
                        "Ask the administrator to see the agent's log (seinhuis-agent doctor).",
                    ),
                )
            }
        }
    }
}

/// The trouble waits in the response for the page around it: see [`super::guard`].
impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
