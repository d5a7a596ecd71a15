//! One log after another.

use seinhuis_shared::covenant::Fate;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::succession::{self, Cause};
use seinhuis_shared::time::{Span, Timestamp};

use super::broker::{Broker, Did, ORIGIN, log_key, log_key_of};
use super::fixture::{Draft, Gem, Pol, covenant};
use crate::{Answer, Ask, Command, CommandId, Input, RequestId, RestoreError, Send};

const NEXT: &str = "broker.example/uitwisseling/2027";

fn newyear() -> Timestamp {
    Timestamp::parse("2027-01-01").unwrap()
}

fn eve() -> Timestamp {
    newyear().minus(Span::hours(1))
}

fn signal(number: u64, now: Timestamp) -> Vec<u8> {
    Draft::new(Pol, &[Gem], "F01", number, now).seal()
}

/// A broker on the eve of a new year, with a packet that waits.
fn waiting() -> (Broker, Vec<u8>) {
    let mut broker = Broker::started(eve());
    let pol = broker.connect(Pol);
    let bytes = signal(1, eve());
    broker.accept(pol, Pol, &bytes);
    (broker, bytes)
}

fn closes(did: &Did) -> Vec<Refusal> {
    let closes = did.sends.iter().filter_map(|send| match send {
        Send::Close { reason, .. } => Some(*reason),
        _ => None,
    });
    closes.collect()
}

#[test]
fn a_year_that_is_over_by_clock_and_by_a_partner_begins_the_next_log() {
    let (mut broker, old) = waiting();
    let now = newyear().plus(Span::hours(1));
    broker.tick_until(now);
    assert_eq!(broker.core.origin(), ORIGIN, "the clock alone begins nothing");
    let pol = broker.connect(Pol);
    let before = broker.log.len();
    let first = broker.submit(pol, Pol, &signal(2, now));
    let did = broker.tick_until(now);
    assert_eq!(broker.core.origin(), NEXT);
    assert_eq!(
        did.entries.iter().map(|entry| entry.kind).collect::<Vec<_>>(),
        [Kind::Closing, Kind::Opening]
    );
    assert_eq!(closes(&did), [Refusal::LogSucceeded; 2], "every session ends");
    let [old_log, new_log] = broker.core.shards() else { panic!("two logs") };
    let closing = old_log.closing.as_ref().unwrap();
    let proved =
        succession::verify((&closing.receipt, &new_log.opening), &log_key(), &log_key_of(NEXT)).unwrap();
    assert_eq!((proved.cause, proved.last.size()), (Cause::Year, u64::try_from(before + 2).unwrap()));
    assert_eq!(broker.core.head().unwrap().size, 1);
    // What was accepted in the old year is delivered in the new one, with the very receipt it had.
    let (gem, did) = broker.connect_with(Gem);
    let offers = broker.offers(&did);
    assert_eq!(offers.len(), 2);
    for offer in &offers {
        let receipt = Receipt::parse(&offer.receipt).unwrap();
        assert!(receipt.checkpoint.starts_with(format!("{ORIGIN}\n").as_bytes()));
    }
    let did = broker.acknowledge(gem, Gem, &[(&old, 0)]);
    assert_eq!(did.entries[0].kind, Kind::Delivered);
    let pol = broker.connect(Pol);
    let again = broker.submit(pol, Pol, &signal(2, now));
    assert_eq!(broker.verdicts(&again), broker.verdicts(&first), "the same answer, byte for byte");
    broker.restart();
    assert_eq!((broker.core.origin(), broker.core.shards().len()), (NEXT, 2));
}

#[test]
fn a_clock_that_jumps_begins_no_log() {
    let (mut broker, _) = waiting();
    broker.tick_until(newyear().plus(Span::days(2)));
    let pol = broker.connect(Pol);
    // A partner's clock was not there: its packet is of the old year.
    broker.submit(pol, Pol, &signal(2, eve()));
    broker.tick_until(newyear().plus(Span::days(2)));
    assert_eq!(broker.core.origin(), ORIGIN);
    let later = Timestamp::parse("2028-06-01").unwrap();
    broker.tick_until(later);
    assert!(broker.overview().year_refused, "more than a year ahead: a person has to look");
    assert_eq!(broker.core.origin(), ORIGIN);
    broker.tick_until(eve());
    assert!(!broker.overview().year_refused);
}

#[test]
fn the_operator_passes_over_years_and_never_goes_back() {
    let (mut broker, _) = waiting();
    assert_eq!(broker.try_command(Command::RollOver).unwrap_err(), Refusal::NotDue, "this year's is open");
    broker.now = Timestamp::parse("2029-06-01").unwrap();
    assert!(matches!(broker.command(Command::RollOver), Answer::Recorded { index: 0 }));
    assert_eq!(broker.core.origin(), "broker.example/uitwisseling/2029");
    broker.now = newyear();
    assert_eq!(broker.try_command(Command::RollOver).unwrap_err(), Refusal::NotDue);
    broker.tick_until(newyear());
    assert_eq!(broker.core.shards().len(), 2);
}

#[test]
fn a_crash_between_closing_and_opening_is_finished_at_the_start() {
    for by_hand in [false, true] {
        let (mut broker, _) = waiting();
        let next = if by_hand { "other.example/log" } else { NEXT };
        broker.now = newyear();
        let mut turn = crate::Turn::new([1; 32]);
        let command = if by_hand {
            Command::NewOrigin { origin: next.into(), reason: Digest([3; 32]) }
        } else {
            Command::RollOver
        };
        broker.core.handle(Input::Operator { id: CommandId(1), command }, broker.now, &mut turn);
        assert!(turn.sends.is_empty(), "answered when it is begun");
        // The turn of the command was durable or not; then the closing one is, and then it crashes.
        broker.succeed();
        broker.restart();
        assert!(broker.core.succession_due());
        broker.succeed();
        assert!(!broker.core.succession_due());
        assert_eq!(broker.core.origin(), next);
        let [old, new] = broker.core.shards() else { panic!("two logs") };
        let receipts = (&old.closing.as_ref().unwrap().receipt[..], &new.opening[..]);
        let cause = succession::verify(receipts, &log_key(), &log_key_of(next)).unwrap().cause;
        assert_eq!(cause == Cause::NewOrigin, by_hand);
    }
}

#[test]
fn another_origin_has_to_be_a_new_name() {
    let (mut broker, _) = waiting();
    let reason = Digest([3; 32]);
    let long = "o".repeat(129);
    for origin in [ORIGIN, "", "with space/2027", "with+plus", &long] {
        let command = Command::NewOrigin { origin: origin.into(), reason };
        assert_eq!(broker.try_command(command).unwrap_err(), Refusal::BadOrigin, "{origin}");
    }
    broker.command(Command::NewOrigin { origin: "broker.example/b".into(), reason });
    let entries = broker.entries();
    let noted = entries.iter().find(|entry| entry.kind == Kind::Operator).unwrap();
    assert_eq!((noted.detail.as_deref(), noted.statement), (Some("new-origin"), Some(reason)));
    let command = Command::NewOrigin { origin: ORIGIN.into(), reason };
    assert_eq!(broker.try_command(command).unwrap_err(), Refusal::BadOrigin, "not back to an old one");
}

#[test]
fn what_lapsed_in_an_earlier_log_says_how_many_logs_earlier() {
    let mut document = covenant();
    document.in_flight.revoked = Fate::Freeze;
    let hash = document.hash();
    let mut broker = Broker::with_covenant(eve(), document);
    let pol = broker.connect(Pol);
    let bytes = Draft::new(Pol, &[Gem], "F01", 1, eve()).with(|draft| draft.context.covenant = hash).seal();
    broker.accept(pol, Pol, &bytes);
    broker.command(Command::RevokePartner { oin: Pol.oin(), reason: None });
    let size = broker.core.state.log.frontier.size();
    for origin in ["a/b", "a/c"] {
        broker.command(Command::NewOrigin { origin: origin.into(), reason: Digest([3; 32]) });
    }
    let did = broker.tick_until(eve().plus(Span::days(40)));
    let [expired] = did.entries.as_slice() else { panic!("one entry: {:?}", did.entries) };
    assert_eq!((expired.kind, &expired.detail), (Kind::Expired, &Some(format!("{size}@2"))));
    // Of the very log it is in, the size alone.
    assert_eq!(broker.core.state.log.size_text(broker.core.state.log.base() + 1), "1");
}

#[test]
fn what_followed_on_a_log_is_told_to_whoever_asks() {
    let (mut broker, _) = waiting();
    broker.command(Command::NewOrigin { origin: "a/b".into(), reason: Digest([3; 32]) });
    let pol = broker.connect(Pol);
    let ask = |broker: &mut Broker, origin: &str, size: u64| {
        let ask = Ask::FetchSuccession(origin.into(), size);
        broker.turn([Input::Request { conn: pol, request: RequestId(1), ask }]).sends.remove(0)
    };
    let end = broker.core.shards()[0].closing.clone().unwrap().size;
    for (size, wanted) in [(0, None), (3, Some((3, end))), (end, Some((end, end))), (end + 1, None)] {
        let Send::Succession { log: 0, proof, origin, closing, opening, .. } = ask(&mut broker, ORIGIN, size)
        else {
            panic!("an answer")
        };
        assert_eq!((proof, origin.as_str()), (wanted, "a/b"));
        assert!(succession::verify((&closing, &opening), &log_key(), &log_key_of("a/b")).is_ok());
    }
    for origin in ["a/b", "never/was"] {
        let Send::Refuse { refuse, .. } = ask(&mut broker, origin, 1) else { panic!("refused") };
        assert_eq!(refuse.reason, Refusal::UnknownLog.number());
    }
    // Proofs are of one log, within its size.
    let consistency = |broker: &mut Broker, origin: &str, sizes: &[u64]| {
        let ask = Ask::FetchConsistency(origin.into(), sizes.to_vec());
        broker.turn([Input::Request { conn: pol, request: RequestId(1), ask }]).sends.remove(0)
    };
    assert!(matches!(consistency(&mut broker, ORIGIN, &[1, end]), Send::Consistency { log: 0, .. }));
    assert!(matches!(consistency(&mut broker, ORIGIN, &[1, end + 1]), Send::Refuse { .. }));
    assert!(matches!(consistency(&mut broker, "never/was", &[1, 2]), Send::Refuse { .. }));
}

#[test]
fn another_first_origin_than_the_store_s_is_refused() {
    let (broker, _) = waiting();
    let mut config = broker.config.clone();
    config.origin = NEXT.into();
    let frontier = broker.core.state.log.frontier.clone();
    let got = crate::Core::restore(config, broker.stored(), frontier).unwrap_err();
    assert_eq!(got, RestoreError::Origin { found: ORIGIN.into() });
}

#[test]
fn a_log_without_a_year_in_its_name_goes_on_for_ever() {
    let mut config = crate::Config::new("localhost/log", super::broker::log_signer().public(), "broker/1");
    config.sweep_packets = 4;
    let mut broker = Broker::with(config, eve()).populated();
    super::cases::walk(&mut broker, CaseId([9; 16]), seinhuis_shared::covenant::Step::S3);
    let now = newyear().plus(Span::days(3));
    broker.now = now;
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &signal(1, now));
    broker.tick_until(now);
    assert_eq!(broker.core.shards().len(), 1);
    assert_eq!(broker.try_command(Command::RollOver).unwrap_err(), Refusal::NotDue);
}
