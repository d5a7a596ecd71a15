//! Webhooks of an agent that has no broker, whose inbox was filled before: receivers that work, and every way in which they
//! may not.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod filled;
mod office;
#[allow(unreachable_pub, reason = "in the library of the whole-system tests it is for others")]
#[path = "../../tests/kits/receiver.rs"]
mod receiver;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use filled::{CONTENT, fill};
use office::Office;
use receiver::{Act, Got, Receiver};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use seinhuis_agent::commands::request::{Look, Request};
use seinhuis_agent::{Agent, AgentHandle};
use seinhuis_shell::cli;
use serde_json::{Value, json};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Adds to an agent's settings.
fn configure(office: &Office, more: &str) {
    let config = office.home().config();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, format!("{text}\n{more}\n")).unwrap();
}

fn hook(name: &str, receiver: &Receiver, more: &str) -> String {
    format!("[[webhook]]\nname = \"{name}\"\nurl = \"http://{}/hook\"\n{more}\n", receiver.address)
}

/// An office with one webhook and these messages in its inbox.
fn desk(receiver: &Receiver, more: &str, messages: &[(&str, u8)]) -> Office {
    let office = Office::new();
    fill(&office, 0, messages);
    configure(&office, &hook("zaken", receiver, more));
    office
}

fn start(office: &Office) -> AgentHandle {
    Agent::start(&office.options()).unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} in vain");
}

/// How a webhook does, as `status` shows it.
async fn standing(agent: &AgentHandle, name: &str) -> Value {
    let status = agent.ask(Request::Look(Look::Status)).await.unwrap();
    let mut all = status["ways"].as_array().unwrap().clone();
    all.retain(|way| way["kind"] == "webhook" && way["name"] == name);
    all.pop().unwrap()
}

async fn works(agent: &AgentHandle, name: &str) -> bool {
    standing(agent, name).await["since"].is_null()
}

async fn consumed(agent: &AgentHandle, position: u64) -> bool {
    let look = Look::Read { id: position.to_string(), withdrawn: false };
    agent.ask(Request::Look(look)).await.unwrap()["consumed"].is_string()
}

/// What a command prints.
fn told(office: &Office, args: &[&str]) -> Value {
    let (code, text) = cli::captured(|| office.run(args));
    assert_eq!(code, 0, "{args:?}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn secret(office: &Office) -> String {
    told(office, &["webhook", "secret", "zaken"])["secret"].as_str().unwrap().to_owned()
}

fn takes(_: &Got) -> Act {
    Act::status(200)
}

#[tokio::test]
async fn a_message_is_told_once_with_its_body_as_it_was_written_and_is_taken_over() {
    let receiver = Receiver::new(takes).unwrap();
    let office =
        desk(&receiver, "content = true\nconsume = true\nflows = [\"F01\"]", &[("F01", 1), ("F02", 1)]);
    let agent = start(&office);
    until("it is told", async || receiver.messages().len() == 1).await;
    until("it is taken over", async || consumed(&agent, 0).await).await;
    let got = receiver.messages().remove(0);
    assert_eq!(got.line, "POST /hook HTTP/1.1");
    assert_eq!(got.fields["content-type"], "application/cloudevents+json; charset=utf-8");
    let event = got.json();
    assert_eq!(
        (&event["specversion"], &event["type"]),
        (&json!("1.0"), &json!("nl.seinhuis.message.received"))
    );
    assert_eq!(event["id"], json!(got.id()));
    assert_eq!((&event["data"]["flow"], &event["data"]["position"]), (&json!("F01"), &json!(0)));
    assert_eq!(event["subject"], event["data"]["msg_id"]);
    assert!(String::from_utf8(got.body.clone()).unwrap().contains(&format!("\"body\":{CONTENT}")));
    assert!(got.is_signed(&secret(&office)));
    assert!(!consumed(&agent, 1).await, "of a flow that is not wanted");
    assert!(works(&agent, "zaken").await);
    agent.shutdown().await.unwrap();
    fill(&office, 2, &[("F01", 2)]);
    let agent = start(&office);
    until("the next is told", async || receiver.messages().len() == 2).await;
    assert_eq!(receiver.positions(), [0, 2], "what was taken over does not come again");
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn without_content_nothing_is_read_and_how_far_it_is_is_kept() {
    let receiver = Receiver::new(takes).unwrap();
    let office = desk(&receiver, "", &[("F01", 1), ("F02", 0)]);
    let agent = start(&office);
    until("both are told", async || receiver.messages().len() == 2).await;
    for got in receiver.messages() {
        let data = &got.json()["data"];
        assert!(data["body"].is_null() && data["packet"].is_string(), "{data}");
        assert!(!String::from_utf8(got.body).unwrap().contains("Jansen"));
    }
    assert!(!consumed(&agent, 0).await, "who is told that there is something has not taken it over");
    agent.shutdown().await.unwrap();
    fill(&office, 2, &[("F01", 1)]);
    let agent = start(&office);
    until("the third is told", async || receiver.messages().len() == 3).await;
    assert_eq!(receiver.positions(), [0, 1, 2]);
    agent.shutdown().await.unwrap();
    // As after a crash before it was kept: the receiver knows it by its id.
    fs::remove_file(office.path().join("webhooks/zaken.json")).unwrap();
    let agent = start(&office);
    until("they are told again", async || receiver.messages().len() == 6).await;
    let ids: BTreeSet<String> = receiver.messages().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!(ids.len(), 3);
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn one_that_is_refused_holds_up_later_ones_of_its_own_case_only() {
    for status in [400, 422] {
        let receiver = Receiver::new(move |got| {
            Act::status(if !got.is_ping() && got.position() == Some(0) { status } else { 200 })
        })
        .unwrap();
        let office = desk(&receiver, "", &[("F01", 1), ("F01", 1), ("F01", 2), ("F01", 0)]);
        let agent = start(&office);
        until("the others are told", async || receiver.positions().contains(&3)).await;
        let others: Vec<u64> = receiver.positions().into_iter().filter(|at| *at != 0).collect();
        assert_eq!(others, [2, 3]);
        until("it is told what is wrong", async || !works(&agent, "zaken").await).await;
        let wrong = standing(&agent, "zaken").await;
        assert!(wrong["problem"][0].as_str().unwrap().contains(&status.to_string()), "{wrong}");
        receiver.act(takes);
        until("those of the case come, in order", async || receiver.positions().ends_with(&[0, 1])).await;
        until("all is well", async || works(&agent, "zaken").await).await;
        let all = receiver.positions();
        assert!([1, 2, 3].iter().all(|one| all.iter().filter(|at| *at == one).count() == 1), "{all:?}");
        agent.shutdown().await.unwrap();
    }
}

/// What goes wrong with the first message that is told, and whether it is told again.
fn faults() -> Vec<(&'static str, Act, bool)> {
    let raw = |bytes: &[u8]| Act::Raw(bytes.to_vec());
    let head = b"HTTP/1.1 200 OK\r\n".to_vec();
    let elsewhere = "location: http://127.0.0.1:1/elsewhere\r\n".to_owned();
    vec![
        ("stil", Act::Silence, true),
        ("traag", Act::Drip([&head[..], &[b'x'; 60]].concat()), true),
        ("rommel", raw(b"\x00\xff\x16\x03 not http at all\r\n\r\n"), true),
        ("weg", raw(b""), true),
        ("half", raw(b"HTTP/1.1 200 OK\r\ncontent-"), true),
        ("kop", Act::Flood(head, b"x-more: and more and more\r\n".repeat(100)), true),
        ("door", Act::Status(307, elsewhere), true),
        ("geen", Act::status(404), true),
        ("sleutel", Act::status(401), true),
        ("druk", Act::Status(429, "retry-after: 1\r\n".to_owned()), true),
        ("stuk", Act::status(500), true),
        ("groot", Act::status(413), true),
        // It was taken: what follows is not waited for.
        (
            "lang",
            Act::Flood(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n".to_vec(), vec![b'x'; 65_536]),
            false,
        ),
        ("open", raw(b"HTTP/1.1 202 x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal"), false),
    ]
}

#[tokio::test]
async fn whatever_a_receiver_does_nothing_is_lost_and_it_is_told_what_is_wrong() {
    let office = Office::new();
    fill(&office, 0, &[("F01", 1), ("F01", 1)]);
    let mut receivers = Vec::new();
    for (name, act, again) in faults() {
        let mut act = Some(act);
        let receiver = Receiver::new(move |got| {
            let act = if got.is_ping() { None } else { act.take() };
            act.unwrap_or_else(|| Act::status(204))
        })
        .unwrap();
        configure(&office, &hook(name, &receiver, "content = true\ntimeout_s = 2"));
        receivers.push((name, receiver, again));
    }
    let agent = start(&office);
    for (name, receiver, again) in &receivers {
        if *again {
            until(&format!("{name} is told"), async || {
                !works(&agent, name).await || receiver.messages().len() >= 3
            })
            .await;
        }
    }
    for (name, receiver, again) in &receivers {
        let wanted: &[u64] = if *again { &[0, 0, 1] } else { &[0, 1] };
        until(&format!("{name} has all"), async || receiver.positions().len() >= wanted.len()).await;
        until(&format!("{name} works again"), async || works(&agent, name).await).await;
        let all = receiver.messages();
        assert_eq!(receiver.positions(), wanted, "{name}: in order, and no more than it takes");
        if *again {
            assert_eq!((all[0].id(), &all[0].body), (all[1].id(), &all[1].body), "{name}: the same message");
        }
    }
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_down_holds_up_everything_and_is_not_read_for() {
    // An address at which nobody listens yet.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let office = Office::new();
    fill(&office, 0, &[("F01", 1), ("F01", 2), ("F01", 3)]);
    configure(
        &office,
        &format!(
            "[[webhook]]\nname = \"zaken\"\nurl = \"http://{address}/\"\ncontent = true\nconsume = true"
        ),
    );
    let agent = start(&office);
    until("it is told", async || !works(&agent, "zaken").await).await;
    let wrong = standing(&agent, "zaken").await;
    assert!(wrong["problem"][1].as_str().unwrap().contains("gives no answer"), "{wrong}");
    assert!(wrong["advice"][0].as_str().unwrap().contains("vanzelf"), "{wrong}");
    // What may not be kept any more is not told of either.
    agent.ask(Request::Erase { id: "1".into(), ground: "termijn".into() }).await.unwrap();
    let since = wrong["since"].clone();
    // It comes up, but says for a while that it is too busy.
    let mut busy = 2;
    let receiver = Receiver::on(TcpListener::bind(address).unwrap(), None, move |_| {
        busy -= i32::from(busy > 0);
        Act::status(if busy > 0 { 503 } else { 200 })
    })
    .unwrap();
    until("it has all", async || receiver.positions().len() >= 2).await;
    until("all is well", async || works(&agent, "zaken").await).await;
    assert_eq!(receiver.positions(), [0, 2]);
    assert!(receiver.pings() >= 2, "it was asked first, without content");
    assert!(since.is_string());
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_has_gone_is_left_alone_and_nothing_is_lost_by_that() {
    let receiver = Receiver::new(|_| Act::status(410)).unwrap();
    let office = desk(&receiver, "", &[("F01", 1)]);
    let agent = start(&office);
    until("it is told", async || !works(&agent, "zaken").await).await;
    let wrong = standing(&agent, "zaken").await;
    assert!(wrong["advice"][1].as_str().unwrap().contains("gone for good"), "{wrong}");
    agent.shutdown().await.unwrap();
    assert_eq!((receiver.pings(), receiver.messages().len()), (1, 0));
    receiver.act(takes);
    let agent = start(&office);
    until("who starts anew asks anew", async || receiver.positions() == [0]).await;
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_agent_stops_while_a_receiver_hangs() {
    let receiver = Receiver::new(|_| Act::Silence).unwrap();
    let office = desk(&receiver, "timeout_s = 60", &[("F01", 1)]);
    let agent = start(&office);
    until("it is asked", async || receiver.pings() == 1).await;
    let stopped = tokio::time::timeout(Duration::from_secs(30), agent.shutdown()).await;
    assert!(stopped.is_ok(), "a stop does not wait for a receiver");
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_sign_and_others_cannot_read_it() {
    let receiver = Receiver::new(takes).unwrap();
    let office = desk(&receiver, "", &[("F01", 1)]);
    let path = office.path().join("webhooks/zaken.secret");
    let first = secret(&office);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let second =
        told(&office, &["webhook", "secret", "zaken", "--rotate"])["secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let agent = start(&office);
    until("it is told", async || receiver.messages().len() == 1).await;
    let got = receiver.messages().remove(0);
    assert!(got.is_signed(&first) && got.is_signed(&second));
    agent.shutdown().await.unwrap();
    fill(&office, 1, &[("F01", 1)]);
    // One that the application's maker drew, at once.
    let own = format!("whsec_{}", BASE64.encode(&[7; 24]));
    let file = office.dir.path().join("own");
    fs::write(&file, format!("{own}\n")).unwrap();
    let file = file.to_str().unwrap();
    told(&office, &["webhook", "secret", "zaken", "--rotate", "--keep", "0", "--from", file]);
    let agent = start(&office);
    until("it is told", async || receiver.messages().len() == 2).await;
    let got = receiver.messages().remove(1);
    assert!(got.is_signed(&own) && !got.is_signed(&first) && !got.is_signed(&second));
    agent.shutdown().await.unwrap();
    assert_eq!(office.run(&["webhook", "secret", "zaken", "--from", file]), 2, "nothing is replaced unasked");
    fs::write(file, "geheim").unwrap();
    assert_eq!(office.run(&["webhook", "secret", "zaken", "--rotate", "--from", file]), 2);
    assert_eq!(office.run(&["webhook", "secret", "anders"]), 1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(office.refused_start().advice.en.contains("chmod"), "{}", office.refused_start());
    assert_eq!(office.run(&["webhook", "secret", "zaken"]), 2);
}

#[test]
fn a_test_says_whether_the_receiver_takes_it_and_the_list_shows_no_secret() {
    let receiver = Receiver::new(takes).unwrap();
    let office = desk(&receiver, "", &[]);
    let sent = told(&office, &["webhook", "test", "zaken"]);
    assert_eq!((sent["taken"].clone(), receiver.pings()), (json!(true), 1));
    let (_, list) = cli::captured(|| office.run(&["webhook", "list"]));
    let secret = secret(&office);
    assert!(list.contains("zaken") && !list.contains(&secret) && !list.contains("/hook"), "{list}");
    for (act, code) in [(Act::status(500), 1), (Act::status(302), 1), (Act::Raw(vec![]), 1)] {
        receiver.act(move |_| act.clone());
        assert_eq!(office.run(&["webhook", "test", "zaken"]), code);
    }
    assert_eq!(office.run(&["webhook", "test", "anders"]), 1);
}

/// A certificate authority, and a server's certificate of it for this machine.
fn authority() -> (String, Arc<ServerConfig>) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&own, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(own.serialize_der()).into())
        .unwrap();
    (ca.pem(), Arc::new(config))
}

#[tokio::test]
async fn a_receiver_is_told_nothing_until_its_certificate_is_of_the_authority_that_is_trusted() {
    let (ca, config) = authority();
    let (other, _) = authority();
    let receiver = Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), Some(config), takes).unwrap();
    let office = Office::new();
    fill(&office, 0, &[("F01", 1)]);
    fs::write(office.path().join("ca.pem"), other).unwrap();
    let url = format!("https://127.0.0.1:{}/hook", receiver.address.port());
    configure(
        &office,
        &format!("[[webhook]]\nname = \"zaken\"\nurl = \"{url}\"\nca = \"ca.pem\"\ncontent = true"),
    );
    let agent = start(&office);
    until("it is told", async || !works(&agent, "zaken").await).await;
    let wrong = standing(&agent, "zaken").await;
    assert!(wrong["problem"][1].as_str().unwrap().contains("certificate"), "{wrong}");
    agent.shutdown().await.unwrap();
    assert_eq!((receiver.pings(), receiver.messages().len()), (0, 0), "it was told nothing");
    fs::write(office.path().join("ca.pem"), ca).unwrap();
    let agent = start(&office);
    until("it is told", async || receiver.messages().len() == 1).await;
    agent.shutdown().await.unwrap();
    fs::remove_file(office.path().join("ca.pem")).unwrap();
    assert!(office.refused_start().what.en.contains("ca.pem"), "{}", office.refused_start());
}

#[test]
fn nothing_leaves_this_machine_unencrypted() {
    let office = Office::new();
    configure(&office, "[[webhook]]\nname = \"zaken\"\nurl = \"http://192.0.2.7/hook\"");
    let told = office.refused_start();
    assert!(told.what.en.contains("webhook.url") && told.advice.en.contains("https://"), "{told}");
}
