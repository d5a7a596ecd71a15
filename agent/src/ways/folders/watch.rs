//! Which files of a folder are whole: those that have not changed for a while.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long a file has to stay as it is. Measured here, because the clock of a network drive may be another.
const SETTLED: Duration = Duration::from_secs(2);

/// Most files taken in one look.
const FILES_MAX: usize = 500;

/// Endings of files that somebody is still writing.
const UNFINISHED: [&[u8]; 3] = [b".tmp", b".part", b".crdownload"];

/// How a file looks from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Stamp {
    modified: (i64, i64),
    size: u64,
}

impl Stamp {
    /// How many bytes it has.
    pub(super) const fn size(self) -> u64 {
        self.size
    }

    pub(super) fn of(meta: &Metadata) -> Self {
        Self { modified: (meta.mtime(), meta.mtime_nsec()), size: meta.len() }
    }
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) stamp: Stamp,
    pub(super) kind: FileType,
}

/// What was seen in a folder, and since when it is as it is.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: BTreeMap<OsString, (Stamp, Instant)>,
}

impl Watch {
    /// Looks at the folder: the files that are whole, oldest first, and whether there are more than those.
    pub(super) fn look(&mut self, dir: &Path, now: Instant) -> io::Result<(Vec<Found>, bool)> {
        let mut seen = BTreeMap::new();
        let mut whole = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_unfinished(&name) {
                continue;
            }
            // One that went away meanwhile was renamed by whoever wrote it.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                continue;
            }
            let stamp = Stamp::of(&meta);
            let since = match self.seen.get(&name) {
                Some((before, since)) if *before == stamp => *since,
                _ => now,
            };
            seen.insert(name.clone(), (stamp, since));
            if since != now && now.duration_since(since) >= SETTLED {
                whole.push(Found { name, stamp, kind: meta.file_type() });
            }
        }
        self.seen = seen;
        whole.sort_by(|one, other| (one.stamp, &one.name).cmp(&(other.stamp, &other.name)));
        let more = whole.len() > FILES_MAX;
        whole.truncate(FILES_MAX);
        Ok((whole, more))
    }
}

/// Whether a name says that the file is not ready, or not meant for others.
fn is_unfinished(name: &OsStr) -> bool {
    let name = name.as_bytes().to_ascii_lowercase();
    name.starts_with(b".") || name.starts_with(b"~$") || UNFINISHED.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| found.name.to_str().unwrap()).collect()
    }

    #[test]
    fn a_file_is_whole_when_it_has_not_changed_for_two_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watch, begun) = (Watch::default(), Instant::now());
        let mut at = |seconds: u64| watch.look(dir.path(), begun + Duration::from_secs(seconds)).unwrap().0;
        fs::write(dir.path().join("a.json"), "1").unwrap();
        assert!(at(0).is_empty(), "just seen");
        assert!(at(1).is_empty(), "a second old");
        fs::write(dir.path().join("a.json"), "12").unwrap();
        assert!(at(2).is_empty(), "written to meanwhile");
        assert!(at(3).is_empty());
        assert_eq!(names(&at(4)), ["a.json"]);
        fs::remove_file(dir.path().join("a.json")).unwrap();
        assert!(at(5).is_empty());
        fs::write(dir.path().join("a.json"), "12").unwrap();
        assert!(at(100).is_empty(), "another file of the same name begins anew");
    }

    #[test]
    fn what_is_still_written_and_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.json", "~$a.csv", "a.json.tmp", "a.PART", "a.json.crdownload", "b.json"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("sent")).unwrap();
        std::os::unix::fs::symlink("b.json", dir.path().join("link.json")).unwrap();
        let (mut watch, begun) = (Watch::default(), Instant::now());
        watch.look(dir.path(), begun).unwrap();
        let (found, more) = watch.look(dir.path(), begun + SETTLED).unwrap();
        assert!(!more);
        let mut found = names(&found);
        found.sort_unstable();
        assert_eq!(found, ["b.json", "link.json"]);
    }
}
