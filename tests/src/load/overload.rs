//! Overload: what others notice of one partner that brings far more than passes, and what memory it costs.
//!
//! A pair of honest agents sends at a modest rate, first alone and then beside a flood to a recipient that
//! is connected and reads nothing. Measured in one run: latency and throughput of the honest pair in both, what the
//! flood offered and what passed, and the resident memory of the broker and of this process, which holds the honest
//! agents and the flood itself.

mod flood;
mod report;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::crowd::{self, Crowd};
use super::gauges::Usage;
use crate::process::{Process, Programs};
use crate::raw::Raw;
use crate::stage::{Stage, StageError};
pub use report::Report;

/// Packets a second that the broker lets one partner through, here: a tenth of what a small machine can be offered.
const PASSES: u64 = 50;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Length of one run of the honest pair; what it sent is counted after each.
const STRETCH: Duration = Duration::from_secs(15);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Packets a second of the honest pair.
    pub rate: f64,
    /// How long it sends alone.
    pub quiet: Duration,
    /// How long it sends beside the flood.
    pub flooded: Duration,
    /// Lanes of the flood on each of its connections.
    pub lanes: usize,
}

/// What the honest pair noticed.
#[derive(Debug)]
pub(super) struct Noticed {
    pub(super) seconds: f64,
    pub(super) delivered: usize,
    pub(super) acknowledged: Histogram<u64>,
    pub(super) end_to_end: Histogram<u64>,
}

/// Resident bytes at a moment, in seconds since the flood began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) at: f64,
    pub(super) broker: u64,
    pub(super) own: u64,
}

/// Sets a partnership up, measures it and takes it down. `programs` is a binary that holds all programs.
///
/// # Errors
/// Whatever keeps it from being measured; an honest message that does not arrive.
pub fn run(plan: &Plan, programs: Programs, dir: Option<&Path>) -> Result<Report, StageError> {
    let temporary = tempfile::Builder::new().prefix("seinhuis-overload-").tempdir()?;
    let dir = dir.unwrap_or_else(|| temporary.path());
    let stage = Stage::set_with(programs, dir, super::members(dir, 2), &mut |step| eprintln!("· {step}"))?;
    stage.configure(&format!("\n[quota]\npackets = {PASSES}\npackets_burst = {PASSES}\n"))?;
    let broker = stage.start_broker()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(plan, &stage, &broker))
}

async fn measure(plan: &Plan, stage: &Stage, broker: &Process) -> Result<Report, StageError> {
    let [_, _, flooder, deaf] = stage.members.as_slice() else {
        return Err(io::Error::other("two pairs take part").into());
    };
    let mut pair = Crowd::gather(&stage.members[..2], &crowd::body(1024)?).await?;
    pair.open_recipients()?;
    eprintln!("· the honest pair alone");
    let alone = honest(&mut pair, plan.rate, plan.quiet).await?;

    eprintln!("· beside a flood");
    let deaf_session = Raw::open(&deaf.home).await.map_err(|error| flood::failed(&error))?;
    let flood = flood::Flood::begin(stage, flooder, deaf, plan.lanes).await?;
    let gauge = Gauge::begin(broker.id());
    let beside = honest(&mut pair, plan.rate, plan.flooded).await?;
    let memory = gauge.end().await?;
    let counts = flood.end().await;
    drop(deaf_session);
    let status = stage.broker(&["status"])?;
    pair.leave().await?;
    Ok(Report { plan: plan.clone(), alone, beside, counts, memory, status })
}

/// Has the honest pair send at appointed times, and waits until all of it has arrived.
async fn honest(pair: &mut Crowd, rate: f64, length: Duration) -> Result<Noticed, StageError> {
    let (began, mut delivered) = (Instant::now(), 0);
    let (mut acknowledged, mut end_to_end) = (crowd::histogram()?, crowd::histogram()?);
    let wrong = |error: hdrhistogram::AdditionError| io::Error::other(error.to_string());
    while began.elapsed() < length {
        let stretch = STRETCH.min(length.saturating_sub(began.elapsed()));
        let outcome = pair.paced(rate, stretch).await?;
        delivered += outcome.delivered;
        acknowledged.add(&outcome.acknowledged).map_err(wrong)?;
        end_to_end.add(&outcome.end_to_end).map_err(wrong)?;
    }
    Ok(Noticed { seconds: began.elapsed().as_secs_f64(), delivered, acknowledged, end_to_end })
}

/// Looks at memory until told to end.
struct Gauge {
    stop: Arc<Notify>,
    task: tokio::task::JoinHandle<io::Result<Vec<Memory>>>,
}

impl Gauge {
    fn begin(broker: u32) -> Self {
        let stop = Arc::new(Notify::new());
        let over = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (began, mut seen) = (Instant::now(), Vec::new());
            loop {
                let (broker, own) = (Usage::of(broker)?.rss, Usage::of(std::process::id())?.rss);
                seen.push(Memory { at: began.elapsed().as_secs_f64(), broker, own });
                tokio::select! {
                    () = over.notified() => return Ok(seen),
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
        Self { stop, task }
    }

    async fn end(self) -> Result<Vec<Memory>, StageError> {
        self.stop.notify_one();
        Ok(self.task.await.map_err(io::Error::other)??)
    }
}
