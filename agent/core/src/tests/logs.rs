//! One exchange log after another: what is followed, and what is not.

use std::sync::Arc;

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::succession::Cause;
use seinhuis_shared::wire::{self, Offer};

use crate::fixture::{Broker, NOW, Node, ORIGIN, oin, partnership, signal};
use crate::rows::table;
use crate::{AlarmKind, Input, Send};

const NEXT: &str = "broker.example/uitwisseling/2027";
const AFTER: &str = "broker.example/uitwisseling/2029";
const BY_HAND: &str = "broker.example/uitwisseling/2026-b";

fn grow(broker: &mut Broker, fill: u8) {
    broker.append(&Entry::new(Kind::Operator, NOW, [fill; 16]));
}

fn logs(node: &Node) -> Vec<(String, u64)> {
    node.core.logs().map(|(origin, pin)| (origin.to_owned(), pin.unwrap().size)).collect()
}

fn said(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(origin, size)| ((*origin).to_owned(), *size)).collect()
}

/// The broker's answer, changed on its way.
fn answered(broker: &Broker, node: &mut Node, change: impl FnOnce(&mut wire::Succession)) {
    node.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    let asked = node.take_sends().into_iter().find_map(|send| {
        if let Send::FetchSuccession { origin, size } = send { Some((origin, size)) } else { None }
    });
    let (origin, size) = asked.unwrap();
    let mut answer = broker.succession(&origin, size).unwrap();
    change(&mut answer);
    node.step([Input::Succession(Some(Box::new(answer)))], NOW);
}

#[test]
fn years_are_followed_one_after_the_other_and_over_a_restart() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    grow(&mut broker, 1);
    broker.succeed(NEXT, Cause::Year, NOW);
    grow(&mut broker, 2);
    broker.connect(&mut town, NOW);
    let closed = broker.closed[ORIGIN].0.size();
    assert_eq!(logs(&town), said(&[(ORIGIN, closed), (NEXT, 1)]));
    assert!(town.core.is_connected() && town.alarms().is_empty());
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!(logs(&town), said(&[(ORIGIN, closed), (NEXT, 2)]));
    assert_eq!(town.restored().logs().count(), 2);
    // Who was away for years follows them all.
    broker.succeed(AFTER, Cause::Year, NOW);
    broker.connect(&mut youth, NOW);
    assert_eq!(logs(&youth), said(&[(ORIGIN, closed), (NEXT, 3), (AFTER, 1)]));
    assert!(youth.core.is_connected() && youth.alarms().is_empty());
    youth.restart(NOW);
    assert_eq!(logs(&youth), said(&[(ORIGIN, closed), (NEXT, 3), (AFTER, 1)]));
    broker.connect(&mut youth, NOW);
    assert!(youth.core.is_connected());
    let mut fresh = Node::new(4);
    broker.connect(&mut fresh, NOW);
    assert_eq!(logs(&fresh).len(), 3, "with an old card and no pin");
}

#[test]
fn what_was_accepted_in_an_old_log_is_taken_in_and_held_against_its_end() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packet = Arc::clone(&youth.submitted()[0]);
    let verdict = broker.accept(&packet, NOW);
    let offers: Vec<Offer> = broker.mailboxes.remove(&oin(1)).unwrap();
    broker.succeed(NEXT, Cause::Year, NOW);
    // The offer is on its way before the agent knows how the logs follow.
    town.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    town.step([Input::Offer(Box::new(offers[0].clone()))], NOW);
    assert_eq!(town.core.status(NOW).received, 0, "held");
    broker.serve(&mut town, NOW);
    assert_eq!((town.core.status(NOW).received, town.alarms()), (1, vec![]));
    assert_eq!(town.core.status(NOW).unproven, 1);
    assert!(town.rows.keys().any(|(of, _)| *of == table::OLDER_WAITING));
    town.restart(NOW);
    assert_eq!(town.core.status(NOW).unproven, 1, "over a restart too");
    broker.connect(&mut town, NOW);
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!(town.core.status(NOW).unproven, 0);
    assert!(!town.rows.keys().any(|(of, _)| *of == table::OLDER_WAITING));
    broker.connect(&mut youth, NOW);
    youth.step([Input::Verdict(verdict)], NOW);
    assert_eq!((youth.core.status(NOW).accepted, youth.alarms()), (1, vec![]));
}

#[test]
fn a_checkpoint_that_waited_is_proved_in_the_closed_log() {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    broker.connect(&mut town, NOW);
    assert_eq!(town.core.status(NOW).unproven, 1);
    broker.succeed(NEXT, Cause::Year, NOW);
    broker.connect(&mut town, NOW);
    assert_eq!(town.core.status(NOW).unproven, 1);
    let asked = town.step([Input::Tick], NOW);
    assert!(asked.is_read_only());
    broker.serve(&mut town, NOW);
    assert_eq!((town.core.status(NOW).unproven, town.alarms()), (0, vec![]));
}

#[test]
fn a_closed_log_that_says_more_is_a_fork() {
    let (mut broker, [mut town, ..]) = partnership();
    let mut other = Broker::new();
    broker.succeed(NEXT, Cause::Year, NOW);
    broker.connect(&mut town, NOW);
    for fill in 0..9 {
        grow(&mut other, fill);
    }
    let offer = other.offer(b"anything", oin(1), NOW);
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
    assert!(town.core.status(NOW).pin.unwrap().forked);
}

#[test]
fn an_end_that_does_not_extend_the_pin_is_a_fork() {
    let (mut broker, [mut town, _, mut youth, mut boa]) = partnership();
    let mut other = Broker::new();
    grow(&mut broker, 1);
    for node in [&mut town, &mut youth, &mut boa] {
        broker.connect(node, NOW);
        node.step([Input::Tick], NOW);
        broker.serve(node, NOW);
    }
    grow(&mut other, 7);
    other.succeed(NEXT, Cause::Year, NOW);
    other.connect(&mut town, NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked], "another history");
    assert_eq!(logs(&town).len(), 1);
    assert!(!town.core.is_connected());
    // Shorter than what was pinned.
    let mut shrunk = Broker::new();
    shrunk.succeed(NEXT, Cause::Year, NOW);
    grow(&mut broker, 2);
    broker.connect(&mut youth, NOW);
    youth.step([Input::Tick], NOW);
    broker.serve(&mut youth, NOW);
    shrunk.connect(&mut youth, NOW);
    assert_eq!(youth.alarms(), [AlarmKind::LogForked], "shrunk");
    // A checkpoint that waits beyond the end.
    for fill in 3..6 {
        grow(&mut broker, fill);
    }
    broker.connect(&mut boa, NOW);
    shrunk.connect(&mut boa, NOW);
    assert_eq!(boa.alarms(), [AlarmKind::LogForked], "signed beyond its end");
}

#[test]
fn what_is_not_proved_is_not_followed() {
    type Change = fn(&mut wire::Succession);
    let cases: [(&str, Change); 5] = [
        ("closing", |answer| answer.closing.0.clear()),
        ("opening", |answer| answer.opening = answer.closing.clone()),
        ("both the other way", |answer| core::mem::swap(&mut answer.opening, &mut answer.closing)),
        ("origin", |answer| answer.origin = "broker.example/uitwisseling/2028".into()),
        ("no name", |answer| answer.origin = String::new()),
    ];
    for (name, change) in cases {
        let (mut broker, [mut town, ..]) = partnership();
        broker.succeed(NEXT, Cause::Year, NOW);
        answered(&broker, &mut town, change);
        assert_eq!(town.alarms(), [AlarmKind::OtherLog], "{name}");
        assert!(!town.core.is_connected() && logs(&town).len() == 1, "{name}");
    }
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    broker.succeed(NEXT, Cause::Year, NOW);
    answered(&broker, &mut town, |answer| answer.proof.clear());
    assert_eq!(town.alarms(), [AlarmKind::LogForked], "the end is not proved to extend the pin");
}

#[test]
fn a_broker_that_shows_nothing_is_asked_again_and_gets_nothing() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    broker.succeed(NEXT, Cause::Year, NOW);
    youth.step([Input::Connected(Box::new(broker.welcome(NOW))), Input::Succession(None)], NOW);
    youth.take_sends();
    youth.push(signal(1), NOW).unwrap();
    assert!(youth.submitted().is_empty());
    assert_eq!(youth.alarms(), [AlarmKind::OtherLog]);
    for _ in 0..30 {
        youth.step([Input::Tick], NOW);
    }
    broker.serve(&mut youth, NOW);
    assert!(youth.core.is_connected());
    assert_eq!(youth.submitted().len(), 1);
}

#[test]
fn nobody_goes_back_to_a_closed_log() {
    let (mut broker, [mut town, ..]) = partnership();
    let before = broker.welcome(NOW);
    broker.succeed(NEXT, Cause::Year, NOW);
    broker.connect(&mut town, NOW);
    town.step([Input::Connected(Box::new(before))], NOW);
    assert_eq!(town.alarms(), [AlarmKind::OtherLog]);
    assert!(!town.core.is_connected());
}

#[test]
fn a_log_begun_by_hand_takes_a_person() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    broker.succeed(BY_HAND, Cause::NewOrigin, NOW);
    broker.connect(&mut town, NOW);
    assert_eq!(town.alarms(), [AlarmKind::OtherLog]);
    assert!(!town.core.is_connected() && logs(&town).len() == 1);
    let offered = town.core.offered_log().unwrap().clone();
    assert_eq!((offered.old.as_str(), offered.new.as_str(), offered.consistent), (ORIGIN, BY_HAND, true));
    let accept = |origin: &str| Input::AcceptOrigin { token: 5, origin: origin.into() };
    let other = town.step([accept("broker.example/c")], NOW);
    assert!(matches!(other.answers.as_slice(), [(5, Err(_))]), "not another one");
    let done = town.step([accept(BY_HAND)], NOW);
    assert!(matches!(done.answers.as_slice(), [(5, Ok(()))]));
    assert!(town.core.is_connected());
    assert_eq!(town.alarms().len(), 2, "that it was accepted is on record");
    let again = town.step([accept(BY_HAND)], NOW);
    assert!(matches!(again.answers.as_slice(), [(5, Err(_))]), "once");
    town.restart(NOW);
    broker.connect(&mut town, NOW);
    assert!(town.core.is_connected());
    let outside = youth.step([accept(BY_HAND)], NOW);
    assert!(matches!(outside.answers.as_slice(), [(5, Err(_))]), "not without a session that offers it");
}

#[test]
fn a_fork_is_left_by_hand_alone_and_then_all_goes_on() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    for fill in 0..3 {
        grow(&mut broker, fill);
    }
    broker.connect(&mut youth, NOW);
    youth.step([Input::Tick], NOW);
    broker.serve(&mut youth, NOW);
    // The broker is put back from a backup, and caught.
    let mut restored = Broker::new();
    for fill in 10..15 {
        grow(&mut restored, fill);
    }
    restored.connect(&mut youth, NOW);
    youth.step([Input::Tick], NOW);
    restored.serve(&mut youth, NOW);
    assert!(youth.core.status(NOW).pin.unwrap().forked);
    // A new year does not wash it away.
    let mut washed = Broker::new();
    washed.succeed(NEXT, Cause::Year, NOW);
    washed.connect(&mut youth, NOW);
    assert!(youth.core.status(NOW).pin.unwrap().forked && logs(&youth).len() == 1);
    restored.succeed(BY_HAND, Cause::NewOrigin, NOW);
    restored.connect(&mut youth, NOW);
    assert!(!youth.core.offered_log().unwrap().consistent);
    youth.push(signal(1), NOW).unwrap();
    assert!(youth.submitted().is_empty());
    let notes = |node: &Node| node.rows.keys().filter(|(of, key)| *of == table::NOTE && key != &[0]).count();
    let evidence = notes(&youth);
    youth.step([Input::AcceptOrigin { token: 1, origin: BY_HAND.into() }], NOW);
    assert!(youth.core.is_connected() && !youth.core.status(NOW).pin.unwrap().forked);
    assert_eq!(youth.submitted().len(), 1, "it goes on");
    assert_eq!(notes(&youth), evidence, "the evidence stays");
    assert!(evidence >= 2);
    youth.restart(NOW);
    assert!(!youth.core.status(NOW).pin.unwrap().forked);
    assert_eq!(youth.core.status(NOW).unproven, 0, "what waited in the other history is dropped");
}

#[test]
fn what_comes_before_the_log_is_followed_is_bounded() {
    use seinhuis_shared::limits::INFLIGHT_MAX;
    let (mut broker, [mut town, ..]) = partnership();
    let offers: Vec<Offer> =
        (0..=INFLIGHT_MAX).map(|n| broker.offer(&n.to_be_bytes(), oin(1), NOW)).collect();
    broker.succeed(NEXT, Cause::Year, NOW);
    town.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    town.step(offers.into_iter().map(|offer| Input::Offer(Box::new(offer))), NOW);
    broker.serve(&mut town, NOW);
    let status = town.core.status(NOW);
    assert_eq!(status.received + status.quarantined, u64::try_from(INFLIGHT_MAX).unwrap());
}
