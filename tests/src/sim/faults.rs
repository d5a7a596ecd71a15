//! What goes wrong.

use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::time::Span;

use super::net::{Side, Stream};
use super::oracle::Violation;
use super::scenario::Fault;
use super::wire;
use super::world::{Event, IDLE, Node, World};

/// The second partner that does not.
pub(super) const RIVAL: usize = 1;
/// How much garbage comes at once from a partner that floods it.
const FLOOD: u32 = 20;
/// The partner that does not keep to the covenant.
pub(super) const FORGER: usize = 3;
/// Milliseconds of a day.
pub(super) const DAY: u64 = 86_400_000;

impl World {
    /// Something goes wrong, and later something else.
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        if self.is_calm() {
            return Ok(());
        }
        let pace = self.pace();
        let wait = self.dice.between(500, 20_000) * pace;
        self.after(wait, Event::Fault);
        let kinds = self.scenario.faults.iter().copied().filter(|fault| fault.is_drawn());
        let Some(fault) = self.dice.pick(&kinds.collect::<Vec<_>>()) else { return Ok(()) };
        let agent = usize::try_from(self.dice.between(0, 4)).unwrap_or_default();
        let node = if self.dice.percent(40) { Node::Broker } else { Node::Agent(agent) };
        match fault {
            Fault::Crash => self.crash(node),
            Fault::Flush => self.process(node).fails = true,
            Fault::Reset => {
                let (soon, late) = (self.dice.between(1, 1000), self.dice.percent(50));
                self.cut_off(agent, (0, soon), late);
            }
            Fault::HalfOpen => {
                let soon = self.dice.between(1, 1000);
                let ends = if self.dice.percent(50) { (soon, IDLE) } else { (IDLE, soon) };
                self.cut_off(agent, ends, false);
            }
            Fault::Partition => self.partition(agent, 500, 90_000),
            // Most of what is left of the history.
            Fault::Outage => self.partition(agent, 60_000 * pace, 180_000 * pace),
            Fault::Slow => {
                let length = self.dice.between(1000, 30_000);
                self.slow[agent] = self.now.plus(Span(length));
            }
            Fault::Clock => self.set_clock(node, 120_000),
            Fault::FarClock => self.set_clock(node, 2 * DAY),
            Fault::Forger => self.forge(FORGER),
            Fault::Garbage => self.babble(FORGER),
            Fault::Rival => self.rival(),
            Fault::Full => {
                let length = self.dice.between(1000, 60_000) * pace.min(60);
                self.process(node).full = self.now.plus(Span(length));
            }
            Fault::BitRot => {
                let disk = match node {
                    Node::Broker => &mut self.broker.disk,
                    Node::Agent(agent) => &mut self.agents[agent].disk,
                };
                if !disk.flip(&mut self.dice) {
                    return Ok(());
                }
            }
            Fault::Crooked => {
                for _ in 0..5 {
                    self.cheat()?;
                }
            }
            Fault::TakeBack
            | Fault::Consume
            | Fault::Erase
            | Fault::Correct
            | Fault::Case
            | Fault::Rotate
            | Fault::Amend
            | Fault::Revoke
            | Fault::Year
            | Fault::Witnesses
            | Fault::Scarce
            | Fault::Prekeys => {}
        }
        let named = Fault::ALL.iter().find(|(own, _)| *own == fault);
        *self.summary.faults.entry(named.map_or("", |(_, name)| *name)).or_default() += 1;
        Ok(())
    }

    /// A clock is set to a time that is so many milliseconds ahead or behind at most.
    fn set_clock(&mut self, node: Node, most: u64) {
        let signed = |number: u64| i64::try_from(number).unwrap_or_default();
        self.process(node).skew = signed(self.dice.between(0, 2 * most)) - signed(most);
    }

    /// The second partner that does not keep to the covenant does something.
    fn rival(&mut self) {
        match self.dice.between(0, 3) {
            0 => self.forge(RIVAL),
            1 => (0..FLOOD).for_each(|_| self.babble(RIVAL)),
            _ => (0..FLOOD).for_each(|_| self.parrot()),
        }
    }

    pub(super) fn partition(&mut self, agent: usize, from: u64, to: u64) {
        let length = self.dice.between(from, to);
        self.cut[agent] = self.now.plus(Span(length)).max(self.cut[agent]);
        if length >= IDLE {
            self.cut_off(agent, (IDLE, IDLE), false);
        }
    }

    /// The connection of an agent is gone; broker and agent notice after so many milliseconds.
    pub(super) fn cut_off(&mut self, agent: usize, (broker, own): (u64, u64), late: bool) {
        let Some(id) = self.agents[agent].conn else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.dead = true;
        if late {
            conn.late = self.now.plus(Span(200));
        }
        self.after(broker, Event::Notice(id, Side::Broker));
        self.after(own, Event::Notice(id, Side::Agent));
    }

    /// A partner submits what it may not.
    fn forge(&mut self, agent: usize) {
        let Some(id) = self.agents[agent].conn else { return };
        let (own, now) = (self.agents[agent].signer.clone(), self.now);
        let forger = &self.forgers[usize::from(agent == RIVAL)];
        let Some((packet, forbidden)) = forger.make(&own, now, &mut self.dice) else { return };
        if forbidden {
            self.forbid(&packet);
        }
        self.send_broker(id, Stream::Lane, frame::encode(Kind::Submit, &packet).ok());
    }

    /// What an agent says outside its lane gets known to others.
    pub(super) fn leak(&mut self, agent: usize, stream: Stream, frame: Option<&[u8]>) {
        if let Some(frame) = frame.filter(|_| self.has(Fault::Rival)) {
            self.forgers.iter_mut().for_each(|forger| forger.listen(agent, stream, frame));
        }
    }

    /// A partner says in its own session what another said in another: votes, acknowledgements, decisions, new keys.
    fn parrot(&mut self) {
        let Some(id) = self.agents[RIVAL].conn else { return };
        let Some((stream, frame)) = self.forgers[1].leak(&mut self.dice) else { return };
        let taken = wire::read(&frame).is_ok_and(|(kind, _)| kind == Kind::NoticesTaken);
        self.forgers[1].gave_away |= taken;
        let stream = if stream == Stream::Acknowledgements { stream } else { Stream::Request(self.fresh()) };
        self.send_broker(id, stream, Some(frame));
    }

    /// A partner sends bytes that are no message, or one of its own with a bit turned over, where they do not belong.
    fn babble(&mut self, agent: usize) {
        let Some(id) = self.agents[agent].conn else { return };
        let heard = self.forgers[usize::from(agent == RIVAL)].heard();
        let mut frame = match (self.dice.between(0, 3), heard) {
            (0, Some(packet)) => frame::encode(Kind::Submit, packet).unwrap_or_default(),
            (1, _) => {
                let kind = self.dice.pick(Kind::ALL).unwrap_or(Kind::Hello);
                let (bytes, length) = (self.dice.bytes(), self.dice.between(0, 33));
                let payload = bytes.get(..usize::try_from(length).unwrap_or_default());
                frame::encode(kind, payload.unwrap_or_default()).unwrap_or_default()
            }
            _ => self.dice.bytes().to_vec(),
        };
        let length = u64::try_from(frame.len()).unwrap_or_default();
        let at = usize::try_from(self.dice.between(0, length)).unwrap_or_default();
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= 1 << self.dice.between(0, 8);
        }
        let request = Stream::Request(self.fresh());
        let stream = self.dice.pick(&[Stream::Session, Stream::Lane, Stream::Acknowledgements, request]);
        self.send_broker(id, stream.unwrap_or(request), Some(frame));
    }
}
