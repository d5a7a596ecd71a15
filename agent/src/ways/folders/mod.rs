//! Watched folders: a partner's case system, spreadsheet or script hands signals over as files and finds deliveries as
//! files, without a command.
//!
//! Folders are looked at again and again rather than listened to, so that network drives work. All of it happens on a
//! thread that may wait: a drive that hangs holds up its own folder and nothing else.

pub(crate) mod csv;
mod inward;
mod place;
mod receipts;
mod taking;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use seinhuis_agent_core::{Pushed, Rejection};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch as signal};
use tokio::task::JoinSet;

use self::csv::Csv;
use self::inward::Inward;
use self::place::{as_named, leads_to};
use self::taking::Out;
use crate::agent::{AgentHandle, stopped};
use crate::commands::request::{PushText, Request, parse, rejected};
use crate::config::{Config, Folder, overlap};
use crate::engine::View;

/// How long a stop waits for a drive that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Begins to look at the folders of the configuration.
pub(super) fn start(
    agent: &AgentHandle,
    config: &Config,
    stopping: &signal::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Complaint> {
    // All are made before one begins: with a mistake in one of them the agent does not start.
    let mut workers = Vec::new();
    for folder in &config.folder {
        // Nothing is asked of the drive here: one that hangs holds up its own folder alone. Links are looked at there.
        apart(folder, &leads_to(agent.home().dir()), as_named)?;
        let agent = Agent { handle: agent.clone(), runtime: Handle::current(), stopping: stopping.clone() };
        workers.push((Worker::new(folder, agent)?, Duration::from_secs(folder.every_s)));
    }
    for (worker, every) in workers {
        tasks.spawn(run(worker, every, stopping.clone()));
    }
    Ok(())
}

/// That nothing of a folder is in the agent's own, or the other way.
fn apart(folder: &Folder, home: &Path, real: impl Fn(&Path) -> PathBuf) -> Result<(), Complaint> {
    if !folder.watched().into_iter().chain(folder.filled()).any(|path| overlap(&real(path), home)) {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(
            format!("[[folder]] {:?} ligt in de map van de agent zelf, of omgekeerd.", folder.name),
            format!("[[folder]] {:?} is in the agent's own folder, or the other way.", folder.name),
        ),
        Text::new(
            "Kies een map buiten die met sleutels en opslag.",
            "Choose a folder outside the one with keys and store.",
        ),
    ))
}

/// Looks at one folder until the agent stops.
async fn run(mut worker: Worker, every: Duration, mut stopping: signal::Receiver<bool>) {
    loop {
        let mut looked = tokio::task::spawn_blocking(move || {
            let more = worker.look();
            (worker, more)
        });
        let ended = tokio::select! {
            ended = &mut looked => Some(ended),
            () = told_to_stop(&mut stopping) => None,
        };
        let Some(ended) = ended else {
            // What it does now it does to the end, unless the drive hangs; all of it can be done again.
            if tokio::time::timeout(PATIENCE, looked).await.is_err() {
                tracing::warn!("a watched folder does not answer; the agent stops without it");
            }
            return;
        };
        let more;
        (worker, more) = match ended {
            Ok(back) => back,
            Err(error) => {
                tracing::error!(%error, "a watched folder is not looked at any more");
                return;
            }
        };
        if !more {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = told_to_stop(&mut stopping) => return,
            }
        }
    }
}

async fn told_to_stop(stopping: &mut signal::Receiver<bool>) {
    // The sender goes with the agent, which is a sign to stop as well.
    _ = stopping.wait_for(|stop| *stop).await.is_ok();
}

/// The running agent, for a thread that may wait for it.
#[derive(Debug, Clone)]
struct Agent {
    handle: AgentHandle,
    runtime: Handle,
    stopping: signal::Receiver<bool>,
}

/// A push that is under way.
type Answer = oneshot::Receiver<Result<Pushed, Rejection>>;

impl Agent {
    fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    fn ask(&self, request: Request) -> Result<Value, Complaint> {
        self.runtime.block_on(self.handle.ask(request))
    }

    fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Complaint> {
        self.runtime.block_on(self.handle.query(question))
    }

    /// The id of the message that this folder calls `name`.
    fn msg_id(&self, folder: &str, name: &[u8]) -> Result<String, Complaint> {
        let way = format!("folder/{folder}");
        self.runtime.block_on(self.handle.msg_id(&way, name)).map(|id| id.to_string())
    }

    /// Hands over a signal; what becomes of it comes later, so that many share one flush.
    fn begin(&self, text: &PushText) -> Result<Answer, Complaint> {
        let request = parse(text).map_err(|_| badly_addressed())?;
        Ok(self.handle.begin_push(request))
    }

    /// What became of it: on stable storage, or refused for this reason.
    fn end(&self, answer: Answer) -> Result<Result<Pushed, Complaint>, Complaint> {
        match self.runtime.block_on(answer) {
            Ok(Ok(pushed)) => Ok(Ok(pushed)),
            Ok(Err(rejection)) if is_passing(rejection.refusal) => Err(rejected(&rejection)),
            Ok(Err(rejection)) => Ok(Err(rejected(&rejection))),
            Err(_) => Err(stopped()),
        }
    }
}

/// Whether the same file may be taken later, without anybody doing something to it.
fn is_passing(refusal: Refusal) -> bool {
    refusal.is_passing() || refusal == Refusal::NotRecordable
}

/// What is told of an addressing that does not read: not what stands there, which may be anything.
fn badly_addressed() -> Complaint {
    Complaint::usage(
        Text::new(
            "De adressering klopt niet: een ontvanger, de stap of de zaak is niet te lezen.",
            "The addressing is wrong: a recipient, the step or the case cannot be read.",
        ),
        Text::new(
            "Ontvangers zijn OIN's of rollen uit het convenant, de stap is er een uit het convenant, de zaak is een UUID.",
            "Recipients are OINs or roles of the covenant, the step is one of the covenant, the case is a UUID.",
        ),
    )
}

/// One folder of the configuration.
#[derive(Debug)]
struct Worker {
    agent: Agent,
    folder: Folder,
    out: Option<Out>,
    out_told: Told,
    inward: Option<Inward>,
    inward_told: Told,
}

impl Worker {
    fn new(folder: &Folder, agent: Agent) -> Result<Self, Complaint> {
        let home = agent.handle.home().dir();
        let csv = Csv::load(folder, home)?;
        let out = folder.watched().map(|dir| Out::new(dir, folder, csv));
        let inward = folder.filled().map(|dir| Inward::new(dir, folder, home));
        let told = || Told::new(&folder.name);
        let folder = folder.clone();
        Ok(Self { agent, folder, out, out_told: told(), inward, inward_told: told() })
    }

    /// Looks once. Whether there is more to do at once.
    fn look(&mut self) -> bool {
        if let Err(own) = apart(&self.folder, &leads_to(self.agent.handle.home().dir()), leads_to) {
            self.out_told.about::<()>(Err(own));
            return false;
        }
        let inward = self.inward.as_mut().map(|inward| inward.look(&self.agent));
        let out = self.out.as_mut().map(|out| out.look(&self.agent));
        // An agent that stops is nothing wrong with a folder.
        if self.agent.stopping() {
            return false;
        }
        let more_in = inward.and_then(|looked| self.inward_told.about(looked));
        let more_out = out.and_then(|looked| self.out_told.about(looked));
        more_in.unwrap_or(false) || more_out.unwrap_or(false)
    }
}

/// What is wrong with a folder, told once.
#[derive(Debug)]
struct Told {
    folder: String,
    last: Option<Complaint>,
}

impl Told {
    fn new(folder: &str) -> Self {
        Self { folder: folder.to_owned(), last: None }
    }

    fn about<T>(&mut self, result: Result<T, Complaint>) -> Option<T> {
        match result {
            Ok(value) => {
                if self.last.take().is_some() {
                    tracing::info!(folder = self.folder, "the watched folder works again");
                }
                Some(value)
            }
            Err(complaint) => {
                if self.last.as_ref() != Some(&complaint) {
                    tracing::warn!(
                        folder = self.folder,
                        complaint = complaint.show(Lang::En),
                        "watched folder"
                    );
                    self.last = Some(complaint);
                }
                None
            }
        }
    }
}
