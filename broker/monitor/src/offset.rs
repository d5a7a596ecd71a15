//! By how much a partner's clock differs from the broker's.

use core::fmt;

use serde::{Deserialize, Serialize};

/// From this many milliseconds on, seconds say enough.
const SECONDS_FROM: u64 = 10_000;

/// By how many milliseconds a partner's clock is ahead of the broker's, at least and at most; behind is below zero. Shown
/// as the middle of both, and how far it can be from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offset {
    /// At least.
    pub least_ms: i64,
    /// At most.
    pub most_ms: i64,
}

impl Offset {
    /// The middle of both.
    pub const fn middle_ms(self) -> i64 {
        self.least_ms.midpoint(self.most_ms)
    }

    /// How far from the middle it can be.
    pub const fn margin_ms(self) -> u64 {
        self.most_ms.abs_diff(self.least_ms).div_ceil(2)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (middle, margin) = (self.middle_ms(), self.margin_ms());
        let sign = match middle {
            0 => "",
            below if below < 0 => "−",
            _ => "+",
        };
        let size = middle.unsigned_abs();
        if size.max(margin) < SECONDS_FROM {
            write!(f, "{sign}{size} ms ± {margin} ms")
        } else {
            // What the middle loses the margin takes on.
            write!(f, "{sign}{} s ± {} s", size / 1000, margin.div_ceil(1000).saturating_add(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_with_its_sign_and_how_sure_it_is() {
        let shown = |least_ms, most_ms| Offset { least_ms, most_ms }.to_string();
        assert_eq!(shown(-3, 4), "0 ms ± 4 ms");
        assert_eq!(shown(1989, 2011), "+2000 ms ± 11 ms");
        assert_eq!(shown(-1100, -100), "−600 ms ± 500 ms");
        assert_eq!(shown(-3_600_900, -3_600_100), "−3600 s ± 2 s");
        assert_eq!(shown(-12_000, 2), "−5999 ms ± 6001 ms");
        assert!(shown(i64::MIN, i64::MAX).contains('±'));
    }
}
