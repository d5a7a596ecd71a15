//! An agent whose whole folder was copied: what a thief can do with it before and after docs/stolen-agent.md was
//! followed, and that its organisation comes back without losing anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use seinhuis_shared::entry::Kind;
use seinhuis_shared::frame;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Rotation;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shell::{clock, keys};
use seinhuis_tests::forge::Lock;
use seinhuis_tests::raw::Answer;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Forge, Raw, Stage, process, samples};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::common::{Scene, copy, inbox_of, push, wait_for_inbox};

const CAST: [&str; 4] = ["gemeente", "politie", "jongerenwerk", "boa"];

/// Packets that wait for an organisation at the broker.
fn waiting(stage: &Stage, oin: &str) -> u64 {
    let status = stage.broker(&["status"]).unwrap();
    let queues = status["queues"].as_array().unwrap();
    let queue = queues.iter().find(|queue| text(queue, "oin") == oin);
    queue.and_then(|queue| queue["packets"].as_u64()).unwrap_or_default()
}

/// Puts the CA's list at the broker, as the operator does.
fn hand_over_list(stage: &Stage) {
    let crl = stage.broker_home().join("crl.pem");
    std::fs::copy(stage.ca().join("crl.pem"), crl.with_extension("new")).unwrap();
    std::fs::rename(crl.with_extension("new"), &crl).unwrap();
}

#[test]
fn a_thief_with_the_whole_folder_is_shut_out_at_once_and_its_victim_comes_back_with_all_that_waited() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let mut agents = scene.agents();
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    push(stage, 2);
    wait_for_inbox(stage, town, 2);
    // The agent is stopped and its folder is copied, by somebody who is not seen.
    agents.remove(0).stop(PATIENCE).unwrap();
    let loot = stage.dir.join("loot");
    copy(&town.home, &loot);
    let stolen = keys::load_signing(&loot.join("keys/signing.key")).unwrap();
    let forger = Forge::of(stage, town).unwrap();
    push(stage, 2);

    // Before anybody knows: the thief is the municipality. It is let in and offered what waits.
    let runtime = Runtime::new().unwrap();
    let mut thief = runtime.block_on(Raw::open(&loot)).unwrap();
    runtime.block_on(thief.offer()).unwrap();

    // The certificate is revoked and the list reaches the broker: the session is closed at once.
    stage.certs(&["revoke", "--oin", &town.oin, "--reason", "key-compromise"]).unwrap();
    hand_over_list(stage);
    let ended = runtime.block_on(thief.closed());
    assert_eq!(ended.refusal(), Some(Refusal::CertificateRevoked), "{ended:?}");
    // No way back, and no way to another certificate.
    assert!(runtime.block_on(Raw::open(&loot)).is_err());
    let _renewals = stage.start_renewals("127.0.0.1:0").unwrap();
    let place = std::fs::read_to_string(stage.dir.join("renewals.address")).unwrap();
    let service = format!("https://{place}");
    assert!(renews(&police.home, &service, &runtime).is_ok());
    assert!(renews(&loot, &service, &runtime).is_err());
    // The mailbox is kept, grows, and is offered to nobody.
    push(stage, 1);
    assert_eq!(waiting(stage, &town.oin), 3);
    // The stolen signing key is worth nothing over the connection of another.
    over_another_connection(stage, &runtime, &forger, &stolen);

    // The municipality's own folder is still there: a new TLS key, and a new certificate over the telephone.
    let (request, answer) = (stage.request_of(town), stage.dir.join("again.grant"));
    let made = stage.agent(town, &["enrol", "--request", &request]).unwrap();
    let answer = answer.to_string_lossy().into_owned();
    let renewed = stage.certs(&["renew", &request, "--out", &answer]);
    assert!(renewed.is_err(), "not on the signing key alone, which the thief has too");
    stage.issue(&request, text(&made, "fingerprint"), answer.as_ref()).unwrap();
    stage.agent(town, &["enrol", "--accept", &answer]).unwrap();
    agents.insert(0, scene.agent("gemeente"));
    // All that waited is there, once; and the signing key is given up at once.
    wait_for_inbox(stage, town, 5);
    assert_eq!(waiting(stage, &town.oin), 0);
    stage.agent(town, &["key", "rotate", "--now"]).unwrap();
    process::until("the rotation is logged", PATIENCE, || {
        let shown = stage.agent(town, &["key", "show"]).unwrap();
        shown["turning"].is_null() && shown["rotations"].as_array().unwrap().len() == 1
    })
    .unwrap();
    // Everything goes on, to it and from it.
    push(stage, 1);
    wait_for_inbox(stage, town, 6);
    let sample = samples::among(&CAST).unwrap().into_iter().find(|sample| sample.flow == "F04").unwrap();
    let pushed = stage.agent(town, &["push", &sample.path.to_string_lossy(), "--wait", "30"]).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    wait_for_inbox(stage, police, 1);
    for member in [town, police] {
        let inbox = inbox_of(stage, member);
        assert!(inbox.iter().all(|row| text(row, "state") == "stored"), "{inbox:?}");
        let status = stage.agent(member, &["status"]).unwrap();
        assert_eq!(status["alarms"], Value::from(Vec::<Value>::new()), "{status}");
    }
    // And the thief is where it was.
    assert!(runtime.block_on(Raw::open(&loot)).is_err());
    what_the_log_says(stage, &town.oin);
}

/// Asks the renewal service for a certificate with what is in a folder.
fn renews(home: &std::path::Path, service: &str, runtime: &Runtime) -> Result<(), String> {
    let grant = seinhuis_shell::grant::Grant::load(&home.join("grant.json")).unwrap();
    let identity = grant.identity(&keys::load_tls(&home.join("keys/tls.key")).unwrap()).unwrap();
    let config = seinhuis_shell::tls::renewal_client_config(&identity, &grant.trust().unwrap()).unwrap();
    let http = seinhuis_shell::http::Http::with_tls(config).unwrap();
    let address = format!("{service}/crl.pem");
    let asked = http.get(&address, 1 << 20, PATIENCE);
    runtime.block_on(asked).map(|_| ()).map_err(|error| error.to_string())
}

/// Somebody who has a certificate of the police says what only the municipality may, with its stolen key.
fn over_another_connection(stage: &Stage, runtime: &Runtime, forger: &Forge, stolen: &SigningKey) {
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let mut raw = runtime.block_on(Raw::open(&police.home)).unwrap();
    let lock = Lock::make().unwrap();
    let sample = samples::among(&CAST).unwrap().into_iter().find(|sample| sample.flow == "F04").unwrap();
    let packet = forger.packet(&sample, &[(police.oin.parse().unwrap(), &lock.public)], |_| ()).unwrap();
    let answered = runtime.block_on(async {
        raw.submit(&packet).await?;
        raw.answer().await
    });
    match answered {
        Ok(Answer::Verdict(verdict)) => assert_ne!(verdict.outcome, 0, "a forged packet was accepted"),
        Ok(Answer::Deferred(deferred)) => panic!("put off: {deferred:?}"),
        Err(refused) => assert!(refused.refusal().is_some(), "{refused:?}"),
    }
    // Least of all that the key of the municipality is the thief's from now on.
    let own = SigningKey::from_seed(&keys::random());
    let rotation = Rotation {
        party: town.oin.parse().unwrap(),
        seq: 1,
        previous: None,
        old: stolen.public(),
        new: own.public(),
        issued: clock::now(),
    };
    let mut raw = runtime.block_on(Raw::open(&police.home)).unwrap();
    let said = rotation.sign(stolen, &own);
    let refused = runtime.block_on(raw.request(frame::Kind::Rotate, &said, frame::Kind::Rotations));
    assert!(refused.unwrap_err().refusal().is_some());
    // Nor that the municipality is written to with the thief's prekey.
    let bundle = lock.bundle(town.oin.parse().unwrap(), stolen, 1_u64 << 50);
    let refused = runtime.block_on(raw.request(frame::Kind::PublishPrekeys, &bundle, frame::Kind::Done));
    assert!(refused.unwrap_err().refusal().is_some());
    raw.finish_lane();
    runtime.block_on(raw.close());
}

/// What an operator finds in the log: the thief's session, its end, and the new key.
fn what_the_log_says(stage: &Stage, oin: &str) {
    let log = stage.log_tail(1000).unwrap();
    let of = |kind, reason: Option<u16>| {
        log.iter()
            .filter(|entry| entry.kind == kind && entry.reason == reason)
            .filter(|entry| [entry.from, entry.subject].iter().flatten().any(|who| who.as_str() == oin))
            .count()
    };
    assert_eq!(
        of(Kind::Refused, Some(Refusal::CertificateRevoked.number())),
        1,
        "the session that was closed"
    );
    assert_eq!(of(Kind::KeyRotated, None), 1);
}
