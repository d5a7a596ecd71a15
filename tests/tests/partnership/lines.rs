//! Scripts at real agents: signals as lines of standard input, and deliveries as lines of standard output.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use serde_json::{Value, json};

use crate::common::{Scene, outbox_of, town, wait_for_inbox};

/// The police's signal about a group, as a line of a script.
fn line(id: &str, number: u32) -> String {
    let mut body = town::sample("F02").value["body"].clone();
    body["aantal_meldingen"] = json!(number);
    json!({ "id": id, "flow": "F02", "to": ["gemeente"], "step": "1", "body": body }).to_string()
}

#[test]
fn a_script_hands_signals_over_by_line_and_another_follows_what_comes() {
    let scene = Scene::with(&["gemeente", "politie"]);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let agents = scene.agents();

    let lines = [
        line("zaak-1", 1),
        line("zaak-2", 2),
        line("zaak-2", 3),
        line("zaak-1", 1),
        "{".to_owned(),
        line("zaak-3", 4),
    ];
    let (answers, code) = stage.push_lines(police, &lines).unwrap();
    assert_eq!((answers.len(), code), (6, 1), "{answers:?}");
    let numbers: Vec<&Value> = answers.iter().map(|answer| &answer["line"]).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(answers[2]["problem"]["refusal"], Refusal::Equivocation.number(), "{}", answers[2]);
    assert_eq!((&answers[3]["msg_id"], &answers[3]["repeated"]), (&answers[0]["msg_id"], &json!(true)));
    assert!(answers[4]["problem"]["what"].is_string() && answers[5]["problem"].is_null(), "{answers:?}");
    let (again, code) = stage.push_lines(police, &[line("zaak-3", 4)]).unwrap();
    assert_eq!((&again[0]["msg_id"], code), (&answers[5]["msg_id"], 0));
    wait_for_inbox(stage, town, 3);

    // Without an agent that runs the store itself is written to, under the same ids.
    drop(agents);
    let (offline, code) = stage.push_lines(police, &[line("zaak-3", 4), line("zaak-4", 5)]).unwrap();
    assert_eq!(
        (&offline[0]["msg_id"], &offline[1]["problem"], code),
        (&answers[5]["msg_id"], &Value::Null, 0)
    );
    assert_eq!(outbox_of(stage, police).len(), 4);
    let mut nobody = stage.piped_agent(town, &["inbox", "follow"]).unwrap();
    assert_eq!(nobody.wait().unwrap().code(), Some(2), "nothing comes without an agent");

    let agents = scene.agents();
    follow(stage, town, police);
    drop(agents);
}

/// Follows what waits and what comes, with and without taking over.
fn follow(stage: &Stage, town: &Member, police: &Member) {
    let mut watching = stage.piped_agent(town, &["inbox", "follow"]).unwrap();
    let mut seen = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&seen.next().unwrap().unwrap()).unwrap() };
    let waiting: Vec<Value> = (0..4).map(|_| next()).collect();
    let numbers: Vec<u64> =
        waiting.iter().map(|one| one["body"]["aantal_meldingen"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4, 5], "what waits, in order");

    let mut taking = stage.piped_agent(town, &["inbox", "follow", "--flow", "F02", "--consume"]).unwrap();
    let mut taken = BufReader::new(taking.stdout.take().unwrap()).lines();
    for one in &waiting {
        let line: Value = serde_json::from_str(&taken.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["msg_id"], one["msg_id"]);
    }
    stage.push_lines(police, &[line("zaak-5", 6)]).unwrap();
    assert_eq!(next()["body"]["aantal_meldingen"], 6, "what comes");
    let last: Value = serde_json::from_str(&taken.next().unwrap().unwrap()).unwrap();
    assert_eq!(last["body"]["aantal_meldingen"], 6);
    let id = text(&last, "msg_id").to_owned();
    process::until("its sender knows that it was taken over", PATIENCE, || {
        stage.agent(police, &["outbox", "show", &id]).unwrap()["reached"] == "consumed"
    })
    .unwrap();

    // Asked to stop, it ends well.
    _ = Command::new("kill").args(["-TERM", &taking.id().to_string()]).status().unwrap();
    assert_eq!(taking.wait().unwrap().code(), Some(0));
    // Nobody reads any more: what comes is not taken over by that.
    let mut deaf = stage.piped_agent(town, &["inbox", "follow", "--consume"]).unwrap();
    drop(deaf.stdout.take());
    stage.push_lines(police, &[line("zaak-6", 7)]).unwrap();
    assert_eq!(deaf.wait().unwrap().code(), Some(0));
    let last = next();
    let position = last["position"].as_u64().unwrap();
    let shown = wait_for_inbox(stage, town, 6);
    let row = shown.iter().find(|row| row["position"] == position).unwrap();
    assert!(row["consumed"].is_null(), "{row}");
    _ = Command::new("kill").args(["-TERM", &watching.id().to_string()]).status().unwrap();
    assert_eq!(watching.wait().unwrap().code(), Some(0));
}
