//! The broker as a whole: store, core, log and engine put together, with or without a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use seinhuis_broker_core::{Answer, Command, CommandId, Core, Input};
use seinhuis_journal::{IndexRecovery, JournalStore, Options, Recovery, Store};
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use tokio::sync::oneshot;

use crate::SOFTWARE;
use crate::config::Config;
use crate::engine::{Attach, Engine, EngineError};
use crate::home::Home;
use crate::log::Log;
use crate::store::{self, TableRow};

/// A broker without a network: what commands and sessions work on.
#[derive(Debug, Clone)]
pub struct Service {
    /// The engine.
    pub engine: Engine,
    /// The exchange log.
    pub log: Log,
    /// Reads the bytes of packets.
    pub blobs: seinhuis_journal::BlobReader,
    /// The log's key, for exports; what is committed to already is all it signs here.
    pub log_key: Arc<(SigningKey, LogKey)>,
    commands: Arc<AtomicU64>,
}

/// The engine's thread, to be joined at the end.
pub type EngineThread = JoinHandle<Result<(), EngineError>>;

impl Service {
    /// Opens store and log, checks that they belong together, and starts the engine.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix; nothing is served then.
    pub fn open(home: &Home, config: &Config) -> Result<(Self, EngineThread), Complaint> {
        let log_key = home.log_identity(&config.log_origin)?;
        let options = Options {
            segment_bytes: config.store.segment_mib << 20,
            index_interval: Duration::from_millis(config.store.index_interval_ms),
            ..Options::default()
        };
        seinhuis_shell::files::make_private_dir(&home.store())?;
        seinhuis_shell::files::make_private_dir(&home.log())?;
        let (store, recovery) =
            JournalStore::open(&home.store(), options).map_err(|error| store::complaint(&error))?;
        tell(&recovery);
        let rows = store::rows(&store).map_err(|error| store::complaint(&error))?;
        let (entries, size) = entries(&rows);
        let log = Log::open(&home.log(), size, entries)?;
        let settings = core_config(config, &log_key.1.key.to_string());
        let core = Core::restore(settings, rows, log.frontier()?).map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("De opslag in {} klopt niet: {error}", home.store().display()),
                    format!("The store in {} does not hold: {error}", home.store().display()),
                ),
                Text::new(
                    "Start de broker niet op deze bestanden; zet de laatste reservekopie terug.",
                    "Do not run the broker on these files; restore the latest backup.",
                ),
            )
        })?;
        check_head(&core, &log_key.1)?;
        let blobs = store.blob_reader();
        let exports = Arc::new(log_key.clone());
        let (engine, thread) = Engine::start(core, Box::new(store), log.clone(), log_key);
        Ok((Self { engine, log, blobs, log_key: exports, commands: Arc::default() }, thread))
    }

    /// Gives the engine a command and waits for the answer, which comes after its record is durable.
    ///
    /// # Errors
    /// The refusal, as a sentence; or that the engine has stopped.
    pub async fn command(&self, command: Command) -> Result<Answer, Complaint> {
        let id = CommandId(self.commands.fetch_add(1, Ordering::Relaxed));
        let (out, answer) = oneshot::channel();
        let input = Input::Operator { id, command };
        self.engine.bring(Some(Attach::Command(id, out)), Some(input), 0).await;
        match answer.await {
            Ok(answer) => answer.map_err(Complaint::from_refusal),
            Err(_) => Err(Complaint::from_refusal(Refusal::StorageFailed)),
        }
    }

    /// Writes complete parts of the log to files, for as long as the engine runs.
    pub async fn publish(self) {
        let mut pace = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = self.engine.stopped() => return,
                _ = pace.tick() => {}
            }
            let log = self.log.clone();
            match tokio::task::spawn_blocking(move || log.publish()).await {
                Ok(Ok(Some(size))) => {
                    self.engine.bring(None, Some(Input::Published { size }), 0).await;
                }
                Ok(Ok(None)) => {}
                Ok(Err(complaint)) => tracing::error!("{}", complaint.what.en),
                Err(error) => tracing::error!(%error, "the publisher failed"),
            }
        }
    }

    /// Lets the core notice that time passes, for as long as the engine runs.
    pub async fn tick(self) {
        let mut pace = tokio::time::interval(Duration::from_millis(500));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            if !self.engine.bring(None, Some(Input::Tick), 0).await {
                return;
            }
        }
    }
}

/// The core's settings.
fn core_config(config: &Config, log_key: &str) -> seinhuis_broker_core::Config {
    let mut settings = seinhuis_broker_core::Config::new(&config.log_origin, log_key, SOFTWARE);
    settings.mailbox_packets = config.mailbox.packets;
    settings.mailbox_bytes = config.mailbox.bytes;
    settings
}

/// The entries that are still rows, and the size the log has according to its head.
fn entries(rows: &[TableRow]) -> (Vec<(u64, Vec<u8>)>, u64) {
    use seinhuis_broker_core::{Table, Write};
    let mut entries = Vec::new();
    let mut size = 0;
    for (table, key, value) in rows {
        if matches!(table, Table::Entries | Table::Head) {
            match Write::from_row(*table, key, value) {
                Some(Write::Entries { first, entries: some }) => entries.extend((first..).zip(some)),
                Some(Write::Head(head)) => size = head.size,
                Some(_) | None => {}
            }
        }
    }
    (entries, size)
}

/// The kept checkpoint must be this log's and signed by this key: a key or store of another broker is
/// noticed before anything is served.
fn check_head(core: &Core, log: &LogKey) -> Result<(), Complaint> {
    let Some(head) = core.head() else { return Ok(()) };
    seinhuis_shared::tlog::checkpoint::Checkpoint::verify(&head.note, &log.origin, &log.key)
        .map(|_| ())
        .map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("Het laatste controlepunt van het log is niet van deze broker: {error}"),
                    format!("The log's last checkpoint is not this broker's: {error}"),
                ),
                Text::new(
                    "Gebruik de sleutel keys/log.key en de log_origin waarmee dit log begonnen is.",
                    "Use the key keys/log.key and the log_origin this log was begun with.",
                ),
            )
        })
}

fn tell(recovery: &Recovery) {
    if let Some(cut) = &recovery.cut {
        tracing::warn!(path = %cut.path.display(), "an interrupted write, never confirmed, was removed");
    }
    match &recovery.index {
        IndexRecovery::Created => tracing::info!("a new store"),
        IndexRecovery::Kept { replayed } => tracing::info!(replayed, "the index was kept"),
        IndexRecovery::Rebuilt { reason, replayed } => {
            tracing::warn!(?reason, replayed, "the index was rebuilt from the journal");
        }
    }
}
