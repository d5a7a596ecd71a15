//! Overload with real processes, bounded: one floods, another does not read, the rest notice nothing they could be lost by.
//! The long run is the command `overload`; what is asserted here is counted, not timed.

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::{Scene, push, town::sample, wait_for_inbox};
use seinhuis_shared::limits::{CONNECTIONS_PER_PARTNER, INFLIGHT_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::grant::BrokerCard;
use seinhuis_tests::forge::Lock;
use seinhuis_tests::load::overload::{self, Plan};
use seinhuis_tests::raw::{self, Answer, Line, Over, RawError};
use seinhuis_tests::{Forge, Programs, Raw};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// MiB that a broker may take on while it is flooded; what waits for one partner is bounded to less.
const GROWTH: f64 = 384.0;

#[test]
fn one_partner_that_floods_keeps_nobody_from_being_served_and_fills_no_memory() {
    let plan = Plan { rate: 2.0, quiet: Duration::from_secs(2), flooded: Duration::from_secs(25), lanes: 16 };
    let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
    // That every honest message arrived is part of the run.
    let report = overload::run(&plan, programs, None).unwrap();
    println!("{}", report.to_table());
    let (alone, beside) = report.delivered();
    assert!(alone >= 2 && beside >= 25, "{alone}, {beside}");
    assert!(report.accepted() > 0 && report.accepted() <= report.quota(), "the quota holds");
    assert!(report.overload() > 2.0, "it is an overload: {:.1}", report.overload());
    assert!(!report.others_put_off(), "nobody else is put off");
    let held = report.broker();
    assert!(held.most < held.first + GROWTH, "{held:?}");
}

/// Bytes that the deaf one lets the broker send before it reads.
const ROOM: u32 = 32 * 1024;
/// Packets for it: more than what may be under way to one session.
const PACKETS: u64 = 700;

#[test]
fn a_recipient_that_does_not_read_slows_nobody_and_is_cut_off_all_the_same() {
    let scene = Scene::with(&["jongerenwerk", "gemeente", "politie"]);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let (deaf, town) = (stage.member("politie"), stage.member("gemeente"));
    let _agents = [scene.agent("jongerenwerk"), scene.agent("gemeente")];
    push(stage, 1);
    let runtime = Runtime::new().unwrap();
    let session = runtime.block_on(async {
        let session = Raw::open_narrow(&deaf.home, ROOM).await.unwrap();
        let forge = Forge::of(stage, town).unwrap();
        let lock = Lock::make().unwrap();
        let to = deaf.oin.parse().unwrap();
        let mut raw = Raw::open(&town.home).await.unwrap();
        for seq in 1..=PACKETS {
            let packet = forge.packet(&sample("F04"), &[(to, &lock.public)], |context| context.seq = seq);
            raw.submit(&packet.unwrap()).await.unwrap();
        }
        for _ in 0..PACKETS {
            let answer = raw.answer().await.unwrap();
            assert!(matches!(&answer, Answer::Verdict(verdict) if verdict.outcome == 0), "{answer:?}");
        }
        raw.close().await;
        session
    });
    // Others are served while the broker stands still in front of it.
    push(stage, 3);
    wait_for_inbox(stage, town, 4);
    let status = stage.broker(&["status"]).unwrap();
    let queue = status["queues"].as_array().unwrap().iter().find(|queue| queue["oin"] == deaf.oin.as_str());
    let queue = queue.unwrap();
    assert_eq!(queue["packets"], PACKETS, "all of it waits: {status}");
    assert_eq!(queue["inflight"], INFLIGHT_MAX, "and no more than the window is under way");
    // It reads nothing, not even why, and is cut off all the same.
    stage.revoke(deaf).unwrap();
    let ended = runtime.block_on(session.closed());
    assert_eq!(ended.refusal(), Some(Refusal::PartnerRevoked), "{ended:?}");
}

#[test]
fn connections_that_say_nothing_are_bounded_for_each_partner() {
    let scene = Scene::unwatched(&["jongerenwerk", "gemeente"]);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let home = stage.member("jongerenwerk").home.clone();
        let card = BrokerCard::load(&home.join("broker.json")).unwrap();
        let mut connecting = JoinSet::new();
        for _ in 0..4 * CONNECTIONS_PER_PARTNER {
            let (home, card) = (home.clone(), card.clone());
            connecting.spawn(async move { raw::connect(Over::Quic, &home, &card).await });
        }
        let mut turned_away = 0;
        let mut open = Vec::new();
        while let Some(connected) = connecting.join_next().await {
            open.extend(connected.unwrap());
        }
        for Line { conn, .. } in &open {
            // Those that are let in are closed too, some seconds later: they say no hello.
            let reason = RawError::of(&conn.closed().await).refusal();
            turned_away += usize::from(reason == Some(Refusal::AlreadyConnected));
        }
        assert!(turned_away > 0, "of {}", open.len());
        Raw::open(&stage.member("gemeente").home).await.unwrap().close().await;
    });
}
