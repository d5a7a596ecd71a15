//! Who is let in, before anything is done: browsers on this machine, people who are signed in, forms that were made for
//! them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use seinhuis_shared::limits::BODY_MAX;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::clock;
use seinhuis_shell::web::form::Form;
use seinhuis_shell::web::origin::{cookie, elsewhere, language, named, says_whence};
use zeroize::Zeroizing;

use super::Desk;
use super::layout;
use super::person::Person;
use super::sign_in;
use super::subjects::{self, ToTell};
use super::trouble::Trouble;

/// Most bytes of a form of somebody who is signed in: a body in which each byte is escaped, and the names of its fields.
const FORM_MAX: usize = 4 * BODY_MAX;
/// Most bytes of any other form.
const STRANGERS_MAX: usize = 256 * 1024;
/// How long a form may take to come in.
const FORM_WAIT: Duration = Duration::from_secs(20);
/// The one cookie.
const COOKIE_NAME: &str = "seinhuis";
/// What needs nobody to be signed in.
const OPEN: [&str; 2] = ["/style.css", "/sign-in"];

/// A person who asks for a page.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    /// Who.
    pub(super) person: Person,
    /// In which language.
    pub(super) lang: Lang,
    /// What every form brings back.
    pub(super) token: String,
    /// The path that is asked for, with its query.
    pub(super) path: String,
    /// What is in the cookie.
    pub(super) cookie: Arc<Zeroizing<String>>,
    /// Who is to be told that there are data about them, for whoever looks after that.
    pub(super) to_tell: Option<ToTell>,
}

/// The language of who is not signed in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaks(pub(super) Lang);

/// Lets a request through with its form and whose it is, and dresses what comes back.
pub(super) async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let asked = language(request.headers());
    let visit = visit(&desk, &request);
    let lang = visit.as_ref().map_or(asked, |visit| visit.lang);
    let known = visit.is_some();
    let answer = answered(&desk, visit.clone(), lang, request, next).await;
    let mut response = answer.unwrap_or_else(Trouble::into_response);
    if let Some(trouble) = response.extensions_mut().remove::<Trouble>() {
        let (title, main) = trouble.told(lang);
        let status = response.status();
        response = layout::page(&desk.name, visit.as_ref(), lang, &title, &main);
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A stricter one has browsers leave out where a form comes from.
        (REFERRER_POLICY, "same-origin"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "interest-cohort=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !known {
        // Who is not signed in keeps no place.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answered(
    desk: &Desk,
    visit: Option<Visit>,
    lang: Lang,
    request: Request,
    next: Next,
) -> Result<Response, Trouble> {
    let headers = request.headers();
    if !named(headers, Some(desk.address)) {
        return Err(Trouble::misdirected());
    }
    let posts = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return Err(Trouble::method()),
    };
    if elsewhere(headers) || (posts && !says_whence(headers)) {
        return Err(Trouble::from_elsewhere());
    }
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let form = if posts { Some(form(&parts.headers, body, visit.is_some()).await?) } else { None };
    if let (Some(visit), Some(form)) = (&visit, &form) {
        let right = sha256(visit.token.as_bytes());
        if !sha256(form.text("token").as_bytes()).is_same_secret(&right) && path != "/sign-in" {
            return Err(Trouble::old_form());
        }
    }
    if visit.is_none() && !OPEN.contains(&path.as_str()) {
        let mut response = sign_in::ask(desk, &parts.uri, form.as_ref(), lang);
        *response.status_mut() =
            if path == "/" && !posts { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        return Ok(response);
    }
    parts.extensions.insert(Speaks(lang));
    if let Some(mut visit) = visit {
        if !OPEN.contains(&path.as_str()) {
            visit.to_tell = subjects::to_tell(desk, &visit).await;
        }
        // What was refused before this, as other sites may ask for, lengthens no session.
        desk.sessions.saw(&visit.cookie, clock::now());
        parts.extensions.insert(visit);
    }
    parts.extensions.insert(form.unwrap_or_default());
    let response = next.run(Request::from_parts(parts, Body::from(Bytes::new()))).await;
    Ok(explained(response))
}

/// An answer of the router itself, that there is no such path or method, as trouble.
fn explained(response: Response) -> Response {
    if response.extensions().get::<Trouble>().is_some() {
        return response;
    }
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Trouble::nothing().into_response(),
        StatusCode::METHOD_NOT_ALLOWED => Trouble::method().into_response(),
        _ => response,
    }
}

/// Who asks, if somebody is signed in and the access code still counts.
fn visit(desk: &Desk, request: &Request) -> Option<Visit> {
    let now = clock::now();
    let cookie = cookie(request.headers(), COOKIE_NAME)?;
    let session = desk.sessions.find(cookie, now)?;
    let Some(person) = desk.persons.still(&session.person, now) else {
        desk.sessions.end(cookie);
        return None;
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let cookie = Arc::new(Zeroizing::new(cookie.to_owned()));
    Some(Visit { person, lang: session.lang, token: session.token, path, cookie, to_tell: None })
}

/// The field that sets the cookie, or takes it away when there is nothing in it.
pub(super) fn set_cookie(value: &str) -> String {
    let age = if value.is_empty() { "; Max-Age=0" } else { "" };
    format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict{age}")
}

async fn form(headers: &HeaderMap, body: Body, known: bool) -> Result<Form, Trouble> {
    let most = if known { FORM_MAX } else { STRANGERS_MAX };
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    // Browsers say how long a form is.
    if length.is_none_or(|length: usize| length > most) {
        return Err(Trouble::too_long());
    }
    let whole = tokio::time::timeout(FORM_WAIT, to_bytes(body, most)).await;
    let bytes = whole.map_err(|_| Trouble::broken_off())?.map_err(|_| Trouble::broken_off())?;
    Ok(Form::read(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_cookie_counts_and_no_more() {
        let of = |fields: &[(&'static str, &'static str)]| {
            cookie(&headers(fields), COOKIE_NAME).map(str::to_owned)
        };
        assert_eq!(of(&[("cookie", "a=b; seinhuis=x; c=d")]).as_deref(), Some("x"));
        assert_eq!(of(&[("cookie", "a=b"), ("cookie", "seinhuis=x")]).as_deref(), Some("x"));
        for wrong in ["", "seinhuis", "seinhuis2=x", "seinhuis=x; seinhuis=y"] {
            assert_eq!(of(&[("cookie", wrong)]), None, "{wrong}");
        }
        assert_eq!(of(&[("cookie", "seinhuis=x"), ("cookie", "seinhuis=y")]), None);
    }

    #[test]
    fn the_cookie_is_for_no_script_and_for_no_other_site() {
        assert_eq!(set_cookie("x"), "seinhuis=x; Path=/; HttpOnly; SameSite=Strict");
        assert!(set_cookie("").ends_with("; Max-Age=0"));
    }
}
