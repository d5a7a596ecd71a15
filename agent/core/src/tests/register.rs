//! The register of data subjects: who is in it, since when, for how long, and that nobody reads it without the key.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::{Compiled, Covenant, Declared, FORMAT, FORMAT_INFORMS, Role};
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

use super::records::{NAMES, names, town};
use crate::fixture::{Broker, CASE, COVENANT, NOW, Node, accepted, after, oin, sample, signal};
use crate::register::{Known, open_exchange, open_person};
use crate::rows::{position_key, table};
use crate::{
    AlarmKind, Duty, Exchange, ExchangeRow, Ground, InboxRow, InformsRow, Input, PersonFile, PersonRow,
    PushRequest, Rejection, Stage, Telling, Write,
};

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

fn persons(node: &Node) -> Vec<(Digest, PersonRow, PersonFile, usize)> {
    let of = |known: Known<'_>| {
        let file = open_person(known.id, known.row, node.ports()).unwrap();
        (*known.id, known.row.clone(), file, known.exchanges)
    };
    node.core.persons().map(of).collect()
}

fn stored(node: &Node, of: u8) -> usize {
    node.rows.keys().filter(|(own, _)| *own == of).count()
}

/// What the register says of the field of a person, the latest last.
fn said(node: &Node, id: &Digest, field: &str) -> Vec<String> {
    let all = persons(node);
    let (_, _, file, _) = all.iter().find(|(other, ..)| other == id).unwrap();
    let details = file.details.iter().filter(|detail| detail.field == field && node.core.counts(detail));
    details.map(|detail| detail.text.clone()).collect()
}

/// The names of the sample, but the first is called this.
fn renamed(id: u8, name: &str) -> PushRequest {
    let mut value: serde_json::Value = serde_json::from_slice(&sample(NAMES)).unwrap();
    value["personen"][0]["naam"] = name.into();
    PushRequest { body: value.to_string().into_bytes(), ..names(id) }
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
    assert!(persons(&politie).is_empty() && stored(&politie, table::PERSON) > 0);
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
            let has = |file: &PersonFile, (field, text): &(String, String)| {
                file.details.iter().any(|one| one.field == *field && one.text == *text)
            };
            let found = entered.iter().find(|(_, _, file, _)| details.iter().all(|one| has(file, one)));
            let (_, row, file, exchanges) = found.unwrap();
            assert_eq!((*exchanges, row.duty, file.case), (1, Duty::Open, Some(CASE)));
            assert!(file.details.iter().all(|one| one.field != "aanleiding"), "only what identifies");
        }
        let (row, exchange) = exchanges(node).remove(0);
        assert!(row.settled);
        assert_eq!(row.persons.len(), named.len());
        assert_eq!((row.received, exchange.flow.as_str()), (received, "F09"));
        assert!(exchange.places.iter().any(|place| place.at == "/personen/0" && place.fields.len() > 2));
        assert_eq!((exchange.others, exchange.declared.basis.as_str()), (vec![other], "wpg_16"));
    }
    // The toy locker hides nothing; what stands outside of what it locked names nobody.
    let name = value["personen"][0]["naam"].as_str().unwrap().as_bytes();
    for ((of, key), value) in
        gemeente.rows.iter().filter(|((of, _), _)| [table::PERSON, table::EXCHANGE].contains(of))
    {
        let bare = if let Ok(Write::Person(_, Some(row))) = Write::read(*of, key, value) {
            cbor::encode(&PersonRow { locked: Vec::new().into(), ..*row })
        } else {
            let Ok(Write::Exchange(_, Some(row))) = Write::read(*of, key, value) else { panic!() };
            cbor::encode(&ExchangeRow { locked: Vec::new().into(), ..*row })
        };
        assert!(
            !bare.windows(name.len()).any(|part| part == name) && !bare.windows(3).any(|part| part == b"F09")
        );
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
    assert!(!persons(&politie).is_empty() && persons(&politie).iter().all(|(.., exchanges)| *exchanges == 1));
    assert_eq!(exchanges(&politie).len(), 1);
}

#[test]
fn what_a_refused_message_called_somebody_counts_no_more_and_the_latest_that_counts_is_last() {
    let (mut broker, [_, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    let own = exchanges(&politie)[0].1.places.iter().find(|place| place.at == "/personen/0").unwrap().person;
    let [right] = <[String; 1]>::try_from(said(&politie, &own, "naam")).unwrap();
    for (id, name, refused) in [(2, "Verkeerd", true), (3, "Anders", false), (4, right.as_str(), false)] {
        let packet = sealed(&mut politie, renamed(id, name));
        let verdict = if refused {
            broker.refuse(&packet, oin(2), Refusal::MailboxFull, NOW)
        } else {
            broker.accept(&packet, NOW)
        };
        politie.step([Input::Verdict(verdict)], NOW);
    }
    assert_eq!(said(&politie, &own, "naam"), ["Anders".to_owned(), right], "what was repeated is the latest");
    politie.restart(NOW);
    assert_eq!(said(&politie, &own, "naam").len(), 2);
}

#[test]
fn what_ended_without_a_verdict_may_have_arrived_and_stays() {
    let (mut broker, [_, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    let expires = Packet::parse(&packet).unwrap().context().expires;
    politie.step([Input::PacketMissing(sha256(&packet))], expires);
    politie.step([Input::Tick], expires);
    assert_eq!(politie.core.find(&MsgId([1; 16])).map(|(_, stage)| stage), Some(Stage::Expired));
    assert!(!persons(&politie).is_empty());
    broker.connect(&mut politie, expires);
}

#[test]
fn a_new_purpose_is_to_be_told_anew() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let (id, row, ..) = persons(&gemeente).remove(0);
    let term = InformsRow { role: Role::Gemeente, informs: vec![Role::Gemeente] };
    assert_eq!((row.roles, row.agreed), (vec![], vec![term]));
    told(&mut gemeente, &telling(id, Duty::Informed, None)).unwrap();
    // The same names once more, as something else.
    let stored = gemeente.rows.get(&(table::INBOX, position_key(0))).unwrap();
    let Ok(Write::Inbox(_, row)) = Write::read(table::INBOX, &position_key(0), stored) else { panic!() };
    let mut again = |change: &dyn Fn(&mut Declared)| {
        let mut declared = Packet::parse(&packet).unwrap().context().declared.clone();
        change(&mut declared);
        let row = InboxRow { packet: sha256(declared.purpose.as_bytes()), ..(*row).clone() };
        gemeente.with_core(|core, ports, turn| {
            assert!(core.enter_received((1, &row), &declared, &sample(NAMES), ports, turn));
        });
        let all = persons(&gemeente);
        all.iter().find(|(other, ..)| *other == id).map(|(_, row, ..)| row.duty).unwrap()
    };
    assert_eq!(again(&|_| ()), Duty::Informed, "of this the person was told");
    assert_eq!(again(&|declared| declared.purpose = "strafrecht".into()), Duty::Open);
}

/// A covenant with another name between the same, and who tells under it.
fn another(id: &str, informs: &[Role]) -> Arc<Compiled> {
    let format = if informs.is_empty() { FORMAT } else { FORMAT_INFORMS };
    let model = COVENANT.covenant().clone();
    Arc::new(Compiled::new(Covenant { id: id.into(), format, informs: informs.to_vec(), ..model }).unwrap())
}

#[test]
fn who_tells_is_what_the_covenant_of_each_message_says() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let stored = gemeente.rows.get(&(table::INBOX, position_key(0))).unwrap();
    let Ok(Write::Inbox(_, row)) = Write::read(table::INBOX, &position_key(0), stored) else { panic!() };
    let declared = Packet::parse(&packet).unwrap().context().declared.clone();
    let others = [another("open", &[]), another("politie", &[Role::Politie]), another("open-2", &[])];
    for (position, other) in (1_u8..).zip(others.iter().chain(&others)) {
        gemeente.step([accepted(other)], NOW);
        let row = InboxRow { packet: sha256(&[position]), covenant: Some(other.hash()), ..(*row).clone() };
        gemeente.with_core(|core, ports, turn| {
            let position = position.into();
            assert!(core.enter_received((position, &row), &declared, &sample(NAMES), ports, turn));
        });
    }
    let terms = |informs| InformsRow { role: Role::Gemeente, informs: vec![informs] };
    let (_, row, ..) = persons(&gemeente).remove(0);
    assert_eq!(row.agreed, [terms(Role::Gemeente), terms(Role::Politie)], "each once");
    assert_eq!(row.roles, [Role::Gemeente], "of the two that do not say it");
}

/// A row as it was when covenants could not say who tells.
#[derive(serde_tuple::Serialize_tuple)]
struct Older {
    since: Timestamp,
    duty: Duty,
    until: Option<Timestamp>,
    roles: Vec<Role>,
    locked: Bytes,
}

#[test]
fn a_row_from_before_covenants_said_who_tells_is_read_and_written_as_it_was() {
    let (roles, locked) = (vec![Role::Politie], Bytes(vec![1, 2, 3]));
    let older =
        Older { since: NOW, duty: Duty::Open, until: None, roles: roles.clone(), locked: locked.clone() };
    let bytes = cbor::encode(&older);
    let Ok(Write::Person(_, Some(row))) = Write::read(table::PERSON, &[7; 32], &bytes) else { panic!() };
    let same = PersonRow { since: NOW, duty: Duty::Open, until: None, roles, locked, agreed: vec![] };
    assert_eq!((&*row, cbor::encode(&*row)), (&same, bytes));
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
    for of in [table::PERSON, table::EXCHANGE] {
        gemeente.break_lock_of(of);
        receive(&mut broker, &mut gemeente, &packet, NOW);
        assert!(gemeente.acknowledged().is_empty() && persons(&gemeente).is_empty());
        assert!(gemeente.alarms().contains(&AlarmKind::LockFailed));
        politie.break_lock_of(of);
        assert_eq!(politie.pass(names(10 + of), NOW).unwrap().stage, Stage::Refused);
        assert!(politie.submitted().is_empty());
    }
    assert_eq!(exchanges(&politie).len(), 1);
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
    let (id, ..) = persons(&gemeente).remove(0);
    let until = after(Span::days(30));
    told(&mut gemeente, &telling(id, Duty::Postponed, Some(until))).unwrap();
    gemeente.restart(NOW);
    broker.connect(&mut gemeente, NOW);
    told(&mut gemeente, &telling(id, Duty::Informed, None)).unwrap();
    let entered = persons(&gemeente);
    let (_, row, file, _) = entered.iter().find(|(other, ..)| *other == id).unwrap();
    assert_eq!((row.duty, row.until), (Duty::Informed, None));
    let decisions: Vec<_> = file.decisions.iter().map(|one| (one.duty, one.until, one.at)).collect();
    assert_eq!(decisions, [(Duty::Postponed, Some(until), NOW), (Duty::Informed, None, NOW)]);
    // A second message about the same person changes nothing of that.
    let packet = sealed(&mut politie, names(2));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let (_, row, _, exchanges) = persons(&gemeente).into_iter().find(|(other, ..)| *other == id).unwrap();
    assert_eq!((row.duty, exchanges), (Duty::Informed, 2));
    assert_eq!(gemeente.core.person(&id).unwrap().first, NOW);
}

#[test]
fn a_decision_without_role_reason_or_day_is_refused() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let (id, ..) = persons(&gemeente).remove(0);
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
    let (_, row, file, _) = persons(&gemeente).remove(0);
    assert!(row.duty == Duty::Open && file.decisions.is_empty());
}

#[test]
fn after_its_term_nothing_is_left_and_one_clock_alone_ends_no_term() {
    let (mut broker, [mut gemeente, mut politie, ..]) = town();
    let packet = sealed(&mut politie, names(1));
    accept(&mut broker, &mut politie, &packet);
    receive(&mut broker, &mut gemeente, &packet, NOW);
    let days = u64::from(COVENANT.covenant().log_retention_days);
    assert!(days > 4 * 365);
    let over = after(Span::days(days));
    gemeente.step([Input::Tick], after(Span::days(days - 1)));
    broker.connect(&mut gemeente, after(Span::days(days - 1)));
    gemeente.step([Input::Tick], over);
    assert!(!persons(&gemeente).is_empty(), "the log's time has not come so far");
    broker.connect(&mut gemeente, over);
    gemeente.step([Input::Tick], over);
    assert!(!persons(&gemeente).is_empty(), "its body is kept for as long as the case is open");
    gemeente.step([Input::Erase { token: 3, position: 0, ground: Ground::Subject }], over);
    gemeente.step([Input::Tick], over);
    assert!(persons(&gemeente).is_empty() && exchanges(&gemeente).is_empty());
    assert!(gemeente.core.to_overwrite().is_some());
    assert!(!gemeente.rows.keys().any(|(of, _)| *of == table::PERSON || *of == table::EXCHANGE));
}
