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
use seinhuis_shell::lang::Text;
use tokio::sync::{oneshot, watch as signal};
use tokio::task::JoinSet;

use self::csv::Csv;
use self::inward::Inward;
use self::place::{as_named, leads_to};
pub(crate) use self::receipts::refusal;
use self::taking::Out;
pub(super) use self::taking::addressed;
use crate::agent::{AgentHandle, stopped};
use crate::commands::request::{PushText, parse, rejected};
use crate::config::{Config, Folder, overlap};
use crate::ways::standing::{Kind, Standings, Told};
use crate::ways::work::{Agent, Work, run};

/// Begins to look at the folders of the configuration.
pub(super) fn start(
    agent: &AgentHandle,
    config: &Config,
    standings: &Standings,
    stopping: &signal::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Complaint> {
    // All are made before one begins: with a mistake in one of them the agent does not start.
    let mut workers = Vec::new();
    for folder in &config.folder {
        // Nothing is asked of the drive here: one that hangs holds up its own folder alone. Links are looked at there.
        apart(folder, &leads_to(agent.home().dir()), as_named)?;
        workers.push(Worker::new(folder, Agent::new(agent, stopping), standings)?);
    }
    for worker in workers {
        tasks.spawn(run(worker, None, stopping.clone()));
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

/// A push that is under way.
pub(super) type Answer = oneshot::Receiver<Result<Pushed, Rejection>>;

impl Agent {
    /// The id of the message that this folder calls `name`.
    fn msg_id(&self, folder: &str, name: &[u8]) -> Result<String, Complaint> {
        let way = format!("folder/{folder}");
        self.runtime.block_on(self.handle.msg_id(&way, name)).map(|id| id.to_string())
    }

    /// Hands over a signal; what becomes of it comes later, so that many share one flush.
    pub(super) fn begin(&self, text: &PushText) -> Result<Answer, Complaint> {
        let request = parse(text).map_err(|_| badly_addressed())?;
        Ok(self.handle.begin_push(request))
    }

    /// What became of it: on stable storage, or refused for this reason.
    pub(super) fn end(&self, answer: Answer) -> Result<Result<Pushed, Complaint>, Complaint> {
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
    out: Option<(Out, Told)>,
    inward: Option<(Inward, Told)>,
}

impl Worker {
    fn new(folder: &Folder, agent: Agent, standings: &Standings) -> Result<Self, Complaint> {
        let home = agent.handle.home().dir();
        let csv = Csv::load(folder, home)?;
        let told = |kind, dir: &Path| standings.open(kind, &folder.name, &dir.display().to_string());
        let out = folder.watched().map(|dir| (Out::new(dir, folder, csv), told(Kind::FolderOut, dir)));
        let inward = folder.filled().map(|dir| (Inward::new(dir, folder, home), told(Kind::FolderIn, dir)));
        let folder = folder.clone();
        Ok(Self { agent, folder, out, inward })
    }

    /// Looks once. Whether there is more to do at once.
    fn more(&mut self) -> bool {
        if let Err(own) = apart(&self.folder, &leads_to(self.agent.handle.home().dir()), leads_to) {
            let told = [self.out.as_ref().map(|(_, told)| told), self.inward.as_ref().map(|(_, told)| told)];
            for told in told.into_iter().flatten() {
                told.about::<()>(Err(own.clone()));
            }
            return false;
        }
        let inward = self.inward.as_mut().map(|(inward, told)| (inward.look(&self.agent), told));
        let out = self.out.as_mut().map(|(out, told)| (out.look(&self.agent), told));
        // An agent that stops is nothing wrong with a folder.
        if self.agent.stopping() {
            return false;
        }
        let more_in = inward.and_then(|(looked, told)| told.about(looked));
        let more_out = out.and_then(|(looked, told)| told.about(looked));
        more_in.unwrap_or(false) || more_out.unwrap_or(false)
    }
}

impl Work for Worker {
    fn look(&mut self) -> Duration {
        if self.more() { Duration::ZERO } else { Duration::from_secs(self.folder.every_s) }
    }
}
