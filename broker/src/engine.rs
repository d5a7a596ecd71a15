//! The engine: one thread that owns core and store.
//!
//! Inputs queue up while a flush runs and share the next turn, so that one flush serves many packets. They stand in
//! a line for each partner, and each line has its fair turn ([`Fair`]): who brings much waits for itself alone.
//! The order within a turn is the promise itself: decide, sign the head, make durable, send.

mod outlet;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use seinhuis_broker_core::{
    Answer, CommandId, ConnId, Contradiction, Core, Directory, Fair, Grant, Input, LaneId, RequestId, Sealed,
    Send, Turn, Watch, work,
};
use seinhuis_journal::{Stats, Store, StoreError};
use seinhuis_monitor::{BATCH_ENTRIES, Distribution, FLUSH_MILLIS};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::limits::FRAME_MAX;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shell::pace::Pace;
use seinhuis_shell::room::{Keeper, Standing};
use seinhuis_shell::{clock, keys};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::backup::{LogPoint, Point};
use crate::logs::Logs;
use crate::store;

pub use outlet::{Inlet, Outlet, Over, outlet};

/// Most inputs that share a turn.
const TURN_INPUTS: usize = 1024;
/// Most bytes of packets that share a turn.
const TURN_BYTES: usize = 16 * FRAME_MAX;
/// Log entries after which a turn takes no more inputs: what one acknowledgement leads to is many.
const TURN_ENTRIES: usize = 8192;
/// How long a turn takes inputs: who comes while it lasts waits for its end.
const TURN_TIME: Duration = Duration::from_millis(20);
/// How far apart turns start at most, while there is something to do: see [`Pace`].
const TURNS_APART: Duration = Duration::from_millis(4);
/// Most inputs of one partner, over all its connections, and of the broker itself that wait for a turn; who brings
/// more waits itself.
const PLACES: usize = TURN_INPUTS;

/// Where answers go, handed over with the input that first names the receiver.
#[derive(Debug)]
pub enum Attach {
    /// A connection's tasks.
    Conn(ConnId, Outlet),
    /// A lane's writer; bounded by the number of submissions its connection lets in.
    Lane(LaneId, mpsc::UnboundedSender<Send>),
    /// A lane that is gone.
    LaneClosed(LaneId),
    /// A request's stream.
    Request(RequestId, oneshot::Sender<Send>),
    /// Who asks witnesses that are no party; bounded by their number: each is asked one thing at a time.
    Outside(mpsc::UnboundedSender<Send>),
    /// Who copies what is committed.
    Still(oneshot::Sender<Result<Point, StoreError>>),
    /// Who has everything overwritten that was dropped by now; told when it is.
    Mend(oneshot::Sender<()>),
    /// A command's caller.
    Command(CommandId, oneshot::Sender<Result<Answer, Refusal>>),
}

/// Who brings inputs: a partner, over all its connections, or the broker itself. Each has a line of its own.
#[derive(Debug, Clone)]
pub struct Bringer {
    who: Option<Oin>,
    places: Arc<Semaphore>,
}

impl Bringer {
    /// A partner; nobody for the broker itself.
    pub fn new(who: Option<Oin>) -> Self {
        Self { who, places: Arc::new(Semaphore::new(PLACES)) }
    }
}

/// One thing for the engine to do.
#[derive(Debug)]
struct Job {
    /// In whose line it stands.
    who: Option<Oin>,
    /// Who gets the answers.
    attach: Option<Attach>,
    /// What happened.
    input: Option<Input>,
    /// Bytes the input brings, for the bound on a turn.
    bytes: usize,
    /// Memory the input takes up; given back once its turn is durable.
    memory: Vec<OwnedSemaphorePermit>,
    /// Its place in the line; given back once its turn has begun.
    _place: OwnedSemaphorePermit,
}

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed; nothing was accepted after that.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's head could not be signed.
    #[error("the log's head cannot be signed: {0}")]
    Sign(String),
    /// A witness saw another history of this log; nothing was kept of the turn in which it said so.
    #[error("witness {} contradicts this log: {}", .0.witness, .0.claim)]
    Contradicted(Box<Contradiction>),
}

impl EngineError {
    /// The same in Dutch, for the operator.
    pub fn dutch(&self) -> String {
        match self {
            Self::Store(error) => error.dutch(),
            Self::Sign(fault) => format!("het controlepunt van het log kan niet worden ondertekend: {fault}"),
            Self::Contradicted(one) => {
                format!("getuige {} spreekt dit log tegen: {}", one.witness, one.claim)
            }
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Turns made durable.
    pub turns: u64,
    /// Inputs handled.
    pub inputs: u64,
    /// Store figures as of the last turn with a command in it: they cost too much to keep up otherwise.
    pub store: Stats,
    /// Room on the disk as of the last turn.
    pub room: Standing,
    /// How long each turn took to become durable, by [`FLUSH_MILLIS`].
    pub flush: Distribution,
    /// How many log entries each of them had, by [`BATCH_ENTRIES`].
    pub batch: Distribution,
}

/// A handle on the running engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Unbounded in type; every job has one of its bringer's places.
    jobs: mpsc::UnboundedSender<Job>,
    own: Bringer,
    directory: Arc<RwLock<Arc<Directory>>>,
    grants: Arc<RwLock<Arc<Vec<Grant>>>>,
    counts: Arc<RwLock<Counts>>,
    watch: watch::Receiver<Arc<Watch>>,
}

impl Engine {
    /// Starts the thread. It ends when every handle is gone, or on the first failure of the store.
    pub fn start(
        core: Core,
        store: Box<dyn Store>,
        logs: Logs,
        room: Keeper,
    ) -> (Self, JoinHandle<Result<(), EngineError>>) {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let directory = Arc::new(RwLock::new(core.directory()));
        let grants = Arc::new(RwLock::new(Arc::new(core.grants().to_vec())));
        let counts = Arc::new(RwLock::new(Counts { store: store.stats(), ..Counts::default() }));
        let (watching, watch) = watch::channel(Arc::new(core.witness_watch(clock::now())));
        let worker = Worker {
            watching,
            core,
            store,
            logs,
            room,
            signer: None,
            outs: Outs::default(),
            directory: Arc::clone(&directory),
            grants: Arc::clone(&grants),
            counts: Arc::clone(&counts),
            asked: false,
            mending: None,
            told_year: false,
        };
        let thread = thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run(Lines { inbox, fair: Fair::default() }))
            .unwrap_or_else(|_| thread::spawn(|| Err(EngineError::Sign("no thread can be started".into()))));
        (Self { jobs, own: Bringer::new(None), directory, grants, counts, watch }, thread)
    }

    /// Brings an input of the broker itself, as [`Self::bring_for`].
    pub async fn bring(&self, attach: Option<Attach>, input: Option<Input>) -> bool {
        self.bring_for(&self.own, attach, input, 0, Vec::new()).await
    }

    /// Brings an input, with the memory it takes up, which is given back once it is durable; waits while too many of
    /// the same bringer wait. `false` once the engine has stopped.
    pub async fn bring_for(
        &self,
        by: &Bringer,
        attach: Option<Attach>,
        input: Option<Input>,
        bytes: usize,
        memory: Vec<OwnedSemaphorePermit>,
    ) -> bool {
        let Ok(place) = Arc::clone(&by.places).acquire_owned().await else { return false };
        self.jobs.send(Job { who: by.who, attach, input, bytes, memory, _place: place }).is_ok()
    }

    /// Partners and covenants as of the last turn.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Who may read entries over HTTP, as of the last turn.
    pub fn grants(&self) -> Arc<Vec<Grant>> {
        Arc::clone(&self.grants.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Counts as of the last turn.
    pub fn counts(&self) -> Counts {
        *self.counts.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The witnesses as of the last turn that changed something about them; tells when that happens.
    pub fn watch(&self) -> watch::Receiver<Arc<Watch>> {
        self.watch.clone()
    }

    /// Resolves once the engine has stopped.
    pub async fn stopped(&self) {
        self.jobs.closed().await;
    }
}

/// What waits for a turn, in a line for each who brings.
struct Lines {
    inbox: mpsc::UnboundedReceiver<Job>,
    fair: Fair<Option<Oin>, Job>,
}

impl Lines {
    /// Waits until there is something to do; `false` when there never will be.
    fn wait(&mut self) -> bool {
        if self.fair.is_empty() {
            match self.inbox.blocking_recv() {
                Some(job) => self.stand(job),
                None => return false,
            }
        }
        true
    }

    /// The next job of whoever's turn it is, of all that are there by now.
    fn next(&mut self) -> Option<Job> {
        while let Ok(job) = self.inbox.try_recv() {
            self.stand(job);
        }
        self.fair.pop()
    }

    fn stand(&mut self, job: Job) {
        let cost = job.input.as_ref().map_or(1, |input| work(input, job.bytes));
        self.fair.push(job.who, cost, job);
    }
}

#[derive(Debug, Default)]
struct Outs {
    conns: BTreeMap<ConnId, Outlet>,
    lanes: BTreeMap<LaneId, mpsc::UnboundedSender<Send>>,
    requests: BTreeMap<RequestId, oneshot::Sender<Send>>,
    outside: Option<mpsc::UnboundedSender<Send>>,
    commands: BTreeMap<CommandId, oneshot::Sender<Result<Answer, Refusal>>>,
}

impl Outs {
    /// Hands a send to whoever it is for. A receiver that is gone has lost nothing: what it would have
    /// got is durable and is asked for again.
    fn dispatch(&mut self, send: Send) {
        let delivered = match send {
            Send::Close { conn, .. } => self.conns.remove(&conn).is_some_and(|out| out.send(send)),
            Send::Welcome { conn, .. }
            | Send::Offer { conn, .. }
            | Send::Agreements { conn, .. }
            | Send::Cases { conn, .. }
            | Send::Notices { conn, .. }
            | Send::AddCheckpoint { conn, .. }
            | Send::Witnessed { conn, .. }
            | Send::Refuse { conn, request: None, .. } => {
                let delivered = self.conns.get(&conn).is_some_and(|out| out.send(send));
                if !delivered {
                    self.conns.remove(&conn);
                }
                delivered
            }
            Send::Verdict { lane, .. } | Send::Deferred { lane, .. } => {
                self.lanes.get(&lane).is_some_and(|out| out.send(send).is_ok())
            }
            Send::Refuse { request: Some(request), .. }
            | Send::Done { request, .. }
            | Send::Prekeys { request, .. }
            | Send::Covenant { request, .. }
            | Send::Case { request, .. }
            | Send::Rotations { request, .. }
            | Send::Entries { request, .. }
            | Send::Succession { request, .. }
            | Send::Consistency { request, .. } => {
                self.requests.remove(&request).is_some_and(|out| out.send(send).is_ok())
            }
            Send::AskOutside { .. } => self.outside.as_ref().is_some_and(|out| out.send(send).is_ok()),
            Send::Answer { id, answer } => {
                self.commands.remove(&id).is_some_and(|out| out.send(answer).is_ok())
            }
        };
        if !delivered {
            tracing::debug!("a receiver was gone");
        }
    }
}

struct Worker {
    watching: watch::Sender<Arc<Watch>>,
    core: Core,
    store: Box<dyn Store>,
    logs: Logs,
    room: Keeper,
    /// The key of the log that was signed last.
    signer: Option<(SigningKey, LogKey)>,
    outs: Outs,
    directory: Arc<RwLock<Arc<Directory>>>,
    grants: Arc<RwLock<Arc<Vec<Grant>>>>,
    counts: Arc<RwLock<Counts>>,
    /// Whether somebody is about to look at the counts.
    asked: bool,
    /// Who waits for what was dropped to be overwritten.
    mending: Option<oneshot::Sender<()>>,
    /// Whether it was told that the clock is more than a year past the log's.
    told_year: bool,
}

impl Worker {
    fn run(mut self, mut lines: Lines) -> Result<(), EngineError> {
        let mut pace = Pace::new(TURNS_APART);
        self.succeed()?;
        while lines.wait() {
            let started = pace.begin();
            let mut turn = Turn::new(keys::random());
            let (mut inputs, mut bytes) = (0, 0);
            let mut held = Vec::new();
            self.look(&mut turn);
            let full = |inputs, bytes, turn: &Turn| {
                inputs >= TURN_INPUTS
                    || bytes >= TURN_BYTES
                    || turn.entry_count() >= TURN_ENTRIES
                    || (inputs > 0 && started.elapsed() >= TURN_TIME)
            };
            while !full(inputs, bytes, &turn) {
                let Some(mut job) = lines.next() else { break };
                inputs += 1;
                held.append(&mut job.memory);
                bytes += job.bytes;
                self.take(job, &mut turn);
            }
            if self.finish(turn, u64::try_from(inputs).unwrap_or(u64::MAX))? {
                pace.over(started);
            }
            self.succeed()?;
            self.mend()?;
            drop(held);
        }
        self.store.close()?;
        Ok(())
    }

    /// Before each turn, and so before each file of the journal that it begins: how much room the disk has.
    fn look(&mut self, turn: &mut Turn) {
        if let Some(scarce) = self.room.look() {
            self.core.handle(Input::Room { scarce }, clock::now(), turn);
        }
    }

    fn attach(&mut self, attach: Attach) {
        let outs = &mut self.outs;
        match attach {
            Attach::Conn(id, out) => drop(outs.conns.insert(id, out)),
            Attach::Lane(id, out) => drop(outs.lanes.insert(id, out)),
            Attach::LaneClosed(id) => drop(outs.lanes.remove(&id)),
            Attach::Request(id, out) => drop(outs.requests.insert(id, out)),
            Attach::Outside(out) => drop(outs.outside.replace(out)),
            // Who asked may be gone.
            Attach::Still(out) => _ = out.send(self.point()),
            Attach::Mend(out) => self.mending = Some(out),
            Attach::Command(id, out) => drop(outs.commands.insert(id, out)),
        }
    }

    fn take(&mut self, job: Job, turn: &mut Turn) {
        if let Some(Input::Disconnected { conn }) = &job.input {
            self.outs.conns.remove(conn);
        }
        self.asked |= matches!(&job.input, Some(Input::Operator { .. }));
        if let Some(attach) = job.attach {
            self.attach(attach);
        }
        if let Some(input) = job.input {
            self.core.handle(input, clock::now(), turn);
        }
    }

    /// What is committed: store and logs are those of the last turn, whatever the next one has taken in by now.
    fn point(&self) -> Result<Point, StoreError> {
        let logs = self.logs.all().into_iter().map(|one| LogPoint {
            size: one.log.size(),
            note: one.log.note(),
            dir: one.log.dir().to_path_buf(),
            origin: one.origin,
            folder: one.folder,
            closed: one.closed,
        });
        Ok(Point { store: self.store.snapshot()?, logs: logs.collect() })
    }

    /// Overwrites on, for as long as a turn may take, when somebody waits for that.
    fn mend(&mut self) -> Result<(), EngineError> {
        let begun = Instant::now();
        while self.mending.is_some() && begun.elapsed() < TURN_TIME {
            if !self.store.erase_step()?
                && let Some(out) = self.mending.take()
            {
                // Who waited may be gone.
                _ = out.send(());
            }
        }
        Ok(())
    }

    /// Ends the log and begins the next, when that is due: before anything else is taken.
    fn succeed(&mut self) -> Result<(), EngineError> {
        let refused = self.core.year_refused();
        if refused && !self.told_year {
            tracing::error!(
                origin = self.core.origin(),
                "the clock is more than a year past the log's: no new log is begun by itself; set the clock (NTP), or give `seinhuis-broker log roll-over`"
            );
        }
        self.told_year = refused;
        while self.core.succession_due() {
            let mut turn = Turn::new(keys::random());
            if !self.core.succession(clock::now(), &mut turn) {
                break;
            }
            self.finish(turn, 0)?;
            tracing::info!(origin = self.core.origin(), "the log");
        }
        Ok(())
    }

    /// Makes a turn durable and lets out what it says. Tells whether there was anything to make durable.
    fn finish(&mut self, mut turn: Turn, inputs: u64) -> Result<bool, EngineError> {
        if let Some(contradiction) = self.core.contradiction() {
            return Err(EngineError::Contradicted(Box::new(contradiction.clone())));
        }
        if turn.is_empty() {
            self.show_watch();
            // Nothing but time has passed: room for the store's housekeeping.
            self.store.tidy()?;
            return Ok(false);
        }
        let sealed = self.core.seal(&mut turn);
        let note = self.sign(&sealed)?;
        let writes = self.core.sign(&mut turn, &sealed, &note);
        let flushed = if writes.is_empty() {
            None
        } else {
            let begun = Instant::now();
            self.store.commit(store::turn(writes))?;
            Some(begun.elapsed())
        };
        // After this line a crash is harmless.
        self.logs.append(&sealed, &note);
        if turn.directory_changed() {
            *self.directory.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
                self.core.directory();
            *self.grants.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
                Arc::new(self.core.grants().to_vec());
        }
        for origin in self.core.take_finals() {
            let rows: Vec<_> = self.core.witness_history(&origin).into_iter().map(|(_, row)| row).collect();
            self.logs.cosigned(&origin, &rows);
        }
        let sends = self.core.committed(turn, &sealed, &note);
        self.show_watch();
        self.count(inputs, flushed, sealed.entries().len());
        for send in sends {
            self.outs.dispatch(send);
        }
        Ok(flushed.is_some())
    }

    /// Shows how the witnesses stand, when that changed; what is shown is durable.
    fn show_watch(&mut self) {
        if self.core.take_watch_change() {
            self.watching.send_replace(Arc::new(self.core.witness_watch(clock::now())));
        }
    }

    /// Brings the counts up to date, before the answer to whoever asked goes out.
    fn count(&mut self, inputs: u64, flushed: Option<Duration>, entries: usize) {
        let mut counts = self.counts.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(took) = flushed {
            counts.turns += 1;
            counts.flush.count(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), FLUSH_MILLIS);
            counts.batch.count(u64::try_from(entries).unwrap_or(u64::MAX), BATCH_ENTRIES);
        }
        counts.inputs += inputs;
        counts.room = self.room.standing();
        if std::mem::take(&mut self.asked) {
            counts.store = self.store.stats();
        }
    }

    fn sign(&mut self, sealed: &Sealed) -> Result<Vec<u8>, EngineError> {
        if !sealed.has_entries() {
            return Ok(Vec::new());
        }
        if self.signer.as_ref().is_none_or(|(_, log)| log.origin != sealed.origin()) {
            let signer = self.logs.key(sealed.origin());
            self.signer = Some(signer.map_err(|complaint| EngineError::Sign(complaint.what.en))?);
        }
        let Some((secret, log)) = &self.signer else { return Ok(Vec::new()) };
        let note = Checkpoint::new(&log.origin, sealed.size(), sealed.root())
            .and_then(|checkpoint| checkpoint.sign_with(&log.key, |bytes| secret.sign(bytes)))
            .map_err(|error| EngineError::Sign(error.to_string()))?;
        Ok(note.to_string().into_bytes())
    }
}
