//! A ZIP file of exactly the shape an export has: every byte of it is accounted for.
//!
//! A ZIP says most things twice, and readers differ in which of the two they believe. Here both have to say the same,
//! the members have to lie one after the other from the first byte to the directory, and the file ends with its end
//! record, so that what is checked is what any other program shows.

use core::cell::RefCell;
use core::iter::Peekable;
use std::io::{Read, Seek, SeekFrom};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use sha2::{Digest, Sha256};

use crate::{Code, Failure, Stop};

/// The members before the policies, which all have to be there.
const FIRST: [(&str, bool); 3] = [("README.txt", true), ("manifest.json", true), ("checkpoint.txt", true)];
/// The members between policies and covenants, in order, and whether each has to be there.
const MIDDLE: [(&str, bool); 10] = [
    ("begin.txt", false),
    ("consistency.txt", false),
    ("entries.jsonl", true),
    ("runs.txt", true),
    ("proof.txt", true),
    ("leaves.bin", true),
    ("entries.csv", false),
    ("entries-excel.csv", false),
    ("entries.xlsx", false),
    ("report.html", false),
];
/// As many as have to be there, with the sums and their note.
const FEWEST: u64 = 9;
pub(crate) const SUMS: &str = "SHA256SUMS";
pub(crate) const NOTE: &str = "SHA256SUMS.note";

const MEMBERS: u64 = 4096;
/// Each is held in memory.
const POLICIES: usize = 64;
const NAME: usize = 128;
const SMALL: u64 = 64 << 10;
const MEDIUM: u64 = 1 << 20;
/// More output than this per byte of input is no export: each entry has 16 random bytes and far fewer than 4096 others.
const RATIO: u64 = 256;
const PIECE: usize = 64 << 10;
const FULL: u32 = u32::MAX;

/// SHA-256 of something.
pub(crate) type Hash = [u8; 32];

/// One member, as both headers describe it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) size: u64,
    deflated: bool,
    crc: u32,
    packed: u64,
    /// Where its bytes begin.
    start: u64,
}

/// An archive whose structure holds.
pub(crate) struct Archive<R> {
    source: RefCell<R>,
    pub(crate) members: Vec<Member>,
}

fn bad(text: impl Into<String>) -> Stop {
    Failure::new(Code::BadArchive, "", text).into()
}

fn bad_member(name: &str, text: impl Into<String>) -> Stop {
    Failure::new(Code::BadArchive, name, text).into()
}

/// Little-endian fields out of a record; past its end there is nothing.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(|| bad("a record is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn u16(&mut self) -> Result<u16, Stop> {
        Ok(self.bytes(2)?.iter().rev().fold(0, |n, b| n << 8 | u16::from(*b)))
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        Ok(self.bytes(4)?.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        Ok(self.bytes(8)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }
}

/// Where the directory is.
struct Directory {
    count: u64,
    start: u64,
    size: u64,
}

/// What a header says of a member.
#[derive(PartialEq, Eq)]
struct Header {
    flags: u16,
    method: u16,
    stamp: u32,
    crc: u32,
    packed: u64,
    size: u64,
    name: Vec<u8>,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory and every member's own header, and checks everything that needs no unpacking.
    pub(crate) fn open(mut source: R) -> Result<Self, Stop> {
        let len = source.seek(SeekFrom::End(0))?;
        let directory = directory(&mut source, len)?;
        let bytes = read_at(&mut source, directory.start, directory.size)?;
        let mut fields = Fields(&bytes);
        let mut members = Vec::new();
        let mut next = 0;
        for _ in 0..directory.count {
            let (header, place) = central(&mut fields)?;
            let name = name(&header.name)?;
            if place != next {
                return Err(bad_member(&name, "does not begin where the one before it ends"));
            }
            let (own, start) = local(&mut source, place, directory.start)?;
            if own != header {
                return Err(bad_member(&name, "its own header and the directory say different things"));
            }
            let end = start.checked_add(header.packed).filter(|end| *end <= directory.start);
            next = end.ok_or_else(|| bad_member(&name, "reaches into the directory"))?;
            members.push(member(&header, name, start)?);
        }
        if !fields.0.is_empty() || next != directory.start {
            return Err(bad("there are bytes that belong to no member"));
        }
        names(&members)?;
        Ok(Self { source: RefCell::new(source), members })
    }

    /// Where a member stands, if it is there.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }

    /// Begins to unpack a member that has to be there.
    pub(crate) fn reader_of(&self, name: &str) -> Result<Reader<'_, R>, Stop> {
        self.reader(self.place(name).ok_or_else(|| bad_member(name, "is absent"))?)
    }

    /// Begins to unpack a member.
    pub(crate) fn reader(&self, member: usize) -> Result<Reader<'_, R>, Stop> {
        let member = self.members.get(member).ok_or_else(|| bad("a member is absent"))?;
        Ok(Reader {
            source: &self.source,
            member,
            at: member.start,
            packed_left: member.packed,
            left: member.size,
            inflate: member.deflated.then(|| Decompress::new(false)),
            piece: Vec::new(),
            used: 0,
            ended: false,
            crc: Crc::new(),
            sum: Sha256::new(),
        })
    }

    /// Unpacks a member whose size is bounded: its bytes and their SHA-256.
    pub(crate) fn whole(&self, member: usize) -> Result<(Vec<u8>, Hash), Stop> {
        let mut reader = self.reader(member)?;
        let mut bytes = Vec::new();
        let mut piece = vec![0; PIECE];
        loop {
            let count = reader.read(&mut piece)?;
            if count == 0 {
                return Ok((bytes, reader.sum()));
            }
            bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
    }
}

/// The end record, the last 22 bytes, and before it the pair of records for large archives if it is there.
fn directory<R: Read + Seek>(source: &mut R, len: u64) -> Result<Directory, Stop> {
    let end = len.checked_sub(22).ok_or_else(|| bad("too short to be a ZIP file"))?;
    let bytes = read_at(source, end, 22)?;
    let mut fields = Fields(&bytes);
    if fields.u32()? != 0x0605_4b50 || !bytes.ends_with(&[0, 0]) {
        return Err(bad("does not end with an end record without comment"));
    }
    let disks = [fields.u16()?, fields.u16()?];
    let counts = [fields.u16()?, fields.u16()?];
    let (size, start) = (fields.u32()?, fields.u32()?);
    let mut found = Directory { count: u64::from(counts[1]), start: u64::from(start), size: u64::from(size) };
    let mut stop = end;
    if let Some((large, place)) = large_directory(source, end)? {
        let agrees = |short: u64, full: u64, long: u64| short == full || short == long;
        if !agrees(found.count, u64::from(u16::MAX), large.count)
            || !agrees(found.start, u64::from(FULL), large.start)
            || !agrees(found.size, u64::from(FULL), large.size)
        {
            return Err(bad("its two end records say different things"));
        }
        found = large;
        stop = place;
    }
    if disks != [0, 0] || counts[0] != counts[1] {
        return Err(bad("is in several parts"));
    }
    if found.count > MEMBERS || found.count < FEWEST {
        return Err(bad(format!("has {} members: not from {FEWEST} to {MEMBERS}", found.count)));
    }
    if found.start.checked_add(found.size) != Some(stop) || found.size > MEMBERS * 256 {
        return Err(bad("its directory does not end where the end record begins"));
    }
    Ok(found)
}

/// The end record for large archives and where it begins, if its locator stands before the end record.
fn large_directory<R: Read + Seek>(source: &mut R, end: u64) -> Result<Option<(Directory, u64)>, Stop> {
    let Some(place) = end.checked_sub(76) else { return Ok(None) };
    let bytes = read_at(source, place, 76)?;
    let (record, locator) = bytes.split_at(56);
    let mut fields = Fields(locator);
    if fields.u32()? != 0x0706_4b50 {
        return Ok(None);
    }
    let located = (fields.u32()?, fields.u64()?, fields.u32()?);
    let mut fields = Fields(record);
    let head = (fields.u32()?, fields.u64()?);
    fields.u32()?;
    let disks = (fields.u32()?, fields.u32()?);
    let (here, count) = (fields.u64()?, fields.u64()?);
    let found = Directory { count, size: fields.u64()?, start: fields.u64()? };
    if located != (0, place, 1) || head != (0x0606_4b50, 44) || disks != (0, 0) || here != count {
        return Err(bad("its end record for large archives does not hold"));
    }
    Ok(Some((found, place)))
}

/// What the directory says of a member, and where it begins.
fn central(fields: &mut Fields<'_>) -> Result<(Header, u64), Stop> {
    if fields.u32()? != 0x0201_4b50 {
        return Err(bad("its directory does not hold"));
    }
    fields.u16()?;
    fields.u16()?;
    let (flags, method, stamp, crc) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
    let (packed, size) = (fields.u32()?, fields.u32()?);
    let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let disk = fields.u16()?;
    fields.u16()?;
    let (outside, place) = (fields.u32()?, fields.u32()?);
    let name = fields.bytes(usize::from(name))?.to_vec();
    let mut large = large_sizes(fields.bytes(usize::from(extra))?)?;
    let mut full = |short: u32| if short == FULL { large.u64() } else { Ok(u64::from(short)) };
    let (size, packed, place) = (full(size)?, full(packed)?, full(place)?);
    if !large.0.is_empty() || comment != 0 || disk != 0 {
        return Err(bad("a member has a comment or fields that do not belong"));
    }
    // A folder for DOS, or for Unix anything that is no ordinary file.
    if outside & 0x10 != 0 || !matches!(outside >> 28, 0 | 8) {
        return Err(bad("a member is not an ordinary file"));
    }
    Ok((Header { flags, method, stamp, crc, packed, size, name }, place))
}

/// What a member's own header says, and where its bytes begin.
fn local<R: Read + Seek>(source: &mut R, place: u64, stop: u64) -> Result<(Header, u64), Stop> {
    let room = |from: u64, count: u64| {
        from.checked_add(count).filter(|end| *end <= stop).ok_or_else(|| bad("a member is cut off"))
    };
    let after = room(place, 30)?;
    let bytes = read_at(source, place, 30)?;
    let mut fields = Fields(&bytes);
    if fields.u32()? != 0x0403_4b50 {
        return Err(bad("a member does not begin with a header"));
    }
    fields.u16()?;
    let (flags, method, stamp, crc) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
    let (packed, size) = (fields.u32()?, fields.u32()?);
    let (name, extra) = (u64::from(fields.u16()?), u64::from(fields.u16()?));
    let start = room(after, name + extra)?;
    let bytes = read_at(source, after, name + extra)?;
    let (name, extra) = bytes.split_at_checked(usize::try_from(name).unwrap_or(0)).unwrap_or_default();
    let mut large = large_sizes(extra)?;
    if (packed == FULL) != (size == FULL) {
        return Err(bad("a member's sizes do not hold"));
    }
    let mut full = |short: u32| if short == FULL { large.u64() } else { Ok(u64::from(short)) };
    let (size, packed) = (full(size)?, full(packed)?);
    if !large.0.is_empty() {
        return Err(bad("a member has fields that do not belong"));
    }
    Ok((Header { flags, method, stamp, crc, packed, size, name: name.to_vec() }, start))
}

/// The one extra field there may be: sizes of 64 bits.
fn large_sizes(extra: &[u8]) -> Result<Fields<'_>, Stop> {
    if extra.is_empty() {
        return Ok(Fields(extra));
    }
    let mut fields = Fields(extra);
    let head = (fields.u16()?, fields.u16()?);
    if head.0 != 1 || usize::from(head.1) != fields.0.len() {
        return Err(bad("a member has fields that do not belong"));
    }
    Ok(fields)
}

fn name(bytes: &[u8]) -> Result<String, Stop> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._-/".contains(b);
    match core::str::from_utf8(bytes) {
        Ok(name)
            if !name.is_empty()
                && name.len() <= NAME
                && bytes.iter().all(fits)
                && !name.starts_with('/')
                && !name.contains("..") =>
        {
            Ok(name.to_owned())
        }
        Ok(_) | Err(_) => Err(bad(format!(
            "has a member with a name that may not be: {:?}",
            bytes.escape_ascii().to_string()
        ))),
    }
}

fn member(header: &Header, name: String, start: u64) -> Result<Member, Stop> {
    // UTF-8 names and how hard the packer tried; not encryption (1), nor sizes that follow later (8).
    if header.flags & !0x0806 != 0 {
        return Err(bad_member(&name, "is encrypted, or has its sizes behind it"));
    }
    let deflated = match header.method {
        0 if header.packed == header.size => false,
        8 => true,
        _ => return Err(bad_member(&name, "is neither stored nor deflated")),
    };
    let most = match name.as_str() {
        "README.txt" | "manifest.json" | "checkpoint.txt" | "begin.txt" | "consistency.txt" | NOTE => SMALL,
        SUMS => MEDIUM,
        _ if name.starts_with("policies/") => SMALL,
        _ if name.starts_with("covenants/") => MEDIUM,
        _ => header.packed.saturating_mul(RATIO),
    };
    if header.size > most {
        return Err(bad_member(&name, format!("would unpack to {} bytes: too many", header.size)));
    }
    Ok(Member { name, size: header.size, deflated, crc: header.crc, packed: header.packed, start })
}

/// The hash in the name of a covenant's member.
pub(crate) fn covenant(name: &str) -> Option<&str> {
    hash_in(name, "covenants/", ".cbor")
}

/// The covenant's hash in the name of a policy's member.
pub(crate) fn policy(name: &str) -> Option<&str> {
    hash_in(name, "policies/", ".txt")
}

fn hash_in<'a>(name: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let hash = name.strip_prefix(before)?.strip_suffix(after)?;
    (hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        .then_some(hash)
}

fn misplaced(name: &str) -> Stop {
    bad_member(name, "is not a member an export has at that place")
}

/// The names, each once and in order.
fn names(members: &[Member]) -> Result<(), Stop> {
    let mut names = members.iter().map(|member| member.name.as_str()).peekable();
    one_each(&mut names, &FIRST)?;
    if rising(&mut names, policy)? > POLICIES {
        return Err(misplaced("policies"));
    }
    one_each(&mut names, &MIDDLE)?;
    rising(&mut names, covenant)?;
    one_each(&mut names, &[(SUMS, true), (NOTE, true)])?;
    if let Some(name) = names.next() {
        return Err(misplaced(name));
    }
    let has = |name: &str| members.iter().any(|member| member.name == name);
    if has("begin.txt") != has("consistency.txt") {
        return Err(misplaced("begin.txt"));
    }
    Ok(())
}

/// Takes these names in their order; those that have to be there are.
fn one_each<'n>(
    names: &mut Peekable<impl Iterator<Item = &'n str>>,
    wanted: &[(&str, bool)],
) -> Result<(), Stop> {
    for (name, must) in wanted {
        if names.next_if_eq(name).is_none() && *must {
            return Err(misplaced(names.peek().copied().unwrap_or(name)));
        }
    }
    Ok(())
}

/// Takes the names that have a hash in them, which rises; how many.
fn rising<'n>(
    names: &mut Peekable<impl Iterator<Item = &'n str>>,
    hash: fn(&str) -> Option<&str>,
) -> Result<usize, Stop> {
    let (mut before, mut count) = ("", 0);
    while let Some(name) = names.next_if(|name| hash(name).is_some()) {
        if name <= before {
            return Err(misplaced(name));
        }
        before = name;
        count += 1;
    }
    Ok(count)
}

fn read_at<R: Read + Seek>(source: &mut R, at: u64, count: u64) -> Result<Vec<u8>, Stop> {
    source.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    source.by_ref().take(count).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()) != Ok(count) {
        return Err(bad("is cut off"));
    }
    Ok(bytes)
}

/// Unpacks one member, and sums what it unpacks.
pub(crate) struct Reader<'a, R> {
    source: &'a RefCell<R>,
    member: &'a Member,
    at: u64,
    packed_left: u64,
    left: u64,
    inflate: Option<Decompress>,
    piece: Vec<u8>,
    used: usize,
    ended: bool,
    crc: Crc,
    sum: Sha256,
}

impl<R: Read + Seek> Reader<'_, R> {
    /// Unpacks the next bytes; 0 when the member ended as its header says.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<usize, Stop> {
        let mut count = 0;
        while count == 0 && !self.ended {
            count = if self.inflate.is_some() { self.inflated(out)? } else { self.stored(out)? };
        }
        let bytes = out.get(..count).unwrap_or_default();
        let after = u64::try_from(count).ok().and_then(|count| self.left.checked_sub(count));
        self.left = after.ok_or_else(|| bad_member(&self.member.name, "unpacks to more than it says"))?;
        self.crc.update(bytes);
        self.sum.update(bytes);
        if count == 0 && (self.left != 0 || self.crc.sum() != self.member.crc) {
            return Err(bad_member(&self.member.name, "does not unpack to the size and checksum it says"));
        }
        Ok(count)
    }

    /// SHA-256 of what was unpacked.
    pub(crate) fn sum(self) -> Hash {
        self.sum.finalize().into()
    }

    fn refill(&mut self) -> Result<(), Stop> {
        if self.used < self.piece.len() || self.packed_left == 0 {
            return Ok(());
        }
        let count = self.packed_left.min(PIECE as u64);
        let mut source = self.source.borrow_mut();
        self.piece = read_at(&mut *source, self.at, count)?;
        self.used = 0;
        self.at += count;
        self.packed_left -= count;
        Ok(())
    }

    fn stored(&mut self, out: &mut [u8]) -> Result<usize, Stop> {
        self.refill()?;
        let rest = self.piece.get(self.used..).unwrap_or_default();
        let count = rest.len().min(out.len());
        if let (Some(from), Some(to)) = (rest.get(..count), out.get_mut(..count)) {
            to.copy_from_slice(from);
        }
        self.used += count;
        self.ended = count == 0;
        Ok(count)
    }

    fn inflated(&mut self, out: &mut [u8]) -> Result<usize, Stop> {
        self.refill()?;
        let Some(inflate) = self.inflate.as_mut() else { return Ok(0) };
        let rest = self.piece.get(self.used..).unwrap_or_default();
        let before = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(rest, out, FlushDecompress::None);
        let garbage = || bad_member(&self.member.name, "does not unpack");
        let status = status.map_err(|_| garbage())?;
        let taken = usize::try_from(inflate.total_in() - before.0).unwrap_or(usize::MAX);
        let given = usize::try_from(inflate.total_out() - before.1).unwrap_or(usize::MAX);
        self.used = self.used.saturating_add(taken);
        match status {
            Status::StreamEnd if self.packed_left == 0 && self.used == self.piece.len() => self.ended = true,
            Status::StreamEnd => return Err(bad_member(&self.member.name, "has bytes after its end")),
            Status::Ok | Status::BufError if taken == 0 && given == 0 => return Err(garbage()),
            Status::Ok | Status::BufError => {}
        }
        Ok(given)
    }
}
