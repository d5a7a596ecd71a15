//! All versions of all covenants, and how one takes another's place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Agreement, Cast, Counted, Vote, Word};
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
    /// the predecessor (one that leaves is named with the date on which it does). A party that joins later
    /// does not know the versions before; what it signs is the document, whatever came before.
    ///
    /// # Errors
    /// [`Refusal::BrokenChain`]; [`Refusal::TooManyProposals`] when more versions are known than may be.
    pub fn propose(&mut self, compiled: Arc<Compiled>) -> Result<bool, Refusal> {
        if self.0.contains_key(&compiled.hash()) {
            return Ok(false);
        }
        if self.0.len() >= AGREEMENTS_MAX {
            return Err(Refusal::TooManyProposals);
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
        self.restore(compiled);
        Ok(true)
    }

    /// Takes in a version that was put up before, as it is read back from a store: nothing is judged again, so
    /// that what was taken in once can always be read.
    pub fn restore(&mut self, compiled: Arc<Compiled>) {
        let hash = compiled.hash();
        self.0.entry(hash).or_insert_with(|| Agreement::new(compiled));
        self.settle(&hash);
    }

    /// Takes in votes on a version that counted before, as they are read back from a store.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`] and those of [`Agreement::cast`]: the store is damaged.
    pub fn restore_casts(&mut self, hash: &Digest, casts: &[Cast]) -> Result<(), Refusal> {
        let agreement = self.0.get_mut(hash).ok_or(Refusal::UnknownCovenant)?;
        for cast in casts {
            agreement.cast(&cast.vote, cast.at)?;
        }
        self.settle(hash);
        Ok(())
    }

    /// Whether the version before this one is known, or there is none: what a broker asks of a proposal.
    pub fn follows(&self, compiled: &Compiled) -> bool {
        compiled.covenant().previous.is_none_or(|previous| self.0.contains_key(&previous))
    }

    /// Reads a vote and checks its signature.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`] and the others of [`Vote::verify`].
    pub fn verify(&self, bytes: &[u8]) -> Result<Vote, Refusal> {
        let (claimed, _) = Vote::claimed(bytes)?;
        Vote::verify(bytes, self.get(&claimed.covenant)?.compiled())
    }

    /// Counts a vote that the broker logs at `at`.
    ///
    /// # Errors
    /// Those of [`Agreements::verify`] and [`Agreements::count`].
    pub fn cast(&mut self, bytes: &[u8], at: Timestamp) -> Result<Counted, Refusal> {
        let vote = self.verify(bytes)?;
        self.count(&vote, bytes, at)
    }

    /// As [`Agreements::cast`], for bytes that [`Agreements::verify`] read as `vote`.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`]; [`Refusal::SignedElsewhere`] when the party is bound by another version in
    /// the same place; those of [`Agreement::cast`].
    pub fn count(&mut self, vote: &Vote, bytes: &[u8], at: Timestamp) -> Result<Counted, Refusal> {
        let agreement = self.get(&vote.covenant)?;
        if agreement.has(bytes) {
            return Ok(Counted::Same);
        }
        if vote.word == Word::Accept && self.elsewhere(agreement, vote.party, (at, None)) {
            return Err(Refusal::SignedElsewhere);
        }
        let Some(agreement) = self.0.get_mut(&vote.covenant) else { return Err(Refusal::UnknownCovenant) };
        let counted = agreement.count(vote, bytes, at)?;
        self.settle(&vote.covenant);
        Ok(counted)
    }

    /// Takes in all votes on a version that a broker gives, in the order of the log: instead of those known so
    /// far, which have to be among them. `keep` says of a vote that is new whether it is to be counted.
    /// Nothing changes on an error.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`]; [`Refusal::VoteOrder`] when votes that count are missing;
    /// [`Refusal::SignedElsewhere`] when a party would be bound by two versions in the same place at once;
    /// those of [`Agreement::cast`].
    pub fn learn(
        &mut self,
        hash: &Digest,
        casts: &[Cast],
        mut keep: impl FnMut(&Cast) -> bool,
    ) -> Result<(), Refusal> {
        let known = self.get(hash)?;
        let mut fresh = Agreement::new(Arc::clone(&known.compiled));
        for cast in casts {
            if known.has(&cast.vote) {
                let (vote, _) = Vote::claimed(&cast.vote)?;
                fresh.count(&vote, &cast.vote, cast.at)?;
            } else if keep(cast) {
                fresh.cast(&cast.vote, cast.at)?;
            }
        }
        if !known.casts.iter().all(|cast| fresh.has(&cast.vote)) {
            return Err(Refusal::VoteOrder);
        }
        let parties = &known.compiled.covenant().parties;
        let twice = |party: &Party| {
            fresh.binding(party.oin).is_some_and(|binding| self.elsewhere(&fresh, party.oin, binding))
        };
        if parties.iter().any(twice) {
            return Err(Refusal::SignedElsewhere);
        }
        self.0.insert(*hash, fresh);
        self.settle(hash);
        Ok(())
    }

    /// Whether a party is bound, at any time of `binding`, by another version in the same place that is not over
    /// by then.
    fn elsewhere(
        &self,
        agreement: &Agreement,
        party: Oin,
        (since, until): (Timestamp, Option<Timestamp>),
    ) -> bool {
        let own = agreement.compiled.covenant();
        self.iter().any(|other| {
            let document = other.compiled.covenant();
            document.previous == own.previous
                && document.id == own.id
                && other.compiled.hash() != agreement.compiled.hash()
                && other.binding(party).is_some_and(|(from, to)| {
                    let to = to.map_or(other.over(), |to| to.min(other.over()));
                    since < to && until.is_none_or(|until| from < until)
                })
        })
    }

    /// Works out what took the place of this version, and of the one before it.
    fn settle(&mut self, hash: &Digest) {
        let before = self.0.get(hash).and_then(Agreement::previous);
        for hash in before.into_iter().chain([*hash]) {
            let Some(version) = self.0.get(&hash) else { continue };
            let successors = self.iter().filter(|next| next.previous() == Some(hash));
            let superseded = successors.filter_map(|next| version.replaced_by(next)).min();
            if let Some(version) = self.0.get_mut(&hash) {
                version.superseded = superseded;
            }
        }
    }
}
