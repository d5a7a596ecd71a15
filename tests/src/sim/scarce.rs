//! Where there is too little: a broker with hardly any room, and prekeys that have run out.

use seinhuis_broker_core::{Config, Quota, Rate, Send};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;

use super::faults::DAY;
use super::scenario::Fault;
use super::world::{Event, Node, World};

/// The limits of a broker that has room for two packets in each mailbox, in bytes for little more than one of the
/// largest, and takes of each partner what a history needs, but not at once.
pub(super) fn limits(config: Config) -> Config {
    let rate = |burst, per_minute| Rate { per_minute, burst };
    let quota = Quota {
        packets: rate(1, 4),
        bytes: rate(4000, 40_000),
        refusals: rate(2, 2),
        words: rate(20, 60),
        questions: rate(20, 200),
        ..config.quota
    };
    Config { mailbox_packets: 2, mailbox_bytes: 16_000, quota, ..config }
}

impl World {
    /// When somebody pushes a message, in a history of this length: where room is scarce, together with others.
    pub(super) fn moment(&mut self, length: u64) -> u64 {
        if self.has(Fault::Scarce) {
            length * self.dice.between(1, 4) / 4 + self.dice.between(0, 500)
        } else {
            self.dice.between(0, length)
        }
    }

    /// Counts what the broker puts off.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others put nothing off")]
    pub(super) fn counts_put_off(&mut self, send: &Send) {
        let (packet, reason) = match send {
            Send::Deferred { deferred, .. } => (true, deferred.reason),
            Send::Refuse { refuse, request: Some(_), .. } => (false, refuse.reason),
            _ => return,
        };
        let name = match (packet, Refusal::from_number(reason)) {
            (true, Some(Refusal::MailboxFull)) => "packets put off: mailbox full",
            (true, Some(Refusal::OverQuota)) => "packets put off: over quota",
            (false, Some(Refusal::OverQuota)) => "requests put off: over quota",
            _ => return,
        };
        *self.summary.faults.entry(name).or_default() += 1;
    }

    /// Plans that everybody's machines are off for some nights.
    pub(super) fn plan_nights(&mut self, length: u64) {
        if self.has(Fault::Prekeys) {
            let wait = self.dice.between(0, length);
            self.after(wait, Event::Night);
        }
    }

    /// All machines are off, for so long that epochs of prekeys end meanwhile or in what is left of the history; some
    /// go on where they were, some start anew, and one partner comes back later than the others.
    pub(super) fn night(&mut self) {
        if self.is_calm() {
            return;
        }
        let length = u64::from(self.scenario.minutes) * 60_000;
        let off = self.dice.between(1, 4) * DAY - self.dice.between(0, length.min(DAY));
        for agent in 0..self.agents.len() {
            let ends = (self.dice.between(1, 1000), self.dice.between(1, 1000));
            self.cut_off(agent, ends, false);
        }
        // Nothing that was to happen happens meanwhile.
        let later = std::mem::take(&mut self.queue).into_iter();
        self.queue = later.map(|((at, number), event)| ((at.plus(Span(off)), number), event)).collect();
        self.now = self.now.plus(Span(off));
        self.cuts_changed();
        for node in self.nodes() {
            if self.dice.percent(50) {
                self.crash(node);
            }
        }
        if let Some(Node::Agent(late)) = self.dice.pick(&self.nodes()) {
            self.partition(late, 1000, length);
        }
        *self.summary.faults.entry("nights").or_default() += off / DAY;
    }
}
