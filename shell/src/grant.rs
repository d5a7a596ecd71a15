//! The two files people hand over: what the CA gives an applicant, and what a broker gives its partners.
//!
//! Both are JSON without any secret. Whoever receives one compares its [`fingerprint`] by telephone.

use std::fmt;
use std::path::Path;

use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::complaint::Complaint;
use crate::files;
use crate::keys::TlsKey;
use crate::lang::Text;
use crate::tls::{self, Identity, Trust};

/// Most bytes of a revocation list in PEM.
pub const CRL_MAX: usize = 16 * 1024 * 1024;

/// Most bytes of either file: a grant holds a revocation list, whose ends of lines JSON writes as two bytes, and
/// certificates.
pub const FILE_MAX: usize = CRL_MAX + CRL_MAX / 16 + 1024 * 1024;

/// What kind of node a grant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A partner's agent.
    Agent,
    /// The broker.
    Broker,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "agent",
            Self::Broker => "broker",
        })
    }
}

impl From<seinhuis_shared::enrol::NodeKind> for Kind {
    fn from(kind: seinhuis_shared::enrol::NodeKind) -> Self {
        match kind {
            seinhuis_shared::enrol::NodeKind::Agent => Self::Agent,
            seinhuis_shared::enrol::NodeKind::Broker => Self::Broker,
        }
    }
}

/// The version marker inside a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantFormat {
    /// The only version.
    #[serde(rename = "seinhuis-grant/1")]
    V1,
}

/// The version marker inside a broker card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CardFormat {
    /// The only version.
    #[serde(rename = "seinhuis-broker-card/1")]
    V1,
}

/// What the partnership CA hands to an applicant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `seinhuis-grant/1`.
    pub format: GrantFormat,
    /// The organisation.
    pub oin: Oin,
    /// Its name.
    pub name: String,
    /// What the certificate is for.
    pub kind: Kind,
    /// The certificate chain in PEM, leaf first.
    pub chain: String,
    /// The CA certificate in PEM.
    pub ca: String,
    /// The revocation list of the moment, in PEM.
    pub crl: String,
    /// When it was issued.
    #[serde(with = "crate::clock::text")]
    pub issued: Timestamp,
    /// When the certificate ends.
    #[serde(with = "crate::clock::text")]
    pub not_after: Timestamp,
}

/// What a broker hands to its partners, so that their agents find and recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerCard {
    /// `seinhuis-broker-card/1`.
    pub format: CardFormat,
    /// The broker's name as people know it.
    pub name: String,
    /// The organisation that runs it.
    pub oin: Oin,
    /// Where agents connect: `host:port`.
    pub address: String,
    /// Where agents connect over TCP when UDP is blocked, `host:port`; absent when there is no such place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The name its certificate must be for.
    pub server_name: String,
    /// The origin line of its exchange log.
    pub log_origin: String,
    /// The log's public key as a C2SP verifier key (`origin+hash+base64`).
    pub log_key: String,
    /// The version of its software, for information.
    pub software: String,
}

impl Grant {
    /// Reads a grant; every part is readable and the parts agree with each other.
    ///
    /// # Errors
    /// A sentence saying which part is missing, unknown or contradictory.
    pub fn parse(bytes: &[u8]) -> Result<Self, Complaint> {
        let grant: Self = parse(bytes, "uitgifte (grant)", "grant")?;
        let leaf = tls::peer(&tls::certificates(&grant.chain)?)?;
        grant.trust()?;
        if leaf.oin != grant.oin || leaf.not_after != grant.not_after {
            return Err(damaged(
                "uitgifte (grant)",
                "grant",
                &Text::new(
                    "OIN of einddatum is niet die van het certificaat",
                    "OIN or end date is not that of the certificate",
                ),
            ));
        }
        Ok(grant)
    }

    /// Reads a grant from a file.
    ///
    /// # Errors
    /// As [`Self::parse`], naming the file.
    pub fn load(path: &Path) -> Result<Self, Complaint> {
        Self::parse(&files::read(path, FILE_MAX)?).map_err(|error| error.about(&path.display().to_string()))
    }

    /// The exact bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        pretty(self)
    }

    /// The identity this grant gives to the holder of `key`.
    ///
    /// # Errors
    /// When the certificate is not for this key.
    pub fn identity(&self, key: &TlsKey) -> Result<Identity, Complaint> {
        Identity::new(&self.chain, key)
    }

    /// The grant with another revocation list when that was made later.
    ///
    /// # Errors
    /// When either list cannot be read.
    pub fn with_crl(mut self, beside: String) -> Result<Self, Complaint> {
        self.crl = tls::newer_crl(self.crl, beside)?;
        Ok(self)
    }

    /// The CA and revocation list in it.
    ///
    /// # Errors
    /// When either is unreadable.
    pub fn trust(&self) -> Result<Trust, Complaint> {
        Trust::new(&self.ca, &self.crl)
    }
}

impl BrokerCard {
    /// Reads a broker card.
    ///
    /// # Errors
    /// A sentence saying which part is missing, unknown or impossible.
    pub fn parse(bytes: &[u8]) -> Result<Self, Complaint> {
        let card: Self = parse(bytes, "brokerkaart", "broker card")?;
        let wrong = if !is_place(&card.address) {
            Some("address (host:port)")
        } else if card.fallback.as_deref().is_some_and(|place| !is_place(place)) {
            Some("fallback (host:port)")
        } else if rustls_pki_types::ServerName::try_from(card.server_name.as_str()).is_err() {
            Some("server_name")
        } else if card.log_origin.is_empty() {
            Some("log_origin")
        } else if !card.log_key.starts_with(&format!("{}+", card.log_origin)) {
            Some("log_key")
        } else {
            None
        };
        match wrong {
            Some(field) => Err(damaged(
                "brokerkaart",
                "broker card",
                &Text::new(format!("het veld {field} klopt niet"), format!("the field {field} is wrong")),
            )),
            None => Ok(card),
        }
    }

    /// Reads a broker card from a file.
    ///
    /// # Errors
    /// As [`Self::parse`], naming the file.
    pub fn load(path: &Path) -> Result<Self, Complaint> {
        Self::parse(&files::read(path, FILE_MAX)?).map_err(|error| error.about(&path.display().to_string()))
    }

    /// The exact bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        pretty(self)
    }
}

/// Whether this is `host:port`, with a port that can be connected to.
pub fn is_place(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// The fingerprint of a file's exact bytes, to compare by telephone.
pub fn fingerprint(file: &[u8]) -> String {
    seinhuis_shared::enrol::fingerprint(file)
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    // Structs of strings always serialise.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn parse<T: DeserializeOwned>(bytes: &[u8], nl: &str, en: &str) -> Result<T, Complaint> {
    if bytes.len() > FILE_MAX {
        return Err(damaged(nl, en, &Text::new("te groot", "too large")));
    }
    serde_json::from_slice(bytes).map_err(|error| damaged(nl, en, &Text::same(error.to_string())))
}

fn damaged(nl: &str, en: &str, cause: &Text) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Dit is geen geldige {nl}: {}.", cause.nl),
            format!("This is not a valid {en}: {}.", cause.en),
        ),
        Text::new(
            "Vraag het bestand opnieuw op bij wie het gaf en vergelijk de vingerafdruk.",
            "Ask whoever gave it for the file again and compare the fingerprint.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::Ca;

    fn card() -> BrokerCard {
        BrokerCard {
            format: CardFormat::V1,
            name: "Regio Voorbeeld".into(),
            oin: "00000001003214345000".parse().unwrap(),
            address: "broker.example:4433".into(),
            fallback: None,
            server_name: "broker.example".into(),
            log_origin: "broker.example/uitwisseling/2026".into(),
            log_key: "broker.example/uitwisseling/2026+0011aabb+AQ==".into(),
            software: "seinhuis 0.1.0".into(),
        }
    }

    #[test]
    fn a_card_reads_back_and_unknown_or_wrong_fields_are_refused() {
        assert_eq!(BrokerCard::parse(&card().to_bytes()).unwrap(), card());
        let with = |place: &str| BrokerCard { fallback: Some(place.into()), ..card() };
        let both = with("broker.example:443");
        assert_eq!(BrokerCard::parse(&both.to_bytes()).unwrap(), both);
        for wrong in ["", "broker.example", ":443", "broker.example:0"] {
            assert!(BrokerCard::parse(&with(wrong).to_bytes()).is_err(), "{wrong}");
        }
        let text = String::from_utf8(card().to_bytes()).unwrap();
        for (from, to) in [
            ("\"name\"", "\"nmae\""),
            ("broker.example:4433", "broker.example"),
            ("broker.example:4433", ":4433"),
            ("seinhuis-broker-card/1", "seinhuis-broker-card/2"),
            ("\"server_name\": \"broker.example\"", "\"server_name\": \"not a name\""),
            ("2026+0011aabb", "2025+0011aabb"),
            ("00000001003214345000", "1"),
            ("{", "{\"extra\": 1,"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(BrokerCard::parse(changed.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(BrokerCard::parse(b"").is_err());
    }

    #[test]
    fn a_grant_must_agree_with_its_certificate_and_the_key() {
        let ca = Ca::new("CA");
        let (grant, key) = ca.grant("00000001003214345000");
        assert_eq!(Grant::parse(&grant.to_bytes()).unwrap(), grant);
        grant.identity(&key).unwrap();
        assert!(
            grant.identity(&TlsKey::generate().unwrap()).unwrap_err().what.en.contains("does not belong")
        );
        let other = Grant { oin: "00000001003214345999".parse().unwrap(), ..grant.clone() };
        assert!(Grant::parse(&other.to_bytes()).is_err());
        let other = Grant { not_after: Timestamp(0), ..grant.clone() };
        assert!(Grant::parse(&other.to_bytes()).is_err());
        for broken in [
            Grant { crl: grant.ca.clone(), ..grant.clone() },
            Grant { ca: String::new(), ..grant.clone() },
            Grant { chain: grant.chain.replace('M', "N"), ..grant.clone() },
        ] {
            assert!(Grant::parse(&broken.to_bytes()).is_err());
        }
    }

    #[test]
    fn a_fingerprint_is_over_the_exact_bytes() {
        assert_ne!(fingerprint(b"{}"), fingerprint(b"{} "));
    }

    #[test]
    fn a_grant_holds_a_large_revocation_list() {
        let ca = Ca::new("CA");
        let (small, _) = ca.grant("00000001003214345000");
        let large = Grant { crl: ca.list(&vec![8; 50_000], 30), ..small };
        assert!(large.crl.len() > 1024 * 1024);
        assert_eq!(Grant::parse(&large.to_bytes()).unwrap(), large);
    }
}
