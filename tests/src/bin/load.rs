//! The load generator: what the whole carries on this machine, measured from outside.
//!
//! One broker process and a number of agents in this process, every packet sealed, signed, checked against
//! the covenant, logged, flushed, opened and acknowledged as in production. Prints a table and, with
//! `--json`, the figures for machines.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use seinhuis_tests::load::{self, Plan};

/// Measures packets per second, latency, flushes, CPU, memory and disk of a whole partnership.
#[derive(Debug, Parser)]
struct Args {
    /// Senders; as many recipients
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pairs: u8,
    /// Bytes of each body
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(700..=2600))]
    body: u16,
    /// Seconds of the run at full speed, and of the run at half that rate
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Packets each sender keeps under way at full speed
    #[arg(long, default_value_t = 256)]
    window: usize,
    /// Packets that wait for absent recipients, for the figures on disk
    #[arg(long, default_value_t = 4000)]
    waiting: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
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
        pairs: args.pairs,
        body: usize::from(args.body),
        seconds: args.seconds,
        window: args.window,
        waiting: args.waiting,
    };
    match load::run(&plan, args.dir.as_deref()) {
        Ok(figures) => {
            println!("{}", if args.json { figures.to_json().to_string() } else { figures.to_table() });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
