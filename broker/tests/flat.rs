//! What a broker's store takes up does not grow with what it has delivered.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[expect(dead_code, reason = "the benches use the rest")]
#[path = "../benches/mill/mod.rs"]
mod mill;

use std::time::Duration;

use mill::{Mill, bytes_of, home};
use seinhuis_journal::Options;
use seinhuis_shared::time::{Span, Timestamp};

const SEGMENT: u64 = 64 * 1024;
/// Most bytes of spare segments, and of freed ones until they are overwritten; one of them may hold a covenant.
const ASIDE: u64 = 1 << 20;
/// Packets of one day.
const DAILY: usize = 60;
/// Days until as many outcomes end as begin: the packets' validity, and some.
const SETTLED: u64 = 16;
const DAYS: u64 = 90;

#[test]
fn a_store_through_which_thousands_of_packets_went_is_as_large_as_after_the_first_weeks() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let options =
        Options { segment_bytes: SEGMENT, index_interval: Duration::from_millis(10), ..Options::default() };
    let mut mill = Mill::found(&home, options, Timestamp(1_780_000_000_000));
    let (mut settled, mut most) = (0, 0);
    for day in 0..DAYS {
        mill.step(DAILY, |number| if number.is_multiple_of(16) { 8192 } else { 100 });
        mill.now = mill.now.plus(Span::days(1));
        // What is delivered is acknowledged in the next turn; then there is time.
        mill.step(0, |_| 0);
        mill.tidy();
        let stats = mill.stats();
        let bound = stats.live_bytes * 2 + SEGMENT * 5;
        assert!(stats.disk_bytes <= bound, "day {day}: {stats:?}");
        let journal = bytes_of(&home.store().join("journal"));
        assert!(journal <= bound + ASIDE, "day {day}: {journal} bytes on disk, {stats:?}");
        if day == SETTLED {
            settled = stats.live_bytes;
        } else if day > SETTLED {
            most = most.max(stats.live_bytes);
        }
    }
    let (remembered, waiting) = mill.remembered_and_waiting();
    assert!(
        waiting == 0 && remembered <= DAILY * usize::try_from(SETTLED).unwrap(),
        "{remembered}, {waiting}"
    );
    assert!(mill.entries() > u64::try_from(2 * DAILY).unwrap() * DAYS, "each was accepted and delivered");
    assert!(most <= settled + settled / 10, "{settled} live bytes after {SETTLED} days, {most} later");
}
