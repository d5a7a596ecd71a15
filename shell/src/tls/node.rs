//! Who may talk to the renewal service: any node of the partnership.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier as _};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Takes what an agent shows, and what a broker shows: its certificate is for servers alone, and is verified as one
/// under its own first name. Both ways check chain, dates and revocation.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    pub(super) brokers: Arc<WebPkiServerVerifier>,
}

impl ClientCertVerifier for Nodes {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.clients.verify_client_cert(leaf, others, now) {
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => {
                let name = own_name(leaf)
                    .ok_or(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))?;
                self.brokers
                    .verify_server_cert(leaf, others, &name, &[], now)
                    .map(|_| ClientCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

/// The first name a certificate is for.
fn own_name(leaf: &CertificateDer<'_>) -> Option<ServerName<'static>> {
    hosts(leaf).into_iter().find_map(|host| ServerName::try_from(host).ok())
}

/// The host names and addresses a certificate is for; none when it cannot be read.
pub fn hosts(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, cert)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let names = cert.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    let host = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(host) = name {
            return Some((*host).to_owned());
        }
        let GeneralName::IPAddress(bytes) = name else { return None };
        let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
        four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|at| at.to_string())
    };
    names.filter_map(host).collect()
}
