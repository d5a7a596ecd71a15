//! What an overload came to, for people and for tests.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use serde_json::Value;

use super::super::figures::float;
use super::flood::Counts;
use super::{Memory, Noticed, PASSES, Plan};

const MIB: f64 = 1_048_576.0;

/// The figures of one run.
#[derive(Debug)]
pub struct Report {
    pub(super) plan: Plan,
    pub(super) alone: Noticed,
    pub(super) beside: Noticed,
    pub(super) counts: Arc<Counts>,
    pub(super) memory: Vec<Memory>,
    pub(super) status: Value,
}

/// How much memory a process held, and how that changed.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// MiB when the flood began.
    pub first: f64,
    /// Most MiB.
    pub most: f64,
    /// MiB an hour, by least squares over the second half of the flood.
    pub slope: f64,
}

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Report {
    /// Packets the flood submitted, for each of its packets that was accepted.
    pub fn overload(&self) -> f64 {
        float(of(&self.counts.offered)) / float(of(&self.counts.accepted).max(1))
    }

    /// Packets of the flood that were accepted.
    pub fn accepted(&self) -> u64 {
        of(&self.counts.accepted)
    }

    /// Most packets of the flood that its quota lets through in the time it lasted.
    pub fn quota(&self) -> u64 {
        let seconds = self.memory.last().map_or(0.0, |last| last.at);
        // Whole seconds, begun ones too, and what may be had at once.
        std::time::Duration::from_secs_f64(seconds + 2.0).as_secs() * PASSES + PASSES
    }

    /// Messages of the honest pair that arrived, alone and beside the flood; all that were sent.
    pub const fn delivered(&self) -> (usize, usize) {
        (self.alone.delivered, self.beside.delivered)
    }

    /// Whether the broker put anything off that was not the flood's.
    pub fn others_put_off(&self) -> bool {
        let rows = self.status.get("quotas").and_then(Value::as_array).into_iter().flatten();
        let touched = rows.filter(|row| {
            let counts = row.get("put_off").and_then(Value::as_object).into_iter().flatten();
            counts.into_iter().any(|(_, count)| count.as_u64().unwrap_or(1) > 0)
        });
        touched.count() > 1
    }

    /// Memory of the broker.
    pub fn broker(&self) -> Held {
        self.held(|one| one.broker)
    }

    /// Memory of this process: the honest agents and the flood.
    pub fn own(&self) -> Held {
        self.held(|one| one.own)
    }

    fn held(&self, which: fn(&Memory) -> u64) -> Held {
        let mib = |one: &Memory| float(which(one)) / MIB;
        let half = self.memory.get(self.memory.len() / 2..).unwrap_or_default();
        let count = float(u64::try_from(half.len()).unwrap_or(u64::MAX)).max(1.0);
        let mean = |value: &dyn Fn(&Memory) -> f64| half.iter().map(value).sum::<f64>() / count;
        let (at, held) = (mean(&|one| one.at), mean(&mib));
        let spread: f64 = half.iter().map(|one| (one.at - at).powi(2)).sum();
        let together: f64 = half.iter().map(|one| (one.at - at) * (mib(one) - held)).sum();
        Held {
            first: self.memory.first().map_or(0.0, mib),
            most: self.memory.iter().map(mib).fold(0.0, f64::max),
            slope: if spread > 0.0 { together / spread * 3600.0 } else { 0.0 },
        }
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let mut out = String::new();
        let mut row = |what: &str, value: String| _ = writeln!(out, "{what:<46} {value}");
        let seconds = self.memory.last().map_or(0.0, |last| last.at).max(1.0);
        let rate = |counter: &AtomicU64| format!("{:.0}/s", float(of(counter)) / seconds);
        let counts = &self.counts;
        row("flood: seconds, lanes on each of 4 connections", format!("{seconds:.0}, {}", self.plan.lanes));
        row("  submitted, accepted", format!("{}, {}", rate(&counts.offered), rate(&counts.accepted)));
        row("  refused, put off", format!("{}, {}", rate(&counts.refused), rate(&counts.put_off)));
        row("  asked, connections that ended", format!("{}, {}", rate(&counts.asked), of(&counts.cut_off)));
        row("  submitted for each that was accepted", format!("{:.1}", self.overload()));
        let per = |noticed: &Noticed| {
            let delivered = float(u64::try_from(noticed.delivered).unwrap_or(u64::MAX));
            format!("{:.1}/s", delivered / noticed.seconds)
        };
        row(
            "honest pair delivered: alone, beside the flood",
            format!("{}, {} (at {}/s)", per(&self.alone), per(&self.beside), self.plan.rate),
        );
        let ms = |histogram: &Histogram<u64>, quantile| float(histogram.value_at_quantile(quantile)) / 1000.0;
        let compare = |alone: &Histogram<u64>, beside: &Histogram<u64>, quantile| {
            let (alone, beside) = (ms(alone, quantile), ms(beside, quantile));
            format!("{alone:.1}, {beside:.1} ms, ×{:.1}", beside / alone.max(0.001))
        };
        let (alone, beside) = (&self.alone, &self.beside);
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            row(
                &format!("  acknowledgement {name}"),
                compare(&alone.acknowledged, &beside.acknowledged, quantile),
            );
            row(
                &format!("  end to end      {name}"),
                compare(&alone.end_to_end, &beside.end_to_end, quantile),
            );
        }
        for (name, held) in [("broker", self.broker()), ("agents + flood", self.own())] {
            row(
                &format!("RSS MiB, {name}: at first, most; slope"),
                format!("{:.1}, {:.1}; {:+.1} MiB an hour", held.first, held.most, held.slope),
            );
        }
        out
    }
}
