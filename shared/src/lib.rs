//! What broker, agents and auditors must agree on byte for byte.
//!
//! Nothing here does IO, reads a clock or draws randomness: time and chance are arguments.
//! `ARCHITECTURE.md` at the top of the repository shows where each module stands on the path of a packet.
#![warn(missing_docs, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

pub mod acknowledgement;
pub mod case;
pub mod cbor;
pub mod cose;
pub mod covenant;
pub mod enrol;
pub mod entry;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod onward;
pub mod operation;
pub mod packet;
pub mod prekey;
pub mod receipt;
pub mod refusal;
pub mod rotation;
pub mod sealed_key;
pub mod signing;
pub mod succession;
pub mod time;
pub mod tlog;
pub mod wire;
