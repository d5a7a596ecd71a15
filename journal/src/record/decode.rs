//! Reads records, and tells a torn one from a damaged one.

use super::{ALIGN, Directory, HEADER, Header, MAGIC, MARK, MARK_LENGTH, SECTOR, Salt, Sum};
use crate::{narrow, wide};

/// A whole, verified record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Offset in the segment.
    pub offset: u64,
    /// The header.
    pub header: Header,
    /// What it says.
    pub directory: Directory<'a>,
}

/// Why there is no whole record at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but zeros where the header would be.
    Empty,
    /// Zeros where bytes are missing: what an interrupted write leaves.
    Torn(&'static str),
    /// Written whole, and no longer what was written.
    Damaged(&'static str),
}

/// Decodes the record at `offset` of a segment. `bytes` runs from there to the end of the segment. With
/// `check_data` unset the bytes of blobs and of long values are not verified.
pub fn decode<'a>(bytes: &'a [u8], salt: &Salt, offset: u64, check_data: bool) -> Result<Record<'a>, Fault> {
    let head = bytes.get(..HEADER).ok_or(Fault::Damaged("no room for a record header"))?;
    let Some(header) = Header::read(head, salt, offset) else {
        return Err(header_fault(head, offset));
    };
    let size = narrow(header.record_size());
    let record = bytes.get(..size).ok_or(Fault::Damaged("the record is longer than its segment"))?;
    let (body, mark) = record.split_at(size - MARK_LENGTH);
    if mark != MARK {
        return Err(if cut_short(mark) {
            Fault::Torn("the record has no end")
        } else {
            Fault::Damaged("the end mark of the record is wrong")
        });
    }
    let directory_end = HEADER + narrow(u64::from(header.directory));
    let fault = |from: usize, to: usize, what: &'static str, torn: &'static str| {
        if has_zero_sector(record, offset, from, to) { Fault::Torn(torn) } else { Fault::Damaged(what) }
    };
    let directory = body.get(HEADER..directory_end).unwrap_or_default();
    if Sum::of(directory) != header.directory_sum {
        let (what, torn) =
            ("the directory of the record fails its sum", "a part of the directory was not written");
        return Err(fault(HEADER, directory_end, what, torn));
    }
    let data_offset = offset.saturating_add(wide(directory_end));
    let directory = Directory::read(directory, data_offset, header.data)
        .ok_or(Fault::Damaged("the directory of the record is malformed"))?;
    let mut at = directory_end;
    for part in directory.parts() {
        let end = at + narrow(u64::from(part.length));
        if check_data && body.get(at..end).map(Sum::of) != Some(part.sum) {
            let (what, torn) = ("the data of the record fails its sum", "a part of the data was not written");
            return Err(fault(at, end, what, torn));
        }
        at = end;
    }
    if body.get(at..).is_none_or(|padding| padding.iter().any(|byte| *byte != 0)) {
        return Err(Fault::Damaged("the padding of the record is not zero"));
    }
    Ok(Record { offset, header, directory })
}

fn header_fault(head: &[u8], offset: u64) -> Fault {
    let mark = head.split_at(HEADER - MARK_LENGTH).1;
    if is_zero(head) {
        Fault::Empty
    } else if cut_short(mark) || has_zero_sector(head, offset, 0, HEADER) {
        Fault::Torn("the record header was not written whole")
    } else {
        Fault::Damaged("the record header fails its sum")
    }
}

/// Whether a mark is a beginning of the mark followed by zeros.
fn cut_short(mark: &[u8]) -> bool {
    mark != MARK && (0..MARK_LENGTH).any(|kept| mark.starts_with(&MARK[..kept]) && is_zero(&mark[kept..]))
}

/// Whether some sector that overlaps `from..to` of `bytes` holds nothing but zeros as far as `bytes` reach.
/// `offset` is where `bytes` start in the segment.
fn has_zero_sector(bytes: &[u8], offset: u64, from: usize, to: usize) -> bool {
    let mut at = from;
    while at < to {
        let into = (offset.saturating_add(wide(at))) % SECTOR;
        let start = at.saturating_sub(narrow(into));
        let end = at.saturating_add(narrow(SECTOR - into));
        if bytes.get(start..end.min(bytes.len())).is_some_and(is_zero) {
            return true;
        }
        at = end;
    }
    false
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Offset, counted from the start of `bytes`, of the first valid record header at or after `from`.
/// `bytes` is a whole segment.
pub(crate) fn find_header(bytes: &[u8], salt: &Salt, from: usize) -> Option<usize> {
    (from.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN).find(|at| {
        bytes
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(&MAGIC) && Header::read(rest, salt, wide(*at)).is_some())
    })
}
