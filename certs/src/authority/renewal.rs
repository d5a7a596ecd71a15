//! What the CA does for its renewal service.

use data_encoding::HEXLOWER;
use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use seinhuis_shared::enrol::NodeKind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::enrolment::check_hosts;
use seinhuis_shell::grant::Grant;
use seinhuis_shell::keys::TlsKey;
use seinhuis_shell::lang::Text;
use seinhuis_shell::tls::{self, Identity, Peer, Trust};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Authority, DAYS_MAX, check_days, new_serial, whole_seconds};
use crate::certificate;
use crate::ledger::Record;
use crate::request::proved_tls_key;

/// How long the renewal service's own certificate lasts; it makes a new one each hour.
const SERVICE_LIFE: Span = Span::days(3);

/// Why a renewal over TLS is not given.
#[derive(Debug)]
pub enum Declined {
    /// The certificate shown is not in the ledger.
    Unknown,
    /// It, or the latest of this node, was revoked or has ended.
    Revoked,
    /// A later one was issued for another key: somebody else renewed with a copy of this node's key, or this node was
    /// put back from an old copy.
    NotNewest,
    /// Less than half of its time is over; this much has to pass first.
    TooEarly(Span),
    /// The request is not one for a new P-256 key.
    BadRequest(Complaint),
    /// The CA's own trouble.
    Trouble(Complaint),
}

impl From<Complaint> for Declined {
    fn from(complaint: Complaint) -> Self {
        Self::Trouble(complaint)
    }
}

/// What a node asks for: a certificate for a key that it proved to have.
#[derive(Debug)]
pub struct Asked {
    key: SubjectPublicKeyInfo,
    request: Digest,
}

impl Asked {
    /// Reads a request (PKCS #10, DER).
    ///
    /// # Errors
    /// [`Declined::BadRequest`].
    pub fn read(csr: &[u8]) -> Result<Self, Declined> {
        let key = proved_tls_key(csr).map_err(Declined::BadRequest)?;
        Ok(Self { key, request: sha256(csr) })
    }
}

impl Authority {
    /// Renews for a node that showed its certificate over TLS; the same key again gets the certificate it got before, for
    /// who missed the answer.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn renew(
        &mut self,
        shown: &Peer,
        asked: &Asked,
        days: u16,
        now: Timestamp,
    ) -> Result<Grant, Declined> {
        let Asked { key, request } = asked;
        let known = self.ledger.certificates.iter().find(|record| record.serial == shown.serial);
        let known = known.filter(|record| record.oin == shown.oin).ok_or(Declined::Unknown)?;
        if !known.is_valid(now) {
            return Err(Declined::Revoked);
        }
        let latest = self.ledger.latest_of(known.oin, known.kind).ok_or(Declined::Unknown)?;
        if latest.revoked.is_some() {
            return Err(Declined::Revoked);
        }
        let (known, latest) = (known.clone(), latest.clone());
        let last = Grant::load(&self.copy_of(&latest.serial));
        let same_key = last.as_ref().is_ok_and(|last| leaf_has_key(last, key));
        if known.serial != latest.serial {
            return match last {
                Ok(last) if same_key => Ok(Grant { crl: self.crl_pem()?, ..last }),
                _ => Err(Declined::NotNewest),
            };
        }
        if same_key {
            return Err(Declined::BadRequest(Complaint::refused(
                Text::new("De aanvraag noemt de oude sleutel.", "The request names the old key."),
                Text::new("Maak een nieuwe sleutel.", "Draw a new key."),
            )));
        }
        let half = latest.issued.plus(Span(latest.not_after.since(latest.issued).0 / 2));
        if now < half {
            return Err(Declined::TooEarly(half.since(now)));
        }
        check_days(days, DAYS_MAX)?;
        self.check_ca(now)?;
        self.check_crl(now)?;
        let now = whole_seconds(now);
        let end = now.plus(Span::days(u64::from(days)));
        let record = Record {
            serial: HEXLOWER.encode(&new_serial()),
            request: *request,
            requested: now,
            issued: now,
            not_after: end.min(self.ca_end),
            ..latest
        };
        Ok(self.certify(record, key, end > self.ca_end)?.grant)
    }

    /// A certificate for the renewal service itself, for `hosts` and a few days; it is not in the ledger, and its key
    /// is nowhere but in the memory of the process that serves.
    ///
    /// # Errors
    /// Exit 2 for hosts that cannot be, exit 1 when the CA has ended.
    pub fn service(&self, hosts: &[String], now: Timestamp) -> Result<Identity, Complaint> {
        check_hosts(NodeKind::Broker, hosts)?;
        self.check_ca(now)?;
        let key = TlsKey::generate()?;
        let end = now.plus(SERVICE_LIFE).min(self.ca_end);
        let cert = certificate::service(hosts, &new_serial(), key.pair(), (now, end), &self.issuer)?;
        Identity::new(&cert.pem(), &key)
    }

    /// Makes a new revocation list when half of the last one's time is over, or when it lacks a revocation that is on
    /// record: a process that died between the two leaves it so.
    ///
    /// # Errors
    /// As [`Self::refresh_crl`].
    pub fn keep_crl(&mut self, now: Timestamp) -> Result<bool, Complaint> {
        let half = Span::days(u64::from(self.ledger.crl_days)).0 / 2;
        let listed = tls::revoked_serials(&Trust::new(&self.ca_pem, &self.crl_pem()?)?)?;
        let begin = self.crl_begin()?;
        let named = |record: &Record| listed.contains(&record.serial) || record.is_past(begin, now);
        let mut revoked = self.ledger.certificates.iter().filter(|record| record.revoked.is_some());
        if revoked.all(named) && self.crl_end()?.since(now).0 > half {
            return Ok(false);
        }
        self.refresh_crl(None, now).map(|()| true)
    }
}

/// Whether the certificate in a grant is for this key.
fn leaf_has_key(grant: &Grant, key: &SubjectPublicKeyInfo) -> bool {
    let chain = tls::certificates(&grant.chain).unwrap_or_default();
    let leaf = chain.first().and_then(|der| X509Certificate::from_der(der).ok());
    leaf.is_some_and(|(_, leaf)| leaf.public_key().subject_public_key.data == key.der_bytes())
}
