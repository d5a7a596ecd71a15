//! The sequencer: entries get their place in the log, and the log its next head.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{ProvedEntry, Receipt};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::tree::{BatchTree, Frontier};

use crate::shards::Shard;
use crate::write::Head;

/// The log as the core knows it: its edge, and the checkpoints that receipts may have to repeat.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) frontier: Frontier,
    pub(crate) head: Option<Head>,
    /// Time of the newest entry, committed or not.
    pub(crate) time: Timestamp,
    /// The rows of entries that are not in files yet: position of the first and after the last.
    pub(crate) unpublished: BTreeMap<u64, u64>,
    /// This broker's logs, from the first; the edge and head are those of the last.
    pub(crate) shards: Vec<Shard>,
    /// Whether what is known of the newest log is kept.
    pub(crate) recorded: bool,
    /// Signed checkpoints by the position after their last entry, with the time until which they are needed.
    pub(crate) notes: BTreeMap<u64, (Arc<Vec<u8>>, Timestamp)>,
}

impl Log {
    /// The checkpoint of the turn in which the entry at `position` was committed, and the position after its last.
    pub(crate) fn note_for(&self, position: u64) -> Option<(u64, Arc<Vec<u8>>)> {
        let (end, (note, _)) = self.notes.range(position.checked_add(1)?..).next()?;
        Some((*end, Arc::clone(note)))
    }
}

/// A closed turn's effect on the log: to be signed by the shell.
#[derive(Debug)]
pub struct Sealed {
    /// The log's origin, and the position of its first entry.
    origin: String,
    base: u64,
    pub(crate) tree: BatchTree,
    pub(crate) time: Timestamp,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Sealed {
    pub(crate) fn new(log: &Log, origin: &str, entries: Vec<Vec<u8>>, leaves: Vec<Digest>) -> Self {
        let mut tree = BatchTree::new(log.frontier.clone());
        for leaf in leaves {
            // A log of 2^63 entries is not reached; a leaf that is not counted would show in the root.
            if tree.append(leaf).is_err() {
                break;
            }
        }
        Self { origin: origin.to_owned(), base: log.base(), tree, time: log.time, entries }
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The position of the log's first entry.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// The number of entries the log has with this turn.
    pub const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root the log has with this turn.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// The position of this turn's first entry.
    pub const fn first(&self) -> u64 {
        self.base.saturating_add(self.tree.base().size())
    }

    /// The position after this turn's last entry.
    pub const fn end(&self) -> u64 {
        self.base.saturating_add(self.tree.size())
    }

    /// The turn's entries, in order.
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Whether the turn has entries, so that there is a new head to sign.
    pub fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The receipt of `count` of this turn's entries from position `first`.
    pub(crate) fn receipt(&self, first: u64, count: u8, note: &[u8]) -> Arc<Vec<u8>> {
        let entries = (first..first.saturating_add(u64::from(count)))
            .filter_map(|position| {
                let place = usize::try_from(position.checked_sub(self.first())?).ok()?;
                let index = position.checked_sub(self.base)?;
                Some(ProvedEntry {
                    index,
                    entry: Bytes(self.entries.get(place)?.clone()),
                    path: self.tree.inclusion_proof(index).ok()?,
                })
            })
            .collect();
        Arc::new(Receipt { version: 1, checkpoint: Bytes::from(note), entries }.to_bytes())
    }
}
