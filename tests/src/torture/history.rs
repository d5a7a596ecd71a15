//! What everybody was told while processes were broken, and what is there afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_agent_core::rows::Reached;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::receipt::LogKey;

/// A message that somebody pushed, under one id until it was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Its id.
    pub id: MsgId,
    /// Who pushed it.
    pub from: Oin,
    /// On which flow.
    pub flow: String,
    /// To whom.
    pub to: Vec<Oin>,
    /// Its body, which no other message has.
    pub body: Vec<u8>,
    /// Whether the agent said that it has it.
    pub confirmed: bool,
}

/// A message in an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub id: MsgId,
    /// Its state, as machines are told it.
    pub state: String,
    /// Its packet, once there is one.
    pub packet: Option<Digest>,
    /// How far it is at each recipient, as its sender knows.
    pub reached: BTreeMap<Oin, Reached>,
    /// Its receipt as a file, if there is one.
    pub receipt: Option<String>,
}

/// A message in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// Its id.
    pub id: MsgId,
    /// Its state, as machines are told it.
    pub state: String,
    /// Its packet.
    pub packet: Digest,
    /// Its body, opened.
    pub body: Vec<u8>,
}

/// What one partner has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Who.
    pub oin: Oin,
    /// What it sent, in its order.
    pub outbox: Vec<Sent>,
    /// What it received, in its order.
    pub inbox: Vec<Got>,
    /// What its agent complains of.
    pub alarms: Vec<String>,
}

/// A state of the log that somebody was told of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its number of entries.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// Who said so.
    pub by: String,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct History {
    /// The log's key.
    pub key: LogKey,
    /// The covenant in force.
    pub agreed: Arc<Compiled>,
    /// Every push, each sender's in its order.
    pub pushed: Vec<Push>,
    /// Every partner.
    pub parties: Vec<Party>,
    /// The entries of the log, each in its bytes.
    pub log: Vec<Vec<u8>>,
    /// The root that the broker says it has.
    pub root: Digest,
    /// States of the log that were seen on the way.
    pub seen: Vec<Seen>,
    /// Signed checkpoints that were seen on the way.
    pub notes: Vec<Vec<u8>>,
}
