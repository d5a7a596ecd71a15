//! Telling the operator what is wrong, by mail and by webhook.
//!
//! Beside the engine and never in its way: every few seconds the board is looked at, and what is to be told waits for
//! its channel until it arrived. What was told and what waits is kept in a file, so that a start neither tells twice nor
//! forgets: each notice arrives at least once.

mod desk;
mod mail;
mod settings;
mod webhook;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seinhuis_monitor::alarms::{BROKER, Finding, Limits, Notice, Samples, Turn, find};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Lang;
use seinhuis_shell::webhook::Secrets;
use seinhuis_shell::{clock, keys};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use desk::ChannelState;
pub(crate) use desk::Desk;
pub use settings::Settings;

use self::mail::Mail;
use self::webhook::Hook;
use crate::config::Config;
use crate::home::Home;
use crate::service::Service;

/// How often it is looked what is wrong.
const LOOK: Duration = Duration::from_secs(5);
/// How long the engine may take to show how it does; beyond that, it hangs.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest first wait after a failure; it doubles with each.
const FIRST: Span = Span::seconds(5);
/// The longest wait.
const CAP: Span = Span::minutes(5);
/// How long the last words of a broker that stops by itself may take.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Most notices in one message; of more, it says how many.
const BATCH_MAX: usize = 100;

/// What is told at one time. The same id for the same batch, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    id: String,
    at: Timestamp,
    notices: Vec<Notice>,
    /// How many more there were.
    more: u64,
}

impl Batch {
    fn new(notices: Vec<Notice>, more: u64) -> Self {
        let id = data_encoding::HEXLOWER.encode(&keys::random::<16>());
        Self { id, at: clock::now(), notices, more }
    }

    /// One that says nothing but that alarms arrive.
    fn test() -> Self {
        Self::new(vec![], 0)
    }
}

/// One way to tell.
#[derive(Debug)]
pub(crate) enum Channel {
    Mail(Mail),
    Webhook(Hook),
}

impl Channel {
    /// Those that are configured.
    ///
    /// # Errors
    /// A sentence when one of them cannot be used: its files, its authorities, its addresses.
    pub(crate) fn all(home: &Home, config: &Config) -> Result<Vec<Self>, Complaint> {
        let settings = &config.alerts;
        let mut all = Vec::new();
        if settings.mail.is_on() {
            all.push(Self::Mail(Mail::new(&settings.mail, config, home)?));
        }
        if settings.webhook.is_on() {
            all.push(Self::Webhook(Hook::new(&settings.webhook, config, home)?));
        }
        Ok(all)
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Mail(_) => "mail",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Where it leads, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Mail(mail) => mail.place(),
            Self::Webhook(hook) => hook.place(),
        }
    }

    async fn send(&self, batch: &Batch) -> Result<(), Complaint> {
        match self {
            Self::Mail(mail) => mail.send(batch).await,
            Self::Webhook(hook) => hook.send(batch).await,
        }
    }

    /// Sends a message that says nothing but that alarms arrive.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    pub(crate) async fn test(&self) -> Result<(), Complaint> {
        self.send(&Batch::test()).await
    }
}

/// The secret with which alarms are signed.
pub(crate) fn secrets(home: &Home) -> Secrets {
    Secrets::new(home.alerts().join("webhook.secret"), "alerts", "seinhuis-broker alerts secret")
}

/// A path of the configuration: in the broker's folder, or a full one.
fn file(home: &Home, path: &Path) -> PathBuf {
    home.dir().join(path)
}

/// What tells, ready to begin.
#[derive(Debug)]
pub(crate) struct Alerts {
    service: Service,
    settings: Settings,
    channels: Vec<Channel>,
    desk: Arc<Desk>,
}

impl Alerts {
    /// Prepares the channels of the configuration, and goes on where the file says.
    ///
    /// # Errors
    /// As [`Channel::all`].
    pub(crate) fn open(home: &Home, config: &Config, service: Service) -> Result<Self, Complaint> {
        let channels = Channel::all(home, config)?;
        let names: Vec<_> = channels.iter().map(Channel::name).collect();
        let desk = Arc::new(Desk::open(&home.alerts(), &names, service.monitor.clone()));
        service.monitor.tells(&desk);
        Ok(Self { service, settings: config.alerts.clone(), channels, desk })
    }

    /// Looks and tells until the broker stops. Of one that stops by itself, that is told too.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let Self { service, settings, channels, desk } = self;
        let mut telling = JoinSet::new();
        for channel in channels {
            telling.spawn(tell(channel, Arc::clone(&desk)));
        }
        let mut look = Look {
            service: &service,
            desk: &desk,
            limits: &settings.limits,
            samples: Samples::default(),
            last: vec![],
        };
        tokio::select! {
            biased;
            () = service.engine.stopped() => {}
            _ = stopping.wait_for(|stop| *stop) => return,
            () = look.on() => {}
        }
        desk.happens(clock::now(), Finding::stopped()).await;
        if tokio::time::timeout(LAST_WORDS, desk.empty()).await.is_err() {
            tracing::error!(
                "not every alarm arrived before the broker stopped; the rest follows after a start"
            );
        }
    }
}

/// What is looked at, again and again.
struct Look<'a> {
    service: &'a Service,
    desk: &'a Arc<Desk>,
    limits: &'a Limits,
    samples: Samples,
    /// What was found last.
    last: Vec<Finding>,
}

impl Look<'_> {
    /// Looks for as long as it is asked to.
    async fn on(&mut self) {
        let mut pace = tokio::time::interval(LOOK);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut answered = Instant::now();
        loop {
            pace.tick().await;
            let board = tokio::time::timeout(PATIENCE, self.service.board()).await;
            let Ok(answer) = board else {
                self.stuck(clock::now(), answered.elapsed()).await;
                continue;
            };
            answered = Instant::now();
            // An engine that has stopped is waited for elsewhere.
            let Ok(board) = answer else { continue };
            self.samples.take(&board);
            self.last = find(&board, &self.samples, &self.desk.failing(), self.limits);
            self.desk.take(board.now, self.last.clone(), self.samples.full_at(&board), self.limits).await;
        }
    }

    /// Nothing can be seen: what was wrong still is, and this.
    async fn stuck(&self, now: Timestamp, long: Duration) {
        let long = Span(u64::try_from(long.as_millis()).unwrap_or(u64::MAX));
        let found = [Finding::stuck(long)].into_iter().chain(self.last.clone()).collect();
        self.desk.take(now, found, None, self.limits).await;
    }
}

/// Tells over one channel what waits for it, for as long as the broker runs.
async fn tell(channel: Channel, desk: Arc<Desk>) {
    let mut failures = 0;
    loop {
        let batch = desk.next(channel.name()).await;
        match channel.send(&batch).await {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(channel = channel.name(), "alarms arrive again");
                }
                failures = 0;
                desk.sent(channel.name()).await;
            }
            Err(complaint) => {
                if failures == 0 {
                    tracing::warn!(channel = channel.name(), "{}", complaint.what.en);
                }
                desk.failed(channel.name(), &complaint);
                let wait = FIRST.doubled(failures, CAP).upper_half(u64::from_be_bytes(keys::random()));
                failures = failures.saturating_add(1);
                tokio::time::sleep(Duration::from_millis(wait.0)).await;
            }
        }
    }
}

/// A notice in words, in the two languages: what happened, whose, what to do.
fn words(notice: &Notice) -> (String, String) {
    let alarm = &notice.alarm;
    let (nl, en) = match notice.turn {
        Turn::Begins => ("Begonnen", "Began"),
        Turn::Worse => ("Erger geworden", "Became worse"),
        Turn::Lasts => ("Duurt voort", "Lasts"),
        Turn::Over => ("Voorbij", "Over"),
    };
    let one = |turn: &str, lang: Lang, since: &str| {
        let subject = if alarm.subject == BROKER { "" } else { alarm.subject.as_str() };
        let word = alarm.severity.word(lang);
        let head = format!("{turn} [{word}] {} {subject}", alarm.code);
        let mut text = format!("{}\n{}\n", head.trim_end(), alarm.what.in_lang(lang));
        if notice.turn != Turn::Over {
            text.push_str(alarm.advice.in_lang(lang));
            text.push('\n');
        }
        // Writing into a string does not fail.
        _ = writeln!(text, "{since} {}", alarm.since);
        text
    };
    (one(nl, Lang::Nl, "Sinds"), one(en, Lang::En, "Since"))
}

/// The subject of a batch: the most hasty of it that is not over.
fn subject(batch: &Batch) -> String {
    let first = batch.notices.iter().max_by_key(|one| (one.turn != Turn::Over, one.alarm.severity));
    let Some(first) = first else { return "proef / test".to_owned() };
    let (alarm, rest) = (&first.alarm, batch.notices.len().saturating_sub(1));
    let over = if first.turn == Turn::Over { "voorbij/over: " } else { "" };
    let more = if rest > 0 { format!(" (+{rest})") } else { String::new() };
    format!("{over}{} {} {}{more}", alarm.severity, alarm.code, alarm.subject)
}

#[cfg(test)]
mod tests;
