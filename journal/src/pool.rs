//! Spare files: made, zeroed and flushed by a thread of their own, so that a commit finds one ready.
//!
//! Zeroed in advance, because writing into blocks that the file system has already given and written costs a
//! flush no metadata. A freed segment is overwritten with zeros here before anything else happens to it: that
//! is the moment at which the bytes of dropped blobs leave the file.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::StoreError;
use crate::faults::Faults;

/// A zeroed, flushed file.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Spare>,
    dirty: VecDeque<PathBuf>,
    /// How many snapshots may still read what is dirty.
    holds: usize,
    next_name: u64,
    failed: Option<StoreError>,
    stop: bool,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    size: u64,
    keep: usize,
    disk: Faults,
    state: Mutex<State>,
    changed: Condvar,
}

/// As long as it exists no freed segment is overwritten.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Shared>);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.holds = state.holds.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

/// Keeps `keep` spares of `size` bytes ready.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pool {
    /// Starts with the spares and freed segments that a previous process left.
    pub(crate) fn start(
        folder: &Path,
        size: u64,
        keep: usize,
        disk: Faults,
        left: Vec<PathBuf>,
    ) -> Result<Self, StoreError> {
        let state = State { dirty: left.into(), next_name: 1, ..State::default() };
        let shared = Arc::new(Shared {
            folder: folder.to_path_buf(),
            size,
            keep,
            disk,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = Builder::new()
            .name("journal-spares".into())
            .spawn(move || worker.run())
            .map_err(StoreError::io("start a thread for the spare files of", folder))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A spare, waiting for one when needed.
    pub(crate) fn take(&self) -> Result<Spare, StoreError> {
        let mut state = self.shared.lock();
        loop {
            // A full disk stops nothing while spares last, and space may have been freed by now. Any other
            // failure means that the disk cannot be trusted, spares or not.
            let lasting = state.failed.as_ref().is_some_and(|error| !is_full(error));
            if !lasting && let Some(spare) = state.ready.pop() {
                state.failed = None;
                self.shared.changed.notify_all();
                return Ok(spare);
            }
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes a file of another size at once, for a record larger than a segment.
    pub(crate) fn make(&self, size: u64) -> Result<Spare, StoreError> {
        self.shared.make(size)
    }

    /// Hands over a freed segment.
    pub(crate) fn recycle(&self, path: PathBuf) {
        self.shared.lock().dirty.push_back(path);
        self.shared.changed.notify_all();
    }

    /// Keeps every segment that is in use now, or freed from now on, as it is.
    pub(crate) fn hold(&self) -> Hold {
        let mut state = self.shared.lock();
        state.holds = state.holds.saturating_add(1);
        Hold(Arc::clone(&self.shared))
    }

    /// Waits until every freed segment is overwritten.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        let mut state = self.shared.lock();
        while !state.dirty.is_empty() {
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == ErrorKind::StorageFull)
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that prepares spare files panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.stop {
            let dirty = state.dirty.front().filter(|_| state.holds == 0).cloned();
            let wanted = dirty.is_some() || state.ready.len() < self.keep;
            if !wanted || state.failed.is_some() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let full = state.ready.len() >= self.keep;
            drop(state);
            let outcome = match &dirty {
                Some(path) => self.clean(path, full),
                None => self.make(self.size).map(Some),
            };
            state = self.lock();
            if dirty.is_some() && outcome.is_ok() {
                state.dirty.pop_front();
            }
            match outcome {
                Ok(spare) => state.ready.extend(spare),
                Err(error) => {
                    tracing::warn!(%error, "a spare file for the journal cannot be prepared");
                    state.failed = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    /// An unused name; the files of this folder have one writer.
    fn name(&self) -> PathBuf {
        let mut state = self.lock();
        loop {
            let path = self.folder.join(format!("spare-{:016x}", state.next_name));
            state.next_name = state.next_name.saturating_add(1);
            if !path.exists() {
                return path;
            }
        }
    }

    fn make(&self, size: u64) -> Result<Spare, StoreError> {
        let path = self.name();
        let file = self.disk.create(&path).map_err(StoreError::io("create", &path))?;
        if let Err(error) = self.disk.zero(&file, 0, size) {
            // The half-made file would take the space that is missing; it holds nothing.
            if let Err(left) = self.disk.remove(&path) {
                tracing::warn!(%left, "a half-made spare file stays behind until the next start");
            }
            return Err(StoreError::io("reserve space for", &path)(error));
        }
        self.sync_folder()?;
        Ok(Spare { path, file })
    }

    /// Overwrites a freed segment; keeps it as a spare unless there are enough or its size is another.
    fn clean(&self, path: &Path, enough: bool) -> Result<Option<Spare>, StoreError> {
        let spare = if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("spare-")) {
            path.to_path_buf()
        } else {
            let spare = self.name();
            self.disk.rename(path, &spare).map_err(StoreError::io("rename", path))?;
            self.sync_folder()?;
            spare
        };
        let file =
            OpenOptions::new().read(true).write(true).open(&spare).map_err(StoreError::io("open", &spare))?;
        let size = file.metadata().map_err(StoreError::io("examine", &spare))?.len();
        self.disk.zero(&file, 0, size).map_err(StoreError::io("overwrite", &spare))?;
        if !enough && size == self.size {
            return Ok(Some(Spare { path: spare, file }));
        }
        self.disk.remove(&spare).map_err(StoreError::io("remove", &spare))?;
        self.sync_folder()?;
        Ok(None)
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        self.disk.sync_dir(&self.folder).map_err(StoreError::io("flush the folder", &self.folder))
    }
}
