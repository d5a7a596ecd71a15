//! Who is let in, before anything is done: browsers that were not led here by another site, people who are signed in,
//! forms that were made for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::clock;
use seinhuis_shell::web::form::Form;
use seinhuis_shell::web::origin::{cookie, elsewhere_than, language, named, says_whence};
use zeroize::Zeroizing;

use super::Desk;
use super::accounts::Role;
use super::trouble::Trouble;
use super::{Begun, Known, certificates, layout, oidc, sign_in};

/// Most bytes of a form.
const FORM_MAX: usize = 64 * 1024;
/// How long a form may take to come in.
const FORM_WAIT: Duration = Duration::from_secs(20);
/// The cookie of a session. Its name has browsers keep it for this origin alone (RFC 6265bis, section 4.1.3.2).
const COOKIE_NAME: &str = "__Host-seinhuis";
/// What needs nobody to be signed in.
const OPEN: [&str; 6] =
    ["/style.css", "/live.js", sign_in::SIGN_IN, certificates::SIGN_IN, oidc::START, oidc::BACK];
/// Forms of the page that asks who it is: it is of no session, also where another page of the browser began one.
const SIGNING_IN: [&str; 2] = [sign_in::SIGN_IN, certificates::SIGN_IN];
/// What does not count as somebody doing something: a page that follows what happens by itself would never end.
const QUIET: &str = "/live";
/// What browsers may do with a page: nothing that does not come from here, no text in it as script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types seinhuis";

/// From where the console may be asked, and how the connection was made.
#[derive(Debug, Clone)]
pub(super) enum Whence {
    /// On this machine itself.
    Here {
        address: Option<SocketAddr>,
        /// How browsers reach it through a web server in front.
        origin: Option<String>,
    },
    /// Over TLS of the broker's own.
    WithCertificate {
        /// How browsers reach it.
        origin: String,
        /// SHA-256 of the certificate that the connection was made with.
        certificate: Digest,
    },
}

impl Whence {
    pub(super) const fn here(address: Option<SocketAddr>, origin: Option<String>) -> Self {
        Self::Here { address, origin }
    }

    pub(super) fn with_certificate(origin: &str, certificate: Digest) -> Self {
        Self::WithCertificate { origin: origin.to_owned(), certificate }
    }

    /// The certificate that the connection was made with, if it was.
    pub(super) const fn certificate(&self) -> Option<Digest> {
        match self {
            Self::Here { .. } => None,
            Self::WithCertificate { certificate, .. } => Some(*certificate),
        }
    }

    /// How browsers reach it over TLS.
    fn secured(&self) -> Option<&str> {
        match self {
            Self::Here { origin, .. } => origin.as_deref(),
            Self::WithCertificate { origin, .. } => Some(origin),
        }
    }

    /// Whether `Host` names the console.
    fn is_named(&self, headers: &HeaderMap) -> bool {
        let here = match self {
            Self::Here { address: Some(address), .. } => named(headers, Some(*address)),
            Self::Here { address: None, .. } | Self::WithCertificate { .. } => false,
        };
        here || self.is_secured(headers)
    }

    /// Whether it is asked over TLS: of the web server in front, or of its own.
    fn is_secured(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        self.secured().and_then(|origin| origin.strip_prefix("https://")).is_some_and(|name| host == name)
    }

    /// How the browser that asks reaches it: its origin.
    pub(super) fn own(&self, headers: &HeaderMap) -> String {
        match self.secured() {
            Some(origin) if self.is_secured(headers) => origin.to_owned(),
            _ => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                format!("http://{host}")
            }
        }
    }

    /// Whether a page of another site asks.
    fn is_elsewhere(&self, headers: &HeaderMap) -> bool {
        elsewhere_than(headers, &self.own(headers))
    }
}

/// A person who asks for a page.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    /// Who, as people call them.
    pub(super) name: String,
    /// What nobody else is: of an account its name, of who signed in at a provider what that knows them by.
    pub(super) person: String,
    /// In which role.
    pub(super) role: Role,
    /// In which language.
    pub(super) lang: Lang,
    /// What every form brings back.
    pub(super) token: String,
    /// The path that is asked for, with its query.
    pub(super) path: String,
    /// What is in the cookie.
    pub(super) cookie: Arc<Zeroizing<String>>,
}

/// The language of who is not signed in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaks(pub(super) Lang);

/// Lets a request through with its form and whose it is, and dresses what comes back.
pub(super) async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let asked = language(request.headers());
    let secured = desk.whence.is_secured(request.headers());
    let visit = visit(&desk, request.headers(), request.uri().path_and_query().map(PathAndQuery::as_str));
    let lang = visit.as_ref().map_or(asked, |visit| visit.lang);
    let known = visit.is_some();
    let answer = answered(&desk, visit.clone(), lang, request, next).await;
    let mut response = answer.unwrap_or_else(Trouble::into_response);
    if let Some(trouble) = response.extensions_mut().remove::<Trouble>() {
        let (title, main) = trouble.told(lang);
        let status = response.status();
        response = layout::page(&desk, visit.as_ref(), lang, &title, &main);
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A stricter one has browsers leave out where a form comes from.
        (REFERRER_POLICY, "same-origin"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "interest-cohort=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if secured {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
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
    if !desk.whence.is_named(headers) {
        return Err(Trouble::misdirected());
    }
    let posts = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return Err(Trouble::method()),
    };
    // The provider is another site, and leads here: with a sign-in that began here, which is looked at there.
    let led = !posts && request.uri().path() == oidc::BACK;
    if (desk.whence.is_elsewhere(headers) && !led) || (posts && !says_whence(headers)) {
        return Err(Trouble::from_elsewhere());
    }
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let form = if posts { Some(form(&parts.headers, body).await?) } else { None };
    if let (Some(visit), Some(form)) = (&visit, &form) {
        let right = sha256(visit.token.as_bytes());
        if !sha256(form.text("token").as_bytes()).is_same_secret(&right)
            && !SIGNING_IN.contains(&path.as_str())
        {
            return Err(Trouble::old_form());
        }
    }
    if visit.is_none() && !OPEN.contains(&path.as_str()) {
        let mut response = sign_in::ask(desk, &parts.uri, posts, lang);
        *response.status_mut() =
            if path == "/" && !posts { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        return Ok(response);
    }
    parts.extensions.insert(Speaks(lang));
    if let Some(visit) = visit {
        // What was refused before this, as other sites may ask for, lengthens no session.
        if path != QUIET && !led {
            desk.sessions.saw(&visit.cookie, clock::now());
        }
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

/// Begins a session, which counts over connections like this one: without a certificate, or with the same one. What goes
/// into the cookie.
pub(super) fn begin(desk: &Desk, person: &str, known: Known, lang: Lang) -> Zeroizing<String> {
    let begun = Begun { known, certificate: desk.whence.certificate() };
    desk.sessions.begin_with(person, begun, lang, clock::now())
}

/// Who asks, if somebody is signed in and the account is still there.
pub(super) fn visit(desk: &Desk, headers: &HeaderMap, path: Option<&str>) -> Option<Visit> {
    let cookie = cookie(headers, COOKIE_NAME)?;
    let session = desk.sessions.find(cookie, clock::now())?;
    let person = session.person.clone();
    let Begun { known, certificate } = session.known;
    // A cookie that was taken elsewhere counts for nothing, and ends nothing of whose it is.
    if certificate != desk.whence.certificate() {
        return None;
    }
    let (name, role) = match known {
        Known::Provider { name, role } => (name, role),
        Known::Account { mark } => {
            let Some(role) = desk.accounts.still(&session.person, &mark) else {
                desk.sessions.end(cookie);
                return None;
            };
            (session.person, role)
        }
    };
    let cookie = Arc::new(Zeroizing::new(cookie.to_owned()));
    let path = path.unwrap_or("/").to_owned();
    Some(Visit { name, person, role, lang: session.lang, token: session.token, path, cookie })
}

/// The field that sets the cookie, or takes it away when there is nothing in it.
pub(super) fn set_cookie(value: &str) -> String {
    let age = if value.is_empty() { "; Max-Age=0" } else { "" };
    format!("{COOKIE_NAME}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{age}")
}

async fn form(headers: &HeaderMap, body: Body) -> Result<Form, Trouble> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    // Browsers say how long a form is.
    if length.is_none_or(|length: usize| length > FORM_MAX) {
        return Err(Trouble::too_long());
    }
    let whole = tokio::time::timeout(FORM_WAIT, to_bytes(body, FORM_MAX)).await;
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
    fn one_cookie_counts_and_no_more_and_it_is_bound_to_this_origin() {
        let of = |fields: &[(&'static str, &'static str)]| {
            cookie(&headers(fields), COOKIE_NAME).map(str::to_owned)
        };
        assert_eq!(of(&[("cookie", "a=b; __Host-seinhuis=x; c=d")]).as_deref(), Some("x"));
        for wrong in ["", "seinhuis=x", "__host-seinhuis=x", "__Host-seinhuis=x; __Host-seinhuis=y"] {
            assert_eq!(of(&[("cookie", wrong)]), None, "{wrong}");
        }
        assert_eq!(set_cookie("x"), "__Host-seinhuis=x; Path=/; Secure; HttpOnly; SameSite=Strict");
        assert!(set_cookie("").ends_with("; Max-Age=0"));
    }

    #[test]
    fn the_console_has_its_own_names_and_origin_and_no_others() {
        let local = SocketAddr::from(([127, 0, 0, 1], 7490));
        let whence = Whence::here(Some(local), Some("https://console.example".into()));
        let host = |host| headers(&[("host", host)]);
        assert!(whence.is_named(&host("127.0.0.1:7490")) && whence.is_named(&host("console.example")));
        for wrong in ["evil.example", "console.example.evil.example", "console.example:7490", ""] {
            assert!(!whence.is_named(&host(wrong)), "{wrong}");
        }
        assert_eq!(whence.own(&host("console.example")), "https://console.example");
        assert_eq!(whence.own(&host("localhost:7490")), "http://localhost:7490");
        let none = Whence::here(Some(local), None);
        assert!(!none.is_named(&host("console.example")));
        let from = |host, origin| headers(&[("host", host), ("origin", origin)]);
        assert!(!whence.is_elsewhere(&from("console.example", "https://console.example")));
        assert!(!whence.is_elsewhere(&from("127.0.0.1:7490", "http://127.0.0.1:7490")));
        for (host, origin) in [
            ("console.example", "http://console.example"),
            ("console.example", "null"),
            ("console.example", "https://evil.example"),
            ("127.0.0.1:7490", "https://console.example"),
        ] {
            assert!(whence.is_elsewhere(&from(host, origin)), "{host} {origin}");
        }
        let site = headers(&[("host", "console.example"), ("sec-fetch-site", "same-site")]);
        assert!(whence.is_elsewhere(&site));
    }
    #[test]
    fn over_tls_of_its_own_the_console_has_one_name() {
        let own = Whence::with_certificate("https://console.example:7491", Digest([1; 32]));
        let host = |host| headers(&[("host", host)]);
        assert!(own.is_named(&host("console.example:7491")) && own.is_secured(&host("console.example:7491")));
        for wrong in ["127.0.0.1:7491", "localhost:7491", "console.example", "evil.example", ""] {
            assert!(!own.is_named(&host(wrong)), "{wrong}");
        }
        assert_eq!(own.certificate(), Some(Digest([1; 32])));
        let here = Whence::here(None, Some("https://console.example".into()));
        assert!(here.is_named(&host("console.example")) && !here.is_named(&host("localhost")));
        assert_eq!(here.certificate(), None);
    }
}
