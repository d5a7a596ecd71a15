//! What was injected and survived, as a table for people.

use std::fmt;

use super::{Failure, Kind, Tally};
use crate::sim::Broken;

/// What all rounds of one kind did.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The kind.
    pub kind: Kind,
    /// Rounds that were played.
    pub rounds: u64,
    /// What they did.
    pub tally: Tally,
    /// Accepted packets that are neither delivered nor ended.
    pub lost: u64,
    /// Packets that are somewhere twice.
    pub doubled: u64,
    /// Other promises that were broken.
    pub broken: u64,
}

/// A line for each kind.
#[derive(Debug, Clone)]
pub struct Table(Vec<Line>);

impl Table {
    /// Nothing was played yet.
    pub(super) fn of(kinds: &[Kind]) -> Self {
        let line = |kind: &Kind| Line {
            kind: *kind,
            rounds: 0,
            tally: Tally::default(),
            lost: 0,
            doubled: 0,
            broken: 0,
        };
        Self(kinds.iter().map(line).collect())
    }

    pub(super) fn add(&mut self, name: &str, played: &Result<Tally, Failure>) {
        let Some(line) = self.0.iter_mut().find(|line| line.kind.name == name) else { return };
        line.rounds += 1;
        match played {
            Ok(tally) => line.tally += *tally,
            Err(failure) => {
                line.tally += failure.tally;
                for violation in &failure.violations {
                    match violation.broken {
                        Broken::Lost => line.lost += 1,
                        Broken::Twice => line.doubled += 1,
                        Broken::Log
                        | Broken::Covenant
                        | Broken::Invented
                        | Broken::Order
                        | Broken::Pin
                        | Broken::Alarm
                        | Broken::Stuck
                        | Broken::Start
                        | Broken::Witness
                        | Broken::Setup => line.broken += 1,
                    }
                }
            }
        }
    }

    /// The lines.
    pub fn lines(&self) -> &[Line] {
        &self.0
    }

    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.0.iter().all(|line| line.lost + line.doubled + line.broken == 0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| kind | fault | rounds | injected and survived | packets confirmed | lost | doubled | broken |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for line in &self.0 {
            let Line { kind, rounds, tally, lost, doubled, broken } = line;
            let Tally { faults, confirmed } = tally;
            writeln!(
                f,
                "| `{}` | {} | {rounds} | {faults} | {confirmed} | {lost} | {doubled} | {broken} |",
                kind.name, kind.fault
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Violation;

    #[test]
    fn what_is_broken_is_counted_by_kind_and_told() {
        let kind = Kind { name: "kill", fault: "SIGKILL", play: |_| Ok(Tally::default()) };
        let mut table = Table::of(&[kind]);
        table.add("kill", &Ok(Tally { faults: 3, confirmed: 5 }));
        assert!(table.is_good());
        let mut failure = Failure::from(Violation::new(Broken::Lost, "one"));
        failure.violations.push(Violation::new(Broken::Twice, "two"));
        failure.violations.push(Violation::new(Broken::Log, "three"));
        failure.tally = Tally { faults: 1, confirmed: 1 };
        table.add("kill", &Err(failure));
        assert!(!table.is_good());
        assert_eq!(table.to_string().lines().last().unwrap(), "| `kill` | SIGKILL | 2 | 4 | 6 | 1 | 1 | 1 |");
    }
}
