//! Backups: making one, putting one back.

use std::path::Path;

use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};

use super::request::{Request, ask};
use crate::backup::{self, Manifest};
use crate::home::Home;

/// Has a backup written to the folder `out`, which must not exist.
pub(super) fn backup(home: &Home, out: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let out = std::path::absolute(out).map_err(|error| Complaint::io(Doing::Write, out, &error))?;
    outside(home, &out)?;
    let answer = ask(home, &Request::Backup { out: out.clone() })?;
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (at, count, mib) = (out.display(), number("files"), number("bytes") >> 20);
    ui.answer(
        &Text::new(
            format!("Geschreven: {at}, {count} bestanden, {mib} MiB. Sleutels en broker.toml staan er niet in: bewaar die apart."),
            format!("Written: {at}, {count} files, {mib} MiB. Keys and broker.toml are not in it: keep those apart."),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// Puts the backup in the folder `from` back.
pub(super) fn restore(home: &Home, from: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let manifest = backup::restore(home, from)?;
    let logs: Vec<String> =
        manifest.logs.iter().map(|log| format!("{} ({})", log.origin, log.size)).collect();
    let logs = logs.join(", ");
    ui.answer(
        &Text::new(
            format!("Teruggezet: {logs}. Draai `seinhuis-broker log verify` en start de broker: hebben getuigen meer gezien, dan dient hij niemand (docs/log.md)."),
            format!("Restored: {logs}. Run `seinhuis-broker log verify` and start the broker: where witnesses saw more it serves nobody (docs/log.md)."),
        ),
        &show(&manifest),
    );
    Ok(Outcome::Done)
}

/// What is in a backup, in numbers.
pub(super) fn show(manifest: &Manifest) -> Value {
    json!({
        "sequence": manifest.sequence,
        "logs": manifest.logs.iter().map(|log| json!({ "origin": log.origin, "size": log.size })).collect::<Vec<_>>(),
        "files": manifest.files.len(),
        "bytes": manifest.bytes(),
    })
}

/// A backup in the folders it is made of would be in the next one, or in the way of the broker.
fn outside(home: &Home, out: &Path) -> Result<(), Complaint> {
    let parent = files::parent(out);
    let Ok(parent) = parent.canonicalize() else { return Ok(()) };
    let within = |place: &Path| place.canonicalize().is_ok_and(|place| parent.starts_with(place));
    if !within(&home.store()) && !within(&home.log()) {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(
            format!("{} ligt in de mappen van de broker zelf.", out.display()),
            format!("{} is in the folders of the broker itself.", out.display()),
        ),
        Text::new(
            "Kies een map daarbuiten, liefst op een andere schijf.",
            "Choose a folder outside them, on another disk if you can.",
        ),
    ))
}
