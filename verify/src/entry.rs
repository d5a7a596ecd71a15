//! One entry of the log (docs/protocol.md, *Entries*).

use crate::json::{self, Value};
use crate::manifest::{Question, is_digest, is_kind, is_oin, is_uuid};

const TEXT: usize = 256;
const CATEGORIES: usize = 2079;
const DETAIL: usize = 64;

/// What a check needs of an entry.
#[derive(Debug, Default)]
pub(crate) struct Entry<'a> {
    pub(crate) time: u64,
    pub(crate) covenant: Option<Value<'a>>,
    kind: Option<Value<'a>>,
    from: Option<Value<'a>>,
    to: Option<Value<'a>>,
    subject: Option<Value<'a>>,
    flow: Option<Value<'a>>,
    case: Option<Value<'a>>,
    result: Option<Value<'a>>,
    reason: Option<u64>,
}

/// What a field holds.
enum Form {
    Number,
    Text(usize),
    Digest,
    Half,
    Oin,
    Uuid,
    Kind,
}

fn form(key: &str) -> Option<Form> {
    Some(match key {
        "v" | "time" | "recipients" | "size_class" | "reason" => Form::Number,
        "kind" => Form::Kind,
        "salt" | "trace" => Form::Half,
        "msg_id" | "case" => Form::Uuid,
        "from" | "to" | "subject" => Form::Oin,
        "key" | "covenant" | "packet" | "statement" => Form::Digest,
        "flow" | "message_type" | "step" | "level" | "purpose" | "basis" | "result" | "activity" => {
            Form::Text(TEXT)
        }
        "categories" => Form::Text(CATEGORIES),
        "detail" => Form::Text(DETAIL),
        _ => return None,
    })
}

fn is_text(text: &str, most: usize) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    !text.is_empty()
        && text.len() <= most
        && if text.is_ascii() {
            text.bytes().all(|b| (0x20..0x7f).contains(&b))
        } else {
            !text.chars().any(forbidden)
        }
}

fn fits(form: &Form, value: &Value<'_>) -> bool {
    let Some(text) = value.text() else { return matches!(form, Form::Number) };
    match form {
        Form::Number => false,
        Form::Text(most) => is_text(text, *most),
        Form::Digest => is_digest(text, 64),
        Form::Half => is_digest(text, 32),
        Form::Oin => is_oin(text),
        Form::Uuid => is_uuid(text),
        Form::Kind => is_kind(text),
    }
}

impl<'a> Entry<'a> {
    /// Reads an entry in its one form.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, String> {
        let mut entry = Self::default();
        let (mut version, mut time, mut salt) = (None, None, false);
        json::object(line, |key, value| {
            let form = form(key).ok_or("is no key of an entry")?;
            if !fits(&form, &value) {
                return Err("has a value it may not have".to_owned());
            }
            let number = if let Value::Number(number) = &value { Some(*number) } else { None };
            if key == "reason" && number == Some(0) {
                return Err("is no number of a refusal".to_owned());
            }
            match key {
                "v" => version = number,
                "time" => time = number,
                "salt" => salt = true,
                "reason" => entry.reason = number,
                "covenant" => entry.covenant = Some(value),
                "kind" => entry.kind = Some(value),
                "from" => entry.from = Some(value),
                "to" => entry.to = Some(value),
                "subject" => entry.subject = Some(value),
                "flow" => entry.flow = Some(value),
                "case" => entry.case = Some(value),
                "result" => entry.result = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        if version != Some(1) {
            return Err("is not of version 1".to_owned());
        }
        entry.time = time.ok_or("has no time")?;
        if entry.kind.is_none() || !salt {
            return Err("has no kind or no salt".to_owned());
        }
        Ok(entry)
    }

    /// Whether the entry belongs to what was asked, the period apart.
    pub(crate) fn belongs(&self, question: &Question) -> bool {
        let is =
            |field: &Option<Value<'_>>, wanted: &str| field.as_ref().and_then(Value::text) == Some(wanted);
        let same = |field: &Option<Value<'_>>, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| is(field, wanted))
        };
        let party = |oin: &String| is(&self.from, oin) || is(&self.to, oin) || is(&self.subject, oin);
        let result = |wanted: &String| {
            if wanted == "accepted" {
                is(&self.result, "accepted") && is(&self.kind, "accepted")
            } else {
                self.reason.is_some_and(|reason| reason.to_string() == *wanted)
            }
        };
        same(&self.flow, &question.flow)
            && same(&self.kind, &question.kind)
            && same(&self.case, &question.case)
            && question.organisation.as_ref().is_none_or(party)
            && question.result.as_ref().is_none_or(result)
    }
}
