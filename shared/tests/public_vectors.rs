//! The log code against the test data of other implementations: every vector gives the verdict its file states.
//!
//! Where the vectors come from, and what was left out: `shared/vectors/public/README.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::SigningKey;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{KeyText, Note, NoteSignature, VerifierKey};
use seinhuis_shared::tlog::proof::{verify_consistency, verify_inclusion};
use seinhuis_shared::tlog::proof_file::ProofFile;
use seinhuis_shared::tlog::tile::{Bundle, Tile, TilePath, TileReader, decode_bundle, decode_tile};
use seinhuis_shared::tlog::tree::{BatchTree, consistency_proof, inclusion_proof};
use serde::Deserialize;
use serde_json::Value;

mod public_kit;
use public_kit::{json, list, string, text};

/// A hash in base64, if it is one: a proof with a "hash" of another length is refused where it is read.
fn hash(base64: &str) -> Option<Digest> {
    Digest::from_slice(&BASE64.decode(base64.as_bytes()).unwrap())
}

/// A root, which is only compared: one of another length than a hash's is as unlike every hash as its own hash is.
fn root(base64: &str) -> Digest {
    hash(base64).unwrap_or_else(|| sha256(&BASE64.decode(base64.as_bytes()).unwrap()))
}

fn hashes(proof: Option<&Vec<String>>) -> Option<Vec<Digest>> {
    proof.into_iter().flatten().map(|text| hash(text)).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inclusion {
    file: String,
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    #[serde(rename = "desc")]
    _desc: String,
    want_err: bool,
}

impl Inclusion {
    fn holds(&self) -> bool {
        let Some((leaf, proof)) = hash(&self.leaf_hash).zip(hashes(self.proof.as_ref())) else {
            return false;
        };
        verify_inclusion(self.leaf_idx, self.tree_size, &leaf, &proof, &root(&self.root)).is_ok()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Consistency {
    file: String,
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    #[serde(rename = "desc")]
    _desc: String,
    want_err: bool,
}

impl Consistency {
    fn holds(&self) -> bool {
        let Some(proof) = hashes(self.proof.as_ref()) else { return false };
        verify_consistency(self.size1, self.size2, &proof, &root(&self.root1), &root(&self.root2)).is_ok()
    }
}

#[test]
fn the_inclusion_probes_of_transparency_dev() {
    let text = text("merkle-inclusion.jsonl");
    let probes: Vec<Inclusion> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((probes.len(), probes.iter().filter(|probe| !probe.want_err).count()), (98, 6));
    for probe in probes {
        assert_eq!(probe.holds(), !probe.want_err, "{}", probe.file);
    }
}

/// RFC 6962 has no proof from the tree without leaves. What made the probes refuses to speak of it; tlog-witness takes
/// the empty proof, and so does the code here.
const FROM_EMPTY: &str = "consistency/additional/size1-is-zero-and-size2-is-not-zero.json";

#[test]
fn the_consistency_probes_of_transparency_dev() {
    let text = text("merkle-consistency.jsonl");
    let probes: Vec<Consistency> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((probes.len(), probes.iter().filter(|probe| !probe.want_err).count()), (98, 6));
    for probe in probes {
        assert_eq!(probe.holds(), !probe.want_err || probe.file == FROM_EMPTY, "{}", probe.file);
    }
}

/// A log of fifteen leaves that Tessera wrote, with a checkpoint and its partial tiles for every size.
#[test]
fn the_log_that_tessera_wrote() {
    #[derive(Deserialize)]
    struct Log {
        vkey: String,
        leaves: Vec<String>,
        files: BTreeMap<String, String>,
    }
    let log: Log = json("tessera-log.json");
    assert_eq!((log.files.len(), log.leaves.len()), (47, 15));
    let key: VerifierKey = log.vkey.parse().unwrap();
    let signed = |name: &str| Checkpoint::verify(log.files[name].as_bytes(), key.name(), &key).unwrap();
    let bytes = |path: String| HEXLOWER.decode(log.files[&path].as_bytes()).unwrap();
    let mut tree = BatchTree::default();
    for size in 0_u16..=15 {
        let checkpoint = signed(&format!("checkpoint.{size}"));
        assert_eq!((checkpoint.size(), *checkpoint.root()), (u64::from(size), tree.root()));
        if size > 0 {
            let bundle = bytes(Bundle::new(0, size).unwrap().to_string());
            let entries: Vec<&[u8]> = log.leaves[..usize::from(size)].iter().map(String::as_bytes).collect();
            assert_eq!(decode_bundle(&bundle).unwrap(), entries);
            let tile = bytes(Tile::new(0, 0, size).unwrap().to_string());
            assert_eq!(decode_tile(&tile, size).unwrap(), tree.leaves());
            let reader = TileReader::new(size.into(), |tile: Tile| {
                decode_tile(&bytes(tile.to_string()), tile.width()).ok()
            });
            for index in 0..u64::from(size) {
                let leaf = tree.leaves()[usize::try_from(index).unwrap()];
                let proof = inclusion_proof(index, size.into(), &reader).unwrap();
                verify_inclusion(index, size.into(), &leaf, &proof, checkpoint.root()).unwrap();
                let old = signed(&format!("checkpoint.{index}"));
                let proof = consistency_proof(index, size.into(), &reader).unwrap();
                verify_consistency(index, size.into(), &proof, old.root(), checkpoint.root()).unwrap();
            }
        }
        if let Some(leaf) = log.leaves.get(usize::from(size)) {
            tree.append(leaf_hash(leaf.as_bytes())).unwrap();
        }
    }
    assert_eq!(log.files["checkpoint"], log.files["checkpoint.15"]);
}

#[test]
fn the_paths_of_tessera() {
    let all: BTreeMap<String, Vec<BTreeMap<String, Value>>> = json("tessera-paths.json");
    let counts: Vec<usize> = all.values().map(Vec::len).collect();
    assert_eq!(counts, [4, 7, 19, 5]);
    let number =
        |case: &BTreeMap<String, Value>, key| case.get(key).map_or(0, |value| value.as_u64().unwrap());
    // What Tessera calls partial 0 is a full tile.
    let width = |case: &BTreeMap<String, Value>, key| match u16::try_from(number(case, key)).unwrap() {
        0 => 256,
        width => width,
    };
    for case in &all["EntriesPathForLogIndex"] {
        let tile = Tile::in_tree(0, number(case, "seq") / 256, number(case, "logSize")).unwrap();
        assert_eq!(Bundle::from(tile).to_string(), string(&case["wantPath"]));
    }
    for case in &all["EntriesPath"] {
        let bundle = Bundle::new(number(case, "N"), width(case, "p")).unwrap();
        assert_eq!(bundle.to_string(), string(&case["wantPath"]));
    }
    for case in &all["TilePath"] {
        let level = u8::try_from(number(case, "level")).unwrap();
        let tile = Tile::new(level, number(case, "index"), width(case, "p")).unwrap();
        assert_eq!(tile.to_string(), string(&case["wantPath"]));
    }
    for case in &all["ParseTileLevelIndexPartial"] {
        let path = format!("tile/{}/{}", string(&case["pathLevel"]), string(&case["pathIndex"]));
        let level = u8::try_from(number(case, "wantLevel")).unwrap();
        let wanted = Tile::new(level, number(case, "wantIndex"), width(case, "wantP")).unwrap();
        let refused = case.get("wantErr").is_some_and(|value| value == true);
        assert_eq!(path.parse().ok(), (!refused).then_some(TilePath::Hashes(wanted)), "{path}");
    }
}

/// Names of the known keys that signed; none if the note is refused.
fn signers(note: &[u8], keys: &[VerifierKey]) -> Vec<String> {
    let Ok(note) = Note::parse(note) else { return Vec::new() };
    let signed = note.verify(keys).unwrap_or_default();
    signed.into_iter().map(|key| key.name().to_owned()).collect()
}

#[test]
fn the_notes_of_go() {
    let all: Value = json("go-note.json");
    let vkey = string(&all["vkey"]);
    let key: VerifierKey = vkey.parse().unwrap();
    assert_eq!(key.to_string(), vkey);
    // As the Go test does: no part of the key is a key, and no key with one byte changed.
    for start in 0..vkey.len() {
        for end in start..=vkey.len() {
            assert_eq!(vkey[start..end].parse::<VerifierKey>().is_ok(), &vkey[start..end] == vkey);
        }
        let mut changed = vkey.as_bytes().to_vec();
        changed[start] += 1;
        assert!(String::from_utf8(changed).unwrap().parse::<VerifierKey>().is_err());
    }
    for bad in list(&all["bad_vkeys"]) {
        assert!(string(bad).parse::<VerifierKey>().is_err(), "{bad}");
    }

    let seed = BASE64.decode(string(&all["skey"]).splitn(5, '+').nth(4).unwrap().as_bytes()).unwrap();
    let signer = SigningKey::from_bytes(seed[1..].try_into().unwrap());
    assert_eq!(signer.verifying_key(), *key.key());
    let plain = string(&all["signed"]["text"]);
    let signature = NoteSignature::sign(key.name(), &signer, plain).unwrap();
    assert_eq!(Note::new(plain, vec![signature]).unwrap().to_string(), string(&all["signed"]["note"]));

    let cases = list(&all["open"]);
    assert_eq!((cases.len(), list(&all["bad_vkeys"]).len()), (15, 2));
    for case in cases {
        let note = match case.get("note_hex") {
            Some(hex) => HEXLOWER.decode(string(hex).as_bytes()).unwrap(),
            None => string(&case["note"]).as_bytes().to_vec(),
        };
        let keys: Vec<VerifierKey> =
            list(&case["keys"]).iter().map(|key| string(key).parse().unwrap()).collect();
        assert_eq!(Value::from(signers(&note, &keys)), case["signed_by"], "{case}");
    }
}

#[test]
fn the_trees_and_tile_paths_of_go() {
    let all: Value = json("go-tlog.json");
    let tree = &all["tree"];
    let (origin, size) = (string(&tree["origin"]), tree["size"].as_u64().unwrap());
    let made = Checkpoint::new(origin, size, leaf_hash(string(&tree["leaf"]).as_bytes())).unwrap();
    assert_eq!(made.to_string(), string(&tree["text"]));
    assert_eq!(Checkpoint::parse(string(&tree["text"])), Ok(made));
    let bad = list(&all["bad_trees"]);
    assert_eq!(bad.len(), 3);
    for text in bad {
        // Go reads one origin only; here the origin is compared after the reading.
        let read = Checkpoint::parse(string(text)).ok();
        assert!(read.is_none_or(|checkpoint| checkpoint.origin() != origin), "{text}");
    }
    // Go's paths name the height of tiles, which tlog-tiles fixes at 8, and call entries "data".
    let paths = list(&all["tile_paths"]);
    assert_eq!(paths.len(), 8);
    for case in paths {
        let go = string(&case["path"]).replace("/data/", "/entries/");
        let (_, rest) = go.strip_prefix("tile/").unwrap().split_once('/').unwrap();
        let path = format!("tile/{rest}");
        let Some([height, level, index, width]) = case["tile"].as_array().map(Vec::as_slice) else {
            assert!(path.parse::<TilePath>().is_err(), "{path}");
            continue;
        };
        let full = width.as_u64().unwrap() == 1 << height.as_u64().unwrap();
        let width = if full { 256 } else { u16::try_from(width.as_u64().unwrap()).unwrap() };
        let index = index.as_u64().unwrap();
        let wanted = match level.as_i64().unwrap() {
            -1 => TilePath::Entries(Bundle::new(index, width).unwrap()),
            level => TilePath::Hashes(Tile::new(u8::try_from(level).unwrap(), index, width).unwrap()),
        };
        assert_eq!(path.parse(), Ok(wanted), "{path}");
        assert_eq!(wanted.to_string(), path);
    }
}

#[test]
fn the_checkpoints_and_keys_of_formats() {
    let all: Value = json("formats.json");
    let bad = list(&all["bad_checkpoints"]);
    let (keys, bad_keys) = (list(&all["vkeys"]), list(&all["bad_vkeys"]));
    assert_eq!((bad.len(), keys.len(), bad_keys.len()), (7, 2, 5));
    for case in bad {
        assert!(Checkpoint::parse(string(&case["text"])).is_err(), "{case}");
    }
    for key in keys {
        assert_eq!(string(key).parse::<KeyText>().map(|read| read.to_string()).as_deref(), Ok(string(key)));
    }
    for key in bad_keys {
        assert!(string(key).parse::<VerifierKey>().is_err(), "{key}");
    }
}

/// The examples that can be judged alone: the keys of the checkpoints are not published.
#[test]
fn the_examples_of_the_standards() {
    #[derive(Deserialize)]
    struct Example {
        document: String,
        what: String,
        text: String,
    }
    let all: Vec<Example> = json("c2sp-examples.json");
    assert_eq!(all.len(), 10);
    let find = |document: &str, what: &str| {
        &all.iter().find(|one| one.document == document && one.what.starts_with(what)).unwrap().text
    };
    let key: VerifierKey = find("signed-note.md", "a verifier key").parse().unwrap();
    assert_eq!(signers(find("signed-note.md", "a signed note").as_bytes(), &[key]), ["example.com/foo"]);

    let signed = Note::parse(find("tlog-checkpoint.md", "a signed").as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(signed.text()).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.to_string(), signed.text());
    let cosigned = find("tlog-cosignature.md", "a cosigned");
    assert_eq!(cosigned.splitn(3, '\n').nth(2), Some(signed.text()));
    let (_, submitted) = find("tlog-witness.md", "the body").split_once("\n\n").unwrap();
    let submitted = Note::parse(submitted.as_bytes()).unwrap();
    assert_eq!((submitted.text(), submitted.signatures().len()), (signed.text(), 2));
    assert_eq!(submitted.signatures()[0], signed.signatures()[0]);

    let verse = find("signed-note.md", "a note with an empty line");
    let read = Note::parse(verse.as_bytes()).unwrap();
    assert!(read.text().contains("\n\n") && read.to_string() == *verse);

    let abridged = find("tlog-proof.md", "a proof");
    assert!(ProofFile::parse(abridged).is_err(), "its signatures are no base64");
    let (head, _) = abridged.split_once("\n— ").unwrap();
    let whole = format!("{head}\n{}\n", signed.signatures()[0]);
    let proof = ProofFile::parse(&whole).unwrap();
    assert_eq!((proof.index, proof.path.len(), proof.to_string()), (73_894, 5, whole));
    assert!(proof.extra.is_some_and(|extra| extra.starts_with(b"age-v1.2.1-darwin-arm64.tar.gz")));
    let mut proof = abridged.splitn(3, "\n\n");
    let hashes = proof.next().unwrap().lines().skip(3);
    assert_eq!(hashes.filter_map(hash).count(), 5);
    assert_eq!(Checkpoint::parse(&format!("{}\n", proof.next().unwrap())).unwrap().size(), 109_482);
}
