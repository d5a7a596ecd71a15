//! Makes the vectors of what is signed beside packets: prekey bundles, acknowledgements, enrolment
//! requests, and receipts.

use ciborium::Value;
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::enrol::{EnrolRequest, NodeKind, fingerprint};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, Thumbprint};
use seinhuis_shared::limits::ACK_MAX;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::prekey::{Prekey, PrekeyBundle, SUITE};
use seinhuis_shared::receipt::{LogKey, ProvedEntry, Receipt, ReceiptError};
use seinhuis_shared::refusal::Refusal::{
    self, BadPrekeyBundle, BadSignature, Malformed, NotCanonical, StatementUnlinked, UnknownKey,
    UnknownVersion,
};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{ED25519, KeyText, VerifierKey};
use seinhuis_shared::tlog::tree::BatchTree;
use seinhuis_shared::wire::{Acknowledged, Acknowledgement};

use crate::common::{DetHpke, GEM, JW, NOON, OM, Org, POL, context, sealed};
use crate::files::{LogAndReceipts, ReceiptFields, Signed, hex};
use crate::forge::{Edit, bytes, encode, items};

fn vector(name: &str, by: Org, refusal: Option<Refusal>, bytes: &[u8]) -> Signed {
    Signed {
        name: name.into(),
        by: by.oin().to_string(),
        refusal: refusal.map_or(0, Refusal::number),
        fingerprint: None,
        bytes: hex(bytes),
    }
}

/// The same object with its payload changed and signed again.
pub(crate) fn resigned(object: &[u8], key: &SigningKey, purpose: Purpose, edit: Edit) -> Vec<u8> {
    let sign1 = Sign1::parse(object, object.len()).unwrap();
    let mut payload: Value = ciborium::from_reader(sign1.unverified_payload()).unwrap();
    edit(&mut payload);
    Sign1::sign(key, purpose, &encode(&payload))
}

/// The same object with its COSE_Sign1 changed.
pub(crate) fn edited(object: &[u8], edit: Edit) -> Vec<u8> {
    let mut value: Value = ciborium::from_reader(object).unwrap();
    edit(&mut value);
    encode(&value)
}

fn bundle() -> PrekeyBundle {
    let prekey = |org: Org, day: u64| Prekey {
        public: org.prekey(),
        not_before: NOON.plus(Span::days(day)),
        not_after: NOON.plus(Span::days(day + 1)),
    };
    PrekeyBundle {
        version: 1,
        suite: SUITE,
        oin: GEM.oin(),
        signer: GEM.key().public().thumbprint(),
        seq: 7,
        issued: NOON,
        prekeys: vec![prekey(GEM, 0), prekey(OM, 1)],
    }
}

pub(crate) fn prekeys() -> Vec<Signed> {
    let key = GEM.key();
    let good = bundle().sign(&key);
    let with = |name, edit: fn(&mut PrekeyBundle)| {
        let mut changed = bundle();
        edit(&mut changed);
        vector(name, GEM, Some(BadPrekeyBundle), &changed.sign(&key))
    };
    let again = |name, edit: Edit| {
        vector(name, GEM, Some(BadPrekeyBundle), &resigned(&good, &key, Purpose::Prekeys, edit))
    };
    let mut one = bundle();
    one.prekeys.pop();
    vec![
        vector("two-epochs", GEM, None, &good),
        vector("one-epoch", GEM, None, &one.sign(&key)),
        with("bundle-version-2", |b| b.version = 2),
        with("bundle-of-another-suite", |b| b.suite = (0x0020, 0x0001, 0x0002)),
        with("bundle-of-another-owner", |b| b.oin = JW.oin()),
        with("bundle-signer-not-kid", |b| b.signer = Thumbprint([1; 32])),
        with("no-prekey", |b| b.prekeys.clear()),
        with("5-prekeys", |b| {
            let epoch = |day: u64| Prekey {
                not_before: NOON.plus(Span::days(day)),
                not_after: NOON.plus(Span::days(day + 1)),
                ..b.prekeys[0].clone()
            };
            b.prekeys = (0..5).map(epoch).collect();
        }),
        with("epochs-out-of-order", |b| b.prekeys.reverse()),
        with("epochs-begin-together", |b| b.prekeys[1].not_before = b.prekeys[0].not_before),
        with("epoch-ends-before-it-begins", |b| b.prekeys[0].not_after = NOON.minus(Span(1))),
        again("prekey-1215", |v| _ = bytes(&mut items(&mut items(&mut items(v)[6])[0])[0]).pop()),
        again("bundle-field-extra", |v| items(v).push(Value::Null)),
        vector("bundle-trailing-byte", GEM, Some(BadPrekeyBundle), &[&good[..], &[0]].concat()),
        vector("bundle-truncated", GEM, Some(BadPrekeyBundle), &good[..good.len() - 1]),
        vector("bundle-by-another-key", GEM, Some(UnknownKey), &bundle().sign(&JW.key())),
        vector(
            "bundle-signature-changed",
            GEM,
            Some(BadSignature),
            &edited(&good, |v| bytes(&mut items(v)[3])[0] ^= 1),
        ),
        vector(
            "bundle-signed-as-packet",
            GEM,
            Some(BadSignature),
            &resigned(&good, &key, Purpose::Packet, |_| ()),
        ),
    ]
}

fn acknowledgement(count: usize) -> Acknowledgement {
    let item = |number: usize| {
        let fill = u8::try_from(number % 251).unwrap();
        let outcome = if number.is_multiple_of(2) { 0 } else { Refusal::CannotOpen.number() };
        let msg_id = seinhuis_shared::ids::MsgId([fill; 16]);
        Acknowledged::stored(msg_id, Digest([fill; 32]), outcome, Digest([255 - fill; 32]))
    };
    Acknowledgement { recipient: GEM.oin(), issued: NOON, items: (0..count).map(item).collect() }
}

pub(crate) fn acknowledgements() -> Vec<Signed> {
    let key = GEM.key();
    let good = acknowledgement(2).sign(&key);
    // What is signed stands inside, beside the items.
    let inner = |edit: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mut value: Value = ciborium::from_reader(&good[..]).unwrap();
        let signed = bytes(&mut items(&mut value)[0]);
        *signed = edit(signed);
        encode(&value)
    };
    let again = |name, refusal, edit: Edit| {
        let bytes = inner(&|signed| resigned(signed, &key, Purpose::Acknowledgement, edit));
        vector(name, GEM, Some(refusal), &bytes)
    };
    let beside = |name, refusal, edit: Edit| vector(name, GEM, Some(refusal), &edited(&good, edit));
    vec![
        vector("stored-and-quarantined", GEM, None, &good),
        vector("one-item", GEM, None, &acknowledgement(1).sign(&key)),
        vector("256-items", GEM, None, &acknowledgement(ACK_MAX).sign(&key)),
        vector("257-items", GEM, Some(Malformed), &acknowledgement(ACK_MAX + 1).sign(&key)),
        vector("no-items", GEM, Some(Malformed), &acknowledgement(0).sign(&key)),
        again("acknowledgement-version-2", UnknownVersion, |v| items(v)[0] = Value::from(2)),
        again("recipient-lower-case", Malformed, |v| items(v)[1] = Value::from("0000009900000000100a")),
        again("another-count", StatementUnlinked, |v| items(v)[3] = Value::from(3)),
        again("another-root", StatementUnlinked, |v| bytes(&mut items(v)[4])[0] ^= 1),
        beside("outcome-65536", Malformed, |v| {
            items(&mut items(&mut items(v)[1])[0])[3] = Value::from(65_536);
        }),
        beside("another-outcome", StatementUnlinked, |v| {
            items(&mut items(&mut items(v)[1])[0])[3] = Value::from(1);
        }),
        beside("another-link", StatementUnlinked, |v| {
            bytes(&mut items(&mut items(&mut items(v)[1])[0])[4])[0] ^= 1;
        }),
        beside("items-swapped", StatementUnlinked, |v| items(&mut items(v)[1]).reverse()),
        beside("an-item-less", StatementUnlinked, |v| drop(items(&mut items(v)[1]).pop())),
        beside("said-consumed", Malformed, |v| {
            items(&mut items(&mut items(v)[1])[0])[0] = Value::from(2);
        }),
        beside("said-3", Malformed, |v| items(&mut items(&mut items(v)[1])[0])[0] = Value::from(3)),
        again("acknowledgement-field-extra", NotCanonical, |v| items(v).push(Value::Null)),
        vector("acknowledgement-trailing-byte", GEM, Some(NotCanonical), &[&good[..], &[0]].concat()),
        vector("acknowledgement-truncated", GEM, Some(Malformed), &good[..good.len() - 1]),
        vector("acknowledgement-by-another-key", GEM, Some(UnknownKey), &acknowledgement(2).sign(&JW.key())),
        vector(
            "acknowledgement-signature-changed",
            GEM,
            Some(BadSignature),
            &inner(&|signed| edited(signed, |v| bytes(&mut items(v)[3])[0] ^= 1)),
        ),
        vector(
            "acknowledgement-signed-as-packet",
            GEM,
            Some(BadSignature),
            &inner(&|signed| resigned(signed, &key, Purpose::Packet, |_| ())),
        ),
    ]
}

fn enrolment() -> EnrolRequest {
    EnrolRequest {
        kind: NodeKind::Agent,
        oin: GEM.oin(),
        name: "Gemeente Voorbeeldstad".into(),
        hosts: vec![],
        signing_key: GEM.key().public(),
        csr: vec![0x30, 0x00],
        issued: NOON,
    }
}

pub(crate) fn enrolments() -> Vec<Signed> {
    let key = GEM.key();
    let good = enrolment().sign(&key);
    let hosts = vec!["broker.example".to_owned(), "192.0.2.1".to_owned()];
    let broker = EnrolRequest { kind: NodeKind::Broker, hosts, ..enrolment() };
    let again = |name, refusal, edit: Edit| {
        let bytes = resigned(&good, &key, Purpose::Enrolment, edit);
        vector(name, GEM, Some(refusal), &bytes)
    };
    let all = vec![
        vector("agent", GEM, None, &good),
        vector("broker-with-hosts", GEM, None, &broker.sign(&key)),
        again("enrolment-version-2", UnknownVersion, |v| items(v)[0] = Value::from(2)),
        again("node-kind-3", Malformed, |v| items(v)[1] = Value::from(3)),
        again("enrolment-oin-19", Malformed, |v| items(v)[2] = Value::from("0000009900000000100")),
        again("name-empty", Malformed, |v| items(v)[3] = Value::from("")),
        again("name-with-control-character", Malformed, |v| items(v)[3] = Value::from("a\u{1b}b")),
        again("name-65", Malformed, |v| items(v)[3] = Value::from("a".repeat(65))),
        again("9-hosts", Malformed, |v| items(v)[4] = Value::Array(vec![Value::from("h"); 9])),
        again("signing-key-31", Malformed, |v| _ = bytes(&mut items(v)[5]).pop()),
        again("signing-key-of-small-order", Malformed, |v| items(v)[5] = Value::Bytes(vec![0; 32])),
        vector("enrolment-by-another-key", GEM, Some(UnknownKey), &enrolment().sign(&JW.key())),
        vector(
            "enrolment-signature-changed",
            GEM,
            Some(BadSignature),
            &edited(&good, |v| bytes(&mut items(v)[3])[0] ^= 1),
        ),
        vector(
            "enrolment-signed-as-packet",
            GEM,
            Some(BadSignature),
            &resigned(&good, &key, Purpose::Packet, |_| ()),
        ),
        vector("enrolment-trailing-byte", GEM, Some(NotCanonical), &[&good[..], &[0]].concat()),
    ];
    all.into_iter()
        .map(|vector| Signed {
            fingerprint: Some(fingerprint(&crate::files::unhex(&vector.bytes))),
            ..vector
        })
        .collect()
}

const ORIGIN: &str = "broker.example/uitwisseling/2026";
const REFUSED: Digest = Digest([0xbd; 32]);

fn log_signer() -> SigningKey {
    SigningKey::from_seed(&[0x10; 32])
}

pub(crate) fn log_text() -> String {
    KeyText::new(ORIGIN, ED25519, &log_signer().public().to_bytes()).unwrap().to_string()
}

pub(crate) fn log_key() -> LogKey {
    let text: KeyText = log_text().parse().unwrap();
    LogKey { origin: ORIGIN.into(), key: VerifierKey::new(ORIGIN, text.ed25519(ED25519).unwrap()).unwrap() }
}

/// The class of an error, as the vectors name it.
pub(crate) const fn class(error: &ReceiptError) -> &'static str {
    match error {
        ReceiptError::Form(_) => "form",
        ReceiptError::Checkpoint(_) => "checkpoint",
        ReceiptError::Proof { .. } => "proof",
        ReceiptError::Entry { .. } => "entry",
        ReceiptError::NotAboutThis => "not-about-this",
    }
}

fn accepted(packet: &Packet, to: Org, index: u8) -> Entry {
    let context = packet.context();
    let mut entry = Entry::new(Kind::Accepted, NOON, [index; 16]);
    entry.msg_id = Some(context.msg_id);
    entry.from = Some(context.sender);
    entry.to = Some(to.oin());
    entry.flow = Some(context.flow.clone());
    entry.covenant = Some(context.covenant);
    entry.packet = Some(packet.digest());
    entry.statement = Some(packet.statement_digest());
    entry.result = Some("accepted".into());
    entry
}

/// A log of seven entries: two starts, an acceptance for two recipients, a refusal, two stops.
struct Log {
    entries: Vec<Vec<u8>>,
    tree: BatchTree,
}

impl Log {
    fn new(packet: &Packet) -> Self {
        let plain = |kind, index: u8| Entry::new(kind, NOON, [index; 16]);
        let mut refused = plain(Kind::Refused, 4);
        refused.from = Some(POL.oin());
        refused.packet = Some(REFUSED);
        refused.reason = Some(Refusal::UnknownFlow.number());
        let entries: Vec<Vec<u8>> = [
            plain(Kind::Start, 0),
            plain(Kind::Start, 1),
            accepted(packet, GEM, 2),
            accepted(packet, JW, 3),
            refused,
            plain(Kind::Stop, 5),
            plain(Kind::Stop, 6),
        ]
        .iter()
        .map(|entry| entry.to_bytes().unwrap())
        .collect();
        let mut tree = BatchTree::default();
        for entry in &entries {
            tree.append(leaf_hash(entry)).unwrap();
        }
        Self { entries, tree }
    }

    fn checkpoint(&self, origin: &str, key: &SigningKey) -> Vec<u8> {
        let text = KeyText::new(origin, ED25519, &key.public().to_bytes()).unwrap();
        let named = VerifierKey::new(origin, text.ed25519(ED25519).unwrap()).unwrap();
        let checkpoint = Checkpoint::new(origin, self.tree.size(), self.tree.root()).unwrap();
        checkpoint.sign_with(&named, |bytes| key.sign(bytes)).unwrap().to_string().into_bytes()
    }

    fn receipt(&self, indices: &[u64]) -> Receipt {
        let proved = |index: &u64| ProvedEntry {
            index: *index,
            entry: Bytes(self.entries[usize::try_from(*index).unwrap()].clone()),
            path: self.tree.inclusion_proof(*index).unwrap(),
        };
        Receipt {
            version: 1,
            checkpoint: Bytes(self.checkpoint(ORIGIN, &log_signer())),
            entries: indices.iter().map(proved).collect(),
        }
    }
}

pub(crate) fn receipts() -> LogAndReceipts {
    let to = [GEM, JW];
    let mut context = context(POL, &to);
    let bytes = sealed(&DetHpke::new(20), (POL, &to), &mut context, ("application/json", b"{}"), 20);
    let log = Log::new(&Packet::parse(&bytes).unwrap());
    let vector = |name: &str, about: &str, error: Option<&str>, receipt: &Receipt| ReceiptFields {
        name: name.into(),
        about: about.into(),
        error: error.map(Into::into),
        receipt: hex(&cbor::encode(receipt)),
    };
    let (both, one, no) = (log.receipt(&[2, 3]), log.receipt(&[2]), log.receipt(&[4]));
    let with = |name, error, edit: fn(&mut Receipt)| {
        let mut changed = both.clone();
        edit(&mut changed);
        vector(name, "accepted", Some(error), &changed)
    };
    let signed_elsewhere = |name, origin: &str, key: &SigningKey| {
        let mut changed = both.clone();
        changed.checkpoint = Bytes(log.checkpoint(origin, key));
        vector(name, "accepted", Some("checkpoint"), &changed)
    };
    let receipts = vec![
        vector("accepted-for-both", "accepted", None, &both),
        vector("accepted-for-one", "accepted-for", None, &one),
        vector("refused", "refused", None, &no),
        vector("accepted-for-one-of-two", "accepted", Some("not-about-this"), &one),
        vector("accepted-for-the-other", "accepted-for", Some("not-about-this"), &log.receipt(&[3])),
        vector("recipients-in-another-order", "accepted", Some("not-about-this"), &log.receipt(&[3, 2])),
        vector("a-refusal-is-no-acceptance", "accepted", Some("not-about-this"), &no),
        vector("an-acceptance-is-no-refusal", "refused", Some("not-about-this"), &one),
        vector("about-something-else", "refused", Some("not-about-this"), &log.receipt(&[0])),
        with("receipt-version-2", "form", |r| r.version = 2),
        with("receipt-without-entries", "form", |r| r.entries.clear()),
        with("receipt-17-entries", "form", |r| r.entries = vec![r.entries[0].clone(); 17]),
        with("receipt-entry-too-long", "form", |r| r.entries[0].entry.0.resize(4097, b' ')),
        with("receipt-path-too-long", "form", |r| r.entries[0].path = vec![Digest([0; 32]); 129]),
        with("entry-changed", "proof", |r| r.entries[0].entry.0[9] ^= 1),
        with("path-hash-changed", "proof", |r| r.entries[1].path[0].0[0] ^= 1),
        with("path-shorter", "proof", |r| _ = r.entries[1].path.pop()),
        with("path-longer", "proof", |r| r.entries[1].path.push(Digest([0; 32]))),
        with("index-of-a-neighbour", "proof", |r| r.entries[0].index = 3),
        with("index-past-the-end", "proof", |r| r.entries[0].index = 7),
        with("checkpoint-changed", "checkpoint", |r| {
            // Another digit of the root: the signature is over the text.
            let at = r.checkpoint.iter().position(|byte| *byte == b'\n').unwrap() + 4;
            r.checkpoint.0[at] = if r.checkpoint.0[at] == b'A' { b'B' } else { b'A' };
        }),
        with("checkpoint-unsigned", "checkpoint", |r| {
            let end = r.checkpoint.windows(2).position(|pair| pair == b"\n\n").unwrap();
            r.checkpoint.0.truncate(end + 1);
        }),
        signed_elsewhere("checkpoint-by-another-key", ORIGIN, &JW.key()),
        signed_elsewhere("checkpoint-of-another-log", "broker.example/uitwisseling/2025", &log_signer()),
        ReceiptFields {
            receipt: hex(&[&cbor::encode(&both)[..], &[0]].concat()),
            ..vector("receipt-trailing-byte", "accepted", Some("form"), &both)
        },
    ];
    LogAndReceipts {
        origin: ORIGIN.into(),
        log_seed: hex(&[0x10; 32]),
        log_key: log_text(),
        entries: log.entries.iter().map(|entry| String::from_utf8(entry.clone()).unwrap()).collect(),
        checkpoint: String::from_utf8(log.checkpoint(ORIGIN, &log_signer())).unwrap(),
        packet: hex(&bytes),
        refused_packet: REFUSED.to_string(),
        refused_reason: Refusal::UnknownFlow.number(),
        receipts,
    }
}
