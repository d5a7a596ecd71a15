//! The broker as a whole: store, core, log and engine put together, with or without a network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use seinhuis_broker_core::{Answer, Command, CommandId, Core, Input};
use seinhuis_journal::{IndexRecovery, JournalStore, Options, Recovery, Store};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use tokio::sync::oneshot;

use crate::SOFTWARE;
use crate::config::Config;
use crate::engine::{Attach, Engine, EngineError};
use crate::home::Home;
use crate::logs::{Known, Logs, note_of};
use crate::store::{self, TableRow};
use crate::upkeep::Checker;

/// A broker without a network: what commands and sessions work on.
#[derive(Debug, Clone)]
pub struct Service {
    /// The engine.
    pub engine: Engine,
    /// The exchange logs.
    pub logs: Logs,
    /// Reads the bytes of packets.
    pub blobs: seinhuis_journal::BlobReader,
    /// Whether the logs' files are what they were.
    pub checker: Checker,
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
        Self::open_with(home, config, false)
    }

    /// As [`Service::open`]; with `aside`, log files of a history the store does not know are set aside instead of
    /// refused. For nobody but who begins a log under another origin.
    ///
    /// # Errors
    /// As [`Service::open`].
    pub(crate) fn open_with(
        home: &Home,
        config: &Config,
        aside: bool,
    ) -> Result<(Self, EngineThread), Complaint> {
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
        let settings = core_config(config, log_key.0.public());
        let known = known(&rows, &config.log_origin)?;
        check_origin(&known, config, home)?;
        let logs = Logs::open(&home.log(), log_key, known, aside)?;
        let current = logs.current()?;
        let core = Core::restore(settings, rows, current.log.frontier()?).map_err(|error| {
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
        check_head(&core, &logs.key(&current.origin)?.1)?;
        let blobs = store.blob_reader();
        let (engine, thread) = Engine::start(core, Box::new(store), logs.clone());
        let checker = Checker::open(home.log().join("self-check.json"));
        Ok((Self { engine, logs, blobs, checker, commands: Arc::default() }, thread))
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
        let mut told = 0;
        loop {
            tokio::select! {
                () = self.engine.stopped() => return,
                _ = pace.tick() => {}
            }
            let logs = self.logs.clone();
            match tokio::task::spawn_blocking(move || logs.publish()).await {
                Ok(Ok(end)) if end > told => {
                    told = end;
                    self.engine.bring(None, Some(Input::Published { end }), 0).await;
                }
                Ok(Ok(_)) => {}
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
fn core_config(config: &Config, log_key: PublicKey) -> seinhuis_broker_core::Config {
    let mut settings = seinhuis_broker_core::Config::new(&config.log_origin, log_key, SOFTWARE);
    settings.mailbox_packets = config.mailbox.packets;
    settings.mailbox_bytes = config.mailbox.bytes;
    settings.log_retention_days = config.log.retention_days;
    settings
}

/// What the store knows of each log: the first has the origin that is configured as long as nothing is logged.
fn known(rows: &[TableRow], origin: &str) -> Result<Vec<Known>, Complaint> {
    use seinhuis_broker_core::{Shard, Table, Write};
    let damaged = || Complaint::bug("a row of the log cannot be read");
    let mut shards: Vec<Shard> = Vec::new();
    let mut entries: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut purged: BTreeMap<u32, u64> = BTreeMap::new();
    let (mut size, mut note) = (0, Vec::new());
    for (table, key, value) in rows {
        if !matches!(table, Table::Entries | Table::Head | Table::Shards | Table::Purged) {
            continue;
        }
        match Write::from_row(*table, key, value) {
            Some(Write::Entries { first, entries: some }) => entries.extend((first..).zip(some)),
            Some(Write::Head(head)) => (size, note) = (head.size, head.note.0),
            Some(Write::Shard { shard, .. }) => shards.push(shard),
            Some(Write::Purged { log, entries }) => drop(purged.insert(log, entries)),
            Some(_) | None => return Err(damaged()),
        }
    }
    if shards.is_empty() {
        let first = Shard { origin: origin.to_owned(), base: 0, opening: Bytes::default(), closing: None };
        shards.push(first);
    }
    let mut known = Vec::new();
    for (number, shard) in (0..).zip(shards) {
        let (size, note) = match &shard.closing {
            Some(closing) => (closing.size, note_of(&closing.receipt)),
            None => (size, note.clone()),
        };
        let end = shard.base.saturating_add(size);
        let own = |(position, _): &(u64, Vec<u8>)| (shard.base..end).contains(position);
        let rows = entries.extract_if(.., |row| own(row)).collect();
        known.push(Known { size, note, rows, purged: purged.remove(&number).unwrap_or_default(), shard });
    }
    if entries.is_empty() { Ok(known) } else { Err(damaged()) }
}

/// The log has to have been begun under the origin that is configured.
fn check_origin(known: &[Known], config: &Config, home: &Home) -> Result<(), Complaint> {
    let first = known.first().map(|one| one.shard.origin.as_str()).unwrap_or_default();
    if first == config.log_origin {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(
            format!("Dit log is begonnen als {first}, maar log_origin zegt {}.", config.log_origin),
            format!("This log was begun as {first}, but log_origin says {}.", config.log_origin),
        ),
        Text::new(
            format!(
                "Zet in {} log_origin terug op {first}. De broker gaat zelf naar het volgende jaar; een log onder een andere naam begint met `seinhuis-broker log new-origin`.",
                home.config().display()
            ),
            format!(
                "Put log_origin back to {first} in {}. The broker goes to the next year by itself; a log under another name begins with `seinhuis-broker log new-origin`.",
                home.config().display()
            ),
        ),
    ))
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
