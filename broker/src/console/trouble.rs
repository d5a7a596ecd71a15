//! What a person is told when something does not go through.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::complaint::{Complaint, Exit};
use seinhuis_shell::lang::Text;

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

    /// There is nothing here.
    pub(super) fn nothing() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Text::new("Dit is hier niet.", "This is not here."),
            Text::new("Ga terug, of kies een onderdeel.", "Go back, or choose a part."),
        )
    }

    /// The role does not let do this.
    pub(super) fn not_allowed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new("Uw rol geeft dit recht niet.", "Your role does not give this right."),
            Text::new(
                "Vraag iemand met een rol die dit mag (docs/operating.md). Er is niets gedaan.",
                "Ask somebody in a role that may do this (docs/operating.md). Nothing was done.",
            ),
        )
    }

    /// Somebody agrees to what they asked for themselves.
    pub(super) fn own_request() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new("U vroeg dit zelf.", "You asked for this yourself."),
            Text::new(
                "Een ander met hetzelfde recht gaat akkoord. Er is niets gedaan.",
                "Somebody else with the same right agrees. Nothing was done.",
            ),
        )
    }

    /// Something was to be done without a reason.
    pub(super) fn no_reason() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Text::new(
                "Er staat geen reden bij, of een te lange.",
                "There is no reason with it, or one that is too long.",
            ),
            Text::new(
                "Ga terug en schrijf in een zin waarom, hoogstens 500 tekens. Er is niets gedaan.",
                "Go back and write why in a sentence, 500 characters at most. Nothing was done.",
            ),
        )
    }

    /// What is asked of the log cannot be asked so.
    pub(super) fn not_asked() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Text::new("Deze vraag aan het logboek kan zo niet.", "The log cannot be asked this way."),
            Text::new(
                "Dagen als 2026-01-31, de eerste voor de laatste; een OIN van 20 cijfers; een doel van 10 tot 256 tekens.",
                "Days as 2026-01-31, the first before the last; an OIN of 20 digits; a purpose of 10 to 256 characters.",
            ),
        )
    }

    /// Something of this kind is under way.
    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            Text::new("Het is hier nu te druk.", "It is too busy here now."),
            Text::new("Wacht even en probeer het opnieuw.", "Wait a moment and try again."),
        )
    }

    /// The accounts cannot be read. Which file it is and what is wrong with it is for the log, and not for whoever asks.
    pub(super) fn out_of_order(complaint: &Complaint) -> Self {
        tracing::error!("{}", complaint.what.en);
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Text::new("Aanmelden kan nu niet.", "Signing in is not possible now."),
            Text::new(
                "Wie de broker beheert ziet in het logbestand van de broker waarom.",
                "Who keeps the broker sees why in the broker's log file.",
            ),
        )
    }

    /// There is too little room on the disk, or there are too many exports already.
    pub(super) fn no_room() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            Text::new("Er is geen ruimte voor nog een export.", "There is no room for another export."),
            Text::new(
                "Haal de exports op die er staan en verwijder ze uit de map exports van de broker, of maak ruimte op de schijf.",
                "Fetch the exports that are there and remove them from the broker's folder exports, or make room on the disk.",
            ),
        )
    }

    /// A form that was carried out before.
    pub(super) fn done_before() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            Text::new("Dit formulier is al uitgevoerd.", "This form was carried out already."),
            Text::new("Kijk bij Beheer wat er is gebeurd.", "See under Acts what happened."),
        )
    }

    /// A page of another site asks, or something that does not say from where.
    pub(super) fn from_elsewhere() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new("Dit verzoek komt van een andere site.", "This request comes from another site."),
            Text::new(
                "Typ het adres van de console zelf in de adresbalk, of gebruik een bladwijzer.",
                "Type the address of the console in the address bar yourself, or use a bookmark.",
            ),
        )
    }

    /// The name in `Host` is not the console's own.
    pub(super) fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            Text::new("Deze naam is niet die van deze console.", "This name is not that of this console."),
            Text::new(
                "Gebruik localhost met de poort uit broker.toml, of de naam in console.origin of console.certificates.origin.",
                "Use localhost with the port in broker.toml, or the name in console.origin or console.certificates.origin.",
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
            Text::new("Dit is te veel.", "This is too much."),
            Text::new("Maak het korter.", "Make it shorter."),
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

    /// Too many wrong passwords.
    pub(super) fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Text::new("Er is te vaak verkeerd aangemeld.", "There were too many wrong sign-ins."),
            Text::new("Wacht een minuut en probeer het opnieuw.", "Wait a minute and try again."),
        )
    }

    /// The certificate is of no account.
    pub(super) fn no_account() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new(
                "Het certificaat dat uw browser toont hoort bij geen account.",
                "The certificate that your browser shows belongs to no account.",
            ),
            Text::new(
                "Sluit de browser en kies een ander certificaat, of vraag wie de broker beheert om een account met dit certificaat.",
                "Close the browser and choose another certificate, or ask who keeps the broker for an account with this certificate.",
            ),
        )
    }

    /// A sign-in at the provider that did not begin in this browser, or is over.
    pub(super) fn not_begun() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Text::new(
                "Deze aanmelding is niet in deze browser begonnen, of is voorbij.",
                "This sign-in did not begin in this browser, or is over.",
            ),
            Text::new(
                "Begin opnieuw op de console, in deze browser. Een aanmelding duurt hoogstens tien minuten en telt één keer.",
                "Begin again at the console, in this browser. A sign-in takes ten minutes at most and counts once.",
            ),
        )
    }

    /// More sign-ins at the provider at a time than are looked at.
    pub(super) fn many_at_a_time() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Text::new(
                "Er melden zich op dit moment te veel mensen aan.",
                "Too many people are signing in at this moment.",
            ),
            Text::new("Probeer het zo weer.", "Try again in a moment."),
        )
    }

    /// The provider gave nothing that can be used.
    pub(super) fn provider_is_away() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            Text::new(
                "De aanmelddienst van uw organisatie gaf geen bruikbaar antwoord.",
                "The sign-in service of your organisation gave no answer that can be used.",
            ),
            Text::new(
                "Probeer het opnieuw. Blijft het zo, vraag dan wie de broker beheert: de reden staat in het logbestand van de broker, en seinhuis-broker operator login geeft een eenmalige code.",
                "Try again. If it stays, ask who keeps the broker: its log file has the reason, and seinhuis-broker operator login gives a code for one sign-in.",
            ),
        )
    }

    /// The provider said no.
    pub(super) fn provider_refused() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new(
                "De aanmelddienst van uw organisatie heeft de aanmelding geweigerd.",
                "The sign-in service of your organisation refused the sign-in.",
            ),
            Text::new(
                "Begin opnieuw. Blijft het zo, vraag dan wie die dienst beheert of u de console mag gebruiken.",
                "Begin again. If it stays, ask who keeps that service whether you may use the console.",
            ),
        )
    }

    /// The provider knows the person, who has no role here.
    pub(super) fn no_role() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Text::new("U hebt geen rol op deze console.", "You have no role on this console."),
            Text::new(
                "Uw aanmelding klopt, maar geen van uw rechten bij de aanmelddienst hoort bij een rol hier. Vraag wie de broker beheert om een rol.",
                "Your sign-in is right, but none of your rights at the sign-in service goes with a role here. Ask who keeps the broker for a role.",
            ),
        )
    }

    /// Another method than this page has.
    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Text::new("Dit kan hier niet.", "This cannot be done here."),
            Text::new("Ga terug, of kies een onderdeel.", "Go back, or choose a part."),
        )
    }

    /// The title of the page that tells it, and the page.
    pub(super) fn told(&self, lang: Lang) -> (String, Markup) {
        let (what, advice) = (self.0.what.in_lang(lang), self.0.advice.in_lang(lang));
        let title = lang.pick("Dat ging niet", "That did not work");
        let page = html! {
            h1 { (title) }
            div class="trouble" role="alert" {
                p { strong { (what) } }
                p { (advice) }
            }
            p { a href="/" { (lang.pick("Naar Nu", "To Now")) } }
        };
        (title.to_owned(), page)
    }
}

impl From<Complaint> for Trouble {
    fn from(complaint: Complaint) -> Self {
        let Complaint { what, advice, exit, .. } = complaint;
        let status = match exit {
            Exit::Refused => StatusCode::CONFLICT,
            Exit::Usage => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, what, advice)
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let status = self.0.status;
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
