//! The port: what broker and agent may rely on, whatever keeps the bytes.

use core::fmt;
use std::sync::Arc;

use crate::{Snapshot, StoreError};

/// Name of a blob, chosen by the caller (a digest of its content is a good choice).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl From<[u8; 32]> for BlobId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// One row put (`value` present) or deleted (`value` absent). Deleting what is not there is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The table.
    pub table: u8,
    /// The key within the table, any bytes, may be empty.
    pub key: Vec<u8>,
    /// The new value, or `None` to delete the row.
    pub value: Option<Vec<u8>>,
}

/// One atomic batch of changes. Rows apply in order, so the last change of a key wins; blobs are put before
/// blobs are dropped. Putting an id again replaces its bytes; dropping an unknown id is no error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// Rows to put or delete.
    pub rows: Vec<RowChange>,
    /// Blobs to keep.
    pub blobs: Vec<(BlobId, Vec<u8>)>,
    /// Blobs no longer needed.
    pub drops: Vec<BlobId>,
}

impl Turn {
    /// Adds a row put.
    #[must_use]
    pub fn put(mut self, table: u8, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.rows.push(RowChange { table, key: key.into(), value: Some(value.into()) });
        self
    }

    /// Adds a row deletion.
    #[must_use]
    pub fn delete(mut self, table: u8, key: impl Into<Vec<u8>>) -> Self {
        self.rows.push(RowChange { table, key: key.into(), value: None });
        self
    }

    /// Adds a blob.
    #[must_use]
    pub fn blob(mut self, id: BlobId, bytes: impl Into<Vec<u8>>) -> Self {
        self.blobs.push((id, bytes.into()));
        self
    }

    /// Drops a blob.
    #[must_use]
    pub fn forget(mut self, id: BlobId) -> Self {
        self.drops.push(id);
        self
    }
}

/// A row as read: key, value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Figures for metrics and tests. Sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns committed since open.
    pub turns: u64,
    /// Flushes to stable storage of turn records since open.
    pub syncs: u64,
    /// Number of the last durable record, counted over the life of the store.
    pub sequence: u64,
    /// Number of the last record the index has applied.
    pub indexed: u64,
    /// Segments in use.
    pub segments: u64,
    /// Bytes of the segments in use.
    pub disk_bytes: u64,
    /// Bytes that restating the live rows and blobs would take.
    pub live_bytes: u64,
    /// Live rows.
    pub live_rows: u64,
    /// Live blobs.
    pub live_blobs: u64,
    /// Segments freed since open.
    pub freed_segments: u64,
    /// Bytes copied forward since open to free segments.
    pub forwarded_bytes: u64,
}

/// Durable storage of one process.
///
/// **Durable on return.** When [`commit`](Store::commit) returns `Ok`, the whole turn survives a crash of the
/// process, of the operating system and loss of power (on storage that honours a flush). When it returns an
/// error, the turn is *not confirmed*: after a restart it is either wholly there or wholly absent. Except for
/// [`StoreError::TooLarge`], refused before anything is written, an error poisons the store: every later
/// commit fails, because after a failed flush nobody knows what the disk holds and asking again may lie.
/// Reads keep answering from what was confirmed.
///
/// **Never stale.** `get`, `scan` and `blob` include every confirmed turn and nothing else. What may be stale:
/// the counts in [`Stats`] that describe the disk.
///
/// **Order.** Turns are applied in the order of the calls; there is one writer.
///
/// **Concurrency.** A store belongs to one thread at a time. [`BlobReader`] handles may be used from any
/// number of threads while the writer commits; a handle sees a blob from the moment its turn is confirmed
/// until the moment the turn that drops it is. A blob is returned whole and verified, or not at all.
///
/// **Erasure.** A dropped blob cannot be read through the store any more once its turn is confirmed. Its
/// bytes leave the disk later, when the store recycles the space; see [`Store::tidy`] and
/// [`Store::erase`].
pub trait Store: Send + fmt::Debug {
    /// Makes the turn durable and visible.
    fn commit(&mut self, turn: Turn) -> Result<(), StoreError>;

    /// All rows of a table in ascending key order.
    fn scan(&self, table: u8) -> Result<Vec<Row>, StoreError>;

    /// One row.
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// One blob, its checksum verified.
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError>;

    /// What is confirmed, as files that can be read from another thread while turns are committed: in a folder of
    /// their own they make up a store with exactly these turns. As long as it exists, freed space is not given
    /// back and an erasure waits.
    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Err(StoreError::NoFiles)
    }

    /// Figures as of now.
    fn stats(&self) -> Stats;

    /// A handle that reads blobs from other threads.
    fn blob_reader(&self) -> BlobReader;

    /// Does a bounded piece of housekeeping when some is due, and says whether it did. Ordinary commits do the
    /// same; call this when idle, so that space is given back without traffic. Fails as `commit` does.
    fn tidy(&mut self) -> Result<bool, StoreError>;

    /// Overwrites the bytes of every blob dropped so far, at the cost of restating all that is live. On `Ok` no
    /// file of the store holds them any more, nor any deleted value longer than 256 bytes; shorter ones may
    /// leave remnants in the index. What a file system or disk keeps of overwritten blocks (copy on write, wear
    /// levelling, snapshots) is beyond a program's reach.
    fn erase(&mut self) -> Result<(), StoreError>;

    /// One bounded step of what [`erase`](Store::erase) does in one go, for who has other work meanwhile. The
    /// first call after a completed round begins one, for everything dropped and deleted before that call; says
    /// whether more is due. At `false` the promise of `erase` holds for that. Turns may be committed between the
    /// steps. What is dropped after a round began may need another one. Fails as `commit` does.
    fn erase_step(&mut self) -> Result<bool, StoreError>;

    /// Finishes housekeeping and gives the folder back. Not calling it loses nothing.
    fn close(self: Box<Self>) -> Result<(), StoreError>;
}

/// Where a [`BlobReader`] reads from; one per implementation of [`Store`].
pub trait BlobSource: Send + Sync + fmt::Debug {
    /// One blob, verified.
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A cheap handle that reads blobs while the writer commits. Once its store is closed it answers
/// [`StoreError::Closed`].
#[derive(Debug, Clone)]
pub struct BlobReader(Arc<dyn BlobSource>);

impl BlobReader {
    /// Wraps a source.
    pub fn new(source: Arc<dyn BlobSource>) -> Self {
        Self(source)
    }

    /// One blob, its checksum verified.
    pub fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.blob(id)
    }
}
