//! What the views of a bundle hold, for every kind of entry and for two versions of a covenant.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

// The verifier's own tests make bundles from docs/log.md alone; these are the same bundles.
#[path = "../../../verify/tests/bundles/build.rs"]
#[allow(dead_code, reason = "the verifier's tests use the rest")]
mod build;
mod schema;
#[path = "../../../verify/tests/bundles/zip.rs"]
#[allow(dead_code, reason = "the verifier's tests use the rest")]
mod zip;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use seinhuis_shared::covenant::{Covenant, Part, Role};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::time::Timestamp;
use seinhuis_verify::Key;
use seinhuis_views::{Made, View, ViewsError, write};
use serde_json::Value;

use build::{Ask, Parts};

const DAY: u64 = 86_400_000;
const START: u64 = 1_775_001_600_000;

/// The model with the example partnership, in two versions: in the second the prosecution takes the place of the
/// police under the same OIN, so that a list made by the wrong version is wrong.
fn covenants() -> [Covenant; 2] {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants");
    let text = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let texts = [text("model.toml"), text("partnership.example.toml")];
    let parts =
        [Part { name: "model.toml", text: &texts[0] }, Part { name: "partnership.toml", text: &texts[1] }];
    let mut read = |path: &str| fs::read_to_string(dir.join(path)).map_err(|error| error.to_string());
    let one = Covenant::from_toml_parts(&parts, &mut read).unwrap();
    let mut two = one.clone();
    (two.version, two.previous) = (2, Some(one.hash()));
    "=1+1 <b>versie twee</b>".clone_into(&mut two.title);
    let at = |role| one.parties.iter().position(|party| party.role == role).unwrap();
    let (politie, om) = (at(Role::Politie), at(Role::Om));
    two.parties[politie].role = Role::Om;
    two.parties[om].role = Role::Politie;
    "-Officier; \"jeugd\"".clone_into(&mut two.parties[politie].name);
    [one, two]
}

struct Log {
    covenants: [Covenant; 2],
    entries: Vec<Entry>,
}

const POLITIE: &str = "00000099000000002000";
const GEMEENTE: &str = "00000099000000001000";
const OM: &str = "00000099000000004000";

fn oin(text: &str) -> Oin {
    text.parse().unwrap()
}

impl Log {
    fn new() -> Self {
        Self { covenants: covenants(), entries: Vec::new() }
    }

    fn add(&mut self, kind: Kind, fill: impl FnOnce(&mut Entry)) {
        let number = u8::try_from(self.entries.len()).unwrap();
        let time = Timestamp(START + u64::from(number) * DAY);
        let mut entry = Entry::new(kind, time, [number; 16]);
        fill(&mut entry);
        self.entries.push(entry);
    }

    /// A packet `number` under a version, of one level.
    fn accepted(&mut self, number: u8, version: usize, from: &str, to: &str, level: &str) {
        let covenant = self.covenants[version].hash();
        self.add(Kind::Accepted, |entry| {
            entry.msg_id = Some(MsgId([number; 16]));
            (entry.from, entry.to) = (Some(oin(from)), Some(oin(to)));
            entry.flow = Some("F09".to_owned());
            entry.covenant = Some(covenant);
            entry.case = Some(CaseId([number; 16]));
            entry.message_type = Some("namenlijst_bijdrage".to_owned());
            entry.step = Some("2B".to_owned());
            entry.level = Some(level.to_owned());
            entry.categories = Some("identiteit zaakpersoon".to_owned());
            entry.purpose = Some("groepsaanpak".to_owned());
            entry.basis = Some("wpg_16".to_owned());
            entry.packet = Some(Digest([number; 32]));
            entry.result = Some("accepted".to_owned());
            entry.trace = Some(TraceId([number; 16]));
        });
    }

    fn later(&mut self, kind: Kind, number: u8, version: usize, from: &str, to: &str) {
        let covenant = self.covenants[version].hash();
        self.add(kind, |entry| {
            entry.msg_id = Some(MsgId([number; 16]));
            (entry.from, entry.to) = (Some(oin(from)), Some(oin(to)));
            entry.flow = Some("F09".to_owned());
            entry.covenant = Some(covenant);
            entry.packet = Some(Digest([number; 32]));
        });
    }

    fn lines(&self) -> Vec<String> {
        self.entries.iter().map(|entry| String::from_utf8(entry.to_bytes().unwrap()).unwrap()).collect()
    }

    fn bundle(&self, ask: &Ask, covenants: bool) -> Parts {
        let lines = self.lines();
        let mut parts = Parts::new(&lines, &(0..lines.len()).collect(), ask);
        let held = self.covenants.iter().filter(|_| covenants);
        parts.covenants = held.map(|one| (one.hash().to_string(), one.to_bytes())).collect();
        parts.covenants.sort();
        parts
    }
}

/// The log that every test looks at.
fn log() -> Log {
    let mut log = Log::new();
    log.add(Kind::Start, |_| ());
    log.accepted(1, 0, POLITIE, GEMEENTE, "P1");
    log.later(Kind::Delivered, 1, 0, POLITIE, GEMEENTE);
    log.accepted(2, 1, POLITIE, GEMEENTE, "P3");
    log.later(Kind::Shredded, 2, 1, POLITIE, GEMEENTE);
    log.accepted(3, 0, POLITIE, GEMEENTE, "G");
    log.accepted(4, 0, OM, GEMEENTE, "P2");
    log.accepted(5, 0, GEMEENTE, POLITIE, "P2");
    log.later(Kind::Withdrawn, 5, 0, GEMEENTE, POLITIE);
    let covenant = log.covenants[0].hash();
    log.add(Kind::Refused, |entry| {
        (entry.from, entry.flow, entry.covenant) =
            (Some(oin(POLITIE)), Some("F09".to_owned()), Some(covenant));
        (entry.packet, entry.trace) = (Some(Digest([9; 32])), Some(TraceId([9; 16])));
        (entry.result, entry.reason, entry.level) =
            (Some("refused".to_owned()), Some(404), Some("P1".to_owned()));
    });
    log.add(Kind::Refused, |entry| {
        (entry.from, entry.packet) = (Some(oin(POLITIE)), Some(Digest([10; 32])));
        (entry.result, entry.reason) = (Some("refused".to_owned()), Some(205));
    });
    log.add(Kind::Export, |entry| entry.detail = Some("complete".to_owned()));
    log
}

struct Views {
    dir: tempfile::TempDir,
    made: Result<Made, ViewsError>,
}

fn views_of(file: &[u8]) -> Views {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle.zip");
    fs::write(&bundle, file).unwrap();
    let key = Key::parse(&build::signer().vkey()).unwrap();
    let made = write(&bundle, &key, &dir.path().join("out"), &View::ALL);
    Views { dir, made }
}

impl Views {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The records of a view, each held against its schema.
    fn records(&self, name: &str) -> Vec<Value> {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.json"));
        let own: Value = serde_json::from_str(&fs::read_to_string(place).unwrap()).unwrap();
        let text = self.text(&format!("{name}.jsonl"));
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for record in &records {
            assert_eq!(schema::fault(&own, record), None, "{name} {record}");
        }
        records
    }
}

fn whole() -> Views {
    let views = views_of(&log().bundle(&Ask { complete: true, question: vec![] }, true).file());
    let made = views.made.as_ref().unwrap();
    assert_eq!(made.without_covenant, 0);
    views
}

fn attributes(span: &Value) -> BTreeMap<String, String> {
    let all = span["attributes"].as_array().unwrap().iter();
    all.map(|one| {
        (one["key"].as_str().unwrap().to_owned(), one["value"]["stringValue"].as_str().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn each_processing_is_a_span_without_subject_and_a_refusal_is_no_error() {
    let views = whole();
    let records = views.records("ldv");
    let spans: Vec<&Value> =
        records.iter().map(|record| &record["resourceSpans"][0]["scopeSpans"][0]["spans"][0]).collect();
    let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "aannemen",
            "bezorgen",
            "aannemen",
            "vernietigen",
            "aannemen",
            "aannemen",
            "aannemen",
            "intrekken",
            "weigeren",
            "weigeren"
        ]
    );
    assert_eq!(spans[0]["traceId"], "01".repeat(16));
    assert_eq!(spans[1]["traceId"], spans[0]["traceId"], "what came of it is in the same trace");
    assert_eq!(spans[0]["startTimeUnixNano"], ((START + DAY) * 1_000_000).to_string());
    for span in &spans {
        let attributes = attributes(span);
        assert!(attributes.keys().all(|key| !key.contains("data_subject")), "the broker knows nobody");
        assert!(attributes["dpl.core.processing_activity_id"].contains(':'));
        assert_eq!(span["status"]["code"], 0);
    }
    let first = attributes(spans[0]);
    assert_eq!(first["dpl.core.foreign_operation.processor"], format!("urn:nld:oin:{POLITIE}"));
    assert_eq!(first["dpl.core.foreign_operation.trace_id"], "01".repeat(16));
    let refused = attributes(spans[8]);
    assert_eq!(
        (refused["seinhuis.result"].as_str(), refused["seinhuis.reason"].as_str()),
        ("refused", "404")
    );
    assert_ne!(spans[9]["traceId"], spans[8]["traceId"], "a trace of its own where none is known");
    let ids: std::collections::BTreeSet<&str> =
        spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), spans.len());
}

#[test]
fn each_decision_is_an_access_evaluation() {
    let views = whole();
    let records = views.records("adl");
    let decisions: Vec<bool> = records
        .iter()
        .map(|record| record["body"]["adl.core.response"]["decision"].as_bool().unwrap())
        .collect();
    assert_eq!(decisions, [true, true, true, true, true, false, false]);
    let request = &records[0]["body"]["adl.core.request"];
    assert_eq!((&request["subject"]["id"], &request["resource"]["id"]), (&POLITIE.into(), &"F09".into()));
    assert_eq!(request["resource"]["properties"]["to"], GEMEENTE);
    let hashes = covenants().map(|covenant| format!("sha256:{}", covenant.hash()));
    assert_eq!(records[0]["attributes"]["adl.core.policies"]["covenant"], hashes[0]);
    assert_eq!(records[1]["attributes"]["adl.core.policies"]["covenant"], hashes[1]);
    let refused = &records[5]["body"]["adl.core.response"]["context"];
    assert_eq!(refused["reason"], 404);
    assert!(!refused["reason_admin"]["nl"].as_str().unwrap().is_empty());
    assert_eq!(records[6]["body"]["adl.core.request"]["resource"]["id"], "unknown");
    assert!(records[6]["attributes"].get("adl.core.policies").is_none());
}

#[test]
fn what_comes_in_and_goes_out_is_a_transaction() {
    let views = whole();
    let records = views.records("fsc");
    let directions: Vec<&str> = records.iter().map(|record| record["direction"].as_str().unwrap()).collect();
    let (incoming, outgoing) = ("DIRECTION_INCOMING", "DIRECTION_OUTGOING");
    assert_eq!(directions, [incoming, outgoing, incoming, incoming, incoming, incoming]);
    assert_eq!(records[0]["transaction_id"], records[1]["transaction_id"]);
    assert_eq!(records[0]["grant_hash"], covenants()[0].hash().to_string());
    assert_eq!(records[0]["service_name"], "flow-F09");
    assert_eq!(records[0]["source"]["outway_peer_id"], POLITIE);
    assert_eq!(records[1]["created_at"], (START + 2 * DAY) / 1000);
}

#[test]
fn disclosures_are_listed_by_the_role_in_the_version_that_was_used() {
    let views = whole();
    let wpg = views.text("wpg.csv");
    let rows: Vec<&str> = wpg.trim_start_matches('\u{feff}').lines().skip(1).collect();
    assert_eq!(rows.len(), 1, "only what police disclosed about persons, accepted, under version 1: {wpg}");
    for part in [
        "2026-04-02",
        "'00000099000000002000;",
        "Gemeente Voorbeeldstad",
        "F09 ",
        "een groepsaanpak voorbereiden, uitvoeren en volgen",
        "Wpg 16",
        "bezorgd (delivered) 2026-04-03",
    ] {
        assert!(rows[0].contains(part), "{part}: {}", rows[0]);
    }
    let wjsg = views.text("wjsg39j.csv");
    let rows: Vec<&str> = wjsg.trim_start_matches('\u{feff}').lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{wjsg}");
    assert!(rows[0].contains("\"'-Officier; \"\"jeugd\"\"\""), "no formula, no second cell: {}", rows[0]);
    assert!(rows[0].contains("vernietigd, niet bezorgd (shredded)"));
    assert!(rows[1].contains("Openbaar Ministerie") && rows[1].contains("aangenomen (accepted)"));
}

#[test]
fn the_register_has_each_flow_of_each_version_with_its_counts() {
    let views = whole();
    let csv = views.text("register-art30.csv");
    let covenants = covenants();
    let rows: Vec<&str> = csv.trim_start_matches('\u{feff}').lines().skip(1).collect();
    assert_eq!(rows.len(), covenants.iter().map(|covenant| covenant.flows.len()).sum::<usize>());
    let of = |covenant: &Covenant, flow: &str| {
        let hash = covenant.hash().to_string();
        let row = rows.iter().find(|row| row.contains(&hash) && row.contains(&format!(";{flow};")));
        (*row.unwrap_or_else(|| panic!("{flow}"))).to_owned()
    };
    let first = of(&covenants[0], "F09");
    assert!(first.ends_with(";4;1;1"), "accepted, delivered, refused: {first}");
    assert!(first.contains("Politie, basisteam Voorbeeldstad-Noord (politie)"));
    assert!(of(&covenants[1], "F09").ends_with(";1;0;0"));
    assert!(of(&covenants[0], "F01").ends_with(";0;0;0"));
    assert!(of(&covenants[1], "F09").starts_with("'=1+1 "));
    let html = views.text("register-art30.html");
    assert!(html.contains("=1+1 &lt;b&gt;versie twee&lt;/b&gt;") && !html.contains("<b>"));
    assert_eq!(html.matches("<tr>").count(), rows.len() + 1);
}

#[test]
fn neighbours_that_only_show_completeness_are_in_no_view() {
    let log = log();
    let question = vec![("from", (START + 2 * DAY).to_string()), ("until", (START + 11 * DAY).to_string())];
    let lines = log.lines();
    let mut parts = Parts::new(&lines, &(1..lines.len()).collect(), &Ask { complete: true, question });
    parts.covenants = log.covenants.iter().map(|one| (one.hash().to_string(), one.to_bytes())).collect();
    parts.covenants.sort();
    let views = views_of(&parts.file());
    assert_eq!(views.made.as_ref().unwrap().files[1], ("adl.jsonl", 6));
    assert_eq!(views.text("wpg.csv").lines().count(), 1, "the police's disclosure was before the period");
}

#[test]
fn a_covenant_that_is_not_there_is_told_and_guessed_by_nobody() {
    let views = views_of(&log().bundle(&Ask { complete: true, question: vec![] }, false).file());
    assert_eq!(views.made.as_ref().unwrap().without_covenant, 5);
    assert_eq!(views.text("wpg.csv").lines().count(), 1);
    assert_eq!(views.records("fsc").len(), 6);
}

#[test]
fn nothing_is_made_of_a_bundle_that_is_not_good() {
    let good = log().bundle(&Ask { complete: true, question: vec![] }, true);
    let changed = good.file_with_entries(|text| text.replacen("F09", "F08", 1).into_bytes());
    let mut cut = good.file();
    cut.truncate(cut.len() - 1);
    for file in [changed, cut, Vec::new(), b"no bundle".to_vec()] {
        let views = views_of(&file);
        assert!(matches!(views.made, Err(ViewsError::NotGood(_))), "{:?}", views.made);
        assert!(!views.dir.path().join("out").exists(), "not even the folder");
    }
}

#[test]
fn what_is_there_already_is_not_written_over_and_nothing_half_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, out) = (dir.path().join("bundle.zip"), dir.path().join("out"));
    fs::write(&bundle, log().bundle(&Ask { complete: true, question: vec![] }, true).file()).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("wpg.csv"), "of somebody").unwrap();
    let key = Key::parse(&build::signer().vkey()).unwrap();
    assert!(matches!(write(&bundle, &key, &out, &View::ALL), Err(ViewsError::Taken(_))));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    write(&bundle, &key, &out, &[View::Adl]).unwrap();
    assert_eq!(fs::read_to_string(out.join("wpg.csv")).unwrap(), "of somebody");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "only the view that was asked for");
}
