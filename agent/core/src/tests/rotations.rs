//! The own key hands over, and so do others': what counts is the key of the time of the log entry.

use std::sync::Arc;

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::Sign1;
use seinhuis_shared::covenant::Step;
use seinhuis_shared::covenant::agreement::{Cast, Vote, Word};
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::limits::BUNDLE_MAX;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Rotated, Rotation};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::Known;

use crate::fixture::{
    CASE, COVENANT, NOW, Node, after, cast, decision, inquiry, moved, oin, partnership, rotated, signal,
    signer, version_asked,
};
use crate::{AlarmKind, Event, Input, Send, Stage};

/// What a broker gives of the version of the tests.
fn given(node: &Node, rotations: Vec<Rotated>, more: Vec<Cast>) -> Input {
    let known = node.core.agreed().find(&COVENANT.hash()).unwrap().casts().to_vec();
    Input::Covenant { had: (0, 0), compiled: Arc::clone(&COVENANT), casts: [known, more].concat(), rotations }
}

fn asks(node: &Node) -> bool {
    node.sends.iter().any(|send| matches!(send, Send::FetchCovenant(hash, _) if *hash == COVENANT.hash()))
}

fn told(node: &Node, rotations: u32) -> Input {
    let votes = node.core.agreed().find(&COVENANT.hash()).unwrap().casts().len();
    let votes = u32::try_from(votes).unwrap();
    Input::Agreements(vec![Known { hash: COVENANT.hash(), votes, rotations }])
}

/// The rotations said since the last look.
fn said(node: &mut Node) -> Vec<Rotation> {
    let mut all = vec![];
    node.sends.retain(|send| {
        if let Send::Rotate(bytes) = send {
            all.push(Rotation::verify(bytes).unwrap().rotation().clone());
        }
        !matches!(send, Send::Rotate(_))
    });
    all
}

fn bundles(node: &Node) -> Vec<PrekeyBundle> {
    let all = [node.signer.public(), node.core.signer(node.ports()).public()];
    let bundle = |send: &Send| {
        let Send::Publish { bundle, .. } = send else { return None };
        Some(PrekeyBundle::verify(bundle, &oin(node.number), &all).unwrap())
    };
    node.sends.iter().filter_map(bundle).collect()
}

fn begin(node: &mut Node, urgent: bool, now: Timestamp) -> SigningKey {
    let new = signer(40 + node.number);
    node.next = Some(new.clone());
    let turn = node.step([Input::Rotate { token: 3, urgent }], now);
    assert!(turn.answers[0].1.is_ok());
    new
}

#[test]
fn the_new_key_signs_from_the_answer_on_and_not_before() {
    let (_, [_, _, mut youth, _]) = partnership();
    youth.take_sends();
    let new = begin(&mut youth, false, NOW);
    let rotation = said(&mut youth).pop().unwrap();
    assert_eq!((rotation.party, rotation.seq, rotation.previous), (oin(3), 1, None));
    assert_eq!((rotation.old, rotation.new), (signer(3).public(), new.public()));
    assert_eq!(youth.core.signer(youth.ports()).public(), signer(3).public());
    youth.push(signal(1), NOW).unwrap();
    assert!(youth.submitted().is_empty(), "nothing is sealed meanwhile");
    youth.take_events();
    youth.step([Input::RotationAnswered(Ok(vec![rotated(3, &new, after(Span::seconds(1)))]))], NOW);
    assert_eq!(youth.core.signer(youth.ports()).public(), new.public());
    assert!(youth.events.contains(&Event::KeyRotated(new.public().thumbprint())));
    assert!(youth.core.turning().row().is_none());
    let packet = Packet::parse(&youth.submitted()[0]).unwrap();
    assert_eq!(packet.context().signer, new.public().thumbprint(), "what waited is sealed in the same turn");
    assert_eq!(bundles(&youth)[0].signer, new.public().thumbprint());
    assert_eq!(youth.restored().signer(youth.ports()).public(), new.public(), "and after a restart");
    assert!(youth.alarms().is_empty());
}

#[test]
fn a_rotation_waits_for_verdicts_unless_it_is_urgent() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packet = youth.submitted()[0].clone();
    begin(&mut youth, false, NOW);
    assert!(said(&mut youth).is_empty(), "a packet under the old key has no verdict");
    let mut hurry = Node::new(3);
    hurry.rows.clone_from(&youth.rows);
    hurry.core = youth.restored();
    hurry.next = Some(signer(43));
    broker.connect(&mut hurry, NOW);
    assert!(said(&mut hurry).is_empty());
    hurry.step([Input::Rotate { token: 4, urgent: true }], NOW);
    assert_eq!(said(&mut hurry).len(), 1, "the same rotation, in a hurry");
    let verdict = broker.accept(&packet, NOW);
    youth.step([Input::Verdict(verdict)], NOW);
    assert_eq!(said(&mut youth).len(), 1, "in the very turn of the verdict");
}

#[test]
fn a_rotation_is_said_until_it_is_answered_whatever_stops_in_between() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.step([Input::Disconnected], NOW);
    let new = begin(&mut youth, false, NOW);
    assert!(said(&mut youth).is_empty(), "nobody to tell");
    youth.restart(NOW);
    broker.connect(&mut youth, NOW);
    assert_eq!(said(&mut youth).len(), 1);
    youth.step([Input::Tick], after(Span::seconds(5)));
    assert!(said(&mut youth).is_empty());
    youth.step([Input::Tick], after(Span::seconds(10)));
    let again = said(&mut youth).pop().unwrap();
    assert_eq!((again.seq, again.issued), (1, after(Span::seconds(10))), "signed anew");
    youth.step([Input::RotationAnswered(Err(Refusal::TooBusy.number()))], after(Span::seconds(11)));
    youth.step([Input::Tick], after(Span::seconds(21)));
    assert_eq!(said(&mut youth).len(), 1);
    // The broker logged it and the answer was lost: the line comes with the covenant, or with the next answer.
    let logged = rotated(3, &new, after(Span::seconds(12)));
    youth.restart(NOW);
    youth.step([given(&youth, vec![logged.clone()], vec![])], NOW);
    assert_eq!(youth.core.signer(youth.ports()).public(), new.public());
    broker.connect(&mut youth, NOW);
    assert!(said(&mut youth).is_empty() && youth.core.turning().row().is_none());
    // Nor is it taken back by what the broker gave before it logged it.
    youth.step([given(&youth, vec![], vec![])], NOW);
    assert!(youth.alarms().is_empty());
    // An answer that comes after that changes nothing.
    youth.step([Input::RotationAnswered(Ok(vec![logged]))], NOW);
    assert_eq!(youth.core.signer(youth.ports()).public(), new.public());
    // The shell puts the file in its place whenever it comes to that.
    youth.signer = youth.next.take().unwrap();
    assert_eq!(youth.core.signer(youth.ports()).public(), new.public());
    youth.push(signal(2), NOW).unwrap();
    assert!(youth.alarms().is_empty());
}

#[test]
fn a_refused_rotation_leaves_the_old_key_in_use() {
    let (_, [_, _, mut youth, _]) = partnership();
    begin(&mut youth, false, NOW);
    said(&mut youth);
    youth.push(signal(1), NOW).unwrap();
    youth.step([Input::RotationAnswered(Err(Refusal::KeyInUse.number()))], NOW);
    assert_eq!(youth.core.turning().row().unwrap().refused, Refusal::KeyInUse.number());
    let packet = Packet::parse(&youth.submitted()[0]).unwrap();
    assert_eq!(packet.context().signer, signer(3).public().thumbprint(), "what waited goes under it");
    youth.step([Input::Tick], after(Span::minutes(1)));
    assert!(said(&mut youth).is_empty(), "until a person says so again");
    youth.next = Some(signer(60));
    youth.step([Input::Rotate { token: 5, urgent: true }], after(Span::minutes(1)));
    assert_eq!(said(&mut youth).pop().unwrap().new, signer(60).public(), "with another key");
    let none = Node::new(4).step([Input::Rotate { token: 6, urgent: false }], NOW).answers;
    assert!(none[0].1.is_err(), "without a key to rotate to");
}

#[test]
fn acknowledgements_wait_for_the_answer() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    begin(&mut town, false, NOW);
    youth.push(signal(1), NOW).unwrap();
    broker.accept(&youth.submitted()[0].clone(), NOW);
    let offer = broker.mailboxes[&oin(1)][0].clone();
    town.step([Input::Offer(Box::new(offer.clone()))], NOW);
    assert!(!town.sends.iter().any(|send| matches!(send, Send::Acknowledge(_))));
    let new = signer(41);
    town.step([Input::RotationAnswered(Ok(vec![rotated(1, &new, NOW)]))], NOW);
    assert_eq!(town.acknowledged().len(), 1, "under the new key");
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(town.acknowledged().len(), 1);
}

#[test]
fn a_packet_under_the_old_key_is_opened_if_it_was_accepted_before_and_refused_if_after() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    for id in 1..=3 {
        youth.push(signal(id), NOW).unwrap();
    }
    let packets = youth.submitted();
    let turned = after(Span::minutes(2));
    let new = signer(43);
    let before = broker.offer(&packets[0], oin(1), after(Span::minutes(1)));
    let at = broker.offer(&packets[1], oin(1), turned);
    let later = broker.offer(&packets[2], oin(1), after(Span::minutes(3)));
    let now = after(Span::minutes(4));
    town.step([given(&town, vec![rotated(3, &new, turned)], vec![])], now);
    town.take_events();
    town.step([before, at, later].map(|offer| Input::Offer(Box::new(offer))), now);
    let outcomes: Vec<u16> = town
        .events
        .iter()
        .filter_map(|event| {
            let Event::Received { outcome, .. } = event else { return None };
            Some(*outcome)
        })
        .collect();
    let given_up = Refusal::KeyGivenUp.number();
    assert_eq!(outcomes, [0, given_up, given_up], "whatever it says of when it was made");
    // Under the new key, also before the agent that sends knows how others stand.
    let mut fresh = partnership().1;
    fresh[2].turn_key(turned);
    fresh[2].push(signal(9), now).unwrap();
    let packet = fresh[2].submitted()[0].clone();
    let mut others = partnership().1;
    let offer = broker.offer(&packet, oin(1), now);
    others[0].step([Input::Offer(Box::new(offer.clone()))], now);
    let unknown = others[0].events.iter().any(
        |event| matches!(event, Event::Received { outcome, .. } if *outcome == Refusal::UnknownKey.number()),
    );
    assert!(unknown, "a broker that does not tell of a rotation gets nothing in");
}

#[test]
fn an_offer_waits_until_the_rotations_are_here() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let offer = broker.offer(&youth.submitted()[0].clone(), oin(1), after(Span::minutes(3)));
    town.take_events();
    town.step([told(&town, 1)], NOW);
    assert!(asks(&town));
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert!(town.events.is_empty(), "it may rest on what is on its way");
    town.step([given(&town, vec![rotated(3, &signer(43), after(Span::minutes(1)))], vec![])], NOW);
    let outcome = Refusal::KeyGivenUp.number();
    assert!(
        town.events
            .iter()
            .any(|event| matches!(event, Event::Received { outcome: got, .. } if *got == outcome))
    );
}

#[test]
fn an_answer_that_was_overtaken_takes_nothing_back() {
    let (_, [mut town, ..]) = partnership();
    let logged = vec![rotated(3, &signer(43), NOW)];
    town.step([told(&town, 1), given(&town, logged, vec![])], NOW);
    town.take_sends();
    town.step([given(&town, vec![], vec![])], NOW);
    assert!(town.alarms().is_empty() && town.core.agreed().keys().len() == 1);
    assert!(!asks(&town), "nor does it make a round");
    // Nor does one that comes after word of fewer than came in an answer meanwhile.
    town.step([told(&town, 0), given(&town, vec![], vec![])], NOW);
    assert!(town.alarms().is_empty());
    let had = version_asked(&mut town);
    let Input::Covenant { compiled, casts, rotations, .. } = given(&town, vec![], vec![]) else {
        unreachable!()
    };
    town.step([Input::Covenant { had, compiled, casts, rotations }], NOW);
    assert_eq!(town.alarms(), [AlarmKind::RotationRefused], "a broker that forgot it");
}

#[test]
fn a_rotation_that_a_broker_makes_up_or_takes_back_changes_nothing_and_is_an_alarm() {
    let (_, [mut town, ..]) = partnership();
    let (mine, yours) = (signer(90), signer(91));
    let made_up = Rotation {
        party: oin(3),
        seq: 1,
        previous: None,
        old: mine.public(),
        new: yours.public(),
        issued: NOW,
    };
    let made_up = Rotated { rotation: made_up.sign(&mine, &yours).into(), at: NOW };
    town.step([given(&town, vec![made_up], vec![])], NOW);
    assert_eq!(town.alarms(), [AlarmKind::RotationRefused]);
    assert!(town.core.agreed().keys().is_empty());
    let (mut forged, good) = (rotated(3, &signer(43), NOW), rotated(3, &signer(43), NOW));
    *forged.rotation.0.last_mut().unwrap() ^= 1;
    town.step([given(&town, vec![forged], vec![])], NOW);
    assert!(town.core.agreed().keys().is_empty());
    town.step([given(&town, vec![good.clone()], vec![])], NOW);
    assert_eq!(town.core.agreed().keys().len(), 1);
    let before = town.core.agreed().keys().clone();
    let moved = Rotated { at: NOW.minus(Span::minutes(1)), ..good };
    for wrong in [vec![], vec![moved]] {
        town.step([given(&town, wrong, vec![])], NOW);
        assert_eq!(*town.core.agreed().keys(), before);
    }
    assert_eq!(*town.restored().agreed().keys(), before, "read back");
    assert!(town.alarms().iter().all(|kind| *kind == AlarmKind::RotationRefused) && town.alarms().len() >= 3);
    // In an answer about the own key neither.
    begin(&mut town, false, NOW);
    town.step([Input::RotationAnswered(Ok(vec![rotated(3, &signer(43), NOW)]))], NOW);
    assert_eq!(town.core.turning().row().unwrap().refused, Refusal::NotAParty.number());
    assert_eq!(town.core.signer(town.ports()).public(), signer(1).public());
    begin(&mut town, false, NOW);
    town.step([Input::RotationAnswered(Ok(vec![]))], NOW);
    assert_eq!(town.core.turning().row().unwrap().refused, Refusal::RotationOrder.number());
}

#[test]
fn an_own_key_that_somebody_else_gave_up_is_an_alarm_and_signs_nothing() {
    let (_, [_, _, mut youth, _]) = partnership();
    youth.step([given(&youth, vec![rotated(3, &signer(66), NOW)], vec![])], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::KeyLost]);
    let refused = youth.push(signal(1), NOW).unwrap_err();
    assert_eq!(refused.refusal, Refusal::KeyGivenUp);
    youth.next = Some(signer(43));
    let turn = youth.step([Input::Rotate { token: 1, urgent: false }], NOW);
    assert_eq!(turn.answers[0].1.as_ref().unwrap_err().refusal, Refusal::KeyGivenUp);
}

#[test]
fn with_a_lost_key_nothing_is_acknowledged_and_drafts_wait() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    // A draft of the municipality waits while its key is about to change; meanwhile a thief gives the key up.
    begin(&mut town, false, NOW);
    assert_eq!(town.push(inquiry(1, &[2]), NOW).unwrap().stage, Stage::Draft);
    town.step([given(&town, vec![rotated(1, &signer(66), NOW)], vec![])], NOW);
    assert_eq!(town.alarms(), [AlarmKind::KeyLost]);
    town.step([Input::RotationAnswered(Err(Refusal::KeyGivenUp.number())), Input::Tick], NOW);
    assert!(town.submitted().is_empty(), "no packet with the key that was given up");
    assert_eq!(town.core.find(&MsgId([1; 16])).map(|(_, stage)| stage), Some(Stage::Draft));
    // What arrives is kept and acknowledged by nobody, or the broker would offer it without end.
    youth.push(signal(2), NOW).unwrap();
    broker.accept(&youth.submitted()[0], NOW);
    let offer = broker.mailboxes[&oin(1)][0].clone();
    for _ in 0..3 {
        town.step([Input::Offer(Box::new(offer.clone()))], NOW);
        assert!(town.acknowledged().is_empty());
    }
    assert_eq!(town.bodies().len(), 1);
}

#[test]
fn partners_take_the_bundle_of_the_new_key_alone() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    let old = broker.bundles[&oin(1)].clone();
    let new = town.turn_key(NOW);
    broker.serve(&mut town, NOW);
    let fresh = broker.bundles[&oin(1)].clone();
    assert_ne!(fresh, old);
    // Before the rotation is known it is on its way: no alarm.
    youth.step([told(&youth, 1), Input::Prekeys(1, vec![(oin(1), fresh.clone())])], NOW);
    assert!(youth.alarms().is_empty());
    youth.take_sends();
    youth.step([given(&youth, vec![rotated(1, &new, NOW)], vec![])], NOW);
    assert!(!youth.core.status(NOW).peers.iter().find(|peer| peer.oin == oin(1)).unwrap().usable);
    youth.push(signal(1), NOW).unwrap();
    assert!(youth.submitted().is_empty(), "what was published under the old key is not used");
    youth.step([Input::Prekeys(1, vec![(oin(1), old)])], NOW);
    assert!(youth.alarms().is_empty() && youth.submitted().is_empty());
    youth.step([Input::Prekeys(1, vec![(oin(1), fresh)])], NOW);
    assert_eq!(youth.submitted().len(), 1);
    let stranger = broker.bundles[&oin(2)].clone();
    youth.step([Input::Prekeys(1, vec![(oin(1), stranger)])], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::BadPrekeys], "anything else still is one");
}

/// The newest bundle of the municipality, as somebody else signs it.
fn signed_by(key: &SigningKey, bundle: &[u8], edit: fn(&mut PrekeyBundle)) -> Input {
    let signed = Sign1::parse(bundle, BUNDLE_MAX).unwrap();
    let mut bundle: PrekeyBundle = cbor::strict(signed.unverified_payload(), BUNDLE_MAX).unwrap();
    (bundle.signer, bundle.seq) = (key.public().thumbprint(), bundle.seq + 1);
    edit(&mut bundle);
    Input::Prekeys(1, vec![(oin(1), Bytes(bundle.sign(key)))])
}

/// How often the version of the tests was asked for since the last look, and how often prekeys were.
fn asked(node: &mut Node) -> (usize, usize) {
    let sends = node.take_sends();
    let count = |which: fn(&Send) -> bool| sends.iter().filter(|send| which(send)).count();
    (
        count(|send| matches!(send, Send::FetchCovenant(..))),
        count(|send| matches!(send, Send::FetchPrekeys(..))),
    )
}

/// How often it complained of prekeys since the last look.
fn complaints(node: &mut Node) -> usize {
    let bad = |event: &Event| matches!(event, Event::Alarm(row) if row.kind == AlarmKind::BadPrekeys);
    node.take_events().iter().filter(|event| bad(event)).count()
}

#[test]
fn a_bundle_that_overtakes_the_word_of_its_key_waits_for_it_and_is_no_alarm() {
    let (mut broker, [mut town, mut police, ..]) = partnership();
    let new = town.turn_key(NOW);
    broker.serve(&mut town, NOW);
    let bundle = broker.bundles[&oin(1)].clone();
    let fresh = || Input::Prekeys(1, vec![(oin(1), bundle.clone())]);
    let mut youth = Node::new(3);
    youth.step([Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    youth.step([told(&youth, 0)], NOW);
    asked(&mut youth);
    youth.step([fresh()], NOW);
    assert_eq!(asked(&mut youth), (1, 0), "what it knows is brought up to date");
    youth.step([fresh()], NOW);
    assert_eq!(asked(&mut youth), (0, 0), "once");
    assert_eq!(youth.push(signal(1), NOW).unwrap().stage, Stage::Draft, "nothing is sealed to it");
    youth.step([given(&youth, vec![rotated(1, &new, NOW)], vec![])], NOW);
    assert_eq!(asked(&mut youth), (0, 1), "and the bundle is asked for again");
    youth.step([fresh()], NOW);
    assert_eq!(youth.submitted().len(), 1);
    assert!(youth.alarms().is_empty());
    // What was asked before the bundle came may be answered from before the rotation.
    police.step([told(&police, 1)], NOW);
    assert_eq!(asked(&mut police).0, 1);
    let other = rotated(3, &signer(43), NOW);
    police.step([fresh(), given(&police, vec![other.clone()], vec![]), fresh()], NOW);
    assert_eq!(asked(&mut police), (1, 1));
    police.step([given(&police, vec![other, rotated(1, &new, NOW)], vec![]), fresh()], NOW);
    assert!(police.alarms().is_empty());
    assert_eq!(asked(&mut police).0, 0, "more than was told of makes no round");
}

#[test]
fn a_bundle_by_a_key_that_nobody_knows_is_an_alarm_after_one_look() {
    let (broker, [_, _, mut youth, _]) = partnership();
    let good = broker.bundles[&oin(1)].clone();
    let usable =
        |node: &Node| node.core.status(NOW).peers.iter().find(|peer| peer.oin == oin(1)).unwrap().until;
    let before = usable(&youth);
    let forged = || signed_by(&signer(90), &good, |_| ());
    youth.step([told(&youth, 0)], NOW);
    asked(&mut youth);
    youth.step([forged()], NOW);
    assert_eq!((asked(&mut youth), complaints(&mut youth)), ((1, 0), 0));
    youth.step([given(&youth, vec![], vec![])], NOW);
    assert_eq!(asked(&mut youth), (0, 1));
    youth.step([forged(), signed_by(&signer(91), &good, |_| ())], NOW);
    assert_eq!(complaints(&mut youth), 2, "whichever key it is");
    assert_eq!(asked(&mut youth), (0, 0), "and nobody can make it ask for more");
    assert_eq!(usable(&youth), before);
    // Once there was news of the partner's key the next may come as early as this one.
    let new = signer(41);
    youth.step([given(&youth, vec![rotated(1, &new, NOW)], vec![])], NOW);
    asked(&mut youth);
    youth.step([forged()], NOW);
    assert_eq!((asked(&mut youth).0, complaints(&mut youth)), (1, 0));
    // A broker that gives no answer keeps it quiet for a minute.
    for second in 1..=60 {
        youth.step([Input::Tick], after(Span::seconds(second)));
    }
    let (questions, fetches) = asked(&mut youth);
    assert!(questions <= 6 && fetches >= 1, "{questions} {fetches}");
    youth.step([forged()], after(Span::minutes(1)));
    assert_eq!(complaints(&mut youth), 1);
}

#[test]
fn a_bundle_with_anything_else_wrong_is_an_alarm_at_once() {
    let (broker, [_, _, mut youth, _]) = partnership();
    let good = broker.bundles[&oin(1)].clone();
    youth.step([told(&youth, 0)], NOW);
    asked(&mut youth);
    let edits: [fn(&mut PrekeyBundle); 3] = [
        |one| one.oin = oin(2),
        |one| one.signer = signer(1).public().thumbprint(),
        |one| one.prekeys.clear(),
    ];
    for edit in edits {
        youth.step([signed_by(&signer(90), &good, edit)], NOW);
    }
    assert_eq!((asked(&mut youth), complaints(&mut youth)), ((0, 0), 3));
}

#[test]
fn words_and_decisions_count_by_the_key_of_their_time() {
    let (mut broker, [mut town, mut police, ..]) = partnership();
    let new = signer(41);
    let at = NOW.plus(Span::seconds(10));
    let turned = rotated(1, &new, at);
    police.step([given(&police, vec![turned.clone()], vec![])], at);
    // The town's withdrawal by its old key, logged after it was given up.
    let late = cast(&COVENANT, 1, Word::Withdraw, after(Span::minutes(1)));
    police.step([given(&police, vec![turned.clone()], vec![late])], after(Span::minutes(1)));
    assert_eq!(police.alarms(), [AlarmKind::CovenantRefused]);
    // A case: the first steps by the old key, the next by it after it was given up.
    let chain = moved(Step::S2A);
    broker.cases.insert(CASE, chain.clone());
    broker.connect(&mut police, at);
    police.step([Input::LookAtCase(CASE)], at);
    broker.serve(&mut police, at);
    assert_eq!(police.core.agreed().cases().state(&CASE).unwrap().seq(), 1);
    let more = decision(&chain, 1, seinhuis_shared::case::Act::Step(Step::S2B), after(Span::minutes(1)));
    let longer = [chain, vec![more]].concat();
    police.step([Input::Case(CASE, Some(longer))], after(Span::minutes(1)));
    assert!(police.alarms().contains(&AlarmKind::CaseRefused));
    assert_eq!(police.restored().agreed().cases().state(&CASE).unwrap().seq(), 1);
    // Its own agent speaks with the new key, of what the old one accepted.
    town.turn_key(at);
    let hash = COVENANT.hash();
    let speak = Input::Speak { token: 1, hash, word: Word::Withdraw, reason: String::new() };
    town.take_sends();
    town.step([speak], after(Span::minutes(1)));
    let vote = town.sends.iter().find_map(|send| {
        let Send::Vote { bytes, .. } = send else { return None };
        Some(bytes.clone())
    });
    let vote = vote.unwrap();
    let logged = Cast { vote: vote.into(), at: after(Span::minutes(1)) };
    town.step([given(&town, vec![turned], vec![logged])], after(Span::minutes(1)));
    assert!(town.alarms().is_empty(), "a word of the own line: {:?}", town.alarms());
    let casts = town.core.agreed().find(&hash).unwrap().casts().len();
    assert_eq!(casts, 5);
}

#[test]
fn what_was_said_with_the_old_key_and_overtaken_is_said_again() {
    let (_, [mut town, ..]) = partnership();
    let given_up = Refusal::KeyGivenUp.number();
    let hash = COVENANT.hash();
    let speak = Input::Speak { token: 1, hash, word: Word::Withdraw, reason: String::new() };
    town.step([speak], NOW);
    let new = begin(&mut town, false, NOW);
    town.take_sends();
    town.step([Input::VoteAnswered(hash, Word::Withdraw, given_up), Input::PublishRefused(given_up)], NOW);
    assert!(town.alarms().is_empty());
    town.step([Input::RotationAnswered(Ok(vec![rotated(1, &new, NOW)]))], NOW);
    town.step([Input::Tick], after(Span::seconds(10)));
    let signers: Vec<_> = town
        .sends
        .iter()
        .filter_map(|send| {
            let Send::Vote { bytes, .. } = send else { return None };
            Some(Vote::claimed(bytes).unwrap().1)
        })
        .collect();
    assert_eq!(signers, [new.public().thumbprint()]);
    town.step([Input::PublishRefused(given_up)], NOW);
    assert!(town.alarms().is_empty(), "also when that answer comes last");
    let mut never = Node::new(2);
    never.step([Input::PublishRefused(given_up)], NOW);
    assert_eq!(never.alarms(), [AlarmKind::BundleRefused], "without a rotation it makes no sense");
}

#[test]
fn any_order_of_crashes_and_answers_ends_with_one_key() {
    // What happens at each of the steps: nothing, a restart, the session lost, an answer lost.
    for plan in 0_u32..64 {
        let (mut broker, [_, _, mut youth, _]) = partnership();
        let new = begin(&mut youth, false, NOW);
        let mut logged = None;
        for step in 0..3_u64 {
            let now = after(Span::seconds(11 * (step + 1)));
            match plan / 4_u32.pow(u32::try_from(step).unwrap()) % 4 {
                0 => {}
                1 => youth.restart(now),
                2 => {
                    youth.step([Input::Disconnected], now);
                }
                _ => {
                    logged = logged.or_else(|| said(&mut youth).pop().map(|_| rotated(3, &new, now)));
                }
            }
            broker.connect(&mut youth, now);
        }
        let now = after(Span::minutes(2));
        youth.step([Input::Tick], now);
        let again = said(&mut youth);
        assert!(!again.is_empty(), "plan {plan}: said until it is answered");
        let logged = logged.unwrap_or_else(|| rotated(3, &new, now));
        youth.step([Input::RotationAnswered(Ok(vec![logged]))], now);
        assert_eq!(youth.core.signer(youth.ports()).public(), new.public(), "plan {plan}");
        assert_eq!(youth.push(signal(1), now).unwrap().stage, Stage::Sealed, "plan {plan}");
        assert!(youth.alarms().is_empty(), "plan {plan}: {:?}", youth.alarms());
    }
}
