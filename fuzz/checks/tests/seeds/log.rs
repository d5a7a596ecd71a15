//! Entries, notes, checkpoints, tiles and receipts.

use data_encoding::BASE64;
use ed25519_dalek::ed25519::signature::Signer as _;
use seinhuis_fuzz_checks::known;
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId, TraceId};
use seinhuis_shared::receipt::{ProvedEntry, Receipt};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{KeyText, Note, NoteSignature};
use seinhuis_shared::tlog::subset::subset_proof;
use seinhuis_shared::tlog::tile::{encode_bundle, encode_tile};
use seinhuis_shared::tlog::tree::{BatchTree, Frontier, consistency_proof, inclusion_proof, root};

use super::{Seed, changed, cut, longer, no, ok};

fn entry(number: u8) -> Entry {
    let mut entry = Entry::new(Kind::Accepted, Timestamp(known::NOON), [number; 16]);
    entry.msg_id = Some(MsgId([number; 16]));
    entry.from = Some(known::oin());
    entry.to = Some(known::oin());
    entry.flow = Some("F01".into());
    entry.categories = Some("locatie tijdpatroon".into());
    entry.packet = Some(Digest([number; 32]));
    entry.size_class = Some(256);
    entry.trace = Some(TraceId([number; 16]));
    entry
}

fn signed(text: &str) -> String {
    let signature = NoteSignature::sign(known::ORIGIN, &known::log_signer(), text).unwrap();
    Note::new(text, vec![signature]).unwrap().to_string()
}

/// A receipt for two of five entries.
pub(super) fn receipt() -> Receipt {
    let mut tree = BatchTree::new(Frontier::default());
    let entries: Vec<Vec<u8>> = (0..5).map(|number| entry(number).to_bytes().unwrap()).collect();
    for bytes in &entries {
        tree.append(leaf_hash(bytes)).unwrap();
    }
    let checkpoint = Checkpoint::new(known::ORIGIN, 5, tree.root()).unwrap();
    let prove = |index: u64| ProvedEntry {
        index,
        entry: Bytes(entries[usize::try_from(index).unwrap()].clone()),
        path: tree.inclusion_proof(index).unwrap(),
    };
    Receipt {
        version: 1,
        checkpoint: Bytes(signed(&checkpoint.to_string()).into_bytes()),
        entries: vec![prove(1), prove(4)],
    }
}

fn receipts() -> Vec<Seed> {
    let good = receipt();
    let mut moved = good.clone();
    moved.entries[0].index = 2;
    let mut none = good.clone();
    none.entries.clear();
    let mut version = good.clone();
    version.version = 2;
    vec![
        ok("receipt", "two-entries", good.to_bytes()),
        no("receipt", "entry-elsewhere", moved.to_bytes()),
        no("receipt", "no-entries", none.to_bytes()),
        no("receipt", "other-version", version.to_bytes()),
        no("receipt", "cut", cut(&good.to_bytes())),
        no("receipt", "map", [0xa3, 0x01, 0x40, 0x80]),
        no("receipt", "deep", cbor::encode(&(1, Bytes::default(), vec![vec![vec![0_u8]]]))),
    ]
}

fn entries() -> Vec<Seed> {
    let text = String::from_utf8(entry(1).to_bytes().unwrap()).unwrap();
    let mut refused = Entry::new(Kind::Refused, Timestamp(known::NOON), [2; 16]);
    refused.reason = Some(301);
    refused.activity = Some("https://register.example/\"1\"\\é".into());
    let start = Entry::new(Kind::Start, Timestamp(0), [0; 16]).to_bytes().unwrap();
    let both = encode_bundle(&[text.as_bytes(), &start]).unwrap();
    let tile = encode_tile(&[Digest([1; 32]), Digest([2; 32])]).unwrap();
    vec![
        ok("entry", "accepted", text.as_str()),
        ok("entry", "refused", refused.to_bytes().unwrap()),
        ok("entry", "start", &*start),
        no("entry", "white-space", changed(&text, ":", ": ")),
        no("entry", "unknown-key", changed(&text, "\"flow\"", "\"flux\"")),
        no("entry", "escaped", changed(&text, "F01", "\\u004601")),
        no("entry", "leading-zero", changed(&text, "\"v\":1", "\"v\":01")),
        no("entry", "newline", format!("{text}\n")),
        no("entry", "line-separator", changed(&text, "F01", "F\u{2028}")),
        ok("entry_bundle", "two", &*both),
        ok("entry_bundle", "empty-entries", [0; 8]),
        no("entry_bundle", "cut", cut(&both)),
        no("entry_bundle", "257-entries", [0; 514]),
        no("entry_bundle", "none", []),
        ok("tile", "two", [&[0, 2], &tile[..]].concat()),
        no("tile", "cut", [&[0, 2], &cut(&tile)[..]].concat()),
        no("tile", "too-wide", [1, 1]),
        no("tile", "no-width", [0, 0]),
    ]
}

fn paths() -> Vec<Seed> {
    let good = ["tile/0/000", "tile/entries/x001/x234/067.p/8", "tile/63/x018/x446/x744/x073/x709/x551/615"];
    let bad = ["tile/0/0", "tile/64/000", "tile/0/x000/001", "tile/0/001.p/0", "tile/0/001.p/256", "../000"];
    let good = good.iter().enumerate().map(|(at, text)| ok("tile_path", &at.to_string(), *text));
    let bad = bad.iter().enumerate().map(|(at, text)| no("tile_path", &at.to_string(), *text));
    good.chain(bad).collect()
}

fn notes() -> Vec<Seed> {
    let checkpoint = Checkpoint::new(known::ORIGIN, 5, Digest([3; 32])).unwrap().to_string();
    let note = signed(&checkpoint);
    let forged = known::log_signer().sign(b"another text").to_bytes();
    let wrong = NoteSignature::new(known::ORIGIN, known::log().key.id(), forged.to_vec()).unwrap();
    let vkey = known::log().key.to_string();
    let witness = KeyText::new("witness.example", 4, &[7; 32]).unwrap().to_string();
    // The same bytes, as two padded texts in a row.
    let apart = |text: &str| {
        let bytes = BASE64.decode(text.as_bytes()).unwrap();
        let (head, tail) = bytes.split_at(1);
        format!("{}{}", BASE64.encode(head), BASE64.encode(tail))
    };
    let signature = note.trim_end().rsplit(' ').next().unwrap();
    let key = vkey.splitn(3, '+').nth(2).unwrap();
    let root = checkpoint.lines().nth(2).unwrap();
    let weak = KeyText::new("weak.example", 1, &[0; 32]).unwrap().to_string();
    vec![
        ok("note", "checkpoint", note.as_str()),
        ok("note", "wrong-signature", Note::new(&checkpoint, vec![wrong]).unwrap().to_string()),
        ok("note", "blank-lines", signed("a\n\n\nb\n")),
        no("note", "no-newline", cut(note.as_bytes())),
        no("note", "control-character", changed(&note, "5", "\u{7}")),
        no("note", "bad-line", changed(&note, "— ", "- ")),
        no("note", "text-only", checkpoint.as_str()),
        no("note", "padding-inside", changed(&note, signature, &apart(signature))),
        no("checkpoint", "padding-inside", changed(&checkpoint, root, &apart(root))),
        no("vkey", "padding-inside", changed(&vkey, key, &apart(key))),
        ok("checkpoint", "plain", checkpoint.as_str()),
        ok("checkpoint", "extension", format!("{checkpoint}one more line\n")),
        ok("checkpoint", "largest", changed(&checkpoint, "\n5\n", "\n18446744073709551615\n")),
        no("checkpoint", "leading-zero", changed(&checkpoint, "\n5\n", "\n05\n")),
        no("checkpoint", "sign", changed(&checkpoint, "\n5\n", "\n+5\n")),
        no("checkpoint", "too-large", changed(&checkpoint, "\n5\n", "\n18446744073709551616\n")),
        no("checkpoint", "empty-tree", changed(&checkpoint, "\n5\n", "\n0\n")),
        no("checkpoint", "short-root", changed(&checkpoint, "AwM=", "Aw==")),
        ok("vkey", "log", vkey.as_str()),
        no("vkey", "witness", witness),
        no("vkey", "weak", weak),
        no("vkey", "other-id", changed(&vkey, "2026+", "2026+0")),
        no("vkey", "longer", longer(vkey.as_bytes())),
    ]
}

/// Proofs of a tree of nineteen leaves: of one leaf, of its beginning, of some leaves.
fn proofs() -> Vec<Seed> {
    let steps = [2_u8, 0, 9];
    let mut tree = BatchTree::default();
    for place in 0..19_u8 {
        // At the places the steps lead to, the leaves that the check makes of the steps.
        let step = match place {
            2 => steps[0],
            3 => steps[1],
            13 => steps[2],
            other => other,
        };
        tree.append(leaf_hash(&[step])).unwrap();
    }
    let at = |size: u64| root(size, &tree).unwrap();
    let claim = |kind: u8, first: u64, second: u64, hashes: Vec<Digest>| {
        let hashes = hashes.into_iter().flat_map(|hash| hash.0);
        let numbers = [first, second].map(u64::to_be_bytes).concat();
        [kind].into_iter().chain(numbers).chain(hashes).collect::<Vec<u8>>()
    };
    let with = |start: &[Digest], path: Vec<Digest>| [start, &path].concat();
    let leaf = tree.leaves()[12];
    let inclusion = with(&[leaf, at(19)], inclusion_proof(12, 19, &tree).unwrap());
    let consistency = with(&[at(7), at(19)], consistency_proof(7, 19, &tree).unwrap());
    let mut path = vec![at(19)];
    subset_proof([2, 3, 13], 19, &tree, &mut |hash| path.push(hash)).unwrap();
    let subset = [claim(2, 0, 19, path), steps.to_vec()].concat();
    let huge = vec![leaf; 130];
    vec![
        ok("proof", "inclusion", claim(0, 12, 19, inclusion.clone())),
        no("proof", "inclusion-elsewhere", claim(0, 13, 19, inclusion.clone())),
        no("proof", "inclusion-huge", claim(0, u64::MAX - 1, u64::MAX, huge.clone())),
        ok("proof", "consistency", claim(1, 7, 19, consistency.clone())),
        ok("proof", "consistency-from-empty", claim(1, 0, 19, vec![at(0), at(19)])),
        no("proof", "consistency-shrunk", claim(1, 19, 7, consistency)),
        no("proof", "consistency-huge", claim(1, u64::MAX - 1, u64::MAX, huge.clone())),
        no("proof", "subset-other-leaves", [&subset[..subset.len() - 1], &[8]].concat()),
        no("proof", "subset-huge", claim(2, 0, u64::MAX, huge)),
        ok("proof", "subset", subset),
        no("proof", "other-kind", claim(3, 12, 19, inclusion)),
    ]
}

pub(super) fn all() -> Vec<Seed> {
    [receipts(), entries(), paths(), notes(), proofs()].into_iter().flatten().collect()
}
