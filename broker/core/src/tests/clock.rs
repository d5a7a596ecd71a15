//! A broker whose clock is wrong by an hour, or jumps by one: twelve times what clocks may differ.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::limits::CLOCK_SKEW;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

use super::admission::question;
use super::broker::{Broker, Got};
use super::fixture::{Draft, Gem, NOON, Pol};
use super::notices::take;
use super::outcomes::cursor;
use crate::{ConnId, Input, Send};

const HOUR: Span = Span::hours(1);
const MOMENT: Span = Span(1);

fn ahead() -> Timestamp {
    NOON.plus(HOUR)
}

/// The `number`th signal, made at `issued` by the clock of an agent, valid until `expires`.
fn signal(number: u64, issued: Timestamp, expires: Timestamp) -> Vec<u8> {
    Draft::new(Pol, &[Gem], "F01", number, issued).with(|draft| draft.context.expires = expires).seal()
}

/// A signal that is valid for the day that [`Draft::new`] gives.
fn daily(number: u64, issued: Timestamp) -> Vec<u8> {
    signal(number, issued, issued.plus(Span::days(1)))
}

/// Submits, and holds the verdict and the time of its entry against what they have to be.
fn judged(broker: &mut Broker, conn: ConnId, bytes: &[u8], outcome: u16, time: Timestamp) -> Got {
    let did = broker.submit(conn, Pol, bytes);
    let [got] = broker.verdicts(&did).try_into().unwrap();
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((got.outcome, entry.time), (outcome, time), "{entry:?}");
    got
}

/// What a broker whose log says `time` accepts and refuses, whatever its clock or its senders' clocks say.
fn holds_against(broker: &mut Broker, conn: ConnId, first: u64, time: Timestamp) {
    let number = |value: Refusal| value.number();
    let rows = [
        // Made by agents whose clock is right, an hour before what the broker takes for now.
        (daily(first, time.minus(HOUR)), 0),
        (signal(first + 1, time.minus(HOUR), time.plus(MOMENT)), 0),
        (signal(first + 2, time.minus(HOUR), time), number(Refusal::Expired)),
        (signal(first + 3, time.minus(HOUR), time.minus(Span::minutes(30))), number(Refusal::Expired)),
        // Made by agents ahead of that.
        (daily(first + 4, time.plus(CLOCK_SKEW)), 0),
        (daily(first + 5, time.plus(CLOCK_SKEW).plus(MOMENT)), number(Refusal::FromTheFuture)),
        (daily(first + 6, time.plus(HOUR)), number(Refusal::FromTheFuture)),
    ];
    for (bytes, outcome) in rows {
        judged(broker, conn, &bytes, outcome, time);
    }
}

#[test]
fn a_broker_an_hour_ahead_judges_by_its_own_clock() {
    let mut broker = Broker::started(ahead());
    let conn = broker.connect(Pol);
    holds_against(&mut broker, conn, 1, ahead());
    assert_eq!(broker.waiting(Gem), 3);
}

#[test]
fn a_broker_whose_clock_goes_back_judges_by_the_time_of_its_log() {
    let mut broker = Broker::started(ahead());
    let conn = broker.connect(Pol);
    broker.accept(conn, Pol, &daily(1, ahead()));
    broker.now = NOON;
    holds_against(&mut broker, conn, 2, ahead());
    // Halfway to where it was the log still waits for the clock; past it they are together again.
    broker.now = NOON.plus(Span::minutes(30));
    judged(&mut broker, conn, &daily(20, NOON), 0, ahead());
    broker.now = ahead().plus(Span::minutes(1));
    holds_against(&mut broker, conn, 30, ahead().plus(Span::minutes(1)));
}

#[test]
fn the_time_of_the_log_outlives_a_restart_with_the_clock_back() {
    let mut broker = Broker::started(ahead());
    let conn = broker.connect(Pol);
    broker.accept(conn, Pol, &daily(1, ahead()));
    broker.now = NOON;
    broker.restart();
    let (conn, did) = broker.connect_with(Pol);
    let told = did.sends.iter().find_map(|send| match send {
        Send::Welcome { welcome, .. } => Some(welcome.now),
        _ => None,
    });
    assert_eq!(told, Some(ahead()), "agents are told the time that packets are held against");
    holds_against(&mut broker, conn, 2, ahead());
}

#[test]
fn every_kind_of_entry_waits_for_a_clock_that_went_back() {
    let mut broker = Broker::started(ahead());
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = daily(1, ahead());
    broker.accept(pol, Pol, &bytes);
    broker.now = NOON;
    let mut entries = broker.acknowledge(gem, Gem, &[(&bytes, 0)]).entries;
    entries.extend(broker.submit(pol, Pol, b"no packet").entries);
    entries.extend(broker.turn([Input::CertificateRevoked { conn: pol }]).entries);
    broker.add(super::fixture::Absent);
    entries.extend(broker.entries().pop());
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Delivered, Kind::Refused, Kind::Refused, Kind::Partner]);
    assert!(entries.iter().all(|entry| entry.time == ahead()), "{entries:?}");
}

#[test]
fn a_jump_that_nothing_is_logged_in_leaves_no_trace() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    broker.accept(conn, Pol, &daily(1, NOON));
    assert!(broker.tick_until(ahead()).entries.is_empty());
    broker.now = NOON;
    holds_against(&mut broker, conn, 2, NOON);
}

#[test]
fn what_waits_survives_jumps_of_an_hour_both_ways() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let long = [daily(1, NOON), daily(2, NOON), signal(3, NOON, ahead().plus(MOMENT))];
    let short = signal(4, NOON, ahead());
    for bytes in long.iter().chain([&short]) {
        broker.accept(pol, Pol, bytes);
    }
    // Only what has ended by the broker's own clock ends, and the log tells its sender so.
    let did = broker.tick_until(ahead());
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((entry.kind, entry.packet, entry.time), (Kind::Expired, Some(sha256(&short)), ahead()));
    for now in [NOON, ahead(), NOON.minus(HOUR)] {
        assert!(broker.tick_until(now).entries.is_empty(), "at {now}");
        assert_eq!((broker.waiting(Gem), broker.blobs.len()), (3, 3), "at {now}");
    }
    // What was offered before the jumps is offered again, in order, and can be acknowledged.
    broker.turn([Input::Disconnected { conn: gem }]);
    let (gem, did) = broker.connect_with(Gem);
    let offers: Vec<_> = broker.offers(&did).into_iter().map(|offer| offer.packet).collect();
    assert_eq!(offers, long.each_ref().map(|bytes| sha256(bytes)));
    let items = long.each_ref().map(|bytes| (bytes.as_slice(), 0));
    let did = broker.acknowledge(gem, Gem, &items);
    assert!(did.entries.iter().all(|entry| (entry.kind, entry.time) == (Kind::Delivered, ahead())));
    assert_eq!((did.entries.len(), broker.waiting(Gem)), (3, 0));
}

#[test]
fn outcomes_are_repeated_to_the_byte_after_the_clock_goes_back() {
    let mut broker = Broker::started(ahead());
    let conn = broker.connect(Pol);
    let packets = [
        (daily(1, ahead()), 0),
        (signal(2, NOON, ahead().plus(MOMENT)), 0),
        (signal(3, NOON, ahead()), Refusal::Expired.number()),
        (daily(4, ahead().plus(HOUR)), Refusal::FromTheFuture.number()),
    ];
    let first =
        packets.each_ref().map(|(bytes, outcome)| judged(&mut broker, conn, bytes, *outcome, ahead()));
    broker.now = NOON;
    for restarted in [false, true] {
        let conn = if restarted {
            broker.restart();
            broker.connect(Pol)
        } else {
            conn
        };
        broker.turn([Input::Tick]);
        for ((bytes, _), got) in packets.iter().zip(&first) {
            let did = broker.submit(conn, Pol, bytes);
            assert_eq!(broker.verdicts(&did).as_slice(), std::slice::from_ref(got));
            assert!(did.entries.is_empty(), "{:?}", did.entries);
        }
    }
}

/// The clock jumps past the time until which an outcome is kept, and back before anything is logged.
#[test]
fn a_clock_that_was_ahead_for_a_moment_lets_nothing_in_twice() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal(1, NOON, NOON.plus(Span::minutes(30)));
    let got = broker.accept(pol, Pol, &bytes);
    broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
    assert!(broker.tick_until(ahead()).entries.is_empty(), "nothing waits, so nothing is logged");
    broker.now = NOON;
    let did = broker.submit(pol, Pol, &bytes);
    assert_eq!(broker.verdicts(&did), [got]);
    assert!(did.entries.is_empty() && broker.offers(&did).is_empty(), "{:?}", did.entries);
}

#[test]
fn what_the_log_says_is_over_is_forgotten_and_stays_out() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    let bytes = question();
    let short = signal(1, NOON, NOON.plus(Span::minutes(30)));
    let gem = broker.connect(Gem);
    broker.accept(conn, Pol, &short);
    let did = broker.acknowledge(gem, Gem, &[(&short, 0)]);
    take(&mut broker, conn, cursor(&did));
    broker.now = ahead();
    broker.accept(gem, Gem, &bytes.seal());
    broker.turn([Input::Tick]);
    assert_eq!(broker.core.state.seen.len(), 1, "the newer one alone");
    broker.now = NOON;
    judged(&mut broker, conn, &short, Refusal::Expired.number(), ahead());
}
