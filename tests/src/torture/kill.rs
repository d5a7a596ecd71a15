//! Processes that die under load, at any moment, alone or together.

use std::time::{Duration, Instant};

use super::history::History;
use super::scene::under_traffic;
use super::troupe::{Node, Troupe};
use super::{Failure, Kind, Round, Tally};
use crate::sim::Dice;

/// `kill -9`.
pub(super) const KIND: Kind = Kind {
    name: "kill",
    fault: "`kill -9` of broker or agents under load, at random moments, at times several at once",
    needs: None,
    play: |round| history(round, KILLS).map(|(tally, _)| tally),
};

/// Kills of one round, after which all of it is checked.
const KILLS: u64 = 100;
/// How long processes run between two kills, at most: some are then still starting, most are not.
const RUN: u64 = 600;
/// How long a process is away, at most.
const AWAY: u64 = 300;
/// How often, in a hundred, two processes die at once.
const TWO: u64 = 25;
/// How often, in a hundred, all do.
const ALL: u64 = 10;
/// How often, in a hundred, somebody looks at the log before a kill.
const LOOK: u64 = 30;

/// Plays one history with so many kills, or as many as its time is enough for.
///
/// # Errors
/// Every promise that was broken.
pub fn history(round: &Round, kills: u64) -> Result<(Tally, History), Failure> {
    let troupe = Troupe::set(round.programs.clone(), &round.dir)?;
    let mut dice = Dice::new(round.seed);
    let nodes: Vec<Node> = troupe.nodes().collect();
    under_traffic(&troupe, round.seed, |bystander| {
        let mut done = 0;
        while done < kills && Instant::now() < round.until {
            sleep(dice.between(0, RUN));
            if dice.percent(LOOK) {
                bystander.look(&troupe);
            }
            let victims = match dice.between(0, 100) {
                throw if throw < ALL => nodes.clone(),
                throw => {
                    let count = if throw < ALL + TWO { 2 } else { 1 };
                    (0..count).filter_map(|_| dice.pick(&nodes)).collect()
                }
            };
            for node in victims {
                done += u64::from(troupe.kill(node)?);
            }
            sleep(dice.between(0, AWAY));
            troupe.start_all()?;
        }
        Ok(done)
    })
}

fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
