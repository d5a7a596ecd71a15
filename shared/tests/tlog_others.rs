//! The log code against two others, in both directions: what one proves the other accepts, and what was changed is
//! refused by both. `ct-merkle` is a Merkle tree in memory, `tlog_tiles` a tree in tiles.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::proof::{verify_consistency, verify_inclusion};
use seinhuis_shared::tlog::tile::{
    Tile, TilePath, TileReader, decode_tile, encode_tile, new_full_tiles, partial_tiles, read_tile,
};
use seinhuis_shared::tlog::tree::{BatchTree, consistency_proof, inclusion_proof, root};
use sha2::Sha256;
use tlog_tiles::{Hash, HashReader as _};

/// The height of a tile, as the general form of tiles names it.
const HEIGHT: u8 = 8;

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn theirs(hashes: &[Digest]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash(hash.0)).collect()
}

fn ours(hashes: &[Hash]) -> Vec<Digest> {
    hashes.iter().map(|hash| Digest(hash.0)).collect()
}

fn bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn split(bytes: &[u8]) -> Vec<Digest> {
    bytes.chunks(32).map(|hash| Digest::from_slice(hash).unwrap()).collect()
}

/// One log three times over.
struct Three {
    entries: Vec<Vec<u8>>,
    nodes: BTreeMap<(u8, u64), Digest>,
    memory: MemoryBackedTree<Sha256, Vec<u8>>,
    /// The hashes of the tree in the order of `tlog_tiles`.
    stored: Stored,
}

#[derive(Default)]
struct Stored(Vec<Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[small(*index)]).collect())
    }
}

impl Three {
    fn of(entries: Vec<Vec<u8>>) -> Self {
        let mut batch = BatchTree::default();
        let mut memory = MemoryBackedTree::new();
        let mut stored = Stored::default();
        for (index, entry) in (0..).zip(&entries) {
            batch.append(leaf_hash(entry)).unwrap();
            memory.push(entry.clone());
            stored.0.extend(tlog_tiles::stored_hashes(index, entry, &stored).unwrap());
        }
        Self { entries, nodes: batch.new_nodes().collect(), memory, stored }
    }

    fn size(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap()
    }

    fn root(&self, size: u64) -> Digest {
        let root = root(size, &self.nodes).unwrap();
        let tiles = match size {
            0 => tlog_tiles::EMPTY_HASH,
            _ => tlog_tiles::tree_hash(size, &self.stored).unwrap(),
        };
        assert_eq!(tiles.0, root.0);
        if size == self.size() {
            assert_eq!(self.memory.root().as_bytes().as_slice(), root.as_bytes());
        }
        root
    }

    /// The proof, the same from all three.
    fn inclusion(&self, index: u64, size: u64) -> Vec<Digest> {
        let proof = inclusion_proof(index, size, &self.nodes).unwrap();
        let tiles = tlog_tiles::prove_record(size, index, &self.stored).unwrap();
        assert_eq!(ours(&tiles), proof);
        if size == self.size() {
            assert_eq!(split(self.memory.prove_inclusion(small(index)).as_bytes()), proof);
        }
        proof
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<Digest> {
        let proof = consistency_proof(old, new, &self.nodes).unwrap();
        let tiles = tlog_tiles::prove_tree(new, old, &self.stored).unwrap();
        assert_eq!(ours(&tiles), proof);
        if new == self.size() && old < new {
            assert_eq!(split(self.memory.prove_consistency(small(new - old)).as_bytes()), proof);
        }
        proof
    }
}

/// What all three say of a claim, which has to be the same.
fn includes(index: u64, size: u64, entry: &Vec<u8>, proof: &[Digest], root: Digest) -> bool {
    let answer = verify_inclusion(index, size, &leaf_hash(entry), proof, &root).is_ok();
    let leaf = tlog_tiles::record_hash(entry);
    let tiles = tlog_tiles::check_record(&theirs(proof), size, Hash(root.0), index, leaf);
    assert_eq!(tiles.is_ok(), answer, "tlog_tiles: {index} of {size}");
    let memory = RootHash::<Sha256>::new(root.0.into(), size);
    let memory = memory.verify_inclusion(entry, index, &InclusionProof::from_bytes(bytes(proof)));
    assert_eq!(memory.is_ok(), answer, "ct-merkle: {index} of {size}");
    answer
}

fn extends(old: u64, new: u64, proof: &[Digest], old_root: Digest, new_root: Digest) -> bool {
    let answer = verify_consistency(old, new, proof, &old_root, &new_root).is_ok();
    let tiles = tlog_tiles::check_tree(&theirs(proof), new, Hash(new_root.0), old, Hash(old_root.0));
    assert_eq!(tiles.is_ok(), answer, "tlog_tiles: {old} to {new}");
    let [memory_old, memory_new] =
        [(old_root, old), (new_root, new)].map(|(root, size)| RootHash::<Sha256>::new(root.0.into(), size));
    let memory = ConsistencyProof::try_from_bytes(bytes(proof))
        .and_then(|proof| memory_new.verify_consistency(&memory_old, &proof));
    assert_eq!(memory.is_ok(), answer, "ct-merkle: {old} to {new}");
    answer
}

/// The proof with one thing wrong, in every way there is to have one wrong.
fn mutations(proof: &[Digest], at: u64, bit: u64) -> Vec<Vec<Digest>> {
    let mut all = vec![[proof, &[leaf_hash(b"more")]].concat(), [&[leaf_hash(b"more")], proof].concat()];
    if !proof.is_empty() {
        let at = small(at) % proof.len();
        let mut changed = proof.to_vec();
        changed[at].0[small(bit / 8 % 32)] ^= 1 << (bit % 8);
        let mut without = proof.to_vec();
        without.remove(at);
        let mut twice = proof.to_vec();
        twice.insert(at, proof[at]);
        let mut turned = proof.to_vec();
        turned.rotate_left(1);
        all.extend([changed, without, twice]);
        all.extend((turned != proof).then_some(turned));
    }
    all
}

fn check_inclusion(three: &Three, index: u64, size: u64, at: u64, bit: u64) {
    let (proof, root) = (three.inclusion(index, size), three.root(size));
    let entry = &three.entries[small(index)];
    assert!(includes(index, size, entry, &proof, root));
    for wrong in mutations(&proof, at, bit) {
        assert!(!includes(index, size, entry, &wrong, root), "{index} of {size}");
    }
    assert!(!includes(index, size, &[entry.as_slice(), b"x"].concat(), &proof, root));
    assert!(!includes(size, size, entry, &proof, root));
    assert!(!includes(index, size, entry, &proof, leaf_hash(b"another root")));
}

fn check_consistency(three: &Three, old: u64, new: u64, at: u64, bit: u64) {
    let (proof, [old_root, new_root]) =
        (three.consistency(old, new), [old, new].map(|size| three.root(size)));
    // Of equal sizes nothing has to be proved, and only tlog_tiles has a word for that.
    if old == new {
        assert_eq!(verify_consistency(old, new, &proof, &old_root, &new_root), Ok(()));
        return;
    }
    assert!(extends(old, new, &proof, old_root, new_root));
    for wrong in mutations(&proof, at, bit) {
        assert!(!extends(old, new, &wrong, old_root, new_root), "{old} to {new}");
    }
    assert!(!extends(old, new, &proof, leaf_hash(b"another"), new_root));
    assert!(!extends(old, new, &proof, old_root, leaf_hash(b"another")));
    assert!(!extends(new, old, &proof, new_root, old_root));
}

/// The tiles published for a size, as `tlog_tiles` asks for them: it recomputes the signed root from them first.
struct Published<'a> {
    tiles: &'a BTreeMap<String, Vec<u8>>,
}

impl tlog_tiles::TileReader for Published<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.tiles[&tile.path()].clone()).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// The path with the height of tiles in it, as `tlog_tiles` writes it.
fn with_height(path: &str) -> String {
    format!("tile/{HEIGHT}/{}", path.strip_prefix("tile/").unwrap().replacen("entries/", "data/", 1))
}

fn check_tiles(three: &Three, size: u64) {
    let listed: Vec<Tile> = new_full_tiles(0, size).chain(partial_tiles(size)).collect();
    let mut names: Vec<String> = listed.iter().map(|tile| with_height(&tile.to_string())).collect();
    let mut wanted: Vec<String> =
        tlog_tiles::Tile::new_tiles(HEIGHT, 0, size).iter().map(tlog_tiles::Tile::path).collect();
    names.sort();
    wanted.sort();
    assert_eq!(names, wanted, "the tiles of {size}");

    let mut files = BTreeMap::new();
    for tile in &listed {
        let bytes = encode_tile(&read_tile(*tile, &three.nodes).unwrap()).unwrap();
        let other = tlog_tiles::Tile::new(HEIGHT, tile.level(), tile.index(), u32::from(tile.width()), false);
        assert_eq!(other.read_data(&three.stored).unwrap(), bytes, "{tile}");
        files.insert(with_height(&tile.to_string()), bytes);
    }
    let signed = Hash(three.root(size).0);
    let (published, picked) = (Published { tiles: &files }, [0, size / 3, size - 1]);
    let reader = tlog_tiles::TileHashReader::new(size, signed, &published);
    for index in picked {
        let leaf = reader.read_hashes(&[tlog_tiles::stored_hash_index(0, index)]).unwrap();
        assert_eq!(ours(&leaf), [leaf_hash(&three.entries[small(index)])]);
    }
    // And the other way: our reader over the tiles it made.
    let back = TileReader::new(size, |tile: Tile| {
        let width = u32::from(tile.width());
        let other = tlog_tiles::Tile::new(HEIGHT, tile.level(), tile.index(), width, false);
        decode_tile(&other.read_data(&three.stored).ok()?, tile.width()).ok()
    });
    for index in picked {
        assert_eq!(inclusion_proof(index, size, &back).unwrap(), three.inclusion(index, size));
    }
    // Every partial tile is under the root: with one changed, neither comes to it.
    for path in partial_tiles(size).map(|tile| with_height(&tile.to_string())) {
        let mut spoiled = files.clone();
        spoiled.get_mut(&path).unwrap()[31] ^= 1;
        let published = Published { tiles: &spoiled };
        let reader = tlog_tiles::TileHashReader::new(size, signed, &published);
        assert!(reader.read_hashes(&[tlog_tiles::stored_hash_index(0, size - 1)]).is_err(), "{path}");
        let back = TileReader::new(size, |tile: Tile| {
            decode_tile(&spoiled[&with_height(&tile.to_string())], tile.width()).ok()
        });
        assert_ne!(root(size, &back).unwrap().0, signed.0, "{path}");
    }
}

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("entry {number}").into_bytes()).collect()
}

#[test]
fn trees_over_more_than_one_level_of_tiles_agree() {
    let three = Three::of(entries(66_100));
    for size in [1, 255, 256, 257, 65_535, 65_536, 65_537, 65_792, 66_100] {
        check_tiles(&three, size);
        for index in [0, size / 2, size - 1] {
            check_inclusion(&three, index, size, index, size);
        }
        for old in [1, size / 2 + 1, size] {
            check_consistency(&three, old, size, old, size);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trees_agree(
        entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..600),
        picks: [u32; 4],
    ) {
        let three = Three::of(entries);
        let size = three.size();
        three.root(size);
        if size > 0 {
            let [index, old, at, bit] = picks.map(u64::from);
            let (index, old) = (index % size, old % size + 1);
            check_inclusion(&three, index, size, at, bit);
            check_inclusion(&three, index, (index + 1).max(old), at, bit);
            check_consistency(&three, old, size, at, bit);
            check_tiles(&three, old);
        }
    }

    #[test]
    fn any_claim_gets_the_same_answer(
        (index, size) in (0_u64..20, 0_u64..20),
        entry in proptest::collection::vec(any::<u8>(), 0..4),
        seeds in proptest::collection::vec(any::<u8>(), 0..7),
    ) {
        let proof: Vec<Digest> = seeds.iter().map(|seed| leaf_hash(&[*seed])).collect();
        prop_assert_eq!(includes(index, size, &entry, &proof, leaf_hash(&entry)), size == 1 && index == 0 && proof.is_empty());
        if index > 0 && index != size {
            prop_assert!(!extends(index, size, &proof, leaf_hash(&entry), leaf_hash(&entry)));
        }
    }

    #[test]
    fn paths_agree(level in 0_u8..64, index in 0_u64..1 << 40, width in 1_u16..=256, text in "tile/(entries|[0-5]?[0-9])/(x[0-9]{3}/){0,3}[0-9x]{2,4}(\\.p/([1-9][0-9]{0,2})?)?") {
        let tile = Tile::new(level, index, width).unwrap();
        let other = tlog_tiles::Tile::new(HEIGHT, level, index, u32::from(width), false);
        prop_assert_eq!(with_height(&tile.to_string()), other.path());
        prop_assert_eq!(tlog_tiles::Tile::from_path(&with_height(&tile.to_string())).ok(), Some(other));
        // Levels over 63 and widths of 0 are left out: the other panics at them.
        let (here, there) = (text.parse::<TilePath>(), tlog_tiles::Tile::from_path(&with_height(&text)));
        prop_assert_eq!(here.is_ok(), there.is_ok(), "{}", text);
    }

    #[test]
    fn checkpoints_agree(origin in "[a-z]{1,8}(/[a-z0-9+ ]{1,5})?", size: u64, seed: u8, edit: u32, byte in "[0-9A-Za-z+/=\n -]") {
        let text = Checkpoint::new(&origin, size, leaf_hash(&[seed])).unwrap().to_string();
        let other = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
        prop_assert_eq!(other.to_bytes(), text.as_bytes());
        let at = small(edit.into()) % text.len();
        let mut changed = text.clone();
        changed.replace_range(at..=at, &byte);
        let (here, there) = (Checkpoint::parse(&changed), tlog_tiles::Checkpoint::from_bytes(changed.as_bytes()));
        prop_assert_eq!(here.is_ok(), there.is_ok(), "{:?} {:?}", changed, here);
    }
}
