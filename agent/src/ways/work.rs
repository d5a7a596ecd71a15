//! Work that is looked after again and again, on a thread that may wait: a drive or a receiver that hangs holds up its own
//! work and nothing else.

use std::time::Duration;

use seinhuis_shell::complaint::Complaint;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::agent::AgentHandle;
use crate::commands::request::Request;
use crate::engine::View;

/// How long a stop waits for work that does not end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Work that there is to do from time to time.
pub(super) trait Work: Send + 'static {
    /// Does what there is to do; after how long it looks again, unless there is news before that.
    fn look(&mut self) -> Duration;
}

/// Looks after some work until the agent stops.
pub(super) async fn run(
    mut work: impl Work,
    mut news: Option<watch::Receiver<()>>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        // What is news from here on is looked at again.
        if let Some(news) = &mut news {
            news.mark_unchanged();
        }
        let mut looked = tokio::task::spawn_blocking(move || {
            let wait = work.look();
            (work, wait)
        });
        let ended = tokio::select! {
            ended = &mut looked => Some(ended),
            () = told_to_stop(&mut stopping) => None,
        };
        let Some(ended) = ended else {
            // What it does now it does to the end, unless something hangs; all of it can be done again.
            if tokio::time::timeout(PATIENCE, looked).await.is_err() {
                tracing::warn!("a drive or a receiver does not answer; the agent stops without it");
            }
            return;
        };
        let wait;
        (work, wait) = match ended {
            Ok(back) => back,
            Err(error) => {
                tracing::error!(%error, "a way in or out of the agent is not looked after any more");
                return;
            }
        };
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = told(&mut news) => {}
                () = told_to_stop(&mut stopping) => return,
            }
        }
    }
}

/// Waits for news; for ever where none comes.
async fn told(news: &mut Option<watch::Receiver<()>>) {
    let heard = match news {
        Some(news) => news.changed().await.is_ok(),
        None => false,
    };
    if !heard {
        std::future::pending::<()>().await;
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // The sender goes with the agent, which is a sign to stop as well.
    _ = stopping.wait_for(|stop| *stop).await.is_ok();
}

/// The running agent, for a thread that may wait for it.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) handle: AgentHandle,
    pub(super) runtime: Handle,
    stopping: watch::Receiver<bool>,
}

impl Agent {
    /// From a task of the runtime.
    pub(super) fn new(handle: &AgentHandle, stopping: &watch::Receiver<bool>) -> Self {
        Self { handle: handle.clone(), runtime: Handle::current(), stopping: stopping.clone() }
    }

    pub(super) fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    pub(super) fn ask(&self, request: Request) -> Result<Value, Complaint> {
        self.runtime.block_on(self.handle.ask(request))
    }

    pub(super) fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Complaint> {
        self.runtime.block_on(self.handle.query(question))
    }

    /// What comes of something that takes long; none when the agent stops before that.
    pub(super) fn unless_stopped<T>(&self, long: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stopping.clone();
        self.runtime.block_on(async {
            tokio::select! {
                done = long => Some(done),
                () = told_to_stop(&mut stopping) => None,
            }
        })
    }
}
