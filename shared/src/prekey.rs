//! Prekeys: a recipient's short-lived encryption keys, published in signed bundles.
//!
//! A prekey is offered to senders for one epoch; its private half is destroyed once no packet made
//! with it can still be valid. That, not the session, is what makes old ciphertexts unreadable.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::ids::{Oin, PrekeyId, Thumbprint};
use crate::limits::{BUNDLE_MAX, CLOCK_SKEW, PREKEYS_MAX, TTL_MAX};
use crate::refusal::Refusal;
use crate::signing::{PublicKey, SigningKey, sha256};
use crate::time::Timestamp;

/// Length of a public prekey: ML-KEM-768 encapsulation key and X25519 public key.
pub const PUBLIC_LEN: usize = 1216;

/// The HPKE suite a bundle is for: `[KEM, KDF, AEAD]`. The only one version 1 knows.
pub const SUITE: (u16, u16, u16) = (0x647a, 0x0011, 0x0002);

/// A public prekey of suite [`SUITE`].
#[derive(Clone, PartialEq, Eq)]
pub struct PrekeyPublic {
    bytes: Box<[u8; PUBLIC_LEN]>,
    id: PrekeyId,
}

impl PrekeyPublic {
    /// Takes a key of exactly [`PUBLIC_LEN`] bytes. Whether it is a possible key shows on use.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: Box<[u8; PUBLIC_LEN]> = Box::new(bytes.try_into().ok()?);
        let id = PrekeyId(*sha256(&bytes[..]).0.first_chunk()?);
        Some(Self { bytes, id })
    }

    /// The key as bytes.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_LEN] {
        &self.bytes
    }

    /// Its identifier: the first 8 bytes of its SHA-256.
    pub const fn id(&self) -> PrekeyId {
        self.id
    }
}

impl fmt::Debug for PrekeyPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeyPublic({})", self.id)
    }
}

impl Serialize for PrekeyPublic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes[..])
    }
}

impl<'de> Deserialize<'de> for PrekeyPublic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?;
        Self::from_slice(&bytes).ok_or_else(|| de::Error::custom("a public prekey of 1216 bytes"))
    }
}

/// The private half, in whatever form the HPKE implementation keeps it. Erased when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrekeySecret(pub Vec<u8>);

impl fmt::Debug for PrekeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrekeySecret(..)")
    }
}

/// One prekey with its time: `[public, not_before, not_after]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Prekey {
    /// The public key.
    pub public: PrekeyPublic,
    /// From when senders may use it.
    pub not_before: Timestamp,
    /// Until when senders may use it.
    pub not_after: Timestamp,
}

impl Prekey {
    /// When the private half has to be gone: no packet made with it can be valid after this.
    pub fn destroy_at(&self) -> Timestamp {
        self.not_after.plus(TTL_MAX).plus(CLOCK_SKEW)
    }
}

/// A signed bundle's payload: `[1, suite, oin, signer, seq, issued, prekeys]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PrekeyBundle {
    /// Format version, 1.
    pub version: u8,
    /// The HPKE suite, [`SUITE`].
    pub suite: (u16, u16, u16),
    /// Whose keys these are.
    pub oin: Oin,
    /// The signing key that vouches for them.
    pub signer: Thumbprint,
    /// Counts up with every bundle of this organisation; a lower one is an old one replayed.
    pub seq: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// 1 to [`PREKEYS_MAX`] prekeys in order of time.
    pub prekeys: Vec<Prekey>,
}

impl PrekeyBundle {
    /// Signs the bundle: the bytes that are published.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        Sign1::sign(key, Purpose::Prekeys, &cbor::encode(self))
    }

    /// Reads and checks a bundle of `oin` signed by one of `keys`.
    ///
    /// # Errors
    /// [`Refusal::BadPrekeyBundle`] for a wrong form, owner or suite; [`Refusal::UnknownKey`];
    /// [`Refusal::BadSignature`].
    pub fn verify(bytes: &[u8], oin: &Oin, keys: &[PublicKey]) -> Result<Self, Refusal> {
        let signed = Sign1::parse(bytes, BUNDLE_MAX).map_err(|_| Refusal::BadPrekeyBundle)?;
        let key = keys.iter().find(|key| key.thumbprint() == signed.kid()).ok_or(Refusal::UnknownKey)?;
        Self::read(signed.verify(key, Purpose::Prekeys)?, oin, signed.kid())
    }

    /// The key that a bundle of `oin` in the right form names. Whether that key signed it is not looked at: this says only
    /// what it takes for the bundle to count.
    pub fn claimed_signer(bytes: &[u8], oin: &Oin) -> Option<Thumbprint> {
        Self::unverified(bytes, oin).map(|bundle| bundle.signer)
    }

    /// A bundle of `oin` in the right form, of which the signature is not looked at: one that was verified before, or of
    /// which nothing is believed.
    pub fn unverified(bytes: &[u8], oin: &Oin) -> Option<Self> {
        let signed = Sign1::parse(bytes, BUNDLE_MAX).ok()?;
        Self::read(signed.unverified_payload(), oin, signed.kid()).ok()
    }

    fn read(payload: &[u8], oin: &Oin, kid: Thumbprint) -> Result<Self, Refusal> {
        let bundle: Self = cbor::strict(payload, BUNDLE_MAX).map_err(|_| Refusal::BadPrekeyBundle)?;
        let ordered = bundle.prekeys.windows(2).all(|pair| match pair {
            [earlier, later] => earlier.not_before < later.not_before,
            _ => true,
        });
        let timed = bundle.prekeys.iter().all(|prekey| prekey.not_before < prekey.not_after);
        let right = bundle.version == 1
            && bundle.suite == SUITE
            && bundle.oin == *oin
            && bundle.signer == kid
            && (1..=PREKEYS_MAX).contains(&bundle.prekeys.len());
        if right && ordered && timed { Ok(bundle) } else { Err(Refusal::BadPrekeyBundle) }
    }

    /// The prekey a sender uses at `now`: the latest that has begun and not ended.
    pub fn usable(&self, now: Timestamp) -> Option<&Prekey> {
        self.prekeys
            .iter()
            .rev()
            .find(|prekey| prekey.not_before <= now.plus(CLOCK_SKEW) && now < prekey.not_after)
    }

    /// The prekey with this identifier.
    pub fn find(&self, id: PrekeyId) -> Option<&Prekey> {
        self.prekeys.iter().find(|prekey| prekey.public.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(key: &SigningKey) -> PrekeyBundle {
        let prekey = |fill: u8, from: u64| Prekey {
            public: PrekeyPublic::from_slice(&[fill; PUBLIC_LEN]).unwrap(),
            not_before: Timestamp(from),
            not_after: Timestamp(from + 1000),
        };
        PrekeyBundle {
            version: 1,
            suite: SUITE,
            oin: "00000001003214345000".parse().unwrap(),
            signer: key.public().thumbprint(),
            seq: 1,
            issued: Timestamp(0),
            prekeys: vec![prekey(1, 1_000_000), prekey(2, 1_001_000)],
        }
    }

    #[test]
    fn a_sender_uses_the_epoch_that_runs() {
        let key = SigningKey::from_seed(&[5; 32]);
        let bundle = PrekeyBundle::verify(
            &bundle(&key).sign(&key),
            &"00000001003214345000".parse().unwrap(),
            &[key.public()],
        )
        .unwrap();
        assert_eq!(bundle.usable(Timestamp(1_001_500)), Some(&bundle.prekeys[1]));
        assert_eq!(bundle.usable(Timestamp(1_002_000)), None, "past its end");
        assert_eq!(bundle.usable(Timestamp(0)), None, "before its beginning");
    }

    #[test]
    fn a_bundle_with_one_thing_wrong_is_refused() {
        let key = SigningKey::from_seed(&[5; 32]);
        let other = SigningKey::from_seed(&[6; 32]);
        let oin: Oin = "00000001003214345000".parse().unwrap();
        let change = |edit: fn(&mut PrekeyBundle)| {
            let mut changed = bundle(&key);
            edit(&mut changed);
            PrekeyBundle::verify(&changed.sign(&key), &oin, &[key.public()])
        };
        assert!(change(|_| ()).is_ok());
        for (name, edit) in [
            ("version", (|b| b.version = 2) as fn(&mut PrekeyBundle)),
            ("suite", |b| b.suite.1 = 1),
            ("owner", |b| b.oin = "00000001003214345999".parse().unwrap()),
            ("signer", |b| b.signer = Thumbprint([0; 32])),
            ("none", |b| b.prekeys.clear()),
            ("order", |b| b.prekeys.reverse()),
            ("time", |b| b.prekeys[0].not_after = b.prekeys[0].not_before),
        ] {
            assert_eq!(change(edit), Err(Refusal::BadPrekeyBundle), "{name}");
        }
        let foreign = bundle(&key).sign(&other);
        assert_eq!(PrekeyBundle::claimed_signer(&foreign, &oin), None, "in another key's name");
        let own = bundle(&other).sign(&other);
        assert_eq!(PrekeyBundle::claimed_signer(&own, &oin), Some(other.public().thumbprint()));
        assert_eq!(PrekeyBundle::verify(&foreign, &oin, &[key.public()]), Err(Refusal::UnknownKey));
        let mut forged = bundle(&key).sign(&key);
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(PrekeyBundle::verify(&forged, &oin, &[key.public()]), Err(Refusal::BadSignature));
    }
}
