//! A UDP relay that does to datagrams what networks do: it delays, loses, doubles, reorders and damages them, drops
//! large ones, and gives a sender another source port. Each of it in either direction, and changed while it runs.
//!
//! An agent reaches its broker through a [`Relay`] when its `[transport] broker` names [`Relay::address`]. It
//! works on loopback and needs no rights. What becomes of the n-th datagram follows from the seed; which datagram
//! is the n-th, from the processes at both ends.

mod path;
mod relay;
#[cfg(test)]
mod tests;

pub use path::{Counts, Path};
pub use relay::{Conditions, Relay};
