//! What people type.

mod case;
mod consent;
pub(crate) mod correct;
mod covenant;
mod doctor;
mod enrol;
pub(crate) mod entries;
mod follow;
mod init;
mod key;
mod log;
mod messages;
mod person;
mod policy;
pub(crate) mod present;
mod push;
pub(crate) mod receipt;
pub(crate) mod register;
mod release;
pub mod request;
mod run;
pub(crate) mod signal;
mod sql;
mod status;
mod subject;
mod token;
mod wait;
mod webhook;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seinhuis_shell::cli::{self, Common, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::{covenants, owner, sealing};

use crate::commands::request::{ActText, Look, Request};
use crate::home::Home;

/// Seinhuis agent: sends and receives signals under a covenant, sealed for their recipients alone.
#[derive(Debug, Parser)]
#[command(name = "seinhuis-agent", version)]
struct Args {
    /// The agent's folder
    #[arg(long, global = true, env = "SEINHUIS_AGENT_HOME", default_value = "seinhuis-agent")]
    home: PathBuf,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the folder: configuration and keys
    Init(init::Init),
    /// Enrol in a partnership: make the request, then accept the answer
    Enrol(enrol::Enrol),
    /// Covenants: propose, list, review, lint, accept, reject, withdraw, export
    #[command(subcommand)]
    Covenant(Covenant),
    /// Cases: open, step, close, condition, list, show
    #[command(subcommand)]
    Case(Case),
    /// The keys: show, rotate, witness, seal, unseal
    #[command(subcommand)]
    Key(Key),
    /// Run the agent
    Run(run::Run),
    /// Hand over a signal; it is kept until the broker has accepted or refused it
    Push(Box<push::Push>),
    /// What waits for a person before it may leave: list, show, approve, deny
    #[command(subcommand)]
    Release(release::Release),
    /// Consent to pass on what this organisation sent, and the consents it holds: give, list
    #[command(subcommand)]
    Consent(consent::Consent),
    /// Tell every recipient of an own message what is wrong in it
    Correct {
        /// The message id
        message: String,
        /// JSON with `velden`, `reden` and, if wanted, `toelichting`, `vervangend_bericht` and `bevestigen_voor`;
        /// `-` reads standard input
        file: PathBuf,
    },
    /// Withdraw an own message at every recipient; a draft is taken back
    Withdraw {
        /// The message id
        message: String,
        /// One of the reasons in the covenant's schema, such as onrechtmatig or onjuist
        #[arg(long)]
        reason: String,
        /// Explains it to the recipients; nothing about a person
        #[arg(long)]
        note: Option<String>,
    },
    /// Corrections and withdrawals, and who confirmed them
    #[command(subcommand)]
    Corrections(Corrections),
    /// Receipts: what is proved of a message sent, and whether a file proves it
    #[command(subcommand)]
    Receipt(receipt::Command),
    /// The log entries this organisation is party to, each proved; `show` for one. The logs themselves: list,
    /// accept-origin, policy
    Log(entries::Log),
    /// Messages sent
    #[command(subcommand)]
    Outbox(Outbox),
    /// Messages received
    #[command(subcommand)]
    Inbox(Inbox),
    /// Tell under which pseudonym a person stands in the organisation's log of processings, for who asks what was
    /// done with its data
    Subject(subject::Who),
    /// The register of data subjects: who is still to be told, what was exchanged about a person, letters, rectification
    /// and erasure
    #[command(subcommand)]
    Register(register::Register),
    /// Tokens of applications that use the local API: add, list, revoke
    #[command(subcommand)]
    Token(token::Token),
    /// Webhooks, by which applications are told of what came in: list, secret, test
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Access codes of people who use the page: add, list, revoke
    #[command(subcommand)]
    Person(person::Person),
    /// Queries of which each row becomes a signal: list, check, refused, retry, drop
    #[command(subcommand)]
    Sql(sql::Sql),
    /// Show how things stand
    Status,
    /// Explain the whole set-up: what is right, what is wrong, what to do
    Doctor,
}

#[derive(Debug, Subcommand)]
enum Covenant {
    /// Propose a covenant to its parties: canonical bytes, or TOML files that make up one document
    Propose {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show the covenants that are known, who signed and how they stand
    List,
    /// Sign a covenant for this organisation: with this it binds itself, and pins everybody's keys
    Accept(Speak),
    /// Refuse a covenant; it can still be accepted later
    Reject(Speak),
    /// Leave a covenant: at once, alone, for good
    Withdraw(Speak),
    /// Write a covenant's canonical bytes to a file
    Export {
        /// The first digits of its hash
        covenant: String,
        /// The file
        #[arg(long)]
        out: PathBuf,
    },
    /// Tell in words what a version allows and what it changes: a file, or the first digits of the hash of one
    /// that `covenant list` shows
    Review(covenants::Review),
    /// Tell what a version allows and the law makes suspicious; exit code 1 when there is anything
    Lint(covenants::Lint),
}

#[derive(Debug, Subcommand)]
enum Case {
    /// Open a case in the covenant's first step, under a fresh random pseudonym
    Open {
        /// The covenant's digest, when more than one is in force
        #[arg(long)]
        covenant: Option<String>,
    },
    /// Move a case to a step
    Step {
        /// The case's pseudonym
        case: String,
        /// The step, such as 2A
        step: String,
        /// The covenant's digest, when more than one is in force
        #[arg(long)]
        covenant: Option<String>,
    },
    /// Close a case, for good
    Close {
        /// The case's pseudonym
        case: String,
    },
    /// State that a condition of the covenant holds in a case
    Condition {
        /// The case's pseudonym
        case: String,
        /// The condition's code
        condition: String,
        /// Take the statement back
        #[arg(long)]
        withdraw: bool,
    },
    /// Show the cases that are known
    List,
    /// Show where a case is and who decided what
    Show {
        /// The case's pseudonym
        case: String,
    },
}

#[derive(Debug, Subcommand)]
enum Key {
    /// Show the signing key, the ones before it, a rotation that is under way, and the witness key, as a covenant
    /// pins them
    Show,
    /// Make the key with which this agent cosigns the exchange log, if there is none
    Witness,
    /// Give up the signing key for a new one, with its signature; no new version of a covenant is needed
    Rotate {
        /// Do not wait for verdicts on packets that are signed with the old key: those the broker has not
        /// accepted by then are refused. For a key that may be in wrong hands
        #[arg(long)]
        now: bool,
    },
    /// Seal every private key of the folder with a passphrase: docs/certificates.md. Stop the program first
    Seal,
    /// Take the passphrase off the keys again
    Unseal,
}

#[derive(Debug, clap::Args)]
struct Speak {
    /// The first digits of the covenant's hash
    covenant: String,
    /// Why, for the other parties; no personal data
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Debug, Subcommand)]
enum Outbox {
    /// Show the last messages and what became of them
    List {
        /// How many
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u64,
    },
    /// Take a message back from every recipient that does not have it; what they have, `withdraw` withdraws
    Withdraw {
        /// Its message id
        id: String,
        /// Why, as a code of a-z, 0-9 and _; it is in the log
        #[arg(long, default_value = "withdrawn")]
        reason: String,
    },
    /// Show one message: where it is at each recipient, who decided on its release, and why
    Show {
        /// Its message id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum Corrections {
    /// Show what was said of own messages, and who confirmed it
    List {
        /// How many
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u64,
        /// Only what is not confirmed
        #[arg(long)]
        open: bool,
    },
    /// Say again what was refused
    Retry {
        /// The message they are about; all when left out
        message: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Inbox {
    /// Show the last messages received
    List {
        /// How many
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u64,
    },
    /// Write each message that nobody took over yet, and each that comes, as a line of JSON: docs/scripts.md
    Follow(follow::Follow),
    /// Show one message with its body
    Read {
        /// Its number in the list, or its message id
        id: String,
        /// Print the body's exact bytes and nothing else
        #[arg(long)]
        raw: bool,
        /// Show the body although its sender withdrew the message
        #[arg(long)]
        withdrawn: bool,
    },
    /// Report that the own application took a message over; its sender is told, with this organisation's signature
    Consumed {
        /// Its number in the list, or its message id
        id: String,
    },
    /// Erase the body of a message before its term; its row stays as evidence
    Erase {
        /// Its number in the list, or its message id
        id: String,
        /// Why, as it is confirmed to the municipality: termijn, intrekking, `verzoek_betrokkene`, `einde_zaak` or
        /// uittreding
        #[arg(long)]
        reason: String,
    },
}

/// Runs the program; the first of `args` is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    cli::main(args, |args: &Args| args.common.clone(), dispatch)
}

fn dispatch(args: Args, ui: Ui) -> Result<Outcome, Complaint> {
    let home = Home::new(&args.home);
    // Told by `doctor` as what it finds.
    if !matches!(args.command, Command::Doctor) {
        owner::check(home.dir(), "seinhuis-agent")?;
    }
    match args.command {
        Command::Init(init) => init::init(&home, &init, ui),
        Command::Enrol(enrol) => enrol::enrol(&home, &enrol, ui),
        Command::Covenant(Covenant::Propose { files }) => covenant::propose(&home, &files, ui),
        Command::Covenant(Covenant::Accept(say)) => {
            covenant::say(&home, "accept", &say.covenant, &say.reason, ui)
        }
        Command::Covenant(Covenant::Reject(say)) => {
            covenant::say(&home, "reject", &say.covenant, &say.reason, ui)
        }
        Command::Covenant(Covenant::Withdraw(say)) => {
            covenant::say(&home, "withdraw", &say.covenant, &say.reason, ui)
        }
        Command::Covenant(Covenant::Export { covenant, out }) => covenant::export(&home, &covenant, &out, ui),
        Command::Covenant(Covenant::List) => covenant::list(&home, ui),
        Command::Covenant(Covenant::Review(args)) => covenant::review(&home, &args, ui),
        Command::Covenant(Covenant::Lint(args)) => covenants::lint(&args, ui),
        Command::Case(command) => cases(&home, command, ui),
        Command::Key(Key::Show) => key::show(&home, ui),
        Command::Key(Key::Witness) => key::witness(&home, ui),
        Command::Key(Key::Seal) => sealing::seal_folder(&home.keys(), ui),
        Command::Key(Key::Unseal) => sealing::unseal_folder(&home.keys(), ui),
        Command::Key(Key::Rotate { now }) => key::rotate(&home, now, ui),
        Command::Run(options) => run::run(&home, &options, ui),
        Command::Push(push) => push::push(&home, &push, ui),
        Command::Outbox(Outbox::List { lines }) => messages::outbox(&home, lines, ui),
        Command::Outbox(Outbox::Withdraw { id, reason }) => messages::take_back(&home, id, reason, ui),
        Command::Receipt(command) => receipt::receipt(&home, command, ui),
        Command::Log(args) => entries::log(&home, args, ui),
        Command::Outbox(Outbox::Show { id }) => messages::sent(&home, id, ui),
        Command::Consent(command) => consent::consent(&home, command, ui),
        Command::Release(command) => release::release(&home, command, ui),
        Command::Inbox(Inbox::List { lines }) => messages::inbox(&home, lines, ui),
        Command::Inbox(Inbox::Follow(args)) => follow::follow(&home, args),
        Command::Inbox(Inbox::Read { id, raw, withdrawn }) => {
            messages::read(&home, Look::Read { id, withdrawn }, raw, ui)
        }
        Command::Inbox(Inbox::Consumed { id }) => messages::consumed(&home, id, ui),
        Command::Inbox(Inbox::Erase { id, reason }) => messages::erase(&home, id, reason, ui),
        Command::Correct { message, file } => correct::correct(&home, &message, &file, ui),
        Command::Withdraw { message, reason, note } => {
            correct::withdraw(&home, &message, &reason, note.as_deref(), ui)
        }
        Command::Corrections(Corrections::List { lines, open }) => {
            correct::show(&home, Request::Look(Look::Corrections { lines, open }), ui)
        }
        Command::Corrections(Corrections::Retry { message }) => {
            correct::show(&home, Request::RetryCorrections { about: message }, ui)
        }
        Command::Subject(who) => subject::subject(&home, &who, ui),
        Command::Register(command) => register::register(&home, command, ui),
        Command::Token(command) => token::token(&home, command, ui),
        Command::Webhook(command) => webhook::webhook(&home, command, ui),
        Command::Person(command) => person::person(&home, command, ui),
        Command::Sql(command) => sql::sql(&home, command, ui),
        Command::Status => status::status(&home, ui),
        Command::Doctor => Ok(doctor::doctor(&home, ui)),
    }
}

fn cases(home: &Home, command: Case, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Case::Open { covenant } => case::open(home, covenant, ui),
        Case::Step { case, step, covenant } => case::act(home, &case, ActText::Step(step), covenant, ui),
        Case::Close { case } => case::act(home, &case, ActText::Close, None, ui),
        Case::Condition { case, condition, withdraw } => {
            let act = ActText::Condition { code: condition, holds: !withdraw };
            case::act(home, &case, act, None, ui)
        }
        Case::List => case::list(home, ui),
        Case::Show { case } => case::show(home, &case, ui),
    }
}
