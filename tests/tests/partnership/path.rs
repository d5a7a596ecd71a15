//! The main path with real processes: what is pushed arrives, once, and the log remembers it.

use seinhuis_shared::entry::Kind;
use seinhuis_tests::samples;
use seinhuis_tests::stage::{FOUR, text};

use crate::common::{self, Scene, wait_for_inbox};

#[test]
fn a_signal_reaches_its_recipient_and_the_log_says_so() {
    let scene = Scene::with(&["gemeente", "jongerenwerk"]);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let _agents = scene.agents();
    let sample = &samples::among(&["gemeente", "jongerenwerk"]).unwrap()[0];
    let sender = stage.member(&sample.from);
    let recipient = stage.member(&sample.to[0]);
    let pushed = stage.push(sender, &[&sample.path.to_string_lossy()]).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    let inbox = wait_for_inbox(stage, recipient, 1);
    assert_eq!(text(&inbox[0], "msg_id"), text(&pushed, "msg_id"));
    assert_eq!(text(&inbox[0], "state"), "stored");
    let read = stage.agent(recipient, &["inbox", "read", text(&pushed, "msg_id")]).unwrap();
    assert!(read.to_string().contains(&sample.canary), "the body arrives: {read}");
    let log = stage.log_tail(100).unwrap();
    for kind in [Kind::Start, Kind::Partner, Kind::Covenant, Kind::Key, Kind::Accepted, Kind::Delivered] {
        assert!(log.iter().any(|entry| entry.kind == kind), "{kind} is in the log");
    }
}

#[test]
fn every_sample_four_partners_can_send_arrives_and_leaves_no_trace_at_the_broker() {
    let scene = Scene::with(&FOUR);
    let stage = &scene.stage;
    let broker = scene.broker();
    let agents = scene.agents();
    let samples = samples::among(&FOUR).unwrap();
    let mut expected = std::collections::BTreeMap::new();
    for sample in &samples {
        stage.prepare(sample).unwrap();
        let sender = stage.member(&sample.from);
        let pushed = stage.push(sender, &[&sample.path.to_string_lossy()]).unwrap();
        assert_eq!(text(&pushed, "state"), "accepted", "{}: {pushed}", sample.path.display());
        for role in &sample.to {
            *expected.entry(role.clone()).or_insert(0) += 1;
            if sample.flow == "F36" {
                // Its recipient's agent answers by itself.
                *expected.entry(sample.from.clone()).or_insert(0) += 1;
            }
        }
    }
    for (role, count) in &expected {
        wait_for_inbox(stage, stage.member(role), *count);
    }
    broker.stop(seinhuis_tests::stage::PATIENCE).unwrap();
    drop(agents);
    let found = common::search(&stage.broker_home(), samples.iter().map(|sample| sample.canary.as_str()));
    assert_eq!(found, Vec::<String>::new(), "the broker's files hold no word of any body");
}
