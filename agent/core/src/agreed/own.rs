//! What this organisation itself says of covenants: kept, signed when there is a broker to hear it, and said until it is
//! seen among the votes.

use std::sync::Arc;

use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::agreement::{Standing, Vote, Word, is_reason};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::REASON_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use super::just_now;
use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{ProposalRow, WordRow, Write};
use crate::turn::{Send, Turn};

impl Core {
    /// This organisation proposes a version.
    pub(crate) fn propose(
        &mut self,
        compiled: Arc<Compiled>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        compiled.role_of(self.settings.oin).ok_or(Refusal::NotAParty)?;
        let hash = compiled.hash();
        let bytes = compiled.covenant().to_bytes();
        if self.agreed.all.propose(compiled)? {
            turn.writes.push(Write::Covenant(hash, bytes));
            let row = ProposalRow { since: now, refused: 0 };
            turn.writes.push(Write::Proposal(hash, Some(row)));
            self.agreed.proposals.insert(hash, row);
        }
        self.agreed.said.remove(&hash);
        Ok(())
    }

    /// This organisation says something of a version.
    pub(crate) fn speak(
        &mut self,
        hash: Digest,
        word: Word,
        reason: String,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let agreement = self.agreed.find(&hash)?;
        let compiled = agreement.compiled();
        compiled.role_of(self.settings.oin).ok_or(Refusal::NotAParty)?;
        self.check_own_key(compiled, ports)?;
        if !is_reason(&reason) {
            return Err(Rejection::new(
                Refusal::FieldInvalid,
                format!("De reden mag hooguit {REASON_MAX} bytes op één regel zijn."),
                format!("The reason may be {REASON_MAX} bytes on one line at most."),
            ));
        }
        let possible = match (agreement.standing(self.settings.oin), word) {
            (None, Word::Accept | Word::Reject)
            | (Some(Standing::Rejected(_)), Word::Accept)
            | (Some(Standing::Accepted(_)), Word::Withdraw) => true,
            // What was never logged can still be taken back.
            (None, Word::Withdraw) => self.agreed.words.contains_key(&hash),
            (Some(_), _) => false,
        };
        if !possible {
            return Err(Refusal::VoteOrder.into());
        }
        let row = WordRow { word, reason, since: now, refused: 0 };
        turn.writes.push(Write::Word(hash, Some(Box::new(row.clone()))));
        self.agreed.words.insert(hash, row);
        self.agreed.said.remove(&hash);
        self.speak_up(now, ports, turn);
        Ok(())
    }

    /// What is signed with a key the covenant does not give to this organisation would be refused by everybody.
    pub(crate) fn check_own_key(&self, compiled: &Compiled, ports: Ports<'_>) -> Result<(), Rejection> {
        let own = ports.signer.public().thumbprint();
        match self.agreed.keys().current(compiled, self.settings.oin, own) {
            Ok(_) => Ok(()),
            Err(Refusal::KeyGivenUp) => Err(Refusal::KeyGivenUp.into()),
            Err(_) => Err(Rejection::new(
                Refusal::UnknownKey,
                "Het convenant noemt de ondertekensleutel van deze agent niet (zie `seinhuis-agent status`).",
                "The covenant does not name this agent's signing key (see `seinhuis-agent status`).",
            )),
        }
    }

    /// Says what has not been heard yet, and was not said just now. Words are signed anew each time: a vote
    /// counts near its time only.
    pub(crate) fn speak_up(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        if !self.connected {
            return;
        }
        let said = &self.agreed.said;
        let due =
            |hash: &Digest, refused: u16| refused == 0 && said.get(hash).is_none_or(|at| !just_now(*at, now));
        let mut saying = Vec::new();
        for (hash, _) in self.agreed.proposals.iter().filter(|(hash, row)| due(hash, row.refused)) {
            if let Ok(agreement) = self.agreed.find(hash) {
                let bytes = agreement.compiled().covenant().to_bytes();
                turn.sends.push(Send::Propose { hash: *hash, bytes });
                saying.push(*hash);
            }
        }
        // A version comes before a word about it.
        let spoken = |hash: &Digest| !self.agreed.proposals.contains_key(hash);
        for (hash, row) in
            self.agreed.words.iter().filter(|(hash, row)| spoken(hash) && due(hash, row.refused))
        {
            let vote = Vote {
                format: 1,
                covenant: *hash,
                party: self.settings.oin,
                word: row.word,
                issued: now,
                reason: row.reason.clone(),
            };
            turn.sends.push(Send::Vote { hash: *hash, word: row.word, bytes: vote.sign(ports.signer) });
            saying.push(*hash);
        }
        self.agreed.said.extend(saying.into_iter().map(|hash| (hash, now)));
    }

    /// The broker answered a proposal: 0, or a refusal's number.
    pub(crate) fn proposal_answered(&mut self, hash: Digest, outcome: u16, turn: &mut Turn) {
        let Some(row) = self.agreed.proposals.get_mut(&hash) else { return };
        if outcome == 0 {
            self.agreed.proposals.remove(&hash);
            self.agreed.said.remove(&hash);
            turn.writes.push(Write::Proposal(hash, None));
        } else if !passing(outcome) {
            row.refused = outcome;
            turn.writes.push(Write::Proposal(hash, Some(*row)));
        }
    }

    /// The broker answered a word: 0, or a refusal's number. A word that was heard goes once it is seen among
    /// the votes; one that came too early or too late, or under a
    /// key that was just given up, is said again.
    pub(crate) fn vote_answered(&mut self, hash: Digest, word: Word, outcome: u16, turn: &mut Turn) {
        let Some(row) = self.agreed.words.get_mut(&hash).filter(|row| row.word == word) else { return };
        let again = [Refusal::FromTheFuture, Refusal::Expired, Refusal::KeyGivenUp];
        let again = again.map(Refusal::number).contains(&outcome);
        if outcome != 0 && !again && !passing(outcome) {
            row.refused = outcome;
            turn.writes.push(Write::Word(hash, Some(Box::new(row.clone()))));
        }
    }

    /// Lets go of a word that is among the votes now; one that the votes made possible again is said again.
    pub(super) fn heard(&mut self, hash: Digest, turn: &mut Turn) {
        let standing = self.agreed.find(&hash).ok().and_then(|one| one.standing(self.settings.oin));
        let Some(row) = self.agreed.words.get_mut(&hash) else { return };
        match (row.word, standing) {
            (Word::Accept, Some(Standing::Accepted(_)))
            | (Word::Reject, Some(Standing::Rejected(_)))
            | (_, Some(Standing::Withdrawn(..))) => {
                self.agreed.words.remove(&hash);
                self.agreed.said.remove(&hash);
                turn.writes.push(Write::Word(hash, None));
            }
            (Word::Withdraw, Some(Standing::Accepted(_))) if row.refused == Refusal::VoteOrder.number() => {
                row.refused = 0;
                turn.writes.push(Write::Word(hash, Some(Box::new(row.clone()))));
                self.agreed.said.remove(&hash);
            }
            (Word::Accept | Word::Reject | Word::Withdraw, _) => {}
        }
    }
}

pub(crate) fn passing(outcome: u16) -> bool {
    Refusal::from_number(outcome).is_some_and(Refusal::is_passing)
}
