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
