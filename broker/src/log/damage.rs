//! Which file is to blame when the log's files do not add up to its signed head.

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tile::{self, Bundle, Tile};
use seinhuis_shared::tlog::tree::Frontier;
use seinhuis_shell::complaint::Complaint;

use super::{Cache, Log, WIDTH, broken};
use crate::tile_tree::TileTree;

impl Log {
    /// Looks through every file for what does not add up to `root`, the root of the signed head. Names the file.
    pub fn damage(&self, root: Option<&Digest>) -> Option<Complaint> {
        let entries = match self.derive() {
            Ok(derived) => derived,
            Err(complaint) => return Some(complaint),
        };
        let good = root.is_none_or(|root| entries.root() == *root);
        let size = self.size();
        let mut level = 0_u8;
        while size >> (8 * (u32::from(level) + 1)) > 0 {
            for index in 0..size >> (8 * (u32::from(level) + 1)) {
                if !self.follows(level, index) {
                    return Some(self.misfit(level, index, good));
                }
            }
            level += 1;
        }
        (!good).then(|| broken(&self.dir, "its entries do not lead to the root of the signed head"))
    }

    /// Whether a full tile holds what follows from the level below it.
    fn follows(&self, level: u8, index: u64) -> bool {
        if level == 0 && self.is_purged(index * WIDTH) {
            return true;
        }
        let below: Option<Vec<Digest>> = match level.checked_sub(1) {
            None => {
                self.with_bundle(index, |entries| entries.iter().map(|entry| leaf_hash(entry)).collect()).ok()
            }
            Some(lower) => (index * WIDTH..(index + 1) * WIDTH)
                .map(|below| self.with_tile(lower, below, TileTree::root).flatten())
                .collect(),
        };
        below.is_some_and(|below| self.with_tile(level, index, |tile| tile.hashes() == below) == Some(true))
    }

    /// The file that is to blame when a tile does not follow from what is below it: the entries are right when they
    /// lead to the signed root.
    fn misfit(&self, level: u8, index: u64, entries_are_right: bool) -> Complaint {
        let tile = Tile::new(level, index, tile::FULL_WIDTH).map(|tile| tile.to_string());
        let bundle = Bundle::new(index, tile::FULL_WIDTH).map(|bundle| bundle.to_string());
        match (tile, bundle) {
            (Ok(_), Ok(bundle)) if level == 0 && !entries_are_right => {
                let (first, last) = (index * WIDTH, (index + 1) * WIDTH - 1);
                let what = format!("one of its entries {first} to {last} was changed");
                broken(&self.dir.join(bundle), &what)
            }
            (Ok(tile), _) => broken(&self.dir.join(tile), "its hashes do not follow from what is below it"),
            (Err(error), _) => broken(&self.dir, &error.to_string()),
        }
    }

    /// The edge of the tree over every entry as it is on disk now.
    fn derive(&self) -> Result<Frontier, Complaint> {
        *self.cached() = Cache::default();
        let size = self.size();
        let mut derived = Frontier::empty();
        for index in 0..size.div_ceil(WIDTH) {
            let hashes: Vec<Digest> = if self.is_purged(index * WIDTH) {
                self.with_tile(0, index, |tile| tile.hashes().to_vec()).unwrap_or_default()
            } else {
                self.with_bundle(index, |entries| entries.iter().map(|entry| leaf_hash(entry)).collect())?
            };
            for hash in hashes.into_iter().take(usize::try_from(size - derived.size()).unwrap_or(usize::MAX))
            {
                derived.append(hash).map_err(|error| broken(&self.dir, &error.to_string()))?;
            }
        }
        Ok(derived)
    }
}
