//! Every change to a file goes through here, so that a test can make any of them fail.
//!
//! A [`Fault`] names a kind of operation and the how-manieth of that kind; it can do nothing, half of the work
//! or all of it before it reports the error, and can leave the disk dead, which is how a test cuts the power
//! at a chosen step. Without a plan the layer is a single test of an `Option`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of zeros that go to the disk at once.
const ZERO_FLUSH: u64 = 1 << 20;

/// A kind of operation on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Creating a spare file.
    Create,
    /// Filling a whole file, or a cut tail, with zeros and flushing that.
    Zero,
    /// Writing and flushing a segment header.
    Header,
    /// Writing a record.
    Write,
    /// Flushing a record.
    Sync,
    /// Flushing a folder after a create, rename or removal.
    SyncDir,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
}

/// All kinds, in the order in which they are counted.
pub const SITES: [Site; 8] = [
    Site::Create,
    Site::Zero,
    Site::Header,
    Site::Write,
    Site::Sync,
    Site::SyncDir,
    Site::Rename,
    Site::Remove,
];

/// What happened on the disk although an error was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    NotDone,
    /// The first half of the bytes of a write; like `NotDone` for everything else.
    Partly,
    /// All of it.
    Done,
}

/// One failure to come.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The kind of operation.
    pub site: Site,
    /// Which one of that kind, counted from 1 over the life of the [`Faults`].
    pub nth: u64,
    /// What it did before failing.
    pub effect: Effect,
    /// The error reported.
    pub kind: io::ErrorKind,
    /// Whether every later operation of any kind fails too, without effect.
    pub dead_after: bool,
}

#[derive(Debug, Default)]
struct State {
    plan: Vec<Fault>,
    counts: [u64; SITES.len()],
    dead: bool,
}

/// The file layer. Clones share the plan and the counts.
#[derive(Debug, Clone, Default)]
pub struct Faults(Option<Arc<Mutex<State>>>);

impl Faults {
    /// A healthy disk.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A disk that fails as planned; an empty plan only counts.
    pub fn plan(faults: impl IntoIterator<Item = Fault>) -> Self {
        let plan = faults.into_iter().collect();
        Self(Some(Arc::new(Mutex::new(State { plan, ..State::default() }))))
    }

    /// A disk that loses power at the `nth` operation of a kind: that one has `effect`, all later ones none.
    pub fn power_cut(site: Site, nth: u64, effect: Effect) -> Self {
        Self::plan([Fault { site, nth, effect, kind: io::ErrorKind::Other, dead_after: true }])
    }

    /// How many operations of a kind were asked for; 0 without a plan.
    pub fn count(&self, site: Site) -> u64 {
        let slot = SITES.iter().position(|known| *known == site);
        self.0.as_ref().zip(slot).map_or(0, |(state, slot)| {
            state.lock().unwrap_or_else(PoisonError::into_inner).counts.get(slot).copied().unwrap_or(0)
        })
    }

    fn next(&self, site: Site) -> Option<(Effect, io::Error)> {
        let mut state = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = SITES.iter().position(|known| *known == site)?;
        let count = state.counts.get_mut(slot)?;
        *count = count.saturating_add(1);
        let count = *count;
        if state.dead {
            return Some((Effect::NotDone, io::Error::other("the power is off")));
        }
        let fault = *state.plan.iter().find(|fault| fault.site == site && fault.nth == count)?;
        state.dead = fault.dead_after;
        Some((fault.effect, fault.kind.into()))
    }

    fn run<T>(&self, site: Site, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.next(site) {
            None => operation(),
            Some((Effect::NotDone | Effect::Partly, error)) => Err(error),
            Some((Effect::Done, error)) => operation().and(Err(error)),
        }
    }

    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.run(Site::Create, || OpenOptions::new().read(true).write(true).create_new(true).open(path))
    }

    /// Zeros the range and flushes it with the file's length.
    pub(crate) fn zero(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        static CHUNK: [u8; 65_536] = [0; 65_536];
        self.run(Site::Zero, || {
            let mut at = from;
            while at < to {
                let length = crate::narrow(to - at).min(CHUNK.len());
                file.write_all_at(CHUNK.get(..length).unwrap_or(&CHUNK), at)?;
                at += crate::wide(length);
                // Little by little, so that the flush of a commit never queues behind a whole segment.
                if at.is_multiple_of(ZERO_FLUSH) {
                    file.sync_data()?;
                }
            }
            file.sync_all()
        })
    }

    pub(crate) fn write_header(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.run(Site::Header, || {
            file.write_all_at(bytes, 0)?;
            file.sync_all()
        })
    }

    pub(crate) fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.next(Site::Write) {
            None => file.write_all_at(bytes, offset),
            Some((Effect::NotDone, error)) => Err(error),
            Some((Effect::Partly, error)) => {
                let half = bytes.split_at(bytes.len() / 2).0;
                file.write_all_at(half, offset).and(Err(error))
            }
            Some((Effect::Done, error)) => file.write_all_at(bytes, offset).and(Err(error)),
        }
    }

    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.run(Site::Sync, || file.sync_data())
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(Site::SyncDir, || File::open(path)?.sync_all())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(Site::Rename, || fs::rename(from, to))
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(Site::Remove, || fs::remove_file(path))
    }
}
