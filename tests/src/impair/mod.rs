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

use std::io;

pub use path::{Counts, Path};
pub use relay::{Conditions, Relay};

use crate::stage::{Member, Stage};

/// Starts a relay between a member's agent, which must not run yet, and the broker.
///
/// # Errors
/// When there is no socket for it, or the agent's settings cannot be written.
pub fn between(stage: &Stage, member: &Member, seed: u64) -> io::Result<Relay> {
    let broker = stage.address.parse().map_err(|_| io::Error::other("the broker listens at no address"))?;
    let relay = Relay::start(broker, seed)?;
    stage.route(member, &relay.address().to_string())?;
    Ok(relay)
}
