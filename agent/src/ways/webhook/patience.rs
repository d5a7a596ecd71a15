//! When a receiver is tried again, and who is to blame when it fails: it, or one message.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use seinhuis_shared::time::Span;
use seinhuis_shell::complaint::Complaint;

/// The longest first wait; it doubles with each failure.
const FIRST: Span = Span::seconds(4);
/// No wait that the receiver did not ask for is longer.
const CAP: Span = Span::minutes(5);
/// No wait that the receiver asked for is longer.
const ASKED_MAX: Duration = Duration::from_hours(1);
/// How often a receiver that answers otherwise may fail on one message until that is the message's.
const DOUBTED: u32 = 3;
/// Most messages of which it is remembered that they were refused; beyond them nothing is sent until one is taken.
const HELD_MAX: usize = 10_000;
/// How long it is waited where there is nothing to wait for.
const IDLE: Duration = Duration::from_mins(1);

/// A message that was refused.
#[derive(Debug)]
struct Held {
    times: u32,
    until: Instant,
    why: Complaint,
}

/// Who is to blame for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The receiver: nothing goes on.
    Receiver,
    /// The message: those of other cases go on.
    Message,
}

/// What is known of a receiver.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How often it failed since it last took something.
    failures: u32,
    /// Nothing is sent before this.
    until: Option<Instant>,
    /// Whether it answered since it last failed.
    answers: bool,
    /// The message on which it failed last although it had answered, and how often in a row.
    doubted: Option<(u64, u32)>,
    held: BTreeMap<u64, Held>,
}

fn after(failures: u32, chance: u64) -> Duration {
    Duration::from_millis(FIRST.doubled(failures, CAP).upper_half(chance).0)
}

impl Patience {
    /// How long nothing is sent yet; nothing when it may.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    /// How long to wait for the next look, when all that could be done was done.
    pub(super) fn next(&self, now: Instant) -> Duration {
        // What could have been tried by now was, or is not due any more.
        let held = self.held.values().filter(|held| held.until > now);
        let next = held.map(|held| held.until.saturating_duration_since(now)).min();
        self.rest(now).unwrap_or_else(|| next.unwrap_or(IDLE).min(IDLE))
    }

    /// Whether it is known to answer. It is asked before a body is read for it.
    pub(super) const fn answers(&self) -> bool {
        self.answers
    }

    /// It answered.
    pub(super) const fn answered(&mut self) {
        self.answers = true;
    }

    /// Why a message is not sent again yet.
    pub(super) fn held(&self, position: u64, now: Instant) -> Option<&Complaint> {
        self.held.get(&position).filter(|held| now < held.until).map(|held| &held.why)
    }

    /// It took a message.
    pub(super) fn taken(&mut self, position: u64) {
        self.held.remove(&position);
        *self = Self { answers: true, held: std::mem::take(&mut self.held), ..Self::default() };
    }

    /// It refuses a message, for this reason; `chance` is any random number.
    pub(super) fn refused(&mut self, position: u64, why: Complaint, now: Instant, chance: u64) {
        self.answers = true;
        // Those that were not tried for long are not due any more.
        let long = Duration::from_millis(CAP.0).saturating_add(ASKED_MAX);
        self.held.retain(|_, held| now.saturating_duration_since(held.until) < long);
        let times = self.held.get(&position).map_or(0, |held| held.times);
        let until = later(now, after(times, chance));
        self.held.insert(position, Held { times: times.saturating_add(1), until, why });
    }

    /// Whether so many were refused that no more are tried.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= HELD_MAX
    }

    /// It fails: on this message, or on what is no message. It may have asked for some time.
    pub(super) fn down(
        &mut self,
        on: Option<(u64, &Complaint)>,
        asked: Option<Duration>,
        now: Instant,
        chance: u64,
    ) -> Blame {
        // Who asks for time is busy with no message of its own.
        if let Some((position, why)) = on.filter(|_| self.answers && asked.is_none()) {
            let before = self.doubted.filter(|(last, _)| *last == position).map_or(0, |(_, times)| times);
            let times = before.saturating_add(1);
            if times >= DOUBTED || self.held.contains_key(&position) {
                self.doubted = None;
                self.refused(position, why.clone(), now, chance);
                return Blame::Message;
            }
            self.doubted = Some((position, times));
        }
        let wait = after(self.failures, chance).max(asked.unwrap_or_default().min(ASKED_MAX));
        self.failures = self.failures.saturating_add(1).min(32);
        self.until = Some(later(now, wait));
        self.answers = false;
        Blame::Receiver
    }
}

fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use seinhuis_shell::lang::Text;

    use super::*;

    fn why() -> Complaint {
        Complaint::usage(Text::same("wrong"), Text::same("so"))
    }

    #[test]
    fn a_receiver_that_is_down_is_left_alone_ever_longer_up_to_five_minutes_and_never_in_step() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        assert_eq!(patience.rest(now), None);
        let mut bounds = Vec::new();
        for failures in 0..40 {
            for chance in [0, 1, 12_345, u64::MAX] {
                let wait = after(failures, chance).as_millis();
                let most = u128::from(FIRST.doubled(failures, CAP).0);
                assert!((most / 2..=most).contains(&wait), "{failures}: {wait}");
            }
            patience.down(None, None, now, 0);
            bounds.push(patience.rest(now).unwrap().as_secs());
        }
        assert_eq!(bounds[..8], [2, 4, 8, 16, 32, 64, 128, 150]);
        assert!(bounds[8..].iter().all(|bound| *bound == 150));
        assert_eq!(patience.next(now), Duration::from_secs(150));
        patience.taken(1);
        assert_eq!((patience.rest(now), patience.next(now)), (None, IDLE), "all is well again");
    }

    #[test]
    fn time_that_the_receiver_asks_for_is_given_within_bounds() {
        let now = Instant::now();
        let rest = |asked| {
            let mut patience = Patience::default();
            patience.down(None, Some(Duration::from_secs(asked)), now, 0);
            patience.rest(now).unwrap().as_secs()
        };
        assert_eq!([rest(0), rest(1), rest(90), rest(3600), rest(u64::MAX)], [2, 2, 90, 3600, 3600]);
    }

    #[test]
    fn a_receiver_that_fails_on_one_message_again_and_again_fails_on_that_message() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        for times in 1..=4 {
            // It did not answer before: that is no fault of the message.
            assert_eq!(patience.down(Some((7, &why())), None, now, 0), Blame::Receiver, "{times}");
        }
        let mut fail = |position| {
            patience.answered();
            patience.down(Some((position, &why())), None, now, 0)
        };
        assert_eq!([fail(7), fail(7), fail(8), fail(7), fail(7)], [Blame::Receiver; 5], "in a row");
        assert_eq!(fail(7), Blame::Message);
        assert_eq!([fail(7), fail(9)], [Blame::Message, Blame::Receiver], "it is known by then");
        assert!(patience.held(7, now).is_some() && patience.held(9, now).is_none());
    }

    #[test]
    fn a_message_that_is_refused_is_tried_again_ever_later_and_stands_in_nobodys_way() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        patience.refused(3, why(), now, 0);
        assert_eq!((patience.rest(now), patience.next(now).as_secs()), (None, 2));
        assert!(patience.held(3, now).is_some() && patience.held(4, now).is_none());
        let later = now + Duration::from_secs(2);
        assert!(patience.held(3, later).is_none(), "it is its turn");
        assert_eq!(patience.next(later), IDLE, "it was tried, or is not due any more");
        patience.refused(3, why(), later, 0);
        assert_eq!(patience.next(later).as_secs(), 4);
        patience.taken(4);
        assert_eq!(patience.next(later).as_secs(), 4, "another that was taken says nothing of it");
        patience.taken(3);
        assert_eq!(patience.next(later), IDLE);
        let long = later + Duration::from_hours(2);
        patience.refused(3, why(), now, 0);
        patience.refused(5, why(), long, 0);
        assert_eq!(patience.held.keys().collect::<Vec<_>>(), [&5], "what is not due any more is forgotten");
    }
}
