//! A partnership's real processes: started, broken, started again, and asked.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use seinhuis_shared::ids::Oin;
use seinhuis_shell::complaint::Complaint;
use serde_json::{Value, json};

use crate::process::{Process, Program, Programs};
use crate::sim::{Broken, Violation, setup};
use crate::stage::{PATIENCE, Stage, text};

/// Who takes part: everybody whom the traffic needs.
const ROLES: [&str; 4] = ["gemeente", "politie", "jongerenwerk", "boa"];
/// How often somebody looks whether something has come true.
const LOOK: Duration = Duration::from_millis(20);
/// How many characters of a process's log a violation quotes.
const QUOTED: usize = 1500;

/// One process: 0 is the broker, and n is the agent of member n.
pub type Node = usize;

/// A program through which a process is started, with its words.
#[derive(Debug, Clone)]
pub struct Way {
    /// The program.
    pub program: String,
    /// What stands before the process's own command line.
    pub words: Vec<String>,
}

/// A partnership that has agreed, and its processes.
#[derive(Debug)]
pub struct Troupe {
    /// Its folder and members.
    pub stage: Stage,
    running: Mutex<Vec<Option<Running>>>,
    fallen: Mutex<Vec<(Node, ExitStatus)>>,
}

/// A process that was started.
#[derive(Debug)]
struct Running {
    process: Process,
    /// Whether it was started so that it may end by itself.
    doomed: bool,
}

impl Troupe {
    /// Sets a partnership up in a folder; nothing of it runs.
    ///
    /// # Errors
    /// [`Broken::Setup`].
    pub fn set(programs: Programs, dir: &Path) -> Result<Self, Violation> {
        let stage = Stage::found(programs, dir, Stage::cast(dir, &ROLES), &mut |_| ()).map_err(setup)?;
        // So that journals are compacted while processes die.
        stage.small_segments("").map_err(setup)?;
        stage.agree().map_err(setup)?;
        let running = (0..=stage.members.len()).map(|_| None).collect();
        Ok(Self { stage, running: Mutex::new(running), fallen: Mutex::default() })
    }

    /// All processes: the broker and everybody's agent.
    pub fn nodes(&self) -> std::ops::Range<Node> {
        0..self.stage.members.len() + 1
    }

    /// What a process is called.
    pub fn name(&self, node: Node) -> &str {
        self.member(node).map_or("broker", |member| &member.label)
    }

    fn member(&self, node: Node) -> Option<&crate::Member> {
        node.checked_sub(1).and_then(|place| self.stage.members.get(place))
    }

    /// Whose agent a process is; none for the broker's.
    pub fn oin(&self, node: Node) -> Option<Oin> {
        self.member(node).and_then(|member| member.oin.parse().ok())
    }

    /// A process's folder.
    pub fn home(&self, node: Node) -> PathBuf {
        self.member(node).map_or_else(|| self.stage.broker_home(), |member| member.home.clone())
    }

    fn slot<T>(&self, node: Node, change: impl FnOnce(&mut Option<Running>) -> T) -> Option<T> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get_mut(node).map(change)
    }

    /// Starts a process, and does not wait for it. What is started by way of another program may end by itself: it is
    /// then started again without, and [`Self::fallen`] tells.
    ///
    /// # Errors
    /// [`Broken::Setup`].
    pub fn start(&self, node: Node, way: Option<&Way>) -> Result<(), Violation> {
        let program = if node == 0 { Program::Broker } else { Program::Agent };
        let home = self.home(node);
        let args = [Path::new("--home"), &home, Path::new("run")];
        let log = self.stage.log_of(self.name(node));
        let programs = &self.stage.programs;
        let process = match way {
            None => programs.start(program, args, &log),
            Some(way) => programs.start_under((&way.program, &way.words), program, args, &log),
        };
        let process = process.map_err(setup)?;
        self.slot(node, |slot| *slot = Some(Running { process, doomed: way.is_some() }));
        Ok(())
    }

    /// Starts every process that does not run, and does not wait.
    ///
    /// # Errors
    /// [`Broken::Setup`].
    pub fn start_all(&self) -> Result<(), Violation> {
        for node in self.nodes() {
            if !self.slot(node, |slot| slot.is_some()).unwrap_or(true) {
                self.start(node, None)?;
            }
        }
        Ok(())
    }

    /// Ends a process at once (SIGKILL); whether it ran.
    ///
    /// # Errors
    /// [`Broken::Start`] when it had ended by itself.
    pub fn kill(&self, node: Node) -> Result<bool, Violation> {
        self.stands(node)?;
        match self.slot(node, Option::take).flatten() {
            None => Ok(false),
            Some(running) => running.process.kill().map(|()| true).map_err(setup),
        }
    }

    /// Takes all processor time from a process, as a machine does that is suspended.
    ///
    /// # Errors
    /// [`Broken::Setup`].
    pub fn freeze(&self, node: Node) -> Result<(), Violation> {
        self.signalled(node, Process::freeze)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// [`Broken::Setup`].
    pub fn thaw(&self, node: Node) -> Result<(), Violation> {
        self.signalled(node, Process::thaw)
    }

    fn signalled(&self, node: Node, signal: fn(&Process) -> io::Result<()>) -> Result<(), Violation> {
        let done = self.slot(node, |slot| slot.as_ref().map_or(Ok(()), |running| signal(&running.process)));
        done.unwrap_or(Ok(())).map_err(setup)
    }

    /// That nobody ended who was not made to. Who was is started again.
    ///
    /// # Errors
    /// [`Broken::Start`], with the end of its log.
    pub fn stands(&self, node: Node) -> Result<(), Violation> {
        let look = |slot: &mut Option<Running>| -> io::Result<Option<(ExitStatus, bool)>> {
            let Some(running) = slot else { return Ok(None) };
            let ended = running.process.ended()?.map(|status| (status, running.doomed));
            if ended.is_some() {
                *slot = None;
            }
            Ok(ended)
        };
        match self.slot(node, look).transpose().map_err(setup)?.flatten() {
            None => Ok(()),
            Some((status, false)) => Err(self.fell(node, status)),
            Some((status, true)) => {
                self.fallen.lock().unwrap_or_else(PoisonError::into_inner).push((node, status));
                self.start(node, None)
            }
        }
    }

    /// Who ended since the last time somebody asked, of those that were started so that they may.
    pub fn fallen(&self) -> Vec<(Node, ExitStatus)> {
        std::mem::take(&mut self.fallen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A process ended that should not have.
    pub fn fell(&self, node: Node, status: ExitStatus) -> Violation {
        let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
        let what = format!("{} ended by itself ({how}):\n{}", self.name(node), self.quote(node));
        Violation::new(Broken::Start, what)
    }

    /// The end of a process's log.
    pub fn quote(&self, node: Node) -> String {
        let log = std::fs::read_to_string(self.stage.log_of(self.name(node))).unwrap_or_default();
        let skip = log.chars().count().saturating_sub(QUOTED);
        log.chars().skip(skip).collect()
    }

    /// Asks a process, as a command would.
    ///
    /// # Errors
    /// Its complaint, or why it cannot be asked.
    pub fn ask(&self, node: Node, request: &Value) -> Result<Value, Complaint> {
        match self.member(node) {
            None => self.stage.ask_broker(request),
            Some(member) => self.stage.ask_agent(member, request),
        }
    }

    /// How a process says that things stand.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn status(&self, node: Node) -> Result<Value, Complaint> {
        self.ask(node, &if node == 0 { json!("status") } else { json!({ "look": "status" }) })
    }

    /// Waits until something has come true, with every process standing.
    ///
    /// # Errors
    /// [`Broken::Start`] for who ended, [`Broken::Stuck`] with what `check` says is still open.
    pub fn until(
        &self,
        patience: Duration,
        mut check: impl FnMut() -> Result<(), String>,
    ) -> Result<(), Violation> {
        let end = Instant::now() + patience;
        loop {
            let Err(open) = check() else { return Ok(()) };
            for node in self.nodes() {
                self.stands(node)?;
            }
            if Instant::now() > end {
                return Err(Violation::new(Broken::Stuck, open));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Starts what does not run, and waits until everybody answers and agents know each other's prekeys.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn gather(&self) -> Result<(), Violation> {
        self.start_all()?;
        self.until(PATIENCE * 3, || {
            self.nodes().try_for_each(|node| {
                let status = self.status(node).map_err(|error| format!("{}: {error}", self.name(node)))?;
                let usable = |partner: &&Value| partner["usable"] == true;
                let partners = status["partners"].as_array().into_iter().flatten().filter(usable).count();
                let knows = node == 0
                    || (status["link"]["connected"] == true && partners + 1 >= self.stage.members.len());
                knows.then_some(()).ok_or_else(|| format!("{} does not know everybody", self.name(node)))
            })
        })
    }

    /// Asks every process to stop, and sees that it does so in good order.
    ///
    /// # Errors
    /// [`Broken::Start`].
    pub fn stop(&self) -> Result<(), Violation> {
        for node in self.nodes().rev() {
            let Some(running) = self.slot(node, Option::take).flatten() else { continue };
            let status = running.process.stop(PATIENCE).map_err(setup)?;
            if !status.success() {
                return Err(self.fell(node, status));
            }
        }
        Ok(())
    }

    /// Whether a process says that its log was told of nothing that only a fault in the program says.
    ///
    /// # Errors
    /// [`Broken::Start`].
    pub fn is_calm(&self) -> Result<(), Violation> {
        for node in self.nodes() {
            let log = std::fs::read_to_string(self.stage.log_of(self.name(node))).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
                return Err(Violation::new(Broken::Start, format!("{}: {line}", self.name(node))));
            }
        }
        Ok(())
    }

    /// The covenant in force.
    ///
    /// # Errors
    /// [`Broken::Setup`].
    pub(super) fn covenant(&self) -> Result<String, Violation> {
        let known = self.ask(1, &json!({ "look": "covenants" })).map_err(setup)?;
        let one = known.as_array().into_iter().flatten().find(|one| text(one, "state") == "in-force");
        one.map(|one| text(one, "hash").to_owned()).ok_or_else(|| setup("no covenant is in force"))
    }
}
