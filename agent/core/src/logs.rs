//! The exchange logs of a broker, one after the other, each with its own pin ([`Trust`]).
//!
//! The last one grows. Those before it are closed: their pin is their final checkpoint, and any other statement of
//! them has to fit it. An agent goes from one to the next by itself when the year is over and both logs prove it;
//! never when the operator began a log by hand, because there the new one follows on what this agent may have
//! reason to doubt. That takes a person ([`crate::Input::AcceptOrigin`]).

use std::collections::VecDeque;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::{INFLIGHT_BYTES, INFLIGHT_MAX};
use seinhuis_shared::receipt::{LogKey, Receipt, ReceiptError, VerifiedReceipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::succession::{self, Cause, Succession};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::tlog::witness::Head;
use seinhuis_shared::wire::{self, Entries, Notices, Offer, Welcome};

use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{AlarmKind, LogRow, PinRow, WaitingRow, Write};
use crate::trust::{Fork, Signed, Trust};
use crate::turn::{Send, Turn};

/// Ticks after which a question about a succession that was not answered is asked again.
const AGAIN: u8 = 30;

/// The origin that a checkpoint names, before anything is verified.
pub(crate) fn origin_of(note: &[u8]) -> &str {
    let line = note.split(|byte| *byte == b'\n').next().unwrap_or_default();
    core::str::from_utf8(line).unwrap_or_default()
}

/// A log begun by hand, which a person can accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedLog {
    /// The log this agent is with.
    pub old: String,
    /// What it believes of it.
    pub pin: Option<PinRow>,
    /// How many entries that log has in the end, by the broker that begins another.
    pub last: u64,
    /// Whether these are proved to extend what this agent believes. If not, entries this agent has seen are gone.
    pub consistent: bool,
    /// The log that was begun.
    pub new: String,
}

/// On the way from one log to the next.
#[derive(Debug)]
struct Following {
    /// The welcome of this session, which is of a later log.
    welcome: Welcome,
    /// Ticks since the question; none while no answer is waited for.
    asked: Option<u8>,
    /// What was proved, and waits for a person.
    offered: Option<(OfferedLog, Box<Succession>)>,
    /// Packets that came meanwhile, with their length together.
    held: VecDeque<Offer>,
    bytes: usize,
}

/// Why a succession is not followed.
enum Stop {
    /// The old log contradicts itself.
    Fork(Fork),
    /// The broker proves nothing.
    Unproved(String),
    /// A person has to decide.
    ByHand(Box<(OfferedLog, Box<Succession>)>),
}

/// Where the log of a welcome stands to the ones that are known.
pub(crate) enum Place {
    /// It is the one that grows.
    Current,
    /// It may be a later one.
    Later,
    /// It is no log this agent could come to.
    Other,
}

#[derive(Debug)]
pub(crate) struct Logs {
    /// The closed ones, from the first.
    older: Vec<Trust>,
    current: Trust,
    /// Whether the name of the current one is kept.
    named: bool,
    following: Option<Following>,
}

impl Logs {
    /// With the log that the broker's card names.
    pub(crate) const fn new(log: LogKey) -> Self {
        Self { older: Vec::new(), current: Trust::new(log), named: false, following: None }
    }

    pub(crate) const fn log(&self) -> &LogKey {
        self.current.log()
    }

    pub(crate) const fn pin(&self) -> Option<PinRow> {
        self.current.pin()
    }

    pub(crate) fn restore(&mut self, pin: PinRow) {
        self.current.restore(pin);
    }

    pub(crate) fn restore_waiting(&mut self, size: u64, row: WaitingRow) {
        self.current.restore_waiting(size, row);
    }

    pub(crate) fn restore_note(&mut self, place: u8, note: Bytes) {
        self.current.restore_note(place, note);
    }

    /// `None` for a log out of its order, or of a name that cannot be one.
    pub(crate) fn restore_log(&mut self, number: u32, row: LogRow) -> Option<()> {
        (usize::try_from(number) == Ok(self.older.len()) && !self.named).then_some(())?;
        let log = succession::log_key(&row.origin, self.log()).ok()?;
        if row.closed.is_some() {
            self.older.push(Trust::closed(log, row.closed, row.note));
        } else {
            self.named = true;
            self.current.rename(log);
        }
        Some(())
    }

    pub(crate) fn restore_older(&mut self, number: u32, size: u64, row: WaitingRow) -> Option<()> {
        self.older.get_mut(usize::try_from(number).ok()?)?.restore_waiting(size, row);
        Some(())
    }

    fn all(&self) -> impl Iterator<Item = &Trust> {
        core::iter::once(&self.current).chain(&self.older)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Trust> {
        core::iter::once(&mut self.current).chain(&mut self.older)
    }

    /// The log of this origin; the current one when none is.
    fn of(&mut self, origin: &str) -> &mut Trust {
        let older = self.older.iter().position(|trust| trust.log().origin == origin);
        match older.and_then(|place| self.older.get_mut(place)) {
            Some(trust) => trust,
            None => &mut self.current,
        }
    }

    /// What changed since the last call and is to become durable.
    pub(crate) fn take_changes(&mut self) -> Vec<Write> {
        let mut changes = Vec::new();
        if !self.named && self.current.pin().is_some() {
            self.named = true;
            changes.push(Write::Log(number(self.older.len()), Box::new(self.name(None))));
        }
        changes.append(&mut self.current.take_changes());
        for (place, older) in self.older.iter_mut().enumerate() {
            // Of a closed log nothing else changes: its pin stands.
            for change in older.take_changes() {
                if let Write::Waiting(size, row) = change {
                    changes.push(Write::OlderWaiting(number(place), size, row));
                }
            }
        }
        changes
    }

    fn name(&self, by_hand: Option<Timestamp>) -> LogRow {
        LogRow { origin: self.log().origin.clone(), closed: None, note: Bytes::default(), by_hand }
    }

    pub(crate) fn full(&self) -> bool {
        self.all().any(Trust::full)
    }

    pub(crate) fn stalled(&self, now: Timestamp) -> bool {
        self.all().any(|trust| trust.stalled(now))
    }

    pub(crate) fn complaint(&self, now: Timestamp) -> Option<String> {
        self.all().find_map(|trust| trust.complaint(now))
    }

    pub(crate) fn forked(&self) -> bool {
        self.current.forked()
    }

    pub(crate) fn unproven(&self) -> usize {
        self.all().fold(0, |sum, trust| sum.saturating_add(trust.unproven()))
    }

    /// Reads a receipt, under the log its checkpoint names, and checks signature and inclusion.
    pub(crate) fn receipt(&mut self, bytes: &[u8]) -> Result<(VerifiedReceipt, Signed), ReceiptError> {
        let receipt = Receipt::parse(bytes)?;
        self.named(&receipt.checkpoint).receipt(receipt)
    }

    /// The log that a checkpoint names; the current one when that is none of them.
    fn named(&mut self, note: &[u8]) -> &mut Trust {
        self.of(origin_of(note))
    }

    /// As [`Logs::receipt`], for notices.
    pub(crate) fn notices(&mut self, notices: &Notices) -> Result<(Vec<(u64, Entry)>, Signed), ReceiptError> {
        self.named(&notices.checkpoint).notices(notices)
    }

    /// As [`Logs::receipt`], for entries that were asked for.
    pub(crate) fn entries(&mut self, entries: &Entries) -> Result<(Vec<(u64, Entry)>, Signed), ReceiptError> {
        self.named(&entries.checkpoint).entries(entries)
    }

    pub(crate) fn newest(&mut self, signed: &Signed, now: Timestamp) -> Result<Option<PinRow>, Fork> {
        self.current.newest(signed, now)
    }

    pub(crate) fn observe(&mut self, signed: &Signed, now: Timestamp) -> Result<Option<PinRow>, Fork> {
        self.of(signed.checkpoint.origin()).observe(signed, now)
    }

    pub(crate) fn remembers(&mut self, signed: &Signed) -> bool {
        self.of(signed.checkpoint.origin()).remembers(signed)
    }

    /// See [`Trust::continued`]; of the log that grows alone.
    pub(crate) fn continued(
        &mut self,
        from: &Head,
        to: &Signed,
        now: Timestamp,
    ) -> Result<Option<PinRow>, Fork> {
        self.current.continued(from, to, now)
    }

    /// See [`Trust::contradicts`].
    ///
    /// # Errors
    /// The contradiction.
    pub(crate) fn contradicts(&self, signed: &Signed) -> Result<(), Fork> {
        self.current.contradicts(signed)
    }

    /// Whether the checkpoint of this size of the log that grows waits for its proof.
    pub(crate) fn waits(&self, size: u64) -> bool {
        self.current.waits(size)
    }

    /// The tree that is pinned of the log that grows, and the note that says so.
    pub(crate) fn pinned(&self) -> Option<(Head, &Bytes)> {
        self.current.pinned()
    }

    /// Records that a log was caught: the one that grows, or one before it, on which it follows.
    pub(crate) fn fork(&mut self) -> Option<PinRow> {
        self.current.fork()
    }

    /// A question for proofs, when it is time: the log's origin and the sizes. Those of logs that ended first: they are
    /// few, and the one that grows has new ones all the time.
    pub(crate) fn ask(&mut self, tick: bool) -> Option<(String, Vec<u64>)> {
        self.older
            .iter_mut()
            .chain([&mut self.current])
            .find_map(|trust| Some((trust.log().origin.clone(), trust.ask(tick)?)))
    }

    pub(crate) fn unanswered(&mut self) -> bool {
        // Each of them, not up to the first.
        let mut asked = false;
        for trust in self.all_mut() {
            asked |= trust.unanswered();
        }
        asked
    }

    pub(crate) fn proved(
        &mut self,
        origin: &str,
        sizes: &[u64],
        proofs: &[Vec<Digest>],
    ) -> Result<Option<PinRow>, Fork> {
        self.of(origin).proved(sizes, proofs)
    }

    /// Where the log of a welcome stands.
    pub(crate) fn place(&self, origin: &str, log_key: &str) -> Place {
        let own = succession::log_key(origin, self.log()).is_ok_and(|log| log.key.to_string() == log_key);
        if own && origin == self.log().origin {
            Place::Current
        } else if own && !self.older.iter().any(|older| older.log().origin == origin) {
            Place::Later
        } else {
            Place::Other
        }
    }

    /// The log that a person can accept.
    pub(crate) fn offered(&self) -> Option<&OfferedLog> {
        self.following.as_ref()?.offered.as_ref().map(|(offered, _)| offered)
    }

    /// The origins of all logs, from the first, with what is believed of each.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&str, Option<PinRow>)> {
        self.older.iter().chain([&self.current]).map(|trust| (trust.log().origin.as_str(), trust.pin()))
    }

    /// The session is over, and with it the way to another log.
    pub(crate) fn session(&mut self) {
        self.following = None;
    }

    /// Checks the broker's answer about what followed on the current log.
    fn check(&self, answer: &wire::Succession) -> Result<Box<Succession>, Stop> {
        let unproved = |error: String| Stop::Unproved(error);
        let old = self.log();
        let new = succession::log_key(&answer.origin, old).map_err(|error| unproved(error.to_string()))?;
        if self.older.iter().any(|older| older.log().origin == new.origin) {
            return Err(unproved(format!("{} is an older log", new.origin)));
        }
        let proved = succession::verify((&answer.closing, &answer.opening), old, &new)
            .map_err(|error| unproved(error.to_string()))?;
        let consistent = self.consistent(&proved, &answer.proof);
        if proved.cause == Cause::NewOrigin {
            let offered = OfferedLog {
                old: old.origin.clone(),
                pin: self.pin(),
                last: proved.last.size(),
                consistent: consistent.is_ok(),
                new: new.origin,
            };
            return Err(Stop::ByHand(Box::new((offered, Box::new(proved)))));
        }
        consistent.map_err(Stop::Fork)?;
        Ok(Box::new(proved))
    }

    /// Whether the final checkpoint of the current log extends what is believed of it.
    fn consistent(&self, proved: &Succession, proof: &[Digest]) -> Result<(), Fork> {
        let (size, root) = (proved.last.size(), proved.last.root());
        let fork = |detail: String, note: &Bytes| Fork {
            detail,
            notes: vec![note.clone(), Bytes(proved.last_note.clone())],
        };
        if let Some((waits, row)) = self.current.waits_beyond(size, root) {
            return Err(fork(format!("closed at {size} entries ({root}), but signed one of {waits}"), &row));
        }
        let Some(pin) = self.pin().filter(|pin| pin.size > 0) else { return Ok(()) };
        let note = self.current.note();
        let proof = if pin.size == size { &[] } else { proof };
        verify_consistency(pin.size, size, proof, &pin.root, root).map_err(|error| {
            fork(
                format!("no proof from {} ({}) to the last {size} ({root}): {error}", pin.size, pin.root),
                note,
            )
        })
    }

    /// Goes on to the next log: the old one is closed at its final checkpoint. What a person accepted takes the
    /// place of what was believed of the old log, whose notes stay as evidence.
    fn follow(&mut self, proved: &Succession, by_hand: Option<Timestamp>, now: Timestamp) -> Vec<Write> {
        let mut writes = self.take_changes();
        let Ok(next) = succession::log_key(proved.first.origin(), self.log()) else { return writes };
        let old = core::mem::replace(&mut self.current, Trust::new(next));
        let place = number(self.older.len());
        let pin = PinRow { size: proved.last.size(), root: *proved.last.root(), forked: false };
        let note = Bytes(proved.last_note.clone());
        let origin = old.log().origin.clone();
        let mut closed = Trust::closed(old.log().clone(), Some(pin), note.clone());
        writes.push(Write::Log(place, Box::new(LogRow { origin, closed: Some(pin), note, by_hand: None })));
        for (size, row) in old.into_waiting() {
            writes.push(Write::Waiting(size, None));
            if by_hand.is_none() && size < pin.size {
                writes.push(Write::OlderWaiting(place, size, Some(Box::new(row.clone()))));
                closed.restore_waiting(size, row);
            }
        }
        self.older.push(closed);
        self.named = true;
        writes.push(Write::Log(number(self.older.len()), Box::new(self.name(by_hand))));
        let first = Signed { checkpoint: proved.first.clone(), note: Bytes(proved.first_note.clone()) };
        // The first checkpoint of a log that nothing is known of contradicts nothing.
        if let Ok(Some(pin)) = self.current.newest(&first, now) {
            writes.append(&mut self.current.take_changes());
            writes.push(Write::Pin(pin));
        }
        writes
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Core {
    /// A log that the operator began by hand and that a person can accept, in this session.
    pub fn offered_log(&self) -> Option<&OfferedLog> {
        self.trust.offered()
    }

    /// The origins of all logs, from the first, with what is believed of each.
    pub fn logs(&self) -> impl Iterator<Item = (&str, Option<PinRow>)> {
        self.trust.known()
    }

    /// The broker is with a later log than this agent: it has to prove how it came there.
    pub(crate) fn follow_to(&mut self, welcome: Welcome, turn: &mut Turn) {
        self.trust.following =
            Some(Following { welcome, asked: None, offered: None, held: VecDeque::new(), bytes: 0 });
        self.ask_succession(turn);
    }

    fn ask_succession(&mut self, turn: &mut Turn) {
        let origin = self.trust.log().origin.clone();
        let size = self.trust.pin().map_or(0, |pin| pin.size);
        if let Some(following) = &mut self.trust.following {
            following.asked = Some(0);
            turn.sends.push(Send::FetchSuccession { origin, size });
        }
    }

    /// Time passes: a question that was not answered is asked again.
    pub(crate) fn follow_on(&mut self, turn: &mut Turn) {
        let Some(following) = &mut self.trust.following else { return };
        let Some(ticks) = following.asked.as_mut() else { return };
        *ticks = ticks.saturating_add(1);
        if *ticks >= AGAIN {
            self.ask_succession(turn);
        }
    }

    /// Keeps a packet that came before this agent is with the broker's log. Gives it back when it is.
    pub(crate) fn hold_back(&mut self, offer: Offer) -> Option<Offer> {
        let Some(following) = &mut self.trust.following else { return Some(offer) };
        let bytes = following.bytes.saturating_add(offer.packet.len());
        // A broker has no more than this under way; what comes beyond it is offered again in the next session.
        if following.held.len() < INFLIGHT_MAX && (following.held.is_empty() || bytes <= 2 * INFLIGHT_BYTES) {
            following.bytes = bytes;
            following.held.push_back(offer);
        }
        None
    }

    /// The broker's answer about what followed on the current log; none when it gives none.
    pub(crate) fn succeeded(
        &mut self,
        answer: Option<&wire::Succession>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let Some(following) = &self.trust.following else { return };
        if following.asked.is_none() {
            return;
        }
        let wanted = following.welcome.origin.clone();
        let Some(answer) = answer else {
            let old = &self.trust.log().origin;
            let detail = format!("{wanted}: the broker does not show that it follows on {old}");
            return self.alarm(AlarmKind::OtherLog, detail, now, turn);
        };
        if let Some(following) = &mut self.trust.following {
            following.asked = None;
        }
        // A log that was caught is left by hand alone.
        let forked = self.trust.forked();
        match self.trust.check(answer) {
            Ok(proved) if !forked => self.go_on(&proved, None, now, ports, turn),
            Ok(_) => self.alarm(AlarmKind::OtherLog, format!("{wanted}: after a fork"), now, turn),
            Err(Stop::Fork(fork)) => self.settle(Err(fork), now, turn),
            Err(Stop::Unproved(detail)) => {
                self.alarm(AlarmKind::OtherLog, format!("{wanted}: {detail}"), now, turn);
            }
            Err(Stop::ByHand(offered)) => {
                let detail = format!("{} was begun by hand after {}", offered.0.new, offered.0.old);
                self.alarm(AlarmKind::OtherLog, detail, now, turn);
                if let Some(following) = &mut self.trust.following {
                    following.offered = Some(*offered);
                }
            }
        }
    }

    /// A person accepts the log that the operator began by hand.
    ///
    /// # Errors
    /// [`Refusal::UnknownLog`] unless this session offers just that one.
    pub(crate) fn accept_origin(
        &mut self,
        origin: &str,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let following = self.trust.following.as_mut();
        let offered = following.and_then(|one| one.offered.take_if(|(offered, _)| offered.new == origin));
        let (offered, proved) = offered.ok_or(Refusal::UnknownLog)?;
        let believed = offered.pin.map_or(0, |pin| pin.size);
        let detail = format!(
            "{origin} accepted by hand after {} ({believed} entries believed, {} taken over)",
            offered.old, offered.last
        );
        self.alarm(AlarmKind::OtherLog, detail, now, turn);
        self.go_on(&proved, Some(now), now, ports, turn);
        Ok(())
    }

    fn go_on(
        &mut self,
        proved: &Succession,
        by_hand: Option<Timestamp>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        turn.writes.append(&mut self.trust.follow(proved, by_hand, now));
        self.watching.another_log(now);
        let Some(following) = self.trust.following.take() else { return };
        if following.welcome.origin != self.trust.log().origin {
            // There are more logs in between.
            self.trust.following = Some(following);
            return self.ask_succession(turn);
        }
        self.welcomed(&following.welcome, now, ports, turn);
        if self.connected {
            for offer in following.held {
                self.offered(offer, now, ports, turn);
            }
        }
    }

    /// Reads the checkpoint of a welcome to the current log.
    pub(crate) fn welcome_checkpoint(&self, welcome: &Welcome) -> Result<Signed, String> {
        let log = self.trust.log();
        Checkpoint::verify(&welcome.checkpoint, &log.origin, &log.key)
            .map(|checkpoint| Signed { checkpoint, note: welcome.checkpoint.clone() })
            .map_err(|error| error.to_string())
    }
}
