//! Distributions of latency: recorded to three digits, told at fixed places.

use std::io;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::stage::StageError;

/// The places at which a distribution is told, as shares of all that are as fast or faster.
pub const PLACES: [f64; 9] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0];

/// Microseconds at the usual places of a distribution.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// 99 of 100 are faster.
    pub p99: u64,
    /// 999 of 1000 are faster; no more than the slowest when there are fewer.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
    /// At each of [`PLACES`].
    pub at: [u64; PLACES.len()],
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            at: PLACES.map(|place| histogram.value_at_quantile(place)),
        }
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "count": self.count, "p50_us": self.p50, "p99_us": self.p99, "p999_us": self.p999, "max_us": self.max,
            "at_us": PLACES.iter().zip(self.at).map(|(place, micros)| json!([place, micros])).collect::<Vec<_>>(),
        })
    }
}

/// An empty distribution of microseconds, up to ten minutes.
///
/// # Errors
/// When there is no room for it.
pub fn histogram() -> Result<Histogram<u64>, StageError> {
    Histogram::new_with_bounds(1, 600_000_000, 3).map_err(|error| io::Error::other(error.to_string()).into())
}

/// Records how long it was from one moment to another.
///
/// # Errors
/// When that is longer than the distribution reaches.
pub fn record(histogram: &mut Histogram<u64>, from: Instant, to: Instant) -> Result<(), StageError> {
    let micros = u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX);
    histogram.record(micros.max(1)).map_err(|error| io::Error::other(error.to_string()).into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut all = histogram().unwrap();
        let from = Instant::now();
        for millis in 1..=1000 {
            record(&mut all, from, from + Duration::from_millis(millis)).unwrap();
        }
        let latency = Latency::of(&all);
        let close = |micros: u64, millis: u64| micros.abs_diff(millis * 1000) <= millis;
        assert_eq!(latency.count, 1000);
        assert!(close(latency.p50, 500) && close(latency.p99, 990), "{latency:?}");
        assert!(close(latency.p999, 999) && close(latency.max, 1000), "{latency:?}");
        assert!(latency.at.is_sorted() && latency.at[8] == latency.max, "{latency:?}");
        assert_eq!(latency.to_json()["at_us"][8][0], 1.0);
    }

    #[test]
    fn what_ends_before_it_was_due_took_no_time() {
        let mut all = histogram().unwrap();
        let now = Instant::now();
        record(&mut all, now + Duration::from_secs(1), now).unwrap();
        assert_eq!(Latency::of(&all).max, 1);
    }
}
