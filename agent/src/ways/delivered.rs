//! A delivery as text: what is known of the message, and its body byte for byte as its sender wrote it.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use seinhuis_shell::complaint::Complaint;
use serde_json::Value;
use serde_json::value::RawValue;

/// A message as `inbox read` gives it, with its body as JSON where it is JSON.
pub(crate) fn text(message: Value) -> Result<String, Complaint> {
    let raw = message.get("body").and_then(Value::as_str).and_then(body);
    with_raw(message, "body", raw)
}

/// An object as JSON in which a field is exactly this text; as it was, without.
pub(super) fn with_raw(object: Value, field: &str, raw: Option<Box<RawValue>>) -> Result<String, Complaint> {
    let bug = |error: serde_json::Error| Complaint::bug(error.to_string());
    let Value::Object(fields) = object else { return Err(Complaint::bug("a message that is no object")) };
    let mut parts = BTreeMap::new();
    for (key, value) in fields {
        parts.insert(key, serde_json::value::to_raw_value(&value).map_err(bug)?);
    }
    parts.extend(raw.map(|raw| (field.to_owned(), raw)));
    serde_json::to_string(&parts).map_err(bug)
}

/// A body that is JSON, out of base64.
fn body(text: &str) -> Option<Box<RawValue>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    RawValue::from_string(String::from_utf8(bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_as_its_sender_wrote_it() {
        let with = |body: &[u8]| text(json!({ "a": 1, "body": BASE64.encode(body) })).unwrap();
        assert_eq!(with(b"{\"x\":  1.0}"), "{\"a\":1,\"body\":{\"x\":  1.0}}");
        assert_eq!(with(b"\xff"), "{\"a\":1,\"body\":\"/w==\"}", "what is no JSON stays base64");
        assert_eq!(text(json!({ "a": 1 })).unwrap(), "{\"a\":1}", "without a body");
    }
}
