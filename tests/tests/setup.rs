//! Connections that are being set up: they are bounded, and a revocation reaches them too.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::io::Write as _;

use common::Scene;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::VERSION;
use seinhuis_shell::grant::BrokerCard;
use seinhuis_tests::raw::{self, RawError};
use seinhuis_tests::{Raw, Stage};
use tokio::runtime::Runtime;

fn card(stage: &Stage) -> BrokerCard {
    BrokerCard::load(&stage.broker_home().join("broker.json")).unwrap()
}

#[test]
fn who_says_nothing_takes_up_one_place_and_no_more() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let (stage, runtime) = (&scene.stage, Runtime::new().unwrap());
    let config = stage.broker_home().join("broker.toml");
    let mut config = std::fs::File::options().append(true).open(config).unwrap();
    writeln!(config, "\n[transport]\nmax_handshakes = 1").unwrap();
    let _broker = scene.broker();
    let (home, card) = (&stage.member("gemeente").home, card(stage));
    runtime.block_on(async {
        let (endpoint, silent) = raw::connect(home, &card).await.unwrap();
        let second = raw::connect(home, &card).await;
        assert!(matches!(second, Err(RawError::Ended(_))), "the only place is taken");
        // Once it has said hello, the place is free for the next.
        let session = Raw::hello(endpoint, silent, &card, VERSION).await.unwrap();
        let (_next, _conn) = raw::connect(home, &card).await.unwrap();
        session.close().await;
    });
}

#[test]
fn a_certificate_revoked_before_hello_opens_no_session() {
    let scene = Scene::unwatched(&["gemeente", "om"]);
    let (stage, runtime) = (&scene.stage, Runtime::new().unwrap());
    let _broker = scene.broker();
    let (member, card) = (stage.member("om"), card(stage));
    let (endpoint, conn) = runtime.block_on(raw::connect(&member.home, &card)).unwrap();
    stage.certs(&["revoke", "--oin", &member.oin, "--reason", "key-compromise"]).unwrap();
    let crl = stage.broker_home().join("crl.pem");
    std::fs::copy(stage.ca().join("crl.pem"), crl.with_extension("new")).unwrap();
    std::fs::rename(crl.with_extension("new"), &crl).unwrap();
    let ended = runtime.block_on(conn.closed());
    assert_eq!(RawError::of(&ended).refusal(), Some(Refusal::CertificateRevoked), "{ended}");
    let late = runtime.block_on(Raw::hello(endpoint, conn, &card, VERSION));
    assert_eq!(late.err().unwrap().refusal(), Some(Refusal::CertificateRevoked));
}
