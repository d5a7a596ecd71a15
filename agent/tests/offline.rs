//! An agent on its own: everything that works while there is no broker, and every mistake in its folder.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod office;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use office::{Office, TOWN, YOUTH, sample};
use seinhuis_agent::home::Home;
use seinhuis_agent::{Agent, PushError, PushRequest, Stage, Target};
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::refusal::Refusal;

fn request(id: u8) -> PushRequest {
    let text = fs::read_to_string(sample()).unwrap();
    let body = text.split_once("\"body\": ").unwrap().1.trim_end().strip_suffix('}').unwrap();
    let to = vec![Target::Oin(TOWN.parse().unwrap())];
    let body = body.trim_end().as_bytes().to_vec();
    PushRequest { step: Some(Step::S1), ..PushRequest::new(MsgId([id; 16]), "F01", to, body) }
}

#[tokio::test]
async fn what_is_pushed_without_a_broker_survives_restarts_and_is_kept_once() {
    let office = Office::new();
    let id = "01a20c7a-7b9f-7ad8-aa06-85eefba62cd3";
    let push = ["push", sample().to_str().unwrap(), "--id", id].map(str::to_owned);
    let push: Vec<&str> = push.iter().map(String::as_str).collect();
    assert_eq!(office.run(&push), 0, "no agent runs: straight into the store");
    assert_eq!(office.run(&push), 0, "the same again");
    let agent = Agent::start(&office.options()).unwrap();
    assert_eq!(agent.status().await.unwrap().drafts, 1);
    let pushed = agent.push(request(2)).await.unwrap();
    assert_eq!((pushed.stage, pushed.connected, pushed.repeated), (Stage::Draft, false, false));
    assert!(agent.push(request(2)).await.unwrap().repeated);
    assert!(agent.stats().await.unwrap().syncs > 0);
    agent.shutdown().await.unwrap();
    for _ in 0..2 {
        let agent = Agent::start(&office.options()).unwrap();
        let status = agent.status().await.unwrap();
        assert_eq!((status.drafts, status.bundle.is_some()), (2, true));
        agent.shutdown().await.unwrap();
    }
    let body = b"Sinds drie weken staat";
    for file in walk(&office.home().store()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(body.len()).any(|part| part == body), "plaintext in {}", file.display());
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn an_index_that_is_gone_is_not_missed() {
    let office = Office::new();
    let agent = Agent::start(&office.options()).unwrap();
    agent.push(request(1)).await.unwrap();
    agent.shutdown().await.unwrap();
    fs::remove_dir_all(office.home().store().join("index")).unwrap();
    let agent = Agent::start(&office.options()).unwrap();
    assert_eq!(agent.status().await.unwrap().drafts, 1);
    assert!(agent.push(request(1)).await.unwrap().repeated);
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_not_allowed_is_refused_with_its_number() {
    let office = Office::new();
    let agent = Agent::start(&office.options()).unwrap();
    let mut bad = request(1);
    bad.body.splice(1..1, br#""bsn": "123456782","#.iter().copied());
    match agent.push(bad).await {
        Err(PushError::Rejected(rejection)) => assert_eq!(rejection.refusal, Refusal::FieldNotAllowed),
        other => panic!("{other:?}"),
    }
    agent.shutdown().await.unwrap();
    assert!(matches!(agent.push(request(1)).await, Err(PushError::Stopped)));
    let file = office.dir.path().join("body.json");
    fs::write(&file, "{\"bsn\": \"1\"}").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(office.run(&["push", file, "--flow", "F01", "--to", TOWN, "--step", "1"]), 1);
    assert_eq!(office.run(&["push", file, "--flow", "F01", "--to", "somebody", "--step", "1"]), 2);
    assert_eq!(office.run(&["push", "/nowhere.json", "--flow", "F01", "--to", TOWN]), 2);
    assert_eq!(office.run(&["inbox", "read", "0"]), 1);
    assert_eq!(office.run(&["outbox", "list"]), 0);
}

#[tokio::test]
async fn two_agents_do_not_share_a_folder() {
    let office = Office::new();
    let agent = Agent::start(&office.options()).unwrap();
    let error = office.refused_start();
    assert!(error.what.en.contains("in use"), "{error}");
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn each_mistake_in_the_folder_is_told_with_its_file() {
    type Spoil = fn(&Home);
    let cases: [(&str, Spoil, &str); 8] = [
        ("no configuration", |home| fs::remove_file(home.config()).unwrap(), "agent.toml"),
        ("unknown key", |home| append(&home.config(), "borker = 1\n"), "borker"),
        ("no card", |home| fs::remove_file(home.card()).unwrap(), "broker.json"),
        ("a damaged card", |home| fs::write(home.card(), "{").unwrap(), "broker.json"),
        ("no signing key", |home| fs::remove_file(home.signing_key()).unwrap(), "signing.key"),
        ("an open key", |home| chmod(&home.signing_key(), 0o644), "chmod 600"),
        ("an open folder of keys", |home| chmod(&home.keys(), 0o755), "chmod 700"),
        ("a damaged store key", |home| fs::write(home.store_key(), "no").unwrap(), "store.key"),
    ];
    for (name, spoil, words) in cases {
        let office = Office::new();
        spoil(&office.home());
        let error = office.refused_start();
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

fn append(path: &Path, text: &str) {
    let mut all = fs::read_to_string(path).unwrap();
    all.push_str(text);
    fs::write(path, all).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn another_store_key_is_refused_before_anything_is_lost() {
    let office = Office::new();
    let agent = Agent::start(&office.options()).unwrap();
    agent.push(request(1)).await.unwrap();
    agent.shutdown().await.unwrap();
    let key = office.home().store_key();
    let right = fs::read(&key).unwrap();
    fs::write(&key, format!("{}\n", "00".repeat(32))).unwrap();
    assert!(office.refused_start().what.en.contains("another key"));
    fs::write(&key, right).unwrap();
    let agent = Agent::start(&office.options()).unwrap();
    assert_eq!(agent.status().await.unwrap().drafts, 1);
    agent.shutdown().await.unwrap();
}

#[test]
fn init_never_overwrites_and_checks_its_arguments() {
    let office = Office::new();
    let before = fs::read(office.home().signing_key()).unwrap();
    assert_eq!(office.run(&["init", "--oin", YOUTH, "--name", "Again"]), 2);
    assert_eq!(fs::read(office.home().signing_key()).unwrap(), before);
    let fresh = Office { dir: tempfile::tempdir().unwrap() };
    assert_eq!(fresh.run(&["init", "--oin", "1", "--name", "X"]), 2);
    assert_eq!(fresh.run(&["init", "--oin", YOUTH, "--name", ""]), 2);
    assert!(!fresh.path().exists());
    assert_eq!(fresh.run(&["status"]), 2, "no folder");
    assert_eq!(fresh.run(&["doctor"]), 1);
}

#[test]
fn status_and_doctor_work_before_enrolment() {
    let office = Office::new();
    fs::remove_file(office.home().card()).unwrap();
    assert_eq!(office.run(&["status"]), 0);
    assert_eq!(office.run(&["doctor"]), 1);
    let request = office.dir.path().join("request.cose");
    assert_eq!(office.run(&["enrol", "--request", request.to_str().unwrap()]), 0);
    assert!(seinhuis_shared::enrol::EnrolRequest::verify(&fs::read(&request).unwrap()).is_ok());
    assert_eq!(office.run(&["enrol", "--accept", request.to_str().unwrap()]), 2, "not a grant");
    assert_eq!(office.run(&["enrol"]), 2);
}
