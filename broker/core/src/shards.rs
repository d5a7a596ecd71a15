//! The logs of this broker, one after the other: which one grows, when the next is begun, and how.
//!
//! Within the broker an entry has a *position*, which rises through all logs: the number of entries before it in
//! any of them. Mailboxes, outcomes, lapses and checkpoints that are kept for receipts go by positions, so that a
//! new year changes nothing for them. What leaves the broker (receipts, checkpoints, proofs, files) has places
//! within one log.
//!
//! A succession is two turns with nothing between them: the closing entry, alone, then the opening entry. The first
//! names what comes next, so that a start after a crash between the two finishes it.
//!
//! A year is over when this machine's clock says so *and* a partner's does: a packet with a signed time in the new
//! year was accepted, and nothing is accepted whose time differs much from this clock's. A clock that jumps alone
//! opens nothing. A clock more than a year ahead of the log opens nothing by itself either: the operator says so.

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::succession::{self, Cause};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::{ED25519, KeyText};
use seinhuis_shared::tlog::tree::Frontier;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::core::Core;
use crate::input::{ConnId, RequestId};
use crate::operator::{Answer, CommandId};
use crate::sequencer::{Log, Sealed};
use crate::turn::{Send, Turn};
use crate::write::Write;

/// Most characters of an origin.
const ORIGIN_MAX: usize = 128;

/// One log of this broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Shard {
    /// Its origin.
    pub origin: String,
    /// The position of its first entry.
    pub base: u64,
    /// The receipt of its opening entry; empty for the first log.
    pub opening: Bytes,
    /// How it ended, once it did.
    pub closing: Option<Closing>,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Closing {
    /// Its number of entries.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The receipt of its closing entry, under its final checkpoint.
    pub receipt: Bytes,
    /// The origin of the log that follows.
    pub next: String,
    /// Whether the operator began that one by hand.
    pub by_hand: bool,
}

impl Shard {
    pub(crate) const fn first(origin: String) -> Self {
        Self { origin, base: 0, opening: Bytes(Vec::new()), closing: None }
    }

    /// The position after its last entry; none while it grows.
    pub fn end(&self) -> Option<u64> {
        self.closing.as_ref().map(|closing| self.base.saturating_add(closing.size))
    }
}

/// A log that is to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Next {
    origin: String,
    cause: Cause,
    /// Who waits for it.
    asked: Option<CommandId>,
}

/// What a turn does to the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It closes the log: its one entry is the last.
    Closes(Next),
    /// It begins the log that was named.
    Opens,
}

impl Log {
    /// The log that grows, or has just been closed.
    pub(crate) fn current(&self) -> Option<&Shard> {
        self.shards.last()
    }

    /// The position of the current log's first entry.
    pub(crate) fn base(&self) -> u64 {
        self.current().map_or(0, |shard| shard.base)
    }

    /// The position after the last entry that is committed.
    pub(crate) fn end(&self) -> u64 {
        self.base().saturating_add(self.frontier.size())
    }

    /// A log that is known, and its number.
    pub(crate) fn shard(&self, origin: &str) -> Option<(usize, &Shard)> {
        self.shards.iter().enumerate().find(|(_, shard)| shard.origin == origin)
    }

    /// Takes in what is known of a log. `false` unless it is the newest or the one after it.
    pub(crate) fn learn(&mut self, number: u32, shard: &Shard) -> bool {
        let Ok(number) = usize::try_from(number) else { return false };
        self.recorded = true;
        let known = self.shards.len();
        if number.saturating_add(1) != known && number != known {
            return false;
        }
        self.shards.truncate(number);
        self.shards.push(shard.clone());
        true
    }

    fn newest(&self) -> u32 {
        u32::try_from(self.shards.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// A tree size, given as the position after its last entry, as an entry of the current log says it: the size,
    /// and when it is that of an earlier log `@` and how many logs earlier.
    pub(crate) fn size_text(&self, end: u64) -> String {
        let back = self.shards.iter().rev().take_while(|shard| shard.base >= end && shard.base > 0).count();
        let place = self.shards.len().saturating_sub(1).saturating_sub(back);
        let base = self.shards.get(place).map_or(0, |shard| shard.base);
        let size = end.saturating_sub(base);
        if back == 0 { size.to_string() } else { format!("{size}@{back}") }
    }
}

impl Core {
    /// The logs, from the first; the last is the one that grows.
    pub fn shards(&self) -> &[Shard] {
        &self.state.log.shards
    }

    /// The current log's origin.
    pub fn origin(&self) -> &str {
        self.state.log.current().map_or(&self.config.origin, |shard| &shard.origin)
    }

    /// The verifier key of the current log.
    pub(crate) fn log_key_text(&self) -> String {
        self.log_key_text_of(self.origin())
    }

    /// The verifier key of a log of this broker; empty for an origin that cannot have one.
    pub(crate) fn log_key_text_of(&self, origin: &str) -> String {
        KeyText::new(origin, ED25519, &self.config.log_key.to_bytes())
            .map(|key| key.to_string())
            .unwrap_or_default()
    }

    /// Whether the clock is more than a year past the current log's, so that the log's year is not changed by
    /// itself.
    pub const fn year_refused(&self) -> bool {
        self.year_refused
    }

    /// A packet with this signed time was accepted at `now`.
    pub(crate) fn witness(&mut self, issued: Timestamp, now: Timestamp) {
        self.witnessed = self.witnessed.max(issued.min(now));
    }

    /// Looks whether the year is over. `clock` is this machine's clock as it is.
    pub(crate) fn look_at_year(&mut self, clock: Timestamp) {
        let Some((_, year)) = succession::year_of(self.origin()) else { return };
        let next = year.saturating_add(1);
        self.year_refused = clock.year() > next;
        if clock.year() == next && self.witnessed.year() == next && self.next.is_none() {
            self.next = succession::with_year(self.origin(), next)
                .filter(|origin| self.state.log.shard(origin).is_none())
                .map(|origin| Next { origin, cause: Cause::Year, asked: None });
        }
    }

    /// The operator has the log of the clock's year begun, however many years are passed over.
    pub(crate) fn roll_over(&mut self, id: CommandId, clock: Timestamp) -> Result<(), Refusal> {
        let (_, year) = succession::year_of(self.origin()).ok_or(Refusal::NotDue)?;
        let origin = succession::with_year(self.origin(), clock.year()).ok_or(Refusal::NotDue)?;
        if clock.year() <= year || self.next.is_some() || self.state.log.shard(&origin).is_some() {
            return Err(Refusal::NotDue);
        }
        self.next = Some(Next { origin, cause: Cause::Year, asked: Some(id) });
        Ok(())
    }

    /// Whether a log can be begun by hand under this origin now.
    ///
    /// # Errors
    /// [`Refusal::BadOrigin`] for what is no name of a log, or is one of this broker's already or next.
    pub fn may_begin(&self, origin: &str) -> Result<(), Refusal> {
        let named = KeyText::new(origin, ED25519, &self.config.log_key.to_bytes()).is_ok()
            && origin.len() <= ORIGIN_MAX
            && origin.bytes().all(|byte| byte.is_ascii_graphic());
        let closing = self.state.log.current().and_then(|shard| shard.closing.as_ref());
        let taken = self.state.log.shard(origin).is_some() || closing.is_some_and(|end| end.next == origin);
        if !named || taken || self.next.is_some() { Err(Refusal::BadOrigin) } else { Ok(()) }
    }

    /// The operator has a log begun under another origin. Why, goes into the log as a hash.
    pub(crate) fn new_origin(
        &mut self,
        id: CommandId,
        (origin, reason): (String, Digest),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        self.may_begin(&origin)?;
        let mut entry = self.entry(Kind::Operator, now, turn);
        entry.detail = Some(Cause::NewOrigin.as_str().to_owned());
        entry.statement = Some(reason);
        turn.entry(&entry);
        self.next = Some(Next { origin, cause: Cause::NewOrigin, asked: Some(id) });
        Ok(())
    }

    /// Whether the newest log has ended and has no next yet.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.log.current().is_some_and(|shard| shard.closing.is_some())
    }

    /// Whether [`Core::succession`] has a turn to make. A log that ended before a crash has its next when enough
    /// witnesses were heard.
    pub fn succession_due(&self) -> bool {
        self.next.is_some() || (self.is_closed() && self.start.may_open()) || self.start.owes_an_answer()
    }

    /// Makes the next turn of a succession in the empty `turn`: to be made durable before anything else is
    /// handled. `false` when there is none to make.
    pub fn succession(&mut self, clock: Timestamp, turn: &mut Turn) -> bool {
        let now = clock.max(self.state.log.time);
        let closed = self.state.log.current().and_then(|shard| shard.closing.clone());
        match (closed, self.next.clone()) {
            (Some(_), _) if !self.start.may_open() => false,
            (Some(closing), next) => {
                self.open_next(&closing, now, turn);
                if let Some(id) = next.and_then(|next| next.asked) {
                    turn.send(Send::Answer { id, answer: Ok(Answer::Recorded { index: 0 }) });
                }
                self.next = None;
                true
            }
            (None, Some(next)) => {
                let mut entry = self.entry(Kind::Closing, now, turn);
                entry.detail = Some(next.cause.as_str().to_owned());
                entry.statement = Some(succession::naming(&next.origin));
                turn.entry(&entry);
                turn.step = Some(Step::Closes(next));
                true
            }
            (None, None) if self.start.owes_an_answer() => {
                self.serve(now, turn);
                true
            }
            (None, None) => false,
        }
    }

    fn open_next(&mut self, closing: &Closing, now: Timestamp, turn: &mut Turn) {
        let base = self.state.log.end();
        let bound = Checkpoint::new(self.origin(), closing.size, closing.root);
        let mut next = Shard::first(closing.next.clone());
        next.base = base;
        self.state.log.shards.push(next);
        self.state.log.frontier = Frontier::empty();
        let mut entry = self.entry(Kind::Opening, now, turn);
        let cause = if closing.by_hand { Cause::NewOrigin } else { Cause::Year };
        entry.detail = Some(cause.as_str().to_owned());
        entry.statement = bound.ok().map(|last| succession::binding(&last));
        turn.entry(&entry);
        turn.step = Some(Step::Opens);
        // Every session is of the log it was welcomed to; the next ones begin with the new log's name.
        let open: Vec<ConnId> = self.sessions.iter().map(|(conn, _)| *conn).collect();
        for conn in open {
            self.close(conn, now, turn);
            turn.send(Send::Close { conn, reason: Refusal::LogSucceeded });
        }
        self.start.opened();
        self.know_witnesses(now);
    }

    /// The writes by which the logs are what they are after a signed turn.
    pub(crate) fn record_step(&mut self, turn: &mut Turn, sealed: &Sealed, note: &[u8]) {
        let step = turn.step.take();
        if step.is_none() && self.state.log.recorded {
            return;
        }
        let number = self.state.log.newest();
        let Some(mut shard) = self.state.log.current().cloned() else { return };
        match step {
            Some(Step::Closes(next)) => {
                let last = sealed.end().saturating_sub(1);
                shard.closing = Some(Closing {
                    size: sealed.size(),
                    root: sealed.root(),
                    receipt: Bytes(sealed.receipt(last, 1, note).to_vec()),
                    next: next.origin,
                    by_hand: next.cause == Cause::NewOrigin,
                });
            }
            Some(Step::Opens) => shard.opening = Bytes(sealed.receipt(sealed.first(), 1, note).to_vec()),
            None => {}
        }
        self.record(turn, Write::Shard { number, shard });
    }

    /// What followed on a log, for an agent that pinned its tree of `size` entries.
    pub(crate) fn successor(
        &self,
        (conn, request): (ConnId, RequestId),
        origin: &str,
        size: u64,
    ) -> Result<Send, Refusal> {
        let (place, shard) = self.state.log.shard(origin).ok_or(Refusal::UnknownLog)?;
        let closing = shard.closing.as_ref().ok_or(Refusal::UnknownLog)?;
        let next =
            place.checked_add(1).and_then(|at| self.state.log.shards.get(at)).ok_or(Refusal::UnknownLog)?;
        Ok(Send::Succession {
            conn,
            request,
            log: place,
            // A larger tree than ever was here, or the empty one, has no proof.
            proof: (1..=closing.size).contains(&size).then_some((size, closing.size)),
            origin: next.origin.clone(),
            closing: closing.receipt.clone(),
            opening: next.opening.clone(),
        })
    }
}
