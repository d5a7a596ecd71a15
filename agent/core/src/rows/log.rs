//! Rows about the exchange logs, and about what is wrong with them or with anything else.

use core::fmt;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

coded! {
    /// Something a person has to look at.
    AlarmKind {
        /// A verdict's receipt does not prove what the verdict says.
        FalseVerdict = 0 "false-verdict",
        /// An offer's receipt does not prove that the packet was accepted for this organisation.
        UnprovenOffer = 1 "unproven-offer",
        /// Two signed checkpoints contradict each other.
        LogForked = 2 "log-forked",
        /// The broker keeps another log than the one its card names.
        OtherLog = 3 "other-log",
        /// A partner's bundle is older than one already known.
        PrekeyRollback = 4 "prekey-rollback",
        /// A partner's bundle is not valid.
        BadPrekeys = 5 "bad-prekeys",
        /// The broker refuses this agent's own bundle.
        BundleRefused = 6 "bundle-refused",
        /// Something stored here no longer opens with the store key.
        StoreKey = 7 "store-key",
        /// Something could not be encrypted for the store, so it was not taken in.
        LockFailed = 8 "lock-failed",
        /// The broker does not prove that checkpoints it signed belong to one history.
        LogUnproven = 9 "log-unproven",
        /// A sealed packet is no longer in the store.
        PacketMissing = 10 "packet-missing",
        /// A covenant, or a vote on one, that the broker gives does not count.
        CovenantRefused = 11 "covenant-refused",
        /// The broker has fewer votes on a covenant than it gave before.
        VotesMissing = 12 "votes-missing",
        /// A decision about a case that the broker gives does not count.
        CaseRefused = 13 "case-refused",
        /// The broker has fewer decisions about a case than it gave before.
        DecisionsMissing = 14 "decisions-missing",
        /// A rotation of a key that the broker gives does not count, or one that counted is missing.
        RotationRefused = 20 "rotation-refused",
        /// The own signing key was given up, with its signature, for one this agent does not have.
        KeyLost = 21 "key-lost",
        /// The log was not cosigned for too long by as many parties as a covenant asks, or not as it asks.
        Unwitnessed = 28 "unwitnessed",
        /// What a partner has to be told of itself, about a correction or a destruction, cannot be sent.
        CannotTell = 25 "cannot-tell",
        /// What the broker tells of a packet is not proved by its log, or contradicts what it told before.
        FalseNotice = 30 "false-notice",
        /// What a recipient signed of a packet does not count, or links to another.
        FalseStatement = 31 "false-statement",
        /// The broker tells of a packet that this agent did not send.
        UnknownNotice = 32 "unknown-notice",
        /// Log entries the broker gives are not proved, or not this organisation's.
        FalseEntries = 33 "false-entries",
        /// So many records wait for this organisation's log of processings that no more are kept.
        RecordsFull = 35 "records-full",
        /// The log of processings took in a batch and rejected some of its spans.
        RecordsRejected = 36 "records-rejected",
        /// The log of processings does not take what it is told.
        RecordsRefused = 37 "records-refused",
    }
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct AlarmRow {
    /// What.
    pub kind: AlarmKind,
    /// When.
    pub at: Timestamp,
    /// About what: digests, sizes, an organisation; never content.
    pub detail: String,
}

/// What is believed of the exchange log: the largest tree that was proved to extend all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PinRow {
    /// Number of leaves.
    pub size: u64,
    /// Root hash.
    pub root: Digest,
    /// Whether the log was caught contradicting itself.
    pub forked: bool,
}

/// The largest tree of a log that this agent cosigned. It never cosigns a smaller one, nor another of that size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CosignedRow {
    /// Number of leaves.
    pub size: u64,
    /// Root hash.
    pub root: Digest,
    /// The checkpoint as the log signed it (C2SP signed note).
    pub note: Bytes,
}

/// One of the exchange logs of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct LogRow {
    /// Its origin.
    pub origin: String,
    /// Its final size and root; none for the one that grows, whose pin is in [`super::table::PIN`].
    pub closed: Option<PinRow>,
    /// The final checkpoint as signed; empty for the one that grows.
    pub note: Bytes,
    /// When a person accepted that this log follows on the one before it; none when that was proved.
    pub by_hand: Option<Timestamp>,
}

/// A signed checkpoint that was believed and whose place in the log's history is not proved yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct WaitingRow {
    /// Root hash.
    pub root: Digest,
    /// Since when it waits.
    pub since: Timestamp,
    /// The checkpoint as the log signed it (C2SP signed note).
    pub note: Bytes,
}
