//! The same packet again gets the same answer, byte for byte; the same id with other bytes gets none of it.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::limits::{CLOCK_SKEW, TTL_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

use super::admission::{question, signal};
use super::broker::Broker;
use super::fixture::{Draft, Gem, Jw, NOON, Pol};
use super::notices::take;
use super::outcomes::cursor;
use crate::{ReceiptSource, Send};

#[test]
fn twice_in_one_turn() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    let inputs = [broker.submission(pol, Pol, &bytes), broker.submission(pol, Pol, &bytes)];
    let did = broker.turn(inputs);
    let [one, other] = broker.verdicts(&did).try_into().unwrap();
    assert_eq!((one.outcome, &one), (0, &other));
    assert_eq!(did.entries.len(), 1, "one entry");
    let offers = broker.offers(&did);
    assert_eq!((offers.len(), offers[0].conn), (1, gem), "one delivery");
}

#[test]
fn in_a_later_turn_and_on_another_connection() {
    let mut broker = Broker::started(NOON);
    broker.connect(Gem);
    let first = broker.connect(Pol);
    let bytes = signal().seal();
    let got = broker.accept(first, Pol, &bytes);
    // Other turns move the log's head on.
    broker.accept(first, Pol, &Draft::new(Pol, &[Gem], "F01", 2, NOON).seal());
    let second = broker.connect(Pol);
    broker.now = NOON.plus(Span::hours(1));
    let did = broker.submit(second, Pol, &bytes);
    assert_eq!(broker.verdicts(&did), [got]);
    assert!(did.entries.is_empty() && broker.offers(&did).is_empty(), "one entry, one delivery");
}

#[test]
fn after_a_restart_from_the_rows() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Gem);
    let bytes = question().seal();
    let got = broker.accept(conn, Gem, &bytes);
    broker.restart();
    let conn = broker.connect(Gem);
    let did = broker.submit(conn, Gem, &bytes);
    assert_eq!(broker.verdicts(&did), [got]);
    assert!(did.entries.is_empty());
    let [Send::Verdict { receipt: ReceiptSource::Stored { count: 3, .. }, .. }] = did.sends.as_slice() else {
        panic!("rebuilt from the log: {:?}", did.sends);
    };
}

#[test]
fn after_it_was_delivered() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let bytes = signal().seal();
    let got = broker.accept(pol, Pol, &bytes);
    broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
    let did = broker.submit(pol, Pol, &bytes);
    assert_eq!(broker.verdicts(&did), [got]);
    assert!(broker.offers(&did).is_empty() && broker.blobs.is_empty(), "not deposited again");
}

#[test]
fn what_was_refused_stays_refused_with_the_same_receipt() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    for (number, edit) in [
        (1, (|draft| draft.context.flow = "F99".into()) as fn(&mut Draft)),
        (2, |draft| draft.context.expires = NOON.minus(Span(1))),
        (3, |draft| draft.context.issued = NOON.plus(Span::hours(1))),
        (4, |draft| {
            draft.context.issued = NOON.minus(Span::days(2));
            draft.context.expires = NOON.minus(Span::days(1));
        }),
    ] {
        let bytes = Draft::new(Pol, &[Gem], "F01", number, NOON).with(edit).seal();
        let first = broker.submit(conn, Pol, &bytes);
        assert_ne!(broker.verdicts(&first)[0].outcome, 0);
        broker.turn([crate::Input::Tick]);
        let again = broker.submit(conn, Pol, &bytes);
        assert_eq!(broker.verdicts(&again), broker.verdicts(&first), "{number}");
        assert!(again.entries.is_empty(), "{number}: {:?}", again.entries);
    }
}

#[test]
fn the_same_id_with_other_bytes_is_equivocation() {
    let mut broker = Broker::started(NOON);
    broker.connect(Gem);
    let conn = broker.connect(Pol);
    let bytes = signal().seal();
    let got = broker.accept(conn, Pol, &bytes);
    let other = signal().with(|draft| draft.body = b"iets anders".to_vec()).seal();
    for _ in 0..2 {
        let did = broker.submit(conn, Pol, &other);
        let [refused] = broker.verdicts(&did).try_into().unwrap();
        assert_eq!((refused.packet, refused.outcome), (sha256(&other), Refusal::Equivocation.number()));
        let [entry] = did.entries.try_into().unwrap();
        assert_eq!((entry.kind, entry.reason), (Kind::Refused, Some(Refusal::Equivocation.number())));
        assert_eq!((entry.packet, entry.msg_id), (Some(sha256(&other)), Some(signal().context.msg_id)));
    }
    assert_eq!((broker.waiting(Gem), broker.blobs.len()), (1, 1), "nothing more is deposited");
    let did = broker.submit(conn, Pol, &bytes);
    assert_eq!(broker.verdicts(&did), [got], "the first outcome stays");
}

#[test]
fn equivocation_in_one_turn() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    let other = signal().with(|draft| draft.context.seq = 9).seal();
    let inputs = [broker.submission(conn, Pol, &signal().seal()), broker.submission(conn, Pol, &other)];
    let did = broker.turn(inputs);
    let outcomes: Vec<_> = broker.verdicts(&did).iter().map(|got| got.outcome).collect();
    assert_eq!(outcomes, [0, Refusal::Equivocation.number()]);
    assert_eq!(broker.waiting(Gem), 1);
}

#[test]
fn an_id_belongs_to_its_sender() {
    let mut broker = Broker::started(NOON);
    let (pol, jw) = (broker.connect(Pol), broker.connect(Jw));
    broker.accept(pol, Pol, &signal().seal());
    broker.accept(jw, Jw, &Draft::new(Jw, &[Gem], "F01", 1, NOON).seal());
    assert_eq!(broker.waiting(Gem), 2);
}

#[test]
fn an_outcome_is_remembered_until_the_packet_can_no_longer_be_accepted() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    // The longest there is: made as far ahead as clocks may differ, valid for as long as may be.
    let made = NOON.plus(CLOCK_SKEW);
    let bytes = signal()
        .with(|draft| {
            draft.context.issued = made;
            draft.context.expires = made.plus(TTL_MAX);
        })
        .seal();
    let got = broker.accept(conn, Pol, &bytes);
    let end = made.plus(TTL_MAX);
    for now in [NOON.plus(TTL_MAX), end.minus(Span(1)), end, end.minus(Span::minutes(4))] {
        let told = broker.tick_until(now);
        if now == end {
            take(&mut broker, conn, cursor(&told));
        }
        let did = broker.submit(conn, Pol, &bytes);
        assert_eq!(broker.verdicts(&did).first(), Some(&got), "at {now}");
        assert!(did.entries.is_empty(), "at {now}");
    }
    broker.log_and_tick(end.plus(CLOCK_SKEW));
    assert!(broker.core.state.seen.is_empty() && broker.core.state.log.notes.is_empty(), "and no longer");
    let did = broker.submit(conn, Pol, &bytes);
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::Expired.number());
}

#[test]
fn no_packet_is_remembered_for_ever() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    let bytes = signal().with(|draft| draft.context.expires = Timestamp(u64::MAX)).seal();
    let did = broker.submit(conn, Pol, &bytes);
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::TtlTooLong.number());
    broker.log_and_tick(NOON.plus(TTL_MAX).plus(Span::hours(1)));
    assert!(broker.core.state.seen.is_empty() && broker.core.state.endings.is_empty());
}
