//! How fast a large log is exported and its export checked, and how much memory each takes.
//!
//! `cargo bench -p seinhuis-broker --bench export -- [ENTRIES] [FOLDER]`: a million entries in a temporary folder unless
//! said otherwise. Each step is a process of its own, so that its peak of memory is its own. The evidence is written
//! once more by a process that is ended, by its number, inside the entries, and gone on with. `verify.py` gets 100,000
//! entries at most.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on says so")]

#[expect(dead_code, reason = "other benches use the rest")]
mod usage;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use seinhuis_broker::export::{self, How, Question, Source, Witnessed};
use seinhuis_broker::log::Log;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::note::{KeyText, VerifierKey};
use seinhuis_verify::{Key, Verdict};
use usage::Usage;

const ORIGIN: &str = "bench.example/uitwisseling/2026";
const BEGIN: u64 = 1_780_000_000_000;

fn key() -> (SigningKey, LogKey) {
    let key = SigningKey::from_seed(&[9; 32]);
    let text = KeyText::new(ORIGIN, 1, &key.public().to_bytes()).unwrap();
    let verifier = VerifierKey::new(ORIGIN, text.ed25519(1).unwrap()).unwrap();
    (key, LogKey { origin: ORIGIN.into(), key: verifier })
}

/// An entry as packets make them, every tenth a refusal.
fn entry(index: u64) -> Vec<u8> {
    let hash = |salt: u8| sha256(&[&[salt][..], &index.to_be_bytes()].concat());
    let half = |salt: u8| hash(salt).0.first_chunk::<16>().copied().unwrap();
    let kind = if index % 10 == 9 { Kind::Refused } else { Kind::Accepted };
    let mut entry = Entry::new(kind, Timestamp(BEGIN + index * 3), half(1));
    let oin = |number: u64| format!("0000009900000000{number}000").parse().ok();
    (entry.from, entry.to) = (oin(index % 5 + 1), oin(index % 4 + 5));
    entry.msg_id = format!("019ca945-0a00-7001-8002-{}", &hash(2).to_string()[..12]).parse().ok();
    entry.key = sha256(&[u8::try_from(index % 8).unwrap()]).to_string().parse().ok();
    (entry.packet, entry.statement) = (Some(hash(3)), Some(hash(4)));
    entry.covenant = Some(Digest([4; 32]));
    entry.trace = hex(&half(5)).parse().ok();
    (entry.recipients, entry.size_class) = (Some(1), Some(2048));
    let text = |text: &str| Some(text.to_owned());
    (entry.flow, entry.message_type) = (Some(format!("F0{}", index % 4 + 1)), text("signaal"));
    (entry.step, entry.level, entry.categories) = (text("1"), text("G"), text("locatie groep"));
    (entry.purpose, entry.basis) = (text("signalering"), text("art. 8 Politiewet"));
    entry.result = text(kind.as_str());
    entry.reason = (kind == Kind::Refused).then_some(404);
    entry.to_bytes().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn make(dir: &Path, count: u64) {
    let log = Log::open(dir, 0, Vec::new()).unwrap();
    for first in (0..count).step_by(65_536) {
        log.append((first..count.min(first + 65_536)).map(entry).collect(), b"");
        log.publish().unwrap();
    }
}

/// Entries `verify.py` gets at most: it does some thousands a second.
const SCRIPT_MOST: u64 = 100_096;

fn write(dir: &Path, count: u64, out: &Path, how: How, selection: bool) {
    let log = Log::open(dir, count, Vec::new()).unwrap();
    let key = key();
    let source = Source {
        log: &log,
        key: &key,
        covenant: &|_| None,
        witnessed: Witnessed::default(),
        begin: &|_| None,
        now: Timestamp(BEGIN),
    };
    let mut question = Question { purpose: "Meting van de snelheid".into(), ..Question::default() };
    question.kind = selection.then(|| Kind::Accepted.as_str().to_owned());
    export::write(&source, &question, out, how).unwrap();
}

/// Whether two files have the same bytes.
fn same(one: &Path, other: &Path) -> bool {
    let [mut one, mut other] = [one, other].map(|path| File::open(path).unwrap());
    if one.metadata().unwrap().len() != other.metadata().unwrap().len() {
        return false;
    }
    let (mut piece, mut like) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut piece).unwrap();
        other.read_exact(&mut like[..count]).unwrap();
        if count == 0 || piece[..count] != like[..count] {
            return count == 0;
        }
    }
}

fn check(out: &Path) {
    let key = Key::parse(&key().1.key.to_string()).unwrap();
    match seinhuis_verify::verify(File::open(out).unwrap(), &key, None).unwrap() {
        Verdict::Good(_) => {}
        Verdict::Bad(failure) => panic!("{failure:?}"),
    }
}

fn step(words: &[String], count: u64) {
    let [_, what, dir, out] = words else { panic!("{words:?}") };
    let (dir, out) = (Path::new(dir), Path::new(out));
    let begin = Instant::now();
    match what.as_str() {
        "make" => make(dir, count),
        "evidence" => write(dir, count, out, How { resume: false, views: false }, false),
        "views" => write(dir, count, out, How { resume: false, views: true }, false),
        "resume" => write(dir, count, out, How { resume: true, views: false }, false),
        "selection" => write(dir, count, out, How { resume: false, views: false }, true),
        "check" => check(out),
        other => panic!("{other}"),
    }
    let (seconds, usage) = (begin.elapsed().as_secs_f64(), Usage::of("self"));
    let count = f64::from(u32::try_from(count).unwrap());
    let size = std::fs::metadata(out).map_or(0, |meta| meta.len()) >> 20;
    println!(
        "{what:>10}: {:>8.0} entries/s, {:>8.0} a second of processor time, {:>4} MiB of memory, {size} MiB file",
        count / seconds,
        count / usage.processor,
        usage.most / 1024
    );
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let step_count = std::env::var("ENTRIES").ok().and_then(|count| count.parse().ok());
    if let Some(count) = step_count.filter(|_| words.first().is_some_and(|word| word == "step")) {
        return step(&words, count);
    }
    let count: u64 = words.first().map_or(1_000_000, |count| count.parse().unwrap());
    let count = count.next_multiple_of(256);
    let own = tempfile::tempdir().unwrap();
    let folder = words.get(1).map_or_else(|| own.path().to_owned(), PathBuf::from);
    println!("{count} entries");
    let command = |count: u64, what: &str, log: &str, out: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("ENTRIES", count.to_string()).args(["step", what]);
        command.arg(folder.join(log)).arg(folder.join(out));
        command
    };
    let run = |count: u64, what: &str, log: &str, out: &str| {
        assert!(command(count, what, log, out).status().unwrap().success());
    };
    run(count, "make", "log", "log");
    for (what, out) in [("evidence", "evidence.zip"), ("selection", "selection.zip"), ("views", "views.zip")]
    {
        run(count, what, "log", out);
        run(count, "check", "log", out);
    }
    let mut ended = command(count, "evidence", "log", "resumed.zip").spawn().unwrap();
    let state = folder.join("resumed.zip.partial.state");
    while ended.try_wait().unwrap().is_none()
        && !std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"begun\":{"))
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    ended.kill().unwrap();
    ended.wait().unwrap();
    if folder.join("resumed.zip.partial").exists() {
        run(count, "resume", "log", "resumed.zip");
    }
    assert!(
        same(&folder.join("evidence.zip"), &folder.join("resumed.zip")),
        "one went on and is another file"
    );
    let count = count.min(SCRIPT_MOST);
    run(count, "make", "small", "small");
    run(count, "evidence", "small", "small.zip");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verify/verify.py");
    let begin = Instant::now();
    let mut python = Command::new("python3");
    python.args(["-B", "-c", "import resource,runpy,sys; sys.argv=sys.argv[1:]\ntry: runpy.run_path(sys.argv[0], run_name='__main__')\nfinally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, 'MiB of memory')"]);
    python.arg(script).args(["--key", &key().1.key.to_string()]).arg(folder.join("small.zip"));
    assert!(python.status().unwrap().success());
    let rate = f64::from(u32::try_from(count).unwrap()) / begin.elapsed().as_secs_f64();
    println!(" verify.py: {rate:>8.0} entries/s");
}
