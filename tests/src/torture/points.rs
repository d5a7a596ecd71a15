//! Processes that die at every write and every send.

use std::os::unix::process::ExitStatusExt as _;

use super::inject::{self, Met, Series};
use super::{Failure, Kind, Round, Tally};

/// A crash at each call.
pub(super) const KIND: Kind = Kind {
    name: "points",
    fault: "death of broker or agent before the n-th call of each kind that writes or sends",
    needs: Some(inject::STRACE),
    play: |round| play(round, u64::MAX),
};

/// The calls that change something outside the process.
const CALLS: [&str; 12] = [
    "fdatasync",
    "fsync",
    "sync_file_range",
    "pwrite64",
    "write",
    "openat",
    "rename",
    "unlink",
    "ftruncate",
    "mkdir",
    "sendmsg",
    "sendto",
];

/// Plays at most so many points.
///
/// # Errors
/// Every promise that was broken.
pub fn play(round: &Round, most: u64) -> Result<Tally, Failure> {
    // The broker, and the agent of who both sends and receives.
    let series: Vec<Series> = [0, 1]
        .into_iter()
        .flat_map(|node| CALLS.map(|call| Series { node, call, fault: "signal=SIGKILL", judge }))
        .collect();
    inject::play(round, &series, most)
}

/// SIGKILL, and nothing else, ended it.
fn judge(met: &Met<'_>) -> Result<(), String> {
    match met.ended.and_then(|status| status.signal()) {
        Some(9) => Ok(()),
        _ => Err(format!("it ended by itself: {:?}", met.ended)),
    }
}
