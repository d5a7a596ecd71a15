//! The port on disk: journal, index and compaction put together.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::compact::{self, Budget, Carried, Cursor};
use crate::faults::Faults;
use crate::index::{self, Held, Index, Place, blob_key, changes, row_key};
use crate::journal::{self, Journal, Position, Survey, Table};
use crate::pool::Pool;
use crate::record::{Body, Kind, RowRef};
use crate::segment;
use crate::{BlobId, BlobReader, BlobSource, Row, Snapshot, Stats, Store, StoreError, Turn};

/// Settings of a [`JournalStore`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of a segment file in bytes. Existing segments keep theirs.
    pub segment_bytes: u64,
    /// Largest record of one turn in bytes; a larger turn is refused. At most 1 GiB.
    pub max_turn_bytes: u64,
    /// How often changes reach the index.
    pub index_interval: Duration,
    /// Memory for sled's cache in bytes.
    pub index_cache_bytes: u64,
    /// Memory for changes on their way to the index, in bytes; commits wait beyond it.
    pub overlay_bytes: u64,
    /// Zeroed files kept ready.
    pub spares: usize,
    /// Cuts a damaged last record even when it does not look like an interrupted write. The turn in it is
    /// lost; only for an operator who has been told so.
    pub cut_damaged_tail: bool,
    /// The file layer; healthy except in tests.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            max_turn_bytes: 64 << 20,
            index_interval: Duration::from_secs(1),
            index_cache_bytes: 64 << 20,
            overlay_bytes: 64 << 20,
            spares: 2,
            cut_damaged_tail: false,
            faults: Faults::none(),
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), StoreError> {
        let fault = if self.segment_bytes < 1024 || !self.segment_bytes.is_multiple_of(8) {
            "a segment needs at least 1024 bytes and a multiple of 8"
        } else if self.max_turn_bytes > 1 << 30 || self.max_turn_bytes < 1024 {
            "the largest turn must be between 1 KiB and 1 GiB"
        } else if self.spares == 0 {
            "at least one spare segment is needed"
        } else {
            return Ok(());
        };
        Err(StoreError::Settings { fault: fault.into() })
    }
}

/// An interrupted, never confirmed write that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment file.
    pub path: PathBuf,
    /// Offset of the first byte cut.
    pub offset: u64,
    /// Bytes cut.
    pub bytes: u64,
}

/// Why the index was rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebuildReason {
    /// There was none.
    Missing,
    /// sled could not open or read it, or it has no valid position.
    Unreadable {
        /// What sled said.
        fault: String,
    },
    /// Its entries are not the ones its digest stands for.
    Inconsistent,
    /// The records after its position are no longer in the journal.
    Behind,
    /// It has applied records that the journal does not have, and the operator said that losing them is acceptable.
    Ahead,
    /// It belongs to another journal.
    Foreign,
}

/// What became of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexRecovery {
    /// A new store.
    Created,
    /// Usable; this many records were applied that it had not seen.
    Kept {
        /// Records applied.
        replayed: u64,
    },
    /// Thrown away and rebuilt from the journal.
    Rebuilt {
        /// Why.
        reason: RebuildReason,
        /// Records applied.
        replayed: u64,
    },
}

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Records verified in the journal.
    pub records: u64,
    /// Whether the last process closed the store in an orderly way.
    pub orderly: bool,
    /// The interrupted write that was cut, if any.
    pub cut: Option<Cut>,
    /// What became of the index.
    pub index: IndexRecovery,
}

/// What readers share with the store. The lock is given back last.
#[derive(Debug)]
struct Inner {
    index: Index,
    table: Table,
    _lock: File,
}

impl Inner {
    /// The bytes of a row or blob.
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut seen: Option<Place> = None;
        loop {
            let place = match self.index.held(key)? {
                None => return Ok(None),
                Some((_, Held::Inline(bytes))) => return Ok(Some(bytes)),
                Some((_, Held::Placed(place))) => place,
            };
            match self.fetch(&place) {
                // Compaction may have moved the bytes and zeroed their old place meanwhile: look again. At the
                // same place twice, it is damage.
                Err(_) if seen != Some(place) => seen = Some(place),
                outcome => return outcome.map(Some),
            }
        }
    }

    fn fetch(&self, place: &Place) -> Result<Vec<u8>, StoreError> {
        let segment = journal::find(&self.table, place.segment)
            .ok_or_else(|| StoreError::Missing { number: place.segment, path: PathBuf::new() })?;
        segment.part(&place.part)
    }

    fn scan(&self, table: u8) -> Result<Vec<Row>, StoreError> {
        let rows = self.index.scan(table)?;
        rows.into_iter()
            .map(|(key, held)| match held {
                Held::Inline(value) => Ok((key, value)),
                Held::Placed(place) => self.fetch(&place).map(|value| (key, value)),
            })
            .collect()
    }
}

#[derive(Debug)]
struct DiskBlobs(Weak<Inner>);

impl BlobSource for DiskBlobs {
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.upgrade().ok_or(StoreError::Closed)?.read(&blob_key(id))
    }
}

/// The [`Store`] on disk. Dropping it without [`Store::close`] is like a crash: nothing confirmed is lost.
#[derive(Debug)]
pub struct JournalStore {
    journal: Journal,
    inner: Arc<Inner>,
    indexer: Option<JoinHandle<()>>,
    options: Options,
    poisoned: Option<String>,
    cursor: Cursor,
    /// The last segment of the round of erasing that is under way.
    erasing: Option<u64>,
    /// Whether anything was written since the last orderly stop.
    dirty: bool,
    stats: Stats,
}

/// A command that works on the store itself keeps it for a moment only: whoever comes meanwhile waits.
fn lock(dir: &Path) -> Result<File, StoreError> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(20);
    let path = dir.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(StoreError::io("open", &path))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
    }
    Err(StoreError::InUse { path })
}

fn make_folder(path: &Path, disk: &Faults) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(StoreError::io("create the folder", path))?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => disk.sync_dir(parent).map_err(StoreError::io("flush the folder", parent)),
        None => Ok(()),
    }
}

/// Whether an index belongs to the surveyed journal and can be brought up to date from it.
fn judge(meta: Position, survey: &Survey) -> Result<(), RebuildReason> {
    if meta.sequence > survey.end.sequence {
        Err(RebuildReason::Ahead)
    } else if meta.sequence < survey.start.sequence {
        Err(RebuildReason::Behind)
    } else if survey.segments.is_empty() && meta == Position::default() || survey.probed == Some(meta.sum) {
        Ok(())
    } else {
        Err(RebuildReason::Foreign)
    }
}

impl JournalStore {
    /// Opens or creates the store in `dir`: locks it, verifies the whole journal, cuts an interrupted write,
    /// and brings the index up to date or rebuilds it. Fails, changing nothing, when confirmed bytes are
    /// damaged or missing; an index that has applied more than there is proves that, too.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), StoreError> {
        options.check()?;
        let disk = &options.faults;
        make_folder(dir, disk)?;
        let lock = lock(dir)?;
        let (folder, index_path) = (dir.join("journal"), dir.join("index"));
        make_folder(&folder, disk)?;
        let opened = index::open(&index_path, options.index_cache_bytes);
        let known = opened.as_ref().ok().map(|opened| opened.meta.position);
        let survey = journal::survey(&folder, known.map(|p| p.sequence), options.cut_damaged_tail)?;
        if survey.segments.is_empty() && known.is_some_and(|known| known.sequence > 0) {
            // No journal at all beside a whole index: a folder is missing, not records.
            return Err(StoreError::Missing { number: 1, path: journal::segment_path(&folder, 1) });
        }
        let fresh = survey.segments.is_empty() && matches!(opened, Err(RebuildReason::Missing));
        if let Some(known) = known.filter(|known| known.sequence > survey.end.sequence)
            && !options.cut_damaged_tail
        {
            return Err(lost(&survey, known, index_path));
        }
        let cut = cut_torn_end(&survey, &options)?;
        let judged = opened.and_then(|opened| judge(opened.meta.position, &survey).map(|()| opened));
        let (opened, reason) = match judged {
            Ok(opened) => (opened, None),
            Err(reason) => {
                (index::recreate(&index_path, options.index_cache_bytes, survey.start)?, Some(reason))
            }
        };
        let index = Index::new(&index_path, opened, options.overlay_bytes);
        let replayed = replay(&survey, &index)?;
        let (segment_bytes, spares) = (options.segment_bytes, options.spares);
        let pool = Pool::start(&folder, segment_bytes, spares, disk.clone(), survey.left.clone())?;
        let journal = Journal::start(&folder, &survey, pool, disk.clone(), segment_bytes)?;
        let inner = Arc::new(Inner { index, table: Arc::clone(&journal.table), _lock: lock });
        let indexer = start_indexer(dir, &inner, options.index_interval)?;
        let recovery = Recovery {
            records: survey.records,
            orderly: survey.closed || fresh,
            cut,
            index: match reason {
                Some(_) if fresh => IndexRecovery::Created,
                Some(reason) => IndexRecovery::Rebuilt { reason, replayed },
                None => IndexRecovery::Kept { replayed },
            },
        };
        tracing::info!(folder = %dir.display(), ?recovery, "journal opened");
        if let IndexRecovery::Rebuilt { reason, replayed } = &recovery.index {
            tracing::warn!(folder = %dir.display(), ?reason, replayed, "the index was rebuilt from the journal");
        }
        let store = Self {
            journal,
            inner,
            indexer: Some(indexer),
            options,
            poisoned: None,
            cursor: Cursor::default(),
            erasing: None,
            dirty: !survey.closed,
            stats: Stats::default(),
        };
        Ok((store, recovery))
    }

    /// Waits until the index has applied every confirmed turn.
    pub fn sync_index(&self) -> Result<(), StoreError> {
        self.inner.index.flush()
    }

    /// Waits until every freed segment is overwritten.
    #[cfg(test)]
    pub(crate) fn journal_settled(&self) {
        self.journal.pool.settle().unwrap();
    }

    fn healthy(&self) -> Result<(), StoreError> {
        match &self.poisoned {
            Some(cause) => Err(StoreError::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Runs what may leave the disk in an unknown state; its failure is the last thing this store does.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.healthy()?;
        let outcome = work(self);
        if let Err(error) = &outcome
            && !error.leaves_store_usable()
        {
            tracing::error!(%error, "the store stops: nothing more is accepted");
            self.poisoned = Some(error.to_string());
        }
        outcome
    }

    /// How far the journal is beyond its bound: 0 within it, 1 when it holds enough dead bytes to be worth a
    /// step of compaction, more when that has not helped.
    fn overgrowth(&self) -> u64 {
        let slack = self.options.segment_bytes.saturating_mul(4);
        let live = self.inner.index.live_at_most();
        let bound = live.saturating_mul(2).saturating_add(slack);
        self.journal.disk_bytes.saturating_sub(1) / bound.max(1)
    }

    /// The step of compaction that a turn takes along, when one is due and possible.
    fn carry_along(&self, turn_bytes: u64) -> Result<Option<Carried>, StoreError> {
        match self.overgrowth() {
            0 => Ok(None),
            1 if self.inner.index.busy() => Ok(None),
            _ => self.carry(Budget::of_turn(self.options.segment_bytes, turn_bytes)),
        }
    }

    /// The next step of compaction, when one is possible.
    fn carry(&self, budget: Budget) -> Result<Option<Carried>, StoreError> {
        let Some((segment, extent)) = self.journal.oldest_sealed() else { return Ok(None) };
        if extent.last_sequence > self.inner.index.applied() {
            return Ok(None);
        }
        compact::step(self.cursor, &segment, extent, &self.inner.index, budget).map(Some)
    }

    fn idle_budget(&self) -> Budget {
        Budget::idle(self.options.segment_bytes)
    }

    fn write(&mut self, turn: &Turn, carried: Option<Carried>) -> Result<(), StoreError> {
        let carried = carried.unwrap_or_else(|| Carried { cursor: self.cursor, ..Carried::default() });
        let mut body = Body { drops: &turn.drops, ..Body::default() };
        body.rows.extend(carried.rows.iter().map(|row| RowRef {
            table: row.table,
            key: &row.key,
            value: Some(&row.value),
        }));
        body.rows.extend(turn_rows(turn));
        let blobs = carried.blobs.iter().chain(&turn.blobs);
        body.blobs.extend(blobs.map(|(id, bytes)| (*id, bytes.as_slice())));
        let freed = self.journal.oldest_sealed().filter(|_| carried.complete).map(|(segment, _)| segment);
        let oldest = self.journal.oldest.saturating_add(u64::from(freed.is_some()));
        self.dirty = true;
        let appended = self.journal.append(&body, Kind::Turn, oldest)?;
        let (position, directory) = (appended.position, &appended.encoded.directory);
        self.inner.index.apply(position, changes(position.sequence, appended.segment, directory));
        self.cursor = carried.cursor;
        self.stats.forwarded_bytes = self.stats.forwarded_bytes.saturating_add(carried.bytes);
        if let Some(segment) = freed {
            self.journal.free(&segment);
            self.stats.freed_segments = self.stats.freed_segments.saturating_add(1);
        }
        Ok(())
    }

    /// Walks the journal from its oldest segment up to the one that was being written when the round began.
    fn erase_on(&mut self) -> Result<bool, StoreError> {
        let Some(last) = self.erasing else {
            self.erasing = Some(self.journal.active());
            self.journal.roll(0)?;
            self.inner.index.flush()?;
            return Ok(true);
        };
        if self.journal.oldest <= last {
            self.inner.index.make_room()?;
            let carried = self.carry(self.idle_budget())?;
            self.write(&Turn::default(), carried)?;
            return Ok(true);
        }
        self.journal.pool.settle()?;
        self.erasing = None;
        Ok(false)
    }

    fn erase_all(&mut self) -> Result<(), StoreError> {
        self.erasing = None;
        while self.erase_on()? {}
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.inner.index.flush()?;
        if self.dirty {
            let appended = self.journal.append(&Body::default(), Kind::Close, self.journal.oldest)?;
            self.inner.index.apply(appended.position, []);
            self.dirty = false;
            self.inner.index.flush()?;
        }
        Ok(())
    }
}

fn turn_rows(turn: &Turn) -> impl Iterator<Item = RowRef<'_>> {
    turn.rows.iter().map(|row| RowRef { table: row.table, key: &row.key, value: row.value.as_deref() })
}

/// Size of the record of a turn on its own.
fn turn_size(turn: &Turn) -> u64 {
    let blobs = turn.blobs.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect();
    Body { rows: turn_rows(turn).collect(), blobs, drops: &turn.drops }.size()
}

/// What an index that has applied more than there is says about the journal.
fn lost(survey: &Survey, known: Position, index: PathBuf) -> StoreError {
    match &survey.torn {
        Some(torn) => StoreError::damaged(
            &torn.path,
            torn.offset,
            "a record that the index has applied, so that was confirmed, is no longer whole. If losing that one \
             turn is acceptable, open once with `cut_damaged_tail`",
        ),
        None => StoreError::Lost { index, applied: known.sequence, end: survey.end.sequence },
    }
}

fn cut_torn_end(survey: &Survey, options: &Options) -> Result<Option<Cut>, StoreError> {
    let Some(torn) = &survey.torn else { return Ok(None) };
    journal::cut(torn, &options.faults)?;
    tracing::warn!(file = %torn.path.display(), offset = torn.offset, bytes = torn.bytes, "interrupted write cut");
    Ok(Some(Cut { path: torn.path.clone(), offset: torn.offset, bytes: torn.bytes }))
}

/// Applies the records that the index has not seen; returns how many.
fn replay(survey: &Survey, index: &Index) -> Result<u64, StoreError> {
    let from = index.applied();
    let mut replayed = 0_u64;
    let mut bytes = Vec::new();
    for seen in survey.segments.iter().filter(|seen| seen.extent.last_sequence > from) {
        let number = seen.header.number;
        journal::read_segment(&seen.path, number, &mut bytes)?;
        let scan = segment::scan_segment(&bytes, false)
            .map_err(|fault| StoreError::damaged(&seen.path, 0, fault))?;
        for record in scan.records.iter().filter(|record| record.header.sequence > from) {
            let sequence = record.header.sequence;
            let position = Position { sequence, sum: record.header.sum };
            index.apply(position, changes(sequence, number, &record.directory));
            replayed = replayed.saturating_add(1);
        }
        index.flush()?;
    }
    Ok(replayed)
}

fn start_indexer(dir: &Path, inner: &Arc<Inner>, interval: Duration) -> Result<JoinHandle<()>, StoreError> {
    let worker = Arc::clone(inner);
    let spawned = Builder::new().name("journal-index".into()).spawn(move || worker.index.run(interval));
    spawned.map_err(StoreError::io("start a thread for the index of", dir))
}

impl Store for JournalStore {
    fn commit(&mut self, turn: Turn) -> Result<(), StoreError> {
        self.guarded(|store| {
            let bytes = turn_size(&turn);
            if bytes > store.options.max_turn_bytes {
                return Err(StoreError::TooLarge { bytes, limit: store.options.max_turn_bytes });
            }
            store.inner.index.make_room()?;
            let carried = store.carry_along(bytes)?;
            store.write(&turn, carried)?;
            store.stats.turns = store.stats.turns.saturating_add(1);
            Ok(())
        })
    }

    fn scan(&self, table: u8) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table)
    }

    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read(&row_key(table, key))
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read(&blob_key(id))
    }

    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.healthy()?;
        Ok(self.journal.snapshot())
    }

    fn stats(&self) -> Stats {
        let totals = self.inner.index.totals().unwrap_or_default();
        Stats {
            syncs: self.journal.syncs,
            sequence: self.journal.end.sequence,
            indexed: self.inner.index.applied(),
            segments: self.journal.segments(),
            disk_bytes: self.journal.disk_bytes,
            live_bytes: totals.live,
            live_rows: totals.rows,
            live_blobs: totals.blobs,
            ..self.stats
        }
    }

    fn blob_reader(&self) -> BlobReader {
        BlobReader::new(Arc::new(DiskBlobs(Arc::downgrade(&self.inner))))
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        self.guarded(|store| {
            store.inner.index.make_room()?;
            let carried = if store.overgrowth() > 0 { store.carry(store.idle_budget())? } else { None };
            let due = carried.is_some();
            if due {
                store.write(&Turn::default(), carried)?;
            }
            Ok(due)
        })
    }

    fn erase(&mut self) -> Result<(), StoreError> {
        self.guarded(Self::erase_all)
    }

    fn erase_step(&mut self) -> Result<bool, StoreError> {
        self.guarded(Self::erase_on)
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        self.guarded(Self::finish)
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        self.inner.index.stop();
        if let Some(indexer) = self.indexer.take()
            && indexer.join().is_err()
        {
            tracing::error!("the thread of the journal's index panicked");
        }
    }
}
