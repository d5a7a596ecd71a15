//! The link: QUIC, and TCP where it is asked for, around the engine. Connections in, frames read, packets examined in parallel, answers out.

mod entries;
mod lane;
mod request;
mod session;
mod share;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig, TokioRuntime};
use seinhuis_broker_core::{ConnId, Input, LaneId, RequestId};
use seinhuis_monitor::{HandshakesRow, LinkRow};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::limits::CONNECTIONS_PER_PARTNER;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::grant::Grant;
use seinhuis_shell::link::{Closed, Connection};
use seinhuis_shell::renewal::Stamp;
use seinhuis_shell::tls;
use seinhuis_shell::{clock, keys, quic};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::Config;
use crate::home::Home;
use crate::service::Service;
use share::{Present, Share};

/// Longest wait, at a stop, for answers to be read by those they are for.
const PARTING: Duration = Duration::from_secs(10);

/// Bytes of whole packets that may be between the network and the journal, over all connections, in KiB.
const MEMORY_KIB: usize = 96 * 1024;
/// Most connections of one partner, with those that said no hello yet: nobody else's handshake waits for them.
const LIVE_PER_PARTNER: usize = 2 * CONNECTIONS_PER_PARTNER;
/// Longest wait for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Service,
    /// Permits of 1 KiB for packets that were read in full and are not yet durable.
    pub(crate) memory: Arc<Semaphore>,
    ids: AtomicU64,
    registry: Mutex<Registry>,
    setups: Setups,
    /// Whether the broker stops. Each connection holds a receiver for as long as it is served.
    parting: watch::Sender<bool>,
}

/// Where connections over one transport are set up.
#[derive(Debug)]
struct Gate {
    /// A permit for each connection that is being set up, from its first packet to its welcome.
    permits: Arc<Semaphore>,
    /// Handshakes that led to a connection.
    done: AtomicU64,
    /// Handshakes that did not.
    failed: AtomicU64,
}

impl Gate {
    /// For so many at one time.
    fn new(most: usize) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(most));
        Arc::new(Self { permits, done: AtomicU64::default(), failed: AtomicU64::default() })
    }

    fn row(&self, transport: &str) -> HandshakesRow {
        let (done, failed) = (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        HandshakesRow { transport: transport.to_owned(), done, failed }
    }
}

/// A gate for each transport: a TCP socket costs who opens it less than a handshake over QUIC, and keeps none of those out.
#[derive(Debug)]
struct Setups {
    quic: Arc<Gate>,
    tcp: Arc<Gate>,
}

impl Setups {
    /// So many of each.
    fn new(each: usize) -> Self {
        Self { quic: Gate::new(each), tcp: Gate::new(each) }
    }
}

/// A connection whose certificate was found good.
#[derive(Debug)]
struct Live {
    oin: Oin,
    conn: Connection,
    serial: String,
    not_after: Timestamp,
    since: Timestamp,
}

/// Who is connected, and whose certificate counts no more.
#[derive(Debug, Default)]
struct Registry {
    live: BTreeMap<ConnId, Live>,
    /// How many of those each partner has.
    present: Present,
    shares: BTreeMap<Oin, Weak<Share>>,
    revoked: BTreeSet<String>,
    /// When the last connection of each partner that has none ended.
    last_seen: BTreeMap<Oin, Timestamp>,
    /// When the certificate of each ends that ends last of those it came with.
    certificate_ends: BTreeMap<Oin, Timestamp>,
    /// When the certificate ends that new connections are shown.
    own_ends: Timestamp,
}

/// How the connections stand at one moment.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Those that are let in.
    pub(crate) by_partner: BTreeMap<Oin, Vec<LinkRow>>,
    /// When the last connection of each partner that has none ended.
    pub(crate) last_seen: BTreeMap<Oin, Timestamp>,
    /// When the certificate of each ends that ends last of those it came with.
    pub(crate) certificate_ends: BTreeMap<Oin, Timestamp>,
    /// When the broker's own certificate ends.
    pub(crate) own_ends: Timestamp,
    /// Handshakes over each transport.
    pub(crate) handshakes: Vec<HandshakesRow>,
}

impl Shared {
    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn conn_id(&self) -> ConnId {
        ConnId(self.id())
    }

    pub(crate) fn lane_id(&self) -> LaneId {
        LaneId(self.id())
    }

    pub(crate) fn request_id(&self) -> RequestId {
        RequestId(self.id())
    }

    /// A receiver that tells when the broker stops.
    pub(crate) fn parting(&self) -> watch::Receiver<bool> {
        self.parting.subscribe()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a connection, and gives its partner's share. One whose certificate was revoked while its handshake ran
    /// is turned away here: the handshake knew an older list.
    pub(crate) fn arrive(
        &self,
        id: ConnId,
        conn: Connection,
        certificate: &tls::Peer,
    ) -> Result<Arc<Share>, Refusal> {
        let mut registry = self.registry();
        if registry.revoked.contains(&certificate.serial) {
            return Err(Refusal::CertificateRevoked);
        }
        let oin = certificate.oin;
        if !registry.present.enter(oin, LIVE_PER_PARTNER) {
            return Err(Refusal::AlreadyConnected);
        }
        let (serial, not_after) = (certificate.serial.clone(), certificate.not_after);
        registry.live.insert(id, Live { oin, conn, serial, not_after, since: clock::now() });
        registry.last_seen.remove(&oin);
        let ends = registry.certificate_ends.entry(oin).or_default();
        *ends = (*ends).max(not_after);
        if let Some(share) = registry.shares.get(&oin).and_then(Weak::upgrade) {
            return Ok(share);
        }
        // What nobody holds any more goes when it is half of all: seldom, so that an arrival stays cheap.
        if registry.shares.len() > 2 * registry.live.len() {
            registry.shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Share::new(oin));
        registry.shares.insert(oin, Arc::downgrade(&share));
        Ok(share)
    }

    pub(crate) fn leave(&self, id: ConnId) {
        let mut registry = self.registry();
        if let Some(gone) = registry.live.remove(&id)
            && registry.present.leave(&gone.oin)
        {
            registry.last_seen.insert(gone.oin, clock::now());
        }
    }

    /// How the connections stand.
    pub(crate) fn links(&self) -> Links {
        let registry = self.registry();
        let mut by_partner: BTreeMap<Oin, Vec<LinkRow>> = BTreeMap::new();
        for live in registry.live.values() {
            let (rtt_us, sent_lost) = match &live.conn {
                Connection::Quic(quic) => {
                    let path = quic.stats().path;
                    let rtt = u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX);
                    (Some(rtt), Some((path.sent_packets, path.lost_packets)))
                }
                Connection::Tcp(_) => (None, None),
            };
            by_partner.entry(live.oin).or_default().push(LinkRow {
                transport: live.conn.transport().to_owned(),
                since: live.since,
                rtt_us,
                sent_lost,
                certificate_ends: live.not_after,
            });
        }
        let handshakes = vec![self.setups.quic.row("quic"), self.setups.tcp.row("tcp")];
        Links {
            by_partner,
            last_seen: registry.last_seen.clone(),
            certificate_ends: registry.certificate_ends.clone(),
            own_ends: registry.own_ends,
            handshakes,
        }
    }

    /// Closes connections whose certificate has ended; the peer may come back with a new one.
    fn close_ended(&self, now: Timestamp) {
        for live in self.registry().live.values().filter(|live| live.not_after <= now) {
            live.conn.close(Some(Refusal::Stopping));
        }
    }

    /// Closes every connection that is let in, and waits until they are gone.
    async fn close_all(&self) {
        let live: Vec<Connection> = self.registry().live.values().map(|live| live.conn.clone()).collect();
        for conn in &live {
            conn.close(Some(Refusal::Stopping));
        }
        for conn in &live {
            conn.gone().await;
        }
    }
}

/// A listening broker.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    tcp: Option<tcp::Listener>,
    shared: Arc<Shared>,
    config: Config,
    home: Home,
    /// The files it started with.
    started_with: Stamp,
}

impl Server {
    /// Binds the address and starts accepting.
    ///
    /// # Errors
    /// A sentence naming certificate, address or key that cannot be used.
    pub fn start(home: &Home, config: &Config, service: Service) -> Result<Self, Complaint> {
        // Before they are read: what is changed after that is taken in by who watches.
        let started_with = home.renewal().stamp();
        let grant = home.load_grant()?;
        home.renewal().settle(&grant)?;
        let tls = server_tls(home, config, &grant)?;
        let socket = quic::socket(config.listen).map_err(|error| {
            Complaint::io(Doing::Socket, std::path::Path::new(&config.listen.to_string()), &error)
        })?;
        let endpoint = Endpoint::new(
            quic::listening(&keys::load_tls(&home.tls_key())?),
            Some(server_config(tls.clone(), config)?),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(|error| {
            Complaint::io(Doing::Socket, std::path::Path::new(&config.listen.to_string()), &error)
        })?;
        let shared = Arc::new(Shared {
            service,
            memory: Arc::new(Semaphore::new(MEMORY_KIB)),
            ids: AtomicU64::new(1),
            registry: Mutex::new(Registry {
                revoked: tls::revoked_serials(&grant.trust()?)?,
                own_ends: grant.not_after,
                ..Registry::default()
            }),
            setups: Setups::new(config.transport.max_handshakes),
            parting: watch::Sender::new(false),
        });
        shared.service.monitor.watches(&shared);
        let listen = |at| tcp::Listener::start(at, tls, Arc::clone(&shared));
        let tcp = config.transport.fallback.map(listen).transpose()?;
        tokio::spawn(accept(endpoint.clone(), Arc::clone(&shared)));
        Ok(Self { endpoint, tcp, shared, config: config.clone(), home: home.clone(), started_with })
    }

    /// The address it really listens on.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The TCP address it listens on, for agents whose network stops UDP.
    pub const fn fallback(&self) -> Option<SocketAddr> {
        self.config.transport.fallback
    }

    /// Takes in a new certificate or revocation list for new connections, and closes live ones whose
    /// certificate is revoked.
    ///
    /// # Errors
    /// A sentence when the files cannot be used; what was in use stays in use, but for whom a list that can be read
    /// names: that counts whatever is wrong with certificate or key.
    pub async fn reload(&self) -> Result<usize, Complaint> {
        let grant = self.home.load_grant()?;
        let closed = self.shut_out(tls::revoked_serials(&grant.trust()?)?).await;
        self.home.renewal().settle(&grant)?;
        let tls = server_tls(&self.home, &self.config, &grant)?;
        let fresh = server_config(tls.clone(), &self.config)?;
        if let Some(tcp) = &self.tcp {
            tcp.renew(tls);
        }
        self.endpoint.set_server_config(Some(fresh));
        self.shared.registry().own_ends = grant.not_after;
        Ok(closed)
    }

    /// Closes connections whose certificate is revoked, and turns away those that come with one; how many were closed.
    async fn shut_out(&self, revoked: BTreeSet<String>) -> usize {
        let hit: Vec<(ConnId, Connection)> = {
            let mut registry = self.shared.registry();
            let hit = registry.live.iter().filter(|(_, live)| revoked.contains(&live.serial));
            let hit = hit.map(|(id, live)| (*id, live.conn.clone())).collect();
            registry.revoked = revoked;
            hit
        };
        for (id, conn) in &hit {
            // The core closes and logs a session; a connection that has said no hello is closed here.
            self.shared.service.engine.bring(None, Some(Input::CertificateRevoked { conn: *id })).await;
            conn.close(Some(Refusal::CertificateRevoked));
        }
        hit.len()
    }

    /// Reloads whenever certificate or revocation list are other than at the start on disk, until `stop` changes. What
    /// cannot be taken in is tried again each second, and told once.
    pub async fn watch(&self, mut stop: watch::Receiver<bool>) {
        let folder = self.home.renewal();
        let mut files = folder.watched(self.started_with);
        let mut pace = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                _ = pace.tick() => {}
            }
            self.shared.close_ended(clock::now());
            let Some(now) = files.changed() else { continue };
            match self.reload().await {
                Ok(closed) => {
                    files.taken(now);
                    tracing::info!(closed, "certificates and revocation list reloaded");
                }
                Err(complaint) => files.failed(complaint),
            }
        }
    }

    /// Takes in nothing more, answers what was read, and closes every connection; peers come back by themselves. What
    /// has no answer then was not accepted.
    pub async fn stop(&self) {
        self.shared.parting.send_replace(true);
        if let Some(tcp) = &self.tcp {
            tcp.stop();
        }
        // Bounded, as below.
        if tokio::time::timeout(PARTING, self.shared.parting.closed()).await.is_err() {
            tracing::warn!("some partners did not read their last answers in time; they ask again");
        }
        self.endpoint.close(quic::code(Refusal::Stopping), b"");
        let idle = async { tokio::join!(self.shared.close_all(), self.endpoint.wait_idle()) };
        // Bounded: a peer that never answers must not keep the broker from stopping.
        if tokio::time::timeout(Duration::from_secs(3), idle).await.is_err() {
            tracing::debug!("some connections did not end in time");
        }
    }
}

/// The TLS of every transport.
fn server_tls(home: &Home, config: &Config, grant: &Grant) -> Result<rustls::ServerConfig, Complaint> {
    let identity = home.renewal().identity(grant)?;
    tls::server_config(&identity, &grant.trust()?, config.transport.key_exchange)
}

fn server_config(tls: rustls::ServerConfig, config: &Config) -> Result<ServerConfig, Complaint> {
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|error| Complaint::bug(format!("no QUIC with this TLS configuration: {error}")))?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(quic::transport(false, config.transport.segmentation_offload))
        .max_incoming(config.transport.max_handshakes)
        .migration(true);
    Ok(server)
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    while let Some(incoming) = endpoint.accept().await {
        // Every address proves itself first, so that nobody makes this broker send to somebody else.
        if !incoming.remote_address_validated() {
            if incoming.retry().is_err() {
                tracing::debug!("an address could not be asked to prove itself");
            }
            continue;
        }
        if *shared.parting.borrow() {
            incoming.refuse();
            continue;
        }
        // Whoever opens connections and says nothing takes up one of these, and no more.
        let Ok(setup) = Arc::clone(&shared.setups.quic.permits).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        match incoming.accept() {
            Ok(connecting) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let connecting = async { connecting.await.map_err(Closed::from) };
                    let gate = Arc::clone(&shared.setups.quic);
                    set_up(connecting, &gate, shared, setup).await;
                });
            }
            Err(error) => tracing::debug!(%error, "a connection attempt was dropped"),
        }
    }
}

/// Waits for a handshake, for as long as one may take, and serves what comes of it.
async fn set_up<C: Into<Connection>>(
    connecting: impl Future<Output = Result<C, Closed>>,
    gate: &Gate,
    shared: Arc<Shared>,
    setup: OwnedSemaphorePermit,
) {
    let conn = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(conn)) => conn.into(),
        Ok(Err(error)) => {
            gate.failed.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%error, "a handshake failed");
            return;
        }
        Err(_) => {
            gate.failed.fetch_add(1, Ordering::Relaxed);
            tracing::info!("a handshake took too long");
            return;
        }
    };
    gate.done.fetch_add(1, Ordering::Relaxed);
    session::run(conn, shared, setup).await;
}
