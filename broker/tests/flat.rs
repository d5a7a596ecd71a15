//! What a broker's store takes up does not grow with what it has delivered.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[expect(dead_code, reason = "the benches use the rest")]
#[path = "../benches/mill/mod.rs"]
mod mill;

use std::time::{Duration, Instant};

use mill::{Mill, bytes_of, home};
use seinhuis_journal::Options;
use seinhuis_shared::time::{Span, Timestamp};

const SEGMENT: u64 = 64 * 1024;
/// Most bytes of spare segments; one of them may have held a covenant.
const ASIDE: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_mins(1);
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
    // The most that was live in the weeks after things settled, and in those after that.
    let (mut earlier, mut later) = (0, 0);
    for day in 0..DAYS {
        mill.step(DAILY, |number| if number.is_multiple_of(16) { 8192 } else { 100 });
        mill.now = mill.now.plus(Span::days(1));
        // What is delivered is acknowledged in the next turn; then there is time.
        mill.step(0, |_| 0);
        mill.tidy();
        let stats = mill.stats();
        let bound = stats.live_bytes * 2 + SEGMENT * 5;
        assert!(stats.disk_bytes <= bound, "day {day}: {stats:?}");
        if day >= SETTLED {
            let most = if day < DAYS / 2 { &mut earlier } else { &mut later };
            *most = stats.live_bytes.max(*most);
        }
    }
    // Freed segments go once they are overwritten, which a thread of the store does.
    let bound = earlier.max(later) * 2 + SEGMENT * 5 + ASIDE;
    let end = Instant::now() + PATIENCE;
    while bytes_of(&home.store().join("journal")) > bound {
        assert!(Instant::now() < end, "{} bytes on disk", bytes_of(&home.store()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let (remembered, waiting) = mill.remembered_and_waiting();
    assert!(
        waiting == 0 && remembered <= DAILY * usize::try_from(SETTLED).unwrap(),
        "{remembered}, {waiting}"
    );
    assert!(mill.entries() > u64::try_from(2 * DAILY).unwrap() * DAYS, "each was accepted and delivered");
    assert!(later <= earlier + earlier / 10, "{earlier} live bytes in the first half, {later} in the second");
}
