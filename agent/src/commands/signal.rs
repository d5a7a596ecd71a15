//! What is handed over as a file: a body with its addressing, or a bare body.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::value::RawValue;

use super::request::PushText;

/// A signal file: a body with its addressing. `I` says whether it may have an id of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal<'a, I: Default> {
    #[serde(default)]
    id: I,
    flow: String,
    #[serde(default)]
    to: Vec<String>,
    step: Option<String>,
    case: Option<String>,
    #[serde(rename = "type")]
    message_type: Option<String>,
    basis: Option<String>,
    /// The sender's role; the covenant decides, so this is only for the reader of the file.
    #[serde(rename = "from")]
    _from: Option<String>,
    /// A text that samples look for in stored files.
    #[serde(rename = "canary")]
    _canary: Option<String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// No id: a file is known by what is in it, or by what the command says.
#[derive(Debug, Default)]
struct NoId;

impl<'de> Deserialize<'de> for NoId {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("unknown field `id`"))
    }
}

/// Reads a file as a push without a message id: with the addressing of a signal file, without any for a bare body.
///
/// # Errors
/// Where a signal file is wrong. The text may hold what is in the file.
pub(crate) fn read(bytes: &[u8]) -> Result<PushText, serde_json::Error> {
    if !is_signal(bytes) {
        return Ok(PushText { body: BASE64.encode(bytes), ..PushText::default() });
    }
    let signal: Signal<'_, NoId> = serde_json::from_slice(bytes)?;
    Ok(signal.text())
}

/// Reads a line as [`read`] does, with the id by which a script knows it: as the key of the push.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_line(bytes: &[u8]) -> Result<PushText, serde_json::Error> {
    if !is_signal(bytes) {
        // A line that is cut short is no body either.
        serde_json::from_slice::<&RawValue>(bytes)?;
        return read(bytes);
    }
    let mut signal: Signal<'_, Option<String>> = serde_json::from_slice(bytes)?;
    let key = signal.id.take();
    Ok(PushText { key, ..signal.text() })
}

impl<I: Default> Signal<'_, I> {
    fn text(self) -> PushText {
        PushText {
            flow: self.flow,
            to: self.to,
            step: self.step,
            case: self.case,
            message_type: self.message_type,
            basis: self.basis,
            body: BASE64.encode(self.body.get().as_bytes()),
            ..PushText::default()
        }
    }
}

/// Where a signal is wrong, without what stands there.
pub(crate) fn wrong(error: &serde_json::Error) -> Complaint {
    let (line, column) = (error.line(), error.column());
    Complaint::usage(
        Text::new(
            format!("Dit is geen goed sein: de fout staat op regel {line}, teken {column}."),
            format!("This is not a good signal: the mistake is in line {line}, character {column}."),
        ),
        allowed(),
    )
}

/// What a signal file may hold, as advice.
pub(crate) fn allowed() -> Text {
    Text::new(
        "Toegestaan zijn flow, type, from, to, step, case, basis, canary en body.",
        "Allowed are flow, type, from, to, step, case, basis, canary and body.",
    )
}

/// Whether a file is a body with its addressing rather than a bare body.
fn is_signal(bytes: &[u8]) -> bool {
    let keys = serde_json::from_slice::<BTreeMap<String, &RawValue>>(bytes).unwrap_or_default();
    keys.contains_key("flow") && keys.contains_key("body")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_its_own_is_for_lines_alone_and_a_bare_body_may_have_any_field() {
        let signal = br#"{"id": "zaak-42", "flow": "F01", "to": ["om"], "body": {"id":  7}}"#;
        let text = read_line(signal).unwrap();
        assert_eq!((text.key.as_deref(), text.flow.as_str()), (Some("zaak-42"), "F01"));
        assert_eq!(BASE64.decode(text.body.as_bytes()).unwrap(), br#"{"id":  7}"#);
        let error = read(signal).unwrap_err();
        assert!(error.to_string().contains("unknown field `id`") && error.line() == 1, "{error}");
        let bare = read_line(br#"{"id": 7}"#).unwrap();
        assert_eq!((bare.key, bare.body), (None, read(br#"{"id": 7}"#).unwrap().body));
        for twice in [
            &br#"{"flow": "F01", "flow": "F02", "body": {}}"#[..],
            br#"{"id": 7, "flow": "F01", "body": {}}"#,
        ] {
            assert!(read_line(twice).is_err());
        }
    }
}
