//! Cases: where each one is, by the parties' signed decisions and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::case::{Act, Applied, CaseDecision, CaseState, Stage, Verified};
use seinhuis_shared::covenant::{Agreements, Compiled};
use seinhuis_shared::entry::{Kind, MAX_DETAIL_BYTES};
use seinhuis_shared::ids::{CaseId, Oin};
use seinhuis_shared::limits::{CASES_OPEN_MAX, CASES_WATCHED_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{CaseHead, Decided};

use crate::core::Core;
use crate::input::ConnId;
use crate::turn::{Send, Turn};
use crate::write::Write;

/// A case: the decisions as signed, and what they add up to.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) state: CaseState,
    pub(crate) decisions: Vec<Decided>,
}

/// Every case. Apart from the directory, which is copied when it changes.
#[derive(Debug, Default)]
pub struct Cases(BTreeMap<CaseId, Case>);

impl Cases {
    /// Where a case is.
    pub fn state(&self, case: &CaseId) -> Option<&CaseState> {
        self.0.get(case).map(|one| &one.state)
    }

    fn get(&self, case: &CaseId) -> Option<&Case> {
        self.0.get(case)
    }

    /// How many cases a party began that are not closed.
    fn open(&self, party: &Oin) -> usize {
        let begun = |one: &&Case| one.state.events().next().is_some_and(|first| first.party == *party);
        self.0.values().filter(begun).filter(|one| one.state.now().stage() != Stage::Closed).count()
    }

    /// Takes a decision, under the version `compiled` it names.
    ///
    /// # Errors
    /// Those of [`CaseState::open`] and [`CaseState::apply`].
    pub(crate) fn apply(
        &mut self,
        verified: &Verified,
        compiled: &Compiled,
        decided: Decided,
    ) -> Result<Applied, Refusal> {
        let case = verified.decision().case;
        let Some(known) = self.0.get_mut(&case) else {
            let state = CaseState::open(verified, compiled, decided.at)?;
            self.0.insert(case, Case { state, decisions: vec![decided] });
            return Ok(Applied::Now);
        };
        let applied = known.state.apply(verified, compiled, decided.at)?;
        if applied == Applied::Now {
            known.decisions.push(decided);
        }
        Ok(applied)
    }
}

/// Checks the signature of a decision; gives it with the version it names. Whether the key still counts is not
/// asked.
///
/// # Errors
/// [`Refusal::UnknownCovenant`]; those of [`CaseDecision::verify`].
pub(crate) fn verify<'a>(
    bytes: &[u8],
    agreements: &'a Agreements,
) -> Result<(Verified, &'a Arc<Compiled>), Refusal> {
    let compiled = agreements.get(&CaseDecision::claimed(bytes)?.covenant)?.compiled();
    let verified = CaseDecision::verify(bytes, |oin, kid| agreements.keys().holds(compiled, oin, kid))?;
    Ok((verified, compiled))
}

impl Core {
    /// A party decides something about a case.
    pub(crate) fn decide(
        &mut self,
        (conn, peer): (ConnId, &Oin),
        bytes: &[u8],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let directory = Arc::clone(&self.state.directory);
        let (verified, compiled) = verify(bytes, &directory.agreements)?;
        let claimed = verified.decision();
        let agreement = directory.covenant(&claimed.covenant)?;
        if claimed.party != *peer {
            return Err(Refusal::SenderNotConnection);
        }
        let known = self.state.cases.get(&claimed.case);
        if known.is_some_and(|case| case.decisions.iter().any(|one| *one.decision == *bytes)) {
            return self.watch(conn, claimed.case);
        }
        // The state at an entry must be certain, so a decision counts from a time no entry has yet.
        let at = now.max(self.state.log.time.plus(Span(1)));
        directory.agreements.keys().signing_key(compiled, *peer, verified.key(), at)?;
        if !agreement.in_force(at) {
            return Err(Refusal::CovenantNotInForce);
        }
        if !agreement.is_bound(*peer, at) {
            return Err(Refusal::NotSigned);
        }
        if known.is_none() && self.state.cases.open(peer) >= CASES_OPEN_MAX {
            return Err(Refusal::TooBusy);
        }
        self.watch(conn, claimed.case)?;
        let decided = Decided { decision: bytes.into(), at };
        self.state.cases.apply(&verified, compiled, decided.clone())?;
        turn.writes.push(Write::Decision { case: claimed.case, seq: claimed.seq, decided });
        let mut entry = self.entry(Kind::Case, at, turn);
        entry.case = Some(claimed.case);
        entry.covenant = Some(claimed.covenant);
        entry.subject = Some(*peer);
        entry.detail = Some(detail(&claimed.act));
        turn.entry(&entry);
        self.tell_case(claimed.case, at, turn);
        Ok(())
    }

    /// What was decided about a case, for a party that is bound by a version of its covenant. Whoever asks is
    /// told in this session when more is decided, also of what does not exist yet.
    pub(crate) fn case(
        &mut self,
        (conn, peer): (ConnId, &Oin),
        case: CaseId,
        now: Timestamp,
    ) -> Result<Vec<Decided>, Refusal> {
        self.watch(conn, case)?;
        let known = self.state.cases.get(&case).filter(|known| self.may_know(peer, &known.state, now));
        known.map(|known| known.decisions.clone()).ok_or(Refusal::NotFound)
    }

    fn may_know(&self, peer: &Oin, state: &CaseState, now: Timestamp) -> bool {
        let mut versions = self.state.directory.agreements.of(*peer);
        versions.any(|one| one.compiled().covenant().id == state.covenant() && one.is_bound(*peer, now))
    }

    fn watch(&mut self, conn: ConnId, case: CaseId) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get_mut(conn) else { return Err(Refusal::Stopping) };
        if session.watched.len() >= CASES_WATCHED_MAX && !session.watched.contains(&case) {
            return Err(Refusal::TooBusy);
        }
        session.watched.insert(case);
        Ok(())
    }

    /// Tells of a decision, before anything that rests on it.
    fn tell_case(&self, case: CaseId, now: Timestamp, turn: &mut Turn) {
        let Some(known) = self.state.cases.get(&case) else { return };
        let decisions = u32::try_from(known.decisions.len()).unwrap_or(u32::MAX);
        for (conn, session) in self.sessions.iter() {
            if session.watched.contains(&case) && self.may_know(&session.peer, &known.state, now) {
                turn.send(Send::Cases { conn: *conn, cases: vec![CaseHead { case, decisions }] });
            }
        }
    }
}

/// A decision as a code for the log, which has room for the longest word and most codes of a covenant.
fn detail(act: &Act) -> String {
    let (word, code) = match act {
        Act::Step(step) => ("step", step.as_str()),
        Act::Close => return "closed".to_owned(),
        Act::Condition { code, holds: true } => ("condition", code.as_str()),
        Act::Condition { code, holds: false } => ("withdrawn", code.as_str()),
    };
    let whole = format!("{word}:{code}");
    if whole.len() <= MAX_DETAIL_BYTES { whole } else { word.to_owned() }
}
