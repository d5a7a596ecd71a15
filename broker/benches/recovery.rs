//! How long a broker takes to start after it was killed, on a large store.
//!
//! ```text
//! cargo bench -p seinhuis-broker --bench recovery -- [ENTRIES] [WAITING] [TURN] [FOLDER]
//! ```
//!
//! A log of a million entries and 100,000 packets that wait, 8 of them accepted in a turn, unless said otherwise. Bodies
//! have 1024 bytes. What was delivered came weeks ago, so that its outcomes are no longer remembered; what waits came
//! within a day. The index is as old as a kill leaves it at most: the packets of the last second at full speed are not in
//! it. Each start is a process of its own that ends without an orderly stop.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says so")]

mod mill;
#[expect(dead_code, reason = "other benches use the rest")]
mod usage;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mill::{Mill, bytes_of, home};
use seinhuis_broker::home::Home;
use seinhuis_broker::service::Service;
use seinhuis_broker_core::Command as Order;
use seinhuis_journal::Options;
use seinhuis_shared::time::Span;
use seinhuis_shell::clock;
use usage::Usage;

const BODY: usize = 1024;
/// Packets that the index has not seen when the process is killed: a second at full speed, and more.
const UNSEEN: u64 = 6000;
/// Packets in a turn of what came in weeks ago.
const EARLIER_TURN: u64 = 64;

fn options(interval: Duration) -> Options {
    Options { index_interval: interval, ..Options::default() }
}

fn number(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Makes the store, with the index as it is before the last packets and as it is in the end.
fn make(dir: &Path, entries: u64, waiting: u64, turn: u64) {
    let home = home(dir);
    let begin = Instant::now();
    let (weeks, day) = (Span::days(45), Span::days(1));
    let mut mill = Mill::found(&home, options(Duration::from_secs(1)), clock::now().minus(weeks));
    let earlier = (entries - mill.entries()).saturating_sub(waiting) / 2;
    let pace = (weeks.0 - Span::days(20).0) / earlier.div_ceil(EARLIER_TURN).max(1);
    for done in (0..earlier).step_by(usize::try_from(EARLIER_TURN).unwrap()) {
        mill.step(usize::try_from(EARLIER_TURN.min(earlier - done)).unwrap(), |_| BODY);
        mill.now = mill.now.plus(Span(pace));
    }
    mill.step(0, |_| BODY);
    mill.recipient_leaves();
    mill.now = clock::now().minus(day);
    let rest = entries - mill.entries();
    let pace = day.0 / rest.div_ceil(turn).max(1);
    for done in (0..rest).step_by(usize::try_from(turn).unwrap()) {
        if done / turn == (rest - UNSEEN.min(rest)) / turn {
            mill.tidy();
            copy(&home.store().join("index"), &dir.join("index-behind"));
        }
        mill.step(usize::try_from(turn.min(rest - done)).unwrap(), |_| BODY);
        mill.now = mill.now.plus(Span(pace));
    }
    mill.sync_index();
    let stats = mill.stats();
    let (remembered, waits) = mill.remembered_and_waiting();
    println!(
        "made in {:.0} s: {} entries, {waits} packets wait, {remembered} outcomes, {} rows, {} blobs, {} MiB live of {} MiB journal, index {} MiB, log {} MiB",
        begin.elapsed().as_secs_f64(),
        mill.entries(),
        stats.live_rows,
        stats.live_blobs,
        stats.live_bytes >> 20,
        stats.disk_bytes >> 20,
        bytes_of(&home.store().join("index")) >> 20,
        bytes_of(&home.log()) >> 20,
    );
    mill.sync_index();
    copy(&home.store().join("index"), &dir.join("index-whole"));
    // Without an orderly stop.
    std::process::exit(0);
}

/// One start.
fn start(dir: &Path, what: &str) {
    let home = Home::new(dir);
    let config = home.load_config().unwrap();
    let begin = Instant::now();
    let (service, _thread) = Service::open(&home, &config).unwrap();
    let opened = begin.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let size = service.logs.current().unwrap().log.size();
    runtime.block_on(service.command(Order::Started { without_witnesses: false })).unwrap();
    let usage = Usage::of("self");
    println!(
        "{what}: open {:.2} s, first turn durable after {:.2} s; {size} entries, {} MiB of memory at most, {:.2} s of processor time",
        opened.as_secs_f64(),
        begin.elapsed().as_secs_f64(),
        usage.most / 1024,
        usage.processor
    );
    std::process::exit(0);
}

fn put_index(dir: &Path, from: Option<&str>) {
    let index = dir.join("store/index");
    _ = std::fs::remove_dir_all(&index);
    if let Some(from) = from {
        copy(&dir.join(from), &index);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", dir, entries, waiting, turn] => {
            return make(Path::new(dir), number(entries), number(waiting), number(turn));
        }
        ["start", dir, what] => return start(Path::new(dir), what),
        _ => {}
    }
    let word = |at: usize, default: &str| words.get(at).map_or(default, String::as_str).to_owned();
    let own = tempfile::tempdir().unwrap();
    let folder = words.get(3).map_or_else(|| own.path().to_owned(), PathBuf::from);
    let run = |args: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        assert!(command.args(args).status().unwrap().success());
    };
    let dir = folder.to_string_lossy().into_owned();
    if !folder.join("keys").exists() {
        run(&["make", &dir, &word(0, "1_000_000"), &word(1, "100_000"), &word(2, "8")]);
    }
    for (what, index) in [("index whole", Some("index-whole")), ("index behind", Some("index-behind"))] {
        for _ in 0..3 {
            put_index(&folder, index);
            run(&["start", &dir, what]);
        }
    }
    put_index(&folder, None);
    run(&["start", &dir, "index gone"]);
}
