//! Covenants as this agent holds them: what the parties said, checked by itself, and what its own
//! organisation says.
//!
//! A version counts here only once this organisation has accepted it with this agent's own key: that
//! signature is what pins the document, and with it everybody else's keys. Until then a version is a text to
//! review. What this organisation says is kept and signed when there is a broker to hear it; a withdrawal
//! holds in this agent from the moment it is given.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seinhuis_shared::covenant::agreement::{Cast, Standing, Vote, Word};
use seinhuis_shared::covenant::{Agreement, Agreements, Compiled, Covenant, Permit, Question};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::{INFLIGHT_BYTES, INFLIGHT_MAX, REASON_MAX};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{Known, Offer};

use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{AlarmKind, ProposalRow, WordRow, Write};
use crate::turn::{Send, Turn};

/// Most versions kept that this organisation has not accepted, so that a hostile broker cannot fill the disk.
pub(crate) const UNSIGNED_MAX: usize = 64;
/// How long before a version is asked for again.
const ASK_AGAIN: Span = Span::seconds(10);
/// How long packets wait for the votes they may rest on, before they are judged by what is known.
const HOLD: Span = Span::minutes(1);

/// Covenants, votes and what is about to be said.
#[derive(Debug)]
pub struct Agreed {
    own: Oin,
    all: Agreements,
    words: BTreeMap<Digest, WordRow>,
    proposals: BTreeMap<Digest, ProposalRow>,
    /// How many votes the broker has on each version.
    known: BTreeMap<Digest, u32>,
    /// When each version was last asked for.
    asked: BTreeMap<Digest, Timestamp>,
    /// Packets that wait for votes, in order.
    held: VecDeque<Offer>,
    held_bytes: usize,
    held_since: Option<Timestamp>,
}

impl Agreed {
    pub(crate) fn new(own: Oin) -> Self {
        Self {
            own,
            all: Agreements::default(),
            words: BTreeMap::new(),
            proposals: BTreeMap::new(),
            known: BTreeMap::new(),
            asked: BTreeMap::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            held_since: None,
        }
    }

    /// Every version, accepted or not.
    pub fn all(&self) -> impl Iterator<Item = &Agreement> {
        self.all.iter()
    }

    /// What this organisation said of a version and the broker has not logged yet; with its refusal.
    pub fn word(&self, hash: &Digest) -> Option<&WordRow> {
        self.words.get(hash)
    }

    /// A version this organisation proposed that the broker has not logged yet; with its refusal.
    pub fn proposal(&self, hash: &Digest) -> Option<&ProposalRow> {
        self.proposals.get(hash)
    }

    /// Any version.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`].
    pub fn find(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        self.all.get(hash)
    }

    /// A version this organisation accepted.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`], [`Refusal::NotSigned`].
    pub fn get(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        let agreement = self.all.get(hash)?;
        if self.accepted(agreement) { Ok(agreement) } else { Err(Refusal::NotSigned) }
    }

    /// Every version this organisation accepted.
    pub fn mine(&self) -> impl Iterator<Item = &Agreement> {
        self.all.iter().filter(|one| self.accepted(one))
    }

    /// Every version this organisation is bound by now.
    pub(crate) fn bound(&self) -> impl Iterator<Item = &Agreement> {
        self.all.iter().filter(|one| matches!(one.standing(self.own), Some(Standing::Accepted(_))))
    }

    fn accepted(&self, agreement: &Agreement) -> bool {
        matches!(agreement.standing(self.own), Some(Standing::Accepted(_) | Standing::Withdrawn(..)))
    }

    /// Judges a packet this agent is about to seal.
    ///
    /// # Errors
    /// Those of [`Agreed::get`] and [`Agreement::judge`].
    pub fn judge_outgoing(&self, hash: &Digest, question: &Question<'_>) -> Result<Permit, Refusal> {
        if self.words.get(hash).is_some_and(|row| row.word == Word::Withdraw) {
            return Err(Refusal::NotSigned);
        }
        self.get(hash)?.judge(question)
    }

    /// Judges a packet that was accepted by the broker at `question.now`.
    ///
    /// # Errors
    /// Those of [`Agreed::get`] and [`Agreement::judge`].
    pub fn judge_incoming(&self, hash: &Digest, question: &Question<'_>) -> Result<Permit, Refusal> {
        self.get(hash)?.judge(question)
    }

    /// Whether the broker has votes on this version that are not known here.
    fn behind(&self, hash: &Digest) -> bool {
        let votes = self.all.get(hash).map_or(0, |one| one.casts().len());
        let new = self.all.get(hash).is_err();
        self.known
            .get(hash)
            .is_some_and(|known| new || usize::try_from(*known).is_ok_and(|known| votes < known))
    }

    pub(crate) fn restore_covenant(&mut self, bytes: &[u8]) -> Option<()> {
        let compiled = Compiled::new(Covenant::from_bytes(bytes).ok()?).ok()?;
        self.all.propose(Arc::new(compiled)).ok().map(|_| ())
    }

    pub(crate) fn restore_votes(&mut self, casts: &[Cast]) -> Option<()> {
        casts.iter().try_for_each(|cast| self.all.cast(&cast.vote, cast.at).ok().map(|_| ()))
    }

    pub(crate) fn restore_word(&mut self, hash: Digest, row: WordRow) {
        self.words.insert(hash, row);
    }

    pub(crate) fn restore_proposal(&mut self, hash: Digest, row: ProposalRow) {
        self.proposals.insert(hash, row);
    }

    /// Whether this packet has to wait, because it may rest on votes that are on their way; it is then kept.
    pub(crate) fn holds(&mut self, offer: Offer, now: Timestamp) -> Option<Offer> {
        let waits =
            || Packet::parse(&offer.packet).is_ok_and(|packet| self.behind(&packet.context().covenant));
        // What stands behind one that waits does so too: order is kept.
        if self.held.is_empty() && !waits() {
            return Some(offer);
        }
        let bytes = self.held_bytes.saturating_add(offer.packet.len());
        // A broker has no more than this under way; what comes beyond it is offered again in the next session.
        if self.held.len() < INFLIGHT_MAX && (self.held.is_empty() || bytes <= 2 * INFLIGHT_BYTES) {
            self.held_bytes = bytes;
            self.held_since = self.held_since.or(Some(now));
            self.held.push_back(offer);
        }
        None
    }

    /// The packets that no longer have to wait.
    fn released(&mut self, now: Timestamp) -> Vec<Offer> {
        let patient = self.held_since.is_some_and(|since| now < since.plus(HOLD));
        let waits = |offer: &Offer| {
            Packet::parse(&offer.packet).is_ok_and(|packet| self.behind(&packet.context().covenant))
        };
        let free = if patient {
            self.held.iter().take_while(|offer| !waits(offer)).count()
        } else {
            self.held.len()
        };
        let released: Vec<_> = self.held.drain(..free).collect();
        self.held_bytes = self.held.iter().fold(0, |sum, offer| sum.saturating_add(offer.packet.len()));
        if self.held.is_empty() {
            self.held_since = None;
        }
        released
    }
}

impl Core {
    /// The covenants.
    pub const fn agreed(&self) -> &Agreed {
        &self.agreed
    }

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
        self.speak_up(now, None, turn);
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
        if compiled.signing_key(self.settings.oin, ports.signer.public().thumbprint()).is_none() {
            return Err(Rejection::own_key());
        }
        if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
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
        self.speak_up(now, Some(ports), turn);
        Ok(())
    }

    /// Sends what has not been heard yet. Words are signed anew each time: a vote counts near its time only.
    pub(crate) fn speak_up(&self, now: Timestamp, ports: Option<Ports<'_>>, turn: &mut Turn) {
        if !self.connected {
            return;
        }
        for (hash, _) in self.agreed.proposals.iter().filter(|(_, row)| row.refused == 0) {
            if let Ok(agreement) = self.agreed.find(hash) {
                let bytes = agreement.compiled().covenant().to_bytes();
                turn.sends.push(Send::Propose { hash: *hash, bytes });
            }
        }
        let Some(ports) = ports else { return };
        for (hash, row) in self.agreed.words.iter().filter(|(_, row)| row.refused == 0) {
            let vote = Vote {
                format: 1,
                covenant: *hash,
                party: self.settings.oin,
                word: row.word,
                issued: now,
                reason: row.reason.clone(),
            };
            turn.sends.push(Send::Vote { hash: *hash, bytes: vote.sign(ports.signer) });
        }
    }

    /// The broker answered a proposal: 0, or a refusal's number.
    pub(crate) fn proposal_answered(&mut self, hash: Digest, outcome: u16, turn: &mut Turn) {
        let Some(row) = self.agreed.proposals.get_mut(&hash) else { return };
        if outcome == 0 {
            self.agreed.proposals.remove(&hash);
            turn.writes.push(Write::Proposal(hash, None));
        } else if !passing(outcome) {
            row.refused = outcome;
            turn.writes.push(Write::Proposal(hash, Some(*row)));
        }
    }

    /// The broker answered a word: 0, or a refusal's number. A word that was heard goes once it is seen among
    /// the votes.
    pub(crate) fn vote_answered(&mut self, hash: Digest, outcome: u16, turn: &mut Turn) {
        let Some(row) = self.agreed.words.get_mut(&hash) else { return };
        if outcome != 0 && !passing(outcome) {
            row.refused = outcome;
            turn.writes.push(Write::Word(hash, Some(Box::new(row.clone()))));
        }
    }

    /// The broker says how the covenants stand.
    pub(crate) fn take_agreements(&mut self, known: &[Known], now: Timestamp, turn: &mut Turn) {
        self.agreed.known = known.iter().map(|one| (one.hash, one.votes)).collect();
        for one in known {
            let here = self.agreed.find(&one.hash).map_or(0, |agreement| agreement.casts().len());
            if usize::try_from(one.votes).is_ok_and(|votes| votes < here) {
                let detail = format!("{}: {} of {here}", one.hash, one.votes);
                self.alarm(AlarmKind::VotesMissing, detail, now, turn);
            }
        }
        self.agreed.asked.clear();
        self.fetch_covenants(now, turn);
    }

    /// Asks for what the broker has and this agent has not.
    pub(crate) fn fetch_covenants(&mut self, now: Timestamp, turn: &mut Turn) {
        if !self.connected {
            return;
        }
        let due = |hash: &&Digest| {
            self.agreed.behind(hash) && self.agreed.asked.get(hash).is_none_or(|at| at.plus(ASK_AGAIN) <= now)
        };
        let wanted: Vec<Digest> = self.agreed.known.keys().filter(due).copied().collect();
        for hash in wanted {
            self.agreed.asked.insert(hash, now);
            turn.sends.push(Send::FetchCovenant(hash));
        }
    }

    /// Takes in a version with its votes. Each vote is checked here; the broker's word counts for nothing.
    pub(crate) fn learn(
        &mut self,
        compiled: Arc<Compiled>,
        casts: &[Cast],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let hash = compiled.hash();
        let unsigned = self.agreed.all().filter(|one| !self.agreed.accepted(one)).count();
        if self.agreed.find(&hash).is_err() {
            let bytes = compiled.covenant().to_bytes();
            let taken = unsigned < UNSIGNED_MAX && self.agreed.all.propose(compiled).is_ok();
            if !taken {
                return self.alarm(AlarmKind::CovenantRefused, hash.to_string(), now, turn);
            }
            turn.writes.push(Write::Covenant(hash, bytes));
        }
        let before = self.agreed.find(&hash).map_or(0, |one| one.casts().len());
        for cast in casts {
            let counted =
                self.own_voice(&hash, cast, ports).and_then(|()| self.agreed.all.cast(&cast.vote, cast.at));
            if let Err(refusal) = counted {
                self.alarm(AlarmKind::CovenantRefused, format!("{hash}: {refusal}"), now, turn);
                break;
            }
        }
        let Ok(agreement) = self.agreed.find(&hash) else { return };
        if agreement.casts().len() > before {
            turn.writes.push(Write::Votes(hash, agreement.casts().to_vec()));
        }
        let heard =
            match (self.agreed.words.get(&hash).map(|row| row.word), agreement.standing(self.settings.oin)) {
                (Some(Word::Accept), Some(Standing::Accepted(_)))
                | (Some(Word::Reject), Some(Standing::Rejected(_)))
                | (Some(_), Some(Standing::Withdrawn(..))) => true,
                (Some(_) | None, _) => false,
            };
        if heard {
            self.agreed.words.remove(&hash);
            turn.writes.push(Write::Word(hash, None));
        }
        self.reverify_peers();
        self.fetch_prekeys(now, turn);
        self.seal_drafts(now, ports, turn);
        self.release(now, ports, turn);
    }

    /// A vote of this organisation counts only when this agent's key signed it: a document that gives the
    /// organisation another key is not what it accepted.
    fn own_voice(&self, hash: &Digest, cast: &Cast, ports: Ports<'_>) -> Result<(), Refusal> {
        let compiled = self.agreed.find(hash)?.compiled();
        let own = ports.signer.public().thumbprint();
        let vote = Vote::verify(&cast.vote, compiled)?;
        if vote.party != self.settings.oin || Vote::signer(&cast.vote)? == own {
            Ok(())
        } else {
            Err(Refusal::UnknownKey)
        }
    }

    /// Takes in the packets that waited for votes.
    pub(crate) fn release(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        for offer in self.agreed.released(now) {
            self.offer(&offer, now, ports, turn);
        }
    }

    /// The session is over: what waited is offered again in the next.
    pub(crate) fn forget_held(&mut self) {
        self.agreed.held.clear();
        self.agreed.held_bytes = 0;
        self.agreed.held_since = None;
        self.agreed.known.clear();
        self.agreed.asked.clear();
    }
}

fn passing(outcome: u16) -> bool {
    Refusal::from_number(outcome).is_some_and(Refusal::is_passing)
}
