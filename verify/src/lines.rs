//! A member, line by line, in bounded memory.

use std::io::{Read, Seek};

use crate::Stop;
use crate::archive::{Hash, Reader};

const ROOM: usize = 256 << 10;

/// What comes next in a member.
pub(crate) enum Line<'a> {
    /// A line, without its newline.
    Whole(&'a [u8]),
    /// The last bytes have no newline after them.
    Unended,
    /// More bytes than a line may have.
    Long,
    /// Nothing.
    End,
}

/// The lines of a member.
pub(crate) struct Lines<'a, R> {
    reader: Reader<'a, R>,
    most: usize,
    room: Vec<u8>,
    low: usize,
    high: usize,
    over: bool,
    newlines: u64,
    last: u8,
}

impl<'a, R: Read + Seek> Lines<'a, R> {
    /// Lines of at most `most` bytes, which has to be well below 256 KiB.
    pub(crate) fn new(reader: Reader<'a, R>, most: usize) -> Self {
        Self { reader, most, room: vec![0; ROOM], low: 0, high: 0, over: false, newlines: 0, last: b'\n' }
    }

    /// The next line. After anything but a whole line it gives no further ones.
    pub(crate) fn line(&mut self) -> Result<Line<'_>, Stop> {
        let mut searched = 0;
        loop {
            let rest = self.room.get(self.low..self.high).unwrap_or_default();
            let fresh = rest.get(searched..).unwrap_or_default();
            if let Some(found) = fresh.iter().position(|b| *b == b'\n') {
                let (from, to) = (self.low, self.low + searched + found);
                if to - from > self.most {
                    return Ok(Line::Long);
                }
                self.low = to + 1;
                return Ok(Line::Whole(self.room.get(from..to).unwrap_or_default()));
            }
            searched = rest.len();
            if searched > self.most {
                return Ok(Line::Long);
            }
            if self.over {
                return Ok(if searched == 0 { Line::End } else { Line::Unended });
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), Stop> {
        self.room.copy_within(self.low..self.high, 0);
        self.high -= self.low;
        self.low = 0;
        let free = self.room.get_mut(self.high..).unwrap_or_default();
        let count = self.reader.read(free)?;
        let bytes = free.get(..count).unwrap_or_default();
        // A sum of bits, not `filter().count()`, so that it is done many bytes at a time.
        self.newlines += bytes.iter().map(|b| u64::from(*b == b'\n')).sum::<u64>();
        self.last = bytes.last().copied().unwrap_or(self.last);
        self.high += count;
        self.over = count == 0;
        Ok(())
    }

    /// Unpacks what is left: how many lines there are in all, an unended one included, and the SHA-256 of the member.
    pub(crate) fn finish(mut self) -> Result<(u64, Hash), Stop> {
        while !self.over {
            self.low = self.high;
            self.fill()?;
        }
        Ok((self.newlines + u64::from(self.last != b'\n'), self.reader.sum()))
    }
}
