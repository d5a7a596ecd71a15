//! Files of a history that the store does not know: of a store that was put back from a backup.
//!
//! They are refused at the start, because going on would write a second history under the same name: files of the log
//! that grows, and whole logs that followed on it. When the operator begins a log under another origin, the old one is
//! closed as the store knows it, and what lies beyond is set aside as evidence: it says what was lost. Where that was
//! cut off, nothing shows any more what the log's files held, so that the log's folder is refused until it was done.

use std::fs;
use std::path::{Path, PathBuf};

use seinhuis_shared::tlog::tile::TilePath;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

use super::edge::CHECKPOINT;

/// The folder, in that of the log, where files are set aside.
pub(crate) const ASIDE: &str = "beyond";
/// Most bytes of a checkpoint's file that are read for its name.
const CHECKPOINT_MAX: usize = 64 * 1024;

/// Refuses a log that grows and from which files were set aside: nobody went on under another origin after that.
pub(crate) fn check(dir: &Path) -> Result<(), Complaint> {
    let aside = dir.join(ASIDE);
    if !aside.exists() {
        return Ok(());
    }
    let path = aside.display();
    Err(Complaint::usage(
        Text::new(
            format!(
                "`log new-origin` is afgebroken: in {path} staan bestanden van een log dat nog niet gesloten is."
            ),
            format!("`log new-origin` was cut off: in {path} are files of a log that is not closed yet."),
        ),
        Text::new(
            "Geef `seinhuis-broker log new-origin` nog eens (docs/log.md), of zet de opslag terug die alles bevat, samen met de bestanden in die map.",
            "Give `seinhuis-broker log new-origin` again (docs/log.md), or restore the store that has all of it, together with the files in that folder.",
        ),
    ))
}

/// Refuses logs that the store does not know of, because it is older than they are.
pub(crate) fn check_others(dir: &Path, known: &[String]) -> Result<(), Complaint> {
    let others: Vec<String> =
        others(dir, known).iter().map(|folder| dir.join(folder).display().to_string()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let others = others.join(", ");
    Err(Complaint::usage(
        Text::new(
            format!("De opslag kent het log in {others} niet: zij is ouder dan dat log, of weg."),
            format!("The store does not know the log in {others}: it is older than that log, or gone."),
        ),
        way_on(),
    ))
}

/// The checkpoint that a log's folder shows; empty when it shows none that can be read.
pub(crate) fn shown(dir: &Path) -> Vec<u8> {
    files::read(&dir.join(CHECKPOINT), CHECKPOINT_MAX).unwrap_or_default()
}

/// The complaint about a log of `own` entries, by the store, that does not have the checkpoint its folder shows.
pub(crate) fn not_what_is_shown(dir: &Path, own: u64) -> Complaint {
    let path = dir.join(CHECKPOINT);
    let path = path.display();
    Complaint::usage(
        Text::new(
            format!(
                "Het checkpoint in {path} is van een log dat de opslag, met {own} regels, niet heeft: zij is ouder, of een andere."
            ),
            format!(
                "The checkpoint in {path} is of a log that the store, with {own} entries, does not have: it is older, or another one."
            ),
        ),
        way_on(),
    )
}

/// What to do about a store that is older than the files of its logs.
fn way_on() -> Text {
    Text::new(
        "Zet de opslag terug die erbij hoort, of ga zichtbaar verder onder een andere naam (`log new-origin`, docs/log.md). Is het een kopie van elders, haal die dan uit deze map.",
        "Restore the store that belongs with it, or go on for everybody to see under another name (`log new-origin`, docs/log.md). If it is a copy from elsewhere, take it out of this folder.",
    )
}

/// The folders in `dir` that hold a log, but for those that are known; in order.
pub(crate) fn others(dir: &Path, known: &[String]) -> Vec<String> {
    let folders = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = folders.filter(|path| path.join(CHECKPOINT).exists() || path.join("tile").exists());
    let names = logs.filter_map(|path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
    let mut names: Vec<String> = names.filter(|name| !known.contains(name)).collect();
    names.sort_unstable();
    names
}

/// The folders of logs that were set aside in the folder of the log in `dir`.
pub(crate) fn logs_aside(dir: &Path) -> Vec<PathBuf> {
    let folders = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    folders(dir.join(ASIDE)).flat_map(folders).filter(|path| path.is_dir()).collect()
}

/// Moves the folder of a log that the store does not know of into that of the log that grows, of `size` entries.
pub(crate) fn set_log_aside(
    dir: &Path,
    folder: &str,
    (current, size): (&Path, u64),
) -> Result<(), Complaint> {
    rename(&dir.join(folder), current.join(ASIDE).join(size.to_string()).join(folder))
}

/// Moves every file of the log in `dir` that is not of its first `size` entries into a folder of its own; gives how
/// many.
pub(crate) fn set_aside(dir: &Path, size: u64) -> Result<usize, Complaint> {
    let mut moved = 0;
    let mut folders = vec![dir.join("tile")];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = file.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_beyond(dir, &path, size) {
                move_aside(dir, &path, size)?;
                moved += 1;
            }
        }
    }
    let checkpoint = dir.join(CHECKPOINT);
    if moved > 0 && checkpoint.exists() {
        move_aside(dir, &checkpoint, size)?;
    }
    Ok(moved)
}

fn is_beyond(dir: &Path, path: &Path, size: u64) -> bool {
    let relative = path.strip_prefix(dir).ok().and_then(Path::to_str).unwrap_or_default();
    let Ok(path) = relative.parse::<TilePath>() else { return false };
    let (level, index, _) = place(path);
    index >= size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)
}

/// Level, index and width of what a file holds; bundles are of level 0.
pub(crate) const fn place(path: TilePath) -> (u8, u64, u16) {
    match path {
        TilePath::Hashes(tile) => (tile.level(), tile.index(), tile.width()),
        TilePath::Entries(bundle) => (0, bundle.index(), bundle.width()),
    }
}

fn move_aside(dir: &Path, path: &Path, size: u64) -> Result<(), Complaint> {
    let relative = path.strip_prefix(dir).unwrap_or(path);
    rename(path, dir.join(ASIDE).join(size.to_string()).join(relative))
}

/// Gives a file or folder another place; what was set aside before stays.
fn rename(path: &Path, mut to: PathBuf) -> Result<(), Complaint> {
    let mut number = 1;
    while to.exists() {
        to = PathBuf::from(format!("{}.{number}", to.display()));
        number += 1;
    }
    files::make_private_dir(&files::parent(&to))?;
    fs::rename(path, &to).map_err(|error| Complaint::io(Doing::Write, path, &error))
}
