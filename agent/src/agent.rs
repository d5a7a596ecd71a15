//! A running agent: engine thread, link to the broker, and the handle to both. Any number can run in one
//! process; nothing is global.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use seinhuis_agent_core::{Input, PushRequest, Pushed, Rejection, Status, Unfetched};
use seinhuis_journal::{Stats, StoreError};
use seinhuis_shared::ids::{CaseId, MsgId, Oin};
use seinhuis_shared::wire::{Entries, FetchEntries};
use seinhuis_shell::clock::now;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::renewal::{Live, Renewer, Report};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::commands::request::{Request, respond};
use crate::engine::{self, AgentEvent, Decided, Engine, Job, Say, View};
use crate::home::Home;
use crate::ldv::Teller;
use crate::link::{self, LinkStatus, SharedStatus};
use crate::ways::Ways;

/// What to start.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The agent's folder, as made by `init` and `enrol`.
    pub home: PathBuf,
    /// Whether to connect to the broker; without, everything waits in the outbox.
    pub connect: bool,
}

impl AgentOptions {
    /// An agent that connects.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), connect: true }
    }
}

/// Why a push, or a word about a covenant, came to nothing.
#[derive(Debug)]
pub enum PushError {
    /// It is not allowed; nothing was stored.
    Rejected(Rejection),
    /// The agent has stopped; whether it was stored is unknown. A push may be made again with the same id.
    Stopped,
}

/// Starts agents.
#[derive(Debug)]
pub struct Agent;

impl Agent {
    /// Opens the folder, restores what it holds, and starts working. Needs a tokio runtime.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn start(options: &AgentOptions) -> Result<AgentHandle, Complaint> {
        let home = Home::new(&options.home);
        let config = home.load_config()?;
        let vault = home.vault()?;
        let key = vault.signer().public();
        let teller =
            if config.ldv.is_on() { Some(Teller::new(config.oin, config.ldv.clone())?) } else { None };
        let engine = Engine::open(&home.store(), config.store.options(), home.settings()?, vault)?
            .keep_free(config.store.keeper(&home.store()));
        let (stopped, ended) = oneshot::channel();
        let running = engine::spawn(engine, stopped)?;
        let jobs = running.jobs;
        let link_status = SharedStatus::default();
        let (stop, stopping) = watch::channel(false);
        let handle = AgentHandle {
            inner: Arc::new(Inner {
                home: home.clone(),
                oin: config.oin,
                signing_key: key.to_bytes(),
                jobs: jobs.clone(),
                stop,
                link_status: link_status.clone(),
                renewing: Live::default(),
                thread: Mutex::new(Some(running.thread)),
                link: Mutex::new(None),
                teller: Mutex::new(None),
                ways: Mutex::new(None),
                ended: Mutex::new(Some(ended)),
            }),
        };
        *handle.inner.ways.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Ways::start(&handle, &config, &stopping)?);
        // The first tick makes the prekeys, so that they are there before the first session.
        handle.post(Job::Input(Input::Tick));
        if let Some(teller) = teller {
            let task = tokio::spawn(teller.run(jobs.clone(), stopping.clone()));
            *handle.inner.teller.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
        if options.connect {
            let (renewed, renewals) = watch::channel(0);
            if config.renewal.is_on() {
                let renewer =
                    Renewer::new(home.renewal(), &config.renewal, handle.inner.renewing.clone(), renewed)?;
                tokio::spawn(renewer.run(stopping.clone()));
            }
            let task = tokio::spawn(link::run(home, jobs, link_status, renewals, stopping));
            *handle.inner.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
        Ok(handle)
    }
}

#[derive(Debug)]
struct Inner {
    home: Home,
    oin: Oin,
    signing_key: [u8; 32],
    jobs: Sender<Job>,
    stop: watch::Sender<bool>,
    link_status: SharedStatus,
    renewing: Live,
    thread: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
    link: Mutex<Option<tokio::task::JoinHandle<()>>>,
    teller: Mutex<Option<tokio::task::JoinHandle<()>>>,
    ways: Mutex<Option<Ways>>,
    ended: Mutex<Option<oneshot::Receiver<Option<Complaint>>>>,
}

/// A running agent. Clones are the same agent; it runs until [`AgentHandle::shutdown`].
#[derive(Debug, Clone)]
pub struct AgentHandle {
    inner: Arc<Inner>,
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The agent stopped before it could answer.
pub fn stopped() -> Complaint {
    Complaint::usage(
        Text::new("De agent is gestopt.", "The agent has stopped."),
        Text::new(
            "Bekijk zijn log, herstel de oorzaak en start hem opnieuw; wat bevestigd was, is bewaard.",
            "See its log, repair the cause and start it again; what was confirmed is kept.",
        ),
    )
}

impl AgentHandle {
    fn post(&self, job: Job) {
        // An engine that has ended answers nobody; each caller notices by its dropped channel.
        _ = self.inner.jobs.send(job);
    }

    /// The agent's folder.
    pub fn home(&self) -> &Home {
        &self.inner.home
    }

    /// The organisation.
    pub fn oin(&self) -> Oin {
        self.inner.oin
    }

    /// The public signing key, as covenants name it.
    pub fn signing_key(&self) -> [u8; 32] {
        self.inner.signing_key
    }

    /// Does what a command would ask of the running agent; the answer is the one of `--json`.
    ///
    /// # Errors
    /// As the command's.
    pub async fn ask(&self, request: Request) -> Result<Value, Complaint> {
        respond(self, request).await
    }

    /// The id of the message that `way` calls `name`, so that handing it over again is the same push.
    ///
    /// # Errors
    /// When the agent has stopped.
    pub async fn msg_id(&self, way: &str, name: &[u8]) -> Result<MsgId, Complaint> {
        let (way, name) = (way.to_owned(), name.to_vec());
        self.query(move |view| view.vault.msg_id(&way, &name)).await
    }

    /// Hands over a body. When this returns `Ok`, it is on stable storage and will be delivered, refused
    /// with a receipt, or expire; the same request again changes nothing.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, request: PushRequest) -> Result<Pushed, PushError> {
        match self.begin_push(request).await {
            Ok(Ok(pushed)) => Ok(pushed),
            Ok(Err(rejection)) => Err(PushError::Rejected(rejection)),
            Err(_) => Err(PushError::Stopped),
        }
    }

    /// As [`AgentHandle::push`], without waiting: pushes begun one after the other are in that order, and those that wait
    /// together are made durable together. The channel closes when the agent has stopped.
    pub(crate) fn begin_push(&self, request: PushRequest) -> oneshot::Receiver<Result<Pushed, Rejection>> {
        let (answer, answered) = oneshot::channel();
        self.post(Job::Push(Box::new(request), answer));
        answered
    }

    /// Waits until a message has its final state; `None` when the agent stops first.
    pub async fn wait_done(&self, msg_id: MsgId) -> Option<Decided> {
        let (answer, answered) = oneshot::channel();
        self.post(Job::Wait(msg_id, answer));
        answered.await.ok()
    }

    /// Everything that happens from now on, each with the moment at which it was durable.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<AgentEvent> {
        let (listener, events) = mpsc::unbounded_channel();
        self.post(Job::Subscribe(listener));
        events
    }

    /// Asks something of core and store, between two turns.
    ///
    /// # Errors
    /// When the agent has stopped.
    pub async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Complaint> {
        engine::ask(&self.inner.jobs, question).await.ok_or_else(stopped)
    }

    /// How the agent is doing.
    ///
    /// # Errors
    /// When it has stopped.
    pub async fn status(&self) -> Result<Status, Complaint> {
        self.query(|view| view.core.status(now())).await
    }

    /// The address of the local API; none when it has none, or the agent has stopped.
    pub fn api_address(&self) -> Option<SocketAddr> {
        let ways = self.inner.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.as_ref().and_then(|ways| ways.address)
    }

    /// How the ways in and out besides the command line are doing; nothing when the agent has stopped.
    pub(crate) fn ways(&self) -> Value {
        let ways = self.inner.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.as_ref().map_or_else(|| Value::Array(vec![]), |ways| ways.standings.to_json())
    }

    /// The address of the page for people; none when there is none, or the agent has stopped.
    pub fn page_address(&self) -> Option<SocketAddr> {
        let ways = self.inner.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.as_ref().and_then(|ways| ways.page)
    }

    /// How the connection is doing.
    pub fn link(&self) -> LinkStatus {
        self.inner.link_status.get()
    }

    /// How the renewing of the certificate goes.
    pub fn renewing(&self) -> Report {
        self.inner.renewing.get()
    }

    /// Figures of the store: turns, flushes, bytes.
    ///
    /// # Errors
    /// When the agent has stopped.
    pub async fn stats(&self) -> Result<Stats, Complaint> {
        self.query(engine::stats).await
    }

    /// Proposes a covenant, gives this organisation's word about one, or decides about a case. When this returns `Ok`, it is on stable
    /// storage and is said as soon as there is a session with the broker.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn say(&self, say: Say) -> Result<(), PushError> {
        let (answer, answered) = oneshot::channel();
        self.post(Job::Say(say, answer));
        match answered.await {
            Ok(result) => result.map_err(PushError::Rejected),
            Err(_) => Err(PushError::Stopped),
        }
    }

    /// Asks the broker for log entries this organisation is party to; each is proved.
    ///
    /// # Errors
    /// [`Unfetched`]; [`Unfetched::NotConnected`] also when the session ends meanwhile.
    pub async fn fetch(&self, ask: FetchEntries) -> Result<Box<Entries>, Unfetched> {
        let (answer, answered) = oneshot::channel();
        self.post(Job::Fetch(ask, answer));
        answered.await.unwrap_or(Err(Unfetched::NotConnected))
    }

    /// Asks the broker how a case stands, if there is a session.
    pub fn look_at(&self, case: CaseId) {
        self.post(Job::Input(Input::LookAtCase(case)));
    }

    /// Waits until the engine ends: `None` after a shutdown, otherwise why it had to stop. The first caller
    /// gets the reason.
    pub async fn ended(&self) -> Option<Complaint> {
        match take(&self.inner.ended) {
            Some(ended) => ended.await.ok().flatten(),
            None => std::future::pending().await,
        }
    }

    /// Closes the session and the store. What is in flight is submitted again at the next start.
    ///
    /// # Errors
    /// The store's; nothing that was confirmed is lost.
    pub async fn shutdown(&self) -> Result<(), Complaint> {
        // Nobody watches when the agent never connected.
        _ = self.inner.stop.send(true);
        if let Some(ways) = take(&self.inner.ways) {
            ways.ended().await;
        }
        if let Some(link) = take(&self.inner.link) {
            link.await.map_err(|error| Complaint::bug(format!("the link ended badly: {error}")))?;
        }
        if let Some(teller) = take(&self.inner.teller) {
            teller.await.map_err(|error| Complaint::bug(format!("the log's teller ended badly: {error}")))?;
        }
        self.post(Job::Stop);
        let Some(thread) = take(&self.inner.thread) else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(engine::store_complaint(&error)),
            Ok(Err(_)) | Err(_) => Err(Complaint::bug("the engine's thread ended badly")),
        }
    }
}
