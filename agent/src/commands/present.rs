//! What is in the store, as JSON: the answers of the control socket and the output of `--json`.

mod page;

use data_encoding::{BASE64, HEXLOWER};
use seinhuis_agent_core::rows::{InboxRow, OutboxRow, table};
use seinhuis_agent_core::{Held, MarkRow, Status, Track, Write};
use seinhuis_journal::{Stats, Store};
use seinhuis_shared::case::{CaseState, Stage};
use seinhuis_shared::cbor;
use seinhuis_shared::covenant::witnesses::party_witness;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::limits::NOTICES_MAX;
use seinhuis_shared::onward::Consent;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Rotation;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::origin_of;
use seinhuis_shared::wire::Notices;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::room::Standing;
use seinhuis_shell::standing::{CovenantView, OwnView, Waiting};
use serde_json::{Value, json};

pub(super) use self::page::good;
pub(crate) use self::page::{Page, received_back, received_page, sent_back, sent_page};
use super::case::{CaseView, DecidedView, PendingView, StatedView};
use super::key::{KeyView, RotatedView, TurningView};
use super::policy::PolicyView;
use super::request::ActText;
use crate::engine::{View, inbox_row, notices_row, outbox_row, provenance_row, release_row, store_complaint};
use crate::link::LinkStatus;
use seinhuis_agent_core::carrier::Carrier;

pub(super) fn rows(store: &dyn Store, of: u8, lines: u64) -> Result<Vec<Write>, Complaint> {
    let all = store.scan(of).map_err(|error| store_complaint(&error))?;
    let skip = all.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
    all.iter()
        .skip(skip)
        .map(|(key, value)| Write::read(of, key, value).map_err(|error| Complaint::bug(error.to_string())))
        .collect()
}

fn oins(all: &[Oin]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// A refusal's number with its name, or null for 0.
pub(crate) fn reason(outcome: u16) -> Value {
    if outcome == 0 {
        return Value::Null;
    }
    let slug = Refusal::from_number(outcome).map(Refusal::slug);
    json!({ "number": outcome, "reason": slug })
}

/// Where a receipt says the entries are in the log.
fn receipt(bytes: &[u8]) -> Value {
    match Receipt::parse(bytes) {
        Ok(receipt) => {
            let indexes: Vec<u64> = receipt.entries.iter().map(|proved| proved.index).collect();
            let log = origin_of(&receipt.checkpoint);
            json!({ "log": log, "entries": indexes, "bytes": bytes.len() })
        }
        Err(_) => Value::Null,
    }
}

/// How far a packet is at one recipient, with the place and time of the entry that says so.
fn reached(track: &Track, store: &dyn Store) -> Value {
    let found = track.steps.last().and_then(|step| {
        let notices: Notices = cbor::strict(&notices_row(store, step.row)?.notices, NOTICES_MAX).ok()?;
        let entry = Entry::parse(notices.entries.get(usize::from(step.place))?).ok()?;
        Some((origin_of(&notices.checkpoint).to_owned(), entry))
    });
    let (log, entry) = found.unzip();
    json!({
        "to": track.to.to_string(),
        "reached": track.reached().as_str(),
        "log": log,
        "entry": track.steps.last().map(|step| step.index),
        "at": entry.as_ref().map(|entry| entry.time.to_string()),
        "refusal": reason(entry.and_then(|entry| entry.reason).unwrap_or_default()),
    })
}

/// How far a packet is at all its recipients, in short: the one word for all, or a count for each.
fn summary(tracks: &[Track]) -> Option<String> {
    let mut counts = std::collections::BTreeMap::new();
    for track in tracks {
        *counts.entry(track.reached()).or_insert(0_usize) += 1;
    }
    let shown = counts.iter().map(|(reached, count)| match tracks.len() {
        1 => reached.to_string(),
        all => format!("{reached}:{count}/{all}"),
    });
    (!tracks.is_empty()).then(|| shown.collect::<Vec<_>>().join(","))
}

fn outgoing(position: u64, row: &OutboxRow, view: &View<'_>) -> Value {
    let store = view.store;
    let tracks = view.core.tracks(&row.msg_id);
    let release = release_row(store, &row.msg_id);
    json!({
        "position": position,
        "msg_id": row.msg_id.to_string(),
        "state": row.stage.as_str(),
        "flow": row.flow,
        "step": row.step,
        "case": row.case.map(|case| case.to_string()),
        "to": oins(&row.recipients),
        "covenant": row.covenant.to_string(),
        "created": row.created.to_string(),
        "expires": row.expires.to_string(),
        "decided": row.decided.map(|at| at.to_string()),
        "packet": row.packet.map(|digest| digest.to_string()),
        "bytes": row.size,
        "seq": row.seq,
        "refusal": reason(row.outcome),
        "receipt": receipt(&row.receipt),
        "reached": summary(tracks),
        "recipients": tracks.iter().map(|track| reached(track, store)).collect::<Vec<_>>(),
        "taken_back": view.core.take_back_row(position).map(|row| json!({
            "reason": row.reason,
            "since": row.since.to_string(),
            "done": row.done,
            "refusal": reason(row.refused),
        })),
        "release": release.map(|row| json!({
            "outcome": if row.approved { "approved" } else { "denied" },
            "role": row.role,
            "reason": row.reason,
            "at": row.at.to_string(),
        })),
    })
}

/// A message that waits for a person.
fn waiting(held: &Held) -> Value {
    json!({
        "msg_id": held.row.msg_id.to_string(),
        "state": held.row.stage.as_str(),
        "flow": held.row.flow,
        "type": held.message_type,
        "step": held.row.step,
        "level": held.level.as_str(),
        "categories": held.categories,
        "case": held.row.case.map(|case| case.to_string()),
        "to": oins(&held.row.recipients),
        "since": held.row.created.to_string(),
        "expires": held.row.expires.to_string(),
    })
}

/// The messages that wait for release by a person.
pub(super) fn held(view: &View<'_>) -> Value {
    view.core.held(view.vault.ports()).iter().map(waiting).collect()
}

/// One message that waits for release, with its body.
pub(super) fn held_body(view: &View<'_>, msg_id: MsgId) -> Result<Value, Complaint> {
    let ports = view.vault.ports();
    let found = view.core.held(ports).into_iter().find(|held| held.row.msg_id == msg_id);
    let both = found.and_then(|held| Some((held, view.core.held_body(&msg_id, ports)?)));
    let (held, body) =
        both.ok_or_else(|| Complaint::from_refusal(Refusal::NotHeld).about(&msg_id.to_string()))?;
    let mut value = waiting(&held);
    if let Some(object) = value.as_object_mut() {
        object.insert("body".into(), BASE64.encode(&body).into());
    }
    Ok(value)
}

/// The last messages of the outbox.
pub(super) fn outbox(view: &View<'_>, lines: u64) -> Result<Value, Complaint> {
    let rows = rows(view.store, table::OUTBOX, lines)?;
    let shown = rows.iter().filter_map(|write| {
        if let Write::Outbox(position, row) = write { Some(outgoing(*position, row, view)) } else { None }
    });
    Ok(shown.collect())
}

pub(super) fn no_such_message(id: &str) -> Complaint {
    Complaint::refused(
        Text::new(format!("Er is geen bericht {id}."), format!("There is no message {id}.")),
        Text::new("Kijk in de lijst: outbox list of inbox list.", "See the list: outbox list or inbox list."),
    )
}

/// The signing key and how it came to be.
pub(super) fn key(view: &View<'_>) -> Value {
    let keys = view.core.agreed().keys();
    let signer = view.core.signer(view.vault.ports()).public();
    let rotations = keys.of_party(view.core.oin()).filter_map(|one| {
        let verified = Rotation::verify(&one.rotation).ok()?;
        let rotation = verified.rotation();
        Some(RotatedView {
            at: one.at.to_string(),
            seq: rotation.seq,
            old: rotation.old.thumbprint().to_string(),
            new: rotation.new.thumbprint().to_string(),
        })
    });
    let at_hand = |new: &[u8]| view.vault.next().is_some_and(|next| next.public().to_bytes() == *new);
    json!(KeyView {
        key: HEXLOWER.encode(&signer.to_bytes()),
        thumbprint: signer.thumbprint().to_string(),
        given_up: keys.given_up(signer.thumbprint()).map(|at| at.to_string()),
        rotations: rotations.collect(),
        turning: view.core.turning().row().map(|row| TurningView {
            new: HEXLOWER.encode(&row.new),
            since: row.since.to_string(),
            urgent: row.urgent,
            at_hand: at_hand(&row.new),
            refused: row.refused,
        }),
        witness_key: view.vault.witness().map(|key| HEXLOWER.encode(&key.public().to_bytes())),
        witness_vkey: view.vault.witness().and_then(|key| {
            let key = party_witness(&view.core.oin(), &key.public().to_bytes());
            Some(key.ok()?.to_string())
        }),
    })
}

/// The trust policy of each covenant that is in force here and asks a quorum, as text.
pub(super) fn policies(view: &View<'_>) -> Value {
    let quorums = view.core.status(clock::now()).quorums;
    let of = |covenant: &Digest| {
        let text = String::from_utf8(view.core.witness_policy(covenant)?.to_bytes()).ok()?;
        let agreement = view.core.agreed().find(covenant).ok()?;
        let covenant = agreement.compiled().covenant();
        Some(PolicyView {
            covenant: agreement.compiled().hash().to_string(),
            id: covenant.id.clone(),
            version: covenant.version,
            policy: text,
        })
    };
    json!(quorums.iter().filter_map(|quorum| of(&quorum.covenant)).collect::<Vec<_>>())
}

/// One message of the outbox.
pub(crate) fn message(view: &View<'_>, msg_id: MsgId) -> Result<Value, Complaint> {
    let (position, _) = view.core.find(&msg_id).ok_or_else(|| no_such_message(&msg_id.to_string()))?;
    let row = outbox_row(view.store, position).ok_or_else(|| no_such_message(&msg_id.to_string()))?;
    Ok(outgoing(position, &row, view))
}

fn incoming(view: &View<'_>, position: u64, row: &InboxRow) -> Value {
    let mark = view.core.mark(position).cloned().unwrap_or_default();
    let (erased, consumed) = (view.core.erased(position), view.core.consumed_row(position));
    json!({
        "position": position,
        "msg_id": row.msg_id.to_string(),
        "state": if row.outcome == 0 { "stored" } else { "quarantined" },
        "refusal": reason(row.outcome),
        "from": row.sender.map(|oin| oin.to_string()),
        "flow": row.flow,
        "type": row.message_type,
        "step": row.step,
        "level": row.level,
        "case": row.case.map(|case| case.to_string()),
        "in_reply_to": row.in_reply_to.map(|id| id.to_string()),
        "covenant": row.covenant.map(|hash| hash.to_string()),
        "packet": row.packet.to_string(),
        "trace": row.trace.map(|trace| trace.to_string()),
        "sealed": row.issued.to_string(),
        "accepted": row.accepted.to_string(),
        "stored": row.stored.to_string(),
        "log": row.log(),
        "entry": row.index,
        "remark": row.remark.as_str(),
        "consumed": consumed.map(|row| row.since.to_string()),
        "consumed_log": consumed.filter(|row| row.entry.is_some()).map(|row| row.entry_origin.clone()),
        "consumed_entry": consumed.and_then(|row| row.entry),
        "consumed_refusal": reason(consumed.map_or(0, |row| row.refused)),
        "revised": revised(&mark),
        "revised_by": mark.corrected.iter().chain(&mark.withdrawn).map(|one| one.by.to_string()).collect::<Vec<_>>(),
        "revised_at": mark.withdrawn.as_ref().or(mark.corrected.last()).map(|one| one.at.to_string()),
        "effect": mark.effect.map(|number| if number == 0 { json!("applied") } else { reason(number) }),
        "retention_days": row.retention_days,
        "keep_until": view.core.keep_until(position).map(|at| at.to_string()),
        "erased": erased.map(|erased| erased.at.to_string()),
        "erased_why": erased.map(|erased| erased.ground.as_str()),
        "overwritten": erased.and_then(|erased| erased.overwritten).map(|at| at.to_string()),
        "destruction_confirmed_by": erased.and_then(|erased| erased.confirmation).map(|id| id.to_string()),
    })
}

/// What its sender said of a message later.
fn revised(mark: &MarkRow) -> Option<&'static str> {
    match (&mark.withdrawn, mark.corrected.is_empty()) {
        (Some(_), _) => Some("withdrawn"),
        (None, false) => Some("corrected"),
        (None, true) => None,
    }
}

/// The last messages of the inbox.
pub(super) fn inbox(view: &View<'_>, lines: u64) -> Result<Value, Complaint> {
    let rows = rows(view.store, table::INBOX, lines)?;
    let shown = rows.iter().filter_map(|write| {
        if let Write::Inbox(position, row) = write { Some(incoming(view, *position, row)) } else { None }
    });
    Ok(shown.collect())
}

/// One row of the inbox, by position or message id.
pub(super) fn find(view: &View<'_>, id: &str) -> Result<(u64, Box<InboxRow>), Complaint> {
    if let Ok(position) = id.parse() {
        let row = inbox_row(view.store, position).ok_or_else(|| no_such_message(id))?;
        return Ok((position, Box::new(row)));
    }
    let found = rows(view.store, table::INBOX, u64::MAX)?.into_iter().find_map(|write| {
        let Write::Inbox(position, row) = write else { return None };
        (row.msg_id.to_string() == id).then_some((position, row))
    });
    found.ok_or_else(|| no_such_message(id))
}

/// The consents of others that this organisation holds, and that are good now.
pub(super) fn consents(view: &View<'_>) -> Value {
    let shown = |consent: &Consent| {
        json!({
            "origin": consent.origin.to_string(),
            "packet": consent.packet.to_string(),
            "to": oins(&consent.recipients),
            "until": consent.until.to_string(),
            "at": consent.at.to_string(),
        })
    };
    view.core.consents(clock::now()).map(shown).collect()
}

/// The position of a message of the inbox, by that or by message id.
pub(super) fn position_of(view: &View<'_>, id: &str) -> Result<u64, Complaint> {
    find(view, id).map(|(position, _)| position)
}

/// One message of the inbox without its body.
pub(crate) fn received(view: &View<'_>, position: u64) -> Result<Value, Complaint> {
    find(view, &position.to_string()).map(|(position, row)| incoming(view, position, &row))
}

/// One message of the inbox with its body, by position or message id.
///
/// A body that its sender withdrew is shown to who asks for it in so many words only.
pub(super) fn read(view: &View<'_>, id: &str, withdrawn: bool) -> Result<Value, Complaint> {
    let (position, row) = find(view, id)?;
    let mut value = incoming(view, position, &row);
    if let Some(erased) = view.core.erased(position) {
        let (at, why) = (erased.at, erased.ground);
        return Err(Complaint::refused(
            Text::new(
                format!("De inhoud van dit bericht is gewist op {at} ({why})."),
                format!("The body of this message was erased at {at} ({why})."),
            ),
            Text::new(
                "De gegevens over het bericht staan in `inbox list`; de inhoud komt niet terug.",
                "What is known of the message is in `inbox list`; the body does not come back.",
            ),
        )
        .about(id));
    }
    if !withdrawn && view.core.mark(position).is_some_and(|mark| mark.withdrawn.is_some()) {
        return Err(Complaint::refused(
            Text::new(
                "De afzender heeft dit bericht ingetrokken; gebruik de inhoud niet meer.",
                "The sender withdrew this message; do not use its body any more.",
            ),
            Text::new(
                "Wie de inhoud toch moet zien, geeft --withdrawn op.",
                "Who has to see the body all the same adds --withdrawn.",
            ),
        )
        .about(id));
    }
    let said = provenance_row(view.store, position);
    if let (Some(object), Some(source)) = (value.as_object_mut(), view.core.source(&row, said.as_ref())) {
        object.insert("origin".into(), source.origin.to_string().into());
        object.insert("handling".into(), source.handling.as_str().into());
        object.insert("source".into(), said.and_then(|said| said.source).map(|it| it.to_string()).into());
    }
    if row.outcome == 0 {
        let body = view.body(position).map_err(|error| store_complaint(&error))?.ok_or_else(|| {
            Complaint::usage(
                Text::new(
                    "De inhoud is niet te openen met keys/store.key.",
                    "The body does not open with keys/store.key.",
                ),
                Text::new(
                    "Zet de sleutel terug die bij deze opslag hoort.",
                    "Put back the key that belongs to this store.",
                ),
            )
        })?;
        if let Some(object) = value.as_object_mut() {
            object.insert("media_type".into(), row.media_type.clone().into());
            object.insert("body".into(), BASE64.encode(&body).into());
        }
    }
    Ok(value)
}

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.to_string().into())
}

/// How the agent is doing.
pub(super) fn status(status: &Status, stats: &Stats, room: Standing, link: Option<&LinkStatus>) -> Value {
    json!({
        "running": link.is_some(),
        "link": link.map(|link| json!({
            "connected": status.connected,
            "since": time(link.connected),
            "transport": link.carrier.map(|carrier| match carrier {
                Carrier::Quic => "quic",
                Carrier::Tcp => "tcp",
            }),
            "quic_again": time(link.quic_again),
            "next_attempt": time(link.next_attempt),
            "attempts": link.attempts,
            "problem": link.problem.as_ref().map(|text| [text.nl.clone(), text.en.clone()]),
            "refusal": link.refusal.map(Refusal::number),
            "clock_ahead_ms": link.clock_ahead,
            "broker": link.software,
        })),
        "outbox": {
            "drafts": status.drafts, "held": status.held, "denied": status.denied, "queued": status.queued, "deferred": status.deferred,
            "in_flight": status.in_flight, "accepted": status.accepted, "refused": status.refused,
            "expired": status.expired, "oldest": time(status.oldest), "percent_full": status.outbox_percent,
        },
        "room": room.to_json(),
        "inbox": { "stored": status.received, "quarantined": status.quarantined },
        "bodies": {
            "kept": status.bodies_kept, "erased": status.bodies_erased, "held_back": status.bodies_held_back,
        },
        "ldv": { "waiting": status.records, "oldest": time(status.records_since) },
        "corrections": { "open": status.corrections_open, "refused": status.corrections_refused },
        "log": {
            "origin": status.origin,
            "size": status.pin.map(|pin| pin.size),
            "root": status.pin.map(|pin| pin.root.to_string()),
            "forked": status.pin.is_some_and(|pin| pin.forked),
            "caught": status.caught,
            "unproven": status.unproven,
            "quorums": status.quorums.iter().map(|quorum| json!({
                "covenant": quorum.covenant.to_string(), "wanted": quorum.wanted, "stale": quorum.stale,
                "size": quorum.newest.map(|(size, _)| size),
                "at": time(quorum.newest.map(|(_, at)| at)),
            })).collect::<Vec<_>>(),
        },
        "prekeys": status.bundle.map(|(seq, published, until)| json!({
            "bundle": seq, "published": published, "until": until.to_string(),
        })),
        "partners": status.peers.iter().map(|peer| json!({
            "oin": peer.oin.to_string(), "usable": peer.usable, "until": time(peer.until),
        })).collect::<Vec<_>>(),
        "covenants": status.covenants.iter().map(|(hash, id, version, state)| json!({
            "hash": hash.to_string(), "id": id, "version": version, "state": state.as_str(),
        })).collect::<Vec<_>>(),
        "alarms": status.alarms.iter().map(|alarm| json!({
            "kind": alarm.kind.as_str(), "at": alarm.at.to_string(), "detail": alarm.detail,
        })).collect::<Vec<_>>(),
        "store": { "turns": stats.turns, "syncs": stats.syncs, "disk_bytes": stats.disk_bytes },
    })
}

/// Every covenant with how it stands, and what this organisation said that the broker has not logged yet.
pub(super) fn covenants(view: &View<'_>) -> Value {
    let (agreed, now) = (view.core.agreed(), clock::now());
    let all = agreed.all().map(|one| {
        let hash = one.compiled().hash();
        OwnView {
            covenant: CovenantView::new(one, now),
            waiting: agreed.word(&hash).map(|row| Waiting {
                word: row.word.as_str().to_owned(),
                since: row.since.to_string(),
                refused: row.refused,
            }),
            proposal: agreed.proposal(&hash).map(|row| Waiting {
                word: "propose".to_owned(),
                since: row.since.to_string(),
                refused: row.refused,
            }),
        }
    });
    json!(all.collect::<Vec<_>>())
}

/// One covenant in canonical form.
pub(super) fn document(view: &View<'_>, hash: Digest) -> Result<Value, Complaint> {
    let agreement = view.core.agreed().find(&hash).map_err(Complaint::from_refusal)?;
    Ok(Value::String(BASE64.encode(&agreement.compiled().covenant().to_bytes())))
}

/// Every case that is known, and those this organisation decided about.
pub(super) fn cases(view: &View<'_>) -> Value {
    let cases = view.core.agreed().cases();
    let known = cases.all().map(CaseState::case).chain(cases.acts().map(|(case, _)| *case));
    let known: std::collections::BTreeSet<CaseId> = known.collect();
    json!(known.into_iter().map(|case| case_view(view, case)).collect::<Vec<_>>())
}

/// How one case stands.
pub(crate) fn case(view: &View<'_>, case: CaseId) -> Value {
    json!(case_view(view, case))
}

fn case_view(view: &View<'_>, case: CaseId) -> CaseView {
    let cases = view.core.agreed().cases();
    let state = cases.state(&case);
    let decisions = state.map(|state| {
        let decided = |event: &seinhuis_shared::case::Event| DecidedView {
            at: event.at.to_string(),
            party: event.party.to_string(),
            act: ActText::from(&event.act),
        };
        state.events().map(decided).collect()
    });
    let conditions = state.map(|state| {
        let stated = |(code, by): (&str, Vec<Oin>)| StatedView { code: code.to_owned(), by: oins(&by) };
        state.now().conditions().map(stated).collect()
    });
    CaseView {
        case: case.to_string(),
        covenant: state.map(|state| state.covenant().to_owned()),
        state: state.map(|state| match state.now().stage() {
            Stage::In(step) => step.to_string(),
            Stage::Closed => "closed".to_owned(),
        }),
        up_to_date: cases.is_settled(&case),
        connected: view.core.is_connected(),
        conditions: conditions.unwrap_or_default(),
        decisions: decisions.unwrap_or_default(),
        waiting: cases.act(&case).map(|row| PendingView {
            act: ActText::from(&row.act),
            since: row.since.to_string(),
            refused: row.refused,
        }),
    }
}
