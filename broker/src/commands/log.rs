//! The exchange log.

use seinhuis_shared::entry::Entry;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::Value;

use super::request::{Request, ask};
use crate::home::Home;

pub(super) fn tail(home: &Home, lines: u64, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Tail { lines })?;
    let shown: Vec<String> = answer
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| {
            let index = row.get("index")?.as_u64()?;
            let entry = Entry::parse(row.get("entry")?.as_str()?.as_bytes()).ok()?;
            Some(line(index, &entry, ui.lang))
        })
        .collect();
    ui.answer(&Text::same(shown.join("\n")), &answer);
    Ok(Outcome::Done)
}

/// One entry as one line for people.
fn line(index: u64, entry: &Entry, lang: Lang) -> String {
    let mut parts = vec![format!("{index:>8}  {}  {:9}", entry.time, entry.kind.as_str())];
    if let Some(from) = entry.from {
        let to = entry.to.map_or_else(|| "-".to_owned(), |to| to.to_string());
        parts.push(format!("{from} → {to}"));
    }
    parts.extend(entry.flow.clone());
    parts.extend(entry.message_type.clone());
    parts.extend(entry.msg_id.map(|id| id.to_string()));
    parts.extend(entry.subject.map(|oin| oin.to_string()));
    parts.extend(entry.detail.clone());
    if let Some(refusal) = entry.reason.and_then(Refusal::from_number) {
        parts.push(format!("{refusal}: {}", refusal.what(lang)));
    }
    parts.join("  ")
}

/// The verifier key of the log, for whoever checks an export.
pub(super) fn key(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let (_, log) = home.log_identity(&home.load_config()?.log_origin)?;
    let key = log.key.to_string();
    ui.answer(&Text::same(key.clone()), &serde_json::json!({ "origin": log.origin, "key": key }));
    Ok(Outcome::Done)
}

pub(super) fn verify(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Verify)?;
    let checked = answer.get("checked").and_then(Value::as_u64).unwrap_or_default();
    ui.answer(
        &Text::new(
            format!("{checked} logregels opnieuw gehasht; tegels en wortel kloppen."),
            format!("{checked} log entries hashed again; tiles and root are right."),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}
