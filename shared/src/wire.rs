//! The messages between agent and broker, as payloads of [`crate::frame`]s. `docs/protocol.md` tells the
//! conversation they make up.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::acknowledgement::Statement;
use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::covenant::agreement::Cast;
use crate::frame::{self, Kind};
use crate::ids::{CaseId, Digest, MsgId, Oin, Thumbprint};
use crate::limits::{TEXT_MAX, WITHDRAWAL_MAX};
use crate::refusal::Refusal;
use crate::rotation::Rotated;
use crate::signing::{PublicKey, SigningKey};
use crate::time::Timestamp;

pub use crate::acknowledgement::{Acknowledged, Acknowledgement};
pub use log::{
    CONSISTENCY_SIZES_MAX, Consistency, Cosigned, Entries, FetchConsistency, FetchEntries, FetchSuccession,
    Notices, NoticesTaken, Succession, Witnessed,
};

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

mod log;

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
    /// An organisation's application took a message over.
    Consume in Consume {
        /// What it signed ([`crate::acknowledgement::Statement`], of a list of one).
        statement: Statement,
        /// The log with the entry with which the packet was accepted for this organisation.
        origin: String,
        /// Index of the entry with which the packet was accepted for this organisation.
        accepted: u64,
    }
);

/// A sender's word that it takes a packet back: `[1, sender, msg_id, packet, issued, reason]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Withdrawal {
    /// Format version, 1.
    pub version: u8,
    /// The sender.
    pub sender: Oin,
    /// The message.
    pub msg_id: MsgId,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// When it was signed.
    pub issued: Timestamp,
    /// Why: a code of `a-z`, `0-9` and `_`, 1 to 64 characters.
    pub reason: String,
}

/// Whether a text is a code: 1 to 64 characters of `a-z`, `0-9` and `_`.
pub fn is_code(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=TEXT_MAX).contains(&text.len()) && text.bytes().all(plain)
}

impl Withdrawal {
    /// Signs: the payload of a [`Kind::Withdraw`] frame. The same bytes for the same content and key.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        Sign1::sign(key, Purpose::Withdrawal, &cbor::encode(self))
    }

    /// Reads one and checks that the key that `key` finds signed it.
    ///
    /// # Errors
    /// Those of `key`; [`Refusal::Malformed`] and its kin, [`Refusal::BadSignature`].
    pub fn verify(
        bytes: &[u8],
        key: impl FnOnce(Thumbprint) -> Result<PublicKey, Refusal>,
    ) -> Result<Self, Refusal> {
        let signed = Sign1::parse(bytes, WITHDRAWAL_MAX)?;
        let key = key(signed.kid())?;
        let said: Self = cbor::strict(signed.verify(&key, Purpose::Withdrawal)?, WITHDRAWAL_MAX)?;
        if said.version != 1 {
            return Err(Refusal::UnknownVersion);
        }
        if is_code(&said.reason) { Ok(said) } else { Err(Refusal::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acknowledgement::Part;
    use crate::limits::{
        ACK_MAX, CHECKPOINT_MAX, ENTRIES_PAGE, ENTRY_MAX, NOTICE_ENTRIES_MAX, SIGNED_ACK_MAX,
    };
    use crate::receipt::ProvedEntry;

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
        let item = Acknowledged::stored(MsgId([255; 16]), Digest([255; 32]), u16::MAX, Digest([255; 32]));
        let recipient = "00000001003214345000".parse().unwrap();
        let ack = Acknowledgement { recipient, issued: Timestamp(u64::MAX), items: vec![item; ACK_MAX] };
        let bytes = ack.sign(&SigningKey::from_seed(&[8; 32]));
        assert!(frame::encode(Kind::Acknowledge, &bytes).is_ok());
    }

    #[test]
    fn full_notices_entries_and_requests_fit_their_frames() {
        let item = Acknowledged::stored(MsgId([255; 16]), Digest([255; 32]), u16::MAX, Digest([255; 32]));
        let part = Part {
            signed: Bytes(vec![1; SIGNED_ACK_MAX]),
            places: vec![u16::MAX],
            items: vec![item],
            proof: vec![Digest([255; 32]); 16],
        };
        let notices = Notices {
            cursor: u64::MAX,
            checkpoint: Bytes(vec![1; CHECKPOINT_MAX]),
            indexes: vec![u64::MAX; NOTICE_ENTRIES_MAX],
            entries: vec![Bytes(vec![1; ENTRY_MAX]); NOTICE_ENTRIES_MAX],
            proof: vec![Digest([255; 32]); 64 * NOTICE_ENTRIES_MAX],
            parts: vec![part; NOTICE_ENTRIES_MAX],
        };
        assert!(notices.to_frame().is_ok());
        let entry = Bytes(vec![1; ENTRY_MAX]);
        let one = ProvedEntry { index: u64::MAX, entry, path: vec![Digest([255; 32]); 64] };
        let entries = vec![one; ENTRIES_PAGE];
        let checkpoint = Bytes(vec![1; CHECKPOINT_MAX]);
        assert!(Entries { checkpoint, entries, next: Some(u64::MAX) }.to_frame().is_ok());
        let text = Some("x".repeat(64));
        let time = Some(Timestamp(u64::MAX));
        let fetch = FetchEntries {
            origin: Some("x".repeat(128)),
            first: u64::MAX,
            one: true,
            from: time,
            until: time,
            kind: text.clone(),
            flow: text,
        };
        assert!(fetch.to_frame().is_ok());
        assert!(NoticesTaken { cursor: u64::MAX }.to_frame().is_ok());
        let key = SigningKey::from_seed(&[8; 32]);
        let recipient = "00000001003214345000".parse().unwrap();
        let statement = Acknowledgement::sign_one(recipient, Timestamp(u64::MAX), item.consumed(), &key);
        assert!(statement.signed.len() <= SIGNED_ACK_MAX);
        assert!(Consume { statement, origin: "x".repeat(128), accepted: u64::MAX }.to_frame().is_ok());
    }

    #[test]
    fn a_withdrawal_counts_only_with_its_signature_and_a_code() {
        let key = SigningKey::from_seed(&[8; 32]);
        let known =
            |kid| if kid == key.public().thumbprint() { Ok(key.public()) } else { Err(Refusal::UnknownKey) };
        let said = Withdrawal {
            version: 1,
            sender: "00000001003214345000".parse().unwrap(),
            msg_id: MsgId([255; 16]),
            packet: Digest([255; 32]),
            issued: Timestamp(u64::MAX),
            reason: "x".repeat(64),
        };
        let bytes = said.sign(&key);
        assert!(frame::encode(Kind::Withdraw, &bytes).is_ok());
        assert_eq!(Withdrawal::verify(&bytes, known), Ok(said.clone()));
        let thief = SigningKey::from_seed(&[9; 32]);
        assert_eq!(Withdrawal::verify(&said.sign(&thief), known), Err(Refusal::UnknownKey));
        for reason in ["", "A", "a b", "a-b"] {
            let said = Withdrawal { reason: reason.into(), ..said.clone() };
            assert_eq!(Withdrawal::verify(&said.sign(&key), known), Err(Refusal::Malformed), "{reason}");
        }
        let next = Withdrawal { version: 2, ..said };
        assert_eq!(Withdrawal::verify(&next.sign(&key), known), Err(Refusal::UnknownVersion));
    }
}
