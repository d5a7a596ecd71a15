//! Webhooks with real processes: what the police send is told to a receiver in Python at the municipality, that checks who
//! tells it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{process, samples};
use serde_json::Value;

use crate::common::{Scene, search, town};

/// What an application does that is told of deliveries: it checks the signature, discards what it has, keeps the rest. It
/// refuses everything while the file `refuse` is there.
const RECEIVER: &str = r#"
import http.server, json, os, sys
from seinhuis_agent import BadSignature, verify_webhook
[secret, folder], seen = sys.argv[1:], set()

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = verify_webhook(secret, self.headers, body)
        except BadSignature:
            return self.answer(401)
        if os.path.exists(os.path.join(folder, "refuse")):
            return self.answer(503)
        if event["id"] not in seen:
            seen.add(event["id"])
            with open(os.path.join(folder, "events"), "a") as file:
                file.write(json.dumps(event) + "\n")
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// What the check of a signature lets through, and what not.
const CHECKS: &str = r#"
from seinhuis_agent import BadSignature, verify_webhook
# The example of the Standard Webhooks specification's libraries.
secret, at, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330, b'{"test": 2432232314}'
good = {"Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp": str(at),
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
other = "whsec_" + "A" * 32
for secrets in [secret, [other, secret]]:
    assert verify_webhook(secrets, good, body, now=at + 300) == {"test": 2432232314}
assert verify_webhook(secret, {**good, "Webhook-Signature": "v1,x v2,y " + good["Webhook-Signature"]}, body, now=at)

def refused(secrets=secret, headers=good, body=body, now=at):
    try:
        verify_webhook(secrets, headers, body, now=now)
    except BadSignature:
        return True
    return False

assert refused(now=at + 301) and refused(now=at - 301) and refused(now=None), "too old or too new"
assert refused(secrets=other) and refused(secrets=[]), "another secret"
assert refused(body=body + b" "), "another body"
for name, value in [("Webhook-Id", "msg_x"), ("Webhook-Timestamp", str(at + 1)), ("Webhook-Timestamp", "soon"),
                    ("Webhook-Timestamp", "-1"), ("Webhook-Timestamp", "9" * 400), ("Webhook-Signature", ""),
                    ("Webhook-Signature", "v1,"), ("Webhook-Signature", "v1a" + good["Webhook-Signature"][2:]),
                    ("Webhook-Signature", "v1,\u00e9")]:
    assert refused(headers={**good, name: value}), name
for name in good:
    assert refused(headers={key: value for key, value in good.items() if key != name}), name
for wrong in ["", "x", "whsec_%"]:
    try:
        verify_webhook(wrong, good, body, now=at)
        raise SystemExit("no secret, and an answer")
    except ValueError:
        pass
"#;

fn python(script: &str, args: &[&str]) -> Command {
    let mut python = Command::new("python3");
    let clients = samples::covenants().join("../clients/python");
    python.args(["-B", "-c", script]).args(args).env("PYTHONPATH", clients);
    python
}

/// Ended with the test.
struct Receiver(Child);

impl Drop for Receiver {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A receiver that knows this secret and keeps what it is told in a folder; its port.
fn receiver(secret: &str, folder: &Path) -> (Receiver, u16) {
    let child = python(RECEIVER, &[secret, &folder.to_string_lossy()]).stdout(Stdio::piped()).spawn();
    let mut receiver = Receiver(child.unwrap());
    let mut line = String::new();
    BufReader::new(receiver.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (receiver, line.trim().parse().unwrap())
}

fn events(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("events")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What was told of messages.
fn messages(folder: &Path) -> Vec<Value> {
    events(folder).into_iter().filter(|event| event["type"] == "nl.seinhuis.message.received").collect()
}

#[test]
fn what_the_police_send_is_told_at_once_to_who_can_check_it_and_is_taken_over() {
    let scene = Scene::with(&["gemeente", "politie"]);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let folder = stage.dir.join("toepassing");
    fs::create_dir(&folder).unwrap();
    // The application knows the secret before the agent knows the application.
    stage.configure_agent(town, "\n[[webhook]]\nname = \"zaken\"\n").unwrap();
    let made = stage.agent(town, &["webhook", "secret", "zaken"]).unwrap();
    let (receiver, port) = receiver(text(&made, "secret"), &folder);
    let settings = format!("url = \"http://127.0.0.1:{port}/\"\ncontent = true\nconsume = true\n");
    stage.configure_agent(town, &settings).unwrap();
    let agents = scene.agents();

    let sample = town::sample("F02");
    let send = |number: u64| {
        let mut signal = sample.value.clone();
        signal["body"]["aantal_meldingen"] = number.into();
        let file = stage.dir.join(format!("{number}.json"));
        fs::write(&file, signal.to_string()).unwrap();
        let pushed = stage.agent(police, &["push", &file.to_string_lossy(), "--wait", "60"]).unwrap();
        assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
        text(&pushed, "msg_id").to_owned()
    };
    let first = send(3);
    process::until("it is told", PATIENCE, || messages(&folder).len() == 1).unwrap();
    let event = messages(&folder).remove(0);
    assert_eq!(text(&event, "subject"), first);
    assert_eq!(event["data"]["body"]["aantal_meldingen"], 3);
    assert_eq!(event["source"], format!("urn:nld:oin:{}:systeem:seinhuis-agent", town.oin));
    process::until("the sender knows that it was taken over", PATIENCE, || {
        let shown = stage.agent(police, &["outbox", "show", &first]).unwrap();
        text(&shown["recipients"][0], "reached") == "consumed"
    })
    .unwrap();

    // The application cannot take anything for a while.
    fs::write(folder.join("refuse"), "").unwrap();
    let second = send(4);
    let webhook = || {
        let status = stage.agent(town, &["status"]).unwrap();
        let ways = status["ways"].as_array().unwrap().clone();
        ways.into_iter().find(|way| way["kind"] == "webhook").unwrap()
    };
    process::until("it is told what is wrong", PATIENCE, || webhook()["since"].is_string()).unwrap();
    assert!(webhook()["problem"][1].as_str().unwrap().contains("503"), "{}", webhook());
    let findings = stage.try_agent(town, &["doctor"]).unwrap().json();
    let finding =
        findings.as_array().unwrap().iter().find(|one| one["what"] == "Webhook, zaken").unwrap().clone();
    assert_eq!(finding["right"], false, "{finding}");
    assert!(text(&finding["problem"]["error"], "what").contains("503"), "{finding}");
    fs::remove_file(folder.join("refuse")).unwrap();
    process::until("the second is told", PATIENCE, || messages(&folder).len() == 2).unwrap();
    assert_eq!(text(&messages(&folder)[1], "subject"), second);
    process::until("all is well", PATIENCE, || webhook()["since"].is_null()).unwrap();

    // A withdrawal is a message of its own, which the application is told too.
    stage.agent(police, &["withdraw", &second, "--reason", "onjuist"]).unwrap();
    process::until("the withdrawal is told", PATIENCE, || messages(&folder).len() == 3).unwrap();
    assert_eq!(messages(&folder)[2]["data"]["flow"], "F36");

    // Who does not know the secret is not believed, and whoever has another is not told anything by that.
    let tested = stage.agent(town, &["webhook", "test", "zaken"]).unwrap();
    assert_eq!(tested["taken"], true);
    stage.agent(town, &["webhook", "secret", "zaken", "--rotate", "--keep", "0"]).unwrap();
    let refused = stage.try_agent(town, &["webhook", "test", "zaken"]).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    drop((agents, receiver));
    let words = [sample.canary.as_str(), text(&made, "secret")];
    for member in [town, police] {
        let log = fs::read_to_string(stage.log_of(&member.label)).unwrap();
        assert!(words.iter().all(|word| !log.contains(word)), "{}", member.role);
    }
    assert_eq!(search(&town.home, [sample.canary.as_str()].into_iter()), Vec::<String>::new());
}

#[test]
fn the_python_client_lets_through_what_is_signed_and_nothing_else() {
    let ran = python(CHECKS, &[]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
