//! The engine's thread: what has come in meanwhile becomes one turn.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use seinhuis_agent_core::{Event, Input, Pushed, Rejection, Send, Turn, Unfetched};
use seinhuis_journal::{BlobId, StoreError};
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::Entries;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::pace::Pace;
use tokio::sync::{OwnedSemaphorePermit, mpsc as async_mpsc, oneshot};

use super::{AgentEvent, Decided, Engine, Job, Query, Say, View, outbox_row};

/// Most inputs in one turn.
const TURN_INPUTS: usize = 1024;
/// Most bytes of input in one turn; a turn writes at most about twice that.
const TURN_BYTES: usize = 8 * 1024 * 1024;
/// How far apart turns start at most, while there is something to do: see [`Pace`]. Longer than at the broker, which many agents wait for.
const TURNS_APART: Duration = Duration::from_millis(8);
/// How far apart rounds of overwriting are at least: each restates all that is live.
const OVERWRITES_APART: Duration = Duration::from_hours(1);
/// How soon the next step of overwriting follows when there is nothing else to do.
const OVERWRITE_STEP: Duration = Duration::from_millis(20);
/// How often time is told to the core, and at most so often: see [`Input::Tick`].
const TICK: Duration = Duration::from_secs(1);

/// What goes into one turn, and what is answered after it.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    queries: Vec<Query>,
    waits: Vec<MsgId>,
    /// Given back when the turn is over.
    rooms: Vec<OwnedSemaphorePermit>,
    bytes: usize,
    stop: bool,
}

/// What the engine's thread does.
pub(super) struct Worker {
    pub(super) engine: Engine,
    outgoing: Option<async_mpsc::UnboundedSender<Send>>,
    waiting: BTreeMap<MsgId, Vec<oneshot::Sender<Decided>>>,
    listeners: Vec<async_mpsc::UnboundedSender<AgentEvent>>,
    pushes: BTreeMap<u64, oneshot::Sender<Result<Pushed, Rejection>>>,
    says: BTreeMap<u64, oneshot::Sender<Result<(), Rejection>>>,
    fetches: BTreeMap<u64, oneshot::Sender<Result<Box<Entries>, Unfetched>>>,
    next_token: u64,
    ticked: Instant,
    /// The ticket of the round of overwriting that is under way.
    overwriting: Option<u64>,
    /// When the last round ended.
    overwrote: Option<Instant>,
}

impl Worker {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            outgoing: None,
            waiting: BTreeMap::new(),
            listeners: Vec::new(),
            pushes: BTreeMap::new(),
            says: BTreeMap::new(),
            fetches: BTreeMap::new(),
            next_token: 0,
            ticked: Instant::now(),
            overwriting: None,
            overwrote: None,
        }
    }

    /// Takes one step of overwriting what was erased, when some was. The first round comes at once, later ones
    /// no sooner than [`OVERWRITES_APART`]; erased bodies cannot be read meanwhile.
    fn overwrite(&mut self) -> Result<(), StoreError> {
        let rests = self.overwrote.is_some_and(|at| at.elapsed() < OVERWRITES_APART);
        if self.overwriting.is_none() && !rests {
            self.overwriting = self.engine.core.to_overwrite();
        }
        let Some(ticket) = self.overwriting else { return Ok(()) };
        if self.engine.store.erase_step()? {
            return Ok(());
        }
        (self.overwriting, self.overwrote) = (None, Some(Instant::now()));
        let turn = self.engine.step([Input::Overwritten(ticket)])?;
        self.release(turn)
    }

    pub(super) fn run(&mut self, inbox: &Receiver<Job>) -> Result<(), StoreError> {
        let mut pace = Pace::new(TURNS_APART);
        loop {
            let mut idle = TICK.saturating_sub(self.ticked.elapsed());
            if self.overwriting.is_some() {
                idle = idle.min(OVERWRITE_STEP);
            }
            let first = match inbox.recv_timeout(idle) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let quiet = first.is_none();
            let due = self.ticked.elapsed() >= TICK;
            let started = pace.begin();
            let batch = self.gather(first, inbox);
            if !batch.inputs.is_empty() {
                let turn = self.engine.step(batch.inputs)?;
                if !turn.is_read_only() {
                    pace.over(started);
                }
                self.release(turn)?;
            }
            drop(batch.rooms);
            for query in batch.queries {
                query(&self.engine.view());
            }
            for msg_id in batch.waits {
                self.answer_decided(msg_id);
            }
            if batch.stop {
                return Ok(());
            }
            if quiet || due {
                self.overwrite()?;
            }
            if quiet {
                self.engine.store.tidy()?;
            }
        }
    }

    /// Everything that waits, as far as one turn holds it.
    pub(super) fn gather(&mut self, first: Option<Job>, inbox: &Receiver<Job>) -> Batch {
        let mut batch = Batch::default();
        let mut next = first;
        while let Some(job) = next {
            batch.bytes = batch.bytes.saturating_add(job.bytes());
            self.sort(job, &mut batch);
            let full = batch.inputs.len() >= TURN_INPUTS || batch.bytes >= TURN_BYTES;
            next = if batch.stop || full { None } else { inbox.try_recv().ok() };
        }
        if self.ticked.elapsed() >= TICK {
            self.ticked = Instant::now();
            batch.inputs.push(Input::Tick);
        }
        batch
    }

    fn sort(&mut self, job: Job, batch: &mut Batch) {
        match job {
            Job::Input(input) => batch.inputs.push(input),
            Job::Offer(offer, room) => {
                batch.rooms.push(room);
                batch.inputs.push(Input::Offer(offer));
            }
            Job::Say(say, answer) => {
                if matches!(say, Say::Rotate { .. })
                    && let Err(complaint) = self.engine.make_next_key()
                {
                    // Who asked may have gone.
                    _ = answer.send(Err(no_next_key(&complaint)));
                    return;
                }
                let token = self.token();
                let Some(input) = say.input(token, &self.engine.view()) else {
                    // As above.
                    _ = answer.send(Err(Refusal::UnknownMessage.into()));
                    return;
                };
                self.says.insert(token, answer);
                batch.inputs.push(input);
            }
            Job::Fetch(ask, answer) => {
                let token = self.token();
                self.fetches.insert(token, answer);
                batch.inputs.push(Input::FetchEntries { token, ask });
            }
            Job::Push(request, answer) => {
                let token = self.token();
                self.pushes.insert(token, answer);
                batch.inputs.push(Input::Push { token, request });
            }
            Job::Connected(welcome, outgoing) => {
                self.outgoing = Some(outgoing);
                batch.inputs.push(Input::Connected(welcome));
            }
            Job::Disconnected => {
                self.outgoing = None;
                // What was asked in that session is not answered any more: who asked notices.
                self.fetches.clear();
                batch.inputs.push(Input::Disconnected);
            }
            Job::Query(query) => batch.queries.push(query),
            Job::Wait(msg_id, answer) => {
                let waiting = self.waiting.entry(msg_id).or_default();
                // Who gave up takes no room.
                waiting.retain(|one| !one.is_closed());
                waiting.push(answer);
                // It may have been decided before somebody began to wait for it.
                batch.waits.push(msg_id);
            }
            Job::Subscribe(listener) => self.listeners.push(listener),
            Job::Stop => batch.stop = true,
        }
    }

    fn token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token = token.wrapping_add(1);
        token
    }

    /// Lets out what the turn, now durable, says.
    fn release(&mut self, turn: Turn) -> Result<(), StoreError> {
        let at = Instant::now();
        for reply in turn.replies {
            if let Some(answer) = self.pushes.remove(&reply.token) {
                // Who asked may have gone; the message is stored all the same.
                _ = answer.send(reply.result);
            }
        }
        for (token, result) in turn.answers {
            if let Some(answer) = self.says.remove(&token) {
                // As above: it is kept all the same.
                _ = answer.send(result);
            }
        }
        for (token, result) in turn.fetched {
            if let Some(answer) = self.fetches.remove(&token) {
                // As above.
                _ = answer.send(result);
            }
        }
        if let Some(outgoing) = self.outgoing.clone() {
            for send in turn.sends {
                let send = self.with_bytes(send)?;
                // When the session just ended, all of this is repeated in the next.
                _ = outgoing.send(send);
            }
        }
        for event in turn.events {
            log(&event);
            if let Event::Decided { msg_id, .. } = event {
                self.answer_decided(msg_id);
            }
            self.listeners.retain(|listener| listener.send(AgentEvent { at, event: event.clone() }).is_ok());
        }
        Ok(())
    }

    fn with_bytes(&self, send: Send) -> Result<Send, StoreError> {
        match send {
            Send::Submit { digest, packet: None } => {
                let packet = self.engine.store.blob(&BlobId::from(digest.0))?.map(Into::into);
                Ok(Send::Submit { digest, packet })
            }
            other @ (Send::Submit { .. }
            | Send::Acknowledge(_)
            | Send::NoticesTaken(_)
            | Send::Reconnect
            | Send::Withdraw { .. }
            | Send::Consume { .. }
            | Send::FetchEntries { .. }
            | Send::Publish { .. }
            | Send::FetchPrekeys(..)
            | Send::FetchCovenant(..)
            | Send::Propose { .. }
            | Send::Vote { .. }
            | Send::Decide { .. }
            | Send::Rotate(_)
            | Send::FetchCase(_)
            | Send::FetchConsistency(..)
            | Send::Cosigned(_)
            | Send::FetchSuccession { .. }) => Ok(other),
        }
    }

    fn answer_decided(&mut self, msg_id: MsgId) {
        if !self.waiting.contains_key(&msg_id) {
            return;
        }
        let Some(decided) = decided(&self.engine.view(), msg_id) else { return };
        for answer in self.waiting.remove(&msg_id).unwrap_or_default() {
            // Who waited may have given up.
            _ = answer.send(decided.clone());
        }
    }
}

/// The final state of a message, if it has one.
fn decided(view: &View<'_>, msg_id: MsgId) -> Option<Decided> {
    let (position, stage) = view.core.find(&msg_id)?;
    if !stage.is_final() {
        return None;
    }
    let row = outbox_row(view.store, position)?;
    Some(Decided { msg_id, stage, outcome: row.outcome, receipt: row.receipt.0 })
}

/// Why there is no key to rotate to.
fn no_next_key(complaint: &Complaint) -> Rejection {
    let both = |what: &str, advice: &str| format!("{what} {advice}");
    Rejection::new(
        Refusal::StorageFailed,
        both(&complaint.what.nl, &complaint.advice.nl),
        both(&complaint.what.en, &complaint.advice.en),
    )
}

fn log(event: &Event) {
    match event {
        Event::Decided { msg_id, stage, outcome } => tracing::debug!(%msg_id, %stage, outcome, "decided"),
        Event::Reached { msg_id, to, reached } => tracing::debug!(%msg_id, %to, %reached, "reached"),
        Event::Received { position, msg_id, outcome, .. } => {
            tracing::debug!(%msg_id, position, outcome, "received");
        }
        Event::KeyRotated(key) => {
            tracing::info!(%key, "this organisation signs with its new key from now on");
        }
        Event::Alarm(alarm) => tracing::error!(kind = %alarm.kind, detail = %alarm.detail, "alarm"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::engine::tests::idle;

    #[test]
    fn who_gave_up_waiting_takes_no_room() {
        let mut worker = Worker::new(idle());
        let (_jobs, inbox) = mpsc::channel();
        let msg_id = MsgId([7; 16]);
        let (patient, _waits) = oneshot::channel();
        worker.gather(Some(Job::Wait(msg_id, patient)), &inbox);
        for _ in 0..100 {
            let (answer, gone) = oneshot::channel();
            drop(gone);
            worker.gather(Some(Job::Wait(msg_id, answer)), &inbox);
        }
        assert_eq!(worker.waiting[&msg_id].len(), 2, "who still waits, and the last one");
    }
}
