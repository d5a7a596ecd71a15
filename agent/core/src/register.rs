//! The register of data subjects: about whom this organisation sent and received what, and whether they were told.
//!
//! A person is entered in the turn in which the first message about that person is sealed or stored, so that no crash
//! loses the duty to tell; what cannot be entered is not sent and not taken in. Who it is stands in it encrypted, under
//! a keyed fingerprint: it can be searched here alone. Bodies are erased at their term, and the sender keeps none: what
//! a person may ask for (GDPR article 15, Wpg article 25) is kept for four years, for as long as the covenant keeps its
//! log, and for as long as the body. Then it is erased too.

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
    AlarmKind, DetailRow, Duty, DutyRow, Exchange, ExchangeRow, InboxRow, InformsRow, OutboxRow, PersonFile,
    PersonRow, PlaceRow, Stage, Write, exchange_key, table,
};
use crate::turn::Turn;

/// How long an exchange is kept at least, in days: a person may ask about the last four years (Wpg article 25).
const KEPT_DAYS: u64 = 4 * 365 + 1;
/// Most that one tick removes.
const PURGE_MAX: usize = 256;
/// Most details and decisions that are kept of one person; the oldest details go first.
const FILE_MAX: usize = 32;
/// Most packets that a detail names.
const PACKETS_MAX: usize = 8;
/// Most characters of a detail: what is longer identifies nobody.
const DETAIL_MAX: usize = 200;
/// Most persons of one message that are entered; the model covenant's lists end at 60.
const PERSONS_MAX: usize = 1000;
/// Most objects about persons in one message that are remembered.
const PLACES_MAX: usize = 4 * PERSONS_MAX;
/// Most bytes of an opened row.
const OPENED_MAX: usize = 2 * 1024 * 1024;
/// The message type with which a person asks something: who asks knows.
const REQUEST: &str = "verzoek_betrokkene";

/// The key of an exchange: until when it is kept, and its number.
pub type Key = (Timestamp, u64);

/// What has to be known of an exchange without opening it.
#[derive(Debug)]
struct Entry {
    persons: Vec<Digest>,
    packet: Digest,
    at: Timestamp,
    received: Option<u64>,
    settled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Register {
    persons: BTreeMap<Digest, PersonRow>,
    exchanges: BTreeMap<Key, Entry>,
    of_person: BTreeMap<Digest, BTreeSet<Key>>,
    packets: BTreeSet<Digest>,
    /// Sent packets without a verdict.
    waiting: BTreeMap<Digest, (Key, ExchangeRow)>,
    next: u64,
}

impl Register {
    pub(crate) fn restore_person(&mut self, id: Digest, row: PersonRow) {
        self.persons.insert(id, row);
    }

    pub(crate) fn restore_exchange(&mut self, key: Key, row: ExchangeRow) {
        self.next = self.next.max(key.1.saturating_add(1));
        for person in &row.persons {
            self.of_person.entry(*person).or_default().insert(key);
        }
        self.packets.insert(row.packet);
        let ExchangeRow { persons, packet, at, received, settled, .. } = row.clone();
        self.exchanges.insert(key, Entry { persons, packet, at, received, settled });
        if !row.settled {
            self.waiting.insert(row.packet, (key, row));
        }
    }

    /// Removes an exchange, and the persons of whom nothing is left.
    fn remove(&mut self, key: Key, turn: &mut Turn) {
        let Some(entry) = self.exchanges.remove(&key) else { return };
        self.packets.remove(&entry.packet);
        turn.writes.push(Write::Exchange(key, None));
        for id in entry.persons {
            let Some(keys) = self.of_person.get_mut(&id) else { continue };
            keys.remove(&key);
            if keys.is_empty() {
                self.of_person.remove(&id);
                self.persons.remove(&id);
                turn.writes.push(Write::Person(id, None));
            }
        }
    }

    /// When the first message about a person that was exchanged was.
    fn first(&self, id: &Digest) -> Option<Timestamp> {
        let keys = self.of_person.get(id)?.iter();
        keys.filter_map(|key| self.exchanges.get(key)).filter(|one| one.settled).map(|one| one.at).min()
    }
}

/// A person about whom something was exchanged.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The person's key.
    pub id: &'a Digest,
    /// The row.
    pub row: &'a PersonRow,
    /// When the first of those messages was exchanged.
    pub first: Timestamp,
    /// How many there are.
    pub exchanges: usize,
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
pub fn open_exchange(key: Key, row: &ExchangeRow, ports: Ports<'_>) -> Option<Exchange> {
    let plain = ports.locker.unlock(table::EXCHANGE, &exchange_key(key), &row.locked.0)?;
    cbor::strict(&plain, OPENED_MAX).ok()
}

/// Adds who tells a person under the covenant of one message more.
fn add_terms(row: &mut PersonRow, terms: Option<&InformsRow>) {
    let Some(terms) = terms else { return };
    if !terms.informs.is_empty() {
        row.agreed.extend(Some(terms).filter(|terms| !row.agreed.contains(terms)).cloned());
    } else if !row.roles.contains(&terms.role) {
        row.roles.push(terms.role);
    }
}

fn lock<T: serde::Serialize>(of: u8, key: &[u8], value: &T, ports: Ports<'_>) -> Option<Bytes> {
    let plain = Zeroizing::new(cbor::encode(value));
    ports.locker.lock(of, key, &plain).map(Bytes)
}

impl Core {
    /// Everybody about whom something was exchanged.
    pub fn persons(&self) -> impl Iterator<Item = Known<'_>> {
        self.register.persons.keys().filter_map(|id| self.person(id))
    }

    /// One of them.
    pub fn person(&self, id: &Digest) -> Option<Known<'_>> {
        let (id, row) = self.register.persons.get_key_value(id)?;
        let first = self.register.first(id)?;
        Some(Known { id, row, first, exchanges: self.exchanges_about(id).count() })
    }

    /// The keys of what was exchanged about a person.
    pub fn exchanges_about(&self, id: &Digest) -> impl Iterator<Item = Key> {
        let keys = self.register.of_person.get(id).into_iter().flatten();
        let settled = |key: &&Key| self.register.exchanges.get(key).is_some_and(|one| one.settled);
        keys.filter(settled).copied()
    }

    /// Whether a detail still stands in something that was exchanged.
    pub fn counts(&self, detail: &DetailRow) -> bool {
        detail.packets.iter().any(|packet| {
            self.register.packets.contains(packet) && !self.register.waiting.contains_key(packet)
        })
    }

    /// Enters a packet that is sealed in this turn; it counts once it is accepted. Tells whether that can be kept.
    pub(crate) fn enter_sent(
        &mut self,
        row: &OutboxRow,
        (packet, declared): (Digest, &Declared),
        body: &[u8],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> bool {
        let exchange = Exchange {
            msg_id: row.msg_id,
            covenant: row.covenant,
            flow: row.flow.clone(),
            declared: declared.clone(),
            case: row.case,
            others: row.recipients.clone(),
            places: Vec::new(),
        };
        self.enter(exchange, (packet, None, now), body, ports, turn)
    }

    /// Enters a good message that is stored in this turn. Tells whether that can be kept.
    pub(crate) fn enter_received(
        &mut self,
        (position, row): (u64, &InboxRow),
        declared: &Declared,
        body: &[u8],
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> bool {
        let Some(covenant) = row.covenant else { return true };
        let exchange = Exchange {
            msg_id: row.msg_id,
            covenant,
            flow: row.flow.clone(),
            declared: declared.clone(),
            case: row.case,
            others: row.sender.into_iter().collect(),
            places: Vec::new(),
        };
        // The log's time: a wrong clock here begins no term too early or too late.
        self.enter(exchange, (row.packet, Some(position), row.accepted), body, ports, turn)
    }

    /// The persons in a body, and what is kept of each: the fields of those categories that identify persons somewhere in
    /// the covenant. How many days that is kept, the own role, and who tells, too.
    fn persons_in(
        &self,
        exchange: &Exchange,
        at: Timestamp,
        body: &[u8],
    ) -> Option<(Vec<Person>, u64, Option<InformsRow>)> {
        let compiled = self.agreed.get(&exchange.covenant).ok()?.compiled();
        let schema = compiled.schema(&exchange.declared.message_type).filter(|schema| schema.identifies())?;
        let mut persons = schema.persons(body);
        let types = compiled.covenant().types.iter();
        let schemas = types.filter_map(|one| compiled.schema(&one.code));
        let identifying: BTreeSet<&str> = schemas.flat_map(|schema| schema.identifying()).collect();
        for person in &mut persons {
            person.details.retain(|detail| {
                identifying.contains(detail.category.as_str()) && detail.text.chars().count() <= DETAIL_MAX
            });
        }
        let days = KEPT_DAYS.max(compiled.covenant().log_retention_days.into());
        let terms = |role| InformsRow { role, informs: compiled.covenant().informs.clone() };
        (!persons.is_empty()).then(|| (persons, days, compiled.role_at(self.settings.oin, at).map(terms)))
    }

    fn enter(
        &mut self,
        mut exchange: Exchange,
        (packet, received, at): (Digest, Option<u64>, Timestamp),
        body: &[u8],
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> bool {
        let Some((mut persons, days, terms)) = self.persons_in(&exchange, at, body) else { return true };
        if persons.len() > PERSONS_MAX {
            let detail = format!("message {} names more than {PERSONS_MAX} persons", exchange.msg_id);
            self.alarm(AlarmKind::RecordsFull, detail, at, turn);
            persons.truncate(PERSONS_MAX);
        }
        let mut entered = BTreeMap::new();
        for person in persons {
            let id = ports.locker.fingerprint(&naming(&person.subject, exchange.case, &exchange.msg_id));
            let Some(row) = self.met(&id, &person, &exchange, (packet, at, terms.as_ref()), ports) else {
                return false;
            };
            entered.insert(id, row);
            let place = |(at, fields)| PlaceRow { person: id, at, fields };
            exchange.places.extend(person.places.into_iter().map(place));
        }
        exchange.places.truncate(PLACES_MAX);
        let key = (at.plus(Span::days(days)), self.register.next);
        let Some(locked) = lock(table::EXCHANGE, &exchange_key(key), &exchange, ports) else { return false };
        let persons = entered.keys().copied().collect();
        let row = ExchangeRow { persons, packet, at, received, settled: received.is_some(), locked };
        self.register.restore_exchange(key, row.clone());
        turn.writes.push(Write::Exchange(key, Some(Box::new(row))));
        for (id, row) in entered {
            self.register.persons.insert(id, row.clone());
            turn.writes.push(Write::Person(id, Some(Box::new(row))));
        }
        true
    }

    /// The row of a person of whom there is one message more; `None` when it cannot be locked.
    fn met(
        &self,
        id: &Digest,
        person: &Person,
        exchange: &Exchange,
        (packet, at, terms): (Digest, Timestamp, Option<&InformsRow>),
        ports: Ports<'_>,
    ) -> Option<PersonRow> {
        let known = self.register.persons.get(id);
        let file = known.and_then(|row| open_person(id, row, ports));
        let asks = exchange.declared.message_type == REQUEST;
        let duty = if asks { Duty::Exempt } else { Duty::Open };
        let mut row = known.cloned().unwrap_or_else(|| PersonRow {
            since: at,
            duty,
            until: None,
            roles: Vec::new(),
            locked: Bytes(Vec::new()),
            agreed: Vec::new(),
        });
        add_terms(&mut row, terms);
        if known.is_some() && file.is_none() {
            // What does not open is not written over: there may be decisions in it.
            return Some(row);
        }
        let mut file = file.unwrap_or_else(|| PersonFile {
            kind: person.subject.kind.clone(),
            case: exchange.case.filter(|_| person.subject.scope == Scope::Case),
            details: Vec::new(),
            purposes: Vec::new(),
            decisions: Vec::new(),
        });
        self.add_details(&mut file, person, packet);
        let purpose = &exchange.declared.purpose;
        if !asks && !file.purposes.contains(purpose) {
            // Who was told of other purposes is to be told of this one (GDPR article 14(4)).
            if known.is_some() && matches!(row.duty, Duty::Informed | Duty::Exempt) {
                (row.duty, row.since, row.until) = (Duty::Open, at, None);
            }
            file.purposes.push(purpose.clone());
        }
        row.locked = lock(table::PERSON, &id.0, &file, ports)?;
        Some(row)
    }

    /// Adds what a packet says of a person; what it repeats is the latest again, what is in nothing any more goes.
    fn add_details(&self, file: &mut PersonFile, person: &Person, packet: Digest) {
        file.details.retain(|detail| detail.packets.iter().any(|one| self.register.packets.contains(one)));
        for detail in &person.details {
            let same = |one: &DetailRow| one.field == detail.field && one.text == *detail.text;
            let mut packets = Vec::new();
            if let Some(place) = file.details.iter().position(same) {
                packets = file.details.remove(place).packets;
                packets.truncate(PACKETS_MAX.saturating_sub(1));
            }
            packets.insert(0, packet);
            file.details.push(DetailRow {
                field: detail.field.clone(),
                text: detail.text.to_string(),
                packets,
            });
        }
        let beyond = file.details.len().saturating_sub(FILE_MAX);
        file.details.drain(..beyond);
    }

    /// A sent message has come to its end: it was exchanged, or there is nothing to keep. One whose verdict never came
    /// may have been.
    pub(crate) fn entered_ended(&mut self, row: &OutboxRow, turn: &mut Turn) {
        let waited = row.packet.and_then(|packet| self.register.waiting.remove(&packet));
        let Some((key, mut entered)) = waited else { return };
        if matches!(row.stage, Stage::Done | Stage::Expired) {
            entered.settled = true;
            if let Some(entry) = self.register.exchanges.get_mut(&key) {
                entry.settled = true;
            }
            turn.writes.push(Write::Exchange(key, Some(Box::new(entered))));
        } else {
            self.register.remove(key, turn);
            self.retention.rows_destroyed();
        }
    }

    /// Removes what is past its term, unless its body is still kept; called with every tick.
    pub(crate) fn purge_register(&mut self, passed: Timestamp, turn: &mut Turn) {
        let due = self.register.exchanges.iter().take_while(|((until, _), _)| *until <= passed);
        let gone = |entry: &Entry| entry.received.is_none_or(|position| !self.retention.keeps(position));
        let due: Vec<Key> =
            due.filter(|(_, entry)| gone(entry)).map(|(key, _)| *key).take(PURGE_MAX).collect();
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
        (row.duty, row.since, row.until, row.locked) = (duty, now, until, locked);
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
