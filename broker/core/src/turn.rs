//! A turn: what a number of inputs lead to, made durable together and sent together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seinhuis_shared::acknowledgement::Batch;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::Agreement;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::wire::{CaseHead, Decided, Deferred, FetchEntries, Known, Refuse, Welcome, Witnessed};
use sha2::{Digest as _, Sha256};

use crate::input::{ConnId, LaneId, RequestId};
use crate::mailbox::MailItem;
use crate::notices::{NoticeRow, Told};
use crate::operator::{Answer, CommandId};
use crate::shards::Step;
use crate::write::{Outcome, Write};

/// Where a receipt comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptSource {
    /// Made in this turn: the bytes.
    Fresh(Arc<Vec<u8>>),
    /// To be put together again from the log: entries `first..first + count`, proved in the tree that ends
    /// at `end` with the checkpoint `note`. Gives the same bytes as when it was fresh.
    Stored {
        /// Position of the first entry.
        first: u64,
        /// Number of entries.
        count: u8,
        /// Position after the last entry of the tree.
        end: u64,
        /// The signed checkpoint of that size.
        note: Arc<Vec<u8>>,
    },
}

/// Which entries of the log a peer is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// The ones at these positions, rising: those of them that stand in the log of the last.
    These(Vec<u64>),
    /// Those the organisation asks for and is party to, for the shell to look for.
    Party(Oin, FetchEntries),
}

/// What a witness is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The size it cosigned last, as far as is known.
    pub old: u64,
    /// The size of the checkpoint.
    pub size: u64,
    /// The checkpoint.
    pub note: Note,
}

/// Something to be sent once the turn is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Send {
    /// The session is open.
    Welcome {
        /// On which connection.
        conn: ConnId,
        /// The message.
        welcome: Welcome,
    },
    /// A request, or the hello when there is none, is refused.
    Refuse {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: Option<RequestId>,
        /// The message.
        refuse: Refuse,
    },
    /// The connection is to be closed, with the refusal's number as error code.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: Refusal,
    },
    /// A packet's outcome.
    Verdict {
        /// On which connection.
        conn: ConnId,
        /// On which lane.
        lane: LaneId,
        /// The packet.
        packet: Digest,
        /// 0 or the refusal's number.
        outcome: u16,
        /// The receipt.
        receipt: ReceiptSource,
    },
    /// A packet's outcome is put off.
    Deferred {
        /// On which connection.
        conn: ConnId,
        /// On which lane.
        lane: LaneId,
        /// The message.
        deferred: Deferred,
    },
    /// A packet for the peer.
    Offer {
        /// On which connection.
        conn: ConnId,
        /// What it is.
        item: MailItem,
        /// Its bytes, if they are at hand; otherwise they are in the store under `item.packet`.
        bytes: Option<Arc<Vec<u8>>>,
        /// The receipt.
        receipt: ReceiptSource,
    },
    /// A request is done.
    Done {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
    },
    /// Prekey bundles.
    Prekeys {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
        /// Owner and bundle.
        bundles: Vec<(Oin, Vec<u8>)>,
    },
    /// A covenant.
    Covenant {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
        /// The version and what its parties said of it.
        agreement: Box<Agreement>,
        /// The changes in the lines of the keys it pins.
        rotations: Vec<Rotated>,
    },
    /// How the covenants stand that name the peer.
    Agreements {
        /// On which connection.
        conn: ConnId,
        /// Every one of them.
        agreements: Vec<Known>,
    },
    /// The changes in the line of the peer's signing key.
    Rotations {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
        /// From the first on.
        rotations: Vec<Rotated>,
    },
    /// What was decided about a case.
    Case {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
        /// The decisions, in order.
        decisions: Vec<Decided>,
    },
    /// Cases about which something was decided, of those the peer asked for.
    Cases {
        /// On which connection.
        conn: ConnId,
        /// These cases.
        cases: Vec<CaseHead>,
    },
    /// Log entries with their proofs, for the shell to read from the log.
    Entries {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
        /// Which.
        pick: Pick,
    },
    /// What became of packets, to be proved by the shell from the log.
    Notices {
        /// On which connection.
        conn: ConnId,
        /// Names it.
        cursor: u64,
        /// What.
        row: Arc<NoticeRow>,
    },
    /// Consistency proofs, for the shell to read from the log.
    Consistency {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
        /// The log's number, from the first.
        log: usize,
        /// The sizes.
        sizes: Vec<u64>,
    },
    /// A checkpoint to cosign; the proof from the tree of `old` is for the shell to read from the log.
    AddCheckpoint {
        /// On which connection.
        conn: ConnId,
        /// What to ask.
        question: Question,
    },
    /// The same, for a witness that is no party.
    AskOutside {
        /// Its public key, for the answer.
        key: [u8; 32],
        /// Its address, before `/add-checkpoint`.
        url: String,
        /// What to ask.
        question: Question,
    },
    /// A checkpoint that was cosigned as a covenant asks.
    Witnessed {
        /// On which connection.
        conn: ConnId,
        /// The message.
        witnessed: Witnessed,
    },
    /// What followed on a log; the shell adds the consistency proof.
    Succession {
        /// On which connection.
        conn: ConnId,
        /// The request.
        request: RequestId,
        /// The number of the log that ended, from the first.
        log: usize,
        /// The sizes between which consistency is to be proved.
        proof: Option<(u64, u64)>,
        /// The next log's origin.
        origin: String,
        /// Receipt of the closing entry.
        closing: Bytes,
        /// Receipt of the opening entry.
        opening: Bytes,
    },
    /// The answer to an operator's command.
    Answer {
        /// Who waits for it.
        id: CommandId,
        /// The answer.
        answer: Result<Answer, Refusal>,
    },
}

/// Entries `first..first + count` of this turn prove a send that waits for the checkpoint.
#[derive(Debug, Clone)]
pub(crate) enum Planned {
    Ready(Send),
    Welcome { conn: ConnId, welcome: Welcome },
    Verdict { conn: ConnId, lane: LaneId, packet: Digest, outcome: u16, first: u64, count: u8 },
    Offer { conn: ConnId, item: MailItem, bytes: Arc<Vec<u8>> },
}

/// What a number of inputs lead to.
#[derive(Debug)]
pub struct Turn {
    pub(crate) writes: Vec<Write>,
    pub(crate) entries: Vec<Vec<u8>>,
    /// Their hashes, as leaves of the log.
    pub(crate) leaves: Vec<Digest>,
    pub(crate) sends: Vec<Planned>,
    /// Bytes of the packets accepted in this turn, for offers in the same turn.
    pub(crate) fresh: BTreeMap<Digest, Arc<Vec<u8>>>,
    /// What became of packets in this turn.
    pub(crate) outcomes: BTreeMap<(Oin, MsgId), Outcome>,
    /// Until when one of these outcomes may have to be repeated, with its receipt.
    pub(crate) keep_until: Option<Timestamp>,
    pub(crate) directory_changed: bool,
    /// What partners are to be told of this turn's entries.
    pub(crate) notices: BTreeMap<Oin, Vec<Told>>,
    /// The acknowledgements that came in.
    pub(crate) batches: Vec<Batch>,
    /// Partners that may have to be told something.
    pub(crate) told: BTreeSet<Oin>,
    /// What it does to the logs.
    pub(crate) step: Option<Step>,
    /// How much waiting mail this turn looked at for what is to be shredded.
    pub(crate) swept: usize,
    entropy: [u8; 32],
    salts: u64,
}

impl Turn {
    /// Begins a turn. `entropy` is 32 fresh random bytes, from which the entries' salts are derived.
    pub const fn new(entropy: [u8; 32]) -> Self {
        Self {
            writes: Vec::new(),
            entries: Vec::new(),
            leaves: Vec::new(),
            sends: Vec::new(),
            fresh: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            keep_until: None,
            directory_changed: false,
            notices: BTreeMap::new(),
            batches: Vec::new(),
            told: BTreeSet::new(),
            step: None,
            swept: 0,
            entropy,
            salts: 0,
        }
    }

    /// Whether there is anything to make durable: a state change, or an entry, which becomes a write when
    /// the turn is signed.
    pub fn is_durable(&self) -> bool {
        !self.writes.is_empty() || !self.entries.is_empty()
    }

    /// Whether there is nothing to do at all.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.entries.is_empty() && self.sends.is_empty() && self.told.is_empty()
    }

    /// Number of log entries so far.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Whether partners or covenants changed, so that the shell has to share the new directory.
    pub const fn directory_changed(&self) -> bool {
        self.directory_changed
    }

    /// A salt nobody can guess, 16 bytes, another one each time.
    pub(crate) fn salt(&mut self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(b"seinhuis/salt/1");
        hash.update(self.entropy);
        hash.update(self.salts.to_be_bytes());
        self.salts = self.salts.saturating_add(1);
        let digest: [u8; 32] = hash.finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }

    pub(crate) fn send(&mut self, send: Send) {
        self.sends.push(Planned::Ready(send));
    }

    /// Somebody is to be told of an entry of this turn.
    pub(crate) fn notice(&mut self, to: Oin, told: Told) {
        self.notices.entry(to).or_default().push(told);
    }

    /// Adds an entry; gives its hash as a leaf. One whose texts no entry can hold, such as a signed context
    /// with a control character in its flow, is written without them.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Digest {
        let bytes = entry.to_bytes().or_else(|_| {
            let without_texts = Entry {
                flow: None,
                message_type: None,
                categories: None,
                purpose: None,
                basis: None,
                activity: None,
                detail: None,
                ..entry.clone()
            };
            without_texts.to_bytes()
        });
        let bytes = bytes.unwrap_or_default();
        let leaf = leaf_hash(&bytes);
        self.entries.push(bytes);
        self.leaves.push(leaf);
        leaf
    }
}
