//! Outgoing messages: kept until a verdict is proved, submitted in order, with the same bytes every time.

mod release;
mod room;
mod seal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::Declared;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::limits::BODY_MAX;
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::receipt::{ReceiptError, Submitted};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{Deferred, Verdict};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use zeroize::Zeroizing;

use crate::engine::Core;
use crate::minimise::{PushRequest, Rejection, prepare};
use crate::ports::Ports;
use crate::rows::{AlarmKind, ChainRow, OutboxRow, ReleaseRow, Stage, Write, position_key, table};
use crate::turn::{Event, Pushed, Reply, Send, Turn};

pub(crate) use release::plain;
pub use release::{HELD_BYTES_MAX, HELD_MAX, Held, REASON_MAX, Release};
pub use room::{OUTBOX_BYTES_MAX, OUTBOX_MAX};
pub(crate) use room::{Room, Totals};

/// Most packets submitted and not yet answered.
pub const WINDOW_PACKETS: usize = 512;
/// Most bytes submitted and not yet answered.
pub const WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// Most bytes of drafts that wait for prekeys.
const DRAFT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a packet waits whose verdict was not proved, before the broker is asked again.
const DISPUTE_WAIT: Span = Span::minutes(10);
/// How an item ends whose time is over.
const EXPIRED: (Stage, u16) = (Stage::Expired, Refusal::Expired.number());
/// Longest wait a broker can impose.
const DEFER_MAX: Span = Span::minutes(10);

/// What a draft keeps besides its row: `[declared, in_reply_to, trace, provenance, body]`.
#[derive(Serialize_tuple, Deserialize_tuple)]
struct Draft {
    declared: Declared,
    in_reply_to: Option<MsgId>,
    trace: TraceId,
    provenance: Provenance,
    body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    row: OutboxRow,
    /// The locked draft, while there is one.
    draft: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    position: u64,
    stage: Stage,
    fingerprint: Digest,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) next: u64,
    open: BTreeMap<u64, Item>,
    known: BTreeMap<MsgId, Known>,
    by_packet: BTreeMap<Digest, u64>,
    chains: BTreeMap<String, ChainRow>,
    drafts: BTreeSet<u64>,
    /// What waits for a person.
    unreleased: BTreeSet<u64>,
    held_bytes: usize,
    /// What a person released.
    approved: BTreeSet<MsgId>,
    /// Recipients per flow that a waiting draft keeps from being overtaken.
    held: BTreeMap<(String, Oin), usize>,
    draft_bytes: usize,
    sealed_bytes: u64,
    /// What may wait.
    pub(crate) most: Room,
    ready: BTreeSet<u64>,
    deferred: BTreeMap<u64, Timestamp>,
    /// The deferred again, by the instant at which their turn comes.
    due: BTreeSet<(Timestamp, u64)>,
    /// The deferred again, by whom they keep others from overtaking.
    behind: BTreeMap<(String, Oin), BTreeSet<u64>>,
    flying: BTreeSet<u64>,
    flying_bytes: u64,
    /// Sealed packets that the broker may have seen.
    shown: BTreeSet<u64>,
    /// Packets sealed in this turn, at hand for submission.
    fresh: BTreeMap<Digest, Arc<[u8]>>,
    totals: Totals,
}

impl Outbox {
    pub(crate) fn find(&self, msg_id: &MsgId) -> Option<(u64, Stage)> {
        self.known.get(msg_id).map(|known| (known.position, known.stage))
    }

    /// The row of a message that is not at its end.
    pub(crate) fn open_row(&self, position: u64) -> Option<&OutboxRow> {
        self.open.get(&position).map(|item| &item.row)
    }

    /// The cases of the drafts, and of what waits for a person: it is judged by how its case stands.
    pub(crate) fn draft_cases(&self) -> impl Iterator<Item = CaseId> {
        self.drafts.union(&self.unreleased).filter_map(|position| self.open.get(position)?.row.case)
    }

    /// Whether nothing is sealed that has no verdict.
    pub(crate) fn has_nothing_sealed(&self) -> bool {
        self.open.len() == self.drafts.len().saturating_add(self.unreleased.len())
    }

    /// Whether the drafts open with the store key that is lent; they were all locked with the same one.
    pub(crate) fn drafts_open(&self, ports: Ports<'_>) -> bool {
        let locked = self.open.iter().find_map(|(at, item)| Some((*at, item.draft.as_deref()?)));
        locked.is_none_or(|(at, draft)| open_draft(at, draft, ports).is_some())
    }

    pub(crate) fn restore_row(&mut self, position: u64, mut row: OutboxRow) {
        self.next = self.next.max(position.saturating_add(1));
        let known = Known { position, stage: row.stage, fingerprint: row.fingerprint };
        self.known.insert(row.msg_id, known);
        match row.stage {
            Stage::Done => self.totals.done = self.totals.done.saturating_add(1),
            Stage::Refused => self.totals.refused = self.totals.refused.saturating_add(1),
            Stage::Expired => self.totals.expired = self.totals.expired.saturating_add(1),
            Stage::Denied => self.totals.denied = self.totals.denied.saturating_add(1),
            Stage::Draft | Stage::Sealed | Stage::Held => {
                row.receipt = Bytes::default();
                if row.stage == Stage::Sealed {
                    self.shown.insert(position);
                }
                self.insert(position, Item { row, draft: None });
            }
        }
    }

    pub(crate) fn restore_draft(&mut self, position: u64, draft: Vec<u8>) {
        if let Some(item) = self.open.get_mut(&position) {
            let bytes =
                if item.row.stage == Stage::Held { &mut self.held_bytes } else { &mut self.draft_bytes };
            *bytes = bytes.saturating_add(draft.len());
            item.draft = Some(draft);
        }
    }

    pub(crate) fn restore_release(&mut self, msg_id: MsgId, row: &ReleaseRow) {
        if row.approved {
            self.approved.insert(msg_id);
        }
    }

    pub(crate) fn restore_chain(&mut self, flow: String, chain: ChainRow) {
        self.chains.insert(flow, chain);
    }

    fn insert(&mut self, position: u64, item: Item) {
        if item.row.stage == Stage::Draft {
            self.drafts.insert(position);
            self.draft_bytes = self.draft_bytes.saturating_add(item.draft.as_ref().map_or(0, Vec::len));
            for oin in &item.row.recipients {
                let held = self.held.entry((item.row.flow.clone(), *oin)).or_default();
                *held = held.saturating_add(1);
            }
        } else if item.row.stage == Stage::Held {
            self.unreleased.insert(position);
            self.held_bytes = self.held_bytes.saturating_add(item.draft.as_ref().map_or(0, Vec::len));
        } else if let Some(packet) = item.row.packet {
            self.by_packet.insert(packet, position);
            self.ready.insert(position);
            self.sealed_bytes = self.sealed_bytes.saturating_add(item.row.size);
        }
        self.open.insert(position, item);
    }

    /// Takes an item out of every list.
    fn take(&mut self, position: u64) -> Option<Item> {
        let item = self.open.remove(&position)?;
        if self.drafts.remove(&position) {
            self.draft_bytes = self.draft_bytes.saturating_sub(item.draft.as_ref().map_or(0, Vec::len));
            for oin in &item.row.recipients {
                let key = (item.row.flow.clone(), *oin);
                let left = self.held.get(&key).map_or(0, |held| held.saturating_sub(1));
                if left == 0 {
                    self.held.remove(&key);
                } else {
                    self.held.insert(key, left);
                }
            }
        }
        if self.unreleased.remove(&position) {
            self.held_bytes = self.held_bytes.saturating_sub(item.draft.as_ref().map_or(0, Vec::len));
        }
        if let Some(packet) = item.row.packet {
            self.by_packet.remove(&packet);
            self.sealed_bytes = self.sealed_bytes.saturating_sub(item.row.size);
        }
        self.ready.remove(&position);
        self.shown.remove(&position);
        self.undefer(position, &item.row);
        self.land(position, item.row.size);
        Some(item)
    }

    fn defer(&mut self, position: u64, until: Timestamp) {
        let Some(item) = self.open.get(&position) else { return };
        self.ready.remove(&position);
        self.deferred.insert(position, until);
        self.due.insert((until, position));
        for oin in &item.row.recipients {
            self.behind.entry((item.row.flow.clone(), *oin)).or_default().insert(position);
        }
    }

    fn undefer(&mut self, position: u64, row: &OutboxRow) {
        let Some(until) = self.deferred.remove(&position) else { return };
        self.due.remove(&(until, position));
        for oin in &row.recipients {
            let key = (row.flow.clone(), *oin);
            if let Some(positions) = self.behind.get_mut(&key) {
                positions.remove(&position);
                if positions.is_empty() {
                    self.behind.remove(&key);
                }
            }
        }
    }

    /// Until when an earlier, deferred packet to one of the same recipients keeps this one waiting.
    fn waits_behind(&self, position: u64, row: &OutboxRow) -> Option<Timestamp> {
        let before = |oin: &Oin| {
            let positions = self.behind.get(&(row.flow.clone(), *oin))?;
            let earlier = positions.range(..position).next_back()?;
            self.deferred.get(earlier).copied()
        };
        row.recipients.iter().filter_map(before).max()
    }

    fn land(&mut self, position: u64, size: u64) {
        if self.flying.remove(&position) {
            self.flying_bytes = self.flying_bytes.saturating_sub(size);
        }
    }

    /// The session is over: everything not decided is to be submitted again, in order.
    pub(crate) fn disconnected(&mut self) {
        self.flying_bytes = 0;
        self.ready.append(&mut self.flying);
        self.fresh.clear();
    }

    /// One whose wait is over. What seems to wait for longer than anything does was put off by a clock that was ahead.
    fn due(&self, now: Timestamp) -> Option<u64> {
        let over = self.due.first().filter(|(until, _)| *until <= now);
        let ahead = || self.due.last().filter(|(until, _)| *until > now.plus(DEFER_MAX));
        over.or_else(ahead).map(|(_, position)| *position)
    }

    /// What to submit now, in order, within the window. Packets behind a deferred one to the same
    /// recipient under the same flow wait as long as it does.
    pub(crate) fn submissions(&mut self, now: Timestamp) -> Vec<Send> {
        while let Some(position) = self.due(now) {
            if let Some(row) = self.open.get(&position).map(|item| item.row.clone()) {
                self.undefer(position, &row);
            }
            self.ready.insert(position);
        }
        let mut sends = Vec::new();
        while let Some(position) = self.ready.first().copied() {
            let Some(item) = self.open.get(&position) else {
                self.ready.remove(&position);
                continue;
            };
            if self.flying.len() >= WINDOW_PACKETS
                || (!self.flying.is_empty() && self.flying_bytes.saturating_add(item.row.size) > WINDOW_BYTES)
            {
                break;
            }
            if let Some(until) = self.waits_behind(position, &item.row) {
                self.defer(position, until);
                continue;
            }
            let (digest, size) = (item.row.packet, item.row.size);
            self.ready.remove(&position);
            let Some(digest) = digest else { continue };
            self.flying.insert(position);
            self.shown.insert(position);
            self.flying_bytes = self.flying_bytes.saturating_add(size);
            sends.push(Send::Submit { digest, packet: self.fresh.remove(&digest) });
        }
        self.fresh.clear();
        sends
    }
}

impl Core {
    /// Takes in a body, or says why not.
    pub(crate) fn push(
        &mut self,
        token: u64,
        request: &PushRequest,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        // What was pushed before is answered as it was; what an agent says of itself is always recorded.
        let known = self.outbox.known.contains_key(&request.msg_id);
        let room = if known {
            Ok(())
        } else {
            self.check_recording(ports).and_then(|()| self.room_to_wait(request.body.len()))
        };
        let result = room.and_then(|()| self.try_push(request, now, ports, turn));
        turn.replies.push(Reply { token, result });
    }

    pub(crate) fn try_push(
        &mut self,
        request: &PushRequest,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<Pushed, Rejection> {
        let fingerprint = ports.locker.fingerprint(&request.identity());
        let connected = self.connected;
        if let Some(known) = self.outbox.known.get(&request.msg_id) {
            return if known.fingerprint == fingerprint {
                let (position, stage) = (known.position, known.stage);
                Ok(Pushed { msg_id: request.msg_id, position, stage, repeated: true, connected })
            } else {
                Err(Refusal::Equivocation.into())
            };
        }
        let prepared = prepare(&self.agreed, self.settings.oin, request, now)?;
        self.check_own_key(self.agreed.get(&prepared.covenant)?.compiled(), ports)?;
        let compiled = Arc::clone(self.agreed.get(&prepared.covenant)?.compiled());
        let provenance = self.provenance(request, &compiled, &prepared.recipients, now)?;
        let draft = Draft {
            declared: prepared.declared,
            in_reply_to: request.in_reply_to,
            trace: request.trace.unwrap_or_else(|| TraceId(ports.random())),
            provenance,
            body: Bytes::from(request.body.as_slice()),
        };
        let position = self.outbox.next;
        let row = OutboxRow {
            msg_id: request.msg_id,
            stage: Stage::Draft,
            covenant: prepared.covenant,
            flow: request.flow.clone(),
            step: draft.declared.step.to_string(),
            case: request.case,
            recipients: prepared.recipients,
            created: now,
            expires: prepared.expires,
            fingerprint,
            packet: None,
            statement: None,
            size: 0,
            seq: 0,
            outcome: 0,
            decided: None,
            receipt: Bytes::default(),
            source: request.source.as_ref().map(|source| source.packet),
            links: Vec::new(),
        };
        let stage = if self.unreleased(&row.msg_id, &row.covenant, &row.flow, &draft) {
            self.room_to_hold(request.body.len())?;
            let row = OutboxRow { stage: Stage::Held, ..row };
            let stage = self.keep_draft(position, row, &draft, now, ports, turn)?;
            self.fetch_cases(now, turn);
            stage
        } else {
            self.place(position, row, &draft, prepared.waits, now, ports, turn)?
        };
        self.outbox.next = position.saturating_add(1);
        Ok(Pushed { msg_id: request.msg_id, position, stage, repeated: false, connected })
    }

    /// Seals a message when nothing keeps it waiting, else keeps it as a draft.
    #[expect(clippy::too_many_arguments, reason = "a place, what stands in it, and what a turn is made of")]
    fn place(
        &mut self,
        position: u64,
        row: OutboxRow,
        draft: &Draft,
        waits: bool,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<Stage, Rejection> {
        if self.outbox.draft_bytes.saturating_add(draft.body.len()) > DRAFT_BYTES_MAX {
            return Err(Rejection::new(
                Refusal::TooBusy,
                "Er wacht al te veel op ontvangstsleutels van partners.",
                "Too much is waiting for partners' keys already.",
            ));
        }
        let held = |oin: &Oin| self.outbox.held.contains_key(&(row.flow.clone(), *oin));
        if !waits && !row.recipients.iter().any(held) && self.keys_at_hand(&row, now) {
            return Ok(self.seal(position, row, draft, now, ports, turn));
        }
        let stage = self.keep_draft(position, row, draft, now, ports, turn)?;
        self.fetch_soon();
        self.fetch_prekeys(now, turn);
        self.fetch_cases(now, turn);
        Ok(stage)
    }

    /// Keeps a message locked and unsealed, in the stage its row says.
    fn keep_draft(
        &mut self,
        position: u64,
        row: OutboxRow,
        draft: &Draft,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<Stage, Rejection> {
        let plain = Zeroizing::new(cbor::encode(draft));
        let Some(locked) = ports.locker.lock(table::DRAFT, &position_key(position), &plain) else {
            self.alarm(AlarmKind::LockFailed, format!("draft {}", row.msg_id), now, turn);
            return Err(Rejection::new(
                Refusal::TooBusy,
                "De agent kan het bericht niet versleuteld bewaren. Herstart hem; bekijk de alarmen.",
                "The agent cannot keep the message encrypted. Restart it; look at its alarms.",
            ));
        };
        let stage = row.stage;
        turn.writes.push(Write::Draft(position, Some(locked.clone())));
        self.store(position, Item { row, draft: Some(locked) }, turn);
        Ok(stage)
    }

    /// Puts an item in its lists and writes its row.
    fn store(&mut self, position: u64, item: Item, turn: &mut Turn) {
        let known = Known { position, stage: item.row.stage, fingerprint: item.row.fingerprint };
        self.outbox.known.insert(item.row.msg_id, known);
        turn.writes.push(Write::Outbox(position, Box::new(item.row.clone())));
        self.outbox.insert(position, item);
    }

    /// Ends an item: its row is final, its packet or draft erased.
    fn close(
        &mut self,
        position: u64,
        mut row: OutboxRow,
        (stage, outcome): (Stage, u16),
        now: Timestamp,
        turn: &mut Turn,
    ) {
        (row.stage, row.outcome, row.decided) = (stage, outcome, Some(now));
        let totals = &mut self.outbox.totals;
        let total = match stage {
            Stage::Done => &mut totals.done,
            Stage::Expired => &mut totals.expired,
            Stage::Denied => &mut totals.denied,
            Stage::Refused | Stage::Draft | Stage::Sealed | Stage::Held => &mut totals.refused,
        };
        *total = total.saturating_add(1);
        let known = Known { position, stage, fingerprint: row.fingerprint };
        self.outbox.known.insert(row.msg_id, known);
        self.outbox.approved.remove(&row.msg_id);
        turn.drops.extend(row.packet);
        turn.events.push(Event::Decided { msg_id: row.msg_id, stage, outcome });
        self.corrections.message_ended(&row);
        self.follow.accepted(&row);
        self.record_ended(&row, now, turn);
        self.entered_ended(&row, turn);
        turn.writes.push(Write::Outbox(position, Box::new(row)));
    }

    /// Believes a verdict only when its receipt proves it, about this very packet.
    pub(crate) fn verdict(&mut self, verdict: &Verdict, now: Timestamp, turn: &mut Turn) {
        let Some(position) = self.outbox.by_packet.get(&verdict.packet).copied() else { return };
        let links = match self.check_verdict(position, verdict, now, turn) {
            Ok(Some(links)) => links,
            // The log was caught, or may be later: what it says about this packet proves nothing yet.
            Ok(None) => return self.put_off(position, now.plus(DISPUTE_WAIT)),
            Err(error) => {
                let detail = format!("packet {} outcome {}: {error}", verdict.packet, verdict.outcome);
                self.alarm(AlarmKind::FalseVerdict, detail, now, turn);
                return self.put_off(position, now.plus(DISPUTE_WAIT));
            }
        };
        let Some(Item { mut row, .. }) = self.outbox.take(position) else { return };
        let stage = if verdict.outcome == 0 { Stage::Done } else { Stage::Refused };
        row.receipt = verdict.receipt.clone();
        row.links = if stage == Stage::Done { links } else { Vec::new() };
        self.close(position, row, (stage, verdict.outcome), now, turn);
    }

    /// Checks that its receipt proves a verdict; the hashes of its entries, if it may be believed: see
    /// [`Core::observe`].
    fn check_verdict(
        &mut self,
        position: u64,
        verdict: &Verdict,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Option<Vec<Digest>>, ReceiptError> {
        let (receipt, signed) = self.trust.receipt(&verdict.receipt)?;
        let believed = self.observe(&signed, now, turn);
        if verdict.outcome == 0 {
            let row = self.outbox.open.get(&position).map(|item| &item.row);
            let (row, statement) =
                row.and_then(|row| Some((row, row.statement?))).ok_or(ReceiptError::NotAboutThis)?;
            let submitted = Submitted {
                packet: verdict.packet,
                statement,
                msg_id: row.msg_id,
                sender: self.settings.oin,
                covenant: row.covenant,
                flow: &row.flow,
            };
            receipt.says_all_accepted(&submitted, &row.recipients)?;
        } else {
            receipt.says_refused(&verdict.packet, &self.settings.oin, verdict.outcome)?;
        }
        if believed {
            receipt.entries.iter().for_each(|(_, entry)| self.retention.witness(entry.time));
        }
        Ok(believed.then_some(receipt.leaves))
    }

    /// Ends a sealed message that no broker has seen. `false` for any other.
    pub(crate) fn end_unsubmitted(
        &mut self,
        position: u64,
        end: (Stage, u16),
        now: Timestamp,
        turn: &mut Turn,
    ) -> bool {
        if self.outbox.shown.contains(&position) {
            return false;
        }
        let Some(Item { row, .. }) = self.outbox.take(position) else { return false };
        self.close(position, row, end, now, turn);
        true
    }

    /// The broker recorded nothing: the same bytes again later.
    pub(crate) fn deferred(&mut self, deferred: &Deferred, now: Timestamp) {
        if let Some(position) = self.outbox.by_packet.get(&deferred.packet).copied() {
            let wait = Span(deferred.retry_after.clamp(100, DEFER_MAX.0));
            self.put_off(position, now.plus(wait));
        }
    }

    /// The bytes of a packet are gone, so it cannot be submitted. The broker may have accepted it before,
    /// so nobody is told that it was refused: it stays open, and in its order, until its time ends.
    pub(crate) fn packet_missing(&mut self, digest: Digest, now: Timestamp, turn: &mut Turn) {
        let Some(position) = self.outbox.by_packet.get(&digest).copied() else { return };
        self.alarm(AlarmKind::PacketMissing, format!("packet {digest}"), now, turn);
        let ended = self.outbox.open.get(&position).is_some_and(|item| item.row.expires <= now);
        if !ended {
            return self.put_off(position, now.plus(DISPUTE_WAIT));
        }
        let Some(Item { row, .. }) = self.outbox.take(position) else { return };
        self.close(position, row, EXPIRED, now, turn);
    }

    fn put_off(&mut self, position: u64, until: Timestamp) {
        let Some(size) = self.outbox.open.get(&position).map(|item| item.row.size) else { return };
        self.outbox.land(position, size);
        self.outbox.defer(position, until);
    }
}

fn open_draft(position: u64, locked: &[u8], ports: Ports<'_>) -> Option<Draft> {
    let plain = ports.locker.unlock(table::DRAFT, &position_key(position), locked)?;
    cbor::strict(&plain, BODY_MAX.saturating_mul(2)).ok()
}
