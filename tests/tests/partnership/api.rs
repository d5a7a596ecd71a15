//! The local HTTP API of real agents: case systems that push and take over, and whoever else comes along.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::process::Command;

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::http::{self, Client};
use seinhuis_tests::samples;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Need, Process, Stage, ports, process};
use serde_json::{Value, json};

use crate::common::{Scene, town, wait_for_inbox};

/// Has a member's agent serve its API, from its next start on; what a client of it is made of.
fn open(stage: &Stage, member: &Member) -> Client {
    let address = ports::free().unwrap();
    let api = format!("\n[api]\nlisten = \"{address}\"\nsocket = \"api.sock\"\n");
    stage.configure_agent(member, &api).unwrap();
    Client { address, token: String::new() }
}

/// A token's id and text.
fn token(stage: &Stage, member: &Member, application: &str, rights: &[&str]) -> (String, String) {
    let allowed = rights.iter().flat_map(|right| ["--allow", right]);
    let args: Vec<&str> = ["token", "add", application].into_iter().chain(allowed).collect();
    let made = stage.agent(member, &args).unwrap();
    (text(&made, "id").to_owned(), text(&made, "token").to_owned())
}

/// Municipality and police, whose agents serve their API and know each other.
struct Two {
    at_town: Client,
    at_police: Client,
    /// Ended before their folders go.
    _running: Vec<Process>,
    scene: Scene,
}

impl Two {
    fn running() -> Self {
        let scene = Scene::with(&["gemeente", "politie"]);
        let [at_town, at_police] =
            ["gemeente", "politie"].map(|role| open(&scene.stage, scene.stage.member(role)));
        let running = std::iter::once(scene.broker()).chain(scene.agents()).collect();
        Self { at_town, at_police, _running: running, scene }
    }
}

fn with(client: &Client, stage: &Stage, member: &Member, rights: &[&str]) -> Client {
    Client { token: token(stage, member, "zaaksysteem", rights).1, ..client.clone() }
}

/// The police's signal about a group, as an application hands it over.
fn signal() -> Value {
    let sample = town::sample("F02");
    json!({ "flow": "F02", "to": ["gemeente"], "step": "1", "body": sample.value["body"] })
}

fn other_signal() -> Value {
    let mut signal = signal();
    signal["body"]["aantal_meldingen"] = json!(3);
    signal
}

#[test]
fn a_case_system_pushes_and_another_takes_over() {
    let two = Two::running();
    let (stage, at_town, at_police) = (&two.scene.stage, &two.at_town, &two.at_police);
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let sender = with(at_police, stage, police, &["send:F02"]);
    let receiver = with(at_town, stage, town, &["receive:*"]);
    let mut events = receiver.listen("/v1/events", &[]).unwrap();

    let trace = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("idempotency-key", "\"zaak-42\""),
        ("prefer", "wait=60"),
    ];
    let pushed = sender.ask("POST", "/v1/messages", &trace, &signal().to_string()).unwrap();
    assert_eq!(pushed.status, 202, "{pushed:?}");
    let message = pushed.json();
    assert_eq!(text(&message, "state"), "accepted", "{message}");
    let id = text(&message, "msg_id").to_owned();
    assert!(pushed.head.contains(&format!("location: /v1/messages/{id}\r\n")), "{}", pushed.head);

    let (position, event) = events.next("received").unwrap().unwrap();
    assert_eq!((position.as_str(), text(&event, "subject")), ("0", id.as_str()));
    assert_eq!(event["source"], format!("urn:nld:oin:{}:systeem:seinhuis-agent", town.oin));
    assert!(text(&event, "traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{event}");
    assert!(!event.to_string().contains(&town::sample("F02").canary), "no content in what is told");

    let again = sender.push("zaak-42", &signal()).unwrap();
    assert_eq!((again.status, text(&again.json(), "msg_id")), (200, id.as_str()), "the same message");
    let refused = sender.push("zaak-42", &other_signal()).unwrap();
    assert_eq!(refused.json()["refusal"], Refusal::Equivocation.number(), "{refused:?}");
    assert_eq!(wait_for_inbox(stage, town, 1).len(), 1);

    let page = receiver.get("/v1/inbox?open=true&flow=F02").unwrap().json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["more"]), (1, &json!(false)), "{page}");
    let body = receiver.get("/v1/inbox/0/body").unwrap();
    assert_eq!((body.status, body.json()), (200, signal()["body"].clone()));
    assert_eq!(receiver.ask("POST", "/v1/inbox/0/consumed", &[], "").unwrap().status, 200);
    assert_eq!(receiver.get("/v1/inbox?open=true").unwrap().json()["items"], json!([]));
    process::until("the sender knows that it was taken over", PATIENCE, || {
        sender.get(&format!("/v1/messages/{id}")).unwrap().json()["reached"] == "consumed"
    })
    .unwrap();
    let receipt = sender.get(&format!("/v1/messages/{id}/receipt")).unwrap();
    let file = stage.dir.join("receipt");
    fs::write(&file, &receipt.body).unwrap();
    let proved = stage.agent(police, &["receipt", "verify", &file.to_string_lossy()]).unwrap();
    assert_eq!(text(&proved["recipients"][0]["steps"][2], "kind"), "consumed", "{proved}");

    later(stage, town, &sender, &receiver);

    let flows = sender.get("/v1/flows").unwrap().json();
    assert_eq!((flows.as_array().unwrap().len(), text(&flows[0], "flow")), (1, "F02"), "{flows}");
    let schema = sender.get(text(&flows[0]["types"][0], "schema")).unwrap().json();
    assert!(schema["properties"]["gedrag"].is_object(), "{schema}");
}

/// What is sent, withdrawn and erased after the first delivery.
fn later(stage: &Stage, town: &Member, sender: &Client, receiver: &Client) {
    // Who comes back goes on where it was.
    let mut events = receiver.listen("/v1/events", &[("last-event-id", "0")]).unwrap();
    let second = sender.push("zaak-43", &other_signal()).unwrap().json();
    let (position, event) = events.next("received").unwrap().unwrap();
    assert_eq!((position.as_str(), text(&event, "subject")), ("1", text(&second, "msg_id")));
    assert_eq!(
        sender
            .ask(
                "POST",
                &format!("/v1/messages/{}/withdrawal", text(&second, "msg_id")),
                &[],
                "{\"reden\":\"onjuist\"}"
            )
            .unwrap()
            .status,
        202
    );
    process::until("it is withdrawn", PATIENCE, || {
        receiver.get("/v1/inbox/1").unwrap().json()["revised"] == "withdrawn"
    })
    .unwrap();
    assert_eq!(receiver.get("/v1/inbox/1/body").unwrap().status, 409);
    assert_eq!(receiver.get("/v1/inbox/1/body?withdrawn=true").unwrap().status, 200);
    assert_eq!(receiver.ask("HEAD", "/v1/inbox/1/body", &[], "").unwrap().status, 405, "nobody would get it");
    // Positions of another store than this one.
    assert_eq!(receiver.get("/v1/inbox?from=7").unwrap().status, 409);
    let mut events = receiver.listen("/v1/events", &[("last-event-id", "5000")]).unwrap();
    assert!(events.next("missed").unwrap().is_some());
    assert_eq!(events.next("received").unwrap().unwrap().0, "0", "what there is, from the beginning");
    stage.agent(town, &["inbox", "erase", "0", "--reason", "verzoek_betrokkene"]).unwrap();
    assert_eq!(receiver.get("/v1/inbox/0/body").unwrap().status, 410);
}

#[test]
fn who_may_not_gets_nothing_and_nothing_is_lost_or_told() {
    let two = Two::running();
    let (stage, at_town, at_police) = (&two.scene.stage, &two.at_town, &two.at_police);
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let sender = with(at_police, stage, police, &["send:F02"]);
    let pushed = sender.push("1", &signal()).unwrap().json();
    let message = format!("/v1/messages/{}", text(&pushed, "msg_id"));

    nobody(at_police);
    let other = with(at_police, stage, police, &["send:F05", "receive:F05", "cases"]);
    another(&other, &message);
    let blind = with(at_town, stage, town, &["receive:F01"]);
    wait_for_inbox(stage, town, 1);
    for path in ["/v1/inbox/0", "/v1/inbox/0/body", "/v1/inbox/7"] {
        assert_eq!(blind.get(path).unwrap().status, 404, "{path}");
    }
    assert_eq!(blind.ask("POST", "/v1/inbox/0/consumed", &[], "").unwrap().status, 404);

    // A browser that was led here, whatever it knows.
    for (field, status) in [
        (("host", "evil.example"), 421),
        (("origin", "https://evil.example"), 403),
        (("origin", "null"), 403),
        (("sec-fetch-site", "cross-site"), 403),
    ] {
        let answer = sender.ask("GET", &message, &[field], "").unwrap();
        assert_eq!(answer.status, status, "{field:?}");
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    wrong(&sender);
    by_another_way(stage, (police, at_police), (town, at_town), text(&pushed, "msg_id"));
    // A token that is revoked ends at once, for who listens too.
    let (id, secret) = token(stage, police, "kort", &["send:*"]);
    let short = Client { token: secret.clone(), ..at_police.clone() };
    assert_eq!(short.get(&message).unwrap().status, 200);
    let mut events = short.listen("/v1/events", &[]).unwrap();
    stage.agent(police, &["token", "revoke", &id]).unwrap();
    assert_eq!(short.get(&message).unwrap().status, 401);
    let told = sender.push("9", &other_signal()).unwrap();
    assert_eq!(told.status, 202);
    assert!(events.next("decided").unwrap().is_none(), "nothing is told to it any more");
    wait_for_inbox(stage, town, 2);

    let canary = town::sample("F02").canary;
    for of in ["politie", "gemeente", "broker"] {
        let log = fs::read_to_string(stage.log_of(of)).unwrap();
        assert!(
            [&secret, &sender.token, &canary].iter().all(|word| !log.contains(word.as_str())),
            "{of}: {log}"
        );
    }
}

/// Rights that do not give what another way seems to give.
fn by_another_way(
    stage: &Stage,
    (police, at_police): (&Member, &Client),
    (town, at_town): (&Member, &Client),
    message: &str,
) {
    // Who may send corrections of its own flows corrects no other.
    let corrects = with(at_police, stage, police, &["send:F36"]);
    let withdrawal = json!({
        "flow": "F36", "type": "intrekking", "to": ["gemeente"], "in_reply_to": message,
        "body": { "bericht": message, "reden": "onjuist", "bevestigen_voor": "2030-01-01" },
    });
    assert_eq!(corrects.push("4", &withdrawal).unwrap().status, 404);
    // Who decides about cases does not see them.
    let (decides, sees) = (&["decide"][..], &["cases"][..]);
    let [decides, sees] = [decides, sees].map(|rights| with(at_town, stage, town, rights));
    let path = "/v1/cases/6f1c2d3e-4a5b-4c6d-9e7f-8a9b0c1d2e3f";
    assert_eq!(decides.get(path).unwrap().status, 403);
    assert_eq!(sees.get(path).unwrap().status, 404);
    let opened = decides.ask("PUT", path, &[], "{}").unwrap();
    assert!(opened.json()["state"].is_null() && opened.json()["decisions"] == json!([]), "{opened:?}");
    // Who neither sends nor receives hears nothing.
    assert!(sees.listen("/v1/events?from=0", &[]).is_err());
}

/// Who has no token that counts.
fn nobody(at_police: &Client) {
    for token in ["", "shs_", "shs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &"x".repeat(4000)] {
        let nobody = Client { token: token.to_owned(), ..at_police.clone() };
        for (method, path) in [
            ("GET", "/v1/messages"),
            ("POST", "/v1/messages"),
            ("GET", "/v1/nothing"),
            ("DELETE", "/v1/health"),
        ] {
            let answer = nobody.ask(method, path, &[], "{}").unwrap();
            assert_eq!(
                (answer.status, text(&answer.json(), "type")),
                (401, "urn:seinhuis:unauthorised"),
                "{method} {path}"
            );
        }
        let healthy = nobody.ask("GET", "/v1/health", &[("connection", "keep-alive")], "").unwrap();
        assert!(healthy.status == 200 && healthy.head.contains("connection: close"), "it keeps no place");
    }
}

/// Whose token has other rights: what it may not see is as what is not there.
fn another(other: &Client, message: &str) {
    assert_eq!(other.get(message).unwrap().status, 404, "what it may not see is as what is not there");
    assert_eq!(other.get("/v1/messages").unwrap().json()["items"], json!([]));
    for (method, path, body) in [
        ("POST", "/v1/messages", signal().to_string()),
        ("GET", "/v1/status", String::new()),
        ("PUT", "/v1/cases/6f1c2d3e-4a5b-4c6d-9e7f-8a9b0c1d2e3f", "{}".to_owned()),
    ] {
        let answer = other.ask(method, path, &[("idempotency-key", "2")], &body).unwrap();
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    for path in ["receipt", "take-back", "withdrawal", "correction"] {
        let method = if path == "receipt" { "GET" } else { "POST" };
        let answer = other.ask(method, &format!("{message}/{path}"), &[], "{\"reason\":\"x\"}").unwrap();
        assert!(matches!(answer.status, 404), "{path}: {answer:?}");
    }
}

/// The signal with another value in one field.
fn with_field(name: &str, value: Value) -> String {
    let mut signal = signal();
    signal[name] = value;
    signal.to_string()
}

/// Requests that are wrong: each is told what is wrong, and its values are not repeated.
fn wrong(sender: &Client) {
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(2 << 20));
    let mut extra = signal();
    extra["body"]["naam"] = json!("Jan Jansen");
    let mut typo = signal();
    typo["stap"] = json!("Jan Jansen");
    let key = ("idempotency-key", "3");
    let plain = ("content-type", "text/plain");
    for (fields, body, status, says) in [
        (vec![key], "{".to_owned(), 400, "JSON"),
        (vec![key], "[]".to_owned(), 400, "line 1"),
        (vec![key], "{\"flow\":\"Jan Jansen\",\"to\":7}".to_owned(), 400, "line 1"),
        (vec![key], typo.to_string(), 400, "stap"),
        (vec![], signal().to_string(), 400, "Idempotency-Key"),
        (vec![key, plain], signal().to_string(), 415, "application/json"),
        (vec![key], long, 413, ""),
        (vec![key], extra.to_string(), 422, "naam"),
        (vec![key], with_field("to", json!(["Jan Jansen"])), 400, "of to is wrong"),
        (vec![key], with_field("step", json!("Jan Jansen")), 400, "of step is wrong"),
        (vec![key], with_field("in_reply_to", json!("Jan Jansen")), 400, "of in_reply_to is wrong"),
    ] {
        let answer = sender
            .ask("POST", "/v1/messages", &[&[("accept-language", "en")], &fields[..]].concat(), &body)
            .unwrap();
        let told = answer.json();
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
        assert!(text(&told, "detail").contains(says), "{told}");
        assert!(!told.to_string().contains("Jansen"), "{told}");
        assert!(!text(&told, "advice").is_empty(), "{told}");
    }
    let dutch = sender.ask("POST", "/v1/messages", &[key], "{").unwrap().json();
    assert_eq!(text(&dutch, "title"), "Het verzoek klopt niet.");
    let method = sender.ask("PATCH", "/v1/messages", &[], "").unwrap();
    assert!(method.status == 405 && method.head.contains("allow: get,head,post"), "{method:?}");
    for path in ["/v1", "/v1/messages/", "/v1/messages/x", "/v1/inbox/-1", "/v2/health"] {
        assert_eq!(sender.get(path).unwrap().status, 404, "{path}");
    }
}

#[test]
fn over_a_unix_socket_it_is_the_same() {
    let scene = Scene::with(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let police = stage.member("politie");
    let client = open(stage, police);
    let _agent = scene.agent("politie");
    let client = with(&client, stage, police, &["send:F02", "status"]);
    let socket = police.home.join("api.sock");
    let ask = |path: &str, host: &str| {
        http::ask_unix(&socket, &client.request("GET", path, &[("host", host)], "")).unwrap()
    };
    assert_eq!(ask("/v1/messages", "localhost").json()["items"], json!([]));
    assert_eq!(ask("/v1/status", "localhost").json()["running"], json!(true));
    assert_eq!(ask("/v1/messages", "evil.example").status, 421);
    let nobody = Client { token: String::new(), ..client.clone() };
    let request = nobody.request("GET", "/v1/messages", &[("host", "localhost")], "");
    assert_eq!(http::ask_unix(&socket, &request).unwrap().status, 401);
}

/// What an application does with the client in Python, at the police first and then at the municipality.
const IN_PYTHON: &str = r#"
import json, sys, time, uuid
from seinhuis_agent import Agent, Problem
police, town, body = Agent(sys.argv[1], sys.argv[2]), Agent(sys.argv[3], sys.argv[4], language="en"), json.loads(sys.argv[5])
events = town.events()
sent = police.push("python-1", flow="F02", to=["gemeente"], step="1", body=body, wait=60)
assert sent["state"] == "accepted", sent
assert police.push("python-1", flow="F02", to=["gemeente"], step="1", body=body)["repeated"]
position, name, event = next(events)
assert (name, event["subject"]) == ("received", sent["msg_id"]), event
[delivery] = town.open_deliveries(flow="F02")
assert str(delivery["position"]) == position
assert town.body(delivery["position"]) == body
town.consumed(delivery["position"])
assert list(town.open_deliveries()) == [] and len(list(town.deliveries())) == 1
assert [one["msg_id"] for one in police.messages()] == [sent["msg_id"]]
assert police.receipt(sent["msg_id"])
assert "properties" in town.schema(town.flows()[0]["types"][0]["schema"])
case = str(uuid.uuid4())
town.open_case(case)
assert town.case(case)["case"] == case and town.cases()
while town.case(case)["waiting"]:
    time.sleep(0.1)
town.decide(case, "step", step="2A")
police.withdraw(sent["msg_id"], "onjuist")
try:
    police.push("python-2", flow="F02", to=["gemeente"], step="1", body={**body, "naam": "x"})
    sys.exit("a field outside the schema was taken in")
except Problem as problem:
    assert (problem.status, problem.refusal) == (422, 413), problem
try:
    police.status()
    sys.exit("no right, and an answer")
except Problem as problem:
    assert problem.status == 403, problem
"#;

#[test]
fn the_python_client_pushes_and_takes_over() {
    let two = Two::running();
    let (stage, at_town, at_police) = (&two.scene.stage, &two.at_town, &two.at_police);
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let sender = with(at_police, stage, police, &["send:F02"]);
    let receiver = with(at_town, stage, town, &["receive:*", "send:F04", "cases", "decide"]);
    let clients = samples::covenants().join("../clients/python");
    let [sends, takes] = [&sender, &receiver].map(|client| format!("http://{}", client.address));
    let ran = Command::new("python3")
        .args(["-B", "-c", IN_PYTHON, &sends, &sender.token, &takes, &receiver.token])
        .arg(signal()["body"].to_string())
        .env("PYTHONPATH", clients)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

const SCHEMATHESIS: Need = Need {
    required: "SEINHUIS_SCHEMATHESIS_REQUIRED",
    missing: || {
        let there = Command::new("python3").args(["-c", "import schemathesis"]).output();
        let there = there.is_ok_and(|ran| ran.status.success());
        (!there).then(|| "this test needs schemathesis: python3 -m pip install schemathesis".to_owned())
    },
};

/// Requests made from the description, good and bad ones: what comes back is what it says, and never a fault of the agent.
#[test]
fn the_api_does_what_its_description_says() {
    if !SCHEMATHESIS.is_met() {
        return;
    }
    let two = Two::running();
    let (stage, at_town, at_police) = (&two.scene.stage, &two.at_town, &two.at_police);
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let sender = with(at_police, stage, police, &["send:*"]);
    assert_eq!(sender.push("1", &signal()).unwrap().status, 202);
    wait_for_inbox(stage, town, 1);
    let all = ["send:*", "receive:*", "cases", "decide", "status"];
    let client = with(at_town, stage, town, &all);
    // What the covenant does not allow is refused however well it is written.
    let settings =
        "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\", 401, 403, 404, 409, 422, 503]\n";
    let config = stage.dir.join("schemathesis.toml");
    fs::write(&config, settings).unwrap();
    let ran = Command::new("python3")
        .args(["-m", "schemathesis.cli", "--config-file", &config.to_string_lossy(), "run"])
        .arg(format!("http://{}/v1/openapi.json", client.address))
        .args(["--url", &format!("http://{}", client.address)])
        .args(["--header", &format!("Authorization: Bearer {}", client.token)])
        .args([
            "--checks",
            "all",
            "--max-examples",
            "20",
            "--seed",
            "1",
            "--no-color",
            "--phases",
            "examples,coverage,fuzzing",
        ])
        .args([
            "--exclude-path",
            "/v1/events",
            "--suppress-health-check",
            "all",
            "--generation-database",
            "none",
        ])
        .current_dir(&stage.dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(client.get("/v1/health").unwrap().status == 200, "it still answers");
    assert!(said.contains("passed"), "nothing was tried: {said}");
}
