//! Release by a person with real processes: what concerns a person waits, with the daemon running and without,
//! through a crash, and leaves when somebody decides so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::{FOUR, PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};
use serde_json::Value;

use crate::common::{self, Scene, inbox_of, wait_for_inbox};

fn sample(flow: &str) -> Sample {
    samples::among(&FOUR).unwrap().into_iter().find(|sample| sample.flow == flow).unwrap()
}

fn push(stage: &Stage, member: &Member, sample: &Sample, id: &str) -> Value {
    let args = ["push", &sample.path.to_string_lossy(), "--id", id, "--wait", "60"];
    stage.agent(member, &args).unwrap()
}

fn waiting(stage: &Stage, member: &Member) -> Vec<Value> {
    stage.agent(member, &["release", "list"]).unwrap().as_array().cloned().unwrap()
}

fn message(stage: &Stage, member: &Member, id: &str) -> Value {
    stage.agent(member, &["outbox", "show", id]).unwrap()
}

const IDS: [&str; 4] = [
    "019a0001-7002-8003-8405-060708090a01",
    "019a0001-7002-8003-8405-060708090a02",
    "019a0001-7002-8003-8405-060708090a03",
    "019a0001-7002-8003-8405-060708090a04",
];

#[test]
fn nothing_about_a_person_leaves_before_a_person_says_so_and_a_crash_changes_nothing_about_that() {
    let scene = Scene::with(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    let (broker, town_agent) = (scene.broker(), scene.agent("gemeente"));
    let names = sample("F09");

    // Without a daemon, straight to the store: it waits all the same.
    assert_eq!(text(&push(stage, police, &names, IDS[0]), "state"), "held");
    let mut agents = vec![scene.agent("politie")];
    process::until("the police are connected", PATIENCE, || {
        stage.agent(police, &["status"]).unwrap()["link"]["connected"] == true
    })
    .unwrap();
    stage.prepare(&names).unwrap();
    // With the daemon; a push that may wait a minute returns, for nothing will happen by itself.
    for id in &IDS[1..] {
        assert_eq!(text(&push(stage, police, &names, id), "state"), "held");
    }
    let again = push(stage, police, &names, IDS[1]);
    assert_eq!((text(&again, "state"), &again["repeated"]), ("held", &Value::Bool(true)));

    // What waits, and what is in it, for whoever decides.
    let list = waiting(stage, police);
    assert_eq!(list.len(), 4);
    assert_eq!((text(&list[0], "flow"), text(&list[0], "level")), ("F09", "P1"));
    assert_eq!(list[0]["case"], names.value["case"]);
    let shown = stage.agent(police, &["release", "show", IDS[1]]).unwrap();
    assert_eq!(shown["body"], names.value["body"]);

    // The process dies; nothing was lost and nothing has left.
    agents.remove(0).kill().unwrap();
    let canary = [names.canary.as_str()];
    let open = common::search(&police.home, canary.into_iter());
    assert_eq!(open, Vec::<String>::new(), "the store holds no word of it in the open");
    agents.push(scene.agent("politie"));
    assert_eq!(waiting(stage, police).len(), 4);
    assert!(inbox_of(stage, town).is_empty());

    // One is denied: it ends, and stays ended.
    let deny = ["release", "deny", IDS[2], "--as", "teamchef", "--reason", "niet noodzakelijk"];
    let denied = stage.agent(police, &deny).unwrap();
    assert_eq!(text(&denied, "state"), "denied");
    let number = denied.pointer("/refusal/number").and_then(Value::as_u64);
    assert_eq!(number, Some(Refusal::ReleaseDenied.number().into()));
    let late = stage.try_agent(police, &["release", "approve", IDS[2], "--as", "teamchef"]).unwrap();
    assert!(
        late.code != 0 && late.stderr.contains(&Refusal::NotHeld.number().to_string()),
        "{}",
        late.stderr
    );

    // One is approved with the daemon, one without.
    let approve = ["release", "approve", IDS[1], "--as", "teamchef", "--reason", "akkoord", "--wait", "60"];
    let approved = stage.agent(police, &approve).unwrap();
    assert_eq!(text(&approved, "state"), "accepted", "{approved}");
    assert_eq!(text(&wait_for_inbox(stage, town, 1)[0], "msg_id"), IDS[1]);
    agents.remove(0).stop(PATIENCE).unwrap();
    stage.agent(police, &["release", "approve", IDS[0], "--as", "officier van dienst"]).unwrap();
    agents.push(scene.agent("politie"));
    let inbox = wait_for_inbox(stage, town, 2);
    assert_eq!(text(&inbox[1], "msg_id"), IDS[0]);
    assert_eq!(waiting(stage, police).len(), 1, "the last one still waits");

    // The decisions stay at the sender, and nowhere else.
    for (id, outcome, role) in [
        (IDS[0], "approved", "officier van dienst"),
        (IDS[1], "approved", "teamchef"),
        (IDS[2], "denied", "teamchef"),
    ] {
        let release = &message(stage, police, id)["release"];
        assert_eq!((text(release, "outcome"), text(release, "role")), (outcome, role), "{release}");
    }
    assert_eq!(text(&message(stage, police, IDS[2])["release"], "reason"), "niet noodzakelijk");
    for process in agents.into_iter().chain([town_agent, broker]) {
        process.stop(PATIENCE).unwrap();
    }
    for home in [stage.broker_home(), town.home.clone()] {
        let words = ["teamchef", "officier van dienst", "niet noodzakelijk"];
        assert_eq!(common::search(&home, words.into_iter()), Vec::<String>::new());
    }
}
