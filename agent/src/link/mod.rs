//! The connection to the broker: dialled by the agent, kept for as long as it runs, tried again for ever.

mod dial;
mod explain;
mod lane;
mod parting;
mod session;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seinhuis_agent_core::backoff::Backoff;
use seinhuis_agent_core::carrier::{Carrier, Carriers};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock::now;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::keys::random;
use seinhuis_shell::lang::Text;
use seinhuis_shell::renewal::{Folder, Stamp};
use tokio::sync::watch;

use crate::engine::{Job, Room};
use crate::home::Home;
use dial::{Dialled, Ways};

/// Longest wait for a connection, and for the answer to a hello or a request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How often a session's agent looks whether another certificate or revocation list is in its folder.
const LOOK: Duration = Duration::from_secs(1);

/// How the connection is doing, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkStatus {
    /// Since when a session is open.
    pub connected: Option<Timestamp>,
    /// What the session goes over.
    pub carrier: Option<Carrier>,
    /// From a session over TCP: when QUIC is tried again, if it is.
    pub quic_again: Option<Timestamp>,
    /// When the next attempt is made.
    pub next_attempt: Option<Timestamp>,
    /// Why the last session or attempt ended.
    pub problem: Option<Text>,
    /// The refusal's number, when the broker gave one.
    pub refusal: Option<Refusal>,
    /// How far this machine's clock is ahead of the broker's, in milliseconds.
    pub clock_ahead: Option<i64>,
    /// The broker's software.
    pub software: Option<String>,
    /// Attempts since the last session that was stable.
    pub attempts: u64,
}

/// The status, shared between the link and whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedStatus(Arc<Mutex<LinkStatus>>);

impl SharedStatus {
    pub(crate) fn get(&self) -> LinkStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut LinkStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The agent stops.
    Stopped,
    /// The agent has a new certificate, which the next session is opened with.
    Renewed,
    /// What this session left unanswered is to be offered again in the next.
    Anew,
    /// Nothing answered.
    Unreached(Text),
    /// Something went wrong that may pass.
    Failed(Text),
    /// The broker refuses this agent.
    Refused(Refusal),
    /// The broker asks to come back after this time.
    PutOff(Refusal, Span),
}

impl From<Complaint> for End {
    fn from(complaint: Complaint) -> Self {
        let both = |what: &str, advice: &str| format!("{what} {advice}");
        Self::Failed(Text::new(
            both(&complaint.what.nl, &complaint.advice.nl),
            both(&complaint.what.en, &complaint.advice.en),
        ))
    }
}

/// What every session works with.
#[derive(Debug)]
pub(crate) struct Work {
    home: Home,
    jobs: Sender<Job>,
    room: Room,
    status: SharedStatus,
}

/// What is remembered from session to session.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    backoff: Backoff,
    carriers: Carriers,
}

/// Keeps a session with the broker until told to stop.
pub(crate) async fn run(
    home: Home,
    jobs: Sender<Job>,
    status: SharedStatus,
    mut renewed: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let work = Work { home, jobs, room: Room::new(), status };
    let mut memory = Memory::default();
    while !*stop.borrow() {
        work.status.change(|status| {
            status.next_attempt = None;
            status.attempts = status.attempts.saturating_add(1);
        });
        let end = attempt(&work, &mut memory, &mut renewed, &mut stop).await;
        let chance = u64::from_be_bytes(random());
        let at = now();
        let wait = match end {
            End::Stopped => return,
            End::Renewed => {
                tracing::info!("going over to the new certificate");
                continue;
            }
            End::Anew => {
                tracing::info!("fetching what there was no room for");
                continue;
            }
            End::Failed(problem) | End::Unreached(problem) => {
                let wait = memory.backoff.failed(at, chance);
                tracing::warn!(problem = %problem.en, wait_ms = wait.0, "no session with the broker");
                work.status.change(|status| (status.problem, status.refusal) = (Some(problem), None));
                wait
            }
            End::Refused(refusal) if !refusal.is_passing() => {
                let wait = memory.backoff.refused(at, chance);
                tracing::error!(%refusal, wait_ms = wait.0, "the broker refuses this agent");
                turned_away(&work.status, refusal);
                wait
            }
            End::Refused(refusal) => {
                let wait = memory.backoff.failed(at, chance);
                tracing::warn!(%refusal, wait_ms = wait.0, "the broker does not serve this agent now");
                turned_away(&work.status, refusal);
                wait
            }
            End::PutOff(refusal, after) => {
                let wait = memory.backoff.put_off(at, after, chance);
                tracing::info!(%refusal, wait_ms = wait.0, "the broker asks to come back later");
                turned_away(&work.status, refusal);
                wait
            }
        };
        work.status.change(|status| {
            (status.connected, status.carrier, status.quic_again) = (None, None, None);
            status.next_attempt = Some(at.plus(wait));
        });
        tokio::select! {
            () = tokio::time::sleep(duration(wait)) => {}
            _ = stop.changed() => {}
        }
    }
}

fn turned_away(status: &SharedStatus, refusal: Refusal) {
    let problem = explain::refused(refusal);
    status.change(|status| (status.problem, status.refusal) = (Some(problem), Some(refusal)));
}

fn duration(span: Span) -> Duration {
    Duration::from_millis(span.0)
}

/// Opens a session over what is to be tried first, or over the other where nothing answers there, and holds it.
async fn attempt(
    work: &Work,
    memory: &mut Memory,
    renewed: &mut watch::Receiver<u64>,
    stop: &mut watch::Receiver<bool>,
) -> End {
    // What is dialled from here on is dialled with the certificate of this moment.
    renewed.mark_unchanged();
    let ways = match Ways::load(&work.home) {
        Ok(ways) => ways,
        Err(complaint) => return complaint.into(),
    };
    let mut unreached: Option<Text> = None;
    for carrier in ways.order(&memory.carriers) {
        let dialled = tokio::select! {
            dialled = ways.dial(carrier) => dialled,
            _ = stop.changed() => return End::Stopped,
        };
        let opened = match dialled {
            Ok(dialled) => open(dialled, work, &ways, memory, stop).await,
            Err(end) => Err(end),
        };
        match opened {
            Ok((dialled, session)) => {
                return keep(dialled, session, work, &ways, memory, renewed, stop).await;
            }
            Err(End::Unreached(problem)) => {
                tracing::info!(?carrier, problem = %problem.en, "no answer from the broker");
                unreached = Some(match unreached {
                    None => problem,
                    Some(first) => Text::new(
                        format!("{} {}", first.nl, problem.nl),
                        format!("{} {}", first.en, problem.en),
                    ),
                });
            }
            Err(end) => return end,
        }
    }
    unreached.map_or(End::Stopped, End::Unreached)
}

/// Says hello; a connection that comes to no session is closed.
async fn open(
    dialled: Dialled,
    work: &Work,
    ways: &Ways,
    memory: &mut Memory,
    stop: &mut watch::Receiver<bool>,
) -> Result<(Dialled, session::Session), End> {
    match session::greet(&dialled, work, ways.policy, memory, stop).await {
        Ok(session) => Ok((dialled, session)),
        Err(end) => {
            dialled.close().await;
            Err(end)
        }
    }
}

/// Holds a session until it ends; from TCP it goes over to QUIC as soon as that answers again.
async fn keep(
    mut dialled: Dialled,
    mut session: session::Session,
    work: &Work,
    ways: &Ways,
    memory: &mut Memory,
    renewed: &mut watch::Receiver<u64>,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let folder = work.home.renewal();
    loop {
        let (over, mut ending) = watch::channel(false);
        let held = session::hold(&dialled.connection, work, session, &mut ending);
        let next = tokio::select! {
            end = go_over(held, renewed, stop, &over) => Err(end),
            // At once, and with no word more to who may be a thief.
            () = disowned(&folder, &dialled.certificate, ways.read) => Err(explain::disowned()),
            quic = probe(work, ways, &mut memory.carriers) => Ok(quic),
        };
        // The engine may have ended first, and then has no use for this.
        _ = work.jobs.send(Job::Disconnected);
        dialled.close().await;
        // The session before has ended when the next says hello: what the engine knows of the log is not older than
        // what the welcome tells. What was under way is submitted and offered again, as after any other end.
        let quic = match next {
            Ok(quic) => quic,
            Err(end) => return end,
        };
        match open(quic, work, ways, memory, stop).await {
            Ok((quic, opened)) => {
                tracing::info!("back on QUIC");
                (dialled, session) = (quic, opened);
            }
            Err(End::Unreached(problem)) => {
                // UDP lets a handshake through and no more.
                memory.carriers.in_vain(ways.policy, now(), u64::from_be_bytes(random()));
                return End::Unreached(problem);
            }
            Err(end) => return end,
        }
    }
}

/// Runs a session until it ends, or until the agent stops or has a new certificate: then it is ended in order.
async fn go_over(
    session: impl Future<Output = End>,
    renewed: &mut watch::Receiver<u64>,
    stop: &mut watch::Receiver<bool>,
    over: &watch::Sender<bool>,
) -> End {
    tokio::pin!(session);
    let why = tokio::select! {
        end = &mut session => return end,
        _ = stop.changed() => End::Stopped,
        Ok(()) = renewed.changed() => End::Renewed,
    };
    _ = over.send(true);
    let end = session.await;
    if matches!(end, End::Stopped) { why } else { end }
}

/// Waits until a revocation list is in the folder that names this certificate; `seen` is how the folder was before the
/// certificate was verified. What cannot be read is tried again at each look, and told once.
async fn disowned(folder: &Folder, certificate: &str, seen: Stamp) {
    let mut files = folder.watched(seen);
    loop {
        if let Some(now) = files.changed() {
            match folder.revoked() {
                Ok(revoked) if revoked.contains(certificate) => return,
                Ok(_) => files.taken(now),
                Err(complaint) => files.failed(complaint),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Tries QUIC, each time it is due, until it answers. It is never due from a session over QUIC.
async fn probe(work: &Work, ways: &Ways, carriers: &mut Carriers) -> Dialled {
    loop {
        let Some(due) = carriers.again(ways.policy) else { return std::future::pending().await };
        tokio::time::sleep(duration(due.since(now()))).await;
        // Certificate and revocation list may be newer than those of the session.
        let tried = match Ways::load(&work.home) {
            Ok(fresh) => fresh.dial(Carrier::Quic).await,
            Err(complaint) => Err(complaint.into()),
        };
        match tried {
            Ok(dialled) => return dialled,
            Err(end) => tracing::info!(?end, "QUIC does not work yet; the session stays on TCP"),
        }
        carriers.in_vain(ways.policy, now(), u64::from_be_bytes(random()));
        let again = carriers.again(ways.policy);
        work.status.change(|status| status.quic_again = again);
    }
}

/// Makes one connection and closes it again: what it went over.
///
/// # Errors
/// Why there is none.
pub(crate) async fn reach(home: &Home) -> Result<Carrier, End> {
    let ways = Ways::load(home)?;
    let mut last = End::Stopped;
    for carrier in ways.order(&Carriers::default()) {
        match ways.dial(carrier).await {
            Ok(dialled) => {
                dialled.close().await;
                return Ok(carrier);
            }
            Err(End::Unreached(problem)) => last = End::Unreached(problem),
            Err(end) => return Err(end),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use seinhuis_shell::files::{self, Existing};

    use super::*;
    use crate::fixture::{self, Ca};

    /// A session ends in order, whatever ends it, and what ended it is told.
    #[tokio::test]
    async fn a_new_certificate_ends_a_session_in_order_and_a_stop_does_so_too() {
        for (renew, halt) in [(true, false), (false, true)] {
            let (renewals, mut renewed) = watch::channel(0);
            let (halting, mut stop) = watch::channel(false);
            let (over, mut ending) = watch::channel(false);
            let session = async move {
                ending.changed().await.unwrap();
                End::Stopped
            };
            if renew {
                renewals.send(1).unwrap();
            }
            if halt {
                halting.send(true).unwrap();
            }
            let end = go_over(session, &mut renewed, &mut stop, &over).await;
            assert!(if renew { matches!(end, End::Renewed) } else { matches!(end, End::Stopped) }, "{end:?}");
        }
        let (_renewals, mut renewed) = watch::channel(0);
        let (_halting, mut stop) = watch::channel(false);
        let (over, _ending) = watch::channel(false);
        let broken = async { End::Failed(Text::same("broken")) };
        assert!(matches!(go_over(broken, &mut renewed, &mut stop, &over).await, End::Failed(_)));
    }

    /// An agent with a connection to a broker that says nothing on it.
    struct Met {
        ca: Ca,
        _dir: tempfile::TempDir,
        home: Home,
        ways: Ways,
        dialled: Dialled,
        serving: tokio::task::JoinHandle<()>,
    }

    async fn meet() -> Met {
        let ca = Ca::new();
        let (address, serving) = dial::tests::broker(&ca);
        let dir = tempfile::tempdir().unwrap();
        let home = fixture::home(dir.path(), &ca, dial::tests::BROKER, &address);
        let ways = Ways::load(&home).unwrap();
        let dialled = ways.dial(Carrier::Quic).await.unwrap();
        Met { ca, _dir: dir, home, ways, dialled, serving }
    }

    /// Its keep-alives hold the connection open for ever.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_never_welcomes_is_given_up() {
        let Met { _dir, home, ways, dialled, serving, .. } = meet().await;
        let (running, _ended) = crate::engine::tests::running();
        let jobs = running.jobs.clone();
        let work = Work { home, jobs, room: Room::new(), status: SharedStatus::default() };
        let (_halting, mut stop) = watch::channel(false);
        let mut memory = Memory::default();
        let greeted = session::greet(&dialled, &work, ways.policy, &mut memory, &mut stop);
        let greeted = tokio::time::timeout(4 * PATIENCE, greeted).await.unwrap();
        assert!(matches!(greeted, Err(End::Unreached(_))), "{greeted:?}");
        assert!(dialled.connection.close_reason().is_none());
        running.jobs.send(Job::Stop).unwrap();
        running.thread.join().unwrap().unwrap();
        serving.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_revocation_list_that_names_the_brokers_certificate_ends_the_session() {
        let Met { ca, _dir, home, ways, dialled, serving } = meet().await;
        let list = |revoked: &[u8]| {
            files::write(&home.crl(), ca.list(2, 2110, revoked).as_bytes(), Existing::Replace).unwrap();
        };
        // Of somebody else it says nothing.
        list(&[8]);
        let (folder, certificate) = (home.renewal(), dialled.certificate.clone());
        let mut going_on = std::pin::pin!(disowned(&folder, &certificate, ways.read));
        tokio::select! {
            biased;
            () = &mut going_on => panic!("ended by another one's revocation"),
            () = std::future::ready(()) => {}
        }
        list(&[7, 8]);
        tokio::time::timeout(4 * PATIENCE, going_on).await.unwrap();
        let (_sends, outgoing) = tokio::sync::mpsc::unbounded_channel();
        let stream = dialled.connection.open_bi().await.unwrap();
        let session = session::Session { outgoing, _stream: stream };
        let (jobs, posted) = std::sync::mpsc::channel();
        let work = Work { home: home.clone(), jobs, room: Room::new(), status: SharedStatus::default() };
        let (_renewals, mut renewed) = watch::channel(0);
        let (_halting, mut stop) = watch::channel(false);
        let connection = dialled.connection.clone();
        let mut memory = Memory::default();
        let kept = keep(dialled, session, &work, &ways, &mut memory, &mut renewed, &mut stop);
        let end = tokio::time::timeout(4 * PATIENCE, kept).await.unwrap();
        assert!(matches!(&end, End::Failed(problem) if problem.en.contains("revoked")), "{end:?}");
        assert!(connection.close_reason().is_some());
        assert!(posted.try_iter().any(|job| matches!(job, Job::Disconnected)));
        serving.abort();
    }
}
