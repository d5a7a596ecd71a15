//! Instructions of what both sides do with every packet: `tests/benches/instructions/mod.rs` says how they are counted.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so")]

#[path = "../../tests/benches/instructions/mod.rs"]
mod instructions;

use std::hint::black_box;
use std::process::ExitCode;

use instructions::{Case, Round};
use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::cose::{EK_LEN, WRAPPED_LEN};
use seinhuis_shared::covenant::{Declared, Handling, Level, Step};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId, Oin, TraceId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{
    Context, Hpke, HpkeError, Packet, Plain, Recipient, SealRandomness, VERSION, open, seal,
};
use seinhuis_shared::prekey::{PUBLIC_LEN, PrekeyPublic, PrekeySecret};
use seinhuis_shared::receipt::{CheckpointCache, LogKey, ProvedEntry, Receipt};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::tree::{BatchTree, Frontier};
use seinhuis_shared::wire::{Message as _, Offer, Verdict};
use zeroize::Zeroizing;

const NOW: Timestamp = Timestamp(1_780_000_000_000);
const ORIGIN: &str = "broker.example/uitwisseling/2026";
/// Bytes of a body.
const BODY: usize = 1024;
/// Packets, and entries, in a turn.
const TURN: u64 = 32;
/// Entries of the log before that: twenty bits, of which eleven are set.
const BEFORE: u64 = 1_000_421;

const CASES: &[Case] = &[
    Case {
        name: "packet_parse",
        what: "a packet read and its form checked: 1 KiB, one recipient",
        operations: 1,
        rounds: 40,
        prepare: parse,
    },
    Case {
        name: "statement_verify",
        what: "the signature of its statement checked",
        operations: 1,
        rounds: 10,
        prepare: verify,
    },
    Case {
        name: "packet_seal",
        what: "a packet sealed and signed, HPKE left out",
        operations: 1,
        rounds: 20,
        prepare: sealing,
    },
    Case {
        name: "packet_open",
        what: "a verified packet opened, HPKE left out",
        operations: 1,
        rounds: 20,
        prepare: opening,
    },
    Case {
        name: "offer_decode",
        what: "the payload of an offer's frame read",
        operations: 1,
        rounds: 40,
        prepare: offer,
    },
    Case {
        name: "verdict_decode",
        what: "the payload of a verdict's frame read",
        operations: 1,
        rounds: 40,
        prepare: verdict,
    },
    Case {
        name: "log_append",
        what: "an entry appended, 32 to a signed checkpoint",
        operations: TURN,
        rounds: 4,
        prepare: append,
    },
    Case {
        name: "log_receipt",
        what: "the proof of an entry of this turn, and its receipt",
        operations: TURN,
        rounds: 4,
        prepare: receipt_made,
    },
    Case {
        name: "receipt_verify",
        what: "a receipt read and verified, 32 to a checkpoint",
        operations: TURN,
        rounds: 4,
        prepare: receipt_verified,
    },
    Case {
        name: "acknowledgement_verify",
        what: "a packet in a signed acknowledgement of 32",
        operations: TURN,
        rounds: 4,
        prepare: acknowledgement,
    },
];

fn main() -> ExitCode {
    instructions::main("shared", CASES)
}

/// HPKE that costs next to nothing: what is counted is what is around it.
struct Through;

impl Hpke for Through {
    fn seal(
        &self,
        _: &PrekeyPublic,
        _: &[u8],
        key: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
        let mut wrapped = [0; WRAPPED_LEN];
        wrapped[..32].copy_from_slice(key);
        Ok(([1; EK_LEN], wrapped))
    }

    fn open(
        &self,
        _: &PrekeySecret,
        _: &[u8],
        _: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
        Ok(Zeroizing::new(wrapped[..32].try_into().map_err(|_| HpkeError)?))
    }
}

fn oin(number: u8) -> Oin {
    format!("0000009900000000{number}000").parse().unwrap()
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

fn prekey() -> PrekeyPublic {
    PrekeyPublic::from_slice(&[1; PUBLIC_LEN]).unwrap()
}

fn msg_id(number: u64) -> MsgId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    MsgId(id)
}

fn context() -> Context {
    let categories = ["locatie", "meldingen"].map(str::to_owned);
    Context {
        version: VERSION,
        msg_id: msg_id(1),
        covenant: Digest([5; 32]),
        flow: "F01".into(),
        case: None,
        declared: Declared::new("signaal", Step::S1, Level::G, categories, "signalering", "avg_6_1_e")
            .unwrap(),
        sender: oin(3),
        signer: signer().public().thumbprint(),
        recipients: vec![Recipient { oin: oin(1), prekey: prekey().id() }],
        seq: 77,
        prev: Some(Digest([6; 32])),
        issued: NOW,
        expires: NOW.plus(Span::days(1)),
        in_reply_to: None,
        trace: TraceId([7; 16]),
        commitment: Digest([0; 32]),
    }
}

/// Seals one packet.
fn sealed(
    context: &mut Context,
    key: &PrekeyPublic,
    provenance: &Provenance,
    signer: &SigningKey,
) -> Vec<u8> {
    let chance = SealRandomness { key: [1; 32], iv: [2; 12], salt: [3; 32] };
    let plain = Plain { media_type: "application/json", provenance, body: black_box(&[b'x'; BODY]) };
    seal(&Through, context, &[key], plain, &chance, signer).unwrap().bytes
}

fn packet() -> Vec<u8> {
    sealed(&mut context(), &prekey(), &Provenance::own(oin(3), Handling::Partners), &signer())
}

fn parse(_: usize) -> Round {
    let bytes = packet();
    Box::new(move |_| {
        black_box(Packet::parse(black_box(&bytes)).unwrap());
    })
}

fn verify(rounds: usize) -> Round {
    let packet = Packet::parse(&packet()).unwrap();
    let mut packets = vec![packet; rounds];
    let key = signer().public();
    Box::new(move |_| {
        black_box(packets.pop().unwrap().verify(black_box(&key)).unwrap());
    })
}

fn sealing(_: usize) -> Round {
    let (mut context, key, signer) = (context(), prekey(), signer());
    let provenance = Provenance::own(oin(3), Handling::Partners);
    Box::new(move |_| {
        black_box(sealed(&mut context, &key, &provenance, &signer));
    })
}

fn opening(_: usize) -> Round {
    let packet = Packet::parse(&packet()).unwrap().verify(&signer().public()).unwrap();
    let (recipient, secret) = (oin(1), PrekeySecret(vec![0; 32]));
    Box::new(move |_| {
        black_box(open(&Through, black_box(&packet), &recipient, |_| Some(&secret)).unwrap());
    })
}

/// The entry of an accepted packet.
fn entry(number: u64) -> Vec<u8> {
    let mut entry = Entry::new(Kind::Accepted, NOW, [9; 16]);
    entry.msg_id = Some(msg_id(number));
    entry.from = Some(oin(3));
    entry.to = Some(oin(1));
    entry.packet = Some(sha256(&number.to_be_bytes()));
    entry.statement = Some(Digest([8; 32]));
    entry.covenant = Some(Digest([5; 32]));
    entry.flow = Some("F01".into());
    entry.recipients = Some(1);
    entry.to_bytes().unwrap()
}

fn entries() -> Vec<Vec<u8>> {
    (0..TURN).map(entry).collect()
}

/// The log before a turn.
fn frontier() -> Frontier {
    let peaks = (0..BEFORE.count_ones()).map(|peak| sha256(&peak.to_be_bytes())).collect();
    Frontier::from_parts(BEFORE, peaks).unwrap()
}

fn grown(before: Frontier, entries: &[Vec<u8>]) -> BatchTree {
    let mut tree = BatchTree::new(before);
    for entry in entries {
        tree.append(leaf_hash(entry)).unwrap();
    }
    tree
}

fn log_key() -> LogKey {
    let public = ed25519_dalek::SigningKey::from_bytes(&[99; 32]).verifying_key();
    LogKey { origin: ORIGIN.into(), key: VerifierKey::new(ORIGIN, public).unwrap() }
}

/// The signed checkpoint of a tree.
fn checkpoint(tree: &BatchTree, key: &VerifierKey, signer: &SigningKey) -> Bytes {
    let head = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
    Bytes(head.sign_with(key, |bytes| signer.sign(bytes)).unwrap().to_string().into_bytes())
}

fn receipt_of(tree: &BatchTree, checkpoint: &Bytes, index: u64, entry: &[u8]) -> Vec<u8> {
    let path = tree.inclusion_proof(index).unwrap();
    let entries = vec![ProvedEntry { index, entry: Bytes::from(entry), path }];
    Receipt { version: 1, checkpoint: checkpoint.clone(), entries }.to_bytes()
}

fn receipts() -> Vec<Vec<u8>> {
    let all = entries();
    let tree = grown(frontier(), &all);
    let note = checkpoint(&tree, &log_key().key, &SigningKey::from_seed(&[99; 32]));
    (BEFORE..).zip(&all).map(|(index, entry)| receipt_of(&tree, &note, index, entry)).collect()
}

fn offer(_: usize) -> Round {
    let receipt = Bytes(receipts().remove(0));
    let frame = Offer { packet: Bytes(packet()), receipt }.to_frame().unwrap();
    Box::new(move |_| {
        black_box(Offer::parse(black_box(&frame[5..])).unwrap());
    })
}

fn verdict(_: usize) -> Round {
    let receipt = Bytes(receipts().remove(0));
    let frame = Verdict { packet: Digest([8; 32]), outcome: 0, receipt }.to_frame().unwrap();
    Box::new(move |_| {
        black_box(Verdict::parse(black_box(&frame[5..])).unwrap());
    })
}

fn append(_: usize) -> Round {
    let (entries, key, signer) = (entries(), log_key().key, SigningKey::from_seed(&[99; 32]));
    let mut before = frontier();
    Box::new(move |_| {
        let tree = grown(before.clone(), &entries);
        black_box(checkpoint(&tree, &key, &signer));
        before = tree.tip().clone();
    })
}

fn receipt_made(_: usize) -> Round {
    let entries = entries();
    let tree = grown(frontier(), &entries);
    let note = checkpoint(&tree, &log_key().key, &SigningKey::from_seed(&[99; 32]));
    Box::new(move |_| {
        for (index, entry) in (BEFORE..).zip(&entries) {
            black_box(receipt_of(black_box(&tree), &note, index, entry));
        }
    })
}

fn receipt_verified(_: usize) -> Round {
    let (receipts, key) = (receipts(), log_key());
    Box::new(move |_| {
        let mut cache = CheckpointCache::new();
        for bytes in &receipts {
            black_box(Receipt::parse(black_box(bytes)).unwrap().verify(&key, &mut cache).unwrap());
        }
    })
}

fn acknowledgement(_: usize) -> Round {
    let item = |number: u64| {
        let packet = sha256(&number.to_be_bytes());
        Acknowledged::stored(msg_id(number), packet, 0, leaf_hash(&entry(number)))
    };
    let signed = Acknowledgement { recipient: oin(1), issued: NOW, items: (0..TURN).map(item).collect() };
    let (signed, keys) = (signed.sign(&signer()), [signer().public()]);
    Box::new(move |_| {
        black_box(Acknowledgement::verify(black_box(&signed), &keys).unwrap());
    })
}
