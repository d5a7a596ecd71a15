//! Peers that do not keep to the rules, against a real broker: connections that are not let in, sessions
//! that are ended, streams that are refused; and after each of them the broker works as before.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::town::{Town, sample, town};
use quinn::{Connection, Endpoint};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::{Entry, Kind as EntryKind};
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::limits::{FRAME_MAX, STREAMS_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::wire::{
    self, Consistency, FetchConsistency, FetchCovenant, FetchPrekeys, Hello, Message as _, Offer, Prekeys,
    VERSION,
};
use seinhuis_shell::grant::{BrokerCard, Grant};
use seinhuis_shell::keys;
use seinhuis_tests::forge::Lock;
use seinhuis_tests::process::Program;
use seinhuis_tests::raw::{self, RawError};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Raw, process};

type Dialled = Result<(Endpoint, Connection), RawError>;

fn card(town: &Town) -> BrokerCard {
    BrokerCard::load(&town.stage.broker_home().join("broker.json")).unwrap()
}

/// Says hello on what may look like a connection; what it ends with.
fn hello(town: &Town, dialled: Dialled, version: u8) -> Result<Raw, RawError> {
    let (endpoint, conn) = dialled?;
    town.runtime.block_on(Raw::hello(endpoint, conn, &card(town), version))
}

/// Nobody got in: TLS refused, and no organisation is known to have tried, so nothing is logged.
fn stays_outside(town: &Town, dialled: Dialled, size: u64) {
    let error = hello(town, dialled, VERSION).err().unwrap();
    assert_eq!(error.refusal(), None, "refused before anything is said: {error:?}");
    assert_eq!(town.log_size(), size, "nothing is logged");
}

/// A hello was refused: with this number, and an entry that says who and why.
fn turned_away(town: &Town, error: &RawError, oin: &str, refusal: Refusal) {
    assert_eq!(error.refusal(), Some(refusal), "{error:?}");
    // A connection may be closed an instant before the entry is written; and an acknowledgement of a test before
    // this one may come in just behind it.
    let said = |entry: &Entry| {
        entry.kind == EntryKind::Refused
            && entry.from == Some(oin.parse().unwrap())
            && entry.reason == Some(refusal.number())
    };
    process::until("the refusal is in the log", PATIENCE, || {
        town.stage.log_tail(4).unwrap().iter().any(said)
    })
    .unwrap();
}

// Certificates.

#[test]
fn a_peer_without_a_certificate_stays_outside() {
    let town = town();
    let size = town.log_size();
    let trust = Grant::load(&town.member("politie").home.join("grant.json")).unwrap().trust().unwrap();
    let dialled = town.runtime.block_on(raw::connect_anonymously(&trust, &card(&town)));
    stays_outside(&town, dialled, size);
    town.still_works();
}

#[test]
fn a_certificate_of_another_ca_stays_outside_though_it_names_a_partner() {
    let town = town();
    let size = town.log_size();
    let dir = tempfile::tempdir().unwrap();
    let (ca, out) = (dir.path().join("ca"), dir.path().join("grant.json"));
    let request = town.stage.request_of(town.member("politie"));
    let fingerprint = seinhuis_shared::enrol::fingerprint(&std::fs::read(&request).unwrap());
    let (ca, out) = (ca.to_string_lossy(), out.to_string_lossy());
    town.stage.must(Program::Certs, &["init", "--dir", &ca, "--name", "Ander partnerschap"]).unwrap();
    let args = ["issue", &request, "--fingerprint", &fingerprint, "--dir", &ca, "--out", &out];
    town.stage.must(Program::Certs, &args).unwrap();
    let foreign = Grant::load(out.as_ref().as_ref()).unwrap();
    assert_eq!(foreign.oin, town.oin("politie"));
    let home = &town.member("politie").home;
    let identity = foreign.identity(&keys::load_tls(&home.join("keys/tls.key")).unwrap()).unwrap();
    let trust = Grant::load(&home.join("grant.json")).unwrap().trust().unwrap();
    let dialled = town.runtime.block_on(raw::connect_as(&identity, &trust, &card(&town)));
    stays_outside(&town, dialled, size);
    town.still_works();
}

#[test]
fn the_brokers_own_certificate_opens_no_session() {
    let town = town();
    let size = town.log_size();
    let home = town.stage.broker_home();
    let grant = Grant::load(&home.join("grant.json")).unwrap();
    let identity = grant.identity(&keys::load_tls(&home.join("keys/tls.key")).unwrap()).unwrap();
    let dialled = town.runtime.block_on(raw::connect_as(&identity, &grant.trust().unwrap(), &card(&town)));
    stays_outside(&town, dialled, size);
}

#[test]
fn a_certificate_of_an_organisation_that_is_no_partner_is_201() {
    let town = town();
    let dir = &town.stage.dir;
    let oin = "00000099000000007777";
    let stranger = seinhuis_tests::Member::new(dir, "vreemd", "pga", oin, "PGA-tafel Elders");
    town.stage.enrol(&stranger).unwrap();
    let error = town.runtime.block_on(Raw::open(&stranger.home)).err().unwrap();
    turned_away(&town, &error, oin, Refusal::UnknownPartner);
}

#[test]
fn a_revoked_certificate_ends_the_live_session_with_206_and_opens_no_other() {
    let town = town();
    let oin = town.member("om").oin.clone();
    let live = town.open("om");
    town.stage.certs(&["revoke", "--oin", &oin, "--reason", "key-compromise"]).unwrap();
    let crl = town.stage.broker_home().join("crl.pem");
    std::fs::copy(town.stage.ca().join("crl.pem"), crl.with_extension("new")).unwrap();
    std::fs::rename(crl.with_extension("new"), &crl).unwrap();
    let ended = town.runtime.block_on(live.closed());
    turned_away(&town, &ended, &oin, Refusal::CertificateRevoked);
    let size = town.log_size();
    let card = card(&town);
    let dialled = town.runtime.block_on(raw::connect(&town.member("om").home, &card));
    stays_outside(&town, dialled, size);
    town.still_works();
}

#[test]
fn a_partner_whose_access_is_revoked_is_204_at_once_until_it_is_added_again() {
    let town = town();
    let (member, oin) = (town.member("boa"), town.member("boa").oin.clone());
    let mut live = town.open("boa");
    let packet = town.forge("boa").packet(&sample("F03"), &town.to("gemeente"), |_| ()).unwrap();
    town.stage.broker(&["partner", "revoke", &oin]).unwrap();
    let ended = town.runtime.block_on(live.closed());
    assert_eq!(ended.refusal(), Some(Refusal::PartnerRevoked));
    let late = town.runtime.block_on(live.verdict(&packet)).err().unwrap();
    assert_eq!(late.refusal(), Some(Refusal::PartnerRevoked), "{late:?}");
    let error = town.runtime.block_on(Raw::open(&member.home)).err().unwrap();
    turned_away(&town, &error, &oin, Refusal::PartnerRevoked);
    town.stage.register(member).unwrap();
    let mut back = town.open("boa");
    town.accepts_on(&mut back, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

// Hello.

#[test]
fn a_hello_of_another_version_is_104() {
    let town = town();
    let card = card(&town);
    let member = town.member("jongerenwerk");
    let dialled = town.runtime.block_on(raw::connect(&member.home, &card));
    let error = hello(&town, dialled, VERSION + 1).err().unwrap();
    turned_away(&town, &error, &member.oin, Refusal::UnknownVersion);
    town.still_works();
}

/// The police connect and send this instead of a hello.
fn instead_of_hello(bytes: &[u8], finish: bool) -> RawError {
    let town = town();
    let card = card(&town);
    let (endpoint, conn) = town.runtime.block_on(raw::connect(&town.member("politie").home, &card)).unwrap();
    let error = town.runtime.block_on(async {
        let (mut send, _recv) = conn.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        }
        tokio::time::timeout(PATIENCE, conn.closed()).await.unwrap()
    });
    drop(endpoint);
    RawError::of(&error)
}

#[test]
fn anything_before_hello_is_108() {
    for kind in [Kind::Submit, Kind::FetchPrekeys, Kind::Acknowledge, Kind::Welcome] {
        let error = instead_of_hello(&frame::encode(kind, b"\x81\x80").unwrap(), false);
        assert_eq!(error.refusal(), Some(Refusal::UnexpectedMessage), "{kind:?}: {error:?}");
    }
}

#[test]
fn a_hello_that_is_none_has_its_number() {
    let large = [&0x0000_ffff_u32.to_be_bytes()[..], &[Kind::Hello.code()]].concat();
    for (bytes, refusal) in [
        (large, Refusal::TooLarge),
        (vec![0, 0, 0, 5, 1, 0x82], Refusal::Malformed),
        (vec![0, 0, 0], Refusal::Malformed),
        (vec![0, 0, 0, 0, 1], Refusal::Malformed),
        (frame::encode(Kind::Hello, b"\x00").unwrap(), Refusal::Malformed),
        (frame::encode(Kind::Hello, b"\x83\x18\x01\x61x\x40").unwrap(), Refusal::NotCanonical),
        (vec![0, 0, 0, 1, 0x7f], Refusal::UnexpectedMessage),
    ] {
        let error = instead_of_hello(&bytes, true);
        assert_eq!(error.refusal(), Some(refusal), "{bytes:?}: {error:?}");
    }
}

#[test]
fn a_hello_that_never_comes_is_not_waited_for() {
    let (silent, slow, runtime) = {
        let town = town();
        let card = card(&town);
        let connect = || town.runtime.block_on(raw::connect(&town.member("politie").home, &card)).unwrap();
        (connect(), connect(), town.runtime.handle().clone())
    };
    // The town is free for others while these two wait.
    runtime.block_on(async {
        let dripping = async {
            let (mut send, _recv) = slow.1.open_bi().await.unwrap();
            let hello = Hello { version: VERSION, software: "x".repeat(200), cosigned: Bytes::default() };
            let hello = hello.to_frame().unwrap();
            for byte in &hello {
                if send.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            slow.1.closed().await
        };
        let both = async { tokio::join!(silent.1.closed(), dripping) };
        let (silent, slow) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        for error in [silent, slow] {
            assert_eq!(RawError::of(&error).refusal(), Some(Refusal::UnexpectedMessage), "{error:?}");
        }
    });
    town().still_works();
}

#[test]
fn a_second_hello_is_108_and_the_session_goes_on() {
    let town = town();
    let mut raw = town.open("politie");
    let hello = Hello { version: VERSION, software: "again".into(), cosigned: Bytes::default() };
    let hello = hello.to_frame().unwrap();
    let payload = &hello[frame::HEADER_LEN..];
    let error = town.runtime.block_on(raw.request(Kind::Hello, payload, Kind::Welcome)).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::UnexpectedMessage), "{error:?}");
    let packet = town.packet();
    town.accepts_on(&mut raw, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

#[test]
fn a_fifth_session_of_one_organisation_is_207_and_the_four_go_on() {
    let town = town();
    let mut four: Vec<Raw> = (0..4).map(|_| town.open("jongerenwerk")).collect();
    let member = town.member("jongerenwerk");
    let error = town.runtime.block_on(Raw::open(&member.home)).err().unwrap();
    turned_away(&town, &error, &member.oin, Refusal::AlreadyConnected);
    for raw in &mut four {
        let packet = town.forge("jongerenwerk").packet(&sample("F01"), &town.to("gemeente"), |_| ()).unwrap();
        town.accepts_on(raw, &packet);
        town.receives(&mut town.open("gemeente"), "gemeente", &packet);
    }
    for raw in four {
        town.runtime.block_on(raw.close());
    }
    town.runtime.block_on(town.open("jongerenwerk").close());
}

// Streams.

/// The police send this on a lane; the lane is refused, and another one works.
fn lane_refused(bytes: &[u8], refusal: Refusal) {
    let town = town();
    let size = town.log_size();
    let mut raw = town.open("politie");
    let error = town.runtime.block_on(async {
        raw.send_raw(bytes).await.unwrap();
        raw.finish_lane();
        raw.answer().await.unwrap_err()
    });
    assert_eq!(error.refusal(), Some(refusal), "{error:?}");
    assert_eq!(town.log_size(), size, "what is no packet has no entry");
    raw.drop_lane();
    let packet = town.packet();
    town.accepts_on(&mut raw, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

#[test]
fn a_frame_over_the_bound_of_its_kind_is_101() {
    let length = u32::try_from(FRAME_MAX + 2).unwrap().to_be_bytes();
    lane_refused(&[&length[..], &[Kind::Submit.code()]].concat(), Refusal::TooLarge);
    lane_refused(&[0xff, 0xff, 0xff, 0xff, Kind::Submit.code()], Refusal::TooLarge);
}

#[test]
fn a_frame_that_breaks_off_is_102() {
    lane_refused(&[0, 0, 1, 0, Kind::Submit.code(), 1, 2, 3], Refusal::Malformed);
    lane_refused(&[0, 0, 1], Refusal::Malformed);
    lane_refused(&[0, 0, 0, 0, Kind::Submit.code()], Refusal::Malformed);
}

#[test]
fn a_frame_of_no_kind_or_that_the_broker_sends_is_108() {
    lane_refused(&[0, 0, 0, 1, 0x7f], Refusal::UnexpectedMessage);
    lane_refused(&frame::encode(Kind::Verdict, &[0x80]).unwrap(), Refusal::UnexpectedMessage);
    lane_refused(&frame::encode(Kind::Acknowledge, &[0x80]).unwrap(), Refusal::UnexpectedMessage);
}

#[test]
fn a_packet_that_breaks_off_after_a_whole_one_loses_only_itself() {
    let town = town();
    let mut raw = town.open("politie");
    let packet = town.packet();
    let whole = frame::encode(Kind::Submit, &packet).unwrap();
    let half = &frame::encode(Kind::Submit, &town.packet()).unwrap()[..700];
    let answer = town.runtime.block_on(async {
        raw.send_raw(&[&whole[..], half].concat()).await.unwrap();
        raw.finish_lane();
        raw.answer().await
    });
    // The refusal of the lane may overtake the verdict, which then comes at the next submission.
    drop(answer);
    let mut again = town.open("politie");
    town.accepts_on(&mut again, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
    assert_eq!(town.waiting(), 0);
}

#[test]
fn streams_that_stall_hold_nobody_up() {
    let town = town();
    let stalled: Vec<Raw> = (0..2).map(|_| town.open("jongerenwerk")).collect();
    let streams = town.runtime.block_on(async {
        let length = u32::try_from(FRAME_MAX).unwrap().to_be_bytes();
        let begun = [&length[..], &[Kind::Submit.code(), 0x83, 0x01]].concat();
        let length = u32::try_from(Kind::Propose.limit()).unwrap().to_be_bytes();
        let proposed = [&length[..], &[Kind::Propose.code(), 0x83, 0x01]].concat();
        let half = &begun[..3];
        let mut streams = Vec::new();
        for raw in &stalled {
            // One stream is the session's own.
            for number in 1..STREAMS_MAX {
                let (mut send, recv) = raw.conn.open_bi().await.unwrap();
                let bytes = [half, &begun, &proposed][usize::try_from(number).unwrap() % 3];
                send.write_all(bytes).await.unwrap();
                streams.push((send, recv));
            }
        }
        // Lets the broker read all beginnings; without it the test would only be weaker.
        tokio::time::sleep(Duration::from_millis(500)).await;
        streams
    });
    town.still_works();
    drop(streams);
    for raw in stalled {
        town.runtime.block_on(raw.close());
    }
}

#[test]
fn garbage_on_the_socket_is_nobodys_business() {
    let mut town = town();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(&town.stage.address).unwrap();
    for round in 0..300_usize {
        let mut bytes = keys::random::<1400>();
        if round % 3 == 0 {
            // A long header of QUIC version 1, as an Initial would have.
            bytes[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        // A full buffer drops it, as a network would.
        _ = socket.send(&bytes[..=(round * 37) % 1399]);
    }
    town.still_works();
    assert!(town.stands());
}

// Acknowledgements.

/// The municipality sends this as an acknowledgement while a packet waits for it: the session ends, and the
/// packet is offered again.
fn acknowledgement_refused(refusal: Refusal, sign: impl FnOnce(&Town, &Offer) -> Vec<u8>) {
    let town = town();
    let packet = town.packet();
    town.accepts_on(&mut town.open("politie"), &packet);
    let mut raw = town.open("gemeente");
    let ended = town.runtime.block_on(async {
        let offer = raw.offer().await.unwrap();
        raw.acknowledge(&sign(&town, &offer)).await.unwrap();
        raw.closed().await
    });
    turned_away(&town, &ended, &town.member("gemeente").oin, refusal);
    assert_eq!(town.waiting(), 1, "it is not at its recipient");
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

#[test]
fn an_acknowledgement_signed_by_another_is_203() {
    acknowledgement_refused(Refusal::UnknownKey, |town, offer| {
        town.acknowledgement("gemeente", offer).sign(&town.forge("politie").key)
    });
}

#[test]
fn an_acknowledgement_in_anothers_name_is_202() {
    acknowledgement_refused(Refusal::SenderNotConnection, |town, offer| {
        town.acknowledgement("politie", offer).sign(&town.forge("gemeente").key)
    });
}

#[test]
fn an_acknowledgement_with_a_bad_signature_is_205() {
    acknowledgement_refused(Refusal::BadSignature, |town, offer| {
        let mut signed = town.acknowledgement("gemeente", offer).sign(&town.forge("gemeente").key);
        // The array, the head of the byte string with its length, and the last byte of the signature in it.
        let last = 2 + usize::from(signed[2]);
        signed[last] ^= 1;
        signed
    });
}

#[test]
fn an_acknowledgement_of_nothing_is_102() {
    acknowledgement_refused(Refusal::Malformed, |town, offer| {
        let mut empty = town.acknowledgement("gemeente", offer);
        empty.items.clear();
        empty.sign(&town.forge("gemeente").key)
    });
}

#[test]
fn an_acknowledgement_of_anothers_packet_settles_nothing() {
    let town = town();
    let packet = town.packet();
    town.accepts_on(&mut town.open("politie"), &packet);
    let mut thief = town.open("jongerenwerk");
    let offer = town.runtime.block_on(town.open("gemeente").offer()).unwrap();
    let signed = town.acknowledgement("jongerenwerk", &offer).sign(&town.forge("jongerenwerk").key);
    town.runtime.block_on(thief.acknowledge(&signed)).unwrap();
    // The session goes on, so the acknowledgement before this packet was read before it.
    let own = town.forge("jongerenwerk").packet(&sample("F01"), &town.to("gemeente"), |_| ()).unwrap();
    town.accepts_on(&mut thief, &own);
    assert_eq!(town.waiting(), 2);
    let mut municipality = town.open("gemeente");
    town.receives(&mut municipality, "gemeente", &packet);
    town.receives(&mut municipality, "gemeente", &own);
}

// Requests.

fn ask(town: &Town, raw: &Raw, kind: Kind, payload: &[u8], answer: Kind) -> Result<Vec<u8>, Refusal> {
    let asked = town.runtime.block_on(raw.request(kind, payload, answer));
    asked.map_err(|error| error.refusal().unwrap_or_else(|| panic!("{error:?}")))
}

fn payload<M: wire::Message>(message: &M) -> Vec<u8> {
    seinhuis_shared::cbor::encode(message)
}

#[test]
fn prekeys_count_only_from_their_owner_and_never_go_back() {
    let town = town();
    let raw = town.open("politie");
    let (police, thief) = (town.forge("politie"), town.forge("jongerenwerk"));
    let lock = Lock::make().unwrap();
    let publish = |bundle: &[u8]| ask(&town, &raw, Kind::PublishPrekeys, bundle, Kind::Done);
    // Above the number of what the agents published when they signed the covenant.
    let above = seinhuis_shell::clock::now().0;
    let of = |oin, key, seq| lock.bundle(oin, key, above + seq);
    let size = town.log_size();
    assert_eq!(publish(&of(thief.oin, &police.key, 9)), Err(Refusal::BadPrekeyBundle), "of another");
    assert_eq!(publish(&of(police.oin, &thief.key, 9)), Err(Refusal::UnknownKey), "signed by another");
    let mut spoiled = of(police.oin, &police.key, 9);
    *spoiled.last_mut().unwrap() ^= 1;
    assert_eq!(publish(&spoiled), Err(Refusal::BadSignature));
    assert_eq!(publish(b""), Err(Refusal::BadPrekeyBundle));
    assert_eq!(town.log_size(), size);
    let good = of(police.oin, &police.key, 5);
    assert_eq!(publish(&good), Ok(vec![]));
    assert_eq!(town.log_size(), size + 1, "one entry for new prekeys");
    assert_eq!(publish(&of(police.oin, &police.key, 4)), Err(Refusal::PrekeyRollback));
    let same_number = Lock::make().unwrap().bundle(police.oin, &police.key, above + 5);
    assert_eq!(publish(&same_number), Err(Refusal::PrekeyRollback));
    assert_eq!(publish(&good), Ok(vec![]), "the same again is no news");
    assert_eq!(town.log_size(), size + 1);
    let reader = town.open("gemeente");
    let fetch = payload(&FetchPrekeys { oins: vec![police.oin, "00000099000000004321".parse().unwrap()] });
    let found = ask(&town, &reader, Kind::FetchPrekeys, &fetch, Kind::Prekeys).unwrap();
    let bundles = Prekeys::parse(&found).unwrap().bundles;
    assert_eq!(bundles.len(), 1, "the stranger has none");
    assert_eq!(bundles[0].1.0, good);
}

#[test]
fn requests_out_of_bounds_have_their_numbers() {
    let town = town();
    let raw = town.open("politie");
    let oin = town.oin("gemeente");
    for count in [0, 17] {
        let fetch = payload(&FetchPrekeys { oins: vec![oin; count] });
        let refused = ask(&town, &raw, Kind::FetchPrekeys, &fetch, Kind::Prekeys);
        assert_eq!(refused, Err(Refusal::RecipientCount), "{count} organisations");
    }
    let fetch = payload(&FetchCovenant { hash: seinhuis_shared::ids::Digest([1; 32]) });
    assert_eq!(ask(&town, &raw, Kind::FetchCovenant, &fetch, Kind::Covenant), Err(Refusal::NotFound));
    let known = town.forge("politie").covenant.hash();
    let fetch = payload(&FetchCovenant { hash: known });
    let covenant = ask(&town, &raw, Kind::FetchCovenant, &fetch, Kind::Covenant).unwrap();
    let covenant = wire::Covenant::parse(&covenant).unwrap();
    assert_eq!(seinhuis_shared::signing::sha256(&covenant.document), known);
    assert_eq!(covenant.casts.len(), town.stage.members.len());
}

#[test]
fn consistency_is_proved_for_rising_sizes_of_this_log_only() {
    let town = town();
    let raw = town.open("politie");
    let size = town.log_size();
    let of = |origin: &str, sizes: Vec<u64>| {
        let question = FetchConsistency { origin: origin.into(), sizes };
        ask(&town, &raw, Kind::FetchConsistency, &payload(&question), Kind::Consistency)
    };
    let prove = |sizes| of(&raw.log().origin, sizes);
    assert_eq!(of("another.example/log", vec![1, 2]), Err(Refusal::UnknownLog));
    let followed = wire::FetchSuccession { origin: raw.log().origin.clone(), size: 1 };
    let followed = ask(&town, &raw, Kind::FetchSuccession, &payload(&followed), Kind::Succession);
    assert_eq!(followed, Err(Refusal::UnknownLog), "nothing followed on the log that grows");
    for sizes in [
        vec![],
        vec![1],
        vec![0, 1],
        vec![2, 2],
        vec![3, 2],
        vec![1, size + 1000],
        vec![1, u64::MAX],
        (1..=33).collect(),
    ] {
        assert_eq!(prove(sizes.clone()), Err(Refusal::NotFound), "{sizes:?}");
    }
    let long = vec![0; Kind::FetchConsistency.limit() + 1];
    let frame = [&u32::try_from(long.len() + 1).unwrap().to_be_bytes()[..], &[Kind::FetchConsistency.code()]];
    let error = town.runtime.block_on(async {
        let mut other = Raw::open(&town.member("politie").home).await.unwrap();
        other.send_raw(&frame.concat()).await.unwrap();
        other.answer().await.unwrap_err()
    });
    assert_eq!(error.refusal(), Some(Refusal::TooLarge), "{error:?}");
    // And a right one holds between two heads the broker signed.
    let key = &raw.log().key;
    let old = Checkpoint::verify(&raw.welcome.checkpoint, &raw.log().origin, key).unwrap();
    let (packet, mut police) = (town.packet(), town.open("politie"));
    let (_, receipt) = town.accepts_on(&mut police, &packet);
    let new = receipt.checkpoint;
    let proofs = Consistency::parse(&prove(vec![old.size(), new.size()]).unwrap()).unwrap().proofs;
    verify_consistency(old.size(), new.size(), &proofs[0], old.root(), new.root()).unwrap();
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

// After all of it.

#[test]
fn real_agents_work_while_a_partner_misbehaves() {
    let scene = common::Scene::with(&["gemeente", "politie", "jongerenwerk"]);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let _agents = (scene.agent("gemeente"), scene.agent("jongerenwerk"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = &stage.member("politie").home;
    let hostile: Vec<Raw> = runtime.block_on(async {
        let mut hostile = Vec::new();
        for bytes in [&[0xff; 5][..], &[0, 0x12, 0, 0, 0x10, 0x83][..], &[0, 0, 0, 9, 0x10, 1][..]] {
            let mut raw = Raw::open(home).await.unwrap();
            raw.send_raw(bytes).await.unwrap();
            hostile.push(raw);
        }
        hostile
    });
    let sample = sample("F01");
    let pushed = stage
        .agent(stage.member("jongerenwerk"), &["push", &sample.path.to_string_lossy(), "--wait", "60"])
        .unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    let inbox = common::wait_for_inbox(stage, stage.member("gemeente"), 1);
    assert_eq!(text(&inbox[0], "state"), "stored");
    process::until("the delivery is logged", PATIENCE, || {
        stage.log_tail(50).unwrap().iter().any(|entry| entry.kind == EntryKind::Delivered)
    })
    .unwrap();
    drop(hostile);
}
