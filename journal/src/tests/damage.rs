//! Interrupted writes are cut, damage is refused.

use std::os::unix::fs::FileExt;

use super::*;
use crate::record::{self, Body, Frame, HEADER as RECORD_HEADER, Header, Kind, MARK_LENGTH, Salt, Sum};
use crate::segment::{HEADER as SEGMENT_HEADER, SegmentHeader, Tail, scan_segment};

/// A store with `turns` turns whose index knows nothing; returns the bounds of the records of the last segment.
fn prepare(dir: &Path, turns: u32) -> Vec<(usize, usize)> {
    let (mut store, _) = open(dir);
    for n in 0..turns {
        store.commit(turn(n)).unwrap();
    }
    drop(store);
    bounds(segments(dir).last().unwrap())
}

fn bounds(path: &Path) -> Vec<(usize, usize)> {
    let bytes = fs::read(path).unwrap();
    let scan = scan_segment(&bytes, true).unwrap();
    let bound = |at: u64, size: u64| (crate::narrow(at), crate::narrow(at + size));
    scan.records.iter().map(|r| bound(r.offset, r.header.record_size())).collect()
}

fn put(path: &Path, at: usize, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, crate::wide(at)).unwrap();
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = *prepare(dir.path(), 4).last().unwrap();
    let path = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in from..to {
        let mut torn = whole.clone();
        torn[cut..to].fill(0);
        let scan = scan_segment(&torn, true).unwrap();
        let left =
            whole[from..cut].iter().rposition(|byte| *byte != 0).map_or(0, |last| crate::wide(last) + 1);
        let expected = if left == 0 { Tail::Clean } else { Tail::Torn { bytes: left } };
        assert_eq!((scan.tail, scan.records.len()), (expected, 3), "cut at {cut}");
        if cut % 37 == 0 {
            put(&path, 0, &torn);
            let (mut store, recovery) = open(dir.path());
            assert_eq!(recovery.cut.map(|c| c.bytes), Some(left).filter(|left| *left > 0));
            assert_eq!(store.get(1, &2_u32.to_be_bytes()).unwrap(), Some(noise(2, 20)));
            assert_eq!(store.get(1, &3_u32.to_be_bytes()).unwrap(), None);
            store.commit(turn(9)).unwrap();
            drop(store);
            let (store, recovery) = open(dir.path());
            assert_eq!((recovery.cut, store.blob(&id(9)).unwrap()), (None, Some(noise(9, 300))));
            drop(store);
            fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
    }
}

#[test]
fn any_set_of_lost_sectors_of_the_last_record_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(turn(1)).unwrap();
    store.commit(Turn::default().blob(id(2), noise(2, 2500))).unwrap();
    drop(store);
    let path = segments(dir.path()).pop().unwrap();
    let (whole, (from, to)) = (fs::read(&path).unwrap(), *bounds(&path).last().unwrap());
    let sectors: Vec<usize> = (from / 512..to.div_ceil(512)).collect();
    for lost in 1..1_usize << sectors.len() {
        let mut torn = whole.clone();
        for (_, sector) in sectors.iter().enumerate().filter(|(bit, _)| lost >> bit & 1 == 1) {
            torn[from.max(sector * 512)..to.min((sector + 1) * 512)].fill(0);
        }
        let scan = scan_segment(&torn, true).unwrap();
        assert_eq!(scan.records.len(), 1);
        assert!(matches!(scan.tail, Tail::Torn { .. } | Tail::Clean), "{lost:b}: {:?}", scan.tail);
    }
}

#[test]
fn every_flipped_bit_of_a_middle_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = prepare(dir.path(), 4)[1];
    let path = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for at in from..to {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let scan = scan_segment(&bytes, true).unwrap();
            let Tail::Damaged { behind: Some(_), .. } = scan.tail else {
                panic!("{at}.{bit}: {:?}", scan.tail)
            };
            assert_eq!(scan.records.len(), 1);
        }
        if at % 41 == 0 {
            put(&path, at, &[whole[at] ^ 4]);
            let text = refusal(dir.path());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(text.contains(&format!("byte {from}")) && text.contains(&name), "{text}");
            assert!(text.contains("restore this folder from a backup"), "{text}");
            put(&path, at, &whole[at..=at]);
        }
    }
    drop(open(dir.path()));
}

#[test]
fn every_flipped_bit_of_the_last_record_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = *prepare(dir.path(), 3).last().unwrap();
    let path = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for at in from..to {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let scan = scan_segment(&bytes, true).unwrap();
            assert!(matches!(scan.tail, Tail::Damaged { behind: None, .. }), "{at}.{bit}: {:?}", scan.tail);
        }
    }
    put(&path, from + 200, &[whole[from + 200] ^ 1]);
    assert!(refusal(dir.path()).contains("cut_damaged_tail"));
    let options = Options { cut_damaged_tail: true, ..small() };
    let (store, recovery) = JournalStore::open(dir.path(), options).unwrap();
    assert_eq!(recovery.cut.map(|c| c.offset), Some(crate::wide(from)));
    assert_eq!(store.scan(1).unwrap().len(), 2);
}

#[test]
fn flipped_bits_in_segment_headers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), 20);
    let all = segments(dir.path());
    assert!(all.len() > 2);
    let mut places: Vec<(&PathBuf, usize)> = (0..128).map(|at| (&all[1], at)).collect();
    places.extend([(&all[0], 50), (&all[2], 5), (all.last().unwrap(), 50)]);
    for (path, at) in places {
        let byte = fs::read(path).unwrap()[at];
        put(path, at, &[byte ^ 0x10]);
        let text = refusal(dir.path());
        assert!(text.contains("is damaged"), "{at}: {text}");
        put(path, at, &[byte]);
    }
    drop(open(dir.path()));
}

#[test]
fn flipped_bits_behind_the_records_of_a_sealed_segment_are_refused() {
    for spare in [64, 256] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 4096 + spare, ..small() };
        let (mut store, _) = JournalStore::open(dir.path(), options).unwrap();
        for n in 0..20 {
            store.commit(turn(n)).unwrap();
        }
        drop(store);
        let path = &segments(dir.path())[0];
        let end = bounds(path).last().unwrap().1;
        assert!(end < crate::narrow(4096 + spare));
        for at in [end, crate::narrow(4095 + spare)] {
            put(path, at, &[1]);
            assert!(refusal(dir.path()).contains("is damaged"));
            put(path, at, &[0]);
        }
        drop(open(dir.path()));
    }
}

#[test]
fn a_zeroed_record_before_a_valid_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let records = prepare(dir.path(), 4);
    let path = segments(dir.path()).pop().unwrap();
    let (from, to) = records[1];
    put(&path, from, &vec![0; to - from]);
    assert!(refusal(dir.path()).contains("zeros where a record should be"));
}

#[test]
fn a_tail_lost_from_a_sealed_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), 20);
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    let (from, to) = *bounds(path).last().unwrap();
    put(path, from, &vec![0; to - from]);
    assert!(refusal(dir.path()).contains("does not continue the one before it"));
    put(path, from, &whole[from..to - MARK_LENGTH]);
    assert!(refusal(dir.path()).contains("part of a confirmed record is zero"));
}

#[test]
fn missing_and_exchanged_segments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), 40);
    let all = segments(dir.path());
    assert!(all.len() > 3);
    let aside = dir.path().join("aside");
    for gone in &all[..all.len() - 1] {
        fs::rename(gone, &aside).unwrap();
        let text = refusal(dir.path());
        let name = gone.file_name().unwrap().to_string_lossy().into_owned();
        assert!(text.contains("is missing") && text.contains(&name), "{text}");
        fs::rename(&aside, gone).unwrap();
    }
    fs::copy(&all[1], &all[2]).unwrap();
    assert!(refusal(dir.path()).contains("different segment numbers"));
}

#[test]
fn a_shortened_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), 2);
    let path = segments(dir.path()).pop().unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(3000).unwrap();
    assert!(refusal(dir.path()).contains("length that its header names"));
}

#[test]
fn a_torn_record_that_the_index_knows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..3 {
        store.commit(turn(n)).unwrap();
    }
    store.sync_index().unwrap();
    drop(store);
    let path = segments(dir.path()).pop().unwrap();
    let (_, to) = *bounds(&path).last().unwrap();
    put(&path, to - 100, &[0; 100]);
    assert!(refusal(dir.path()).contains("index has applied"));
}

#[test]
fn a_flipped_bit_in_a_blob_or_a_long_value_is_found_when_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(turn(1)).unwrap();
    store.commit(turn(2)).unwrap();
    let path = segments(dir.path()).pop().unwrap();
    let (from, _) = bounds(&path)[0];
    let data = from + RECORD_HEADER + 12 + (9 + 4 + 20) + (9 + 4 + 16) + 52;
    for at in [data + 17, data + 270 + 17] {
        let byte = fs::read(&path).unwrap()[at];
        put(&path, at, &[byte ^ 1]);
    }
    let key = 1_u32.to_be_bytes();
    for outcome in [store.get(2, &key).map(drop), store.scan(2).map(drop), store.blob(&id(1)).map(drop)] {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("stored bytes fail their sum"), "{text}");
    }
    assert_eq!(store.get(1, &key).unwrap(), Some(noise(1, 20)));
    assert_eq!(store.get(2, &2_u32.to_be_bytes()).unwrap(), Some(noise(2, 270)));
    assert_eq!(store.blob(&id(2)).unwrap(), Some(noise(2, 300)));
}

#[test]
fn bytes_of_an_earlier_life_of_a_file_are_no_records() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    prepare(&first, 4);
    let old = fs::read(segments(&first).pop().unwrap()).unwrap();
    let second = dir.path().join("second");
    let (mut store, _) = open(&second);
    for n in 0..20 {
        store.commit(turn(n)).unwrap();
    }
    drop(store);
    let path = segments(&second).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let count = scan_segment(&whole, true).unwrap().records.len();
    // A recycled file that was never zeroed: same offsets, other segment number.
    let mut stale = old;
    let end = crate::narrow(scan_segment(&whole, true).unwrap().end);
    stale[..end].copy_from_slice(&whole[..end]);
    let scan = scan_segment(&stale, true).unwrap();
    assert_eq!(scan.records.len(), count, "nothing stale is replayed");
    // And the very record that would come next, had the file kept its number, moved by 8 bytes.
    let mut moved = whole.clone();
    let (from, to) = *bounds(&path).last().unwrap();
    moved[from..].fill(0);
    moved[from + 8..to + 8].copy_from_slice(&whole[from..to]);
    assert_eq!(scan_segment(&moved, true).unwrap().records.len(), count - 1);
}

/// One segment of number 7 that holds empty records with these numbers and predecessors.
fn craft(records: &[(u64, Option<Sum>)]) -> Vec<u8> {
    let opening = Sum([9; 16]);
    let header = SegmentHeader { number: 7, first_sequence: 50, capacity: 4096, oldest: 7, opening };
    let (mut bytes, mut previous) = (header.encode(), opening);
    for (sequence, instead) in records {
        let frame = Frame {
            kind: Kind::Turn,
            sequence: *sequence,
            oldest: 7,
            previous: instead.unwrap_or(previous),
            offset: crate::wide(bytes.len()),
        };
        let mut record = Vec::new();
        previous = record::encode(&Body::default(), frame, &header.salt(), &mut record).sum;
        bytes.extend(record);
    }
    bytes.resize(4096, 0);
    bytes
}

#[test]
fn a_header_is_valid_in_one_place_only() {
    let bytes = craft(&[(50, None)]);
    let (head, opening, at) = (&bytes[SEGMENT_HEADER..], Sum([9; 16]), crate::wide(SEGMENT_HEADER));
    assert!(Header::read(head, &Salt::new(7, opening), at).is_some());
    assert!(Header::read(head, &Salt::new(8, opening), at).is_none(), "another life of the file");
    assert!(Header::read(head, &Salt::new(7, Sum([8; 16])), at).is_none(), "another history");
    assert!(Header::read(head, &Salt::new(7, opening), at + 8).is_none(), "another offset");
}

#[test]
fn a_record_that_does_not_continue_the_one_before_it_is_damage() {
    let scanned = |records: &[_]| {
        let bytes = craft(records);
        let scan = scan_segment(&bytes, true).unwrap();
        (scan.records.len(), matches!(scan.tail, Tail::Damaged { .. }))
    };
    assert_eq!(scanned(&[(50, None), (51, None)]), (2, false));
    assert_eq!(scanned(&[(50, None), (52, None)]), (1, true), "a number is missing");
    assert_eq!(scanned(&[(50, None), (50, None)]), (1, true), "a number comes twice");
    assert_eq!(scanned(&[(50, None), (51, Some(Sum([1; 16])))]), (1, true), "another predecessor");
}

#[test]
fn a_torn_record_with_anything_behind_its_end_is_damage() {
    let mut bytes = craft(&[(50, None), (51, None)]);
    let scan = scan_segment(&bytes, true).unwrap();
    let (end, count) = (crate::narrow(scan.end), scan.records.len());
    bytes[end - 4..end].fill(0);
    assert!(matches!(scan_segment(&bytes, true).unwrap().tail, Tail::Torn { .. }));
    bytes[end + 40] = 1;
    let scan = scan_segment(&bytes, true).unwrap();
    assert!(matches!(scan.tail, Tail::Damaged { .. }) && scan.records.len() + 1 == count);
}

#[test]
fn arbitrary_bytes_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), 4);
    let whole = fs::read(segments(dir.path()).pop().unwrap()).unwrap();
    for n in 0..3000 {
        let mut bytes = whole.clone();
        let junk = noise(n, 40);
        let at = (usize::from(junk[0]) * 16 + usize::from(junk[1])) % (bytes.len() - 40);
        bytes[at..at + 40].copy_from_slice(&junk);
        if let Ok(scan) = scan_segment(&bytes, true) {
            assert!(scan.records.len() <= 4);
        }
        assert!(scan_segment(&junk, true).is_err());
    }
}
