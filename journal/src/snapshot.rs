//! The files of a store as of one turn, read while later turns are committed.
//!
//! A record is never rewritten, so the bytes of a segment up to where its records ended stay what they were; what
//! is written behind them is left out. Compaction frees segments meanwhile, but a freed segment is overwritten only
//! once the last snapshot is gone: it keeps its name and its bytes until then, at the cost of its space.

use std::sync::Arc;

use crate::journal::{Segment, segment_name};
use crate::pool::Hold;
use crate::segment::{self, Tail};
use crate::{StoreError, narrow};

/// What a [`Store`](crate::Store) held after one turn, as files of which a store can be opened. Freed space is not
/// overwritten as long as it exists: do not keep it longer than copying takes.
#[derive(Debug)]
pub struct Snapshot {
    files: Vec<SnapshotFile>,
    sequence: u64,
    _hold: Hold,
}

impl Snapshot {
    pub(crate) const fn new(files: Vec<SnapshotFile>, sequence: u64, hold: Hold) -> Self {
        Self { files, sequence, _hold: hold }
    }

    /// Number of the last record in it, counted over the life of the store.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Its files, all of which the store needs.
    pub fn files(&self) -> &[SnapshotFile] {
        &self.files
    }
}

/// One file of a [`Snapshot`].
#[derive(Debug)]
pub struct SnapshotFile {
    segment: Arc<Segment>,
    /// Where its records ended.
    end: u64,
}

impl SnapshotFile {
    pub(crate) const fn new(segment: Arc<Segment>, end: u64) -> Self {
        Self { segment, end }
    }

    /// Its place below the store's folder, with `/` between the parts.
    pub fn path(&self) -> String {
        format!("journal/{}", segment_name(self.segment.header.number))
    }

    /// Its bytes, every one of them verified: a copy of damage is no copy.
    ///
    /// # Errors
    /// When the disk refuses or the file is not what was written; the error names it.
    pub fn read(&self) -> Result<Vec<u8>, StoreError> {
        let Segment { header, path, .. } = &*self.segment;
        let mut bytes = Vec::new();
        self.segment.read(0, narrow(self.end), &mut bytes)?;
        bytes.resize(narrow(header.capacity), 0);
        let damaged = |at, fault: &str| StoreError::damaged(path, at, fault);
        let scan = segment::scan_segment(&bytes, true).map_err(|fault| damaged(0, fault))?;
        if scan.header != *header {
            return Err(damaged(0, "the segment has another header than when it was opened"));
        }
        match scan.tail {
            Tail::Clean if scan.end == self.end => Ok(bytes),
            Tail::Clean => Err(damaged(scan.end, "records are missing")),
            Tail::Torn { .. } => Err(damaged(scan.end, "a part of a confirmed record is zero")),
            Tail::Damaged { fault, .. } => Err(damaged(scan.end, fault)),
        }
    }
}
