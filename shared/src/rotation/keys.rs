//! Which key counts when: the fold over all rotations.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rotated, Rotation, Verified};
use crate::covenant::Compiled;
use crate::ids::{Digest, Oin, Thumbprint};
use crate::limits::{CLOCK_SKEW, ROTATIONS_MAX};
use crate::refusal::Refusal;
use crate::signing::PublicKey;
use crate::time::Timestamp;

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It counts from now on.
    Now,
    /// The same key had handed over to the same key before.
    Same,
}

/// One rotation that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    rotation: Rotation,
    digest: Digest,
    logged: Rotated,
}

/// Every rotation that is known. A key is given up at most once and taken at most once, by one party, so that
/// rotations form lines, and what a key is worth at any time is one walk along its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// By the key that was given up.
    links: BTreeMap<Thumbprint, Link>,
    /// By the key that was taken: the one given up for it.
    before: BTreeMap<Thumbprint, Thumbprint>,
}

impl Keys {
    /// Takes a rotation that the broker logs at `at`.
    ///
    /// # Errors
    /// [`Refusal::KeyGivenUp`] when the old key handed over to another one before; [`Refusal::FromTheFuture`] or
    /// [`Refusal::Expired`] when it was signed too far from `at`; [`Refusal::RotationOrder`] when it does not
    /// follow the rotation that brought its old key; [`Refusal::KeyInUse`] when the new key was ever given up or
    /// taken, by anybody; [`Refusal::TooManyRotations`]. Nothing changes then.
    pub fn take(&mut self, verified: &Verified, bytes: &[u8], at: Timestamp) -> Result<Taken, Refusal> {
        let rotation = verified.rotation();
        let (old, new) = (rotation.old.thumbprint(), rotation.new.thumbprint());
        if let Some(known) = self.links.get(&old) {
            let same = known.rotation.new == rotation.new && known.rotation.party == rotation.party;
            return if same { Ok(Taken::Same) } else { Err(Refusal::KeyGivenUp) };
        }
        if rotation.issued > at.plus(CLOCK_SKEW) {
            return Err(Refusal::FromTheFuture);
        }
        if rotation.issued.plus(CLOCK_SKEW) < at {
            return Err(Refusal::Expired);
        }
        let follows = match self.bringing(old) {
            None => rotation.seq == 1,
            Some(link) => {
                link.rotation.party == rotation.party
                    && link.rotation.seq.checked_add(1) == Some(rotation.seq)
                    && rotation.previous == Some(link.digest)
                    && link.logged.at < at
            }
        };
        if !follows {
            return Err(Refusal::RotationOrder);
        }
        if self.owner(new).is_some() {
            return Err(Refusal::KeyInUse);
        }
        if self.of_party(rotation.party).count() >= ROTATIONS_MAX {
            return Err(Refusal::TooManyRotations);
        }
        let logged = Rotated { rotation: bytes.into(), at };
        self.before.insert(new, old);
        self.links.insert(old, Link { rotation: rotation.clone(), digest: verified.digest(), logged });
        Ok(Taken::Now)
    }

    /// Takes one that a broker gives, which has to be the very one that counts when it is known.
    fn take_given(&mut self, verified: &Verified, one: &Rotated) -> Result<Taken, Refusal> {
        let taken = self.take(verified, &one.rotation, one.at)?;
        let old = verified.rotation().old.thumbprint();
        let same = self.links.get(&old).is_some_and(|known| known.logged == *one);
        if same { Ok(taken) } else { Err(Refusal::RotationOrder) }
    }

    /// Takes rotations that counted before, as they are read back from a store.
    ///
    /// # Errors
    /// Those of [`Rotation::verify`] and [`Keys::take`]: the store is damaged.
    pub fn restore(&mut self, rotations: &[Rotated]) -> Result<(), Refusal> {
        for one in rotations {
            self.take(&Rotation::verify(&one.rotation)?, &one.rotation, one.at)?;
        }
        Ok(())
    }

    /// Takes all rotations that a broker gives with a version: the whole line of every key the version pins.
    /// Gives the parties about which there is more now. Nothing changes on an error. Those of `own` may be missing:
    /// a party hears of its own in another answer too, which may overtake this one.
    ///
    /// # Errors
    /// [`Refusal::RotationOrder`] when one that counts here is missing or has another time or other bytes;
    /// [`Refusal::UnknownKey`] for a line in which no key is pinned for that party: nobody who is bound by this
    /// version stands in for it; those of [`Rotation::verify`] and [`Keys::take`].
    pub fn learn(
        &mut self,
        compiled: &Compiled,
        rotations: &[Rotated],
        own: Option<Oin>,
    ) -> Result<BTreeSet<Oin>, Refusal> {
        let (mut fresh, mut changed, mut given) = (self.clone(), BTreeSet::new(), BTreeSet::new());
        for one in rotations {
            let verified = Rotation::verify(&one.rotation)?;
            given.insert(verified.rotation().old.thumbprint());
            if fresh.take_given(&verified, one)? == Taken::Now {
                changed.insert(verified.rotation().party);
            }
        }
        let vouched = fresh.pinned_lines(compiled);
        if !given.iter().all(|old| vouched.contains(old)) {
            return Err(Refusal::UnknownKey);
        }
        let known = vouched.iter().filter_map(|old| Some((old, self.links.get(old)?)));
        let mut due = known.filter(|(_, link)| own != Some(link.rotation.party));
        if !due.all(|(old, _)| given.contains(old)) {
            return Err(Refusal::RotationOrder);
        }
        *self = fresh;
        Ok(changed)
    }

    /// Takes the line of a party's `key`, all of it, that a broker gives: it has to hold what counts here.
    ///
    /// # Errors
    /// [`Refusal::NotAParty`] for another party's rotation; [`Refusal::UnknownKey`] for one of another line;
    /// [`Refusal::RotationOrder`] when one that counts here has another time or other bytes; those of
    /// [`Rotation::verify`] and [`Keys::take`]. Nothing changes then.
    pub fn extend(&mut self, party: Oin, key: Thumbprint, rotations: &[Rotated]) -> Result<(), Refusal> {
        let mut fresh = self.clone();
        let mut given = Vec::new();
        for one in rotations {
            let verified = Rotation::verify(&one.rotation)?;
            if verified.rotation().party != party {
                return Err(Refusal::NotAParty);
            }
            given.push(verified.rotation().old.thumbprint());
            fresh.take_given(&verified, one)?;
        }
        if !given.iter().all(|old| fresh.same_line(*old, key)) {
            return Err(Refusal::UnknownKey);
        }
        *self = fresh;
        Ok(())
    }

    /// The rotations a broker gives with a version, in the order of the log: the whole line of every key the
    /// version pins.
    pub fn of(&self, compiled: &Compiled) -> Vec<Rotated> {
        let lines = self.pinned_lines(compiled);
        let mut links: Vec<&Link> = lines.iter().filter_map(|old| self.links.get(old)).collect();
        links.sort_by_key(|link| (link.logged.at, link.rotation.party, link.rotation.seq));
        links.into_iter().map(|link| link.logged.clone()).collect()
    }

    /// How many rotations [`Keys::of`] gives.
    pub fn count(&self, compiled: &Compiled) -> usize {
        if self.links.is_empty() { 0 } else { self.pinned_lines(compiled).len() }
    }

    /// A party's rotations, in the order of the log.
    pub fn of_party(&self, party: Oin) -> impl Iterator<Item = &Rotated> {
        let mut links: Vec<&Link> = self.links.values().filter(|one| one.rotation.party == party).collect();
        links.sort_by_key(|link| (link.logged.at, link.rotation.seq));
        links.into_iter().map(|link| &link.logged)
    }

    /// The rotations of the line a key stands in, from its first on.
    pub fn line(&self, key: Thumbprint) -> Vec<Rotated> {
        self.along(key).into_iter().map(|link| link.logged.clone()).collect()
    }

    /// Whether a version gives a key to a party, at any time: pinned, or in the place of one that is.
    pub fn holds(&self, compiled: &Compiled, party: Oin, key: Thumbprint) -> Option<PublicKey> {
        let mut at = key;
        for _ in 0..=ROTATIONS_MAX {
            if let Some(pinned) = compiled.signing_key(party, at) {
                let taken = self.bringing(key).filter(|_| at != key).map(|link| link.rotation.new);
                return Some(taken.unwrap_or(*pinned));
            }
            let link = self.bringing(at).filter(|link| link.rotation.party == party)?;
            at = link.rotation.old.thumbprint();
        }
        None
    }

    /// The key with which a party signs under a version what the broker logs at `at`.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`] when the version does not give the party this key, or not yet;
    /// [`Refusal::KeyGivenUp`] when the party had given it up by then.
    pub fn signing_key(
        &self,
        compiled: &Compiled,
        party: Oin,
        key: Thumbprint,
        at: Timestamp,
    ) -> Result<PublicKey, Refusal> {
        let public = self.holds(compiled, party, key).ok_or(Refusal::UnknownKey)?;
        if self.given_up(key).is_some_and(|since| since <= at) {
            return Err(Refusal::KeyGivenUp);
        }
        // A version may pin a key that was taken before; only in another's place a key counts from then on.
        let early = compiled.signing_key(party, key).is_none()
            && self.bringing(key).is_some_and(|link| at < link.logged.at);
        if early { Err(Refusal::UnknownKey) } else { Ok(public) }
    }

    /// As [`Keys::signing_key`], for what is signed now.
    ///
    /// # Errors
    /// As [`Keys::signing_key`].
    pub fn current(&self, compiled: &Compiled, party: Oin, key: Thumbprint) -> Result<PublicKey, Refusal> {
        self.signing_key(compiled, party, key, Timestamp(u64::MAX))
    }

    /// The key that counts now in the place of `key`; `key` itself when it was not given up.
    pub fn newest(&self, key: PublicKey) -> PublicKey {
        let after = self.along(key.thumbprint()).into_iter().next_back();
        // A line ends with the one key in it that was not given up.
        after.map_or(key, |link| link.rotation.new)
    }

    /// Since when a key is given up, if it is.
    pub fn given_up(&self, key: Thumbprint) -> Option<Timestamp> {
        self.links.get(&key).map(|link| link.logged.at)
    }

    /// Whose key this is or was, as far as rotations tell.
    pub fn owner(&self, key: Thumbprint) -> Option<Oin> {
        self.links.get(&key).or_else(|| self.bringing(key)).map(|link| link.rotation.party)
    }

    /// Whether two keys are one and the same or stand in one line.
    pub fn same_line(&self, one: Thumbprint, other: Thumbprint) -> bool {
        one == other || (self.owner(one).is_some() && self.root(one) == self.root(other))
    }

    /// Number and predecessor of the next rotation of a key.
    pub fn next(&self, key: &PublicKey) -> (u32, Option<Digest>) {
        self.bringing(key.thumbprint())
            .map_or((1, None), |link| (link.rotation.seq.saturating_add(1), Some(link.digest)))
    }

    /// How many rotations are known.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The rotation that brought a key.
    fn bringing(&self, key: Thumbprint) -> Option<&Link> {
        self.links.get(self.before.get(&key)?)
    }

    /// The key with which a line begins.
    fn root(&self, key: Thumbprint) -> Thumbprint {
        let mut at = key;
        for _ in 0..ROTATIONS_MAX {
            let Some(before) = self.before.get(&at) else { break };
            at = *before;
        }
        at
    }

    fn along(&self, key: Thumbprint) -> Vec<&Link> {
        let mut line = Vec::new();
        let mut at = self.root(key);
        while let Some(link) = self.links.get(&at).filter(|_| line.len() < ROTATIONS_MAX) {
            line.push(link);
            at = link.rotation.new.thumbprint();
        }
        line
    }

    /// The keys given up in the lines of the keys a version pins for the parties they belong to.
    fn pinned_lines(&self, compiled: &Compiled) -> BTreeSet<Thumbprint> {
        let mut all = BTreeSet::new();
        for (party, key) in compiled.pinned() {
            let line = self.along(key);
            let own = line.iter().filter(|link| link.rotation.party == party);
            all.extend(own.map(|link| link.rotation.old.thumbprint()));
        }
        all
    }
}
