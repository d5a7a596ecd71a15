//! The append-only journal and its rebuildable index: the one storage library of broker and agents.
//!
//! The state is a set of **tables** (rows: key bytes → value bytes) and **blobs** (large immutable byte
//! strings named by a 32-byte id). A **turn** is a batch of changes to both. [`Store`] is the port;
//! [`JournalStore`] keeps it on disk, [`MemoryStore`] in memory; [`conformance`] holds both to the contract.
//!
//! On disk, in the folder given to [`JournalStore::open`]:
//!
//! ```text
//! lock                      held while a process uses the folder
//! journal/segment-<number>  the truth: one turn = one record = one fdatasync
//! journal/spare-<number>    zeroed files waiting to become segments
//! index/                    sled: rows and blob places, derived; deleted and rebuilt whenever in doubt
//! ```
//!
//! Where to read on: [`record`] (format, what a torn write is and what damage is), [`segment`] (files, and
//! the scan a start-up does), `journal` (appending, opening), `compact` (how old segments are freed),
//! `index` (sled and the overlay in front of it), `snapshot` (copies of a store in use), [`faults`] (failing disks for tests).

mod compact;
pub mod conformance;
mod disk;
mod dutch;
mod error;
mod expendable;
pub mod faults;
mod index;
mod journal;
mod memory;
mod pool;
pub mod record;
pub mod segment;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;

pub use disk::{Cut, IndexRecovery, JournalStore, Options, RebuildReason, Recovery};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use snapshot::{Snapshot, SnapshotFile};
pub use store::{BlobId, BlobReader, BlobSource, Row, RowChange, Stats, Store, Turn};

/// A length as a file offset; the two never differ on the platforms this runs on.
pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A file offset as a length in memory; saturates, so that a bound check fails instead of a cast wrapping.
pub(crate) fn narrow(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
