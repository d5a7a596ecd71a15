//! How a daemon's answer, or its complaint, travels over the control socket.

use seinhuis_shared::refusal::Refusal;
use serde_json::{Value, json};

use crate::complaint::{Complaint, Exit};
use crate::lang::Text;

/// The answer as a JSON value.
pub fn encode(answer: Result<Value, Complaint>) -> Value {
    match answer {
        Ok(value) => json!({ "done": value }),
        Err(complaint) => json!({ "complaint": {
            "what": [complaint.what.nl, complaint.what.en],
            "advice": [complaint.advice.nl, complaint.advice.en],
            "exit": complaint.exit.code(),
            "refusal": complaint.refusal.map(Refusal::number),
        }}),
    }
}

/// Reads an answer back.
///
/// # Errors
/// The daemon's complaint; or a bug when the value is no answer.
pub fn decode(mut value: Value) -> Result<Value, Complaint> {
    if let Some(done) = value.get_mut("done") {
        return Ok(done.take());
    }
    let complaint = value.get("complaint").ok_or_else(|| Complaint::bug("an answer of an unknown form"))?;
    let text = |key: &str| {
        let part = |place: usize| {
            complaint.get(key).and_then(|both| both.get(place)).and_then(Value::as_str).unwrap_or_default()
        };
        Text::new(part(0), part(1))
    };
    let refused = complaint.get("exit").and_then(Value::as_u64) == Some(u64::from(Exit::Refused.code()));
    let refusal = complaint
        .get("refusal")
        .and_then(Value::as_u64)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(Refusal::from_number);
    Err(Complaint {
        what: text("what"),
        advice: text("advice"),
        exit: if refused { Exit::Refused } else { Exit::Usage },
        refusal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_complaints_arrive_as_they_left() {
        assert_eq!(decode(encode(Ok(json!({"a": 1})))), Ok(json!({"a": 1})));
        for complaint in [
            Complaint::from_refusal(Refusal::UnknownPartner),
            Complaint::usage(Text::new("wat", "what"), Text::new("dan", "then")),
        ] {
            assert_eq!(decode(encode(Err(complaint.clone()))), Err(complaint));
        }
        assert!(decode(json!(3)).is_err());
    }
}
