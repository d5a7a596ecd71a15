//! Power that goes away, on a real file system: what was confirmed is there when it comes back.
//!
//! `disk` is a disk in memory that a FUSE file system shows as one file; ext4 lies on it through a loop device, and
//! broker and agents keep their folders there. Every block that reaches the disk and every flush is written down in
//! order, with the moments at which somebody was told something. `cut` makes of that what the disk holds when its
//! power goes away at any moment: all that was flushed, and of what came after whatever the disk happened to have
//! written, down to single sectors. `check` opens every folder on it and holds it against what had been told.
//!
//! `recorded` cuts one run at many moments, with everything on one disk; `live` cuts one party's disk again and
//! again while the others live on, who remember what they were told. `full` leaves the power on and no space.
//!
//! All of it happens in namespaces of its own, of mounts and of processes, that end with whoever asked for it.

mod check;
mod cut;
mod disk;
mod full;
mod live;
mod recorded;
mod town;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::builder::PossibleValue;
use clap::{Parser, ValueEnum};
use seinhuis_shell::complaint::Complaint;
use serde_json::{Value, json};

use crate::Need;
use crate::process::Programs;
use crate::sim::{Broken, Violation, setup};
use check::{Expect, examine};
use town::{Ears, Town, confirmed};

use crate::torture::{Failure, Kind, Round, Tally};

/// FUSE, loop devices, namespaces and `mkfs.ext4`.
pub const DISKS: Need = Need { required: "SEINHUIS_FUSE_REQUIRED", missing };

/// Whose disk it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Whose {
    /// Everybody's at once, at many moments of one recorded run.
    All,
    /// The broker's, while the agents live on.
    Broker,
    /// The recipient's, while the broker and the senders live on.
    Recipient,
    /// A sender's, while the others live on.
    Sender,
}

/// What becomes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Its power goes away.
    Power,
    /// It is full, with less or more room left each time.
    Full,
}

/// What to play.
#[derive(Debug, Clone, Parser)]
#[command(name = "power")]
pub struct Plan {
    /// A folder for it
    #[arg(long)]
    pub dir: PathBuf,
    /// What becomes of a disk
    #[arg(long, value_enum)]
    pub fault: Fault,
    /// Whose disk
    #[arg(long, value_enum)]
    pub whose: Whose,
    /// What all choices are drawn from
    #[arg(long)]
    pub seed: u64,
    /// How often
    #[arg(long)]
    pub cuts: usize,
    /// Messages that are sent in a recorded run
    #[arg(long)]
    pub messages: usize,
    /// After how many cuts of a recorded run everything is started again and has to settle; 0 for never
    #[arg(long)]
    pub start_each: usize,
    /// Flushes that the disk only says it did: to show that this is noticed
    #[arg(long)]
    pub sham: usize,
    /// Seconds after which no other cut is begun
    #[arg(long)]
    pub seconds: u64,
}

impl Plan {
    /// Whether another cut is to be made, of a run that began then.
    fn goes_on(&self, begun: Instant, done: u64) -> bool {
        done < wide(self.cuts) && (done == 0 || begun.elapsed() < Duration::from_secs(self.seconds))
    }
}

/// What was played.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Cuts, and messages that were confirmed.
    pub tally: Tally,
    /// Writes to the disk, over all cuts, that were not flushed and are lost or torn.
    pub writes_lost: u64,
    /// Segments of journals that were begun in a recorded run: some cuts are made there.
    pub segments: u64,
    /// Promises that are broken.
    pub violations: Vec<Violation>,
}

fn start(who: &str, complaint: &Complaint) -> Violation {
    Violation::new(Broken::Start, format!("{who}: {}", complaint.what.en))
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The namespaces: mounts and processes in them go when the first process in them ends.
fn apart() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// What this machine lacks.
fn missing() -> Option<String> {
    if !Path::new("/dev/fuse").exists() {
        return Some("FUSE is needed, and there is no /dev/fuse".into());
    }
    let probe = "command -v mkfs.ext4 && losetup -f";
    match apart().args(["sh", "-c", probe]).output() {
        Ok(ran) if ran.status.success() => None,
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
            Some(format!("namespaces, mkfs.ext4 and a loop device are needed, as root. {said}"))
        }
        Err(error) => Some(format!("namespaces are needed: unshare: {error}")),
    }
}

/// Plays a plan in a process of its own; [`DISKS`] has to be met.
///
/// # Errors
/// When it breaks down.
pub fn run(programs: &Programs, plan: &Plan) -> io::Result<Report> {
    let mut command = apart();
    command.arg(&programs.0).arg("power").args(["--dir".as_ref(), plan.dir.as_os_str()]);
    let word =
        |value: Option<PossibleValue>| value.map(|value| value.get_name().to_owned()).unwrap_or_default();
    command.args(["--fault", &word(plan.fault.to_possible_value())]);
    command.args(["--whose", &word(plan.whose.to_possible_value())]);
    command.args(["--seed", &plan.seed.to_string(), "--seconds", &plan.seconds.to_string()]);
    for (name, count) in [
        ("--cuts", plan.cuts),
        ("--messages", plan.messages),
        ("--start-each", plan.start_each),
        ("--sham", plan.sham),
    ] {
        command.args([name, &count.to_string()]);
    }
    // Its end of the pipe tells the process inside when this one is gone.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // Waiting would close it.
    let held = child.stdin.take();
    let ran = child.wait_with_output()?;
    drop(held);
    let said: Value = serde_json::from_slice(&ran.stdout)
        .map_err(|_| io::Error::other(format!("the power test broke down ({})", ran.status)))?;
    Ok(report(&said))
}

/// The end of a run with those who live on: everything arrives, everybody stops, and what is there is held against
/// what was told.
async fn conclude(town: Town, ears: &Ears, report: &mut Report) -> Result<(), Violation> {
    let stage = town.stage.clone();
    town.end().await?;
    let told = ears.all();
    report.violations = examine(&stage, &told, Expect::Settled).await;
    report.tally.confirmed = confirmed(&told);
    Ok(())
}

/// The role of the party whose disk it is; none for the broker.
fn victim(whose: Whose) -> Option<&'static str> {
    match whose {
        Whose::Recipient => Some(town::RECIPIENT),
        Whose::Sender => town::SENDERS.first().map(|(role, _)| *role),
        Whose::Broker | Whose::All => None,
    }
}

/// Power that goes away: everybody's at once, the broker's, an agent's.
pub const POWER: Kind =
    Kind { name: "power", fault: "loss of power under ext4", needs: Some(DISKS), play: play_power };

/// A disk without space: the broker's, an agent's.
pub const FULL: Kind = Kind {
    name: "full",
    fault: "a write that does not fit on the disk",
    needs: Some(DISKS),
    play: play_full,
};

fn play_power(round: &Round) -> Result<Tally, Failure> {
    match round.seed % 4 {
        0 => play(round, Fault::Power, Whose::Broker, 20),
        1 => play(round, Fault::Power, Whose::All, 100),
        2 => play(round, Fault::Power, Whose::Recipient, 20),
        _ => play(round, Fault::Power, Whose::Sender, 20),
    }
}

fn play_full(round: &Round) -> Result<Tally, Failure> {
    match round.seed % 3 {
        0 => play(round, Fault::Full, Whose::Recipient, 20),
        1 => play(round, Fault::Full, Whose::Broker, 20),
        _ => play(round, Fault::Full, Whose::Sender, 20),
    }
}

fn play(round: &Round, fault: Fault, whose: Whose, cuts: usize) -> Result<Tally, Failure> {
    let plan = Plan {
        dir: round.dir.clone(),
        fault,
        whose,
        seed: round.seed,
        cuts,
        messages: 120,
        start_each: 50,
        sham: 0,
        seconds: round.until.saturating_duration_since(Instant::now()).as_secs(),
    };
    match run(&round.programs, &plan) {
        Ok(report) if report.violations.is_empty() => Ok(report.tally),
        Ok(report) => Err(Failure { violations: report.violations, tally: report.tally }),
        Err(error) => Err(setup(error).into()),
    }
}

const BROKEN: [Broken; 7] =
    [Broken::Lost, Broken::Twice, Broken::Log, Broken::Alarm, Broken::Stuck, Broken::Start, Broken::Setup];

fn show(report: &Report) -> Value {
    let violations = report.violations.iter();
    json!({
        "cuts": report.tally.faults,
        "confirmed": report.tally.confirmed,
        "writes_lost": report.writes_lost,
        "segments": report.segments,
        "violations": violations.map(|one| json!([format!("{:?}", one.broken), one.what])).collect::<Vec<_>>(),
    })
}

fn report(said: &Value) -> Report {
    let count = |key: &str| said[key].as_u64().unwrap_or_default();
    let violations = said["violations"].as_array().into_iter().flatten();
    let violation = |one: &Value| {
        let name = one[0].as_str().unwrap_or_default();
        let broken = BROKEN.into_iter().find(|broken| format!("{broken:?}") == name);
        Violation::new(broken.unwrap_or(Broken::Setup), one[1].as_str().unwrap_or_default())
    };
    Report {
        tally: Tally { faults: count("cuts"), confirmed: count("confirmed") },
        writes_lost: count("writes_lost"),
        segments: count("segments"),
        violations: violations.map(violation).collect(),
    }
}

/// The process inside the namespaces: plays what its arguments say, and prints what came of it.
pub fn inside(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    std::thread::spawn(|| {
        // An error means the same as the end: whoever asked is gone.
        _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(1);
    });
    let plan = match Plan::try_parse_from(args) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let played = std::env::current_exe().map_err(setup).and_then(|own| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(setup)?;
        let programs = Programs(own);
        runtime.block_on(async {
            match (plan.fault, plan.whose) {
                (Fault::Full, _) => full::play(&programs, &plan).await,
                (Fault::Power, Whose::All) => recorded::play(&programs, &plan).await,
                (Fault::Power, _) => live::play(&programs, &plan).await,
            }
        })
    });
    let report =
        played.unwrap_or_else(|violation| Report { violations: vec![violation], ..Report::default() });
    println!("{}", show(&report));
    ExitCode::SUCCESS
}
