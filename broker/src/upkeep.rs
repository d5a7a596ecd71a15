//! What a broker does for its logs by itself, beside its work: checks that the files are what they were, and removes
//! texts that are past their term.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seinhuis_broker_core::{Answer, Command, Retention};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::logs::{Logs, OneLog};
use crate::service::Service;

/// How often the self-check goes on.
const STEP: Duration = Duration::from_secs(1);
/// Most bundles in a step, however large the logs are.
const STEP_MAX: u64 = 256;
/// How long it rests after a whole pass, when the period leaves room for that.
const REST: Duration = Duration::from_mins(10);
/// Most failures that are kept; the first ones say enough.
const FAILURES_MAX: usize = 32;
/// How often texts past their term are looked for.
const RETAIN: Duration = Duration::from_hours(1);
/// Most bytes of the file that says where the check is.
const STATE_MAX: usize = 64 * 1024;

/// Something in the logs' files that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which log, by its folder.
    pub log: String,
    /// When it was found first, in milliseconds since 1970.
    pub found: Timestamp,
    /// What, in Dutch and English.
    pub what: (String, String),
}

/// Where the self-check is, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SelfCheck {
    /// The log it is in, by number.
    log: usize,
    /// The bundle that is next.
    bundle: u64,
    /// Whether this pass found anything.
    failed: bool,
    /// When the last whole pass ended.
    pub last_pass: Option<Timestamp>,
    /// What is wrong, until a pass finds nothing.
    pub failures: Vec<Failure>,
}

/// A handle on the self-check.
#[derive(Debug, Clone)]
pub struct Checker {
    file: Arc<PathBuf>,
    state: Arc<Mutex<SelfCheck>>,
}

impl Checker {
    /// Goes on where the file says. One that does not read means: from the start.
    pub(crate) fn open(file: PathBuf) -> Self {
        let state = files::read(&file, STATE_MAX)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { file: Arc::new(file), state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, SelfCheck> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is, and what it found.
    pub fn state(&self) -> SelfCheck {
        self.lock().clone()
    }

    fn keep(&self) -> Result<(), Complaint> {
        let bytes = serde_json::to_vec(&self.state()).map_err(|error| Complaint::bug(error.to_string()))?;
        files::write_private(&self.file, &bytes, Existing::Replace)
    }

    /// Checks the next bundle; what is wrong, if that was not known. The second is whether a pass ended with it.
    fn next(&self, logs: &Logs) -> (Option<Failure>, bool) {
        let all = logs.all();
        let (log, bundle) = {
            let state = self.lock();
            (state.log, state.bundle)
        };
        let Some(one) = all.get(log) else {
            let mut state = self.lock();
            (state.log, state.bundle) = (0, 0);
            return (None, false);
        };
        let count = one.log.bundles();
        let checked = if bundle < count {
            one.log.check_bundle(bundle)
        } else {
            // The end of this log: its tiles together lead to its root.
            one.log.check_root(one.log.size()).map(|_| ())
        };
        let found = checked.err().and_then(|complaint| self.note(one, complaint.what));
        let mut state = self.lock();
        state.bundle = bundle + 1;
        if bundle < count {
            return (found, false);
        }
        (state.log, state.bundle) = (log + 1, 0);
        let whole = state.log >= all.len();
        if whole {
            if !state.failed {
                state.failures.clear();
            }
            state.log = 0;
            (state.failed, state.last_pass) = (false, Some(clock::now()));
        }
        (found, whole)
    }

    /// Takes in what is wrong; gives it back when it is news.
    fn note(&self, one: &OneLog, what: Text) -> Option<Failure> {
        let mut state = self.lock();
        state.failed = true;
        let failure = Failure { log: one.folder.clone(), found: clock::now(), what: (what.nl, what.en) };
        let known = state.failures.iter().any(|other| other.what == failure.what);
        if known || state.failures.len() >= FAILURES_MAX {
            return None;
        }
        state.failures.push(failure.clone());
        Some(failure)
    }

    /// How it stands, for `status`.
    pub(crate) fn show(&self) -> Value {
        let state = self.state();
        json!({
            "last_pass": state.last_pass.map(|at| at.to_string()),
            "at": { "log": state.log, "bundle": state.bundle },
            "failures": state.failures.iter().map(|failure| json!({
                "log": failure.log, "found": failure.found.to_string(),
                "nl": failure.what.0, "en": failure.what.1,
            })).collect::<Vec<_>>(),
        })
    }
}

impl Service {
    /// Checks `count` bundles further; whether a whole pass ended. What is found wrong is told, and logged.
    ///
    /// # Errors
    /// A sentence when where the check is cannot be kept.
    pub async fn check_on(&self, count: u64) -> Result<bool, Complaint> {
        let (checker, logs) = (self.checker.clone(), self.logs.clone());
        let step = move || {
            let mut found = Vec::new();
            for _ in 0..count {
                let (failure, whole) = checker.next(&logs);
                found.extend(failure);
                if whole {
                    return (found, true);
                }
            }
            (found, false)
        };
        let (found, whole) =
            tokio::task::spawn_blocking(step).await.map_err(|error| Complaint::bug(error.to_string()))?;
        let news = !found.is_empty();
        for failure in found {
            tracing::error!(log = failure.log, "the self-check failed: {}", failure.what.1);
            self.command(Command::SelfCheckFailed).await?;
        }
        if whole || news {
            self.checker.keep()?;
        }
        Ok(whole)
    }

    /// Reads and checks every file of the logs, slowly, again and again, for as long as the engine runs.
    pub async fn check(self, period: Duration) {
        let mut pace = tokio::time::interval(STEP);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut steps = 0_u64;
        loop {
            tokio::select! {
                () = self.engine.stopped() => return,
                _ = pace.tick() => {}
            }
            let bundles: u64 = self.logs.all().iter().map(|one| one.log.bundles() + 1).sum();
            let share = bundles.div_ceil(period.as_secs().max(1)).clamp(1, STEP_MAX);
            match self.check_on(share).await {
                Ok(true) if share == 1 => tokio::time::sleep(REST).await,
                Ok(_) => {}
                Err(complaint) => tracing::error!("{}", complaint.what.en),
            }
            steps += 1;
            // Now and then where it is, so that a restart does not begin anew.
            if steps.is_multiple_of(60)
                && let Err(complaint) = self.checker.keep()
            {
                tracing::error!("{}", complaint.what.en);
            }
        }
    }

    /// Removes texts that are past their term, for as long as the engine runs.
    pub async fn retain(self) {
        let mut pace = tokio::time::interval(RETAIN);
        loop {
            tokio::select! {
                () = self.engine.stopped() => return,
                _ = pace.tick() => {}
            }
            if let Err(complaint) = self.purge(false).await {
                tracing::error!("{}", complaint.what.en);
            }
        }
    }

    /// Removes the texts that are past their term by every clock, a bounded number, or with `dry` only tells what is
    /// past it by this machine's.
    ///
    /// # Errors
    /// A sentence when something cannot be read, logged or removed.
    pub async fn purge(&self, dry: bool) -> Result<Value, Complaint> {
        // A backup that is under way gets every text it has to have.
        let _still = if dry { None } else { Some(self.still.lock().await) };
        let Answer::Retention(retention) = self.command(Command::Retention).await? else {
            return Err(Complaint::bug("another answer"));
        };
        let mut rows = Vec::new();
        for one in self.logs.all() {
            rows.push(self.purge_log(one, retention, dry).await?);
        }
        Ok(json!({
            "days": retention.days,
            "past_by_clock": retention.by_clock.to_string(),
            "past_by_all": retention.by_all.to_string(),
            "logs": rows,
        }))
    }

    async fn purge_log(&self, one: OneLog, retention: Retention, dry: bool) -> Result<Value, Complaint> {
        let log = one.log.clone();
        let look = move || Ok((log.due(retention.by_clock)?, log.due(retention.by_all)?));
        let looked: Result<_, Complaint> =
            tokio::task::spawn_blocking(look).await.map_err(|error| Complaint::bug(error.to_string()))?;
        let (by_clock, by_all) = looked?;
        if let (Some((entries, last)), false) = (by_all, dry) {
            let command = Command::Purge { log: one.number, entries, last };
            match self.command(command).await {
                Ok(_) => tracing::info!(log = one.folder, entries, "texts past their term are removed"),
                // Something still needs them: the next round asks again.
                Err(complaint) => tracing::debug!("{}", complaint.what.en),
            }
        }
        if !dry {
            self.reap(&one).await?;
        }
        let due = |due: Option<(u64, Timestamp)>| due.map(|(entries, _)| entries);
        Ok(json!({
            "log": one.folder,
            "origin": one.origin,
            "removed": one.log.purged(),
            "due_by_clock": due(by_clock),
            "due_by_all": due(by_all),
        }))
    }

    /// Removes what is logged as removed, also what a crash left.
    async fn reap(&self, one: &OneLog) -> Result<(), Complaint> {
        let Answer::Purged(purged) = self.command(Command::Purged).await? else {
            return Err(Complaint::bug("another answer"));
        };
        let Some(entries) = purged.get(&one.number).copied() else { return Ok(()) };
        let log = one.log.clone();
        tokio::task::spawn_blocking(move || log.purge(entries))
            .await
            .map_err(|error| Complaint::bug(error.to_string()))?
    }
}
