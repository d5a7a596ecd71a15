//! Files that the store does not know of: refused, named, and set aside for another origin alone.

use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::tlog::checkpoint::Checkpoint;

use super::*;
use crate::commands::request::{Request, serve};

const OTHER: &str = "broker.example/b";

/// A broker whose store is put back from when it had ten entries, and whose logs were in the state that `on` brings about.
async fn put_back(dir: &Path, on: impl AsyncFnOnce(&Service)) -> (Home, Config) {
    let (home, config) = home(dir);
    let (service, thread) = Service::open(&home, &config).unwrap();
    fill(&service, 10).await;
    stop(service, thread);
    let backup = files_of(&home.store());
    let (service, thread) = Service::open(&home, &config).unwrap();
    on(&service).await;
    publish(&service).await;
    stop(service, thread);
    fs::remove_dir_all(home.store()).unwrap();
    for (name, bytes) in backup {
        let path = home.store().join(name);
        files::make_private_dir(&files::parent(&path)).unwrap();
        files::write_private(&path, &bytes, files::Existing::Keep).unwrap();
    }
    (home, config)
}

fn refused(home: &Home, config: &Config, next: Option<&str>) -> String {
    Service::open_with(home, config, next).unwrap_err().what.en
}

/// Goes on under another origin, and starts normally after that.
async fn goes_on(home: &Home, config: &Config) {
    let (service, thread) = Service::open_with(home, config, Some(OTHER)).unwrap();
    let command = Command::NewOrigin { origin: OTHER.into(), reason: Digest([1; 32]) };
    assert!(matches!(service.command(command).await.unwrap(), Answer::Recorded { .. }));
    publish(&service).await;
    assert_eq!(is_a_log(&home.log().join("2020"), &service.logs.key(ORIGIN).unwrap().1), 12);
    stop(service, thread);
    let (service, thread) = Service::open(home, config).unwrap();
    assert_eq!(service.logs.current().unwrap().origin, OTHER);
    stop(service, thread);
}

#[tokio::test]
async fn a_store_put_back_from_a_backup_goes_on_under_another_origin_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = put_back(dir.path(), async |service| fill(service, 300).await).await;
    assert!(refused(&home, &config, None).contains("older, or gone"));
    goes_on(&home, &config).await;
    let aside = files_of(&home.log().join("2020/beyond"));
    assert!(aside.keys().any(|name| name.ends_with("tile/entries/000")), "{:?}", aside.keys());
    // What is at the edge of a log that ended is never beyond it.
    let (service, thread) = Service::open_with(&home, &config, Some("broker.example/c")).unwrap();
    assert_eq!(is_a_log(&home.log().join("2020"), &service.logs.key(ORIGIN).unwrap().1), 12);
    stop(service, thread);
}

#[tokio::test]
async fn a_store_that_is_older_by_less_than_a_bundle_is_told_by_the_checkpoint_that_was_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = put_back(dir.path(), async |service| fill(service, 12).await).await;
    let why = refused(&home, &config, None);
    assert!(why.contains("2020/checkpoint") && why.contains("with 10 entries"), "{why}");
    // One that cannot be read says nothing.
    let shown = home.log().join("2020/checkpoint");
    let newer = fs::read(&shown).unwrap();
    fs::write(&shown, b"no checkpoint").unwrap();
    let (service, thread) = Service::open(&home, &config).unwrap();
    stop(service, thread);
    fs::write(&shown, newer).unwrap();
    refused(&home, &config, None);
    goes_on(&home, &config).await;
}

#[tokio::test]
async fn an_origin_that_is_refused_sets_nothing_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = put_back(dir.path(), async |service| fill(service, 300).await).await;
    let before = files_of(&home.log());
    let why = Complaint::from_refusal(Refusal::BadOrigin).what.en;
    for origin in ["with space/b", "", ORIGIN] {
        assert_eq!(refused(&home, &config, Some(origin)), why, "{origin}");
        assert!(files_of(&home.log()) == before, "{origin}");
    }
    goes_on(&home, &config).await;
}

#[tokio::test]
async fn a_log_whose_files_were_set_aside_in_part_is_refused_until_that_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = put_back(dir.path(), async |service| fill(service, 300).await).await;
    // The crash comes after the one file that gives the older store away.
    let beyond = home.log().join("2020/beyond/10/tile/entries");
    files::make_private_dir(&beyond).unwrap();
    fs::rename(home.log().join("2020/tile/entries/000"), beyond.join("000")).unwrap();
    let why = refused(&home, &config, None);
    assert!(why.contains("cut off") && why.contains("2020/beyond"), "{why}");
    goes_on(&home, &config).await;
    let aside = files_of(&home.log().join("2020/beyond"));
    assert!(aside.keys().any(|name| name.ends_with("tile/0/000")), "{:?}", aside.keys());
}

#[tokio::test]
async fn a_log_that_followed_and_that_the_store_does_not_know_is_named_and_never_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let over = async |service: &Service| drop(service.command(Command::RollOver).await.unwrap());
    let (home, config) = put_back(dir.path(), over).await;
    let year = seinhuis_shell::clock::now().year().to_string();
    let why = refused(&home, &config, None);
    assert!(why.contains(&format!("log/{year}")) && why.contains("does not know"), "{why}");
    let before = files_of(&home.log());
    let lost = format!("broker.example/uitwisseling/{year}");
    assert_eq!(refused(&home, &config, Some(&lost)), Complaint::from_refusal(Refusal::BadOrigin).what.en);
    assert!(files_of(&home.log()) == before);
    // Nor when that was cut off after its files were moved.
    let aside = home.log().join("2020/beyond/10");
    files::make_private_dir(&aside).unwrap();
    fs::rename(home.log().join(&year), aside.join(&year)).unwrap();
    assert_eq!(refused(&home, &config, Some(&lost)), Complaint::from_refusal(Refusal::BadOrigin).what.en);
    fs::rename(aside.join(&year), home.log().join(&year)).unwrap();
    fs::remove_dir_all(home.log().join("2020/beyond")).unwrap();
    goes_on(&home, &config).await;
    assert!(aside.join(&year).join("checkpoint").exists());
    // Nor later, also by a broker that runs.
    assert_eq!(refused(&home, &config, Some(&lost)), Complaint::from_refusal(Refusal::BadOrigin).what.en);
    let (service, thread) = Service::open(&home, &config).unwrap();
    let again = Request::NewOrigin { origin: lost, reason: [1; 32] };
    let why = serve(&service, again).await.unwrap_err().what.en;
    assert_eq!(why, Complaint::from_refusal(Refusal::BadOrigin).what.en);
    stop(service, thread);
    // Another folder is nobody's log.
    files::make_private_dir(&home.log().join("notities")).unwrap();
    let (service, thread) = Service::open(&home, &config).unwrap();
    stop(service, thread);
}

#[tokio::test]
async fn what_an_agent_saw_is_held_against_the_log_it_is_of() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    fill(&service, 10).await;
    let note = |origin: &str, secret: &SigningKey, size, root| {
        let key = service.logs.key(origin).unwrap().1;
        let checkpoint = Checkpoint::new(origin, size, root).unwrap();
        let log = LogKey { origin: origin.into(), key: key.key };
        let other = succession::log_key(origin, &log).unwrap();
        checkpoint.sign_with(&other.key, |bytes| secret.sign(bytes)).unwrap().to_string().into_bytes()
    };
    let own = service.logs.key(ORIGIN).unwrap().0;
    let later = "broker.example/uitwisseling/2021";
    let heard = |bytes: &[u8]| service.logs.hear(bytes).unwrap();
    let root = service.logs.current().unwrap().log.root(7).unwrap();
    assert_eq!(heard(b""), Heard::Nothing);
    assert_eq!(heard(&note(ORIGIN, &own, 7, root)), Heard::Fits { origin: ORIGIN.into(), size: 7 });
    assert!(matches!(heard(&note(ORIGIN, &own, 11, root)), Heard::Contradicts { .. }));
    let unknown = heard(&note(later, &own, 1, root));
    assert!(matches!(unknown, Heard::Contradicts { origin, .. } if origin == later));
    let forged = SigningKey::from_seed(&[9; 32]);
    assert_eq!(heard(&note(later, &forged, 1, root)), Heard::Unreadable);
    for bad in [&b"no note"[..], b"with space\n1\nx\n\n"] {
        assert_eq!(heard(bad), Heard::Unreadable);
    }
    stop(service, thread);
}
