//! The console's book: who did what, and why.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use seinhuis_shared::ids::Oin;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::web::form::fresh_key;
use serde::{Deserialize, Serialize};

use super::deed::Deed;

/// A line of the book: something that somebody is about to do, asks for, or agrees to, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::console) struct Done {
    at: String,
    who: String,
    act: String,
    subject: Option<Oin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    /// Of an alarm, its code and what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alarm: Option<String>,
    reason: String,
    /// Of an act that two people do: the same in each of its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
    /// What was said of such an act: `asked`, `agreed` or `turned-down`; of any act, what came of it in a line after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<String>,
    /// Random, where the log has the hash of the whole line: that tells nothing to who guesses at names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

impl Done {
    /// Something that is about to be done.
    pub(in crate::console) fn new(who: &str, act: &str, subject: Option<Oin>, reason: &str) -> Self {
        let (who, act, reason) = (who.to_owned(), act.to_owned(), reason.to_owned());
        let at = clock::now().to_string();
        Self { at, who, act, subject, flow: None, alarm: None, reason, asked: None, said: None, salt: None }
    }

    /// The same, as a line of which the log has the hash.
    pub(in crate::console) fn salted(self) -> Self {
        Self { salt: Some(fresh_key()), ..self }
    }

    /// The same, of a deed.
    pub(super) fn of(who: &str, deed: &Deed, reason: &str) -> Self {
        let (flow, alarm) = (deed.flow().map(str::to_owned), deed.alarm());
        Self { flow, alarm, ..Self::new(who, deed.name(), deed.subject(), reason) }
    }

    /// The same, in the lines of an act that two people do.
    pub(super) fn saying(self, asked: &str, said: &str) -> Self {
        Self { asked: Some(asked.to_owned()), said: Some(said.to_owned()), ..self }
    }

    /// The line after this one, that says what came of it.
    pub(in crate::console) fn came(&self, of: String) -> Self {
        Self { at: clock::now().to_string(), said: Some(of), ..self.clone() }
    }
}

/// The book: a line of JSON for each.
#[derive(Debug, Clone)]
pub(in crate::console) struct Book {
    path: Arc<PathBuf>,
    alone: Arc<Mutex<()>>,
}

impl Book {
    /// The one at `path`, which is made when there is something to write.
    pub(in crate::console) fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_path_buf()), alone: Arc::default() }
    }

    /// Adds a line, which is on the disk after that.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub(in crate::console) fn write(&self, done: &Done) -> Result<(), Complaint> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(done).map_err(|error| Complaint::bug(error.to_string()))?;
        line.push(b'\n');
        let write = || {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&*self.path)?;
            file.write_all(&line)?;
            file.sync_all()
        };
        write().map_err(|error| Complaint::io(Doing::Write, &self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_grows_by_a_line_for_each_act_that_others_cannot_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console-acts.jsonl");
        let book = Book::new(&path);
        let oin = "00000099000000001000".parse().ok();
        for reason in ["telefonisch\nbevestigd", "\"x\""] {
            book.write(&Done::new("Anna", "partner-revoke", oin, reason)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let all: Vec<Done> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].who.as_str(), all[0].reason.as_str()), ("Anna", "telefonisch\nbevestigd"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            Book::new(dir.path()).write(&all[0]).is_err(),
            "a book that cannot be written lets nothing be done"
        );
    }
}
