//! The agent as a witness.

use proptest::prelude::*;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::witnesses::party_witness;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shared::tlog::tree::consistency_proof;
use seinhuis_shared::tlog::witness::{Answer, Request, read_answer};
use seinhuis_shared::wire::{Cosigned, Witnessed};

use crate::fixture::{Broker, NOW, Node, WATCHED, accepted, after, log_key, oin, partnership, witness};
use crate::rows::table;
use crate::witness::QUORUM_AGE;
use crate::{AlarmKind, Input, Send, Write};

fn key(number: u8) -> WitnessKey {
    party_witness(&oin(number), &witness(number).public().to_bytes()).unwrap()
}

fn grow(broker: &mut Broker, fill: u8) {
    broker.append(&Entry::new(Kind::Operator, NOW, [fill; 16]));
}

fn size(broker: &Broker) -> u64 {
    broker.tree.size()
}

fn note(broker: &Broker) -> Note {
    Note::parse(&broker.checkpoint()).unwrap()
}

/// What the broker asks: to cosign its newest tree, which continues the one of `old`.
fn request(broker: &Broker, old: u64) -> Request {
    let proof = match old {
        0 => Vec::new(),
        old if old == size(broker) => Vec::new(),
        old => consistency_proof(old, size(broker), &broker.tree).unwrap(),
    };
    Request { old, proof, note: note(broker) }
}

/// The answers among what an agent sends.
fn answers(node: &mut Node) -> Vec<Cosigned> {
    let of = |send: Send| if let Send::Cosigned(cosigned) = send { Some(cosigned) } else { None };
    node.take_sends().into_iter().filter_map(of).collect()
}

fn ask_with(node: &mut Node, request: &Request) -> Cosigned {
    node.take_sends();
    node.step([Input::AddCheckpoint(request.to_bytes().unwrap())], NOW);
    let mut answers = answers(node);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

fn ask(node: &mut Node, broker: &Broker, old: u64) -> Answer {
    let answer = ask_with(node, &request(broker, old));
    read_answer(answer.status, &answer.body, &note(broker), &key(node.number)).unwrap()
}

#[test]
fn what_continues_is_cosigned_and_pinned_and_durable_in_the_same_turn() {
    let (mut broker, [mut town, ..]) = partnership();
    let pinned = town.core.status(NOW).pin.unwrap().size;
    assert!(town.core.cosigned_note().is_empty());
    grow(&mut broker, 1);
    assert_eq!(ask(&mut town, &broker, 0), Answer::Conflict(pinned), "what is pinned counts");
    town.take_sends();
    let turn = town.step([Input::AddCheckpoint(request(&broker, pinned).to_bytes().unwrap())], NOW);
    let kept = |write: &Write| matches!(write, Write::Cosigned(_, row) if row.size == size(&broker));
    assert!(turn.writes.iter().any(kept), "{:?}", turn.writes);
    let [answer] = &answers(&mut town)[..] else { panic!("one answer") };
    let answer = read_answer(answer.status, &answer.body, &note(&broker), &key(1)).unwrap();
    assert!(matches!(answer, Answer::Cosigned(_, seconds) if seconds == NOW.0 / 1000));
    assert_eq!(town.core.status(NOW).pin.unwrap().size, size(&broker), "no proof is asked for again");
    assert_eq!(town.core.cosigned_note(), broker.checkpoint());
    assert_eq!(town.restored().cosigned_note(), broker.checkpoint());
    // Again is as good, newer in time, and costs no row.
    let again = town.step([Input::AddCheckpoint(request(&broker, size(&broker)).to_bytes().unwrap())], NOW);
    assert!(again.writes.is_empty() && answers(&mut town)[0].status == 200);
}

#[test]
fn a_smaller_tree_is_not_cosigned_also_after_a_restart() {
    let (mut broker, [mut town, ..]) = partnership();
    let before = request(&broker, 1);
    grow(&mut broker, 1);
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
    for _ in 0..2 {
        assert_eq!(ask_with(&mut town, &before).status, 409);
        let (status, body) = {
            let answer = ask_with(&mut town, &request(&broker, 0));
            (answer.status, answer.body)
        };
        assert_eq!((status, &body[..]), (409, &b"2\n"[..]));
        town.restart(NOW);
    }
}

#[test]
fn another_root_of_the_size_is_a_fork_with_its_evidence() {
    let (mut broker, [mut town, ..]) = partnership();
    let mut clone = Broker::new();
    grow(&mut broker, 1);
    while size(&clone) < size(&broker) {
        grow(&mut clone, 9);
    }
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
    let same = size(&broker);
    assert_eq!(ask(&mut town, &clone, same), Answer::Inconsistent);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
    let evidence: Vec<_> = town.rows.keys().filter(|(of, key)| *of == table::NOTE && key[0] > 0).collect();
    assert_eq!(evidence.len(), 2, "both signed notes are kept");
    // Nothing more is cosigned, of neither history, also after a restart.
    grow(&mut broker, 2);
    for _ in 0..2 {
        assert_eq!(ask(&mut town, &broker, same), Answer::Inconsistent);
        town.restart(NOW);
    }
}

#[test]
fn a_longer_tree_that_does_not_continue_is_a_fork() {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
    let mut clone = Broker::new();
    for fill in 5..9 {
        grow(&mut clone, fill);
    }
    assert_eq!(ask(&mut town, &clone, 2), Answer::Inconsistent);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
    assert!(town.core.status(NOW).pin.unwrap().forked);
}

#[test]
fn other_logs_and_malformed_requests_are_no_alarm() {
    let (broker, [mut town, ..]) = partnership();
    let mut stranger = Broker::new();
    stranger.signer = crate::fixture::log_signer(5);
    assert_eq!(ask_with(&mut town, &request(&stranger, 1)).status, 403);
    let elsewhere =
        Checkpoint::new("other.example", 3, Digest([1; 32])).unwrap().sign(&broker.signer).unwrap();
    assert_eq!(ask_with(&mut town, &Request { old: 0, proof: vec![], note: elsewhere }).status, 404);
    town.step([Input::AddCheckpoint(b"old 1\n".to_vec())], NOW);
    assert_eq!(answers(&mut town)[0].status, 400);
    assert!(town.alarms().is_empty());
}

/// The newest tree, cosigned by these organisations.
fn cosigned(broker: &Broker, by: &[u8], at: Timestamp) -> Bytes {
    let mut note = note(broker);
    let text = note.text().to_owned();
    for number in by {
        let line =
            key(*number).cosign_with(&text, at.0 / 1000, |bytes| witness(*number).sign(bytes)).unwrap();
        note.add(line).unwrap();
    }
    Bytes(note.to_string().into_bytes())
}

fn told(broker: &Broker, by: &[u8], at: Timestamp) -> Input {
    Input::Witnessed(Witnessed { covenant: WATCHED.hash(), note: cosigned(broker, by, at) })
}

fn watched() -> (Broker, Node) {
    let (broker, [mut town, ..]) = partnership();
    town.step([accepted(&WATCHED)], NOW);
    (broker, town)
}

#[test]
fn a_quorum_is_verified_here_and_not_believed() {
    let (broker, mut town) = watched();
    let [quorum] = &town.core.status(NOW).quorums[..] else { panic!("one covenant asks a quorum") };
    assert_eq!((quorum.covenant, quorum.wanted, quorum.newest), (WATCHED.hash(), 2, None));
    town.step([told(&broker, &[3], NOW)], NOW);
    assert_eq!(town.core.status(NOW).quorums[0].newest, None, "one is not two");
    assert_eq!(town.alarms(), [AlarmKind::Unwitnessed]);
    town.step([told(&broker, &[3, 4], NOW)], NOW);
    assert_eq!(town.core.status(NOW).quorums[0].newest, Some((size(&broker), NOW)));
    let text = String::from_utf8(town.core.witness_policy(&WATCHED.hash()).unwrap().to_bytes()).unwrap();
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let note = Note::parse(&cosigned(&broker, &[1, 2], NOW)).unwrap();
    assert!(policy.judge(&note).unwrap().witnessed);
    assert_eq!(policy.logs()[0].key, log_key().key);
}

#[test]
fn a_quorum_that_grows_old_while_connected_is_an_alarm() {
    let (mut broker, mut town) = watched();
    town.step([told(&broker, &[3, 4], NOW)], NOW);
    let at = |span: Span| after(QUORUM_AGE).plus(span);
    town.step([Input::Tick], after(QUORUM_AGE));
    assert!(town.alarms().is_empty());
    town.step([Input::Tick], at(Span::seconds(1)));
    assert_eq!(town.alarms(), [AlarmKind::Unwitnessed]);
    assert!(town.core.status(at(Span::seconds(1))).quorums[0].stale);
    grow(&mut broker, 1);
    town.step([told(&broker, &[1, 4], at(Span(0)))], at(Span::seconds(1)));
    assert!(!town.core.status(at(Span::seconds(1))).quorums[0].stale);
    // A clock of others that runs ahead makes nothing younger than now.
    grow(&mut broker, 2);
    town.step([told(&broker, &[1, 4], at(Span::days(9)))], at(Span::seconds(2)));
    assert_eq!(town.core.status(at(Span::seconds(2))).quorums[0].newest.unwrap().1, at(Span::seconds(2)));
}

#[test]
fn a_quorum_over_another_history_is_a_fork() {
    let (mut broker, mut town) = watched();
    grow(&mut broker, 1);
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
    let mut clone = Broker::new();
    while size(&clone) < size(&broker) {
        grow(&mut clone, 9);
    }
    town.step([told(&clone, &[3, 4], NOW)], NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
}

#[test]
fn an_agent_without_the_key_is_no_witness() {
    let (broker, [mut town, ..]) = partnership();
    let request = request(&broker, 1).to_bytes().unwrap();
    let mut turn = crate::Turn::default();
    let ports = crate::Ports { witness: None, ..town.ports() };
    let mut core = town.restored();
    core.handle(Input::AddCheckpoint(request), NOW, ports, &mut turn);
    assert!(matches!(&turn.sends[..], [Send::Cosigned(Cosigned { status: 404, .. })]));
    assert!(turn.writes.is_empty() && town.alarms().is_empty());
    town.take_sends();
}

proptest! {
    /// Whatever two brokers ask, in whatever order, with crashes before and after the flush: no two roots for one size
    /// are cosigned, and no smaller tree after a larger one.
    #[test]
    fn no_two_histories_are_ever_cosigned(steps in proptest::collection::vec((0..2_u8, 0..6_u8, 0..4_u8), 1..40)) {
        let (mut broker, [mut town, ..]) = partnership();
        let mut clone = Broker::new();
        grow(&mut clone, 77);
        grow(&mut broker, 76);
        let mut said: Vec<(u64, Digest)> = Vec::new();
        for (which, action, hint) in steps {
            let from = if which == 0 { &mut broker } else { &mut clone };
            if action == 0 {
                grow(from, hint);
                continue;
            }
            let latest = [0, 1, 2, size(from)][usize::from(hint)].min(size(from));
            let request = request(from, latest);
            if action == 1 {
                // The process dies before the flush: nothing went out, and nothing is kept.
                let mut core = town.restored();
                core.handle(Input::AddCheckpoint(request.to_bytes().unwrap()), NOW, town.ports(), &mut crate::Turn::default());
                town.restart(NOW);
                continue;
            }
            let answer = ask_with(&mut town, &request);
            if answer.status == 200 {
                said.push((size(from), from.tree.root()));
            }
            if action == 2 {
                // The process dies after it, whether or not the answer arrived.
                town.restart(NOW);
            }
        }
        for pair in said.windows(2) {
            prop_assert!(pair[0].0 <= pair[1].0, "{said:?}");
            prop_assert!(pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1, "{said:?}");
        }
    }
}
