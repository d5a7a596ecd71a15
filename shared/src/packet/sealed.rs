//! Sealing and opening: content encryption, and the port through which HPKE is done.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::content::{Content, Plain};
use super::statement::{Context, Packet, VerifiedPacket};
use crate::cbor::Bytes;
use crate::cose::{self, EK_LEN, Encrypt, WRAPPED_LEN, Wrap};
use crate::ids::{Digest, Oin, PrekeyId};
use crate::onward::Provenance;
use crate::prekey::{PrekeyPublic, PrekeySecret};
use crate::refusal::Refusal;
use crate::signing::SigningKey;

/// HPKE failed: an impossible key, or a wrap that is not for it. Says no more on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HPKE operation failed")]
pub struct HpkeError;

/// HPKE-9 in base mode, one shot: KEM 0x647a (ML-KEM-768 with X25519), KDF 0x0011 (SHAKE256),
/// AEAD 0x0002 (AES-256-GCM), empty additional data (draft-ietf-hpke-pq, RFC 9180 §6.1).
///
/// A port, because encapsulation draws randomness and the private half is the shell's.
pub trait Hpke {
    /// Encrypts 32 bytes to a prekey: the encapsulated key and the ciphertext.
    ///
    /// # Errors
    /// [`HpkeError`] when the public key is impossible.
    fn seal(
        &self,
        recipient: &PrekeyPublic,
        info: &[u8],
        key: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError>;

    /// Decrypts what [`Hpke::seal`] made.
    ///
    /// # Errors
    /// [`HpkeError`] when the wrap is not for this key and info, or was changed.
    fn open(
        &self,
        secret: &PrekeySecret,
        ek: &[u8],
        info: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, HpkeError>;
}

/// The chance that goes into one packet; drawn fresh by the shell for every packet.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealRandomness {
    /// The content encryption key.
    pub key: [u8; 32],
    /// The content AEAD's nonce.
    pub iv: [u8; 12],
    /// The commitment's salt.
    pub salt: [u8; 32],
}

impl core::fmt::Debug for SealRandomness {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SealRandomness(..)")
    }
}

/// A whole packet, made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of its signed statement, which the exchange log will name.
    pub statement: Digest,
}

/// Seals a body and signs the statement.
///
/// `context` comes in complete but for its commitment, which is set here. `keys` gives the public
/// prekey of each of `context.recipients`, in the same order.
///
/// # Errors
/// [`Refusal::NoPrekey`] when a key is missing or impossible, [`Refusal::TooLarge`] when the body is.
pub fn seal(
    hpke: &dyn Hpke,
    context: &mut Context,
    keys: &[&PrekeyPublic],
    plain: Plain<'_>,
    chance: &SealRandomness,
    signer: &SigningKey,
) -> Result<Sealed, Refusal> {
    if plain.body.len() > crate::limits::BODY_MAX {
        return Err(Refusal::TooLarge);
    }
    let matching = context.recipients.iter().map(|r| r.prekey).eq(keys.iter().map(|key| key.id()));
    if !matching {
        return Err(Refusal::NoPrekey);
    }
    let content = Content::new(chance.salt, plain);
    context.commitment = content.commitment();
    let context_bytes = context.to_bytes();
    let wraps = keys
        .iter()
        .map(|key| {
            let info = cose::wrap_info(key.id(), &context_bytes);
            let (ek, wrapped) = hpke.seal(key, &info, &chance.key).map_err(|HpkeError| Refusal::NoPrekey)?;
            Ok(Wrap { prekey: key.id(), ek: Bytes::from(&ek[..]), wrapped: Bytes::from(&wrapped[..]) })
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let plaintext = Zeroizing::new(content.to_bytes());
    let aad = cose::content_aad(&context_bytes);
    let ciphertext = cipher(&chance.key)
        .encrypt(&nonce(chance.iv), Payload { msg: &plaintext, aad: &aad })
        .map_err(|_| Refusal::TooLarge)?;
    let sealed = Encrypt { iv: chance.iv, ciphertext: Bytes(ciphertext), wraps };
    Ok(Packet::assemble(context_bytes, &sealed, signer))
}

/// An opened packet: its content, checked against the sender's commitment.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The body's media type.
    pub media_type: String,
    /// Where the body comes from.
    pub provenance: Provenance,
    /// The sender's plaintext.
    pub body: Vec<u8>,
}

impl core::fmt::Debug for Opened {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Opened({}, {} bytes)", self.media_type, self.body.len())
    }
}

/// Opens a verified packet as `recipient`. `secret` finds the private half of a prekey.
///
/// # Errors
/// [`Refusal::RecipientCount`] when it is not for this recipient, [`Refusal::NoPrekey`] when the
/// private half is gone, [`Refusal::CannotOpen`], [`Refusal::CommitmentMismatch`].
pub fn open<'a>(
    hpke: &dyn Hpke,
    packet: &VerifiedPacket,
    recipient: &Oin,
    secret: impl Fn(PrekeyId) -> Option<&'a PrekeySecret>,
) -> Result<Opened, Refusal> {
    let context = packet.context();
    let wrap = context
        .recipients
        .iter()
        .zip(&packet.sealed().wraps)
        .find_map(|(declared, wrap)| (declared.oin == *recipient).then_some(wrap))
        .ok_or(Refusal::RecipientCount)?;
    let secret = secret(wrap.prekey).ok_or(Refusal::NoPrekey)?;
    let info = cose::wrap_info(wrap.prekey, packet.context_bytes());
    let key = hpke.open(secret, &wrap.ek, &info, &wrap.wrapped).map_err(|HpkeError| Refusal::CannotOpen)?;
    let aad = cose::content_aad(packet.context_bytes());
    let payload = Payload { msg: &packet.sealed().ciphertext, aad: &aad };
    let plaintext = cipher(&key)
        .decrypt(&nonce(packet.sealed().iv), payload)
        .map(Zeroizing::new)
        .map_err(|_| Refusal::CannotOpen)?;
    let content = Content::parse(&plaintext)?;
    if content.commitment() != context.commitment {
        return Err(Refusal::CommitmentMismatch);
    }
    Ok(Opened { media_type: content.media_type, provenance: content.provenance, body: content.body.0 })
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

fn nonce(iv: [u8; 12]) -> Nonce<aes_gcm::aead::consts::U12> {
    iv.into()
}
