//! Rows about what this organisation says, until it is heard: of covenants, of cases and of its own keys.

use seinhuis_shared::case::Act;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::prekey::PrekeyPublic;
use seinhuis_shared::time::Timestamp;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// What this organisation says of a covenant, until it is seen among the votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct WordRow {
    /// What.
    pub word: Word,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// The number with which the broker refused it, or 0.
    pub refused: u16,
}

/// What this organisation decides about a case, until it is seen in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ActRow {
    /// The covenant version.
    pub covenant: Digest,
    /// Its place in the chain.
    pub seq: u32,
    /// The decision before it, on which it follows.
    pub previous: Option<Digest>,
    /// What.
    pub act: Act,
    /// Since when.
    pub since: Timestamp,
    /// The number with which the broker refused it, or 0.
    pub refused: u16,
}

/// A change of the own signing key, until it is seen to be logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct RotationRow {
    /// The public half of the new key.
    pub new: Bytes,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is not to wait for packets that are signed with the old key and have no verdict.
    pub urgent: bool,
    /// The number with which the broker refused it, or 0.
    pub refused: u16,
}

/// A covenant this organisation proposes, until the broker has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ProposalRow {
    /// Since when.
    pub since: Timestamp,
    /// The number with which the broker refused it, or 0.
    pub refused: u16,
}

/// One of this agent's own prekeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct OwnPrekeyRow {
    /// The public half.
    pub public: PrekeyPublic,
    /// From when it may be used.
    pub not_before: Timestamp,
    /// Until when it may be used.
    pub not_after: Timestamp,
    /// The private half, locked.
    pub secret: Bytes,
}

/// The newest bundle of this agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct BundleRow {
    /// Its sequence number.
    pub seq: u64,
    /// The signed bundle.
    pub bundle: Bytes,
    /// Whether the broker has it.
    pub published: bool,
}

/// A partner's newest bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PeerRow {
    /// Its sequence number.
    pub seq: u64,
    /// The signed bundle.
    pub bundle: Bytes,
}
