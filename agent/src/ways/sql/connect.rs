//! A connection to a database, over a Unix socket, to this machine itself, or in TLS with the server's name checked.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::http::tls_towards;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Connection, NoTls};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::trouble;
use crate::config::Sql;

/// How long a server may take to answer, up to the end of the log-in.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a file with a password.
const PASSWORD_MAX: usize = 1024;

/// A connection, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    _driver: JoinSet<()>,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// What is wrong with address, certificate, name or password, in the agent's own words.
    pub(super) async fn open(source: &Sql, home: &Path) -> Result<Self, Complaint> {
        let login = login(source, home)?;
        let opened = tokio::time::timeout(PATIENCE, Self::open_by(source, home, &login));
        opened.await.unwrap_or_else(|_| Err(trouble::silent(source)))
    }

    async fn open_by(source: &Sql, home: &Path, login: &Config) -> Result<Self, Complaint> {
        let away = |error: io::Error| trouble::away(source, &error);
        let wrong = |error: tokio_postgres::Error| trouble::of(source, &error);
        if let Some(path) = source.socket() {
            let stream = UnixStream::connect(path).await.map_err(away)?;
            let (client, connection) = login.connect_raw(stream, NoTls).await.map_err(wrong)?;
            return Ok(Self::driven(client, connection));
        }
        let stream = TcpStream::connect((source.host.as_str(), source.port)).await.map_err(away)?;
        stream.set_nodelay(true).map_err(away)?;
        if !source.is_secured() {
            let (client, connection) = login.connect_raw(stream, NoTls).await.map_err(wrong)?;
            return Ok(Self::driven(client, connection));
        }
        let tls = Tls::new(source, home)?;
        let (client, connection) = login.connect_raw(stream, tls).await.map_err(wrong)?;
        Ok(Self::driven(client, connection))
    }

    /// What the server says beside its answers is dropped here: notices may hold values of rows.
    fn driven<S, T>(client: Client, mut connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {}
        });
        Self { client, _driver: driver }
    }
}

fn login(source: &Sql, home: &Path) -> Result<Config, Complaint> {
    let mut login = Config::new();
    login.user(&source.user).dbname(&source.database).application_name("seinhuis-agent");
    login.ssl_mode(if source.is_secured() { SslMode::Require } else { SslMode::Disable });
    if !source.password.as_os_str().is_empty() {
        let bytes = Zeroizing::new(files::read_private(&home.join(&source.password), PASSWORD_MAX)?);
        let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
        login.password(end.and_then(|end| bytes.get(..=end)).unwrap_or_default());
    }
    Ok(login)
}

/// Makes TLS of a connection: with one server, of one certificate authority.
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    fn new(source: &Sql, home: &Path) -> Result<Self, Complaint> {
        let mut config = tls_towards(Some(&home.join(&source.ca)))?;
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        let name = ServerName::try_from(source.host.clone()).map_err(|_| trouble::no_name(source))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

impl TlsConnect<TcpStream> for Tls {
    type Stream = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, stream).await.map(Secured) })
    }
}

/// A connection in TLS.
struct Secured(tokio_rustls::client::TlsStream<TcpStream>);

/// The log-in is not bound to the channel: the channel is with a server whose certificate was verified.
impl TlsStream for Secured {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
