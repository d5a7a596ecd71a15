//! The log's side of the Merkle tree: appending, roots and proofs (RFC 6962 §2.1).
//!
//! A *node* is a complete subtree, named by its height (0 for a leaf) and its index among the nodes of
//! that height: node `(h, i)` covers the leaves `i·2^h` up to but not including `(i+1)·2^h`. Complete
//! subtrees never change once they exist, so they are all that storage has to keep.

use std::collections::BTreeMap;

use super::hash::{empty_root, node_hash};
use crate::ids::Digest;

/// Why the tree cannot give what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The tree has 2^64 − 1 leaves.
    #[error("the tree is full: start the log of the next period")]
    Full,
    /// The leaf is not in the tree.
    #[error("there is no leaf {index} in a tree of {size} leaves: ask for a smaller index or a larger tree")]
    NoSuchLeaf {
        /// The leaf asked for.
        index: u64,
        /// The number of leaves of the tree.
        size: u64,
    },
    /// The tree to start from is larger than the tree to arrive at.
    #[error("a tree of {old} leaves does not come before one of {new}: swap the two sizes")]
    SizesReversed {
        /// The size to start from.
        old: u64,
        /// The size to arrive at.
        new: u64,
    },
    /// The storage does not have a hash that the answer needs.
    #[error(
        "node {index} at height {height} is not in the store: it is damaged, pruned or behind; rebuild it from the journal"
    )]
    MissingNode {
        /// The height of the missing node.
        height: u8,
        /// Its index at that height.
        index: u64,
    },
    /// A frontier does not have one hash per set bit of its size.
    #[error(
        "a frontier of {size} leaves does not have {hashes} hashes: it is damaged, load it from the store"
    )]
    WrongFrontier {
        /// The number of leaves.
        size: u64,
        /// The number of hashes given.
        hashes: usize,
    },
}

/// Where the hashes of complete subtrees are read from.
pub trait HashReader {
    /// The hash of node `(height, index)`, or `None` if it is not here.
    fn read(&self, height: u8, index: u64) -> Option<Digest>;
}

impl<T: HashReader + ?Sized> HashReader for &T {
    fn read(&self, height: u8, index: u64) -> Option<Digest> {
        (**self).read(height, index)
    }
}

/// Every node kept in memory, under `(height, index)`.
impl HashReader for BTreeMap<(u8, u64), Digest> {
    fn read(&self, height: u8, index: u64) -> Option<Digest> {
        self.get(&(height, index)).copied()
    }
}

/// Asks the first reader and, if it does not know, the second: new nodes before stored ones.
impl<A: HashReader, B: HashReader> HashReader for (A, B) {
    fn read(&self, height: u8, index: u64) -> Option<Digest> {
        self.0.read(height, index).or_else(|| self.1.read(height, index))
    }
}

/// The right edge of a tree: all that appending needs (a compact range).
///
/// Holds one hash for every set bit of the size: the roots of the complete subtrees the tree falls apart
/// into, largest (leftmost) first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of the tree without leaves.
    pub const fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Puts a kept frontier together again.
    ///
    /// # Errors
    /// [`TreeError::WrongFrontier`] if the number of hashes does not fit the size. That the hashes are the
    /// right ones shows only when [`Frontier::root`] is compared with a signed root.
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Result<Self, TreeError> {
        if usize::try_from(size.count_ones()) == Ok(peaks.len()) {
            Ok(Self { size, peaks })
        } else {
            Err(TreeError::WrongFrontier { size, hashes: peaks.len() })
        }
    }

    /// Reads the frontier of the tree of `size` leaves from storage.
    ///
    /// # Errors
    /// [`TreeError::MissingNode`] if the storage lacks one of its hashes.
    pub fn load(size: u64, reader: &impl HashReader) -> Result<Self, TreeError> {
        Ok(Self { size, peaks: peaks(0, size, reader)? })
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes, largest subtree first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Appends one leaf, given by its [`leaf_hash`](super::hash::leaf_hash).
    ///
    /// # Errors
    /// [`TreeError::Full`] if the tree can hold no more.
    pub fn append(&mut self, leaf: Digest) -> Result<(), TreeError> {
        self.append_with(leaf, |_, _| ())
    }

    /// Appends one leaf and hands over the height and hash of every node that it completes, lowest first.
    fn append_with(&mut self, leaf: Digest, mut completed: impl FnMut(u8, Digest)) -> Result<(), TreeError> {
        let size = self.size.checked_add(1).ok_or(TreeError::Full)?;
        let mut node = leaf;
        let mut height = 0_u8;
        completed(height, node);
        // One merge per trailing one bit of the old size: like the carry of adding one to it.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
                height = height.saturating_add(1);
                completed(height, node);
            }
        }
        self.peaks.push(node);
        self.size = size;
        Ok(())
    }

    /// The root of the tree, in at most 64 hashes.
    pub fn root(&self) -> Digest {
        fold(&self.peaks)
    }

    /// The peak at `height`, if the tree has one there.
    fn peak(&self, height: u8) -> Option<Digest> {
        let larger = self.size.checked_shr(u32::from(height))?;
        // One peak per set bit, so its place is the number of set bits above it.
        let place = usize::try_from(larger.count_ones()).ok()?.checked_sub(1)?;
        (larger & 1 == 1).then(|| self.peaks.get(place).copied())?
    }
}

/// A tree of `n` leaves and the leaves appended to it in one turn, all in memory.
///
/// As a [`HashReader`] it knows every node needed for the inclusion proofs of the new leaves, and for the
/// consistency proof from `n`, in the tree as it now is; older storage is not touched. Paired with the
/// store, as `(&batch, &store)`, it also serves proofs about older leaves before the turn is committed.
#[derive(Debug, Clone, Default)]
pub struct BatchTree {
    base: Frontier,
    tip: Frontier,
    /// Per height the nodes completed since `base`; the first has index `base.size >> height`.
    completed: Vec<Vec<Digest>>,
}

impl BatchTree {
    /// Starts a batch on the tree with this frontier.
    pub fn new(base: Frontier) -> Self {
        Self { tip: base.clone(), base, completed: Vec::new() }
    }

    /// Appends one leaf by its hash; gives its index.
    ///
    /// # Errors
    /// [`TreeError::Full`] if the tree can hold no more.
    pub fn append(&mut self, leaf: Digest) -> Result<u64, TreeError> {
        let index = self.tip.size();
        let completed = &mut self.completed;
        self.tip.append_with(leaf, |height, node| {
            let height = usize::from(height);
            if completed.len() <= height {
                completed.resize_with(height.saturating_add(1), Vec::new);
            }
            if let Some(row) = completed.get_mut(height) {
                row.push(node);
            }
        })?;
        Ok(index)
    }

    /// The frontier the batch started from.
    pub const fn base(&self) -> &Frontier {
        &self.base
    }

    /// The frontier with the new leaves: the base of the next batch.
    pub const fn tip(&self) -> &Frontier {
        &self.tip
    }

    /// The number of leaves, new ones included.
    pub const fn size(&self) -> u64 {
        self.tip.size()
    }

    /// The hashes of the new leaves.
    pub fn leaves(&self) -> &[Digest] {
        self.completed.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The root with the new leaves.
    pub fn root(&self) -> Digest {
        self.tip.root()
    }

    /// The inclusion proof of a leaf appended in this batch, in the tree as it now is.
    ///
    /// # Errors
    /// [`TreeError::NoSuchLeaf`] past the end; [`TreeError::MissingNode`] for a leaf of before the batch.
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Digest>, TreeError> {
        inclusion_proof(index, self.size(), self)
    }

    /// The consistency proof from the tree the batch started from to the tree as it now is.
    ///
    /// # Errors
    /// None in practice: every node needed is in memory.
    pub fn consistency_proof(&self) -> Result<Vec<Digest>, TreeError> {
        consistency_proof(self.base.size(), self.size(), self)
    }

    /// Every node completed by the batch, as `((height, index), hash)`: what storage has to add.
    pub fn new_nodes(&self) -> impl Iterator<Item = ((u8, u64), Digest)> + '_ {
        (0_u8..).zip(&self.completed).flat_map(|(height, row)| {
            let first = self.base.size().checked_shr(u32::from(height)).unwrap_or(0);
            (first..).zip(row).map(move |(index, hash)| ((height, index), *hash))
        })
    }
}

impl HashReader for BatchTree {
    fn read(&self, height: u8, index: u64) -> Option<Digest> {
        let first = self.base.size().checked_shr(u32::from(height))?;
        match index.checked_sub(first) {
            Some(place) => {
                self.completed.get(usize::from(height))?.get(usize::try_from(place).ok()?).copied()
            }
            None if index.checked_add(1) == Some(first) => self.base.peak(height),
            None => None,
        }
    }
}

/// The root of the tree of `size` leaves.
///
/// # Errors
/// [`TreeError::MissingNode`] if the reader lacks a node.
pub fn root(size: u64, reader: &impl HashReader) -> Result<Digest, TreeError> {
    Ok(fold(&peaks(0, size, reader)?))
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves: sibling hashes, lowest first
/// (RFC 6962 §2.1.1).
///
/// # Errors
/// [`TreeError::NoSuchLeaf`] if `index` is not below `size`, [`TreeError::MissingNode`] if the reader lacks
/// a node.
pub fn inclusion_proof(index: u64, size: u64, reader: &impl HashReader) -> Result<Vec<Digest>, TreeError> {
    if index >= size {
        return Err(TreeError::NoSuchLeaf { index, size });
    }
    let mut proof = Vec::new();
    let (mut low, mut high) = (0, size);
    while let Some(middle) = split(low, high) {
        if index < middle {
            proof.push(range(middle, high, reader)?);
            high = middle;
        } else {
            proof.push(range(low, middle, reader)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` leaves is a beginning of the tree of `new` leaves (RFC 6962 §2.1.2).
///
/// Empty for `old` 0 and for equal sizes: there is nothing to prove.
///
/// # Errors
/// [`TreeError::SizesReversed`] if `old` is larger than `new`, [`TreeError::MissingNode`] if the reader
/// lacks a node.
pub fn consistency_proof(old: u64, new: u64, reader: &impl HashReader) -> Result<Vec<Digest>, TreeError> {
    if old > new {
        return Err(TreeError::SizesReversed { old, new });
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut low, mut high) = (0, new);
    while high != old {
        let Some(middle) = split(low, high) else { break };
        if old <= middle {
            proof.push(range(middle, high, reader)?);
            high = middle;
        } else {
            proof.push(range(low, middle, reader)?);
            low = middle;
        }
    }
    // If the old tree is one complete subtree of the new one, its root is known to the verifier.
    if low != 0 {
        proof.push(range(low, high, reader)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Where a range of more than one leaf divides: at the largest power of two smaller than its length.
pub(super) fn split(low: u64, high: u64) -> Option<u64> {
    let last = high.checked_sub(low)?.checked_sub(1)?;
    low.checked_add(1_u64.checked_shl(last.checked_ilog2()?)?)
}

/// The root over the leaves `low..high`, where `low` is where a split put it.
pub(super) fn range(low: u64, high: u64, reader: &impl HashReader) -> Result<Digest, TreeError> {
    Ok(fold(&peaks(low, high, reader)?))
}

/// The complete subtrees that `low..high` falls apart into, largest first.
fn peaks(low: u64, high: u64, reader: &impl HashReader) -> Result<Vec<Digest>, TreeError> {
    let mut hashes = Vec::new();
    let mut at = low;
    while let Some(bit) = high.checked_sub(at).and_then(u64::checked_ilog2) {
        let height = u8::try_from(bit).unwrap_or(u8::MAX);
        let index = at.checked_shr(bit).unwrap_or(0);
        hashes.push(reader.read(height, index).ok_or(TreeError::MissingNode { height, index })?);
        at = at.saturating_add(1_u64.checked_shl(bit).unwrap_or(u64::MAX));
    }
    Ok(hashes)
}

/// Joins complete subtrees, from the right, into the root above them.
fn fold(peaks: &[Digest]) -> Digest {
    peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
}
