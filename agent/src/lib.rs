//! The agent's shell: it reads, makes durable and sends what `seinhuis-agent-core` decides.
//!
//! One thread ([`engine`]) owns core and store: it drains inputs, makes the turn durable with one flush, and
//! only then lets anything out. [`link`] keeps the session with the broker, [`hpke`] and [`secrets`] are the
//! cryptography the core is lent, [`commands`] is what people type. [`Agent`] is the whole as a library.

pub mod agent;
pub mod commands;
pub mod config;
pub mod engine;
#[cfg(test)]
mod fixture;
pub mod home;
pub mod hpke;
mod ldv;
pub mod link;
pub mod secrets;
pub mod ways;

pub use agent::{Agent, AgentHandle, AgentOptions, PushError};
pub use commands::run;
pub use engine::{AgentEvent, Decided};
pub use seinhuis_agent_core::{Event, PushRequest, Pushed, Rejection, Stage, Status, Target};
pub use ways::folders::csv::bodies as csv_bodies;

/// Name and version, as the broker sees it.
pub const SOFTWARE: &str = concat!("seinhuis-agent/", env!("CARGO_PKG_VERSION"));
