//! The pinned log, through the core.

use std::sync::Arc;

use seinhuis_shared::cbor;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::wire::Welcome;

use crate::fixture::{Broker, NOW, Node, ORIGIN, after, log_signer, partnership, signal};
use crate::rows::table;
use crate::trust::{PROOF_WAIT, WAITING_MAX};
use crate::{AlarmKind, Input, Send};

fn grow(broker: &mut Broker, fill: u8) {
    broker.append(&Entry::new(Kind::Operator, NOW, [fill; 16]));
}

#[test]
fn the_pin_follows_the_log_and_survives_a_restart() {
    let (mut broker, [mut town, ..]) = partnership();
    assert_eq!(town.core.status(NOW).pin.unwrap().size, 1);
    for fill in 0..5 {
        grow(&mut broker, fill);
    }
    broker.connect(&mut town, NOW);
    assert_eq!(town.core.status(NOW).pin.unwrap().size, 1, "not without a proof");
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!(town.core.status(NOW).pin.unwrap().size, 6);
    assert_eq!(town.restored().status(NOW).pin.unwrap().size, 6);
}

#[test]
fn a_fork_stops_submission_for_good_and_says_so() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    for fill in 0..3 {
        grow(&mut broker, fill);
    }
    broker.connect(&mut youth, NOW);
    youth.step([Input::Tick], NOW);
    broker.serve(&mut youth, NOW);
    // The broker is put back from a backup and goes on from there.
    let mut other = Broker::new();
    for fill in 10..15 {
        grow(&mut other, fill);
    }
    other.connect(&mut youth, NOW);
    youth.step([Input::Tick], NOW);
    other.serve(&mut youth, NOW);
    let status = youth.core.status(NOW);
    assert!(status.pin.unwrap().forked && status.pin.unwrap().size == 4);
    assert_eq!(youth.alarms(), [AlarmKind::LogForked]);
    youth.push(signal(1), NOW).unwrap();
    assert!(youth.submitted().is_empty(), "nothing more is handed to this broker");
    youth.restart(NOW);
    broker.connect(&mut youth, NOW);
    assert!(youth.submitted().is_empty(), "nor after a restart");
}

#[test]
fn a_log_that_shrank_is_noticed_at_the_welcome() {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    broker.connect(&mut town, NOW);
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    let mut restored = Broker::new();
    restored.connect(&mut town, NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
}

#[test]
fn another_log_than_the_cards_is_no_session() {
    type Change = fn(&mut Welcome, &str);
    let other_key = VerifierKey::new(ORIGIN, log_signer(5).verifying_key()).unwrap().to_string();
    let cases: [(&str, Change); 3] = [
        ("origin", |welcome, _| welcome.origin = "other.example/log".into()),
        ("key", |welcome, key| welcome.log_key = key.into()),
        ("signature", |welcome, _| {
            let mut other = Broker::new();
            other.signer = log_signer(5);
            welcome.checkpoint = other.checkpoint();
        }),
    ];
    for (name, change) in cases {
        let mut youth = Node::new(3);
        let mut welcome = Broker::new().welcome(NOW);
        change(&mut welcome, &other_key);
        youth.step([Input::Connected(Box::new(welcome))], NOW);
        assert!(!youth.core.status(NOW).connected, "{name}");
        assert_eq!(youth.alarms(), [AlarmKind::OtherLog], "{name}");
        assert!(youth.take_sends().is_empty(), "{name}: nothing is said to it");
    }
}

#[test]
fn a_proof_that_never_comes_is_asked_for_again() {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    broker.connect(&mut town, NOW);
    let asks = |node: &mut Node| {
        node.take_sends().iter().filter(|send| matches!(send, Send::FetchConsistency(..))).count()
    };
    town.step([Input::Tick], NOW);
    assert_eq!(asks(&mut town), 1);
    town.step([Input::Tick], NOW);
    assert_eq!(asks(&mut town), 0, "one question at a time");
    town.step([Input::ConsistencyFailed, Input::Tick], after(Span::seconds(1)));
    assert_eq!(asks(&mut town), 1);
    assert_eq!(town.core.status(NOW).unproven, 1);
    town.step([Input::Consistency { origin: ORIGIN.into(), sizes: vec![1, 2], proofs: vec![] }], NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked], "an empty answer is a failed proof");
}

#[test]
fn alarms_are_bounded_and_repeated_once() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packet = Arc::clone(&youth.submitted()[0]);
    let mut offer = broker.offer(&packet, crate::fixture::oin(1), NOW);
    offer.receipt.0.pop();
    for _ in 0..3 {
        town.step([Input::Offer(Box::new(offer.clone()))], NOW);
    }
    assert_eq!(town.alarms(), [AlarmKind::UnprovenOffer]);
    for fill in 0..=255_u8 {
        let mut other = offer.clone();
        other.packet.0.push(fill);
        town.step([Input::Offer(Box::new(other.clone()))], NOW);
        other.packet.0.push(fill);
        town.step([Input::Offer(Box::new(other))], NOW);
    }
    assert_eq!(town.alarms().len(), 256);
    // A fork is stored all the same; a broker that is caught again and again fills no disk with it either.
    let mut forked = Broker::new();
    for fill in 0..100 {
        grow(&mut forked, fill);
        forked.connect(&mut town, NOW);
        let mut other = Broker::new();
        while other.tree.size() < forked.tree.size() {
            grow(&mut other, 200);
        }
        other.connect(&mut town, NOW);
    }
    let forks = town.alarms().into_iter().filter(|kind| *kind == AlarmKind::LogForked).count();
    assert_eq!((town.alarms().len(), forks), (256 + 64, 64));
}

#[test]
fn a_broker_that_proves_nothing_gets_nothing_more() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    grow(&mut broker, 1);
    broker.connect(&mut youth, NOW);
    let within = after(PROOF_WAIT);
    youth.step([Input::Tick, Input::ConsistencyFailed], within);
    youth.push(signal(1), within).unwrap();
    assert_eq!(youth.submitted().len(), 1, "within the time");
    let late = after(PROOF_WAIT).plus(Span::seconds(1));
    youth.step([Input::Tick], late);
    youth.push(signal(2), late).unwrap();
    assert!(youth.submitted().is_empty());
    assert!(youth.alarms().is_empty(), "the question of this tick may still be answered");
    for _ in 0..2 {
        youth.step([Input::ConsistencyFailed, Input::Tick], late);
    }
    assert_eq!(youth.alarms(), [AlarmKind::LogUnproven]);
    youth.restart(late);
    broker.tree.append(seinhuis_shared::tlog::hash::leaf_hash(b"more")).unwrap();
    youth.step([Input::Connected(Box::new(broker.welcome(late)))], late);
    assert!(youth.submitted().is_empty(), "a restart forgives nothing");
    youth.step([Input::Tick], late);
    broker.serve(&mut youth, late);
    assert_eq!(youth.core.status(late).unproven, 0);
    assert_eq!(youth.submitted().len(), 2, "proved: it goes on");
}

#[test]
fn a_broker_that_ends_each_session_before_it_proves_anything_is_complained_of() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    for minute in 0..=11 {
        grow(&mut broker, minute);
        let now = after(Span::minutes(minute.into()));
        youth.step([Input::Connected(Box::new(broker.welcome(now)))], now);
        youth.step([Input::Disconnected], now);
        let told: &[AlarmKind] = if minute < 11 { &[] } else { &[AlarmKind::LogUnproven] };
        assert_eq!(youth.alarms(), told, "{minute}");
        youth.step([Input::Tick], now);
    }
    // Nobody owes anything to who has no session.
    youth.step([Input::Tick], after(Span::minutes(60)));
    assert_eq!(youth.alarms().len(), 1);
}

#[test]
fn the_notes_of_a_fork_are_kept() {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    broker.connect(&mut town, NOW);
    let mut other = Broker::new();
    grow(&mut other, 2);
    let mut third = Broker::new();
    grow(&mut third, 3);
    other.connect(&mut town, NOW);
    third.connect(&mut town, NOW);
    let note = |place: u8| {
        cbor::encode(&match place {
            1 => broker.checkpoint(),
            _ => other.checkpoint(),
        })
    };
    for place in [1, 2] {
        assert_eq!(town.rows.get(&(table::NOTE, vec![place])), Some(&note(place)), "note {place}");
    }
}

#[test]
fn what_rests_on_a_checkpoint_that_cannot_be_kept_is_not_believed() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packet = Arc::clone(&youth.submitted()[0]);
    for fill in 0..WAITING_MAX {
        broker.append(&Entry::new(Kind::Operator, NOW, u128::try_from(fill).unwrap().to_be_bytes()));
        let welcome = broker.welcome(NOW);
        youth.step([Input::Connected(Box::new(welcome))], NOW);
    }
    youth.take_sends();
    let verdict = broker.accept(&packet, NOW);
    youth.step([Input::Verdict(verdict)], NOW);
    assert_eq!(youth.core.status(NOW).accepted, 0);
    assert_eq!(youth.alarms(), [AlarmKind::LogUnproven]);
}
