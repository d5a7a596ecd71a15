//! The transport for networks that stop UDP: HTTP/2 (RFC 9113) over TLS 1.3 over TCP. A stream is an HTTP/2 stream, a
//! refusal's number closes the connection as the error code of GOAWAY, and PING keeps it alive.
//!
//! HTTP/2 has no streams that a server opens: the agent asks for one, with [`DELIVERIES`], before the broker writes it.

mod driver;
mod socket;
#[cfg(test)]
mod tests;

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::{Method, Request, StatusCode};
use rustls_pki_types::{CertificateDer, ServerName};
use seinhuis_shared::limits::{STREAMS_MAX, UNI_STREAMS_MAX};
use seinhuis_shared::refusal::Refusal;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub use socket::listen;

use super::Closed;
use crate::quic::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::tls::ALPN_TCP;
use driver::{Doors, Driver};
use socket::{Io, linger};

/// The path of a stream in both directions, with POST.
pub const STREAM: &str = "/stream";
/// The path of the stream to the broker alone, with POST.
pub const ACKNOWLEDGEMENTS: &str = "/acknowledgements";
/// The path of the stream to the agent alone, with GET.
pub const DELIVERIES: &str = "/deliveries";

/// Most bytes of the headers of a request or an answer.
const HEADERS_MAX: u32 = 4096;
/// Most bytes that are copied into one piece of a stream.
const PIECE: usize = 64 * 1024;
/// How long what is being closed may take to be sent and read.
const PARTING: Duration = Duration::from_secs(1);

/// A connection over TCP. Clones are the same connection.
#[derive(Debug, Clone)]
pub struct TcpConnection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    remote: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    /// How the connection ended; the first that says so counts.
    ended: watch::Sender<Option<Closed>>,
    /// That this side wants to close it, and why.
    closing: watch::Sender<Option<Reason>>,
    side: Side,
}

#[derive(Debug)]
enum Side {
    Dialled { requests: SendRequest<Bytes>, authority: String },
    Accepted(Box<Accepted>),
}

/// What the other side opened.
#[derive(Debug)]
struct Accepted {
    both: Mutex<mpsc::Receiver<(TcpSend, TcpRecv)>>,
    up: Mutex<mpsc::Receiver<TcpRecv>>,
    down: Mutex<mpsc::Receiver<TcpSend>>,
}

/// Lets an agent in: TLS, then HTTP/2. The caller bounds the time.
///
/// # Errors
/// Why there is no connection.
pub async fn accept(socket: TcpStream, config: Arc<rustls::ServerConfig>) -> Result<TcpConnection, Closed> {
    let remote = socket::prepare(&socket)?;
    let tls = match TlsAcceptor::from(config).accept(socket).into_fallible().await {
        Ok(tls) => TlsStream::from(tls),
        Err((error, socket)) => {
            // Whoever was refused may be writing still, and would not get to read why. Meanwhile it keeps its place
            // among the handshakes.
            linger(socket, PARTING).await;
            return Err(Closed::from(&error));
        }
    };
    let (io, chain) = secured(tls)?;
    let heard = io.heard();
    let connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX.saturating_add(UNI_STREAMS_MAX))
        .max_header_list_size(HEADERS_MAX)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(|error| heard.why().unwrap_or_else(|| driver::ended_with(&error)))?;
    let (both, both_in) = mpsc::channel(usize::try_from(STREAMS_MAX).unwrap_or_default());
    let (up, up_in) = mpsc::channel(usize::try_from(UNI_STREAMS_MAX).unwrap_or_default());
    let (down, down_in) = mpsc::channel(1);
    let accepted = Accepted { both: Mutex::new(both_in), up: Mutex::new(up_in), down: Mutex::new(down_in) };
    let (driver, connection_handle) = Driver::new(heard, remote, chain, Side::Accepted(Box::new(accepted)));
    tokio::spawn(driver.serve(connection, Doors { both, up, down }));
    Ok(connection_handle)
}

/// Connects to a broker: TLS, then HTTP/2. The caller bounds the time.
///
/// # Errors
/// Why there is no connection. There may seem to be one though the broker refuses this side, since TLS 1.3 has it
/// judge last.
pub async fn connect(
    socket: TcpStream,
    config: Arc<rustls::ClientConfig>,
    server_name: &str,
) -> Result<TcpConnection, Closed> {
    let broken = |error: &dyn std::fmt::Display| Closed::Broken(error.to_string());
    let remote = socket::prepare(&socket)?;
    let name = ServerName::try_from(server_name.to_owned()).map_err(|error| broken(&error))?;
    let tls = TlsConnector::from(config).connect(name, socket).await.map_err(|error| Closed::from(&error))?;
    let (io, chain) = secured(TlsStream::from(tls))?;
    let heard = io.heard();
    let (requests, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(usize::try_from(STREAMS_MAX).unwrap_or_default())
        .max_header_list_size(HEADERS_MAX)
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(|error| heard.why().unwrap_or_else(|| driver::ended_with(&error)))?;
    let authority =
        if server_name.contains(':') { format!("[{server_name}]") } else { server_name.to_owned() };
    let (driver, handle) = Driver::new(heard, remote, chain, Side::Dialled { requests, authority });
    tokio::spawn(driver.dial(connection));
    Ok(handle)
}

/// What TLS has settled: only this protocol goes on, and the certificates are at hand.
fn secured(tls: TlsStream<TcpStream>) -> Result<(Io, Vec<CertificateDer<'static>>), Closed> {
    let (_, session) = tls.get_ref();
    // A peer that names no protocol at all passes TLS.
    let right = session.alpn_protocol() == Some(ALPN_TCP);
    let chain = session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
    let io = Io::new(tls);
    if right { Ok((io, chain)) } else { Err(Closed::Foreign) }
}

impl TcpConnection {
    pub(super) async fn open_bi(&self) -> Result<(TcpSend, TcpRecv), Closed> {
        let (send, response) = self.ask(Method::POST, STREAM, false).await?;
        Ok((send, TcpRecv::awaiting(response)))
    }

    pub(super) async fn open_uni(&self) -> Result<TcpSend, Closed> {
        match &self.0.side {
            Side::Dialled { .. } => Ok(self.ask(Method::POST, ACKNOWLEDGEMENTS, false).await?.0),
            Side::Accepted(accepted) => self.next(&accepted.down).await,
        }
    }

    pub(super) async fn accept_bi(&self) -> Result<(TcpSend, TcpRecv), Closed> {
        match &self.0.side {
            Side::Accepted(accepted) => self.next(&accepted.both).await,
            // A broker opens none.
            Side::Dialled { .. } => Err(self.closed().await),
        }
    }

    pub(super) async fn accept_uni(&self) -> Result<TcpRecv, Closed> {
        match &self.0.side {
            Side::Accepted(accepted) => self.next(&accepted.up).await,
            Side::Dialled { .. } => {
                let (_, response) = self.ask(Method::GET, DELIVERIES, true).await?;
                Ok(TcpRecv::awaiting(response))
            }
        }
    }

    async fn next<T>(&self, opened: &Mutex<mpsc::Receiver<T>>) -> Result<T, Closed> {
        let ended = self.closed();
        let mut opened = opened.lock().await;
        tokio::select! {
            biased;
            closed = ended => Err(closed),
            Some(stream) = opened.recv() => Ok(stream),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &'static str,
        whole: bool,
    ) -> Result<(TcpSend, ResponseFuture), Closed> {
        let Side::Dialled { requests, authority } = &self.0.side else {
            // Only who dialled asks.
            return Err(self.closed().await);
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{authority}{path}"))
            .body(())
            .map_err(|error| Closed::Broken(error.to_string()))?;
        let asked = match requests.clone().ready().await {
            Ok(mut requests) => requests.send_request(request, whole),
            Err(error) => Err(error),
        };
        match asked {
            Ok((response, send)) => Ok((TcpSend { stream: send, _other: None }, response)),
            // The connection's own end says more; it is noted in a moment.
            Err(error) => Err(tokio::time::timeout(PARTING, self.closed())
                .await
                .unwrap_or_else(|_| driver::ended_with(&error))),
        }
    }

    pub(super) fn close(&self, reason: Option<Refusal>) {
        note(&self.0.ended, Closed::Local);
        let reason = Reason::from(reason.map_or(0, |refusal| u32::from(refusal.number())));
        note(&self.0.closing, reason);
    }

    pub(super) async fn closed(&self) -> Closed {
        let mut ended = self.0.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Closed::Local),
            // The sender is held by this very connection.
            Err(_) => Closed::Local,
        }
    }

    /// Nobody but the driver listens for the wish to close.
    pub(super) async fn gone(&self) {
        self.0.closing.closed().await;
    }

    pub(super) fn close_reason(&self) -> Option<Closed> {
        self.0.ended.borrow().clone()
    }

    pub(super) fn peer_chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    pub(super) fn remote_address(&self) -> SocketAddr {
        self.0.remote
    }
}

/// Notes something, such as how a connection ended, unless that is known.
fn note<T>(cell: &watch::Sender<Option<T>>, value: T) {
    cell.send_if_modified(|noted| {
        let first = noted.is_none();
        if first {
            *noted = Some(value);
        }
        first
    });
}

/// The half of a stream that is written. Dropped before its end it ends there, as with QUIC.
#[derive(Debug)]
pub struct TcpSend {
    stream: h2::SendStream<Bytes>,
    /// The half that has no use, of a stream in one direction.
    _other: Option<h2::RecvStream>,
}

impl TcpSend {
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = rest.len().min(PIECE);
            let room = poll_fn(|cx| self.poll_room(cx, wanted)).await?;
            let (piece, later) = rest.split_at(room.min(wanted));
            self.stream.send_data(Bytes::copy_from_slice(piece), false).map_err(io::Error::other)?;
            rest = later;
        }
        Ok(())
    }

    /// How many bytes the other side takes now: at least one.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.stream.reserve_capacity(wanted);
        loop {
            if self.stream.capacity() > 0 {
                return Poll::Ready(Ok(self.stream.capacity()));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.stream.send_data(Bytes::new(), true).map_err(io::Error::other)
    }

    pub(super) async fn stopped(&mut self) {
        // Whatever it is, the other side wants no more.
        drop(poll_fn(|cx| self.stream.poll_reset(cx)).await);
    }
}

impl Drop for TcpSend {
    fn drop(&mut self) {
        // One that has ended needs no end.
        _ = self.finish();
    }
}

/// The half of a stream that is read.
#[derive(Debug)]
pub struct TcpRecv {
    from: Body,
    /// What was received and not read yet.
    piece: Bytes,
    /// The half that has no use, of a stream in one direction.
    _other: Option<h2::SendStream<Bytes>>,
}

#[derive(Debug)]
enum Body {
    /// The broker has not answered yet.
    Awaited(ResponseFuture),
    Open(h2::RecvStream),
}

impl TcpRecv {
    const fn awaiting(response: ResponseFuture) -> Self {
        Self { from: Body::Awaited(response), piece: Bytes::new(), _other: None }
    }

    pub(super) fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.from {
                Body::Awaited(response) => {
                    let response = ready!(Pin::new(response).poll(cx)).map_err(io::Error::other)?;
                    if response.status() != StatusCode::OK {
                        return Poll::Ready(Err(io::Error::other(response.status().to_string())));
                    }
                    this.from = Body::Open(response.into_body());
                }
                Body::Open(body) if this.piece.is_empty() => match ready!(body.poll_data(cx)) {
                    Some(piece) => this.piece = piece.map_err(io::Error::other)?,
                    None => return Poll::Ready(Ok(())),
                },
                Body::Open(body) => {
                    let length = this.piece.len().min(buf.remaining());
                    buf.put_slice(this.piece.get(..length).unwrap_or_default());
                    this.piece.advance(length);
                    // Makes room for as much again.
                    body.flow_control().release_capacity(length).map_err(io::Error::other)?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
