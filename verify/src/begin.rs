//! A checkpoint from before the first entry of a bundle, and that the log has only grown since (RFC 9162 section
//! 2.1.4.2).

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::archive::Hash;
use crate::note::{Checkpoint, Note};
use crate::policy::Policy;
use crate::{Code, Failure, Key};

pub(crate) const BEGIN: &str = "begin.txt";
pub(crate) const CONSISTENCY: &str = "consistency.txt";

/// What `begin.txt` and `consistency.txt` are held against.
pub(crate) struct Against<'a> {
    pub(crate) key: &'a Key,
    /// The checkpoint of the bundle.
    pub(crate) checkpoint: Checkpoint,
    /// The index of its first entry; without entries, of the one that would come next.
    pub(crate) first: u64,
    pub(crate) policies: &'a [&'a Policy],
    /// Whether the policies have to be met, or are the bundle's own word.
    pub(crate) binding: bool,
}

/// Checks both; the size of the earlier checkpoint.
pub(crate) fn check(begin: &[u8], consistency: &[u8], against: &Against<'_>) -> Result<u64, Failure> {
    let bad = |text: &str| Failure::new(Code::BadBegin, BEGIN, text);
    let note = Note::parse(begin).map_err(bad)?;
    let earlier = Checkpoint::of(&note, against.key).map_err(bad)?;
    if earlier.size > against.first {
        return Err(bad("is of a time after the first entry"));
    }
    for policy in against.policies {
        let quorum = policy.judge(&note, against.key).map_err(bad)?;
        if against.binding && !quorum.met {
            return Err(bad("does not have the cosignatures that the policy asks for"));
        }
    }
    let proof = hashes(consistency)?;
    if !consistent(&earlier, &against.checkpoint, &proof) {
        let text = "does not lead from begin.txt to checkpoint.txt";
        return Err(Failure::new(Code::BadBegin, CONSISTENCY, text));
    }
    Ok(earlier.size)
}

fn hashes(text: &[u8]) -> Result<Vec<Hash>, Failure> {
    let mut found = Vec::new();
    for (line, number) in text.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let hash = line.strip_suffix(b"\n").and_then(|line| HEXLOWER.decode(line).ok());
        let hash = hash.and_then(|bytes| bytes.try_into().ok());
        found.push(hash.ok_or_else(|| {
            let text = "is not 64 lower-case hexadecimal digits and a newline";
            Failure::at(Code::BadBegin, CONSISTENCY, number, text)
        })?);
    }
    Ok(found)
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

fn consistent(old: &Checkpoint, new: &Checkpoint, proof: &[Hash]) -> bool {
    if old.size == new.size {
        return proof.is_empty() && old.root == new.root;
    }
    if old.size == 0 || old.size > new.size {
        return proof.is_empty() && old.size == 0;
    }
    // A whole subtree is its own beginning, and not written down.
    let start = if old.size.is_power_of_two() { Some(&old.root) } else { None };
    let mut hashes = start.into_iter().chain(proof);
    let Some(first) = hashes.next() else { return false };
    let (mut below, mut last) = (old.size - 1, new.size - 1);
    let skipped = below.trailing_ones();
    (below, last) = (below >> skipped, last >> skipped);
    let (mut left, mut all) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if below & 1 == 1 || below == last {
            left = node(hash, &left);
            all = node(hash, &all);
            while below & 1 == 0 && below != 0 {
                (below, last) = (below >> 1, last >> 1);
            }
        } else {
            all = node(&all, hash);
        }
        (below, last) = (below >> 1, last >> 1);
    }
    last == 0 && left == old.root && all == new.root
}
