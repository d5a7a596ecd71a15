//! Where UDP gets no answer an agent goes over TCP, as who it is and under the same checks, and comes back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use seinhuis_shared::entry::Kind as EntryKind;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::VERSION;
use seinhuis_shell::grant::{BrokerCard, Grant};
use seinhuis_shell::keys;
use seinhuis_shell::link::Closed;
use seinhuis_shell::tls::{self, Kx};
use seinhuis_tests::gate::Gate;
use seinhuis_tests::impair::{Conditions, Path, Relay};
use seinhuis_tests::process::Program;
use seinhuis_tests::raw::{self, Over, RawError};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Raw, Stage, ports, process};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::common::town::{Square, sample};
use crate::common::{self, Scene};

static TOWN: Square = Square::new();

const PAIR: [&str; 2] = ["gemeente", "jongerenwerk"];
/// Longer than a session takes to be given up, and QUIC to be tried.
const LONG: Duration = Duration::from_mins(2);

/// Gives an agent these settings for the transport.
fn transport(stage: &Stage, member: &Member, lines: &str) {
    stage.configure_agent(member, &format!("\n[transport]\n{lines}\n")).unwrap();
}

fn status(stage: &Stage, member: &Member) -> Value {
    stage.agent(member, &["status"]).unwrap()
}

/// Waits until a member's agent has a session over this.
fn wait_for_session(stage: &Stage, member: &Member, over: &str) {
    let waited = process::until("a session", LONG, || {
        let link = status(stage, member)["link"].clone();
        link["connected"] == true && text(&link, "transport") == over
    });
    let log = std::fs::read_to_string(stage.log_of(&member.label)).unwrap_or_default();
    assert!(waited.is_ok(), "{} over {over}: {}\n{log}", member.name, status(stage, member)["link"]);
}

fn push(stage: &Stage) -> String {
    let file = sample("F01").path.to_string_lossy().into_owned();
    let pushed = stage.agent(stage.member("jongerenwerk"), &["push", &file]).unwrap();
    text(&pushed, "msg_id").to_owned()
}

/// Entries about packets that were accepted.
fn accepted(stage: &Stage) -> usize {
    stage.log_tail(1000).unwrap().iter().filter(|entry| entry.kind == EntryKind::Accepted).count()
}

fn fallback_of(stage: &Stage) -> SocketAddr {
    stage.card().unwrap().fallback.unwrap().parse().unwrap()
}

#[test]
fn where_udp_is_blocked_from_the_start_messages_go_over_tcp() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    stage.fall_back("").unwrap();
    // One network drops what is sent, the other says that nobody is there.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = ports::free().unwrap();
    transport(stage, stage.member("jongerenwerk"), &format!("broker = \"{}\"", silent.local_addr().unwrap()));
    transport(stage, stage.member("gemeente"), &format!("broker = \"{closed}\""));
    let _broker = scene.broker();
    let _agents = scene.agents();
    common::push(stage, 3);
    let inbox = common::wait_for_inbox(stage, stage.member("gemeente"), 3);
    assert!(inbox.iter().all(|row| text(row, "state") == "stored"), "{inbox:?}");
    for role in PAIR {
        let link = &status(stage, stage.member(role))["link"];
        assert_eq!(text(link, "transport"), "tcp", "{link}");
        assert!(link["quic_again"].is_string(), "QUIC is tried again: {link}");
    }
    let home = stage.member("gemeente").home.to_string_lossy().into_owned();
    let shown = stage.programs.run(Program::Agent, ["--home", &home, "status"]).unwrap().stdout;
    assert!(shown.contains("over TCP (UDP gives no answer; QUIC is tried again from"), "{shown}");
}

#[test]
fn a_session_moves_to_tcp_and_back_and_every_message_is_accepted_once() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    stage.fall_back("").unwrap();
    let relay = Relay::start(stage.address.parse().unwrap(), 1).unwrap();
    let youth = stage.member("jongerenwerk");
    transport(stage, youth, &format!("broker = \"{}\"\nquic_again = 1", relay.address()));
    let _broker = scene.broker();
    let _agents = scene.agents();
    wait_for_session(stage, youth, "quic");
    let before = accepted(stage);
    common::push(stage, 1);
    // These reach the broker, which accepts them, and the agent never hears of it.
    relay.set(Conditions { down: Path { open: false, ..Path::default() }, ..Conditions::default() });
    let mut pushed: Vec<String> = (0..3).map(|_| push(stage)).collect();
    process::until("the broker has them", PATIENCE, || accepted(stage) >= before + 4).unwrap();
    relay.set(Conditions::closed());
    wait_for_session(stage, youth, "tcp");
    let mut back = false;
    // While it goes back more is under way all the time.
    relay.set(Conditions::default());
    process::until("QUIC is used again", LONG, || {
        if pushed.len() < 40 {
            pushed.push(push(stage));
        }
        back = text(&status(stage, youth)["link"], "transport") == "quic";
        back
    })
    .unwrap();
    pushed.extend((0..3).map(|_| push(stage)));
    let inbox = common::wait_for_inbox(stage, stage.member("gemeente"), pushed.len() + 1);
    assert!(inbox.iter().all(|row| text(row, "state") == "stored"), "{inbox:?}");
    for id in &pushed {
        assert_eq!(inbox.iter().filter(|row| text(row, "msg_id") == id).count(), 1, "{id}");
    }
    process::until("every verdict is there", PATIENCE, || {
        common::outbox_of(stage, youth).iter().all(|row| text(row, "state") == "accepted")
    })
    .unwrap();
    assert_eq!(accepted(stage), before + pushed.len() + 1, "each is in the log once");
    wait_for_session(stage, youth, "quic");
    let log = std::fs::read_to_string(stage.log_of(&youth.label)).unwrap();
    assert!(log.contains("back on QUIC"), "{log}");
    assert!(status(stage, youth)["alarms"].as_array().unwrap().is_empty());
}

#[test]
fn a_refusal_is_an_answer_and_leads_to_no_other_transport() {
    let scene = Scene::unwatched(&PAIR);
    let stage = &scene.stage;
    stage.fall_back("").unwrap();
    let _broker = scene.broker();
    let youth = stage.member("jongerenwerk");
    stage.revoke(youth).unwrap();
    let _agent = scene.agent("jongerenwerk");
    process::until("the broker refuses", PATIENCE, || {
        status(stage, youth)["link"]["refusal"] == Refusal::PartnerRevoked.number()
    })
    .unwrap();
    let log = std::fs::read_to_string(stage.log_of(&youth.label)).unwrap();
    assert!(!log.contains("transport=\"tcp\"") && !log.contains("Tcp"), "{log}");
}

#[test]
fn tcp_is_used_only_where_it_may_be_and_alone_where_it_must_be() {
    let scene = Scene::unwatched(&PAIR);
    let stage = &scene.stage;
    stage.fall_back("").unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (youth, town) = (stage.member("jongerenwerk"), stage.member("gemeente"));
    transport(stage, youth, &format!("broker = \"{}\"\nfallback = \"never\"", silent.local_addr().unwrap()));
    transport(stage, town, "fallback = \"only\"");
    let _broker = scene.broker();
    let _agents = (scene.agent("gemeente"), scene.agent("jongerenwerk"));
    wait_for_session(stage, town, "tcp");
    assert!(status(stage, town)["link"]["quic_again"].is_null(), "and QUIC is not tried");
    process::until("it tried in vain", PATIENCE, || status(stage, youth)["link"]["problem"].is_array())
        .unwrap();
    let log = std::fs::read_to_string(stage.log_of(&youth.label)).unwrap();
    assert!(!log.contains("transport=\"tcp\"") && !log.contains("Tcp"), "{log}");
}

#[test]
fn a_network_that_goes_silent_over_tcp_is_noticed_at_both_sides() {
    let scene = Scene::unwatched(&PAIR);
    let (stage, runtime) = (&scene.stage, Runtime::new().unwrap());
    stage.fall_back("").unwrap();
    let _broker = scene.broker();
    let gate = Gate::before(fallback_of(stage)).unwrap();
    let member = stage.member("jongerenwerk");
    let mut card = BrokerCard::load(&member.home.join("broker.json")).unwrap();
    card.fallback = Some(gate.address.to_string());
    let raw = runtime.block_on(async {
        let line = raw::connect(Over::Tcp, &member.home, &card).await.unwrap();
        Raw::hello(line, &card, VERSION).await.unwrap()
    });
    let connected = || {
        let partners = stage.broker(&["partner", "list"]).unwrap();
        let mut rows = partners.as_array().unwrap().iter();
        rows.any(|row| {
            text(row, "oin") == member.oin && row["connected"] != Value::Null && row["connected"] != false
        })
    };
    assert!(connected());
    gate.shut();
    process::until("the broker gives the session up", LONG, || !connected()).unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, raw.conn.closed()).await }).unwrap();
    assert_eq!(ended, Closed::Silent);
}

#[test]
fn who_connects_over_tcp_and_says_nothing_gives_its_place_up() {
    let scene = Scene::unwatched(&PAIR);
    let (stage, runtime) = (&scene.stage, Runtime::new().unwrap());
    stage.fall_back("max_handshakes = 1").unwrap();
    let _broker = scene.broker();
    let home = &stage.member("gemeente").home;
    let address = fallback_of(stage);
    // One says nothing, the next says the beginning of something.
    for said in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
        let mut slow = TcpStream::connect(address).unwrap();
        slow.write_all(said).unwrap();
        let open = || runtime.block_on(Raw::open_over(Over::Tcp, home));
        process::until("the only place is taken", PATIENCE, || open().is_err()).unwrap();
        process::until("the place is free again", PATIENCE, || match open() {
            Ok(raw) => {
                runtime.block_on(raw.close());
                true
            }
            Err(_) => false,
        })
        .unwrap();
        slow.set_read_timeout(Some(PATIENCE)).unwrap();
        // An end or a reset: either way nobody listens any more.
        assert_eq!(slow.read(&mut [0; 64]).unwrap_or(0), 0, "it was let go of");
    }
}

#[test]
fn another_protocol_another_version_of_tls_and_garbage_stay_outside() {
    let mut town = TOWN.town_over(Over::Tcp);
    let card = town.stage.card().unwrap();
    let home = &town.member("politie").home;
    let grant = Grant::load(&home.join("grant.json")).unwrap();
    let identity = grant.identity(&keys::load_tls(&home.join("keys/tls.key")).unwrap()).unwrap();
    let config = tls::client_config(&identity, &grant.trust().unwrap(), Kx::Hybrid).unwrap();
    for alpn in [&b""[..], tls::ALPN, b"h2"] {
        let dialled = town.runtime.block_on(raw::dial_tcp(config.clone(), &card, alpn));
        assert!(matches!(dialled, Err(RawError::Ended(_))), "{alpn:?}: {dialled:?}");
    }
    let classical = tls::client_config(&identity, &grant.trust().unwrap(), Kx::X25519).unwrap();
    let dialled = town.runtime.block_on(raw::dial_tcp(classical, &card, tls::ALPN_TCP));
    assert!(matches!(dialled, Err(RawError::Ended(_))), "without ML-KEM: {dialled:?}");
    // A ClientHello of TLS 1.2: one suite, groups and signature schemes, no supported_versions.
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend([0, 16, 0, 10, 0, 4, 0, 2, 0, 0x1d, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    let address: SocketAddr = card.fallback.unwrap().parse().unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&hello).unwrap();
    let mut alert = [0; 7];
    socket.read_exact(&mut alert).unwrap();
    assert_eq!(
        (alert[0], alert[5], alert[6]),
        (21, 2, 70),
        "a fatal alert: protocol_version (RFC 8446 §6.2)"
    );
    for round in 0..100_usize {
        let mut socket = TcpStream::connect(address).unwrap();
        let bytes = keys::random::<1400>();
        // The broker may have let go of it already.
        _ = socket.write_all(&bytes[..=(round * 37) % 1399]);
    }
    town.still_works();
    assert!(town.stands());
}

#[test]
fn the_sender_is_who_the_certificate_names_over_tcp_too() {
    let town = TOWN.town_over(Over::Tcp);
    let size = town.log_size();
    let packet = town.packet();
    let mut thief = town.open("jongerenwerk");
    let (verdict, _) = town.runtime.block_on(thief.verdict(&packet)).unwrap();
    assert_eq!(verdict.outcome, Refusal::SenderNotConnection.number());
    assert_eq!((town.log_size(), town.waiting()), (size + 1, 0), "refused, and logged");
    // The same packet is accepted once, whichever way its sender brings it.
    let mut police = town.open("politie");
    let (first, _) = town.accepts_on(&mut police, &packet);
    let mut over_quic =
        town.runtime.block_on(Raw::open_over(Over::Quic, &town.member("politie").home)).unwrap();
    let (again, _) = town.accepts_on(&mut over_quic, &packet);
    assert_eq!(first, again, "byte for byte");
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
    assert_eq!(town.waiting(), 0);
}

#[test]
fn a_broker_that_stops_says_so_over_tcp() {
    let scene = Scene::unwatched(&PAIR);
    let (stage, runtime) = (&scene.stage, Runtime::new().unwrap());
    stage.fall_back("").unwrap();
    let broker = scene.broker();
    let home = &stage.member("gemeente").home;
    let raw = runtime.block_on(Raw::open_over(Over::Tcp, home)).unwrap();
    broker.stop(PATIENCE).unwrap();
    assert_eq!(runtime.block_on(raw.closed()).refusal(), Some(Refusal::Stopping));
    assert!(runtime.block_on(Raw::open_over(Over::Tcp, home)).is_err());
}
