//! Processings told to a real OpenTelemetry collector: Rotel, which takes in OTLP over HTTP, decodes it and prints
//! each span. What is asserted is what it printed, never what an agent says it sent.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::samples;
use seinhuis_tests::stage::{FOUR, PATIENCE, text};
use seinhuis_tests::{Member, Stage, ports, process};
use serde_json::Value;

use crate::common::{Scene, wait_for_inbox};

/// A collector that runs until this goes.
pub(crate) struct Collector(Child);

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen then.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

pub(crate) fn collector(program: &Path, port: u16, out: &Path) -> Collector {
    let [http, grpc] = [port, ports::free().unwrap().port()].map(|port| format!("127.0.0.1:{port}"));
    let child = Command::new(program)
        .args(["start", "--otlp-http-endpoint", &http, "--otlp-grpc-endpoint", &grpc])
        .args(["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
        .stdin(Stdio::null())
        .stdout(File::create(out).unwrap())
        .stderr(Stdio::null())
        .spawn();
    Collector(child.unwrap())
}

/// Where the collector is. Where it has to be, its absence is a failure; elsewhere it is said.
pub(crate) fn rotel() -> Option<PathBuf> {
    let place = Command::new("python3")
        .args(["-c", "import os, rotel; print(os.path.dirname(rotel.__file__))"])
        .output()
        .unwrap();
    let place = PathBuf::from(String::from_utf8(place.stdout).unwrap().trim()).join("rotel-agent");
    if place.is_file() {
        return Some(place);
    }
    let advice = "this test needs the collector Rotel: python3 -m pip install rotel";
    assert!(std::env::var_os("SEINHUIS_COLLECTOR_REQUIRED").is_none(), "{advice}");
    eprintln!("NOT RUN: {advice}");
    None
}

/// A span as the collector printed it: its own fields and its attributes.
#[derive(Debug)]
pub(crate) struct Span(BTreeMap<String, String>);

impl Span {
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("{key} in {self:?}"))
    }
}

pub(crate) fn spans(printed: &str) -> Vec<Span> {
    let parts = printed.split("\nSpan #").skip(1);
    parts
        .map(|part| {
            let part = part.split("\nResourceSpans #").next().unwrap_or_default();
            let lines = part.lines().filter_map(|line| line.split_once(": "));
            let value = |text: &str| {
                let inner = text.strip_prefix("Str(").and_then(|rest| rest.strip_suffix(')'));
                inner.unwrap_or(text).trim().to_owned()
            };
            Span(
                lines
                    .map(|(key, text)| (key.trim().trim_start_matches("-> ").to_owned(), value(text)))
                    .collect(),
            )
        })
        .collect()
}

/// Has a member log its processings at this address.
fn configure(member: &Member, port: u16, path: &str, more: &str) {
    let place = member.home.join("agent.toml");
    let own = fs::read_to_string(&place).unwrap();
    let own = own.split("\n[ldv]").next().unwrap().to_owned();
    let ldv = format!(
        "\n[ldv]\nendpoint = \"http://127.0.0.1:{port}{path}\"\n{more}\nprocessing_activity = \"https://register.example/{}\"\n",
        member.role
    );
    fs::write(&place, own + &ldv).unwrap();
}

fn waiting(stage: &Stage, member: &Member) -> u64 {
    stage.agent(member, &["status"]).unwrap()["ldv"]["waiting"].as_u64().unwrap()
}

fn alarms(stage: &Stage, member: &Member) -> Vec<String> {
    let status = stage.agent(member, &["status"]).unwrap();
    status["alarms"].as_array().unwrap().iter().map(|alarm| text(alarm, "kind").to_owned()).collect()
}

fn until(what: &str, check: impl FnMut() -> bool) {
    process::until(what, PATIENCE, check).unwrap();
}

#[test]
fn a_real_collector_gets_a_span_for_each_person_from_both_sides_and_nothing_else() {
    let Some(rotel) = rotel() else { return };
    let scene = Scene::with(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let (port, printed) = (ports::free().unwrap().port(), stage.dir.join("collector.txt"));
    configure(police, port, "/v1/traces", "encoding = \"protobuf\"\nqueue = 1");
    configure(town, port, "/v1/nowhere", "encoding = \"json\"");
    let _broker = scene.broker();
    let mut agents = scene.agents();
    let names = samples::among(&FOUR).unwrap().into_iter().find(|sample| sample.flow == "F09").unwrap();
    stage.prepare(&names).unwrap();

    // Nobody listens: everything goes on, and what is to be told is kept, through a crash too.
    let pushed = stage.push(police, &[&names.path.to_string_lossy()]).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    wait_for_inbox(stage, town, 1);
    assert_eq!((waiting(stage, police), waiting(stage, town)), (1, 1));
    // The police's queue is full: what cannot be recorded is not sent.
    let full = stage.try_agent(police, &["push", &names.path.to_string_lossy()]).unwrap();
    assert!(full.code != 0 && full.stderr.contains(&Refusal::NotRecordable.number().to_string()), "{full:?}");
    agents.pop().unwrap().kill().unwrap();
    agents.push(scene.agent("politie"));
    assert_eq!(waiting(stage, police), 1);

    // The collector comes: what waits arrives.
    let _collector = collector(&rotel, port, &printed);
    until("the police's record is told", || waiting(stage, police) == 0);
    // It does not take what comes to another address: an alarm, and the record stays.
    until("the town is refused", || alarms(stage, town).contains(&"records-refused".to_owned()));
    assert_eq!(waiting(stage, town), 1);
    agents.remove(0).stop(PATIENCE).unwrap();
    configure(town, port, "/v1/traces", "encoding = \"json\"");
    agents.push(scene.agent("gemeente"));
    until("the town's record is told", || waiting(stage, town) == 0);
    assert!(alarms(stage, police).is_empty());

    let persons = names.value["body"]["personen"].as_array().unwrap();
    let mut output = String::new();
    until("everything is printed", || {
        output = fs::read_to_string(&printed).unwrap();
        spans(&output).len() >= 2 * persons.len()
    });
    let (sent, received): (Vec<Span>, Vec<Span>) =
        spans(&output).into_iter().partition(|span| span.get("Name") == "verstrekken F09");
    assert_eq!(
        (sent.len(), received.len()),
        (persons.len(), persons.len()),
        "one each, and not twice: {output}"
    );
    check(&sent, &received, [police, town]);
    // Who asks for a person finds it: the same name from the same key.
    let field = format!("zaakpersoon={}", text(&persons[0], "zaakpersoon"));
    let found =
        stage.agent(police, &["subject", "--field", &field, "--case", text(&names.value, "case")]).unwrap();
    assert!(sent.iter().any(|span| span.get("dpl.core.data_subject_id") == text(&found, "data_subject_id")));
    not_a_word_of(&output, &names.value["body"]);
    in_the_broker_s_view(stage, sent[0].get("Trace ID"));
    reading_and_erasing(stage, town, &printed, persons.len());
    not_a_word_of(&fs::read_to_string(&printed).unwrap(), &names.value["body"]);
}

/// That the town reads the message and erases it is told too: of each person, and of none.
fn reading_and_erasing(stage: &Stage, town: &Member, printed: &Path, persons: usize) {
    stage.agent(town, &["inbox", "read", "0"]).unwrap();
    stage.agent(town, &["inbox", "erase", "0", "--reason", "verzoek_betrokkene"]).unwrap();
    until("both are printed", || {
        let spans = spans(&fs::read_to_string(printed).unwrap());
        let named = |name: &str| spans.iter().filter(|span| span.get("Name") == name).count();
        (named("raadplegen F09"), named("vernietigen F09")) == (persons, 1)
    });
}

/// The broker's own record of it, made from a real export, is in the same trace and leads to the sender's span.
fn in_the_broker_s_view(stage: &Stage, trace: &str) {
    let (bundle, out) = (stage.dir.join("export.zip"), stage.dir.join("views"));
    stage
        .broker(&["export", "--purpose", "Logboek van de broker", "--out", &bundle.to_string_lossy()])
        .unwrap();
    let key = stage.broker(&["log", "key"]).unwrap();
    let key = seinhuis_verify::Key::parse(text(&key, "key")).unwrap();
    let made = seinhuis_views::write(&bundle, &key, &out, &seinhuis_views::View::ALL).unwrap();
    assert_eq!(made.without_covenant, 0);
    let ldv = fs::read_to_string(out.join("ldv.jsonl")).unwrap();
    let named = |name: &str| {
        let name = format!("\"name\":\"{name}\"");
        ldv.lines().filter(|line| line.contains(&name) && line.contains(trace)).count()
    };
    assert_eq!((named("aannemen"), named("bezorgen")), (1, 1), "{ldv}");
    let wpg = fs::read_to_string(out.join("wpg.csv")).unwrap();
    assert!(wpg.lines().nth(1).unwrap().contains("Politie, basisteam Voorbeeldstad-Noord"), "{wpg}");
    assert_eq!(wpg.lines().count(), 2, "{wpg}");
}

fn check(sent: &[Span], received: &[Span], [police, town]: [&Member; 2]) {
    let traces: BTreeSet<&str> = sent.iter().chain(received).map(|span| span.get("Trace ID")).collect();
    assert_eq!(traces.len(), 1, "one trace at both");
    let subject = "dpl.core.data_subject_id";
    let pseudonyms: BTreeSet<&str> = sent.iter().chain(received).map(|span| span.get(subject)).collect();
    assert_eq!(pseudonyms.len(), 2 * sent.len(), "each person has its own, and another at each organisation");
    assert!(
        pseudonyms.iter().all(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    );
    for (spans, other, own) in [(sent, town, police), (received, police, town)] {
        for span in spans {
            assert_eq!(span.get("dpl.core.data_subject_id_type"), "zaakpersoon");
            assert_eq!(
                span.get("dpl.core.processing_activity_id"),
                format!("https://register.example/{}", own.role)
            );
            assert_eq!(
                span.get("dpl.core.foreign_operation.processor"),
                format!("urn:nld:oin:{}", other.oin)
            );
            assert_eq!(span.get("Status code"), "STATUS_CODE_UNSET");
        }
    }
    let ids = |spans: &[Span], key: &str| {
        spans.iter().map(|span| span.get(key).to_owned()).collect::<BTreeSet<_>>()
    };
    let foreign = "dpl.core.foreign_operation.span_id";
    assert_eq!(ids(sent, "ID"), ids(received, foreign), "they lead to each other");
    assert_eq!(ids(received, "ID"), ids(sent, foreign));
    assert!(received.iter().all(|span| span.get("Name") == "ontvangen F09"));
}

/// Nothing that stands in a body, as a whole, is in what the collector got.
pub(crate) fn not_a_word_of(output: &str, body: &Value) {
    match body {
        Value::String(text) => assert!(text.len() < 3 || !output.contains(text.as_str()), "{text}"),
        Value::Array(items) => items.iter().for_each(|item| not_a_word_of(output, item)),
        Value::Object(fields) => fields.values().for_each(|field| not_a_word_of(output, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
