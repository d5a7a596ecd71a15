//! Agents as the broker meets them: a certificate, a connection, a hello, a question.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{ClientConfig, ConnectionError, Endpoint, TransportErrorCode};
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::wire::{FetchPrekeys, Message as _};
use seinhuis_shell::grant::Grant;
use seinhuis_shell::keys::TlsKey;
use seinhuis_shell::link::{Connection, RecvStream, SendStream};
use seinhuis_shell::quic;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::crowd::{HOST, client, greet};
use super::partnership::Partnership;

/// How long an agent waits for an answer to an attempt, as in `agent/src/link/mod.rs`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Agents on one UDP socket: one each would ask for more memory than the rest of what is measured.
const AGENTS_EACH: usize = 100;
/// Handshakes under way at one time while agents are gathered, below what a broker lets in (`transport.max_handshakes`).
const GATHERING: usize = 64;

/// One that can connect.
pub(crate) struct Agent {
    config: ClientConfig,
}

/// One that is connected.
pub(crate) struct Session {
    pub(crate) conn: Connection,
    _stream: (SendStream, RecvStream),
}

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failed {
    /// The broker had too many handshakes under way.
    TurnedAway,
    /// Nothing came within [`PATIENCE`].
    Silence,
    /// The broker did not know the connection.
    Reset,
    /// There was a connection, and no welcome.
    NoWelcome,
    /// The broker gave it up before the handshake was done.
    GivenUp,
    /// Anything else.
    Other,
}

impl From<ConnectionError> for Failed {
    fn from(error: ConnectionError) -> Self {
        let closed =
            |code| matches!(&error, ConnectionError::ConnectionClosed(close) if close.error_code == code);
        if closed(TransportErrorCode::CONNECTION_REFUSED) {
            Self::TurnedAway
        } else if closed(TransportErrorCode::APPLICATION_ERROR) {
            Self::GivenUp
        } else if error == ConnectionError::TimedOut {
            Self::Silence
        } else if error == ConnectionError::Reset {
            Self::Reset
        } else {
            eprintln!("an attempt failed: {error}");
            Self::Other
        }
    }
}

impl Agent {
    /// One with this certificate.
    pub(crate) fn new(key: &TlsKey, grant: &Grant) -> Self {
        Self { config: client(key, grant) }
    }

    /// One attempt.
    pub(crate) async fn dial(&self, socket: &Endpoint, broker: SocketAddr) -> Result<Session, Failed> {
        let attempt = async {
            let connecting = socket.connect_with(self.config.clone(), broker, HOST).unwrap();
            let conn = Connection::from(connecting.await?);
            let stream = greet(&conn).await.ok_or(Failed::NoWelcome)?;
            Ok(Session { conn, _stream: stream })
        };
        tokio::time::timeout(PATIENCE, attempt).await.unwrap_or(Err(Failed::Silence))
    }
}

impl Session {
    /// Asks for the prekeys of nobody, which the engine answers; how long that took, if an answer came.
    pub(crate) async fn ask(&self) -> Option<Duration> {
        let begun = Instant::now();
        let (mut send, mut recv) = self.conn.open_bi().await.ok()?;
        send.write_all(&FetchPrekeys { oins: Vec::new() }.to_frame().ok()?).await.ok()?;
        send.finish().ok()?;
        let (kind, _) = quic::frame(&mut recv).await.ok()??;
        matches!(kind, Kind::Prekeys | Kind::Refuse).then(|| begun.elapsed())
    }

    /// Submits a packet; how long it took until it was accepted.
    pub(crate) async fn submit(&self, packet: &[u8]) -> Duration {
        let begun = Instant::now();
        let (mut send, mut recv) = self.conn.open_bi().await.unwrap();
        send.write_all(&frame::encode(Kind::Submit, packet).unwrap()).await.unwrap();
        let (kind, _) = quic::frame(&mut recv).await.unwrap().unwrap();
        assert_eq!(kind, Kind::Verdict);
        begun.elapsed()
    }

    /// Waits for the first packet that is offered.
    pub(crate) async fn offered(&self) {
        let mut stream = self.conn.accept_uni().await.unwrap();
        while quic::frame(&mut stream).await.unwrap().unwrap().0 != Kind::Offer {}
    }
}

/// A UDP socket for each hundred agents.
pub(crate) fn sockets(agents: usize) -> Vec<Endpoint> {
    let bind = || Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    (0..agents.div_ceil(AGENTS_EACH)).map(|_| bind()).collect()
}

/// The socket of the agent with this number.
pub(crate) fn socket(sockets: &[Endpoint], agent: usize) -> &Endpoint {
    &sockets[agent / AGENTS_EACH]
}

/// Connects agents from one number up to another, a few at a time; their sessions, in order.
pub(crate) async fn gather(
    partnership: &Partnership,
    sockets: &[Endpoint],
    range: std::ops::Range<usize>,
) -> Vec<Session> {
    let room = Arc::new(Semaphore::new(GATHERING));
    let mut dialling = JoinSet::new();
    for at in range {
        let (agent, socket) = (Arc::clone(&partnership.agents[at]), socket(sockets, at).clone());
        let (room, broker) = (Arc::clone(&room), partnership.address);
        dialling.spawn(async move {
            let _place = room.acquire().await.unwrap();
            (at, agent.dial(&socket, broker).await)
        });
    }
    let mut sessions: Vec<(usize, Session)> = Vec::new();
    while let Some(dialled) = dialling.join_next().await {
        let (at, session) = dialled.unwrap();
        sessions.push((at, session.unwrap()));
    }
    sessions.sort_unstable_by_key(|(at, _)| *at);
    sessions.into_iter().map(|(_, session)| session).collect()
}
