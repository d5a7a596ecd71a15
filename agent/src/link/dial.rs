//! Making a connection to the broker, over QUIC or over TCP: one identity, one trust, one check of who answers.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint, EndpointConfig, TokioRuntime};
use rustls_pki_types::CertificateDer;
use seinhuis_agent_core::carrier::{Carrier, Carriers, Fallback, Policy};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Span;
use seinhuis_shell::clock::now;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::lang::Text;
use seinhuis_shell::link::{Closed, Connection, tcp};
use seinhuis_shell::renewal::Stamp;
use seinhuis_shell::{quic, tls};
use tokio::net::TcpStream;

use super::{End, PATIENCE, explain};
use crate::config::Config;
use crate::home::Home;

/// Longest wait for an answer over QUIC where TCP may be tried instead.
const QUIC_PATIENCE: Duration = Duration::from_secs(4);

/// Most addresses of the broker's name that one attempt tries.
const ADDRESSES: usize = 4;

/// A connection, and what it goes over.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    pub(crate) carrier: Carrier,
    /// The serial number of the broker's certificate.
    pub(crate) certificate: String,
    endpoint: Option<Endpoint>,
}

impl Dialled {
    /// Closes it in an orderly way.
    pub(crate) async fn close(self) {
        close(&self.connection, self.endpoint.as_ref()).await;
    }
}

/// Closes a connection in an orderly way, and lets the close reach the broker, which otherwise keeps the place for the
/// length of the idle time.
async fn close(connection: &Connection, endpoint: Option<&Endpoint>) {
    connection.close(None);
    let gone = async {
        connection.gone().await;
        if let Some(endpoint) = endpoint {
            endpoint.wait_idle().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(1), gone).await.is_err() {
        tracing::debug!("the broker did not take the close in time");
    }
}

/// Every way to the broker, as configured: read afresh for each attempt, so that a renewed certificate or revocation
/// list counts from the next one on.
#[derive(Debug)]
pub(crate) struct Ways {
    /// How certificate and list were when they were read, or earlier.
    pub(crate) read: Stamp,
    config: Config,
    /// Whose certificate has to answer, and under which name.
    broker: Oin,
    server_name: String,
    tls: rustls::ClientConfig,
    quic: String,
    tcp: Option<String>,
    pub(crate) policy: Policy,
}

impl Ways {
    /// Reads configuration, card, identity and trust.
    ///
    /// # Errors
    /// A sentence about what is missing or cannot be used.
    pub(crate) fn load(home: &Home) -> Result<Self, Complaint> {
        let read = home.renewal().stamp();
        let config = home.load_config()?;
        let card = home.load_card()?;
        let grant = home.load_grant()?;
        let identity = home.renewal().identity(&grant)?;
        let tls = tls::client_config(&identity, &grant.trust()?, config.transport.key_exchange)?;
        let own = |own: &String| Some(own.clone()).filter(|own| !own.is_empty());
        let quic = own(&config.transport.broker).unwrap_or(card.address);
        let tcp = own(&config.transport.fallback_broker).or(card.fallback);
        let fallback = match (config.transport.fallback, &tcp) {
            (Fallback::Only, None) => return Err(no_address()),
            (Fallback::Auto, None) => Fallback::Never,
            (wanted, _) => wanted,
        };
        let policy = Policy { fallback, again: Span::seconds(config.transport.quic_again) };
        Ok(Self { read, config, broker: card.oin, server_name: card.server_name, tls, quic, tcp, policy })
    }

    /// What to try, one after the other.
    pub(crate) fn order(&self, carriers: &Carriers) -> impl Iterator<Item = Carrier> + use<> {
        let first = carriers.first(self.policy, now());
        [Some(first), Carriers::second(self.policy, first)].into_iter().flatten()
    }

    /// Connects, without saying hello.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(crate) async fn dial(&self, carrier: Carrier) -> Result<Dialled, End> {
        let (connection, endpoint) = match carrier {
            Carrier::Quic => self.dial_quic().await.map(|(made, endpoint)| (made, Some(endpoint)))?,
            Carrier::Tcp => (self.dial_tcp().await?, None),
        };
        match check_broker(&connection.peer_chain(), self.broker) {
            Ok(certificate) => Ok(Dialled { connection, carrier, certificate, endpoint }),
            Err(end) => {
                close(&connection, endpoint.as_ref()).await;
                Err(end)
            }
        }
    }

    async fn dial_quic(&self) -> Result<(Connection, Endpoint), End> {
        let crypto = QuicClientConfig::try_from(self.tls.clone())
            .map_err(|error| Complaint::bug(format!("TLS settings that QUIC cannot use: {error}")))?;
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(quic::transport(true, self.config.transport.segmentation_offload));
        let endpoint = bind(self.config.transport.bind)?;
        let ipv6 = endpoint.local_addr().is_ok_and(|at| at.is_ipv6());
        let other = Carriers::second(self.policy, Carrier::Quic).is_some();
        let patience = if other { QUIC_PATIENCE } else { PATIENCE };
        let addresses = resolve(&self.quic, patience, |address| reachable(address, ipv6)).await?;
        // All of them together get no more time than one would.
        let patience = patience / u32::try_from(addresses.len()).unwrap_or(1);
        for address in addresses {
            let connecting = endpoint
                .connect_with(client.clone(), address, &self.server_name)
                .map_err(|error| Complaint::bug(format!("no connection can be made: {error}")))?;
            match tokio::time::timeout(patience, connecting).await {
                Ok(Ok(connection)) => return Ok((connection.into(), endpoint)),
                // Nobody is there: the name's next address may be one that works, as when only IPv6 is broken.
                Ok(Err(ConnectionError::TimedOut)) | Err(_) => {
                    tracing::debug!(%address, "no answer from this address");
                }
                Ok(Err(error)) => return Err(explain::connection(&Closed::from(error), &self.quic)),
            }
        }
        Err(explain::silent(&self.quic))
    }

    async fn dial_tcp(&self) -> Result<Connection, End> {
        let place = self.tcp.as_ref().ok_or_else(no_address)?;
        let mut config = self.tls.clone();
        config.alpn_protocols = vec![tls::ALPN_TCP.to_vec()];
        let config = Arc::new(config);
        let addresses = resolve(place, PATIENCE, Some).await?;
        let patience = PATIENCE / u32::try_from(addresses.len()).unwrap_or(1);
        let mut last = explain::silent(place);
        for address in addresses {
            let connecting = async {
                let socket =
                    TcpStream::connect(address).await.map_err(|error| explain::unreached(place, &error))?;
                tcp::connect(socket, Arc::clone(&config), &self.server_name)
                    .await
                    .map_err(|closed| explain::connection(&closed, place))
            };
            match tokio::time::timeout(patience, connecting).await {
                Ok(Ok(connection)) => return Ok(connection.into()),
                // Nobody is there: as over QUIC.
                Ok(Err(End::Unreached(problem))) => last = End::Unreached(problem),
                Ok(Err(end)) => return Err(end),
                Err(_) => last = explain::silent(place),
            }
        }
        Err(last)
    }
}

/// Only TCP may be used, and nobody said where.
fn no_address() -> Complaint {
    Complaint::usage(
        Text::new(
            "transport.fallback is \"only\", maar op de brokerkaart staat geen TCP-adres.",
            "transport.fallback is \"only\", but the broker's card has no TCP address.",
        ),
        Text::new(
            "Vraag de beheerder van de broker om een nieuwe kaart, of vul transport.fallback_broker in.",
            "Ask the broker's operator for a new card, or fill in transport.fallback_broker.",
        ),
    )
}

/// Whether the certificate that TLS has verified is the broker's and not that of another party of the
/// partnership, which the same CA vouches for; its serial number.
fn check_broker(chain: &[CertificateDer<'static>], wanted: Oin) -> Result<String, End> {
    let tls::Peer { oin: found, serial, .. } = tls::peer(chain)?;
    if found == wanted {
        return Ok(serial);
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

/// The addresses of the broker's name that can be used, in the form in which they are and the order in which the system
/// prefers them; at least one. A name that is not found is nobody who answers: the other transport may have another name,
/// and the next lookup another answer.
async fn resolve(
    place: &str,
    patience: Duration,
    usable: impl Fn(SocketAddr) -> Option<SocketAddr>,
) -> Result<Vec<SocketAddr>, End> {
    let found = tokio::time::timeout(patience, tokio::net::lookup_host(place)).await;
    let found = found.map_err(|_| explain::unknown(place, "no answer in time"))?;
    let found = found.map_err(|error| explain::unknown(place, &error.to_string()))?;
    let found: Vec<SocketAddr> = found.filter_map(usable).take(ADDRESSES).collect();
    if found.is_empty() {
        return Err(explain::unknown(place, "no address that this machine can reach"));
    }
    Ok(found)
}

fn bind(local: SocketAddr) -> Result<Endpoint, Complaint> {
    let failed = |error: &io::Error| Complaint::io(Doing::Socket, Path::new(&local.to_string()), error);
    let socket = quic::socket(local)
        // A machine without IPv6 still has IPv4.
        .or_else(|_| quic::socket(SocketAddr::from(([0, 0, 0, 0], local.port()))))
        .map_err(|error| failed(&error))?;
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
        .map_err(|error| failed(&error))
}

/// An address in the form that a socket takes, which is one of `ipv6` or not; none when it cannot reach it.
fn reachable(address: SocketAddr, ipv6: bool) -> Option<SocketAddr> {
    match address {
        SocketAddr::V4(v4) if ipv6 => Some(SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()))),
        SocketAddr::V6(_) if !ipv6 => None,
        SocketAddr::V4(_) | SocketAddr::V6(_) => Some(address),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use quinn::ServerConfig;
    use quinn::crypto::rustls::QuicServerConfig;
    use seinhuis_agent_core::{Input, Send};
    use seinhuis_shared::ids::Digest;
    use seinhuis_shared::wire::{Cases, Message as _};
    use seinhuis_shell::grant::Kind;
    use seinhuis_shell::keys::TlsKey;
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;

    use super::super::session;
    use super::*;
    use crate::engine::{Job, Room};
    use crate::fixture::{self, Ca};

    pub(in super::super) const BROKER: &str = "00000099000000009000";

    fn listening(ca: &Ca) -> Endpoint {
        let key = TlsKey::generate().unwrap();
        let grant = ca.grant(BROKER, Kind::Broker, &key);
        let config =
            tls::server_config(&grant.identity(&key).unwrap(), &grant.trust().unwrap(), tls::Kx::Hybrid);
        let crypto = QuicServerConfig::try_from(config.unwrap()).unwrap();
        Endpoint::new(
            EndpointConfig::default(),
            Some(ServerConfig::with_crypto(Arc::new(crypto))),
            quic::socket(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap(),
            Arc::new(TokioRuntime),
        )
        .unwrap()
    }

    /// A broker that accepts connections and says nothing.
    pub(in super::super) fn broker(ca: &Ca) -> (String, tokio::task::JoinHandle<()>) {
        let broker = listening(ca);
        let address = broker.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let mut connections = vec![];
            while let Some(incoming) = broker.accept().await {
                connections.push(incoming.await);
            }
        });
        (address, serving)
    }

    /// A broker with its side of the first connection, for the test to speak on.
    fn telling_broker(
        ca: &Ca,
    ) -> (String, tokio::sync::oneshot::Receiver<quinn::Connection>, tokio::task::JoinHandle<()>) {
        let broker = listening(ca);
        let address = broker.local_addr().unwrap().to_string();
        let (out, connection) = tokio::sync::oneshot::channel();
        let serving = tokio::spawn(async move {
            _ = out.send(broker.accept().await.unwrap().await.unwrap());
            broker.wait_idle().await;
        });
        (address, connection, serving)
    }

    #[tokio::test]
    async fn a_packet_that_the_store_lost_is_reported_to_the_core() {
        let ca = Ca::new();
        let (address, serving) = broker(&ca);
        let dir = tempfile::tempdir().unwrap();
        let ways = Ways::load(&fixture::home(dir.path(), &ca, BROKER, &address)).unwrap();
        let dialled = ways.dial(Carrier::Quic).await.unwrap();
        let (jobs, posted) = std::sync::mpsc::channel();
        let (packets, mut submitted) = mpsc::unbounded_channel();
        let (acknowledgements, _acknowledged) = mpsc::unbounded_channel();
        let digest = Digest([5; 32]);
        let send = Send::Submit { digest, packet: None };
        session::dispatch(send, &dialled.connection, &jobs, &packets, &acknowledgements, &mut JoinSet::new());
        let Job::Input(Input::PacketMissing(missing)) = posted.try_recv().unwrap() else {
            panic!("another job");
        };
        assert_eq!(missing, digest);
        assert!(submitted.try_recv().is_err());
        serving.abort();
    }

    #[tokio::test]
    async fn a_name_that_is_not_found_is_nobody_who_answers_over_either_transport() {
        let ca = Ca::new();
        let dir = tempfile::tempdir().unwrap();
        let mut ways = Ways::load(&fixture::home(dir.path(), &ca, BROKER, "127.0.0.1:1")).unwrap();
        // No resolver is asked about this one: it is no place at all.
        (ways.quic, ways.tcp) = ("nowhere".into(), Some("nowhere".into()));
        for carrier in [Carrier::Quic, Carrier::Tcp] {
            let Err(End::Unreached(problem)) = ways.dial(carrier).await else { panic!("{carrier:?}") };
            assert!(problem.en.contains("nowhere") && problem.en.contains("DNS"), "{problem:?}");
        }
        let only_other = resolve("127.0.0.1:1", PATIENCE, |_| None).await;
        assert!(matches!(only_other, Err(End::Unreached(_))), "{only_other:?}");
    }

    #[test]
    fn an_address_that_a_socket_cannot_reach_is_passed_over() {
        let [v4, v6, mapped] = ["192.0.2.1:7443", "[2001:db8::1]:7443", "[::ffff:192.0.2.1]:7443"]
            .map(|text| text.parse().unwrap());
        assert_eq!((reachable(v4, false), reachable(v6, false)), (Some(v4), None));
        assert_eq!((reachable(v4, true), reachable(v6, true)), (Some(mapped), Some(v6)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_tells_without_end_fills_its_own_stream_and_no_memory_here() {
        let ca = Ca::new();
        let (address, connections, serving) = telling_broker(&ca);
        let dir = tempfile::tempdir().unwrap();
        let ways = Ways::load(&fixture::home(dir.path(), &ca, BROKER, &address)).unwrap();
        let dialled = ways.dial(Carrier::Quic).await.unwrap();
        let told = connections.await.unwrap();
        let (jobs, posted) = std::sync::mpsc::channel();
        let reading = tokio::spawn(session::deliveries(dialled.connection.clone(), jobs, Room::new()));
        let mut stream = told.open_uni().await.unwrap();
        let frame = Cases { cases: Vec::new() }.to_frame().unwrap();
        for _ in 0..10 * session::TOLD {
            stream.write_all(&frame).await.unwrap();
        }
        let mut inputs = Vec::new();
        let asked = loop {
            let job = tokio::task::block_in_place(|| posted.recv_timeout(PATIENCE)).unwrap();
            if let Job::Query(asked) = job {
                break asked;
            }
            inputs.push(job);
        };
        assert_eq!(inputs.len(), session::TOLD);
        // The engine has not come to it yet: nothing more is read.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(posted.try_recv().is_err());
        drop(asked);
        assert!(matches!(reading.await.unwrap(), End::Stopped), "an engine that stops ends the session");
        serving.abort();
    }

    #[test]
    fn a_close_over_tcp_has_reached_the_broker_when_it_is_done() {
        let ca = Ca::new();
        let key = TlsKey::generate().unwrap();
        let grant = ca.grant(BROKER, Kind::Broker, &key);
        let identity = grant.identity(&key).unwrap();
        let mut config = tls::server_config(&identity, &grant.trust().unwrap(), tls::Kx::Hybrid).unwrap();
        config.alpn_protocols = vec![tls::ALPN_TCP.to_vec()];
        let (place, listening) = std::sync::mpsc::channel();
        let broker = std::thread::spawn(move || {
            let serving = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            serving.block_on(async {
                let socket = tcp::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
                place.send(socket.local_addr().unwrap().to_string()).unwrap();
                let (stream, _) = socket.accept().await.unwrap();
                Connection::from(tcp::accept(stream, Arc::new(config)).await.unwrap()).closed().await
            })
        });
        let address = listening.recv().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut ways = Ways::load(&fixture::home(dir.path(), &ca, BROKER, &address)).unwrap();
        ways.tcp = Some(address);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { ways.dial(Carrier::Tcp).await.unwrap().close().await });
        // Nobody drives any more what would still be to do: a socket that is open now stays open.
        assert_ne!(broker.join().unwrap(), Closed::Silent);
        drop(runtime);
    }

    #[tokio::test]
    async fn only_the_organisation_on_the_card_is_the_broker() {
        let ca = Ca::new();
        let (address, serving) = broker(&ca);
        for (named, same) in [(BROKER, true), ("00000099000000008000", false)] {
            let dir = tempfile::tempdir().unwrap();
            let home = fixture::home(dir.path(), &ca, named, &address);
            match Ways::load(&home).unwrap().dial(Carrier::Quic).await {
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
