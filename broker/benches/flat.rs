//! What a broker's store takes up while packets go through it.
//!
//! ```text
//! cargo bench -p seinhuis-broker --bench flat -- [PACKETS] [DAYS] [FOLDER]
//! ```
//!
//! A million packets in 60 days of a clock that is only a number, unless said otherwise, 64 in a turn, with bodies of 1024
//! bytes and a validity of 14 days. Each is delivered and acknowledged in the next turn. Sizes are of files as they are
//! on disk, 20 times.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says so")]

#[expect(dead_code, reason = "each bench uses its part")]
mod mill;

use std::path::PathBuf;
use std::time::Instant;

use mill::{Mill, bytes_of, home};
use seinhuis_journal::Options;
use seinhuis_shared::time::{Span, Timestamp};

const TURN: u64 = 64;
const SAMPLES: u64 = 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |at: usize, default: u64| {
        words.get(at).map_or(default, |text| text.replace('_', "").parse().unwrap())
    };
    let (packets, days) = (number(0, 1_000_000), number(1, 60));
    let own = tempfile::tempdir().unwrap();
    let home = home(&words.get(2).map_or_else(|| own.path().to_owned(), PathBuf::from));
    let begin = Instant::now();
    let mut mill = Mill::found(&home, Options::default(), Timestamp(1_780_000_000_000));
    let turns = packets.div_ceil(TURN);
    let pace = Span(Span::days(days).0 / turns);
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "| packets | day | remembered | live MiB | journal MiB | index MiB | freed segments | log MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for turn in 0..turns {
        mill.step(usize::try_from(TURN).unwrap(), |_| 1024);
        mill.now = mill.now.plus(pace);
        if (turn + 1).is_multiple_of((turns / SAMPLES).max(1)) {
            let (remembered, waiting) = mill.remembered_and_waiting();
            assert!(waiting <= usize::try_from(TURN).unwrap(), "{waiting} wait");
            let stats = mill.stats();
            println!(
                "| {} | {} | {remembered} | {} | {} | {} | {} | {} |",
                (turn + 1) * TURN,
                (turn + 1) * days / turns,
                mib(stats.live_bytes),
                mib(bytes_of(&home.store().join("journal"))),
                mib(bytes_of(&home.store().join("index"))),
                stats.freed_segments,
                mib(bytes_of(&home.log())),
            );
        }
    }
    println!("{:.0} s", begin.elapsed().as_secs_f64());
}
