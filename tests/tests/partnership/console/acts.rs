//! What is done on the console: by whose role gives the right, by two people where that is asked, and each an entry.

use std::fs;

use seinhuis_shared::entry::Entry;
use seinhuis_shared::signing::sha256;
use seinhuis_tests::process::until;
use seinhuis_tests::site::{Site, hidden};
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Stage, samples};
use serde_json::Value;

use super::{Account, open, open_with, signed_in};
use crate::common::{Scene, push, wait_for_inbox};

const REASON: &str = "Sleutel gestolen, telefonisch gemeld";

fn key(site: &Site, path: &str) -> String {
    hidden(&site.get(path).unwrap().text(), "key")
}

/// Presses a button of a page with a reason; the status and where it leads.
fn does(site: &Site, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let key = key(site, path);
    let all = [&[("reason", REASON), ("key", key.as_str())][..], fields].concat();
    let answer = site.post(path, &all).unwrap();
    (answer.status, answer.field("location").to_owned())
}

fn newest(stage: &Stage) -> Entry {
    stage.log_tail(1).unwrap().remove(0)
}

fn book(stage: &Stage) -> Vec<Value> {
    let text = fs::read_to_string(stage.broker_home().join("console-acts.jsonl")).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| !line["act"].as_str().unwrap().starts_with("account-")).collect()
}

/// What the book says, line by line: who, and what was said or came of it.
fn told(stage: &Stage) -> Vec<(String, String)> {
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    book(stage).iter().map(|line| (word(line, "who"), word(line, "said"))).collect()
}

fn is_revoked(stage: &Stage, oin: &str) -> bool {
    let partners = stage.broker(&["partner", "list"]).unwrap();
    let row = partners.as_array().unwrap().iter().find(|row| row["oin"] == oin).unwrap().clone();
    row["revoked"].is_string()
}

#[test]
fn what_two_people_do_waits_for_a_second_one_who_has_the_right_and_is_another() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let address = open_with(stage, "four_eyes = [\"partner-revoke\"]\n");
    let broker = scene.broker();
    let staff = [("Bea", "operator"), ("Rik", "partner-manager"), ("Lies", "viewer")];
    for (name, role) in staff {
        Account::new(stage, name, role);
    }
    let [bea, rik, lies] = staff.map(|(name, _)| signed_in(stage, address, name));
    let police = stage.member("politie").oin.clone();
    let path = format!("/agents/{police}");
    assert_eq!(does(&bea, &path, &[("do", "revoke")]), (303, "/acts/asked".into()));
    assert!(!is_revoked(stage, &police), "it waits");
    let page = rik.get("/acts/asked").unwrap().text();
    assert!(page.contains(REASON) && page.contains("Bea") && page.contains("value=\"agree\""), "{page}");
    let id = hidden(&page, "id");
    let agree = [("do", "agree"), ("id", id.as_str())];
    let own = bea.get("/acts/asked").unwrap().text();
    assert!(!own.contains("value=\"agree\"") && own.contains("value=\"turn-down\""), "{own}");
    assert_eq!(does(&bea, "/acts/asked", &agree).0, 403, "nobody agrees with themselves");
    let seen = lies.get("/acts/asked").unwrap().text();
    assert!(seen.contains(REASON) && !seen.contains("name=\"reason\""), "{seen}");
    for press in ["agree", "turn-down"] {
        let fields =
            [("do", press), ("id", id.as_str()), ("reason", REASON), ("key", &key(&rik, "/acts/asked"))];
        assert_eq!(lies.post("/acts/asked", &fields).unwrap().status, 403, "{press}");
    }
    for wrong in ["", "x", &format!("{id}A")] {
        assert_eq!(does(&rik, "/acts/asked", &[("do", "agree"), ("id", wrong)]).0, 404, "{wrong}");
    }
    let bare = [("do", "agree"), ("id", id.as_str()), ("reason", " "), ("key", &key(&rik, "/acts/asked"))];
    assert_eq!(rik.post("/acts/asked", &bare).unwrap().status, 400, "without a reason");
    assert!(!is_revoked(stage, &police));
    assert!(lies.get("/").unwrap().text().contains("wacht op een tweede"));

    // What is for one person is done at once.
    assert_eq!(does(&bea, &path, &[("do", "suspend")]), (303, path.clone()));
    assert_eq!(newest(stage).detail.as_deref(), Some("suspended"));

    // It waits over a start of the broker, after which everybody signs in again.
    broker.stop(PATIENCE).unwrap();
    let _broker = scene.broker();
    let [bea, rik] = ["Bea", "Rik"].map(|name| signed_in(stage, address, name));
    assert_eq!(does(&rik, "/acts/asked", &agree), (303, "/acts/asked".into()));
    assert!(is_revoked(stage, &police));
    let entry = newest(stage);
    assert_eq!(
        (entry.detail.as_deref(), entry.statement),
        (Some("revoked"), Some(sha256(REASON.as_bytes())))
    );
    assert_eq!(does(&bea, "/acts/asked", &agree).0, 404, "it is done once");
    let said = told(stage).into_iter().map(|(who, said)| {
        let came = said.strip_prefix("entry ").is_some_and(|index| index.parse::<u64>().is_ok());
        (who, if came { "done".to_owned() } else { said })
    });
    let wanted = [("Bea", "asked"), ("Bea", ""), ("Bea", "done"), ("Rik", "agreed"), ("Rik", "done")];
    assert_eq!(said.collect::<Vec<_>>(), wanted.map(|(who, said)| (who.to_owned(), said.to_owned())));

    // One that is turned down is not done.
    let town = stage.member("gemeente").oin.clone();
    assert_eq!(does(&rik, &format!("/agents/{town}"), &[("do", "revoke")]).0, 303);
    let id = hidden(&bea.get("/acts/asked").unwrap().text(), "id");
    assert_eq!(does(&bea, "/acts/asked", &[("do", "turn-down"), ("id", &id)]).0, 303);
    assert_eq!(does(&bea, "/acts/asked", &[("do", "agree"), ("id", &id)]).0, 404);
    assert!(!is_revoked(stage, &town));
    assert_eq!(told(stage).last().unwrap(), &("Bea".into(), "turned-down".into()));
}

#[test]
fn intake_stops_and_goes_on_and_what_waits_is_offered_again() {
    let scene = Scene::with(&["gemeente", "jongerenwerk"]);
    let stage = &scene.stage;
    let address = open(stage);
    let _broker = scene.broker();
    let _agents = scene.agents();
    for (name, role) in [("Bea", "operator"), ("Rik", "partner-manager")] {
        Account::new(stage, name, role);
    }
    let [bea, rik] = ["Bea", "Rik"].map(|name| signed_in(stage, address, name));
    let fields = [("do", "suspend-intake"), ("reason", REASON), ("key", &key(&bea, "/flows"))];
    assert_eq!(rik.post("/flows", &fields).unwrap().status, 403);
    assert_eq!(does(&bea, "/flows", &[("do", "suspend-intake")]), (303, "/flows".into()));
    let entry = newest(stage);
    assert_eq!((entry.detail.as_deref(), entry.flow), (Some("suspended"), None));
    assert!(stage.broker(&["status"]).unwrap()["suspended"]["intake"].is_string());
    let samples = samples::among(&["gemeente", "jongerenwerk"]).unwrap();
    let sample = samples.iter().find(|sample| sample.flow == "F01").unwrap();
    stage.agent(stage.member("jongerenwerk"), &["push", &sample.path.to_string_lossy()]).unwrap();
    until("its packet is put off", PATIENCE, || {
        stage.agent(stage.member("jongerenwerk"), &["status"]).unwrap()["outbox"]["deferred"] == 1
    })
    .unwrap();
    assert!(rik.get("/").unwrap().text().contains("De aanname: opgeschort"));
    assert_eq!(stage.broker(&["intake", "resume", "--reason", REASON]).unwrap()["unchanged"], Value::Null);
    assert_eq!(newest(stage).detail.as_deref(), Some("resumed"));
    wait_for_inbox(stage, stage.member("gemeente"), 1);

    // An agent whose connections are closed comes back by itself and loses nothing.
    let town = stage.member("gemeente").oin.clone();
    let path = format!("/agents/{town}");
    assert_eq!(does(&rik, &path, &[("do", "requeue")]), (303, path));
    let requeued = |entry: &Entry| entry.detail.as_deref() == Some("requeued");
    let entry = stage.log_tail(20).unwrap().into_iter().rfind(requeued).unwrap();
    assert_eq!(entry.subject.unwrap().as_str(), town);
    until("the town is back", PATIENCE, || {
        stage.agent(stage.member("gemeente"), &["status"]).unwrap()["link"]["connected"] == true
    })
    .unwrap();
    push(stage, 1);
    wait_for_inbox(stage, stage.member("gemeente"), 2);
}

#[test]
fn an_alarm_is_taken_up_once_by_whose_role_gives_the_right() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let address = open(stage);
    stage.configure("\n[alerts.limits]\ncertificate_days = 36500\n").unwrap();
    let _broker = scene.broker();
    for (name, role) in [("Bea", "operator"), ("Aukje", "auditor")] {
        Account::new(stage, name, role);
    }
    let [bea, aukje] = ["Bea", "Aukje"].map(|name| signed_in(stage, address, name));
    until("the alarm is told", PATIENCE, || bea.get("/alarms").unwrap().text().contains("certificate-ends"))
        .unwrap();
    assert!(!aukje.get("/alarms").unwrap().text().contains("name=\"reason\""));
    let page = bea.get("/alarms").unwrap().text();
    let subject = hidden(&page, "subject");
    let fields = [("do", "acknowledge"), ("code", "certificate-ends"), ("subject", subject.as_str())];
    let key = key(&bea, "/alarms");
    let all = [&[("reason", REASON), ("key", key.as_str())][..], &fields].concat();
    assert_eq!(aukje.post("/alarms", &all).unwrap().status, 403);
    let other = [("code", "disk-scarce"), ("subject", "broker")];
    assert_eq!(does(&bea, "/alarms", &other).0, 404, "there is no such alarm");
    assert_eq!(does(&bea, "/alarms", &fields), (303, "/alarms".into()));
    let entry = newest(stage);
    assert_eq!(entry.detail.as_deref(), Some("alarm:certificate-ends"));
    assert_eq!(entry.statement, Some(sha256(REASON.as_bytes())));
    assert!(bea.get("/").unwrap().text().contains("Iemand nam dit in behandeling"));
    let listed = &stage.broker(&["top", "--once"]).unwrap()["alarms"];
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|alarm| alarm["acknowledged"].is_u64() || alarm["acknowledged"].is_string()),
        "{listed}"
    );
    let again = stage.broker(&["alerts", "acknowledge", "certificate-ends", &subject, "--reason", REASON]);
    assert_eq!(again.unwrap()["unchanged"], true);
    let unknown = stage.broker(&["alerts", "acknowledge", "disk-scarce", "--reason", REASON]);
    assert!(unknown.is_err(), "{unknown:?}");
}
