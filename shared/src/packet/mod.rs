//! The packet: a sealed body and a signed statement about it. Encrypt, then sign.
//!
//! `packet = [1, statement: COSE_Sign1, sealed: COSE_Encrypt]`, both as byte strings, so that digests
//! and signatures are over the bytes as received. The statement binds the context (who, to whom, under
//! which flow, until when) and the digest of the sealed part; the context in turn is additional data of
//! every encryption, so neither half can be combined with another.

pub mod content;
pub mod padding;
mod sealed;
mod statement;

pub use content::{Content, Plain};
pub use sealed::{Hpke, HpkeError, Opened, SealRandomness, Sealed, open, seal};
pub use statement::{Context, Packet, Recipient, VerifiedPacket};

/// The packet format's version, first in every packet.
pub const VERSION: u8 = 1;
