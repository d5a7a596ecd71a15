//! Own keys by the clock, partners' keys by their signature and number.

use std::sync::Arc;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::{Cast, Word};
use seinhuis_shared::limits::{PREKEY_EPOCH, TTL_MAX};
use seinhuis_shared::prekey::{Prekey, PrekeyBundle, PrekeyPublic, SUITE};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};

use crate::fixture::{Broker, COVENANT, NOW, Node, after, cast, oin, partnership, signal, signer};
use crate::rows::table;
use crate::{AlarmKind, Input, Send, Stage};

fn published(node: &mut Node) -> Option<PrekeyBundle> {
    let number = node.number;
    let bundles = node.take_sends().into_iter().filter_map(move |send| {
        let Send::Publish { bundle, .. } = send else { return None };
        Some(PrekeyBundle::verify(&bundle, &oin(number), &[signer(number).public()]).unwrap())
    });
    bundles.last()
}

fn own_keys(node: &Node) -> usize {
    node.rows.keys().filter(|(of, _)| *of == table::OWN_PREKEY).count()
}

/// The votes a node knows, and one more.
fn known(node: &Node, one: Cast) -> Vec<Cast> {
    [node.core.agreed().find(&COVENANT.hash()).unwrap().casts().to_vec(), vec![one]].concat()
}

#[test]
fn the_next_epoch_is_published_a_day_ahead_and_the_old_key_destroyed_in_time() {
    let (mut broker, mut town) = (Broker::new(), Node::new(1));
    town.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    let first = published(&mut town).unwrap();
    let times: Vec<_> = first.prekeys.iter().map(|one| (one.not_before, one.not_after)).collect();
    let day = |number: u64| after(Span(PREKEY_EPOCH.0 * number));
    assert_eq!(times, [(NOW, day(1)), (day(1), day(2))]);
    town.step([Input::Published(first.seq), Input::Tick], after(Span::hours(23)));
    assert!(published(&mut town).is_none(), "nothing to change");
    town.step([Input::Tick], day(1));
    let second = published(&mut town).unwrap();
    let times: Vec<_> = second.prekeys.iter().map(|one| (one.not_before, one.not_after)).collect();
    assert_eq!(times, [(day(1), day(2)), (day(2), day(3))], "always the next one too, none that has ended");
    assert!(second.seq > first.seq);
    town.step([Input::Tick], day(20));
    let keys = published(&mut town).unwrap().prekeys;
    assert_eq!((keys[0].not_before, keys[1].not_before), (day(20), day(21)), "after a long absence");
    let before = own_keys(&town);
    let gone = first.prekeys[0].destroy_at();
    assert!(gone > day(1).plus(TTL_MAX));
    town.step([Input::Tick], Timestamp(gone.0 - 1));
    assert!(town.rows.contains_key(&(table::OWN_PREKEY, first.prekeys[0].public.id().0.to_vec())));
    assert_eq!(town.core.to_overwrite(), None);
    town.step([Input::Tick], gone);
    assert!(!town.rows.contains_key(&(table::OWN_PREKEY, first.prekeys[0].public.id().0.to_vec())));
    assert!(own_keys(&town) >= before, "newer keys stay");
    // What the store's files still hold of it is to be overwritten.
    let ticket = town.core.to_overwrite().unwrap();
    town.step([Input::Overwritten(ticket - 1)], gone);
    assert_eq!(town.core.to_overwrite(), Some(ticket), "an earlier round did not cover it");
    town.step([Input::Overwritten(ticket)], gone);
    assert_eq!(town.core.to_overwrite(), None);
    broker.connect(&mut town, gone);
}

#[test]
fn senders_have_a_key_for_a_day_ahead_whatever_the_clock_did_before() {
    let (broker, mut town) = (Broker::new(), Node::new(1));
    let noon = after(Span::hours(100));
    let at = |hours: i64| match u64::try_from(hours) {
        Ok(hours) => noon.plus(Span::hours(hours)),
        Err(_) => Timestamp(noon.0 - Span::hours(hours.unsigned_abs()).0),
    };
    town.step([Input::Connected(Box::new(broker.welcome(at(40))))], at(40));
    // Epochs that begin ever earlier: more of them than a bundle holds.
    for hours in [0, -5, -10, -15, -20] {
        town.step([Input::Tick], at(hours));
    }
    let mut newest = published(&mut town).unwrap();
    for hours in 0..100 {
        town.step([Input::Tick], at(hours));
        newest = published(&mut town).unwrap_or(newest);
        for ahead in [hours, hours + 24] {
            assert!(newest.usable(at(ahead)).is_some(), "at {hours} none for {ahead}: {:?}", newest.prekeys);
        }
    }
}

#[test]
fn the_number_rises_even_after_the_store_is_lost() {
    let broker = Broker::new();
    let mut town = Node::new(1);
    town.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    let first = published(&mut town).unwrap();
    let mut fresh = Node::new(1);
    fresh.step([Input::Tick], after(Span::seconds(1)));
    let mut fresh = Node::new(1);
    fresh.core = crate::Core::new(crate::Settings { oin: oin(1), log: crate::fixture::log_key() });
    fresh.step([Input::Connected(Box::new(broker.welcome(NOW)))], after(Span::seconds(1)));
    assert!(published(&mut fresh).unwrap().seq > first.seq);
}

#[test]
fn a_bundle_the_broker_thinks_old_is_replaced_once() {
    let (broker, mut town) = (Broker::new(), Node::new(1));
    town.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    let first = published(&mut town).unwrap();
    let old = Refusal::PrekeyRollback.number();
    town.step([Input::PublishRefused(old)], after(Span::seconds(1)));
    assert!(published(&mut town).unwrap().seq > first.seq);
    town.step([Input::PublishRefused(old)], after(Span::seconds(2)));
    assert!(published(&mut town).is_none());
    assert_eq!(town.alarms(), [AlarmKind::BundleRefused]);
}

#[test]
fn every_session_publishes_again() {
    let (mut broker, [mut town, ..]) = partnership();
    town.step([Input::Disconnected], NOW);
    town.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    assert!(published(&mut town).is_some(), "a broker put back from a backup has lost it");
    broker.serve(&mut town, NOW);
}

fn bundle(seq: u64, from: Timestamp, until: Timestamp, key: &SigningKey) -> Bytes {
    let public = PrekeyPublic::from_slice(&[u8::try_from(seq).unwrap(); 1216]).unwrap();
    let bundle = PrekeyBundle {
        version: 1,
        suite: SUITE,
        oin: oin(1),
        signer: key.public().thumbprint(),
        seq,
        issued: from,
        prekeys: vec![Prekey { public, not_before: from, not_after: until }],
    };
    Bytes(bundle.sign(key))
}

fn give(node: &mut Node, bytes: Bytes) {
    node.step([Input::Prekeys(1, vec![(oin(1), bytes)])], NOW);
}

fn usable_until(node: &Node) -> Option<Timestamp> {
    node.core.status(NOW).peers.iter().find(|peer| peer.oin == oin(1)).unwrap().until
}

#[test]
fn an_older_bundle_is_refused_and_survives_no_restart() {
    let mut youth = Node::new(3);
    let until = after(Span::hours(5));
    give(&mut youth, bundle(5, NOW, until, &signer(1)));
    for (seq, until) in [(4, after(Span::hours(9))), (5, after(Span::hours(9)))] {
        give(&mut youth, bundle(seq, NOW, until, &signer(1)));
    }
    assert_eq!(usable_until(&youth), Some(until));
    assert_eq!(youth.alarms(), [AlarmKind::PrekeyRollback, AlarmKind::PrekeyRollback]);
    youth.restart(NOW);
    give(&mut youth, bundle(4, NOW, after(Span::hours(9)), &signer(1)));
    assert_eq!(usable_until(&youth), Some(until), "after a restart as well");
    give(&mut youth, bundle(6, NOW, after(Span::hours(9)), &signer(1)));
    assert_eq!(usable_until(&youth), Some(after(Span::hours(9))));
}

/// The number of the last question for prekeys since the last look.
fn asked(node: &mut Node) -> u64 {
    let numbers = node.take_sends().into_iter().filter_map(|send| {
        let Send::FetchPrekeys(number, _) = send else { return None };
        Some(number)
    });
    numbers.last().unwrap()
}

#[test]
fn an_answer_that_a_newer_one_overtook_is_passed_over_and_a_later_one_that_is_older_an_alarm() {
    let (broker, mut youth) = (Broker::new(), Node::new(3));
    youth.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    let first = asked(&mut youth);
    youth.step([Input::Tick], after(Span::seconds(1)));
    let second = asked(&mut youth);
    let until = after(Span::hours(5));
    let older = || vec![(oin(1), bundle(4, NOW, after(Span::hours(9)), &signer(1)))];
    youth.step([Input::Prekeys(second, vec![(oin(1), bundle(5, NOW, until, &signer(1)))])], NOW);
    youth.step([Input::Prekeys(first, older())], NOW);
    assert_eq!(usable_until(&youth), Some(until));
    assert!(youth.alarms().is_empty());
    let twin = vec![(oin(1), bundle(5, NOW, after(Span::hours(9)), &signer(1)))];
    youth.step([Input::Prekeys(first, twin)], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::PrekeyRollback], "no two bundles have one number");
    youth.step([Input::Tick], after(Span::minutes(2)));
    let third = asked(&mut youth);
    youth.step([Input::Prekeys(third, older())], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::PrekeyRollback; 2]);
    assert_eq!(usable_until(&youth), Some(until));
}

#[test]
fn a_bundle_of_somebody_else_is_refused() {
    let mut youth = Node::new(3);
    give(&mut youth, bundle(5, NOW, after(Span::hours(5)), &signer(2)));
    let mut changed = bundle(5, NOW, after(Span::hours(5)), &signer(1));
    *changed.0.last_mut().unwrap() ^= 1;
    give(&mut youth, changed);
    give(&mut youth, Bytes(vec![]));
    assert_eq!(usable_until(&youth), None);
    assert_eq!(youth.alarms(), [AlarmKind::BadPrekeys; 3]);
}

#[test]
fn a_prekey_past_its_end_is_never_used() {
    let mut youth = Node::new(3);
    give(&mut youth, bundle(5, NOW, after(Span::hours(5)), &signer(1)));
    assert_eq!(youth.push(signal(1), Timestamp(after(Span::hours(5)).0 - 1)).unwrap().stage, Stage::Sealed);
    assert_eq!(youth.push(signal(2), after(Span::hours(5))).unwrap().stage, Stage::Draft);
}

#[test]
fn who_withdraws_lets_go_of_the_others_prekeys() {
    let (_, [_, _, mut youth, _]) = partnership();
    assert!(usable_until(&youth).is_some());
    let left = cast(&COVENANT, 3, Word::Withdraw, NOW);
    youth.step(
        [Input::Covenant {
            had: (0, 0),
            compiled: Arc::clone(&COVENANT),
            casts: known(&youth, left),
            rotations: vec![],
        }],
        NOW,
    );
    assert!(youth.core.status(NOW).peers.is_empty());
    youth.restart(NOW);
    assert!(youth.core.status(NOW).peers.is_empty());
}

#[test]
fn missing_keys_are_looked_for_at_once_and_then_less_often() {
    let (mut broker, mut youth) = (Broker::new(), Node::new(3));
    broker.connect(&mut youth, NOW);
    let mut fetches = 0;
    for second in 1..=120 {
        youth.step([Input::Tick], after(Span::seconds(second)));
        fetches += youth.take_sends().iter().filter(|send| matches!(send, Send::FetchPrekeys(..))).count();
    }
    assert!((5..=8).contains(&fetches), "{fetches}");
    let later = after(Span::seconds(121));
    youth.push(signal(1), later).unwrap();
    assert!(youth.take_sends().iter().any(|send| matches!(send, Send::FetchPrekeys(..))));
    youth.push(signal(2), later).unwrap();
    assert!(!youth.take_sends().iter().any(|send| matches!(send, Send::FetchPrekeys(..))), "not once each");
}

#[test]
fn another_store_key_is_noticed_before_it_does_harm() {
    let town = Node::new(1);
    assert!(town.restored().store_key_fits(town.ports()));
    let mut spoiled = Node::new(1);
    for ((of, _), row) in &mut spoiled.rows {
        if *of == table::OWN_PREKEY {
            let last = row.len() - 1;
            row[last] ^= 1;
        }
    }
    assert!(!spoiled.restored().store_key_fits(spoiled.ports()));
    let mut drafting = Node::new(3);
    drafting.rows.retain(|(of, _), _| *of != table::OWN_PREKEY);
    drafting.push(signal(1), NOW).unwrap();
    assert!(drafting.restored().store_key_fits(drafting.ports()));
    let draft = drafting.rows.iter_mut().find(|((of, _), _)| *of == table::DRAFT).unwrap();
    draft.1[0] ^= 1;
    assert!(!drafting.restored().store_key_fits(drafting.ports()));
}

#[test]
fn a_key_that_cannot_be_locked_is_not_offered_to_senders() {
    let (_, [mut town, ..]) = partnership();
    let kept = |node: &Node| node.rows.iter().filter(|((of, _), _)| *of == table::OWN_PREKEY).count();
    let (keys, bundle) = (kept(&town), town.core.status(NOW).bundle);
    let later = after(PREKEY_EPOCH);
    town.break_lock(true);
    town.step([Input::Tick], later);
    assert_eq!((kept(&town), town.core.status(NOW).bundle), (keys, bundle));
    assert_eq!(town.alarms(), [AlarmKind::LockFailed]);
    town.break_lock(false);
    town.step([Input::Tick], later);
    assert_eq!(kept(&town), keys + 1, "the next tick makes it");
    assert!(town.core.status(NOW).bundle.unwrap().0 > bundle.unwrap().0);
}
