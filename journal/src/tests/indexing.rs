//! The index is expendable: whatever happens to it, the journal makes it good.

use super::*;
use crate::{IndexRecovery, RebuildReason};

/// A closed store with 30 turns, all of them in the index.
fn prepare(dir: &Path) -> State {
    let (mut store, recovery) = open(dir);
    assert_eq!(recovery.index, IndexRecovery::Created);
    for n in 0..30 {
        store.commit(turn(n)).unwrap();
    }
    store.commit(Turn::default().delete(1, 0_u32.to_be_bytes()).forget(id(0))).unwrap();
    let state = state(&store, 40);
    Box::new(store).close().unwrap();
    state
}

/// Every file of sled.
fn index_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.join("index")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn rebuilt(dir: &Path) -> (State, RebuildReason) {
    let (store, recovery) = open(dir);
    let IndexRecovery::Rebuilt { reason, replayed } = recovery.index else { panic!("{recovery:?}") };
    assert_eq!(replayed, recovery.records, "everything is applied again");
    (state(&store, 40), reason)
}

#[test]
fn a_whole_index_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let expected = prepare(dir.path());
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.index, IndexRecovery::Kept { replayed: 0 });
    assert_eq!(state(&store, 40), expected);
}

#[test]
fn what_the_index_has_not_seen_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let (mut store, _) = open(dir.path());
    store.commit(turn(35)).unwrap();
    store.commit(turn(36)).unwrap();
    let expected = state(&store, 40);
    drop(store);
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.index, IndexRecovery::Kept { replayed: 2 });
    assert_eq!(state(&store, 40), expected);
}

#[test]
fn a_deleted_index_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let expected = prepare(dir.path());
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(rebuilt(dir.path()), (expected, RebuildReason::Missing));
}

#[test]
fn an_older_copy_of_the_index_is_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let older = dir.path().join("older");
    copy(&dir.path().join("index"), &older);
    let (mut store, _) = open(dir.path());
    store.commit(turn(38).forget(id(5)).delete(1, 6_u32.to_be_bytes())).unwrap();
    let expected = state(&store, 40);
    Box::new(store).close().unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    fs::rename(&older, dir.path().join("index")).unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.index, IndexRecovery::Kept { replayed: 2 });
    assert_eq!(state(&store, 40), expected);
}

#[test]
fn an_index_older_than_the_journal_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let older = dir.path().join("older");
    copy(&dir.path().join("index"), &older);
    let (mut store, _) = open(dir.path());
    store.commit(turn(38)).unwrap();
    store.erase().unwrap();
    let expected = state(&store, 40);
    Box::new(store).close().unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    fs::rename(&older, dir.path().join("index")).unwrap();
    assert_eq!(rebuilt(dir.path()), (expected, RebuildReason::Behind));
}

#[test]
fn an_older_journal_beside_an_index_that_knows_more_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let expected = prepare(dir.path());
    let older = dir.path().join("older");
    copy(&dir.path().join("journal"), &older);
    let (mut store, _) = open(dir.path());
    store.commit(turn(38)).unwrap();
    Box::new(store).close().unwrap();
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::rename(&older, dir.path().join("journal")).unwrap();
    // Twice: a refusal changes nothing.
    for _ in 0..2 {
        let text = refusal(dir.path());
        assert!(text.contains("records that were confirmed are gone") && text.contains("index"), "{text}");
    }
    // Who accepts the loss says so, by an option or by removing the index.
    let options = Options { cut_damaged_tail: true, ..small() };
    let (store, recovery) = JournalStore::open(dir.path(), options).unwrap();
    let reason = RebuildReason::Ahead;
    assert!(matches!(recovery.index, IndexRecovery::Rebuilt { reason: said, .. } if said == reason));
    assert_eq!(state(&store, 40), expected);
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(rebuilt(dir.path()), (expected, RebuildReason::Missing));
}

#[test]
fn a_last_record_that_is_gone_without_a_trace_is_missed_by_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..3 {
        store.commit(turn(n)).unwrap();
    }
    store.sync_index().unwrap();
    drop(store);
    let path = segments(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = crate::segment::scan_segment(&bytes, true).unwrap().records.last().unwrap().offset;
    bytes[crate::narrow(last)..].fill(0);
    fs::write(&path, bytes).unwrap();
    assert!(refusal(dir.path()).contains("the journal ends with record 2"));
}

#[test]
fn the_index_of_another_journal_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let expected = prepare(&dir.path().join("a"));
    let (mut other, _) = open(&dir.path().join("b"));
    for n in 100..120 {
        other.commit(turn(n)).unwrap();
    }
    Box::new(other).close().unwrap();
    fs::remove_dir_all(dir.path().join("a/index")).unwrap();
    copy(&dir.path().join("b/index"), &dir.path().join("a/index"));
    assert_eq!(rebuilt(&dir.path().join("a")), (expected, RebuildReason::Foreign));
}

#[test]
fn an_index_that_lost_an_entry_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let expected = prepare(dir.path());
    for change in [Some("another value"), None] {
        let db = sled::open(dir.path().join("index")).unwrap();
        let key = crate::index::row_key(1, &7_u32.to_be_bytes());
        match change {
            Some(value) => db.insert(key, [&[0; 8], value.as_bytes()].concat()).unwrap(),
            None => db.remove(key).unwrap(),
        };
        db.flush().unwrap();
        drop(db);
        assert_eq!(rebuilt(dir.path()), (expected.clone(), RebuildReason::Inconsistent));
    }
}

#[test]
fn a_damaged_index_is_rebuilt() {
    let whole = tempfile::tempdir().unwrap();
    let expected = prepare(whole.path());
    let length = fs::metadata(whole.path().join("index/db")).unwrap().len();
    for n in 0..24_u32 {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let db = dir.path().join("index/db");
        let mut bytes = fs::read(&db).unwrap();
        let at = crate::narrow(length * u64::from(n) / 24);
        match n % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at..].fill(0),
            2 => bytes[at..].iter_mut().zip(noise(n, 4096)).for_each(|(to, from)| *to = from),
            _ => bytes.iter_mut().skip(at).step_by(97).for_each(|byte| *byte ^= 0x55),
        }
        fs::write(&db, bytes).unwrap();
        let (store, recovery) = open(dir.path());
        assert_eq!(state(&store, 40), expected, "case {n}: {recovery:?}");
    }
}

#[test]
fn a_file_in_place_of_the_index_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let expected = prepare(dir.path());
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    fs::write(dir.path().join("index"), "not a folder").unwrap();
    let (found, reason) = rebuilt(dir.path());
    assert_eq!(found, expected);
    assert!(matches!(reason, RebuildReason::Unreadable { .. }), "{reason:?}");
}

#[test]
fn an_index_without_any_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    assert!(refusal(dir.path()).contains("segment 1 is missing"));
}

#[test]
fn what_comes_and_goes_in_between_never_reaches_sled() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(turn(1)).unwrap();
    let gone = Turn::default().delete(1, 1_u32.to_be_bytes()).delete(2, 1_u32.to_be_bytes()).forget(id(1));
    store.commit(gone).unwrap();
    Box::new(store).close().unwrap();
    let db = sled::open(dir.path().join("index")).unwrap();
    assert_eq!(db.len(), 1, "only the position");
}

#[test]
fn long_values_and_blobs_never_get_into_sled() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let longest = "s".repeat(crate::record::INLINE_MAX);
    let longer = "l".repeat(crate::record::INLINE_MAX + 1);
    let turn = Turn::default().put(1, "short", longest.clone()).put(1, "long", longer.clone());
    store.commit(turn.blob(id(1), "a blob")).unwrap();
    Box::new(store).close().unwrap();
    let held: Vec<u8> = index_files(dir.path()).iter().flat_map(|path| fs::read(path).unwrap()).collect();
    let holds = |text: &[u8]| held.windows(text.len()).any(|window| window == text);
    assert!(holds(longest.as_bytes()), "the search finds what is there");
    assert!(!holds(b"lll") && !holds(b"a blob"));
    let (store, _) = open(dir.path());
    assert_eq!(store.get(1, b"long").unwrap(), Some(longer.into()));
    assert_eq!(store.get(1, b"short").unwrap(), Some(longest.into()));
}

#[test]
fn the_index_follows_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { index_interval: Duration::from_millis(1), ..small() };
    let (mut store, _) = JournalStore::open(dir.path(), options).unwrap();
    store.commit(turn(1)).unwrap();
    while store.stats().indexed < store.stats().sequence {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(store.blob(&id(1)).unwrap(), Some(noise(1, 300)));
}

#[test]
fn commits_wait_for_an_index_that_lags() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { overlay_bytes: 2_000, ..small() };
    let (mut store, _) = JournalStore::open(dir.path(), options).unwrap();
    for n in 0..200 {
        store.commit(turn(n)).unwrap();
    }
    assert!(store.stats().indexed > 150, "the index thread was woken long before its interval");
}
