//! Watched folders with real processes: files that the police leave become files at the municipality.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seinhuis_tests::samples;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Stage, process};
use serde_json::Value;

use crate::common::Scene;

const TWO: [&str; 2] = ["gemeente", "politie"];

/// Makes a folder beside the stage and has a member's agent watch or fill it.
fn folder(stage: &Stage, role: &str, (name, key): (&str, &str), more: &str) -> PathBuf {
    let dir = stage.dir.join(format!("{role}-{name}"));
    fs::create_dir(&dir).unwrap();
    let settings =
        format!("\n[[folder]]\nname = \"{name}\"\n{key} = \"{}\"\nevery_s = 1\n{more}\n", dir.display());
    stage.configure_agent(stage.member(role), &settings).unwrap();
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let all = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<String> = all.filter(|name| !name.starts_with('.')).collect();
    all.sort();
    all
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Waits until a receipt says so.
fn wait_for(path: &Path, state: &str) -> Value {
    let waited =
        process::until("the receipt", PATIENCE, || path.exists() && text(&json(path), "state") == state);
    assert!(waited.is_ok(), "{} is not {state}: {:?}", path.display(), fs::read_to_string(path));
    json(path)
}

fn wait_for_files(dir: &Path, count: usize) -> Vec<String> {
    let waited = process::until("the files", PATIENCE, || names(dir).len() >= count);
    assert!(waited.is_ok(), "{:?}", names(dir));
    names(dir)
}

#[test]
fn a_file_of_the_police_becomes_a_file_of_the_municipality_once_and_goes_when_it_is_withdrawn() {
    let scene = Scene::with(&TWO);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let csv = samples::covenants().join("samples/csv");
    let mapping = format!("mapping = \"{}\"", csv.join("02-F02-politie.mapping.toml").display());
    let out = folder(stage, "politie", ("uit", "out"), &mapping);
    let inward = folder(stage, "gemeente", ("in", "in"), "");
    let copies = folder(stage, "gemeente", ("afschrift", "in"), "consume = false\nflows = [\"F02\"]");
    let mut agents = scene.agents();
    let police = stage.member("politie");
    let sample =
        fs::read_to_string(samples::covenants().join("samples/02-F02-politie-signaal.json")).unwrap();
    for (name, number) in [("een", "17"), ("twee", "18")] {
        fs::write(
            out.join(format!("{name}.json")),
            sample.replace("\"aantal_meldingen\": 17", &format!("\"aantal_meldingen\": {number}")),
        )
        .unwrap();
    }
    let receipt = |name: &str, state: &str| wait_for(&out.join(format!("sent/{name}.receipt.json")), state);
    let accepted = receipt("een", "accepted");
    assert!(accepted["receipt"]["entries"][0].is_u64(), "{accepted}");
    let ids = ["een", "twee"].map(|name| text(&receipt(name, "accepted"), "msg_id").to_owned());

    let came = wait_for_files(&inward, 2);
    let delivered = json(&inward.join(&came[0]));
    assert_eq!(text(&delivered, "msg_id"), ids[0]);
    assert_eq!(delivered["body"], serde_json::from_str::<Value>(&sample).unwrap()["body"]);
    assert!(
        came[0].starts_with("00000000-F02-") && came[0].ends_with(&format!("{}.json", ids[0])),
        "{came:?}"
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let group = mode(&inward) & 0o060;
    assert_eq!(mode(&inward.join(&came[0])), 0o600 | group, "for the folder's group, and never for others");
    // Its sender is told that it was taken over.
    process::until("it is consumed", PATIENCE, || {
        let shown = stage.agent(police, &["outbox", "show", &ids[0]]).unwrap();
        text(&shown["recipients"][0], "reached") == "consumed"
    })
    .unwrap();

    assert_eq!(wait_for_files(&copies, 2), came, "a copy for who does not take it over");
    // What a write that was cut off left, which may hold a body.
    let left = inward.join(".0123456789abcdef.tmp");
    fs::write(&left, "x").unwrap();

    // The application fetches the first; both agents start anew; the same file comes again under another name.
    for dir in [&inward, &copies] {
        fs::remove_file(dir.join(&came[0])).unwrap();
    }
    drop(std::mem::take(&mut agents));
    fs::write(out.join("weer.json"), sample).unwrap();
    let agents = scene.agents();
    let again = receipt("weer", "accepted");
    assert_eq!(
        (text(&again, "msg_id"), &again["repeated"]),
        (ids[0].as_str(), &Value::Bool(true)),
        "{again}"
    );
    assert!(!left.exists());
    assert_eq!(names(&copies), came[1..], "how far the copies are is kept");
    assert_eq!(names(&inward), came[1..], "the first does not come again, nor under another number");

    // A spreadsheet with two rows: two signals, each with its verdict.
    fs::copy(csv.join("02-F02-politie.csv"), out.join("week.csv")).unwrap();
    let rows = out.join("sent/week.receipt.csv");
    let verdicts = || fs::read_to_string(&rows).is_ok_and(|text| text.matches(";accepted;nee;").count() == 2);
    process::until("the verdicts on the rows", PATIENCE, verdicts).unwrap();
    assert_eq!(wait_for_files(&copies, 3).len(), 3);

    // The second is withdrawn while its file is still there.
    stage.agent(police, &["withdraw", &ids[1], "--reason", "onjuist"]).unwrap();
    let notice = inward.join(came[1].replace(".json", ".ingetrokken.txt"));
    process::until("a notice", PATIENCE, || notice.exists() && !inward.join(&came[1]).exists()).unwrap();
    process::until("the copy goes too", PATIENCE, || !copies.join(&came[1]).exists()).unwrap();
    assert!(fs::read_to_string(&notice).unwrap().contains("withdrawn by its sender"));
    drop(agents);
}
