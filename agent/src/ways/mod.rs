//! The ways in and out of a running agent besides the command line: what partners' own systems and people use.
//!
//! Each asks the agent what a command would ask, so that every check is the same by the same code.

use seinhuis_shell::complaint::Complaint;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::AgentHandle;
use crate::config::Config;

/// The ways that are open; closed when the agent stops.
#[derive(Debug)]
pub(crate) struct Ways {
    tasks: JoinSet<()>,
}

impl Ways {
    /// Opens the ways that the configuration asks for; each ends when `stopping` says so.
    ///
    /// # Errors
    /// A sentence naming the way, what is wrong with it and what to do.
    pub(crate) fn start(
        _agent: &AgentHandle,
        _config: &Config,
        _stopping: &watch::Receiver<bool>,
    ) -> Result<Self, Complaint> {
        Ok(Self { tasks: JoinSet::new() })
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
