//! One party's disk loses its power again and again, while the others live on and remember.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{Expect, examine};
use super::cut::{Cut, Kept, Replay};
use super::disk::Disk;
use super::town::{self, Agents, Ears, SENDERS, Told, drained};
use super::{Plan, Report, victim, wide};
use crate::Process;
use crate::process::Programs;
use crate::sim::{Broken, Dice, Violation, setup};
use crate::stage::{PATIENCE, Stage};

/// Most messages that are pushed while the disk waits for its cut.
const ROUND: usize = 60;

/// The party whose disk it is.
struct Victim {
    /// Its role; none for the broker.
    role: Option<&'static str>,
    home: PathBuf,
}

pub(super) async fn play(programs: &Programs, plan: &Plan) -> Result<Report, Violation> {
    let begun = Instant::now();
    let mut dice = Dice::new(plan.seed);
    let town = plan.dir.join("town");
    let role = victim(plan.whose);
    let victim = Victim { role, home: town.join(role.unwrap_or("broker")) };
    let mut disk: Disk<Told> = Disk::empty(&victim.home).map_err(setup)?;
    let stage = town::found(programs, &town)?;
    let mut broker = stage.start_broker().map_err(setup)?;
    let ears = Arc::new(Ears::default());
    let mut agents = Agents::new(ears.hear());
    agents.start(&stage)?;
    agents.acquainted(&stage).await?;
    let mut report = Report::default();
    while plan.goes_on(begun, report.tally.faults) {
        let (lost, after) = cut(&stage, &victim, disk, (&mut broker, &mut agents), &mut dice).await?;
        disk = after;
        report.writes_lost += wide(lost);
        report.tally.faults += 1;
        town::accepted(&mut agents).await?;
    }
    drained(&stage, &mut broker)?;
    agents.stop().await;
    broker.stop(PATIENCE).map_err(setup)?;
    let told = ears.all();
    report.violations = examine(&stage, &told, Expect::Settled).await;
    let accepted = told.iter().filter(|told| matches!(told, Told::Accepted(..)));
    report.tally.confirmed = wide(accepted.count());
    disk.eject().map_err(setup)?;
    Ok(report)
}

/// Traffic until the disk's power goes away; then the victim starts again from what the disk holds.
async fn cut(
    stage: &Stage,
    victim: &Victim,
    disk: Disk<Told>,
    (broker, agents): (&mut Process, &mut Agents),
    dice: &mut Dice,
) -> Result<(usize, Disk<Told>), Violation> {
    let samples = town::samples()?;
    let before = disk.record().map_err(setup)?;
    disk.cut_after(usize::try_from(dice.between(1, 300)).unwrap_or_default());
    for _ in 0..ROUND {
        if !disk.has_power() {
            break;
        }
        let (role, _) = SENDERS[usize::try_from(dice.between(0, 2)).unwrap_or_default()];
        agents.push(role, &samples[role]).await?;
        tokio::time::sleep(Duration::from_millis(dice.between(0, 60))).await;
    }
    disk.cut_after(0);
    match victim.role {
        Some(role) => agents.stop_one(role).await,
        None => broker.end().map_err(setup)?,
    }
    let events = disk.take();
    drop(disk);
    let kept = dice.pick(&Kept::ALL).unwrap_or(Kept::Nothing);
    let moment = Cut { at: events.len(), kept, sham: 0 };
    let (blocks, lost) = Replay::new(before, &events).after(&moment, dice);
    let disk = Disk::holding(blocks, &victim.home).map_err(setup)?;
    if victim.role.is_none() {
        *broker = stage.start_broker().map_err(|error| Violation::new(Broken::Start, error.to_string()))?;
    }
    agents.start(stage)?;
    Ok((lost, disk))
}
