//! The way from the leaves to the root (docs/log.md, *The subset proof*), and each line held against its leaf.

use std::io::{Read, Seek};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::archive::{Archive, Hash, Reader};
use crate::entries::{ENTRIES, Entries};
use crate::lines::{Line, Lines};
use crate::note::Checkpoint;
use crate::runs::{Run, Runs};
use crate::{Code, Failure, Stop};

pub(crate) const LEAVES: &str = "leaves.bin";
const PROOF: &str = "proof.txt";

/// What the walk over the tree shows.
pub(crate) struct Found {
    /// That leaves and proof do not lead to the root, if so.
    pub(crate) proof: Option<Failure>,
    /// The first line that is not the entry of its leaf. Without the root it says nothing.
    pub(crate) line: Option<Failure>,
    /// SHA-256 of the member with the leaves.
    pub(crate) sum: Hash,
}

/// Walks the tree of a checkpoint, and takes a line of the bundle for each leaf.
///
/// # Errors
/// When the archive does not unpack, or a run does not hold.
pub(crate) fn walk<'a, R: Read + Seek>(
    archive: &'a Archive<R>,
    checkpoint: &Checkpoint,
    entries: &mut Entries<'a, '_, R>,
) -> Result<Found, Stop> {
    let mut runs = Runs::open(archive, checkpoint.size)?;
    let run = runs.next()?;
    let mut walk = Walk {
        run,
        runs,
        proof: Lines::new(archive.reader_of(PROOF)?, 64),
        used: 0,
        leaves: archive.reader_of(LEAVES)?,
        taken: 0,
        entries,
        line: None,
    };
    let proof = match walk.prove(checkpoint) {
        Ok(()) => None,
        Err(Stop::Bad(failure)) if failure.code == Code::BadProof => Some(failure),
        Err(other) => return Err(other),
    };
    let Walk { mut leaves, taken, mut line, entries, .. } = walk;
    let mut over = false;
    while entries.next()?.is_some() {
        over = true;
    }
    if over || entries.is_broken() {
        line.get_or_insert_with(|| wrong(taken + 1, "comes after the last entry of the bundle"));
    }
    while leaves.read(&mut [0; 4096])? > 0 {}
    Ok(Found { proof, line, sum: leaves.sum() })
}

fn wrong(number: u64, text: impl Into<String>) -> Failure {
    Failure::at(Code::BadLine, ENTRIES, number, text)
}

struct Walk<'w, 'a, 'm, R> {
    run: Option<Run>,
    runs: Runs<'a, R>,
    proof: Lines<'a, R>,
    used: u64,
    leaves: Reader<'a, R>,
    taken: u64,
    entries: &'w mut Entries<'a, 'm, R>,
    line: Option<Failure>,
}

impl<R: Read + Seek> Walk<'_, '_, '_, R> {
    fn prove(&mut self, checkpoint: &Checkpoint) -> Result<(), Stop> {
        let Checkpoint { size, root } = checkpoint;
        let found = if *size == 0 { Sha256::digest([]).into() } else { self.over(0, *size)? };
        let bad = |file, text| Err(Failure::new(Code::BadProof, file, text).into());
        if !matches!(self.proof.line()?, Line::End) {
            return Err(self.bad("is left over"));
        }
        if self.leaves.read(&mut [0])? > 0 {
            return bad(LEAVES, "has more than a hash for each entry");
        }
        if found == *root { Ok(()) } else { bad(PROOF, "does not lead to the checkpoint's root") }
    }

    fn bad(&self, text: &str) -> Stop {
        Failure::at(Code::BadProof, PROOF, self.used + 1, text).into()
    }

    /// The root over the leaves from `low` to `high`, which is not included. Not deeper than 64.
    fn over(&mut self, low: u64, high: u64) -> Result<Hash, Stop> {
        let Some(run) = self.run.filter(|run| run.first < high) else { return self.hash() };
        let width = high - low;
        if width == 1 {
            return self.leaf(run);
        }
        let left = 1 << (width - 1).ilog2();
        let (a, b) = (self.over(low, low + left)?, self.over(low + left, high)?);
        Ok(Sha256::new().chain_update([1]).chain_update(a).chain_update(b).finalize().into())
    }

    /// The next leaf, which is the first of a run.
    fn leaf(&mut self, run: Run) -> Result<Hash, Stop> {
        self.run = if run.count > 1 {
            Some(Run { first: run.first + 1, count: run.count - 1 })
        } else {
            self.runs.next()?
        };
        let mut leaf = [0; 32];
        let mut rest = leaf.as_mut_slice();
        while !rest.is_empty() {
            let count = self.leaves.read(rest)?;
            if count == 0 {
                let text = "has fewer than a hash for each entry";
                return Err(Failure::new(Code::BadProof, LEAVES, text).into());
            }
            rest = rest.get_mut(count..).unwrap_or_default();
        }
        self.taken += 1;
        let line = self.entries.next()?;
        if line != Some(leaf) {
            self.line.get_or_insert_with(|| {
                let what = if line.is_some() { "is not" } else { "is not there whole; here belongs" };
                wrong(self.taken, format!("{what} entry {} of the log", run.first))
            });
        }
        Ok(leaf)
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
