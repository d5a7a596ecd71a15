//! The register of data subjects: about whom this organisation sent and received what, and whether they were told.
//!
//! A person is entered in the turn in which the first message about that person is sealed or stored, so that no crash
//! loses the duty to tell; what cannot be entered is not sent and not taken in. Who it is stands in it encrypted, under
//! a keyed fingerprint: it can be searched here alone. Bodies are erased at their term and leave this: what a person may
//! ask about the last four years (GDPR article 15, Wpg article 25) is kept for four years, and for as long as the
//! covenant keeps its log. Then it is erased too.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::Declared;
use seinhuis_shared::covenant::schema::{Person, Scope};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::TEXT_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use zeroize::Zeroizing;

use crate::engine::Core;
use crate::minimise::Rejection;
use crate::outbox::{REASON_MAX, plain};
use crate::ports::Ports;
use crate::records::naming;
use crate::rows::{
    AlarmKind, Duty, DutyRow, Exchange, ExchangeRow, InboxRow, OutboxRow, PersonFile, PersonRow, Stage,
    Write, exchange_key, table,
};
use crate::turn::Turn;

/// How long an exchange is kept at least, in days: a person may ask about the last four years.
pub const KEPT_DAYS: u64 = 4 * 365 + 1;
/// Most that one tick removes.
const PURGE_MAX: usize = 256;
/// Most of what is kept about one person: details, and decisions about telling.
const FILE_MAX: usize = 64;
/// Most bytes of an opened row.
const OPENED_MAX: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Register {
    persons: BTreeMap<Digest, PersonRow>,
    exchanges: BTreeMap<(Timestamp, u64), Vec<Digest>>,
    /// Sent packets without a verdict.
    waiting: BTreeMap<Digest, ((Timestamp, u64), ExchangeRow)>,
    next: u64,
}

impl Register {
    pub(crate) fn restore_person(&mut self, id: Digest, row: PersonRow) {
        self.persons.insert(id, row);
    }

    pub(crate) fn restore_exchange(&mut self, (until, number): (Timestamp, u64), row: ExchangeRow) {
        self.next = self.next.max(number.saturating_add(1));
        self.exchanges.insert((until, number), row.persons.clone());
        if !row.settled {
            self.waiting.insert(row.packet, ((until, number), row));
        }
    }

    /// Removes an exchange, and the persons of whom nothing is left.
    fn remove(&mut self, key: (Timestamp, u64), turn: &mut Turn) {
        let Some(persons) = self.exchanges.remove(&key) else { return };
        turn.writes.push(Write::Exchange(key, None));
        for id in persons {
            let Some(row) = self.persons.get_mut(&id) else { continue };
            row.exchanges = row.exchanges.saturating_sub(1);
            let left = (row.exchanges > 0).then(|| Box::new(row.clone()));
            if left.is_none() {
                self.persons.remove(&id);
            }
            turn.writes.push(Write::Person(id, left));
        }
    }
}

/// What a person decides about telling another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// The person's key in the register.
    pub person: Digest,
    /// What is decided.
    pub duty: Duty,
    /// Until when telling is postponed; only then.
    pub until: Option<Timestamp>,
    /// In which role: 1 to 64 characters.
    pub role: String,
    /// How the person was told, or why not: 1 to 500 characters.
    pub reason: String,
}

/// Opens what is locked in a person's row; `None` when it does not open.
pub fn open_person(id: &Digest, row: &PersonRow, ports: Ports<'_>) -> Option<PersonFile> {
    let plain = ports.locker.unlock(table::PERSON, &id.0, &row.locked.0)?;
    cbor::strict(&plain, OPENED_MAX).ok()
}

/// Opens what is locked in the row of an exchange; `None` when it does not open.
pub fn open_exchange(key: (Timestamp, u64), row: &ExchangeRow, ports: Ports<'_>) -> Option<Exchange> {
    let plain = ports.locker.unlock(table::EXCHANGE, &exchange_key(key), &row.locked.0)?;
    cbor::strict(&plain, OPENED_MAX).ok()
}

fn lock<T: serde::Serialize>(of: u8, key: &[u8], value: &T, ports: Ports<'_>) -> Option<Bytes> {
    let plain = Zeroizing::new(cbor::encode(value));
    ports.locker.lock(of, key, &plain).map(Bytes)
}

impl Core {
    /// The persons in the register, by their keys.
    pub fn persons(&self) -> impl Iterator<Item = (&Digest, &PersonRow)> {
        self.register.persons.iter()
    }

    /// Enters a packet that is sealed in this turn; it counts once it is accepted. Tells whether that can be kept.
    pub(crate) fn enter_sent(
        &mut self,
        row: &OutboxRow,
        (packet, said): (Digest, &Declared),
        body: &[u8],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> bool {
        let mut exchange = Exchange {
            msg_id: row.msg_id,
            received: None,
            at: now,
            covenant: row.covenant,
            flow: row.flow.clone(),
            declared: said.clone(),
            case: row.case,
            others: row.recipients.clone(),
            places: Vec::new(),
        };
        self.enter(&mut exchange, packet, body, ports, turn)
    }

    /// Enters a good message that is stored in this turn. Tells whether that can be kept.
    pub(crate) fn enter_received(
        &mut self,
        (position, row): (u64, &InboxRow),
        said: &Declared,
        body: &[u8],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> bool {
        let Some(covenant) = row.covenant else { return true };
        let mut exchange = Exchange {
            msg_id: row.msg_id,
            received: Some(position),
            at: now,
            covenant,
            flow: row.flow.clone(),
            declared: said.clone(),
            case: row.case,
            others: row.sender.into_iter().collect(),
            places: Vec::new(),
        };
        self.enter(&mut exchange, row.packet, body, ports, turn)
    }

    /// The persons in a body, and what is kept of each: the fields of those categories that identify persons somewhere in
    /// the covenant. Until when, too.
    fn persons_in(&self, exchange: &Exchange, body: &[u8]) -> Option<(Vec<Person>, Timestamp)> {
        let compiled = self.agreed.get(&exchange.covenant).ok()?.compiled();
        let schema = compiled.schema(&exchange.declared.message_type).filter(|schema| schema.identifies())?;
        let mut persons = schema.persons(body);
        let types = compiled.covenant().types.iter();
        let schemas = types.filter_map(|one| compiled.schema(&one.code));
        let identifying: BTreeSet<&str> = schemas.flat_map(|schema| schema.identifying()).collect();
        for person in &mut persons {
            person.details.retain(|detail| identifying.contains(detail.category.as_str()));
        }
        let days = KEPT_DAYS.max(compiled.covenant().log_retention_days.into());
        (!persons.is_empty()).then(|| (persons, exchange.at.plus(Span::days(days))))
    }

    fn enter(
        &mut self,
        exchange: &mut Exchange,
        packet: Digest,
        body: &[u8],
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> bool {
        let Some((persons, until)) = self.persons_in(exchange, body) else { return true };
        let mut entered = BTreeMap::new();
        for person in persons {
            let subject = &person.subject;
            let id = ports.locker.fingerprint(&naming(subject, exchange.case, &exchange.msg_id));
            let Some(row) = self.met(&id, &person, exchange, ports) else { return false };
            entered.insert(id, row);
            exchange.places.extend(person.places.into_iter().map(|at| (id, at)));
        }
        let key = (until, self.register.next);
        let Some(locked) = lock(table::EXCHANGE, &exchange_key(key), exchange, ports) else { return false };
        let settled = exchange.received.is_some();
        let row = ExchangeRow { persons: entered.keys().copied().collect(), packet, settled, locked };
        self.register.restore_exchange(key, row.clone());
        turn.writes.push(Write::Exchange(key, Some(Box::new(row))));
        for (id, row) in entered {
            self.register.persons.insert(id, row.clone());
            turn.writes.push(Write::Person(id, Some(Box::new(row))));
        }
        true
    }

    /// The row of a person of whom there is one message more; `None` when it cannot be locked.
    fn met(&self, id: &Digest, person: &Person, exchange: &Exchange, ports: Ports<'_>) -> Option<PersonRow> {
        let known = self.register.persons.get(id);
        let file = known.and_then(|row| open_person(id, row, ports));
        let mut row = known.cloned().unwrap_or_else(|| PersonRow {
            first: exchange.at,
            exchanges: 0,
            duty: Duty::Open,
            until: None,
            locked: Bytes(Vec::new()),
        });
        row.exchanges = row.exchanges.saturating_add(1);
        if known.is_some() && file.is_none() {
            // What does not open is not written over: there may be decisions in it.
            return Some(row);
        }
        let mut file = file.unwrap_or_else(|| PersonFile {
            kind: person.subject.kind.clone(),
            case: exchange.case.filter(|_| person.subject.scope == Scope::Case),
            details: Vec::new(),
            decisions: Vec::new(),
        });
        let before = file.details.len();
        for detail in &person.details {
            let detail = (detail.field.clone(), detail.text.to_string());
            if !file.details.contains(&detail) && file.details.len() < FILE_MAX {
                file.details.push(detail);
            }
        }
        if known.is_none() || file.details.len() > before {
            row.locked = lock(table::PERSON, &id.0, &file, ports)?;
        }
        Some(row)
    }

    /// A sent message has come to its end: it was exchanged, or there is nothing to keep.
    pub(crate) fn entered_ended(&mut self, row: &OutboxRow, turn: &mut Turn) {
        let waited = row.packet.and_then(|packet| self.register.waiting.remove(&packet));
        let Some((key, mut entered)) = waited else { return };
        if row.stage == Stage::Done {
            entered.settled = true;
            turn.writes.push(Write::Exchange(key, Some(Box::new(entered))));
        } else {
            self.register.remove(key, turn);
            self.retention.rows_destroyed();
        }
    }

    /// Removes what is past its term; called with every tick.
    pub(crate) fn purge_register(&mut self, passed: Timestamp, turn: &mut Turn) {
        let due = self.register.exchanges.keys().take_while(|(until, _)| *until <= passed);
        let due: Vec<_> = due.take(PURGE_MAX).copied().collect();
        if due.is_empty() {
            return;
        }
        for key in due {
            self.register.remove(key, turn);
        }
        self.retention.rows_destroyed();
    }

    /// A person decides about telling another that there are data about that other.
    pub(crate) fn tell(
        &mut self,
        telling: Telling,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        check_telling(&telling, now)?;
        let Telling { person, duty, until, role, reason } = telling;
        let row = self.register.persons.get_mut(&person).ok_or_else(unknown)?;
        let Some(mut file) = open_person(&person, row, ports) else {
            let detail = format!("person {person}");
            self.alarm(AlarmKind::StoreKey, detail, now, turn);
            return Err(Refusal::CannotOpen.into());
        };
        if file.decisions.len() >= FILE_MAX {
            return Err(Rejection::new(
                Refusal::FieldInvalid,
                "Over deze persoon zijn te veel besluiten bewaard.",
                "Too many decisions about this person are kept.",
            ));
        }
        file.decisions.push(DutyRow { duty, until, role, reason, at: now });
        let locked = lock(table::PERSON, &person.0, &file, ports).ok_or(Refusal::TooBusy)?;
        (row.duty, row.until, row.locked) = (duty, until, locked);
        turn.writes.push(Write::Person(person, Some(Box::new(row.clone()))));
        Ok(())
    }
}

fn unknown() -> Rejection {
    Rejection::new(
        Refusal::NotFound,
        "Deze persoon staat niet in het register. Zoek opnieuw.",
        "This person is not in the register. Search again.",
    )
}

/// Whether a decision says what it has to, in words that can be shown.
fn check_telling(telling: &Telling, now: Timestamp) -> Result<(), Rejection> {
    let said = |text: &str, most| !text.trim().is_empty() && plain(text, most);
    if !said(&telling.role, TEXT_MAX) || !said(&telling.reason, REASON_MAX) {
        return Err(Rejection::new(
            Refusal::FieldInvalid,
            format!(
                "Noem de rol waarin u beslist (1 tot {TEXT_MAX} tekens) en hoe of waarom (1 tot {REASON_MAX} tekens), zonder stuurtekens."
            ),
            format!(
                "Name the role in which you decide (1 to {TEXT_MAX} characters) and how or why (1 to {REASON_MAX} characters), without control characters."
            ),
        ));
    }
    let right = match (telling.duty, telling.until) {
        (Duty::Postponed, Some(until)) => until > now,
        (Duty::Informed | Duty::Exempt | Duty::Open, None) => true,
        (Duty::Postponed, None) | (_, Some(_)) => false,
    };
    if right {
        return Ok(());
    }
    Err(Rejection::new(
        Refusal::FieldInvalid,
        "Uitstel heeft een dag in de toekomst nodig, en alleen uitstel heeft een dag.",
        "A postponement needs a day in the future, and only a postponement has a day.",
    ))
}
