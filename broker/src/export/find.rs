//! Where the entries stand that belong to a question: found once, kept in a file, read again for every member.
//!
//! A selection can have as many runs as entries; in memory they would grow with the log.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::archive::sum_of;
use super::failed;
use super::progress::Progress;
use super::question::Question;
use super::state::text;
use crate::log::Log;
use crate::log::row::{Row, problem};

/// Neighbouring entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Index of the first.
    pub(super) first: u64,
    /// How many.
    pub(super) count: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    /// How many entries.
    pub(super) count: u64,
    /// The index of the first, if there is one.
    pub(super) first: Option<u64>,
    /// SHA-256 of the file of runs.
    #[serde(with = "text")]
    sum: Digest,
}

/// Finds the entries among the first `size` that belong to the question, and writes their runs to a file.
///
/// # Errors
/// A sentence when the log is damaged or the file cannot be written.
pub(super) fn find(
    log: &Log,
    question: &Question,
    size: u64,
    runs: &Path,
    progress: &mut Progress,
) -> Result<Found, Complaint> {
    let begin = question.from.map_or(Ok(log.purged()), |from| first_at(log, size, from))?;
    let end = question.until.map_or(Ok(size), |until| first_at(log, size, until))?.max(begin);
    let mut out = Runs::create(runs)?;
    if question.is_period() {
        // The neighbours on both sides show that nothing before or after belongs to it.
        let first = if question.from.is_some() { begin.saturating_sub(1) } else { 0 };
        if first < log.purged() {
            return Err(purged(log)?);
        }
        let last = if question.until.is_some() { end.saturating_add(1).min(size) } else { end };
        out.add(Run { first, count: last.saturating_sub(first) })?;
        return out.end();
    }
    let wanted = question.wanted();
    let mut reader = log.reader();
    progress.more(end - begin);
    for index in begin..end {
        let entry = reader.entry(index)?;
        let row = Row::read(entry).ok_or_else(|| log.damaged(&problem(entry)))?;
        if wanted.takes(&row) {
            out.add(Run { first: index, count: 1 })?;
        }
        progress.tick(1);
    }
    out.end()
}

/// A period reaches into what was removed after its term, or has no neighbour left that shows where it begins.
fn purged(log: &Log) -> Result<Complaint, Complaint> {
    let advice = match log.first_left()? {
        // With an entry before it, a period is complete.
        Some((_, at)) => {
            let at = at.plus(Span(1));
            Text::new(
                format!("Vraag de periode vanaf {at} (--from), of een selectie: die zoekt in wat er nog is."),
                format!(
                    "Ask for the period from {at} on (--from), or a selection: that searches what is left."
                ),
            )
        }
        None => Text::new(
            "Van dit log is niets meer over dan de hashes; kies met --log een later log.",
            "Nothing but the hashes is left of this log; choose a later one with --log.",
        ),
    };
    Ok(Complaint::from_refusal(Refusal::EntriesPurged).advise(advice))
}

/// The first entry at or after an instant, of those whose texts are there; times never fall.
fn first_at(log: &Log, size: u64, at: Timestamp) -> Result<u64, Complaint> {
    let mut reader = log.reader();
    let (mut low, mut high) = (log.purged().min(size), size);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = Entry::parse(reader.entry(middle)?).map_err(|error| log.damaged(&error.to_string()))?;
        if entry.time < at {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The file while it is written: sixteen bytes a run.
struct Runs<'a> {
    path: &'a Path,
    out: BufWriter<File>,
    sum: Sha256,
    last: Option<Run>,
    count: u64,
    first: Option<u64>,
}

impl<'a> Runs<'a> {
    fn create(path: &'a Path) -> Result<Self, Complaint> {
        let file = File::create(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path, out: BufWriter::new(file), sum: Sha256::new(), last: None, count: 0, first: None })
    }

    fn add(&mut self, run: Run) -> Result<(), Complaint> {
        if run.count == 0 {
            return Ok(());
        }
        self.count += run.count;
        self.first = self.first.or(Some(run.first));
        match &mut self.last {
            Some(last) if last.first + last.count == run.first => last.count += run.count,
            last => {
                if let Some(whole) = last.replace(run) {
                    self.put(whole)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, run: Run) -> Result<(), Complaint> {
        let bytes = [run.first.to_le_bytes(), run.count.to_le_bytes()].concat();
        self.sum.update(&bytes);
        self.out.write_all(&bytes).map_err(|error| failed(self.path, &error))
    }

    fn end(mut self) -> Result<Found, Complaint> {
        if let Some(last) = self.last {
            self.put(last)?;
        }
        let flushed = self.out.flush().and_then(|()| self.out.get_ref().sync_data());
        flushed.map_err(|error| failed(self.path, &error))?;
        Ok(Found { count: self.count, first: self.first, sum: Digest(self.sum.finalize().into()) })
    }
}

/// The runs in a file, in order.
pub(super) fn runs(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Run>> + use<>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut next = move || -> io::Result<Option<Run>> {
        let mut bytes = [0; 16];
        match file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (first, count) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Ok(Some(Run { first: number(first), count: number(count) }))
    };
    Ok(std::iter::from_fn(move || next().transpose()))
}

/// The indexes in a file of runs, in order, without the first `skipped`.
pub(super) fn indexes(
    path: &Path,
    skipped: u64,
) -> io::Result<impl Iterator<Item = io::Result<u64>> + use<>> {
    let mut runs = runs(path)?;
    let (mut run, mut left) = (0..0, skipped);
    Ok(std::iter::from_fn(move || {
        loop {
            if let Some(index) = run.next() {
                return Some(Ok(index));
            }
            match runs.next()? {
                Ok(Run { first, count }) => {
                    let skipped = left.min(count);
                    left -= skipped;
                    run = first + skipped..first + count;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

/// Whether a file of runs is as it was written.
pub(super) fn is_whole(path: &Path, found: &Found) -> io::Result<bool> {
    Ok(sum_of(File::open(path)?)?.1 == found.sum)
}
