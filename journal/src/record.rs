//! One turn as bytes.
//!
//! ```text
//! header     88   magic 4 · kind 1 · zero 3 · sequence 8 · oldest segment 8 · directory length 4 ·
//!                 data length 4 · sum of the previous record 16 · sum of the directory 16 ·
//!                 sum of this header 16 · mark 8
//! directory       counts (rows, blobs, drops) 3 × 4
//!                 rows: table 1 · key length 4 · value length 4 (all ones: delete) · key ·
//!                       value (up to 256 bytes), or sum of the value 16
//!                 blobs: id 32 · length 4 · sum 16
//!                 drops: id 32
//! data            the longer values and then the blobs, one after another
//! zero       0–7  up to a multiple of 8
//! mark       8
//! ```
//!
//! Integers are little-endian. A sum is SHA-256 cut to 16 bytes. The header sum is salted with the segment
//! number, with the sum that the segment opened with and with the offset, so bytes of an earlier life of a
//! recycled file, or bytes a partner put inside a blob, never pass for a record here. It covers the sum of
//! the directory, which covers the sums of what is in the data: each byte is hashed once, and a blob or a long
//! value can be verified without reading its record. Each header names the sum of the record before it, so the
//! sum of one record stands for the whole history up to it.
//!
//! # Torn or damaged
//!
//! A crash during a write leaves, in a file that held zeros, a mixture of written and unwritten places: a
//! disk writes whole sectors of 512 bytes, a file system may stop at any byte. Such a record was never
//! confirmed and is cut. A record that was confirmed and has changed since is damage and must never be cut.
//! Three rules tell them apart:
//!
//! 1. What follows proves what precedes. A record is written only after the one before it was flushed, so a
//!    bad record with a valid one behind it is damage. An orderly stop writes one empty record for this.
//! 2. A torn write leaves zeros: a mark that is cut short, or a whole sector of zeros in the part that fails
//!    its sum. A bad final record without such zeros was written whole and has changed: damage.
//! 3. The index notes a record only after its flush; a bad record it has noted is damage.
//!
//! What remains indistinguishable: the *last* record before a crash, not yet noted by the index, from which
//! the disk loses at least a whole sector (to zeros) that it had confirmed. One flipped bit is always found,
//! except inside the final record of a crashed process when the part it hits also holds a sector of zeros.

mod decode;

use sha2::{Digest, Sha256};

use crate::{BlobId, narrow, wide};

pub use decode::{Fault, Record, decode};
pub(crate) use decode::{find_header, is_zero};

/// Length of a record header.
pub const HEADER: usize = 88;
/// Length of the mark that ends a header and a record.
pub const MARK_LENGTH: usize = 8;
/// Records start at multiples of this.
pub const ALIGN: usize = 8;
/// A longer value of a row stands in the data of its record.
pub const INLINE_MAX: usize = 256;
/// The smallest record.
pub const SMALLEST: usize = HEADER + COUNTS + 4 + MARK_LENGTH;

const COUNTS: usize = 12;
const ROW: usize = 9;
const BLOB: usize = 52;
const SUM: usize = 16;
const SECTOR: u64 = 512;
const DELETED: u32 = u32::MAX;
const SUMMED: usize = 64;
const MAGIC: [u8; 4] = *b"SHJr";

/// Ends headers and records. Every byte has several bits set, so that no single flipped bit makes a whole mark
/// look cut short.
pub(crate) const MARK: [u8; MARK_LENGTH] = [0xa5, 0x5a, 0xc3, 0x3c, 0x96, 0x69, 0xb4, 0x4b];

/// Truncated SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(pub [u8; 16]);

impl Sum {
    /// The sum of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::cut(Sha256::digest(bytes).into())
    }

    pub(crate) fn cut(digest: [u8; 32]) -> Self {
        let mut sum = [0; 16];
        sum.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(sum)
    }
}

/// Ties header sums to one life of one segment file.
#[derive(Debug, Clone)]
pub struct Salt(Sha256);

impl Salt {
    /// The salt of a segment: its number, and the sum of the record before its first.
    pub fn new(segment: u64, opening: Sum) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"seinhuis/journal/record/1");
        hash.update(segment.to_le_bytes());
        hash.update(opening.0);
        Self(hash)
    }

    fn sum(&self, offset: u64, head: &[u8]) -> Sum {
        let mut hash = self.0.clone();
        hash.update(offset.to_le_bytes());
        hash.update(head);
        Sum::cut(hash.finalize().into())
    }
}

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A turn, possibly with state carried forward from the oldest segment.
    Turn,
    /// An orderly stop; empty.
    Close,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Turn => 1,
            Self::Close => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Turn, Self::Close].into_iter().find(|kind| kind.code() == code)
    }
}

/// A row change that borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// The table.
    pub table: u8,
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` deletes.
    pub value: Option<&'a [u8]>,
}

/// A piece of the data of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Offset of its first byte, from the start of the segment.
    pub offset: u64,
    /// Length in bytes.
    pub length: u32,
    /// Sum of its bytes.
    pub sum: Sum,
}

/// The value of a row as a record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// In the directory.
    Inline(&'a [u8]),
    /// In the data, because it is longer than [`INLINE_MAX`].
    Apart(Part),
}

/// A row change in the directory of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowEntry<'a> {
    /// The table.
    pub table: u8,
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` deletes.
    pub value: Option<Value<'a>>,
}

/// A blob in the directory of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its name.
    pub id: BlobId,
    /// Its bytes.
    pub part: Part,
}

/// A record header that passed its sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the record is for.
    pub kind: Kind,
    /// Number of the record; consecutive.
    pub sequence: u64,
    /// The oldest segment needed once this record is durable.
    pub oldest: u64,
    /// Length of the directory.
    pub directory: u32,
    /// Length of the data.
    pub data: u32,
    /// Sum of the record before this one.
    pub previous: Sum,
    /// Sum of the directory.
    pub directory_sum: Sum,
    /// Sum of this header, which identifies the record.
    pub sum: Sum,
}

impl Header {
    /// Reads a header at `offset` of the segment with this salt; `None` unless every byte is as written.
    pub fn read(bytes: &[u8], salt: &Salt, offset: u64) -> Option<Self> {
        let head = bytes.get(..HEADER)?;
        let (summed, rest) = head.split_at(SUMMED);
        let mut rest = Reader(rest);
        let sum = rest.sum()?;
        if rest.0 != MARK || summed.get(..4)? != MAGIC || salt.sum(offset, summed) != sum {
            return None;
        }
        let mut fields = Reader(summed.get(4..)?);
        let kind = Kind::from_code(fields.u8()?)?;
        if fields.take(3)? != [0; 3] {
            return None;
        }
        Some(Self {
            kind,
            sequence: fields.u64()?,
            oldest: fields.u64()?,
            directory: fields.u32()?,
            data: fields.u32()?,
            previous: fields.sum()?,
            directory_sum: fields.sum()?,
            sum,
        })
    }

    fn write(&self, salt: &Salt, offset: u64, out: &mut [u8]) -> Sum {
        let mut head = Vec::with_capacity(HEADER);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&[self.kind.code(), 0, 0, 0]);
        head.extend_from_slice(&self.sequence.to_le_bytes());
        head.extend_from_slice(&self.oldest.to_le_bytes());
        head.extend_from_slice(&self.directory.to_le_bytes());
        head.extend_from_slice(&self.data.to_le_bytes());
        head.extend_from_slice(&self.previous.0);
        head.extend_from_slice(&self.directory_sum.0);
        let sum = salt.sum(offset, &head);
        head.extend_from_slice(&sum.0);
        head.extend_from_slice(&MARK);
        out.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        sum
    }

    /// Length of the whole record.
    pub fn record_size(&self) -> u64 {
        size(narrow(u64::from(self.directory)), narrow(u64::from(self.data)))
    }
}

fn size(directory: usize, data: usize) -> u64 {
    wide(
        HEADER
            .saturating_add(directory)
            .saturating_add(data)
            .next_multiple_of(ALIGN)
            .saturating_add(MARK_LENGTH),
    )
}

/// What a record says, in the order in which it applies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory<'a> {
    /// Row changes, in order.
    pub rows: Vec<RowEntry<'a>>,
    /// Blobs put.
    pub blobs: Vec<BlobEntry>,
    /// Blobs dropped, after the puts.
    pub drops: Vec<BlobId>,
}

impl<'a> Directory<'a> {
    /// Reads a directory whose data starts at `data_offset` of the segment and has `data_length` bytes.
    /// `None` unless it is exactly one directory and accounts for all of the data.
    pub fn read(bytes: &'a [u8], data_offset: u64, data_length: u32) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (rows, blobs, drops) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let mut directory = Self::default();
        let mut offset = data_offset;
        for _ in 0..rows {
            directory.rows.push(reader.row(&mut offset)?);
        }
        for _ in 0..blobs {
            let (id, length) = (reader.id()?, reader.u32()?);
            directory.blobs.push(BlobEntry { id, part: reader.part(length, &mut offset)? });
        }
        for _ in 0..drops {
            directory.drops.push(reader.id()?);
        }
        (reader.0.is_empty() && offset.checked_sub(data_offset)? == u64::from(data_length))
            .then_some(directory)
    }

    /// Everything in the data, in its order.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let apart = self.rows.iter().filter_map(|row| match row.value {
            Some(Value::Apart(part)) => Some(part),
            Some(Value::Inline(_)) | None => None,
        });
        apart.chain(self.blobs.iter().map(|blob| blob.part))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn sum(&mut self) -> Option<Sum> {
        self.array().map(Sum)
    }

    fn id(&mut self) -> Option<BlobId> {
        self.array().map(BlobId)
    }

    /// The sum of the next `length` bytes of the data, which begin at `offset`.
    fn part(&mut self, length: u32, offset: &mut u64) -> Option<Part> {
        let part = Part { offset: *offset, length, sum: self.sum()? };
        *offset = offset.checked_add(u64::from(length))?;
        Some(part)
    }

    fn row(&mut self, offset: &mut u64) -> Option<RowEntry<'a>> {
        let (table, key_length, value_length) = (self.u8()?, self.u32()?, self.u32()?);
        let key = self.take(narrow(u64::from(key_length)))?;
        let length = narrow(u64::from(value_length));
        let value = if value_length == DELETED {
            None
        } else if stands_apart(length) {
            Some(Value::Apart(self.part(value_length, offset)?))
        } else {
            Some(Value::Inline(self.take(length)?))
        };
        Some(RowEntry { table, key, value })
    }
}

/// What is to be written as one record.
#[derive(Debug, Clone, Default)]
pub struct Body<'a> {
    /// Row changes, in order.
    pub rows: Vec<RowRef<'a>>,
    /// Blobs to put.
    pub blobs: Vec<(BlobId, &'a [u8])>,
    /// Blobs to drop.
    pub drops: &'a [BlobId],
}

impl Body<'_> {
    fn directory_length(&self) -> usize {
        let value = |row: &RowRef<'_>| row.value.map_or(0, |value| inline_length(value.len()));
        let rows = self.rows.iter().map(|row| ROW + row.key.len() + value(row));
        COUNTS + rows.sum::<usize>() + self.blobs.len() * BLOB + self.drops.len() * 32
    }

    /// What goes into the data, in its order.
    fn data(&self) -> impl Iterator<Item = &[u8]> {
        let apart = self.rows.iter().filter_map(|row| row.value).filter(|value| stands_apart(value.len()));
        apart.chain(self.blobs.iter().map(|(_, bytes)| *bytes))
    }

    fn data_length(&self) -> usize {
        self.data().map(<[u8]>::len).sum()
    }

    /// Length of the record this becomes.
    pub fn size(&self) -> u64 {
        size(self.directory_length(), self.data_length())
    }
}

/// Whether a value of this length stands in the data.
const fn stands_apart(value: usize) -> bool {
    value > INLINE_MAX
}

/// Bytes that a value of this length takes in the directory.
const fn inline_length(value: usize) -> usize {
    if stands_apart(value) { SUM } else { value }
}

/// Bytes that a live row takes in a record.
pub(crate) fn row_cost(key: usize, value: usize) -> u64 {
    let apart = if stands_apart(value) { value } else { 0 };
    wide(ROW + key + inline_length(value) + apart)
}

/// Bytes that a live blob takes in a record.
pub(crate) fn blob_cost(length: usize) -> u64 {
    wide(BLOB + length)
}

/// Where a record goes and what it continues.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// What the record is for.
    pub kind: Kind,
    /// Its number.
    pub sequence: u64,
    /// The oldest segment needed once it is durable.
    pub oldest: u64,
    /// Sum of the record before.
    pub previous: Sum,
    /// Offset in the segment.
    pub offset: u64,
}

/// A record as encoded.
#[derive(Debug)]
pub struct Encoded<'a> {
    /// Identifies the record.
    pub sum: Sum,
    /// What reading it back gives.
    pub directory: Directory<'a>,
}

fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(DELETED)
}

/// Encodes a record into `out`, whose contents are replaced. A length that does not fit 32 bits cannot occur
/// below the limits of [`crate::Options`]; it saturates, and the record then fails to decode.
pub fn encode<'a>(body: &Body<'a>, frame: Frame, salt: &Salt, out: &mut Vec<u8>) -> Encoded<'a> {
    let (length, data) = (body.directory_length(), body.data_length());
    out.clear();
    out.reserve(narrow(size(length, data)));
    out.resize(HEADER, 0);
    let directory = write_directory(body, frame.offset.saturating_add(wide(HEADER + length)), out);
    let directory_sum = Sum::of(out.get(HEADER..).unwrap_or_default());
    body.data().for_each(|bytes| out.extend_from_slice(bytes));
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    out.extend_from_slice(&MARK);
    let header = Header {
        kind: frame.kind,
        sequence: frame.sequence,
        oldest: frame.oldest,
        directory: short(length),
        data: short(data),
        previous: frame.previous,
        directory_sum,
        sum: Sum::default(),
    };
    let sum = header.write(salt, frame.offset, out);
    Encoded { sum, directory }
}

/// Appends the directory of a body whose data will begin at `offset`.
fn write_directory<'a>(body: &Body<'a>, mut offset: u64, out: &mut Vec<u8>) -> Directory<'a> {
    let mut part = |bytes: &[u8]| {
        let part = Part { offset, length: short(bytes.len()), sum: Sum::of(bytes) };
        offset = offset.saturating_add(wide(bytes.len()));
        part
    };
    let mut directory = Directory { drops: body.drops.to_vec(), ..Directory::default() };
    for count in [body.rows.len(), body.blobs.len(), body.drops.len()] {
        out.extend_from_slice(&short(count).to_le_bytes());
    }
    directory.rows.reserve(body.rows.len());
    for RowRef { table, key, value } in body.rows.iter().copied() {
        out.push(table);
        out.extend_from_slice(&short(key.len()).to_le_bytes());
        out.extend_from_slice(&value.map_or(DELETED, |value| short(value.len())).to_le_bytes());
        out.extend_from_slice(key);
        let value = value.map(|value| {
            if stands_apart(value.len()) {
                let part = part(value);
                out.extend_from_slice(&part.sum.0);
                Value::Apart(part)
            } else {
                out.extend_from_slice(value);
                Value::Inline(value)
            }
        });
        directory.rows.push(RowEntry { table, key, value });
    }
    directory.blobs.reserve(body.blobs.len());
    for (id, bytes) in &body.blobs {
        let blob = BlobEntry { id: *id, part: part(bytes) };
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&blob.part.length.to_le_bytes());
        out.extend_from_slice(&blob.part.sum.0);
        directory.blobs.push(blob);
    }
    body.drops.iter().for_each(|id| out.extend_from_slice(&id.0));
    directory
}
