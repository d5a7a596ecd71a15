//! The register of data subjects as JSON: persons, whether they were told, and what was exchanged about them.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;
use seinhuis_agent_core::register::{open_exchange, open_person};
use seinhuis_agent_core::rows::table;
use seinhuis_agent_core::{Duty, Exchange, PersonFile, PersonRow, Stage, Write};
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::schema::normal;
use seinhuis_shared::ids::{CaseId, Digest, Oin};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};

use crate::commands::{present, receipt};
use crate::engine::{View, inbox_row, outbox_row, store_complaint};

/// Within how long after the first message about a person that person has to be told: a month at the latest (GDPR article
/// 14(3)(a)), and 28 days are never longer than that.
const TELL_WITHIN: Span = Span::days(28);

/// Until when a person has to be told; none when that is not to be done any more.
pub(super) fn due(row: &PersonRow) -> Option<Timestamp> {
    match row.duty {
        Duty::Open => Some(row.first.plus(TELL_WITHIN)),
        Duty::Postponed => row.until,
        Duty::Informed | Duty::Exempt => None,
    }
}

/// How many persons there are, how many of them are to be told, and of how many it is too late.
pub(crate) fn status(view: &View<'_>) -> Value {
    let now = clock::now();
    let due: Vec<_> = view.core.persons().map(|(_, row)| due(row)).collect();
    let open = due.iter().flatten();
    json!({
        "persons": due.len(),
        "to_tell": open.clone().count(),
        "overdue": open.filter(|until| **until < now).count(),
        "own_roles": own_roles(view),
    })
}

/// The roles of this organisation under the covenants it accepted.
fn own_roles(view: &View<'_>) -> BTreeSet<String> {
    let (own, now) = (view.core.oin(), clock::now());
    let roles = view.core.agreed().mine().filter_map(|one| one.compiled().role_at(own, now));
    roles.map(|role| role.to_string()).collect()
}

/// Those that are to be told, or all; who waits longest first.
pub(crate) fn persons(view: &View<'_>, all: bool) -> Value {
    let mut rows: Vec<_> = view.core.persons().filter(|(_, row)| all || due(row).is_some()).collect();
    rows.sort_by_key(|(_, row)| (due(row).is_none(), due(row), row.first));
    rows.into_iter().map(|(id, row)| person(view, id, row)).collect()
}

/// The persons of whom all these fields have these values, as far as the register knows.
pub(crate) fn search(view: &View<'_>, fields: &BTreeMap<String, String>, case: Option<CaseId>) -> Value {
    let found = |(id, row): (&Digest, &PersonRow)| {
        let file = open_person(id, row, view.vault.ports())?;
        let fits = |(field, value): (&String, &String)| {
            file.details.iter().any(|(own, text)| own == field && normal(text) == normal(value))
        };
        let meant = fields.iter().all(fits) && (case.is_none() || file.case == case);
        meant.then(|| shown(view, id, row, Some(&file)))
    };
    view.core.persons().filter_map(found).collect()
}

fn person(view: &View<'_>, id: &Digest, row: &PersonRow) -> Value {
    shown(view, id, row, open_person(id, row, view.vault.ports()).as_ref())
}

fn shown(view: &View<'_>, id: &Digest, row: &PersonRow, file: Option<&PersonFile>) -> Value {
    let (due, now) = (due(row), clock::now());
    let decisions = file.map(|file| {
        let of = |one: &seinhuis_agent_core::DutyRow| {
            json!({ "duty": one.duty.as_str(), "until": one.until.map(|at| at.to_string()), "role": one.role,
                "reason": one.reason, "at": one.at.to_string() })
        };
        file.decisions.iter().map(of).collect::<Vec<_>>()
    });
    json!({
        "person": id.to_string(),
        "first": row.first.to_string(),
        "messages": row.exchanges,
        "duty": row.duty.as_str(),
        "due": due.map(|at| at.to_string()),
        "overdue": due.is_some_and(|at| at < now),
        "own_roles": own_roles(view),
        "readable": file.is_some(),
        "case": file.and_then(|file| file.case).map(|case| case.to_string()),
        "details": file.map(|file| file.details.clone()),
        "decisions": decisions,
    })
}

/// These persons, and every message about them from `since` on, oldest first; with proofs where they are wanted.
///
/// # Errors
/// A person who is not in the register; the store's.
pub(crate) fn of(
    view: &View<'_>,
    wanted: &[Digest],
    since: Timestamp,
    proofs: bool,
) -> Result<Value, Complaint> {
    let mut rows = Vec::new();
    for id in wanted {
        let found = view.core.persons().find(|(known, _)| *known == id);
        let (id, row) = found.ok_or_else(|| nobody(id))?;
        rows.push(person(view, id, row));
    }
    let mut exchanges = Vec::new();
    for (key, value) in view.store.scan(table::EXCHANGE).map_err(|error| store_complaint(&error))? {
        let Ok(Write::Exchange(key, Some(row))) = Write::read(table::EXCHANGE, &key, &value) else {
            continue;
        };
        if !row.settled || !row.persons.iter().any(|person| wanted.contains(person)) {
            continue;
        }
        let opened = open_exchange(key, &row, view.vault.ports()).ok_or_else(unreadable)?;
        if opened.at >= since {
            exchanges.push(opened);
        }
    }
    exchanges.sort_by_key(|one| (one.at, one.msg_id));
    let mut messages = Vec::new();
    for one in &exchanges {
        messages.extend(exchange(view, wanted, one, proofs)?);
    }
    Ok(
        json!({ "persons": rows, "since": since.to_string(), "asked": clock::now().to_string(), "messages": messages }),
    )
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

/// A message about persons; none that was sent and is not accepted.
fn exchange(
    view: &View<'_>,
    wanted: &[Digest],
    one: &Exchange,
    proofs: bool,
) -> Result<Option<Value>, Complaint> {
    let (state, proof) = if let Some(position) = one.received {
        let Some(row) = inbox_row(view.store, position) else { return Ok(None) };
        (present::received(view, position)?, json!(BASE64.encode(&row.receipt.0)))
    } else {
        let sent = view.core.find(&one.msg_id);
        let row = sent.and_then(|(position, _)| outbox_row(view.store, position));
        if row.is_none_or(|row| row.stage != Stage::Done) {
            return Ok(None);
        }
        let proof = if proofs { receipt::file(view, one.msg_id)? } else { Value::Null };
        (present::message(view, one.msg_id)?, proof)
    };
    let places = one.places.iter().filter(|(id, _)| wanted.contains(id));
    let mut value = json!({
        "msg_id": one.msg_id.to_string(),
        "direction": if one.received.is_some() { "received" } else { "sent" },
        "position": one.received,
        "at": one.at.to_string(),
        "case": one.case.map(|case| case.to_string()),
        "covenant": one.covenant.to_string(),
        "level": one.declared.level.to_string(),
        "step": one.declared.step.to_string(),
        "places": places.map(|(_, at)| at.clone()).collect::<Vec<_>>(),
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
