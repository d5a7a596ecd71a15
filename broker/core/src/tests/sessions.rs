//! Connections: who is let in, what they are told, what they may ask.

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::limits::{CONNECTIONS_PER_PARTNER, RECIPIENTS_MAX};
use seinhuis_shared::prekey::{Prekey, PrekeyBundle, SUITE};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{CONSISTENCY_SIZES_MAX, Hello, Known, VERSION};

use super::admission::signal;
use super::broker::{Broker, Did, ORIGIN, log_key};
use super::fixture::{Absent, Gem, Jw, NOON, Org, Pol, Stranger, compiled, covenant};
use crate::{Ask, Command, ConnId, Heard, Input, RequestId, Send};

fn greet(broker: &mut Broker, org: Org, version: u8) -> (ConnId, Did) {
    let (conn, _) = broker.hello(org);
    let hello = Hello { version, software: "agent\u{7}/1 \u{e9}".into(), cosigned: Bytes::default() };
    let did = broker.turn([Input::Connected { conn, peer: org.oin(), hello, heard: Heard::Nothing }]);
    (conn, did)
}

/// A refused hello: told, closed, logged, and without a session.
fn turned_away(broker: &mut Broker, org: Org, version: u8, refusal: Refusal) {
    let (conn, did) = greet(broker, org, version);
    let [Send::Refuse { conn: told, request: None, refuse }, close] = did.sends.as_slice() else {
        panic!("refused and closed: {:?}", did.sends);
    };
    assert_eq!((*told, refuse.reason, refuse.retry_after), (conn, refusal.number(), None));
    assert_eq!(*close, Send::Close { conn, reason: refusal });
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((entry.kind, entry.from), (Kind::Refused, Some(org.oin())));
    assert_eq!((entry.reason, entry.detail.as_deref()), (Some(refusal.number()), Some("hello")));
    let did = broker.submit(conn, org, &signal().seal());
    assert!(did.sends.is_empty() && did.entries.is_empty(), "there is no session");
}

#[test]
fn a_hello_of_an_unknown_version() {
    let mut broker = Broker::started(NOON);
    turned_away(&mut broker, Pol, VERSION + 1, Refusal::UnknownVersion);
}

#[test]
fn a_hello_of_an_unknown_partner() {
    let mut broker = Broker::started(NOON);
    turned_away(&mut broker, Absent, VERSION, Refusal::UnknownPartner);
}

#[test]
fn a_hello_of_a_revoked_partner() {
    let mut broker = Broker::started(NOON);
    broker.command(Command::RevokePartner { oin: Pol.oin(), reason: None });
    turned_away(&mut broker, Pol, VERSION, Refusal::PartnerRevoked);
}

#[test]
fn too_many_connections() {
    let mut broker = Broker::started(NOON);
    let conns: Vec<_> = (0..CONNECTIONS_PER_PARTNER).map(|_| broker.connect(Pol)).collect();
    turned_away(&mut broker, Pol, VERSION, Refusal::AlreadyConnected);
    broker.connect(Gem);
    broker.turn([Input::Disconnected { conn: conns[0] }]);
    broker.connect(Pol);
}

#[test]
fn the_welcome_tells_how_the_log_stands() {
    let mut broker = Broker::bare(NOON);
    broker.add(Stranger);
    broker.command(Command::LoadCovenant { compiled: compiled() });
    broker.add(Pol);
    let known = Known { hash: covenant().hash(), votes: 0, rotations: 0 };
    for (org, agreements) in [(Pol, vec![known]), (Stranger, vec![])] {
        let (conn, did) = greet(&mut broker, org, VERSION);
        let [Send::Welcome { conn: told, welcome }] = did.sends.as_slice() else {
            panic!("welcome: {:?}", did.sends);
        };
        assert_eq!((*told, welcome.version, welcome.now), (conn, VERSION, NOON));
        assert_eq!((&welcome.origin, &welcome.log_key), (&broker.config.origin, &log_key().key.to_string()));
        assert_eq!(welcome.checkpoint, broker.core.head().unwrap().note);
        assert_eq!(welcome.agreements, agreements);
    }
}

#[test]
fn what_a_peer_calls_itself_is_made_fit_to_be_shown() {
    let mut broker = Broker::started(NOON);
    greet(&mut broker, Pol, VERSION);
    let crate::Answer::Partners(rows) = broker.command(Command::Partners) else { panic!("the partners") };
    let shown: Vec<_> = rows.iter().filter_map(|row| row.connected.clone()).collect();
    assert_eq!(shown, ["agent/1 "]);
}

#[test]
fn a_revoked_certificate_closes_its_connection_alone() {
    let mut broker = Broker::started(NOON);
    let (one, two) = (broker.connect(Gem), broker.connect(Gem));
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &signal().seal());
    let did = broker.turn([Input::CertificateRevoked { conn: two }]);
    assert!(did.sends.contains(&Send::Close { conn: two, reason: Refusal::CertificateRevoked }));
    assert_eq!(broker.offers(&did)[0].conn, one, "the other one takes over");
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((entry.kind, entry.from), (Kind::Refused, Some(Gem.oin())));
    assert_eq!(entry.reason, Some(Refusal::CertificateRevoked.number()));
    let did = broker.turn([Input::CertificateRevoked { conn: two }]);
    assert!(did.sends.is_empty() && did.entries.is_empty(), "once");
}

pub(super) fn ask(broker: &mut Broker, conn: ConnId, ask: Ask) -> Did {
    broker.turn([Input::Request { conn, request: RequestId(3), ask }])
}

fn refused_with(did: &Did, refusal: Refusal) {
    let [Send::Refuse { request: Some(RequestId(3)), refuse, .. }] = did.sends.as_slice() else {
        panic!("refused: {:?}", did.sends);
    };
    assert_eq!(refuse.reason, refusal.number());
    assert!(did.entries.is_empty());
}

pub(super) fn bundle(org: Org, seq: u64, fill: Span) -> Ask {
    let prekey = Prekey { public: org.prekey(), not_before: NOON, not_after: NOON.plus(fill) };
    let bundle = PrekeyBundle {
        version: 1,
        suite: SUITE,
        oin: org.oin(),
        signer: org.key().public().thumbprint(),
        seq,
        issued: NOON,
        prekeys: vec![prekey],
    };
    let bytes = bundle.sign(&org.key());
    let bundle = PrekeyBundle::verify(&bytes, &org.oin(), &[org.key().public()]);
    Ask::PublishPrekeys { bytes, bundle }
}

fn bytes_of(ask: &Ask) -> Vec<u8> {
    match ask {
        Ask::PublishPrekeys { bytes, .. } => bytes.clone(),
        _ => panic!("{ask:?} publishes nothing"),
    }
}

#[test]
fn a_bundle_is_published_once_and_never_rolled_back() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let did = ask(&mut broker, pol, bundle(Pol, 2, Span::hours(24)));
    assert_eq!(did.sends, [Send::Done { conn: pol, request: RequestId(3) }]);
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!(
        (entry.kind, entry.subject, entry.detail.as_deref()),
        (Kind::Key, Some(Pol.oin()), Some("prekeys"))
    );
    let did = ask(&mut broker, pol, bundle(Pol, 2, Span::hours(24)));
    assert_eq!(did.sends, [Send::Done { conn: pol, request: RequestId(3) }]);
    assert!(did.entries.is_empty(), "the same bytes change nothing");
    let stored = broker.stored();
    for (seq, fill) in [(1, Span::hours(24)), (2, Span::hours(23))] {
        let did = ask(&mut broker, pol, bundle(Pol, seq, fill));
        refused_with(&did, Refusal::PrekeyRollback);
    }
    broker.restart();
    let pol = broker.connect(Pol);
    let did = ask(&mut broker, pol, bundle(Pol, 1, Span::hours(24)));
    refused_with(&did, Refusal::PrekeyRollback);
    assert_eq!(broker.stored(), stored);
    let did = ask(&mut broker, pol, bundle(Pol, 3, Span::hours(24)));
    assert_eq!(did.entries.len(), 1);
}

#[test]
fn a_bad_bundle_is_not_published() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let bytes = bytes_of(&bundle(Jw, 1, Span::hours(24)));
    let bundle = PrekeyBundle::verify(&bytes, &Pol.oin(), &[Pol.key().public()]);
    let did = ask(&mut broker, pol, Ask::PublishPrekeys { bytes, bundle });
    refused_with(&did, Refusal::UnknownKey);
    assert!(broker.core.state.prekeys.is_empty());
}

#[test]
fn bundles_are_for_parties_to_a_common_covenant() {
    let mut broker = Broker::started(NOON);
    let mut published = Vec::new();
    for org in [Pol, Stranger, Jw] {
        let conn = broker.connect(org);
        let publish = bundle(org, 1, Span::hours(24));
        published.push((org.oin(), bytes_of(&publish)));
        ask(&mut broker, conn, publish);
    }
    let wanted = [Gem, Pol, Stranger, Jw].map(Org::oin).to_vec();
    let fetch = |broker: &mut Broker, org: Org| {
        let conn = broker.connect(org);
        let did = ask(broker, conn, Ask::FetchPrekeys(wanted.clone()));
        let [Send::Prekeys { bundles, .. }] = did.sends.as_slice() else {
            panic!("bundles: {:?}", did.sends)
        };
        bundles.clone()
    };
    let common = [published[0].clone(), published[2].clone()];
    assert_eq!(fetch(&mut broker, Gem), common, "not the stranger's, and none for who published none");
    assert_eq!(fetch(&mut broker, Stranger), [], "nothing for who is party to nothing");
    broker.command(Command::RevokePartner { oin: Jw.oin(), reason: None });
    assert_eq!(fetch(&mut broker, Gem), [published[0].clone()], "not those of who is revoked");
}

#[test]
fn a_request_for_bundles_is_bounded() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Gem);
    for count in [0, RECIPIENTS_MAX + 1] {
        let did = ask(&mut broker, conn, Ask::FetchPrekeys(vec![Pol.oin(); count]));
        refused_with(&did, Refusal::RecipientCount);
    }
}

#[test]
fn a_covenant_is_for_its_parties() {
    let mut broker = Broker::started(NOON);
    let (gem, stranger) = (broker.connect(Gem), broker.connect(Stranger));
    let hash = covenant().hash();
    let did = ask(&mut broker, gem, Ask::FetchCovenant(hash));
    let [Send::Covenant { agreement, .. }] = did.sends.as_slice() else { panic!("it: {:?}", did.sends) };
    assert_eq!(agreement.compiled().covenant(), &covenant());
    assert_eq!(agreement.casts().len(), Org::PARTIES.len());
    let did = ask(&mut broker, stranger, Ask::FetchCovenant(hash));
    refused_with(&did, Refusal::NotFound);
    let did = ask(&mut broker, gem, Ask::FetchCovenant(seinhuis_shared::ids::Digest([1; 32])));
    refused_with(&did, Refusal::NotFound);
}

#[test]
fn consistency_is_proved_between_rising_sizes_of_the_log() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Gem);
    let size = u64::try_from(broker.log.len()).unwrap();
    let did = ask(&mut broker, conn, Ask::FetchConsistency(ORIGIN.into(), vec![1, 2, size]));
    let [Send::Consistency { sizes, .. }] = did.sends.as_slice() else { panic!("them: {:?}", did.sends) };
    assert_eq!(*sizes, [1, 2, size]);
    let many = u64::try_from(CONSISTENCY_SIZES_MAX).unwrap() + 1;
    for sizes in
        [vec![], vec![1], vec![0, 1], vec![2, 2], vec![2, 1], vec![1, size + 1], (1..=many).collect()]
    {
        let did = ask(&mut broker, conn, Ask::FetchConsistency(ORIGIN.into(), sizes));
        refused_with(&did, Refusal::NotFound);
    }
}

#[test]
fn a_closed_connection_gets_nothing_and_leaves_no_request_waiting() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Gem);
    broker.turn([Input::Disconnected { conn }]);
    let did = ask(&mut broker, conn, Ask::FetchCovenant(covenant().hash()));
    refused_with(&did, Refusal::Stopping);
    let did = broker.submit(conn, Gem, &super::admission::question().seal());
    assert!(did.sends.is_empty() && did.entries.is_empty());
    let did = broker.acknowledge(conn, Gem, &[(&signal().seal(), 0)]);
    assert!(did.sends.is_empty() && did.entries.is_empty());
}
