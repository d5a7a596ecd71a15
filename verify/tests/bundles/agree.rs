//! Both verifiers on every bundle: the verdict expected, from both, and the same line named.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use seinhuis_verify::{Code, Key, Policy, Verdict, Witnesses};

use crate::build::signer;
use crate::{good, zoo};

fn key() -> Key {
    Key::parse(&signer().vkey()).unwrap()
}

fn verify(file: &[u8], policy: Option<&str>) -> Verdict {
    let policy = policy.map(|policy| Policy::parse(policy.as_bytes()).unwrap());
    seinhuis_verify::verify(Cursor::new(file), &key(), policy.as_ref()).unwrap()
}

/// What the script says of each file, held against a policy each.
fn script_given(files: &[(&[u8], Option<&str>)]) -> Vec<[String; 3]> {
    let policies: BTreeSet<_> = files.iter().map(|(_, policy)| *policy).collect();
    let mut found = vec![[const { String::new() }; 3]; files.len()];
    for policy in policies {
        let (places, some): (Vec<_>, Vec<_>) = files
            .iter()
            .enumerate()
            .filter(|(_, (_, own))| *own == policy)
            .map(|(at, (file, _))| (at, *file))
            .unzip();
        for (place, said) in places.into_iter().zip(script(&some, policy)) {
            found[place] = said;
        }
    }
    found
}

/// What the script says of each file: verdict, the file and line it names, and the other verdict it tells of.
fn script(files: &[&[u8]], policy: Option<&str>) -> Vec<[String; 3]> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..files.len()).map(|at| folder.path().join(format!("{at}.zip"))).collect();
    for (path, file) in paths.iter().zip(files) {
        std::fs::write(path, file).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify.py");
    let output = Command::new("python3")
        .arg("-B")
        .arg(script)
        .args(["--key", &signer().vkey()])
        .args(policy.map(|text| {
            let path = folder.path().join("policy");
            std::fs::write(&path, text).unwrap();
            format!("--policy={}", path.display())
        }))
        .args(&paths)
        // A single file is told about in another form.
        .arg(&paths[0])
        .output()
        .expect("this test needs python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.is_empty(),
        "this test needs python3 with `cryptography` (Debian: python3-cryptography): {errors}"
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let found: Vec<_> = lines
        .lines()
        .take(files.len())
        .map(|line| {
            let parts: Vec<&str> = line.split('\t').collect();
            [0, 2, 3].map(|at| parts[at].to_owned())
        })
        .collect();
    assert_eq!(found.len(), files.len());
    found
}

fn place(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Bad(failure) => failure.line.map(|line| format!("{}, {line}", failure.file)),
        Verdict::Good(_) => None,
    }
}

/// The other verdict that is told of.
fn also(verdict: &Verdict) -> Option<Code> {
    match verdict {
        Verdict::Bad(failure) => failure.also.as_ref().map(|also| also.code),
        Verdict::Good(_) => None,
    }
}

#[test]
fn both_find_good_bundles_good() {
    let bundles = good::all();
    let files: Vec<&[u8]> = bundles.iter().map(|(_, file)| file.as_slice()).collect();
    let script = script(&files, None);
    for ((name, file), [theirs, place, _]) in bundles.iter().zip(script) {
        let ours = verify(file, None);
        assert_eq!(ours.code(), Code::Good, "{name}: {ours:?}");
        assert_eq!((theirs.as_str(), place.as_str()), ("good", ""), "{name}");
    }
    let bundles = good::given();
    let files: Vec<_> =
        bundles.iter().map(|(_, file, policy)| (file.as_slice(), Some(policy.as_str()))).collect();
    for ((name, file, policy), [theirs, ..]) in bundles.iter().zip(script_given(&files)) {
        let ours = verify(file, Some(policy));
        assert!(
            matches!(&ours, Verdict::Good(good) if matches!(good.witnesses, Witnesses::Given(_))),
            "{name}: {ours:?}"
        );
        assert_eq!(theirs, "good", "{name}");
    }
}

#[test]
fn both_find_the_same_fault_in_bad_bundles() {
    let beasts = zoo::all();
    let files: Vec<_> = beasts.iter().map(|beast| (beast.file.as_slice(), beast.policy.as_deref())).collect();
    let script = script_given(&files);
    let mut wrong = Vec::new();
    for (beast, [theirs, their_place, their_also]) in beasts.iter().zip(script) {
        let ours = verify(&beast.file, beast.policy.as_deref());
        let same_place = place(&ours).is_none_or(|place| place == their_place);
        let line = match &ours {
            Verdict::Bad(failure) => failure.line,
            Verdict::Good(_) => None,
        };
        if ours.code() != beast.code
            || theirs != beast.code.as_str()
            || !same_place
            || also(&ours) != beast.also
            || their_also != beast.also.map_or("", Code::as_str)
            || (beast.line.is_some() && line != beast.line)
        {
            wrong.push(format!(
                "{}: expected {} at {:?}, {:?}; program {ours:?}; script {theirs} {their_place} {their_also}",
                beast.name, beast.code, beast.line, beast.also
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Bundles with bytes changed at places that are spread by a simple generator: unsealed and, in what they hold, sealed.
fn changed() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let plain = good::complete(40, None, None).file();
    let mut files = Vec::new();
    for _ in 0..400 {
        let mut file = plain.clone();
        for _ in 0..=next(3) {
            let at = next(file.len());
            file[at] = u8::try_from(next(256)).unwrap();
        }
        files.push(file);
    }
    for _ in 0..400 {
        let parts = good::complete(12, None, None);
        let (at, to) = (next(usize::MAX), u8::try_from(next(256)).unwrap());
        files.push(parts.file_with_entries(|text| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            bytes
        }));
    }
    files
}

#[test]
fn both_agree_on_bundles_changed_anywhere() {
    let files = changed();
    let script = script(&files.iter().map(Vec::as_slice).collect::<Vec<_>>(), None);
    for (at, (file, [theirs, their_place, their_also])) in files.iter().zip(script).enumerate() {
        let ours = verify(file, None);
        assert_eq!(ours.code().as_str(), theirs, "file {at}: {ours:?}");
        assert!(place(&ours).is_none_or(|place| place == their_place), "file {at}: {ours:?}, {their_place}");
        assert_eq!(also(&ours).map_or("", Code::as_str), their_also, "file {at}: {ours:?}");
    }
}

#[test]
fn the_zoo_is_large_and_has_every_verdict() {
    let beasts = zoo::all();
    let names: BTreeSet<_> = beasts.iter().map(|beast| &beast.name).collect();
    assert_eq!(names.len(), beasts.len(), "every defect has its own name");
    assert!(beasts.len() >= 400);
    let codes: BTreeSet<_> = beasts.iter().map(|beast| beast.code).collect();
    assert_eq!(codes.len(), 14, "{codes:?}");
}
