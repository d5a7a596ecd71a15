//! The story the examples tell: two organisations, one packet, its log entries.

mod blocks;
mod tables;

use std::convert::Infallible;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Key};
use hpke::aead::AesGcm256;
use hpke::kdf::KdfShake256;
use hpke::kem::{Kem, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal_with_rng};
use std::sync::Arc;

use seinhuis_shared::case::{self, Act, Applied, CaseDecision, Stage};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::cose::{EK_LEN, WRAPPED_LEN, wrap_info};
use seinhuis_shared::covenant::agreement::{Counted, Vote, Word};
use seinhuis_shared::covenant::{
    Agreement, CaseRule, Category, Clause, Compiled, Covenant, Declared, FORMAT, Fate, Flow, Handling,
    InFlight, Level, MessageType, Party, Question, Role, Route, Size, Step, StepRule, check_body, evaluate,
};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::padding::padded_length;
use seinhuis_shared::packet::{
    Content, Context, Hpke, HpkeError, Packet, Plain, Recipient, SealRandomness, VERSION, open, seal,
};
use seinhuis_shared::prekey::{Prekey, PrekeyBundle, PrekeyPublic, PrekeySecret, SUITE};
use seinhuis_shared::receipt::{CheckpointCache, LogKey, ProvedEntry, Receipt};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::tlog::tree::{BatchTree, Frontier};
use seinhuis_shared::wire::{Acknowledged, Acknowledgement};
use zeroize::Zeroizing;

pub(crate) use blocks::blocks;

/// 2026-03-01T12:00:00Z.
const NOON: Timestamp = Timestamp(1_772_366_400_000);
const ORIGIN: &str = "broker.example/uitwisseling/2026";
const MEDIA_TYPE: &str = "application/json";
const BODY: &[u8] = br#"{"plaats":"Stationsplein"}"#;
const SCHEMA: &str = r#"{"additionalProperties":false,"properties":{"plaats":{"maxLength":80,"type":"string","x-category":"locatie"}},"required":["plaats"],"type":"object"}"#;
const GEMEENTE: (&str, u8) = ("00000099000000001000", 1);
const POLITIE: (&str, u8) = ("00000099000000002000", 2);
/// The recipient's X-Wing private key: a 32-byte seed.
const PREKEY_SEED: [u8; 32] = [0x51; 32];
/// ML-KEM's message and the ephemeral X25519 private key, which chance gives.
const ENCAPSULATION: [u8; 64] = [0xa1; 64];
const CHANCE: SealRandomness = SealRandomness { key: [0xb1; 32], iv: [0xb2; 12], salt: [0xb3; 32] };
/// What the key schedule gives for this story; [`Story::check`] proves it by opening the wrap with it.
const AEAD_KEY: &str = "c2d96e50ed569736dd816cb6538ff4904cab0af446249e6ea88bf2b6a8713557";
const BASE_NONCE: &str = "c608343e871aa4f01bd691ae";

fn oin(org: (&str, u8)) -> Oin {
    org.0.parse().unwrap()
}

fn key(org: (&str, u8)) -> SigningKey {
    SigningKey::from_seed(&[org.1; 32])
}

/// With which an organisation cosigns the log.
fn witness_key(org: (&str, u8)) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[org.1 + 100; 32])
}

/// A source that gives out known bytes, again and again.
struct Known([u8; 64]);

impl TryRng for Known {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for (to, from) in out.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
        Ok(())
    }
}

impl TryCryptoRng for Known {}

/// An independent HPKE whose encapsulation draws [`ENCAPSULATION`].
struct KnownHpke;

impl Hpke for KnownHpke {
    fn seal(
        &self,
        recipient: &PrekeyPublic,
        info: &[u8],
        key: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
        let public = <XWing as Kem>::PublicKey::from_bytes(recipient.as_bytes()).map_err(|_| HpkeError)?;
        let (ek, wrapped) = single_shot_seal_with_rng::<AesGcm256, KdfShake256, XWing>(
            &OpModeS::Base,
            &public,
            info,
            key,
            b"",
            &mut Known(ENCAPSULATION),
        )
        .map_err(|_| HpkeError)?;
        let ek = ek.to_bytes().as_slice().try_into().map_err(|_| HpkeError)?;
        Ok((ek, wrapped.as_slice().try_into().map_err(|_| HpkeError)?))
    }

    fn open(
        &self,
        secret: &PrekeySecret,
        ek: &[u8],
        info: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
        let secret = <XWing as Kem>::PrivateKey::from_bytes(&secret.0).map_err(|_| HpkeError)?;
        let ek = <XWing as Kem>::EncappedKey::from_bytes(ek).map_err(|_| HpkeError)?;
        single_shot_open::<AesGcm256, KdfShake256, XWing>(&OpModeR::Base, &secret, &ek, info, wrapped, b"")
            .ok()
            .and_then(|key| key.as_slice().try_into().ok())
            .map(Zeroizing::new)
            .ok_or(HpkeError)
    }
}

/// Everything the examples are taken from.
pub(crate) struct Story {
    covenant: Covenant,
    bundle: PrekeyBundle,
    context: Context,
    content: Content,
    packet: Vec<u8>,
    log: LogKey,
    entries: Vec<Vec<u8>>,
    refusal: Vec<u8>,
    /// The checkpoint after the first entry, and after the third.
    notes: [String; 2],
    receipt: Receipt,
    consistency: Vec<Digest>,
    acknowledgement: Acknowledgement,
    /// The municipality begins a case and, a minute later, closes it.
    decisions: [CaseDecision; 2],
}

fn prekey_public() -> PrekeyPublic {
    let secret = <XWing as Kem>::PrivateKey::from_bytes(&PREKEY_SEED).unwrap();
    PrekeyPublic::from_slice(&XWing::sk_to_pk(&secret).to_bytes()).unwrap()
}

fn own() -> Provenance {
    Provenance::own(oin(POLITIE), Handling::Partners)
}

fn plain(provenance: &Provenance) -> Plain<'_> {
    Plain { media_type: MEDIA_TYPE, provenance, body: BODY }
}

fn flow() -> Flow {
    Flow {
        id: "F02".into(),
        nl: "signaal van de politie".into(),
        en: "signal from the police".into(),
        types: vec!["signaal".into()],
        routes: vec![Route { from: vec![Role::Politie], to: vec![Role::Gemeente] }],
        steps: vec![Step::S1],
        levels: vec![Level::G],
        categories: vec!["locatie".into()],
        purpose: "signalering".into(),
        bases: vec!["avg_6_1_e".into()],
        case: CaseRule::Optional,
        decision: false,
        conditions: vec![],
        release: false,
        handling: Handling::Partners,
        max_recipients: 1,
        max_body: 4096,
        retention_days: Some(92),
        retention: "drie maanden".into(),
    }
}

fn covenant() -> Covenant {
    let day = |text: &str| Timestamp::parse(text).unwrap();
    let clause = |code: &str, nl: &str, en: &str| Clause { code: code.into(), nl: nl.into(), en: en.into() };
    let party = |org: (&str, u8), role: Role, name: &str| Party {
        oin: oin(org),
        role,
        name: name.into(),
        contact: format!("{role}@voorbeeldstad.example"),
        signing_keys: vec![Bytes(key(org).public().to_bytes().to_vec())],
        may_be_absent: false,
        joined: day("2026-01-01"),
        left: None,
        witness_key: Some(Bytes(witness_key(org).verifying_key().as_bytes().to_vec())),
    };
    Covenant {
        format: FORMAT,
        id: "voorbeeldstad".into(),
        version: 1,
        previous: None,
        title: "Convenant Voorbeeldstad".into(),
        owner: oin(GEMEENTE),
        valid_from: day("2026-01-01"),
        valid_until: day("2027-01-01"),
        evaluation: day("2026-10-01"),
        contact: "privacy@voorbeeldstad.example".into(),
        max_ttl: Span::days(30),
        max_body: 4096,
        log_retention_days: 1826,
        retention: "drie maanden".into(),
        overlap_days: 14,
        witness_quorum: 2,
        in_flight: InFlight { withdrawn: Fate::Freeze, superseded: Fate::Deliver, revoked: Fate::Shred },
        purposes: vec![clause("signalering", "signaleren", "signal")],
        bases: vec![clause("avg_6_1_e", "AVG 6 lid 1 onder e", "GDPR 6(1)(e)")],
        categories: vec![Category {
            code: "locatie".into(),
            level: Level::G,
            special: None,
            nl: "plaats".into(),
            en: "place".into(),
        }],
        types: vec![MessageType {
            code: "signaal".into(),
            nl: "signaal".into(),
            en: "signal".into(),
            schema: SCHEMA.into(),
        }],
        steps: vec![StepRule {
            step: Step::S1,
            nl: "signalen delen".into(),
            en: "share signals".into(),
            movers: vec![Role::Gemeente],
        }],
        conditions: vec![],
        flows: vec![flow()],
        decisions: vec![],
        witnesses: Vec::new(),
        informs: Vec::new(),
        parties: vec![
            party(GEMEENTE, Role::Gemeente, "Gemeente Voorbeeldstad"),
            party(POLITIE, Role::Politie, "Politie Voorbeeldstad"),
        ],
    }
}

fn bundle() -> PrekeyBundle {
    let from = NOON.minus(Span::hours(12));
    let prekey = Prekey { public: prekey_public(), not_before: from, not_after: from.plus(Span::hours(24)) };
    PrekeyBundle {
        version: 1,
        suite: SUITE,
        oin: oin(GEMEENTE),
        signer: key(GEMEENTE).public().thumbprint(),
        seq: from.0,
        issued: from,
        prekeys: vec![prekey],
    }
}

fn context(covenant: Digest) -> Context {
    let mut msg_id = [0; 16];
    msg_id[..6].copy_from_slice(&NOON.0.to_be_bytes()[2..]);
    msg_id[6..].copy_from_slice(&[0x70, 1, 0x80, 2, 3, 4, 5, 6, 7, 8]);
    let categories = ["locatie".to_owned()];
    Context {
        version: VERSION,
        msg_id: MsgId(msg_id),
        covenant,
        flow: "F02".into(),
        case: None,
        declared: Declared::new("signaal", Step::S1, Level::G, categories, "signalering", "avg_6_1_e")
            .unwrap(),
        sender: oin(POLITIE),
        signer: key(POLITIE).public().thumbprint(),
        recipients: vec![Recipient { oin: oin(GEMEENTE), prekey: prekey_public().id() }],
        seq: 1,
        prev: None,
        issued: NOON,
        expires: NOON.plus(Span::days(14)),
        in_reply_to: None,
        trace: TraceId([0x7a; 16]),
        commitment: Digest([0; 32]),
    }
}

/// The two decisions of a short case.
fn decisions(covenant: Digest) -> [CaseDecision; 2] {
    let first = CaseDecision {
        format: case::FORMAT,
        covenant,
        case: CaseId([0xca; 16]),
        seq: 0,
        previous: None,
        party: oin(GEMEENTE),
        act: Act::Step(Step::S1),
        issued: NOON,
    };
    let previous = Some(sha256(&first.sign(&key(GEMEENTE))));
    let issued = NOON.plus(Span::minutes(1));
    let second = CaseDecision { seq: 1, previous, act: Act::Close, issued, ..first.clone() };
    [first, second]
}

fn size_class(length: usize) -> Option<u64> {
    u64::try_from(padded_length(length)).ok()
}

fn accepted(packet: &Packet, at: Timestamp) -> Entry {
    let context = packet.context();
    let mut entry = Entry::new(Kind::Accepted, at, [0x5a; 16]);
    entry.msg_id = Some(context.msg_id);
    entry.from = Some(context.sender);
    entry.to = Some(oin(GEMEENTE));
    entry.recipients = Some(1);
    entry.key = Some(context.signer);
    entry.flow = Some(context.flow.clone());
    entry.covenant = Some(context.covenant);
    entry.message_type = Some(context.declared.message_type.clone());
    entry.step = Some(context.declared.step.to_string());
    entry.level = Some(context.declared.level.to_string());
    entry.categories = Some(context.declared.categories.join(" "));
    entry.purpose = Some(context.declared.purpose.clone());
    entry.basis = Some(context.declared.basis.clone());
    entry.trace = Some(context.trace);
    entry.packet = Some(packet.digest());
    entry.statement = Some(packet.statement_digest());
    entry.size_class = size_class(packet.content_length());
    entry.result = Some("accepted".into());
    entry
}

impl Story {
    pub(crate) fn new() -> Self {
        let covenant = covenant();
        let mut context = context(covenant.hash());
        let public = prekey_public();
        let packet =
            seal(&KnownHpke, &mut context, &[&public], plain(&own()), &CHANCE, &key(POLITIE)).unwrap().bytes;
        let parsed = Packet::parse(&packet).unwrap();
        let at = NOON.plus(Span(250));
        let mut start = Entry::new(Kind::Start, NOON.minus(Span::hours(1)), [0x58; 16]);
        start.detail = Some("started".into());
        let mut prekeys = Entry::new(Kind::Key, NOON.minus(Span::minutes(1)), [0x59; 16]);
        prekeys.subject = Some(oin(GEMEENTE));
        prekeys.detail = Some("prekeys".into());
        let entries: Vec<Vec<u8>> =
            [start, prekeys, accepted(&parsed, at)].iter().map(|entry| entry.to_bytes().unwrap()).collect();
        let mut refusal = Entry::new(Kind::Refused, at, [0x5b; 16]);
        refusal.from = Some(oin(POLITIE));
        refusal.packet = Some(parsed.digest());
        refusal.reason = Some(205);
        refusal.result = Some("refused".into());
        refusal.size_class = size_class(packet.len());

        let log_key = SigningKey::from_seed(&[9; 32]);
        let verifying = ed25519_dalek::VerifyingKey::from_bytes(&log_key.public().to_bytes()).unwrap();
        let log = LogKey { origin: ORIGIN.into(), key: VerifierKey::new(ORIGIN, verifying).unwrap() };
        let note = |tree: &BatchTree| {
            let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
            checkpoint.sign_with(&log.key, |bytes| log_key.sign(bytes)).unwrap().to_string()
        };
        let mut first = BatchTree::new(Frontier::empty());
        first.append(leaf_hash(&entries[0])).unwrap();
        let mut tree = BatchTree::new(first.tip().clone());
        for entry in &entries[1..] {
            tree.append(leaf_hash(entry)).unwrap();
        }
        let proved = ProvedEntry {
            index: 2,
            entry: Bytes(entries[2].clone()),
            path: tree.inclusion_proof(2).unwrap(),
        };
        let notes = [note(&first), note(&tree)];
        let receipt =
            Receipt { version: 1, checkpoint: Bytes(notes[1].clone().into_bytes()), entries: vec![proved] };
        let item = Acknowledged::stored(context.msg_id, parsed.digest(), 0, leaf_hash(&entries[2]));
        let acknowledgement =
            Acknowledgement { recipient: oin(GEMEENTE), issued: NOON.plus(Span(400)), items: vec![item] };
        let decisions = decisions(covenant.hash());
        Self {
            bundle: bundle(),
            decisions,
            content: Content::new(CHANCE.salt, plain(&own())),
            packet,
            log,
            refusal: refusal.to_bytes().unwrap(),
            consistency: tree.consistency_proof().unwrap(),
            notes,
            covenant,
            context,
            entries,
            receipt,
            acknowledgement,
        }
    }

    /// Everything a verifier would check, checked.
    pub(crate) fn check(&self) {
        let compiled = Compiled::new(self.covenant.clone()).unwrap();
        assert_eq!(Covenant::from_bytes(&self.covenant.to_bytes()).as_ref(), Ok(&self.covenant));
        let found = check_body(&compiled, "F02", &self.context.declared, BODY).unwrap();
        assert_eq!(found.level, Level::G);
        let recipients = self.context.recipient_oins();
        let question = Question {
            flow: "F02",
            sender: oin(POLITIE),
            recipients: &recipients,
            case: None,
            declared: &self.context.declared,
            now: NOON,
            issued: self.context.issued,
            expires: self.context.expires,
            size: Size::Sealed(u64::try_from(self.packet.len()).unwrap()),
        };
        assert!(evaluate(&compiled, &question).is_ok());
        let mut agreement = Agreement::new(Arc::new(Compiled::new(self.covenant.clone()).unwrap()));
        assert_eq!(agreement.cast(&self.vote(), NOON), Ok(Counted::New(Word::Accept)));
        assert!(agreement.is_bound(oin(POLITIE), NOON) && !agreement.in_force(NOON), "one has not signed");

        let keys = [key(GEMEENTE).public()];
        let signed = self.bundle.sign(&key(GEMEENTE));
        let bundle = PrekeyBundle::verify(&signed, &oin(GEMEENTE), &keys).unwrap();
        assert_eq!(bundle.usable(NOON).unwrap().public, prekey_public());

        let packet = Packet::parse(&self.packet).unwrap();
        let receipt = self.receipt.verify(&self.log, &mut CheckpointCache::default()).unwrap();
        assert_eq!(receipt.says_accepted(&packet), Ok(()));
        assert_eq!(Entry::parse(&self.refusal).unwrap().reason, Some(205));
        let packet = packet.verify(compiled.signing_key(oin(POLITIE), self.context.signer).unwrap()).unwrap();
        let secret = PrekeySecret(PREKEY_SEED.to_vec());
        let opened = open(&KnownHpke, &packet, &oin(GEMEENTE), |_| Some(&secret)).unwrap();
        assert_eq!((opened.media_type.as_str(), opened.body.as_slice()), (MEDIA_TYPE, BODY));

        let root = |note: &str| *Checkpoint::verify(note.as_bytes(), ORIGIN, &self.log.key).unwrap().root();
        let roots = [root(&self.notes[0]), root(&self.notes[1])];
        assert_eq!(verify_consistency(1, 3, &self.consistency, &roots[0], &roots[1]), Ok(()));
        let signed = self.acknowledgement.sign(&key(GEMEENTE));
        assert_eq!(Acknowledgement::verify(&signed, &keys).unwrap().acknowledgement, self.acknowledgement);
        self.check_schedule();
        self.check_case(&compiled);
    }

    fn check_case(&self, compiled: &Compiled) {
        let mut state = None;
        for decision in &self.decisions {
            let bytes = decision.sign(&key(GEMEENTE));
            let key = |oin, kid| compiled.signing_key(oin, kid).copied();
            assert_eq!(case::apply(&mut state, &bytes, key, compiled, decision.issued), Ok(Applied::Now));
        }
        assert_eq!(state.unwrap().now().stage(), Stage::Closed);
    }

    /// The AEAD key and nonce in the document open the wrap in the document.
    fn check_schedule(&self) {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(<[u8; 32]>::try_from(hex(AEAD_KEY)).unwrap()));
        let nonce = <[u8; 12]>::try_from(hex(BASE_NONCE)).unwrap();
        let (_, wrapped) = self.wrap();
        let cek = cipher.decrypt(&nonce.into(), wrapped.as_slice()).unwrap();
        assert_eq!(cek, CHANCE.key);
    }

    /// The police accept the covenant.
    fn vote(&self) -> Vec<u8> {
        let vote = Vote {
            format: 1,
            covenant: self.covenant.hash(),
            party: oin(POLITIE),
            word: Word::Accept,
            issued: NOON,
            reason: String::new(),
        };
        vote.sign(&key(POLITIE))
    }

    fn info(&self) -> Vec<u8> {
        wrap_info(prekey_public().id(), &self.context.to_bytes())
    }

    fn wrap(&self) -> ([u8; EK_LEN], [u8; WRAPPED_LEN]) {
        KnownHpke.seal(&prekey_public(), &self.info(), &CHANCE.key).unwrap()
    }

    /// X-Wing's shared secret.
    fn shared_secret(&self) -> Vec<u8> {
        let secret = <XWing as Kem>::PrivateKey::from_bytes(&PREKEY_SEED).unwrap();
        let ek = <XWing as Kem>::EncappedKey::from_bytes(&self.wrap().0).unwrap();
        XWing::decap(&secret, None, &ek).unwrap().0.to_vec()
    }
}
