//! Starting safely: a store that is older than what witnesses saw, or that holds another history, is found before
//! anything is added to it.
//!
//! Where a covenant in force asks a quorum, a broker that starts appends nothing, not even that it started, and accepts
//! nothing, until so many witnesses said what they cosigned last, and all of it is in its log. Sessions are turned away
//! with [`Refusal::AwaitingWitnesses`]; what their hello said counts all the same. A checkpoint that this log signed and
//! that is not in it ends the broker, at the start and at any time after; so does one of a log of this broker that its
//! store does not know.
//!
//! After a crash between the end of a log and the beginning of the next, the next one is begun when the waiting is over,
//! and before that the start is logged.

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::succession::years;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::VerifierKey;

use crate::core::{Core, refuse};
use crate::input::Input;
use crate::operator::{Command, CommandId};
use crate::shards::Shard;
use crate::turn::{Send, Turn};
use crate::write::WitnessedRow;

/// What a witness saw that is not in this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Claim {
    /// It cosigned a larger tree.
    #[error("it cosigned {size} entries with root {root}; this log has {own} entries")]
    Larger {
        /// The size it cosigned.
        size: u64,
        /// The root of that.
        root: Digest,
        /// The size of this log.
        own: u64,
    },
    /// It cosigned another tree of a size that this log had.
    #[error("it cosigned {size} entries with root {root}; the first {size} of this log have root {own}")]
    Other {
        /// The size.
        size: u64,
        /// The root it cosigned.
        root: Digest,
        /// The root here.
        own: Digest,
    },
    /// It cosigned a tree of a log of this broker that the broker does not know: of one that followed on its own.
    #[error(
        "it cosigned {size} entries with root {root} of {origin}, a log of this broker that its store does not know"
    )]
    Unknown {
        /// The log.
        origin: String,
        /// The size it cosigned.
        size: u64,
        /// The root of that.
        root: Digest,
    },
    /// It says, without proof, that it cosigned a larger tree.
    #[error("it says that it cosigned {size} entries; this log has {own}")]
    SaysLarger {
        /// The size it says.
        size: u64,
        /// The size of this log.
        own: u64,
    },
    /// It says, without proof, that this log does not continue what it cosigned.
    #[error("it says that {size} entries of this log do not continue the {old} that it cosigned")]
    SaysOther {
        /// The size of this log it was asked about.
        size: u64,
        /// The size it cosigned.
        old: u64,
    },
}

/// What a checkpoint that an agent cosigned says about this log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It cosigned none.
    Nothing,
    /// It is in its log.
    Fits {
        /// The log.
        origin: String,
        /// Its size.
        size: u64,
    },
    /// This broker signed it, and it is in none of its logs.
    Contradicts {
        /// The log it is of.
        origin: String,
        /// What does not hold.
        claim: Claim,
        /// The checkpoint, as the log signed it.
        note: Bytes,
    },
    /// It is no checkpoint, or not signed by this broker: it says nothing.
    Unreadable,
}

/// Holds the checkpoint in a hello against the log of `size` entries; `root` gives the root over the first so many.
///
/// # Errors
/// That of `root`.
pub fn hear<E>(
    note: &[u8],
    log: (&str, &VerifierKey),
    size: u64,
    root: impl FnOnce(u64) -> Result<Digest, E>,
) -> Result<Heard, E> {
    if note.is_empty() {
        return Ok(Heard::Nothing);
    }
    let Ok(checkpoint) = Checkpoint::verify(note, log.0, log.1) else { return Ok(Heard::Unreadable) };
    let (theirs, seen) = (checkpoint.size(), checkpoint.root());
    let origin = log.0.to_owned();
    let contradicts = |claim| Heard::Contradicts { origin: origin.clone(), claim, note: Bytes::from(note) };
    if theirs > size {
        return Ok(contradicts(Claim::Larger { size: theirs, root: *seen, own: size }));
    }
    let own = root(theirs)?;
    Ok(if own == *seen {
        Heard::Fits { origin, size: theirs }
    } else {
        contradicts(Claim::Other { size: theirs, root: *seen, own })
    })
}

/// The same for a log that this broker does not know, under the name and key that it would have here: if it signed that,
/// it was ahead of what its store says.
pub fn hear_unknown(note: &[u8], log: (&str, &VerifierKey)) -> Heard {
    let Ok(checkpoint) = Checkpoint::verify(note, log.0, log.1) else { return Heard::Unreadable };
    let (origin, size, root) = (log.0.to_owned(), checkpoint.size(), *checkpoint.root());
    let claim = Claim::Unknown { origin: origin.clone(), size, root };
    Heard::Contradicts { origin, claim, note: Bytes::from(note) }
}

/// Why this broker must not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Who says so.
    pub witness: String,
    /// What.
    pub claim: Claim,
    /// The signed checkpoints that prove it; none when it is a claim only.
    pub notes: Vec<Bytes>,
}

/// How far the start is.
#[derive(Debug, Default)]
pub(crate) struct Start {
    holding: bool,
    /// Whether the waiting is over as soon as the log that ended has its next.
    heard: bool,
    /// Who waits to be told that the broker serves, and whether without its witnesses.
    waiting: Vec<(CommandId, bool)>,
    contradiction: Option<Contradiction>,
}

impl Start {
    pub(crate) const fn is_holding(&self) -> bool {
        self.holding
    }

    /// Whether the log that ended may have its next now.
    pub(crate) const fn may_open(&self) -> bool {
        !self.holding || self.heard
    }

    /// The log that ended has its next.
    pub(crate) const fn opened(&mut self) {
        self.holding = false;
    }

    /// Whether the broker serves and somebody waits to be told so.
    pub(crate) const fn owes_an_answer(&self) -> bool {
        !self.holding && !self.waiting.is_empty()
    }

    /// The first contradiction is the one that is told.
    pub(crate) fn contradicted(&mut self, contradiction: Contradiction) {
        self.contradiction.get_or_insert(contradiction);
    }
}

impl Core {
    /// Begins to wait for the witnesses, if a covenant in force asks them and there is a log to have seen. Call it once,
    /// before the first input.
    pub fn begin(&mut self, now: Timestamp) {
        self.know_witnesses(now.max(self.state.log.time));
        self.start.holding = self.witnesses.asked_for() && self.state.log.head.is_some();
    }

    /// The newest witnessed checkpoints of this log that are kept.
    pub fn witnessed_here(&self) -> impl Iterator<Item = &WitnessedRow> {
        let own = self.state.witnessed.iter().filter(|((_, origin), _)| *origin == self.origin());
        own.map(|(_, row)| row)
    }

    /// Why the broker must end, if it must. Nothing of the turn may then be kept or sent.
    pub const fn contradiction(&self) -> Option<&Contradiction> {
        self.start.contradiction.as_ref()
    }

    /// Lets an input through, or answers it here while the broker waits for its witnesses.
    pub(crate) fn hold(&mut self, input: Input, now: Timestamp, turn: &mut Turn) -> Option<Input> {
        let input = self.weigh(input);
        if let Input::Connected { peer, heard: Heard::Contradicts { claim, note, .. }, .. } = &input {
            let own = self.state.log.head.as_ref().map(|head| head.note.clone());
            let notes = own.into_iter().chain([note.clone()]).collect();
            let witness = self.witnesses.name_of(peer);
            self.start.contradicted(Contradiction { witness, claim: claim.clone(), notes });
        }
        if self.start.contradiction.is_some() {
            return None;
        }
        if !self.start.holding {
            return Some(input);
        }
        let passed = self.held(input, now, turn);
        if self.start.contradiction.is_none() && self.witnesses.enough_heard() {
            self.serve(now, turn);
        }
        if !self.start.holding {
            return passed;
        }
        match passed {
            Some(Input::Connected { conn, .. }) => {
                let refusal = Refusal::AwaitingWitnesses;
                let refuse = refuse(refusal, None);
                turn.send(Send::Refuse { conn, request: None, refuse });
                turn.send(Send::Close { conn, reason: refusal });
                None
            }
            Some(_) | None => None,
        }
    }

    /// What happens while the broker waits. Gives back a hello, which is served if it is the last that was needed.
    fn held(&mut self, input: Input, now: Timestamp, turn: &mut Turn) -> Option<Input> {
        match input {
            Input::Connected { conn, peer, hello, heard } => {
                // Only an organisation that may take part is heard.
                if self.state.directory.partner(&peer).is_ok() {
                    self.witnesses.hear(&peer, &heard);
                }
                return Some(Input::Connected { conn, peer, hello, heard });
            }
            Input::Operator { id, command } => self.held_command(id, command, now, turn),
            Input::OutsideAnswered { key, answer } => self.witness_answered(&key, answer.as_ref(), now, turn),
            Input::Tick | Input::HeadMoved => self.ask_witnesses(now, turn),
            Input::Room { scarce } => self.scarce = scarce,
            Input::Request { conn, request, .. } => {
                let refuse = refuse(Refusal::AwaitingWitnesses, None);
                turn.send(Send::Refuse { conn, request: Some(request), refuse });
            }
            // There are no sessions, and the log's files are left as they are.
            Input::Disconnected { .. }
            | Input::CertificateRevoked { .. }
            | Input::Submitted { .. }
            | Input::Acknowledged { .. }
            | Input::NoticesTaken { .. }
            | Input::Published { .. } => {}
        }
        None
    }

    fn held_command(&mut self, id: CommandId, command: Command, now: Timestamp, turn: &mut Turn) {
        match command {
            Command::Started { without_witnesses } => {
                self.start.waiting.push((id, without_witnesses));
                if without_witnesses {
                    self.serve(now, turn);
                }
            }
            Command::Stopping => {
                turn.send(Send::Answer { id, answer: Ok(crate::operator::Answer::Unchanged) });
            }
            Command::Partners
            | Command::Covenants
            | Command::Grants
            | Command::Purged
            | Command::Retention
            | Command::Overview
            | Command::WitnessHistory { .. }
            | Command::Mail
            | Command::Witnesses => {
                self.operate(id, command, (now, now), turn);
            }
            Command::AddPartner { .. }
            | Command::RevokePartner { .. }
            | Command::Suspend { .. }
            | Command::Resume { .. }
            | Command::Requeue { .. }
            | Command::NoteAlarm { .. }
            | Command::LoadCovenant { .. }
            | Command::RollOver
            | Command::NewOrigin { .. }
            | Command::Purge { .. }
            | Command::Grant { .. }
            | Command::RevokeGrant { .. }
            | Command::SelfCheckFailed
            | Command::AccountChanged { .. }
            | Command::DropDamaged { .. }
            | Command::Export { .. } => {
                turn.send(Send::Answer { id, answer: Err(Refusal::AwaitingWitnesses) });
            }
        }
    }

    /// The waiting is over. A log that ended takes no entry any more: its next is begun first, in a turn of its own.
    pub(crate) fn serve(&mut self, now: Timestamp, turn: &mut Turn) {
        if self.is_closed() {
            self.start.heard = true;
            return;
        }
        self.start.holding = false;
        for (id, without_witnesses) in core::mem::take(&mut self.start.waiting) {
            self.operate(id, Command::Started { without_witnesses }, (now, now), turn);
        }
    }

    /// What a hello says, as far as it is about the log that grows: that was found out before its turn came, and
    /// another log may have been begun meanwhile.
    fn weigh(&self, input: Input) -> Input {
        let Input::Connected { conn, peer, hello, heard } = input else { return input };
        let heard = match heard {
            Heard::Fits { origin, .. } if origin != self.origin() => Heard::Nothing,
            Heard::Contradicts { origin, .. } if self.left_by_hand(&origin) => Heard::Nothing,
            heard @ (Heard::Nothing | Heard::Fits { .. } | Heard::Contradicts { .. } | Heard::Unreadable) => {
                heard
            }
        };
        Input::Connected { conn, peer, hello, heard }
    }

    /// Whether the operator went on by hand after this log, for everybody to see: what was seen of it may be another
    /// history. A log that is not known followed on the last one of its name from an earlier year; one of another name,
    /// on any.
    pub(crate) fn left_by_hand(&self, origin: &str) -> bool {
        let shards = self.shards();
        let own = shards.iter().position(|shard| shard.origin == origin);
        let before = |shard: &Shard| years(&shard.origin, origin).is_some_and(|(year, later)| year < later);
        let like = || shards.iter().rposition(before);
        let after = own.or_else(like).unwrap_or_default();
        let ends = shards.iter().skip(after).filter_map(|shard| shard.closing.as_ref());
        ends.into_iter().any(|closing| closing.by_hand)
    }
}
