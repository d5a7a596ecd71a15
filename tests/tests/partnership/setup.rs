//! Connections that are being set up: they are bounded, and a revocation reaches them too.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::VERSION;
use seinhuis_tests::Raw;
use seinhuis_tests::raw::{self, Over, RawError};
use tokio::runtime::Runtime;

use crate::common::Scene;

#[test]
fn who_says_nothing_takes_up_one_place_and_no_more_over_quic() {
    one_place_and_no_more(Over::Quic);
}

#[test]
fn who_says_nothing_takes_up_one_place_and_no_more_over_tcp() {
    one_place_and_no_more(Over::Tcp);
}

fn one_place_and_no_more(over: Over) {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let (stage, runtime) = (&scene.stage, Runtime::new().unwrap());
    stage.fall_back("max_handshakes = 1").unwrap();
    let _broker = scene.broker();
    let (home, card) = (&stage.member("gemeente").home, stage.card().unwrap());
    runtime.block_on(async {
        let silent = raw::connect(over, home, &card).await.unwrap();
        let second = raw::connect(over, home, &card).await;
        assert!(matches!(second, Err(RawError::Ended(_))), "the only place is taken");
        // Once it has said hello, the place is free for the next.
        let session = Raw::hello(silent, &card, VERSION).await.unwrap();
        let _next = raw::connect(over, home, &card).await.unwrap();
        session.close().await;
    });
}

#[test]
fn a_certificate_revoked_before_hello_opens_no_session_over_quic() {
    revoked_before_hello(Over::Quic);
}

#[test]
fn a_certificate_revoked_before_hello_opens_no_session_over_tcp() {
    revoked_before_hello(Over::Tcp);
}

fn revoked_before_hello(over: Over) {
    let scene = Scene::unwatched(&["gemeente", "om"]);
    let (stage, runtime) = (&scene.stage, Runtime::new().unwrap());
    stage.fall_back("").unwrap();
    let _broker = scene.broker();
    let (member, card) = (stage.member("om"), stage.card().unwrap());
    let line = runtime.block_on(raw::connect(over, &member.home, &card)).unwrap();
    stage.certs(&["revoke", "--oin", &member.oin, "--reason", "key-compromise"]).unwrap();
    let crl = stage.broker_home().join("crl.pem");
    std::fs::copy(stage.ca().join("crl.pem"), crl.with_extension("new")).unwrap();
    std::fs::rename(crl.with_extension("new"), &crl).unwrap();
    let ended = runtime.block_on(line.conn.closed());
    assert_eq!(RawError::of(&ended).refusal(), Some(Refusal::CertificateRevoked), "{ended}");
    let late = runtime.block_on(Raw::hello(line, &card, VERSION));
    assert_eq!(late.err().unwrap().refusal(), Some(Refusal::CertificateRevoked));
}
