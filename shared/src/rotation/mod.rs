//! Rotation of a signing key: a party gives up the key a covenant pins and takes another, without a new version.
//!
//! A [`Rotation`] is signed twice: by the new key, which proves that the party holds it, and around that by the
//! old key, which hands over. The broker logs it and passes it on with the time of its log entry; both together
//! are a [`Rotated`]. From that time on the new key counts and the old one does not, whatever an object says of
//! when it was signed. Rotations form lines: each names the digest of the one before it, up to a key that a
//! covenant pins. [`Keys`] is the fold over them; everybody makes it from the signed bytes.

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::ids::{Digest, Oin};
use crate::limits::{ROTATION_MAX, ROTATIONS_MAX};
use crate::refusal::Refusal;
use crate::signing::{PublicKey, SigningKey, sha256};
use crate::time::Timestamp;

mod keys;
#[cfg(test)]
mod tests;

pub use keys::{Keys, Taken};

/// The version of a rotation's form, its first element.
pub const FORMAT: u8 = 1;

/// One party's change of its signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Whose key it is.
    pub party: Oin,
    /// Its place in the line, from 1.
    pub seq: u32,
    /// SHA-256 of the signed bytes of the rotation that brought `old`; none exactly for the first.
    pub previous: Option<Digest>,
    /// The key that is given up.
    pub old: PublicKey,
    /// The key that takes its place.
    pub new: PublicKey,
    /// When it was signed.
    pub issued: Timestamp,
}

/// As in the signed bytes: `[1, party, seq, previous, old, new, issued]`.
#[derive(Serialize_tuple, Deserialize_tuple)]
struct Wire {
    format: u8,
    party: Oin,
    seq: u32,
    previous: Option<Digest>,
    old: Bytes,
    new: Bytes,
    issued: Timestamp,
}

impl Rotation {
    /// Signs with both keys: the bytes that are sent, logged and named by the next rotation.
    pub fn sign(&self, old: &SigningKey, new: &SigningKey) -> Vec<u8> {
        let wire = Wire {
            format: FORMAT,
            party: self.party,
            seq: self.seq,
            previous: self.previous,
            old: Bytes(self.old.to_bytes().to_vec()),
            new: Bytes(self.new.to_bytes().to_vec()),
            issued: self.issued,
        };
        let proved = Sign1::sign(new, Purpose::NewKey, &cbor::encode(&wire));
        Sign1::sign(old, Purpose::Rotation, &proved)
    }

    /// Reads a rotation and checks the signatures of the two keys it names. Whether the old one counts for
    /// anything is for [`Keys`] and a covenant to say.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`] (also for a weak key, and for one key twice),
    /// [`Refusal::NotCanonical`], [`Refusal::UnknownVersion`]; [`Refusal::UnknownKey`] when another key signed;
    /// [`Refusal::BadSignature`].
    pub fn verify(bytes: &[u8]) -> Result<Verified, Refusal> {
        let signed = Sign1::parse(bytes, ROTATION_MAX)?;
        let proved = Sign1::parse(signed.unverified_payload(), ROTATION_MAX)?;
        let rotation = read(proved.unverified_payload())?;
        signed.verify(&rotation.old, Purpose::Rotation)?;
        proved.verify(&rotation.new, Purpose::NewKey)?;
        Ok(Verified { rotation, digest: sha256(bytes) })
    }
}

fn read(payload: &[u8]) -> Result<Rotation, Refusal> {
    let wire: Wire = cbor::strict(payload, ROTATION_MAX)?;
    if wire.format != FORMAT {
        return Err(Refusal::UnknownVersion);
    }
    let places = u32::try_from(ROTATIONS_MAX).unwrap_or(u32::MAX);
    if !(1..=places).contains(&wire.seq) || wire.previous.is_none() != (wire.seq == 1) {
        return Err(Refusal::Malformed);
    }
    let key = |bytes: &Bytes| {
        let bytes = <[u8; 32]>::try_from(&bytes[..]).ok();
        bytes.and_then(|bytes| PublicKey::from_bytes(&bytes)).ok_or(Refusal::Malformed)
    };
    let (old, new) = (key(&wire.old)?, key(&wire.new)?);
    if old == new {
        return Err(Refusal::Malformed);
    }
    let Wire { party, seq, previous, issued, .. } = wire;
    Ok(Rotation { party, seq, previous, old, new, issued })
}

/// A rotation whose two signatures were checked. Only [`Rotation::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    rotation: Rotation,
    digest: Digest,
}

impl Verified {
    /// What it says.
    pub const fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// SHA-256 of its signed bytes: its name in the line, and in the log.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// A rotation as the broker logged it: `[rotation, at]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Rotated {
    /// The rotation exactly as its party signed it ([`Rotation`]).
    pub rotation: Bytes,
    /// The time of its log entry: from then on the new key counts, and the old one does not.
    pub at: Timestamp,
}
