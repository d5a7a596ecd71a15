//! The keys that the core is lent: signing, and encryption of what is secret in the store.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use seinhuis_agent_core::{Chance, Crypto, Locker, Ports};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::packet::HpkeError;
use seinhuis_shared::prekey::{PrekeyPublic, PrekeySecret};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shell::complaint::Complaint;
use zeroize::Zeroizing;

use crate::hpke::AwsHpke;

impl Crypto for AwsHpke {
    fn generate(&self) -> Result<(PrekeySecret, PrekeyPublic), HpkeError> {
        Self::generate()
    }
}

/// Signing key and store key of one agent.
pub struct Vault {
    signer: SigningKey,
    store: RandomizedNonceKey,
    fingerprints: hmac::Key,
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
        Ok(Self { signer, store, fingerprints: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) })
    }

    /// The signing key.
    pub const fn signer(&self) -> &SigningKey {
        &self.signer
    }

    /// Everything the core is lent for a call.
    pub fn ports(&self) -> Ports<'_> {
        Ports { crypto: &AwsHpke, chance: &SystemChance, locker: self, signer: &self.signer }
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
            let random = seinhuis_shell::keys::random::<64>();
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
