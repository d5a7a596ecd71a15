//! What is believed of the exchange log: a pinned checkpoint that only ever moves to a tree proved to
//! extend it.
//!
//! Every signed checkpoint that passes by, in a welcome or a receipt, has to fit the pin: sooner or later
//! it is proved consistent, or the log is caught showing different partners different histories.

use std::collections::BTreeMap;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{CheckpointCache, LogKey, Receipt, ReceiptError, VerifiedReceipt};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::wire::{CONSISTENCY_SIZES_MAX, FetchConsistency, Message as _};

use crate::rows::PinRow;

/// How many checkpoints may wait for a proof before one is asked for without waiting for the tick.
const EAGER: usize = CONSISTENCY_SIZES_MAX - 1;

/// Two signed statements of the log that cannot both be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fork {
    /// Which, for the operator and as a pointer to the evidence.
    pub(crate) detail: String,
}

#[derive(Debug)]
pub(crate) struct Trust {
    log: LogKey,
    cache: CheckpointCache,
    pin: Option<PinRow>,
    waiting: BTreeMap<u64, Digest>,
    asked: Option<Vec<u64>>,
    /// The last question was not answered: the next waits for a tick.
    patient: bool,
}

impl Trust {
    pub(crate) fn new(log: LogKey) -> Self {
        Self {
            log,
            cache: CheckpointCache::default(),
            pin: None,
            waiting: BTreeMap::new(),
            asked: None,
            patient: false,
        }
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

    pub(crate) fn forked(&self) -> bool {
        self.pin.is_some_and(|pin| pin.forked)
    }

    pub(crate) fn unproven(&self) -> usize {
        self.waiting.len()
    }

    /// Reads a receipt and checks signature and inclusion; says nothing about consistency yet.
    pub(crate) fn receipt(&mut self, bytes: &[u8]) -> Result<VerifiedReceipt, ReceiptError> {
        Receipt::parse(bytes)?.verify(&self.log, &mut self.cache)
    }

    /// Takes in the newest checkpoint of a session: it may not lie before the pin.
    pub(crate) fn newest(&mut self, checkpoint: &Checkpoint) -> Result<Option<PinRow>, Fork> {
        match self.pin {
            Some(pin) if checkpoint.size() < pin.size => {
                Err(Fork { detail: format!("shrank from {} to {} entries", pin.size, checkpoint.size()) })
            }
            _ => self.observe(checkpoint),
        }
    }

    /// Takes in a signed checkpoint. Gives a pin to store when it is the first.
    pub(crate) fn observe(&mut self, checkpoint: &Checkpoint) -> Result<Option<PinRow>, Fork> {
        let (size, root) = (checkpoint.size(), *checkpoint.root());
        let Some(pin) = self.pin else {
            self.pin = Some(PinRow { size, root, forked: false });
            return Ok(self.pin);
        };
        let known = if size == pin.size { Some(pin.root) } else { self.waiting.get(&size).copied() };
        match known {
            Some(known) if known == root => Ok(None),
            Some(known) => Err(Fork { detail: format!("two roots for {size} entries: {known} and {root}") }),
            // Every log extends the empty one, whose root is fixed: nothing is to be proved.
            None if size == 0 => Ok(None),
            None if pin.size == 0 => {
                self.pin = Some(PinRow { size, root, ..pin });
                Ok(self.pin)
            }
            None => {
                self.waiting.insert(size, root);
                Ok(None)
            }
        }
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
            if (FetchConsistency { sizes: sizes.clone() }).to_frame().is_err() {
                sizes.pop();
                break;
            }
        }
        sizes.sort_unstable();
        self.asked = Some(sizes.clone());
        Some(sizes)
    }

    /// The answer will not come.
    pub(crate) fn unanswered(&mut self) {
        self.asked = None;
        self.patient = true;
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
        let root =
            |size: u64| if size == pin.size { Some(pin.root) } else { self.waiting.get(&size).copied() };
        let mut steps = proofs.iter();
        for pair in sizes.windows(2) {
            let &[old, new] = pair else { continue };
            let (Some(old_root), Some(new_root)) = (root(old), root(new)) else { return Ok(None) };
            let proof = steps.next().map(Vec::as_slice).unwrap_or_default();
            verify_consistency(old, new, proof, &old_root, &new_root).map_err(|error| Fork {
                detail: format!("no proof from {old} ({old_root}) to {new} ({new_root}) entries: {error}"),
            })?;
        }
        let largest = sizes.last().and_then(|size| root(*size).map(|root| (*size, root)));
        for size in sizes {
            self.waiting.remove(size);
        }
        match largest {
            Some((size, root)) if size > pin.size => {
                self.pin = Some(PinRow { size, root, ..pin });
                Ok(self.pin)
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

    fn checkpoint(tree: &BatchTree) -> Checkpoint {
        Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap()
    }

    #[test]
    fn the_pin_moves_only_along_proofs() {
        let mut trust = trust();
        let first = tree(0..5, Frontier::empty(), 0);
        let second = tree(5..9, first.tip().clone(), 0);
        let third = tree(9..12, second.tip().clone(), 0);
        assert_eq!(trust.newest(&checkpoint(&first)).unwrap().unwrap().size, 5);
        assert_eq!(trust.observe(&checkpoint(&third)), Ok(None));
        assert_eq!(trust.observe(&checkpoint(&second)), Ok(None));
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
        trust.newest(&checkpoint(&second)).unwrap();
        trust.observe(&checkpoint(&first)).unwrap();
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
            trust.newest(&checkpoint(&first)).unwrap();
            trust
        };
        let same_size = tree(0..5, Frontier::empty(), 1);
        assert!(pinned().observe(&checkpoint(&same_size)).is_err(), "another root of the pinned size");
        let mut trust = pinned();
        trust.observe(&checkpoint(&second)).unwrap();
        assert!(trust.observe(&checkpoint(&other)).is_err(), "another root of a waiting size");
        let mut trust = pinned();
        trust.observe(&checkpoint(&other)).unwrap();
        let sizes = trust.ask(true).unwrap();
        let proof = second.consistency_proof().unwrap();
        assert!(trust.proved(&sizes, &[proof]).is_err(), "the proof leads elsewhere");
        assert!(!trust.forked());
        assert!(trust.fork().unwrap().forked && trust.forked());
        let mut trust = pinned();
        trust.observe(&checkpoint(&second)).unwrap();
        let sizes = trust.ask(true).unwrap();
        assert!(trust.proved(&sizes, &[]).is_err(), "no proof at all");
    }

    #[test]
    fn a_log_that_shrank_is_a_fork() {
        let first = tree(0..5, Frontier::empty(), 0);
        let second = tree(5..9, first.tip().clone(), 0);
        let mut trust = trust();
        trust.newest(&checkpoint(&second)).unwrap();
        assert!(trust.newest(&checkpoint(&first)).is_err());
        assert_eq!(trust.newest(&checkpoint(&second)), Ok(None));
    }

    #[test]
    fn many_waiting_are_asked_for_at_once_and_within_the_bound() {
        let mut trust = trust();
        let mut tip = tree(0..1, Frontier::empty(), 0);
        trust.newest(&checkpoint(&tip)).unwrap();
        for leaf in 1..40 {
            tip = tree(leaf..leaf + 1, tip.tip().clone(), 0);
            trust.observe(&checkpoint(&tip)).unwrap();
        }
        assert_eq!(trust.ask(false).unwrap().len(), CONSISTENCY_SIZES_MAX);
        trust.unanswered();
        assert_eq!(trust.ask(false), None, "a broker that does not answer is not pressed");
        assert!(trust.ask(true).is_some());
    }

    #[test]
    fn a_question_about_large_sizes_fits_its_frame() {
        let mut trust = trust();
        let large = |n: u64| Checkpoint::new(ORIGIN, u64::MAX - n, leaf_hash(&n.to_be_bytes())).unwrap();
        for n in 0..40 {
            trust.observe(&large(n)).unwrap();
        }
        let sizes = trust.ask(true).unwrap();
        assert!(sizes.len() >= 2 && FetchConsistency { sizes }.to_frame().is_ok());
    }
}
