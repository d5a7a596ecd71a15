//! What is believed of the exchange log: a pinned checkpoint that only ever moves to a tree proved to
//! extend it.
//!
//! Every signed checkpoint that passes by, in a welcome or a receipt, has to fit the pin: it is kept until
//! it is proved consistent, or the log is caught showing different partners different histories. A broker
//! that proves nothing gets nothing more either: see [`Trust::stalled`].

use std::collections::BTreeMap;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{CheckpointCache, LogKey, Receipt, ReceiptError, VerifiedReceipt};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::tlog::witness::Head;
use seinhuis_shared::wire::{CONSISTENCY_SIZES_MAX, Entries, FetchConsistency, Message as _, Notices};

use crate::rows::{PinRow, WaitingRow, Write};

/// How many checkpoints may wait for a proof before one is asked for without waiting for the tick.
const EAGER: usize = CONSISTENCY_SIZES_MAX - 1;

/// Most checkpoints that wait for a proof. Beyond it nothing that rests on yet another one is believed.
pub(crate) const WAITING_MAX: usize = 4096;
/// Longest wait for a proof before nothing more is submitted.
pub(crate) const PROOF_WAIT: Span = Span::minutes(10);

/// A checkpoint and the note it was read from, whose signature has been checked.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: Bytes,
}

/// Two signed statements of the log that cannot both be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fork {
    /// Which, for the operator and as a pointer to the evidence.
    pub(crate) detail: String,
    /// The signed notes, as far as they are at hand.
    pub(crate) notes: [Bytes; 2],
}

#[derive(Debug)]
pub(crate) struct Trust {
    log: LogKey,
    cache: CheckpointCache,
    pin: Option<PinRow>,
    /// The signed note of the pin; empty when the pin is older than the habit of keeping it.
    note: Bytes,
    waiting: BTreeMap<u64, WaitingRow>,
    /// A checkpoint had to be turned away because too many wait.
    full: bool,
    /// What is to become durable.
    changes: Vec<Write>,
    asked: Option<Vec<u64>>,
    /// The last question was not answered: the next waits for a tick.
    patient: bool,
    /// The log has ended: the pin is its final checkpoint.
    closed: bool,
}

impl Trust {
    pub(crate) const fn new(log: LogKey) -> Self {
        Self {
            log,
            cache: CheckpointCache::new(),
            pin: None,
            note: Bytes(Vec::new()),
            waiting: BTreeMap::new(),
            full: false,
            changes: Vec::new(),
            asked: None,
            patient: false,
            closed: false,
        }
    }

    /// A log that has ended, with its final checkpoint.
    pub(crate) fn closed(log: LogKey, last: Option<PinRow>, note: Bytes) -> Self {
        Self { pin: last, note, closed: true, ..Self::new(log) }
    }

    pub(crate) fn rename(&mut self, log: LogKey) {
        self.log = log;
    }

    pub(crate) const fn note(&self) -> &Bytes {
        &self.note
    }

    /// A checkpoint that waits and that a log which ends with this one cannot have signed: its size and note.
    pub(crate) fn waits_beyond(&self, size: u64, root: &Digest) -> Option<(u64, Bytes)> {
        let (waits, row) =
            self.waiting.range(size..).find(|(waits, row)| **waits > size || row.root != *root)?;
        Some((*waits, row.note.clone()))
    }

    pub(crate) fn into_waiting(self) -> BTreeMap<u64, WaitingRow> {
        self.waiting
    }

    pub(crate) const fn log(&self) -> &LogKey {
        &self.log
    }

    pub(crate) const fn pin(&self) -> Option<PinRow> {
        self.pin
    }

    pub(crate) fn restore(&mut self, pin: PinRow) {
        self.pin = Some(pin);
    }

    pub(crate) fn restore_waiting(&mut self, size: u64, row: WaitingRow) {
        self.waiting.insert(size, row);
    }

    pub(crate) fn restore_note(&mut self, note: Bytes) {
        self.note = note;
    }

    /// Whether the log has ended.
    pub(crate) const fn has_ended(&self) -> bool {
        self.closed
    }

    /// Drops what waits for a proof that will not come; the sizes.
    pub(crate) fn drop_waiting(&mut self) -> Vec<u64> {
        self.full = false;
        self.asked = None;
        core::mem::take(&mut self.waiting).into_keys().collect()
    }

    /// What changed since the last call and is to become durable.
    pub(crate) fn take_changes(&mut self) -> Vec<Write> {
        core::mem::take(&mut self.changes)
    }

    /// Whether so many checkpoints wait that another one was turned away.
    pub(crate) const fn full(&self) -> bool {
        self.full
    }

    /// Since when a proof is overdue at `now`, if one is.
    fn overdue(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.waiting.values().map(|row| row.since).min()?;
        (oldest.plus(PROOF_WAIT) < now).then_some(oldest)
    }

    /// Whether the broker owes proofs for so long, or so many, that it gets no more packets.
    pub(crate) fn stalled(&self, now: Timestamp) -> bool {
        self.full || self.overdue(now).is_some()
    }

    /// What to tell when a question was not answered and proofs are overdue.
    pub(crate) fn complaint(&self, now: Timestamp) -> Option<String> {
        if self.full {
            return Some(format!("more than {WAITING_MAX} checkpoints wait for a proof"));
        }
        self.overdue(now).map(|since| format!("a checkpoint waits for a proof since {since}"))
    }

    pub(crate) fn forked(&self) -> bool {
        self.pin.is_some_and(|pin| pin.forked)
    }

    pub(crate) fn unproven(&self) -> usize {
        self.waiting.len()
    }

    /// Checks signature and inclusion of a receipt; says nothing about consistency yet.
    pub(crate) fn receipt(&mut self, receipt: Receipt) -> Result<(VerifiedReceipt, Signed), ReceiptError> {
        let verified = receipt.verify(&self.log, &mut self.cache)?;
        let signed = Signed { checkpoint: verified.checkpoint.clone(), note: receipt.checkpoint };
        Ok((verified, signed))
    }

    /// As [`Trust::receipt`], for notices.
    pub(crate) fn notices(&mut self, notices: &Notices) -> Result<(Vec<(u64, Entry)>, Signed), ReceiptError> {
        let (checkpoint, entries) = notices.verify(&self.log, &mut self.cache)?;
        Ok((entries, Signed { checkpoint, note: notices.checkpoint.clone() }))
    }

    /// As [`Trust::receipt`], for entries that were asked for.
    pub(crate) fn entries(&mut self, entries: &Entries) -> Result<(Vec<(u64, Entry)>, Signed), ReceiptError> {
        let (checkpoint, read) = entries.verify(&self.log, &mut self.cache)?;
        Ok((read, Signed { checkpoint, note: entries.checkpoint.clone() }))
    }

    /// Takes in the newest checkpoint of a session: it may not lie before the pin.
    pub(crate) fn newest(&mut self, signed: &Signed, now: Timestamp) -> Result<Option<PinRow>, Fork> {
        let size = signed.checkpoint.size();
        match self.pin {
            Some(pin) if size < pin.size => Err(Fork {
                detail: format!("shrank from {} to {size} entries", pin.size),
                notes: [self.note.clone(), signed.note.clone()],
            }),
            _ => self.observe(signed, now),
        }
    }

    /// Takes in a signed checkpoint. Gives a pin to store when it is the first.
    pub(crate) fn observe(&mut self, signed: &Signed, now: Timestamp) -> Result<Option<PinRow>, Fork> {
        let (size, root) = (signed.checkpoint.size(), *signed.checkpoint.root());
        let Some(pin) = self.pin else {
            return Ok(self.move_pin(PinRow { size, root, forked: false }, signed.note.clone()));
        };
        match self.known(size) {
            Some((known, _)) if *known == root => Ok(None),
            Some((known, note)) => Err(Fork {
                detail: format!("two roots for {size} entries: {known} and {root}"),
                notes: [note.clone(), signed.note.clone()],
            }),
            None if self.closed && size > pin.size => Err(Fork {
                detail: format!("{} ended with {} entries, but signed {size}", self.log.origin, pin.size),
                notes: [self.note.clone(), signed.note.clone()],
            }),
            // Every log extends the empty one, whose root is fixed: nothing is to be proved.
            None if size == 0 => Ok(None),
            None if pin.size == 0 => Ok(self.move_pin(PinRow { size, root, ..pin }, signed.note.clone())),
            None if self.waiting.len() >= WAITING_MAX => {
                self.full = true;
                Ok(None)
            }
            None => {
                let row = WaitingRow { root, since: now, note: signed.note.clone() };
                self.changes.push(Write::Waiting(size, Some(Box::new(row.clone()))));
                self.waiting.insert(size, row);
                Ok(None)
            }
        }
    }

    /// Whether a checkpoint is kept, so that what rests on it can be held against the log later.
    pub(crate) fn remembers(&self, signed: &Signed) -> bool {
        let size = signed.checkpoint.size();
        size == 0 || self.known(size).is_some_and(|(root, _)| root == signed.checkpoint.root())
    }

    /// Root and note of a size that is pinned or waits.
    fn known(&self, size: u64) -> Option<(&Digest, &Bytes)> {
        match &self.pin {
            Some(pin) if pin.size == size => Some((&pin.root, &self.note)),
            _ => self.waiting.get(&size).map(|row| (&row.root, &row.note)),
        }
    }

    fn move_pin(&mut self, pin: PinRow, note: Bytes) -> Option<PinRow> {
        self.pin = Some(pin);
        self.note = note;
        self.changes.push(Write::Note(0, self.note.clone()));
        self.pin
    }

    /// Moves the pin to a tree that was proved to continue the one of `from`, if that is the one pinned; takes it in
    /// as any other checkpoint if it is not, or if the log has ended.
    pub(crate) fn continued(
        &mut self,
        from: &Head,
        to: &Signed,
        now: Timestamp,
    ) -> Result<Option<PinRow>, Fork> {
        let (size, root) = (to.checkpoint.size(), *to.checkpoint.root());
        match self.pin {
            Some(pin)
                if !self.closed && (pin.size, pin.root) == (from.size, from.root) && size > pin.size =>
            {
                self.contradicts(to)?;
                if self.waiting.remove(&size).is_some() {
                    self.changes.push(Write::Waiting(size, None));
                    self.full &= self.waiting.len() >= WAITING_MAX;
                }
                Ok(self.move_pin(PinRow { size, root, ..pin }, to.note.clone()))
            }
            _ => self.observe(to, now),
        }
    }

    /// Whether a checkpoint contradicts one that is known of its size.
    ///
    /// # Errors
    /// The contradiction.
    pub(crate) fn contradicts(&self, signed: &Signed) -> Result<(), Fork> {
        let (size, root) = (signed.checkpoint.size(), signed.checkpoint.root());
        match self.known(size) {
            Some((known, note)) if known != root => Err(Fork {
                detail: format!("two roots for {size} entries: {known} and {root}"),
                notes: [note.clone(), signed.note.clone()],
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a checkpoint is of the history that is pinned, without a proof that is still owed: it is the pin, or
    /// empty.
    pub(crate) fn is_pinned(&self, signed: &Signed) -> bool {
        let (size, root) = (signed.checkpoint.size(), signed.checkpoint.root());
        size == 0 || self.pin.is_some_and(|pin| (pin.size, pin.root) == (size, *root))
    }

    /// Whether the checkpoint of this size waits for its proof.
    pub(crate) fn waits(&self, size: u64) -> bool {
        self.waiting.contains_key(&size)
    }

    /// The tree that is pinned, and the note that says so.
    pub(crate) fn pinned(&self) -> Option<(Head, &Bytes)> {
        self.pin.map(|pin| (Head { size: pin.size, root: pin.root }, &self.note))
    }

    /// Records that the log was caught.
    pub(crate) fn fork(&mut self) -> Option<PinRow> {
        let pin = self.pin.as_mut()?;
        pin.forked = true;
        Some(*pin)
    }

    /// The sizes to ask a proof for, when it is time: at once when many wait, otherwise at a tick.
    pub(crate) fn ask(&mut self, tick: bool) -> Option<Vec<u64>> {
        let pin = self.pin?;
        let eager = !self.patient && self.waiting.len() >= EAGER;
        if self.asked.is_some() || self.waiting.is_empty() || !(tick || eager) {
            return None;
        }
        self.patient = false;
        let mut sizes = vec![pin.size];
        for size in self.waiting.keys().copied().take(EAGER) {
            sizes.push(size);
            // How many fit depends on how large the numbers are; the rest is for the next question.
            let origin = self.log.origin.clone();
            if (FetchConsistency { origin, sizes: sizes.clone() }).to_frame().is_err() {
                sizes.pop();
                break;
            }
        }
        sizes.sort_unstable();
        self.asked = Some(sizes.clone());
        Some(sizes)
    }

    /// The answer will not come. Tells whether there was a question.
    pub(crate) fn unanswered(&mut self) -> bool {
        self.patient = true;
        self.asked.take().is_some()
    }

    /// Checks the proofs between neighbouring sizes and moves the pin to the largest.
    ///
    /// An answer to another question changes nothing.
    pub(crate) fn proved(&mut self, sizes: &[u64], proofs: &[Vec<Digest>]) -> Result<Option<PinRow>, Fork> {
        let Some(pin) = self.pin else { return Ok(None) };
        if self.asked.as_deref() != Some(sizes) {
            return Ok(None);
        }
        self.asked = None;
        let mut steps = proofs.iter();
        for pair in sizes.windows(2) {
            let &[old, new] = pair else { continue };
            let (Some((old_root, old_note)), Some((new_root, new_note))) = (self.known(old), self.known(new))
            else {
                return Ok(None);
            };
            let proof = steps.next().map(Vec::as_slice).unwrap_or_default();
            verify_consistency(old, new, proof, old_root, new_root).map_err(|error| Fork {
                detail: format!("no proof from {old} ({old_root}) to {new} ({new_root}) entries: {error}"),
                notes: [old_note.clone(), new_note.clone()],
            })?;
        }
        let known = |size: &u64| self.known(*size).map(|(root, note)| (*size, *root, note.clone()));
        let largest = sizes.last().and_then(known);
        for size in sizes {
            if self.waiting.remove(size).is_some() {
                self.changes.push(Write::Waiting(*size, None));
            }
        }
        self.full &= self.waiting.len() >= WAITING_MAX;
        match largest {
            Some((size, root, note)) if size > pin.size => {
                Ok(self.move_pin(PinRow { size, root, ..pin }, note))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use seinhuis_shared::tlog::hash::leaf_hash;
    use seinhuis_shared::tlog::note::VerifierKey;
    use seinhuis_shared::tlog::tree::{BatchTree, Frontier};

    use super::*;

    const ORIGIN: &str = "broker.example/log";

    fn trust() -> Trust {
        let key = ed25519_dalek::SigningKey::from_bytes(&[4; 32]);
        let key = VerifierKey::new(ORIGIN, key.verifying_key()).unwrap();
        Trust::new(LogKey { origin: ORIGIN.into(), key })
    }

    fn tree(leaves: std::ops::Range<u64>, base: Frontier, salt: u8) -> BatchTree {
        let mut tree = BatchTree::new(base);
        for leaf in leaves {
            tree.append(leaf_hash(&[&leaf.to_be_bytes()[..], &[salt]].concat())).unwrap();
        }
        tree
    }

    const NOW: Timestamp = Timestamp(1_780_000_000_000);

    fn signed(size: u64, root: Digest) -> Signed {
        let note = Bytes(format!("{size} {root}").into_bytes());
        Signed { checkpoint: Checkpoint::new(ORIGIN, size, root).unwrap(), note }
    }

    fn checkpoint(tree: &BatchTree) -> Signed {
        signed(tree.size(), tree.root())
    }

    /// What a restart finds.
    fn restored(rows: &[Write]) -> Trust {
        let mut trust = trust();
        for row in rows {
            if let Write::Pin(pin) = row {
                trust.restore(*pin);
            } else if let Write::Waiting(size, Some(row)) = row {
                trust.restore_waiting(*size, (**row).clone());
            } else if let Write::Note(0, note) = row {
                trust.restore_note(note.clone());
            }
        }
        trust
    }

    #[test]
    fn what_waits_is_remembered_over_a_restart_with_its_evidence() {
        let mut trust = trust();
        let first = tree(0..5, Frontier::empty(), 0);
        let second = tree(5..9, first.tip().clone(), 0);
        let pin = trust.newest(&checkpoint(&first), NOW).unwrap().unwrap();
        trust.observe(&checkpoint(&second), NOW).unwrap();
        let mut rows = trust.take_changes();
        rows.push(Write::Pin(pin));
        let mut again = restored(&rows);
        assert_eq!((again.unproven(), again.pin()), (1, Some(pin)));
        let other = checkpoint(&tree(0..9, Frontier::empty(), 1));
        let fork = again.observe(&other, NOW).unwrap_err();
        assert_eq!(fork.notes, [checkpoint(&second).note, other.note]);
        let mut again = restored(&rows);
        let sizes = again.ask(true).unwrap();
        again.proved(&sizes, &[second.consistency_proof().unwrap()]).unwrap();
        let changes = again.take_changes();
        assert_eq!(changes, [Write::Waiting(9, None), Write::Note(0, checkpoint(&second).note)]);
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_time() {
        let mut trust = trust();
        let one = |size: u64| signed(size, leaf_hash(&size.to_be_bytes()));
        for size in 1..=u64::try_from(WAITING_MAX).unwrap() + 1 {
            trust.observe(&one(size), NOW).unwrap();
            assert!(trust.remembers(&one(size)));
        }
        assert!(!trust.stalled(NOW.plus(PROOF_WAIT)));
        assert!(trust.stalled(NOW.plus(PROOF_WAIT).plus(Span(1))), "the oldest waits too long");
        assert!(!trust.full());
        let more = one(u64::MAX);
        trust.observe(&more, NOW).unwrap();
        assert_eq!(trust.unproven(), WAITING_MAX);
        assert!(trust.full() && trust.stalled(NOW) && !trust.remembers(&more));
    }

    #[test]
    fn the_pin_moves_only_along_proofs() {
        let mut trust = trust();
        let first = tree(0..5, Frontier::empty(), 0);
        let second = tree(5..9, first.tip().clone(), 0);
        let third = tree(9..12, second.tip().clone(), 0);
        assert_eq!(trust.newest(&checkpoint(&first), NOW).unwrap().unwrap().size, 5);
        assert_eq!(trust.observe(&checkpoint(&third), NOW), Ok(None));
        assert_eq!(trust.observe(&checkpoint(&second), NOW), Ok(None));
        assert_eq!(trust.ask(false), None, "few waiting: at the tick");
        let sizes = trust.ask(true).unwrap();
        assert_eq!(sizes, [5, 9, 12]);
        assert_eq!(trust.ask(true), None, "one question at a time");
        let proofs = [second.consistency_proof().unwrap(), third.consistency_proof().unwrap()];
        assert_eq!(trust.proved(&[5, 9], &proofs), Ok(None), "not the question");
        assert_eq!(trust.pin().unwrap().size, 5);
        trust.unanswered();
        assert_eq!(trust.ask(true).unwrap(), sizes);
        assert_eq!(trust.proved(&sizes, &proofs).unwrap().unwrap().size, 12);
        assert_eq!(trust.unproven(), 0);
    }

    #[test]
    fn an_older_checkpoint_has_to_fit_as_well() {
        let mut trust = trust();
        let first = tree(0..5, Frontier::empty(), 0);
        let second = tree(5..9, first.tip().clone(), 0);
        trust.newest(&checkpoint(&second), NOW).unwrap();
        trust.observe(&checkpoint(&first), NOW).unwrap();
        let sizes = trust.ask(true).unwrap();
        assert_eq!(trust.proved(&sizes, &[second.consistency_proof().unwrap()]), Ok(None));
        assert_eq!((trust.unproven(), trust.pin().unwrap().size), (0, 9));
    }

    #[test]
    fn another_history_is_a_fork() {
        let first = tree(0..5, Frontier::empty(), 0);
        let second = tree(5..9, first.tip().clone(), 0);
        let other = tree(0..9, Frontier::empty(), 1);
        let pinned = || {
            let mut trust = trust();
            trust.newest(&checkpoint(&first), NOW).unwrap();
            trust
        };
        let same_size = tree(0..5, Frontier::empty(), 1);
        assert!(pinned().observe(&checkpoint(&same_size), NOW).is_err(), "another root of the pinned size");
        let mut trust = pinned();
        trust.observe(&checkpoint(&second), NOW).unwrap();
        assert!(trust.observe(&checkpoint(&other), NOW).is_err(), "another root of a waiting size");
        let mut trust = pinned();
        trust.observe(&checkpoint(&other), NOW).unwrap();
        let sizes = trust.ask(true).unwrap();
        let proof = second.consistency_proof().unwrap();
        assert!(trust.proved(&sizes, &[proof]).is_err(), "the proof leads elsewhere");
        assert!(!trust.forked());
        assert!(trust.fork().unwrap().forked && trust.forked());
        let mut trust = pinned();
        trust.observe(&checkpoint(&second), NOW).unwrap();
        let sizes = trust.ask(true).unwrap();
        assert!(trust.proved(&sizes, &[]).is_err(), "no proof at all");
    }

    #[test]
    fn a_log_that_shrank_is_a_fork() {
        let first = tree(0..5, Frontier::empty(), 0);
        let second = tree(5..9, first.tip().clone(), 0);
        let mut trust = trust();
        trust.newest(&checkpoint(&second), NOW).unwrap();
        assert!(trust.newest(&checkpoint(&first), NOW).is_err());
        assert_eq!(trust.newest(&checkpoint(&second), NOW), Ok(None));
    }

    #[test]
    fn many_waiting_are_asked_for_at_once_and_within_the_bound() {
        let mut trust = trust();
        let mut tip = tree(0..1, Frontier::empty(), 0);
        trust.newest(&checkpoint(&tip), NOW).unwrap();
        for leaf in 1..40 {
            tip = tree(leaf..leaf + 1, tip.tip().clone(), 0);
            trust.observe(&checkpoint(&tip), NOW).unwrap();
        }
        assert_eq!(trust.ask(false).unwrap().len(), CONSISTENCY_SIZES_MAX);
        trust.unanswered();
        assert_eq!(trust.ask(false), None, "a broker that does not answer is not pressed");
        assert!(trust.ask(true).is_some());
    }

    #[test]
    fn a_question_about_large_sizes_fits_its_frame() {
        let mut trust = trust();
        let large = |n: u64| signed(u64::MAX - n, leaf_hash(&n.to_be_bytes()));
        for n in 0..40 {
            trust.observe(&large(n), NOW).unwrap();
        }
        let sizes = trust.ask(true).unwrap();
        assert!(sizes.len() >= 2 && FetchConsistency { origin: ORIGIN.into(), sizes }.to_frame().is_ok());
    }
}
