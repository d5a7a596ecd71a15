//! Histories of a whole partnership in a world drawn from a seed, and proof that what looks at them sees.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;

use seinhuis_tests::sim::{self, Broken, Fault, Point, Sabotage, Scenario};

/// Plays a scenario that has to hold; a failure prints what replays it.
fn holds(scenario: &Scenario) -> sim::Summary {
    match sim::run(scenario) {
        Ok(summary) => summary,
        Err(violation) => {
            let smaller = sim::shrink(scenario, violation.broken);
            panic!(
                "{violation}\n  cargo run -p seinhuis-tests --bin simulate -- --scenario \"{smaller}\"\n  found as \"{scenario}\""
            );
        }
    }
}

/// The first of some seeds at which an oracle sees the sabotage, and what it sees.
fn caught(sabotage: Sabotage) -> Broken {
    let faults =
        "faults=crash,flush,reset,half-open,partition,slow,clock,forger,take-back messages=10 minutes=3";
    let plain = |seed: u64| format!("seed={seed} {faults}").parse::<Scenario>().unwrap();
    let mut scenarios = (1..=30).map(|seed| plain(seed).sabotaged(sabotage));
    let seen = scenarios.find_map(|scenario| sim::run(&scenario).err());
    seen.unwrap_or_else(|| panic!("nobody sees {sabotage:?}")).broken
}

/// Plays so many histories; how much was accepted, how much ended, and what happened.
fn played(scenarios: impl Iterator<Item = Scenario>) -> (usize, usize, BTreeMap<&'static str, u64>) {
    let (mut accepted, mut ended, mut happened) = (0, 0, BTreeMap::new());
    for scenario in scenarios {
        let summary = holds(&scenario);
        accepted += summary.accepted;
        ended += summary.ended;
        for (name, count) in summary.faults {
            *happened.entry(name).or_insert(0) += count;
        }
    }
    (accepted, ended, happened)
}

#[test]
fn histories_with_every_fault_break_no_promise() {
    let (accepted, ended, happened) = played((1..=14).map(Scenario::of));
    assert!(accepted > 50, "most of what is pushed is accepted: {accepted}");
    assert!(ended > 0, "some of it is taken back or expires");
    for name in ["crash", "flush", "reset", "half-open", "partition", "slow", "clock", "forger", "full"] {
        assert!(happened.get(name).is_some_and(|count| *count > 2), "{name} happens: {happened:?}");
    }
}

#[test]
fn what_people_do_meets_every_fault_and_is_done() {
    let all = Scenario { faults: Fault::ALL.map(|(fault, _)| fault).into(), ..Scenario::of(1) };
    let scenarios = (1..=7).map(|seed| {
        let mut scenario = Scenario { seed, minutes: 3, ..all.clone() };
        // A cheating broker promises nothing, and clocks that are days off are of the long histories.
        for fault in [Fault::Crooked, Fault::FarClock, Fault::Outage] {
            scenario.faults.remove(&fault);
        }
        scenario
    });
    let (_, _, happened) = played(scenarios);
    for name in [
        "bit-rot",
        "corrections",
        "decisions about a case",
        "garbage",
        "messages consumed",
        "nights",
        "packets put off: over quota",
        "partners revoked and let in again",
        "releases decided",
        "requests put off: over quota",
        "rival",
        "rotations of a key",
        "words about a covenant",
    ] {
        assert!(happened.contains_key(name), "{name}: {happened:?}");
    }
}

/// Every history in which one process dies at one write or one send of this one.
fn deaths(text: &str) -> Vec<Scenario> {
    let whole: Scenario = text.parse().unwrap();
    let calls = holds(&whole).calls;
    for (process, calls) in calls.iter().enumerate() {
        assert!(calls.flushes > 1 && calls.sends > 1, "process {process} does something: {calls:?}");
    }
    Point::all(&calls).into_iter().map(|point| whole.dying(point)).collect()
}

#[test]
fn a_process_can_die_at_each_write_and_each_send() {
    let deaths = deaths("seed=2 messages=2 minutes=1 faults=take-back,consume");
    assert!(deaths.len() > 100, "{}", deaths.len());
    for scenario in &deaths {
        holds(scenario);
    }
}

#[test]
fn a_death_at_which_a_flushed_turn_is_lost_is_caught() {
    let deaths = deaths("seed=2 messages=2 minutes=1 faults=take-back,consume");
    let seen = |scenario: &Scenario| sim::run(&scenario.clone().sabotaged(Sabotage::BrokerDisk)).is_err();
    assert!(deaths.iter().filter(|scenario| scenario.dies.is_some_and(|point| point.process == 0)).any(seen));
}

#[test]
fn outages_and_clocks_of_days_break_no_promise() {
    let text = "seed=4 messages=10 minutes=4320 faults=crash,reset,partition,outage,far-clock,take-back,consume,rotate";
    let summary = holds(&text.parse().unwrap());
    assert!(summary.virtual_time >= 72 * 3_600_000 && summary.faults.contains_key("outage"), "{summary:?}");
}

#[test]
fn a_broker_that_cheats_is_believed_by_nobody() {
    let (_, _, happened) = played((1..=5).map(Scenario::crooked));
    let cheats: u64 =
        happened.iter().filter(|(name, _)| name.starts_with("cheat")).map(|(_, count)| count).sum();
    assert!(cheats > 20, "{happened:?}");
    for name in ["alarm: log forked", "trees cosigned", "quorums that counted"] {
        assert!(happened.contains_key(name), "{name}: {happened:?}");
    }
}

#[test]
fn scenarios_that_once_broke_a_promise_do_not_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("seed="));
        for line in lines {
            holds(&line.parse().unwrap());
        }
    }
}

#[test]
fn a_scenario_is_the_same_history_every_time_and_survives_as_text() {
    for seed in [3, u64::MAX] {
        let scenario = Scenario::of(seed);
        let again: Scenario = scenario.to_string().parse().unwrap();
        assert_eq!(again, scenario);
        assert_eq!(holds(&again), holds(&scenario));
    }
    let quiet: Scenario = "seed=9 messages=2 minutes=1 faults=none sabotage=deaf".parse().unwrap();
    assert_eq!(quiet.to_string(), "seed=9 messages=2 minutes=1 faults=none sabotage=deaf");
    let dying = "seed=9 messages=2 minutes=1 faults=none dies=3.torn.12";
    assert_eq!(dying.parse::<Scenario>().unwrap().to_string(), dying);
    for wrong in [
        "seed",
        "seed=x",
        "faults=fire",
        "sabotage=fire",
        "luck=1",
        "dies=1",
        "dies=1.send.x",
        "dies=1.fire.2",
    ] {
        assert!(wrong.parse::<Scenario>().is_err(), "{wrong}");
    }
}

#[test]
fn a_broker_whose_disk_loses_flushed_turns_is_caught() {
    assert!(matches!(caught(Sabotage::BrokerDisk), Broken::Log | Broken::Lost));
}

#[test]
fn an_agent_whose_disk_loses_flushed_turns_is_caught() {
    assert!(matches!(caught(Sabotage::AgentDisk), Broken::Lost | Broken::Stuck | Broken::Log));
}

#[test]
fn a_packet_that_is_stored_twice_is_caught() {
    assert_eq!(caught(Sabotage::Twice), Broken::Twice);
}

#[test]
fn acknowledgements_that_never_arrive_are_caught() {
    assert_eq!(caught(Sabotage::Deaf), Broken::Stuck);
}

#[test]
fn what_a_broker_with_hardly_any_room_puts_off_goes_through_in_the_end() {
    let summary = holds(&"seed=2 messages=10 minutes=3 faults=scarce".parse().unwrap());
    assert_eq!(summary.accepted, 10);
    for name in ["packets put off: mailbox full", "packets put off: over quota"] {
        assert!(summary.faults.contains_key(name), "{summary:?}");
    }
}

#[test]
fn packets_that_were_put_off_and_are_never_brought_again_are_caught() {
    let scenarios = (1..=10).map(|seed| format!("seed={seed} messages=20 minutes=3 faults=scarce"));
    let mut scenarios = scenarios.map(|text| text.parse::<Scenario>().unwrap().sabotaged(Sabotage::Untold));
    let seen = scenarios.find_map(|scenario| sim::run(&scenario).err());
    assert_eq!(seen.unwrap().broken, Broken::Stuck);
}

#[test]
fn a_packet_outside_the_covenant_is_caught() {
    assert_eq!(caught(Sabotage::Wide), Broken::Covenant);
}

#[test]
fn a_disk_that_gives_damaged_packets_is_caught() {
    let faults = "faults=bit-rot,partition,reset,crash messages=20 minutes=3 sabotage=unchecked";
    let scenarios = (1..=40).map(|seed| format!("seed={seed} {faults}").parse::<Scenario>().unwrap());
    let seen = scenarios.into_iter().find_map(|scenario| sim::run(&scenario).err());
    let seen = seen.unwrap().broken;
    assert!(matches!(seen, Broken::Start | Broken::Log | Broken::Lost | Broken::Stuck), "{seen:?}");
}

/// What is seen of a broker that cheats, where something is broken on purpose besides.
fn caught_cheating(sabotage: Sabotage) -> Broken {
    let mut scenarios = (1..=30).map(|seed| Scenario::crooked(seed).sabotaged(sabotage));
    scenarios.find_map(|scenario| sim::run(&scenario).err()).unwrap().broken
}

#[test]
fn an_agent_that_forgets_what_it_pinned_is_caught() {
    assert_eq!(caught_cheating(Sabotage::Forgetful), Broken::Pin);
}

#[test]
fn a_witness_that_forgets_what_it_cosigned_is_caught() {
    let text = "messages=10 minutes=3 faults=crash,reset,crooked,witnesses sabotage=unmindful";
    let mut scenarios = (1..=10).map(|seed| format!("seed={seed} {text}").parse::<Scenario>().unwrap());
    assert_eq!(scenarios.find_map(|scenario| sim::run(&scenario).err()).unwrap().broken, Broken::Witness);
}

#[test]
fn a_packet_that_its_sender_did_not_seal_is_caught() {
    assert_eq!(caught_cheating(Sabotage::StolenKey), Broken::Invented);
}

#[test]
fn a_failure_shrinks_to_less_that_fails_alike() {
    let failed = Scenario::of(1).sabotaged(Sabotage::Deaf);
    let smallest = sim::shrink(&failed, Broken::Stuck);
    assert!(smallest.messages < failed.messages && smallest.faults.is_empty(), "{smallest}");
    assert_eq!(sim::run(&smallest).unwrap_err().broken, Broken::Stuck);
}
