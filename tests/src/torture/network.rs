//! Networks that go wrong, in every way the relay knows, at one agent or at several.

use std::time::{Duration, Instant};

use seinhuis_shared::limits::IDLE_TIMEOUT;

use super::scene::under_traffic;
use super::troupe::{Node, Troupe};
use super::{Failure, Kind, Round, Tally};
use crate::impair::{Conditions, Path, Relay, between};
use crate::process::Programs;
use crate::sim::{Dice, Violation, setup};
use crate::stage::text;

/// Everything that a network does.
pub(super) const KIND: Kind = Kind {
    name: "network",
    fault: "loss, delay, reordering, duplication, damage, black holes, new source ports, partitions, one dead direction, frozen processes",
    needs: None,
    play,
};

/// Faults of one round, after which all of it is checked.
const FAULTS: u64 = 40;
/// How long a network stays as it is, at most, in milliseconds; but for outages.
const BRIEF: u64 = 4_000;
/// How often, in a hundred, an outage lasts longer than any session.
const LONG: u64 = 8;
/// How often, in a hundred, a fault is at every agent at once.
const ALL: u64 = 25;

/// Entries of the log beyond which a round ends: the broker shows its last 10,000, and the check has to see all.
const ENTRIES: u64 = 5_000;

/// Within this an agent notices that a session is gone, or has another: the idle time, an attempt in vain, the longest
/// wait between two attempts, and as much again for a busy machine.
const NOTICED: Duration = Duration::from_mins(4);

/// A partnership in which every agent reaches the broker through a relay of its own.
#[derive(Debug)]
pub struct Net {
    /// The partnership.
    pub troupe: Troupe,
    /// The relay of each member's agent, in the members' order.
    pub relays: Vec<Relay>,
}

impl Net {
    /// Sets it up in a folder; nothing but the relays runs.
    ///
    /// # Errors
    /// [`crate::sim::Broken::Setup`].
    pub fn set(programs: Programs, dir: &std::path::Path, seed: u64) -> Result<Self, Violation> {
        let troupe = Troupe::set(programs, dir)?;
        let members = (0..).zip(&troupe.stage.members);
        let relays = members.map(|(place, member)| between(&troupe.stage, member, seed ^ (place << 16)));
        let relays = relays.collect::<Result<_, _>>().map_err(setup)?;
        Ok(Self { troupe, relays })
    }

    /// The network of every agent is like this from now on.
    pub fn everywhere(&self, conditions: Conditions) {
        for relay in &self.relays {
            relay.set(conditions);
        }
    }
}

/// Since when an agent has the session that it has; none when it has no session.
pub fn session(troupe: &Troupe, node: Node) -> Option<String> {
    let status = troupe.status(node).ok()?;
    let link = status.get("link").filter(|link| link["connected"] == true)?;
    Some(text(link, "since").to_owned())
}

/// Entries in the log; none when the broker cannot be asked.
fn entries(troupe: &Troupe) -> u64 {
    troupe.status(0).ok().and_then(|status| status["log"]["size"].as_u64()).unwrap_or_default()
}

/// The session of every agent, in the members' order.
pub fn sessions(troupe: &Troupe) -> Vec<Option<String>> {
    troupe.nodes().skip(1).map(|node| session(troupe, node)).collect()
}

/// Waits until agents notice that they have no session.
///
/// # Errors
/// As [`Troupe::until`].
pub fn are_away(troupe: &Troupe, agents: &[Node]) -> Result<(), Violation> {
    wait(troupe, agents, false)
}

/// Waits until agents have a session again, without any help.
///
/// # Errors
/// As [`Troupe::until`].
pub fn come_back(troupe: &Troupe, agents: &[Node]) -> Result<(), Violation> {
    wait(troupe, agents, true)
}

fn wait(troupe: &Troupe, agents: &[Node], connected: bool) -> Result<(), Violation> {
    troupe.until(NOTICED, || {
        let other = agents.iter().find(|node| session(troupe, **node).is_some() != connected);
        other.map_or(Ok(()), |node| Err(format!("{} has a session: {}", troupe.name(*node), !connected)))
    })
}

/// One fault, and how long it lasts.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The network is like this.
    Like(Conditions, Duration),
    /// Senders have another source port.
    Rebind,
    /// A process gets no time.
    Freeze(Node, Duration),
}

/// A way in which a network goes wrong.
fn draw(dice: &mut Dice, nodes: u64) -> Fault {
    let brief = Duration::from_millis(dice.between(200, BRIEF));
    let outage = if dice.percent(LONG) {
        Duration::from_millis(IDLE_TIMEOUT.0 + dice.between(0, 15_000))
    } else {
        brief
    };
    let millis = |dice: &mut Dice, most| Duration::from_millis(dice.between(0, most));
    let share = |dice: &mut Dice, most| dice.between(1, most);
    let mut path = Path::default();
    let closed = Path { open: false, ..path };
    match dice.between(0, 11) {
        0 => path.loss = share(dice, 40),
        1 => path.doubled = share(dice, 40),
        2 => path.overtaken = share(dice, 40),
        3 => path.damaged = share(dice, 30),
        4 => (path.delay, path.jitter) = (millis(dice, 400), millis(dice, 200)),
        5 => path.largest = usize::try_from(dice.between(1_200, 1_452)).unwrap_or(1_200),
        6 => {
            (path.loss, path.doubled, path.damaged) = (share(dice, 20), share(dice, 20), share(dice, 10));
            (path.overtaken, path.delay, path.jitter) =
                (share(dice, 20), millis(dice, 100), millis(dice, 100));
        }
        7 => return Fault::Like(Conditions::closed(), outage),
        8 if dice.percent(50) => return Fault::Like(Conditions { up: closed, down: path }, outage),
        8 => return Fault::Like(Conditions { up: path, down: closed }, outage),
        9 => return Fault::Rebind,
        _ => {
            let node = usize::try_from(dice.between(0, nodes)).unwrap_or_default();
            return Fault::Freeze(node, outage);
        }
    }
    // One direction alone is as usual as both.
    let sound = Path::default();
    let conditions = match dice.between(0, 4) {
        0 => Conditions { up: path, down: sound },
        1 => Conditions { up: sound, down: path },
        _ => Conditions::both(path),
    };
    Fault::Like(conditions, brief)
}

fn play(round: &Round) -> Result<Tally, Failure> {
    let net = Net::set(round.programs.clone(), &round.dir, round.seed)?;
    let mut dice = Dice::new(round.seed);
    let nodes = u64::try_from(net.troupe.nodes().len()).unwrap_or(1);
    let (tally, _) = under_traffic(&net.troupe, round.seed, |bystander| {
        let mut done = 0;
        while done < FAULTS && Instant::now() < round.until && entries(&net.troupe) < ENTRIES {
            let everywhere = dice.percent(ALL);
            let one = usize::try_from(dice.between(0, nodes - 1)).unwrap_or_default();
            let there = net.relays.iter().enumerate().filter(|(place, _)| everywhere || *place == one);
            let there: Vec<&Relay> = there.map(|(_, relay)| relay).collect();
            match draw(&mut dice, nodes) {
                Fault::Like(conditions, length) => {
                    for relay in there {
                        relay.set(conditions);
                    }
                    std::thread::sleep(length);
                }
                Fault::Rebind => {
                    for relay in there {
                        relay.rebind();
                    }
                }
                Fault::Freeze(node, length) => {
                    net.troupe.freeze(node)?;
                    std::thread::sleep(length);
                    net.troupe.thaw(node)?;
                }
            }
            net.everywhere(Conditions::default());
            done += 1;
            bystander.look(&net.troupe);
            std::thread::sleep(Duration::from_millis(dice.between(0, BRIEF / 4)));
        }
        Ok(done)
    })?;
    Ok(tally)
}
