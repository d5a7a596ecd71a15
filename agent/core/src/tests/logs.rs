//! One exchange log after another: what is followed, and what is not.

use std::sync::Arc;

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::succession::Cause;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{self, Offer};

use crate::fixture::{Broker, COVENANT, NOW, Node, ORIGIN, oin, partnership, signal};
use crate::rows::table;
use crate::trust::PROOF_WAIT;
use crate::{AlarmKind, Input, Send, Write};

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
    node.step([Input::Succession(Ok(Box::new(answer)))], NOW);
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
    let caught = [AlarmKind::LogForked, AlarmKind::OtherLog];
    assert_eq!(town.alarms(), caught, "another history");
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
    assert_eq!(youth.alarms(), caught, "shrunk");
    // A checkpoint that waits beyond the end.
    for fill in 3..6 {
        grow(&mut broker, fill);
    }
    broker.connect(&mut boa, NOW);
    shrunk.connect(&mut boa, NOW);
    assert_eq!(boa.alarms(), caught, "signed beyond its end");
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
    let caught = [AlarmKind::LogForked, AlarmKind::OtherLog];
    assert_eq!(town.alarms(), caught, "the end is not proved to extend the pin");
}

/// The broker's welcome to a later log, and a refusal to show how it came there.
fn unshown(broker: &Broker, node: &mut Node, refusal: Refusal) {
    node.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    node.step([Input::Succession(Err(refusal.number()))], NOW);
    node.take_sends();
}

#[test]
fn a_broker_that_shows_nothing_is_asked_again_and_gets_nothing() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    broker.succeed(NEXT, Cause::Year, NOW);
    unshown(&broker, &mut youth, Refusal::UnknownLog);
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
fn a_broker_that_does_not_answer_is_complained_of_only_when_that_takes_long() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    broker.succeed(NEXT, Cause::Year, NOW);
    let unanswered = |youth: &mut Node, at| {
        youth.step([Input::Succession(Err(Refusal::TooBusy.number()))], at);
        for _ in 0..30 {
            youth.step([Input::Tick], at);
        }
        let sends = youth.take_sends();
        assert!(sends.iter().any(|send| matches!(send, Send::FetchSuccession { .. })), "it is asked again");
    };
    unshown(&broker, &mut youth, Refusal::LogSucceeded);
    unanswered(&mut youth, NOW.plus(PROOF_WAIT));
    assert_eq!(youth.alarms(), [], "a question that is lost says nothing about the log");
    youth.push(signal(1), NOW).unwrap();
    assert!(youth.submitted().is_empty(), "nothing is submitted meanwhile");
    unanswered(&mut youth, NOW.plus(PROOF_WAIT).plus(Span(1)));
    assert_eq!(youth.alarms(), [AlarmKind::LogUnproven]);
    broker.connect(&mut youth, NOW);
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

/// A person's word.
fn accept(node: &mut Node, origin: &str) -> bool {
    let turn = node.step([Input::AcceptOrigin { token: 1, origin: origin.into() }], NOW);
    matches!(turn.answers.as_slice(), [(1, Ok(()))])
}

/// The notes that are kept as evidence.
fn evidence(node: &Node) -> Vec<Bytes> {
    let notes = node.rows.iter().filter(|((of, key), _)| *of == table::NOTE && key != &[0]);
    notes.map(|(_, note)| cbor::strict(note, 4096).unwrap()).collect()
}

fn pinned(broker: &mut Broker, node: &mut Node) {
    broker.connect(node, NOW);
    node.step([Input::Tick], NOW);
    broker.serve(node, NOW);
}

/// Any leaf.
fn grown(fills: core::ops::Range<u8>) -> Broker {
    let mut broker = Broker::new();
    fills.for_each(|fill| grow(&mut broker, fill));
    broker
}

#[test]
fn a_log_that_was_caught_is_left_log_by_log_also_when_a_year_follows_on_it_first() {
    let (_, [mut town, ..]) = partnership();
    pinned(&mut grown(0..3), &mut town);
    let mut restored = grown(10..15);
    pinned(&mut restored, &mut town);
    assert!(town.core.status(NOW).pin.unwrap().forked);
    restored.succeed(NEXT, Cause::Year, NOW);
    restored.succeed(BY_HAND, Cause::NewOrigin, NOW);
    restored.connect(&mut town, NOW);
    let offered = town.core.offered_log().unwrap();
    assert_eq!((offered.new.as_str(), offered.consistent, offered.by_hand), (NEXT, false, false));
    assert!(logs(&town).len() == 1 && !town.core.is_connected(), "nobody said so");
    assert!(!accept(&mut town, BY_HAND), "not before the one it follows on");
    assert!(accept(&mut town, NEXT));
    restored.serve(&mut town, NOW);
    let offered = town.core.offered_log().unwrap();
    assert_eq!((offered.new.as_str(), offered.consistent, offered.by_hand), (BY_HAND, true, true));
    assert!(accept(&mut town, BY_HAND));
    assert!(town.core.is_connected());
    for _ in 0..2 {
        let status = town.core.status(NOW);
        assert_eq!((status.caught, status.origin.as_str()), (vec![ORIGIN.to_owned()], BY_HAND));
        assert!(!status.pin.unwrap().forked);
        town.restart(NOW);
    }
}

#[test]
fn an_agent_that_is_ahead_of_its_broker_is_offered_what_follows_on_an_older_log() {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    broker.succeed(NEXT, Cause::Year, NOW);
    grow(&mut broker, 2);
    pinned(&mut broker, &mut town);
    grow(&mut broker, 3);
    broker.connect(&mut town, NOW);
    let (ahead, ended) = (logs(&town), broker.closed[ORIGIN].0.size());
    assert_eq!(ahead, said(&[(ORIGIN, ended), (NEXT, 2)]));
    let known =
        |node: &Node| Write::read(table::LOG, &[0; 4], &node.rows[&(table::LOG, vec![0; 4])]).unwrap();
    let Write::Log(_, before) = known(&town) else { panic!("the row of a log") };
    // The store is put back from before the year was over, and a log is begun by hand.
    let mut restored = grown(20..22);
    restored.succeed(BY_HAND, Cause::NewOrigin, NOW);
    restored.connect(&mut town, NOW);
    let offered = town.core.offered_log().unwrap().clone();
    assert_eq!((offered.old.as_str(), offered.new.as_str()), (ORIGIN, BY_HAND));
    assert_eq!((offered.consistent, &offered.unknown[..]), (false, &[NEXT.to_owned()][..]));
    assert!(!town.core.is_connected() && logs(&town) == ahead, "never by itself");
    assert!(accept(&mut town, BY_HAND));
    assert!(town.core.is_connected());
    let last = restored.closed[ORIGIN].0.size();
    let Write::Log(_, after) = known(&town) else { panic!("the row of a log") };
    assert_eq!(evidence(&town), [before.note, after.note], "both ends of the one log");
    for _ in 0..2 {
        assert_eq!(logs(&town), said(&[(ORIGIN, last), (NEXT, 2), (BY_HAND, 1)]));
        let status = town.core.status(NOW);
        assert_eq!((status.caught, status.unproven), (vec![ORIGIN.to_owned(), NEXT.to_owned()], 0));
        town.restart(NOW);
    }
    assert!(!town.rows.keys().any(|(of, _)| [table::WAITING, table::OLDER_WAITING].contains(of)));
    grow(&mut restored, 1);
    pinned(&mut restored, &mut town);
    assert_eq!(town.core.status(NOW).pin.unwrap().size, 2, "it goes on");
}

#[test]
fn what_follows_on_an_older_log_is_a_persons_to_accept_also_when_it_is_a_year() {
    let (mut broker, [mut town, ..]) = partnership();
    broker.succeed(NEXT, Cause::Year, NOW);
    broker.connect(&mut town, NOW);
    let mut restored = grown(20..22);
    restored.succeed(AFTER, Cause::Year, NOW);
    restored.connect(&mut town, NOW);
    assert_eq!(town.core.offered_log().unwrap().new, AFTER);
    assert!(!town.core.is_connected() && logs(&town).len() == 2);
    // A broker that knows nothing of any log is asked again, from the newest on.
    let mut stranger = Broker::new();
    stranger.origin = AFTER.into();
    stranger.connect(&mut town, NOW);
    assert!(town.core.offered_log().is_none());
    for _ in 0..30 {
        town.step([Input::Tick], NOW);
    }
    let asked = town
        .take_sends()
        .into_iter()
        .find_map(|send| if let Send::FetchSuccession { origin, .. } = send { Some(origin) } else { None });
    assert_eq!(asked.as_deref(), Some(NEXT));
}

#[test]
fn the_notes_of_every_fork_are_kept() {
    let (_, [mut town, ..]) = partnership();
    let mut first = grown(0..3);
    pinned(&mut first, &mut town);
    let kept = first.checkpoint();
    let mut restored = grown(10..15);
    pinned(&mut restored, &mut town);
    let notes = vec![kept, restored.checkpoint()];
    assert_eq!(evidence(&town), notes);
    restored.succeed(BY_HAND, Cause::NewOrigin, NOW);
    restored.connect(&mut town, NOW);
    assert!(accept(&mut town, BY_HAND));
    town.restart(NOW);
    grow(&mut restored, 1);
    pinned(&mut restored, &mut town);
    let kept = restored.checkpoint();
    // The log that was begun by hand is caught too.
    let mut again = grown(10..15);
    again.succeed(BY_HAND, Cause::NewOrigin, NOW);
    grow(&mut again, 2);
    again.connect(&mut town, NOW);
    assert!(town.core.status(NOW).pin.unwrap().forked);
    assert_eq!(evidence(&town), [notes, vec![kept, again.checkpoint()]].concat());
}

#[test]
fn the_notes_of_forks_are_bounded_and_the_first_and_the_last_are_kept() {
    let (_, [mut town, ..]) = partnership();
    let places = |writes: Vec<Write>| -> Vec<u8> { writes.iter().map(|write| write.row().key[0]).collect() };
    let written: Vec<Vec<u8>> =
        (0..40).map(|_| places(town.core.trust.evidence([Bytes::default(), Bytes::default()]))).collect();
    assert_eq!(written[..2], [[1, 2], [3, 4]]);
    assert_eq!(written[15..18], [[31, 32], [31, 32], [31, 32]]);
}

#[test]
fn what_the_broker_tells_before_its_log_is_followed_is_newer_than_its_welcome() {
    let (mut broker, [mut town, ..]) = partnership();
    broker.succeed(NEXT, Cause::Year, NOW);
    let votes = town.core.agreed().find(&COVENANT.hash()).unwrap().casts().len();
    let known = |rotations| {
        vec![wire::Known { hash: COVENANT.hash(), votes: u32::try_from(votes).unwrap(), rotations }]
    };
    let welcome = wire::Welcome { agreements: known(0), ..broker.welcome(NOW) };
    town.step([Input::Connected(Box::new(welcome)), Input::Agreements(known(1))], NOW);
    let asks = |node: &mut Node| {
        node.sends.iter().any(|send| matches!(send, Send::FetchCovenant(hash, _) if *hash == COVENANT.hash()))
    };
    assert!(!asks(&mut town), "nothing is asked before the log is followed");
    broker.serve(&mut town, NOW);
    assert!(town.core.is_connected() && asks(&mut town), "the key that came up is asked for");
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
