//! A case with real processes: moved by its coordinator alone, and what it lets pass where.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_shared::entry::Kind;
use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::cases::CRIMINAL;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::{FOUR, PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use serde_json::Value;

use crate::common::{Scene, wait_for_inbox};

fn sample(flow: &str) -> Sample {
    samples::among(&FOUR).unwrap().into_iter().find(|sample| sample.flow == flow).unwrap()
}

/// Pushes a sample about this case, and has a person release it where that is asked; how it ended, and the
/// refusal's number or 0.
fn push(stage: &Stage, flow: &str, case: &str) -> (String, u64) {
    let sample = sample(flow);
    let args = ["push", &sample.path.to_string_lossy(), "--case", case, "--wait", "30"];
    let member = stage.member(&sample.from);
    let ask = |args: &[&str]| -> Value {
        let ran = stage.try_agent(member, args).unwrap();
        [&ran.stdout, &ran.stderr].iter().find_map(|said| serde_json::from_str(said).ok()).unwrap()
    };
    let mut answer = ask(&args);
    if text(&answer, "state") == "held" {
        let id = text(&answer, "msg_id");
        answer = ask(&["release", "approve", id, "--as", "teamchef", "--wait", "30"]);
    }
    let number = ["/refusal/number", "/error/refusal"].iter().find_map(|at| answer.pointer(at)?.as_u64());
    (text(&answer, "state").to_owned(), number.unwrap_or_default())
}

fn passes(stage: &Stage, flow: &str, case: &str) {
    assert_eq!(push(stage, flow, case), ("accepted".to_owned(), 0), "{flow}");
}

fn refused(stage: &Stage, flow: &str, case: &str, refusal: Refusal) {
    let (state, number) = push(stage, flow, case);
    assert_ne!(state, "accepted", "{flow}");
    assert_eq!(number, u64::from(refusal.number()), "{flow}");
}

fn fails(stage: &Stage, member: &Member, args: &[&str], refusal: Refusal) {
    let ran = stage.try_agent(member, args).unwrap();
    assert_ne!(ran.code, 0, "{args:?}: {}", ran.stdout);
    let said = ran.stdout + &ran.stderr;
    assert!(said.contains(&refusal.number().to_string()), "{args:?}: {said}");
}

#[test]
fn a_case_goes_from_1_to_3_the_prosecution_joins_on_the_flag_and_a_closed_one_takes_nothing() {
    let scene = Scene::with(&FOUR);
    let (stage, broker) = (&scene.stage, scene.broker());
    let agents = scene.agents();
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let opened = stage.agent(town, &["case", "open"]).unwrap();
    let case = text(&opened, "case").to_owned();
    assert_eq!(text(&opened, "state"), "1");
    // Step 1: nothing of 2B yet, and only the coordinator moves.
    refused(stage, "F09", &case, Refusal::WrongStep);
    fails(stage, police, &["case", "step", &case, "2A"], Refusal::NotTheMover);
    fails(stage, police, &["case", "close", &case], Refusal::NotTheMover);
    fails(stage, town, &["case", "step", &case, "3"], Refusal::BadTransition);
    let unknown = "00000000-0000-4000-8000-000000000001";
    fails(stage, police, &["case", "condition", unknown, CRIMINAL], Refusal::UnknownCase);
    refused(stage, "F09", unknown, Refusal::UnknownCase);
    stage.walk(&case, "2B").unwrap();
    passes(stage, "F09", &case);
    // Names in 2B; the prosecution joins once the police say there is something for it.
    refused(stage, "F12", &case, Refusal::ConditionNotMet);
    stage.agent(police, &["case", "condition", &case, CRIMINAL]).unwrap();
    passes(stage, "F12", &case);
    stage.walk(&case, "3").unwrap();
    refused(stage, "F09", &case, Refusal::WrongStep);
    passes(stage, "F14", &case);
    passes(stage, "F15", &case);
    stage.agent(police, &["case", "condition", &case, CRIMINAL, "--withdraw"]).unwrap();
    refused(stage, "F14", &case, Refusal::ConditionNotMet);
    passes(stage, "F18", &case);
    wait_for_inbox(stage, stage.member("om"), 2);
    wait_for_inbox(stage, town, 3);
    // The chain survives a broker that starts anew, and so does the end.
    drop(broker);
    let _broker = scene.broker();
    stage.agent(town, &["case", "close", &case]).unwrap();
    // An agent that has yet to find the new broker says it there.
    let closed = || stage.case(town, &case).is_ok_and(|standing| text(&standing, "state") == "closed");
    process::until("the close is logged", PATIENCE, closed).unwrap();
    fails(stage, town, &["case", "step", &case, "4"], Refusal::CaseClosed);
    refused(stage, "F18", &case, Refusal::CaseClosed);
    passes(stage, "F36", &case);
    let seen = stage.case(stage.member("jongerenwerk"), &case).unwrap();
    assert_eq!((text(&seen, "state"), seen["decisions"].as_array().unwrap().len()), ("closed", 7));
    let log = stage.log_tail(1000).unwrap();
    let decided: Vec<_> = log.iter().filter(|entry| entry.kind == Kind::Case).collect();
    assert!(decided.iter().all(|entry| entry.case.map(|case| case.to_string()) == Some(case.clone())));
    let details: Vec<_> = decided.iter().filter_map(|entry| entry.detail.as_deref()).collect();
    let stated = format!("condition:{CRIMINAL}");
    let withdrawn = format!("withdrawn:{CRIMINAL}");
    assert_eq!(details, ["step:1", "step:2A", "step:2B", &stated, "step:3", &withdrawn, "closed"]);
    drop(agents);
}
