//! What broker and agents send each other.

use seinhuis_agent_core::rows::{AlarmKind, Stage};
use seinhuis_agent_core::{Event as News, Input as ToCore, Send as Asked, Turn, Write};
use seinhuis_broker_core::{RequestId, Send};
use seinhuis_shared::frame::Kind;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{Message as _, Offer, Verdict};

use super::agent::Job;
use super::cast;
use super::net::{Side, Stream};
use super::oracle::{Broken, Oracle, Violation};
use super::people::ORDER;
use super::scenario::Sabotage;
use super::wire;
use super::world::{Event, Node, PATIENCE, World};

impl World {
    // What the broker sends.

    pub(super) fn broker_sends(&mut self, send: Send) -> Result<(), Violation> {
        self.counts_put_off(&send);
        let (conn, stream) = match &send {
            Send::Welcome { conn, .. } | Send::Refuse { conn, request: None, .. } => (*conn, Stream::Session),
            Send::Verdict { conn, .. } | Send::Deferred { conn, .. } => (*conn, Stream::Lane),
            Send::Close { conn, reason } => {
                let (id, reason) = (conn.0, reason.number());
                self.close(id, reason);
                return Ok(());
            }
            Send::Offer { conn, .. }
            | Send::Agreements { conn, .. }
            | Send::Cases { conn, .. }
            | Send::AddCheckpoint { conn, .. }
            | Send::Witnessed { conn, .. }
            | Send::Notices { conn, .. } => (*conn, Stream::Deliveries),
            Send::Refuse { conn, request: Some(request), .. }
            | Send::Done { conn, request, .. }
            | Send::Prekeys { conn, request, .. }
            | Send::Covenant { conn, request, .. }
            | Send::Case { conn, request, .. }
            | Send::Rotations { conn, request, .. }
            | Send::Entries { conn, request, .. }
            | Send::Succession { conn, request, .. }
            | Send::Consistency { conn, request, .. } => {
                let (id, request) = (conn.0, *request);
                let frame = wire::answer(&self.broker, send)?;
                return self.let_out(id, Stream::Request(request.0), frame);
            }
            Send::Answer { id, answer } => {
                if *id == ORDER {
                    self.ordered(answer.is_ok());
                }
                return Ok(());
            }
            // Every witness here is a party.
            Send::AskOutside { .. } => return Ok(()),
        };
        match wire::of_broker(&self.broker, send)? {
            Some(frame) => self.let_out(conn.0, stream, frame)?,
            None => *self.summary.faults.entry("damaged packets held back").or_default() += 1,
        }
        Ok(())
    }

    fn let_out(&mut self, id: u64, stream: Stream, frame: Vec<u8>) -> Result<(), Violation> {
        if !self.is_crooked() {
            self.see_proof(&frame)?;
        } else if !self.lets_pass(id, stream, &frame) {
            return Ok(());
        }
        self.send_agent(id, stream, frame);
        Ok(())
    }

    /// Looks at the receipt that is in a message.
    fn see_proof(&mut self, frame: &[u8]) -> Result<(), Violation> {
        let receipt = match wire::read(frame).map_err(cast::setup)? {
            (Kind::Verdict, payload) => Verdict::parse(payload).map_err(cast::setup)?.receipt,
            (Kind::Offer, payload) => Offer::parse(payload).map_err(cast::setup)?.receipt,
            _ => return Ok(()),
        };
        self.oracle.receipt(&receipt)
    }

    pub(super) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    // What an agent says.

    pub(super) fn agent_says(&mut self, agent: usize, turn: Turn) -> Result<(), Violation> {
        if self.is_crooked() {
            self.see_turn(agent, &turn)?;
        }
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
        self.heed(agent, turn.answers);
        let outgoing = self.agents[agent].outgoing;
        for send in turn.sends {
            if self.dies_sending(Node::Agent(agent)) {
                return Ok(());
            }
            self.agent_sends(agent, outgoing, send)?;
        }
        for event in turn.events {
            match event {
                News::Decided { msg_id, stage: Stage::Done, .. } if !self.is_crooked() => {
                    let row = self.agents[agent].sent(&msg_id);
                    self.oracle.told(row.ok_or_else(|| cast::setup("a message without a row"))?)?;
                }
                News::Alarm(alarm) => self.alarmed(agent, alarm.kind, &alarm.detail)?,
                News::KeyRotated(_) => self.agents[agent].promote(),
                News::Received { position, outcome: 0, .. } => self.received(agent, position),
                News::Decided { .. } | News::Reached { .. } | News::Received { .. } => {}
            }
        }
        Ok(())
    }

    /// Among honest parties there is nothing to complain of but proofs and quorums that take long.
    fn alarmed(&mut self, agent: usize, kind: AlarmKind, detail: &str) -> Result<(), Violation> {
        let late = kind == AlarmKind::LogUnproven
            || kind == AlarmKind::Unwitnessed && detail.starts_with("no quorum");
        if self.is_crooked() {
            self.complains(agent, kind);
            return Ok(());
        }
        if late {
            return Ok(());
        }
        let what = format!("agent {}: {kind} {detail}", agent + 1);
        Err(Violation::new(Broken::Log, what))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are requests")]
    fn agent_sends(&mut self, agent: usize, outgoing: Option<u64>, send: Asked) -> Result<(), Violation> {
        let Some(id) = outgoing.filter(|id| self.agents[agent].conn == Some(*id)) else { return Ok(()) };
        if matches!(send, Asked::Acknowledge(_)) && self.scenario.sabotage == Some(Sabotage::Deaf) {
            return Ok(());
        }
        let frame = wire::of_agent(&send).map_err(cast::setup)?;
        match send {
            Asked::Reconnect => self.hang_up(id, None),
            Asked::Submit { digest, packet: Some(packet) } => {
                self.forgers.iter_mut().for_each(|forger| forger.overhear(agent, &packet));
                if self.is_crooked() {
                    self.sealed(agent, &packet);
                }
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.flying.insert(digest);
                }
                self.send_broker(id, Stream::Lane, frame);
            }
            Asked::Submit { digest, packet: None } => {
                self.give(agent, Job::Input(Box::new(ToCore::PacketMissing(digest))));
            }
            Asked::Acknowledge(_) | Asked::NoticesTaken(_) => {
                self.leak(agent, Stream::Acknowledgements, frame.as_deref());
                self.send_broker(id, Stream::Acknowledgements, frame);
            }
            other => {
                if let Asked::Publish { bundle, .. } = &other {
                    let (oin, key) = (self.agents[agent].oin, self.agents[agent].signer.public());
                    self.forgers.iter_mut().for_each(|forger| forger.learn(oin, key, bundle));
                }
                let request = self.fresh();
                self.leak(agent, Stream::Request(request), frame.as_deref());
                self.requests.insert(request, (id, other));
                self.send_broker(id, Stream::Request(request), frame);
                self.after(PATIENCE, Event::Unanswered(request));
            }
        }
        Ok(())
    }

    /// A request has its answer, or nobody waits for one any more.
    pub(super) fn answered(&mut self, request: u64, frame: Option<&[u8]>) {
        let Some((conn, asked)) = self.requests.remove(&request) else { return };
        let Some(agent) = self.conns.get(&conn).filter(|conn| conn.open.contains(&Side::Agent)) else {
            return;
        };
        let agent = agent.agent;
        let read = frame.and_then(|frame| wire::read(frame).ok());
        let passing = |reason: u16| Refusal::from_number(reason).is_some_and(Refusal::is_passing);
        match wire::answered(&asked, read) {
            // The shell publishes again by itself, whether put off or not answered.
            Some(ToCore::PublishRefused(reason)) if passing(reason) => self.publish_again(conn, asked),
            None if matches!(asked, Asked::Publish { .. }) => self.publish_again(conn, asked),
            Some(input) => self.give(agent, Job::Input(Box::new(input))),
            None => {}
        }
    }

    fn publish_again(&mut self, conn: u64, asked: Asked) {
        let again = self.fresh();
        let frame = wire::of_agent(&asked).ok().flatten();
        self.requests.insert(again, (conn, asked));
        self.after(1000, Event::ToBroker(conn, Stream::Request(again), frame.unwrap_or_default()));
        self.after(1000 + PATIENCE, Event::Unanswered(again));
    }

    pub(super) const fn request(number: u64) -> RequestId {
        RequestId(number)
    }
}
