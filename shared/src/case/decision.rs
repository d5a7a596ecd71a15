//! One signed decision about a case.

use core::fmt;

use serde::de::{self, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::ensure;
use crate::cbor;
use crate::cose::{Purpose, Sign1};
use crate::covenant::{Step, is_code};
use crate::ids::{CaseId, Digest, Oin, Thumbprint};
use crate::limits::CASE_DECISION_MAX;
use crate::refusal::Refusal;
use crate::signing::{PublicKey, SigningKey, sha256};
use crate::time::Timestamp;

/// The version of a decision's form, its first element.
pub const FORMAT: u8 = 1;

/// What is decided: `["step", "2A"]`, `["close"]` or `["condition", "strafrechtelijk", true]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The case is in this step from now on.
    Step(Step),
    /// The case ends.
    Close,
    /// The party states that a condition of the covenant holds, or takes that back.
    Condition {
        /// The condition's code.
        code: String,
        /// Whether it holds, in this party's judgement.
        holds: bool,
    },
}

impl Serialize for Act {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Step(step) => ("step", step).serialize(serializer),
            Self::Close => ("close",).serialize(serializer),
            Self::Condition { code, holds } => ("condition", code, holds).serialize(serializer),
        }
    }
}

struct ActVisitor;

impl<'de> de::Visitor<'de> for ActVisitor {
    type Value = Act;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step, a close or a condition")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Act, A::Error> {
        let word: String = element(&mut seq)?;
        let act = match word.as_str() {
            "step" => Act::Step(element(&mut seq)?),
            "close" => Act::Close,
            "condition" => Act::Condition { code: element(&mut seq)?, holds: element(&mut seq)? },
            _ => return Err(de::Error::custom("neither step, close nor condition")),
        };
        // Elements too many are left for the round trip of [`cbor::strict`] to find.
        match &act {
            Act::Condition { code, .. } if !is_code(code) => Err(de::Error::custom("not a code")),
            Act::Step(_) | Act::Close | Act::Condition { .. } => Ok(act),
        }
    }
}

fn element<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| de::Error::custom("an element is missing"))
}

impl<'de> Deserialize<'de> for Act {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ActVisitor)
    }
}

/// A decision about a case: `[1, covenant, case, seq, previous, party, act, issued]`, signed by the party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CaseDecision {
    /// The form's version: [`FORMAT`].
    pub format: u8,
    /// The hash of the covenant version under which it is taken.
    pub covenant: Digest,
    /// The case.
    pub case: CaseId,
    /// Its place in the chain of the case, from 0.
    pub seq: u32,
    /// SHA-256 of the signed bytes of the decision before it; none exactly for the first.
    pub previous: Option<Digest>,
    /// Who decides.
    pub party: Oin,
    /// What is decided.
    pub act: Act,
    /// When it was signed.
    pub issued: Timestamp,
}

impl CaseDecision {
    /// Signs: the bytes that are sent, logged and named by the next decision.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        Sign1::sign(key, Purpose::Case, &cbor::encode(self))
    }

    /// What the bytes say before anything is known of their signature: enough to find the covenant version
    /// and the party's keys, and nothing to act upon.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`], [`Refusal::NotCanonical`], [`Refusal::UnknownVersion`].
    pub fn claimed(bytes: &[u8]) -> Result<Self, Refusal> {
        read(&Sign1::parse(bytes, CASE_DECISION_MAX)?)
    }

    /// The key that the bytes name, before anything is known of their signature.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`], [`Refusal::NotCanonical`].
    pub fn claimed_key(bytes: &[u8]) -> Result<Thumbprint, Refusal> {
        Ok(Sign1::parse(bytes, CASE_DECISION_MAX)?.kid())
    }

    /// Reads a decision and checks the signature of the party it names. `key_of` gives the key of that party
    /// with that name, if it has one: [`crate::covenant::Compiled::signing_key`].
    ///
    /// # Errors
    /// Those of [`CaseDecision::claimed`]; [`Refusal::UnknownKey`]; [`Refusal::BadSignature`].
    pub fn verify(
        bytes: &[u8],
        key_of: impl FnOnce(Oin, Thumbprint) -> Option<PublicKey>,
    ) -> Result<Verified, Refusal> {
        let signed = Sign1::parse(bytes, CASE_DECISION_MAX)?;
        let decision = read(&signed)?;
        let key = key_of(decision.party, signed.kid()).ok_or(Refusal::UnknownKey)?;
        signed.verify(&key, Purpose::Case)?;
        Ok(Verified { decision, digest: sha256(bytes), key: signed.kid() })
    }
}

fn read(signed: &Sign1) -> Result<CaseDecision, Refusal> {
    let decision: CaseDecision = cbor::strict(signed.unverified_payload(), CASE_DECISION_MAX)?;
    ensure(decision.format == FORMAT, Refusal::UnknownVersion)?;
    ensure(decision.previous.is_none() == (decision.seq == 0), Refusal::Malformed)?;
    Ok(decision)
}

/// A decision whose party's signature was checked. Only [`CaseDecision::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    decision: CaseDecision,
    digest: Digest,
    key: Thumbprint,
}

impl Verified {
    /// What it says.
    pub fn decision(&self) -> &CaseDecision {
        &self.decision
    }

    /// The key that signed it.
    pub fn key(&self) -> Thumbprint {
        self.key
    }

    /// SHA-256 of its signed bytes: its name in the chain.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
