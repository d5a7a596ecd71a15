//! Putting a backup back into a folder without store and log.

use std::fs;
use std::path::{Component, Path};

use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

use super::{Copy, FORMAT, FileLine, MANIFEST, Manifest, NOTE, note_text};
use crate::home::Home;

/// Most bytes of a manifest: a line for each of millions of files.
const MANIFEST_MAX: usize = 1024 * 1024 * 1024;
const NOTE_MAX: usize = 64 * 1024;

/// Checks a backup as a whole and puts it back. The keys and settings that belong with it have to be in `home`; nothing
/// there is overwritten, and nothing gets the name of store or log before all of it is checked and on stable storage.
///
/// # Errors
/// A sentence naming the file that is missing, changed, or in the way.
pub(crate) fn restore(home: &Home, from: &Path) -> Result<Manifest, Complaint> {
    for place in [home.store(), home.log()] {
        if place.exists() {
            return Err(in_use(&place));
        }
    }
    let (_, log) = home.log_identity(&home.load_config()?.log_origin)?;
    let manifest = manifest(from, &log)?;
    let staging = home.restoring();
    if staging.exists() {
        // Copies that an earlier restore was cut off in.
        fs::remove_dir_all(&staging).map_err(|error| Complaint::io(Doing::Remove, &staging, &error))?;
    }
    files::make_private_dir(&staging)?;
    let mut copy = Copy::new(&staging);
    for line in &manifest.files {
        copy.put(&line.path, &read(from, line)?)?;
    }
    copy.settle()?;
    // The log first: without a store a log is refused at the start, also when this is cut off here.
    for (part, to) in [("log", home.log()), ("store", home.store())] {
        let part = staging.join(part);
        files::make_private_dir(&part)?;
        files::replace(&part, &to)?;
    }
    fs::remove_dir(&staging).map_err(|error| Complaint::io(Doing::Remove, &staging, &error))?;
    Ok(manifest)
}

/// The manifest, when it is what this broker signed.
fn manifest(from: &Path, log: &LogKey) -> Result<Manifest, Complaint> {
    let (path, noted) = (from.join(MANIFEST), from.join(NOTE));
    if !from.is_dir() {
        return Err(Complaint::usage(
            Text::new(
                format!("{} is geen map.", from.display()),
                format!("{} is no folder.", from.display()),
            ),
            Text::new("Noem de map van een reservekopie.", "Name the folder of a backup."),
        ));
    }
    for needed in [&path, &noted] {
        if !needed.exists() {
            let (from, needed) = (from.display(), needed.display());
            return Err(refused(
                format!(
                    "De reservekopie in {from} is niet heel: {needed} ontbreekt, want zij is afgebroken."
                ),
                format!("The backup in {from} is not whole: {needed} is missing, because it was cut off."),
            ));
        }
    }
    let bytes = files::read(&path, MANIFEST_MAX)?;
    let note = Note::parse(&files::read(&noted, NOTE_MAX)?);
    let text = note_text(log, &bytes);
    match note.and_then(|note| {
        note.verify(std::slice::from_ref(&log.key)).map(|by| (by.len(), note.text().to_owned()))
    }) {
        Ok((1.., said)) if said == text => {}
        // Signed, but over another manifest.
        Ok((1.., _)) => return Err(changed(&path)),
        Ok((0, _)) | Err(_) => {
            let noted = noted.display();
            return Err(refused(
                format!("{noted} is niet ondertekend met de sleutel van dit log ({}).", log.origin),
                format!("{noted} is not signed with the key of this log ({}).", log.origin),
            ));
        }
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|_| changed(&path))?;
    if manifest.format != FORMAT || !manifest.files.iter().all(|line| is_place(&line.path)) {
        return Err(changed(&path));
    }
    Ok(manifest)
}

/// Whether a path stays below store or log.
fn is_place(path: &str) -> bool {
    let below = path.starts_with("store/") || path.starts_with("log/");
    below && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// A file of the backup, when it is what the manifest says.
fn read(from: &Path, line: &FileLine) -> Result<Vec<u8>, Complaint> {
    let path = from.join(&line.path);
    if !path.exists() {
        let path = path.display();
        return Err(refused(
            format!("Van de reservekopie ontbreekt {path}."),
            format!("{path} is missing from the backup."),
        ));
    }
    let size = fs::metadata(&path).map_err(|error| Complaint::io(Doing::Read, &path, &error))?.len();
    if size != line.size {
        return Err(changed(&path));
    }
    let bytes = files::read(&path, usize::try_from(size).unwrap_or(usize::MAX))?;
    if sha256(&bytes).to_string() == line.sha256 { Ok(bytes) } else { Err(changed(&path)) }
}

fn changed(path: &Path) -> Complaint {
    let path = path.display();
    refused(
        format!("{path} is niet meer wat de reservekopie ervan zegt."),
        format!("{path} is not what the backup says of it any more."),
    )
}

fn refused(nl: String, en: String) -> Complaint {
    Complaint::refused(
        Text::new(nl, en),
        Text::new(
            "Er is niets teruggezet. Neem een andere reservekopie, of een andere kopie van deze.",
            "Nothing was restored. Take another backup, or another copy of this one.",
        ),
    )
}

fn in_use(place: &Path) -> Complaint {
    let place = place.display();
    Complaint::usage(
        Text::new(
            format!("{place} is er al; een reservekopie komt er nooit overheen."),
            format!("{place} is there already; a backup never goes over it."),
        ),
        Text::new(
            "Zet store en log allebei elders, bewaar ze, en geef de opdracht nog eens (docs/log.md). Wat zij meer hebben dan de reservekopie staat nergens anders.",
            "Move store and log elsewhere, both, keep them, and give the command again (docs/log.md). What they have more than the backup is nowhere else.",
        ),
    )
}
