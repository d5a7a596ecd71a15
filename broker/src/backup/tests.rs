//! Backups of a real core, store and engine.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use seinhuis_broker_core::Command;
use seinhuis_shared::ids::Digest;
use seinhuis_shell::lang::Lang;
use seinhuis_shell::{clock, keys};

use super::*;
use crate::config::Config;
use crate::home::Home;
use crate::logs::tests::{fill, home as fixture, publish, stop};
use crate::service::Service;

const NEXT: &str = "broker.example/uitwisseling/2020-b";

/// Every file and folder below one, with its mode.
fn modes(dir: &Path, found: &mut BTreeMap<PathBuf, u32>) {
    found.insert(dir.to_path_buf(), fs::metadata(dir).unwrap().permissions().mode() & 0o777);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modes(&path, found);
        } else {
            found.insert(path.clone(), fs::metadata(&path).unwrap().permissions().mode() & 0o777);
        }
    }
}

/// A home of its own below a folder.
fn made(dir: &Path) -> (Home, Config) {
    let dir = dir.join("home");
    fs::create_dir(&dir).unwrap();
    fixture(&dir)
}

/// A folder with the keys and settings of a home, and nothing else.
fn apart(of: &Home, dir: &Path) -> Home {
    let kept = Home::new(dir);
    files::make_private_dir(dir).unwrap();
    files::make_private_dir(&kept.keys()).unwrap();
    for (from, to) in [(of.log_key(), kept.log_key()), (of.config(), kept.config())] {
        files::write_private(&to, &fs::read(from).unwrap(), Existing::Keep).unwrap();
    }
    kept
}

/// A broker with a log that has ended and one that grows, backed up while it runs; their sizes then.
async fn backed_up(home: &Home, out: &Path) -> Vec<u64> {
    let config = home.load_config().unwrap();
    let (service, thread) = Service::open(home, &config).unwrap();
    fill(&service, 300).await;
    publish(&service).await;
    fill(&service, 340).await;
    let command = Command::NewOrigin { origin: NEXT.into(), reason: Digest([7; 32]) };
    service.command(command).await.unwrap();
    publish(&service).await;
    fill(&service, 270).await;
    publish(&service).await;
    fill(&service, 290).await;
    let sizes: Vec<u64> = service.logs.all().iter().map(|one| one.log.size()).collect();
    let point = service.point().await.unwrap();
    // What comes after it is not in it: files neither, nor that the log ended.
    fill(&service, 600).await;
    let command = Command::NewOrigin { origin: format!("{NEXT}b"), reason: Digest([8; 32]) };
    service.command(command).await.unwrap();
    publish(&service).await;
    begin(out).unwrap();
    let made = write(&point, &service.logs.own_key(), out, clock::now(), &mut || true).unwrap();
    assert_eq!(made.logs.iter().map(|log| log.size).collect::<Vec<_>>(), sizes);
    let again = service.backup(out.to_path_buf()).await.unwrap_err();
    assert!(again.what.en.contains("exists already"), "{again}");
    stop(service, thread);
    sizes
}

#[tokio::test]
async fn a_backup_put_back_is_the_broker_as_it_was_at_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = made(dir.path());
    let out = dir.path().join("copy");
    let sizes = backed_up(&home, &out).await;
    let mut found = BTreeMap::new();
    modes(&out, &mut found);
    assert!(found.len() > 10);
    let secret = fs::read(home.log_key()).unwrap();
    for (path, mode) in &found {
        assert_eq!(*mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        let bytes = if path.is_dir() { Vec::new() } else { fs::read(path).unwrap() };
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", path.display());
    }
    let to = apart(&home, &dir.path().join("again"));
    restore(&to, &out).unwrap();
    assert!(!to.restoring().exists());
    let (service, thread) = Service::open(&to, &config).unwrap();
    let logs = service.logs.all();
    assert_eq!(logs.iter().map(|one| one.log.size()).collect::<Vec<_>>(), sizes);
    for one in &logs {
        assert_eq!(one.log.recheck().unwrap(), one.log.size());
    }
    fill(&service, 310).await;
    stop(service, thread);
    let used = restore(&to, &out).unwrap_err();
    assert!(used.what.en.contains(to.store().to_str().unwrap()), "{used}");
}

/// The complaint of a restore that has to be refused and leaves nothing where store and log go.
#[track_caller]
fn refusal(home: &Home, out: &Path) -> String {
    let complaint = restore(home, out).unwrap_err();
    assert!(!home.store().exists() && !home.log().exists());
    complaint.show(Lang::En)
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_by_the_name_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (home, _) = made(dir.path());
    let out = dir.path().join("copy");
    backed_up(&home, &out).await;
    let to = apart(&home, &dir.path().join("again"));
    let manifest: Manifest = serde_json::from_slice(&fs::read(out.join(MANIFEST)).unwrap()).unwrap();
    let of = |part: &str| manifest.files.iter().find(|line| line.path.contains(part)).unwrap().path.clone();
    let some = [
        MANIFEST.to_owned(),
        NOTE.to_owned(),
        of("journal/segment-"),
        of("tile/entries/"),
        of(".p/"),
        of(CHECKPOINT),
    ];
    for name in some {
        let path = out.join(&name);
        let good = fs::read(&path).unwrap();
        let named = |told: &str| assert!(told.contains(path.to_str().unwrap()), "{name}: {told}");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&path, &bad).unwrap();
        named(&refusal(&to, &out));
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        named(&refusal(&to, &out));
        fs::write(&path, [&good[..], b" "].concat()).unwrap();
        named(&refusal(&to, &out));
        fs::remove_file(&path).unwrap();
        named(&refusal(&to, &out));
        fs::write(&path, &good).unwrap();
    }
    // What an earlier restore left does no harm.
    fs::write(to.restoring().join("left"), "x").unwrap();
    restore(&to, &out).unwrap();
    assert!(!to.log().join("left").exists() && !to.restoring().exists());
}

#[tokio::test]
async fn a_backup_of_another_broker_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (home, _) = made(dir.path());
    let out = dir.path().join("copy");
    backed_up(&home, &out).await;
    let to = apart(&home, &dir.path().join("again"));
    fs::remove_file(to.log_key()).unwrap();
    assert!(refusal(&to, &out).contains("log.key"));
    keys::generate_signing(&to.log_key()).unwrap();
    assert!(refusal(&to, &out).contains("not signed with the key of this log"));
}

#[test]
fn nothing_is_put_outside_store_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = fixture(dir.path());
    let out = home.dir().join("copy");
    files::make_private_dir(&out).unwrap();
    let (secret, log) = home.log_identity(&config.log_origin).unwrap();
    for path in ["broker.toml", "log/../broker.toml", "/elsewhere/x", "store/../../x", "keys/log.key"] {
        let manifest = Manifest {
            format: FORMAT.into(),
            software: SOFTWARE.into(),
            created: Timestamp(1),
            sequence: 1,
            logs: Vec::new(),
            files: vec![FileLine::of(path, b"x")],
        };
        let bytes = serde_json::to_vec(&manifest).unwrap();
        fs::write(out.join(MANIFEST), &bytes).unwrap();
        let text = note_text(&log, &bytes);
        let note = Note::new(&text, vec![log.key.sign_with(&text, |bytes| secret.sign(bytes))]).unwrap();
        fs::write(out.join(NOTE), note.to_string()).unwrap();
        assert!(refusal(&home, &out).contains(MANIFEST), "{path}");
    }
}

#[test]
fn of_a_log_that_grows_only_what_is_complete_at_that_size_belongs() {
    let of = |path: &str, size, closed| belongs(path.parse().unwrap(), size, closed);
    for closed in [false, true] {
        assert!(of("tile/entries/001", 600, closed) && of("tile/0/001", 600, closed));
        assert!(!of("tile/entries/002", 600, closed) && !of("tile/1/000", 65_535, closed));
        assert!(of("tile/1/000", 65_536, closed));
        assert!(!of("tile/0/002.p/87", 600, closed) && !of("tile/0/001.p/88", 600, closed));
        assert_eq!(of("tile/0/002.p/88", 600, closed), closed);
        assert_eq!(of("tile/entries/002.p/88", 600, closed), closed);
        assert_eq!(of("tile/1/000.p/2", 600, closed), closed);
    }
}

#[tokio::test]
async fn a_backup_that_is_cut_off_at_any_file_is_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = made(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    fill(&service, 300).await;
    publish(&service).await;
    let (point, key) = (service.point().await.unwrap(), service.logs.own_key());
    let to = apart(&home, &dir.path().join("again"));
    let (mut after, mut whole) = (0, false);
    while !whole {
        let (out, mut count) = (dir.path().join(format!("copy-{after}")), 0);
        begin(&out).unwrap();
        let mut go_on = || {
            count += 1;
            count <= after
        };
        let written = write(&point, &key, &out, clock::now(), &mut go_on);
        whole = written.is_ok();
        if let Err(cut) = written {
            assert!(cut.what.en.contains("not whole"), "{cut}");
            assert!(refusal(&to, &out).contains(MANIFEST));
        }
        after += 1;
    }
    assert!(after > 3, "a segment, a bundle and a tile at least");
    stop(service, thread);
}

#[tokio::test]
async fn no_text_is_removed_while_a_backup_copies() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = made(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    fill(&service, 300).await;
    let copying = service.still.lock().await;
    let turns = async {
        for _ in 0..200 {
            service.command(Command::Started { without_witnesses: false }).await.unwrap();
        }
    };
    tokio::select! {
        _ = service.purge(false) => panic!("texts were removed"),
        () = turns => {}
    }
    drop(copying);
    service.purge(false).await.unwrap();
    stop(service, thread);
}
