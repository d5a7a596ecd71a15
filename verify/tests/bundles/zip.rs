//! Writes ZIP files, good ones and, where a field is set by hand, bad ones.

use std::io::{Read as _, Write as _};

use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// A member and everything its headers say.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    /// The name in the member's own header.
    pub(crate) own_name: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    pub(crate) size: u64,
    /// The size in the member's own header.
    pub(crate) own_size: u64,
    pub(crate) crc: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) outside: u32,
    pub(crate) comment: Vec<u8>,
    pub(crate) extra: Vec<u8>,
    /// Bytes after the member's data.
    pub(crate) after: Vec<u8>,
    /// Sizes of 64 bits, in both headers.
    pub(crate) large: bool,
}

impl Member {
    pub(crate) fn stored(name: &str, bytes: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(bytes);
        Self {
            name: name.into(),
            own_name: name.into(),
            packed: bytes.to_vec(),
            size: bytes.len() as u64,
            own_size: bytes.len() as u64,
            crc: crc.sum(),
            method: 0,
            flags: 0x0800,
            outside: 0o100_644 << 16,
            comment: Vec::new(),
            extra: Vec::new(),
            after: Vec::new(),
            large: false,
        }
    }

    pub(crate) fn deflated(name: &str, bytes: &[u8]) -> Self {
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes).unwrap();
        Self { packed: packer.finish().unwrap(), method: 8, ..Self::stored(name, bytes) }
    }
}

/// The bytes of a good member.
pub(crate) fn unpacked(member: &Member) -> Vec<u8> {
    if member.method == 0 {
        return member.packed.clone();
    }
    let mut bytes = Vec::new();
    DeflateDecoder::new(member.packed.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The bytes around the members.
#[derive(Clone, Default)]
pub(crate) struct Around {
    pub(crate) before: Vec<u8>,
    pub(crate) between: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    pub(crate) after: Vec<u8>,
    /// Added to the count in the end record.
    pub(crate) more: u16,
    /// With the pair of end records for large archives.
    pub(crate) large: bool,
    /// Added to the count in the end record for large archives.
    pub(crate) large_more: u64,
}

fn u16(out: &mut Vec<u8>, values: &[usize]) {
    for value in values {
        out.extend(u16::try_from(*value).unwrap().to_le_bytes());
    }
}

fn u32(out: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        out.extend(u32::try_from(*value).unwrap().to_le_bytes());
    }
}

fn u64(out: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        out.extend(value.to_le_bytes());
    }
}

/// What both headers have in common, from the flags to the length of the extra field, and that field.
fn sizes(out: &mut Vec<u8>, member: &Member, name: &[u8], size: u64) -> Vec<u8> {
    let packed = member.packed.len() as u64;
    let mut extra = member.extra.clone();
    u16(out, &[usize::from(member.flags), usize::from(member.method), 0, 0x21]);
    u32(out, &[u64::from(member.crc)]);
    if member.large {
        u32(out, &[0xffff_ffff; 2]);
        u16(&mut extra, &[1, 16]);
        u64(&mut extra, &[size, packed]);
    } else {
        u32(out, &[packed, size]);
    }
    u16(out, &[name.len(), extra.len()]);
    extra
}

/// The file.
pub(crate) fn file(members: &[Member], around: &Around) -> Vec<u8> {
    let mut out = around.before.clone();
    let mut directory = Vec::new();
    for member in members {
        let place = out.len() as u64;
        out.extend(b"PK\x03\x04\x14\x00");
        let extra = sizes(&mut out, member, &member.own_name, member.own_size);
        out.extend(&member.own_name);
        out.extend(extra);
        out.extend(&member.packed);
        out.extend(&member.after);
        directory.extend(b"PK\x01\x02\x14\x03\x14\x00");
        let extra = sizes(&mut directory, member, &member.name, member.size);
        u16(&mut directory, &[member.comment.len(), 0, 0]);
        u32(&mut directory, &[u64::from(member.outside), place]);
        directory.extend(&member.name);
        directory.extend(extra);
        directory.extend(&member.comment);
    }
    out.extend(&around.between);
    let (start, size) = (out.len() as u64, directory.len() as u64);
    out.extend(directory);
    let count = members.len();
    if around.large {
        let place = out.len() as u64;
        let many = count as u64 + around.large_more;
        out.extend(b"PK\x06\x06");
        u64(&mut out, &[44]);
        u16(&mut out, &[45, 45]);
        u32(&mut out, &[0, 0]);
        u64(&mut out, &[many, many, size, start]);
        out.extend(b"PK\x06\x07");
        u32(&mut out, &[0]);
        u64(&mut out, &[place]);
        u32(&mut out, &[1]);
    }
    out.extend(b"PK\x05\x06");
    let count = count + usize::from(around.more);
    u16(&mut out, &[0, 0, count, count]);
    u32(&mut out, &[size, start]);
    u16(&mut out, &[around.comment.len()]);
    out.extend(&around.comment);
    out.extend(&around.after);
    out
}
