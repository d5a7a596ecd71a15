//! Tests that look at the files.

mod compaction;
mod damage;
mod failing;
mod indexing;
mod opening;
mod property;
mod snapshot;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::faults::Faults;
use crate::{BlobId, JournalStore, MemoryStore, Options, Recovery, Row, Store, Turn, conformance};

/// Small segments, and an index that moves only when told to.
fn small() -> Options {
    Options { segment_bytes: 4096, index_interval: Duration::from_hours(1), ..Options::default() }
}

fn with(faults: &Faults) -> Options {
    Options { faults: faults.clone(), ..small() }
}

fn open(dir: &Path) -> (JournalStore, Recovery) {
    JournalStore::open(dir, small()).unwrap()
}

fn refusal(dir: &Path) -> String {
    JournalStore::open(dir, small()).expect_err("opening must fail").to_string()
}

/// Segment files in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    files(dir, "segment-")
}

fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix))
        .collect();
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn id(n: u32) -> BlobId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    BlobId(bytes)
}

/// Bytes without zeros, different for each `n`.
fn noise(n: u32, length: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        u8::try_from(state % 255).unwrap() + 1
    };
    (0..length).map(|_| next()).collect()
}

/// The whole state: every table, every known blob.
type State = (BTreeMap<u8, Vec<Row>>, BTreeMap<BlobId, Vec<u8>>);

fn state(store: &dyn Store, ids: u32) -> State {
    let tables = (0..=3).map(|table| (table, store.scan(table).unwrap())).collect();
    let blobs = (0..ids).filter_map(|n| store.blob(&id(n)).unwrap().map(|bytes| (id(n), bytes))).collect();
    (tables, blobs)
}

/// A turn with a row, a row with a long value, and a blob.
fn turn(n: u32) -> Turn {
    let short = Turn::default().put(1, n.to_be_bytes(), noise(n, 20));
    short.put(2, n.to_be_bytes(), noise(n, 270)).blob(id(n), noise(n, 300))
}

#[test]
fn the_disk_store_conforms() {
    for interval in [1, 3_600_000] {
        let base = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes: 65_536,
            index_interval: Duration::from_millis(interval),
            ..Options::default()
        };
        conformance::run(base.path(), |dir| Box::new(JournalStore::open(dir, options.clone()).unwrap().0));
    }
}

#[test]
fn the_disk_store_conforms_whatever_becomes_of_its_index() {
    // Gone at every start, and as old as the first one.
    for keep in [false, true] {
        let base = tempfile::tempdir().unwrap();
        let first = base.path().join("first");
        conformance::run(base.path(), |dir| {
            let (index, first) = (dir.join("index"), first.join(dir.file_name().unwrap()));
            _ = fs::remove_dir_all(&index);
            if keep && first.exists() {
                copy(&first, &index);
            }
            let store = open(dir).0;
            if keep && !first.exists() {
                store.sync_index().unwrap();
                copy(&index, &first);
            }
            Box::new(store)
        });
    }
}

#[test]
fn the_memory_store_conforms() {
    let mut disks: BTreeMap<PathBuf, MemoryStore> = BTreeMap::new();
    let base = Path::new("/nowhere");
    conformance::run(base, |dir| Box::new(disks.entry(dir.to_path_buf()).or_default().clone()));
}

#[test]
fn a_failing_memory_store_refuses() {
    let mut store = MemoryStore::new();
    store.fail_from_now_on("the test says so");
    assert!(store.commit(Turn::default().put(1, "a", "b")).is_err());
    assert_eq!(store.get(1, b"a").unwrap(), None);
}
