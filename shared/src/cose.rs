//! The two COSE objects Seinhuis uses, each with exactly one permitted encoding (RFC 9052).
//!
//! Header maps are fixed, so they are compared rather than interpreted: nothing unknown, critical,
//! duplicated or misplaced can hide in them.

use std::collections::BTreeMap;

use ciborium::tag::Required;
use serde::{Deserialize, Serialize};

use crate::cbor::{self, Bytes};
use crate::ids::{PrekeyId, Thumbprint};
use crate::refusal::Refusal;
use crate::signing::{PublicKey, SigningKey};

/// What a signature is for; goes in as `external_aad`, so that none can be passed off as another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The statement of a packet.
    Packet,
    /// A bundle of prekeys.
    Prekeys,
    /// A recipient's acknowledgement of packets.
    Acknowledgement,
    /// A sender's word that it takes a packet back.
    Withdrawal,
    /// A request to enrol in a partnership.
    Enrolment,
    /// A party's word about a covenant.
    Vote,
    /// A decision about a case.
    Case,
    /// An origin's consent to pass data on.
    Consent,
    /// A change of a signing key, by the key that is given up.
    Rotation,
    /// The same change, by the key that is taken.
    NewKey,
}

impl Purpose {
    /// The bytes of `external_aad`.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Packet => b"seinhuis/packet/1",
            Self::Prekeys => b"seinhuis/prekeys/1",
            Self::Acknowledgement => b"seinhuis/acknowledgement/1",
            Self::Withdrawal => b"seinhuis/withdrawal/1",
            Self::Enrolment => b"seinhuis/enrolment/1",
            Self::Vote => b"seinhuis/vote/1",
            Self::Case => b"seinhuis/case/1",
            Self::Consent => b"seinhuis/consent/1",
            Self::Rotation => b"seinhuis/rotation/1",
            Self::NewKey => b"seinhuis/new-key/1",
        }
    }
}

/// Protected header `{1: -19, 4: kid}` up to the 32 bytes of the kid: Ed25519 (RFC 9864).
const SIGN1_PROTECTED: [u8; 6] = [0xa2, 0x01, 0x32, 0x04, 0x58, 0x20];
/// Protected header `{1: 3}`: A256GCM (RFC 9053 §4.1).
const ENCRYPT_PROTECTED: [u8; 3] = [0xa1, 0x01, 0x03];
/// Protected header `{1: 57, 4: kid}` up to the 8 bytes of the kid: HPKE-9-KE.
/// The number is provisional (draft-ietf-cose-hpke-pq): if it moves, the packet version moves with it.
const WRAP_PROTECTED: [u8; 6] = [0xa2, 0x01, 0x18, 0x39, 0x04, 0x48];

const TAG_SIGN1: u64 = 18;
const TAG_ENCRYPT: u64 = 96;
const HEADER_IV: i8 = 5;
const HEADER_EK: i8 = -4;

/// Length of an encapsulated key: ML-KEM-768 ciphertext and X25519 share.
pub const EK_LEN: usize = 1120;
/// Length of a wrapped content key: 32 bytes and the AEAD tag.
pub const WRAPPED_LEN: usize = 48;

type Headers = BTreeMap<i8, Bytes>;
type Sign1Wire = Required<(Bytes, Headers, Bytes, Bytes), TAG_SIGN1>;
type WrapWire = (Bytes, Headers, Bytes);
type EncryptWire = Required<(Bytes, Headers, Bytes, Vec<WrapWire>), TAG_ENCRYPT>;

/// A COSE_Sign1 whose shape is right and whose signature has not been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign1 {
    kid: Thumbprint,
    payload: Bytes,
    signature: [u8; 64],
}

impl Sign1 {
    /// Signs `payload` for `purpose`, as the bytes of a tagged COSE_Sign1 (RFC 9052 §4.2).
    pub fn sign(key: &SigningKey, purpose: Purpose, payload: &[u8]) -> Vec<u8> {
        let kid = key.public().thumbprint();
        let signature = key.sign(&to_be_signed(kid, purpose, payload));
        cbor::encode(&Required::<_, TAG_SIGN1>((
            Bytes(sign1_protected(kid)),
            Headers::new(),
            Bytes::from(payload),
            Bytes(signature.to_vec()),
        )))
    }

    /// Reads the one permitted form.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`] or [`Refusal::NotCanonical`].
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Self, Refusal> {
        let Required((protected, unprotected, payload, signature)): Sign1Wire = cbor::strict(bytes, limit)?;
        let kid = protected
            .strip_prefix(&SIGN1_PROTECTED)
            .and_then(Thumbprint::from_slice)
            .ok_or(Refusal::Malformed)?;
        if !unprotected.is_empty() {
            return Err(Refusal::Malformed);
        }
        let signature = <[u8; 64]>::try_from(&signature[..]).map_err(|_| Refusal::Malformed)?;
        Ok(Self { kid, payload, signature })
    }

    /// The key that claims to have signed.
    pub const fn kid(&self) -> Thumbprint {
        self.kid
    }

    /// What is signed, before anything is known of the signature.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Checks the signature and gives the payload.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`] when `key` is not the one named, [`Refusal::BadSignature`].
    pub fn verify(&self, key: &PublicKey, purpose: Purpose) -> Result<&[u8], Refusal> {
        if key.thumbprint() != self.kid {
            return Err(Refusal::UnknownKey);
        }
        key.verify(&to_be_signed(self.kid, purpose, &self.payload), &self.signature)?;
        Ok(&self.payload)
    }
}

fn sign1_protected(kid: Thumbprint) -> Vec<u8> {
    [&SIGN1_PROTECTED[..], kid.as_bytes()].concat()
}

/// The Sig_structure of RFC 9052 §4.4.
fn to_be_signed(kid: Thumbprint, purpose: Purpose, payload: &[u8]) -> Vec<u8> {
    cbor::encode(&(
        "Signature1",
        Bytes(sign1_protected(kid)),
        Bytes::from(purpose.as_bytes()),
        Bytes::from(payload),
    ))
}

/// One recipient's wrapped content key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrap {
    /// The prekey it is for.
    pub prekey: PrekeyId,
    /// The encapsulated key, [`EK_LEN`] bytes.
    pub ek: Bytes,
    /// The wrapped content key, [`WRAPPED_LEN`] bytes.
    pub wrapped: Bytes,
}

/// A COSE_Encrypt with HPKE key encryption (RFC 9052 §5.1, draft-ietf-cose-hpke).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypt {
    /// The AEAD nonce.
    pub iv: [u8; 12],
    /// The encrypted content with its tag.
    pub ciphertext: Bytes,
    /// One wrap per recipient, in the order of the signed context.
    pub wraps: Vec<Wrap>,
}

impl Encrypt {
    /// The bytes of the tagged COSE_Encrypt.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wraps = self
            .wraps
            .iter()
            .map(|wrap| {
                let unprotected = Headers::from([(HEADER_EK, wrap.ek.clone())]);
                (Bytes(wrap_protected(wrap.prekey)), unprotected, wrap.wrapped.clone())
            })
            .collect::<Vec<WrapWire>>();
        cbor::encode(&Required::<_, TAG_ENCRYPT>((
            Bytes::from(&ENCRYPT_PROTECTED[..]),
            Headers::from([(HEADER_IV, Bytes::from(&self.iv[..]))]),
            self.ciphertext.clone(),
            wraps,
        )))
    }

    /// Reads the one permitted form.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`] or [`Refusal::NotCanonical`].
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Self, Refusal> {
        let Required((protected, mut unprotected, ciphertext, wire)): EncryptWire =
            cbor::strict(bytes, limit)?;
        let iv = unprotected.remove(&HEADER_IV).ok_or(Refusal::Malformed)?;
        if protected[..] != ENCRYPT_PROTECTED || !unprotected.is_empty() {
            return Err(Refusal::Malformed);
        }
        let iv = <[u8; 12]>::try_from(&iv[..]).map_err(|_| Refusal::Malformed)?;
        let wraps = wire.into_iter().map(parse_wrap).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { iv, ciphertext, wraps })
    }
}

fn parse_wrap((protected, mut unprotected, wrapped): WrapWire) -> Result<Wrap, Refusal> {
    let prekey =
        protected.strip_prefix(&WRAP_PROTECTED).and_then(PrekeyId::from_slice).ok_or(Refusal::Malformed)?;
    let ek = unprotected.remove(&HEADER_EK).ok_or(Refusal::Malformed)?;
    if !unprotected.is_empty() || ek.len() != EK_LEN || wrapped.len() != WRAPPED_LEN {
        return Err(Refusal::Malformed);
    }
    Ok(Wrap { prekey, ek, wrapped })
}

fn wrap_protected(prekey: PrekeyId) -> Vec<u8> {
    [&WRAP_PROTECTED[..], prekey.as_bytes()].concat()
}

/// The Enc_structure of RFC 9052 §5.3: the additional data of the content's AEAD.
pub fn content_aad(context: &[u8]) -> Vec<u8> {
    cbor::encode(&("Encrypt", Bytes::from(&ENCRYPT_PROTECTED[..]), Bytes::from(context)))
}

/// The Recipient_structure of draft-ietf-cose-hpke: the HPKE `info` that ties a wrap to its context.
pub fn wrap_info(prekey: PrekeyId, context: &[u8]) -> Vec<u8> {
    let extra = crate::signing::sha256(context);
    cbor::encode(&("HPKE Recipient", 3, Bytes(wrap_protected(prekey)), extra))
}

/// Proof at compile time that the aliases are what the codec expects.
const _: fn() = || {
    fn both<T: Serialize + for<'de> Deserialize<'de>>() {}
    both::<Sign1Wire>();
    both::<EncryptWire>();
};

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[3; 32])
    }

    #[test]
    fn a_signature_for_one_purpose_is_none_for_another() {
        let bytes = Sign1::sign(&key(), Purpose::Packet, b"payload");
        let sign1 = Sign1::parse(&bytes, 4096).unwrap();
        assert_eq!(sign1.verify(&key().public(), Purpose::Packet), Ok(&b"payload"[..]));
        assert_eq!(sign1.verify(&key().public(), Purpose::Prekeys), Err(Refusal::BadSignature));
        let other = SigningKey::from_seed(&[4; 32]).public();
        assert_eq!(sign1.verify(&other, Purpose::Packet), Err(Refusal::UnknownKey));
    }

    #[test]
    fn headers_other_than_the_fixed_ones_are_refused() {
        let good = Sign1::sign(&key(), Purpose::Packet, b"p");
        let kid = key().public().thumbprint();
        let wire = |protected: Vec<u8>, unprotected: Headers| {
            cbor::encode(&Required::<_, TAG_SIGN1>((
                Bytes(protected),
                unprotected,
                Bytes::from(&b"p"[..]),
                Bytes(vec![0; 64]),
            )))
        };
        let fixed = sign1_protected(kid);
        assert!(Sign1::parse(&wire(fixed.clone(), Headers::new()), 4096).is_ok());
        let mut eddsa = fixed.clone();
        eddsa[2] = 0x27;
        let mut with_crit = fixed.clone();
        with_crit[0] = 0xa3;
        with_crit.extend([0x02, 0x81, 0x04]);
        for (name, bytes) in [
            ("algorithm -8", wire(eddsa, Headers::new())),
            ("crit header", wire(with_crit, Headers::new())),
            ("unprotected algorithm", wire(fixed, Headers::from([(1, Bytes::default())]))),
            ("no tag", good[1..].to_vec()),
            ("other tag", [&[0xd1][..], &good[1..]].concat()),
        ] {
            assert!(Sign1::parse(&bytes, 4096).is_err(), "{name}");
        }
    }
}
