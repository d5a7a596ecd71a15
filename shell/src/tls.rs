//! TLS as broker and agents use it: version 1.3 only, hybrid post-quantum key exchange, certificates of
//! the partnership CA on both sides, revocation lists that must be fresh, nothing resumed.
//!
//! Resumption, tickets and 0-RTT are off because each skips the revocation check.

mod node;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rustls::client::{Resumption, ServerCertVerifierBuilder, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use serde::Deserialize;

use crate::complaint::Complaint;
use crate::keys::TlsKey;
use crate::lang::Text;

pub use node::hosts;

/// The application protocol, negotiated by ALPN (RFC 7301).
pub const ALPN: &[u8] = b"seinhuis/1";
/// The application protocol over TCP: another, so that what was said on one transport is no word on the other.
pub const ALPN_TCP: &[u8] = b"seinhuis-tcp/1";
/// What browsers speak with a site here.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// The key exchange on offer; the two sides must have the same one. In a configuration: `hybrid`, `x25519`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kx {
    /// X25519 with ML-KEM-768: stays secret from a quantum computer as well.
    #[default]
    Hybrid,
    /// X25519 alone: only by explicit setting, for a network that drops the larger first message.
    X25519,
}

/// Who this node is: its certificate chain, leaf first, and the key of the leaf.
pub struct Identity {
    /// The certificates, leaf first, the CA itself left out or last.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the first certificate.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From a PEM chain and the TLS key that belongs to its first certificate.
    ///
    /// # Errors
    /// When the PEM cannot be read or the key is not the certificate's.
    pub fn new(chain_pem: &str, key: &TlsKey) -> Result<Self, Complaint> {
        let chain = certificates(chain_pem)?;
        let leaf = chain.first().and_then(|der| X509Certificate::from_der(der).ok());
        let ours =
            leaf.is_some_and(|(_, leaf)| leaf.public_key().subject_public_key.data == key.public_point());
        if !ours {
            return Err(Complaint::usage(
                Text::new(
                    "Het certificaat hoort niet bij de TLS-sleutel van deze node.",
                    "The certificate does not belong to this node's TLS key.",
                ),
                Text::new(
                    "Gebruik het bestand dat op de laatste aanvraag is uitgegeven, of vraag opnieuw aan.",
                    "Use the file that was issued for the latest request, or make a new request.",
                ),
            ));
        }
        Ok(Self { chain, key: key.to_der() })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Whom this node believes: the partnership CA and its revocation lists.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The CA certificate.
    pub ca: CertificateDer<'static>,
    /// Its current revocation list; every certificate must be covered by one.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

impl Trust {
    /// From the PEM text of the CA certificate and of its revocation list.
    ///
    /// # Errors
    /// When either cannot be read.
    pub fn new(ca_pem: &str, crl_pem: &str) -> Result<Self, Complaint> {
        let ca = certificates(ca_pem)?
            .into_iter()
            .next()
            .ok_or_else(|| unreadable("CA-certificaat", "CA certificate"))?;
        Ok(Self { ca, crls: crls(crl_pem)? })
    }
}

/// The certificates in a PEM text, at least one.
///
/// # Errors
/// When there is none or one is damaged.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Complaint> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found
        .ok()
        .filter(|all| !all.is_empty() && all.iter().all(|der| X509Certificate::from_der(der).is_ok()))
        .ok_or_else(|| unreadable("certificaat", "certificate"))
}

/// The revocation lists in a PEM text, at least one.
///
/// # Errors
/// When there is none or one is damaged.
pub fn crls(pem: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, Complaint> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
    let parses = |der: &CertificateRevocationListDer<'_>| CertificateRevocationList::from_der(der).is_ok();
    found
        .ok()
        .filter(|all| !all.is_empty() && all.iter().all(parses))
        .ok_or_else(|| unreadable("intrekkingslijst (CRL)", "revocation list (CRL)"))
}

/// The first private key in a PEM text, of any kind that TLS has.
///
/// # Errors
/// When there is none or it is damaged.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Complaint> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| unreadable("sleutel", "private key"))
}

fn unreadable(nl: &str, en: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Geen leesbaar {nl} in PEM-vorm gevonden."),
            format!("No readable {en} in PEM form found."),
        ),
        Text::new(
            "Vraag het bestand opnieuw op bij de beheerder van de CA.",
            "Ask the CA's operator for the file again.",
        ),
    )
}

fn provider(kx: Kx) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = match kx {
        Kx::Hybrid => vec![kx_group::X25519MLKEM768],
        Kx::X25519 => vec![kx_group::X25519],
    };
    provider.into()
}

fn roots(trust: &Trust) -> Result<Arc<RootCertStore>, Complaint> {
    let mut store = RootCertStore::empty();
    store.add(trust.ca.clone()).map_err(|_| unreadable("CA-certificaat", "CA certificate"))?;
    Ok(store.into())
}

fn unusable(error: impl fmt::Display) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Deze certificaten zijn niet bruikbaar voor TLS: {error}."),
            format!("These certificates cannot be used for TLS: {error}."),
        ),
        Text::new(
            "Controleer met `doctor` welk bestand verouderd of beschadigd is en vraag het opnieuw op.",
            "See with `doctor` which file is stale or damaged and ask for it again.",
        ),
    )
}

/// What a broker accepts connections with. Ready for `quinn::crypto::rustls::QuicServerConfig`.
///
/// # Errors
/// When certificate, key, CA or revocation list cannot be used.
pub fn server_config(identity: &Identity, trust: &Trust, kx: Kx) -> Result<ServerConfig, Complaint> {
    server_config_at(identity, trust, kx, Arc::new(DefaultTimeProvider))
}

/// As [`server_config`], with the clock as an argument.
///
/// # Errors
/// As [`server_config`].
pub fn server_config_at(
    identity: &Identity,
    trust: &Trust,
    kx: Kx,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, Complaint> {
    let provider = provider(kx);
    let verifier = clients(trust, &provider)?;
    let mut config = accepting(identity, verifier, provider, clock)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// What an agent connects with. Ready for `quinn::crypto::rustls::QuicClientConfig`.
///
/// # Errors
/// When certificate, key, CA or revocation list cannot be used.
pub fn client_config(identity: &Identity, trust: &Trust, kx: Kx) -> Result<ClientConfig, Complaint> {
    client_config_at(identity, trust, kx, Arc::new(DefaultTimeProvider))
}

/// As [`client_config`], with the clock as an argument.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_at(
    identity: &Identity,
    trust: &Trust,
    kx: Kx,
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, Complaint> {
    let provider = provider(kx);
    let verifier = servers(trust, &provider)?.enforce_revocation_expiration().build().map_err(unusable)?;
    let mut config = connecting(identity, verifier, provider, clock)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// What the CA's renewal service accepts connections with: from any node of the partnership, agent or broker.
///
/// # Errors
/// As [`server_config`].
pub fn renewal_server_config(identity: &Identity, trust: &Trust) -> Result<ServerConfig, Complaint> {
    let provider = provider(Kx::Hybrid);
    let clients = clients(trust, &provider)?;
    let brokers = servers(trust, &provider)?.enforce_revocation_expiration().build().map_err(unusable)?;
    let nodes = Arc::new(node::Nodes { clients, brokers });
    accepting(identity, nodes, provider, Arc::new(DefaultTimeProvider))
}

/// What a node connects with to the CA's renewal service. A revocation list that has ended still counts here for whom
/// it names, and keeps nobody out: this is the way to a fresh one.
///
/// # Errors
/// As [`client_config`].
pub fn renewal_client_config(identity: &Identity, trust: &Trust) -> Result<ClientConfig, Complaint> {
    let provider = provider(Kx::Hybrid);
    let verifier = servers(trust, &provider)?.build().map_err(unusable)?;
    connecting(identity, verifier, provider, Arc::new(DefaultTimeProvider))
}

/// Lets in who shows a certificate for clients under one of these authorities. With revocation lists, each certificate has
/// to be covered by one that has not ended.
///
/// # Errors
/// When there is no authority, or one or a list cannot be used.
pub fn visitors(
    authorities: &[CertificateDer<'static>],
    crls: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, Complaint> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|_| unreadable("CA-certificaat", "CA certificate"))?;
    }
    let provider = aws_lc_rs::default_provider().into();
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .with_crls(crls)
        .enforce_revocation_expiration()
        .build()
        .map_err(unusable)
}

/// What a site accepts browsers with, from whom `visitors` lets in. The key exchange is hybrid with browsers that have it.
///
/// # Errors
/// When the key is not the certificate's, or cannot be used.
pub fn site_config(
    identity: &Identity,
    visitors: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, Complaint> {
    let provider = aws_lc_rs::default_provider().into();
    let mut config = accepting(identity, visitors, provider, Arc::new(DefaultTimeProvider))?;
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(config)
}

/// Verifies clients under the CA of `trust`, with revocation lists that have to be there and not ended.
fn clients(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Complaint> {
    WebPkiClientVerifier::builder_with_provider(roots(trust)?, Arc::clone(provider))
        .with_crls(trust.crls.iter().cloned())
        .enforce_revocation_expiration()
        .build()
        .map_err(unusable)
}

/// The same of servers; whether a list that has ended counts is for the caller.
fn servers(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<ServerCertVerifierBuilder, Complaint> {
    let builder = WebPkiServerVerifier::builder_with_provider(roots(trust)?, Arc::clone(provider));
    Ok(builder.with_crls(trust.crls.iter().cloned()))
}

/// TLS 1.3 with this identity for whom the verifier lets in. No tickets, no resumption, no early data: each of them
/// would pass over the revocation list.
fn accepting(
    identity: &Identity,
    verifier: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, Complaint> {
    let mut config = ServerConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(unusable)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The other side of [`accepting`].
fn connecting(
    identity: &Identity,
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, Complaint> {
    let mut config = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(unusable)?;
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// What the other side's certificate says, after TLS has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The organisation, from `subject.serialNumber`.
    pub oin: Oin,
    /// The certificate's serial number, hexadecimal.
    pub serial: String,
    /// When the certificate begins.
    pub not_before: Timestamp,
    /// When the certificate ends.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
}

/// Reads the first certificate of a chain that TLS has verified; nothing is verified here.
///
/// # Errors
/// Exit 1 when there is no certificate or it names no single OIN.
pub fn peer(certs: &[CertificateDer<'_>]) -> Result<Peer, Complaint> {
    let refused = |nl: &str, en: &str| {
        Complaint::refused(
            Text::new(nl, en),
            Text::new(
                "Gebruik een certificaat dat `seinhuis-certs issue` heeft gemaakt.",
                "Use a certificate made by `seinhuis-certs issue`.",
            ),
        )
    };
    let no_cert = || {
        refused(
            "De andere kant toonde geen leesbaar certificaat.",
            "The other side showed no readable certificate.",
        )
    };
    let leaf = certs.first().ok_or_else(no_cert)?;
    let (_, cert) = X509Certificate::from_der(leaf).map_err(|_| no_cert())?;
    let mut serials = cert.subject().iter_by_oid(&x509_parser::oid_registry::OID_X509_SERIALNUMBER);
    let oin = match (serials.next(), serials.next()) {
        (Some(one), None) => one.as_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    let oin = oin.ok_or_else(|| {
        refused("Het certificaat noemt geen (enkel) OIN.", "The certificate does not name one OIN.")
    })?;
    Ok(Peer {
        oin,
        serial: HEXLOWER.encode(cert.raw_serial()),
        not_before: instant(cert.validity().not_before),
        not_after: instant(cert.validity().not_after),
        fingerprint: sha256(leaf),
    })
}

fn instant(at: ASN1Time) -> Timestamp {
    Timestamp::default().plus(Span::seconds(u64::try_from(at.timestamp()).unwrap_or_default()))
}

/// Until when a certificate of anybody counts: its `notAfter`.
///
/// # Errors
/// When it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<Timestamp, Complaint> {
    let (_, read) =
        X509Certificate::from_der(certificate).map_err(|_| unreadable("certificaat", "certificate"))?;
    Ok(instant(read.validity().not_after))
}

fn no_list() -> Complaint {
    unreadable("intrekkingslijst (CRL)", "revocation list (CRL)")
}

fn list<'a>(crl: &'a CertificateRevocationListDer<'_>) -> Result<CertificateRevocationList<'a>, Complaint> {
    CertificateRevocationList::from_der(crl).map(|(_, list)| list).map_err(|_| no_list())
}

/// Until when a revocation list counts: its `nextUpdate`. After that every handshake fails.
///
/// # Errors
/// When the list cannot be read or sets no end.
pub fn crl_next_update(crl: &CertificateRevocationListDer<'_>) -> Result<Timestamp, Complaint> {
    let end = list(crl)?.next_update().and_then(|at| u64::try_from(at.timestamp()).ok());
    let end = end.ok_or_else(no_list)?;
    Ok(Timestamp::default().plus(Span::seconds(end)))
}

/// When a revocation list begins to count: its `thisUpdate`.
///
/// # Errors
/// When the list cannot be read.
pub fn crl_this_update(crl: &CertificateRevocationListDer<'_>) -> Result<Timestamp, Complaint> {
    let begin = u64::try_from(list(crl)?.last_update().timestamp()).map_err(|_| no_list())?;
    Ok(Timestamp::default().plus(Span::seconds(begin)))
}

/// The serial numbers of all revoked certificates, hexadecimal as in [`Peer::serial`].
///
/// # Errors
/// When a list cannot be read.
pub fn revoked_serials(trust: &Trust) -> Result<BTreeSet<String>, Complaint> {
    let mut serials = BTreeSet::new();
    for crl in &trust.crls {
        let list = list(crl)?;
        serials.extend(list.iter_revoked_certificates().map(|revoked| HEXLOWER.encode(revoked.raw_serial())));
    }
    Ok(serials)
}

/// Of two revocation lists in PEM the one that was made last: the one with the higher number, which the CA gives each
/// list; then the one of later date, then the one that lasts longer.
///
/// # Errors
/// When either cannot be read.
pub fn newer_crl(one: String, other: String) -> Result<String, Complaint> {
    Ok(if crl_age(&other)? > crl_age(&one)? { other } else { one })
}

/// The number, date and end of the oldest list in a PEM text.
fn crl_age(pem: &str) -> Result<(Option<BigUint>, i64, i64), Complaint> {
    let mut oldest = None;
    for crl in &crls(pem)? {
        let list = list(crl)?;
        let end = list.next_update().map(|at| at.timestamp()).ok_or_else(no_list)?;
        let age = (list.crl_number().cloned(), list.last_update().timestamp(), end);
        oldest = Some(oldest.map_or(age.clone(), |before| age.min(before)));
    }
    oldest.ok_or_else(no_list)
}

/// Whether the CA of `trust` signed all of these revocation lists.
///
/// # Errors
/// When one is not its.
pub fn check_crls(trust: &Trust, crls: &[CertificateRevocationListDer<'_>]) -> Result<(), Complaint> {
    let (_, ca) =
        X509Certificate::from_der(&trust.ca).map_err(|_| unreadable("CA-certificaat", "CA certificate"))?;
    for crl in crls {
        let list = list(crl)?;
        let ours =
            list.issuer().as_raw() == ca.subject().as_raw() && list.verify_signature(ca.public_key()).is_ok();
        if !ours {
            return Err(Complaint::refused(
                Text::new(
                    "De intrekkingslijst is niet ondertekend door de CA van dit samenwerkingsverband.",
                    "The revocation list is not signed by the CA of this partnership.",
                ),
                Text::new("Vraag de CA om zijn lijst.", "Ask the CA for its list."),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
