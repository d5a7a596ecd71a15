//! Logs with a real core, store and engine.

mod aside;
pub(crate) mod watched;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use seinhuis_broker_core::{Answer, Command};
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::tile;
use seinhuis_shared::tlog::tree::Frontier;
use seinhuis_shell::keys;

use super::*;
use crate::config::Config;
use crate::home::Home;
use crate::service::{EngineThread, Service};

const ORIGIN: &str = "broker.example/uitwisseling/2020";

/// A folder with what a broker without a network needs.
pub(crate) fn home(dir: &Path) -> (Home, Config) {
    let home = Home::new(dir);
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    files::make_private_dir(&home.keys()).unwrap();
    keys::generate_signing(&home.log_key()).unwrap();
    let text = crate::config::BASIC_SAMPLE.replace("uitwisseling/2026", "uitwisseling/2020");
    fs::write(home.config(), text).unwrap();
    let config = home.load_config().unwrap();
    (home, config)
}

pub(crate) async fn fill(service: &Service, size: u64) {
    while service.logs.current().unwrap().log.size() < size {
        service.command(Command::Started { without_witnesses: false }).await.unwrap();
    }
}

/// Publishes, and lets the core drop what is in files.
pub(crate) async fn publish(service: &Service) {
    let end = service.logs.publish().unwrap();
    let published = seinhuis_broker_core::Input::Published { end };
    service.engine.bring(None, Some(published)).await;
    service.command(Command::Partners).await.unwrap();
}

pub(crate) fn stop(service: Service, thread: EngineThread) {
    drop(service);
    thread.join().unwrap().unwrap();
}

/// Everything a folder holds, by its path.
fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap().flatten() {
            let path = file.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// The folder is a C2SP tlog-tiles log: from its files alone the entries lead to the checkpoint.
fn is_a_log(dir: &Path, key: &LogKey) -> u64 {
    let files = files_of(dir);
    let checkpoint = Checkpoint::verify(&files["checkpoint"], &key.origin, &key.key).unwrap();
    let size = checkpoint.size();
    let mut frontier = Frontier::empty();
    for index in 0..size.div_ceil(256) {
        let tile = tile::Tile::in_tree(0, index, size).unwrap();
        let entries = tile::decode_bundle(&files[&tile::Bundle::from(tile).to_string()]).unwrap();
        let hashes = tile::decode_tile(&files[&tile.to_string()], tile.width()).unwrap();
        assert_eq!(entries.len(), hashes.len());
        for (entry, hash) in entries.into_iter().zip(hashes) {
            assert_eq!(seinhuis_shared::tlog::hash::leaf_hash(entry), hash);
            frontier.append(hash).unwrap();
        }
    }
    for tile in tile::partial_tiles(size).filter(|tile| !tile.is_full()) {
        assert!(files.contains_key(&tile.to_string()), "{tile}");
    }
    assert_eq!(frontier.root(), *checkpoint.root());
    size
}

#[tokio::test]
async fn every_folder_is_a_log_by_itself_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    let year = seinhuis_shell::clock::now().year();
    let next = format!("broker.example/uitwisseling/{year}");
    fill(&service, 300).await;
    publish(&service).await;
    let key = |origin: &str| service.logs.key(origin).unwrap().1;
    assert_eq!(is_a_log(&home.log().join("2020"), &key(ORIGIN)), 300);
    fill(&service, 310).await;
    service.command(Command::RollOver).await.unwrap();
    publish(&service).await;
    assert_eq!(is_a_log(&home.log().join("2020"), &key(ORIGIN)), 311, "its last entry closes it");
    assert_eq!(is_a_log(&home.log().join(year.to_string()), &key(&next)), 1);
    fill(&service, 3).await;
    publish(&service).await;
    let receipt = |service: &Service, position: u64| {
        let [old, _] = service.logs.all().try_into().unwrap();
        service.logs.receipt(position, 1, 311, &old.log.note()).unwrap()
    };
    let before: Vec<Vec<u8>> = (0..311).map(|position| receipt(&service, position)).collect();
    let names = service.logs.named("2020").unwrap();
    assert_eq!((names.origin.as_str(), names.closed, names.number), (ORIGIN, true, 0));
    assert!(service.logs.named("1999").unwrap_err().advice.en.contains(ORIGIN));
    stop(service, thread);
    let (service, thread) = Service::open(&home, &config).unwrap();
    let again: Vec<Vec<u8>> = (0..311).map(|position| receipt(&service, position)).collect();
    assert!(before == again, "receipts of an older log are the same bytes");
    assert_eq!(service.logs.all().iter().map(|one| one.log.size()).collect::<Vec<_>>(), [311, 3]);
    for one in service.logs.all() {
        one.log.recheck().unwrap();
    }
    publish(&service).await;
    assert_eq!(is_a_log(&home.log().join("2020"), &service.logs.key(ORIGIN).unwrap().1), 311);
    stop(service, thread);
}

#[tokio::test]
async fn a_log_that_ended_before_its_files_were_written_is_read_from_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    fill(&service, 5).await;
    service.command(Command::RollOver).await.unwrap();
    stop(service, thread);
    let (service, thread) = Service::open(&home, &config).unwrap();
    assert_eq!(service.logs.all()[0].log.size(), 6);
    publish(&service).await;
    stop(service, thread);
    let (service, thread) = Service::open(&home, &config).unwrap();
    assert_eq!(service.logs.all()[0].log.recheck(), Ok(6));
    stop(service, thread);
    // What it ended with cannot be changed unnoticed.
    let tile = home.log().join("2020/tile/0/000.p/6");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[0] ^= 1;
    fs::write(&tile, bytes).unwrap();
    assert!(Service::open(&home, &config).is_err());
}

#[tokio::test]
async fn old_partial_files_go_once_nobody_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    for size in [10, 20, 30, 40] {
        fill(&service, size).await;
        publish(&service).await;
    }
    let partial = |files: &BTreeMap<String, Vec<u8>>| {
        files.keys().filter(|name| name.starts_with("tile/entries/")).cloned().collect::<Vec<_>>()
    };
    let files = files_of(&home.log().join("2020"));
    assert_eq!(partial(&files), ["tile/entries/000.p/30", "tile/entries/000.p/40"]);
    fill(&service, 300).await;
    publish(&service).await;
    fill(&service, 301).await;
    publish(&service).await;
    let names: Vec<String> = files_of(&home.log().join("2020")).into_keys().collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "checkpoint",
            "tile/0/000",
            "tile/0/001.p/44",
            "tile/0/001.p/45",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/entries/001.p/44",
            "tile/entries/001.p/45",
        ]
    );
    stop(service, thread);
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Runs the self-check until it has read everything once.
async fn pass(service: &Service) {
    while !service.check_on(1).await.unwrap() {}
}

#[tokio::test]
async fn one_bit_flipped_under_a_running_broker_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    fill(&service, 600).await;
    service.command(Command::RollOver).await.unwrap();
    publish(&service).await;
    pass(&service).await;
    let clean = service.checker.state();
    assert!(clean.last_pass.is_some() && clean.failures.is_empty());
    let logged = |service: &Service| {
        let log = service.logs.current().unwrap().log;
        (0..log.size())
            .filter(|at| log.parsed(*at).unwrap().detail.as_deref() == Some("self-check-failed"))
            .count()
    };
    for (file, named) in
        [("tile/entries/001", "bundle 1"), ("tile/0/001", "bundle 1"), ("tile/entries/002.p/89", "")]
    {
        let path = home.log().join("2020").join(file);
        let right = fs::read(&path).unwrap();
        flip(&path);
        let before = logged(&service);
        pass(&service).await;
        let state = service.checker.state();
        if named.is_empty() {
            // The last bundle of a log is in memory too; who opens it again is told.
            assert!(state.failures.is_empty());
        } else {
            let what = &state.failures[0].what.1;
            assert!(what.contains(named) || what.contains(file), "{file}: {what}");
            assert!(state.failures[0].log == "2020" && logged(&service) > before, "{file}");
            let kept = crate::upkeep::Checker::open(home.log().join("self-check.json")).state();
            assert_eq!(kept.failures, state.failures, "kept over a restart");
            let again = logged(&service);
            pass(&service).await;
            assert_eq!(logged(&service), again, "told once");
        }
        fs::write(&path, right).unwrap();
        pass(&service).await;
        assert!(service.checker.state().failures.is_empty(), "until a pass finds nothing");
    }
    stop(service, thread);
}

#[tokio::test]
async fn a_tile_above_others_is_checked_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::begin(dir.path());
    let entries = 256 * 256 + 256;
    log.append((0..entries).map(|n: u32| n.to_be_bytes().to_vec()).collect(), b"note\n");
    log.publish().unwrap();
    for index in [0, 255, 256] {
        log.check_bundle(index).unwrap();
    }
    flip(&dir.path().join("tile/1/000"));
    let complaint = log.check_bundle(127).and_then(|()| log.check_bundle(128)).unwrap_err();
    assert!(complaint.what.en.contains("tile/1/000"), "{}", complaint.what.en);
}

#[tokio::test]
async fn texts_past_their_term_go_and_proofs_stay() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::begin(dir.path());
    let entry = |n: u64| {
        let at = seinhuis_shared::time::Timestamp(n);
        Entry::new(seinhuis_shared::entry::Kind::Start, at, [1; 16]).to_bytes().unwrap()
    };
    let size = 600;
    log.append((0..size).map(entry).collect(), b"note\n");
    log.publish().unwrap();
    let proof = log.receipt(400, 1, size, b"note").unwrap();
    let at = seinhuis_shared::time::Timestamp;
    assert_eq!(log.due(at(255)).unwrap(), None, "its last entry is not past the term");
    assert_eq!(log.due(at(256)).unwrap(), Some((256, at(255))));
    assert_eq!(log.due(at(10_000)).unwrap(), Some((512, at(511))), "whole bundles only");
    let bundle = dir.path().join("tile/entries/000");
    let inode = fs::File::open(&bundle).unwrap();
    log.purge(256).unwrap();
    assert!(!bundle.exists() && dir.path().join("tile/0/000").exists());
    let mut left = Vec::new();
    std::io::Read::read_to_end(&mut { inode }, &mut left).unwrap();
    assert!(left.iter().all(|byte| *byte == 0), "overwritten before it was removed");
    assert!(log.entry(255).unwrap_err().what.en.contains("removed after its term"));
    assert_eq!(log.receipt(400, 1, size, b"note").unwrap(), proof, "what is left is proved as before");
    assert!(log.consistency(100, size).is_ok() && log.root(size).is_ok());
    assert_eq!(log.recheck(), Ok(size));
    assert_eq!(log.first_left().unwrap(), Some((256, at(256))));
    log.purge(256).unwrap();
    // A log that has ended goes whole, and opens without its texts.
    log.close();
    log.publish().unwrap();
    assert_eq!(log.due(at(10_000)).unwrap(), Some((600, at(599))));
    log.purge(600).unwrap();
    assert_eq!(log.publish().unwrap(), 600);
    let names: Vec<String> =
        files_of(dir.path()).into_keys().filter(|name| name.contains("entries")).collect();
    assert!(names.is_empty(), "{names:?}");
    let again = Log::open_closed(dir.path(), size, 600).unwrap();
    assert_eq!((again.recheck(), again.root(size)), (Ok(size), log.root(size)));
    assert!(again.entry(599).is_err() && again.first_left().unwrap().is_none());
}

#[test]
fn folders_are_named_after_origins_and_never_shared() {
    let dir = tempfile::tempdir().unwrap();
    let secret = SigningKey::from_seed(&[1; 32]);
    let text = seinhuis_shared::tlog::note::KeyText::new(ORIGIN, 1, &secret.public().to_bytes()).unwrap();
    let key = LogKey { origin: ORIGIN.into(), key: text.to_string().parse().unwrap() };
    let logs = Logs::open(dir.path(), (secret, key), Vec::new(), false).unwrap();
    let mut names = Vec::new();
    for origin in ["a/2026", "b/2026", "localhost/log", "a/..", "a/", "x/é"] {
        let folder = logs.folder(origin);
        assert!(folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{folder}");
        let log = Log::begin(&dir.path().join(&folder));
        names.push(folder.clone());
        let origin = origin.into();
        logs.push(OneLog { number: 0, origin, folder, base: 0, closed: false, log });
    }
    assert_eq!(names[..3], ["2026", "2026.1", "log"]);
    let once: std::collections::BTreeSet<_> = names.iter().collect();
    assert!(once.len() == names.len() && !names.iter().any(|name| name.contains("..")));
}

#[test]
fn an_origin_that_was_changed_is_named_at_the_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (home, mut config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    runtime.block_on(fill(&service, 1));
    stop(service, thread);
    config.log_origin = "broker.example/uitwisseling/2021".into();
    let complaint = Service::open(&home, &config).unwrap_err();
    assert!(complaint.what.en.contains(ORIGIN) && complaint.what.en.contains("2021"), "{complaint}");
}
