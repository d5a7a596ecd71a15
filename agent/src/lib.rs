//! The agent: what a partner runs. See `ARCHITECTURE.md` for the path of a packet.

pub mod hpke;
