//! How long to wait before the next attempt to connect: longer each time, never synchronised, without end.

use seinhuis_shared::time::{Span, Timestamp};

/// The first delay's upper bound.
pub const FIRST: Span = Span(500);
/// No delay is longer.
pub const CAP: Span = Span::seconds(60);
/// How long a session has to last to count as a success.
pub const STABLE: Span = Span::seconds(30);

/// Exponential backoff with full jitter: each delay is drawn evenly between zero and a bound that doubles up
/// to [`CAP`], so that agents that lost their broker together do not come back together.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
    connected: Option<Timestamp>,
}

impl Backoff {
    /// A session began.
    pub fn connected(&mut self, now: Timestamp) {
        self.connected = Some(now);
    }

    /// An attempt failed or a session ended: how long to wait. `chance` is any random number.
    ///
    /// A session that lasted less than [`STABLE`] counts as a failure, so that a broker that accepts and
    /// closes at once is not hammered.
    pub fn failed(&mut self, now: Timestamp, chance: u64) -> Span {
        if self.connected.take().is_some_and(|since| now.since(since) >= STABLE) {
            self.failures = 0;
        }
        let bound = FIRST.doubled(self.failures, CAP);
        self.failures = self.failures.saturating_add(1).min(32);
        bound.up_to(chance)
    }

    /// As [`Backoff::failed`] when the broker asked to come back after a time: that time, at most [`CAP`], is waited
    /// besides.
    pub fn put_off(&mut self, now: Timestamp, after: Span, chance: u64) -> Span {
        Span(after.0.min(CAP.0).saturating_add(self.failed(now, chance).0))
    }

    /// As [`Backoff::failed`] when the broker closed with a refusal: what is wrong will not pass by itself
    /// in seconds, so the wait is between half of [`CAP`] and [`CAP`].
    pub fn refused(&mut self, now: Timestamp, chance: u64) -> Span {
        self.failed(now, chance);
        CAP.upper_half(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_to_the_cap_and_stays_there() {
        let mut backoff = Backoff::default();
        let bounds: Vec<u64> = (0..40)
            .map(|_| {
                let mut low = backoff.clone();
                assert_eq!(low.failed(Timestamp(0), 0), Span(0), "full jitter reaches zero");
                // The remainder of the largest multiple plus the bound itself finds the bound.
                (0..=CAP.0)
                    .rev()
                    .find(|chance| backoff.clone().failed(Timestamp(0), *chance).0 == *chance)
                    .inspect(|_| {
                        backoff.failed(Timestamp(0), 0);
                    })
                    .unwrap()
            })
            .collect();
        assert_eq!(bounds[..8], [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]);
        assert!(bounds[8..].iter().all(|bound| *bound == 60_000));
    }

    #[test]
    fn who_is_put_off_waits_what_was_asked_and_no_more_than_the_cap_besides() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.put_off(Timestamp(0), Span::seconds(2), 0), Span::seconds(2));
        assert_eq!(backoff.put_off(Timestamp(0), Span(u64::MAX), 0), CAP);
        let most = backoff.put_off(Timestamp(0), Span(u64::MAX), u64::MAX);
        assert!(most > CAP && most.0 <= 2 * CAP.0, "{most:?}");
    }

    #[test]
    fn only_a_stable_session_starts_over() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed(Timestamp(0), 0);
        }
        backoff.connected(Timestamp(0));
        assert_eq!(backoff.failed(Timestamp(STABLE.0 - 1), 60_000), Span(60_000));
        backoff.connected(Timestamp(0));
        assert!(backoff.failed(Timestamp(STABLE.0), u64::MAX).0 <= FIRST.0);
    }

    #[test]
    fn after_three_days_in_vain_the_next_attempt_is_no_later_than_the_cap_and_a_stable_session_starts_over() {
        let mut backoff = Backoff::default();
        let (mut now, mut attempts) = (Timestamp(0), 0_u64);
        // An attempt that nobody answers takes a quarter of a minute.
        let in_vain = Span::seconds(15);
        while now < Timestamp(Span::hours(72).0) {
            let wait = backoff.failed(now, now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!(wait <= CAP, "{wait:?} after {attempts} attempts");
            now = now.plus(wait).plus(in_vain);
            attempts += 1;
        }
        assert!(attempts >= Span::hours(72).0 / (CAP.0 + in_vain.0), "{attempts} attempts");
        // A session that does not last changes nothing: the broker that comes back is not hammered.
        backoff.connected(now);
        assert_eq!(backoff.failed(now, CAP.0), CAP);
        backoff.connected(now);
        assert!(backoff.failed(now.plus(STABLE), u64::MAX) <= FIRST);
    }

    #[test]
    fn a_refusal_is_retried_slowly() {
        for chance in [0, 1, 59_999, u64::MAX] {
            let wait = Backoff::default().refused(Timestamp(0), chance);
            assert!((30_000..=60_000).contains(&wait.0), "{wait:?}");
        }
    }
}
