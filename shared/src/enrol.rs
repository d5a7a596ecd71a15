//! The enrolment request: what an organisation's node hands to the partnership CA.
//!
//! The private keys stay where they were made. The request is signed by the signing key inside it and
//! carries a PKCS #10 request signed by the TLS key, so both are proved; the operator compares
//! [`fingerprint`] with the applicant over another channel.

use data_encoding::BASE32_NOPAD;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::cbor::{self, Bytes};
use crate::cose::{Purpose, Sign1};
use crate::ids::Oin;
use crate::limits::TEXT_MAX;
use crate::refusal::Refusal;
use crate::signing::{PublicKey, SigningKey, sha256};
use crate::time::Timestamp;

/// Most bytes of an enrolment request.
pub const REQUEST_MAX: usize = 8192;

/// What kind of node asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A partner's agent: gets a client certificate.
    Agent,
    /// The broker: gets a server certificate for its host names.
    Broker,
}

impl NodeKind {
    const fn code(self) -> u8 {
        match self {
            Self::Agent => 1,
            Self::Broker => 2,
        }
    }
}

/// An enrolment request, its two proofs not yet made or already checked (the CSR's is the CA's to check).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolRequest {
    /// What kind of node asks.
    pub kind: NodeKind,
    /// The organisation.
    pub oin: Oin,
    /// The organisation's name as people know it.
    pub name: String,
    /// DNS names or IP addresses the node is reached at; empty for an agent.
    pub hosts: Vec<String>,
    /// The signing key: the one that covenants pin.
    pub signing_key: PublicKey,
    /// PKCS #10 certification request for the TLS key, DER (RFC 2986).
    pub csr: Vec<u8>,
    /// When the request was made.
    pub issued: Timestamp,
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Payload {
    version: u8,
    kind: u8,
    oin: Oin,
    name: String,
    hosts: Vec<String>,
    signing_key: Bytes,
    csr: Bytes,
    issued: Timestamp,
}

impl EnrolRequest {
    /// Signs the request with the signing key it names.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let payload = Payload {
            version: 1,
            kind: self.kind.code(),
            oin: self.oin,
            name: self.name.clone(),
            hosts: self.hosts.clone(),
            signing_key: Bytes(self.signing_key.to_bytes().to_vec()),
            csr: Bytes(self.csr.clone()),
            issued: self.issued,
        };
        Sign1::sign(key, Purpose::Enrolment, &cbor::encode(&payload))
    }

    /// Reads a request and checks that the signing key in it signed it. The CSR inside is not looked at.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin for a wrong form, [`Refusal::UnknownKey`] when another key
    /// signed, [`Refusal::BadSignature`].
    pub fn verify(bytes: &[u8]) -> Result<Self, Refusal> {
        let signed = Sign1::parse(bytes, REQUEST_MAX)?;
        let payload: Payload = cbor::strict(signed.unverified_payload(), REQUEST_MAX)?;
        if payload.version != 1 {
            return Err(Refusal::UnknownVersion);
        }
        let kind = match payload.kind {
            1 => NodeKind::Agent,
            2 => NodeKind::Broker,
            _ => return Err(Refusal::Malformed),
        };
        let signing_key = <[u8; 32]>::try_from(&payload.signing_key[..])
            .ok()
            .and_then(|bytes| PublicKey::from_bytes(&bytes))
            .ok_or(Refusal::Malformed)?;
        signed.verify(&signing_key, Purpose::Enrolment)?;
        let printable = |text: &String| {
            !text.is_empty() && text.chars().count() <= TEXT_MAX && !text.chars().any(char::is_control)
        };
        if !printable(&payload.name) || payload.hosts.len() > 8 || !payload.hosts.iter().all(printable) {
            return Err(Refusal::Malformed);
        }
        Ok(Self {
            kind,
            oin: payload.oin,
            name: payload.name,
            hosts: payload.hosts,
            signing_key,
            csr: payload.csr.0,
            issued: payload.issued,
        })
    }
}

/// A short fingerprint to compare by telephone: 100 bits as four groups of five letters and digits.
pub fn fingerprint(bytes: &[u8]) -> String {
    let text = BASE32_NOPAD.encode(sha256(bytes).as_bytes());
    let groups = [0..5, 5..10, 10..15, 15..20].map(|range| text.get(range).unwrap_or_default().to_owned());
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &SigningKey) -> EnrolRequest {
        EnrolRequest {
            kind: NodeKind::Agent,
            oin: "00000001003214345000".parse().unwrap(),
            name: "Gemeente Voorbeeldstad".into(),
            hosts: vec![],
            signing_key: key.public(),
            csr: vec![0x30, 0],
            issued: Timestamp(1),
        }
    }

    #[test]
    fn a_request_is_proved_by_the_key_in_it() {
        let key = SigningKey::from_seed(&[1; 32]);
        let bytes = request(&key).sign(&key);
        assert_eq!(EnrolRequest::verify(&bytes), Ok(request(&key)));
        let thief = SigningKey::from_seed(&[2; 32]);
        assert_eq!(EnrolRequest::verify(&request(&key).sign(&thief)), Err(Refusal::UnknownKey));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = SigningKey::from_seed(&[1; 32]);
        let bytes = request(&key).sign(&key);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(EnrolRequest::verify(&changed).is_err(), "byte {at}");
            assert_ne!(fingerprint(&changed), fingerprint(&bytes));
        }
    }
}
