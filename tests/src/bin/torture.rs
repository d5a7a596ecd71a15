//! Breaks real processes in one way after another for so many minutes, and prints what they survived.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use seinhuis_tests::process::{self, Programs};
use seinhuis_tests::torture::{self, KINDS, Kind};

/// Plays rounds of every kind of fault, each for its share of the time, then prints a table. The exit code is 1 when a
/// promise was broken.
#[derive(Debug, Parser)]
struct Args {
    /// For how long, all kinds together; what has begun by then is settled and checked
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Only these kinds, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seed of the first round
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    if let Some(code) = process::dispatch(std::env::args_os()) {
        return code;
    }
    let args = Args::parse();
    let chosen: Vec<Kind> = KINDS
        .iter()
        .filter(|kind| args.only.is_empty() || args.only.iter().any(|name| name == kind.name))
        .copied()
        .collect();
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    if let Some(unknown) = args.only.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("there is no kind {unknown}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let time = Duration::from_secs(args.minutes.saturating_mul(60));
    let played = std::env::current_exe().and_then(|own| {
        torture::run(&Programs(own), &chosen, args.seed, time, &mut |line| eprintln!("{line}"))
    });
    match played {
        Ok(table) => {
            print!("{table}");
            if table.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
