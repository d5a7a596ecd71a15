//! What a running broker takes in from its folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Parser as _;
use seinhuis_certs::commands::{Cli, execute};
use seinhuis_shared::enrol::{NodeKind, fingerprint};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shell::cli::{Ui, captured};
use seinhuis_shell::enrolment::{Applicant, make_request};
use seinhuis_shell::lang::Lang;

use super::*;
use crate::logs::tests::{home, stop};

/// Far longer than a look at the folder is away.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a command of the partnership CA in its folder.
fn certs(ca: &Path, args: &[&str]) {
    let all =
        ["seinhuis-certs"].into_iter().chain(args.iter().copied()).chain(["--dir", ca.to_str().unwrap()]);
    let cli = Cli::try_parse_from(all).unwrap();
    captured(|| execute(cli.command, Ui { lang: Lang::En, json: false }, clock::now())).0.unwrap();
}

/// A broker that runs, with its partnership's CA, and what has to end with it.
fn started(dir: &Path, ca: &Path) -> (Server, Home, Service, crate::service::EngineThread) {
    started_with(dir, ca, |_| {})
}

/// As [`started`], configured otherwise.
fn started_with(
    dir: &Path,
    ca: &Path,
    configure: impl FnOnce(&mut Config),
) -> (Server, Home, Service, crate::service::EngineThread) {
    let (home, mut config) = home(dir);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    configure(&mut config);
    certs(ca, &["init", "--name", "Partnership"]);
    let applicant =
        Applicant { kind: NodeKind::Broker, oin: config.oin, name: "Broker", hosts: &["127.0.0.1".into()] };
    let (signing, key) =
        (SigningKey::from_seed(&keys::random()), keys::generate_tls(&home.tls_key()).unwrap());
    let request = make_request(&applicant, &signing, &key, clock::now()).unwrap();
    let (file, grant) = (dir.join("request"), home.grant());
    fs::write(&file, &request).unwrap();
    let (file, grant) = (file.to_str().unwrap(), grant.to_str().unwrap());
    certs(ca, &["issue", file, "--fingerprint", &fingerprint(&request), "--out", grant]);
    let (service, thread) = Service::open(&home, &config).unwrap();
    (Server::start(&home, &config, service.clone()).unwrap(), home, service, thread)
}

/// Revokes the one certificate there is, and puts the list in the broker's folder.
fn revoke(ca: &Path, home: &Home) {
    let oin = home.load_grant().unwrap().oin.to_string();
    certs(ca, &["revoke", "--oin", &oin, "--reason", "key-compromise"]);
    fs::copy(ca.join("crl.pem"), home.crl()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_counts_whatever_is_wrong_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let (server, home, service, thread) = started(dir.path(), &ca);
    revoke(&ca, &home);
    fs::set_permissions(home.tls_key(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(server.reload().await.unwrap_err().advice.en.contains("chmod 600"));
    assert_eq!(server.shared.registry().revoked.len(), 1);
    server.stop().await;
    drop(server);
    stop(service, thread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_comes_before_the_folder_is_watched_is_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let (server, home, service, thread) = started(dir.path(), &ca);
    revoke(&ca, &home);
    let (halt, halted) = watch::channel(false);
    let taken_in = async {
        while server.shared.registry().revoked.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        _ = halt.send(true);
    };
    let both = async { tokio::join!(server.watch(halted), taken_in) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    server.stop().await;
    drop(server);
    stop(service, thread);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_tcp_sockets_and_says_nothing_leaves_quic_its_places() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (server, _home, service, thread) = started_with(dir.path(), &ca, |config| {
        (config.transport.max_handshakes, config.transport.fallback) = (1, Some(free));
    });
    let _silent = tokio::net::TcpStream::connect(free).await.unwrap();
    let setups = &server.shared.setups;
    let taken = async {
        while setups.tcp.permits.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap();
    assert_eq!(setups.quic.permits.available_permits(), 1);
    server.stop().await;
    drop(server);
    stop(service, thread);
}
