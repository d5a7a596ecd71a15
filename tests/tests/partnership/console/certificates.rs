//! Signing in with a certificate, on the listener of the broker's own with TLS.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};
use seinhuis_shared::signing::sha256;
use seinhuis_tests::http::{Answer, Client, exchange};
use seinhuis_tests::site::{Site, form, hidden};
use seinhuis_tests::stage::{PATIENCE, StageError, text};
use seinhuis_tests::{Stage, ports, process};
use serde_json::Value;

use super::{Account, signed_in};
use crate::common::Scene;

/// How browsers call the console here, without the port.
const NAME: &str = "console.example";
/// Whoever says nothing for so long is taken to refuse.
const SILENCE: Duration = Duration::from_mins(1);

/// An authority that gives certificates to people and to sites.
struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
#[derive(Clone)]
struct Paper {
    der: CertificateDer<'static>,
    pem: String,
    key: Arc<KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, serial: u8, change: impl FnOnce(&mut CertificateParams)) -> Paper {
        let key = Arc::new(KeyPair::generate().unwrap());
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.distinguished_name = named(name);
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let own = params.signed_by(&*key, &self.0).unwrap();
        Paper { der: own.der().clone(), pem: own.pem(), key }
    }

    fn person(&self, name: &str, serial: u8) -> Paper {
        self.issue(name, serial, |_| ())
    }

    fn site(&self) -> Paper {
        self.issue(NAME, 200, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// A list with these serial numbers, which counts until that year.
    fn list(&self, revoked: &[u8], until: i32) -> String {
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.0)
        .unwrap()
        .pem()
        .unwrap()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// A console with both listeners.
struct Open {
    here: SocketAddr,
    with_certificates: SocketAddr,
    sites: Ca,
    people: Ca,
}

impl Open {
    /// Has the broker serve both from its next start on; `more` goes into `[console]`.
    fn new(stage: &Stage, more: &str) -> Self {
        let (sites, people) = (Ca::new("Sites"), Ca::new("Mensen"));
        let home = stage.broker_home();
        show(&home, &sites.site());
        fs::write(home.join("people.pem"), people.0.pem()).unwrap();
        fs::write(home.join("people.crl"), people.list(&[], 2900)).unwrap();
        let [here, with_certificates] = [(); 2].map(|()| ports::free().unwrap());
        let port = with_certificates.port();
        stage
            .configure(&format!(
                "\n[console]\nlisten = \"{here}\"\n{more}\n[console.certificates]\nlisten = \"{with_certificates}\"\n\
                 origin = \"https://{NAME}:{port}\"\ncertificate = \"site.pem\"\nkey = \"site.key\"\n\
                 authorities = \"people.pem\"\nrevocations = \"people.crl\"\n"
            ))
            .unwrap();
        Self { here, with_certificates, sites, people }
    }

    /// Somebody with this certificate, or without one.
    fn visitor(&self, paper: Option<&Paper>) -> Visitor {
        let mut roots = RootCertStore::empty();
        roots.add(self.sites.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match paper {
            Some(paper) => {
                let key = PrivateKeyDer::Pkcs8(paper.key.serialize_der().into());
                config.with_client_auth_cert(vec![paper.der.clone()], key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        Visitor {
            config: Arc::new(config),
            address: self.with_certificates,
            cookie: String::new(),
            token: String::new(),
        }
    }

    /// Somebody who signed in with this certificate.
    fn signed_in(&self, paper: &Paper) -> Visitor {
        let mut visitor = self.visitor(Some(paper));
        visitor.sign_in("/sign-in/certificate", &[]);
        visitor
    }

    /// What is asked on this machine itself, with the cookie of a session that began elsewhere.
    fn here(&self, cookie: &str) -> Site {
        let mut site = Site::new(self.here);
        cookie.clone_into(&mut site.cookie);
        site
    }
}

/// Puts the certificate of the site in its place.
fn show(home: &Path, paper: &Paper) {
    fs::write(home.join("site.key"), paper.key.serialize_pem()).unwrap();
    fs::set_permissions(home.join("site.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(home.join("site.pem"), &paper.pem).unwrap();
}

/// Makes an account that signs in with a certificate.
fn register(stage: &Stage, args: &[&str], paper: &Paper) -> Value {
    stage.broker(&[&["operator"], args, &["--certificate", &file(stage, paper)]].concat()).unwrap()
}

/// A certificate in a file.
fn file(stage: &Stage, paper: &Paper) -> String {
    let path = stage.broker_home().join("person.pem");
    fs::write(&path, &paper.pem).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A browser that shows one certificate.
struct Visitor {
    config: Arc<ClientConfig>,
    address: SocketAddr,
    cookie: String,
    token: String,
}

impl Visitor {
    fn host(&self) -> String {
        format!("{NAME}:{}", self.address.port())
    }

    fn connect(&self) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let session = ClientConnection::new(Arc::clone(&self.config), NAME.try_into().unwrap());
        Ok(StreamOwned::new(session.map_err(io::Error::other)?, stream))
    }

    /// Asks on a connection of its own, with these fields besides or in the place of the usual ones.
    fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], text: &str) -> io::Result<Answer> {
        let (host, origin) = (self.host(), format!("https://{}", self.host()));
        let mut all = vec![
            ("host", host.as_str()),
            ("origin", origin.as_str()),
            ("cookie", self.cookie.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        all.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
        all.extend(fields);
        let client = Client { address: self.address, token: String::new() };
        exchange(self.connect()?, &client.request(method, path, &all, text))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").unwrap()
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let all = [&[("token", self.token.as_str())], fields].concat();
        self.ask("POST", path, &[], &form(&all)).unwrap()
    }

    /// Signs in, and is in.
    fn sign_in(&mut self, path: &str, fields: &[(&str, &str)]) {
        let answer = self.post(path, fields);
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.raw_head.split_once("set-cookie: ").and_then(|(_, rest)| rest.split_once(';'));
        cookie.unwrap().0.clone_into(&mut self.cookie);
        self.token = hidden(&self.get("/").text(), "token");
        assert!(!self.token.is_empty());
    }

    /// Whether not even the page that asks who it is comes back.
    fn is_shut_out(&self) -> bool {
        self.ask("GET", "/", &[], "").map_or(0, |answer| answer.status) == 0
    }

    /// Whether nobody is signed in.
    fn is_nobody(&self) -> bool {
        self.get("/queues").status == 401
    }
}

#[test]
fn people_sign_in_with_the_certificate_of_their_account_and_have_its_role() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let open = Open::new(stage, "local = false");
    let [anna, lies] =
        [("Anna de Vries", 1), ("Lies", 2)].map(|(name, serial)| open.people.person(name, serial));
    let made = register(stage, &["add", "Anna de Vries", "--role", "operator"], &anna);
    assert_eq!(text(&made, "certificate"), sha256(&anna.der).to_string());
    assert!(made.get("password").is_none(), "{made}");
    register(stage, &["add", "Lies", "--role", "viewer"], &lies);
    let bea = Account::new(stage, "Bea", "viewer");
    let ways = stage.broker(&["operator", "list"]).unwrap();
    let way = |nth: usize| ways[nth]["certificate"].clone();
    assert_eq!((way(0), way(2)), (sha256(&anna.der).to_string().into(), Value::Null), "{ways}");
    let broker = scene.broker();

    let page = open.visitor(Some(&anna)).get("/").text();
    assert!(page.contains("Aanmelden met het certificaat van Anna de Vries"), "{page}");
    assert!(open.visitor(Some(&anna)).is_nobody(), "a certificate by itself opens nothing");
    let (anna, lies) = (open.signed_in(&anna), open.signed_in(&lies));
    let page = anna.get("/queues");
    assert!(page.text().contains("Anna de Vries, beheerder"), "{}", page.text());
    assert!(page.head.contains("strict-transport-security: "), "{}", page.head);
    assert!(lies.get("/queues").text().contains("Lies, lezer"));

    let (mut connection, client) =
        (anna.connect().unwrap(), Client { address: anna.address, token: String::new() });
    exchange(&mut connection, &client.request("GET", "/", &[("host", &anna.host())], "")).unwrap();
    let group = connection.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768, "hybrid with a browser that has it");
    assert_eq!(connection.conn.tls13_tickets_received(), 0, "nothing is resumed");

    // What a role may, and that a form is of its session, is as everywhere.
    let path = format!("/agents/{}", stage.member("politie").oin);
    let key = hidden(&anna.get(&path).text(), "key");
    let fields = [("do", "revoke"), ("reason", "Telefonisch gemeld"), ("key", key.as_str())];
    assert_eq!(lies.post(&path, &fields).status, 403);
    assert_eq!(anna.ask("POST", &path, &[], &form(&fields)).unwrap().status, 403, "without a token");
    assert_eq!(anna.post(&path, &fields).status, 303);
    let book = fs::read_to_string(stage.broker_home().join("console-acts.jsonl")).unwrap();
    assert!(book.contains("\"who\":\"Anna de Vries\""), "{book}");
    assert_eq!(anna.post("/sign-out", &[]).status, 303);
    assert!(anna.is_nobody());

    // Passwords do not count where the configuration says so, also here; a code for one sign-in does.
    let code = bea.code(0);
    let right = [("name", "Bea"), ("password", bea.password.as_str()), ("code", code.as_str())];
    assert_eq!(lies.post("/sign-in", &right).status, 401);
    let log = fs::read_to_string(stage.log_of("broker")).unwrap();
    for word in ["Anna", "Lies", lies.cookie.split('=').nth(1).unwrap()] {
        assert!(!log.contains(word), "the log tells {word}");
    }
    broker.stop(PATIENCE).unwrap();
}

#[test]
fn who_shows_no_certificate_or_one_that_does_not_count_is_shut_out() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let open = Open::new(stage, "");
    let other = Ca::new("Mensen");
    let past = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 1, 1);
    let later = |params: &mut CertificateParams| params.not_before = date_time_ymd(2900, 1, 1);
    let for_servers = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let wrong = [
        ("of another authority with the same name", other.person("Anna", 1)),
        ("of the authority of the site", open.sites.person("Anna", 1)),
        ("that has ended", open.people.issue("Anna", 1, past)),
        ("that has not begun", open.people.issue("Anna", 1, later)),
        ("for servers", open.people.issue("Anna", 1, for_servers)),
    ];
    for (what, paper) in &wrong {
        let add = ["operator", "add", "Anna", "--role", "viewer", "--certificate", &file(stage, paper)];
        assert!(stage.broker(&add).is_err(), "an account with a certificate {what}");
    }
    let anna = open.people.person("Anna", 1);
    register(stage, &["add", "Anna", "--role", "viewer"], &anna);
    let again = ["operator", "add", "Bert", "--role", "viewer", "--certificate", &file(stage, &anna)];
    assert!(stage.broker(&again).is_err(), "a certificate is of one account");
    let _broker = scene.broker();
    assert!(open.visitor(None).is_shut_out());
    for (what, paper) in &wrong {
        assert!(open.visitor(Some(paper)).is_shut_out(), "{what}");
    }
    assert_eq!(
        Site::new(open.with_certificates).get("/").map_or(0, |answer| answer.status),
        0,
        "without TLS"
    );
    assert!(!open.visitor(Some(&anna)).is_shut_out(), "after all that who is right still comes in");

    // Nobody has the account of this one: it is said which one it is, and nothing is begun.
    let stranger = open.people.person("Vreemd", 9);
    let visitor = open.visitor(Some(&stranger));
    let page = visitor.get("/").text();
    assert!(
        page.contains("hoort bij geen account") && page.contains(&sha256(&stranger.der).to_string()),
        "{page}"
    );
    let answer = visitor.post("/sign-in/certificate", &[]);
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(!answer.head.contains("set-cookie") && answer.text().contains("hoort bij geen account"));

    // What a web server in front would say of certificates is not asked.
    let pem = anna.pem.replace('\n', " ");
    for name in ["x-ssl-client-cert", "x-client-cert", "ssl-client-cert", "x-forwarded-client-cert"] {
        let here = Site::new(open.here)
            .post_with("/sign-in/certificate", &[(name, &pem)], &[("lang", "nl")])
            .unwrap();
        assert_eq!((here.status, here.head.contains("set-cookie")), (404, false), "{name}");
        let there = visitor.ask("POST", "/sign-in/certificate", &[(name, &pem)], "a=b").unwrap();
        assert_eq!((there.status, there.head.contains("set-cookie")), (403, false), "{name}");
    }
    // Nor does another site begin a session, or another name.
    let visitor = open.visitor(Some(&anna));
    for (field, status) in [
        (("origin", "https://evil.example"), 403),
        (("origin", "null"), 403),
        (("origin", "https://console.example"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("host", "evil.example"), 421),
        (("host", "localhost"), 421),
    ] {
        let answer = visitor.ask("POST", "/sign-in/certificate", &[field], "a=b").unwrap();
        assert_eq!((answer.status, answer.head.contains("set-cookie")), (status, false), "{field:?}");
    }
    assert_eq!(visitor.ask("GET", "/sign-in/certificate", &[], "").unwrap().status, 405);
}

#[test]
fn a_session_counts_over_connections_with_its_own_certificate_alone() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let open = Open::new(stage, "");
    let [anna, lies, fresh] = [1, 2, 3].map(|serial| open.people.person("Iemand", serial));
    register(stage, &["add", "Anna", "--role", "operator"], &anna);
    register(stage, &["add", "Lies", "--role", "viewer"], &lies);
    let bea = Account::new(stage, "Bea", "operator");
    let _broker = scene.broker();
    let stolen = |of: &Visitor, paper: &Paper| {
        let mut thief = open.visitor(Some(paper));
        (thief.cookie, thief.token) = (of.cookie.clone(), of.token.clone());
        thief
    };
    let owner = open.signed_in(&anna);
    assert!(!stolen(&owner, &anna).is_nobody(), "another connection with the same one");
    assert!(stolen(&owner, &lies).is_nobody(), "another certificate");
    assert_eq!(open.here(&owner.cookie).get("/queues").unwrap().status, 401, "without TLS");
    let mut here = open.here(&owner.cookie);
    here.token.clone_from(&owner.token);
    assert_eq!(here.post("/language", &[("lang", "en")]).unwrap().status, 401);
    assert_eq!(stolen(&owner, &lies).post("/sign-out", &[]).status, 401);
    assert!(!owner.is_nobody(), "and none of them ended it");

    // One that began on this machine does not come over, nor does one that began with a password over TLS.
    let local = signed_in(stage, open.here, "Bea");
    let mut visitor = open.visitor(Some(&anna));
    visitor.cookie.clone_from(&local.cookie);
    assert!(visitor.is_nobody());
    assert_eq!(local.get("/queues").unwrap().status, 200);
    let mut visitor = open.visitor(Some(&anna));
    let code = bea.code(0);
    visitor.sign_in("/sign-in", &[("name", "Bea"), ("password", &bea.password), ("code", &code)]);
    assert!(visitor.get("/queues").text().contains("Bea, beheerder"));
    assert!(stolen(&visitor, &lies).is_nobody());
    assert_eq!(open.here(&visitor.cookie).get("/queues").unwrap().status, 401);

    // Another certificate for the account, and none at all, end it at once, also on a connection that stays.
    register(stage, &["reset", "Anna"], &fresh);
    assert!(owner.is_nobody() && open.visitor(Some(&anna)).get("/").text().contains("bij geen account"));
    let owner = open.signed_in(&fresh);
    let mut connection = owner.connect().unwrap();
    let client = Client { address: owner.address, token: String::new() };
    let fields =
        [("host", owner.host()), ("cookie", owner.cookie.clone()), ("connection", "keep-alive".into())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let request = client.request("GET", "/style.css", &fields, "");
    assert_eq!(exchange(&mut connection, &request).unwrap().status, 200);
    let request = client.request("GET", "/queues", &fields, "");
    assert_eq!(exchange(&mut connection, &request).unwrap().status, 200);
    stage.broker(&["operator", "remove", "Anna"]).unwrap();
    assert_eq!(exchange(&mut connection, &request).unwrap().status, 401);
    assert!(owner.is_nobody());
}

#[test]
fn files_that_are_replaced_count_from_the_next_connection_on() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let open = Open::new(stage, "");
    let [anna, lies] = [1, 2].map(|serial| open.people.person("Iemand", serial));
    register(stage, &["add", "Anna", "--role", "viewer"], &anna);
    register(stage, &["add", "Lies", "--role", "viewer"], &lies);
    let broker = scene.broker();
    let owner = open.signed_in(&anna);
    let home = stage.broker_home();
    let until = |what: &str, holds: &dyn Fn() -> bool| process::until(what, PATIENCE, holds).unwrap();

    fs::write(home.join("people.crl"), open.people.list(&[1], 2900)).unwrap();
    until("who is revoked is shut out", &|| owner.is_shut_out());
    let visitor = open.signed_in(&lies);
    let revoked = ["operator", "reset", "Lies", "--certificate", &file(stage, &anna)];
    assert!(stage.broker(&revoked).is_err(), "an account with a certificate that is revoked");
    // What cannot be used changes nothing.
    fs::write(home.join("people.pem"), "no certificate").unwrap();
    until("it is told", &|| fs::read_to_string(stage.log_of("broker")).unwrap().contains("people.pem: "));
    assert!(!visitor.is_nobody() && owner.is_shut_out());
    fs::write(home.join("people.pem"), open.people.0.pem()).unwrap();
    fs::write(home.join("people.crl"), open.people.list(&[], 2026)).unwrap();
    until("a list that has ended lets nobody in", &|| visitor.is_shut_out());
    until("the operator is told so", &|| {
        let board = stage.broker(&["top", "--once"]).unwrap();
        let alarms = board["alarms"].as_array().unwrap();
        alarms.iter().any(|alarm| alarm["subject"] == "console-revocations" && alarm["severity"] == "page")
    });
    let fresh = || {
        fs::write(home.join("people.crl"), open.people.list(&[], 2900)).unwrap();
        until("a fresh list lets people in", &|| !visitor.is_shut_out() && !owner.is_nobody());
    };
    fresh();
    fs::write(home.join("people.crl"), Ca::new("Mensen").list(&[], 2900)).unwrap();
    until("nor does one that others signed", &|| visitor.is_shut_out());
    fresh();

    // The site under another authority: what trusted the one before does not know it any more.
    let sites = Ca::new("Sites");
    show(&home, &sites.site());
    until("the site is another", &|| visitor.is_shut_out());
    let open = Open { sites, ..open };
    assert!(!open.signed_in(&anna).is_nobody());
    broker.stop(PATIENCE).unwrap();
}

#[test]
fn doctor_tells_which_file_cannot_be_used_before_the_broker_runs() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let anna = Ca::new("Mensen").person("Anna", 1);
    let add = ["operator", "add", "Anna", "--role", "viewer", "--certificate", &file(stage, &anna)];
    let refused = |args: &[&str]| stage.broker(args).unwrap_err().to_string();
    assert!(refused(&add).contains("console.certificates"), "{}", refused(&add));
    let open = Open::new(stage, "");
    let home = stage.broker_home();
    let doctor = || {
        let found = match stage.broker(&["doctor"]) {
            Err(StageError::Command { ran, .. }) => ran.json(),
            found => found.unwrap(),
        };
        found.as_array().unwrap().iter().find(|one| one["what"] == "Console").unwrap().to_string()
    };
    assert!(doctor().contains("\"right\":true"), "{}", doctor());
    for (name, text) in [
        ("site.pem", "x"),
        ("site.pem", anna.pem.as_str()),
        ("site.key", "x"),
        ("people.pem", ""),
        ("people.crl", ""),
    ] {
        let kept = fs::read_to_string(home.join(name)).unwrap();
        fs::write(home.join(name), text).unwrap();
        let told = doctor();
        assert!(told.contains(&format!("{name}: ")) && told.contains("\"right\":false"), "{told}");
        fs::write(home.join(name), kept).unwrap();
    }
    fs::set_permissions(home.join("site.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(doctor().contains("chmod 600"), "a key that others can read");
    show(&home, &open.sites.site());
    let _broker = scene.broker();
}
