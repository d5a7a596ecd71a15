//! How often something took how long, in fixed steps.

use serde::{Deserialize, Serialize};

/// Upper bounds of the steps for flushes, in milliseconds; what took longer has a step of its own.
pub const FLUSH_MILLIS: &[u64] = &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];
/// Upper bounds of the steps for log entries in a turn.
pub const BATCH_ENTRIES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// Counts by step. Made for one list of bounds, which whoever counts and whoever reads has to give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// How many values were at most each bound and above the one before; the last for those above all.
    pub counts: [u64; 12],
    /// The values together.
    pub sum: u64,
}

const _: () = assert!(FLUSH_MILLIS.len() == 11 && BATCH_ENTRIES.len() == 11);

impl Distribution {
    /// Counts one value.
    pub fn count(&mut self, value: u64, bounds: &[u64]) {
        let step = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.counts.get_mut(step) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// How many values there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The bound that so many of a thousand values do not exceed; none without values, or when it is above all bounds.
    pub fn quantile(&self, per_mille: u64, bounds: &[u64]) -> Option<u64> {
        let wanted = self.total().saturating_mul(per_mille).div_ceil(1000);
        if wanted == 0 {
            return None;
        }
        let mut sum = 0_u64;
        self.counts.iter().zip(bounds).find_map(|(count, bound)| {
            sum = sum.saturating_add(*count);
            (sum >= wanted).then_some(*bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_bound_that_holds() {
        let mut all = Distribution::default();
        assert_eq!(all.quantile(500, FLUSH_MILLIS), None);
        for value in [0, 1, 3, 3, 3, 3, 3, 3, 40, 9999] {
            all.count(value, FLUSH_MILLIS);
        }
        assert_eq!((all.total(), all.sum), (10, 10_058));
        assert_eq!(all.quantile(200, FLUSH_MILLIS), Some(1));
        assert_eq!(all.quantile(500, FLUSH_MILLIS), Some(5));
        assert_eq!(all.quantile(900, FLUSH_MILLIS), Some(50));
        assert_eq!(all.quantile(990, FLUSH_MILLIS), None, "above all bounds");
    }
}
