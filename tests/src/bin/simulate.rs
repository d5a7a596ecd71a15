//! Plays histories of a whole partnership in a world drawn from a seed, until one breaks a promise.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use seinhuis_tests::sim::{self, Scenario};

/// Plays histories, each from the next seed; stops at the first that breaks a promise and prints it as a scenario.
#[derive(Debug, Parser)]
struct Args {
    /// Histories to play
    #[arg(long, default_value_t = 1000)]
    histories: u64,
    /// Seed of the first
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play this one scenario instead: the line that a failure prints
    #[arg(long)]
    scenario: Option<Scenario>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut sum: BTreeMap<&str, u64> = BTreeMap::new();
    let seeds = args.seed..args.seed.saturating_add(args.histories);
    let scenarios: Box<dyn Iterator<Item = Scenario>> = match args.scenario {
        Some(scenario) => Box::new(std::iter::once(scenario)),
        None => Box::new(seeds.map(Scenario::of)),
    };
    for scenario in scenarios {
        match sim::run(&scenario) {
            Ok(summary) => {
                let counts = [
                    ("histories", 1),
                    ("turns flushed", summary.turns),
                    ("log entries", u64::try_from(summary.entries).unwrap_or_default()),
                    ("messages accepted", u64::try_from(summary.accepted).unwrap_or_default()),
                    ("packets that ended unread", u64::try_from(summary.ended).unwrap_or_default()),
                    ("messages not accepted", u64::try_from(summary.refused).unwrap_or_default()),
                ];
                for (name, count) in counts.into_iter().chain(summary.faults) {
                    *sum.entry(name).or_default() += count;
                }
                let slowest = sum.entry("slowest to settle, virtual ms").or_default();
                *slowest = summary.settled.max(*slowest);
            }
            Err(violation) => {
                let smallest = sim::shrink(&scenario, violation.broken);
                eprintln!("{violation}\n  {scenario}\n  smaller: {smallest}");
                if let Err(again) = sim::run(&smallest) {
                    eprintln!("  {again}");
                }
                return ExitCode::FAILURE;
            }
        }
    }
    for (name, count) in sum {
        println!("{name}: {count}");
    }
    ExitCode::SUCCESS
}
