//! What senders are told of their packets, and the words about single packets that follow.

use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement, Said};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::NOTICES_INFLIGHT;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::receipt::CheckpointCache;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Consume, Notices, Withdrawal};

use super::admission::signal;
use super::broker::{Broker, Did, ORIGIN, log_key, log_signer};
use super::fixture::{Draft, Gem, Jw, NOON, Org, Pol};
use crate::{Ask, Command, Config, ConnId, Consumed, Input, Pick, RequestId, Send, TakeBack};

const REQUEST: RequestId = RequestId(3);

fn entries(notices: &Notices) -> Vec<Entry> {
    notices
        .verify(&log_key(), &mut CheckpointCache::default())
        .unwrap()
        .1
        .into_iter()
        .map(|one| one.1)
        .collect()
}

fn kinds(all: &[Notices]) -> Vec<Kind> {
    all.iter().flat_map(entries).map(|entry| entry.kind).collect()
}

fn refused(did: &Did) -> Option<u16> {
    did.sends.iter().find_map(|send| match send {
        Send::Refuse { refuse, .. } => Some(refuse.reason),
        _ => None,
    })
}

fn given(did: &Did) -> Vec<u64> {
    let found = did.sends.iter().find_map(|send| match send {
        Send::Entries { pick: Pick::These(indexes), .. } => Some(indexes.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}

pub(super) fn take(broker: &mut Broker, conn: ConnId, cursor: u64) -> Did {
    broker.turn([Input::NoticesTaken { conn, cursor }])
}

pub(super) fn word(org: Org, bytes: &[u8], reason: &str) -> Vec<u8> {
    let packet = Packet::parse(bytes).unwrap();
    let said = Withdrawal {
        version: 1,
        sender: org.oin(),
        msg_id: packet.context().msg_id,
        packet: packet.digest(),
        issued: NOON,
        reason: reason.into(),
    };
    said.sign(&org.key())
}

pub(super) fn take_back(broker: &mut Broker, conn: ConnId, org: Org, signed: &[u8]) -> Did {
    let examined = TakeBack::examine(signed, &org.oin(), &broker.core.directory()).map(Box::new);
    broker.turn([Input::Request { conn, request: REQUEST, ask: Ask::Withdraw(examined) }])
}

/// What `org` says when its application took over the packet that was accepted for `of`.
fn consume(broker: &Broker, org: Org, of: Org, bytes: &[u8]) -> Consume {
    let packet = Packet::parse(bytes).unwrap();
    let digest = packet.digest();
    let accepted = broker.entries().iter().position(|entry| {
        (entry.kind, entry.to, entry.packet) == (Kind::Accepted, Some(of.oin()), Some(digest))
    });
    let stored = Acknowledged::stored(packet.context().msg_id, digest, 0, broker.link(of, &digest));
    let statement = Acknowledgement::sign_one(org.oin(), NOON, stored.consumed(), &org.key());
    Consume { statement, origin: ORIGIN.into(), accepted: u64::try_from(accepted.unwrap()).unwrap() }
}

fn examined(broker: &Broker, org: Org, consume: Consume) -> Result<Box<Consumed>, Refusal> {
    let position = consume.accepted;
    let entry = usize::try_from(position).ok().and_then(|index| broker.log.get(index));
    let entry = entry.map(|bytes| (position, bytes.as_slice()));
    Consumed::examine(consume, entry, &org.oin(), &broker.core.directory()).map(Box::new)
}

pub(super) fn say_consumed(broker: &mut Broker, conn: ConnId, org: Org, bytes: &[u8]) -> Did {
    let examined = examined(broker, org, consume(broker, org, org, bytes));
    broker.turn([Input::Request { conn, request: REQUEST, ask: Ask::Consume(examined) }])
}

#[test]
fn a_sender_is_told_with_the_recipients_signature_and_nothing_of_others() {
    let mut broker = Broker::started(NOON);
    let (gem, pol, jw) = (broker.connect(Gem), broker.connect(Pol), broker.connect(Jw));
    let own = signal().seal();
    let others = Draft::new(Jw, &[Gem], "F01", 7, NOON).seal();
    broker.accept(pol, Pol, &own);
    broker.accept(jw, Jw, &others);
    let did = broker.acknowledge(gem, Gem, &[(&others, 0), (&own, 504)]);
    let told = broker.notices(&did);
    assert_eq!(told.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), [pol, jw]);
    for ((_, notices), (bytes, outcome)) in told.iter().zip([(&own, 504), (&others, 0)]) {
        let [entry] = entries(notices).try_into().unwrap();
        let [part] = notices.parts.clone().try_into().unwrap();
        assert_eq!((entry.kind, entry.packet), (Kind::Delivered, Some(sha256(bytes))));
        let signed = part.verify(|_| Ok(Gem.key().public())).unwrap();
        assert_eq!(signed.recipient, Gem.oin());
        let [item] = part.items.try_into().unwrap();
        assert_eq!((item.said, item.packet, item.outcome), (Said::Stored, sha256(bytes), outcome));
        assert_eq!(item.previous, broker.link(Gem, &sha256(bytes)), "it links to the accepted entry");
        assert_eq!(entry.statement, Some(item.hash()), "and the log binds it");
        assert!(notices.statement(&item.hash()).unwrap().verify(|_| Ok(Gem.key().public())).is_ok());
    }
}

#[test]
fn a_statement_that_links_to_another_entry_is_refused_and_settles_nothing() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let (one, two) = (signal().seal(), Draft::new(Pol, &[Gem], "F01", 2, NOON).seal());
    broker.accept(pol, Pol, &one);
    broker.accept(pol, Pol, &two);
    let mut ack = broker.ack(Gem, &[(&one, 0), (&two, 0)]);
    let (a, b) = (ack.items[0].previous, ack.items[1].previous);
    (ack.items[0].previous, ack.items[1].previous) = (b, a);
    let examined = Ok(Broker::batch(Gem, &ack));
    let did = broker.turn([Input::Acknowledged { conn: gem, examined }]);
    assert_eq!(did.entries[0].reason, Some(Refusal::StatementUnlinked.number()));
    assert!(matches!(did.sends[..], [Send::Close { reason: Refusal::StatementUnlinked, .. }]));
    assert_eq!(broker.waiting(Gem), 2);
}

#[test]
fn what_was_not_taken_is_told_again_byte_for_byte_and_after_a_restart() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets: Vec<_> = (1..4).map(|n| Draft::new(Pol, &[Gem], "F01", n, NOON).seal()).collect();
    let mut first = Vec::new();
    for bytes in &packets {
        broker.accept(pol, Pol, bytes);
        let did = broker.acknowledge(gem, Gem, &[(bytes, 0)]);
        first.extend(broker.notices(&did).into_iter().map(|(_, notices)| notices));
    }
    assert_eq!(first.len(), 3);
    let (again, did) = broker.connect_with(Pol);
    assert_eq!(broker.notices(&did), first.iter().map(|one| (again, one.clone())).collect::<Vec<_>>());
    // Taken up to the second: only the third is told after a restart. What is taken needs no flush of its own.
    assert!(take(&mut broker, again, first[1].cursor).sends.is_empty());
    broker.tick_until(broker.now);
    broker.restart();
    let (conn, did) = broker.connect_with(Pol);
    assert_eq!(broker.notices(&did), [(conn, first[2].clone())]);
    take(&mut broker, conn, u64::MAX);
    broker.tick_until(broker.now);
    assert!(broker.core.state.untold.is_empty());
}

#[test]
fn a_cursor_counts_for_what_was_told_on_its_own_connection_alone() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let jw = broker.connect(Jw);
    broker.accept(pol, Pol, &signal().seal());
    broker.turn([Input::Disconnected { conn: pol }]);
    broker.acknowledge(gem, Gem, &[(&signal().seal(), 0)]);
    let other = broker.connect(Org::Om);
    for conn in [jw, gem, other] {
        take(&mut broker, conn, u64::MAX);
        broker.tick_until(broker.now);
    }
    let (_, did) = broker.connect_with(Pol);
    assert_eq!(broker.notices(&did).len(), 1, "nobody takes what another is told");
}

#[test]
fn what_waits_for_a_sender_that_stays_away_is_bounded_in_number_and_time() {
    let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
    config.notices_kept = 5;
    let mut broker = Broker::with(config, NOON).populated();
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets: Vec<_> = (1..10).map(|n| Draft::new(Pol, &[Gem], "F01", n, NOON).seal()).collect();
    for bytes in &packets {
        broker.accept(pol, Pol, bytes);
    }
    broker.turn([Input::Disconnected { conn: pol }]);
    for bytes in &packets {
        broker.acknowledge(gem, Gem, &[(bytes, 0)]);
    }
    let (pol, did) = broker.connect_with(Pol);
    let told: Vec<_> = broker.notices(&did).iter().flat_map(|(_, one)| entries(one)).collect();
    assert_eq!(
        told.iter().map(|one| one.packet).collect::<Vec<_>>(),
        packets[4..].iter().map(|one| Some(sha256(one))).collect::<Vec<_>>()
    );
    assert_eq!(
        broker.entries().iter().filter(|one| one.kind == Kind::Delivered).count(),
        9,
        "the log has all"
    );
    broker.turn([Input::Disconnected { conn: pol }]);
    broker.log_and_tick(NOON.plus(Span::days(31)));
    assert!(broker.core.state.untold.is_empty());
}

#[test]
fn no_more_is_under_way_than_the_window_and_taking_lets_the_rest_through() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let count = NOTICES_INFLIGHT + 3;
    let mut told = Vec::new();
    for number in 1..=u64::try_from(count).unwrap() {
        let bytes = Draft::new(Pol, &[Gem], "F01", number, NOON).seal();
        broker.accept(pol, Pol, &bytes);
        let did = broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
        told.extend(broker.notices(&did));
    }
    assert_eq!(told.len(), NOTICES_INFLIGHT);
    let did = take(&mut broker, pol, told[1].1.cursor);
    assert_eq!(broker.notices(&did).len(), 2);
    let did = take(&mut broker, pol, told[NOTICES_INFLIGHT - 1].1.cursor);
    assert_eq!(broker.notices(&did).len(), 1);
}

#[test]
fn a_sender_is_told_of_what_expired_and_was_shredded() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &signal().seal());
    let did = broker.tick_until(NOON.plus(Span::days(2)));
    let told: Vec<_> = broker.notices(&did).into_iter().map(|(_, one)| one).collect();
    assert_eq!(kinds(&told), [Kind::Expired]);
    let bytes = Draft::new(Pol, &[Gem], "F01", 2, broker.now).seal();
    broker.accept(pol, Pol, &bytes);
    let command = Command::RevokePartner { oin: Gem.oin(), reason: None };
    let did = broker.turn([Input::Operator { id: crate::CommandId(1), command }]);
    let told: Vec<_> = broker.notices(&did).into_iter().map(|(_, one)| one).collect();
    assert_eq!(kinds(&told), [Kind::Shredded]);
    assert!(told[0].parts.is_empty());
}

#[test]
fn what_was_consumed_is_logged_once_linked_and_told() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    // Its acknowledgement is on its way: again later.
    let did = say_consumed(&mut broker, gem, Gem, &bytes);
    assert_eq!(refused(&did), Some(Refusal::TooBusy.number()));
    broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
    let did = say_consumed(&mut broker, gem, Gem, &bytes);
    let [entry] = did.entries.clone().try_into().unwrap();
    assert_eq!((entry.kind, entry.from, entry.to), (Kind::Consumed, Some(Pol.oin()), Some(Gem.oin())));
    let at = u64::try_from(broker.log.len()).unwrap() - 1;
    assert_eq!(given(&did), [at]);
    let [(conn, notices)] = broker.notices(&did).try_into().unwrap();
    let item = notices.parts[0].items[0];
    assert_eq!((conn, item.said, Some(item.hash())), (pol, Said::Consumed, entry.statement));
    let stored = broker.ack(Gem, &[(&bytes, 0)]).items[0];
    assert_eq!(item.previous, stored.hash(), "it links to what was said before");
    // Again, also after a restart: the same entry, and no other.
    broker.restart();
    let gem = broker.connect(Gem);
    let did = say_consumed(&mut broker, gem, Gem, &bytes);
    assert!(did.entries.is_empty());
    assert_eq!(given(&did), [at]);
    broker.now = NOON.plus(Span::days(31));
    broker.log_and_tick(broker.now);
    let did = say_consumed(&mut broker, gem, Gem, &bytes);
    assert_eq!(refused(&did), Some(Refusal::ConsumedTooLate.number()));
}

#[test]
fn nobody_consumes_what_is_anothers_or_what_it_never_had() {
    let mut broker = Broker::started(NOON);
    let (gem, pol, jw) = (broker.connect(Gem), broker.connect(Pol), broker.connect(Jw));
    let bytes = Draft::new(Gem, &[Pol, Jw], "F04", 1, NOON).seal();
    broker.accept(gem, Gem, &bytes);
    broker.acknowledge(pol, Pol, &[(&bytes, 0)]);
    broker.acknowledge(jw, Jw, &[(&bytes, 0)]);
    // Another recipient's entry, another's name, a link elsewhere, an entry that is none, a list of two.
    let others = consume(&broker, Jw, Pol, &bytes);
    assert_eq!(examined(&broker, Jw, others), Err(Refusal::NotFound));
    let anothers = consume(&broker, Pol, Pol, &bytes);
    assert_eq!(examined(&broker, Jw, anothers.clone()), Err(Refusal::UnknownKey));
    assert_eq!(
        examined(&broker, Pol, Consume { accepted: u64::MAX, ..anothers.clone() }),
        Err(Refusal::NotFound)
    );
    let item = Acknowledged { previous: Digest([1; 32]), ..anothers.statement.item };
    let unlinked = Acknowledgement::sign_one(Pol.oin(), NOON, item, &Pol.key());
    let consume = Consume { statement: unlinked, origin: ORIGIN.into(), accepted: anothers.accepted };
    assert_eq!(examined(&broker, Pol, consume), Err(Refusal::StatementUnlinked));
    let stolen = Acknowledgement::sign_one(Gem.oin(), NOON, anothers.statement.item, &Pol.key());
    let consume = Consume { statement: stolen, origin: ORIGIN.into(), accepted: anothers.accepted };
    assert_eq!(examined(&broker, Pol, consume), Err(Refusal::SenderNotConnection));
    // What expired was never there.
    let pol2 = signal().seal();
    broker.accept(pol, Pol, &pol2);
    broker.tick_until(NOON.plus(Span::days(2)));
    let did = say_consumed(&mut broker, gem, Gem, &pol2);
    assert_eq!(refused(&did), Some(Refusal::NotStored.number()));
}

#[test]
fn a_packet_is_taken_back_from_who_does_not_have_it_and_never_comes_back() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = Draft::new(Gem, &[Pol, Jw], "F04", 1, NOON).seal();
    let verdict = broker.accept(gem, Gem, &bytes);
    // The police is being given it; youth work is away.
    let signed = word(Gem, &bytes, "verkeerde_ontvanger");
    let did = take_back(&mut broker, gem, Gem, &signed);
    let [entry] = did.entries.clone().try_into().unwrap();
    assert_eq!((entry.kind, entry.to), (Kind::Withdrawn, Some(Jw.oin())));
    assert_eq!(
        (entry.statement, entry.detail.as_deref()),
        (Some(sha256(&signed)), Some("verkeerde_ontvanger"))
    );
    let first = given(&did);
    assert_eq!(first.len(), 1);
    let told: Vec<_> = broker.notices(&did).into_iter().map(|(conn, one)| (conn, kinds(&[one]))).collect();
    assert_eq!(told, [(gem, vec![Kind::Withdrawn])]);
    assert_eq!((broker.waiting(Pol), broker.waiting(Jw)), (1, 0));
    // Again: the same entry. The same bytes again: the same verdict, and nothing waits.
    let did = take_back(&mut broker, gem, Gem, &signed);
    assert!(did.entries.is_empty());
    assert_eq!(given(&did), first);
    assert_eq!(broker.accept(gem, Gem, &bytes), verdict);
    assert_eq!(broker.waiting(Jw), 0);
    // Youth work is told, in case it has it from a session that broke off; its late word counts for nothing.
    let (jw, did) = broker.connect_with(Jw);
    assert!(broker.offers(&did).is_empty());
    let [(_, notices)] = broker.notices(&did).try_into().unwrap();
    assert_eq!(kinds(&[notices]), [Kind::Withdrawn]);
    let did = broker.acknowledge(jw, Jw, &[(&bytes, 0)]);
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((entry.kind, entry.reason), (Kind::Refused, Some(Refusal::PacketTakenBack.number())));
    let did = say_consumed(&mut broker, jw, Jw, &bytes);
    assert_eq!(refused(&did), Some(Refusal::NotStored.number()));
    // The police acknowledges in time: delivered is what the log says, and too late is too late.
    broker.acknowledge(pol, Pol, &[(&bytes, 0)]);
    assert!(broker.blobs.is_empty());
}

#[test]
fn what_every_recipient_has_or_is_being_given_cannot_be_taken_back() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let signed = word(Pol, &bytes, "onjuist");
    let did = take_back(&mut broker, pol, Pol, &signed);
    assert_eq!((refused(&did), did.entries.len()), (Some(Refusal::TooLateToTakeBack.number()), 0));
    // Its session ends before it was acknowledged: then it can.
    broker.turn([Input::Disconnected { conn: gem }]);
    let did = take_back(&mut broker, pol, Pol, &signed);
    assert_eq!(did.entries[0].kind, Kind::Withdrawn);
    assert!(broker.blobs.is_empty());
}

#[test]
fn only_its_sender_takes_a_packet_back_and_each_attempt_of_others_is_logged() {
    let mut broker = Broker::started(NOON);
    let (pol, jw) = (broker.connect(Pol), broker.connect(Jw));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let other = Draft::new(Pol, &[Gem], "F01", 1, NOON).with(|draft| draft.body = b"x".to_vec()).seal();
    for (conn, org, signed, refusal) in [
        (jw, Jw, word(Jw, &bytes, "x"), Refusal::UnknownMessage),
        (jw, Jw, word(Pol, &bytes, "x"), Refusal::UnknownKey),
        (pol, Pol, word(Pol, &other, "x"), Refusal::UnknownMessage),
    ] {
        let did = take_back(&mut broker, conn, org, &signed);
        let [entry] = did.entries.clone().try_into().unwrap();
        assert_eq!((entry.kind, entry.from), (Kind::Refused, Some(org.oin())));
        assert_eq!((entry.reason, entry.detail.as_deref()), (Some(refusal.number()), Some("withdraw")));
        assert_eq!(refused(&did), Some(refusal.number()));
    }
    assert_eq!(broker.waiting(Gem), 1);
}
