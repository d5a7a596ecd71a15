//! Counts by minute.

use seinhuis_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// How many minutes are kept: a day.
pub const WINDOW: usize = 24 * 60;
const MINUTE: u64 = Span::minutes(1).0;

/// What happened in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minute {
    /// Packets accepted, once for each recipient.
    pub accepted: u32,
    /// Packets refused.
    pub refused: u32,
    /// Packets acknowledged by their recipient.
    pub delivered: u32,
    /// Packets that ended before their recipient had them: expired, taken back, destroyed.
    pub ended: u32,
}

impl Minute {
    fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_add(other.accepted),
            refused: self.refused.saturating_add(other.refused),
            delivered: self.delivered.saturating_add(other.delivered),
            ended: self.ended.saturating_add(other.ended),
        }
    }
}

/// The last [`WINDOW`] minutes, up to the newest one of which something was told.
#[derive(Debug, Clone)]
pub struct Series {
    /// The newest minute, counted from 1970.
    newest: u64,
    /// Each minute at its number modulo the window.
    ring: Vec<Minute>,
}

impl Default for Series {
    fn default() -> Self {
        Self { newest: 0, ring: vec![Minute::default(); WINDOW] }
    }
}

/// The number of a minute modulo the window.
fn place(minute: u64) -> usize {
    let window = u64::try_from(WINDOW).unwrap_or(u64::MAX);
    minute.checked_rem(window).and_then(|place| usize::try_from(place).ok()).unwrap_or_default()
}

impl Series {
    /// The minute of an instant, to be counted in; none for one that is past the window.
    pub(crate) fn at(&mut self, at: Timestamp) -> Option<&mut Minute> {
        let minute = at.0 / MINUTE;
        let window = u64::try_from(WINDOW).unwrap_or(u64::MAX);
        if minute > self.newest {
            // What the minutes since then held a window ago counts no more.
            let first = self.newest.saturating_add(1).max(minute.saturating_sub(window.saturating_sub(1)));
            for passed in first..=minute {
                if let Some(one) = self.ring.get_mut(place(passed)) {
                    *one = Minute::default();
                }
            }
            self.newest = minute;
        }
        if self.newest.saturating_sub(minute) >= window {
            return None;
        }
        self.ring.get_mut(place(minute))
    }

    fn get(&self, minute: u64) -> Minute {
        let window = u64::try_from(WINDOW).unwrap_or(u64::MAX);
        if minute > self.newest || self.newest.saturating_sub(minute) >= window {
            return Minute::default();
        }
        self.ring.get(place(minute)).copied().unwrap_or_default()
    }

    /// The last `count` minutes that are over at `now`, the oldest first; [`WINDOW`] − 1 at most.
    pub fn whole(&self, now: Timestamp, count: usize) -> Vec<Minute> {
        let current = now.0 / MINUTE;
        let count = u64::try_from(count.min(WINDOW.saturating_sub(1))).unwrap_or_default();
        (current.saturating_sub(count)..current).map(|minute| self.get(minute)).collect()
    }

    /// What happened in the last `count` minutes and the one that is not over.
    pub fn sum(&self, now: Timestamp, count: usize) -> Minute {
        let current = self.get(now.0 / MINUTE);
        self.whole(now, count).into_iter().fold(current, Minute::plus)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(series: &mut Series, at: u64) {
        if let Some(minute) = series.at(Timestamp(at)) {
            minute.accepted += 1;
        }
    }

    #[test]
    fn a_minute_that_is_not_over_is_not_whole() {
        let mut series = Series::default();
        for at in [0, 59_999, 60_000, 180_001] {
            count(&mut series, at);
        }
        let accepted = |now, count| -> Vec<u32> {
            series.whole(Timestamp(now), count).iter().map(|one| one.accepted).collect()
        };
        assert_eq!(accepted(180_001, 3), [2, 1, 0]);
        assert_eq!(accepted(240_000, 2), [0, 1]);
        assert_eq!(series.sum(Timestamp(180_001), 1).accepted, 1);
        assert_eq!(series.sum(Timestamp(180_001), 3).accepted, 4);
    }

    #[test]
    fn a_day_later_nothing_of_it_counts() {
        let mut series = Series::default();
        let day = WINDOW as u64 * MINUTE;
        count(&mut series, 10 * MINUTE);
        assert_eq!(series.sum(Timestamp(10 * MINUTE + day - 1), WINDOW).accepted, 1);
        assert_eq!(series.sum(Timestamp(10 * MINUTE + 2 * day), WINDOW).accepted, 0);
        count(&mut series, 11 * MINUTE + day);
        assert_eq!(
            series.sum(Timestamp(11 * MINUTE + day), WINDOW).accepted,
            1,
            "the first one was overwritten"
        );
        assert!(series.at(Timestamp(0)).is_none(), "what is past the window is not counted");
    }

    proptest! {
        #[test]
        fn the_window_holds_what_a_list_of_all_moments_says(
            mut moments in prop::collection::vec(0_u64..4 * WINDOW as u64 * MINUTE, 0..80),
        ) {
            moments.sort_unstable();
            let mut series = Series::default();
            for at in &moments {
                count(&mut series, *at);
            }
            let now = moments.last().copied().unwrap_or_default();
            let from = (now / MINUTE).saturating_sub(WINDOW as u64 - 1) * MINUTE;
            let expected = moments.iter().filter(|at| **at >= from).count();
            prop_assert_eq!(series.sum(Timestamp(now), WINDOW).accepted as usize, expected);
        }
    }
}
