//! QUIC or TCP: what to try first, what next, and when to try QUIC again.
//!
//! Only silence moves an agent to TCP. A refusal, a certificate that does not hold, another protocol: these are answers,
//! which TCP would give as well.

use seinhuis_shared::time::{Span, Timestamp};
use serde::Deserialize;

/// QUIC is not tried later than this again.
pub const AGAIN_CAP: Span = Span::seconds(3600);

/// What a connection goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

/// Whether TCP may be used, in the words of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// When QUIC gets no answer.
    Auto,
    /// Not at all, as when no address for it is known.
    Never,
    /// Not otherwise.
    Only,
}

/// What is configured, read afresh for each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether TCP may be used.
    pub fallback: Fallback,
    /// How long after falling back QUIC is tried again for the first time.
    pub again: Span,
}

/// What is remembered about the way to the broker.
#[derive(Debug, Clone, Default)]
pub struct Carriers {
    /// When QUIC is tried again: until then UDP counts as blocked.
    again: Option<Timestamp>,
    /// How often QUIC was tried in vain since it last worked.
    vain: u32,
}

impl Carriers {
    /// What to try first.
    pub fn first(&self, policy: Policy, now: Timestamp) -> Carrier {
        match policy.fallback {
            Fallback::Only => Carrier::Tcp,
            Fallback::Auto if self.is_blocked(now) => Carrier::Tcp,
            Fallback::Auto | Fallback::Never => Carrier::Quic,
        }
    }

    /// What to try when nothing answered over `tried`.
    pub const fn second(policy: Policy, tried: Carrier) -> Option<Carrier> {
        match (policy.fallback, tried) {
            (Fallback::Auto, Carrier::Quic) => Some(Carrier::Tcp),
            (Fallback::Auto, Carrier::Tcp) => Some(Carrier::Quic),
            (Fallback::Never | Fallback::Only, _) => None,
        }
    }

    /// A session began: that is what shows that UDP is blocked, or is not. A broker that is down answers nowhere, and
    /// says nothing about UDP. `chance` is any random number.
    pub fn began(&mut self, policy: Policy, carrier: Carrier, now: Timestamp, chance: u64) {
        match carrier {
            Carrier::Quic => *self = Self::default(),
            Carrier::Tcp if policy.fallback == Fallback::Auto && !self.is_blocked(now) => {
                self.in_vain(policy, now, chance);
            }
            Carrier::Tcp => {}
        }
    }

    /// QUIC was tried and got no session: the next time is put off, twice as long as the last time, up to
    /// [`AGAIN_CAP`], less up to half of it, so that agents do not try together.
    pub fn in_vain(&mut self, policy: Policy, now: Timestamp, chance: u64) {
        let bound = policy.again.doubled(self.vain, AGAIN_CAP);
        self.vain = self.vain.saturating_add(1).min(32);
        self.again = Some(now.plus(bound.upper_half(chance)));
    }

    /// From a session over TCP: when QUIC is tried again, if it ever is.
    pub const fn again(&self, policy: Policy) -> Option<Timestamp> {
        match policy.fallback {
            Fallback::Auto => self.again,
            Fallback::Never | Fallback::Only => None,
        }
    }

    /// A time further off than the longest wait is that of a clock that was set back.
    fn is_blocked(&self, now: Timestamp) -> bool {
        self.again.is_some_and(|again| now < again && again.since(now) <= AGAIN_CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTO: Policy = Policy { fallback: Fallback::Auto, again: Span(1000) };
    const NEVER: Policy = Policy { fallback: Fallback::Never, ..AUTO };
    const ONLY: Policy = Policy { fallback: Fallback::Only, ..AUTO };

    #[test]
    fn quic_comes_first_and_tcp_only_where_it_may() {
        let fresh = Carriers::default();
        for (policy, first, second) in [
            (AUTO, Carrier::Quic, Some(Carrier::Tcp)),
            (NEVER, Carrier::Quic, None),
            (ONLY, Carrier::Tcp, None),
        ] {
            assert_eq!(fresh.first(policy, Timestamp(5)), first);
            assert_eq!(Carriers::second(policy, first), second);
        }
        assert_eq!(Carriers::second(AUTO, Carrier::Tcp), Some(Carrier::Quic));
    }

    #[test]
    fn a_session_over_tcp_is_remembered_until_quic_is_tried_again() {
        let mut carriers = Carriers::default();
        carriers.began(AUTO, Carrier::Tcp, Timestamp(0), u64::MAX);
        let again = carriers.again(AUTO).unwrap();
        assert!((500..=1000).contains(&again.0), "{again:?}");
        assert_eq!(carriers.first(AUTO, Timestamp(again.0 - 1)), Carrier::Tcp);
        assert_eq!(carriers.first(AUTO, again), Carrier::Quic);
        // A second session meanwhile says nothing new.
        carriers.began(AUTO, Carrier::Tcp, Timestamp(100), 0);
        assert_eq!(carriers.again(AUTO), Some(again));
        carriers.began(AUTO, Carrier::Quic, Timestamp(200), 0);
        assert_eq!(carriers.again(AUTO), None);
        assert_eq!(carriers.first(AUTO, Timestamp(201)), Carrier::Quic);
    }

    #[test]
    fn a_configuration_that_changed_counts_at_once() {
        let mut carriers = Carriers::default();
        carriers.began(AUTO, Carrier::Tcp, Timestamp(0), 0);
        assert_eq!(carriers.first(NEVER, Timestamp(1)), Carrier::Quic);
        assert_eq!(carriers.again(NEVER), None);
        assert_eq!(carriers.again(ONLY), None, "who was told to use TCP alone does not try QUIC");
        let mut only = Carriers::default();
        only.began(ONLY, Carrier::Tcp, Timestamp(0), 0);
        assert_eq!(only.first(AUTO, Timestamp(1)), Carrier::Quic, "nothing was learned about UDP");
    }

    #[test]
    fn quic_is_tried_less_often_up_to_a_bound_for_ever() {
        let mut carriers = Carriers::default();
        let mut now = Timestamp(0);
        let mut waits = vec![];
        for _ in 0..40 {
            // The largest remainder of each bound: no jitter taken off.
            let mut longest = carriers.clone();
            longest.in_vain(AUTO, now, 0);
            let shortest = longest.again(AUTO).unwrap().since(now).0;
            carriers.in_vain(AUTO, now, 0);
            let again = carriers.again(AUTO).unwrap();
            assert_eq!(again.since(now).0, shortest);
            waits.push(shortest);
            now = again;
        }
        assert_eq!(waits[..5], [500, 1000, 2000, 4000, 8000]);
        assert!(waits[12..].iter().all(|wait| *wait == AGAIN_CAP.0 / 2), "{waits:?}");
        for chance in [0, 1, 499, 500, u64::MAX] {
            let mut one = Carriers::default();
            one.in_vain(AUTO, Timestamp(0), chance);
            assert!((500..=1000).contains(&one.again(AUTO).unwrap().0));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_blocks_nothing() {
        let mut carriers = Carriers::default();
        carriers.began(AUTO, Carrier::Tcp, Timestamp(100_000_000), 0);
        assert_eq!(carriers.first(AUTO, Timestamp(100_000_001)), Carrier::Tcp);
        assert_eq!(carriers.first(AUTO, Timestamp(5)), Carrier::Quic);
    }
}
