//! What was asked, and what the bundle says of itself.

use crate::json::{self, Value};
use crate::{Key, Proves};

/// The largest integer, 2⁵³ − 1.
pub(crate) const MOST: u64 = (1 << 53) - 1;

const KINDS: [&str; 19] = [
    "accepted",
    "refused",
    "delivered",
    "expired",
    "shredded",
    "covenant",
    "case",
    "key",
    "key-rotated",
    "partner",
    "start",
    "stop",
    "consumed",
    "withdrawn",
    "export",
    "operator",
    "closing",
    "opening",
    "purged",
];

/// What was asked for; what was not asked is absent.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) from: Option<u64>,
    pub(crate) until: Option<u64>,
    pub(crate) organisation: Option<String>,
    pub(crate) flow: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) case: Option<String>,
}

impl Question {
    /// Whether nothing but a period was asked for.
    pub(crate) fn is_period(&self) -> bool {
        [&self.organisation, &self.flow, &self.kind, &self.result, &self.case].iter().all(|key| key.is_none())
    }
}

/// `manifest.json`.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) size: u64,
    pub(crate) count: u64,
    pub(crate) purpose: String,
    pub(crate) asked_by: Option<String>,
    pub(crate) proves: Proves,
    pub(crate) question: Question,
}

pub(crate) fn is_kind(text: &str) -> bool {
    KINDS.contains(&text)
}

pub(crate) fn is_digest(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(crate) fn is_oin(text: &str) -> bool {
    text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

fn is_result(text: &str) -> bool {
    text == "accepted" || json::decimal(text.as_bytes()).is_some_and(|n| n <= MOST)
}

impl Manifest {
    /// Reads the manifest of an export of the log with this key.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn parse(bytes: &[u8], key: &Key) -> Result<Self, String> {
        let (mut format, mut origin, mut log_key) = (None, None, None);
        let (mut size, mut count, mut created) = (None, None, None);
        let (mut purpose, mut proves, mut asked_by) = (None, None, None);
        let mut question = Question::default();
        json::object(bytes, |name, value| {
            let (number, text) = match value {
                Value::Number(number) => (Some(number), None),
                Value::Plain(text) => (None, Some(text.to_owned())),
                Value::Text(text) => (None, Some(text)),
            };
            let (numbers, texts, fits): (_, _, fn(&str) -> bool) = match name {
                "size" => (Some(&mut size), None, is_any),
                "count" => (Some(&mut count), None, is_any),
                "created" => (Some(&mut created), None, is_any),
                "from" => (Some(&mut question.from), None, is_any),
                "until" => (Some(&mut question.until), None, is_any),
                "format" => (None, Some(&mut format), is_any),
                "origin" => (None, Some(&mut origin), is_any),
                "log_key" => (None, Some(&mut log_key), is_any),
                "purpose" => (None, Some(&mut purpose), is_any),
                "proves" => (None, Some(&mut proves), is_any),
                "asked_by" => (None, Some(&mut asked_by), is_any),
                "organisation" => (None, Some(&mut question.organisation), is_oin),
                "flow" => (None, Some(&mut question.flow), is_any),
                "kind" => (None, Some(&mut question.kind), is_kind),
                "result" => (None, Some(&mut question.result), is_result),
                "case" => (None, Some(&mut question.case), is_uuid),
                _ => return Err("is no key of a manifest".to_owned()),
            };
            match (numbers, texts, number, text) {
                (Some(place), None, Some(number), None) => *place = Some(number),
                (None, Some(place), None, Some(text)) if !text.is_empty() && fits(&text) => {
                    *place = Some(text);
                }
                _ => return Err("has a value it may not have".to_owned()),
            }
            Ok(())
        })?;
        let absent = |name: &str| format!("has no {name}");
        if format.ok_or_else(|| absent("format"))? != "seinhuis/export/1" {
            return Err("is of another format".to_owned());
        }
        if origin.ok_or_else(|| absent("origin"))? != key.origin() {
            return Err("is of another log".to_owned());
        }
        if log_key.ok_or_else(|| absent("log_key"))? != key.text() {
            return Err("names another key".to_owned());
        }
        created.ok_or_else(|| absent("created"))?;
        let proves = match proves.as_deref() {
            Some("complete") => Proves::Complete,
            Some("selection") => Proves::Selection,
            Some(_) | None => return Err("does not say whether it proves complete or selection".to_owned()),
        };
        Ok(Self {
            size: size.ok_or_else(|| absent("size"))?,
            count: count.ok_or_else(|| absent("count"))?,
            purpose: purpose.ok_or_else(|| absent("purpose"))?,
            asked_by,
            proves,
            question,
        })
    }
}

fn is_any(_: &str) -> bool {
    true
}
