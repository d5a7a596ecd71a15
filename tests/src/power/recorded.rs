//! One run with everything on one disk, and what is left of it after a cut at one moment and another.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seinhuis_journal::segment::SegmentHeader;

use super::check::{Expect, examine};
use super::cut::{BLOCK, Blocks, Cut, Event, Kept, Replay};
use super::disk::Disk;
use super::town::{self, RECIPIENT, Told, Town, confirmed};
use super::{Plan, Report, wide};
use crate::process::Programs;
use crate::sim::{Dice, Violation, setup};
use crate::stage::Stage;

/// Cuts that are made in one pass over the recording.
const AT_A_TIME: usize = 20;
/// How many events before the moment at which a segment is begun some cuts are, at most.
const BEFORE: usize = 6;
/// Within how many events such cuts are.
const NEAR: u64 = 16;

/// What happened on the disk, and what it held before that.
struct Recording {
    before: Blocks,
    events: Vec<Event<Told>>,
}

pub(super) async fn play(programs: &Programs, plan: &Plan) -> Result<Report, Violation> {
    let start = Instant::now();
    let mut dice = Dice::new(plan.seed);
    let at = plan.dir.join("disk");
    let (stage, recording) = record(programs, &at, plan, &mut dice).await?;
    let mut report = Report::default();
    while plan.goes_on(start, report.tally.faults) {
        let mut replay = Replay::new(recording.before.clone(), &recording.events);
        for cut in moments(&recording.events, plan, &mut dice) {
            if !plan.goes_on(start, report.tally.faults) {
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
    report.tally.confirmed = confirmed(&told_before(&recording.events, recording.events.len()));
    report.segments = wide(begun(&recording.events).len());
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
    let listener = Arc::clone(&disk);
    let mut town = Town::found(programs, at, Arc::new(move |told| listener.tell(told))).await?;
    let before = disk.record().map_err(setup)?;
    for number in 0..plan.messages {
        town.push(dice).await?;
        if dice.percent(30) {
            tokio::time::sleep(Duration::from_millis(dice.between(1, 40))).await;
        }
        if number == plan.messages / 3 {
            town.agents.stop_one(RECIPIENT).await;
        } else if number == plan.messages / 2 {
            town.broker.end().map_err(setup)?;
            town.broker = town::start_broker(&town.stage)?;
        } else if number == plan.messages * 2 / 3 {
            town.agents.start(&town.stage)?;
        }
    }
    town.settle().await?;
    let Town { stage, broker, mut agents, .. } = town;
    agents.stop().await;
    broker.kill().map_err(setup)?;
    let events = disk.take();
    drop(agents);
    let disk = Arc::into_inner(disk).ok_or_else(|| setup("somebody still listens"))?;
    disk.eject().map_err(setup)?;
    Ok((stage, Recording { before, events }))
}

/// After which events a segment of a journal, which is not its first, was begun.
fn begun(events: &[Event<Told>]) -> Vec<usize> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for (at, event) in (1..).zip(events) {
        let Event::Write(_, bytes) = event else { continue };
        // A block that is filled further is written again.
        let headers = bytes.chunks(BLOCK).filter_map(|block| SegmentHeader::decode(block).ok());
        let new = headers.filter(|header| header.opening.0 != [0; 16]);
        if new.filter(|header| known.insert(header.opening.0)).count() > 0 {
            found.push(at);
        }
    }
    found
}

/// Some moments to cut at, in their order: some at a flush, some where something is not flushed, and some where a
/// journal begins a segment.
fn moments(events: &[Event<Told>], plan: &Plan, dice: &mut Dice) -> Vec<Cut> {
    let after = |wanted: fn(&Event<Told>) -> bool| -> Vec<usize> {
        (1..).zip(events).filter(|(_, event)| wanted(event)).map(|(at, _)| at).collect()
    };
    let flushes = after(|event| matches!(event, Event::Flush));
    let writes = after(|event| matches!(event, Event::Write(..)));
    let begun = begun(events);
    let mut cuts: Vec<Cut> = (0..AT_A_TIME)
        .map(|number| {
            let one = |dice: &mut Dice, of: &[usize]| dice.pick(of).unwrap_or_default();
            let at = match number % 3 {
                // Just after or just before.
                0 => one(dice, &flushes).saturating_sub(usize::from(dice.percent(50))),
                1 => one(dice, &writes),
                _ => {
                    let near = usize::try_from(dice.between(0, NEAR)).unwrap_or_default();
                    one(dice, &begun).saturating_sub(BEFORE).saturating_add(near)
                }
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
        Town::start(stage, Arc::new(|_| ()))?.end().await?;
        found = examine(stage, told, Expect::Settled).await;
    }
    disk.eject().map_err(setup)?;
    Ok(found)
}
