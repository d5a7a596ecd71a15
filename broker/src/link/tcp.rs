//! Where agents come in over TCP. What they meet here is what they meet over QUIC: the same TLS, bounds on handshakes
//! of the same size, the same session.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::link::tcp;
use seinhuis_shell::tls::ALPN_TCP;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Shared, set_up};

/// How long to wait when the system gives no more sockets.
const BREATH: Duration = Duration::from_millis(100);

/// A listening TCP address.
#[derive(Debug)]
pub(super) struct Listener {
    /// What new connections are let in with; nothing once the broker stops.
    config: watch::Sender<Option<Arc<ServerConfig>>>,
}

impl Listener {
    /// Binds the address and starts accepting.
    ///
    /// # Errors
    /// A sentence when that cannot be.
    pub(super) fn start(
        address: SocketAddr,
        config: ServerConfig,
        shared: Arc<Shared>,
    ) -> Result<Self, Complaint> {
        let socket = tcp::listen(address)
            .map_err(|error| Complaint::io(Doing::Socket, Path::new(&address.to_string()), &error))?;
        tracing::info!(%address, "listening over TCP");
        let config = watch::Sender::new(Some(prepared(config)));
        tokio::spawn(accept(socket, config.subscribe(), shared));
        Ok(Self { config })
    }

    /// Lets new connections in with another configuration.
    pub(super) fn renew(&self, config: ServerConfig) {
        self.config.send_replace(Some(prepared(config)));
    }

    /// Lets nobody in any more.
    pub(super) fn stop(&self) {
        self.config.send_replace(None);
    }
}

/// Lets agents in until the broker stops.
async fn accept(
    socket: TcpListener,
    mut config: watch::Receiver<Option<Arc<ServerConfig>>>,
    shared: Arc<Shared>,
) {
    loop {
        let accepted = tokio::select! {
            _ = config.wait_for(Option::is_none) => return,
            accepted = socket.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection over TCP could not be taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let Some(config) = config.borrow().clone() else { return };
        // As over QUIC: who connects and says nothing takes up one of these. Beyond them the socket closes.
        let Ok(setup) = Arc::clone(&shared.setups.tcp.permits).try_acquire_owned() else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let gate = Arc::clone(&shared.setups.tcp);
            set_up(tcp::accept(stream, config), &gate, shared, setup).await;
        });
    }
}

fn prepared(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![ALPN_TCP.to_vec()];
    Arc::new(config)
}
