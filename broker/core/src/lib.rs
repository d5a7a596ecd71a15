//! Every decision of the broker.
//!
//! [`Core::handle`] takes one input at a time and records what it leads to in a [`Turn`]: writes, log
//! entries and sends. [`Core::seal`] closes the turn with the log's new head; the shell signs it, makes
//! the turn durable in one journal record, and only then calls [`Core::committed`] for the sends. Nothing
//! is sent that is not durable, and nothing here does IO, reads a clock or draws randomness.
//!
//! All state changes are [`Write`]s, applied by the same code when they are made and when they are read
//! back at start-up: recovery is the normal path.
#![warn(missing_docs, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

pub mod admission;
mod cases;
mod core;
mod covenants;
mod directory;
mod ends;
mod fair;
mod in_flight;
mod input;
mod mailbox;
mod notices;
mod operator;
mod outcomes;
mod packets;
mod past;
mod quota;
mod requests;
mod rotations;
mod sequencer;
mod session;
mod shards;
mod start;
mod state;
mod suspension;
#[cfg(test)]
mod tests;
mod turn;
mod upkeep;
mod witnesses;
mod write;

pub use crate::cases::Cases;
pub use crate::core::{Config, Core, Overview, RestoreError};
pub use directory::{Directory, Partner};
pub use ends::{Consumed, End, TakeBack};
pub use fair::{Fair, work};
pub use in_flight::Cause;
pub use input::{Ask, ConnId, Input, LaneId, RequestId};
pub use mailbox::MailItem;
pub use notices::{NoticeRow, PartRow};
pub use operator::{Answer, Command, CommandId, PartnerRow, QueueRow};
pub use past::Offset;
pub use quota::{PutOff, Quota, QuotaRow, Rate};
pub use sequencer::Sealed;
pub use shards::{Closing, Shard};
pub use start::{Claim, Contradiction, Heard, hear, hear_unknown};
pub use suspension::Suspendable;
pub use turn::{Pick, Question, ReceiptSource, Send, Turn};
pub use upkeep::{Grant, Retention};
pub use witnesses::{CovenantWatch, FinalWatch, Watch, WitnessWatch};
pub use write::{Change, Head, Outcome, Table, WitnessedRow, Write};
