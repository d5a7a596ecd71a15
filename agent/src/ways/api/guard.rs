//! Who is let in, before anything is done: this machine's programs alone, each with a token.
//!
//! A browser on this machine reaches the API too. A page of another site is told apart by `Origin` and `Sec-Fetch-Site`,
//! one whose name was made to lead here (DNS rebinding) by `Host`; and neither has a token.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use seinhuis_shell::clock;
use seinhuis_shell::lang::Text;
use seinhuis_shell::web::origin::{elsewhere, language, named};

use super::problem::{Problem, in_words};
use super::token::Token;
use super::{BODY_LONGEST, Desk};

/// How long a body may take to come in.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// Most characters of a token.
const TOKEN_MAX: usize = 128;
/// What is told to everybody: that the API is there, and its description.
const OPEN: [&str; 2] = ["/v1/health", "/v1/openapi.json"];

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

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
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
}
