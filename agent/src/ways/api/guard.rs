//! Who is let in, before anything is done: this machine's programs alone, each with a token.
//!
//! A browser on this machine reaches the API too. A page of another site is told apart by `Origin` and `Sec-Fetch-Site`,
//! one whose name was made to lead here (DNS rebinding) by `Host`; and neither has a token.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST,
    ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::clock;
use seinhuis_shell::lang::Text;

use super::problem::{Problem, in_words};
use super::token::Token;
use super::{BODY_LONGEST, Desk};

/// How long a body may take to come in.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// How far apart it is told that somebody came without a token.
const TOLD_APART: Duration = Duration::from_mins(1);
/// Most characters of a token.
const TOKEN_MAX: usize = 128;
/// What is told to everybody: that the API is there, and its description.
const OPEN: [&str; 2] = ["/v1/health", "/v1/openapi.json"];
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request through with its whole body and whose it is, and dresses what comes back.
pub(super) async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let lang = language(request.headers());
    let (answer, known) = match admit(&desk, &request) {
        Ok(token) => {
            let known = token.is_some();
            (answered(request, token, next).await.unwrap_or_else(IntoResponse::into_response), known)
        }
        Err(problem) => (problem.into_response(), false),
    };
    let mut response = in_words(answer, lang);
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !known {
        // Who has no token keeps no place.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Has a request that was let in answered: with its whole body when it brings a token, with none when it does not.
async fn answered(request: Request, token: Option<Token>, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let mut bytes = Bytes::new();
    if let Some(token) = token {
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > BODY_LONGEST) {
            return Err(Problem::too_long());
        }
        let whole = tokio::time::timeout(BODY_WAIT, to_bytes(body, BODY_LONGEST)).await;
        bytes = whole.map_err(|_| Problem::too_slow())?.map_err(|_| match length {
            Some(_) => Problem::bad(Text::new("De inhoud brak af.", "The body broke off.")),
            None => Problem::too_long(),
        })?;
        parts.extensions.insert(token);
    }
    Ok(explained(next.run(Request::from_parts(parts, Body::from(bytes))).await))
}

/// An answer of the router itself, that there is no such path or method, as a problem.
fn explained(response: Response) -> Response {
    if response.extensions().get::<Problem>().is_some() {
        return response;
    }
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Problem::nothing().into_response(),
        StatusCode::METHOD_NOT_ALLOWED => Problem::method().into_response(),
        _ => response,
    }
}

/// Lets a request in: with its token, or without for what is told to everybody.
fn admit(desk: &Desk, request: &Request) -> Result<Option<Token>, Problem> {
    let headers = request.headers();
    if !named(headers, desk.address) {
        return Err(Problem::misdirected());
    }
    if elsewhere(headers) {
        return Err(Problem::from_elsewhere());
    }
    let open = request.method() == Method::GET && OPEN.contains(&request.uri().path());
    if open { Ok(None) } else { caller(desk, headers).map(Some) }
}

/// The token that a request brings.
fn caller(desk: &Desk, headers: &HeaderMap) -> Result<Token, Problem> {
    let found = bearer(headers).map(|text| desk.tokens.find(text, clock::now())).transpose()?;
    found.flatten().ok_or_else(|| {
        if desk.strangers.tell() {
            tracing::warn!("a request to the local API had no token that counts; told once a minute at most");
        }
        Problem::unauthorised()
    })
}

/// The text of the one token in a request (RFC 6750 §2.1; the scheme in any case, RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, text) = field.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && text.len() <= TOKEN_MAX).then_some(text)
}

/// When it was last told that somebody without a token came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strangers(Arc<Mutex<Option<Instant>>>);

impl Strangers {
    /// Whether it is time to tell of one more.
    pub(crate) fn tell(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= TOLD_APART);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// Whether `Host` names this machine itself, and the port that is listened on. Over a Unix socket there is no port and
/// no browser.
pub(crate) fn named(headers: &HeaderMap, address: Option<SocketAddr>) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return false;
    };
    let Some(address) = address else { return host.split(':').next() == Some("localhost") };
    let port = address.port();
    // A client leaves the usual port out.
    let is = |name: &str| host == format!("{name}:{port}") || (port == 80 && host == name);
    ["localhost", "127.0.0.1", "[::1]"].into_iter().any(is) || host == address.to_string()
}

/// Whether a page of another site asks. Programs that are no browser send neither of these fields.
pub(crate) fn elsewhere(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| origin == format!("http://{host}"));
    let near = |site: &HeaderValue| site == "same-origin" || site == "none";
    !headers.get_all(ORIGIN).iter().all(own) || !headers.get_all(SEC_FETCH_SITE).iter().all(near)
}

/// English for who asks for it first, Dutch for everybody else.
pub(crate) fn language(headers: &HeaderMap) -> Lang {
    let asked = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = asked.split([',', ';', '-']).map(str::trim).find(|tag| matches!(*tag, "nl" | "en"));
    if first == Some("en") { Lang::En } else { Lang::Nl }
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
    fn only_this_machines_own_names_are_answered() {
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 7480)));
        for host in ["127.0.0.1:7480", "localhost:7480", "[::1]:7480"] {
            assert!(named(&headers(&[("host", host)]), address), "{host}");
        }
        for host in [
            "evil.example:7480",
            "localhost",
            "localhost:80",
            "127.0.0.1.evil.example:7480",
            "",
            "LOCALHOST:74800",
        ] {
            assert!(!named(&headers(&[("host", host)]), address), "{host}");
        }
        assert!(!named(&headers(&[]), address));
        assert!(!named(&headers(&[("host", "localhost:7480"), ("host", "evil.example")]), address));
        assert!(named(&headers(&[("host", "localhost")]), None));
        assert!(!named(&headers(&[("host", "evil.example")]), None));
    }

    #[test]
    fn one_token_counts_and_no_more() {
        let text = |fields: &[(&'static str, &'static str)]| bearer(&headers(fields)).map(str::to_owned);
        for scheme in ["Bearer shs_x", "bearer shs_x", "BEARER shs_x"] {
            assert_eq!(text(&[("authorization", scheme)]).as_deref(), Some("shs_x"), "{scheme}");
        }
        for wrong in ["", "Bearer", "Basic shs_x", "shs_x"] {
            assert_eq!(text(&[("authorization", wrong)]), None, "{wrong}");
        }
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]), None);
    }

    #[test]
    fn strangers_are_told_of_once_in_a_while() {
        let strangers = Strangers::default();
        assert!(strangers.tell() && !strangers.tell());
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let with = |name, value| elsewhere(&headers(&[("host", "localhost:7480"), (name, value)]));
        assert!(!elsewhere(&headers(&[("host", "localhost:7480")])));
        assert!(!with("origin", "http://localhost:7480"));
        assert!(!with("sec-fetch-site", "same-origin") && !with("sec-fetch-site", "none"));
        for origin in ["null", "https://localhost:7480", "http://localhost:8080", "http://evil.example"] {
            assert!(with("origin", origin), "{origin}");
        }
        for site in ["cross-site", "same-site", "", "same-origin, none"] {
            assert!(with("sec-fetch-site", site), "{site}");
        }
    }

    #[test]
    fn the_first_language_that_is_spoken_here_counts() {
        for (asked, lang) in [
            ("", Lang::Nl),
            ("nl-NL,nl;q=0.9,en;q=0.8", Lang::Nl),
            ("en-GB,nl;q=0.9", Lang::En),
            ("fr, en", Lang::En),
            ("de", Lang::Nl),
        ] {
            assert_eq!(language(&headers(&[("accept-language", asked)])), lang, "{asked}");
        }
    }
}
