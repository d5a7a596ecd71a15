//! What goes wrong.

use seinhuis_shared::time::Span;

use super::net::{Side, ToBroker};
use super::scenario::Fault;
use super::world::{Event, IDLE, Node, World};

/// The partner that does not keep to the covenant.
const FORGER: usize = 3;

impl World {
    /// Something goes wrong, and later something else.
    pub(super) fn fault(&mut self) {
        if self.is_calm() {
            return;
        }
        let wait = self.dice.between(500, 20_000);
        self.after(wait, Event::Fault);
        let mut kinds: Vec<Fault> = self.scenario.faults.iter().copied().collect();
        kinds.retain(|fault| *fault != Fault::TakeBack);
        let Some(fault) = self.dice.pick(&kinds) else { return };
        let agent = usize::try_from(self.dice.between(0, 4)).unwrap_or_default();
        let node = if self.dice.percent(40) { Node::Broker } else { Node::Agent(agent) };
        match fault {
            Fault::Crash => self.crash(node),
            Fault::Flush => self.process(node).fails = true,
            Fault::Reset => {
                let (soon, late) = (self.dice.between(1, 1000), self.dice.percent(50));
                self.cut_off(agent, (0, soon), late);
            }
            Fault::HalfOpen => {
                let soon = self.dice.between(1, 1000);
                let ends = if self.dice.percent(50) { (soon, IDLE) } else { (IDLE, soon) };
                self.cut_off(agent, ends, false);
            }
            Fault::Partition => {
                let length = self.dice.between(500, 90_000);
                self.cut[agent] = self.now.plus(Span(length)).max(self.cut[agent]);
                if length >= IDLE {
                    self.cut_off(agent, (IDLE, IDLE), false);
                }
            }
            Fault::Slow => {
                let length = self.dice.between(1000, 30_000);
                self.slow[agent] = self.now.plus(Span(length));
            }
            Fault::Clock => {
                let off = i64::try_from(self.dice.between(0, 240_000)).unwrap_or_default();
                self.process(node).skew = off - 120_000;
            }
            Fault::Forger => self.forge(),
            Fault::TakeBack => {}
        }
        let named = Fault::ALL.iter().find(|(own, _)| *own == fault);
        *self.summary.faults.entry(named.map_or("", |(_, name)| *name)).or_default() += 1;
    }

    /// The connection of an agent is gone; broker and agent notice after so many milliseconds.
    fn cut_off(&mut self, agent: usize, (broker, own): (u64, u64), late: bool) {
        let Some(id) = self.agents[agent].conn else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.dead = true;
        if late {
            conn.late = self.now.plus(Span(200));
        }
        self.after(broker, Event::Notice(id, Side::Broker));
        self.after(own, Event::Notice(id, Side::Agent));
    }

    /// A partner submits what it may not.
    fn forge(&mut self) {
        let Some(id) = self.agents[FORGER].conn else { return };
        let (own, now) = (self.agents[FORGER].signer.clone(), self.now);
        let Some((packet, forbidden)) = self.forger.make(&own, now, &mut self.dice) else { return };
        if forbidden {
            self.forbid(&packet);
        }
        self.send_broker(id, ToBroker::Submit(packet));
    }
}
