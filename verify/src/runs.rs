//! Where the entries stand in the log.

use std::io::{Read, Seek};

use crate::archive::Archive;
use crate::json::decimal;
use crate::lines::{Line, Lines};
use crate::{Code, Failure, Stop};

pub(crate) const RUNS: &str = "runs.txt";
/// Two numbers of up to twenty digits and a space.
const LINE: usize = 41;

/// Neighbours in the log: `count` entries from the index `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// The runs one by one, each checked against the one before it.
pub(crate) struct Runs<'a, R> {
    lines: Lines<'a, R>,
    size: u64,
    number: u64,
    end: Option<u64>,
}

impl<'a, R: Read + Seek> Runs<'a, R> {
    /// The runs of a bundle, in a tree of `size` entries.
    pub(crate) fn open(archive: &'a Archive<R>, size: u64) -> Result<Self, Stop> {
        Ok(Self { lines: Lines::new(archive.reader_of(RUNS)?, LINE), size, number: 0, end: None })
    }

    /// The next run.
    pub(crate) fn next(&mut self) -> Result<Option<Run>, Stop> {
        self.number += 1;
        let bad = |text| Stop::from(Failure::at(Code::BadRuns, RUNS, self.number, text));
        let line = match self.lines.line()? {
            Line::Whole(line) => line,
            Line::End => return Ok(None),
            Line::Unended => return Err(bad("has no newline at its end")),
            Line::Long => return Err(bad("is too long")),
        };
        let mut parts = line.splitn(2, |b| *b == b' ');
        let (first, count) = (parts.next().and_then(decimal), parts.next().and_then(decimal));
        let (Some(first), Some(count)) = (first, count.filter(|count| *count > 0)) else {
            return Err(bad("is not two numbers, the second above 0"));
        };
        if self.end.is_some_and(|end| first <= end) {
            return Err(bad("does not stand apart from the run before it"));
        }
        let end = first.checked_add(count).filter(|end| *end <= self.size);
        self.end = Some(end.ok_or_else(|| bad("reaches past the end of the tree"))?);
        Ok(Some(Run { first, count }))
    }
}

/// What all runs together are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    /// How many runs.
    pub(crate) runs: u64,
    /// How many entries.
    pub(crate) count: u64,
    /// The first index, if any.
    pub(crate) first: Option<u64>,
    /// The index after the last.
    pub(crate) end: u64,
}

/// Checks all runs, in a tree of `size` entries.
pub(crate) fn places<R: Read + Seek>(archive: &Archive<R>, size: u64) -> Result<Places, Stop> {
    let mut runs = Runs::open(archive, size)?;
    let mut places = Places { runs: 0, count: 0, first: None, end: 0 };
    while let Some(run) = runs.next()? {
        places.runs += 1;
        places.first = places.first.or(Some(run.first));
        places.end = run.first + run.count;
        places.count += run.count;
    }
    Ok(places)
}
