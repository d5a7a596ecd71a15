//! A signing key that hands over, with real processes: packets under way, agents that die, thieves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeMap;

use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::frame;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Rotation;
use seinhuis_shared::wire::{Message as _, Rotations};
use seinhuis_shell::{clock, keys};
use seinhuis_tests::forge::Lock;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Forge, Member, Process, Raw, Stage, process};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::common::{Scene, inbox_of, wait_for_inbox};

/// Who signals and who asks the others, in the first step and without a case.
const CAST: [&str; 4] = ["gemeente", "politie", "jongerenwerk", "boa"];

fn sample(flow: &str) -> Sample {
    samples::among(&CAST).unwrap().into_iter().find(|sample| sample.flow == flow).unwrap()
}

/// Pushes a sample; the packet's state in the end.
fn push(stage: &Stage, flow: &str) -> String {
    let sample = sample(flow);
    let args = ["push", &sample.path.to_string_lossy(), "--wait", "30"];
    text(&stage.agent(stage.member(&sample.from), &args).unwrap(), "state").to_owned()
}

/// Every member's agent by role, once they know each other's prekeys.
fn running(scene: &Scene) -> BTreeMap<&'static str, Process> {
    let roles = scene.stage.members.iter().map(|member| member.role);
    roles.zip(scene.agents()).collect()
}

fn key(stage: &Stage, member: &Member) -> Value {
    stage.agent(member, &["key", "show"]).unwrap()
}

/// Waits until a member's agent signs with its new key.
fn turned(stage: &Stage, member: &Member) -> Value {
    let done = || {
        let shown = key(stage, member);
        shown["turning"].is_null() && shown["rotations"].as_array().unwrap().len() == 1
    };
    process::until("the rotation is logged", PATIENCE, done).unwrap();
    key(stage, member)
}

fn rotations(stage: &Stage) -> Vec<Entry> {
    let log = stage.log_tail(1000).unwrap();
    log.into_iter().filter(|entry| entry.kind == Kind::KeyRotated).collect()
}

/// A packet goes either way between the police and the municipality.
fn both_directions(stage: &Stage, before: (usize, usize)) {
    assert_eq!((push(stage, "F02"), push(stage, "F04")), ("accepted".into(), "accepted".into()));
    wait_for_inbox(stage, stage.member("gemeente"), before.0 + 1);
    wait_for_inbox(stage, stage.member("politie"), before.1 + 1);
    for role in ["gemeente", "politie"] {
        let inbox = inbox_of(stage, stage.member(role));
        assert!(inbox.iter().all(|row| text(row, "state") == "stored"), "{role}: {inbox:?}");
        let status = stage.agent(stage.member(role), &["status"]).unwrap();
        assert_eq!(status["alarms"].as_array().map(Vec::len), Some(0), "{role}: {status}");
    }
}

#[test]
fn a_key_hands_over_while_a_packet_waits_for_a_partner_that_is_away() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let mut agents = running(&scene);
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let thief = Forge::of(stage, police).unwrap();
    let lock = Lock::make().unwrap();
    let before = key(stage, police);
    agents.remove("gemeente").unwrap().kill().unwrap();
    assert_eq!(push(stage, "F02"), "accepted", "under the old key, and it waits");
    let shown = stage.agent(police, &["key", "rotate"]).unwrap();
    assert!(shown["turning"].is_null(), "{shown}");
    let now = turned(stage, police);
    assert_ne!(text(&now, "key"), text(&before, "key"));
    assert_eq!(text(&now["rotations"][0], "old"), text(&before, "thumbprint"));
    assert_eq!(text(&now["rotations"][0], "new"), text(&now, "thumbprint"));
    let file = keys::load_signing(&police.home.join("keys/signing.key")).unwrap().public();
    assert_eq!(file.thumbprint().to_string(), text(&now, "thumbprint"), "the file is the new key's");
    assert!(!police.home.join("keys/signing.next.key").exists());
    let [entry] = rotations(stage).try_into().unwrap();
    assert_eq!(entry.subject.map(|oin| oin.to_string()), Some(police.oin.clone()));
    assert_eq!(entry.key.map(|key| key.to_string()).as_deref(), Some(text(&before, "thumbprint")));
    assert_eq!(entry.detail.as_deref(), Some(text(&now, "thumbprint")));
    // The partner comes back: what was accepted under the old key is good, and so is what comes now.
    agents.insert("gemeente", scene.agent("gemeente"));
    wait_for_inbox(stage, town, 1);
    both_directions(stage, (1, 0));
    let shown = key(stage, town);
    assert_eq!(shown["rotations"].as_array().unwrap().len(), 0, "the municipality's own key is the old one");
    // Who still has the old key, and the certificate, gets nothing in with it.
    let runtime = Runtime::new().unwrap();
    let mut raw = runtime.block_on(Raw::open(&police.home)).unwrap();
    let late = thief.packet(&sample("F02"), &[(town.oin.parse().unwrap(), &lock.public)], |_| ()).unwrap();
    let (verdict, _) = runtime.block_on(raw.verdict(&late)).unwrap();
    assert_eq!(Refusal::from_number(verdict.outcome), Some(Refusal::KeyGivenUp));
    let word = Vote {
        format: 1,
        covenant: Packet::parse(&late).unwrap().context().covenant,
        party: police.oin.parse().unwrap(),
        word: Word::Withdraw,
        issued: clock::now(),
        reason: String::new(),
    };
    let said = word.sign(&thief.key);
    let refused = runtime.block_on(raw.request(frame::Kind::Vote, &said, frame::Kind::Done)).unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::KeyGivenUp));
    runtime.block_on(raw.close());
    both_directions(stage, (2, 1));
    drop(agents);
}

#[test]
fn an_agent_that_dies_in_the_middle_of_a_rotation_comes_out_with_the_key_that_counts() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    let broker = scene.broker();
    let mut agents = running(&scene);
    both_directions(stage, (0, 0));
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let next = |member: &Member| member.home.join("keys/signing.next.key");
    // No broker hears it: the new key's file and the intention are there, and the agent dies.
    broker.kill().unwrap();
    let before = key(stage, town);
    let shown = stage.agent(town, &["key", "rotate"]).unwrap();
    assert_eq!(shown["turning"]["at_hand"], true, "{shown}");
    assert_eq!(text(&shown, "key"), text(&before, "key"), "the old key still counts");
    assert!(next(town).exists());
    agents.remove("gemeente").unwrap().kill().unwrap();
    // The police's is logged, and its agent dies before it hears that: by hand, with both of its keys.
    agents.remove("politie").unwrap().kill().unwrap();
    let logged = stage.agent(police, &["key", "rotate"]).unwrap();
    assert!(!logged["turning"].is_null(), "on the store itself: {logged}");
    let _broker = scene.broker();
    let load = |name: &str| keys::load_signing(&police.home.join("keys").join(name)).unwrap();
    let (old, new) = (load("signing.key"), load("signing.next.key"));
    let rotation = Rotation {
        party: police.oin.parse().unwrap(),
        seq: 1,
        previous: None,
        old: old.public(),
        new: new.public(),
        issued: clock::now(),
    };
    let runtime = Runtime::new().unwrap();
    // The two agents that run are enough witnesses, once they are back.
    let serves = || runtime.block_on(Raw::open(&police.home)).is_ok();
    process::until("the broker serves", PATIENCE, serves).unwrap();
    let raw = runtime.block_on(Raw::open(&police.home)).unwrap();
    let said = rotation.sign(&old, &new);
    let answer = runtime.block_on(raw.request(frame::Kind::Rotate, &said, frame::Kind::Rotations)).unwrap();
    assert_eq!(Rotations::parse(&answer).unwrap().rotations[0].rotation.0, said);
    runtime.block_on(raw.close());
    for role in ["gemeente", "politie"] {
        agents.insert(role, scene.agent(role));
    }
    for member in [town, police] {
        let after = turned(stage, member);
        let file = keys::load_signing(&member.home.join("keys/signing.key")).unwrap().public();
        assert_eq!(file.thumbprint().to_string(), text(&after, "thumbprint"), "{}", member.role);
        assert!(!next(member).exists(), "{}", member.role);
    }
    assert_eq!(text(&turned(stage, police), "thumbprint"), new.public().thumbprint().to_string());
    assert_ne!(text(&turned(stage, town), "key"), text(&before, "key"));
    assert_eq!(rotations(stage).len(), 2, "each once, however often it was said");
    both_directions(stage, (1, 1));
    drop(agents);
}
