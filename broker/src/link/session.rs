//! One connection, from hello to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use seinhuis_broker_core::{ConnId, Heard, Input, ReceiptSource, Send};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{Agreements, Cases, Hello, Message as _, NoticesTaken, Offer};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::link::{Connection, RecvStream, SendStream};
use seinhuis_shell::quic::{self, FrameError};
use seinhuis_shell::tls;
use tokio::io::BufReader;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::share::Share;
use super::{Shared, entries, lane, request};
use crate::engine::{Attach, Inlet, outlet};

/// Longest wait for a hello, and for its answer to be taken in.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a session lasts in which nothing more is taken in: an agent that stops waits for its answers for less.
const LEAVING: Duration = Duration::from_mins(1);
/// Bytes of offers gathered into one write.
const GATHER: usize = 64 * 1024;

/// Bytes of packets and requests that may be coming in on one connection, in KiB: a few of the largest.
const READING_KIB: usize = 4 * 1024;
/// Most submissions of one connection without an answer that was written: who reads no answers submits no more.
const ANSWERS: usize = 2048;
/// Most requests of one connection without an answer that was written.
const REQUESTS: usize = 16;

/// What the tasks of one connection share.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) conn: Connection,
    pub(crate) id: ConnId,
    pub(crate) oin: Oin,
    /// Permits of 1 KiB for packets and requests that are coming in.
    pub(crate) reading: Arc<Semaphore>,
    /// A permit for each submission whose answer is not written.
    pub(crate) answers: Arc<Semaphore>,
    /// A permit for each request whose answer is not written.
    pub(crate) requests: Arc<Semaphore>,
    /// What this connection has in common with others of its partner.
    pub(crate) share: Arc<Share>,
    pub(crate) shared: Arc<Shared>,
    /// Tells when the broker stops.
    parting: watch::Receiver<bool>,
}

impl Peer {
    /// Brings the engine an input, in this partner's line. `false` once the engine has stopped.
    pub(crate) async fn bring(&self, attach: Option<Attach>, input: Option<Input>, bytes: usize) -> bool {
        let engine = &self.shared.service.engine;
        engine.bring_for(&self.share.bringer, attach, input, bytes, Vec::new()).await
    }

    /// As [`Self::bring`], with the memory the input takes up, which is given back once it is durable.
    pub(crate) async fn bring_holding(
        &self,
        input: Input,
        bytes: usize,
        memory: Vec<OwnedSemaphorePermit>,
    ) -> bool {
        let engine = &self.shared.service.engine;
        engine.bring_for(&self.share.bringer, None, Some(input), bytes, memory).await
    }

    /// Whether the broker stops.
    pub(crate) fn is_parting(&self) -> bool {
        *self.parting.borrow()
    }

    /// Resolves when the broker stops.
    pub(crate) async fn parting(&self) {
        let mut parting = self.parting.clone();
        // That nobody can tell it any more means the same.
        _ = parting.wait_for(|parting| *parting).await;
    }

    pub(crate) fn close(&self, reason: Refusal) {
        self.conn.close(Some(reason));
    }
}

/// Serves a connection until it ends.
pub(crate) async fn run(conn: Connection, shared: Arc<Shared>, setup: OwnedSemaphorePermit) {
    let certificate = match tls::peer(&conn.peer_chain()) {
        Ok(certificate) => certificate,
        Err(complaint) => {
            tracing::info!("{}", complaint.what.en);
            conn.close(Some(Refusal::UnknownPartner));
            return;
        }
    };
    let id = shared.conn_id();
    let share = match shared.arrive(id, conn.clone(), &certificate) {
        Ok(share) => share,
        Err(refusal) => {
            conn.close(Some(refusal));
            return;
        }
    };
    let permits = |count| Arc::new(Semaphore::new(count));
    let peer = Peer {
        conn,
        id,
        oin: certificate.oin,
        reading: permits(READING_KIB),
        answers: permits(ANSWERS),
        requests: permits(REQUESTS),
        share,
        parting: shared.parting(),
        shared: Arc::clone(&shared),
    };
    if let Err(refusal) = converse(&peer, setup).await {
        peer.close(refusal);
    }
    peer.bring(None, Some(Input::Disconnected { conn: id }), 0).await;
    // Until then a broker that stops waits for it.
    peer.conn.gone().await;
    shared.leave(id);
    tracing::info!(partner = %peer.oin, "disconnected");
}

async fn converse(peer: &Peer, setup: OwnedSemaphorePermit) -> Result<(), Refusal> {
    let (mut send, hello) = tokio::select! {
        hello = tokio::time::timeout(HELLO_TIMEOUT, hello(&peer.conn)) => {
            hello.map_err(|_| Refusal::UnexpectedMessage)??
        }
        () = peer.parting() => return Err(Refusal::Stopping),
    };
    let heard = heard(peer, hello.cosigned.clone()).await?;
    let (out, mut from_engine) = outlet();
    let over = from_engine.over();
    let input = Input::Connected { conn: peer.id, peer: peer.oin, hello, heard };
    peer.bring(Some(Attach::Conn(peer.id, out)), Some(input), 0).await;
    match from_engine.recv().await {
        Some(Send::Welcome { welcome, .. }) => {
            let frame = welcome.to_frame()?;
            // Who takes in nothing would hold one of the places for those that are being set up.
            let told = tokio::time::timeout(HELLO_TIMEOUT, send.write_all(&frame)).await;
            told.map_err(|_| Refusal::ReadsTooSlowly)?.map_err(|_| Refusal::UnexpectedMessage)?;
        }
        Some(Send::Refuse { refuse, .. }) => {
            let refusal = Refusal::from_number(refuse.reason).unwrap_or(Refusal::UnexpectedMessage);
            let told = send.write_all(&refuse.to_frame()?).await.is_ok() && send.finish().is_ok();
            if told {
                // Lets the refusal arrive before the connection goes; the close says it again.
                _ = tokio::time::timeout(Duration::from_secs(1), send.stopped()).await;
            }
            return Err(refusal);
        }
        Some(_) | None => return Err(Refusal::Stopping),
    }
    drop(setup);
    tracing::info!(partner = %peer.oin, transport = peer.conn.transport(), "connected");
    // The session stream stays open as long as the session does.
    let ended = tokio::select! {
        ended = deliveries(peer, from_engine) => ended,
        ended = acknowledgements(peer) => ended,
        ended = streams(peer) => ended,
        refusal = over.why() => Err(refusal),
        _ = peer.conn.closed() => Ok(()),
    };
    drop(send);
    ended
}

/// Holds the checkpoint in a hello against the log.
async fn heard(peer: &Peer, cosigned: Bytes) -> Result<Heard, Refusal> {
    let service = peer.shared.service.clone();
    let heard = tokio::task::spawn_blocking(move || service.hear(&cosigned)).await;
    heard.map_err(|_| Refusal::TooBusy)?.map_err(|complaint| {
        tracing::error!("{}", complaint.what.en);
        Refusal::StorageFailed
    })
}

async fn hello(conn: &Connection) -> Result<(SendStream, Hello), Refusal> {
    let (send, mut recv) = conn.accept_bi().await.map_err(|_| Refusal::UnexpectedMessage)?;
    match quic::frame(&mut recv).await {
        Ok(Some((Kind::Hello, payload))) => Ok((send, Hello::parse(&payload)?)),
        Ok(_) | Err(FrameError::Broken(_)) => Err(Refusal::UnexpectedMessage),
        Err(FrameError::Refused(refusal)) => Err(refusal),
    }
}

/// Writes offers, notices, and how covenants and cases stand, in the order in which the engine gives them.
async fn deliveries(peer: &Peer, mut from_engine: Inlet) -> Result<(), Refusal> {
    let mut stream: Option<SendStream> = None;
    let mut buffer = Vec::new();
    while let Some(first) = from_engine.recv().await {
        let mut next = Some(first);
        while let Some(send) = next.take() {
            if let Send::Close { reason, .. } = send {
                return Err(reason);
            }
            if let Send::Agreements { agreements, .. } = send {
                buffer.extend(Agreements { agreements }.to_frame()?);
            } else if let Send::Cases { cases, .. } = send {
                buffer.extend(Cases { cases }.to_frame()?);
            } else if let Send::Notices { cursor, row, .. } = send {
                let logs = peer.shared.service.logs.clone();
                let made = tokio::task::spawn_blocking(move || entries::notices(&logs, cursor, &row)).await;
                match made.map_err(|error| Complaint::bug(error.to_string())).flatten() {
                    Ok(notices) => buffer.extend(notices.to_frame()?),
                    // Damaged storage, as below.
                    Err(complaint) => tracing::error!(cursor, "{}", complaint.what.en),
                }
            } else if let Send::Witnessed { witnessed, .. } = send {
                buffer.extend(witnessed.to_frame()?);
            } else if let Send::AddCheckpoint { question, .. } = send {
                // Without the question there is no answer: it is asked again later.
                match peer.shared.service.request(question).await {
                    Ok(request) => buffer.extend(frame::encode(Kind::AddCheckpoint, &request)?),
                    Err(complaint) => tracing::error!("{}", complaint.what.en),
                }
            } else if let Send::Offer { item, bytes, receipt, .. } = send {
                match offer(peer, item.packet, bytes, receipt).await {
                    Ok(frame) => buffer.extend(frame),
                    // Damaged storage: what cannot be offered unharmed stays where it is, for the operator to
                    // look at; what stands behind it goes on.
                    Err(complaint) => tracing::error!(packet = %item.packet, "{}", complaint.what.en),
                }
            }
            if buffer.len() < GATHER {
                next = from_engine.try_recv();
            }
        }
        let stream = match &mut stream {
            Some(stream) => stream,
            None => stream.insert(peer.conn.open_uni().await.map_err(|_| Refusal::UnexpectedMessage)?),
        };
        if stream.write_all(&buffer).await.is_err() {
            let untold = tokio::time::timeout(LEAVING, untold(from_engine));
            return untold.await.unwrap_or(Ok(()));
        }
        buffer.clear();
    }
    Err(Refusal::Stopping)
}

/// Who takes in nothing more still has answers coming, as an agent that stops: what else would be told it is let go,
/// and waits for its next session.
async fn untold(mut from_engine: Inlet) -> Result<(), Refusal> {
    while let Some(send) = from_engine.recv().await {
        if let Send::Close { reason, .. } = send {
            return Err(reason);
        }
    }
    Err(Refusal::Stopping)
}

async fn offer(
    peer: &Peer,
    packet: seinhuis_shared::ids::Digest,
    bytes: Option<Arc<Vec<u8>>>,
    receipt: ReceiptSource,
) -> Result<Vec<u8>, Complaint> {
    let receipt = resolve(peer, receipt).await?;
    let bytes = if let Some(bytes) = bytes {
        Bytes::from(&bytes[..])
    } else {
        let service = peer.shared.service.clone();
        let read = tokio::task::spawn_blocking(move || service.packet(packet));
        Bytes(read.await.map_err(|error| Complaint::bug(error.to_string()))??)
    };
    Offer { packet: bytes, receipt: Bytes::from(&receipt[..]) }.to_frame().map_err(Complaint::from_refusal)
}

/// The bytes of a receipt, from the turn or from the log.
pub(crate) async fn resolve(peer: &Peer, source: ReceiptSource) -> Result<Arc<Vec<u8>>, Complaint> {
    match source {
        ReceiptSource::Fresh(bytes) => Ok(bytes),
        ReceiptSource::Stored { first, count, end, note } => {
            // Whoever has the same answered again and again reads the log for it each time: a few at a time.
            let _working = peer.share.requests.acquire().await;
            let logs = peer.shared.service.logs.clone();
            tokio::task::spawn_blocking(move || logs.receipt(first, count, end, &note))
                .await
                .map_err(|error| Complaint::bug(error.to_string()))?
                .map(Arc::new)
        }
    }
}

/// Reads acknowledgements and checks their signatures; and up to where notices are kept.
async fn acknowledgements(peer: &Peer) -> Result<(), Refusal> {
    let Ok(stream) = peer.conn.accept_uni().await else { return Ok(()) };
    let mut stream = BufReader::new(stream);
    loop {
        match quic::frame::<BufReader<RecvStream>>(&mut stream).await {
            Ok(Some((Kind::Acknowledge, payload))) => {
                let directory = peer.shared.service.engine.directory();
                let examined = peer.share.examine(|| directory.acknowledgement(&payload, &peer.oin)).await;
                let input = Input::Acknowledged { conn: peer.id, examined };
                if !peer.bring(None, Some(input), payload.len()).await {
                    return Err(Refusal::StorageFailed);
                }
            }
            Ok(Some((Kind::NoticesTaken, payload))) => {
                let NoticesTaken { cursor } = NoticesTaken::parse(&payload)?;
                let input = Input::NoticesTaken { conn: peer.id, cursor };
                if !peer.bring(None, Some(input), 0).await {
                    return Err(Refusal::StorageFailed);
                }
            }
            Ok(Some(_)) => return Err(Refusal::UnexpectedMessage),
            Err(FrameError::Refused(refusal)) => return Err(refusal),
            // The stream ended; the connection may go on without acknowledging.
            Ok(None) | Err(FrameError::Broken(_)) => {
                peer.conn.closed().await;
                return Ok(());
            }
        }
    }
}

/// Takes in lanes and requests; when the broker stops, until those that are open have their answers.
async fn streams(peer: &Peer) -> Result<(), Refusal> {
    // Nothing is ever sent on it: it ends when the last stream does.
    let (open, mut ended) = mpsc::channel::<Infallible>(1);
    loop {
        tokio::select! {
            accepted = peer.conn.accept_bi() => {
                let Ok((send, recv)) = accepted else { return Ok(()) };
                let (peer, open) = (peer.clone(), open.clone());
                tokio::spawn(async move {
                    stream(&peer, send, recv).await;
                    drop(open);
                });
            }
            () = peer.parting() => break,
        }
    }
    drop(open);
    _ = ended.recv().await;
    Err(Refusal::Stopping)
}

/// The first frame says what a stream is for.
async fn stream(peer: &Peer, mut send: SendStream, recv: RecvStream) {
    let mut recv = BufReader::with_capacity(GATHER, recv);
    let header = tokio::select! {
        header = quic::header(&mut recv) => header,
        // Nothing was said yet.
        () = peer.parting() => return,
    };
    let outcome = match header {
        Ok(Some(header)) if header.kind == Kind::Submit => lane::run(peer, &mut send, recv, header).await,
        Ok(Some(header)) => request::run(peer, &mut send, &mut recv, header).await,
        Ok(None) | Err(FrameError::Broken(_)) => Ok(()),
        Err(FrameError::Refused(refusal)) => Err(refusal),
    };
    if let Err(refusal) = outcome {
        tracing::info!(partner = %peer.oin, reason = %refusal, "a stream was refused");
        let payload = seinhuis_shared::wire::Refuse { reason: refusal.number(), retry_after: None };
        if let Ok(frame) = frame::encode(Kind::Refuse, &seinhuis_shared::cbor::encode(&payload))
            && send.write_all(&frame).await.is_ok()
        {
            _ = send.finish();
        }
    }
}
