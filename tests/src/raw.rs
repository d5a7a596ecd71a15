//! A peer that speaks the protocol by hand.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TransportConfig, VarInt};
use seinhuis_agent::home::Home;
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::receipt::{CheckpointCache, LogKey, Receipt, VerifiedReceipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{Deferred, Hello, Message as _, Offer, Refuse, VERSION, Verdict, Welcome};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::BrokerCard;
use seinhuis_shell::link::{Closed, Connection, RecvStream, SendStream, tcp};
use seinhuis_shell::quic;
use seinhuis_shell::tls::{self, Kx};
use tokio::net::TcpStream;

/// How long a raw peer waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What went differently from a conversation.
#[derive(Debug)]
pub enum RawError {
    /// The other side refused with this reason.
    Refused(Refusal),
    /// The connection ended without a reason that is in the table.
    Ended(String),
    /// Our own side is wrong.
    Own(Complaint),
}

impl From<Complaint> for RawError {
    fn from(complaint: Complaint) -> Self {
        Self::Own(complaint)
    }
}

impl RawError {
    /// The reason, if it was a refusal.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            Self::Ended(_) | Self::Own(_) => None,
        }
    }

    /// What a closed connection says.
    pub fn of(closed: &Closed) -> Self {
        if let Closed::Remote(Some(refusal)) = closed {
            Self::Refused(*refusal)
        } else {
            Self::Ended(closed.to_string())
        }
    }
}

/// What a peer connects over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// QUIC.
    Quic,
    /// TLS over TCP, at the card's fallback address.
    Tcp,
}

/// A connection on which nothing was said yet.
#[derive(Debug)]
pub struct Line {
    /// The connection.
    pub conn: Connection,
    /// What a QUIC connection lives on.
    endpoint: Option<Endpoint>,
}

/// What a broker answers to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Final.
    Verdict(Verdict),
    /// Not now.
    Deferred(Deferred),
}

/// An open session.
#[derive(Debug)]
pub struct Raw {
    /// The connection.
    pub conn: Connection,
    /// What the broker said at the beginning.
    pub welcome: Welcome,
    session: (SendStream, RecvStream),
    lane: Option<(SendStream, RecvStream)>,
    deliveries: Option<RecvStream>,
    acknowledgements: Option<SendStream>,
    endpoint: Option<Endpoint>,
    log: LogKey,
}

/// Connects with the identity in an agent's folder, without saying hello.
///
/// # Errors
/// What the handshake ends with.
pub async fn connect(over: Over, home: &Path, card: &BrokerCard) -> Result<Line, RawError> {
    dial(over, client_config(home)?, card).await
}

/// TLS as an agent sets it up from its folder.
fn client_config(home: &Path) -> Result<rustls::ClientConfig, Complaint> {
    let home = Home::new(home);
    let grant = home.load_grant()?;
    tls::client_config(&home.renewal().identity(&grant)?, &grant.trust()?, Kx::Hybrid)
}

/// Connects with any identity.
///
/// # Errors
/// What the handshake ends with.
pub async fn connect_as(
    over: Over,
    identity: &tls::Identity,
    trust: &tls::Trust,
    card: &BrokerCard,
) -> Result<Line, RawError> {
    dial(over, tls::client_config(identity, trust, Kx::Hybrid)?, card).await
}

/// Connects without any certificate.
///
/// # Errors
/// What the handshake ends with. It may seem to succeed, since TLS 1.3 has the broker judge last.
pub async fn connect_anonymously(
    over: Over,
    trust: &tls::Trust,
    card: &BrokerCard,
) -> Result<Line, RawError> {
    let bug = |error: rustls::Error| RawError::Own(Complaint::bug(error.to_string()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trust.ca.clone()).map_err(bug)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(bug)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    dial(over, config, card).await
}

async fn dial(over: Over, rustls: rustls::ClientConfig, card: &BrokerCard) -> Result<Line, RawError> {
    match over {
        Over::Quic => dial_quic(rustls, card, quic::transport(true, true)).await,
        Over::Tcp => dial_tcp(rustls, card, tls::ALPN_TCP).await,
    }
}

/// Connects over TCP, with these settings and this protocol.
///
/// # Errors
/// What the handshake ends with.
pub async fn dial_tcp(
    mut rustls: rustls::ClientConfig,
    card: &BrokerCard,
    alpn: &[u8],
) -> Result<Line, RawError> {
    let place = card.fallback.as_ref().ok_or_else(|| Complaint::bug("a card without a fallback"))?;
    rustls.alpn_protocols = [alpn].into_iter().filter(|alpn| !alpn.is_empty()).map(<[u8]>::to_vec).collect();
    let ended = |error: std::io::Error| RawError::Ended(error.to_string());
    let socket = TcpStream::connect(place).await.map_err(ended)?;
    let connecting = tcp::connect(socket, Arc::new(rustls), &card.server_name);
    let conn = connecting.await.map_err(|closed| RawError::of(&closed))?;
    Ok(Line { conn: conn.into(), endpoint: None })
}

async fn dial_quic(
    rustls: rustls::ClientConfig,
    card: &BrokerCard,
    transport: Arc<TransportConfig>,
) -> Result<Line, RawError> {
    let bug = |text: String| RawError::Own(Complaint::bug(text));
    let crypto = QuicClientConfig::try_from(rustls).map_err(|error| bug(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport);
    let endpoint =
        Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(|error| bug(error.to_string()))?;
    let address: SocketAddr = card.address.parse().map_err(|_| bug("the card's address".into()))?;
    let connecting =
        endpoint.connect_with(config, address, &card.server_name).map_err(|error| bug(error.to_string()))?;
    let conn = connecting.await.map_err(|error| RawError::of(&error.into()))?;
    Ok(Line { conn: conn.into(), endpoint: Some(endpoint) })
}

impl Raw {
    /// Connects as an agent and says hello.
    ///
    /// # Errors
    /// A refusal, or how the connection ended.
    pub async fn open(home: &Path) -> Result<Self, RawError> {
        Self::open_over(Over::Quic, home).await
    }

    /// As [`Self::open`], over either transport.
    ///
    /// # Errors
    /// A refusal, or how the connection ended.
    pub async fn open_over(over: Over, home: &Path) -> Result<Self, RawError> {
        let card = BrokerCard::load(&home.join("broker.json"))?;
        let line = connect(over, home, &card).await?;
        Self::hello(line, &card, VERSION).await
    }

    /// As [`Self::open`], with room for this many bytes that were not read: a peer that soon has the broker stand still
    /// in front of it.
    ///
    /// # Errors
    /// A refusal, or how the connection ended.
    pub async fn open_narrow(home: &Path, room: u32) -> Result<Self, RawError> {
        let card = BrokerCard::load(&home.join("broker.json"))?;
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(room))
            .receive_window(VarInt::from_u32(room))
            .keep_alive_interval(Some(Duration::from_secs(5)));
        let line = dial_quic(client_config(home)?, &card, Arc::new(transport)).await?;
        Self::hello(line, &card, VERSION).await
    }

    /// Says hello in a given version on a fresh connection.
    ///
    /// # Errors
    /// A refusal, or how the connection ended.
    pub async fn hello(line: Line, card: &BrokerCard, version: u8) -> Result<Self, RawError> {
        let Line { conn, endpoint } = line;
        let key = card.log_key.parse().map_err(|_| RawError::Own(Complaint::bug("the card's log key")))?;
        let log = LogKey { origin: card.log_origin.clone(), key };
        let mut session = conn.open_bi().await.map_err(|error| RawError::of(&error))?;
        let hello =
            Hello { version, software: "raw/1".into(), cosigned: seinhuis_shared::cbor::Bytes::default() };
        send(&conn, &mut session.0, &hello.to_frame().map_err(RawError::Refused)?).await?;
        let payload = expect(&conn, &mut session.1, Kind::Welcome).await?;
        let welcome = Welcome::parse(&payload).map_err(RawError::Refused)?;
        Ok(Self {
            conn,
            welcome,
            session,
            lane: None,
            deliveries: None,
            acknowledgements: None,
            endpoint,
            log,
        })
    }

    /// Sends bytes on the lane as they are, frame and all.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), RawError> {
        if self.lane.is_none() {
            self.lane = Some(self.conn.open_bi().await.map_err(|error| RawError::of(&error))?);
        }
        match &mut self.lane {
            Some((lane, _)) => send(&self.conn, lane, bytes).await,
            None => Ok(()),
        }
    }

    /// Submits a packet without waiting.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn submit(&mut self, packet: &[u8]) -> Result<(), RawError> {
        let frame = frame::encode(Kind::Submit, packet).map_err(RawError::Refused)?;
        self.send_raw(&frame).await
    }

    /// Says that nothing more comes on the lane.
    pub fn finish_lane(&mut self) {
        if let Some((lane, _)) = &mut self.lane {
            // A lane that is gone has no more to say either.
            _ = lane.finish();
        }
    }

    /// Leaves the lane; the next submission opens another.
    pub fn drop_lane(&mut self) {
        self.lane = None;
    }

    /// The next frame on the lane.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn on_lane(&mut self) -> Result<(Kind, Vec<u8>), RawError> {
        let conn = self.conn.clone();
        let Some((_, lane)) = &mut self.lane else {
            return Err(RawError::Own(Complaint::bug("nothing was submitted")));
        };
        read(&conn, lane).await
    }

    /// The next answer on the lane.
    ///
    /// # Errors
    /// A refusal of the lane, or how the connection ended.
    pub async fn answer(&mut self) -> Result<Answer, RawError> {
        let (kind, payload) = self.on_lane().await?;
        if kind == Kind::Verdict {
            Verdict::parse(&payload).map(Answer::Verdict).map_err(RawError::Refused)
        } else if kind == Kind::Deferred {
            Deferred::parse(&payload).map(Answer::Deferred).map_err(RawError::Refused)
        } else {
            Err(refused_or_odd(kind, &payload))
        }
    }

    /// Submits a packet and gives its verdict with the verified receipt.
    ///
    /// # Errors
    /// Anything but a verdict with a receipt that holds.
    pub async fn verdict(&mut self, packet: &[u8]) -> Result<(Verdict, VerifiedReceipt), RawError> {
        self.submit(packet).await?;
        match self.answer().await? {
            Answer::Verdict(verdict) => {
                let receipt = Receipt::parse(&verdict.receipt)
                    .and_then(|receipt| receipt.verify(&self.log, &mut CheckpointCache::default()))
                    .map_err(|error| RawError::Own(Complaint::bug(error.to_string())))?;
                Ok((verdict, receipt))
            }
            Answer::Deferred(deferred) => Err(Refusal::from_number(deferred.reason)
                .map_or_else(|| RawError::Ended("an unknown reason".into()), RawError::Refused)),
        }
    }

    /// Makes a request on a stream of its own.
    ///
    /// # Errors
    /// A refusal, or how the connection ended.
    pub async fn request(&self, kind: Kind, payload: &[u8], answer: Kind) -> Result<Vec<u8>, RawError> {
        let (mut to, mut from) = self.conn.open_bi().await.map_err(|error| RawError::of(&error))?;
        send(&self.conn, &mut to, &frame::encode(kind, payload).map_err(RawError::Refused)?).await?;
        _ = to.finish();
        expect(&self.conn, &mut from, answer).await
    }

    /// The next offer.
    ///
    /// # Errors
    /// How the connection ended, or that nothing came in time.
    pub async fn offer(&mut self) -> Result<Offer, RawError> {
        if self.deliveries.is_none() {
            let accepted = tokio::time::timeout(PATIENCE, self.conn.accept_uni()).await;
            let stream = accepted.map_err(|_| RawError::Ended("no delivery came".into()))?;
            self.deliveries = Some(stream.map_err(|error| RawError::of(&error))?);
        }
        let Some(stream) = &mut self.deliveries else { return Err(RawError::Ended("no stream".into())) };
        loop {
            match read(&self.conn, stream).await? {
                // How the covenants stand, and what became of packets, is told on this stream too.
                (Kind::Agreements | Kind::Notices, _) => {}
                (Kind::Offer, payload) => return Offer::parse(&payload).map_err(RawError::Refused),
                (kind, payload) => return Err(refused_or_odd(kind, &payload)),
            }
        }
    }

    /// Takes in nothing more that is delivered, and says so; something has to have been offered before.
    pub fn stop_deliveries(&mut self) {
        self.deliveries = None;
    }

    /// Sends a signed acknowledgement.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn acknowledge(&mut self, signed: &[u8]) -> Result<(), RawError> {
        if self.acknowledgements.is_none() {
            self.acknowledgements = Some(self.conn.open_uni().await.map_err(|error| RawError::of(&error))?);
        }
        let frame = frame::encode(Kind::Acknowledge, signed).map_err(RawError::Refused)?;
        match &mut self.acknowledgements {
            Some(stream) => send(&self.conn, stream, &frame).await,
            None => Ok(()),
        }
    }

    /// Waits until the other side closes; the reason.
    pub async fn closed(&self) -> RawError {
        match tokio::time::timeout(PATIENCE, self.conn.closed()).await {
            Ok(error) => RawError::of(&error),
            Err(_) => RawError::Ended("it stayed open".into()),
        }
    }

    /// Waits until the connection ends, for as long as that takes.
    pub async fn closed_at_all(&self) -> RawError {
        RawError::of(&self.conn.closed().await)
    }

    /// The log's public identity, from the broker card.
    pub const fn log(&self) -> &LogKey {
        &self.log
    }

    /// Ends the session.
    pub async fn close(mut self) {
        _ = self.session.0.finish();
        self.conn.close(None);
        if let Some(endpoint) = self.endpoint {
            endpoint.wait_idle().await;
        }
    }
}

async fn send(conn: &Connection, stream: &mut SendStream, bytes: &[u8]) -> Result<(), RawError> {
    match tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(conn
            .close_reason()
            .map_or_else(|| RawError::Ended(error.to_string()), |reason| RawError::of(&reason))),
        Err(_) => Err(RawError::Ended("nothing more can be sent".into())),
    }
}

async fn read(conn: &Connection, stream: &mut RecvStream) -> Result<(Kind, Vec<u8>), RawError> {
    match tokio::time::timeout(PATIENCE, quic::frame(stream)).await {
        Ok(Ok(Some(frame))) => Ok(frame),
        Ok(Ok(None) | Err(_)) => {
            let reason = tokio::time::timeout(Duration::from_secs(2), conn.closed()).await;
            Err(reason
                .map_or_else(|_| RawError::Ended("the stream ended".into()), |error| RawError::of(&error)))
        }
        Err(_) => Err(RawError::Ended("no answer came".into())),
    }
}

async fn expect(conn: &Connection, stream: &mut RecvStream, wanted: Kind) -> Result<Vec<u8>, RawError> {
    let (kind, payload) = read(conn, stream).await?;
    if kind == wanted { Ok(payload) } else { Err(refused_or_odd(kind, &payload)) }
}

fn refused_or_odd(kind: Kind, payload: &[u8]) -> RawError {
    let reason = (kind == Kind::Refuse).then(|| Refuse::parse(payload).ok()).flatten();
    reason
        .and_then(|refuse| Refusal::from_number(refuse.reason))
        .map_or_else(|| RawError::Ended(format!("an unexpected {kind:?}")), RawError::Refused)
}
