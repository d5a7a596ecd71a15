//! Receipts: log entries, proved to stand in a tree whose head the log has signed.
//!
//! A receipt says no more than its entries say and needs no signature of its own: the checkpoint's covers
//! the tree, the tree covers the entries. It is made in the same turn as the entries, so that holding one
//! means the outcome was on stable storage before it was sent.

pub mod file;

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::cbor::{self, Bytes};
use crate::entry::{Entry, Kind};
use crate::ids::{Digest, MsgId, Oin};
use crate::limits::{CHECKPOINT_MAX, ENTRY_MAX, PROOF_MAX, RECIPIENTS_MAX, SMALL_FRAME_MAX};
use crate::packet::Packet;
use crate::refusal::Refusal;
use crate::tlog::checkpoint::{Checkpoint, CheckpointError};
use crate::tlog::hash::leaf_hash;
use crate::tlog::note::VerifierKey;
use crate::tlog::proof::{ProofError, verify_inclusion};

/// Most bytes of a receipt.
pub const RECEIPT_MAX: usize = 2 * SMALL_FRAME_MAX - 256;

/// One entry with its place: `[index, entry, path]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ProvedEntry {
    /// The entry's index in the log.
    pub index: u64,
    /// The entry's exact bytes.
    pub entry: Bytes,
    /// The inclusion proof in the tree of the receipt's checkpoint, lowest hash first.
    pub path: Vec<Digest>,
}

impl ProvedEntry {
    /// Checks the proof; gives index and content.
    ///
    /// # Errors
    /// [`ReceiptError::Proof`], [`ReceiptError::Entry`].
    pub fn verify(&self, checkpoint: &Checkpoint) -> Result<(u64, Entry), ReceiptError> {
        let index = self.index;
        let leaf = leaf_hash(&self.entry);
        verify_inclusion(index, checkpoint.size(), &leaf, &self.path, checkpoint.root())
            .map_err(|error| ReceiptError::Proof { index, error })?;
        let entry = Entry::parse(&self.entry).map_err(|_| ReceiptError::Entry { index })?;
        Ok((index, entry))
    }
}

/// A receipt as sent and kept: `[1, checkpoint, entries]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Receipt {
    /// Format version, 1.
    pub version: u8,
    /// The signed checkpoint (C2SP signed note).
    pub checkpoint: Bytes,
    /// 1 to 16 entries.
    pub entries: Vec<ProvedEntry>,
}

/// Why a receipt proves nothing. The broker's fault: keep the receipt and tell the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a receipt of this version.
    #[error("this is not a receipt of version 1: {0}")]
    Form(Refusal),
    /// The checkpoint is not the log's.
    #[error("the receipt's checkpoint does not count: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// An entry is not proved.
    #[error("the receipt's entry {index} is not proved: {error}")]
    Proof {
        /// The entry's index.
        index: u64,
        /// What is wrong with the proof.
        error: ProofError,
    },
    /// An entry cannot be read.
    #[error("the receipt's entry {index} cannot be read")]
    Entry {
        /// The entry's index.
        index: u64,
    },
    /// The receipt is sound, but about something else.
    #[error("the receipt is about another packet or outcome")]
    NotAboutThis,
}

/// A log's public identity: its origin and verifier key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The origin line of its checkpoints.
    pub origin: String,
    /// The key that signs them.
    pub key: VerifierKey,
}

/// The last checkpoint that was verified: the receipts of one turn share theirs.
#[derive(Debug, Clone, Default)]
pub struct CheckpointCache(Option<(Vec<u8>, Checkpoint)>);

impl CheckpointCache {
    /// Nothing was verified yet.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Verifies a checkpoint, at no cost when it is the last one again.
    ///
    /// # Errors
    /// Those of [`Checkpoint::verify`].
    pub fn verify(&mut self, note: &[u8], log: &LogKey) -> Result<Checkpoint, CheckpointError> {
        if let Some((seen, checkpoint)) = &self.0
            && seen == note
        {
            return Ok(checkpoint.clone());
        }
        let checkpoint = Checkpoint::verify(note, &log.origin, &log.key)?;
        self.0 = Some((note.to_vec(), checkpoint.clone()));
        Ok(checkpoint)
    }
}

/// A receipt whose checkpoint is signed by the log and whose entries are in its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Index and content of each entry, in the receipt's order.
    pub entries: Vec<(u64, Entry)>,
    /// The hash of each as a leaf of the log: what recipients' statements link to.
    pub leaves: Vec<Digest>,
}

impl Receipt {
    /// The receipt's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a receipt's form; proves nothing.
    ///
    /// # Errors
    /// [`ReceiptError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let receipt: Self =
            cbor::strict(bytes, RECEIPT_MAX).map_err(|error| ReceiptError::Form(error.into()))?;
        if receipt.version != 1 {
            return Err(ReceiptError::Form(Refusal::UnknownVersion));
        }
        let bounded = (1..=RECIPIENTS_MAX).contains(&receipt.entries.len())
            && receipt.checkpoint.len() <= CHECKPOINT_MAX
            && receipt
                .entries
                .iter()
                .all(|proved| proved.entry.len() <= ENTRY_MAX && proved.path.len() <= PROOF_MAX);
        if bounded { Ok(receipt) } else { Err(ReceiptError::Form(Refusal::TooLarge)) }
    }

    /// Checks the checkpoint's signature and every inclusion proof.
    ///
    /// # Errors
    /// [`ReceiptError`], by what fails first.
    pub fn verify(&self, log: &LogKey, cache: &mut CheckpointCache) -> Result<VerifiedReceipt, ReceiptError> {
        let checkpoint = cache.verify(&self.checkpoint, log)?;
        let entries = self.entries.iter().map(|one| one.verify(&checkpoint)).collect::<Result<_, _>>()?;
        let leaves = self.entries.iter().map(|one| leaf_hash(&one.entry)).collect();
        Ok(VerifiedReceipt { checkpoint, entries, leaves })
    }
}

impl VerifiedReceipt {
    /// Checks that the entries say this packet was accepted for each of its recipients, in order.
    ///
    /// # Errors
    /// [`ReceiptError::NotAboutThis`].
    pub fn says_accepted(&self, packet: &Packet) -> Result<(), ReceiptError> {
        self.says_all_accepted(&Submitted::from(packet), &packet.context().recipient_oins())
    }

    /// Checks that the entries say that what was submitted was accepted for each of the `recipients`, in order.
    ///
    /// # Errors
    /// [`ReceiptError::NotAboutThis`].
    pub fn says_all_accepted(&self, what: &Submitted<'_>, recipients: &[Oin]) -> Result<(), ReceiptError> {
        let right = self.entries.len() == recipients.len()
            && self.entries.iter().zip(recipients).all(|((_, entry), to)| what.accepted(entry, to));
        if right { Ok(()) } else { Err(ReceiptError::NotAboutThis) }
    }

    /// Checks that the one entry says this packet was accepted for `recipient`; gives the entry.
    ///
    /// # Errors
    /// [`ReceiptError::NotAboutThis`].
    pub fn says_accepted_for(&self, packet: &Packet, recipient: &Oin) -> Result<&Entry, ReceiptError> {
        match self.entries.as_slice() {
            [(_, entry)] if Submitted::from(packet).accepted(entry, recipient) => Ok(entry),
            _ => Err(ReceiptError::NotAboutThis),
        }
    }

    /// Checks that the one entry says the packet with this digest, submitted by `sender`, was refused
    /// for `reason`.
    ///
    /// # Errors
    /// [`ReceiptError::NotAboutThis`].
    pub fn says_refused(&self, packet: &Digest, sender: &Oin, reason: u16) -> Result<(), ReceiptError> {
        match self.entries.as_slice() {
            [(_, entry)]
                if entry.kind == Kind::Refused
                    && entry.packet == Some(*packet)
                    && entry.from == Some(*sender)
                    && entry.reason == Some(reason) =>
            {
                Ok(())
            }
            _ => Err(ReceiptError::NotAboutThis),
        }
    }
}

/// What an entry about an accepted packet repeats of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted<'a> {
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// SHA-256 of its signed statement.
    pub statement: Digest,
    /// Its id.
    pub msg_id: MsgId,
    /// Who sent it.
    pub sender: Oin,
    /// The covenant it was sent under.
    pub covenant: Digest,
    /// The flow it was sent under.
    pub flow: &'a str,
}

impl<'a> From<&'a Packet> for Submitted<'a> {
    fn from(packet: &'a Packet) -> Self {
        let context = packet.context();
        Self {
            packet: packet.digest(),
            statement: packet.statement_digest(),
            msg_id: context.msg_id,
            sender: context.sender,
            covenant: context.covenant,
            flow: &context.flow,
        }
    }
}

impl Submitted<'_> {
    fn accepted(&self, entry: &Entry, recipient: &Oin) -> bool {
        entry.kind == Kind::Accepted
            && entry.to == Some(*recipient)
            && entry.packet == Some(self.packet)
            && entry.statement == Some(self.statement)
            && entry.msg_id == Some(self.msg_id)
            && entry.from == Some(self.sender)
            && entry.covenant == Some(self.covenant)
            && entry.flow.as_deref() == Some(self.flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::tlog::tree::BatchTree;

    const ORIGIN: &str = "broker.example/uitwisseling/2026";

    fn log() -> (ed25519_dalek::SigningKey, LogKey) {
        let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let named = VerifierKey::new(ORIGIN, key.verifying_key()).unwrap();
        (key, LogKey { origin: ORIGIN.into(), key: named })
    }

    fn refused(packet: u8) -> Entry {
        let mut entry = Entry::new(Kind::Refused, Timestamp(5), [packet; 16]);
        entry.from = Some("00000001003214345000".parse().unwrap());
        entry.packet = Some(Digest([packet; 32]));
        entry.reason = Some(301);
        entry
    }

    fn receipt(key: &ed25519_dalek::SigningKey) -> Receipt {
        let mut tree = BatchTree::default();
        let bytes: Vec<Vec<u8>> = (0..5).map(|n| refused(n).to_bytes().unwrap()).collect();
        for entry in &bytes {
            tree.append(leaf_hash(entry)).unwrap();
        }
        let note = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap().sign(key).unwrap();
        Receipt {
            version: 1,
            checkpoint: Bytes(note.to_string().into_bytes()),
            entries: vec![ProvedEntry {
                index: 3,
                entry: Bytes(bytes[3].clone()),
                path: tree.inclusion_proof(3).unwrap(),
            }],
        }
    }

    #[test]
    fn a_receipt_proves_its_entry_and_no_other() {
        let (key, log) = log();
        let bytes = receipt(&key).to_bytes();
        let verified = Receipt::parse(&bytes).unwrap().verify(&log, &mut CheckpointCache::default()).unwrap();
        let sender = "00000001003214345000".parse().unwrap();
        assert_eq!(verified.says_refused(&Digest([3; 32]), &sender, 301), Ok(()));
        for (packet, reason) in [(4, 301), (3, 302)] {
            assert_eq!(
                verified.says_refused(&Digest([packet; 32]), &sender, reason),
                Err(ReceiptError::NotAboutThis)
            );
        }
    }

    #[test]
    fn every_flipped_bit_takes_the_proof_away() {
        let (key, log) = log();
        let bytes = receipt(&key).to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let proved = Receipt::parse(&changed)
                .and_then(|receipt| receipt.verify(&log, &mut CheckpointCache::default()));
            assert!(proved.is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_cached_checkpoint_vouches_for_itself_only() {
        let (key, log) = log();
        let mut cache = CheckpointCache::default();
        let good = receipt(&key);
        good.verify(&log, &mut cache).unwrap();
        let mut forged = good;
        let other = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        forged.checkpoint = receipt(&other).checkpoint;
        assert!(matches!(forged.verify(&log, &mut cache), Err(ReceiptError::Checkpoint(_))));
    }
}
