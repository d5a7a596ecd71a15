//! Certificates that are renewed while packets pass, and again when no service is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::path::Path;

use seinhuis_certs::authority::Authority;
use seinhuis_certs::request::Proved;
use seinhuis_shared::enrol::{NodeKind, fingerprint};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::enrolment::{Applicant, make_request};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::grant::{Grant, Kind};
use seinhuis_shell::renewal::hosts;
use seinhuis_shell::{clock, keys};
use seinhuis_tests::process::Program;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Stage, ports, process};
use serde_json::Value;

use crate::common::{Scene, push, wait_for_inbox};

const CAST: [&str; 4] = ["gemeente", "politie", "jongerenwerk", "boa"];

/// Gives a node a certificate of 90 days that was issued 80 days ago.
fn age(stage: &Stage, home: &Path) {
    let at = clock::now().minus(Span::days(80));
    let grant = Grant::load(&home.join("grant.json")).unwrap();
    let key = |name: &str| home.join("keys").join(name);
    let (kind, hosts) = match grant.kind {
        Kind::Agent => (NodeKind::Agent, Vec::new()),
        Kind::Broker => (NodeKind::Broker, hosts(&grant).unwrap()),
    };
    let applicant = Applicant { kind, oin: grant.oin, name: &grant.name, hosts: &hosts };
    let (signing, tls) =
        (keys::load_signing(&key("signing.key")).unwrap(), keys::load_tls(&key("tls.key")).unwrap());
    let request = make_request(&applicant, &signing, &tls, at).unwrap();
    let confirmed = Proved::read(&request, at).unwrap().confirm(&fingerprint(&request)).unwrap();
    let issued = Authority::open(&stage.ca()).unwrap().issue(&confirmed, 90, at).unwrap();
    files::write(&home.join("grant.json"), &issued.grant.to_bytes(), Existing::Replace).unwrap();
}

/// Lets a node renew at a service.
/// When the certificate that a status tells of ends.
fn until(status: &Value) -> Timestamp {
    Timestamp::parse(text(&status["certificate"], "until")).unwrap()
}

#[test]
fn every_node_goes_over_to_its_new_certificate_and_no_packet_is_lost_or_doubled() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    age(stage, &stage.broker_home());
    for member in &stage.members {
        age(stage, &member.home);
    }
    let town = stage.member("gemeente");
    let soon = clock::now().plus(Span::days(30));
    let broker = scene.broker();
    let agents = scene.agents();
    push(stage, 3);
    let of = |member| stage.agent(member, &["status"]).unwrap();
    for member in &stage.members {
        let status = of(member);
        assert!(until(&status) < soon && status["certificate"]["by_itself"] == false, "{status}");
        let doctor = stage.try_agent(member, &["doctor"]).unwrap();
        assert!(doctor.code == 1 && doctor.stdout.contains("was not renewed"), "{}", doctor.stdout);
    }
    for process in agents.into_iter().chain([broker]) {
        process.stop(PATIENCE).unwrap();
    }
    // The service is not there yet: everything goes on, and the trouble is told.
    let place = ports::free().unwrap().to_string();
    let service = format!("\n[renewal]\nservice = \"https://{place}\"\n");
    stage.configure(&service).unwrap();
    for member in &stage.members {
        stage.configure_agent(member, &service).unwrap();
    }
    let _broker = scene.broker();
    let _agents = scene.agents();
    push(stage, 2);
    for member in &stage.members {
        let told = || of(member)["certificate"]["renewing"]["problem"].is_array();
        process::until("that there is no service is told", PATIENCE, told).unwrap();
    }
    let told = of(town);
    assert!(until(&told) < soon && told["link"]["connected"] == true, "{told}");
    let doctor = stage.try_agent(town, &["doctor"]).unwrap();
    assert!(doctor.stdout.contains("does not answer"), "{}", doctor.stdout);
    // It comes, and every node goes over to a new certificate while packets pass.
    let _service = stage.start_renewals(&place).unwrap();
    let mut pushed = 5;
    let renewed = || {
        push(stage, 1);
        pushed += 1;
        stage.members.iter().all(|member| until(&of(member)) > soon)
            && until(&stage.broker(&["status"]).unwrap()) > soon
    };
    process::until("every node has a new certificate", PATIENCE * 2, renewed).unwrap();
    push(stage, 3);
    wait_for_inbox(stage, town, pushed + 3);
    for member in &stage.members {
        process::until("its agent is back", PATIENCE, || of(member)["link"]["connected"] == true).unwrap();
        let log = std::fs::read_to_string(stage.log_of(&member.label)).unwrap();
        assert!(log.contains("going over to the new certificate"), "{log}");
        assert!(!member.home.join("keys/tls.next.key").exists());
        let status = of(member);
        assert!(status["certificate"]["renewing"]["problem"].is_null(), "{status}");
        assert_eq!(status["alarms"].as_array().map(Vec::len), Some(0), "{status}");
    }
    // What begins now is under the broker's new certificate too.
    let shown = keys::load_tls(&stage.broker_home().join("keys/tls.key")).unwrap();
    Grant::load(&stage.broker_home().join("grant.json")).unwrap().identity(&shown).unwrap();
}

#[test]
fn without_a_service_broker_and_agent_renew_by_request_with_a_new_key() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let mut agents = scene.agents();
    let town = stage.member("gemeente");
    let (request, answer) = (stage.dir.join("again"), stage.dir.join("again.grant"));
    let [request, answer] = [request, answer].map(|path| path.to_string_lossy().into_owned());
    let before = |home: &Path| keys::load_tls(&home.join("keys/tls.key")).unwrap().public_point().to_vec();
    // The agent.
    let old = before(&town.home);
    stage.agent(town, &["enrol", "--request", &request]).unwrap();
    stage.certs(&["renew", &request, "--out", &answer]).unwrap();
    stage.agent(town, &["enrol", "--accept", &answer]).unwrap();
    assert_ne!(before(&town.home), old);
    // The broker, which runs and takes over what is put there.
    let home = stage.broker_home();
    std::fs::remove_file(&answer).unwrap();
    let shown = stage.broker(&["renew", "--request", &request]).unwrap();
    assert_eq!(text(&shown, "request"), request);
    stage.certs(&["renew", &request, "--out", &answer]).unwrap();
    std::fs::copy(&answer, home.join("grant.json")).unwrap();
    let taken = || {
        let log = std::fs::read_to_string(stage.log_of("broker")).unwrap();
        log.contains("certificates and revocation list reloaded")
    };
    process::until("the broker takes it over", PATIENCE, taken).unwrap();
    let doctor = stage.programs.run(Program::Broker, ["--home", &home.to_string_lossy(), "doctor"]).unwrap();
    assert_eq!(doctor.code, 0, "{}", doctor.stdout);
    // A new session passes with both new certificates.
    agents.remove(0).stop(PATIENCE).unwrap();
    agents.push(scene.agent("gemeente"));
    push(stage, 1);
    wait_for_inbox(stage, town, 1);
    let doctor = stage.try_agent(town, &["doctor"]).unwrap();
    assert_eq!(doctor.code, 0, "{}", doctor.stdout);
}
