//! Requests: one on each stream, one answer.

use std::sync::Arc;

use seinhuis_broker_core::{Ask, Consumed, Input, Send, TakeBack};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::frame::{self, Header, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{
    self, Case, Consistency, Consume, Cosigned, FetchCase, FetchConsistency, FetchCovenant, FetchEntries,
    FetchPrekeys, FetchSuccession, Message as _, Prekeys, Rotations,
};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::link::{RecvStream, SendStream};
use seinhuis_shell::quic::{self, FrameError};
use tokio::io::BufReader;
use tokio::sync::oneshot;

use super::entries;
use super::session::Peer;
use crate::engine::Attach;

/// Serves a request whose header was read.
pub(crate) async fn run(
    peer: &Peer,
    send: &mut SendStream,
    recv: &mut BufReader<RecvStream>,
    header: Header,
) -> Result<(), Refusal> {
    // Held until the answer: whoever asks without end waits on its own share, and takes nobody else's.
    let kib = u32::try_from(header.length / 1024 + 1).unwrap_or(u32::MAX);
    let Ok(_share) = Arc::clone(&peer.reading).acquire_many_owned(kib).await else { return Ok(()) };
    let Ok(_answer) = peer.requests.acquire().await else { return Ok(()) };
    let payload = match quic::payload(recv, header).await {
        Ok(payload) => payload,
        Err(FrameError::Refused(refusal)) => return Err(refusal),
        Err(FrameError::Broken(_)) => return Ok(()),
    };
    let frame = work(peer, header.kind, payload).await?;
    if send.write_all(&frame).await.is_ok() {
        _ = send.finish();
    }
    Ok(())
}

/// Has a request answered, a few of one partner at a time. Writing the answer takes as long as its reader likes, and
/// is no part of it.
async fn work(peer: &Peer, kind: Kind, payload: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let Ok(_working) = peer.share.requests.acquire().await else { return Err(Refusal::Stopping) };
    let bytes = payload.len();
    let ask = read(peer, kind, payload).await?;
    let id = peer.shared.request_id();
    let (out, answer) = oneshot::channel();
    let input = Input::Request { conn: peer.id, request: id, ask };
    peer.bring(Some(Attach::Request(id, out)), Some(input), bytes).await;
    // No answer: the session has ended or the engine has stopped.
    let Ok(answer) = answer.await else { return Err(Refusal::Stopping) };
    write(peer, answer).await
}

async fn read(peer: &Peer, kind: Kind, payload: Vec<u8>) -> Result<Ask, Refusal> {
    let directory = || peer.shared.service.engine.directory();
    match kind {
        Kind::PublishPrekeys => {
            let directory = directory();
            let bundle = peer.share.examine(|| directory.prekeys(&payload, &peer.oin)).await;
            Ok(Ask::PublishPrekeys { bytes: payload, bundle })
        }
        Kind::FetchPrekeys => Ok(Ask::FetchPrekeys(FetchPrekeys::parse(&payload)?.oins)),
        Kind::FetchCovenant => Ok(Ask::FetchCovenant(FetchCovenant::parse(&payload)?.hash)),
        Kind::Propose => Ok(Ask::Propose(compile(payload).await)),
        Kind::Vote => Ok(Ask::Vote(payload)),
        Kind::Decide => Ok(Ask::Decide(payload)),
        Kind::Rotate => Ok(Ask::Rotate(payload)),
        Kind::FetchCase => Ok(Ask::FetchCase(FetchCase::parse(&payload)?.case)),
        Kind::Cosigned => Ok(Ask::Cosigned(Cosigned::parse(&payload)?)),
        Kind::FetchEntries => Ok(Ask::FetchEntries(FetchEntries::parse(&payload)?)),
        Kind::Withdraw => {
            let directory = directory();
            let word = peer.share.examine(|| TakeBack::examine(&payload, &peer.oin, &directory)).await;
            Ok(Ask::Withdraw(word.map(Box::new)))
        }
        Kind::Consume => Ok(Ask::Consume(consumed(peer, &payload).await)),
        Kind::FetchConsistency => {
            let FetchConsistency { origin, sizes } = FetchConsistency::parse(&payload)?;
            Ok(Ask::FetchConsistency(origin, sizes))
        }
        Kind::FetchSuccession => {
            let FetchSuccession { origin, size } = FetchSuccession::parse(&payload)?;
            Ok(Ask::FetchSuccession(origin, size))
        }
        Kind::Hello
        | Kind::Welcome
        | Kind::Refuse
        | Kind::Submit
        | Kind::Verdict
        | Kind::Deferred
        | Kind::Offer
        | Kind::Acknowledge
        | Kind::Done
        | Kind::Prekeys
        | Kind::Covenant
        | Kind::Agreements
        | Kind::Case
        | Kind::Cases
        | Kind::AddCheckpoint
        | Kind::Witnessed
        | Kind::Rotations
        | Kind::Notices
        | Kind::NoticesTaken
        | Kind::Entries
        | Kind::Succession
        | Kind::Consistency => Err(Refusal::UnexpectedMessage),
    }
}

/// Checks that a message was consumed as its recipient says, against the log.
async fn consumed(peer: &Peer, payload: &[u8]) -> Result<Box<Consumed>, Refusal> {
    let consume = Consume::parse(payload)?;
    let (logs, origin, index) = (peer.shared.service.logs.clone(), consume.origin.clone(), consume.accepted);
    let read = move || {
        let found = logs.all().into_iter().find(|one| one.origin == origin);
        let found = found.filter(|one| (one.log.purged()..one.log.size()).contains(&index));
        found.map(|one| Ok((one.base + index, one.log.entry(index)?))).transpose()
    };
    let entry = tokio::task::spawn_blocking(read).await.map_err(|_| Refusal::StorageFailed)?;
    let entry = entry.map_err(|complaint: Complaint| {
        tracing::error!("{}", complaint.what.en);
        Refusal::StorageFailed
    })?;
    let directory = peer.shared.service.engine.directory();
    let entry = entry.as_ref().map(|(position, bytes): &(u64, Vec<u8>)| (*position, bytes.as_slice()));
    peer.share.examine(|| Consumed::examine(consume, entry, &peer.oin, &directory)).await.map(Box::new)
}

/// Reads and indexes a proposed version, which may take a while, away from whatever else is going on.
async fn compile(bytes: Vec<u8>) -> Result<Arc<Compiled>, Refusal> {
    let compile = move || Covenant::from_bytes(&bytes).and_then(Compiled::new).map(Arc::new);
    let compiled = tokio::task::spawn_blocking(compile).await.map_err(|_| Refusal::TooBusy)?;
    compiled.map_err(|error| {
        tracing::info!("a proposed covenant is not in order: {error}");
        Refusal::CovenantInvalid
    })
}

async fn write(peer: &Peer, answer: Send) -> Result<Vec<u8>, Refusal> {
    match answer {
        Send::Done { .. } => frame::encode(Kind::Done, &[]),
        Send::Prekeys { bundles, .. } => {
            let bundles = bundles.into_iter().map(|(oin, bytes)| (oin, Bytes(bytes))).collect();
            Prekeys { bundles }.to_frame()
        }
        Send::Covenant { agreement, rotations, .. } => {
            let document = Bytes(agreement.compiled().covenant().to_bytes());
            wire::Covenant { document, casts: agreement.casts().to_vec(), rotations }.to_frame()
        }
        Send::Rotations { rotations, .. } => Rotations { rotations }.to_frame(),
        Send::Case { decisions, .. } => Case { decisions }.to_frame(),
        Send::Entries { pick, .. } => {
            let logs = peer.shared.service.logs.clone();
            tokio::task::spawn_blocking(move || entries::picked(&logs, pick))
                .await
                .map_err(|_| Refusal::StorageFailed)??
                .to_frame()
        }
        Send::Consistency { log, sizes, .. } => {
            let pairs = sizes.windows(2).filter_map(|pair| match pair {
                [old, new] => Some((*old, *new)),
                _ => None,
            });
            let proofs = proofs(peer, log, pairs.collect()).await?;
            Consistency { proofs }.to_frame()
        }
        Send::Succession { log, proof, origin, closing, opening, .. } => {
            let proof = proofs(peer, log, proof.into_iter().collect()).await?.pop().unwrap_or_default();
            wire::Succession { origin, closing, opening, proof }.to_frame()
        }
        Send::Refuse { refuse, .. } => refuse.to_frame(),
        Send::Welcome { .. }
        | Send::Close { .. }
        | Send::Verdict { .. }
        | Send::Deferred { .. }
        | Send::Offer { .. }
        | Send::Agreements { .. }
        | Send::Cases { .. }
        | Send::Notices { .. }
        | Send::AddCheckpoint { .. }
        | Send::AskOutside { .. }
        | Send::Witnessed { .. }
        | Send::Answer { .. } => Err(Refusal::UnexpectedMessage),
    }
}

/// Consistency proofs between pairs of sizes, read from the tiles of a log.
async fn proofs(peer: &Peer, log: usize, pairs: Vec<(u64, u64)>) -> Result<Vec<Vec<Digest>>, Refusal> {
    let logs = peer.shared.service.logs.clone();
    let read = move || pairs.into_iter().map(|(old, new)| logs.consistency(log, old, new)).collect();
    let read: Result<Vec<_>, Complaint> =
        tokio::task::spawn_blocking(read).await.map_err(|_| Refusal::StorageFailed)?;
    read.map_err(|complaint| {
        tracing::error!("{}", complaint.what.en);
        Refusal::StorageFailed
    })
}
