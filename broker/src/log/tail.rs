//! The part of a log that is in memory.

use std::collections::BTreeMap;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;

use super::WIDTH;
use crate::tile_tree::TileTree;

/// What is not, or not yet, in files.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) size: u64,
    /// The signed checkpoint of that size; empty when it is not known.
    pub(super) note: Vec<u8>,
    /// The same with the lines of witnesses, once the log has ended and they cosigned that.
    pub(super) cosigned: Option<Vec<u8>>,
    /// Whether the log has ended.
    pub(super) closed: bool,
    /// Per level the hashes after the last full tile.
    pub(super) levels: Vec<TileTree>,
    /// Entries after the last full bundle.
    pub(super) entries: Vec<Vec<u8>>,
    /// Full tiles and bundles that the publisher has not flushed yet.
    pub(super) tiles: BTreeMap<(u8, u64), TileTree>,
    pub(super) bundles: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl Tail {
    pub(super) fn append(&mut self, entry: Vec<u8>) {
        let leaf = leaf_hash(&entry);
        self.entries.push(entry);
        self.size += 1;
        self.push(0, leaf);
        if self.size.is_multiple_of(WIDTH) {
            let entries = std::mem::take(&mut self.entries);
            self.bundles.insert(self.size / WIDTH - 1, entries);
        }
    }

    pub(super) fn push(&mut self, level: u8, hash: Digest) {
        let place = usize::from(level);
        if self.levels.len() <= place {
            self.levels.resize_with(place + 1, TileTree::default);
        }
        let row = &mut self.levels[place];
        row.push(hash);
        if let Some(above) = row.root() {
            let full = std::mem::take(row);
            let index = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            self.tiles.insert((level, index), full);
            self.push(level + 1, above);
        }
    }

    /// A tile that is wholly or partly in memory.
    pub(super) fn tile(&self, level: u8, index: u64) -> Option<&TileTree> {
        if let Some(full) = self.tiles.get(&(level, index)) {
            return Some(full);
        }
        let edge = self.size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
        (index == edge).then(|| self.levels.get(usize::from(level)))?
    }

    /// The entries of a bundle that is wholly or partly in memory.
    pub(super) fn bundle(&self, index: u64) -> Option<&[Vec<u8>]> {
        match self.bundles.get(&index) {
            Some(entries) => Some(entries),
            None => (index == self.size / WIDTH).then_some(&self.entries),
        }
    }
}
