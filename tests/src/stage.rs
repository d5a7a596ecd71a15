//! A partnership in a folder: CA, broker, agents, covenant, all made with the commands people type.

mod agreement;
mod lines;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seinhuis_shared::signing::sha256;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::BrokerCard;
use seinhuis_shell::{answer, clock, control, keys};
use serde_json::{Value, json};

use crate::ports;
use crate::process::{Process, Program, Programs, Ran, until};
use crate::samples::covenants;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Why a stage could not be set.
#[derive(Debug)]
pub enum StageError {
    /// The surroundings: files, processes.
    Io(io::Error),
    /// A command that should have succeeded did not.
    Command {
        /// What was typed.
        line: String,
        /// How it ended.
        ran: Ran,
    },
}

impl std::fmt::Display for StageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Command { line, ran } => {
                write!(f, "`{line}` ended with {}:\n{}{}", ran.code, ran.stdout, ran.stderr)
            }
        }
    }
}

impl std::error::Error for StageError {}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One organisation of the partnership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its role in the covenant.
    pub role: &'static str,
    /// Its OIN, with the test prefix.
    pub oin: String,
    /// Its name.
    pub name: String,
    /// What its files are called.
    pub label: String,
    /// Its agent's folder.
    pub home: PathBuf,
}

impl Member {
    /// An organisation whose files in `dir` are called `label`.
    pub fn new(dir: &Path, label: &str, role: &'static str, oin: &str, name: &str) -> Self {
        Self {
            role,
            oin: oin.to_owned(),
            name: name.to_owned(),
            label: label.to_owned(),
            home: dir.join(label),
        }
    }
}

/// The organisations a stage may have: role, OIN, name.
const CAST: [(&str, &str, &str); 8] = [
    ("gemeente", "00000099000000001000", "Gemeente Voorbeeldstad"),
    ("politie", "00000099000000002000", "Politie, basisteam Voorbeeldstad-Noord"),
    ("jongerenwerk", "00000099000000003000", "Stichting Jongerenwerk Voorbeeldstad"),
    ("om", "00000099000000004000", "Openbaar Ministerie, arrondissement Voorbeeld"),
    ("boa", "00000099000000005000", "Handhaving Voorbeeldstad"),
    ("pga", "00000099000000006000", "PGA-tafel Voorbeeldstad"),
    ("zvh", "00000099000000007000", "Zorg- en Veiligheidshuis Voorbeeld"),
    ("lokaal_team", "00000099000000008000", "Wijkteam Voorbeeldstad"),
];

/// The four partners of the demo and of most tests.
pub const FOUR: [&str; 4] = ["gemeente", "politie", "jongerenwerk", "om"];

/// A partnership in a folder.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The folder.
    pub dir: PathBuf,
    /// The programs.
    pub programs: Programs,
    /// The organisations.
    pub members: Vec<Member>,
    /// Where the broker listens.
    pub address: String,
    /// Whether its covenant pins the witness keys of its members, so that two of them have to cosign the log.
    pub watched: bool,
    /// The part of the covenant that says what may be sent.
    pub model: PathBuf,
    /// What else stands in the partnership's part of the covenant, as TOML.
    pub more: String,
    /// A public text from which the keys are made that its stores depend on, instead of by chance: for stores that are
    /// kept without their keys. Secret is nothing of such a stage.
    pub seed: Option<&'static str>,
}

impl Stage {
    /// Makes CA, broker and agents for `roles`, enrols them, and has all of them sign the model covenant with
    /// these parties. `tell` is told each step.
    ///
    /// # Errors
    /// The first command that fails.
    pub fn set(
        programs: Programs,
        dir: &Path,
        roles: &[&str],
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, StageError> {
        Self::set_with(programs, dir, Self::cast(dir, roles), tell)
    }

    /// The organisations of these roles, with their files in `dir`.
    pub fn cast(dir: &Path, roles: &[&str]) -> Vec<Member> {
        let cast = CAST.into_iter().filter(|(role, ..)| roles.contains(role));
        cast.map(|(role, oin, name)| Member::new(dir, role, role, oin, name)).collect()
    }

    /// As [`Self::set`], with any organisations.
    ///
    /// # Errors
    /// The first command that fails.
    pub fn set_with(
        programs: Programs,
        dir: &Path,
        members: Vec<Member>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, StageError> {
        let stage = Self::found(programs, dir, members, tell)?;
        tell("covenant");
        stage.agree()?;
        Ok(stage)
    }

    /// As [`Self::set`], with a covenant that asks no witnesses: for tests that run a broker without agents.
    ///
    /// # Errors
    /// The first command that fails.
    pub fn unwatched(programs: Programs, dir: &Path, roles: &[&str]) -> Result<Self, StageError> {
        let stage = Self::found(programs, dir, Self::cast(dir, roles), &mut |_| ())?;
        let stage = Self { watched: false, ..stage };
        stage.agree()?;
        Ok(stage)
    }

    /// As [`Self::set_with`], up to the covenant: nobody has signed anything yet.
    ///
    /// # Errors
    /// The first command that fails.
    pub fn found(
        programs: Programs,
        dir: &Path,
        members: Vec<Member>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, StageError> {
        Self::found_with(None, clock::now().year(), programs, dir, members, tell)
    }

    /// As [`Self::found`], with a broker whose first log is that of a `year`, and keys made from a `seed` when there is
    /// one.
    ///
    /// # Errors
    /// The first command that fails.
    pub fn found_with(
        seed: Option<&'static str>,
        year: u64,
        programs: Programs,
        dir: &Path,
        members: Vec<Member>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, StageError> {
        let (address, dir) = (ports::free()?.to_string(), dir.to_path_buf());
        let (model, more) = (covenants().join("model.toml"), String::new());
        let stage = Self { dir, programs, members, address, watched: true, model, more, seed };
        tell("certificate authority");
        stage.certs(&["init", "--name", "Partnerschap Voorbeeldstad"])?;
        tell("broker");
        stage.enrol_broker(year)?;
        for member in &stage.members {
            tell(&member.name);
            stage.enrol(member)?;
            stage.register(member)?;
        }
        Ok(stage)
    }

    /// The member with this role.
    ///
    /// # Panics
    /// When there is none: the test's own mistake.
    #[expect(clippy::panic, reason = "a test that names a role it did not cast cannot go on")]
    pub fn member(&self, role: &str) -> &Member {
        match self.members.iter().find(|member| member.role == role) {
            Some(member) => member,
            None => panic!("no {role} on this stage"),
        }
    }

    /// The broker's folder.
    pub fn broker_home(&self) -> PathBuf {
        self.dir.join("broker")
    }

    /// Adds lines to the broker's settings.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn configure(&self, more: &str) -> io::Result<()> {
        append(&self.broker_home().join("broker.toml"), more)
    }

    /// Adds lines to the settings of a member's agent.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn configure_agent(&self, member: &Member, more: &str) -> io::Result<()> {
        append(&member.home.join("agent.toml"), more)
    }

    /// Has everybody keep a journal in segments of 1 MiB, with `more` in the same section of their settings. For a stage
    /// on which nobody has agreed on anything yet: the broker's store begins anew.
    ///
    /// # Errors
    /// When a file cannot be changed or a command fails.
    pub fn small_segments(&self, more: &str) -> Result<(), StageError> {
        let small = format!("\n[store]\nsegment_mib = 1\n{more}");
        self.configure(&small)?;
        // Segments keep the length they were made with.
        std::fs::remove_dir_all(self.broker_home().join("store"))?;
        for member in &self.members {
            self.configure_agent(member, &small)?;
            self.register(member)?;
        }
        Ok(())
    }

    /// Has a member's agent reach the broker at another address than its card says, from its next attempt on.
    ///
    /// # Errors
    /// When its settings cannot be written.
    pub fn route(&self, member: &Member, address: &str) -> io::Result<()> {
        let config = member.home.join("agent.toml");
        let text = std::fs::read_to_string(&config)?;
        let own = text.split("\n[transport]").next().unwrap_or_default();
        std::fs::write(config, format!("{own}\n[transport]\nbroker = \"{address}\"\n"))
    }

    /// Has the broker listen over TCP as well, with `more` in the same section of its settings, and gives everybody its
    /// new card.
    ///
    /// # Errors
    /// When a command fails.
    pub fn fall_back(&self, more: &str) -> Result<(), StageError> {
        let address = ports::free()?;
        self.configure(&format!("\n[transport]\nfallback = \"{address}\"\n{more}\n"))?;
        self.broker(&["card"])?;
        for member in &self.members {
            std::fs::copy(self.broker_home().join("broker.json"), member.home.join("broker.json"))?;
        }
        Ok(())
    }

    /// The broker's card.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn card(&self) -> Result<BrokerCard, Complaint> {
        BrokerCard::load(&self.broker_home().join("broker.json"))
    }

    /// Has the broker's operator revoke a member's access.
    ///
    /// # Errors
    /// When the command does not succeed.
    pub fn revoke(&self, member: &Member) -> Result<(), StageError> {
        self.broker(&["partner", "revoke", &member.oin]).map(drop)
    }

    /// The CA's folder.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca")
    }

    /// A process's log.
    pub fn log_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// Runs a command that has to succeed; its answer.
    ///
    /// # Errors
    /// When it does not.
    pub fn must(&self, program: Program, args: &[&str]) -> Result<Value, StageError> {
        let with_json: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let ran = self.programs.run(program, &with_json)?;
        if ran.code == 0 {
            Ok(ran.json())
        } else {
            let line = format!("{} {}", program.word(), with_json.join(" "));
            Err(StageError::Command { line, ran })
        }
    }

    /// A command of the CA in its folder. The subcommand comes first in `args`.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn certs(&self, args: &[&str]) -> Result<Value, StageError> {
        let ca = self.ca();
        let ca = ca.to_string_lossy();
        let all: Vec<&str> = args.iter().copied().chain(["--dir", &ca]).collect();
        self.must(Program::Certs, &all)
    }

    /// A command of the broker.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn broker(&self, args: &[&str]) -> Result<Value, StageError> {
        let home = self.broker_home();
        let home = home.to_string_lossy();
        let all: Vec<&str> = ["--home", &home].into_iter().chain(args.iter().copied()).collect();
        self.must(Program::Broker, &all)
    }

    /// A command of a member's agent.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn agent(&self, member: &Member, args: &[&str]) -> Result<Value, StageError> {
        let home = member.home.to_string_lossy();
        let all: Vec<&str> = ["--home", &home].into_iter().chain(args.iter().copied()).collect();
        self.must(Program::Agent, &all)
    }

    /// A command of a member's agent that may fail.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_agent(&self, member: &Member, args: &[&str]) -> io::Result<Ran> {
        let home = member.home.to_string_lossy();
        let all: Vec<&str> =
            ["--home", &home].into_iter().chain(args.iter().copied()).chain(["--json"]).collect();
        self.programs.run(Program::Agent, &all)
    }

    /// Pushes with a member's agent and waits for the broker's answer; where the covenant asks that a person
    /// releases the message, one does. The message's row in the outbox.
    ///
    /// # Errors
    /// When a command does not succeed.
    pub fn push(&self, member: &Member, args: &[&str]) -> Result<Value, StageError> {
        let all: Vec<&str> =
            ["push"].into_iter().chain(args.iter().copied()).chain(["--wait", "60"]).collect();
        let pushed = self.agent(member, &all)?;
        if text(&pushed, "state") == "held" {
            self.release(member, text(&pushed, "msg_id"))
        } else {
            Ok(pushed)
        }
    }

    /// Has a person at a member release what waits for that, and waits for the broker's answer.
    ///
    /// # Errors
    /// When the command does not succeed.
    pub fn release(&self, member: &Member, id: &str) -> Result<Value, StageError> {
        self.agent(member, &["release", "approve", id, "--as", "teamchef", "--wait", "60"])
    }

    fn enrol_broker(&self, year: u64) -> Result<(), StageError> {
        let origin = format!("broker.voorbeeldstad.example/uitwisseling/{year}");
        let made = self.broker(&[
            "init",
            "--name",
            "Seinhuis Voorbeeldstad",
            "--oin",
            "00000099000000000001",
            "--listen",
            &self.address,
            "--advertise",
            &self.address,
            "--log-origin",
            &origin,
        ])?;
        self.known_keys(&self.broker_home())?;
        let grant = self.broker_home().join("grant.json");
        self.issue(text(&made, "request"), text(&made, "fingerprint"), &grant)?;
        self.broker(&["card"])?;
        Ok(())
    }

    /// Has the CA answer an enrolment request.
    ///
    /// # Errors
    /// When it refuses.
    pub fn issue(&self, request: &str, fingerprint: &str, out: &Path) -> Result<Value, StageError> {
        self.certs(&["issue", request, "--fingerprint", fingerprint, "--out", &out.to_string_lossy()])
    }

    /// Makes a member's agent and has it enrolled at the CA, but not registered at the broker.
    ///
    /// # Errors
    /// When a command fails.
    pub fn enrol(&self, member: &Member) -> Result<(), StageError> {
        self.agent(member, &["init", "--oin", &member.oin, "--name", &member.name])?;
        self.known_keys(&member.home)?;
        let request = self.request_of(member);
        let grant = self.dir.join(format!("{}.grant.json", member.label));
        let made = self.agent(member, &["enrol", "--request", &request])?;
        self.issue(&request, text(&made, "fingerprint"), &grant)?;
        let card = self.broker_home().join("broker.json");
        self.agent(
            member,
            &["enrol", "--accept", &grant.to_string_lossy(), "--broker", &card.to_string_lossy()],
        )?;
        Ok(())
    }

    /// Puts keys made from the seed, if there is one, in the place of those that stores depend on.
    fn known_keys(&self, home: &Path) -> Result<(), StageError> {
        let Some(seed) = self.seed else { return Ok(()) };
        for name in ["log.key", "signing.key", "witness.key", "store.key"] {
            let path = home.join("keys").join(name);
            if !path.exists() {
                continue;
            }
            let whose = home.file_name().unwrap_or_default().to_string_lossy();
            let secret = sha256(format!("{seed} {whose} {name}").as_bytes());
            let text = if name == "store.key" {
                format!("{secret}\n")
            } else {
                keys::signing_pem(&secret.0).to_string()
            };
            std::fs::write(path, text)?;
        }
        Ok(())
    }

    /// Where a member's enrolment request is.
    pub fn request_of(&self, member: &Member) -> String {
        self.dir.join(format!("{}.request", member.label)).to_string_lossy().into_owned()
    }

    /// Registers a member at the broker.
    ///
    /// # Errors
    /// When the command fails.
    pub fn register(&self, member: &Member) -> Result<(), StageError> {
        let request = self.request_of(member);
        let bytes = std::fs::read(&request)?;
        let fingerprint = seinhuis_shared::enrol::fingerprint(&bytes);
        self.broker(&["partner", "add", &request, "--fingerprint", &fingerprint])?;
        Ok(())
    }

    /// Starts the broker and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_broker(&self) -> Result<Process, StageError> {
        self.start("broker", Program::Broker, &self.broker_home(), || {
            self.ask_broker(&json!("status")).is_ok()
        })
    }

    /// Starts the CA's renewal service at an address on this machine.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_renewals(&self, listen: &str) -> Result<Process, StageError> {
        let (ca, address) = (self.ca(), self.dir.join("renewals.address"));
        let (ca, file) = (ca.to_string_lossy(), address.to_string_lossy());
        let place = ["serve", "--dir", &ca, "--listen", listen, "--host", "127.0.0.1"];
        let args = place.into_iter().chain(["--address-file", &file]);
        let process = self.programs.start(Program::Certs, args, &self.log_of("renewals"))?;
        until("the renewal service listens", PATIENCE, || address.exists())?;
        Ok(process)
    }

    /// Starts a member's agent and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_agent(&self, member: &Member) -> Result<Process, StageError> {
        self.start(&member.label, Program::Agent, &member.home, || {
            self.ask_agent(member, &json!({ "look": "status" })).is_ok()
        })
    }

    fn start(
        &self,
        name: &str,
        program: Program,
        home: &Path,
        mut answers: impl FnMut() -> bool,
    ) -> Result<Process, StageError> {
        let log = self.log_of(name);
        let mut process =
            self.programs.start(program, [Path::new("--home"), home, Path::new("run")], &log)?;
        until(&format!("{name} answers"), PATIENCE, || !process.runs() || answers())?;
        if process.runs() {
            return Ok(process);
        }
        let log = std::fs::read_to_string(log).unwrap_or_default();
        Err(io::Error::other(format!("{name} stopped at once:\n{log}")).into())
    }

    /// Asks the broker that runs, as a command would. Unlike a command this never opens the store in its stead.
    ///
    /// # Errors
    /// Its complaint, or why it cannot be asked.
    pub fn ask_broker(&self, request: &Value) -> Result<Value, Complaint> {
        ask("seinhuis-broker", &self.broker_home().join("broker.sock"), request)
    }

    /// As [`Self::ask_broker`], of a member's agent.
    ///
    /// # Errors
    /// Its complaint, or why it cannot be asked.
    pub fn ask_agent(&self, member: &Member, request: &Value) -> Result<Value, Complaint> {
        ask("seinhuis-agent", &member.home.join("agent.sock"), request)
    }

    /// The broker's last `lines` log entries, oldest first.
    ///
    /// # Errors
    /// When they cannot be had.
    pub fn log_tail(&self, lines: u64) -> Result<Vec<seinhuis_shared::entry::Entry>, StageError> {
        let answer = self.broker(&["log", "tail", "-n", &lines.to_string()])?;
        answer
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| {
                seinhuis_shared::entry::Entry::parse(text(row, "entry").as_bytes())
                    .map_err(|error| io::Error::other(error.to_string()).into())
            })
            .collect()
    }
}

/// A text in a JSON answer; empty when it is not there.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn ask(program: &str, socket: &Path, request: &Value) -> Result<Value, Complaint> {
    let reply: Value =
        control::call(socket, request, PATIENCE).map_err(|error| error.complaint(program, socket))?;
    answer::decode(reply)
}

/// Adds lines to a file.
fn append(path: &Path, more: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(path)?;
    std::fs::write(path, text + more)
}
