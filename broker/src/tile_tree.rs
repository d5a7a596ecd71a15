//! One tile of the exchange log with the nodes above its hashes.
//!
//! Proofs ask for nodes at every height. Keeping them, instead of only the 256 hashes that a tile file holds,
//! makes a node a look-up, at twice the memory and no more hashing than the root of the tile takes.

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::node_hash;

/// How high the node above a full tile stands over its 256 hashes.
const TOP: u8 = 8;

/// The hashes of a tile, and every complete subtree over them: a row for each height that has a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct TileTree(Vec<Vec<Digest>>);

impl TileTree {
    /// The tree over the hashes of a tile.
    pub(crate) fn of(hashes: Vec<Digest>) -> Self {
        let mut rows = Vec::with_capacity(usize::from(TOP) + 1);
        let mut row = hashes;
        while !row.is_empty() {
            let (pairs, _) = row.as_chunks::<2>();
            let above = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
            rows.push(std::mem::replace(&mut row, above));
        }
        Self(rows)
    }

    /// Adds a hash to a tile that is not full.
    pub(crate) fn push(&mut self, hash: Digest) {
        let mut node = hash;
        for height in 0.. {
            if self.0.len() <= height {
                self.0.push(Vec::new());
            }
            let row = &mut self.0[height];
            row.push(node);
            // Every second node of a row completes one above.
            let ([.., [left, right]], []) = row.as_chunks::<2>() else { break };
            node = node_hash(left, right);
        }
    }

    /// The hashes themselves.
    pub(crate) fn hashes(&self) -> &[Digest] {
        self.0.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The subtree over the hashes `place << height` up to `(place + 1) << height`, once it is complete.
    pub(crate) fn node(&self, height: u8, place: u64) -> Option<Digest> {
        self.0.get(usize::from(height))?.get(usize::try_from(place).ok()?).copied()
    }

    /// The hash above a full tile.
    pub(crate) fn root(&self) -> Option<Digest> {
        self.node(TOP, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seinhuis_shared::tlog::hash::leaf_hash;

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
        assert_eq!(TileTree::of(tree.hashes().to_vec()).root(), tree.root());
    }
}
