//! The broker as a process of its own.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::usage::Usage;

/// Longest wait for a broker to listen.
const PATIENCE: Duration = Duration::from_mins(5);

fn address_file(folder: &Path) -> PathBuf {
    folder.join("address")
}

/// Is the broker of this folder, until it is killed.
pub(crate) fn be_broker(folder: &Path) {
    let words: [OsString; 6] = [
        "seinhuis-broker".into(),
        "--home".into(),
        folder.into(),
        "run".into(),
        "--address-file".into(),
        address_file(folder).into(),
    ];
    seinhuis_broker::run(words);
}

/// A broker that runs.
pub(crate) struct Process {
    child: Child,
    /// How long it took from its start until it listened.
    pub(crate) listening: Duration,
}

impl Process {
    /// Starts it and waits until it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        _ = std::fs::remove_file(address_file(folder));
        let told = File::options().create(true).append(true).open(folder.join("broker.err")).unwrap();
        let begun = Instant::now();
        let child = Command::new(std::env::current_exe().unwrap())
            .arg("broker")
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(told)
            .spawn()
            .unwrap();
        let mut process = Self { child, listening: Duration::ZERO };
        while !address_file(folder).exists() {
            assert!(begun.elapsed() < PATIENCE && process.child.try_wait().unwrap().is_none(), "no broker");
            std::thread::sleep(Duration::from_millis(2));
        }
        process.listening = begun.elapsed();
        process
    }

    /// What it takes up and has taken.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(&self.child.id().to_string())
    }

    /// Ends it as a loss of power would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
