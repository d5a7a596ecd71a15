//! A receipt as a file: everything that is proved of one packet, in text, to be checked with the log's key and the
//! covenant alone.
//!
//! ```text
//! seinhuis/receipt/1
//! message 019a0001-7002-8003-8405-060708090a0b
//! packet <SHA-256, hexadecimal>
//! rotation <base64>                    any number: rotations of the recipients' signing keys
//! recipient 00000099000000001000       one block for each recipient, in the packet's order; - for a refusal
//! entry {"...":...}                    the log entry, verbatim
//! proof 9                              how many lines of C2SP tlog-proof follow
//! ...
//! statement <base64>                   before a delivered or consumed entry: what the recipient signed
//! entry {"...":...}
//! proof 9
//! ...
//! ```
//!
//! Every line ends with a newline, and there is one way to write a file: [`ReceiptFile::parse`] takes no other.

use core::fmt;
use core::str::{FromStr, Split};

use data_encoding::BASE64;

use super::LogKey;
use crate::acknowledgement::{Acknowledged, Said, Statement};
use crate::cbor;
use crate::covenant::Compiled;
use crate::entry::{Entry, Kind};
use crate::ids::{Digest, MsgId, Oin};
use crate::limits::{RECIPIENTS_MAX, ROTATION_MAX, ROTATIONS_MAX};
use crate::refusal::{Lang, Refusal};
use crate::rotation::{Keys, Rotated};
use crate::succession;
use crate::time::Timestamp;
use crate::tlog::hash::leaf_hash;
use crate::tlog::note::from_base64;
use crate::tlog::proof_file::ProofFile;

/// The first line.
pub const HEADER: &str = "seinhuis/receipt/1";
/// Most bytes of a file.
pub const FILE_MAX: usize = 1024 * 1024;
/// Most steps of a packet at one recipient: accepted, stored, consumed.
const STEPS_MAX: usize = 3;

/// One log entry with its proof, and with what the recipient signed where it says what a recipient said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the recipient signed.
    pub statement: Option<Statement>,
    /// The entry's exact bytes.
    pub entry: String,
    /// Its proof.
    pub proof: ProofFile,
}

/// What became of a packet at one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The recipient; none when the packet was refused.
    pub to: Option<Oin>,
    /// 1 to 3 steps, in the order of the log.
    pub steps: Vec<Step>,
}

/// Everything in a file. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFile {
    /// The message.
    pub message: MsgId,
    /// SHA-256 of its packet.
    pub packet: Digest,
    /// Rotations of recipients' signing keys, in the order of the log.
    pub rotations: Vec<Rotated>,
    /// A block for each recipient.
    pub blocks: Vec<Block>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text(Lang::En))]
pub enum FileError {
    /// A line is not what stands there.
    Line(
        /// Which, from 1; 0 for the file as a whole.
        usize,
    ),
    /// A rotation does not count.
    Rotation(
        /// Why.
        Refusal,
    ),
    /// Not one block for each recipient.
    Recipients,
    /// An entry cannot be read, or is about another packet, message, sender or recipient than the rest.
    Entry {
        /// The block, from 1.
        block: usize,
        /// The step in it, from 1.
        step: usize,
    },
    /// An entry is of a kind that does not follow the one before it.
    Order {
        /// The block, from 1.
        block: usize,
        /// The step in it, from 1.
        step: usize,
    },
    /// An entry is not proved to be in the log.
    Proof {
        /// The block, from 1.
        block: usize,
        /// The step in it, from 1.
        step: usize,
        /// Why.
        why: String,
    },
    /// The covenant at hand is not the one the packet was sent under.
    Covenant {
        /// The one it was sent under.
        wanted: Digest,
    },
    /// What the recipient signed does not count.
    Statement {
        /// The block, from 1.
        block: usize,
        /// The step in it, from 1.
        step: usize,
        /// Why.
        why: Refusal,
    },
    /// What the recipient signed is missing, says something else, or does not link to the step before.
    Link {
        /// The block, from 1.
        block: usize,
        /// The step in it, from 1.
        step: usize,
    },
}

impl FileError {
    /// What is wrong, for people.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            Self::Line(0) => lang.pick("dit is geen ontvangstbewijs", "this is no receipt").to_owned(),
            Self::Line(line) => match lang {
                Lang::Nl => format!("regel {line} hoort niet in een ontvangstbewijs"),
                Lang::En => format!("line {line} does not belong in a receipt"),
            },
            Self::Rotation(why) => match lang {
                Lang::Nl => format!("een sleutelwissel telt niet: {why}"),
                Lang::En => format!("a rotation of a key does not count: {why}"),
            },
            Self::Recipients => lang
                .pick(
                    "er is niet één blok voor elke ontvanger van het pakket",
                    "there is not one block for each recipient of the packet",
                )
                .to_owned(),
            Self::Covenant { wanted } => match lang {
                Lang::Nl => format!("het pakket is verstuurd onder convenant {wanted}, en dat is er niet"),
                Lang::En => format!("the packet was sent under covenant {wanted}, which is not at hand"),
            },
            Self::Entry { block, step } => at(
                lang,
                *block,
                *step,
                (
                    "de logregel is onleesbaar of gaat over iets anders",
                    "the log entry cannot be read or is about something else",
                ),
            ),
            Self::Order { block, step } => at(
                lang,
                *block,
                *step,
                (
                    "deze logregel kan niet op de vorige volgen",
                    "this log entry cannot follow the one before it",
                ),
            ),
            Self::Link { block, step } => at(
                lang,
                *block,
                *step,
                (
                    "de verklaring van de ontvanger ontbreekt, zegt iets anders of sluit niet aan",
                    "the recipient's statement is missing, says something else or links elsewhere",
                ),
            ),
            Self::Proof { block, step, why } => {
                let what = at(
                    lang,
                    *block,
                    *step,
                    (
                        "dat de regel in het log staat is niet bewezen",
                        "that the entry is in the log is not proved",
                    ),
                );
                format!("{what} ({why})")
            }
            Self::Statement { block, step, why } => {
                let what = at(
                    lang,
                    *block,
                    *step,
                    ("de verklaring van de ontvanger telt niet", "the recipient's statement does not count"),
                );
                format!("{what} ({why})")
            }
        }
    }
}

fn at(lang: Lang, block: usize, step: usize, (nl, en): (&str, &str)) -> String {
    match lang {
        Lang::Nl => format!("ontvanger {block}, stap {step}: {nl}"),
        Lang::En => format!("recipient {block}, step {step}: {en}"),
    }
}

/// A step that is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvedStep {
    /// The log it stands in.
    pub origin: String,
    /// The entry's index in that log.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// When the recipient signed, by its own clock, where it did.
    pub signed: Option<Timestamp>,
}

/// What a file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The sender.
    pub sender: Oin,
    /// For each recipient what was proved, in order; one without a recipient when the packet was refused.
    pub blocks: Vec<(Option<Oin>, Vec<ProvedStep>)>,
}

impl ReceiptFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError::Line`].
    pub fn parse(text: &str) -> Result<Self, FileError> {
        if text.len() > FILE_MAX {
            return Err(FileError::Line(0));
        }
        let mut lines = Lines { rest: text.strip_suffix('\n').ok_or(FileError::Line(0))?.split('\n'), at: 0 };
        if lines.next() != Some(HEADER) {
            return Err(FileError::Line(0));
        }
        let (message, packet) = (lines.id("message ")?, lines.id("packet ")?);
        let mut file = Self { message, packet, rotations: Vec::new(), blocks: Vec::new() };
        let mut line = lines.next();
        while let Some(data) = line.and_then(|line| line.strip_prefix("rotation ")) {
            let one =
                from_base64(data).and_then(|bytes| cbor::strict(&bytes, ROTATION_MAX.saturating_mul(2)).ok());
            let room = file.rotations.len() < RECIPIENTS_MAX.saturating_mul(ROTATIONS_MAX);
            file.rotations.push(one.filter(|_| room).ok_or(FileError::Line(lines.at))?);
            line = lines.next();
        }
        while let Some(begin) = line {
            let to = begin.strip_prefix("recipient ").ok_or(FileError::Line(lines.at))?;
            let to = if to == "-" { None } else { Some(to.parse().map_err(|_| FileError::Line(lines.at))?) };
            let mut steps = Vec::new();
            line = lines.next();
            while let Some(begin) = line.filter(|line| !line.starts_with("recipient ")) {
                if steps.len() == STEPS_MAX {
                    return Err(FileError::Line(lines.at));
                }
                steps.push(lines.step(begin)?);
                line = lines.next();
            }
            if steps.is_empty() || file.blocks.len() == RECIPIENTS_MAX {
                return Err(FileError::Line(lines.at));
            }
            file.blocks.push(Block { to, steps });
        }
        // Whatever the readers above let pass, there is one way to write it.
        if file.to_string() == text { Ok(file) } else { Err(FileError::Line(0)) }
    }

    /// The hash of the covenant version the packet says it was sent under; nothing vouches for it yet.
    pub fn covenant(&self) -> Option<Digest> {
        let step = self.blocks.first()?.steps.first()?;
        Entry::parse(step.entry.as_bytes()).ok()?.covenant
    }

    /// Checks everything: that each entry is in one of `logs`, which are in the order in which one followed on another,
    /// or in one of them in another year; that it is about this packet and follows the one before it; that what recipients said is signed by their keys in `covenant`, of which `keys` are the changes
    /// that are known besides those in the file; and that it is linked.
    ///
    /// # Errors
    /// [`FileError`], by what is wrong first.
    pub fn verify(
        &self,
        logs: &[LogKey],
        covenant: Option<&Compiled>,
        keys: &Keys,
    ) -> Result<Proved, FileError> {
        let mut keys = keys.clone();
        keys.restore(&self.rotations).map_err(FileError::Rotation)?;
        let mut blocks = Vec::new();
        let mut sender = None;
        for (number, block) in (1..).zip(&self.blocks) {
            let steps = self.block(number, block, (logs, covenant, &keys))?;
            let from = steps.first().and_then(|step: &ProvedStep| step.entry.from);
            if from.is_none() || sender.is_some_and(|sender| Some(sender) != from) {
                return Err(FileError::Entry { block: number, step: 1 });
            }
            sender = from;
            blocks.push((block.to, steps));
        }
        let proved = Proved { sender: sender.ok_or(FileError::Recipients)?, blocks };
        if proved.is_whole() { Ok(proved) } else { Err(FileError::Recipients) }
    }

    fn block(
        &self,
        number: usize,
        block: &Block,
        (logs, covenant, keys): (&[LogKey], Option<&Compiled>, &Keys),
    ) -> Result<Vec<ProvedStep>, FileError> {
        let mut proved: Vec<ProvedStep> = Vec::new();
        // The hash that the recipient's next statement has to name, and the place of the entry before.
        let (mut link, mut last) = (None, None);
        for (at, step) in (1..).zip(&block.steps) {
            let entry = Entry::parse(step.entry.as_bytes());
            let entry = entry.ok().filter(|entry| self.is_about(entry, block.to, proved.first()));
            let entry = entry.ok_or(FileError::Entry { block: number, step: at })?;
            let why = |why: String| FileError::Proof { block: number, step: at, why };
            let (nth, own) = log_of(&step.proof, logs).map_err(why)?;
            let before = proved.last();
            let place = (nth, own.origin.clone(), step.proof.index);
            // Origins of one log through the years differ in four digits at the end.
            let rises = last.as_ref().is_none_or(|last| *last < place);
            last = Some(place);
            if !rises || !follows(before.map(|before| &before.entry), &entry) {
                return Err(FileError::Order { block: number, step: at });
            }
            let leaf = leaf_hash(step.entry.as_bytes());
            if step.proof.extra.is_some() {
                return Err(why("extra".to_owned()));
            }
            step.proof.verify(&leaf, &own.origin, &own.key).map_err(|error| why(error.to_string()))?;
            let mut signed = None;
            if matches!(entry.kind, Kind::Delivered | Kind::Consumed) {
                let unlinked = FileError::Link { block: number, step: at };
                let statement = step.statement.as_ref().ok_or_else(|| unlinked.clone())?;
                if !says(&statement.item, &entry) || Some(statement.item.previous) != link {
                    return Err(unlinked);
                }
                let wrong = |why| FileError::Statement { block: number, step: at, why };
                signed = Some(check_statement(statement, &entry, covenant, keys, wrong)?);
                link = Some(statement.item.hash());
            } else if step.statement.is_some() {
                return Err(FileError::Link { block: number, step: at });
            } else {
                link = Some(leaf);
            }
            proved.push(ProvedStep { origin: own.origin, index: step.proof.index, entry, signed });
        }
        Ok(proved)
    }

    /// Whether an entry is about this packet, and agrees with the first of its block.
    fn is_about(&self, entry: &Entry, to: Option<Oin>, first: Option<&ProvedStep>) -> bool {
        let agrees = first.is_none_or(|first| {
            let first = &first.entry;
            (first.from, first.covenant, &first.flow, first.case)
                == (entry.from, entry.covenant, &entry.flow, entry.case)
        });
        let addressed = to.is_none() || entry.to == to;
        agrees && addressed && entry.msg_id == Some(self.message) && entry.packet == Some(self.packet)
    }
}

/// The log that a proof names: one of these, or one of them in another year, which has the same key. With its place: that
/// of the last of these that is the same one through the years, up to its own year.
fn log_of(proof: &ProofFile, logs: &[LogKey]) -> Result<(usize, LogKey), String> {
    let origin = proof.checkpoint.lines().next().unwrap_or_default();
    let same = |log: &&LogKey| log.origin == origin || succession::years(origin, &log.origin).is_some();
    let own = logs.iter().find(|log| log.origin == origin).or_else(|| logs.iter().find(same));
    let own = own.and_then(|like| succession::log_key(origin, like).ok());
    let until = |log: &LogKey| same(&log) && log.origin.as_str() <= origin;
    let place = logs.iter().rposition(until).or_else(|| logs.iter().position(|log| same(&log)));
    place.zip(own).ok_or_else(|| format!("the key of the log {origin:?} is not among those given"))
}

/// Checks who signed a statement; gives when.
fn check_statement(
    statement: &Statement,
    entry: &Entry,
    covenant: Option<&Compiled>,
    keys: &Keys,
    wrong: impl Fn(Refusal) -> FileError,
) -> Result<Timestamp, FileError> {
    let wanted = entry.covenant.ok_or_else(|| wrong(Refusal::UnknownCovenant))?;
    let covenant = covenant.filter(|one| one.hash() == wanted).ok_or(FileError::Covenant { wanted })?;
    let to = entry.to.ok_or_else(|| wrong(Refusal::RecipientCount))?;
    let signed = statement.verify(|kid| keys.signing_key(covenant, to, kid, entry.time)).map_err(&wrong)?;
    if signed.recipient == to { Ok(signed.issued) } else { Err(wrong(Refusal::UnknownKey)) }
}

/// Whether an entry may come after another.
fn follows(before: Option<&Entry>, entry: &Entry) -> bool {
    let Some(before) = before else { return matches!(entry.kind, Kind::Accepted | Kind::Refused) };
    match entry.kind {
        Kind::Delivered | Kind::Withdrawn | Kind::Expired | Kind::Shredded => before.kind == Kind::Accepted,
        Kind::Consumed => before.kind == Kind::Delivered && before.reason.is_none(),
        Kind::Accepted
        | Kind::Refused
        | Kind::Covenant
        | Kind::Case
        | Kind::Key
        | Kind::KeyRotated
        | Kind::Partner
        | Kind::Export
        | Kind::Operator
        | Kind::Purged
        | Kind::Closing
        | Kind::Opening
        | Kind::Start
        | Kind::Stop => false,
    }
}

/// Whether an entry says what a recipient's item says.
fn says(item: &Acknowledged, entry: &Entry) -> bool {
    let kind = match item.said {
        Said::Stored => Kind::Delivered,
        Said::Consumed => Kind::Consumed,
    };
    kind == entry.kind
        && entry.statement == Some(item.hash())
        && entry.msg_id == Some(item.msg_id)
        && entry.packet == Some(item.packet)
        && entry.reason.unwrap_or_default() == item.outcome
}

impl Proved {
    /// Whether there is a block for each recipient the packet names, each another one; or one for a refusal.
    fn is_whole(&self) -> bool {
        let count = u64::try_from(self.blocks.len()).ok();
        let mut seen = std::collections::BTreeSet::new();
        self.blocks.iter().all(|(to, steps)| {
            let Some(first) = steps.first().map(|step| &step.entry) else { return false };
            let refused = first.kind == Kind::Refused;
            let whole = if refused { count == Some(1) } else { first.recipients == count };
            whole && refused == to.is_none() && seen.insert(*to)
        })
    }
}

impl fmt::Display for ReceiptFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nmessage {}\npacket {}", self.message, self.packet)?;
        for rotation in &self.rotations {
            writeln!(f, "rotation {}", BASE64.encode(&cbor::encode(rotation)))?;
        }
        for block in &self.blocks {
            match block.to {
                Some(to) => writeln!(f, "recipient {to}")?,
                None => writeln!(f, "recipient -")?,
            }
            for Step { statement, entry, proof } in &block.steps {
                if let Some(statement) = statement {
                    writeln!(f, "statement {}", BASE64.encode(&statement.to_bytes()))?;
                }
                let proof = proof.to_string();
                write!(f, "entry {entry}\nproof {}\n{proof}", proof.matches('\n').count())?;
            }
        }
        Ok(())
    }
}

/// The lines of a file, counted.
struct Lines<'a> {
    rest: Split<'a, char>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.at = self.at.saturating_add(1);
        self.rest.next()
    }

    fn after(&mut self, prefix: &str) -> Result<&'a str, FileError> {
        let line = self.next().and_then(|line| line.strip_prefix(prefix));
        line.ok_or(FileError::Line(self.at))
    }

    fn id<T: FromStr>(&mut self, prefix: &str) -> Result<T, FileError> {
        self.after(prefix)?.parse().map_err(|_| FileError::Line(self.at))
    }

    /// A step whose first line was read.
    fn step(&mut self, first: &'a str) -> Result<Step, FileError> {
        let (mut statement, mut entry) = (None, first);
        if let Some(data) = first.strip_prefix("statement ") {
            let read = from_base64(data).and_then(|bytes| Statement::parse(&bytes).ok());
            statement = Some(read.ok_or(FileError::Line(self.at))?);
            entry = self.next().ok_or(FileError::Line(self.at))?;
        }
        let entry = entry.strip_prefix("entry ").ok_or(FileError::Line(self.at))?.to_owned();
        let count: usize = self.id("proof ")?;
        let begin = self.at;
        let mut text = String::new();
        for _ in 0..count {
            text.push_str(self.next().ok_or(FileError::Line(self.at))?);
            text.push('\n');
        }
        let proof = ProofFile::parse(&text).map_err(|_| FileError::Line(begin.saturating_add(1)))?;
        Ok(Step { statement, entry, proof })
    }
}
