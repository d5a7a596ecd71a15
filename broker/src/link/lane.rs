//! A submission lane: packets in, in order; verdicts out as their turns become durable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seinhuis_broker_core::admission::Received;
use seinhuis_broker_core::{Input, Send};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::frame::{Header, Kind};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Deferred, Message as _, Refuse, Verdict};
use seinhuis_shell::link::{RecvStream, SendStream};
use seinhuis_shell::quic::{self, FrameError};
use tokio::io::BufReader;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::session::{Peer, resolve};
use crate::engine::Attach;

/// Most packets of one lane that are without an answer.
const OUTSTANDING: usize = 1024;
/// When a sender asks again for a receipt that cannot be read.
const PROOF_RETRY: Span = Span::minutes(1);
/// When a sender comes back to a broker that stops: about as long as a restart takes.
const BACK: Span = Span::seconds(2);
/// Longest wait for the last answers of a lane to arrive.
const ARRIVAL: Duration = Duration::from_secs(3);
/// Bytes of answers gathered into one write.
const GATHER: usize = 64 * 1024;

/// What a lane has under way: its own places, and as many of its connection's.
struct Places {
    own: Semaphore,
    /// Given back when the lane ends, however it ends.
    of_connection: Mutex<Vec<OwnedSemaphorePermit>>,
}

impl Places {
    /// Waits for a place; nothing when the broker stops.
    async fn take(&self, peer: &Peer) -> Option<Place<'_>> {
        let place = self.own.acquire().await.ok()?;
        let of_connection = Arc::clone(&peer.answers).acquire_owned().await.ok()?;
        place.forget();
        self.of_connection.lock().unwrap_or_else(PoisonError::into_inner).push(of_connection);
        Some(Place(self))
    }

    /// So many answers were written.
    fn answered(&self, count: usize) {
        let mut held = self.of_connection.lock().unwrap_or_else(PoisonError::into_inner);
        let left = held.len().saturating_sub(count);
        held.truncate(left);
        self.own.add_permits(count);
    }

    /// Waits until every answer was written.
    async fn all_answered(&self) {
        drop(self.own.acquire_many(u32::try_from(OUTSTANDING).unwrap_or(u32::MAX)).await);
    }
}

/// A place of a lane; given back when it is dropped, or by [`Places::answered`] once it is kept.
struct Place<'a>(&'a Places);

impl Place<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.answered(1);
    }
}

/// Serves a lane whose first header was read.
pub(crate) async fn run(
    peer: &Peer,
    send: &mut SendStream,
    mut recv: BufReader<RecvStream>,
    first: Header,
) -> Result<(), Refusal> {
    let id = peer.shared.lane_id();
    let (out, answers) = mpsc::unbounded_channel();
    let places = Places { own: Semaphore::new(OUTSTANDING), of_connection: Mutex::default() };
    peer.bring(Some(Attach::Lane(id, out)), None, 0).await;
    let outcome = {
        let reading = async {
            tokio::select! {
                read = read(peer, id, &mut recv, first, &places) => read,
                // What was not read by now is not accepted.
                () = peer.parting() => Ok(()),
            }
        };
        let writing = write(peer, send, answers, &places);
        tokio::pin!(reading, writing);
        tokio::select! {
            // The agent has no more to submit; its last answers still come.
            read = &mut reading => match read {
                Ok(()) => {
                    tokio::select! {
                        _ = peer.conn.closed() => Ok(()),
                        () = places.all_answered() => Ok(()),
                        written = &mut writing => written,
                    }
                }
                Err(refusal) => Err(refusal),
            },
            written = &mut writing => written,
        }
    };
    peer.bring(Some(Attach::LaneClosed(id)), None, 0).await;
    if outcome.is_ok() {
        finish(peer, send).await;
    }
    outcome
}

/// Ends a lane on which everything that was read has its answer.
async fn finish(peer: &Peer, send: &mut SendStream) {
    if !peer.is_parting() {
        _ = send.finish();
        return;
    }
    let refuse = Refuse { reason: Refusal::Stopping.number(), retry_after: Some(BACK.0) };
    let Ok(frame) = refuse.to_frame() else { return };
    if send.write_all(&frame).await.is_ok() && send.finish().is_ok() {
        // The connection closes after this, and with it goes what has not arrived.
        _ = tokio::time::timeout(ARRIVAL, send.stopped()).await;
    }
}

async fn read(
    peer: &Peer,
    id: seinhuis_broker_core::LaneId,
    recv: &mut BufReader<RecvStream>,
    first: Header,
    places: &Places,
) -> Result<(), Refusal> {
    let engine = &peer.shared.service.engine;
    let mut header = first;
    loop {
        if header.kind != Kind::Submit {
            return Err(Refusal::UnexpectedMessage);
        }
        let kib = u32::try_from(header.length / 1024 + 1).unwrap_or(u32::MAX);
        // The connection's own share while the packet comes in: who stalls holds up nobody else.
        let Ok(share) = Arc::clone(&peer.reading).acquire_many_owned(kib).await else { return Ok(()) };
        let Some(place) = places.take(peer).await else { return Ok(()) };
        let bytes = match quic::payload(recv, header).await {
            Ok(bytes) => bytes,
            Err(FrameError::Refused(refusal)) => return Err(refusal),
            Err(FrameError::Broken(_)) => return Ok(()),
        };
        // Of the whole, only what is complete takes up a part: the engine always gives that back.
        let Some(memory) = peer.share.room(&peer.shared.memory, kib).await else { return Ok(()) };
        drop(share);
        let length = bytes.len();
        let directory = engine.directory();
        let examined = peer.share.examine(|| Received::new(bytes, peer.oin).authenticate(&directory)).await;
        let input = Input::Submitted { conn: peer.id, lane: id, examined };
        if !peer.bring_holding(input, length, memory).await {
            return Err(Refusal::StorageFailed);
        }
        place.keep();
        header = match quic::header(recv).await {
            Ok(Some(header)) => header,
            Ok(None) | Err(FrameError::Broken(_)) => return Ok(()),
            Err(FrameError::Refused(refusal)) => return Err(refusal),
        };
    }
}

async fn write(
    peer: &Peer,
    send: &mut SendStream,
    mut answers: mpsc::UnboundedReceiver<Send>,
    places: &Places,
) -> Result<(), Refusal> {
    let mut buffer = Vec::new();
    while let Some(first) = answers.recv().await {
        let mut count = 0;
        let mut next = Some(first);
        while let Some(answer) = next.take() {
            count += 1;
            buffer.extend(encode(peer, answer).await?);
            if buffer.len() < GATHER {
                next = answers.try_recv().ok();
            }
        }
        if send.write_all(&buffer).await.is_err() {
            return Ok(());
        }
        buffer.clear();
        places.answered(count);
    }
    Ok(())
}

async fn encode(peer: &Peer, answer: Send) -> Result<Vec<u8>, Refusal> {
    match answer {
        Send::Verdict { packet, outcome, receipt, .. } => {
            match resolve(peer, receipt).await {
                Ok(receipt) => Verdict { packet, outcome, receipt: Bytes::from(&receipt[..]) }.to_frame(),
                Err(complaint) => {
                    // The outcome stands; only its proof cannot be read now.
                    tracing::error!(%packet, "{}", complaint.what.en);
                    let reason = Refusal::StorageFailed.number();
                    Deferred { packet, reason, retry_after: PROOF_RETRY.0 }.to_frame()
                }
            }
        }
        Send::Deferred { deferred, .. } => deferred.to_frame(),
        Send::Welcome { .. }
        | Send::Refuse { .. }
        | Send::Close { .. }
        | Send::Offer { .. }
        | Send::Done { .. }
        | Send::Prekeys { .. }
        | Send::Covenant { .. }
        | Send::Agreements { .. }
        | Send::Case { .. }
        | Send::Cases { .. }
        | Send::Rotations { .. }
        | Send::Entries { .. }
        | Send::Notices { .. }
        | Send::Succession { .. }
        | Send::Consistency { .. }
        | Send::AddCheckpoint { .. }
        | Send::AskOutside { .. }
        | Send::Witnessed { .. }
        | Send::Answer { .. } => Ok(Vec::new()),
    }
}
