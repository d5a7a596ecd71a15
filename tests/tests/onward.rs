//! Passing on with real processes: what the police said is passed on by the municipality only with their signed
//! consent, and youth work's agent holds to that by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use common::{Scene, wait_for_inbox};
use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::{FOUR, text};
use serde_json::Value;

/// The `n`th sample of a flow.
fn sample(flow: &str, n: usize) -> Sample {
    samples::among(&FOUR).unwrap().into_iter().filter(|sample| sample.flow == flow).nth(n).unwrap()
}

#[test]
fn what_the_police_said_is_passed_on_with_their_consent_alone() {
    let scene = Scene::with(&["gemeente", "politie", "jongerenwerk"]);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let _agents = scene.agents();
    let [town, police, youth] = ["gemeente", "politie", "jongerenwerk"].map(|role| stage.member(role));
    let names = sample("F09", 0);
    stage.prepare(&names).unwrap();
    let said = stage.push(police, &[&names.path.to_string_lossy()]).unwrap();
    assert_eq!(text(&said, "state"), "accepted", "{said}");
    wait_for_inbox(stage, town, 1);
    let got = stage.agent(town, &["inbox", "read", "0"]).unwrap();
    assert_eq!((text(&got, "origin"), text(&got, "handling")), (police.oin.as_str(), "consent"));

    // Youth work would learn of it: not without the police.
    let member = sample("F28", 1);
    let file = member.path.to_string_lossy().into_owned();
    let push = ["push", &file, "--from", "0", "--step", "2B"];
    let ran = stage.try_agent(town, &push).unwrap();
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let number = Refusal::ConsentMissing.number().to_string();
    assert!(ran.stderr.contains(&number) && ran.stderr.contains("consent give"), "{}", ran.stderr);
    let loose = [&push[..], &["--handling", "partners"]].concat();
    let ran = stage.try_agent(town, &loose).unwrap();
    assert!(ran.stderr.contains(&Refusal::HandlingLoosened.number().to_string()), "{}", ran.stderr);

    let give = [
        "consent",
        "give",
        text(&said, "msg_id"),
        "--holder",
        "gemeente",
        "--to",
        "jongerenwerk",
        "--reason",
        "nodig voor de aanpak",
        "--wait",
        "60",
    ];
    let given = stage.agent(police, &give).unwrap();
    assert_eq!(text(&given, "state"), "accepted", "{given}");
    wait_for_inbox(stage, town, 2);
    let held = stage.agent(town, &["consent", "list"]).unwrap();
    let held = &held.as_array().unwrap()[0];
    assert_eq!(
        (text(held, "origin"), &held["to"][0]),
        (police.oin.as_str(), &Value::from(youth.oin.as_str()))
    );
    assert_eq!(text(held, "packet"), text(&said, "packet"));

    let passed = stage.push(town, &push[1..]).unwrap();
    assert_eq!(text(&passed, "state"), "accepted", "{passed}");
    let inbox = wait_for_inbox(stage, youth, 1);
    assert_eq!(text(&inbox[0], "state"), "stored", "{}", inbox[0]);
    let read = stage.agent(youth, &["inbox", "read", "0"]).unwrap();
    assert_eq!((text(&read, "from"), text(&read, "origin")), (town.oin.as_str(), police.oin.as_str()));
    assert_eq!((text(&read, "handling"), text(&read, "source")), ("consent", text(&said, "packet")));
}
