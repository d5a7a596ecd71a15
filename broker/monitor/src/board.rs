//! How a broker stands at one moment.

use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alarms::Alarm;
use crate::distribution::Distribution;
use crate::offset::Offset;
use crate::series::{Minute, Quarter};
use crate::tally::{Act, Place};

/// Everything an operator is shown. Times are by the broker's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// When this was.
    pub now: Timestamp,
    /// When the broker started.
    pub started: Timestamp,
    /// Its software.
    pub software: String,
    /// From when on the log was counted; none before the first entry.
    pub since: Option<Timestamp>,
    /// Entries that are written and not counted yet.
    pub behind: u64,
    /// The last 60 minutes that are over, the oldest first.
    pub minutes: Vec<Minute>,
    /// The last day in quarters of an hour that are over, the oldest first.
    pub quarters: Vec<Quarter>,
    /// What happened in the last hour and in the minute that is not over.
    pub hour: Minute,
    /// What happened in the last day.
    pub day: Minute,
    /// Packets that wait in all mailboxes.
    pub waiting: u64,
    /// When the oldest of them was accepted.
    pub oldest: Option<Timestamp>,
    /// The exchange log.
    pub log: LogState,
    /// Flows between organisations over which something went.
    pub lanes: Vec<LaneRow>,
    /// Refusals by sender and reason.
    pub refusals: Vec<RefusalRow>,
    /// Mailboxes that are not empty.
    pub queues: Vec<QueueRow>,
    /// Partners.
    pub agents: Vec<AgentRow>,
    /// Flows that are suspended, and since when.
    pub suspended_flows: Vec<(String, Timestamp)>,
    /// Since when nothing new is taken in, on any flow.
    #[serde(default)]
    pub suspended_intake: Option<Timestamp>,
    /// Covenants.
    pub covenants: Vec<CovenantRow>,
    /// Covenants that ask a quorum of witnesses.
    pub quorums: Vec<QuorumRow>,
    /// The witnesses.
    pub witnesses: Vec<WitnessRow>,
    /// Whether the broker waits for its witnesses before it serves.
    pub awaiting: bool,
    /// For whom.
    pub waiting_for: Vec<String>,
    /// The store and its disk.
    pub storage: Storage,
    /// When the broker's own certificate ends.
    pub certificate_ends: Option<Timestamp>,
    /// By which people come to the console with certificates, where they do.
    pub console: Option<Papers>,
    /// The last acts, the newest first.
    pub acts: Vec<Act>,
    /// Entries counted, by kind.
    pub kinds: Vec<(String, u64)>,
    /// What this run of the broker counted: it begins at nothing at every start.
    pub run: Run,
    /// The alarms that hold, the most hasty first.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// When there is no room left on the disk, as it goes; none when it does not fill or that is not known.
    #[serde(default)]
    pub disk_full: Option<Timestamp>,
}

/// What one run of the broker counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Packets by sender, recipient and flow.
    pub packets: Vec<PacketsRow>,
    /// Refusals by sender and reason.
    pub refusals: Vec<(Option<Oin>, u16, u64)>,
    /// Log entries by kind.
    pub kinds: Vec<(String, u64)>,
    /// Handshakes by transport.
    pub handshakes: Vec<HandshakesRow>,
}

/// What one run saw of the packets of one flow from one organisation to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketsRow {
    /// The sender.
    pub from: Oin,
    /// The recipient.
    pub to: Oin,
    /// The flow of the covenant.
    pub flow: String,
    /// Accepted, by type of message.
    pub accepted: Vec<(String, u64)>,
    /// Stored by the recipient.
    pub stored: u64,
    /// Acknowledged by the recipient as something it could not take in.
    pub quarantined: u64,
    /// Over before the recipient had them.
    pub expired: u64,
    /// Taken back by the sender.
    pub withdrawn: u64,
    /// Erased because what they rested on fell away.
    pub shredded: u64,
}

/// Handshakes over one transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandshakesRow {
    /// `quic` or `tcp`.
    pub transport: String,
    /// Those that led to a connection.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
}

impl Board {
    /// Whether new packets are taken in: the broker does not wait for its witnesses, and there is room on the disk.
    pub const fn serves(&self) -> bool {
        !self.awaiting && !self.storage.scarce
    }
}

/// The log that grows, and its checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogState {
    /// Its origin.
    pub origin: String,
    /// How many logs there are.
    pub logs: usize,
    /// Entries in it.
    pub size: u64,
    /// Its root, in hexadecimal digits.
    pub root: Option<String>,
    /// The time of the last entry.
    pub last_entry: Timestamp,
    /// Whether the clock is too far past the log for the next year to begin by itself.
    pub year_refused: bool,
    /// When the last whole self-check ended.
    pub checked: Option<Timestamp>,
    /// What the self-check found wrong, in Dutch and English.
    pub failures: Vec<(String, String)>,
}

/// One flow from one organisation to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneRow {
    /// The sender.
    pub from: Oin,
    /// The recipient.
    pub to: Oin,
    /// The flow of the covenant.
    pub flow: String,
    /// The type of the newest message.
    pub message_type: String,
    /// The step of the newest message.
    pub step: String,
    /// Packets accepted.
    pub accepted: u64,
    /// Of those, stored by the recipient.
    pub stored: u64,
    /// Of those, acknowledged by the recipient as something it could not take in.
    pub quarantined: u64,
    /// Of those, ended before the recipient had them.
    pub ended: u64,
    /// Accepted in the last hour.
    pub hour: u32,
    /// The last one accepted.
    pub last_accepted: Option<Place>,
    /// The last one acknowledged.
    pub last_delivered: Option<Place>,
}

/// Refusals of one sender for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalRow {
    /// Who sent it, if that is known.
    pub from: Option<Oin>,
    /// The number in the table of refusals.
    pub reason: u16,
    /// How many.
    pub count: u64,
    /// Of those, in the last hour.
    pub hour: u32,
    /// The last one.
    pub last: Option<Place>,
}

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueRow {
    /// Whose.
    pub oin: Oin,
    /// Packets waiting.
    pub packets: u64,
    /// Bytes waiting.
    pub bytes: u64,
    /// Offered and not acknowledged.
    pub inflight: u64,
    /// Held because what they rest on fell away.
    pub frozen: u64,
    /// The oldest of them.
    pub oldest: Option<Place>,
    /// The oldest of those that are not held.
    pub oldest_open: Option<Place>,
    /// When the first of them ends by its validity.
    pub expires: Option<Timestamp>,
}

/// One partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRow {
    /// Who.
    pub oin: Oin,
    /// Its name.
    pub name: String,
    /// When it was added.
    pub added: Timestamp,
    /// When its access was taken away.
    pub revoked: Option<Timestamp>,
    /// Since when it is suspended.
    pub suspended: Option<Timestamp>,
    /// Its agent's software, while it has a session.
    pub software: Option<String>,
    /// When it was connected last, if it is not and was since the start.
    pub last_seen: Option<Timestamp>,
    /// When the certificate ends that ends last of those with which it was connected since the start.
    pub certificate_ends: Option<Timestamp>,
    /// When the last of the prekeys ends that it published.
    pub prekeys_end: Option<Timestamp>,
    /// How often a packet was offered to it that had been offered before, since the start.
    pub redelivered: u64,
    /// How its clock goes, while it is connected and its answers of the last hour say so.
    pub clock: Option<Offset>,
    /// Its connections.
    pub links: Vec<LinkRow>,
}

/// By which people come to the console with certificates: what of it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Papers {
    /// When the certificate ends that browsers are shown.
    pub certificate_ends: Timestamp,
    /// Of the revocation lists, the first that ends; after that nobody comes in.
    pub list: Option<List>,
}

/// A revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// From when on it counts.
    pub begins: Timestamp,
    /// Until when.
    pub ends: Timestamp,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRow {
    /// `quic` or `tcp`.
    pub transport: String,
    /// Since when.
    pub since: Timestamp,
    /// Round trip in microseconds; none over TCP.
    pub rtt_us: Option<u64>,
    /// Packets of QUIC sent, and of those lost; none over TCP.
    pub sent_lost: Option<(u64, u64)>,
    /// When the certificate ends with which it was made.
    pub certificate_ends: Timestamp,
}

/// One version of a covenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CovenantRow {
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// Its name.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// Its title.
    pub title: String,
    /// `proposed`, `in-force` or another state, as commands show it.
    pub state: String,
}

/// How the quorum of one covenant stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumRow {
    /// The covenant's name.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// How many have to cosign.
    pub wanted: u8,
    /// How many can.
    pub of: usize,
    /// The parties that can.
    pub witnesses: Vec<Oin>,
    /// The size that was cosigned so last.
    pub size: Option<u64>,
    /// How long ago that was, or since the covenant asks, in milliseconds.
    pub age_ms: u64,
}

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessRow {
    /// Its name: of a party its OIN, of another `outside-` and its code.
    pub name: String,
    /// The size it cosigned last.
    pub size: Option<u64>,
    /// When the first entry was written that it did not cosign yet, if there is one.
    pub behind_since: Option<Timestamp>,
    /// Whether it can be asked now.
    pub reachable: bool,
    /// How many of its answers were of no use.
    pub refused: u64,
    /// What was wrong with the last one.
    pub remark: Option<String>,
    /// What it said that may mean that there are two histories of the log.
    pub suspect: Option<String>,
}

/// The store and its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Bytes of the journal's segments.
    pub disk_bytes: u64,
    /// Bytes that what is alive in them takes.
    pub live_bytes: u64,
    /// Free bytes on the disk, if that can be told.
    pub free_bytes: Option<u64>,
    /// What is kept free.
    pub keep_free_bytes: u64,
    /// Whether there is too little, so that nothing new is taken in.
    pub scarce: bool,
    /// Flushes since the start.
    pub flushes: u64,
    /// How long each turn took to become durable, by [`crate::FLUSH_MILLIS`].
    pub flush: Distribution,
    /// How many log entries each turn had, by [`crate::BATCH_ENTRIES`].
    pub batch: Distribution,
}
