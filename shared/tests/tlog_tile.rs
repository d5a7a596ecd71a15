//! Tiles and entry bundles: paths, contents, and proofs out of tiles.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::proof::{verify_consistency, verify_inclusion};
use seinhuis_shared::tlog::tile::{
    Bundle, Tile, TileError, TilePath, TileReader, decode_bundle, decode_tile, encode_bundle, encode_tile,
    new_full_tiles, partial_tiles, read_tile,
};
use seinhuis_shared::tlog::tree::{BatchTree, HashReader, consistency_proof, inclusion_proof, root};

fn numbered(count: u64) -> Vec<Digest> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn store(leaves: &[Digest]) -> BTreeMap<(u8, u64), Digest> {
    let mut batch = BatchTree::default();
    for leaf in leaves {
        batch.append(*leaf).unwrap();
    }
    batch.new_nodes().collect()
}

#[test]
fn paths_are_those_of_the_standard() {
    for (tile, path) in [
        (Tile::new(0, 0, 256), "tile/0/000"),
        (Tile::new(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (Tile::new(2, 273, 17), "tile/2/273.p/17"),
        (Tile::new(63, 1000, 255), "tile/63/x001/000.p/255"),
        (Tile::new(0, u64::MAX, 1), "tile/0/x018/x446/x744/x073/x709/x551/615.p/1"),
    ] {
        let tile = tile.unwrap();
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(TilePath::Hashes(tile)));
        assert_eq!(tile.is_full(), !path.contains(".p/"));
    }
    for (bundle, path) in [
        (Bundle::new(1_234_067, 8), "tile/entries/x001/x234/067.p/8"),
        (Bundle::new(7, 256), "tile/entries/007"),
    ] {
        assert_eq!(bundle.clone().unwrap().to_string(), path);
        assert_eq!(path.parse(), Ok(TilePath::Entries(bundle.unwrap())));
    }
    assert_eq!(Tile::new(64, 0, 1), Err(TileError::NoSuchTile { level: 64, width: 1 }));
    assert!(Tile::new(0, 0, 0).is_err());
    assert!(Bundle::new(0, 257).is_err());
}

#[test]
fn other_ways_to_write_a_path_are_refused() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile//000",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/x01/002",
        "tile/0/x001//002",
        "tile/0/X001/002",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/+1",
        "tile/0/000.p/1.p/1",
        "tile/0/../001",
        "tile/0/+01",
        "tile/0/x+01/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/0",
        "tile/entries/000.p/256",
        "tile/Entries/000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/0/é00",
    ] {
        assert!(path.parse::<TilePath>().is_err(), "{path}");
    }
}

#[test]
fn the_tree_of_seventy_thousand_has_the_tiles_the_standard_names() {
    let full: Vec<Tile> = new_full_tiles(0, 70_000).collect();
    assert_eq!(full.iter().filter(|tile| tile.level() == 0).count(), 273);
    assert_eq!(full.len(), 274);
    assert_eq!(full.last(), Tile::new(1, 0, 256).as_ref().ok());
    let partial: Vec<String> = partial_tiles(70_000).map(|tile| tile.to_string()).collect();
    assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let partial: Vec<String> = partial_tiles(256).map(|tile| tile.to_string()).collect();
    assert_eq!(partial, ["tile/1/000.p/1"]);
    assert_eq!(partial_tiles(0).count(), 0);
    assert_eq!(partial_tiles(u64::MAX).count(), 8);
    assert_eq!(new_full_tiles(u64::MAX - 300, u64::MAX).count(), 1);
    assert_eq!(new_full_tiles(9, 3).count(), 0);
}

#[test]
fn full_tiles_of_steps_add_up_to_those_of_one_leap() {
    let mut stepwise: Vec<Tile> = Vec::new();
    let sizes = [0, 1, 255, 256, 257, 700, 65_535, 65_536, 131_072];
    for (old, new) in sizes.iter().zip(&sizes[1..]) {
        stepwise.extend(new_full_tiles(*old, *new));
    }
    let mut leap: Vec<Tile> = new_full_tiles(0, 131_072).collect();
    stepwise.sort();
    leap.sort();
    assert_eq!(stepwise, leap);
}

#[test]
fn proofs_out_of_tiles_are_those_out_of_nodes() {
    for size in [1_u64, 2, 255, 256, 257, 300, 513, 66_000] {
        let leaves = numbered(size);
        let nodes = store(&leaves);
        // Published and read back: what a tile holds is its bytes.
        let mut files = BTreeMap::new();
        for tile in new_full_tiles(0, size).chain(partial_tiles(size)) {
            let hashes = read_tile(tile, &nodes).unwrap();
            files.insert(tile.to_string(), encode_tile(&hashes).unwrap());
        }
        let reader =
            TileReader::new(size, |tile: Tile| decode_tile(files.get(&tile.to_string())?, tile.width()).ok());
        for ((height, index), hash) in &nodes {
            if size < 1000 || index % 97 == 0 {
                assert_eq!(reader.read(*height, *index), Some(*hash), "{size}: {height}, {index}");
            }
        }
        let signed = root(size, &nodes).unwrap();
        assert_eq!(root(size, &reader).unwrap(), signed);
        for index in [0, size / 2, size - 1] {
            let proof = inclusion_proof(index, size, &reader).unwrap();
            let leaf = leaves[usize::try_from(index).unwrap()];
            verify_inclusion(index, size, &leaf, &proof, &signed).unwrap();
        }
        let old = size / 2 + 1;
        let proof = consistency_proof(old, size, &reader).unwrap();
        verify_consistency(old, size, &proof, &root(old, &nodes).unwrap(), &signed).unwrap();
    }
}

#[test]
fn a_reader_takes_a_full_tile_for_a_partial_one_and_nothing_past_the_tree() {
    let nodes = store(&numbered(512));
    // The tree is asked for at 300 leaves; on disk the second tile is full by now.
    let asked = std::cell::RefCell::new(Vec::new());
    let reader = TileReader::new(300, |tile: Tile| {
        asked.borrow_mut().push(tile);
        read_tile(Tile::new(tile.level(), tile.index(), 256).ok()?, &nodes)
    });
    assert_eq!(reader.read(0, 299), nodes.read(0, 299));
    assert_eq!(asked.borrow().as_slice(), [Tile::new(0, 1, 44).unwrap()]);
    for (height, index) in
        [(0, 300), (2, 75), (8, 1), (9, 0), (64, 0), (255, 0), (7, u64::MAX), (0, u64::MAX)]
    {
        assert_eq!(reader.read(height, index), None, "{height}, {index}");
    }
    let short = TileReader::new(300, |_| Some(Vec::new()));
    assert_eq!(short.read(0, 0), None);
}

#[test]
fn tiles_have_exactly_their_width() {
    let hashes = numbered(256);
    let bytes = encode_tile(&hashes).unwrap();
    assert_eq!(bytes.len(), 8192);
    assert_eq!(decode_tile(&bytes, 256).unwrap(), hashes);
    assert_eq!(decode_tile(&bytes, 255), Err(TileError::WrongTileLength { width: 255, bytes: 8192 }));
    assert!(decode_tile(&bytes[1..], 256).is_err());
    assert_eq!(decode_tile(&[], 0), Err(TileError::WrongCount(0)));
    assert_eq!(decode_tile(&bytes, 257), Err(TileError::WrongCount(257)));
    assert_eq!(encode_tile(&[]), Err(TileError::WrongCount(0)));
    assert_eq!(encode_tile(&numbered(257)), Err(TileError::WrongCount(257)));
}

#[test]
fn bundles_are_length_prefixed_and_bounded() {
    let entries: [&[u8]; 3] = [b"", b"a", b"bc"];
    let bytes = encode_bundle(&entries).unwrap();
    assert_eq!(bytes, [0, 0, 0, 1, b'a', 0, 2, b'b', b'c']);
    assert_eq!(decode_bundle(&bytes).unwrap(), entries);
    assert_eq!(decode_bundle(&bytes[..8]), Err(TileError::CutOff(2)));
    assert_eq!(decode_bundle(&bytes[..6]), Err(TileError::CutOff(2)));
    assert_eq!(decode_bundle(&[]), Err(TileError::WrongCount(0)));
    assert_eq!(encode_bundle::<&[u8]>(&[]), Err(TileError::WrongCount(0)));
    assert_eq!(encode_bundle(&vec![b"x"; 257]), Err(TileError::WrongCount(257)));
    assert_eq!(decode_bundle(&[0; 514]), Err(TileError::WrongCount(257)));
    assert_eq!(decode_bundle(&[0; 512]).unwrap().len(), 256);
    let longest = vec![7_u8; 65_535];
    assert_eq!(decode_bundle(&encode_bundle(&[&longest]).unwrap()).unwrap(), [&longest]);
    assert_eq!(encode_bundle(&[vec![7_u8; 65_536]]), Err(TileError::EntryTooLong(65_536)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_tile_has_a_path_of_its_own(level in 0_u8..64, index: u64, width in 1_u16..=256) {
        let tile = Tile::new(level, index, width).unwrap();
        prop_assert_eq!(tile.to_string().parse::<TilePath>(), Ok(TilePath::Hashes(tile)));
    }

    #[test]
    fn any_text_near_a_path_reads_only_as_it_prints(text in "tile/(entries|[0-9]{1,3})/(x[0-9]{3}/){0,7}[0-9x]{2,4}(\\.p/[0-9]{0,4})?") {
        if let Ok(path) = text.parse::<TilePath>() {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn any_text_is_answered(text in ".*") {
        prop_assert!(text.parse::<TilePath>().is_err());
    }

    #[test]
    fn any_bytes_are_a_bundle_or_an_error(bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..600)) {
        if let Ok(entries) = decode_bundle(&bytes) {
            prop_assert_eq!(encode_bundle(&entries).unwrap(), bytes);
        }
    }

    #[test]
    fn any_tree_that_grows_fills_the_tiles_that_became_full(old in 0_u64..200_000, more in 0_u64..100_000) {
        let new = old + more;
        let before: Vec<Tile> = new_full_tiles(0, old).collect();
        let after: Vec<Tile> = new_full_tiles(0, new).collect();
        let fresh: Vec<Tile> = new_full_tiles(old, new).collect();
        prop_assert_eq!(before.len() + fresh.len(), after.len());
        prop_assert!(fresh.iter().all(|tile| after.contains(tile) && Tile::in_tree(tile.level(), tile.index(), old).is_none_or(|t| !t.is_full())));
    }
}
