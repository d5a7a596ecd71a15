//! The figures, for people and for machines.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Plan;
use crate::peer::Facts;

/// Microseconds from when a packet was due until its sender knew that it was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Confirm {
    /// The median.
    pub(crate) p50: u64,
    /// 99 of 100 are faster.
    pub(crate) p99: u64,
}

impl Confirm {
    /// Those of a distribution.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self { p50: histogram.value_at_quantile(0.5), p99: histogram.value_at_quantile(0.99) }
    }
}

/// What was measured of one system.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Measured {
    /// Packets of the run at full speed.
    pub(crate) packets: u64,
    /// Packets a second, from the first publication to the last delivery.
    pub(crate) per_second: f64,
    /// The confirm at full speed.
    pub(crate) full: Confirm,
    /// Packets a second of the paced run.
    pub(crate) half_rate: f64,
    /// The confirm at that rate.
    pub(crate) half: Confirm,
    /// CPU microseconds a packet of the server, at full speed.
    pub(crate) server_cpu: f64,
    /// Those of all senders and recipients.
    pub(crate) clients_cpu: f64,
    /// Flushes a packet of the server, at full speed in a run of its own; none when they were not counted.
    pub(crate) flushes: Option<f64>,
}

/// One column of the table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// What it is.
    pub(crate) facts: Facts,
    /// Which version.
    pub(crate) version: String,
    /// Its figures, or why there are none.
    pub(crate) measured: Result<Measured, String>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    /// What was measured.
    pub(crate) plan: &'a Plan,
    /// Seinhuis first.
    pub(crate) columns: Vec<Column>,
}

impl Column {
    /// Whether it flushes what it confirms: by its configuration, and as far as was counted.
    fn flushes(&self, under_way: f64) -> bool {
        // No more can wait for one flush than is under way: fewer flushes cannot have preceded every confirm.
        let counted = |measured: &Measured| measured.flushes.is_none_or(|one| one * under_way >= 1.0);
        self.facts.durable && self.measured.as_ref().is_ok_and(counted)
    }
}

type Row = (&'static str, fn(&Measured) -> String);

const ROWS: [Row; 8] = [
    ("packets/s end to end, full speed", |m| format!("{:.0}", m.per_second)),
    ("confirm at full speed, p50 / p99 ms", |m| m.full.to_string()),
    ("half of it, at appointed times, packets/s", |m| format!("{:.0}", m.half_rate)),
    ("confirm at that rate, p50 / p99 ms", |m| m.half.to_string()),
    ("CPU µs a packet, server", |m| format!("{:.0}", m.server_cpu)),
    ("CPU µs a packet, all senders and recipients", |m| format!("{:.0}", m.clients_cpu)),
    ("flushes a packet, server", |m| m.flushes.map_or("not counted".to_owned(), |n| format!("{n:.4}"))),
    ("flushes a second at that rate", |m| {
        m.flushes.map_or("not counted".to_owned(), |n| format!("{:.0}", n * m.per_second))
    }),
];

impl std::fmt::Display for Confirm {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} / {:.1}", self.p50 as f64 / 1000.0, self.p99 as f64 / 1000.0)
    }
}

impl Table<'_> {
    /// The best of those that flush what they confirm, and Seinhuis's rate as a multiple of its rate.
    fn ratio(&self) -> Option<(&Column, f64)> {
        let rate = |column: &Column| column.measured.as_ref().map_or(0.0, |measured| measured.per_second);
        let (own, peers) = self.columns.split_first()?;
        let flushing = peers.iter().filter(|column| column.flushes(self.plan.under_way()));
        let best = flushing.max_by(|one, other| rate(one).total_cmp(&rate(other)))?;
        (own.facts.name == crate::seinhuis::FACTS.name && rate(own) > 0.0)
            .then(|| (best, rate(own) / rate(best)))
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut out = format!("{}\n\n", self.plan);
        let mut line = |what: &str, cells: Vec<String>| {
            _ = write!(out, "{what:<46}");
            for cell in cells {
                _ = write!(out, " {cell:>21}");
            }
            out.push('\n');
        };
        let named = |column: &Column| format!("{} {}", column.facts.name, column.version);
        line("", self.columns.iter().map(named).collect());
        for (what, cell) in ROWS {
            let cells =
                self.columns.iter().map(|column| column.measured.as_ref().map_or("-".to_owned(), cell));
            line(what, cells.collect());
        }
        let flushes = |column: &Column| match &column.measured {
            Ok(_) if column.flushes(self.plan.under_way()) => "yes".to_owned(),
            Ok(_) => "no".to_owned(),
            Err(_) => "-".to_owned(),
        };
        line("what it confirms is flushed", self.columns.iter().map(flushes).collect());
        out.push('\n');
        for column in &self.columns {
            let said = match &column.measured {
                Ok(_) => format!("flushes {}", column.facts.flushes),
                Err(why) => format!("not measured: {why}"),
            };
            _ = writeln!(out, "{}: {said}", column.facts.name);
        }
        _ = match self.ratio() {
            Some((best, ratio)) => {
                writeln!(out, "\nSeinhuis / {}, the best that flushes: {ratio:.2}", best.facts.name)
            }
            None => writeln!(out, "\nNo ratio: Seinhuis or every peer that flushes was not measured."),
        };
        out
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        let column = |column: &Column| {
            let mut value = json!({
                "name": column.facts.name, "version": column.version,
                "flushes": column.facts.flushes, "flushes_what_it_confirms": column.flushes(self.plan.under_way()),
            });
            match &column.measured {
                Ok(measured) => value["measured"] = measured.to_json(),
                Err(why) => value["not_measured"] = why.as_str().into(),
            }
            value
        };
        let ratio = self.ratio().map(|(best, ratio)| json!({ "to": best.facts.name, "ratio": ratio }));
        json!({
            "plan": self.plan.to_json(), "ratio": ratio,
            "systems": self.columns.iter().map(column).collect::<Vec<_>>(),
        })
    }
}

impl Measured {
    fn to_json(&self) -> Value {
        json!({
            "packets": self.packets, "packets_per_second": self.per_second,
            "full": { "confirm_p50_us": self.full.p50, "confirm_p99_us": self.full.p99 },
            "half": {
                "packets_per_second": self.half_rate,
                "confirm_p50_us": self.half.p50, "confirm_p99_us": self.half.p99,
            },
            "server_cpu_us": self.server_cpu, "clients_cpu_us": self.clients_cpu,
            "server_flushes_per_packet": self.flushes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{peer, seinhuis};
    use peer::Peer as _;

    fn column(facts: Facts, per_second: f64, flushes: Option<f64>) -> Column {
        let measured = Measured { per_second, flushes, ..Measured::default() };
        Column { facts, version: "1".to_owned(), measured: Ok(measured) }
    }

    #[test]
    fn the_best_is_the_fastest_of_those_that_flush() {
        let plan = Plan::default();
        let mut table = Table {
            plan: &plan,
            columns: vec![
                column(seinhuis::FACTS, 100.0, Some(0.02)),
                column(peer::nats::Nats::FACTS, 40.0, Some(1.0)),
                column(peer::rabbitmq::RabbitMq::FACTS, 50.0, Some(0.01)),
                column(peer::mosquitto::Mosquitto::FACTS, 900.0, Some(1.0)),
            ],
        };
        let best = |table: &Table<'_>| table.ratio().map(|(best, ratio)| (best.facts.name, ratio));
        assert_eq!(best(&table), Some(("RabbitMQ", 2.0)));
        table.columns[2].measured.as_mut().unwrap().flushes = Some(0.0001);
        assert_eq!(best(&table), Some(("NATS JetStream", 2.5)), "too few flushes for what it says");
        table.columns[1].measured = Err("not there".to_owned());
        assert_eq!(best(&table), None);
        assert!(table.to_text().contains("NATS JetStream: not measured: not there"));
    }
}
