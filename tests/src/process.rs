//! Starting, watching and ending processes that belong to a test.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The three programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `seinhuis-broker`.
    Broker,
    /// `seinhuis-agent`.
    Agent,
    /// `seinhuis-certs`.
    Certs,
}

impl Program {
    /// The word that selects it in a binary that holds all three.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Agent => "agent",
            Self::Certs => "certs",
        }
    }
}

/// Runs the program that the first argument selects; `None` when it selects none.
pub fn dispatch(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    let _own_name = args.next();
    let word = args.next()?;
    let name = |program: &str| std::iter::once(OsString::from(program));
    match word.to_str()? {
        "leash" => leash(PathBuf::from(args.next()?), name("leash").chain(args).collect()),
        "broker" => Some(seinhuis_broker::run(name("seinhuis-broker").chain(args))),
        "agent" => Some(seinhuis_agent::run(name("seinhuis-agent").chain(args))),
        "certs" => Some(seinhuis_certs::run(name("seinhuis-certs").chain(args))),
        "power" => Some(crate::power::inside(name("power").chain(args))),
        _ => None,
    }
}

/// Runs a program that ends, and whose folder is removed, as soon as whoever started it is gone: its end
/// of the pipe on standard input closes in whatever way it ends.
fn leash(dir: PathBuf, args: Vec<OsString>) -> Option<ExitCode> {
    std::thread::spawn(move || {
        // An error means the same as the end.
        _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // What is left behind is in the folder of temporary files.
        _ = std::fs::remove_dir_all(&dir);
        std::process::exit(1);
    });
    dispatch(args)
}

/// A binary that holds all programs.
#[derive(Debug, Clone)]
pub struct Programs(pub PathBuf);

/// What a finished command left behind.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; 255 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Ran {
    /// Its answer as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }
}

impl Programs {
    fn command(&self, program: Program) -> Command {
        let mut command = Command::new(&self.0);
        command.arg(program.word()).env("SEINHUIS_LANG", "en").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: Program,
        args: impl IntoIterator<Item = A>,
    ) -> io::Result<Ran> {
        let output = self.command(program).args(args).output()?;
        Ok(Ran {
            code: output.status.code().unwrap_or(255),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts a command with a pipe to each of its standard input, output and errors.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn piped<A: AsRef<OsStr>>(
        &self,
        program: Program,
        args: impl IntoIterator<Item = A>,
    ) -> io::Result<Child> {
        let mut command = self.command(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }

    /// Starts a process that goes on; what it prints is added to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        program: Program,
        args: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> io::Result<Process> {
        spawn(self.command(program).args(args), log)
    }

    /// As [`Self::start`], by way of another program that becomes it, such as `strace -D`: the process keeps its number.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_under<A: AsRef<OsStr>>(
        &self,
        (way, words): (&str, &[String]),
        program: Program,
        args: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> io::Result<Process> {
        let mut command = Command::new(way);
        command.args(words).arg(&self.0).arg(program.word()).args(args);
        spawn(command.env("SEINHUIS_LANG", "en").stdin(Stdio::null()), log)
    }

    /// As [`Self::start`], for a process that may outlive its owner, such as one in a static: it ends with
    /// the process that started it, and then removes `dir`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_leashed<A: AsRef<OsStr>>(
        &self,
        program: Program,
        args: impl IntoIterator<Item = A>,
        log: &Path,
        dir: &Path,
    ) -> io::Result<Process> {
        let mut command = Command::new(&self.0);
        command.arg("leash").arg(dir).arg(program.word()).args(args);
        spawn(command.env("SEINHUIS_LANG", "en").stdin(Stdio::piped()), log)
    }
}

fn spawn(command: &mut Command, log: &Path) -> io::Result<Process> {
    let log = File::options().create(true).append(true).open(log)?;
    let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(Process { child })
}

/// A running process; ended, by its own number, when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl From<Child> for Process {
    fn from(child: Child) -> Self {
        Self { child }
    }
}

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(mut self) -> io::Result<()> {
        self.end()
    }

    /// As [`Self::kill`], for who starts another in its place.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn end(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM).
    ///
    /// # Errors
    /// When it has ended already.
    pub fn ask_to_stop(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Errors
    /// When it does not stop within `patience`.
    pub fn stop(mut self, patience: Duration) -> io::Result<ExitStatus> {
        self.ask_to_stop()?;
        self.wait(patience)
    }

    /// Takes all processor time from it (SIGSTOP), as a machine does that is suspended; its sockets stay.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When there is no such process.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no such process number"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub fn wait(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the process did not stop in time"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system's.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

/// Runs a command of the system that has to succeed.
///
/// # Errors
/// When it does not: what it said.
pub fn system(command: &mut Command) -> io::Result<()> {
    system_on(command, "").map(drop)
}

/// As [`system`], with `input`; what it printed.
///
/// # Errors
/// When it does not succeed: what it said.
pub fn system_on(command: &mut Command, input: &str) -> io::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let ran = child.wait_with_output()?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {}", said.trim())))
}

/// Asks `check` again and again until it says yes.
///
/// # Errors
/// When it has not within `patience`; `what` says what was waited for.
pub fn until(what: &str, patience: Duration, mut check: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + patience;
    while !check() {
        if Instant::now() > end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("waited in vain: {what}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
