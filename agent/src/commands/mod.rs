//! What people type.

mod covenant;
mod doctor;
mod enrol;
mod init;
mod messages;
mod present;
mod push;
pub mod request;
mod run;
mod status;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seinhuis_shell::cli::{self, Common, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::covenants;

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
    /// Covenants: load, list, review, lint
    #[command(subcommand)]
    Covenant(Covenant),
    /// Run the agent
    Run(run::Run),
    /// Hand over a signal; it is kept until the broker has accepted or refused it
    Push(Box<push::Push>),
    /// Messages sent
    #[command(subcommand)]
    Outbox(Outbox),
    /// Messages received
    #[command(subcommand)]
    Inbox(Inbox),
    /// Show how things stand
    Status,
    /// Explain the whole set-up: what is right, what is wrong, what to do
    Doctor,
}

#[derive(Debug, Subcommand)]
enum Covenant {
    /// Pin a covenant: canonical bytes, or TOML files that make up one document
    Load {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show the pinned covenants
    List,
    /// Tell in words what a version allows and, with --against, what it changes
    Review(covenants::Review),
    /// Tell what a version allows and the law makes suspicious; exit code 1 when there is anything
    Lint(covenants::Lint),
}

#[derive(Debug, Subcommand)]
enum Outbox {
    /// Show the last messages and what became of them
    List {
        /// How many
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u64,
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
    /// Show one message with its body
    Read {
        /// Its number in the list, or its message id
        id: String,
        /// Print the body's exact bytes and nothing else
        #[arg(long)]
        raw: bool,
    },
}

/// Runs the program; the first of `args` is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    cli::main(args, |args: &Args| args.common, dispatch)
}

fn dispatch(args: Args, ui: Ui) -> Result<Outcome, Complaint> {
    let home = Home::new(&args.home);
    match args.command {
        Command::Init(init) => init::init(&home, &init, ui),
        Command::Enrol(enrol) => enrol::enrol(&home, &enrol, ui),
        Command::Covenant(Covenant::Load { files }) => covenant::load(&home, &files, ui),
        Command::Covenant(Covenant::List) => covenant::list(&home, ui),
        Command::Covenant(Covenant::Review(args)) => covenants::review(&args, ui),
        Command::Covenant(Covenant::Lint(args)) => covenants::lint(&args, ui),
        Command::Run(options) => run::run(&home, &options, ui),
        Command::Push(push) => push::push(&home, &push, ui),
        Command::Outbox(Outbox::List { lines }) => messages::outbox(&home, lines, ui),
        Command::Inbox(Inbox::List { lines }) => messages::inbox(&home, lines, ui),
        Command::Inbox(Inbox::Read { id, raw }) => messages::read(&home, id, raw, ui),
        Command::Status => status::status(&home, ui),
        Command::Doctor => Ok(doctor::doctor(&home, ui)),
    }
}
