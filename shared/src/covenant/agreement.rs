//! Agreement: which parties signed a version, and whether it is in force.
//!
//! A party speaks by a [`Vote`]: a signed word over a version's hash. The broker logs a vote and passes it on
//! with the time at which it did so; a vote and that time together are a [`Cast`]. Everybody folds the same
//! casts, in the same order, into the same [`Agreement`], so that nobody has to be believed: a vote cannot be
//! made up, and its time cannot be moved by more than clocks may differ.
//!
//! A version is **complete** when every party that may not be absent has accepted. It is **in force** when it is
//! complete, within its dates, no such party has withdrawn, and no complete successor took its place longer
//! ago than the overlap it allows. A party is **bound** while its acceptance stands and it takes part.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::compiled::Compiled;
use super::document::Party;
use super::evaluate::{Permit, Question, evaluate};
use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::ids::{Digest, Oin, Thumbprint};
use crate::limits::{CLOCK_SKEW, REASON_MAX, VOTE_MAX, VOTES_PER_PARTY};
use crate::refusal::{Lang, Refusal};
use crate::rotation::Keys;
use crate::signing::SigningKey;
use crate::time::{Span, Timestamp};

mod chain;
#[cfg(test)]
mod tests;

pub use chain::Agreements;

/// What a party says of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Word {
    /// It binds itself.
    #[serde(rename = "accept")]
    Accept,
    /// It does not; it may still come round.
    #[serde(rename = "reject")]
    Reject,
    /// It leaves a version it accepted: at once, alone, for good.
    #[serde(rename = "withdraw")]
    Withdraw,
}

impl Word {
    /// The code on the wire and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Withdraw => "withdraw",
        }
    }
}

/// One party's word about one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Vote {
    /// Format version, 1.
    pub format: u8,
    /// The hash of the version.
    pub covenant: Digest,
    /// Who speaks.
    pub party: Oin,
    /// What it says.
    pub word: Word,
    /// When it was signed.
    pub issued: Timestamp,
    /// Why, in words for the other parties; may be empty. At most [`REASON_MAX`] bytes, no personal data.
    pub reason: String,
}

impl Vote {
    /// Signs: a COSE_Sign1 with purpose `seinhuis/vote/1`.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        Sign1::sign(key, Purpose::Vote, &cbor::encode(self))
    }

    /// Reads a vote and checks that a key which `compiled` gives to its party signed it, one that it pins or,
    /// by `keys`, one that took the place of one it pins. Whether that key counted at the time is not asked.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin; [`Refusal::UnknownCovenant`] for a vote on another version;
    /// [`Refusal::NotAParty`], [`Refusal::UnknownKey`], [`Refusal::BadSignature`].
    pub fn verify(bytes: &[u8], compiled: &Compiled, keys: &Keys) -> Result<Self, Refusal> {
        let signed = Sign1::parse(bytes, VOTE_MAX)?;
        let claimed = Self::read(signed.unverified_payload())?;
        if claimed.covenant != compiled.hash() {
            return Err(Refusal::UnknownCovenant);
        }
        compiled.role_of(claimed.party).ok_or(Refusal::NotAParty)?;
        let key = keys.holds(compiled, claimed.party, signed.kid()).ok_or(Refusal::UnknownKey)?;
        signed.verify(&key, Purpose::Vote)?;
        Ok(claimed)
    }

    /// What a vote says, and the key it names as its signer, before its signature is looked at: to find the
    /// document, and for bytes that were verified before.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin.
    pub fn claimed(bytes: &[u8]) -> Result<(Self, Thumbprint), Refusal> {
        let signed = Sign1::parse(bytes, VOTE_MAX)?;
        Ok((Self::read(signed.unverified_payload())?, signed.kid()))
    }

    fn read(payload: &[u8]) -> Result<Self, Refusal> {
        let vote: Self = cbor::strict(payload, VOTE_MAX)?;
        if vote.format != 1 {
            return Err(Refusal::UnknownVersion);
        }
        if !is_reason(&vote.reason) {
            return Err(Refusal::Malformed);
        }
        Ok(vote)
    }
}

/// Whether a text can be the reason of a vote: short, on one line, and without characters that would hide or turn
/// around what stands beside it on a screen.
pub fn is_reason(text: &str) -> bool {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.len() <= REASON_MAX && !text.chars().any(odd)
}

/// A vote as the broker logged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Cast {
    /// The vote as signed.
    pub vote: Bytes,
    /// The log's time at that moment: from here on it counts.
    pub at: Timestamp,
}

/// What a vote did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It counts from now on.
    New(Word),
    /// It counted before.
    Same,
}

/// How a party stands to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It accepted, at this time.
    Accepted(Timestamp),
    /// It rejected, at this time.
    Rejected(Timestamp),
    /// It had accepted at the first and withdrew at the second time.
    Withdrawn(Timestamp, Timestamp),
}

/// How a version stands at some instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not everybody who has to has accepted yet.
    Proposed,
    /// A party that may not be absent rejected it.
    Rejected,
    /// Complete; its first day has not come.
    Agreed,
    /// In force.
    InForce,
    /// A successor took its place; it may be used until the overlap is over.
    Overlapping,
    /// A successor took its place.
    Superseded,
    /// A party that may not be absent withdrew.
    Withdrawn,
    /// Its last day has passed.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Proposed,
        Self::Rejected,
        Self::Agreed,
        Self::InForce,
        Self::Overlapping,
        Self::Superseded,
        Self::Withdrawn,
        Self::Expired,
    ];

    /// The word for people.
    pub const fn label(self, lang: Lang) -> &'static str {
        match self {
            Self::Proposed => lang.pick("voorgesteld", "proposed"),
            Self::Rejected => lang.pick("verworpen", "rejected"),
            Self::Agreed => lang.pick("overeengekomen", "agreed"),
            Self::InForce => lang.pick("van kracht", "in force"),
            Self::Overlapping => lang.pick("vervangen, nog bruikbaar", "superseded, still usable"),
            Self::Superseded => lang.pick("vervangen", "superseded"),
            Self::Withdrawn => lang.pick("opgezegd", "withdrawn"),
            Self::Expired => lang.pick("verlopen", "expired"),
        }
    }

    /// The code for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Rejected => "rejected",
            Self::Agreed => "agreed",
            Self::InForce => "in-force",
            Self::Overlapping => "overlapping",
            Self::Superseded => "superseded",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

/// One version with what its parties said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    compiled: Arc<Compiled>,
    casts: Vec<Cast>,
    standings: BTreeMap<Oin, Standing>,
    /// How many votes of each party count.
    said: BTreeMap<Oin, usize>,
    /// From when on every party that may not be absent had accepted.
    complete: Option<Timestamp>,
    /// When the first of those withdrew.
    broken: Option<Timestamp>,
    /// When a complete successor took its place.
    superseded: Option<Timestamp>,
}

impl Agreement {
    /// A version about which nobody has spoken.
    pub const fn new(compiled: Arc<Compiled>) -> Self {
        Self {
            compiled,
            casts: Vec::new(),
            standings: BTreeMap::new(),
            said: BTreeMap::new(),
            complete: None,
            broken: None,
            superseded: None,
        }
    }

    /// The document.
    pub const fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    /// The votes that count, in the order of the log.
    pub fn casts(&self) -> &[Cast] {
        &self.casts
    }

    /// How a party stands; `None` when it has not spoken.
    pub fn standing(&self, party: Oin) -> Option<Standing> {
        self.standings.get(&party).copied()
    }

    /// The version it names as its predecessor.
    fn previous(&self) -> Option<Digest> {
        self.compiled.covenant().previous
    }

    /// First instant at which it no longer binds anybody, whatever takes its place.
    fn over(&self) -> Timestamp {
        self.broken
            .map_or(self.compiled.covenant().valid_until, |at| at.min(self.compiled.covenant().valid_until))
    }

    /// While when a party is bound, leaving the version's own end aside.
    fn binding(&self, party: Oin) -> Option<(Timestamp, Option<Timestamp>)> {
        match self.standing(party)? {
            Standing::Accepted(since) => Some((since, None)),
            Standing::Withdrawn(since, until) => Some((since, Some(until))),
            Standing::Rejected(_) => None,
        }
    }

    /// From when on `next` takes this version's place: once `next` is in force, and everybody who may not be
    /// absent here has agreed to that by accepting it, or has withdrawn from here. The times alone decide, so
    /// that everybody comes to the same, in whatever order votes become known.
    fn replaced_by(&self, next: &Self) -> Option<Timestamp> {
        let effective = next.effective()?;
        if effective >= next.over() {
            return None;
        }
        let obligatory = || self.compiled.covenant().parties.iter().filter(|party| !party.may_be_absent);
        let agreed = |party: &Party| {
            let left = self.binding(party.oin).and_then(|(_, until)| until);
            let accepted = next.binding(party.oin).map(|(since, _)| since);
            left.into_iter().chain(accepted).min()
        };
        let mut from = effective;
        for party in obligatory() {
            from = from.max(agreed(party)?);
        }
        let stands = |party: &Party| {
            self.binding(party.oin).is_some_and(|(_, until)| until.is_some_and(|until| until <= from))
                || next.is_bound(party.oin, from)
        };
        obligatory().all(stands).then_some(from)
    }

    /// From when on a complete successor has taken this version's place, if one has.
    pub const fn superseded(&self) -> Option<Timestamp> {
        self.superseded
    }

    /// Whether a vote counts already.
    pub fn has(&self, vote: &[u8]) -> bool {
        self.casts.iter().any(|cast| *cast.vote == *vote)
    }

    /// Counts a vote that the broker logged at `at`, when only the keys that the version pins are known.
    ///
    /// # Errors
    /// What [`Vote::verify`] refuses; [`Refusal::FromTheFuture`] or [`Refusal::Expired`] when it was signed too
    /// far from `at`; [`Refusal::VoteOrder`] when this party cannot say that now.
    pub fn cast(&mut self, bytes: &[u8], at: Timestamp) -> Result<Counted, Refusal> {
        let vote = Vote::verify(bytes, &self.compiled, &Keys::default())?;
        self.count(&vote, bytes, at)
    }

    /// As [`Agreement::cast`], for bytes whose signature was checked: `vote` is what they say.
    fn count(&mut self, vote: &Vote, bytes: &[u8], at: Timestamp) -> Result<Counted, Refusal> {
        if self.has(bytes) {
            return Ok(Counted::Same);
        }
        if vote.issued > at.plus(CLOCK_SKEW) {
            return Err(Refusal::FromTheFuture);
        }
        if vote.issued.plus(CLOCK_SKEW) < at {
            return Err(Refusal::Expired);
        }
        // What was logged later never counts from earlier.
        if self.casts.last().is_some_and(|last| at < last.at) {
            return Err(Refusal::VoteOrder);
        }
        let said = self.said.get(&vote.party).copied().unwrap_or_default();
        let standing = match (self.standing(vote.party), vote.word) {
            _ if said >= VOTES_PER_PARTY => return Err(Refusal::VoteOrder),
            (None | Some(Standing::Rejected(_)), Word::Accept) => Standing::Accepted(at),
            (None, Word::Reject) => Standing::Rejected(at),
            (Some(Standing::Accepted(since)), Word::Withdraw) => Standing::Withdrawn(since, at),
            (Some(_) | None, Word::Accept | Word::Reject | Word::Withdraw) => {
                return Err(Refusal::VoteOrder);
            }
        };
        self.standings.insert(vote.party, standing);
        self.said.insert(vote.party, said.saturating_add(1));
        self.casts.push(Cast { vote: Bytes::from(bytes), at });
        self.settle(vote, at);
        Ok(Counted::New(vote.word))
    }

    fn settle(&mut self, vote: &Vote, at: Timestamp) {
        let obligatory =
            || self.compiled.covenant().parties.iter().filter(|p| !p.may_be_absent).map(|party| party.oin);
        if self.complete.is_none()
            && obligatory().all(|oin| matches!(self.standing(oin), Some(Standing::Accepted(_))))
        {
            self.complete = Some(at);
        }
        if vote.word == Word::Withdraw && obligatory().any(|oin| oin == vote.party) {
            self.broken = self.broken.or(Some(at));
        }
    }

    /// From when on every party that may not be absent had accepted it, by the log's time.
    pub const fn complete(&self) -> Option<Timestamp> {
        self.complete
    }

    /// From when on the version is or was in force, whatever ended it later.
    pub fn effective(&self) -> Option<Timestamp> {
        self.complete.map(|complete| complete.max(self.compiled.covenant().valid_from))
    }

    /// First instant at which it can no longer be used.
    pub fn ends(&self) -> Timestamp {
        self.broken.map_or(self.runs_out(), |broken| broken.min(self.runs_out()))
    }

    /// First instant at which its time is over: its last day has passed, or the overlap with its successor.
    pub fn runs_out(&self) -> Timestamp {
        let covenant = self.compiled.covenant();
        let overlap = Span::days(covenant.overlap_days.into());
        self.superseded.map_or(covenant.valid_until, |at| at.plus(overlap).min(covenant.valid_until))
    }

    /// The parties that withdrew, each with whether that ended the version: whether it may not be absent.
    pub fn withdrawals(&self) -> impl Iterator<Item = (Oin, bool)> {
        let parties = &self.compiled.covenant().parties;
        self.standings
            .iter()
            .filter(|(_, standing)| matches!(standing, Standing::Withdrawn(..)))
            .map(|(oin, _)| (*oin, parties.iter().any(|party| party.oin == *oin && !party.may_be_absent)))
    }

    /// Whether it can be used at `at`.
    pub fn in_force(&self, at: Timestamp) -> bool {
        self.effective().is_some_and(|from| from <= at) && at < self.ends()
    }

    /// How it stands at `now`.
    pub fn state(&self, now: Timestamp) -> State {
        let covenant = self.compiled.covenant();
        let superseded = self.superseded.is_some_and(|at| at <= now);
        if self.broken.is_some_and(|at| at <= now) {
            State::Withdrawn
        } else if covenant.valid_until <= now {
            State::Expired
        } else if superseded {
            if self.in_force(now) { State::Overlapping } else { State::Superseded }
        } else if self.in_force(now) {
            State::InForce
        } else if self.complete.is_some() {
            State::Agreed
        } else if covenant.parties.iter().any(|party| {
            !party.may_be_absent && matches!(self.standing(party.oin), Some(Standing::Rejected(_)))
        }) {
            State::Rejected
        } else {
            State::Proposed
        }
    }

    /// Whether a party is bound by it at `at`: what it sends and what is sent to it falls under its flows.
    pub fn is_bound(&self, party: Oin, at: Timestamp) -> bool {
        match self.standings.get(&party) {
            Some(Standing::Accepted(since)) => *since <= at,
            Some(Standing::Withdrawn(since, until)) => *since <= at && at < *until,
            Some(Standing::Rejected(_)) | None => false,
        }
    }

    /// Judges a packet under what was agreed: [`evaluate`], for a version that is in force between parties
    /// that are bound.
    ///
    /// # Errors
    /// [`Refusal::CovenantNotInForce`], [`Refusal::NotSigned`], and those of [`evaluate`].
    pub fn judge(&self, question: &Question<'_>) -> Result<Permit, Refusal> {
        if !self.in_force(question.now) {
            return Err(Refusal::CovenantNotInForce);
        }
        let permit = evaluate(&self.compiled, question)?;
        let mut parties = question.recipients.iter().chain([&question.sender]);
        if parties.all(|party| self.is_bound(*party, question.now)) {
            Ok(permit)
        } else {
            Err(Refusal::NotSigned)
        }
    }
}
