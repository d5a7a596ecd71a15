//! The load generator's parts: the plan, the crowd of agents, the gauges and the figures.

mod crowd;
mod figures;
mod gauges;
pub mod overload;
mod quorum;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Process, Programs};
use crate::stage::{Member, Stage, StageError};
use crowd::Crowd;
pub use figures::Figures;
use gauges::Usage;
use quorum::Watch;

/// What is measured is the broker, not how long a sender is made to wait.
const QUOTA: &str = "
[quota]
packets = 1000000
packets_burst = 100000000
bytes = 10000000000
bytes_burst = 100000000000
words = 1000000
words_burst = 100000000
questions = 1000000
questions_burst = 100000000
remembered = 100000000
";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of senders and of recipients.
    pub pairs: u8,
    /// Bytes of each body.
    pub body: usize,
    /// Length of each run in seconds.
    pub seconds: u64,
    /// Packets each sender keeps under way at full speed.
    pub window: usize,
    /// Packets that wait for absent recipients.
    pub waiting: usize,
}

/// Sets a partnership up, measures it and takes it down.
///
/// # Errors
/// Whatever keeps it from being measured.
pub fn run(plan: &Plan, dir: Option<&Path>) -> Result<Figures, StageError> {
    let temporary = tempfile::Builder::new().prefix("seinhuis-load-").tempdir()?;
    let dir = dir.unwrap_or_else(|| temporary.path());
    let programs = Programs(std::env::current_exe()?);
    let stage = Stage::set_with(programs, dir, members(dir, plan.pairs), &mut |step| eprintln!("· {step}"))?;
    stage.configure(QUOTA)?;
    let broker = stage.start_broker()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let watch = Watch::default();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| watch.follow(&stage));
        let measured = runtime.block_on(measure(plan, &stage, &broker, &watch));
        watch.end();
        let waits = waits.join().map_err(|_| io::Error::other("the watch over the quorum broke"))?;
        let mut figures = measured?;
        figures.quorum(&waits?);
        Ok(figures)
    })
}

fn members(dir: &Path, pairs: u8) -> Vec<Member> {
    let one = |role: &'static str, kind: u8, number: u8| {
        let label = format!("{role}-{number}");
        Member::new(dir, &label, role, &format!("00000099000000{kind}{number:02}00"), &label)
    };
    (1..=pairs).flat_map(|n| [one("jongerenwerk", 13, n), one("gemeente", 11, n)]).collect()
}

async fn measure(plan: &Plan, stage: &Stage, broker: &Process, watch: &Watch) -> Result<Figures, StageError> {
    let mut figures = Figures { plan: Some(plan.clone()), ..Figures::default() };
    figures.idle_rss = Usage::of(broker.id())?.rss;
    let mut crowd = Crowd::gather(&stage.members, &crowd::body(plan.body)?).await?;

    eprintln!("· packets that wait");
    let empty = disk(stage)?;
    crowd.send_to_absent(plan.waiting).await?;
    let waiting = disk(stage)?;
    figures.waiting = plan.waiting;
    figures.disk_waiting = per(waiting.0 - empty.0, plan.waiting);
    crowd.fetch().await?;
    settle(stage).await?;
    let after = disk(stage)?;
    figures.disk_delivered = per(after.0.saturating_sub(empty.0), plan.waiting);
    figures.log_bytes = per(after.1.saturating_sub(empty.1), plan.waiting);

    eprintln!("· full speed");
    let before = Snapshot::take(stage, broker)?;
    let full = crowd.full_speed(plan.window, Duration::from_secs(plan.seconds)).await?;
    let spent = Snapshot::take(stage, broker)?.since(&before);
    figures.full_speed(&full, &spent);

    eprintln!("· half that rate");
    let rate = figures.packets_per_second / 2.0;
    let paced = crowd.paced(rate, Duration::from_secs(plan.seconds)).await?;
    figures.paced(rate, &paced);
    let usage = Usage::of(broker.id())?;
    figures.loaded_rss = usage.peak_rss;

    eprintln!("· a tenth of it, for the witnesses");
    figures.watched_rate = figures.packets_per_second / 10.0;
    watch.begin();
    crowd.paced(figures.watched_rate, Duration::from_secs(plan.seconds)).await?;
    watch.end();
    watch.done().await;
    crowd.leave().await?;
    settle(stage).await?;
    figures.settled_rss = Usage::of(broker.id())?.rss;
    Ok(figures)
}

/// Lets the broker's index, publisher and housekeeping catch up.
async fn settle(stage: &Stage) -> Result<(), StageError> {
    let mut last = 0;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = number(&stage.broker(&["status"])?, "disk_bytes");
        if now == last {
            return Ok(());
        }
        last = now;
    }
    Ok(())
}

/// What the broker's clocks and counters say at one moment.
struct Snapshot {
    at: Instant,
    broker: Usage,
    own: Usage,
    fsyncs: u64,
    turns: u64,
}

/// The difference between two snapshots.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    pub(crate) broker_cpu: f64,
    pub(crate) own_cpu: f64,
    pub(crate) fsyncs: u64,
    pub(crate) turns: u64,
}

impl Snapshot {
    fn take(stage: &Stage, broker: &Process) -> Result<Self, StageError> {
        let status = stage.broker(&["status"])?;
        Ok(Self {
            at: Instant::now(),
            broker: Usage::of(broker.id())?,
            own: Usage::of(std::process::id())?,
            fsyncs: number(&status, "fsyncs"),
            turns: number(&status, "turns"),
        })
    }

    fn since(&self, earlier: &Self) -> Spent {
        Spent {
            seconds: self.at.duration_since(earlier.at).as_secs_f64(),
            broker_cpu: self.broker.cpu - earlier.broker.cpu,
            own_cpu: self.own.cpu - earlier.own.cpu,
            fsyncs: self.fsyncs - earlier.fsyncs,
            turns: self.turns - earlier.turns,
        }
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Bytes the broker's journal says are live, and bytes of the log's files.
fn disk(stage: &Stage) -> Result<(u64, u64), StageError> {
    let live = number(&stage.broker(&["status"])?, "live_bytes");
    Ok((live, folder(&stage.broker_home().join("log"))?))
}

fn folder(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { folder(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per(bytes: u64, packets: usize) -> f64 {
    bytes as f64 / packets as f64
}
