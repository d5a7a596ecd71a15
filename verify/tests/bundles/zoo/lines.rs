//! Lines that are not the log's: changed, removed, added or swapped, after the bundle was signed or before.

use seinhuis_verify::Code;

use super::{Beast, altered, beast, replaced, some, unsealed, whole};
use crate::build::{self, Parts, Signer, signer};
use crate::zip::{self, Around, Member};

/// What somebody does to the lines.
type Change = fn(&mut Vec<String>);

/// Each with the line that has to be named, and what else does not hold when the broker itself signed it.
fn changes() -> Vec<(&'static str, u64, Option<Code>, Change)> {
    let runs = Some(Code::BadRuns);
    vec![
        ("one changed", 8, None, |lines| change(lines, 7)),
        ("the first changed", 1, None, |lines| change(lines, 0)),
        ("the last changed", 60, None, |lines| change(lines, 59)),
        ("two changed", 8, None, |lines| [40, 7].into_iter().for_each(|at| change(lines, at))),
        ("one removed", 31, runs, |lines| drop(lines.remove(30))),
        ("the first removed", 1, runs, |lines| drop(lines.remove(0))),
        ("the last removed", 60, runs, |lines| drop(lines.pop())),
        ("all removed", 1, runs, Vec::clear),
        ("one added", 33, runs, |lines| lines.insert(31, lines[31].clone())),
        ("one added in front", 1, runs, |lines| lines.insert(0, build::entry(62))),
        ("one added behind", 61, runs, |lines| lines.push(build::entry(62))),
        ("two swapped", 9, None, |lines| lines.swap(8, 9)),
        ("one in place of another", 10, None, |lines| lines[9] = lines[8].clone()),
        ("one that is no entry", 8, Some(Code::BadEntry), |lines| lines[7].push(' ')),
        ("one with CRLF", 8, Some(Code::BadEntry), |lines| lines[7].push('\r')),
        ("one empty", 8, Some(Code::BadEntry), |lines| lines[7].clear()),
        ("one split in two", 8, runs, |lines| lines[7].insert(20, '\n')),
        ("one overlong", 8, Some(Code::BadEntry), |lines| {
            lines[7] = lines[7].replace("\"v\"", &format!("\"u\":\"{}\",\"v\"", "l".repeat(70_000)));
        }),
        ("one that changed and no entry later", 8, Some(Code::BadEntry), |lines| {
            change(lines, 7);
            lines[40].push(' ');
        }),
    ]
}

/// Another salt: still an entry, with the same meaning to everybody.
fn change(lines: &mut [String], at: usize) {
    let place = lines[at].find("\"salt\":\"").unwrap() + 8;
    let other = if lines[at].as_bytes()[place] == b'0' { "1" } else { "0" };
    lines[at].replace_range(place..=place, other);
}

/// A bundle in which lines were changed after it was signed.
fn after_sealing(name: &str, parts: &Parts, line: u64, change: impl FnOnce(&mut Vec<String>)) -> Beast {
    let mut members = parts.seal();
    let text = String::from_utf8(zip::unpacked(&members[3])).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    members[3] = Member::deflated("entries.jsonl", text.as_bytes());
    let file = zip::file(&members, &Around::default());
    let also = Some(Code::BadSums);
    Beast { line: Some(line), also, ..beast(&format!("line, after sealing: {name}"), Code::BadLine, file) }
}

/// A bundle whose lines were changed before it was signed, and the leaves were not.
fn sealed(
    name: &str,
    parts: Parts,
    (line, also): (u64, Option<Code>),
    change: impl FnOnce(&mut Parts),
) -> Beast {
    Beast { also, ..altered(&format!("line: {name}"), Code::BadLine, Some(line), parts, change) }
}

/// Changes of the file that the lines do not show.
fn ends() -> Vec<Beast> {
    let bytes = |name: &str, line: u64, also: Code, change: fn(&str) -> Vec<u8>| Beast {
        line: Some(line),
        also: Some(also),
        ..beast(&format!("line: {name}"), Code::BadLine, whole().file_with_entries(change))
    };
    vec![
        bytes("no newline at the end", 60, Code::BadEntry, |text| text.trim_end().into()),
        bytes("CRLF everywhere", 1, Code::BadEntry, |text| text.replace('\n', "\r\n").into()),
        bytes("not UTF-8", 1, Code::BadEntry, |text| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[text.find("locatie").unwrap()] = 0xff;
            bytes
        }),
        bytes("a newline behind the last", 61, Code::BadRuns, |text| [text, "\n"].concat().into()),
        bytes("NUL behind the last", 61, Code::BadRuns, |text| [text, "\0"].concat().into()),
    ]
}

/// Selections, where each line has its own way to the root.
fn selections() -> Vec<Beast> {
    assert_eq!(some().lines.len(), 100);
    vec![
        after_sealing("one of a selection changed", &some(), 78, |lines| change(lines, 77)),
        after_sealing("one of a selection removed", &some(), 78, |lines| drop(lines.remove(77))),
        after_sealing("two of a selection swapped", &some(), 5, |lines| lines.swap(4, 90)),
        // The log has this one, at another place.
        after_sealing("one of the log added to a selection", &some(), 2, |lines| {
            lines.insert(1, build::entry(3));
        }),
        sealed("one of a selection changed", some(), (78, None), |parts| change(&mut parts.lines, 77)),
        sealed("two of a selection swapped", some(), (5, Some(Code::BadOrder)), |parts| {
            parts.lines.swap(4, 90);
        }),
        sealed("one of the log in a selection for another", some(), (2, Some(Code::BadQuestion)), |parts| {
            parts.lines[1] = build::entry(4);
        }),
    ]
}

/// A changed line together with another fault: it is named while the checkpoint is the log's and the leaves lead there.
fn with_others() -> Vec<Beast> {
    let other = |name: &str, also: Code, fault: fn(&mut Parts)| {
        sealed(name, whole(), (8, Some(also)), |parts| {
            change(&mut parts.lines, 7);
            fault(parts);
        })
    };
    let hidden = |name: &str, code: Code, fault: fn(&mut Parts)| {
        altered(&format!("line changed: {name}"), code, None, whole(), |parts| {
            change(&mut parts.lines, 7);
            fault(parts);
        })
    };
    let note = |parts: &mut Parts, signer: &Signer| {
        parts.checkpoint = signer.note(&crate::good::text_of(&parts.checkpoint));
    };
    let mut all = vec![
        other("and no manifest", Code::BadManifest, |parts| parts.manifest.clear()),
        other("and another size", Code::BadCheckpoint, |parts| parts.set("size", "61")),
        other("and another count", Code::BadRuns, |parts| parts.set("count", "61")),
        other("and a policy that is none", Code::BadWitnesses, |parts| {
            parts.policies.push((build::covenant(0).0, String::new()));
        }),
        other("and a covenant that is another", Code::BadCovenant, |parts| parts.covenants[0].1.clear()),
        hidden("and runs that are none", Code::BadRuns, |parts| parts.runs.clear()),
        hidden("and a proof that is none", Code::BadProof, |parts| parts.proof.push("0".repeat(64))),
        hidden("and its leaf with it", Code::BadProof, |parts| {
            parts.leaves[7] = build::leaves(&parts.lines)[7];
        }),
        altered(
            "line changed: and the checkpoint by another key",
            Code::BadCheckpoint,
            None,
            whole(),
            |parts| {
                change(&mut parts.lines, 7);
                note(parts, &Signer::new(8, build::ORIGIN));
            },
        ),
    ];
    // After sealing, by somebody who changes the leaf too: nothing says any more which line it was.
    all.push(unsealed("after sealing: line and leaf changed", Code::BadSums, |members| {
        let mut parts = whole();
        change(&mut parts.lines, 7);
        parts.leaves = build::leaves(&parts.lines);
        let changed = parts.seal();
        for place in [3, 6] {
            members[place] = changed[place].clone();
        }
    }));
    all.push(replaced("after sealing: another checkpoint", Code::BadSums, 2, |_| {
        signer().note(&build::checkpoint(60, &[9; 32]))
    }));
    all
}

pub(crate) fn all() -> Vec<Beast> {
    let mut all = Vec::new();
    for (name, line, also, change) in changes() {
        all.push(after_sealing(name, &whole(), line, change));
        all.push(sealed(name, whole(), (line, also), |parts| change(&mut parts.lines)));
    }
    all.extend([ends(), selections(), with_others()].into_iter().flatten());
    all
}
