//! The connection to the broker: dialled by the agent, kept for as long as it runs, tried again for ever.

mod explain;
mod lane;
mod session;

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime, VarInt};
use rustls_pki_types::CertificateDer;
use seinhuis_agent_core::backoff::Backoff;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock::now;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::keys::random;
use seinhuis_shell::lang::Text;
use seinhuis_shell::{quic, tls};
use tokio::sync::watch;

use crate::engine::{Job, Room};
use crate::home::Home;

/// Longest wait for a connection, and for the answer to a hello or a request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How the connection is doing, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkStatus {
    /// Since when a session is open.
    pub connected: Option<Timestamp>,
    /// When the next attempt is made.
    pub next_attempt: Option<Timestamp>,
    /// Why the last session or attempt ended.
    pub problem: Option<Text>,
    /// The refusal's number, when the broker gave one.
    pub refusal: Option<Refusal>,
    /// How far this machine's clock is ahead of the broker's, in milliseconds.
    pub clock_ahead: Option<i64>,
    /// The broker's software.
    pub software: Option<String>,
    /// Attempts since the last session that was stable.
    pub attempts: u64,
}

/// The status, shared between the link and whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedStatus(Arc<Mutex<LinkStatus>>);

impl SharedStatus {
    pub(crate) fn get(&self) -> LinkStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut LinkStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The agent stops.
    Stopped,
    /// The agent has a new certificate, which the next session is opened with.
    Renewed,
    /// Something went wrong that may pass.
    Failed(Text),
    /// The broker refuses this agent.
    Refused(Refusal),
}

impl From<Complaint> for End {
    fn from(complaint: Complaint) -> Self {
        let both = |what: &str, advice: &str| format!("{what} {advice}");
        Self::Failed(Text::new(
            both(&complaint.what.nl, &complaint.advice.nl),
            both(&complaint.what.en, &complaint.advice.en),
        ))
    }
}

/// Keeps a session with the broker until told to stop.
pub(crate) async fn run(
    home: Home,
    jobs: Sender<Job>,
    status: SharedStatus,
    mut renewed: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::default();
    let room = Room::new();
    while !*stop.borrow() {
        status.change(|status| {
            status.next_attempt = None;
            status.attempts = status.attempts.saturating_add(1);
        });
        let signs = (&mut renewed, &mut stop);
        let end = attempt(&home, &jobs, &room, &status, &mut backoff, signs).await;
        let chance = u64::from_be_bytes(random());
        let at = now();
        let wait = match end {
            End::Stopped => return,
            End::Renewed => {
                tracing::info!("going over to the new certificate");
                continue;
            }
            End::Failed(problem) => {
                let wait = backoff.failed(at, chance);
                tracing::warn!(problem = %problem.en, wait_ms = wait.0, "no session with the broker");
                status.change(|status| (status.problem, status.refusal) = (Some(problem), None));
                wait
            }
            End::Refused(refusal) => {
                let wait = if refusal.is_passing() {
                    backoff.failed(at, chance)
                } else {
                    backoff.refused(at, chance)
                };
                tracing::error!(%refusal, wait_ms = wait.0, "the broker refuses this agent");
                let problem = explain::refused(refusal);
                status.change(|status| (status.problem, status.refusal) = (Some(problem), Some(refusal)));
                wait
            }
        };
        status.change(|status| {
            status.connected = None;
            status.next_attempt = Some(at.plus(wait));
        });
        tokio::select! {
            () = tokio::time::sleep(duration(wait)) => {}
            _ = stop.changed() => {}
        }
    }
}

fn duration(span: Span) -> Duration {
    Duration::from_millis(span.0)
}

async fn attempt(
    home: &Home,
    jobs: &Sender<Job>,
    room: &Room,
    status: &SharedStatus,
    backoff: &mut Backoff,
    (renewed, stop): (&mut watch::Receiver<u64>, &mut watch::Receiver<bool>),
) -> End {
    // What is dialled from here on is dialled with the certificate of this moment.
    renewed.mark_unchanged();
    let dialled = tokio::select! {
        dialled = dial(home) => dialled,
        _ = stop.changed() => return End::Stopped,
    };
    let (endpoint, connection) = match dialled {
        Ok(dialled) => dialled,
        Err(end) => return end,
    };
    let (over, mut ending) = watch::channel(false);
    let session = session::run(&connection, jobs, room, status, backoff, &mut ending);
    let end = go_over(session, renewed, stop, &over).await;
    connection.close(VarInt::from_u32(0), b"");
    // Lets the close reach the broker, which otherwise keeps the place for the length of the idle time.
    if tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await.is_err() {
        tracing::debug!("the broker did not confirm the close");
    }
    end
}

/// Runs a session until it ends, or until the agent stops or has a new certificate: then it is ended in order.
async fn go_over(
    session: impl Future<Output = End>,
    renewed: &mut watch::Receiver<u64>,
    stop: &mut watch::Receiver<bool>,
    over: &watch::Sender<bool>,
) -> End {
    tokio::pin!(session);
    let why = tokio::select! {
        end = &mut session => return end,
        _ = stop.changed() => End::Stopped,
        Ok(()) = renewed.changed() => End::Renewed,
    };
    _ = over.send(true);
    let end = session.await;
    if matches!(end, End::Stopped) { why } else { end }
}

/// Connects: reads identity and trust afresh each time, so that a renewed certificate or revocation list
/// counts from the next attempt on.
///
/// # Errors
/// Why not, in a sentence.
pub(crate) async fn dial(home: &Home) -> Result<(Endpoint, Connection), End> {
    let config = home.load_config()?;
    let card = home.load_card()?;
    let grant = home.load_grant()?;
    let identity = home.identity(&grant)?;
    let kx = config.transport.key_exchange;
    let client = tls::client_config(&identity, &grant.trust()?, kx)?;
    let crypto = QuicClientConfig::try_from(client)
        .map_err(|error| Complaint::bug(format!("TLS settings that QUIC cannot use: {error}")))?;
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(quic::transport(true, config.transport.segmentation_offload));
    let wanted = if config.transport.broker.is_empty() { &card.address } else { &config.transport.broker };
    let (endpoint, address) = bind(wanted, config.transport.bind).await?;
    let connecting = endpoint
        .connect_with(client, address, &card.server_name)
        .map_err(|error| Complaint::bug(format!("no connection can be made: {error}")))?;
    match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(connection)) => {
            let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<_>>().ok());
            if let Err(end) = check_broker(&chain.unwrap_or_default(), card.oin) {
                connection.close(VarInt::from_u32(0), b"");
                return Err(end);
            }
            Ok((endpoint, connection))
        }
        Ok(Err(error)) => Err(explain::connection(&error, wanted)),
        Err(_) => Err(explain::silent(wanted)),
    }
}

/// Whether the certificate that TLS has verified is the broker's and not that of another party of the
/// partnership, which the same CA vouches for.
fn check_broker(chain: &[CertificateDer<'static>], wanted: Oin) -> Result<(), End> {
    let found = tls::peer(chain)?.oin;
    if found == wanted {
        return Ok(());
    }
    Err(End::Failed(Text::new(
        format!(
            "Op dit adres antwoordt organisatie {found}, maar broker.json noemt {wanted}. Controleer het adres, of vraag de beheerder van de broker om zijn kaart."
        ),
        format!(
            "Organisation {found} answers at this address, but broker.json names {wanted}. Check the address, or ask the broker's operator for its card."
        ),
    )))
}

async fn bind(wanted: &str, local: SocketAddr) -> Result<(Endpoint, SocketAddr), End> {
    let unknown = |cause: String| {
        End::Failed(Text::new(
            format!(
                "Het adres van de broker {wanted} is niet te vinden: {cause}. Controleer naam, DNS en netwerk."
            ),
            format!(
                "The broker's address {wanted} cannot be found: {cause}. Check the name, DNS and network."
            ),
        ))
    };
    let mut found = tokio::net::lookup_host(wanted).await.map_err(|error| unknown(error.to_string()))?;
    let address = found.next().ok_or_else(|| unknown("no address".into()))?;
    let socket = quic::socket(local)
        // A machine without IPv6 still has IPv4.
        .or_else(|_| quic::socket(SocketAddr::from(([0, 0, 0, 0], local.port()))))
        .map_err(|error| Complaint::io(Doing::Socket, std::path::Path::new(&local.to_string()), &error))?;
    let ipv6 = socket.local_addr().is_ok_and(|at| at.is_ipv6());
    let address = match address {
        SocketAddr::V4(v4) if ipv6 => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    };
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
        .map_err(|error| Complaint::io(Doing::Socket, std::path::Path::new(&local.to_string()), &error))?;
    Ok((endpoint, address))
}

#[cfg(test)]
mod tests {
    use quinn::ServerConfig;
    use quinn::crypto::rustls::QuicServerConfig;
    use seinhuis_agent_core::{Input, Send};
    use seinhuis_shared::ids::Digest;
    use seinhuis_shell::grant::Kind;
    use seinhuis_shell::keys::TlsKey;
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;

    use super::*;
    use crate::fixture::{self, Ca};

    const BROKER: &str = "00000099000000009000";

    /// A broker that accepts connections and says nothing.
    fn broker(ca: &Ca) -> (String, tokio::task::JoinHandle<()>) {
        let key = TlsKey::generate().unwrap();
        let grant = ca.grant(BROKER, Kind::Broker, &key);
        let config =
            tls::server_config(&grant.identity(&key).unwrap(), &grant.trust().unwrap(), tls::Kx::Hybrid);
        let crypto = QuicServerConfig::try_from(config.unwrap()).unwrap();
        let broker = Endpoint::new(
            EndpointConfig::default(),
            Some(ServerConfig::with_crypto(Arc::new(crypto))),
            quic::socket(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap(),
            Arc::new(TokioRuntime),
        )
        .unwrap();
        let address = broker.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let mut connections = vec![];
            while let Some(incoming) = broker.accept().await {
                connections.push(incoming.await);
            }
        });
        (address, serving)
    }

    #[tokio::test]
    async fn a_packet_that_the_store_lost_is_reported_to_the_core() {
        let ca = Ca::new();
        let (address, serving) = broker(&ca);
        let dir = tempfile::tempdir().unwrap();
        let (_endpoint, connection) = dial(&fixture::home(dir.path(), &ca, BROKER, &address)).await.unwrap();
        let (jobs, posted) = std::sync::mpsc::channel();
        let (packets, mut submitted) = mpsc::unbounded_channel();
        let (acknowledgements, _acknowledged) = mpsc::unbounded_channel();
        let digest = Digest([5; 32]);
        let send = Send::Submit { digest, packet: None };
        session::dispatch(send, &connection, &jobs, &packets, &acknowledgements, &mut JoinSet::new());
        let Job::Input(Input::PacketMissing(missing)) = posted.try_recv().unwrap() else {
            panic!("another job");
        };
        assert_eq!(missing, digest);
        assert!(submitted.try_recv().is_err());
        serving.abort();
    }

    /// A session ends in order, whatever ends it, and what ended it is told.
    #[tokio::test]
    async fn a_new_certificate_ends_a_session_in_order_and_a_stop_does_so_too() {
        for (renew, halt) in [(true, false), (false, true)] {
            let (renewals, mut renewed) = watch::channel(0);
            let (halting, mut stop) = watch::channel(false);
            let (over, mut ending) = watch::channel(false);
            let session = async move {
                ending.changed().await.unwrap();
                End::Stopped
            };
            if renew {
                renewals.send(1).unwrap();
            }
            if halt {
                halting.send(true).unwrap();
            }
            match go_over(session, &mut renewed, &mut stop, &over).await {
                End::Renewed => assert!(renew),
                End::Stopped => assert!(halt),
                other => panic!("{other:?}"),
            }
        }
        let (_renewals, mut renewed) = watch::channel(0);
        let (_halting, mut stop) = watch::channel(false);
        let (over, _ending) = watch::channel(false);
        let broken = async { End::Failed(Text::same("broken")) };
        assert!(matches!(go_over(broken, &mut renewed, &mut stop, &over).await, End::Failed(_)));
    }

    #[tokio::test]
    async fn only_the_organisation_on_the_card_is_the_broker() {
        let ca = Ca::new();
        let (address, serving) = broker(&ca);
        for (named, same) in [(BROKER, true), ("00000099000000008000", false)] {
            let dir = tempfile::tempdir().unwrap();
            let home = fixture::home(dir.path(), &ca, named, &address);
            match dial(&home).await {
                Ok(_) => assert!(same, "{named}"),
                Err(End::Failed(problem)) => {
                    assert!(!same, "{problem:?}");
                    assert!(problem.en.contains(BROKER) && problem.en.contains(named), "{problem:?}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        serving.abort();
    }
}
