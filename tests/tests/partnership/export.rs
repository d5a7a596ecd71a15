//! An auditor's export from a real broker: both verifiers, written apart from it and from each other, find it good
//! as it is and name what is wrong once somebody changed it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use seinhuis_shared::entry::Kind;
use seinhuis_tests::process::{self, Program};
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Programs, Stage};
use seinhuis_verify::{Code, Key, Proves, Verdict};
use serde_json::Value;

use crate::common::town::{Square, Town};

static TOWN: Square = Square::new();

const PURPOSE: &str = "Vierjaarlijkse controle";

/// Exports with these words; the file.
fn export(town: &Town, dir: &Path, name: &str, words: &[&str]) -> (PathBuf, Value) {
    let out = dir.join(name);
    let place = out.to_string_lossy().into_owned();
    let args = [&["export", "--purpose", PURPOSE, "--out", &place], words].concat();
    let said = town.stage.broker(&args).unwrap();
    (out, said)
}

fn key(town: &Town) -> String {
    town.stage.broker(&["log", "key"]).unwrap()["key"].as_str().unwrap().to_owned()
}

/// What both verifiers say, which has to be the same.
fn verdict(bundle: &Path, key: &str) -> Verdict {
    let parsed = Key::parse(key).unwrap();
    let verdict = seinhuis_verify::verify(File::open(bundle).unwrap(), &parsed, None).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verify/verify.py");
    let said =
        Command::new("python3").arg("-B").arg(script).args(["--json", "--key", key]).arg(bundle).output();
    let said = said.expect("this test needs python3 with `cryptography` (Debian: python3-cryptography)");
    let errors = String::from_utf8_lossy(&said.stderr);
    let theirs: Value = serde_json::from_slice(&said.stdout).expect(&errors);
    assert_eq!(theirs["verdict"], verdict.code().as_str(), "{verdict:?} {theirs} {errors}");
    if let Verdict::Bad(failure) = &verdict {
        assert_eq!(theirs.get("line").and_then(Value::as_u64), failure.line, "{failure:?} {theirs}");
        let also = failure.also.as_ref().map(|also| also.code.as_str());
        assert_eq!(theirs.get("also").and_then(Value::as_str), also, "{failure:?} {theirs}");
    }
    verdict
}

/// The entries of a bundle, a line each.
fn entries(bundle: &Path) -> String {
    let mut text = None;
    tampered(bundle, "read.zip", "entries.jsonl", |own| text.insert(own).clone());
    text.unwrap()
}

/// A copy in which one member was changed, and nothing else.
fn tampered(bundle: &Path, name: &str, member: &str, edit: impl FnMut(String) -> String) -> PathBuf {
    let out = bundle.with_file_name(name);
    seinhuis_tests::export::tampered(bundle, &out, member, edit).unwrap();
    out
}

#[test]
fn an_export_proves_itself_and_a_changed_one_does_not() {
    let town = TOWN.town();
    town.still_works();
    let bad = town.edited(|context| context.flow = "F99".into());
    town.refuses(&bad, seinhuis_shared::refusal::Refusal::UnknownFlow);
    let dir = tempfile::tempdir().unwrap();
    let key = key(&town);
    let (whole, said) = export(&town, dir.path(), "whole.zip", &[]);
    let last = town.last_entry();
    assert_eq!(
        (last.kind, last.detail.as_deref()),
        (Kind::Export, Some("complete")),
        "exporting is an entry"
    );
    assert_eq!(last.statement, Some(seinhuis_shared::signing::sha256(PURPOSE.as_bytes())));
    let Verdict::Good(good) = verdict(&whole, &key) else { panic!("a good export") };
    assert_eq!((good.proves, good.purpose.as_str()), (Proves::Complete, PURPOSE));
    assert_eq!((said["entries"].as_u64(), said["size"].as_u64()), (Some(good.count), Some(good.size)));
    assert_eq!((good.count, good.size), (town.log_size(), town.log_size()));
    for (name, words) in [
        ("refused.zip", &["--kind", "refused"][..]),
        ("404.zip", &["--result", "404", "--flow", "F99"]),
        ("police.zip", &["--organisation", &town.member("politie").oin]),
        ("nobody.zip", &["--case", "00000000-0000-4000-8000-000000000000"]),
    ] {
        let (selection, said) = export(&town, dir.path(), name, words);
        let Verdict::Good(good) = verdict(&selection, &key) else { panic!("a good export: {name}") };
        assert_eq!(good.proves, Proves::Selection);
        assert_eq!(said["entries"] == 0, name == "nobody.zip", "{said}");
    }
    let lines = |text: String, edit: fn(&mut Vec<&str>)| {
        let mut lines: Vec<&str> = text.lines().collect();
        edit(&mut lines);
        lines.join("\n") + "\n"
    };
    let place = entries(&whole).lines().position(|line| line.contains("F99")).unwrap() + 1;
    let changed = tampered(&whole, "changed.zip", "entries.jsonl", |text| text.replacen("F99", "F98", 1));
    let removed =
        tampered(&whole, "removed.zip", "entries.jsonl", |text| lines(text, |all| _ = all.remove(1)));
    let swapped = tampered(&whole, "swapped.zip", "entries.jsonl", |text| lines(text, |all| all.swap(2, 4)));
    for (bundle, line) in [(changed, place), (removed, 2), (swapped, 3)] {
        let Verdict::Bad(failure) = verdict(&bundle, &key) else { panic!("a changed export: {bundle:?}") };
        let line = u64::try_from(line).ok();
        assert_eq!(
            (failure.code, failure.file.as_str(), failure.line),
            (Code::BadLine, "entries.jsonl", line)
        );
        assert_eq!(failure.also.map(|also| also.code), Some(Code::BadSums));
    }
    let other = town.stage.broker(&["log", "key"]).unwrap()["key"].as_str().unwrap().replace('+', "x+");
    assert!(Key::parse(&other).is_err(), "a key that is none");
    town.still_works();
}

#[test]
fn a_question_that_makes_no_sense_is_refused_and_nothing_is_written_or_logged() {
    let town = TOWN.town();
    let dir = tempfile::tempdir().unwrap();
    let size = town.log_size();
    let out = dir.path().join("no.zip").to_string_lossy().into_owned();
    for words in [
        &["--purpose", "kort"][..],
        &["--purpose", PURPOSE, "--from", "2026-02-01", "--until", "2026-01-01"],
        &["--purpose", PURPOSE, "--from", "gisteren"],
        &["--purpose", PURPOSE, "--kind", "lost"],
        &["--purpose", PURPOSE, "--result", "0404"],
        &["--purpose", PURPOSE, "--result", "999"],
    ] {
        let args = [&["export", "--out", &out], words].concat();
        assert!(town.stage.broker(&args).is_err(), "{words:?}");
    }
    assert_eq!(town.log_size(), size);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let taken = dir.path().join("taken.zip");
    std::fs::write(&taken, b"of somebody").unwrap();
    let place = taken.to_string_lossy().into_owned();
    assert!(town.stage.broker(&["export", "--purpose", PURPOSE, "--out", &place]).is_err());
    assert_eq!(std::fs::read(&taken).unwrap(), b"of somebody");
}

/// A partnership of its own, whose broker may be ended and halted.
fn alone(dir: &Path) -> Stage {
    let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
    Stage::unwatched(programs, dir, &["gemeente", "politie"]).unwrap()
}

/// The words of an export to this file, as somebody at a terminal gives them.
fn words(stage: &Stage, out: &str) -> [String; 7] {
    let home = stage.broker_home().to_string_lossy().into_owned();
    ["--home", &home, "export", "--purpose", PURPOSE, "--out", out].map(str::to_owned)
}

/// The names of the members that are whole, of an export under way.
fn whole_members(out: &str) -> Vec<String> {
    let state = std::fs::read(format!("{out}.partial.state")).unwrap_or_default();
    let state: Value = serde_json::from_slice(&state).unwrap_or_default();
    let members = state["members"].as_array().into_iter().flatten();
    members.map(|member| member["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Exports and ends the exporting process, by its number, once it wrote the entries; again until it was in the middle.
fn killed(stage: &Stage, dir: &Path) -> String {
    let attempt = |number: u32| {
        let out = dir.join(format!("out-{number}.zip")).to_string_lossy().into_owned();
        let log = dir.join("killed.log");
        let mut process = stage.programs.start(Program::Broker, words(stage, &out), &log).unwrap();
        while process.runs() && whole_members(&out).is_empty() {}
        process.kill().unwrap();
        (!Path::new(&out).exists() && !whole_members(&out).is_empty()).then_some(out)
    };
    (0..100).find_map(attempt).expect("an export that was ended before its end")
}

#[test]
fn an_export_whose_process_is_killed_goes_on_by_command_and_ends_as_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let stage = alone(dir.path());
    let out = killed(&stage, dir.path());
    let members = whole_members(&out);
    assert!(members.iter().any(|name| name == "entries.jsonl"), "{members:?}");
    assert!(!members.iter().any(|name| name == "SHA256SUMS"), "it was in the middle: {members:?}");
    let again = words(&stage, &out);
    let ran = stage.programs.run(Program::Broker, &again).unwrap();
    assert!(ran.code != 0 && ran.stderr.contains("--resume"), "{ran:?}");
    // The same export from its beginning, in one go: what was pinned, and nothing written.
    let begun = std::fs::read(format!("{out}.partial.state")).unwrap();
    let once = dir.path().join("once.zip").to_string_lossy().into_owned();
    let mut state: Value = serde_json::from_slice(&begun).unwrap();
    (state["members"], state["begun"]) = (Value::Array(Vec::new()), Value::Null);
    (state["found"], state["covenants"]) = (Value::Null, Value::Null);
    std::fs::write(format!("{once}.partial.state"), state.to_string()).unwrap();
    std::fs::write(format!("{once}.partial"), b"").unwrap();
    for out in [&out, &once] {
        let resumed = [words(&stage, out).as_slice(), &["--resume".to_owned()]].concat();
        let ran = stage.programs.run(Program::Broker, &resumed).unwrap();
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(!Path::new(&format!("{out}.partial")).exists());
    }
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&once).unwrap(), "byte for byte");
    let key = stage.broker(&["log", "key"]).unwrap()["key"].as_str().unwrap().to_owned();
    assert_eq!(verdict(Path::new(&out), &key).code(), Code::Good);
    let ran = stage.programs.run(Program::Broker, [&again[..], &["--resume".to_owned()]].concat()).unwrap();
    assert!(ran.code != 0 && ran.stderr.contains("exists already"), "{ran:?}");
}

#[test]
fn who_waits_for_an_export_is_told_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let stage = alone(dir.path());
    let broker = stage.start_broker().unwrap();
    let signal = |signal| {
        let id = i32::try_from(broker.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(id, signal).unwrap();
    };
    let (out, log) = (dir.path().join("out.zip"), dir.path().join("waiting.log"));
    let out = out.to_string_lossy().into_owned();
    // A broker that is halted says nothing of its own: what is told is what stands in the file.
    signal(Signal::STOP);
    let mut waiting = stage.programs.start(Program::Broker, words(&stage, &out), &log).unwrap();
    let told = || std::fs::read_to_string(&log).unwrap_or_default();
    for (progress, line) in [("30 100\n", "30 % entries read\n"), ("79 100\n", "70 % entries read\n")] {
        std::fs::write(format!("{out}.partial.progress"), progress).unwrap();
        process::until("the progress is told", PATIENCE, || told().ends_with(line)).unwrap();
    }
    assert!(waiting.runs(), "it waits for the broker");
    signal(Signal::CONT);
    assert!(waiting.wait(PATIENCE).unwrap().success(), "{}", told());
    assert!(told().contains("Written: ") && Path::new(&out).exists(), "{}", told());
    assert!(!Path::new(&format!("{out}.partial.progress")).exists());
}
