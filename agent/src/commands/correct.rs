//! Saying that an own message is wrong, and following who confirmed it.

use std::path::Path;

use data_encoding::BASE64;
use seinhuis_agent_core::rows::{CorrectionRow, CorrectionState, table};
use seinhuis_agent_core::{CorrectionKind, Write};
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::limits::BODY_MAX;
use seinhuis_shared::time::Span;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::{clock, files};
use serde_json::{Map, Value, json};

use super::request::{Request, ask};
use super::{messages, present};
use crate::engine::View;
use crate::home::Home;

/// In how many days recipients are asked to confirm, unless the file says otherwise.
const CONFIRM_DAYS: u64 = 14;

pub(super) fn correct(home: &Home, about: &str, file: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let bytes = files::read_or_stdin(file, BODY_MAX)?;
    let body: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| {
        Complaint::usage(
            Text::new(
                format!("{} is geen JSON-object: {error}.", file.display()),
                format!("{} is no JSON object: {error}.", file.display()),
            ),
            Text::new(
                "Geef `velden` (JSON-pointers), `reden` en zo nodig `toelichting`.",
                "Give `velden` (JSON pointers), `reden` and, if needed, `toelichting`.",
            ),
        )
    })?;
    say(home, about, CorrectionKind::Correction, body, ui)
}

pub(super) fn withdraw(
    home: &Home,
    about: &str,
    reason: &str,
    note: Option<&str>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let mut body = Map::new();
    body.insert("reden".into(), reason.into());
    if let Some(note) = note {
        body.insert("toelichting".into(), note.into());
    }
    say(home, about, CorrectionKind::Withdrawal, body, ui)
}

/// What is said of a message, with what may be left out filled in.
pub(crate) fn completed(about: &str, kind: CorrectionKind, mut body: Map<String, Value>) -> Request {
    body.entry("bericht").or_insert_with(|| about.into());
    body.entry("bevestigen_voor").or_insert_with(|| {
        let day = clock::now().plus(Span::days(CONFIRM_DAYS)).to_string();
        day.chars().take(10).collect::<String>().into()
    });
    let body = BASE64.encode(Value::Object(body).to_string().as_bytes());
    Request::Correct { about: about.to_owned(), kind: kind.as_str().to_owned(), body }
}

fn say(
    home: &Home,
    about: &str,
    kind: CorrectionKind,
    body: Map<String, Value>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, completed(about, kind, body))?;
    if value.get("taken_back").and_then(Value::as_bool) == Some(true) {
        let text = Text::new(
            format!("Teruggenomen: {about} was nog niet verstuurd; niemand heeft het gezien."),
            format!("Taken back: {about} was not sent yet; nobody has seen it."),
        );
        ui.answer(&text, &value);
    } else {
        tell(value.get("corrections").unwrap_or(&Value::Null), &value, ui);
    }
    Ok(Outcome::Done)
}

/// Has a request answered whose answer is a list of corrections.
pub(super) fn show(home: &Home, request: Request, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, request)?;
    tell(&value, &value, ui);
    Ok(Outcome::Done)
}

fn tell(rows: &Value, value: &Value, ui: Ui) {
    let heading = ui.lang.pick(
        "BERICHT WAT AAN STAND SINDS KEREN AFGEDAAN ANTWOORD REDEN",
        "MESSAGE WHAT TO STATE SINCE TIMES SETTLED ANSWER REASON",
    );
    let columns = ["about", "kind", "to", "state", "since", "times", "settled", "code", "refusal"];
    messages::table_of(rows, value, heading, &columns, ui);
}

fn row(number: u64, row: &CorrectionRow) -> Value {
    json!({
        "number": number,
        "about": row.about.to_string(),
        "kind": row.kind.as_str(),
        "to": row.recipient.to_string(),
        "state": row.state.as_str(),
        "since": row.since.to_string(),
        "message": row.message.map(|id| id.to_string()),
        "until": row.message.map(|_| row.until.to_string()),
        "times": row.times,
        "settled": row.settled.map(|at| at.to_string()),
        "code": row.code,
        "refusal": present::reason(row.outcome),
    })
}

fn rows(view: &View<'_>, keep: impl Fn(&CorrectionRow) -> bool) -> Result<Vec<Value>, Complaint> {
    let all = present::rows(view.store, table::CORRECTION, u64::MAX)?;
    let kept = all.iter().filter_map(|write| {
        let Write::Correction(number, one) = write else { return None };
        keep(one).then(|| row(*number, one))
    });
    Ok(kept.collect())
}

/// The last corrections; with `open` only those that a recipient or a person still has to do something about.
pub(super) fn list(view: &View<'_>, lines: u64, open: bool) -> Result<Value, Complaint> {
    let wanted = |row: &CorrectionRow| !open || row.state.is_open() || row.state == CorrectionState::Refused;
    let all = rows(view, wanted)?;
    let skip = all.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
    Ok(all.into_iter().skip(skip).collect())
}

/// What was just said of a message: to whom, or that it was taken back.
pub(super) fn said(view: &View<'_>, about: MsgId) -> Result<Value, Complaint> {
    let corrections = rows(view, |row| row.about == about)?;
    let message = present::message(view, about)?;
    Ok(json!({
        "taken_back": corrections.is_empty(),
        "corrections": corrections,
        "message": message,
    }))
}
