//! What is under HTTP/2: TLS over a TCP socket, that tells when it last heard something and takes its leave properly.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use seinhuis_shared::limits::IDLE_TIMEOUT;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsStream;

use crate::link::Closed;

/// Connections that the system may hold ready for a listener.
const BACKLOG: i32 = 1024;
/// How long a peer that TLS has let in may take to read the last word.
const LEAVE: Duration = Duration::from_secs(5);

/// A listening TCP socket; one on `[::]` takes IPv4 as well.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A broker that starts again need not wait for connections of before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Small frames leave at once; where the other side is.
pub(super) fn prepare(socket: &TcpStream) -> Result<SocketAddr, Closed> {
    let prepared = socket.set_nodelay(true).and_then(|()| socket.peer_addr());
    prepared.map_err(|error| Closed::from(&error))
}

/// Takes leave of the other side: says that no more comes, and reads what it still writes for a moment. A socket that
/// is closed with bytes unread is reset, and the last word before that lost.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, longest: Duration) {
    let parting = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut bytes = [0; 4096];
        while matches!(stream.read(&mut bytes).await, Ok(count) if count > 0) {}
    };
    // Whoever goes on writing is left in the middle of it.
    _ = tokio::time::timeout(longest, parting).await;
}

/// When something was last heard, and how reading or writing failed.
#[derive(Debug, Clone)]
pub(super) struct Heard(Arc<Mutex<(Instant, Option<Closed>)>>);

impl Heard {
    fn change(&self, change: impl FnOnce(&mut (Instant, Option<Closed>))) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How reading or writing failed, if it did.
    pub(super) fn why(&self) -> Option<Closed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Waits until nothing was heard for the idle time.
    pub(super) async fn silence(&self) {
        loop {
            let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).0
                + Duration::from_millis(IDLE_TIMEOUT.0);
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// TLS over TCP.
#[derive(Debug)]
pub(super) struct Io {
    /// Taken when it is dropped.
    tls: Option<TlsStream<TcpStream>>,
    heard: Heard,
    /// The other side has said that no more comes. Then it may not take in any more either, and that is no news:
    /// what it said last counts.
    over: bool,
}

impl Io {
    pub(super) fn new(tls: TlsStream<TcpStream>) -> Self {
        Self { tls: Some(tls), heard: Heard(Arc::new(Mutex::new((Instant::now(), None)))), over: false }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// Writes something, which after the other side's end cannot fail.
    fn said<T>(
        &mut self,
        written: T,
        act: impl FnOnce(Pin<&mut TlsStream<TcpStream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let done = self.with(act);
        if self.over && matches!(done, Poll::Ready(Err(_))) { Poll::Ready(Ok(written)) } else { done }
    }

    /// Does something with the stream, and remembers how it failed.
    fn with<T>(
        &mut self,
        act: impl FnOnce(Pin<&mut TlsStream<TcpStream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let done = act(Pin::new(tls));
        if let Poll::Ready(Err(error)) = &done {
            let closed = Closed::from(error);
            self.heard.change(|(_, why)| _ = why.get_or_insert(closed));
        }
        done
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = self.with(|tls| tls.poll_read(cx, buf));
        if buf.filled().len() > before {
            self.heard.change(|(last, _)| *last = Instant::now());
        } else if matches!(done, Poll::Ready(Ok(()))) && buf.remaining() > 0 {
            self.over = true;
        }
        done
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.said(bytes.len(), |tls| tls.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.said((), |tls| tls.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.said((), |tls| tls.poll_shutdown(cx))
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // Without a runtime the program is ending, and the system closes the socket.
        if let (Some(tls), Ok(runtime)) = (self.tls.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(linger(tls, LEAVE));
        }
    }
}
