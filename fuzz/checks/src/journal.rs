//! Records and segments of the journal.
//!
//! Sums keep mutated bytes out, so both checks also look at the same bytes with every sum put right.

use seinhuis_journal::record::{
    ALIGN, Body, Fault, Frame, HEADER, MARK_LENGTH, Part, Record, RowRef, Salt, Sum, Value, decode, encode,
};
use seinhuis_journal::segment::{HEADER as SEGMENT_HEADER, SegmentHeader, Tail, scan_segment};

/// The bytes that end headers and records.
const MARK: [u8; MARK_LENGTH] = [0xa5, 0x5a, 0xc3, 0x3c, 0x96, 0x69, 0xb4, 0x4b];
/// Largest file that is looked at.
const FILE_MAX: usize = 1 << 16;

fn offset_of(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn word(bytes: &[u8], at: usize) -> usize {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    four.map_or(0, |four| place(u64::from(u32::from_le_bytes(*four))))
}

fn set(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes.iter_mut().skip(at).zip(with).for_each(|(to, from)| *to = *from);
}

/// Puts mark and sums of the record at `at` right and gives its sum and where it ends; `None` when it
/// does not fit.
fn repair(bytes: &mut [u8], at: usize, (number, opening): (u64, Sum), previous: Sum) -> Option<(Sum, usize)> {
    let (directory, data) = (word(bytes, at + 24), word(bytes, at + 28));
    let whole = (HEADER + directory + data).next_multiple_of(ALIGN) + MARK_LENGTH;
    let end = at + whole;
    if end > bytes.len() {
        return None;
    }
    set(bytes, at, b"SHJr");
    set(bytes, at + 32, &previous.0);
    let sum = Sum::of(bytes.get(at + HEADER..at + HEADER + directory)?);
    set(bytes, at + 48, &sum.0);
    let head = bytes.get(at..at + 64)?;
    let salted =
        [b"seinhuis/journal/record/1", &number.to_le_bytes()[..], &opening.0, &offset_of(at).to_le_bytes()];
    let sum = Sum::of(&[&salted.concat()[..], head].concat());
    set(bytes, at + 64, &sum.0);
    set(bytes, at + 80, &MARK);
    set(bytes, end - MARK_LENGTH, &MARK);
    Some((sum, end))
}

/// What was read is written again as the same bytes. `file` is what offsets count from.
fn rewritten(record: &Record<'_>, file: &[u8], salt: &Salt) {
    let range = |part: &Part| {
        let from = place(part.offset);
        file.get(from..from + place(u64::from(part.length))).unwrap_or_default()
    };
    let blobs = record.directory.blobs.iter().map(|blob| (blob.id, range(&blob.part)));
    let rows = record.directory.rows.iter().map(|row| {
        let value = row.value.as_ref().map(|value| match value {
            Value::Inline(bytes) => *bytes,
            Value::Apart(part) => range(part),
        });
        RowRef { table: row.table, key: row.key, value }
    });
    let body = Body { rows: rows.collect(), blobs: blobs.collect(), drops: &record.directory.drops };
    let frame = Frame {
        kind: record.header.kind,
        sequence: record.header.sequence,
        oldest: record.header.oldest,
        previous: record.header.previous,
        offset: record.offset,
    };
    let mut out = Vec::new();
    let encoded = encode(&body, frame, salt, &mut out);
    let size = place(record.header.record_size());
    let own = file.get(place(record.offset)..place(record.offset) + size);
    assert_eq!(Some(out.as_slice()), own, "a record re-encodes otherwise");
    assert_eq!(encoded.sum, record.header.sum, "another sum");
    assert_eq!(encoded.directory, record.directory, "another directory");
}

/// One record at the start of a segment: as it is, and with its sums put right.
pub fn record(data: &[u8]) -> bool {
    if data.len() > FILE_MAX {
        return false;
    }
    let (number, opening) = (3, Sum::of(b"before"));
    let salt = Salt::new(number, opening);
    let mut repaired = data.to_vec();
    let fits = repair(&mut repaired, 0, (number, opening), Sum::of(b"previous")).is_some();
    let mut accepted = false;
    for bytes in [data, &repaired] {
        let strict = decode(bytes, &salt, 0, true);
        let lenient = decode(bytes, &salt, 0, false);
        match (&strict, &lenient) {
            (Ok(record), _) => {
                assert_eq!(lenient, strict, "checking less finds less");
                rewritten(record, bytes, &salt);
                accepted = true;
            }
            (Err(fault), Ok(_)) => {
                let data = matches!(fault, Fault::Torn(what) | Fault::Damaged(what) if what.contains("data"));
                assert!(data, "only the data is not verified: {fault:?}");
            }
            (Err(_), Err(fault)) => {
                assert!(*fault != Fault::Empty || bytes.iter().take(HEADER).all(|b| *b == 0), "not empty");
            }
        }
    }
    if fits && word(data, 24) >= 12 {
        let elsewhere = Salt::new(number + 1, opening);
        assert!(decode(&repaired, &elsewhere, 0, true).is_err(), "a record of another segment passes");
    }
    accepted
}

/// Scans, and says whether all that is there is records.
fn scanned(bytes: &[u8]) -> bool {
    let Ok(scan) = scan_segment(bytes, true) else { return false };
    assert_eq!(scan.header.capacity, offset_of(bytes.len()), "another length than it names");
    let salt = scan.header.salt();
    let (mut at, mut previous) = (offset_of(SEGMENT_HEADER), scan.header.opening);
    for record in &scan.records {
        assert_eq!((record.offset, record.header.previous), (at, previous), "a gap between records");
        rewritten(record, bytes, &salt);
        at += record.header.record_size();
        previous = record.header.sum;
    }
    assert_eq!((scan.end, scan.last_sum()), (at, previous), "another end");
    let rest = bytes.get(place(scan.end)..).unwrap_or_default();
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| offset_of(last) + 1);
    match scan.tail {
        Tail::Clean => assert_eq!(written, 0, "bytes behind a clean end"),
        Tail::Torn { bytes } => assert!(bytes == written && written > 0, "cuts other bytes"),
        Tail::Damaged { behind, .. } => assert!(behind.is_none_or(|place| place > scan.end), "behind?"),
    }
    scan.tail == Tail::Clean
}

/// A whole segment: as it is, and with its sums put right up to the first record that does not fit.
pub fn segment(data: &[u8]) -> bool {
    if !(SEGMENT_HEADER..=FILE_MAX).contains(&data.len()) {
        return false;
    }
    let accepted = scanned(data);
    let mut bytes = data.to_vec();
    let header = SegmentHeader {
        number: 3,
        first_sequence: 1,
        capacity: offset_of(bytes.len()),
        oldest: 1,
        opening: Sum::of(b"before"),
    };
    set(&mut bytes, 0, &header.encode());
    let (mut at, mut previous) = (SEGMENT_HEADER, header.opening);
    while let Some((sum, end)) = repair(&mut bytes, at, (header.number, header.opening), previous) {
        (at, previous) = (end, sum);
    }
    scanned(&bytes);
    accepted
}
