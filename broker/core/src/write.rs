//! State changes, and the rows they are kept as.
//!
//! A row (`rows`) is read back into the very write that made it, so that start-up runs the same code as a turn.

mod rows;

use std::sync::Arc;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::Cast;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Decided;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::directory::Partner;
use crate::ends::End;
use crate::in_flight::Cause;
use crate::mailbox::MailItem;
use crate::notices::NoticeRow;
use crate::shards::Shard;
use crate::suspension::Suspendable;
use crate::upkeep::Grant;
pub use rows::Change;

/// The tables rows are kept in. Numbers are part of the disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Registered organisations, by OIN.
    Partners = 1,
    /// Covenants in canonical form, by hash.
    Covenants = 2,
    /// Prekey bundles as signed, by OIN.
    Prekeys = 3,
    /// Outcomes of packets that may be submitted again: a row for each turn, by its first entry's position.
    Outcomes = 4,
    /// What waits, by recipient and the position of the entry.
    Mail = 5,
    /// Log entries that are not yet in a full bundle file: a row for each turn, by its first position.
    Entries = 6,
    /// The head of the newest log: one row.
    Head = 7,
    /// Signed checkpoints that a receipt may still have to repeat, by the position after their last entry.
    Notes = 8,
    /// What parties said of covenants, by hash and number.
    Votes = 9,
    /// What parties decided about cases, by case and number.
    Cases = 10,
    /// The positions in the log at which waiting packets lost what they rested on, by cause.
    Lapses = 11,
    /// The changes of signing keys, by party and number.
    Rotations = 12,
    /// The newest witnessed checkpoint, by covenant and origin of the log.
    Witnessed = 13,
    /// The first witnessed checkpoint of a day, by covenant, origin and day.
    WitnessedDays = 14,
    /// What partners have not been told yet, by partner and first entry index.
    Notices = 15,
    /// How packets ended other than by being delivered, or that they were consumed: by recipient and accepted
    /// entry's index.
    Ends = 16,
    /// The logs of this broker, by number.
    Shards = 17,
    /// Who may read entries over HTTP, by number.
    Grants = 18,
    /// Up to which index the texts of a log's entries are removed, by the log's number.
    Purged = 19,
    /// What the operator suspended: partners by OIN, flows by id.
    Suspended = 20,
}

impl Table {
    /// Every table, in the order in which they are read back.
    pub const ALL: [Self; 20] = [
        Self::Partners,
        Self::Covenants,
        Self::Rotations,
        Self::Votes,
        Self::Cases,
        Self::Lapses,
        Self::Prekeys,
        Self::Shards,
        Self::Head,
        Self::Notes,
        Self::Entries,
        Self::Outcomes,
        Self::Mail,
        Self::Witnessed,
        Self::WitnessedDays,
        Self::Ends,
        Self::Notices,
        Self::Grants,
        Self::Purged,
        Self::Suspended,
    ];

    /// The number on disk.
    #[expect(clippy::as_conversions, reason = "reading the discriminant of a fieldless repr(u8) enum")]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The log's newest state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree.
    pub root: Digest,
    /// Time of the last entry: the next one's is never before it.
    pub time: Timestamp,
    /// The signed checkpoint.
    pub note: Bytes,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Outcome {
    /// Its sender.
    pub sender: Oin,
    /// Its id.
    pub msg_id: MsgId,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// 0 when accepted, otherwise the refusal's number.
    pub outcome: u16,
    /// Position of the first entry that says so.
    pub first: u64,
    /// How many entries say so, one after the other.
    pub count: u8,
}

/// One state change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A partner is as given.
    Partner {
        /// Who.
        oin: Oin,
        /// Its registration.
        partner: Partner,
    },
    /// A covenant is known.
    Covenant {
        /// Its hash.
        hash: Digest,
        /// Its canonical form.
        bytes: Vec<u8>,
        /// The party that put it up; the operator when absent.
        proposer: Option<Oin>,
    },
    /// A party's word about a covenant is logged.
    Vote {
        /// The covenant.
        hash: Digest,
        /// Counts the votes on it.
        number: u32,
        /// The vote and its time.
        cast: Cast,
    },
    /// A party's change of its signing key is logged.
    Rotation {
        /// Whose.
        party: Oin,
        /// Counts the party's rotations.
        number: u32,
        /// The rotation and its time.
        rotated: Rotated,
    },
    /// A party's decision about a case is logged.
    Decision {
        /// The case.
        case: CaseId,
        /// Its place in the chain.
        seq: u32,
        /// The decision and its time.
        decided: Decided,
    },
    /// Waiting packets lost what they rested on.
    Lapsed {
        /// By what.
        cause: Cause,
        /// The position at which it took hold: after the entry that says so.
        end: u64,
    },
    /// A partner's newest prekey bundle.
    Prekeys {
        /// Whose.
        oin: Oin,
        /// The bundle's sequence number.
        seq: u64,
        /// The bundle as signed.
        bytes: Vec<u8>,
    },
    /// Packets got their outcomes: those of one turn.
    Outcomes {
        /// Position of the turn's first entry.
        first: u64,
        /// Until when the packets may be submitted again and get these answers: the longest of them.
        keep_until: Timestamp,
        /// The outcomes.
        outcomes: Vec<Outcome>,
    },
    /// A turn's outcomes need not be repeated any more.
    Forget {
        /// Position of the turn's first entry.
        first: u64,
    },
    /// A packet waits.
    Deposit {
        /// For whom.
        recipient: Oin,
        /// What.
        item: MailItem,
    },
    /// A packet no longer waits.
    Remove {
        /// For whom it waited.
        recipient: Oin,
        /// Its entry's position.
        index: u64,
    },
    /// A packet's bytes are to be kept.
    Blob {
        /// Its digest.
        packet: Digest,
        /// The bytes.
        bytes: Arc<Vec<u8>>,
    },
    /// A packet's bytes are to be erased.
    Drop {
        /// Its digest.
        packet: Digest,
    },
    /// The log has new entries: those of one turn.
    Entries {
        /// Position of the first.
        first: u64,
        /// Their bytes, in order.
        entries: Vec<Vec<u8>>,
    },
    /// A turn's entries all stand in bundle files, and their row may go.
    Published {
        /// Position of the first.
        first: u64,
    },
    /// The log has a new head.
    Head(Head),
    /// A signed checkpoint is to be kept for receipts.
    Note {
        /// The position after its last entry.
        end: u64,
        /// The note.
        note: Arc<Vec<u8>>,
        /// Until when it is needed.
        keep_until: Timestamp,
    },
    /// A partner is to be told something.
    Notice {
        /// Who.
        to: Oin,
        /// Index of the first entry it is about.
        first: u64,
        /// What.
        row: Arc<NoticeRow>,
    },
    /// It was told, or there is no use in telling it any more.
    NoticeGone {
        /// Who.
        to: Oin,
        /// Index of the first entry it is about.
        first: u64,
    },
    /// A packet ended at a recipient.
    End {
        /// Where.
        recipient: Oin,
        /// Its accepted entry's index.
        index: u64,
        /// How.
        end: End,
    },
    /// How a packet ended need not be remembered any more.
    ForgetEnd {
        /// Where.
        recipient: Oin,
        /// Its accepted entry's index.
        index: u64,
    },
    /// A signed checkpoint is no longer needed.
    ForgetNote {
        /// The position after its last entry.
        end: u64,
    },
    /// A log is as given.
    Shard {
        /// Its number, from 0.
        number: u32,
        /// The log.
        shard: Shard,
    },
    /// The texts of a log's first entries are to be removed.
    Purged {
        /// The log's number.
        log: u32,
        /// How many.
        entries: u64,
    },
    /// The operator suspended something.
    Suspended {
        /// What.
        what: Suspendable,
        /// Since when.
        at: Timestamp,
    },
    /// It is not suspended any more.
    Resumed {
        /// What.
        what: Suspendable,
    },
    /// Leave to read entries is as given.
    Grant {
        /// Its number, from 0.
        number: u32,
        /// What it is.
        grant: Grant,
    },
    /// A checkpoint was cosigned as a covenant asks, and none larger was.
    Witnessed {
        /// The covenant.
        covenant: Digest,
        /// The origin of the log.
        origin: String,
        /// The checkpoint.
        row: Box<WitnessedRow>,
    },
    /// The same, the first of a day: kept as history.
    WitnessedDay {
        /// The covenant.
        covenant: Digest,
        /// The origin of the log.
        origin: String,
        /// Days since 1970-01-01.
        day: u32,
        /// The checkpoint.
        row: Box<WitnessedRow>,
    },
}

/// A checkpoint that was cosigned as a covenant asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct WitnessedRow {
    /// The size of its tree.
    pub size: u64,
    /// When the broker had the last cosignature that was needed.
    pub reached: Timestamp,
    /// The checkpoint with the lines of log and witnesses (C2SP signed note).
    pub note: Bytes,
}

#[cfg(test)]
mod tests;
