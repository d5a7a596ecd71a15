//! A history in one line of text.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use seinhuis_shared::signing::sha256;

use super::cast::Model;
use super::points::Point;

/// Something that goes wrong again and again while a history lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process dies and starts again; what was not flushed is there whole or not at all.
    Crash,
    /// A flush fails, whether it did its work or not: the process stops and starts again.
    Flush,
    /// A connection ends and both sides notice soon; what was read before is still looked at.
    Reset,
    /// A connection ends and one side notices after its idle time.
    HalfOpen,
    /// Nothing passes between a partner and the broker, for seconds or minutes.
    Partition,
    /// Packets get lost and are sent again: everything of a partner takes up to seconds.
    Slow,
    /// A clock is set to another time, within what is tolerated.
    Clock,
    /// A partner submits what the covenant does not let it, and what others sent.
    Forger,
    /// A disk has no room for a while: every flush fails, also those of the next starts.
    Full,
    /// A bit of what a disk holds turns over.
    BitRot,
    /// A partner sends bytes that are no message, or not quite one.
    Garbage,
    /// Nothing passes between a partner and the broker for most of a history.
    Outage,
    /// A clock is set hours or days ahead or behind.
    FarClock,
    /// The broker itself cheats, with a partner's help.
    Crooked,
    /// A second partner, that knows nothing of the first, forges, floods garbage and says again what others said.
    Rival,
    /// Senders take packets back.
    TakeBack,
    /// Recipients say that they took messages over.
    Consume,
    /// Recipients have bodies erased.
    Erase,
    /// Senders correct messages, or withdraw them.
    Correct,
    /// Messages are about a case, which moves on; some wait for a person's release.
    Case,
    /// Partners give up their signing keys for others.
    Rotate,
    /// Another version of the covenant takes the first one's place.
    Amend,
    /// A partner's access is revoked, and given back.
    Revoke,
    /// A year ends, and with it the log.
    Year,
    /// Two of the partners have to cosign the log.
    Witnesses,
    /// The broker has hardly any room, and takes little of each partner.
    Scarce,
    /// All machines are off for nights, until prekeys run out.
    Prekeys,
}

impl Fault {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 27] = [
        (Self::Crash, "crash"),
        (Self::Flush, "flush"),
        (Self::Reset, "reset"),
        (Self::HalfOpen, "half-open"),
        (Self::Partition, "partition"),
        (Self::Slow, "slow"),
        (Self::Clock, "clock"),
        (Self::Forger, "forger"),
        (Self::Full, "full"),
        (Self::BitRot, "bit-rot"),
        (Self::Garbage, "garbage"),
        (Self::Outage, "outage"),
        (Self::FarClock, "far-clock"),
        (Self::Crooked, "crooked"),
        (Self::Rival, "rival"),
        (Self::TakeBack, "take-back"),
        (Self::Consume, "consume"),
        (Self::Erase, "erase"),
        (Self::Correct, "correct"),
        (Self::Case, "case"),
        (Self::Rotate, "rotate"),
        (Self::Amend, "amend"),
        (Self::Revoke, "revoke"),
        (Self::Year, "year"),
        (Self::Witnesses, "witnesses"),
        (Self::Scarce, "scarce"),
        (Self::Prekeys, "prekeys"),
    ];

    /// Whether it comes about by the one that draws faults, again and again; the others are planned.
    pub(super) fn is_drawn(self) -> bool {
        self < Self::TakeBack
    }
}

/// A world that does not keep what the product rests on, or a product that does not keep its promise: what an
/// oracle has to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The broker's disk says that it flushed and has not.
    BrokerDisk,
    /// The agents' disks say so.
    AgentDisk,
    /// An agent stores what it receives twice.
    Twice,
    /// Acknowledgements never arrive.
    Deaf,
    /// The broker lets a role use a flow that the covenant does not give it.
    Wide,
    /// The broker's disk gives what it holds, whatever became of it.
    Unchecked,
    /// Agents forget at each start what they pinned of the log.
    Forgetful,
    /// Somebody has a partner's signing key.
    StolenKey,
    /// Witnesses forget what they cosigned.
    Unmindful,
    /// Nobody is told that a packet was put off.
    Untold,
}

impl Sabotage {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::BrokerDisk, "broker-disk"),
        (Self::AgentDisk, "agent-disk"),
        (Self::Twice, "twice"),
        (Self::Deaf, "deaf"),
        (Self::Wide, "wide"),
        (Self::Unchecked, "unchecked"),
        (Self::Forgetful, "forgetful"),
        (Self::StolenKey, "stolen-key"),
        (Self::Unmindful, "unmindful"),
        (Self::Untold, "untold"),
    ];
}

/// Everything a history follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What chance is drawn from.
    pub seed: u64,
    /// Packets that are pushed.
    pub messages: u32,
    /// Minutes with faults.
    pub minutes: u32,
    /// What goes wrong.
    pub faults: BTreeSet<Fault>,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
    /// Where a process dies, besides.
    pub dies: Option<Point>,
}

/// What is in one history in five: it changes much of what else happens in it.
const SELDOM: [Fault; 6] =
    [Fault::Rival, Fault::Year, Fault::Amend, Fault::Revoke, Fault::Scarce, Fault::Prekeys];

impl Scenario {
    /// The usual one for a seed: for one seed in eight a broker that cheats, else faults for three minutes, or for one
    /// seed in 32 for three days.
    ///
    /// Of what can go wrong, and of what people do, about half is in it, other things for each seed: what is left out
    /// gives the rest the chance to meet ("Swarm Testing", Groce et al., ISSTA 2012).
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let kind = dice.between(0, 96);
        if kind < 12 {
            return Self::crooked(seed);
        }
        let long = kind >= 93;
        let mut drawn = |fault: Fault| {
            let share = if fault == Fault::Crooked {
                0
            } else if matches!(fault, Fault::Outage | Fault::FarClock) {
                u64::from(long) * 60
            } else if SELDOM.contains(&fault) {
                20
            } else if long && fault == Fault::Witnesses {
                // A round of cosignatures a minute, for days, costs as much as ten other histories.
                10
            } else {
                50
            };
            dice.percent(share)
        };
        let faults = Fault::ALL.iter().map(|(fault, _)| *fault).filter(|fault| drawn(*fault)).collect();
        let minutes = if long { 4320 } else { 3 };
        let messages = u32::try_from(dice.between(1, 13)).unwrap_or(1);
        Self { seed, messages, minutes, faults, sabotage: None, dies: None }
    }

    /// The one for a seed with a broker that cheats, every other time with witnesses.
    pub fn crooked(seed: u64) -> Self {
        let faults = [Fault::Crash, Fault::Flush, Fault::Reset, Fault::Slow, Fault::Forger, Fault::Crooked];
        let watched = seed.is_multiple_of(2).then_some(Fault::Witnesses);
        let faults = faults.into_iter().chain([Fault::TakeBack, Fault::Consume]).chain(watched).collect();
        Self { seed, messages: 10, minutes: 3, faults, sabotage: None, dies: None }
    }

    pub(super) fn model(&self) -> Model {
        if self.sabotage == Some(Sabotage::Wide) {
            Model::Wide
        } else if self.faults.contains(&Fault::Witnesses) {
            if self.faults.contains(&Fault::Crooked) { Model::Guarded } else { Model::Witnessed }
        } else {
            Model::Plain
        }
    }

    /// Whether a fault of this name is in it.
    pub fn names(&self, name: &str) -> bool {
        Fault::ALL.iter().any(|(fault, own)| *own == name && self.faults.contains(fault))
    }

    /// The same with something broken on purpose.
    #[must_use]
    pub fn sabotaged(self, sabotage: Sabotage) -> Self {
        Self { sabotage: Some(sabotage), ..self }
    }

    /// Scenarios with less in them, the smallest first.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.dies.is_some() {
            all.push(Self { dies: None, ..self.clone() });
        }
        if self.messages > 1 {
            all.push(Self { messages: self.messages / 2, ..self.clone() });
        }
        if self.minutes > 1 {
            all.push(Self { minutes: self.minutes / 2, ..self.clone() });
        }
        for fault in &self.faults {
            let mut fewer = self.clone();
            fewer.faults.remove(fault);
            all.push(fewer);
        }
        all
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Fault::ALL.iter().filter(|(fault, _)| self.faults.contains(fault));
        let names: Vec<&str> = named.map(|(_, name)| *name).collect();
        write!(f, "seed={} messages={} minutes={} ", self.seed, self.messages, self.minutes)?;
        write!(f, "faults={}", if names.is_empty() { "none".to_owned() } else { names.join(",") })?;
        if let Some((_, name)) = Sabotage::ALL.iter().find(|(sabotage, _)| Some(*sabotage) == self.sabotage) {
            write!(f, " sabotage={name}")?;
        }
        self.dies.map_or(Ok(()), |point| write!(f, " dies={point}"))
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut scenario = Self { faults: BTreeSet::new(), ..Self::of(0) };
        for part in text.split_whitespace() {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part} is no key=value"))?;
            let number = || value.parse::<u32>().map_err(|_| format!("{value} is no number"));
            match key {
                "seed" => scenario.seed = value.parse().map_err(|_| format!("{value} is no seed"))?,
                "messages" => scenario.messages = number()?,
                "minutes" => scenario.minutes = number()?,
                "faults" if value == "none" => {}
                "faults" => {
                    for name in value.split(',') {
                        let found = Fault::ALL.iter().find(|(_, own)| *own == name);
                        scenario.faults.insert(found.ok_or_else(|| format!("{name} is no fault"))?.0);
                    }
                }
                "sabotage" => {
                    let found = Sabotage::ALL.iter().find(|(_, own)| *own == value);
                    scenario.sabotage = Some(found.ok_or_else(|| format!("{value} is no sabotage"))?.0);
                }
                "dies" => scenario.dies = Some(value.parse()?),
                _ => return Err(format!("{key} is not part of a scenario")),
            }
        }
        Ok(scenario)
    }
}

/// Chance from a seed.
#[derive(Debug)]
pub struct Dice {
    seed: u64,
    throws: u64,
}

impl Dice {
    /// The same seed always throws the same.
    pub const fn new(seed: u64) -> Self {
        Self { seed, throws: 0 }
    }

    /// 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.throws += 1;
        sha256(&[self.seed.to_be_bytes(), self.throws.to_be_bytes()].concat()).0
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes().first_chunk().copied().unwrap_or_default())
    }

    /// From `low` up to and without `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low).max(1)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        self.between(0, 100) < share
    }

    /// One of these, if there is one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let count = u64::try_from(from.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(self.between(0, count)).unwrap_or_default();
        from.get(at).copied()
    }
}
