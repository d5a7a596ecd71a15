//! From where a request comes, before anything is done: browsers that were led here by another site are told apart.
//!
//! A browser reaches what listens on its own machine. A page of another site is told apart by `Origin` and
//! `Sec-Fetch-Site`, one whose name was made to lead here (DNS rebinding) by `Host`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT_LANGUAGE, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};
use seinhuis_shared::refusal::Lang;

/// How far apart it is told that a stranger came.
const TOLD_APART: Duration = Duration::from_mins(1);
/// Most characters of what is in a cookie.
const COOKIE_MAX: usize = 64;
/// The field in which browsers say whose page asks (W3C Fetch Metadata).
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// When it was last told that a stranger came.
#[derive(Debug, Clone, Default)]
pub struct Strangers(Arc<Mutex<Option<Instant>>>);

impl Strangers {
    /// Whether it is time to tell of one more.
    pub fn tell(&self) -> bool {
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
pub fn named(headers: &HeaderMap, address: Option<SocketAddr>) -> bool {
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
pub fn elsewhere(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    elsewhere_than(headers, &format!("http://{host}"))
}

/// Whether a page of another site than this origin asks.
pub fn elsewhere_than(headers: &HeaderMap, own: &str) -> bool {
    let is_own = |origin: &HeaderValue| origin.as_bytes() == own.as_bytes();
    let near = |site: &HeaderValue| site == "same-origin" || site == "none";
    !headers.get_all(ORIGIN).iter().all(is_own) || !headers.get_all(SEC_FETCH_SITE).iter().all(near)
}

/// What is in the cookie of this name; nothing when there are two, of which somebody put one beside it, or when it is
/// longer than a session's.
pub fn cookie<'a>(headers: &'a HeaderMap, named: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut own = all.flat_map(|field| field.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == named && value.len() <= COOKIE_MAX).then_some(value)
    });
    own.next().filter(|_| own.next().is_none())
}

/// English for who asks for it first, Dutch for everybody else.
pub fn language(headers: &HeaderMap) -> Lang {
    let asked = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = asked.split([',', ';', '-']).map(str::trim).find(|tag| matches!(*tag, "nl" | "en"));
    if first == Some("en") { Lang::En } else { Lang::Nl }
}

/// Whether a form says from which page it comes; [`elsewhere`] says whether that is this one. Every browser does.
pub fn says_whence(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
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

    #[test]
    fn a_form_says_whence_it_comes() {
        assert!(says_whence(&headers(&[("origin", "http://localhost:7481")])));
        assert!(says_whence(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!says_whence(&headers(&[("host", "localhost:7481")])));
    }
}
