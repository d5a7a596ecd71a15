//! The records of a ZIP file, byte by byte (APPNOTE).

use std::io;

use super::{Form, Member};

/// 1 January 1980, the first day a ZIP knows: one time for all members, so that the same export is the same bytes.
const STAMP: u32 = 0x0021_0000;
/// An ordinary file that its owner may write and all may read.
const ATTRIBUTES: u32 = 0o100_644 << 16;
const FULL: u32 = u32::MAX;
/// Made on Unix, by version 4.5 of the format.
const MADE_BY: u16 = 0x032d;

/// Little-endian fields of a record.
struct Record(Vec<u8>);

impl Record {
    fn u16(mut self, values: &[u16]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    fn u32(mut self, values: &[u32]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    fn u64(mut self, values: &[u64]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }
}

fn short(value: u64) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| io::Error::other("more than 4 GiB in an archive of small sizes"))
}

fn name_length(member: &Member) -> io::Result<u16> {
    u16::try_from(member.name.len()).map_err(io::Error::other)
}

/// From the version needed up to the checksum, in both headers.
fn common(record: Record, member: &Member, form: Form) -> Record {
    let version = if form == Form::Bundle { 45 } else { 20 };
    let method = if member.stored { 0 } else { 8 };
    record.u16(&[version, 0, method]).u32(&[STAMP, member.crc])
}

/// The header in front of a member (APPNOTE 4.3.7, 4.5.3).
pub(super) fn local(member: &Member, form: Form) -> io::Result<Vec<u8>> {
    let record = common(Record(b"PK\x03\x04".to_vec()), member, form);
    let name = name_length(member)?;
    let mut record = match form {
        Form::Bundle => record.u32(&[FULL, FULL]).u16(&[name, 20]),
        Form::Workbook => record.u32(&[short(member.packed)?, short(member.size)?]).u16(&[name, 0]),
    };
    record.0.extend_from_slice(member.name.as_bytes());
    Ok(match form {
        Form::Bundle => record.u16(&[1, 16]).u64(&[member.size, member.packed]).0,
        Form::Workbook => record.0,
    })
}

/// The header in the directory (APPNOTE 4.3.12).
pub(super) fn central(member: &Member, form: Form) -> io::Result<Vec<u8>> {
    let record = common(Record(b"PK\x01\x02".to_vec()).u16(&[MADE_BY]), member, form);
    let name = name_length(member)?;
    let record = match form {
        Form::Bundle => record.u32(&[FULL, FULL]).u16(&[name, 28, 0, 0, 0]).u32(&[ATTRIBUTES, FULL]),
        Form::Workbook => record
            .u32(&[short(member.packed)?, short(member.size)?])
            .u16(&[name, 0, 0, 0, 0])
            .u32(&[ATTRIBUTES, short(member.start)?]),
    };
    let mut record = record;
    record.0.extend_from_slice(member.name.as_bytes());
    Ok(match form {
        Form::Bundle => record.u16(&[1, 24]).u64(&[member.size, member.packed, member.start]).0,
        Form::Workbook => record.0,
    })
}

/// The end records (APPNOTE 4.3.14 to 4.3.16).
pub(super) fn ends(start: u64, size: u64, count: u64, form: Form) -> io::Result<Vec<u8>> {
    let end = Record(b"PK\x05\x06".to_vec()).u16(&[0, 0]);
    Ok(match form {
        Form::Workbook => {
            let count = u16::try_from(count).map_err(io::Error::other)?;
            end.u16(&[count, count]).u32(&[short(size)?, short(start)?]).u16(&[0]).0
        }
        Form::Bundle => {
            let large = Record(b"PK\x06\x06".to_vec())
                .u64(&[44])
                .u16(&[MADE_BY, 45])
                .u32(&[0, 0])
                .u64(&[count, count, size, start]);
            let locator = Record(b"PK\x06\x07".to_vec()).u32(&[0]).u64(&[start + size]).u32(&[1]);
            let end = end.u16(&[u16::MAX, u16::MAX]).u32(&[FULL, FULL]).u16(&[0]);
            [large.0, locator.0, end.0].concat()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_32_bits_is_refused() {
        assert_eq!(short(u64::from(FULL)).unwrap(), FULL);
        assert!(short(u64::from(FULL) + 1).is_err());
    }
}
