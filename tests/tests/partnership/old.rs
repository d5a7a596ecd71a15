//! Stores of earlier versions start under this one, as they were left: with mail that waits and mail that was not submitted.
//!
//! `tests/old/NAME.zip` holds stores and logs of a broker and two agents that were killed, and what was in them. It has
//! no key, setting or certificate: the test founds the same partnership anew, with the keys that stores depend on made
//! from a public seed. A file is written once, when a format is frozen, and never again:
//!
//! ```text
//! SEINHUIS_FREEZE=NAME cargo test -p seinhuis-tests --test partnership old::
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seinhuis_shared::entry::Kind;
use seinhuis_tests::Stage;
use seinhuis_tests::process;
use seinhuis_tests::stage::{PATIENCE, text};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::common::{Scene, inbox_of, outbox_of, push, town::sample, wait_for_inbox};

/// What was frozen, and the year of its log.
const FROZEN: [(&str, u64); 1] = [("1", 2026)];
const SEED: &str = "seinhuis public test seed";
const PAIR: [&str; 2] = ["gemeente", "jongerenwerk"];
const KNOWN: &str = "known.json";

fn archive(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("old").join(format!("{name}.zip"))
}

/// The partnership that is frozen, before anybody signed anything.
fn found(year: u64) -> Scene {
    let mut scene = Scene::founded(Some(SEED), year, &PAIR);
    scene.stage.watched = false;
    scene
}

fn homes(stage: &Stage) -> Vec<PathBuf> {
    stage.members.iter().map(|member| member.home.clone()).chain([stage.broker_home()]).collect()
}

/// Files of a store that say something: spares are zeros.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, found);
        } else if name != "lock" && !name.starts_with("spare-") {
            found.push(path);
        }
    }
    found.sort();
}

fn freeze(name: &str) {
    let scene = found(FROZEN.iter().find(|(own, _)| *own == name).unwrap().1);
    let stage = &scene.stage;
    stage.small_segments("").unwrap();
    stage.agree().unwrap();
    let (broker, mut agents) = (scene.broker(), scene.agents());
    let (recipient, sender) = (stage.member("gemeente"), stage.member("jongerenwerk"));
    push(stage, 2);
    wait_for_inbox(stage, recipient, 2);
    agents.remove(0).kill().unwrap();
    push(stage, 1);
    let log = stage.log_tail(10_000).unwrap().len();
    broker.kill().unwrap();
    stage.agent(sender, &["push", &sample("F01").path.to_string_lossy()]).unwrap();
    for agent in agents {
        agent.kill().unwrap();
    }
    let ids = |rows: Vec<Value>| rows.iter().map(|row| text(row, "msg_id").to_owned()).collect::<Vec<_>>();
    let known = json!({
        "log": log,
        "inbox": ids(inbox_of(stage, recipient)),
        "outbox": ids(outbox_of(stage, sender)),
    });
    fs::create_dir_all(archive(name).parent().unwrap()).unwrap();
    let mut to = ZipWriter::new(File::create_new(archive(name)).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut put = |name: &str, bytes: &[u8]| {
        to.start_file(name, options).unwrap();
        to.write_all(bytes).unwrap();
    };
    put(KNOWN, &serde_json::to_vec_pretty(&known).unwrap());
    for home in homes(stage) {
        let mut found = Vec::new();
        walk(&home.join("store"), &mut found);
        walk(&home.join("log"), &mut found);
        for path in found {
            let below = path.strip_prefix(&stage.dir).unwrap().to_string_lossy().into_owned();
            put(&below, &fs::read(&path).unwrap());
        }
    }
    to.finish().unwrap();
}

/// Puts what was frozen in the place of the stores and logs of a new partnership; what was known to be in it.
fn thaw(stage: &Stage, name: &str) -> Value {
    for home in homes(stage) {
        for part in ["store", "log"].into_iter().filter(|part| home.join(part).exists()) {
            fs::remove_dir_all(home.join(part)).unwrap();
        }
    }
    let mut from = ZipArchive::new(File::open(archive(name)).unwrap()).unwrap();
    let mut known = Value::Null;
    for index in 0..from.len() {
        let mut one = from.by_index(index).unwrap();
        let own = one.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        one.read_to_end(&mut bytes).unwrap();
        if own == KNOWN {
            known = serde_json::from_slice(&bytes).unwrap();
            continue;
        }
        let path = stage.dir.join(&own);
        let folder = path.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        let own = folder.ancestors().take_while(|above| *above != stage.dir);
        for above in own {
            fs::set_permissions(above, fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    known
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

#[test]
fn stores_of_every_frozen_format_start_and_what_was_under_way_comes_to_its_end() {
    if let Ok(name) = std::env::var("SEINHUIS_FREEZE") {
        freeze(&name);
    }
    for (name, year) in FROZEN {
        let scene = found(year);
        let stage = &scene.stage;
        let (recipient, sender) = (stage.member("gemeente"), stage.member("jongerenwerk"));
        let known = thaw(stage, name);
        // Before anybody is told what time it is: bodies are there, and open.
        for row in inbox_of(stage, recipient) {
            let body = stage.agent(recipient, &["inbox", "read", text(&row, "msg_id")]).unwrap();
            assert!(body.to_string().contains("locatie"), "{name}: {body}");
        }
        assert_eq!(stage.broker(&["status"]).unwrap()["queues"][0]["packets"], 1, "{name}");
        let (broker, agents) = (scene.broker(), scene.agents());
        // Years later the packets' validity is over; the log and the sender know that then.
        process::until("all that was under way ended", 2 * PATIENCE, || {
            let entries = stage.log_tail(10_000).unwrap();
            let count = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
            let outbox = outbox_of(stage, sender);
            let ended = |row: &Value| ["accepted", "expired"].contains(&text(row, "state"));
            count(Kind::Accepted) == count(Kind::Delivered) + count(Kind::Expired) && outbox.iter().all(ended)
        })
        .unwrap();
        let had = inbox_of(stage, recipient);
        let has = |id: &str| had.iter().any(|row| text(row, "msg_id") == id);
        assert!(strings(&known["inbox"]).into_iter().all(has), "{name}: {had:?}");
        let outbox = outbox_of(stage, sender);
        let knows = |id: &str| outbox.iter().any(|row| text(row, "msg_id") == id);
        assert!(outbox.len() == 4 && strings(&known["outbox"]).into_iter().all(knows), "{name}: {outbox:?}");
        push(stage, 1);
        wait_for_inbox(stage, recipient, had.len() + 1);
        for process in agents.into_iter().chain([broker]) {
            assert!(process.stop(PATIENCE).unwrap().success());
        }
        let checked = stage.broker(&["log", "verify"]).unwrap()["checked"].as_u64();
        assert!(checked > known["log"].as_u64(), "{name}: {checked:?}");
    }
}
