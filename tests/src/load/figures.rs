//! The figures, for people and for machines.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::crowd::Outcome;
use super::{Plan, Spent};

/// Microseconds at the usual places of a distribution.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// 99 of 100 are faster.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }

    fn to_json(self) -> Value {
        json!({ "p50_us": self.p50, "p99_us": self.p99, "max_us": self.max })
    }
}

/// Everything that was measured.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The plan it was measured under.
    pub plan: Option<Plan>,
    /// Packets of the run at full speed.
    pub packets: usize,
    /// Packets a second, from the first push to the last durable delivery.
    pub packets_per_second: f64,
    /// Latency of the acknowledgement at full speed.
    pub full_ack: Latency,
    /// Latency end to end at full speed.
    pub full_end: Latency,
    /// Rate of the paced run.
    pub paced_rate: f64,
    /// Rate at which the paced run was delivered.
    pub paced_delivered: f64,
    /// Latency of the acknowledgement at that rate.
    pub paced_ack: Latency,
    /// Latency end to end at that rate.
    pub paced_end: Latency,
    /// Rate of the run beside which the witnesses were watched.
    pub watched_rate: f64,
    /// From an entry in the log to a quorum of witnesses over it.
    pub quorum: Latency,
    /// Broker's flushes per packet at full speed.
    pub broker_fsyncs: f64,
    /// Broker's turns a second at full speed.
    pub broker_turns: f64,
    /// All agents' flushes per packet at full speed.
    pub agent_fsyncs: f64,
    /// CPU microseconds per packet in the broker at full speed.
    pub broker_cpu: f64,
    /// CPU microseconds per packet in all agents and this generator at full speed.
    pub agents_cpu: f64,
    /// Broker's resident bytes before anybody connects.
    pub idle_rss: u64,
    /// Broker's most resident bytes.
    pub loaded_rss: u64,
    /// Broker's resident bytes afterwards.
    pub settled_rss: u64,
    /// Packets that waited.
    pub waiting: usize,
    /// Live journal bytes per waiting packet.
    pub disk_waiting: f64,
    /// Live journal bytes per packet once delivered.
    pub disk_delivered: f64,
    /// Bytes of the log's files per packet.
    pub log_bytes: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

impl Figures {
    pub(crate) fn full_speed(&mut self, outcome: &Outcome, spent: &Spent) {
        let packets = float(u64::try_from(outcome.delivered).unwrap_or(u64::MAX));
        self.packets = outcome.delivered;
        self.packets_per_second = packets / outcome.seconds;
        self.full_ack = Latency::of(&outcome.acknowledged);
        self.full_end = Latency::of(&outcome.end_to_end);
        self.broker_fsyncs = float(spent.fsyncs) / packets;
        self.broker_turns = float(spent.turns) / spent.seconds;
        self.agent_fsyncs = float(outcome.agent_syncs) / packets;
        self.broker_cpu = spent.broker_cpu * 1e6 / packets;
        self.agents_cpu = spent.own_cpu * 1e6 / packets;
    }

    pub(crate) fn paced(&mut self, rate: f64, outcome: &Outcome) {
        self.paced_rate = rate;
        let packets = float(u64::try_from(outcome.delivered).unwrap_or(u64::MAX));
        self.paced_delivered = packets / outcome.seconds;
        self.paced_ack = Latency::of(&outcome.acknowledged);
        self.paced_end = Latency::of(&outcome.end_to_end);
    }

    pub(crate) fn quorum(&mut self, waits: &Histogram<u64>) {
        self.quorum = Latency::of(waits);
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        json!({
            "plan": self.plan.as_ref().map(|plan| json!({
                "pairs": plan.pairs, "body_bytes": plan.body, "seconds": plan.seconds, "window": plan.window,
            })),
            "full": {
                "packets": self.packets, "packets_per_second": self.packets_per_second,
                "acknowledged": self.full_ack.to_json(), "end_to_end": self.full_end.to_json(),
            },
            "paced": {
                "rate": self.paced_rate, "delivered_per_second": self.paced_delivered,
                "acknowledged": self.paced_ack.to_json(), "end_to_end": self.paced_end.to_json(),
            },
            "watched": { "rate": self.watched_rate, "quorum": self.quorum.to_json() },
            "per_packet": {
                "broker_fsyncs": self.broker_fsyncs, "agent_fsyncs": self.agent_fsyncs,
                "broker_cpu_us": self.broker_cpu, "agents_cpu_us": self.agents_cpu,
                "journal_bytes_waiting": self.disk_waiting, "journal_bytes_delivered": self.disk_delivered,
                "log_file_bytes": self.log_bytes,
            },
            "broker": {
                "turns_per_second": self.broker_turns, "idle_rss": self.idle_rss,
                "loaded_rss": self.loaded_rss, "settled_rss": self.settled_rss,
            },
        })
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let mut out = String::new();
        let mut row = |what: &str, value: String| _ = writeln!(out, "{what:<46} {value}");
        if let Some(plan) = &self.plan {
            row("senders → recipients, body", format!("{0} → {0}, {1} bytes", plan.pairs, plan.body));
        }
        row(
            "packets/s end to end, full speed",
            format!("{:.0} ({} packets)", self.packets_per_second, self.packets),
        );
        let ms = |latency: Latency| {
            let one = |micros: u64| format!("{:.1}", float(micros) / 1000.0);
            format!("{} / {} / {} ms", one(latency.p50), one(latency.p99), one(latency.max))
        };
        row("  acknowledgement p50 / p99 / max", ms(self.full_ack));
        row("  end to end      p50 / p99 / max", ms(self.full_end));
        row(
            "at half that rate, appointed times",
            format!("{:.0}/s, delivered {:.0}/s", self.paced_rate, self.paced_delivered),
        );
        row("  acknowledgement p50 / p99 / max", ms(self.paced_ack));
        row("  end to end      p50 / p99 / max", ms(self.paced_end));
        row("at a tenth, appointed times", format!("{:.0}/s", self.watched_rate));
        row("  quorum over it  p50 / p99 / max", ms(self.quorum));
        row(
            "fsyncs per packet: broker, all agents",
            format!("{:.3}, {:.3}", self.broker_fsyncs, self.agent_fsyncs),
        );
        row("broker turns/s", format!("{:.0}", self.broker_turns));
        row(
            "CPU µs per packet: broker, agents + generator",
            format!("{:.0}, {:.0}", self.broker_cpu, self.agents_cpu),
        );
        let mib = |bytes: u64| format!("{:.1}", float(bytes) / 1_048_576.0);
        row(
            "broker RSS MiB: idle, most, afterwards",
            format!("{}, {}, {}", mib(self.idle_rss), mib(self.loaded_rss), mib(self.settled_rss)),
        );
        row(
            "live journal bytes/packet: waiting, delivered",
            format!(
                "{:.0}, {:.0} (+ {:.0} in log files)",
                self.disk_waiting, self.disk_delivered, self.log_bytes
            ),
        );
        out
    }
}
