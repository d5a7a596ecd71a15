//! Covenants at an agent: nothing counts that was not accepted here, and no vote is believed unchecked.

use std::sync::Arc;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::{Cast, State, Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Keys;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::Known;

use crate::fixture::{
    Broker, COVENANT, NOW, Node, after, cast, covenant, inquiry, oin, partnership, signal, signer,
    version_asked,
};
use crate::{AlarmKind, Event, Extent, Input, Rejection, Send, Stage, Turn};

fn version() -> Arc<Compiled> {
    covenant(2, "2026-02-01", "2028-01-01")
}

fn given(compiled: &Arc<Compiled>, casts: Vec<Cast>) -> Input {
    answered((0, 0), compiled, casts)
}

/// The answer to a question for a version of which this much was here.
fn answered(had: Extent, compiled: &Arc<Compiled>, casts: Vec<Cast>) -> Input {
    Input::Covenant { had, compiled: Arc::clone(compiled), casts, rotations: vec![] }
}

/// What the node knows, and these votes.
fn more(node: &Node, compiled: &Arc<Compiled>, casts: Vec<Cast>) -> Input {
    let known = node.core.agreed().find(&compiled.hash()).map_or(vec![], |one| one.casts().to_vec());
    given(compiled, [known, casts].concat())
}

fn known(compiled: &Compiled, votes: u32) -> Input {
    Input::Agreements(vec![Known { hash: compiled.hash(), votes, rotations: 0 }])
}

fn speak(node: &mut Node, hash: Digest, word: Word) -> Result<(), Rejection> {
    let input = Input::Speak { token: 5, hash, word, reason: "besluit college".into() };
    let turn = node.step([input], NOW);
    answer(turn)
}

fn answer(turn: Turn) -> Result<(), Rejection> {
    turn.answers.into_iter().find(|(token, _)| *token == 5).unwrap().1
}

/// The votes among what is to be sent.
fn votes(node: &mut Node) -> Vec<Vec<u8>> {
    let sends = node.take_sends();
    sends
        .into_iter()
        .filter_map(|send| if let Send::Vote { bytes, .. } = send { Some(bytes) } else { None })
        .collect()
}

fn state(node: &Node, hash: &Digest) -> State {
    node.core.agreed().find(hash).unwrap().state(NOW)
}

#[test]
fn nothing_is_sealed_under_what_this_organisation_did_not_accept() {
    let compiled = version();
    let mut youth = Node::new(3);
    let others = [1, 2, 4].map(|number| cast(&compiled, number, Word::Accept, NOW)).to_vec();
    youth.step([given(&compiled, others)], NOW);
    let request = crate::PushRequest { covenant: Some(compiled.hash()), ..signal(1) };
    assert_eq!(youth.push(request.clone(), NOW).unwrap_err().refusal, Refusal::NotSigned);
    let rest = more(&youth, &compiled, vec![cast(&compiled, 3, Word::Accept, NOW)]);
    youth.step([rest], NOW);
    assert!(youth.push(request, NOW).is_ok());
}

#[test]
fn what_is_agreed_counts_on_a_clock_that_is_behind_and_no_sooner_than_its_first_day() {
    let (_, [mut town, ..]) = partnership();
    let behind = NOW.minus(Span::days(2));
    assert!(town.push(inquiry(1, &[2]), behind).is_ok());
    let later = covenant(2, "2027-01-01", "2028-01-01");
    let all = (1..=4).map(|number| cast(&later, number, Word::Accept, NOW)).collect();
    town.step([given(&later, all)], NOW);
    let request = crate::PushRequest { covenant: Some(later.hash()), ..inquiry(2, &[2]) };
    assert_eq!(town.push(request, NOW).unwrap_err().refusal, Refusal::CovenantNotInForce);
}

#[test]
fn what_others_did_not_sign_is_not_in_force_here_whatever_the_broker_says() {
    let compiled = version();
    let mut youth = Node::new(3);
    let forged = |number: u8| {
        let vote = Vote {
            format: 1,
            covenant: compiled.hash(),
            party: oin(number),
            word: Word::Accept,
            issued: NOW,
            reason: String::new(),
        };
        Cast { vote: Bytes(vote.sign(&signer(9))), at: NOW }
    };
    youth.step([given(&compiled, vec![cast(&compiled, 3, Word::Accept, NOW), forged(1)])], NOW);
    assert_eq!(state(&youth, &compiled.hash()), State::Proposed);
    assert_eq!(youth.alarms(), [AlarmKind::CovenantRefused]);
    let request = crate::PushRequest { covenant: Some(compiled.hash()), ..signal(1) };
    assert_eq!(youth.push(request, NOW).unwrap_err().refusal, Refusal::NotSigned, "an answer counts whole");
}

#[test]
fn a_document_that_gives_this_organisation_another_key_is_not_accepted_by_that_key() {
    let mut document: Covenant = version().covenant().clone();
    let thief = SigningKey::from_seed(&[77; 32]);
    document.parties[2].signing_keys = vec![Bytes(thief.public().to_bytes().to_vec())];
    let compiled = Arc::new(Compiled::new(document).unwrap());
    let vote = Vote {
        format: 1,
        covenant: compiled.hash(),
        party: oin(3),
        word: Word::Accept,
        issued: NOW,
        reason: String::new(),
    };
    let mut youth = Node::new(3);
    let stolen = Cast { vote: Bytes(vote.sign(&thief)), at: NOW };
    youth.step([given(&compiled, vec![stolen])], NOW);
    assert_eq!(youth.core.agreed().get(&compiled.hash()).unwrap_err(), Refusal::NotSigned);
    assert_eq!(youth.alarms(), [AlarmKind::CovenantRefused]);
    let refused = speak(&mut youth, compiled.hash(), Word::Accept).unwrap_err();
    assert_eq!(refused.refusal, Refusal::UnknownKey);
}

#[test]
fn a_word_is_kept_until_it_is_seen_among_the_votes() {
    let compiled = version();
    let hash = compiled.hash();
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.take_sends();
    youth.step([given(&compiled, vec![])], NOW);
    speak(&mut youth, hash, Word::Accept).unwrap();
    let [first] = votes(&mut youth).try_into().unwrap();
    let spoken = Vote::verify(&first, &compiled, &Keys::default()).unwrap();
    assert_eq!((spoken.word, spoken.reason.as_str(), spoken.issued), (Word::Accept, "besluit college", NOW));
    // The answer is lost, and so is the process: it is said again, signed anew.
    youth.restart(after(Span::hours(3)));
    broker.connect(&mut youth, after(Span::hours(3)));
    let [again] = votes(&mut youth).try_into().unwrap();
    assert_eq!(Vote::verify(&again, &compiled, &Keys::default()).unwrap().issued, after(Span::hours(3)));
    youth.step([Input::VoteAnswered(hash, Word::Accept, 0)], NOW);
    assert!(youth.core.agreed().word(&hash).is_some(), "not yet seen");
    youth.step([given(&compiled, vec![Cast { vote: Bytes(first), at: NOW }])], NOW);
    assert!(youth.core.agreed().word(&hash).is_none());
    assert!(youth.core.agreed().get(&hash).is_ok());
    let votes = youth.rows.keys().filter(|(table, _)| *table == crate::rows::table::WORD).count();
    assert_eq!(votes, 0);
}

#[test]
fn a_refused_word_is_shown_and_not_repeated() {
    let compiled = version();
    let hash = compiled.hash();
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.step([given(&compiled, vec![])], NOW);
    speak(&mut youth, hash, Word::Accept).unwrap();
    let passing = Refusal::Stopping.number();
    youth.step([Input::VoteAnswered(hash, Word::Accept, passing)], NOW);
    assert_eq!(youth.core.agreed().word(&hash).unwrap().refused, 0, "tried again");
    let refused = Refusal::SignedElsewhere.number();
    youth.step([Input::VoteAnswered(hash, Word::Withdraw, refused)], NOW);
    assert_eq!(youth.core.agreed().word(&hash).unwrap().refused, 0, "the answer to another word");
    youth.step([Input::VoteAnswered(hash, Word::Accept, refused)], NOW);
    youth.restart(NOW);
    broker.connect(&mut youth, NOW);
    assert!(votes(&mut youth).is_empty());
    assert_eq!(youth.core.agreed().word(&hash).unwrap().refused, Refusal::SignedElsewhere.number());
    speak(&mut youth, hash, Word::Reject).unwrap();
    assert_eq!(votes(&mut youth).len(), 1, "another word is another try");
}

#[test]
fn a_withdrawal_holds_here_at_once_also_without_a_broker() {
    let mut youth = Node::new(3);
    let hash = COVENANT.hash();
    assert!(youth.push(signal(1), NOW).is_ok());
    speak(&mut youth, hash, Word::Withdraw).unwrap();
    assert!(votes(&mut youth).is_empty(), "nobody to tell yet");
    let named = |id| crate::PushRequest { covenant: Some(hash), ..signal(id) };
    assert_eq!(youth.push(named(2), NOW).unwrap_err().refusal, Refusal::NotSigned);
    assert_eq!(youth.push(signal(2), NOW).unwrap_err().refusal, Refusal::CovenantNotInForce);
    youth.restart(NOW);
    assert_eq!(youth.push(named(3), NOW).unwrap_err().refusal, Refusal::NotSigned, "also after a restart");
    let mut broker = Broker::new();
    broker.connect(&mut youth, NOW);
    assert_eq!(votes(&mut youth).len(), 1);
}

#[test]
fn only_what_can_be_said_now_is_taken_in() {
    let compiled = version();
    let mut youth = Node::new(3);
    youth.step([given(&compiled, vec![])], NOW);
    let refusal = |node: &mut Node, hash, word| speak(node, hash, word).unwrap_err().refusal;
    assert_eq!(refusal(&mut youth, Digest([9; 32]), Word::Accept), Refusal::UnknownCovenant);
    assert_eq!(refusal(&mut youth, compiled.hash(), Word::Withdraw), Refusal::VoteOrder);
    assert_eq!(refusal(&mut youth, COVENANT.hash(), Word::Accept), Refusal::VoteOrder);
    let long = Input::Speak { token: 5, hash: compiled.hash(), word: Word::Accept, reason: "x".repeat(300) };
    let turn = youth.step([long], NOW);
    assert_eq!(answer(turn).unwrap_err().refusal, Refusal::FieldInvalid);
    let mut stranger = Node::new(7);
    assert_eq!(refusal(&mut stranger, COVENANT.hash(), Word::Accept), Refusal::UnknownCovenant);
    assert_eq!(stranger.core.agreed().all().count(), 0, "what does not name it is not kept");
}

#[test]
fn a_proposal_is_kept_until_the_broker_has_it() {
    let compiled = version();
    let hash = compiled.hash();
    let mut youth = Node::new(3);
    let input = || Input::Propose { token: 5, compiled: Arc::clone(&compiled) };
    let turn = youth.step([input()], NOW);
    assert!(answer(turn).is_ok());
    let mut broker = Broker::new();
    youth.restart(NOW);
    broker.connect(&mut youth, NOW);
    let proposed = |send| if let Send::Propose { bytes, .. } = send { Some(bytes) } else { None };
    let sent = youth.take_sends().into_iter().find_map(proposed);
    assert_eq!(sent, Some(compiled.covenant().to_bytes()));
    youth.step([Input::ProposalAnswered(hash, 0)], NOW);
    assert!(youth.core.agreed().proposal(&hash).is_none());
    let turn = youth.step([input()], NOW);
    assert!(answer(turn).is_ok(), "the same again changes nothing");
    assert!(youth.core.agreed().proposal(&hash).is_none());
}

#[test]
fn what_the_broker_has_and_this_agent_has_not_is_fetched_and_not_without_end() {
    let compiled = version();
    let (_, [_, _, mut youth, _]) = partnership();
    youth.take_sends();
    let fetched = |node: &mut Node, input, now| {
        node.step([input], now);
        node.take_sends().iter().filter(|send| matches!(send, Send::FetchCovenant(..))).count()
    };
    assert_eq!(fetched(&mut youth, known(&compiled, 1), NOW), 1);
    assert_eq!(fetched(&mut youth, Input::Tick, after(Span::seconds(1))), 0);
    assert_eq!(fetched(&mut youth, Input::Tick, after(Span::seconds(11))), 1, "no answer came");
    let one = cast(&compiled, 1, Word::Accept, NOW);
    assert_eq!(fetched(&mut youth, given(&compiled, vec![one]), after(Span::seconds(12))), 0);
    assert_eq!(fetched(&mut youth, Input::Tick, after(Span::seconds(40))), 0, "nothing is lacking");
    assert_eq!(fetched(&mut youth, known(&compiled, 2), after(Span::seconds(41))), 1);
}

#[test]
fn a_broker_that_keeps_votes_back_is_noticed() {
    let (_, [_, _, mut youth, _]) = partnership();
    let three = [1, 2, 3].map(|number| cast(&COVENANT, number, Word::Accept, NOW)).to_vec();
    youth.step([known(&COVENANT, 3)], NOW);
    let had = version_asked(&mut youth);
    youth.step([answered(had, &COVENANT, three)], NOW);
    assert_eq!((had.0, youth.alarms()), (4, vec![AlarmKind::VotesMissing]));
    assert_eq!(state(&youth, &COVENANT.hash()), State::InForce, "what was seen stays seen");
}

#[test]
fn votes_in_an_answer_that_was_overtaken_are_not_missed() {
    let compiled = version();
    let (_, [_, _, mut youth, _]) = partnership();
    youth.step([known(&compiled, 0), known(&compiled, 1)], NOW);
    let one = cast(&compiled, 1, Word::Accept, NOW);
    // Each question has a stream of its own: the answer to the first comes last.
    youth.step([given(&compiled, vec![one])], NOW);
    youth.step([given(&compiled, vec![])], NOW);
    assert!(youth.alarms().is_empty(), "{:?}", youth.alarms());
    youth.step([known(&compiled, 0)], NOW);
    let had = version_asked(&mut youth);
    youth.step([answered(had, &compiled, vec![])], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::VotesMissing], "a broker that forgot it");
}

#[test]
fn votes_that_came_before_word_of_them_are_not_missed_in_an_answer_from_before() {
    let compiled = version();
    let (_, [_, _, mut youth, _]) = partnership();
    let vote = |number| cast(&compiled, number, Word::Accept, NOW);
    youth.step([known(&compiled, 0), known(&compiled, 1)], NOW);
    let first = version_asked(&mut youth);
    youth.step([known(&compiled, 2)], NOW);
    let second = version_asked(&mut youth);
    youth.step([answered(second, &compiled, [1, 2, 4].map(vote).to_vec())], NOW);
    // What the broker tells of by itself has a stream of its own, and comes after what it answers.
    youth.step([known(&compiled, 2), answered(first, &compiled, [1, 2].map(vote).to_vec())], NOW);
    assert!(youth.alarms().is_empty(), "{:?}", youth.alarms());
    assert_eq!(
        youth.core.agreed().find(&compiled.hash()).unwrap().casts().len(),
        3,
        "what was seen stays seen"
    );
}

#[test]
fn a_hostile_broker_fills_nothing() {
    let mut youth = Node::new(3);
    for number in 0..80 {
        let mut document = version().covenant().clone();
        document.title = format!("versie {number}");
        youth.step([given(&Arc::new(Compiled::new(document).unwrap()), vec![])], NOW);
    }
    assert_eq!(youth.core.agreed().all().count(), 1 + super::super::agreed::UNSIGNED_MAX);
    assert!(youth.alarms().iter().all(|kind| *kind == AlarmKind::CovenantRefused));
}

/// The municipality is offered a packet of youth work under a version of which it lacks youth work's vote.
fn early() -> (Node, Arc<Compiled>, Input) {
    let compiled = version();
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    let all = (1..=4).map(|number| cast(&compiled, number, Word::Accept, NOW)).collect();
    youth.step([given(&compiled, all)], NOW);
    let three = [1, 2, 4].map(|number| cast(&compiled, number, Word::Accept, NOW)).to_vec();
    town.step([given(&compiled, three)], NOW);
    let request = crate::PushRequest { covenant: Some(compiled.hash()), ..signal(1) };
    assert_eq!(youth.push(request, NOW).unwrap().stage, Stage::Sealed);
    broker.accept(&youth.submitted()[0], NOW);
    let offer = broker.mailboxes[&oin(1)][0].clone();
    (town, compiled, Input::Offer(Box::new(offer)))
}

fn outcomes(node: &mut Node) -> Vec<u16> {
    let events = node.take_events();
    events
        .into_iter()
        .filter_map(|event| if let Event::Received { outcome, .. } = event { Some(outcome) } else { None })
        .collect()
}

#[test]
fn a_packet_waits_for_the_votes_it_rests_on() {
    let (mut town, compiled, offer) = early();
    town.step([known(&compiled, 4), offer], NOW);
    assert!(outcomes(&mut town).is_empty() && town.acknowledged().is_empty());
    let rest = more(&town, &compiled, vec![cast(&compiled, 3, Word::Accept, NOW)]);
    town.step([rest], NOW);
    assert_eq!(outcomes(&mut town), [0]);
    assert_eq!(town.acknowledged().len(), 1);
}

#[test]
fn a_packet_does_not_wait_for_ever_and_is_not_let_in_unproved() {
    let (mut town, compiled, offer) = early();
    town.step([known(&compiled, 4), offer], NOW);
    town.step((0..59).map(|_| Input::Tick), NOW);
    assert!(outcomes(&mut town).is_empty());
    town.step([Input::Tick], NOW);
    assert_eq!(outcomes(&mut town), [Refusal::CovenantNotInForce.number()]);
}

#[test]
fn what_waits_for_votes_is_forgotten_with_the_session() {
    let (mut town, compiled, offer) = early();
    town.step([known(&compiled, 4), offer, Input::Disconnected], NOW);
    let rest = more(&town, &compiled, vec![cast(&compiled, 3, Word::Accept, NOW)]);
    town.step([rest], NOW);
    assert!(outcomes(&mut town).is_empty() && town.acknowledged().is_empty(), "it is offered again");
}

#[test]
fn a_withdrawal_that_overtook_its_acceptance_is_said_again() {
    let compiled = version();
    let hash = compiled.hash();
    let (_, [_, _, mut youth, _]) = partnership();
    youth.step([given(&compiled, vec![])], NOW);
    speak(&mut youth, hash, Word::Accept).unwrap();
    let [accept] = votes(&mut youth).try_into().unwrap();
    speak(&mut youth, hash, Word::Withdraw).unwrap();
    assert_eq!(votes(&mut youth).len(), 1);
    let order = Refusal::VoteOrder.number();
    youth.step([Input::VoteAnswered(hash, Word::Withdraw, order)], NOW);
    youth.step([given(&compiled, vec![Cast { vote: Bytes(accept), at: NOW }])], NOW);
    let [again] = votes(&mut youth).try_into().unwrap();
    assert_eq!(Vote::verify(&again, &compiled, &Keys::default()).unwrap().word, Word::Withdraw);
}

#[test]
fn what_was_not_answered_is_said_again_signed_anew() {
    let compiled = version();
    let hash = compiled.hash();
    let (_, [_, _, mut youth, _]) = partnership();
    youth.step([given(&compiled, vec![])], NOW);
    speak(&mut youth, hash, Word::Accept).unwrap();
    assert_eq!(votes(&mut youth).len(), 1);
    youth.step([Input::VoteAnswered(hash, Word::Accept, Refusal::Expired.number())], NOW);
    youth.step([Input::Tick], after(Span::seconds(9)));
    assert!(votes(&mut youth).is_empty(), "not every second");
    youth.step([Input::Tick], after(Span::seconds(10)));
    let [again] = votes(&mut youth).try_into().unwrap();
    assert_eq!(Vote::verify(&again, &compiled, &Keys::default()).unwrap().issued, after(Span::seconds(10)));
}

#[test]
fn a_prekey_is_vouched_for_by_the_covenant_of_the_packet_alone() {
    // Youth work accepts a document, signed by nobody else, that gives the municipality a thief's key.
    let mut document: Covenant = version().covenant().clone();
    let thief = SigningKey::from_seed(&[77; 32]);
    (document.id, document.previous, document.version) = ("buurtfeest".into(), None, 1);
    document.parties[0].signing_keys = vec![Bytes(thief.public().to_bytes().to_vec())];
    document.parties.iter_mut().for_each(|party| party.may_be_absent = party.oin != oin(3));
    let feast = Arc::new(Compiled::new(document).unwrap());
    let (broker, [_, _, mut youth, _]) = partnership();
    youth.step([given(&feast, vec![cast(&feast, 3, Word::Accept, NOW)])], NOW);
    assert_eq!(state(&youth, &feast.hash()), State::InForce, "it needs nobody else");
    let good = PrekeyBundle::verify(&broker.bundles[&oin(1)], &oin(1), &[signer(1).public()]).unwrap();
    let stolen = PrekeyBundle { seq: good.seq + 1, signer: thief.public().thumbprint(), ..good };
    youth.step([Input::Prekeys(1, vec![(oin(1), Bytes(stolen.sign(&thief)))])], NOW);
    let request = crate::PushRequest { covenant: Some(COVENANT.hash()), ..signal(1) };
    assert_eq!(youth.push(request, NOW).unwrap().stage, Stage::Draft, "it waits for a key of the real one");
}

#[test]
fn a_restart_reads_back_whatever_was_taken_in() {
    let (first, second) = (version(), {
        let mut document = version().covenant().clone();
        (document.version, document.previous, document.id) = (3, Some(version().hash()), "ander".into());
        Arc::new(Compiled::new(document).unwrap())
    });
    for order in [[&first, &second], [&second, &first]] {
        let mut youth = Node::new(3);
        for compiled in order {
            youth.step([given(compiled, vec![cast(compiled, 3, Word::Accept, NOW)])], NOW);
        }
        let before: Vec<_> = youth.core.agreed().all().cloned().collect();
        youth.restart(NOW);
        let after: Vec<_> = youth.core.agreed().all().cloned().collect();
        assert_eq!(before, after);
    }
}

#[test]
fn packets_wait_in_order_each_for_its_own_time_and_within_bounds() {
    let (mut town, compiled, offer) = early();
    let Input::Offer(first) = offer else { panic!("an offer") };
    town.step([known(&compiled, 4), Input::Offer(first.clone())], NOW);
    // One under a covenant with nothing lacking stands behind it.
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(9), NOW).unwrap();
    broker.accept(&youth.submitted()[0], NOW);
    let behind = broker.mailboxes[&oin(1)][0].clone();
    town.step([Input::Offer(Box::new(behind))], after(Span::seconds(30)));
    assert!(outcomes(&mut town).is_empty(), "it does not overtake");
    for _ in 0..2 * seinhuis_shared::limits::INFLIGHT_MAX {
        town.step([Input::Offer(first.clone())], after(Span::seconds(30)));
    }
    assert_eq!(town.core.agreed().waiting(), seinhuis_shared::limits::INFLIGHT_MAX);
}
