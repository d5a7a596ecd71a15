//! Erasing with real processes: after it no file of the store holds the body as it lay there, also when the
//! process dies in the middle, and the municipality hears of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_agent::engine::Engine;
use seinhuis_agent::home::Home;
use seinhuis_agent_core::rows::{position_key, table};
use seinhuis_tests::samples;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage, process};

use crate::common::{Scene, inbox_of, wait_for_inbox};

const TWO: [&str; 2] = ["gemeente", "politie"];

/// Asks the police something twice; the message ids.
fn ask(stage: &Stage, town: &Member) -> [String; 2] {
    let path = samples::covenants().join("samples/04-F04-verzoek-aan-drie-partijen.json");
    [0, 1].map(|_| {
        let args = ["push", &path.to_string_lossy(), "--to", "politie", "--wait", "30"];
        text(&stage.agent(town, &args).unwrap(), "msg_id").to_owned()
    })
}

/// The locked bodies at these positions of a stopped agent's store.
fn locked(member: &Member, positions: [u64; 2]) -> [Vec<u8>; 2] {
    let home = Home::new(&member.home);
    let options = home.load_config().unwrap().store.options();
    let engine =
        Engine::open(&home.store(), options, home.settings().unwrap(), home.vault().unwrap()).unwrap();
    let get = |at| engine.view().store.get(table::BODY, &position_key(at)).unwrap().unwrap();
    let bodies = positions.map(get);
    engine.close().unwrap();
    bodies
}

/// How many files of a member's store hold these bytes.
fn holding(member: &Member, bytes: &[u8]) -> usize {
    let mut folders = vec![member.home.join("store")];
    let (mut found, mut files) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            files += 1;
            let held = std::fs::read(entry.path()).unwrap_or_default();
            found += usize::from(memchr::memmem::find(&held, bytes).is_some());
        }
    }
    assert!(files > 2, "there were files to search");
    found
}

#[test]
fn an_erased_body_is_in_no_file_also_after_a_crash_in_the_middle_and_the_municipality_hears_of_it() {
    let scene = Scene::with(&TWO);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let mut agents = scene.agents();
    let [town, police] = TWO.map(|role| stage.member(role));
    let ids = ask(stage, town);
    let inbox = wait_for_inbox(stage, police, 2);
    assert!(inbox.iter().all(|row| !text(row, "keep_until").is_empty() && row["erased"].is_null()));
    agents.pop().unwrap().stop(PATIENCE).unwrap();
    let bodies = locked(police, [0, 1]);
    assert!(bodies.iter().all(|body| holding(police, body) > 0), "until erased they are there");

    // Erased by the running agent, which dies before or while the bytes are overwritten.
    agents.push(scene.agent("politie"));
    let erased = stage.agent(police, &["inbox", "erase", &ids[0], "--reason", "verzoek_betrokkene"]).unwrap();
    assert!(!text(&erased, "erased").is_empty(), "{erased}");
    agents.pop().unwrap().kill().unwrap();
    agents.push(scene.agent("politie"));
    process::until("the bytes are overwritten", PATIENCE, || {
        !text(&inbox_of(stage, police)[0], "overwritten").is_empty()
    })
    .unwrap();
    let told = wait_for_inbox(stage, town, 1);
    assert_eq!(
        (text(&told[0], "type"), text(&told[0], "from")),
        ("vernietigingsbevestiging", police.oin.as_str())
    );
    let read = stage.agent(town, &["inbox", "read", "0"]).unwrap();
    assert_eq!(read["body"]["berichten"][0], ids[0].as_str());
    assert_eq!(read["body"]["grond"], "verzoek_betrokkene");
    let refused = stage.try_agent(police, &["inbox", "read", &ids[0], "--withdrawn"]).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    agents.pop().unwrap().kill().unwrap();
    assert_eq!(holding(police, &bodies[0]), 0, "no file holds it");
    assert!(holding(police, &bodies[1]) > 0, "the other one is still there");

    // Without a daemon, in one go; the confirmation leaves when one runs.
    stage.agent(police, &["inbox", "erase", "1", "--reason", "termijn"]).unwrap();
    assert_eq!(holding(police, &bodies[1]), 0);
    let row = inbox_of(stage, police).remove(1);
    assert!(!text(&row, "overwritten").is_empty() && text(&row, "msg_id") == ids[1], "its row stays: {row}");
    assert_eq!(stage.try_agent(police, &["inbox", "erase", "1", "--reason", "termijn"]).unwrap().code, 1);
    assert_eq!(stage.try_agent(police, &["inbox", "erase", "0", "--reason", "zomaar"]).unwrap().code, 2);
    agents.push(scene.agent("politie"));
    wait_for_inbox(stage, town, 2);
    drop(agents);
}

#[test]
fn a_withdrawn_body_is_gone_soon_after_and_both_hear_so() {
    let scene = Scene::with(&TWO);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let agents = scene.agents();
    let [town, police] = TWO.map(|role| stage.member(role));
    let ids = ask(stage, town);
    wait_for_inbox(stage, police, 2);
    stage.agent(town, &["withdraw", &ids[1], "--reason", "verkeerde_ontvanger"]).unwrap();
    // The answer to the withdrawal and the confirmation of destruction.
    let told = wait_for_inbox(stage, town, 2);
    let types: Vec<&str> = told.iter().map(|row| text(row, "type")).collect();
    assert_eq!(types, ["ontvangstbevestiging", "vernietigingsbevestiging"]);
    let row = inbox_of(stage, police).remove(1);
    assert_eq!((text(&row, "revised"), text(&row, "erased_why")), ("withdrawn", "intrekking"));
    drop(agents);
}
