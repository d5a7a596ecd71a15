//! How long an entry waits for a quorum of witnesses.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::Value;

use super::latency::{histogram, record};
use crate::stage::{Stage, StageError};

/// How far apart the broker is asked at least.
const APART: Duration = Duration::from_millis(10);
/// Longest wait for the last quorum.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the broker's status said at one moment.
struct Sample {
    at: Instant,
    size: u64,
    witnessed: u64,
}

/// Follows, beside the run, how far the log is and how far its newest quorum.
#[derive(Default)]
pub(crate) struct Watch {
    on: AtomicBool,
    over: AtomicBool,
    done: AtomicBool,
}

impl Watch {
    pub(crate) fn begin(&self) {
        self.on.store(true, Ordering::Release);
    }

    /// No more is sent: what was logged still waits for its quorum.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Waits until the last quorum was seen, or will not be.
    pub(crate) async fn done(&self) {
        while !self.done.load(Ordering::Acquire) {
            tokio::time::sleep(APART).await;
        }
    }

    /// Microseconds from when an entry was first seen in the log to when a quorum over it was. Each is too long by up to
    /// the time between two questions.
    ///
    /// # Errors
    /// When the broker does not answer, or no quorum comes.
    pub(crate) fn follow(&self, stage: &Stage) -> Result<Histogram<u64>, StageError> {
        let samples = self.samples(stage);
        self.done.store(true, Ordering::Release);
        waits(&samples?)
    }

    fn samples(&self, stage: &Stage) -> Result<Vec<Sample>, StageError> {
        let mut samples: Vec<Sample> = Vec::new();
        let mut deadline = None;
        loop {
            let over = self.over.load(Ordering::Acquire);
            if self.on.load(Ordering::Acquire) {
                samples.push(sample(stage)?);
            }
            let behind = samples.last().is_some_and(|last| last.witnessed < last.size);
            if over && !behind {
                return Ok(samples);
            }
            if over && *deadline.get_or_insert_with(|| Instant::now() + PATIENCE) < Instant::now() {
                return Err(io::Error::other("no quorum over the last entries").into());
            }
            std::thread::sleep(APART);
        }
    }
}

fn sample(stage: &Stage) -> Result<Sample, StageError> {
    let status = stage.broker(&["status"])?;
    let number = |place: &str| status.pointer(place).and_then(Value::as_u64).unwrap_or_default();
    let (size, witnessed) = (number("/log/size"), number("/witnesses/covenants/0/size"));
    Ok(Sample { at: Instant::now(), size, witnessed })
}

fn waits(samples: &[Sample]) -> Result<Histogram<u64>, StageError> {
    let mut waits = histogram()?;
    let grown = samples.iter().zip(samples.iter().skip(1)).filter(|(before, after)| after.size > before.size);
    let mut grown = grown.map(|(_, after)| after).peekable();
    for sample in samples {
        while let Some(entry) = grown.next_if(|entry| entry.size <= sample.witnessed) {
            record(&mut waits, entry.at, sample.at)?;
        }
    }
    Ok(waits)
}
