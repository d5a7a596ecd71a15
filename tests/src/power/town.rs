//! The partnership whose disks lose their power: a broker in a process of its own, its agents in this one, and what
//! people were told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seinhuis_agent::{Agent, AgentHandle, AgentOptions, Event, PushError, Stage as Fate};
use seinhuis_shared::ids::MsgId;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::forge::new_id;
use crate::process::{Programs, until};
use crate::samples::{self, Sample};
use crate::sim::{Broken, Dice, Violation, setup};
use crate::stage::{PATIENCE, Stage};
use crate::{Member, Process};

/// Who takes part. The municipality receives what the other two send.
const ROLES: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];
/// Who sends what.
pub(super) const SENDERS: [(&str, &str); 2] = [("politie", "F02"), ("jongerenwerk", "F01")];
/// Characters of a message's free text, three bytes each: about as long as its schema allows, so that a hundred messages
/// fill a segment.
const LONG: usize = 1_900;
/// Who receives.
pub(super) const RECIPIENT: &str = "gemeente";

/// What somebody was told, from which a power cut must take nothing away.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// A sender's application: the agent has the message.
    Pushed(&'static str, MsgId),
    /// A sender's application: the broker accepted it, with this receipt.
    Accepted(MsgId, Arc<[u8]>),
    /// The recipient's application: the message is there.
    Received(MsgId),
}

/// Hears everything that anybody is told, at the moment it is said.
pub(super) type Hear = Arc<dyn Fn(Told) + Send + Sync>;

/// The partnership while it runs.
pub(super) struct Town {
    pub(super) stage: Stage,
    pub(super) broker: Process,
    pub(super) agents: Agents,
    /// Who sends, and what.
    senders: Vec<(&'static str, Sample)>,
}

impl Town {
    /// Founds it in `dir`, with small files, so that many are begun and given back; everybody runs, and senders can seal.
    pub(super) async fn found(programs: &Programs, dir: &Path, hear: Hear) -> Result<Self, Violation> {
        let members = Stage::cast(dir, &ROLES);
        let stage = Stage::found(programs.clone(), dir, members, &mut |_| ()).map_err(setup)?;
        // Nothing is kept free: what a disk that is really full does is what is looked at.
        stage.small_segments("index_interval_ms = 200\nkeep_free_mib = 0\n").map_err(setup)?;
        stage.agree().map_err(setup)?;
        let town = Self::start(&stage, hear)?;
        town.agents.acquainted(&stage).await?;
        Ok(town)
    }

    /// Starts everybody.
    pub(super) fn start(stage: &Stage, hear: Hear) -> Result<Self, Violation> {
        let all = samples::all().map_err(setup)?;
        let sends = |flow: &str| {
            let sample = all.iter().find(|sample| sample.flow == flow).cloned();
            let mut sample = sample.ok_or_else(|| setup(format!("no sample of {flow}")))?;
            sample.value["body"]["toelichting"] = Value::from("€".repeat(LONG));
            Ok::<_, Violation>(sample)
        };
        let senders = SENDERS.map(|(role, flow)| Ok((role, sends(flow)?)));
        let senders = senders.into_iter().collect::<Result<_, Violation>>()?;
        let broker = start_broker(stage)?;
        let mut agents = Agents::new(hear);
        agents.start(stage)?;
        Ok(Self { stage: stage.clone(), broker, agents, senders })
    }

    /// Has one of the senders push a message.
    pub(super) async fn push(&mut self, dice: &mut Dice) -> Result<(), Violation> {
        let chosen = usize::try_from(dice.between(0, super::wide(self.senders.len()))).unwrap_or_default();
        let (role, sample) = self.senders.get(chosen).ok_or_else(|| setup("nobody sends"))?;
        self.agents.push(role, sample).await
    }

    /// Waits until everything has arrived.
    pub(super) async fn settle(&mut self) -> Result<(), Violation> {
        self.agents.accepted().await?;
        drained(&self.stage, &mut self.broker)
    }

    /// Waits until everything has arrived, and has everybody stop in good order.
    pub(super) async fn end(mut self) -> Result<(), Violation> {
        self.settle().await?;
        self.agents.stop().await;
        self.broker.stop(PATIENCE).map(drop).map_err(setup)
    }
}

/// Starts the broker.
pub(super) fn start_broker(stage: &Stage) -> Result<Process, Violation> {
    stage.start_broker().map_err(|error| Violation::new(Broken::Start, error.to_string()))
}

/// The agents that run, and whoever waits for what they say.
pub(super) struct Agents {
    running: BTreeMap<&'static str, AgentHandle>,
    listening: Vec<JoinHandle<()>>,
    hear: Hear,
}

impl Agents {
    pub(super) fn new(hear: Hear) -> Self {
        Self { running: BTreeMap::new(), listening: Vec::new(), hear }
    }

    /// Starts every agent that does not run.
    pub(super) fn start(&mut self, stage: &Stage) -> Result<(), Violation> {
        stage.members.iter().try_for_each(|member| self.start_one(member))
    }

    pub(super) fn start_one(&mut self, member: &Member) -> Result<(), Violation> {
        if self.running.contains_key(member.role) {
            return Ok(());
        }
        let options = AgentOptions::new(member.home.clone());
        let agent = Agent::start(&options).map_err(|complaint| super::start(&member.label, &complaint))?;
        let (mut events, hear) = (agent.subscribe(), Arc::clone(&self.hear));
        self.listening.push(tokio::spawn(async move {
            while let Some(news) = events.recv().await {
                if let Event::Received { msg_id, outcome: 0, .. } = news.event {
                    hear(Told::Received(msg_id));
                }
            }
        }));
        self.running.insert(member.role, agent);
        Ok(())
    }

    pub(super) fn get(&self, role: &str) -> Result<&AgentHandle, Violation> {
        self.running.get(role).ok_or_else(|| setup(format!("no agent of {role} runs")))
    }

    /// Waits until every sender can seal for the recipient.
    pub(super) async fn acquainted(&self, stage: &Stage) -> Result<(), Violation> {
        let to = &stage.member(RECIPIENT).oin;
        for (role, _) in SENDERS {
            let agent = self.get(role)?;
            wait("the recipient's prekeys are known", async || {
                let status = agent.status().await.ok()?;
                status.peers.iter().any(|peer| peer.usable && peer.oin.to_string() == *to).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Pushes a message of a sender's and tells, now and when its fate is known.
    pub(super) async fn push(&mut self, role: &'static str, sample: &Sample) -> Result<(), Violation> {
        let (msg_id, agent) = (new_id(), self.get(role)?.clone());
        match agent.push(sample.request(msg_id)).await {
            Ok(_) => {}
            Err(PushError::Rejected(rejection)) => {
                return Err(setup(format!("{role} may not push: {rejection:?}")));
            }
            // What came to nothing was not confirmed.
            Err(PushError::Stopped) => return Ok(()),
        }
        (self.hear)(Told::Pushed(role, msg_id));
        let hear = Arc::clone(&self.hear);
        self.listening.push(tokio::spawn(async move {
            if let Some(decided) = agent.wait_done(msg_id).await
                && decided.stage == Fate::Done
            {
                hear(Told::Accepted(msg_id, decided.receipt.into()));
            }
        }));
        Ok(())
    }

    /// Stops one; what it says on the way no longer counts.
    pub(super) async fn stop_one(&mut self, role: &str) {
        if let Some(agent) = self.running.remove(role) {
            // Without power it cannot close its store, and need not.
            _ = agent.shutdown().await;
        }
    }

    /// Whether an agent stopped by itself because its disk is full, and said so in both languages; it is then gone.
    pub(super) async fn failed(&mut self, role: &'static str) -> Result<bool, Violation> {
        let agent = self.get(role)?.clone();
        if agent.status().await.is_ok() {
            return Ok(false);
        }
        let why = agent.ended().await;
        self.stop_one(role).await;
        match why {
            Some(why) if why.what.en.contains("No space left") && why.what.nl.contains("Geen ruimte") => {
                Ok(true)
            }
            why => {
                Err(Violation::new(Broken::Start, format!("{role} stopped and does not say why: {why:?}")))
            }
        }
    }

    /// Waits until every message that a sender has is accepted.
    pub(super) async fn accepted(&self) -> Result<(), Violation> {
        for (role, _) in SENDERS {
            let agent = self.get(role)?;
            wait("everything is accepted", async || {
                let status = agent.status().await.ok()?;
                (status.drafts + status.held + status.queued + status.deferred + status.in_flight == 0)
                    .then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Stops all, and waits until nobody listens any more.
    pub(super) async fn stop(&mut self) {
        for (_, agent) in std::mem::take(&mut self.running) {
            _ = agent.shutdown().await;
        }
        for listener in self.listening.drain(..) {
            _ = listener.await;
        }
    }
}

/// Waits until `check` gives something.
pub(super) async fn wait<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> Result<T, Violation> {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        if let Some(there) = check().await {
            return Ok(there);
        }
        if Instant::now() > end {
            return Err(Violation::new(Broken::Stuck, format!("waited in vain: {what}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a broker that runs has nothing left to deliver, or ends.
pub(super) fn drained(stage: &Stage, broker: &mut Process) -> Result<(), Violation> {
    let waited = until("everything is delivered", 2 * PATIENCE, || {
        let empty = |queues: &Vec<Value>| queues.iter().all(|queue| queue["packets"] == 0);
        let status = stage.ask_broker(&json!("status"));
        !broker.runs() || status.is_ok_and(|status| status["queues"].as_array().is_some_and(empty))
    });
    waited.map_err(|error| Violation::new(Broken::Stuck, error.to_string()))
}

/// Everything that was told, in order.
#[derive(Debug, Default)]
pub(super) struct Ears(Mutex<Vec<Told>>);

impl Ears {
    pub(super) fn hear(self: &Arc<Self>) -> Hear {
        let ears = Arc::clone(self);
        Arc::new(move |told| ears.0.lock().unwrap_or_else(PoisonError::into_inner).push(told))
    }

    pub(super) fn all(&self) -> Vec<Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How many messages somebody was told were accepted.
pub(super) fn confirmed(told: &[Told]) -> u64 {
    super::wide(told.iter().filter(|told| matches!(told, Told::Accepted(..))).count())
}
