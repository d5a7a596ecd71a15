//! What the command-line shells of broker, agent and partnership CA share.
//!
//! Here live the files, keys, sockets, clock and randomness that the pure crates do without, and the
//! way in which a mistake is told: what happened, whose fault, what to do, in Dutch or English.
#![warn(missing_docs)]

pub mod answer;
pub mod cli;
pub mod clock;
pub mod complaint;
pub mod config;
pub mod control;
pub mod covenants;
pub mod enrolment;
pub mod files;
pub mod grant;
pub mod http;
pub mod keys;
pub mod lang;
pub mod link;
pub mod otlp;
pub mod owner;
pub mod pace;
pub mod passphrase;
pub mod quic;
pub mod renewal;
pub mod room;
pub mod sealing;
pub mod serve;
pub mod standing;
pub mod tls;
pub mod watched;
pub mod web;
pub mod webhook;
