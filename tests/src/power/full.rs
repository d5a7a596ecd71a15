//! One party's disk is full, at every write in turn: nothing that was confirmed depends on what did not fit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::town::{self, Ears, Town, drained};
use super::{Plan, Report, conclude, victim, wide};
use crate::process::{Programs, until};
use crate::sim::{Broken, Dice, Violation, setup};
use crate::small::Small;
use crate::stage::PATIENCE;

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
    let dir = plan.dir.join("town");
    let role = victim(plan.whose);
    let disk = Small::over(&dir.join(role.unwrap_or("broker")), LARGE).map_err(setup)?;
    let ears = Arc::new(Ears::default());
    let mut town = Town::found(programs, &dir, ears.hear()).await?;
    let mut report = Report::default();
    let mut levels = 0;
    while plan.goes_on(begun, levels) {
        let before = said(&town)?.len();
        // From nothing at all to about as much as a round takes, no step twice the same.
        let step = ROOM / wide(plan.cuts).max(1);
        disk.leave(step * levels + dice.between(0, step.max(1))).map_err(setup)?;
        traffic(&mut town, role, &mut dice).await?;
        levels += 1;
        let stopped = match role {
            Some(role) => {
                // Who answers once there is space has not met the full disk, and will not.
                disk.resize(LARGE).map_err(setup)?;
                town.agents.failed(role).await?
            }
            None => broker_failed(&mut town, &disk, before, &mut dice)?,
        };
        report.tally.faults += u64::from(stopped);
        town.agents.start(&town.stage)?;
        town.agents.accepted().await?;
    }
    conclude(town, &ears, &mut report).await?;
    Ok(report)
}

/// Messages until the disk is full or the round is over.
async fn traffic(town: &mut Town, role: Option<&str>, dice: &mut Dice) -> Result<(), Violation> {
    for _ in 0..ROUND / BURST {
        for _ in 0..BURST {
            town.push(dice).await?;
        }
        // The senders do not run away from who stopped.
        let gone = match role {
            Some(role) => town.agents.get(role)?.status().await.is_err(),
            None => !town.broker.runs(),
        };
        if gone {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(dice.between(0, 200))).await;
    }
    // What is under way gets to the full disk, or to its end.
    if role.is_none() { drained(&town.stage, &mut town.broker) } else { Ok(()) }
}

/// Gives the broker's disk space again; whether the broker had stopped because there was none, and has been started
/// again. What it wrote to its log from `before` on is its own.
fn broker_failed(town: &mut Town, disk: &Small, before: usize, dice: &mut Dice) -> Result<bool, Violation> {
    let mut stopped = has_stopped(town, before)?;
    if stopped && dice.percent(50) {
        // On the disk that is still full it may start or not; whatever it does, nothing goes.
        drop(town.stage.start_broker());
    }
    disk.resize(LARGE).map_err(setup)?;
    if !stopped {
        // It may have met the full disk and be on its way out. Who answers now has not met it, and will not.
        until("the broker answers or ends", PATIENCE, || {
            !town.broker.runs() || town.stage.ask_broker(&json!("status")).is_ok()
        })
        .map_err(|error| Violation::new(Broken::Stuck, error.to_string()))?;
        stopped = has_stopped(town, before)?;
    }
    if stopped {
        town.broker = town::start_broker(&town.stage)?;
    }
    Ok(stopped)
}

/// Whether the broker has stopped: then with the right exit code, and saying why.
fn has_stopped(town: &mut Town, before: usize) -> Result<bool, Violation> {
    let Some(status) = town.broker.ended().map_err(setup)? else { return Ok(false) };
    let said = said(town)?;
    let said = said.get(before..).unwrap_or_default();
    if status.code() == Some(2) && ["No space left", "Next:"].iter().all(|word| said.contains(word)) {
        return Ok(true);
    }
    Err(Violation::new(Broken::Start, format!("the broker ended with {status} and does not say why: {said}")))
}

/// All that the broker wrote to its log.
fn said(town: &Town) -> Result<String, Violation> {
    std::fs::read_to_string(town.stage.log_of("broker")).map_err(setup)
}
