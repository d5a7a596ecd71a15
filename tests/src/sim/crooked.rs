//! A broker that cheats, with the key of its own log and with the help of a partner: it repeats, misdirects, alters,
//! withholds and forges, shows its partners different histories, and puts an old store back.
//!
//! What has to hold at every honest agent all the same: nothing is good in its inbox but what its sender's agent
//! sealed for it, and once; what it pinned of the log never goes back nor from one history to another; and who was
//! shown two histories says so.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_agent_core::rows::{AlarmKind, PinRow};
use seinhuis_agent_core::{Turn, Write};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::{Entry, Kind as EntryKind};
use seinhuis_shared::frame::Kind;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Message as _, Offer, Verdict};

use super::broker::Broker;
use super::cast;
use super::disk::{Disk, State};
use super::log::Log;
use super::net::Stream;
use super::oracle::{Broken, Violation};
use super::scenario::{Fault, Sabotage};
use super::watchers::{Tree, Watchers};
use super::wire;
use super::world::{Node, World};

/// The way to cheat that forges.
const FORGE: u64 = 3;
/// How long after the last cheat everybody is shown one history, before the end is judged.
const HONEST: Span = Span::minutes(15);

/// What a cheating broker works with, and what it is held against.
#[derive(Debug, Default)]
pub(super) struct Crooked {
    /// What was offered: to whom, and the frame.
    offers: Vec<(usize, Vec<u8>)>,
    /// The other history, while there are two.
    other: Option<Broker>,
    /// Which of the two is shown now, and which each agent is meant to see.
    side: bool,
    group: Vec<bool>,
    /// An old store.
    saved: Option<State>,
    /// Whether answers are swallowed.
    withholds: bool,
    /// Histories that are not shown any more.
    pub(super) views: Vec<Log>,
    /// What honest agents sealed: who, and for whom.
    genuine: BTreeMap<Digest, (Oin, BTreeSet<Oin>)>,
    /// What each agent pinned, and in which session it pinned the last of it.
    pins: BTreeMap<usize, Vec<PinRow>>,
    pinned_in: BTreeMap<usize, Option<u64>>,
    alarms: BTreeMap<usize, BTreeSet<&'static str>>,
    /// Who cosigned what.
    pub(super) watchers: Watchers,
}

impl Crooked {
    /// The log of the other history, while there are two.
    pub(super) fn other_log(&self) -> Option<Log> {
        self.other.as_ref().and_then(|other| other.logs.0.last()).cloned()
    }
}

impl World {
    pub(super) fn is_crooked(&self) -> bool {
        self.has(Fault::Crooked)
    }

    /// An agent submits what it sealed.
    pub(super) fn sealed(&mut self, agent: usize, packet: &[u8]) {
        if let Ok(read) = Packet::parse(packet) {
            let to = read.context().recipient_oins().into_iter().collect();
            self.crooked.genuine.insert(sha256(packet), (self.agents[agent].oin, to));
        }
    }

    /// The broker is about to send this. Tells whether it does.
    pub(super) fn lets_pass(&mut self, id: u64, stream: Stream, frame: &[u8]) -> bool {
        if let (Stream::Deliveries, Some(conn)) = (stream, self.conns.get(&id))
            && matches!(wire::read(frame), Ok((Kind::Offer, _)))
        {
            self.crooked.offers.push((conn.agent, frame.to_vec()));
        }
        if stream == Stream::Deliveries && matches!(wire::read(frame), Ok((Kind::Witnessed, _))) {
            self.tells_quorum(frame);
        }
        !(self.crooked.withholds && !self.is_calm() && self.dice.percent(30))
    }

    /// Whether the broker shows this agent the history that it shows now.
    pub(super) fn is_shown(&mut self, agent: usize) -> bool {
        let meant = self.crooked.group.get(agent).copied().unwrap_or(self.crooked.side);
        meant == self.crooked.side || self.is_calm() || self.dice.percent(15)
    }

    /// The broker cheats, one way or another.
    pub(super) fn cheat(&mut self) -> Result<(), Violation> {
        let agent = usize::try_from(self.dice.between(0, 4)).unwrap_or_default();
        let ways = if self.has(Fault::Witnesses) { 15 } else { 10 };
        let way = self.dice.between(0, ways);
        let way = if self.scenario.sabotage == Some(Sabotage::StolenKey) { FORGE } else { way };
        let name = match way {
            0 => self.repeat(agent, true),
            1 => self.repeat(agent, false),
            2 => self.alter(agent),
            FORGE => self.insert()?,
            4 => self.lie(agent),
            5 => {
                self.crooked.withholds = !self.crooked.withholds;
                Some("cheat: answers and offers withheld")
            }
            6 => self.split(),
            7 | 8 => self.swap(),
            9 => self.put_back(),
            10 => self.repeat_quorum(agent),
            11 | 12 => self.make_quorum(agent)?,
            _ => self.ask_aside(agent)?,
        };
        if let Some(name) = name {
            *self.summary.faults.entry(name).or_default() += 1;
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, agent: usize, stream: Stream, frame: Vec<u8>) -> Option<()> {
        let id = self.agents[agent].conn?;
        self.send_agent(id, stream, frame);
        Some(())
    }

    /// Offers again what was offered before, to the same partner or to another.
    fn repeat(&mut self, agent: usize, same: bool) -> Option<&'static str> {
        let some = self.crooked.offers.iter().filter(|(to, _)| (*to == agent) == same);
        let some: Vec<usize> = some.enumerate().map(|(at, _)| at).collect();
        let at = self.dice.pick(&some)?;
        let frame = self.crooked.offers.iter().filter(|(to, _)| (*to == agent) == same).nth(at)?.1.clone();
        self.tell(agent, Stream::Deliveries, frame)?;
        Some(if same { "cheat: offers repeated" } else { "cheat: offers to the wrong partner" })
    }

    /// Offers a packet with another's receipt, or with a bit turned over.
    fn alter(&mut self, agent: usize) -> Option<&'static str> {
        let last = self.crooked.offers.len().checked_sub(1)?;
        let at = usize::try_from(self.dice.between(0, u64::try_from(last).ok()? + 1)).ok()?;
        let read = |at: usize| {
            let (_, payload) = wire::read(&self.crooked.offers.get(at)?.1).ok()?;
            Offer::parse(payload).ok()
        };
        let (mut offer, other) = (read(at)?, read(last)?);
        let place = usize::try_from(self.dice.number()).unwrap_or_default();
        match self.dice.between(0, 3) {
            0 => offer.receipt = other.receipt,
            1 => {
                let length = offer.packet.0.len();
                *offer.packet.0.get_mut(place % length.max(1))? ^= 1;
            }
            _ => {
                let length = offer.receipt.0.len();
                *offer.receipt.0.get_mut(place % length.max(1))? ^= 1;
            }
        }
        self.tell(agent, Stream::Deliveries, offer.to_frame().ok()?)?;
        Some("cheat: offers altered")
    }

    /// With a partner that helps, offers what the covenant does not allow, under a history made for it.
    fn insert(&mut self) -> Result<Option<&'static str>, Violation> {
        // A stolen key is no forgery that anybody could see: it shows that this world would.
        let stolen = self.scenario.sabotage == Some(Sabotage::StolenKey);
        let (own, now) = (self.agents[3].signer.clone(), self.now);
        let made = if stolen {
            self.forgers[0].steal(now, &mut self.dice).map(|packet| (packet, true))
        } else {
            self.forgers[0].make(&own, now, &mut self.dice)
        };
        let Some((bytes, true)) = made.filter(|_| self.runs(Node::Broker)) else { return Ok(None) };
        let (packet, mut log) = (Packet::parse(&bytes).map_err(cast::setup)?, self.current_log());
        let context = packet.context();
        let Some(to) = context.recipients.first().map(|recipient| recipient.oin) else { return Ok(None) };
        let mut entry = Entry::new(EntryKind::Accepted, now, [3; 16]);
        (entry.packet, entry.to, entry.from) = (Some(packet.digest()), Some(to), Some(context.sender));
        (entry.msg_id, entry.covenant) = (Some(context.msg_id), Some(context.covenant));
        (entry.statement, entry.flow) = (Some(packet.statement_digest()), Some(context.flow.clone()));
        log.extend(&[entry.to_bytes().map_err(cast::setup)?])?;
        let proved = log.proved(log.size() - 1, log.size())?;
        let checkpoint = Bytes(cast::sign(&log.origin, log.size(), log.root())?);
        let receipt = Bytes(Receipt { version: 1, checkpoint, entries: vec![proved] }.to_bytes());
        let offer = Offer { packet: Bytes(bytes.to_vec()), receipt };
        let Some(agent) = self.agents.iter().position(|agent| agent.oin == to) else { return Ok(None) };
        let frame = offer.to_frame().map_err(cast::setup)?;
        let told = self.tell(agent, Stream::Deliveries, frame);
        self.crooked.views.push(log);
        Ok(told.map(|()| "cheat: forged packets in a forged log"))
    }

    /// Says of a packet that it was accepted, with a receipt of another.
    fn lie(&mut self, agent: usize) -> Option<&'static str> {
        let id = self.agents[agent].conn?;
        let packet = *self.conns.get(&id)?.flying.iter().next()?;
        let (_, payload) = wire::read(&self.crooked.offers.last()?.1).ok()?;
        let receipt = Offer::parse(payload).ok()?.receipt;
        let verdict = Verdict { packet, outcome: 0, receipt };
        self.tell(agent, Stream::Lane, verdict.to_frame().ok()?)?;
        Some("cheat: false verdicts")
    }

    /// From now on there are two histories, which begin alike.
    fn split(&mut self) -> Option<&'static str> {
        if self.crooked.other.is_some() || !self.runs(Node::Broker) {
            return None;
        }
        self.crooked.other = Some(Broker::of(self.broker.disk.live.clone()));
        self.crooked.group = (0..self.agents.len()).map(|_| self.dice.percent(50)).collect();
        Some("cheat: log split in two")
    }

    /// Shows the other history from now on.
    fn swap(&mut self) -> Option<&'static str> {
        let mut other = self.crooked.other.take()?;
        self.crash(Node::Broker);
        std::mem::swap(&mut self.broker, &mut other);
        self.crooked.other = Some(other);
        self.crooked.side = !self.crooked.side;
        Some("cheat: other history shown")
    }

    /// Keeps a copy of the store, or goes on from the one it kept.
    fn put_back(&mut self) -> Option<&'static str> {
        let Some(saved) = self.crooked.saved.take() else {
            self.crooked.saved = Some(self.broker.disk.live.clone());
            return None;
        };
        let before = self.current_log();
        self.crooked.views.push(before);
        self.crash(Node::Broker);
        self.broker.disk = Disk::new(saved, false);
        Some("cheat: old store put back")
    }

    pub(super) fn current_log(&self) -> Log {
        self.broker.logs.0.last().cloned().unwrap_or_default()
    }

    // What has to hold all the same.

    /// Looks at what an agent made durable.
    pub(super) fn see_turn(&mut self, agent: usize, turn: &Turn) -> Result<(), Violation> {
        let own = self.agents[agent].oin;
        for write in &turn.writes {
            if let Write::Inbox(_, row) = write
                && row.outcome == 0
            {
                let sealed = self.crooked.genuine.get(&row.packet);
                if !sealed.is_some_and(|(from, to)| row.sender == Some(*from) && to.contains(&own)) {
                    let what = format!("{} is good at {own}, and its sender did not seal it", row.msg_id);
                    return Err(Violation::new(Broken::Invented, what));
                }
            } else if let Write::Pin(pin) = write {
                self.pinned(agent, *pin)?;
            }
        }
        if self.has(Fault::Witnesses) { self.see_answers(agent, turn) } else { Ok(()) }
    }

    fn pinned(&mut self, agent: usize, pin: PinRow) -> Result<(), Violation> {
        let pins = self.crooked.pins.entry(agent).or_default();
        let last = pins.last().copied().unwrap_or(pin);
        let back = pin.size < last.size || (pin.size == last.size && pin.root != last.root);
        if back || (last.forked && !pin.forked) {
            let what = format!("agent {} goes back from {last:?} to {pin:?}", agent + 1);
            return Err(Violation::new(Broken::Pin, what));
        }
        pins.push(pin);
        self.crooked.pinned_in.insert(agent, self.agents[agent].conn);
        Ok(())
    }

    /// Whether an agent was shown more of the history than there is, and no end of it since: nothing that it was shown
    /// contradicts what it pinned, until its next session begins or the log is as long as the pin.
    fn is_ahead(&self, agent: usize, shown: &Log, holds: impl Fn(&Log) -> bool) -> bool {
        let continues = |view: &Log| view.has(shown.size(), shown.root()) && holds(view);
        self.agents[agent].conn.is_some()
            && self.crooked.pinned_in.get(&agent) == Some(&self.agents[agent].conn)
            && self.crooked.views.iter().any(continues)
    }

    /// An agent complains, which it may.
    pub(super) fn complains(&mut self, agent: usize, kind: AlarmKind) {
        self.crooked.alarms.entry(agent).or_default().insert(kind.as_str());
        *self.summary.faults.entry(alarm_name(kind)).or_default() += 1;
    }

    /// Whether everybody was shown one history for long enough; then what became of what.
    pub(super) fn look_crooked(&self) -> Result<bool, Violation> {
        let Some(calm) = self.calm.filter(|calm| self.now.since(*calm) > HONEST) else { return Ok(false) };
        let views: Vec<&Log> = self.crooked.views.iter().collect();
        let other = self.crooked.other.as_ref().and_then(|other| other.logs.0.last());
        let shown = self.current_log();
        for (agent, pins) in &self.crooked.pins {
            let holds = |log: &Log| pins.iter().all(|pin| log.has(pin.size, pin.root));
            if !views.iter().copied().chain(other).chain([&shown]).any(holds) {
                let what = format!("agent {} pinned what is in no one history: {pins:?}", agent + 1);
                return Err(Violation::new(Broken::Pin, what));
            }
            let seen = self.crooked.alarms.get(agent);
            let told = ["log-forked", "log-unproven", "other-log"];
            let told = told.into_iter().any(|kind| seen.is_some_and(|seen| seen.contains(kind)));
            if !holds(&shown) && !told && !self.is_ahead(*agent, &shown, holds) {
                let what = format!("agent {} was shown two histories and says nothing, {calm}", agent + 1);
                return Err(Violation::new(Broken::Pin, what));
            }
        }
        let all: Vec<&Log> = views.iter().copied().chain(other).chain([&shown]).collect();
        let pins = self.crooked.pins.iter();
        let trees = |pins: &Vec<PinRow>| pins.iter().map(|pin| (pin.size, pin.root)).collect::<Vec<Tree>>();
        let pins = pins.map(|(agent, pins)| (*agent, trees(pins))).collect();
        self.look_at_witnesses(&pins, &all)?;
        Ok(true)
    }
}

/// What an alarm is counted as.
fn alarm_name(kind: AlarmKind) -> &'static str {
    let named = [
        (AlarmKind::LogForked, "alarm: log forked"),
        (AlarmKind::LogUnproven, "alarm: log unproven"),
        (AlarmKind::UnprovenOffer, "alarm: unproven offer"),
        (AlarmKind::FalseVerdict, "alarm: false verdict"),
    ];
    named.into_iter().find(|(own, _)| *own == kind).map_or("alarm: another", |(_, name)| name)
}
