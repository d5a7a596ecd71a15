//! Release by a person: what concerns a person waits for a decision, on every way in, and leaves on no other.

use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::Step;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::CaseHead;

use super::corrections::{exchange, say};
use crate::fixture::{
    Broker, CASE, COVENANT, NOW, Node, after, cast, decision, moved, oin, partnership, request, signal,
};
use crate::outbox::{HELD_BYTES_MAX, HELD_MAX};
use crate::rows::{CaseEnd, Write, position_key, table};
use crate::{AlarmKind, CorrectionKind, Event, Ground, Input, PushRequest, Release, Source, Stage};

const NAMES: &str = "09-F09-politie-namen.json";

/// The police send names about the case, on a flow that asks for release.
fn names(id: u8) -> PushRequest {
    PushRequest { step: Some(Step::S2B), case: Some(CASE), ..request(id, "F09", &[1], NAMES) }
}

/// Police that know the case to be in step 2B.
fn police() -> (Broker, Node) {
    let (mut broker, [_, mut police, ..]) = partnership();
    broker.cases.insert(CASE, moved(Step::S2B));
    police.step([Input::LookAtCase(CASE)], NOW);
    broker.serve(&mut police, NOW);
    (broker, police)
}

fn stage(node: &Node, id: u8) -> Stage {
    node.core.find(&MsgId([id; 16])).unwrap().1
}

fn drafts(node: &Node) -> usize {
    node.rows.keys().filter(|(of, _)| *of == table::DRAFT).count()
}

/// The decisions on disk.
fn decisions(node: &Node) -> Vec<(bool, String, String)> {
    let rows = node.rows.iter().filter(|((of, _), _)| *of == table::RELEASE);
    rows.map(|((of, key), value)| match Write::read(*of, key, value) {
        Ok(Write::Release(_, row)) => (row.approved, row.role, row.reason),
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn what_concerns_a_person_waits_unsealed_until_a_person_approves() {
    let (mut broker, mut police) = police();
    let pushed = police.push(names(1), NOW).unwrap();
    assert_eq!((pushed.stage, pushed.repeated), (Stage::Held, false));
    for hours in 0..5 {
        police.step([Input::Tick], after(Span::hours(hours)));
        broker.serve(&mut police, after(Span::hours(hours)));
    }
    assert!(police.submitted().is_empty(), "time, keys and cases release nothing");
    assert_eq!((police.blobs.len(), drafts(&police)), (0, 1), "kept, and not sealed");
    assert_eq!(police.core.status(NOW).held, 1);
    // Whoever decides sees what it is, and the body.
    let held = police.core.held(police.ports());
    assert_eq!((held.len(), held[0].level.as_str(), held[0].row.case), (1, "P1", Some(CASE)));
    let body = police.core.held_body(&MsgId([1; 16]), police.ports()).unwrap();
    assert_eq!(body.as_slice(), names(1).body);
    let later = after(Span::hours(5));
    police.decide(1, true, later).unwrap();
    let packets = police.submitted();
    let context = Packet::parse(&packets[0]).unwrap().context().clone();
    assert_eq!((context.msg_id, context.issued), (MsgId([1; 16]), later), "sealed at the decision");
    assert_eq!((stage(&police, 1), drafts(&police)), (Stage::Sealed, 0));
    assert_eq!(decisions(&police), [(true, "teamchef".to_owned(), "besproken".to_owned())]);
    let wire = packets[0].windows(8).any(|part| part == b"teamchef");
    assert!(!wire, "who decided stays here");
    let answer = broker.accept(&packets[0], later);
    police.step([Input::Verdict(answer)], later);
    assert_eq!(stage(&police, 1), Stage::Done);
    assert_eq!(decisions(&police).len(), 1, "the decision is kept");
}

#[test]
fn what_concerns_nobody_and_flows_that_ask_no_release_pass_at_once() {
    let (_, [_, mut police, mut youth, _]) = partnership();
    assert_eq!(youth.push(signal(1), NOW).unwrap().stage, Stage::Sealed);
    let group = request(2, "F02", &[1], "02-F02-politie-signaal.json");
    assert_eq!(police.push(group, NOW).unwrap().stage, Stage::Sealed);
}

#[test]
fn what_may_not_be_sent_is_refused_at_once_and_nobody_is_asked() {
    let (_, mut police) = police();
    let wrong = PushRequest { step: Some(Step::S3), ..names(1) };
    assert_eq!(police.push(wrong, NOW).unwrap_err().refusal, Refusal::WrongStep);
    let extra = PushRequest { body: br#"{"bsn": "1"}"#.to_vec(), ..names(2) };
    assert!(police.push(extra, NOW).is_err());
    assert!(police.core.held(police.ports()).is_empty());
}

#[test]
fn a_denied_message_ends_and_its_body_is_erased() {
    let (_, mut police) = police();
    police.push(names(1), NOW).unwrap();
    police.take_events();
    police.decide(1, false, NOW).unwrap();
    assert_eq!((stage(&police, 1), drafts(&police), police.blobs.len()), (Stage::Denied, 0, 0));
    let outcome = Refusal::ReleaseDenied.number();
    let ended = Event::Decided { msg_id: MsgId([1; 16]), stage: Stage::Denied, outcome };
    assert_eq!(police.take_events(), [ended]);
    assert_eq!(decisions(&police), [(false, "teamchef".to_owned(), "besproken".to_owned())]);
    assert_eq!(police.decide(1, true, NOW).unwrap_err().refusal, Refusal::NotHeld, "it is final");
    let again = police.push(names(1), NOW).unwrap();
    assert_eq!((again.stage, again.repeated), (Stage::Denied, true));
    police.restart(NOW);
    assert_eq!((stage(&police, 1), police.core.status(NOW).denied), (Stage::Denied, 1));
    assert!(police.submitted().is_empty());
}

#[test]
fn a_retry_a_restart_and_a_session_release_nothing() {
    let (mut broker, mut police) = police();
    police.push(names(1), NOW).unwrap();
    let again = police.push(names(1), NOW).unwrap();
    assert_eq!((again.stage, again.repeated), (Stage::Held, true));
    police.restart(NOW);
    broker.connect(&mut police, NOW);
    police.step([Input::Disconnected, Input::Tick], NOW);
    police.restart(NOW);
    broker.connect(&mut police, after(Span::seconds(5)));
    assert!(police.submitted().is_empty());
    assert_eq!((stage(&police, 1), police.core.status(NOW).held), (Stage::Held, 1));
    // Without a session as well: what is pushed and approved there is sealed there.
    police.step([Input::Disconnected], NOW);
    assert_eq!(police.push(names(2), NOW).unwrap().stage, Stage::Held);
    police.decide(2, true, NOW).unwrap();
    police.decide(1, true, NOW).unwrap();
    assert!(police.submitted().is_empty());
    broker.connect(&mut police, after(Span::seconds(10)));
    let ids: Vec<u8> =
        police.submitted().iter().map(|it| Packet::parse(it).unwrap().context().msg_id.0[0]).collect();
    assert_eq!(ids, [2, 1], "in the order in which they were released, as their numbers say");
}

#[test]
fn a_draft_on_disk_that_nobody_released_is_not_sealed() {
    // A draft that waits for a key of the recipient; its decision is taken out of the store.
    let mut broker = Broker::new();
    let mut police = Node::new(2);
    broker.cases.insert(CASE, moved(Step::S2B));
    police.push(names(1), NOW).unwrap();
    police.decide(1, true, NOW).unwrap();
    assert_eq!(stage(&police, 1), Stage::Draft);
    let mut robbed = Node::new(2);
    robbed.rows = police.rows.clone();
    robbed.rows.retain(|(of, _), _| *of != table::RELEASE);
    for (node, expected) in [(&mut police, Stage::Sealed), (&mut robbed, Stage::Refused)] {
        node.restart(NOW);
        let mut town = Node::new(1);
        broker.connect(&mut town, NOW);
        broker.connect(node, NOW);
        broker.serve(node, NOW);
        let later = after(Span::minutes(1));
        node.step([Input::Tick], later);
        broker.serve(node, later);
        assert_eq!(stage(node, 1), expected);
        assert_eq!(node.submitted().len(), usize::from(expected == Stage::Sealed));
    }
    let refused = Refusal::NotReleased.number();
    assert!(
        robbed
            .events
            .iter()
            .any(|event| matches!(event, Event::Decided { outcome, .. } if *outcome == refused))
    );
}

#[test]
fn an_approval_is_judged_as_of_now() {
    let (mut broker, mut police) = police();
    police.push(names(1), NOW).unwrap();
    police.push(names(2), NOW).unwrap();
    let chain = broker.cases.get_mut(&CASE).unwrap();
    let on = decision(chain, 1, Act::Step(Step::S3), after(Span::seconds(1)));
    chain.push(on);
    police.step([Input::Cases(vec![CaseHead { case: CASE, decisions: 4 }])], NOW);
    broker.serve(&mut police, NOW);
    assert!(police.submitted().is_empty());
    police.take_events();
    police.decide(1, true, NOW).unwrap();
    let outcome = Refusal::WrongStep.number();
    let ended = Event::Decided { msg_id: MsgId([1; 16]), stage: Stage::Refused, outcome };
    assert_eq!(police.take_events(), [ended]);
    assert!(police.submitted().is_empty());
    assert_eq!(drafts(&police), 1, "its body is gone");
    // And when this organisation is no longer bound by the covenant.
    let left = cast(&COVENANT, 2, Word::Withdraw, NOW);
    let casts = [police.core.agreed().find(&COVENANT.hash()).unwrap().casts().to_vec(), vec![left]].concat();
    police.step(
        [Input::Covenant {
            had: (0, 0),
            compiled: std::sync::Arc::clone(&COVENANT),
            casts,
            rotations: vec![],
        }],
        NOW,
    );
    police.decide(2, true, NOW).unwrap();
    assert_eq!((stage(&police, 2), drafts(&police)), (Stage::Refused, 0));
    assert!(police.submitted().is_empty());
    assert_eq!(decisions(&police).len(), 2, "both decisions are kept all the same");
}

#[test]
fn what_waits_ends_with_its_validity() {
    let (_, mut police) = police();
    police.push(PushRequest { ttl: Some(Span::hours(1)), ..names(1) }, NOW).unwrap();
    police.push(PushRequest { ttl: Some(Span::hours(1)), ..names(2) }, NOW).unwrap();
    police.push(names(3), NOW).unwrap();
    let over = after(Span::hours(1));
    assert_eq!(police.decide(1, true, over).unwrap_err().refusal, Refusal::Expired);
    police.step([Input::Tick], over);
    let stages = [1, 2, 3].map(|id| stage(&police, id));
    assert_eq!(stages, [Stage::Expired, Stage::Expired, Stage::Held]);
    assert_eq!((drafts(&police), police.submitted().len()), (1, 0));
    assert!(decisions(&police).is_empty());
}

#[test]
fn what_may_wait_is_bounded_and_the_bound_gives_way_again() {
    let (_, mut police) = police();
    let numbered = |number: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        PushRequest { msg_id: MsgId(id), ..names(0) }
    };
    assert!(names(0).body.len() * HELD_MAX < HELD_BYTES_MAX, "the number binds here");
    let pushes = (1..=HELD_MAX).map(|n| Input::Push { token: 0, request: Box::new(numbered(n)) });
    let turn = police.step(pushes.collect::<Vec<_>>(), NOW);
    assert!(turn.replies.iter().all(|reply| reply.result.as_ref().is_ok_and(|it| it.stage == Stage::Held)));
    assert_eq!(police.push(names(255), NOW).unwrap_err().refusal, Refusal::TooBusy);
    police.restart(NOW);
    assert_eq!(police.push(names(255), NOW).unwrap_err().refusal, Refusal::TooBusy);
    let role = "teamchef".to_owned();
    let release = Release { msg_id: numbered(1).msg_id, approved: false, role, reason: "nee".into() };
    police.step([Input::Release { token: 1, release }], NOW);
    assert_eq!(police.push(names(255), NOW).unwrap().stage, Stage::Held);
}

#[test]
fn a_decision_says_in_which_role_and_why() {
    let (_, mut police) = police();
    police.push(names(1), NOW).unwrap();
    let long = "x".repeat(501);
    for (approved, role, reason) in [
        (true, " ", "x"),
        (true, "a\u{7}", ""),
        (false, "chef", ""),
        (true, "chef", long.as_str()),
        (true, &long[..65], ""),
    ] {
        let release = Release { msg_id: MsgId([1; 16]), approved, role: role.into(), reason: reason.into() };
        let turn = police.step([Input::Release { token: 1, release }], NOW);
        assert_eq!(turn.answers[0].1.as_ref().unwrap_err().refusal, Refusal::FieldInvalid, "{role:?}");
        assert_eq!(stage(&police, 1), Stage::Held);
    }
    assert_eq!(police.decide(7, true, NOW).unwrap_err().refusal, Refusal::NotHeld, "nobody knows it");
}

#[test]
fn what_cannot_be_locked_is_not_half_kept_and_what_does_not_open_is_not_sent() {
    let (_, mut police) = police();
    police.break_lock(true);
    assert_eq!(police.push(names(1), NOW).unwrap_err().refusal, Refusal::TooBusy);
    assert_eq!((drafts(&police), police.core.find(&MsgId([1; 16]))), (0, None));
    police.break_lock(false);
    police.push(names(1), NOW).unwrap();
    for ((of, _), value) in &mut police.rows {
        if *of == table::DRAFT {
            value[9] ^= 1;
        }
    }
    police.restart(NOW);
    assert_eq!(police.decide(1, true, NOW).unwrap_err().refusal, Refusal::CannotOpen);
    assert!(police.alarms().contains(&AlarmKind::StoreKey) && police.submitted().is_empty());
}

/// The municipality got names from the police, and passes them back to them twice: one waits for a person, the
/// other was released and waits for a key of the police.
fn passing_on() -> (Broker, [Node; 2]) {
    let (mut broker, [town, police, ..]) = partnership();
    let mut nodes = [town, police];
    broker.cases.insert(CASE, moved(Step::S2B));
    for node in &mut nodes {
        node.step([Input::LookAtCase(CASE)], NOW);
        broker.serve(node, NOW);
    }
    nodes[1].pass(names(1), NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    let got = received(&nodes[0]);
    pass_on(&mut nodes[0], &got);
    (broker, nodes)
}

fn received(town: &Node) -> Source {
    let key = vec![0; 8];
    let value = &town.rows[&(table::INBOX, key.clone())];
    let Ok(Write::Inbox(_, row)) = Write::read(table::INBOX, &key, value) else { panic!("a row") };
    town.core.source(&row, None).unwrap()
}

fn pass_on(town: &mut Node, got: &Source) {
    for id in [8, 9, 10] {
        let member = request(id, "F28", &[2], "28-F28-lid-toegevoegd.json");
        // The last is the municipality's own.
        let source = (id != 10).then(|| got.clone());
        let push = PushRequest { step: Some(Step::S2B), case: Some(CASE), source, ..member };
        assert_eq!(town.push(push, NOW).unwrap().stage, Stage::Held);
    }
    town.rows.retain(|(of, _), _| *of != table::PEER);
    town.restart(NOW);
    town.decide(9, true, NOW).unwrap();
    assert_eq!((stage(town, 8), stage(town, 9), stage(town, 10)), (Stage::Held, Stage::Draft, Stage::Held));
}

/// What was passed on ended, for good; what was not did not.
fn ended(town: &mut Node) {
    let outcome = Refusal::SourceGone.number();
    let told = |id| Event::Decided { msg_id: MsgId([id; 16]), stage: Stage::Refused, outcome };
    let events = town.take_events();
    assert!(events.contains(&told(8)) && events.contains(&told(9)));
    for _ in 0..2 {
        assert_eq!(
            (stage(town, 8), stage(town, 9), stage(town, 10)),
            (Stage::Refused, Stage::Refused, Stage::Held)
        );
        let locked = |id| {
            let (position, _) = town.core.find(&MsgId([id; 16])).unwrap();
            town.rows.contains_key(&(table::DRAFT, position_key(position)))
        };
        assert_eq!([8, 9, 10].map(locked), [false, false, true], "what was locked for it is gone");
        assert_eq!(town.decide(8, true, NOW).unwrap_err().refusal, Refusal::NotHeld);
        town.restart(NOW);
    }
}

#[test]
fn what_was_withdrawn_is_not_passed_on_any_more() {
    for restart in [false, true] {
        let (mut broker, mut nodes) = passing_on();
        if restart {
            nodes[0].restart(NOW);
        }
        say(&mut nodes[1], 1, CorrectionKind::Withdrawal, NOW).unwrap();
        exchange(&mut broker, &mut nodes, &[], NOW);
        ended(&mut nodes[0]);
    }
}

#[test]
fn what_was_erased_is_not_passed_on_any_more() {
    for restart in [false, true] {
        let (_, [mut town, _]) = passing_on();
        if restart {
            town.restart(NOW);
        }
        town.step([Input::Erase { token: 3, position: 0, ground: Ground::Subject }], NOW);
        ended(&mut town);
    }
    // At its term as well.
    let (_, [mut town, _]) = passing_on();
    let until = town.core.keep_until(0);
    assert_eq!(until, None, "names follow the case");
    let end = CaseEnd { case: CASE, at: NOW };
    town.core.retention.case_ended(7, end);
    town.step([Input::Tick], NOW);
    assert!(town.core.erased(0).is_some());
    ended(&mut town);
}

#[test]
fn what_was_passed_on_before_is_known_by_the_packet_of_its_origin() {
    let (_, [mut town, _]) = passing_on();
    let own = received(&town);
    // The same message, had it come from somebody who passed it on.
    let origin =
        Provenance { origin: oin(2), handling: own.handling, source: Some(Digest([7; 32])), consent: None };
    let row = Write::Provenance(0, origin).row();
    town.rows.insert((row.table, row.key), row.value.unwrap());
    town.restart(NOW);
    town.step([Input::Erase { token: 3, position: 0, ground: Ground::Subject }], NOW);
    assert_eq!((stage(&town, 8), stage(&town, 9)), (Stage::Held, Stage::Draft), "another packet");
    let (_, [mut town, _]) = passing_on();
    let row = Write::Provenance(
        0,
        Provenance { origin: oin(2), handling: own.handling, source: Some(own.packet), consent: None },
    )
    .row();
    town.rows.insert((row.table, row.key), row.value.unwrap());
    town.restart(NOW);
    town.step([Input::Erase { token: 3, position: 0, ground: Ground::Subject }], NOW);
    ended(&mut town);
}
