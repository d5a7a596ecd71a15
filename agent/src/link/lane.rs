//! The submission lane: packets out in order, verdicts back matched by digest.

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seinhuis_agent_core::Input;
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{Deferred, Message as _, Verdict};
use seinhuis_shell::link::{Connection, RecvStream, SendStream};
use seinhuis_shell::quic;
use tokio::sync::mpsc::UnboundedReceiver;

use super::End;
use super::session::{broke, closed, post, unexpected};
use crate::engine::Job;

/// Bytes that are handed to the stream at once.
const BATCH: usize = 256 * 1024;

/// A packet on its way out.
pub(crate) type Submission = (Digest, Arc<[u8]>);

/// What is submitted and not yet answered. Clones are of the same lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Flying(Arc<Mutex<Flight>>);

#[derive(Debug, Default)]
struct Flight {
    unanswered: BTreeSet<Digest>,
    answered: u64,
}

impl Flying {
    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, digest: Digest) {
        self.flight().unanswered.insert(digest);
    }

    /// Whether an answer about this packet was still to come.
    pub(super) fn land(&self, digest: &Digest) -> bool {
        let mut flight = self.flight();
        let awaited = flight.unanswered.remove(digest);
        flight.answered += u64::from(awaited);
        awaited
    }

    /// How many of its packets the broker has answered.
    pub(super) fn answered(&self) -> u64 {
        self.flight().answered
    }
}

/// Runs the lane until the connection ends, or until nothing more is to be submitted and the broker has answered.
pub(crate) async fn run(
    connection: Connection,
    packets: UnboundedReceiver<Submission>,
    flying: Flying,
    jobs: Sender<Job>,
) -> End {
    let (send, receive) = match connection.open_bi().await {
        Ok(streams) => streams,
        Err(error) => return closed(&connection, &error),
    };
    let reading = read(receive, jobs, flying.clone());
    tokio::pin!(reading);
    tokio::select! {
        // Nothing more to submit: the broker answers what there is, and ends the lane.
        end = write(send, packets, flying) => {
            if matches!(end, End::Stopped) { reading.await } else { end }
        }
        end = &mut reading => end,
    }
}

async fn write(mut stream: SendStream, mut packets: UnboundedReceiver<Submission>, flying: Flying) -> End {
    let mut batch = Vec::new();
    while let Some(first) = packets.recv().await {
        batch.clear();
        let mut next = Some(first);
        while let Some(submission) = next {
            match frame::encode(Kind::Submit, &submission.1) {
                Ok(bytes) => batch.extend(bytes),
                // Sealing bounds a packet far below a frame.
                Err(refusal) => return End::Refused(refusal),
            }
            flying.add(submission.0);
            next = if batch.len() < BATCH { packets.try_recv().ok() } else { None };
        }
        if let Err(error) = stream.write_all(&batch).await {
            return broke(&error);
        }
    }
    // A stream that broke has ended already.
    _ = stream.finish();
    End::Stopped
}

async fn read(mut stream: RecvStream, jobs: Sender<Job>, flying: Flying) -> End {
    loop {
        let input = match quic::frame(&mut stream).await {
            Ok(Some((Kind::Verdict, bytes))) => match Verdict::parse(&bytes) {
                // A verdict nobody asked for is about nothing that waits.
                Ok(verdict) => flying.land(&verdict.packet).then_some(Input::Verdict(verdict)),
                Err(refusal) => return unexpected(refusal),
            },
            Ok(Some((Kind::Deferred, bytes))) => match Deferred::parse(&bytes) {
                Ok(deferred) => flying.land(&deferred.packet).then_some(Input::Deferred(deferred)),
                Err(refusal) => return unexpected(refusal),
            },
            Ok(Some((Kind::Refuse, bytes))) => return super::session::refuse(&bytes),
            Ok(Some(_)) => return unexpected(Refusal::UnexpectedMessage),
            // In order only when this side ended first.
            Ok(None) => return unexpected(Refusal::Malformed),
            Err(quic::FrameError::Refused(refusal)) => return unexpected(refusal),
            Err(quic::FrameError::Broken(error)) => return broke(&error),
        };
        if let Some(input) = input
            && post(&jobs, input).is_err()
        {
            return End::Stopped;
        }
    }
}
