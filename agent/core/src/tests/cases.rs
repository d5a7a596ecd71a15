//! Cases at an agent: what is sent and what is taken in waits for the decisions and is held against them, each
//! checked here; and what this organisation decides is kept until it is heard.

use std::sync::Arc;

use seinhuis_shared::case::{Act, CaseDecision, Stage as At};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::{Cast, Word};
use seinhuis_shared::covenant::{Compiled, Step};
use seinhuis_shared::ids::CaseId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{CaseHead, Decided, Known, Offer};

use crate::fixture::{
    Broker, CASE, COVENANT, NOW, Node, after, cast as vote, decision, moved, oin, partnership, request,
    rotated, signer, version_asked,
};
use crate::{AlarmKind, Event, Input, PushRequest, Rejection, Send, Stage};

const NAMES: &str = "09-F09-politie-namen.json";

/// The police send names about the case.
fn names(id: u8, step: Step) -> PushRequest {
    PushRequest { step: Some(step), case: Some(CASE), ..request(id, "F09", &[1], NAMES) }
}

fn fetches(node: &mut Node) -> usize {
    let (fetches, rest): (Vec<_>, Vec<_>) =
        node.take_sends().into_iter().partition(|send| *send == Send::FetchCase(CASE));
    node.sends = rest;
    fetches.len()
}

fn told(decisions: usize) -> Input {
    Input::Cases(vec![CaseHead { case: CASE, decisions: u32::try_from(decisions).unwrap() }])
}

fn given(chain: &[Decided]) -> Input {
    Input::Case(CASE, Some(chain.to_vec()))
}

/// Town and police, with a broker that has the case in a step.
fn cast(step: Step) -> (Broker, Node, Node) {
    let (mut broker, [town, police, ..]) = partnership();
    broker.cases.insert(CASE, moved(step));
    (broker, town, police)
}

fn stage(node: &Node, id: u8) -> Option<Stage> {
    node.core.find(&seinhuis_shared::ids::MsgId([id; 16])).map(|(_, stage)| stage)
}

fn known(node: &Node) -> usize {
    node.core.agreed().cases().state(&CASE).map_or(0, |state| state.events().count())
}

#[test]
fn a_draft_waits_for_its_case_and_is_sealed_in_its_step_alone() {
    let (mut broker, _, mut police) = cast(Step::S2B);
    let pushed = police.pass(names(1, Step::S2B), NOW).unwrap();
    assert_eq!(pushed.stage, Stage::Draft);
    assert!(police.submitted().is_empty());
    broker.serve(&mut police, NOW);
    assert_eq!((stage(&police, 1), police.submitted().len()), (Some(Stage::Sealed), 1));
    // From here on it is told at once.
    assert_eq!(police.pass(names(2, Step::S2B), NOW).unwrap().stage, Stage::Sealed);
    let chain = broker.cases.get_mut(&CASE).unwrap();
    let on = decision(chain, 1, Act::Step(Step::S3), after(Span::seconds(1)));
    chain.push(on);
    police.step([told(4)], NOW);
    assert_eq!(police.pass(names(3, Step::S2B), NOW).unwrap().stage, Stage::Draft, "it is behind");
    broker.serve(&mut police, NOW);
    assert_eq!(stage(&police, 3), Some(Stage::Refused));
    assert!(police.events.iter().any(|event| matches!(
        event,
        Event::Decided { outcome, .. } if *outcome == Refusal::WrongStep.number()
    )));
    assert_eq!(police.pass(names(4, Step::S2B), NOW).unwrap_err().refusal, Refusal::WrongStep);
}

#[test]
fn what_the_broker_knows_nothing_of_is_refused_until_it_tells() {
    let (mut broker, [_, mut police, ..]) = partnership();
    assert_eq!(police.pass(names(1, Step::S2B), NOW).unwrap().stage, Stage::Draft);
    broker.serve(&mut police, NOW);
    assert_eq!(stage(&police, 1), Some(Stage::Refused));
    assert_eq!(police.pass(names(2, Step::S2B), NOW).unwrap_err().refusal, Refusal::UnknownCase);
    assert_eq!(fetches(&mut police), 0, "it was answered");
    broker.cases.insert(CASE, moved(Step::S2B));
    police.step([told(3)], NOW);
    broker.serve(&mut police, NOW);
    assert_eq!(police.pass(names(3, Step::S2B), NOW).unwrap().stage, Stage::Sealed);
}

#[test]
fn without_a_case_nothing_has_started() {
    let (_, [_, mut police, ..]) = partnership();
    let signal = || request(1, "F02", &[1], "02-F02-politie-signaal.json");
    assert_eq!(police.push(signal(), NOW).unwrap().stage, Stage::Sealed);
    let closed = PushRequest { step: Some(Step::S3), ..request(2, "F38", &[1], "40-F38-inbreuk.json") };
    assert!(police.push(closed, NOW).is_ok(), "a service type needs no step");
}

#[test]
fn a_closed_case_takes_nothing_and_without_a_session_what_is_known_has_to_do() {
    let (mut broker, _, mut police) = cast(Step::S2B);
    police.step([Input::LookAtCase(CASE)], NOW);
    broker.serve(&mut police, NOW);
    police.step([Input::Disconnected], NOW);
    assert_eq!(police.pass(names(1, Step::S2B), NOW).unwrap().stage, Stage::Sealed);
    assert_eq!(
        police.pass(names(2, Step::S3), NOW).unwrap_err().refusal,
        Refusal::WrongStep,
        "not the flow's"
    );
    let chain = broker.cases.get_mut(&CASE).unwrap();
    let close = decision(chain, 1, Act::Close, NOW);
    chain.push(close);
    broker.connect(&mut police, NOW);
    assert_eq!(known(&police), 3, "nothing asks for it");
    assert_eq!(police.pass(names(3, Step::S2B), NOW).unwrap().stage, Stage::Draft, "a new session asks anew");
    broker.serve(&mut police, NOW);
    assert_eq!(stage(&police, 3), Some(Stage::Refused));
    assert_eq!(police.pass(names(4, Step::S2B), NOW).unwrap_err().refusal, Refusal::CaseClosed);
}

/// A packet sealed by the police when the case was in 2B, and the offer of it, accepted at NOW.
fn offered(broker: &mut Broker, police: &mut Node, id: u8) -> Offer {
    police.pass(names(id, Step::S2B), NOW).unwrap();
    broker.serve(police, NOW);
    let packet = police.submitted().remove(0);
    broker.offer(&packet, oin(1), NOW)
}

#[test]
fn an_offer_waits_for_its_case_and_is_judged_as_it_stood_at_acceptance() {
    let (mut broker, mut town, mut police) = cast(Step::S2B);
    let offer = offered(&mut broker, &mut police, 1);
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert!(town.acknowledged().is_empty() && town.bodies().is_empty());
    // Meanwhile the case moves on: that is after the acceptance.
    let chain = broker.cases.get_mut(&CASE).unwrap();
    let on = decision(chain, 1, Act::Step(Step::S3), NOW.plus(Span(1)));
    chain.push(on);
    broker.serve(&mut town, NOW);
    assert_eq!((town.acknowledged()[0].outcome, town.bodies().len()), (0, 1));
}

/// The broker lets everything through; the recipient does not.
#[test]
fn what_does_not_fit_the_case_is_quarantined_whatever_the_broker_let_pass() {
    let quarantined = |chain: Option<Vec<Decided>>| {
        let (mut broker, mut town, mut police) = cast(Step::S2B);
        let offer = offered(&mut broker, &mut police, 1);
        match chain {
            Some(chain) => broker.cases.insert(CASE, chain),
            None => broker.cases.remove(&CASE),
        };
        town.step([Input::Offer(Box::new(offer))], NOW);
        broker.serve(&mut town, NOW);
        assert!(town.bodies().is_empty());
        town.acknowledged()[0].outcome
    };
    assert_eq!(quarantined(None), Refusal::UnknownCase.number());
    assert_eq!(quarantined(Some(moved(Step::S2A))), Refusal::WrongStep.number());
    let mut closed = moved(Step::S2B);
    let close = decision(&closed, 1, Act::Close, NOW);
    closed.push(close);
    assert_eq!(quarantined(Some(closed)), Refusal::CaseClosed.number());
}

#[test]
fn an_offer_behind_a_told_decision_waits_for_it_and_not_for_ever() {
    let (mut broker, mut town, mut police) = cast(Step::S2B);
    let offer = offered(&mut broker, &mut police, 1);
    town.step([Input::LookAtCase(CASE)], NOW);
    broker.serve(&mut town, NOW);
    // The broker closed the case before it accepted the packet, and says so first.
    let mut longer = moved(Step::S2B);
    let close = decision(&longer, 1, Act::Close, NOW);
    longer.push(close);
    town.step([told(4), Input::Offer(Box::new(offer.clone()))], NOW);
    assert_eq!(fetches(&mut town), 1);
    assert!(town.acknowledged().is_empty());
    town.step([given(&longer)], NOW);
    assert_eq!(town.acknowledged()[0].outcome, Refusal::CaseClosed.number());
    // One that never tells the rest holds nothing up for ever.
    let mut other = Node::new(1);
    broker.connect(&mut other, NOW);
    other.step([Input::Offer(Box::new(offer))], NOW);
    other.step((0..59).map(|_| Input::Tick), NOW);
    assert!(other.acknowledged().is_empty());
    other.step([Input::Tick], NOW);
    assert_eq!(other.acknowledged().len(), 1);
}

/// As a clock that is put right does.
#[test]
fn a_clock_that_is_set_ahead_or_back_ends_no_packet_whose_case_is_being_asked_for() {
    let (mut broker, mut town, mut police) = cast(Step::S2B);
    let offer = offered(&mut broker, &mut police, 1);
    broker.connect(&mut town, NOW);
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(fetches(&mut town), 1);
    town.step([Input::Tick], after(Span::hours(1)));
    assert!(town.acknowledged().is_empty(), "nothing was answered yet");
    assert_eq!(fetches(&mut town), 1, "it is asked again");
    town.step([Input::Tick], NOW);
    assert_eq!(fetches(&mut town), 1, "also when the clock was set back since");
    town.step([given(&moved(Step::S2B))], NOW);
    assert_eq!(town.acknowledged()[0].outcome, 0);
}

#[test]
fn a_decision_that_does_not_verify_is_an_alarm_and_moves_nothing() {
    let forged = |edit: fn(&mut CaseDecision), key: &SigningKey| {
        let mut chain = moved(Step::S1);
        let next = decision(&chain, 1, Act::Step(Step::S2A), NOW);
        let mut claimed = CaseDecision::claimed(&next.decision).unwrap();
        edit(&mut claimed);
        chain.push(Decided { decision: Bytes(claimed.sign(key)), at: NOW });
        let mut police = Node::new(2);
        Broker::new().connect(&mut police, NOW);
        police.step([Input::LookAtCase(CASE), given(&chain)], NOW);
        assert_eq!(known(&police), 1);
        assert_eq!(police.alarms(), [AlarmKind::CaseRefused]);
    };
    let town = SigningKey::from_seed(&[1; 32]);
    forged(|claimed| claimed.party = oin(2), &SigningKey::from_seed(&[2; 32]));
    forged(|claimed| claimed.seq = 2, &town);
    forged(|claimed| claimed.case = CaseId([8; 16]), &town);
    forged(|claimed| claimed.covenant = seinhuis_shared::ids::Digest([8; 32]), &town);
    forged(|claimed| claimed.act = Act::Step(Step::S3), &town);
}

/// Word of a rotation comes on another stream than a decision under the new key.
#[test]
fn a_decision_under_a_key_that_is_not_known_waits_for_word_of_it_once() {
    let mut chain = moved(Step::S1);
    let next = decision(&chain, 1, Act::Step(Step::S2A), NOW);
    let claimed = CaseDecision::claimed(&next.decision).unwrap();
    let at = after(Span::seconds(2));
    chain.push(Decided { decision: Bytes(claimed.sign(&signer(41))), at });
    for (rotations, wanted) in
        [(vec![rotated(1, &signer(41), after(Span::seconds(1)))], (2, 0)), (vec![], (1, 1))]
    {
        let mut police = Node::new(2);
        Broker::new().connect(&mut police, NOW);
        police.take_sends();
        let told = Known { hash: COVENANT.hash(), votes: 4, rotations: 0 };
        police.step([Input::Agreements(vec![told]), Input::LookAtCase(CASE), given(&chain)], NOW);
        assert_eq!((known(&police), police.alarms()), (0, vec![]));
        let had = version_asked(&mut police);
        let casts = police.core.agreed().find(&COVENANT.hash()).unwrap().casts().to_vec();
        police.step([Input::Covenant { had, compiled: Arc::clone(&COVENANT), casts, rotations }], NOW);
        police.step([given(&chain)], NOW);
        assert_eq!((known(&police), police.alarms().len()), wanted, "{:?}", police.alarms());
    }
}

#[test]
fn the_chain_of_another_case_is_not_taken_for_this_one() {
    let other = CaseId([8; 16]);
    let mut police = Node::new(2);
    Broker::new().connect(&mut police, NOW);
    police.step([Input::LookAtCase(other), Input::Case(other, Some(moved(Step::S2B)))], NOW);
    assert_eq!(police.alarms(), [AlarmKind::CaseRefused]);
    let cases = police.core.agreed().cases();
    assert!(cases.state(&other).is_none() && cases.state(&CASE).is_none());
}

/// The decision rests on a vote that is on its way: it is neither refused nor forgotten.
#[test]
fn a_chain_under_a_version_whose_votes_are_not_here_is_asked_for_again() {
    let (mut broker, mut town, mut police) = cast(Step::S2B);
    let offer = offered(&mut broker, &mut police, 1);
    let votes = 5;
    town.step([Input::Agreements(vec![Known { hash: COVENANT.hash(), votes, rotations: 0 }])], NOW);
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(fetches(&mut town), 1);
    town.step([given(&moved(Step::S2B))], NOW);
    assert_eq!((known(&town), town.alarms()), (0, vec![]));
    let mut casts: Vec<Cast> =
        (1..=4).map(|number| vote(&COVENANT, number, Word::Accept, NOW.minus(Span::days(1)))).collect();
    casts.push(vote(&COVENANT, 4, Word::Withdraw, NOW.plus(Span(1))));
    town.step(
        [Input::Covenant { had: (0, 0), compiled: Arc::clone(&COVENANT), casts, rotations: vec![] }],
        NOW,
    );
    assert_eq!(fetches(&mut town), 1, "at once");
    town.step([given(&moved(Step::S2B))], NOW);
    assert_eq!((known(&town), town.acknowledged()[0].outcome), (3, 0));
}

#[test]
fn a_chain_that_is_shorter_or_another_than_before_is_an_alarm() {
    let (mut broker, _, mut police) = cast(Step::S2B);
    police.step([Input::LookAtCase(CASE)], NOW);
    broker.serve(&mut police, NOW);
    // An answer that a longer one overtook.
    police.step([given(&moved(Step::S2A))], NOW);
    assert!(police.alarms().is_empty(), "{:?}", police.alarms());
    police.step([Input::Disconnected, Input::Connected(Box::new(broker.welcome(NOW)))], NOW);
    police.step([given(&moved(Step::S2A))], NOW);
    assert_eq!(police.alarms(), [AlarmKind::DecisionsMissing]);
    let mut other = moved(Step::S2A);
    let close = decision(&other, 1, Act::Close, NOW);
    other.push(close);
    police.step([given(&other)], NOW);
    assert_eq!(police.alarms(), [AlarmKind::DecisionsMissing, AlarmKind::CaseRefused]);
    let state = police.core.agreed().cases().state(&CASE).unwrap();
    assert_eq!(state.now().stage(), At::In(Step::S2B));
    let restored = police.restored();
    assert_eq!(restored.agreed().cases().state(&CASE), Some(state), "durable");
}

#[test]
fn a_time_that_does_not_rise_is_refused() {
    let mut chain = moved(Step::S2B);
    chain[2].at = chain[1].at;
    let mut police = Node::new(2);
    Broker::new().connect(&mut police, NOW);
    police.step([Input::LookAtCase(CASE), given(&chain)], NOW);
    assert_eq!((known(&police), police.alarms()), (2, vec![AlarmKind::CaseRefused]));
}

fn decide(node: &mut Node, act: Act) -> Result<(), Rejection> {
    let turn = node.step([Input::Decide { token: 5, case: CASE, act: Some(act), covenant: None }], NOW);
    turn.answers.into_iter().find(|(token, _)| *token == 5).unwrap().1
}

fn decisions(node: &mut Node) -> Vec<Bytes> {
    let (decisions, rest): (Vec<_>, Vec<_>) =
        node.take_sends().into_iter().partition(|send| matches!(send, Send::Decide { .. }));
    node.sends = rest;
    let bytes = |send| if let Send::Decide { bytes, .. } = send { Some(Bytes(bytes)) } else { None };
    decisions.into_iter().filter_map(bytes).collect()
}

#[test]
fn a_decision_is_kept_and_said_until_it_is_in_the_chain() {
    let (mut broker, [mut town, ..]) = partnership();
    town.step([Input::Disconnected], NOW);
    decide(&mut town, Act::Step(Step::S1)).unwrap();
    assert!(decisions(&mut town).is_empty());
    assert_eq!(decide(&mut town, Act::Step(Step::S2A)).unwrap_err().refusal, Refusal::TooBusy);
    town.restart(NOW);
    broker.connect(&mut town, NOW);
    let said = decisions(&mut town);
    assert_eq!(said.len(), 1);
    broker.cases.insert(CASE, vec![Decided { decision: said[0].clone(), at: NOW }]);
    // The answer is lost; said again, it is not the next of the chain any more.
    town.step([Input::Disconnected], NOW);
    broker.connect(&mut town, NOW);
    assert_eq!(decisions(&mut town).len(), 1);
    town.step([Input::DecisionAnswered(CASE, Refusal::CaseMoved.number())], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!((known(&town), town.core.agreed().cases().act(&CASE)), (1, None));
    assert!(town.restored().agreed().cases().act(&CASE).is_none());
}

#[test]
fn a_decision_that_came_second_is_refused_and_taken_anew() {
    let (mut broker, mut town, _) = cast(Step::S2A);
    town.step([Input::LookAtCase(CASE)], NOW);
    broker.serve(&mut town, NOW);
    decide(&mut town, Act::Step(Step::S2B)).unwrap();
    assert_eq!(decisions(&mut town).len(), 1);
    let chain = broker.cases.get_mut(&CASE).unwrap();
    let other = decision(chain, 2, Act::Condition { code: "strafrechtelijk".into(), holds: true }, NOW);
    chain.push(other);
    town.step([Input::DecisionAnswered(CASE, Refusal::CaseMoved.number())], NOW);
    broker.serve(&mut town, NOW);
    let refused = town.core.agreed().cases().act(&CASE).map(|row| row.refused);
    assert_eq!((known(&town), refused), (3, Some(Refusal::CaseMoved.number())));
    broker.connect(&mut town, NOW);
    assert!(decisions(&mut town).is_empty(), "it is not said again");
    decide(&mut town, Act::Step(Step::S2B)).unwrap();
    let said = decisions(&mut town);
    assert_eq!(CaseDecision::claimed(&said[0]).unwrap().seq, 3);
}

#[test]
fn what_may_not_be_decided_is_refused_before_it_is_said() {
    let (mut broker, mut town, mut police) = cast(Step::S2A);
    assert_eq!(decide(&mut police, Act::Close).unwrap_err().refusal, Refusal::UnknownCase);
    for node in [&mut town, &mut police] {
        node.step([Input::LookAtCase(CASE)], NOW);
        broker.serve(node, NOW);
    }
    let refusal = |node: &mut Node, act| decide(node, act).unwrap_err().refusal;
    assert_eq!(refusal(&mut police, Act::Step(Step::S2B)), Refusal::NotTheMover);
    assert_eq!(refusal(&mut police, Act::Close), Refusal::NotTheMover);
    assert_eq!(refusal(&mut town, Act::Step(Step::S4)), Refusal::BadTransition);
    let condition = |code: &str, holds| Act::Condition { code: code.into(), holds };
    assert_eq!(refusal(&mut police, condition("anders", true)), Refusal::BadTransition);
    assert_eq!(refusal(&mut police, condition("strafrechtelijk", false)), Refusal::BadTransition);
    decide(&mut police, condition("strafrechtelijk", true)).unwrap();
    assert_eq!(decisions(&mut police).len(), 1);
    assert!(decisions(&mut town).is_empty());
}

/// The police state a condition at NOW, after `party` withdrew; how many decisions the municipality's agent takes.
fn after_withdrawal(party: u8, may_be_absent: bool) -> (usize, Vec<AlarmKind>) {
    let mut covenant = COVENANT.covenant().clone();
    covenant.id = "anders".into();
    covenant.parties.iter_mut().filter(|one| one.oin == oin(party)).for_each(|one| {
        one.may_be_absent = may_be_absent;
    });
    let compiled = Arc::new(Compiled::new(covenant).unwrap());
    let at = NOW.minus(Span::minutes(5));
    let mut casts: Vec<Cast> = (1..=4).map(|number| vote(&compiled, number, Word::Accept, at)).collect();
    casts.push(vote(&compiled, party, Word::Withdraw, NOW.minus(Span::seconds(1))));
    let mut chain: Vec<Decided> = vec![];
    let state = || Act::Condition { code: "strafrechtelijk".into(), holds: true };
    for (number, act, at) in [(1, Act::Step(Step::S1), NOW.minus(Span::minutes(1))), (2, state(), NOW)] {
        let mut claimed = CaseDecision::claimed(&decision(&chain, number, act, at).decision).unwrap();
        claimed.covenant = compiled.hash();
        chain.push(Decided { decision: Bytes(claimed.sign(&signer(number))), at });
    }
    let mut town = Node::new(1);
    town.step([Input::Covenant { had: (0, 0), compiled, casts, rotations: vec![] }], NOW);
    Broker::new().connect(&mut town, NOW);
    town.step([Input::LookAtCase(CASE), given(&chain)], NOW);
    let (known, alarms) = (known(&town), town.alarms());
    assert_eq!(town.restored().agreed().cases().all().count(), 1, "what counted is read back");
    (known, alarms)
}

#[test]
fn who_has_withdrawn_decides_nothing_here_either() {
    assert_eq!(after_withdrawal(4, true), (2, vec![]), "another's withdrawal changes nothing");
    assert_eq!(after_withdrawal(2, true), (1, vec![AlarmKind::CaseRefused]), "it is not bound any more");
    assert_eq!(after_withdrawal(3, false), (1, vec![AlarmKind::CaseRefused]), "the covenant has ended");
}
