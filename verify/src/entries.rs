//! The entries: read, compared with what was asked, and held against their leaves, in one pass.

use std::io::{Read, Seek};

use sha2::{Digest, Sha256};

use crate::archive::{Archive, Hash, Member, covenant};
use crate::entry::Entry;
use crate::json::Value;
use crate::lines::{Line, Lines};
use crate::manifest::Manifest;
use crate::note::Checkpoint;
use crate::period::Asked;
use crate::runs::Places;
use crate::{Code, Failure, Stop, tree};

pub(crate) const ENTRIES: &str = "entries.jsonl";
const MOST: usize = 65_535;

/// The covenants of a bundle, by hash, and whether an entry named them.
type Named = Vec<(String, bool)>;

/// What was found about the entries.
pub(crate) struct Found {
    /// SHA-256 of the member.
    pub(crate) sum: Hash,
    /// SHA-256 of the member with their leaves.
    pub(crate) leaves: Hash,
    /// The first line that is not the entry the log has at its place, if that is shown.
    pub(crate) line: Option<Failure>,
    /// The first other check that does not hold, if any.
    pub(crate) failure: Option<Failure>,
}

/// Reads all entries of a bundle. Without a manifest they are held against their leaves only.
///
/// # Errors
/// When the archive does not unpack. What is wrong with the entries is in what is found, as the checks that come
/// before these may not be done yet.
pub(crate) fn read<R: Read + Seek>(
    archive: &Archive<R>,
    manifest: Option<&Manifest>,
    places: Places,
    checkpoint: &Checkpoint,
) -> Result<Found, Stop> {
    let mut entries = Entries {
        lines: Lines::new(archive.reader_of(ENTRIES)?, MOST),
        over: false,
        broken: false,
        number: 0,
        time: 0,
        order: None,
        entry: None,
        asked: manifest.map(|manifest| Asked::new(manifest, places)),
        named: archive.members.iter().filter_map(of_covenant).collect(),
    };
    let tree::Found { proof, line, sum: leaves } = tree::walk(archive, checkpoint, &mut entries)?;
    let (count, sum) = entries.lines.finish()?;
    let count = manifest.filter(|manifest| count != manifest.count).map(|manifest| {
        let text = format!("has {count} lines, the manifest counts {}", manifest.count);
        Failure::new(Code::BadRuns, ENTRIES, text)
    });
    let covenant = entries.named.iter().find(|(_, named)| !named).map(|(hash, _)| {
        Failure::new(Code::BadCovenant, &format!("covenants/{hash}.cbor"), "is a covenant no entry names")
    });
    let asked = entries.asked.and_then(Asked::finish);
    // Only what leads to the root says which line the log has.
    let line = line.filter(|_| proof.is_none());
    let failure = count.or(entries.entry).or(entries.order).or(asked).or(proof).or(covenant);
    Ok(Found { sum, leaves, line, failure })
}

fn of_covenant(member: &Member) -> Option<(String, bool)> {
    Some((covenant(&member.name)?.to_owned(), false))
}

/// The lines, judged as they pass by.
pub(crate) struct Entries<'a, 'm, R> {
    lines: Lines<'a, R>,
    /// Whether no whole line follows.
    over: bool,
    /// Whether the last line is none: without a newline, or too long.
    broken: bool,
    number: u64,
    time: u64,
    order: Option<Failure>,
    entry: Option<Failure>,
    asked: Option<Asked<'m>>,
    named: Named,
}

impl<R: Read + Seek> Entries<'_, '_, R> {
    /// The hash of the next line, whatever it holds; nothing after the last whole one.
    pub(crate) fn next(&mut self) -> Result<Option<Hash>, Stop> {
        if self.over {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        let bad = |text: &str| Failure::at(Code::BadEntry, ENTRIES, number, text);
        let broken = match self.lines.line()? {
            Line::Whole(line) => {
                let hash = Sha256::new().chain_update([0]).chain_update(line).finalize().into();
                if self.entry.is_none() {
                    match Entry::parse(line) {
                        Ok(entry) => {
                            follow(number, &entry, &mut self.time, &mut self.order);
                            self.asked.iter_mut().for_each(|asked| asked.entry(number, &entry));
                            name(&entry, &mut self.named);
                        }
                        Err(problem) => self.entry = Some(bad(&problem)),
                    }
                }
                return Ok(Some(hash));
            }
            Line::End => None,
            Line::Unended => Some(bad("has no newline at its end")),
            Line::Long => Some(bad("is longer than an entry may be")),
        };
        self.over = true;
        self.broken = broken.is_some();
        self.entry = self.entry.take().or(broken);
        Ok(None)
    }

    /// Whether something follows the last whole line.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }
}

/// Notes the first line whose time is before that of the one before it.
fn follow(number: u64, entry: &Entry<'_>, time: &mut u64, order: &mut Option<Failure>) {
    if entry.time < *time {
        let text = "is of an earlier time than the line before";
        order.get_or_insert_with(|| Failure::at(Code::BadOrder, ENTRIES, number, text));
    }
    *time = entry.time;
}

/// Notes that an entry names a covenant.
fn name(entry: &Entry<'_>, named: &mut Named) {
    if let Some(hash) = entry.covenant.as_ref().and_then(Value::text)
        && let Ok(place) = named.binary_search_by(|(known, _)| known.as_str().cmp(hash))
        && let Some((_, named)) = named.get_mut(place)
    {
        *named = true;
    }
}
