//! Everybody else's side of the Merkle tree: checking what the log claims (RFC 9162 §2.1.3.2, §2.1.4.2).
//!
//! A proof leads from hashes the verifier already has to a root that a checkpoint signs. An inclusion proof
//! does not vouch for the size of the tree: take size and root from the same verified checkpoint. Sizes up
//! to 2^64 − 1 are safe, and no proof costs more than 64 steps whatever its length.

use super::hash::{empty_root, node_hash};
use crate::ids::Digest;

/// Why a proof does not hold.
///
/// The party at fault is whoever made or passed on the proof: keep proof and checkpoint as evidence, and
/// fetch both again from the log before anything is concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not below the size.
    #[error("there is no leaf {index} in a tree of {size} leaves: fetch a checkpoint that covers the leaf")]
    IndexOutsideTree {
        /// The leaf claimed.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The later tree is smaller than the earlier: the log shrank.
    #[error(
        "the later tree has {new} leaves and the earlier {old}: a log never shrinks, keep both checkpoints as evidence"
    )]
    Shrunk {
        /// The earlier size.
        old: u64,
        /// The later size.
        new: u64,
    },
    /// The number of hashes is not the one the tree calls for.
    #[error("the proof has the wrong number of hashes: fetch it again from the log")]
    WrongLength,
    /// The leaf and the proof do not lead to the root.
    #[error(
        "the inclusion proof does not lead to the signed root: leaf, index, proof or checkpoint was altered"
    )]
    WrongRoot,
    /// The proof does not lead to the root of the earlier tree.
    #[error(
        "the consistency proof does not lead to the root of the earlier checkpoint: the log may have been rewritten, keep both checkpoints as evidence"
    )]
    WrongOldRoot,
    /// The proof does not lead to the root of the later tree.
    #[error(
        "the consistency proof does not lead to the root of the later checkpoint: the log may have been rewritten, keep both checkpoints as evidence"
    )]
    WrongNewRoot,
}

/// The root that leaf and proof lead to, for a caller that compares it itself.
///
/// `leaf` is the leaf's hash; `proof` its siblings, lowest first.
///
/// # Errors
/// [`ProofError::IndexOutsideTree`] and [`ProofError::WrongLength`].
pub fn root_from_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
) -> Result<Digest, ProofError> {
    let mut last = match size.checked_sub(1) {
        Some(last) if index <= last => last,
        _ => return Err(ProofError::IndexOutsideTree { index, size }),
    };
    let mut at = index;
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            // At the right edge, levels without a sibling are passed over.
            skip_to_right_child(&mut at, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(hash) } else { Err(ProofError::WrongLength) }
}

/// Checks that the leaf with this hash stands at `index` in the tree of `size` leaves with this root.
///
/// # Errors
/// A [`ProofError`] saying what does not hold.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if root_from_inclusion(index, size, leaf, proof)? == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Checks that the tree of `old` leaves with `old_root` is a beginning of the tree of `new` leaves with
/// `new_root`.
///
/// Equal sizes call for an empty proof and equal roots. The empty tree is a beginning of every tree: for
/// `old` 0 the proof must be empty and `old_root` the root of the empty tree, and nothing is said about
/// `new_root` unless `new` is 0 as well.
///
/// # Errors
/// A [`ProofError`] saying what does not hold.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Digest],
    old_root: &Digest,
    new_root: &Digest,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    let (Some(old_last), Some(new_last)) = (old.checked_sub(1), new.checked_sub(1)) else {
        return verify_from_empty(new, proof, old_root, new_root);
    };
    if old == new {
        return match (proof.is_empty(), old_root == new_root) {
            (false, _) => Err(ProofError::WrongLength),
            (true, false) => Err(ProofError::WrongNewRoot),
            (true, true) => Ok(()),
        };
    }
    let (mut at, mut last) = (old_last, new_last);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // A complete old tree is a node of the new one: its root is where the proof starts, not part of it.
    let (start, rest) = match (old.is_power_of_two(), proof) {
        (_, []) => return Err(ProofError::WrongLength),
        (true, all) => (old_root, all),
        (false, [first, rest @ ..]) => (first, rest),
    };
    let (mut old_hash, mut new_hash) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            skip_to_right_child(&mut at, &mut last);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        Err(ProofError::WrongLength)
    } else if old_hash != *old_root {
        Err(ProofError::WrongOldRoot)
    } else if new_hash != *new_root {
        Err(ProofError::WrongNewRoot)
    } else {
        Ok(())
    }
}

/// The case where the earlier tree has no leaves.
fn verify_from_empty(
    new: u64,
    proof: &[Digest],
    old_root: &Digest,
    new_root: &Digest,
) -> Result<(), ProofError> {
    let empty = empty_root();
    if !proof.is_empty() {
        Err(ProofError::WrongLength)
    } else if *old_root != empty {
        Err(ProofError::WrongOldRoot)
    } else if new == 0 && *new_root != empty {
        Err(ProofError::WrongNewRoot)
    } else {
        Ok(())
    }
}

/// Goes up until `at` is a right child, or the leftmost node.
fn skip_to_right_child(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        *at >>= 1;
        *last >>= 1;
    }
}
