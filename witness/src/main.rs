//! `seinhuis-witness`: a witness of exchange logs as a command.

use std::process::ExitCode;

fn main() -> ExitCode {
    seinhuis_witness::run(std::env::args_os())
}
