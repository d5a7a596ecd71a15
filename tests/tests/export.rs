//! An auditor's export from a real broker: both verifiers, written apart from it and from each other, find it good
//! as it is and name what is wrong once somebody changed it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::town::{Town, town};
use seinhuis_shared::entry::Kind;
use seinhuis_verify::{Code, Key, Proves, Verdict};
use serde_json::Value;

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
    let said = Command::new("python3").arg("-B").arg(script).args(["--key", key]).arg(bundle).output();
    let said = said.expect("this test needs python3 with `cryptography` (Debian: python3-cryptography)");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let code = text.split_whitespace().next().unwrap_or_default().to_owned();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert_eq!(code, verdict.code().as_str(), "{verdict:?} {text} {errors}");
    verdict
}

/// A copy in which one member was changed, and nothing else.
fn tampered(bundle: &Path, name: &str, member: &str, edit: impl Fn(String) -> String) -> PathBuf {
    let out = bundle.with_file_name(name);
    seinhuis_tests::export::tampered(bundle, &out, member, edit).unwrap();
    out
}

#[test]
fn an_export_proves_itself_and_a_changed_one_does_not() {
    let town = town();
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
    let changed = tampered(&whole, "changed.zip", "entries.jsonl", |text| text.replacen("F99", "F98", 1));
    let removed =
        tampered(&whole, "removed.zip", "entries.jsonl", |text| lines(text, |all| _ = all.remove(1)));
    for bundle in [changed, removed] {
        assert_eq!(verdict(&bundle, &key).code(), Code::BadSums);
    }
    let other = town.stage.broker(&["log", "key"]).unwrap()["key"].as_str().unwrap().replace('+', "x+");
    assert!(Key::parse(&other).is_err(), "a key that is none");
    town.still_works();
}

#[test]
fn a_question_that_makes_no_sense_is_refused_and_nothing_is_written_or_logged() {
    let town = town();
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
