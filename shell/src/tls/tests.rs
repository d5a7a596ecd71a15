//! Handshakes over memory: one that passes, and one for everything that must not.

use std::io::Cursor;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use rustls::{ClientConnection, Error, NamedGroup, ServerConnection};
use rustls_pki_types::{ServerName, UnixTime};
use time::{Duration as Days, OffsetDateTime};

use super::*;
use crate::grant::{Grant, GrantFormat, Kind};

const NOW: i64 = 1_772_366_400;
pub(crate) const HOST: &str = "broker.example";
const OIN: &str = "00000001003214345000";

/// A clock that stands still.
#[derive(Debug)]
struct Still(i64);

impl TimeProvider for Still {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.try_into().unwrap())))
    }
}

fn at(days: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).unwrap() + Days::days(days)
}

/// A certificate authority for tests, its keys drawn anew each time.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    cert: rcgen::Certificate,
}

struct Leaf<'a> {
    subject: &'a [(DnType, &'a str)],
    usage: ExtendedKeyUsagePurpose,
    days: (i64, i64),
    serial: u8,
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        Self { subject: &[], usage: ExtendedKeyUsagePurpose::ClientAuth, days: (-1, 90), serial: 7 }
    }
}

fn serial_number() -> DnType {
    DnType::from_oid(&[2, 5, 4, 5])
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (at(-10), at(3650));
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), cert }
    }

    fn leaf(&self, leaf: &Leaf<'_>) -> (String, TlsKey) {
        let key = TlsKey::generate().unwrap();
        (self.certify(leaf, &key), key)
    }

    fn certify(&self, leaf: &Leaf<'_>, key: &TlsKey) -> String {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, text) in leaf.subject {
            params.distinguished_name.push(kind.clone(), *text);
        }
        params.extended_key_usages = vec![leaf.usage.clone()];
        params.subject_alt_names = vec![SanType::DnsName(HOST.try_into().unwrap())];
        (params.not_before, params.not_after) = (at(leaf.days.0), at(leaf.days.1));
        params.serial_number = Some(SerialNumber::from_slice(&[leaf.serial]));
        params.signed_by(key.pair(), &self.issuer).unwrap().pem()
    }

    fn node(&self, leaf: &Leaf<'_>) -> Identity {
        let (pem, key) = self.leaf(leaf);
        Identity::new(&pem, &key).unwrap()
    }

    fn client(&self) -> Identity {
        self.node(&Leaf::default())
    }

    fn server(&self) -> Identity {
        self.node(&Leaf { usage: ExtendedKeyUsagePurpose::ServerAuth, serial: 1, ..Leaf::default() })
    }

    fn crl(&self, revoked: &[u8], last_day: i64) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: at(-2),
            reason_code: None,
            invalidity_date: None,
        });
        CertificateRevocationListParams {
            this_update: at(-3),
            next_update: at(last_day),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }

    fn trust(&self) -> Trust {
        Trust::new(&self.cert.pem(), &self.crl(&[], 30)).unwrap()
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.cert.pem()
    }

    /// A revocation list until so many days from [`NOW`].
    pub(crate) fn list(&self, revoked: &[u8], last_day: i64) -> String {
        self.crl(revoked, last_day)
    }

    /// An agent's certificate for this key, until so many days from [`NOW`].
    pub(crate) fn agent(&self, oin: &str, key: &TlsKey, days: i64) -> String {
        let subject = [(serial_number(), oin)];
        self.certify(&Leaf { subject: &subject, days: (-1, days), ..Leaf::default() }, key)
    }

    /// A broker's.
    pub(crate) fn broker(&self, oin: &str, key: &TlsKey, days: i64) -> String {
        let (subject, usage) = ([(serial_number(), oin)], ExtendedKeyUsagePurpose::ServerAuth);
        self.certify(&Leaf { subject: &subject, usage, days: (-1, days), ..Leaf::default() }, key)
    }

    /// A grant for an agent with this OIN, and its TLS key.
    pub(crate) fn grant(&self, oin: &str) -> (Grant, TlsKey) {
        let (chain, key) = self.leaf(&Leaf { subject: &[(serial_number(), oin)], ..Leaf::default() });
        let grant = Grant {
            format: GrantFormat::V1,
            oin: oin.parse().unwrap(),
            name: "Gemeente Voorbeeldstad".into(),
            kind: Kind::Agent,
            not_after: peer(&certificates(&chain).unwrap()).unwrap().not_after,
            chain,
            ca: self.cert.pem(),
            crl: self.crl(&[], 30),
            issued: Timestamp::default(),
        };
        (grant, key)
    }
}

fn server(identity: &Identity, trust: &Trust, kx: Kx) -> ServerConfig {
    server_config_at(identity, trust, kx, Arc::new(Still(NOW))).unwrap()
}

fn client(identity: &Identity, trust: &Trust, kx: Kx) -> ClientConfig {
    client_config_at(identity, trust, kx, Arc::new(Still(NOW))).unwrap()
}

/// Carries bytes between the two until both are silent; an error on either side ends it.
fn shake(
    server: ServerConfig,
    client: ClientConfig,
    host: &str,
) -> Result<(ServerConnection, ClientConnection), Error> {
    let mut server = ServerConnection::new(Arc::new(server))?;
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), host)?;
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut Cursor::new(&bytes)).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut Cursor::new(&bytes)).unwrap();
        client.process_new_packets()?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok((server, client))
}

/// One field of a good pair of nodes is spoilt by `spoil`; the handshake must then fail.
struct Pair {
    server: ServerConfig,
    client: ClientConfig,
    host: &'static str,
}

fn good(ca: &Ca) -> Pair {
    Pair {
        server: server(&ca.server(), &ca.trust(), Kx::Hybrid),
        client: client(&ca.client(), &ca.trust(), Kx::Hybrid),
        host: HOST,
    }
}

impl Pair {
    fn shake(self) -> Result<(ServerConnection, ClientConnection), Error> {
        shake(self.server, self.client, self.host)
    }
}

#[test]
fn two_nodes_of_one_partnership_meet_with_hybrid_keys_and_no_ticket() {
    let ca = Ca::new("CA");
    let (server, client) = good(&ca).shake().unwrap();
    assert_eq!(server.alpn_protocol(), Some(ALPN));
    assert_eq!(server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(client.tls13_tickets_received(), 0);
    assert_eq!(server.peer_certificates().unwrap().len(), 1);
}

#[test]
fn a_second_connection_is_a_full_handshake() {
    let ca = Ca::new("CA");
    let pair = good(&ca);
    for _ in 0..2 {
        let (server, _) = shake(pair.server.clone(), pair.client.clone(), HOST).unwrap();
        assert_ne!(server.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    }
    assert_eq!((pair.server.send_tls13_tickets, pair.server.max_early_data_size), (0, 0));
    assert!(!pair.server.session_storage.can_cache() && !pair.server.ticketer.enabled());
    assert!(!pair.client.enable_early_data);
}

#[test]
fn the_classical_exchange_is_only_by_setting_on_both_sides() {
    let ca = Ca::new("CA");
    let classical = |pair: &mut Pair| pair.client = client(&ca.client(), &ca.trust(), Kx::X25519);
    let mut pair = good(&ca);
    classical(&mut pair);
    assert!(pair.shake().is_err());
    let mut pair = good(&ca);
    classical(&mut pair);
    pair.server = server(&ca.server(), &ca.trust(), Kx::X25519);
    let (server, _) = pair.shake().unwrap();
    assert_eq!(server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519);
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let ca = Ca::new("CA");
    let mut pair = good(&ca);
    let roots = roots(&ca.trust()).unwrap();
    pair.client = ClientConfig::builder_with_details(provider(Kx::Hybrid), Arc::new(Still(NOW)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    pair.client.alpn_protocols = vec![ALPN.to_vec()];
    assert!(matches!(pair.shake(), Err(Error::NoCertificatesPresented)));
}

#[test]
fn a_foreign_ca_is_refused_on_either_side() {
    let (ca, foreign) = (Ca::new("CA"), Ca::new("CA"));
    let mut pair = good(&ca);
    pair.client = client(&foreign.client(), &ca.trust(), Kx::Hybrid);
    assert!(matches!(pair.shake(), Err(Error::InvalidCertificate(_))));
    let mut pair = good(&ca);
    pair.server = server(&foreign.server(), &ca.trust(), Kx::Hybrid);
    assert!(matches!(pair.shake(), Err(Error::InvalidCertificate(_))));
}

#[test]
fn an_expired_or_future_certificate_is_refused_on_either_side() {
    let ca = Ca::new("CA");
    for days in [(-90, -1), (1, 90)] {
        let mut pair = good(&ca);
        pair.client = client(&ca.node(&Leaf { days, ..Leaf::default() }), &ca.trust(), Kx::Hybrid);
        assert!(matches!(pair.shake(), Err(Error::InvalidCertificate(_))), "{days:?}");
        let mut pair = good(&ca);
        let leaf = Leaf { days, usage: ExtendedKeyUsagePurpose::ServerAuth, ..Leaf::default() };
        pair.server = server(&ca.node(&leaf), &ca.trust(), Kx::Hybrid);
        assert!(matches!(pair.shake(), Err(Error::InvalidCertificate(_))), "{days:?}");
    }
}

#[test]
fn a_revoked_certificate_is_refused_on_either_side() {
    let ca = Ca::new("CA");
    let trust = Trust::new(&ca.cert.pem(), &ca.crl(&[1, 7], 30)).unwrap();
    let mut pair = good(&ca);
    pair.server = server(&ca.server(), &trust, Kx::Hybrid);
    let revoked = Error::InvalidCertificate(rustls::CertificateError::Revoked);
    assert_eq!(pair.shake().err(), Some(revoked.clone()));
    let mut pair = good(&ca);
    pair.client = client(&ca.client(), &trust, Kx::Hybrid);
    assert_eq!(pair.shake().err(), Some(revoked));
}

#[test]
fn a_stale_or_foreign_revocation_list_stops_everything() {
    let (ca, foreign) = (Ca::new("CA"), Ca::new("CA"));
    let refused = |pair: Pair| {
        matches!(pair.shake(), Err(Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_)))
    };
    for crl in [ca.crl(&[], -1), foreign.crl(&[], 30)] {
        let trust = Trust::new(&ca.cert.pem(), &crl).unwrap();
        let mut pair = good(&ca);
        pair.server = server(&ca.server(), &trust, Kx::Hybrid);
        assert!(refused(pair));
        let mut pair = good(&ca);
        pair.client = client(&ca.client(), &trust, Kx::Hybrid);
        assert!(refused(pair));
    }
    let crl = crls(&ca.crl(&[], 30)).unwrap();
    let seconds = u64::try_from(NOW).unwrap() + 30 * 86_400;
    assert_eq!(crl_next_update(&crl[0]).unwrap(), Timestamp(seconds * 1000));
}

#[test]
fn a_missing_revocation_list_is_not_taken_for_an_empty_one() {
    let ca = Ca::new("CA");
    assert!(Trust::new(&ca.cert.pem(), "").is_err());
    // With another CA's list alone, this CA's certificates are of unknown status, which is refused too.
    let trust = Trust { crls: crls(&Ca::new("Other").crl(&[], 30)).unwrap(), ..ca.trust() };
    let mut pair = good(&ca);
    pair.server = server(&ca.server(), &trust, Kx::Hybrid);
    assert_eq!(
        pair.shake().err(),
        Some(Error::InvalidCertificate(rustls::CertificateError::UnknownRevocationStatus))
    );
}

#[test]
fn another_application_protocol_is_refused() {
    let ca = Ca::new("CA");
    let mut pair = good(&ca);
    pair.client.alpn_protocols = vec![b"seinhuis/0".to_vec()];
    assert!(matches!(pair.shake(), Err(Error::NoApplicationProtocol)));
}

#[test]
fn a_server_under_another_name_is_refused() {
    let ca = Ca::new("CA");
    let mut pair = good(&ca);
    pair.host = "other.example";
    assert!(matches!(pair.shake(), Err(Error::InvalidCertificate(_))));
}

#[test]
fn a_partner_cannot_pose_as_broker_nor_a_broker_as_partner() {
    let ca = Ca::new("CA");
    let mut pair = good(&ca);
    pair.server = server(&ca.client(), &ca.trust(), Kx::Hybrid);
    assert!(matches!(pair.shake(), Err(Error::InvalidCertificate(_))));
    let mut pair = good(&ca);
    pair.client = client(&ca.server(), &ca.trust(), Kx::Hybrid);
    assert!(matches!(pair.shake(), Err(Error::InvalidCertificate(_))));
}

#[test]
fn an_offer_of_tls_1_2_is_refused() {
    let ca = Ca::new("CA");
    let mut connection = ServerConnection::new(Arc::new(good(&ca).server)).unwrap();
    // ClientHello, version 1.2, one suite, groups and signature schemes, no supported_versions.
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend([0, 16, 0, 10, 0, 4, 0, 2, 0, 0x1d, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    connection.read_tls(&mut Cursor::new(&record)).unwrap();
    assert!(matches!(connection.process_new_packets(), Err(Error::PeerIncompatible(_))));
}

/// Settings of an agent and of a broker with the name [`HOST`] that let each other in.
pub(crate) fn both_sides() -> (ClientConfig, ServerConfig) {
    let pair = good(&Ca::new("CA"));
    (pair.client, pair.server)
}

#[test]
fn the_settings_fit_quic() {
    let ca = Ca::new("CA");
    let pair = good(&ca);
    quinn::crypto::rustls::QuicServerConfig::try_from(pair.server).unwrap();
    quinn::crypto::rustls::QuicClientConfig::try_from(pair.client).unwrap();
}

#[test]
fn a_peer_is_named_by_exactly_one_oin() {
    let ca = Ca::new("CA");
    let read = |subject: &[(DnType, &str)]| {
        peer(&certificates(&ca.leaf(&Leaf { subject, ..Leaf::default() }).0).unwrap())
    };
    let peer_found = read(&[(DnType::CommonName, "x"), (serial_number(), OIN)]).unwrap();
    assert_eq!((peer_found.oin.as_str(), peer_found.serial.as_str()), (OIN, "07"));
    assert!(read(&[]).is_err());
    assert!(read(&[(DnType::CommonName, OIN)]).is_err(), "only serialNumber counts");
    assert!(read(&[(serial_number(), "123")]).is_err());
    // Two serial numbers in one subject: the organisation's object identifier is made into a second one.
    let subject = [(DnType::OrganizationName, "00000003273229500000"), (serial_number(), OIN)];
    let mut der =
        certificates(&ca.leaf(&Leaf { subject: &subject, ..Leaf::default() }).0).unwrap()[0].to_vec();
    let at = der.windows(3).position(|oid| oid == [0x55, 4, 10]).unwrap();
    der[at + 2] = 5;
    assert!(peer(&[CertificateDer::from(der)]).is_err());
    assert!(peer(&[]).is_err());
    assert!(peer(&[CertificateDer::from(vec![0x30, 0])]).is_err());
}

#[test]
fn a_key_that_is_not_the_certificates_is_noticed() {
    let (pem, _) = Ca::new("CA").leaf(&Leaf::default());
    assert!(Identity::new(&pem, &TlsKey::generate().unwrap()).is_err());
    assert!(Identity::new("", &TlsKey::generate().unwrap()).is_err());
}
