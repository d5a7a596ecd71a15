//! The load generator: what the whole carries on this machine, measured from outside.
//!
//! One broker process and a number of agents in this process, every packet sealed, signed, checked against
//! the covenant, logged, flushed, opened and acknowledged as in production. Prints a table and, with
//! `--json`, the figures for machines. With `--matrix` a set of points in one run, with `--against` two builds by turns; each
//! of their measurements is this program again, in a process of its own.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use seinhuis_tests::load::matrix::{Axes, Matrix};
use seinhuis_tests::load::{self, Flow, OWN_BODY, PAIRS_MAX, Plan, against};
use serde_json::Value;

/// Measures packets per second, latency, flushes, CPU, memory and disk of a whole partnership.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct Args {
    /// Senders, and as many recipients [default: 4; of a matrix 1,4,16]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=i64::from(PAIRS_MAX)))]
    pairs: Vec<u8>,
    /// Recipients of each packet [default: 1; of a matrix 1,4,16]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=16))]
    recipients: Vec<u8>,
    /// Bytes of each body: 700 to 2600 over F01, 64 to 262144 over M01 [default: 1024; of a matrix 256,1024,16384,262144]
    #[arg(long, value_delimiter = ',', value_parser = body)]
    body: Vec<usize>,
    /// The flow that carries it [default: sample where it can; of a matrix own]
    #[arg(long)]
    flow: Option<Flow>,
    /// Seconds of the run at full speed, and of the run at half that rate [default: 10; of a matrix 3]
    #[arg(long)]
    seconds: Option<u64>,
    /// Packets each sender keeps under way at full speed, within 8 MiB of bodies and 1024 deliveries
    #[arg(long, default_value_t = 256)]
    window: usize,
    /// Packets that wait for absent recipients, for the figures on disk, within 64 MiB of bodies; 0 for none
    #[arg(long, default_value_t = 4000)]
    waiting: usize,
    /// Packets a second of all senders together, each at its appointed time, in place of full speed and half of it
    #[arg(long)]
    rate: Option<f64>,
    /// Leave out how long an entry waits for its witnesses
    #[arg(long)]
    no_quorum: bool,
    /// Measure every combination of the bodies, pairs and recipients, which may then be lists with commas
    #[arg(long, conflicts_with_all = ["against", "dir"])]
    matrix: bool,
    /// Write the matrix as a page with charts
    #[arg(long, value_name = "FILE", requires = "matrix")]
    html: Option<PathBuf>,
    /// Begin the matrix with the points of an earlier one, as its --json printed it; may be repeated
    #[arg(long, value_name = "FILE", requires = "matrix")]
    points: Vec<PathBuf>,
    /// Measure nothing: the matrix is made of earlier points alone
    #[arg(long, requires = "points")]
    only_points: bool,
    /// Measure another build by turns with this one: its load generator
    #[arg(long, value_name = "PATH", conflicts_with = "dir")]
    against: Option<PathBuf>,
    /// How often both builds are measured
    #[arg(long, default_value_t = 5, value_parser = rounds, requires = "against")]
    rounds: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Keep the folder, and use this one
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn body(text: &str) -> Result<usize, String> {
    within(text, OWN_BODY)
}

fn rounds(text: &str) -> Result<usize, String> {
    within(text, (1, 1000))
}

fn within(text: &str, (least, most): (usize, usize)) -> Result<usize, String> {
    let number = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(format!("from {least} to {most}")) }
}

/// The only value of a list, or the usual one.
fn only<T: Copy>(name: &str, list: &[T], usual: T) -> Result<T, String> {
    match list {
        [] => Ok(usual),
        [one] => Ok(*one),
        _ => Err(format!("--{name} with several values needs --matrix.")),
    }
}

impl Args {
    fn plan(&self) -> Result<Plan, String> {
        let (usual, lists) = (Plan::default(), self.matrix);
        let first = |name, list: &[u8], usual| if lists { Ok(usual) } else { only(name, list, usual) };
        Ok(Plan {
            pairs: first("pairs", &self.pairs, usual.pairs)?,
            recipients: first("recipients", &self.recipients, usual.recipients)?,
            body: if lists { usual.body } else { only("body", &self.body, usual.body)? },
            flow: self.flow,
            seconds: self.seconds.unwrap_or(if lists { 3 } else { usual.seconds }),
            window: self.window,
            waiting: self.waiting,
            rate: self.rate,
            quorum: !self.no_quorum,
        })
    }

    fn axes(&self) -> Axes {
        let usual = Axes::default();
        let or = |list: &[u8], usual| if list.is_empty() { usual } else { list.to_vec() };
        Axes {
            bodies: if self.body.is_empty() { usual.bodies } else { self.body.clone() },
            pairs: or(&self.pairs, usual.pairs),
            recipients: or(&self.recipients, usual.recipients),
        }
    }

    /// Measures what is asked and prints it; whether all of it could be measured.
    fn run(&self) -> Result<bool, String> {
        let plan = self.plan()?;
        if self.matrix {
            return self.matrix(&plan);
        }
        plan.check().map_err(said)?;
        if let Some(other) = &self.against {
            let compared = against::run(&plan, other, self.rounds, &mut tell).map_err(said)?;
            self.print(|| compared.to_json(), || compared.to_table());
        } else {
            let figures = load::run(&plan, self.dir.as_deref()).map_err(said)?;
            self.print(|| figures.to_json(), || figures.to_table());
        }
        Ok(true)
    }

    fn matrix(&self, usual: &Plan) -> Result<bool, String> {
        let plans = if self.only_points { Vec::new() } else { self.axes().plans(usual) };
        plans.iter().try_for_each(|plan| plan.check().map_err(said))?;
        let earlier = self.points.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let matrix = Matrix::measure(&plans, &earlier, &mut tell).map_err(said)?;
        if let Some(path) = &self.html {
            let wrong = |error| format!("{} cannot be written: {error}", path.display());
            std::fs::write(path, matrix.to_html()).map_err(wrong)?;
        }
        self.print(|| matrix.to_json(), || matrix.to_table());
        let failed: Vec<&str> = matrix.failed().collect();
        for why in &failed {
            eprintln!("not measured: {why}");
        }
        Ok(failed.is_empty())
    }

    fn print(&self, json: impl Fn() -> Value, table: impl Fn() -> String) {
        println!("{}", if self.json { json().to_string() } else { table() });
    }
}

fn said(error: impl Display) -> String {
    error.to_string()
}

fn tell(step: &str) {
    eprintln!("· {step}");
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    serde_json::from_slice(&text)
        .map_err(|error| format!("{} is not what --matrix --json prints: {error}", path.display()))
}

fn main() -> ExitCode {
    if let Some(code) = seinhuis_tests::process::dispatch(std::env::args_os()) {
        return code;
    }
    match Args::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(["load"].into_iter().chain(words.split_whitespace()))
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        assert_eq!(args("").unwrap().plan().unwrap(), Plan::default());
        let brief = args("--seconds 2 --waiting 400").unwrap().plan().unwrap();
        assert_eq!(brief, Plan { seconds: 2, waiting: 400, ..Plan::default() });
        assert_eq!(args("--matrix").unwrap().plan().unwrap().seconds, 3);
        assert_eq!(args("--matrix").unwrap().axes().plans(&Plan::default()).len(), 36);
    }

    #[test]
    fn a_plans_words_are_read_as_that_plan() {
        let plan = Plan {
            pairs: 64,
            recipients: 16,
            body: 262_144,
            flow: Some(Flow::Own),
            rate: Some(12.5),
            quorum: false,
            ..Plan::default()
        };
        assert_eq!(args(&plan.words().join(" ")).unwrap().plan().unwrap(), plan);
    }

    #[test]
    fn what_is_outside_its_bounds_is_refused() {
        for words in [
            "--pairs 0",
            "--pairs 65",
            "--recipients 17",
            "--body 63",
            "--body 262145",
            "--rounds 0 --against x",
            "--rounds 3",
            "--html x.html",
            "--only-points --matrix",
            "--matrix --against x",
        ] {
            assert!(args(words).is_err(), "{words}");
        }
        for words in ["--pairs 64", "--recipients 16", "--body 64", "--body 262144", "--rounds 1 --against x"]
        {
            assert!(args(words).is_ok(), "{words}");
        }
    }

    #[test]
    fn lists_are_for_a_matrix() {
        assert!(args("--body 256,1024").unwrap().plan().is_err());
        let axes = args("--matrix --body 256,1024 --pairs 1 --recipients 2,3").unwrap().axes();
        assert_eq!((axes.bodies, axes.pairs, axes.recipients), (vec![256, 1024], vec![1], vec![2, 3]));
    }
}
