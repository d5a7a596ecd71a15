//! The applicant's side of enrolment: makes the request that goes to the partnership CA.

use std::net::IpAddr;

use rcgen::CertificateParams;
use rustls_pki_types::ServerName;
use seinhuis_shared::enrol::{EnrolRequest, NodeKind};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::limits::TEXT_MAX;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Timestamp;

use crate::complaint::Complaint;
use crate::keys::TlsKey;
use crate::lang::Text;

/// Most host names in a request.
const HOSTS_MAX: usize = 8;

/// A PKCS #10 request (RFC 2986) that proves possession of the TLS key. It asks for nothing: what the
/// certificate says is the CA's decision.
///
/// # Errors
/// When the cryptographic library fails.
pub fn build_csr(tls_key: &TlsKey) -> Result<Vec<u8>, Complaint> {
    let bug = |error: rcgen::Error| Complaint::bug(format!("no certification request: {error}"));
    let mut params = CertificateParams::new([]).map_err(bug)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params.serialize_request(tls_key.pair()).map_err(bug)?.der().to_vec())
}

/// What an enrolment request says.
#[derive(Debug, Clone)]
pub struct Applicant<'a> {
    /// What kind of node asks.
    pub kind: NodeKind,
    /// The organisation.
    pub oin: Oin,
    /// The organisation's name as people know it; at most 64 characters.
    pub name: &'a str,
    /// For a broker: the DNS names and IP addresses it is reached at. Empty for an agent.
    pub hosts: &'a [String],
}

/// The bytes of an enrolment request, proved by both keys.
///
/// # Errors
/// A sentence for a name or host that cannot be in a certificate, or hosts where none belong.
pub fn make_request(
    applicant: &Applicant<'_>,
    signing_key: &SigningKey,
    tls_key: &TlsKey,
    now: Timestamp,
) -> Result<Vec<u8>, Complaint> {
    check_name(applicant.name)?;
    check_hosts(applicant.kind, applicant.hosts)?;
    let request = EnrolRequest {
        kind: applicant.kind,
        oin: applicant.oin,
        name: applicant.name.to_owned(),
        hosts: applicant.hosts.to_vec(),
        signing_key: signing_key.public(),
        csr: build_csr(tls_key)?,
        issued: now,
    };
    Ok(request.sign(signing_key))
}

/// Checks that a name can be an organisation's name in a certificate.
///
/// # Errors
/// A sentence saying what is wrong with it.
pub fn check_name(name: &str) -> Result<(), Complaint> {
    let length = name.chars().count();
    if length > 0 && length <= TEXT_MAX && name.trim() == name && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(
            format!("De naam {name:?} kan niet in een certificaat."),
            format!("The name {name:?} cannot be in a certificate."),
        ),
        Text::new(
            format!("Geef 1 tot {TEXT_MAX} tekens, zonder spaties aan het begin of einde."),
            format!("Give 1 to {TEXT_MAX} characters, without spaces at either end."),
        ),
    ))
}

/// Checks that hosts are DNS names or IP addresses, that a broker has one and an agent none.
///
/// # Errors
/// A sentence naming the host that is wrong.
pub fn check_hosts(kind: NodeKind, hosts: &[String]) -> Result<(), Complaint> {
    let wrong = match kind {
        NodeKind::Agent if !hosts.is_empty() => {
            Some(("Een agent heeft geen hostnamen.".to_owned(), "An agent has no host names.".to_owned()))
        }
        NodeKind::Broker if hosts.is_empty() || hosts.len() > HOSTS_MAX => Some((
            format!("Een broker heeft 1 tot {HOSTS_MAX} hostnamen nodig."),
            format!("A broker needs 1 to {HOSTS_MAX} host names."),
        )),
        NodeKind::Agent | NodeKind::Broker => hosts.iter().find(|host| !is_host(host)).map(|host| {
            (
                format!("{host:?} is geen DNS-naam of IP-adres."),
                format!("{host:?} is not a DNS name or IP address."),
            )
        }),
    };
    wrong.map_or(Ok(()), |(nl, en)| {
        Err(Complaint::usage(
            Text::new(nl, en),
            Text::new(
                "Geef de naam waaronder de agents de broker bereiken, zonder poort: broker.voorbeeld.nl .",
                "Give the name at which agents reach the broker, without a port: broker.example.nl .",
            ),
        ))
    })
}

fn is_host(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
        || (host.len() <= TEXT_MAX && matches!(ServerName::try_from(host), Ok(ServerName::DnsName(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant<'a>(kind: NodeKind, name: &'a str, hosts: &'a [String]) -> Applicant<'a> {
        Applicant { kind, oin: "00000001003214345000".parse().unwrap(), name, hosts }
    }

    #[test]
    fn a_request_verifies_and_asks_for_nothing_in_its_csr() {
        let (signing, tls) = (SigningKey::from_seed(&[1; 32]), TlsKey::generate().unwrap());
        let hosts = ["broker.example".to_owned(), "127.0.0.1".to_owned()];
        let applicant = applicant(NodeKind::Broker, "Regio Voorbeeld", &hosts);
        let bytes = make_request(&applicant, &signing, &tls, Timestamp(5)).unwrap();
        let request = EnrolRequest::verify(&bytes).unwrap();
        assert_eq!((request.hosts.as_slice(), request.name.as_str()), (&hosts[..], "Regio Voorbeeld"));
        let csr = rcgen::CertificateSigningRequestParams::from_der(&request.csr.into()).unwrap();
        assert_eq!(csr.params.distinguished_name.iter().count(), 0);
        assert!(csr.params.subject_alt_names.is_empty());
    }

    #[test]
    fn wrong_names_and_hosts_are_refused_before_anything_is_made() {
        let (signing, tls) = (SigningKey::from_seed(&[1; 32]), TlsKey::generate().unwrap());
        let make = |kind, name: &str, hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
            make_request(&applicant(kind, name, &hosts), &signing, &tls, Timestamp(5)).map(|_| ())
        };
        assert!(make(NodeKind::Agent, "Politie", &[]).is_ok());
        assert!(make(NodeKind::Agent, "", &[]).is_err());
        assert!(make(NodeKind::Agent, " Politie", &[]).is_err());
        assert!(make(NodeKind::Agent, &"x".repeat(65), &[]).is_err());
        assert!(make(NodeKind::Agent, "Poli\ntie", &[]).is_err());
        assert!(make(NodeKind::Agent, "Politie", &["a.example"]).is_err());
        assert!(make(NodeKind::Broker, "Regio", &[]).is_err());
        assert!(make(NodeKind::Broker, "Regio", &["broker.example:4433"]).is_err());
        assert!(make(NodeKind::Broker, "Regio", &["een broker"]).is_err());
        assert!(make(NodeKind::Broker, "Regio", &["::1"]).is_ok());
    }
}
