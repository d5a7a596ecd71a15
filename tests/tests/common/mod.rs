//! What the tests of whole partnerships share.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

pub(crate) mod town;

use std::fs;
use std::path::{Path, PathBuf};

use seinhuis_shell::clock;
use seinhuis_tests::process::Program;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Process, Programs, Stage, process};
use serde_json::Value;

/// A stage in a temporary folder that is removed at the end.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// A partnership of these roles, enrolled and agreed, with nothing running.
    pub(crate) fn with(roles: &[&str]) -> Self {
        let scene = Self::unsigned(roles);
        scene.stage.agree().unwrap_or_else(|error| panic!("{error}"));
        scene
    }

    /// As [`Self::with`], with a covenant that asks no witnesses: for brokers without agents.
    pub(crate) fn unwatched(roles: &[&str]) -> Self {
        let mut scene = Self::unsigned(roles);
        scene.stage.watched = false;
        scene.stage.agree().unwrap_or_else(|error| panic!("{error}"));
        scene
    }

    /// As [`Self::with`], but nobody has signed anything yet.
    pub(crate) fn unsigned(roles: &[&str]) -> Self {
        Self::founded(None, clock::now().year(), roles)
    }

    /// As [`Self::unsigned`], with a broker whose first log is that of a `year`, and keys made from a `seed` when there
    /// is one.
    pub(crate) fn founded(seed: Option<&'static str>, year: u64, roles: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("seinhuis-").tempdir().unwrap();
        let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
        let members = Stage::cast(dir.path(), roles);
        let stage = Stage::found_with(seed, year, programs, dir.path(), members, &mut |_| ())
            .unwrap_or_else(|error| panic!("{error}"));
        Self { stage, _dir: dir }
    }

    /// As [`Self::with`], with a broker whose log is that of the year before this one: a year passes in the test.
    pub(crate) fn last_year(roles: &[&str]) -> Self {
        let scene = Self::founded(None, clock::now().year() - 1, roles);
        scene.stage.agree().unwrap_or_else(|error| panic!("{error}"));
        scene
    }

    pub(crate) fn broker(&self) -> Process {
        self.stage.start_broker().unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn agent(&self, role: &str) -> Process {
        self.stage.start_agent(self.stage.member(role)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts every member's agent and waits until all are connected and know each other's prekeys.
    pub(crate) fn agents(&self) -> Vec<Process> {
        let agents = self.stage.members.iter().map(|member| self.agent(member.role)).collect();
        for member in &self.stage.members {
            process::until("all prekeys are known", PATIENCE, || knows_everybody(&self.stage, member))
                .unwrap();
        }
        agents
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Puts back the store and log of an earlier copy.
pub(crate) fn put_back(stage: &Stage, copied: &Path) {
    let home = stage.broker_home();
    for part in ["store", "log"] {
        fs::remove_dir_all(home.join(part)).unwrap();
        copy(&copied.join(part), &home.join(part));
    }
}

/// Pushes so many signals, each once the one before was accepted.
pub(crate) fn push(stage: &Stage, count: usize) {
    let file = town::sample("F01").path.to_string_lossy().into_owned();
    for _ in 0..count {
        let pushed = stage.agent(stage.member("jongerenwerk"), &["push", &file, "--wait", "60"]).unwrap();
        assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    }
}

/// Starts a broker that has to end by itself; what it says and its exit code.
pub(crate) fn run_to_its_end(stage: &Stage, home: &Path, args: &[&str]) -> (String, Option<i32>) {
    let log = stage.log_of("ended");
    _ = fs::remove_file(&log);
    let home = home.to_string_lossy().into_owned();
    let args = ["--home", &home, "run"].into_iter().chain(args.iter().copied());
    let mut broker = stage.programs.start(Program::Broker, args, &log).unwrap();
    let ended = broker.wait(PATIENCE);
    let told = fs::read_to_string(&log).unwrap();
    (told.clone(), ended.unwrap_or_else(|error| panic!("{error}: {told}")).code())
}

fn knows_everybody(stage: &Stage, member: &Member) -> bool {
    let status = stage.agent(member, &["status"]).unwrap();
    let partners = status["partners"].as_array().unwrap();
    let usable = partners.iter().filter(|partner| partner["usable"] == true).count();
    status["link"]["connected"] == true && usable + 1 >= stage.members.len()
}

/// Waits until a member's inbox has `count` messages; all of them, oldest first.
pub(crate) fn wait_for_inbox(stage: &Stage, member: &Member, count: usize) -> Vec<Value> {
    let mut inbox = Vec::new();
    let waited = process::until("the inbox fills", PATIENCE, || {
        inbox = inbox_of(stage, member);
        inbox.len() >= count
    });
    assert!(waited.is_ok(), "{} of {count} messages at {}", inbox.len(), member.name);
    assert_eq!(inbox.len(), count, "no more than expected at {}", member.name);
    inbox
}

pub(crate) fn inbox_of(stage: &Stage, member: &Member) -> Vec<Value> {
    list(&stage.agent(member, &["inbox", "list", "-n", "100000"]).unwrap())
}

pub(crate) fn outbox_of(stage: &Stage, member: &Member) -> Vec<Value> {
    list(&stage.agent(member, &["outbox", "list", "-n", "100000"]).unwrap())
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| panic!("a list: {value}"))
}

/// Every file below `dir` that holds one of `words`.
pub(crate) fn search<'a>(dir: &Path, words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let words: Vec<&str> = words.collect();
    assert!(words.iter().all(|word| word.len() >= 6), "words that mean something");
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files += 1;
                let bytes = fs::read(entry.path()).unwrap();
                for word in &words {
                    if memchr::memmem::find(&bytes, word.as_bytes()).is_some() {
                        found.push(format!("{}: {word}", entry.path().display()));
                    }
                }
            }
        }
    }
    assert!(files > 3, "there were files to search");
    found
}
