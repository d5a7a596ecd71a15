//! Room between turns.
//!
//! Every turn has a price that does not depend on how much it does: the flush of the store, at the broker also
//! the signature under the log's new head, which every partner it concerns verifies and has proved. An engine
//! that starts its next turn the moment the last one is over pays it for a packet or two at a time and keeps
//! all cores busy far below what the machine can carry. With the starts of turns kept apart, the first input
//! after a pause waits for nothing, and those that come in a stream share the price.

use std::thread;
use std::time::{Duration, Instant};

/// Keeps the starts of turns at least a given time apart.
#[derive(Debug)]
pub struct Pace {
    apart: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// Turns that start at least `apart` after one another.
    pub const fn new(apart: Duration) -> Self {
        Self { apart, last: None }
    }

    /// Waits until the next turn may start; gives the instant at which it does.
    pub fn begin(&self) -> Instant {
        thread::sleep(self.wait(Instant::now()));
        Instant::now()
    }

    /// How long the next turn has to wait at `now`.
    fn wait(&self, now: Instant) -> Duration {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        since.map_or(Duration::ZERO, |since| self.apart.saturating_sub(since))
    }

    /// A turn that has the price was started at `at`.
    pub const fn started(&mut self, at: Instant) {
        self.last = Some(at);
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
        pace.started(start);
        assert_eq!(pace.wait(start), millis(8));
        assert_eq!(pace.wait(start + millis(5)), millis(3));
        assert_eq!(pace.wait(start + millis(9)), Duration::ZERO, "after a pause");
    }
}
