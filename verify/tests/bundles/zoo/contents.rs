//! Sums, manifests, checkpoints, places, proofs and covenants that do not hold.

use data_encoding::{BASE64, HEXLOWER};
use seinhuis_verify::Code;

use super::{Beast, altered, replaced, some, unsealed, whole};
use crate::build::{self, ORIGIN, Parts, Signer, signer};
use crate::zip::Member;

/// With another list of sums, which is signed.
fn listed(name: &str, change: impl FnOnce(String) -> String) -> Beast {
    unsealed(name, Code::BadSums, |members| {
        members.truncate(members.len() - 2);
        let sums = change(build::sums(members));
        members.push(Member::deflated("SHA256SUMS", sums.as_bytes()));
        members.push(Member::stored("SHA256SUMS.note", signer().note(&build::about(&sums)).as_bytes()));
    })
}

pub(crate) fn sums() -> Vec<Beast> {
    let mut all: Vec<Beast> = [
        ("readme changed", 0, "uitleg", "Uitleg"),
        ("manifest changed: purpose", 1, "controle", "onderzoek"),
        ("manifest changed: size", 1, "\"size\":60", "\"size\":61"),
        ("checkpoint changed", 2, "\n60\n", "\n61\n"),
        ("runs renumbered", 4, "0 60", "1 60"),
        ("csv changed", 7, "tijd", "soort"),
        ("covenant changed", 8, "covenant", "Covenant"),
    ]
    .iter()
    .map(|(name, place, from, to)| {
        replaced(&format!("after sealing: {name}"), Code::BadSums, *place, |text| {
            assert!(text.contains(from), "{name}");
            text.replacen(from, to, 1)
        })
    })
    .collect();
    all.extend([
        listed("sums: a line missing", |text| text.split_once('\n').unwrap().1.to_owned()),
        listed("sums: a line twice", |text| text.clone() + text.lines().last().unwrap() + "\n"),
        listed("sums: upper case", |text| text.replace('a', "A")),
        listed("sums: CRLF", |text| text.replace('\n', "\r\n")),
        listed("sums: one space", |text| text.replace("  ", " ")),
        listed("sums: no newline at the end", |text| text.trim_end().to_owned()),
        listed("sums: lines in another order", |text| {
            text.lines().rev().flat_map(|line| [line, "\n"]).collect()
        }),
        listed("sums: empty", |_| String::new()),
        listed("sums: of a member that is not there", |text| text + &format!("{:064x}  report.html\n", 5)),
    ]);
    all.extend(sum_notes());
    all
}

fn sum_notes() -> Vec<Beast> {
    let note = |name: &str, make: &dyn Fn(&str) -> String| {
        replaced(&format!("note: {name}"), Code::BadSumsSignature, 11, |note| {
            let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
            make(&text)
        })
    };
    let other = Signer::new(8, ORIGIN);
    let renamed = Signer::new(7, "broker.example/uitwisseling/2025");
    let claimed = |text: &str| {
        let line = |signer: &Signer| {
            BASE64.decode(signer.line(text).trim_end().rsplit_once(' ').unwrap().1.as_bytes())
        };
        let (mine, theirs) = (line(&signer()).unwrap(), line(&other).unwrap());
        format!("{text}\n\u{2014} {ORIGIN} {}\n", BASE64.encode(&[&mine[..4], &theirs[4..]].concat()))
    };
    let signed = |text: &str| signer().note(text);
    let forged = |text: &str| {
        let mut bytes =
            BASE64.decode(signed(text).trim_end().rsplit_once(' ').unwrap().1.as_bytes()).unwrap();
        bytes[20] ^= 1;
        format!("{text}\n\u{2014} {ORIGIN} {}\n", BASE64.encode(&bytes))
    };
    let digest = HEXLOWER.encode(&[0; 32]);
    vec![
        note("by another key", &|text| other.note(text)),
        note("by the key under another name", &|text| renamed.note(text)),
        note("by another key that takes the id", &claimed),
        note("one bit changed", &forged),
        note("good and bad signature of the key", &|text| {
            signed(text) + forged(text).split_once("\n\n").unwrap().1
        }),
        note("of another list", &|_| signed(&format!("{ORIGIN}\nseinhuis/export/1\n{digest}\n"))),
        note("of another kind", &|text| signed(&text.replace("export/1", "export/2"))),
        note("of another log", &|text| signed(&text.replace("2026", "2025"))),
        note("with a line more", &|text| signed(&format!("{text}more\n"))),
        note("the checkpoint instead", &|_| whole().checkpoint),
        note("no signature", &|text| format!("{text}\n")),
        note("no empty line", &|text| signed(text).replace("\n\n", "\n")),
        note("a hyphen for the dash", &|text| signed(text).replace('\u{2014}', "-")),
        note("no newline at the end", &|text| signed(text).trim_end().to_owned()),
        note("CRLF", &|text| signed(text).replace('\n', "\r\n")),
        note("bytes after the signature", &|text| signed(text) + "\n"),
        note("a control character in a name", &|text| signed(text) + "\u{2014} a\u{7f}b AAAAAAAA\n"),
        note("empty", &|_| String::new()),
    ]
}

fn manifest(name: &str, change: impl FnOnce(&mut Parts)) -> Beast {
    altered(&format!("manifest: {name}"), Code::BadManifest, None, whole(), change)
}

pub(crate) fn manifests() -> Vec<Beast> {
    let set = |name: &str, field: &str, value: &str| manifest(name, |parts| parts.set(field, value));
    let mut all: Vec<Beast> =
        ["format", "origin", "log_key", "size", "count", "created", "purpose", "proves"]
            .iter()
            .map(|field| {
                manifest(&format!("no {field}"), |parts| parts.manifest.retain(|(name, _)| name != field))
            })
            .collect();
    let other = format!("\"{}\"", Signer::new(8, ORIGIN).vkey());
    all.extend([
        set("other format", "format", "\"seinhuis/export/2\""),
        set("other origin", "origin", "\"broker.example/uitwisseling/2025\""),
        set("other key", "log_key", &other),
        set("unknown field", "note", "\"x\""),
        set("null", "flow", "null"),
        set("true", "flow", "true"),
        set("array", "flow", "[\"F02\"]"),
        set("object", "flow", "{\"a\":1}"),
        set("text for a number", "size", "\"60\""),
        set("number for a text", "purpose", "60"),
        set("empty purpose", "purpose", "\"\""),
        set("negative size", "size", "-60"),
        set("leading zero", "size", "060"),
        set("fraction", "size", "60.0"),
        set("exponent", "size", "6e1"),
        set("huge number", "size", "9007199254740992"),
        set("number of 30 digits", "size", "100000000000000000000000000000"),
        set("other claim", "proves", "\"everything\""),
        set("claim that the readme does not make", "proves", "\"selection\""),
        set("organisation that is none", "organisation", "\"gemeente\""),
        set("kind that is none", "kind", "\"Accepted\""),
        set("result that is none", "result", "\"refused\""),
        set("result with a leading zero", "result", "\"0205\""),
        set("case that is none", "case", "\"11111111222243338444555555555555\""),
        set("needless escape", "purpose", r#""\u0041""#),
        set("upper case in an escape", "purpose", r#""\u001B""#),
        set("escaped slash", "purpose", r#""a\/b""#),
        set("half a surrogate", "purpose", r#""\ud800""#),
        set("raw control character", "purpose", "\"a\tb\""),
        set("white space", "purpose", " \"x\""),
        manifest("key twice", |parts| parts.manifest.push(("size".to_owned(), "61".to_owned()))),
        manifest("keys out of order", |parts| {
            // The builder sorts by name: one field that holds two.
            parts.set("count", "60,\"a\":1");
        }),
        manifest("readme makes no claim", |parts| parts.readme.clear()),
    ]);
    all
}

pub(crate) fn checkpoints() -> Vec<Beast> {
    let bad = |name: &str, make: &dyn Fn(&str) -> String| {
        altered(&format!("checkpoint: {name}"), Code::BadCheckpoint, None, whole(), |parts| {
            let text = parts.checkpoint.split_once("\n\n").unwrap().0.to_owned() + "\n";
            parts.checkpoint = make(&text);
        })
    };
    let signed = |text: &str| signer().note(text);
    let mut all = vec![
        bad("of another log", &|text| signed(&text.replace("2026", "2025"))),
        bad("of another log, by its key", &|text| {
            Signer::new(7, "broker.example/uitwisseling/2025").note(&text.replace("2026", "2025"))
        }),
        bad("by another key", &|text| Signer::new(8, ORIGIN).note(text)),
        bad("of another size", &|text| signed(&text.replace("\n60\n", "\n61\n"))),
        bad("size changed after signing", &|text| signed(text).replace("\n60\n", "\n61\n")),
        bad("size with a leading zero", &|text| signed(&text.replace("\n60\n", "\n060\n"))),
        bad("negative size", &|text| signed(&text.replace("\n60\n", "\n-60\n"))),
        bad("size above 2^64", &|text| signed(&text.replace("\n60\n", "\n18446744073709551676\n"))),
        bad("root of 31 bytes", &|_| signed(&format!("{ORIGIN}\n60\n{}\n", BASE64.encode(&[1; 31])))),
        bad("root without padding", &|text| signed(&text.replace('=', ""))),
        bad("no root", &|_| signed(&format!("{ORIGIN}\n60\n"))),
        bad("empty further line", &|text| signed(&format!("{text}\n"))),
        bad("17 further lines", &|text| signed(&(text.to_owned() + &"x\n".repeat(17)))),
        bad("the sums' note instead", &|_| signed(&build::about(""))),
        bad("no signature", &|text| text.to_owned()),
    ];
    let empty = crate::good::complete(0, None, None);
    all.push(altered("checkpoint: of nothing, with a root", Code::BadCheckpoint, None, empty, |parts| {
        parts.checkpoint = signed(&build::checkpoint(0, &[0; 32]));
    }));
    all.push(altered("other size in the manifest", Code::BadCheckpoint, None, whole(), |parts| {
        parts.set("size", "64");
    }));
    all
}

pub(crate) fn places() -> Vec<Beast> {
    let runs = |name: &str, line: Option<u64>, text: &str| {
        altered(&format!("runs: {name}"), Code::BadRuns, line, whole(), |parts| {
            text.clone_into(&mut parts.runs);
        })
    };
    vec![
        runs("touching", Some(2), "0 30\n30 30\n"),
        runs("overlapping", Some(2), "0 31\n29 29\n"),
        runs("falling", Some(2), "30 30\n0 29\n"),
        runs("past the end", Some(1), "1 60\n"),
        runs("past 2^64", Some(1), "18446744073709551615 60\n"),
        runs("fewer than counted", None, "0 59\n"),
        runs("none", None, ""),
        runs("count of nothing", Some(2), "0 60\n61 0\n"),
        runs("negative", Some(1), "-1 60\n"),
        runs("plus", Some(1), "+0 60\n"),
        runs("leading zero", Some(1), "00 60\n"),
        runs("two spaces", Some(1), "0  60\n"),
        runs("three numbers", Some(1), "0 60 1\n"),
        runs("one number", Some(1), "060\n"),
        runs("tab", Some(1), "0\t60\n"),
        runs("CRLF", Some(1), "0 60\r\n"),
        runs("no newline at the end", Some(1), "0 60"),
        runs("empty line", Some(2), "0 60\n\n"),
        runs("other digits", Some(1), "0 \u{0666}0\n"),
        runs("overlong", Some(1), &format!("0 {}60\n", " ".repeat(5000))),
        altered("runs: count of nothing, inside", Code::BadRuns, Some(1), some(), |parts| {
            parts.runs.insert_str(0, "0 0\n");
        }),
        altered("count one more", Code::BadRuns, None, whole(), |parts| parts.set("count", "61")),
        altered("line and leaf removed", Code::BadRuns, None, whole(), |parts| {
            parts.lines.remove(30);
            parts.leaves.remove(30);
        }),
        altered("line and leaf added", Code::BadRuns, None, whole(), |parts| {
            parts.lines.push(build::entry(60));
            parts.leaves.push([0; 32]);
        }),
        altered("all lines and leaves removed", Code::BadRuns, None, whole(), |parts| {
            parts.lines.clear();
            parts.leaves.clear();
        }),
    ]
}

pub(crate) fn proofs() -> Vec<Beast> {
    let bad = |name: &str, change: &dyn Fn(&mut Parts)| {
        altered(&format!("proof: {name}"), Code::BadProof, None, some(), change)
    };
    let first = |parts: &Parts| parts.proof[0].clone();
    vec![
        bad("cut", &|parts| drop(parts.proof.pop())),
        bad("without its first", &|parts| drop(parts.proof.remove(0))),
        bad("empty", &|parts| parts.proof.clear()),
        bad("extended", &|parts| parts.proof.push(first(parts))),
        bad("empty line at the end", &|parts| parts.proof.push(String::new())),
        bad("two swapped", &|parts| parts.proof.swap(0, 1)),
        bad("flipped", &|parts| {
            let flipped = if first(parts).starts_with('0') { "1" } else { "0" };
            parts.proof[0].replace_range(..1, flipped);
        }),
        bad("upper case", &|parts| parts.proof[3] = "A".repeat(64)),
        bad("one digit short", &|parts| parts.proof[2].truncate(63)),
        bad("one digit more", &|parts| parts.proof[2].push('0')),
        bad("CRLF", &|parts| parts.proof[2].push('\r')),
        bad("root of another log", &|parts| {
            parts.checkpoint = signer().note(&build::checkpoint(400, &[9; 32]));
        }),
        bad("no leaves", &|parts| parts.leaves.clear()),
        bad("a leaf too few", &|parts| parts.leaves.truncate(99)),
        bad("a leaf too many", &|parts| parts.leaves.push([0; 32])),
        bad("a leaf changed", &|parts| parts.leaves[7][31] ^= 1),
        bad("two leaves swapped", &|parts| parts.leaves.swap(8, 9)),
        bad("runs renumbered", &|parts| parts.runs = parts.runs.replacen("2 1\n", "1 1\n", 1)),
        altered("proof: of a whole log, not empty", Code::BadProof, None, whole(), |parts| {
            parts.proof.push("0".repeat(64));
        }),
        altered(
            "proof: of an empty log, not empty",
            Code::BadProof,
            None,
            crate::good::complete(0, None, None),
            |parts| {
                parts.proof.push("0".repeat(64));
            },
        ),
    ]
}

pub(crate) fn covenants() -> Vec<Beast> {
    let bad = |name: &str, change: &dyn Fn(&mut Parts)| {
        altered(&format!("covenant: {name}"), Code::BadCovenant, None, whole(), change)
    };
    vec![
        bad("bytes exchanged", &|parts| {
            let bytes = parts.covenants[0].1.clone();
            parts.covenants[0].1 = std::mem::replace(&mut parts.covenants[1].1, bytes);
        }),
        bad("bytes changed", &|parts| parts.covenants[0].1.push(0)),
        bad("empty", &|parts| parts.covenants[1].1.clear()),
        bad("that no entry names", &|parts| {
            parts.covenants.push(build::covenant(2));
            parts.covenants.sort();
        }),
    ]
}
