//! The partnership whose disks lose their power: a broker in a process of its own, its agents in this one, and what
//! people were told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seinhuis_agent::{
    Agent, AgentHandle, AgentOptions, Event, PushError, PushRequest, Stage as Fate, Target,
};
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::MsgId;
use tokio::task::JoinHandle;

use super::setup;
use crate::forge::{body, new_id};
use crate::process::{Programs, until};
use crate::samples::{self, Sample};
use crate::sim::{Broken, Violation};
use crate::stage::{PATIENCE, Stage};
use crate::{Member, Process};

/// Who takes part. The municipality receives what the other two send.
const ROLES: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];
/// Who sends what.
pub(super) const SENDERS: [(&str, &str); 2] = [("politie", "F02"), ("jongerenwerk", "F01")];
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

/// Founds the partnership in `dir`, with small files, so that many are begun and given back.
pub(super) fn found(programs: &Programs, dir: &Path) -> Result<Stage, Violation> {
    let members = Stage::cast(dir, &ROLES);
    let stage = Stage::found(programs.clone(), dir, members, &mut |_| ()).map_err(setup)?;
    // Nothing is kept free: what a disk that is really full does is what is looked at.
    let small = "\n[store]\nsegment_mib = 1\nindex_interval_ms = 200\nkeep_free_mib = 0\n";
    stage.configure(small).map_err(setup)?;
    for member in &stage.members {
        let config = member.home.join("agent.toml");
        let text = std::fs::read_to_string(&config).map_err(setup)?;
        std::fs::write(&config, text + small).map_err(setup)?;
    }
    stage.agree().map_err(setup)?;
    Ok(stage)
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
        match agent.push(request(sample, msg_id)).await {
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

/// Waits until every message that a sender has is accepted.
pub(super) async fn accepted(agents: &mut Agents) -> Result<(), Violation> {
    for (role, _) in SENDERS {
        let agent = agents.get(role)?;
        wait("everything is accepted", async || {
            let status = agent.status().await.ok()?;
            (status.drafts + status.held + status.queued + status.deferred + status.in_flight == 0)
                .then_some(())
        })
        .await?;
    }
    Ok(())
}

/// What each sender sends, by role.
pub(super) fn samples() -> Result<BTreeMap<&'static str, Sample>, Violation> {
    let all = samples::all().map_err(setup)?;
    let of = |flow: &str| all.iter().find(|sample| sample.flow == flow).cloned();
    SENDERS
        .into_iter()
        .map(|(role, flow)| Ok((role, of(flow).ok_or_else(|| setup(format!("no sample of {flow}")))?)))
        .collect()
}

fn request(sample: &Sample, msg_id: MsgId) -> PushRequest {
    PushRequest {
        msg_id,
        flow: sample.flow.clone(),
        to: sample.to.iter().filter_map(|role| role.parse().ok()).map(Target::Role).collect(),
        step: sample.value["step"].as_str().and_then(|step| step.parse::<Step>().ok()),
        case: None,
        message_type: Some(sample.message_type.clone()),
        basis: sample.value["basis"].as_str().map(str::to_owned),
        covenant: None,
        ttl: None,
        in_reply_to: None,
        trace: None,
        source: None,
        handling: None,
        body: body(sample),
    }
}

/// Waits until a broker that runs has nothing left to deliver.
pub(super) fn drained(stage: &Stage, broker: &mut Process) -> Result<(), Violation> {
    let waited = until("everything is delivered", 2 * PATIENCE, || {
        !broker.runs()
            || stage.broker(&["status"]).is_ok_and(|status| {
                status["queues"]
                    .as_array()
                    .is_some_and(|queues| queues.iter().all(|queue| queue["packets"] == 0))
            })
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
