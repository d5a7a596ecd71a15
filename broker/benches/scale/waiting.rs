//! Packets that wait for one recipient: what a start takes, and what comes after it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use seinhuis_broker::home::Home;
use seinhuis_broker::service::Service;
use seinhuis_broker_core::Command as Order;
use seinhuis_journal::Options;
use seinhuis_shared::time::Span;
use seinhuis_shell::clock;

use super::agent::sockets;
use super::mill::{GEMEENTE, Mill, bytes_of, oin};
use super::partnership::{Partnership, enrol, found};
use super::process::Process;
use super::usage::Usage;

const BODY: usize = 1024;
/// Packets in a turn of what waits.
const TURN: u64 = 256;
/// Packets that come when all of that waits.
const LATE: usize = 40;
/// Room for all of them: what a broker lets wait for one recipient is less unless its operator says so.
const ROOM: &str = "\n[mailbox]\npackets = 10000000\nbytes = 100000000000\n";

/// Makes a store in which so many packets wait, and ends as a kill does.
pub(crate) fn make(folder: &Path, packets: u64) {
    let home = found(folder, ROOM);
    enrol(folder, &home, &(GEMEENTE..=4).map(oin).collect::<Vec<_>>());
    let begun = Instant::now();
    let day = Span::hours(20);
    let options = Options { index_interval: Duration::from_secs(1), ..Options::default() };
    let mut mill = Mill::found(&home, options, clock::now().minus(day));
    mill.recipient_leaves();
    let pace = day.0 / packets.div_ceil(TURN).max(1);
    for done in (0..packets).step_by(usize::try_from(TURN).unwrap()) {
        mill.step(usize::try_from(TURN.min(packets - done)).unwrap(), |_| BODY);
        mill.now = mill.now.plus(Span(pace));
    }
    mill.now = clock::now();
    mill.sync_index();
    let (_, waits) = mill.remembered_and_waiting();
    mill.sync_index();
    let mut out = std::fs::File::create(folder.join("late")).unwrap();
    for _ in 0..LATE {
        let (sender, packet) = mill.sealed(BODY);
        writeln!(out, "{sender} {}", HEXLOWER.encode(&packet)).unwrap();
    }
    println!(
        "{waits} packets wait; made in {:.0} s: store {} MiB, log {} MiB",
        begun.elapsed().as_secs_f64(),
        bytes_of(&home.store()) >> 20,
        bytes_of(&home.log()) >> 20
    );
    std::process::exit(0);
}

/// One start without a network, which ends without an orderly stop.
pub(crate) fn start(folder: &Path) {
    let home = Home::new(folder);
    let config = home.load_config().unwrap();
    let begun = Instant::now();
    let (service, _thread) = Service::open(&home, &config).unwrap();
    let opened = begun.elapsed();
    super::runtime().block_on(service.command(Order::Started { without_witnesses: false })).unwrap();
    let (durable, usage) = (begun.elapsed(), Usage::of("self"));
    println!(
        "store and log open after {:.2} s, the first turn durable after {:.2} s; {} MiB resident, {} MiB at most, {:.2} s of processor time",
        opened.as_secs_f64(),
        durable.as_secs_f64(),
        usage.resident / 1024,
        usage.most / 1024,
        usage.processor
    );
    std::process::exit(0);
}

/// Makes what is not there yet, starts it twice, and has it used.
pub(crate) fn measure(folder: &Path, packets: u64) {
    let run = |words: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        assert!(command.args(words).status().unwrap().success());
    };
    let path = folder.to_string_lossy().into_owned();
    if !folder.join("late").exists() {
        run(&["make", &path, &packets.to_string()]);
    }
    for _ in 0..2 {
        run(&["start", &path]);
    }
    super::runtime().block_on(serve(&Partnership::load(folder)));
}

/// The program itself: a packet more when all of that waits, and the first that is offered.
async fn serve(partnership: &Partnership) {
    let broker = Process::start(&partnership.folder);
    let sockets = sockets(partnership.agents.len());
    let connect = async |number: u8| {
        let agent = &partnership.agents[usize::from(number - GEMEENTE)];
        agent.dial(&sockets[0], partnership.address).await.unwrap()
    };
    let ready = broker.usage();
    let lines = BufReader::new(std::fs::File::open(partnership.folder.join("late")).unwrap()).lines();
    let late: Vec<(u8, Vec<u8>)> = lines
        .map(|line| {
            let line = line.unwrap();
            let (sender, packet) = line.split_once(' ').unwrap();
            (sender.parse().unwrap(), HEXLOWER.decode(packet.as_bytes()).unwrap())
        })
        .collect();
    let senders = [connect(2).await, connect(3).await, connect(4).await];
    let mut took = Vec::new();
    for (sender, packet) in &late {
        took.push(senders[usize::from(sender - 2)].submit(packet).await);
    }
    took.sort_unstable();
    let begun = Instant::now();
    let recipient = connect(GEMEENTE).await;
    let welcomed = begun.elapsed();
    recipient.offered().await;
    let offered = begun.elapsed();
    let usage = broker.usage();
    let ms = |one: Duration| one.as_secs_f64() * 1e3;
    println!(
        "the program listens after {:.2} s with {} MiB; {} packets more, one after the other: accepted in {:.1} ms (half), {:.1} ms (longest); the recipient is welcomed after {:.1} ms and has its first packet after {:.1} ms from dialling; {} MiB then, {} MiB at most",
        broker.listening.as_secs_f64(),
        ready.resident / 1024,
        took.len(),
        ms(took[took.len() / 2]),
        ms(took[took.len() - 1]),
        ms(welcomed),
        ms(offered),
        usage.resident / 1024,
        usage.most / 1024
    );
}
