//! Faults in real processes: a partnership under traffic, broken in one way after another, and looked at from outside.
//!
//! Each [`Kind`] is one way to break things and one row of the table. [`run`] plays rounds of all kinds in turn until
//! its time is over; [`Table`] is what `docs/reliability.md` quotes. A round sets its own processes going, breaks them,
//! lets everything settle without help, and holds what everybody was told against what is there.

mod table;

use std::path::PathBuf;
use std::time::Instant;

use crate::power;
use crate::process::Programs;
use crate::sim::Violation;
pub use table::{Line, Table};

/// One way to break things.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name, as `--only` takes it.
    pub name: &'static str,
    /// What one fault is, for the table.
    pub fault: &'static str,
    /// Plays one round: faults, then peace, then the check. What it chooses follows from the round's seed alone; when
    /// processes reach what they do does not. It ends soon after the round's time is over.
    pub play: fn(&Round) -> Result<Tally, Failure>,
}

/// All kinds, in the order in which they take turns.
pub const KINDS: &[Kind] = &[
    Kind { name: "power", fault: "loss of power under a file system", play: power::play_power },
    Kind { name: "full", fault: "a write that does not fit on the disk", play: power::play_full },
];

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

/// Plays rounds of `kinds` in turn until `until`, each kind at least once; `tell` is told what goes on.
///
/// A round that fails does not end the run. Its folder is kept, and how to play it again is told.
///
/// # Errors
/// When a folder cannot be made.
pub fn run(
    programs: &Programs,
    kinds: &[Kind],
    seed: u64,
    until: Instant,
    tell: &mut dyn FnMut(&str),
) -> std::io::Result<Table> {
    let mut table = Table::of(kinds);
    for seed in seed.. {
        for kind in kinds {
            let dir = tempfile::Builder::new().prefix("seinhuis-torture-").tempdir()?;
            let dir_path = dir.path().to_path_buf();
            let begun = Instant::now();
            let round = Round { programs: programs.clone(), dir: dir_path, seed, until };
            let played = (kind.play)(&round);
            match &played {
                Ok(tally) => tell(&format!(
                    "{} seed {seed}: {} faults, {} packets, {} s",
                    kind.name,
                    tally.faults,
                    tally.confirmed,
                    begun.elapsed().as_secs()
                )),
                Err(failure) => {
                    let kept = dir.keep();
                    let what: Vec<String> =
                        failure.violations.iter().map(|one| format!("\n  {one}")).collect();
                    tell(&format!(
                        "{} seed {seed} FAILED:{}\n  again: --only {} --seed {seed}; its folder: {}",
                        kind.name,
                        what.concat(),
                        kind.name,
                        kept.display()
                    ));
                }
            }
            table.add(kind.name, &played);
        }
        if Instant::now() >= until {
            break;
        }
    }
    Ok(table)
}
