//! What the operator types.

mod alerts;
mod backup;
mod check;
mod covenant;
mod export;
mod flow;
mod init;
mod log;
mod mailbox;
mod operator;
mod partner;
pub mod request;
mod run;
mod top;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shell::cli::{self, Common, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::{covenants, owner, sealing};

use crate::home::Home;

/// Seinhuis broker: carries sealed packets between partners under a covenant, and never reads them.
#[derive(Debug, Parser)]
#[command(name = "seinhuis-broker", version)]
struct Args {
    /// The broker's folder
    #[arg(long, global = true, env = "SEINHUIS_BROKER_HOME", default_value = "seinhuis-broker")]
    home: PathBuf,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the folder: configuration, keys and the request for a certificate
    Init(init::Init),
    /// Make a request for the next certificate, for a partnership without a renewal service
    Renew {
        /// Where to write it instead of broker-renewal.cose in the folder
        #[arg(long)]
        request: Option<PathBuf>,
    },
    /// The private keys: seal, unseal
    #[command(subcommand)]
    Key(Key),
    /// Accounts of people who use the console: add, reset, login, list, remove
    #[command(subcommand)]
    Operator(operator::Operator),
    /// Run the broker
    Run(run::Run),
    /// Partners: add, list, suspend, resume, revoke
    #[command(subcommand)]
    Partner(Partner),
    /// Flows: list, suspend, resume
    #[command(subcommand)]
    Flow(Flow),
    /// Everything new: suspend, resume
    #[command(subcommand)]
    Intake(Intake),
    /// Covenants: load, show, review, lint
    #[command(subcommand)]
    Covenant(Covenant),
    /// The exchange log
    #[command(subcommand)]
    Log(Log),
    /// What waits for partners: list, requeue, drop
    #[command(subcommand)]
    Mailbox(Mailbox),
    /// Export part of the exchange log as a bundle that anybody can check: docs/audit.md
    Export(export::Export),
    /// Copy store and logs as of one moment, while the broker runs: docs/log.md. Private keys are not in it
    Backup {
        /// The folder to make; it must not exist
        #[arg(long)]
        out: PathBuf,
    },
    /// Put a backup back into a folder that has keys and configuration, and neither store nor log
    Restore {
        /// The folder of the backup
        #[arg(long)]
        from: PathBuf,
    },
    /// Write the card that partners need to find and recognise this broker
    Card {
        /// Where to write it instead of broker.json in the folder
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Show how things stand
    Status,
    /// Show how the broker does, live: flows, queues, agents, refusals, alarms: docs/operating.md
    Top(top::Top),
    /// Alarms, and how they are told: list, test, secret
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// Check the configuration file and nothing else
    CheckConfig,
    /// Explain the whole set-up: what is right, what is wrong, what to do
    Doctor,
}

#[derive(Debug, Subcommand)]
enum Key {
    /// Seal every private key of the folder with a passphrase: docs/certificates.md. Stop the program first
    Seal,
    /// Take the passphrase off the keys again
    Unseal,
}

#[derive(Debug, Subcommand)]
enum Partner {
    /// Register an organisation from its agent's enrolment request
    Add {
        /// The request file
        request: PathBuf,
        /// The request's fingerprint, as the partner reads it out over the telephone
        #[arg(long)]
        fingerprint: String,
    },
    /// Show the partners
    List,
    /// Keep an organisation out for now: its sessions close, its agent tries again later, what is for it waits
    Suspend {
        /// Its OIN
        oin: Oin,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
    /// Let an organisation that was suspended in again
    Resume {
        /// Its OIN
        oin: Oin,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
    /// Take an organisation's access away, at once
    Revoke {
        /// Its OIN
        oin: Oin,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Flow {
    /// Show the flows of the covenants, and which are suspended
    List,
    /// Put off what is sent on a flow, under every covenant: senders try again later, what was accepted is delivered
    Suspend {
        /// Its id, such as F02
        flow: String,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
    /// Let a flow that was suspended go on
    Resume {
        /// Its id, such as F02
        flow: String,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
enum Intake {
    /// Put off what is sent on every flow, as before maintenance: senders try again later, what was accepted is delivered
    Suspend {
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
    /// Accept again
    Resume {
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
enum Mailbox {
    /// Show what waits for each recipient, and read all of it: exit code 1 when some of it is damaged
    List,
    /// Have all that waits for an organisation offered again, the oldest first: its connections are closed, and its agent
    /// comes back by itself
    Requeue {
        /// Its OIN
        oin: Oin,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
    /// End a packet that is damaged on disk; its sender is told, with proof, and can send again
    Drop {
        /// Its digest, as shown by list
        packet: Digest,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
enum Covenant {
    /// Make a covenant known: canonical bytes, or TOML files that make up one document
    Load {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show the covenants that are known
    Show,
    /// Tell in words what a version allows and, with --against, what it changes
    Review(covenants::Review),
    /// Tell what a version allows and the law makes suspicious; exit code 1 when there is anything
    Lint(covenants::Lint),
}

#[derive(Debug, Subcommand)]
enum Log {
    /// Show the last entries
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u64,
    },
    /// Hash every entry again and compare with tiles and root
    Verify,
    /// Show the key that signs the log, with which exports are checked
    Key {
        /// Under the name of every log, from the first
        #[arg(long)]
        all: bool,
    },
    /// Show the logs, from the first
    List,
    /// Begin this year's log by hand, when the clock is more than a year past the last one
    RollOver,
    /// Begin a log under another origin, after a fork or a backup that was put back; partners follow by hand alone
    NewOrigin {
        /// The new origin, such as broker.example/uitwisseling/2026-b
        #[arg(long)]
        origin: String,
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
    /// Remove the texts of entries that are past their term; their hashes stay. A running broker does so by itself
    Purge {
        /// Only show what is due
        #[arg(long)]
        dry_run: bool,
    },
    /// Give somebody leave to read entries over HTTP for some days; prints a token once
    Grant {
        /// Why, in a sentence; only its hash is in the log
        #[arg(long)]
        purpose: String,
        /// For how many days
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: u32,
    },
    /// Show who may read entries over HTTP
    Grants,
    /// End somebody's leave to read entries
    RevokeGrant {
        /// Its number, as shown by grants
        number: u32,
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
        owner::check(home.dir(), "seinhuis-broker")?;
    }
    match args.command {
        Command::Init(init) => init::init(&home, &init, ui),
        Command::Renew { request } => init::renew(&home, request.as_deref(), ui),
        Command::Key(Key::Seal) => sealing::seal_folder(&home.keys(), ui),
        Command::Key(Key::Unseal) => sealing::unseal_folder(&home.keys(), ui),
        Command::Operator(command) => operator::operator(&home, command, ui),
        Command::Run(options) => run::run(&home, &options, ui),
        Command::Partner(Partner::Add { request, fingerprint }) => {
            partner::add(&home, &request, &fingerprint, ui)
        }
        Command::Partner(Partner::List) => partner::list(&home, ui),
        Command::Partner(Partner::Revoke { oin, reason }) => {
            partner::revoke(&home, oin, reason.as_deref(), ui)
        }
        Command::Partner(Partner::Suspend { oin, reason }) => partner::suspend(&home, oin, &reason, ui),
        Command::Partner(Partner::Resume { oin, reason }) => partner::resume(&home, oin, &reason, ui),
        Command::Flow(Flow::List) => flow::list(&home, ui),
        Command::Intake(Intake::Suspend { reason }) => flow::suspend_intake(&home, &reason, ui),
        Command::Intake(Intake::Resume { reason }) => flow::resume_intake(&home, &reason, ui),
        Command::Flow(Flow::Suspend { flow, reason }) => flow::suspend(&home, &flow, &reason, ui),
        Command::Flow(Flow::Resume { flow, reason }) => flow::resume(&home, &flow, &reason, ui),
        Command::Covenant(Covenant::Load { files }) => covenant::load(&home, &files, ui),
        Command::Covenant(Covenant::Show) => covenant::show(&home, ui),
        Command::Covenant(Covenant::Review(args)) => covenants::review(&args, ui),
        Command::Covenant(Covenant::Lint(args)) => covenants::lint(&args, ui),
        Command::Log(command) => logs(&home, command, ui),
        Command::Mailbox(Mailbox::List) => mailbox::list(&home, ui),
        Command::Mailbox(Mailbox::Requeue { oin, reason }) => mailbox::requeue(&home, oin, &reason, ui),
        Command::Mailbox(Mailbox::Drop { packet, reason }) => mailbox::end(&home, packet, &reason, ui),
        Command::Export(asked) => export::export(&home, asked, ui),
        Command::Backup { out } => backup::backup(&home, &out, ui),
        Command::Restore { from } => backup::restore(&home, &from, ui),
        Command::Card { out } => init::card(&home, out.as_deref(), ui),
        Command::Status => check::status(&home, ui),
        Command::Top(options) => top::top(&home, &options, ui),
        Command::Alerts(command) => alerts::alerts(&home, &command, ui),
        Command::CheckConfig => check::config(&home, ui),
        Command::Doctor => Ok(check::doctor(&home, ui)),
    }
}

fn logs(home: &Home, command: Log, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Log::Tail { lines } => log::tail(home, lines, ui),
        Log::Verify => log::verify(home, ui),
        Log::Key { all } => log::key(home, all, ui),
        Log::List => log::list(home, ui),
        Log::RollOver => log::roll_over(home, ui),
        Log::NewOrigin { origin, reason } => log::new_origin(home, &origin, &reason, ui),
        Log::Purge { dry_run } => log::purge(home, dry_run, ui),
        Log::Grant { purpose, days } => log::grant(home, &purpose, days, ui),
        Log::Grants => log::grants(home, ui),
        Log::RevokeGrant { number } => log::revoke_grant(home, number, ui),
    }
}
