//! What is handed over as a file: a body with its addressing, or a bare body.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use seinhuis_shell::lang::Text;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::PushText;

/// A signal file: a body with its addressing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal<'a> {
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

/// Reads a file as a push without a message id: with the addressing of a signal file, without any for a bare body.
///
/// # Errors
/// Where a signal file is wrong. The text may hold what is in the file.
pub(crate) fn read(bytes: &[u8]) -> Result<PushText, serde_json::Error> {
    if !is_signal(bytes) {
        return Ok(PushText { body: BASE64.encode(bytes), ..PushText::default() });
    }
    let signal: Signal<'_> = serde_json::from_slice(bytes)?;
    Ok(PushText {
        flow: signal.flow,
        to: signal.to,
        step: signal.step,
        case: signal.case,
        message_type: signal.message_type,
        basis: signal.basis,
        body: BASE64.encode(signal.body.get().as_bytes()),
        ..PushText::default()
    })
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
