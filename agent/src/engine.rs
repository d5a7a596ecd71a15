//! One owner of core and store: inputs in, one durable turn, and only then anything out.
//!
//! [`Engine`] does one step at a time; commands use it directly when no daemon runs. `spawn` puts it on a
//! thread of its own, where it drains whatever has come in meanwhile, so that one flush serves many packets.

mod rows;
mod worker;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use seinhuis_agent_core::rows::{position_key, table};
use seinhuis_agent_core::{
    Core, CorrectRequest, Event, Ground, Input, Locker as _, PushRequest, Pushed, Rejection, Release,
    RestoreError, Send, Settings, Stage, Telling, Turn, Unfetched, Write,
};
use seinhuis_journal::{BlobId, JournalStore, Options, RowChange, Stats, Store, StoreError};
use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::ids::{CaseId, Digest, MsgId};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::wire::{Entries, FetchEntries, Offer, Welcome};
use seinhuis_shell::clock::now;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::room::{Keeper, Standing};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc as async_mpsc, oneshot};
use zeroize::Zeroizing;

pub(crate) use rows::{inbox_row, notices_row, outbox_row, provenance_row, release_row};
use worker::Worker;

use crate::secrets::Vault;

/// Room for offers that wait for their turn, in KiB: twice what one turn takes.
const ROOM_KIB: usize = 16 * 1024;

/// News with the moment at which it was durable.
#[derive(Debug, Clone)]
pub struct AgentEvent {
    /// When, on the monotonic clock.
    pub at: Instant,
    /// What.
    pub event: Event,
}

/// The final state of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The message.
    pub msg_id: MsgId,
    /// Accepted, refused, expired or denied.
    pub stage: Stage,
    /// The refusal's number, or 0.
    pub outcome: u16,
    /// The verified receipt; empty when there is none.
    pub receipt: Vec<u8>,
}

/// What a query sees: the core and the store, between two turns.
pub struct View<'a> {
    /// The core.
    pub core: &'a Core,
    /// The store.
    pub store: &'a dyn Store,
    /// The keys.
    pub vault: &'a Vault,
    /// The room on the disk.
    pub room: Standing,
}

impl View<'_> {
    /// The body at a place in the inbox, opened; none that is not there, or that does not open with this store's key.
    pub(crate) fn body(&self, position: u64) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let key = position_key(position);
        let locked = self.store.get(table::BODY, &key)?;
        Ok(locked.and_then(|locked| self.vault.unlock(table::BODY, &key, &locked)))
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View(..)")
    }
}

/// Room for offers that wait for the engine, so that a broker that sends faster than the disk writes fills
/// its own stream instead of this machine's memory. One for the life of the link: a broker that connects
/// again and again gets no more of it.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    /// Room for [`ROOM_KIB`] KiB.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB)))
    }

    /// Waits until there is room for an offer; what comes back holds that room until its turn is over.
    pub(crate) async fn admit(&self, offer: Box<Offer>) -> Option<Job> {
        let bytes = offer.packet.len().saturating_add(offer.receipt.len());
        // One KiB more than fits counts the rest of the last one, and what a job costs by itself.
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let most = u32::try_from(ROOM_KIB).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0).acquire_many_owned(kib.min(most)).await.ok()?;
        Some(Job::Offer(offer, room))
    }

    /// All of it: no offer waits for its turn, and none comes in while this is held.
    pub(crate) async fn all(&self) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(ROOM_KIB).unwrap_or(u32::MAX);
        Arc::clone(&self.0).acquire_many_owned(all).await.ok()
    }
}

type Query = Box<dyn FnOnce(&View<'_>) + std::marker::Send>;

/// Asks something of core and store, between two turns; nothing when the engine has stopped. What was posted before it
/// has been taken by then.
pub(crate) async fn ask<T: std::marker::Send + 'static>(
    jobs: &Sender<Job>,
    question: impl FnOnce(&View<'_>) -> T + std::marker::Send + 'static,
) -> Option<T> {
    let (out, answer) = oneshot::channel();
    // Who asked may have gone.
    jobs.send(Job::Query(Box::new(move |view| _ = out.send(question(view))))).ok()?;
    answer.await.ok()
}

/// What this organisation says about a covenant, a case or a message that waits for release.
#[derive(Debug)]
pub enum Say {
    /// It proposes this version.
    Propose(Arc<Compiled>),
    /// It gives its word about the version with this hash, for this reason.
    Word(Digest, Word, String),
    /// It decides this about a case, or begins one; under this version.
    Decide(CaseId, Option<Act>, Option<Digest>),
    /// A person in it decides this about a message that waits for release.
    Release(Release),
    /// It says that an own message is wrong, or withdraws it.
    Correct(Box<CorrectRequest>),
    /// It says again what was refused of corrections, of one message or of all.
    RetryCorrections(Option<MsgId>),
    /// It has the body at this position of the inbox erased.
    Erase(u64, Ground),
    /// It takes an own message back, for this reason.
    TakeBack(MsgId, String),
    /// Its application took the message at this position of the inbox over.
    Consume(u64),
    /// A person or application in it reads the message at this position of the inbox.
    Read(u64),
    /// A person in it decides about telling another that there are data about that other.
    Tell(Telling),
    /// It gives up its signing key for the next one; at once, or when what is sealed has its verdicts.
    Rotate {
        /// At once.
        urgent: bool,
    },
    /// A person in it accepts the log of this origin, which the broker's operator began by hand.
    AcceptOrigin(String),
}

impl Say {
    /// As an input of the core, with what it needs of the store; none for a message that is not there.
    pub(crate) fn input(self, token: u64, view: &View<'_>) -> Option<Input> {
        Some(match self {
            Self::TakeBack(about, reason) => {
                let position = view.core.find(&about).map(|(position, _)| position);
                let sent = position.and_then(|position| outbox_row(view.store, position)).map(Box::new);
                Input::TakeBack { token, about, reason, sent }
            }
            Self::Consume(position) => {
                let row = Box::new(inbox_row(view.store, position)?);
                Input::Consume { token, position, row }
            }
            Self::Read(position) => {
                let row = Box::new(inbox_row(view.store, position)?);
                let ports = view.vault.ports();
                // Opened once more only where it has to be known of whom it is.
                let body = ports.recording.and_then(|_| view.body(position).ok().flatten());
                let subjects = body.map(|body| view.core.subjects_in(&row, &body, ports));
                Input::Read { token, row, subjects: subjects.unwrap_or_default() }
            }
            Self::Correct(mut request) => {
                let position = view.core.find(&request.about).map(|(position, _)| position);
                let row = position.and_then(|position| outbox_row(view.store, position));
                request.sent = row.map(Box::new);
                Input::Correct { token, request }
            }
            Self::Erase(position, ground) => Input::Erase { token, position, ground },
            Self::RetryCorrections(about) => Input::RetryCorrections { token, about },
            Self::Propose(compiled) => Input::Propose { token, compiled },
            Self::Word(hash, word, reason) => Input::Speak { token, hash, word, reason },
            Self::Release(release) => Input::Release { token, release },
            Self::Decide(case, act, covenant) => Input::Decide { token, case, act, covenant },
            Self::Tell(telling) => Input::Tell { token, telling },
            Self::Rotate { urgent } => Input::Rotate { token, urgent },
            Self::AcceptOrigin(origin) => Input::AcceptOrigin { token, origin },
        })
    }
}

/// Work for the engine's thread.
pub(crate) enum Job {
    /// Something for the core.
    Input(Input),
    /// A packet from the broker, and the room it takes.
    Offer(Box<Offer>, OwnedSemaphorePermit),
    /// Something to say about a covenant or a case, and where the answer goes.
    Say(Say, oneshot::Sender<Result<(), Rejection>>),
    /// Log entries are wanted, and where they go.
    Fetch(FetchEntries, oneshot::Sender<Result<Box<Entries>, Unfetched>>),
    /// A push, and where its answer goes.
    Push(Box<PushRequest>, oneshot::Sender<Result<Pushed, Rejection>>),
    /// A session began; what is to be sent goes here.
    Connected(Box<Welcome>, async_mpsc::UnboundedSender<Send>),
    /// The session ended.
    Disconnected,
    /// A question.
    Query(Query),
    /// Tell when this message has its final state.
    Wait(MsgId, oneshot::Sender<Decided>),
    /// Tell everything that happens.
    Subscribe(async_mpsc::UnboundedSender<AgentEvent>),
    /// Stop after the current turn.
    Stop,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job(..)")
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Offer(offer, _) => offer.packet.len(),
            Self::Push(request, _) => request.body.len(),
            Self::Input(_)
            | Self::Say(..)
            | Self::Fetch(..)
            | Self::Connected(..)
            | Self::Disconnected
            | Self::Query(_)
            | Self::Wait(..)
            | Self::Subscribe(_)
            | Self::Stop => 0,
        }
    }
}

/// Core and store of one agent.
#[derive(Debug)]
pub struct Engine {
    core: Core,
    store: Box<dyn Store>,
    vault: Vault,
    room: Keeper,
}

impl Engine {
    /// Opens the journal in `dir` and restores the core from it. Nothing is kept free on its disk: see
    /// [`Engine::keep_free`].
    ///
    /// # Errors
    /// A sentence: the folder is in use, damaged, of another version, or locked with another key.
    pub fn open(dir: &Path, options: Options, settings: Settings, vault: Vault) -> Result<Self, Complaint> {
        let (store, _) = JournalStore::open(dir, options).map_err(|error| store_complaint(&error))?;
        Self::with_store(Box::new(store), settings, vault)
    }

    /// Restores the core from any store.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn with_store(store: Box<dyn Store>, settings: Settings, vault: Vault) -> Result<Self, Complaint> {
        let mut rows = Vec::new();
        for of in table::ALL.into_iter().filter(|of| *of != table::BODY) {
            let scanned = store.scan(of).map_err(|error| store_complaint(&error))?;
            rows.extend(scanned.into_iter().map(|(key, value)| (of, key, value)));
        }
        let borrowed = rows.iter().map(|(of, key, value)| (*of, key.as_slice(), value.as_slice()));
        let core = Core::restore(settings, borrowed).map_err(|error| restore_complaint(&error))?;
        if !core.store_key_fits(vault.ports()) {
            return Err(Complaint::usage(
                Text::new(
                    "De opslag is met een andere sleutel versleuteld dan keys/store.key.",
                    "The store was encrypted with another key than keys/store.key.",
                ),
                Text::new(
                    "Zet de sleutel terug die bij deze opslag hoort; met een andere gaan berichten verloren.",
                    "Put back the key that belongs to this store; with another one messages would be lost.",
                ),
            ));
        }
        let mut engine = Self { core, store, vault, room: Keeper::none() };
        engine.promote();
        Ok(engine)
    }

    /// With this room kept free on the disk.
    #[must_use]
    pub fn keep_free(self, room: Keeper) -> Self {
        Self { room, ..self }
    }

    /// Has a key at hand for this organisation to rotate to.
    ///
    /// # Errors
    /// As [`Vault::make_next`].
    pub fn make_next_key(&mut self) -> Result<(), Complaint> {
        self.vault.make_next()
    }

    /// Puts the next key in the place of the signing key once the log says that it took it. What signs is chosen
    /// by the core all the same, so that a failure costs nothing; the next start tries again.
    fn promote(&mut self) {
        let next = self.vault.next().map(SigningKey::public);
        if next.is_some_and(|next| self.core.succeeds(&self.vault.signer().public(), &next))
            && let Err(complaint) = self.vault.promote()
        {
            tracing::error!(%complaint, "the new signing key stays beside the old one");
        }
    }

    /// What there is to see between two turns.
    pub fn view(&self) -> View<'_> {
        View { core: &self.core, store: self.store.as_ref(), vault: &self.vault, room: self.room.standing() }
    }

    /// Takes inputs as one turn and makes it durable. Everything in the result is true from now on.
    ///
    /// # Errors
    /// The store's; nothing of the turn may then be told to anybody.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Result<Turn, StoreError> {
        let (at, mut turn) = (now(), Turn::default());
        let room = self.room.look().map(|scarce| Input::Room { scarce });
        for input in room.into_iter().chain(inputs) {
            self.core.handle(input, at, self.vault.ports(), &mut turn);
        }
        self.core.finish(at, self.vault.ports(), &mut turn);
        self.vault.end_turn();
        if !turn.is_read_only() {
            self.store.commit(durable(&turn))?;
        }
        if turn.events.iter().any(|event| matches!(event, Event::KeyRotated(_))) {
            self.promote();
        }
        Ok(turn)
    }

    /// Overwrites what was erased, in one go; what follows from that is durable when this returns. For who has
    /// nothing else to do: a running agent does it in steps.
    ///
    /// # Errors
    /// The store's.
    pub fn overwrite(&mut self) -> Result<(), StoreError> {
        let Some(ticket) = self.core.to_overwrite() else { return Ok(()) };
        self.store.erase()?;
        self.step([Input::Overwritten(ticket)]).map(|_| ())
    }

    /// Closes the store in an orderly way.
    ///
    /// # Errors
    /// The store's.
    pub fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }
}

/// The part of a turn that the store keeps.
fn durable(turn: &Turn) -> seinhuis_journal::Turn {
    seinhuis_journal::Turn {
        rows: turn
            .writes
            .iter()
            .map(Write::row)
            .map(|row| RowChange { table: row.table, key: row.key, value: row.value })
            .collect(),
        blobs: turn.blobs.iter().map(|(digest, bytes)| (BlobId::from(digest.0), bytes.to_vec())).collect(),
        drops: turn.drops.iter().map(|digest| BlobId::from(digest.0)).collect(),
    }
}

/// What a failing store means for whoever runs the agent.
pub fn store_complaint(error: &StoreError) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De opslag van de agent: {}", error.dutch()),
            format!("The agent's store: {error}"),
        ),
        Text::new(
            "Wat bevestigd was, is bewaard. Herstel de oorzaak en start de agent opnieuw.",
            "What was confirmed is kept. Repair the cause and start the agent again.",
        ),
    )
}

fn restore_complaint(error: &RestoreError) -> Complaint {
    Complaint::usage(
        Text::new(format!("De opslag van de agent: {error}"), format!("The agent's store: {error}")),
        Text::new(
            "Gebruik de versie die de opslag maakte, of zet een reservekopie terug.",
            "Use the version that made the store, or restore a backup.",
        ),
    )
}

/// The engine's thread and the way to it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) jobs: Sender<Job>,
    pub(crate) thread: JoinHandle<Result<(), StoreError>>,
}

/// Puts an engine on its own thread. `stopped` is told when it ends by itself.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn spawn(
    engine: Engine,
    stopped: oneshot::Sender<Option<Complaint>>,
) -> Result<Running, Complaint> {
    let (jobs, inbox) = mpsc::channel();
    let thread = thread::Builder::new().name("agent-engine".into()).spawn(move || {
        let mut worker = Worker::new(engine);
        let result = worker.run(&inbox);
        let complaint = result.as_ref().err().map(store_complaint);
        if let Some(complaint) = &complaint {
            tracing::error!(%complaint, "the agent stops: nothing more is taken in or acknowledged");
        }
        // Nobody listens any more when the handle was dropped.
        _ = stopped.send(complaint);
        result?;
        worker.engine.close()
    });
    let thread = thread
        .map_err(|error| Complaint::bug(format!("the system gives no thread for the engine: {error}")))?;
    Ok(Running { jobs, thread })
}

/// Figures of the store, and the outcome of asking for them.
pub(crate) fn stats(view: &View<'_>) -> Stats {
    view.store.stats()
}

#[cfg(test)]
mod erasure_tests;

#[cfg(test)]
pub(crate) mod tests {
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};

    use seinhuis_journal::MemoryStore;
    use seinhuis_shared::cbor::Bytes;
    use seinhuis_shared::ids::MsgId;
    use seinhuis_shared::receipt::LogKey;
    use seinhuis_shared::tlog::note::{ED25519, KeyText};

    use super::*;

    fn vault(fill: u8) -> Vault {
        Vault::new(&[fill; 32], SigningKey::from_seed(&[1; 32])).unwrap()
    }

    fn settings() -> Settings {
        let bytes = SigningKey::from_seed(&[2; 32]).public().to_bytes();
        let text = KeyText::new("broker.example/log", ED25519, &bytes).unwrap();
        let log = LogKey { origin: "broker.example/log".into(), key: text.to_string().parse().unwrap() };
        Settings { oin: "00000099000000001000".parse().unwrap(), log }
    }

    /// An engine with an empty store.
    pub(super) fn idle() -> Engine {
        Engine::with_store(Box::new(MemoryStore::new()), settings(), vault(1)).unwrap()
    }

    /// The same on its thread.
    pub(crate) fn running() -> (Running, oneshot::Receiver<Option<Complaint>>) {
        let (stopped, ended) = oneshot::channel();
        (spawn(idle(), stopped).unwrap(), ended)
    }

    fn request() -> PushRequest {
        PushRequest::new(MsgId([1; 16]), "F01", vec![], vec![])
    }

    #[tokio::test]
    async fn a_failing_disk_stops_the_agent_and_answers_nobody() {
        let mut store = MemoryStore::new();
        store.fail_from_now_on("no space left");
        let engine = Engine::with_store(Box::new(store.clone()), settings(), vault(1)).unwrap();
        let (stopped, ended) = oneshot::channel();
        let running = spawn(engine, stopped).unwrap();
        let (answer, answered) = oneshot::channel();
        running.jobs.send(Job::Push(Box::new(request()), answer)).unwrap();
        assert!(answered.await.is_err(), "not even a rejection: the turn was not durable");
        let complaint = ended.await.unwrap().unwrap();
        assert!(complaint.what.en.contains("no space left"), "{complaint}");
        assert!(running.thread.join().unwrap().is_err());
        assert_eq!(store.stats().turns, 0);
    }

    fn offer(bytes: usize) -> Offer {
        Offer { packet: Bytes(vec![0; bytes]), receipt: Bytes::default() }
    }

    #[tokio::test]
    async fn offers_wait_at_the_door_until_a_turn_is_over() {
        let room = Room::new();
        let half = ROOM_KIB * 1024 / 2;
        let mut jobs = vec![];
        for _ in 0..2 {
            jobs.push(room.admit(offer(half - 1).into()).await.unwrap());
        }
        let mut third = Box::pin(room.admit(offer(half - 1).into()));
        let mut noop = Context::from_waker(Waker::noop());
        assert!(third.as_mut().poll(&mut noop).is_pending(), "a third has to wait");
        let (running, _ended) = running();
        for job in jobs {
            running.jobs.send(job).unwrap();
        }
        let third = third.await.unwrap();
        // Larger than all room there is: it gets all of it, instead of waiting for ever.
        drop(third);
        let huge = room.admit(offer(ROOM_KIB * 1024 * 2).into()).await.unwrap();
        assert_eq!(room.0.available_permits(), 0);
        running.jobs.send(huge).unwrap();
        running.jobs.send(Job::Stop).unwrap();
        running.thread.join().unwrap().unwrap();
        assert_eq!(room.0.available_permits(), ROOM_KIB, "all is given back");
    }

    #[test]
    fn the_room_is_held_until_the_turn_is_durable() {
        let room = Room::new();
        let mut admitted = Box::pin(room.admit(offer(2047).into()));
        let Poll::Ready(Some(job)) = admitted.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("there is room");
        };
        let (_jobs, inbox) = mpsc::channel();
        let batch = Worker::new(idle()).gather(Some(job), &inbox);
        assert_eq!((batch.inputs.len(), room.0.available_permits()), (1, ROOM_KIB - 2));
        drop(batch);
        assert_eq!(room.0.available_permits(), ROOM_KIB);
    }

    #[test]
    fn a_store_of_another_key_is_not_opened() {
        let store = MemoryStore::new();
        let mut engine = Engine::with_store(Box::new(store.clone()), settings(), vault(1)).unwrap();
        engine.step([Input::Tick]).unwrap();
        assert!(Engine::with_store(Box::new(store.clone()), settings(), vault(1)).is_ok());
        let error = Engine::with_store(Box::new(store), settings(), vault(2)).unwrap_err();
        assert!(error.what.en.contains("store.key"), "{error}");
    }

    #[test]
    fn a_turn_without_changes_costs_no_flush() {
        let store = MemoryStore::new();
        let mut engine = Engine::with_store(Box::new(store.clone()), settings(), vault(1)).unwrap();
        engine.step([Input::Tick]).unwrap();
        let turns = store.stats().turns;
        engine.step([Input::Tick]).unwrap();
        engine.step([Input::Disconnected]).unwrap();
        assert_eq!(store.stats().turns, turns);
    }
}
