//! What an operator sees, put together: counts out of the logs, and how everything stands.
//!
//! Entries are read from the logs' files and memory as they are written, beside the engine and not in it: who accepts
//! packets waits for nobody who looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use seinhuis_broker_core::{Answer, Command, Overview, PartnerRow, Watch, WitnessWatch};
use seinhuis_monitor::alarms::{Alarm, Code};
use seinhuis_monitor::{
    AgentRow, Board, CovenantRow, LaneRow, LogState, Offset, Papers, Place, QueueRow, QuorumRow, RefusalRow,
    Run, Seen, Storage, Tally, WINDOW, WitnessRow,
};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::standing::CovenantView;

use crate::SOFTWARE;
use crate::alerts::{self, ChannelState};
use crate::engine::Counts;
use crate::link::{Links, Shared};
use crate::log::row::{Field, Row};
use crate::logs::Logs;
use crate::service::Service;

/// How often new entries are counted.
const STEP: Duration = Duration::from_millis(250);
/// Most entries that are read at one time.
const CHUNK: u64 = 2048;
/// How long after a failure counting is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// How far back counting begins at a start.
const BACK: Span = Span::days(1);
/// Most entries that are counted at a start: some seconds of work.
const BACK_MAX: u64 = 2_000_000;
/// How old a board may be that is shown once more.
const FRESH: Duration = Duration::from_millis(250);
/// How many minutes a board has.
const MINUTES: usize = 60;

/// A handle on what is counted and watched.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    started: Timestamp,
    /// How many entries all logs had when the broker started.
    first: u64,
    tally: Arc<Mutex<Tally>>,
    /// When the entries were written of which the last board had the time, by position.
    written: Arc<Mutex<BTreeMap<u64, Timestamp>>>,
    shared: Arc<OnceLock<Weak<Shared>>>,
    last: Arc<tokio::sync::Mutex<Last>>,
    judged: Arc<Mutex<Judged>>,
    desk: Arc<OnceLock<Weak<alerts::Desk>>>,
    papers: Arc<Mutex<Option<Papers>>>,
}

/// What was found wrong at the last look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judged {
    /// The alarms that hold.
    pub(crate) alarms: Vec<Alarm>,
    /// When the disk is full, as it goes.
    pub(crate) disk_full: Option<Timestamp>,
    /// How the channels do over which alarms are told.
    pub(crate) channels: Vec<ChannelState>,
}

/// The newest board, and when it was made.
type Last = Option<(Instant, Arc<Board>)>;

impl Monitor {
    /// Watches a broker that started with so many entries in its logs.
    pub(crate) fn new(started: Timestamp, first: u64) -> Self {
        Self {
            started,
            first,
            tally: Arc::default(),
            written: Arc::default(),
            shared: Arc::default(),
            last: Arc::default(),
            judged: Arc::default(),
            desk: Arc::default(),
            papers: Arc::default(),
        }
    }

    /// From now on, shows these connections too.
    pub(crate) fn watches(&self, shared: &Arc<Shared>) {
        // A broker serves once.
        _ = self.shared.set(Arc::downgrade(shared));
    }

    /// From now on, has this one told what somebody takes up.
    pub(crate) fn tells(&self, desk: &Arc<alerts::Desk>) {
        // A broker tells once.
        _ = self.desk.set(Arc::downgrade(desk));
    }

    /// From now on, shows these by which people come to the console.
    pub(crate) fn lets_in(&self, papers: Papers) {
        *self.papers.lock().unwrap_or_else(PoisonError::into_inner) = Some(papers);
    }

    fn links(&self) -> Links {
        self.shared.get().and_then(Weak::upgrade).map(|shared| shared.links()).unwrap_or_default()
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong.
    pub(crate) fn judged(&self) -> MutexGuard<'_, Judged> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts entries that were written since; how many.
    fn count(&self, logs: &Logs) -> Result<u64, Complaint> {
        let next = self.tally().next();
        let one = logs.at(next)?;
        let mut tally = self.tally();
        let end = one.show(next, CHUNK, |_, bytes| match bytes.and_then(Row::read).as_ref().and_then(seen) {
            Some(entry) => tally.take(&entry),
            None => tally.skip(),
        });
        Ok(end.saturating_sub(next))
    }

    /// When the entries at these positions were written.
    fn times(&self, logs: &Logs, positions: impl Iterator<Item = u64>) -> BTreeMap<u64, Timestamp> {
        let mut known = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |position| {
            let one = logs.at(position).ok()?;
            Some(one.log.parsed(position.saturating_sub(one.base)).ok()?.time)
        };
        let all = positions
            .filter_map(|at| Some((at, known.get(&at).copied().or_else(|| read(at))?)))
            .collect::<BTreeMap<u64, Timestamp>>();
        known.clone_from(&all);
        all
    }
}

/// What is counted of an entry. Codes of covenants have no quotes or backslashes in them, so they stand as they are.
fn seen<'a>(row: &Row<'a>) -> Option<Seen<'a>> {
    let oin = |field| row.raw(field)?.parse().ok();
    Some(Seen {
        kind: row.raw(Field::Kind)?.parse().ok()?,
        at: Timestamp(row.time()?),
        from: oin(Field::From),
        to: oin(Field::To),
        subject: oin(Field::Subject),
        flow: row.raw(Field::Flow),
        message_type: row.raw(Field::MessageType),
        step: row.raw(Field::Step),
        detail: row.raw(Field::Detail),
        reason: row.raw(Field::Reason).and_then(|reason| reason.parse().ok()),
    })
}

/// The position of the first entry that is not older than `from`, as far back as is looked.
pub(crate) fn begin(logs: &Logs, from: Timestamp) -> Result<u64, Complaint> {
    let end = logs.current()?.end();
    let (mut low, mut high) = (end.saturating_sub(BACK_MAX), end);
    while low < high {
        let middle = low.midpoint(high);
        let one = logs.at(middle)?;
        // One whose text is removed is old.
        let old = one.log.parsed(middle.saturating_sub(one.base)).map_or(true, |entry| entry.time < from);
        if old {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}

impl Service {
    /// Counts the entries of the logs, for as long as the engine runs.
    pub async fn follow(self) {
        let first = loop {
            let (logs, from) = (self.logs.clone(), clock::now().minus(BACK));
            match tokio::task::spawn_blocking(move || begin(&logs, from)).await {
                Ok(Ok(first)) => break first,
                Ok(Err(complaint)) => tracing::error!("{}", complaint.what.en),
                Err(error) => tracing::error!(%error, "the log's entries cannot be counted"),
            }
            tokio::select! {
                () = self.engine.stopped() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        };
        *self.monitor.tally() = Tally::from(first, self.monitor.first);
        let mut pace = tokio::time::interval(STEP);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.engine.stopped() => return,
                _ = pace.tick() => {}
            }
            while let Some(count) = self.count_more().await {
                if count < CHUNK {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }

    /// How many more entries were counted; after a failure, which is told, nothing, and a while later.
    async fn count_more(&self) -> Option<u64> {
        let (monitor, logs) = (self.monitor.clone(), self.logs.clone());
        match tokio::task::spawn_blocking(move || monitor.count(&logs)).await {
            Ok(Ok(count)) => return Some(count),
            Ok(Err(complaint)) => tracing::error!("{}", complaint.what.en),
            Err(error) => tracing::error!(%error, "the log's entries cannot be counted"),
        }
        tokio::time::sleep(AGAIN).await;
        None
    }

    /// How everything stands, of this quarter of a second.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn board(&self) -> Result<Arc<Board>, Complaint> {
        let mut last = self.monitor.last.lock().await;
        if let Some((_, board)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(board));
        }
        let board = Arc::new(self.look().await?);
        *last = Some((Instant::now(), Arc::clone(&board)));
        Ok(board)
    }

    /// Takes that somebody has taken up an alarm: an entry first, and from then on it is not told again while it lasts.
    ///
    /// # Errors
    /// When there is no such alarm, or the engine has stopped.
    pub(crate) async fn take_up(
        &self,
        code: Code,
        subject: &str,
        reason: Digest,
    ) -> Result<Answer, Complaint> {
        let own = |alarm: &Alarm| alarm.code == code && alarm.subject == subject;
        let taken =
            self.monitor.judged().alarms.iter().find(|alarm| own(alarm)).map(|alarm| alarm.acknowledged);
        let (Some(taken), Some(desk)) = (taken, self.monitor.desk.get().and_then(Weak::upgrade)) else {
            return Err(Complaint::refused(
                Text::new("Dit alarm is er niet (meer).", "There is no such alarm, or no more."),
                Text::new(
                    "Kijk met `seinhuis-broker alerts list` welke er zijn.",
                    "See with `seinhuis-broker alerts list` which there are.",
                ),
            ));
        };
        if taken.is_some() {
            return Ok(Answer::Unchanged);
        }
        let note = Command::NoteAlarm { code: code.as_str(), subject: subject.parse().ok(), reason };
        let answer = self.command(note).await?;
        if !desk.acknowledge(clock::now(), code, subject).await {
            tracing::info!(%code, subject, "the alarm was over before it was taken up");
        }
        self.look_again().await;
        Ok(answer)
    }

    /// Has the next board made anew: whoever did something sees what it did.
    pub(crate) async fn look_again(&self) {
        *self.monitor.last.lock().await = None;
    }

    async fn look(&self) -> Result<Board, Complaint> {
        let other = || Complaint::bug("another answer");
        let Answer::Overview(overview) = self.command(Command::Overview).await? else { return Err(other()) };
        let Answer::Partners(partners) = self.command(Command::Partners).await? else { return Err(other()) };
        let Answer::Covenants(agreements) = self.command(Command::Covenants).await? else {
            return Err(other());
        };
        let Answer::Witnesses(watch) = self.command(Command::Witnesses).await? else { return Err(other()) };
        let now = clock::now();
        let covenants = agreements.iter().map(|one| covenant(CovenantView::new(one, now))).collect();
        let service = self.clone();
        let put = move || service.put_together(&overview, partners, covenants, &watch, now);
        tokio::task::spawn_blocking(put).await.map_err(|error| Complaint::bug(error.to_string()))
    }

    fn put_together(
        &self,
        overview: &Overview,
        partners: Vec<PartnerRow>,
        covenants: Vec<CovenantRow>,
        watch: &Watch,
        now: Timestamp,
    ) -> Board {
        let base = overview.logs.last().map_or(0, |log| log.base);
        let uncosigned = |witness: &WitnessWatch| {
            witness.size.filter(|size| *size < overview.log_size).map(|size| base.saturating_add(size))
        };
        let oldest = overview.queues.iter().flat_map(|queue| [queue.oldest, queue.oldest_open]);
        let asked = oldest.chain(watch.witnesses.iter().map(uncosigned)).flatten();
        let times = self.monitor.times(&self.logs, asked);
        let mut links = self.monitor.links();
        let handshakes = std::mem::take(&mut links.handshakes);
        let queues: Vec<QueueRow> = overview.queues.iter().map(|queue| queue_row(queue, &times)).collect();
        let waiting = queues.iter().fold(0_u64, |sum, queue| sum.saturating_add(queue.packets));
        let (counts, check) = (self.engine.counts(), self.checker.state());
        let judged = self.monitor.judged().clone();
        let position = self.logs.current().map_or(0, |one| one.end());
        let tally = self.monitor.tally();
        let series = tally.series();
        // The log's time never goes back: where a clock was set back, what happens is counted at the log's.
        let counted = now.max(tally.last());
        Board {
            now,
            started: self.monitor.started,
            software: SOFTWARE.to_owned(),
            since: tally.since(),
            behind: position.saturating_sub(tally.next()),
            minutes: series.whole(counted, MINUTES),
            quarters: series.quarters(counted, waiting),
            hour: series.sum(counted, MINUTES),
            day: series.sum(counted, WINDOW),
            waiting,
            oldest: queues.iter().filter_map(|queue| queue.oldest).map(|place| place.at).min(),
            log: LogState {
                origin: overview.logs.last().map(|log| log.origin.clone()).unwrap_or_default(),
                logs: overview.logs.len(),
                size: overview.log_size,
                root: overview.log_root.map(|root| root.to_string()),
                last_entry: tally.last(),
                year_refused: overview.year_refused,
                checked: check.last_pass,
                failures: check.failures.into_iter().map(|one| one.what).collect(),
            },
            lanes: lanes(&tally, counted),
            refusals: refusals(&tally, counted),
            queues,
            certificate_ends: Some(links.own_ends).filter(|ends| ends.0 > 0),
            console: *self.monitor.papers.lock().unwrap_or_else(PoisonError::into_inner),
            agents: agents(partners, links),
            suspended_flows: overview.suspended_flows.clone(),
            suspended_intake: overview.suspended_intake,
            covenants,
            quorums: quorums(watch),
            witnesses: witnesses(watch, |one| times.get(&uncosigned(one)?).copied()),
            awaiting: watch.waiting_for.is_some(),
            waiting_for: watch.waiting_for.clone().unwrap_or_default(),
            storage: storage(&counts),
            acts: tally.acts().cloned().collect(),
            kinds: tally.kinds().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            run: Run { handshakes, ..tally.totals().run() },
            alarms: judged.alarms,
            disk_full: judged.disk_full,
        }
    }
}

fn queue_row(queue: &seinhuis_broker_core::QueueRow, times: &BTreeMap<u64, Timestamp>) -> QueueRow {
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let place = |position: u64| Some(Place { position, at: *times.get(&position)? });
    QueueRow {
        oin: queue.oin,
        packets: wide(queue.packets),
        bytes: queue.bytes,
        inflight: wide(queue.inflight),
        frozen: wide(queue.frozen),
        oldest: queue.oldest.and_then(place),
        oldest_open: queue.oldest_open.and_then(place),
        expires: queue.expires,
    }
}

fn covenant(view: CovenantView) -> CovenantRow {
    let CovenantView { hash, id, version, title, state, .. } = view;
    CovenantRow { hash, id, version, title, state }
}

fn lanes(tally: &Tally, now: Timestamp) -> Vec<LaneRow> {
    let row = |(from, to, flow, lane): (Oin, Oin, &str, &seinhuis_monitor::Lane)| LaneRow {
        from,
        to,
        flow: flow.to_owned(),
        message_type: lane.message_type.clone(),
        step: lane.step.clone(),
        accepted: lane.accepted,
        stored: lane.stored,
        quarantined: lane.quarantined,
        ended: lane.ended,
        hour: lane.recent.hour(now),
        last_accepted: lane.last_accepted,
        last_delivered: lane.last_delivered,
    };
    tally.lanes().map(row).collect()
}

fn refusals(tally: &Tally, now: Timestamp) -> Vec<RefusalRow> {
    let row = |(from, reason, all): (Option<Oin>, u16, &seinhuis_monitor::Refusals)| RefusalRow {
        from,
        reason,
        count: all.count,
        hour: all.recent.hour(now),
        last: all.last,
    };
    tally.refusals().map(row).collect()
}

fn agents(partners: Vec<PartnerRow>, mut links: Links) -> Vec<AgentRow> {
    let row = |partner: PartnerRow| AgentRow {
        oin: partner.oin,
        name: partner.name,
        added: partner.added,
        revoked: partner.revoked,
        suspended: partner.suspended,
        software: partner.connected,
        last_seen: links.last_seen.get(&partner.oin).copied(),
        certificate_ends: links.certificate_ends.get(&partner.oin).copied(),
        prekeys_end: partner.bundle_ends,
        redelivered: partner.redelivered,
        clock: partner.clock.map(|clock| Offset { least_ms: clock.least, most_ms: clock.most }),
        links: links.by_partner.remove(&partner.oin).unwrap_or_default(),
    };
    partners.into_iter().map(row).collect()
}

fn quorums(watch: &Watch) -> Vec<QuorumRow> {
    let row = |one: &seinhuis_broker_core::CovenantWatch| QuorumRow {
        id: one.id.clone(),
        version: one.version,
        wanted: one.wanted,
        of: one.witnesses.len(),
        witnesses: one.witnesses.clone(),
        size: one.newest.as_ref().map(|row| row.size),
        age_ms: one.age.0,
    };
    watch.covenants.iter().map(row).collect()
}

fn witnesses(watch: &Watch, behind_since: impl Fn(&WitnessWatch) -> Option<Timestamp>) -> Vec<WitnessRow> {
    let row = |one: &WitnessWatch| WitnessRow {
        name: one.name.clone(),
        size: one.size,
        behind_since: behind_since(one),
        reachable: one.reachable,
        refused: one.refused,
        remark: one.remark.clone(),
        suspect: one.suspect.clone(),
    };
    watch.witnesses.iter().map(row).collect()
}

fn storage(counts: &Counts) -> Storage {
    Storage {
        disk_bytes: counts.store.disk_bytes,
        live_bytes: counts.store.live_bytes,
        free_bytes: counts.room.free,
        keep_free_bytes: counts.room.keep,
        scarce: counts.room.scarce,
        flushes: counts.store.syncs,
        flush: counts.flush,
        batch: counts.batch,
    }
}
