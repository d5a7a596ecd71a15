//! Files that people hand over, certificates, and configuration.

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use seinhuis_broker::config::{COMPLETE_SAMPLE, Config};
use seinhuis_certs::request::Proved;
use seinhuis_shared::enrol::{EnrolRequest, NodeKind};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::config;
use seinhuis_shell::grant::{BrokerCard, FILE_MAX, Grant};
use seinhuis_shell::lang::Lang;
use seinhuis_shell::tls;

use crate::known;

/// A complaint says something in both languages and tells what to do.
fn readable(complaint: &Complaint) {
    for lang in [Lang::Nl, Lang::En] {
        assert!(!complaint.show(lang).trim().is_empty(), "a complaint without a word");
    }
    assert!(!complaint.advice.nl.is_empty() && !complaint.advice.en.is_empty(), "no advice");
}

/// What the partnership CA hands to an applicant.
pub fn grant(data: &[u8]) -> bool {
    let parsed = Grant::parse(data);
    match &parsed {
        Ok(grant) => {
            assert!(data.len() <= FILE_MAX, "a grant over its bound");
            assert_eq!(Grant::parse(&grant.to_bytes()).ok().as_ref(), Some(grant), "reads back otherwise");
            assert!(grant.trust().is_ok(), "a grant that cannot be used");
        }
        Err(complaint) => readable(complaint),
    }
    parsed.is_ok()
}

/// What a broker hands to its partners.
pub fn broker_card(data: &[u8]) -> bool {
    let parsed = BrokerCard::parse(data);
    match &parsed {
        Ok(card) => {
            assert!(data.len() <= FILE_MAX, "a card over its bound");
            assert_eq!(BrokerCard::parse(&card.to_bytes()).ok().as_ref(), Some(card), "reads back otherwise");
        }
        Err(complaint) => readable(complaint),
    }
    parsed.is_ok()
}

/// The broker's configuration file.
pub fn broker_config(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let parsed = config::parse::<Config>("broker.toml", text, COMPLETE_SAMPLE);
    match &parsed {
        Ok(config) => {
            let again = config::parse::<Config>("broker.toml", &format!("{text}\n"), COMPLETE_SAMPLE);
            assert_eq!(again.ok().as_ref(), Some(config), "an empty line decides");
        }
        Err(complaint) => {
            readable(complaint);
            assert!(complaint.what.en.starts_with("broker.toml"), "the file is not named: {complaint}");
        }
    }
    parsed.is_ok()
}

/// A certificate, a revocation list, and both as PEM text.
pub fn certificate(data: &[u8]) -> bool {
    let peer = tls::peer(&[CertificateDer::from(data)]);
    if let Ok(peer) = &peer {
        assert!(peer.serial.len() <= 2 * data.len(), "more out than in");
    }
    let end = tls::crl_next_update(&CertificateRevocationListDer::from(data));
    end.err().iter().for_each(readable);
    let Ok(text) = core::str::from_utf8(data) else { return peer.is_ok() };
    let certificates = tls::certificates(text);
    match &certificates {
        Ok(all) => assert!(!all.is_empty(), "no certificate"),
        Err(complaint) => readable(complaint),
    }
    if let Ok(trust) = tls::Trust::new(text, text) {
        assert!(tls::revoked_serials(&trust).is_ok(), "read, yet unreadable");
    }
    peer.is_ok() || certificates.is_ok()
}

/// A certification request inside an enrolment request that is right in all else.
pub fn csr(data: &[u8]) -> bool {
    let key = known::signer();
    let request = EnrolRequest {
        kind: NodeKind::Agent,
        oin: known::oin(),
        name: "Gemeente Voorbeeldstad".into(),
        hosts: vec![],
        signing_key: key.public(),
        csr: data.to_vec(),
        issued: Timestamp(known::NOON),
    };
    let proved = Proved::read(&request.sign(&key), Timestamp(known::NOON));
    match &proved {
        Ok(proved) => assert_eq!(proved.request(), &request, "reads back otherwise"),
        Err(complaint) => readable(complaint),
    }
    proved.is_ok()
}
