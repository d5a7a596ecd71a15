//! What can happen to a broker.

use std::sync::Arc;

use seinhuis_shared::acknowledgement::Batch;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::{CaseId, Digest, Oin};
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{Cosigned, FetchEntries, Hello};

use crate::admission::{Authentic, Rejected};
use crate::ends::{Consumed, TakeBack};
use crate::operator::{Command, CommandId};
use crate::start::Heard;

/// A connection, named by the shell; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A submission lane, named by the shell; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u64);

/// A request stream, named by the shell; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// A peer with a valid certificate said hello.
    Connected {
        /// Its connection.
        conn: ConnId,
        /// The organisation in its certificate.
        peer: Oin,
        /// What it said.
        hello: Hello,
        /// What the checkpoint in it says about this log, found by [`crate::hear`].
        heard: Heard,
    },
    /// A connection ended.
    Disconnected {
        /// Which.
        conn: ConnId,
    },
    /// A connection's certificate is on the revocation list.
    CertificateRevoked {
        /// Which.
        conn: ConnId,
    },
    /// A packet came in and was examined, as far as that needs no state.
    Submitted {
        /// On which connection.
        conn: ConnId,
        /// On which lane.
        lane: LaneId,
        /// The examination's outcome.
        examined: Result<Box<Authentic>, Box<Rejected>>,
    },
    /// A recipient acknowledged packets; its signature was checked.
    Acknowledged {
        /// On which connection.
        conn: ConnId,
        /// The acknowledgement, or what is wrong with it.
        examined: Result<Batch, Refusal>,
    },
    /// A partner keeps the notices up to this one.
    NoticesTaken {
        /// On which connection.
        conn: ConnId,
        /// The newest of them.
        cursor: u64,
    },
    /// A request other than a submission.
    Request {
        /// On which connection.
        conn: ConnId,
        /// Which stream waits for the answer.
        request: RequestId,
        /// What is asked.
        ask: Ask,
    },
    /// The operator gives a command.
    Operator {
        /// Who waits for the answer.
        id: CommandId,
        /// The command.
        command: Command,
    },
    /// Log entries before this position stand in files that are on stable storage.
    Published {
        /// The position.
        end: u64,
    },
    /// The log has a new head: it is to be cosigned. Brought a few times a second at most.
    HeadMoved,
    /// A witness that is no party answered, or did not.
    OutsideAnswered {
        /// Its public key.
        key: [u8; 32],
        /// Status and body; nothing when there was no answer.
        answer: Option<Cosigned>,
    },
    /// The disk has too little room left, or enough again.
    Room {
        /// Whether there is too little.
        scarce: bool,
    },
    /// Time has passed.
    Tick,
}

/// A request an agent makes on a stream of its own.
#[derive(Debug)]
pub enum Ask {
    /// Publishes a prekey bundle.
    PublishPrekeys {
        /// The bundle as signed.
        bytes: Vec<u8>,
        /// What it says, or what is wrong with it.
        bundle: Result<PrekeyBundle, Refusal>,
    },
    /// Asks for bundles of others.
    FetchPrekeys(Vec<Oin>),
    /// Asks for a covenant.
    FetchCovenant(Digest),
    /// Proposes a version of a covenant: what it says, or what is wrong with it.
    Propose(Result<Arc<Compiled>, Refusal>),
    /// Gives its organisation's word about a version, signed.
    Vote(Vec<u8>),
    /// Decides something about a case, signed.
    Decide(Vec<u8>),
    /// Gives up its organisation's signing key for another, signed.
    Rotate(Vec<u8>),
    /// Asks for what was decided about a case.
    FetchCase(CaseId),
    /// Takes a packet back, signed.
    Withdraw(Result<Box<TakeBack>, Refusal>),
    /// Says that a message was consumed, signed.
    Consume(Result<Box<Consumed>, Refusal>),
    /// Asks for log entries.
    FetchEntries(FetchEntries),
    /// Asks for consistency proofs in the log of an origin.
    FetchConsistency(String, Vec<u64>),
    /// Asks what followed on the log of an origin, of which a tree of this size is pinned.
    FetchSuccession(String, u64),
    /// Answers as a witness.
    Cosigned(Cosigned),
}
