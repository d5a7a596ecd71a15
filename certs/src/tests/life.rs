//! From request to revocation, as TLS sees it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Cursor;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConnection, Error, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use seinhuis_shared::enrol::{EnrolRequest, fingerprint};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::cli::{Outcome, captured};
use seinhuis_shell::grant::{Grant, Kind};
use seinhuis_shell::keys::TlsKey;
use seinhuis_shell::tls::{self, Kx, Trust};
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::kit::{Desk, GEMEENTE, NOW, Node, POLITIE, day, tell, text};
use crate::authority::Authority;
use crate::commands::run_at;

#[derive(Debug)]
struct Still(Timestamp);

impl TimeProvider for Still {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.0)))
    }
}

/// A handshake between broker and agent at a given time, both trusting what the CA says at that moment.
fn meet(
    desk: &Desk,
    broker: (&Node, &Grant),
    agent: (&Node, &Grant),
    host: &str,
    at: Timestamp,
) -> Result<(), Error> {
    let crl = fs::read_to_string(desk.ca().join("crl.pem")).unwrap();
    let trust = Trust::new(&broker.1.ca, &crl).unwrap();
    let clock = Arc::new(Still(at));
    let (server, client) =
        (broker.1.identity(&broker.0.tls).unwrap(), agent.1.identity(&agent.0.tls).unwrap());
    let server = tls::server_config_at(&server, &trust, Kx::Hybrid, clock.clone()).unwrap();
    let client = tls::client_config_at(&client, &trust, Kx::Hybrid, clock).unwrap();
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from(host.to_owned()).unwrap())?;
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
    assert_eq!(tls::peer(server.peer_certificates().unwrap()).unwrap().oin, agent.1.oin);
    assert_eq!(tls::peer(client.peer_certificates().unwrap()).unwrap().oin, broker.1.oin);
    Ok(())
}

#[test]
fn broker_and_agent_meet_until_one_is_revoked_or_ends() {
    let (desk, broker, agent) = (Desk::new(), Node::broker(POLITIE), Node::agent(GEMEENTE));
    let (card, grant) = (desk.issue(&broker, "b", NOW).unwrap(), desk.issue(&agent, "a", NOW).unwrap());
    let meet = |host, at| meet(&desk, (&broker, &card), (&agent, &grant), host, at);
    meet("broker.example", NOW).unwrap();
    meet("127.0.0.1", NOW).unwrap();
    meet("broker.example", NOW.minus(Span::minutes(55))).unwrap();
    assert!(meet("other.example", NOW).is_err());
    assert!(meet("broker.example", day(31)).is_err(), "the revocation list has ended");
    desk.run(&["crl"], day(31)).unwrap();
    meet("broker.example", day(31)).unwrap();
    desk.run(&["crl", "--days", "90"], day(60)).unwrap();
    assert!(meet("broker.example", day(91)).is_err(), "the certificates have ended");
    desk.run(&["revoke", "--serial", &serial(&grant).to_uppercase(), "--reason", "key-compromise"], day(61))
        .unwrap();
    assert_eq!(meet("broker.example", day(61)), Err(Error::InvalidCertificate(CertificateError::Revoked)));
}

fn serial(grant: &Grant) -> String {
    tls::peer(&tls::certificates(&grant.chain).unwrap()).unwrap().serial
}

#[test]
fn a_certificate_says_what_the_ca_decided_and_nothing_of_the_csr() {
    let (desk, agent) = (Desk::new(), Node::agent(GEMEENTE));
    let mut params = rcgen::CertificateParams::new(["evil.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Politie");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let csr = params.serialize_request(agent.tls.pair()).unwrap().der().to_vec();
    let request =
        EnrolRequest { csr, ..EnrolRequest::verify(&agent.request(NOW)).unwrap() }.sign(&agent.signing);
    desk.issue_with(&request, &fingerprint(&request), "a", NOW).unwrap();
    let grant = Grant::load(&desk.file("a")).unwrap();
    assert_eq!((grant.kind, grant.oin.as_str(), grant.not_after), (Kind::Agent, GEMEENTE, day(90)));
    let der = CertificateDer::from_pem_slice(grant.chain.as_bytes()).unwrap();
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    let subject = cert.subject().to_string();
    assert!(subject.contains("CN=Gemeente Voorbeeldstad") && !subject.contains("Politie"), "{subject}");
    assert!(!cert.is_ca());
    assert!(cert.subject_alternative_name().unwrap().is_none());
    let usage = cert.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
}

#[test]
fn a_broker_certificate_is_for_its_hosts_only_and_the_ca_signs_no_ca() {
    let (desk, broker) = (Desk::new(), Node::broker(GEMEENTE));
    let grant = desk.issue(&broker, "b", NOW).unwrap();
    let der = CertificateDer::from_pem_slice(grant.chain.as_bytes()).unwrap();
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(cert.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);
    let usage = cert.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    let der = CertificateDer::from_pem_slice(grant.ca.as_bytes()).unwrap();
    let (_, ca) = X509Certificate::from_der(&der).unwrap();
    assert!(ca.is_ca());
    assert_eq!(ca.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(0));
    let usage = ca.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    assert_eq!(ca.subject().to_string(), "CN=Partnerschap Voorbeeld");
}

#[test]
fn a_node_renews_with_a_new_tls_key_and_no_telephone_call() {
    let (desk, agent) = (Desk::new(), Node::agent(GEMEENTE));
    let first = desk.issue(&agent, "a", NOW).unwrap();
    let renewed =
        Node { tls: TlsKey::generate().unwrap(), signing: agent.signing.clone(), ..Node::agent(GEMEENTE) };
    let second = desk.renew(&renewed.request(day(20)), "b", day(20)).unwrap();
    assert_eq!(second.not_after, day(110));
    assert_ne!(serial(&first), serial(&second));
    second.identity(&renewed.tls).unwrap();
    assert!(second.identity(&agent.tls).is_err());
}

#[test]
fn the_last_certificate_ends_with_the_ca() {
    let (desk, agent) = (Desk::new(), Node::agent(GEMEENTE));
    desk.run(&["crl", "--days", "90"], day(3600)).unwrap();
    let grant = desk.issue(&agent, "a", day(3600)).unwrap();
    assert_eq!(grant.not_after, day(3653));
}

#[test]
fn expiry_is_exit_code_one_only_when_something_ends_soon() {
    let (desk, agent) = (Desk::new(), Node::agent(GEMEENTE));
    desk.issue(&agent, "a", NOW).unwrap();
    let look = |within: &str, at| desk.run(&["expiry", "--within", within], at).unwrap();
    assert_eq!(look("21", NOW), Outcome::Done);
    assert_eq!(look("89", NOW), Outcome::Done, "the list counts from seven days before its end");
    assert_eq!(look("90", NOW), Outcome::No);
    assert_eq!(look("21", day(24)), Outcome::No, "the list");
    desk.run(&["crl"], day(60)).unwrap();
    assert_eq!(look("21", day(60)), Outcome::Done);
    desk.run(&["crl"], day(80)).unwrap();
    assert_eq!(look("21", day(80)), Outcome::No, "the certificate");
    desk.renew(&agent.request(day(80)), "b", day(80)).unwrap();
    assert_eq!(look("21", day(80)), Outcome::Done, "the old one was replaced");
    desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "cessation"], day(80)).unwrap();
    assert_eq!(look("100", day(80)), Outcome::Done, "nobody renews what was revoked");
    assert_eq!(look("3573", day(80)), Outcome::No, "the CA");
}

#[test]
fn every_revocation_list_has_a_higher_number_and_all_revoked() {
    let (desk, a, b) = (Desk::new(), Node::agent(GEMEENTE), Node::agent(POLITIE));
    desk.issue(&a, "a", NOW).unwrap();
    desk.issue(&b, "b", NOW).unwrap();
    let number = || Authority::open(&desk.ca()).unwrap().ledger().crl_number;
    assert_eq!(number(), 1);
    desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "cessation"], NOW).unwrap();
    desk.run(&["revoke", "--oin", POLITIE, "--reason", "unspecified"], NOW).unwrap();
    let out = desk.file("crl");
    desk.run(&["crl", "--out", text(&out)], NOW).unwrap();
    assert_eq!(number(), 4);
    let crl = tls::crls(&fs::read_to_string(out).unwrap()).unwrap();
    let (_, crl) = x509_parser::revocation_list::CertificateRevocationList::from_der(&crl[0]).unwrap();
    assert_eq!(crl.iter_revoked_certificates().count(), 2);
    assert_eq!(crl.crl_number().unwrap().to_string(), "4");
}

#[test]
fn what_ended_leaves_the_list_once_a_list_made_after_its_end_has_held_it() {
    let desk = Desk::new();
    let ended = serial(&desk.issue(&Node::agent(GEMEENTE), "a", NOW).unwrap());
    desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "key-compromise"], day(1)).unwrap();
    desk.run(&["crl"], day(80)).unwrap();
    let lasting = serial(&desk.issue(&Node::agent(POLITIE), "b", day(80)).unwrap());
    desk.run(&["revoke", "--oin", POLITIE, "--reason", "cessation"], day(80)).unwrap();
    let listed = || {
        let ca = Authority::open(&desk.ca()).unwrap();
        tls::revoked_serials(&Trust::new(ca.ca_pem(), &ca.crl_pem().unwrap()).unwrap()).unwrap()
    };
    let both = BTreeSet::from([ended, lasting.clone()]);
    // It ends on day 90: on day 91 the list before was made before its end, on day 92 after it.
    for (made, names) in [(89, &both), (91, &both), (92, &BTreeSet::from([lasting])), (60, &both)] {
        desk.run(&["crl"], day(made)).unwrap();
        assert_eq!(&listed(), names, "{made}");
        let kept = Authority::open(&desk.ca()).unwrap().keep_crl(day(made).plus(Span::hours(1))).unwrap();
        assert!(!kept, "a list without what ended is whole: {made}");
    }
    // A clock that went back: what has not ended is not left out.
    desk.run(&["crl"], day(92)).unwrap();
    desk.run(&["crl"], day(93)).unwrap();
    assert!(Authority::open(&desk.ca()).unwrap().keep_crl(day(70)).unwrap());
    assert_eq!(listed(), both);
}

#[test]
fn a_request_is_shown_with_the_fingerprint_to_compare() {
    let (desk, broker) = (Desk::new(), Node::broker(GEMEENTE));
    let request = broker.request(NOW);
    let (file, print) = (desk.put("r", &request), fingerprint(&request));
    let args = ["show-request", text(&file)];
    let (outcome, shown) = tell(&args, false, NOW);
    assert_eq!(outcome.unwrap(), Outcome::Done);
    let key = broker.signing.public().thumbprint().to_string();
    for part in
        [print.as_str(), GEMEENTE, "Gemeente Voorbeeldstad", "broker.example, 127.0.0.1", &key, "broker"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let shown: Value = serde_json::from_str(&tell(&args, true, NOW).1).unwrap();
    assert_eq!((&shown["fingerprint"], &shown["kind"]), (&Value::from(print), &Value::from("broker")));
}

#[test]
fn machines_get_lists_and_ends_as_json() {
    let (desk, a, b) = (Desk::new(), Node::agent(GEMEENTE), Node::agent(POLITIE));
    let grant = desk.issue(&a, "a", NOW).unwrap();
    desk.issue(&b, "b", day(5)).unwrap();
    desk.run(&["revoke", "--oin", POLITIE, "--reason", "key-compromise"], day(6)).unwrap();
    let ca = desk.ca();
    let list: Value = serde_json::from_str(&tell(&["list", "--dir", text(&ca)], true, day(7)).1).unwrap();
    let rows = list["certificates"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["valid"], &rows[0]["revoked"]), (&Value::from(true), &Value::Null));
    assert_eq!(
        (&rows[1]["valid"], &rows[1]["revoked"]),
        (&Value::from(false), &Value::from("key-compromise"))
    );
    let args = ["expiry", "--dir", text(&ca), "--within", "100"];
    let ends: Value = serde_json::from_str(&tell(&args, true, day(7)).1).unwrap();
    assert_eq!(ends["ends"].as_array().unwrap().len(), 1);
    assert_eq!(ends["ends"][0]["serial"], serial(&grant));
    assert!(tell(&args, false, day(7)).1.contains("83 dagen"));
}

#[test]
fn the_tool_ends_with_the_exit_code_of_the_outcome() {
    let desk = Desk::new();
    let ca = desk.ca();
    let code = |args: &[&str]| {
        let args = ["seinhuis-certs"].iter().chain(args).map(OsString::from);
        format!("{:?}", captured(|| run_at(args, NOW)).0)
    };
    let expect = |n: u8| format!("{:?}", ExitCode::from(n));
    assert_eq!(code(&["list", "--dir", text(&ca)]), expect(0));
    assert_eq!(code(&["expiry", "--dir", text(&ca), "--within", "4000"]), expect(1));
    assert_eq!(code(&["revoke", "--dir", text(&ca), "--oin", GEMEENTE, "--reason", "cessation"]), expect(1));
    assert_eq!(code(&["list", "--dir", "/nonexistent"]), expect(2));
    assert_eq!(code(&["list"]), expect(2));
    assert_eq!(code(&["issue", "--dir", "x", "--oin", "1"]), expect(2));
}

#[test]
fn the_private_key_is_in_no_file_that_is_handed_over() {
    let (desk, agent) = (Desk::new(), Node::agent(GEMEENTE));
    desk.issue(&agent, "a", NOW).unwrap();
    let key = fs::read_to_string(desk.ca().join("ca.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for file in
        [desk.file("a"), desk.ca().join("ca.pem"), desk.ca().join("crl.pem"), desk.ca().join("ledger.json")]
    {
        let content = fs::read_to_string(file).unwrap();
        assert!(!content.contains(secret) && !content.contains("PRIVATE"));
    }
}
