//! Histories of a whole partnership in a world drawn from a seed, and proof that what looks at them sees.
#![cfg(test)]

use std::path::Path;

use seinhuis_tests::sim::{self, Broken, Fault, Sabotage, Scenario};

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
    let mut scenarios = (1..=30).map(|seed| Scenario::of(seed).sabotaged(sabotage));
    let seen = scenarios.find_map(|scenario| sim::run(&scenario).err());
    seen.unwrap_or_else(|| panic!("nobody sees {sabotage:?}")).broken
}

#[test]
fn histories_with_every_fault_break_no_promise() {
    let (mut accepted, mut ended, mut faults) = (0, 0, std::collections::BTreeMap::new());
    for seed in 1..=24 {
        let summary = holds(&Scenario::of(seed));
        accepted += summary.accepted;
        ended += summary.ended;
        for (fault, count) in summary.faults {
            *faults.entry(fault).or_insert(0) += count;
        }
    }
    assert!(accepted > 120, "most of what is pushed is accepted: {accepted}");
    assert!(ended > 0, "some of it is taken back or expires");
    for (fault, name) in Fault::ALL {
        let drawn = fault == Fault::TakeBack || faults.get(name).is_some_and(|count| *count > 10);
        assert!(drawn, "{name} happens: {faults:?}");
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
    for wrong in ["seed", "seed=x", "faults=fire", "sabotage=fire", "luck=1"] {
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
fn a_packet_outside_the_covenant_is_caught() {
    assert_eq!(caught(Sabotage::Wide), Broken::Covenant);
}

#[test]
fn a_failure_shrinks_to_less_that_fails_alike() {
    let failed = Scenario::of(1).sabotaged(Sabotage::Deaf);
    let smallest = sim::shrink(&failed, Broken::Stuck);
    assert!(smallest.messages < failed.messages && smallest.faults.is_empty(), "{smallest}");
    assert_eq!(sim::run(&smallest).unwrap_err().broken, Broken::Stuck);
}
