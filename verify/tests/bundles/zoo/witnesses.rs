//! Policies, cosignatures and earlier checkpoints that do not hold.

use data_encoding::{BASE64, HEXLOWER};
use seinhuis_verify::Code;

use super::{Beast, beast};
use crate::build::{self, ORIGIN, Parts, Signer, entries as log, signer};
use crate::good::{self, policy, text_of, witness, witnessed};
use crate::zip::{self, Around, Member};

/// A bundle that others cosigned, with an earlier checkpoint, changed before it was sealed.
fn own(name: &str, code: Code, line: Option<u64>, change: impl FnOnce(&mut Parts)) -> Beast {
    let mut parts = witnessed();
    change(&mut parts);
    Beast { line, ..beast(name, code, parts.file()) }
}

/// A bundle with the policies of two covenants, changed before it was sealed.
fn twice(name: &str, line: Option<u64>, change: impl FnOnce(&mut Parts)) -> Beast {
    let mut parts = good::twice();
    change(&mut parts);
    Beast { line, ..beast(name, Code::BadWitnesses, parts.file()) }
}

/// The same, held against a policy.
fn given(name: &str, code: Code, policy: &str, change: impl FnOnce(&mut Parts)) -> Beast {
    Beast { policy: Some(policy.to_owned()), ..own(name, code, None, change) }
}

fn policies() -> Vec<Beast> {
    let whole = policy();
    let bad = |name: &str, line: Option<u64>, text: String| {
        own(&format!("policy: {name}"), Code::BadWitnesses, line, |parts| parts.policies[0].1 = text)
    };
    let lines = |text: &str| whole.replace("quorum Q\n", text);
    let key = |number: u8| witness(number).witness_vkey();
    let many = |what: &str| -> String {
        (0..65).fold(String::new(), |text, at| {
            text + &match what {
                "log" => format!("log {}\n", Signer::new(100 + at, ORIGIN).vkey()),
                "witness" => format!("witness n{at} {}\n", Signer::new(100 + at, "w.example").witness_vkey()),
                _ if at == 0 => format!("witness n0 {}\ngroup m0 all n0\n", key(9)),
                _ => format!("group m{at} all m{}\n", at - 1),
            }
        }) + "quorum none\n"
    };
    vec![
        bad("empty", None, String::new()),
        bad("no newline at the end", None, whole.trim_end().to_owned()),
        bad("no quorum", None, lines("")),
        bad("two quorums", Some(8), lines("quorum Q\nquorum none\n")),
        bad("a quorum nobody defined", Some(7), lines("quorum R\n")),
        bad("a quorum defined later", Some(1), format!("quorum A\nwitness A {}\n", key(1))),
        bad("a quorum of two", Some(7), lines("quorum A B\n")),
        bad("an unknown word", Some(7), lines("require Q\nquorum Q\n")),
        bad("a capital", Some(7), lines("Quorum Q\n")),
        bad("CRLF", Some(1), whole.replace('\n', "\r\n")),
        bad("a control character", Some(7), lines("#\u{1}\nquorum Q\n")),
        bad("DEL in a comment", Some(7), lines("#\u{7f}\nquorum Q\n")),
        bad("a group of nobody", Some(7), lines("group R all\nquorum R\n")),
        bad("a group without threshold", Some(7), lines("group R\nquorum R\n")),
        bad("a threshold of 0", Some(7), lines("group R 0 Q\nquorum R\n")),
        bad("a threshold of 2 of 1", Some(7), lines("group R 2 Q\nquorum R\n")),
        bad("a threshold with a leading zero", Some(7), lines("group R 01 Q\nquorum R\n")),
        bad("a threshold with a plus", Some(7), lines("group R +1 Q\nquorum R\n")),
        bad("a member of two groups", Some(7), lines("group R any A\nquorum R\n")),
        bad("a member twice", Some(7), lines("group R any Q Q\nquorum R\n")),
        bad("a member that is none", Some(7), lines("group R any none\nquorum R\n")),
        bad("a group of itself", Some(7), lines("group R any R\nquorum R\n")),
        bad("a name that is taken", Some(7), lines(&format!("witness Q {}\nquorum Q\n", key(9)))),
        bad("a group named none", Some(7), lines("group none any Q\nquorum none\n")),
        bad("a key twice", Some(7), lines(&format!("witness D {}\nquorum Q\n", key(1)))),
        bad("a key under two names", Some(7), {
            let renamed = Signer { name: "other.example".into(), ..witness(1) };
            lines(&format!("witness D {}\nquorum Q\n", renamed.witness_vkey()))
        }),
        bad("a log twice", Some(7), lines(&format!("log {}\nquorum Q\n", signer().vkey()))),
        bad(
            "a witness with a log's key",
            Some(7),
            lines(&format!("witness D {}\nquorum Q\n", witness(9).vkey())),
        ),
        bad("a log with a witness's key", Some(7), lines(&format!("log {}\nquorum Q\n", key(9)))),
        bad(
            "a key with another id",
            Some(7),
            lines(&format!("witness D {}\nquorum Q\n", key(9).replacen("witness", "Witness", 1))),
        ),
        bad("a witness without key", Some(7), lines("witness D\nquorum Q\n")),
        bad("a witness with two addresses", Some(7), lines(&format!("witness D {} a b\nquorum Q\n", key(9)))),
        bad("65 logs", Some(65), many("log")),
        bad("65 witnesses", Some(65), many("witness")),
        bad("65 groups", Some(66), many("group")),
        bad("of another log", None, whole.replace(&signer().vkey(), &Signer::new(8, ORIGIN).vkey())),
    ]
}

/// The note's text, the log's line, and other lines.
fn noted(parts: &mut Parts, lines: impl FnOnce(&str) -> String) {
    let text = text_of(&parts.checkpoint);
    parts.checkpoint = signer().note(&text) + &lines(&text);
}

/// A line with one part of what is in it changed.
fn changed(line: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (start, packed) = line.trim_end().rsplit_once(' ').unwrap();
    let mut bytes = BASE64.decode(packed.as_bytes()).unwrap();
    change(&mut bytes);
    format!("{start} {}\n", BASE64.encode(&bytes))
}

fn cosignatures() -> Vec<Beast> {
    let bad = |name: &str, line: &dyn Fn(&str) -> String| {
        own(&format!("cosignature: {name}"), Code::BadWitnesses, None, |parts| {
            noted(parts, |text| line(text));
        })
    };
    vec![
        bad("one bit changed", &|text| changed(&witness(1).cosign(text, 5), |bytes| bytes[30] ^= 1)),
        bad("another time", &|text| changed(&witness(1).cosign(text, 5), |bytes| bytes[11] ^= 1)),
        bad("a time of 2^63", &|text| witness(1).cosign(text, 1 << 63)),
        bad("too short", &|text| changed(&witness(1).cosign(text, 5), |bytes| bytes.truncate(75))),
        bad("too long", &|text| changed(&witness(1).cosign(text, 5), |bytes| bytes.push(0))),
        bad("very short", &|text| changed(&witness(1).cosign(text, 5), |bytes| bytes.truncate(9))),
        bad("of another checkpoint", &|text| witness(1).cosign(&text.replace("100", "99"), 5)),
        bad("by another key that takes name and id", &|text| {
            let mine = witness(1).cosign(text, 5);
            let other = Signer { name: witness(1).name, ..witness(9) };
            changed(&other.cosign(text, 5), |bytes| {
                let id = BASE64.decode(mine.trim_end().rsplit_once(' ').unwrap().1.as_bytes()).unwrap();
                bytes[..4].copy_from_slice(&id[..4]);
            })
        }),
        bad("a good and a bad one", &|text| {
            witness(1).cosign(text, 5) + &changed(&witness(1).cosign(text, 6), |bytes| bytes[30] ^= 1)
        }),
        bad("an ordinary signature under its id", &|text| {
            changed(&witness(1).cosign(text, 5), |bytes| {
                let plain =
                    BASE64.decode(witness(1).line(text).trim_end().rsplit_once(' ').unwrap().1.as_bytes());
                bytes.splice(12.., plain.unwrap()[4..].to_vec());
            })
        }),
    ]
}

fn quorums() -> Vec<Beast> {
    let own_policy = policy();
    vec![
        given("quorum: nobody cosigned", Code::BadWitnesses, &own_policy, |parts| {
            noted(parts, |_| String::new());
        }),
        given("quorum: one too few", Code::BadWitnesses, &own_policy, |parts| {
            noted(parts, |text| witness(1).cosign(text, 5));
        }),
        given("quorum: the same one twice", Code::BadWitnesses, &own_policy, |parts| {
            noted(parts, |text| witness(1).cosign(text, 5) + &witness(1).cosign(text, 6));
        }),
        given("quorum: one of them unknown", Code::BadWitnesses, &own_policy, |parts| {
            noted(parts, |text| witness(1).cosign(text, 5) + &witness(9).cosign(text, 5));
        }),
        given("quorum: one does not verify", Code::BadWitnesses, &own_policy, |parts| {
            noted(parts, |text| {
                let bad = changed(&witness(3).cosign(text, 5), |bytes| bytes[40] ^= 1);
                witness(1).cosign(text, 5) + &witness(2).cosign(text, 5) + &bad
            });
        }),
        given("policy: not the one given", Code::BadWitnesses, &own_policy, |parts| {
            parts.policies[0].1 = format!("# a comment\n{own_policy}");
        }),
        given("policy: easier than the one given", Code::BadWitnesses, &own_policy, |parts| {
            parts.policies[0].1 = "quorum none\n".into();
        }),
        Beast {
            policy: Some(own_policy.clone()),
            ..twice("policy: none of two is the one given", None, |parts| {
                let own = parts.policies.iter_mut().find(|(_, text)| *text == policy()).unwrap();
                own.1 = "quorum none\n".into();
            })
        },
        twice("policy: the second of two is none", Some(3), |parts| {
            parts.policies[1].1 = "\n# two lines before\nquorum Q\n".into();
        }),
        twice("policy: the second of two is of another log", None, |parts| {
            let other = Signer::new(8, ORIGIN).vkey();
            parts.policies[1].1 = format!("log {other}\nquorum none\n");
        }),
        twice("cosignature: of the second of two policies", None, |parts| {
            noted(parts, |text| {
                let bad = changed(&witness(4).cosign(text, 5), |bytes| bytes[40] ^= 1);
                witness(1).cosign(text, 5) + &witness(3).cosign(text, 5) + &bad
            });
        }),
        given("quorum: no policy in the bundle, nobody cosigned", Code::BadWitnesses, &own_policy, |parts| {
            parts.policies.clear();
            noted(parts, |_| String::new());
        }),
        given(
            "quorum: for another log",
            Code::BadWitnesses,
            &format!("log {}\nquorum none\n", Signer::new(8, ORIGIN).vkey()),
            |parts| {
                parts.policies.clear();
            },
        ),
    ]
}

/// An earlier checkpoint and its proof.
type Begin = (String, Vec<String>);

fn begins() -> Vec<Beast> {
    let bad = |name: &str, line: Option<u64>, change: &dyn Fn(&mut Begin)| {
        own(&format!("begin: {name}"), Code::BadBegin, line, |parts| {
            let mut begin = parts.begin.take().unwrap();
            change(&mut begin);
            parts.begin = Some(begin);
        })
    };
    let again = |begin: &mut Begin, from: &str, to: &str| {
        begin.0 = signer().note(&text_of(&begin.0).replace(from, to));
    };
    let at = |name: &str, size: usize| {
        own(&format!("begin: {name}"), Code::BadBegin, None, |parts| {
            parts.begin_at(&log(100), size, |text| signer().note(text));
        })
    };
    let flipped = |hash: &mut String| {
        let first = if hash.starts_with('0') { "1" } else { "0" };
        hash.replace_range(..1, first);
    };
    let mut all = vec![
        bad("not signed", None, &|begin| begin.0 = text_of(&begin.0) + "\n"),
        bad("by another key", None, &|begin| begin.0 = Signer::new(8, ORIGIN).note(&text_of(&begin.0))),
        bad("by a witness alone", None, &|begin| {
            let text = text_of(&begin.0);
            begin.0 = format!("{text}\n{}", witness(1).cosign(&text, 5));
        }),
        bad("of another log", None, &|begin| again(begin, "2026", "2025")),
        bad("of another size", None, &|begin| again(begin, "\n30\n", "\n29\n")),
        bad("of another root", None, &|begin| begin.0 = signer().note(&build::checkpoint(30, &[9; 32]))),
        bad("empty", None, &|begin| begin.0.clear()),
        bad("one of its cosignatures does not verify", None, &|begin| {
            let text = text_of(&begin.0);
            begin.0 = signer().note(&text) + &changed(&witness(1).cosign(&text, 5), |bytes| bytes[30] ^= 1);
        }),
        at("after the first entry", 80),
        at("of all of the log", 100),
        bad("proof cut", None, &|begin| drop(begin.1.pop())),
        bad("proof extended", None, &|begin| begin.1.push(begin.1[0].clone())),
        bad("proof empty", None, &|begin| begin.1.clear()),
        bad("proof swapped", None, &|begin| begin.1.swap(0, 1)),
        bad("first hash of the proof changed", None, &|begin| flipped(&mut begin.1[0])),
        bad("last hash of the proof changed", None, &|begin| flipped(begin.1.last_mut().unwrap())),
        bad("proof in upper case", Some(2), &|begin| begin.1[1] = "A".repeat(64)),
        bad("proof a digit short", Some(1), &|begin| begin.1[0].truncate(63)),
        bad("proof with CRLF", Some(1), &|begin| begin.1[0].push('\r')),
        bad("proof with an empty line", Some(6), &|begin| begin.1.insert(5, String::new())),
        given("begin: nobody cosigned", Code::BadBegin, &policy(), |parts| {
            parts.begin_at(&log(100), 30, |text| signer().note(text));
        }),
        own("begin: of nothing, with a proof", Code::BadBegin, None, |parts| {
            parts.begin_at(&log(100), 0, |text| signer().note(text));
            parts.begin.as_mut().unwrap().1.push(HEXLOWER.encode(&[1; 32]));
        }),
    ];
    let mut members = witnessed().seal();
    let place = members.iter().position(|member| member.name == b"consistency.txt").unwrap();
    members.truncate(members.len() - 2);
    let unended = String::from_utf8(zip::unpacked(&members[place])).unwrap();
    members[place] = Member::stored("consistency.txt", unended.trim_end().as_bytes());
    build::sign(&mut members, &signer());
    all.push(beast(
        "begin: proof without newline at its end",
        Code::BadBegin,
        zip::file(&members, &Around::default()),
    ));
    // An earlier failure comes first.
    all.push(own("begin: and the proof of the entries does not hold", Code::BadProof, None, |parts| {
        parts.begin.as_mut().unwrap().0.clear();
        parts.proof[0] = "0".repeat(64);
    }));
    all
}

fn sealed() -> Vec<Beast> {
    let place =
        |name: &str| witnessed().seal().iter().position(|member| member.name == name.as_bytes()).unwrap();
    let policy = format!("policies/{}.txt", build::covenant(0).0);
    [&policy, "begin.txt", "consistency.txt", "entries-excel.csv", "entries.xlsx", "report.html"]
        .map(|name| {
            let mut members = witnessed().seal();
            let mut bytes = zip::unpacked(&members[place(name)]);
            bytes.push(b'\n');
            members[place(name)] = Member::deflated(name, &bytes);
            beast(
                &format!("after sealing: {name} changed"),
                Code::BadSums,
                zip::file(&members, &Around::default()),
            )
        })
        .into()
}

pub(crate) fn all() -> Vec<Beast> {
    assert_eq!(witnessed().begin.unwrap().1.len(), 7, "the proofs below are of that length");
    [policies(), cosignatures(), quorums(), begins(), sealed()].into_iter().flatten().collect()
}
