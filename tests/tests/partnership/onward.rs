//! Passing on with real processes: what the police said is passed on by the municipality only with their signed
//! consent, and youth work's agent holds to that by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::{Handling, Step};
use seinhuis_shared::frame::Kind;
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::{FetchPrekeys, Message as _, Prekeys};
use seinhuis_tests::forge;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::{FOUR, PATIENCE, text};
use seinhuis_tests::{Forge, Member, Raw, Stage, process};
use serde_json::Value;

use crate::common::{Scene, wait_for_inbox};

/// The `n`th sample of a flow.
fn sample(flow: &str, n: usize) -> Sample {
    samples::among(&FOUR).unwrap().into_iter().filter(|sample| sample.flow == flow).nth(n).unwrap()
}

/// What a municipality without an honest agent sends to youth work, in place of its agent: the police's data,
/// with this instead of their consent. The broker sees nothing of it and accepts.
fn sent_raw(stage: &Stage, town: &Member, youth: &Member, said: &Value, consent: Option<Bytes>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (forge, learner) = (Forge::of(stage, town).unwrap(), Forge::of(stage, youth).unwrap());
    runtime.block_on(async {
        let mut raw = Raw::open(&town.home).await.unwrap();
        let fetch = cbor::encode(&FetchPrekeys { oins: vec![learner.oin] });
        let found = raw.request(Kind::FetchPrekeys, &fetch, Kind::Prekeys).await.unwrap();
        let bundle = &Prekeys::parse(&found).unwrap().bundles[0].1;
        let bundle = PrekeyBundle::verify(bundle, &learner.oin, &[learner.key.public()]).unwrap();
        let key = bundle.usable(seinhuis_shell::clock::now()).unwrap().public.clone();
        let member = sample("F28", 1);
        let mut context = forge.context(&member, &[(learner.oin, &key)]).unwrap();
        context.declared.step = Step::S2B;
        let provenance = Provenance {
            origin: text(said, "origin").parse().unwrap(),
            handling: Handling::Consent,
            source: Some(text(said, "packet").parse().unwrap()),
            consent,
        };
        let packet = forge.seal_from(context, &[&key], &forge::body(&member), &provenance).unwrap();
        assert_eq!(raw.verdict(&packet).await.unwrap().0.outcome, 0);
    });
}

#[test]
fn what_the_police_said_is_passed_on_with_their_consent_alone() {
    let scene = Scene::with(&["gemeente", "politie", "jongerenwerk"]);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let mut agents = scene.agents();
    let [town, police, youth] = ["gemeente", "politie", "jongerenwerk"].map(|role| stage.member(role));
    let names = sample("F09", 0);
    stage.prepare(&names).unwrap();
    let said = stage.push(police, &[&names.path.to_string_lossy()]).unwrap();
    assert_eq!(text(&said, "state"), "accepted", "{said}");
    wait_for_inbox(stage, town, 1);
    let got = stage.agent(town, &["inbox", "read", "0"]).unwrap();
    assert_eq!((text(&got, "origin"), text(&got, "handling")), (police.oin.as_str(), "consent"));

    // Youth work would learn of it: not without the police.
    let member = sample("F28", 1);
    let file = member.path.to_string_lossy().into_owned();
    let push = ["push", &file, "--from", "0", "--step", "2B"];
    let ran = stage.try_agent(town, &push).unwrap();
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let number = Refusal::ConsentMissing.number().to_string();
    assert!(ran.stderr.contains(&number) && ran.stderr.contains("consent give"), "{}", ran.stderr);
    let loose = [&push[..], &["--handling", "partners"]].concat();
    let ran = stage.try_agent(town, &loose).unwrap();
    assert!(ran.stderr.contains(&Refusal::HandlingLoosened.number().to_string()), "{}", ran.stderr);

    let give = [
        "consent",
        "give",
        text(&said, "msg_id"),
        "--holder",
        "gemeente",
        "--to",
        "jongerenwerk",
        "--reason",
        "nodig voor de aanpak",
        "--wait",
        "60",
    ];
    let given = stage.agent(police, &give).unwrap();
    assert_eq!(text(&given, "state"), "accepted", "{given}");
    wait_for_inbox(stage, town, 2);
    let held = stage.agent(town, &["consent", "list"]).unwrap();
    let held = &held.as_array().unwrap()[0];
    assert_eq!(
        (text(held, "origin"), &held["to"][0]),
        (police.oin.as_str(), &Value::from(youth.oin.as_str()))
    );
    assert_eq!(text(held, "packet"), text(&said, "packet"));

    let passed = stage.push(town, &push[1..]).unwrap();
    assert_eq!(text(&passed, "state"), "accepted", "{passed}");
    let inbox = wait_for_inbox(stage, youth, 1);
    assert_eq!(text(&inbox[0], "state"), "stored", "{}", inbox[0]);
    let read = stage.agent(youth, &["inbox", "read", "0"]).unwrap();
    assert_eq!((text(&read, "from"), text(&read, "origin")), (town.oin.as_str(), police.oin.as_str()));
    assert_eq!((text(&read, "handling"), text(&read, "source")), ("consent", text(&said, "packet")));

    // A municipality whose agent does not ask: youth work's agent does, and signs that it found fault.
    let at = stage.members.iter().position(|member| member.role == "gemeente").unwrap();
    agents.remove(at).stop(PATIENCE).unwrap();
    sent_raw(stage, town, youth, &got, None);
    sent_raw(stage, town, youth, &got, Some(Bytes(vec![7; 90])));
    let inbox = wait_for_inbox(stage, youth, 3);
    for (row, refusal) in inbox[1..].iter().zip([Refusal::ConsentMissing, Refusal::ConsentInvalid]) {
        assert_eq!(text(row, "state"), "quarantined", "{row}");
        let number = Some(u64::from(refusal.number()));
        assert_eq!(row.pointer("/refusal/number").and_then(Value::as_u64), number);
        let reported = |entry: &seinhuis_shared::entry::Entry| {
            entry.kind == seinhuis_shared::entry::Kind::Delivered && entry.reason == Some(refusal.number())
        };
        process::until("its acknowledgement is logged", PATIENCE, || {
            stage.log_tail(1000).unwrap().iter().any(reported)
        })
        .unwrap();
    }
}
