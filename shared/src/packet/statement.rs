//! Context, statement and whole packet: what is checked before any key is used.

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::VERSION;
use super::sealed::Sealed;
use crate::cbor::{self, Bytes};
use crate::cose::{Encrypt, Purpose, Sign1};
use crate::covenant::Declared;
use crate::ids::{CaseId, Digest, MsgId, Oin, PrekeyId, Thumbprint, TraceId};
use crate::limits::{PACKET_MAX, RECIPIENTS_MAX, STATEMENT_MAX, TEXT_MAX};
use crate::refusal::Refusal;
use crate::signing::{PublicKey, SigningKey, sha256};
use crate::time::Timestamp;

/// One declared recipient: `[oin, prekey_kid]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Recipient {
    /// The organisation.
    pub oin: Oin,
    /// The prekey of theirs that was used.
    pub prekey: PrekeyId,
}

/// Everything about a packet but its content; readable by the broker, bound by signature and AEAD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Context {
    /// Format version, 1.
    pub version: u8,
    /// Message id, UUIDv7; the idempotency key.
    pub msg_id: MsgId,
    /// Hash of the covenant version this is sent under.
    pub covenant: Digest,
    /// The covenant's flow.
    pub flow: String,
    /// Random pseudonym of the case.
    pub case: Option<CaseId>,
    /// What the sender says is inside: signed, so a false declaration is attributable.
    pub declared: Declared,
    /// The sending organisation.
    pub sender: Oin,
    /// The sender's signing key.
    pub signer: Thumbprint,
    /// 1 to 16 recipients, in the order of the wraps.
    pub recipients: Vec<Recipient>,
    /// Counts up per (sender, flow), from 1.
    pub seq: u64,
    /// Digest of the sender's previous packet on this flow, if any.
    pub prev: Option<Digest>,
    /// When it was sealed.
    pub issued: Timestamp,
    /// When it stops being valid.
    pub expires: Timestamp,
    /// The message this answers.
    pub in_reply_to: Option<MsgId>,
    /// W3C trace id, for the partners' processing logs.
    pub trace: TraceId,
    /// Commitment to the content.
    pub commitment: Digest,
}

impl Context {
    /// The bytes that are signed and bound into every encryption.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Whether this organisation is among the recipients.
    pub fn is_for(&self, oin: &Oin) -> bool {
        self.recipients.iter().any(|recipient| recipient.oin == *oin)
    }

    /// The recipients' organisations, in order.
    pub fn recipient_oins(&self) -> Vec<Oin> {
        self.recipients.iter().map(|recipient| recipient.oin).collect()
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.version != VERSION {
            return Err(Refusal::UnknownVersion);
        }
        let count = self.recipients.len();
        let mut oins = self.recipient_oins();
        oins.sort_unstable();
        oins.dedup();
        if count == 0 || count > RECIPIENTS_MAX || oins.len() != count {
            return Err(Refusal::RecipientCount);
        }
        if self.flow.is_empty() || self.flow.len() > TEXT_MAX {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }
}

/// The signed payload: `[context, sealed_sha256, sealed_len]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
struct Statement {
    context: Bytes,
    sealed_sha256: Digest,
    sealed_len: u64,
}

/// A packet whose form is right: canonical, of a known version, the statement about this very sealed
/// part, and wraps for exactly the declared recipients. Nothing is known yet of its signature.
#[derive(Debug, Clone)]
pub struct Packet {
    digest: Digest,
    statement_digest: Digest,
    statement: Sign1,
    context: Context,
    context_bytes: Bytes,
    sealed: Encrypt,
}

impl Packet {
    /// Puts a packet together from an encoded context and signs its statement.
    pub(super) fn assemble(context: Vec<u8>, sealed: &Encrypt, key: &SigningKey) -> Sealed {
        let sealed = sealed.to_bytes();
        let statement = Statement {
            context: Bytes(context),
            sealed_sha256: sha256(&sealed),
            sealed_len: u64::try_from(sealed.len()).unwrap_or(u64::MAX),
        };
        let statement = Sign1::sign(key, Purpose::Packet, &cbor::encode(&statement));
        let digest = sha256(&statement);
        Sealed { bytes: cbor::encode(&(VERSION, Bytes(statement), Bytes(sealed))), statement: digest }
    }

    /// Reads a packet's bytes and checks everything that needs no key.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`], [`Refusal::NotCanonical`],
    /// [`Refusal::UnknownVersion`], [`Refusal::RecipientCount`], [`Refusal::SealMismatch`],
    /// [`Refusal::HiddenRecipient`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let (version, statement_bytes, sealed_bytes): (u8, Bytes, Bytes) = cbor::strict(bytes, PACKET_MAX)?;
        if version != VERSION {
            return Err(Refusal::UnknownVersion);
        }
        let statement = Sign1::parse(&statement_bytes, STATEMENT_MAX)?;
        let payload: Statement = cbor::strict(statement.unverified_payload(), STATEMENT_MAX)?;
        let context: Context = cbor::strict(&payload.context, STATEMENT_MAX)?;
        context.check()?;
        let length = u64::try_from(sealed_bytes.len()).unwrap_or(u64::MAX);
        if payload.sealed_len != length || payload.sealed_sha256 != sha256(&sealed_bytes) {
            return Err(Refusal::SealMismatch);
        }
        let sealed = Encrypt::parse(&sealed_bytes, PACKET_MAX)?;
        let declared = context.recipients.iter().map(|recipient| recipient.prekey);
        if !declared.eq(sealed.wraps.iter().map(|wrap| wrap.prekey)) {
            return Err(Refusal::HiddenRecipient);
        }
        if statement.kid() != context.signer {
            return Err(Refusal::UnknownKey);
        }
        Ok(Self {
            digest: sha256(bytes),
            statement_digest: sha256(&statement_bytes),
            statement,
            context,
            context_bytes: payload.context,
            sealed,
        })
    }

    /// What the packet says of itself.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// SHA-256 of the whole packet.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// SHA-256 of the statement, which stays verifiable after the sealed part is gone.
    pub const fn statement_digest(&self) -> Digest {
        self.statement_digest
    }

    /// Length in bytes of the encrypted content: what the broker knows of the body's size.
    pub fn content_length(&self) -> usize {
        self.sealed.ciphertext.len()
    }

    /// Checks the statement's signature with the sender's key.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`], [`Refusal::BadSignature`].
    pub fn verify(self, key: &PublicKey) -> Result<VerifiedPacket, Refusal> {
        self.statement.verify(key, Purpose::Packet)?;
        Ok(VerifiedPacket(self))
    }
}

/// A packet whose statement was signed by the key that was asked about.
#[derive(Debug, Clone)]
pub struct VerifiedPacket(Packet);

impl VerifiedPacket {
    pub(super) const fn sealed(&self) -> &Encrypt {
        &self.0.sealed
    }

    pub(super) const fn context_bytes(&self) -> &Bytes {
        &self.0.context_bytes
    }
}

impl core::ops::Deref for VerifiedPacket {
    type Target = Packet;

    fn deref(&self) -> &Packet {
        &self.0
    }
}
