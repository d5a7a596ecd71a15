//! Flushes that fail, and disks without room.

use super::inject::{self, Met, Series};
use super::{Failure, Kind, Round, Tally};

/// A failure of each call that makes something durable.
pub(super) const KIND: Kind = Kind {
    name: "fsync",
    fault: "the n-th flush of broker or agent fails (EIO) and the next succeed, or a write does (EIO, ENOSPC)",
    needs: Some(inject::STRACE),
    play: |round| play(round, u64::MAX),
};

/// What fails, and how.
const FAULTS: [(&str, &str); 5] = [
    ("fdatasync", "error=EIO"),
    ("fsync", "error=EIO"),
    ("pwrite64", "error=ENOSPC"),
    ("pwrite64", "error=EIO"),
    ("ftruncate", "error=ENOSPC"),
];

/// Plays at most so many failures.
///
/// # Errors
/// Every promise that was broken.
pub fn play(round: &Round, most: u64) -> Result<Tally, Failure> {
    let series: Vec<Series> = [0, 1]
        .into_iter()
        .flat_map(|node| FAULTS.map(|(call, fault)| Series { node, call, fault, judge }))
        .collect();
    inject::play(round, &series, most)
}

/// After a failure in a segment of the journal it stopped, said why and what to do, and did not say that all was well.
/// What is derived from the journal or kept ready for it may be made again meanwhile.
fn judge(met: &Met<'_>) -> Result<(), String> {
    let failed = met.calls.lines().find(|line| line.contains("INJECTED")).unwrap_or_default();
    match met.ended {
        None if failed.contains("/store/journal/segment-") => Err(format!("it went on after {failed}")),
        Some(status) if status.code().is_none_or(|code| code == 0) => {
            Err(format!("it ended with {status} after {failed}"))
        }
        Some(_) if !met.said.contains(met.next) => Err(format!("it does not say what to do after {failed}")),
        None | Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn who_goes_on_after_a_failed_flush_or_stops_without_a_word_is_seen() {
        let segment = "7 fdatasync(9</b/store/journal/segment-0000000000000001>) = -1 EIO (INJECTED)";
        let spare = "7 pwrite64(9</b/store/journal/spare-0000000000000001>) = -1 EIO (INJECTED)";
        let judged = |calls, code: Option<i32>, said| {
            let ended = code.map(|code| ExitStatus::from_raw(code << 8));
            judge(&Met { calls, ended, said, next: "Next:" })
        };
        assert_eq!(judged(segment, Some(2), "Error: a\nNext: b"), Ok(()));
        assert_eq!(judged(spare, None, ""), Ok(()));
        assert!(judged(segment, None, "").is_err());
        assert!(judged(segment, Some(0), "Next: b").is_err());
        assert!(judged(segment, Some(2), "").is_err());
    }
}
