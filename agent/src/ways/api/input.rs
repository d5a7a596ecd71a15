//! Requests read: query, JSON, and the header fields with a meaning of their own.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, Uri};
use seinhuis_shared::ids::TraceId;
use seinhuis_shell::lang::Text;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Number;
use serde_json::error::Category;

use super::problem::Problem;

/// Most characters of an idempotency key.
const KEY_MAX: usize = 255;
/// The greatest whole number that a double holds exactly, and all below it (RFC 7493 §2.2).
const POSITION_MAX: u64 = (1 << 53) - 1;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The parameters of a query, each at most once and each known.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// A parameter that is not among `known`, or is there twice.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) || pairs.iter().any(|(other, _)| *other == name) {
                let known = known.join(", ");
                return Err(Problem::bad(Text::new(
                    format!("Deze parameters bestaan hier, elk hoogstens één keer: {known}."),
                    format!("These parameters exist here, each at most once: {known}."),
                )));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// # Errors
    /// When the value does not read.
    pub(super) fn read<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.text(name).map(|text| text.parse().map_err(|_| parameter(name))).transpose()
    }

    /// A position to begin at, of those that every JSON parser reads exactly.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn from(&self) -> Result<Option<u64>, Problem> {
        match self.read("from")? {
            Some(from) if from > POSITION_MAX => Err(parameter("from")),
            from => Ok(from),
        }
    }

    /// A number from 1 to `most`.
    ///
    /// # Errors
    /// When it is another.
    pub(super) fn limit(&self, usual: usize, most: usize) -> Result<usize, Problem> {
        let limit = self.read("limit")?.unwrap_or(usual);
        if (1..=most).contains(&limit) { Ok(limit) } else { Err(parameter("limit")) }
    }
}

/// Whether the text of a field reads as what it has to be. The text is not repeated.
///
/// # Errors
/// When it does not.
pub(super) fn reads<T: std::str::FromStr>(name: &str, text: Option<&String>) -> Result<(), Problem> {
    let good = text.is_none_or(|text| text.parse::<T>().is_ok());
    if good { Ok(()) } else { Err(Problem::field(name)) }
}

fn parameter(name: &str) -> Problem {
    Problem::bad(Text::new(
        format!("De waarde van de parameter {name} klopt niet."),
        format!("The value of the parameter {name} is wrong."),
    ))
}

/// A body in JSON.
///
/// # Errors
/// Another media type, no JSON, an unknown or missing field. The value of a field is not repeated.
pub(super) fn json<'a, T: Deserialize<'a>>(headers: &HeaderMap, body: &'a [u8]) -> Result<T, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let plain = kind.split(';').next().unwrap_or_default().trim();
    if !plain.eq_ignore_ascii_case("application/json") {
        return Err(Problem::media_type());
    }
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        // Only these say names of fields and no values.
        let names = ["unknown field", "missing field", "duplicate field"];
        let more = if names.iter().any(|start| text.starts_with(start)) {
            format!(": {text}")
        } else {
            String::new()
        };
        let (nl, en) = match error.classify() {
            Category::Data => ("heeft niet de goede velden", "does not have the right fields"),
            Category::Syntax | Category::Eof | Category::Io => ("is geen JSON", "is no JSON"),
        };
        Problem::bad(Text::new(
            format!("De inhoud {nl} (regel {line}, teken {column}){more}."),
            format!("The body {en} (line {line}, character {column}){more}."),
        ))
    })
}

/// A whole number, which JSON may write with a fraction of zero as well.
///
/// # Errors
/// Another number, or none.
pub(super) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(from)? else { return Ok(None) };
    if let Some(number) = number.as_u64() {
        return Ok(Some(number));
    }
    let text = number.to_string();
    let whole = text.strip_suffix(".0").and_then(|digits| digits.parse().ok());
    whole.map(Some).ok_or_else(|| D::Error::custom("not a whole number from 0 on"))
}

/// The key under which an application hands something over: as the header field has it, in quotes or without.
///
/// # Errors
/// When it is missing or not plain text.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let text = headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let plain = bare.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'"' && byte != b'\\');
    if plain && (1..=KEY_MAX).contains(&bare.len()) && headers.get_all(IDEMPOTENCY_KEY).iter().count() == 1 {
        return Ok(bare);
    }
    Err(Problem::bad(Text::new(
        "Idempotency-Key ontbreekt of is geen sleutel van 1 tot 255 leesbare tekens zonder spaties.",
        "Idempotency-Key is missing, or no key of 1 to 255 printable characters without spaces.",
    )))
}

/// The trace a request belongs to (W3C Trace Context); a field that does not read is as none, as the standard says.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceId> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length| {
        text.len() == length
            && text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
    };
    // Later versions may have more parts.
    let whole = version != "00" || parts.next().is_none();
    let form = hex(version, 2) && version != "ff" && hex(flags, 2) && whole;
    let good = form && hex(parent, 16) && parent.bytes().any(|digit| digit != b'0');
    let trace: TraceId = trace.parse().ok()?;
    (good && trace.as_bytes().iter().any(|byte| *byte != 0)).then_some(trace)
}

/// For how many seconds the application would wait for an outcome (RFC 7240, `wait`), at most a minute.
pub(super) fn wait(headers: &HeaderMap) -> Option<u64> {
    let asked = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = asked.flat_map(|value| value.split(','));
    preferences
        .find_map(|one| one.trim().strip_prefix("wait=")?.parse::<u64>().ok())
        .map(|seconds| seconds.min(60))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn keys_are_bare_or_quoted_and_plain() {
        for text in ["zaak-42/7", "\"zaak-42/7\""] {
            assert_eq!(idempotency_key(&with("idempotency-key", text)).unwrap(), "zaak-42/7");
        }
        for text in ["", "\"\"", "a b", "\"a", "a\"b", "a\\b"] {
            assert!(idempotency_key(&with("idempotency-key", text)).is_err(), "{text}");
        }
        assert!(idempotency_key(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_trace_is_taken_over_only_when_it_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = trace(&with("traceparent", good)).unwrap();
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for wrong in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-x",
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ] {
            assert!(super::trace(&with("traceparent", wrong)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_value_that_is_wrong_is_not_repeated() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct One {
            #[expect(dead_code, reason = "only whether it reads counts here")]
            step: u8,
        }
        let headers = with("content-type", "application/json; charset=utf-8");
        let said = |body: &str| format!("{:?}", json::<One>(&headers, body.as_bytes()).unwrap_err());
        assert!(!said("{\"step\":\"Jan Jansen\"}").contains("Jan"));
        assert!(!said("{\"step\":1,}Jan").contains("Jan"));
        assert!(said("{\"stap\":1}").contains("stap"));
        assert!(said("{}").contains("missing field `step`"));
        assert!(json::<One>(&with("content-type", "text/plain"), b"{\"step\":1}").is_err());
        assert_eq!(wait(&with("prefer", "respond-async, wait=100")), Some(60));
    }

    #[test]
    fn whole_numbers_are_whole() {
        #[derive(Deserialize)]
        struct One {
            #[serde(default, deserialize_with = "whole")]
            seconds: Option<u64>,
        }
        let read = |text: &str| serde_json::from_str::<One>(text).map(|one| one.seconds);
        assert_eq!(read("{\"seconds\":552.0}").unwrap(), Some(552));
        assert_eq!(read("{\"seconds\":7}").unwrap(), Some(7));
        assert_eq!((read("{}").unwrap(), read("{\"seconds\":null}").unwrap()), (None, None));
        for wrong in ["1.5", "-1", "-1.0", "1e30", "\"7\"", "true"] {
            assert!(read(&format!("{{\"seconds\":{wrong}}}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_query_has_known_parameters_once() {
        let query = |text: &str| Query::of(&text.parse().unwrap(), &["from", "limit"]);
        let good = query("/x?from=7&limit=3").unwrap();
        assert_eq!((good.from().unwrap(), good.limit(50, 200).unwrap()), (Some(7), 3));
        assert_eq!(query("/x").unwrap().limit(50, 200).unwrap(), 50);
        for wrong in ["/x?from=1&from=2", "/x?other=1", "/x?%66rom=1&from=2"] {
            assert!(query(wrong).is_err(), "{wrong}");
        }
        assert!(query("/x?from=9007199254740992").unwrap().from().is_err());
        for wrong in ["/x?limit=0", "/x?limit=201", "/x?limit=-1", "/x?limit=", "/x?limit=x"] {
            assert!(query(wrong).unwrap().limit(50, 200).is_err(), "{wrong}");
        }
    }
}
