//! What was told and what is to be told, kept in a file.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seinhuis_monitor::alarms::{Channel, Code, Finding, Ledger, Limits, Notice};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{BATCH_MAX, Batch};
use crate::monitor::Monitor;

/// Most bytes of the file.
const FILE_MAX: usize = 16 * 1024 * 1024;
/// How long writing the file is waited for.
const KEEP: Duration = Duration::from_secs(5);
/// Most notices that wait for a channel; of more, only the number is told.
const WAITING_MAX: usize = 500;

/// How a channel does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelState {
    /// `mail` or `webhook`.
    pub name: &'static str,
    /// Notices that wait for it.
    pub waiting: usize,
    /// When something arrived last, since the start.
    pub arrived: Option<Timestamp>,
    /// Since when nothing arrives.
    pub failing: Option<Timestamp>,
    /// Why, in Dutch and English.
    pub error: Option<(String, String)>,
}

/// What waits for one channel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outbox {
    /// What is being sent.
    sending: Option<Batch>,
    waiting: VecDeque<Notice>,
    /// How many were too many.
    lost: u64,
    #[serde(skip)]
    arrived: Option<Timestamp>,
    #[serde(skip)]
    failing: Option<Timestamp>,
    #[serde(skip)]
    error: Option<(String, String)>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    ledger: Ledger,
    outboxes: BTreeMap<String, Outbox>,
}

/// What was told and what is to be told.
#[derive(Debug)]
pub(crate) struct Desk {
    file: PathBuf,
    names: Vec<&'static str>,
    state: Mutex<State>,
    /// Held while the file is written, so that an older state never follows a newer one.
    writing: Arc<tokio::sync::Mutex<()>>,
    changed: Notify,
    monitor: Monitor,
}

impl Desk {
    /// Goes on where the file in `folder` says. One that does not read means: nothing was told yet.
    pub(super) fn open(folder: &Path, names: &[&'static str], monitor: Monitor) -> Self {
        let file = folder.join("state.json");
        let mut state = read(&file);
        state.outboxes.retain(|name, _| names.contains(&name.as_str()));
        for name in names {
            state.outboxes.entry((*name).to_owned()).or_default();
        }
        let (state, writing) = (Mutex::new(state), Arc::default());
        let desk = Self { file, names: names.to_vec(), state, writing, changed: Notify::new(), monitor };
        desk.show();
        desk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Channels over which nothing arrives.
    pub(super) fn failing(&self) -> Vec<Channel> {
        let state = self.lock();
        let failing = |name: &&'static str| {
            let since = state.outboxes.get(*name)?.failing?;
            Some(Channel { name, since })
        };
        self.names.iter().filter_map(failing).collect()
    }

    /// Takes what is found; what is to be told of it waits for every channel.
    pub(super) async fn take(
        self: &Arc<Self>,
        now: Timestamp,
        found: Vec<Finding>,
        disk_full: Option<Timestamp>,
        limits: &Limits,
    ) {
        self.monitor.judged().disk_full = disk_full;
        self.tell(|ledger| ledger.step(now, found, limits)).await;
    }

    /// Takes something that happens and is over then; it waits for every channel, each time.
    pub(super) async fn happens(self: &Arc<Self>, now: Timestamp, finding: Finding) {
        self.tell(|ledger| vec![ledger.happens(now, finding)]).await;
    }

    /// Takes that somebody has taken up an alarm; whether it holds.
    pub(crate) async fn acknowledge(self: &Arc<Self>, now: Timestamp, code: Code, subject: &str) -> bool {
        let holds = self.lock().ledger.acknowledge(now, code, subject);
        if holds {
            self.show();
            self.keep().await;
        }
        holds
    }

    async fn tell(self: &Arc<Self>, step: impl FnOnce(&mut Ledger) -> Vec<Notice>) {
        let told = {
            let mut state = self.lock();
            let notices = step(&mut state.ledger);
            for outbox in state.outboxes.values_mut() {
                outbox.add(&notices);
            }
            !notices.is_empty()
        };
        self.show();
        if told {
            self.keep().await;
            self.changed.notify_waiters();
        }
    }

    /// What is to be sent over a channel; waits until there is something.
    pub(super) async fn next(self: &Arc<Self>, name: &str) -> Batch {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before it is looked, so that what comes after that wakes it up.
            changed.as_mut().enable();
            let (batch, fresh) = match self.lock().outboxes.get_mut(name) {
                Some(outbox) => outbox.next(),
                None => (None, false),
            };
            if fresh {
                // The same id after a start.
                self.keep().await;
            }
            match batch {
                Some(batch) => return batch,
                None => changed.await,
            }
        }
    }

    /// What was being sent over a channel arrived.
    pub(super) async fn sent(self: &Arc<Self>, name: &str) {
        if let Some(outbox) = self.lock().outboxes.get_mut(name) {
            outbox.sending = None;
            (outbox.arrived, outbox.failing, outbox.error) = (Some(clock::now()), None, None);
        }
        self.show();
        self.keep().await;
        self.changed.notify_waiters();
    }

    /// It did not.
    pub(super) fn failed(&self, name: &str, why: &Complaint) {
        if let Some(outbox) = self.lock().outboxes.get_mut(name) {
            outbox.failing.get_or_insert_with(clock::now);
            outbox.error = Some((why.what.nl.clone(), why.what.en.clone()));
        }
        self.show();
    }

    /// Waits until nothing waits for any channel.
    pub(super) async fn empty(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().outboxes.values().all(|one| one.sending.is_none() && one.waiting.is_empty()) {
                return;
            }
            changed.await;
        }
    }

    /// Shows alarms and channels to who asks.
    fn show(&self) {
        let state = self.lock();
        let channel = |name: &&'static str| {
            let outbox = state.outboxes.get(*name)?;
            let sending = outbox.sending.as_ref().map_or(0, |batch| batch.notices.len());
            Some(ChannelState {
                name,
                waiting: outbox.waiting.len().saturating_add(sending),
                arrived: outbox.arrived,
                failing: outbox.failing,
                error: outbox.error.clone(),
            })
        };
        let channels = self.names.iter().filter_map(channel).collect();
        let mut judged = self.monitor.judged();
        (judged.alarms, judged.channels) = (state.ledger.alarms(), channels);
    }

    /// Writes the file. Without it everything goes on, and is told again after a start: a disk that is full, or hangs, is
    /// an alarm itself.
    async fn keep(self: &Arc<Self>) {
        let desk = Arc::clone(self);
        // One that hangs keeps this, and one thread.
        let alone = tokio::time::timeout(KEEP, Arc::clone(&self.writing).lock_owned()).await;
        let Ok(alone) = alone else {
            return tracing::error!("what was told of alarms cannot be kept: the disk hangs");
        };
        let write = move || {
            let _alone = alone;
            let bytes =
                serde_json::to_vec(&*desk.lock()).map_err(|error| Complaint::bug(error.to_string()))?;
            files::make_private_dir(&files::parent(&desk.file))?;
            files::write_private(&desk.file, &bytes, Existing::Replace)
        };
        match tokio::time::timeout(KEEP, tokio::task::spawn_blocking(write)).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(complaint))) => tracing::error!("{}", complaint.what.en),
            Ok(Err(error)) => tracing::error!(%error, "what was told of alarms cannot be kept"),
            Err(_) => tracing::error!("keeping what was told of alarms takes long: the disk hangs"),
        }
    }
}

/// What the file says; nothing when there is none, or it cannot be read.
fn read(file: &Path) -> State {
    if !file.exists() {
        return State::default();
    }
    let read = files::read_private(file, FILE_MAX).map_err(|complaint| complaint.what.en);
    let state = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
    state.unwrap_or_else(|error| {
        tracing::warn!(error, "what was told of alarms cannot be read; what holds is told again");
        State::default()
    })
}

impl Outbox {
    fn add(&mut self, notices: &[Notice]) {
        self.waiting.extend(notices.iter().cloned());
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// What is to be sent, and whether it was put together just now.
    fn next(&mut self) -> (Option<Batch>, bool) {
        if self.sending.is_some() || self.waiting.is_empty() {
            return (self.sending.clone(), false);
        }
        let count = self.waiting.len().min(BATCH_MAX);
        let batch = Batch::new(self.waiting.drain(..count).collect(), std::mem::take(&mut self.lost));
        self.sending = Some(batch.clone());
        (Some(batch), true)
    }
}
