//! Traces of what passes the broker, at a real OpenTelemetry collector. What is asserted is what it printed.

use std::fs;

use seinhuis_tests::samples;
use seinhuis_tests::stage::{FOUR, PATIENCE, text};
use seinhuis_tests::{ports, process};

use crate::common::{Scene, wait_for_inbox};
use crate::ldv::{Span, collector, not_a_word_of, rotel, spans};

#[test]
fn what_passes_is_a_trace_at_the_operator_s_collector_whatever_stops_meanwhile() {
    let Some(rotel) = rotel() else { return };
    let scene = Scene::with(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let (port, printed) = (ports::free().unwrap().port(), stage.dir.join("traces.txt"));
    stage.configure(&format!("\n[traces]\nendpoint = \"http://127.0.0.1:{port}/v1/traces\"\n")).unwrap();
    let broker = scene.broker();
    let mut agents = scene.agents();
    let sample = samples::among(&FOUR).unwrap().into_iter().find(|sample| sample.flow == "F09").unwrap();
    stage.prepare(&sample).unwrap();
    let push = || {
        let pushed = stage.push(police, &[&sample.path.to_string_lossy()]).unwrap();
        assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    };

    // Nobody listens, and nobody waits for that.
    push();
    wait_for_inbox(stage, town, 1);
    let _collector = collector(&rotel, port, &printed);
    let named = |name: &str| -> Vec<Span> {
        let printed = fs::read_to_string(&printed).unwrap();
        spans(&printed).into_iter().filter(|span| span.get("Name") == name).collect()
    };
    process::until("the delivery is told", PATIENCE, || named("delivered F09").len() == 1).unwrap();

    // What was accepted before a start and is delivered after it is one trace too.
    agents.remove(0).stop(PATIENCE).unwrap();
    push();
    process::until("it is told", PATIENCE, || named("accepted F09").len() == 2).unwrap();
    broker.stop(PATIENCE).unwrap();
    let _broker = scene.broker();
    agents.push(scene.agent("gemeente"));
    wait_for_inbox(stage, town, 2);
    process::until("the delivery is told", PATIENCE, || named("delivered F09").len() == 2).unwrap();
    let (accepted, delivered) = (named("accepted F09"), named("delivered F09"));
    assert_eq!(accepted.len(), 2, "what was written before a start is not told again");
    for (accepted, delivered) in accepted.iter().zip(&delivered) {
        assert_eq!(accepted.get("Trace ID"), delivered.get("Trace ID"));
        assert_eq!(accepted.get("ID"), delivered.get("Parent ID"));
        assert_eq!(delivered.get("seinhuis.to"), town.oin);
        assert_eq!(delivered.get("seinhuis.result"), "stored");
    }
    let printed = fs::read_to_string(&printed).unwrap();
    not_a_word_of(&printed, &sample.value["body"]);
    assert!(!printed.contains(text(&sample.value, "case")), "nor what leads to a case");
}
