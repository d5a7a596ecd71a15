//! The renewal service with nodes of the partnership, and with who is none or is not the one it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::enrolment::build_csr;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::grant::Grant;
use seinhuis_shell::http::{Answer, Http, HttpError};
use seinhuis_shell::keys::{self, TlsKey};
use seinhuis_shell::renewal::{Folder, Live, Renewer, Settings};
use seinhuis_shell::{clock, tls};
use tokio::sync::{oneshot, watch};

use super::kit::{Desk, GEMEENTE, NOW, Node, POLITIE};
use crate::authority::Authority;
use crate::service::Renewals;

const PATIENCE: Duration = Duration::from_mins(1);
const REENROL: &str = "/.well-known/est/simplereenroll";

/// A CA whose service runs, with certificates as old as a test wants.
struct Office {
    desk: Desk,
    service: String,
    _stop: oneshot::Sender<()>,
}

/// A time before now.
fn ago(days: u64) -> Timestamp {
    clock::now().minus(Span::days(days))
}

impl Office {
    async fn open() -> Self {
        let desk = Desk::new();
        desk.run(&["crl"], clock::now()).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let renewals = Renewals::bind(&desk.ca(), any, vec!["127.0.0.1".into()], 90).await.unwrap();
        let service = format!("https://{}", renewals.address().unwrap());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(renewals.run(async { _ = stopped.await }));
        Self { desk, service, _stop: stop }
    }

    /// A node's folder with a certificate of 90 days that was issued so many days ago.
    fn node(&self, node: &Node, name: &str, days: u64) -> Folder {
        self.desk.run(&["crl"], ago(days)).unwrap();
        let grant = self.desk.issue(node, &format!("{name}.grant"), ago(days)).unwrap();
        self.desk.run(&["crl"], clock::now()).unwrap();
        let dir = self.desk.file(name);
        files::make_private_dir(&dir).unwrap();
        let folder = Folder {
            grant: dir.join("grant.json"),
            crl: dir.join("crl.pem"),
            key: dir.join("tls.key"),
            next: dir.join("tls.next.key"),
        };
        files::write(&folder.grant, &grant.to_bytes(), Existing::Keep).unwrap();
        keys::save_tls(&folder.key, &node.tls, Existing::Keep).unwrap();
        folder
    }

    /// The serial number of each certificate, oldest first.
    fn ledger(&self) -> Vec<String> {
        let ca = self.authority();
        ca.ledger().certificates.iter().map(|record| record.serial.clone()).collect()
    }

    /// The CA, once the service is not at work in it.
    fn authority(&self) -> Authority {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            match Authority::open(&self.desk.ca()) {
                Ok(ca) => return ca,
                Err(error) if std::time::Instant::now() > end => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    async fn ask(&self, folder: &Folder, path: &str, body: Option<Vec<u8>>) -> Result<Answer, HttpError> {
        let (http, address) = (client(folder), format!("{}{path}", self.service));
        match body {
            Some(body) => http.post(&address, "application/pkcs10", body, 1 << 20, PATIENCE).await,
            None => http.get(&address, 1 << 20, PATIENCE).await,
        }
    }

    /// Asks for a certificate for a key; status, and the word with which it is refused.
    async fn reenrol(&self, folder: &Folder, key: &TlsKey) -> (u16, String) {
        let answer = self.ask(folder, REENROL, Some(asking(key))).await.unwrap();
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, said["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Has a node renew by itself until it took in a certificate.
    async fn renew(&self, folder: &Folder) -> Live {
        let (live, renewed) = (Live::default(), watch::Sender::new(0));
        let mut done = renewed.subscribe();
        let settings = Settings { service: self.service.clone() };
        let renewer = Renewer::new(folder.clone(), &settings, live.clone(), renewed).unwrap();
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(renewer.run(stopping));
        tokio::time::timeout(PATIENCE, done.changed())
            .await
            .unwrap_or_else(|_| panic!("{:?}", live.get()))
            .unwrap();
        running.abort();
        live
    }

    /// Has a node try until it failed; what it says about that.
    async fn fail(&self, folder: &Folder) -> String {
        let (live, settings) = (Live::default(), Settings { service: self.service.clone() });
        let renewer = Renewer::new(folder.clone(), &settings, live.clone(), watch::Sender::new(0)).unwrap();
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(renewer.run(stopping));
        let told = async {
            loop {
                if let Some(problem) = live.get().problem {
                    return problem.en;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
        running.abort();
        told
    }
}

/// A client with the certificate of a node.
fn client(folder: &Folder) -> Http {
    let grant = Grant::load(&folder.grant).unwrap();
    let identity = folder.identity(&grant).unwrap();
    Http::with_tls(tls::renewal_client_config(&identity, &grant.trust().unwrap()).unwrap()).unwrap()
}

fn asking(key: &TlsKey) -> Vec<u8> {
    BASE64.encode(&build_csr(key).unwrap()).into_bytes()
}

fn serial(grant: &Path) -> String {
    tls::peer(&tls::certificates(&Grant::load(grant).unwrap().chain).unwrap()).unwrap().serial
}

/// The folder holds a certificate with its key, and no other key.
fn whole(folder: &Folder) -> Grant {
    let grant = Grant::load(&folder.grant).unwrap();
    grant.identity(&keys::load_tls(&folder.key).unwrap()).unwrap();
    assert!(!folder.next.exists());
    grant
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_broker_renew_by_themselves_with_a_new_key() {
    let office = Office::open().await;
    for (node, name) in [(Node::agent(GEMEENTE), "agent"), (Node::broker(POLITIE), "broker")] {
        let folder = office.node(&node, name, 80);
        let before = whole(&folder);
        let live = office.renew(&folder).await.get();
        let after = whole(&folder);
        assert!(live.renewed.is_some() && live.problem.is_none(), "{live:?}");
        assert!(after.not_after > before.not_after.plus(Span::days(70)), "{name}");
        assert!(after.identity(&node.tls).is_err(), "another key");
        assert_eq!(
            (after.oin, &after.name, after.kind, &after.ca),
            (before.oin, &before.name, before.kind, &before.ca)
        );
        assert_eq!(office.ledger().last(), Some(&serial(&folder.grant)), "in the ledger");
        let list = fs::read_to_string(office.desk.ca().join("crl.pem")).unwrap();
        assert_eq!(fs::read_to_string(&folder.crl).unwrap(), list, "the newest list is here too");
        assert!(
            Grant::load(&office.desk.ca().join(format!("issued/{}.json", serial(&folder.grant)))).is_ok()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_at_any_point_of_a_renewal_comes_out_with_one_certificate_and_its_key() {
    let office = Office::open().await;
    let folder = office.node(&Node::agent(GEMEENTE), "agent", 80);
    // The new key is drawn, and nobody heard of it.
    let drawn = folder.next_key().unwrap();
    folder.identity(&Grant::load(&folder.grant).unwrap()).unwrap();
    // The CA issued, and the answer was lost.
    let (status, _) = office.reenrol(&folder, &drawn).await;
    assert_eq!(status, 200);
    let issued = office.ledger();
    // Again: the same certificate, and no other is issued.
    office.renew(&folder).await;
    assert_eq!(whole(&folder).identity(&drawn).map(|_| ()), Ok(()));
    assert_eq!((office.ledger(), serial(&folder.grant)), (issued.clone(), issued.last().unwrap().clone()));
    // The grant is in its place and the key is not: the certificate decides, before and after it is put right.
    files::replace(&folder.key, &folder.next).unwrap();
    keys::save_tls(&folder.key, &TlsKey::generate().unwrap(), Existing::Keep).unwrap();
    let grant = Grant::load(&folder.grant).unwrap();
    folder.identity(&grant).unwrap();
    folder.settle(&grant).unwrap();
    whole(&folder);
    // A key that is being asked for is not put in the place of the one that counts.
    let pending = folder.next_key().unwrap();
    folder.settle(&grant).unwrap();
    assert_eq!(folder.next_key().unwrap().public_point(), pending.public_point());
    grant.identity(&keys::load_tls(&folder.key).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_dies_while_it_issues_gives_that_certificate_after_all() {
    let office = Office::open().await;
    let folder = office.node(&Node::agent(GEMEENTE), "agent", 80);
    assert_eq!(office.reenrol(&folder, &folder.next_key().unwrap()).await.0, 200);
    let issued = office.ledger();
    // It was on record and its copy had not got its place; of another one nothing was on record.
    let copy = office.desk.ca().join("issued").join(format!("{}.json", issued.last().unwrap()));
    files::replace(&copy, &copy.with_extension("new")).unwrap();
    let unknown = copy.with_file_name("00.new");
    fs::write(&unknown, b"{}").unwrap();
    office.renew(&folder).await;
    whole(&folder);
    assert_eq!((office.ledger(), serial(&folder.grant)), (issued.clone(), issued.last().unwrap().clone()));
    assert!(copy.exists() && !copy.with_extension("new").exists() && !unknown.exists());
}

#[test]
fn a_list_that_lacks_a_revocation_on_record_is_made_anew() {
    let desk = Desk::new();
    desk.issue(&Node::agent(GEMEENTE), "grant", NOW).unwrap();
    let list = desk.ca().join("crl.pem");
    let before = fs::read(&list).unwrap();
    desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "key-compromise"], NOW).unwrap();
    assert!(!Authority::open(&desk.ca()).unwrap().keep_crl(NOW).unwrap(), "it is whole");
    // The process died between the record and the list.
    fs::write(&list, before).unwrap();
    let mut ca = Authority::open(&desk.ca()).unwrap();
    assert!(ca.keep_crl(NOW).unwrap());
    let trust = tls::Trust::new(ca.ca_pem(), &ca.crl_pem().unwrap()).unwrap();
    let revoked = ca.ledger().certificates.first().unwrap().serial.clone();
    assert!(tls::revoked_serials(&trust).unwrap().contains(&revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_hold_the_same_keys_one_renews_and_the_other_is_told() {
    let office = Office::open().await;
    let folder = office.node(&Node::agent(GEMEENTE), "agent", 80);
    let thief: Folder = {
        let dir = office.desk.file("thief");
        files::make_private_dir(&dir).unwrap();
        let copy = |path: &PathBuf| {
            let to = dir.join(path.file_name().unwrap());
            fs::copy(path, &to).unwrap();
            to
        };
        Folder {
            grant: copy(&folder.grant),
            key: copy(&folder.key),
            crl: dir.join("crl.pem"),
            next: dir.join("n"),
        }
    };
    office.renew(&thief).await;
    let told = office.fail(&folder).await;
    assert!(told.contains("later certificate") && told.contains("stolen-agent"), "{told}");
    assert_eq!(office.reenrol(&folder, &TlsKey::generate().unwrap()).await, (403, "not-newest".into()));
    // Both certificates are gone with one revocation, and neither gets another.
    office.desk.run(&["revoke", "--oin", GEMEENTE, "--reason", "key-compromise"], clock::now()).unwrap();
    for one in [&thief, &folder] {
        assert!(office.ask(one, "/crl.pem", None).await.is_err(), "the connection itself is refused");
    }
    assert_eq!(office.ledger().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_renewed_is_not() {
    let office = Office::open().await;
    let node = Node::agent(GEMEENTE);
    let folder = office.node(&node, "agent", 10);
    let before = office.ledger();
    let fresh = TlsKey::generate().unwrap();
    assert_eq!(office.reenrol(&folder, &fresh).await, (429, "too-early".into()));
    for body in [Vec::new(), b"!".to_vec(), BASE64.encode(b"no request").into_bytes()] {
        let answer = office.ask(&folder, REENROL, Some(body)).await.unwrap();
        assert_eq!(answer.status, 400);
    }
    let long = office.ask(&folder, REENROL, Some(vec![b'A'; 9000])).await;
    assert!(long.is_err() || long.unwrap().status == 413);
    assert_eq!(office.ask(&folder, "/ca.key", None).await.unwrap().status, 404);
    assert_eq!(office.ask(&folder, REENROL, None).await.unwrap().status, 405);
    // The old key again brings nothing new.
    let old = office.node(&Node::agent(POLITIE), "old", 80);
    let key = keys::load_tls(&old.key).unwrap();
    assert_eq!(office.reenrol(&old, &key).await, (400, "bad-request".into()));
    // Neither does a certificate that the ledger does not know, though the same CA signed it.
    let mut ledger = fs::read_to_string(office.desk.ca().join("ledger.json")).unwrap();
    ledger = ledger.replace(&serial(&old.grant), &"4".repeat(32));
    fs::write(office.desk.ca().join("ledger.json"), ledger).unwrap();
    assert_eq!(office.reenrol(&old, &fresh).await, (403, "unknown".into()));
    assert_eq!(office.ledger().len(), before.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_of_another_partnership_or_without_a_certificate_gets_an_answer() {
    let (office, other) = (Office::open().await, Office::open().await);
    let own = office.node(&Node::agent(GEMEENTE), "agent", 80);
    let stranger = other.node(&Node::agent(GEMEENTE), "agent", 80);
    assert_eq!(office.ask(&own, "/crl.pem", None).await.unwrap().status, 200);
    // Trusts the service, and shows another CA's certificate.
    let (grant, foreign) = (Grant::load(&own.grant).unwrap(), Grant::load(&stranger.grant).unwrap());
    let identity = foreign.identity(&keys::load_tls(&stranger.key).unwrap()).unwrap();
    let config = tls::renewal_client_config(&identity, &grant.trust().unwrap()).unwrap();
    let address = format!("{}/crl.pem", office.service);
    assert!(Http::with_tls(config).unwrap().get(&address, 1 << 20, PATIENCE).await.is_err());
    // Shows none.
    let roots = office.desk.ca().join("ca.pem");
    assert!(Http::new(Some(&roots)).unwrap().get(&address, 1 << 20, PATIENCE).await.is_err());
    // And a node does not talk to another partnership's service.
    assert!(office.ask(&stranger, "/crl.pem", None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_list_is_renewed_at_the_service_and_fetched_in_spite_of_its_end() {
    let office = Office::open().await;
    let folder = office.node(&Node::agent(GEMEENTE), "agent", 80);
    // The grant's list ended fifty days ago; the CA's own has been kept up.
    office.renew(&folder).await;
    let list = tls::crls(&fs::read_to_string(&folder.crl).unwrap()).unwrap();
    assert!(tls::crl_next_update(&list[0]).unwrap() > clock::now());
    // Half of the time is over: the CA makes the next one.
    let mut ca = office.authority();
    let (number, end) = (ca.ledger().crl_number, ca.crl_end().unwrap());
    assert!(!ca.keep_crl(end.minus(Span::days(16))).unwrap());
    assert!(ca.keep_crl(end.minus(Span::days(14))).unwrap());
    assert_eq!(ca.ledger().crl_number, number + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_taken_in_keeps_no_certificate_from_being_renewed() {
    let office = Office::open().await;
    let folder = office.node(&Node::agent(GEMEENTE), "agent", 80);
    // No file can be below a file.
    let folder = Folder { crl: folder.grant.join("crl.pem"), ..folder };
    office.renew(&folder).await;
    assert_eq!(office.ledger().last(), Some(&serial(&folder.grant)));
    let told = office.fail(&folder).await;
    assert!(told.contains("crl.pem"), "the list is still told of: {told}");
    assert_eq!(office.ledger().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_organisation_has_a_share_of_the_connections() {
    let office = Office::open().await;
    let [many, other] =
        [GEMEENTE, POLITIE].map(|oin| office.node(&Node::agent(oin), &format!("{oin}.dir"), 10));
    let address = format!("{}/crl.pem", office.service);
    // Each keeps its connection.
    let mut kept = Vec::new();
    let mut turned_away = false;
    while kept.len() < 16 && !turned_away {
        let http = client(&many);
        turned_away = http.get(&address, 1 << 20, PATIENCE).await.is_err();
        kept.push(http);
    }
    assert!(turned_away && kept.len() > 2, "{}", kept.len());
    assert_eq!(office.ask(&other, "/crl.pem", None).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_does_not_wait_for_the_folder() {
    let office = Office::open().await;
    let folder = office.node(&Node::agent(GEMEENTE), "agent", 80);
    let busy = office.authority();
    let answer = office.ask(&folder, REENROL, Some(b"AAAA".to_vec())).await.unwrap();
    assert_eq!(answer.status, 400);
    drop(busy);
}
