//! Files of a history that the store does not know: of a store that was put back from a backup.
//!
//! They are refused at the start, because going on would write a second history under the same name. When the
//! operator begins a log under another origin, the old one is closed as the store knows it, and what lies beyond is
//! set aside as evidence: it says what was lost.

use std::fs;
use std::path::{Path, PathBuf};

use seinhuis_shared::tlog::tile::{Bundle, Tile, TilePath};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;

/// The folder, in that of the log, where files are set aside.
const ASIDE: &str = "beyond";

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
    let checkpoint = dir.join("checkpoint");
    if moved > 0 && checkpoint.exists() {
        move_aside(dir, &checkpoint, size)?;
    }
    Ok(moved)
}

fn is_beyond(dir: &Path, path: &Path, size: u64) -> bool {
    let relative = path.strip_prefix(dir).ok().and_then(Path::to_str).unwrap_or_default();
    let (level, index) = match relative.parse::<TilePath>() {
        Ok(TilePath::Hashes(tile)) => at(tile),
        Ok(TilePath::Entries(bundle)) => entries_at(bundle),
        Err(_) => return false,
    };
    index >= size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)
}

const fn at(tile: Tile) -> (u8, u64) {
    (tile.level(), tile.index())
}

const fn entries_at(bundle: Bundle) -> (u8, u64) {
    (0, bundle.index())
}

fn move_aside(dir: &Path, path: &Path, size: u64) -> Result<(), Complaint> {
    let relative = path.strip_prefix(dir).unwrap_or(path);
    let mut to = dir.join(ASIDE).join(size.to_string()).join(relative);
    // What was set aside before stays.
    let mut number = 1;
    while to.exists() {
        to = PathBuf::from(format!("{}.{number}", to.display()));
        number += 1;
    }
    files::make_private_dir(&files::parent(&to))?;
    fs::rename(path, &to).map_err(|error| Complaint::io(Doing::Write, path, &error))
}
