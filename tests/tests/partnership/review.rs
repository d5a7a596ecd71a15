//! `covenant review` and `covenant lint` as people type them: without a folder, with the exit codes the manual names.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use seinhuis_shell::cli::captured;

/// Each program that has the commands.
type Program = (&'static str, fn(Vec<OsString>) -> ExitCode);
const PROGRAMS: [Program; 2] =
    [("seinhuis-agent", seinhuis_agent::run), ("seinhuis-broker", seinhuis_broker::run)];

/// Runs a program away from any folder of its own; its exit code and what it prints.
fn program((name, run): Program, args: &[&OsString]) -> (String, String) {
    let mut all: Vec<OsString> =
        [name, "--home", "/nowhere", "--lang", "en", "covenant"].map(Into::into).into();
    all.extend(args.iter().map(|arg| (*arg).clone()));
    let (code, text) = captured(|| run(all));
    (format!("{code:?}"), text)
}

fn code(number: u8) -> String {
    format!("{:?}", ExitCode::from(number))
}

fn covenants(file: &str) -> OsString {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants").join(file).into()
}

#[test]
fn the_model_is_reviewed_and_gives_no_findings() {
    for own in PROGRAMS {
        let program = |args: &[&OsString]| program(own, args);
        let (model, own) = (covenants("model.toml"), covenants("partnership.example.toml"));
        let (exit, text) = program(&[&"lint".into(), &model, &own]);
        assert!(exit == code(0) && text.contains("no findings"), "{text}");
        let (exit, text) = program(&[&"review".into(), &model, &own, &"--against".into(), &model, &own]);
        assert!(exit == code(0) && text.contains("nothing changes") && text.contains("F41"), "{text}");
        let dir = tempfile::tempdir().unwrap();
        let page: PathBuf = dir.path().join("review.html");
        let (exit, _) = program(&[&"review".into(), &model, &own, &"--html".into(), &page.clone().into()]);
        assert_eq!(exit, code(0));
        assert!(fs::read_to_string(page).unwrap().contains("<html lang=\"en\">"));
    }
}

#[test]
fn findings_end_in_one_and_what_is_no_covenant_in_two() {
    for own in PROGRAMS {
        let program = |args: &[&OsString]| program(own, args);
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("partnership.toml");
        let text = fs::read_to_string(covenants("partnership.example.toml")).unwrap();
        fs::write(&own, text.replace("may_be_absent = true", "may_be_absent = false")).unwrap();
        let (exit, text) = program(&[&"lint".into(), &covenants("model.toml"), &own.into()]);
        assert!(exit == code(1) && text.contains("W14"), "{text}");
        for command in ["lint", "review"] {
            assert_eq!(program(&[&command.into(), &covenants("README.md")]).0, code(2));
        }
        assert_eq!(program(&[&"lint".into()]).0, code(2));
    }
}
