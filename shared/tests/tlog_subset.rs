//! One proof for many leaves, held against the plain definition and against every way of altering it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::proof::verify_inclusion;
use seinhuis_shared::tlog::subset::{SubsetError, root_from_subset, subset_proof};
use seinhuis_shared::tlog::tree::{BatchTree, Frontier, TreeError, inclusion_proof};

type Nodes = BTreeMap<(u8, u64), Digest>;

fn tree(size: u64) -> (Vec<Digest>, Nodes, Digest) {
    let mut tree = BatchTree::new(Frontier::empty());
    let leaves: Vec<Digest> = (0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect();
    for leaf in &leaves {
        tree.append(*leaf).unwrap();
    }
    (leaves, tree.new_nodes().collect(), tree.root())
}

fn prove(chosen: impl IntoIterator<Item = u64>, size: u64, nodes: &Nodes) -> Vec<Digest> {
    let mut proof = vec![];
    subset_proof(chosen, size, nodes, &mut |hash| proof.push(hash)).unwrap();
    proof
}

fn lines(chosen: &BTreeSet<u64>, leaves: &[Digest]) -> Vec<(u64, Digest)> {
    chosen.iter().map(|index| (*index, leaves[usize::try_from(*index).unwrap()])).collect()
}

fn root(lines: &[(u64, Digest)], size: u64, proof: &[Digest]) -> Result<Digest, SubsetError> {
    root_from_subset(lines.iter().copied(), size, proof.iter().copied())
}

#[test]
fn every_subset_of_every_small_tree_leads_to_its_root() {
    for size in 0..=9_u64 {
        let (leaves, nodes, wanted) = tree(size);
        for mask in 0..(1_u32 << size) {
            let chosen: BTreeSet<u64> = (0..size).filter(|index| mask & (1 << index) != 0).collect();
            let proof = prove(chosen.iter().copied(), size, &nodes);
            assert_eq!(root(&lines(&chosen, &leaves), size, &proof), Ok(wanted), "{mask:b} of {size}");
        }
    }
}

#[test]
fn all_leaves_need_no_proof_and_a_period_needs_its_edges_alone() {
    let (_, nodes, wanted) = tree(1_000);
    assert_eq!(prove(0..1_000, 1_000, &nodes), []);
    assert_eq!(prove([], 1_000, &nodes), [wanted]);
    assert!(prove(300..700, 1_000, &nodes).len() <= 20);
    // One leaf: the same hashes as its inclusion proof, in the order of the walk.
    let one = inclusion_proof(417, 1_000, &nodes).unwrap();
    let alone: BTreeSet<_> = prove([417], 1_000, &nodes).into_iter().collect();
    assert_eq!(alone, one.iter().copied().collect());
    verify_inclusion(417, 1_000, &leaf_hash(&417_u64.to_be_bytes()), &one, &wanted).unwrap();
}

#[test]
fn leaves_out_of_order_twice_or_outside_are_refused_on_both_sides() {
    let (leaves, nodes, _) = tree(6);
    let proof = prove([1, 4], 6, &nodes);
    for wrong in [vec![4, 1], vec![1, 1, 4], vec![1, 4, 6], vec![1, 4, u64::MAX]] {
        let lines: Vec<_> = wrong.iter().map(|index| (*index, leaves[1])).collect();
        assert!(root(&lines, 6, &proof).is_err(), "{wrong:?}");
        let proved = subset_proof(wrong.iter().copied(), 6, &nodes, &mut |_| ());
        assert!(matches!(proved, Err(TreeError::NoSuchLeaf { .. })), "{wrong:?}");
    }
    let none: [Digest; 0] = [];
    assert_eq!(root(&[(0, leaves[0])], 0, &none), Err(SubsetError::Misplaced(0)));
    assert_eq!(root(&[], 0, &[leaves[0]]), Err(SubsetError::TooLong));
    let lacking = subset_proof([1], 6, &Nodes::new(), &mut |_| ());
    assert!(matches!(lacking, Err(TreeError::MissingNode { .. })));
}

proptest! {
    #[test]
    fn a_changed_removed_added_or_moved_line_leads_elsewhere(
        size in 1_u64..400,
        seed in any::<u64>(),
        share in 1_u64..8,
        at in any::<prop::sample::Index>(),
    ) {
        let (leaves, nodes, wanted) = tree(size);
        let kept = |index: &u64| leaf_hash(&(seed ^ index).to_be_bytes()).0[0] % 8 < u8::try_from(share).unwrap();
        let chosen: BTreeSet<u64> = (0..size).filter(kept).collect();
        let proof = prove(chosen.iter().copied(), size, &nodes);
        let right = lines(&chosen, &leaves);
        prop_assert_eq!(root(&right, size, &proof), Ok(wanted));
        let mut proofs = vec![[&proof[..], &[wanted]].concat()];
        let mut all = vec![];
        if !right.is_empty() {
            let place = at.index(right.len());
            let mut changed = right.clone();
            changed[place].1.0[7] ^= 1;
            let mut removed = right.clone();
            removed.remove(place);
            let mut moved = right.clone();
            moved[place].0 += 1;
            all.extend([changed, removed, moved]);
        }
        if let Some(other) = (0..size).find(|index| !chosen.contains(index)) {
            let mut added = right.clone();
            added.push((other, leaves[0]));
            added.sort();
            all.push(added);
        }
        if !proof.is_empty() {
            let place = at.index(proof.len());
            let mut cut = proof.clone();
            cut.remove(place);
            let mut flipped = proof.clone();
            flipped[place].0[31] ^= 0x80;
            proofs.extend([cut, flipped]);
        }
        for wrong in all {
            prop_assert_ne!(root(&wrong, size, &proof), Ok(wanted));
        }
        for wrong in proofs {
            prop_assert_ne!(root(&right, size, &wrong), Ok(wanted));
        }
    }
}
