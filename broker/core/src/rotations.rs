//! Rotations: a partner's signing key hands over to another, by the partner's own signature.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Rotated, Rotation, Taken};
use seinhuis_shared::time::{Span, Timestamp};

use crate::core::Core;
use crate::directory::Partner;
use crate::turn::Turn;
use crate::write::Write;

impl Core {
    /// A party gives up the key it is registered with. Gives the whole line of that key. The same keys again
    /// change nothing, however newly signed: an agent whose answer was lost asks until it has one.
    pub(crate) fn rotate(
        &mut self,
        peer: &Oin,
        bytes: &[u8],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Vec<Rotated>, Refusal> {
        let verified = Rotation::verify(bytes)?;
        let rotation = verified.rotation();
        if rotation.party != *peer {
            return Err(Refusal::SenderNotConnection);
        }
        let (old, new) = (rotation.old.thumbprint(), rotation.new.thumbprint());
        // Which key counts at an entry must be certain, so the new one counts from a time no entry has yet.
        let at = now.max(self.state.log.time.plus(Span(1)));
        let directory = &self.state.directory;
        let partner = directory.partner(peer)?.clone();
        let given_up = directory.agreements.keys().given_up(old).is_some();
        if !given_up && partner.key != rotation.old {
            return Err(Refusal::UnknownKey);
        }
        let registered = directory.partners.iter().any(|(oin, one)| oin != peer && one.key == rotation.new);
        if registered {
            return Err(Refusal::KeyInUse);
        }
        let number = directory.agreements.keys().of_party(*peer).count();
        let taken = self.state.agreements().rotate(&verified, bytes, at)?;
        if taken == Taken::Now {
            let rotated = Rotated { rotation: bytes.into(), at };
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            turn.writes.push(Write::Rotation { party: *peer, number, rotated });
            let partner = Partner { key: rotation.new, ..partner };
            self.record(turn, Write::Partner { oin: *peer, partner });
            turn.directory_changed = true;
            let mut entry = self.entry(Kind::KeyRotated, at, turn);
            entry.subject = Some(*peer);
            entry.key = Some(old);
            entry.statement = Some(verified.digest());
            entry.detail = Some(new.to_string());
            turn.entry(&entry);
            self.tell_rotation(peer, turn);
        }
        Ok(self.state.directory.agreements.keys().line(old))
    }

    /// Tells everybody who shares a version with a party, before anything that rests on its new key.
    fn tell_rotation(&mut self, peer: &Oin, turn: &mut Turn) {
        let versions = self.state.directory.agreements.of(*peer);
        let parties = versions.flat_map(|one| &one.compiled().covenant().parties).map(|party| party.oin);
        let parties: std::collections::BTreeSet<Oin> = parties.collect();
        self.tell_agreements(parties, turn);
    }
}
