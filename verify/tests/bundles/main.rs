//! Good bundles and a zoo of bad ones, made here and checked by both verifiers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod agree;
mod any_bytes;
mod build;
mod command;
mod good;
mod zip;
mod zoo;
