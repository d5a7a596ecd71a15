//! How large a broker may grow: many agents that are connected, all of them coming back at once, and many packets that
//! wait.
//!
//! ```text
//! cargo bench -p seinhuis-broker --bench scale -- prepare AGENTS FOLDER
//! cargo bench -p seinhuis-broker --bench scale -- crowd AGENTS [FOLDER]
//! cargo bench -p seinhuis-broker --bench scale -- storm AGENTS [as-agents|together|unison] [FOLDER]
//! cargo bench -p seinhuis-broker --bench scale -- waiting PACKETS [FOLDER]
//! ```
//!
//! The broker is a process of its own, with the program's own start; the agents are all in the process that measures, on
//! the same processors, so that half of what a handshake takes there is theirs. `prepare` makes certificates for so many
//! agents and a broker that knows them: it takes long, and `crowd` and `storm` use the same folder again. Without a folder
//! they make one and remove it.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says so")]

#[path = "../crowd/mod.rs"]
#[expect(dead_code, reason = "agents here are counted while they connect")]
mod crowd;
#[path = "../mill/mod.rs"]
#[expect(dead_code, reason = "other benches use the rest")]
mod mill;
#[path = "../usage/mod.rs"]
mod usage;

mod agent;
mod gathering;
mod partnership;
mod process;
mod storm;
mod waiting;

use std::path::{Path, PathBuf};

use partnership::Partnership;
use storm::Rule;

fn number(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// The partnership in this folder, or a new one with so many agents that goes at the end.
fn partnership(agents: u64, folder: Option<&&str>) -> (Partnership, Option<tempfile::TempDir>) {
    if let Some(folder) = folder {
        return (Partnership::load(Path::new(folder)), None);
    }
    let own = tempfile::tempdir().unwrap();
    (Partnership::make(own.path(), agents), Some(own))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["broker", folder] => process::be_broker(Path::new(folder)),
        ["make", folder, packets] => waiting::make(Path::new(folder), number(packets)),
        ["start", folder] => waiting::start(Path::new(folder)),
        ["prepare", agents, folder] => {
            std::fs::create_dir(folder).unwrap();
            Partnership::make(Path::new(folder), number(agents));
        }
        ["crowd", agents, ref rest @ ..] => {
            let (partnership, _own) = partnership(number(agents), rest.first());
            runtime().block_on(gathering::measure(&partnership, number(agents)));
        }
        ["storm", agents, ref rest @ ..] => {
            let rule = rest.first().and_then(|word| Rule::named(word));
            let (partnership, _own) = partnership(number(agents), rest.get(usize::from(rule.is_some())));
            runtime().block_on(storm::measure(&partnership, number(agents), rule));
        }
        ["waiting", packets, ref rest @ ..] => {
            let own = tempfile::tempdir().unwrap();
            let folder = rest.first().map_or_else(|| own.path().to_owned(), PathBuf::from);
            waiting::measure(&folder, number(packets));
        }
        _ => println!("prepare AGENTS FOLDER | crowd AGENTS | storm AGENTS | waiting PACKETS"),
    }
}
