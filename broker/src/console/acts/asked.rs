//! Acts that two people do: what somebody asks for, until a second person agrees to it.

use std::path::Path as FilePath;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use serde::{Deserialize, Serialize};

use super::deed::Deed;

/// How long somebody else may think about it.
pub(super) const OPEN_FOR: Span = Span::days(1);
/// Most acts that wait for a second person.
const MOST: usize = 100;
/// Most bytes of the file.
const FILE_MAX: usize = 4 * 1024 * 1024;

/// An act that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// What it is found by.
    pub(super) id: String,
    /// When it was asked for.
    pub(super) at: Timestamp,
    /// What people call who asks.
    pub(super) who: String,
    /// What nobody else is.
    pub(super) person: String,
    pub(super) deed: Deed,
    pub(super) reason: String,
}

impl Request {
    /// When nobody can agree to it any more.
    pub(super) const fn ends(&self) -> Timestamp {
        self.at.plus(OPEN_FOR)
    }

    fn is_open(&self, now: Timestamp) -> bool {
        now < self.ends()
    }
}

/// The one with this id, if somebody can agree to it now.
fn with_id<'a>(all: &'a [Request], id: &str, now: Timestamp) -> Option<&'a Request> {
    all.iter().find(|one| one.id == id && one.is_open(now))
}

/// Acts that wait, kept in a file: a start of the broker forgets none.
#[derive(Debug, Clone)]
pub(in crate::console) struct Asked {
    path: Arc<PathBuf>,
    all: Arc<Mutex<Vec<Request>>>,
}

impl Asked {
    /// Those in the file at `path`, if it is there. What cannot be read is to be asked for again.
    pub(in crate::console) fn open(path: &FilePath) -> Self {
        let read = |path: &FilePath| -> Result<Vec<Request>, String> {
            let bytes = files::read_private(path, FILE_MAX).map_err(|complaint| complaint.what.en)?;
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        };
        let all = if path.exists() { read(path) } else { Ok(Vec::new()) };
        let all = all.unwrap_or_else(|error| {
            tracing::warn!(
                error,
                "acts that wait for a second person cannot be read; they have to be asked for again"
            );
            Vec::new()
        });
        Self { path: Arc::new(path.to_path_buf()), all: Arc::new(Mutex::new(all)) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that somebody can agree to now, the oldest first.
    pub(super) fn open_at(&self, now: Timestamp) -> Vec<Request> {
        self.lock().iter().filter(|one| one.is_open(now)).cloned().collect()
    }

    /// The one with this id, if somebody can agree to it now.
    pub(super) fn find(&self, id: &str, now: Timestamp) -> Option<Request> {
        with_id(&self.lock(), id, now).cloned()
    }

    /// How many there are.
    pub(in crate::console) fn count(&self, now: Timestamp) -> usize {
        self.lock().iter().filter(|one| one.is_open(now)).count()
    }

    /// Adds one, in the place of those that are over. `false` when too many wait.
    ///
    /// # Errors
    /// A sentence naming the file; nothing is added then.
    pub(super) fn add(&self, request: Request, now: Timestamp) -> Result<bool, Complaint> {
        let mut all = self.lock();
        let mut next: Vec<Request> = all.iter().filter(|one| one.is_open(now)).cloned().collect();
        if next.len() >= MOST {
            return Ok(false);
        }
        next.push(request);
        self.keep(&next)?;
        *all = next;
        Ok(true)
    }

    /// Takes one out, for one who agrees to it or turns it down: nobody else finds it after that.
    ///
    /// # Errors
    /// A sentence naming the file; it is still there then.
    pub(super) fn take(&self, id: &str, now: Timestamp) -> Result<Option<Request>, Complaint> {
        let mut all = self.lock();
        let Some(found) = with_id(&all, id, now).cloned() else { return Ok(None) };
        let next: Vec<Request> = all.iter().filter(|one| one.id != id).cloned().collect();
        self.keep(&next)?;
        *all = next;
        Ok(Some(found))
    }

    fn keep(&self, all: &[Request]) -> Result<(), Complaint> {
        let bytes = serde_json::to_vec(all).map_err(|error| Complaint::bug(error.to_string()))?;
        files::write_private(&self.path, &bytes, Existing::Replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, at: Timestamp) -> Request {
        let oin = "00000099000000001000".parse().unwrap();
        let (who, person, reason) = ("Anna".into(), "anna".into(), "Sleutel gestolen".into());
        Request { id: id.into(), at, who, person, deed: Deed::Revoke(oin), reason }
    }

    #[test]
    fn what_waits_is_there_after_a_start_for_a_day_and_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console-asked.json");
        let now = Timestamp(1_800_000_000_000);
        let asked = Asked::open(&path);
        assert!(asked.add(request("a", now), now).unwrap());
        assert!(asked.add(request("b", now.plus(Span::hours(1))), now).unwrap());
        let asked = Asked::open(&path);
        assert_eq!(asked.open_at(now).len(), 2);
        assert_eq!(asked.take("a", now).unwrap(), Some(request("a", now)));
        assert_eq!(asked.take("a", now).unwrap(), None);
        let asked = Asked::open(&path);
        let later = now.plus(OPEN_FOR).plus(Span::hours(1));
        assert_eq!((asked.count(now), asked.count(later)), (1, 0));
        assert_eq!(asked.take("b", later).unwrap(), None, "it is over");
    }

    #[test]
    fn there_is_an_end_to_what_waits_and_what_is_over_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Asked::open(&dir.path().join("x"));
        let now = Timestamp(1_800_000_000_000);
        for number in 0..MOST {
            assert!(asked.add(request(&number.to_string(), now), now).unwrap());
        }
        assert!(!asked.add(request("more", now), now).unwrap());
        let later = now.plus(OPEN_FOR);
        assert!(asked.add(request("more", later), later).unwrap());
        assert_eq!(asked.count(later), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_means_that_nothing_waits_and_one_that_cannot_be_written_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        files::write_private(&path, b"{", Existing::Replace).unwrap();
        let now = Timestamp(1_800_000_000_000);
        assert_eq!(Asked::open(&path).count(now), 0);
        let nowhere = Asked::open(&dir.path().join("no/where"));
        assert!(nowhere.add(request("a", now), now).is_err());
        assert_eq!(nowhere.count(now), 0);
    }
}
