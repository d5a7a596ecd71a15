//! When to renew and when to try again: times in, times out.

use seinhuis_shared::time::{Span, Timestamp};

/// Longest time between two looks at the service.
pub(super) const ROUND: Span = Span::hours(6);
/// Shortest time between two looks.
pub(super) const PAUSE: Span = Span::seconds(1);
/// About how often the revocation list is fetched.
const LIST: Span = Span::hours(1);
/// The first wait after a failure; each further failure doubles it.
const RETRY: Span = Span::seconds(10);

/// When a certificate that counts from `from` until `until` is to be renewed: when a third of that time is left, later
/// by up to a tenth of that third, which `chance` decides, so that the nodes of a partnership do not come at once.
pub(super) fn due(from: Timestamp, until: Timestamp, chance: u64) -> Timestamp {
    let third = until.since(from).0 / 3;
    until.minus(Span(third)).plus(Span(third / 10).up_to(chance))
}

/// How long to wait after so many failures in a row: doubling, and anywhere between half of that and all of it.
pub(super) fn retry(failures: u32, chance: u64) -> Span {
    RETRY.doubled(failures.saturating_sub(1), ROUND).upper_half(chance)
}

/// How long after the revocation list was fetched to fetch it again.
pub(super) fn list_again(chance: u64) -> Span {
    Span((LIST.0 / 2).saturating_add(LIST.up_to(chance).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_when_a_third_is_left_and_not_for_all_at_once() {
        let from = Timestamp::default().plus(Span::days(1000));
        let until = from.plus(Span::days(90));
        assert_eq!(due(from, until, 0), from.plus(Span::days(60)));
        assert_eq!(due(from, until, Span::days(3).0), from.plus(Span::days(63)));
        assert!(due(until, from, u64::MAX) <= until, "dates the wrong way round");
        let day = from.plus(Span::days(1));
        assert_eq!(due(from, day, 0), from.plus(Span::hours(16)));
    }

    #[test]
    fn failures_are_tried_again_more_and_more_slowly_and_without_end() {
        let mut before = Span(0);
        for failures in 1..40 {
            let least = retry(failures, 0);
            let most = retry(failures, least.0);
            assert!(least >= before && most <= ROUND && most.0 == 2 * least.0, "{failures}");
            before = least;
        }
        assert_eq!(retry(1, 0), Span::seconds(5));
        assert_eq!(retry(u32::MAX, 0), Span::hours(3));
        assert!((Span::minutes(30)..Span::minutes(90)).contains(&list_again(u64::MAX / 2)));
    }
}
