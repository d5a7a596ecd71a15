//! Reading many entries in order: one bundle at a time, without a lock or a copy for each entry.

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tile::{self, Bundle};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;

use super::{BUNDLE_MAX, Log, WIDTH, broken};

/// A place in the log. Holds one bundle, at most 16 MiB.
#[derive(Debug)]
pub struct Reader<'a> {
    log: &'a Log,
    /// The index of the bundle that is held.
    held: Option<u64>,
    bytes: Vec<u8>,
    /// Where each of its entries begins and ends.
    bounds: Vec<(usize, usize)>,
    checks: bool,
}

impl Log {
    /// A reader of entries.
    pub const fn reader(&self) -> Reader<'_> {
        Reader { log: self, held: None, bytes: Vec::new(), bounds: Vec::new(), checks: false }
    }

    /// A reader that holds every bundle against its hashes, so that damage on disk is found here.
    pub fn checking_reader(&self) -> Reader<'_> {
        Reader { checks: true, ..self.reader() }
    }
}

impl Log {
    /// The hash of an entry in the tree, which stays when its text is removed.
    ///
    /// # Errors
    /// A sentence when its tile is missing.
    pub fn leaf(&self, index: u64) -> Result<Digest, Complaint> {
        let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        self.with_tile(0, index / WIDTH, |tile| tile.hashes().get(place).copied())
            .flatten()
            .ok_or_else(|| broken(&self.dir, "a hash is missing from its tile"))
    }
}

impl Reader<'_> {
    /// The exact bytes of an entry.
    ///
    /// # Errors
    /// A sentence when it is not there or its bundle is damaged.
    pub fn entry(&mut self, index: u64) -> Result<&[u8], Complaint> {
        let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        if self.held != Some(index / WIDTH) || self.bounds.len() <= place {
            self.hold(index / WIDTH)?;
        }
        let bounds = self.bounds.get(place).copied();
        bounds
            .and_then(|(from, to)| self.bytes.get(from..to))
            .ok_or_else(|| broken(&self.log.dir, "an entry is missing from its bundle"))
    }

    fn hold(&mut self, index: u64) -> Result<(), Complaint> {
        let dir = &self.log.dir;
        self.held = None;
        self.bounds.clear();
        let tail = {
            let tail = self.log.read();
            tail.bundle(index).map(<[Vec<u8>]>::to_vec)
        };
        if let Some(entries) = tail {
            self.bytes.clear();
            for entry in entries {
                self.bounds.push((self.bytes.len(), self.bytes.len() + entry.len()));
                self.bytes.extend_from_slice(&entry);
            }
        } else {
            let bundle =
                Bundle::new(index, tile::FULL_WIDTH).map_err(|error| broken(dir, &error.to_string()))?;
            let path = dir.join(bundle.to_string());
            self.bytes = files::read(&path, BUNDLE_MAX)?;
            let entries =
                tile::decode_bundle(&self.bytes).map_err(|error| broken(&path, &error.to_string()))?;
            let mut at = 0;
            for entry in entries {
                // An entry stands behind its length, two bytes.
                let from = at + 2;
                at = from + entry.len();
                self.bounds.push((from, at));
            }
        }
        if self.checks {
            self.check(index)?;
        }
        self.held = Some(index);
        Ok(())
    }

    fn check(&self, index: u64) -> Result<(), Complaint> {
        let entries = self.bounds.iter().filter_map(|(from, to)| self.bytes.get(*from..*to));
        let hashes: Vec<Digest> = entries.map(leaf_hash).collect();
        if self.log.with_tile(0, index, |tile| tile.hashes().starts_with(&hashes)) == Some(true) {
            Ok(())
        } else {
            Err(broken(&self.log.dir, &format!("bundle {index} does not match its hashes")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_the_same_from_files_and_memory_in_any_order_and_damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), 0, Vec::new()).unwrap();
        let entry = |index: u64| format!("entry {index}").into_bytes();
        log.append((0..600).map(entry).collect(), b"");
        log.publish().unwrap();
        let mut reader = log.checking_reader();
        for index in [0, 1, 255, 256, 599, 511, 512, 0] {
            assert_eq!(reader.entry(index).unwrap(), entry(index));
        }
        assert!(reader.entry(600).is_err(), "after the last");
        log.append(vec![entry(600)], b"");
        assert_eq!(reader.entry(600).unwrap(), entry(600), "what came after the bundle was held");
        let path = dir.path().join("tile/entries/001");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(log.reader().entry(256).is_ok());
        let complaint = log.checking_reader().entry(256).unwrap_err();
        assert!(complaint.what.en.contains("bundle 1"), "{}", complaint.what.en);
    }
}
