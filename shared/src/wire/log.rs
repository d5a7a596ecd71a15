//! Messages about the exchange log: its consistency, its end, its witnesses, and its entries.

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::Message;
use crate::acknowledgement::{Part, Statement};
use crate::cbor::Bytes;
use crate::entry::Entry;
use crate::frame::Kind;
use crate::ids::{Digest, Oin};
use crate::limits::{CHECKPOINT_MAX, ENTRIES_PAGE, ENTRY_MAX, NOTICE_ENTRIES_MAX};
use crate::receipt::{CheckpointCache, LogKey, ProvedEntry, Receipt, ReceiptError};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::hash::leaf_hash;
use crate::tlog::note::Note;
use crate::tlog::proof::ProofError;
use crate::tlog::subset::{path_from_subset, root_from_subset};

message!(
    /// Asks for proofs that trees of rising sizes extend each other.
    FetchConsistency in FetchConsistency {
        /// The log's origin.
        origin: String,
        /// 2 to 32 sizes, each larger than the one before; the last at most the log's size.
        sizes: Vec<u64>,
    }
);

message!(
    /// One consistency proof for each pair of neighbouring sizes.
    Consistency in Consistency {
        /// The proofs, in order.
        proofs: Vec<Vec<Digest>>,
    }
);

message!(
    /// Asks what followed on a log that is closed.
    FetchSuccession in FetchSuccession {
        /// The log's origin.
        origin: String,
        /// The size of the tree that is pinned; 0 when none is.
        size: u64,
    }
);

message!(
    /// One log followed on another ([`crate::succession`]).
    Succession in Succession {
        /// The next log's origin.
        origin: String,
        /// Receipt of the closing entry, under the old log's final checkpoint.
        closing: Bytes,
        /// Receipt of the opening entry, under a checkpoint of the next log.
        opening: Bytes,
        /// The consistency proof from the pinned size to the final one; empty when there is none, as for size 0.
        proof: Vec<Digest>,
    }
);

/// The most sizes one [`FetchConsistency`] may name.
pub const CONSISTENCY_SIZES_MAX: usize = 32;

message!(
    /// A witness' answer to a checkpoint it was asked to cosign, as over HTTP (C2SP tlog-witness).
    Cosigned in Cosigned {
        /// The status: 200 when it cosigned.
        status: u16,
        /// Signature lines with 200, a size with 409, otherwise nothing.
        body: Bytes,
    }
);

message!(
    /// What became of packets this organisation sent, or of one it was to receive: log entries of one turn of
    /// the broker, proved together, with what recipients signed about them.
    Notices in Notices {
        /// Names these notices to [`NoticesTaken`]; rises.
        cursor: u64,
        /// The signed checkpoint (C2SP signed note).
        checkpoint: Bytes,
        /// 1 to [`crate::limits::NOTICE_ENTRIES_MAX`] indexes, rising.
        indexes: Vec<u64>,
        /// The exact bytes of these entries.
        entries: Vec<Bytes>,
        /// The hashes that lead from the entries to the root, as of [`crate::tlog::subset::subset_proof`].
        proof: Vec<Digest>,
        /// What the entries rest on that recipients signed.
        parts: Vec<Part>,
    }
);

message!(
    /// A checkpoint that was cosigned by as many witnesses as a covenant asks.
    Witnessed in Witnessed {
        /// The covenant.
        covenant: Digest,
        /// The checkpoint with the cosignatures (C2SP signed note).
        note: Bytes,
    }
);

message!(
    /// The notices up to and including this one are on stable storage.
    NoticesTaken in NoticesTaken {
        /// The newest of them.
        cursor: u64,
    }
);

message!(
    /// Asks for entries this organisation is party to: it is their `from`, `to` or `subject`.
    FetchEntries in FetchEntries {
        /// In which log; the one that grows when none is named.
        origin: Option<String>,
        /// The first index that is looked at.
        first: u64,
        /// Whether that one alone is asked for.
        one: bool,
        /// Only entries at or after this time.
        from: Option<Timestamp>,
        /// Only entries before this time.
        until: Option<Timestamp>,
        /// Only entries of this kind.
        kind: Option<String>,
        /// Only entries of this flow.
        flow: Option<String>,
    }
);

message!(
    /// Log entries, each with its proof.
    Entries in Entries {
        /// The signed checkpoint (C2SP signed note).
        checkpoint: Bytes,
        /// At most [`crate::limits::ENTRIES_PAGE`], in order.
        entries: Vec<ProvedEntry>,
        /// Where to go on; none at the end.
        next: Option<u64>,
    }
);

impl FetchEntries {
    /// Whether an entry belongs to what is asked, for `party`.
    pub fn wants(&self, entry: &Entry, party: Oin) -> bool {
        let partner = [entry.from, entry.to, entry.subject].contains(&Some(party));
        partner
            && self.from.is_none_or(|from| entry.time >= from)
            && self.until.is_none_or(|until| entry.time < until)
            && self.kind.as_deref().is_none_or(|kind| entry.kind.as_str() == kind)
            && (self.flow.is_none() || self.flow == entry.flow)
    }
}

impl Entries {
    /// Checks the checkpoint's signature and every proof; gives index and content of each entry.
    ///
    /// # Errors
    /// [`ReceiptError`], by what fails first.
    pub fn verify(
        &self,
        log: &LogKey,
        cache: &mut CheckpointCache,
    ) -> Result<(Checkpoint, Vec<(u64, Entry)>), ReceiptError> {
        if self.entries.len() > ENTRIES_PAGE || self.checkpoint.len() > CHECKPOINT_MAX {
            return Err(ReceiptError::Form(Refusal::TooLarge));
        }
        let checkpoint = cache.verify(&self.checkpoint, log)?;
        let entries = self.entries.iter().map(|one| one.verify(&checkpoint)).collect::<Result<_, _>>()?;
        Ok((checkpoint, entries))
    }
}

impl Notices {
    /// Checks the checkpoint's signature and that the entries stand where they are said to; gives index and
    /// content of each. What recipients signed is not looked at.
    ///
    /// # Errors
    /// [`ReceiptError`], by what fails first.
    pub fn verify(
        &self,
        log: &LogKey,
        cache: &mut CheckpointCache,
    ) -> Result<(Checkpoint, Vec<(u64, Entry)>), ReceiptError> {
        let count = self.indexes.len();
        let bounded = (1..=NOTICE_ENTRIES_MAX).contains(&count)
            && self.entries.len() == count
            && self.parts.len() <= count
            && self.checkpoint.len() <= CHECKPOINT_MAX
            && self.entries.iter().all(|entry| entry.len() <= ENTRY_MAX);
        if !bounded {
            return Err(ReceiptError::Form(Refusal::TooLarge));
        }
        let checkpoint = cache.verify(&self.checkpoint, log)?;
        let first = self.indexes.first().copied().unwrap_or_default();
        let root = root_from_subset(self.leaves(), checkpoint.size(), self.proof.iter().copied());
        if root.as_ref() != Ok(checkpoint.root()) {
            return Err(ReceiptError::Proof { index: first, error: ProofError::WrongRoot });
        }
        let read = |(index, bytes): (&u64, &Bytes)| -> Result<_, ReceiptError> {
            let entry = Entry::parse(bytes).map_err(|_| ReceiptError::Entry { index: *index })?;
            Ok((*index, entry))
        };
        let entries = self.indexes.iter().zip(&self.entries).map(read).collect::<Result<_, _>>()?;
        Ok((checkpoint, entries))
    }

    fn leaves(&self) -> impl Iterator<Item = (u64, Digest)> {
        self.indexes.iter().copied().zip(self.entries.iter().map(|entry| leaf_hash(entry)))
    }

    /// One of the entries with a proof of its own, as a receipt. None when the notices do not verify.
    pub fn receipt(&self, nth: usize) -> Option<Receipt> {
        let (index, entry) = (*self.indexes.get(nth)?, self.entries.get(nth)?.clone());
        let note = Note::parse(&self.checkpoint).ok()?;
        let size = Checkpoint::parse(note.text()).ok()?.size();
        let path = path_from_subset(index, self.leaves(), size, self.proof.iter().copied()).ok()?;
        let entries = vec![ProvedEntry { index, entry, path }];
        Some(Receipt { version: 1, checkpoint: self.checkpoint.clone(), entries })
    }

    /// The item with this hash, and what stands by itself of it.
    pub fn statement(&self, hash: &Digest) -> Option<Statement> {
        self.parts.iter().find_map(|part| {
            let nth = part.items.iter().position(|item| item.hash() == *hash)?;
            part.statement(nth)
        })
    }
}
