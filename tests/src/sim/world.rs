//! The world: what happens when, to whom.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seinhuis_agent_core::{Input as ToCore, PushRequest, Send as Asked};
use seinhuis_broker_core::Command;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use super::agent::{Agent, Job};
use super::broker::Broker;
use super::cast::{self, Model};
use super::crooked::Crooked;
use super::ends::SETTLED;
use super::faults::{FORGER, RIVAL};
use super::forger::Forger;
use super::life::Process;
use super::net::{Conn, Side, Stream};
use super::oracle::{Oracle, Violation};
use super::people::Wanted;
use super::points::Calls;
use super::scarce;
use super::scenario::{Dice, Fault, Sabotage, Scenario};

/// How long a connection lasts without a sign of life.
pub(super) const IDLE: u64 = 30_000;
/// How long an agent waits for an answer.
pub(super) const PATIENCE: u64 = 15_000;

/// What a history was like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Turns that were flushed.
    pub turns: u64,
    /// Entries in the log at the end.
    pub entries: usize,
    /// Messages of which the sender was told that they are accepted.
    pub accepted: usize,
    /// Packets that ended in the log at a recipient who never had them.
    pub ended: usize,
    /// Messages with another end.
    pub refused: usize,
    /// Faults and other things that happened, by their names.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each process flushed and sent: the broker, then the agents.
    pub calls: Vec<Calls>,
    /// Virtual milliseconds from the last fault until all was settled.
    pub settled: u64,
    /// Virtual milliseconds in all.
    pub virtual_time: u64,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Broker,
    Agent(usize),
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    Start(Node),
    Wake(Node, u64),
    Flushed(Node, u64),
    Tick(Node, u64),
    Dial(usize, u64),
    Patience(u64),
    Unanswered(u64),
    Notice(u64, Side),
    Closed(u64, u16),
    ToBroker(u64, Stream, Vec<u8>),
    ToAgent(u64, Stream, Vec<u8>),
    Passes(usize),
    Push(usize),
    Deed(usize),
    Order(Command),
    OrderAgain,
    Night,
    Fault,
    Calm,
    Look,
}

/// A message that somebody wants to send.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) agent: usize,
    pub(super) request: PushRequest,
    /// Whether it was handed to the agent.
    pub(super) pushed: bool,
    /// Whether the agent said that it has it.
    pub(super) answered: bool,
    /// Why it did not, the last time.
    pub(super) rejected: Option<Refusal>,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) dice: Dice,
    pub(super) now: Timestamp,
    began: Timestamp,
    pub(super) queue: BTreeMap<(Timestamp, u64), Event>,
    scheduled: u64,
    pub(super) broker: Broker,
    pub(super) agents: Vec<Agent>,
    /// The broker's, then the agents'.
    pub(super) processes: Vec<Process>,
    pub(super) conns: BTreeMap<u64, Conn>,
    /// Requests without an answer: on which connection, and what is asked.
    pub(super) requests: BTreeMap<u64, (u64, Asked)>,
    pub(super) next: u64,
    /// Until when nothing passes, by agent.
    pub(super) cut: Vec<Timestamp>,
    /// What came meanwhile, and what came behind that.
    pub(super) held: Vec<VecDeque<Event>>,
    /// Until when all is slow, by agent.
    pub(super) slow: Vec<Timestamp>,
    pub(super) messages: Vec<Message>,
    pub(super) wanted: Vec<Wanted>,
    /// The version that is to take the first one's place.
    pub(super) amended: Option<Arc<Compiled>>,
    /// Commands of the operator that have no answer.
    pub(super) orders: VecDeque<Command>,
    /// The partners that do not keep to the covenant, without knowing of each other.
    pub(super) forgers: [Forger; 2],
    pub(super) crooked: Crooked,
    pub(super) oracle: Oracle,
    pub(super) summary: Summary,
    /// When the last fault was over.
    pub(super) calm: Option<Timestamp>,
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Result<Self, Violation> {
        let sabotage = scenario.sabotage;
        let model = scenario.model();
        let compiled = cast::compiled(model)?;
        let kind = (sabotage == Some(Sabotage::AgentDisk), model.has_witnesses());
        let agents = cast::ROLES.map(|(number, _)| Agent::new(number, kind));
        let agents = agents.into_iter().collect::<Result<Vec<_>, _>>()?;
        let processes = (0..=agents.len()).map(|_| Process::default()).collect();
        let plain = if model == Model::Wide { Model::Plain } else { model };
        let mut oracle = Oracle::new(&*cast::compiled(plain)?);
        oracle.trusts(compiled.hash());
        let now = if scenario.faults.contains(&Fault::Year) {
            cast::NEW_YEAR.minus(Span(u64::from(scenario.minutes) * 30_000))
        } else {
            cast::NOW
        };
        // What was agreed is in force on every clock that is not days off.
        let agreed = now.minus(Span::minutes(10));
        let mut broker = Broker::new(&compiled, agreed, sabotage == Some(Sabotage::BrokerDisk))?;
        broker.disk.unchecked = sabotage == Some(Sabotage::Unchecked);
        if scenario.faults.contains(&Fault::Scarce) {
            broker.config = scarce::limits(broker.config);
        }
        let mut world = Self {
            dice: Dice::new(scenario.seed),
            now,
            began: now,
            queue: BTreeMap::new(),
            scheduled: 0,
            broker,
            cut: vec![Timestamp(0); agents.len()],
            held: agents.iter().map(|_| VecDeque::new()).collect(),
            slow: vec![Timestamp(0); agents.len()],
            agents,
            processes,
            conns: BTreeMap::new(),
            requests: BTreeMap::new(),
            next: 100,
            messages: Vec::new(),
            wanted: Vec::new(),
            amended: None,
            orders: VecDeque::new(),
            forgers: [FORGER, RIVAL].map(|agent| Forger::new(Arc::clone(&compiled), agent)),
            crooked: Crooked::default(),
            oracle,
            summary: Summary::default(),
            calm: None,
            scenario,
        };
        world.plan()?;
        Ok(world)
    }

    /// Whether this goes wrong, or is done, in this history.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.scenario.faults.contains(&fault)
    }

    pub(super) fn model(&self) -> Model {
        self.scenario.model()
    }

    /// How many times slower than in a history of three minutes everything but the work itself goes.
    pub(super) fn pace(&self) -> u64 {
        u64::from(self.scenario.minutes / 3).max(1)
    }

    /// How often time is told to a core: once a second, and less often where days pass.
    pub(super) fn tick_length(&self) -> u64 {
        if self.is_patient() { 60_000 } else { (1000 * self.pace()).min(60_000) }
    }

    /// Whether what is still open after the last fault takes its hours.
    fn is_patient(&self) -> bool {
        self.calm.is_some_and(|calm| self.now.since(calm) > SETTLED)
    }

    pub(super) fn run(mut self) -> Result<Summary, Violation> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if matches!(event, Event::Look) && self.look()? {
                self.summary.virtual_time = self.now.since(self.began).0;
                self.judge()?;
                self.summary.calls = self.processes.iter().map(|process| process.calls).collect();
                return Ok(self.summary);
            }
            self.happens(event)?;
        }
        Err(cast::setup("time ran out"))
    }

    pub(super) fn after(&mut self, milliseconds: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((self.now.plus(Span(milliseconds)), self.scheduled), event);
    }

    /// Where a process stands among all: the broker first.
    pub(super) const fn place(node: Node) -> usize {
        match node {
            Node::Broker => 0,
            Node::Agent(agent) => agent + 1,
        }
    }

    pub(super) fn process(&mut self, node: Node) -> &mut Process {
        &mut self.processes[Self::place(node)]
    }

    pub(super) fn runs(&self, node: Node) -> bool {
        match node {
            Node::Broker => self.broker.core.is_some(),
            Node::Agent(agent) => self.agents[agent].core.is_some(),
        }
    }

    /// The time on a process's own clock.
    pub(super) fn clock(&mut self, node: Node) -> Timestamp {
        let skew = self.process(node).skew;
        Timestamp(self.now.0.saturating_add_signed(skew))
    }

    pub(super) fn happens(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Start(node) => self.start(node)?,
            Event::Wake(node, life) if self.process(node).life == life => self.turn(node)?,
            Event::Flushed(node, life) if self.process(node).life == life => self.flushed(node)?,
            Event::Tick(node, life) if self.process(node).life == life => self.tick(node),
            Event::Wake(..) | Event::Flushed(..) | Event::Tick(..) => {}
            Event::Dial(agent, life) => {
                if self.process(Node::Agent(agent)).life == life {
                    self.dial(agent);
                }
            }
            Event::Patience(conn) => {
                let waits = |conn: &Conn| conn.open.contains(&Side::Agent) && !conn.welcomed;
                if self.conns.get(&conn).is_some_and(waits) {
                    self.hang_up(conn, None);
                }
            }
            Event::Unanswered(request) => self.answered(request, None),
            Event::Notice(conn, Side::Agent) => self.hang_up(conn, None),
            Event::Notice(conn, Side::Broker) => self.left(conn),
            Event::Closed(conn, reason) => self.hang_up(conn, Refusal::from_number(reason)),
            Event::ToBroker(conn, stream, frame) => self.at_broker(conn, stream, frame)?,
            Event::ToAgent(conn, stream, frame) => self.at_agent(conn, stream, frame)?,
            Event::Passes(agent) => self.passes(agent)?,
            Event::Push(message) => self.push(message),
            Event::Deed(deed) => self.deed(deed)?,
            Event::Order(command) => self.order(command),
            Event::OrderAgain => self.give_order(),
            Event::Night => self.night(),
            Event::Fault => self.fault()?,
            Event::Calm => self.calm_down(),
            Event::Look => {
                let wait = if self.is_patient() { 60_000 } else { 5000 };
                self.after(wait, Event::Look);
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more.
    fn calm_down(&mut self) {
        self.calm = Some(self.now);
        self.cut.fill(self.now);
        self.slow.fill(self.now);
        self.cuts_changed();
        let far = self.has(Fault::FarClock);
        for node in self.nodes() {
            let now = self.now;
            let process = self.process(node);
            (process.fails, process.full) = (false, now);
            // Somebody looks at a clock that is days off.
            process.skew = if far { 0 } else { process.skew };
            // What a damaged disk held back is offered again when the sessions begin anew.
            if self.mend(node) && self.runs(node) {
                self.crash(node);
            }
            // Who is away for hours is started by hand.
            self.after(1000, Event::Start(node));
        }
        // What is still wanted is asked for once more, and not in hours.
        (0..self.wanted.len()).for_each(|deed| self.after(1000, Event::Deed(deed)));
        self.after(0, Event::Look);
    }

    pub(super) fn nodes(&self) -> Vec<Node> {
        std::iter::once(Node::Broker).chain((0..self.agents.len()).map(Node::Agent)).collect()
    }

    /// Puts good bytes in the place of damaged ones. Tells whether there were any.
    pub(super) fn mend(&mut self, node: Node) -> bool {
        let disk = match node {
            Node::Broker => &mut self.broker.disk,
            Node::Agent(agent) => &mut self.agents[agent].disk,
        };
        let flipped = disk.is_flipped();
        disk.mend();
        flipped
    }

    pub(super) const fn is_calm(&self) -> bool {
        self.calm.is_some()
    }

    pub(super) fn push(&mut self, at: usize) {
        let message = &mut self.messages[at];
        let agent = message.agent;
        if message.answered {
            return;
        }
        if self.agents[agent].core.is_none() {
            let wait = self.tick_length();
            self.after(wait, Event::Push(at));
            return;
        }
        message.pushed = true;
        let token = u64::try_from(at).unwrap_or(u64::MAX);
        let push = ToCore::Push { token, request: Box::new(message.request.clone()) };
        self.give(agent, Job::Input(Box::new(push)));
    }

    pub(super) fn forbid(&mut self, packet: &Arc<[u8]>) {
        self.oracle.forbid(seinhuis_shared::signing::sha256(packet));
    }
}
