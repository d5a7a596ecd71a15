//! A connection between an agent and the broker, over QUIC or over TCP: who speaks on it does not see which.
//!
//! Dispatch is over an enum, so that QUIC costs what it costs alone.

mod close;
pub mod tcp;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls_pki_types::CertificateDer;
use seinhuis_shared::refusal::Refusal;
use tokio::io::{AsyncRead, ReadBuf};

pub use close::Closed;

use crate::quic;
use tcp::{TcpConnection, TcpRecv, TcpSend};

/// A connection whose handshake is done. Clones are the same connection.
#[derive(Debug, Clone)]
pub enum Connection {
    /// QUIC over UDP.
    Quic(quinn::Connection),
    /// HTTP/2 over TLS over TCP.
    Tcp(TcpConnection),
}

/// The half of a stream that is written.
#[derive(Debug)]
pub enum SendStream {
    /// Of a QUIC stream.
    Quic(quinn::SendStream),
    /// Of an HTTP/2 stream.
    Tcp(TcpSend),
}

/// The half of a stream that is read.
#[derive(Debug)]
pub enum RecvStream {
    /// Of a QUIC stream.
    Quic(quinn::RecvStream),
    /// Of an HTTP/2 stream.
    Tcp(TcpRecv),
}

impl From<quinn::Connection> for Connection {
    fn from(connection: quinn::Connection) -> Self {
        Self::Quic(connection)
    }
}

impl From<TcpConnection> for Connection {
    fn from(connection: TcpConnection) -> Self {
        Self::Tcp(connection)
    }
}

impl Connection {
    /// What it goes over, for people: `quic` or `tcp`.
    pub const fn transport(&self) -> &'static str {
        match self {
            Self::Quic(_) => "quic",
            Self::Tcp(_) => "tcp",
        }
    }

    /// Opens a stream in both directions. Waits while the other side allows no more.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), Closed> {
        match self {
            Self::Quic(quic) => {
                let (send, recv) = quic.open_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
            Self::Tcp(tcp) => {
                let (send, recv) = tcp.open_bi().await?;
                Ok((SendStream::Tcp(send), RecvStream::Tcp(recv)))
            }
        }
    }

    /// Opens a stream to the other side alone.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn open_uni(&self) -> Result<SendStream, Closed> {
        match self {
            Self::Quic(quic) => Ok(SendStream::Quic(quic.open_uni().await?)),
            Self::Tcp(tcp) => tcp.open_uni().await.map(SendStream::Tcp),
        }
    }

    /// The next stream in both directions that the other side opened.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), Closed> {
        match self {
            Self::Quic(quic) => {
                let (send, recv) = quic.accept_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
            Self::Tcp(tcp) => {
                let (send, recv) = tcp.accept_bi().await?;
                Ok((SendStream::Tcp(send), RecvStream::Tcp(recv)))
            }
        }
    }

    /// The next stream to this side alone that the other side opened.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn accept_uni(&self) -> Result<RecvStream, Closed> {
        match self {
            Self::Quic(quic) => Ok(RecvStream::Quic(quic.accept_uni().await?)),
            Self::Tcp(tcp) => tcp.accept_uni().await.map(RecvStream::Tcp),
        }
    }

    /// Closes the connection with a refusal's number, or in an orderly way. What was not sent yet is not sent.
    pub fn close(&self, reason: Option<Refusal>) {
        match self {
            Self::Quic(quic) => {
                let slug = reason.map_or("", Refusal::slug);
                quic.close(reason.map_or(0_u32.into(), quic::code), slug.as_bytes());
            }
            Self::Tcp(tcp) => tcp.close(reason),
        }
    }

    /// Waits until the connection has ended; how.
    pub async fn closed(&self) -> Closed {
        match self {
            Self::Quic(quic) => quic.closed().await.into(),
            Self::Tcp(tcp) => tcp.closed().await,
        }
    }

    /// Waits until a connection that has ended is off this side's hands: its last word over TCP is with the system.
    /// Over QUIC the endpoint tells (`wait_idle`).
    pub async fn gone(&self) {
        match self {
            Self::Quic(_) => {}
            Self::Tcp(tcp) => tcp.gone().await,
        }
    }

    /// How the connection ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<Closed> {
        match self {
            Self::Quic(quic) => quic.close_reason().map(Closed::from),
            Self::Tcp(tcp) => tcp.close_reason(),
        }
    }

    /// The certificates of the other side, leaf first, as TLS has verified them.
    pub fn peer_chain(&self) -> Vec<CertificateDer<'static>> {
        match self {
            Self::Quic(quic) => quic
                .peer_identity()
                .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
                .map(|chain| *chain)
                .unwrap_or_default(),
            Self::Tcp(tcp) => tcp.peer_chain().to_vec(),
        }
    }

    /// Where the other side is now.
    pub fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Quic(quic) => quic.remote_address(),
            Self::Tcp(tcp) => tcp.remote_address(),
        }
    }
}

impl SendStream {
    /// Writes all bytes, as fast as the other side takes them.
    ///
    /// # Errors
    /// That the stream or the connection has ended.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Quic(quic) => quic.write_all(bytes).await.map_err(io::Error::from),
            Self::Tcp(tcp) => tcp.write_all(bytes).await,
        }
    }

    /// Says that no more comes on this stream.
    ///
    /// # Errors
    /// That the stream has ended already.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Quic(quic) => quic.finish().map_err(io::Error::from),
            Self::Tcp(tcp) => tcp.finish(),
        }
    }

    /// Waits until the other side has all of a finished stream, wants no more of it, or is gone. Over TCP the
    /// first of these is not told: the other side ends the stream or the connection.
    pub async fn stopped(&mut self) {
        match self {
            // Either way there is nothing more to wait for.
            Self::Quic(quic) => drop(quic.stopped().await),
            Self::Tcp(tcp) => tcp.stopped().await,
        }
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(quic) => AsyncRead::poll_read(Pin::new(quic), cx, buf),
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
        }
    }
}
