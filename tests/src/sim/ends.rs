//! When a history is at its end, and what became of everything by then.

use std::collections::BTreeMap;

use seinhuis_agent_core::Track;
use seinhuis_agent_core::rows::{OutboxRow, Reached, Stage};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;

use super::agent::Agent;
use super::faults::RIVAL;
use super::oracle::{Broken, Oracle, Violation};
use super::scenario::Fault;
use super::world::World;

/// How long after the last fault everything has to be settled.
pub(super) const SETTLED: Span = Span::minutes(20);
/// The same where a clock was days off: prekeys that were made in another day's name count no sooner than on that day.
const SETTLED_FAR: Span = Span::days(2);
/// How much later where the answer to a correction got lost: what stays without one is said again after a day.
const ANSWERED: Span = Span::days(1);

impl World {
    /// What is not settled yet, in a few words.
    pub(super) fn open_ends(&self) -> Vec<String> {
        let mut open = Vec::new();
        for message in &self.messages {
            let id = message.request.msg_id;
            let Some(core) = self.agents[message.agent].core.as_ref() else {
                open.push(format!("agent {} does not run", message.agent + 1));
                continue;
            };
            let stage = core.find(&id).map(|(_, stage)| stage).filter(|_| message.answered);
            match stage {
                // Its case has gone on to a step that does not allow it.
                None if message.rejected == Some(Refusal::WrongStep) && self.has_moved() => {}
                None => open.push(format!("{id} was not taken in: {:?}", message.rejected)),
                // What it never heard of it said it has: whether it arrived others say.
                Some(Stage::Done) if !self.learns_of_its_own(message.agent) => {
                    let row = self.agents[message.agent].sent(&id);
                    let to = row.iter().flat_map(|row| self.under_way(row));
                    open.extend(to.map(|to| format!("{id} is under way to {to}")));
                }
                Some(Stage::Done) => {
                    let waits = |track: &&Track| track.reached() == Reached::Accepted;
                    let tracks = core.tracks(&id).iter().filter(waits);
                    open.extend(tracks.map(|track| format!("{id} did not reach {}", track.to)));
                }
                Some(stage) if stage.is_final() => {}
                Some(stage) => open.push(format!(
                    "{id} is {stage} at agent {}, connected {}, new key {:?}, put off {}",
                    message.agent + 1,
                    core.is_connected(),
                    core.turning().row().map(|row| row.refused),
                    core.status(self.now).deferred,
                )),
            }
        }
        for agent in &self.agents {
            let corrections = agent.uncorrected().len() + agent.shut_out();
            if corrections > 0 {
                open.push(format!("{} has {corrections} corrections that are not confirmed", agent.oin));
            }
        }
        open.extend(self.insisted());
        open
    }

    /// Whether a correction is open of which the recipient's answer may have been refused, because its sender's access was
    /// revoked or by a clock that was far off, or destroyed: it is said again after a day, and answered then.
    fn is_answered_late(&self) -> bool {
        let lost = |sender: Oin, row: &OutboxRow| {
            row.recipients.contains(&sender)
                && (row.stage == Stage::Refused
                    || row.packet.is_some_and(|packet| self.oracle.was_shredded(packet, sender)))
        };
        let late = |sender: Oin, recipient: Oin| {
            let recipient = self.agents.iter().filter(|agent| agent.oin == recipient);
            recipient.flat_map(Agent::outbox).any(|row| lost(sender, &row))
        };
        self.agents.iter().any(|agent| agent.uncorrected().into_iter().any(|to| late(agent.oin, to)))
    }

    /// What the agents complain of.
    pub(super) fn alarms(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (number, agent) in (1..).zip(&self.agents) {
            let alarms = agent.core.as_ref().map(|core| core.status(self.now).alarms).unwrap_or_default();
            all.extend(alarms.iter().map(|alarm| format!("agent {number}: {} {}", alarm.kind, alarm.detail)));
        }
        all
    }

    /// Whether everything is settled.
    pub(super) fn look(&mut self) -> Result<bool, Violation> {
        if self.is_crooked() {
            return self.look_crooked();
        }
        let Some(calm) = self.calm else { return Ok(false) };
        self.repeat_corrections();
        let open = self.open_ends();
        self.summary.settled = self.now.since(calm).0;
        let bound = if self.has(Fault::FarClock) { SETTLED_FAR } else { SETTLED };
        let over = |more| self.now > calm.plus(bound).plus(more);
        if !open.is_empty() && over(Span(0)) && (over(ANSWERED) || !self.is_answered_late()) {
            let open: Vec<String> = open.into_iter().chain(self.alarms()).collect();
            return Err(Violation::new(Broken::Stuck, open.join("; ")));
        }
        Ok(open.is_empty())
    }

    /// Whether what became of its messages gets to an agent: not to one that said it has what it has not.
    const fn learns_of_its_own(&self, agent: usize) -> bool {
        agent != RIVAL || !self.forgers[1].gave_away
    }

    /// To whom a packet is neither delivered nor ended, by the inboxes and the log.
    fn under_way(&self, row: &OutboxRow) -> Vec<Oin> {
        let packet = row.packet.unwrap_or(Digest([0; 32]));
        let has = |agent: &Agent, to: &Oin| {
            agent.oin == *to && agent.good().is_ok_and(|good| good.contains(&packet))
        };
        let waits = |to: &&Oin| {
            !self.oracle.has_ended(packet, **to) && !self.agents.iter().any(|agent| has(agent, to))
        };
        row.recipients.iter().filter(waits).copied().collect()
    }

    /// A message that was not accepted has an end of its own: to be put off is none, nor is it to expire before its time
    /// on any clock.
    fn ended_with_reason(&self, row: Option<OutboxRow>) -> Result<(), Violation> {
        let Some(row) = row else { return Ok(()) };
        let ahead = if self.has(Fault::FarClock) { Span::days(2) } else { Span::minutes(2) };
        let early = row.stage == Stage::Expired && row.expires > self.now.plus(ahead);
        let passing =
            row.stage == Stage::Refused && Refusal::from_number(row.outcome).is_some_and(Refusal::is_passing);
        if early || passing {
            let what =
                format!("{} is {} with {}, and might still have gone", row.msg_id, row.stage, row.outcome);
            return Err(Violation::new(Broken::Lost, what));
        }
        Ok(())
    }

    /// Everything is up and settled: what became of what.
    pub(super) fn judge(&mut self) -> Result<(), Violation> {
        let mut inboxes = BTreeMap::new();
        for agent in &self.agents {
            Oracle::inbox(&agent.disk.live)?;
            inboxes.insert(agent.oin, agent.good()?);
        }
        self.summary.entries = self.broker.logs.count();
        self.summary.ended = self.oracle.ended();
        if self.is_crooked() {
            return Ok(());
        }
        for message in &self.messages {
            let id = message.request.msg_id;
            let agent = &self.agents[message.agent];
            let row = agent.sent(&id);
            let Some(row) = row.filter(|row| row.stage == Stage::Done) else {
                if self.oracle.told.contains_key(&id) {
                    let what = format!("{id} was accepted, and its sender knows nothing of it any more");
                    return Err(Violation::new(Broken::Lost, what));
                }
                self.ended_with_reason(agent.sent(&id))?;
                self.summary.refused += 1;
                continue;
            };
            let tracks = agent.core.as_ref().map(|core| core.tracks(&id)).unwrap_or_default();
            let reached: BTreeMap<Oin, Reached> =
                tracks.iter().map(|track| (track.to, track.reached())).collect();
            self.oracle.told(row.clone())?;
            let packet = row.packet.unwrap_or(Digest([0; 32]));
            let reached = self.learns_of_its_own(message.agent).then_some(&reached);
            self.oracle.fate(id, (packet, &row.recipients), &inboxes, reached)?;
            self.summary.accepted += 1;
        }
        Ok(())
    }
}
