//! The port in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

use crate::{BlobId, BlobReader, BlobSource, Row, Stats, Store, StoreError, Turn, wide};

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    blobs: BTreeMap<BlobId, Vec<u8>>,
    stats: Stats,
}

/// Keeps everything in memory. A clone shares the contents: keep one clone as "the disk" and hand others out
/// as "the process", dropping them to simulate a crash.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<RwLock<State>>,
    failing: Option<String>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every later commit through this handle fail, as after a failed flush.
    pub fn fail_from_now_on(&mut self, cause: &str) {
        self.failing = Some(cause.to_owned());
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct MemoryBlobs(Weak<RwLock<State>>);

impl BlobSource for MemoryBlobs {
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.0.upgrade().ok_or(StoreError::Closed)?;
        let blob = state.read().unwrap_or_else(PoisonError::into_inner).blobs.get(id).cloned();
        Ok(blob)
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, turn: Turn) -> Result<(), StoreError> {
        if let Some(cause) = &self.failing {
            return Err(StoreError::Poisoned { cause: cause.clone() });
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for change in turn.rows {
            match change.value {
                Some(value) => state.rows.insert((change.table, change.key), value),
                None => state.rows.remove(&(change.table, change.key)),
            };
        }
        state.blobs.extend(turn.blobs);
        for id in turn.drops {
            state.blobs.remove(&id);
        }
        state.stats.turns = state.stats.turns.saturating_add(1);
        state.stats.sequence = state.stats.sequence.saturating_add(1);
        state.stats.indexed = state.stats.sequence;
        Ok(())
    }

    fn scan(&self, table: u8) -> Result<Vec<Row>, StoreError> {
        let state = self.read();
        let rows = state.rows.range((table, Vec::new())..).take_while(|((of, _), _)| *of == table);
        Ok(rows.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().rows.get(&(table, key.to_vec())).cloned())
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().blobs.get(id).cloned())
    }

    fn stats(&self) -> Stats {
        let state = self.read();
        let rows = state.rows.iter().map(|((_, key), value)| wide(key.len() + value.len()));
        let blobs = state.blobs.values().map(|bytes| wide(bytes.len()));
        Stats {
            live_bytes: rows.chain(blobs).sum(),
            live_rows: wide(state.rows.len()),
            live_blobs: wide(state.blobs.len()),
            ..state.stats
        }
    }

    fn blob_reader(&self) -> BlobReader {
        BlobReader::new(Arc::new(MemoryBlobs(Arc::downgrade(&self.state))))
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn erase(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn erase_step(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}
