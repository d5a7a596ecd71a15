//! How far an export is, in a small file that whoever asked for it can read meanwhile.
//!
//! The export is made by the running broker, the bar is drawn by the command that waits for it: a file beside the
//! bundle reaches both, and nothing depends on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is written.
const PACE: Duration = Duration::from_millis(250);
/// Steps between two looks at the clock.
const STRIDE: u64 = 4096;

/// The progress of one export.
#[derive(Debug)]
pub(super) struct Progress {
    path: PathBuf,
    done: u64,
    total: u64,
    shown: Instant,
    looked: u64,
}

impl Progress {
    /// One that is written to `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, done: 0, total: 0, shown: Instant::now(), looked: 0 }
    }

    /// There is more to do than was known.
    pub(super) const fn more(&mut self, steps: u64) {
        self.total = self.total.saturating_add(steps);
    }

    /// Steps were done.
    pub(super) fn tick(&mut self, steps: u64) {
        self.done = self.done.saturating_add(steps);
        if self.done - self.looked < STRIDE {
            return;
        }
        self.looked = self.done;
        if self.shown.elapsed() >= PACE {
            self.shown = Instant::now();
            // An export does not fail because nobody can see how far it is.
            _ = std::fs::write(&self.path, format!("{} {}\n", self.done, self.total));
        }
    }
}

/// Steps done and steps in all, as [`Progress`] wrote them last.
pub(crate) fn look(path: &Path) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (done, total) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}
