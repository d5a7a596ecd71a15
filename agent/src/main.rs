//! The agent's program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    seinhuis_agent::run(std::env::args_os())
}
