//! What is known of a partner since the start, whichever session it had: for the operator alone. No decision rests on it.

use std::collections::BTreeSet;

use seinhuis_shared::time::{Span, Timestamp};

/// A clock is only known to this by what was signed to the millisecond.
pub(crate) const MILLISECOND: Span = Span(1);
/// For how long a narrow measurement counts for more than a newer one that is wider.
const NARROW: Span = Span::minutes(10);
/// For how long a measurement says something.
const TELLING: Span = Span::hours(1);

/// By how many milliseconds a partner's clock is ahead of the broker's, at least and at most; behind is below zero.
///
/// Known without asking anybody anything: what an agent signs the time of, in answer to something of the broker's, was
/// signed between the moment that the broker sent and the moment at which the answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// At least.
    pub least: i64,
    /// At most.
    pub most: i64,
}

impl Offset {
    /// Of a clock that said `said`, and read to `step`, between these two moments by the broker's own. None when the
    /// broker's own clock went back meanwhile.
    fn new(sent: Timestamp, (said, step): (Timestamp, Span), came: Timestamp) -> Option<Self> {
        let wide = |at: Timestamp| i64::try_from(at.0).unwrap_or(i64::MAX);
        // The broker's clock is read to the millisecond too: it came before the next one.
        let least = wide(said).saturating_sub(wide(came.plus(MILLISECOND)));
        let most = wide(said.plus(step)).saturating_sub(wide(sent));
        (sent <= came).then_some(Self { least, most })
    }

    const fn width(self) -> u64 {
        self.most.abs_diff(self.least)
    }

    const fn is_apart(self, other: Self) -> bool {
        self.most < other.least || other.most < self.least
    }
}

/// What is known of one partner.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Of the packets that wait, those that were offered.
    offered: BTreeSet<u64>,
    /// How often a packet was offered that had been offered before.
    pub(crate) again: u64,
    clock: Option<(Offset, Timestamp)>,
}

impl Past {
    /// A packet is offered; whether it was before.
    pub(crate) fn offer(&mut self, index: u64) -> bool {
        let again = !self.offered.insert(index);
        self.again = self.again.saturating_add(u64::from(again));
        again
    }

    /// An offer is not made after all.
    pub(crate) fn retract(&mut self, index: u64, again: bool) {
        if again {
            self.again = self.again.saturating_sub(1);
        } else {
            self.offered.remove(&index);
        }
    }

    /// A packet does not wait any more.
    pub(crate) fn settled(&mut self, index: u64) {
        self.offered.remove(&index);
    }

    /// Takes in what an answer says of the partner's clock: what was sent when, what its clock said and to which step it
    /// is read, and when that came.
    pub(crate) fn measure(&mut self, sent: Timestamp, said: (Timestamp, Span), came: Timestamp) {
        let Some(new) = Offset::new(sent, said, came) else { return };
        let keeps = |(known, at): (Offset, Timestamp)| {
            let counts = at <= came && came < at.plus(NARROW);
            counts && known.width() < new.width() && !known.is_apart(new)
        };
        if !self.clock.is_some_and(keeps) {
            self.clock = Some((new, came));
        }
    }

    /// What is known of the partner's clock at a moment of the broker's.
    pub(crate) fn clock(&self, now: Timestamp) -> Option<Offset> {
        let (offset, at) = self.clock?;
        (at <= now && now < at.plus(TELLING)).then_some(offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measured(past: &mut Past, sent: u64, said: u64, came: u64) {
        past.measure(Timestamp(sent), (Timestamp(said), MILLISECOND), Timestamp(came));
    }

    #[test]
    fn the_narrowest_of_ten_minutes_counts_and_none_after_an_hour() {
        let mut past = Past::default();
        let at = |past: &Past, now| past.clock(Timestamp(now)).map(|offset| (offset.least, offset.most));
        assert_eq!(at(&past, 5000), None);
        measured(&mut past, 5000, 7010, 5020);
        assert_eq!(at(&past, 5020), Some((1989, 2011)));
        measured(&mut past, 6000, 8200, 6400);
        assert_eq!(at(&past, 6400), Some((1989, 2011)), "that one is wider");
        measured(&mut past, 7000, 9005, 7010);
        assert_eq!(at(&past, 7010), Some((1994, 2006)));
        let later = 7010 + NARROW.0;
        measured(&mut past, later - 400, later + 1800, later);
        assert_eq!(at(&past, later), Some((1799, 2201)), "the one before is old");
        assert_eq!(at(&past, later + TELLING.0), None);
        assert_eq!(at(&past, later - 1), None, "the broker's clock went back");
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let mut past = Past::default();
        measured(&mut past, 5000, 5001, 5002);
        measured(&mut past, 6000, 66_000, 6100);
        assert_eq!(past.clock(Timestamp(6100)), Some(Offset { least: 59_899, most: 60_001 }));
        measured(&mut past, 7100, 7000, 7000);
        assert_eq!(past.clock(Timestamp(7100)), Some(Offset { least: 59_899, most: 60_001 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the ways there and back take, and to whatever the clocks are read, the true offset is within.
        #[test]
        fn the_true_offset_is_between_what_is_told(
            offset in -10_000_000_i64..10_000_000,
            rounds in prop::collection::vec((0_u64..3_000_000, 0_u64..3_000_000, any::<bool>()), 1..20),
        ) {
            // In microseconds, of which each clock shows milliseconds; a witness's shows seconds.
            let mut past = Past::default();
            let mut now = 1_900_000_000_000_000_u64;
            for (there, back, witness) in rounds {
                let step = if witness { 1_000_000 } else { 1000 };
                let (sent, heard, came) = (now, now + there, now + there + back);
                let said = heard.checked_add_signed(offset).unwrap() / step * step;
                past.measure(Timestamp(sent / 1000), (Timestamp(said / 1000), Span(step / 1000)), Timestamp(came / 1000));
                now = came + 1;
                let known = past.clock(Timestamp(came / 1000)).unwrap();
                prop_assert!(known.least * 1000 <= offset && offset <= known.most * 1000, "{known:?} {offset}");
            }
        }
    }
}
