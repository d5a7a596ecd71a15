//! What can go wrong, whose fault it is and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store cannot open, read or commit. Every text names the place, the fault and the next step.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused an operation on a file or folder.
    #[error("cannot {action} {}: {source}. {}", path.display(), advice(source.kind()))]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// Bytes that were durable are no longer what was written.
    #[error(
        "{} is damaged at byte {offset}: {fault}. Nothing was changed. Make a copy of the whole folder, check \
         the disk, and restore this folder from a backup", path.display()
    )]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Offset in that file of the first byte that cannot be trusted.
        offset: u64,
        /// What is wrong with it.
        fault: String,
    },
    /// A segment that the journal still needs is not there.
    #[error(
        "segment {number} is missing: {} does not exist. Somebody or something removed a part of the journal; \
         put the file back or restore the whole folder from a backup", path.display()
    )]
    Missing {
        /// Number of the segment.
        number: u64,
        /// Where it should be.
        path: PathBuf,
    },
    /// The index has applied records that the journal does not have. What it has applied was confirmed, so that
    /// something is lost, or the index is of another store.
    #[error(
        "the journal ends with record {end}, and the index in {} has applied {applied}: records that were confirmed \
         are gone, as when an older copy of the journal was put back, or the index is another store's. Nothing was \
         changed. Put back the journal that belongs with it, or the whole folder from a backup; if what is missing \
         is known and accepted, remove the folder of the index and start again", index.display()
    )]
    Lost {
        /// The index folder.
        index: PathBuf,
        /// Number of the last record the index has applied.
        applied: u64,
        /// Number of the last record in the journal.
        end: u64,
    },
    /// Another process has the folder open.
    #[error(
        "{} is in use by another process. Stop that process first; two writers would destroy each other's \
         records", path.display()
    )]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The turn is larger than the limit; nothing was written and the store stays usable.
    #[error(
        "this turn needs {bytes} bytes in the journal, the limit is {limit}. Split it into smaller turns"
    )]
    TooLarge {
        /// Bytes the record would take.
        bytes: u64,
        /// The limit, from the options.
        limit: u64,
    },
    /// An earlier failure left it unknown what is on the disk: nothing more is accepted.
    #[error(
        "this store stopped after an earlier failure: {cause}. Repair the cause and restart the program; what \
         was confirmed is kept"
    )]
    Poisoned {
        /// The earlier failure.
        cause: String,
    },
    /// The derived index failed while running.
    #[error("the index in {} failed: {fault}. {}", path.display(), index_advice(fault))]
    Index {
        /// The index folder.
        path: PathBuf,
        /// What sled said.
        fault: String,
    },
    /// The options contradict themselves.
    #[error("unusable storage setting: {fault}")]
    Settings {
        /// Which one and why.
        fault: String,
    },
    /// The store has no files to copy.
    #[error("this store is kept in memory alone: there are no files to copy")]
    NoFiles,
    /// A reader outlived its store.
    #[error("the store of this reader is closed. Open the store again and take a new reader")]
    Closed,
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, fault: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), offset, fault: fault.into() }
    }

    /// Whether the store goes on after this error; only a turn refused before anything was written allows it.
    pub fn leaves_store_usable(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}

/// Whether there was no space, by what sled says of it: it keeps nothing but the text, of one kind or the other.
pub(crate) fn is_full(fault: &str) -> bool {
    ["StorageFull", "No space left"].iter().any(|word| fault.contains(word))
}

fn index_advice(fault: &str) -> &'static str {
    if is_full(fault) {
        advice(io::ErrorKind::StorageFull)
    } else {
        "Restart the program: the index is rebuilt from the journal"
    }
}

/// The next step for the person who runs the program.
fn advice(kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded {
        "No space left on this disk: free or add space, then restart; nothing that was confirmed is lost"
    } else if kind == io::ErrorKind::PermissionDenied {
        "Give the user that runs this program read and write permission on this path and the folders above it"
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        "The disk is mounted read-only: mount it writable, or choose another folder"
    } else if kind == io::ErrorKind::NotADirectory || kind == io::ErrorKind::AlreadyExists {
        "A file stands where a folder is needed: move it away, or choose another folder"
    } else if kind == io::ErrorKind::NotFound {
        "Check the path in the configuration"
    } else {
        "Check the disk and its log, then restart; nothing that was confirmed is lost"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_path_fault_and_next_step() {
        for (kind, hint, dutch) in [
            (io::ErrorKind::StorageFull, "No space left", "Geen ruimte"),
            (io::ErrorKind::PermissionDenied, "permission on this path", "rechten op dit pad"),
            (io::ErrorKind::ReadOnlyFilesystem, "read-only", "alleen gelezen"),
            (io::ErrorKind::NotADirectory, "A file stands", "Er staat een bestand"),
        ] {
            let error = StoreError::io("write", Path::new("/data/x"))(kind.into());
            let (text, other) = (error.to_string(), error.dutch());
            assert!(other.contains("/data/x") && other.contains(dutch), "{other}");
            assert!(
                text.contains("/data/x") && text.contains("cannot write") && text.contains(hint),
                "{text}"
            );
        }
    }

    #[test]
    fn an_index_without_space_is_not_helped_by_a_restart() {
        let full = io::Error::from_raw_os_error(28);
        for fault in [format!("IO error: {full:?}"), sled::Error::Io(full).to_string()] {
            let error = StoreError::Index { path: "/data/index".into(), fault };
            assert!(error.to_string().contains("No space left on this disk"), "{error}");
            assert!(error.dutch().contains("Geen ruimte meer"), "{}", error.dutch());
        }
        let other = StoreError::Index { path: "/data/index".into(), fault: "sled panicked".into() };
        assert!(other.to_string().contains("rebuilt from the journal"), "{other}");
        assert!(other.dutch().contains("herbouwd uit het journaal"), "{}", other.dutch());
    }
}
