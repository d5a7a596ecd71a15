//! All versions of all covenants, and how one takes another's place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Agreement, Cast, Counted, Vote, Word};
use crate::covenant::compiled::Compiled;
use crate::covenant::document::Party;
use crate::ids::{Digest, Oin, Thumbprint};
use crate::limits::AGREEMENTS_MAX;
use crate::refusal::Refusal;
use crate::rotation::{Keys, Rotated, Rotation, Taken, Verified};
use crate::signing::PublicKey;
use crate::time::Timestamp;

/// Versions by hash. Whoever proposes or votes changes it through here alone, so that the rules between
/// versions hold for all of them.
#[derive(Debug, Clone, Default)]
pub struct Agreements {
    all: BTreeMap<Digest, Agreement>,
    keys: Keys,
}

impl Agreements {
    /// The version with this hash.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`].
    pub fn get(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        self.all.get(hash).ok_or(Refusal::UnknownCovenant)
    }

    /// Which keys took the place of those that versions pin.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Takes a rotation that the broker logs at `at`: `verified` is what `bytes` say.
    ///
    /// # Errors
    /// [`Refusal::KeyInUse`] when a version pins the new key, whoever for; those of [`Keys::take`].
    pub fn rotate(&mut self, verified: &Verified, bytes: &[u8], at: Timestamp) -> Result<Taken, Refusal> {
        let mut keys = self.keys.clone();
        let taken = keys.take(verified, bytes, at)?;
        let new = verified.rotation().new.thumbprint();
        if taken == Taken::Now && self.pinning(new).next().is_some() {
            return Err(Refusal::KeyInUse);
        }
        self.keys = keys;
        Ok(taken)
    }

    /// Takes all rotations that a broker gives with a version. Gives the parties about which there is more now.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`]; [`Refusal::KeyInUse`] when a version pins a new key for another party;
    /// those of [`Keys::learn`]. Nothing changes then.
    pub fn learn_rotations(
        &mut self,
        hash: &Digest,
        rotations: &[Rotated],
        own: Option<Oin>,
    ) -> Result<BTreeSet<Oin>, Refusal> {
        let mut keys = self.keys.clone();
        let changed = keys.learn(self.get(hash)?.compiled(), rotations, own)?;
        for party in &changed {
            for one in keys.of_party(*party) {
                let new = Rotation::verify(&one.rotation)?.rotation().new.thumbprint();
                if self.pinning(new).any(|other| other != *party) {
                    return Err(Refusal::KeyInUse);
                }
            }
        }
        self.keys = keys;
        Ok(changed)
    }

    /// Takes in rotations that counted before, as they are read back from a store.
    ///
    /// # Errors
    /// Those of [`Keys::restore`]: the store is damaged.
    pub fn restore_rotations(&mut self, rotations: &[Rotated]) -> Result<(), Refusal> {
        self.keys.restore(rotations)
    }

    /// Takes in the line that a broker answers a rotation of the own key with.
    ///
    /// # Errors
    /// Those of [`Keys::extend`]. Nothing changes then.
    pub fn extend_line(&mut self, party: Oin, key: Thumbprint, rotations: &[Rotated]) -> Result<(), Refusal> {
        self.keys.extend(party, key, rotations)
    }

    /// The parties for which any version pins a key.
    fn pinning(&self, key: Thumbprint) -> impl Iterator<Item = Oin> {
        self.all.values().flat_map(move |one| {
            let parties = one.compiled.covenant().parties.iter().map(|party| party.oin);
            parties.filter(move |party| one.compiled.signing_key(*party, key).is_some())
        })
    }

    /// Whether every key a version pins is its party's, and was not given up: what a broker asks of a proposal.
    pub fn pins_current_keys(&self, compiled: &Compiled) -> bool {
        let parties = &compiled.covenant().parties;
        parties.iter().all(|party| {
            party.signing_keys.iter().all(|key| {
                let key = key.0.as_slice().try_into().ok().and_then(PublicKey::from_bytes);
                key.is_some_and(|key| {
                    let key = key.thumbprint();
                    self.keys.given_up(key).is_none()
                        && self.keys.owner(key).is_none_or(|own| own == party.oin)
                })
            })
        })
    }

    /// Every version, in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = &Agreement> {
        self.all.values()
    }

    /// How many versions are known.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
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
        if self.all.contains_key(&compiled.hash()) {
            return Ok(false);
        }
        if self.all.len() >= AGREEMENTS_MAX {
            return Err(Refusal::TooManyProposals);
        }
        let next = compiled.covenant();
        if let Some(before) = next.previous.and_then(|previous| self.all.get(&previous)) {
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
        self.all.entry(hash).or_insert_with(|| Agreement::new(compiled));
        self.settle(&hash);
    }

    /// Takes in votes on a version that counted before, as they are read back from a store.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`] and those of [`Agreement::cast`]: the store is damaged.
    pub fn restore_casts(&mut self, hash: &Digest, casts: &[Cast]) -> Result<(), Refusal> {
        let agreement = self.all.get_mut(hash).ok_or(Refusal::UnknownCovenant)?;
        for cast in casts {
            let vote = Vote::verify(&cast.vote, &agreement.compiled, &self.keys)?;
            agreement.count(&vote, &cast.vote, cast.at)?;
        }
        self.settle(hash);
        Ok(())
    }

    /// Whether the version before this one is known, or there is none: what a broker asks of a proposal.
    pub fn follows(&self, compiled: &Compiled) -> bool {
        compiled.covenant().previous.is_none_or(|previous| self.all.contains_key(&previous))
    }

    /// Reads a vote and checks its signature. Whether its key counts at the time, [`Agreements::count`] asks.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`] and the others of [`Vote::verify`].
    pub fn verify(&self, bytes: &[u8]) -> Result<Vote, Refusal> {
        let (claimed, _) = Vote::claimed(bytes)?;
        Vote::verify(bytes, self.get(&claimed.covenant)?.compiled(), &self.keys)
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
    /// [`Refusal::UnknownCovenant`]; [`Refusal::KeyGivenUp`] when the key was given up by then;
    /// [`Refusal::SignedElsewhere`] when the party is bound by another version in the same place; those of
    /// [`Agreement::cast`].
    pub fn count(&mut self, vote: &Vote, bytes: &[u8], at: Timestamp) -> Result<Counted, Refusal> {
        let agreement = self.get(&vote.covenant)?;
        if agreement.has(bytes) {
            return Ok(Counted::Same);
        }
        self.still_counts(agreement.compiled(), bytes, at)?;
        if vote.word == Word::Accept && self.elsewhere(agreement, vote.party, (at, None)) {
            return Err(Refusal::SignedElsewhere);
        }
        let Some(agreement) = self.all.get_mut(&vote.covenant) else { return Err(Refusal::UnknownCovenant) };
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
                let vote = Vote::verify(&cast.vote, &known.compiled, &self.keys)?;
                self.still_counts(&known.compiled, &cast.vote, cast.at)?;
                fresh.count(&vote, &cast.vote, cast.at)?;
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
        self.all.insert(*hash, fresh);
        self.settle(hash);
        Ok(())
    }

    /// Whether the key of a vote counts for what is logged at `at`.
    fn still_counts(&self, compiled: &Compiled, bytes: &[u8], at: Timestamp) -> Result<(), Refusal> {
        let (vote, kid) = Vote::claimed(bytes)?;
        self.keys.signing_key(compiled, vote.party, kid, at).map(|_| ())
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
        let before = self.all.get(hash).and_then(Agreement::previous);
        for hash in before.into_iter().chain([*hash]) {
            let Some(version) = self.all.get(&hash) else { continue };
            let successors = self.iter().filter(|next| next.previous() == Some(hash));
            let superseded = successors.filter_map(|next| version.replaced_by(next)).min();
            if let Some(version) = self.all.get_mut(&hash) {
                version.superseded = superseded;
            }
        }
    }
}
