//! All versions of all covenants, and how one takes another's place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Agreement, Counted, Standing, State, Vote, Word};
use crate::covenant::compiled::Compiled;
use crate::covenant::document::Party;
use crate::ids::{Digest, Oin};
use crate::limits::AGREEMENTS_MAX;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Versions by hash. Whoever proposes or votes changes it through here alone, so that the rules between
/// versions hold for all of them.
#[derive(Debug, Clone, Default)]
pub struct Agreements(BTreeMap<Digest, Agreement>);

impl Agreements {
    /// The version with this hash.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`].
    pub fn get(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        self.0.get(hash).ok_or(Refusal::UnknownCovenant)
    }

    /// Every version, in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = &Agreement> {
        self.0.values()
    }

    /// How many versions are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every version in which an organisation is named.
    pub fn of(&self, party: Oin) -> impl Iterator<Item = &Agreement> {
        self.iter().filter(move |one| one.compiled().role_of(party).is_some())
    }

    /// Puts up a version. `false` when it was known. A version that names a predecessor which is known here
    /// must follow it: the same covenant, numbered one higher, naming every party that may not be absent from
    /// the predecessor (one that leaves is named with the date on which it does). A party that joins later does not know the
    /// versions before; what it signs is the document, whatever came before.
    ///
    /// # Errors
    /// [`Refusal::BrokenChain`]; [`Refusal::TooBusy`] when more versions are known than may be.
    pub fn propose(&mut self, compiled: Arc<Compiled>) -> Result<bool, Refusal> {
        let hash = compiled.hash();
        if self.0.contains_key(&hash) {
            return Ok(false);
        }
        if self.0.len() >= AGREEMENTS_MAX {
            return Err(Refusal::TooBusy);
        }
        let next = compiled.covenant();
        if let Some(before) = next.previous.and_then(|previous| self.0.get(&previous)) {
            let before = before.compiled.covenant();
            let named = |party: &Party| party.may_be_absent || compiled.role_of(party.oin).is_some();
            if before.id != next.id
                || before.version.checked_add(1) != Some(next.version)
                || !before.parties.iter().all(named)
            {
                return Err(Refusal::BrokenChain);
            }
        }
        self.0.insert(hash, Agreement::new(compiled));
        Ok(true)
    }

    /// Whether the version before this one is known, or there is none: what a broker asks of a proposal.
    pub fn follows(&self, compiled: &Compiled) -> bool {
        compiled.covenant().previous.is_none_or(|previous| self.0.contains_key(&previous))
    }

    /// Counts a vote that the broker logged at `at`.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`]; [`Refusal::SignedElsewhere`] when the party stands by another version in
    /// the same place, so that two of them can never both be complete; those of [`Agreement::cast`].
    pub fn cast(&mut self, bytes: &[u8], at: Timestamp) -> Result<Counted, Refusal> {
        let hash = Vote::about(bytes)?;
        let agreement = self.get(&hash)?;
        let vote = Vote::verify(bytes, agreement.compiled())?;
        let known = agreement.casts.iter().any(|cast| *cast.vote == *bytes);
        if vote.word == Word::Accept && !known && self.stands_elsewhere(agreement, vote.party, at) {
            return Err(Refusal::SignedElsewhere);
        }
        let Some(agreement) = self.0.get_mut(&hash) else { return Err(Refusal::UnknownCovenant) };
        let counted = agreement.cast(bytes, at)?;
        self.replace(&hash);
        // A successor may have become known, and complete, before this one.
        let after: Vec<Digest> = self.iter().filter_map(|one| one.follows(&hash)).collect();
        for hash in after {
            self.replace(&hash);
        }
        Ok(counted)
    }

    /// Lets a complete version take its predecessor's place, if everybody agreed who had to agree to that: a
    /// version between others cannot end what a party is bound by.
    fn replace(&mut self, hash: &Digest) {
        let Some(next) = self.0.get(hash) else { return };
        let (Some(from), Some(previous)) = (next.effective(), next.compiled.covenant().previous) else {
            return;
        };
        let Some(before) = self.0.get(&previous) else { return };
        let agreed = |party: &Party| {
            party.may_be_absent
                || matches!(before.standing(party.oin), Some(Standing::Withdrawn(..)))
                || matches!(next.standing(party.oin), Some(Standing::Accepted(_)))
        };
        if before.compiled.covenant().parties.iter().all(agreed)
            && let Some(before) = self.0.get_mut(&previous)
        {
            before.superseded = before.superseded.or(Some(from));
        }
    }

    /// Whether a party is bound, at the time at which it accepts this version, by another in the same place.
    /// Asked as of that time, so that it makes no difference in which order versions are learned.
    fn stands_elsewhere(&self, agreement: &Agreement, party: Oin, at: Timestamp) -> bool {
        let own = agreement.compiled.covenant();
        self.iter().any(|other| {
            let document = other.compiled.covenant();
            other.compiled.hash() != agreement.compiled.hash()
                && document.id == own.id
                && document.previous == own.previous
                && other.is_bound(party, at)
        })
    }

    /// The version of each covenant to use at `now`: the newest of those in force.
    pub fn current(&self, now: Timestamp) -> impl Iterator<Item = &Agreement> {
        self.iter().filter(move |one| {
            matches!(one.state(now), State::InForce)
                || (one.state(now) == State::Overlapping && !self.replaced(one, now))
        })
    }

    /// Whether a successor of this version is in force.
    fn replaced(&self, one: &Agreement, now: Timestamp) -> bool {
        self.iter().any(|other| {
            other.compiled.covenant().previous == Some(one.compiled.hash()) && other.in_force(now)
        })
    }
}
