//! One log after another, with real processes: a year that passes while a partner is away, and a log that the
//! operator begins by hand.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::fs::File;

use seinhuis_shared::entry::Kind;
use seinhuis_shared::receipt::file::{ReceiptFile, Step};
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shell::clock;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use seinhuis_verify::{Key, Proves, Verdict};
use serde_json::Value;

use crate::common::{Scene, copy, put_back, wait_for_inbox};

const CAST: [&str; 4] = ["gemeente", "politie", "jongerenwerk", "boa"];

fn sample(flow: &str) -> Sample {
    samples::among(&CAST).unwrap().into_iter().find(|sample| sample.flow == flow).unwrap()
}

/// Pushes a sample; the packet's state in the end.
fn push(stage: &Stage, flow: &str) -> String {
    let sample = sample(flow);
    let args = ["push", &sample.path.to_string_lossy(), "--wait", "60"];
    text(&stage.agent(stage.member(&sample.from), &args).unwrap(), "state").to_owned()
}

fn origin(status: &Value) -> String {
    text(&status["log"], "origin").to_owned()
}

/// Waits until an agent has a session under this origin.
fn until_with(stage: &Stage, role: &str, wanted: &str) {
    process::until("the agent is with the log", PATIENCE, || {
        let status = stage.agent(stage.member(role), &["status"]).unwrap();
        origin(&status) == wanted && status["link"]["connected"] == true
    })
    .unwrap();
}

fn alarms(stage: &Stage, role: &str) -> Vec<String> {
    let status = stage.agent(stage.member(role), &["status"]).unwrap();
    status["alarms"].as_array().unwrap().iter().map(|alarm| text(alarm, "kind").to_owned()).collect()
}

#[test]
fn a_year_passes_while_a_partner_is_away_and_nothing_is_lost() {
    let scene = Scene::last_year(&CAST);
    let stage = &scene.stage;
    let broker = scene.broker();
    let mut agents = scene.agents();
    let old = origin(&stage.broker(&["status"]).unwrap());
    let year = clock::now().year();
    let new = old.replace(&(year - 1).to_string(), &year.to_string());
    assert_ne!(old, new);
    agents.remove(0).kill().unwrap();
    assert_eq!(push(stage, "F02"), "accepted", "in the old year's log, and it waits");
    process::until("the year is over", PATIENCE, || origin(&stage.broker(&["status"]).unwrap()) == new)
        .unwrap();
    until_with(stage, "politie", &new);
    assert_eq!(push(stage, "F02"), "accepted", "in the new year's log");
    agents.insert(0, scene.agent("gemeente"));
    wait_for_inbox(stage, stage.member("gemeente"), 2);
    until_with(stage, "gemeente", &new);
    for role in CAST {
        until_with(stage, role, &new);
        assert!(alarms(stage, role).is_empty(), "{role}: {:?}", alarms(stage, role));
        let logs = stage.agent(stage.member(role), &["log", "list"]).unwrap();
        assert_eq!(logs["logs"].as_array().unwrap().len(), 2, "{logs}");
    }
    end_is_cosigned(stage, &old, &new);
    // Both logs can be exported, each under its own key, and both say how one follows on the other.
    let logs = stage.broker(&["log", "list"]).unwrap();
    let kinds = ["old.zip", "new.zip"].map(|name| {
        let one = &logs[usize::from(name == "new.zip")];
        let out = stage.dir.join(name);
        let place = out.to_string_lossy();
        let purpose = "Controle van de jaarwisseling";
        stage
            .broker(&["export", "--purpose", purpose, "--log", text(one, "folder"), "--out", &place])
            .unwrap();
        let key = Key::parse(text(one, "key")).unwrap();
        let Verdict::Good(good) = seinhuis_verify::verify(File::open(&out).unwrap(), &key, None).unwrap()
        else {
            unreachable!("{name} is good")
        };
        assert_eq!(good.proves, Proves::Complete);
        let other = Key::parse(text(&logs[usize::from(name != "new.zip")], "key")).unwrap();
        let wrong = seinhuis_verify::verify(File::open(&out).unwrap(), &other, None).unwrap();
        assert!(!matches!(wrong, Verdict::Good(_)), "a key counts for one log");
        (good.count, one["closed"] == true)
    });
    assert!(kinds[0].1 && !kinds[1].1 && kinds[0].0 > 0);
    let first = stage.log_tail(10_000).unwrap().remove(0);
    assert_eq!((first.kind, first.detail.as_deref()), (Kind::Opening, Some("year")));
    // A restart finds all of it again.
    broker.stop(PATIENCE).unwrap();
    stage.broker(&["log", "verify"]).unwrap();
    let _broker = scene.broker();
    until_with(stage, "politie", &new);
    assert_eq!(push(stage, "F02"), "accepted");
    wait_for_inbox(stage, stage.member("gemeente"), 3);
}

/// The final checkpoint of the old log is cosigned by as many as the covenant asks, and that is what the log's folder
/// shows: by the policy that a partner gives, with the old log's key in it.
fn end_is_cosigned(stage: &Stage, old: &str, new: &str) {
    let logs = stage.broker(&["log", "list"]).unwrap();
    let of = |origin: &str| {
        let one = logs.as_array().unwrap().iter().find(|one| text(one, "origin") == origin);
        one.unwrap().clone()
    };
    let shown = stage.agent(stage.member("politie"), &["log", "policy"]).unwrap();
    let policy = text(&shown, "policy").replace(text(&of(new), "key"), text(&of(old), "key"));
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let checkpoint = stage.broker_home().join("log").join(text(&of(old), "folder")).join("checkpoint");
    process::until("the end of the old log is cosigned", PATIENCE, || {
        let note = Note::parse(&std::fs::read(&checkpoint).unwrap()).unwrap();
        let judged = policy.judge(&note);
        judged.is_ok_and(|judged| judged.witnessed && of(old)["size"] == judged.checkpoint.size())
    })
    .unwrap();
    let finals = stage.broker(&["status"]).unwrap()["witnesses"]["finals"].clone();
    assert!(finals.as_array().unwrap().iter().all(|one| one["reached"] == true), "{finals}");
}

/// Files that are none: parts of one year where those of the other stand.
fn mixed_up(good: &ReceiptFile, old: &str, new: &str) -> Vec<(&'static str, ReceiptFile)> {
    let with = |change: &dyn Fn(&mut Vec<Step>)| {
        let mut changed = good.clone();
        change(&mut changed.blocks[0].steps);
        changed
    };
    let swapped = |one: usize, other: usize| {
        with(&|steps| {
            let proof = steps[one].proof.clone();
            steps[one].proof = core::mem::replace(&mut steps[other].proof, proof);
        })
    };
    let under =
        |nth: usize, checkpoint: String| with(&|steps| steps[nth].proof.checkpoint.clone_from(&checkpoint));
    let note = |nth: usize| good.blocks[0].steps[nth].proof.checkpoint.clone();
    vec![
        ("accepted and stored, each by the other's proof", swapped(0, 1)),
        ("accepted and taken over, each by the other's proof", swapped(0, 2)),
        ("the acceptance under a checkpoint of the new year", under(0, note(1))),
        ("what was stored under a checkpoint of the old year", under(1, note(0))),
        ("the old year's checkpoint under the new name", under(0, note(0).replace(old, new))),
        ("the new year's checkpoint under the old name", under(1, note(1).replace(new, old))),
        ("the new year before the old one", with(&|steps| steps.swap(0, 1))),
        ("no acceptance", with(&|steps| drop(steps.remove(0)))),
    ]
}

#[test]
fn a_receipt_whose_parts_are_of_two_years_proves_itself_and_no_part_counts_for_the_other_year() {
    let scene = Scene::last_year(&CAST);
    let (stage, broker) = (&scene.stage, scene.broker());
    let mut agents = scene.agents();
    let [town, police, youth] = ["gemeente", "politie", "jongerenwerk"].map(|role| stage.member(role));
    let old = origin(&stage.broker(&["status"]).unwrap());
    agents.remove(0).kill().unwrap();
    assert_eq!(push(stage, "F02"), "accepted", "in the old year's log, and it waits");
    process::until("the year is over", PATIENCE, || origin(&stage.broker(&["status"]).unwrap()) != old)
        .unwrap();
    let new = origin(&stage.broker(&["status"]).unwrap());
    agents.insert(0, scene.agent("gemeente"));
    let id = text(&wait_for_inbox(stage, town, 1)[0], "msg_id").to_owned();
    stage.agent(town, &["inbox", "consumed", &id]).unwrap();
    let reached =
        || stage.agent(police, &["outbox", "show", &id]).unwrap()["recipients"][0]["reached"].clone();
    process::until("the sender is told", PATIENCE, || reached() == "consumed").unwrap();

    let [file, covenant, other] = ["bewijs.txt", "convenant.cbor", "ander.txt"]
        .map(|name| stage.dir.join(name).to_string_lossy().into_owned());
    stage.agent(police, &["receipt", "save", &id, "--out", &file]).unwrap();
    let hash = text(&stage.agent(police, &["outbox", "show", &id]).unwrap(), "covenant").to_owned();
    stage.agent(police, &["covenant", "export", &hash, "--out", &covenant]).unwrap();
    let keys = stage.broker(&["log", "list"]).unwrap();
    let keys: Vec<&str> = keys.as_array().unwrap().iter().map(|log| text(log, "key")).collect();
    drop(agents);
    drop(broker);
    // Who has the file, one of the keys and the covenant: no broker, no agent, no store.
    let nobody = Member { home: stage.dir.join("niemand"), ..youth.clone() };
    let verify = |file: &str, key: &str| {
        let args = ["receipt", "verify", file, "--log-key", key, "--covenant", &covenant];
        stage.try_agent(&nobody, &args).unwrap()
    };
    for key in &keys {
        let ran = verify(&file, key);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        let steps = ran.json()["recipients"][0]["steps"].clone();
        let steps: Vec<(&str, &str)> =
            steps.as_array().unwrap().iter().map(|step| (text(step, "kind"), text(step, "log"))).collect();
        assert_eq!(steps, [("accepted", &*old), ("delivered", &*new), ("consumed", &*new)]);
    }
    let good = ReceiptFile::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    for (what, forged) in mixed_up(&good, &old, &new) {
        std::fs::write(&other, forged.to_string()).unwrap();
        for key in &keys {
            let ran = verify(&other, key);
            assert_eq!(ran.code, 1, "{what}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains("proves nothing"), "{what}: {}", ran.stderr);
        }
    }
}

/// What a member last sent is proved in this log, which its broker's card does not name: to itself by the logs it knows, to
/// others by the keys of those logs.
fn receipts_verify_in(stage: &Stage, member: &Member, origin: &str) {
    let sent = stage.agent(member, &["outbox", "list"]).unwrap();
    let id = text(sent.as_array().unwrap().last().unwrap(), "msg_id").to_owned();
    let [file, covenant] =
        ["bewijs.txt", "convenant.cbor"].map(|name| stage.dir.join(name).to_string_lossy().into_owned());
    stage.agent(member, &["receipt", "save", &id, "--out", &file]).unwrap();
    let shown = stage.agent(member, &["receipt", "verify", &file]).unwrap();
    assert_eq!(shown["logs"], serde_json::json!([origin]), "{shown}");
    assert_eq!(text(&shown["recipients"][0]["steps"][0], "log"), origin);
    let hash = text(&stage.agent(member, &["outbox", "show", &id]).unwrap(), "covenant").to_owned();
    stage.agent(member, &["covenant", "export", &hash, "--out", &covenant]).unwrap();
    let keys = stage.broker(&["log", "list"]).unwrap();
    let keys: Vec<&str> = keys.as_array().unwrap().iter().map(|log| text(log, "key")).collect();
    let [first, last] = keys[..] else { panic!("two logs: {keys:?}") };
    let verify = |keys: &[&str]| {
        let keys = keys.iter().flat_map(|key| ["--log-key", key]);
        let args = ["receipt", "verify", &file].into_iter().chain(keys).chain(["--covenant", &covenant]);
        stage.try_agent(member, &args.collect::<Vec<_>>()).unwrap().code
    };
    assert_eq!((verify(&[first, last]), verify(&[last]), verify(&[first])), (0, 0, 1));
}

#[test]
fn a_log_begun_by_hand_is_followed_by_hand() {
    let scene = Scene::with(&CAST);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let _agents = scene.agents();
    let origin = "broker.voorbeeldstad.example/na-herstel";
    let reason = "Reservekopie teruggezet na een schijfstoring";
    stage.broker(&["log", "new-origin", "--origin", origin, "--reason", reason]).unwrap();
    let police = stage.member("politie");
    process::until("the agent is told", PATIENCE, || alarms(stage, "politie").contains(&"other-log".into()))
        .unwrap();
    let status = stage.agent(police, &["status"]).unwrap();
    assert!(status["link"]["connected"] == false, "{status}");
    let shown = stage.try_agent(police, &["log", "accept-origin"]).unwrap();
    assert_eq!(shown.code, 1, "shown, not done");
    assert_eq!(text(&shown.json()["offered"], "origin"), origin);
    let wrong =
        stage.try_agent(police, &["log", "accept-origin", "--origin", "another.example/log"]).unwrap();
    assert_ne!(wrong.code, 0);
    for role in CAST {
        process::until("it is offered", PATIENCE, || alarms(stage, role).contains(&"other-log".into()))
            .unwrap();
        stage.agent(stage.member(role), &["log", "accept-origin", "--origin", origin]).unwrap();
        until_with(stage, role, origin);
    }
    assert_eq!(push(stage, "F02"), "accepted");
    wait_for_inbox(stage, stage.member("gemeente"), 1);
    receipts_verify_in(stage, police, origin);
    let card = stage.dir.join("card.json");
    stage.broker(&["card", "--out", &card.to_string_lossy()]).unwrap();
    let card: Value = serde_json::from_slice(&std::fs::read(card).unwrap()).unwrap();
    assert_eq!(text(&card, "log_origin"), origin, "who comes now begins with the new log");
}

#[test]
fn agents_that_are_ahead_of_a_broker_that_was_put_back_go_on_by_hand() {
    let scene = Scene::last_year(&CAST);
    let stage = &scene.stage;
    let old = origin(&stage.broker(&["status"]).unwrap());
    let kept = stage.dir.join("kept");
    copy(&stage.broker_home(), &kept);
    let broker = scene.broker();
    let _agents = scene.agents();
    assert_eq!(push(stage, "F02"), "accepted");
    let year = clock::now().year();
    let lost = old.replace(&(year - 1).to_string(), &year.to_string());
    for role in CAST {
        until_with(stage, role, &lost);
    }
    broker.stop(PATIENCE).unwrap();
    put_back(stage, &kept);
    let begun = "broker.voorbeeldstad.example/na-herstel";
    let reason = "Reservekopie van voor de jaarwisseling teruggezet";
    stage.broker(&["log", "new-origin", "--origin", begun, "--reason", reason]).unwrap();
    let _broker = scene.broker();
    for role in CAST {
        let member = stage.member(role);
        let mut offered = Value::Null;
        process::until("it is offered", PATIENCE, || {
            offered = stage.agent(member, &["log", "list"]).unwrap()["offered"].clone();
            !offered.is_null()
        })
        .unwrap();
        assert_eq!((text(&offered, "old"), text(&offered, "origin")), (old.as_str(), begun));
        assert_eq!(
            (&offered["consistent"], &offered["unknown"]),
            (&false.into(), &vec![lost.as_str()].into())
        );
        stage.agent(member, &["log", "accept-origin", "--origin", begun]).unwrap();
        until_with(stage, role, begun);
        let status = stage.agent(member, &["status"]).unwrap();
        assert_eq!(status["log"]["caught"], serde_json::json!([old, lost]), "{status}");
    }
    assert_eq!(push(stage, "F02"), "accepted");
    wait_for_inbox(stage, stage.member("gemeente"), 2);
}
