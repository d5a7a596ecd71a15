//! How things went in the last hours: what a single look does not show.

use std::collections::{BTreeMap, VecDeque};

use seinhuis_shared::time::{Span, Timestamp};

use crate::board::Board;
use crate::distribution::{Distribution, FLUSH_MILLIS};

/// How far apart two samples are at least.
const STEP: Span = Span::minutes(1);
/// Most samples that are kept: six hours of them.
const MOST: usize = 360;
/// Over how long something is slow or refuses.
const WINDOW: Span = Span::minutes(10);
/// Fewest samples that say where the disk goes: an hour of them.
const TREND_LEAST: usize = 60;
/// Fewest flushes that say whether they are slow.
const FLUSHES_LEAST: u64 = 20;

#[derive(Debug, Clone)]
struct Sample {
    at: Timestamp,
    /// Free bytes that may be used.
    room: Option<u64>,
    flush: Distribution,
    /// Of each witness, how many answers were of no use.
    refused: BTreeMap<String, u64>,
}

impl Sample {
    fn of(board: &Board) -> Self {
        let storage = &board.storage;
        Self {
            at: board.now,
            room: storage.free_bytes.map(|free| free.saturating_sub(storage.keep_free_bytes)),
            flush: storage.flush,
            refused: board.witnesses.iter().map(|one| (one.name.clone(), one.refused)).collect(),
        }
    }
}

/// Samples of the boards of one run of the broker: its counters begin at nothing with each start.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    all: VecDeque<Sample>,
}

impl Samples {
    /// Takes a sample of a board, when it is time for one. What is later than the board is not believed: the clock was
    /// set back.
    pub fn take(&mut self, board: &Board) {
        while self.all.back().is_some_and(|last| last.at > board.now) {
            self.all.pop_back();
        }
        if self.all.back().is_some_and(|last| board.now.since(last.at) < STEP) {
            return;
        }
        self.all.push_back(Sample::of(board));
        if self.all.len() > MOST {
            self.all.pop_front();
        }
    }

    /// The sample from which the last ten minutes are counted.
    fn before(&self, board: &Board) -> Option<&Sample> {
        let from = board.now.minus(WINDOW);
        self.all.iter().find(|sample| sample.at >= from && sample.at <= board.now)
    }

    /// Whether fewer than 99 of 100 turns of the last ten minutes were durable within so many milliseconds.
    pub(super) fn is_slow(&self, board: &Board, millis: u64) -> bool {
        let Some(before) = self.before(board) else { return false };
        let mut recent = board.storage.flush;
        for (now, then) in recent.counts.iter_mut().zip(before.flush.counts) {
            *now = now.saturating_sub(then);
        }
        recent.total() >= FLUSHES_LEAST
            && recent.quantile(990, FLUSH_MILLIS).is_none_or(|bound| bound > millis)
    }

    /// How many answers of a witness were of no use in the last ten minutes.
    pub(super) fn refused(&self, board: &Board, witness: &str, now: u64) -> u64 {
        let before = self.before(board).map(|sample| sample.refused.get(witness).copied());
        // One that was not there before is counted from now on.
        before.map_or(0, |then| now.saturating_sub(then.unwrap_or(now)))
    }

    /// When the disk has no room left, as it goes: by the straight line through the samples (least squares). None when it
    /// does not fill, or there are too few of them.
    pub fn full_at(&self, board: &Board) -> Option<Timestamp> {
        let first = self.all.front()?.at;
        // In seconds since the first sample: with bytes of any disk, the sums stay far within their type.
        let point = |sample: &Sample| {
            Some((i128::from(sample.at.since(first).0.checked_div(1000)?), i128::from(sample.room?)))
        };
        let points: Vec<(i128, i128)> = self.all.iter().filter_map(point).collect();
        if points.len() < TREND_LEAST {
            return None;
        }
        let count = i128::try_from(points.len()).ok()?;
        let sum = |of: &dyn Fn(i128, i128) -> i128| {
            points.iter().fold(0_i128, |sum, (x, y)| sum.saturating_add(of(*x, *y)))
        };
        let (x, y) = (sum(&|x, _| x), sum(&|_, y| y));
        let (xx, xy) = (sum(&|x, _| x.saturating_mul(x)), sum(&|x, y| x.saturating_mul(y)));
        let run = count.saturating_mul(xx).saturating_sub(x.saturating_mul(x));
        let fall = x.saturating_mul(y).saturating_sub(count.saturating_mul(xy));
        if fall <= 0 {
            return None;
        }
        let left = i128::from(Sample::of(board).room?);
        let seconds = left.checked_mul(run)?.checked_div(fall)?;
        Some(board.now.plus(Span::seconds(u64::try_from(seconds).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::find::tests::board;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn with_room(samples: &mut Samples, minutes: u64, free: u64) -> Board {
        let mut board = board();
        board.now = board.now.plus(Span::minutes(minutes));
        board.storage.free_bytes = Some(free);
        samples.take(&board);
        board
    }

    #[test]
    fn a_disk_that_fills_evenly_is_full_where_the_line_says() {
        let mut samples = Samples::default();
        let mut last = board();
        for minute in 0..120 {
            last = with_room(&mut samples, minute, 100 * GIB - minute * GIB / 10);
            assert_eq!(samples.full_at(&last).is_some(), minute + 1 >= 60, "an hour of samples");
        }
        let left = last.storage.free_bytes.unwrap() - last.storage.keep_free_bytes;
        let wanted = Span::minutes(left / (GIB / 10));
        let found = samples.full_at(&last).unwrap().since(last.now);
        assert!(found.0.abs_diff(wanted.0) < Span::minutes(2).0, "{found:?} {wanted:?}");
    }

    #[test]
    fn a_disk_that_does_not_fill_is_never_full() {
        for grow in [0, 1] {
            let mut samples = Samples::default();
            let mut last = board();
            for minute in 0..100 {
                last = with_room(&mut samples, minute, 100 * GIB + grow * minute * GIB);
            }
            assert_eq!(samples.full_at(&last), None);
        }
    }

    #[test]
    fn what_is_later_than_the_clock_says_is_forgotten() {
        let mut samples = Samples::default();
        for minute in 0..100 {
            with_room(&mut samples, minute, GIB);
        }
        with_room(&mut samples, 10, GIB);
        assert_eq!(samples.all.len(), 11);
    }

    proptest! {
        #[test]
        fn any_disk_gives_an_answer_or_none_and_samples_stay_bounded(
            rooms in prop::collection::vec((any::<u64>(), 0_u64..1 << 40), 0..500),
        ) {
            let mut samples = Samples::default();
            for (free, at) in rooms {
                let mut board = board();
                board.now = Timestamp(at);
                board.storage.free_bytes = Some(free);
                samples.take(&board);
                prop_assert!(samples.all.len() <= MOST);
                if let Some(full) = samples.full_at(&board) {
                    prop_assert!(full >= board.now);
                }
            }
        }
    }
}
