//! The operator suspends a partner, and a flow: nothing is lost, nothing is refused, and everything goes on by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_tests::process::{Program, Ran, until};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, samples};
use serde_json::Value;

use crate::common::{Scene, inbox_of, wait_for_inbox};

const CAST: [&str; 4] = ["gemeente", "politie", "jongerenwerk", "boa"];
const REASON: &str = "Storing bij de partner, in overleg opgeschort.";

fn ran(stage: &Stage, args: &[&str]) -> Ran {
    let home = stage.broker_home().to_string_lossy().into_owned();
    let all: Vec<&str> = ["--home", &home, "--json"].into_iter().chain(args.iter().copied()).collect();
    stage.programs.run(Program::Broker, &all).unwrap()
}

fn act(stage: &Stage, what: &str, does: &str, which: &str) -> Value {
    stage.broker(&[what, does, which, "--reason", REASON]).unwrap()
}

/// Pushes the sample of a flow; it is kept and not waited for.
fn push(stage: &Stage, from: &Member, flow: &str) -> String {
    let sample = samples::among(&CAST).unwrap().into_iter().find(|sample| sample.flow == flow).unwrap();
    let pushed = stage.agent(from, &["push", &sample.path.to_string_lossy()]).unwrap();
    text(&pushed, "msg_id").to_owned()
}

/// Waits until the agent says that it is turned away, or put off, with 609.
fn is_put_off(stage: &Stage, member: &Member) {
    until("its agent says so", PATIENCE, || {
        stage.agent(member, &["status"]).unwrap()["link"]["refusal"] == Refusal::Suspended.number()
    })
    .unwrap();
}

fn is_connected(stage: &Stage, member: &Member) -> bool {
    stage.agent(member, &["status"]).unwrap()["link"]["connected"] == true
}

fn entry_of(stage: &Stage, kind: Kind, detail: &str) -> Entry {
    let is = |entry: &Entry| entry.kind == kind && entry.detail.as_deref() == Some(detail);
    stage.log_tail(200).unwrap().into_iter().rfind(is).unwrap()
}

#[test]
fn a_suspended_partner_pushes_and_waits_and_all_of_it_arrives_when_it_is_resumed() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    let broker = scene.broker();
    let _agents = scene.agents();
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    assert_eq!(ran(stage, &["partner", "suspend", &police.oin, "--reason", "stuk"]).code, 2, "no reason");
    assert!(act(stage, "partner", "suspend", &police.oin)["entry"].is_u64());
    assert_eq!(act(stage, "partner", "suspend", &police.oin)["unchanged"], true);
    is_put_off(stage, police);
    let is_out = || {
        let partners = stage.broker(&["partner", "list"]).unwrap();
        let row = partners.as_array().unwrap().iter().find(|row| row["oin"] == police.oin.as_str()).unwrap();
        row["suspended"].is_string() && row["connected"].is_null() && row["revoked"].is_null()
    };
    assert!(is_out());
    let told = stage.broker(&["status"]).unwrap();
    assert_eq!(told["suspended"]["partners"][0]["oin"], police.oin.as_str(), "{told}");
    let entry = entry_of(stage, Kind::Partner, "suspended");
    assert_eq!(entry.subject.unwrap().as_str(), police.oin);
    assert_eq!(entry.statement, Some(sha256(REASON.as_bytes())));

    // It pushes, and its agent keeps that; what is sent to it is accepted and waits.
    let own = push(stage, police, "F02");
    let pushed = push(stage, town, "F04");
    let state =
        |member: &Member, id: &str| stage.agent(member, &["outbox", "show", id]).unwrap()["state"].clone();
    until("it is accepted", PATIENCE, || state(town, &pushed) == "accepted").unwrap();
    broker.stop(PATIENCE).unwrap();
    // It is still suspended, and its agent still counts as one that witnessed the log.
    let _broker = scene.broker();
    until("the town is back", PATIENCE, || is_connected(stage, town)).unwrap();
    assert!(is_out());
    assert_ne!(state(police, &own), "accepted");
    assert!(inbox_of(stage, town).is_empty() && inbox_of(stage, police).is_empty());

    assert!(act(stage, "partner", "resume", &police.oin)["entry"].is_u64());
    assert_eq!(act(stage, "partner", "resume", &police.oin)["unchanged"], true);
    assert_eq!(entry_of(stage, Kind::Partner, "resumed").subject.unwrap().as_str(), police.oin);
    // Who was put off often waits for a minute before it tries again.
    until("the police are back", PATIENCE * 3, || is_connected(stage, police)).unwrap();
    wait_for_inbox(stage, town, 1);
    wait_for_inbox(stage, police, 1);
    for member in [town, police] {
        assert_eq!(stage.agent(member, &["status"]).unwrap()["alarms"], Value::Array(vec![]));
    }
    let refused = stage.log_tail(1000).unwrap().into_iter().filter(|entry| entry.kind == Kind::Refused);
    assert_eq!(refused.count(), 0, "nothing was refused, nor does a hello that is put off fill the log");
}

#[test]
fn what_is_sent_on_a_suspended_flow_waits_at_its_sender_until_the_flow_is_resumed() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let _agents = scene.agents();
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let youth = stage.member("jongerenwerk");
    let unknown = ran(stage, &["flow", "suspend", "F2", "--reason", REASON]);
    assert!(unknown.code == 1 && unknown.stderr.contains("404"), "{unknown:?}");
    assert!(act(stage, "flow", "suspend", "F02")["entry"].is_u64());
    let entry = entry_of(stage, Kind::Operator, "suspended");
    assert_eq!(entry.flow.as_deref(), Some("F02"));
    assert_eq!(entry.statement, Some(sha256(REASON.as_bytes())));
    let suspended = || -> Vec<String> {
        let flows = stage.broker(&["flow", "list"]).unwrap();
        let all = flows.as_array().unwrap().iter().filter(|row| row["suspended"].is_string());
        all.map(|row| text(row, "flow").to_owned()).collect()
    };
    assert_eq!(suspended(), ["F02"]);

    let own = push(stage, police, "F02");
    push(stage, youth, "F01");
    wait_for_inbox(stage, town, 1);
    let shown = || stage.agent(police, &["outbox", "show", &own]).unwrap();
    let is_put_off = || stage.agent(police, &["status"]).unwrap()["outbox"]["deferred"] == 1;
    until("it is put off", PATIENCE, is_put_off).unwrap();
    assert_ne!(shown()["state"], "accepted");
    assert!(act(stage, "flow", "resume", "F02")["entry"].is_u64());
    assert_eq!(act(stage, "flow", "resume", "F02")["unchanged"], true);
    assert!(suspended().is_empty());
    wait_for_inbox(stage, town, 2);
    until("it is accepted", PATIENCE, || shown()["state"] == "accepted").unwrap();
}
