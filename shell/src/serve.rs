//! A small HTTP/1.1 server's side of the connections: so many, so long, and never waiting for who says nothing.
//!
//! Plain HTTP is for behind the organisation's own web server: that brings TLS, and what else the organisation asks of
//! what the outside can reach. TLS is for what only nodes of the partnership talk to.

mod stall;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use self::stall::Stall;

/// How much longer to wait before the next connection is taken when the system gave none.
const PAUSE: Duration = Duration::from_millis(100);

/// What a server bears of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most connections at one time; who comes next waits until one ends.
    pub connections: usize,
    /// Most connections besides that have no place among those yet: the handshake is not done, or no place is free.
    pub arrivals: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a request's head may take, and a connection may stay without one. Who reads bodies gives them as long.
    pub wait: Duration,
    /// How long what is written may wait for the other side to read.
    pub stall: Duration,
    /// How long a connection may last, whatever it does.
    pub connection: Duration,
    /// Most bytes of a request's head; at least 8 KiB.
    pub head: usize,
    /// Most header fields of a request.
    pub fields: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 128,
            arrivals: 256,
            handshake: Duration::from_secs(3),
            wait: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            connection: Duration::from_mins(2),
            head: 8 * 1024,
            fields: 32,
        }
    }
}

/// What connections come in on.
pub trait Listen: Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Takes the next connection.
    ///
    /// # Errors
    /// The system's.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Answers with `service` until `stop` ends; conversations that go on then are cut when the runtime ends.
pub async fn serve<L, S, B>(listener: &L, service: S, bounds: Bounds, stop: impl Future<Output = ()>)
where
    L: Listen,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let open = move |stream| std::future::ready(Some((stream, service.clone())));
    serve_over(listener, open, bounds, stop).await;
}

/// As [`serve`], over TLS: `config` is asked for each connection, so that what it is made of may change meanwhile, and
/// `service` makes what answers for the certificates that the other side showed and `config` had verified.
pub async fn serve_tls<S, B>(
    listener: &TcpListener,
    config: impl Fn() -> Option<Arc<ServerConfig>> + Clone + Send + 'static,
    service: impl Fn(&[CertificateDer<'static>]) -> Option<S> + Clone + Send + 'static,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let open = move |stream: TcpStream| {
        let (config, service) = (config.clone(), service.clone());
        async move {
            let accepting = TlsAcceptor::from(config()?).accept(stream);
            match tokio::time::timeout(bounds.handshake, accepting).await {
                Ok(Ok(stream)) => {
                    let service = service(stream.get_ref().1.peer_certificates().unwrap_or_default())?;
                    Some((stream, service))
                }
                Ok(Err(error)) => {
                    tracing::info!(%error, "a handshake failed");
                    None
                }
                Err(_) => {
                    tracing::info!("a handshake took too long");
                    None
                }
            }
        }
    };
    serve_over(listener, open, bounds, stop).await;
}

/// Takes connections, has `open` make of each what is spoken over and with, and speaks.
async fn serve_over<L, O, F, T, S, B>(listener: &L, open: O, bounds: Bounds, stop: impl Future<Output = ()>)
where
    L: Listen,
    O: Fn(L::Stream) -> F,
    F: Future<Output = Option<(T, S)>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let room = Arc::new(Semaphore::new(bounds.connections));
    // Who does not get through the handshake takes no place of who did.
    let arrivals = Arc::new(Semaphore::new(bounds.arrivals));
    tokio::pin!(stop);
    loop {
        let next = async {
            // Never closed.
            let arrival = Arc::clone(&arrivals).acquire_owned().await.ok();
            (arrival, listener.accept().await)
        };
        let (arrival, accepted) = tokio::select! {
            () = &mut stop => return,
            next = next => next,
        };
        match accepted {
            Ok(stream) => {
                let (opening, room) = (open(stream), Arc::clone(&room));
                let conversation = async move {
                    if let Some((stream, service)) = opening.await {
                        let _place = room.acquire().await.ok();
                        drop(arrival);
                        converse(stream, service, bounds).await;
                    }
                };
                // A connection that lasts too long is cut; its client asks again.
                tokio::spawn(tokio::time::timeout(bounds.connection, conversation));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse<T, S, B>(stream: T, service: S, bounds: Bounds)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.wait)
        .max_buf_size(bounds.head)
        .max_headers(bounds.fields)
        .serve_connection(TokioIo::new(Stall::new(stream, bounds.stall)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::tests::{HOST, both_sides};

    /// Far longer than any wait here, and shorter than the one of hyper's own: only a test that fails takes it.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// Longer than that: what ends by it is no success.
    const NEVER: Duration = Duration::from_hours(1);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// A server that answers with the path that was asked for; ends when the sender is dropped.
    async fn server(bounds: Bounds) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let echo = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(request.uri().path().to_owned()))
        });
        let serving = tokio::spawn(async move {
            serve(&listener, echo, bounds, async { _ = ended.await }).await;
        });
        (address, end, serving)
    }

    /// What comes until the other side ends the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        // Who is cut off in the middle may find the connection reset.
        _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn who_sends_half_a_head_or_nothing_is_cut_off() {
        let bounds = Bounds { wait: Duration::from_millis(300), connection: NEVER, ..Bounds::default() };
        let (address, _end, _serving) = server(bounds).await;
        for half in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
            let mut slow = TcpStream::connect(address).await.unwrap();
            slow.write_all(half).await.unwrap();
            assert!(!rest(&mut slow).await.contains(" 200 "), "{half:?}");
        }
        // After an answer too: a connection that is kept has to be used.
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(GET).await.unwrap();
        assert!(rest(&mut kept).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn a_connection_ends_however_busy_it_is() {
        let bounds = Bounds { connection: Duration::from_millis(100), wait: NEVER, ..Bounds::default() };
        let (address, _end, _serving) = server(bounds).await;
        let mut busy = TcpStream::connect(address).await.unwrap();
        let busily = async {
            while busy.write_all(GET).await.is_ok()
                && busy.read(&mut [0; 512]).await.is_ok_and(|read| read > 0)
            {}
        };
        tokio::time::timeout(PATIENCE, busily).await.unwrap();
    }

    #[tokio::test]
    async fn who_asks_and_does_not_read_is_cut_off() {
        let bounds = Bounds {
            stall: Duration::from_millis(100),
            wait: NEVER,
            connection: NEVER,
            connections: 1,
            ..Bounds::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // More than what buffers of the system hold.
        let long = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new("x".repeat(64 * 1024 * 1024)))
        });
        tokio::spawn(async move { serve(&listener, long, bounds, std::future::pending()).await });
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(GET).await.unwrap();
        // Its place is free again.
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(GET).await.unwrap();
        let mut answer = [0; 12];
        tokio::time::timeout(PATIENCE, next.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    #[tokio::test]
    async fn beyond_the_limit_one_waits_until_another_ends() {
        let bounds = Bounds { connections: 1, wait: NEVER, connection: NEVER, ..Bounds::default() };
        let (address, _end, _serving) = server(bounds).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut buffer = [0; 512];
        first.write_all(GET).await.unwrap();
        assert!(first.read(&mut buffer).await.unwrap() > 0);
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        // The place is taken: as long as the first is served, the second is not.
        for _ in 0..20 {
            first.write_all(GET).await.unwrap();
            assert!(first.read(&mut buffer).await.unwrap() > 0);
            assert!(second.try_read(&mut buffer).is_err(), "served beyond the limit");
        }
        drop(first);
        assert!(rest(&mut second).await.ends_with("/second"));
    }

    /// A server over TLS that answers, and what a client connects to it with; ends when the sender is dropped.
    async fn server_over_tls(bounds: Bounds) -> (SocketAddr, TlsConnector, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let (client, server) = both_sides();
        let server = Arc::new(server);
        let echo = |_: &[_]| {
            let answer = |_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(String::new())) };
            Some(service_fn(answer))
        };
        tokio::spawn(async move {
            let config = move || Some(Arc::clone(&server));
            serve_tls(&listener, config, echo, bounds, async { _ = ended.await }).await;
        });
        (address, TlsConnector::from(Arc::new(client)), end)
    }

    #[tokio::test]
    async fn who_does_not_shake_hands_takes_no_place_of_who_does() {
        let bounds = Bounds {
            connections: 1,
            arrivals: 2,
            handshake: NEVER,
            wait: NEVER,
            connection: NEVER,
            ..Bounds::default()
        };
        let (address, client, _end) = server_over_tls(bounds).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        let asked = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = client.connect(HOST.try_into().unwrap(), stream).await.unwrap();
            stream.write_all(GET).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            answer
        };
        assert_eq!(&tokio::time::timeout(PATIENCE, asked).await.unwrap(), b"HTTP/1.1 200");
    }

    #[tokio::test]
    async fn a_handshake_has_a_time_of_its_own() {
        let bounds = Bounds {
            handshake: Duration::from_millis(100),
            wait: NEVER,
            connection: NEVER,
            ..Bounds::default()
        };
        let (address, _client, _end) = server_over_tls(bounds).await;
        assert_eq!(rest(&mut TcpStream::connect(address).await.unwrap()).await, "");
    }

    #[tokio::test]
    async fn a_head_is_bounded() {
        let (address, _end, _serving) = server(Bounds { wait: NEVER, ..Bounds::default() }).await;
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(3 * 8 * 1024));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: 1\r\n".repeat(40));
        for request in [long, many] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // It may be cut off before all is written.
            _ = stream.write_all(request.as_bytes()).await;
            let answer = rest(&mut stream).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn it_ends_when_it_is_told_to() {
        let (address, end, serving) = server(Bounds::default()).await;
        drop(end);
        tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
