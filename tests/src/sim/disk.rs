//! A disk: what was flushed survives a crash, what was not does not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seinhuis_broker_core::Change;

/// What a disk holds.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    pub(super) blobs: BTreeMap<[u8; 32], Arc<Vec<u8>>>,
}

impl State {
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put { table, key, value } => {
                    self.rows.insert((*table, key.clone()), value.clone());
                }
                Change::Delete { table, key } => {
                    self.rows.remove(&(*table, key.clone()));
                }
                Change::Keep { blob, bytes } => {
                    self.blobs.insert(*blob, Arc::clone(bytes));
                }
                Change::Erase { blob } => {
                    self.blobs.remove(blob);
                }
            }
        }
    }

    /// The rows of a table, in the order of their keys.
    pub(super) fn table(&self, table: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rows = self.rows.range((table, Vec::new())..);
        let own = rows.take_while(move |((of, _), _)| *of == table);
        own.map(|((_, key), value)| (key.as_slice(), value.as_slice()))
    }
}

/// A disk of one process.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// What the process sees.
    pub(super) live: State,
    /// What is really kept, when this disk lies.
    kept: Option<State>,
    /// What it says it flushed and has not.
    cache: VecDeque<Vec<Change>>,
}

/// Turns that a lying disk keeps to itself.
const CACHE: usize = 3;

impl Disk {
    pub(super) fn new(state: State, lies: bool) -> Self {
        Self { kept: lies.then(|| state.clone()), live: state, cache: VecDeque::new() }
    }

    /// Makes a turn durable.
    pub(super) fn flush(&mut self, changes: Vec<Change>) {
        self.live.apply(&changes);
        let Some(kept) = &mut self.kept else { return };
        self.cache.push_back(changes);
        while self.cache.len() > CACHE {
            kept.apply(&self.cache.pop_front().unwrap_or_default());
        }
    }

    /// The process is gone.
    pub(super) fn crash(&mut self) {
        if let Some(kept) = &self.kept {
            self.live = kept.clone();
            self.cache.clear();
        }
    }
}
