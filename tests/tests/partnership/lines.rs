//! Scripts at real agents: signals as lines of standard input, and deliveries as lines of standard output.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::process::Program;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use serde_json::{Value, json};

use crate::common::{Scene, outbox_of, town, wait_for_inbox};

/// A command of a member's agent with pipes.
fn start(stage: &Stage, member: &Member, args: &[&str]) -> Child {
    Command::new(&stage.programs.0)
        .args([Program::Agent.word(), "--lang", "en", "--home"])
        .arg(&member.home)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What is answered to lines, and the exit code.
fn push(stage: &Stage, member: &Member, lines: &[String]) -> (Vec<Value>, i32) {
    let mut child = start(stage, member, &["push", "--lines"]);
    let mut stdin = child.stdin.take().unwrap();
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let ran = child.wait_with_output().unwrap();
    let out = String::from_utf8(ran.stdout).unwrap();
    (out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), ran.status.code().unwrap())
}

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
    let (answers, code) = push(stage, police, &lines);
    assert_eq!((answers.len(), code), (6, 1), "{answers:?}");
    let numbers: Vec<&Value> = answers.iter().map(|answer| &answer["line"]).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(answers[2]["problem"]["refusal"], Refusal::Equivocation.number(), "{}", answers[2]);
    assert_eq!((&answers[3]["msg_id"], &answers[3]["repeated"]), (&answers[0]["msg_id"], &json!(true)));
    assert!(answers[4]["problem"]["what"].is_string() && answers[5]["problem"].is_null(), "{answers:?}");
    let (again, code) = push(stage, police, &[line("zaak-3", 4)]);
    assert_eq!((&again[0]["msg_id"], code), (&answers[5]["msg_id"], 0));
    wait_for_inbox(stage, town, 3);

    // Without an agent that runs the store itself is written to, under the same ids.
    drop(agents);
    let (offline, code) = push(stage, police, &[line("zaak-3", 4), line("zaak-4", 5)]);
    assert_eq!(
        (&offline[0]["msg_id"], &offline[1]["problem"], code),
        (&answers[5]["msg_id"], &Value::Null, 0)
    );
    assert_eq!(outbox_of(stage, police).len(), 4);
    let mut nobody = start(stage, town, &["inbox", "follow"]);
    assert_eq!(nobody.wait().unwrap().code(), Some(2), "nothing comes without an agent");

    let agents = scene.agents();
    follow(stage, town, police);
    drop(agents);
}

/// Follows what waits and what comes, with and without taking over.
fn follow(stage: &Stage, town: &Member, police: &Member) {
    let mut watching = start(stage, town, &["inbox", "follow"]);
    let mut seen = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&seen.next().unwrap().unwrap()).unwrap() };
    let waiting: Vec<Value> = (0..4).map(|_| next()).collect();
    let numbers: Vec<u64> =
        waiting.iter().map(|one| one["body"]["aantal_meldingen"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4, 5], "what waits, in order");

    let mut taking = start(stage, town, &["inbox", "follow", "--flow", "F02", "--consume"]);
    let mut taken = BufReader::new(taking.stdout.take().unwrap()).lines();
    for one in &waiting {
        let line: Value = serde_json::from_str(&taken.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["msg_id"], one["msg_id"]);
    }
    push(stage, police, &[line("zaak-5", 6)]);
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
    let mut deaf = start(stage, town, &["inbox", "follow", "--consume"]);
    drop(deaf.stdout.take());
    push(stage, police, &[line("zaak-6", 7)]);
    assert_eq!(deaf.wait().unwrap().code(), Some(0));
    let last = next();
    let position = last["position"].as_u64().unwrap();
    let shown = wait_for_inbox(stage, town, 6);
    let row = shown.iter().find(|row| row["position"] == position).unwrap();
    assert!(row["consumed"].is_null(), "{row}");
    _ = Command::new("kill").args(["-TERM", &watching.id().to_string()]).status().unwrap();
    assert_eq!(watching.wait().unwrap().code(), Some(0));
}
