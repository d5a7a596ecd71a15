//! Agents that are connected and do nothing more: each with a certificate of its own, a connection over QUIC, and a hello.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use seinhuis_broker::home::Home;
use seinhuis_certs::authority::Authority;
use seinhuis_certs::request::Proved;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::enrol::NodeKind;
use seinhuis_shared::frame::Kind;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::wire::{Hello, Message as _, VERSION};
use seinhuis_shell::enrolment::{Applicant, make_request};
use seinhuis_shell::grant::Grant;
use seinhuis_shell::keys::TlsKey;
use seinhuis_shell::link::{Connection, RecvStream, SendStream};
use seinhuis_shell::tls::{self, Kx};
use seinhuis_shell::{clock, keys, quic};

/// The host in the broker's certificate.
pub(crate) const HOST: &str = "127.0.0.1";
/// Days that a certificate lasts.
const DAYS: u16 = 90;

/// The CA of the partnership.
pub(crate) struct Ca(pub(crate) Authority);

impl Ca {
    /// A new one, in this folder, which gives the broker its certificate.
    pub(crate) fn found(dir: &Path, home: &Home, broker: Oin) -> Self {
        let mut ca = Self(Authority::init(dir, "Bench", 30, clock::now()).unwrap());
        let key = keys::generate_tls(&home.tls_key()).unwrap();
        let grant = ca.issue(NodeKind::Broker, broker, &[HOST.to_owned()], &key);
        std::fs::write(home.grant(), grant.to_bytes()).unwrap();
        ca
    }

    fn issue(&mut self, kind: NodeKind, oin: Oin, hosts: &[String], key: &TlsKey) -> Grant {
        let (now, signing) = (clock::now(), SigningKey::from_seed(&keys::random()));
        let request = make_request(&Applicant { kind, oin, name: "Bench", hosts }, &signing, key, now);
        let proved = Proved::read(&request.unwrap(), now).unwrap();
        let fingerprint = proved.fingerprint().to_owned();
        self.0.issue(&proved.confirm(&fingerprint).unwrap(), DAYS, now).unwrap().grant
    }

    /// A new certificate for an agent, with its key.
    pub(crate) fn enrol(&mut self, oin: Oin) -> (TlsKey, Grant) {
        let key = TlsKey::generate().unwrap();
        let grant = self.issue(NodeKind::Agent, oin, &[], &key);
        (key, grant)
    }
}

/// What an agent with this certificate connects with.
pub(crate) fn client(key: &TlsKey, grant: &Grant) -> ClientConfig {
    let tls = tls::client_config(&grant.identity(key).unwrap(), &grant.trust().unwrap(), Kx::Hybrid).unwrap();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(quic::transport(true, true));
    config
}

/// Says hello, and waits for the welcome; nothing when something else comes, or the connection ends.
pub(crate) async fn greet(conn: &Connection) -> Option<(SendStream, RecvStream)> {
    let (mut send, mut recv) = conn.open_bi().await.ok()?;
    let hello = Hello { version: VERSION, software: "bench/1".into(), cosigned: Bytes::default() };
    send.write_all(&hello.to_frame().ok()?).await.ok()?;
    let (kind, _) = quic::frame(&mut recv).await.ok()??;
    (kind == Kind::Welcome).then_some((send, recv))
}

/// Agents with a session.
pub(crate) struct Crowd {
    _sessions: Vec<(Connection, SendStream, RecvStream)>,
    _endpoint: Endpoint,
}

impl Crowd {
    /// Connects an agent for each of these partners.
    pub(crate) async fn gather(ca: &mut Ca, partners: impl Iterator<Item = Oin>, broker: SocketAddr) -> Self {
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut sessions = Vec::new();
        for oin in partners {
            let (key, grant) = ca.enrol(oin);
            let connecting = endpoint.connect_with(client(&key, &grant), broker, HOST).unwrap();
            let conn = Connection::from(connecting.await.unwrap());
            let (send, recv) = greet(&conn).await.unwrap();
            sessions.push((conn, send, recv));
        }
        Self { _sessions: sessions, _endpoint: endpoint }
    }
}
