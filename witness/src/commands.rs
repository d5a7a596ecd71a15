//! What the operator of a witness types.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::note::check_name;
use seinhuis_shell::cli::{self, Common, Outcome, Ui};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use serde_json::json;
use tokio::net::TcpListener;

use crate::Bounds;
use crate::config::Config;
use crate::state::Witness;

/// Most bytes of the file with the name.
const NAME_MAX: usize = 512;

/// Seinhuis witness: cosigns checkpoints of exchange logs that it saw continue.
#[derive(Debug, Parser)]
#[command(name = "seinhuis-witness", version)]
struct Args {
    /// The witness' folder
    #[arg(long, global = true, env = "SEINHUIS_WITNESS_HOME", default_value = "seinhuis-witness")]
    home: PathBuf,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the folder: configuration and key
    Init {
        /// The name of its key, such as getuige.inspectie.example; never change it
        #[arg(long)]
        name: String,
        /// The verifier key of a log, as on its broker's card; may be repeated
        #[arg(long = "log", required = true)]
        logs: Vec<String>,
        /// The TCP address to listen on
        #[arg(long, default_value = "127.0.0.1:7480")]
        listen: SocketAddr,
    },
    /// Print the verifier key, for the covenant
    Key,
    /// Check the configuration
    CheckConfig,
    /// Run the witness
    Run {
        /// Write the address really listened on to this file, once it is
        #[arg(long)]
        address_file: Option<PathBuf>,
    },
}

/// Runs the program; the first of `args` is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    cli::main(args, |args: &Args| args.common.clone(), dispatch)
}

fn dispatch(args: Args, ui: Ui) -> Result<Outcome, Complaint> {
    let home = args.home;
    match args.command {
        Command::Init { name, logs, listen } => init(&home, &name, logs, listen, ui),
        Command::Key => show_key(&home, ui),
        Command::CheckConfig => {
            let logs = Config::load(&home.join("witness.toml"))?.keys()?.len();
            let text = Text::new(format!("In orde; {logs} log(s)."), format!("In order; {logs} log(s)."));
            ui.answer(&text, &json!({ "valid": true, "logs": logs }));
            Ok(Outcome::Done)
        }
        Command::Run { address_file } => serve(&home, address_file.as_deref(), ui),
    }
}

fn init(
    home: &Path,
    name: &str,
    logs: Vec<String>,
    listen: SocketAddr,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    check_name(name).map_err(|error| {
        Complaint::usage(
            Text::new(format!("De naam kan niet: {error}"), format!("The name is not possible: {error}")),
            Text::new(
                "Geef --name, zoals getuige.inspectie.example.",
                "Give --name, such as witness.example.",
            ),
        )
    })?;
    let config = Config { listen, logs, telemetry: cli::Telemetry::default() };
    config.keys()?;
    files::make_private_dir(home)?;
    let text = format!(
        "# Every key: see samples/complete.toml.\n\nlisten = \"{listen}\"\nlogs = {}\n",
        json!(config.logs)
    );
    files::write(&home.join("witness.toml"), text.as_bytes(), Existing::Keep)?;
    files::write(&home.join("name"), name.as_bytes(), Existing::Keep)?;
    keys::generate_signing(&home.join("witness.key"))?;
    show_key(home, ui)
}

fn key(home: &Path) -> Result<(String, seinhuis_shared::signing::SigningKey), Complaint> {
    let name = files::read_text(&home.join("name"), NAME_MAX)?.trim().to_owned();
    Ok((name, keys::load_signing(&home.join("witness.key"))?))
}

fn show_key(home: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let (name, secret) = key(home)?;
    let vkey = WitnessKey::new(&name, &secret.public().to_bytes())
        .map_err(|error| Complaint::bug(error.to_string()))?
        .to_string();
    ui.answer(
        &Text::new(
            format!(
                "Voor het convenant:\n[[witnesses]]\nname = \"…\"\nvkey = \"{vkey}\"\nurl = \"https://…\""
            ),
            format!("For the covenant:\n[[witnesses]]\nname = \"…\"\nvkey = \"{vkey}\"\nurl = \"https://…\""),
        ),
        &json!({ "vkey": vkey }),
    );
    Ok(Outcome::Done)
}

fn serve(home: &Path, address_file: Option<&Path>, ui: Ui) -> Result<Outcome, Complaint> {
    let config = Config::load(&home.join("witness.toml"))?;
    cli::start_log(&config.telemetry.level, config.telemetry.json)?;
    files::check_private_dir(home)?;
    let (name, secret) = key(home)?;
    let witness = Witness::open(&name, secret, &config.keys()?, &home.join("state"))?;
    let runtime = cli::runtime()?;
    runtime.block_on(async {
        let socket = |error: std::io::Error| {
            Complaint::io(Doing::Socket, Path::new(&config.listen.to_string()), &error)
        };
        let listener = TcpListener::bind(config.listen).await.map_err(socket)?;
        let address = listener.local_addr().map_err(socket)?;
        if let Some(path) = address_file {
            files::write(path, address.to_string().as_bytes(), Existing::Replace)?;
        }
        ui.answer(
            &Text::new(
                format!("De getuige luistert op {address}."),
                format!("The witness listens on {address}."),
            ),
            &json!({ "listening": address.to_string() }),
        );
        tokio::select! {
            () = crate::serve(listener, witness, Bounds::default()) => {}
            () = cli::asked_to_stop() => {}
        }
        Ok::<_, Complaint>(())
    })?;
    Ok(Outcome::Done)
}
