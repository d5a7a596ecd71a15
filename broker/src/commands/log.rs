//! The exchange log.

use seinhuis_shared::entry::Entry;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::succession;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::keys;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::{Value, json};

use super::request::{Request, ask};
use crate::export::is_purpose;
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

/// The verifier keys of the logs, for whoever checks an export: of the one that grows, or of all.
pub(super) fn key(home: &Home, all: bool, ui: Ui) -> Result<Outcome, Complaint> {
    let keys = identities(home)?;
    let shown: Vec<&LogKey> = if all { keys.iter().collect() } else { keys.last().into_iter().collect() };
    let lines: Vec<String> = shown.iter().map(|log| log.key.to_string()).collect();
    let json: Vec<Value> =
        shown.iter().map(|log| json!({ "origin": log.origin, "key": log.key.to_string() })).collect();
    let json = if all { Value::Array(json) } else { json.into_iter().next().unwrap_or_default() };
    ui.answer(&Text::same(lines.join("\n")), &json);
    Ok(Outcome::Done)
}

/// The identity of every log, from the first. Before the first run that is the configured one.
pub(super) fn identities(home: &Home) -> Result<Vec<LogKey>, Complaint> {
    let (_, first) = home.log_identity(&home.load_config()?.log_origin)?;
    if !home.store().exists() {
        return Ok(vec![first]);
    }
    let answer = ask(home, &Request::Logs)?;
    let rows = answer.as_array().into_iter().flatten();
    let origins = rows.filter_map(|row| row.get("origin").and_then(Value::as_str));
    origins
        .map(|origin| succession::log_key(origin, &first).map_err(|error| Complaint::bug(error.to_string())))
        .collect()
}

pub(super) fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Logs)?;
    let line = |row: &Value, lang: Lang| {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
        let mut line = format!("{}  {} {}", text("origin"), number("size"), lang.pick("regels", "entries"));
        if row.get("closed") == Some(&Value::Bool(true)) {
            line.push_str(lang.pick(", gesloten", ", closed"));
        }
        if number("removed") > 0 {
            let removed = lang.pick("waarvan de tekst is verwijderd", "with their texts removed");
            line = format!("{line}, {} {removed}", number("removed"));
        }
        format!("{line}  (log/{})", text("folder"))
    };
    let lines = |lang| {
        answer.as_array().into_iter().flatten().map(|row| line(row, lang)).collect::<Vec<_>>().join("\n")
    };
    ui.answer(&Text::new(lines(Lang::Nl), lines(Lang::En)), &answer);
    Ok(Outcome::Done)
}

/// Begins the log of this year by hand.
pub(super) fn roll_over(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    ask(home, &Request::RollOver)?;
    list(home, ui)
}

/// Begins a log under another origin.
pub(super) fn new_origin(home: &Home, origin: &str, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let reason = purpose(reason)?;
    let answer = ask(home, &Request::NewOrigin { origin: origin.to_owned(), reason })?;
    ui.answer(
        &Text::new(
            format!("Begonnen: {origin}. Geen agent volgt dit vanzelf: elke deelnemer beslist met `seinhuis-agent log accept-origin`. Vertel hun waarom, en wat er verloren kan zijn."),
            format!("Begun: {origin}. No agent follows this by itself: every partner decides with `seinhuis-agent log accept-origin`. Tell them why, and what may be lost."),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// Removes texts that are past their term, or tells what is due.
pub(super) fn purge(home: &Home, dry_run: bool, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Purge { dry_run })?;
    let lines = |lang: Lang| {
        let days = answer.get("days").and_then(Value::as_u64);
        let mut lines = vec![match days {
            Some(days) => {
                format!("{}: {days} {}", lang.pick("Bewaartermijn", "Term"), lang.pick("dagen", "days"))
            }
            None => lang
                .pick(
                    "Er is nog geen termijn: geen convenant geladen, en geen [log] retention_days.",
                    "There is no term yet: no covenant loaded, and no [log] retention_days.",
                )
                .to_owned(),
        }];
        for row in answer.get("logs").and_then(Value::as_array).into_iter().flatten() {
            let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
            let origin = row.get("origin").and_then(Value::as_str).unwrap_or_default();
            let (removed, clock, all) = (number("removed"), number("due_by_clock"), number("due_by_all"));
            lines.push(match lang {
                Lang::Nl => format!("{origin}: van {removed} regels is de tekst verwijderd; volgens deze klok kan dat tot {clock}, volgens log en partners ook tot {all}."),
                Lang::En => format!("{origin}: {removed} entries with their texts removed; due up to {clock} by this clock, up to {all} by the log and the partners too."),
            });
        }
        lines.join("\n")
    };
    ui.answer(&Text::new(lines(Lang::Nl), lines(Lang::En)), &answer);
    Ok(Outcome::Done)
}

/// Gives leave to read entries, and prints its token this once.
pub(super) fn grant(home: &Home, text: &str, days: u32, ui: Ui) -> Result<Outcome, Complaint> {
    let token = data_encoding::BASE64URL_NOPAD.encode(&keys::random::<32>());
    let request = Request::Grant { token: sha256(token.as_bytes()).0, purpose: purpose(text)?, days };
    let mut answer = ask(home, &request)?;
    if let Value::Object(answer) = &mut answer {
        answer.insert("token".into(), token.clone().into());
    }
    ui.answer(
        &Text::new(
            format!("{token}\n{days} dagen geldig; wordt niet bewaard en niet nog eens getoond. Dat deze toegang is gegeven staat in het log."),
            format!("{token}\nvalid for {days} days; it is not kept and not shown again. That this access was given is in the log."),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

pub(super) fn grants(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Grants)?;
    let lines = |lang: Lang| {
        let line = |row: &Value| {
            let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = row.get("number").and_then(Value::as_u64).unwrap_or_default();
            let holds = row.get("holds") == Some(&Value::Bool(true));
            let state = if holds { lang.pick("geldig", "valid") } else { lang.pick("voorbij", "over") };
            let until = lang.pick("tot", "until");
            let purpose: String = text("purpose").chars().take(16).collect();
            format!(
                "{number:>4}  {state:8} {}  {until} {}  {} {purpose}",
                text("at"),
                text("until"),
                lang.pick("doel", "purpose")
            )
        };
        answer.as_array().into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
    };
    ui.answer(&Text::new(lines(Lang::Nl), lines(Lang::En)), &answer);
    Ok(Outcome::Done)
}

pub(super) fn revoke_grant(home: &Home, number: u32, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::RevokeGrant { number })?;
    ui.answer(
        &Text::new(format!("Toegang {number} is beëindigd."), format!("Access {number} is ended.")),
        &answer,
    );
    Ok(Outcome::Done)
}

/// A purpose or reason as its hash: the text itself may say too much for the log.
pub(super) fn purpose(text: &str) -> Result<[u8; 32], Complaint> {
    if is_purpose(text) {
        return Ok(sha256(text.as_bytes()).0);
    }
    Err(Complaint::usage(
        Text::new("Dit is geen zin van 10 tot 256 tekens.", "This is no sentence of 10 to 256 characters."),
        Text::new("Schrijf waarom, zonder namen van personen.", "Write why, without names of persons."),
    ))
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
