//! What the operator suspended: nothing that was accepted is lost by it, and nothing is refused for good.
//!
//! A suspended partner has no session. Its sessions are closed and its hello is put off, so that its agent comes back by
//! itself; packets for it are accepted and wait in its mailbox, and expire as ever. On a suspended flow, under whichever
//! covenant, packets are put off before they are accepted; what was accepted is delivered. While intake is suspended that
//! is so on every flow, and the mailboxes run empty. A partner whose access is revoked is not suspended any more: when it
//! is added again it is back as a whole.

use std::collections::BTreeMap;

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::Core;
use crate::operator::Answer;
use crate::turn::Turn;
use crate::write::Write;

/// What can be suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspendable {
    /// A partner.
    Partner(Oin),
    /// A flow, by its id, under every covenant.
    Flow(String),
    /// Every flow.
    Intake,
}

impl Suspendable {
    pub(crate) fn to_key(&self) -> Vec<u8> {
        match self {
            Self::Partner(oin) => [b"p", oin.as_str().as_bytes()].concat(),
            Self::Flow(flow) => [b"f", flow.as_bytes()].concat(),
            Self::Intake => b"i".to_vec(),
        }
    }

    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.split_first()?;
        let text = core::str::from_utf8(rest).ok()?;
        match kind {
            b'p' => text.parse().ok().map(Self::Partner),
            b'f' if !text.is_empty() => Some(Self::Flow(text.to_owned())),
            b'i' if text.is_empty() => Some(Self::Intake),
            _ => None,
        }
    }
}

/// What is suspended, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Suspensions {
    pub(crate) partners: BTreeMap<Oin, Timestamp>,
    pub(crate) flows: BTreeMap<String, Timestamp>,
    pub(crate) intake: Option<Timestamp>,
}

impl Suspensions {
    pub(crate) fn has(&self, what: &Suspendable) -> bool {
        match what {
            Suspendable::Partner(oin) => self.partners.contains_key(oin),
            Suspendable::Flow(flow) => self.flows.contains_key(flow),
            Suspendable::Intake => self.intake.is_some(),
        }
    }

    pub(crate) fn insert(&mut self, what: &Suspendable, at: Timestamp) {
        match what {
            Suspendable::Partner(oin) => drop(self.partners.insert(*oin, at)),
            Suspendable::Flow(flow) => drop(self.flows.insert(flow.clone(), at)),
            Suspendable::Intake => self.intake = Some(at),
        }
    }

    pub(crate) fn remove(&mut self, what: &Suspendable) {
        match what {
            Suspendable::Partner(oin) => drop(self.partners.remove(oin)),
            Suspendable::Flow(flow) => drop(self.flows.remove(flow)),
            Suspendable::Intake => self.intake = None,
        }
    }

    /// Whether packets on this flow may be accepted.
    ///
    /// # Errors
    /// [`Refusal::Suspended`].
    pub(crate) fn flow(&self, flow: &str) -> Result<(), Refusal> {
        if self.intake.is_some() || self.flows.contains_key(flow) { Err(Refusal::Suspended) } else { Ok(()) }
    }

    /// Whether this partner may have a session.
    ///
    /// # Errors
    /// [`Refusal::Suspended`].
    pub(crate) fn partner(&self, oin: &Oin) -> Result<(), Refusal> {
        if self.partners.contains_key(oin) { Err(Refusal::Suspended) } else { Ok(()) }
    }
}

impl Core {
    /// Suspends a partner, a flow or intake.
    ///
    /// # Errors
    /// [`Refusal::UnknownPartner`], [`Refusal::PartnerRevoked`]; [`Refusal::UnknownFlow`] for one that no covenant has.
    pub(crate) fn suspend(
        &mut self,
        (what, reason): (Suspendable, Digest),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        self.is_known(&what)?;
        if let Suspendable::Partner(oin) = &what {
            self.state.directory.partner(oin)?;
        }
        if self.state.suspended.has(&what) {
            return Ok(Answer::Unchanged);
        }
        let index = self.note_suspension((&what, "suspended"), reason, now, turn);
        self.record(turn, Write::Suspended { what: what.clone(), at: now });
        if let Suspendable::Partner(oin) = what {
            self.dismiss(&oin, Refusal::Suspended, now, turn);
        }
        Ok(Answer::Recorded { index })
    }

    /// Ends a suspension. What was put off comes again by itself.
    ///
    /// # Errors
    /// [`Refusal::UnknownPartner`], [`Refusal::UnknownFlow`].
    pub(crate) fn resume(
        &mut self,
        (what, reason): (Suspendable, Digest),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        self.is_known(&what)?;
        if !self.state.suspended.has(&what) {
            return Ok(Answer::Unchanged);
        }
        let index = self.note_suspension((&what, "resumed"), reason, now, turn);
        self.record(turn, Write::Resumed { what });
        Ok(Answer::Recorded { index })
    }

    /// Whether there is such a partner, or such a flow in any covenant: a slip of the pen is told.
    fn is_known(&self, what: &Suspendable) -> Result<(), Refusal> {
        let directory = &self.state.directory;
        match what {
            Suspendable::Intake => Ok(()),
            Suspendable::Partner(oin) if directory.partners.contains_key(oin) => Ok(()),
            Suspendable::Partner(_) => Err(Refusal::UnknownPartner),
            Suspendable::Flow(flow) => {
                let has = directory.agreements.iter().any(|one| one.compiled().flow(flow).is_some());
                if has { Ok(()) } else { Err(Refusal::UnknownFlow) }
            }
        }
    }

    /// A partner's access is revoked, which takes the place of a suspension.
    pub(crate) fn forget_suspension(&mut self, oin: Oin, turn: &mut Turn) {
        let what = Suspendable::Partner(oin);
        if self.state.suspended.has(&what) {
            self.record(turn, Write::Resumed { what });
        }
    }

    fn note_suspension(
        &mut self,
        (what, detail): (&Suspendable, &str),
        reason: Digest,
        now: Timestamp,
        turn: &mut Turn,
    ) -> u64 {
        let index = self.next_index(turn);
        let kind = match what {
            Suspendable::Partner(_) => Kind::Partner,
            Suspendable::Flow(_) | Suspendable::Intake => Kind::Operator,
        };
        let mut entry = self.entry(kind, now, turn);
        match what {
            Suspendable::Partner(oin) => entry.subject = Some(*oin),
            Suspendable::Flow(flow) => entry.flow = Some(flow.clone()),
            Suspendable::Intake => {}
        }
        (entry.detail, entry.statement) = (Some(detail.to_owned()), Some(reason));
        turn.entry(&entry);
        index
    }
}
