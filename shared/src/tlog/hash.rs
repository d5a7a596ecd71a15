//! The hashes of the Merkle tree (RFC 6962 §2.1).

use sha2::{Digest as _, Sha256};

use crate::ids::Digest;

/// The hash of one leaf: SHA-256 over a zero byte and the leaf's exact bytes.
///
/// The prefix differs from [`node_hash`]'s, so that an inner node can never pass for a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0x00]).chain_update(leaf).finalize().into())
}

/// The hash of an inner node: SHA-256 over a one byte and the hashes of both children.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new_with_prefix([0x01]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the tree without leaves: SHA-256 over nothing.
pub fn empty_root() -> Digest {
    Digest(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_rfc_6962() {
        assert_eq!(
            empty_root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            leaf_hash(b"").to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            node_hash(&leaf_hash(b""), &leaf_hash(&[0])).to_string(),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn a_leaf_holding_two_hashes_is_not_the_node_above_them() {
        let (left, right) = (leaf_hash(b"a"), leaf_hash(b"b"));
        let both = [left.0, right.0].concat();
        assert_ne!(leaf_hash(&both), node_hash(&left, &right));
    }
}
