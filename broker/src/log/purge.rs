//! Texts of entries that are past their term: gone, while their hashes stay.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::tile::{self, Bundle};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;

use super::{Cache, Log, WIDTH, broken};

/// Most bundles that one round looks at.
const ROUND: u64 = 4096;

impl Log {
    /// Up to which index the texts of entries are removed.
    pub fn purged(&self) -> u64 {
        self.purged.load(Ordering::Acquire)
    }

    pub(super) fn is_purged(&self, index: u64) -> bool {
        index < self.purged()
    }

    /// How many entries are past their term, which ended for what was logged before `before`, and when the last of
    /// them was logged. Whole bundles only; the last one of a log that has ended is whole. None when no bundle is,
    /// beyond what is removed already.
    ///
    /// # Errors
    /// A sentence when a bundle cannot be read.
    pub fn due(&self, before: Timestamp) -> Result<Option<(u64, Timestamp)>, Complaint> {
        let (size, closed) = {
            let tail = self.read();
            (tail.size, tail.closed)
        };
        let mut found = None;
        let from = self.purged().div_ceil(WIDTH);
        for index in from..from.saturating_add(ROUND) {
            let full = (index + 1) * WIDTH;
            let end = if full <= size {
                full
            } else if closed && index * WIDTH < size {
                size
            } else {
                break;
            };
            let time = self.parsed(end - 1)?.time;
            if time >= before {
                break;
            }
            found = Some((end, time));
        }
        Ok(found.filter(|(end, _)| *end > self.purged()))
    }

    /// Removes the texts of the first `entries` entries, which is logged already: overwritten, then deleted. May be
    /// done again after a crash.
    ///
    /// # Errors
    /// A sentence when a file cannot be overwritten or removed.
    pub fn purge(&self, entries: u64) -> Result<(), Complaint> {
        self.purged.fetch_max(entries, Ordering::AcqRel);
        *self.cached() = Cache::default();
        {
            let mut tail = self.write();
            if entries >= tail.size {
                tail.entries.clear();
            }
        }
        for index in 0..entries.div_ceil(WIDTH) {
            let bundle = Bundle::new(index, tile::FULL_WIDTH)
                .map_err(|error| broken(&self.dir, &error.to_string()))?;
            let path = self.dir.join(bundle.to_string());
            destroy(&path)?;
            let mut partial = path.into_os_string();
            partial.push(".p");
            let partial = Path::new(&partial);
            for file in fs::read_dir(partial).into_iter().flatten().flatten() {
                destroy(&file.path())?;
            }
            _ = fs::remove_dir(partial);
        }
        Ok(())
    }

    /// The first entry whose text is still there.
    ///
    /// # Errors
    /// A sentence when it cannot be read; nothing when there is none.
    pub fn first_left(&self) -> Result<Option<(u64, Timestamp)>, Complaint> {
        let first = self.purged();
        if first >= self.size() { Ok(None) } else { Ok(Some((first, self.parsed(first)?.time))) }
    }
}

/// What was asked for is gone.
pub(super) fn gone() -> Complaint {
    Complaint::from_refusal(Refusal::EntriesPurged)
}

/// Overwrites a file with zeros, on stable storage, and removes it. One that is not there is gone already.
fn destroy(path: &Path) -> Result<(), Complaint> {
    let fail = |error: std::io::Error| Complaint::io(Doing::Write, path, &error);
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.is_file() {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).open(path).map_err(fail)?;
    let mut left = meta.len();
    let zeros = [0; 4096];
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..part]).map_err(fail)?;
        left -= u64::try_from(part).unwrap_or(left);
    }
    file.sync_all().and_then(|()| fs::remove_file(path)).map_err(fail)?;
    fs::File::open(files::parent(path)).and_then(|folder| folder.sync_all()).map_err(fail)
}
