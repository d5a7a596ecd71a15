//! Metrics and health of a real broker: what went over it is counted, who asks learns nothing of what it was, and whoever
//! reads the text besides this program reads the same.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::forge::{Forge, Lock};
use seinhuis_tests::http::{Answer, Client};
use seinhuis_tests::needs::Need;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Process, Raw, Stage, ports, process};
use tokio::runtime::{Builder, Runtime};

use crate::common::{Scene, town::sample, wait_for_inbox};

const ROLES: [&str; 2] = ["gemeente", "politie"];
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OK: &str = "200 ok\n";
const NOT_OK: &str = "503 not ok\n";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

const PROMETHEUS: Need = Need {
    required: "SEINHUIS_PROMETHEUS_REQUIRED",
    missing: || {
        let there = Command::new("python3").args(["-c", "import prometheus_client"]).output();
        let promtool = Command::new("promtool").arg("--version").output();
        let both = there.is_ok_and(|ran| ran.status.success()) && promtool.is_ok();
        (!both).then(|| {
            "this test needs python3 -m pip install prometheus_client, and promtool (Debian: prometheus)"
                .to_owned()
        })
    },
};

/// Reads the text as others do; prints each sample.
const READER: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain
parse = open_metrics if sys.argv[1] == "open" else plain
for family in parse(sys.stdin.read()):
    assert family.documentation, family
    for sample in family.samples:
        # The formats write a bound in their own ways.
        bound = {"le": str(float(sample.labels["le"]))} if "le" in sample.labels else {}
        labels = ",".join(f"{name}={value}" for name, value in sorted({**sample.labels, **bound}.items()))
        print(f"{sample.name} {labels} {sample.value}")
"#;

/// A broker that serves metrics.
struct Watched {
    scene: Scene,
    client: Client,
}

impl Watched {
    fn of(scene: Scene) -> Self {
        let address: SocketAddr = ports::free().unwrap();
        scene.stage.configure(&format!("\n[metrics]\nlisten = \"{address}\"\n")).unwrap();
        Self { scene, client: Client { address, token: String::new() } }
    }

    fn metrics(&self, accept: &str) -> Answer {
        self.client.ask("GET", "/metrics", &[("accept", accept)], "").unwrap()
    }

    fn text(&self) -> String {
        let answer = self.metrics("*/*");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).unwrap()
    }

    /// What a question about health is answered with.
    fn health(&self, path: &str) -> String {
        let Ok(answer) = self.client.get(path) else { return "nobody is there".to_owned() };
        format!("{} {}", answer.status, String::from_utf8(answer.body).unwrap())
    }

    fn wait_for(&self, line: &str) -> String {
        let mut text = String::new();
        let waited = process::until(line, PATIENCE, || {
            text = self.text();
            text.lines().any(|one| one == line)
        });
        assert!(waited.is_ok(), "{line}:\n{text}");
        text
    }
}

/// Submits a packet that the covenant has no flow for, under a name that would say much.
fn refused(stage: &Stage, runtime: &Runtime) {
    let (police, town) = (stage.member("politie"), stage.member("gemeente"));
    let forge = Forge::of(stage, police).unwrap();
    let lock = Lock::make().unwrap();
    let to = [(town.oin.parse().unwrap(), &lock.public)];
    let packet =
        forge.packet(&sample("F02"), &to, |context| "verdenking-jan-jansen".clone_into(&mut context.flow));
    let verdict = runtime.block_on(async {
        let mut raw = Raw::open(&police.home).await.unwrap();
        raw.verdict(&packet.unwrap()).await.unwrap()
    });
    assert_eq!(verdict.0.outcome, Refusal::UnknownFlow.number());
}

#[test]
fn what_goes_over_a_broker_is_counted_and_nothing_of_what_it_was_is_shown() {
    let watched = Watched::of(Scene::unwatched(&ROLES));
    let stage = &watched.scene.stage;
    stage.fall_back("").unwrap();
    let broker = watched.scene.broker();
    let [town, police] = ROLES.map(|role| stage.member(role));
    let agents = watched.scene.agents();
    let file = sample("F02").path.to_string_lossy().into_owned();
    let pushed = stage.agent(police, &["push", &file, "--wait", "60"]).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    wait_for_inbox(stage, town, 1);
    let (from, to) = (&police.oin, &town.oin);
    let flow = format!(r#"{{from="{from}",to="{to}",flow="F02"}}"#);
    watched.wait_for(&format!("seinhuis_packets_delivered_total{flow} 1"));
    // The police's own agent makes room for who submits what it would not.
    let mut agents = agents.into_iter();
    let at_town = agents.next().unwrap();
    assert!(agents.next().unwrap().stop(PATIENCE).unwrap().success());
    refused(stage, &Runtime::new().unwrap());
    let text = watched
        .wait_for(&format!(r#"seinhuis_packets_refused_total{{from="{from}",reason="unknown-flow"}} 1"#));
    let of = &sample("F02").message_type;
    for line in [
        format!(r#"seinhuis_packets_accepted_total{{from="{from}",to="{to}",flow="F02",type="{of}"}} 1"#),
        format!(r#"seinhuis_queue_packets{{to="{to}",state="waiting"}} 0.0"#),
        format!(r#"seinhuis_agent_connected{{agent="{to}"}} 1.0"#),
        r#"seinhuis_log_entries_total{kind="accepted"} 1"#.to_owned(),
        r#"seinhuis_handshake_failures_total{kind="quic"} 0"#.to_owned(),
        "seinhuis_serving 1.0".to_owned(),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
    }
    nothing_is_shown(stage, &text);
    others_read_the_same(&watched);
    assert_eq!((watched.health("/healthz"), watched.health("/readyz")), (OK.to_owned(), OK.to_owned()));
    only_here(stage, &watched.client);
    begins_at_nothing(&watched, broker, &flow);
    drop(at_town);
}

/// No word of a body, no id of a message, no pseudonym, no name.
fn nothing_is_shown(stage: &Stage, text: &str) {
    let mut hidden: Vec<String> = stage.members.iter().map(|member| member.name.clone()).collect();
    for entry in stage.log_tail(1000).unwrap() {
        hidden.extend(entry.msg_id.map(|id| id.to_string()));
        hidden.extend(entry.case.map(|case| case.to_string()));
        hidden.extend(entry.packet.map(|packet| packet.to_string()));
        hidden.extend(entry.trace.map(|trace| trace.to_string()));
    }
    let mut words = Vec::new();
    leaves(&sample("F02").value["body"], &mut words);
    hidden.extend(words.into_iter().filter(|word| word.len() > 4));
    hidden.extend(["verdenking".to_owned(), "Jansen".to_owned(), "jansen".to_owned()]);
    assert!(hidden.len() > 10, "{hidden:?}");
    for one in hidden {
        assert!(!text.contains(&one), "{one} is shown:\n{text}");
    }
}

/// The texts in a body.
fn leaves(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Array(all) => all.iter().for_each(|one| leaves(one, into)),
        serde_json::Value::Object(all) => all.values().for_each(|one| leaves(one, into)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// Both formats, as Prometheus's own library for Python and its own tool read them.
fn others_read_the_same(watched: &Watched) {
    let (open, plain) = (watched.metrics(OPEN_METRICS), watched.metrics("text/plain"));
    assert!(open.head.contains(&format!("content-type: {OPEN_METRICS}\r\n")), "{}", open.head);
    assert!(plain.head.contains(&format!("content-type: {PLAIN}\r\n")), "{}", plain.head);
    if !PROMETHEUS.is_met() {
        return;
    }
    let read = |which: &str, text: &[u8]| piped(Command::new("python3").args(["-c", READER, which]), text);
    let names = |samples: &str| -> BTreeSet<String> {
        samples.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let (open, from_plain) = (read("open", &open.body), read("plain", &plain.body));
    assert_eq!(names(&open), names(&from_plain), "the same series in both");
    assert!(names(&open).len() > 50, "{open}");
    let linted = piped(Command::new("promtool").args(["check", "metrics"]), &plain.body);
    assert_eq!(linted, "", "what promtool has to say about the names");
}

/// What a program says of this input, and that it has no complaint.
fn piped(command: &mut Command, input: &[u8]) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let ran = child.wait_with_output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{error}");
    out.into_owned() + &error
}

/// Metrics are on their own address and on no other, and nothing else is on it.
fn only_here(stage: &Stage, client: &Client) {
    for path in ["/", "/2026/checkpoint", "/v1/messages", "/metrics/x"] {
        assert_eq!(client.get(path).unwrap().status, 404, "{path}");
    }
    assert_eq!(client.ask("POST", "/metrics", &[], "x").unwrap().status, 405);
    let elsewhere = client.ask("GET", "/metrics", &[("host", "rebound.example")], "").unwrap();
    assert_eq!(elsewhere.status, 421, "a browser that was led here");
    // What agents connect to over TCP, on the port of its UDP address's fallback, speaks no plain HTTP.
    let fallback = stage.card().unwrap().fallback.unwrap();
    let at_agents = Client { address: fallback.parse().unwrap(), token: String::new() };
    let answer = at_agents.get("/metrics");
    assert!(answer.is_err() || !answer.unwrap().head.contains("http/1.1 200"));
}

/// After a restart everything is counted anew: a counter that went down to what was before would seem to count it twice.
fn begins_at_nothing(watched: &Watched, broker: Process, flow: &str) {
    assert!(broker.stop(PATIENCE).unwrap().success());
    let _again = watched.scene.broker();
    let text = watched.wait_for(r#"seinhuis_log_entries_total{kind="start"} 1"#);
    assert!(!text.contains(&format!("seinhuis_packets_delivered_total{flow}")), "{text}");
    assert!(
        text.contains(&format!("seinhuis_flow_delivered_timestamp_seconds{flow}")),
        "known from the log: {text}"
    );
}

#[test]
fn a_broker_that_waits_or_stops_says_that_it_is_not_ready() {
    let watched = Watched::of(Scene::with(&ROLES));
    let stage = &watched.scene.stage;
    let mut broker = watched.scene.broker();
    process::until("it answers", PATIENCE, || watched.health("/healthz") == OK).unwrap();
    assert_eq!(watched.health("/readyz"), NOT_OK, "no witness was heard");
    let text = watched.text();
    for line in ["seinhuis_serving 0.0", r#"seinhuis_backpressure{kind="witnesses"} 1.0"#] {
        assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
    }
    let agents = watched.scene.agents();
    process::until("it serves", PATIENCE, || watched.health("/readyz") == OK).unwrap();
    let text = watched.wait_for("seinhuis_serving 1.0");
    assert!(text.contains("\nseinhuis_log_quorum_timestamp_seconds "), "{text}");
    for agent in agents {
        assert!(agent.stop(PATIENCE).unwrap().success());
    }
    // Nothing of this peer runs but within `block_on`: after it, it is frozen, and the broker waits for it when it stops.
    let frozen = Builder::new_current_thread().enable_all().build().unwrap();
    let police = stage.member("politie");
    let packet = {
        let forge = Forge::of(stage, police).unwrap();
        let lock = Lock::make().unwrap();
        let to = [(stage.member("gemeente").oin.parse().unwrap(), &lock.public)];
        forge.packet(&sample("F02"), &to, |_| ()).unwrap()
    };
    let _raw = frozen.block_on(async {
        let mut raw = Raw::open(&police.home).await.unwrap();
        raw.verdict(&packet).await.unwrap();
        raw
    });
    assert_eq!(watched.health("/readyz"), OK);
    broker.ask_to_stop().unwrap();
    process::until("it stops", PATIENCE, || watched.health("/readyz") == NOT_OK).unwrap();
    assert_eq!(watched.health("/healthz"), OK, "it still lives");
    assert!(broker.wait(PATIENCE).unwrap().success());
    assert_eq!(watched.health("/healthz"), "nobody is there");
}
