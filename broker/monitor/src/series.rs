//! Counts by minute.

use seinhuis_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// How many minutes are kept: a day.
pub const WINDOW: usize = 24 * 60;
const MINUTE: u64 = Span::minutes(1).0;
/// Minutes in a [`Quarter`].
const STEP: usize = 15;
/// How many minutes there is room for: a day of quarters that are over, and the one that is not.
const RING: usize = WINDOW + STEP;

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

/// What happened in a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarter {
    /// When it began.
    pub begins: Timestamp,
    /// What happened.
    pub all: Minute,
    /// How many packets waited when it was over.
    pub waiting: u64,
}

/// The last minutes, a day at least, up to the newest one of which something was told.
#[derive(Debug, Clone)]
pub struct Series {
    /// The newest minute, counted from 1970.
    newest: u64,
    /// Each minute at its number modulo [`RING`].
    ring: Vec<Minute>,
}

impl Default for Series {
    fn default() -> Self {
        Self { newest: 0, ring: vec![Minute::default(); RING] }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The number of a minute modulo [`RING`].
fn place(minute: u64) -> usize {
    minute.checked_rem(wide(RING)).and_then(|place| usize::try_from(place).ok()).unwrap_or_default()
}

impl Series {
    /// The minute of an instant, to be counted in; none for one that is past the window.
    pub(crate) fn at(&mut self, at: Timestamp) -> Option<&mut Minute> {
        let minute = at.0 / MINUTE;
        if minute > self.newest {
            // What the minutes since then held a ring ago counts no more.
            let first =
                self.newest.saturating_add(1).max(minute.saturating_sub(wide(RING).saturating_sub(1)));
            for passed in first..=minute {
                if let Some(one) = self.ring.get_mut(place(passed)) {
                    *one = Minute::default();
                }
            }
            self.newest = minute;
        }
        if self.newest.saturating_sub(minute) >= wide(WINDOW) {
            return None;
        }
        self.ring.get_mut(place(minute))
    }

    fn get(&self, minute: u64) -> Minute {
        if minute > self.newest || self.newest.saturating_sub(minute) >= wide(RING) {
            return Minute::default();
        }
        self.ring.get(place(minute)).copied().unwrap_or_default()
    }

    /// The last `count` minutes that are over at `now`, the oldest first; [`WINDOW`] − 1 at most.
    pub fn whole(&self, now: Timestamp, count: usize) -> Vec<Minute> {
        let current = now.0 / MINUTE;
        let count = wide(count.min(WINDOW.saturating_sub(1)));
        (current.saturating_sub(count)..current).map(|minute| self.get(minute)).collect()
    }

    /// What happened in the last `count` minutes and the one that is not over.
    pub fn sum(&self, now: Timestamp, count: usize) -> Minute {
        let current = self.get(now.0 / MINUTE);
        self.whole(now, count).into_iter().fold(current, Minute::plus)
    }

    /// The quarters of an hour of the last day that are over at `now`, the oldest first. How many packets waited follows
    /// from how many wait now, and from what came and went since.
    pub fn quarters(&self, now: Timestamp, waiting: u64) -> Vec<Quarter> {
        let (step, current) = (wide(STEP), now.0 / MINUTE);
        let sum = |minutes: core::ops::RangeInclusive<u64>| {
            minutes.fold(Minute::default(), |sum, minute| sum.plus(self.get(minute)))
        };
        let before = |waiting: u64, all: Minute| {
            let gone = u64::from(all.delivered).saturating_add(u64::from(all.ended));
            waiting.saturating_add(gone).saturating_sub(all.accepted.into())
        };
        let over = current.saturating_sub(current.checked_rem(step).unwrap_or_default());
        let mut waiting = before(waiting, sum(over..=current));
        let mut all: Vec<Quarter> = (1..=wide(WINDOW / STEP))
            .map_while(|back| over.checked_sub(back.saturating_mul(step)))
            .map(|first| {
                let all = sum(first..=first.saturating_add(step.saturating_sub(1)));
                let begins = Timestamp(first.saturating_mul(MINUTE));
                let quarter = Quarter { begins, all, waiting };
                waiting = before(waiting, all);
                quarter
            })
            .collect();
        all.reverse();
        all
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

    #[test]
    fn a_day_has_the_quarters_that_are_over_and_what_waited_at_the_end_of_each() {
        let mut series = Series::default();
        let quarter = STEP as u64 * MINUTE;
        let start = 1000 * quarter;
        // The first quarter of the day, one in the middle, and the one that is not over.
        for (at, accepted, delivered) in [(0, 5, 1), (50, 0, 3), (96, 4, 2)] {
            let minute = series.at(Timestamp(start + at * quarter + 14 * MINUTE)).unwrap();
            (minute.accepted, minute.delivered) = (accepted, delivered);
        }
        let now = Timestamp(start + 97 * quarter - 1);
        let all = series.quarters(now, 13);
        assert_eq!(
            (all.len(), all[0].begins, all[95].begins.0),
            (96, Timestamp(start), start + 95 * quarter)
        );
        assert_eq!((all[0].all.accepted, all[0].all.delivered, all[50].all.delivered), (5, 1, 3));
        let waited = |at: usize| all[at].waiting;
        assert_eq!((waited(0), waited(49), waited(50), waited(95)), (14, 14, 11, 11));
        let later = series.quarters(Timestamp(now.0 + 1), 13);
        assert_eq!((later[0].begins.0, later[0].waiting, later[95].waiting), (start + quarter, 14, 13));
        assert_eq!(series.quarters(Timestamp(40 * MINUTE), 1).len(), 2, "there is no time before 1970");
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
