//! What clocks and counters of the broker and of this process say at one moment, and what lies between two.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::gauges::{Usage, folder};
use crate::process::Process;
use crate::stage::{Stage, StageError};

/// What the clocks and counters say at one moment.
pub(super) struct Snapshot {
    at: Instant,
    broker: Usage,
    own: Usage,
    fsyncs: u64,
    turns: u64,
}

/// The difference between two snapshots.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    pub(super) seconds: f64,
    pub(super) broker_cpu: f64,
    pub(super) own_cpu: f64,
    pub(super) broker_written: Option<u64>,
    pub(super) own_written: Option<u64>,
    pub(super) fsyncs: u64,
    pub(super) turns: u64,
}

impl Snapshot {
    pub(super) fn take(stage: &Stage, broker: &Process) -> Result<Self, StageError> {
        let status = stage.broker(&["status"])?;
        Ok(Self {
            at: Instant::now(),
            broker: Usage::of(broker.id())?,
            own: Usage::of(std::process::id())?,
            fsyncs: number(&status, "fsyncs"),
            turns: number(&status, "turns"),
        })
    }

    pub(super) fn since(&self, earlier: &Self) -> Spent {
        let written = |now: &Usage, then: &Usage| Some(now.written?.saturating_sub(then.written?));
        Spent {
            seconds: self.at.duration_since(earlier.at).as_secs_f64(),
            broker_cpu: self.broker.cpu - earlier.broker.cpu,
            own_cpu: self.own.cpu - earlier.own.cpu,
            broker_written: written(&self.broker, &earlier.broker),
            own_written: written(&self.own, &earlier.own),
            fsyncs: self.fsyncs - earlier.fsyncs,
            turns: self.turns - earlier.turns,
        }
    }
}

/// What the broker keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Live bytes of its journal.
    pub(super) live: u64,
    /// Bytes of the log's files.
    pub(super) log: u64,
}

impl Kept {
    pub(super) fn by(stage: &Stage) -> Result<Self, StageError> {
        let live = number(&stage.broker(&["status"])?, "live_bytes");
        Ok(Self { live, log: folder(&stage.broker_home().join("log"))?.0 })
    }
}

/// Bytes of the disk that the broker's folder and those of all agents take up.
pub(super) fn taken(stage: &Stage) -> Result<(u64, u64), StageError> {
    let mut agents = 0;
    for member in &stage.members {
        agents += folder(&member.home)?.1;
    }
    Ok((folder(&stage.broker_home())?.1, agents))
}

/// Lets the broker's index, publisher and housekeeping catch up.
pub(super) async fn settle(stage: &Stage) -> Result<(), StageError> {
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

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}
