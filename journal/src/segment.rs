//! Segment files: the header, and the scan that a start-up makes of each.
//!
//! ```text
//! 0    magic 8 · version 4 · zero 4 · number 8 · first sequence 8 · capacity 8 · oldest segment 8 ·
//!      sum of the record before the first 16 · zero 40
//! 104  sum of the bytes before 16 · mark 8
//! 128  records, then zeros
//! ```
//!
//! A file becomes a segment by a rename after its header was flushed, so a segment always has a header.
//! Its length is fixed then too: a shorter file is damage, not a torn write.

use crate::record::{self, Fault, HEADER as RECORD_HEADER, MARK, Record, Salt, Sum, is_zero};
use crate::{narrow, wide};

/// Length of a segment header.
pub const HEADER: usize = 128;

const MAGIC: [u8; 8] = *b"SEINHJRN";
const VERSION: u32 = 1;
const SUMMED: usize = 104;
/// From here to [`SUMMED`] there are zeros; a later format may have something there.
const RESERVED: usize = 64;

/// What a segment says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Number of the segment; consecutive, never used twice.
    pub number: u64,
    /// Number of the first record it will hold.
    pub first_sequence: u64,
    /// Length of the file.
    pub capacity: u64,
    /// The oldest segment needed when this one was made.
    pub oldest: u64,
    /// Sum of the record before the first; zeros for the first of all.
    pub opening: Sum,
}

impl SegmentHeader {
    /// The header as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for field in [self.number, self.first_sequence, self.capacity, self.oldest] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.opening.0);
        out.resize(SUMMED, 0);
        let sum = Sum::of(&out);
        out.extend_from_slice(&sum.0);
        out.extend_from_slice(&MARK);
        out
    }

    /// Reads a header; the error says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let head = bytes.get(..HEADER).ok_or("the file is too short for a segment header")?;
        let (summed, rest) = head.split_at(SUMMED);
        let (sum, mark) = rest.split_at(16);
        if !head.starts_with(&MAGIC) {
            return Err("this is not a segment of a journal");
        }
        if sum != Sum::of(summed).0 || mark != MARK {
            return Err("the segment header fails its sum");
        }
        let word =
            |at: usize| summed.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        let reserved = [12..16, RESERVED..SUMMED].map(|range| summed.get(range).is_some_and(is_zero));
        if summed.get(8..12) != Some(&VERSION.to_le_bytes()) || reserved != [true; 2] {
            return Err(
                "this journal has a format this program does not know; use the program that wrote it",
            );
        }
        let mut opening = Sum::default();
        opening.0.iter_mut().zip(summed.iter().skip(48)).for_each(|(to, from)| *to = *from);
        Ok(Self { number: word(16), first_sequence: word(24), capacity: word(32), oldest: word(40), opening })
    }

    /// The salt of the records in this segment.
    pub fn salt(&self) -> Salt {
        Salt::new(self.number, self.opening)
    }
}

/// How the records of a segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Zeros from here on.
    Clean,
    /// An interrupted write: this many bytes up to the last that is not zero.
    Torn {
        /// Bytes to cut.
        bytes: u64,
    },
    /// Not what an interrupted write leaves, or a valid record lies behind.
    Damaged {
        /// What is wrong.
        fault: &'static str,
        /// Offset of a valid record behind the bad one.
        behind: Option<u64>,
        /// Bytes up to the last that is not zero.
        bytes: u64,
    },
}

/// A segment as read.
#[derive(Debug)]
pub struct Scan<'a> {
    /// Its header.
    pub header: SegmentHeader,
    /// The valid records, in order and without a gap in their numbers.
    pub records: Vec<Record<'a>>,
    /// Where the records end.
    pub end: u64,
    /// What follows there.
    pub tail: Tail,
}

impl Scan<'_> {
    /// Number of the last record up to here, in this segment or before it.
    pub fn last_sequence(&self) -> u64 {
        self.records.last().map_or(self.header.first_sequence.saturating_sub(1), |last| last.header.sequence)
    }

    /// Sum of that record.
    pub fn last_sum(&self) -> Sum {
        self.records.last().map_or(self.header.opening, |last| last.header.sum)
    }

    /// The oldest segment needed after that record.
    pub fn oldest(&self) -> u64 {
        self.records.last().map_or(self.header.oldest, |last| last.header.oldest)
    }
}

/// Reads a whole segment file. With `check_data` unset the bytes of blobs and of long values are not verified.
/// The error says what is wrong with the segment header; faults behind it are in [`Scan::tail`].
pub fn scan_segment(bytes: &[u8], check_data: bool) -> Result<Scan<'_>, &'static str> {
    let header = SegmentHeader::decode(bytes)?;
    if header.capacity != wide(bytes.len()) {
        return Err("the file does not have the length that its header names");
    }
    let salt = header.salt();
    let mut scan = Scan { header, records: Vec::new(), end: wide(HEADER), tail: Tail::Clean };
    loop {
        let rest = bytes.get(narrow(scan.end)..).unwrap_or_default();
        if rest.len() < record::SMALLEST {
            if !is_zero(rest) {
                scan.tail = damaged(bytes, &scan, &salt, "bytes that no record can have left");
            }
            return Ok(scan);
        }
        match record::decode(rest, &salt, scan.end, check_data) {
            Ok(record) => {
                if record.header.sequence != scan.last_sequence().saturating_add(1)
                    || record.header.previous != scan.last_sum()
                {
                    scan.tail =
                        damaged(bytes, &scan, &salt, "the record does not continue the one before it");
                    return Ok(scan);
                }
                scan.end = scan.end.saturating_add(record.header.record_size());
                scan.records.push(record);
            }
            Err(fault) => {
                scan.tail = tail(bytes, &scan, &salt, fault);
                return Ok(scan);
            }
        }
    }
}

fn written(rest: &[u8]) -> u64 {
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| wide(last).saturating_add(1))
}

fn damaged(bytes: &[u8], scan: &Scan<'_>, salt: &Salt, fault: &'static str) -> Tail {
    let end = narrow(scan.end);
    let behind = record::find_header(bytes, salt, end.saturating_add(record::ALIGN)).map(wide);
    Tail::Damaged { fault, behind, bytes: written(bytes.get(end..).unwrap_or_default()) }
}

fn tail(bytes: &[u8], scan: &Scan<'_>, salt: &Salt, fault: Fault) -> Tail {
    let end = narrow(scan.end);
    let rest = bytes.get(end..).unwrap_or_default();
    let written = written(rest);
    let (what, torn) = match fault {
        Fault::Empty if written == 0 => return Tail::Clean,
        Fault::Empty => ("zeros where a record should be", true),
        Fault::Torn(what) => (what, true),
        Fault::Damaged(what) => (what, false),
    };
    let size = record::Header::read(rest.get(..RECORD_HEADER).unwrap_or_default(), salt, scan.end)
        .map_or(u64::MAX, |header| header.record_size());
    match damaged(bytes, scan, salt, what) {
        Tail::Damaged { behind: None, .. } if torn && written <= size => Tail::Torn { bytes: written },
        tail @ (Tail::Clean | Tail::Torn { .. } | Tail::Damaged { .. }) => tail,
    }
}
