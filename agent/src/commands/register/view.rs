//! The register of data subjects as JSON: persons, whether they were told, and what was exchanged about them.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;
use seinhuis_agent_core::register::{Key, Known, open_exchange, open_person};
use seinhuis_agent_core::rows::{exchange_key, table};
use seinhuis_agent_core::{Duty, Exchange, ExchangeRow, PersonFile, Stage, Write};
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::schema::normal;
use seinhuis_shared::ids::{CaseId, Digest, Oin};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};

use super::terms::Terms;
use crate::commands::{correct, present, receipt};
use crate::engine::{View, inbox_row, outbox_row, store_complaint};

/// Within how long after the first message about a person that person has to be told: a month at the latest (GDPR article
/// 14(3)(a)), and 28 days are never longer than that.
const TELL_WITHIN: Span = Span::days(28);

/// Until when a person has to be told; none when that is not to be done any more.
fn due(known: &Known<'_>) -> Option<Timestamp> {
    match known.row.duty {
        Duty::Open => Some(known.row.since.max(known.first).plus(TELL_WITHIN)),
        Duty::Postponed => known.row.until,
        Duty::Informed | Duty::Exempt => None,
    }
}

/// How many persons there are, and by who tells: how many are to be told, and of how many it is too late.
pub(crate) fn status(view: &View<'_>) -> Value {
    let now = clock::now();
    let mut all = 0_u64;
    let mut by_terms: BTreeMap<Terms, (u64, u64)> = BTreeMap::new();
    for known in view.core.persons() {
        all = all.saturating_add(1);
        let Some(until) = due(&known) else { continue };
        let (open, late) = by_terms.entry(Terms::new(known.row)).or_default();
        *open = open.saturating_add(1);
        *late = late.saturating_add(u64::from(until < now));
    }
    let due = by_terms.into_iter().map(|(terms, (open, late))| {
        let mut row = json!({ "to_tell": open, "overdue": late });
        terms.put(&mut row);
        row
    });
    json!({ "persons": all, "due": due.collect::<Vec<_>>() })
}

/// Those that are to be told, or all; who waits longest first.
pub(crate) fn persons(view: &View<'_>, all: bool) -> Value {
    let mut rows: Vec<_> = view.core.persons().filter(|known| all || due(known).is_some()).collect();
    rows.sort_by_key(|known| (due(known).is_none(), due(known), known.first));
    rows.into_iter().map(|known| person(view, known)).collect()
}

/// The persons of whom all these fields have these values, as far as the register knows; in messages of this case.
///
/// # Errors
/// Nothing to search for, a field that nobody has, a row that does not open: then nobody can say that there is nobody.
pub(crate) fn search(
    view: &View<'_>,
    fields: &BTreeMap<String, String>,
    case: Option<CaseId>,
) -> Result<Value, Complaint> {
    if fields.is_empty() && case.is_none() {
        return Err(nothing());
    }
    let (mut found, mut names) = (Vec::new(), BTreeSet::new());
    for known in view.core.persons() {
        let details = said_of(view, known)?;
        names.extend(details.iter().map(|(field, _)| field.clone()));
        let fits = |(field, value): (&String, &String)| {
            details.iter().any(|(own, text)| own == field && normal(text) == normal(value))
        };
        if fields.iter().all(fits) && is_in_case(view, known.id, case)? {
            found.push(person(view, known));
        }
    }
    match fields.keys().find(|field| !names.contains(*field)) {
        Some(field) => Err(no_field(field, &names)),
        None => Ok(found.into()),
    }
}

/// The fields and values that are known of a person.
fn said_of(view: &View<'_>, known: Known<'_>) -> Result<Vec<(String, String)>, Complaint> {
    let file = open_person(known.id, known.row, view.vault.ports()).ok_or_else(unreadable)?;
    let details = file.details.into_iter().filter(|detail| view.core.counts(detail));
    Ok(details.map(|detail| (detail.field, detail.text)).collect())
}

/// The fields that are known of anybody: what can be searched by.
///
/// # Errors
/// A row that does not open.
pub(crate) fn fields(view: &View<'_>) -> Result<BTreeSet<String>, Complaint> {
    let mut names = BTreeSet::new();
    for known in view.core.persons() {
        names.extend(said_of(view, known)?.into_iter().map(|(field, _)| field));
    }
    Ok(names)
}

fn is_in_case(view: &View<'_>, id: &Digest, case: Option<CaseId>) -> Result<bool, Complaint> {
    let Some(case) = case else { return Ok(true) };
    for key in view.core.exchanges_about(id) {
        if opened(view, key)?.1.case == Some(case) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn nothing() -> Complaint {
    Complaint::usage(
        Text::new("Er is niets opgegeven om op te zoeken.", "There is nothing to search for."),
        Text::new(
            "Geef velden of een zaak op; alles ziet u met `register list --all`.",
            "Give fields or a case; `register list --all` shows everybody.",
        ),
    )
}

fn no_field(field: &str, names: &BTreeSet<String>) -> Complaint {
    let known = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Complaint::usage(
        Text::new(
            format!("Van niemand in het register is een veld {field:?} bekend."),
            format!("Of nobody in the register a field {field:?} is known."),
        ),
        Text::new(format!("Bekend zijn: {known}."), format!("Known are: {known}.")),
    )
}

fn person(view: &View<'_>, known: Known<'_>) -> Value {
    let (due, now) = (due(&known), clock::now());
    let file = open_person(known.id, known.row, view.vault.ports());
    let mut row = json!({
        "person": known.id.to_string(),
        "first": known.first.to_string(),
        "messages": known.exchanges,
        "duty": known.row.duty.as_str(),
        "due": due.map(|at| at.to_string()),
        "overdue": due.is_some_and(|at| at < now),
        "readable": file.is_some(),
        "case": file.as_ref().and_then(|file| file.case).map(|case| case.to_string()),
        "details": file.as_ref().map(|file| details(view, file)),
        "decisions": file.as_ref().map(decisions),
    });
    Terms::new(known.row).put(&mut row);
    row
}

/// What is known of a person, the latest last.
fn details(view: &View<'_>, file: &PersonFile) -> Vec<[String; 2]> {
    let counting = file.details.iter().filter(|detail| view.core.counts(detail));
    counting.map(|detail| [printable(&detail.field), printable(&detail.text)]).collect()
}

/// What partners wrote, without what would do something to a terminal or a letter.
fn printable(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn decisions(file: &PersonFile) -> Vec<Value> {
    let of = |one: &seinhuis_agent_core::DutyRow| {
        json!({ "duty": one.duty.as_str(), "until": one.until.map(|at| at.to_string()), "role": one.role,
            "reason": one.reason, "at": one.at.to_string() })
    };
    file.decisions.iter().map(of).collect()
}

/// These persons, and every message about them from `since` on, oldest first; with proofs where they are wanted.
///
/// # Errors
/// A person who is not in the register; a row that does not open; the store's.
pub(crate) fn of(
    view: &View<'_>,
    wanted: &[Digest],
    since: Timestamp,
    proofs: bool,
) -> Result<Value, Complaint> {
    let mut rows = Vec::new();
    let mut keys = BTreeSet::new();
    for id in wanted {
        let known = view.core.person(id).ok_or_else(|| nobody(id))?;
        rows.push(person(view, known));
        keys.extend(view.core.exchanges_about(id));
    }
    let mut corrections: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in correct::list(view, u64::MAX, false)?.as_array().into_iter().flatten() {
        let about = row["about"].as_str().unwrap_or_default().to_owned();
        corrections.entry(about).or_default().push(row.clone());
    }
    let mut messages = Vec::new();
    for key in keys {
        let (row, one) = opened(view, key)?;
        if row.at < since {
            continue;
        }
        let Some(mut message) = exchange(view, wanted, (&row, &one), proofs)? else { continue };
        message["corrections"] = corrections.remove(&one.msg_id.to_string()).unwrap_or_default().into();
        messages.push(message);
    }
    messages.sort_by_key(|one| one["at"].as_str().unwrap_or_default().to_owned());
    Ok(
        json!({ "persons": rows, "since": since.to_string(), "asked": clock::now().to_string(), "messages": messages }),
    )
}

fn opened(view: &View<'_>, key: Key) -> Result<(ExchangeRow, Exchange), Complaint> {
    let bytes = exchange_key(key);
    let value = view.store.get(table::EXCHANGE, &bytes).map_err(|error| store_complaint(&error))?;
    let read = value.and_then(|value| Write::read(table::EXCHANGE, &bytes, &value).ok());
    let Some(Write::Exchange(_, Some(row))) = read else { return Err(unreadable()) };
    let exchange = open_exchange(key, &row, view.vault.ports()).ok_or_else(unreadable)?;
    Ok((*row, exchange))
}

fn nobody(id: &Digest) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Persoon {id} staat niet in het register."),
            format!("Person {id} is not in the register."),
        ),
        Text::new("Zoek met `register search`.", "Search with `register search`."),
    )
}

fn unreadable() -> Complaint {
    Complaint::usage(
        Text::new(
            "Een regel van het register is niet te openen met keys/store.key.",
            "A row of the register does not open with keys/store.key.",
        ),
        Text::new(
            "Zet de sleutel terug die bij deze opslag hoort: zonder die regel is het antwoord niet volledig.",
            "Put back the key that belongs to this store: without that row the answer is not complete.",
        ),
    )
}

/// A message about persons; none whose row is gone.
fn exchange(
    view: &View<'_>,
    wanted: &[Digest],
    (row, one): (&ExchangeRow, &Exchange),
    proofs: bool,
) -> Result<Option<Value>, Complaint> {
    let (state, proof) = if let Some(position) = row.received {
        let Some(row) = inbox_row(view.store, position) else { return Ok(None) };
        (present::received(view, position)?, json!(BASE64.encode(&row.receipt.0)))
    } else {
        let sent = view.core.find(&one.msg_id);
        let Some(row) = sent.and_then(|(position, _)| outbox_row(view.store, position)) else {
            return Ok(None);
        };
        let proof =
            if proofs && row.stage == Stage::Done { receipt::file(view, one.msg_id)? } else { Value::Null };
        (present::message(view, one.msg_id)?, proof)
    };
    let places = one.places.iter().filter(|place| wanted.contains(&place.person));
    let mut value = json!({
        "msg_id": one.msg_id.to_string(),
        "direction": if row.received.is_some() { "received" } else { "sent" },
        "position": row.received,
        "at": row.at.to_string(),
        "case": one.case.map(|case| case.to_string()),
        "covenant": one.covenant.to_string(),
        "level": one.declared.level.to_string(),
        "step": one.declared.step.to_string(),
        "places": places.map(|place| json!({ "at": place.at, "fields": place.fields })).collect::<Vec<_>>(),
        "state": state,
        "proof": Some(proof).filter(|_| proofs),
    });
    if let (Some(said), Some(object)) = (words(view, one), value.as_object_mut()) {
        object.extend(said);
    }
    Ok(Some(value))
}

/// What the covenant calls what is in a message.
fn words(view: &View<'_>, one: &Exchange) -> Option<serde_json::Map<String, Value>> {
    let compiled = view.core.agreed().find(&one.covenant).ok()?.compiled();
    let covenant = compiled.covenant();
    let text = |code: &str, found: Option<(&str, &str)>| {
        let (nl, en) = found.unwrap_or((code, code));
        json!({ "code": code, "nl": nl, "en": en })
    };
    let clause = |code: &str, all: &[seinhuis_shared::covenant::Clause]| {
        let found = all.iter().find(|clause| clause.code == code);
        text(code, found.map(|clause| (clause.nl.as_str(), clause.en.as_str())))
    };
    let category = |code: &String| {
        let found = covenant.categories.iter().find(|one| one.code == *code);
        text(code, found.map(|one| (one.nl.as_str(), one.en.as_str())))
    };
    let declared = &one.declared;
    let kind = covenant.types.iter().find(|kind| kind.code == declared.message_type);
    let flow = compiled.flow(&one.flow);
    let value = json!({
        "title": covenant.title,
        "contact": covenant.contact,
        "flow": text(&one.flow, flow.map(|flow| (flow.nl.as_str(), flow.en.as_str()))),
        "type": text(&declared.message_type, kind.map(|kind| (kind.nl.as_str(), kind.en.as_str()))),
        "categories": declared.categories.iter().map(category).collect::<Vec<_>>(),
        "purpose": clause(&declared.purpose, &covenant.purposes),
        "basis": clause(&declared.basis, &covenant.bases),
        "with": one.others.iter().map(|oin| party(compiled, oin)).collect::<Vec<_>>(),
        "retention": flow.map(|flow| flow.retention.clone()),
    });
    if let Value::Object(object) = value { Some(object) } else { None }
}

fn party(compiled: &Compiled, oin: &Oin) -> Value {
    let party = compiled.covenant().parties.iter().find(|party| party.oin == *oin);
    json!({ "oin": oin.to_string(), "name": party.map(|party| party.name.clone()) })
}
