//! Real processes that die, at any moment and at chosen ones, and flushes that fail: a bounded number of each. More of
//! them by command, as `docs/reliability.md` says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use seinhuis_agent_core::rows::Reached;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tree::Frontier;
use seinhuis_tests::Programs;
use seinhuis_tests::forge::new_id;
use seinhuis_tests::sim::Broken;
use seinhuis_tests::torture::check::check;
use seinhuis_tests::torture::history::{History, Seen};
use seinhuis_tests::torture::{Failure, Round, Tally, fsync, inject, kill, points};

/// A round in a temporary folder.
fn round(seed: u64) -> (Round, tempfile::TempDir) {
    let dir = tempfile::Builder::new().prefix("seinhuis-torture-").tempdir().unwrap();
    let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
    let until = Instant::now() + Duration::from_mins(30);
    (Round { programs, dir: dir.path().to_path_buf(), seed, until }, dir)
}

/// Plays with faults at system calls; passed over, aloud, where that cannot be.
fn injected(play: impl FnOnce(&Round) -> Result<Tally, Failure>) {
    if !inject::STRACE.is_met() {
        return;
    }
    let (round, _dir) = round(11);
    let tally = play(&round).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert!(tally.faults > 0 && tally.confirmed > 0, "{tally:?}");
}

#[test]
fn a_death_before_a_write_or_a_send_loses_and_doubles_nothing() {
    injected(|round| points::play(round, 6));
}

#[test]
fn after_a_flush_that_failed_nothing_is_accepted_and_nothing_confirmed_is_lost() {
    injected(|round| fsync::play(round, 5));
}

#[test]
fn processes_killed_under_load_lose_and_double_nothing_and_what_would_be_wrong_is_seen() {
    let (round, _dir) = round(3);
    let (tally, history) = kill::history(&round, 10).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert!(tally.faults >= 10 && tally.confirmed > 20, "{tally:?}");
    assert!(history.seen.len() > 4 && !history.notes.is_empty(), "states of the log were seen on the way");
    packets(&history);
    log(&history);
}

/// What the checker says of a history that is not as it was.
fn told(history: &History, change: impl FnOnce(&mut History)) -> Vec<Broken> {
    let mut changed = history.clone();
    change(&mut changed);
    check(&changed).iter().map(|violation| violation.broken).collect()
}

/// The place of a party that received at least two messages on one flow of one sender, and those messages' places.
fn pair(history: &History) -> (usize, usize, usize) {
    for (place, party) in history.parties.iter().enumerate() {
        for (first, one) in party.inbox.iter().enumerate() {
            let flow =
                |id| history.pushed.iter().find(|push| push.id == id).map(|push| (push.from, &push.flow));
            let other = party.inbox.iter().skip(first + 1).position(|two| flow(two.id) == flow(one.id));
            if let Some(other) = other {
                return (place, first, first + 1 + other);
            }
        }
    }
    panic!("nobody received two messages on one flow");
}

fn packets(history: &History) {
    let (party, first, second) = pair(history);
    let seen = |change: &dyn Fn(&mut History)| told(history, change);
    let lost = seen(&|it| drop(it.parties[party].inbox.remove(first)));
    assert_eq!(lost, [Broken::Lost], "a packet is not there");
    let twice = seen(&|it| {
        let again = it.parties[party].inbox[first].clone();
        it.parties[party].inbox.push(again);
    });
    assert_eq!(twice, [Broken::Twice], "a packet is there twice");
    let invented = seen(&|it| {
        let mut other = it.parties[party].inbox[first].clone();
        (other.id, other.packet) = (new_id(), Digest([7; 32]));
        it.parties[party].inbox.push(other);
    });
    assert_eq!(invented, [Broken::Invented], "a packet is there that nobody pushed");
    let changed = seen(&|it| it.parties[party].inbox[first].body.push(b' '));
    assert_eq!(changed, [Broken::Invented], "a body is another");
    let order = seen(&|it| it.parties[party].inbox.swap(first, second));
    assert_eq!(order, [Broken::Order], "two packets changed places");
    let alarm = seen(&|it| it.parties[party].alarms.push("log-forked: two roots".into()));
    assert_eq!(alarm, [Broken::Alarm]);
    assert_eq!(seen(&|it| it.parties[party].alarms.push("log-unproven: late".into())), []);
    let sender = history.parties.iter().position(|party| !party.outbox.is_empty()).unwrap();
    let forgotten = seen(&|it| drop(it.parties[sender].outbox.remove(0)));
    assert_eq!(forgotten, [Broken::Lost], "what was confirmed is not in the outbox");
    let untold = seen(&|it| {
        let reached = it.parties[sender].outbox[0].reached.values_mut().next().unwrap();
        *reached = Reached::Accepted;
    });
    assert_eq!(untold, [Broken::Lost], "its sender does not know that it arrived");
}

fn log(history: &History) {
    let seen = |change: &dyn Fn(&mut History)| told(history, change);
    let sender = history.parties.iter().position(|party| party.outbox.len() > 1).unwrap();
    let none = seen(&|it| it.parties[sender].outbox[0].receipt = None);
    assert_eq!(none, [Broken::Log], "what was accepted has no receipt");
    let other =
        seen(&|it| it.parties[sender].outbox[0].receipt = it.parties[sender].outbox[1].receipt.clone());
    assert_eq!(other, [Broken::Log], "a receipt of another message");
    let damaged = seen(&|it| {
        let receipt = it.parties[sender].outbox[0].receipt.as_mut().unwrap();
        *receipt = receipt.replacen("\"flow\":\"F0", "\"flow\":\"F1", 1);
    });
    assert_eq!(damaged, [Broken::Log], "a receipt that proves nothing");
    let forked = seen(&|it| it.seen[0].root = Digest([9; 32]));
    assert_eq!(forked, [Broken::Log], "another state of the log was seen earlier");
    let ahead = Seen { size: u64::MAX, root: history.root, by: "broker".into() };
    assert_eq!(seen(&|it| it.seen.push(ahead.clone())), [Broken::Log], "the log was longer");
    let note = seen(&|it| *it.notes[0].last_mut().unwrap() ^= 1);
    assert_eq!(note, [Broken::Log], "a checkpoint was not signed");
    // A log with an entry twice, made consistent with itself.
    let accepted = history.log.iter().position(|entry| entry.windows(10).any(|part| part == b"\"accepted\""));
    let again = seen(&|it| {
        it.log.push(it.log[accepted.unwrap()].clone());
        let mut tree = Frontier::empty();
        for entry in &it.log {
            tree.append(leaf_hash(entry)).unwrap();
        }
        it.root = tree.root();
    });
    assert!(again.contains(&Broken::Log) && again.contains(&Broken::Twice), "accepted twice: {again:?}");
    let cut = seen(&|it| drop(it.log.pop()));
    assert!(cut.contains(&Broken::Log), "an entry is gone: {cut:?}");
}
