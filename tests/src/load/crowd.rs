//! The agents: senders that push, recipients that count.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use seinhuis_agent::{
    Agent, AgentEvent, AgentHandle, AgentOptions, Event, PushRequest, Stage as Fate, Target,
};
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shell::complaint::Complaint;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::forge::new_id;
use crate::samples;
use crate::stage::{Member, PATIENCE, StageError};

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Packets delivered.
    pub(crate) delivered: usize,
    /// Seconds from the first push to the last delivery.
    pub(crate) seconds: f64,
    /// From push to durable verified verdict, in microseconds.
    pub(crate) acknowledged: Histogram<u64>,
    /// From push to durable at the recipient, in microseconds.
    pub(crate) end_to_end: Histogram<u64>,
    /// Flushes of the agents' stores.
    pub(crate) agent_syncs: u64,
}

struct Sender {
    agent: AgentHandle,
    to: Oin,
    events: Option<UnboundedReceiver<AgentEvent>>,
}

/// A running recipient and what it tells.
type Arrivals = (AgentHandle, UnboundedReceiver<AgentEvent>);

/// All agents.
pub(crate) struct Crowd {
    senders: Vec<Sender>,
    recipients: Vec<(Member, Option<Arrivals>)>,
    body: Arc<Vec<u8>>,
}

fn other(complaint: &Complaint) -> StageError {
    io::Error::other(complaint.what.en.clone()).into()
}

/// A sample's body, its free text lengthened until it has `length` bytes.
pub(crate) fn body(length: usize) -> Result<Vec<u8>, StageError> {
    let sample = samples::among(&["jongerenwerk", "gemeente"])?
        .into_iter()
        .find(|sample| sample.flow == "F01")
        .ok_or_else(|| io::Error::other("no sample of F01"))?;
    let mut body = sample.value["body"].clone();
    let bare = serde_json::to_vec(&body).map_err(io::Error::other)?.len();
    let text = body["toelichting"].as_str().unwrap_or_default().to_owned();
    body["toelichting"] = format!("{text}{}", ".".repeat(length.saturating_sub(bare))).into();
    serde_json::to_vec(&body).map_err(|error| io::Error::other(error).into())
}

impl Crowd {
    /// Starts all agents, lets everybody learn everybody's prekeys, and sends the recipients home again.
    pub(crate) async fn gather(members: &[Member], body: &[u8]) -> Result<Self, StageError> {
        let mut crowd = Self { senders: Vec::new(), recipients: Vec::new(), body: Arc::new(body.to_vec()) };
        for pair in members.chunks(2) {
            let [from, to] = pair else { continue };
            let oin = to.oin.parse().map_err(|_| io::Error::other("the load's OINs are wrong"))?;
            let agent = start(from)?;
            let events = Some(agent.subscribe());
            crowd.senders.push(Sender { agent, to: oin, events });
            crowd.recipients.push((to.clone(), None));
        }
        crowd.open_recipients()?;
        for sender in &crowd.senders {
            wait_for_prekeys(&sender.agent, sender.to).await?;
        }
        crowd.close_recipients().await?;
        Ok(crowd)
    }

    /// Brings the recipients back.
    pub(crate) fn open_recipients(&mut self) -> Result<(), StageError> {
        for (member, slot) in &mut self.recipients {
            let agent = start(member)?;
            let events = agent.subscribe();
            *slot = Some((agent, events));
        }
        Ok(())
    }

    async fn close_recipients(&mut self) -> Result<(), StageError> {
        for (_, slot) in &mut self.recipients {
            if let Some((agent, _)) = slot.take() {
                agent.shutdown().await.map_err(|error| other(&error))?;
            }
        }
        Ok(())
    }

    /// Pushes to recipients that are not there, and waits until all is accepted.
    pub(crate) async fn send_to_absent(&mut self, count: usize) -> Result<(), StageError> {
        let share = count.div_ceil(self.senders.len());
        for sender in &mut self.senders {
            for _ in 0..share {
                push(&sender.agent, sender.to, &self.body, new_id()).await?;
            }
        }
        for sender in &mut self.senders {
            let events = sender.events.as_mut().ok_or_else(|| io::Error::other("no events"))?;
            for _ in 0..share {
                decided(events).await?;
            }
        }
        Ok(())
    }

    /// Brings the recipients back and waits until everything that waited has arrived.
    pub(crate) async fn fetch(&mut self) -> Result<(), StageError> {
        self.open_recipients()?;
        let quiet = Duration::from_secs(2);
        for (_, slot) in &mut self.recipients {
            if let Some((_, events)) = slot {
                received(events).await?;
                while tokio::time::timeout(quiet, received(events)).await.is_ok() {}
            }
        }
        Ok(())
    }

    /// Every sender keeps `window` packets under way, from push to delivery, for `length`.
    pub(crate) async fn full_speed(
        &mut self,
        window: usize,
        length: Duration,
    ) -> Result<Outcome, StageError> {
        let end = Instant::now() + length;
        let windows: Vec<Arc<Semaphore>> =
            self.senders.iter().map(|_| Arc::new(Semaphore::new(window))).collect();
        let places = windows.clone();
        self.drive(windows, move |lane, agent, to, body| {
            let places = Arc::clone(&places[lane]);
            async move {
                let (mut sent, mut tasks) = (Vec::new(), tokio::task::JoinSet::new());
                while Instant::now() < end {
                    let Ok(place) = places.acquire().await else { break };
                    place.forget();
                    let (id, at) = (new_id(), Instant::now());
                    sent.push((id, at));
                    let (agent, body) = (agent.clone(), Arc::clone(&body));
                    tasks.spawn(async move { push(&agent, to, &body, id).await });
                    while let Some(done) = tasks.try_join_next() {
                        done.map_err(io::Error::other)??;
                    }
                }
                while let Some(done) = tasks.join_next().await {
                    done.map_err(io::Error::other)??;
                }
                Ok(sent)
            }
        })
        .await
    }

    /// All senders together push `rate` packets a second, each at its appointed time, whatever the answers.
    pub(crate) async fn paced(&mut self, rate: f64, length: Duration) -> Result<Outcome, StageError> {
        let lanes = u32::try_from(self.senders.len()).unwrap_or(1);
        let gap = Duration::from_secs_f64(f64::from(lanes) / rate);
        let windows = self.senders.iter().map(|_| Arc::new(Semaphore::new(0))).collect();
        self.drive(windows, move |lane, agent, to, body| async move {
            let phase = gap / lanes * u32::try_from(lane).unwrap_or(0);
            let (start, mut sent, mut tasks) =
                (Instant::now() + phase, Vec::new(), tokio::task::JoinSet::new());
            let mut due = start;
            while due < start + length {
                tokio::time::sleep_until(due.into()).await;
                let id = new_id();
                let (agent, body) = (agent.clone(), Arc::clone(&body));
                tasks.spawn(async move { push(&agent, to, &body, id).await });
                // From the time it was due: waiting for a slow system counts against the system.
                sent.push((id, due));
                due += gap;
            }
            while let Some(done) = tasks.join_next().await {
                done.map_err(io::Error::other)??;
            }
            Ok(sent)
        })
        .await
    }

    async fn drive<F, Fut>(&mut self, windows: Vec<Arc<Semaphore>>, send: F) -> Result<Outcome, StageError>
    where
        F: Fn(usize, AgentHandle, Oin, Arc<Vec<u8>>) -> Fut,
        Fut: Future<Output = Result<Vec<(MsgId, Instant)>, StageError>> + Send + 'static,
    {
        let syncs = self.syncs().await?;
        let start = Instant::now();
        let mut watchers = Vec::new();
        for (lane, sender) in self.senders.iter_mut().enumerate() {
            let events = sender.events.take().ok_or_else(|| io::Error::other("no events"))?;
            let arrivals = self.recipients[lane].1.take().ok_or_else(|| io::Error::other("no recipient"))?;
            let sending = tokio::spawn(send(lane, sender.agent.clone(), sender.to, Arc::clone(&self.body)));
            let window = Arc::clone(&windows[lane]);
            watchers.push(tokio::spawn(watch(sending, events, arrivals, window)));
        }
        let mut outcome = Outcome {
            delivered: 0,
            seconds: 0.0,
            acknowledged: histogram()?,
            end_to_end: histogram()?,
            agent_syncs: 0,
        };
        for (lane, watcher) in watchers.into_iter().enumerate() {
            let seen = watcher.await.map_err(io::Error::other)??;
            outcome.delivered += seen.sent.len();
            let last = seen.arrived.values().max().copied().unwrap_or(start);
            outcome.seconds = outcome.seconds.max(last.duration_since(start).as_secs_f64());
            for (id, at) in &seen.sent {
                record(&mut outcome.acknowledged, *at, seen.decided.get(id))?;
                record(&mut outcome.end_to_end, *at, seen.arrived.get(id))?;
            }
            self.senders[lane].events = Some(seen.events);
            self.recipients[lane].1 = Some(seen.recipient);
        }
        outcome.agent_syncs = self.syncs().await? - syncs;
        Ok(outcome)
    }

    async fn syncs(&self) -> Result<u64, StageError> {
        let mut sum = 0;
        let recipients = self.recipients.iter().filter_map(|(_, slot)| slot.as_ref().map(|(agent, _)| agent));
        for agent in self.senders.iter().map(|sender| &sender.agent).chain(recipients) {
            sum += agent.stats().await.map_err(|error| other(&error))?.syncs;
        }
        Ok(sum)
    }

    /// Stops all agents.
    pub(crate) async fn leave(mut self) -> Result<(), StageError> {
        self.close_recipients().await?;
        for sender in self.senders {
            sender.agent.shutdown().await.map_err(|error| other(&error))?;
        }
        Ok(())
    }
}

struct Seen {
    sent: Vec<(MsgId, Instant)>,
    decided: HashMap<MsgId, Instant>,
    arrived: HashMap<MsgId, Instant>,
    events: UnboundedReceiver<AgentEvent>,
    recipient: Arrivals,
}

/// Collects verdicts and arrivals until everything sent has both.
async fn watch(
    sending: tokio::task::JoinHandle<Result<Vec<(MsgId, Instant)>, StageError>>,
    mut events: UnboundedReceiver<AgentEvent>,
    mut recipient: Arrivals,
    window: Arc<Semaphore>,
) -> Result<Seen, StageError> {
    let (mut decided_at, mut arrived) = (HashMap::new(), HashMap::new());
    let mut sending = sending;
    let mut sent = None;
    loop {
        if let Some(sent) = &sent
            && decided_at.len() >= Vec::len(sent)
            && arrived.len() >= Vec::len(sent)
        {
            break;
        }
        tokio::select! {
            done = &mut sending, if sent.is_none() => sent = Some(done.map_err(io::Error::other)??),
            one = decided(&mut events) => {
                let (id, at) = one?;
                decided_at.insert(id, at);
            }
            one = received(&mut recipient.1) => {
                let (id, at) = one?;
                arrived.insert(id, at);
                window.add_permits(1);
            }
        }
    }
    Ok(Seen { sent: sent.unwrap_or_default(), decided: decided_at, arrived, events, recipient })
}

async fn decided(events: &mut UnboundedReceiver<AgentEvent>) -> Result<(MsgId, Instant), StageError> {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv())
            .await
            .map_err(|_| io::Error::other("no verdict came"))?
            .ok_or_else(|| io::Error::other("a sender stopped"))?;
        match event.event {
            Event::Decided { msg_id, stage: Fate::Done, .. } => return Ok((msg_id, event.at)),
            Event::Decided { outcome, .. } => {
                return Err(io::Error::other(format!("refused with {outcome}")).into());
            }
            Event::Alarm(alarm) => return Err(io::Error::other(format!("alarm: {alarm:?}")).into()),
            Event::Received { .. } | Event::Reached { .. } | Event::KeyRotated(_) => {}
        }
    }
}

async fn received(events: &mut UnboundedReceiver<AgentEvent>) -> Result<(MsgId, Instant), StageError> {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv())
            .await
            .map_err(|_| io::Error::other("nothing arrived"))?
            .ok_or_else(|| io::Error::other("a recipient stopped"))?;
        match event.event {
            Event::Received { msg_id, outcome: 0, .. } => return Ok((msg_id, event.at)),
            Event::Received { outcome, .. } => {
                return Err(io::Error::other(format!("quarantined with {outcome}")).into());
            }
            Event::Alarm(alarm) => return Err(io::Error::other(format!("alarm: {alarm:?}")).into()),
            Event::Decided { .. } | Event::Reached { .. } | Event::KeyRotated(_) => {}
        }
    }
}

fn start(member: &Member) -> Result<AgentHandle, StageError> {
    Agent::start(&AgentOptions::new(&member.home)).map_err(|error| other(&error))
}

async fn wait_for_prekeys(agent: &AgentHandle, of: Oin) -> Result<(), StageError> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let status = agent.status().await.map_err(|error| other(&error))?;
        if status.peers.iter().any(|peer| peer.oin == of && peer.usable) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(io::Error::other("no prekeys came").into())
}

async fn push(agent: &AgentHandle, to: Oin, body: &Arc<Vec<u8>>, id: MsgId) -> Result<(), StageError> {
    let request = PushRequest {
        msg_id: id,
        flow: "F01".into(),
        to: vec![Target::Oin(to)],
        step: Some(Step::S1),
        case: None,
        message_type: None,
        basis: None,
        covenant: None,
        ttl: None,
        in_reply_to: None,
        trace: None,
        source: None,
        handling: None,
        body: body.to_vec(),
    };
    match agent.push(request).await {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::other(format!("{error:?}")).into()),
    }
}

pub(crate) fn histogram() -> Result<Histogram<u64>, StageError> {
    Histogram::new_with_bounds(1, 600_000_000, 3).map_err(|error| io::Error::other(error.to_string()).into())
}

pub(crate) fn record(
    histogram: &mut Histogram<u64>,
    from: Instant,
    to: Option<&Instant>,
) -> Result<(), StageError> {
    let to = to.ok_or_else(|| io::Error::other("a packet without an end"))?;
    let micros = u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX);
    histogram.record(micros.max(1)).map_err(|error| io::Error::other(error.to_string()).into())
}
