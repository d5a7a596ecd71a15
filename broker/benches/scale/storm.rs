//! The broker is killed and started again, and all its agents come back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quinn::Endpoint;
use seinhuis_agent_core::backoff::{Backoff, CAP, FIRST, STABLE};
use seinhuis_shared::time::Span;
use seinhuis_shell::{clock, keys};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::agent::{Agent, Failed, Session, gather, socket, sockets};
use super::partnership::Partnership;
use super::process::Process;

/// How often the one that asks meanwhile does.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The bar for its answers.
const SOON: Duration = Duration::from_secs(1);

/// When agents dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// As agents do: each when its connection is found gone, and after the wait that the backoff draws.
    AsAgents,
    /// All find it gone at the same instant, and wait what the backoff draws.
    Together,
    /// All dial at the same instant, and again after waits that are the same for all.
    Unison,
}

impl Rule {
    /// The one of this name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "as-agents" => Some(Self::AsAgents),
            "together" => Some(Self::Together),
            "unison" => Some(Self::Unison),
            _ => None,
        }
    }
}

/// What came of all attempts.
#[derive(Default)]
struct Tally {
    back: Vec<Duration>,
    failed: BTreeMap<Failed, u32>,
    /// Attempts of the one that needed most.
    most: u32,
}

/// Connects so many, and lets them come back by each rule, or by this one.
pub(crate) async fn measure(partnership: &Partnership, agents: u64, rule: Option<Rule>) {
    // The last one asks meanwhile.
    let agents = usize::try_from(agents).unwrap().min(partnership.agents.len() - 1);
    let sockets = sockets(partnership.agents.len());
    let mut broker = Process::start(&partnership.folder);
    let mut sessions = gather(partnership, &sockets, 0..agents).await;
    println!("{agents} connected; the broker has {} MiB", broker.usage().resident / 1024);
    println!(
        "| agents dial | listening after | half back | 99 of 100 | all | failed attempts | most attempts of one | broker's most memory | processor time | asked meanwhile |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let rules = rule.map_or_else(|| vec![Rule::AsAgents, Rule::Together, Rule::Unison], |one| vec![one]);
    for rule in rules {
        (broker, sessions) = one(partnership, &sockets, rule, broker, sessions).await;
    }
    drop(broker);
}

async fn one(
    partnership: &Partnership,
    sockets: &[Endpoint],
    rule: Rule,
    broker: Process,
    sessions: Vec<Session>,
) -> (Process, Vec<Session>) {
    broker.kill();
    let killed = Instant::now();
    let mut held: Vec<Option<Session>> = sessions.into_iter().map(Some).collect();
    if rule != Rule::AsAgents {
        held = held.into_iter().map(|_| None).collect();
    }
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut coming = JoinSet::new();
    let mut starts = Vec::new();
    for (at, session) in held.into_iter().enumerate() {
        let (start, started) = oneshot::channel();
        starts.push(start);
        let (agent, socket) = (Arc::clone(&partnership.agents[at]), socket(sockets, at).clone());
        let (tally, broker) = (Arc::clone(&tally), partnership.address);
        coming.spawn(async move {
            if let Some(session) = session {
                session.conn.closed().await;
            } else {
                started.await.unwrap();
            }
            (at, come_back(&agent, &socket, broker, rule, killed, &tally).await)
        });
    }
    let broker = tokio::task::block_in_place(|| Process::start(&partnership.folder));
    let listening = killed.elapsed();
    let answers = Answers::default();
    let last = partnership.agents.len() - 1;
    let probe = tokio::spawn({
        let (agent, socket) = (Arc::clone(&partnership.agents[last]), socket(sockets, last).clone());
        ask_meanwhile(agent, socket, partnership.address, Arc::clone(&answers))
    });
    for start in starts {
        // Who waits for its connection to end does not listen.
        _ = start.send(());
    }
    let mut back = Vec::new();
    while let Some(one) = coming.join_next().await {
        back.push(one.unwrap());
    }
    // What comes right after counts as well.
    tokio::time::sleep(SOON).await;
    probe.abort();
    let usage = broker.usage();
    let mut tally = std::mem::take(&mut *tally.lock().unwrap());
    tally.back.sort_unstable();
    let at = |part: usize| (tally.back[(tally.back.len() * part).div_ceil(100) - 1]).as_secs_f64();
    let failed: Vec<String> =
        tally.failed.iter().map(|(failed, count)| format!("{count} {failed:?}")).collect();
    println!(
        "| {rule:?} | {:.1} s | {:.1} s | {:.1} s | {:.1} s | {} | {} | {} MiB | {:.1} s | {} |",
        listening.as_secs_f64(),
        at(50),
        at(99),
        at(100),
        if failed.is_empty() { "0".to_owned() } else { failed.join(", ") },
        tally.most,
        usage.most / 1024,
        usage.processor,
        told(&answers.lock().unwrap())
    );
    back.sort_unstable_by_key(|(at, _)| *at);
    (broker, back.into_iter().map(|(_, session)| session).collect())
}

/// Dials by the rule until there is a session.
async fn come_back(
    agent: &Agent,
    socket: &Endpoint,
    broker: SocketAddr,
    rule: Rule,
    since: Instant,
    tally: &Mutex<Tally>,
) -> Session {
    let mut backoff = Backoff::default();
    backoff.connected(clock::now().minus(STABLE));
    let mut attempts = 0;
    loop {
        let wait = match rule {
            Rule::AsAgents | Rule::Together => {
                backoff.failed(clock::now(), u64::from_be_bytes(keys::random()))
            }
            Rule::Unison if attempts == 0 => Span(0),
            Rule::Unison => FIRST.doubled(attempts - 1, CAP),
        };
        tokio::time::sleep(Duration::from_millis(wait.0)).await;
        attempts += 1;
        let dialled = agent.dial(socket, broker).await;
        let mut tally = tally.lock().unwrap();
        match dialled {
            Ok(session) => {
                tally.back.push(since.elapsed());
                tally.most = tally.most.max(attempts);
                return session;
            }
            Err(failed) => *tally.failed.entry(failed).or_default() += 1,
        }
    }
}

/// How long each answer took to the one that asks meanwhile; nothing where none came.
type Answers = Arc<Mutex<Vec<Option<Duration>>>>;

/// One that dials until it is let in, and then asks again and again.
async fn ask_meanwhile(agent: Arc<Agent>, socket: Endpoint, broker: SocketAddr, answers: Answers) {
    loop {
        let Ok(session) = agent.dial(&socket, broker).await else { continue };
        while session.conn.close_reason().is_none() {
            let answer = session.ask().await;
            answers.lock().unwrap().push(answer);
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

fn told(answers: &[Option<Duration>]) -> String {
    let mut took: Vec<Duration> = answers.iter().flatten().copied().collect();
    took.sort_unstable();
    let (Some(longest), Some(half)) = (took.last(), took.get(took.len() / 2)) else {
        return "no answer".to_owned();
    };
    let late = took.iter().filter(|took| **took > SOON).count();
    format!(
        "{} times, half in {:.0} ms, all in {:.0} ms; {late} later than a second, {} without an answer",
        answers.len(),
        half.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
        answers.len() - took.len()
    )
}
