//! Room that is kept free on the disk, so that a disk that fills up stops nobody.
//!
//! A program that finds less than that puts off what would take more of it and goes on with what removes: it needs some
//! of that room itself, since a removal is written down first. When there is room again, and an eighth more so that it
//! does not go to and fro, it is as before.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use serde_json::{Value, json};

use crate::complaint::{Complaint, Doing};
use crate::lang::Text;

const MIB: u64 = 1 << 20;
/// Most that can be configured, in MiB: 1 TiB.
pub const KEEP_FREE_MAX_MIB: u64 = 1 << 20;
/// What is kept free when nothing is configured, in MiB: several times what one turn writes and the journal keeps ready.
pub const KEEP_FREE_MIB: u64 = 256;

/// How much is free, and how much is to be, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Free as of the last look; nothing when that could not be told, or nobody looks.
    pub free: Option<u64>,
    /// What is kept free; 0 for nothing.
    pub keep: u64,
    /// Whether there is too little.
    pub scarce: bool,
}

impl Standing {
    /// For `status`.
    pub fn to_json(self) -> Value {
        json!({ "free_bytes": self.free, "keep_free_bytes": self.keep, "scarce": self.scarce })
    }
}

/// A line of `status` when there is too little room, of what [`Standing::to_json`] gave.
pub fn row(room: &Value) -> Option<Text> {
    let mib = |key| room.get(key).and_then(Value::as_u64).unwrap_or_default() / MIB;
    let (free, keep) = (mib("free_bytes"), mib("keep_free_bytes"));
    (room.get("scarce") == Some(&Value::Bool(true))).then(|| scarce(free, keep))
}

fn scarce(free: u64, keep: u64) -> Text {
    Text::new(
        format!(
            "SCHIJF BIJNA VOL: nog {free} MiB vrij en minder dan {keep} MiB (store.keep_free_mib). Er wordt niets nieuws aangenomen; maak ruimte, dan gaat het vanzelf verder."
        ),
        format!(
            "DISK NEARLY FULL: {free} MiB left, less than {keep} MiB (store.keep_free_mib). Nothing new is taken in; make room and it goes on by itself."
        ),
    )
}

type Probe = Box<dyn FnMut() -> io::Result<u64> + Send>;

/// Looks how much room is left, and says when it becomes too little and enough again.
pub struct Keeper {
    probe: Probe,
    now: Standing,
    /// Whether it was told that the room cannot be seen.
    blind: bool,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Keeps so many MiB free for each of these folders; 0 for none.
    pub fn new(keep_mib: u64, folders: Vec<PathBuf>) -> Self {
        Self::with(keep_mib.saturating_mul(MIB), move || least(&folders))
    }

    /// Keeps nothing free.
    pub fn none() -> Self {
        Self::new(0, Vec::new())
    }

    /// Keeps so many bytes free of what `probe` says is free.
    pub fn with(keep: u64, probe: impl FnMut() -> io::Result<u64> + Send + 'static) -> Self {
        Self { probe: Box::new(probe), now: Standing { keep, ..Standing::default() }, blind: false }
    }

    /// Looks, and gives whether there is too little room when that changed. What cannot be seen changes nothing.
    pub fn look(&mut self) -> Option<bool> {
        let keep = self.now.keep;
        if keep == 0 {
            return None;
        }
        match (self.probe)() {
            Ok(free) => (self.now.free, self.blind) = (Some(free), false),
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    tracing::error!(%error, "how much room the disk has left cannot be seen");
                }
                self.now.free = None;
                return None;
            }
        }
        let free = self.now.free.unwrap_or_default();
        let enough = if self.now.scarce { keep.saturating_add(keep / 8) } else { keep };
        let is_scarce = free < enough;
        if is_scarce == self.now.scarce {
            return None;
        }
        self.now.scarce = is_scarce;
        let told = if is_scarce {
            scarce(free / MIB, keep / MIB)
        } else {
            Text::new(
                format!("Er is weer ruimte op de schijf: {} MiB vrij. Alles gaat verder.", free / MIB),
                format!("There is room on the disk again: {} MiB free. Everything goes on.", free / MIB),
            )
        };
        if is_scarce {
            tracing::error!("{} / {}", told.nl, told.en);
        } else {
            tracing::info!("{} / {}", told.nl, told.en);
        }
        Some(is_scarce)
    }

    /// How it stands as of the last look.
    pub const fn standing(&self) -> Standing {
        self.now
    }
}

/// The least that is free in any of these folders, in bytes, for who is not root.
fn least(folders: &[PathBuf]) -> io::Result<u64> {
    folders.iter().try_fold(u64::MAX, |least, folder| {
        let now = statvfs(folder)?;
        Ok(least.min(now.f_bavail.saturating_mul(now.f_frsize)))
    })
}

/// For `doctor`: whether so many MiB are free in a folder.
///
/// # Errors
/// A sentence with what is left and what to do.
pub fn finding(keep_mib: u64, folder: &Path) -> Result<Text, Complaint> {
    let free = least(&[folder.to_path_buf()])
        .map_err(|error| Complaint::io(Doing::OpenFolder, folder, &error))?
        / MIB;
    if free < keep_mib {
        let place = folder.display();
        return Err(Complaint::usage(
            Text::new(
                format!(
                    "De schijf van {place} heeft nog {free} MiB vrij, minder dan store.keep_free_mib ({keep_mib})."
                ),
                format!(
                    "The disk of {place} has {free} MiB left, less than store.keep_free_mib ({keep_mib})."
                ),
            ),
            Text::new(
                "Maak ruimte op deze schijf of vergroot hem; tot dan wordt niets nieuws aangenomen, en daarna gaat het vanzelf verder.",
                "Make room on this disk or enlarge it; until then nothing new is taken in, and after that it goes on by itself.",
            ),
        ));
    }
    Ok(Text::new(format!("{free} MiB vrij"), format!("{free} MiB free")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A keeper of 1000 bytes over a disk that has what is put in here.
    fn keeper() -> (Keeper, Arc<AtomicU64>) {
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let seen = Arc::clone(&free);
        let probe = move || match seen.load(Ordering::SeqCst) {
            0 => Err(io::Error::other("gone")),
            free => Ok(free),
        };
        (Keeper::with(1000, probe), free)
    }

    #[test]
    fn it_tells_the_changes_alone_and_goes_back_when_there_is_an_eighth_more() {
        let (mut keeper, free) = keeper();
        let looks =
            [(1000, None), (999, Some(true)), (1, None), (1124, None), (1125, Some(false)), (1000, None)];
        for (left, told) in looks {
            free.store(left, Ordering::SeqCst);
            assert_eq!(keeper.look(), told, "{left}");
            assert_eq!(keeper.standing().free, Some(left));
        }
    }

    #[test]
    fn what_cannot_be_seen_changes_nothing() {
        let (mut keeper, free) = keeper();
        free.store(5, Ordering::SeqCst);
        assert_eq!(keeper.look(), Some(true));
        free.store(0, Ordering::SeqCst);
        assert_eq!(keeper.look(), None);
        assert_eq!(keeper.standing(), Standing { free: None, keep: 1000, scarce: true });
    }

    #[test]
    fn nothing_kept_free_is_never_scarce() {
        let mut keeper = Keeper::with(0, || Ok(0));
        assert_eq!(keeper.look(), None);
        assert_eq!(keeper.standing(), Standing::default());
    }

    #[test]
    fn a_folder_has_room_or_it_is_told_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Keeper::new(1, vec![dir.path().into()]).look().is_none());
        assert_eq!(Keeper::new(KEEP_FREE_MAX_MIB * 1024, vec![dir.path().into()]).look(), Some(true));
        assert!(finding(0, dir.path()).is_ok());
        let complaint = finding(KEEP_FREE_MAX_MIB * 1024, dir.path()).unwrap_err();
        assert!(complaint.what.en.contains("keep_free_mib") && complaint.advice.en.contains("Make room"));
        assert!(finding(1, &dir.path().join("nowhere")).is_err());
    }

    #[test]
    fn status_has_a_line_only_when_there_is_too_little() {
        let of = |scarce| Standing { free: Some(3 * MIB), keep: 5 * MIB, scarce }.to_json();
        assert_eq!(row(&of(false)), None);
        let told = row(&of(true)).unwrap();
        assert!(told.nl.contains("nog 3 MiB") && told.en.contains("less than 5 MiB"), "{told:?}");
    }
}
