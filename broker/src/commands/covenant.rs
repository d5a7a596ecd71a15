//! Covenants.

use std::path::PathBuf;

use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};

use super::partner::entry;
use super::request::{Request, ask};
use crate::home::Home;

pub(super) fn load(home: &Home, paths: &[PathBuf], ui: Ui) -> Result<Outcome, Complaint> {
    let covenant = seinhuis_shell::covenants::load(paths)?;
    let hash = covenant.hash();
    // The running broker reads it from here: a covenant may be larger than a command.
    let folder = home.dir().join("covenants");
    files::make_private_dir(&folder)?;
    let file = folder.join(format!("{hash}.cbor"));
    files::write(&file, &covenant.to_bytes(), Existing::Replace)?;
    let file = std::path::absolute(&file).map_err(|error| Complaint::bug(error.to_string()))?;
    let mut answer = ask(home, &Request::LoadCovenant { file })?;
    if let Some(object) = answer.as_object_mut() {
        object.insert("hash".into(), json!(hash.to_string()));
    }
    let title = &covenant.title;
    ui.answer(
        &Text::new(
            format!("{title}, versie {}: {hash}{}", covenant.version, entry(&answer, ", logregel ")),
            format!("{title}, version {}: {hash}{}", covenant.version, entry(&answer, ", log entry ")),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

pub(super) fn show(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Covenants)?;
    let mut lines = Vec::new();
    for covenant in answer.as_array().into_iter().flatten() {
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let version = covenant.get("version").and_then(Value::as_u64).unwrap_or_default();
        lines.push(format!("{} · {} · {version}", text(covenant, "hash"), text(covenant, "title")));
        lines.push(format!("  {} – {}", text(covenant, "valid_from"), text(covenant, "valid_until")));
        for party in covenant.get("parties").and_then(Value::as_array).into_iter().flatten() {
            lines.push(format!(
                "  {}  {:14}  {}",
                text(party, "oin"),
                text(party, "role"),
                text(party, "name")
            ));
        }
        let flows = covenant.get("flows").and_then(Value::as_array).map_or(0, Vec::len);
        lines.push(match ui.lang {
            seinhuis_shell::lang::Lang::Nl => format!("  {flows} stromen"),
            seinhuis_shell::lang::Lang::En => format!("  {flows} flows"),
        });
    }
    if lines.is_empty() {
        lines.push(ui.lang.pick("Geen convenant geladen.", "No covenant loaded.").to_owned());
    }
    ui.answer(&Text::same(lines.join("\n")), &answer);
    Ok(Outcome::Done)
}
