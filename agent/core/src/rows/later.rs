//! Rows about what is said of a message after it was sent.

use core::fmt;

use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

coded! {
    /// What is said of an earlier message.
    CorrectionKind {
        /// Some of it is wrong.
        Correction = 0 "correction",
        /// It should not be used any more.
        Withdrawal = 1 "withdrawal",
    }
}

impl CorrectionKind {
    /// The message type that says it.
    pub const fn message_type(self) -> &'static str {
        match self {
            Self::Correction => "correctie",
            Self::Withdrawal => "intrekking",
        }
    }
}

coded! {
    /// How far a correction to one recipient is.
    CorrectionState {
        /// It is not known yet whether the recipient got the earlier message.
        Waiting = 0 "waiting",
        /// It is said, and not confirmed.
        Open = 1 "open",
        /// The recipient confirmed that it is processed.
        Done = 2 "done",
        /// The broker, this agent or the recipient refused it; a person has to look.
        Refused = 3 "refused",
        /// Nobody got the earlier message, so nobody has to be told.
        NotNeeded = 4 "not-needed",
    }
}

impl CorrectionState {
    /// Whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::NotNeeded)
    }

    /// Whether the recipient still has to hear of it, or to confirm it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Open)
    }
}

/// A correction or withdrawal of an own message to one of its recipients, followed until it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CorrectionRow {
    /// The earlier message.
    pub about: MsgId,
    /// What is said of it.
    pub kind: CorrectionKind,
    /// To whom.
    pub recipient: Oin,
    /// The covenant version of the earlier message.
    pub covenant: Digest,
    /// The step of the earlier message, as its code.
    pub step: String,
    /// How far it is.
    pub state: CorrectionState,
    /// Since when this organisation says so.
    pub since: Timestamp,
    /// The message that says it now.
    pub message: Option<MsgId>,
    /// Messages that said it before, newest last; an answer to one of them counts too.
    pub earlier: Vec<MsgId>,
    /// Until when the message that says it now is valid.
    pub until: Timestamp,
    /// How often it was said.
    pub times: u32,
    /// When it came to its end, or was refused.
    pub settled: Option<Timestamp>,
    /// The number with which broker or agent refused it, or 0.
    pub outcome: u16,
    /// The code in the recipient's answer; empty without one.
    pub code: String,
}

/// Which message said something, and when the broker accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Noted {
    /// The message.
    pub by: MsgId,
    /// When, by the log entry.
    pub at: Timestamp,
}

coded! {
    /// Why a body was erased, in the words of the covenant's schema.
    Ground {
        /// The term of its flow is over.
        Term = 0 "termijn",
        /// Its sender withdrew it.
        Withdrawn = 1 "intrekking",
        /// A data subject asked for it.
        Subject = 2 "verzoek_betrokkene",
        /// Its case ended.
        CaseEnded = 3 "einde_zaak",
        /// A party leaves.
        Leaving = 4 "uittreding",
    }
}

impl Ground {
    /// Every ground.
    pub const ALL: [Self; 5] = [Self::Term, Self::Withdrawn, Self::Subject, Self::CaseEnded, Self::Leaving];
}

/// That the body of a message in the inbox is gone. The message's own row stays, as evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ErasedRow {
    /// Since when nobody can read it.
    pub at: Timestamp,
    /// Why.
    pub ground: Ground,
    /// Since when its locked bytes are overwritten in the store's files.
    pub overwritten: Option<Timestamp>,
    /// The message that confirms its destruction, if this organisation owes one.
    pub confirmation: Option<MsgId>,
    /// The number with which that was refused here, or 0.
    pub outcome: u16,
}

/// When a case came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CaseEnd {
    /// The case.
    pub case: CaseId,
    /// When, by the log.
    pub at: Timestamp,
}

/// What later messages said of one in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize_tuple, Deserialize_tuple)]
pub struct MarkRow {
    /// The corrections, newest last.
    pub corrected: Vec<Noted>,
    /// The first withdrawal.
    pub withdrawn: Option<Noted>,
    /// Of a correction or withdrawal itself: 0 when it took effect, otherwise the number why not.
    pub effect: Option<u16>,
    /// Of a decision to scale down: the case that it ends.
    pub case_end: Option<CaseEnd>,
}
