//! The least that a packet can cost, and how far from it the whole is.
//!
//! ```text
//! cargo bench -p seinhuis-tests --bench floor [-- SECONDS]
//! ```
//!
//! Times, on this machine and in this run, each step that nobody who keeps the promise can leave out: signatures, key
//! encapsulation, hashes, the encryption of what goes over QUIC, the datagrams, a share of the flush. Adds them up for
//! the broker and for both agents, then measures the whole at full speed and says how many times the floor it costs.
//! What is done once a turn is divided by the packets of a turn, as the whole had them.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so")]
#![expect(clippy::print_stdout, reason = "this is its output")]

use std::fs::File;
use std::hint::black_box;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use seinhuis_agent::hpke::AwsHpke;
use seinhuis_shared::packet::Hpke as _;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::tlog::hash::{leaf_hash, node_hash};
use seinhuis_tests::load::{self, Plan, Usage};

/// Bytes of a packet with a body of 1 KiB for one recipient, of its signed statement, of a log entry, of a receipt.
const PACKET: usize = 3100;
const STATEMENT: usize = 560;
const ENTRY: usize = 750;
const RECEIPT: usize = 1900;
/// Bytes that go over the broker's connections for a packet: in, with its verdict, its offer and what acknowledges it.
const CARRIED: usize = PACKET + RECEIPT + PACKET + RECEIPT + 200;
/// Nodes on the way from a leaf to the root of a log of a million entries.
const PATH: f64 = 20.0;
/// As much as one system call hands over, with segmentation offload.
const TRAIN: usize = 11_200;

/// Microseconds that a call takes, at best of several rounds.
fn time(calls: u32, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    (0..7).map(round).fold(f64::MAX, f64::min)
}

/// Microseconds of processor time that a call takes: it may wait for the disk.
fn worked(calls: u32, mut call: impl FnMut()) -> f64 {
    let clock = || Usage::of(std::process::id()).unwrap().cpu * 1e6;
    let before = clock();
    for _ in 0..calls {
        call();
    }
    (clock() - before) / f64::from(calls)
}

/// The price of one step, in microseconds.
struct Steps {
    sign: f64,
    verify: f64,
    encapsulate: f64,
    decapsulate: f64,
    hash_packet: f64,
    leaf: f64,
    node: f64,
    encrypt: f64,
    train: f64,
    flush: f64,
}

impl Steps {
    fn measure() -> Self {
        let key = SigningKey::from_seed(&[7; 32]);
        let statement = vec![3; STATEMENT];
        let signature = key.sign(&statement);
        let public = key.public();
        let (secret, prekey) = AwsHpke::generate().unwrap();
        let (ek, wrapped) = AwsHpke.seal(&prekey, b"info", &[1; 32]).unwrap();
        let (packet, entry) = (vec![5; PACKET], vec![6; ENTRY]);
        let (left, right) = (sha256(b"left"), sha256(b"right"));
        Self {
            sign: time(2000, || _ = black_box(key.sign(black_box(&statement)))),
            verify: time(2000, || public.verify(black_box(&statement), &signature).unwrap()),
            encapsulate: time(1000, || _ = black_box(AwsHpke.seal(&prekey, b"info", &[1; 32]).unwrap())),
            decapsulate: time(1000, || _ = black_box(AwsHpke.open(&secret, &ek, b"info", &wrapped).unwrap())),
            hash_packet: time(5000, || _ = black_box(sha256(black_box(&packet)))),
            leaf: time(5000, || _ = black_box(leaf_hash(black_box(&entry)))),
            node: time(5000, || _ = black_box(node_hash(black_box(&left), black_box(&right)))),
            encrypt: encryption(),
            train: trains(),
            flush: flush(),
        }
    }
}

/// Encrypting a kibibyte as TLS 1.3 does; decrypting takes as long.
fn encryption() -> f64 {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).unwrap());
    let mut bytes = vec![0; 1350];
    time(5000, || {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        _ = black_box(key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut bytes).unwrap());
    }) * 1024.0
        / 1350.0
}

/// Handing a train of datagrams to the system and taking it back, over loopback.
fn trains() -> f64 {
    let [from, to] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    from.connect(to.local_addr().unwrap()).unwrap();
    let (train, mut taken) = (vec![0; TRAIN], vec![0; TRAIN]);
    time(2000, || {
        from.send(&train).unwrap();
        to.recv(&mut taken).unwrap();
    })
}

/// Processor time of one flush, without what is written.
fn flush() -> f64 {
    let file = tempfile::tempfile().unwrap();
    write(&file, 0, &vec![0; 1 << 20]);
    let block = vec![1; 4096];
    let mut at = 0;
    worked(2000, || {
        write(&file, at % (1 << 20), &block);
        at += 4096;
    })
}

fn write(file: &File, at: u64, bytes: &[u8]) {
    file.write_all_at(bytes, at).unwrap();
    file.sync_data().unwrap();
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
const fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}

/// Rows of what a packet costs at least: how often each step is done, and what that comes to.
fn table(name: &str, rows: &[(&str, f64, f64)]) -> f64 {
    println!("\n{name}\n| step | times a packet | µs each | µs a packet |\n|---|---|---|---|");
    for (step, times, each) in rows {
        println!("| {step} | {times:.3} | {each:.2} | {:.1} |", times * each);
    }
    let sum = rows.iter().map(|(_, times, each)| times * each).sum();
    println!("| **together** | | | **{sum:.1}** |");
    sum
}

fn main() -> ExitCode {
    if let Some(code) = seinhuis_tests::process::dispatch(std::env::args_os()) {
        return code;
    }
    let seconds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(8);
    let steps = Steps::measure();
    let plan = Plan { seconds, waiting: 0, quorum: false, ..Plan::default() };
    let whole = load::run(&plan, None).unwrap();
    let (broker_turn, agents_turn) = (whole.broker_fsyncs, whole.agent_fsyncs);
    let trains = kib(CARRIED) / kib(TRAIN);
    let broker = table(
        "The broker",
        &[
            ("verify the statement", 1.0, steps.verify),
            ("verify acknowledgements, sign checkpoints", broker_turn, steps.verify + steps.sign),
            ("hash the packet, the sealed part, the record", 3.0, steps.hash_packet),
            ("two entries in the log: a leaf and a node each", 2.0, steps.leaf + steps.node),
            ("encrypt and decrypt what is carried, a KiB", kib(CARRIED), steps.encrypt),
            ("hand over datagrams, one side", trains, steps.train / 2.0),
            ("flush", broker_turn, steps.flush),
        ],
    );
    let agents = table(
        "Both agents",
        &[
            ("sign the statement", 1.0, steps.sign),
            ("verify the statement", 1.0, steps.verify),
            ("encapsulate, once a turn", agents_turn / 2.0, steps.encapsulate),
            ("decapsulate, once a turn", agents_turn / 2.0, steps.decapsulate),
            ("verify a checkpoint, sign an acknowledgement", agents_turn, steps.verify + steps.sign),
            ("hash the packet, the sealed part, the record; twice", 6.0, steps.hash_packet),
            ("prove three entries in the log", 3.0, steps.leaf + PATH * steps.node),
            ("encrypt and decrypt what is carried, a KiB", kib(CARRIED), steps.encrypt),
            ("hand over datagrams, one side", trains, steps.train / 2.0),
            ("flush", agents_turn, steps.flush),
        ],
    );
    println!("\n{}", whole.to_table());
    println!("| | floor, µs | measured, µs | times the floor |\n|---|---|---|---|");
    for (name, floor, measured) in [
        ("broker", broker, whole.broker_cpu),
        ("agents and generator", agents, whole.agents_cpu),
        ("all", broker + agents, whole.broker_cpu + whole.agents_cpu),
    ] {
        println!("| {name} | {floor:.0} | {measured:.0} | {:.1} |", measured / floor);
    }
    ExitCode::SUCCESS
}
