//! The broker's program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    seinhuis_broker::run(std::env::args_os())
}
