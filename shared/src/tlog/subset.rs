//! One proof for many leaves: that these entries, and no others between them, are the ones at their places.
//!
//! The tree is walked as RFC 6962 §2.1 divides it. What holds none of the leaves gives one hash of the proof,
//! in the order of the walk; what holds some is divided on. With a period's leaves without a gap the proof is
//! the edges left and right of it, however long the period is; with every leaf it is empty. The proof does not
//! vouch for the size of the tree: take size and root from the same verified checkpoint.

use super::hash::{empty_root, node_hash};
use super::tree::{HashReader, TreeError, range, split};
use crate::ids::Digest;

/// Why leaves and proof lead to no root. Whoever made or altered the export is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubsetError {
    /// A leaf that does not come after the one before it, or lies outside the tree.
    #[error("leaf {0} does not stand at its place: the lines are to be in the order of the log, each once")]
    Misplaced(
        /// The index claimed.
        u64,
    ),
    /// The proof ends too early.
    #[error("the proof has too few hashes: it is cut off, or lines were added")]
    TooShort,
    /// The proof goes on.
    #[error("the proof has more hashes than the tree calls for: lines were removed, or hashes added")]
    TooLong,
}

/// The hashes that lead from these leaves to the root of the tree of `size` leaves, handed to `each` in the
/// order in which [`root_from_subset`] takes them. `leaves` are indexes, rising.
///
/// # Errors
/// [`TreeError::NoSuchLeaf`] for an index that does not rise or is not in the tree, [`TreeError::MissingNode`]
/// if the reader lacks a node.
pub fn subset_proof(
    leaves: impl IntoIterator<Item = u64>,
    size: u64,
    reader: &impl HashReader,
    each: &mut impl FnMut(Digest),
) -> Result<(), TreeError> {
    let mut leaves = leaves.into_iter().peekable();
    if size > 0 {
        prove((0, size), &mut leaves, reader, each)?;
    }
    leaves.next().map_or(Ok(()), |index| Err(TreeError::NoSuchLeaf { index, size }))
}

fn prove<I: Iterator<Item = u64>>(
    (low, high): (u64, u64),
    leaves: &mut core::iter::Peekable<I>,
    reader: &impl HashReader,
    each: &mut impl FnMut(Digest),
) -> Result<(), TreeError> {
    let next = leaves.peek().copied().filter(|next| *next < high);
    if let Some(index) = next.filter(|next| *next < low) {
        return Err(TreeError::NoSuchLeaf { index, size: high });
    }
    match (next, split(low, high)) {
        (None, _) => each(range(low, high, reader)?),
        (Some(_), None) => {
            leaves.next();
        }
        (Some(_), Some(middle)) => {
            prove((low, middle), leaves, reader, each)?;
            prove((middle, high), leaves, reader, each)?;
        }
    }
    Ok(())
}

/// The root that leaves (index and hash, in the order of the log) and proof lead to in a tree of `size`
/// leaves, for comparison with a checkpoint's.
///
/// # Errors
/// [`SubsetError`].
pub fn root_from_subset(
    leaves: impl IntoIterator<Item = (u64, Digest)>,
    size: u64,
    proof: impl IntoIterator<Item = Digest>,
) -> Result<Digest, SubsetError> {
    Walk::all(leaves, size, proof, None).map(|(root, _)| root)
}

/// The inclusion proof of the leaf at `index`, which is one of those that leaves and proof are of: sibling
/// hashes, lowest first (RFC 6962 §2.1.1). It leads to the root that [`root_from_subset`] gives.
///
/// # Errors
/// [`SubsetError`].
pub fn path_from_subset(
    index: u64,
    leaves: impl IntoIterator<Item = (u64, Digest)>,
    size: u64,
    proof: impl IntoIterator<Item = Digest>,
) -> Result<Vec<Digest>, SubsetError> {
    Walk::all(leaves, size, proof, Some(index)).map(|(_, path)| path)
}

struct Walk<L: Iterator<Item = (u64, Digest)>, P> {
    leaves: core::iter::Peekable<L>,
    proof: P,
    /// The leaf whose siblings are noted down.
    wanted: Option<u64>,
    path: Vec<Digest>,
}

impl<L: Iterator<Item = (u64, Digest)>, P: Iterator<Item = Digest>> Walk<L, P> {
    /// The root, and the path of the leaf that is wanted.
    fn all(
        leaves: impl IntoIterator<IntoIter = L>,
        size: u64,
        proof: impl IntoIterator<IntoIter = P>,
        wanted: Option<u64>,
    ) -> Result<(Digest, Vec<Digest>), SubsetError> {
        let (leaves, proof) = (leaves.into_iter().peekable(), proof.into_iter());
        let mut walk = Self { leaves, proof, wanted, path: Vec::new() };
        let root = if size == 0 { empty_root() } else { walk.over(0, size)? };
        match (walk.leaves.next(), walk.proof.next()) {
            (Some((index, _)), _) => Err(SubsetError::Misplaced(index)),
            (None, Some(_)) => Err(SubsetError::TooLong),
            (None, None) => Ok((root, walk.path)),
        }
    }

    /// The root over `low..high`. No deeper than the tree: 64 steps.
    fn over(&mut self, low: u64, high: u64) -> Result<Digest, SubsetError> {
        let next = self.leaves.peek().copied().filter(|(index, _)| *index < high);
        match (next, split(low, high)) {
            (Some((index, _)), _) if index < low => Err(SubsetError::Misplaced(index)),
            (None, _) => self.proof.next().ok_or(SubsetError::TooShort),
            (Some((_, leaf)), None) => {
                self.leaves.next();
                Ok(leaf)
            }
            (Some(_), Some(middle)) => {
                let left = self.over(low, middle)?;
                let right = self.over(middle, high)?;
                // What is below is noted down by now, so the siblings come lowest first.
                match self.wanted {
                    Some(index) if (low..middle).contains(&index) => self.path.push(right),
                    Some(index) if (middle..high).contains(&index) => self.path.push(left),
                    Some(_) | None => {}
                }
                Ok(node_hash(&left, &right))
            }
        }
    }
}
