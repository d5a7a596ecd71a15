//! The end of a session that this agent ends itself: nothing that was said stays without its answer.

use std::time::Duration;

use seinhuis_agent_core::Send;
use seinhuis_shared::frame::Kind;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};

use super::End;
use super::lane::Submission;
use super::session::notices_taken;
use crate::engine::Room;

/// Longest wait for the broker.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is left of a session in which no more is asked.
pub(super) struct Parting<'a> {
    /// Every task of the session but its requests.
    pub(super) tasks: JoinSet<End>,
    /// The lane's.
    pub(super) lane: AbortHandle,
    /// The one that takes offers in.
    pub(super) receiving: AbortHandle,
    pub(super) packets: UnboundedSender<Submission>,
    pub(super) acknowledgements: UnboundedSender<(Kind, Vec<u8>)>,
    /// What the engine still says.
    pub(super) outgoing: UnboundedReceiver<Send>,
    pub(super) room: &'a Room,
}

impl Parting<'_> {
    /// Submits no more and takes no more in; waits for the answers to what was submitted, and acknowledges what was
    /// received.
    pub(super) async fn run(self) {
        // Bounded: a broker that answers nothing must not keep the agent from stopping.
        if tokio::time::timeout(PATIENCE, self.settle()).await.is_err() {
            tracing::info!("the broker did not answer everything in time: the rest is submitted again");
        }
    }

    async fn settle(self) {
        let Self { mut tasks, lane, receiving, packets, acknowledgements, mut outgoing, room } = self;
        receiving.abort();
        drop(packets);
        let all = room.all();
        tokio::pin!(all);
        let mut taken_in = None;
        while taken_in.is_none() || !lane.is_finished() {
            tokio::select! {
                Some(_) = tasks.join_next() => {}
                // Held to the end: nothing more is let in.
                permit = &mut all, if taken_in.is_none() => taken_in = Some(permit),
                Some(send) = outgoing.recv() => pass(send, &acknowledgements),
            }
        }
        while let Ok(send) = outgoing.try_recv() {
            pass(send, &acknowledgements);
        }
        drop(acknowledgements);
        while tasks.join_next().await.is_some() {}
    }
}

/// Lets an acknowledgement out. Everything else is said again in the next session.
fn pass(send: Send, acknowledgements: &UnboundedSender<(Kind, Vec<u8>)>) {
    // Whoever would send it may have ended with the connection.
    if let Send::Acknowledge(bytes) = send {
        _ = acknowledgements.send((Kind::Acknowledge, bytes));
    } else if let Send::NoticesTaken(cursor) = send {
        _ = acknowledgements.send(notices_taken(cursor));
    }
}
