//! A partnership CA for tests, and an agent's folder with what it issued.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::grant::{BrokerCard, CardFormat, Grant, GrantFormat, Kind};
use seinhuis_shell::keys::{self, TlsKey};
use seinhuis_shell::tls;

use crate::home::Home;

pub(crate) const HOST: &str = "broker.example";

pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A revocation list that counts until the end of this year.
    pub(crate) fn crl(&self, year: i32) -> String {
        self.list(1, year, &[])
    }

    /// The revocation list of this number, which names certificates by their serial numbers.
    pub(crate) fn list(&self, number: u8, year: i32, revoked: &[u8]) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 12, 31),
            crl_number: SerialNumber::from_slice(&[number]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub(crate) fn grant(&self, oin: &str, kind: Kind, key: &TlsKey) -> Grant {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 5]), oin);
        params.extended_key_usages = vec![match kind {
            Kind::Agent => ExtendedKeyUsagePurpose::ClientAuth,
            Kind::Broker => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.subject_alt_names = vec![SanType::DnsName(HOST.try_into().unwrap())];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
        params.serial_number = Some(SerialNumber::from_slice(&[7]));
        let pair = KeyPair::from_pem(&key.to_pem()).unwrap();
        let chain = params.signed_by(&pair, &self.issuer).unwrap().pem();
        Grant {
            format: GrantFormat::V1,
            oin: oin.parse().unwrap(),
            name: "Test".into(),
            kind,
            not_after: tls::peer(&tls::certificates(&chain).unwrap()).unwrap().not_after,
            chain,
            ca: self.pem.clone(),
            crl: self.crl(2110),
            issued: Timestamp::default(),
        }
    }
}

/// An enrolled agent's folder, with a card for the broker of `broker` at `address`.
pub(crate) fn home(dir: &Path, ca: &Ca, broker: &str, address: &str) -> Home {
    let home = Home::new(dir);
    let put = |path: &Path, bytes: &[u8]| files::write(path, bytes, Existing::Replace).unwrap();
    files::make_private_dir(&home.keys()).unwrap();
    let key = keys::generate_tls(&home.tls_key()).unwrap();
    put(
        &home.config(),
        b"oin = \"00000099000000001000\"\nname = \"Test\"\n[transport]\nbind = \"127.0.0.1:0\"\n",
    );
    put(&home.grant(), &ca.grant("00000099000000001000", Kind::Agent, &key).to_bytes());
    let card = BrokerCard {
        format: CardFormat::V1,
        name: "Broker".into(),
        oin: broker.parse().unwrap(),
        address: address.into(),
        fallback: None,
        server_name: HOST.into(),
        log_origin: "broker.example/log".into(),
        log_key: "broker.example/log+00000000+AA==".into(),
        software: "test".into(),
    };
    put(&home.card(), &card.to_bytes());
    home
}
