//! Frames, messages, packets, bundles and requests.

use seinhuis_fuzz_checks::{covenant, known, rotation};
use seinhuis_shared::acknowledgement::{Part, Statement};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{EK_LEN, Encrypt, Purpose, Sign1, WRAPPED_LEN, Wrap};
use seinhuis_shared::covenant::agreement::{Cast, Vote, Word};
use seinhuis_shared::covenant::{Declared, Handling, Level, Step};
use seinhuis_shared::enrol::{EnrolRequest, NodeKind};
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, TraceId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{
    Content, Context, Hpke, HpkeError, Plain, Recipient, SealRandomness, VERSION, seal,
};
use seinhuis_shared::prekey::{PUBLIC_LEN, Prekey, PrekeyBundle, PrekeyPublic, PrekeySecret, SUITE};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Rotated, Rotation};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{
    Acknowledged, Acknowledgement, Agreements, Case, CaseHead, Cases, Consistency, Consume, Covenant,
    Decided, Deferred, Entries, FetchCase, FetchConsistency, FetchCovenant, FetchEntries, FetchPrekeys,
    FetchSuccession, Hello, Known, Message as _, Notices, NoticesTaken, Offer, Prekeys, Refuse, Rotations,
    Succession, Verdict, Welcome, Withdrawal,
};
use zeroize::Zeroizing;

use super::{Seed, cut, log, longer, no, ok};

/// No HPKE at all: nobody opens these packets, their form is what counts.
struct Still;

impl Hpke for Still {
    fn seal(
        &self,
        _: &PrekeyPublic,
        _: &[u8],
        _: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
        Ok(([0xee; EK_LEN], [0xcc; WRAPPED_LEN]))
    }

    fn open(&self, _: &PrekeySecret, _: &[u8], _: &[u8], _: &[u8]) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
        Err(HpkeError)
    }
}

fn public(fill: u8) -> PrekeyPublic {
    PrekeyPublic::from_slice(&[fill; PUBLIC_LEN]).unwrap()
}

pub(super) fn context(recipients: &[u8]) -> Context {
    let categories = ["locatie", "tijdpatroon"].map(str::to_owned);
    let recipient = |fill: &u8| Recipient {
        oin: format!("0000009900000000{fill}000").parse().unwrap(),
        prekey: public(*fill).id(),
    };
    Context {
        version: VERSION,
        msg_id: MsgId([1; 16]),
        covenant: Digest([2; 32]),
        flow: "F01".into(),
        case: Some(CaseId([3; 16])),
        declared: Declared::new("signaal", Step::S1, Level::G, categories, "signalering", "avg_6_1_e")
            .unwrap(),
        sender: known::oin(),
        signer: known::signer().public().thumbprint(),
        recipients: recipients.iter().map(recipient).collect(),
        seq: 2,
        prev: Some(Digest([4; 32])),
        issued: Timestamp(known::NOON),
        expires: Timestamp(known::NOON).plus(Span::days(14)),
        in_reply_to: None,
        trace: TraceId([5; 16]),
        commitment: Digest([6; 32]),
    }
}

fn own() -> Provenance {
    Provenance::own(known::oin(), Handling::Partners)
}

/// Passed on, with something in place of a consent.
fn onward() -> Provenance {
    Provenance { source: Some(Digest([6; 32])), consent: Some(Bytes::from(&[7; 90][..])), ..own() }
}

fn plain<'a>(provenance: &'a Provenance, body: &'a [u8]) -> Plain<'a> {
    Plain { media_type: "application/json", provenance, body }
}

fn packet(recipients: &[u8]) -> Vec<u8> {
    let keys: Vec<PrekeyPublic> = recipients.iter().copied().map(public).collect();
    let keys: Vec<&PrekeyPublic> = keys.iter().collect();
    let chance = SealRandomness { key: [7; 32], iv: [8; 12], salt: [9; 32] };
    let body = br#"{"locatie":"plein"}"#;
    let mut context = context(recipients);
    seal(&Still, &mut context, &keys, plain(&own(), body), &chance, &known::signer()).unwrap().bytes
}

fn encrypted(recipients: &[u8]) -> Vec<u8> {
    let wrap = |fill: &u8| Wrap {
        prekey: public(*fill).id(),
        ek: Bytes(vec![0xee; EK_LEN]),
        wrapped: Bytes(vec![0xcc; WRAPPED_LEN]),
    };
    let wraps = recipients.iter().map(wrap).collect();
    Encrypt { iv: [8; 12], ciphertext: Bytes(vec![0xdd; 272]), wraps }.to_bytes()
}

fn parts(context: &Context, sealed: &[u8]) -> Vec<u8> {
    let context = context.to_bytes();
    let length = u16::try_from(context.len()).unwrap();
    [&length.to_be_bytes()[..], &context, sealed].concat()
}

pub(super) fn bundle() -> PrekeyBundle {
    let prekey = |fill: u8, from: u64| Prekey {
        public: public(fill),
        not_before: Timestamp(from),
        not_after: Timestamp(from).plus(Span::days(1)),
    };
    PrekeyBundle {
        version: 1,
        suite: SUITE,
        oin: known::oin(),
        signer: known::signer().public().thumbprint(),
        seq: 1,
        issued: Timestamp(known::NOON),
        prekeys: vec![prekey(1, known::NOON), prekey(2, known::NOON + 86_400_000)],
    }
}

fn request(kind: NodeKind, hosts: &[&str]) -> Vec<u8> {
    let request = EnrolRequest {
        kind,
        oin: known::oin(),
        name: "Gemeente Voorbeeldstad".into(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        signing_key: known::signer().public(),
        csr: vec![0x30, 0x00],
        issued: Timestamp(known::NOON),
    };
    request.sign(&known::signer())
}

fn payload(signed: &[u8]) -> Vec<u8> {
    Sign1::parse(signed, signed.len()).unwrap().unverified_payload().to_vec()
}

fn acknowledgement(items: usize) -> Acknowledgement {
    let item = Acknowledged::stored(MsgId([1; 16]), Digest([2; 32]), 0, Digest([3; 32]));
    Acknowledgement { recipient: known::oin(), issued: Timestamp(known::NOON), items: vec![item; items] }
}

fn vote(word: Word, reason: &str) -> Vote {
    let votable = covenant::votable();
    let key = known::signer().public().thumbprint();
    let parties = &votable.covenant().parties;
    let party = parties.iter().find(|party| votable.signing_key(party.oin, key).is_some()).unwrap().oin;
    let (covenant, issued) = (votable.hash(), Timestamp(known::NOON));
    Vote { format: 1, covenant, party, word, issued, reason: reason.into() }
}

fn votes() -> Vec<Seed> {
    let accept = vote(Word::Accept, "besluit van het college");
    let signed = accept.sign(&known::signer());
    let spoiled = |change: fn(&mut Vote)| {
        let mut vote = accept.clone();
        change(&mut vote);
        cbor::encode(&vote)
    };
    let mut seeds: Vec<Seed> = [Word::Accept, Word::Reject, Word::Withdraw]
        .into_iter()
        .map(|word| ok("vote", word.as_str(), vote(word, "").sign(&known::signer())))
        .collect();
    seeds.extend([
        ok("vote", "payload", cbor::encode(&accept)),
        no("vote", "other-format", spoiled(|vote| vote.format = 2)),
        no("vote", "other-covenant", spoiled(|vote| vote.covenant = Digest([9; 32]))),
        no("vote", "other-party", spoiled(|vote| vote.party = "00000099000000099999".parse().unwrap())),
        no("vote", "two-lines", spoiled(|vote| vote.reason = "a\nb".into())),
        no("vote", "long-reason", spoiled(|vote| vote.reason = "x".repeat(257))),
        no("vote", "longer", longer(&signed)),
        no("vote", "cut", cut(&signed)),
        no("vote", "empty", []),
    ]);
    seeds
}

fn rotations() -> Vec<Seed> {
    let (old, new) = (known::signer(), rotation::next());
    let first = Rotation {
        party: known::oin(),
        seq: 1,
        previous: None,
        old: old.public(),
        new: new.public(),
        issued: Timestamp(known::NOON),
    };
    let later = Rotation { seq: 2, previous: Some(Digest([7; 32])), ..first.clone() };
    let statement = |rotation: &Rotation| {
        let signed = rotation.sign(&old, &new);
        let inner = Sign1::parse(&signed, signed.len()).unwrap().unverified_payload().to_vec();
        Sign1::parse(&inner, inner.len()).unwrap().unverified_payload().to_vec()
    };
    let signed = first.sign(&old, &new);
    let spoiled = |change: fn(&mut Rotation)| {
        let mut rotation = first.clone();
        change(&mut rotation);
        statement(&rotation)
    };
    vec![
        ok("rotation", "first", signed.clone()),
        ok("rotation", "later", later.sign(&old, &new)),
        ok("rotation", "statement", statement(&first)),
        no("rotation", "swapped", first.sign(&new, &old)),
        no("rotation", "no-place", spoiled(|rotation| rotation.seq = 0)),
        no("rotation", "first-that-follows", spoiled(|rotation| rotation.previous = Some(Digest([7; 32])))),
        no("rotation", "one-key-twice", spoiled(|rotation| rotation.new = rotation.old)),
        no("rotation", "longer", longer(&signed)),
        no("rotation", "cut", cut(&signed)),
        no("rotation", "empty", []),
    ]
}

/// A framed message under its name.
type Framed = (&'static str, Result<Vec<u8>, Refusal>);

fn statement() -> Statement {
    let item = acknowledgement(1).items[0].consumed();
    Acknowledgement::sign_one(known::oin(), Timestamp(known::NOON), item, &known::signer())
}

fn withdrawal() -> Withdrawal {
    Withdrawal {
        version: 1,
        sender: known::oin(),
        msg_id: MsgId([1; 16]),
        packet: Digest([2; 32]),
        issued: Timestamp(known::NOON),
        reason: "onjuist".into(),
    }
}

/// What is said of single packets after their verdicts.
fn afterwards() -> Vec<Framed> {
    let statement = statement();
    let part = Part {
        signed: statement.signed.clone(),
        places: vec![0],
        items: vec![statement.item],
        proof: vec![],
    };
    let proved = log::receipt();
    let notices = Notices {
        cursor: 1,
        checkpoint: proved.checkpoint.clone(),
        indexes: vec![1],
        entries: vec![proved.entries[0].entry.clone()],
        proof: proved.entries[0].path.clone(),
        parts: vec![part],
    };
    let entries = Entries { checkpoint: proved.checkpoint, entries: proved.entries, next: Some(9) };
    let fetch = FetchEntries {
        origin: Some(known::ORIGIN.into()),
        first: 7,
        one: false,
        from: Some(Timestamp(known::NOON)),
        until: None,
        kind: Some("delivered".into()),
        flow: None,
    };
    vec![
        ("notices", notices.to_frame()),
        ("notices-taken", NoticesTaken { cursor: 300 }.to_frame()),
        ("consume", Consume { statement, origin: known::ORIGIN.into(), accepted: 300 }.to_frame()),
        ("fetch-entries", fetch.to_frame()),
        ("entries", entries.to_frame()),
        ("acknowledge", frame::encode(Kind::Acknowledge, &acknowledgement(2).sign(&known::signer()))),
    ]
}

/// What agent and broker say of logs.
fn logs() -> [(&'static str, Result<Vec<u8>, Refusal>); 3] {
    [
        (
            "fetch-consistency",
            FetchConsistency { origin: "broker.example/uitwisseling/2026".into(), sizes: vec![1, 300] }
                .to_frame(),
        ),
        (
            "fetch-succession",
            FetchSuccession { origin: "broker.example/uitwisseling/2026".into(), size: 300 }.to_frame(),
        ),
        (
            "succession",
            Succession {
                origin: "broker.example/uitwisseling/2027".into(),
                closing: Bytes(vec![1, 2]),
                opening: Bytes(vec![3]),
                proof: vec![Digest([4; 32])],
            }
            .to_frame(),
        ),
    ]
}

fn messages() -> Vec<Seed> {
    let (digest, oin, text) = (Digest([2; 32]), known::oin(), "seinhuis/0.1.0".to_owned());
    let receipt = Bytes(log::receipt().to_bytes());
    let welcome = Welcome {
        version: 1,
        software: text.clone(),
        origin: known::ORIGIN.into(),
        log_key: known::log().key.to_string(),
        now: Timestamp(known::NOON),
        checkpoint: receipt.clone(),
        agreements: vec![Known { hash: digest, votes: 3, rotations: 1 }],
    };
    let cast = Cast { vote: Bytes(vec![1; 90]), at: Timestamp(known::NOON) };
    let rotated = Rotated { rotation: Bytes(vec![1; 90]), at: Timestamp(known::NOON) };
    let covenant =
        Covenant { document: Bytes(vec![1; 30]), casts: vec![cast], rotations: vec![rotated.clone()] };
    let decided = Decided { decision: Bytes(vec![1; 90]), at: Timestamp(known::NOON) };
    let framed = vec![
        ("hello", Hello { version: 1, software: text, cosigned: Bytes(vec![1; 9]) }.to_frame()),
        ("welcome", welcome.to_frame()),
        ("refuse", Refuse { reason: 301, retry_after: Some(1000) }.to_frame()),
        ("verdict", Verdict { packet: digest, outcome: 0, receipt: receipt.clone() }.to_frame()),
        ("deferred", Deferred { packet: digest, reason: 501, retry_after: 1000 }.to_frame()),
        ("offer", Offer { packet: Bytes(vec![1; 30]), receipt }.to_frame()),
        ("fetch-prekeys", FetchPrekeys { oins: vec![oin] }.to_frame()),
        ("prekeys", Prekeys { bundles: vec![(oin, Bytes(vec![1; 30]))] }.to_frame()),
        ("fetch-covenant", FetchCovenant { hash: digest }.to_frame()),
        (
            "agreements",
            Agreements { agreements: vec![Known { hash: digest, votes: 2, rotations: 0 }] }.to_frame(),
        ),
        ("fetch-case", FetchCase { case: CaseId([3; 16]) }.to_frame()),
        ("cases", Cases { cases: vec![CaseHead { case: CaseId([3; 16]), decisions: 2 }] }.to_frame()),
        ("case", Case { decisions: vec![decided] }.to_frame()),
        ("covenant", covenant.to_frame()),
        ("rotations", Rotations { rotations: vec![rotated] }.to_frame()),
        ("consistency", Consistency { proofs: vec![vec![digest], vec![]] }.to_frame()),
    ];
    let mut seeds = Vec::new();
    for (name, frame) in framed.into_iter().chain(afterwards()).chain(logs()) {
        let frame = frame.unwrap();
        seeds.push(ok("wire", name, &frame[frame::HEADER_LEN..]));
        seeds.push(ok("frame", name, frame));
    }
    let hello = cbor::encode(&(1, "seinhuis"));
    seeds.extend([
        ok("frame", "done", frame::encode(Kind::Done, &[]).unwrap()),
        no("frame", "unknown-kind", [0, 0, 0, 1, 0]),
        no("frame", "no-length", [0, 0, 0, 0, 1]),
        no("frame", "over-its-bound", [0, 0, 4, 2, 1]),
        no("frame", "cut", [0, 0, 0, 3, 1, 0x82]),
        no("wire", "trailing-byte", longer(&hello)),
        no("wire", "longer-integer", [&[0x82, 0x18, 0x01], &hello[2..]].concat()),
        no("wire", "indefinite-array", [&[0x9f], &hello[1..], &[0xff]].concat()),
        no("wire", "bomb", [0x82, 0x01, 0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        no("wire", "deep", vec![0x81; 40]),
        no("wire", "no-items", acknowledgement(0).sign(&known::signer())),
        ok("wire", "statement", statement().to_bytes()),
        ok("wire", "withdrawal", cbor::encode(&withdrawal())),
    ]);
    seeds
}

fn packets() -> Vec<Seed> {
    let one = packet(&[2]);
    let (sealed, hidden) = (encrypted(&[2]), encrypted(&[2, 3]));
    let content = Content::new([9; 32], plain(&own(), b"{}")).to_bytes();
    let mut dirty = content.clone();
    dirty[content.len() - 1] = 1;
    let signed = Sign1::sign(&known::signer(), Purpose::Packet, b"payload");
    let mut other = context(&[2]);
    other.version = 2;
    vec![
        ok("packet", "one-recipient", &*one),
        ok("packet", "two-recipients", packet(&[2, 3])),
        no("packet", "trailing-byte", longer(&one)),
        no("packet", "cut", cut(&one)),
        no("packet", "empty", []),
        ok("packet_parts", "one-recipient", parts(&context(&[2]), &sealed)),
        ok("packet_parts", "two-recipients", parts(&context(&[2, 3]), &hidden)),
        no("packet_parts", "hidden-recipient", parts(&context(&[2]), &hidden)),
        no("packet_parts", "other-version", parts(&other, &sealed)),
        no("packet_parts", "no-recipient", parts(&context(&[]), &encrypted(&[]))),
        no("packet_parts", "recipient-twice", parts(&context(&[2, 2]), &encrypted(&[2, 2]))),
        ok("content", "short", &*content),
        ok(
            "content",
            "long",
            Content::new([9; 32], Plain { media_type: "text/plain", ..plain(&onward(), &[b'x'; 700]) })
                .to_bytes(),
        ),
        no("content", "dirty-padding", dirty),
        no("content", "longer", longer(&content)),
        ok("encrypt", "one", &*sealed),
        ok("encrypt", "none", encrypted(&[])),
        no("encrypt", "cut", cut(&sealed)),
        no("encrypt", "no-tag", &sealed[2..]),
        ok("sign1", "packet", &*signed),
        ok("sign1", "empty", Sign1::sign(&known::signer(), Purpose::Enrolment, b"")),
        no("sign1", "no-tag", &signed[1..]),
        no("sign1", "cut", cut(&signed)),
        no("sign1", "other-algorithm", [&signed[..6], &[0x27], &signed[7..]].concat()),
    ]
}

fn bundles() -> Vec<Seed> {
    let good = bundle().sign(&known::signer());
    let mut edited = bundle();
    edited.prekeys.reverse();
    let unordered = cbor::encode(&edited);
    edited.prekeys.clear();
    let agent = request(NodeKind::Agent, &[]);
    vec![
        ok("prekeys", "signed", &*good),
        ok("prekeys", "payload", cbor::encode(&bundle())),
        no("prekeys", "unordered", unordered),
        no("prekeys", "none", cbor::encode(&edited)),
        no("prekeys", "cut", cut(&good)),
        ok("enrolment", "agent", &*agent),
        ok("enrolment", "broker", request(NodeKind::Broker, &["broker.example", "::1"])),
        ok("enrolment", "payload", payload(&agent)),
        no("enrolment", "too-many-hosts", payload(&request(NodeKind::Broker, &["a"; 9]))),
        no("enrolment", "control-character", payload(&request(NodeKind::Broker, &["a\u{1b}[2J"]))),
        no("enrolment", "cut", cut(&agent)),
    ]
}

pub(super) fn all() -> Vec<Seed> {
    [messages(), rotations(), votes(), packets(), bundles()].into_iter().flatten().collect()
}
