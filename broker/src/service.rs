//! The broker as a whole: store, core, log and engine put together, with or without a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use seinhuis_broker_core::{
    Answer, Command, CommandId, Core, CovenantWatch, Heard, Input, Question, WitnessedRow,
};
use seinhuis_journal::{JournalStore, Options, Store};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::witness;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::renewal::Live;
use seinhuis_shell::room::Keeper;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex, oneshot};

use crate::SOFTWARE;
use crate::backup::{self, Manifest, Point};
use crate::config::Config;
use crate::engine::{Attach, Engine, EngineError};
use crate::export::Witnessed;
use crate::fork;
use crate::home::Home;
use crate::log::Log;
use crate::logs::{Known, Logs, OneLog, joined, note_of};
use crate::monitor::Monitor;
use crate::store::{self, TableRow};
use crate::upkeep::Checker;

/// How long an export waits for witnesses to cosign the entry that tells of it.
const EXPORT_PATIENCE: Duration = Duration::from_secs(10);

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
    /// How the renewing of the certificate goes.
    pub renewing: Live,
    /// What an operator sees.
    pub(crate) monitor: Monitor,
    commands: Arc<AtomicU64>,
    /// Held while files of the logs have to stay as they are: by a backup, and by who removes texts.
    pub(crate) still: Arc<Mutex<()>>,
}

/// The engine's thread, to be joined at the end.
pub type EngineThread = JoinHandle<Result<(), EngineError>>;

impl Service {
    /// Opens store and log, checks that they belong together, and starts the engine.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix; nothing is served then.
    pub fn open(home: &Home, config: &Config) -> Result<(Self, EngineThread), Complaint> {
        Self::open_with(home, config, None)
    }

    /// As [`Service::open`], for who begins a log under the origin `next`: log files of a history the store does not
    /// know are set aside instead of refused, after everything that may refuse that origin.
    ///
    /// # Errors
    /// As [`Service::open`].
    pub(crate) fn open_with(
        home: &Home,
        config: &Config,
        next: Option<&str>,
    ) -> Result<(Self, EngineThread), Complaint> {
        let log_key = home.log_identity(&config.log_origin)?;
        let options = Options {
            segment_bytes: config.store.segment_mib << 20,
            index_interval: Duration::from_millis(config.store.index_interval_ms),
            ..Options::default()
        };
        if next.is_none() {
            fork::check(home)?;
        }
        seinhuis_shell::files::make_private_dir(&home.store())?;
        seinhuis_shell::files::make_private_dir(&home.log())?;
        let (store, _) =
            JournalStore::open(&home.store(), options).map_err(|error| store::complaint(&error))?;
        let rows = store::rows(&store).map_err(|error| store::complaint(&error))?;
        let settings = core_config(config, log_key.0.public());
        let known = known(&rows, &config.log_origin)?;
        check_origin(&known, config, home)?;
        let logs = Logs::open(&home.log(), log_key, known, next.is_some())?;
        let current = logs.current()?;
        let root = head_root(&rows);
        let mut core = Core::restore(settings, rows, current.log.frontier()?).map_err(|error| {
            // Which file it is says more than that it does not add up.
            if let Some(damage) = current.log.damage(root.as_ref()) {
                return damage;
            }
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
        current.log.damage(root.as_ref()).map_or(Ok(()), Err)?;
        if let Some(next) = next {
            core.may_begin(next).map_err(Complaint::from_refusal)?;
            logs.check_lost(next)?;
            logs.set_aside()?;
        } else {
            logs.check_shown()?;
            check_witnessed(&core, &current.log)?;
            core.begin(clock::now());
        }
        let blobs = store.blob_reader();
        let entries = current.end();
        let room = Keeper::new(config.store.keep_free_mib, vec![home.store(), home.log()]);
        let (engine, thread) = Engine::start(core, Box::new(store), logs.clone(), room);
        let checker = Checker::open(home.log().join("self-check.json"));
        Ok((
            Self {
                engine,
                logs,
                blobs,
                checker,
                commands: Arc::default(),
                still: Arc::default(),
                renewing: Live::default(),
                monitor: Monitor::new(clock::now(), entries),
            },
            thread,
        ))
    }

    /// Gives the engine a command and waits for the answer, which comes after its record is durable.
    ///
    /// # Errors
    /// The refusal, as a sentence; or that the engine has stopped.
    pub async fn command(&self, command: Command) -> Result<Answer, Complaint> {
        let id = CommandId(self.commands.fetch_add(1, Ordering::Relaxed));
        let (out, answer) = oneshot::channel();
        let input = Input::Operator { id, command };
        self.engine.bring(Some(Attach::Command(id, out)), Some(input)).await;
        match answer.await {
            Ok(answer) => answer.map_err(Complaint::from_refusal),
            Err(_) => Err(Complaint::from_refusal(Refusal::StorageFailed)),
        }
    }

    /// Holds the checkpoint that an agent says it cosigned against the log it is of.
    ///
    /// # Errors
    /// A sentence when the log's files cannot be read.
    pub fn hear(&self, cosigned: &[u8]) -> Result<Heard, Complaint> {
        self.logs.hear(cosigned)
    }

    /// The bytes of what a witness is asked (C2SP tlog-witness), with the proof read from the log.
    ///
    /// # Errors
    /// A sentence when the log's files cannot be read, or another log was begun meanwhile.
    pub async fn request(&self, question: Question) -> Result<Vec<u8>, Complaint> {
        let logs = self.logs.clone();
        let make = move || {
            let Question { old, size, note } = question;
            let log = logs.named(note.text().lines().next().unwrap_or_default())?.log;
            let proof = if old == 0 || old == size { Vec::new() } else { log.consistency(old, size)? };
            let request = witness::Request { old, proof, note };
            request.to_bytes().ok_or_else(|| Complaint::bug("a request to cosign is too large"))
        };
        tokio::task::spawn_blocking(make).await.map_err(|error| Complaint::bug(error.to_string()))?
    }

    /// Writes a backup of what is committed to `out`, which must not exist. Packets go on meanwhile; texts past their
    /// term stay until it is done.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix; what is in `out` is then no whole backup.
    pub(crate) async fn backup(&self, out: PathBuf) -> Result<Manifest, Complaint> {
        let still = Arc::clone(&self.still).lock_owned().await;
        backup::begin(&out)?;
        let point = self.point().await?;
        let key = self.logs.own_key();
        // Dropped with this future when the broker stops: the copying ends at the next file.
        let (_asked, mut asked) = oneshot::channel::<()>();
        let copy = move || {
            let mut go_on = || asked.try_recv() == Err(TryRecvError::Empty);
            let written = backup::write(&point, &key, &out, clock::now(), &mut go_on);
            drop(still);
            written
        };
        let written =
            tokio::task::spawn_blocking(copy).await.map_err(|error| Complaint::bug(error.to_string()))??;
        tracing::info!(sequence = written.sequence, files = written.files.len(), "a backup was made");
        Ok(written)
    }

    /// What is committed now, to be copied while the engine goes on.
    ///
    /// # Errors
    /// A sentence when the store stopped.
    pub(crate) async fn point(&self) -> Result<Point, Complaint> {
        let (tell, told) = oneshot::channel();
        self.engine.bring(Some(Attach::Still(tell)), None).await;
        let point = told.await.map_err(|_| Complaint::from_refusal(Refusal::StorageFailed))?;
        point.map_err(|error| store::complaint(&error))
    }

    /// Waits until every covenant that asks a quorum has one over a tree of this log of at least `size` entries. `false`
    /// when that takes longer than `patience`, another log grows meanwhile, or the engine stops.
    pub async fn wait_witnessed(&self, origin: &str, size: u64, patience: Duration) -> bool {
        let mut watch = self.engine.watch();
        let of = |one: &CovenantWatch| one.origin == origin;
        let reached = |one: &CovenantWatch| one.newest.as_ref().is_some_and(|row| row.size >= size);
        let waiting = watch.wait_for(|watch| {
            watch.covenants.iter().all(|one| of(one) && reached(one))
                || watch.covenants.iter().any(|one| !of(one))
        });
        let Ok(Ok(watch)) = tokio::time::timeout(patience, waiting).await else { return false };
        watch.covenants.iter().all(of)
    }

    /// What witnesses saw of a log, for an export of all it holds at the moment: the newest checkpoint that as many
    /// cosigned as is asked, and the earlier ones that are kept. Of the log that grows the newest gets a moment to
    /// come; of a log that ended it is the final one, if that was cosigned.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn for_export(&self, one: &OneLog) -> Result<(Witnessed, Vec<WitnessedRow>), Complaint> {
        // It may have ended since it was looked up: the entry that tells of the export is of the next log then.
        let closed = self.logs.named(&one.origin)?.closed;
        let (size, asks) = (one.log.size(), !self.engine.watch().borrow().covenants.is_empty());
        let reached = closed || (asks && self.wait_witnessed(&one.origin, size, EXPORT_PATIENCE).await);
        let answer = self.command(Command::WitnessHistory { origin: one.origin.clone() }).await?;
        let Answer::WitnessHistory(rows) = answer else { return Err(Complaint::bug("another answer")) };
        let newest: Vec<(Digest, WitnessedRow)> = if closed {
            rows.iter().filter(|(_, row)| row.size == size).cloned().collect()
        } else {
            let watch = Arc::clone(&self.engine.watch().borrow());
            let own = watch.covenants.iter().filter(|watch| reached && watch.origin == one.origin);
            own.filter_map(|watch| Some((watch.covenant, watch.newest.clone()?))).collect()
        };
        let checkpoint = joined(newest.iter().map(|(_, row)| row));
        let policies = self.policies(&one.origin, &newest)?;
        Ok((Witnessed { checkpoint, policies }, rows.into_iter().map(|(_, row)| row).collect()))
    }

    /// The policies by which these are witnessed. A policy has one quorum, and a partner of two covenants could be in one
    /// group of it only: each covenant has its own.
    fn policies(
        &self,
        origin: &str,
        rows: &[(Digest, WitnessedRow)],
    ) -> Result<BTreeMap<Digest, String>, Complaint> {
        let covenants: BTreeSet<Digest> = rows.iter().map(|(covenant, _)| *covenant).collect();
        let log = self.logs.key(origin)?.1;
        let directory = self.engine.directory();
        let policy = |covenant: Digest| {
            let version = directory.covenant(&covenant).ok()?;
            let policy = version.compiled().covenant().witness_policy(&log.key)?;
            Some((covenant, String::from_utf8(policy.to_bytes()).ok()?))
        };
        Ok(covenants.into_iter().filter_map(policy).collect())
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
                    self.engine.bring(None, Some(Input::Published { end })).await;
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
            if !self.engine.bring(None, Some(Input::Tick)).await {
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
    settings.quota = config.quota.of_core();
    let stop_after = config.witnesses.stop_after;
    settings.stop_unwitnessed = (stop_after > 0).then(|| Span::seconds(stop_after));
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
    let mut witnessed: BTreeMap<String, Vec<WitnessedRow>> = BTreeMap::new();
    let (mut size, mut note) = (0, Vec::new());
    for (table, key, value) in rows {
        let of_logs = [Table::Entries, Table::Head, Table::Shards, Table::Purged, Table::Witnessed];
        if !of_logs.contains(table) {
            continue;
        }
        match Write::from_row(*table, key, value) {
            Some(Write::Entries { first, entries: some }) => entries.extend((first..).zip(some)),
            Some(Write::Head(head)) => (size, note) = (head.size, head.note.0),
            Some(Write::Shard { shard, .. }) => shards.push(shard),
            Some(Write::Purged { log, entries }) => drop(purged.insert(log, entries)),
            Some(Write::Witnessed { origin, row, .. }) => witnessed.entry(origin).or_default().push(*row),
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
        let witnessed = witnessed.remove(&shard.origin).unwrap_or_default();
        let purged = purged.remove(&number).unwrap_or_default();
        known.push(Known { shard, size, note, witnessed, rows, purged });
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
    Checkpoint::verify(&head.note, &log.origin, &log.key).map(|_| ()).map_err(|error| {
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

/// The root of the newest head, as the store has it.
fn head_root(rows: &[TableRow]) -> Option<Digest> {
    use seinhuis_broker_core::{Table, Write};
    rows.iter().filter(|(table, ..)| *table == Table::Head).find_map(|(table, key, value)| {
        match Write::from_row(*table, key, value) {
            Some(Write::Head(head)) => Some(head.root),
            Some(_) | None => None,
        }
    })
}

/// What this broker itself kept as witnessed must be in its log.
fn check_witnessed(core: &Core, log: &Log) -> Result<(), Complaint> {
    for row in core.witnessed_here() {
        let text = Note::parse(&row.note).map(|note| note.text().to_owned());
        let checkpoint = text.ok().and_then(|text| Checkpoint::parse(&text).ok());
        let fits = match &checkpoint {
            Some(one) if one.size() <= log.size() => log.root(one.size())? == *one.root(),
            Some(_) | None => false,
        };
        if !fits {
            let (size, own) = (row.size, log.size());
            return Err(Complaint::usage(
                Text::new(
                    format!(
                        "De stand van {size} regels, die getuigen meetekenden, staat niet in dit log ({own} regels)."
                    ),
                    format!(
                        "The checkpoint of {size} entries, which witnesses cosigned, is not in this log ({own} entries)."
                    ),
                ),
                Text::new(
                    "Start de broker niet op deze bestanden; zet de laatste reservekopie terug.",
                    "Do not run the broker on these files; restore the latest backup.",
                ),
            ));
        }
    }
    Ok(())
}
