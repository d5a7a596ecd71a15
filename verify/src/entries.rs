//! The entries: read, compared with what was asked, and led to the root of the checkpoint, in one pass.

use std::io::{Read, Seek};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::archive::{Archive, Hash, Member, covenant};
use crate::entry::Entry;
use crate::json::Value;
use crate::lines::{Line, Lines};
use crate::manifest::Manifest;
use crate::period::Asked;
use crate::runs::{Places, Run, Runs};
use crate::{Code, Failure, Stop};

pub(crate) const ENTRIES: &str = "entries.jsonl";
const PROOF: &str = "proof.txt";
const MOST: usize = 65_535;

/// The covenants of a bundle, by hash, and whether an entry named them.
type Named = Vec<(String, bool)>;

/// What was found about the entries.
pub(crate) struct Found {
    /// SHA-256 of the member.
    pub(crate) sum: Hash,
    /// The first check that does not hold, if any.
    pub(crate) failure: Option<Failure>,
}

/// Reads all entries of a bundle.
///
/// # Errors
/// When the archive does not unpack. What is wrong with the entries is in what is found, as the checks that come
/// before these may not be done yet.
pub(crate) fn read<R: Read + Seek>(
    archive: &Archive<R>,
    manifest: &Manifest,
    places: Places,
    root: &Hash,
) -> Result<Found, Stop> {
    let mut leaves = Leaves {
        lines: Lines::new(archive.reader_of(ENTRIES)?, MOST),
        number: 0,
        time: 0,
        order: None,
        entry: None,
        asked: Asked::new(manifest, places),
        named: archive.members.iter().filter_map(of_covenant).collect(),
    };
    let mut runs = Runs::open(archive, manifest.size)?;
    let run = runs.next()?;
    let mut walk =
        Walk { run, runs, proof: Lines::new(archive.reader_of(PROOF)?, 64), used: 0, leaves: &mut leaves };
    let proof = match walk.prove(manifest.size, root) {
        Ok(()) => None,
        Err(Stop::Bad(failure)) if failure.code == Code::BadProof => Some(failure),
        Err(other) => return Err(other),
    };
    while leaves.next()?.is_some() {}
    let (count, sum) = leaves.lines.finish()?;
    let count = (count != manifest.count).then(|| {
        let text = format!("has {count} lines, the manifest counts {}", manifest.count);
        Failure::new(Code::BadRuns, ENTRIES, text)
    });
    let covenant = leaves.named.iter().find(|(_, named)| !named).map(|(hash, _)| {
        Failure::new(Code::BadCovenant, &format!("covenants/{hash}.cbor"), "is a covenant no entry names")
    });
    let asked = leaves.asked.finish();
    let failure = count.or(leaves.entry).or(leaves.order).or(asked).or(proof).or(covenant);
    Ok(Found { sum, failure })
}

fn of_covenant(member: &Member) -> Option<(String, bool)> {
    Some((covenant(&member.name)?.to_owned(), false))
}

/// The entries, as leaves.
struct Leaves<'a, 'm, R> {
    lines: Lines<'a, R>,
    number: u64,
    time: u64,
    order: Option<Failure>,
    entry: Option<Failure>,
    asked: Asked<'m>,
    named: Named,
}

impl<R: Read + Seek> Leaves<'_, '_, R> {
    /// The hash of the next entry; nothing after the last, and nothing after one that does not read.
    fn next(&mut self) -> Result<Option<Hash>, Stop> {
        if self.entry.is_some() {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        let bad = |text: &str| Some(Failure::at(Code::BadEntry, ENTRIES, number, text));
        let line = match self.lines.line()? {
            Line::Whole(line) => line,
            Line::End => return Ok(None),
            Line::Unended => {
                self.entry = bad("has no newline at its end");
                return Ok(None);
            }
            Line::Long => {
                self.entry = bad("is longer than an entry may be");
                return Ok(None);
            }
        };
        let entry = match Entry::parse(line) {
            Ok(entry) => entry,
            Err(problem) => {
                self.entry = bad(&problem);
                return Ok(None);
            }
        };
        if entry.time < self.time {
            let failure =
                || Failure::at(Code::BadOrder, ENTRIES, number, "is of an earlier time than the line before");
            self.order.get_or_insert_with(failure);
        }
        self.time = entry.time;
        self.asked.entry(number, &entry);
        if let Some(hash) = entry.covenant.as_ref().and_then(Value::text)
            && let Ok(place) = self.named.binary_search_by(|(known, _)| known.as_str().cmp(hash))
            && let Some((_, named)) = self.named.get_mut(place)
        {
            *named = true;
        }
        Ok(Some(Sha256::new().chain_update([0]).chain_update(line).finalize().into()))
    }
}

/// The way from the leaves to the root (docs/log.md, *The subset proof*).
struct Walk<'w, 'a, 'm, R> {
    run: Option<Run>,
    runs: Runs<'a, R>,
    proof: Lines<'a, R>,
    used: u64,
    leaves: &'w mut Leaves<'a, 'm, R>,
}

impl<R: Read + Seek> Walk<'_, '_, '_, R> {
    fn prove(&mut self, size: u64, root: &Hash) -> Result<(), Stop> {
        let found = if size == 0 { Sha256::digest([]).into() } else { self.over(0, size)? };
        if !matches!(self.proof.line()?, Line::End) {
            return Err(self.bad("is left over"));
        }
        if found != *root {
            return Err(Failure::new(Code::BadProof, PROOF, "does not lead to the checkpoint's root").into());
        }
        Ok(())
    }

    fn bad(&self, text: &str) -> Stop {
        Failure::at(Code::BadProof, PROOF, self.used + 1, text).into()
    }

    /// The root over the leaves from `low` to `high`, which is not included. Not deeper than 64.
    fn over(&mut self, low: u64, high: u64) -> Result<Hash, Stop> {
        if self.run.is_none_or(|run| run.first >= high) {
            return self.hash();
        }
        let width = high - low;
        if width == 1 {
            return self.leaf();
        }
        let left = 1 << (width - 1).ilog2();
        let (a, b) = (self.over(low, low + left)?, self.over(low + left, high)?);
        Ok(Sha256::new().chain_update([1]).chain_update(a).chain_update(b).finalize().into())
    }

    fn leaf(&mut self) -> Result<Hash, Stop> {
        self.run = match self.run {
            Some(run) if run.count > 1 => Some(Run { first: run.first + 1, count: run.count - 1 }),
            Some(_) | None => self.runs.next()?,
        };
        let leaf = self.leaves.next()?;
        leaf.ok_or_else(|| {
            Failure::new(Code::BadProof, ENTRIES, "ends before all its places are filled").into()
        })
    }

    fn hash(&mut self) -> Result<Hash, Stop> {
        let found = match self.proof.line()? {
            Line::Whole(line) => HEXLOWER.decode(line).ok().and_then(|bytes| bytes.try_into().ok()),
            Line::Unended | Line::Long | Line::End => None,
        };
        let found = found
            .ok_or_else(|| self.bad("is not there, or not 64 lower-case hexadecimal digits and a newline"));
        self.used += 1;
        found
    }
}
