//! One scene: traffic, faults meanwhile, peace, and the check.

use std::time::Duration;

use super::bystander::Bystander;
use super::check::check;
use super::history::History;
use super::traffic::{PATIENCE, Traffic};
use super::troupe::Troupe;
use super::{Failure, Tally};
use crate::process::until;
use crate::sim::{Broken, Violation, setup};

/// The longest pause between two pushes on one flow.
const PAUSE: Duration = Duration::from_millis(1500);

/// Messages that are confirmed at least before it ends; those that are missing after the last fault.
const LEAST: usize = 24;

/// Lets nobody push any more when `faults` panics: its panic waits for all threads.
struct EndsInPanic<'a>(&'a Traffic<'a>);

impl Drop for EndsInPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
        }
    }
}

/// Has everybody push while `faults` breaks things, then lets all of it settle, and checks what is there.
///
/// `faults` gives how many faults there were; processes it left ended are started again. `seed` is what the pauses
/// between pushes are drawn from.
///
/// # Errors
/// Every promise that was broken.
pub fn under_traffic(
    troupe: &Troupe,
    seed: u64,
    faults: impl FnOnce(&mut Bystander) -> Result<u64, Violation>,
) -> Result<(Tally, History), Failure> {
    troupe.gather()?;
    let traffic = Traffic::of(troupe)?;
    let mut bystander = Bystander::default();
    let played = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(traffic.sources())
            .map(|(nth, source)| {
                let (traffic, seed) = (&traffic, seed ^ (nth << 32));
                scope.spawn(move || traffic.go_on(source, seed, PAUSE))
            })
            .collect();
        let ends = EndsInPanic(&traffic);
        let played = faults(&mut bystander).and_then(|count| {
            troupe.start_all()?;
            until("messages are confirmed", PATIENCE, || traffic.confirmed() >= LEAST)
                .map_err(|error| Violation::new(Broken::Stuck, error.to_string()))?;
            Ok(count)
        });
        drop(ends);
        if played.is_ok() {
            traffic.end();
        } else {
            traffic.give_up();
        }
        let pushed =
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| setup("a thread broke"))?);
        played.and_then(|count| pushed.map(|()| count))
    });
    let pushed = traffic.pushed();
    let tally = Tally {
        faults: played.as_ref().copied().unwrap_or_default(),
        confirmed: u64::try_from(traffic.confirmed()).unwrap_or(u64::MAX),
    };
    let failed = |violation: Violation| Failure { violations: vec![violation], tally };
    played.map_err(failed)?;
    let history = peace(troupe, &mut bystander, pushed).map_err(failed)?;
    let violations = check(&history);
    if violations.is_empty() { Ok((tally, history)) } else { Err(Failure { violations, tally }) }
}

/// Everything settles without help, everybody stops in good order, and nobody found a fault in itself.
fn peace(
    troupe: &Troupe,
    bystander: &mut Bystander,
    pushed: Vec<super::history::Push>,
) -> Result<History, Violation> {
    bystander.settle(troupe, &pushed)?;
    let history = bystander.collect(troupe, pushed)?;
    troupe.stop()?;
    troupe.is_calm()?;
    Ok(history)
}
