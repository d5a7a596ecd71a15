//! An export that is interrupted anywhere goes on, and ends as the file it would have been.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use serde_json::Value;

use super::tests::{BEGIN, FRESH, ask, key, log, source};
use super::*;

const AGAIN: How = How { resume: true, views: true };

fn covenant(hash: &Digest) -> Option<Vec<u8>> {
    (hash.0 == [4; 32]).then(|| b"covenant".to_vec())
}

/// What is left of an export that stopped while it wrote its report.
struct Interrupted {
    dir: tempfile::TempDir,
    log: Log,
    question: Question,
    /// The export that was not interrupted.
    whole: Vec<u8>,
    state: Value,
    partial: Vec<u8>,
    runs: Vec<u8>,
}

fn interrupted(question: Question) -> Interrupted {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&dir.path().join("log"), 700);
    log.publish().unwrap();
    let key = key();
    let out = dir.path().join("whole.zip");
    write(&source(&log, &key, &covenant), &question, &out, FRESH).unwrap();
    let whole = std::fs::read(&out).unwrap();
    let crash = |_: &Digest| -> Option<Vec<u8>> { panic!("a crash") };
    let out = dir.path().join("out.zip");
    let crashed =
        catch_unwind(AssertUnwindSafe(|| write(&source(&log, &key, &crash), &question, &out, FRESH)));
    assert!(crashed.is_err() && !out.exists());
    let read = |end: &str| std::fs::read(dir.path().join(format!("out.zip.partial{end}"))).unwrap();
    let state = serde_json::from_slice(&read(".state")).unwrap();
    let (partial, runs) = (read(""), read(".runs"));
    Interrupted { dir, log, question, whole, state, partial, runs }
}

impl Interrupted {
    fn out(&self) -> PathBuf {
        self.dir.path().join("out.zip")
    }

    fn partial_path(&self) -> PathBuf {
        Paths::of(&self.out()).bundle
    }

    fn read_state(&self) -> Value {
        let path = self.dir.path().join("out.zip.partial.state");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn put(&self, state: &Value, partial: &[u8], runs: &[u8]) {
        let put = |end: &str, bytes: &[u8]| {
            std::fs::write(self.dir.path().join(format!("out.zip.partial{end}")), bytes).unwrap();
        };
        put(".state", state.to_string().as_bytes());
        put("", partial);
        put(".runs", runs);
    }

    /// Goes on, later and on a log that has grown.
    fn resume(&self, question: &Question, how: How) -> Result<Written, Complaint> {
        let key = key();
        let later = Source {
            now: BEGIN.plus(seinhuis_shared::time::Span::days(9)),
            ..source(&self.log, &key, &covenant)
        };
        write(&later, question, &self.out(), how)
    }

    fn refuses(&self, question: &Question, how: How, why: &str) {
        let complaint = self.resume(question, how).unwrap_err();
        assert!(complaint.what.en.contains(why), "{why}: {}", complaint.what.en);
        assert!(!self.out().exists());
    }
}

#[test]
fn it_goes_on_after_any_member_and_ends_as_the_same_file() {
    let selection = ask(|ask| ask.kind = Some("accepted".into()));
    for question in [ask(|_| ()), selection] {
        let case = interrupted(question);
        let count = case.state["members"].as_array().unwrap().len();
        assert!(count >= 9, "{count}");
        case.log.append(vec![b"a later entry".to_vec()], b"");
        for keep in 0..=count {
            let mut state = case.state.clone();
            state["members"].as_array_mut().unwrap().truncate(keep);
            case.put(&state, &case.partial, &case.runs);
            case.resume(&case.question, AGAIN).unwrap();
            assert!(std::fs::read(case.out()).unwrap() == case.whole, "after {keep} members");
            assert_eq!(std::fs::read_dir(case.dir.path()).unwrap().count(), 3, "nothing else is left");
            std::fs::remove_file(case.out()).unwrap();
        }
        // Before anything was found.
        let mut state = case.state.clone();
        state["members"] = serde_json::json!([]);
        state["found"] = Value::Null;
        case.put(&state, b"", b"half a r");
        case.resume(&case.question, AGAIN).unwrap();
        assert!(std::fs::read(case.out()).unwrap() == case.whole);
    }
}

#[test]
fn a_damaged_log_stops_it_and_once_mended_it_goes_on() {
    let case = interrupted(ask(|_| ()));
    let mut state = case.state.clone();
    state["members"].as_array_mut().unwrap().truncate(3);
    case.put(&state, &case.partial, &case.runs);
    let path = case.dir.path().join("log/tile/entries/001");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[9] ^= 1;
    std::fs::write(&path, bad).unwrap();
    case.refuses(&case.question, AGAIN, "does not match its hashes");
    std::fs::write(&path, good).unwrap();
    case.resume(&case.question, AGAIN).unwrap();
    assert!(std::fs::read(case.out()).unwrap() == case.whole);
}

#[test]
fn what_is_not_as_it_was_does_not_go_on() {
    let case = interrupted(ask(|_| ()));
    let put = || case.put(&case.state, &case.partial, &case.runs);
    put();
    case.refuses(&case.question, FRESH, "is still there");
    case.refuses(&ask(|ask| ask.purpose = "Een ander doel".into()), AGAIN, "question");
    case.refuses(&case.question, How { views: false, ..AGAIN }, "question");
    for at in [0, 45, case.partial.len() / 2] {
        let mut changed = case.partial.clone();
        changed[at] ^= 1;
        case.put(&case.state, &changed, &case.runs);
        case.refuses(&case.question, AGAIN, "file was changed");
    }
    case.put(&case.state, &case.partial[..case.partial.len() / 2], &case.runs);
    case.refuses(&case.question, AGAIN, "file was changed");
    case.put(&case.state, &case.partial, &[0; 16]);
    case.refuses(&case.question, AGAIN, "file was changed");
    for (pin, value, why) in [
        ("root", serde_json::json!(Digest([1; 32]).to_string()), "log"),
        ("size", serde_json::json!(701), "log"),
        ("log_key", serde_json::json!("other"), "log"),
    ] {
        let mut state = case.state.clone();
        state["pins"][pin] = value;
        case.put(&state, &case.partial, &case.runs);
        case.refuses(&case.question, AGAIN, why);
    }
    case.put(&Value::Null, &case.partial, &case.runs);
    case.refuses(&case.question, AGAIN, "state does not read");
    put();
    let held = File::open(Paths::of(&case.out()).bundle).unwrap();
    held.lock().unwrap();
    case.refuses(&case.question, AGAIN, "being written");
    drop(held);
    case.resume(&case.question, AGAIN).unwrap();
    std::fs::remove_file(case.out()).unwrap();
    case.refuses(&case.question, AGAIN, "no interrupted export");
}

/// The same with a cut every hundred entries.
fn with_cuts() -> Interrupted {
    let case = interrupted(ask(|_| ()));
    let mut state = case.state.clone();
    state["pins"]["stride"] = serde_json::json!(100);
    state["members"] = serde_json::json!([]);
    case.put(&state, b"", &case.runs);
    let key = key();
    let crash = |_: &Digest| -> Option<Vec<u8>> { panic!("a crash") };
    let again = || write(&source(&case.log, &key, &crash), &case.question, &case.out(), AGAIN);
    assert!(catch_unwind(AssertUnwindSafe(again)).is_err());
    let (state, partial) = (case.read_state(), std::fs::read(case.partial_path()).unwrap());
    case.resume(&case.question, AGAIN).unwrap();
    let cut = std::fs::read(case.out()).unwrap();
    std::fs::remove_file(case.out()).unwrap();
    assert!(cut != case.whole, "cuts are in the bytes");
    Interrupted { state, partial, whole: cut, ..case }
}

#[test]
fn it_goes_on_inside_a_long_member_and_ends_as_the_same_file() {
    let case = with_cuts();
    let members = case.state["members"].as_array().unwrap();
    let place_of = |name: &str| members.iter().position(|member| member["name"] == name).unwrap();
    for (name, place) in [
        // From the beginning, when nothing was kept before.
        ("entries.jsonl", 0),
        ("entries.jsonl", place_of("entries.jsonl")),
        ("entries.csv", place_of("entries.csv")),
        ("entries-excel.csv", place_of("entries-excel.csv")),
    ] {
        let mut state = case.state.clone();
        state["members"].as_array_mut().unwrap().truncate(place);
        case.put(&state, &case.partial, &case.runs);
        let path = case.dir.path().join("log/tile/entries/001");
        let good = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(case.resume(&case.question, AGAIN).is_err(), "{name}: entry 256 cannot be read");
        std::fs::write(&path, good).unwrap();
        let (state, partial) = (case.read_state(), std::fs::read(case.partial_path()).unwrap());
        assert_eq!(state["begun"]["part"]["name"], name);
        assert_eq!(state["begun"]["entries"], 200, "{name}");
        let start = state["begun"]["part"]["start"].as_u64().unwrap();
        for at in [usize::try_from(start).unwrap(), partial.len() - 1] {
            let packed = state["begun"]["part"]["packed"].as_u64().unwrap();
            let mut changed = partial.clone();
            let last = usize::try_from(start + packed).unwrap();
            changed[at.min(last)] ^= 1;
            case.put(&state, &changed, &case.runs);
            case.refuses(&case.question, AGAIN, "file was changed");
        }
        case.put(&state, &partial, &case.runs);
        case.resume(&case.question, AGAIN).unwrap();
        assert!(std::fs::read(case.out()).unwrap() == case.whole, "inside {name}");
        std::fs::remove_file(case.out()).unwrap();
    }
}
