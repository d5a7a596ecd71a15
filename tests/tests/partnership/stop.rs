//! Processes that are asked to stop: who was heard gets an answer, nobody new comes in, and nothing stays in doubt.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_agent::{Agent, AgentOptions};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::frame::{self, Kind as Frame};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{Message as _, Refuse, Verdict};
use seinhuis_tests::forge::{Forge, Lock, new_id};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Raw, Stage, process};
use tokio::runtime::{Builder, Runtime};

use crate::common::{self, Scene, outbox_of, town::sample};

const ROLES: [&str; 2] = ["gemeente", "politie"];

/// Right packets from the police to the municipality.
fn packets(stage: &Stage, count: usize) -> Vec<Vec<u8>> {
    let forge = Forge::of(stage, stage.member("politie")).unwrap();
    let lock = Lock::make().unwrap();
    let to = [(stage.member("gemeente").oin.parse().unwrap(), &lock.public)];
    let sample = sample("F02");
    (0..count).map(|_| forge.packet(&sample, &to, |_| ()).unwrap()).collect()
}

fn accepted(stage: &Stage) -> Vec<Entry> {
    let log = stage.log_tail(10_000).unwrap();
    log.into_iter().filter(|entry| entry.kind == Kind::Accepted).collect()
}

#[test]
fn what_a_stopping_broker_read_has_its_answer_and_the_rest_is_in_no_log() {
    let scene = Scene::unwatched(&ROLES);
    let stage = &scene.stage;
    let mut broker = scene.broker();
    let packets = packets(stage, 400);
    let runtime = Runtime::new().unwrap();
    let answered = runtime.block_on(async {
        let mut raw = Raw::open(&stage.member("politie").home).await.unwrap();
        let mut bytes: Vec<u8> =
            packets.iter().flat_map(|packet| frame::encode(Frame::Submit, packet).unwrap()).collect();
        // The last one never comes in whole: whenever the broker stops, there is one it did not read.
        bytes.pop();
        raw.send_raw(&bytes).await.unwrap();
        let mut answered = BTreeSet::new();
        loop {
            let (kind, payload) = raw.on_lane().await.unwrap();
            if kind == Frame::Refuse {
                let Refuse { reason, retry_after } = Refuse::parse(&payload).unwrap();
                assert_eq!(reason, Refusal::Stopping.number());
                assert!(retry_after.is_some_and(|after| after > 0), "it says when to come back");
                break;
            }
            let verdict = Verdict::parse(&payload).unwrap();
            assert_eq!(verdict.outcome, 0);
            if answered.is_empty() {
                broker.ask_to_stop().unwrap();
            }
            answered.insert(verdict.packet);
        }
        assert_eq!(raw.closed().await.refusal(), Some(Refusal::Stopping));
        answered
    });
    assert!(broker.wait(PATIENCE).unwrap().success());
    assert!(answered.len() < packets.len());
    let _broker = scene.broker();
    let logged: BTreeSet<Digest> = accepted(stage).iter().map(|entry| entry.packet.unwrap()).collect();
    assert_eq!(logged, answered, "accepted is what was answered, no more and no less");
    let log = stage.log_tail(10_000).unwrap();
    let stop = log.iter().rposition(|entry| entry.detail.as_deref() == Some("stopping")).unwrap();
    assert!(log[stop..].iter().all(|entry| entry.kind != Kind::Accepted), "it is the last thing it says");
}

#[test]
fn who_does_not_read_keeps_no_broker_from_stopping_and_nobody_new_comes_in() {
    let scene = Scene::unwatched(&ROLES);
    let stage = &scene.stage;
    let mut broker = scene.broker();
    let packet = packets(stage, 1).remove(0);
    // Nothing of this peer runs but within `block_on`: after it, it is frozen.
    let frozen = Builder::new_current_thread().enable_all().build().unwrap();
    let raw = frozen.block_on(async {
        let mut raw = Raw::open(&stage.member("politie").home).await.unwrap();
        raw.verdict(&packet).await.unwrap();
        raw
    });
    broker.ask_to_stop().unwrap();
    let runtime = Runtime::new().unwrap();
    let told = || std::fs::read_to_string(stage.log_of("broker")).unwrap();
    process::until("the broker begins to stop", PATIENCE, || told().contains("stopping")).unwrap();
    assert!(!told().contains("did not read their last answers"));
    let late = runtime.block_on(Raw::open(&stage.member("gemeente").home));
    assert!(late.is_err(), "a broker that stops lets nobody in");
    assert!(broker.wait(PATIENCE).unwrap().success());
    frozen.block_on(async { assert_eq!(raw.closed().await.refusal(), Some(Refusal::Stopping)) });
    assert_eq!(accepted_by_restart(&scene), 1);
}

fn accepted_by_restart(scene: &Scene) -> usize {
    let _broker = scene.broker();
    accepted(&scene.stage).len()
}

#[test]
fn who_takes_in_nothing_more_still_gets_the_answers_to_what_it_submits() {
    let scene = Scene::unwatched(&ROLES);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut police = Raw::open(&stage.member("politie").home).await.unwrap();
        let mut town = Raw::open(&stage.member("gemeente").home).await.unwrap();
        let packets = packets(stage, 40);
        police.verdict(&packets[0]).await.unwrap();
        town.offer().await.unwrap();
        town.stop_deliveries();
        // What the town is offered from here on cannot be told to it.
        for packet in &packets[1..20] {
            police.verdict(packet).await.unwrap();
        }
        let own = town_packet(stage);
        assert_eq!(town.verdict(&own).await.unwrap().0.outcome, 0);
        for packet in &packets[20..] {
            police.verdict(packet).await.unwrap();
        }
        town.finish_lane();
        assert!(town.on_lane().await.is_err(), "the lane ends as it should");
        assert!(town.conn.close_reason().is_none(), "the connection is the agent's to close");
    });
}

/// A right packet from the municipality to the police.
fn town_packet(stage: &Stage) -> Vec<u8> {
    let forge = Forge::of(stage, stage.member("gemeente")).unwrap();
    let lock = Lock::make().unwrap();
    let to = [(stage.member("politie").oin.parse().unwrap(), &lock.public)];
    forge.packet(&sample("F04"), &to, |_| ()).unwrap()
}

#[test]
fn an_agent_that_stops_leaves_nothing_it_said_without_an_answer() {
    let scene = Scene::unwatched(&ROLES);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let sender = stage.member("politie");
    let recipient = scene.agent("gemeente");
    let runtime = Runtime::new().unwrap();
    let sample = sample("F02");
    let options = AgentOptions { home: sender.home.clone(), connect: true };
    runtime.block_on(async {
        let agent = Agent::start(&options).unwrap();
        let first = new_id();
        agent.push(sample.request(first)).await.unwrap();
        agent.wait_done(first).await.unwrap();
        for _ in 0..200 {
            agent.push(sample.request(new_id())).await.unwrap();
        }
        agent.shutdown().await.unwrap();
    });
    let states: BTreeMap<String, String> = outbox_of(stage, sender)
        .iter()
        .map(|row| (text(row, "msg_id").to_owned(), text(row, "state").to_owned()))
        .collect();
    let logged: BTreeSet<String> =
        accepted(stage).iter().map(|entry| entry.msg_id.unwrap().to_string()).collect();
    let decided: BTreeSet<String> =
        states.iter().filter(|(_, state)| *state == "accepted").map(|(id, _)| id.clone()).collect();
    let unknown: Vec<_> = logged.difference(&decided).map(|id| states.get(id)).collect();
    assert!(unknown.is_empty(), "accepted by the broker, and this agent does not know it: {unknown:?}");
    assert_eq!(decided.len(), logged.len(), "what this agent has as accepted is in the log");
    assert!(recipient.stop(PATIENCE).unwrap().success());
    let status = stage.broker(&["status"]).unwrap();
    let inbox = common::inbox_of(stage, stage.member("gemeente")).len();
    let waiting: u64 =
        status["queues"].as_array().unwrap().iter().filter_map(|row| row["packets"].as_u64()).sum();
    assert_eq!(inbox + usize::try_from(waiting).unwrap(), decided.len(), "what was received is acknowledged");
}
