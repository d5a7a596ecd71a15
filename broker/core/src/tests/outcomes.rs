//! Until when outcomes are repeated: at least until their sender was told what came after them.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::limits::NOTICE_TTL;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;

use super::admission::signal;
use super::broker::{Broker, Did, Got};
use super::fixture::{Draft, Gem, NOON, Pol};
use super::notices::take;
use crate::{Input, Send};

/// A day's validity, and then as long as outcomes are remembered beyond that.
const OVER: Span = Span::minutes(24 * 60 + 6);

/// The cursor of the last notices that are told.
pub(super) fn cursor(did: &Did) -> u64 {
    let told = did.sends.iter().rev().find_map(|send| match send {
        Send::Notices { cursor, .. } => Some(*cursor),
        _ => None,
    });
    told.unwrap()
}

/// The police's signal is accepted, and its connection ends before it has read the verdict.
fn accepted_unheard() -> (Broker, Vec<u8>, Got) {
    let mut broker = Broker::started(NOON);
    let (pol, bytes) = (broker.connect(Pol), signal().seal());
    let got = broker.accept(pol, Pol, &bytes);
    broker.turn([Input::Disconnected { conn: pol }]);
    (broker, bytes, got)
}

/// Whether the police, back again, gets the verdict it did not hear; then it takes what it is told.
fn comes_back(broker: &mut Broker, bytes: &[u8], got: &Got) -> bool {
    let (pol, welcome) = broker.connect_with(Pol);
    let did = broker.submit(pol, Pol, bytes);
    take(broker, pol, cursor(&welcome));
    broker.verdicts(&did).as_slice() == std::slice::from_ref(got)
}

#[test]
fn a_sender_that_was_away_gets_the_verdict_of_what_was_delivered_meanwhile() {
    let (mut broker, bytes, got) = accepted_unheard();
    let gem = broker.connect(Gem);
    broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
    for days in 1..6 {
        broker.log_and_tick(NOON.plus(OVER).plus(Span::days(days)));
    }
    broker.restart();
    assert!(comes_back(&mut broker, &bytes, &got));
    // It knows all there is, so there is nothing left to remember.
    broker.log_and_tick(broker.now.plus(Span::days(1)));
    broker.log_and_tick(broker.now);
    assert!(broker.core.state.seen.is_empty() && broker.core.state.log.notes.is_empty());
    let pol = broker.connect(Pol);
    let did = broker.submit(pol, Pol, &bytes);
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::Expired.number());
}

#[test]
fn a_packet_that_ended_while_the_broker_did_not_run_still_has_its_verdict() {
    let (mut broker, bytes, got) = accepted_unheard();
    let did = broker.log_and_tick(NOON.plus(OVER));
    assert!(did.entries.iter().any(|entry| entry.kind == Kind::Expired), "{:?}", did.entries);
    broker.log_and_tick(broker.now);
    assert!(comes_back(&mut broker, &bytes, &got));
}

#[test]
fn a_sender_that_never_comes_is_remembered_as_long_as_it_would_be_told() {
    let (mut broker, bytes, _) = accepted_unheard();
    let gem = broker.connect(Gem);
    broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
    let end = NOON.plus(NOTICE_TTL);
    broker.log_and_tick(NOON.plus(OVER));
    while broker.now < end {
        assert_eq!(
            (broker.core.state.seen.len(), broker.core.state.untold.len()),
            (1, 1),
            "at {}",
            broker.now
        );
        broker.log_and_tick(broker.now.plus(Span::days(1)));
    }
    broker.log_and_tick(broker.now.plus(Span::days(1)));
    assert!(broker.core.state.seen.is_empty() && broker.core.state.untold.is_empty());
}

#[test]
fn a_sender_that_is_there_and_is_always_told_something_is_not_waited_for() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let did = broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
    take(&mut broker, pol, cursor(&did));
    broker.now = NOON.plus(OVER);
    let next = Draft::new(Pol, &[Gem], "F01", 2, broker.now).seal();
    broker.accept(pol, Pol, &next);
    broker.acknowledge(gem, Gem, &[(&next, 0)]);
    broker.turn([Input::Tick]);
    assert_eq!((broker.core.state.seen.len(), broker.core.state.untold.len()), (1, 1), "the newer one alone");
}
