//! Covenants.

use std::path::PathBuf;

use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::covenants;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use seinhuis_shell::standing::CovenantView;
use serde_json::json;

use super::partner::entry;
use super::request::{Request, ask};
use crate::home::Home;

pub(super) fn load(home: &Home, paths: &[PathBuf], ui: Ui) -> Result<Outcome, Complaint> {
    let covenant = covenants::load(paths)?;
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
    let known: Vec<CovenantView> =
        serde_json::from_value(answer.clone()).map_err(|error| Complaint::bug(error.to_string()))?;
    let mut lines: Vec<String> = known.iter().flat_map(|one| one.lines(ui.lang)).collect();
    if lines.is_empty() {
        lines.push(ui.lang.pick("Geen convenant geladen.", "No covenant loaded.").to_owned());
    }
    ui.answer(&Text::same(lines.join("\n")), &answer);
    Ok(Outcome::Done)
}
