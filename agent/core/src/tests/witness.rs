//! The agent as a witness.

use proptest::prelude::*;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::witnesses::party_witness;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::succession::Cause;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shared::tlog::tree::consistency_proof;
use seinhuis_shared::tlog::witness::{Answer, Request, read_answer};
use seinhuis_shared::wire::{Cosigned, Witnessed};

use crate::fixture::{
    Broker, NOW, Node, ORIGIN, WATCHED, accepted, after, log_key, oin, partnership, witness,
};
use crate::rows::{CosignedRow, WaitingRow, table};
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

/// What the broker tells, and the proof it owes for it.
fn told_and_proved(node: &mut Node, broker: &mut Broker, by: &[u8], at: Timestamp, now: Timestamp) {
    node.step([told(broker, by, at)], now);
    node.step([Input::Tick], now);
    broker.serve(node, now);
}

fn newest(node: &Node) -> Option<(u64, Timestamp)> {
    node.core.status(NOW).quorums[0].newest
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
fn a_quorum_under_a_version_that_is_still_being_fetched_is_no_alarm() {
    let (broker, [mut town, ..]) = partnership();
    town.step([told(&broker, &[3], NOW)], NOW);
    assert!(town.alarms().is_empty(), "nothing can be said of it yet");
    town.step([accepted(&WATCHED), told(&broker, &[3], NOW)], NOW);
    assert_eq!(town.alarms(), [AlarmKind::Unwitnessed]);
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
    told_and_proved(&mut town, &mut broker, &[1, 4], at(Span(0)), at(Span::seconds(1)));
    assert!(!town.core.status(at(Span::seconds(1))).quorums[0].stale);
    let again = at(Span::seconds(1)).plus(QUORUM_AGE);
    town.step([Input::Tick], again);
    assert_eq!(town.core.status(again).alarms.len(), 1, "the same trouble is told once");
    // A clock of others that runs ahead makes nothing younger than now.
    grow(&mut broker, 2);
    let later = at(Span::minutes(2));
    told_and_proved(&mut town, &mut broker, &[1, 4], at(Span::days(9)), later);
    assert_eq!(newest(&town).unwrap().1, later);
}

#[test]
fn a_quorum_counts_once_its_tree_is_proved_to_be_of_the_history_that_is_pinned() {
    let (mut broker, mut town) = watched();
    grow(&mut broker, 1);
    town.step([told(&broker, &[3, 4], NOW)], NOW);
    assert_eq!(newest(&town), None, "two others say so, and nothing is proved");
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!(newest(&town), Some((size(&broker), NOW)));
    assert_eq!(town.core.status(NOW).pin.unwrap().size, size(&broker));
    // Of what this agent cosigned itself nothing is to be proved.
    grow(&mut broker, 2);
    let from = size(&broker) - 1;
    assert!(matches!(ask(&mut town, &broker, from), Answer::Cosigned(..)));
    town.step([told(&broker, &[3, 4], NOW)], NOW);
    assert_eq!(newest(&town), Some((size(&broker), NOW)));
    assert!(town.alarms().is_empty());
}

#[test]
fn a_quorum_that_sides_with_a_split_view_is_a_fork_with_both_notes() {
    let (mut broker, mut town) = watched();
    grow(&mut broker, 1);
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
    let own = broker.checkpoint();
    // Another history, of a size this agent knows nothing of, which others cosigned.
    let mut clone = Broker::new();
    for fill in 5..9 {
        grow(&mut clone, fill);
    }
    town.step([told(&clone, &[3, 4], NOW)], NOW);
    assert_eq!(newest(&town), None);
    town.step([Input::Tick], NOW);
    let asked = |send: &Send| matches!(send, Send::FetchConsistency(_, sizes) if sizes == &[2, size(&clone)]);
    assert!(town.sends.iter().any(asked), "{:?}", town.sends);
    clone.serve(&mut town, NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
    for (place, note) in [(1, own), (2, clone.checkpoint())] {
        assert_eq!(town.rows.get(&(table::NOTE, vec![place])), Some(&seinhuis_shared::cbor::encode(&note)));
    }
    // Whatever is told after that makes nothing newer.
    town.step([told(&broker, &[3, 4], NOW)], NOW);
    assert_eq!(newest(&town), None);
    let late = after(QUORUM_AGE).plus(Span(1));
    town.step([Input::Tick], late);
    assert!(town.core.status(late).quorums[0].stale);
    assert!(town.alarms().contains(&AlarmKind::Unwitnessed));
}

#[test]
fn a_split_view_that_is_never_proved_leaves_the_quorum_too_old() {
    let (_, mut town) = watched();
    let mut clone = Broker::new();
    for fill in 5..9 {
        grow(&mut clone, fill);
    }
    let late = after(QUORUM_AGE).plus(Span(1));
    for at in [NOW, late] {
        town.step([told(&clone, &[3, 4], at), Input::Tick, Input::ConsistencyFailed, Input::Tick], at);
    }
    assert!(town.core.status(late).quorums[0].stale);
    assert_eq!(town.alarms(), [AlarmKind::Unwitnessed, AlarmKind::LogUnproven]);
}

#[test]
fn many_quorums_take_no_room_from_other_checkpoints_that_wait() {
    let (mut broker, mut town) = watched();
    let unproven = |node: &Node| node.core.status(NOW).unproven;
    for _ in 0..50 {
        for fill in 0..50 {
            grow(&mut broker, fill);
            town.step([told(&broker, &[3, 4], NOW)], NOW);
        }
        assert_eq!(unproven(&town), 1, "one at a time");
    }
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!(unproven(&town), 0);
    for (at, waiting) in [(NOW, 0), (after(Span::seconds(59)), 0), (after(Span::minutes(1)), 1)] {
        grow(&mut broker, 7);
        town.step([told(&broker, &[3, 4], at)], at);
        assert_eq!(unproven(&town), waiting, "once a minute: {at}");
    }
    // Another session begins with one.
    town.step([Input::Tick], after(Span::minutes(1)));
    broker.serve(&mut town, after(Span::minutes(1)));
    town.step(
        [Input::Disconnected, Input::Connected(Box::new(broker.welcome(NOW)))],
        after(Span::minutes(1)),
    );
    grow(&mut broker, 8);
    let before = unproven(&town);
    town.step([told(&broker, &[3, 4], NOW)], after(Span::minutes(1)));
    assert_eq!(unproven(&town), before + 1);
}

const NEXT: &str = "broker.example/uitwisseling/2027";

/// The final checkpoint of the log that ended.
fn last(broker: &Broker) -> Request {
    let tree = &broker.closed[ORIGIN].0;
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
    Request { old: tree.size(), proof: vec![], note: checkpoint.sign(&broker.signer).unwrap() }
}

/// A log that ended after this agent cosigned some of it, and the next one that it followed to.
fn ended() -> (Broker, Node) {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
    broker.succeed(NEXT, Cause::Year, NOW);
    broker.connect(&mut town, NOW);
    assert!(town.core.is_connected());
    (broker, town)
}

#[test]
fn the_final_checkpoint_of_a_log_that_ended_is_cosigned_also_after_a_restart() {
    let (mut broker, mut town) = ended();
    let request = last(&broker);
    let end = request.old;
    assert_eq!(
        ask_with(&mut town, &Request { old: 2, ..request.clone() }).body,
        Bytes(format!("{end}\n").into_bytes())
    );
    for _ in 0..2 {
        let answer = ask_with(&mut town, &request);
        let answer = read_answer(answer.status, &answer.body, &request.note, &key(1)).unwrap();
        assert!(matches!(answer, Answer::Cosigned(..)), "{answer:?}");
        let row = town.rows.get(&(table::COSIGNED, ORIGIN.into())).unwrap();
        let Write::Cosigned(_, row) = Write::read(table::COSIGNED, ORIGIN.as_bytes(), row).unwrap() else {
            panic!("a cosigned row")
        };
        assert_eq!(row.size, end, "kept as any other");
        town.restart(NOW);
    }
    broker.connect(&mut town, NOW);
    assert!(town.alarms().is_empty());
    // The log that grows is cosigned as before.
    grow(&mut broker, 2);
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
}

#[test]
fn a_broker_is_told_what_was_cosigned_of_the_log_before_until_something_is_of_the_one_that_grows() {
    let (mut broker, mut town) = ended();
    let before = town.core.cosigned_note();
    assert!(before.starts_with(ORIGIN.as_bytes()), "a broker put back from an old copy has to hear of it");
    assert_eq!(town.restored().cosigned_note(), before);
    let end = last(&broker);
    assert_eq!(ask_with(&mut town, &end).status, 200);
    assert_eq!(town.core.cosigned_note(), Bytes(end.note.to_string().into_bytes()));
    grow(&mut broker, 2);
    assert!(matches!(ask(&mut town, &broker, 1), Answer::Cosigned(..)));
    assert_eq!(town.core.cosigned_note(), broker.checkpoint());
}

#[test]
fn anything_but_the_final_checkpoint_of_a_log_that_ended_is_a_fork() {
    let other = |size: u64, old: u64| {
        let mut clone = Broker::new();
        while clone.tree.size() < size {
            grow(&mut clone, 9);
        }
        Request { old, proof: vec![], note: note(&clone) }
    };
    let (broker, _) = ended();
    let end = last(&broker).old;
    let mut longer = broker.closed[ORIGIN].0.clone();
    longer.append(Digest([1; 32])).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, longer.size(), longer.root()).unwrap();
    let continues = Request {
        old: end,
        proof: consistency_proof(end, longer.size(), &longer).unwrap(),
        note: checkpoint.sign(&broker.signer).unwrap(),
    };
    let cases = [
        ("another root", other(end, end)),
        ("a longer one that continues", continues.clone()),
        ("a longer one, asked from elsewhere", Request { old: 1, ..continues }),
        ("a longer one of another history", other(end + 2, end)),
    ];
    for (name, request) in cases {
        let (_, mut town) = ended();
        assert_eq!(ask_with(&mut town, &request).status, 422, "{name}");
        assert_eq!(town.alarms(), [AlarmKind::LogForked], "{name}");
        let notes = town.rows.keys().filter(|(of, key)| *of == table::NOTE && key[0] > 0).count();
        assert_eq!(notes, 2, "{name}");
        // It cosigns nothing more, not the end it knows either.
        assert_eq!(ask_with(&mut town, &last(&broker)).status, 422, "{name}");
    }
    // A smaller one says nothing.
    let (_, mut town) = ended();
    assert_eq!(ask_with(&mut town, &other(2, 2)).status, 409);
    assert!(town.alarms().is_empty());
}

#[test]
fn nothing_is_cosigned_while_it_is_not_known_that_what_is_pinned_continues_it() {
    let (mut broker, [mut town, ..]) = partnership();
    grow(&mut broker, 1);
    let earlier = broker.checkpoint();
    let tree = broker.tree.clone();
    grow(&mut broker, 2);
    broker.connect(&mut town, NOW);
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!(town.core.status(NOW).pin.unwrap().size, 3);
    // As a store has it in which the one was cosigned, and the other pinned, before either was proved to fit.
    let row = CosignedRow { size: 2, root: tree.root(), note: earlier.clone() };
    let waiting = WaitingRow { root: tree.root(), since: NOW, note: earlier };
    for write in [Write::Cosigned(ORIGIN.into(), Box::new(row)), Write::Waiting(2, Some(Box::new(waiting)))] {
        let row = write.row();
        town.rows.insert((row.table, row.key), row.value.unwrap());
    }
    town.restart(NOW);
    broker.connect(&mut town, NOW);
    grow(&mut broker, 3);
    assert_eq!(ask(&mut town, &broker, 2), Answer::Refused(503));
    town.step([Input::Tick], NOW);
    broker.serve(&mut town, NOW);
    assert_eq!(ask(&mut town, &broker, 2), Answer::Conflict(3));
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
