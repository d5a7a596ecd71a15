//! What is durable: typed rows, their keys and their one encoding (strict CBOR).
//!
//! Bodies, drafts and private halves are locked ([`crate::Locker`]) before they get here.

use core::fmt;

use seinhuis_shared::case::Act;
use seinhuis_shared::cbor::{self, Bytes, CborError};
use seinhuis_shared::covenant::agreement::{Cast, Word};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, PrekeyId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::prekey::PrekeyPublic;
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Decided;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// The format of all rows; in the row of [`table::META`].
pub const FORMAT: u8 = 1;
/// Most bytes of one row.
const ROW_MAX: usize = 4 * 1024 * 1024;

/// The tables.
pub mod table {
    /// The format of the rows.
    pub const META: u8 = 0;
    /// [`super::OutboxRow`] by position.
    pub const OUTBOX: u8 = 1;
    /// Locked drafts by position.
    pub const DRAFT: u8 = 2;
    /// [`super::ChainRow`] by flow.
    pub const CHAIN: u8 = 3;
    /// [`super::InboxRow`] by position.
    pub const INBOX: u8 = 4;
    /// Locked bodies by position.
    pub const BODY: u8 = 5;
    /// [`super::ChainRow`] last seen, by sender and flow.
    pub const SEEN: u8 = 6;
    /// [`super::PinRow`].
    pub const PIN: u8 = 7;
    /// [`super::AlarmRow`] by number.
    pub const ALARM: u8 = 8;
    /// [`super::OwnPrekeyRow`] by prekey id.
    pub const OWN_PREKEY: u8 = 9;
    /// [`super::BundleRow`].
    pub const BUNDLE: u8 = 10;
    /// [`super::PeerRow`] by organisation.
    pub const PEER: u8 = 11;
    /// [`super::WaitingRow`] by size of the tree.
    pub const WAITING: u8 = 12;
    /// Signed notes kept as evidence, by their place: see [`super::Write::Note`].
    pub const NOTE: u8 = 13;
    /// Covenants in canonical form, by hash.
    pub const COVENANT: u8 = 14;
    /// What parties said of a covenant, by its hash.
    pub const VOTES: u8 = 15;
    /// [`super::WordRow`] by covenant.
    pub const WORD: u8 = 16;
    /// [`super::ProposalRow`] by covenant.
    pub const PROPOSAL: u8 = 17;
    /// What was decided about a case, by its pseudonym.
    pub const CASE: u8 = 18;
    /// [`super::ActRow`] by case.
    pub const ACT: u8 = 19;
    /// [`super::RotationRow`].
    pub const ROTATION: u8 = 20;
    /// The changes of signing keys, by party.
    pub const KEYS: u8 = 21;
    /// [`super::ReleaseRow`] by message id.
    pub const RELEASE: u8 = 22;
    /// [`super::ProvenanceRow`] by position in the inbox, where it says more than the flow does.
    pub const PROVENANCE: u8 = 23;
    /// Signed consents of others, by digest.
    pub const CONSENT: u8 = 24;
    /// [`super::CorrectionRow`] by number.
    pub const CORRECTION: u8 = 25;
    /// The locked body of a correction that is not settled, by number.
    pub const CORRECTION_BODY: u8 = 26;
    /// [`super::MarkRow`] by position in the inbox.
    pub const MARK: u8 = 27;
    /// [`super::ErasedRow`] by position in the inbox.
    pub const ERASED: u8 = 28;
    /// [`super::CosignedRow`] by origin of the log.
    pub const COSIGNED: u8 = 29;
    /// [`super::NoticesRow`] by number.
    pub const NOTICES: u8 = 30;
    /// [`super::TakeBackRow`] by position in the outbox.
    pub const TAKE_BACK: u8 = 31;
    /// [`super::ConsumedRow`] by position in the inbox.
    pub const CONSUMED: u8 = 32;
    /// [`super::LogRow`] by number.
    pub const LOG: u8 = 33;
    /// [`super::WaitingRow`] of a closed log, by its number and the size of the tree.
    pub const OLDER_WAITING: u8 = 34;
    /// [`super::RecordRow`] by number.
    pub const RECORD: u8 = 35;
    /// Every table, in the order in which rows are restored.
    pub const ALL: [u8; 36] = [
        META,
        KEYS,
        ROTATION,
        COVENANT,
        VOTES,
        WORD,
        PROPOSAL,
        CASE,
        ACT,
        RELEASE,
        OUTBOX,
        DRAFT,
        CHAIN,
        INBOX,
        BODY,
        SEEN,
        PIN,
        ALARM,
        OWN_PREKEY,
        BUNDLE,
        PEER,
        WAITING,
        NOTE,
        PROVENANCE,
        CONSENT,
        CORRECTION,
        CORRECTION_BODY,
        MARK,
        ERASED,
        COSIGNED,
        NOTICES,
        TAKE_BACK,
        CONSUMED,
        LOG,
        OLDER_WAITING,
        RECORD,
    ];
}

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "u8", try_from = "u8")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The word for it, for machines.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => $code,)* }
            }
        }

        impl TryFrom<u8> for $name {
            type Error = &'static str;

            fn try_from(code: u8) -> Result<Self, &'static str> {
                match code { $($code => Ok(Self::$variant),)* _ => Err("an unknown code") }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

mod later;
mod record;
mod told;

pub use record::{RecordRow, SubjectRow};
pub use told::{ConsumedRow, NoticesRow, Reached, TakeBackRow};

pub use later::{CaseEnd, CorrectionKind, CorrectionRow, CorrectionState, ErasedRow, Ground, MarkRow, Noted};

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
    /// Its final size and root; none for the one that grows, whose pin is in [`table::PIN`].
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

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The format of the rows.
    Meta,
    /// An outgoing message.
    Outbox(u64, Box<OutboxRow>),
    /// A locked draft, or that it is gone.
    Draft(u64, Option<Vec<u8>>),
    /// The last packet sealed for a flow.
    Chain(String, ChainRow),
    /// An incoming packet.
    Inbox(u64, Box<InboxRow>),
    /// A locked body, or that it is erased.
    Body(u64, Option<Vec<u8>>),
    /// The last packet seen of a sender under a flow.
    Seen(Oin, String, ChainRow),
    /// What is believed of the log.
    Pin(PinRow),
    /// An alarm.
    Alarm(u64, AlarmRow),
    /// An own prekey, or that it is destroyed.
    OwnPrekey(PrekeyId, Option<Box<OwnPrekeyRow>>),
    /// The own bundle.
    Bundle(Box<BundleRow>),
    /// A partner's bundle.
    Peer(Oin, Box<PeerRow>),
    /// A checkpoint that waits for a proof, by size of its tree, or that it waits no more.
    Waiting(u64, Option<Box<WaitingRow>>),
    /// A covenant in canonical form.
    Covenant(Digest, Vec<u8>),
    /// What parties said of a covenant.
    Votes(Digest, Vec<Cast>),
    /// What this organisation says of a covenant, or that it was heard.
    Word(Digest, Option<Box<WordRow>>),
    /// A covenant this organisation proposes, or that the broker has it.
    Proposal(Digest, Option<ProposalRow>),
    /// What was decided about a case.
    Case(CaseId, Vec<Decided>),
    /// What this organisation decides about a case, or that it was heard.
    Act(CaseId, Option<Box<ActRow>>),
    /// What a person decided about a message.
    Release(MsgId, ReleaseRow),
    /// Where the body of a received message comes from.
    Provenance(u64, ProvenanceRow),
    /// A consent of another organisation, as it signed it.
    Consent(Digest, Option<Bytes>),
    /// This place in the outbox is empty again: its message has another one.
    Moved(u64),
    /// The change of the own signing key that is under way, or that it is done.
    Rotation(Option<Box<RotationRow>>),
    /// A party's changes of its signing key, in order.
    Keys(Oin, Vec<Rotated>),
    /// A signed note: 0 is that of the pin; from 1 on, two for each time that a log was caught, those that
    /// contradict each other. Together they show to anybody what the log signed.
    Note(u8, Bytes),
    /// An exchange log, by its number from 0.
    Log(u32, Box<LogRow>),
    /// A checkpoint of a closed log that waits for a proof, or that it waits no more.
    OlderWaiting(u32, u64, Option<Box<WaitingRow>>),
    /// A correction to one recipient.
    Correction(u64, Box<CorrectionRow>),
    /// The locked body of a correction, or that it is not needed any more.
    CorrectionBody(u64, Option<Vec<u8>>),
    /// What later messages said of one in the inbox.
    Mark(u64, Box<MarkRow>),
    /// That a body in the inbox is gone.
    Erased(u64, ErasedRow),
    /// Notices as the broker gave them.
    Notices(u64, Box<NoticesRow>),
    /// That an outgoing message is taken back.
    TakeBack(u64, Box<TakeBackRow>),
    /// That an incoming message was consumed.
    Consumed(u64, Box<ConsumedRow>),
    /// A processing to be told to this organisation's log of them, or that it needs not be any more.
    Record(u64, Option<Box<RecordRow>>),
    /// The largest tree that was cosigned, by origin of its log.
    Cosigned(String, Box<CosignedRow>),
}

/// A row as stored: table, key, and a value or its absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The table.
    pub table: u8,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or none to delete the row.
    pub value: Option<Vec<u8>>,
}

/// The key of a position: big-endian, so that order of keys is order of positions.
pub fn position_key(position: u64) -> Vec<u8> {
    position.to_be_bytes().to_vec()
}

fn seen_key(sender: &Oin, flow: &str) -> Vec<u8> {
    [sender.as_str().as_bytes(), flow.as_bytes()].concat()
}

impl Write {
    /// The row this changes.
    pub fn row(&self) -> Row {
        let row = |table, key: Vec<u8>, value: Option<Vec<u8>>| Row { table, key, value };
        match self {
            Self::Meta => row(table::META, vec![], Some(vec![FORMAT])),
            Self::Outbox(at, one) => row(table::OUTBOX, position_key(*at), Some(cbor::encode(one))),
            Self::Draft(at, value) => row(table::DRAFT, position_key(*at), value.clone()),
            Self::Chain(flow, one) => row(table::CHAIN, flow.clone().into_bytes(), Some(cbor::encode(one))),
            Self::Inbox(at, one) => row(table::INBOX, position_key(*at), Some(cbor::encode(one))),
            Self::Body(at, value) => row(table::BODY, position_key(*at), value.clone()),
            Self::Seen(sender, flow, one) => {
                row(table::SEEN, seen_key(sender, flow), Some(cbor::encode(one)))
            }
            Self::Pin(one) => row(table::PIN, vec![], Some(cbor::encode(one))),
            Self::Alarm(at, one) => row(table::ALARM, position_key(*at), Some(cbor::encode(one))),
            Self::OwnPrekey(id, one) => {
                row(table::OWN_PREKEY, id.as_bytes().to_vec(), one.as_ref().map(cbor::encode))
            }
            Self::Bundle(one) => row(table::BUNDLE, vec![], Some(cbor::encode(one))),
            Self::Peer(oin, one) => {
                row(table::PEER, oin.as_str().as_bytes().to_vec(), Some(cbor::encode(one)))
            }
            Self::Waiting(size, one) => {
                row(table::WAITING, position_key(*size), one.as_ref().map(cbor::encode))
            }
            Self::Covenant(hash, bytes) => row(table::COVENANT, hash.0.to_vec(), Some(bytes.clone())),
            Self::Votes(hash, casts) => row(table::VOTES, hash.0.to_vec(), Some(cbor::encode(casts))),
            Self::Word(hash, one) => row(table::WORD, hash.0.to_vec(), one.as_ref().map(cbor::encode)),
            Self::Proposal(hash, one) => {
                row(table::PROPOSAL, hash.0.to_vec(), one.as_ref().map(cbor::encode))
            }
            Self::Case(case, decisions) => row(table::CASE, case.0.to_vec(), Some(cbor::encode(decisions))),
            Self::Act(case, one) => row(table::ACT, case.0.to_vec(), one.as_ref().map(cbor::encode)),
            Self::Release(id, one) => row(table::RELEASE, id.0.to_vec(), Some(cbor::encode(one))),
            Self::Provenance(at, one) => row(table::PROVENANCE, position_key(*at), Some(cbor::encode(one))),
            Self::Consent(digest, one) => {
                row(table::CONSENT, digest.0.to_vec(), one.as_ref().map(|one| one.0.clone()))
            }
            Self::Moved(at) => row(table::OUTBOX, position_key(*at), None),
            Self::Rotation(one) => row(table::ROTATION, vec![], one.as_ref().map(cbor::encode)),
            Self::Keys(oin, all) => {
                row(table::KEYS, oin.as_str().as_bytes().to_vec(), Some(cbor::encode(all)))
            }
            Self::Note(place, note) => row(table::NOTE, vec![*place], Some(cbor::encode(note))),
            Self::Log(number, one) => row(table::LOG, number.to_be_bytes().to_vec(), Some(cbor::encode(one))),
            Self::OlderWaiting(number, size, one) => {
                let key = [&number.to_be_bytes()[..], &size.to_be_bytes()[..]].concat();
                row(table::OLDER_WAITING, key, one.as_ref().map(cbor::encode))
            }
            Self::Correction(at, one) => row(table::CORRECTION, position_key(*at), Some(cbor::encode(one))),
            Self::CorrectionBody(at, value) => row(table::CORRECTION_BODY, position_key(*at), value.clone()),
            Self::Erased(at, one) => row(table::ERASED, position_key(*at), Some(cbor::encode(one))),
            Self::Record(at, one) => row(table::RECORD, position_key(*at), one.as_ref().map(cbor::encode)),
            Self::Mark(at, one) => row(table::MARK, position_key(*at), Some(cbor::encode(one))),
            Self::Cosigned(origin, one) => {
                row(table::COSIGNED, origin.clone().into_bytes(), Some(cbor::encode(one)))
            }
            Self::Notices(at, one) => row(table::NOTICES, position_key(*at), Some(cbor::encode(one))),
            Self::TakeBack(at, one) => row(table::TAKE_BACK, position_key(*at), Some(cbor::encode(one))),
            Self::Consumed(at, one) => row(table::CONSUMED, position_key(*at), Some(cbor::encode(one))),
        }
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// [`RestoreError`] naming the table.
    pub fn read(table: u8, key: &[u8], value: &[u8]) -> Result<Self, RestoreError> {
        let damaged = || RestoreError::Damaged { table, key: key.iter().take(8).copied().collect() };
        let at = || key.try_into().map(u64::from_be_bytes).map_err(|_| damaged());
        let hash = || Digest::from_slice(key).ok_or_else(damaged);
        let case = || CaseId::from_slice(key).ok_or_else(damaged);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| damaged());
        let oin = |bytes: &[u8]| text(bytes)?.parse::<Oin>().map_err(|_| damaged());
        Ok(match table {
            table::META if value == [FORMAT] => Self::Meta,
            table::META => return Err(RestoreError::Format { found: value.first().copied().unwrap_or(0) }),
            table::OUTBOX => Self::Outbox(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::DRAFT => Self::Draft(at()?, Some(value.to_vec())),
            table::CHAIN => Self::Chain(text(key)?, decode(value).map_err(|_| damaged())?),
            table::INBOX => Self::Inbox(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::BODY => Self::Body(at()?, Some(value.to_vec())),
            table::CORRECTION => Self::Correction(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::CORRECTION_BODY => Self::CorrectionBody(at()?, Some(value.to_vec())),
            table::ERASED => Self::Erased(at()?, decode(value).map_err(|_| damaged())?),
            table::RECORD => Self::Record(at()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::MARK => Self::Mark(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::COSIGNED => Self::Cosigned(text(key)?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::NOTICES => Self::Notices(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::TAKE_BACK => Self::TakeBack(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::CONSUMED => Self::Consumed(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::SEEN => {
                let (sender, flow) = key.split_at_checked(20).ok_or_else(damaged)?;
                Self::Seen(oin(sender)?, text(flow)?, decode(value).map_err(|_| damaged())?)
            }
            table::PIN => Self::Pin(decode(value).map_err(|_| damaged())?),
            table::ALARM => Self::Alarm(at()?, decode(value).map_err(|_| damaged())?),
            table::OWN_PREKEY => Self::OwnPrekey(
                PrekeyId::from_slice(key).ok_or_else(damaged)?,
                Some(Box::new(decode(value).map_err(|_| damaged())?)),
            ),
            table::BUNDLE => Self::Bundle(Box::new(decode(value).map_err(|_| damaged())?)),
            table::PEER => Self::Peer(oin(key)?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::WAITING => Self::Waiting(at()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::LOG => {
                let number = key.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
                Self::Log(number, Box::new(decode(value).map_err(|_| damaged())?))
            }
            table::OLDER_WAITING => {
                let (number, size) = key.split_at_checked(4).ok_or_else(damaged)?;
                let number = number.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
                let size = size.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
                Self::OlderWaiting(number, size, Some(Box::new(decode(value).map_err(|_| damaged())?)))
            }
            table::COVENANT if hash()? == sha256(value) => Self::Covenant(hash()?, value.to_vec()),
            table::VOTES => Self::Votes(hash()?, decode(value).map_err(|_| damaged())?),
            table::WORD => Self::Word(hash()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::PROPOSAL => Self::Proposal(hash()?, Some(decode(value).map_err(|_| damaged())?)),
            table::CASE => Self::Case(case()?, decode(value).map_err(|_| damaged())?),
            table::ACT => Self::Act(case()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::PROVENANCE => Self::Provenance(at()?, decode(value).map_err(|_| damaged())?),
            table::CONSENT if hash()? == sha256(value) => Self::Consent(hash()?, Some(Bytes::from(value))),
            table::RELEASE => Self::Release(
                MsgId::from_slice(key).ok_or_else(damaged)?,
                decode(value).map_err(|_| damaged())?,
            ),
            table::ROTATION if key.is_empty() => {
                Self::Rotation(Some(Box::new(decode(value).map_err(|_| damaged())?)))
            }
            table::KEYS => Self::Keys(oin(key)?, decode(value).map_err(|_| damaged())?),
            table::NOTE => match key {
                [place] => Self::Note(*place, decode(value).map_err(|_| damaged())?),
                _ => return Err(damaged()),
            },
            _ => return Err(damaged()),
        })
    }
}

fn decode<T: DeserializeOwned + Serialize>(value: &[u8]) -> Result<T, CborError> {
    cbor::strict(value, ROW_MAX)
}

/// Why stored rows cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Made by another version of the software.
    #[error(
        "the store has format {found}, this software reads format {FORMAT}: use the version that made it"
    )]
    Format {
        /// The format found.
        found: u8,
    },
    /// A row that no version of the software wrote.
    #[error("a row of table {table} (key begins {key:02x?}) cannot be read: restore the store from a backup")]
    Damaged {
        /// The table.
        table: u8,
        /// The first bytes of the key.
        key: Vec<u8>,
    },
}
