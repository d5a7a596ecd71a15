//! Frames: how messages follow each other on a QUIC stream.
//!
//! `frame = length: u32 big-endian, kind: u8, payload`, where `length` counts kind and payload. The bound
//! on a frame depends on its kind and is checked on the header, before anything is read or reserved.

use crate::limits::{
    AGREEMENT_MAX, CASE_CHAIN_MAX, CASE_DECISION_MAX, CHECKPOINT_MAX, COSIGNED_MAX, COVENANT_MAX,
    ENTRIES_MAX, FRAME_MAX, NOTICES_MAX, ROTATION_MAX, ROTATIONS_LINE_MAX, SMALL_FRAME_MAX, VOTE_MAX,
    WITHDRAWAL_MAX, WITNESSED_MAX,
};
use crate::refusal::Refusal;

/// Length of the header: the length field and the kind.
pub const HEADER_LEN: usize = 5;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $limit:expr;)*) => {
        /// What a frame carries. Codes are part of the protocol and never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $code,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            #[expect(clippy::as_conversions, reason = "reading the discriminant of a fieldless repr(u8) enum")]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// Most bytes of payload.
            pub const fn limit(self) -> usize {
                match self { $(Self::$name => $limit,)* }
            }
        }
    };
}

kinds! {
    /// Agent: opens the session, on the first bidirectional stream.
    Hello = 0x01, 1024 + CHECKPOINT_MAX;
    /// Broker: the session is usable.
    Welcome = 0x02, SMALL_FRAME_MAX;
    /// Either: the request on this stream is refused.
    Refuse = 0x03, 256;
    /// Agent, on a submission lane: one packet.
    Submit = 0x10, FRAME_MAX;
    /// Broker, on a submission lane: what became of a packet, with its receipt.
    Verdict = 0x11, 2 * SMALL_FRAME_MAX;
    /// Broker, on a submission lane: not now; nothing was recorded, try the same bytes later.
    Deferred = 0x12, 256;
    /// Broker, on its delivery stream: one packet with its receipt.
    Offer = 0x20, FRAME_MAX;
    /// Broker, on its delivery stream: how the covenants stand, whenever that changes.
    Agreements = 0x22, SMALL_FRAME_MAX;
    /// Broker, on its delivery stream: cases that were decided about.
    Cases = 0x23, SMALL_FRAME_MAX;
    /// Broker, on its delivery stream: a checkpoint to cosign, as a C2SP tlog-witness request.
    AddCheckpoint = 0x24, SMALL_FRAME_MAX;
    /// Broker, on its delivery stream: a checkpoint that the quorum of a covenant cosigned.
    Witnessed = 0x26, WITNESSED_MAX + 64;
    /// Agent, on its acknowledgement stream: packets stored, or found wanting.
    Acknowledge = 0x21, SMALL_FRAME_MAX;
    /// Broker, on its delivery stream: what became of packets the agent sent, with its proof.
    Notices = 0x25, NOTICES_MAX;
    /// Agent: publishes its prekey bundle.
    PublishPrekeys = 0x30, SMALL_FRAME_MAX;
    /// Broker: what was asked is done and recorded.
    Done = 0x31, 0;
    /// Agent: asks for prekey bundles.
    FetchPrekeys = 0x32, 1024;
    /// Broker: prekey bundles.
    Prekeys = 0x33, 2 * SMALL_FRAME_MAX;
    /// Agent: asks for a covenant by its hash.
    FetchCovenant = 0x34, 64;
    /// Broker: a covenant with what its parties said of it.
    Covenant = 0x35, AGREEMENT_MAX;
    /// Agent: asks for consistency proofs between rising tree sizes.
    FetchConsistency = 0x36, 640;
    /// Broker: the proofs, one for each pair of neighbouring sizes.
    Consistency = 0x37, 4 * SMALL_FRAME_MAX;
    /// Agent: proposes a version of a covenant, in canonical form.
    Propose = 0x38, COVENANT_MAX;
    /// Agent: its organisation's word about a version.
    Vote = 0x39, VOTE_MAX;
    /// Agent: its organisation's decision about a case.
    Decide = 0x3a, CASE_DECISION_MAX;
    /// Agent: asks for what was decided about a case.
    FetchCase = 0x3b, 64;
    /// Broker: every decision about a case.
    Case = 0x3c, CASE_CHAIN_MAX;
    /// Agent: its organisation gives up a signing key for another.
    Rotate = 0x3d, ROTATION_MAX;
    /// Broker: every change in the line of that key.
    Rotations = 0x3e, ROTATIONS_LINE_MAX;
    /// Agent: its answer, as a witness, to a checkpoint it was asked to cosign.
    Cosigned = 0x40, COSIGNED_MAX + 64;
    /// Agent: its organisation takes back a packet that was not delivered.
    Withdraw = 0x41, WITHDRAWAL_MAX;
    /// Agent: its organisation's application took a message over.
    Consume = 0x42, 1024;
    /// Agent: asks for log entries its organisation is party to.
    FetchEntries = 0x43, 512;
    /// Broker: log entries, each with its proof.
    Entries = 0x44, ENTRIES_MAX;
    /// Agent, on its acknowledgement stream: notices up to here are kept.
    NoticesTaken = 0x45, 16;
    /// Agent: asks what followed on a log that is closed.
    FetchSuccession = 0x46, 256;
    /// Broker: the last entry of that log and the first of the next.
    Succession = 0x47, 2 * SMALL_FRAME_MAX;
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// How many bytes of payload follow.
    pub length: usize,
}

impl Header {
    /// Reads a header and holds it to the bound of its kind.
    ///
    /// # Errors
    /// [`Refusal::UnexpectedMessage`] for an unknown kind, [`Refusal::TooLarge`], [`Refusal::Malformed`].
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, Refusal> {
        let [a, b, c, d, code] = bytes;
        let kind =
            Kind::ALL.iter().copied().find(|kind| kind.code() == code).ok_or(Refusal::UnexpectedMessage)?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Refusal::TooLarge)?;
        let length = length.checked_sub(1).ok_or(Refusal::Malformed)?;
        if length > kind.limit() {
            return Err(Refusal::TooLarge);
        }
        Ok(Self { kind, length })
    }
}

/// A whole frame.
///
/// # Errors
/// [`Refusal::TooLarge`] when the payload is over the bound of its kind.
pub fn encode(kind: Kind, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
    let length = payload.len().checked_add(1).and_then(|n| u32::try_from(n).ok()).ok_or(Refusal::TooLarge)?;
    if payload.len() > kind.limit() {
        return Err(Refusal::TooLarge);
    }
    let mut out = Vec::with_capacity(payload.len().saturating_add(HEADER_LEN));
    out.extend(length.to_be_bytes());
    out.push(kind.code());
    out.extend(payload);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_held_to_the_bound_of_its_kind() {
        for kind in Kind::ALL {
            let header = |length: usize| {
                let [a, b, c, d] = u32::try_from(length + 1).unwrap().to_be_bytes();
                Header::parse([a, b, c, d, kind.code()])
            };
            assert_eq!(header(kind.limit()), Ok(Header { kind: *kind, length: kind.limit() }));
            assert_eq!(header(kind.limit() + 1), Err(Refusal::TooLarge), "{kind:?}");
            assert_eq!(encode(*kind, &vec![0; kind.limit() + 1]), Err(Refusal::TooLarge), "{kind:?}");
        }
        assert_eq!(Header::parse([0, 0, 0, 0, 1]), Err(Refusal::Malformed));
        assert_eq!(Header::parse([0, 0, 0, 1, 0]), Err(Refusal::UnexpectedMessage));
    }

    #[test]
    fn codes_are_unique() {
        let codes: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
    }
}
