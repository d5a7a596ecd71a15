//! One run with everything on one disk, and what is left of it after a cut at one moment and another.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{Expect, examine};
use super::cut::{Blocks, Cut, Event, Kept, Replay};
use super::disk::Disk;
use super::town::{self, Agents, RECIPIENT, SENDERS, Told, drained};
use super::{Plan, Report, wide};
use crate::process::Programs;
use crate::sim::{Broken, Dice, Violation, setup};
use crate::stage::{PATIENCE, Stage};

/// Cuts that are made in one pass over the recording.
const AT_A_TIME: usize = 20;

/// What happened on the disk, and what it held before that.
struct Recording {
    before: Blocks,
    events: Vec<Event<Told>>,
}

pub(super) async fn play(programs: &Programs, plan: &Plan) -> Result<Report, Violation> {
    let begun = Instant::now();
    let mut dice = Dice::new(plan.seed);
    let at = plan.dir.join("disk");
    let (stage, recording) = record(programs, &at, plan, &mut dice).await?;
    let mut report = Report::default();
    while plan.goes_on(begun, report.tally.faults) {
        let mut replay = Replay::new(recording.before.clone(), &recording.events);
        for cut in moments(&recording.events, plan, &mut dice) {
            if !plan.goes_on(begun, report.tally.faults) {
                break;
            }
            report.tally.faults += 1;
            let (blocks, lost) = replay.after(&cut, &mut dice);
            report.writes_lost += wide(lost);
            let told = told_before(&recording.events, cut.at);
            let settles = plan.start_each > 0 && report.tally.faults.is_multiple_of(wide(plan.start_each));
            let found = after(&stage, &at, blocks, &told, settles).await;
            let found = found.unwrap_or_else(|violation| vec![violation]);
            report.violations.extend(found.into_iter().map(|Violation { broken, what }| {
                Violation::new(broken, format!("{what}; seed {}, {cut:?}", plan.seed))
            }));
        }
    }
    let told = told_before(&recording.events, recording.events.len());
    let accepted = told.iter().filter(|told| matches!(told, Told::Accepted(..)));
    report.tally.confirmed = wide(accepted.count());
    Ok(report)
}

fn told_before(events: &[Event<Told>], at: usize) -> Vec<Told> {
    let happened = events.iter().take(at);
    happened
        .filter_map(|event| match event {
            Event::Told(told) => Some(told.clone()),
            Event::Write(..) | Event::Flush => None,
        })
        .collect()
}

/// Traffic on a disk that writes everything down: a burst, the recipient away for a while, the broker killed once.
async fn record(
    programs: &Programs,
    at: &Path,
    plan: &Plan,
    dice: &mut Dice,
) -> Result<(Stage, Recording), Violation> {
    let disk = Arc::new(Disk::empty(at).map_err(setup)?);
    let stage = town::found(programs, at)?;
    let mut broker = stage.start_broker().map_err(setup)?;
    let listener = Arc::clone(&disk);
    let mut agents = Agents::new(Arc::new(move |told| listener.tell(told)));
    agents.start(&stage)?;
    agents.acquainted(&stage).await?;
    let samples = town::samples()?;
    let before = disk.record().map_err(setup)?;
    for number in 0..plan.messages {
        let (role, _) = SENDERS[usize::try_from(dice.between(0, 2)).unwrap_or_default()];
        agents.push(role, &samples[role]).await?;
        if dice.percent(30) {
            tokio::time::sleep(Duration::from_millis(dice.between(1, 40))).await;
        }
        if number == plan.messages / 3 {
            agents.stop_one(RECIPIENT).await;
        } else if number == plan.messages / 2 {
            broker.kill().map_err(setup)?;
            broker = stage.start_broker().map_err(setup)?;
        } else if number == plan.messages * 2 / 3 {
            agents.start(&stage)?;
        }
    }
    town::accepted(&mut agents).await?;
    drained(&stage, &mut broker)?;
    agents.stop().await;
    broker.kill().map_err(setup)?;
    let events = disk.take();
    drop(agents);
    let disk = Arc::into_inner(disk).ok_or_else(|| setup("somebody still listens"))?;
    disk.eject().map_err(setup)?;
    Ok((stage, Recording { before, events }))
}

/// Some moments to cut at, in their order: half of them at a flush, the rest where something is not flushed.
fn moments(events: &[Event<Told>], plan: &Plan, dice: &mut Dice) -> Vec<Cut> {
    let after = |wanted: fn(&Event<Told>) -> bool| -> Vec<usize> {
        (1..).zip(events).filter(|(_, event)| wanted(event)).map(|(at, _)| at).collect()
    };
    let flushes = after(|event| matches!(event, Event::Flush));
    let writes = after(|event| matches!(event, Event::Write(..)));
    let mut cuts: Vec<Cut> = (0..AT_A_TIME)
        .map(|number| {
            let at = if number % 2 == 0 {
                // Just after or just before.
                dice.pick(&flushes).unwrap_or_default().saturating_sub(usize::from(dice.percent(50)))
            } else {
                dice.pick(&writes).unwrap_or_default()
            };
            let kept =
                if plan.sham > 0 { Kept::Nothing } else { dice.pick(&Kept::ALL).unwrap_or(Kept::Nothing) };
            Cut { at, kept, sham: plan.sham }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.at);
    cuts
}

/// The power is back: what is there, and, if asked, what becomes of it.
async fn after(
    stage: &Stage,
    at: &Path,
    blocks: Blocks,
    told: &[Told],
    settles: bool,
) -> Result<Vec<Violation>, Violation> {
    let disk: Disk<Told> = Disk::holding(blocks, at).map_err(setup)?;
    let mut found = examine(stage, told, Expect::Kept).await;
    if settles && found.is_empty() {
        let mut broker =
            stage.start_broker().map_err(|error| Violation::new(Broken::Start, error.to_string()))?;
        let mut agents = Agents::new(Arc::new(|_| ()));
        agents.start(stage)?;
        town::accepted(&mut agents).await?;
        drained(stage, &mut broker)?;
        agents.stop().await;
        broker.stop(PATIENCE).map_err(setup)?;
        found = examine(stage, told, Expect::Settled).await;
    }
    disk.eject().map_err(setup)?;
    Ok(found)
}
