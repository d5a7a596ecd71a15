//! Whether every file of the log adds up to its signed head, and which one is to blame when they do not.

use std::thread;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tile::{self, Bundle, Tile};
use seinhuis_shared::tlog::tree::Frontier;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;

use super::{BUNDLE_MAX, Cache, Log, TILE_BYTES, WIDTH, broken};
use crate::tile_tree::TileTree;

/// Most threads that hash entries at a start.
const THREADS: usize = 8;

impl Log {
    /// Looks through every file for what does not add up to `root`, the root of the signed head. Names the file.
    pub fn damage(&self, root: Option<&Digest>) -> Option<Complaint> {
        if self.is_sound(root) { None } else { self.blame(root) }
    }

    /// Whether every entry, hashed as it is on disk now, is in the tile above it, every full tile follows from those
    /// below it, and all of them lead to `root`. Each file is read once.
    fn is_sound(&self, root: Option<&Digest>) -> bool {
        *self.cached() = Cache::default();
        let size = self.size();
        let (threads, count) =
            (thread::available_parallelism().map_or(1, usize::from).min(THREADS), size / WIDTH);
        let Some(mut below) = spread(threads, count, |index| self.root_of_bundle(index)) else {
            return false;
        };
        for level in 1..8_u8 {
            let full = below.chunks_exact(usize::from(tile::FULL_WIDTH)).zip(0_u64..);
            let above: Option<Vec<Digest>> = full
                .map(|(hashes, index)| {
                    let root = |tile: &TileTree| if tile.hashes() == hashes { tile.root() } else { None };
                    self.with_tile(level, index, root)?
                })
                .collect();
            let Some(above) = above else { return false };
            below = above;
        }
        // What is not full was derived from these, and from entries in memory, when the log was opened.
        self.frontier().is_ok_and(|kept| root.is_none_or(|root| kept.root() == *root))
    }

    /// The hash above the full tile over a bundle, when the entries are in it.
    fn root_of_bundle(&self, index: u64) -> Option<Digest> {
        let in_memory = self.read().bundle(index).is_some();
        if in_memory {
            let same = self.follows(0, index);
            return if same { self.with_tile(0, index, TileTree::root)? } else { None };
        }
        let read = |path: String, most: usize| files::read(&self.dir.join(path), most).ok();
        let tile = Tile::new(0, index, tile::FULL_WIDTH).ok()?;
        let hashes = tile::decode_tile(&read(tile.to_string(), TILE_BYTES)?, tile.width()).ok()?;
        if !self.is_purged(index * WIDTH) {
            let bytes = read(Bundle::from(tile).to_string(), BUNDLE_MAX)?;
            let entries = tile::decode_bundle(&bytes).ok()?;
            if !entries.into_iter().map(leaf_hash).eq(hashes.iter().copied()) {
                return None;
            }
        }
        TileTree::of(hashes).root()
    }

    /// The fault of the first file that does not add up, if there is one.
    fn blame(&self, root: Option<&Digest>) -> Option<Complaint> {
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

/// What `make` gives for each number below `count`, in order; nothing when it gives nothing for one of them. The numbers
/// are dealt out to `threads`.
fn spread<T: Send>(threads: usize, count: u64, make: impl Fn(u64) -> Option<T> + Sync) -> Option<Vec<T>> {
    let share = count.div_ceil(u64::try_from(threads).unwrap_or(1)).max(1);
    let parts: Option<Vec<Vec<T>>> = thread::scope(|scope| {
        let make = &make;
        let begin = |from: u64| {
            scope.spawn(move || (from..count.min(from + share)).map(make).collect::<Option<Vec<T>>>())
        };
        let shares = usize::try_from(share).unwrap_or(usize::MAX);
        let running: Vec<_> = (0..count).step_by(shares).map(begin).collect();
        running.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    });
    Some(parts?.into_iter().flatten().collect())
}
