//! One tile of the exchange log with the nodes above its hashes.
//!
//! Proofs ask for nodes at every height. Keeping them, instead of only the 256 hashes that a tile file holds,
//! makes a node a look-up, at twice the memory and no more hashing than the root of the tile takes.

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::tree::{BatchTree, HashReader as _};

/// How high the node above a full tile stands over its 256 hashes.
const TOP: u8 = 8;

/// The hashes of a tile, and every complete subtree over them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TileTree(BatchTree);

impl TileTree {
    /// The tree over the hashes of a tile.
    pub(crate) fn of(hashes: &[Digest]) -> Self {
        let mut tree = Self::default();
        for hash in hashes {
            tree.push(*hash);
        }
        tree
    }

    /// Adds a hash to a tile that is not full.
    pub(crate) fn push(&mut self, hash: Digest) {
        // A tree is full at 2^64 leaves, a tile at 256.
        _ = self.0.append(hash);
    }

    /// The hashes themselves.
    pub(crate) fn hashes(&self) -> &[Digest] {
        self.0.leaves()
    }

    /// The subtree over the hashes `place << height` up to `(place + 1) << height`, once it is complete.
    pub(crate) fn node(&self, height: u8, place: u64) -> Option<Digest> {
        self.0.read(height, place)
    }

    /// The hash above a full tile.
    pub(crate) fn root(&self) -> Option<Digest> {
        self.node(TOP, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seinhuis_shared::tlog::hash::{leaf_hash, node_hash};

    #[test]
    fn nodes_are_there_once_complete() {
        let leaf = |n: u8| leaf_hash(&[n]);
        let mut tree = TileTree::default();
        (0..5).for_each(|n| tree.push(leaf(n)));
        let (left, right) = (node_hash(&leaf(0), &leaf(1)), node_hash(&leaf(2), &leaf(3)));
        assert_eq!(tree.hashes(), (0..5).map(leaf).collect::<Vec<_>>());
        assert_eq!([tree.node(1, 0), tree.node(1, 1), tree.node(1, 2)], [Some(left), Some(right), None]);
        assert_eq!((tree.node(2, 0), tree.node(2, 1)), (Some(node_hash(&left, &right)), None));
        assert_eq!(tree.root(), None);
        (5..=255).for_each(|n| tree.push(leaf(n)));
        let halves = [tree.node(7, 0), tree.node(7, 1)].map(Option::unwrap);
        assert_eq!(tree.root(), Some(node_hash(&halves[0], &halves[1])));
        assert_eq!(TileTree::of(tree.hashes()).root(), tree.root());
    }
}
