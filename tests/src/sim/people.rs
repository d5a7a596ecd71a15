//! What people at the partners and the operator want, besides sending messages.

use std::sync::Arc;

use seinhuis_agent_core::{Core, CorrectRequest, CorrectionKind, Ground, Input, Rejection, Release};
use seinhuis_broker_core::{Command, CommandId, Input as ToBroker};
use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::agreement::{Standing, Word};
use seinhuis_shared::covenant::{Compiled, Step};
use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Span;

use super::agent::{self, Job};
use super::cast;
use super::disk::State;
use super::oracle::Violation;
use super::scenario::Fault;
use super::world::{Event, Message, Node, World};

/// Tokens from here on are of deeds, below of pushes.
const DEEDS: u64 = 1 << 32;
/// What decisions about a case are counted as.
const DECISIONS: &str = "decisions about a case";
/// What words about a covenant are counted as.
const WORDS: &str = "words about a covenant";
/// Names the operator's commands.
pub(super) const ORDER: CommandId = CommandId(2);
/// How often somebody tries again what was refused.
const TRIES: u32 = 20;

/// Something that a person at a partner wants done.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Takes an own message back.
    TakeBack(MsgId),
    /// Says that an own message is wrong, or withdraws it.
    Correct(MsgId, CorrectionKind),
    /// Decides about an own message that waits for release.
    Release(MsgId, bool),
    /// Has taken over what stands at this position of the inbox.
    Consume(u64),
    /// Has the body at this position of the inbox erased.
    Erase(u64),
    /// Gives up the signing key for another.
    Rotate,
    /// Begins the case, or moves it on.
    Move(Option<Step>),
    /// Proposes a version of the covenant, which is drawn up when it comes to that.
    Propose(Option<Arc<Compiled>>),
    /// Accepts it.
    Accept(Option<Arc<Compiled>>),
    /// Says again the corrections that were refused.
    Repeat,
}

impl Deed {
    /// As the core is told, with what it needs of the store; none for a message that is not there.
    pub(super) fn input(self, token: u64, core: &Core, store: &State) -> Option<Input> {
        let sent = |about: &MsgId| {
            let (position, _) = core.find(about)?;
            agent::outbox_row(store, position).map(Box::new)
        };
        Some(match self {
            Self::TakeBack(about) => {
                Input::TakeBack { token, about, reason: "vergissing".into(), sent: sent(&about) }
            }
            Self::Correct(about, kind) => {
                let body = correction(about, kind);
                let request = CorrectRequest { about, kind, body, sent: sent(&about) };
                Input::Correct { token, request: Box::new(request) }
            }
            Self::Release(msg_id, approved) => {
                let (role, reason) = ("wijkagent".into(), "gezien".into());
                Input::Release { token, release: Release { msg_id, approved, role, reason } }
            }
            Self::Consume(position) => {
                let row = Box::new(agent::inbox_row(store, position)?);
                Input::Consume { token, position, row }
            }
            Self::Erase(position) => Input::Erase { token, position, ground: Ground::Subject },
            Self::Rotate => Input::Rotate { token, urgent: false },
            Self::Move(step) => {
                Input::Decide { token, case: cast::CASE, act: step.map(Act::Step), covenant: None }
            }
            Self::Propose(compiled) => Input::Propose { token, compiled: compiled? },
            Self::Accept(compiled) => {
                Input::Speak { token, hash: compiled?.hash(), word: Word::Accept, reason: String::new() }
            }
            Self::Repeat => Input::RetryCorrections { token, about: None },
        })
    }

    /// Whether it is tried until it is done, because others wait for it.
    const fn insists(&self) -> bool {
        matches!(self, Self::Rotate | Self::Move(_) | Self::Propose(_) | Self::Accept(_))
    }
}

/// The body of a correction or withdrawal.
fn correction(about: MsgId, kind: CorrectionKind) -> Vec<u8> {
    let body = match kind {
        CorrectionKind::Correction => serde_json::json!({
            "bericht": about.to_string(),
            "velden": ["/toelichting"],
            "reden": "onjuist",
            "bevestigen_voor": "2028-01-01",
            "toelichting": "Verkeerd opgeschreven.",
        }),
        CorrectionKind::Withdrawal => serde_json::json!({
            "bericht": about.to_string(),
            "reden": "niet_meer_nodig",
            "bevestigen_voor": "2028-01-01",
            "toelichting": "Had niet verstuurd mogen worden.",
        }),
    };
    body.to_string().into_bytes()
}

/// Whether the case is where this decision moves it; none when it is to be decided, or was and the broker refused it.
fn moved(core: &Core, step: Option<Step>) -> Option<bool> {
    let place = match step {
        None => 0,
        Some(Step::S2A) => 1,
        Some(_) => 2,
    };
    if core.agreed().cases().state(&cast::CASE).is_some_and(|state| state.seq() >= place) {
        return Some(true);
    }
    let act = core.agreed().cases().act(&cast::CASE).filter(|act| act.seq >= place && act.refused == 0);
    act.map(|_| false)
}

/// Whether a version that was proposed counts as such; none when it is to be proposed, or drawn up anew because the broker
/// refused it.
fn proposed(core: &Core, version: Option<&Arc<Compiled>>) -> Option<bool> {
    let hash = version?.hash();
    match core.agreed().proposal(&hash) {
        Some(row) => (row.refused == 0).then_some(false),
        None => core.agreed().find(&hash).is_ok().then_some(true),
    }
}

/// Whether an agent's organisation has accepted the version: who was not told that it did asks for it once more. No when
/// nobody has drawn it up yet.
fn accepted(core: &Core, own: Oin, version: Option<&Arc<Compiled>>) -> Option<bool> {
    let Some(version) = version else { return Some(false) };
    let standing = core.agreed().find(&version.hash()).ok().and_then(|one| one.standing(own));
    matches!(standing, Some(Standing::Accepted(_))).then_some(true)
}

/// A deed and how far it is.
#[derive(Debug)]
pub(super) struct Wanted {
    agent: usize,
    deed: Deed,
    /// Whether the agent has it and has not said what became of it.
    asked: bool,
    done: bool,
    tries: u32,
    /// Why it was refused last.
    refused: Option<Rejection>,
}

impl World {
    /// Plans all that does not follow from something else.
    pub(super) fn plan(&mut self) -> Result<(), Violation> {
        let length = u64::from(self.scenario.minutes) * 60_000;
        self.after(0, Event::Start(Node::Broker));
        for agent in 0..self.agents.len() {
            let wait = self.dice.between(0, 2000);
            self.after(wait, Event::Start(Node::Agent(agent)));
        }
        for at in 0..self.scenario.messages {
            let about_case = self.has(Fault::Case) && self.dice.percent(40);
            let flows = if about_case { cast::CASE_FLOWS } else { cast::FLOWS };
            let flow = self.dice.pick(&flows).ok_or_else(|| cast::setup("no flow"))?;
            let mut id = self.dice.bytes();
            id[0] = u8::try_from(at % 256).unwrap_or_default();
            let id = MsgId(id.first_chunk().copied().unwrap_or_default());
            let short = self.dice.percent(20).then(|| self.dice.between(30_000, 120_000));
            let request = cast::request(id, &flow, short.map(|ttl| Span(ttl * self.pace())))?;
            let agent = usize::from(flow.from) - 1;
            let message = self.messages.len();
            self.messages.push(Message { agent, request, pushed: false, answered: false, rejected: None });
            let wait = self.moment(length);
            self.after(wait, Event::Push(message));
            self.plan_message(agent, id, wait, flow.names_persons());
        }
        self.plan_deeds(length)?;
        self.plan_nights(length);
        let wait = self.dice.between(0, 10_000 * self.pace());
        self.after(wait, Event::Fault);
        self.after(length, Event::Calm);
        Ok(())
    }

    /// Somebody will want this, so many milliseconds from now.
    pub(super) fn want(&mut self, wait: u64, agent: usize, deed: Deed) {
        self.wanted.push(Wanted { agent, deed, asked: false, done: false, tries: 0, refused: None });
        self.after(wait, Event::Deed(self.wanted.len() - 1));
    }

    pub(super) fn deed(&mut self, at: usize) -> Result<(), Violation> {
        let wanted = &mut self.wanted[at];
        if wanted.done || wanted.asked {
            return Ok(());
        }
        let (agent, deed) = (wanted.agent, wanted.deed.clone());
        let Some(core) = self.agents[agent].core.as_ref() else {
            let wait = self.tick_length();
            self.after(wait, Event::Deed(at));
            return Ok(());
        };
        let version = self.amended.as_ref();
        let so_far = if let Deed::Move(step) = &deed {
            moved(core, *step)
        } else if matches!(deed, Deed::Propose(_)) {
            proposed(core, version)
        } else if matches!(deed, Deed::Accept(_)) {
            accepted(core, self.agents[agent].oin, version)
        } else {
            None
        };
        match so_far {
            Some(true) => {
                self.did(at, if matches!(deed, Deed::Move(_)) { DECISIONS } else { WORDS });
                return Ok(());
            }
            Some(false) => {
                let wait = self.tick_length();
                self.after(wait, Event::Deed(at));
                return Ok(());
            }
            None => {}
        }
        let deed = if matches!(deed, Deed::Propose(_)) {
            Deed::Propose(Some(self.draw_up()?))
        } else if matches!(deed, Deed::Accept(_)) {
            Deed::Accept(self.amended.clone())
        } else {
            deed
        };
        self.wanted[at].asked = true;
        if matches!(deed, Deed::Rotate) && self.agents[agent].next.is_none() {
            let seed = self.dice.bytes();
            self.agents[agent].next = Some(SigningKey::from_seed(&seed));
        }
        let token = DEEDS + u64::try_from(at).unwrap_or_default();
        self.give(agent, Job::Deed(token, deed));
        Ok(())
    }

    /// Draws up the version that is to take the first one's place, with the keys that are in use now: the broker takes
    /// none that was given up. Who accepted one that it refused does so again.
    fn draw_up(&mut self) -> Result<Arc<Compiled>, Violation> {
        let keys: Vec<_> = self.agents.iter().map(|agent| agent.signer.public()).collect();
        let next = cast::next(self.model(), &keys)?;
        self.oracle.trusts(next.hash());
        if self.amended.replace(Arc::clone(&next)).is_some() {
            *self.summary.faults.entry("versions drawn up anew").or_default() += 1;
        }
        for at in 0..self.wanted.len() {
            if matches!(self.wanted[at].deed, Deed::Accept(_)) && std::mem::take(&mut self.wanted[at].done) {
                self.after(1000, Event::Deed(at));
            }
        }
        Ok(next)
    }

    /// What an agent answers to who wanted something.
    pub(super) fn heed(&mut self, agent: usize, answers: Vec<(u64, Result<(), Rejection>)>) {
        for (token, answer) in answers {
            let at = token.checked_sub(DEEDS).and_then(|at| usize::try_from(at).ok());
            let Some((at, wanted)) = at.and_then(|at| Some((at, self.wanted.get_mut(at)?))) else { continue };
            debug_assert_eq!(wanted.agent, agent);
            wanted.asked = false;
            wanted.tries += 1;
            wanted.refused = answer.as_ref().err().cloned();
            let counts = match (&answer, &wanted.deed) {
                (Err(_), deed) => {
                    // A message waits for release when its case is so far.
                    let patient = deed.insists() || matches!(deed, Deed::Release(..));
                    wanted.done = wanted.tries >= TRIES && !patient;
                    let pace = if self.is_calm() { 1 } else { self.pace() };
                    let wait = self.dice.between(2000, 10_000) * pace;
                    self.after(wait, Event::Deed(at));
                    continue;
                }
                // Taken in; whether it counts is seen later.
                (Ok(()), Deed::Move(_) | Deed::Propose(_)) => {
                    let wait = self.tick_length();
                    self.after(wait, Event::Deed(at));
                    continue;
                }
                (Ok(()), Deed::Accept(_)) => WORDS,
                (Ok(()), Deed::Repeat) => "corrections said again",
                (Ok(()), Deed::Rotate) => "rotations of a key",
                (Ok(()), Deed::Correct(..)) => "corrections",
                (Ok(()), Deed::Consume(_)) => "messages consumed",
                (Ok(()), Deed::Erase(_)) => "bodies erased",
                (Ok(()), Deed::Release(..)) => "releases decided",
                (Ok(()), Deed::TakeBack(_)) => "messages taken back",
            };
            self.did(at, counts);
        }
    }

    /// Something wanted is done.
    fn did(&mut self, at: usize, counts: &'static str) {
        self.wanted[at].done = true;
        *self.summary.faults.entry(counts).or_default() += 1;
    }

    /// Who wanted something of an agent that died says it again.
    pub(super) fn want_again(&mut self, agent: usize, wait: u64) {
        for at in 0..self.wanted.len() {
            let wanted = &mut self.wanted[at];
            if wanted.agent == agent && wanted.asked {
                wanted.asked = false;
                self.after(wait, Event::Deed(at));
            }
        }
    }

    /// Something good came in at a recipient.
    pub(super) fn received(&mut self, agent: usize, position: u64) {
        let wait = self.dice.between(100, 30_000) * self.pace();
        if self.has(Fault::Consume) && self.dice.percent(50) {
            self.want(wait, agent, Deed::Consume(position));
        } else if self.has(Fault::Erase) && self.dice.percent(20) {
            self.want(wait, agent, Deed::Erase(position));
        }
    }

    /// What is wanted of a message of an agent, that is pushed after so many milliseconds.
    pub(super) fn plan_message(&mut self, agent: usize, id: MsgId, pushed: u64, named: bool) {
        if self.has(Fault::TakeBack) && self.dice.percent(20) {
            let later = pushed + self.dice.between(10, 20_000) * self.pace();
            self.want(later, agent, Deed::TakeBack(id));
        }
        if self.has(Fault::Correct) && self.dice.percent(20) {
            let withdrawal = self.dice.percent(50);
            let kind = if withdrawal { CorrectionKind::Withdrawal } else { CorrectionKind::Correction };
            let later = pushed + self.dice.between(1000, 60_000) * self.pace();
            self.want(later, agent, Deed::Correct(id, kind));
        }
        if named {
            let approved = self.dice.percent(80);
            let later = pushed + self.dice.between(1000, 60_000) * self.pace();
            self.want(later, agent, Deed::Release(id, approved));
        }
    }

    /// What is wanted once in a history, of so many milliseconds.
    pub(super) fn plan_deeds(&mut self, length: u64) -> Result<(), Violation> {
        if self.has(Fault::Case) {
            for (part, step) in [None, Some(Step::S2A), Some(Step::S2B)].into_iter().enumerate() {
                let part = u64::try_from(part).unwrap_or_default();
                let wait = self.dice.between(length * part / 3, length * (part + 1) / 3);
                self.want(wait, 0, Deed::Move(step));
            }
        }
        if self.has(Fault::Rotate) {
            for _ in 0..2 {
                let (agent, wait) = (self.dice.between(0, 4), self.dice.between(0, length));
                self.want(wait, usize::try_from(agent).unwrap_or_default(), Deed::Rotate);
            }
        }
        if self.has(Fault::Amend) {
            let proposed = self.dice.between(0, length);
            self.want(proposed, 0, Deed::Propose(None));
            for agent in 0..self.agents.len() {
                let wait = proposed + self.dice.between(0, length);
                self.want(wait.min(length), agent, Deed::Accept(None));
            }
        }
        if self.has(Fault::Revoke) {
            // The municipality is party to everything: without it nothing is left to look at.
            let number = u8::try_from(self.dice.between(2, 5)).unwrap_or(2);
            let gone = self.dice.between(0, length);
            let back = gone + self.dice.between(1000, length);
            let (_, role) = cast::ROLES[usize::from(number) - 1];
            self.after(gone, Event::Order(Command::RevokePartner { oin: cast::oin(number)?, reason: None }));
            self.after(back.min(length), Event::Order(cast::partner(number, role)?));
        }
        Ok(())
    }

    /// The operator wants a command given: when the one before is answered, and the broker runs.
    pub(super) fn order(&mut self, command: Command) {
        self.orders.push_back(command);
        if self.orders.len() == 1 {
            self.give_order();
        }
    }

    /// The operator gives the first command that has no answer.
    pub(super) fn give_order(&mut self) {
        if let Some(command) = self.orders.front().cloned() {
            self.bring(ToBroker::Operator { id: ORDER, command });
        }
    }

    /// The broker answers a command of the operator; what it refuses, because it waits for its witnesses, is given
    /// again.
    pub(super) fn ordered(&mut self, done: bool) {
        if !done {
            let wait = self.tick_length();
            self.after(wait, Event::OrderAgain);
            return;
        }
        if let Some(Command::RevokePartner { .. }) = self.orders.pop_front() {
            *self.summary.faults.entry("partners revoked and let in again").or_default() += 1;
        }
        self.give_order();
    }

    /// Who is told that a correction was refused because its recipient had no access says it again when that is over.
    pub(super) fn repeat_corrections(&mut self) {
        for agent in 0..self.agents.len() {
            let open = |one: &Wanted| one.agent == agent && matches!(one.deed, Deed::Repeat) && !one.done;
            if self.agents[agent].shut_out() > 0 && !self.wanted.iter().any(open) {
                self.want(1000, agent, Deed::Repeat);
            }
        }
    }

    /// Whether the case is where it is to end.
    pub(super) fn has_moved(&self) -> bool {
        self.wanted.iter().all(|wanted| wanted.done || !matches!(wanted.deed, Deed::Move(_)))
    }

    /// What is still wanted and has to be done for others to go on.
    pub(super) fn insisted(&self) -> impl Iterator<Item = String> {
        let open = self.wanted.iter().filter(|wanted| wanted.deed.insists() && !wanted.done);
        let open = open.map(|wanted| {
            let Wanted { agent, deed, refused, .. } = wanted;
            format!("agent {} does not get done: {deed:?}: {refused:?}", agent + 1)
        });
        open.chain(self.orders.iter().map(|order| format!("the operator does not get done: {order:?}")))
    }
}
