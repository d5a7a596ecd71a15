//! How the tree lies in files: tiles of 256 hashes and bundles of 256 entries (C2SP tlog-tiles).
//!
//! Tile `n` at level `l` holds the nodes `256n..256n+256` of height `8l` (see [`super::tree`]); the heights in
//! between are recomputed from it. A tile that the tree does not fill yet is *partial* and is named by its
//! width too. A full tile never changes.

use core::fmt;
use core::str::FromStr;

use super::hash::node_hash;
use super::tree::HashReader;
use crate::ids::Digest;

/// Hashes in a full tile, entries in a full bundle.
pub const FULL_WIDTH: u16 = 256;
/// The highest level a path may name.
pub const MAX_LEVEL: u8 = 63;
/// A path is never longer: seven groups of digits for 2^64, the prefix and a width.
const MAX_PATH_BYTES: usize = 64;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// Levels above this one need more than 2^64 leaves.
const LAST_USED_LEVEL: u8 = 7;

/// Why something is not a tile, a bundle or a path of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// No tile has these coordinates.
    #[error("there is no tile of level {level} and width {width}: levels are 0 to 63, widths 1 to 256")]
    NoSuchTile {
        /// The level given.
        level: u8,
        /// The width given.
        width: u16,
    },
    /// The text is not a path of a tile or bundle, or not written as it should be.
    #[error(
        "{0:?} is not a tile path: write tile/<level>/<index> or tile/entries/<index>, the index in groups of three digits"
    )]
    NotAPath(
        /// The text as given, cut to 64 characters.
        String,
    ),
    /// A tile's content is not the number of hashes it should be.
    #[error("a tile of {width} hashes is {bytes} bytes long: fetch it again, it is cut off or another tile")]
    WrongTileLength {
        /// The width expected.
        width: u16,
        /// The bytes found.
        bytes: usize,
    },
    /// A bundle or tile holds no item or more than 256.
    #[error("{0} items do not make a tile or bundle: it holds 1 to 256")]
    WrongCount(
        /// The number of items, counted until one too many.
        usize,
    ),
    /// An entry is longer than a bundle can say.
    #[error("an entry of {0} bytes does not fit in a bundle: entries are at most 65535 bytes")]
    EntryTooLong(
        /// Its length in bytes.
        usize,
    ),
    /// A bundle ends in the middle of an entry.
    #[error("the entry bundle ends in the middle of entry {0}: fetch it again, it is cut off")]
    CutOff(
        /// The place of the entry in the bundle, from 0.
        usize,
    ),
}

/// The coordinates of a tile of hashes, full or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// A tile: level 0–63 (0 holds leaf hashes), index within the level, width 1–256 in hashes.
    ///
    /// # Errors
    /// [`TileError::NoSuchTile`] outside these bounds.
    pub const fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        if level > MAX_LEVEL || width == 0 || width > FULL_WIDTH {
            Err(TileError::NoSuchTile { level, width })
        } else {
            Ok(Self { level, index, width })
        }
    }

    /// The tile as it is in the tree of `size` leaves; `None` if that tree has no hash in it.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let start = index.checked_mul(u64::from(FULL_WIDTH))?;
        let here = hashes_at(level, size).checked_sub(start)?.min(u64::from(FULL_WIDTH));
        Self::new(level, index, u16::try_from(here).ok()?).ok()
    }

    /// The level: hashes in it are of nodes of height 8 × level.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The index within the level.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The number of hashes, 1–256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether the tile has all its 256 hashes.
    pub const fn is_full(self) -> bool {
        self.width == FULL_WIDTH
    }
}

impl fmt::Display for Tile {
    /// The path: `tile/<level>/<index>[.p/<width>]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_index(f, self.index, self.width)
    }
}

/// The coordinates of an entry bundle: the entries whose hashes are in the level 0 tile of the same index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// A bundle: index, and number of entries 1–256.
    ///
    /// # Errors
    /// [`TileError::NoSuchTile`] for another width.
    pub fn new(index: u64, width: u16) -> Result<Self, TileError> {
        Tile::new(0, index, width).map(Self::from)
    }

    /// The index.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The number of entries, 1–256.
    pub const fn width(self) -> u16 {
        self.width
    }
}

impl From<Tile> for Bundle {
    /// The bundle of a level 0 tile.
    fn from(tile: Tile) -> Self {
        Self { index: tile.index, width: tile.width }
    }
}

impl fmt::Display for Bundle {
    /// The path: `tile/entries/<index>[.p/<width>]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_index(f, self.index, self.width)
    }
}

/// What a path below the log's prefix names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TilePath {
    /// A tile of hashes.
    Hashes(Tile),
    /// A bundle of entries.
    Entries(Bundle),
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashes(tile) => tile.fmt(f),
            Self::Entries(bundle) => bundle.fmt(f),
        }
    }
}

impl FromStr for TilePath {
    type Err = TileError;

    /// Reads a path, and only as it is printed: no leading zeros, no empty groups.
    fn from_str(text: &str) -> Result<Self, TileError> {
        parse_path(text)
            .filter(|path| path.to_string() == text)
            .ok_or_else(|| TileError::NotAPath(text.chars().take(MAX_PATH_BYTES).collect()))
    }
}

fn parse_path(text: &str) -> Option<TilePath> {
    if text.len() > MAX_PATH_BYTES {
        return None;
    }
    let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => {
            (index, number(width).and_then(|w| u16::try_from(w).ok()).filter(|w| *w < FULL_WIDTH)?)
        }
        None => (rest, FULL_WIDTH),
    };
    let mut groups = index.rsplit('/');
    let last = groups.next()?;
    let mut digits = String::new();
    for group in groups {
        digits.insert_str(0, group.strip_prefix('x').filter(|group| group.len() == 3)?);
    }
    digits.push_str(Some(last).filter(|group| group.len() == 3)?);
    let index = number(&digits)?;
    if kind == "entries" {
        Bundle::new(index, width).ok().map(TilePath::Entries)
    } else {
        let level = u8::try_from(number(kind)?).ok()?;
        Tile::new(level, index, width).ok().map(TilePath::Hashes)
    }
}

/// A decimal number of digits only; leading zeros are left to the caller.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn write_index(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut groups = Vec::new();
    let mut rest = index;
    loop {
        groups.push(rest.wrapping_rem(1000));
        rest = rest.wrapping_div(1000);
        if rest == 0 {
            break;
        }
    }
    let (last, higher) = groups.split_first().unwrap_or((&0, &[]));
    for group in higher.iter().rev() {
        write!(f, "x{group:03}/")?;
    }
    write!(f, "{last:03}")?;
    if width < FULL_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

/// How many nodes of height 8 × `level` the tree of `size` leaves has.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level).saturating_mul(8)).unwrap_or(0)
}

/// The tiles that become full when the tree grows from `old` to `new` leaves, lowest level first.
///
/// Those of level 0 name the entry bundles that become full as well. Nothing if `new` is not larger.
pub fn new_full_tiles(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    (0..=LAST_USED_LEVEL).flat_map(move |level| {
        let above = level.saturating_add(1);
        (hashes_at(above, old)..hashes_at(above, new)).map(move |index| Tile {
            level,
            index,
            width: FULL_WIDTH,
        })
    })
}

/// The partial tiles at the right edge of the tree of `size` leaves, lowest level first.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..=LAST_USED_LEVEL)
        .filter_map(move |level| Tile::in_tree(level, hashes_at(level.saturating_add(1), size), size))
}

/// The hashes of a tile, out of storage that has the nodes of height 8 × level; `None` if it lacks one.
pub fn read_tile(tile: Tile, reader: &impl HashReader) -> Option<Vec<Digest>> {
    let height = tile.level.checked_mul(8)?;
    let start = tile.index.checked_mul(u64::from(FULL_WIDTH))?;
    let end = start.checked_add(u64::from(tile.width))?;
    (start..end).map(|index| reader.read(height, index)).collect()
}

/// A tile as it is published: its hashes one after the other.
///
/// # Errors
/// [`TileError::WrongCount`] unless there are 1 to 256.
pub fn encode_tile(hashes: &[Digest]) -> Result<Vec<u8>, TileError> {
    if hashes.is_empty() || hashes.len() > usize::from(FULL_WIDTH) {
        return Err(TileError::WrongCount(hashes.len()));
    }
    Ok(hashes.iter().flat_map(|hash| hash.0).collect())
}

/// Reads a published tile of `width` hashes (1–256).
///
/// # Errors
/// [`TileError::WrongCount`] for a width no tile has, [`TileError::WrongTileLength`] if the bytes are not
/// exactly that many hashes.
pub fn decode_tile(bytes: &[u8], width: u16) -> Result<Vec<Digest>, TileError> {
    if width == 0 || width > FULL_WIDTH {
        return Err(TileError::WrongCount(usize::from(width)));
    }
    if bytes.len() != usize::from(width).saturating_mul(HASH_BYTES) {
        return Err(TileError::WrongTileLength { width, bytes: bytes.len() });
    }
    let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
    Ok(hashes.iter().copied().map(Digest).collect())
}

/// A bundle as it is published: for each entry its length in two bytes, big-endian, and its bytes.
///
/// # Errors
/// [`TileError::WrongCount`] unless there are 1 to 256 entries, [`TileError::EntryTooLong`] past 65 535 bytes.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TileError> {
    if entries.is_empty() || entries.len() > usize::from(FULL_WIDTH) {
        return Err(TileError::WrongCount(entries.len()));
    }
    let mut bytes = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong(entry.len()))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// Reads a published bundle; the entries are slices of `bytes`.
///
/// Compare the number of entries, and the hash of each, with the level 0 tile.
///
/// # Errors
/// [`TileError::CutOff`] if it ends within an entry, [`TileError::WrongCount`] unless it has 1 to 256.
pub fn decode_bundle(bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if entries.len() == usize::from(FULL_WIDTH) {
            return Err(TileError::WrongCount(entries.len().saturating_add(1)));
        }
        let cut_off = || TileError::CutOff(entries.len());
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(cut_off)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or_else(cut_off)?;
        entries.push(entry);
        rest = after;
    }
    if entries.is_empty() { Err(TileError::WrongCount(0)) } else { Ok(entries) }
}

/// Reads nodes of every height out of tiles.
///
/// `fetch` gives the hashes of a tile, as wide as asked or wider, or `None`. It is called once per node, several
/// times for the same tile: remember tiles there if fetching is slow. Tiles are believed as they are; what is
/// computed from them proves itself when it leads to a signed root.
pub struct TileReader<F> {
    size: u64,
    fetch: F,
}

impl<F: Fn(Tile) -> Option<Vec<Digest>>> TileReader<F> {
    /// A reader of the tree of `size` leaves.
    pub const fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch }
    }
}

impl<F> fmt::Debug for TileReader<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TileReader").field("size", &self.size).finish_non_exhaustive()
    }
}

impl<F: Fn(Tile) -> Option<Vec<Digest>>> HashReader for TileReader<F> {
    fn read(&self, height: u8, index: u64) -> Option<Digest> {
        let (level, rise) = (height.wrapping_div(8), u32::from(height.wrapping_rem(8)));
        let count = 1_u64.checked_shl(rise)?;
        let first = index.checked_mul(count)?;
        if first.checked_add(count)? > hashes_at(level, self.size) {
            return None;
        }
        // Fewer than 256 nodes, at a multiple of their number: never across a tile's edge.
        let tile = Tile::in_tree(level, first >> 8, self.size)?;
        let from = usize::try_from(first & 0xff).ok()?;
        let to = from.checked_add(usize::try_from(count).ok()?)?;
        let mut nodes = (self.fetch)(tile)?.get(from..to)?.to_vec();
        for _ in 0..rise {
            let (pairs, _) = nodes.as_chunks::<2>();
            nodes = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        nodes.first().copied()
    }
}
