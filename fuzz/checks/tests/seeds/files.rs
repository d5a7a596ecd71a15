//! Journal records, rows, grants, cards, certificates and configuration.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519, SerialNumber,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use seinhuis_agent_core::rows::{
    ActRow, AlarmRow, BundleRow, CaseEnd, ChainRow, CorrectionKind, CorrectionRow, CorrectionState,
    ErasedRow, Ground, MarkRow, Noted, OwnPrekeyRow, PeerRow, PinRow, ProposalRow, RotationRow, WordRow,
};
use seinhuis_agent_core::{AlarmKind, Write as AgentWrite};
use seinhuis_broker_core::{Change, Head, MailItem, NoticeRow, Outcome, Partner, Write as BrokerWrite};
use seinhuis_fuzz_checks::known;
use seinhuis_journal::BlobId;
use seinhuis_journal::record::{Body, Frame, Kind as Record, RowRef, Salt, Sum, encode};
use seinhuis_journal::segment::SegmentHeader;
use seinhuis_shared::case::Act;
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::agreement::{Cast, Word};
use seinhuis_shared::ids::{CaseId, Digest, MsgId};
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::sealed_key::{Cost, NONCE, SALT, SealedKey};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::Decided;
use seinhuis_shell::grant::{BrokerCard, CardFormat, Grant, GrantFormat, Kind};
use seinhuis_shell::tls;
use time::{Duration, OffsetDateTime};

use super::signed::bundle;
use super::{Seed, changed, cut, longer, no, ok};

/// One record with two rows, a blob and a drop, and one that closes.
fn records(salt: &Salt, at: usize, first: Sum) -> (Vec<u8>, Vec<u8>) {
    let frame = |kind, sequence, previous, offset| Frame { kind, sequence, oldest: 1, previous, offset };
    let rows = vec![
        RowRef { table: 1, key: b"key", value: Some(b"value") },
        RowRef { table: 2, key: b"gone", value: None },
        RowRef { table: 3, key: b"long", value: Some(&[0x5a; 257]) },
    ];
    let drops = [BlobId([5; 32])];
    let body = Body { rows, blobs: vec![(BlobId([4; 32]), b"a blob")], drops: &drops };
    let (mut turn, mut close) = (Vec::new(), Vec::new());
    let at = |length: usize| u64::try_from(at + length).unwrap();
    let encoded = encode(&body, frame(Record::Turn, 1, first, at(0)), salt, &mut turn);
    let closing = frame(Record::Close, 2, encoded.sum, at(turn.len()));
    encode(&Body::default(), closing, salt, &mut close);
    (turn, close)
}

fn journal() -> Vec<Seed> {
    let salt = Salt::new(3, Sum::of(b"before"));
    let (turn, _) = records(&salt, 0, Sum::of(b"previous"));
    let mut directory = turn.clone();
    directory[88] = 9;
    let mut reserved = turn.clone();
    reserved[6] = 1;
    let mut header = SegmentHeader {
        number: 3,
        first_sequence: 1,
        capacity: 1024,
        oldest: 1,
        opening: Sum::of(b"before"),
    };
    let (one, two) = records(&salt, 128, header.opening);
    let file = |header: &SegmentHeader, parts: &[&[u8]]| {
        let mut file = [&[&header.encode()[..]], parts].concat().concat();
        file.resize(1024, 0);
        file
    };
    let mut behind = file(&header, &[&one, &two]);
    behind[240] ^= 1;
    let whole = file(&header, &[&one, &two]);
    let empty = file(&header, &[]);
    let torn = file(&header, &[&one[..100]]);
    let later = [13, 103].map(|at| {
        let mut later = whole.clone();
        later[at] = 1;
        let sum = Sum::of(&later[..104]);
        later[104..120].copy_from_slice(&sum.0);
        later
    });
    let [version, fields] = later;
    header.capacity = 1025;
    vec![
        ok("journal_record", "turn", &*turn),
        no("journal_record", "reserved-bytes", reserved),
        no("journal_record", "zeros", [0; 128]),
        no("journal_record", "directory", directory),
        no("journal_record", "cut", cut(&turn)),
        ok("journal_segment", "two-records", whole),
        ok("journal_segment", "empty", empty),
        no("journal_segment", "reserved-bytes-early", version),
        no("journal_segment", "reserved-bytes-late", fields),
        no("journal_segment", "torn", torn),
        no("journal_segment", "damaged-with-a-record-behind", behind),
        no("journal_segment", "other-length", file(&header, &[&one])),
        no("journal_segment", "no-segment", [1; 1024]),
    ]
}

fn row(table: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    [&[table, u8::try_from(key.len()).unwrap()], key, value].concat()
}

/// Rows about what is said of a message after it was sent.
fn later_rows() -> [(&'static str, AgentWrite); 3] {
    let correction = CorrectionRow {
        about: MsgId([1; 16]),
        kind: CorrectionKind::Withdrawal,
        recipient: known::oin(),
        covenant: Digest([1; 32]),
        step: "2B".into(),
        state: CorrectionState::Refused,
        since: Timestamp(4),
        message: Some(MsgId([2; 16])),
        earlier: vec![MsgId([3; 16])],
        until: Timestamp(known::NOON),
        times: 2,
        settled: Some(Timestamp(5)),
        outcome: 0,
        code: "niet_te_verwerken".into(),
    };
    let noted = Noted { by: MsgId([2; 16]), at: Timestamp(known::NOON) };
    let case_end = Some(CaseEnd { case: CaseId([3; 16]), at: Timestamp(known::NOON) });
    let mark = MarkRow { corrected: vec![noted], withdrawn: Some(noted), effect: Some(445), case_end };
    let erased = ErasedRow {
        at: Timestamp(4),
        ground: Ground::CaseEnded,
        overwritten: Some(Timestamp(5)),
        confirmation: Some(MsgId([4; 16])),
        outcome: 0,
    };
    [
        ("correction", AgentWrite::Correction(1, Box::new(correction))),
        ("mark", AgentWrite::Mark(1, Box::new(mark))),
        ("erased", AgentWrite::Erased(1, erased)),
    ]
}

fn agent_rows() -> Vec<Seed> {
    let (chain, own) = (ChainRow { seq: 7, packet: Digest([1; 32]) }, bundle().prekeys.remove(0));
    let signed = Bytes(bundle().sign(&known::signer()));
    let id = own.public.id();
    let prekey = OwnPrekeyRow {
        public: own.public,
        not_before: own.not_before,
        not_after: own.not_after,
        secret: Bytes(vec![1; 60]),
    };
    let cast = Cast { vote: Bytes(vec![1; 90]), at: Timestamp(known::NOON) };
    let word = WordRow { word: Word::Accept, reason: "akkoord".into(), since: Timestamp(4), refused: 425 };
    let rotated = Rotated { rotation: Bytes(vec![1; 90]), at: Timestamp(known::NOON) };
    let turning = RotationRow { new: Bytes(vec![1; 32]), since: Timestamp(4), urgent: true, refused: 432 };
    let decided = Decided { decision: Bytes(vec![1; 90]), at: Timestamp(known::NOON) };
    let act = ActRow {
        covenant: Digest([1; 32]),
        seq: 1,
        previous: Some(Digest([2; 32])),
        act: Act::Condition { code: "strafrechtelijk".into(), holds: true },
        since: Timestamp(4),
        refused: 420,
    };
    let alarm = AlarmRow { kind: AlarmKind::LogForked, at: Timestamp(known::NOON), detail: "5 and 5".into() };
    let writes = [
        ("meta", AgentWrite::Meta),
        ("draft", AgentWrite::Draft(1, Some(vec![1; 60]))),
        ("chain", AgentWrite::Chain("F01".into(), chain)),
        ("seen", AgentWrite::Seen(known::oin(), "F01".into(), chain)),
        ("pin", AgentWrite::Pin(PinRow { size: 5, root: Digest([1; 32]), forked: false })),
        ("alarm", AgentWrite::Alarm(1, alarm)),
        ("own-prekey", AgentWrite::OwnPrekey(id, Some(Box::new(prekey)))),
        (
            "bundle",
            AgentWrite::Bundle(Box::new(BundleRow { seq: 1, bundle: signed.clone(), published: true })),
        ),
        ("votes", AgentWrite::Votes(Digest([1; 32]), vec![cast.clone()])),
        ("rotation", AgentWrite::Rotation(Some(Box::new(turning)))),
        ("keys", AgentWrite::Keys(known::oin(), vec![rotated])),
        ("word", AgentWrite::Word(Digest([1; 32]), Some(Box::new(word)))),
        (
            "proposal",
            AgentWrite::Proposal(Digest([1; 32]), Some(ProposalRow { since: Timestamp(4), refused: 0 })),
        ),
        ("case", AgentWrite::Case(CaseId([3; 16]), vec![decided])),
        ("act", AgentWrite::Act(CaseId([3; 16]), Some(Box::new(act)))),
        ("peer", AgentWrite::Peer(known::oin(), Box::new(PeerRow { seq: 1, bundle: signed }))),
    ];
    let rows: Vec<_> =
        writes.into_iter().chain(later_rows()).map(|(name, write)| (name, write.row())).collect();
    let seeds = rows.iter().map(|(name, one)| {
        ok("agent_rows", name, row(one.table, &one.key, one.value.as_deref().unwrap_or_default()))
    });
    let bad = [
        no("agent_rows", "unknown-table", row(99, &[], &[])),
        no("agent_rows", "short-key", row(1, &[0; 7], &[0x80])),
        no("agent_rows", "other-format", row(0, &[], &[2])),
    ];
    seeds.chain(bad).collect()
}

/// What a partner has not been told, and how a packet ended.
fn broker_later() -> [Seed; 4] {
    let recipient = [known::oin().as_str().as_bytes(), &7_u64.to_be_bytes()].concat();
    let notice =
        NoticeRow { until: Timestamp(9), end: 8, note: Bytes(vec![1; 9]), positions: vec![7], parts: vec![] };
    let end = cbor::encode(&(3, Digest([2; 32]), 7, Timestamp(9)));
    let other = NoticeRow { positions: vec![6, 7], ..notice.clone() };
    [
        ok("broker_rows", "notice", row(15, &recipient, &cbor::encode(&notice))),
        ok("broker_rows", "end", row(16, &recipient, &end)),
        no("broker_rows", "notice-other-index", row(15, &recipient, &cbor::encode(&other))),
        no("broker_rows", "end-longer", row(16, &recipient, &longer(&end))),
    ]
}

fn broker_rows() -> Vec<Seed> {
    let oin = known::oin();
    let partner = Partner {
        name: "Politie".into(),
        key: known::signer().public(),
        added: Timestamp(1),
        revoked: Some(Timestamp(2)),
    };
    let item = MailItem {
        index: 7,
        leaf: Digest([6; 32]),
        msg_id: MsgId([1; 16]),
        packet: Digest([2; 32]),
        size: 3,
        from: oin,
        covenant: Digest([3; 32]),
        flow: "F01".into(),
        case: None,
        expires: Timestamp(9),
    };
    let (msg_id, packet) = (item.msg_id, item.packet);
    let outcome = Outcome { sender: oin, msg_id, packet, outcome: 0, first: 7, count: 1 };
    let head = Head { size: 8, root: Digest([4; 32]), time: Timestamp(5), note: Bytes(vec![1; 9]) };
    let writes = [
        ("partner", BrokerWrite::Partner { oin, partner }),
        ("prekeys", BrokerWrite::Prekeys { oin, seq: 3, bytes: vec![1, 2] }),
        ("covenant", BrokerWrite::Covenant { hash: Digest([3; 32]), bytes: vec![1], proposer: Some(oin) }),
        (
            "vote",
            BrokerWrite::Vote {
                hash: Digest([3; 32]),
                number: 1,
                cast: Cast { vote: Bytes(vec![1; 90]), at: Timestamp(4) },
            },
        ),
        (
            "rotation",
            BrokerWrite::Rotation {
                party: oin,
                number: 1,
                rotated: Rotated { rotation: Bytes(vec![1; 90]), at: Timestamp(4) },
            },
        ),
        (
            "decision",
            BrokerWrite::Decision {
                case: CaseId([3; 16]),
                seq: 1,
                decided: Decided { decision: Bytes(vec![1; 90]), at: Timestamp(4) },
            },
        ),
        ("outcomes", BrokerWrite::Outcomes { first: 7, keep_until: Timestamp(9), outcomes: vec![outcome] }),
        ("mail", BrokerWrite::Deposit { recipient: oin, item }),
        ("entries", BrokerWrite::Entries { first: 7, entries: vec![vec![3], vec![4, 5]] }),
        ("head", BrokerWrite::Head(head)),
    ];
    let seeds = writes.into_iter().map(|(name, write)| {
        let Change::Put { table, key, value } = write.change() else { panic!("{name} is a row") };
        ok("broker_rows", name, row(table, &key, &value))
    });
    let bad = [
        no("broker_rows", "unknown-table", row(99, &[], &[])),
        no("broker_rows", "short-key", row(5, b"short", &[0x80])),
        no("broker_rows", "no-oin", row(1, &[b' '; 20], &[0x80])),
    ];
    seeds.chain(bad).chain(broker_later()).collect()
}

/// A key from a fixed seed, in PKCS #8 (RFC 8410 §7).
fn pair(seed: u8) -> KeyPair {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = [&head[..], &[seed; 32]].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519).unwrap()
}

fn at(days: i64) -> OffsetDateTime {
    let noon = i64::try_from(known::NOON / 1000).unwrap();
    OffsetDateTime::from_unix_timestamp(noon).unwrap() + Duration::days(days)
}

/// CA, leaf and revocation list, in PEM.
fn authority() -> [String; 3] {
    let named = |kind: DnType, text: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(kind, text);
        params.serial_number = Some(SerialNumber::from_slice(&[7]));
        (params.not_before, params.not_after) = (at(0), at(90));
        params
    };
    let mut ca = named(DnType::CommonName, "CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca.self_signed(&pair(1)).unwrap().pem();
    let issuer = Issuer::new(ca, pair(1));
    let leaf = named(DnType::from_oid(&[2, 5, 4, 5]), known::oin().as_str());
    let leaf_pem = leaf.signed_by(&pair(2), &issuer).unwrap().pem();
    let list = CertificateRevocationListParams {
        this_update: at(0),
        next_update: at(30),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    [ca_pem, leaf_pem, list.signed_by(&issuer).unwrap().pem().unwrap()]
}

fn sealed_keys() -> Vec<Seed> {
    let good = SealedKey { cost: Cost::DEFAULT, salt: [1; SALT], nonce: [2; NONCE], sealed: vec![3; 135] };
    let with = |cost| SealedKey { cost, ..good.clone() }.to_file();
    vec![
        ok("sealed_key", "default", good.to_file()),
        no("sealed_key", "much-memory", with(Cost { memory_kib: 1 << 30, ..Cost::DEFAULT })),
        no("sealed_key", "no-passes", with(Cost { passes: 0, ..Cost::DEFAULT })),
        no("sealed_key", "cut", cut(&good.to_file())),
    ]
}

fn grants() -> Vec<Seed> {
    let [ca, chain, crl] = authority();
    let leaf = tls::certificates(&chain).unwrap().remove(0);
    let grant = Grant {
        format: GrantFormat::V1,
        oin: known::oin(),
        name: "Gemeente Voorbeeldstad".into(),
        kind: Kind::Agent,
        chain: chain.clone(),
        ca: ca.clone(),
        crl: crl.clone(),
        issued: Timestamp(known::NOON),
        not_after: Timestamp(known::NOON).plus(Span::days(90)),
    };
    let good = String::from_utf8(grant.to_bytes()).unwrap();
    let damaged = changed(&chain, "MI", "NI");
    vec![
        ok("grant", "agent", good.as_str()),
        no("grant", "other-oin", changed(&good, "00000099000000001000", "00000099000000002000")),
        no("grant", "unknown-field", changed(&good, "{", "{\"extra\":1,")),
        no("grant", "crl-is-no-crl", Grant { crl: ca.clone(), ..grant.clone() }.to_bytes()),
        no("grant", "damaged-chain", Grant { chain: damaged, ..grant }.to_bytes()),
        no("grant", "cut", cut(good.trim_end().as_bytes())),
        ok("certificate", "leaf", leaf.as_ref()),
        ok("certificate", "pem", [ca, chain, crl.clone()].concat()),
        no("certificate", "cut", cut(&leaf)),
        no("certificate", "pem-cut", &crl.as_bytes()[..60]),
        no("csr", "empty-sequence", [0x30, 0]),
        no("csr", "certificate", leaf.as_ref()),
        no(
            "csr",
            "ed25519",
            CertificateParams::new([]).unwrap().serialize_request(&pair(2)).unwrap().der().to_vec(),
        ),
    ]
}

fn settings() -> Vec<Seed> {
    let card = BrokerCard {
        format: CardFormat::V1,
        name: "Regio Voorbeeld".into(),
        oin: known::oin(),
        address: "broker.example:7443".into(),
        fallback: None,
        server_name: "broker.example".into(),
        log_origin: known::ORIGIN.into(),
        log_key: known::log().key.to_string(),
        software: "seinhuis/0.1.0".into(),
    };
    let card = String::from_utf8(card.to_bytes()).unwrap();
    let config = "name = \"Regio\"\noin = \"00000099000000001000\"\nlisten = \"[::]:7443\"\n\
                  advertise = \"broker.example:7443\"\nlog_origin = \"broker.example/2026\"\n\
                  [transport]\nkey_exchange = \"hybrid\"\n";
    vec![
        ok("broker_card", "card", card.as_str()),
        no("broker_card", "no-port", changed(&card, "broker.example:7443", "broker.example")),
        no("broker_card", "other-log", changed(&card, "\"log_key\": \"broker", "\"log_key\": \"breaker")),
        no("broker_card", "unknown-field", changed(&card, "{", "{\"extra\":1,")),
        no("broker_card", "no-json", "broker.example:7443"),
        ok("broker_config", "small", config),
        no("broker_config", "unknown-key", changed(config, "listen", "listn")),
        no("broker_config", "wrong-type", changed(config, "\"hybrid\"", "[1]")),
        no("broker_config", "wrong-place", format!("{config}name = 1\n")),
        no("broker_config", "table-as-value", changed(config, "name = \"Regio\"", "transport = 1")),
        no("broker_config", "broken", changed(config, "]\n", "\n")),
        no("broker_config", "empty", []),
    ]
}

pub(super) fn all() -> Vec<Seed> {
    [journal(), agent_rows(), broker_rows(), grants(), sealed_keys(), settings()]
        .into_iter()
        .flatten()
        .collect()
}
