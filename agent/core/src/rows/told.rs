//! Rows about what became of a message after the broker accepted it.

use core::fmt;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

coded! {
    /// How far a packet is at one of its recipients.
    Reached {
        /// The broker accepted it for the recipient.
        Accepted = 0 "accepted",
        /// The recipient's agent stored it.
        Stored = 1 "stored",
        /// The recipient's agent keeps it in quarantine.
        Quarantined = 2 "quarantined",
        /// The recipient's application took it over.
        Consumed = 3 "consumed",
        /// Its sender took it back before that.
        TakenBack = 4 "withdrawn",
        /// Nobody fetched it in time.
        Expired = 5 "expired",
        /// The broker erased it: what it rested on fell away.
        Shredded = 6 "shredded",
    }
}

/// Notices as the broker gave them, kept as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct NoticesRow {
    /// The frame's payload ([`seinhuis_shared::wire::Notices`]).
    pub notices: Bytes,
    /// The places of the entries that counted; about the others there is an alarm.
    pub counted: Vec<u16>,
}

/// That a message is taken back from the recipients that do not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct TakeBackRow {
    /// The message.
    pub msg_id: MsgId,
    /// SHA-256 of its packet.
    pub packet: Digest,
    /// Why, as a code.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether the broker answered that it is done, for at least one recipient.
    pub done: bool,
    /// The number with which the broker refused it, or 0.
    pub refused: u16,
}

/// That this organisation's application took a received message over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ConsumedRow {
    /// The message.
    pub msg_id: MsgId,
    /// SHA-256 of its packet.
    pub packet: Digest,
    /// The hash of the entry with which it was accepted for this organisation.
    pub accepted: Digest,
    /// The log it stands in.
    pub origin: String,
    /// That entry's index in it.
    pub index: u64,
    /// Since when.
    pub since: Timestamp,
    /// The index of the entry that says so, once it is proved.
    pub entry: Option<u64>,
    /// The log that entry stands in; empty before.
    pub entry_origin: String,
    /// The number with which the broker refused it, or 0.
    pub refused: u16,
}
