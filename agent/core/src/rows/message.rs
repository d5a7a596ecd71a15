//! Rows about messages that go out and come in.

use core::fmt;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::origin_of;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

coded! {
    /// How far an outgoing message is.
    Stage {
        /// Its body is kept, locked, until every recipient has a usable prekey.
        Draft = 0 "draft",
        /// Sealed; submitted until a verdict is proved.
        Sealed = 1 "sealed",
        /// Accepted, with a verified receipt.
        Done = 2 "accepted",
        /// Refused, with a verified receipt, or by this agent when the covenant ended before sealing.
        Refused = 3 "refused",
        /// Its time ended before it could be sealed.
        Expired = 4 "expired",
        /// Its body is kept, locked, until a person releases or denies it.
        Held = 5 "held",
        /// A person did not let it leave.
        Denied = 6 "denied",
    }
}

impl Stage {
    /// Whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Refused | Self::Expired | Self::Denied)
    }
}

coded! {
    /// How an incoming packet follows the one before from the same sender under the same flow.
    Remark {
        /// The first, or directly after the last one seen.
        InOrder = 0 "in-order",
        /// Numbers are missing; they may have gone to other recipients.
        Gap = 1 "gap",
        /// Its number is not above the last one seen.
        OutOfOrder = 2 "out-of-order",
        /// It directly follows by number, but names another predecessor: its sender kept two chains.
        ChainBroken = 3 "chain-broken",
    }
}

/// An outgoing message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct OutboxRow {
    /// The message; the idempotency key.
    pub msg_id: MsgId,
    /// How far it is.
    pub stage: Stage,
    /// The covenant version.
    pub covenant: Digest,
    /// The flow.
    pub flow: String,
    /// The declared step, as its code.
    pub step: String,
    /// The case's pseudonym.
    pub case: Option<CaseId>,
    /// The recipients, in order.
    pub recipients: Vec<Oin>,
    /// When it was taken in.
    pub created: Timestamp,
    /// When it stops being valid.
    pub expires: Timestamp,
    /// Keyed fingerprint of the push, to recognise a repetition.
    pub fingerprint: Digest,
    /// SHA-256 of the packet, once sealed.
    pub packet: Option<Digest>,
    /// SHA-256 of its signed statement, once sealed.
    pub statement: Option<Digest>,
    /// Bytes of the packet, once sealed.
    pub size: u64,
    /// Its number in the flow, once sealed.
    pub seq: u64,
    /// The refusal's number, or 0.
    pub outcome: u16,
    /// When its fate was known.
    pub decided: Option<Timestamp>,
    /// The verified receipt, once there is one.
    pub receipt: Bytes,
    /// SHA-256 of the packet in which the origin sent what this passes on, if it does.
    pub source: Option<Digest>,
    /// The hash of the accepted entry for each recipient, as a leaf of the log: what its statement links to.
    pub links: Vec<Digest>,
}

/// Where the body of a received message comes from.
pub type ProvenanceRow = Provenance;

/// What a person decided about a message that waited for it. Kept, and never sent anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ReleaseRow {
    /// Whether it may leave.
    pub approved: bool,
    /// In which role the person decided.
    pub role: String,
    /// Why; may be empty for an approval.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The last packet of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ChainRow {
    /// Its number.
    pub seq: u64,
    /// Its digest.
    pub packet: Digest,
}

/// An incoming packet. For one that could not be read, what its context would say is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct InboxRow {
    /// The message.
    pub msg_id: MsgId,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// 0 when stored, otherwise why it is quarantined.
    pub outcome: u16,
    /// Who sent it.
    pub sender: Option<Oin>,
    /// Under which flow.
    pub flow: String,
    /// Under which covenant version.
    pub covenant: Option<Digest>,
    /// The case's pseudonym.
    pub case: Option<CaseId>,
    /// The declared message type.
    pub message_type: String,
    /// The declared step, as its code.
    pub step: String,
    /// The declared level, as its code.
    pub level: String,
    /// The message this answers.
    pub in_reply_to: Option<MsgId>,
    /// Media type of the body.
    pub media_type: String,
    /// When the sender made it.
    pub issued: Timestamp,
    /// When the broker accepted it, by the log entry.
    pub accepted: Timestamp,
    /// When it was stored here.
    pub stored: Timestamp,
    /// The trace of the message: the same at everybody who has to do with it.
    pub trace: Option<TraceId>,
    /// The accepted entry's place in the log that the receipt names.
    pub index: u64,
    /// The accepted entry's hash, as a leaf of the log: what this organisation's statement links to.
    pub link: Digest,
    /// How it follows the one before.
    pub remark: Remark,
    /// Days the body may be kept; none when that follows the case.
    pub retention_days: Option<u32>,
    /// The receipt that came with it.
    pub receipt: Bytes,
}

impl InboxRow {
    /// The origin of the log in which its acceptance stands; none when its receipt cannot be read.
    pub fn log(&self) -> Option<String> {
        let receipt = Receipt::parse(&self.receipt).ok()?;
        Some(origin_of(&receipt.checkpoint).to_owned())
    }
}
