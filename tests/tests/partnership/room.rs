//! Disks that are nearly full: nobody stops, what is there goes on, and what is new waits until there is room again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::{Path, PathBuf};

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::process::{Program, Ran, until};
use seinhuis_tests::small::Small;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Process, Programs, Stage};
use serde_json::Value;

use crate::common::{inbox_of, push, town::sample, wait_for_inbox};

const ROLES: [&str; 2] = ["jongerenwerk", "gemeente"];
/// The disk's size in bytes when there is room.
const LARGE: u64 = 512 << 20;
/// What is left of it when there is too little.
const LITTLE: u64 = 32 << 20;

/// A partnership in which one folder, the broker's or a member's, is on a disk of its own.
struct Cramped {
    stage: Stage,
    disk: Small,
    _dir: tempfile::TempDir,
}

/// With so many MiB kept free in that folder; `None`, said aloud, where mounting is not allowed.
fn cramped(whose: &str, keep_free_mib: u64) -> Option<Cramped> {
    let dir = tempfile::Builder::new().prefix("seinhuis-").tempdir().unwrap();
    let home = dir.path().join(whose);
    let disk = match Small::over(&home, LARGE) {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("SKIPPED: this user may not mount a file system, which this test needs: {error}");
            return None;
        }
    };
    let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
    let mut stage = Stage::found(programs, dir.path(), Stage::cast(dir.path(), &ROLES), &mut |_| ()).unwrap();
    // Of two witnesses one is away for a while: without a quorum a broker puts off, and that is another matter.
    stage.watched = false;
    let settings = home.join(if whose == "broker" { "broker.toml" } else { "agent.toml" });
    let before = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{before}\n[store]\nkeep_free_mib = {keep_free_mib}\n")).unwrap();
    stage.agree().unwrap();
    Some(Cramped { stage, disk, _dir: dir })
}

impl Cramped {
    fn agents(&self) -> [Process; 2] {
        let started = ROLES.map(|role| self.stage.start_agent(self.stage.member(role)).unwrap());
        for role in ROLES {
            until("the partner's prekeys are known", PATIENCE, || {
                let status = self.stage.agent(self.stage.member(role), &["status"]).unwrap();
                status["partners"].as_array().unwrap().iter().all(|partner| partner["usable"] == true)
            })
            .unwrap();
        }
        started
    }

    fn run(&self, program: Program, home: &Path, args: &[&str]) -> Ran {
        let home = home.to_string_lossy();
        let all: Vec<&str> = ["--home", &home].into_iter().chain(args.iter().copied()).collect();
        self.stage.programs.run(program, &all).unwrap()
    }

    /// `doctor` says what is wrong with the disk and what to do.
    fn doctor_complains(&self, program: Program, home: &Path) {
        let said = self.run(program, home, &["doctor"]);
        assert_eq!(said.code, 1, "{said:?}");
        for word in ["✗", "keep_free_mib", "Make room"] {
            assert!(said.stdout.contains(word), "{word}: {said:?}");
        }
    }

    /// The process told the operator, in both languages.
    fn told(&self, label: &str) {
        let log = std::fs::read_to_string(self.stage.log_of(label)).unwrap();
        for word in ["SCHIJF BIJNA VOL", "DISK NEARLY FULL"] {
            assert!(log.contains(word), "{word}: {log}");
        }
    }
}

fn signal() -> String {
    sample("F01").path.to_string_lossy().into_owned()
}

fn becomes_scarce(what: &str, scarce: bool, status: impl Fn() -> Value) {
    until(what, PATIENCE, || status()["room"]["scarce"] == scarce).unwrap();
}

/// Pushes a signal; the state it is in.
fn state_of(stage: &Stage, sender: &Member, args: &[&str]) -> String {
    let file = signal();
    let args: Vec<&str> = ["push", &file].into_iter().chain(args.iter().copied()).collect();
    text(&stage.agent(sender, &args).unwrap(), "state").to_owned()
}

#[test]
fn a_broker_without_room_still_delivers_and_goes_on_by_itself_when_there_is_room() {
    let Some(cramped) = cramped("broker", 64) else { return };
    let stage = &cramped.stage;
    let (from, to) = (stage.member("jongerenwerk"), stage.member("gemeente"));
    let broker = stage.start_broker().unwrap();
    let [_from, recipient] = cramped.agents();
    recipient.stop(PATIENCE).unwrap();
    push(stage, 2);
    cramped.disk.leave(LITTLE).unwrap();
    let status = || stage.broker(&["status"]).unwrap();
    becomes_scarce("the broker sees it", true, status);
    cramped.told("broker");
    cramped.doctor_complains(Program::Broker, &stage.broker_home());
    assert!(
        cramped.run(Program::Broker, &stage.broker_home(), &["status"]).stdout.contains("DISK NEARLY FULL")
    );
    assert_ne!(state_of(stage, from, &[]), "accepted");
    until("a packet is put off for want of room", PATIENCE, || {
        status()["quotas"].as_array().unwrap().iter().any(|row| row["put_off"]["room"].as_u64().unwrap() > 0)
    })
    .unwrap();
    // What was accepted before arrives, its acknowledgements are recorded and its sender is told.
    let _recipient = stage.start_agent(to).unwrap();
    wait_for_inbox(stage, to, 2);
    until("what was delivered is out of the mailbox", PATIENCE, || {
        status()["queues"] == Value::Array(vec![])
    })
    .unwrap();
    cramped.disk.resize(LARGE).unwrap();
    wait_for_inbox(stage, to, 3);
    becomes_scarce("it is as before", false, status);
    assert!(broker.stop(PATIENCE).unwrap().success());
}

#[test]
fn a_broker_that_keeps_nothing_free_takes_what_fits() {
    let Some(cramped) = cramped("broker", 0) else { return };
    let _broker = cramped.stage.start_broker().unwrap();
    let _agents = cramped.agents();
    cramped.disk.leave(LITTLE).unwrap();
    push(&cramped.stage, 1);
    assert_eq!(cramped.stage.broker(&["status"]).unwrap()["room"]["scarce"], false);
}

#[test]
fn an_agent_without_room_leaves_offers_at_the_broker_and_fetches_them_when_there_is_room() {
    let Some(cramped) = cramped("gemeente", 64) else { return };
    let stage = &cramped.stage;
    let to = stage.member("gemeente");
    let _broker = stage.start_broker().unwrap();
    let _agents = cramped.agents();
    cramped.disk.leave(LITTLE).unwrap();
    let status = || stage.agent(to, &["status"]).unwrap();
    becomes_scarce("the agent sees it", true, status);
    cramped.told(&to.label);
    cramped.doctor_complains(Program::Agent, &to.home);
    let refused = cramped.run(Program::Agent, &to.home, &["push", &sample("F07").path.to_string_lossy()]);
    let number = Refusal::AgentStorageLow.number().to_string();
    assert!(refused.code == 1 && refused.stderr.contains(&number), "{refused:?}");
    push(stage, 2);
    until("they are offered and not acknowledged", PATIENCE, || {
        stage.broker(&["status"]).unwrap()["queues"][0]["inflight"] == 2
    })
    .unwrap();
    assert!(inbox_of(stage, to).is_empty());
    cramped.disk.resize(LARGE).unwrap();
    wait_for_inbox(stage, to, 2);
    becomes_scarce("it is as before", false, status);
    assert_eq!(status()["alarms"], Value::Array(vec![]));
}

#[test]
fn an_agent_that_keeps_nothing_free_takes_what_fits() {
    let Some(cramped) = cramped("gemeente", 0) else { return };
    let stage = &cramped.stage;
    let _broker = stage.start_broker().unwrap();
    let _agents = cramped.agents();
    cramped.disk.leave(LITTLE).unwrap();
    push(stage, 1);
    wait_for_inbox(stage, stage.member("gemeente"), 1);
}
