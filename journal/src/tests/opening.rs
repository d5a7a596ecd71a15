//! Locks, folders, options, sizes.

use super::*;
use crate::StoreError;

#[test]
fn a_second_open_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let reader = store.blob_reader();
    assert!(refusal(dir.path()).contains("in use by another process"), "{}", refusal(dir.path()));
    Box::new(store).close().unwrap();
    assert!(matches!(reader.blob(&id(0)), Err(StoreError::Closed)));
    drop(open(dir.path()));
}

#[test]
fn a_file_in_place_of_a_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::write(&path, "x").unwrap();
    let text = refusal(&path);
    assert!(text.contains("store") && text.contains("A file stands where a folder is needed"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[test]
fn senseless_options_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        Options { segment_bytes: 100, ..small() },
        Options { segment_bytes: 4097, ..small() },
        Options { max_turn_bytes: u64::MAX, ..small() },
        Options { spares: 0, ..small() },
    ] {
        assert!(matches!(JournalStore::open(dir.path(), options), Err(StoreError::Settings { .. })));
    }
}

#[test]
fn a_turn_over_the_limit_is_refused_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) =
        JournalStore::open(dir.path(), Options { max_turn_bytes: 10_000, ..small() }).unwrap();
    let before = store.stats();
    let refused = store.commit(Turn::default().blob(id(1), vec![1; 10_000]));
    assert!(matches!(refused, Err(StoreError::TooLarge { limit: 10_000, .. })));
    assert_eq!(store.stats().sequence, before.sequence);
    store.commit(turn(2)).unwrap();
    assert_eq!(store.blob(&id(2)).unwrap(), Some(noise(2, 300)));
}

#[test]
fn a_turn_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(turn(1)).unwrap();
    store.commit(Turn::default().blob(id(2), noise(2, 50_000))).unwrap();
    store.commit(turn(3)).unwrap();
    let expected = state(&store, 4);
    drop(store);
    let (store, recovery) = open(dir.path());
    assert_eq!((state(&store, 4), recovery.records), (expected, 3));
}

#[test]
fn an_orderly_stop_is_recognised_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, recovery) = open(dir.path());
    assert!(recovery.orderly);
    store.commit(turn(1)).unwrap();
    drop(store);
    let (store, recovery) = open(dir.path());
    assert!(!recovery.orderly);
    Box::new(store).close().unwrap();
    let (store, recovery) = open(dir.path());
    assert!(recovery.orderly);
    let sequence = store.stats().sequence;
    Box::new(store).close().unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!((recovery.orderly, store.stats().sequence), (true, sequence), "no growth without turns");
}

#[test]
fn one_turn_is_one_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..200 {
        store.commit(turn(n)).unwrap();
        store.commit(Turn::default().delete(1, n.to_be_bytes()).forget(id(n))).unwrap();
        store.sync_index().unwrap();
    }
    let stats = store.stats();
    assert!(stats.freed_segments > 0, "compaction took part");
    assert_eq!((stats.turns, stats.syncs), (400, 400));
}
