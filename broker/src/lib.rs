//! The broker's shell: it reads, makes durable and sends what `seinhuis-broker-core` decides.
//!
//! One thread ([`engine`]) owns core and store: it drains inputs, closes a turn, signs the log's head,
//! makes all of it durable with one flush, and only then lets anything out. [`link`] speaks QUIC around it,
//! [`log`] keeps the files of one exchange log, [`logs`] all of them, [`upkeep`] looks after them and [`publish`] serves
//! them; [`monitor`] counts and watches for the operator, [`console`] shows that to people and [`metrics`] to programs,
//! [`alerts`] tells what is wrong; [`export`] answers auditors, [`backup`] copies and puts back, [`commands`] is what the
//! operator types.

pub mod alerts;
pub mod backup;
pub mod commands;
pub mod config;
pub mod console;
pub mod engine;
pub mod export;
mod fork;
pub mod home;
pub mod link;
pub mod log;
pub mod logs;
mod mail;
pub mod metrics;
pub mod monitor;
pub mod publish;
pub mod service;
pub mod store;
mod tile_tree;
pub mod traces;
pub mod upkeep;
mod witness;

pub use commands::run;

/// Name and version, as partners and operators see it.
pub const SOFTWARE: &str = concat!("seinhuis-broker/", env!("CARGO_PKG_VERSION"));
