//! The Merkle tree against a reference written straight from RFC 6962, and against the classic vectors.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::{empty_root, leaf_hash, node_hash};
use seinhuis_shared::tlog::proof::{ProofError, root_from_inclusion, verify_consistency, verify_inclusion};
use seinhuis_shared::tlog::tree::{
    BatchTree, Frontier, HashReader, TreeError, consistency_proof, inclusion_proof, root,
};

/// The leaves that implementations of certificate transparency have always tested with.
const LEAVES: [&[u8]; 8] =
    [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"];

/// Their roots for 1 to 8 leaves.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// MTH of RFC 6962 §2.1.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(halve(leaves.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

/// PATH of RFC 6962 §2.1.1.
fn naive_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let half = halve(leaves.len());
    let (left, right) = leaves.split_at(half);
    let (mut path, sibling) = if index < half {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - half, right), naive_root(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 6962 §2.1.2.
fn naive_subproof(old: usize, leaves: &[Digest], known: bool) -> Vec<Digest> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let half = halve(leaves.len());
    let (left, right) = leaves.split_at(half);
    let (mut path, sibling) = if old <= half {
        (naive_subproof(old, left, known), naive_root(right))
    } else {
        (naive_subproof(old - half, right, false), naive_root(left))
    };
    path.push(sibling);
    path
}

/// The largest power of two smaller than `count`.
fn halve(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn numbered(count: u64) -> Vec<Digest> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

/// Every complete subtree over the leaves.
fn store(leaves: &[Digest]) -> BTreeMap<(u8, u64), Digest> {
    let mut batch = BatchTree::default();
    for leaf in leaves {
        batch.append(*leaf).unwrap();
    }
    batch.new_nodes().collect()
}

fn big(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

/// All digests that differ from this one in one bit.
fn one_bit_off(digest: &Digest) -> impl Iterator<Item = Digest> + use<> {
    let digest = *digest;
    (0..256).map(move |bit| {
        let mut bytes = digest.0;
        bytes.get_mut(bit / 8).into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
        Digest(bytes)
    })
}

#[test]
fn the_classic_vectors_hold() {
    let hashes: Vec<Digest> = LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect();
    let nodes = store(&hashes);
    let mut frontier = Frontier::empty();
    assert_eq!(frontier.root(), empty_root());
    for (size, (leaf, want)) in (1_u64..).zip(hashes.iter().zip(ROOTS)) {
        frontier.append(*leaf).unwrap();
        assert_eq!(frontier.root().to_string(), want);
        assert_eq!(root(size, &nodes).unwrap().to_string(), want);
        assert_eq!(naive_root(&hashes[..big(size)]).to_string(), want);
    }
}

#[test]
fn the_published_proofs_over_the_classic_leaves_come_out() {
    const A: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
    const B: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
    const C: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
    const D: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
    const E: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
    const F: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
    let nodes = store(&LEAVES.map(leaf_hash));
    let text = |proof: Vec<Digest>| -> Vec<String> { proof.iter().map(ToString::to_string).collect() };
    for (index, size, want) in [
        (0, 1, [].as_slice()),
        (0, 2, &[A]),
        (1, 2, &[ROOTS[0]]),
        (2, 3, &[ROOTS[1]]),
        (1, 5, &[ROOTS[0], B, D]),
        (0, 8, &[A, B, C]),
        (5, 8, &[D, E, ROOTS[3]]),
    ] {
        assert_eq!(text(inclusion_proof(index, size, &nodes).unwrap()), want, "{index} in {size}");
    }
    for (old, new, want) in
        [(1, 1, [].as_slice()), (1, 8, &[A, B, C]), (2, 5, &[B, D]), (6, 8, &[F, E, ROOTS[3]])]
    {
        assert_eq!(text(consistency_proof(old, new, &nodes).unwrap()), want, "{old} to {new}");
    }
}

#[test]
fn proofs_equal_the_reference_and_verify_for_every_small_tree() {
    let leaves = numbered(130);
    let nodes = store(&leaves);
    let roots: Vec<Digest> = (0..=leaves.len()).map(|size| naive_root(&leaves[..size])).collect();
    for new in 0..=130_u64 {
        let new_root = roots[big(new)];
        assert_eq!(root(new, &nodes).unwrap(), new_root);
        assert_eq!(Frontier::load(new, &nodes).unwrap().root(), new_root);
        for index in 0..new {
            let proof = inclusion_proof(index, new, &nodes).unwrap();
            assert_eq!(proof, naive_path(big(index), &leaves[..big(new)]), "{index} in {new}");
            verify_inclusion(index, new, &leaves[big(index)], &proof, &new_root).unwrap();
            let other = leaf_hash(b"something else");
            assert_eq!(verify_inclusion(index, new, &other, &proof, &new_root), Err(ProofError::WrongRoot));
        }
        for old in 0..=new {
            let proof = consistency_proof(old, new, &nodes).unwrap();
            if old > 0 {
                assert_eq!(proof, naive_subproof(big(old), &leaves[..big(new)], true), "{old} to {new}");
            }
            verify_consistency(old, new, &proof, &roots[big(old)], &new_root).unwrap();
        }
    }
}

#[test]
fn a_batch_knows_every_node_its_proofs_need() {
    let leaves = numbered(130);
    for old in (0..=9_u64).chain([15, 16, 31, 63, 64, 65, 100, 127, 128, 129]) {
        let mut base = Frontier::empty();
        for leaf in &leaves[..big(old)] {
            base.append(*leaf).unwrap();
        }
        let old_root = base.root();
        let mut batch = BatchTree::new(base.clone());
        assert_eq!(batch.consistency_proof(), Ok(Vec::new()));
        for (index, leaf) in (old..130).zip(&leaves[big(old)..]) {
            assert_eq!(batch.append(*leaf), Ok(index));
            let (size, root) = (batch.size(), batch.root());
            assert_eq!(root, naive_root(&leaves[..big(size)]));
            for new in old..size {
                let proof = batch.inclusion_proof(new).unwrap();
                verify_inclusion(new, size, &leaves[big(new)], &proof, &root).unwrap();
            }
            let proof = batch.consistency_proof().unwrap();
            verify_consistency(old, size, &proof, &old_root, &root).unwrap();
        }
        assert_eq!(batch.base(), &base);
        assert_eq!(batch.inclusion_proof(130), Err(TreeError::NoSuchLeaf { index: 130, size: 130 }));
        // What the batch adds to the store is exactly what the store lacked.
        let mut nodes = store(&leaves[..big(old)]);
        assert!(batch.new_nodes().all(|(node, _)| !nodes.contains_key(&node)));
        nodes.extend(batch.new_nodes());
        assert_eq!(nodes, store(&leaves));
        assert_eq!(Frontier::load(130, &nodes).unwrap(), *batch.tip());
        // Before the commit, both together serve proofs about older leaves.
        let before = store(&leaves[..big(old)]);
        for index in 0..old {
            let proof = inclusion_proof(index, 130, &(&batch, &before)).unwrap();
            verify_inclusion(index, 130, &leaves[big(index)], &proof, &batch.root()).unwrap();
        }
    }
}

#[test]
fn a_batch_says_so_when_asked_about_an_older_leaf() {
    let leaves = numbered(7);
    let mut batch = BatchTree::new(Frontier::load(6, &store(&leaves)).unwrap());
    batch.append(leaves[6]).unwrap();
    assert_eq!(batch.inclusion_proof(0), Err(TreeError::MissingNode { height: 1, index: 1 }));
}

#[test]
fn every_bit_of_an_inclusion_proof_counts() {
    for (size, index) in [(1_u64, 0_u64), (2, 1), (7, 3), (8, 0), (11, 10), (100, 96), (130, 129)] {
        let leaves = numbered(size);
        let (nodes, root) = (store(&leaves), naive_root(&leaves));
        let leaf = leaves[big(index)];
        let proof = inclusion_proof(index, size, &nodes).unwrap();
        for bad in one_bit_off(&leaf) {
            assert!(verify_inclusion(index, size, &bad, &proof, &root).is_err());
        }
        for bad in one_bit_off(&root) {
            assert!(verify_inclusion(index, size, &leaf, &proof, &bad).is_err());
        }
        for bit in 0..64 {
            assert!(verify_inclusion(index ^ (1 << bit), size, &leaf, &proof, &root).is_err());
        }
        for place in 0..proof.len() {
            for bad in one_bit_off(&proof[place]) {
                let mut bad_proof = proof.clone();
                bad_proof[place] = bad;
                assert!(verify_inclusion(index, size, &leaf, &bad_proof, &root).is_err());
            }
        }
        assert_wrong_lengths(&proof, &|bad| verify_inclusion(index, size, &leaf, bad, &root));
    }
}

#[test]
fn every_bit_of_a_consistency_proof_counts() {
    for (old, new) in [(1_u64, 2_u64), (1, 8), (3, 7), (4, 7), (6, 8), (64, 100), (99, 130), (127, 128)] {
        let leaves = numbered(new);
        let (nodes, new_root) = (store(&leaves), naive_root(&leaves));
        let old_root = naive_root(&leaves[..big(old)]);
        let proof = consistency_proof(old, new, &nodes).unwrap();
        for bad in one_bit_off(&old_root) {
            assert!(verify_consistency(old, new, &proof, &bad, &new_root).is_err());
        }
        for bad in one_bit_off(&new_root) {
            assert_eq!(verify_consistency(old, new, &proof, &old_root, &bad), Err(ProofError::WrongNewRoot));
        }
        for place in 0..proof.len() {
            for bad in one_bit_off(&proof[place]) {
                let mut bad_proof = proof.clone();
                bad_proof[place] = bad;
                assert!(verify_consistency(old, new, &bad_proof, &old_root, &new_root).is_err());
            }
        }
        assert_wrong_lengths(&proof, &|bad| verify_consistency(old, new, bad, &old_root, &new_root));
    }
}

/// A proof with a hash less or more, anywhere, is not a proof.
fn assert_wrong_lengths(proof: &[Digest], verify: &dyn Fn(&[Digest]) -> Result<(), ProofError>) {
    verify(proof).unwrap();
    for place in 0..proof.len() {
        let mut shorter = proof.to_vec();
        shorter.remove(place);
        assert!(verify(&shorter).is_err());
    }
    for place in 0..=proof.len() {
        for extra in proof.iter().copied().chain([empty_root(), Digest([0; 32])]) {
            let mut longer = proof.to_vec();
            longer.insert(place, extra);
            assert_eq!(verify(&longer), Err(ProofError::WrongLength));
        }
    }
}

#[test]
fn degenerate_proofs_are_refused() {
    let (leaf, other) = (leaf_hash(b"leaf"), leaf_hash(b"other"));
    // A tree of one leaf is its own root, and calls for no proof.
    verify_inclusion(0, 1, &leaf, &[], &leaf).unwrap();
    let forged = node_hash(&leaf, &other);
    assert_eq!(verify_inclusion(0, 1, &leaf, &[other], &forged), Err(ProofError::WrongLength));
    assert_eq!(verify_inclusion(0, 2, &leaf, &[], &leaf), Err(ProofError::WrongLength));
    for (index, size) in [(0, 0), (1, 1), (2, 1), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
        assert_eq!(
            verify_inclusion(index, size, &leaf, &[], &leaf),
            Err(ProofError::IndexOutsideTree { index, size })
        );
    }
    // Between unequal trees something must be proved, between equal ones nothing.
    assert_eq!(verify_consistency(1, 2, &[], &leaf, &forged), Err(ProofError::WrongLength));
    assert_eq!(verify_consistency(1, 2, &[], &leaf, &leaf), Err(ProofError::WrongLength));
    // The proof of a smaller tree, passed off as that of a larger one.
    assert_eq!(verify_consistency(1, 4, &[other], &leaf, &forged), Err(ProofError::WrongLength));
    assert_eq!(verify_consistency(3, 3, &[other], &leaf, &leaf), Err(ProofError::WrongLength));
    assert_eq!(verify_consistency(3, 3, &[], &leaf, &other), Err(ProofError::WrongNewRoot));
    verify_consistency(3, 3, &[], &leaf, &leaf).unwrap();
    assert_eq!(verify_consistency(4, 3, &[], &leaf, &leaf), Err(ProofError::Shrunk { old: 4, new: 3 }));
    // A tree of one leaf as old tree: its root must be in the new one.
    verify_consistency(1, 2, &[other], &leaf, &forged).unwrap();
    assert_eq!(verify_consistency(1, 2, &[other], &other, &forged), Err(ProofError::WrongNewRoot));
}

#[test]
fn the_empty_tree_is_a_beginning_of_every_tree_and_proves_nothing() {
    let (empty, leaf) = (empty_root(), leaf_hash(b"leaf"));
    verify_consistency(0, 0, &[], &empty, &empty).unwrap();
    verify_consistency(0, 5, &[], &empty, &leaf).unwrap();
    assert_eq!(verify_consistency(0, 0, &[], &empty, &leaf), Err(ProofError::WrongNewRoot));
    assert_eq!(verify_consistency(0, 0, &[], &leaf, &leaf), Err(ProofError::WrongOldRoot));
    assert_eq!(verify_consistency(0, 5, &[], &leaf, &leaf), Err(ProofError::WrongOldRoot));
    assert_eq!(verify_consistency(0, 5, &[leaf], &empty, &leaf), Err(ProofError::WrongLength));
}

/// Knows every node of every tree: its hash says where it is.
struct Everywhere;

impl HashReader for Everywhere {
    fn read(&self, height: u8, index: u64) -> Option<Digest> {
        Some(leaf_hash(&[&[height], index.to_be_bytes().as_slice()].concat()))
    }
}

#[test]
fn the_largest_sizes_neither_overflow_nor_take_long() {
    let max = u64::MAX;
    for size in [1, max, max - 1, 1 << 63, (1 << 63) + 1, (1 << 63) - 1] {
        for index in [0, 1, size / 2, size - 1] {
            let Ok(proof) = inclusion_proof(index, size, &Everywhere) else {
                assert!(index >= size);
                continue;
            };
            assert!(proof.len() <= 64);
            root_from_inclusion(index, size, &leaf_hash(b""), &proof).unwrap();
            let long = vec![leaf_hash(b""); 1000];
            assert_eq!(
                root_from_inclusion(index, size, &leaf_hash(b""), &long),
                Err(ProofError::WrongLength)
            );
        }
        for old in [1, size / 2 + 1, size - 1, size] {
            let proof = consistency_proof(old, size, &Everywhere).unwrap();
            // The nodes are invented, so only the last comparison may fail.
            let result = verify_consistency(old, size, &proof, &leaf_hash(b""), &leaf_hash(b"x"));
            assert_ne!(result, Err(ProofError::WrongLength), "{old} {size}");
        }
    }
    let full = Frontier::load(max, &Everywhere).unwrap();
    let mut batch = BatchTree::new(full.clone());
    assert_eq!(batch.append(leaf_hash(b"one too many")), Err(TreeError::Full));
    assert_eq!(batch.tip(), &full);
    assert_eq!(batch.new_nodes().count(), 0);
}

#[test]
fn a_damaged_store_or_frontier_is_noticed() {
    let leaves = numbered(21);
    let mut nodes = store(&leaves);
    let frontier = Frontier::load(21, &nodes).unwrap();
    assert_eq!(Frontier::from_parts(21, frontier.peaks().to_vec()), Ok(frontier.clone()));
    assert_eq!(
        Frontier::from_parts(22, frontier.peaks()[..2].to_vec()),
        Err(TreeError::WrongFrontier { size: 22, hashes: 2 })
    );
    nodes.remove(&(2, 4));
    let missing = TreeError::MissingNode { height: 2, index: 4 };
    assert_eq!(Frontier::load(21, &nodes), Err(missing));
    assert_eq!(root(21, &nodes), Err(missing));
    assert_eq!(inclusion_proof(20, 21, &nodes), Err(missing));
    assert_eq!(consistency_proof(16, 21, &nodes), Err(missing));
    assert_eq!(consistency_proof(3, 2, &nodes), Err(TreeError::SizesReversed { old: 3, new: 2 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn large_trees_prove_what_the_reference_proves(
        old in 1_u64..3000,
        more in 0_u64..3000,
        pick in any::<proptest::sample::Index>(),
    ) {
        let size = old + more;
        let leaves = numbered(size);
        let (nodes, root) = (store(&leaves), naive_root(&leaves));
        let index = pick.index(leaves.len());
        let at = u64::try_from(index).unwrap();
        let proof = inclusion_proof(at, size, &nodes).unwrap();
        prop_assert_eq!(&proof, &naive_path(index, &leaves));
        prop_assert_eq!(verify_inclusion(at, size, &leaves[index], &proof, &root), Ok(()));
        let proof = consistency_proof(old, size, &nodes).unwrap();
        prop_assert_eq!(&proof, &naive_subproof(big(old), &leaves, true));
        let old_root = naive_root(&leaves[..big(old)]);
        prop_assert_eq!(verify_consistency(old, size, &proof, &old_root, &root), Ok(()));
    }

    #[test]
    fn any_claim_is_answered(index in any::<u64>(), size in any::<u64>(), length in 0_usize..70) {
        let proof = vec![leaf_hash(b"p"); length];
        prop_assert!(verify_inclusion(index, size, &leaf_hash(b"l"), &proof, &leaf_hash(b"r")).is_err());
        if (index, size) != (0, 0) && index != 0 {
            let claim = verify_consistency(index, size, &proof, &leaf_hash(b"l"), &leaf_hash(b"r"));
            prop_assert!(claim.is_err());
        }
    }
}
