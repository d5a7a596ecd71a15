//! Cases as this agent knows them: the signed decisions, each checked here, and what its own organisation
//! decides.
//!
//! The broker is asked for a case when something names it, and tells of more for the rest of the session, before
//! the packets that rest on it. So what was answered in this session, and is no shorter than what was told since,
//! is how the case stands. Anything else waits: a packet that came in, and a draft.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::case::{self, Act, Applied, CaseDecision, CaseState, FORMAT};
use seinhuis_shared::covenant::{Agreement, Compiled, Question};
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::limits::CASES_WATCHED_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{CaseHead, Decided};

use crate::agreed::{Agreed, just_now, passing};
use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{ActRow, AlarmKind, Write};
use crate::turn::{Send, Turn};

/// One case: the decisions as signed, and what they add up to.
#[derive(Debug, Clone)]
struct Chain {
    state: CaseState,
    decisions: Vec<Decided>,
}

/// Every case this agent ever asked for and was given.
#[derive(Debug, Default)]
pub struct Cases {
    all: BTreeMap<CaseId, Chain>,
    acts: BTreeMap<CaseId, ActRow>,
    online: bool,
    /// What the broker was asked for in this session, and when it was last.
    asked: BTreeMap<CaseId, Timestamp>,
    /// Of those, what it answered.
    answered: BTreeSet<CaseId>,
    /// Of those, what it answered with all that is known here.
    whole: BTreeSet<CaseId>,
    /// How many decisions it has since told of.
    told: BTreeMap<CaseId, u32>,
    /// What a person wants to see.
    looked: BTreeSet<CaseId>,
    /// When each own decision was last said; none when the broker has answered it.
    said: BTreeMap<CaseId, Option<Timestamp>>,
}

impl Cases {
    /// Where a case is, as far as it is known here.
    pub fn state(&self, case: &CaseId) -> Option<&CaseState> {
        self.all.get(case).map(|chain| &chain.state)
    }

    /// Every case that is known.
    pub fn all(&self) -> impl Iterator<Item = &CaseState> {
        self.all.values().map(|chain| &chain.state)
    }

    /// What this organisation decided and the broker has not logged yet; with its refusal.
    pub fn act(&self, case: &CaseId) -> Option<&ActRow> {
        self.acts.get(case)
    }

    /// Every such decision.
    pub fn acts(&self) -> impl Iterator<Item = (&CaseId, &ActRow)> {
        self.acts.iter()
    }

    /// Whether what is known of a case is all there is, or that there is none: the broker said so in this session.
    pub fn is_settled(&self, case: &CaseId) -> bool {
        self.answered.contains(case) && !self.is_behind(case)
    }

    /// Whether a packet about this case has to wait.
    pub(crate) fn waits(&self, case: Option<CaseId>) -> bool {
        case.is_some_and(|case| !self.is_settled(&case))
    }

    fn is_behind(&self, case: &CaseId) -> bool {
        let here = self.all.get(case).map_or(0, |chain| chain.decisions.len());
        self.told.get(case).is_some_and(|told| usize::try_from(*told).is_ok_and(|told| here < told))
    }

    /// Whether a packet may be sealed as far as its case goes; `None` when that cannot be told yet. Without a
    /// session what is known has to do, as long as it lets the packet pass: everybody else checks again.
    pub(crate) fn outgoing(
        &self,
        compiled: &Compiled,
        question: &Question<'_>,
    ) -> Option<Result<(), Refusal>> {
        let Some(case) = question.case else { return Some(case::admits(None, compiled, question)) };
        let state = self.state(&case);
        // The broker's clock may be ahead of this one, and what it logged counts already.
        let now = state.map_or(question.now, |state| question.now.max(state.moved()));
        let verdict = case::admits(state, compiled, &Question { now, ..*question });
        let tells = self.is_settled(&case) || (!self.online && verdict.is_ok());
        tells.then_some(verdict)
    }

    /// A session begins or ends: nothing is known to be new enough any more.
    pub(crate) fn session(&mut self, online: bool) {
        self.online = online;
        self.asked.clear();
        self.answered.clear();
        self.told.clear();
        self.whole.clear();
        self.looked.clear();
        self.said.clear();
    }

    /// What is agreed changed: what could not be given, or read, may be by now.
    pub(crate) fn ask_anew(&mut self) {
        let all = &self.all;
        self.answered.retain(|case| all.contains_key(case));
        for (case, at) in &mut self.asked {
            if !self.answered.contains(case) {
                *at = Timestamp(0);
            }
        }
    }

    pub(crate) fn restore_act(&mut self, case: CaseId, row: ActRow) {
        self.acts.insert(case, row);
    }

    /// Which of `wanted` and of what the broker told about are to be asked for now.
    fn due(&mut self, wanted: impl Iterator<Item = CaseId>, now: Timestamp) -> Vec<CaseId> {
        let behind = self.told.keys().copied().filter(|case| self.is_behind(case));
        let mut all: BTreeSet<CaseId> = wanted.chain(behind).chain(self.looked.iter().copied()).collect();
        all.retain(|case| {
            !self.is_settled(case) && self.asked.get(case).is_none_or(|at| !just_now(*at, now))
        });
        let mut due = Vec::new();
        for case in all {
            if self.asked.len() < CASES_WATCHED_MAX || self.asked.contains_key(&case) {
                self.asked.insert(case, now);
                due.push(case);
            }
        }
        due
    }
}

impl Agreed {
    /// The cases.
    pub const fn cases(&self) -> &Cases {
        &self.cases
    }

    pub(crate) fn restore_case(&mut self, case: CaseId, decisions: &[Decided]) -> Option<()> {
        self.extend(case, decisions, false).ok()
    }

    /// Takes in a chain of decisions. Each is checked here, under a version this organisation accepted; the
    /// broker's word counts for the times alone. Of a chain that goes wrong what comes before is kept. What votes
    /// say is looked at once, when a decision comes in: what counted then counts for ever.
    fn extend(&mut self, case: CaseId, decisions: &[Decided], new: bool) -> Result<(), Refusal> {
        let kept = self.cases.all.get(&case).map_or(&[][..], |chain| &chain.decisions);
        if decisions.get(..kept.len()) != Some(kept) {
            return Err(Refusal::CaseMoved);
        }
        for decided in decisions.iter().skip(kept.len()) {
            let claimed = CaseDecision::claimed(&decided.decision)?;
            let agreement = self.get(&claimed.covenant)?;
            if claimed.case != case {
                return Err(Refusal::UnknownCase);
            }
            if new && !agreement.in_force(decided.at) {
                return Err(Refusal::CovenantNotInForce);
            }
            if new && !agreement.is_bound(claimed.party, decided.at) {
                return Err(Refusal::NotSigned);
            }
            let compiled = agreement.compiled();
            let mut state = self.cases.state(&case).cloned();
            if state.as_ref().is_some_and(|state| decided.at <= state.moved()) {
                return Err(Refusal::BadTransition);
            }
            let keys = self.keys();
            let at = decided.at;
            let counts = |oin, kid| keys.signing_key(compiled, oin, kid, at).ok();
            let key_of = |oin, kid| if new { counts(oin, kid) } else { keys.holds(compiled, oin, kid) };
            let applied = case::apply(&mut state, &decided.decision, key_of, compiled, decided.at)?;
            let (Applied::Now, Some(state)) = (applied, state) else { return Err(Refusal::CaseMoved) };
            let chain = self.cases.all.entry(case);
            let chain = chain.or_insert_with(|| Chain { state: state.clone(), decisions: vec![] });
            chain.state = state;
            chain.decisions.push(decided.clone());
        }
        Ok(())
    }

    /// The version under which this organisation decides: the newest one in force of the case's covenant.
    fn version(&self, case: &CaseId, named: Option<Digest>, now: Timestamp) -> Result<&Agreement, Rejection> {
        if let Some(hash) = named {
            return Ok(self.standing_by(&hash)?);
        }
        let id = self.cases.state(case).map(CaseState::covenant);
        let mut all = self.newest(now, |covenant| id.is_none_or(|id| id == covenant.id)).into_iter();
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(Refusal::CovenantNotInForce.into()),
            (Some(_), Some(_)) => Err(Rejection::new(
                Refusal::UnknownCovenant,
                "Er geldt meer dan één convenant; noem het convenant van de zaak.",
                "More than one covenant is in force; name that of the case.",
            )),
        }
    }
}

impl Core {
    /// This organisation decides something about a case, or begins one when no act is given. A decision follows
    /// on what is known here; when something else came first it does not count, and its taker looks anew.
    pub(crate) fn decide(
        &mut self,
        case: CaseId,
        act: Option<Act>,
        named: Option<Digest>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        if self.agreed.cases.act(&case).is_some_and(|row| row.refused == 0) {
            return Err(Rejection::new(
                Refusal::TooBusy,
                "De broker heeft een eerder besluit over deze zaak nog niet vastgelegd. Wacht daarop.",
                "The broker has not logged an earlier decision about this case yet. Wait for it.",
            ));
        }
        let agreement = self.agreed.version(&case, named, now)?;
        let compiled = agreement.compiled();
        self.check_own_key(compiled, ports)?;
        let first = compiled.first_step();
        let act = act.or(first.map(Act::Step)).ok_or(Refusal::BadTransition)?;
        let mut state = self.agreed.cases.state(&case).cloned();
        let begins = matches!(act, Act::Step(step) if Some(step) == first);
        if state.is_none() && !begins {
            return Err(Refusal::UnknownCase.into());
        }
        if !agreement.in_force(now) {
            return Err(Refusal::CovenantNotInForce.into());
        }
        let row = ActRow {
            covenant: compiled.hash(),
            seq: state.as_ref().map_or(0, |state| state.seq().saturating_add(1)),
            previous: state.as_ref().map(CaseState::head),
            act,
            since: now,
            refused: 0,
        };
        let bytes = self.decision(case, &row, now).sign(ports.signer);
        let at = state.as_ref().map_or(now, |state| now.max(state.moved().plus(Span(1))));
        let key_of = |oin, kid| self.agreed.keys().current(compiled, oin, kid).ok();
        case::apply(&mut state, &bytes, key_of, compiled, at)?;
        turn.writes.push(Write::Act(case, Some(Box::new(row.clone()))));
        self.agreed.cases.acts.insert(case, row);
        self.agreed.cases.said.remove(&case);
        self.decide_again(now, ports, turn);
        Ok(())
    }

    fn decision(&self, case: CaseId, row: &ActRow, issued: Timestamp) -> CaseDecision {
        CaseDecision {
            format: FORMAT,
            covenant: row.covenant,
            case,
            seq: row.seq,
            previous: row.previous,
            party: self.settings.oin,
            act: row.act.clone(),
            issued,
        }
    }

    /// Sends the decisions that have not been answered, signed anew: one counts near its time only.
    pub(crate) fn decide_again(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        if !self.connected {
            return;
        }
        let said = &self.agreed.cases.said;
        let due = |case: &CaseId| said.get(case).is_none_or(|at| at.is_some_and(|at| !just_now(at, now)));
        let due: Vec<(CaseId, Vec<u8>)> = self
            .agreed
            .cases
            .acts()
            .filter(|(case, row)| row.refused == 0 && due(case))
            .map(|(case, row)| (*case, self.decision(*case, row, now).sign(ports.signer)))
            .collect();
        for (case, bytes) in due {
            self.agreed.cases.said.insert(case, Some(now));
            turn.sends.push(Send::Decide { case, bytes });
        }
    }

    /// The broker answered a decision: 0, or a refusal's number. One that was heard goes once it is seen in the
    /// chain; so does one whose answer was lost and that is in its own way now.
    pub(crate) fn decision_answered(&mut self, case: CaseId, outcome: u16, now: Timestamp, turn: &mut Turn) {
        let cases = &mut self.agreed.cases;
        let Some(row) = cases.acts.get_mut(&case) else { return };
        if outcome != 0 && (passing(outcome) || outcome == Refusal::KeyGivenUp.number()) {
            // It is said again, signed anew.
            return;
        }
        cases.said.insert(case, None);
        if outcome != 0 {
            row.refused = outcome;
            turn.writes.push(Write::Act(case, Some(Box::new(row.clone()))));
        }
        let moved = [Refusal::CaseMoved, Refusal::CaseClosed].map(Refusal::number);
        if outcome == 0 || moved.contains(&outcome) {
            cases.asked.remove(&case);
            cases.answered.remove(&case);
            cases.looked.insert(case);
            self.fetch_cases(now, turn);
        }
    }

    /// A person wants to see how a case stands.
    pub(crate) fn look_at(&mut self, case: CaseId, now: Timestamp, turn: &mut Turn) {
        if self.connected {
            self.agreed.cases.looked.insert(case);
            self.fetch_cases(now, turn);
        }
    }

    /// Asks for the cases that packets, drafts or people wait for, and those about which there is more.
    pub(crate) fn fetch_cases(&mut self, now: Timestamp, turn: &mut Turn) {
        if !self.connected {
            return;
        }
        let kept = self.retention.cases_to_ask(&self.agreed.cases);
        let wanted: Vec<CaseId> =
            self.agreed.held_cases().chain(self.outbox.draft_cases()).chain(kept).collect();
        for case in self.agreed.cases.due(wanted.into_iter(), now) {
            turn.sends.push(Send::FetchCase(case));
        }
    }

    /// The broker tells of decisions about cases that it was asked for.
    pub(crate) fn take_cases(&mut self, heads: &[CaseHead], now: Timestamp, turn: &mut Turn) {
        let cases = &mut self.agreed.cases;
        for head in heads {
            if cases.asked.contains_key(&head.case) || cases.acts.contains_key(&head.case) {
                let told = cases.told.entry(head.case).or_default();
                if head.decisions > *told {
                    *told = head.decisions;
                    // At once, also when an answer is under way: it may be from before.
                    cases.asked.insert(head.case, Timestamp(0));
                }
            }
        }
        self.fetch_cases(now, turn);
    }

    /// The broker gave what was decided about a case; `None` when it knows of none, or of none for this
    /// organisation.
    pub(crate) fn learn_case(
        &mut self,
        case: CaseId,
        decisions: Option<&[Decided]>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        if let Some(decisions) = decisions
            && (self.rests_on_votes(decisions) || self.rests_on_a_key(case, decisions, now))
        {
            // What it rests on is on its way; it is asked for again when that is here.
            return self.fetch_covenants(now, turn);
        }
        let cases = &mut self.agreed.cases;
        cases.looked.remove(&case);
        cases.answered.insert(case);
        let here = |agreed: &Agreed| agreed.cases.all.get(&case).map_or(0, |chain| chain.decisions.len());
        let before = here(&self.agreed);
        if let Some(decisions) = decisions {
            if decisions.len() < before && self.agreed.cases.whole.contains(&case) {
                // Each question has a stream of its own: a longer answer of this session overtook this one.
            } else if decisions.len() < before {
                let detail = format!("{case}: {} of {before}", decisions.len());
                self.alarm(AlarmKind::DecisionsMissing, detail, now, turn);
            } else if let Err(refusal) = self.agreed.extend(case, decisions, true) {
                self.alarm(AlarmKind::CaseRefused, format!("{case}: {refusal}"), now, turn);
            } else {
                self.agreed.cases.whole.insert(case);
            }
        }
        if here(&self.agreed) > before {
            // There is progress, so that asking for the rest at once makes no endless round.
            self.agreed.cases.asked.insert(case, Timestamp(0));
            if let Some(chain) = self.agreed.cases.all.get(&case) {
                turn.writes.push(Write::Case(case, chain.decisions.clone()));
            }
        }
        self.hear(case, turn);
        self.seal_drafts(now, ports, turn);
        self.release(now, ports, turn);
        self.fetch_cases(now, turn);
    }

    /// Whether a decision is under a version whose votes are not all here.
    fn rests_on_votes(&self, decisions: &[Decided]) -> bool {
        decisions
            .iter()
            .filter_map(|one| CaseDecision::claimed(&one.decision).ok())
            .any(|claimed| self.agreed.behind(&claimed.covenant))
    }

    /// Whether a decision that is new here is under a key that is not known, and that may have come up: word of a rotation
    /// comes on another stream.
    fn rests_on_a_key(&mut self, case: CaseId, decisions: &[Decided], now: Timestamp) -> bool {
        let kept = self.agreed.cases.all.get(&case).map_or(0, |chain| chain.decisions.len());
        let unknown = decisions.iter().skip(kept).find_map(|one| {
            let claimed = CaseDecision::claimed(&one.decision).ok()?;
            let key = CaseDecision::claimed_key(&one.decision).ok()?;
            let compiled = self.agreed.get(&claimed.covenant).ok()?.compiled();
            self.agreed.keys().holds(compiled, claimed.party, key).is_none().then_some(claimed.party)
        });
        unknown.is_some_and(|party| self.agreed.seeks(party, now))
    }

    /// Looks whether the own decision is in the chain by now, or another in its place.
    fn hear(&mut self, case: CaseId, turn: &mut Turn) {
        let cases = &mut self.agreed.cases;
        let (Some(row), Some(chain)) = (cases.acts.get_mut(&case), cases.all.get(&case)) else { return };
        let place = usize::try_from(row.seq).unwrap_or(usize::MAX);
        let Some(event) = chain.state.events().nth(place) else { return };
        if event.party == self.settings.oin && event.act == row.act {
            cases.acts.remove(&case);
            turn.writes.push(Write::Act(case, None));
        } else if row.refused == 0 {
            row.refused = Refusal::CaseMoved.number();
            turn.writes.push(Write::Act(case, Some(Box::new(row.clone()))));
        }
    }
}
