//! Good bundles of every kind.

use std::collections::BTreeSet;

use crate::build::{Ask, CASE, GEMEENTE, POLITIE, Parts, Signer, covenant, entries, signer, time};
use crate::zip::{self, Around};

/// A complete bundle of the indices `range` and their neighbours' times as the period.
pub(crate) fn complete(size: u64, from: Option<u64>, until: Option<u64>) -> Parts {
    let log = entries(size);
    let inside = |index: u64| {
        from.is_none_or(|from| time(index) >= from) && until.is_none_or(|until| time(index) < until)
    };
    let mut picked: BTreeSet<u64> = (0..size).filter(|index| inside(*index)).collect();
    picked.extend(from.and_then(|from| (0..size).rfind(|index| time(*index) < from)));
    picked.extend(until.and_then(|until| (0..size).find(|index| time(*index) >= until)));
    let picked = picked.into_iter().map(|index| usize::try_from(index).unwrap()).collect();
    let mut question = Vec::new();
    question.extend(from.map(|from| ("from", from.to_string())));
    question.extend(until.map(|until| ("until", until.to_string())));
    Parts::new(&log, &picked, &Ask { complete: true, question })
}

/// The entries of a log that hold every one of these texts.
pub(crate) fn selection(size: u64, holds: &[&str], question: &[(&'static str, &str)]) -> Parts {
    let log = entries(size);
    let fits = |line: &String| holds.iter().all(|text| line.contains(text));
    let picked = (0..log.len()).filter(|index| fits(&log[*index])).collect();
    let question = question.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Parts::new(&log, &picked, &Ask { complete: false, question })
}

fn completes() -> Vec<(String, Parts)> {
    let mut all = Vec::new();
    for size in [0, 1, 2, 3, 7, 8, 9, 100, 1000, 3001] {
        all.push((format!("whole log of {size}"), complete(size, None, None)));
    }
    for (name, from, until) in [
        ("from on", Some(10), None),
        ("up to", None, Some(20)),
        ("from and until", Some(10), Some(20)),
        ("a millisecond", Some(10), Some(11)),
        ("nothing between two neighbours", Some(10), Some(10)),
        ("before the log", None, Some(0)),
        ("after the log", Some(5000), Some(6000)),
        ("around the log", Some(0), Some(5000)),
    ] {
        let at = |offset: Option<u64>| offset.map(|offset| time(0) + offset);
        all.push((format!("complete {name}"), complete(100, at(from), at(until))));
        all.push((format!("complete {name}, odd size"), complete(77, at(from), at(until))));
    }
    all
}

fn selections() -> Vec<(String, Parts)> {
    let case = format!("\"{CASE}\"");
    let period = [(time(200).to_string(), time(300).to_string())];
    let mut all = vec![
        ("by flow", selection(2500, &[r#""flow":"F02""#], &[("flow", "\"F02\"")])),
        ("by kind", selection(500, &[r#""kind":"key""#], &[("kind", "\"key\"")])),
        ("by case", selection(500, &[CASE], &[("case", &case)])),
        ("by refusal", selection(500, &[r#""reason":205"#], &[("result", "\"205\"")])),
        ("by acceptance", selection(300, &[r#""kind":"accepted""#], &[("result", "\"accepted\"")])),
        ("empty", selection(500, &["no such"], &[("result", "\"999\"")])),
        ("empty, of an empty log", selection(0, &["no such"], &[("flow", "\"F02\"")])),
        ("one entry", selection(400, &[&entry_salt(123)], &[])),
        ("one entry, the first", selection(400, &[&entry_salt(0)], &[])),
        ("one entry, the last", selection(400, &[&entry_salt(399)], &[])),
        ("everything", selection(257, &[], &[])),
    ];
    for oin in [GEMEENTE, POLITIE] {
        all.push(("by organisation", selection(600, &[oin], &[("organisation", &format!("\"{oin}\""))])));
    }
    for (from, until) in &period {
        let log = entries(500);
        let picked = (200..300).filter(|index| log[*index].contains(r#""flow":"F01""#)).collect();
        let question = vec![("from", from.clone()), ("until", until.clone()), ("flow", "\"F01\"".to_owned())];
        all.push(("by flow in a period", Parts::new(&log, &picked, &Ask { complete: false, question })));
    }
    all.into_iter().map(|(name, parts)| (format!("selection {name}"), parts)).collect()
}

fn entry_salt(index: u64) -> String {
    let entry = crate::build::entry(index);
    let (_, rest) = entry.split_once("\"salt\":\"").unwrap();
    rest[..32].to_owned()
}

/// The text of a note, with its last newline.
pub(crate) fn text_of(note: &str) -> String {
    note.split_once("\n\n").unwrap().0.to_owned() + "\n"
}

/// The witnesses of the policy are 1 to 3.
pub(crate) fn witness(number: u8) -> Signer {
    Signer::new(50 + number, &format!("witness-{number}.example"))
}

/// Two of three, and the log.
pub(crate) fn policy() -> String {
    let line = |name: &str, number| {
        format!("witness {name} {} https://w.example/\n", witness(number).witness_vkey())
    };
    let witnesses = [line("A", 1), line("B", 2), line("C", 3)].concat();
    format!("# who has to have seen it\nlog {}\n{witnesses}\tgroup Q 2  A B C \nquorum Q\n", signer().vkey())
}

/// Signed by the log, and cosigned by witnesses 1 and 3.
fn cosigned(text: &str) -> String {
    signer().note(text) + &witness(1).cosign(text, 1_772_400_000) + &witness(3).cosign(text, 1_772_400_001)
}

/// A period that begins after an earlier checkpoint, both cosigned, with every member there can be.
pub(crate) fn witnessed() -> Parts {
    let mut parts = complete(100, Some(time(80)), None);
    parts.checkpoint = cosigned(&text_of(&parts.checkpoint));
    parts.policies = vec![(covenant(0).0, policy())];
    parts.begin_at(&entries(100), 30, cosigned);
    parts.set("asked_by", "\"Autoriteit Persoonsgegevens\"");
    let xlsx = zip::file(&[zip::Member::stored("xl/workbook.xml", b"<x/>")], &Around::default());
    parts.views = vec![
        ("entries-excel.csv", b"a;b".to_vec()),
        ("entries.xlsx", xlsx),
        ("report.html", b"<p>".to_vec()),
    ];
    parts
}

/// What a second covenant asks: its parties are others, one of them is in the first too.
pub(crate) fn second() -> String {
    let line = |name: &str, number| format!("witness {name} {}\n", witness(number).witness_vkey());
    format!("log {}\n{}{}group Q any C D\nquorum Q\n", signer().vkey(), line("C", 3), line("D", 4))
}

/// With a policy for each of two covenants.
pub(crate) fn twice() -> Parts {
    let mut parts = witnessed();
    parts.policies.push((covenant(1).0, second()));
    parts.policies.sort();
    parts
}

/// Good bundles with a policy they are held against.
pub(crate) fn given() -> Vec<(String, Vec<u8>, String)> {
    let key = |number| witness(number).witness_vkey();
    let mut unnamed = witnessed();
    unnamed.policies.clear();
    let (one, three) = (key(1), key(3));
    let two = key(2);
    let nested = format!(
        "witness a {one}\nwitness b {two}\nwitness c {three}\ngroup x any a b\ngroup y all x c\nquorum y\n"
    );
    vec![
        ("the same policy".to_owned(), witnessed().file(), policy()),
        ("one of two policies".to_owned(), twice().file(), policy()),
        ("the other of two policies".to_owned(), twice().file(), second()),
        ("no policy in the bundle".to_owned(), unnamed.file(), policy()),
        ("groups of groups, no log named".to_owned(), unnamed.file(), nested),
        ("a witness alone".to_owned(), unnamed.file(), format!("witness \u{e9} {three}\nquorum \u{e9}\n")),
        ("nobody asked for".to_owned(), unnamed.file(), "quorum none\n".to_owned()),
    ]
}

/// Earlier checkpoints of every size.
fn begun() -> Vec<(String, Parts)> {
    let sizes = [0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 95, 96, 99];
    let at = |size: usize| {
        let mut parts = complete(100, Some(time(99) + 1), None);
        parts.begin_at(&entries(100), size, |text| signer().note(text));
        (format!("an earlier checkpoint of {size}"), parts)
    };
    let mut all: Vec<_> = sizes.into_iter().map(at).collect();
    let mut nobody = selection(64, &["no such"], &[("flow", "\"F09\"")]);
    nobody.begin_at(&entries(64), 64, |text| signer().note(text));
    all.push(("an earlier checkpoint that is the same, without entries".to_owned(), nobody));
    all
}

/// All of them, as files.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut parts = completes();
    parts.extend(selections());
    parts.extend(begun());
    parts.push(("every member".to_owned(), witnessed()));
    parts.push(("two policies".to_owned(), twice()));
    let mut too_few = witnessed();
    too_few.checkpoint = signer().note(&text_of(&too_few.checkpoint));
    parts.push(("its own policy is not met".to_owned(), too_few));
    let mut fewer = complete(60, None, None);
    fewer.covenants.pop();
    parts.push(("a covenant the broker does not hold".to_owned(), fewer));
    let mut other = complete(60, None, None);
    let text = other.checkpoint.split_once("\n\n").unwrap().0.to_owned() + "\n";
    other.checkpoint += &Signer::new(9, "witness.example").line(&text);
    parts.push(("a checkpoint with a witness".to_owned(), other));
    let mut rotated = complete(60, None, None);
    let text = rotated.checkpoint.split_once("\n\n").unwrap().0.to_owned() + "\n";
    rotated.checkpoint += &Signer::new(8, crate::build::ORIGIN).line(&text);
    parts.push(("a checkpoint signed by another key of the same name too".to_owned(), rotated));
    let mut further = complete(60, None, None);
    let text = further.checkpoint.split_once("\n\n").unwrap().0.to_owned() + "\nfurther line\n";
    further.checkpoint = signer().note(&text);
    parts.push(("a checkpoint with a further line".to_owned(), further));

    let mut files: Vec<_> = parts.into_iter().map(|(name, parts)| (name, parts.file())).collect();
    let mut members = complete(60, None, None).seal();
    let mut bare = complete(60, None, None).seal();
    bare.retain(|member| member.name != b"entries.csv");
    bare.truncate(bare.len() - 2);
    crate::build::sign(&mut bare, &signer());
    files.push(("no views".to_owned(), zip::file(&bare, &Around::default())));
    for member in &mut members {
        member.large = true;
    }
    files.push(("sizes of 64 bits".to_owned(), zip::file(&members, &Around::default())));
    let around = Around { large: true, ..Around::default() };
    files.push(("a large archive's end".to_owned(), zip::file(&members, &around)));
    files
}
