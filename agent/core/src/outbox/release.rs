//! Release by a person: where the covenant asks it, nothing about a person leaves by automation alone.
//!
//! What was pushed on such a flow waits here, locked and unsealed, until somebody decides. There is one way in
//! (`try_push`) and one way to a packet (`sealed`): the first holds back, the second asks again whether a
//! decision stands, so that no draft passes that nobody released.

use std::collections::BTreeSet;

use seinhuis_shared::covenant::{Compiled, Declared, Level, check_body};
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::limits::TEXT_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use zeroize::Zeroizing;

use super::{Draft, EXPIRED, Item, open_draft};
use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{AlarmKind, OutboxRow, ReleaseRow, Stage, Write};
use crate::turn::Turn;

/// Most messages that wait for a person at a time.
pub const HELD_MAX: usize = 4096;
/// Most bytes of them.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most characters of the reason for a decision.
pub const REASON_MAX: usize = 500;

/// What a person decides about a message that waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which message.
    pub msg_id: MsgId,
    /// Whether it may leave.
    pub approved: bool,
    /// In which role the person decides: 1 to 64 characters.
    pub role: String,
    /// Why: at most 500 characters; a denial has one.
    pub reason: String,
}

/// A message that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its row.
    pub row: OutboxRow,
    /// The declared message type.
    pub message_type: String,
    /// The declared level.
    pub level: Level,
    /// The declared categories.
    pub categories: Vec<String>,
}

/// Whether a person has to release what is declared so on this flow.
fn asks(compiled: &Compiled, flow: &str, declared: &Declared) -> bool {
    compiled.flow(flow).is_none_or(|flow| flow.release) && declared.level.is_personal()
}

impl Core {
    /// The messages that wait for a person and open with the store key that is lent, in the order in which they
    /// came.
    pub fn held(&self, ports: Ports<'_>) -> Vec<Held> {
        let held = self.outbox.unreleased.iter().filter_map(|position| {
            let item = self.outbox.open.get(position)?;
            let draft = open_draft(*position, item.draft.as_deref()?, ports)?;
            let Declared { message_type, level, categories, .. } = draft.declared;
            Some(Held { row: item.row.clone(), message_type, level, categories })
        });
        held.collect()
    }

    /// The body of a message that waits for a person, for whoever decides.
    pub fn held_body(&self, msg_id: &MsgId, ports: Ports<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let (position, stage) = self.outbox.find(msg_id)?;
        if stage != Stage::Held {
            return None;
        }
        let draft = open_draft(position, self.outbox.open.get(&position)?.draft.as_deref()?, ports)?;
        Some(Zeroizing::new(draft.body.0))
    }

    /// Whether a message still needs a person's decision before it may be sealed.
    pub(super) fn unreleased(&self, msg_id: &MsgId, covenant: &Digest, flow: &str, draft: &Draft) -> bool {
        let approved = self.outbox.approved.contains(msg_id);
        // What cannot be looked up is not let through for that.
        !approved && self.agreed.get(covenant).map_or(true, |one| asks(one.compiled(), flow, &draft.declared))
    }

    /// Whether one more message of this length may wait for a person.
    pub(super) fn room_to_hold(&self, bytes: usize) -> Result<(), Rejection> {
        let (count, held) = (self.outbox.unreleased.len(), self.outbox.held_bytes);
        if count < HELD_MAX && held.saturating_add(bytes) <= HELD_BYTES_MAX {
            return Ok(());
        }
        Err(Rejection::new(
            Refusal::TooBusy,
            "Er wacht al te veel op vrijgave door een mens (seinhuis-agent release list).",
            "Too much is waiting for release by a person already (seinhuis-agent release list).",
        ))
    }

    /// Carries out a person's decision. What is approved is judged again, as of now.
    pub(crate) fn decide_release(
        &mut self,
        release: Release,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        check(&release)?;
        let Some((position, Stage::Held)) = self.outbox.find(&release.msg_id) else {
            return Err(Refusal::NotHeld.into());
        };
        let Some(item) = self.outbox.open.get(&position) else { return Err(Refusal::NotHeld.into()) };
        if item.row.expires <= now {
            self.end_unsealed(position, EXPIRED, now, turn);
            return Err(Refusal::Expired.into());
        }
        let Release { msg_id, approved, role, reason } = release;
        let decision = ReleaseRow { approved, role, reason, at: now };
        if approved {
            self.approve(position, now, ports, turn)?;
        } else {
            self.end_unsealed(position, (Stage::Denied, Refusal::ReleaseDenied.number()), now, turn);
        }
        turn.writes.push(Write::Release(msg_id, decision));
        Ok(())
    }

    /// Gives a held message its place behind everything that waits already, or refuses it.
    fn approve(
        &mut self,
        position: u64,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let Some(item) = self.outbox.open.get(&position) else { return Err(Refusal::NotHeld.into()) };
        let mut row = item.row.clone();
        let opened = item.draft.as_deref().and_then(|locked| open_draft(position, locked, ports));
        let Some(draft) = opened else {
            self.alarm(AlarmKind::StoreKey, format!("held message {}", row.msg_id), now, turn);
            return Err(Refusal::CannotOpen.into());
        };
        match self.judge_again(&row, &draft, now) {
            Ok(waits) => {
                self.check_own_key(self.agreed.get(&row.covenant)?.compiled(), ports)?;
                let (msg_id, fresh) = (row.msg_id, self.outbox.next);
                row.stage = Stage::Draft;
                self.outbox.approved.insert(msg_id);
                // A packet's number says when it was sealed, so its place in the outbox has to say the same.
                if let Err(rejection) = self.place(fresh, row, &draft, waits, now, ports, turn) {
                    self.outbox.approved.remove(&msg_id);
                    return Err(rejection);
                }
                self.outbox.next = fresh.saturating_add(1);
                self.outbox.take(position);
                turn.writes.extend([Write::Draft(position, None), Write::Moved(position)]);
            }
            Err(refusal) => self.end_unsealed(position, (Stage::Refused, refusal.number()), now, turn),
        }
        Ok(())
    }

    /// Minimisation and covenant once more: the case, a condition or the agreement may have changed. Tells
    /// whether it has to wait for how its case stands.
    fn judge_again(&self, row: &OutboxRow, draft: &Draft, now: Timestamp) -> Result<bool, Refusal> {
        let compiled = self.agreed.get(&row.covenant)?.compiled();
        check_body(compiled, &row.flow, &draft.declared, &draft.body).map_err(|error| error.refusal())?;
        self.judge_draft(row, draft, now)
    }

    /// Ends what waits for a person and whose time is over.
    pub(crate) fn expire_held(&mut self, now: Timestamp, turn: &mut Turn) {
        let over =
            |position: &&u64| self.outbox.open.get(*position).is_some_and(|item| item.row.expires <= now);
        let ended: Vec<u64> = self.outbox.unreleased.iter().filter(over).copied().collect();
        for position in ended {
            self.end_unsealed(position, EXPIRED, now, turn);
        }
    }

    /// Ends what is passed on from one of these packets and is not sealed yet: its sender withdrew the message,
    /// or its body is erased here.
    pub(crate) fn end_passed_on(&mut self, gone: &BTreeSet<Digest>, now: Timestamp, turn: &mut Turn) {
        if gone.is_empty() {
            return;
        }
        let from = |position: &&u64| {
            let item = self.outbox.open.get(*position);
            item.and_then(|item| item.row.source).is_some_and(|source| gone.contains(&source))
        };
        let unsealed = self.outbox.drafts.union(&self.outbox.unreleased);
        let ended: Vec<u64> = unsealed.filter(from).copied().collect();
        for position in ended {
            self.end_unsealed(position, (Stage::Refused, Refusal::SourceGone.number()), now, turn);
        }
    }

    /// Ends a message that is not sealed, which nobody else has seen, and erases its body.
    pub(crate) fn end_unsealed(&mut self, position: u64, end: (Stage, u16), now: Timestamp, turn: &mut Turn) {
        let Some(Item { row, .. }) = self.outbox.take(position) else { return };
        turn.writes.push(Write::Draft(position, None));
        self.close(position, row, end, now, turn);
    }
}

/// Whether a text is at most so many characters, without control characters.
pub(crate) fn plain(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// Whether a decision says in which role and why, in words that can be shown.
fn check(release: &Release) -> Result<(), Rejection> {
    let role = !release.role.trim().is_empty() && plain(&release.role, TEXT_MAX);
    let reason =
        plain(&release.reason, REASON_MAX) && (release.approved || !release.reason.trim().is_empty());
    if role && reason {
        return Ok(());
    }
    Err(Rejection::new(
        Refusal::FieldInvalid,
        format!(
            "Noem de rol waarin u beslist (1 tot {TEXT_MAX} tekens) en bij weigeren de reden (hoogstens {REASON_MAX} tekens), zonder stuurtekens."
        ),
        format!(
            "Name the role in which you decide (1 to {TEXT_MAX} characters) and for a denial the reason (at most {REASON_MAX} characters), without control characters."
        ),
    ))
}
