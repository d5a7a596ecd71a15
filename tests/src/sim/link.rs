//! The network between an agent and the broker: how bytes travel, and what each side does with them.

use seinhuis_agent_core::Input as ToCore;
use seinhuis_broker_core::admission::Received;
use seinhuis_broker_core::{ConnId, Heard, Input, LaneId};
use seinhuis_shared::frame::Kind;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Deferred, Hello, Message as _, NoticesTaken, Refuse, VERSION, Verdict, Welcome};

use super::agent::Job;
use super::cast;
use super::net::{Conn, Side, Stream};
use super::oracle::Violation;
use super::scenario::Sabotage;
use super::wire;
use super::world::{Event, Node, PATIENCE, World};

impl World {
    pub(super) fn delay(&mut self, agent: usize) -> u64 {
        let slow = self.slow[agent] > self.now && self.dice.percent(50);
        if slow { self.dice.between(100, 3000) } else { self.dice.between(1, 40) }
    }

    pub(super) fn send_broker(&mut self, id: u64, stream: Stream, frame: Option<Vec<u8>>) {
        let Some(frame) = frame else { return };
        let Some(agent) = self.conns.get(&id).filter(|conn| !conn.dead).map(|conn| conn.agent) else {
            return;
        };
        let at = self.now.plus(Span(self.delay(agent)));
        let at = self.conns.get_mut(&id).map_or(at, |conn| conn.arrival(Side::Broker, stream, at));
        self.after(at.since(self.now).0, Event::ToBroker(id, stream, frame));
    }

    pub(super) fn send_agent(&mut self, id: u64, stream: Stream, frame: Vec<u8>) {
        let open = |conn: &&Conn| !conn.dead && conn.open.contains(&Side::Broker);
        let Some(agent) = self.conns.get(&id).filter(open).map(|conn| conn.agent) else { return };
        let at = self.now.plus(Span(self.delay(agent)));
        let at = self.conns.get_mut(&id).map_or(at, |conn| conn.arrival(Side::Agent, stream, at));
        self.after(at.since(self.now).0, Event::ToAgent(id, stream, frame));
    }

    /// The broker closes a connection, and says why.
    pub(super) fn close(&mut self, id: u64, reason: u16) {
        let open = |conn: &&Conn| !conn.dead && conn.open.contains(&Side::Broker);
        if let Some(agent) = self.conns.get(&id).filter(open).map(|conn| conn.agent) {
            let at = self.now.plus(Span(self.delay(agent)));
            let stream = Stream::Session;
            let at = self.conns.get_mut(&id).map_or(at, |conn| conn.arrival(Side::Agent, stream, at));
            self.after(at.since(self.now).0, Event::Closed(id, reason));
        }
        self.after(100, Event::Notice(id, Side::Broker));
    }

    pub(super) fn dial(&mut self, agent: usize) {
        if self.agents[agent].conn.is_some() || !self.runs(Node::Agent(agent)) {
            return;
        }
        if self.cut[agent] > self.now || !self.runs(Node::Broker) || !self.is_shown(agent) {
            let wait = self.dice.between(1000, PATIENCE);
            self.dial_later(agent, wait, None);
            return;
        }
        let id = self.fresh();
        self.conns.insert(id, Conn::new(agent));
        let one = &mut self.agents[agent];
        one.conn = Some(id);
        let cosigned = one.core.as_ref().map(seinhuis_agent_core::Core::cosigned_note).unwrap_or_default();
        let hello = Hello { version: VERSION, software: "agent/1".into(), cosigned };
        self.send_broker(id, Stream::Session, hello.to_frame().ok());
        self.after(PATIENCE, Event::Patience(id));
    }

    pub(super) fn dial_later(&mut self, agent: usize, wait: u64, refusal: Option<Refusal>) {
        let (now, chance) = (self.clock(Node::Agent(agent)), self.dice.number());
        let backoff = &mut self.agents[agent].backoff;
        let span = match refusal {
            Some(refusal) if !refusal.is_passing() => backoff.refused(now, chance),
            Some(_) | None => backoff.failed(now, chance),
        };
        let life = self.process(Node::Agent(agent)).life;
        self.after(wait + span.0, Event::Dial(agent, life));
    }

    /// An agent ends its side of a connection, or notices that it is gone.
    pub(super) fn hang_up(&mut self, id: u64, refusal: Option<Refusal>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.open.remove(&Side::Agent) {
            return;
        }
        let (agent, welcomed, first) = (conn.agent, conn.welcomed, !conn.dead);
        conn.dead = true;
        self.agents[agent].conn = None;
        self.requests.retain(|_, (conn, _)| *conn != id);
        if welcomed {
            self.give(agent, Job::Disconnected);
        }
        if first {
            self.after(50, Event::Notice(id, Side::Broker));
        }
        self.forget(id);
        self.dial_later(agent, 0, refusal);
    }

    /// The broker notices that a connection is gone.
    pub(super) fn left(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.dead = true;
        if conn.open.remove(&Side::Broker) {
            self.bring(Input::Disconnected { conn: ConnId(id) });
        }
        self.forget(id);
    }

    /// A connection that both sides know to be gone is nobody's any more.
    fn forget(&mut self, id: u64) {
        if self.conns.get(&id).is_some_and(|conn| conn.open.is_empty() && conn.late <= self.now) {
            self.conns.remove(&id);
        }
    }

    /// Keeps bytes that do not pass, and those behind them: when a cut ends earlier or later than it was to, none of them
    /// overtakes another.
    fn hold(&mut self, agent: usize, bytes: Event) {
        if self.held[agent].is_empty() {
            let wait = self.cut[agent].since(self.now).0;
            self.after(wait, Event::Passes(agent));
        }
        self.held[agent].push_back(bytes);
    }

    /// Cuts may be over sooner than they were to be.
    pub(super) fn cuts_changed(&mut self) {
        (0..self.agents.len()).for_each(|agent| self.after(0, Event::Passes(agent)));
    }

    /// A cut may be over: what was held arrives.
    pub(super) fn passes(&mut self, agent: usize) -> Result<(), Violation> {
        if self.held[agent].is_empty() {
            return Ok(());
        }
        if self.cut[agent] > self.now {
            let wait = self.cut[agent].since(self.now).0;
            self.after(wait, Event::Passes(agent));
            return Ok(());
        }
        std::mem::take(&mut self.held[agent]).into_iter().try_for_each(|bytes| self.happens(bytes))
    }

    pub(super) fn at_broker(&mut self, id: u64, stream: Stream, frame: Vec<u8>) -> Result<(), Violation> {
        let Some(conn) = self.conns.get(&id) else { return Ok(()) };
        let agent = conn.agent;
        // What streams of their own had read is still looked at.
        let late = conn.late > self.now && matches!(stream, Stream::Lane | Stream::Request(_));
        if conn.dead && !late || !self.runs(Node::Broker) {
            return Ok(());
        }
        if self.cut[agent] > self.now && !late || !self.held[agent].is_empty() {
            self.hold(agent, Event::ToBroker(id, stream, frame));
            return Ok(());
        }
        match self.read_at_broker(id, agent, stream, &frame)? {
            Ok(input) => self.bring(input),
            Err(refusal) => match stream {
                Stream::Lane | Stream::Request(_) => {
                    let refuse = Refuse { reason: refusal.number(), retry_after: None };
                    self.send_agent(id, stream, refuse.to_frame().map_err(cast::setup)?);
                }
                Stream::Session | Stream::Deliveries | Stream::Acknowledgements => {
                    self.close(id, refusal.number());
                }
            },
        }
        Ok(())
    }

    /// A message as the broker's shell reads it, or what it refuses it for.
    fn read_at_broker(
        &self,
        id: u64,
        agent: usize,
        stream: Stream,
        frame: &[u8],
    ) -> Result<Result<Input, Refusal>, Violation> {
        let (conn, peer) = (ConnId(id), self.agents[agent].oin);
        let core = self.broker.core.as_ref().ok_or_else(|| cast::setup("the broker does not run"))?;
        let (kind, payload) = match wire::read(frame) {
            Ok(read) => read,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(match (stream, kind) {
            (Stream::Session, Kind::Hello) => match Hello::parse(payload) {
                Ok(hello) => {
                    let heard = match self.broker.logs.hear(&hello.cosigned)? {
                        // Who cheats does not stop because somebody saw another history.
                        Heard::Contradicts { .. } if self.is_crooked() => Heard::Nothing,
                        heard @ (Heard::Nothing
                        | Heard::Fits { .. }
                        | Heard::Unreadable
                        | Heard::Contradicts { .. }) => heard,
                    };
                    Ok(Input::Connected { conn, peer, hello, heard })
                }
                Err(refusal) => Err(refusal),
            },
            (Stream::Lane, Kind::Submit) => {
                let examined = Received::new(payload.to_vec(), peer).authenticate(&core.directory());
                Ok(Input::Submitted { conn, lane: LaneId(id), examined })
            }
            (Stream::Acknowledgements, Kind::Acknowledge) => {
                let examined = core.directory().acknowledgement(payload, &peer);
                Ok(Input::Acknowledged { conn, examined })
            }
            (Stream::Acknowledgements, Kind::NoticesTaken) => NoticesTaken::parse(payload)
                .map(|NoticesTaken { cursor }| Input::NoticesTaken { conn, cursor }),
            (Stream::Request(request), kind) => wire::ask((core, &self.broker), (kind, payload), peer)
                .map(|ask| Input::Request { conn, request: Self::request(request), ask }),
            _ => Err(Refusal::UnexpectedMessage),
        })
    }

    pub(super) fn at_agent(&mut self, id: u64, stream: Stream, frame: Vec<u8>) -> Result<(), Violation> {
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(()) };
        let agent = conn.agent;
        if conn.dead || !conn.open.contains(&Side::Agent) {
            return Ok(());
        }
        if self.cut[agent] > self.now || !self.held[agent].is_empty() {
            self.hold(agent, Event::ToAgent(id, stream, frame));
            return Ok(());
        }
        if self.cosigns_blindly(id, agent, &frame)? {
            return Ok(());
        }
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(()) };
        // The stream of deliveries is not read before the session is open.
        if stream == Stream::Deliveries && !conn.welcomed {
            conn.early.push(frame);
            return Ok(());
        }
        if let Stream::Request(request) = stream {
            self.answered(request, Some(&frame));
        } else if let Err(refusal) = self.hears(id, agent, stream, &frame) {
            self.hang_up(id, refusal);
        }
        Ok(())
    }

    /// What an agent makes of a message.
    ///
    /// # Errors
    /// Its session ends: with what the broker refused, if it did.
    fn hears(&mut self, id: u64, agent: usize, stream: Stream, frame: &[u8]) -> Result<(), Option<Refusal>> {
        let (kind, payload) = wire::read(frame).map_err(|_| None)?;
        if kind == Kind::Refuse {
            let refuse = Refuse::parse(payload).map_err(|_| None)?;
            return Err(Refusal::from_number(refuse.reason));
        }
        let about = match (stream, kind) {
            (Stream::Session, Kind::Welcome) => {
                let welcome = Welcome::parse(payload).map_err(|_| None)?;
                return self.welcomed(id, agent, welcome);
            }
            (Stream::Lane, Kind::Verdict) => {
                let verdict = Verdict::parse(payload).map_err(|_| None)?;
                (Some(verdict.packet), ToCore::Verdict(verdict))
            }
            (Stream::Lane, Kind::Deferred) if self.scenario.sabotage == Some(Sabotage::Untold) => {
                return Ok(());
            }
            (Stream::Lane, Kind::Deferred) => {
                let deferred = Deferred::parse(payload).map_err(|_| None)?;
                (Some(deferred.packet), ToCore::Deferred(deferred))
            }
            (Stream::Deliveries, kind) => (None, wire::delivery((kind, payload)).map_err(|_| None)?),
            _ => return Err(None),
        };
        let (packet, input) = about;
        // An answer that nobody waits for is about nothing.
        let waited = |packet| self.conns.get_mut(&id).is_some_and(|conn| conn.flying.remove(&packet));
        if packet.is_none_or(waited) {
            self.give(agent, Job::Input(Box::new(input)));
        }
        Ok(())
    }

    fn welcomed(&mut self, id: u64, agent: usize, welcome: Welcome) -> Result<(), Option<Refusal>> {
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(()) };
        conn.welcomed = true;
        let early = std::mem::take(&mut conn.early);
        let now = self.clock(Node::Agent(agent));
        self.agents[agent].backoff.connected(now);
        self.give(agent, Job::Connected(id, Box::new(welcome)));
        for frame in early {
            self.hears(id, agent, Stream::Deliveries, &frame)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Conn, Event, Span, Stream, World};
    use crate::sim::Scenario;

    /// What an agent got on one stream, of which it gets one byte at each of these moments after a cut of a second began,
    /// while something else happens at 500 milliseconds.
    fn arrive(moments: [u64; 2], then: impl Fn(&mut World)) -> Vec<Vec<u8>> {
        let scenario: Scenario = "seed=1 messages=1 minutes=3 faults=slow".parse().unwrap();
        let mut world = World::new(scenario).unwrap();
        world.queue.clear();
        world.conns.insert(1, Conn::new(0));
        world.cut[0] = world.now.plus(Span(1000));
        let end = world.now.plus(Span(5000));
        for (at, byte) in moments.into_iter().zip(1..) {
            world.after(at, Event::ToAgent(1, Stream::Deliveries, vec![byte]));
        }
        world.after(500, Event::Fault);
        while let Some(((at, _), event)) = world.queue.pop_first().filter(|((at, _), _)| *at < end) {
            world.now = at;
            if matches!(event, Event::Fault) {
                then(&mut world);
            } else if matches!(event, Event::ToAgent(..) | Event::Passes(..)) {
                world.happens(event).unwrap();
            }
        }
        world.conns.remove(&1).unwrap().early
    }

    #[test]
    fn what_waits_for_a_cut_is_not_overtaken_when_that_ends_early_or_late() {
        let calm = |world: &mut World| world.happens(Event::Calm).unwrap();
        let longer = |world: &mut World| world.cut[0] = world.cut[0].plus(Span(1000));
        assert_eq!(arrive([100, 600], calm), [[1], [2]], "it ended early");
        assert_eq!(arrive([100, 600], longer), [[1], [2]], "it was made longer");
        assert_eq!(arrive([100, 1000], |_| {}), [[1], [2]], "the second comes as it ends");
    }
}
