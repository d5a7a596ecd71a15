//! What looking at a large broker takes: each page of the console, and counting the entries of its log.
//!
//! ```text
//! cargo bench -p seinhuis-broker --bench console -- [ENTRIES] [PARTNERS] [CONNECTED]
//! ```
//!
//! A million entries of the last day, and 10,000 partners of whom 1,000 are connected over QUIC, unless said otherwise; the
//! agents are in this process and do nothing more. A page is asked for over loopback as a browser does, on a connection of its own, 20 times, half a second apart so that each has a
//! board of its own: the middle and the longest time to its first byte, and its length. Then, 20 times, how long it takes
//! from something that happened until a page that is open is told.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says so")]

#[expect(dead_code, reason = "other benches use the rest")]
mod mill;

mod crowd;
#[expect(dead_code, reason = "other benches use the rest")]
mod usage;

use std::fmt::Write as _;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crowd::{Ca, Crowd};
use mill::{Mill, home};
use seinhuis_broker::console::{Console, one_sign_in};
use seinhuis_broker::home::Home;
use seinhuis_broker::link::Server;
use seinhuis_broker::service::Service;
use seinhuis_broker_core::Command;
use seinhuis_journal::Options;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Span;
use seinhuis_shell::clock;
use tokio::sync::watch;
use usage::Usage;

const PAGES: [&str; 13] = [
    "/",
    "/flows",
    "/queues",
    "/refusals",
    "/agents",
    // Those that are connected.
    "/agents?name=00000099000000000",
    "/log",
    "/log/100",
    "/log/find?kind=refused",
    "/covenants",
    "/storage",
    "/exports",
    "/acts",
];
const TIMES: usize = 20;

fn number(words: &[String], at: usize, usual: u64) -> u64 {
    words.get(at).map_or(usual, |word| word.replace('_', "").parse().unwrap())
}

/// A log of so many entries of the last day.
fn make(home: &Home, entries: u64) {
    let day = Span::hours(23);
    let options = Options { index_interval: Duration::from_secs(1), ..Options::default() };
    let mut mill = Mill::found(home, options, clock::now().minus(day));
    let (turn, packets) = (64, entries / 2);
    let pace = day.0 / packets.div_ceil(turn).max(1);
    for done in (0..packets).step_by(usize::try_from(turn).unwrap()) {
        mill.step(usize::try_from(turn.min(packets - done)).unwrap(), |_| 256);
        mill.now = mill.now.plus(Span(pace));
    }
    mill.step(0, |_| 256);
    mill.sync_index();
}

/// Asks as a browser does; how long the first byte took, and the whole answer.
fn ask(address: SocketAddr, request: &str) -> (Duration, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 1];
    stream.read_exact(&mut answer).unwrap();
    let first = begun.elapsed();
    stream.read_to_end(&mut answer).unwrap();
    (first, answer)
}

fn sign_in(address: SocketAddr, code: &str) -> String {
    let form = format!("name=Anna&password={code}&code=");
    let request = format!(
        "POST /sign-in HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = String::from_utf8(ask(address, &request).1).unwrap();
    answer.split_once("set-cookie: ").unwrap().1.split_once(';').unwrap().0.to_owned()
}

fn measure(address: SocketAddr, cookie: &str) {
    println!("| page | first byte, middle of {TIMES} | longest | length |\n|---|---|---|---|");
    for page in PAGES {
        let request = format!(
            "GET {page} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
        );
        let mut all = Vec::new();
        let mut length = 0;
        for _ in 0..TIMES {
            std::thread::sleep(Duration::from_millis(520));
            let (first, answer) = ask(address, &request);
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            all.push(first);
            length = answer.len();
        }
        all.sort_unstable();
        let ms = |one: Duration| one.as_secs_f64() * 1000.0;
        println!(
            "| `{page}` | {:.1} ms | {:.1} ms | {} kB |",
            ms(all[TIMES / 2]),
            ms(all[TIMES - 1]),
            length / 1000
        );
    }
}

fn partner(at: u64) -> Oin {
    format!("000000990000{at:08}").parse().unwrap()
}

async fn add_partner(service: Service, at: u64) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&at.to_le_bytes());
    let oin = partner(at);
    let key = SigningKey::from_seed(&seed).public();
    service.command(Command::AddPartner { oin, name: format!("Partner {at}"), key }).await.unwrap();
}

/// How long it takes until a page that follows is told that there is one partner more.
fn follow(address: SocketAddr, cookie: &str, (connected, partners): (usize, usize), happen: impl Fn(usize)) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /live?path=/ HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = std::io::BufReader::new(stream).lines();
    let mut until = |wanted: &str| while !lines.next().unwrap().unwrap().contains(wanted) {};
    until("Agenten");
    let mut all: Vec<Duration> = (0..TIMES)
        .map(|at| {
            // Not in step with what is measured.
            std::thread::sleep(Duration::from_millis(700 + 37 * u64::try_from(at).unwrap()));
            let begun = Instant::now();
            happen(partners + at);
            until(&format!("{connected} / {}<", partners + at + 1));
            begun.elapsed()
        })
        .collect();
    all.sort_unstable();
    println!(
        "told to a page that is open after {:?}, middle of {TIMES}; longest {:?}",
        all[TIMES / 2],
        all[TIMES - 1]
    );
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (entries, partners) = (number(&words, 0, 1_000_000), number(&words, 1, 10_000));
    let agents = number(&words, 2, 1000).min(partners);
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    make(&home, entries);
    let mut text = std::fs::read_to_string(home.config()).unwrap();
    text.write_str("\n[console]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    std::fs::write(home.config(), text).unwrap();
    let mut config = home.load_config().unwrap();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut ca = Ca::found(&dir.path().join("ca"), &home, config.oin);
    let (service, _thread) = Service::open(&home, &config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = dir.path().to_string_lossy().into_owned();
    let add = ["seinhuis-broker", "--home", &folder, "operator", "add", "Anna", "--role", "operator"];
    seinhuis_broker::run(add.map(std::ffi::OsString::from));
    let code = one_sign_in(&home, "Anna").unwrap();
    let (_stop, stopping) = watch::channel(false);
    let (address, _server, _crowd) = runtime.block_on(async {
        service.command(Command::Started { without_witnesses: false }).await.unwrap();
        let added = (0..partners).map(|at| tokio::spawn(add_partner(service.clone(), at)));
        for one in added.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        let (begun, before) = (Instant::now(), Usage::of("self").processor);
        tokio::spawn(service.clone().follow());
        while service.board().await.unwrap().behind > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (took, spent) = (begun.elapsed().as_secs_f64(), Usage::of("self").processor - before);
        let board = service.board().await.unwrap();
        let counted: u64 = board.kinds.iter().map(|(_, count)| count).sum();
        let counted = u32::try_from(counted).unwrap();
        println!(
            "{counted} entries counted in {took:.1} s, {spent:.2} s of processor time: {:.2} µs an entry",
            spent * 1e6 / f64::from(counted)
        );
        let console = Console::bind(&home, &config, service.clone()).await.unwrap().unwrap();
        let address = console.address().unwrap();
        tokio::spawn(console.run(stopping));
        let server = Server::start(&home, &config, service.clone()).unwrap();
        let crowd = Crowd::gather(&mut ca, (0..agents).map(partner), server.address().unwrap()).await;
        (address, server, crowd)
    });
    let cookie = sign_in(address, &code);
    measure(address, &cookie);
    // Those of the log itself are partners too.
    let known = runtime.block_on(service.board()).unwrap().connected();
    println!("{} of {} partners are connected", known.0, known.1);
    follow(address, &cookie, known, |at| {
        runtime.block_on(add_partner(service.clone(), u64::try_from(at).unwrap()));
    });
    std::process::exit(0);
}
