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
/// The daemon's complaint; or one that says so when the value is no answer, or a complaint without words.
pub fn decode(mut value: Value) -> Result<Value, Complaint> {
    if let Some(done) = value.get_mut("done") {
        return Ok(done.take());
    }
    Err(value.get("complaint").and_then(complaint).unwrap_or_else(unknown_form))
}

/// The complaint in an answer; `None` when one of its texts is missing or empty, since nobody could act on it.
fn complaint(value: &Value) -> Option<Complaint> {
    let text = |key: &str| {
        let both = value.get(key)?;
        let part = |place: usize| both.get(place)?.as_str().filter(|part| !part.trim().is_empty());
        Some(Text::new(part(0)?, part(1)?))
    };
    let refused = value.get("exit").and_then(Value::as_u64) == Some(u64::from(Exit::Refused.code()));
    let refusal = value
        .get("refusal")
        .and_then(Value::as_u64)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(Refusal::from_number);
    Some(Complaint {
        what: text("what")?,
        advice: text("advice")?,
        exit: if refused { Exit::Refused } else { Exit::Usage },
        refusal,
    })
}

fn unknown_form() -> Complaint {
    Complaint::usage(
        Text::new(
            "Het proces dat draait gaf een antwoord van een onbekende vorm.",
            "The process that runs gave an answer of an unknown form.",
        ),
        Text::new(
            "Gebruik van beide dezelfde versie; herstart na een update.",
            "Use the same version of both; restart after an update.",
        ),
    )
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
    }

    #[test]
    fn an_answer_without_words_is_told_to_be_of_an_unknown_form() {
        let words = json!({ "what": ["wat", "what"], "advice": ["dan", "then"], "exit": 1, "refusal": null });
        let whole = json!({ "complaint": words });
        assert_eq!(decode(whole.clone()).unwrap_err().what, Text::new("wat", "what"));
        let mut wrong = vec![json!(3), json!({}), json!({ "complaint": {} }), json!({ "complaint": null })];
        for key in ["what", "advice"] {
            for poor in [
                json!(null),
                json!("wat"),
                json!([]),
                json!(["wat"]),
                json!(["", "what"]),
                json!(["wat", " "]),
            ] {
                let mut answer = whole.clone();
                answer["complaint"][key] = poor;
                wrong.push(answer);
            }
        }
        for answer in wrong {
            let complaint = decode(answer.clone()).unwrap_err();
            assert!(complaint.what.nl.contains("onbekende vorm"), "{answer}: {complaint:?}");
            assert!(complaint.what.en.contains("unknown form"), "{answer}: {complaint:?}");
            assert!(!complaint.advice.nl.is_empty() && !complaint.advice.en.is_empty());
        }
    }
}
