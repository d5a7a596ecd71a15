//! The exchange log's files: full tiles and entry bundles (C2SP tlog-tiles) on disk, the rest in memory.
//!
//! The journal is what makes an entry durable. When 256 of them are complete, the publisher writes the
//! bundle and its tiles, flushes them, and tells the core, which then drops the rows. Until then the
//! entries are in the journal and, for reading, in the tail.

pub(crate) mod beyond;
mod cache;
mod check;
mod damage;
pub(crate) mod edge;
mod purge;
mod reader;
pub(crate) mod row;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{ProvedEntry, Receipt};
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::subset;
use seinhuis_shared::tlog::tile::{self, Bundle, Tile};
use seinhuis_shared::tlog::tree::{self, Frontier, HashReader};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;

use cache::{CACHED_BUNDLES, Cache, remember};
use edge::Edge;
pub use reader::Reader;
use tail::Tail;

use crate::tile_tree::TileTree;

const WIDTH: u64 = 256;
const TILE_BYTES: usize = 256 * 32;
const BUNDLE_MAX: usize = 256 * (2 + 65_535);

/// A file of the log that is complete: its path below the log's folder, and its bytes.
type LogFile = (String, Vec<u8>);

/// A handle on a log; cheap to clone, readable from any thread.
#[derive(Debug, Clone)]
pub struct Log {
    dir: Arc<PathBuf>,
    tail: Arc<RwLock<Tail>>,
    cache: Arc<Mutex<Cache>>,
    edge: Arc<Mutex<Edge>>,
    /// Up to which index the texts of entries are removed.
    purged: Arc<AtomicU64>,
}

/// The nodes of the tree of `size` entries, for proofs.
#[derive(Debug)]
struct Nodes<'a> {
    log: &'a Log,
    size: u64,
}

impl HashReader for Nodes<'_> {
    fn read(&self, height: u8, index: u64) -> Option<Digest> {
        let (level, rise) = (height / 8, height % 8);
        let count = 1_u64 << rise;
        let first = index.checked_mul(count)?;
        if first.checked_add(count)? > self.size.checked_shr(u32::from(level) * 8)? {
            return None;
        }
        // A power of two of nodes at a multiple of their number: never across a tile's edge.
        self.log.with_tile(level, first / WIDTH, |tile| tile.node(rise, (first % WIDTH) >> rise))?
    }
}

impl Log {
    /// A log without entries, in `dir`.
    pub(crate) fn begin(dir: &Path) -> Self {
        Self {
            dir: Arc::new(dir.to_path_buf()),
            tail: Arc::default(),
            cache: Arc::default(),
            edge: Arc::default(),
            purged: Arc::default(),
        }
    }

    /// Opens the log in `dir` with `size` entries, of which `rows` (index and bytes, in order) are still
    /// in the journal. Rows come a turn at a time, so the first may lie before the edge of what is in files.
    ///
    /// # Errors
    /// A sentence when files and rows do not make up the log.
    pub fn open(dir: &Path, size: u64, rows: Vec<(u64, Vec<u8>)>) -> Result<Self, Complaint> {
        no_longer_than(dir, size)?;
        Self::open_within(dir, size, rows)
    }

    /// As [`Log::open`], whatever files there are beyond `size`.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub(crate) fn open_within(
        dir: &Path,
        size: u64,
        mut rows: Vec<(u64, Vec<u8>)>,
    ) -> Result<Self, Complaint> {
        let edge = rows.first().map_or(size, |(index, _)| *index).next_multiple_of(WIDTH);
        rows.retain(|(index, _)| *index >= edge);
        let first = rows.first().map_or(size, |(index, _)| *index);
        let follow = (first..).zip(&rows).all(|(want, (index, _))| want == *index);
        let complete = u64::try_from(rows.len()).is_ok_and(|count| first + count == size);
        if !follow || !complete || !first.is_multiple_of(WIDTH) {
            return Err(broken(dir, "entries are missing from the journal"));
        }
        let log = Self::begin(dir);
        log.load_levels(first)?;
        {
            let mut tail = log.write();
            for (_, entry) in rows {
                tail.append(entry);
            }
        }
        Ok(log)
    }

    /// Opens a log that has ended with `size` entries, all of whose files are written; the texts of the first
    /// `purged` entries are removed.
    ///
    /// # Errors
    /// A sentence when files are missing or damaged.
    pub fn open_closed(dir: &Path, size: u64, purged: u64) -> Result<Self, Complaint> {
        no_longer_than(dir, size)?;
        let log = Self::begin(dir);
        log.purged.store(purged, std::sync::atomic::Ordering::Release);
        let full = size - size % WIDTH;
        log.load_levels(full)?;
        let hashes = log.read_edge(size)?;
        let entries = if full < size && !log.is_purged(full) { log.read_partial(size)? } else { Vec::new() };
        let known = entries.iter().map(|entry| leaf_hash(entry));
        if !entries.is_empty() && !known.eq(hashes.hashes().iter().copied()) {
            return Err(broken(dir, "the last entries do not match their hashes"));
        }
        {
            let mut tail = log.write();
            tail.levels[0] = hashes;
            (tail.size, tail.entries, tail.closed) = (size, entries, true);
        }
        Ok(log)
    }

    /// With the texts of the first `entries` entries removed.
    pub(crate) fn with_purged(self, entries: u64) -> Self {
        self.purged.store(entries, std::sync::atomic::Ordering::Release);
        self
    }

    /// Takes in the hashes above the first `size` entries, a whole number of bundles, from files.
    fn load_levels(&self, size: u64) -> Result<(), Complaint> {
        let mut levels = vec![TileTree::default()];
        for level in 1..8_u8 {
            let complete = size >> (8 * u32::from(level));
            let from = complete - complete % WIDTH;
            let mut row = TileTree::default();
            for index in from..complete {
                let below = self.read_tile(level - 1, index)?;
                row.push(below.root().ok_or_else(|| broken(&self.dir, "a tile is not full"))?);
            }
            levels.push(row);
        }
        let mut tail = self.write();
        (tail.size, tail.levels) = (size, levels);
        Ok(())
    }

    /// The log has ended: nothing is added any more.
    pub(crate) fn close(&self) {
        self.write().closed = true;
        // Its last files are written once more, flushed.
        self.edge.lock().unwrap_or_else(PoisonError::into_inner).again();
    }

    /// The checkpoint of the log as it is.
    pub(crate) fn set_note(&self, note: &[u8]) {
        self.write().note = note.to_vec();
    }

    /// What is published as the checkpoint of a log that has ended, when witnesses cosigned it.
    pub(crate) fn set_cosigned(&self, note: Option<Vec<u8>>) {
        if note.is_some() {
            self.write().cosigned = note;
            self.edge.lock().unwrap_or_else(PoisonError::into_inner).again();
        }
    }

    /// The signed checkpoint of the whole log; empty when it is not known.
    pub fn note(&self) -> Vec<u8> {
        self.read().note.clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder it is in.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.read().size
    }

    /// Adds entries that are durable in the journal, with the checkpoint over all of them.
    pub fn append(&self, entries: Vec<Vec<u8>>, note: &[u8]) {
        let mut tail = self.write();
        if !entries.is_empty() {
            tail.note.clear();
            tail.note.extend_from_slice(note);
        }
        for entry in entries {
            tail.append(entry);
        }
    }

    fn read_tile(&self, level: u8, index: u64) -> Result<TileTree, Complaint> {
        let tile = Tile::new(level, index, tile::FULL_WIDTH)
            .map_err(|error| broken(&self.dir, &error.to_string()))?;
        self.read_hashes(tile)
    }

    fn read_hashes(&self, tile: Tile) -> Result<TileTree, Complaint> {
        let path = self.dir.join(tile.to_string());
        tile::decode_tile(&files::read(&path, TILE_BYTES)?, tile.width())
            .map(TileTree::of)
            .map_err(|error| broken(&path, &error.to_string()))
    }

    /// Looks at a tile, wherever it is; `None` when it is nowhere.
    fn with_tile<T>(&self, level: u8, index: u64, look: impl FnOnce(&TileTree) -> T) -> Option<T> {
        {
            let tail = self.read();
            if let Some(tile) = tail.tile(level, index) {
                return Some(look(tile));
            }
        }
        // No lock is held while a file is read.
        let known = self.cached().of(level).0.get(&(level, index)).cloned();
        if let Some(hashes) = known {
            return Some(look(&hashes));
        }
        let hashes = Arc::new(self.read_tile(level, index).ok()?);
        {
            let mut cached = self.cached();
            let (tiles, limit) = cached.of(level);
            remember(tiles, limit, (level, index), Arc::clone(&hashes));
        }
        Some(look(&hashes))
    }

    fn cached(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn nodes(&self, size: u64) -> Nodes<'_> {
        Nodes { log: self, size }
    }

    /// The edge of the tree, computed from tiles and tail.
    ///
    /// # Errors
    /// A sentence when a tile is missing.
    pub fn frontier(&self) -> Result<Frontier, Complaint> {
        let size = self.size();
        Frontier::load(size, &self.nodes(size)).map_err(|error| broken(&self.dir, &error.to_string()))
    }

    /// The exact bytes of an entry.
    ///
    /// # Errors
    /// A sentence when it is not there or its bundle is damaged.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, Complaint> {
        if index >= self.size() {
            return Err(broken(&self.dir, "the log is not that long"));
        }
        if self.is_purged(index) {
            return Err(purge::gone());
        }
        let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        self.with_bundle(index / WIDTH, |entries| entries.get(place).cloned())?
            .ok_or_else(|| broken(&self.dir, "an entry is missing from its bundle"))
    }

    /// The entry at `index`, read.
    ///
    /// # Errors
    /// As [`Log::entry`]; and when it is none.
    pub fn parsed(&self, index: u64) -> Result<Entry, Complaint> {
        Entry::parse(&self.entry(index)?).map_err(|error| broken(&self.dir, &error.to_string()))
    }

    /// The complaint that the log is not what it has to be.
    pub(crate) fn damaged(&self, what: &str) -> Complaint {
        broken(&self.dir, what)
    }

    /// The root over the first `size` entries.
    ///
    /// # Errors
    /// A sentence when a tile is missing.
    pub fn root(&self, size: u64) -> Result<Digest, Complaint> {
        tree::root(size, &self.nodes(size)).map_err(|error| broken(&self.dir, &error.to_string()))
    }

    /// The hashes that lead from these entries to the root over the first `size`.
    ///
    /// # Errors
    /// A sentence when a tile is missing.
    pub fn subset_proof(
        &self,
        indexes: impl IntoIterator<Item = u64>,
        size: u64,
        each: &mut impl FnMut(Digest),
    ) -> Result<(), Complaint> {
        subset::subset_proof(indexes, size, &self.nodes(size), each)
            .map_err(|error| broken(&self.dir, &error.to_string()))
    }

    /// Looks at the entries of a bundle, wherever they are.
    fn with_bundle<T>(&self, index: u64, look: impl FnOnce(&[Vec<u8>]) -> T) -> Result<T, Complaint> {
        {
            let tail = self.read();
            if let Some(entries) = tail.bundle(index) {
                return Ok(look(entries));
            }
        }
        let known = self.cached().bundles.get(&index).cloned();
        if let Some(entries) = known {
            return Ok(look(&entries));
        }
        let entries = Arc::new(self.read_bundle(index)?);
        remember(&mut self.cached().bundles, CACHED_BUNDLES, index, Arc::clone(&entries));
        Ok(look(&entries))
    }

    fn read_bundle(&self, index: u64) -> Result<Vec<Vec<u8>>, Complaint> {
        let bundle =
            Bundle::new(index, tile::FULL_WIDTH).map_err(|error| broken(&self.dir, &error.to_string()))?;
        self.read_entries(bundle)
    }

    fn read_partial(&self, size: u64) -> Result<Vec<Vec<u8>>, Complaint> {
        let width = u16::try_from(size % WIDTH).unwrap_or(tile::FULL_WIDTH);
        let bundle =
            Bundle::new(size / WIDTH, width).map_err(|error| broken(&self.dir, &error.to_string()))?;
        self.read_entries(bundle)
    }

    fn read_entries(&self, bundle: Bundle) -> Result<Vec<Vec<u8>>, Complaint> {
        let path = self.dir.join(bundle.to_string());
        let bytes = files::read(&path, BUNDLE_MAX)?;
        let entries = tile::decode_bundle(&bytes).map_err(|error| broken(&path, &error.to_string()))?;
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// A receipt put together from the log: the same bytes as when it was fresh.
    ///
    /// # Errors
    /// A sentence when entries or tiles are missing.
    pub fn receipt(&self, first: u64, count: u8, size: u64, note: &[u8]) -> Result<Vec<u8>, Complaint> {
        let entries = (first..first.saturating_add(u64::from(count)))
            .map(|index| self.proved(index, size))
            .collect::<Result<Vec<_>, Complaint>>()?;
        Ok(Receipt { version: 1, checkpoint: Bytes::from(note), entries }.to_bytes())
    }

    /// An entry with its proof in the tree of `size`.
    ///
    /// # Errors
    /// A sentence when it or a tile is missing.
    pub fn proved(&self, index: u64, size: u64) -> Result<ProvedEntry, Complaint> {
        Ok(ProvedEntry { index, entry: Bytes(self.entry(index)?), path: self.inclusion(index, size)? })
    }

    /// The proof that the entry at `index` is in the tree of the first `size`.
    ///
    /// # Errors
    /// A sentence when it is not, or a tile is missing.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, Complaint> {
        tree::inclusion_proof(index, size, &self.nodes(size))
            .map_err(|error| broken(&self.dir, &error.to_string()))
    }

    /// The proof that the tree of `new` entries extends the one of `old`.
    ///
    /// # Errors
    /// A sentence when a tile is missing.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, Complaint> {
        tree::consistency_proof(old, new, &self.nodes(new))
            .map_err(|error| broken(&self.dir, &error.to_string()))
    }

    /// Writes what has become complete, flushed, and what is at the edge; the number of entries that are in files for
    /// good. In a log that has ended that is all of them.
    ///
    /// # Errors
    /// A sentence when a file cannot be written: nothing is lost, the journal still has it.
    pub fn publish(&self) -> Result<u64, Complaint> {
        let (files, edge, end) = {
            let tail = self.read();
            let full = tail.size - tail.size % WIDTH;
            let end = if tail.closed { tail.size } else { full };
            (complete_files(&tail)?, self.edge_of(&tail)?, end)
        };
        for (path, bytes) in &files {
            let path = self.dir.join(path);
            files::make_private_dir(&files::parent(&path))?;
            put(&path, bytes)?;
        }
        if let Some(edge) = edge {
            self.write_edge(edge)?;
        }
        if files.is_empty() {
            return Ok(end);
        }
        let mut tail = self.write();
        let names: Vec<&String> = files.iter().map(|(path, _)| path).collect();
        tail.bundles.retain(|index, _| (index + 1) * WIDTH > end);
        tail.tiles.retain(|(level, index), _| {
            Tile::new(*level, *index, tile::FULL_WIDTH).is_ok_and(|tile| !names.contains(&&tile.to_string()))
        });
        Ok(end)
    }
}

/// Refuses a store that knows less of the log than its files: one restored from an old copy, or gone. To go on
/// would be to write a second history under the same name.
fn no_longer_than(dir: &Path, size: u64) -> Result<(), Complaint> {
    let beyond =
        Bundle::new(size / WIDTH, tile::FULL_WIDTH).map_err(|error| Complaint::bug(error.to_string()))?;
    if dir.join(beyond.to_string()).exists() {
        return Err(broken(
            dir,
            "its files hold more entries than the store knows of: the store is older, or gone",
        ));
    }
    Ok(())
}

/// Writes a file of the log once. One that is there already, after a crash, has to be the very same.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Complaint> {
    if !path.exists() {
        return files::write_private(path, bytes, Existing::Keep);
    }
    if files::read(path, BUNDLE_MAX)? == bytes {
        Ok(())
    } else {
        Err(broken(path, "this file of the log has other content than the journal"))
    }
}

fn complete_files(tail: &Tail) -> Result<Vec<LogFile>, Complaint> {
    let bug = |error: tile::TileError| Complaint::bug(error.to_string());
    let mut files = Vec::new();
    for (index, entries) in &tail.bundles {
        let bundle = Bundle::new(*index, tile::FULL_WIDTH).map_err(bug)?;
        files.push((bundle.to_string(), tile::encode_bundle(entries).map_err(bug)?));
    }
    for ((level, index), tree) in &tail.tiles {
        let tile = Tile::new(*level, *index, tile::FULL_WIDTH).map_err(bug)?;
        files.push((tile.to_string(), tile::encode_tile(tree.hashes()).map_err(bug)?));
    }
    Ok(files)
}

fn broken(path: &Path, what: &str) -> Complaint {
    let path = path.display();
    Complaint::usage(
        Text::new(
            format!("Het uitwisselingslog in {path} is beschadigd: {what}"),
            format!("The exchange log in {path} is damaged: {what}"),
        ),
        Text::new(
            "Start de broker niet op deze bestanden. Zet de laatste reservekopie terug en meld het de partners.",
            "Do not run the broker on these files. Restore the latest backup and tell the partners.",
        ),
    )
}

#[cfg(test)]
mod tests;
