//! Every mistake has a sentence and an exit code, and nothing is issued because of it.

use std::fs;

use clap::Parser as _;
use rcgen::CertificateParams;
use seinhuis_shared::enrol::{EnrolRequest, NodeKind, fingerprint};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shell::enrolment::build_csr;
use seinhuis_shell::grant::Grant;
use seinhuis_shell::keys::TlsKey;

use super::kit::{Desk, GEMEENTE, NOW, Node, POLITIE, chmod, day, fails, run, text};
use crate::authority::Authority;
use crate::commands::Cli;

fn csr_of(node: &Node, csr: Vec<u8>) -> Vec<u8> {
    let request = EnrolRequest { csr, ..EnrolRequest::verify(&node.request(NOW)).unwrap() };
    request.sign(&node.signing)
}

#[test]
fn a_wrong_fingerprint_issues_nothing() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let other = fingerprint(&Node::agent(GEMEENTE).request(NOW));
    for print in [other.as_str(), "", "AAAAA-AAAAA-AAAAA-AAAAA"] {
        fails(desk.issue_with(&node.request(NOW), print, "out", NOW), 1, "Call the applicant");
    }
    assert_eq!(desk.count(), 0);
    assert!(!desk.file("out").exists());
}

#[test]
fn a_fingerprint_may_be_typed_as_it_was_heard() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let request = node.request(NOW);
    let heard = fingerprint(&request).replace('-', " ").to_lowercase();
    desk.issue_with(&request, &heard, "out", NOW).unwrap();
}

#[test]
fn the_fingerprint_cannot_be_left_out_of_issue() {
    let args = ["seinhuis-certs", "issue", "--dir", "ca", "request", "--out", "grant"];
    assert!(Cli::try_parse_from(args).unwrap_err().to_string().contains("--fingerprint"));
}

#[test]
fn a_tampered_request_is_refused_whatever_byte_was_changed() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let request = node.request(NOW);
    for at in (0..request.len()).step_by(7) {
        let mut changed = request.clone();
        changed[at] ^= 1;
        let result = desk.issue_with(&changed, &fingerprint(&changed), "out", NOW);
        assert_eq!(result.unwrap_err().exit.code(), 1, "byte {at}");
    }
    assert_eq!(desk.count(), 0);
}

#[test]
fn a_request_signed_by_another_signing_key_is_refused() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let request = EnrolRequest::verify(&node.request(NOW)).unwrap().sign(&SigningKey::from_seed(&[9; 32]));
    let error = fails(desk.issue_with(&request, &fingerprint(&request), "out", NOW), 1, "unknown-key");
    assert_eq!(error.refusal, Some(Refusal::UnknownKey));
}

#[test]
fn a_csr_signed_by_another_key_than_the_one_in_it_is_refused() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let (mine, theirs) = (node.tls.public_point(), TlsKey::generate().unwrap());
    let mut csr = build_csr(&node.tls).unwrap();
    let at = csr.windows(mine.len()).position(|part| part == mine).unwrap();
    csr[at..at + mine.len()].copy_from_slice(theirs.public_point());
    let request = csr_of(&node, csr);
    fails(desk.issue_with(&request, &fingerprint(&request), "out", NOW), 1, "not signed by the TLS key");
}

#[test]
fn a_csr_with_another_kind_of_key_or_without_form_is_refused() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let csr_with = |kind| {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        CertificateParams::new([]).unwrap().serialize_request(&key).unwrap().der().to_vec()
    };
    let (ed25519, p384) = (csr_with(&rcgen::PKCS_ED25519), csr_with(&rcgen::PKCS_ECDSA_P384_SHA384));
    let mut trailing = build_csr(&node.tls).unwrap();
    trailing.push(0);
    for (csr, part) in [(ed25519, "P-256"), (p384, "P-256"), (trailing, "unreadable"), (vec![], "unreadable")]
    {
        let request = csr_of(&node, csr);
        fails(desk.issue_with(&request, &fingerprint(&request), "out", NOW), 1, part);
    }
}

#[test]
fn names_and_hosts_in_a_signed_request_are_still_checked() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let good = EnrolRequest::verify(&node.request(NOW)).unwrap();
    for bad in [
        EnrolRequest { hosts: vec!["broker.example".into()], ..good.clone() },
        EnrolRequest { kind: NodeKind::Broker, ..good.clone() },
        EnrolRequest { kind: NodeKind::Broker, hosts: vec!["*.example:1".into()], ..good.clone() },
        EnrolRequest { name: " Gemeente".into(), ..good },
    ] {
        let request = bad.sign(&node.signing);
        fails(desk.issue_with(&request, &fingerprint(&request), "out", NOW), 1, "");
    }
}

#[test]
fn a_request_from_the_future_or_long_ago_is_refused() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let (future, old) = (node.request(day(1)), node.request(NOW));
    fails(desk.issue_with(&future, &fingerprint(&future), "out", NOW), 1, "clock");
    fails(desk.issue_with(&old, &fingerprint(&old), "out", day(31)), 1, "30 days old");
}

#[test]
fn an_oin_issued_to_another_signing_key_is_refused_until_revoked() {
    let (desk, first, second) = (Desk::new(), Node::agent(GEMEENTE), Node::agent(GEMEENTE));
    desk.issue(&first, "a", NOW).unwrap();
    fails(desk.issue(&second, "b", day(1)), 1, "Another signing key");
    desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "key-compromise"], day(2)).unwrap();
    desk.issue(&second, "b", day(3)).unwrap();
}

#[test]
fn one_signing_key_serves_one_node() {
    let (desk, first) = (Desk::new(), Node::agent(GEMEENTE));
    desk.issue(&first, "a", NOW).unwrap();
    let other = Node { oin: POLITIE, tls: TlsKey::generate().unwrap(), ..Node::agent(POLITIE) };
    let other = Node { signing: first.signing.clone(), ..other };
    fails(desk.issue(&other, "b", NOW), 1, "belongs to");
    let broker = Node { signing: first.signing.clone(), ..Node::broker(GEMEENTE) };
    fails(desk.issue(&broker, "b", NOW), 1, "belongs to");
    desk.issue(&Node::broker(GEMEENTE), "b", NOW).unwrap();
}

#[test]
fn a_request_is_used_once() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let request = node.request(NOW);
    desk.issue_with(&request, &fingerprint(&request), "a", NOW).unwrap();
    fails(desk.issue_with(&request, &fingerprint(&request), "b", NOW), 1, "issued for this request already");
    assert_eq!(desk.count(), 1);
}

#[test]
fn a_renewal_needs_the_key_on_record_a_newer_request_and_no_revocation() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    fails(desk.renew(&node.request(NOW), "b", NOW), 1, "Nothing has been issued");
    let older = node.request(NOW);
    desk.issue(&node, "a", day(1)).unwrap();
    let thief = Node::agent(GEMEENTE);
    fails(desk.renew(&thief.request(day(2)), "b", day(2)), 1, "not signed by the key on record");
    fails(desk.renew(&older, "b", day(2)), 1, "not newer");
    fails(desk.renew(&node.request(day(1)), "b", day(2)), 1, "not newer");
    let broker = Node { signing: node.signing.clone(), ..Node::broker(GEMEENTE) };
    fails(desk.renew(&broker.request(day(2)), "b", day(2)), 1, "Nothing has been issued");
    desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "cessation"], day(2)).unwrap();
    fails(desk.renew(&node.request(day(3)), "b", day(3)), 1, "was revoked");
    assert_eq!(desk.count(), 1);
}

#[test]
fn a_missing_folder_or_one_without_a_ca_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no");
    fails(run(&["list", "--dir", text(&missing)], NOW), 2, "seinhuis-certs init");
    chmod(dir.path(), 0o700);
    fails(run(&["list", "--dir", text(dir.path())], NOW), 2, "seinhuis-certs init");
}

#[test]
fn a_second_init_leaves_the_first_ca_alone() {
    let desk = Desk::new();
    let before = fs::read(desk.ca().join("ca.key")).unwrap();
    fails(desk.run(&["init", "--name", "Nog een"], NOW), 2, "already");
    assert_eq!(fs::read(desk.ca().join("ca.key")).unwrap(), before);
}

#[test]
fn weak_modes_are_refused_with_the_chmod_to_run() {
    let desk = Desk::new();
    chmod(&desk.ca().join("ca.key"), 0o640);
    fails(desk.run(&["list"], NOW), 2, "chmod 600");
    chmod(&desk.ca().join("ca.key"), 0o600);
    chmod(&desk.ca(), 0o755);
    fails(desk.run(&["list"], NOW), 2, "chmod 700");
    chmod(&desk.ca(), 0o700);
    desk.run(&["list"], NOW).unwrap();
}

#[test]
fn a_damaged_ledger_stops_everything() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    desk.issue(&node, "a", NOW).unwrap();
    let path = desk.ca().join("ledger.json");
    let good = fs::read_to_string(&path).unwrap();
    let record = good[good.find("    {").unwrap()..=good.rfind('}').unwrap() - 4].trim_end().to_owned();
    let twice = good.replace(&record, &format!("{record},\n{record}"));
    let serial = good.split("\"serial\": \"").nth(1).unwrap()[..32].to_owned();
    for (bad, part) in [
        (good[..good.len() / 2].to_owned(), "damaged"),
        (String::new(), "damaged"),
        (good.replace("\"revoked\"", "\"revokd\""), "damaged"),
        (good.replace(&serial, "00"), "32 hexadecimal"),
        (good.replace("2026-05-30", "2026-02-01"), "ends before"),
        (twice, "occurs twice"),
        (good.replace("ledger/1", "ledger/2"), "damaged"),
    ] {
        assert_ne!(bad, good, "{part}");
        fs::write(&path, &bad).unwrap();
        fails(desk.run(&["list"], NOW), 2, part);
        fails(desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "cessation"], NOW), 2, part);
        assert_eq!(fs::read_to_string(&path).unwrap(), bad, "a damaged ledger is not overwritten");
    }
    fs::remove_file(&path).unwrap();
    fails(desk.run(&["list"], NOW), 2, "ledger.json");
}

#[test]
fn files_of_different_cas_do_not_go_together() {
    let (desk, other) = (Desk::new(), Desk::new());
    fs::copy(other.ca().join("ca.pem"), desk.ca().join("ca.pem")).unwrap();
    fails(desk.run(&["list"], NOW), 2, "does not belong");
    fs::write(desk.ca().join("ca.pem"), "x").unwrap();
    fails(desk.run(&["list"], NOW), 2, "ca.pem");
}

#[test]
fn an_ended_ca_signs_nothing_more() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    desk.issue(&node, "a", NOW).unwrap();
    fails(desk.issue(&Node::agent(POLITIE), "b", day(3653)), 1, "the CA itself ended");
    fails(desk.run(&["crl"], day(3653)), 1, "the CA itself ended");
    fails(
        desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "cessation"], day(3653)),
        1,
        "the CA itself ended",
    );
}

#[test]
fn an_ended_or_missing_revocation_list_is_not_handed_out() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    fails(desk.issue(&node, "a", day(30)), 1, "revocation list ended");
    fs::remove_file(desk.ca().join("crl.pem")).unwrap();
    fails(desk.issue(&node, "a", day(30)), 2, "seinhuis-certs crl");
    assert_eq!(desk.count(), 0);
    desk.run(&["crl"], day(30)).unwrap();
    desk.issue(&node, "a", day(30)).unwrap();
}

#[test]
fn impossible_terms_and_names_are_refused() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let request = node.request(NOW);
    let (file, out, print) = (desk.put("r", &request), desk.file("a"), fingerprint(&request));
    for days in ["0", "399"] {
        let args = ["issue", text(&file), "--fingerprint", &print, "--out", text(&out), "--days", days];
        fails(desk.run(&args, NOW), 2, "days is not possible");
    }
    fails(desk.run(&["crl", "--days", "91"], NOW), 2, "days is not possible");
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("ca");
    fails(run(&["init", "--dir", text(&new), "--name", ""], NOW), 2, "cannot be in a certificate");
    assert!(!new.exists());
}

#[test]
fn an_existing_output_file_is_not_overwritten_and_nothing_is_issued() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    desk.put("a", b"notes");
    fails(desk.issue(&node, "a", NOW), 2, "not overwritten");
    assert_eq!((fs::read(desk.file("a")).unwrap(), desk.count()), (b"notes".to_vec(), 0));
}

#[test]
fn an_output_that_cannot_be_written_leads_to_the_copy() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let error = fails(desk.issue(&node, "no/a", NOW), 2, "has been issued all the same");
    let copy = error.advice.en.split_whitespace().last().unwrap().trim_end_matches('.').to_owned();
    Grant::load(copy.as_ref()).unwrap();
}

#[test]
fn a_missing_empty_or_endless_request_is_told() {
    let desk = Desk::new();
    let out = desk.file("a");
    let missing = desk.file("no");
    fails(
        desk.run(&["issue", text(&missing), "--fingerprint", "x", "--out", text(&out)], NOW),
        2,
        "does not exist",
    );
    for (bytes, exit, part) in [(vec![], 1, "not valid CBOR"), (vec![0; 9000], 2, "larger than")] {
        let file = desk.put("r", &bytes);
        fails(run(&["show-request", text(&file)], NOW), exit, part);
    }
}

#[test]
fn revoking_nothing_or_twice_is_refused() {
    let (desk, node) = (Desk::new(), Node::agent(GEMEENTE));
    let revoke = ["revoke", "--oin", GEMEENTE, "--reason", "superseded"];
    fails(desk.run(&revoke, NOW), 1, "no certificate");
    desk.issue(&node, "a", NOW).unwrap();
    desk.run(&revoke, NOW).unwrap();
    fails(desk.run(&revoke, NOW), 1, "no certificate");
    let both = [
        "seinhuis-certs",
        "revoke",
        "--dir",
        "x",
        "--oin",
        GEMEENTE,
        "--serial",
        "1",
        "--reason",
        "cessation",
    ];
    assert!(Cli::try_parse_from(both).is_err());
    assert!(
        Cli::try_parse_from(["seinhuis-certs", "revoke", "--dir", "x", "--reason", "cessation"]).is_err()
    );
}

#[test]
fn two_processes_do_not_work_in_one_folder() {
    let desk = Desk::new();
    let open = Authority::open(&desk.ca()).unwrap();
    fails(desk.run(&["list"], NOW), 2, "Another process");
    drop(open);
    desk.run(&["list"], NOW).unwrap();
}
