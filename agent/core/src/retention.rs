//! How long bodies are kept, and what is said when they are gone.
//!
//! A body goes at the term of its flow, counted from the log's time of acceptance; when the flow follows the
//! case, at the end of the case: its logged close, or a received decision to scale down. Such a decision ends
//! what was accepted up to then and no later: the case may go on. A withdrawn one goes at once, and what was
//! to be passed on from a body that goes does not leave any more. The message's row stays, with its receipt, as evidence that it was.
//!
//! What is erased cannot come back, so one clock alone erases nothing: the term has to be over by this
//! machine's clock *and* by the exchange log's time, as far as that was seen. The log's time is the latest of
//! the entries that were proved here and what a broker said at the beginning of a session, and moves on by a
//! second with every tick, so that a long quiet session does not stop it. A clock that jumps ahead finds the
//! log's time where it was.
//!
//! Erasing has two halves. First the row is deleted, so that nobody can read it; then the shell has the store
//! overwrite the bytes, and only when it says so ([`crate::Input::Overwritten`]) is the destruction confirmed to
//! the municipality. After a crash between the two the second half begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::Role;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

use crate::cases::Cases;
use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{AlarmKind, CaseEnd, ErasedRow, Ground, InboxRow, MarkRow, Write};
use crate::service::Notice;
use crate::turn::Turn;

/// Most bodies erased in one tick.
const ERASE_MAX: usize = 256;
/// Most messages whose destruction one packet confirms; the covenant's schema takes 500.
const CONFIRM_MAX: usize = 256;
/// Most cases that are asked for at a time because bodies follow them.
const CASES_MAX: usize = 8;
/// The message type that confirms destruction.
const CONFIRMATION: &str = "vernietigingsbevestiging";

/// What has to be known of a message whose body is kept, or was a moment ago.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) msg_id: MsgId,
    pub(crate) packet: Digest,
    pub(crate) sender: Option<Oin>,
    pub(crate) flow: String,
    pub(crate) trace: Option<TraceId>,
    /// The packet in which its origin sent what is in it: its own, unless it was passed on.
    source: Digest,
    /// By the log entry.
    accepted: Timestamp,
    pub(crate) covenant: Option<Digest>,
    step: String,
    case: Option<CaseId>,
    until: Option<Timestamp>,
    /// It was never opened: its packet is kept as evidence until a person erases it.
    pub(crate) quarantined: bool,
}

#[derive(Debug)]
struct Pending {
    position: u64,
    kept: Kept,
}

/// Bodies by when they go.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    kept: BTreeMap<u64, Kept>,
    dated: BTreeSet<(Timestamp, u64)>,
    /// Bodies that follow a case, by when they were accepted.
    of_case: BTreeMap<CaseId, BTreeSet<(Timestamp, u64)>>,
    withdrawn: BTreeSet<u64>,
    /// Ends of cases by a decision to scale down, with the position of the message that says so.
    ended: BTreeMap<CaseId, BTreeSet<(Timestamp, u64)>>,
    erased: BTreeMap<u64, ErasedRow>,
    /// Erased and not overwritten, by ticket; none for other rows that were deleted, of which nothing is confirmed.
    /// Those are not remembered over a restart: the next ones, a day later, take them along.
    pending: BTreeMap<u64, Option<Pending>>,
    tickets: u64,
    /// The latest the exchange log's time is known to be.
    witnessed: Timestamp,
}

impl Retention {
    /// A message came in, or is read back.
    pub(crate) fn keep(&mut self, position: u64, row: &InboxRow) {
        self.witness(row.accepted);
        let quarantined = row.outcome != 0;
        let days = row.retention_days.filter(|_| !quarantined);
        let until = days.map(|days| row.accepted.plus(Span::days(days.into())));
        if let Some(until) = until {
            self.dated.insert((until, position));
        } else if let Some(case) = row.case.filter(|_| !quarantined) {
            self.of_case.entry(case).or_default().insert((row.accepted, position));
        }
        let kept = Kept {
            msg_id: row.msg_id,
            packet: row.packet,
            sender: row.sender,
            flow: row.flow.clone(),
            trace: row.trace,
            source: row.packet,
            accepted: row.accepted,
            covenant: row.covenant,
            step: row.step.clone(),
            case: row.case,
            until,
            quarantined,
        };
        self.kept.insert(position, kept);
    }

    /// If a packet is named here, what is at this position was passed on from it.
    pub(crate) fn comes_from(&mut self, position: u64, source: Option<Digest>) {
        if let (Some(kept), Some(source)) = (self.kept.get_mut(&position), source) {
            kept.source = source;
        }
    }

    pub(crate) fn marked(&mut self, position: u64, mark: &MarkRow) {
        if mark.withdrawn.is_some() {
            self.withdrawn(position, mark.case_end);
        } else if let Some(end) = mark.case_end {
            self.case_ended(position, end);
        }
    }

    /// The message at this position was withdrawn, and with it the end of a case that it said. The source of
    /// its body, if that is kept.
    pub(crate) fn withdrawn(&mut self, position: u64, end: Option<CaseEnd>) -> Option<Digest> {
        if let Some(end) = end
            && let Some(ends) = self.ended.get_mut(&end.case)
        {
            ends.remove(&(end.at, position));
        }
        let kept = self.kept.get(&position)?;
        self.withdrawn.insert(position);
        Some(kept.source)
    }

    /// The decision at this position to scale down ended a case.
    pub(crate) fn case_ended(&mut self, position: u64, end: CaseEnd) {
        self.ended.entry(end.case).or_default().insert((end.at, position));
    }

    pub(crate) fn restore(&mut self, position: u64, row: ErasedRow) {
        let kept = self.take(position);
        if let Some(kept) = kept.filter(|_| row.overwritten.is_none()) {
            self.wait(Some(Pending { position, kept }));
        }
        self.erased.insert(position, row);
    }

    /// Whether the body at this position is kept.
    pub(crate) fn keeps(&self, position: u64) -> bool {
        self.kept.contains_key(&position)
    }

    /// The log's time is at least this.
    pub(crate) fn witness(&mut self, at: Timestamp) {
        self.witnessed = self.witnessed.max(at);
    }

    fn take(&mut self, position: u64) -> Option<Kept> {
        let kept = self.kept.remove(&position)?;
        self.withdrawn.remove(&position);
        if let Some(until) = kept.until {
            self.dated.remove(&(until, position));
        }
        if let Some(case) = kept.case
            && let Some(positions) = self.of_case.get_mut(&case)
        {
            positions.remove(&(kept.accepted, position));
            if positions.is_empty() {
                self.of_case.remove(&case);
            }
        }
        Some(kept)
    }

    /// Rows of own prekeys or of the register were deleted: what they were is to be overwritten too.
    pub(crate) fn rows_destroyed(&mut self) {
        self.wait(None);
    }

    fn wait(&mut self, erased: Option<Pending>) {
        self.tickets = self.tickets.saturating_add(1);
        self.pending.insert(self.tickets, erased);
    }

    /// When a case ended for what was accepted then, as far as it is known here.
    fn end_of(&self, cases: &Cases, case: &CaseId, accepted: Timestamp) -> Option<Timestamp> {
        let ends = self.ended.get(case);
        let scaled = ends.and_then(|ends| ends.range((accepted, 0)..).next()).map(|(at, _)| *at);
        closed(cases, case).into_iter().chain(scaled).min()
    }

    /// Until which acceptance the bodies that follow a case are past their end.
    fn over_until(&self, cases: &Cases, case: &CaseId, passed: Timestamp) -> Option<Timestamp> {
        if closed(cases, case).is_some_and(|at| at <= passed) {
            return Some(Timestamp(u64::MAX));
        }
        let ends = self.ended.get(case)?;
        ends.range(..=(passed, u64::MAX)).next_back().map(|(at, _)| *at)
    }

    /// Cases that bodies follow and of which it is not known here how they stand.
    pub(crate) fn cases_to_ask<'a>(&'a self, cases: &'a Cases) -> impl Iterator<Item = CaseId> {
        let asked =
            self.of_case.keys().filter(|case| !cases.is_settled(case) && closed(cases, case).is_none());
        asked.copied().take(CASES_MAX)
    }

    /// What is to go now.
    fn due(&self, cases: &Cases, now: Timestamp) -> Vec<(u64, Ground)> {
        let passed = now.min(self.witnessed);
        let withdrawn = self.withdrawn.iter().map(|position| (*position, Ground::Withdrawn));
        let dated = self.dated.iter().take_while(|(until, _)| *until <= passed);
        let dated = dated.map(|(_, position)| (*position, Ground::Term));
        let over = |case: &CaseId| self.over_until(cases, case, passed);
        let ended = self.of_case.iter().filter_map(|(case, all)| Some((over(case)?, all)));
        let ended = ended.flat_map(|(until, all)| all.range(..=(until, u64::MAX)));
        let ended = ended.map(|(_, position)| (*position, Ground::CaseEnded));
        withdrawn.chain(dated).chain(ended).take(ERASE_MAX).collect()
    }

    /// How many bodies are kept, how many are erased, and how many of the kept are past their term by this
    /// clock and not by the log's time.
    pub(crate) fn counts(&self, now: Timestamp) -> (usize, usize, usize) {
        let past = |at: Timestamp| self.dated.iter().take_while(|(until, _)| *until <= at).count();
        let held_back = past(now).saturating_sub(past(now.min(self.witnessed)));
        let bodies = self.kept.values().filter(|kept| !kept.quarantined).count();
        (bodies, self.erased.len(), held_back)
    }
}

/// When a case was closed, as far as it is known here.
fn closed(cases: &Cases, case: &CaseId) -> Option<Timestamp> {
    let mut events = cases.state(case)?.events();
    events.find(|event| event.act == Act::Close).map(|event| event.at)
}

impl Core {
    /// Until when the body at this position in the inbox is kept; `None` when that is not known yet, or no rule
    /// says it.
    pub fn keep_until(&self, position: u64) -> Option<Timestamp> {
        let kept = self.retention.kept.get(&position)?;
        let of_case = || self.retention.end_of(&self.agreed.cases, &kept.case?, kept.accepted);
        kept.until.or_else(|| if kept.quarantined { None } else { of_case() })
    }

    /// That the body at this position in the inbox is gone.
    pub fn erased(&self, position: u64) -> Option<&ErasedRow> {
        self.retention.erased.get(&position)
    }

    /// A ticket when something was erased that is still to be overwritten in the store's files: overwrite all
    /// that was deleted before this call, then hand the ticket in as [`crate::Input::Overwritten`].
    pub fn to_overwrite(&self) -> Option<u64> {
        self.retention.pending.keys().next_back().copied()
    }

    /// Erases what is past its term; called with every tick.
    pub(crate) fn retain(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        if self.retention.witnessed != Timestamp::default() {
            self.retention.witnessed = self.retention.witnessed.plus(Span::seconds(1));
        }
        let mut gone = BTreeSet::new();
        for (position, ground) in self.retention.due(&self.agreed.cases, now) {
            gone.extend(self.erase(position, ground, now, ports, turn));
        }
        self.end_passed_on(&gone, now, turn);
        self.purge_register(now.min(self.retention.witnessed), turn);
    }

    /// The source of what it erased: nothing may be passed on from it any more.
    fn erase(
        &mut self,
        position: u64,
        ground: Ground,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Option<Digest> {
        let kept = self.retention.take(position)?;
        self.record_erased(&kept, now, ports, turn);
        let source = kept.source;
        let row = ErasedRow { at: now, ground, overwritten: None, confirmation: None, outcome: 0 };
        turn.writes.push(Write::Body(position, None));
        turn.writes.push(Write::Erased(position, row));
        if kept.quarantined {
            turn.drops.push(kept.packet);
        }
        self.retention.erased.insert(position, row);
        self.retention.wait(Some(Pending { position, kept }));
        Some(source)
    }

    /// A person has a body erased before its term.
    pub(crate) fn erase_by_hand(
        &mut self,
        token: u64,
        position: u64,
        ground: Ground,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let source = self.erase(position, ground, now, ports, turn);
        let known = source.is_some();
        self.end_passed_on(&source.into_iter().collect(), now, turn);
        let gone = Rejection::new(
            Refusal::NotFound,
            "Dit bericht is er niet, of de inhoud is al gewist.",
            "This message is not there, or its body is erased already.",
        );
        turn.answers.push((token, if known { Ok(()) } else { Err(gone) }));
    }

    /// What was erased up to `ticket` is overwritten: that is kept, and confirmed to the municipality, some
    /// hundreds of messages to a packet.
    pub(crate) fn overwritten(&mut self, ticket: u64, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let later = self.retention.pending.split_off(&ticket.saturating_add(1));
        let done = core::mem::replace(&mut self.retention.pending, later);
        let mut groups: BTreeMap<(Option<Digest>, Ground), Vec<Pending>> = BTreeMap::new();
        for one in done.into_values().flatten() {
            let Some(row) = self.retention.erased.get(&one.position) else { continue };
            // What was never opened proves nothing about a message of anybody, so nothing is confirmed of it.
            let covenant = one.kept.covenant.filter(|_| !one.kept.quarantined);
            groups.entry((covenant, row.ground)).or_default().push(one);
        }
        for ((covenant, ground), all) in groups {
            for some in all.chunks(CONFIRM_MAX) {
                let said = covenant
                    .map_or(Ok(None), |covenant| self.confirm(covenant, ground, some, now, ports, turn));
                if let Err(refusal) = said {
                    let detail = format!("{CONFIRMATION} {}: {refusal}", some.len());
                    self.alarm(AlarmKind::CannotTell, detail, now, turn);
                }
                for one in some {
                    let Some(row) = self.retention.erased.get_mut(&one.position) else { continue };
                    row.overwritten = Some(now);
                    match said {
                        Ok(message) => row.confirmation = message,
                        Err(refusal) => row.outcome = refusal.number(),
                    }
                    turn.writes.push(Write::Erased(one.position, *row));
                }
            }
        }
    }

    /// Confirms a destruction to the municipality of the covenant; `None` when this is the municipality.
    fn confirm(
        &mut self,
        covenant: Digest,
        ground: Ground,
        some: &[Pending],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<Option<MsgId>, Refusal> {
        let Some(to) = self.municipality(covenant, now)? else { return Ok(None) };
        let mut ids = String::new();
        let mut digests = Vec::new();
        for one in some {
            let comma = if ids.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            _ = write!(ids, "{comma}\"{}\"", one.kept.msg_id);
            digests.extend_from_slice(&one.kept.packet.0);
        }
        let day: String = now.to_string().chars().take(10).collect();
        let body = format!(
            "{{\"berichten\":[{ids}],\"vernietigd_op\":\"{day}\",\"grond\":\"{ground}\",\"bewijs_kenmerk\":\"{}\"}}",
            sha256(&digests)
        );
        let notice = Notice {
            covenant,
            step: some.first().map_or("", |one| &one.kept.step),
            message_type: CONFIRMATION,
            to,
            about: None,
            body: body.as_bytes(),
        };
        let sent = self.send_notice(&notice, now, ports, turn).map_err(|rejection| rejection.refusal)?;
        Ok(Some(sent.0))
    }

    /// Who hears of a destruction under the newest version in force of this covenant.
    fn municipality(&self, covenant: Digest, now: Timestamp) -> Result<Option<Oin>, Refusal> {
        let id = &self.agreed.find(&covenant)?.compiled().covenant().id;
        let newest = self.agreed.newest(now, |one| one.id == *id);
        let compiled = newest.first().ok_or(Refusal::CovenantNotInForce)?.compiled();
        if compiled.role_at(self.settings.oin, now) == Some(Role::Gemeente) {
            return Ok(None);
        }
        let parties = compiled.covenant().parties.iter().map(|party| party.oin);
        let mut towns = parties.filter(|oin| compiled.role_at(*oin, now) == Some(Role::Gemeente));
        towns.next().map(Some).ok_or(Refusal::RecipientRole)
    }
}
