//! Mail in flight with real processes: what the model covenant says of a withdrawal and of a revocation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_shared::entry::Kind;
use seinhuis_tests::samples::covenants;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Stage, process};
use serde_json::Value;

use crate::common::{Scene, inbox_of};

fn queue(stage: &Stage) -> Value {
    stage.broker(&["status"]).unwrap()["queues"][0].clone()
}

#[test]
fn what_waits_is_shredded_for_a_revocation_and_frozen_for_a_withdrawal_also_after_a_crash() {
    let scene = Scene::with(&["gemeente", "politie", "jongerenwerk"]);
    let stage = &scene.stage;
    let broker = scene.broker();
    let agents = scene.agents();
    let mut kept = Vec::new();
    for (member, agent) in stage.members.iter().zip(agents) {
        if member.role == "gemeente" {
            // In an orderly way: what is offered on a session that may still be alive is left alone.
            agent.stop(PATIENCE).unwrap();
        } else {
            kept.push(agent);
        }
    }
    process::until("its session is over", PATIENCE, || stage.broker(&["status"]).unwrap()["connected"] == 2)
        .unwrap();
    for (role, file) in
        [("politie", "02-F02-politie-signaal.json"), ("jongerenwerk", "01-F01-jongerenwerk-signaal.json")]
    {
        let file = covenants().join("samples").join(file);
        let push = ["push", &file.to_string_lossy(), "--wait", "30"];
        let pushed = stage.agent(stage.member(role), &push).unwrap();
        assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    }
    assert_eq!((&queue(stage)["packets"], &queue(stage)["frozen"]), (&Value::from(2), &Value::from(0)));

    stage.revoke(stage.member("politie")).unwrap();
    let log = stage.log_tail(1000).unwrap();
    let revoked = log.iter().position(|entry| entry.detail.as_deref() == Some("revoked")).unwrap();
    let shredded = &log[revoked + 1];
    assert_eq!((shredded.kind, shredded.reason), (Kind::Shredded, Some(204)));
    assert_eq!(shredded.detail, Some((revoked + 1).to_string()), "the whole log was asked for");
    assert_eq!(queue(stage)["packets"], 1);

    let youth = stage.member("jongerenwerk");
    let known = stage.agent(youth, &["covenant", "list"]).unwrap();
    stage.agent(youth, &["covenant", "withdraw", text(&known[0], "hash")]).unwrap();
    process::until("the withdrawal is logged", PATIENCE, || queue(stage)["frozen"] == 1).unwrap();
    broker.kill().unwrap();
    let _broker = scene.broker();
    assert_eq!((&queue(stage)["packets"], &queue(stage)["frozen"]), (&Value::from(1), &Value::from(1)));

    let _agent = scene.agent("gemeente");
    let town = stage.member("gemeente");
    process::until("the municipality is connected", PATIENCE, || {
        stage.agent(town, &["status"]).unwrap()["link"]["connected"] == true
    })
    .unwrap();
    // It comes before any offer, on the same stream.
    process::until("the municipality knows of the withdrawal", PATIENCE, || {
        let known = stage.agent(town, &["covenant", "list"]).unwrap();
        text(&known[0], "state") == "withdrawn"
    })
    .unwrap();
    assert_eq!(inbox_of(stage, town), Vec::<Value>::new());
    assert_eq!(queue(stage)["packets"], 1);
}
