//! Proofs from memory and files, and files that do not make up the log.

use super::*;
use seinhuis_shared::tlog::proof::{verify_consistency, verify_inclusion};

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn grown(dir: &Path, size: u64) -> Log {
    let log = Log::open(dir, 0, Vec::new()).unwrap();
    log.append((0..size).map(entry).collect(), b"note\n");
    log
}

#[test]
fn proofs_are_the_same_from_memory_files_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let size = 256 * 3 + 17;
    let log = grown(dir.path(), size);
    let root = log.frontier().unwrap().root();
    let before: Vec<_> = (0..size).map(|i| log.receipt(i, 1, size, b"note").unwrap()).collect();
    assert_eq!(log.publish().unwrap(), 768);
    assert_eq!(log.publish().unwrap(), 768);
    let rows = (768..size).map(|index| (index, entry(index))).collect();
    let again = Log::open(dir.path(), size, rows).unwrap();
    assert_eq!(again.frontier().unwrap().root(), root);
    assert_eq!(again.recheck().unwrap(), size);
    for index in 0..size {
        for log in [&log, &again] {
            assert_eq!(log.entry(index).unwrap(), entry(index));
            assert_eq!(
                log.receipt(index, 1, size, b"note").unwrap(),
                before[usize::try_from(index).unwrap()]
            );
        }
        let path = tree::inclusion_proof(index, size, &again.nodes(size)).unwrap();
        verify_inclusion(index, size, &leaf_hash(&entry(index)), &path, &root).unwrap();
    }
    let old = Frontier::load(300, &again.nodes(300)).unwrap().root();
    verify_consistency(300, size, &again.consistency(300, size).unwrap(), &old, &root).unwrap();
}

#[test]
fn a_restart_across_a_full_level_one_tile_finds_the_same_root() {
    let dir = tempfile::tempdir().unwrap();
    let size = 256 * 256 + 256 + 3;
    let log = grown(dir.path(), size);
    let root = log.frontier().unwrap().root();
    log.publish().unwrap();
    let rows = (256 * 257..size).map(|index| (index, entry(index))).collect();
    let again = Log::open(dir.path(), size, rows).unwrap();
    assert_eq!(again.frontier().unwrap().root(), root);
}

#[test]
fn a_changed_entry_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = grown(dir.path(), 512);
    log.publish().unwrap();
    let path = dir.path().join("tile/entries/001");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let complaint = log.recheck().unwrap_err();
    assert!(complaint.what.en.contains("bundle 1"), "{}", complaint.what.en);
}

#[test]
fn a_store_that_knows_less_than_the_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    grown(dir.path(), 600).publish().unwrap();
    for size in [0, 100, 256, 300] {
        let first = size / 256 * 256;
        let rows = (first..size).map(|index| (index, entry(index))).collect();
        let complaint = Log::open(dir.path(), size, rows).unwrap_err();
        assert!(complaint.what.en.contains("older, or gone"), "{size}: {}", complaint.what.en);
    }
}

#[test]
fn a_file_with_other_content_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let log = grown(dir.path(), 256);
    log.publish().unwrap();
    let path = dir.path().join("tile/0/000");
    assert_eq!(put(&path, &std::fs::read(&path).unwrap()), Ok(()));
    assert!(put(&path, b"another history").is_err());
}

#[test]
fn missing_rows_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    grown(dir.path(), 300).publish().unwrap();
    assert!(Log::open(dir.path(), 300, (257..300).map(|i| (i, entry(i))).collect()).is_err());
    assert!(
        Log::open(dir.path(), 300, (200..300).filter(|i| *i != 260).map(|i| (i, entry(i))).collect())
            .is_err()
    );
    assert!(Log::open(dir.path(), 300, (200..300).map(|i| (i, entry(i))).collect()).is_ok());
    assert!(Log::open(dir.path(), 300, (256..299).map(|i| (i, entry(i))).collect()).is_err());
    assert!(Log::open(dir.path(), 300, (256..300).map(|i| (i, entry(i))).collect()).is_ok());
}

#[test]
fn what_ends_or_is_cosigned_while_the_edge_is_written_is_written_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let log = grown(dir.path(), 5);
    let shown = || std::fs::read(dir.path().join("checkpoint")).unwrap();
    let moment = log.edge_of(&log.read()).unwrap().unwrap();
    log.close();
    log.set_cosigned(Some(b"cosigned\n".to_vec()));
    log.write_edge(moment).unwrap();
    assert_eq!(shown(), b"note\n");
    assert_eq!(log.publish().unwrap(), 5, "all of it is in files for good");
    assert_eq!(shown(), b"cosigned\n", "and that is so");
}
