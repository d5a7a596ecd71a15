//! All programs in one binary, so that tests and demo start real processes of the code they were built with.

use std::process::ExitCode;

fn main() -> ExitCode {
    seinhuis_tests::process::dispatch(std::env::args_os()).unwrap_or_else(|| {
        eprintln!("usage: seinhuis-node broker|agent|certs ...");
        ExitCode::from(2)
    })
}
