//! A broker is backed up while packets go through it, and put back: by real processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use seinhuis_shared::entry::Kind;
use seinhuis_tests::process::{self, Program, Ran};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Process, Stage};
use serde_json::Value;

use crate::common::{Scene, copy, push, run_to_its_end, wait_for_inbox};

const THREE: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];

fn status(stage: &Stage) -> Value {
    stage.broker(&["status"]).unwrap()
}

fn log_size(stage: &Stage) -> u64 {
    status(stage)["log"]["size"].as_u64().unwrap()
}

/// Waits until everything is delivered and the quorum is over the whole log; its size.
fn wait_for_rest(stage: &Stage) -> u64 {
    let mut size = 0;
    process::until("all is delivered and witnessed", PATIENCE, || {
        let entries = stage.log_tail(10_000).unwrap();
        let count = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
        let status = status(stage);
        size = status["log"]["size"].as_u64().unwrap();
        count(Kind::Accepted) == count(Kind::Delivered)
            && u64::try_from(entries.len()) == Ok(size)
            && status["witnesses"]["covenants"][0]["size"].as_u64() == Some(size)
    })
    .unwrap();
    size
}

fn backup(stage: &Stage, name: &str) -> (PathBuf, u64) {
    let out = stage.dir.join(name);
    let made = stage.broker(&["backup", "--out", &out.to_string_lossy()]).unwrap();
    (out, made["logs"][0]["size"].as_u64().unwrap())
}

/// The broker's folder is lost; what its operator kept apart comes back.
fn lose_broker(stage: &Stage, name: &str) {
    let (home, lost) = (stage.broker_home(), stage.dir.join(name));
    fs::rename(&home, &lost).unwrap();
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    copy(&lost.join("keys"), &home.join("keys"));
    for file in ["broker.toml", "grant.json", "broker.json"] {
        fs::copy(lost.join(file), home.join(file)).unwrap();
    }
}

fn try_restore(stage: &Stage, from: &Path) -> Ran {
    let home = stage.broker_home();
    let args = [Path::new("--home"), &home, Path::new("restore"), Path::new("--from"), from];
    stage.programs.run(Program::Broker, args).unwrap()
}

fn restore(stage: &Stage, from: &Path, size: u64) {
    let restored = try_restore(stage, from);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    let verified = stage.broker(&["log", "verify"]).unwrap();
    assert_eq!(verified["checked"].as_u64(), Some(size));
}

#[test]
fn a_backup_made_under_load_goes_on_where_nothing_was_added_and_is_refused_where_witnesses_saw_more() {
    let scene = Scene::with(&THREE);
    let stage = &scene.stage;
    let broker = scene.broker();
    let agents = scene.agents();
    // Packets go through the broker from before the first backup until after the last one.
    let (copying, mut pushed) = (AtomicBool::new(true), 0);
    let under_load: Vec<(PathBuf, u64)> = std::thread::scope(|scope| {
        let pusher = scope.spawn(|| {
            let mut count = 0;
            while copying.load(Ordering::Acquire) {
                push(stage, 1);
                count += 1;
            }
            count
        });
        let before = log_size(stage);
        process::until("packets go through", PATIENCE, || log_size(stage) > before + 3).unwrap();
        let made = (0..5).map(|n| backup(stage, &format!("under-load-{n}"))).collect();
        copying.store(false, Ordering::Release);
        pushed = pusher.join().unwrap();
        made
    });
    let (first, last) = (under_load.first().unwrap().1, under_load.last().unwrap().1);
    assert!(first < last, "the log grew while it was copied: {first}, {last}");
    push(stage, 1);
    let count = pushed + 1;
    wait_for_inbox(stage, stage.member("gemeente"), count);
    let rest = wait_for_rest(stage);
    assert!(last < rest);
    let (whole, size) = backup(stage, "whole");
    assert_eq!(size, log_size(stage), "nothing came after the last backup");
    broker.kill().unwrap();
    // Each one that was made under load is a whole broker of its moment, and refused: witnesses saw more.
    for (number, (from, size)) in under_load.iter().enumerate() {
        lose_broker(stage, &format!("lost-{number}"));
        restore(stage, from, *size);
    }
    let (told, code) = run_to_its_end(stage, &stage.broker_home(), &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("contradicts this exchange log") && told.contains("cosigned"), "{told}");
    assert!(stage.members.iter().any(|member| told.contains(&member.oin)), "the witness is named: {told}");
    assert!(stage.broker_home().join("fork-evidence.txt").exists());
    // The one to which nothing was added goes on, and the agents with it.
    lose_broker(stage, "older");
    restore(stage, &whole, size);
    let broker = scene.broker();
    process::until("the broker serves", PATIENCE, || status(stage)["witnesses"]["waiting_for"].is_null())
        .unwrap();
    push(stage, 1);
    wait_for_inbox(stage, stage.member("gemeente"), count + 1);
    assert!(wait_for_rest(stage) > size);
    let running: Vec<Process> = agents.into_iter().chain([broker]).collect();
    for process in running {
        assert!(process.stop(PATIENCE).unwrap().success());
    }
    let verified = stage.broker(&["log", "verify"]).unwrap();
    assert!(verified["checked"].as_u64().unwrap() > size);
}

#[test]
fn a_backup_is_put_back_whole_or_not_at_all() {
    let scene = Scene::unwatched(&THREE);
    let stage = &scene.stage;
    // A broker that does not run is backed up as well.
    let (from, size) = backup(stage, "copy");
    let inside = stage.broker_home().join("store/copy").to_string_lossy().into_owned();
    assert!(stage.broker(&["backup", "--out", &inside]).is_err(), "not into what is copied");
    assert!(stage.broker(&["backup", "--out", &from.to_string_lossy()]).is_err(), "not over another");
    let refused = |from: &Path, file: &Path, exit: i32| {
        let ran = try_restore(stage, from);
        let file = file.to_string_lossy();
        assert!(ran.code == exit && ran.stderr.contains(&*file), "{file}: {} {}", ran.code, ran.stderr);
    };
    refused(&from, &stage.broker_home().join("store"), 2);
    lose_broker(stage, "lost");
    let manifest: Value = serde_json::from_slice(&fs::read(from.join("manifest.json")).unwrap()).unwrap();
    let segment = text(&manifest["files"][0], "path").to_owned();
    // Cut off: the note is what is written last.
    let cut = stage.dir.join("cut");
    copy(&from, &cut);
    fs::remove_file(cut.join("manifest.note")).unwrap();
    refused(&cut, &cut.join("manifest.note"), 1);
    // One bit, and a file that is not there.
    let bad = stage.dir.join("bad");
    copy(&from, &bad);
    let mut bytes = fs::read(bad.join(&segment)).unwrap();
    bytes[300] ^= 8;
    fs::write(bad.join(&segment), bytes).unwrap();
    refused(&bad, &bad.join(&segment), 1);
    fs::remove_file(bad.join(&segment)).unwrap();
    refused(&bad, &bad.join(&segment), 1);
    for part in ["store", "log"] {
        assert!(!stage.broker_home().join(part).exists(), "nothing was put back");
    }
    restore(stage, &from, size);
}
