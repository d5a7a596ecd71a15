//! The page for people of real agents: people in a real browser without scripts, and whoever else comes along.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod people;
mod strangers;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use seinhuis_tests::http::{Answer, Client};
use seinhuis_tests::stage::text;
use seinhuis_tests::{Member, Process, Stage, ports};
use serde_json::Value;

use crate::common::{Scene, town};

/// Has a member's agent serve the page, from its next start on.
fn open(stage: &Stage, member: &Member) -> SocketAddr {
    let address = ports::free().unwrap();
    stage.configure_agent(member, &format!("\n[page]\nlisten = \"{address}\"\n")).unwrap();
    address
}

/// The id and the code of a person with these rights.
fn person(stage: &Stage, member: &Member, name: &str, rights: &str) -> (String, String) {
    let made = stage.agent(member, &["person", "add", name, "--may", rights]).unwrap();
    (text(&made, "id").to_owned(), text(&made, "code").to_owned())
}

/// Municipality and police, whose agents serve the page and know each other.
struct Two {
    at_town: SocketAddr,
    at_police: SocketAddr,
    /// Ended before their folders go: the broker, the municipality, the police.
    running: Vec<Process>,
    scene: Scene,
}

impl Two {
    fn running() -> Self {
        let scene = Scene::with(&["gemeente", "politie"]);
        let [at_town, at_police] =
            ["gemeente", "politie"].map(|role| open(&scene.stage, scene.stage.member(role)));
        let running = std::iter::once(scene.broker()).chain(scene.agents()).collect();
        Self { at_town, at_police, running, scene }
    }

    fn town(&self) -> &Member {
        self.scene.stage.member("gemeente")
    }

    fn police(&self) -> &Member {
        self.scene.stage.member("politie")
    }

    /// Nothing of these words is in anybody's log.
    fn is_not_told(&self, words: &[&str]) {
        for of in ["politie", "gemeente", "broker"] {
            let log = fs::read_to_string(self.scene.stage.log_of(of)).unwrap();
            for word in words {
                assert!(!log.contains(word), "{of} tells {word}: {log}");
            }
        }
    }
}

/// A browser as plain as can be, with what the page gave it.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) cookie: String,
    pub(crate) token: String,
}

/// The value of a hidden field.
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    page.split_once(&start)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(value, _)| value)
        .to_owned()
}

pub(crate) fn body(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// A field of the head; empty when it is not there.
pub(crate) fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let start = format!("{name}: ");
    answer.head.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
}

/// Fields of a form as a browser sends them.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut all, byte| {
            // Writing to a string cannot fail.
            _ = write!(all, "%{byte:02X}");
            all
        })
    };
    fields
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect::<Vec<_>>()
        .join("&")
}

impl Site {
    /// Somebody who is not signed in.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { client: Client { address, token: String::new() }, cookie: String::new(), token: String::new() }
    }

    /// Somebody who signed in with a code.
    fn signed_in(address: SocketAddr, code: &str) -> Self {
        Self::signed_in_with(address, &[("code", code)])
    }

    /// Somebody who signed in with a form.
    pub(crate) fn signed_in_with(address: SocketAddr, fields: &[(&str, &str)]) -> Self {
        let mut site = Self::new(address);
        site.cookie = site.cookie_of("/sign-in", fields);
        site.token = hidden(&body(&site.get("/")), "token");
        assert!(!site.token.is_empty());
        site
    }

    /// What a form's answer puts in the cookie, as it is.
    fn cookie_of(&self, path: &str, fields: &[(&str, &str)]) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.client.address).unwrap();
        let origin = format!("http://{}", self.client.address);
        let more = [("origin", origin.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        stream.write_all(self.client.request("POST", path, &more, &form(fields)).as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        // As it is: what an answer is read into has its head in lower case.
        let field = text.split_once("set-cookie: ").and_then(|(_, rest)| rest.split_once(';'));
        field.unwrap_or_else(|| panic!("{text}")).0.to_owned()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.client.ask("GET", path, &[("cookie", &self.cookie)], "").unwrap()
    }

    /// Posts a form of this session, as its own page does.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = [("token", self.token.as_str())];
        self.post_with(path, &[], &[&token[..], fields].concat())
    }

    /// Posts a form with other header fields than a page of its own has.
    pub(crate) fn post_with(&self, path: &str, more: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let origin = format!("http://{}", self.client.address);
        let usual = [
            ("origin", origin.as_str()),
            ("cookie", self.cookie.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let given = |name: &str| more.iter().any(|(other, _)| *other == name);
        let all: Vec<(&str, &str)> = usual
            .into_iter()
            .filter(|(name, _)| !given(name))
            .chain(more.iter().copied().filter(|(_, value)| !value.is_empty()))
            .collect();
        self.client.ask("POST", path, &all, &form(fields)).unwrap()
    }

    /// The path of the form for a message type of a flow, as the page offers it.
    fn form_for(&self, flow: &str) -> String {
        let page = body(&self.get("/new"));
        let path = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let mut own = path.filter(|path| path.starts_with("/new/") && path.contains(&format!("/{flow}/")));
        own.next().unwrap_or_else(|| panic!("no form for {flow}: {page}")).to_owned()
    }
}

/// The fields of a body, named as its form names them.
fn fields_of(value: &Value, pointer: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                fields_of(inner, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(rows) => {
            let choices = rows.iter().all(Value::is_string);
            if !choices {
                found.push((format!("#{pointer}"), rows.len().to_string()));
            }
            for (nth, row) in rows.iter().enumerate() {
                let at = if choices { pointer.to_owned() } else { format!("{pointer}/{nth}") };
                fields_of(row, &at, found);
            }
        }
        Value::String(text) => found.push((pointer.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            found.push((pointer.to_owned(), value.to_string()));
        }
    }
}

/// The sample of a flow as a form that is sent under a key.
fn filled(flow: &str, key: &str) -> Vec<(String, String)> {
    let sample = town::sample(flow).value;
    let mut found = vec![("key".to_owned(), key.to_owned()), ("do".to_owned(), "send".to_owned())];
    for name in ["step", "case", "basis"] {
        let value = sample.get(name).and_then(Value::as_str).unwrap_or_default();
        found.push((name.to_owned(), value.to_owned()));
    }
    fields_of(&sample["body"], "", &mut found);
    found
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
