//! A correction with real processes: everybody who got the message is told, and followed until it confirms.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::Path;

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::samples;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use serde_json::Value;

use crate::common::{Scene, inbox_of, wait_for_inbox};

const THREE: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];

fn inquiry() -> std::path::PathBuf {
    samples::covenants().join("samples/04-F04-verzoek-aan-drie-partijen.json")
}

/// Pushes the inquiry to police and youth work; its message id.
fn ask(stage: &Stage, town: &Member) -> String {
    let path = inquiry();
    let pushed =
        stage.agent(town, &["push", &path.to_string_lossy(), "--to", "politie,jongerenwerk", "--wait", "30"]);
    let pushed = pushed.unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    text(&pushed, "msg_id").to_owned()
}

fn correction(dir: &Path) -> String {
    let path = dir.join("correction.json");
    let body = r#"{"velden": ["/locatie/plek"], "reden": "onjuist", "toelichting": "Het plein ernaast."}"#;
    std::fs::write(&path, body).unwrap();
    path.to_string_lossy().into_owned()
}

/// The states of what was said, police first.
fn states(stage: &Stage, town: &Member) -> Vec<String> {
    let all = stage.agent(town, &["corrections", "list"]).unwrap();
    all.as_array().unwrap().iter().map(|row| text(row, "state").to_owned()).collect()
}

fn open(stage: &Stage, town: &Member) -> u64 {
    let status = stage.agent(town, &["status"]).unwrap();
    status["corrections"]["open"].as_u64().unwrap()
}

fn first(stage: &Stage, member: &Member) -> Value {
    inbox_of(stage, member).remove(0)
}

#[test]
fn a_correction_reaches_everybody_also_who_was_away_and_is_done_when_all_confirmed() {
    let scene = Scene::with(&THREE);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let mut agents = scene.agents();
    let [town, police, youth] = THREE.map(|role| stage.member(role));
    let id = ask(stage, town);
    wait_for_inbox(stage, police, 1);
    wait_for_inbox(stage, youth, 1);
    // Youth work goes away; it keeps its prekeys, so that what is for it can be sealed.
    agents.pop().unwrap().stop(PATIENCE).unwrap();
    let said = stage.agent(town, &["correct", &id, &correction(&stage.dir)]).unwrap();
    assert_eq!(said["corrections"].as_array().unwrap().len(), 2, "{said}");
    process::until("the police confirmed", PATIENCE, || states(stage, town) == ["done", "open"]).unwrap();
    assert_eq!(open(stage, town), 1);
    // The sender's agent dies without a word; what is open is not forgotten.
    agents.remove(0).kill().unwrap();
    assert_eq!(states(stage, town), ["done", "open"], "the store says so too");
    agents.insert(0, scene.agent("gemeente"));
    assert_eq!(open(stage, town), 1);
    agents.push(scene.agent("jongerenwerk"));
    process::until("all confirmed", PATIENCE, || states(stage, town) == ["done", "done"]).unwrap();
    assert_eq!(open(stage, town), 0);
    for member in [police, youth] {
        let row = first(stage, member);
        assert_eq!((text(&row, "msg_id"), text(&row, "revised")), (id.as_str(), "corrected"), "{row}");
        assert!(stage.agent(member, &["inbox", "read", &id]).unwrap().to_string().contains("halve doelen"));
    }
    drop(agents);
}

#[test]
fn a_withdrawn_body_is_not_shown_unasked_and_offline_works_as_for_a_push() {
    let scene = Scene::with(&THREE);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let mut agents = scene.agents();
    let [town, police, _] = THREE.map(|role| stage.member(role));
    let id = ask(stage, town);
    wait_for_inbox(stage, police, 1);
    agents.remove(0).stop(PATIENCE).unwrap();
    // On the store itself: the daemon says it once it runs.
    let args = ["withdraw", &id, "--reason", "verkeerde_ontvanger"];
    stage.agent(town, &args).unwrap();
    assert_eq!(states(stage, town), ["open", "open"]);
    let again = stage.try_agent(town, &args).unwrap();
    let said = again.stdout + &again.stderr;
    assert!(again.code == 1 && said.contains(&Refusal::AlreadyWithdrawn.number().to_string()), "{said}");
    agents.insert(0, scene.agent("gemeente"));
    process::until("all confirmed", PATIENCE, || states(stage, town) == ["done", "done"]).unwrap();
    assert_eq!(text(&first(stage, police), "revised"), "withdrawn");
    let refused = stage.try_agent(police, &["inbox", "read", &id]).unwrap();
    let said = refused.stdout + &refused.stderr;
    assert!(refused.code == 1 && !said.contains("halve doelen"), "{said}");
    // A message of nobody, and a reason the covenant does not know.
    let unknown = "019a0001-7002-8003-8405-060708090a0b";
    let ran = stage.try_agent(town, &["withdraw", unknown, "--reason", "onjuist"]).unwrap();
    assert!((ran.stdout + &ran.stderr).contains(&Refusal::UnknownMessage.number().to_string()));
    let other = ask(stage, town);
    let ran = stage.try_agent(town, &["withdraw", &other, "--reason", "zomaar"]).unwrap();
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(states(stage, town).len(), 2);
    drop(agents);
}
