//! `seinhuis-certs`: the partnership CA as a command.

use std::process::ExitCode;

fn main() -> ExitCode {
    seinhuis_certs::run(std::env::args_os())
}
