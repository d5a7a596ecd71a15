//! Records of processings: durable with what they tell of, told once it happened, and of nobody by name.

use std::sync::Arc;

use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use crate::fixture::{Broker, CASE, NOW, Node, after, moved, oin, partnership, request, sample, signal};
use crate::rows::{position_key, table};
use crate::{AlarmKind, Ground, InboxRow, Input, Operation, PushRequest, RecordRow, Rejection, Stage, Write};

pub(super) const NAMES: &str = "09-F09-politie-namen.json";

/// The police name persons to the municipality, in a case.
pub(super) fn names(id: u8) -> PushRequest {
    PushRequest { step: Some(Step::S2B), case: Some(CASE), ..request(id, "F09", &[1], NAMES) }
}

/// Four that know a case to be in step 2B.
pub(super) fn town() -> (Broker, [Node; 4]) {
    let (mut broker, nodes) = partnership();
    broker.cases.insert(CASE, moved(Step::S2B));
    let nodes = nodes.map(|mut node| {
        node.step([Input::LookAtCase(CASE)], NOW);
        broker.serve(&mut node, NOW);
        node
    });
    (broker, nodes)
}

fn recording(node: &mut Node, most: usize, required: bool) {
    node.recording = Some((most, required));
}

fn records(node: &Node) -> Vec<RecordRow> {
    node.core.records_due(usize::MAX).into_iter().map(|(_, row)| row).collect()
}

fn kept(node: &Node) -> usize {
    node.rows.keys().filter(|(of, _)| *of == table::RECORD).count()
}

/// Pushes and has it accepted; the packet.
fn accepted(broker: &mut Broker, node: &mut Node, push: PushRequest) -> Arc<[u8]> {
    assert_eq!(node.pass(push, NOW).unwrap().stage, Stage::Sealed);
    let packet = node.submitted().remove(0);
    node.step([Input::Verdict(broker.accept(&packet, NOW))], after(Span::seconds(2)));
    packet
}

#[test]
fn both_sides_record_the_same_trace_and_each_person_under_its_own_name() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    recording(&mut gemeente, 10, true);
    recording(&mut politie, 10, true);
    let packet = accepted(&mut broker, &mut politie, names(1));
    let trace = Packet::parse(&packet).unwrap().context().trace;
    gemeente.step([Input::Offer(Box::new(broker.offer(&packet, oin(1), NOW)))], NOW);
    let [sent, received] = [&politie, &gemeente].map(|node| records(node).remove(0));
    assert_eq!((sent.trace, received.trace), (trace, trace));
    assert_eq!((sent.operation, received.operation), (Operation::Sent, Operation::Received));
    assert_eq!((sent.others, received.others), (vec![oin(1)], vec![oin(2)]));
    assert_eq!((sent.start, sent.end), (NOW, after(Span::seconds(2))));
    assert!(!sent.subjects.is_empty());
    assert_eq!(sent.subjects.len(), received.subjects.len());
    assert!(sent.subjects.iter().all(|subject| subject.kind == "zaakpersoon"));
    let different: std::collections::BTreeSet<Digest> =
        sent.subjects.iter().map(|subject| subject.pseudonym).collect();
    assert_eq!(different.len(), sent.subjects.len());
    // What is kept of it names nobody.
    let body = String::from_utf8(sample(NAMES)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    let name = value["personen"][0]["naam"].as_str().unwrap().as_bytes();
    for (key, row) in &politie.rows {
        let found = row.windows(name.len()).any(|part| part == name);
        assert!(key.0 != table::RECORD || !found);
    }
}

#[test]
fn the_same_person_has_one_pseudonym_in_a_case_and_another_in_the_next() {
    let (mut broker, [_, mut politie, ..]) = town();
    recording(&mut politie, 10, true);
    for id in 1..=2 {
        accepted(&mut broker, &mut politie, names(id));
    }
    let pseudonyms: Vec<_> = records(&politie).into_iter().map(|row| row.subjects).collect();
    assert_eq!(pseudonyms[0], pseudonyms[1]);
    let subject = seinhuis_shared::covenant::schema::Subject {
        kind: "zaakpersoon".into(),
        scope: seinhuis_shared::covenant::schema::Scope::Case,
        identifier: zeroize::Zeroizing::new("p01\0".into()),
    };
    let of = |case: Option<u8>, message: u8| {
        let message = seinhuis_shared::ids::MsgId([message; 16]);
        crate::pseudonym(&subject, case.map(|case| CaseId([case; 16])), &message, &crate::fixture::ToyNames)
    };
    assert_eq!(of(Some(1), 1), of(Some(1), 2));
    assert_ne!(of(Some(1), 1), of(Some(2), 1));
    assert_ne!(of(None, 1), of(None, 2), "without a case it is bound to the message");
}

#[test]
fn nothing_is_told_of_what_did_not_happen() {
    let (mut broker, [mut gemeente, _, mut youth, _]) = partnership();
    recording(&mut youth, 10, true);
    youth.push(signal(1), NOW).unwrap();
    assert_eq!((kept(&youth), records(&youth).len()), (1, 0), "durable, and not told before the verdict");
    let packet = youth.submitted().remove(0);
    let verdict = broker.refuse(&packet, oin(3), Refusal::MailboxFull, NOW);
    youth.step([Input::Verdict(verdict)], NOW);
    assert_eq!(kept(&youth), 0);
    recording(&mut gemeente, 10, true);
    let mut bad = accepted(&mut broker, &mut youth, signal(2)).to_vec();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    gemeente.step([Input::Offer(Box::new(broker.offer(&bad, oin(1), NOW)))], NOW);
    assert_eq!(kept(&gemeente), 0, "what is quarantined was not processed");
}

#[test]
fn a_record_survives_a_crash_and_goes_when_the_log_has_it() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    recording(&mut youth, 10, true);
    youth.push(signal(1), NOW).unwrap();
    let packet = youth.submitted().remove(0);
    youth.restart(NOW);
    broker.connect(&mut youth, NOW);
    youth.step([Input::Verdict(broker.accept(&packet, NOW))], NOW);
    youth.restart(NOW);
    let due = youth.core.records_due(1);
    assert_eq!(due.len(), 1);
    assert!(due[0].1.subjects.is_empty(), "a signal about a group is about nobody");
    let status = youth.core.status(NOW);
    assert_eq!((status.records, status.records_since), (1, Some(NOW)));
    youth.step([Input::Recorded { numbers: vec![due[0].0], rejected: 0 }], NOW);
    assert_eq!((kept(&youth), youth.alarms()), (0, vec![]));
    youth.step([Input::Recorded { numbers: vec![due[0].0], rejected: 2 }], NOW);
    youth.step([Input::RecordsRefused("status 404".into())], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::RecordsRejected, AlarmKind::RecordsRefused]);
}

#[test]
fn what_cannot_be_recorded_is_not_processed_where_that_is_asked() {
    let (mut broker, [mut gemeente, mut politie, mut youth, _]) = town();
    recording(&mut youth, 1, true);
    accepted(&mut broker, &mut youth, signal(1));
    assert_eq!(youth.push(signal(2), NOW).unwrap_err().refusal, Refusal::NotRecordable);
    assert!(youth.push(signal(1), NOW).unwrap().repeated, "what was pushed before is answered as it was");
    recording(&mut gemeente, 0, true);
    let packet = accepted(&mut broker, &mut politie, names(3));
    let offer = broker.offer(&packet, oin(1), NOW);
    gemeente.step([Input::Offer(Box::new(offer.clone()))], NOW);
    assert!(gemeente.acknowledged().is_empty() && gemeente.bodies().is_empty());
    assert_eq!(gemeente.alarms(), [AlarmKind::RecordsFull]);
    recording(&mut gemeente, 1, true);
    gemeente.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!((gemeente.acknowledged().len(), kept(&gemeente)), (1, 1), "once there is room it comes in");
}

#[test]
fn where_it_is_not_asked_processing_goes_on_and_the_gap_is_an_alarm() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    recording(&mut youth, 1, false);
    accepted(&mut broker, &mut youth, signal(1));
    accepted(&mut broker, &mut youth, signal(2));
    assert_eq!((kept(&youth), youth.alarms()), (1, vec![AlarmKind::RecordsFull]));
    assert_eq!(records(&youth)[0].msg_id.0[0], 1, "the oldest is kept");
}

#[test]
fn without_a_log_of_processings_nothing_is_recorded() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    accepted(&mut broker, &mut youth, signal(1));
    assert_eq!(kept(&youth), 0);
}

/// The town's row of the one message it received.
fn received(node: &Node) -> InboxRow {
    let (_, row) = node.rows.iter().find(|((of, _), _)| *of == table::INBOX).unwrap();
    let Write::Inbox(_, row) = Write::read(table::INBOX, &position_key(0), row).unwrap() else {
        panic!("a row of the inbox")
    };
    *row
}

/// A person reads it; whether that is recorded, or need not be.
fn read(node: &mut Node, at: Timestamp) -> Result<(), Rejection> {
    let row = received(node);
    let subjects = node.core.subjects_in(&row, &sample(NAMES), node.ports());
    let turn = node.step([Input::Read { token: 4, row: Box::new(row), subjects }], at);
    let [(4, answer)] = &turn.answers[..] else { panic!("one answer") };
    answer.clone()
}

fn erase(node: &mut Node) {
    let erase = Input::Erase { token: 1, position: 0, ground: Ground::Subject };
    let turn = node.step([erase], after(Span::minutes(2)));
    assert!(matches!(turn.answers[..], [(1, Ok(()))]));
}

#[test]
fn reading_and_erasing_are_recorded_in_the_trace_of_the_message() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    recording(&mut gemeente, 10, true);
    let packet = accepted(&mut broker, &mut politie, names(1));
    gemeente.step([Input::Offer(Box::new(broker.offer(&packet, oin(1), NOW)))], NOW);
    for minute in [1, 1] {
        read(&mut gemeente, after(Span::minutes(minute))).unwrap();
    }
    // What is to be told of it is there after a restart too, and so is what an erasure is told with.
    gemeente.restart(NOW);
    erase(&mut gemeente);
    let records = records(&gemeente);
    let operations: Vec<Operation> = records.iter().map(|row| row.operation).collect();
    assert_eq!(operations, [Operation::Received, Operation::Read, Operation::Read, Operation::Erased]);
    let [first, read, _, erased] = &records[..] else { panic!("four records") };
    for row in &records {
        assert_eq!((row.trace, row.packet, &row.others), (first.trace, first.packet, &first.others));
        assert_eq!((&row.flow, row.covenant), (&first.flow, first.covenant));
    }
    assert_eq!((&read.subjects, read.start), (&first.subjects, after(Span::minutes(1))));
    assert!(!read.subjects.is_empty() && erased.subjects.is_empty(), "no pseudonym is kept for it");
    assert_eq!(erased.start, after(Span::minutes(2)));
    assert_eq!(kept(&gemeente), 4);
}

#[test]
fn what_cannot_be_recorded_is_not_read_where_that_is_asked_and_is_erased_all_the_same() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    recording(&mut gemeente, 1, true);
    let packet = accepted(&mut broker, &mut politie, names(1));
    gemeente.step([Input::Offer(Box::new(broker.offer(&packet, oin(1), NOW)))], NOW);
    assert_eq!(read(&mut gemeente, NOW).unwrap_err().refusal, Refusal::NotRecordable);
    recording(&mut gemeente, 1, false);
    read(&mut gemeente, NOW).unwrap();
    assert_eq!(gemeente.alarms(), [AlarmKind::RecordsFull], "a gap is said");
    recording(&mut gemeente, 1, true);
    erase(&mut gemeente);
    assert_eq!(records(&gemeente).last().unwrap().operation, Operation::Erased);
    gemeente.recording = None;
    assert!(
        read(&mut gemeente, NOW).is_ok() && kept(&gemeente) == 2,
        "nothing is recorded where it is not asked"
    );
}
