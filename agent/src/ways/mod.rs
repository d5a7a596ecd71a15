//! The ways in and out of a running agent besides the command line: what partners' own systems and people use.
//!
//! Each asks the agent what a command would ask, so that every check is the same by the same code.

pub mod api;
pub(crate) mod delivered;
pub(crate) mod deliveries;
mod event;
pub(crate) mod folders;
pub mod page;
pub mod pass;
pub(crate) mod rows;
pub(crate) mod sql;
mod standing;
pub(crate) mod webhook;
mod work;

use std::net::SocketAddr;

use seinhuis_shell::complaint::Complaint;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::standing::{Kind, Standings};
use crate::agent::AgentHandle;
use crate::config::Config;

/// The ways that are open; closed when the agent stops.
#[derive(Debug)]
pub(crate) struct Ways {
    tasks: JoinSet<()>,
    /// The address of the local API, if it has one.
    pub(crate) address: Option<SocketAddr>,
    /// How each does.
    pub(crate) standings: Standings,
    /// The address of the page, if it is there.
    pub(crate) page: Option<SocketAddr>,
}

impl Ways {
    /// Opens the ways that the configuration asks for; each ends when `stopping` says so.
    ///
    /// # Errors
    /// A sentence naming the way, what is wrong with it and what to do.
    pub(crate) fn start(
        agent: &AgentHandle,
        config: &Config,
        stopping: &watch::Receiver<bool>,
    ) -> Result<Self, Complaint> {
        let (mut tasks, standings) = (JoinSet::new(), Standings::default());
        let api = api::Api::bind(&config.api, agent.home().dir())?;
        let address = api.address();
        if config.api.is_on() {
            let listened = address.map(|address| address.to_string());
            let socket = config.api.socket_in(agent.home().dir()).map(|path| path.display().to_string());
            let places: Vec<String> = listened.into_iter().chain(socket).collect();
            standings.open(Kind::Api, "api", &places.join(", "));
            api.serve(agent, stopping, &mut tasks)?;
        }
        let page = page::start(agent, config, stopping, &mut tasks)?;
        folders::start(agent, config, &standings, stopping, &mut tasks)?;
        sql::start(agent, config, &standings, stopping, &mut tasks)?;
        webhook::start(agent, config, &standings, stopping, &mut tasks)?;
        Ok(Self { tasks, address, standings, page })
    }

    /// Waits until all have ended.
    pub(crate) async fn ended(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a way ended badly");
            }
        }
    }
}
