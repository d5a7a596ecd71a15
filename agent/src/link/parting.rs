//! The end of a session that this agent ends itself: nothing that was said stays without its answer.

use std::time::Duration;

use seinhuis_agent_core::Send;
use seinhuis_shared::frame::Kind;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};

use super::End;
use super::lane::{Flying, Submission};
use super::session::notices_taken;
use crate::engine::Room;

/// Longest wait for a broker that answers nothing: one whose disk stalls answers late, and service managers wait a minute
/// for whom they stop (packaging/systemd). A connection that is dead ends by itself before that.
const PATIENCE: Duration = Duration::from_secs(25);
/// Longest wait for a broker that answers a little at a time.
const LONGEST: Duration = Duration::from_secs(45);

/// What is left of a session in which no more is asked.
pub(super) struct Parting<'a> {
    /// Every task of the session but its requests.
    pub(super) tasks: JoinSet<End>,
    /// The lane's.
    pub(super) lane: AbortHandle,
    pub(super) flying: Flying,
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
        let flying = self.flying.clone();
        let heard = heard(self.settle(), &flying, async || tokio::time::sleep(PATIENCE).await);
        if !tokio::time::timeout(LONGEST, heard).await.unwrap_or(false) {
            tracing::info!("the broker did not answer everything in time: the rest is submitted again");
        }
    }

    async fn settle(self) {
        let Self { mut tasks, lane, receiving, packets, acknowledgements, mut outgoing, room, .. } = self;
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

/// Waits until everything is settled; false when a whole pause passed without an answer.
///
/// Bounded, for what was submitted is: a broker that answers nothing keeps no agent from stopping, one that is slow is
/// heard to the end.
async fn heard(settled: impl Future<Output = ()>, flying: &Flying, pause: impl AsyncFn()) -> bool {
    tokio::pin!(settled);
    let mut answered = flying.answered();
    loop {
        tokio::select! {
            biased;
            () = &mut settled => return true,
            () = pause() => {}
        }
        let before = std::mem::replace(&mut answered, flying.answered());
        if answered == before {
            return false;
        }
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

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::task::Poll;

    use seinhuis_shared::ids::Digest;

    use super::*;

    const PACKETS: [Digest; 3] = [Digest([1; 32]), Digest([2; 32]), Digest([3; 32])];

    fn submitted() -> Flying {
        let flying = Flying::default();
        for packet in PACKETS {
            flying.add(packet);
        }
        flying
    }

    #[tokio::test]
    async fn who_answers_one_packet_in_each_pause_is_heard_to_the_end() {
        let flying = submitted();
        let all = poll_fn(|_| if flying.answered() == 3 { Poll::Ready(()) } else { Poll::Pending });
        let answer = async || _ = PACKETS.iter().find(|packet| flying.land(packet));
        assert!(heard(all, &flying, answer).await);
    }

    #[tokio::test]
    async fn who_falls_silent_is_left_after_one_pause() {
        let flying = submitted();
        let answer = async || _ = flying.land(&PACKETS[0]);
        assert!(!heard(pending(), &flying, answer).await);
        assert_eq!(flying.answered(), 1);
    }
}
