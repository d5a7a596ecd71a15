//! The processes the demo started: it ends these, by their own numbers, and no other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seinhuis_tests::Process;
use seinhuis_tests::postgres::Postgres;

use crate::trouble::{Told, Trouble, check};

/// How long a process may take to stop when asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an interrupted story ends with; nobody reads it.
const INTERRUPTED: (&str, &str) = ("De demo is onderbroken.", "The demo was interrupted.");

#[derive(Debug, Default)]
struct Inner {
    closed: bool,
    all: Vec<(String, Process)>,
    /// A partner's own database, which the processes use.
    database: Option<Postgres>,
}

/// The processes. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Inner>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the story may go on.
    ///
    /// # Errors
    /// When everything was closed.
    pub(crate) fn open(&self) -> Told {
        check(!self.lock().closed, INTERRUPTED.0, INTERRUPTED.1)
    }

    /// Takes a process in.
    ///
    /// # Errors
    /// When everything was closed meanwhile; the process is then ended at once.
    pub(crate) fn add(&self, name: &str, process: Process) -> Told {
        let mut inner = self.lock();
        check(!inner.closed, INTERRUPTED.0, INTERRUPTED.1)?;
        inner.all.push((name.to_owned(), process));
        Ok(())
    }

    /// Takes a database in, of which there is one at most, and starts it: who closes everything meanwhile waits for that,
    /// so that it is ended too.
    ///
    /// # Errors
    /// When everything was closed already, and when it does not start.
    pub(crate) fn host(&self, database: Postgres) -> Told {
        let mut inner = self.lock();
        check(!inner.closed, INTERRUPTED.0, INTERRUPTED.1)?;
        Ok(inner.database.insert(database).first()?)
    }

    /// Has the database do something.
    ///
    /// # Errors
    /// What it says against it, and when there is none any more.
    pub(crate) fn sql(&self, text: &str) -> Told<String> {
        let inner = self.lock();
        check(!inner.closed, INTERRUPTED.0, INTERRUPTED.1)?;
        Ok(inner.database.as_ref().ok_or_else(Trouble::bug)?.sql(text)?)
    }

    /// Name and number of each that still runs.
    pub(crate) fn alive(&self) -> Vec<(String, u32)> {
        let mut inner = self.lock();
        let alive = inner.all.iter_mut().filter_map(|(name, process)| {
            let id = process.id();
            process.runs().then(|| (name.clone(), id))
        });
        alive.collect()
    }

    /// Stops these in an orderly way; each has to end by itself and well.
    ///
    /// # Errors
    /// When one does not.
    pub(crate) fn stop(&self, names: &[&str]) -> Told {
        let mut chosen = Vec::new();
        let mut inner = self.lock();
        for (name, process) in std::mem::take(&mut inner.all) {
            if names.contains(&name.as_str()) {
                chosen.push((name, process));
            } else {
                inner.all.push((name, process));
            }
        }
        drop(inner);
        for (name, process) in chosen {
            let status = process.stop(PATIENCE)?;
            if !status.success() {
                return Err(Trouble::new(
                    format!("Het proces van {name} stopte niet goed: {status}."),
                    format!("The process of {name} did not stop well: {status}."),
                ));
            }
        }
        Ok(())
    }

    /// Ends everything, now and from now on.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let (all, database) = (std::mem::take(&mut inner.all), inner.database.take());
        drop(inner);
        for (_, process) in all {
            // One that does not stop in time is killed when it is dropped.
            _ = process.stop(PATIENCE);
        }
        drop(database);
    }
}
