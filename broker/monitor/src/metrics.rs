//! A board as metrics, in the text formats of Prometheus and `OpenMetrics`.
//!
//! What has a metric stands in one table ([`METRICS`]), from which the text and `docs/metrics.md` are made. A label is an
//! OIN of a partner, a word of this program, or a code of a covenant: never what somebody sent that was refused.

mod table;

use core::fmt::{self, Write as _};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use seinhuis_shared::ids::Oin;

use crate::board::Board;
use crate::distribution::Distribution;

pub use table::METRICS;

/// What every name begins with.
const PREFIX: &str = "seinhuis";
/// In the place of an organisation that is no partner.
const UNKNOWN: &str = "unknown";

/// A way to write metrics down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
}

impl Format {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// A board, and what is looked up in it often.
struct Facts<'a> {
    board: &'a Board,
    /// Partners, also those whose access was taken away.
    known: BTreeSet<Oin>,
}

impl Facts<'_> {
    /// An organisation as a label.
    fn party(&self, oin: &Oin) -> String {
        if self.known.contains(oin) { oin.to_string() } else { UNKNOWN.to_owned() }
    }
}

/// Values, each with its labels in the order of [`Metric::labels`].
type Rows<T> = BTreeMap<Vec<String>, T>;

/// Where the values of a metric come from.
#[derive(Clone, Copy)]
enum Values {
    /// The value is in the labels.
    Info(fn(&Board) -> Vec<String>),
    /// What only grows during a run.
    Counter(fn(&Facts<'_>) -> Rows<u64>),
    /// What goes up and down.
    Gauge(fn(&Facts<'_>) -> Rows<f64>),
    /// How often, by how much; the bounds, and how many of them go in one unit of the metric.
    Histogram(fn(&Board) -> Distribution, &'static [u64], f64),
}

/// One metric.
pub struct Metric {
    /// Its name without what it begins and ends with.
    base: &'static str,
    unit: Option<Unit>,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, in Dutch.
    pub nl: &'static str,
    /// What it says, in English.
    pub en: &'static str,
    values: Values,
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metric").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Metric {
    /// Its name, as one asks for it. A histogram's series have `_bucket`, `_sum` or `_count` behind it.
    pub fn name(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let end = match self.values {
            Values::Info(_) => "_info",
            Values::Counter(_) => "_total",
            Values::Gauge(_) | Values::Histogram(..) => "",
        };
        format!("{PREFIX}_{}{unit}{end}", self.base)
    }

    /// The names of its series.
    pub fn series(&self) -> Vec<String> {
        let name = self.name();
        match self.values {
            Values::Histogram(..) => ["bucket", "sum", "count"].map(|end| format!("{name}_{end}")).to_vec(),
            Values::Info(_) | Values::Counter(_) | Values::Gauge(_) => vec![name],
        }
    }

    /// Its kind, as the formats call it.
    pub const fn kind(&self) -> &'static str {
        match self.values {
            Values::Info(_) => "info",
            Values::Counter(_) => "counter",
            Values::Gauge(_) => "gauge",
            Values::Histogram(..) => "histogram",
        }
    }

    const fn metric_type(&self) -> MetricType {
        match self.values {
            Values::Info(_) => MetricType::Info,
            Values::Counter(_) => MetricType::Counter,
            Values::Gauge(_) => MetricType::Gauge,
            Values::Histogram(..) => MetricType::Histogram,
        }
    }

    fn encode(&self, facts: &Facts<'_>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut encoder =
            encoder.encode_descriptor(self.base, self.en, self.unit.as_ref(), self.metric_type())?;
        match self.values {
            Values::Info(labels) => encoder.encode_info(&self.labelled(&labels(facts.board))),
            Values::Counter(rows) => self
                .rows(&rows(facts), &mut encoder, |value, encoder| ConstCounter::new(*value).encode(encoder)),
            Values::Gauge(rows) => self
                .rows(&rows(facts), &mut encoder, |value, encoder| ConstGauge::new(*value).encode(encoder)),
            Values::Histogram(of, bounds, scale) => histogram(&of(facts.board), bounds, scale, &mut encoder),
        }
    }

    fn labelled<'a>(&self, values: &'a [String]) -> Vec<(&'static str, &'a str)> {
        self.labels.iter().copied().zip(values.iter().map(String::as_str)).collect()
    }

    fn rows<T>(
        &self,
        rows: &Rows<T>,
        encoder: &mut MetricEncoder<'_>,
        encode: impl Fn(&T, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        rows.iter().try_for_each(|(labels, value)| {
            let labels = self.labelled(labels);
            encode(value, encoder.encode_family(&labels)?)
        })
    }
}

fn histogram(all: &Distribution, bounds: &[u64], scale: f64, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    let bounds = bounds.iter().map(|bound| float(*bound) / scale).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(all.counts).collect();
    encoder.encode_histogram::<NoLabelSet>(float(all.sum) / scale, all.total(), &buckets, None)
}

/// The nearest float: exact below 2⁵³.
fn float(value: u64) -> f64 {
    let half = |value: u64| f64::from(u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX));
    half(value >> 32).mul_add(4_294_967_296.0, half(value))
}

/// What is asked about once: a board that does not change.
#[derive(Debug)]
struct Snapshot(Arc<Board>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let known = self.0.agents.iter().map(|agent| agent.oin).collect();
        let facts = Facts { board: &self.0, known };
        METRICS.iter().try_for_each(|metric| metric.encode(&facts, &mut encoder))
    }
}

/// A board in one of the formats.
pub fn render(board: &Arc<Board>, format: Format) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Snapshot(Arc::clone(board))));
    let mut out = String::new();
    // Writing to a string does not fail.
    _ = match format {
        Format::OpenMetrics => text::encode(&mut out, &registry),
        Format::Prometheus => prometheus_text::encode(&mut out, &registry),
    };
    out
}

/// The table as Markdown, the middle of `docs/metrics.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "| naam, name | soort, kind | labels | wat het zegt | what it says |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels: Vec<Cow<'_, str>> =
            metric.labels.iter().map(|label| Cow::from(format!("`{label}`"))).collect();
        _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            metric.name(),
            metric.kind(),
            labels.join(", "),
            metric.nl,
            metric.en
        );
    }
    out
}

#[cfg(test)]
mod tests;
