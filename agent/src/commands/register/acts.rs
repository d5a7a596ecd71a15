//! What is done for a person, as requests to whoever has the store: commands and the page ask the same.

use std::collections::BTreeSet;

use seinhuis_agent_core::CorrectionKind;
use seinhuis_shell::complaint::Complaint;
use serde_json::{Map, Value, json};

use super::terms::Terms;
use crate::commands::correct::completed;
use crate::commands::request::Request;
use crate::config::Subjects;

/// Most fields that one correction names (the covenant's schema).
const FIELDS_MAX: usize = 20;
/// Why a body is erased: a ground of the covenant's confirmation of destruction.
const GROUND: &str = "verzoek_betrokkene";
/// What is done with a body that is here.
pub(crate) const ERASED: &str = "erased";

/// One thing that is done with one message about a person.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The message, as [`super::view::of`] gives it.
    pub(crate) message: Value,
    /// What: [`ERASED`], or a kind of correction.
    pub(crate) what: &'static str,
    /// The fields that are wrong, as JSON pointers.
    pub(crate) fields: Vec<String>,
    /// What is asked.
    pub(crate) request: Request,
}

impl Step {
    fn correct(message: &Value, kind: CorrectionKind, fields: &[String], said: &Map<String, Value>) -> Self {
        let mut body = said.clone();
        if !fields.is_empty() {
            body.insert("velden".into(), fields.into());
        }
        let about = message["msg_id"].as_str().unwrap_or_default();
        let request = completed(about, kind, body);
        Self { message: message.clone(), what: kind.as_str(), fields: fields.to_vec(), request }
    }

    /// What came of it.
    pub(crate) fn outcome(&self, result: Result<(), Complaint>) -> Value {
        let problem =
            result.err().map(|complaint| json!({ "nl": complaint.what.nl, "en": complaint.what.en }));
        json!({ "msg_id": self.message["msg_id"], "what": self.what, "problem": problem })
    }
}

/// What a correction or withdrawal says, but for the message it is about.
pub(crate) fn said(reason: &str, note: Option<&str>) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("reden".into(), reason.into());
    body.extend(note.map(|note| ("toelichting".to_owned(), note.into())));
    body
}

/// The messages about a person that were sent, or received, and that count.
pub(crate) fn messages<'v>(found: &'v Value, direction: &'static str) -> impl Iterator<Item = &'v Value> {
    let all = found["messages"].as_array().into_iter().flatten();
    all.filter(move |one| one["direction"] == direction)
}

/// Where in a message this person stands: each place with its fields.
fn places(message: &Value) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
    message["places"].as_array().into_iter().flatten().filter_map(|place| {
        let fields = place["fields"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Some((place["at"].as_str()?, fields))
    })
}

/// The fields that stand in what was sent about a person.
pub(crate) fn sent_fields(found: &Value) -> BTreeSet<&str> {
    messages(found, "sent").flat_map(places).flat_map(|(_, fields)| fields).collect()
}

/// Telling every recipient that a field is wrong; nothing where it stands in no message that was sent.
pub(crate) fn rectifying(found: &Value, field: &str, said: &Map<String, Value>) -> Vec<Step> {
    let mut steps = Vec::new();
    for message in messages(found, "sent") {
        let has = places(message)
            .filter_map(|(at, mut fields)| fields.any(|one| one == field).then(|| format!("{at}/{field}")));
        let pointers: Vec<String> = has.collect();
        let some = pointers.chunks(FIELDS_MAX);
        steps.extend(some.map(|some| Step::correct(message, CorrectionKind::Correction, some, said)));
    }
    steps
}

/// Erasing what was received and withdrawing what was sent, as far as that was not done: doing this once more finishes
/// what failed.
pub(crate) fn erasing(found: &Value, said: &Map<String, Value>) -> Vec<Step> {
    let here = messages(found, "received").filter(|one| one["state"]["erased"].is_null());
    let here = here.map(|message| Step {
        message: message.clone(),
        what: ERASED,
        fields: Vec::new(),
        request: Request::Erase { id: message["position"].to_string(), ground: GROUND.into() },
    });
    let withdrawn = |message: &&Value| {
        let mut all = message["corrections"].as_array().into_iter().flatten();
        all.any(|row| row["kind"] == CorrectionKind::Withdrawal.as_str())
    };
    let there = messages(found, "sent").filter(|message| !withdrawn(message));
    here.chain(there.map(|message| Step::correct(message, CorrectionKind::Withdrawal, &[], said))).collect()
}

/// Whether it was decided of one of these persons that telling is postponed or left out.
pub(crate) fn is_silent(found: &Value) -> bool {
    let persons = found["persons"].as_array().into_iter().flatten();
    persons.filter_map(|one| one["duty"].as_str()).any(|duty| matches!(duty, "postponed" | "exempt"))
}

/// Says of each person who tells. Where another organisation does, nothing is due here.
pub(crate) fn elsewhere(rows: &mut Value, subjects: &Subjects) {
    for row in rows.as_array_mut().into_iter().flatten() {
        // What is not known to be due elsewhere stays.
        let Some(terms) = Terms::read(row) else { continue };
        if !terms.is_own(subjects) {
            (row["due"], row["overdue"]) = (Value::Null, false.into());
        }
        let names: Vec<String> = terms.tellers(subjects).iter().map(ToString::to_string).collect();
        row["informs"] = names.join(", ").into();
    }
}

/// How many persons are to be told by this organisation, and of how many of them it is too late, in the register's part of
/// a status.
pub(crate) fn to_tell(status: &Value, subjects: &Subjects) -> (u64, u64) {
    let due = status["due"].as_array().into_iter().flatten();
    let own = due.filter(|row| Terms::read(row).is_none_or(|terms| terms.is_own(subjects)));
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap_or_default();
    own.fold((0, 0), |(open, late): (u64, u64), row| {
        (open.saturating_add(number(row, "to_tell")), late.saturating_add(number(row, "overdue")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Value {
        let sent = |id: &str, places: Value, corrections: Value| json!({ "msg_id": id, "direction": "sent", "places": places, "corrections": corrections });
        let places: Vec<Value> =
            (0..21).map(|nth| json!({ "at": format!("/p/{nth}"), "fields": ["naam"] })).collect();
        let withdrawn = json!([{ "kind": "withdrawal" }]);
        json!({ "messages": [
            sent("a", places.into(), json!([{ "kind": "correction" }])),
            sent("b", json!([{ "at": "/p/0", "fields": ["plaats"] }]), withdrawn),
            { "msg_id": "c", "direction": "received", "position": 7, "state": { "erased": null } },
            { "msg_id": "d", "direction": "received", "position": 8, "state": { "erased": "2026-01-01" } },
        ] })
    }

    #[test]
    fn a_field_is_corrected_where_it_stands_and_no_correction_names_more_than_the_schema_allows() {
        let steps = rectifying(&found(), "naam", &said("onjuist", None));
        let told: Vec<_> =
            steps.iter().map(|step| (step.message["msg_id"].as_str().unwrap(), step.fields.len())).collect();
        assert_eq!(told, [("a", FIELDS_MAX), ("a", 1)]);
        assert!(rectifying(&found(), "nergens", &said("onjuist", None)).is_empty());
        assert_eq!(sent_fields(&found()), BTreeSet::from(["naam", "plaats"]));
    }

    #[test]
    fn what_others_tell_is_not_due_here_and_not_counted() {
        let subjects = Subjects::default();
        let due = |roles: &[&str], to_tell: u64, overdue: u64| json!({ "terms": { "agreed": [], "not_agreed": roles }, "to_tell": to_tell, "overdue": overdue });
        let status = json!({ "due": [
            due(&["gemeente"], 3, 1), due(&["politie"], 5, 5), due(&["gemeente", "politie"], 1, 0),
        ] });
        assert_eq!(to_tell(&status, &subjects), (4, 1));
        let row = |role: &str| json!({ "terms": { "agreed": [], "not_agreed": [role] }, "due": "2026-01-01", "overdue": true });
        let mut rows = json!([row("gemeente"), row("politie")]);
        elsewhere(&mut rows, &subjects);
        assert!(rows[0]["due"] == "2026-01-01" && rows[0]["overdue"] == true, "{rows}");
        assert!(rows[1]["due"].is_null() && rows[1]["overdue"] == false, "{rows}");
    }

    #[test]
    fn what_was_erased_or_withdrawn_is_left_alone() {
        let steps = erasing(&found(), &said("onrechtmatig", Some("zie brief")));
        let what: Vec<_> =
            steps.iter().map(|step| (step.message["msg_id"].as_str().unwrap(), step.what)).collect();
        assert_eq!(what, [("c", ERASED), ("a", "withdrawal")]);
        let failed = steps[0].outcome(Err(Complaint::bug("x")));
        assert!(!failed["problem"].is_null() && steps[0].outcome(Ok(()))["problem"].is_null());
    }
}
