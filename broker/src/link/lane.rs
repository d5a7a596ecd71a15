//! A submission lane: packets in, in order; verdicts out as their turns become durable.

use std::sync::Arc;

use seinhuis_broker_core::admission::Received;
use seinhuis_broker_core::{Input, Send};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::frame::{Header, Kind};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Deferred, Message as _, Verdict};
use seinhuis_shell::link::{RecvStream, SendStream};
use seinhuis_shell::quic::{self, FrameError};
use tokio::io::BufReader;
use tokio::sync::{Semaphore, mpsc};

use super::session::{Peer, resolve};
use crate::engine::Attach;

/// Most packets of one lane that are without an answer.
const OUTSTANDING: usize = 1024;
/// When a sender asks again for a receipt that cannot be read.
const PROOF_RETRY: Span = Span::minutes(1);
/// Bytes of answers gathered into one write.
const GATHER: usize = 64 * 1024;

/// Serves a lane whose first header was read.
pub(crate) async fn run(
    peer: &Peer,
    send: &mut SendStream,
    recv: BufReader<RecvStream>,
    first: Header,
) -> Result<(), Refusal> {
    let id = peer.shared.lane_id();
    let (out, answers) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(OUTSTANDING));
    let engine = &peer.shared.service.engine;
    engine.bring(Some(Attach::Lane(id, out)), None, 0).await;
    let outcome = {
        let reading = read(peer, id, recv, first, Arc::clone(&places));
        let writing = write(peer, send, answers, &places);
        tokio::pin!(reading, writing);
        tokio::select! {
            // The agent has no more to submit; its last answers still come.
            read = &mut reading => match read {
                Ok(()) => {
                    tokio::select! {
                        _ = peer.conn.closed() => Ok(()),
                        all = places.acquire_many(u32::try_from(OUTSTANDING).unwrap_or(u32::MAX)) => {
                            drop(all);
                            Ok(())
                        }
                        written = &mut writing => written,
                    }
                }
                Err(refusal) => Err(refusal),
            },
            written = &mut writing => written,
        }
    };
    engine.bring(Some(Attach::LaneClosed(id)), None, 0).await;
    if outcome.is_ok() {
        _ = send.finish();
    }
    outcome
}

async fn read(
    peer: &Peer,
    id: seinhuis_broker_core::LaneId,
    mut recv: BufReader<RecvStream>,
    first: Header,
    places: Arc<Semaphore>,
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
        let Ok(place) = places.acquire().await else { return Ok(()) };
        // Given back by the writer, one for each answer.
        place.forget();
        let bytes = match quic::payload(&mut recv, header).await {
            Ok(bytes) => bytes,
            Err(FrameError::Refused(refusal)) => return Err(refusal),
            Err(FrameError::Broken(_)) => return Ok(()),
        };
        // Of the whole, only what is complete takes up a part: the engine always gives that back.
        let Ok(memory) = Arc::clone(&peer.shared.memory).acquire_many_owned(kib).await else { return Ok(()) };
        drop(share);
        let length = bytes.len();
        let examined = Received::new(bytes, peer.oin).authenticate(&engine.directory());
        let input = Input::Submitted { conn: peer.id, lane: id, examined };
        if !engine.bring_holding(input, length, memory).await {
            return Err(Refusal::StorageFailed);
        }
        header = match quic::header(&mut recv).await {
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
    places: &Semaphore,
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
        places.add_permits(count);
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
