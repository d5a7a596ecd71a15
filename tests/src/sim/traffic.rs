//! What broker and agents send each other, and how it gets there.

use seinhuis_agent_core::rows::{AlarmKind, Stage};
use seinhuis_agent_core::{Event as News, Input as ToCore, Send as Asked, Turn, Write};
use seinhuis_broker_core::admission::Received;
use seinhuis_broker_core::{ConnId, Heard, Input, LaneId, RequestId, Send};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Deferred, Hello, Offer, VERSION, Verdict};

use super::agent::Job;
use super::cast;
use super::net::{Conn, Side, Stream, ToAgent, ToBroker};
use super::oracle::{Broken, Oracle, Violation};
use super::scenario::Sabotage;
use super::world::{Event, Node, PATIENCE, TICK, World};

impl World {
    // What the broker sends.

    pub(super) fn broker_sends(&mut self, send: Send) -> Result<(), Violation> {
        match send {
            Send::Welcome { conn, welcome } => self.send_agent(conn.0, ToAgent::Welcome(Box::new(welcome))),
            Send::Refuse { conn, request: None, refuse } => {
                self.send_agent(conn.0, ToAgent::Refused(refuse.reason));
            }
            Send::Close { conn, reason } => {
                self.send_agent(conn.0, ToAgent::Refused(reason.number()));
                self.after(100, Event::Notice(conn.0, Side::Broker));
            }
            Send::Verdict { conn, packet, outcome, receipt, .. } => {
                let receipt = self.broker.log.receipt(receipt)?;
                self.oracle.receipt(&receipt)?;
                let verdict = ToCore::Verdict(Verdict { packet, outcome, receipt });
                self.send_agent(conn.0, ToAgent::Answer(packet, Box::new(verdict)));
            }
            Send::Deferred { conn, deferred, .. } => {
                let Deferred { packet, .. } = deferred;
                self.send_agent(conn.0, ToAgent::Answer(packet, Box::new(ToCore::Deferred(deferred))));
            }
            Send::Offer { conn, item, bytes, receipt } => {
                let bytes = bytes.or_else(|| self.broker.disk.live.blobs.get(&item.packet.0).cloned());
                let Some(bytes) = bytes else {
                    let what = format!("{} waits and is not in the store", item.packet);
                    return Err(Violation::new(Broken::Lost, what));
                };
                let receipt = self.broker.log.receipt(receipt)?;
                self.oracle.receipt(&receipt)?;
                let offer = Offer { packet: bytes.as_slice().into(), receipt };
                self.deliver(conn, ToCore::Offer(Box::new(offer)));
            }
            Send::Agreements { conn, agreements } => self.deliver(conn, ToCore::Agreements(agreements)),
            Send::Cases { conn, cases } => self.deliver(conn, ToCore::Cases(cases)),
            Send::Notices { conn, cursor, row } => {
                let notices = self.broker.log.notices(cursor, &row)?;
                self.deliver(conn, ToCore::Notices(Box::new(notices)));
            }
            Send::Refuse { request: Some(request), .. }
            | Send::Done { request, .. }
            | Send::Prekeys { request, .. }
            | Send::Covenant { request, .. }
            | Send::Case { request, .. }
            | Send::Rotations { request, .. }
            | Send::Entries { request, .. }
            | Send::Succession { request, .. }
            | Send::Consistency { request, .. } => self.answered(request, send)?,
            // Nobody waits for the operator's answer, and there are no witnesses in this world.
            Send::Answer { .. }
            | Send::AddCheckpoint { .. }
            | Send::AskOutside { .. }
            | Send::Witnessed { .. } => {}
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, conn: ConnId, input: ToCore) {
        self.send_agent(conn.0, ToAgent::Delivery(Box::new(input)));
    }

    pub(super) fn answered(&mut self, request: RequestId, send: Send) -> Result<(), Violation> {
        let Some((conn, asked)) = self.requests.remove(&request.0) else { return Ok(()) };
        let passing = matches!(&send, Send::Refuse { refuse, .. }
            if Refusal::from_number(refuse.reason).is_some_and(Refusal::is_passing));
        if passing && matches!(asked, Asked::Publish { .. }) {
            let again = self.fresh();
            self.requests.insert(again, (conn, asked.clone()));
            self.after(TICK, Event::ToBroker(conn, ToBroker::Ask(again, Box::new(asked))));
        } else if let Some(input) = self.broker.answer(&asked, send)? {
            self.send_agent(conn, ToAgent::Done(request.0, Box::new(input)));
        }
        Ok(())
    }

    pub(super) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    // What an agent says.

    pub(super) fn agent_says(&mut self, agent: usize, turn: Turn) -> Result<(), Violation> {
        if turn.writes.iter().any(|write| matches!(write, Write::Inbox(..))) {
            Oracle::inbox(&self.agents[agent].disk.live)?;
        }
        for reply in turn.replies {
            let message = usize::try_from(reply.token).map_err(cast::setup)?;
            match reply.result {
                Ok(_) => self.messages[message].answered = true,
                Err(rejection) => {
                    self.messages[message].rejected = Some(rejection.refusal);
                    self.after(5000, Event::Push(message));
                }
            }
        }
        let outgoing = self.agents[agent].outgoing;
        for send in turn.sends {
            self.agent_sends(agent, outgoing, send);
        }
        for event in turn.events {
            match event {
                News::Decided { msg_id, stage: Stage::Done, .. } => {
                    let row = self.agents[agent].sent(&msg_id);
                    self.oracle.told(row.ok_or_else(|| cast::setup("a message without a row"))?)?;
                }
                // Among honest parties there is nothing to complain of but proofs that take long.
                News::Alarm(alarm) if alarm.kind != AlarmKind::LogUnproven => {
                    let what = format!("agent {}: {} {}", agent + 1, alarm.kind, alarm.detail);
                    return Err(Violation::new(Broken::Log, what));
                }
                News::Decided { .. }
                | News::Reached { .. }
                | News::Received { .. }
                | News::KeyRotated(_)
                | News::Alarm(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn agent_sends(&mut self, agent: usize, outgoing: Option<u64>, send: Asked) {
        let Some(id) = outgoing.filter(|id| self.agents[agent].conn == Some(*id)) else { return };
        match send {
            Asked::Submit { digest, packet: Some(packet) } => {
                self.forger.overhear(agent, &packet);
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.flying.insert(digest);
                }
                self.send_broker(id, ToBroker::Submit(packet));
            }
            Asked::Submit { digest, packet: None } => {
                self.give(agent, Job::Input(Box::new(ToCore::PacketMissing(digest))));
            }
            Asked::Acknowledge(_) if self.scenario.sabotage == Some(Sabotage::Deaf) => {}
            Asked::Acknowledge(bytes) => self.send_broker(id, ToBroker::Acknowledge(bytes)),
            Asked::NoticesTaken(cursor) => self.send_broker(id, ToBroker::Taken(cursor)),
            other @ (Asked::Withdraw { .. }
            | Asked::Consume { .. }
            | Asked::FetchEntries { .. }
            | Asked::Publish { .. }
            | Asked::FetchPrekeys(_)
            | Asked::FetchCovenant(_)
            | Asked::Propose { .. }
            | Asked::Vote { .. }
            | Asked::Rotate(_)
            | Asked::Decide { .. }
            | Asked::FetchCase(_)
            | Asked::FetchConsistency(..)
            | Asked::FetchSuccession { .. }
            | Asked::Cosigned(_)) => {
                if let Asked::Publish { bundle, .. } = &other {
                    let (oin, key) = (self.agents[agent].oin, self.agents[agent].signer.public());
                    self.forger.learn(oin, key, bundle);
                }
                let request = self.fresh();
                self.requests.insert(request, (id, other.clone()));
                self.send_broker(id, ToBroker::Ask(request, Box::new(other)));
            }
        }
    }

    // The network.

    pub(super) fn delay(&mut self, agent: usize) -> u64 {
        let slow = self.slow[agent] > self.now && self.dice.percent(50);
        if slow { self.dice.between(100, 3000) } else { self.dice.between(1, 40) }
    }

    pub(super) fn send_broker(&mut self, id: u64, message: ToBroker) {
        let Some(agent) = self.conns.get(&id).filter(|conn| !conn.dead).map(|conn| conn.agent) else {
            return;
        };
        let at = self.now.plus(Span(self.delay(agent)));
        let stream = message.stream();
        let at = self.conns.get_mut(&id).map_or(at, |conn| conn.arrival(Side::Broker, stream, at));
        self.after(at.since(self.now).0, Event::ToBroker(id, message));
    }

    pub(super) fn send_agent(&mut self, id: u64, message: ToAgent) {
        let open = |conn: &&Conn| !conn.dead && conn.open.contains(&Side::Broker);
        let Some(agent) = self.conns.get(&id).filter(open).map(|conn| conn.agent) else { return };
        let at = self.now.plus(Span(self.delay(agent)));
        let stream = message.stream();
        let at = self.conns.get_mut(&id).map_or(at, |conn| conn.arrival(Side::Agent, stream, at));
        self.after(at.since(self.now).0, Event::ToAgent(id, message));
    }

    pub(super) fn dial(&mut self, agent: usize) {
        if self.agents[agent].conn.is_some() || !self.runs(Node::Agent(agent)) {
            return;
        }
        if self.cut[agent] > self.now || !self.runs(Node::Broker) {
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
        self.send_broker(id, ToBroker::Hello(hello));
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
        if welcomed {
            self.give(agent, Job::Disconnected);
        }
        if first {
            self.after(50, Event::Notice(id, Side::Broker));
        }
        self.dial_later(agent, 0, refusal);
    }

    /// The broker notices that a connection is gone.
    pub(super) fn left(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.dead = true;
        if conn.open.remove(&Side::Broker) {
            self.bring(Input::Disconnected { conn: ConnId(id) });
        }
    }

    pub(super) fn at_broker(&mut self, id: u64, message: ToBroker) -> Result<(), Violation> {
        let Some(conn) = self.conns.get(&id) else { return Ok(()) };
        let agent = conn.agent;
        // What streams of their own had read is still looked at.
        let late = conn.late > self.now && matches!(message.stream(), Stream::Lane | Stream::Request(_));
        let Some(core) = self.broker.core.as_ref().filter(|_| !conn.dead || late) else { return Ok(()) };
        if self.cut[agent] > self.now && !late {
            let wait = self.cut[agent].since(self.now).0;
            self.after(wait, Event::ToBroker(id, message));
            return Ok(());
        }
        let (conn, peer) = (ConnId(id), self.agents[agent].oin);
        let input = match message {
            ToBroker::Hello(hello) => Input::Connected { conn, peer, hello, heard: Heard::Nothing },
            ToBroker::Submit(bytes) => {
                let examined = Received::new(bytes.to_vec(), peer).authenticate(&core.directory());
                Input::Submitted { conn, lane: LaneId(id), examined }
            }
            ToBroker::Acknowledge(bytes) => {
                let examined = core.directory().acknowledgement(&bytes, &peer);
                Input::Acknowledged { conn, examined }
            }
            ToBroker::Taken(cursor) => Input::NoticesTaken { conn, cursor },
            ToBroker::Ask(request, asked) => {
                let ask = self.broker.ask(&asked, peer);
                let ask = ask.ok_or_else(|| cast::setup(format!("{asked:?} has no answer in this world")))?;
                Input::Request { conn, request: RequestId(request), ask }
            }
        };
        self.bring(input);
        Ok(())
    }

    pub(super) fn at_agent(&mut self, id: u64, message: ToAgent) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let agent = conn.agent;
        if conn.dead || !conn.open.contains(&Side::Agent) {
            return;
        }
        if self.cut[agent] > self.now {
            let wait = self.cut[agent].since(self.now).0;
            self.after(wait, Event::ToAgent(id, message));
            return;
        }
        match message {
            ToAgent::Welcome(welcome) => {
                conn.welcomed = true;
                let early = std::mem::take(&mut conn.early);
                let now = self.clock(Node::Agent(agent));
                self.agents[agent].backoff.connected(now);
                self.give(agent, Job::Connected(id, welcome));
                for input in early {
                    self.give(agent, Job::Input(Box::new(input)));
                }
            }
            // The stream of deliveries is not read before the session is open.
            ToAgent::Delivery(input) if !conn.welcomed => conn.early.push(*input),
            ToAgent::Refused(reason) => self.hang_up(id, Refusal::from_number(reason)),
            ToAgent::Answer(packet, input) => {
                // An answer that nobody waits for is about nothing.
                if conn.flying.remove(&packet) {
                    self.give(agent, Job::Input(input));
                }
            }
            ToAgent::Delivery(input) | ToAgent::Done(_, input) => self.give(agent, Job::Input(input)),
        }
    }
}
