//! From acceptance to acknowledgement: offers, windows, expiry, full mailboxes.

use std::sync::Arc;

use seinhuis_shared::covenant::{Compiled, Fate};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::INFLIGHT_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Acknowledged, Acknowledgement};

use super::admission::{question, signal};
use super::broker::{Broker, Did, ORIGIN, log_signer};
use super::fixture::{Draft, Gem, Jw, NOON, Om, Org, Pol, covenant, msg_id};
use crate::{Command, Config, ConnId, Input, Send};

fn signals(numbers: core::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| Draft::new(Pol, &[Gem], "F01", number, NOON).seal()).collect()
}

fn digests(packets: &[Vec<u8>]) -> Vec<Digest> {
    packets.iter().map(|bytes| sha256(bytes)).collect()
}

fn offered(broker: &Broker, did: &Did, conn: ConnId) -> Vec<Digest> {
    broker
        .offers(did)
        .into_iter()
        .map(|offer| {
            assert_eq!(offer.conn, conn);
            offer.packet
        })
        .collect()
}

fn submit_all(broker: &mut Broker, conn: ConnId, packets: &[Vec<u8>]) -> Did {
    let inputs: Vec<_> = packets.iter().map(|bytes| broker.submission(conn, Pol, bytes)).collect();
    broker.turn(inputs)
}

/// Acknowledges all, in as many turns as it takes.
fn acknowledge_all(broker: &mut Broker, conn: ConnId, packets: &[Vec<u8>]) -> Vec<Digest> {
    packets
        .chunks(256)
        .flat_map(|chunk| {
            let items: Vec<(&[u8], u16)> = chunk.iter().map(|bytes| (bytes.as_slice(), 0)).collect();
            let did = broker.acknowledge(conn, Gem, &items);
            broker.offers(&did).into_iter().map(|offer| offer.packet)
        })
        .collect()
}

#[test]
fn packets_are_offered_in_the_order_of_acceptance() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let packets = signals(1..6);
    for bytes in &packets {
        broker.accept(pol, Pol, bytes);
    }
    let (gem, did) = broker.connect_with(Gem);
    assert_eq!(offered(&broker, &did, gem), digests(&packets));
}

#[test]
fn each_recipient_gets_its_own_entry_as_receipt() {
    let mut broker = Broker::started(NOON);
    let (pol, jw) = (broker.connect(Pol), broker.connect(Jw));
    let gem = broker.connect(Gem);
    let did = broker.submit(gem, Gem, &question().seal());
    let offers = broker.offers(&did);
    assert_eq!(offers.iter().map(|offer| offer.conn).collect::<Vec<_>>(), [pol, jw]);
    assert_ne!(offers[0].receipt, offers[1].receipt);
    assert_eq!((broker.waiting(Om), broker.blobs.len()), (1, 1), "who is away gets it later");
}

#[test]
fn bytes_are_kept_until_the_last_recipient_has_them() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let bytes = question().seal();
    broker.accept(gem, Gem, &bytes);
    for (org, kept) in [(Pol, 1), (Jw, 1), (Om, 0)] {
        let conn = broker.connect(org);
        let did = broker.acknowledge(conn, org, &[(&bytes, 0)]);
        let [entry] = did.entries.try_into().unwrap();
        assert_eq!((entry.kind, entry.to), (Kind::Delivered, Some(org.oin())));
        assert_eq!((entry.from, entry.result.as_deref()), (Some(Gem.oin()), Some("stored")));
        assert_eq!(entry.packet, Some(sha256(&bytes)));
        assert_eq!(broker.blobs.len(), kept, "{org:?}");
    }
}

#[test]
fn the_window_is_respected_and_refilled() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets = signals(1..u64::try_from(INFLIGHT_MAX + 11).unwrap());
    let did = submit_all(&mut broker, pol, &packets);
    assert_eq!(offered(&broker, &did, gem), digests(&packets[..INFLIGHT_MAX]));
    let did = broker.acknowledge(gem, Gem, &[(&packets[3], 0), (&packets[0], 0)]);
    assert_eq!(offered(&broker, &did, gem), digests(&packets[INFLIGHT_MAX..INFLIGHT_MAX + 2]));
    let mut rest = packets.clone();
    rest.remove(3);
    rest.remove(0);
    assert_eq!(acknowledge_all(&mut broker, gem, &rest), digests(&packets[INFLIGHT_MAX + 2..]));
    assert_eq!(broker.waiting(Gem), 0);
}

#[test]
fn acknowledging_on_an_older_connection_makes_room_on_the_newer() {
    let mut broker = Broker::started(NOON);
    let (old, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets = signals(1..u64::try_from(INFLIGHT_MAX + 11).unwrap());
    submit_all(&mut broker, pol, &packets);
    let (new, did) = broker.connect_with(Gem);
    assert_eq!(offered(&broker, &did, new).len(), INFLIGHT_MAX);
    let did = broker.acknowledge(old, Gem, &[(&packets[0], 0)]);
    assert_eq!(offered(&broker, &did, new), digests(&packets[INFLIGHT_MAX..=INFLIGHT_MAX]));
}

#[test]
fn what_was_settled_on_a_newer_connection_makes_room_on_the_older() {
    let mut broker = Broker::started(NOON);
    let (old, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets = signals(1..u64::try_from(INFLIGHT_MAX + 11).unwrap());
    submit_all(&mut broker, pol, &packets[..INFLIGHT_MAX]);
    let new = broker.connect(Gem);
    acknowledge_all(&mut broker, new, &packets[..INFLIGHT_MAX]);
    broker.turn([Input::Disconnected { conn: new }]);
    let did = submit_all(&mut broker, pol, &packets[INFLIGHT_MAX..]);
    assert_eq!(offered(&broker, &did, old), digests(&packets[INFLIGHT_MAX..]));
}

#[test]
fn everything_unacknowledged_is_offered_again_after_a_reconnect() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets = signals(1..6);
    let did = submit_all(&mut broker, pol, &packets);
    let first = broker.offers(&did);
    broker.acknowledge(gem, Gem, &[(&packets[1], 0)]);
    broker.turn([Input::Disconnected { conn: gem }]);
    let (gem, did) = broker.connect_with(Gem);
    let left = [&packets[..1], &packets[2..]].concat();
    assert_eq!(offered(&broker, &did, gem), digests(&left));
    let receipts = |offers: &[super::broker::Offered]| {
        offers.iter().map(|offer| (offer.packet, offer.receipt.clone())).collect::<Vec<_>>()
    };
    let mut expected = receipts(&first);
    expected.remove(1);
    assert_eq!(receipts(&broker.offers(&did)), expected, "with the same receipts, byte for byte");
}

#[test]
fn a_packet_settled_in_the_turn_that_offers_it_again_is_not_sent() {
    let mut broker = Broker::started(NOON);
    let (old, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let (_, hello) = broker.hello(Gem);
    let examined = Ok(Broker::batch(Gem, &broker.ack(Gem, &[(&bytes, 0)])));
    let did = broker.turn([hello, Input::Acknowledged { conn: old, examined }]);
    assert!(broker.offers(&did).is_empty() && broker.blobs.is_empty());
}

#[test]
fn of_two_sessions_the_newest_is_served() {
    let mut broker = Broker::started(NOON);
    let (one, pol) = (broker.connect(Gem), broker.connect(Pol));
    let two = broker.connect(Gem);
    let packets = signals(1..4);
    let did = submit_all(&mut broker, pol, &packets[..2]);
    assert_eq!(offered(&broker, &did, two), digests(&packets[..2]));
    let did = broker.turn([Input::Disconnected { conn: two }]);
    assert_eq!(offered(&broker, &did, one), digests(&packets[..2]), "the one that is left takes over");
    let did = submit_all(&mut broker, pol, &packets[2..]);
    assert_eq!(offered(&broker, &did, one), digests(&packets[2..]));
}

#[test]
fn a_quarantined_packet_is_logged_with_its_reason() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let reason = Refusal::CannotOpen.number();
    let did = broker.acknowledge(gem, Gem, &[(&bytes, reason)]);
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((entry.kind, entry.reason), (Kind::Delivered, Some(reason)));
    assert_eq!(entry.result.as_deref(), Some("quarantined"));
    assert!(broker.blobs.is_empty());
}

#[test]
fn acknowledging_twice_gives_one_entry() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let did = broker.acknowledge(gem, Gem, &[(&bytes, 0), (&bytes, Refusal::CannotOpen.number())]);
    assert_eq!(did.entries.len(), 1, "in one acknowledgement");
    let did = broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
    assert!(did.entries.is_empty() && did.sends.is_empty(), "in two");
}

#[test]
fn acknowledging_an_unknown_packet_does_nothing() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let right = Acknowledged::stored(msg_id(1), sha256(&bytes), 0, broker.link(Gem, &sha256(&bytes)));
    for item in
        [Acknowledged { packet: Digest([1; 32]), ..right }, Acknowledged { msg_id: msg_id(2), ..right }]
    {
        let ack = Acknowledgement { recipient: Gem.oin(), issued: NOON, items: vec![item] };
        let examined = Ok(Broker::batch(Gem, &ack));
        let did = broker.turn([Input::Acknowledged { conn: gem, examined }]);
        assert!(did.entries.is_empty() && did.sends.is_empty(), "{item:?}");
    }
    assert_eq!(broker.waiting(Gem), 1);
}

#[test]
fn a_partner_cannot_acknowledge_what_is_anothers() {
    let mut broker = Broker::started(NOON);
    let (pol, jw) = (broker.connect(Pol), broker.connect(Jw));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    // In its own name: the packet does not wait for it.
    let did = broker.acknowledge(jw, Jw, &[(&bytes, 0)]);
    assert!(did.entries.is_empty() && did.sends.is_empty());
    // In the recipient's name: refused, logged and cut off.
    let examined = Ok(Broker::batch(Gem, &broker.ack(Gem, &[(&bytes, 0)])));
    let did = broker.turn([Input::Acknowledged { conn: jw, examined }]);
    cut_off(&did, jw, Jw, Refusal::SenderNotConnection);
    assert_eq!(broker.waiting(Gem), 1);
}

fn cut_off(did: &Did, conn: ConnId, org: Org, refusal: Refusal) {
    let [entry] = did.entries.clone().try_into().unwrap();
    assert_eq!((entry.kind, entry.from), (Kind::Refused, Some(org.oin())));
    assert_eq!((entry.reason, entry.detail.as_deref()), (Some(refusal.number()), Some("acknowledgement")));
    assert_eq!(did.sends, [Send::Close { conn, reason: refusal }]);
}

#[test]
fn a_wrongly_signed_acknowledgement_closes_the_connection() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let signed = broker.ack(Gem, &[(&bytes, 0)]).sign(&Jw.key());
    let examined = Acknowledgement::verify(&signed, &[Gem.key().public()]);
    let did = broker.turn([Input::Acknowledged { conn: gem, examined }]);
    cut_off(&did, gem, Gem, Refusal::UnknownKey);
    assert_eq!(broker.waiting(Gem), 1, "it waits on");
}

#[test]
fn a_packet_that_nobody_fetched_expires() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let end = signal().context.expires;
    assert!(broker.tick_until(end.minus(Span(1))).entries.is_empty());
    let did = broker.tick_until(end);
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((entry.kind, entry.to, entry.packet), (Kind::Expired, Some(Gem.oin()), Some(sha256(&bytes))));
    assert_eq!((entry.from, entry.flow.as_deref()), (Some(Pol.oin()), Some("F01")));
    assert!(broker.blobs.is_empty(), "its bytes are erased");
    let (_, did) = broker.connect_with(Gem);
    assert!(broker.offers(&did).is_empty());
}

#[test]
fn what_expires_makes_room_for_what_waits_behind_it() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets = signals(1..u64::try_from(INFLIGHT_MAX + 1).unwrap());
    submit_all(&mut broker, pol, &packets);
    let late = Draft::new(Pol, &[Gem], "F01", 10_000, NOON)
        .with(|draft| draft.context.expires = NOON.plus(Span::days(2)))
        .seal();
    let did = broker.submit(pol, Pol, &late);
    assert!(broker.offers(&did).is_empty(), "the window is full");
    let did = broker.tick_until(NOON.plus(Span::days(1)));
    assert_eq!(did.entries.len(), INFLIGHT_MAX);
    assert_eq!(offered(&broker, &did, gem), [sha256(&late)]);
}

#[test]
fn acknowledging_after_expiry_changes_nothing() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    broker.tick_until(signal().context.expires);
    assert!(broker.acknowledge(gem, Gem, &[(&bytes, 0)]).entries.is_empty());
}

fn small(packets: usize, bytes: u64) -> Broker {
    let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
    config.mailbox_packets = packets;
    config.mailbox_bytes = bytes;
    Broker::with(config, NOON).populated()
}

#[test]
fn a_full_mailbox_defers_and_records_nothing() {
    let size = u64::try_from(signal().seal().len()).unwrap();
    // Of four packets' bytes an eighth is kept for each of three others.
    for mut broker in [small(2, u64::MAX), small(100, 4 * size)] {
        let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
        let packets = signals(1..4);
        submit_all(&mut broker, pol, &packets[..2]);
        let stored = broker.stored();
        let did = broker.submit(pol, Pol, &packets[2]);
        let [Send::Deferred { conn, deferred, .. }] = did.sends.as_slice() else {
            panic!("put off: {:?}", did.sends);
        };
        assert_eq!((*conn, deferred.packet), (pol, sha256(&packets[2])));
        assert_eq!(deferred.reason, Refusal::MailboxFull.number());
        assert_eq!(deferred.retry_after, broker.config.retry_after.0);
        assert!(did.entries.is_empty());
        assert_eq!(broker.stored(), stored, "nothing is recorded");
        // Once there is room the same bytes are accepted.
        broker.acknowledge(gem, Gem, &[(&packets[0], 0)]);
        broker.accept(pol, Pol, &packets[2]);
    }
}

#[test]
fn what_is_under_way_does_not_overtake_a_packet_that_was_put_off() {
    let is_put_off = |did: &Did| matches!(did.sends.as_slice(), [Send::Deferred { .. }]);
    let put_off = || {
        let mut broker = small(1, u64::MAX);
        let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
        let packets = signals(1..4);
        broker.accept(pol, Pol, &packets[0]);
        assert!(is_put_off(&broker.submit(pol, Pol, &packets[1])));
        broker.acknowledge(gem, Gem, &[(&packets[0], 0)]);
        assert!(is_put_off(&broker.submit(pol, Pol, &packets[2])), "there is room, but an earlier one waits");
        (broker, pol, packets)
    };
    let (mut broker, pol, packets) = put_off();
    broker.accept(pol, Pol, &packets[1]);
    let (mut broker_without, pol_without, _) = put_off();
    broker_without.now = broker_without.now.plus(broker_without.config.retry_after);
    broker_without.accept(pol_without, Pol, &packets[2]);
    let other = Draft::new(Pol, &[Jw], "F04", 9, NOON).with(|draft| draft.context.seq = 9).seal();
    let (mut elsewhere, pol, _) = put_off();
    assert!(!is_put_off(&elsewhere.submit(pol, Pol, &other)), "another flow goes on");
}

#[test]
fn what_waits_of_who_was_revoked_takes_nothing_of_what_is_kept_for_others() {
    let mut agreed = covenant();
    agreed.in_flight.revoked = Fate::Deliver;
    let compiled = Arc::new(Compiled::new(agreed).unwrap());
    let hash = compiled.hash();
    let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
    config.mailbox_packets = 40;
    let mut broker = Broker::with(config, NOON).populated_with(compiled);
    let bring = |broker: &mut Broker, from: Org, count: u64| {
        let conn = broker.connect(from);
        let draft = |number| {
            Draft::new(from, &[Gem], "F01", number, NOON).with(|draft| draft.context.covenant = hash)
        };
        let packets: Vec<_> = (1..count).map(|number| draft(number).seal()).collect();
        let inputs: Vec<_> = packets.iter().map(|bytes| broker.submission(conn, from, bytes)).collect();
        broker.turn(inputs);
        broker.waiting(Gem)
    };
    // Half of it, and the eighth that is kept for each of four who may send.
    assert_eq!(bring(&mut broker, Pol, 40), 25);
    broker.command(Command::RevokePartner { oin: Pol.oin(), reason: None });
    assert_eq!(broker.waiting(Gem), 25, "it stays");
    assert_eq!(bring(&mut broker, Jw, 12), 30, "the parts of the two others stay free");
}

#[test]
fn one_full_mailbox_puts_off_the_whole_packet() {
    let mut broker = small(1, u64::MAX);
    let gem = broker.connect(Gem);
    broker.accept(gem, Gem, &Draft::new(Gem, &[Jw], "F04", 1, NOON).seal());
    let did = broker.submit(gem, Gem, &Draft::new(Gem, &[Pol, Jw], "F04", 2, NOON).seal());
    assert!(matches!(did.sends.as_slice(), [Send::Deferred { .. }]));
    assert_eq!(broker.waiting(Pol), 0, "nobody gets half of it");
}

#[test]
fn a_full_mailbox_fills_within_one_turn_too() {
    let mut broker = small(2, u64::MAX);
    let pol = broker.connect(Pol);
    let did = submit_all(&mut broker, pol, &signals(1..5));
    assert_eq!(broker.verdicts(&did).len(), 2);
    assert_eq!(did.sends.iter().filter(|send| matches!(send, Send::Deferred { .. })).count(), 2);
    let queue = broker.overview().queues.remove(0);
    let oin: Oin = Gem.oin();
    assert_eq!((queue.oin, queue.packets, queue.inflight), (oin, 2, 0));
}
