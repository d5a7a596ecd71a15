//! What the log, its witnesses and recipients answer: bytes behind a signature or a proof, which a check makes itself.

use seinhuis_shared::acknowledgement::{Acknowledged, Batch, Part, Said};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::{ACK_MAX, CONSENT_MAX, RECIPIENTS_MAX};
use seinhuis_shared::onward::Consent;
use seinhuis_shared::receipt::{CheckpointCache, LogKey, ProvedEntry, Receipt};
use seinhuis_shared::rotation::Keys;
use seinhuis_shared::succession::{self, binding, log_key, naming};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{Note, NoteSignature};
use seinhuis_shared::tlog::policy::{Policy, PolicyWitness};
use seinhuis_shared::tlog::subset::subset_proof;
use seinhuis_shared::tlog::tree::BatchTree;
use seinhuis_shared::wire::{Acknowledgement, Entries, Notices};

use crate::{covenant, known};

/// The origin of the log that follows on the known one.
pub const NEXT: &str = "broker.example/uitwisseling/2027";
/// The name of the known witness.
pub const WITNESS: &str = "witness.example";

/// Items of an acknowledgement, signed by the known key; then as its payload, and as the head that is signed.
pub fn acknowledgement(data: &[u8]) -> bool {
    let (key, mut accepted) = (known::signer(), false);
    let keys = [key.public()];
    if let Ok(items) = cbor::strict::<Vec<Acknowledged>>(data, data.len()) {
        let said = items.iter().all(|item| item.said == Said::Stored);
        let good = (1..=ACK_MAX).contains(&items.len()) && said;
        let made = Acknowledgement { recipient: known::oin(), issued: Timestamp(known::NOON), items };
        let verified = Acknowledgement::verify(&made.sign(&key), &keys);
        assert_eq!(verified.is_ok(), good, "not as its items are");
        if let Ok(batch) = verified {
            assert_eq!(batch.acknowledgement, made, "an acknowledgement reads back otherwise");
            parts(&batch);
            accepted = true;
        }
    }
    let head = Bytes(Sign1::sign(&key, Purpose::Acknowledgement, data));
    let one = Acknowledged::stored(seinhuis_shared::ids::MsgId([1; 16]), Digest([2; 32]), 0, Digest([3; 32]));
    for bytes in [data, &cbor::encode(&(head, vec![one]))] {
        if let Ok(batch) = Acknowledgement::verify(bytes, &keys) {
            assert_eq!(batch.acknowledgement.sign(&key), bytes, "an acknowledgement re-encodes otherwise");
            accepted = true;
        }
    }
    accepted
}

/// Every item by itself, the first and the last together: each part verifies, and none with another item.
fn parts(batch: &Batch) {
    let items = &batch.acknowledgement.items;
    let count = u16::try_from(items.len()).unwrap_or_default();
    let key = |_| Ok(known::signer().public());
    for places in [vec![0], vec![count - 1], vec![0, count - 1]] {
        if places.len() > items.len() {
            continue;
        }
        let own = places.iter().map(|place| items[usize::from(*place)]).collect();
        let part = Part::new(batch.signed.clone(), &batch.leaves, places, own);
        assert!(part.verify(key).is_ok(), "a part that does not verify");
        for nth in 0..part.items.len() {
            assert!(part.statement(nth).is_some_and(|one| one.verify(key).is_ok()), "an item alone");
        }
        let mut other = part.clone();
        other.items[0].outcome ^= 1;
        assert!(other.verify(key).is_err(), "another item under the same root");
    }
}

/// A consent, as signed and as a payload that the known key signs.
pub fn consent(data: &[u8]) -> bool {
    let (key, covenant, mut accepted) = (known::signer(), covenant::model(), false);
    let now = Timestamp(known::NOON);
    for bytes in [data, &Sign1::sign(&key, Purpose::Consent, data)] {
        let kept = Consent::read_kept(bytes);
        if let Ok(consent) = Consent::verify(bytes, covenant, &Keys::default(), now) {
            assert_eq!(kept.as_ref(), Some(&consent), "kept otherwise than verified");
            assert_party_signed(&consent, bytes);
        }
        let Some(consent) = kept else { continue };
        assert!(bytes.len() <= CONSENT_MAX, "a consent over its bound");
        let covered = consent.covers(consent.holder, &consent.packet, &consent.recipients, now);
        assert!(covered.is_err() || now < consent.until, "a consent past its end");
        let elsewhere = Digest(consent.packet.0.map(|byte| !byte));
        assert!(consent.covers(consent.holder, &elsewhere, &[], now).is_err(), "another packet");
        accepted = true;
    }
    accepted
}

fn assert_party_signed(consent: &Consent, bytes: &[u8]) {
    assert!((1..=RECIPIENTS_MAX).contains(&consent.recipients.len()), "a consent for nobody, or too many");
    assert!(consent.at < consent.until, "a consent that ends before it begins");
    assert_eq!(consent.sign(&known::signer()), bytes, "a consent re-encodes otherwise");
}

/// Eight bytes of time and the text of a note, cosigned by the known witness; then the same bytes as a note that a policy
/// of one log and one witness judges.
pub fn cosignature(data: &[u8]) -> bool {
    let secret = known::signer();
    let Ok(key) = WitnessKey::new(WITNESS, &secret.public().to_bytes()) else { return false };
    let judged = judged(data, &key);
    let Some((time, text)) = data.split_first_chunk::<8>() else { return judged };
    let (seconds, Ok(text)) = (u64::from_be_bytes(*time), core::str::from_utf8(text)) else { return judged };
    let Some(line) = key.cosign_with(text, seconds, |bytes| secret.sign(bytes)) else { return judged };
    assert_eq!(key.verify(text, &line), Ok(seconds), "an own cosignature does not verify");
    assert!(key.verify(&format!("{text}\n"), &line).is_err(), "a cosignature of another text");
    let mut other = line.signature().to_vec();
    other[7] ^= 1;
    let other = NoteSignature::new(line.name(), line.id(), other);
    assert!(other.is_ok_and(|other| key.verify(text, &other).is_err()), "a cosignature of another time");
    let log = NoteSignature::sign(known::ORIGIN, &known::log_signer(), text);
    let note = log.and_then(|log| Note::new(text, vec![log, line]));
    let read = note.as_ref().is_ok_and(|note| {
        let bytes = note.to_string();
        assert_eq!(Note::parse(bytes.as_bytes()).as_ref(), Ok(note), "a note reads back otherwise");
        self::judged(bytes.as_bytes(), &key)
    });
    judged || read
}

fn judged(data: &[u8], key: &WitnessKey) -> bool {
    let Ok(note) = Note::parse(data) else { return false };
    let witness = PolicyWitness { name: b"w".to_vec(), key: key.clone(), url: None };
    let policy = Policy::of_group(known::log().key.clone(), vec![witness], Vec::new(), "g", 1);
    let Some(judged) = policy.ok().and_then(|policy| policy.judge(&note).ok()) else { return false };
    assert_eq!(judged.checkpoint.origin(), known::ORIGIN, "a checkpoint of another log");
    assert_eq!(judged.witnessed, !judged.cosigned.is_empty(), "one witness is the quorum");
    judged.witnessed
}

fn proved(log: &LogKey, leaves: &[&[u8]], at: u64) -> Option<(Receipt, Checkpoint)> {
    let mut tree = BatchTree::default();
    for leaf in leaves {
        tree.append(leaf_hash(leaf)).ok()?;
    }
    let head = Checkpoint::new(&log.origin, tree.size(), tree.root()).ok()?;
    let note = Bytes(head.sign(&known::log_signer()).ok()?.to_string().into_bytes());
    let entry = Bytes::from(*leaves.get(usize::try_from(at).ok()?)?);
    let entries = vec![ProvedEntry { index: at, entry, path: tree.inclusion_proof(at).ok()? }];
    Some((Receipt { version: 1, checkpoint: note, entries }, head))
}

/// Two entries, the first after two bytes of its length: the last of the known log and the first of the next one, both
/// with right proofs. An opening entry is also tried with the right name for the log before it.
pub fn succession(data: &[u8]) -> bool {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return false };
    let Some((closing, opening)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
        return false;
    };
    // As they come: the decoder itself.
    let Ok(next) = log_key(NEXT, known::log()) else { return false };
    assert!(succession::verify((closing, opening), known::log(), &next).is_err(), "an unsigned succession");
    let Some((closed, last)) = proved(known::log(), &[b"1", b"2", closing], 2) else { return false };
    let bound = Entry::parse(opening).ok().and_then(|mut entry| {
        entry.statement = Some(binding(&last));
        entry.to_bytes().ok()
    });
    let mut accepted = false;
    for opening in [Some(opening.to_vec()), bound].into_iter().flatten() {
        let Some((opened, _)) = proved(&next, &[&opening, b"2"], 0) else { continue };
        let (closed, opened) = (closed.to_bytes(), opened.to_bytes());
        let Ok(read) = succession::verify((&closed, &opened), known::log(), &next) else { continue };
        let entries = [closing, &opening].map(Entry::parse);
        let [Ok(one), Ok(two)] = entries else { continue };
        assert_eq!((one.kind, two.kind), (Kind::Closing, Kind::Opening), "other kinds");
        assert_eq!((one.statement, two.statement), (Some(naming(NEXT)), Some(binding(&last))), "unbound");
        assert_eq!(
            (one.detail.as_deref(), two.detail.as_deref()),
            (Some(read.cause.as_str()), one.detail.as_deref())
        );
        assert_eq!((&read.last, read.first.origin()), (&last, NEXT), "other checkpoints");
        assert!(succession::verify((&opened, &closed), &next, known::log()).is_err(), "backwards");
        assert!(succession::verify((&closed, &opened), &next, known::log()).is_err(), "of other logs");
        accepted = true;
    }
    accepted
}

/// Log entries, each after two bytes of its length, as a page of entries and as notices with right proofs; and the same
/// bytes as either message.
pub fn entries(data: &[u8]) -> bool {
    let mut cache = CheckpointCache::default();
    if let Ok(page) = cbor::strict::<Entries>(data, data.len()) {
        _ = page.verify(known::log(), &mut cache);
    }
    if let Ok(notices) = cbor::strict::<Notices>(data, data.len()) {
        _ = notices.verify(known::log(), &mut cache);
        for nth in 0..notices.indexes.len().min(4) {
            _ = notices.receipt(nth);
        }
    }
    let (mut rest, mut texts) = (data, Vec::new());
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let Some((text, more)) = more.split_at_checked(u16::from_be_bytes(*length).into()) else { break };
        texts.push(text);
        rest = more;
    }
    if texts.is_empty() || texts.len() > 8 {
        return false;
    }
    let Some((page, notices)) = answers(&texts) else { return false };
    let read = page.verify(known::log(), &mut cache);
    let told = notices.verify(known::log(), &mut cache);
    let each = texts.iter().all(|text| Entry::parse(text).is_ok());
    assert_eq!((read.is_ok(), told.is_ok()), (each, each), "not as its entries are");
    if let (Ok((_, read)), Ok((_, told))) = (read, told) {
        assert_eq!(read, told, "two ways to prove, two contents");
        for nth in 0..texts.len() {
            let receipt = notices.receipt(nth);
            assert!(receipt.is_some_and(|one| one.verify(known::log(), &mut cache).is_ok()), "no receipt");
        }
    }
    each
}

/// These entries at every second place of a log.
fn answers(texts: &[&[u8]]) -> Option<(Entries, Notices)> {
    let mut tree = BatchTree::default();
    let mut indexes = Vec::new();
    for text in texts {
        tree.append(leaf_hash(b"another's")).ok()?;
        indexes.push(tree.append(leaf_hash(text)).ok()?);
    }
    let head = Checkpoint::new(known::ORIGIN, tree.size(), tree.root()).ok()?;
    let checkpoint = Bytes(head.sign(&known::log_signer()).ok()?.to_string().into_bytes());
    let mut proof = Vec::new();
    subset_proof(indexes.iter().copied(), tree.size(), &tree, &mut |hash| proof.push(hash)).ok()?;
    let one = |(index, text): (&u64, &&[u8])| {
        let path = tree.inclusion_proof(*index).ok()?;
        Some(ProvedEntry { index: *index, entry: Bytes::from(*text), path })
    };
    let page = indexes.iter().zip(texts).map(one).collect::<Option<_>>()?;
    let entries = texts.iter().map(|text| Bytes::from(*text)).collect();
    let notices =
        Notices { cursor: 1, checkpoint: checkpoint.clone(), indexes, entries, proof, parts: Vec::new() };
    Some((Entries { checkpoint, entries: page, next: None }, notices))
}
