//! The exchange logs of a broker, one after the other, each with its own pin ([`Trust`]).
//!
//! The last one grows. Those before it are closed: their pin is their final checkpoint, and any other statement of
//! them has to fit it. An agent goes from one to the next by itself when the year is over and both logs prove it;
//! never when the operator began a log by hand, because there the new one follows on what this agent may have
//! reason to doubt. That takes a person ([`crate::Input::AcceptOrigin`]). How it gets there is in `following`.

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{LogKey, Receipt, ReceiptError, VerifiedReceipt};
use seinhuis_shared::succession;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::origin_of;
use seinhuis_shared::tlog::witness::Head;
use seinhuis_shared::wire::{Entries, Notices};

use crate::following::Way;
use crate::rows::{LogRow, PinRow, WaitingRow, Write};
use crate::trust::{Fork, Signed, Trust};

/// How many contradictions are kept with their notes.
const FORKS_KEPT: u8 = 16;

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
    /// How many notes are kept as evidence.
    evidence: u8,
}

impl Logs {
    /// With the log that the broker's card names.
    pub(crate) const fn new(log: LogKey) -> Self {
        Self { older: Vec::new(), current: Trust::new(log), named: false, evidence: 0 }
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
        if place == 0 {
            self.current.restore_note(note);
        } else {
            self.evidence = self.evidence.max(place);
        }
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

    /// See [`Trust::continued`].
    pub(crate) fn continued(
        &mut self,
        from: &Head,
        to: &Signed,
        now: Timestamp,
    ) -> Result<Option<PinRow>, Fork> {
        self.of(to.checkpoint.origin()).continued(from, to, now)
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

    /// See [`Trust::is_pinned`]; of the log that grows.
    pub(crate) fn is_pinned(&self, signed: &Signed) -> bool {
        self.current.is_pinned(signed)
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

    /// The origins of all logs, from the first, with what is believed of each.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&str, Option<PinRow>)> {
        self.older.iter().chain([&self.current]).map(|trust| (trust.log().origin.as_str(), trust.pin()))
    }

    /// The origins of the logs that ended and were caught, from the first.
    pub(crate) fn caught(&self) -> impl Iterator<Item = &str> {
        self.older.iter().filter(|trust| trust.forked()).map(|trust| trust.log().origin.as_str())
    }

    /// The keys of all logs, from the first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &LogKey> {
        self.older.iter().chain([&self.current]).map(Trust::log)
    }

    /// The log at this place, from the first; the one that grows beyond the last that ended.
    pub(crate) fn at(&self, place: usize) -> &Trust {
        self.older.get(place).unwrap_or(&self.current)
    }

    /// The place of the log that grows.
    pub(crate) const fn newest_place(&self) -> usize {
        self.older.len()
    }

    /// The log of this origin, if it is one of these.
    pub(crate) fn with_origin(&self, origin: &str) -> Option<&Trust> {
        self.all().find(|trust| trust.log().origin == origin)
    }

    /// Keeps the notes of a contradiction, apart from those of others before it. There is room for [`FORKS_KEPT`]: the
    /// first ones stay, and the last is always the newest.
    pub(crate) fn evidence(&mut self, notes: [Bytes; 2]) -> Vec<Write> {
        let first = self.evidence.min(FORKS_KEPT.saturating_sub(1).saturating_mul(2)).saturating_add(1);
        self.evidence = first.saturating_add(1);
        (first..).zip(notes).map(|(place, note)| Write::Note(place, note)).collect()
    }

    /// Goes on to the next log: the one it follows on is closed at its final checkpoint. What a person accepted takes
    /// the place of what was believed of that log, whose notes stay as evidence.
    pub(crate) fn follow(&mut self, way: &Way, by_hand: Option<Timestamp>, now: Timestamp) -> Vec<Write> {
        let mut writes = self.take_changes();
        let proved = &way.proved;
        let Ok(next) = succession::log_key(proved.first.origin(), self.log()) else { return writes };
        let caught = self.at(way.place).forked();
        if let Some(fork) = way.fork.as_ref().filter(|_| !caught) {
            writes.append(&mut self.evidence(fork.notes.clone()));
        }
        if way.place < self.newest_place() {
            writes.append(&mut self.leave(way.place));
        }
        let pin = PinRow {
            size: proved.last.size(),
            root: *proved.last.root(),
            forked: caught || way.fork.is_some(),
        };
        let closed =
            Trust::closed(self.at(way.place).log().clone(), Some(pin), Bytes(proved.last_note.clone()));
        let row = ended(&closed);
        writes.extend(row.map(|row| Write::Log(number(way.place), Box::new(row))));
        let fresh = Trust::new(next);
        if let Some(old) = self.older.get_mut(way.place) {
            *old = closed;
            self.current = fresh;
        } else {
            let old = core::mem::replace(&mut self.current, fresh);
            self.older.push(closed);
            writes.append(&mut self.keep_waiting(old, way.place, by_hand.is_none()));
        }
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

    /// What waits for a proof of a log that ended in this turn: it still has to get it, unless a person accepted its
    /// end.
    fn keep_waiting(&mut self, old: Trust, place: usize, keep: bool) -> Vec<Write> {
        let mut writes = Vec::new();
        for (size, row) in old.into_waiting() {
            writes.push(Write::Waiting(size, None));
            let closed = self.older.get_mut(place).filter(|_| keep);
            if let Some(closed) = closed.filter(|closed| closed.pin().is_some_and(|pin| size < pin.size)) {
                writes.push(Write::OlderWaiting(number(place), size, Some(Box::new(row.clone()))));
                closed.restore_waiting(size, row);
            }
        }
        writes
    }

    /// Ends, where they are pinned, the logs after the one at this place, of which the broker knows nothing any more.
    /// Their notes stay; what waits for a proof there, and in the log itself, is dropped.
    fn leave(&mut self, place: usize) -> Vec<Write> {
        let mut writes = Vec::new();
        let newest = self.newest_place();
        let (pin, note) = (self.current.pin(), self.current.note().clone());
        for size in self.current.drop_waiting() {
            writes.push(Write::Waiting(size, None));
        }
        if pin.is_some() {
            self.older.push(Trust::closed(self.current.log().clone(), pin, note));
        }
        for (at, trust) in self.older.iter_mut().enumerate().skip(place) {
            if at < newest {
                let dropped = trust.drop_waiting().into_iter();
                writes.extend(dropped.map(|size| Write::OlderWaiting(number(at), size, None)));
            }
            if at > place {
                trust.fork();
                let row = ended(trust);
                writes.extend(row.map(|row| Write::Log(number(at), Box::new(row))));
            }
        }
        writes
    }
}

/// The row of a log that has ended.
fn ended(trust: &Trust) -> Option<LogRow> {
    let closed = Some(trust.pin()?);
    Some(LogRow { origin: trust.log().origin.clone(), closed, note: trust.note().clone(), by_hand: None })
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
