//! The keys that the core is lent: signing, and encryption of what is secret in the store.

use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use seinhuis_agent_core::{Chance, Crypto, Locker, Ports, Pseudonyms, Recording};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::packet::HpkeError;
use seinhuis_shared::prekey::{PrekeyPublic, PrekeySecret};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::{files, keys};
use zeroize::Zeroizing;

use crate::hpke::{AwsHpke, TurnHpke};

impl Crypto for TurnHpke {
    fn generate(&self) -> Result<(PrekeySecret, PrekeyPublic), HpkeError> {
        AwsHpke::generate()
    }
}

/// Signing key and store key of one agent.
pub struct Vault {
    signer: SigningKey,
    /// The signing key that is to take its place.
    next: Option<SigningKey>,
    /// The key that cosigns the exchange log.
    witness: Option<SigningKey>,
    /// Where both are kept; none for keys that are in memory only.
    files: Option<(PathBuf, PathBuf)>,
    store: RandomizedNonceKey,
    fingerprints: hmac::Key,
    names: Option<Names>,
    crypto: TurnHpke,
}

/// The key of pseudonyms, and how processings are recorded with them.
struct Names {
    key: hmac::Key,
    most: usize,
    required: bool,
}

impl Pseudonyms for Names {
    fn pseudonym(&self, bytes: &[u8]) -> Digest {
        let tag = hmac::sign(&self.key, bytes);
        // HMAC-SHA-256 is 32 bytes long.
        Digest(tag.as_ref().try_into().unwrap_or_default())
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Vault {
    /// Takes both keys.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn new(store_key: &[u8; 32], signer: SigningKey) -> Result<Self, Complaint> {
        let store = RandomizedNonceKey::new(&AES_256_GCM, store_key)
            .map_err(|_| Complaint::bug("no AES-256 key from 32 bytes"))?;
        // A key of its own, so that fingerprints and encryption never share one.
        let derive = hmac::Key::new(hmac::HMAC_SHA256, store_key);
        let derived = hmac::sign(&derive, b"seinhuis/agent/fingerprint/1");
        let fingerprints = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        let crypto = TurnHpke::default();
        Ok(Self { signer, next: None, witness: None, files: None, store, fingerprints, names: None, crypto })
    }

    /// Has processings recorded, with pseudonyms made by this key; at most so many at a time, and where that is
    /// `required` nothing is processed that cannot be recorded.
    #[must_use]
    pub fn recording(mut self, key: &[u8; 32], most: usize, required: bool) -> Self {
        self.names = Some(Names { key: hmac::Key::new(hmac::HMAC_SHA256, key), most, required });
        self
    }

    /// Says where the signing key is kept and where the next one is, and reads that if it is there.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn with_files(mut self, current: PathBuf, next: PathBuf) -> Result<Self, Complaint> {
        if next.exists() {
            self.next = Some(keys::load_signing(&next)?);
        }
        self.files = Some((current, next));
        Ok(self)
    }

    /// Has this key at hand to cosign the exchange log with.
    #[must_use]
    pub fn with_witness(mut self, witness: Option<SigningKey>) -> Self {
        self.witness = witness;
        self
    }

    /// The key that cosigns the exchange log; none for an agent that is no witness.
    pub const fn witness(&self) -> Option<&SigningKey> {
        self.witness.as_ref()
    }

    /// Has the next signing key at hand: the one whose file is there, else a new one whose file is on stable
    /// storage when this returns.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn make_next(&mut self) -> Result<(), Complaint> {
        let Some((_, next)) = &self.files else {
            return Err(Complaint::bug("keys in memory cannot be rotated"));
        };
        let key = if next.exists() { keys::load_signing(next)? } else { keys::generate_signing(next)? };
        self.next = Some(key);
        Ok(())
    }

    /// Puts the next signing key in the place of the current one, which is gone then.
    ///
    /// # Errors
    /// A sentence naming the file; both keys are then still there.
    pub fn promote(&mut self) -> Result<(), Complaint> {
        let Some(next) = self.next.take() else { return Ok(()) };
        if let Some((current, file)) = &self.files
            && let Err(complaint) = files::replace(file, current)
        {
            self.next = Some(next);
            return Err(complaint);
        }
        self.signer = next;
        Ok(())
    }

    /// The next signing key.
    pub const fn next(&self) -> Option<&SigningKey> {
        self.next.as_ref()
    }

    /// The signing key.
    pub const fn signer(&self) -> &SigningKey {
        &self.signer
    }

    /// The id of the message that `way` calls `name`: the same for the same two, and nobody without the store key can
    /// guess either from it, although it stands in the exchange log.
    pub fn msg_id(&self, way: &str, name: &[u8]) -> MsgId {
        MsgId::v8(&self.fingerprint(&cbor::encode(&("seinhuis/agent/msg-id/1", way, Bytes(name.to_vec())))))
    }

    /// Wipes the secrets that the packets of a turn shared.
    pub(crate) fn end_turn(&self) {
        self.crypto.forget();
    }

    /// Everything the core is lent for a call.
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            crypto: &self.crypto,
            chance: &SystemChance,
            locker: self,
            signer: &self.signer,
            next: self.next.as_ref(),
            recording: self.names.as_ref().map(|names| Recording {
                pseudonyms: names,
                most: names.most,
                required: names.required,
            }),
            witness: self.witness.as_ref(),
        }
    }
}

/// Least length of what is locked. The store keeps shorter values inside its index, where a deletion may leave
/// remnants; what is locked has to be erasable.
const LOCKED_LEAST: usize = 320;
/// Ends the text in a padded value; zeros follow.
const PAD: u8 = 0x80;
/// In the additional data of a padded value; a value without it is of an earlier version.
const PADDED: &[u8] = b"/padded";

fn row_aad(table: u8, key: &[u8], form: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&[table][..], key, form].concat())
}

impl Vault {
    fn open_as(&self, form: &[u8], table: u8, key: &[u8], locked: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = locked.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self.store.open_in_place(nonce, row_aad(table, key, form), &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

/// AES-256-GCM: `nonce (12) | ciphertext and tag`, table and key as additional data, over the text, a byte 0x80
/// and zeros up to 320 bytes. The nonce is random; at 2^32 rows under one key it would be time for a new
/// key.
impl Locker for Vault {
    fn lock(&self, table: u8, key: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let length = plain.len().saturating_add(1).max(LOCKED_LEAST);
        // The tag is put behind: room for it, so that nothing is moved and left behind unwiped.
        let mut sealed = Zeroizing::new(Vec::with_capacity(length.saturating_add(64)));
        sealed.extend_from_slice(plain);
        sealed.push(PAD);
        sealed.resize(length, 0);
        let nonce = self.store.seal_in_place_append_tag(row_aad(table, key, PADDED), &mut *sealed).ok()?;
        Some([nonce.as_ref(), sealed.as_slice()].concat())
    }

    fn unlock(&self, table: u8, key: &[u8], locked: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let Some(mut padded) = self.open_as(PADDED, table, key, locked) else {
            return self.open_as(b"", table, key, locked);
        };
        let end = padded.iter().rposition(|byte| *byte != 0)?;
        if padded.get(end) != Some(&PAD) {
            return None;
        }
        padded.truncate(end);
        Some(padded)
    }

    fn fingerprint(&self, bytes: &[u8]) -> Digest {
        let tag = hmac::sign(&self.fingerprints, bytes);
        Digest::from_slice(tag.as_ref()).unwrap_or(Digest([0; 32]))
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(64) {
            let random = keys::random::<64>();
            if let Some(random) = random.get(..chunk.len()) {
                chunk.copy_from_slice(random);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(fill: u8) -> Vault {
        Vault::new(&[fill; 32], SigningKey::from_seed(&[1; 32])).unwrap()
    }

    #[test]
    fn the_next_key_is_on_storage_before_it_is_lent_and_takes_the_place_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let (current, next) = (dir.path().join("signing.key"), dir.path().join("signing.next.key"));
        let old = keys::generate_signing(&current).unwrap();
        let open = || {
            let signer = keys::load_signing(&current).unwrap();
            Vault::new(&[1; 32], signer).unwrap().with_files(current.clone(), next.clone()).unwrap()
        };
        let mut vault = open();
        assert!(vault.next().is_none() && vault.ports().next.is_none());
        vault.make_next().unwrap();
        let made = vault.next().unwrap().public();
        assert_eq!(keys::load_signing(&next).unwrap().public(), made, "private, and the same");
        vault.make_next().unwrap();
        assert_eq!(vault.next().unwrap().public(), made, "again is the same key");
        let mut vault = open();
        assert_eq!((vault.signer().public(), vault.next().unwrap().public()), (old.public(), made));
        std::fs::remove_file(&next).unwrap();
        vault.make_next().unwrap();
        let made = vault.next().unwrap().public();
        vault.promote().unwrap();
        assert_eq!(vault.signer().public(), made);
        assert!(vault.next().is_none() && !next.exists());
        assert_eq!(open().signer().public(), made);
        std::fs::write(&next, "no key").unwrap();
        let signer = keys::load_signing(&current).unwrap();
        let vault = Vault::new(&[1; 32], signer).unwrap();
        assert!(vault.with_files(current.clone(), next.clone()).is_err(), "told, not passed over");
    }

    #[test]
    fn a_row_unlocks_only_in_its_place_with_its_key() {
        let locked = vault(1).lock(5, b"key", b"body").unwrap();
        assert_eq!(vault(1).unlock(5, b"key", &locked).unwrap().as_slice(), b"body");
        assert!(!locked.windows(4).any(|window| window == b"body"));
        assert!(vault(2).unlock(5, b"key", &locked).is_none(), "another key");
        assert!(vault(1).unlock(6, b"key", &locked).is_none(), "another table");
        assert!(vault(1).unlock(5, b"kez", &locked).is_none(), "another row");
        for at in 0..locked.len() {
            let mut changed = locked.clone();
            changed[at] ^= 1;
            assert!(vault(1).unlock(5, b"key", &changed).is_none(), "byte {at}");
            assert!(vault(1).unlock(5, b"key", &locked[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn the_same_row_never_looks_the_same_twice() {
        assert_ne!(vault(1).lock(5, b"key", b"body"), vault(1).lock(5, b"key", b"body"));
    }

    #[test]
    fn fingerprints_depend_on_the_key() {
        assert_eq!(vault(1).fingerprint(b"x"), vault(1).fingerprint(b"x"));
        assert_ne!(vault(1).fingerprint(b"x"), vault(2).fingerprint(b"x"));
        assert_ne!(vault(1).fingerprint(b"x"), vault(1).fingerprint(b"y"));
    }

    #[test]
    fn a_message_id_follows_from_way_and_name_and_the_key() {
        let id = vault(1).msg_id("api/zaaksysteem", b"42");
        assert_eq!(id, vault(1).msg_id("api/zaaksysteem", b"42"));
        for (key, way, name) in
            [(2, "api/zaaksysteem", "42"), (1, "api/zaaksystee", "m42"), (1, "api/zaaksysteem", "43")]
        {
            assert_ne!(id, vault(key).msg_id(way, name.as_bytes()), "{key} {way} {name}");
        }
    }

    #[test]
    fn pseudonyms_depend_on_their_own_key_alone() {
        let of = |store, key: Option<u8>| {
            let vault = vault(store);
            let vault = match key {
                Some(key) => vault.recording(&[key; 32], 1, true),
                None => vault,
            };
            vault.ports().recording.map(|how| how.pseudonyms.pseudonym(b"P01"))
        };
        assert_eq!(of(1, Some(5)), of(2, Some(5)));
        assert_ne!(of(1, Some(5)), of(1, Some(6)));
        assert_eq!(of(1, None), None);
        // RFC 4231, test case 2.
        let name = Names { key: hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"), most: 0, required: false };
        assert_eq!(
            name.pseudonym(b"what do ya want for nothing?").to_string(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn chance_fills_every_byte() {
        let mut bytes = [0; 200];
        SystemChance.fill(&mut bytes);
        assert!(bytes.chunks(50).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    }

    #[test]
    fn what_is_locked_is_long_enough_to_be_erased_and_opens_to_the_byte() {
        let vault = vault(3);
        for length in [0, 1, LOCKED_LEAST - 1, LOCKED_LEAST, 5000] {
            for last in [0, PAD, 7] {
                let plain = vec![last; length];
                let locked = vault.lock(1, b"k", &plain).unwrap();
                assert!(locked.len() > 256, "the store's index holds shorter ones: {}", locked.len());
                assert_eq!(*vault.unlock(1, b"k", &locked).unwrap(), plain);
                assert!(vault.unlock(2, b"k", &locked).is_none() && vault.unlock(1, b"l", &locked).is_none());
            }
        }
    }

    #[test]
    fn what_an_earlier_version_locked_still_opens() {
        let vault = vault(3);
        let mut sealed = b"text".to_vec();
        let nonce = vault.store.seal_in_place_append_tag(row_aad(1, b"k", b""), &mut sealed).unwrap();
        let locked = [nonce.as_ref(), sealed.as_slice()].concat();
        assert_eq!(vault.unlock(1, b"k", &locked).unwrap().as_slice(), b"text");
    }
}
