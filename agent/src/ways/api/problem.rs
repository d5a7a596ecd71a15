//! What an application is told when something does not go through: RFC 9457, with the number of the refusal table where
//! there is one.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use seinhuis_shared::refusal::{Fault, Lang, Refusal};
use seinhuis_shell::complaint::{Complaint, Exit};
use seinhuis_shell::lang::Text;
use serde_json::json;

use crate::agent::stopped;

/// After how many seconds what fails for a passing reason is worth another try.
const AGAIN: &str = "5";

/// A request that is not answered as was asked.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<Words>);

#[derive(Debug, Clone)]
struct Words {
    status: StatusCode,
    /// What kind it is: the number of a refusal, or a name.
    kind: String,
    title: Text,
    detail: Text,
    advice: Text,
    refusal: Option<Refusal>,
    /// Header fields that say more to a machine.
    more: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of the local API itself, which the refusal table does not know.
    fn new(status: StatusCode, kind: &str, what: Text, advice: Text) -> Self {
        Self(Box::new(Words {
            status,
            kind: kind.to_owned(),
            title: what.clone(),
            detail: what,
            advice,
            refusal: None,
            more: Vec::new(),
        }))
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.0.more.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// No token, or none that counts: which of the two is not told.
    pub(super) fn unauthorised() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorised",
            Text::new(
                "Het verzoek heeft geen token dat hier geldt.",
                "The request has no token that counts here.",
            ),
            Text::new(
                "Stuur Authorization: Bearer met een token van `seinhuis-agent token add`; een verlopen of ingetrokken token werkt niet meer.",
                "Send Authorization: Bearer with a token of `seinhuis-agent token add`; one that ended or was revoked works no more.",
            ),
        )
        .with(WWW_AUTHENTICATE, "Bearer")
    }

    /// A token that does not let do this.
    pub(super) fn not_allowed(right: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not-allowed",
            Text::new(
                format!("Dit token geeft het recht {right} niet."),
                format!("This token does not give the right {right}."),
            ),
            Text::new(
                "Vraag de beheerder van de agent om een token met dat recht (seinhuis-agent token add --allow).",
                "Ask the agent's administrator for a token with that right (seinhuis-agent token add --allow).",
            ),
        )
    }

    /// A page of another site asks, or somebody under another name.
    pub(super) fn from_elsewhere() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            Text::new("Het verzoek komt van een andere site.", "The request comes from another site."),
            Text::new(
                "Deze API is voor programma's op deze machine, niet voor webpagina's van anderen.",
                "This API is for programs on this machine, not for web pages of others.",
            ),
        )
    }

    /// The name in `Host` is not this machine's own.
    pub(super) fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-host",
            Text::new(
                "De naam in Host is niet die van deze API.",
                "The name in Host is not that of this API.",
            ),
            Text::new(
                "Gebruik localhost, 127.0.0.1 of [::1] met de poort uit agent.toml.",
                "Use localhost, 127.0.0.1 or [::1] with the port in agent.toml.",
            ),
        )
    }

    /// There is nothing here, or nothing that this token may know of.
    pub(super) fn nothing() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "nothing-here",
            Text::new("Dit bestaat hier niet.", "There is no such thing here."),
            Text::new(
                "Controleer het adres en de rechten van het token; zie /v1/openapi.json.",
                "Check the address and the rights of the token; see /v1/openapi.json.",
            ),
        )
    }

    /// Another method. The router adds which there are.
    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            Text::new("Deze methode kan hier niet.", "This method is not for here."),
            Text::new("Zie /v1/openapi.json.", "See /v1/openapi.json."),
        )
    }

    /// A body that is too long.
    pub(super) fn too_long() -> Self {
        let mut problem = Self::from_refusal(Refusal::TooLarge);
        problem.0.status = StatusCode::PAYLOAD_TOO_LARGE;
        problem
    }

    /// A body that does not come.
    pub(super) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            Text::new("De inhoud kwam niet op tijd.", "The body did not come in time."),
            Text::new("Stuur het verzoek opnieuw, in één keer.", "Send the request again, in one go."),
        )
    }

    /// A body of another media type.
    pub(super) fn media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            Text::new("De inhoud is geen application/json.", "The body is no application/json."),
            Text::new(
                "Stuur JSON met Content-Type: application/json.",
                "Send JSON with Content-Type: application/json.",
            ),
        )
    }

    /// The value of a field does not read.
    pub(super) fn field(name: &str) -> Self {
        Self::bad(Text::new(
            format!("De waarde van {name} klopt niet."),
            format!("The value of {name} is wrong."),
        ))
    }

    /// A position beyond all there is.
    pub(super) fn beyond() -> Self {
        Self::conflict(
            "beyond",
            Text::new(
                "Zoveel is er niet: de opslag van de agent is een andere dan die waarin deze plaats gold.",
                "There is not so much: the agent's store is another than the one in which this position counted.",
            ),
            Text::new(
                "Begin weer bij 0; een bericht is te herkennen aan zijn msg_id.",
                "Begin at 0 again; a message is recognised by its msg_id.",
            ),
        )
    }

    /// Something is wrong with the agent itself. What, is in its log: it is for its administrator.
    fn trouble(what: &Text) -> Self {
        tracing::error!(what = %what.en, "a request to the local API could not be answered");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "trouble",
            Text::new("Er is iets mis met de agent zelf.", "Something is wrong with the agent itself."),
            Text::new(
                "Vraag de beheerder het log van de agent te bekijken (seinhuis-agent doctor); stuur het daarna opnieuw, met dezelfde sleutel.",
                "Ask the administrator to see the agent's log (seinhuis-agent doctor); then send it again, with the same key.",
            ),
        )
    }

    /// Something in the request is wrong; what, without its value.
    pub(super) fn bad(what: Text) -> Self {
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            what,
            Text::new(
                "Verbeter het en stuur het opnieuw; zie /v1/openapi.json.",
                "Correct it and send it again; see /v1/openapi.json.",
            ),
        );
        problem.0.title = Text::new("Het verzoek klopt niet.", "The request is wrong.");
        problem
    }

    /// What was asked for is not there any more.
    pub(super) fn gone(what: Text) -> Self {
        Self::new(
            StatusCode::GONE,
            "gone",
            what,
            Text::new(
                "De regel blijft; de inhoud komt niet terug. Verwijder ook eigen kopieën.",
                "The row stays; the body does not come back. Remove copies of your own as well.",
            ),
        )
    }

    /// What was asked for cannot be had in this state.
    pub(super) fn conflict(kind: &str, what: Text, advice: Text) -> Self {
        Self::new(StatusCode::CONFLICT, kind, what, advice)
    }

    fn from_refusal(refusal: Refusal) -> Self {
        Self::from(Complaint::from_refusal(refusal))
    }
}

/// Which status says what a refusal says.
fn status(refusal: Refusal) -> StatusCode {
    if matches!(refusal, Refusal::UnknownMessage | Refusal::UnknownCase | Refusal::UnknownCovenant) {
        return StatusCode::NOT_FOUND;
    }
    match refusal.row().fault {
        Fault::Passing | Fault::Broker => StatusCode::SERVICE_UNAVAILABLE,
        Fault::Sender | Fault::Recipient | Fault::Covenant => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<Complaint> for Problem {
    fn from(complaint: Complaint) -> Self {
        let Complaint { what, advice, exit, refusal } = complaint;
        if let Some(refusal) = refusal {
            let status = status(refusal);
            let mut problem = Self::new(status, &format!("refusal:{}", refusal.number()), what, advice);
            problem.0.title = Text::new(refusal.what(Lang::Nl), refusal.what(Lang::En));
            problem.0.refusal = Some(refusal);
            let passes = status == StatusCode::SERVICE_UNAVAILABLE;
            return if passes { problem.with(RETRY_AFTER, AGAIN) } else { problem };
        }
        let ends = stopped();
        if what == ends.what {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", what, advice)
                .with(RETRY_AFTER, AGAIN);
        }
        match exit {
            Exit::Refused => Self::new(StatusCode::CONFLICT, "refused", what, advice),
            Exit::Usage => Self::trouble(&what),
        }
    }
}

/// The problem waits in the response for the language that the request asks for: see [`in_words`].
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Puts the problem that waits in a response into words.
pub(super) fn in_words(mut response: Response, lang: Lang) -> Response {
    let Some(Problem(problem)) = response.extensions_mut().remove::<Problem>() else { return response };
    let text = json!({
        "type": format!("urn:seinhuis:{}", problem.kind),
        "title": problem.title.in_lang(lang),
        "status": problem.status.as_u16(),
        "detail": problem.detail.in_lang(lang),
        "advice": problem.advice.in_lang(lang),
        "refusal": problem.refusal.map(Refusal::number),
        "reason": problem.refusal.map(Refusal::slug),
    });
    *response.body_mut() = Body::from(text.to_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.extend(problem.more);
    response
}
