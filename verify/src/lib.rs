//! Checks an export of the exchange log, written from `docs/log.md` alone.
//!
//! This is a second implementation on purpose: it shares no code with the broker that makes exports. Memory does not
//! grow with the number of entries, and no bytes make it panic.

mod archive;
mod begin;
mod check;
mod entries;
mod entry;
mod json;
mod lines;
mod manifest;
mod note;
mod period;
mod policy;
mod runs;
pub mod say;
mod tree;

use core::fmt;
use std::io::{self, Read, Seek};

pub use note::{Key, KeyError};
pub use policy::{Policy, PolicyError, Quorum};

/// What a check found, in the order of checking (docs/log.md, *Checking*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Not a ZIP as described.
    BadArchive,
    /// A line is not the entry that the log has at its place.
    BadLine,
    /// The list of sums is not that of the members.
    BadSums,
    /// The list of sums is not signed by the log's key.
    BadSumsSignature,
    /// The manifest does not read, or is of another log.
    BadManifest,
    /// The checkpoint is not one of this log, or of another size.
    BadCheckpoint,
    /// A cosignature does not verify, or a policy is not met.
    BadWitnesses,
    /// The places of the entries do not fit together or their number.
    BadRuns,
    /// A line is not an entry.
    BadEntry,
    /// Time falls from one line to the next.
    BadOrder,
    /// An entry is not what was asked for, or `complete` is not shown.
    BadQuestion,
    /// The entries are not in the tree of the checkpoint.
    BadProof,
    /// The earlier checkpoint, or the way from it, does not hold.
    BadBegin,
    /// A covenant is not the one its name says, or nobody names it.
    BadCovenant,
    /// Everything holds.
    Good,
}

impl Code {
    /// The code as docs/log.md writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadArchive => "bad-archive",
            Self::BadLine => "bad-line",
            Self::BadSums => "bad-sums",
            Self::BadSumsSignature => "bad-sums-signature",
            Self::BadManifest => "bad-manifest",
            Self::BadCheckpoint => "bad-checkpoint",
            Self::BadWitnesses => "bad-witnesses",
            Self::BadRuns => "bad-runs",
            Self::BadEntry => "bad-entry",
            Self::BadOrder => "bad-order",
            Self::BadQuestion => "bad-question",
            Self::BadProof => "bad-proof",
            Self::BadBegin => "bad-begin",
            Self::BadCovenant => "bad-covenant",
            Self::Good => "good",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a bundle is not good: the first thing, in the order of checking, that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which check; never [`Code::Good`].
    pub code: Code,
    /// The member it is about, or nothing when it is about the archive as a whole.
    pub file: String,
    /// The line in that member, from 1, where it is about one.
    pub line: Option<u64>,
    /// What does not hold, in English.
    pub text: String,
    /// Of a line that is not the log's: the first other check that does not hold either. Without one, whoever signed
    /// the sums signed them over the changed line.
    pub also: Option<Box<Failure>>,
}

impl Failure {
    fn new(code: Code, file: &str, text: impl Into<String>) -> Self {
        Self { code, file: file.to_owned(), line: None, text: text.into(), also: None }
    }

    fn at(code: Code, file: &str, line: u64, text: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::new(code, file, text) }
    }
}

/// What a good bundle shows about its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proves {
    /// No entry of the period was left out.
    Complete,
    /// The entries are in the log; others may be too.
    Selection,
}

/// Who judged whether others than the log have seen the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witnesses {
    /// Nobody: the bundle has no policy and none was given.
    NotJudged,
    /// The policies in the bundle, which are the broker's word: the hash of each one's covenant, and what it says.
    Own(Vec<(String, Quorum)>),
    /// The policy that was given; it is met.
    Given(Quorum),
}

/// What a good bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Good {
    /// What it shows.
    pub proves: Proves,
    /// The log's name.
    pub origin: String,
    /// How many entries the log had.
    pub size: u64,
    /// How many entries the bundle has.
    pub count: u64,
    /// The start of the period asked for, in milliseconds since 1970, if any.
    pub from: Option<u64>,
    /// The end of the period asked for, not included, if any.
    pub until: Option<u64>,
    /// What the export was made for.
    pub purpose: String,
    /// Who asked for it, if that is said.
    pub asked_by: Option<String>,
    /// Who has seen the checkpoint.
    pub witnesses: Witnesses,
    /// The size of a checkpoint from before the first entry from which the log has only grown, if there is one.
    pub begin: Option<u64>,
}

/// The verdict on a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything holds.
    Good(Good),
    /// Something does not.
    Bad(Failure),
}

impl Verdict {
    /// The verdict's code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Good(_) => Code::Good,
            Self::Bad(failure) => failure.code,
        }
    }
}

/// Checks a bundle against the key of its log and, if one is given, a policy about who has to have seen it.
///
/// # Errors
/// When the bundle cannot be read: that says nothing about it.
pub fn verify<R: Read + Seek>(bundle: R, key: &Key, policy: Option<&Policy>) -> io::Result<Verdict> {
    match check::check(bundle, key, policy) {
        Ok(good) => Ok(Verdict::Good(good)),
        Err(Stop::Bad(failure)) => Ok(Verdict::Bad(failure)),
        Err(Stop::Io(error)) => Err(error),
    }
}

/// Why checking stops.
#[derive(Debug)]
enum Stop {
    Io(io::Error),
    Bad(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Bad(failure)
    }
}
