//! Whether the files are what they were: every entry hashed again, every tile held against the ones below.

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tile::{self, Tile};
use seinhuis_shared::tlog::tree::Frontier;
use seinhuis_shell::complaint::Complaint;

use super::{Cache, Log, WIDTH, broken};

impl Log {
    /// How many bundles there are, the one that grows among them.
    pub fn bundles(&self) -> u64 {
        self.size().div_ceil(WIDTH)
    }

    /// Hashes every entry again, as it is on disk now, and compares with tiles and root; gives the number
    /// checked.
    ///
    /// # Errors
    /// A sentence naming the first bundle or tile that does not match.
    pub fn recheck(&self) -> Result<u64, Complaint> {
        let size = self.size();
        for index in 0..size.div_ceil(WIDTH) {
            self.check_bundle(index)?;
        }
        self.check_root(size)
    }

    /// Holds the root of the first `size` entries, by the level 0 tiles, against the one by all tiles.
    ///
    /// # Errors
    /// A sentence when they differ.
    pub fn check_root(&self, size: u64) -> Result<u64, Complaint> {
        *self.cached() = Cache::default();
        let mut derived = Frontier::empty();
        for index in 0..size.div_ceil(WIDTH) {
            let left = usize::try_from(size - derived.size()).unwrap_or(usize::MAX);
            let hashes: Vec<Digest> = self
                .with_tile(0, index, |tile| tile.hashes().iter().take(left).copied().collect())
                .ok_or_else(|| broken(&self.dir, &format!("the tile of bundle {index} is missing")))?;
            for hash in hashes {
                derived.append(hash).map_err(|error| broken(&self.dir, &error.to_string()))?;
            }
        }
        let kept =
            Frontier::load(size, &self.nodes(size)).map_err(|error| broken(&self.dir, &error.to_string()))?;
        if derived.size() == size && derived.root() == kept.root() {
            Ok(size)
        } else {
            Err(broken(&self.dir, "the entries do not lead to the root of the tiles"))
        }
    }

    /// Hashes the entries of one bundle again, as it is on disk now, unless their texts are removed; and holds the
    /// tiles above it against each other.
    ///
    /// # Errors
    /// A sentence naming the bundle or tile that does not match.
    pub fn check_bundle(&self, index: u64) -> Result<(), Complaint> {
        let full = (index + 1) * WIDTH <= self.read().size;
        // The entries first: what is added meanwhile is then in the tile, and not in what is held against it.
        let hashes: Option<Vec<Digest>> = if self.is_purged(index * WIDTH) {
            None
        } else {
            let hash = |entries: &[Vec<u8>]| entries.iter().map(|entry| leaf_hash(entry)).collect();
            Some(self.with_fresh_bundle(index, hash)?)
        };
        let tile = self.fresh_tile(0, index)?;
        let same = |hashes: &Vec<Digest>| if full { tile == *hashes } else { tile.starts_with(hashes) };
        if !hashes.as_ref().is_none_or(same) {
            return Err(broken(&self.dir, &format!("bundle {index} does not match its hashes")));
        }
        if full { self.check_above(index, tile) } else { Ok(()) }
    }

    /// Holds a full tile, and those above it that it completes, against the hash one level higher.
    fn check_above(&self, mut index: u64, mut hashes: Vec<Digest>) -> Result<(), Complaint> {
        for level in 1..8_u8 {
            let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
            let above = self.fresh_tile(level, index / WIDTH)?;
            let root = super::TileTree::of(hashes).root();
            if root.is_none() || above.get(place).copied() != root {
                let tile = Tile::new(level, index / WIDTH, tile::FULL_WIDTH)
                    .map_err(|error| broken(&self.dir, &error.to_string()))?;
                return Err(broken(&self.dir, &format!("{tile} does not match the tile below it, {index}")));
            }
            if place + 1 < 256 {
                return Ok(());
            }
            index /= WIDTH;
            hashes = above;
        }
        Ok(())
    }

    /// The hashes of a tile as they are now: in memory as long as they are nowhere else, else on disk.
    fn fresh_tile(&self, level: u8, index: u64) -> Result<Vec<Digest>, Complaint> {
        {
            let tail = self.read();
            if let Some(tile) = tail.tile(level, index) {
                return Ok(tile.hashes().to_vec());
            }
        }
        self.read_tile(level, index).map(|tile| tile.hashes().to_vec())
    }

    fn with_fresh_bundle<T>(&self, index: u64, look: impl FnOnce(&[Vec<u8>]) -> T) -> Result<T, Complaint> {
        {
            let tail = self.read();
            if let Some(entries) = tail.bundle(index) {
                return Ok(look(entries));
            }
        }
        self.read_bundle(index).map(|entries| look(&entries))
    }
}
