//! Counts instructions of hot parts under valgrind's callgrind and holds them against `tests/instructions.toml`.
//!
//! Seconds differ from run to run; the same program given the same input executes the same instructions. A benchmark
//! starts itself again under callgrind with a case and a number of rounds, and once more with twice as many: the
//! difference is what the rounds cost, without start and set-up. Cases hold no clock, no thread and no chance.
//!
//! ```text
//! cargo bench -p seinhuis-shared -p seinhuis-broker-core -p seinhuis-agent-core -p seinhuis-journal \
//!     --features seinhuis-agent-core/testing --bench instructions
//! ```
//!
//! Words behind `--` choose cases by a part of their name. `SEINHUIS_BLESS=1` records what is counted.
//! `SEINHUIS_VALGRIND_REQUIRED=1` makes it an error when nothing can be counted.
//!
//! This file is included by the benchmarks of the crates whose code they are about, so that none of them has to be
//! built with more than it needs.

mod counts;
mod recorded;

use std::env;
use std::process::ExitCode;

use counts::{Count, count, profile};
use recorded::{Made, Recorded};

/// Per cent by which a count may differ from the recorded one.
const SLACK: u64 = 3;
/// Behind this argument come the name of a case and a number of rounds, for the run under callgrind.
const COUNTED: &str = "--counted";

/// Does one round; it is told which, from 0.
pub(crate) type Round = Box<dyn FnMut(usize)>;

/// Something that is counted.
pub(crate) struct Case {
    /// Its name in the record.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) what: &'static str,
    /// Operations in one round.
    pub(crate) operations: u64,
    /// Rounds of the shorter run; the longer one has twice as many.
    pub(crate) rounds: usize,
    /// Makes everything that so many rounds need: always for the longer run, so that both begin alike.
    pub(crate) prepare: fn(usize) -> Round,
}

/// Counts the cases of a crate, or does one of them when it was started for that.
pub(crate) fn main(of: &str, cases: &[Case]) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [word, name, rounds] = arguments.as_slice()
        && word == COUNTED
    {
        return run(cases, name, rounds);
    }
    let bless = env::var_os("SEINHUIS_BLESS").is_some();
    let made = match Made::here() {
        Ok(made) => made,
        Err(why) if env::var_os("SEINHUIS_VALGRIND_REQUIRED").is_none() => {
            println!("{of}: passed over, no instructions are counted: {why}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{of}: no instructions can be counted: {why}");
            return ExitCode::FAILURE;
        }
    };
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    match compare(of, cases, &chosen, &made, bless) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{of}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does a case, so many rounds of it. What is left is not taken apart: that would be counted.
fn run(cases: &[Case], name: &str, rounds: &str) -> ExitCode {
    let (Some(case), Ok(rounds)) = (cases.iter().find(|case| case.name == name), rounds.parse()) else {
        eprintln!("{COUNTED} {name} {rounds}: there is no such case, or that is no number of rounds");
        return ExitCode::from(2);
    };
    let mut round = (case.prepare)(2 * case.rounds);
    for at in 0..rounds {
        round(at);
    }
    std::process::exit(0)
}

/// Counts what was chosen, all when nothing was; gives how many cases are wrong.
fn compare(of: &str, cases: &[Case], chosen: &[&str], made: &Made, bless: bool) -> Result<usize, String> {
    let mut recorded = Recorded::read()?;
    let difference = recorded.made.difference(made);
    if let Some(difference) = &difference {
        println!("{of}: {difference}");
    }
    let mut wrong = Vec::new();
    for case in cases {
        let name = format!("{of}.{}", case.name);
        if !(chosen.is_empty() || chosen.iter().any(|part| name.contains(part))) {
            continue;
        }
        let new = count(of, case)?;
        let old = recorded.counts.get(&name).copied();
        println!("{name}: {}: {}", told(old, new), case.what);
        if bless {
            recorded.counts.insert(name, new);
        } else if let Some(why) = dearer(&name, old, new) {
            let profile = profile(of, case);
            wrong.push(format!("{why} Its profile: callgrind_annotate {}", profile.display()));
        } else if old.is_some_and(|old| parts(old, new).any(|(_, old, new)| is_less(old, new))) {
            println!("{name}: more than {SLACK} % below its record: SEINHUIS_BLESS=1 lowers it");
        }
    }
    let known = |name: &str| cases.iter().any(|case| name == format!("{of}.{}", case.name));
    let own = |name: &str| name.rsplit_once('.').is_some_and(|(crates, _)| crates == of);
    if bless {
        recorded.counts.retain(|name, _| known(name) || !own(name));
        recorded.made = made.clone();
        recorded.write()?;
    } else {
        for name in recorded.counts.keys().filter(|name| own(name) && !known(name)) {
            wrong.push(format!(
                "{name} is recorded, but there is no such case: SEINHUIS_BLESS=1 takes it out."
            ));
        }
    }
    for why in &wrong {
        eprintln!("{why}");
        if let Some(difference) = &difference {
            eprintln!("  But {difference}");
        }
    }
    Ok(wrong.len())
}

/// What a count consists of: named, as recorded and as counted.
fn parts(old: Count, new: Count) -> impl Iterator<Item = (&'static str, u64, u64)> {
    let all = [
        ("instructions", old.instructions, new.instructions),
        ("instructions of SHA-256", old.sha256, new.sha256),
    ];
    all.into_iter()
}

const fn is_more(old: u64, new: u64) -> bool {
    new * 100 > old * (100 + SLACK)
}

const fn is_less(old: u64, new: u64) -> bool {
    new * 100 < old * (100 - SLACK)
}

/// The sentence about a case that is dearer than its record, or has none.
fn dearer(name: &str, old: Option<Count>, new: Count) -> Option<String> {
    let Some(old) = old else {
        return Some(format!("{name} is not recorded: SEINHUIS_BLESS=1 records it."));
    };
    let (what, old, new) = parts(old, new).find(|(_, old, new)| is_more(*old, *new))?;
    Some(format!(
        "{name} takes {new} {what}, its record is {old}: {}, of which {SLACK} % is let through. Make it cheaper; or, if \
         it is worth that, record it with SEINHUIS_BLESS=1 and say why in the commit.",
        ratio(old, new)
    ))
}

fn told(old: Option<Count>, new: Count) -> String {
    let of = old.unwrap_or_default();
    let told = parts(of, new).filter(|(_, old, new)| (*old, *new) != (0, 0)).map(|(what, of, new)| {
        let change = old.map_or_else(|| "not recorded".into(), |_| ratio(of, new));
        format!("{new} {what} ({change})")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A change as a person reads it, to a hundredth of a per cent.
fn ratio(old: u64, new: u64) -> String {
    let (sign, by) = if new < old { ('-', old - new) } else { ('+', new - old) };
    let hundredths = (by * 10_000 + old / 2) / old.max(1);
    format!("{sign}{}.{:02} %", hundredths / 100, hundredths % 100)
}
