//! Real networks between real processes: every agent in a namespace of its own, behind address translation.
//! `seinhuis_tests::netns` builds them; where that is not possible these tests say so and are passed over.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::path::PathBuf;
use std::time::Duration;

use seinhuis_tests::netns::{BROKER, CARD, Lab, NETWORKS, port};
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::torture::network::{are_away, come_back, sessions};
use seinhuis_tests::torture::scene::under_traffic;
use seinhuis_tests::torture::troupe::{Node, Troupe, Way};
use seinhuis_tests::{Programs, process};

/// What the broker is called.
const NAME: &str = "broker.partnerschap.example";
/// How long a fault lasts that sessions live through.
const SHORT: Duration = Duration::from_secs(5);

/// Plays faults in networks of their own while everybody pushes; what holds afterwards is checked.
fn play(seed: u64, faults: impl FnOnce(&Lab, &Troupe)) {
    if !NETWORKS.is_met() {
        return;
    }
    let dir = tempfile::Builder::new().prefix("seinhuis-netns-").tempdir().unwrap();
    let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
    let troupe = Troupe::set(programs, dir.path()).unwrap();
    let lab = Lab::build(troupe.stage.members.len()).unwrap();
    let config = troupe.stage.broker_home().join("broker.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let listen = format!("listen = \"{}\"", troupe.stage.address);
    assert!(text.contains(&listen), "{text}");
    std::fs::write(&config, text.replace(&listen, "listen = \"[::]:7443\"")).unwrap();
    name(&lab, &troupe, &format!("{BROKER} {NAME}\n"));
    enter(&troupe, 0, &lab.broker());
    for (place, member) in troupe.stage.members.iter().enumerate() {
        troupe.stage.route(member, &format!("{NAME}:7443")).unwrap();
        enter(&troupe, place + 1, &lab.agent(place));
    }
    let played = under_traffic(&troupe, seed, |bystander| {
        faults(&lab, &troupe);
        bystander.look(&troupe);
        Ok(1)
    });
    assert!(troupe.fallen().is_empty(), "nobody ended by itself");
    match played {
        Ok((tally, _)) => assert!(tally.confirmed > 10, "there was traffic: {tally:?}"),
        Err(failure) => panic!("{:#?}", failure.violations),
    }
}

/// Starts a process in a namespace.
fn enter(troupe: &Troupe, node: Node, place: &str) {
    let words = ["netns", "exec", place].map(str::to_owned).to_vec();
    troupe.start(node, Some(&Way { program: "ip".to_owned(), words })).unwrap();
}

/// What the broker's name means to every agent.
fn name(lab: &Lab, troupe: &Troupe, lines: &str) {
    for place in 0..troupe.stage.members.len() {
        lab.hosts(&lab.agent(place), lines).unwrap();
    }
}

#[test]
fn sessions_go_on_through_loss_short_outages_translation_that_forgets_and_smaller_mtus() {
    play(1, |lab, troupe| {
        let before = sessions(troupe);
        lab.rule("numgen random mod 100 < 30 drop").unwrap();
        std::thread::sleep(SHORT);
        lab.filter("").unwrap();
        // Cables are pulled for some seconds; meanwhile the translation forgets who was behind which port.
        lab.forget_after(1).unwrap();
        let ports = lab.ports().unwrap();
        for state in ["down", "up"] {
            for place in 0..troupe.stage.members.len() {
                lab.ip(&lab.middle(), &["link", "set", &port(place), state]).unwrap();
            }
            std::thread::sleep(SHORT);
        }
        process::until("the broker sees other ports", PATIENCE, || lab.ports().unwrap() > ports).unwrap();
        lab.forget_after(30).unwrap();
        // 1280 bytes is what IPv6 asks of every link; 1200 is less than QUIC does, so that nothing large passes.
        for mtu in ["1280", "1200", "1500"] {
            lab.ip(&lab.middle(), &["link", "set", "broker", "mtu", mtu]).unwrap();
            lab.ip(&lab.broker(), &["link", "set", CARD, "mtu", mtu]).unwrap();
            std::thread::sleep(SHORT);
        }
        // Large datagrams vanish and nobody is told, until the end.
        lab.rule("meta length > 1240 drop").unwrap();
        std::thread::sleep(SHORT);
        assert_eq!(sessions(troupe), before, "no session ended");
        assert!(before.iter().all(Option::is_some));
    });
}

#[test]
fn agents_come_back_after_a_partition_a_dead_direction_and_to_a_broker_that_moved() {
    play(2, |lab, troupe| {
        let all: Vec<Node> = troupe.nodes().skip(1).collect();
        // One agent is cut off, and of another only what the broker sends gets lost.
        lab.ip(&lab.middle(), &["link", "set", &port(0), "down"]).unwrap();
        lab.ip(&lab.middle(), &["route", "add", "blackhole", "10.77.2.2/32"]).unwrap();
        are_away(troupe, &[1, 2]).unwrap();
        lab.ip(&lab.middle(), &["link", "set", &port(0), "up"]).unwrap();
        lab.ip(&lab.middle(), &["route", "delete", "blackhole", "10.77.2.2/32"]).unwrap();
        come_back(troupe, &[1, 2]).unwrap();
        // The broker gets another address. For a while its name means nothing, and then two addresses: at the first
        // nobody answers.
        name(lab, troupe, "");
        lab.ip(&lab.broker(), &["address", "delete", &format!("{BROKER}/24"), "dev", CARD]).unwrap();
        lab.ip(&lab.broker(), &["address", "add", "10.99.0.7/24", "dev", CARD]).unwrap();
        are_away(troupe, &all).unwrap();
        name(lab, troupe, &format!("10.99.0.66 {NAME}\n10.99.0.7 {NAME}\n"));
        come_back(troupe, &all).unwrap();
    });
}
