//! What recipients say of packets, so that each sender can check it without seeing what others sent.
//!
//! A recipient signs once for many packets: not the list, but the root of a tree over its items
//! (RFC 6962 §2.1). The broker gets the whole list; a sender gets its own items and the hashes that lead from
//! them to the signed root ([`Part`]), which say nothing of the others. One item with its path stands by itself
//! ([`Statement`]).
//!
//! Items are links of a chain for each packet and recipient: `stored` names the hash of the log entry that the
//! packet was accepted for this recipient with, `consumed` names the hash of the item that said `stored`.

use core::iter;

use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::ids::{Digest, MsgId, Oin, Thumbprint};
use crate::limits::{ACK_MAX, PROOF_MAX, SIGNED_ACK_MAX, SMALL_FRAME_MAX};
use crate::refusal::Refusal;
use crate::signing::{PublicKey, SigningKey};
use crate::time::Timestamp;
use crate::tlog::hash::leaf_hash;
use crate::tlog::proof::root_from_inclusion;
use crate::tlog::subset::{path_from_subset, root_from_subset, subset_proof};
use crate::tlog::tree::{BatchTree, Frontier};

/// The version of the format.
pub const FORMAT: u8 = 1;

/// What a recipient says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Said {
    /// It is on its stable storage.
    Stored,
    /// Its own application took the message over.
    Consumed,
}

impl From<Said> for u8 {
    fn from(said: Said) -> Self {
        match said {
            Said::Stored => 1,
            Said::Consumed => 2,
        }
    }
}

impl TryFrom<u8> for Said {
    type Error = &'static str;

    fn try_from(code: u8) -> Result<Self, &'static str> {
        match code {
            1 => Ok(Self::Stored),
            2 => Ok(Self::Consumed),
            _ => Err("an unknown code"),
        }
    }
}

/// What is said of one packet: `[said, msg_id, packet, outcome, previous]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Acknowledged {
    /// What.
    pub said: Said,
    /// The message.
    pub msg_id: MsgId,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// 0 when in order; otherwise the number of what is wrong with it, and it is quarantined.
    pub outcome: u16,
    /// Of `stored`: the hash, as a leaf of the log, of the entry the packet was accepted for this recipient with.
    /// Of `consumed`: the hash of the item that said `stored`.
    pub previous: Digest,
}

impl Acknowledged {
    /// That a packet is stored; `accepted` is the hash of its accepted entry.
    pub const fn stored(msg_id: MsgId, packet: Digest, outcome: u16, accepted: Digest) -> Self {
        Self { said: Said::Stored, msg_id, packet, outcome, previous: accepted }
    }

    /// That the message this item says is stored was taken over by the recipient's application.
    #[must_use]
    pub fn consumed(self) -> Self {
        Self { said: Said::Consumed, previous: self.hash(), ..self }
    }

    /// Its hash: SHA-256 of a zero byte and its encoding, as of a leaf in the tree that is signed.
    pub fn hash(&self) -> Digest {
        leaf_hash(&cbor::encode(self))
    }
}

/// What a recipient says of one or more packets at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The recipient.
    pub recipient: Oin,
    /// When it was signed.
    pub issued: Timestamp,
    /// 1 to [`ACK_MAX`] items.
    pub items: Vec<Acknowledged>,
}

/// What is signed of it: `[version, recipient, issued, count, root]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
struct Head {
    version: u8,
    recipient: Oin,
    issued: Timestamp,
    count: u16,
    root: Digest,
}

/// As it travels: `[signed, items]`.
#[derive(Serialize_tuple, Deserialize_tuple)]
struct Payload {
    signed: Bytes,
    items: Vec<Acknowledged>,
}

/// An acknowledgement whose signature was checked, with what its senders' parts are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What it says.
    pub acknowledgement: Acknowledgement,
    /// Its head as signed.
    pub signed: Bytes,
    /// The hashes of its items.
    pub leaves: Vec<Digest>,
}

impl Batch {
    /// The key that signed it.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin, never for one that was verified.
    pub fn signer(&self) -> Result<Thumbprint, Refusal> {
        Ok(Sign1::parse(&self.signed, SIGNED_ACK_MAX)?.kid())
    }
}

/// The tree over these hashes; there are at most [`ACK_MAX`].
fn tree(leaves: &[Digest]) -> BatchTree {
    let mut tree = BatchTree::new(Frontier::empty());
    for leaf in leaves {
        // Full at 2^63 leaves: a leaf that is not counted would show in the root.
        if tree.append(*leaf).is_err() {
            break;
        }
    }
    tree
}

impl Acknowledgement {
    /// Signs: the payload of an [`crate::frame::Kind::Acknowledge`] frame. The same bytes for the same content and key.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let signed = Bytes(self.sign_head(key));
        cbor::encode(&Payload { signed, items: self.items.clone() })
    }

    fn sign_head(&self, key: &SigningKey) -> Vec<u8> {
        let leaves: Vec<Digest> = self.items.iter().map(Acknowledged::hash).collect();
        let head = Head {
            version: FORMAT,
            recipient: self.recipient,
            issued: self.issued,
            count: u16::try_from(leaves.len()).unwrap_or(u16::MAX),
            root: tree(&leaves).root(),
        };
        Sign1::sign(key, Purpose::Acknowledgement, &cbor::encode(&head))
    }

    /// The statement about the only item.
    pub fn sign_one(recipient: Oin, issued: Timestamp, item: Acknowledged, key: &SigningKey) -> Statement {
        let signed = Bytes(Self { recipient, issued, items: vec![item] }.sign_head(key));
        Statement { version: FORMAT, signed, index: 0, item, path: Vec::new() }
    }

    /// The key that claims to have signed a frame's payload.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin.
    pub fn signer(bytes: &[u8]) -> Result<Thumbprint, Refusal> {
        let payload: Payload = cbor::strict(bytes, SMALL_FRAME_MAX)?;
        Ok(Sign1::parse(&payload.signed, SIGNED_ACK_MAX)?.kid())
    }

    /// Reads a frame's payload and checks that one of `keys` signed for exactly these items.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin, [`Refusal::UnknownKey`], [`Refusal::BadSignature`];
    /// [`Refusal::StatementUnlinked`] when another root was signed than that of the items.
    pub fn verify(bytes: &[u8], keys: &[PublicKey]) -> Result<Batch, Refusal> {
        let Payload { signed, items } = cbor::strict(bytes, SMALL_FRAME_MAX)?;
        let head = head(&signed, |kid| {
            keys.iter().find(|key| key.thumbprint() == kid).copied().ok_or(Refusal::UnknownKey)
        })?;
        if items.is_empty() || items.len() > ACK_MAX || items.iter().any(|item| item.said != Said::Stored) {
            return Err(Refusal::Malformed);
        }
        let leaves: Vec<Digest> = items.iter().map(Acknowledged::hash).collect();
        if usize::from(head.count) != items.len() || tree(&leaves).root() != head.root {
            return Err(Refusal::StatementUnlinked);
        }
        let acknowledgement = Self { recipient: head.recipient, issued: head.issued, items };
        Ok(Batch { acknowledgement, signed, leaves })
    }
}

/// Reads and verifies what was signed.
fn head(signed: &[u8], key: impl FnOnce(Thumbprint) -> Result<PublicKey, Refusal>) -> Result<Head, Refusal> {
    let signed = Sign1::parse(signed, SIGNED_ACK_MAX)?;
    let key = key(signed.kid())?;
    let head: Head = cbor::strict(signed.verify(&key, Purpose::Acknowledgement)?, SIGNED_ACK_MAX)?;
    if head.version == FORMAT { Ok(head) } else { Err(Refusal::UnknownVersion) }
}

/// Who signed what is verified, and when it says it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// The recipient.
    pub recipient: Oin,
    /// When, by its own clock.
    pub issued: Timestamp,
}

/// A sender's own items of one acknowledgement: `[signed, places, items, proof]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Part {
    /// The head as the recipient signed it.
    pub signed: Bytes,
    /// Where the items stand in the list, rising.
    pub places: Vec<u16>,
    /// The items.
    pub items: Vec<Acknowledged>,
    /// The hashes that lead from the items to the root, as of [`subset_proof`].
    pub proof: Vec<Digest>,
}

impl Part {
    /// The part with these items, which stand at `places` (rising) among `leaves`.
    pub fn new(signed: Bytes, leaves: &[Digest], places: Vec<u16>, items: Vec<Acknowledged>) -> Self {
        let tree = tree(leaves);
        let mut proof = Vec::new();
        // Every node is there; with a place that is not among the leaves the part would not verify.
        let complete = subset_proof(places.iter().copied().map(u64::from), tree.size(), &tree, &mut |hash| {
            proof.push(hash);
        });
        debug_assert!(complete.is_ok(), "places are among the leaves");
        Self { signed, places, items, proof }
    }

    /// The key that claims to have signed.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin.
    pub fn signer(&self) -> Result<Thumbprint, Refusal> {
        Ok(Sign1::parse(&self.signed, SIGNED_ACK_MAX)?.kid())
    }

    fn leaves(&self) -> impl Iterator<Item = (u64, Digest)> {
        iter::zip(self.places.iter().copied().map(u64::from), self.items.iter().map(Acknowledged::hash))
    }

    /// Checks that the key that `key` finds signed for these items.
    ///
    /// # Errors
    /// Those of `key`; [`Refusal::Malformed`] and its kin, [`Refusal::BadSignature`];
    /// [`Refusal::StatementUnlinked`] when the items do not lead to the signed root.
    pub fn verify(
        &self,
        key: impl FnOnce(Thumbprint) -> Result<PublicKey, Refusal>,
    ) -> Result<Signed, Refusal> {
        let head = head(&self.signed, key)?;
        let alike = self.places.len() == self.items.len() && !self.items.is_empty();
        if !alike || self.items.len() > ACK_MAX || usize::from(head.count) > ACK_MAX {
            return Err(Refusal::Malformed);
        }
        let root = root_from_subset(self.leaves(), u64::from(head.count), self.proof.iter().copied());
        if root == Ok(head.root) {
            Ok(Signed { recipient: head.recipient, issued: head.issued })
        } else {
            Err(Refusal::StatementUnlinked)
        }
    }

    /// One of the items with its own path, to stand by itself. None when the part does not verify.
    pub fn statement(&self, nth: usize) -> Option<Statement> {
        let (index, item) = (u64::from(*self.places.get(nth)?), *self.items.get(nth)?);
        let signed = Sign1::parse(&self.signed, SIGNED_ACK_MAX).ok()?;
        let head: Head = cbor::strict(signed.unverified_payload(), SIGNED_ACK_MAX).ok()?;
        let size = u64::from(head.count);
        let path = path_from_subset(index, self.leaves(), size, self.proof.iter().copied()).ok()?;
        Some(Statement { version: FORMAT, signed: self.signed.clone(), index, item, path })
    }
}

/// What a recipient said of one packet, verifiable by itself: `[1, signed, index, item, path]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Statement {
    /// Format version, 1.
    pub version: u8,
    /// The head as the recipient signed it.
    pub signed: Bytes,
    /// Where the item stands in the list that was signed.
    pub index: u64,
    /// The item.
    pub item: Acknowledged,
    /// The inclusion proof of the item, lowest hash first.
    pub path: Vec<Digest>,
}

impl Statement {
    /// Most bytes of one.
    pub const MAX: usize = SIGNED_ACK_MAX + 1024;

    /// The statement's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a statement's form; says nothing of its signature.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin, [`Refusal::UnknownVersion`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let statement: Self = cbor::strict(bytes, Self::MAX)?;
        if statement.version != FORMAT {
            return Err(Refusal::UnknownVersion);
        }
        if statement.path.len() > PROOF_MAX { Err(Refusal::TooLarge) } else { Ok(statement) }
    }

    /// Checks that the key that `key` finds signed for this item.
    ///
    /// # Errors
    /// Those of `key`; [`Refusal::Malformed`] and its kin, [`Refusal::BadSignature`];
    /// [`Refusal::StatementUnlinked`] when the item does not lead to the signed root.
    pub fn verify(
        &self,
        key: impl FnOnce(Thumbprint) -> Result<PublicKey, Refusal>,
    ) -> Result<Signed, Refusal> {
        let head = head(&self.signed, key)?;
        let leaf = self.item.hash();
        if root_from_inclusion(self.index, u64::from(head.count), &leaf, &self.path) == Ok(head.root) {
            Ok(Signed { recipient: head.recipient, issued: head.issued })
        } else {
            Err(Refusal::StatementUnlinked)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(fill: u8) -> Acknowledged {
        Acknowledged::stored(MsgId([fill; 16]), Digest([fill; 32]), 0, Digest([200; 32]))
    }

    fn acknowledgement(count: u8) -> Acknowledgement {
        Acknowledgement {
            recipient: "00000001003214345000".parse().unwrap(),
            issued: Timestamp(5),
            items: (0..count).map(item).collect(),
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[8; 32])
    }

    fn known(kid: Thumbprint) -> Result<PublicKey, Refusal> {
        if kid == key().public().thumbprint() { Ok(key().public()) } else { Err(Refusal::UnknownKey) }
    }

    #[test]
    fn an_acknowledgement_counts_only_with_its_recipients_signature() {
        let (ack, thief) = (acknowledgement(3), SigningKey::from_seed(&[9; 32]));
        let keys = [key().public()];
        let batch = Acknowledgement::verify(&ack.sign(&key()), &keys).unwrap();
        assert_eq!(batch.acknowledgement, ack);
        assert_eq!(ack.sign(&key()), ack.sign(&key()), "byte for byte the same");
        assert_eq!(Acknowledgement::verify(&ack.sign(&thief), &keys), Err(Refusal::UnknownKey));
        let empty = acknowledgement(0);
        assert_eq!(Acknowledgement::verify(&empty.sign(&key()), &keys), Err(Refusal::Malformed));
        let consumed = Acknowledgement { items: vec![item(1).consumed()], ..acknowledgement(1) };
        assert_eq!(Acknowledgement::verify(&consumed.sign(&key()), &keys), Err(Refusal::Malformed));
    }

    #[test]
    fn other_items_than_were_signed_are_refused() {
        let keys = [key().public()];
        let Payload { signed, items } =
            cbor::strict(&acknowledgement(3).sign(&key()), SMALL_FRAME_MAX).unwrap();
        let one_less = items[..2].to_vec();
        let one_more = [&items[..], &[item(9)]].concat();
        let swapped = vec![items[1], items[0], items[2]];
        let mut other = items;
        other[1].outcome = 504;
        for items in [one_less, one_more, swapped, other] {
            let bytes = cbor::encode(&Payload { signed: signed.clone(), items });
            assert_eq!(Acknowledgement::verify(&bytes, &keys), Err(Refusal::StatementUnlinked));
        }
    }

    #[test]
    fn a_part_proves_its_own_items_and_shows_no_others() {
        for count in [1_u8, 2, 3, 7, 8, 9] {
            let bytes = acknowledgement(count).sign(&key());
            let batch = Acknowledgement::verify(&bytes, &[key().public()]).unwrap();
            for mask in 1_u32..(1 << count) {
                let places: Vec<u16> = (0..u16::from(count)).filter(|at| mask >> at & 1 == 1).collect();
                let items: Vec<_> =
                    places.iter().map(|at| batch.acknowledgement.items[usize::from(*at)]).collect();
                let part = Part::new(batch.signed.clone(), &batch.leaves, places, items.clone());
                assert_eq!(part.verify(known).unwrap().recipient, batch.acknowledgement.recipient);
                for (nth, item) in items.iter().enumerate() {
                    let statement = part.statement(nth).unwrap();
                    assert_eq!(statement.item, *item);
                    assert!(statement.verify(known).is_ok());
                    assert_eq!(Statement::parse(&statement.to_bytes()), Ok(statement.clone()));
                    let moved = Statement { index: (statement.index + 1) % u64::from(count), ..statement };
                    assert_eq!(moved.verify(known).is_ok(), count == 1);
                }
                let mut changed = part.clone();
                changed.items[0].msg_id = MsgId([99; 16]);
                assert_eq!(changed.verify(known), Err(Refusal::StatementUnlinked));
            }
        }
    }

    #[test]
    fn every_flipped_byte_of_a_statement_is_refused() {
        let batch = Acknowledgement::verify(&acknowledgement(5).sign(&key()), &[key().public()]).unwrap();
        let part = Part::new(batch.signed, &batch.leaves, vec![2], vec![item(2)]);
        let bytes = part.statement(0).unwrap().to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let verified = Statement::parse(&changed).and_then(|one| one.verify(known).map(|_| one.item));
            assert!(verified.is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_is_consumed_links_to_what_was_stored() {
        let stored = item(1);
        let consumed = stored.consumed();
        assert_eq!((consumed.said, consumed.previous), (Said::Consumed, stored.hash()));
        let one = Acknowledgement::sign_one(acknowledgement(1).recipient, Timestamp(7), consumed, &key());
        assert_eq!(one.verify(known).unwrap().issued, Timestamp(7));
    }
}
