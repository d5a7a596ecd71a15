//! Bytes that came in on somebody's connection.

use std::sync::Arc;

use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::packet::Context;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;

/// Bytes and the organisation whose certificate the connection has. Nothing else is known.
#[derive(Debug, Clone)]
pub struct Received {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) peer: Oin,
}

impl Received {
    /// Takes in what came.
    pub fn new(bytes: Vec<u8>, peer: Oin) -> Self {
        Self { bytes: Arc::new(bytes), peer }
    }

    pub(super) fn reject(&self, refusal: Refusal, signed: Option<&Context>) -> Box<Rejected> {
        Box::new(Rejected {
            refusal,
            peer: self.peer,
            packet: sha256(&self.bytes),
            size: self.bytes.len(),
            signed: signed.cloned(),
        })
    }
}

/// Something that is not let through, with what the log may say about it.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Why.
    pub refusal: Refusal,
    /// Who sent it.
    pub peer: Oin,
    /// SHA-256 of what was sent.
    pub packet: Digest,
    /// Its length in bytes.
    pub size: usize,
    /// What the packet says of itself, but only once its signature was found good: the log repeats
    /// nobody's unsigned claims.
    pub signed: Option<Context>,
}
