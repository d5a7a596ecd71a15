//! The register of data subjects: who is in it, since when, for how long, and that nobody reads it without the key.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use crate::fixture::{Broker, CASE, NOW, Node, after, moved, oin, partnership, request, sample, signal};
use crate::register::{KEPT_DAYS, open_exchange, open_person};
use crate::rows::table;
use crate::{
    AlarmKind, Duty, Exchange, ExchangeRow, Input, PersonFile, PersonRow, PushRequest, Rejection, Stage,
    Telling, Write,
};

const NAMES: &str = "09-F09-politie-namen.json";

/// The police name persons to the municipality, in a case.
fn names(id: u8) -> PushRequest {
    PushRequest { step: Some(Step::S2B), case: Some(CASE), ..request(id, "F09", &[1], NAMES) }
}

/// Four that know a case to be in step 2B.
fn town() -> (Broker, [Node; 4]) {
    let (mut broker, nodes) = partnership();
    broker.cases.insert(CASE, moved(Step::S2B));
    let nodes = nodes.map(|mut node| {
        node.step([Input::LookAtCase(CASE)], NOW);
        broker.serve(&mut node, NOW);
        node
    });
    (broker, nodes)
}

/// Pushes and seals; the packet.
fn sealed(node: &mut Node, push: PushRequest) -> Arc<[u8]> {
    assert_eq!(node.pass(push, NOW).unwrap().stage, Stage::Sealed);
    node.submitted().remove(0)
}

fn accept(broker: &mut Broker, node: &mut Node, packet: &[u8]) {
    node.step([Input::Verdict(broker.accept(packet, NOW))], NOW);
}

fn receive(broker: &mut Broker, node: &mut Node, packet: &[u8], at: Timestamp) {
    node.step([Input::Offer(Box::new(broker.offer(packet, oin(node.number), NOW)))], at);
}

fn persons(node: &Node) -> Vec<(Digest, PersonRow, PersonFile)> {
    let of =
        |(id, row): (&Digest, &PersonRow)| (*id, row.clone(), open_person(id, row, node.ports()).unwrap());
    node.core.persons().map(of).collect()
}

fn exchanges(node: &Node) -> Vec<(ExchangeRow, Exchange)> {
    let rows = node.rows.iter().filter(|((of, _), _)| *of == table::EXCHANGE);
    let open = rows.map(|((of, key), value)| {
        let Write::Exchange(key, Some(row)) = Write::read(*of, key, value).unwrap() else { panic!() };
        let exchange = open_exchange(key, &row, node.ports()).unwrap();
        (*row, exchange)
    });
    open.collect()
}

fn told(node: &mut Node, telling: &Telling) -> Result<(), Rejection> {
    node.step([Input::Tell { token: 9, telling: telling.clone() }], NOW).answers.remove(0).1
}

fn telling(person: Digest, duty: Duty, until: Option<Timestamp>) -> Telling {
    Telling { person, duty, until, role: "regisseur".into(), reason: "brief verstuurd".into() }
}

/// The rows of somebody who named persons.
pub(super) fn entered() -> BTreeMap<(u8, Vec<u8>), Vec<u8>> {
    let (_, [_, mut politie, ..]) = town();
    sealed(&mut politie, names(1));
    politie.rows.retain(|(of, _), _| matches!(*of, table::PERSON | table::EXCHANGE));
    politie.rows
}

#[test]
fn both_sides_enter_every_person_with_what_was_exchanged_and_nobody_reads_it_without_the_key() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    assert!(exchanges(&politie).iter().all(|(row, _)| !row.settled), "durable, and not yet exchanged");
    politie.restart(NOW);
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, after(Span::seconds(1)));
    let value: serde_json::Value = serde_json::from_slice(&sample(NAMES)).unwrap();
    let named = value["personen"].as_array().unwrap();
    for (node, received, other) in [(&politie, None, oin(1)), (&gemeente, Some(0), oin(2))] {
        let entered = persons(node);
        assert_eq!(entered.len(), named.len());
        for person in named {
            let detail = |field: &str| (field.to_owned(), person[field].as_str().unwrap().to_owned());
            let details = [detail("geboortedatum"), detail("naam"), detail("zaakpersoon")];
            let found =
                entered.iter().find(|(_, _, file)| details.iter().all(|one| file.details.contains(one)));
            let (_, row, file) = found.unwrap();
            assert_eq!((row.exchanges, row.duty, file.case), (1, Duty::Open, Some(CASE)));
            assert!(file.details.iter().all(|(field, _)| field != "aanleiding"), "only what identifies");
        }
        let (row, exchange) = exchanges(node).remove(0);
        assert!(row.settled);
        assert_eq!(row.persons.len(), named.len());
        assert_eq!((exchange.received, exchange.flow.as_str()), (received, "F09"));
        assert_eq!((exchange.others, exchange.declared.basis.as_str()), (vec![other], "wpg_16"));
    }
    // The toy locker hides nothing; what stands outside of what it locked does not name anybody.
    for (_, row, _) in persons(&gemeente) {
        let bare = seinhuis_shared::cbor::encode(&PersonRow { locked: Vec::new().into(), ..row });
        assert!(bare.len() < 64);
    }
}

#[test]
fn what_was_not_exchanged_is_not_in_it_nor_who_is_in_nothing_else() {
    let (mut broker, [_, mut politie, ..]) = town();
    let refused = sealed(&mut politie, names(1));
    let verdict = broker.refuse(&refused, oin(2), Refusal::MailboxFull, NOW);
    politie.step([Input::Verdict(verdict)], NOW);
    assert!(persons(&politie).is_empty() && exchanges(&politie).is_empty());
    assert!(politie.core.to_overwrite().is_some(), "what they were is overwritten");
    let (first, second) = (sealed(&mut politie, names(2)), sealed(&mut politie, names(3)));
    accept(&mut broker, &mut politie, &first);
    let verdict = broker.refuse(&second, oin(2), Refusal::MailboxFull, NOW);
    politie.step([Input::Verdict(verdict)], NOW);
    assert!(!persons(&politie).is_empty() && persons(&politie).iter().all(|(_, row, _)| row.exchanges == 1));
    assert_eq!(exchanges(&politie).len(), 1);
}

#[test]
fn signals_about_groups_enter_nobody() {
    let (mut broker, [_, _, mut youth, _]) = town();
    let packet = sealed(&mut youth, signal(1));
    accept(&mut broker, &mut youth, &packet);
    assert!(persons(&youth).is_empty() && exchanges(&youth).is_empty());
}

#[test]
fn what_cannot_be_kept_is_neither_sent_nor_taken_in() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    gemeente.break_lock(true);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    assert!(gemeente.acknowledged().is_empty() && persons(&gemeente).is_empty());
    assert!(gemeente.alarms().contains(&AlarmKind::LockFailed));
    gemeente.break_lock(false);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    assert_eq!(gemeente.acknowledged().len(), 1);
    assert!(!persons(&gemeente).is_empty());
}

#[test]
fn a_person_is_told_once_and_it_is_kept_who_said_so() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let (id, _, _) = persons(&gemeente).remove(0);
    let until = after(Span::days(30));
    told(&mut gemeente, &telling(id, Duty::Postponed, Some(until))).unwrap();
    gemeente.restart(NOW);
    broker.connect(&mut gemeente, NOW);
    told(&mut gemeente, &telling(id, Duty::Informed, None)).unwrap();
    let entered = persons(&gemeente);
    let (_, row, file) = entered.iter().find(|(other, ..)| *other == id).unwrap();
    assert_eq!((row.duty, row.until), (Duty::Informed, None));
    let decisions: Vec<_> = file.decisions.iter().map(|one| (one.duty, one.until, one.at)).collect();
    assert_eq!(decisions, [(Duty::Postponed, Some(until), NOW), (Duty::Informed, None, NOW)]);
    // A second message about the same person changes nothing of that.
    let packet = sealed(&mut politie, names(2));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let (_, row, _) = persons(&gemeente).into_iter().find(|(other, ..)| *other == id).unwrap();
    assert_eq!((row.duty, row.exchanges, row.first), (Duty::Informed, 2, NOW));
}

#[test]
fn a_decision_without_role_reason_or_day_is_refused() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let (id, _, _) = persons(&gemeente).remove(0);
    let right = telling(id, Duty::Informed, None);
    for wrong in [
        Telling { role: " ".into(), ..right.clone() },
        Telling { reason: String::new(), ..right.clone() },
        Telling { reason: "a\nb".into(), ..right.clone() },
        Telling { reason: "x".repeat(501), ..right.clone() },
        Telling { duty: Duty::Postponed, ..right.clone() },
        telling(id, Duty::Postponed, Some(NOW)),
        telling(id, Duty::Exempt, Some(after(Span::days(1)))),
    ] {
        assert_eq!(told(&mut gemeente, &wrong).unwrap_err().refusal, Refusal::FieldInvalid, "{wrong:?}");
    }
    let nobody = telling(Digest([7; 32]), Duty::Informed, None);
    assert_eq!(told(&mut gemeente, &nobody).unwrap_err().refusal, Refusal::NotFound);
    let (_, row, file) = persons(&gemeente).remove(0);
    assert!(row.duty == Duty::Open && file.decisions.is_empty());
}

#[test]
fn after_its_term_nothing_is_left_and_one_clock_alone_ends_no_term() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let days = KEPT_DAYS.max(crate::fixture::COVENANT.covenant().log_retention_days.into());
    let over = after(Span::days(days));
    gemeente.step([Input::Tick], after(Span::days(days - 1)));
    broker.connect(&mut gemeente, after(Span::days(days - 1)));
    gemeente.step([Input::Tick], over);
    assert!(!persons(&gemeente).is_empty(), "the log's time has not come so far");
    broker.connect(&mut gemeente, over);
    gemeente.step([Input::Tick], over);
    assert!(persons(&gemeente).is_empty() && exchanges(&gemeente).is_empty());
    assert!(gemeente.core.to_overwrite().is_some());
    assert!(!gemeente.rows.keys().any(|(of, _)| *of == table::PERSON || *of == table::EXCHANGE));
}
