//! How the witnesses stand, and what that means for packets.

use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use super::{Asking, Place};
use crate::core::Core;
use crate::write::WitnessedRow;

/// How the witnesses stand, for the operator and for exports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    /// The covenants in force that ask a quorum.
    pub covenants: Vec<CovenantWatch>,
    /// The witnesses.
    pub witnesses: Vec<WitnessWatch>,
    /// The logs that ended and whose final checkpoint is being cosigned.
    pub finals: Vec<FinalWatch>,
    /// Who has not said yet what it cosigned, while the broker waits for that before it serves.
    pub waiting_for: Option<Vec<String>>,
}

/// One covenant that asks a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CovenantWatch {
    /// Its hash.
    pub covenant: Digest,
    /// The origin of the log that grows.
    pub origin: String,
    /// Its name.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// How many parties have to cosign.
    pub wanted: u8,
    /// The parties that can.
    pub witnesses: Vec<Oin>,
    /// The newest checkpoint that was cosigned so.
    pub newest: Option<WitnessedRow>,
    /// How long ago that was, or since the covenant asks.
    pub age: Span,
}

/// The final checkpoint of a log that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalWatch {
    /// The origin of the log.
    pub origin: String,
    /// Its size.
    pub size: u64,
    /// How many witnesses cosigned it since the start.
    pub cosigned: usize,
    /// Whether every covenant that asks has its quorum.
    pub reached: bool,
}

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessWatch {
    /// Its name: of a party its OIN, of another `outside-` and its code.
    pub name: String,
    /// The size it cosigned last, as far as is known.
    pub size: Option<u64>,
    /// Whether it can be asked now.
    pub reachable: bool,
    /// How many of its answers were of no use.
    pub refused: u64,
    /// What was wrong with the last one.
    pub remark: Option<String>,
    /// What it said that may mean that there are two histories of this log.
    pub suspect: Option<String>,
}

impl Core {
    /// Whether packets under a covenant may be accepted, as far as its quorum of witnesses goes.
    ///
    /// # Errors
    /// [`Refusal::Unwitnessed`].
    pub(crate) fn watched(&self, covenant: &Digest, now: Timestamp) -> Result<(), Refusal> {
        let (Some(limit), Some(asking)) = (self.config.stop_unwitnessed, self.witnesses.asking.get(covenant))
        else {
            return Ok(());
        };
        if self.quorum_age(covenant, asking, now) > limit { Err(Refusal::Unwitnessed) } else { Ok(()) }
    }

    fn quorum_age(&self, covenant: &Digest, asking: &Asking, now: Timestamp) -> Span {
        let newest = self.state.witnessed.get(&(*covenant, self.origin().to_owned()));
        now.since(newest.map_or(asking.since, |row| row.reached))
    }

    /// Whether something about the witnesses changed since the last call.
    pub fn take_watch_change(&mut self) -> bool {
        core::mem::take(&mut self.witnesses.changed)
    }

    /// How the witnesses stand.
    pub fn witness_watch(&self, now: Timestamp) -> Watch {
        let covenants = self.witnesses.asking.iter().map(|(hash, asking)| CovenantWatch {
            covenant: *hash,
            origin: self.origin().to_owned(),
            id: asking.id.clone(),
            version: asking.version,
            wanted: asking.wanted,
            witnesses: asking.witnesses.clone(),
            newest: self.state.witnessed.get(&(*hash, self.origin().to_owned())).cloned(),
            age: self.quorum_age(hash, asking, now),
        });
        let reachable = |place: &Place| match place {
            Place::Party(oin) => !self.sessions.of(oin).is_empty(),
            Place::Outside(_) => true,
        };
        let witnesses = self.witnesses.all.values().map(|one| WitnessWatch {
            name: one.name.clone(),
            size: one.standings.get(self.origin()).and_then(|standing| standing.latest),
            reachable: reachable(&one.place),
            refused: one.refused,
            remark: one.remark.clone(),
            suspect: one.suspect.clone(),
        });
        let finals = self.witnesses.finals.iter().map(|(origin, one)| FinalWatch {
            origin: origin.clone(),
            size: one.round.size,
            cosigned: one.round.lines.len(),
            reached: one.policies.keys().all(|covenant| self.has_final(origin, one.round.size, covenant)),
        });
        let waiting_for = self.start.is_holding().then(|| self.witnesses.missing());
        Watch {
            covenants: covenants.collect(),
            witnesses: witnesses.collect(),
            finals: finals.collect(),
            waiting_for,
        }
    }

    /// What is kept of a log's witnessed checkpoints, each with its covenant: the newest and one of each day, by rising
    /// size.
    pub fn witness_history(&self, origin: &str) -> Vec<(Digest, WitnessedRow)> {
        let days = self.state.witnessed_days.iter().filter(|((of, ..), _)| of == origin);
        let days = days.map(|((_, covenant, _), row)| (*covenant, row.clone()));
        let newest = self.state.witnessed.iter().filter(|((_, of), _)| of == origin);
        let newest = newest.map(|((covenant, _), row)| (*covenant, row.clone()));
        let mut all: Vec<_> = days.chain(newest).collect();
        all.sort_by_key(|(_, row)| row.size);
        all
    }
}
