//! Scene 4: partners' own systems and people hand over and take over, in each of the ways that an agent has.

mod folder;
mod http;
mod lines;
mod page;
mod sql;
mod webhook;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use seinhuis_tests::http::Client;
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Member, Stage, ports, process};
use serde_json::Value;

use crate::burst;
use crate::running::Running;
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble};

/// Where the systems and people of a partnership find their agents.
#[derive(Debug)]
pub(crate) struct Ways {
    /// The API of the police's agent, without a token.
    police: Client,
    /// That of the municipality's.
    town: Client,
    /// The page of the police's agent.
    police_page: SocketAddr,
    /// That of the municipality's.
    town_page: SocketAddr,
    /// The municipality's own application, which is told of what came in.
    hook: webhook::Hook,
    /// Whether the police have a database.
    database: bool,
    /// The broker's console.
    console: SocketAddr,
}

impl Ways {
    /// Opens the ways in the settings of agents that do not run yet. A database that is needed for them is among what
    /// runs.
    ///
    /// # Errors
    /// Settings that cannot be written, a database that does not start.
    pub(crate) fn open(stage: &Stage, running: &Running) -> Told<Self> {
        let listen = |role: &str, section: &str| -> Told<SocketAddr> {
            let address = ports::free()?;
            let settings = format!("\n[{section}]\nlisten = \"{address}\"\n");
            stage.configure_agent(stage.member(role), &settings)?;
            Ok(address)
        };
        let api = |role: &str| -> Told<Client> {
            Ok(Client { address: listen(role, "api")?, token: String::new() })
        };
        folder::open(stage)?;
        let console = ports::free()?;
        stage.configure(&format!("\n[console]\nlisten = \"{console}\"\n"))?;
        Ok(Self {
            police: api("politie")?,
            town: api("gemeente")?,
            police_page: listen("politie", "page")?,
            town_page: listen("gemeente", "page")?,
            hook: webhook::open(stage)?,
            database: sql::open(stage, running)?,
            console,
        })
    }

    /// Where the page of a member's agent is that has one.
    pub(crate) const fn pages(&self) -> [(&'static str, SocketAddr); 2] {
        [("politie", self.police_page), ("gemeente", self.town_page)]
    }

    /// Where the broker's console is.
    pub(crate) const fn console(&self) -> SocketAddr {
        self.console
    }

    /// Where the API of a member's agent is that has one.
    pub(crate) const fn apis(&self) -> [(&'static str, SocketAddr); 2] {
        [("politie", self.police.address), ("gemeente", self.town.address)]
    }
}

/// Sends signals in each way.
///
/// # Errors
/// What does not arrive, or arrives twice.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(4, "Langs elke weg: systemen en mensen", "By every way: systems and people");
    let sent = |show: &Show| show.sent.values().sum::<u64>();
    let before = sent(show);
    let mut ways = 0;
    for way in [http::play, webhook::play, folder::play, sql::play, lines::play, page::play] {
        let already = sent(show);
        way(show)?;
        // What was handed over in one way is everywhere exactly once before the next begins.
        burst::wait(show)?;
        ways += u64::from(sent(show) > already);
    }
    let count = sent(show) - before;
    show.sum(
        ("wegen", format!("{count} signalen langs {ways} wegen, elk één keer")),
        ("ways", format!("{count} signals by {ways} ways, each once")),
    );
    Ok(())
}

/// Makes a token of an application, with these rights.
///
/// # Errors
/// When the command fails.
pub(crate) fn token(stage: &Stage, member: &Member, name: &str, rights: &[&str]) -> Told<String> {
    let allowed = rights.iter().flat_map(|right| ["--allow", right]);
    let all: Vec<&str> = ["token", "add", name].into_iter().chain(allowed).collect();
    Ok(text(&stage.agent(member, &all)?, "token").to_owned())
}

/// Makes an access code of a person for the page, with these rights.
///
/// # Errors
/// When the command fails.
pub(crate) fn person(stage: &Stage, member: &Member, name: &str, rights: &str) -> Told<String> {
    Ok(text(&stage.agent(member, &["person", "add", name, "--may", rights])?, "code").to_owned())
}

/// Waits until the sender of a message knows that a recipient took it over.
fn taken_over(show: &Show, sender: &Member, id: &str) -> Told {
    let waited = process::until("it is taken over", PATIENCE, || {
        let shown = show.stage.agent(sender, &["outbox", "show", id]).unwrap_or_default();
        let recipients = shown["recipients"].as_array().cloned().unwrap_or_default();
        recipients.iter().any(|one| text(one, "reached") == "consumed")
    });
    waited.map_err(|_| {
        Trouble::new(
            format!("{} hoort niet dat bericht {id} is overgenomen.", sender.role),
            format!("{} is not told that message {id} was taken over.", sender.role),
        )
    })
}

/// The messages of a flow in a member's inbox.
fn received(show: &Show, member: &Member, flow: &str) -> Told<Vec<Value>> {
    let listed = show.stage.agent(member, &["inbox", "list", "-n", "100000"])?;
    let all = listed.as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|row| text(row, "flow") == flow).collect())
}

/// Their ids.
fn ids(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().map(|row| text(row, "msg_id").to_owned()).collect()
}
