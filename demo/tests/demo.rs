//! The demo itself, small, in both languages: it ends well and has told what it promises.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::process::{Command, Output};

fn demo(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seinhuis-demo"));
    command.args(args).env_remove("NO_COLOR").env("SEINHUIS_LANG", "nl").output().unwrap()
}

fn told(output: &Output, lines: &[&str]) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for line in lines {
        assert!(out.contains(line), "{line:?} is not told:\n{out}\n{err}");
    }
    assert!(!out.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn the_story_is_told_in_dutch_and_its_folder_left_when_asked_for() {
    let dir = tempfile::Builder::new().prefix("seinhuis-").tempdir().unwrap();
    let made = dir.path().join("here");
    let output = demo(&["--burst", "40", "--dir", &made.to_string_lossy()]);
    told(
        &output,
        &[
            "een aanvraag met een andere vingerafdruk krijgt geen certificaat",
            "F01 stap 1   jongerenwerk → gemeente",
            "besluit van de gemeente: de zaak gaat naar stap 3",
            "(422 condition-not-met)",
            "het OM sluit aan",
            "de zaak is gesloten",
            "(413 field-not-allowed)",
            "(405 sender-role)",
            "(406 recipient-role)",
            "(201 unknown-partner)",
            "(107 seal-mismatch)",
            "zinnen en namen staat erin, ook niet als base64",
            "40 signalen, 32 tegelijk aangeboden: alle aangenomen",
            "elk bewezen tegen de logsleutel op de brokerkaart",
            "Alles is nagerekend en klopt.",
        ],
    );
    assert!(made.join("broker/broker.toml").exists(), "what was asked for is left");
    let again = demo(&["--dir", &made.to_string_lossy()]);
    assert_eq!(again.status.code(), Some(2), "a folder that holds something is left alone");
    assert!(String::from_utf8_lossy(&again.stderr).contains("is niet leeg"));
}

#[test]
fn the_story_is_told_in_english() {
    let output = demo(&["--burst", "1", "--lang", "en"]);
    told(
        &output,
        &[
            "a request with another fingerprint gets no certificate",
            "F01 step 1   jongerenwerk → gemeente",
            "(413 field-not-allowed)",
            "(201 unknown-partner)",
            "sentences and names is in there, nor as base64",
            "1 signals, 32 offered at a time: all accepted",
            "Everything was checked and is right.",
        ],
    );
}

#[test]
fn the_binary_is_the_three_programs_as_well() {
    for program in ["broker", "agent", "certs"] {
        let output = demo(&[program, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{program}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("seinhuis-{program}")));
    }
}
