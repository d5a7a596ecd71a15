//! What the operator of a real broker sees, and is told by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use seinhuis_tests::Stage;
use seinhuis_tests::process::{Program, Ran, until};
use seinhuis_tests::stage::PATIENCE;
use serde_json::Value;

use crate::common::{Scene, push, wait_for_inbox};

fn run(stage: &Stage, args: &[&str]) -> Ran {
    let home = stage.broker_home();
    let home = home.to_string_lossy();
    let all: Vec<&str> = ["--home", &home, "--lang", "nl"].into_iter().chain(args.iter().copied()).collect();
    stage.programs.run(Program::Broker, &all).unwrap()
}

fn board(stage: &Stage) -> Value {
    stage.broker(&["top", "--once"]).unwrap()
}

#[test]
fn the_operator_sees_what_goes_in_text_for_people_and_as_a_board_for_programs() {
    let scene = Scene::with(&["jongerenwerk", "gemeente"]);
    let stage = &scene.stage;
    let gone = run(stage, &["top", "--once"]);
    assert!(gone.code == 2 && gone.stderr.contains("draait niet"), "{gone:?}");
    let broker = scene.broker();
    let _agents = scene.agents();
    push(stage, 2);
    wait_for_inbox(stage, stage.member("gemeente"), 2);
    until("both are counted as stored", PATIENCE, || board(stage)["lanes"][0]["stored"] == 2).unwrap();
    let seen = board(stage);
    assert_eq!((&seen["lanes"][0]["accepted"], &seen["waiting"]), (&2.into(), &0.into()));
    assert_eq!(seen["quarters"].as_array().map(Vec::len), Some(96));
    let agents = seen["agents"].as_array().unwrap();
    let town = agents.iter().find(|agent| agent["oin"] == stage.member("gemeente").oin.as_str()).unwrap();
    let clock = (town["clock"]["least_ms"].as_i64().unwrap(), town["clock"]["most_ms"].as_i64().unwrap());
    assert!(clock.0 <= 0 && clock.1 >= 0, "there is one clock on this machine: {clock:?}");
    assert!(
        town["redelivered"] == 0 && town["prekeys_end"].is_u64() && town["certificate_ends"].is_u64(),
        "{town}"
    );
    let text = run(stage, &["top", "--once"]);
    assert_eq!(text.code, 0, "{text:?}");
    for word in [
        "Nu\n",
        "Stromen\n",
        "Wachtrijen\n",
        "Agenten\n",
        "Weigeringen\n",
        "Alarmen\n",
        "F01",
        "verbonden",
        "2 van 2",
    ] {
        assert!(text.stdout.contains(word), "{word}: {}", text.stdout);
    }
    assert!(!text.stdout.contains('\u{1b}'), "plain text");
    let live = run(stage, &["top"]);
    assert!(live.code == 2 && live.stderr.contains("--once"), "no terminal: {live:?}");
    assert!(broker.stop(PATIENCE).unwrap().success());
}

/// A receiver of webhooks on this machine; its port, and the events it was told.
fn receiver() -> (u16, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (out, events) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut length, mut line) = (0, String::new());
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 204 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer).unwrap();
            // Nobody listens at the end of the test.
            _ = out.send(serde_json::from_slice(&body).unwrap());
        }
    });
    (port, events)
}

/// The turns of the alarm about the broker's own certificate, of the next event that has one.
fn turns(events: &Receiver<Value>) -> Vec<String> {
    loop {
        let event = events.recv_timeout(PATIENCE).unwrap();
        let notices = event["data"]["notices"].as_array().unwrap();
        let own =
            notices.iter().filter(|one| one["subject"] == "broker" && one["code"] == "certificate-ends");
        let turns: Vec<String> = own.map(|one| one["turn"].as_str().unwrap().to_owned()).collect();
        if !turns.is_empty() {
            return turns;
        }
    }
}

#[test]
fn the_operator_is_told_what_is_wrong_once_and_a_restart_does_not_tell_it_again() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let (stage, (port, events)) = (&scene.stage, receiver());
    let file = stage.broker_home().join("broker.toml");
    let before = fs::read_to_string(&file).unwrap();
    // Of an alarm that holds from the start: every certificate ends within ten years.
    let configure = |haste: &str| {
        let url = format!("http://127.0.0.1:{port}/alarm");
        let limits = format!("certificate_days = 3650\n{haste}");
        let more = format!("\n[alerts.webhook]\nurl = \"{url}\"\n[alerts.limits]\n{limits}");
        fs::write(&file, format!("{before}{more}")).unwrap();
    };
    configure("");
    let tried = run(stage, &["alerts", "test"]);
    assert_eq!(tried.code, 0, "{tried:?}");
    assert_eq!(events.recv_timeout(PATIENCE).unwrap()["type"], "nl.seinhuis.alarm.test");
    let broker = scene.broker();
    assert_eq!(turns(&events), ["begins"]);
    let listed = run(stage, &["alerts", "list"]);
    assert!(listed.code == 1 && listed.stdout.contains("certificate-ends broker"), "{listed:?}");
    until("it is on the board too", PATIENCE, || board(stage)["alarms"][0]["code"] == "certificate-ends")
        .unwrap();
    until("it arrived", PATIENCE, || run(stage, &["alerts", "list"]).stdout.contains("✓ webhook: 0"))
        .unwrap();
    assert!(broker.stop(PATIENCE).unwrap().success());
    // What is told after the start is that there is haste now, and not that it began.
    configure("certificate_page_days = 3650\n");
    let broker = scene.broker();
    assert_eq!(turns(&events), ["worse"]);
    let state = fs::read_to_string(stage.broker_home().join("alerts/state.json")).unwrap();
    assert!(state.contains("certificate-ends broker"), "{state}");
    assert!(broker.stop(PATIENCE).unwrap().success());
}
