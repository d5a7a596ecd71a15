//! Room between turns.
//!
//! Every turn has a price that does not depend on how much it does: the flush of the store, at the broker also
//! the signature under the log's new head, which every partner it concerns verifies and has proved. An engine
//! that starts its next turn the moment the last one is over pays it for a packet or two at a time and keeps
//! all cores busy far below what the machine can carry. With the starts of turns kept apart, the first input
//! after a pause waits for nothing, and those that come in a stream share the price.
//!
//! How far apart follows the load. A turn that is over at once was cheap, or had the machine to itself: the next one
//! follows soon. Where cores or disk are in demand turns take longer, and the wait grows with them up to its bound.

use std::thread;
use std::time::{Duration, Instant};

/// How many times the length of the last turn lies between its start and that of the next: an engine is idle for
/// at least half of the time, until its turns take longer than half of the bound.
const SHARE: u32 = 2;

/// Keeps the starts of turns apart.
#[derive(Debug)]
pub struct Pace {
    most: Duration,
    /// When the last turn started, and how far from that the next may.
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// Turns that start at most `most` later than they could.
    pub const fn new(most: Duration) -> Self {
        Self { most, last: None }
    }

    /// Waits until the next turn may start; gives the instant at which it does.
    pub fn begin(&self) -> Instant {
        thread::sleep(self.wait(Instant::now()));
        Instant::now()
    }

    /// How long the next turn has to wait at `now`.
    fn wait(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |(started, apart)| {
            apart.saturating_sub(now.saturating_duration_since(started))
        })
    }

    /// A turn that has the price was started at `started` and is over.
    pub fn over(&mut self, started: Instant) {
        self.ended(started, started.elapsed());
    }

    fn ended(&mut self, started: Instant, length: Duration) {
        self.last = Some((started, length.saturating_mul(SHARE).min(self.most)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_turn_after_a_turn_waits_and_only_for_the_rest() {
        let millis = Duration::from_millis;
        let (mut pace, start) = (Pace::new(millis(8)), Instant::now());
        assert_eq!(pace.wait(start), Duration::ZERO, "the first");
        pace.ended(start, millis(7));
        assert_eq!(pace.wait(start + millis(7)), millis(1));
        assert_eq!(pace.wait(start + millis(9)), Duration::ZERO, "after a pause");
    }

    #[test]
    fn a_turn_that_took_long_holds_up_the_next_for_longer_and_never_beyond_the_bound() {
        let (mut pace, start) = (Pace::new(Duration::from_millis(8)), Instant::now());
        for (took, wait) in [(0, 0), (1, 1), (3, 3), (4, 4), (6, 2), (8, 0), (500, 0)] {
            pace.ended(start, Duration::from_millis(took));
            let over = start + Duration::from_millis(took);
            assert_eq!(pace.wait(over), Duration::from_millis(wait), "{took} ms");
        }
    }
}
