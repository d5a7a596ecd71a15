//! The figures, for people and for machines.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Plan;
use super::crowd::Outcome;
use super::latency::Latency;
use super::snapshot::Spent;

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
    /// Rate of the paced run: half of full speed, or what was asked.
    pub paced_rate: f64,
    /// Packets of the paced run.
    pub paced_packets: usize,
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
    /// What follows is of the run at full speed; without it, of the paced run. Broker's flushes per packet.
    pub broker_fsyncs: f64,
    /// Broker's turns a second.
    pub broker_turns: f64,
    /// All agents' flushes per packet.
    pub agent_fsyncs: f64,
    /// CPU microseconds per packet in the broker.
    pub broker_cpu: f64,
    /// CPU microseconds per packet in all agents and this generator.
    pub agents_cpu: f64,
    /// Bytes a packet that the broker hands to its disk, where the kernel counts them.
    pub broker_written: Option<f64>,
    /// Bytes a packet that all agents and this generator hand to theirs.
    pub agents_written: Option<f64>,
    /// Broker's resident bytes before anybody connects.
    pub idle_rss: u64,
    /// Broker's most resident bytes.
    pub loaded_rss: u64,
    /// Broker's resident bytes afterwards.
    pub settled_rss: u64,
    /// Most resident bytes of all agents and this generator together.
    pub own_rss: u64,
    /// Packets that waited.
    pub waiting: usize,
    /// Live journal bytes per waiting packet; none when none waited.
    pub disk_waiting: Option<f64>,
    /// Live journal bytes per packet once delivered.
    pub disk_delivered: f64,
    /// Bytes of the log's files per packet.
    pub log_bytes: f64,
    /// Bytes of the disk that the broker's folder takes up at the end.
    pub broker_disk: u64,
    /// Bytes of the disk that all agents' folders take up at the end.
    pub agents_disk: u64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}

impl Figures {
    pub(super) fn full_speed(&mut self, outcome: &Outcome, spent: &Spent) {
        self.packets = outcome.delivered;
        self.packets_per_second = count(outcome.delivered) / outcome.seconds;
        self.full_ack = Latency::of(&outcome.acknowledged);
        self.full_end = Latency::of(&outcome.end_to_end);
        self.costs(outcome, spent);
    }

    pub(super) fn paced(&mut self, rate: f64, outcome: &Outcome, spent: &Spent) {
        self.paced_rate = rate;
        self.paced_packets = outcome.delivered;
        self.paced_delivered = count(outcome.delivered) / outcome.seconds;
        self.paced_ack = Latency::of(&outcome.acknowledged);
        self.paced_end = Latency::of(&outcome.end_to_end);
        if !self.has_full() {
            self.costs(outcome, spent);
        }
    }

    fn costs(&mut self, outcome: &Outcome, spent: &Spent) {
        let packets = count(outcome.delivered);
        self.broker_fsyncs = float(spent.fsyncs) / packets;
        self.broker_turns = float(spent.turns) / spent.seconds;
        self.agent_fsyncs = float(outcome.agent_syncs) / packets;
        self.broker_cpu = spent.broker_cpu * 1e6 / packets;
        self.agents_cpu = spent.own_cpu * 1e6 / packets;
        self.broker_written = spent.broker_written.map(|bytes| float(bytes) / packets);
        self.agents_written = spent.own_written.map(|bytes| float(bytes) / packets);
    }

    pub(super) fn quorum(&mut self, waits: &Histogram<u64>) {
        self.quorum = Latency::of(waits);
    }

    /// Whether there was a run at full speed.
    pub fn has_full(&self) -> bool {
        self.plan.as_ref().is_none_or(|plan| plan.rate.is_none())
    }

    /// Deliveries a second and megabytes of bodies a second, of so many packets.
    fn carried(&self, packets_per_second: f64) -> (f64, f64) {
        let plan = self.plan.clone().unwrap_or_default();
        let deliveries = packets_per_second * f64::from(plan.recipients);
        (deliveries, packets_per_second * count(plan.body) / 1e6)
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let (deliveries, megabytes) = self.carried(self.packets_per_second);
        let full = json!({
            "packets": self.packets, "packets_per_second": self.packets_per_second,
            "deliveries_per_second": deliveries, "body_megabytes_per_second": megabytes,
            "acknowledged": self.full_ack.to_json(), "end_to_end": self.full_end.to_json(),
        });
        let watched = json!({ "rate": self.watched_rate, "quorum": self.quorum.to_json() });
        json!({
            "plan": self.plan.as_ref().map(Plan::to_json),
            "full": self.has_full().then_some(full),
            "paced": {
                "rate": self.paced_rate, "packets": self.paced_packets,
                "delivered_per_second": self.paced_delivered,
                "acknowledged": self.paced_ack.to_json(), "end_to_end": self.paced_end.to_json(),
            },
            "watched": (self.watched_rate > 0.0).then_some(watched),
            "per_packet": {
                "of": if self.has_full() { "full" } else { "paced" },
                "broker_fsyncs": self.broker_fsyncs, "agent_fsyncs": self.agent_fsyncs,
                "broker_cpu_us": self.broker_cpu, "agents_cpu_us": self.agents_cpu,
                "broker_written_bytes": self.broker_written, "agents_written_bytes": self.agents_written,
                "journal_bytes_waiting": self.disk_waiting, "journal_bytes_delivered": self.disk_delivered,
                "log_file_bytes": self.log_bytes,
            },
            "broker": {
                "turns_per_second": self.broker_turns, "idle_rss": self.idle_rss,
                "loaded_rss": self.loaded_rss, "settled_rss": self.settled_rss, "disk_bytes": self.broker_disk,
            },
            "agents": { "loaded_rss": self.own_rss, "disk_bytes": self.agents_disk },
        })
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let mut rows = Vec::new();
        self.rows_of_runs(&mut rows);
        self.rows_of_costs(&mut rows);
        rows.into_iter().fold(String::new(), |mut out, (what, value)| {
            _ = writeln!(out, "{what:<46} {value}");
            out
        })
    }

    fn rows_of_runs(&self, rows: &mut Vec<(&str, String)>) {
        let plan = self.plan.clone().unwrap_or_default();
        let [one, two, three] = ["  acknowledgement", "  end to end", "  quorum over it"];
        rows.push(("senders → recipients", format!("{} → {}", plan.pairs, plan.receivers())));
        rows.push((
            "each packet",
            format!("{} recipients, body of {} bytes, {}", plan.recipients, plan.body, plan.flow().id()),
        ));
        rows.push(("latencies", "p50 / p99 / p99.9 / max".to_owned()));
        if self.has_full() {
            let (deliveries, megabytes) = self.carried(self.packets_per_second);
            let rate = format!("{:.0} ({} packets)", self.packets_per_second, self.packets);
            rows.push(("packets/s end to end, full speed", rate));
            let carried = format!("{deliveries:.0}/s, {megabytes:.2} MB/s");
            rows.push(("  deliveries, bodies", carried));
            rows.extend([(one, ms(self.full_ack)), (two, ms(self.full_end))]);
        }
        let what = if self.has_full() {
            "at half that rate, appointed times"
        } else {
            "at the rate that was asked, appointed times"
        };
        rows.push((what, format!("{:.0}/s, delivered {:.0}/s", self.paced_rate, self.paced_delivered)));
        rows.extend([(one, ms(self.paced_ack)), (two, ms(self.paced_end))]);
        if self.watched_rate > 0.0 {
            rows.push(("at a tenth, appointed times", format!("{:.0}/s", self.watched_rate)));
            rows.push((three, ms(self.quorum)));
        }
    }

    fn rows_of_costs(&self, rows: &mut Vec<(&str, String)>) {
        let mib = |bytes: u64| format!("{:.1}", float(bytes) / 1_048_576.0);
        let some = |bytes: Option<f64>| bytes.map_or("?".to_owned(), |bytes| format!("{bytes:.0}"));
        rows.push((
            "flushes of journals/packet: broker, agents",
            format!("{:.3}, {:.3}", self.broker_fsyncs, self.agent_fsyncs),
        ));
        rows.push(("broker turns/s", format!("{:.0}", self.broker_turns)));
        rows.push((
            "CPU µs per packet: broker, agents + generator",
            format!("{:.0}, {:.0}", self.broker_cpu, self.agents_cpu),
        ));
        rows.push((
            "bytes to disk per packet: broker, all agents",
            format!("{}, {}", some(self.broker_written), some(self.agents_written)),
        ));
        rows.push((
            "broker RSS MiB: idle, most, afterwards",
            format!("{}, {}, {}", mib(self.idle_rss), mib(self.loaded_rss), mib(self.settled_rss)),
        ));
        rows.push(("agents + generator RSS MiB: most", mib(self.own_rss)));
        let waiting = self.disk_waiting.map_or("none waited".to_owned(), |bytes| format!("{bytes:.0}"));
        rows.push((
            "live journal bytes/packet: waiting, delivered",
            format!("{waiting}, {:.0} (+ {:.0} in log files)", self.disk_delivered, self.log_bytes),
        ));
        rows.push((
            "disk MiB at the end: broker, all agents",
            format!("{}, {}", mib(self.broker_disk), mib(self.agents_disk)),
        ));
    }
}

fn ms(latency: Latency) -> String {
    let one = |micros: u64| format!("{:.1}", float(micros) / 1000.0);
    let places = [latency.p50, latency.p99, latency.p999, latency.max].map(one);
    format!("{} ms", places.join(" / "))
}
