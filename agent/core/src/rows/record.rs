//! Processings that wait to be told to this organisation's log of them.

use core::fmt;

use seinhuis_shared::ids::{Digest, MsgId, Oin, TraceId};
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// A data subject, under a pseudonym.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct SubjectRow {
    /// The names of the fields that identify, with `+` between them.
    pub kind: String,
    /// HMAC-SHA-256 over what identifies, with a key of this organisation alone.
    pub pseudonym: Digest,
}

coded! {
    /// What is done with a message, in the words of the log of processings.
    Operation {
        /// It was sent and accepted.
        Sent = 0 "verstrekken",
        /// It was received and stored.
        Received = 1 "ontvangen",
        /// Its body was handed to a person or an application.
        Read = 2 "raadplegen",
        /// Its body was erased.
        Erased = 3 "vernietigen",
    }
}

/// Something done with a message. Holds nothing of its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct RecordRow {
    /// The message.
    pub msg_id: MsgId,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// What was done.
    pub operation: Operation,
    /// Whether it is to be told: not while a sent packet has no verdict.
    pub due: bool,
    /// The covenant version.
    pub covenant: Digest,
    /// The flow.
    pub flow: String,
    /// Who sent it, or the recipients in order.
    pub others: Vec<Oin>,
    /// The trace of the message: the same at everybody who has to do with it.
    pub trace: TraceId,
    /// When the processing began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// The persons it is about; none of a body that is erased, which nobody opens for it.
    pub subjects: Vec<SubjectRow>,
}
