//! Surroundings that are wrong: files, folders, disks, ports, keys. Each time a sentence that names the
//! place, the fault and the fix, the right exit code, and nothing accepted that is lost.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use seinhuis_shared::covenant::Step;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::wire::{Acknowledged, Acknowledgement};
use seinhuis_shell::clock;
use seinhuis_tests::forge::Lock;
use seinhuis_tests::process::{self, Program, Ran};
use seinhuis_tests::raw::Answer;
use seinhuis_tests::small::Small;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Forge, Member, Raw, Stage};
use tokio::runtime::Runtime;

use crate::common::{Scene, copy, put_back, town::sample};

const PAIR: [&str; 2] = ["gemeente", "jongerenwerk"];

/// Runs a command of the broker for a person, not for a program.
fn broker(stage: &Stage, args: &[&str]) -> Ran {
    command(stage, Program::Broker, &stage.broker_home(), args)
}

fn agent(stage: &Stage, member: &Member, args: &[&str]) -> Ran {
    command(stage, Program::Agent, &member.home, args)
}

fn command(stage: &Stage, program: Program, home: &Path, args: &[&str]) -> Ran {
    let home = home.to_string_lossy();
    let all: Vec<&str> = ["--home", &home].into_iter().chain(args.iter().copied()).collect();
    if args != ["run"] {
        return stage.programs.run(program, &all).unwrap();
    }
    // One that should not have started must not keep the test waiting for ever.
    let said = tempfile::NamedTempFile::new().unwrap();
    let ended = stage.programs.start(program, &all, said.path()).unwrap().wait(PATIENCE);
    let stderr = std::fs::read_to_string(said.path()).unwrap();
    assert!(ended.is_ok(), "it runs: {stderr}");
    Ran { code: ended.unwrap().code().unwrap_or(255), stdout: String::new(), stderr }
}

/// It ended with this code, and what it complained has each of `words` and a next step.
fn complains(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    for word in words.iter().chain(&["Next:"]) {
        assert!(ran.stderr.contains(word), "{word:?} is missing: {ran:?}");
    }
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

// Configuration and other files.

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_nearest() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    stage.configure("\n[mailbox]\npackts = 5\n").unwrap();
    for command in ["run", "check-config", "status"] {
        complains(&broker(stage, &[command]), 2, &["broker.toml", "line 10", "\"packts\"", "\"packets\""]);
    }
    let member = stage.member("gemeente");
    stage.configure_agent(member, "\n[transport]\nborker = \"x:1\"\n").unwrap();
    complains(&agent(stage, member, &["run"]), 2, &["agent.toml", "\"borker\"", "\"broker\""]);
}

#[test]
fn an_impossible_value_is_named() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    stage.configure("\n[store]\nsegment_mib = 0\n").unwrap();
    complains(&broker(stage, &["run"]), 2, &["broker.toml", "store.segment_mib", "1 to 1024"]);
}

#[test]
fn a_damaged_grant_or_card_is_named() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    let member = stage.member("gemeente");
    for (file, spoil) in [
        (stage.broker_home().join("grant.json"), "{"),
        (stage.broker_home().join("crl.pem"), "-----BEGIN NOTHING-----"),
        (stage.broker_home().join("keys/tls.key"), "no key"),
        (stage.broker_home().join("keys/log.key"), "no key"),
    ] {
        let before = std::fs::read(&file).ok();
        std::fs::write(&file, spoil).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        // A list has no name of its own inside a grant.
        let name = if name == "crl.pem" { "revocation list" } else { &name };
        complains(&broker(stage, &["run"]), 2, &[name]);
        match before {
            Some(before) => std::fs::write(&file, before).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
    }
    for name in ["grant.json", "broker.json"] {
        let file = member.home.join(name);
        let before = std::fs::read(&file).unwrap();
        std::fs::write(&file, &before[..before.len() / 2]).unwrap();
        complains(&agent(stage, member, &["run"]), 2, &[name]);
        std::fs::write(&file, before).unwrap();
    }
    // Put right again, both start.
    let _broker = scene.broker();
    let _agent = scene.agent("gemeente");
}

#[test]
fn a_damaged_covenant_or_request_is_named() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    let file = |name: &str, text: &str| {
        let path = stage.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let covenant = file("wrong.toml", "[partnership]\nid = \n");
    complains(&broker(stage, &["covenant", "load", &covenant]), 2, &["wrong.toml", "line 2"]);
    complains(
        &agent(stage, stage.member("gemeente"), &["covenant", "propose", &covenant]),
        2,
        &["wrong.toml", "line 2"],
    );
    let request = file("wrong.request", "nothing");
    let add = broker(stage, &["partner", "add", &request, "--fingerprint", "AAAAA-AAAAA-AAAAA-AAAAA"]);
    complains(&add, 1, &["wrong.request", "102"]);
    let real = stage.request_of(stage.member("gemeente"));
    let other = broker(stage, &["partner", "add", &real, "--fingerprint", "AAAAA-AAAAA-AAAAA-AAAAA"]);
    complains(&other, 1, &["gemeente.request", "AAAAA-AAAAA-AAAAA-AAAAA", "Call the partner"]);
    let absent = broker(stage, &["partner", "add", "/nowhere.request", "--fingerprint", "x"]);
    complains(&absent, 2, &["/nowhere.request", "does not exist"]);
}

#[test]
fn a_file_where_a_folder_is_needed_is_named() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    let member = stage.member("gemeente");
    let (store, aside) = (stage.broker_home().join("store"), stage.dir.join("aside"));
    std::fs::rename(&store, &aside).unwrap();
    std::fs::write(&store, "not a folder").unwrap();
    complains(&broker(stage, &["run"]), 2, &["broker/store"]);
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    let socket = stage.broker_home().join("broker.sock");
    _ = std::fs::remove_file(&socket);
    std::fs::write(&socket, "not a socket").unwrap();
    complains(&broker(stage, &["run"]), 2, &["broker.sock", "not a socket"]);
    std::fs::remove_file(&socket).unwrap();
    let store = member.home.join("store");
    if store.exists() {
        std::fs::remove_dir_all(&store).unwrap();
    }
    std::fs::write(&store, "not a folder").unwrap();
    complains(&agent(stage, member, &["run"]), 2, &["gemeente/store"]);
}

#[test]
fn a_folder_or_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let key = stage.broker_home().join("keys/log.key");
    mode(&key, 0o644);
    complains(&broker(stage, &["run"]), 2, &["log.key"]);
    mode(&key, 0o600);
    mode(&stage.broker_home(), 0o755);
    complains(&broker(stage, &["run"]), 2, &["/broker"]);
    mode(&stage.broker_home(), 0o700);
    let _broker = scene.broker();
}

// Processes.

#[test]
fn a_port_in_use_is_named_and_free_it_serves() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    let taken = UdpSocket::bind(&stage.address).unwrap();
    complains(&broker(stage, &["run"]), 2, &[&stage.address]);
    let doctor = broker(stage, &["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains(&stage.address), "{doctor:?}");
    drop(taken);
    let _broker = scene.broker();
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    let member = stage.member("gemeente");
    let mut first = (scene.broker(), scene.agent("gemeente"));
    complains(&broker(stage, &["run"]), 2, &["broker.sock", "running already"]);
    complains(&agent(stage, member, &["run"]), 2, &["agent.sock", "running already"]);
    assert!(stage.broker(&["status"]).is_ok() && stage.agent(member, &["status"]).is_ok());
    // Even without the sockets nobody else gets at the stores.
    std::fs::remove_file(stage.broker_home().join("broker.sock")).unwrap();
    std::fs::remove_file(member.home.join("agent.sock")).unwrap();
    complains(&broker(stage, &["run"]), 2, &["broker/store", "in use"]);
    complains(&broker(stage, &["partner", "list"]), 2, &["broker/store", "in use"]);
    complains(&agent(stage, member, &["run"]), 2, &["gemeente/store", "in use"]);
    assert!(first.0.runs() && first.1.runs());
}

// Keys and history of the log.

#[test]
fn a_broker_with_another_log_key_or_origin_serves_nothing() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    let home = stage.broker_home();
    let (key, aside) = (home.join("keys/log.key"), stage.dir.join("log.key"));
    std::fs::copy(&key, &aside).unwrap();
    std::fs::copy(home.join("keys/signing.key"), &key).unwrap();
    complains(&broker(stage, &["run"]), 2, &["last checkpoint", "keys/log.key"]);
    complains(&broker(stage, &["partner", "list"]), 2, &["last checkpoint", "keys/log.key"]);
    std::fs::copy(&aside, &key).unwrap();
    let config = home.join("broker.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, before.replace("/uitwisseling/", "/andere/")).unwrap();
    complains(&broker(stage, &["run"]), 2, &["was begun as", "log_origin", "new-origin"]);
    std::fs::write(&config, before).unwrap();
    let _broker = scene.broker();
}

#[test]
fn an_agent_whose_card_has_another_log_key_refuses_the_broker_and_says_so() {
    let scene = Scene::unwatched(&PAIR);
    let stage = &scene.stage;
    let member = stage.member("jongerenwerk");
    let _broker = scene.broker();
    // The card of another broker that calls its log the same.
    let other = stage.dir.join("other");
    let home = other.to_string_lossy().into_owned();
    let card = member.home.join("broker.json").to_string_lossy().into_owned();
    let mine = std::fs::read_to_string(member.home.join("broker.json")).unwrap();
    let mine: serde_json::Value = serde_json::from_str(&mine).unwrap();
    let origin = mine["log_origin"].as_str().unwrap();
    let oin = "00000099000000000001";
    let init = ["--home", &home, "init", "--name", "Ander", "--oin", oin, "--log-origin", origin];
    let at = ["--listen", &stage.address, "--advertise", &stage.address];
    stage.must(Program::Broker, &[&init[..], &at[..]].concat()).unwrap();
    stage.must(Program::Broker, &["--home", &home, "card", "--out", &card]).unwrap();
    let mut running = scene.agent("jongerenwerk");
    process::until("the agent notices", PATIENCE, || {
        let status = stage.agent(member, &["status"]).unwrap();
        status["alarms"].as_array().unwrap().iter().any(|alarm| alarm["kind"] == "other-log")
    })
    .unwrap();
    let file = sample("F01").path.to_string_lossy().into_owned();
    let pushed = stage.agent(member, &["push", &file]).unwrap();
    assert_eq!(pushed["connected"], false, "it is no session: {pushed}");
    let doctor = agent(stage, member, &["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains("other-log"), "{doctor:?}");
    assert!(running.runs());
    let accepted = stage.log_tail(100).unwrap();
    assert!(accepted.iter().all(|entry| entry.kind != Kind::Accepted));
}

#[test]
fn a_broker_put_back_to_an_older_state_is_caught_by_its_agents() {
    let scene = Scene::unwatched(&PAIR);
    let stage = &scene.stage;
    let member = stage.member("jongerenwerk");
    let file = sample("F01").path.to_string_lossy().into_owned();
    let running = scene.broker();
    let _agents = scene.agents();
    running.stop(PATIENCE).unwrap();
    let old = stage.dir.join("old");
    copy(&stage.broker_home(), &old);
    let running = scene.broker();
    let pushed = stage.agent(member, &["push", &file, "--wait", "60"]).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    running.stop(PATIENCE).unwrap();
    put_back(stage, &old);
    let _running = scene.broker();
    process::until("the agent catches the log", 2 * PATIENCE, || {
        // A status that tells of it ends with 1.
        let status = stage.try_agent(member, &["status"]).unwrap();
        status.code == 1 && status.json()["log"]["forked"] == true
    })
    .unwrap();
    let shown = agent(stage, member, &["status"]);
    assert!(shown.stdout.contains("ALARM") && shown.stdout.contains("contradicts itself"), "{shown:?}");
}

// Damage.

/// The journal's files, oldest first.
fn segments(home: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(home.join("store/journal"))
        .or_else(|_| std::fs::read_dir(home.join("store")))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && std::fs::read(path).unwrap().starts_with(b"SEINHJRN"))
        .collect();
    found.sort();
    found
}

#[test]
fn a_flipped_byte_in_the_journal_is_named_with_file_and_place() {
    let scene = Scene::with(&PAIR);
    let stage = &scene.stage;
    drop(scene.broker());
    let member = stage.member("gemeente");
    let file = sample("F07").path.to_string_lossy().into_owned();
    for _ in 0..3 {
        agent(stage, member, &["push", &file, "--to", "jongerenwerk"]);
    }
    for (home, run) in [(stage.broker_home(), None), (member.home.clone(), Some(member))] {
        let segment = segments(&home).remove(0);
        let name = segment.file_name().unwrap().to_string_lossy().into_owned();
        let again = || run.map_or_else(|| broker(stage, &["run"]), |member| agent(stage, member, &["run"]));
        for offset in [40, 200, 400] {
            flip(&segment, offset);
            complains(&again(), 2, &[&name, "damaged at byte", "backup"]);
            flip(&segment, offset);
        }
        std::fs::rename(&segment, segment.with_extension("aside")).unwrap();
        complains(&again(), 2, &["store"]);
        std::fs::rename(segment.with_extension("aside"), &segment).unwrap();
    }
    let _broker = scene.broker();
    let _agent = scene.agent("gemeente");
}

#[test]
fn a_flipped_byte_in_the_logs_files_is_found() {
    let scene = Scene::unwatched(&PAIR);
    let stage = &scene.stage;
    let running = scene.broker();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut raw = Raw::open(&stage.member("gemeente").home).await.unwrap();
        for number in 0..300_u32 {
            raw.submit(&number.to_be_bytes()).await.unwrap();
        }
        for _ in 0..300 {
            assert!(matches!(raw.answer().await.unwrap(), Answer::Verdict(_)));
        }
        raw.close().await;
    });
    let folder = stage.broker_home().join("log").join(clock::now().year().to_string());
    let (bundle, tile) = (folder.join("tile/entries/000"), folder.join("tile/0/000"));
    process::until("the first bundle is a file", PATIENCE, || bundle.exists() && tile.exists()).unwrap();
    assert!(stage.broker(&["log", "verify"]).is_ok());
    flip(&bundle, 5000);
    // The file is there a moment before the broker looks there instead of in its memory.
    let verify = || broker(stage, &["log", "verify"]);
    process::until("the broker reads the file", PATIENCE, || verify().code != 0).unwrap();
    complains(&verify(), 2, &["broker/log", "damaged", "backup"]);
    running.stop(PATIENCE).unwrap();
    complains(&broker(stage, &["log", "verify"]), 2, &["broker/log", "damaged", "backup"]);
    flip(&bundle, 5000);
    assert!(stage.broker(&["log", "verify"]).is_ok());
    flip(&tile, 33);
    for command in [&["run"][..], &["log", "verify"][..]] {
        complains(&broker(stage, command), 2, &["/broker/", "backup"]);
    }
    flip(&tile, 33);
    let _broker = scene.broker();
}

// Disks.

/// A small disk over a folder; `None`, said aloud, where mounting is not allowed.
fn small_disk(path: &Path, mib: u64) -> Option<Small> {
    let disk = Small::over(path, mib << 20);
    if let Err(error) = &disk {
        eprintln!("SKIPPED: this user may not mount a file system, which this test needs: {error}");
    }
    disk.ok()
}

/// A scene whose broker keeps its store on a disk of a few MiB.
fn on_small_disk(mib: u64) -> Option<(Scene, Small)> {
    let mut scene = Scene::unsigned(&["gemeente", "politie"]);
    scene.stage.watched = false;
    let stage = &scene.stage;
    stage.configure("\n[store]\nsegment_mib = 1\nkeep_free_mib = 0\n").unwrap();
    let store = stage.broker_home().join("store");
    std::fs::remove_dir_all(&store).unwrap();
    let disk = small_disk(&store, mib)?;
    for member in &stage.members {
        stage.register(member).unwrap();
    }
    stage.agree().unwrap();
    Some((scene, disk))
}

#[test]
fn a_full_disk_stops_the_broker_with_a_sentence_and_loses_nothing_accepted() {
    let Some((scene, disk)) = on_small_disk(12) else { return };
    let stage = &scene.stage;
    let mut running = scene.broker();
    let runtime = Runtime::new().unwrap();
    let (police, municipality) = (stage.member("politie"), stage.member("gemeente"));
    let (forge, lock) = (Forge::of(stage, police).unwrap(), Lock::make().unwrap());
    let to: Oin = municipality.oin.parse().unwrap();
    let mut accepted = Vec::new();
    let case = runtime.block_on(async {
        let raw = Raw::open(&municipality.home).await.unwrap();
        let town = Forge::of(stage, municipality).unwrap();
        let (case, _) = town.open_case(&raw, Step::S2B).await.unwrap();
        raw.close().await;
        case
    });
    runtime.block_on(async {
        let mut raw = Raw::open(&police.home).await.unwrap();
        for _ in 0..200 {
            let mut context = forge.context(&sample("F11"), &[(to, &lock.public)]).unwrap();
            context.case = Some(case);
            let packet = forge.seal(context, &[&lock.public], &vec![b' '; 200_000]).unwrap();
            match raw.verdict(&packet).await {
                Ok((verdict, _)) => {
                    assert_eq!(verdict.outcome, 0, "{:?}", Refusal::from_number(verdict.outcome));
                    accepted.push(packet);
                }
                Err(_) => return,
            }
        }
        unreachable!("40 MB fit on 12");
    });
    assert!(accepted.len() > 5, "{}", accepted.len());
    let ended = running.wait(PATIENCE).unwrap();
    assert_eq!(ended.code(), Some(2));
    let log = std::fs::read_to_string(stage.log_of("broker")).unwrap();
    for word in ["broker/store", "No space left", "Next:"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    // Started again on the full disk it still gives what it has, as far as a session's window goes.
    let running = scene.broker();
    runtime.block_on(async {
        let mut raw = Raw::open(&municipality.home).await.unwrap();
        for packet in accepted.iter().take(20) {
            assert!(raw.offer().await.unwrap().packet.0 == *packet);
        }
    });
    running.stop(PATIENCE).unwrap();
    // With space, everything that was accepted arrives, and the next is accepted.
    disk.resize(64 << 20).unwrap();
    let _running = scene.broker();
    let signer = Forge::of(stage, municipality).unwrap().key;
    runtime.block_on(async {
        let mut raw = Raw::open(&municipality.home).await.unwrap();
        for packet in &accepted {
            let offer = raw.offer().await.unwrap();
            assert!(offer.packet.0 == *packet, "in the order of acceptance");
            let link = leaf_hash(&Receipt::parse(&offer.receipt).unwrap().entries[0].entry);
            let msg_id = Packet::parse(packet).unwrap().context().msg_id;
            let items = vec![Acknowledged::stored(msg_id, sha256(packet), 0, link)];
            let acknowledgement = Acknowledgement { recipient: to, issued: clock::now(), items };
            raw.acknowledge(&acknowledgement.sign(&signer)).await.unwrap();
        }
        let mut raw = Raw::open(&police.home).await.unwrap();
        let packet = forge.packet(&sample("F11"), &[(to, &lock.public)], |context| context.case = Some(case));
        assert_eq!(raw.verdict(&packet.unwrap()).await.unwrap().0.outcome, 0);
    });
    process::until("all is delivered", PATIENCE, || {
        let log = stage.log_tail(10_000).unwrap();
        log.iter().filter(|entry| entry.kind == Kind::Delivered).count() == accepted.len()
    })
    .unwrap();
    assert!(stage.broker(&["log", "verify"]).is_ok());
}

#[test]
fn a_disk_that_only_reads_is_named() {
    let Some((scene, disk)) = on_small_disk(12) else { return };
    let stage = &scene.stage;
    disk.remount("ro").unwrap();
    complains(&broker(stage, &["run"]), 2, &["broker/store", "read-only"]);
    disk.remount("rw").unwrap();
    let _broker = scene.broker();
}
