//! The partnership CA: enrols partners, issues and renews certificates, revokes them, reports what ends.
//!
//! It is an offline tool around one folder: requests and grants are files that people hand over, and the
//! operator compares a fingerprint with the applicant by telephone. `serve` alone uses a network, for nodes
//! that have a certificate already ([`service`]). The library takes the time as an argument; the tool passes
//! the clock.
//!
//! | file in the folder | |
//! |---|---|
//! | `ca.key` | private key of the CA, P-256, 0600; leaves the folder only as a backup |
//! | `ca.pem` | certificate of the CA |
//! | `crl.pem` | current revocation list |
//! | `ledger.json` | what was issued and revoked, readable; the CRL is made from it |
//! | `issued/SERIAL.json` | every grant as handed out |
#![warn(missing_docs)]

pub mod authority;
mod certificate;
pub mod commands;
pub mod ledger;
mod report;
pub mod request;
pub mod service;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the tool with these arguments, the program's name first; for binaries that embed it.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    commands::run_at(args, seinhuis_shell::clock::now())
}

#[cfg(test)]
mod tests;
