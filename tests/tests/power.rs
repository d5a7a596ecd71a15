//! Disks that lose their power or have no space left: what was confirmed is there, once, and the log goes on.
//!
//! They need root, FUSE, loop devices, namespaces and `mkfs.ext4`; where one is missing they say so and are passed over,
//! unless `SEINHUIS_FUSE_REQUIRED` is set.
#![cfg(test)]

use std::path::PathBuf;

use seinhuis_tests::Programs;
use seinhuis_tests::power::{self, DISKS, Fault, Plan, Report, Whose};
use seinhuis_tests::sim::Broken;

/// Plays a plan; none where this machine cannot.
fn play(fault: Fault, whose: Whose, cuts: usize, sham: usize) -> Option<Report> {
    if !DISKS.is_met() {
        return None;
    }
    let dir = tempfile::Builder::new().prefix("seinhuis-").tempdir().unwrap();
    let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
    let dir_path = dir.path().to_path_buf();
    let plan =
        Plan { dir: dir_path, fault, whose, seed: 1, cuts, messages: 120, start_each: 6, sham, seconds: 600 };
    Some(power::run(&programs, &plan).unwrap())
}

fn holds(report: Option<Report>) {
    let Some(report) = report else { return };
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(report.tally.faults > 0 && report.tally.confirmed > 0, "{report:?}");
}

#[test]
fn power_that_goes_away_at_any_moment_of_a_run_takes_nothing_that_was_confirmed() {
    let report = play(Fault::Power, Whose::All, 12, 0);
    let segments = report.as_ref().map(|report| report.segments);
    assert_ne!(segments, Some(0), "journals begin segments in it, at which power is cut too");
    holds(report);
}

#[test]
fn agents_that_live_on_miss_nothing_at_a_broker_whose_power_went_away() {
    holds(play(Fault::Power, Whose::Broker, 3, 0));
}

#[test]
fn a_recipient_whose_power_goes_away_loses_and_doubles_nothing() {
    holds(play(Fault::Power, Whose::Recipient, 3, 0));
}

#[test]
fn a_sender_whose_power_goes_away_loses_and_doubles_nothing() {
    holds(play(Fault::Power, Whose::Sender, 3, 0));
}

#[test]
fn a_disk_that_only_says_it_flushed_is_noticed() {
    let Some(report) = play(Fault::Power, Whose::All, 4, 25) else { return };
    let seen = |broken| report.violations.iter().any(|violation| violation.broken == broken);
    assert!(seen(Broken::Lost) || seen(Broken::Log), "nobody notices: {report:?}");
    assert!(!seen(Broken::Setup), "the file system itself comes back: {report:?}");
}

#[test]
fn a_broker_without_space_takes_nothing_that_was_confirmed_and_says_why() {
    holds(play(Fault::Full, Whose::Broker, 6, 0));
}

#[test]
fn a_recipient_without_space_takes_nothing_that_was_confirmed_and_says_why() {
    holds(play(Fault::Full, Whose::Recipient, 3, 0));
}

#[test]
fn a_sender_without_space_takes_nothing_that_was_confirmed_and_says_why() {
    holds(play(Fault::Full, Whose::Sender, 3, 0));
}
