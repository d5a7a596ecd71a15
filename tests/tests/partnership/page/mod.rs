//! The page for people of real agents: people in a real browser without scripts, and whoever else comes along.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod people;
mod strangers;
mod subjects;

use std::fs;
use std::net::SocketAddr;

use seinhuis_tests::stage::text;
use seinhuis_tests::{Member, Process, Stage, ports, site};

use crate::common::{Scene, town};

/// Has a member's agent serve the page, from its next start on.
fn open(stage: &Stage, member: &Member) -> SocketAddr {
    let address = ports::free().unwrap();
    stage.configure_agent(member, &format!("\n[page]\nlisten = \"{address}\"\n")).unwrap();
    address
}

/// The id and the code of a person with these rights.
fn person(stage: &Stage, member: &Member, name: &str, rights: &str) -> (String, String) {
    let made = stage.agent(member, &["person", "add", name, "--may", rights]).unwrap();
    (text(&made, "id").to_owned(), text(&made, "code").to_owned())
}

/// Municipality and police, whose agents serve the page and know each other.
struct Two {
    at_town: SocketAddr,
    at_police: SocketAddr,
    /// Ended before their folders go: the broker, the municipality, the police.
    running: Vec<Process>,
    scene: Scene,
}

impl Two {
    fn running() -> Self {
        let scene = Scene::with(&["gemeente", "politie"]);
        let [at_town, at_police] =
            ["gemeente", "politie"].map(|role| open(&scene.stage, scene.stage.member(role)));
        let running = std::iter::once(scene.broker()).chain(scene.agents()).collect();
        Self { at_town, at_police, running, scene }
    }

    fn town(&self) -> &Member {
        self.scene.stage.member("gemeente")
    }

    fn police(&self) -> &Member {
        self.scene.stage.member("politie")
    }

    /// Nothing of these words is in anybody's log.
    fn is_not_told(&self, words: &[&str]) {
        for of in ["politie", "gemeente", "broker"] {
            let log = fs::read_to_string(self.scene.stage.log_of(of)).unwrap();
            for word in words {
                assert!(!log.contains(word), "{of} tells {word}: {log}");
            }
        }
    }
}

/// The sample of a flow as a form that is sent under a key.
fn filled(flow: &str, key: &str) -> Vec<(String, String)> {
    site::filled(&town::sample(flow).value, key, "send")
}
