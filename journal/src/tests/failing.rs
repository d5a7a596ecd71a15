//! Disks that refuse.

use std::io::ErrorKind;

use super::*;
use crate::StoreError;
use crate::faults::{Effect, Fault, Site};

fn fails(site: Site, nth: u64, effect: Effect, kind: ErrorKind) -> Faults {
    Faults::plan([Fault { site, nth, effect, kind, dead_after: false }])
}

#[test]
fn after_a_failed_write_or_flush_nothing_is_accepted() {
    for site in [Site::Write, Site::Sync] {
        for effect in [Effect::NotDone, Effect::Partly, Effect::Done] {
            let dir = tempfile::tempdir().unwrap();
            let faults = fails(site, 3, effect, ErrorKind::Other);
            let (mut store, _) = JournalStore::open(dir.path(), with(&faults)).unwrap();
            store.commit(turn(0)).unwrap();
            store.commit(turn(1)).unwrap();
            let text = store.commit(turn(2)).unwrap_err().to_string();
            assert!(text.contains("segment-"), "{text}");
            let writes = faults.count(Site::Write);
            for n in 3..6 {
                let refused = store.commit(turn(n));
                assert!(matches!(refused, Err(StoreError::Poisoned { .. })), "{site:?} {effect:?}");
            }
            assert!(store.tidy().is_err() && store.erase().is_err() && store.snapshot().is_err());
            assert_eq!(faults.count(Site::Write), writes, "never tried again");
            assert_eq!(store.blob(&id(1)).unwrap(), Some(noise(1, 300)), "reads go on");
            assert_eq!(store.blob(&id(2)).unwrap(), None, "the unconfirmed turn is not shown");
            assert!(Box::new(store).close().is_err(), "no orderly stop is recorded");
            let (store, _) = open(dir.path());
            let rows = store.scan(1).unwrap().len();
            assert!(rows == 2 || rows == 3, "{site:?} {effect:?}: {rows}");
            assert_eq!(store.blob(&id(2)).unwrap().is_some(), rows == 3, "wholly there or wholly absent");
        }
    }
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let full = (4..400).map(|nth| Fault {
        site: Site::Zero,
        nth,
        effect: Effect::NotDone,
        kind: ErrorKind::StorageFull,
        dead_after: false,
    });
    let (mut store, _) = JournalStore::open(dir.path(), with(&Faults::plan(full))).unwrap();
    let mut confirmed = 0;
    let text = loop {
        match store.commit(turn(confirmed)) {
            Ok(()) => confirmed += 1,
            Err(error) => break error.to_string(),
        }
        assert!(confirmed < 1000);
    };
    assert!(text.contains("No space left on this disk") && text.contains("journal/spare-"), "{text}");
    assert!(confirmed > 10, "the spares were used up first: {confirmed}");
    assert!(store.commit(turn(confirmed)).is_err());
    let expected = state(&store, confirmed);
    drop(store);
    let (mut store, recovery) = open(dir.path());
    assert_eq!((state(&store, confirmed), recovery.cut), (expected, None));
    store.commit(turn(confirmed)).unwrap();
}

#[test]
fn a_real_full_disk_is_named() {
    // /dev/full answers every write with "no space"; a store whose next spare would be there cannot be made
    // without mounting, so only the classification of that real error is checked here.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = Faults::none().write(&full, b"x", 0).unwrap_err();
    let text = StoreError::io("write a record to", Path::new("/data/x"))(error).to_string();
    assert!(text.contains("No space left on this disk") && text.contains("/data/x"), "{text}");
}

#[test]
fn refused_folders_are_named() {
    for (kind, hint) in [
        (ErrorKind::PermissionDenied, "read and write permission"),
        (ErrorKind::ReadOnlyFilesystem, "read-only"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let faults = fails(Site::Create, 1, Effect::NotDone, kind);
        let text = JournalStore::open(dir.path(), with(&faults)).err().unwrap().to_string();
        assert!(text.contains("cannot create") && text.contains("spare-") && text.contains(hint), "{text}");
    }
}

#[test]
fn a_spare_that_could_not_be_flushed_stops_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let faults = fails(Site::Zero, 5, Effect::Done, ErrorKind::Other);
    let (mut store, _) = JournalStore::open(dir.path(), with(&faults)).unwrap();
    let failed = (0..200).find_map(|n| store.commit(turn(n)).err());
    assert!(failed.unwrap().to_string().contains("spare-"));
    assert!(matches!(store.commit(turn(999)), Err(StoreError::Poisoned { .. })));
}
