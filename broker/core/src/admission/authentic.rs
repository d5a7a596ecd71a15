//! Syntax, identity and signature: what can be checked in parallel, with the directory alone.

use std::sync::Arc;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::packet::{Context, Packet, VerifiedPacket};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::PublicKey;

use super::received::{Received, Rejected};
use crate::directory::Directory;

/// A packet of the right form, from the organisation whose connection it came in on, signed by a key
/// that the covenant it names gives to that organisation.
#[derive(Debug, Clone)]
pub struct Authentic {
    received: Received,
    packet: VerifiedPacket,
}

impl Received {
    /// Examines form, identity and signature; costs one signature check.
    ///
    /// # Errors
    /// A [`Rejected`] with a number from 101 to 205, or 401 and 403 when the covenant it names is
    /// unknown or does not know the sender.
    pub fn authenticate(self, directory: &Directory) -> Result<Box<Authentic>, Box<Rejected>> {
        let packet = Packet::parse(&self.bytes).map_err(|refusal| self.reject(refusal, None))?;
        let key = self.identify(&packet, directory).map_err(|refusal| self.reject(refusal, None))?;
        let packet = packet.verify(&key).map_err(|refusal| self.reject(refusal, None))?;
        Ok(Box::new(Authentic { received: self, packet }))
    }

    fn identify(&self, packet: &Packet, directory: &Directory) -> Result<PublicKey, Refusal> {
        let context = packet.context();
        if context.sender != self.peer {
            return Err(Refusal::SenderNotConnection);
        }
        directory.partner(&self.peer)?;
        let covenant = directory.covenant(&context.covenant)?.compiled();
        if covenant.role_of(context.sender).is_none() {
            return Err(Refusal::NotAParty);
        }
        // Whether the key still counts is judged later: what was accepted under it gets its answer again.
        let keys = directory.agreements.keys();
        keys.holds(covenant, context.sender, context.signer).ok_or(Refusal::UnknownKey)
    }
}

impl Authentic {
    /// What the packet says of itself.
    pub fn context(&self) -> &Context {
        self.packet.context()
    }

    /// SHA-256 of the whole packet.
    pub fn digest(&self) -> Digest {
        self.packet.digest()
    }

    /// SHA-256 of the statement.
    pub fn statement_digest(&self) -> Digest {
        self.packet.statement_digest()
    }

    /// Length in bytes of the encrypted content.
    pub fn content_length(&self) -> usize {
        self.packet.content_length()
    }

    /// The packet as submitted.
    pub const fn bytes(&self) -> &Arc<Vec<u8>> {
        &self.received.bytes
    }

    /// Turns it down; its signed context may go into the log.
    pub(crate) fn reject(&self, refusal: Refusal) -> Box<Rejected> {
        self.received.reject(refusal, Some(self.context()))
    }
}
