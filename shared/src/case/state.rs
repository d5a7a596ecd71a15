//! The fold over a case's chain of decisions.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::decision::{Act, CaseDecision, Verified};
use super::ensure;
use crate::covenant::{Compiled, Role, Step};
use crate::ids::{CaseId, Digest, Oin};
use crate::limits::{CASE_DECISIONS_MAX, CASE_STEPS_KEPT, CLOCK_SKEW};
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Where a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In this step.
    In(Step),
    /// At its end.
    Closed,
}

/// What became of a decision that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is the head of the chain now.
    Now,
    /// These very bytes are in the chain already; nothing changed.
    Before,
}

/// One decision of the chain, as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The broker's log time: it counts from this instant on.
    pub at: Timestamp,
    /// SHA-256 of its signed bytes.
    pub digest: Digest,
    /// Who decided.
    pub party: Oin,
    /// What.
    pub act: Act,
}

/// How a case stands at one instant: where it is, and who states which condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    stage: Stage,
    stated: BTreeMap<String, BTreeSet<Oin>>,
}

impl Standing {
    fn new(step: Step) -> Self {
        Self { stage: Stage::In(step), stated: BTreeMap::new() }
    }

    /// Where the case is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The parties that state the condition `code`, in order.
    pub fn stating(&self, code: &str) -> impl Iterator<Item = Oin> {
        self.stated.get(code).into_iter().flatten().copied()
    }

    /// Every condition that is stated, with the parties that do.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, Vec<Oin>)> {
        self.stated.iter().map(|(code, parties)| (code.as_str(), parties.iter().copied().collect()))
    }

    /// Whether the condition `code` holds under this covenant version: as many different parties as it asks
    /// state it, of roles whose statement counts. Who is no party of the version counts no longer.
    pub fn holds(&self, code: &str, compiled: &Compiled) -> bool {
        compiled.condition(code).is_some_and(|condition| {
            let counts =
                |oin: &Oin| compiled.role_of(*oin).is_some_and(|role| condition.set_by.contains(&role));
            self.stating(code).filter(counts).count() >= usize::from(condition.parties)
        })
    }

    fn states(&self, code: &str, party: &Oin) -> bool {
        self.stated.get(code).is_some_and(|parties| parties.contains(party))
    }

    fn follow(&mut self, party: Oin, act: &Act) {
        match act {
            Act::Step(step) => self.stage = Stage::In(*step),
            Act::Close => self.stage = Stage::Closed,
            Act::Condition { code, holds: true } => {
                self.stated.entry(code.clone()).or_default().insert(party);
            }
            Act::Condition { code, holds: false } => {
                if let Some(parties) = self.stated.get_mut(code) {
                    parties.remove(&party);
                    if parties.is_empty() {
                        self.stated.remove(code);
                    }
                }
            }
        }
    }
}

/// The state of one case: what its chain of decisions, each checked when it was applied, adds up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseState {
    covenant: String,
    case: CaseId,
    begun: Step,
    now: Standing,
    first: Event,
    later: Vec<Event>,
}

impl CaseState {
    /// Begins a case with its first decision, logged at `at`, under the version `compiled` it names.
    ///
    /// # Errors
    /// In this order: [`Refusal::UnknownCovenant`] when `compiled` is another version;
    /// [`Refusal::CovenantNotInForce`]; [`Refusal::NotAParty`]; [`Refusal::Expired`] or
    /// [`Refusal::FromTheFuture`] when signed more than the tolerated skew away from `at`;
    /// [`Refusal::UnknownCase`] when it is not the first of its chain; [`Refusal::BadTransition`] for a step
    /// the covenant does without; [`Refusal::NotTheMover`]; [`Refusal::BadTransition`] when it is no step,
    /// or not the covenant's first.
    pub fn open(first: &Verified, compiled: &Compiled, at: Timestamp) -> Result<Self, Refusal> {
        let decision = first.decision();
        let role = author(decision, compiled, at)?;
        ensure(decision.seq == 0, Refusal::UnknownCase)?;
        authorised(role, &decision.act, compiled)?;
        let begun = match decision.act {
            Act::Step(step) if Some(step) == compiled.first_step() => step,
            Act::Step(_) | Act::Close | Act::Condition { .. } => return Err(Refusal::BadTransition),
        };
        Ok(Self {
            covenant: compiled.covenant().id.clone(),
            case: decision.case,
            begun,
            now: Standing::new(begun),
            first: event(first, at),
            later: Vec::new(),
        })
    }

    /// Applies the next decision, logged at `at`, under the version `compiled` it names. An `at` before that
    /// of the head counts as the head's: a log's time does not go back. On an error nothing changes.
    ///
    /// # Errors
    /// In this order: [`Refusal::UnknownCovenant`], [`Refusal::CovenantNotInForce`], [`Refusal::NotAParty`],
    /// [`Refusal::Expired`] and [`Refusal::FromTheFuture`] as for [`CaseState::open`];
    /// [`Refusal::UnknownCase`] when it is about another case or under another covenant;
    /// [`Refusal::BadTransition`] for a step or condition the covenant does not know;
    /// [`Refusal::NotTheMover`]; [`Refusal::CaseClosed`]; [`Refusal::CaseMoved`] when it does not follow on
    /// the head; [`Refusal::BadTransition`] when it leads nowhere it may lead, changes nothing, or the chain
    /// is full.
    pub fn apply(&mut self, next: &Verified, compiled: &Compiled, at: Timestamp) -> Result<Applied, Refusal> {
        let decision = next.decision();
        if self.events().any(|event| event.digest == next.digest()) {
            return Ok(Applied::Before);
        }
        let role = author(decision, compiled, at)?;
        let same = decision.case == self.case && compiled.covenant().id == self.covenant;
        ensure(same, Refusal::UnknownCase)?;
        authorised(role, &decision.act, compiled)?;
        let Stage::In(current) = self.now.stage else { return Err(Refusal::CaseClosed) };
        let follows =
            decision.previous == Some(self.head()) && Some(decision.seq) == self.seq().checked_add(1);
        ensure(follows, Refusal::CaseMoved)?;
        ensure(
            self.leads(current, decision, compiled) && self.has_room(&decision.act),
            Refusal::BadTransition,
        )?;
        self.now.follow(decision.party, &decision.act);
        self.later.push(event(next, at.max(self.moved())));
        Ok(Applied::Now)
    }

    fn leads(&self, current: Step, decision: &CaseDecision, compiled: &Compiled) -> bool {
        match &decision.act {
            Act::Step(step) => *step < current || compiled.step_after(current) == Some(*step),
            Act::Close => true,
            Act::Condition { code, holds } => self.now.states(code, &decision.party) != *holds,
        }
    }

    /// Whether the chain takes one more act of this kind.
    fn has_room(&self, act: &Act) -> bool {
        let kept = match act {
            Act::Close => 0,
            Act::Step(_) => 1,
            Act::Condition { .. } => CASE_STEPS_KEPT,
        };
        self.events().count() < CASE_DECISIONS_MAX.saturating_sub(kept)
    }

    /// The id of the covenant, the same in all its versions.
    pub fn covenant(&self) -> &str {
        &self.covenant
    }

    /// The case.
    pub fn case(&self) -> CaseId {
        self.case
    }

    /// How it stands after the last decision.
    pub fn now(&self) -> &Standing {
        &self.now
    }

    /// The digest of the last decision: what the next one names as previous.
    pub fn head(&self) -> Digest {
        self.last().digest
    }

    /// The place of the last decision in the chain, from 0.
    pub fn seq(&self) -> u32 {
        // At most CASE_DECISIONS_MAX, so this never falls back.
        u32::try_from(self.later.len()).unwrap_or(u32::MAX)
    }

    /// When the last decision began to count.
    pub fn moved(&self) -> Timestamp {
        self.last().at
    }

    /// Every decision, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        core::iter::once(&self.first).chain(&self.later)
    }

    /// How the case stood at `at`: after every decision that counted by then. `None` before the first.
    pub fn at(&self, at: Timestamp) -> Option<Cow<'_, Standing>> {
        if at >= self.moved() {
            return Some(Cow::Borrowed(&self.now));
        }
        if at < self.first.at {
            return None;
        }
        let mut then = Standing::new(self.begun);
        for event in self.later.iter().take_while(|event| event.at <= at) {
            then.follow(event.party, &event.act);
        }
        Some(Cow::Owned(then))
    }

    fn last(&self) -> &Event {
        self.later.last().unwrap_or(&self.first)
    }
}

fn event(verified: &Verified, at: Timestamp) -> Event {
    let decision = verified.decision();
    Event { at, digest: verified.digest(), party: decision.party, act: decision.act.clone() }
}

/// The role of the party that decides, under the version it names, at the time it says.
fn author(decision: &CaseDecision, compiled: &Compiled, at: Timestamp) -> Result<Role, Refusal> {
    ensure(decision.covenant == compiled.hash(), Refusal::UnknownCovenant)?;
    ensure(compiled.in_force(at), Refusal::CovenantNotInForce)?;
    let role = compiled.role_of(decision.party).ok_or(Refusal::NotAParty)?;
    ensure(at.since(decision.issued) <= CLOCK_SKEW, Refusal::Expired)?;
    ensure(decision.issued.since(at) <= CLOCK_SKEW, Refusal::FromTheFuture)?;
    Ok(role)
}

/// Whether the covenant lets this role take this decision at all.
fn authorised(role: Role, act: &Act, compiled: &Compiled) -> Result<(), Refusal> {
    let movers = |step: Step| compiled.step_rule(step).map(|rule| &rule.movers);
    let roles = match act {
        Act::Step(step) => movers(*step),
        Act::Close => compiled.last_step().and_then(movers),
        Act::Condition { code, .. } => compiled.condition(code).map(|condition| &condition.set_by),
    };
    let roles = roles.ok_or(Refusal::BadTransition)?;
    ensure(roles.contains(&role), Refusal::NotTheMover)
}
