//! Inputs and outputs of the core, as data.

use std::sync::Arc;

use seinhuis_shared::case::Act;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::agreement::{Cast, Word};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, Thumbprint};
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::wire::{
    CaseHead, Consume, Cosigned, Decided, Deferred, Entries, FetchEntries, Known, Notices, Offer, Succession,
    Verdict, Welcome, Witnessed,
};

use crate::agreed::Extent;
use crate::corrections::CorrectRequest;
use crate::minimise::{PushRequest, Rejection};
use crate::outbox::Release;
use crate::register::Telling;
use crate::rows::{AlarmRow, Ground, InboxRow, OutboxRow, Reached, Stage, SubjectRow, Write};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A person or system hands over a body. Answered with a [`Reply`] that carries the token.
    Push {
        /// Leads the answer back to who asked.
        token: u64,
        /// What to send.
        request: Box<PushRequest>,
    },
    /// This organisation proposes a version of a covenant. Answered in [`Turn::answers`].
    Propose {
        /// Leads the answer back to who asked.
        token: u64,
        /// The version.
        compiled: Arc<Compiled>,
    },
    /// This organisation says something of a version. Answered in [`Turn::answers`].
    Speak {
        /// Leads the answer back to who asked.
        token: u64,
        /// Which version.
        hash: Digest,
        /// What.
        word: Word,
        /// Why, for the other parties.
        reason: String,
    },
    /// This organisation decides something about a case. Answered in [`Turn::answers`].
    Decide {
        /// Leads the answer back to who asked.
        token: u64,
        /// Which case.
        case: CaseId,
        /// What; nothing to begin the case in the covenant's first step.
        act: Option<Act>,
        /// Under which version; may be left out when one covenant is in force, or the case is known.
        covenant: Option<Digest>,
    },
    /// A person decides about a message that waits for it. Answered in [`Turn::answers`].
    Release {
        /// Leads the answer back to who asked.
        token: u64,
        /// What was decided.
        release: Release,
    },
    /// This organisation says that an own message is wrong, or withdraws it. Answered in [`Turn::answers`].
    Correct {
        /// Leads the answer back to who asked.
        token: u64,
        /// What it says.
        request: Box<CorrectRequest>,
    },
    /// What was refused of corrections is said again. Answered in [`Turn::answers`].
    RetryCorrections {
        /// Leads the answer back to who asked.
        token: u64,
        /// The message they are about; all when left out.
        about: Option<MsgId>,
    },
    /// A person has the body of a message in the inbox erased, before its term. Answered in [`Turn::answers`].
    Erase {
        /// Leads the answer back to who asked.
        token: u64,
        /// Its position.
        position: u64,
        /// Why.
        ground: Ground,
    },
    /// A person takes an own message back from the recipients that do not have it. Answered in [`Turn::answers`].
    TakeBack {
        /// Leads the answer back to who asked.
        token: u64,
        /// The message.
        about: MsgId,
        /// Why, as a code.
        reason: String,
        /// Its row, when it is at its end.
        sent: Option<Box<OutboxRow>>,
    },
    /// This organisation's application took a received message over. Answered in [`Turn::answers`].
    Consume {
        /// Leads the answer back to who asked.
        token: u64,
        /// Its position in the inbox.
        position: u64,
        /// Its row.
        row: Box<InboxRow>,
    },
    /// The body of a received message is about to be handed to a person or an application. Answered in
    /// [`Turn::answers`]; what is refused must not be handed out.
    Read {
        /// Leads the answer back to who asked.
        token: u64,
        /// The message's row.
        row: Box<InboxRow>,
        /// The persons its body is about: see [`crate::Core::subjects_in`].
        subjects: Vec<SubjectRow>,
    },
    /// A person decides about telling another that there are data about that other. Answered in [`Turn::answers`].
    Tell {
        /// Leads the answer back to who asked.
        token: u64,
        /// What is decided.
        telling: Telling,
    },
    /// The broker's answer to a word that takes back the message at this position: entries, or a refusal's number.
    TakenBack(u64, Result<Box<Entries>, u16>),
    /// The same, about the message at this position of the inbox that was consumed.
    ConsumeAnswered(u64, Result<Box<Entries>, u16>),
    /// The broker tells what became of packets.
    Notices(Box<Notices>),
    /// Somebody wants to see log entries this organisation is party to. Answered in [`Turn::fetched`].
    FetchEntries {
        /// Leads the answer back to who asked.
        token: u64,
        /// Which.
        ask: FetchEntries,
    },
    /// The broker's answer to that: entries, or a refusal's number.
    Entries {
        /// Of the question.
        token: u64,
        /// The question.
        ask: FetchEntries,
        /// The answer.
        answer: Result<Box<Entries>, u16>,
    },
    /// The store has overwritten what was erased up to this ticket: see [`crate::Core::to_overwrite`].
    Overwritten(u64),
    /// This organisation's log of processings took in these records.
    Recorded {
        /// Their numbers.
        numbers: Vec<u64>,
        /// How many of their spans it rejected.
        rejected: u64,
    },
    /// The log of processings does not take what it is told; why, without content.
    RecordsRefused(String),
    /// A person wants to see how a case stands.
    LookAtCase(CaseId),
    /// The broker tells of decisions about cases.
    Cases(Vec<CaseHead>),
    /// What was decided about a case that was asked for; nothing when the broker gives none.
    Case(CaseId, Option<Vec<Decided>>),
    /// The broker's answer to a decision: 0, or a refusal's number.
    DecisionAnswered(CaseId, u16),
    /// The broker says how the covenants stand.
    Agreements(Vec<Known>),
    /// A version that was asked for, with its votes.
    Covenant {
        /// How much of it was here when it was asked for.
        had: Extent,
        /// The version.
        compiled: Arc<Compiled>,
        /// The votes, in the order of the log.
        casts: Vec<Cast>,
        /// The rotations in the lines of the keys it pins, in the order of the log.
        rotations: Vec<Rotated>,
    },
    /// This organisation gives up its signing key for [`crate::Ports::next`]. Answered in [`Turn::answers`].
    Rotate {
        /// Leads the answer back to who asked.
        token: u64,
        /// At once, whatever becomes of packets that are signed with the old key and have no verdict.
        urgent: bool,
    },
    /// The broker's answer to a rotation: the line of the own key, or a refusal's number.
    RotationAnswered(Result<Vec<Rotated>, u16>),
    /// The broker's answer to a proposal: 0, or a refusal's number.
    ProposalAnswered(Digest, u16),
    /// The broker's answer to a word: 0, or a refusal's number.
    VoteAnswered(Digest, Word, u16),
    /// The broker accepted the hello.
    Connected(Box<Welcome>),
    /// The session is over.
    Disconnected,
    /// The disk has too little room left, or enough again.
    Room {
        /// Whether there is too little.
        scarce: bool,
    },
    /// What the broker decided about a packet.
    Verdict(Verdict),
    /// A packet was put off.
    Deferred(Deferred),
    /// A packet for this organisation.
    Offer(Box<Offer>),
    /// Prekey bundles that were asked for, with the number of the question.
    Prekeys(u64, Vec<(Oin, Bytes)>),
    /// The bundle with this sequence number is with the broker.
    Published(u64),
    /// The broker refuses the bundle, for this reason.
    PublishRefused(u16),
    /// What followed on the log that was asked about, or a refusal's number.
    Succession(Result<Box<Succession>, u16>),
    /// A person accepts the log of this origin, which the operator began by hand. Answered in [`Turn::answers`].
    AcceptOrigin {
        /// Leads the answer back to who asked.
        token: u64,
        /// The origin.
        origin: String,
    },
    /// Consistency proofs for the sizes that were asked for.
    Consistency {
        /// The log's origin.
        origin: String,
        /// The sizes.
        sizes: Vec<u64>,
        /// One proof per pair of neighbours.
        proofs: Vec<Vec<Digest>>,
    },
    /// The broker gave no consistency proof; it is asked again later.
    ConsistencyFailed,
    /// The broker asks to cosign a checkpoint: the body of a C2SP tlog-witness request.
    AddCheckpoint(Vec<u8>),
    /// The broker tells that a checkpoint was cosigned as a covenant asks.
    Witnessed(Witnessed),
    /// The bytes of a sealed packet are no longer in the store.
    PacketMissing(Digest),
    /// Time has passed: at least a second since the last of these, whatever the clock says.
    Tick,
}

/// Something to send to the broker, after the turn is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// Submit a packet. Without bytes, they are the blob of this digest.
    Submit {
        /// SHA-256 of the packet.
        digest: Digest,
        /// The packet, when it is at hand.
        packet: Option<Arc<[u8]>>,
    },
    /// Take the packet of the message at this position back: the signed word.
    Withdraw {
        /// Its position in the outbox.
        position: u64,
        /// The signed word.
        bytes: Vec<u8>,
    },
    /// Say that the message at this position was consumed.
    Consume {
        /// Its position in the inbox.
        position: u64,
        /// What is said.
        consume: Box<Consume>,
    },
    /// Begin a session anew: offers of this one were left unanswered, and are made again in the next.
    Reconnect,
    /// Notices up to this one are kept.
    NoticesTaken(u64),
    /// Ask for log entries.
    FetchEntries {
        /// Of the question.
        token: u64,
        /// The question.
        ask: FetchEntries,
    },
    /// Payload of an acknowledgement frame.
    Acknowledge(Vec<u8>),
    /// Publish this bundle.
    Publish {
        /// Its sequence number.
        seq: u64,
        /// The signed bundle.
        bundle: Vec<u8>,
    },
    /// Ask for these organisations' prekeys: the number of the question, which its answer brings back.
    FetchPrekeys(u64, Vec<Oin>),
    /// Ask for a version of a covenant with its votes, and how much of it is here: what the answer has to hold at least.
    FetchCovenant(Digest, Extent),
    /// Propose a version.
    Propose {
        /// Its hash.
        hash: Digest,
        /// Its canonical form.
        bytes: Vec<u8>,
    },
    /// Say something of a version.
    Vote {
        /// Its hash.
        hash: Digest,
        /// What.
        word: Word,
        /// The signed vote.
        bytes: Vec<u8>,
    },
    /// Give up the own signing key for another: the signed rotation.
    Rotate(Vec<u8>),
    /// Decide something about a case.
    Decide {
        /// Which.
        case: CaseId,
        /// The signed decision.
        bytes: Vec<u8>,
    },
    /// Ask for what was decided about a case.
    FetchCase(CaseId),
    /// Ask for consistency proofs between these sizes, in the log of this origin.
    FetchConsistency(String, Vec<u64>),
    /// Ask what followed on a log.
    FetchSuccession {
        /// Its origin.
        origin: String,
        /// The size that is pinned.
        size: u64,
    },
    /// Answer as a witness.
    Cosigned(Cosigned),
}

/// What became of a push that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The message.
    pub msg_id: MsgId,
    /// Its place in the outbox.
    pub position: u64,
    /// How far it is.
    pub stage: Stage,
    /// Whether the same push was made before and nothing new was stored.
    pub repeated: bool,
    /// Whether a session with the broker is open.
    pub connected: bool,
}

/// The answer to a push.
#[derive(Debug)]
pub struct Reply {
    /// The token of the push.
    pub token: u64,
    /// What became of it.
    pub result: Result<Pushed, Rejection>,
}

/// News for whoever listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A packet's fate is known.
    Decided {
        /// The message.
        msg_id: MsgId,
        /// Done, refused, expired or denied.
        stage: Stage,
        /// The refusal's number, or 0.
        outcome: u16,
    },
    /// A packet is further at a recipient.
    Reached {
        /// The message.
        msg_id: MsgId,
        /// The recipient.
        to: Oin,
        /// How far it is.
        reached: Reached,
    },
    /// A packet came in for the first time.
    Received {
        /// Its place in the inbox.
        position: u64,
        /// The message.
        msg_id: MsgId,
        /// Who sent it.
        sender: Option<Oin>,
        /// Under which flow.
        flow: String,
        /// 0 when stored, otherwise why it is quarantined.
        outcome: u16,
    },
    /// The own signing key is another one from now on.
    KeyRotated(Thumbprint),
    /// Something a person has to look at.
    Alarm(AlarmRow),
}

/// Why there are no log entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfetched {
    /// There is no session with the broker.
    NotConnected,
    /// The broker refuses, with this number.
    Refused(u16),
    /// What the broker gave is not proved, or not this organisation's. There is an alarm.
    False(String),
}

/// What one step does: first `writes`, `blobs` and `drops` become durable together, then the rest happens.
#[derive(Debug, Default)]
pub struct Turn {
    /// Rows to write.
    pub writes: Vec<Write>,
    /// Packets to keep, under their digest.
    pub blobs: Vec<(Digest, Arc<[u8]>)>,
    /// Packets no longer needed.
    pub drops: Vec<Digest>,
    /// To the broker.
    pub sends: Vec<Send>,
    /// To those who pushed.
    pub replies: Vec<Reply>,
    /// To those who proposed, spoke or decided, by token: that it is kept and will be said, or why not.
    pub answers: Vec<(u64, Result<(), Rejection>)>,
    /// To those who asked for log entries, by token: the entries, each proved and this organisation's.
    pub fetched: Vec<(u64, Result<Box<Entries>, Unfetched>)>,
    /// To those who listen.
    pub events: Vec<Event>,
}

impl Turn {
    /// Whether nothing has to become durable.
    pub const fn is_read_only(&self) -> bool {
        self.writes.is_empty() && self.blobs.is_empty() && self.drops.is_empty()
    }
}
