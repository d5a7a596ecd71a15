//! Bundles of exports, as the broker makes them, and witness policies.

use seinhuis_broker::export::{self, How, Question, Source, Witnessed};
use seinhuis_broker::log::Log;
use seinhuis_fuzz_checks::known;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::note::KeyText;

use super::{Seed, changed, cut, longer, no, ok};

/// The export of a log of five entries.
fn bundle(policy: Option<&str>, edit: impl FnOnce(&mut Question)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(&dir.path().join("log"), 0, Vec::new()).unwrap();
    let entry = |number: u8| {
        let kind = if number == 2 { Kind::Refused } else { Kind::Start };
        let mut entry = Entry::new(kind, Timestamp(known::NOON + u64::from(number)), [number; 16]);
        entry.reason = (kind == Kind::Refused).then_some(404);
        entry.to_bytes().unwrap()
    };
    log.append((0..5).map(entry).collect(), b"");
    let key = (SigningKey::from_seed(&[9; 32]), known::log().clone());
    let source = Source {
        log: &log,
        key: &key,
        covenant: &|_| None,
        witnessed: Witnessed {
            checkpoint: None,
            policies: policy.map(|policy| (Digest([4; 32]), policy.to_owned())).into_iter().collect(),
        },
        begin: &|_| None,
        now: Timestamp(known::NOON),
    };
    let mut question = Question { purpose: "Een proef".into(), ..Question::default() };
    edit(&mut question);
    let out = dir.path().join("out.zip");
    export::write(&source, &question, &out, How { resume: false, views: false }).unwrap();
    std::fs::read(out).unwrap()
}

pub(super) fn all() -> Vec<Seed> {
    let log = known::log().key.to_string();
    // A point of the curve: the log's own key, in another use.
    let point = known::log_signer().verifying_key().to_bytes();
    let witness = KeyText::new("witness.example", 4, &point).unwrap().to_string();
    let policy =
        format!("# who\nlog {log}\nwitness A {witness} https://w.example/\ngroup Q any A\nquorum Q\n");
    let whole = bundle(Some(&policy), |_| ());
    let mut bit = whole.clone();
    bit[100] ^= 1;
    vec![
        ok("export", "complete", whole.clone()),
        ok("export", "selection", bundle(None, |question| question.kind = Some("refused".into()))),
        ok("export", "period", bundle(None, |question| question.from = Some(Timestamp(known::NOON + 2)))),
        no("export", "one-bit", bit),
        no("export", "cut", cut(&whole)),
        no("export", "longer", longer(&whole)),
        no("export", "policy-is-none", bundle(Some("quorum\n"), |_| ())),
        ok("export_policy", "witness", policy.as_str()),
        ok("export_policy", "none", "quorum none\n"),
        no("export_policy", "no-newline", cut(policy.as_bytes())),
        no("export_policy", "unknown-member", changed(&policy, "any A", "any B")),
        no("export_policy", "threshold", changed(&policy, "any A", "2 A")),
        no("export_policy", "log-key", changed(&policy, &witness, &log)),
        no("export_policy", "no-quorum", changed(&policy, "quorum Q\n", "")),
    ]
}
