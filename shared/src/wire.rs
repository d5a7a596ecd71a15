//! The messages between agent and broker, as payloads of [`crate::frame`]s. `docs/protocol.md` tells the
//! conversation they make up.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::covenant::agreement::Cast;
use crate::frame::{self, Kind};
use crate::ids::{CaseId, Digest, MsgId, Oin};
use crate::limits::{ACK_MAX, SMALL_FRAME_MAX};
use crate::refusal::Refusal;
use crate::rotation::Rotated;
use crate::signing::{PublicKey, SigningKey};
use crate::time::Timestamp;

/// The version of the conversation, in hello and welcome.
pub const VERSION: u8 = 1;

/// A message that is the payload of one kind of frame.
pub trait Message: Serialize + DeserializeOwned {
    /// The kind of frame it travels in.
    const KIND: Kind;

    /// The whole frame.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`].
    fn to_frame(&self) -> Result<Vec<u8>, Refusal> {
        frame::encode(Self::KIND, &cbor::encode(self))
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`], [`Refusal::NotCanonical`].
    fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        Ok(cbor::strict(payload, Self::KIND.limit())?)
    }
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident in $kind:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Message for $name {
            const KIND: Kind = Kind::$kind;
        }
    };
}

message!(
    /// The agent's first message. Who it is, is in its certificate.
    Hello in Hello {
        /// [`VERSION`].
        version: u8,
        /// Name and version of the software, for the operator.
        software: String,
        /// The largest checkpoint this agent cosigned for this log, as the log signed it; empty if there is none.
        cosigned: Bytes,
    }
);

message!(
    /// The broker's answer: from here on the connection is usable.
    Welcome in Welcome {
        /// [`VERSION`].
        version: u8,
        /// Name and version of the software.
        software: String,
        /// The exchange log's origin.
        origin: String,
        /// The log's verifier key (C2SP signed-note vkey).
        log_key: String,
        /// The broker's clock, to notice a wrong one early.
        now: Timestamp,
        /// The newest signed checkpoint.
        checkpoint: Bytes,
        /// How the covenants stand that name this organisation.
        agreements: Vec<Known>,
    }
);

/// A version of a covenant the broker knows: `[hash, votes, rotations]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Known {
    /// Its hash.
    pub hash: Digest,
    /// How many votes on it are logged. Who knows fewer fetches it again.
    pub votes: u32,
    /// How many rotations of keys in the lines of those it pins are logged. The same.
    pub rotations: u32,
}

message!(
    /// How the covenants stand that name this organisation. Sent before anything that rests on it.
    Agreements in Agreements {
        /// Every one of them.
        agreements: Vec<Known>,
    }
);

message!(
    /// A request is refused. Carries a number and nothing else.
    Refuse in Refuse {
        /// The refusal's number.
        reason: u16,
        /// When to try again, if that makes sense, in milliseconds from now.
        retry_after: Option<u64>,
    }
);

message!(
    /// What became of a submitted packet; final, and the same bytes for the same packet ever after.
    Verdict in Verdict {
        /// SHA-256 of the packet as submitted.
        packet: Digest,
        /// 0 when accepted, otherwise the refusal's number.
        outcome: u16,
        /// The receipt ([`crate::receipt::Receipt`]): the log entries that say so, proved.
        receipt: Bytes,
    }
);

message!(
    /// Not now: nothing was recorded and the same bytes may be submitted again.
    Deferred in Deferred {
        /// SHA-256 of the packet as submitted.
        packet: Digest,
        /// Why, a passing refusal.
        reason: u16,
        /// When to try again, in milliseconds from now.
        retry_after: u64,
    }
);

message!(
    /// A packet for the agent.
    Offer in Offer {
        /// The packet exactly as its sender submitted it.
        packet: Bytes,
        /// Proof that its acceptance for this recipient is in the log.
        receipt: Bytes,
    }
);

message!(
    /// Asks for the newest prekey bundles of other parties.
    FetchPrekeys in FetchPrekeys {
        /// Whose.
        oins: Vec<Oin>,
    }
);

message!(
    /// Prekey bundles, each as signed by its owner; none for an organisation without one.
    Prekeys in Prekeys {
        /// Owner and bundle.
        bundles: Vec<(Oin, Bytes)>,
    }
);

message!(
    /// Asks for a covenant.
    FetchCovenant in FetchCovenant {
        /// Its hash.
        hash: Digest,
    }
);

message!(
    /// A covenant and what its parties said of it.
    Covenant in Covenant {
        /// The document in canonical form.
        document: Bytes,
        /// The votes, in the order of the log.
        casts: Vec<Cast>,
        /// The rotations in the lines of the keys it pins, in the order of the log.
        rotations: Vec<Rotated>,
    }
);

message!(
    /// The rotations in the line of the key that was just given up, that one among them.
    Rotations in Rotations {
        /// From the first on.
        rotations: Vec<Rotated>,
    }
);

message!(
    /// Asks for what was decided about a case.
    FetchCase in FetchCase {
        /// Which.
        case: CaseId,
    }
);

/// A decision about a case as the broker logged it: `[decision, at]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Decided {
    /// The decision exactly as its party signed it ([`crate::case::CaseDecision`]).
    pub decision: Bytes,
    /// The time of its log entry: it counts from then on.
    pub at: Timestamp,
}

message!(
    /// Everything that was decided about a case.
    Case in Case {
        /// The decisions, in order.
        decisions: Vec<Decided>,
    }
);

/// How far a case is: `[case, decisions]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CaseHead {
    /// The case.
    pub case: CaseId,
    /// How many decisions about it are logged. Who knows fewer fetches them again.
    pub decisions: u32,
}

message!(
    /// Cases about which something was decided, of those that were asked for in this session. Sent before
    /// anything that rests on it.
    Cases in Cases {
        /// These cases.
        cases: Vec<CaseHead>,
    }
);

message!(
    /// Asks for proofs that trees of rising sizes extend each other.
    FetchConsistency in FetchConsistency {
        /// The log's origin.
        origin: String,
        /// 2 to 32 sizes, each larger than the one before; the last at most the log's size.
        sizes: Vec<u64>,
    }
);

message!(
    /// One consistency proof for each pair of neighbouring sizes.
    Consistency in Consistency {
        /// The proofs, in order.
        proofs: Vec<Vec<Digest>>,
    }
);

message!(
    /// Asks what followed on a log that is closed.
    FetchSuccession in FetchSuccession {
        /// The log's origin.
        origin: String,
        /// The size of the tree that is pinned; 0 when none is.
        size: u64,
    }
);

message!(
    /// One log followed on another ([`crate::succession`]).
    Succession in Succession {
        /// The next log's origin.
        origin: String,
        /// Receipt of the closing entry, under the old log's final checkpoint.
        closing: Bytes,
        /// Receipt of the opening entry, under a checkpoint of the next log.
        opening: Bytes,
        /// The consistency proof from the pinned size to the final one; empty when there is none, as for size 0.
        proof: Vec<Digest>,
    }
);

/// The most sizes one [`FetchConsistency`] may name.
pub const CONSISTENCY_SIZES_MAX: usize = 32;

message!(
    /// A witness' answer to a checkpoint it was asked to cosign, as over HTTP (C2SP tlog-witness).
    Cosigned in Cosigned {
        /// The status: 200 when it cosigned.
        status: u16,
        /// Signature lines with 200, a size with 409, otherwise nothing.
        body: Bytes,
    }
);

message!(
    /// A checkpoint that was cosigned by as many witnesses as a covenant asks.
    Witnessed in Witnessed {
        /// The covenant.
        covenant: Digest,
        /// The checkpoint with the cosignatures (C2SP signed note).
        note: Bytes,
    }
);

/// One packet in an acknowledgement: `[msg_id, packet, outcome]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Acknowledged {
    /// The message.
    pub msg_id: MsgId,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// 0 when stored; otherwise the number of what is wrong with it, and it is quarantined.
    pub outcome: u16,
}

/// A recipient's signed acknowledgement: these packets are on its stable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Acknowledgement {
    /// Format version, 1.
    pub version: u8,
    /// The recipient.
    pub recipient: Oin,
    /// When it was signed.
    pub issued: Timestamp,
    /// 1 to [`ACK_MAX`] packets.
    pub items: Vec<Acknowledged>,
}

impl Acknowledgement {
    /// Signs: the payload of an [`Kind::Acknowledge`] frame.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        Sign1::sign(key, Purpose::Acknowledgement, &cbor::encode(self))
    }

    /// Reads an acknowledgement and checks that one of `keys` signed it.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin, [`Refusal::UnknownKey`], [`Refusal::BadSignature`].
    pub fn verify(bytes: &[u8], keys: &[PublicKey]) -> Result<Self, Refusal> {
        let signed = Sign1::parse(bytes, SMALL_FRAME_MAX)?;
        let key = keys.iter().find(|key| key.thumbprint() == signed.kid()).ok_or(Refusal::UnknownKey)?;
        let ack: Self = cbor::strict(signed.verify(key, Purpose::Acknowledgement)?, SMALL_FRAME_MAX)?;
        if ack.version != 1 {
            return Err(Refusal::UnknownVersion);
        }
        if ack.items.is_empty() || ack.items.len() > ACK_MAX {
            return Err(Refusal::Malformed);
        }
        Ok(ack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_counts_only_with_its_recipients_signature() {
        let key = SigningKey::from_seed(&[8; 32]);
        let thief = SigningKey::from_seed(&[9; 32]);
        let ack = Acknowledgement {
            version: 1,
            recipient: "00000001003214345000".parse().unwrap(),
            issued: Timestamp(5),
            items: vec![Acknowledged { msg_id: MsgId([1; 16]), packet: Digest([2; 32]), outcome: 0 }],
        };
        let bytes = ack.sign(&key);
        assert_eq!(Acknowledgement::verify(&bytes, &[key.public()]), Ok(ack.clone()));
        assert_eq!(Acknowledgement::verify(&ack.sign(&thief), &[key.public()]), Err(Refusal::UnknownKey));
        let empty = Acknowledgement { items: vec![], ..ack };
        assert_eq!(Acknowledgement::verify(&empty.sign(&key), &[key.public()]), Err(Refusal::Malformed));
    }

    #[test]
    fn the_largest_consistency_question_and_answer_fit_their_frames() {
        use crate::limits::PROOF_MAX;
        let sizes = (0..CONSISTENCY_SIZES_MAX as u64).map(|n| u64::MAX - n).collect();
        let origin = "o".repeat(128);
        assert!(FetchConsistency { origin: origin.clone(), sizes }.to_frame().is_ok());
        assert!(FetchSuccession { origin, size: u64::MAX }.to_frame().is_ok());
        let proofs = vec![vec![Digest([255; 32]); PROOF_MAX]; CONSISTENCY_SIZES_MAX - 1];
        assert!(Consistency { proofs }.to_frame().is_ok());
    }

    #[test]
    fn the_largest_list_of_covenants_and_the_largest_covenant_fit_their_frames() {
        use crate::covenant::limits::PARTIES_MAX;
        use crate::limits::{AGREEMENTS_MAX, COVENANT_MAX, VOTE_MAX, VOTES_PER_PARTY};
        use crate::limits::{ROTATION_MAX, ROTATIONS_MAX};
        let known = Known { hash: Digest([255; 32]), votes: u32::MAX, rotations: u32::MAX };
        assert!(Agreements { agreements: vec![known; AGREEMENTS_MAX] }.to_frame().is_ok());
        let cast = Cast { vote: Bytes(vec![1; VOTE_MAX]), at: Timestamp(u64::MAX) };
        let casts = vec![cast; PARTIES_MAX * VOTES_PER_PARTY];
        let rotated = Rotated { rotation: Bytes(vec![1; ROTATION_MAX]), at: Timestamp(u64::MAX) };
        let rotations = vec![rotated.clone(); PARTIES_MAX * ROTATIONS_MAX];
        assert!(Covenant { document: Bytes(vec![1; COVENANT_MAX]), casts, rotations }.to_frame().is_ok());
        assert!(Rotations { rotations: vec![rotated; ROTATIONS_MAX] }.to_frame().is_ok());
    }

    #[test]
    fn the_longest_chain_of_a_case_fits_its_frame() {
        use crate::limits::{CASE_DECISION_MAX, CASE_DECISIONS_MAX};
        let decision = Bytes(vec![1; CASE_DECISION_MAX]);
        let decided = Decided { decision, at: Timestamp(u64::MAX) };
        assert!(Case { decisions: vec![decided; CASE_DECISIONS_MAX] }.to_frame().is_ok());
        assert!(FetchCase { case: CaseId([255; 16]) }.to_frame().is_ok());
    }

    #[test]
    fn a_full_acknowledgement_fits_its_frame() {
        let item = Acknowledged { msg_id: MsgId([255; 16]), packet: Digest([255; 32]), outcome: u16::MAX };
        let ack = Acknowledgement {
            version: 1,
            recipient: "00000001003214345000".parse().unwrap(),
            issued: Timestamp(u64::MAX),
            items: vec![item; ACK_MAX],
        };
        let bytes = ack.sign(&SigningKey::from_seed(&[8; 32]));
        assert!(frame::encode(Kind::Acknowledge, &bytes).is_ok());
    }
}
