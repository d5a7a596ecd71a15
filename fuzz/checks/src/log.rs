//! Entries, notes, checkpoints, tiles and receipts.

use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::{CHECKPOINT_MAX, ENTRY_MAX, PROOF_MAX, RECIPIENTS_MAX};
use seinhuis_shared::receipt::file::ReceiptFile;
use seinhuis_shared::receipt::{CheckpointCache, RECEIPT_MAX, Receipt};
use seinhuis_shared::rotation::Keys;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{
    KeyText, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteSignature, VerifierKey,
};
use seinhuis_shared::tlog::policy::{MAX_POLICY_BYTES, Policy};
use seinhuis_shared::tlog::proof::{root_from_inclusion, verify_consistency, verify_inclusion};
use seinhuis_shared::tlog::proof_file::ProofFile;
use seinhuis_shared::tlog::subset::{SubsetError, root_from_subset};
use seinhuis_shared::tlog::tile::{
    FULL_WIDTH, TilePath, decode_bundle, decode_tile, encode_bundle, encode_tile,
};
use seinhuis_shared::tlog::witness::{self, Head, KnownLog, Request, read_answer};

use crate::known;

/// An entry: its bytes are the one way to write it.
pub fn entry(data: &[u8]) -> bool {
    let parsed = Entry::parse(data);
    if let Ok(entry) = &parsed {
        assert!(data.len() <= ENTRY_MAX, "an entry over its bound");
        assert_eq!(entry.to_bytes().as_deref(), Ok(data), "an entry re-encodes otherwise");
        assert_eq!(entry.leaf_hash(), Ok(leaf_hash(data)), "the leaf is not the line");
        let breaks = |text: &str| text.lines().count() != 1 || text.contains(['\u{2028}', '\u{2029}']);
        assert!(core::str::from_utf8(data).is_ok_and(|text| !breaks(text)), "an entry of several lines");
        assert!(serde_json::from_slice::<serde_json::Value>(data).is_ok(), "an entry that is no JSON");
    }
    parsed.is_ok()
}

/// A receipt, and what it proves under the known log key.
pub fn receipt(data: &[u8]) -> bool {
    let Ok(receipt) = Receipt::parse(data) else { return false };
    assert!(data.len() <= RECEIPT_MAX, "a receipt over its bound");
    assert_eq!(receipt.to_bytes(), data, "a receipt re-encodes otherwise");
    assert!((1..=RECIPIENTS_MAX).contains(&receipt.entries.len()), "a receipt of too many entries");
    assert!(receipt.checkpoint.len() <= CHECKPOINT_MAX, "a checkpoint over its bound");
    assert!(receipt.entries.iter().all(|proved| proved.path.len() <= PROOF_MAX), "a proof over its bound");
    let mut cache = CheckpointCache::default();
    let first = receipt.verify(known::log(), &mut cache);
    assert_eq!(receipt.verify(known::log(), &mut cache), first, "the cache changes the outcome");
    if let Ok(verified) = &first {
        assert_eq!(verified.entries.len(), receipt.entries.len(), "an entry that nothing proves");
        assert!(
            verified.entries.iter().all(|(index, _)| *index < verified.checkpoint.size()),
            "outside the tree"
        );
    }
    first.is_ok()
}

/// A signed note and, if its text is one, the checkpoint in it.
pub fn note(data: &[u8]) -> bool {
    let Ok(note) = Note::parse(data) else { return false };
    assert!(data.len() <= MAX_NOTE_BYTES, "a note over its bound");
    assert_eq!(note.to_string().as_bytes(), data, "a note re-encodes otherwise");
    assert!((1..=MAX_SIGNATURES).contains(&note.signatures().len()), "too many signatures");
    assert_eq!(Note::new(note.text(), note.signatures().to_vec()).as_ref(), Ok(&note), "not made alike");
    for signature in note.signatures() {
        let read = NoteSignature::parse_line(&signature.to_string());
        assert_eq!(read.as_ref(), Ok(signature), "a signature line reads back otherwise");
    }
    let known = known::log();
    let signed = note.verify(core::slice::from_ref(&known.key));
    if let Ok(checkpoint) = Checkpoint::verify(data, &known.origin, &known.key) {
        assert!(signed.is_ok(), "a checkpoint nobody signed");
        assert_eq!(checkpoint.origin(), known.origin, "a checkpoint of another log");
    }
    checkpoint(note.text().as_bytes());
    true
}

/// The text of a checkpoint, and a proof against it.
pub fn checkpoint(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let Ok(checkpoint) = Checkpoint::parse(text) else { return false };
    assert!(text.starts_with(&checkpoint.to_string()), "a checkpoint re-encodes otherwise");
    let made = Checkpoint::new(checkpoint.origin(), checkpoint.size(), *checkpoint.root());
    assert_eq!(made.as_ref(), Ok(&checkpoint), "not made alike");
    let (size, root) = (checkpoint.size(), checkpoint.root());
    let proof = [*root; 70];
    for length in [0, 1, 63, 64, 70] {
        for index in [0, size / 2, size.saturating_sub(1), size, u64::MAX] {
            let hash = root_from_inclusion(index, size, root, &proof[..length]);
            assert!(index < size || hash.is_err(), "a proof outside the tree");
        }
        for old in [0, 1, size / 2, size] {
            if verify_consistency(old, size, &proof[..length], root, root).is_ok() {
                assert!(length == 0, "a made-up consistency proof");
            }
        }
    }
    true
}

/// A receipt as a file, and a proof as a file.
pub fn receipt_file(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    if let Ok(proof) = ProofFile::parse(text) {
        assert_eq!(proof.to_string(), text, "a proof file re-encodes otherwise");
        return true;
    }
    let Ok(file) = ReceiptFile::parse(text) else { return false };
    assert_eq!(file.to_string(), text, "a receipt file re-encodes otherwise");
    if let Ok(proved) = file.verify(core::slice::from_ref(known::log()), None, &Keys::default()) {
        assert_eq!(proved.blocks.len(), file.blocks.len(), "a block without proof");
    }
    true
}

/// A verifier key.
pub fn vkey(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let key = text.parse::<KeyText>();
    if let Ok(key) = &key {
        assert_eq!(key.to_string(), text, "a verifier key re-encodes otherwise");
    }
    let verifier = text.parse::<VerifierKey>();
    if let Ok(verifier) = &verifier {
        assert_eq!(verifier.to_string(), text, "a verifier key re-encodes otherwise");
        assert_eq!(key.map(|key| key.id()), Ok(verifier.id()), "two ids for one key");
    }
    verifier.is_ok()
}

/// A trust policy.
pub fn policy(data: &[u8]) -> bool {
    let Ok(policy) = Policy::parse(data) else { return false };
    assert!(data.len() <= MAX_POLICY_BYTES, "a policy over its bound");
    assert_eq!(Policy::parse(&policy.to_bytes()).as_ref(), Ok(&policy), "a policy reads back otherwise");
    let all: Vec<usize> = (0..policy.witnesses().len()).collect();
    assert!(policy.reached_by(&all), "a quorum that nobody reaches");
    assert!(policy.asks() != policy.reached_by(&[]), "a quorum of nobody");
    true
}

/// A request to cosign, and what a witness that knows the log does with it.
pub fn add_checkpoint(data: &[u8]) -> bool {
    let Some(request) = Request::parse(data) else { return false };
    assert_eq!(request.to_bytes().as_deref(), Some(data), "a request re-encodes otherwise");
    let known = [KnownLog::of_key(known::log().key.clone())];
    for size in [0, request.old] {
        let latest = Head { size, ..Head::default() };
        if let Ok(accepted) = witness::add_checkpoint(data, &known, |_| latest) {
            assert!(accepted.head.size >= size && request.old == size, "a tree that shrank");
            assert!(accepted.own_note(&known).is_ok(), "a checkpoint nobody signed");
        }
    }
    true
}

/// What a witness answers: the first byte chooses the status.
pub fn witness_answer(data: &[u8]) -> bool {
    let Some((first, body)) = data.split_first() else { return false };
    let status = [200, 409, 422, 503][usize::from(first % 4)];
    let text = "x\n";
    let key = WitnessKey::new("witness.example", &known::signer().public().to_bytes());
    let line = NoteSignature::sign("x", &known::log_signer(), text);
    let (Ok(key), Ok(line)) = (key, line) else { return false };
    let Ok(note) = Note::new(text, vec![line]) else { return false };
    let read = read_answer(status, body, &note, &key);
    if let Ok(witness::Answer::Conflict(size)) = read {
        assert_eq!(body, format!("{size}\n").as_bytes(), "a size re-encodes otherwise");
    }
    read.is_ok()
}

/// The path of a tile or bundle.
pub fn tile_path(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let parsed = text.parse::<TilePath>();
    if let Ok(path) = &parsed {
        assert_eq!(path.to_string(), text, "a path re-encodes otherwise");
        assert!(!text.contains("..") && text.starts_with("tile/"), "a path out of its folder");
    }
    parsed.is_ok()
}

/// A tile; the first two bytes are its width.
pub fn tile(data: &[u8]) -> bool {
    let Some((width, bytes)) = data.split_first_chunk::<2>() else { return false };
    let width = u16::from_be_bytes(*width);
    let decoded = decode_tile(bytes, width);
    if let Ok(hashes) = &decoded {
        assert_eq!(hashes.len(), usize::from(width), "not as wide as it says");
        assert_eq!(encode_tile(hashes).as_deref(), Ok(bytes), "a tile re-encodes otherwise");
    }
    decoded.is_ok()
}

/// A bundle of entries.
pub fn entry_bundle(data: &[u8]) -> bool {
    let decoded = decode_bundle(data);
    if let Ok(entries) = &decoded {
        assert!((1..=usize::from(FULL_WIDTH)).contains(&entries.len()), "too many entries");
        assert_eq!(encode_bundle(entries).as_deref(), Ok(data), "a bundle re-encodes otherwise");
    }
    decoded.is_ok()
}

/// A claim about a tree with its proof: one byte that says which kind, two numbers of eight bytes, and hashes.
///
/// What is true of every proof that holds: no hash of it can be changed, left out or added.
pub fn proof(data: &[u8]) -> bool {
    let Some((&kind, rest)) = data.split_first() else { return false };
    let Some((first, rest)) = rest.split_first_chunk::<8>() else { return false };
    let Some((second, rest)) = rest.split_first_chunk::<8>() else { return false };
    let (first, second) = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
    let (hashes, over) = rest.as_chunks::<32>();
    let hashes: Vec<Digest> = hashes.iter().copied().map(Digest).collect();
    match (kind, &hashes[..], over) {
        (0, [leaf, root, path @ ..], []) => {
            short(path, |path| verify_inclusion(first, second, leaf, path, root).is_ok())
        }
        (1, [old, new, path @ ..], []) => {
            short(path, |path| verify_consistency(first, second, path, old, new).is_ok())
        }
        (2, [root, path @ ..], places) => subset(second, places, path, root),
        _ => false,
    }
}

/// As [`unchangeable`], for a proof of one thing: it is no longer than the tallest tree is high, and one.
fn short(path: &[Digest], holds: impl Fn(&[Digest]) -> bool) -> bool {
    let good = unchangeable(path, holds);
    assert!(!good || path.len() <= 65, "a proof longer than any tree calls for");
    good
}

/// Whether a proof holds; when it does, no other near it may.
fn unchangeable(path: &[Digest], holds: impl Fn(&[Digest]) -> bool) -> bool {
    if !holds(path) {
        return false;
    }
    assert!(!holds(&[path, &[Digest([0; 32])]].concat()), "a hash that proves nothing");
    for at in 0..path.len() {
        let mut changed = path.to_vec();
        changed[at].0[at % 32] ^= 1;
        assert!(!holds(&changed), "another hash {at}");
        changed.remove(at);
        assert!(!holds(&changed), "without hash {at}");
    }
    true
}

/// A proof of many leaves: how far each place lies after the one before it, in a byte, and the leaf's hash from that.
fn subset(size: u64, steps: &[u8], path: &[Digest], root: &Digest) -> bool {
    let places = steps.iter().scan(0_u64, |next, step| {
        let place = next.saturating_add(u64::from(*step));
        *next = place.saturating_add(1);
        Some((place, leaf_hash(&[*step])))
    });
    let leaves: Vec<(u64, Digest)> = places.collect();
    let under = |path: &[Digest]| root_from_subset(leaves.iter().copied(), size, path.iter().copied());
    let found = under(path);
    if found.is_ok() {
        assert!(leaves.iter().all(|(place, _)| *place < size), "a leaf outside the tree");
        assert_eq!(under(&[path, &[Digest([0; 32])]].concat()), Err(SubsetError::TooLong));
        if let Some((_, fewer)) = path.split_last() {
            assert_eq!(under(fewer), Err(SubsetError::TooShort));
        }
    }
    let holds = found == Ok(*root);
    if holds {
        unchangeable(path, |path| under(path) == Ok(*root));
    }
    holds
}
