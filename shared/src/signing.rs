//! Ed25519 keys and their names (RFC 8032, RFC 9679). Verification is strict: one signature per
//! message and key, no small-order keys, never in batches, so that every verifier agrees.

use core::fmt;

use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::ids::{Digest, Thumbprint};
use crate::refusal::Refusal;

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// A public signing key that is fit to be trusted: on the curve and not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads the 32 bytes of RFC 8032 §5.1.5; `None` for a weak or impossible key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak()).map(Self)
    }

    /// The key as bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The COSE key thumbprint: SHA-256 over `{1: 1, -1: 6, -2: x}` in deterministic CBOR (RFC 9679 §4).
    pub fn thumbprint(&self) -> Thumbprint {
        let mut hash = Sha256::new();
        hash.update([0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20]);
        hash.update(self.0.as_bytes());
        Thumbprint(hash.finalize().into())
    }

    /// Checks a signature strictly.
    ///
    /// # Errors
    /// [`Refusal::BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), Refusal> {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| Refusal::BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.thumbprint())
    }
}

/// A private signing key. Erased from memory when dropped; never printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Makes the key from its 32-byte seed, which the caller draws at random.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs; deterministic (RFC 8032 §5.1.6), so the same message always gets the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().thumbprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_small_order_is_refused() {
        assert!(PublicKey::from_bytes(&[0; 32]).is_none());
        let mut one = [0; 32];
        one[0] = 1;
        assert!(PublicKey::from_bytes(&one).is_none());
    }

    #[test]
    fn a_changed_message_or_signature_fails() {
        let key = SigningKey::from_seed(&[7; 32]);
        let mut signature = key.sign(b"signaal");
        assert_eq!(key.public().verify(b"signaal", &signature), Ok(()));
        assert_eq!(key.public().verify(b"signaaI", &signature), Err(Refusal::BadSignature));
        signature[0] ^= 1;
        assert_eq!(key.public().verify(b"signaal", &signature), Err(Refusal::BadSignature));
    }
}
