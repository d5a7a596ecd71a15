//! The page for people of an agent without a connection: what is filled in waits, and a session ends with the agent.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod office;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use seinhuis_agent::ways::page::person::Persons;
use seinhuis_agent::{Agent, AgentHandle};
use seinhuis_shell::clock;
use serde_json::Value;

use self::office::{Office, TOWN, sample};

/// An answer: status line and header fields, and the rest.
fn ask(address: SocketAddr, method: &str, path: &str, cookie: &str, form: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = form.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\ncookie: {cookie}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(inner, _)| inner)
}

fn sign_in(address: SocketAddr, code: &str) -> String {
    let (head, _) = ask(address, "POST", "/sign-in", "", &format!("code={code}"));
    assert!(head.starts_with("HTTP/1.1 303"), "{head}");
    format!("seinhuis={}", between(&head, "seinhuis=", ";"))
}

/// The form of the sample, as its fields are named.
fn fields(value: &Value, pointer: &str, form: &mut String) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, inner)| fields(inner, &format!("{pointer}/{name}"), form));
        }
        Value::Array(rows) => rows.iter().for_each(|row| fields(row, pointer, form)),
        Value::String(text) => *form += &["&", pointer, "=", &text.replace(' ', "+")].concat(),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            *form += &["&", pointer, "=", &value.to_string()].concat();
        }
    }
}

async fn held(agent: &AgentHandle) -> (usize, usize) {
    let status = agent.status().await.unwrap();
    (status.drafts, status.held)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_filled_in_waits_for_a_connection_and_a_session_ends_with_the_agent() {
    let office = Office::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = office.home().config();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[page]\nlisten = \"{address}\"\n")).unwrap();
    let agent = Agent::start(&office.options()).unwrap();
    assert_eq!(agent.page_address(), Some(address));
    let may = ["push:F01".parse().unwrap()].into();
    let persons = Persons::new(&office.home().persons());
    let (_, code) = persons.add("Anna de Vries", may, 1, clock::now()).unwrap();

    let cookie = sign_in(address, &code);
    let (_, list) = ask(address, "GET", "/new", &cookie, "");
    let path = format!("/new/{}", between(&list, "href=\"/new/", "\""));
    let (_, page) = ask(address, "GET", &path, &cookie, "");
    let (token, key) =
        (between(&page, "name=\"token\" value=\"", "\""), between(&page, "name=\"key\" value=\"", "\""));
    let sample: Value = serde_json::from_slice(&fs::read(sample()).unwrap()).unwrap();
    let mut form = format!("token={token}&key={key}&do=send&to={TOWN}&step=1&basis=avg_6_1_e");
    fields(&sample["body"], "", &mut form);
    let (head, body) = ask(address, "POST", &path, &cookie, &form);
    assert!(head.starts_with("HTTP/1.1 303"), "{head}{body}");
    assert_eq!(held(&agent).await, (1, 0));
    let sent = between(&head, "location: ", "\r\n").to_owned();
    let (_, page) = ask(address, "GET", &sent, &cookie, "");
    assert!(page.contains("In de wachtrij") && page.contains("</time> · Anna de Vries"), "{page}");
    assert!(fs::read_to_string(office.home().makers()).unwrap().contains("Anna de Vries"));

    agent.shutdown().await.unwrap();
    let agent = Agent::start(&office.options()).unwrap();
    let (head, _) = ask(address, "GET", "/sent", &cookie, "");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let cookie = sign_in(address, &code);
    let (_, page) = ask(address, "GET", &sent, &cookie, "");
    assert!(page.contains("</time> · Anna de Vries"), "who made it outlives the agent: {page}");
    agent.shutdown().await.unwrap();

    // Damage to what says who made what keeps nothing else from going on.
    fs::write(office.home().makers(), "{").unwrap();
    let agent = Agent::start(&office.options()).unwrap();
    let cookie = sign_in(address, &code);
    let (_, page) = ask(address, "GET", &sent, &cookie, "");
    assert!(page.contains("In de wachtrij") && !page.contains("</time> · Anna de Vries"), "{page}");
    assert!(!office.home().makers().exists() && office.home().makers().with_extension("damaged").exists());
    agent.shutdown().await.unwrap();
}

/// Who has no right to it finds no register, and who has finds nobody it does not hold; nothing of either is in an address.
#[tokio::test(flavor = "multi_thread")]
async fn the_register_of_data_subjects_is_there_for_who_looks_after_it_and_for_nobody_else() {
    let office = Office::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = office.home().config();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[page]\nlisten = \"{address}\"\n")).unwrap();
    let agent = Agent::start(&office.options()).unwrap();
    let persons = Persons::new(&office.home().persons());
    let code = |name: &str, rights: &[&str]| {
        let rights = rights.iter().map(|right| right.parse().unwrap()).collect();
        persons.add(name, rights, 1, clock::now()).unwrap().1
    };
    let all_but_this = ["read", "push", "release", "cases", "decide"];
    let (other, own) = (code("Bram Bakker", &all_but_this), code("Noor Register", &["subjects"]));

    let nobody = format!("/subjects/{}", "00".repeat(32));
    let acts = ["informed", "postpone", "exempt", "reopen", "rectify", "erase", "letter", "answer"];
    let below: Vec<String> = acts.iter().map(|act| format!("{nobody}/{act}")).collect();
    let cookie = sign_in(address, &other);
    let (_, start) = ask(address, "GET", "/", &cookie, "");
    assert!(!start.contains("href=\"/subjects\""), "{start}");
    let token = between(&start, "name=\"token\" value=\"", "\"").to_owned();
    for path in
        ["/subjects", "/subjects/search", nobody.as_str()].into_iter().chain(below.iter().map(String::as_str))
    {
        let (head, _) = ask(address, "GET", path, &cookie, "");
        assert!(head.starts_with("HTTP/1.1 403"), "{path}: {head}");
    }
    for path in below.iter().map(String::as_str).chain(["/subjects/search"]) {
        let (head, _) = ask(address, "POST", path, &cookie, &format!("token={token}&case=x&do=send"));
        assert!(head.starts_with("HTTP/1.1 403"), "{path}: {head}");
    }

    let cookie = sign_in(address, &own);
    let (_, start) = ask(address, "GET", "/", &cookie, "");
    assert!(start.contains("href=\"/subjects\"") && start.contains("nog te informeren"), "{start}");
    assert!(!start.contains("href=\"/inbox\"") && !start.contains("href=\"/sent\""), "{start}");
    let token = between(&start, "name=\"token\" value=\"", "\"").to_owned();
    for path in ["/subjects", "/subjects?all=yes", "/subjects/search"] {
        let (head, page) = ask(address, "GET", path, &cookie, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        assert!(head.contains("no-store") && page.contains("niemand"), "{path}: {page}");
    }
    for path in below.iter().map(String::as_str).chain([nobody.as_str(), "/subjects/x", "/subjects/x/erase"])
    {
        let (head, _) = ask(address, "GET", path, &cookie, "");
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
    }
    for path in &below {
        let (head, _) = ask(address, "POST", path, &cookie, &format!("token={token}&do=send"));
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
    }
    // What is searched for is in a form of this session alone.
    let (head, page) =
        ask(address, "POST", "/subjects/search", &cookie, &format!("token={token}&by.naam=Timo"));
    assert!(head.starts_with("HTTP/1.1 422") && !page.contains("Timo"), "{head}{page}");
    let (head, page) = ask(address, "POST", "/subjects/search", &cookie, &format!("token={token}&case=Timo"));
    assert!(head.starts_with("HTTP/1.1 422") && page.contains("pseudoniem"), "{head}{page}");
    let (head, _) = ask(address, "POST", "/subjects/search", &cookie, "by.naam=Timo");
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    agent.shutdown().await.unwrap();
}
