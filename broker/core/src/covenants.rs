//! Covenants: put up by a party or the operator, decided by the parties' signed words.

use std::sync::Arc;

use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::agreement::{Agreement, Cast, Counted, Standing, Word};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::{AGREEMENTS_MAX, OPERATORS_RESERVE, PROPOSALS_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;

use crate::core::Core;
use crate::in_flight::Cause;
use crate::turn::{Send, Turn};
use crate::write::Write;

impl Core {
    /// A party puts up a version for all of its parties to sign.
    pub(crate) fn propose(
        &mut self,
        peer: &Oin,
        compiled: Arc<Compiled>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        compiled.role_of(*peer).ok_or(Refusal::NotAParty)?;
        if compiled.covenant().valid_until <= now {
            return Err(Refusal::CovenantNotInForce);
        }
        let directory = &self.state.directory;
        // A version that nobody else ever accepted is its proposer's own affair, whatever became of it.
        let alone = |one: &&Agreement| {
            let parties = &one.compiled().covenant().parties;
            !parties.iter().any(|party| {
                let standing = one.standing(party.oin);
                party.oin != *peer
                    && matches!(standing, Some(Standing::Accepted(_) | Standing::Withdrawn(..)))
            })
        };
        let open = directory
            .proposers
            .iter()
            .filter(|(_, proposer)| *proposer == peer)
            .filter_map(|(hash, _)| directory.agreements.get(hash).ok())
            .filter(alone)
            .count();
        let full = open >= PROPOSALS_MAX
            || directory.agreements.len() >= AGREEMENTS_MAX.saturating_sub(OPERATORS_RESERVE);
        if full && directory.agreements.get(&compiled.hash()).is_err() {
            return Err(Refusal::TooManyProposals);
        }
        self.put_up(compiled, Some(*peer), now, turn).map(|_| ())
    }

    /// Makes a version known to its parties. `false` when it was.
    pub(crate) fn put_up(
        &mut self,
        compiled: Arc<Compiled>,
        proposer: Option<Oin>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<bool, Refusal> {
        let hash = compiled.hash();
        if self.state.directory.agreements.get(&hash).is_ok() {
            return Ok(false);
        }
        if !self.state.directory.agreements.follows(&compiled) {
            return Err(Refusal::BrokenChain);
        }
        if !self.state.directory.agreements.pins_current_keys(&compiled) {
            return Err(Refusal::StaleKeyPinned);
        }
        let bytes = compiled.covenant().to_bytes();
        self.state.propose(compiled, proposer)?;
        turn.writes.push(Write::Covenant { hash, bytes, proposer });
        self.note_covenant(hash, proposer, ("proposed", None), now, turn);
        Ok(true)
    }

    /// A party gives its word about a version.
    pub(crate) fn vote(
        &mut self,
        peer: &Oin,
        bytes: &[u8],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let vote = self.state.directory.agreements.verify(bytes)?;
        if vote.party != *peer {
            return Err(Refusal::SenderNotConnection);
        }
        let hash = vote.covenant;
        let number = self.state.directory.covenant(&hash)?.casts().len();
        let Counted::New(word) = self.state.agreements().count(&vote, bytes, now)? else { return Ok(()) };
        let cast = Cast { vote: bytes.into(), at: now };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        turn.writes.push(Write::Vote { hash, number, cast });
        self.note_covenant(hash, Some(*peer), (word.as_str(), Some(sha256(bytes))), now, turn);
        if word == Word::Withdraw {
            self.lapsed(Cause::Withdrawn { covenant: hash, party: *peer }, now, turn);
        }
        // A successor that needs no overlap ends a version in the turn in which it is complete.
        self.run_out(now, turn);
        Ok(())
    }

    /// Logs what happened to a version and tells its parties, before anything that rests on it.
    fn note_covenant(
        &mut self,
        hash: Digest,
        subject: Option<Oin>,
        (detail, vote): (&str, Option<Digest>),
        now: Timestamp,
        turn: &mut Turn,
    ) {
        turn.directory_changed = true;
        let mut entry = self.entry(Kind::Covenant, now, turn);
        entry.covenant = Some(hash);
        entry.subject = subject;
        entry.detail = Some(detail.to_owned());
        entry.statement = vote;
        turn.entry(&entry);
        let directory = Arc::clone(&self.state.directory);
        let Ok(agreement) = directory.agreements.get(&hash) else { return };
        let parties = agreement.compiled().covenant().parties.iter();
        self.tell_agreements(parties.map(|party| party.oin), turn);
    }

    /// Tells organisations how the covenants stand that name them.
    pub(crate) fn tell_agreements(&mut self, parties: impl IntoIterator<Item = Oin>, turn: &mut Turn) {
        for party in parties {
            if let Some((conn, _)) = self.sessions.serving(&party) {
                let agreements = self.state.directory.agreements_of(&party);
                turn.send(Send::Agreements { conn, agreements });
            }
        }
    }
}
