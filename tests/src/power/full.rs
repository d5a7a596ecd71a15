//! One party's disk is full, at every write in turn: nothing that was confirmed depends on what did not fit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{Expect, examine};
use super::town::{self, Agents, Ears, SENDERS, Told, drained};
use super::{Plan, Report, victim, wide};
use crate::Process;
use crate::process::{Programs, until};
use crate::sim::{Broken, Dice, Violation, setup};
use crate::small::Small;
use crate::stage::{PATIENCE, Stage};

/// Most messages that are pushed before the disk is given space again, full or not. The journal writes into files it
/// made before: those and a few more have to be used up.
const ROUND: usize = 600;
/// Messages that are pushed at a time.
const BURST: usize = 20;
/// The disk's size in bytes when it is not full.
const LARGE: u64 = 256 << 20;
/// Room that is left at most, in bytes: one file of the journal and some of the index.
const ROOM: u64 = 3 << 19;

pub(super) async fn play(programs: &Programs, plan: &Plan) -> Result<Report, Violation> {
    let begun = Instant::now();
    let mut dice = Dice::new(plan.seed);
    let town = plan.dir.join("town");
    let role = victim(plan.whose);
    let disk = Small::over(&town.join(role.unwrap_or("broker")), LARGE).map_err(setup)?;
    let stage = town::found(programs, &town)?;
    let mut broker = stage.start_broker().map_err(setup)?;
    let ears = Arc::new(Ears::default());
    let mut agents = Agents::new(ears.hear());
    agents.start(&stage)?;
    agents.acquainted(&stage).await?;
    let mut report = Report::default();
    let mut levels = 0;
    while plan.goes_on(begun, levels) {
        // From nothing at all to about as much as a round takes, no step twice the same.
        let step = ROOM / wide(plan.cuts).max(1);
        disk.leave(step * levels + dice.between(0, step.max(1))).map_err(setup)?;
        traffic(&stage, role, &mut broker, &mut agents, &mut dice).await?;
        levels += 1;
        let stopped = match role {
            Some(role) => agents.failed(role).await?,
            None => broker_failed(&stage, &mut broker)?,
        };
        report.tally.faults += u64::from(stopped);
        if stopped && role.is_none() && dice.percent(50) {
            // On the disk that is still full it may start or not; whatever it does, nothing goes.
            drop(stage.start_broker());
        }
        disk.resize(LARGE).map_err(setup)?;
        if stopped && role.is_none() {
            broker =
                stage.start_broker().map_err(|error| Violation::new(Broken::Start, error.to_string()))?;
        }
        agents.start(&stage)?;
        town::accepted(&mut agents).await?;
    }
    drained(&stage, &mut broker)?;
    agents.stop().await;
    broker.stop(PATIENCE).map_err(setup)?;
    let told = ears.all();
    report.violations = examine(&stage, &told, Expect::Settled).await;
    let accepted = told.iter().filter(|told| matches!(told, Told::Accepted(..)));
    report.tally.confirmed = wide(accepted.count());
    Ok(report)
}

/// Messages until the disk is full or the round is over.
async fn traffic(
    stage: &Stage,
    role: Option<&str>,
    broker: &mut Process,
    agents: &mut Agents,
    dice: &mut Dice,
) -> Result<(), Violation> {
    let samples = town::samples()?;
    for _ in 0..ROUND / BURST {
        for _ in 0..BURST {
            let (sender, _) = SENDERS[usize::try_from(dice.between(0, 2)).unwrap_or_default()];
            agents.push(sender, &samples[sender]).await?;
        }
        // The senders do not run away from who stopped.
        let gone = match role {
            Some(role) => agents.get(role)?.status().await.is_err(),
            None => !broker.runs(),
        };
        if gone {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(dice.between(0, 200))).await;
    }
    // What is under way gets to the full disk, or to its end.
    if role.is_none() {
        let quiet = until("it is delivered or the broker stops", PATIENCE, || {
            !broker.runs()
                || stage.broker(&["status"]).is_ok_and(|status| {
                    let queues = status["queues"].as_array();
                    queues.is_some_and(|queues| queues.iter().all(|queue| queue["packets"] == 0))
                })
        });
        quiet.map_err(|error| Violation::new(Broken::Stuck, error.to_string()))?;
    }
    Ok(())
}

/// Whether the broker stopped: then with the right exit code, and saying why.
fn broker_failed(stage: &Stage, broker: &mut Process) -> Result<bool, Violation> {
    if broker.runs() {
        return Ok(false);
    }
    let code = broker.wait(PATIENCE).map_err(setup)?.code();
    let said = std::fs::read_to_string(stage.log_of("broker")).map_err(setup)?;
    if code == Some(2) && ["No space left", "Next:"].iter().all(|word| said.contains(word)) {
        return Ok(true);
    }
    let tail = said.get(said.len().saturating_sub(600)..).unwrap_or_default();
    Err(Violation::new(Broken::Start, format!("the broker ended with {code:?} and does not say why: {tail}")))
}
