//! What is remembered of the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::tile_tree::TileTree;

/// What was read from files lately. Full tiles and bundles never change, so nothing in here grows stale.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Tiles of leaves, and apart from them those above: one of these leads to 256 times as many entries or more, and is
    /// not to make room for what the next proof will not ask for.
    pub(super) leaves: BTreeMap<(u8, u64), Arc<TileTree>>,
    pub(super) above: BTreeMap<(u8, u64), Arc<TileTree>>,
    pub(super) bundles: BTreeMap<u64, Arc<Vec<Vec<u8>>>>,
}

/// Most tiles of leaves remembered: 4 MiB.
pub(super) const CACHED_LEAVES: usize = 256;
/// Most tiles above them remembered: 32 MiB, and only a log of more than a hundred million entries has so many.
pub(super) const CACHED_ABOVE: usize = 2048;
/// Most bundles remembered: about 3 MiB.
pub(super) const CACHED_BUNDLES: usize = 16;

/// Remembers something; forgets all the rest when there is too much, which is cheap to read again.
pub(super) fn remember<K: Ord, V>(cache: &mut BTreeMap<K, V>, limit: usize, key: K, value: V) {
    if cache.len() >= limit {
        cache.clear();
    }
    cache.insert(key, value);
}

impl Cache {
    /// Where tiles of a level are remembered, and how many.
    pub(super) const fn of(&mut self, level: u8) -> (&mut BTreeMap<(u8, u64), Arc<TileTree>>, usize) {
        match level {
            0 => (&mut self.leaves, CACHED_LEAVES),
            _ => (&mut self.above, CACHED_ABOVE),
        }
    }
}
