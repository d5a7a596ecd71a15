//! Plays histories of a whole partnership in a world drawn from a seed, until one breaks a promise.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use clap::Parser;
use seinhuis_tests::sim::{self, Point, Scenario, Summary, Violation};

/// Plays histories, each from the next seed, and prints those that break a promise as scenarios.
#[derive(Debug, Parser)]
struct Args {
    /// Histories to play
    #[arg(long, default_value_t = 1000)]
    histories: u64,
    /// Seed of the first
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads that play them
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Play this one scenario instead: the line that a failure prints
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Play each history once more for every write and every send of every process, which dies there
    #[arg(long)]
    points: bool,
    /// Only histories with this in them
    #[arg(long)]
    only: Option<String>,
    /// Histories that break a promise before it stops
    #[arg(long, default_value_t = 1)]
    failures: usize,
}

/// What all histories came to.
#[derive(Debug, Default)]
struct Sum {
    counts: BTreeMap<&'static str, u64>,
    happened: BTreeMap<&'static str, u64>,
    failed: Vec<(Scenario, Violation)>,
}

impl Sum {
    /// Counts one, and tells people now and then how far it is.
    fn played(&mut self, summary: Summary) {
        self.add(summary);
        if let Some(count) = self.counts.get("histories").filter(|count| count.is_multiple_of(1000)) {
            eprintln!("{count} histories");
        }
    }

    fn add(&mut self, summary: Summary) {
        let counts = [
            ("histories", 1),
            ("turns flushed", summary.turns),
            ("log entries", u64::try_from(summary.entries).unwrap_or_default()),
            ("messages accepted", u64::try_from(summary.accepted).unwrap_or_default()),
            ("packets that ended unread", u64::try_from(summary.ended).unwrap_or_default()),
            ("messages not accepted", u64::try_from(summary.refused).unwrap_or_default()),
            ("virtual hours", summary.virtual_time / 3_600_000),
        ];
        for (name, count) in counts {
            *self.counts.entry(name).or_default() += count;
        }
        for (name, count) in summary.faults {
            *self.happened.entry(name).or_default() += count;
        }
        let slowest = self.counts.entry("slowest to settle, virtual seconds").or_default();
        *slowest = (summary.settled / 1000).max(*slowest);
    }
}

/// Plays what there is, on so many threads, until so many broke a promise.
fn play(jobs: usize, failures: usize, next: impl Fn() -> Option<Scenario> + Sync) -> Sum {
    let sum = Mutex::new(Sum::default());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed)
                    && let Some(scenario) = next()
                {
                    let played = sim::run(&scenario);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match played {
                        Ok(summary) => sum.played(summary),
                        Err(violation) => {
                            eprintln!("{violation}\n  {scenario}");
                            sum.failed.push((scenario, violation));
                            stop.fetch_or(sum.failed.len() >= failures, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The next of the points of a history, after the last one the history that comes next.
fn one_more(points: &Mutex<Vec<Scenario>>, drawn: impl Fn() -> Option<Scenario>) -> Option<Scenario> {
    let mut points = points.lock().unwrap_or_else(PoisonError::into_inner);
    if points.is_empty() {
        let whole = drawn()?;
        // One that breaks a promise by itself is played once more, to be told.
        if let Ok(summary) = sim::run(&whole) {
            let all = Point::all(&summary.calls);
            eprintln!("{} points: {whole}", all.len());
            points.extend(all.into_iter().map(|point| whole.dying(point)));
        }
        points.push(whole);
    }
    points.pop()
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (began, seed) = (Instant::now(), AtomicU64::new(args.seed));
    let once = Mutex::new(args.scenario.clone());
    let end = args.seed.saturating_add(args.histories);
    let wanted = |scenario: &Scenario| args.only.as_ref().is_none_or(|name| scenario.names(name));
    let drawn = || match args.scenario {
        Some(_) => once.lock().unwrap_or_else(PoisonError::into_inner).take(),
        None => loop {
            let seed = seed.fetch_add(1, Ordering::Relaxed);
            let scenario = (seed < end).then(|| Scenario::of(seed))?;
            if wanted(&scenario) {
                break Some(scenario);
            }
        },
    };
    let points = Mutex::new(Vec::new());
    let next = || if args.points { one_more(&points, drawn) } else { drawn() };
    let sum = play(args.jobs, args.failures, next);
    println!("| what | how many |\n|---|---:|");
    for (name, count) in sum.counts.iter().chain(&sum.happened) {
        println!("| {name} | {count} |");
    }
    eprintln!("{:.1} s", began.elapsed().as_secs_f64());
    for (scenario, violation) in &sum.failed {
        let smallest = sim::shrink(scenario, violation.broken);
        eprintln!("smaller: {smallest}");
        if let Err(again) = sim::run(&smallest) {
            eprintln!("  {again}");
        }
    }
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
