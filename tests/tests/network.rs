//! Networks that damage, delay, lose and cut off, under agents and a broker that are real processes: each message is
//! with its recipients once, and everybody comes back alone. The relay of `seinhuis_tests::impair` is the network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::Scene;
use seinhuis_shared::limits::IDLE_TIMEOUT;
use seinhuis_tests::impair::{Conditions, Counts, Path, Relay, between};
use seinhuis_tests::process;
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::traffic::{Ledger, is_away, session};
use seinhuis_tests::{Member, Process, Stage};

const THREE: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];
/// Between two messages of a sender.
const PACE: Duration = Duration::from_millis(300);
/// How long a fault lasts that sessions should live through.
const SHORT: Duration = Duration::from_secs(6);
/// A fault that lasts longer than any session can.
const LONG: Duration = Duration::from_millis(IDLE_TIMEOUT.0 + 8_000);
/// Within this everything has settled after a fault: the idle time, an attempt in vain, the longest wait, and as much
/// again for a busy machine.
const SETTLE: Duration = Duration::from_secs(240);

/// A partnership in which every agent reaches the broker through a relay of its own.
struct Net {
    scene: Scene,
    relays: Vec<Relay>,
    broker: Option<Process>,
    agents: Vec<Process>,
    ledger: Ledger,
}

impl Net {
    fn spread() -> Self {
        let scene = Scene::with(&THREE);
        let relays: Vec<Relay> = (1..)
            .zip(&scene.stage.members)
            .map(|(seed, member)| between(&scene.stage, member, seed).unwrap())
            .collect();
        let broker = Some(scene.broker());
        let agents = scene.agents();
        Self { scene, relays, broker, agents, ledger: Ledger::default() }
    }

    fn stage(&self) -> &Stage {
        &self.scene.stage
    }

    fn place(&self, role: &str) -> usize {
        self.stage().members.iter().position(|member| member.role == role).unwrap()
    }

    fn everywhere(&self, conditions: Conditions) {
        self.relays.iter().for_each(|relay| relay.set(conditions));
    }

    /// Traffic while `act` lasts.
    fn during(&mut self, act: impl FnOnce(&Scene, &[Relay])) {
        let (scene, relays) = (&self.scene, &self.relays);
        self.ledger
            .during(&scene.stage, PACE, || act(scene, relays))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Everything is where it belongs, without anybody's help.
    fn settle(&self) {
        let found = self.ledger.settle(self.stage(), SETTLE).unwrap_or_else(|error| panic!("{error}"));
        assert!(found.is_empty(), "{found:#?}");
        assert!(!self.ledger.is_empty(), "there was traffic");
    }

    /// Each agent's session.
    fn sessions(&self) -> Vec<String> {
        self.stage().members.iter().map(|member| session(self.stage(), member).unwrap()).collect()
    }

    /// What became of all datagrams.
    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for (up, down) in self.relays.iter().map(Relay::counts) {
            sum += up;
            sum += down;
        }
        sum
    }
}

/// Waits until an agent notices that it has no session.
fn goes_away(stage: &Stage, member: &Member) {
    process::until("the agent notices", 2 * PATIENCE, || is_away(stage, member).unwrap()).unwrap();
}

#[test]
fn delay_jitter_reordering_duplication_and_a_black_hole_leave_every_session_as_it_is() {
    let mut net = Net::spread();
    let before = net.sessions();
    assert!(before.iter().all(|since| !since.is_empty()));
    let (delay, jitter) = (Duration::from_millis(150), Duration::from_millis(100));
    for path in [
        Path { delay, jitter, overtaken: 20, ..Path::default() },
        Path { doubled: 10, ..Path::default() },
        // Below what QUIC found out that the path carries; 1,200 bytes it always has to.
        Path { largest: 1_200, ..Path::default() },
    ] {
        net.everywhere(Conditions::both(path));
        net.during(|_, _| std::thread::sleep(SHORT));
    }
    net.settle();
    assert_eq!(net.sessions(), before, "no session ended");
    let counts = net.counts();
    assert!(counts.overtaken > 0 && counts.doubled > 0 && counts.too_large > 0, "{counts:?}");
    assert_eq!(counts.lost, 0);
}

#[test]
fn of_three_datagrams_in_ten_lost_and_one_in_ten_damaged_nothing_is_seen_above_quic() {
    let mut net = Net::spread();
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
        net.during(|_, _| std::thread::sleep(SHORT));
    }
    // An agent that starts anew finds its way through it too.
    let place = net.place("politie");
    net.agents.remove(place).stop(PATIENCE).unwrap();
    net.agents.insert(place, net.scene.agent("politie"));
    net.during(|_, _| std::thread::sleep(SHORT));
    // It settles while the network stays as it is.
    net.settle();
    let counts = net.counts();
    assert!(counts.lost > 0 && counts.damaged > 0, "{counts:?}");
}

#[test]
fn a_session_goes_on_from_another_source_port_and_through_an_outage_of_seconds() {
    let mut net = Net::spread();
    let before = net.sessions();
    net.during(|_, relays| {
        for _ in 0..4 {
            relays.iter().for_each(Relay::rebind);
            std::thread::sleep(SHORT / 4);
        }
        // Nothing at all for some seconds, and a new port after it.
        relays.iter().for_each(|relay| relay.set(Conditions::closed()));
        std::thread::sleep(SHORT);
        relays.iter().for_each(Relay::rebind);
        relays.iter().for_each(|relay| relay.set(Conditions::default()));
    });
    net.settle();
    assert_eq!(net.sessions(), before, "the sessions are those of before");
    assert!(net.relays.iter().all(|relay| relay.rebound() >= 2), "ports did change");
}

#[test]
fn agents_come_back_alone_after_an_outage_longer_than_any_session() {
    let mut net = Net::spread();
    let before = net.sessions();
    net.during(|scene, relays| {
        relays.iter().for_each(|relay| relay.set(Conditions::closed()));
        scene.stage.members.iter().for_each(|member| goes_away(&scene.stage, member));
        relays.iter().for_each(|relay| relay.set(Conditions::default()));
    });
    net.settle();
    assert!(net.sessions().iter().zip(&before).all(|(now, then)| now != then), "they are new sessions");
}

#[test]
fn one_direction_that_is_dead_is_noticed_at_both_ends() {
    let mut net = Net::spread();
    let before = net.sessions();
    let (deaf, mute) = (net.place("gemeente"), net.place("politie"));
    net.during(|scene, relays| {
        let closed = Conditions::closed();
        // One agent hears nothing, another is not heard; the third goes on.
        relays[deaf].set(Conditions { down: closed.down, ..Conditions::default() });
        relays[mute].set(Conditions { up: closed.up, ..Conditions::default() });
        for place in [deaf, mute] {
            goes_away(&scene.stage, &scene.stage.members[place]);
        }
        relays.iter().for_each(|relay| relay.set(Conditions::default()));
    });
    net.settle();
    let after = net.sessions();
    for place in [deaf, mute] {
        assert_ne!(after[place], before[place]);
    }
    let other = net.place("jongerenwerk");
    assert_eq!(after[other], before[other], "who has no fault has no trouble");
}

#[test]
fn an_agent_that_was_frozen_for_longer_than_a_session_lasts_comes_back() {
    let mut net = Net::spread();
    let place = net.place("gemeente");
    let (agents, scene) = (&net.agents, &net.scene);
    net.ledger
        .during(&scene.stage, PACE, || {
            agents[place].freeze().unwrap();
            std::thread::sleep(LONG);
            agents[place].thaw().unwrap();
        })
        .unwrap();
    net.settle();
}

#[test]
fn agents_come_back_to_a_broker_that_was_frozen_and_to_one_that_was_away() {
    let mut net = Net::spread();
    let broker = net.broker.take().unwrap();
    net.during(|scene, _| {
        broker.freeze().unwrap();
        scene.stage.members.iter().for_each(|member| goes_away(&scene.stage, member));
        broker.thaw().unwrap();
    });
    net.settle();
    broker.kill().unwrap();
    net.during(|_, _| std::thread::sleep(LONG));
    net.broker = Some(net.scene.broker());
    net.settle();
}
