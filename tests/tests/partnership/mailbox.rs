//! A packet that is damaged on the broker's disk: looked at, ended by the operator, told to its sender, sent again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_tests::Stage;
use seinhuis_tests::process::{Program, Ran, until};
use seinhuis_tests::stage::{PATIENCE, text};
use serde_json::Value;

use crate::common::{Scene, push, town::sample, wait_for_inbox};

const REASON: &str = "Bij het nalezen van de schijf beschadigd gevonden.";

fn mailbox(stage: &Stage, args: &[&str]) -> Ran {
    let home = stage.broker_home().to_string_lossy().into_owned();
    let all: Vec<&str> =
        ["--home", &home, "--json", "mailbox"].into_iter().chain(args.iter().copied()).collect();
    stage.programs.run(Program::Broker, &all).unwrap()
}

/// What waits, and whether the exit code says that it is damaged.
fn list(stage: &Stage) -> (i32, Value) {
    let ran = mailbox(stage, &["list"]);
    (ran.code, serde_json::from_str(&ran.stdout).unwrap())
}

/// The files of the journal.
fn files(stage: &Stage) -> Vec<PathBuf> {
    let journal = stage.broker_home().join("store/journal");
    std::fs::read_dir(journal).unwrap().map(|file| file.unwrap().path()).collect()
}

/// Turns a bit of the stored packet over; its bytes as they are then.
fn damage(stage: &Stage, packet: Digest, size: usize) -> Vec<u8> {
    for file in files(stage) {
        let mut bytes = std::fs::read(&file).unwrap();
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if let Some(at) = bytes[..written].windows(size).position(|window| sha256(window) == packet) {
            bytes[at + size / 2] ^= 1;
            // In place, as a disk does it: the broker has the file open.
            let (open, spoiled) = (File::options().write(true).open(&file).unwrap(), &bytes[at..at + size]);
            open.write_all_at(spoiled, u64::try_from(at).unwrap()).unwrap();
            return spoiled.to_vec();
        }
    }
    unreachable!("it is stored");
}

fn is_stored(stage: &Stage, bytes: &[u8]) -> bool {
    files(stage).iter().any(|file| memchr::memmem::find(&std::fs::read(file).unwrap(), bytes).is_some())
}

#[test]
fn a_damaged_packet_is_shown_ended_and_told_and_its_sender_sends_it_again() {
    let scene = Scene::with(&["jongerenwerk", "gemeente"]);
    let stage = &scene.stage;
    let (from, to) = (stage.member("jongerenwerk"), stage.member("gemeente"));
    let broker = scene.broker();
    let mut agents = scene.agents();
    let recipient = agents.remove(stage.members.iter().position(|member| member.role == to.role).unwrap());
    recipient.stop(PATIENCE).unwrap();
    assert_eq!(list(stage), (0, Value::Array(vec![])));
    let file = sample("F01").path.to_string_lossy().into_owned();
    let sent = stage.agent(from, &["push", &file, "--wait", "60"]).unwrap();
    let accepted =
        stage.log_tail(10).unwrap().into_iter().rfind(|entry| entry.kind == Kind::Accepted).unwrap();
    let packet = accepted.packet.unwrap();
    let (code, rows) = list(stage);
    assert_eq!((code, &rows[0]["oin"], &rows[0]["packets"]), (0, &to.oin.as_str().into(), &1.into()));
    assert_eq!(
        (text(&rows[0], "oldest"), &rows[0]["damaged"]),
        (accepted.time.to_string().as_str(), &Value::Array(vec![]))
    );
    let size = usize::try_from(rows[0]["bytes"].as_u64().unwrap()).unwrap();
    let drop = |packet: &str, reason: &str| mailbox(stage, &["drop", packet, "--reason", reason]);
    // What is whole is never dropped, nor what does not wait.
    let whole = drop(&packet.to_string(), REASON);
    assert!(whole.code == 1 && whole.stderr.contains("not damaged"), "{whole:?}");
    let unknown = drop(&sha256(b"").to_string(), REASON);
    assert!(unknown.code == 1 && unknown.stderr.contains("605"), "{unknown:?}");
    let spoiled = damage(stage, packet, size);
    let (code, rows) = list(stage);
    let damaged = &rows[0]["damaged"];
    assert_eq!((code, damaged.as_array().unwrap().len()), (1, 1), "{rows}");
    assert_eq!(
        (text(&damaged[0], "packet"), text(&damaged[0], "from")),
        (packet.to_string().as_str(), from.oin.as_str())
    );
    // What stands behind it goes on; it stays.
    push(stage, 1);
    let _recipient = scene.agent(to.role);
    wait_for_inbox(stage, to, 1);
    until("the other one is acknowledged", PATIENCE, || list(stage).1[0]["packets"] == 1).unwrap();
    assert_eq!(drop(&packet.to_string(), "stuk").code, 2, "that is no reason");
    let ended = drop(&packet.to_string(), REASON);
    assert_eq!(ended.code, 0, "{ended:?}");
    let entry = stage.log_tail(50).unwrap().into_iter().rfind(|entry| entry.kind == Kind::Shredded).unwrap();
    assert_eq!((entry.packet, entry.reason), (Some(packet), Some(Refusal::DamagedAtBroker.number())));
    assert_eq!((entry.statement, entry.detail), (Some(sha256(REASON.as_bytes())), None));
    assert_eq!(list(stage), (0, Value::Array(vec![])));
    assert_eq!(drop(&packet.to_string(), REASON).code, 1, "it is gone");
    assert!(!is_stored(stage, &spoiled), "a broker does not start on a damaged journal");
    broker.stop(PATIENCE).unwrap();
    let _broker = scene.broker();
    let id = text(&sent, "msg_id").to_owned();
    let reached = || stage.agent(from, &["outbox", "show", &id]).unwrap()["recipients"][0]["reached"].clone();
    until("its sender is told, with proof", PATIENCE, || reached() == "shredded").unwrap();
    push(stage, 1);
    wait_for_inbox(stage, to, 2);
    for member in [from, to] {
        assert_eq!(stage.agent(member, &["status"]).unwrap()["alarms"], Value::Array(vec![]));
    }
}
