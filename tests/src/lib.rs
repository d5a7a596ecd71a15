//! Whole-system tests: a partnership of real processes in a temporary folder, and hostile peers.
//!
//! [`Stage`] sets a partnership up with the very commands people type. [`Raw`] speaks the protocol by
//! hand, so that a test can say what no honest agent would.

pub mod browser;
pub mod cases;
pub mod export;
pub mod forge;
pub mod gate;
pub mod http;
pub mod impair;
pub mod load;
pub mod needs;
pub mod netns;
pub mod ports;
#[path = "../kits/postgres.rs"]
pub mod postgres;
pub mod power;
pub mod process;
pub mod raw;
#[path = "../kits/receiver.rs"]
pub mod receiver;
pub mod samples;
pub mod sim;
pub mod site;
pub mod small;
pub mod stage;
pub mod torture;

pub use forge::Forge;
pub use needs::Need;
pub use process::{Process, Program, Programs, Ran};
pub use raw::Raw;
pub use stage::{Member, Stage, StageError};
