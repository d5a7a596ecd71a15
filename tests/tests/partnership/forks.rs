//! Two histories of one log, and damage to one: each is found, named and refused, by real processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::path::{Path, PathBuf};

use seinhuis_agent::{Agent, AgentOptions};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::tlog::note::{Note, VerifierKey};
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_tests::forge::new_id;
use seinhuis_tests::process::{self, Program};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Process, Stage, ports};
use serde_json::Value;

use crate::common::{Scene, copy, push, put_back, run_to_its_end, town::sample, wait_for_inbox};

const TWO: [&str; 3] = ["gemeente", "politie", "jongerenwerk"];

fn witnesses(stage: &Stage) -> Value {
    stage.broker(&["status"]).unwrap()["witnesses"].clone()
}

/// Waits until the quorum is over the whole log; its size.
fn wait_for_quorum(stage: &Stage) -> u64 {
    let mut size = 0;
    process::until("the whole log is witnessed", PATIENCE, || {
        let status = stage.broker(&["status"]).unwrap();
        size = status["log"]["size"].as_u64().unwrap();
        status["witnesses"]["covenants"][0]["size"].as_u64() == Some(size)
    })
    .unwrap();
    size
}

fn stop(processes: Vec<Process>) {
    for process in processes {
        process.stop(PATIENCE).unwrap();
    }
}

fn journal_size(home: &Path) -> u64 {
    fs::read_dir(home.join("store/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn a_store_restored_from_an_old_copy_is_found_by_what_agents_cosigned() {
    let scene = Scene::with(&TWO);
    let stage = &scene.stage;
    let broker = scene.broker();
    let agents = scene.agents();
    push(stage, 2);
    let before = wait_for_quorum(stage);
    broker.stop(PATIENCE).unwrap();
    let old = stage.dir.join("old");
    copy(&stage.broker_home(), &old);
    let broker = scene.broker();
    process::until("the broker serves again", PATIENCE, || witnesses(stage)["waiting_for"].is_null())
        .unwrap();
    push(stage, 2);
    let after = wait_for_quorum(stage);
    assert!(after > before);
    broker.stop(PATIENCE).unwrap();
    put_back(stage, &old);
    let stored = journal_size(&stage.broker_home());
    // The agents are there and come back by themselves: the first that says hello ends it.
    let (told, code) = run_to_its_end(stage, &stage.broker_home(), &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("contradicts this exchange log") && told.contains("cosigned"), "{told}");
    assert!(stage.members.iter().any(|member| told.contains(&member.oin)), "the witness is named: {told}");
    let evidence = fs::read_to_string(stage.broker_home().join("fork-evidence.txt")).unwrap();
    assert_eq!(evidence.matches("\n— ").count(), 2, "two signed checkpoints: {evidence}");
    assert_eq!(journal_size(&stage.broker_home()), stored, "nothing was written");
    // For good, also without witnesses.
    let (told, code) = run_to_its_end(stage, &stage.broker_home(), &["--without-witnesses"]);
    assert!(code == Some(2) && told.contains("fork-evidence.txt"), "{told}");
    // The way on is another origin, for everybody to see: no agent goes there before a person says so.
    let origin = "broker.example/uitwisseling/na-herstel";
    let reason = "Reservekopie teruggezet na een schijffout";
    stage.broker(&["log", "new-origin", "--origin", origin, "--reason", reason]).unwrap();
    let home = stage.broker_home();
    assert!(!home.join("fork-evidence.txt").exists() && home.join("fork-evidence.1.txt").exists());
    let broker = scene.broker();
    for member in &stage.members {
        let offered = || {
            let status = stage.agent(member, &["status"]).unwrap();
            status["alarms"].as_array().unwrap().iter().any(|alarm| alarm["kind"] == "other-log")
        };
        process::until("the agent stops before the new log", PATIENCE, offered).unwrap();
    }
    for member in &stage.members {
        stage.agent(member, &["log", "accept-origin", "--origin", origin]).unwrap();
    }
    push(stage, 2);
    assert!(wait_for_quorum(stage) > 2);
    stop(agents);
    broker.stop(PATIENCE).unwrap();
}

#[test]
fn a_clone_that_goes_its_own_way_is_found_as_soon_as_an_agent_comes() {
    let scene = Scene::with(&TWO);
    let stage = &scene.stage;
    let broker = scene.broker();
    let agents = scene.agents();
    push(stage, 1);
    wait_for_quorum(stage);
    broker.stop(PATIENCE).unwrap();
    let clone = stage.dir.join("clone");
    copy(&stage.broker_home(), &clone);
    // The same keys, another address; its operator does not wait for the witnesses.
    let broker = scene.broker();
    process::until("the broker serves again", PATIENCE, || witnesses(stage)["waiting_for"].is_null())
        .unwrap();
    push(stage, 2);
    let size = wait_for_quorum(stage);
    let member = stage.member("politie");
    // Two of three make a quorum: the one that meets the clone has to be among those who saw this.
    process::until("it cosigned that too", PATIENCE, || {
        let all = witnesses(stage)["witnesses"].as_array().unwrap().clone();
        all.iter().any(|one| text(one, "name") == member.oin && one["size"].as_u64() == Some(size))
    })
    .unwrap();
    let other = ports::free().unwrap().to_string();
    let config = clone.join("broker.toml");
    let text = fs::read_to_string(&config).unwrap().replace(&stage.address, &other);
    fs::write(&config, text).unwrap();
    let agents: Vec<Process> = agents
        .into_iter()
        .zip(&stage.members)
        .filter_map(|(agent, of)| {
            if of != member {
                return Some(agent);
            }
            agent.stop(PATIENCE).unwrap();
            None
        })
        .collect();
    let own = member.home.join("agent.toml");
    let before = fs::read_to_string(&own).unwrap();
    stage.route(member, &other).unwrap();
    let moved = stage.start_agent(member).unwrap();
    let (told, code) = run_to_its_end(stage, &clone, &["--without-witnesses"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains(&member.oin) && told.contains("contradicts this exchange log"), "{told}");
    // The one that has all of it goes on, and the agent is welcome there.
    moved.stop(PATIENCE).unwrap();
    fs::write(&own, before).unwrap();
    let back = stage.start_agent(member).unwrap();
    process::until("the agent is back", PATIENCE, || {
        stage.agent(member, &["status"]).is_ok_and(|status| status["link"]["connected"] == true)
    })
    .unwrap();
    push(stage, 1);
    stop(agents);
    stop(vec![back, broker]);
}

/// The newest segment of a journal, and where its last record ends.
fn tail_of(home: &Path) -> (PathBuf, usize) {
    let segments = fs::read_dir(home.join("store/journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> =
        segments.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("segment-")).collect();
    segments.sort();
    let newest = segments.pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (newest, end)
}

#[test]
fn an_entry_cut_off_the_journal_is_found_by_what_agents_cosigned() {
    let scene = Scene::with(&TWO);
    let stage = &scene.stage;
    let broker = scene.broker();
    let agents = scene.agents();
    push(stage, 1);
    wait_for_quorum(stage);
    broker.kill().unwrap();
    // The end of the last turns is gone, as after a flush that never was one.
    let (path, end) = tail_of(&stage.broker_home());
    let mut bytes = fs::read(&path).unwrap();
    let from = end.saturating_sub(6 * 1024);
    bytes[from..].fill(0);
    fs::write(&path, bytes).unwrap();
    fs::remove_dir_all(stage.broker_home().join("store/index")).unwrap();
    // The checkpoint in the folder, which may have been written by then, would show it before any agent does.
    _ = fs::remove_file(log_folder(&stage.broker_home()).join("checkpoint"));
    let (told, code) = run_to_its_end(stage, &stage.broker_home(), &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("contradicts this exchange log"), "{told}");
    stop(agents);
}

/// Enough entries for full bundles and tiles.
fn filled(scene: &Scene) {
    let stage = &scene.stage;
    let broker = scene.broker();
    let receiving = [scene.agent("gemeente"), scene.agent("politie")];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    let sender = stage.member("jongerenwerk");
    let agent = Agent::start(&AgentOptions { home: sender.home.clone(), connect: true }).unwrap();
    let sample = sample("F01");
    for _ in 0..150 {
        let request = sample.request(new_id());
        runtime.block_on(agent.push(request)).unwrap();
    }
    wait_for_inbox(stage, stage.member("gemeente"), 150);
    let bundle = log_folder(&stage.broker_home()).join("tile/entries/000");
    process::until("a bundle is written", PATIENCE, || bundle.exists()).unwrap();
    runtime.block_on(agent.shutdown()).unwrap();
    stop(receiving.into());
    broker.stop(PATIENCE).unwrap();
}

/// Where the files of the only log are.
fn log_folder(home: &Path) -> PathBuf {
    let entries = fs::read_dir(home.join("log")).unwrap();
    let mut folders = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let folder = folders.next().unwrap();
    assert_eq!(folders.next(), None);
    folder
}

#[test]
fn one_flipped_bit_or_lost_byte_of_a_file_is_found_and_named_at_the_start() {
    let scene = Scene::with(&TWO);
    filled(&scene);
    let (stage, home) = (&scene.stage, scene.stage.broker_home());
    for (file, cut) in
        [("tile/entries/000", false), ("tile/0/000", false), ("tile/entries/000", true), ("tile/0/000", true)]
    {
        let path = log_folder(&home).join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        if cut {
            bad.truncate(good.len() - 40);
        } else {
            bad[good.len() / 2] ^= 4;
        }
        fs::write(&path, bad).unwrap();
        let (told, code) = run_to_its_end(stage, &home, &["--without-witnesses"]);
        assert!(code == Some(2) && told.contains(file), "{file} {cut}: {told}");
        fs::write(&path, good).unwrap();
    }
    // A bit in the journal, and the index is made again from it.
    let (path, end) = tail_of(&home);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[end / 2] ^= 4;
    fs::write(&path, bad).unwrap();
    fs::remove_dir_all(home.join("store/index")).unwrap();
    let (told, code) = run_to_its_end(stage, &home, &["--without-witnesses"]);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(code == Some(2) && told.contains(&name), "{told}");
    fs::write(&path, good).unwrap();
    let broker = scene.broker();
    assert!(broker.stop(PATIENCE).unwrap().success());
}

#[test]
fn a_broker_that_waits_for_witnesses_says_for_whom_and_an_operator_may_go_without() {
    let scene = Scene::with(&TWO);
    let stage = &scene.stage;
    let entries = |stage: &Stage| stage.log_tail(1000).unwrap();
    let broker = scene.broker();
    let waiting = witnesses(stage)["waiting_for"].clone();
    assert_eq!(waiting.as_array().unwrap().len(), 3, "{waiting}");
    let before = entries(stage).len();
    assert!(stage.broker(&["partner", "revoke", &stage.member("politie").oin]).is_err());
    let one = scene.agent("gemeente");
    process::until("one was heard", PATIENCE, || {
        witnesses(stage)["waiting_for"].as_array().is_some_and(|waiting| waiting.len() == 2)
    })
    .unwrap();
    assert_eq!(entries(stage).len(), before, "not even the start is logged");
    process::until("its agent says why", PATIENCE, || {
        stage.agent(stage.member("gemeente"), &["status"]).unwrap()["link"]["refusal"] == 607
    })
    .unwrap();
    let two = scene.agent("politie");
    process::until("the broker serves", PATIENCE, || witnesses(stage)["waiting_for"].is_null()).unwrap();
    assert!(entries(stage)[before..].iter().any(|entry| entry.kind == Kind::Start));
    broker.stop(PATIENCE).unwrap();
    stop(vec![one, two]);
    let home = stage.broker_home().to_string_lossy().into_owned();
    let args = ["--home", &home, "run", "--without-witnesses"];
    let _alone = stage.programs.start(Program::Broker, args, &stage.log_of("alone")).unwrap();
    process::until("it serves at once", PATIENCE, || {
        let told = |entry: &seinhuis_shared::entry::Entry| {
            entry.kind == Kind::Operator && entry.detail.as_deref() == Some("started-without-witnesses")
        };
        stage.broker_home().join("broker.sock").exists()
            && stage.log_tail(5).is_ok_and(|entries| entries.iter().any(told))
    })
    .unwrap();
}

#[test]
fn an_outside_witness_and_the_parties_stand_in_one_note_that_an_auditor_can_judge() {
    let mut scene = Scene::unsigned(&TWO);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let card = fs::read_to_string(scene.stage.broker_home().join("broker.json")).unwrap();
    let card: Value = serde_json::from_str(&card).unwrap();
    let log: VerifierKey = text(&card, "log_key").parse().unwrap();
    let secret = seinhuis_shared::signing::SigningKey::from_seed(&[88; 32]);
    let key =
        seinhuis_shared::tlog::cosignature::WitnessKey::new("getuige.example", &secret.public().to_bytes());
    let state = scene.stage.dir.join("witness");
    let witness = seinhuis_witness::Witness::open("getuige.example", secret, &[log], &state).unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(seinhuis_witness::serve(listener, witness, seinhuis_witness::Bounds::default()));
    scene.stage.more =
        format!("\n[[witnesses]]\nname = \"inspectie\"\nvkey = \"{}\"\nurl = \"{url}\"\n", key.unwrap());
    scene.stage.agree().unwrap();
    let stage = &scene.stage;
    let broker = scene.broker();
    let agents = scene.agents();
    push(stage, 1);
    let size = wait_for_quorum(stage);
    process::until("the outsider cosigned all of it", PATIENCE, || {
        let all = witnesses(stage)["witnesses"].clone();
        let all = all.as_array().unwrap();
        let outside = all.iter().find(|one| text(one, "name") == "outside-inspectie").unwrap();
        outside["size"].as_u64().is_some_and(|cosigned| cosigned >= size)
    })
    .unwrap();
    // Any partner gives the auditor the policy, and it holds for the note its agent was told.
    let shown = stage.agent(stage.member("politie"), &["log", "policy"]).unwrap();
    let policy = Policy::parse(text(&shown, "policy").as_bytes()).unwrap();
    assert_eq!(policy.witnesses().len(), 4);
    let kept = fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    let note = Note::parse(&fs::read(kept).unwrap()).unwrap();
    assert!(!policy.judge(&note).unwrap().witnessed, "the outsider alone is no quorum");
    process::until("the agent verified a quorum itself", PATIENCE, || {
        let status = stage.agent(stage.member("politie"), &["status"]).unwrap();
        status["log"]["quorums"][0]["size"].as_u64().is_some_and(|seen| seen >= size)
    })
    .unwrap();
    stop(agents);
    broker.stop(PATIENCE).unwrap();
}
