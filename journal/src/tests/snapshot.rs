//! Copies of a store in use.

use super::*;
use crate::{Snapshot, StoreError};

/// Writes the files of a snapshot below `dir`.
fn write(snapshot: &Snapshot, dir: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir.join("journal")).unwrap();
    for file in snapshot.files() {
        fs::write(dir.join(file.path()), file.read()?).unwrap();
    }
    Ok(())
}

/// Commits and drops packets until at least `segments` more are freed.
fn churn(store: &mut JournalStore, segments: u64) {
    let until = store.stats().freed_segments + segments;
    let mut n = 1000_u32;
    while store.stats().freed_segments < until {
        store.commit(turn(n)).unwrap();
        store
            .commit(Turn::default().delete(1, n.to_be_bytes()).delete(2, n.to_be_bytes()).forget(id(n)))
            .unwrap();
        store.sync_index().unwrap();
        n += 1;
    }
}

#[test]
fn a_copy_made_while_its_segments_are_freed_is_the_store_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..60 {
        store.commit(turn(n)).unwrap();
    }
    let (then, segments) = (state(&store, 60), store.stats().segments);
    let snapshot = store.snapshot().unwrap();
    let sequence = store.stats().sequence;
    assert!(snapshot.sequence() == sequence && segments > 5, "{segments}");
    for n in 0..60_u32 {
        store
            .commit(Turn::default().delete(1, n.to_be_bytes()).delete(2, n.to_be_bytes()).forget(id(n)))
            .unwrap();
    }
    // All that is in the snapshot is freed, and more.
    churn(&mut store, 2 * segments);
    let copied = dir.path().join("copied");
    write(&snapshot, &copied).unwrap();
    let (copy, recovery) = open(&copied);
    assert_eq!(state(&copy, 60), then);
    assert_eq!((copy.stats().sequence, recovery.cut), (sequence, None));
    // Once nobody reads them any more the freed segments are overwritten.
    let held = files(dir.path(), "").len();
    drop(snapshot);
    store.journal_settled();
    let left = files(dir.path(), "").len();
    assert!(left + 5 < held, "{held} files, {left} left");
}

#[test]
fn a_crash_while_a_copy_is_made_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(turn(1)).unwrap();
    let snapshot = store.snapshot().unwrap();
    churn(&mut store, 5);
    let now = state(&store, 60);
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(state(&store, 60), now);
    drop((snapshot, store));
}

#[test]
fn what_is_damaged_is_not_copied_but_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..60 {
        store.commit(turn(n)).unwrap();
    }
    let path = segments(dir.path())[2].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[2000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = write(&store.snapshot().unwrap(), &dir.path().join("copied")).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}
