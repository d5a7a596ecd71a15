//! Where what is in a packet comes from, and what its recipient may do with it: origin, handling code, and the
//! origin's signed consent to pass it on (Wpg 7(2), WGS 1.7).
//!
//! A [`Provenance`] is part of the sealed content: the broker sees nothing of it, the commitment binds it.
//! [`admits`] is the one judgement, made by the sender's agent before it seals and again by the recipient's.

use data_encoding::BASE64;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::covenant::{Compiled, Handling};
use crate::ids::{Digest, Oin};
use crate::limits::{CLOCK_SKEW, CONSENT_MAX, RECIPIENTS_MAX};
use crate::refusal::Refusal;
use crate::rotation::Keys;
use crate::signing::{SigningKey, sha256};
use crate::time::Timestamp;

/// The version of a consent, its first element.
pub const FORMAT: u8 = 1;

/// Where the body of a packet comes from: `[origin, handling, source, consent]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Provenance {
    /// The organisation the data is from: the sender, or whoever the sender has it from at first.
    pub origin: Oin,
    /// What a recipient may do with it.
    pub handling: Handling,
    /// SHA-256 of the packet in which the origin sent it, when it is passed on.
    pub source: Option<Digest>,
    /// The origin's signed consent, when it is passed on with one.
    pub consent: Option<Bytes>,
}

impl Provenance {
    /// Of the sender's own data.
    pub const fn own(sender: Oin, handling: Handling) -> Self {
        Self { origin: sender, handling, source: None, consent: None }
    }

    /// Whether it has the right form.
    pub(crate) fn is_sound(&self) -> bool {
        self.consent.as_ref().is_none_or(|consent| consent.len() <= CONSENT_MAX)
    }
}

/// What the origin of a packet allows its holder: to pass the data on to these recipients. Carried as a
/// COSE_Sign1 of the origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Consent {
    /// Format version, [`FORMAT`].
    pub format: u8,
    /// Who allows it: the sender of the packet.
    pub origin: Oin,
    /// Who may pass it on.
    pub holder: Oin,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// To whom: 1 to 16, none twice.
    pub recipients: Vec<Oin>,
    /// First instant at which it no longer holds.
    pub until: Timestamp,
    /// When it was given.
    pub at: Timestamp,
}

impl Consent {
    /// Signs it with the origin's key.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        Sign1::sign(key, Purpose::Consent, &cbor::encode(self))
    }

    /// Reads a consent whose signature is by the key with which its origin signs under `covenant` at `at`: when
    /// a key was given up, what was consented with it has to be consented again.
    ///
    /// # Errors
    /// [`Refusal::ConsentInvalid`].
    pub fn verify(bytes: &[u8], covenant: &Compiled, keys: &Keys, at: Timestamp) -> Result<Self, Refusal> {
        let invalid = |_: Refusal| Refusal::ConsentInvalid;
        let signed = Sign1::parse(bytes, CONSENT_MAX).map_err(invalid)?;
        let consent: Self =
            cbor::strict(signed.unverified_payload(), CONSENT_MAX).map_err(|_| Refusal::ConsentInvalid)?;
        let key = keys.signing_key(covenant, consent.origin, signed.kid(), at).map_err(invalid)?;
        signed.verify(&key, Purpose::Consent).map_err(invalid)?;
        let mut recipients = consent.recipients.clone();
        recipients.sort_unstable();
        recipients.dedup();
        let counted =
            (1..=RECIPIENTS_MAX).contains(&recipients.len()) && recipients.len() == consent.recipients.len();
        let sound = consent.format == FORMAT && counted && consent.at < consent.until;
        if sound { Ok(consent) } else { Err(Refusal::ConsentInvalid) }
    }

    /// Whether it lets `holder` pass `packet` on to all of `recipients` at `now`.
    ///
    /// # Errors
    /// [`Refusal::ConsentElsewhere`] when it is about another holder, packet or recipient,
    /// [`Refusal::ConsentExpired`] outside its time.
    pub fn covers(
        &self,
        holder: Oin,
        packet: &Digest,
        recipients: &[Oin],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let listed = recipients.iter().all(|oin| self.recipients.contains(oin));
        if self.holder != holder || self.packet != *packet || !listed {
            return Err(Refusal::ConsentElsewhere);
        }
        if now >= self.until || now.plus(CLOCK_SKEW) < self.at {
            return Err(Refusal::ConsentExpired);
        }
        Ok(())
    }

    /// Reads a consent whose signature was checked before it was kept.
    pub fn read_kept(bytes: &[u8]) -> Option<Self> {
        let signed = Sign1::parse(bytes, CONSENT_MAX).ok()?;
        cbor::strict(signed.unverified_payload(), CONSENT_MAX).ok()
    }

    /// Its name: SHA-256 of the signed bytes.
    pub fn digest(bytes: &[u8]) -> Digest {
        sha256(bytes)
    }
}

/// A consent as text, in the body that carries it.
pub fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Reads base64 in its one way of writing.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok().filter(|bytes| BASE64.encode(bytes) == text)
}

/// Whether a packet of `sender` on `flow` for `recipients` may say this about where its body comes from.
///
/// A sender may tighten the flow's handling code, never loosen it. Own data names the sender. What is passed on
/// names its origin, another party; where the handling code is `consent` it carries the origin's consent, unless
/// it goes back to the origin alone.
///
/// # Errors
/// [`Refusal::UnknownFlow`], [`Refusal::HandlingLoosened`], [`Refusal::OriginFalse`],
/// [`Refusal::ConsentMissing`], and those of [`Consent::verify`] and [`Consent::covers`].
pub fn admits(
    provenance: &Provenance,
    (covenant, keys): (&Compiled, &Keys),
    flow: &str,
    sender: Oin,
    recipients: &[Oin],
    now: Timestamp,
) -> Result<(), Refusal> {
    let document = covenant.covenant();
    let flow = covenant.flow(flow).ok_or(Refusal::UnknownFlow)?;
    let Provenance { origin, handling, source, consent } = provenance;
    if *handling < flow.handling {
        return Err(Refusal::HandlingLoosened);
    }
    let Some(source) = source else {
        return if *origin == sender && consent.is_none() { Ok(()) } else { Err(Refusal::OriginFalse) };
    };
    if *origin == sender || !document.parties.iter().any(|party| party.oin == *origin) {
        return Err(Refusal::OriginFalse);
    }
    match consent {
        Some(bytes) => {
            let consent = Consent::verify(bytes, covenant, keys, now)?;
            if consent.origin != *origin {
                return Err(Refusal::ConsentElsewhere);
            }
            consent.covers(sender, source, recipients, now)
        }
        None if *handling == Handling::Partners || recipients.iter().all(|oin| oin == origin) => Ok(()),
        None => Err(Refusal::ConsentMissing),
    }
}
