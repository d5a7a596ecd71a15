//! Bodies go at their term, by two clocks and never by one; what stays is evidence, and what went is confirmed.

use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use super::corrections::{exchange, say};
use crate::fixture::{
    Broker, CASE, NOW, Node, after, decision, inquiry, moved, oin, partnership, request, sample,
};
use crate::rows::table;
use crate::{AlarmKind, CorrectionKind, ErasedRow, Ground, Input, PushRequest, Send, Write};

/// The term of an inquiry (F04).
const TERM: Span = Span::days(90);

/// The municipality's inquiry reached the police.
fn asked() -> (Broker, [Node; 4]) {
    let (mut broker, mut nodes) = partnership();
    nodes[0].push(inquiry(1, &[2]), NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    prove(&mut broker, &mut nodes, NOW);
    (broker, nodes)
}

/// Every agent gets the proofs it waits for, so that none of them stands still later.
fn prove(broker: &mut Broker, nodes: &mut [Node], now: Timestamp) {
    for node in nodes {
        tick(node, now);
        broker.serve(node, now);
    }
}

fn erased(node: &Node) -> Vec<(u64, ErasedRow)> {
    let rows = node.rows.iter().filter(|((of, _), _)| *of == table::ERASED);
    let read = rows.filter_map(|((of, key), value)| {
        let Ok(Write::Erased(at, row)) = Write::read(*of, key, value) else { return None };
        Some((at, row))
    });
    read.collect()
}

fn tick(node: &mut Node, now: Timestamp) {
    node.step([Input::Tick], now);
}

/// The store says that everything is overwritten.
fn overwrite(node: &mut Node, now: Timestamp) {
    let ticket = node.core.to_overwrite().unwrap();
    node.step([Input::Overwritten(ticket)], now);
}

/// The confirmations of destruction in the municipality's inbox, as text.
fn confirmations(town: &Node) -> Vec<String> {
    let bodies = town.bodies().into_iter().map(|body| String::from_utf8(body).unwrap());
    bodies.filter(|body| body.contains("vernietigd_op")).collect()
}

#[test]
fn a_body_goes_at_its_term_and_what_it_was_stays() {
    let (mut broker, mut nodes) = asked();
    let [town, police, ..] = &mut nodes;
    assert_eq!(police.core.keep_until(0), Some(NOW.plus(TERM)));
    let kept = police.rows.get(&(table::INBOX, vec![0; 8])).cloned();
    let just_before = NOW.plus(TERM).minus(Span::seconds(10));
    broker.connect(police, just_before);
    tick(police, just_before);
    assert_eq!((police.bodies().len(), erased(police).len()), (1, 0), "not before");
    broker.connect(police, NOW.plus(TERM));
    tick(police, NOW.plus(TERM));
    assert_eq!(police.bodies(), Vec::<Vec<u8>>::new());
    let [(0, row)] = erased(police)[..] else { panic!("one is erased") };
    assert_eq!((row.at, row.ground, row.overwritten), (NOW.plus(TERM), Ground::Term, None));
    assert_eq!(police.rows.get(&(table::INBOX, vec![0; 8])).cloned(), kept, "its row stays as it was");
    assert_eq!(police.core.status(NOW).bodies_erased, 1);
    // The municipality's own: it confirms to nobody.
    assert_eq!(town.core.to_overwrite(), None);
}

#[test]
fn destruction_is_confirmed_only_when_the_bytes_are_overwritten_also_after_a_crash_between() {
    let (mut broker, mut nodes) = asked();
    let then = NOW.plus(TERM);
    // With prekeys for that day at everybody.
    for _ in 0..2 {
        for node in &mut nodes {
            broker.connect(node, then);
        }
    }
    tick(&mut nodes[1], then);
    let sealed = |node: &Node| node.sends.iter().any(|send| matches!(send, Send::Submit { .. }));
    assert!(!sealed(&nodes[1]), "deleted is not destroyed");
    nodes[1].restart(then);
    broker.connect(&mut nodes[1], then);
    tick(&mut nodes[1], then);
    assert!(!sealed(&nodes[1]), "nor after a crash");
    overwrite(&mut nodes[1], then);
    exchange(&mut broker, &mut nodes, &[], then);
    let told = confirmations(&nodes[0]);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&MsgId([1; 16]).to_string()) && told[0].contains("\"termijn\""), "{}", told[0]);
    let (_, row) = erased(&nodes[1])[0];
    assert_eq!((row.overwritten, row.confirmation.is_some(), row.outcome), (Some(then), true, 0));
    nodes[1].restart(then);
    assert_eq!(nodes[1].core.to_overwrite(), None, "once is enough");
    assert_eq!(nodes[1].core.erased(0), Some(&row));
}

#[test]
fn a_clock_that_jumps_ahead_destroys_nothing() {
    let (mut broker, mut nodes) = asked();
    let police = &mut nodes[1];
    let jumped = after(Span::days(4000));
    for _ in 0..100 {
        tick(police, jumped);
    }
    police.restart(jumped);
    tick(police, jumped);
    assert_eq!((police.bodies().len(), erased(police).len()), (1, 0));
    assert_eq!(police.core.status(jumped).bodies_held_back, 1, "and status says so");
    // Nor does a broker whose clock alone jumped.
    broker.connect(police, jumped);
    tick(police, NOW);
    assert_eq!(erased(police).len(), 0);
    tick(police, jumped);
    assert_eq!(erased(police).len(), 1, "both agree");
}

#[test]
fn the_log_s_time_moves_on_with_ticks_in_a_quiet_session() {
    let (mut broker, mut nodes) = asked();
    let police = &mut nodes[1];
    broker.connect(police, NOW.plus(TERM).minus(Span::seconds(3)));
    let ahead = NOW.plus(TERM).plus(Span::days(1));
    for _ in 0..2 {
        tick(police, ahead);
    }
    assert_eq!(erased(police).len(), 0);
    tick(police, ahead);
    assert_eq!(erased(police).len(), 1);
}

#[test]
fn the_time_of_a_proved_entry_counts() {
    let (mut broker, mut nodes) = asked();
    let then = NOW.plus(TERM);
    tick(&mut nodes[1], then);
    assert_eq!(erased(&nodes[1]).len(), 0);
    let verdict = {
        let mut push = request(9, "F02", &[1], crate::fixture::SIGNAL);
        push.body = sample("02-F02-politie-signaal.json");
        nodes[1].push(push, NOW).unwrap();
        let packet = nodes[1].submitted().remove(0);
        broker.accept(&packet, then)
    };
    nodes[1].step([Input::Verdict(verdict), Input::Tick], then);
    assert_eq!(erased(&nodes[1]).len(), 1);
}

#[test]
fn a_withdrawn_body_goes_with_the_next_tick_whatever_the_clocks_say() {
    let (mut broker, mut nodes) = asked();
    say(&mut nodes[0], 1, CorrectionKind::Withdrawal, NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    let police = &mut nodes[1];
    assert_eq!(police.bodies().len(), 2);
    police.restart(Timestamp(5));
    tick(police, Timestamp(5));
    assert_eq!(police.bodies().len(), 1, "what said so stays");
    let [(0, row)] = erased(police)[..] else { panic!("one is erased") };
    assert_eq!(row.ground, Ground::Withdrawn);
    broker.connect(police, NOW);
    overwrite(police, NOW);
    exchange(&mut broker, &mut nodes, &[], NOW);
    assert!(confirmations(&nodes[0])[0].contains("\"intrekking\""));
}

/// A decision on further steps (F07), which follows the case, about the case.
fn about_case(id: u8, flow: &str, body: &str, step: Step) -> PushRequest {
    let mut push = request(id, flow, &[2], body);
    push.case = Some(CASE);
    push.step = Some(step);
    push
}

/// The police have a decision that follows the case; the case as the broker knows it.
fn following() -> (Broker, [Node; 4]) {
    let (mut broker, mut nodes) = partnership();
    broker.cases.insert(CASE, moved(Step::S1));
    nodes[0].push(about_case(1, "F07", "07-F07-besluit-verder.json", Step::S1), NOW).unwrap();
    for _ in 0..2 {
        for node in &mut nodes {
            node.step([Input::LookAtCase(CASE)], NOW);
            broker.serve(node, NOW);
        }
    }
    exchange(&mut broker, &mut nodes, &[], NOW);
    for node in &mut nodes {
        broker.serve(node, NOW);
    }
    exchange(&mut broker, &mut nodes, &[], NOW);
    assert_eq!(nodes[1].bodies().len(), 1);
    (broker, nodes)
}

#[test]
fn what_follows_the_case_goes_when_the_case_is_closed() {
    let (mut broker, mut nodes) = following();
    let police = &mut nodes[1];
    assert_eq!(police.core.keep_until(0), None, "nobody knows when that will be");
    let later = after(Span::hours(2));
    let mut chain = broker.cases[&CASE].clone();
    let close = decision(&chain, 1, Act::Close, later);
    chain.push(close);
    broker.cases.insert(CASE, chain);
    // It is asked for because a body follows the case.
    police.restart(later);
    broker.connect(police, later);
    assert_eq!(police.core.keep_until(0), Some(later));
    tick(police, later.minus(Span::minutes(1)));
    assert_eq!(erased(police).len(), 0, "not before, by this clock");
    tick(police, later);
    assert_eq!(erased(police)[0].1.ground, Ground::CaseEnded);
}

#[test]
fn a_decision_to_scale_down_ends_the_case_only_when_it_is_whole() {
    for (whole, gone) in [(true, 1), (false, 0)] {
        let (mut broker, mut nodes) = following();
        let row = inbox_row(&nodes[1]);
        let body: &[u8] =
            if whole { br#"{"besluit":"afschalen"}"# } else { br#"{"besluit":"deels_afschalen"}"# };
        let scaled = crate::InboxRow { message_type: "besluit_afschalen".into(), ..row };
        let police = &mut nodes[1];
        let mut turn = crate::Turn::default();
        let ports_of = Node::new(2);
        police.core.noticed(7, &scaled, body, NOW, ports_of.ports(), &mut turn);
        broker.connect(police, after(Span::minutes(1)));
        tick(police, after(Span::minutes(1)));
        assert_eq!(erased(police).len(), gone, "{whole}");
    }
}

fn inbox_row(node: &Node) -> crate::InboxRow {
    let value = &node.rows[&(table::INBOX, vec![0; 8])];
    let Ok(Write::Inbox(_, row)) = Write::read(table::INBOX, &[0; 8], value) else { panic!("a row") };
    *row
}

fn erase(node: &mut Node, position: u64, ground: Ground) -> Result<(), Refusal> {
    let turn = node.step([Input::Erase { token: 3, position, ground }], NOW);
    turn.answers.into_iter().next().unwrap().1.map_err(|rejection| rejection.refusal)
}

#[test]
fn a_person_erases_early_and_once() {
    let (mut broker, mut nodes) = asked();
    assert_eq!(erase(&mut nodes[1], 5, Ground::Subject), Err(Refusal::NotFound));
    erase(&mut nodes[1], 0, Ground::Subject).unwrap();
    assert_eq!((nodes[1].bodies().len(), nodes[1].core.keep_until(0)), (0, None));
    assert_eq!(erase(&mut nodes[1], 0, Ground::Subject), Err(Refusal::NotFound));
    overwrite(&mut nodes[1], NOW);
    exchange(&mut broker, &mut nodes, &[], NOW);
    assert!(confirmations(&nodes[0])[0].contains("\"verzoek_betrokkene\""));
    let packet = nodes[1].rows[&(table::INBOX, vec![0; 8])].clone();
    nodes[1].restart(NOW);
    assert_eq!(erase(&mut nodes[1], 0, Ground::Subject), Err(Refusal::NotFound));
    assert_eq!(nodes[1].rows[&(table::INBOX, vec![0; 8])], packet);
}

#[test]
fn quarantined_packets_stay_until_a_person_erases_them_and_confirm_nothing() {
    let (mut broker, mut nodes) = partnership();
    let offer = broker.offer(b"no packet at all", oin(2), NOW);
    let police = &mut nodes[1];
    police.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!((police.blobs.len(), police.core.status(NOW).bodies_kept), (1, 0));
    let late = after(Span::days(4000));
    broker.connect(police, late);
    tick(police, late);
    assert_eq!(police.blobs.len(), 1, "it has no term");
    erase(police, 0, Ground::Term).unwrap();
    assert_eq!(police.blobs.len(), 0);
    overwrite(police, late);
    let (_, row) = erased(police)[0];
    assert_eq!((row.overwritten, row.confirmation, row.outcome), (Some(late), None, 0));
    assert!(police.submitted().is_empty() && police.alarms().is_empty());
}

#[test]
fn one_packet_confirms_a_bounded_number_and_a_tick_erases_no_more() {
    let (mut broker, mut nodes) = partnership();
    for id in 0..260_u16 {
        let mut push = inquiry(1, &[2]);
        push.msg_id.0[..2].copy_from_slice(&id.to_be_bytes());
        nodes[0].push(push, NOW).unwrap();
        let packet = nodes[0].submitted().remove(0);
        let verdict = broker.accept(&packet, NOW);
        nodes[0].step([Input::Verdict(verdict)], NOW);
    }
    let offers = broker.mailboxes.remove(&oin(2)).unwrap();
    nodes[1].step(offers.into_iter().map(|offer| Input::Offer(Box::new(offer))), NOW);
    for _ in 0..20 {
        // A question asks for some of the proofs.
        prove(&mut broker, &mut nodes, NOW);
    }
    let late = NOW.plus(TERM);
    for _ in 0..2 {
        for node in &mut nodes[..2] {
            broker.connect(node, late);
        }
    }
    tick(&mut nodes[1], late);
    assert_eq!(erased(&nodes[1]).len(), 256);
    tick(&mut nodes[1], late);
    assert_eq!(erased(&nodes[1]).len(), 260);
    overwrite(&mut nodes[1], late);
    exchange(&mut broker, &mut nodes, &[], late);
    let ids = |body: &String| body.matches("-0101-0101-0101-").count();
    let counts: Vec<usize> = confirmations(&nodes[0]).iter().map(ids).collect();
    assert_eq!(counts, [256, 4]);
}

#[test]
fn what_cannot_be_confirmed_is_an_alarm_and_is_erased_all_the_same() {
    let (mut broker, mut nodes) = asked();
    let police = &mut nodes[1];
    // By then the covenant is over.
    let late = after(Span::days(3000));
    broker.connect(police, late);
    tick(police, late);
    overwrite(police, late);
    let (_, row) = erased(police)[0];
    assert_eq!((row.confirmation, row.outcome), (None, Refusal::CovenantNotInForce.number()));
    assert!(police.alarms().contains(&AlarmKind::CannotTell));
    assert_eq!(police.core.to_overwrite(), None);
}

/// The police get a decision to scale down as a whole, accepted at `at`.
fn scale_down(police: &mut Node, position: u64, at: Timestamp) {
    let scaled =
        crate::InboxRow { message_type: "besluit_afschalen".into(), accepted: at, ..inbox_row(police) };
    let mut turn = crate::Turn::default();
    let ports_of = Node::new(2);
    let body = br#"{"besluit":"afschalen"}"#;
    police.core.noticed(position, &scaled, body, at, ports_of.ports(), &mut turn);
    keep_rows(police, &turn);
}

fn keep_rows(node: &mut Node, turn: &crate::Turn) {
    for row in turn.writes.iter().map(Write::row) {
        if let Some(value) = row.value {
            node.rows.insert((row.table, row.key), value);
        }
    }
}

#[test]
fn a_decision_to_scale_down_destroys_nothing_that_comes_after_it() {
    let (mut broker, mut nodes) = following();
    let police = &mut nodes[1];
    let minute = |number: u64| after(Span::minutes(number));
    scale_down(police, 7, minute(1));
    assert_eq!(police.core.keep_until(0), Some(minute(1)));
    // The case goes on: the same again, a minute later.
    let next = crate::InboxRow { accepted: minute(2), ..inbox_row(police) };
    police.core.retention.keep(8, &next);
    police.rows.insert((table::INBOX, 8_u64.to_be_bytes().to_vec()), {
        Write::Inbox(8, Box::new(next)).row().value.unwrap()
    });
    for _ in 0..2 {
        broker.connect(police, minute(3));
        tick(police, minute(3));
        assert_eq!(erased(police).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0]);
        assert_eq!(police.core.keep_until(8), None);
        police.restart(minute(3));
    }
    // The logged close ends it, whenever it was accepted.
    let mut chain = broker.cases[&CASE].clone();
    chain.push(decision(&chain, 1, Act::Close, minute(3)));
    broker.cases.insert(CASE, chain);
    broker.connect(police, minute(3));
    tick(police, minute(3));
    assert_eq!(erased(police).len(), 2);
}

#[test]
fn a_withdrawn_decision_to_scale_down_ends_nothing_also_after_a_restart() {
    for (again, restart) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut broker, mut nodes) = following();
        // A second message of the municipality, at position 1, stands for the decision.
        nodes[0].push(inquiry(2, &[2]), NOW).unwrap();
        exchange(&mut broker, &mut nodes, &[], NOW);
        let minute = |number: u64| after(Span::minutes(number));
        scale_down(&mut nodes[1], 1, minute(1));
        if again {
            scale_down(&mut nodes[1], 9, minute(2));
        }
        say(&mut nodes[0], 2, CorrectionKind::Withdrawal, NOW).unwrap();
        exchange(&mut broker, &mut nodes, &[], NOW);
        let police = &mut nodes[1];
        if restart {
            police.restart(minute(3));
        }
        assert_eq!(police.core.keep_until(0), again.then(|| minute(2)));
        broker.connect(police, minute(3));
        tick(police, minute(3));
        let gone: Vec<u64> = erased(police).iter().map(|(at, _)| *at).collect();
        assert_eq!(gone, if again { vec![0, 1] } else { vec![1] }, "{again} {restart}");
    }
}
