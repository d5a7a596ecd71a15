//! The derived index: sled, with an overlay in front of it.
//!
//! Changes of confirmed turns collect in the overlay, which every read consults first. A thread takes them
//! over every few hundred milliseconds and applies them to sled in one atomic batch together with the journal
//! position they bring it to; what was put and deleted in between never gets there. Nothing is only in sled.
//!
//! sled is not trusted. It is bound to this very history by the sum of the record at its position, and a
//! digest over all of its entries, kept in the same batch, is recomputed at every start: an index that lost
//! or changed anything is thrown away and rebuilt.
//!
//! Keys: `0` → [`Meta`] · `1 table key` → sequence 8, [`Held`] · `2 id` → sequence 8, [`Held`]. Long values and
//! blobs are held as the place where the journal has them: what they say never gets into sled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::expendable::{Expendable, guard, open_sled};
use crate::journal::Position;
use crate::record::{Directory, Part, Sum, Value, blob_cost, row_cost};
use crate::{BlobId, RebuildReason, StoreError, narrow, wide};

const META: &[u8] = &[0];
const ROWS: u8 = 1;
const BLOBS: u8 = 2;
const FORMAT: u32 = 1;
const META_LENGTH: usize = 68;
/// What an entry of the overlay takes besides its bytes; a rough figure for the memory limit.
const ENTRY_OVERHEAD: u64 = 96;

/// An overlay entry: the stored value, or `None` for a deletion.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Key of a row in the index.
pub(crate) fn row_key(table: u8, key: &[u8]) -> Vec<u8> {
    [&[ROWS, table], key].concat()
}

/// Key of a blob in the index.
pub(crate) fn blob_key(id: &BlobId) -> Vec<u8> {
    [&[BLOBS][..], &id.0].concat()
}

/// Where some bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) part: Part,
}

impl Place {
    /// Stored form of [`Held::Placed`], written by record `sequence`.
    fn store(&self, sequence: u64) -> Vec<u8> {
        let Part { offset, length, sum } = &self.part;
        let [sequence, segment, offset] = [sequence, self.segment, *offset].map(u64::to_le_bytes);
        [&sequence[..], &[PLACED], &segment, &offset, &length.to_le_bytes(), &sum.0].concat()
    }
}

/// What the index has of a row or blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held<B = Vec<u8>> {
    /// The bytes: `0`, bytes.
    Inline(B),
    /// Where they are: `1`, segment 8, offset 8, length 4, sum 16.
    Placed(Place),
}

const INLINE: u8 = 0;
const PLACED: u8 = 1;

impl<'a> Held<&'a [u8]> {
    /// Splits a stored value into the number of the record that wrote it and what is held.
    fn load(stored: &'a [u8]) -> Option<(u64, Self)> {
        let (sequence, rest) = stored.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let held = match *kind {
            INLINE => Self::Inline(rest),
            PLACED => {
                let (segment, rest) = rest.split_first_chunk()?;
                let (offset, rest) = rest.split_first_chunk()?;
                let (length, sum) = rest.split_first_chunk()?;
                let (offset, length) = (u64::from_le_bytes(*offset), u32::from_le_bytes(*length));
                let part = Part { offset, length, sum: Sum(sum.try_into().ok()?) };
                Self::Placed(Place { segment: u64::from_le_bytes(*segment), part })
            }
            _ => return None,
        };
        Some((u64::from_le_bytes(*sequence), held))
    }

    /// How long the bytes are that are held.
    fn length(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Placed(place) => narrow(u64::from(place.part.length)),
        }
    }

    fn into_owned(self) -> Held {
        match self {
            Self::Inline(bytes) => Held::Inline(bytes.to_vec()),
            Self::Placed(place) => Held::Placed(place),
        }
    }
}

/// What a record changes in the index: keys and stored values.
pub(crate) fn changes<'a>(
    sequence: u64,
    segment: u64,
    directory: &'a Directory<'_>,
) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> + 'a {
    let placed = move |part: &Part| Place { segment, part: *part }.store(sequence);
    let rows = directory.rows.iter().map(move |row| {
        let value = row.value.as_ref().map(|value| match value {
            Value::Inline(bytes) => [sequence.to_le_bytes().as_slice(), &[INLINE], bytes].concat(),
            Value::Apart(part) => placed(part),
        });
        (row_key(row.table, row.key), value)
    });
    let blobs = directory.blobs.iter().map(move |blob| (blob_key(&blob.id), Some(placed(&blob.part))));
    rows.chain(blobs).chain(directory.drops.iter().map(|id| (blob_key(id), None)))
}

/// Totals over the entries of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) blobs: u64,
    /// Bytes that restating everything in the journal would take.
    pub(crate) live: u64,
    /// Sum, modulo 2^128, of the digests of all entries: independent of their order.
    digest: u128,
}

impl Totals {
    fn add(&mut self, key: &[u8], stored: &[u8]) {
        let one = Self::of(key, stored);
        self.rows = self.rows.wrapping_add(one.rows);
        self.blobs = self.blobs.wrapping_add(one.blobs);
        self.live = self.live.wrapping_add(one.live);
        self.digest = self.digest.wrapping_add(one.digest);
    }

    fn remove(&mut self, key: &[u8], stored: &[u8]) {
        let one = Self::of(key, stored);
        self.rows = self.rows.wrapping_sub(one.rows);
        self.blobs = self.blobs.wrapping_sub(one.blobs);
        self.live = self.live.wrapping_sub(one.live);
        self.digest = self.digest.wrapping_sub(one.digest);
    }

    fn of(key: &[u8], stored: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(wide(key.len()).to_le_bytes());
        hash.update(key);
        hash.update(stored);
        let digest = u128::from_le_bytes(Sum::cut(hash.finalize().into()).0);
        let row = u64::from(key.first() == Some(&ROWS));
        Self { rows: row, blobs: 1 - row, live: live_bytes(key, stored), digest }
    }
}

/// What the index says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    pub(crate) position: Position,
    pub(crate) totals: Totals,
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let Totals { rows, blobs, live, digest } = self.totals;
        let mut out = FORMAT.to_le_bytes().to_vec();
        out.extend_from_slice(&self.position.sequence.to_le_bytes());
        out.extend_from_slice(&self.position.sum.0);
        for field in [rows, blobs, live] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&digest.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; META_LENGTH] = bytes.try_into().ok()?;
        let word = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let wide_word = |at: usize| -> Option<[u8; 16]> { bytes.get(at..at + 16)?.try_into().ok() };
        if bytes.first_chunk() != Some(&FORMAT.to_le_bytes()) {
            return None;
        }
        let position = Position { sequence: word(4)?, sum: Sum(wide_word(12)?) };
        let digest = u128::from_le_bytes(wide_word(52)?);
        Some(Self { position, totals: Totals { rows: word(28)?, blobs: word(36)?, live: word(44)?, digest } })
    }
}

/// An opened index that has proved to be whole.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) meta: Meta,
    db: Expendable<sled::Db>,
}

/// Opens an existing index and verifies every entry. Changes nothing.
pub(crate) fn open(path: &Path, cache: u64) -> Result<Opened, RebuildReason> {
    if !path.exists() {
        return Err(RebuildReason::Missing);
    }
    let unreadable = |fault| RebuildReason::Unreadable { fault };
    let db = open_sled(path, cache).map_err(unreadable)?;
    let read = guard(|| {
        let mut totals = Totals::default();
        for entry in db.iter() {
            let (key, stored) = entry?;
            if key != META {
                totals.add(&key, &stored);
            }
        }
        Ok((db.get(META)?.and_then(|bytes| Meta::decode(&bytes)), totals))
    });
    match read.map_err(unreadable)? {
        (Some(meta), totals) if meta.totals == totals => Ok(Opened { meta, db }),
        (Some(_), _) => Err(RebuildReason::Inconsistent),
        (None, _) => Err(RebuildReason::Unreadable { fault: "it has no valid position".into() }),
    }
}

/// Throws an index away and starts an empty one.
pub(crate) fn recreate(path: &Path, cache: u64, position: Position) -> Result<Opened, StoreError> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io("remove the index", path)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let failed = |fault| StoreError::Index { path: path.to_path_buf(), fault };
    let db = open_sled(path, cache).map_err(failed)?;
    let meta = Meta { position, ..Meta::default() };
    guard(|| db.insert(META, meta.encode()).and_then(|_| db.flush())).map_err(failed)?;
    Ok(Opened { meta, db })
}

#[derive(Debug, Default)]
struct Overlay {
    pending: Changes,
    /// At most the journal bytes that restating `pending` takes.
    pending_live: u64,
    /// Memory that `pending` takes, roughly.
    pending_held: u64,
    flushing: Arc<Changes>,
    flushing_live: u64,
    flushing_held: u64,
    position: Position,
}

impl Overlay {
    fn find(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.pending.get(key).or_else(|| self.flushing.get(key))
    }
}

#[derive(Debug, Default)]
struct Control {
    stop: bool,
    hurry: bool,
    failed: Option<String>,
}

/// Sled and the overlay.
pub(crate) struct Index {
    path: PathBuf,
    db: Expendable<sled::Db>,
    overlay: RwLock<Overlay>,
    /// What sled holds; locked for the duration of a flush, so that there is one at a time.
    meta: Mutex<Meta>,
    control: Mutex<Control>,
    changed: Condvar,
    applied: AtomicU64,
    live: AtomicU64,
    overlay_limit: u64,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("path", &self.path)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    pub(crate) fn new(path: &Path, opened: Opened, overlay_limit: u64) -> Self {
        let Opened { meta, db } = opened;
        Self {
            path: path.to_path_buf(),
            db,
            overlay: RwLock::new(Overlay { position: meta.position, ..Overlay::default() }),
            meta: Mutex::new(meta),
            control: Mutex::default(),
            changed: Condvar::new(),
            applied: AtomicU64::new(meta.position.sequence),
            live: AtomicU64::new(meta.totals.live),
            overlay_limit,
        }
    }

    fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, fault: String) -> StoreError {
        StoreError::Index { path: self.path.clone(), fault }
    }

    /// Number of the last record that sled holds.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// No less than the bytes of the live rows and blobs; exact when the overlay is empty.
    pub(crate) fn live_at_most(&self) -> u64 {
        let overlay = self.overlay();
        self.live
            .load(Ordering::Acquire)
            .saturating_add(overlay.pending_live)
            .saturating_add(overlay.flushing_live)
    }

    /// Adds the changes of a durable record.
    pub(crate) fn apply(
        &self,
        position: Position,
        changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) {
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        for (key, stored) in changes {
            let bytes = wide(key.len().saturating_add(stored.as_ref().map_or(0, Vec::len)));
            overlay.pending_held = overlay.pending_held.saturating_add(bytes).saturating_add(ENTRY_OVERHEAD);
            let live = stored.as_deref().map_or(0, |stored| live_bytes(&key, stored));
            overlay.pending_live = overlay.pending_live.saturating_add(live);
            overlay.pending.insert(key, stored);
        }
        overlay.position = position;
    }

    /// Whether changes are on their way into sled, which answers nobody meanwhile.
    pub(crate) fn busy(&self) -> bool {
        !self.overlay().flushing.is_empty()
    }

    /// Whether the overlay holds more than the memory it may take.
    fn crowded(&self) -> bool {
        let overlay = self.overlay();
        overlay.pending_held.saturating_add(overlay.flushing_held) > self.overlay_limit
    }

    /// Fails when the index thread has failed; waits for it while the overlay is too large.
    pub(crate) fn make_room(&self) -> Result<(), StoreError> {
        loop {
            let crowded = self.crowded();
            let mut control = locked(&self.control);
            if let Some(fault) = &control.failed {
                return Err(self.error(fault.clone()));
            }
            if !crowded {
                return Ok(());
            }
            control.hurry = true;
            self.changed.notify_all();
            let waited = self.changed.wait_timeout(control, Duration::from_millis(50));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn load(&self, stored: &[u8]) -> Result<(u64, Held), StoreError> {
        let loaded = Held::load(stored).map(|(sequence, held)| (sequence, held.into_owned()));
        loaded.ok_or_else(|| self.error("an entry is malformed".into()))
    }

    /// What a key holds, and the number of the record that wrote it.
    pub(crate) fn held(&self, key: &[u8]) -> Result<Option<(u64, Held)>, StoreError> {
        let change = self.overlay().find(key).map(|change| change.as_deref().map(|s| self.load(s)));
        if let Some(change) = change {
            return change.transpose();
        }
        let found = guard(|| self.db.get(key)).map_err(|fault| self.error(fault))?;
        found.map(|stored| self.load(&stored)).transpose()
    }

    /// All rows of a table in key order: key, what is held. The overlay stays locked, so sled can move only
    /// towards it.
    pub(crate) fn scan(&self, table: u8) -> Result<Vec<(Vec<u8>, Held)>, StoreError> {
        let prefix = [ROWS, table];
        let overlay = self.overlay();
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let read = guard(|| {
            for entry in self.db.scan_prefix(prefix) {
                let (key, stored) = entry?;
                found.insert(key.to_vec(), stored.to_vec());
            }
            Ok(())
        });
        read.map_err(|fault| self.error(fault))?;
        for changes in [&*overlay.flushing, &overlay.pending] {
            for (key, stored) in
                changes.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(&prefix))
            {
                match stored {
                    Some(stored) => found.insert(key.clone(), stored.clone()),
                    None => found.remove(key),
                };
            }
        }
        drop(overlay);
        let row = |(mut key, stored): (Vec<u8>, Vec<u8>)| {
            self.load(&stored).map(|(_, held)| (key.split_off(prefix.len()), held))
        };
        found.into_iter().map(row).collect()
    }

    /// Exact totals, the overlay included.
    pub(crate) fn totals(&self) -> Result<Totals, StoreError> {
        let meta = locked(&self.meta);
        let overlay = self.overlay();
        let mut totals = meta.totals;
        let older = overlay.flushing.iter().filter(|(key, _)| !overlay.pending.contains_key(*key));
        let count = guard(|| {
            for (key, stored) in older.chain(&overlay.pending) {
                self.exchange(&mut totals, key, stored.as_deref())?;
            }
            Ok(())
        });
        count.map_err(|fault| self.error(fault))?;
        Ok(totals)
    }

    /// Accounts for one change; says whether it changes sled at all.
    fn exchange(&self, totals: &mut Totals, key: &[u8], stored: Option<&[u8]>) -> sled::Result<bool> {
        let old = self.db.get(key)?;
        if let Some(old) = &old {
            totals.remove(key, old);
        }
        if let Some(stored) = stored {
            totals.add(key, stored);
        }
        Ok(old.as_deref() != stored)
    }

    /// Brings sled up to date in one atomic batch. After a failure the overlay keeps answering.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let outcome = self.try_flush();
        if let Err(fault) = &outcome {
            tracing::error!(%fault, "the index of the journal failed");
            locked(&self.control).failed.get_or_insert_with(|| fault.clone());
        }
        self.changed.notify_all();
        outcome.map_err(|fault| self.error(fault))
    }

    fn try_flush(&self) -> Result<(), String> {
        let mut meta = locked(&self.meta);
        if let Some(fault) = locked(&self.control).failed.clone() {
            return Err(fault);
        }
        let (changes, position) = {
            let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
            if overlay.position == meta.position {
                return Ok(());
            }
            overlay.flushing = Arc::new(std::mem::take(&mut overlay.pending));
            overlay.flushing_live = std::mem::take(&mut overlay.pending_live);
            overlay.flushing_held = std::mem::take(&mut overlay.pending_held);
            (Arc::clone(&overlay.flushing), overlay.position)
        };
        let next = guard(|| {
            let mut next = Meta { position, totals: meta.totals };
            let mut batch = sled::Batch::default();
            for (key, stored) in &*changes {
                if self.exchange(&mut next.totals, key, stored.as_deref())? {
                    match stored {
                        Some(stored) => batch.insert(key.as_slice(), stored.as_slice()),
                        None => batch.remove(key.as_slice()),
                    }
                }
            }
            batch.insert(META, next.encode());
            self.db.apply_batch(batch)?;
            self.db.flush()?;
            Ok(next)
        })?;
        *meta = next;
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        overlay.flushing = Arc::default();
        overlay.flushing_live = 0;
        overlay.flushing_held = 0;
        self.live.store(next.totals.live, Ordering::Release);
        self.applied.store(position.sequence, Ordering::Release);
        Ok(())
    }

    /// The body of the index thread: flushes every `interval`, sooner when asked, until stopped.
    pub(crate) fn run(&self, interval: Duration) {
        loop {
            let mut control = locked(&self.control);
            if !control.stop && !control.hurry {
                let waited = self.changed.wait_timeout_while(control, interval, |c| !c.stop && !c.hurry);
                control = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            control.hurry = false;
            if control.stop || control.failed.is_some() {
                return;
            }
            drop(control);
            if self.flush().is_err() {
                return;
            }
        }
    }

    /// Ends [`Index::run`].
    pub(crate) fn stop(&self) {
        locked(&self.control).stop = true;
        self.changed.notify_all();
    }
}

/// Bytes that restating an entry takes in the journal.
fn live_bytes(key: &[u8], stored: &[u8]) -> u64 {
    let length = Held::load(stored).map_or(0, |(_, held)| held.length());
    if key.first() == Some(&ROWS) { row_cost(key.len().saturating_sub(2), length) } else { blob_cost(length) }
}
