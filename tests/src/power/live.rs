//! One party's disk loses its power again and again, while the others live on and remember.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cut::{Cut, Kept, Replay};
use super::disk::Disk;
use super::town::{self, Ears, Told, Town};
use super::{Plan, Report, conclude, victim, wide};
use crate::process::Programs;
use crate::sim::{Dice, Violation, setup};

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
    let dir = plan.dir.join("town");
    let role = victim(plan.whose);
    let victim = Victim { role, home: dir.join(role.unwrap_or("broker")) };
    let mut disk: Disk<Told> = Disk::empty(&victim.home).map_err(setup)?;
    let ears = Arc::new(Ears::default());
    let mut town = Town::found(programs, &dir, ears.hear()).await?;
    let mut report = Report::default();
    while plan.goes_on(begun, report.tally.faults) {
        let (lost, after) = cut(&mut town, &victim, disk, &mut dice).await?;
        disk = after;
        report.writes_lost += wide(lost);
        report.tally.faults += 1;
        town.agents.accepted().await?;
    }
    conclude(town, &ears, &mut report).await?;
    disk.eject().map_err(setup)?;
    Ok(report)
}

/// Traffic until the disk's power goes away; then the victim starts again from what the disk holds.
async fn cut(
    town: &mut Town,
    victim: &Victim,
    disk: Disk<Told>,
    dice: &mut Dice,
) -> Result<(usize, Disk<Told>), Violation> {
    let before = disk.record().map_err(setup)?;
    disk.cut_after(usize::try_from(dice.between(1, 300)).unwrap_or_default());
    for _ in 0..ROUND {
        if !disk.has_power() {
            break;
        }
        town.push(dice).await?;
        tokio::time::sleep(Duration::from_millis(dice.between(0, 60))).await;
    }
    disk.cut_after(0);
    match victim.role {
        Some(role) => town.agents.stop_one(role).await,
        None => town.broker.end().map_err(setup)?,
    }
    let events = disk.take();
    drop(disk);
    let kept = dice.pick(&Kept::ALL).unwrap_or(Kept::Nothing);
    let moment = Cut { at: events.len(), kept, sham: 0 };
    let (blocks, lost) = Replay::new(before, &events).after(&moment, dice);
    let disk = Disk::holding(blocks, &victim.home).map_err(setup)?;
    if victim.role.is_none() {
        town.broker = town::start_broker(&town.stage)?;
    }
    town.agents.start(&town.stage)?;
    Ok((lost, disk))
}
