//! Both commands: what they print and how they end.

use std::path::Path;
use std::process::{Command, Output};

use crate::build::{Signer, covenant, signer};
use crate::good;
use crate::zip::{self, Around, Member};

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seinhuis-verify")).args(arguments).output().unwrap()
}

fn script(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify.py");
    Command::new("python3").arg("-B").arg(script).args(arguments).output().expect("this test needs python3")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn good_bad_and_unusable_end_differently() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (good, bad, absent) = (path("good.zip"), path("bad.zip"), path("absent.zip"));
    std::fs::write(&good, good::complete(60, None, None).file()).unwrap();
    let mut parts = good::complete(60, None, None);
    parts.lines[41] = parts.lines[41].replace("\"v\":1", "\"v\":2");
    std::fs::write(&bad, parts.file()).unwrap();
    let key = signer().vkey();
    let other = Signer::new(8, crate::build::ORIGIN).vkey();
    for run in [program, script] {
        let cases: [(&[&str], i32); 9] = [
            (&[&good, "--key", &key], 0),
            (&[&good, "--key", &key, "--json", "--lang", "nl"], 0),
            (&[&bad, "--key", &key], 1),
            (&[&good, "--key", &other], 1),
            (&[&absent, "--key", &key], 2),
            (&[&good, "--key", &key[1..]], 2),
            (&[&good], 2),
            (&[&good, "--key", &key, "--lang", "fr"], 2),
            (&["--key", &key], 2),
        ];
        for (arguments, status) in cases {
            let output = run(arguments);
            assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
            assert_eq!(status == 2, output.stdout.is_empty(), "{arguments:?}: {output:?}");
        }
    }
}

#[test]
fn the_verdict_comes_first_and_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.zip");
    let path = path.to_str().unwrap();
    let key = signer().vkey();
    std::fs::write(path, good::complete(60, None, None).file()).unwrap();
    let said = [program, script].map(|run| printed(&run(&[path, "--key", &key, "--lang", "nl"])));
    let sentence = "VOLLEDIG: deze 60 regels staan zo in het logboek broker.example/uitwisseling/2026 van 60 regels, en \
                    tussen de eerste en de laatste is geen regel van de gevraagde periode weggelaten.";
    for said in said {
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 4, "{said}");
        let witnesses = "Getuigen: niet beoordeeld; geef met --policy het beleid van een deelnemer.";
        assert_eq!(lines[..3], ["good", sentence, witnesses]);
        assert!(
            lines[3].starts_with("Doel: ") && lines[3].contains(r"controle\nvan"),
            "what steers a terminal is escaped: {said}"
        );
    }
    let mut members = good::complete(60, None, None).seal();
    let text = String::from_utf8(zip::unpacked(&members[3])).unwrap();
    let lines: Vec<_> = text
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let line = if at == 41 { line.replacen("\"v\":1", "\"v\":2", 1) } else { line.to_owned() };
            line + "\n"
        })
        .collect();
    members[3] = Member::deflated("entries.jsonl", lines.concat().as_bytes());
    std::fs::write(path, zip::file(&members, &Around::default())).unwrap();
    for run in [program, script] {
        let said = printed(&run(&[path, "--key", &key]));
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines.len(), lines[0]), (4, "bad-line"), "{said}");
        assert!(lines[2].starts_with("entries.jsonl, line 42: "), "{said}");
        assert!(lines[3].starts_with("Also bad-sums: SHA256SUMS, line 4"), "{said}");
        let said = printed(&run(&[path, "--key", &key, "--lang", "nl"]));
        assert!(said.contains("\nentries.jsonl, regel 42: ") && said.contains("\nOok bad-sums: "), "{said}");
        let json = printed(&run(&[path, "--key", &key, "--json"])).replace(": ", ":");
        for part in [r#""verdict":"bad-line""#, r#""line":42"#, r#""also":"bad-sums""#, r#""also_line":4"#] {
            assert!(json.contains(part), "{part} {json}");
        }
    }
}

#[test]
fn both_say_who_judged_the_witnesses() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (bundle, policy, broken) = (path("bundle.zip"), path("policy"), path("broken"));
    std::fs::write(&bundle, good::witnessed().file()).unwrap();
    std::fs::write(&policy, good::policy()).unwrap();
    std::fs::write(&broken, "quorum Q\n").unwrap();
    let key = signer().vkey();
    let whose = |number| format!("Witnesses for covenant {}", &covenant(number).0[..16]);
    let own = format!(
        "{}: 2 of 3 by the policy in the bundle itself, enough; that is the broker's word. Since a checkpoint of 30 \
         entries the log has only grown.",
        whose(0)
    );
    let given = "Witnesses: 2 of 3, enough by the policy given. Since a checkpoint of 30 entries the log has only grown.";
    for run in [program, script] {
        let said = printed(&run(&[&bundle, "--key", &key]));
        assert_eq!(said.lines().nth(2), Some(own.as_str()));
        let said = printed(&run(&[&bundle, "--key", &key, "--policy", &policy]));
        assert_eq!(said.lines().nth(2), Some(given));
        let json = printed(&run(&[&bundle, "--key", &key, "--policy", &policy, "--json"]))
            .replace(": ", ":")
            .replace(", ", ",");
        for part in [
            r#""asked_by":"Autoriteit Persoonsgegevens""#,
            r#""policy":"given","witnesses":2,"witnesses_of":3,"quorum":"met","begin":30"#,
        ] {
            assert!(json.contains(part), "{part} {json}");
        }
        for unusable in [&broken, &path("absent")] {
            let output = run(&[&bundle, "--key", &key, "--policy", unusable]);
            assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{output:?}");
        }
    }
}

#[test]
fn both_say_of_each_covenant_who_judged_the_witnesses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.zip");
    let path = path.to_str().unwrap();
    let mut parts = good::twice();
    // Only the first covenant's are enough.
    let text = good::text_of(&parts.checkpoint);
    parts.checkpoint =
        signer().note(&text) + &good::witness(1).cosign(&text, 5) + &good::witness(2).cosign(&text, 6);
    parts.begin = None;
    std::fs::write(path, parts.file()).unwrap();
    let mut said_of: Vec<(String, &str, &str)> = vec![
        (covenant(0).0, "2 of 3", "met"), //
        (covenant(1).0, "0 of 2", "not met"),
    ];
    said_of.sort();
    for run in [program, script] {
        let said = printed(&run(&[path, "--key", &signer().vkey()]));
        let lines: Vec<&str> = said.lines().skip(2).take(2).collect();
        for (line, (covenant, count, met)) in lines.iter().zip(&said_of) {
            let enough = met.replace("met", "enough");
            let expected = format!("Witnesses for covenant {}: {count} by the", &covenant[..16]);
            assert!(line.starts_with(&expected) && line.contains(&format!("itself, {enough};")), "{said}");
        }
        let json =
            printed(&run(&[path, "--key", &signer().vkey(), "--json"])).replace(": ", ":").replace(", ", ",");
        let each = said_of.iter().map(|(covenant, count, met)| {
            let (witnesses, of) = count.split_once(" of ").unwrap();
            format!(
                r#"{{"covenant":"{covenant}","witnesses":{witnesses},"witnesses_of":{of},"quorum":"{met}"}}"#
            )
        });
        let each: Vec<String> = each.collect();
        let expected = format!(r#""policy":"bundle","policies":[{}]"#, each.join(","));
        assert!(json.contains(&expected), "{expected} {json}");
    }
}
