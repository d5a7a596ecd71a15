//! Faults at one system call of one process, put there by `strace`.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use super::bystander::Bystander;
use super::check::check;
use super::history::Push;
use super::traffic::Traffic;
use super::troupe::{Node, Troupe, Way};
use super::{Failure, Round, Tally};
use crate::Need;
use crate::process::system;
use crate::sim::{Broken, Dice, Violation, setup};

/// Points that share a partnership and a check.
const TOGETHER: usize = 25;
/// Every call in a series has its turn after so many passes; the first pass is spread over the whole series.
const PASSES: u64 = 16;
/// How long a process may take to end after a fault that it has to end after.
const STOPPING: Duration = Duration::from_secs(30);

/// The same fault at the first, second, third… of the same call of one process.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// Which process.
    pub node: Node,
    /// Which system call.
    pub call: &'static str,
    /// What happens at it, in `strace`'s words.
    pub fault: &'static str,
    /// Whether a process that meets it ended as it should. It is given all that `strace` wrote about the call, how the
    /// process ended if it did, and what it said.
    pub judge: fn(&Met<'_>) -> Result<(), String>,
}

/// What became of a process with a fault in it.
#[derive(Debug)]
pub struct Met<'a> {
    /// The calls and their results.
    pub calls: &'a str,
    /// How the process ended; none when it went on.
    pub ended: Option<ExitStatus>,
    /// What it wrote to its log since it was started.
    pub said: &'a str,
    /// The words with which it says what to do, in the language it was started in.
    pub next: &'a str,
}

/// Languages, and the words in each with which a program says what to do.
const SPOKEN: [(&str, &str); 2] = [("en", "Next:"), ("nl", "Wat nu:")];

/// The language for the process of a point.
fn spoken(nth: u64) -> (&'static str, &'static str) {
    let [english, dutch] = SPOKEN;
    if nth.is_multiple_of(2) { english } else { dutch }
}

/// `strace`, and that it may be used.
pub const STRACE: Need = Need { required: "SEINHUIS_STRACE_REQUIRED", missing: without_strace };

fn without_strace() -> Option<String> {
    let tried = system(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]));
    tried.err().map(|error| format!("strace is needed, and may not be used or is not there: {error}"))
}

/// Which points are next: of every series one call in [`PASSES`], then the next of each, until all were met.
struct Walk {
    passes: Vec<u64>,
    order: Vec<usize>,
    /// Where each series ends, once that is known.
    ends: Vec<u64>,
    pass: usize,
    turn: usize,
    step: u64,
}

impl Walk {
    fn new(series: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut shuffled = |count: u64| {
            let mut all: Vec<u64> = (0..count).collect();
            for place in 0..all.len() {
                let other = dice.between(0, count);
                all.swap(place, usize::try_from(other).unwrap_or_default());
            }
            all
        };
        let order = shuffled(u64::try_from(series).unwrap_or_default());
        let order = order.into_iter().filter_map(|place| usize::try_from(place).ok()).collect();
        Self { passes: shuffled(PASSES), order, ends: vec![u64::MAX; series], pass: 0, turn: 0, step: 0 }
    }

    /// A series and the number of the call in it, from 1.
    fn next(&mut self) -> Option<(usize, u64)> {
        loop {
            let offset = *self.passes.get(self.pass)?;
            let Some(series) = self.order.get(self.turn).copied() else {
                (self.turn, self.pass, self.step) = (0, self.pass + 1, 0);
                continue;
            };
            let nth = offset + 1 + self.step * PASSES;
            if self.ends.get(series).is_some_and(|end| nth < *end) {
                self.step += 1;
                return Some((series, nth));
            }
            (self.turn, self.step) = (self.turn + 1, 0);
        }
    }

    /// A process made fewer of these calls.
    fn ends(&mut self, series: usize, nth: u64) {
        if let Some(end) = self.ends.get_mut(series) {
            *end = nth.min(*end);
        }
    }
}

/// Plays points of these series, at most so many, until all were met or the round's time is over.
///
/// For each point everybody dies, everybody starts, one of them with the fault in it, and everybody pushes one message.
/// Who ends is started again, and all of it has to settle.
///
/// # Errors
/// Every promise that was broken.
pub fn play(round: &Round, series: &[Series], most: u64) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut walk = Walk::new(series.len(), round.seed);
    for batch in 0.. {
        let dir = round.dir.join(format!("batch-{batch}"));
        std::fs::create_dir(&dir).map_err(setup)?;
        let mut points = Vec::new();
        let played = batch_of(round, &dir, series, (&mut walk, &mut tally, &mut points), most);
        let more = played.map_err(|mut failure| {
            for violation in &mut failure.violations {
                violation.what = format!("{} (points: {})", violation.what, points.join(", "));
            }
            failure.tally = tally;
            failure
        })?;
        std::fs::remove_dir_all(&dir).map_err(setup)?;
        if !more {
            break;
        }
    }
    Ok(tally)
}

/// Some points on one partnership, then the check; whether there are more.
fn batch_of(
    round: &Round,
    dir: &Path,
    series: &[Series],
    (walk, tally, points): (&mut Walk, &mut Tally, &mut Vec<String>),
    most: u64,
) -> Result<bool, Failure> {
    let troupe = Troupe::set(round.programs.clone(), dir)?;
    troupe.gather()?;
    let traffic = Traffic::of(&troupe)?;
    let mut bystander = Bystander::default();
    let mut more = true;
    while points.len() < TOGETHER {
        let next = (tally.faults < most && Instant::now() < round.until).then(|| walk.next()).flatten();
        let Some((place, nth)) = next else {
            more = false;
            break;
        };
        let Some(one) = series.get(place) else { break };
        points.push(format!("{} {} {} {nth}", troupe.name(one.node), one.call, one.fault));
        if point(&troupe, &traffic, &mut bystander, one, nth)? {
            tally.faults += 1;
        } else {
            walk.ends(place, nth);
        }
    }
    let pushed = traffic.pushed();
    tally.confirmed += u64::try_from(pushed.len()).unwrap_or_default();
    troupe.gather()?;
    bystander.settle(&troupe, &pushed)?;
    let violations = check(&bystander.collect(&troupe, pushed)?);
    troupe.stop()?;
    troupe.is_calm()?;
    if violations.is_empty() { Ok(more) } else { Err(Failure { violations, tally: Tally::default() }) }
}

/// One point; whether the fault was met.
fn point(
    troupe: &Troupe,
    traffic: &Traffic<'_>,
    bystander: &mut Bystander,
    series: &Series,
    nth: u64,
) -> Result<bool, Violation> {
    for node in troupe.nodes() {
        troupe.kill(node)?;
    }
    let calls = troupe.stage.dir.join("calls");
    let log = troupe.stage.log_of(troupe.name(series.node));
    let before = std::fs::read(&log).map_err(setup)?.len();
    troupe.start(series.node, Some(&way(series, nth, &calls)))?;
    troupe.start_all()?;
    let pushed = traffic.pushed().len();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            traffic.sources().iter().map(|source| scope.spawn(|| traffic.push(source))).collect();
        // Who pushes to a process that ended waits for it to be there again.
        let watched = watch(troupe, || threads.iter().all(std::thread::ScopedJoinHandle::is_finished));
        if watched.is_err() {
            traffic.give_up();
        }
        let pushed =
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| setup("a thread broke"))?);
        watched.and(pushed)
    })?;
    let new: Vec<Push> = traffic.pushed().into_iter().skip(pushed).collect();
    bystander.settle(troupe, &new)?;
    let (mut ended, mut met) = (None, false);
    // Who stops lets go of its partners first, and all that was pushed may be settled before that.
    let judged = troupe.until(STOPPING, || {
        ended = ended.or_else(|| troupe.fallen().pop().map(|(_, status)| status));
        let calls = std::fs::read_to_string(&calls).unwrap_or_default();
        met = ended.is_some() || calls.contains("INJECTED");
        let said = since(&log, before);
        let seen = Met { calls: &calls, ended, said: &said, next: spoken(nth).1 };
        if met { (series.judge)(&seen).map_err(|what| format!("{what}:\n{said}")) } else { Ok(()) }
    });
    let point = format!("{} at {} {nth}", troupe.name(series.node), series.call);
    judged.map_err(|violation| Violation::new(Broken::Start, format!("{point}: {}", violation.what)))?;
    Ok(met)
}

/// What a log has got after so many bytes.
fn since(log: &Path, before: usize) -> String {
    let all = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(all.get(before..).unwrap_or_default()).into_owned()
}

fn watch(troupe: &Troupe, mut over: impl FnMut() -> bool) -> Result<(), Violation> {
    troupe.until(super::traffic::PATIENCE, || if over() { Ok(()) } else { Err("pushes".to_owned()) })
}

/// The process becomes the traced one, and keeps its number: who traces is its grandchild.
fn way(series: &Series, nth: u64, calls: &Path) -> Way {
    let Series { call, fault, .. } = series;
    let mut words: Vec<String> = ["-D", "-f", "-qq", "-y", "-o"].map(str::to_owned).to_vec();
    let language = format!("SEINHUIS_LANG={}", spoken(nth).0);
    words.push(calls.to_string_lossy().into_owned());
    words.extend(["-E".to_owned(), language]);
    // With a signal every call has to be looked at: strace does not send one from its filter.
    if !fault.contains("signal") {
        words.push("--seccomp-bpf".to_owned());
    }
    words.extend(["-e".to_owned(), format!("trace={call}"), "-e".to_owned()]);
    words.push(format!("inject={call}:{fault}:when={nth}"));
    Way { program: "strace".to_owned(), words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_every_series_has_its_turn_once() {
        let lengths = [40, 0, 7];
        let mut walk = Walk::new(lengths.len(), 5);
        let mut met = vec![Vec::new(); lengths.len()];
        while let Some((series, nth)) = walk.next() {
            if nth <= lengths[series] {
                met[series].push(nth);
            } else {
                walk.ends(series, nth);
            }
        }
        for (series, length) in met.iter_mut().zip(lengths) {
            series.sort_unstable();
            assert_eq!(*series, (1..=length).collect::<Vec<u64>>());
        }
    }
}
