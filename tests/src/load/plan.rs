//! What to measure, and the bounds of it.

use std::fmt;

use clap::ValueEnum;
use seinhuis_shared::limits::{BODY_DEFAULT, RECIPIENTS_MAX};
use serde_json::{Value, json};

use super::message::{OWN, SAMPLE};

/// Most senders, and as many recipients.
pub const PAIRS_MAX: u8 = 64;
/// Most recipients of one packet, by the protocol.
pub const RECIPIENTS: usize = RECIPIENTS_MAX;
/// Shortest and longest body under the partnership's own flow: what every body has around its text, and what the model
/// covenant sets as the bound of all flows.
pub const OWN_BODY: (usize, usize) = (64, BODY_DEFAULT);
/// Shortest and longest body of the sample of F01: its other fields, and what the schema lets its free text be.
pub const SAMPLE_BODY: (usize, usize) = (700, 2600);
/// Most bytes of bodies that one sender keeps under way to all recipients together, whatever the window: what is under way
/// when a run ends is still waited for.
const UNDER_WAY: usize = 8 << 20;
/// Most deliveries that one sender keeps under way.
const DELIVERIES: usize = 1024;
/// Most bytes of bodies that wait for absent recipients, whatever the number of packets.
const WAITING: usize = 64 << 20;
/// Parties of a covenant that can cosign: with more, the log is not witnessed.
pub(super) const COSIGNERS: usize = seinhuis_shared::covenant::limits::WITNESSES_MAX;

/// Which flow carries the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flow {
    /// F01 of the model covenant with its sample signal, whose free text is lengthened
    Sample,
    /// M01, which the partnership adds to the model covenant: one list of texts, up to 16 recipients
    Own,
}

impl Flow {
    /// Its number in the covenant.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Sample => SAMPLE,
            Self::Own => OWN,
        }
    }

    const fn bodies(self) -> (usize, usize) {
        match self {
            Self::Sample => SAMPLE_BODY,
            Self::Own => OWN_BODY,
        }
    }
}

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Number of senders.
    pub pairs: u8,
    /// Recipients of each packet. There are as many recipients as senders, or as one packet has.
    pub recipients: u8,
    /// Bytes of each body.
    pub body: usize,
    /// The flow; F01 where it can carry such bodies to so many, when left out.
    pub flow: Option<Flow>,
    /// Length of each run in seconds.
    pub seconds: u64,
    /// Packets each sender keeps under way at full speed, at most; see [`Plan::window`].
    pub window: usize,
    /// Packets that wait for absent recipients, at most; none when zero.
    pub waiting: usize,
    /// Packets a second, in place of the run at full speed and of half that rate.
    pub rate: Option<f64>,
    /// Whether the wait for a quorum of witnesses is measured.
    pub quorum: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            pairs: 4,
            recipients: 1,
            body: 1024,
            flow: None,
            seconds: 10,
            window: 256,
            waiting: 4000,
            rate: None,
            quorum: true,
        }
    }
}

/// Why a plan cannot be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmeasurable(String);

impl fmt::Display for Unmeasurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unmeasurable {}

impl Plan {
    /// Holds it against the bounds of the covenant, the protocol and this program.
    ///
    /// # Errors
    /// The first bound that is passed, and what to ask instead.
    pub fn check(&self) -> Result<(), Unmeasurable> {
        let wrong = |what: String| Err(Unmeasurable(what));
        if !(1..=PAIRS_MAX).contains(&self.pairs) {
            return wrong(format!("{} senders: ask for 1 to {PAIRS_MAX}.", self.pairs));
        }
        if !(1..=RECIPIENTS).contains(&usize::from(self.recipients)) {
            return wrong(format!("{} recipients of a packet: ask for 1 to {RECIPIENTS}.", self.recipients));
        }
        if self.seconds == 0 || self.window == 0 {
            return wrong(
                "A run takes a second at least, and a sender keeps a packet under way at least.".into(),
            );
        }
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return wrong("A rate is a number of packets a second above zero.".into());
        }
        let (flow, (least, most)) = (self.flow().id(), self.flow().bodies());
        if self.flow() == Flow::Sample && self.recipients > 1 {
            return wrong(format!("A packet of {flow} has one recipient: ask for --flow own."));
        }
        if !(least..=most).contains(&self.body) {
            return wrong(format!(
                "A body of {} bytes does not go over {flow}: it takes {least} to {most}.",
                self.body
            ));
        }
        Ok(())
    }

    /// The flow that carries it.
    pub fn flow(&self) -> Flow {
        let (least, most) = SAMPLE_BODY;
        let fits = self.recipients == 1 && (least..=most).contains(&self.body);
        self.flow.unwrap_or(if fits { Flow::Sample } else { Flow::Own })
    }

    /// Packets each sender keeps under way: what is asked, within 8 MiB of bodies and 1,024 deliveries.
    pub fn window(&self) -> usize {
        let recipients = usize::from(self.recipients.max(1));
        let deliveries = DELIVERIES.min(UNDER_WAY / self.body.max(1));
        self.window.min(deliveries / recipients).max(1)
    }

    /// Packets that wait for absent recipients: what is asked, within 64 MiB of bodies.
    pub fn waiting(&self) -> usize {
        self.waiting.min(WAITING / self.body.max(1))
    }

    /// Agents that receive.
    pub fn receivers(&self) -> u8 {
        self.pairs.max(self.recipients)
    }

    /// Whether its parties can cosign the log.
    pub fn watched(&self) -> bool {
        usize::from(self.pairs) + usize::from(self.receivers()) <= COSIGNERS
    }

    /// The words of the command that measures it. What is as it is by default is left out where builds before these
    /// words were there do not know them.
    pub fn words(&self) -> Vec<String> {
        let usual = Self::default();
        let mut words = Vec::new();
        let mut say = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        say("pairs", self.pairs.to_string());
        say("body", self.body.to_string());
        say("seconds", self.seconds.to_string());
        say("window", self.window.to_string());
        say("waiting", self.waiting.to_string());
        if self.recipients != usual.recipients {
            say("recipients", self.recipients.to_string());
        }
        if let Some(flow) = self.flow.and_then(|flow| flow.to_possible_value()) {
            say("flow", flow.get_name().to_owned());
        }
        if let Some(rate) = self.rate {
            say("rate", rate.to_string());
        }
        if !self.quorum {
            words.push("--no-quorum".to_owned());
        }
        words
    }

    /// For machines.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "pairs": self.pairs, "recipients": self.recipients, "receivers": self.receivers(),
            "body_bytes": self.body, "flow": self.flow().id(), "seconds": self.seconds, "window": self.window(),
            "waiting": self.waiting(), "rate": self.rate, "witnessed": self.watched(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pairs: u8, recipients: u8, body: usize) -> Plan {
        Plan { pairs, recipients, body, ..Plan::default() }
    }

    #[test]
    fn what_f01_can_carry_goes_over_f01_and_the_rest_over_the_partnerships_own_flow() {
        assert_eq!(plan(4, 1, 1024).flow(), Flow::Sample);
        assert_eq!(plan(4, 1, 256).flow(), Flow::Own);
        assert_eq!(plan(4, 1, 262_144).flow(), Flow::Own);
        assert_eq!(plan(4, 2, 1024).flow(), Flow::Own);
        assert_eq!(Plan { flow: Some(Flow::Own), ..Plan::default() }.flow(), Flow::Own);
    }

    #[test]
    fn what_is_outside_a_bound_is_refused_with_the_bound() {
        for (fits, plan) in [
            (true, plan(1, 1, 1024)),
            (true, plan(64, 16, 262_144)),
            (true, plan(1, 16, 64)),
            (false, plan(0, 1, 1024)),
            (false, plan(65, 1, 1024)),
            (false, plan(4, 0, 1024)),
            (false, plan(4, 17, 1024)),
            (false, plan(4, 1, 63)),
            (false, plan(4, 1, 262_145)),
            (false, Plan { flow: Some(Flow::Sample), ..plan(4, 1, 256) }),
            (false, Plan { flow: Some(Flow::Sample), ..plan(4, 2, 1024) }),
            (false, Plan { seconds: 0, ..Plan::default() }),
            (false, Plan { window: 0, ..Plan::default() }),
            (false, Plan { rate: Some(0.0), ..Plan::default() }),
            (false, Plan { rate: Some(f64::NAN), ..Plan::default() }),
        ] {
            assert_eq!(plan.check().is_ok(), fits, "{plan:?}");
        }
        assert!(plan(4, 1, 262_145).check().unwrap_err().to_string().contains("262144"));
    }

    #[test]
    fn large_bodies_and_many_recipients_narrow_the_window_and_what_waits() {
        let small = plan(4, 1, 1024);
        assert_eq!((small.window(), small.waiting()), (256, 4000));
        let large = plan(4, 1, 262_144);
        assert_eq!((large.window(), large.waiting()), (32, 256));
        assert_eq!(Plan { waiting: 0, ..small }.waiting(), 0);
        assert_eq!(plan(4, 16, 1024).window(), 64, "1,024 deliveries");
        assert_eq!(plan(4, 16, 262_144).window(), 2, "8 MiB to all recipients");
    }

    #[test]
    fn as_many_receive_as_send_or_as_one_packet_has() {
        assert_eq!(plan(4, 1, 1024).receivers(), 4);
        assert_eq!(plan(1, 16, 1024).receivers(), 16);
        assert!(plan(24, 1, 1024).watched());
        assert!(!plan(25, 1, 1024).watched(), "a covenant has 48 cosigners at most");
    }

    #[test]
    fn builds_before_these_words_are_asked_in_theirs() {
        let words = Plan { seconds: 6, waiting: 400, ..Plan::default() }.words().join(" ");
        assert_eq!(words, "--pairs 4 --body 1024 --seconds 6 --window 256 --waiting 400");
        let all = Plan { flow: Some(Flow::Own), rate: Some(50.0), quorum: false, ..plan(4, 3, 256) };
        assert!(all.words().join(" ").ends_with("--recipients 3 --flow own --rate 50 --no-quorum"));
    }
}
