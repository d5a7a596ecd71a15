//! Networks that damage, delay, lose and cut off, under agents and a broker that are real processes: each message is
//! with its recipients once, and everybody comes back alone. The relay of `seinhuis_tests::impair` is the network.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::path::PathBuf;
use std::time::Duration;

use seinhuis_shared::limits::IDLE_TIMEOUT;
use seinhuis_tests::Programs;
use seinhuis_tests::impair::{Conditions, Counts, Path, Relay};
use seinhuis_tests::torture::network::{Net, are_away, come_back, session, sessions};
use seinhuis_tests::torture::scene::under_traffic;
use seinhuis_tests::torture::troupe::Node;

/// How long a fault lasts that sessions live through.
const SHORT: Duration = Duration::from_secs(6);
/// A fault that lasts longer than any session can.
const LONG: Duration = Duration::from_millis(IDLE_TIMEOUT.0 + 8_000);

/// Plays faults on a network of their own while everybody pushes; what holds afterwards is checked.
fn play(seed: u64, faults: impl FnOnce(&Net)) {
    let dir = tempfile::Builder::new().prefix("seinhuis-network-").tempdir().unwrap();
    let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
    let net = Net::set(programs, dir.path(), seed).unwrap();
    let played = under_traffic(&net.troupe, seed, |bystander| {
        faults(&net);
        bystander.look(&net.troupe);
        Ok(1)
    });
    match played {
        Ok((tally, _)) => assert!(tally.confirmed > 10, "there was traffic: {tally:?}"),
        Err(failure) => panic!("{:#?}", failure.violations),
    }
}

/// The number of a member's agent.
fn node(net: &Net, role: &str) -> Node {
    net.troupe.nodes().find(|node| net.troupe.name(*node) == role).unwrap()
}

/// What became of all datagrams.
fn counts(net: &Net) -> Counts {
    let mut sum = Counts::default();
    for (up, down) in net.relays.iter().map(Relay::counts) {
        sum += up;
        sum += down;
    }
    sum
}

#[test]
fn delay_reordering_duplication_a_black_hole_and_new_source_ports_leave_every_session_as_it_is() {
    play(1, |net| {
        let before = sessions(&net.troupe);
        let (delay, jitter) = (Duration::from_millis(300), Duration::from_millis(100));
        for path in [
            Path { delay, jitter, overtaken: 20, ..Path::default() },
            Path { doubled: 10, ..Path::default() },
            // Below what QUIC found out that the path carries; 1,200 bytes every path has to.
            Path { largest: 1_200, ..Path::default() },
        ] {
            net.everywhere(Conditions::both(path));
            std::thread::sleep(SHORT);
        }
        net.everywhere(Conditions::default());
        for _ in 0..4 {
            net.relays.iter().for_each(Relay::rebind);
            std::thread::sleep(SHORT / 4);
        }
        // Nothing at all for some seconds, and a new port after it.
        net.everywhere(Conditions::closed());
        std::thread::sleep(SHORT);
        net.relays.iter().for_each(Relay::rebind);
        net.everywhere(Conditions::default());
        std::thread::sleep(SHORT);
        assert_eq!(sessions(&net.troupe), before, "no session ended");
        let counts = counts(net);
        assert!(counts.overtaken > 0 && counts.doubled > 0 && counts.too_large > 0, "{counts:?}");
        assert!(net.relays.iter().all(|relay| relay.rebound() >= 2), "ports did change");
    });
}

#[test]
fn of_three_datagrams_in_ten_lost_and_one_in_ten_damaged_nothing_is_seen_above_quic() {
    play(2, |net| {
        for path in [
            Path { loss: 30, ..Path::default() },
            Path { damaged: 10, ..Path::default() },
            Path {
                loss: 15,
                damaged: 5,
                doubled: 5,
                overtaken: 10,
                delay: Duration::from_millis(50),
                jitter: Duration::from_millis(50),
                ..Path::default()
            },
        ] {
            net.everywhere(Conditions::both(path));
            std::thread::sleep(SHORT);
        }
        // An agent that starts anew finds its way through it too; and everything settles while the network stays so.
        let police = node(net, "politie");
        net.troupe.kill(police).unwrap();
        net.troupe.start(police, None).unwrap();
        come_back(&net.troupe, &[police]).unwrap();
        let counts = counts(net);
        assert!(counts.lost > 0 && counts.damaged > 0, "{counts:?}");
    });
}

#[test]
fn agents_come_back_alone_after_an_outage_longer_than_any_session() {
    play(3, |net| {
        let (before, all) = (sessions(&net.troupe), net.troupe.nodes().skip(1).collect::<Vec<_>>());
        net.everywhere(Conditions::closed());
        are_away(&net.troupe, &all).unwrap();
        net.everywhere(Conditions::default());
        come_back(&net.troupe, &all).unwrap();
        assert!(sessions(&net.troupe).iter().zip(&before).all(|(now, then)| now != then), "new sessions");
    });
}

#[test]
fn one_direction_that_is_dead_is_noticed_and_who_has_no_fault_has_no_trouble() {
    play(4, |net| {
        let [deaf, mute, other] = ["gemeente", "politie", "jongerenwerk"].map(|role| node(net, role));
        let before = session(&net.troupe, other);
        let closed = Conditions::closed();
        net.relays[deaf - 1].set(Conditions { down: closed.down, ..Conditions::default() });
        net.relays[mute - 1].set(Conditions { up: closed.up, ..Conditions::default() });
        are_away(&net.troupe, &[deaf, mute]).unwrap();
        net.everywhere(Conditions::default());
        come_back(&net.troupe, &[deaf, mute]).unwrap();
        assert_eq!(session(&net.troupe, other), before);
    });
}

#[test]
fn an_agent_and_a_broker_that_were_frozen_for_longer_than_a_session_lasts_go_on() {
    play(5, |net| {
        let all: Vec<Node> = net.troupe.nodes().skip(1).collect();
        let town = node(net, "gemeente");
        net.troupe.freeze(town).unwrap();
        std::thread::sleep(LONG);
        net.troupe.thaw(town).unwrap();
        come_back(&net.troupe, &all).unwrap();
        net.troupe.freeze(0).unwrap();
        are_away(&net.troupe, &all).unwrap();
        net.troupe.thaw(0).unwrap();
        come_back(&net.troupe, &all).unwrap();
    });
}

#[test]
fn agents_come_back_to_a_broker_that_was_away_for_longer_than_a_session_lasts() {
    play(6, |net| {
        let all: Vec<Node> = net.troupe.nodes().skip(1).collect();
        net.troupe.kill(0).unwrap();
        std::thread::sleep(LONG);
        are_away(&net.troupe, &all).unwrap();
        net.troupe.start(0, None).unwrap();
        come_back(&net.troupe, &all).unwrap();
    });
}
