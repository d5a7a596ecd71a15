//! The X.509 structures (RFC 5280) themselves. Every field is decided here; none is copied from a CSR.

use std::net::IpAddr;

use rcgen::string::PrintableString;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevocationReason, RevokedCertParams,
    SanType, SerialNumber,
};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::Kind;
use time::OffsetDateTime;

use crate::ledger::{Ledger, Reason, Record};

/// How long before its making a certificate or list already counts, so that a partner whose clock is an
/// hour slow can use it.
const BACKDATE: Span = Span::hours(1);

/// How long the CA itself lasts.
pub(crate) const CA_LIFE: Span = Span::days(3653);

fn date(at: Timestamp) -> Result<OffsetDateTime, Complaint> {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Complaint::bug(format!("no such date: {at}")))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(crate) fn failed(error: rcgen::Error) -> Complaint {
    Complaint::bug(format!("certificate: {error}"))
}

fn params(serial: &[u8], from: Timestamp, to: Timestamp) -> Result<CertificateParams, Complaint> {
    let mut params = CertificateParams::new([]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.not_before = date(from.minus(BACKDATE))?;
    params.not_after = date(to)?;
    Ok(params)
}

/// The CA's own certificate: may sign nodes and revocation lists, and no further CA.
pub(crate) fn authority(
    name: &str,
    key: &KeyPair,
    serial: &[u8],
    now: Timestamp,
) -> Result<Certificate, Complaint> {
    let mut params = params(serial, now, now.plus(CA_LIFE))?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.self_signed(key).map_err(failed)
}

/// A node's certificate, as its record says.
pub(crate) fn node(
    record: &Record,
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<Certificate, Complaint> {
    let mut params = params(&record.serial_bytes(), record.issued, record.not_after)?;
    let oin = PrintableString::try_from(record.oin.as_str()).map_err(failed)?;
    params.distinguished_name.push(DnType::OrganizationName, record.name.as_str());
    params.distinguished_name.push(DnType::CommonName, record.name.as_str());
    // 2.5.4.5 is serialNumber, where Dutch government certificates carry the OIN.
    params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 5]), DnValue::PrintableString(oin));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match record.kind {
        Kind::Agent => ExtendedKeyUsagePurpose::ClientAuth,
        Kind::Broker => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = names(&record.hosts)?;
    params.signed_by(key, issuer).map_err(failed)
}

/// The certificate of the CA's renewal service: for a server, and of no organisation.
pub(crate) fn service(
    hosts: &[String],
    serial: &[u8],
    key: &KeyPair,
    (from, to): (Timestamp, Timestamp),
    issuer: &Issuer<'_, KeyPair>,
) -> Result<Certificate, Complaint> {
    let mut params = params(serial, from, to)?;
    params.distinguished_name.push(DnType::CommonName, "renewal service");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = names(hosts)?;
    params.signed_by(key, issuer).map_err(failed)
}

fn names(hosts: &[String]) -> Result<Vec<SanType>, Complaint> {
    let name = |host: &String| match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(host.as_str().try_into().map_err(failed)?)),
    };
    hosts.iter().map(name).collect()
}

/// The revocation list of everything revoked, but for what ended before the list that counts from `last` on was made: a
/// list has room for what could still be used, and the ledger keeps the rest.
pub(crate) fn revocations(
    ledger: &Ledger,
    issuer: &Issuer<'_, KeyPair>,
    last: Timestamp,
    now: Timestamp,
) -> Result<CertificateRevocationList, Complaint> {
    let mut revoked_certs = Vec::new();
    for record in ledger.certificates.iter().filter(|record| !record.is_past(last, now)) {
        let Some(revoked) = record.revoked else { continue };
        revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&record.serial_bytes()),
            revocation_time: date(revoked.at)?,
            reason_code: match revoked.reason {
                Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
                Reason::Cessation => Some(RevocationReason::CessationOfOperation),
                Reason::Superseded => Some(RevocationReason::Superseded),
                // RFC 5280 §5.3.1 has the extension left out then.
                Reason::Unspecified => None,
            },
            invalidity_date: None,
        });
    }
    CertificateRevocationListParams {
        this_update: date(now.minus(BACKDATE))?,
        next_update: date(now.plus(Span::days(u64::from(ledger.crl_days))))?,
        crl_number: SerialNumber::from(ledger.crl_number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(issuer)
    .map_err(failed)
}
