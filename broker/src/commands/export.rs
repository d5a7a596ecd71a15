//! Exports for auditors.

use std::path::PathBuf;

use clap::Args;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{CaseId, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::lang::Text;
use serde_json::Value;

use super::request::{Request, ask};
use super::watch;
use crate::export::{Question, is_purpose};
use crate::home::Home;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Why the export is made; stands in the bundle, and its hash in the log
    #[arg(long)]
    purpose: String,
    /// Who asked for it: an organisation and a function, no person
    #[arg(long)]
    asked_by: Option<String>,
    /// The file to write; it must not exist
    #[arg(long)]
    out: PathBuf,
    /// Of which log: its origin, or the name of its folder, such as 2026; the one that grows when left out
    #[arg(long)]
    log: Option<String>,
    /// From this date or instant on, such as 2026-01-01 or 2026-01-01T12:00:00Z
    #[arg(long, value_parser = instant)]
    from: Option<Timestamp>,
    /// Before this date or instant
    #[arg(long, value_parser = instant)]
    until: Option<Timestamp>,
    /// Only what this organisation sent, received or is the subject of
    #[arg(long)]
    organisation: Option<Oin>,
    /// Only this flow
    #[arg(long)]
    flow: Option<String>,
    /// Only what happened so, such as accepted, refused or delivered
    #[arg(long)]
    kind: Option<String>,
    /// Only this result: accepted, or the number of a refusal
    #[arg(long)]
    result: Option<String>,
    /// Only this case, by its pseudonym
    #[arg(long)]
    case: Option<CaseId>,
    /// Only the evidence: no tables, no workbook, no report
    #[arg(long)]
    without_views: bool,
    /// Go on with an export that was interrupted, where it stopped
    #[arg(long)]
    resume: bool,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .ok_or_else(|| "write a date as 2026-01-31 or an instant as 2026-01-31T12:00:00Z".into())
}

pub(super) fn export(home: &Home, asked: Export, ui: Ui) -> Result<Outcome, Complaint> {
    let out =
        std::path::absolute(&asked.out).map_err(|error| Complaint::io(Doing::Write, &asked.out, &error))?;
    let (log, resume, views) = (asked.log.clone(), asked.resume, !asked.without_views);
    let question = question(asked)?;
    let request = Request::Export { log, question, out: out.clone(), resume, views };
    let answer = watch::while_waiting(ui, &out, || ask(home, &request))?;
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
    let complete = answer.get("complete").and_then(Value::as_bool) == Some(true);
    let (entries, size, at) = (number("entries"), number("size"), out.display());
    let (nl, en) = if complete {
        ("volledig over de periode", "complete for the period")
    } else {
        (
            "een selectie: elke regel bewezen, volledigheid niet",
            "a selection: each entry proved, completeness not",
        )
    };
    ui.answer(
        &Text::new(
            format!("Geschreven: {at}, {entries} van {size} logregels; {nl}."),
            format!("Written: {at}, {entries} of {size} log entries; {en}."),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

fn wrong(nl: &str, en: &str, nl_advice: &str, en_advice: &str) -> Complaint {
    Complaint::usage(Text::new(nl, en), Text::new(nl_advice, en_advice))
}

/// Checks what people wrote in their own words.
fn sentences(purpose: &str, asked_by: Option<&str>) -> Result<(), Complaint> {
    if !is_purpose(purpose) {
        return Err(wrong(
            "Het doel is geen zin van 10 tot 256 tekens.",
            "The purpose is no sentence of 10 to 256 characters.",
            "Schrijf waarom de export wordt gemaakt, zonder namen van personen.",
            "Write why the export is made, without names of persons.",
        ));
    }
    if asked_by
        .as_ref()
        .is_some_and(|who| who.trim().is_empty() || who.len() > 256 || who.chars().any(char::is_control))
    {
        return Err(wrong(
            "Wie de export vroeg is geen tekst van 1 tot 256 tekens.",
            "Who asked for the export is no text of 1 to 256 characters.",
            "Schrijf een organisatie en een functie, geen naam van een persoon.",
            "Write an organisation and a function, no name of a person.",
        ));
    }
    Ok(())
}

fn question(asked: Export) -> Result<Question, Complaint> {
    let Export {
        purpose,
        asked_by,
        from,
        until,
        organisation,
        flow,
        kind,
        result,
        case,
        out: _,
        log: _,
        without_views: _,
        resume: _,
    } = asked;
    sentences(&purpose, asked_by.as_deref())?;
    if from.zip(until).is_some_and(|(from, until)| from >= until) {
        return Err(wrong(
            "De periode eindigt voor zij begint.",
            "The period ends before it begins.",
            "Wissel --from en --until om.",
            "Swap --from and --until.",
        ));
    }
    if kind.as_deref().is_some_and(|kind| kind.parse::<Kind>().is_err()) {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        return Err(wrong(
            "Zo'n soort regel bestaat niet.",
            "There is no such kind of entry.",
            &format!("Kies uit: {}.", kinds.join(", ")),
            &format!("Choose from: {}.", kinds.join(", ")),
        ));
    }
    let known = |result: &str| {
        let number = result.parse().ok().and_then(Refusal::from_number);
        result == Kind::Accepted.as_str() || number.is_some_and(|one| one.number().to_string() == result)
    };
    if result.as_deref().is_some_and(|result| !known(result)) {
        return Err(wrong(
            "Zo'n resultaat bestaat niet.",
            "There is no such result.",
            "Schrijf accepted, of het nummer van een weigering (docs/refusals.md).",
            "Write accepted, or the number of a refusal (docs/refusals.md).",
        ));
    }
    Ok(Question {
        purpose,
        asked_by,
        from,
        until,
        organisation,
        flow,
        kind,
        result,
        case: case.map(|case| case.to_string()),
    })
}
