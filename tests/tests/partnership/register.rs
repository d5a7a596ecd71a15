//! The register of data subjects with real processes: who is in it, letters, answers with proofs that verify, rectification
//! and erasure, and that nobody else sees any of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use seinhuis_tests::process::Program;
use seinhuis_tests::samples::{self, Sample, covenants};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use serde_json::Value;

use crate::common::{Scene, copy, inbox_of, wait_for_inbox};

const TWO: [&str; 2] = ["gemeente", "politie"];

/// For agent.toml: where the covenant does not say who tells, the police do.
const POLICE_TELL: &str = "\n[subjects]\ninforms = [\"politie\"]\n";

/// What `doctor` says to people.
fn doctor(stage: &Stage, member: &Member) -> String {
    let home = member.home.to_string_lossy();
    stage.programs.run(Program::Agent, ["--home", &home, "--lang", "en", "doctor"]).unwrap().stdout
}

fn names() -> Sample {
    samples::among(&TWO).unwrap().into_iter().find(|sample| sample.flow == "F09").unwrap()
}

fn list(stage: &Stage, member: &Member, args: &[&str]) -> Vec<Value> {
    stage.agent(member, &[&["register"], args].concat()).unwrap().as_array().unwrap().clone()
}

/// The keys of who fits.
fn search(stage: &Stage, member: &Member, fields: &[String]) -> Vec<String> {
    let fields = fields.iter().flat_map(|field| ["--field", field.as_str()]);
    let found = list(stage, member, &[&["search"][..], &fields.collect::<Vec<_>>()].concat());
    found.iter().map(|row| text(row, "person").to_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Whether a file below this folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        memchr::memmem::find(&fs::read(&path).unwrap_or_default(), bytes).is_some()
    })
}

#[test]
fn a_person_is_found_told_answered_with_proofs_rectified_and_erased() {
    let scene = Scene::with(&TWO);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let [town, police] = TWO.map(|role| stage.member(role));
    // The covenant says that the municipality tells; that counts.
    stage.configure_agent(police, POLICE_TELL).unwrap();
    stage.configure_agent(town, POLICE_TELL).unwrap();
    let _agents = scene.agents();
    let sample = names();
    stage.prepare(&sample).unwrap();
    let pushed = stage.push(police, &[&sample.path.to_string_lossy()]).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    wait_for_inbox(stage, town, 1);
    let named = sample.value["body"]["personen"].as_array().unwrap();
    let first = &named[0];
    let (name, born) = (text(first, "naam"), text(first, "geboortedatum"));

    for (member, ours) in [(town, true), (police, false)] {
        the_municipality_tells(stage, (member, ours), named.len(), name);
    }
    let fields = [format!("naam=  {}", name.to_uppercase()), format!("geboortedatum={born}")];
    let [person] = <[String; 1]>::try_from(search(stage, town, &fields)).unwrap();
    assert!(search(stage, town, &[format!("naam={name}"), "geboortedatum=1950-01-01".into()]).is_empty());
    let unknown = stage.try_agent(town, &["register", "search", "--field", "name=x"]).unwrap();
    assert!(unknown.code != 0 && unknown.stderr.contains("naam"), "{unknown:?}");

    // The letter, and that it was sent.
    let letter = stage.dir.join("letter.txt");
    stage.agent(town, &["register", "letter", &person, "--out", &letter.to_string_lossy()]).unwrap();
    let written = fs::read_to_string(&letter).unwrap();
    assert!(written.contains(name) && mode(&letter) == 0o600, "{written}");
    let again = stage.try_agent(town, &["register", "letter", &person, "--out", &letter.to_string_lossy()]);
    assert_ne!(again.unwrap().code, 0, "a letter is not written over");
    let no_day =
        ["register", "postpone", &person, "--until", "2020-01-01", "--reason", "r", "--as", "regisseur"];
    assert_ne!(stage.try_agent(town, &no_day).unwrap().code, 0);
    let how = ["register", "informed", &person, "--how", "brief", "--as", "regisseur"];
    stage.agent(town, &how).unwrap();
    assert_eq!(list(stage, town, &["list"]).len(), named.len() - 1);
    let status = stage.agent(town, &["status"]).unwrap();
    assert_eq!(status["register"]["persons"], named.len());
    assert_eq!(status["register"]["due"][0]["to_tell"], named.len() - 1);

    silence(stage, town, &person);
    assert_eq!(list(stage, town, &["list"]).len(), named.len());
    answers(stage, town, police, (&person, name));

    // The police rectify a field: the municipality hears which.
    let [own] = <[String; 1]>::try_from(search(stage, police, &[format!("naam={name}")])).unwrap();
    let done = ["register", "rectify", &own, "--field", "geboortedatum", "--reason", "onjuist"];
    let done = stage.agent(police, &done).unwrap();
    assert!(done[0]["problem"].is_null() && done.as_array().unwrap().len() == 1, "{done}");
    process::until("the municipality knows what is wrong", PATIENCE, || {
        inbox_of(stage, town)[0]["revised"] == "corrected"
    })
    .unwrap();
    let said = inbox_of(stage, town).into_iter().find(|row| text(row, "type") == "correctie").unwrap();
    let read = stage.agent(town, &["inbox", "read", text(&said, "msg_id")]).unwrap();
    assert_eq!(read["body"]["velden"], serde_json::json!(["/personen/0/geboortedatum"]));

    let nowhere = ["register", "rectify", &own, "--field", "woonplats", "--reason", "onjuist"];
    assert_ne!(
        stage.try_agent(police, &nowhere).unwrap().code,
        0,
        "a field that is nowhere is not corrected"
    );

    // The person has it erased: the municipality has nothing any more, the register still says that it had.
    let done = stage.agent(town, &["register", "erase", &person, "--reason", "onrechtmatig"]).unwrap();
    assert!(done[0]["what"] == "erased" && done[0]["problem"].is_null(), "{done}");
    let row = inbox_of(stage, town).remove(0);
    assert_eq!(text(&row, "erased_why"), "verzoek_betrokkene");
    let shown = stage.agent(town, &["register", "show", &person]).unwrap();
    assert!(!shown["messages"][0]["state"]["erased"].is_null(), "{shown}");
    assert_eq!(shown["persons"][0]["decisions"][0]["duty"], "informed");
}

/// Both know, and nobody reads it in the store; the municipality tells, whatever agent.toml says.
fn the_municipality_tells(stage: &Stage, (member, ours): (&Member, bool), count: usize, name: &str) {
    let rows = list(stage, member, &["list"]);
    assert_eq!(rows.len(), count);
    assert!(rows.iter().all(|row| row["due"].is_null() != ours && row["overdue"] == false), "{rows:?}");
    assert!(rows.iter().all(|row| row["informs"] == "gemeente"), "{rows:?}");
    assert!(doctor(stage, member).contains("does not count there: the covenant says it"));
    assert!(!holds(&member.home.join("store"), name.as_bytes()), "who it is stands nowhere in plain text");
}

#[test]
fn where_the_covenant_does_not_say_who_tells_agent_toml_does() {
    let mut scene = Scene::unsigned(&TWO);
    let folder = scene.stage.dir.join("covenants");
    copy(&covenants(), &folder);
    scene.stage.model = folder.join("model.toml");
    let text = fs::read_to_string(&scene.stage.model).unwrap();
    assert!(text.contains("\ninforms = "));
    fs::write(&scene.stage.model, text.replace("\ninforms = ", "\n# informs = ")).unwrap();
    scene.stage.agree().unwrap();
    let (stage, _broker) = (&scene.stage, scene.broker());
    let [town, police] = TWO.map(|role| stage.member(role));
    stage.configure_agent(police, POLICE_TELL).unwrap();
    let _agents = scene.agents();
    let sample = names();
    stage.prepare(&sample).unwrap();
    stage.push(police, &[&sample.path.to_string_lossy()]).unwrap();
    wait_for_inbox(stage, town, 1);
    // Nothing was agreed: each goes by its own file, and the municipality has nothing in it.
    for (member, tells) in [(town, "gemeente"), (police, "politie")] {
        let rows = list(stage, member, &["list"]);
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|row| row["informs"] == tells && !row["due"].is_null()), "{rows:?}");
        let said = doctor(stage, member);
        assert!(said.contains(&format!("does not say who informs; by agent.toml: {tells}")), "{said}");
    }
}

/// What was decided not to be told is not handed out by a slip, and then without why.
fn silence(stage: &Stage, town: &Member, person: &str) {
    let exempt = ["register", "exempt", person, "--reason", "opsporing", "--as", "regisseur"];
    stage.agent(town, &exempt).unwrap();
    let slip = stage.dir.join("slip");
    let silent = ["register", "answer", person, "--out", &slip.to_string_lossy()];
    assert_ne!(stage.try_agent(town, &silent).unwrap().code, 0);
    assert!(!slip.exists());
    stage.agent(town, &[&silent[..], &["--despite-decision"]].concat()).unwrap();
    assert!(!holds(&slip, b"opsporing"));
    let reopen = ["register", "reopen", person, "--reason", "vergissing", "--as", "regisseur"];
    stage.agent(town, &reopen).unwrap();
}

/// What both sides answer the person, and that the proof of what was sent verifies elsewhere.
fn answers(stage: &Stage, town: &Member, police: &Member, (person, name): (&str, &str)) {
    let [own] = <[String; 1]>::try_from(search(stage, police, &[format!("naam={name}")])).unwrap();
    for (member, person, direction) in [(town, person, "received"), (police, own.as_str(), "sent")] {
        let out = stage.dir.join(format!("answer-{direction}"));
        stage.agent(member, &["register", "answer", person, "--out", &out.to_string_lossy()]).unwrap();
        let letter = fs::read_to_string(out.join("letter.txt")).unwrap();
        let data: Value = serde_json::from_slice(&fs::read(out.join("data.json")).unwrap()).unwrap();
        let message = &data["messages"][0];
        assert_eq!((text(message, "direction"), &message["basis"]["code"]), (direction, &"wpg_16".into()));
        assert!(letter.contains(text(message, "msg_id")) && letter.contains(name), "{letter}");
        assert_eq!((mode(&out), mode(&out.join("data.json"))), (0o700, 0o600));
        assert!(!text(message, "proof").is_empty());
        if direction == "sent" {
            let file = stage.dir.join("proof.txt");
            fs::write(&file, text(message, "proof")).unwrap();
            stage.agent(town, &["receipt", "verify", &file.to_string_lossy()]).unwrap();
        }
    }
    let later = ["register", "answer", person, "--since", "2090-01-01", "--out"];
    let out = stage.dir.join("answer-later");
    stage.agent(town, &[&later[..], &[&out.to_string_lossy()]].concat()).unwrap();
    let data: Value = serde_json::from_slice(&fs::read(out.join("data.json")).unwrap()).unwrap();
    assert_eq!(data["messages"], serde_json::json!([]));
}
