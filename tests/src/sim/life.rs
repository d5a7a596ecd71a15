//! Processes: how they start, take turns and die.

use seinhuis_agent_core::Input as ToCore;
use seinhuis_broker_core::Input;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use super::agent::Job;
use super::disk::Unflushed;
use super::net::{Conn, Side};
use super::oracle::{Broken, Oracle, Violation};
use super::points::Calls;
use super::scenario::Sabotage;
use super::world::{Event, IDLE, Node, World};

/// How a process is doing.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// How often it died.
    pub(super) life: u64,
    /// Whether it waits for a flush.
    busy: bool,
    /// Whether it is about to look at what came in.
    woken: bool,
    /// Whether the next flush fails.
    pub(super) fails: bool,
    /// Until when its disk has no room.
    pub(super) full: Timestamp,
    /// How far its clock is ahead, or behind.
    pub(super) skew: i64,
    /// What it flushed and sent.
    pub(super) calls: Calls,
}

impl World {
    /// What a process finds when it starts. A disk that is not what was written keeps it from that, until somebody
    /// puts a good one in its place.
    fn opens(&mut self, node: Node) -> Result<bool, Violation> {
        let (found, flipped) = match node {
            Node::Broker => (self.broker.open(), self.broker.disk.is_flipped()),
            Node::Agent(agent) => {
                let agent = &mut self.agents[agent];
                (agent.open(), agent.disk.is_flipped())
            }
        };
        match found {
            Ok(()) if flipped && self.scenario.sabotage != Some(Sabotage::Unchecked) => {
                let what = format!("{node:?} starts from a disk with a bit turned over");
                Err(Violation::new(Broken::Start, what))
            }
            Ok(()) => Ok(true),
            Err(_) if flipped => {
                self.mend(node);
                *self.summary.faults.entry("damaged disks refused at the start").or_default() += 1;
                let wait = self.dice.between(1000, 30_000) * self.pace();
                self.after(wait, Event::Start(node));
                Ok(false)
            }
            Err(fault) => Err(Violation::new(Broken::Start, format!("{node:?}: {fault}"))),
        }
    }

    pub(super) fn start(&mut self, node: Node) -> Result<(), Violation> {
        if self.runs(node) || !self.opens(node)? {
            return Ok(());
        }
        match node {
            Node::Broker => {
                let now = self.clock(node);
                self.broker.start(now, self.is_crooked())?;
                self.see_log()?;
                self.give_order();
            }
            Node::Agent(agent) => {
                self.agents[agent].start(self.scenario.sabotage == Some(Sabotage::Forgetful))?;
                Oracle::inbox(&self.agents[agent].disk.live)?;
                let life = self.process(node).life;
                let wait = self.dice.between(0, 500);
                self.after(wait, Event::Dial(agent, life));
                for message in 0..self.messages.len() {
                    let own = self.messages[message].agent == agent;
                    // Who pushed before and has no answer does it again.
                    if own && self.messages[message].rejected.take().is_some() {
                        self.after(wait, Event::Push(message));
                    }
                }
                self.want_again(agent, wait);
            }
        }
        self.tick(node);
        Ok(())
    }

    pub(super) fn crash(&mut self, node: Node) {
        if !self.runs(node) {
            return;
        }
        let now = self.now;
        let room = self.process(node).full <= now;
        let unflushed = match self.dice.between(0, 4) {
            // Where there is no room nothing was written whole.
            0 | 1 if room => Unflushed::Whole,
            2 => Unflushed::Torn,
            _ => Unflushed::Lost,
        };
        self.die(node, unflushed);
    }

    /// A process dies; of a turn that waited for its flush so much is there.
    pub(super) fn die(&mut self, node: Node, unflushed: Unflushed) {
        let process = self.process(node);
        process.life += 1;
        (process.busy, process.woken, process.fails) = (false, false, false);
        let (side, other) = match node {
            Node::Broker => (Side::Broker, Side::Agent),
            Node::Agent(_) => (Side::Agent, Side::Broker),
        };
        let hit = |conn: &Conn| node == Node::Broker || node == Node::Agent(conn.agent);
        let mut gone = Vec::new();
        for (id, conn) in self.conns.iter_mut().filter(|(_, conn)| hit(conn)) {
            conn.dead = true;
            conn.open.remove(&side);
            gone.push(*id);
        }
        for id in gone {
            let wait = if self.dice.percent(50) { self.dice.between(50, 2000) } else { IDLE };
            self.after(wait, Event::Notice(id, other));
        }
        match node {
            Node::Broker => {
                self.broker.crash(unflushed, &mut self.dice);
            }
            Node::Agent(agent) => {
                self.agents[agent].crash(unflushed, &mut self.dice);
                let gone = |conn: &u64| self.conns.get(conn).is_none_or(|conn| conn.agent == agent);
                self.requests.retain(|_, (conn, _)| !gone(conn));
                // Who pushed and has no answer learns nothing, and does it again later.
                for message in self.messages.iter_mut().filter(|message| message.agent == agent) {
                    if !message.answered && message.pushed {
                        message.rejected = Some(Refusal::Stopping);
                    }
                }
            }
        }
        let wait = self.dice.between(50, 20_000);
        self.after(wait, Event::Start(node));
    }

    pub(super) fn tick(&mut self, node: Node) {
        match node {
            Node::Broker => self.bring(Input::Tick),
            Node::Agent(agent) => self.give(agent, Job::Input(Box::new(ToCore::Tick))),
        }
        let life = self.process(node).life;
        let wait = self.tick_length();
        self.after(wait, Event::Tick(node, life));
    }

    pub(super) fn bring(&mut self, input: Input) {
        if self.runs(Node::Broker) {
            self.broker.inbox.push(input);
            self.wake(Node::Broker);
        }
    }

    pub(super) fn give(&mut self, agent: usize, job: Job) {
        if self.runs(Node::Agent(agent)) {
            self.agents[agent].inbox.push(job);
            self.wake(Node::Agent(agent));
        }
    }

    pub(super) fn wake(&mut self, node: Node) {
        let process = self.process(node);
        if process.busy || process.woken {
            return;
        }
        process.woken = true;
        let life = process.life;
        let wait = self.dice.between(0, 8);
        self.after(wait, Event::Wake(node, life));
    }

    /// All that came in becomes one turn.
    pub(super) fn turn(&mut self, node: Node) -> Result<(), Violation> {
        self.process(node).woken = false;
        let now = self.clock(node);
        let durable = match node {
            Node::Broker => {
                let entropy = self.dice.bytes();
                let durable = self.broker.begin(now, entropy)?;
                self.contradicted()?;
                durable
            }
            Node::Agent(agent) => self.agents[agent].begin(now)?,
        };
        self.process(node).busy = true;
        if !durable {
            return self.finish(node);
        }
        self.summary.turns += 1;
        let life = self.process(node).life;
        let wait = if self.dice.percent(5) { self.dice.between(20, 500) } else { self.dice.between(1, 20) };
        self.after(wait, Event::Flushed(node, life));
        Ok(())
    }

    pub(super) fn flushed(&mut self, node: Node) -> Result<(), Violation> {
        let now = self.now;
        let process = self.process(node);
        if process.fails || process.full > now {
            self.crash(node);
            return Ok(());
        }
        let damaged = match node {
            Node::Broker => self.broker.copies_damage(),
            Node::Agent(agent) => self.agents[agent].copies_damage(),
        };
        if damaged {
            *self.summary.faults.entry("stopped by damage when making room").or_default() += 1;
            self.crash(node);
            return Ok(());
        }
        if self.dies_flushing(node) {
            return Ok(());
        }
        self.finish(node)
    }

    /// What a turn says is let out.
    pub(super) fn finish(&mut self, node: Node) -> Result<(), Violation> {
        self.process(node).busy = false;
        let waits = match node {
            Node::Broker => {
                let sends = self.broker.finish()?;
                self.see_log()?;
                for send in sends {
                    if self.dies_sending(node) {
                        return Ok(());
                    }
                    self.broker_sends(send)?;
                }
                self.broker.waits()
            }
            Node::Agent(agent) => {
                let twice = self.scenario.sabotage == Some(Sabotage::Twice);
                let (turn, damaged) = self.agents[agent].finish(twice);
                self.agent_says(agent, turn)?;
                if !self.runs(node) {
                    return Ok(());
                }
                // Its next start finds the same.
                if damaged {
                    *self.summary.faults.entry("agents stopped by a damaged packet").or_default() += 1;
                    self.crash(node);
                }
                !self.agents[agent].inbox.is_empty()
            }
        };
        if waits {
            self.wake(node);
        }
        Ok(())
    }

    pub(super) fn see_log(&mut self) -> Result<(), Violation> {
        if self.is_crooked() {
            return Ok(());
        }
        match self.broker.root() {
            Some(root) if self.broker.logs.count() != self.oracle.log_size() => {
                self.oracle.logs_are(&self.broker.logs.seen(), root)
            }
            Some(_) => Ok(()),
            None => Err(Violation::new(Broken::Log, "there is no head")),
        }
    }

    /// No witness among honest parties saw anything else than this log.
    fn contradicted(&self) -> Result<(), Violation> {
        let found = self.broker.core.as_ref().and_then(seinhuis_broker_core::Core::contradiction);
        found.map_or(Ok(()), |found| Err(Violation::new(Broken::Log, format!("the broker stops: {found:?}"))))
    }
}
