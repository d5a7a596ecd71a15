//! The agents: senders that push, recipients that count.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use seinhuis_agent::{Agent, AgentEvent, AgentHandle, AgentOptions, Event, Stage as Fate, Target};
use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shell::complaint::Complaint;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use super::latency::histogram;
use super::message::{self, Message};
use super::tally::{Note, Tally};
use crate::forge::new_id;
use crate::stage::{Member, PATIENCE, StageError};

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Packets that all their recipients have.
    pub(crate) delivered: usize,
    /// Seconds from the first push to the last delivery.
    pub(crate) seconds: f64,
    /// From push to durable verified verdict, in microseconds.
    pub(crate) acknowledged: Histogram<u64>,
    /// From push to durable at the last recipient, in microseconds.
    pub(crate) end_to_end: Histogram<u64>,
    /// Flushes of the agents' stores.
    pub(crate) agent_syncs: u64,
}

/// What an agent tells.
type Events = UnboundedReceiver<AgentEvent>;

struct Sender {
    agent: AgentHandle,
    to: Vec<Oin>,
    events: Option<Events>,
}

/// A recipient that runs, and what it tells.
type Running = (AgentHandle, Option<Events>);

/// All agents.
pub(crate) struct Crowd {
    senders: Vec<Sender>,
    /// The recipients, and each that is there.
    recipients: Vec<(Member, Option<Running>)>,
    message: Arc<Message>,
    /// Recipients of each packet.
    reach: usize,
}

fn other(complaint: &Complaint) -> StageError {
    io::Error::other(complaint.what.en.clone()).into()
}

/// The sample's body of F01, its free text lengthened until it has `length` bytes.
pub(crate) fn body(length: usize) -> Result<Vec<u8>, StageError> {
    message::sample(length)
}

impl Crowd {
    /// Starts pairs of agents, the first of each to send this body over F01 to the second.
    pub(crate) async fn gather(members: &[Member], body: &[u8]) -> Result<Self, StageError> {
        Self::meet(members, 1, Message::over_sample(body)).await
    }

    /// Starts all agents, lets everybody learn everybody's prekeys, and sends the recipients home again. Youth work
    /// sends; each packet goes to `reach` of the others, from the sender's own place among them on.
    pub(crate) async fn meet(members: &[Member], reach: usize, message: Message) -> Result<Self, StageError> {
        let (senders, recipients): (Vec<_>, Vec<_>) =
            members.iter().cloned().partition(|member| member.role == super::SENDS);
        let recipients = recipients.into_iter().map(|member| (member, None)).collect();
        let mut crowd = Self { senders: Vec::new(), recipients, message: Arc::new(message), reach };
        for (place, member) in senders.iter().enumerate() {
            let to = crowd.recipients.iter().cycle().skip(place).take(reach);
            let to = to.map(|(member, _)| member.oin.parse());
            let to =
                to.collect::<Result<_, _>>().map_err(|_| io::Error::other("the load's OINs are wrong"))?;
            let agent = start(member)?;
            let events = Some(agent.subscribe());
            crowd.senders.push(Sender { agent, to, events });
        }
        crowd.open_recipients()?;
        for sender in &crowd.senders {
            wait_for_prekeys(&sender.agent, &sender.to).await?;
        }
        // A broker that was started again serves nobody before a quorum of witnesses has come.
        crowd.connected().await?;
        crowd.close_recipients().await?;
        Ok(crowd)
    }

    /// Brings the recipients back.
    pub(crate) fn open_recipients(&mut self) -> Result<(), StageError> {
        for (member, slot) in &mut self.recipients {
            let agent = start(member)?;
            let events = agent.subscribe();
            *slot = Some((agent, Some(events)));
        }
        Ok(())
    }

    /// Waits until every agent that runs has a session with the broker.
    pub(crate) async fn connected(&self) -> Result<(), StageError> {
        let end = Instant::now() + PATIENCE;
        for agent in self.running() {
            while agent.link().connected.is_none() {
                if Instant::now() > end {
                    return Err(io::Error::other("an agent gets no session with the broker").into());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = &AgentHandle> {
        let recipients = self.recipients.iter().filter_map(|(_, slot)| slot.as_ref().map(|(agent, _)| agent));
        self.senders.iter().map(|sender| &sender.agent).chain(recipients)
    }

    async fn close_recipients(&mut self) -> Result<(), StageError> {
        for (_, slot) in &mut self.recipients {
            if let Some((agent, _)) = slot.take() {
                agent.shutdown().await.map_err(|error| other(&error))?;
            }
        }
        Ok(())
    }

    /// Pushes so many packets to recipients that are not there, waits until all is accepted, and tells how many that is.
    pub(crate) async fn send_to_absent(&mut self, count: usize) -> Result<usize, StageError> {
        let share = count.div_ceil(self.senders.len().max(1));
        let message = Arc::clone(&self.message);
        for sender in &mut self.senders {
            let to: Vec<Target> = sender.to.iter().copied().map(Target::Oin).collect();
            for _ in 0..share {
                push(&sender.agent, &to, &message, new_id()).await?;
            }
        }
        for sender in &mut self.senders {
            let events = sender.events.as_mut().ok_or_else(|| io::Error::other("no events"))?;
            for _ in 0..share {
                decided(events).await?;
            }
        }
        Ok(share * self.senders.len())
    }

    /// Brings the recipients back and waits until all of `count` packets that waited have arrived everywhere.
    pub(crate) async fn fetch(&mut self, count: usize) -> Result<(), StageError> {
        self.open_recipients()?;
        let share = count / self.senders.len().max(1);
        for (member, slot) in &self.recipients {
            let Some((agent, _)) = slot else { continue };
            let for_it = |sender: &&Sender| sender.to.iter().any(|to| to.to_string() == member.oin);
            holds(agent, share * self.senders.iter().filter(for_it).count()).await?;
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
        self.drive(window, move |lane| async move {
            let mut tasks = JoinSet::new();
            while Instant::now() < end {
                let Ok(place) = lane.window.acquire().await else { break };
                place.forget();
                lane.send(&mut tasks, Instant::now());
                while let Some(done) = tasks.try_join_next() {
                    done.map_err(io::Error::other)??;
                }
            }
            all(tasks).await
        })
        .await
    }

    /// All senders together push `rate` packets a second, each at its appointed time, whatever the answers.
    pub(crate) async fn paced(&mut self, rate: f64, length: Duration) -> Result<Outcome, StageError> {
        let lanes = u32::try_from(self.senders.len()).unwrap_or(1);
        let gap = Duration::from_secs_f64(f64::from(lanes) / rate);
        self.drive(0, move |lane| async move {
            let phase = gap / lanes * u32::try_from(lane.number).unwrap_or(0);
            let (start, mut tasks) = (Instant::now() + phase, JoinSet::new());
            let mut due = start;
            while due < start + length {
                tokio::time::sleep_until(due.into()).await;
                // From the time it was due: waiting for a slow system counts against the system.
                lane.send(&mut tasks, due);
                due += gap;
                while let Some(done) = tasks.try_join_next() {
                    done.map_err(io::Error::other)??;
                }
            }
            all(tasks).await
        })
        .await
    }

    /// Has every sender send as `send` says, and waits until all of it is acknowledged and has arrived.
    async fn drive<F, Fut>(&mut self, window: usize, send: F) -> Result<Outcome, StageError>
    where
        F: Fn(Lane) -> Fut,
        Fut: Future<Output = Result<(), StageError>> + Send + 'static,
    {
        let syncs = self.syncs().await?;
        let windows: Vec<_> = self.senders.iter().map(|_| Arc::new(Semaphore::new(window))).collect();
        let (notes, mut told) = unbounded_channel();
        let (over, until) = watch::channel(());
        let mut tally = Tally::new(self.reach, windows.clone())?;
        let followers = self.follow(&notes, &until)?;
        let start = Instant::now();
        for (number, (sender, window)) in self.senders.iter().zip(windows).enumerate() {
            let to = sender.to.iter().copied().map(Target::Oin).collect();
            let (agent, message, notes) = (sender.agent.clone(), Arc::clone(&self.message), notes.clone());
            let lane = Lane { number, agent, to, message, window, notes: notes.clone() };
            let sending = send(lane);
            tokio::spawn(async move {
                let ended = sending.await.map_or_else(Note::Failed, |()| Note::Ended);
                // Whoever listened has failed and said so.
                _ = notes.send(ended);
            });
        }
        while !tally.is_over() {
            let note = tokio::time::timeout(PATIENCE, told.recv()).await;
            match note {
                Ok(Some(note)) => tally.take(note)?,
                Ok(None) => return Err(io::Error::other("the senders stopped").into()),
                // At a low rate nothing happens for a while, and nothing is wrong.
                Err(_) if tally.under_way() == 0 => {}
                Err(_) => {
                    let what = format!("of {} packets no verdict or arrival came", tally.under_way());
                    return Err(io::Error::other(what).into());
                }
            }
        }
        drop(over);
        self.unfollow(followers).await?;
        let seconds = tally.last.unwrap_or(start).duration_since(start).as_secs_f64();
        let agent_syncs = self.syncs().await? - syncs;
        let Tally { delivered, acknowledged, end_to_end, .. } = tally;
        Ok(Outcome { delivered, seconds, acknowledged, end_to_end, agent_syncs })
    }

    /// Has what every agent tells noted, until `until` closes.
    fn follow(
        &mut self,
        notes: &UnboundedSender<Note>,
        until: &watch::Receiver<()>,
    ) -> Result<Vec<JoinHandle<Events>>, StageError> {
        let senders = self.senders.iter_mut().map(|sender| sender.events.take());
        let recipients = self.recipients.iter_mut();
        let recipients = recipients.map(|(_, slot)| slot.as_mut().and_then(|(_, events)| events.take()));
        let events = senders.chain(recipients).collect::<Option<Vec<_>>>();
        let events = events.ok_or_else(|| io::Error::other("an agent does not run"))?;
        Ok(events.into_iter().map(|one| tokio::spawn(follow(one, notes.clone(), until.clone()))).collect())
    }

    /// Gives every agent back what it tells, in the order of [`Self::follow`].
    async fn unfollow(&mut self, followers: Vec<JoinHandle<Events>>) -> Result<(), StageError> {
        let mut followers = followers.into_iter();
        let senders = self.senders.iter_mut().map(|sender| &mut sender.events);
        let running = self.recipients.iter_mut().filter_map(|(_, slot)| slot.as_mut());
        for place in senders.chain(running.map(|(_, events)| events)) {
            let Some(follower) = followers.next() else { break };
            *place = Some(follower.await.map_err(io::Error::other)?);
        }
        Ok(())
    }

    async fn syncs(&self) -> Result<u64, StageError> {
        let mut sum = 0;
        for agent in self.running() {
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

/// One sender in a run.
struct Lane {
    number: usize,
    agent: AgentHandle,
    to: Arc<[Target]>,
    message: Arc<Message>,
    window: Arc<Semaphore>,
    notes: UnboundedSender<Note>,
}

impl Lane {
    /// Notes a packet that was due at this moment and has it pushed.
    fn send(&self, tasks: &mut JoinSet<Result<(), StageError>>, due: Instant) {
        let id = new_id();
        // Before the push: nothing of it can be noted earlier. Whoever does not listen any more has failed.
        _ = self.notes.send(Note::Sent { id, lane: self.number, due });
        let (agent, to, message) = (self.agent.clone(), Arc::clone(&self.to), Arc::clone(&self.message));
        tasks.spawn(async move { push(&agent, &to, &message, id).await });
    }
}

async fn all(mut tasks: JoinSet<Result<(), StageError>>) -> Result<(), StageError> {
    while let Some(done) = tasks.join_next().await {
        done.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Notes what an agent tells, until `until` closes; gives back what it was told by.
async fn follow(mut events: Events, notes: UnboundedSender<Note>, mut until: watch::Receiver<()>) -> Events {
    loop {
        let note = tokio::select! {
            _ = until.changed() => return events,
            event = events.recv() => event.map_or_else(|| Err(stopped()), |event| note(&event)),
        };
        let failed = note.is_err();
        let note = note.unwrap_or_else(|error| Some(Note::Failed(error)));
        if note.is_some_and(|note| notes.send(note).is_err()) || failed {
            return events;
        }
    }
}

fn stopped() -> StageError {
    io::Error::other("an agent stopped").into()
}

/// What an event is to the run.
fn note(event: &AgentEvent) -> Result<Option<Note>, StageError> {
    let wrong = |what: String| Err(io::Error::other(what).into());
    match &event.event {
        Event::Decided { msg_id, stage: Fate::Done, .. } => Ok(Some(Note::Decided(*msg_id, event.at))),
        Event::Decided { outcome, .. } => wrong(format!("refused with {outcome}")),
        Event::Received { msg_id, outcome: 0, .. } => Ok(Some(Note::Arrived(*msg_id, event.at))),
        Event::Received { outcome, .. } => wrong(format!("quarantined with {outcome}")),
        Event::Alarm(alarm) => wrong(format!("alarm: {alarm:?}")),
        Event::Reached { .. } | Event::KeyRotated(_) => Ok(None),
    }
}

/// Waits for the next verdict.
async fn decided(events: &mut Events) -> Result<(), StageError> {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv())
            .await
            .map_err(|_| io::Error::other("no verdict came on a packet to a recipient that is away"))?
            .ok_or_else(stopped)?;
        if let Some(Note::Decided(..)) = note(&event)? {
            return Ok(());
        }
    }
}

/// Waits until an agent has received so many messages since it was made. It tells of those it gets from when it is listened to, which may be
/// later than when it is there.
async fn holds(agent: &AgentHandle, messages: usize) -> Result<(), StageError> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let status = agent.status().await.map_err(|error| other(&error))?;
        let stored = usize::try_from(status.received).unwrap_or(usize::MAX);
        if status.quarantined > 0 {
            return Err(io::Error::other(format!("{} packets were quarantined", status.quarantined)).into());
        }
        if stored >= messages {
            return Ok(());
        }
        if stored > last {
            (last, since) = (stored, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let what = format!("{stored} of {messages} packets that waited have arrived, and no more come");
            return Err(io::Error::other(what).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn start(member: &Member) -> Result<AgentHandle, StageError> {
    Agent::start(&AgentOptions::new(&member.home)).map_err(|error| other(&error))
}

async fn wait_for_prekeys(agent: &AgentHandle, of: &[Oin]) -> Result<(), StageError> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let status = agent.status().await.map_err(|error| other(&error))?;
        let usable = |oin: &Oin| status.peers.iter().any(|peer| peer.oin == *oin && peer.usable);
        if of.iter().all(usable) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(io::Error::other("no prekeys came").into())
}

async fn push(agent: &AgentHandle, to: &[Target], message: &Message, id: MsgId) -> Result<(), StageError> {
    match agent.push(message.request(to, id)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::other(format!("{error:?}")).into()),
    }
}
