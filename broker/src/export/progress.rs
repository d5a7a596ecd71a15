//! How far an export is, in a small file that whoever asked for it can read meanwhile.
//!
//! The export is made by the running broker, the bar is drawn by the command that waits for it: a file beside the
//! bundle reaches both, and nothing depends on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    aside: Aside,
}

/// Steps that another thread does, and whether it is to go on.
#[derive(Debug, Clone, Default)]
pub(super) struct Aside {
    done: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Aside {
    /// A step was done. `false` when nobody waits for the next.
    pub(super) fn tick(&self) -> bool {
        self.done.fetch_add(1, Ordering::Relaxed);
        !self.over.load(Ordering::Relaxed)
    }

    /// Nobody waits any more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Progress {
    /// One that is written to `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, done: 0, total: 0, shown: Instant::now(), looked: 0, aside: Aside::default() }
    }

    /// For the steps of another thread.
    pub(super) fn aside(&self) -> Aside {
        self.aside.clone()
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
            let done = self.done.saturating_add(self.aside.done.load(Ordering::Relaxed));
            _ = std::fs::write(&self.path, format!("{done} {}\n", self.total));
        }
    }
}

/// Steps done and steps in all, as [`Progress`] wrote them last.
pub(crate) fn look(path: &Path) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (done, total) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}
