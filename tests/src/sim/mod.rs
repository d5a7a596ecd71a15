//! Both cores in one process, under a world that is drawn from a seed: clock, network, disks, crashes.
//!
//! [`run`] plays one history: a broker and the agents of four partners, as their shells drive them, with
//! faults for some minutes and then none. [`Oracle`] looks at every turn and every receipt, and at the end at
//! what became of every packet. The same [`Scenario`] is always the same history, so that its one line of text
//! is all that is needed to see a failure again. `docs/reliability.md` says what the world can and cannot do.

mod agent;
mod broker;
mod cast;
mod crooked;
mod disk;
mod ends;
mod faults;
mod forger;
mod life;
mod link;
mod log;
mod net;
mod oracle;
mod people;
mod points;
mod scarce;
mod scenario;
mod traffic;
mod watchers;
mod wire;
mod world;

pub(crate) use cast::setup;
pub use oracle::{Broken, Oracle, Violation};
pub use points::{Call, Calls, Point};
pub use scenario::{Dice, Fault, Sabotage, Scenario};
pub use world::Summary;

use world::World;

/// Plays one history to its end.
///
/// # Errors
/// What broke, first of all.
pub fn run(scenario: &Scenario) -> Result<Summary, Violation> {
    World::new(scenario.clone())?.run()
}

/// Most histories that are played to make a scenario smaller.
const SHRINKING: usize = 120;

/// A smaller scenario that breaks the same promise, as far as leaving out faults, messages and minutes goes.
pub fn shrink(failed: &Scenario, broken: Broken) -> Scenario {
    let mut tries = 0;
    let mut still = |candidate: &Scenario| {
        tries += 1;
        tries <= SHRINKING && run(candidate).is_err_and(|violation| violation.broken == broken)
    };
    let mut smallest = failed.clone();
    loop {
        let smaller = smallest.smaller().into_iter().find(|candidate| still(candidate));
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}
