//! Release by a person: what waits, what is in it, and the decision.

use clap::Subcommand;
use data_encoding::BASE64;
use seinhuis_shell::cli::{Outcome, Ui, aligned};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::Value;

use super::messages::{cell, table};
use super::push::follow;
use super::request::{Look, Request, ask};
use crate::home::Home;

#[derive(Debug, Subcommand)]
pub(super) enum Release {
    /// Show what waits for a person, and since when
    List,
    /// Show one message that waits, with its body, to whoever decides
    Show {
        /// Its message id
        id: String,
    },
    /// Let a message leave; it is judged again, as of now
    Approve {
        /// Its message id
        id: String,
        /// The role in which you decide, such as teamchef; kept with the decision
        #[arg(long = "as")]
        role: String,
        /// Why; kept here, never sent. No personal data
        #[arg(long, default_value = "")]
        reason: String,
        /// Wait so many seconds for the broker's answer
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Do not let a message leave: it ends and its body is erased
    Deny {
        /// Its message id
        id: String,
        /// The role in which you decide, such as teamchef; kept with the decision
        #[arg(long = "as")]
        role: String,
        /// Why; kept here, never sent. No personal data
        #[arg(long)]
        reason: String,
    },
}

pub(super) fn release(home: &Home, command: Release, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Release::List => list(home, ui),
        Release::Show { id } => show(home, id, ui),
        Release::Approve { id, role, reason, wait } => {
            let request = Request::Release { msg_id: id.clone(), approve: true, role, reason };
            follow(home, &id, ask(home, request)?, wait, ui)
        }
        Release::Deny { id, role, reason } => {
            let request = Request::Release { msg_id: id.clone(), approve: false, role, reason };
            follow(home, &id, ask(home, request)?, None, ui)?;
            // To deny is what was asked, and it is done.
            Ok(Outcome::Done)
        }
    }
}

fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::Look(Look::Held))?;
    if value.as_array().is_none_or(Vec::is_empty) {
        ui.answer(&Text::new("Niets wacht op vrijgave.", "Nothing waits for release."), &value);
        return Ok(Outcome::Done);
    }
    let heading =
        ui.lang.pick("BERICHT STROOM AAN NIVEAU ZAAK SINDS TOT", "MESSAGE FLOW TO LEVEL CASE SINCE UNTIL");
    table(&value, heading, &["msg_id", "flow", "to", "level", "case", "since", "expires"], ui);
    Ok(Outcome::Done)
}

fn show(home: &Home, id: String, ui: Ui) -> Result<Outcome, Complaint> {
    let (mut value, _) = ask(home, Request::Look(Look::HeldBody { msg_id: id }))?;
    let encoded = value.get("body").and_then(Value::as_str).unwrap_or_default();
    let body = BASE64.decode(encoded.as_bytes()).map_err(|error| Complaint::bug(error.to_string()))?;
    // What waits has passed its schema, so it is JSON.
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("body".into(), body.clone());
    }
    let pretty = serde_json::to_string_pretty(&body).unwrap_or_default();
    let shown = |lang: Lang| format!("{}\n\n{pretty}", heading(&value, lang));
    ui.answer(&Text::new(shown(Lang::Nl), shown(Lang::En)), &value);
    Ok(Outcome::Done)
}

fn heading(value: &Value, lang: Lang) -> String {
    let words = [
        ("bericht", "message", "msg_id"),
        ("stroom", "flow", "flow"),
        ("soort", "type", "type"),
        ("stap", "step", "step"),
        ("aan", "to", "to"),
        ("niveau", "level", "level"),
        ("categorieën", "categories", "categories"),
        ("zaak", "case", "case"),
        ("wacht sinds", "waits since", "since"),
        ("geldig tot", "valid until", "expires"),
    ];
    let rows: Vec<(&str, String)> =
        words.iter().map(|(nl, en, key)| (lang.pick(nl, en), cell(value, key))).collect();
    aligned(&rows)
}
