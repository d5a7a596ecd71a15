//! Indexes and journals of a broker and of agents that are damaged, lost, or not of the same moment: by real processes.
//! What the index had comes back from the journal; what the journal had and lost is told, and nothing is served.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use seinhuis_tests::process::{self, Program, Ran};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Stage};
use serde_json::Value;

use crate::common::{Scene, copy, inbox_of, outbox_of, push, run_to_its_end, town::sample, wait_for_inbox};

const THREE: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn replace(dir: &Path, by: Option<&Path>) {
    fs::remove_dir_all(dir).unwrap();
    if let Some(by) = by {
        copy(by, dir);
    }
}

/// What waits at the broker for the recipient, by the broker's own word; it need not run.
fn waiting(stage: &Stage) -> Value {
    let status = stage.broker(&["status"]).unwrap_or_else(|error| panic!("{error}"));
    status["queues"].clone()
}

/// Damages the index in `home` in every way, and asks each time what there is: the same as before.
fn every_damage(home: &Path, older: &Path, foreign: &Path, ask: &dyn Fn() -> Value) {
    let index = home.join("store/index");
    let whole = home.join("whole");
    copy(&index, &whole);
    let expected = ask();
    let again = |what: &str| assert_eq!(ask(), expected, "{}: {what}", home.display());
    for file in files(&whole) {
        let own = index.join(file.strip_prefix(&whole).unwrap());
        let bytes = fs::read(&file).unwrap();
        let places = [bytes.len() / 3, bytes.len().saturating_sub(1)];
        for at in places.into_iter().filter(|at| *at < bytes.len()) {
            replace(&index, Some(&whole));
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            fs::write(&own, bytes).unwrap();
            again(&format!("a bit of {} at {at}", own.display()));
        }
        replace(&index, Some(&whole));
        fs::write(&own, &bytes[..bytes.len() / 2]).unwrap();
        again(&format!("{} cut to half", own.display()));
        replace(&index, Some(&whole));
        fs::remove_file(&own).unwrap();
        again(&format!("{} removed", own.display()));
    }
    replace(&index, None);
    again("no index");
    replace(&index, Some(older));
    again("an older index");
    replace(&index, Some(foreign));
    again("the index of another store");
    replace(&index, Some(&whole));
    again("the index as it was");
    fs::remove_dir_all(whole).unwrap();
}

fn run(stage: &Stage, program: Program, home: &Path, args: &[&str]) -> Ran {
    let home = home.to_string_lossy();
    stage.programs.run(program, ["--home", &home].iter().chain(args)).unwrap()
}

/// A broker with two packets that wait, an agent with a message that it could not submit yet, one with an inbox; none of
/// them stopped in an orderly way. Beside each home lies an older copy of its store.
fn under_way(scene: &Scene) -> Vec<(PathBuf, PathBuf)> {
    let stage = &scene.stage;
    let (recipient, sender) = (stage.member("gemeente"), stage.member("jongerenwerk"));
    let broker = scene.broker();
    let mut agents = scene.agents();
    push(stage, 2);
    wait_for_inbox(stage, recipient, 2);
    let homes = [stage.broker_home(), recipient.home.clone(), sender.home.clone()];
    agents.remove(0).kill().unwrap();
    let kept = homes.map(|home| {
        let older = home.with_extension("older");
        copy(&home.join("store"), &older);
        (home, older)
    });
    push(stage, 2);
    process::until("the log's files show what it has", PATIENCE, || shown(stage)).unwrap();
    broker.kill().unwrap();
    let file = sample("F01").path.to_string_lossy().into_owned();
    stage.agent(sender, &["push", &file]).unwrap();
    for agent in agents {
        agent.kill().unwrap();
    }
    kept.into()
}

/// Whether the checkpoint in the log's folder is the log's newest.
fn shown(stage: &Stage) -> bool {
    let status = stage.broker(&["status"]).unwrap();
    let folders = fs::read_dir(stage.broker_home().join("log")).unwrap();
    let notes =
        folders.filter_map(|folder| fs::read_to_string(folder.unwrap().path().join("checkpoint")).ok());
    let sizes = notes.filter_map(|note| note.lines().nth(1)?.parse().ok());
    sizes.max() == status["log"]["size"].as_u64()
}

#[test]
fn whatever_happens_to_an_index_nothing_is_missing() {
    let scene = Scene::unwatched(&THREE);
    let stage = &scene.stage;
    let (recipient, sender) = (stage.member("gemeente"), stage.member("jongerenwerk"));
    let kept = under_way(&scene);
    let boxes = |member: &Member| Value::from([inbox_of(stage, member), outbox_of(stage, member)].concat());
    let foreign = stage.member("politie").home.join("store/index");
    let asked: [Box<dyn Fn() -> Value>; 3] =
        [Box::new(|| waiting(stage)), Box::new(|| boxes(recipient)), Box::new(|| boxes(sender))];
    for ((home, older), ask) in kept.iter().zip(&asked) {
        every_damage(home, &older.join("index"), &foreign, ask);
    }
    assert_eq!(waiting(stage)[0]["packets"], 2);
    assert_eq!((inbox_of(stage, recipient).len(), outbox_of(stage, sender).len()), (2, 5));
    // Processes that go on say so, and everything arrives.
    for (home, _) in &kept {
        fs::remove_dir_all(home.join("store/index")).unwrap();
    }
    let running = [scene.broker(), scene.agent("gemeente"), scene.agent("jongerenwerk")];
    wait_for_inbox(stage, recipient, 5);
    for name in ["broker", &recipient.label, &sender.label] {
        let told = fs::read_to_string(stage.log_of(name)).unwrap();
        assert!(told.contains("the index was rebuilt from the journal"), "{name}: {told}");
    }
    for process in running {
        assert!(process.stop(PATIENCE).unwrap().success());
    }
}

#[test]
fn an_older_journal_beside_an_index_that_knows_more_is_not_served() {
    let scene = Scene::unwatched(&THREE);
    let stage = &scene.stage;
    for (home, older) in under_way(&scene) {
        let (broker, journal) = (home == stage.broker_home(), home.join("store/journal"));
        let program = if broker { Program::Broker } else { Program::Agent };
        // Each of them has taken in more since, and its index has it once it was opened: at the recipient only because it
        // was asked.
        run(stage, program, &home, &["status"]);
        let newer = home.with_extension("newer");
        copy(&home.join("store"), &newer);
        if home == stage.member("gemeente").home {
            continue;
        }
        replace(&journal, Some(&older.join("journal")));
        for lang in ["nl", "en"] {
            let ran = run(stage, program, &home, &["--lang", lang, "status"]);
            let told = &ran.stderr;
            assert!(ran.code == 2 && told.contains(&*home.join("store/index").to_string_lossy()), "{ran:?}");
            let words = if lang == "nl" { "bevestigde" } else { "confirmed" };
            assert!(told.contains(words), "{ran:?}");
        }
        if broker {
            // Whoever removes the index accepts the loss for himself; the log shows it all the same.
            fs::remove_dir_all(home.join("store/index")).unwrap();
            let (told, code) = run_to_its_end(stage, &home, &[]);
            assert!(code == Some(2) && told.contains("broker/log"), "{told}");
        }
        replace(&home.join("store"), Some(&newer));
        let ran = run(stage, program, &home, &["status"]);
        assert_ne!(ran.code, 2, "with its own journal it goes on: {ran:?}");
    }
}

#[test]
fn a_packet_that_is_damaged_while_it_waits_is_not_delivered_and_told_and_the_next_one_is() {
    let scene = Scene::unwatched(&THREE);
    let stage = &scene.stage;
    let recipient = stage.member("gemeente");
    let broker = scene.broker();
    let mut agents = scene.agents();
    agents.remove(0).kill().unwrap();
    let segment = files(&stage.broker_home().join("store/journal"))
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-")))
        .unwrap();
    let end = || fs::read(&segment).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let from = end();
    push(stage, 1);
    // The largest thing in its record by far is the packet.
    let to = end();
    push(stage, 1);
    let good = fs::read(&segment).unwrap()[from..to].to_vec();
    let file = fs::File::options().write(true).open(&segment).unwrap();
    let put = |bytes: &[u8]| file.write_all_at(bytes, u64::try_from(from).unwrap()).unwrap();
    let mut bad = good.clone();
    bad.iter_mut().skip(good.len() / 2).step_by(64).for_each(|byte| *byte ^= 1);
    put(&bad);
    let receiving = scene.agent("gemeente");
    wait_for_inbox(stage, recipient, 1);
    process::until("it is told", PATIENCE, || {
        let told = fs::read_to_string(stage.log_of("broker")).unwrap();
        told.contains("stored bytes fail their sum")
    })
    .unwrap();
    process::until("it alone stays", PATIENCE, || waiting(stage)[0]["packets"] == 1).unwrap();
    // Damage that was there at the start is found by then, and nothing is served.
    broker.kill().unwrap();
    let (told, code) = run_to_its_end(stage, &stage.broker_home(), &[]);
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    assert!(code == Some(2) && told.contains(&name) && told.contains("damaged at byte"), "{told}");
    // With the bytes it was written with it is delivered.
    put(&good);
    let _broker = scene.broker();
    let inbox = wait_for_inbox(stage, recipient, 2);
    assert!(inbox.iter().all(|row| text(row, "state") == "stored"), "{inbox:?}");
    drop(receiving);
}

#[test]
fn an_agent_that_lost_its_store_goes_on_with_its_keys_and_what_it_cannot_open_is_told() {
    let scene = Scene::unwatched(&THREE);
    let stage = &scene.stage;
    let (recipient, sender) = (stage.member("gemeente"), stage.member("jongerenwerk"));
    under_way(&scene);
    for member in [recipient, sender] {
        fs::remove_dir_all(member.home.join("store")).unwrap();
    }
    let _broker = scene.broker();
    let _agents = scene.agents();
    push(stage, 1);
    // The two that waited are locked for prekeys that are gone with the store: nobody can open them any more.
    let inbox = wait_for_inbox(stage, recipient, 3);
    let count = |state| inbox.iter().filter(|row| text(row, "state") == state).count();
    assert_eq!((count("quarantined"), count("stored")), (2, 1), "{inbox:?}");
    process::until("the log says so", PATIENCE, || {
        let entries = stage.log_tail(10_000).unwrap();
        entries.iter().filter(|entry| entry.result.as_deref() == Some("quarantined")).count() == 2
    })
    .unwrap();
    assert_eq!(waiting(stage).as_array().map(Vec::len), Some(0), "nothing waits for ever");
}
