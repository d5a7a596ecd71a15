//! Quotas with real processes: agents that bring too much wait by themselves, and lose nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_agent::{Agent, AgentOptions, Stage as Fate};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::Raw;
use seinhuis_tests::forge::new_id;
use seinhuis_tests::raw::Answer;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::common::{Scene, town::sample, wait_for_inbox};

const ROLES: [&str; 2] = ["jongerenwerk", "gemeente"];

/// Gives the broker of a partnership these quotas.
fn limit(scene: Scene, quota: &str) -> Scene {
    scene.stage.configure(&format!("\n[quota]\n{quota}")).unwrap();
    scene
}

/// What `status` shows of what was put off of a member.
fn put_off(scene: &Scene, role: &str) -> Value {
    let status = scene.stage.broker(&["status"]).unwrap();
    let rows = status["quotas"].as_array().unwrap();
    let oin = &scene.stage.member(role).oin;
    rows.iter().find(|row| row["oin"] == oin.as_str()).map(|row| row["put_off"].clone()).unwrap()
}

#[test]
fn an_agent_that_sends_too_fast_waits_and_everything_arrives_in_order_by_itself() {
    let scene = limit(Scene::with(&ROLES), "packets = 1\npackets_burst = 1\n");
    let stage = &scene.stage;
    let _broker = scene.broker();
    let (from, to) = (stage.member("jongerenwerk"), stage.member("gemeente"));
    let _to = scene.agent("gemeente");
    let runtime = Runtime::new().unwrap();
    let sample = sample("F01");
    let sent = runtime.block_on(async {
        let agent = Agent::start(&AgentOptions { home: from.home.clone(), connect: true }).unwrap();
        let mut sent = Vec::new();
        for _ in 0..6 {
            let msg_id = new_id();
            agent.push(sample.request(msg_id)).await.unwrap();
            sent.push(msg_id);
        }
        for msg_id in &sent {
            assert_eq!(agent.wait_done(*msg_id).await.unwrap().stage, Fate::Done);
        }
        sent
    });
    wait_for_inbox(stage, to, sent.len());
    let put_off = put_off(&scene, "jongerenwerk");
    assert!(put_off["packets"].as_u64().unwrap() > 0, "{put_off}");
    let accepted = stage.log_tail(1000).unwrap().into_iter().filter(|entry| entry.kind == Kind::Accepted);
    let order: Vec<_> = accepted.map(|entry| entry.msg_id.unwrap()).collect();
    assert_eq!(order, sent, "accepted in the order in which they were pushed");
}

#[test]
fn who_brings_rubbish_without_end_fills_no_log() {
    let scene = limit(Scene::unwatched(&ROLES), "refusals = 1\nrefusals_burst = 3\n");
    let stage = &scene.stage;
    let _broker = scene.broker();
    let runtime = Runtime::new().unwrap();
    let before = stage.log_tail(1000).unwrap().len();
    let (refused, deferred) = runtime.block_on(async {
        let mut raw = Raw::open(&stage.member("jongerenwerk").home).await.unwrap();
        let (mut refused, mut deferred) = (0, 0);
        for number in 0..500_u64 {
            raw.submit(&number.to_be_bytes()).await.unwrap();
            match raw.answer().await.unwrap() {
                Answer::Verdict(verdict) => {
                    assert_ne!(verdict.outcome, 0);
                    refused += 1;
                }
                Answer::Deferred(deferral) => {
                    assert_eq!(deferral.reason, Refusal::OverQuota.number());
                    assert!(deferral.retry_after >= 1000, "{}", deferral.retry_after);
                    deferred += 1;
                }
            }
        }
        raw.close().await;
        (refused, deferred)
    });
    assert_eq!(refused + deferred, 500_u64);
    assert!((3..50).contains(&refused), "{refused} in as many minutes");
    let entries = stage.log_tail(1000).unwrap();
    let told = |reason| entries[before..].iter().filter(|entry| entry.reason == Some(reason)).count();
    assert_eq!(told(Refusal::OverQuota.number()), 1, "the rest is told together");
    let of_refusals = entries[before..].iter().filter(|entry| entry.kind == Kind::Refused).count();
    assert_eq!(u64::try_from(of_refusals).unwrap(), refused + 1);
    assert_eq!(put_off(&scene, "jongerenwerk")["refusals"].as_u64().unwrap(), deferred);
}
