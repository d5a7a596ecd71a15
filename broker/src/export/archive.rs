//! ZIP files written so that the writing can be interrupted: members lie end to end, and what is known of those that
//! are whole is enough to go on after them.
//!
//! The `zip` crate keeps that knowledge to itself, so it can go on in a finished archive only. The tests open what is
//! written here with it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use seinhuis_shared::ids::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

mod records;

use super::state::text;
use records::{central, ends, local};

/// How hard to pack. What is packed is half made of hashes: more effort gains one part in six and halves the speed.
const EFFORT: Compression = Compression::new(1);
/// What kind of archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A bundle: sizes of 64 bits everywhere, whether needed or not, and sums of members.
    Bundle,
    /// A workbook: sizes of 32 bits, as spreadsheet programs read others with complaints.
    Workbook,
}

/// Whether a member is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// As it is.
    Stored,
    /// Deflated.
    Deflated,
}

/// What is known of a member that is whole, or of the part of one that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) name: String,
    stored: bool,
    crc: u32,
    start: u64,
    packed: u64,
    size: u64,
    /// SHA-256 of its bytes.
    #[serde(with = "text")]
    pub(super) sum: Digest,
    /// SHA-256 of its bytes as packed.
    #[serde(with = "text")]
    packed_sum: Digest,
}

/// An archive under way.
#[derive(Debug)]
pub(super) struct Archive<W> {
    to: W,
    at: u64,
    form: Form,
    members: Vec<Member>,
}

impl<W: Write + Seek> Archive<W> {
    /// An empty one.
    pub(super) const fn new(to: W, form: Form) -> Self {
        Self { to, at: 0, form, members: Vec::new() }
    }

    /// One that goes on after these members, which `to` holds and stands behind.
    pub(super) fn resume(to: W, members: Vec<Member>) -> Self {
        Self { to, at: end_of(&members), form: Form::Bundle, members }
    }

    /// Bytes written.
    pub(super) const fn len(&self) -> u64 {
        self.at
    }

    /// The members that are whole.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// What it is written to.
    pub(super) const fn get_mut(&mut self) -> &mut W {
        &mut self.to
    }

    /// Begins a member.
    pub(super) fn begin(&mut self, name: &str, method: Method) -> io::Result<Open<'_, W>> {
        let member = Member::new(name, method, self.at);
        // Its sizes follow when they are known.
        self.to.write_all(&local(&member, self.form)?)?;
        Ok(self.open(member))
    }

    fn open(&mut self, member: Member) -> Open<'_, W> {
        let sums = self.form == Form::Bundle;
        // What is stored has one sum.
        let packed = Packed { to: &mut self.to, count: 0, sum: (sums && !member.stored).then(Sha256::new) };
        let packer = (!member.stored).then(Packer::new);
        let (at, members, form) = (&mut self.at, &mut self.members, self.form);
        Open {
            at,
            members,
            form,
            member,
            packed,
            packer,
            crc: Crc::new(),
            sum: sums.then(Sha256::new),
            size: 0,
        }
    }

    /// Goes on in a deflated member after the part of it that is there: `to` stands behind it, `from` reads its packed
    /// bytes, which are those it had.
    pub(super) fn reopen(&mut self, part: &Member, from: impl Read) -> io::Result<Open<'_, W>> {
        let mut open = self.open(Member::new(&part.name, Method::Deflated, part.start));
        let mut summed = Summed { from: from.take(part.packed), sum: Sha256::new() };
        let mut inflated = DeflateDecoder::new(&mut summed).take(part.size);
        let mut piece = vec![0; 64 << 10];
        loop {
            match inflated.read(&mut piece)? {
                0 => break,
                count => open.note(piece.get(..count).unwrap_or_default()),
            }
        }
        io::copy(&mut summed, &mut io::sink())?;
        open.packed.count = part.packed;
        open.packed.sum = Some(summed.sum);
        if open.so_far() == *part { Ok(open) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Writes a member whole.
    pub(super) fn member(&mut self, name: &str, method: Method, bytes: &[u8]) -> io::Result<()> {
        let mut open = self.begin(name, method)?;
        open.write_all(bytes)?;
        open.end()
    }

    /// Writes the directory; gives back what was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let mut directory = Vec::new();
        for member in &self.members {
            directory.extend(central(member, self.form)?);
        }
        let (start, size, count) = (self.at, length(&directory), length(&self.members));
        self.to.write_all(&directory)?;
        self.to.write_all(&ends(start, size, count, self.form)?)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl Member {
    /// One of which nothing is written yet.
    fn new(name: &str, method: Method, start: u64) -> Self {
        Self {
            name: name.to_owned(),
            stored: method == Method::Stored,
            crc: 0,
            start,
            packed: 0,
            size: 0,
            sum: Digest([0; 32]),
            packed_sum: Digest([0; 32]),
        }
    }

    /// Where its packed bytes begin in a bundle.
    pub(super) fn inside(&self) -> u64 {
        self.start.saturating_add(30 + 20 + length(self.name.as_bytes()))
    }

    /// Where they end.
    pub(super) fn end(&self) -> u64 {
        self.inside().saturating_add(self.packed)
    }

    /// The header that stands in front of it while it is written.
    fn unfinished(&self) -> io::Result<Vec<u8>> {
        let method = if self.stored { Method::Stored } else { Method::Deflated };
        local(&Self::new(&self.name, method, self.start), Form::Bundle)
    }
}

/// A member under way.
#[derive(Debug)]
pub(super) struct Open<'a, W: Write + Seek> {
    at: &'a mut u64,
    members: &'a mut Vec<Member>,
    form: Form,
    member: Member,
    packed: Packed<'a, W>,
    /// Nothing for a member that is stored.
    packer: Option<Packer>,
    crc: Crc,
    sum: Option<Sha256>,
    size: u64,
}

/// Deflates.
#[derive(Debug)]
struct Packer {
    deflate: Compress,
    /// What waits to be packed: an entry at a time would cost more in calls than in packing.
    waiting: Vec<u8>,
    room: Vec<u8>,
}

impl Packer {
    const ROOM: usize = 64 << 10;

    fn new() -> Self {
        let deflate = Compress::new(EFFORT, false);
        Self { deflate, waiting: Vec::with_capacity(Self::ROOM), room: vec![0; Self::ROOM] }
    }

    fn write(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        if self.waiting.len() + bytes.len() > Self::ROOM {
            self.pack(FlushCompress::None, to)?;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Packs what waits; with [`FlushCompress::Sync`] up to a byte's end, with [`FlushCompress::Finish`] to the last.
    fn pack(&mut self, how: FlushCompress, to: &mut impl Write) -> io::Result<()> {
        let waiting = core::mem::take(&mut self.waiting);
        let mut bytes = waiting.as_slice();
        loop {
            let before = (self.deflate.total_in(), self.deflate.total_out());
            let status = self.deflate.compress(bytes, &mut self.room, how)?;
            let past = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            bytes = bytes.get(past(self.deflate.total_in(), before.0)..).unwrap_or_default();
            let given = past(self.deflate.total_out(), before.1);
            to.write_all(self.room.get(..given).unwrap_or_default())?;
            let done = if matches!(how, FlushCompress::Finish) {
                status == Status::StreamEnd
            } else {
                bytes.is_empty() && given < self.room.len()
            };
            if done {
                self.waiting = waiting;
                self.waiting.clear();
                return Ok(());
            }
        }
    }
}

/// Reads, and sums what is read.
struct Summed<R> {
    from: R,
    sum: Sha256,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(bytes)?;
        self.sum.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// What goes into the file, counted and summed.
#[derive(Debug)]
struct Packed<'a, W> {
    to: &'a mut W,
    count: u64,
    sum: Option<Sha256>,
}

impl<W: Write> Write for Packed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        let written = bytes.get(..count).unwrap_or_default();
        self.count += length(written);
        if let Some(sum) = &mut self.sum {
            sum.update(written);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write + Seek> Write for Open<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.packer {
            Some(packer) => packer.write(bytes, &mut self.packed)?,
            None => self.packed.write_all(bytes)?,
        }
        self.note(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Seek> Open<'_, W> {
    /// Bytes written into the member.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Takes note of bytes of the member.
    fn note(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.size += length(bytes);
        if let Some(sum) = &mut self.sum {
            sum.update(bytes);
        }
    }

    /// The member as far as it is packed.
    fn so_far(&self) -> Member {
        let digest =
            |sum: &Option<Sha256>| Digest(sum.as_ref().map_or([0; 32], |sum| sum.clone().finalize().into()));
        Member {
            crc: self.crc.sum(),
            size: self.size,
            packed: self.packed.count,
            sum: digest(&self.sum),
            packed_sum: digest(if self.member.stored { &self.sum } else { &self.packed.sum }),
            ..self.member.clone()
        }
    }

    /// Cuts a deflated member: what follows refers to nothing before, so that who goes on here writes the same bytes
    /// as who never stopped. What is in it up to here.
    pub(super) fn cut(&mut self) -> io::Result<Member> {
        if let Some(packer) = &mut self.packer {
            packer.pack(FlushCompress::Sync, &mut self.packed)?;
            *packer = Packer::new();
        }
        Ok(self.so_far())
    }

    /// What it is written to.
    pub(super) const fn get_mut(&mut self) -> &mut W {
        self.packed.to
    }

    /// Ends the member and writes its sizes in front of it.
    pub(super) fn end(mut self) -> io::Result<()> {
        if let Some(packer) = &mut self.packer {
            packer.pack(FlushCompress::Finish, &mut self.packed)?;
        }
        let member = self.so_far();
        let header = local(&member, self.form)?;
        let packed = self.packed;
        packed.to.seek(SeekFrom::Start(member.start))?;
        packed.to.write_all(&header)?;
        *self.at = member.start + length(&header) + member.packed;
        packed.to.seek(SeekFrom::Start(*self.at))?;
        self.members.push(member);
        Ok(())
    }
}

/// Where these members end.
pub(super) fn end_of(members: &[Member]) -> u64 {
    members.last().map_or(0, Member::end)
}

/// Whether a file begins with these members as they were written, and then a part of another.
pub(super) fn begins_with(
    mut file: impl Read,
    members: &[Member],
    part: Option<&Member>,
) -> io::Result<bool> {
    let mut at = 0;
    let whole = members.iter().map(|member| (member, local(member, Form::Bundle)));
    for (member, header) in whole.chain(part.map(|part| (part, part.unfinished()))) {
        let header = header?;
        let mut own = vec![0; header.len()];
        if file.read_exact(&mut own).is_err() || own != header || member.start != at {
            return Ok(false);
        }
        if sum_of(file.by_ref().take(member.packed))? != (member.packed, member.packed_sum) {
            return Ok(false);
        }
        at = at + length(&header) + member.packed;
    }
    Ok(true)
}

/// How many bytes there are to read, and their SHA-256.
pub(super) fn sum_of(mut from: impl Read) -> io::Result<(u64, Digest)> {
    let (mut count, mut sum) = (0, Sha256::new());
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok((count, Digest(sum.finalize().into())));
        }
        let bytes = piece.get(..read).unwrap_or_default();
        count += length(bytes);
        sum.update(bytes);
    }
}

fn length<T>(of: &[T]) -> u64 {
    u64::try_from(of.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    fn opened(bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let members = (0..zip.len()).map(|index| {
            let mut member = zip.by_index(index).unwrap();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            (member.name().unwrap().into_owned(), bytes)
        });
        members.collect()
    }

    fn filled(form: Form) -> Archive<Cursor<Vec<u8>>> {
        let mut archive = Archive::new(Cursor::new(Vec::new()), form);
        archive.member("a.txt", Method::Stored, b"abc").unwrap();
        archive.member("b/b.txt", Method::Deflated, &[b'b'; 5000]).unwrap();
        archive.member("empty", Method::Deflated, b"").unwrap();
        archive
    }

    #[test]
    fn another_library_reads_both_forms() {
        for form in [Form::Bundle, Form::Workbook] {
            let members = opened(filled(form).finish().unwrap().into_inner());
            let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["a.txt", "b/b.txt", "empty"]);
            assert_eq!((members[0].1.as_slice(), members[1].1.len()), (&b"abc"[..], 5000));
        }
    }

    #[test]
    fn going_on_after_what_is_whole_gives_the_same_bytes() {
        let whole = filled(Form::Bundle).finish().unwrap().into_inner();
        let half = filled(Form::Bundle);
        let known = half.members()[..2].to_vec();
        let mut bytes = half.to.into_inner();
        assert!(begins_with(bytes.as_slice(), &known, None).unwrap());
        bytes.truncate(usize::try_from(end_of(&known)).unwrap());
        let mut to = Cursor::new(bytes);
        to.seek(SeekFrom::End(0)).unwrap();
        let mut again = Archive::resume(to, known.clone());
        again.member("empty", Method::Deflated, b"").unwrap();
        assert_eq!(again.finish().unwrap().into_inner(), whole);
        for at in 0..end_of(&known) {
            let mut changed = whole.clone();
            changed[usize::try_from(at).unwrap()] ^= 1;
            assert!(!begins_with(changed.as_slice(), &known, None).unwrap(), "changed at {at}");
        }
        assert!(!begins_with(&whole[..20], &known, None).unwrap());
    }

    /// A member of three pieces, cut after each.
    fn pieces(from: usize, open: &mut Open<'_, Cursor<Vec<u8>>>) -> Vec<Member> {
        let mut cuts = Vec::new();
        for piece in from..3 {
            for line in 0..9_000 {
                writeln!(open, "piece {piece}, line {line}: {}", line * line).unwrap();
            }
            cuts.push(open.cut().unwrap());
        }
        open.write_all(b"the end").unwrap();
        cuts
    }

    #[test]
    fn going_on_after_a_cut_gives_the_same_bytes() {
        let mut archive = Archive::new(Cursor::new(Vec::new()), Form::Bundle);
        archive.member("a.txt", Method::Stored, b"abc").unwrap();
        let mut open = archive.begin("long", Method::Deflated).unwrap();
        let cuts = pieces(0, &mut open);
        open.end().unwrap();
        archive.member("after", Method::Deflated, b"more").unwrap();
        let whole = archive.finish().unwrap().into_inner();
        let members = opened(whole.clone());
        assert!(members[1].1.starts_with(b"piece 0, line 0: 0\n") && members[1].1.ends_with(b"the end"));
        assert_eq!(members[2].1, b"more");
        for (at, part) in cuts.iter().enumerate() {
            let mut archive = Archive::new(Cursor::new(Vec::new()), Form::Bundle);
            archive.member("a.txt", Method::Stored, b"abc").unwrap();
            let mut open = archive.begin("long", Method::Deflated).unwrap();
            pieces(0, &mut open);
            let known = archive.members.clone();
            let mut bytes = archive.to.into_inner();
            let (from, to) = (part.inside(), part.end());
            let place = |at: u64| usize::try_from(at).unwrap();
            assert!(begins_with(bytes.as_slice(), &known, Some(part)).unwrap());
            bytes.truncate(place(to));
            for changed in [place(from) - 1, place(from), place(to) - 1] {
                let mut bytes = bytes.clone();
                bytes[changed] ^= 1;
                assert!(!begins_with(bytes.as_slice(), &known, Some(part)).unwrap(), "{changed}");
            }
            let packed = bytes[place(from)..].to_vec();
            let mut to = Cursor::new(bytes);
            to.seek(SeekFrom::End(0)).unwrap();
            let mut again = Archive::resume(to, known);
            assert!(again.reopen(part, &packed[1..]).is_err(), "other bytes");
            let mut open = again.reopen(part, packed.as_slice()).unwrap();
            pieces(at + 1, &mut open);
            open.end().unwrap();
            again.member("after", Method::Deflated, b"more").unwrap();
            assert!(again.finish().unwrap().into_inner() == whole, "after cut {at}");
        }
    }

    #[test]
    fn a_workbook_has_no_sizes_of_64_bits() {
        let bytes = filled(Form::Workbook).finish().unwrap().into_inner();
        assert!(!bytes.windows(4).any(|four| four == b"PK\x06\x06"));
    }
}
