//! Faults in real processes: a partnership under traffic, broken in one way after another, and looked at from outside.
//!
//! Each [`Kind`] is one way to break things and one row of the table. [`run`] plays rounds of one kind after the other;
//! [`Table`] is what `docs/reliability.md` quotes. A round sets its own processes going, breaks them, lets everything
//! settle without help, and holds what everybody was told against what is there.

pub mod bystander;
pub mod check;
pub mod fsync;
pub mod history;
pub mod inject;
pub mod kill;
pub mod network;
pub mod points;
pub mod scene;
mod table;
pub mod traffic;
pub mod troupe;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Need;
use crate::power;
use crate::process::Programs;
use crate::sim::{Violation, setup};
pub use table::{Line, Table};

/// One way to break things.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name, as `--only` takes it.
    pub name: &'static str,
    /// What one fault is, for the table.
    pub fault: &'static str,
    /// What it needs that not every machine has.
    pub needs: Option<Need>,
    /// Plays one round: faults, then peace, then the check. What it chooses follows from the round's seed alone; when
    /// processes reach what they do does not. It ends soon after the round's time is over.
    pub play: fn(&Round) -> Result<Tally, Failure>,
}

/// All kinds, in the order in which they take turns.
pub const KINDS: &[Kind] = &[kill::KIND, points::KIND, fsync::KIND, network::KIND, power::POWER, power::FULL];

/// One round that is to be played.
#[derive(Debug, Clone)]
pub struct Round {
    /// The programs.
    pub programs: Programs,
    /// An empty folder for it, removed afterwards.
    pub dir: PathBuf,
    /// What all choices are drawn from.
    pub seed: u64,
    /// When it has to come to an end.
    pub until: Instant,
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Faults that were injected, and survived.
    pub faults: u64,
    /// Messages of which a sender was told that they were accepted, or would be.
    pub confirmed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.faults += other.faults;
        self.confirmed += other.confirmed;
    }
}

/// A round in which promises were broken, or that could not be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was broken: never empty.
    pub violations: Vec<Violation>,
    /// What it did until then.
    pub tally: Tally,
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self { violations: vec![violation], tally: Tally::default() }
    }
}

/// Plays rounds of each of `kinds`, each for its share of the time and at least once; `tell` is told what goes on.
///
/// A round that fails does not end the run. Its folder is kept, and how to play it again is told. A kind for which the
/// machine lacks something is passed over, unless it is required: then that is a round that failed.
///
/// # Errors
/// When a folder cannot be made.
pub fn run(
    programs: &Programs,
    kinds: &[Kind],
    seed: u64,
    time: Duration,
    tell: &mut dyn FnMut(&str),
) -> std::io::Result<Table> {
    let mut table = Table::of(kinds);
    let share = time / u32::try_from(kinds.len()).unwrap_or(1).max(1);
    for kind in kinds {
        match kind.needs.as_ref().map_or(Ok(None), Need::lacking) {
            Ok(None) => {}
            Ok(Some(what)) => {
                tell(&format!("{} is not played: {what}", kind.name));
                table.pass_over(kind.name, what);
                continue;
            }
            Err(what) => {
                let failed = Err(setup(what).into());
                tell(&told(kind, seed, Duration::ZERO, &failed));
                table.add(kind.name, &failed);
                continue;
            }
        }
        let until = Instant::now() + share;
        for seed in seed.. {
            let dir = tempfile::Builder::new().prefix("seinhuis-torture-").tempdir()?;
            let begun = Instant::now();
            let round = Round { programs: programs.clone(), dir: dir.path().to_path_buf(), seed, until };
            let played = (kind.play)(&round);
            tell(&told(kind, seed, begun.elapsed(), &played));
            if played.is_err() {
                tell(&format!("  its folder is kept: {}", dir.keep().display()));
            }
            table.add(kind.name, &played);
            if Instant::now() >= until {
                break;
            }
        }
    }
    Ok(table)
}

/// What became of a round, and how to play it again if that is called for.
fn told(kind: &Kind, seed: u64, took: Duration, played: &Result<Tally, Failure>) -> String {
    let (name, seconds) = (kind.name, took.as_secs());
    match played {
        Ok(Tally { faults, confirmed }) => {
            format!("{name} seed {seed}: {faults} faults, {confirmed} packets, {seconds} s")
        }
        Err(failure) => {
            let what: Vec<String> = failure.violations.iter().map(ToString::to_string).collect();
            let what = what.join("\n  ");
            format!(
                "{name} seed {seed} FAILED after {seconds} s; again: --only {name} --seed {seed}\n  {what}"
            )
        }
    }
}
