//! What is done to accounts, in the log.

use std::fs;

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Stage, process};

use crate::common::Scene;

/// The entries about accounts: what they name.
fn logged(stage: &Stage) -> Vec<Digest> {
    let all = stage.log_tail(1000).unwrap_or_default();
    let is =
        |entry: &Entry| entry.kind == Kind::Operator && entry.detail.as_deref() == Some("account-changed");
    all.iter().filter(|entry| is(entry)).filter_map(|entry| entry.statement).collect()
}

/// The hash of each line of the book.
fn written(stage: &Stage) -> Vec<Digest> {
    let book = fs::read_to_string(stage.broker_home().join("console-acts.jsonl")).unwrap();
    book.lines().map(|line| sha256(line.as_bytes())).collect()
}

#[test]
fn what_is_done_to_accounts_is_logged_also_when_the_broker_did_not_run_and_names_nobody() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let operator = |args: &[&str]| stage.broker(&[&["operator"], args].concat()).unwrap();
    let followed = || {
        let followed = || logged(stage) == written(stage);
        process::until("the log has every line", PATIENCE, followed).unwrap();
    };
    operator(&["add", "Anna de Vries", "--role", "operator"]);
    operator(&["reset", "Anna de Vries"]);
    let broker = scene.broker();
    followed();
    assert_eq!(logged(stage).len(), 2);
    operator(&["login", "Anna de Vries"]);
    operator(&["remove", "Anna de Vries"]);
    followed();
    broker.stop(PATIENCE).unwrap();
    operator(&["add", "Anna de Vries", "--role", "operator"]);
    assert_eq!(logged(stage).len(), 4);
    let broker = scene.broker();
    followed();
    assert_eq!(logged(stage).len(), 5, "and each once");
    let home = stage.broker_home();
    let book = fs::read_to_string(home.join("console-acts.jsonl")).unwrap();
    assert_eq!(book.matches("\"salt\":\"").count(), 5, "nobody finds a name by guessing: {book}");
    broker.stop(PATIENCE).unwrap();
    let entries = stage.broker(&["log", "tail", "-n", "1000"]).unwrap().to_string();
    assert!(entries.contains("account-changed") && !entries.contains("Anna"), "{entries}");
}
