//! One suite that every implementation of [`Store`] passes.
//!
//! It holds the contract as it stands at the trait, in the port's words alone: what is durable on return, what reads see,
//! what other threads may do meanwhile, what an erasure may not touch, and what is there after a crash and after an
//! orderly stop. What only one implementation has (files, damage to them, a disk that fails) its own tests hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use crate::{BlobId, Row, Store, StoreError, Turn};

/// Runs the suite. `open` opens or creates the store of a folder below `base`; opening the same folder again
/// after the previous store was dropped or closed must show what was confirmed.
///
/// # Panics
/// When the implementation breaks the contract.
pub fn run(base: &Path, mut open: impl FnMut(&Path) -> Box<dyn Store>) {
    empty(&*open(&base.join("empty")));
    rows(&mut *open(&base.join("rows")));
    order(&mut *open(&base.join("order")));
    blobs(&mut *open(&base.join("blobs")));
    counts(&mut *open(&base.join("counts")));
    housekeeping(&mut *open(&base.join("housekeeping")));
    readers(open(&base.join("readers")));
    durable(|| open(&base.join("durable")));
    erasing(&mut *open(&base.join("erasing")));
    for seed in 1..=3 {
        history(seed, || open(&base.join(format!("history-{seed}"))));
    }
    snapshot(&base.join("snapshot"), &base.join("snapshot-copy"), &mut open);
}

#[track_caller]
#[expect(clippy::panic, reason = "a suite of checks reports by panicking")]
fn ok<T>(outcome: Result<T, StoreError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("the store failed: {error}"),
    }
}

fn id(n: u8) -> BlobId {
    BlobId([n; 32])
}

fn row(key: &[u8], value: &[u8]) -> Row {
    (key.to_vec(), value.to_vec())
}

fn empty(store: &dyn Store) {
    assert_eq!(ok(store.scan(0)), Vec::new(), "a new table is empty");
    assert_eq!(ok(store.get(0, b"")), None, "a new store has no rows");
    assert_eq!(ok(store.blob(&id(0))), None, "a new store has no blobs");
    assert_eq!(ok(store.blob_reader().blob(&id(0))), None, "nor for a reader");
}

fn rows(store: &mut dyn Store) {
    ok(store.commit(Turn::default().put(1, "a", "first").put(1, "a", "second").put(2, "a", "other table")));
    assert_eq!(ok(store.get(1, b"a")), Some(b"second".to_vec()), "the last change in a turn wins");
    assert_eq!(ok(store.get(2, b"a")), Some(b"other table".to_vec()), "tables are apart");
    ok(store.commit(Turn::default().delete(1, "a").delete(1, "never there")));
    assert_eq!(ok(store.get(1, b"a")), None, "deleted");
    ok(store.commit(Turn::default().put(3, "b", "x").delete(3, "b").put(3, "", "empty key").put(3, "c", "")));
    assert_eq!(ok(store.scan(3)), [row(b"", b"empty key"), row(b"c", b"")], "empty keys and values are rows");
    let large = vec![7; 100_000];
    ok(store.commit(Turn::default().put(4, "large", large.clone())));
    assert_eq!(ok(store.get(4, b"large")), Some(large), "a large value comes back whole");
    ok(store.commit(Turn::default()));
}

fn order(store: &mut dyn Store) {
    let mut expected = Vec::new();
    for n in 0..400_u32 {
        let key = n.wrapping_mul(2_654_435_761).to_be_bytes();
        ok(store
            .commit(Turn::default().put(9, key, n.to_be_bytes()).put(8, key, "neighbour").put(10, key, "")));
        expected.push(row(&key, &n.to_be_bytes()));
    }
    expected.sort();
    assert_eq!(ok(store.scan(9)), expected, "rows come in ascending key order, from one table");
    ok(store.commit(Turn::default().put(0, [0xff], "x").put(255, [], "y").put(255, [0xff, 0xff], "z")));
    assert_eq!(
        ok(store.scan(255)),
        [row(&[], b"y"), row(&[0xff, 0xff], b"z")],
        "the last table ends where it ends"
    );
    assert_eq!(ok(store.scan(0)), [row(&[0xff], b"x")], "the first table does not run on");
}

fn blobs(store: &mut dyn Store) {
    ok(store.commit(Turn::default().blob(id(1), "one").blob(id(2), "").blob(id(3), vec![3; 20_000])));
    assert_eq!(ok(store.blob(&id(1))), Some(b"one".to_vec()), "a blob comes back");
    assert_eq!(ok(store.blob(&id(2))), Some(Vec::new()), "an empty blob is a blob");
    assert_eq!(ok(store.blob(&id(3))), Some(vec![3; 20_000]), "a large blob comes back");
    ok(store.commit(Turn::default().blob(id(1), "replaced").forget(id(2)).forget(id(99))));
    assert_eq!(ok(store.blob(&id(1))), Some(b"replaced".to_vec()), "putting an id again replaces");
    assert_eq!(ok(store.blob(&id(2))), None, "dropped");
    ok(store.commit(Turn::default().forget(id(4)).blob(id(4), "in and out")));
    assert_eq!(ok(store.blob(&id(4))), None, "within a turn blobs are put before blobs are dropped");
    ok(store.commit(Turn::default().blob(id(4), "again")));
    assert_eq!(ok(store.blob(&id(4))), Some(b"again".to_vec()), "a dropped id can be used again");
}

fn counts(store: &mut dyn Store) {
    let before = store.stats();
    ok(store.commit(Turn::default().put(1, "a", "x").put(1, "b", "y").blob(id(1), "z").blob(id(2), "z")));
    ok(store.commit(Turn::default().put(1, "a", "xx").delete(1, "b").forget(id(2))));
    let after = store.stats();
    assert_eq!((after.live_rows, after.live_blobs), (1, 1), "the live items are counted");
    assert_eq!(after.turns, before.turns + 2, "turns are counted");
    assert!(after.sequence > before.sequence && after.live_bytes > 0, "the sequence grows");
}

fn housekeeping(store: &mut dyn Store) {
    for n in 0..50 {
        ok(store.commit(Turn::default().put(1, [n], [n]).blob(id(n), vec![n; 500])));
    }
    for n in (0..50).filter(|n| n % 5 != 0) {
        ok(store.commit(Turn::default().delete(1, [n]).forget(id(n))));
    }
    while ok(store.tidy()) {}
    ok(store.erase());
    while ok(store.erase_step()) {}
    for n in 0..50 {
        let kept = (n % 5 == 0).then_some(n);
        assert_eq!(ok(store.get(1, &[n])), kept.map(|n| vec![n]), "housekeeping keeps rows as they are");
        assert_eq!(
            ok(store.blob(&id(n))),
            kept.map(|n| vec![n; 500]),
            "housekeeping keeps blobs as they are"
        );
    }
}

/// Turns may come between the steps of an erasure; none of them is lost by it.
fn erasing(store: &mut dyn Store) {
    for n in 0..20 {
        ok(store.commit(Turn::default().put(1, [n], vec![n; 300]).blob(id(n), vec![n; 500])));
    }
    let reader = store.blob_reader();
    let mut more = true;
    for n in 0..20 {
        ok(store.commit(Turn::default().forget(id(n)).put(1, [n], [n]).put(2, [n], vec![n; 300])));
        if more {
            more = ok(store.erase_step());
        }
        assert_eq!(ok(reader.blob(&id(n))), None, "gone for readers too");
    }
    while ok(store.erase_step()) {}
    let rows = |value: fn(u8) -> Vec<u8>| (0..20).map(|n| row(&[n], &value(n))).collect::<Vec<_>>();
    assert_eq!(ok(store.scan(1)), rows(|n| vec![n]), "the newest values stay");
    assert_eq!(ok(store.scan(2)), rows(|n| vec![n; 300]), "what came meanwhile stays");
    assert_eq!(store.stats().live_blobs, 0, "and nothing comes back");
}

/// A history by chance, with stops of both kinds, against the simplest store there is.
fn history(seed: u64, mut open: impl FnMut() -> Box<dyn Store>) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut draw = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::try_from(state % below).unwrap_or_default()
    };
    let mut rows: BTreeMap<(u8, Vec<u8>), Vec<u8>> = BTreeMap::new();
    let mut blobs: BTreeMap<BlobId, Vec<u8>> = BTreeMap::new();
    let mut store = open();
    for _ in 0..300 {
        let mut turn = Turn::default();
        for _ in 0..draw(4) {
            let (table, key, value) = (draw(3), vec![draw(9)], vec![draw(250); usize::from(draw(250)) * 3]);
            if draw(3) == 0 {
                rows.remove(&(table, key.clone()));
                turn = turn.delete(table, key);
            } else {
                rows.insert((table, key.clone()), value.clone());
                turn = turn.put(table, key, value);
            }
        }
        let (name, bytes) = (id(draw(9)), vec![draw(250); usize::from(draw(250)) * 9]);
        if draw(2) == 0 {
            blobs.remove(&name);
            turn = turn.forget(name);
        } else {
            blobs.insert(name, bytes.clone());
            turn = turn.blob(name, bytes);
        }
        ok(store.commit(turn));
        match draw(40) {
            0 => ok(store.close()),
            1 => drop(store),
            2 => {
                _ = ok(store.tidy());
                continue;
            }
            3 => {
                _ = ok(store.erase_step());
                continue;
            }
            _ => continue,
        }
        store = open();
        same(&*store, &rows, &blobs);
    }
    same(&*store, &rows, &blobs);
}

fn same(store: &dyn Store, rows: &BTreeMap<(u8, Vec<u8>), Vec<u8>>, blobs: &BTreeMap<BlobId, Vec<u8>>) {
    for table in 0..3 {
        let of_table = rows.iter().filter(|((of, _), _)| *of == table);
        let expected: Vec<Row> = of_table.map(|((_, key), value)| row(key, value)).collect();
        assert_eq!(ok(store.scan(table)), expected, "the rows of table {table} are those confirmed");
    }
    for n in 0..9 {
        assert_eq!(ok(store.blob(&id(n))).as_ref(), blobs.get(&id(n)), "the blobs are those confirmed");
    }
    let counts = (store.stats().live_rows, store.stats().live_blobs);
    let expected = (rows.len(), blobs.len());
    assert_eq!(counts, (crate::wide(expected.0), crate::wide(expected.1)), "and no others are counted");
}

fn readers(mut store: Box<dyn Store>) {
    let reader = store.blob_reader();
    ok(store.commit(Turn::default().blob(id(200), "stays")));
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = reader.clone();
            scope.spawn(move || {
                for n in (0..100).cycle().take(2_000) {
                    let found = ok(reader.blob(&id(n)));
                    assert!(found.is_none_or(|bytes| bytes == vec![n; 300]), "a blob is whole or absent");
                    assert_eq!(
                        ok(reader.blob(&id(200))),
                        Some(b"stays".to_vec()),
                        "a live blob is always there"
                    );
                }
            });
        }
        for n in 0..100 {
            ok(store.commit(Turn::default().blob(id(n), vec![n; 300])));
            assert_eq!(ok(reader.blob(&id(n))), Some(vec![n; 300]), "visible once confirmed");
            ok(store.commit(Turn::default().forget(id(n))));
            assert_eq!(ok(reader.blob(&id(n))), None, "gone once the drop is confirmed");
        }
    });
    ok(store.close());
    let outcome = reader.blob(&id(200));
    let lives_on = outcome.as_ref().is_ok_and(Option::is_some);
    let closed = matches!(outcome, Err(StoreError::Closed));
    assert!(lives_on || closed, "a reader of a closed store answers truthfully or says so");
}

fn durable(mut open: impl FnMut() -> Box<dyn Store>) {
    let mut store = open();
    ok(store
        .commit(Turn::default().put(1, "a", "1").put(1, "b", "2").blob(id(1), "blob").blob(id(2), "gone")));
    ok(store.commit(Turn::default().delete(1, "b").forget(id(2))));
    drop(store);
    let mut store = open();
    let check = |store: &dyn Store| {
        assert_eq!(ok(store.scan(1)), [row(b"a", b"1")], "rows survive, deletions too");
        assert_eq!(ok(store.blob(&id(1))), Some(b"blob".to_vec()), "blobs survive");
        assert_eq!(ok(store.blob(&id(2))), None, "drops survive");
    };
    check(&*store);
    let sequence = store.stats().sequence;
    ok(store.commit(Turn::default().put(2, "c", "3")));
    ok(store.close());
    let store = open();
    check(&*store);
    assert_eq!(ok(store.get(2, b"c")), Some(b"3".to_vec()), "an orderly stop loses nothing either");
    assert!(store.stats().sequence > sequence, "the sequence goes on");
}

fn snapshot(base: &Path, copy: &Path, open: &mut impl FnMut(&Path) -> Box<dyn Store>) {
    let mut store = open(base);
    ok(store.commit(Turn::default().put(1, "a", "1").put(1, "b", "2").blob(id(1), vec![1; 2_000])));
    ok(store.commit(Turn::default().delete(1, "b")));
    let snapshot = match store.snapshot() {
        Err(StoreError::NoFiles) => return,
        outcome => ok(outcome),
    };
    assert_eq!(snapshot.sequence(), store.stats().sequence, "it is of the last confirmed turn");
    ok(store.commit(Turn::default().put(1, "a", "later").put(1, "c", "3").forget(id(1))));
    for file in snapshot.files() {
        let path = copy.join(file.path());
        let folders = path.parent().map(std::fs::create_dir_all);
        assert!(folders.is_some_and(|made| made.is_ok()), "the folder of {} is made", path.display());
        assert!(std::fs::write(&path, ok(file.read())).is_ok(), "{} is written", path.display());
    }
    let copied = open(copy);
    assert_eq!(ok(copied.scan(1)), [row(b"a", b"1")], "the copy has the turns before it and no later one");
    assert_eq!(ok(copied.blob(&id(1))), Some(vec![1; 2_000]), "blobs too");
    assert_eq!(ok(store.get(1, b"a")), Some(b"later".to_vec()), "the store goes on");
}
