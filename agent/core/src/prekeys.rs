//! Encryption keys: this agent's own, made and destroyed by the clock, and those of its partners.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::{Oin, PrekeyId};
use seinhuis_shared::limits::{PREKEY_EPOCH, PREKEYS_MAX};
use seinhuis_shared::prekey::{Prekey, PrekeyBundle, PrekeySecret, SUITE};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Keys;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::{Span, Timestamp};

use crate::engine::Core;
use crate::ports::Ports;
use crate::rows::{AlarmKind, BundleRow, OwnPrekeyRow, PeerRow, Write, table};
use crate::turn::{Send, Turn};

/// How often partners' bundles are fetched when all is well.
const REFRESH: Span = Span::hours(1);
/// How soon they are fetched again when a partner has no usable key; doubles up to [`MISSING_LONGEST`].
const MISSING_FIRST: Span = Span::seconds(1);
/// How often at least while a partner has no usable key.
const MISSING_LONGEST: Span = Span::minutes(1);
/// How many organisations one request asks for: so many bundles fit the answer's frame.
const FETCH_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct PeerBundle {
    row: PeerRow,
    /// The bundle as verified with the covenants' keys; none while no covenant vouches for it.
    bundle: Option<PrekeyBundle>,
    /// The newest question when it came: what answers a later one may not be older.
    since: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Prekeys {
    own: BTreeMap<PrekeyId, OwnPrekeyRow>,
    opened: BTreeMap<PrekeyId, PrekeySecret>,
    bundle: Option<BundleRow>,
    /// The prekeys in the own bundle.
    signed: Vec<Prekey>,
    peers: BTreeMap<Oin, PeerBundle>,
    fetched: Timestamp,
    next_fetch: Timestamp,
    /// How many questions were asked.
    asked: u64,
    pause: Span,
    replaced: bool,
}

/// Until when these prekeys, in order of time, carry senders from `now` on.
fn carried(chain: &[Prekey], now: Timestamp) -> Timestamp {
    chain.last().map_or(now, |prekey| prekey.not_after)
}

impl OwnPrekeyRow {
    fn prekey(&self) -> Prekey {
        Prekey { public: self.public.clone(), not_before: self.not_before, not_after: self.not_after }
    }
}

impl Prekeys {
    pub(crate) fn restore_own(&mut self, id: PrekeyId, row: OwnPrekeyRow) {
        self.own.insert(id, row);
    }

    pub(crate) fn restore_bundle(&mut self, row: BundleRow, oin: &Oin) {
        let bundle = PrekeyBundle::unverified(&row.bundle, oin);
        self.signed = bundle.map(|bundle| bundle.prekeys).unwrap_or_default();
        self.bundle = Some(row);
    }

    pub(crate) fn restore_peer(&mut self, oin: Oin, row: PeerRow) {
        self.peers.insert(oin, PeerBundle { row, bundle: None, since: 0 });
    }

    /// The prekey of a partner to seal with at `now`.
    pub(crate) fn usable(&self, oin: &Oin, now: Timestamp) -> Option<&Prekey> {
        self.peers.get(oin)?.bundle.as_ref()?.usable(now)
    }

    /// A partner's prekey for a packet under this covenant: vouched for by a key which that very covenant gives
    /// to the partner, or that took the place of one, whatever other covenants say of it.
    pub(crate) fn usable_under(
        &self,
        compiled: &Compiled,
        keys: &Keys,
        oin: &Oin,
        now: Timestamp,
    ) -> Option<&Prekey> {
        let bundle = self.peers.get(oin)?.bundle.as_ref()?;
        keys.current(compiled, *oin, bundle.signer).ok()?;
        bundle.usable(now)
    }

    /// Until when a partner's newest bundle can be used.
    pub(crate) fn usable_until(&self, oin: &Oin) -> Option<Timestamp> {
        self.peers.get(oin)?.bundle.as_ref()?.prekeys.iter().map(|prekey| prekey.not_after).max()
    }

    /// Sequence number of the own bundle, whether the broker has it, and until when it can be used.
    pub(crate) fn own_bundle(&self) -> Option<(u64, bool, Timestamp)> {
        let until = self.signed.iter().map(|prekey| prekey.not_after).max()?;
        self.bundle.as_ref().map(|row| (row.seq, row.published, until))
    }

    /// The own prekeys that senders need from `now` on: as few as carry furthest without a gap, in order of time.
    /// A clock that went back leaves epochs that overlap, more of them than a bundle holds.
    fn chain(&self, now: Timestamp) -> Vec<Prekey> {
        let mut chain: Vec<Prekey> = Vec::new();
        while chain.len() < PREKEYS_MAX {
            let covered = carried(&chain, now);
            let next = self.own.values().filter(|row| row.not_before <= covered && covered < row.not_after);
            let Some(furthest) = next.max_by_key(|row| row.not_after) else { break };
            chain.push(furthest.prekey());
        }
        chain
    }

    /// Until when an own prekey was offered to senders.
    pub(crate) fn own_not_after(&self, id: PrekeyId) -> Option<Timestamp> {
        self.own.get(&id).map(|row| row.not_after)
    }

    /// Whether every stored private half opens with the store key that is lent.
    pub(crate) fn all_open(&self, ports: Ports<'_>) -> bool {
        self.own
            .iter()
            .all(|(id, row)| ports.locker.unlock(table::OWN_PREKEY, id.as_bytes(), &row.secret).is_some())
    }

    /// Opens the private half of an own prekey, once; none when it is destroyed or does not unlock.
    pub(crate) fn secret(&mut self, id: PrekeyId, ports: Ports<'_>) -> Option<&PrekeySecret> {
        if !self.opened.contains_key(&id) {
            let row = self.own.get(&id)?;
            let plain = ports.locker.unlock(table::OWN_PREKEY, id.as_bytes(), &row.secret)?;
            self.opened.insert(id, PrekeySecret(plain.to_vec()));
        }
        self.opened.get(&id)
    }
}

impl Core {
    /// Destroys what is past its time, makes what is missing, and signs a new bundle when anything changed.
    pub(crate) fn maintain_prekeys(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let gone: Vec<PrekeyId> = self
            .prekeys
            .own
            .iter()
            .filter(|(_, row)| row.prekey().destroy_at() <= now)
            .map(|(id, _)| *id)
            .collect();
        if !gone.is_empty() {
            self.retention.rows_destroyed();
        }
        for id in gone {
            self.prekeys.own.remove(&id);
            self.prekeys.opened.remove(&id);
            turn.writes.push(Write::OwnPrekey(id, None));
        }
        // That of the running epoch and that of the next.
        for _ in 0..2 {
            let covered = carried(&self.prekeys.chain(now), now);
            if covered.since(now) > PREKEY_EPOCH || !self.make_prekey(covered, now, ports, turn) {
                break;
            }
        }
        if self.prekeys.chain(now).iter().any(|prekey| !self.prekeys.signed.contains(prekey)) {
            self.sign_bundle(now, ports, turn);
        }
    }

    fn make_prekey(&mut self, from: Timestamp, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) -> bool {
        // Without randomness nothing can be made; the next tick tries again.
        let Ok((secret, public)) = ports.crypto.generate() else { return false };
        let id = public.id();
        let Some(locked) = ports.locker.lock(table::OWN_PREKEY, id.as_bytes(), &secret.0) else {
            // A key that would be lost at the next start must not be offered to senders.
            self.alarm(AlarmKind::LockFailed, "own prekey".into(), now, turn);
            return false;
        };
        let row = OwnPrekeyRow {
            public,
            not_before: from,
            not_after: from.plus(PREKEY_EPOCH),
            secret: Bytes(locked),
        };
        turn.writes.push(Write::OwnPrekey(id, Some(Box::new(row.clone()))));
        self.prekeys.opened.insert(id, secret);
        self.prekeys.own.insert(id, row);
        true
    }

    pub(crate) fn sign_bundle(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let prekeys = self.prekeys.chain(now);
        if prekeys.is_empty() {
            return;
        }
        // The clock as a floor makes the number rise even after the store was lost or restored.
        let seq = self.prekeys.bundle.as_ref().map_or(0, |row| row.seq.saturating_add(1)).max(now.0);
        let bundle = PrekeyBundle {
            version: 1,
            suite: SUITE,
            oin: self.settings.oin,
            signer: ports.signer.public().thumbprint(),
            seq,
            issued: now,
            prekeys,
        };
        let row = BundleRow { seq, bundle: Bytes(bundle.sign(ports.signer)), published: false };
        self.prekeys.signed = bundle.prekeys;
        turn.writes.push(Write::Bundle(Box::new(row.clone())));
        self.prekeys.bundle = Some(row);
        self.publish(turn);
    }

    /// Sends the own bundle to the broker, which may have lost it, whatever was published before.
    pub(crate) fn publish(&self, turn: &mut Turn) {
        if let (true, Some(row)) = (self.connected, &self.prekeys.bundle) {
            turn.sends.push(Send::Publish { seq: row.seq, bundle: row.bundle.0.clone() });
        }
    }

    pub(crate) fn published(&mut self, seq: u64, turn: &mut Turn) {
        self.prekeys.replaced = false;
        if let Some(row) = self.prekeys.bundle.as_mut().filter(|row| row.seq == seq && !row.published) {
            row.published = true;
            turn.writes.push(Write::Bundle(Box::new(row.clone())));
        }
    }

    /// A bundle that counts as old is replaced by one with a higher number, once per session.
    pub(crate) fn publish_refused(&mut self, reason: u16, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        if reason == Refusal::PrekeyRollback.number() && !self.prekeys.replaced {
            self.prekeys.replaced = true;
            self.sign_bundle(now, ports, turn);
        } else if reason == Refusal::KeyGivenUp.number() && self.has_turned() {
            // It was overtaken by the change of the own key, whose answer brings the next, or brought it.
        } else {
            self.alarm(AlarmKind::BundleRefused, format!("reason {reason}"), now, turn);
        }
    }

    /// Everybody this agent might send to.
    pub(crate) fn partners(&self) -> BTreeSet<Oin> {
        let parties = self.agreed.bound().flat_map(|one| &one.compiled().covenant().parties);
        parties.map(|party| party.oin).filter(|oin| *oin != self.settings.oin).collect()
    }

    fn keys_of(&self, oin: &Oin) -> Vec<PublicKey> {
        let parties = self.agreed.bound().flat_map(|one| &one.compiled().covenant().parties);
        parties
            .filter(|party| party.oin == *oin)
            .flat_map(|party| &party.signing_keys)
            .filter_map(|key| PublicKey::from_bytes(key.0.as_slice().try_into().ok()?))
            .filter(|key| self.agreed.keys().owner(key.thumbprint()).is_none_or(|owner| owner == *oin))
            .map(|key| self.agreed.keys().newest(key))
            .collect()
    }

    /// Whether a bundle under a key that does not count may be one of a partner that changes its key: under the one
    /// it gave up, or while it is not known here yet what it says. It is fetched again when that is.
    fn changes_keys(&mut self, oin: &Oin, bundle: &[u8], now: Timestamp) -> bool {
        // Whatever becomes known of keys, one in another form, or another's, never counts.
        let Some(signer) = PrekeyBundle::claimed_signer(bundle, oin) else { return false };
        let keys = self.agreed.keys();
        (keys.owner(signer) == Some(*oin) && keys.given_up(signer).is_some()) || self.agreed.seeks(*oin, now)
    }

    /// Verifies the stored bundles again: the covenants decide whose signature counts.
    pub(crate) fn reverify_peers(&mut self) {
        let keys: BTreeMap<Oin, Vec<PublicKey>> =
            self.prekeys.peers.keys().map(|oin| (*oin, self.keys_of(oin))).collect();
        for (oin, peer) in &mut self.prekeys.peers {
            let keys = keys.get(oin).map(Vec::as_slice).unwrap_or_default();
            peer.bundle = PrekeyBundle::verify(&peer.row.bundle, oin, keys).ok();
        }
        self.fetch_at_once();
    }

    pub(crate) fn fetch_at_once(&mut self) {
        self.prekeys.next_fetch = Timestamp(0);
        self.prekeys.pause = MISSING_FIRST;
        self.prekeys.replaced = false;
    }

    /// A message waits for a key: look for it soon, but not once per message.
    pub(crate) fn fetch_soon(&mut self) {
        self.prekeys.pause = MISSING_FIRST;
        self.prekeys.next_fetch = self.prekeys.next_fetch.min(self.prekeys.fetched.plus(MISSING_FIRST));
    }

    /// Asks for partners' bundles when it is time.
    pub(crate) fn fetch_prekeys(&mut self, now: Timestamp, turn: &mut Turn) {
        if !self.connected || now < self.prekeys.next_fetch {
            return;
        }
        let partners: Vec<Oin> = self.partners().into_iter().collect();
        let missing = partners.iter().any(|oin| self.prekeys.usable(oin, now.plus(REFRESH)).is_none());
        self.prekeys.fetched = now;
        self.prekeys.next_fetch = now.plus(if missing { self.prekeys.pause } else { REFRESH });
        self.prekeys.pause = Span(self.prekeys.pause.0.saturating_mul(2)).min(MISSING_LONGEST);
        for chunk in partners.chunks(FETCH_MAX) {
            self.prekeys.asked = self.prekeys.asked.saturating_add(1);
            turn.sends.push(Send::FetchPrekeys(self.prekeys.asked, chunk.to_vec()));
        }
    }

    /// Takes in partners' bundles, which answer the question with this number: signed by a key their covenant pins,
    /// and never older than known.
    pub(crate) fn take_prekeys(
        &mut self,
        (number, bundles): (u64, Vec<(Oin, Bytes)>),
        now: Timestamp,
        turn: &mut Turn,
    ) {
        for (oin, bytes) in bundles {
            // The one that is known was verified, also against the keys that count now.
            let same = |known: &PeerBundle| known.bundle.is_some() && known.row.bundle == bytes;
            if self.prekeys.peers.get(&oin).is_some_and(same) {
                continue;
            }
            let bundle = match PrekeyBundle::verify(&bytes, &oin, &self.keys_of(&oin)) {
                Ok(bundle) => bundle,
                Err(Refusal::UnknownKey) if self.changes_keys(&oin, &bytes, now) => continue,
                Err(refusal) => {
                    self.alarm(AlarmKind::BadPrekeys, format!("{oin}: {refusal}"), now, turn);
                    continue;
                }
            };
            let known = self.prekeys.peers.get(&oin).filter(|known| known.row.bundle != bytes);
            let known = known.map(|known| (known.row.seq, known.since));
            if let Some((seq, since)) = known.filter(|(seq, _)| bundle.seq <= *seq) {
                // Answers overtake each other: this one may be from before the newer one was published.
                if bundle.seq < seq && number <= since {
                    continue;
                }
                let detail = format!("{oin}: {} offered, {seq} known", bundle.seq);
                self.alarm(AlarmKind::PrekeyRollback, detail, now, turn);
                continue;
            }
            let row = PeerRow { seq: bundle.seq, bundle: bytes };
            turn.writes.push(Write::Peer(oin, Box::new(row.clone())));
            self.prekeys
                .peers
                .insert(oin, PeerBundle { row, bundle: Some(bundle), since: self.prekeys.asked });
        }
        self.fetch_covenants(now, turn);
    }
}
