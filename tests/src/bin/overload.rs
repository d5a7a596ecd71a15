//! Overload, measured: what an honest pair of agents notices of one partner that floods the broker, and what memory
//! that costs. Prints a table; fails when an honest message does not arrive.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use seinhuis_tests::Programs;
use seinhuis_tests::load::overload::{self, Plan};

/// Measures fairness and memory under one partner that brings far more than passes.
#[derive(Debug, Parser)]
struct Args {
    /// Length of the flood
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Seconds that the honest pair sends alone before it
    #[arg(long, default_value_t = 30)]
    quiet: u64,
    /// Packets a second of the honest pair
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Lanes of the flood on each of its four connections
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=48))]
    lanes: u16,
    /// Keep the folder, and use this one
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Some(code) = seinhuis_tests::process::dispatch(std::env::args_os()) {
        return code;
    }
    let args = Args::parse();
    let plan = Plan {
        rate: args.rate,
        quiet: Duration::from_secs(args.quiet),
        flooded: Duration::from_secs_f64(args.minutes * 60.0),
        lanes: usize::from(args.lanes),
    };
    let measured = std::env::current_exe()
        .map_err(Into::into)
        .and_then(|own| overload::run(&plan, Programs(own), args.dir.as_deref()));
    match measured {
        Ok(report) => {
            println!("{}", report.to_table());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
