//! Receipts with real processes: what became of a message at each recipient, as files that prove it by
//! themselves, and the log entries an organisation is party to.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::Path;

use seinhuis_shared::cbor;
use seinhuis_shared::frame::Kind;
use seinhuis_shared::receipt::CheckpointCache;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{Entries, FetchEntries, Message as _};
use seinhuis_tests::samples;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use serde_json::Value;

use crate::common::town::Square;
use crate::common::{Scene, inbox_of, wait_for_inbox};

static TOWN: Square = Square::new();

const THREE: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];

/// Pushes the inquiry to police and youth work; its message id.
fn ask(stage: &Stage, town: &Member) -> String {
    let path = samples::covenants().join("samples/04-F04-verzoek-aan-drie-partijen.json");
    let args = ["push", &path.to_string_lossy(), "--to", "politie,jongerenwerk", "--wait", "30"];
    let pushed = stage.agent(town, &args).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    text(&pushed, "msg_id").to_owned()
}

/// How far the message is, police first.
fn reached(stage: &Stage, town: &Member, id: &str) -> Vec<String> {
    let shown = stage.agent(town, &["outbox", "show", id]).unwrap();
    shown["recipients"].as_array().unwrap().iter().map(|one| text(one, "reached").to_owned()).collect()
}

fn until(stage: &Stage, town: &Member, id: &str, want: [&str; 2]) {
    let waited = process::until("it is that far", PATIENCE, || reached(stage, town, id) == want);
    assert!(waited.is_ok(), "{:?}, not {want:?}", reached(stage, town, id));
}

/// The steps a receipt proves, for each recipient.
fn steps(proved: &Value) -> Vec<Vec<String>> {
    let kinds = |one: &Value| {
        let steps = one["steps"].as_array().unwrap();
        steps.iter().map(|step| text(step, "kind").to_owned()).collect()
    };
    proved["recipients"].as_array().unwrap().iter().map(kinds).collect()
}

fn alarms(stage: &Stage, member: &Member) -> Value {
    stage.agent(member, &["status"]).unwrap()["alarms"].clone()
}

fn card(home: &Path, key: &str) -> String {
    let card: Value = serde_json::from_slice(&std::fs::read(home.join("broker.json")).unwrap()).unwrap();
    text(&card, key).to_owned()
}

#[test]
fn a_sender_holds_linked_proofs_of_accepted_stored_and_consumed_that_verify_anywhere() {
    let scene = Scene::with(&THREE);
    let (stage, broker) = (&scene.stage, scene.broker());
    let agents = scene.agents();
    let [town, police, youth] = THREE.map(|role| stage.member(role));
    let id = ask(stage, town);
    wait_for_inbox(stage, police, 1);
    until(stage, town, &id, ["stored", "stored"]);
    let consumed = stage.agent(police, &["inbox", "consumed", &id]).unwrap();
    assert!(consumed["consumed"].is_string(), "{consumed}");
    stage.agent(police, &["inbox", "consumed", "0"]).unwrap();
    until(stage, town, &id, ["consumed", "stored"]);
    process::until("the recipient has its proof", PATIENCE, || {
        inbox_of(stage, police)[0]["consumed_entry"].is_u64()
    })
    .unwrap();
    let shown = stage.agent(town, &["receipt", "show", &id]).unwrap();
    let want = [vec!["accepted", "delivered", "consumed"], vec!["accepted", "delivered"]];
    assert_eq!(steps(&shown), want);
    // A file for whoever has the card's key and the covenant: no broker, no agent, no store.
    let file = stage.dir.join("bewijs.txt").to_string_lossy().into_owned();
    stage.agent(town, &["receipt", "save", &id, "--out", &file]).unwrap();
    let covenant = stage.dir.join("convenant.cbor").to_string_lossy().into_owned();
    let hash = text(&stage.agent(town, &["outbox", "show", &id]).unwrap(), "covenant").to_owned();
    stage.agent(town, &["covenant", "export", &hash, "--out", &covenant]).unwrap();
    let key = card(&town.home, "log_key");
    drop(agents);
    drop(broker);
    let nobody = Member { home: stage.dir.join("niemand"), ..youth.clone() };
    let verify = ["receipt", "verify", &file, "--log-key", &key, "--covenant", &covenant];
    assert_eq!(steps(&stage.agent(&nobody, &verify).unwrap()), want);
    assert_eq!(steps(&stage.agent(youth, &["receipt", "verify", &file]).unwrap()), want, "with its folder");
    // One digit of one entry.
    let spoiled = std::fs::read_to_string(&file).unwrap().replacen("\"time\":1", "\"time\":2", 1);
    std::fs::write(stage.dir.join("vals.txt"), spoiled).unwrap();
    let forged = stage.dir.join("vals.txt").to_string_lossy().into_owned();
    let ran = stage.try_agent(youth, &["receipt", "verify", &forged]).unwrap();
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("proves nothing"), "{}", ran.stderr);
}

#[test]
fn a_message_is_taken_back_from_who_was_away_and_not_from_who_has_it() {
    let scene = Scene::with(&THREE);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let mut agents = scene.agents();
    let [town, police, youth] = THREE.map(|role| stage.member(role));
    agents.pop().unwrap().stop(PATIENCE).unwrap();
    let id = ask(stage, town);
    wait_for_inbox(stage, police, 1);
    until(stage, town, &id, ["stored", "accepted"]);
    stage.agent(town, &["outbox", "withdraw", &id, "--reason", "verkeerde_ontvanger"]).unwrap();
    until(stage, town, &id, ["stored", "withdrawn"]);
    process::until("the answer is kept", PATIENCE, || {
        stage.agent(town, &["outbox", "show", &id]).unwrap()["taken_back"]["done"] == true
    })
    .unwrap();
    let shown = stage.agent(town, &["receipt", "show", &id]).unwrap();
    assert_eq!(steps(&shown), [vec!["accepted", "delivered"], vec!["accepted", "withdrawn"]]);
    // Youth work comes back: nothing is offered to it, ever.
    agents.push(scene.agent("jongerenwerk"));
    let next = ask(stage, town);
    let inbox = wait_for_inbox(stage, youth, 1);
    assert_eq!(text(&inbox[0], "msg_id"), next);
    // What everybody has cannot be taken back.
    until(stage, town, &next, ["stored", "stored"]);
    stage.agent(town, &["outbox", "withdraw", &next]).unwrap();
    process::until("the broker refuses", PATIENCE, || {
        let shown = stage.agent(town, &["outbox", "show", &next]).unwrap();
        shown["taken_back"]["refusal"]["number"] == Refusal::TooLateToTakeBack.number()
    })
    .unwrap();
    for member in [town, police, youth] {
        assert_eq!(alarms(stage, member), Value::Array(vec![]), "{}", member.name);
    }
    drop(agents);
}

#[test]
fn a_sender_that_was_away_hears_later_what_became_of_its_message() {
    let scene = Scene::with(&THREE);
    let (stage, broker) = (&scene.stage, scene.broker());
    let mut agents = scene.agents();
    let [town, police, youth] = THREE.map(|role| stage.member(role));
    for agent in agents.drain(1..) {
        agent.stop(PATIENCE).unwrap();
    }
    let id = ask(stage, town);
    agents.remove(0).kill().unwrap();
    let others = ["politie", "jongerenwerk"].map(|role| scene.agent(role));
    wait_for_inbox(stage, police, 1);
    wait_for_inbox(stage, youth, 1);
    process::until("both acknowledged", PATIENCE, || {
        let tail = stage.log_tail(50).unwrap();
        tail.iter().filter(|one| one.kind == seinhuis_shared::entry::Kind::Delivered).count() == 2
    })
    .unwrap();
    // The broker forgets nothing of it over a restart.
    broker.stop(PATIENCE).unwrap();
    let _broker = scene.broker();
    let _town = scene.agent("gemeente");
    until(stage, town, &id, ["stored", "stored"]);
    drop(others);
}

#[test]
fn an_agent_lists_its_own_entries_and_no_others() {
    let scene = Scene::with(&THREE);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let agents = scene.agents();
    let [town, police, youth] = THREE.map(|role| stage.member(role));
    let id = ask(stage, town);
    until(stage, town, &id, ["stored", "stored"]);
    let log = |member: &Member, args: &[&str]| {
        let all = stage.agent(member, &[&["log"][..], args].concat()).unwrap();
        all.as_array().unwrap().clone()
    };
    let delivered = log(town, &["--kind", "delivered"]);
    assert_eq!(delivered.len(), 2, "the sender sees both");
    for member in [police, youth] {
        let [own] = log(member, &["--kind", "delivered", "--flow", "F04"]).try_into().unwrap();
        assert_eq!(text(&own, "to"), member.oin);
        let all = log(member, &[]);
        let party =
            |one: &Value| ["from", "to", "subject"].iter().any(|key| one[*key] == member.oin.as_str());
        assert!(!all.is_empty() && all.iter().all(party));
    }
    assert!(log(town, &["--until", "2026-01-01"]).is_empty());
    // One entry: its own is shown, another's is as if it were not there.
    let of_youth = delivered.iter().find(|one| one["to"] == youth.oin.as_str()).unwrap();
    let index = of_youth["index"].as_u64().unwrap();
    assert_eq!(log(youth, &["show", &index.to_string()]).len(), 1);
    let said = |index: u64| {
        let ran = stage.try_agent(police, &["log", "show", &index.to_string()]).unwrap();
        assert_eq!(ran.code, 1);
        ran.stdout + &ran.stderr
    };
    assert!(said(index).contains(&Refusal::NotFound.number().to_string()), "{}", said(index));
    assert_eq!(said(index), said(1 << 40), "not told from one that does not exist");
    drop(agents);
}

#[test]
fn a_hostile_client_gets_no_entry_of_another() {
    let town = TOWN.town();
    let packet = town.packet();
    let (_, receipt) = town.accepts_on(&mut town.open("politie"), &packet);
    let index = receipt.entries[0].0;
    let raw = town.open("jongerenwerk");
    let fetch = |ask: &FetchEntries| {
        let payload = cbor::encode(ask);
        let asked = town.runtime.block_on(raw.request(Kind::FetchEntries, &payload, Kind::Entries));
        asked.map(|bytes| Entries::parse(&bytes).unwrap()).map_err(|error| error.refusal())
    };
    let all =
        FetchEntries { origin: None, first: 0, one: false, from: None, until: None, kind: None, flow: None };
    let one = FetchEntries { first: index, one: true, ..all.clone() };
    assert_eq!(fetch(&one), Err(Some(Refusal::NotFound)));
    assert_eq!(fetch(&FetchEntries { first: u64::MAX, ..one }), Err(Some(Refusal::NotFound)));
    let given = fetch(&all).unwrap();
    let (_, entries) = given.verify(raw.log(), &mut CheckpointCache::default()).unwrap();
    let own = Some(town.oin("jongerenwerk"));
    assert!(entries.iter().all(|(_, one)| [one.from, one.to, one.subject].contains(&own)));
    // Nobody takes back what another sent, nor says that another consumed it.
    for (kind, payload) in [(Kind::Withdraw, b"\x80".to_vec()), (Kind::Consume, b"\x80".to_vec())] {
        let asked = town.runtime.block_on(raw.request(kind, &payload, Kind::Entries));
        assert!(asked.err().and_then(|error| error.refusal()).is_some());
    }
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}
