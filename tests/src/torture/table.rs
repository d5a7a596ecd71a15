//! What was injected and survived, as a table for people.

use std::fmt;

use super::{Failure, Kind, Tally};
use crate::sim::Broken;

/// What all rounds of one kind did.
#[derive(Debug, Clone)]
pub struct Line {
    /// The kind.
    pub kind: Kind,
    /// What this machine lacks, so that it was not played.
    pub missing: Option<String>,
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
            missing: None,
            rounds: 0,
            tally: Tally::default(),
            lost: 0,
            doubled: 0,
            broken: 0,
        };
        Self(kinds.iter().map(line).collect())
    }

    /// A kind cannot be played here.
    pub(super) fn pass_over(&mut self, name: &str, missing: String) {
        if let Some(line) = self.0.iter_mut().find(|line| line.kind.name == name) {
            line.missing = Some(missing);
        }
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

    /// Whether every promise was kept by what was played.
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
            let Line { kind, missing, rounds, tally, lost, doubled, broken } = line;
            if let Some(missing) = missing {
                writeln!(f, "| `{}` | {} | not played: {missing} | | | | | |", kind.name, kind.fault)?;
                continue;
            }
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
    use std::time::Duration;

    use super::super::{Round, run};
    use super::*;
    use crate::sim::Violation;
    use crate::{Need, Programs};

    #[test]
    fn what_is_broken_is_counted_by_kind_and_told() {
        let kind = Kind { name: "kill", fault: "SIGKILL", needs: None, play: |_| Ok(Tally::default()) };
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

    #[test]
    fn what_cannot_be_played_is_said_and_where_it_is_required_it_is_broken() {
        let play = |_: &Round| -> Result<Tally, Failure> { panic!("it is not played") };
        let missing = || Some("no strace".to_owned());
        let needs = |required| Some(Need { required, missing });
        let free = Kind { name: "points", fault: "death", needs: needs("SEINHUIS_NOBODY_SETS_THIS"), play };
        let programs = Programs("/nowhere".into());
        let mut said = Vec::new();
        let table =
            run(&programs, &[free], 1, Duration::ZERO, &mut |line| said.push(line.to_owned())).unwrap();
        assert!(table.is_good());
        let told = table.to_string();
        assert_eq!(told.lines().last().unwrap(), "| `points` | death | not played: no strace | | | | | |");
        assert_eq!(said, ["points is not played: no strace"]);
        // A variable that is always set.
        let required = Kind { needs: needs("PATH"), ..free };
        let table =
            run(&programs, &[required], 1, Duration::ZERO, &mut |line| said.push(line.to_owned())).unwrap();
        assert!(!table.is_good());
        assert_eq!(table.lines()[0].broken, 1);
        assert!(said.iter().any(|line| line.contains("FAILED") && line.contains("no strace")), "{said:?}");
    }
}
