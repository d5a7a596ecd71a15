//! Agents that connect and do nothing more; and then ask a little.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::agent::{Session, gather, sockets};
use super::partnership::Partnership;
use super::process::Process;

/// Where it is looked at.
const STEPS: [u64; 5] = [0, 1000, 2500, 5000, 10_000];
/// How long after the last handshake.
const SETTLE: Duration = Duration::from_secs(2);
/// How long agents do nothing: a keep-alive of each.
const IDLE: Duration = Duration::from_secs(10);
/// Agents that ask, each once in this time.
const ASKING: usize = 1000;
const PACE: Duration = Duration::from_secs(10);

/// Connects up to so many, and prints what that costs the broker on the way.
pub(crate) async fn measure(partnership: &Partnership, agents: u64) {
    let agents = agents.min(u64::try_from(partnership.agents.len()).unwrap());
    let broker = Process::start(&partnership.folder);
    println!("the broker listened after {:.2} s", broker.listening.as_secs_f64());
    let sockets = sockets(partnership.agents.len());
    let mut sessions: Vec<Session> = Vec::new();
    println!(
        "| connected | handshakes a second | broker's processor time for one | resident | for each agent | most | idle, of one processor | threads |\n|---|---|---|---|---|---|---|---|"
    );
    let mut empty = 0.0;
    for step in STEPS.into_iter().filter(|step| *step < agents).chain([agents]) {
        let (before, begun) = (broker.usage(), Instant::now());
        let from = sessions.len();
        let to = usize::try_from(step).unwrap();
        sessions.extend(gather(partnership, &sockets, from..to).await);
        let (took, after) = (begun.elapsed().as_secs_f64(), broker.usage());
        tokio::time::sleep(SETTLE).await;
        let before_idle = broker.usage();
        tokio::time::sleep(IDLE).await;
        let now = broker.usage();
        assert!(sessions.iter().all(|session| session.conn.close_reason().is_none()), "all stay connected");
        let share = (now.processor - before_idle.processor) / IDLE.as_secs_f64();
        let resident = f64::from(now.resident);
        if step == 0 {
            empty = resident;
        }
        let new = f64::from(u32::try_from(to - from).unwrap());
        let (pace, each, own) = if step == 0 {
            ("—".to_owned(), "—".to_owned(), "—".to_owned())
        } else {
            (
                format!("{:.0}", new / took),
                format!("{:.2} ms", (after.processor - before.processor) * 1e3 / new),
                format!("{:.1} KiB", (resident - empty) / f64::from(u32::try_from(to).unwrap())),
            )
        };
        println!(
            "| {step} | {pace} | {each} | {:.0} MiB | {own} | {:.0} MiB | {:.1} % | {} |",
            resident / 1024.0,
            f64::from(now.most) / 1024.0,
            share * 100.0,
            now.threads
        );
    }
    trickle(&broker, sessions).await;
}

/// Some of them ask the broker something every few seconds.
async fn trickle(broker: &Process, sessions: Vec<Session>) {
    let asking = sessions.len().min(ASKING);
    if asking == 0 {
        return;
    }
    let mut rest = sessions;
    let idle = rest.split_off(asking);
    let before = broker.usage();
    let mut tasks = JoinSet::new();
    for (at, session) in rest.into_iter().enumerate() {
        let wait = PACE * u32::try_from(at).unwrap() / u32::try_from(asking).unwrap();
        tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            (session.ask().await.unwrap(), session)
        });
    }
    // Sessions last until the end.
    let (mut all, asked): (Vec<Duration>, Vec<Session>) = tasks.join_all().await.into_iter().unzip();
    let after = broker.usage();
    all.sort_unstable();
    let ms = |part: usize| all[(all.len() * part / 100).min(all.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{} questions of as many agents in {} s, with {} more that are idle: {:.2} s of the broker's processor time, answered in {:.1} ms (half), {:.1} ms (99 of 100), {:.1} ms (all)",
        all.len(),
        PACE.as_secs(),
        idle.len(),
        after.processor - before.processor,
        ms(50),
        ms(99),
        ms(100)
    );
    drop(asked);
}
