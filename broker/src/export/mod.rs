//! Exports of the exchange log: a bundle that anybody can check without this broker (docs/log.md).
//!
//! A bundle is written member by member, each read from the log as it is written: memory does not grow with the log.
//! What was interrupted goes on after the last member that is whole, and in long ones after the last cut (`state`).

mod archive;
mod book;
mod bundle;
mod csv;
mod find;
mod progress;
mod question;
mod readme;
mod report;
mod state;
mod xlsx;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

pub(crate) use progress::look;
pub use question::Question;
pub(crate) use question::is_purpose;
pub(crate) use state::progress_of;

use crate::log::Log;
use archive::Archive;
use progress::Progress;
use state::{Paths, Pins, State};

/// Entries between two places in a member from which an interrupted export goes on: some 10 MiB as they are packed.
const STRIDE: u64 = 65_536;
/// Policies in a bundle at most (docs/log.md).
const POLICIES: usize = 64;

/// What an export is made from.
#[expect(missing_debug_implementations, reason = "it holds ways to look something up")]
pub struct Source<'a> {
    /// The log.
    pub log: &'a Log,
    /// Its key.
    pub key: &'a (SigningKey, LogKey),
    /// A covenant version in canonical form, if the broker holds it.
    pub covenant: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
    /// What witnesses have seen of the log.
    pub witnessed: Witnessed,
    /// The latest checkpoint of at most so many entries that witnesses cosigned, as a note, if there is one.
    pub begin: &'a dyn Fn(u64) -> Option<Vec<u8>>,
    /// Now.
    pub now: Timestamp,
}

/// What witnesses have seen of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// A checkpoint with the log's signature and the lines of witnesses, as a note: what the export rests on. Without
    /// one it rests on all of the log, signed by the log alone.
    pub checkpoint: Option<Vec<u8>>,
    /// The policies by which this broker asks for witnesses (C2SP tlog-policy), by the covenant that says so.
    pub policies: BTreeMap<Digest, String>,
}

/// How an export is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// Go on with one that was interrupted.
    pub resume: bool,
    /// With the tables and the report, which prove nothing.
    pub views: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Entries in the bundle.
    pub count: u64,
    /// Entries in the log it rests on.
    pub size: u64,
    /// Whether nothing of the period was left out.
    pub complete: bool,
}

/// Whether an export to `out` can begin, or go on; asked before the log tells of it.
///
/// # Errors
/// A sentence naming file, fault and fix.
pub fn check(out: &Path, resume: bool) -> Result<(), Complaint> {
    if out.exists() {
        return Err(Complaint::usage(
            Text::new(format!("{} bestaat al.", out.display()), format!("{} exists already.", out.display())),
            Text::new("Kies een andere naam.", "Choose another name."),
        ));
    }
    let partial = Paths::of(out).bundle;
    let at = partial.display();
    match (partial.exists(), resume) {
        (true, false) => Err(Complaint::usage(
            Text::new(
                format!("{at} is er nog, van een onderbroken export."),
                format!("{at} is still there, of an interrupted export."),
            ),
            Text::new(
                "Geef dezelfde opdracht met --resume erbij, of verwijder dat bestand.",
                "Give the same command with --resume, or remove that file.",
            ),
        )),
        (false, true) => Err(Complaint::usage(
            Text::new(
                format!("Er is geen onderbroken export: {at} bestaat niet."),
                format!("There is no interrupted export: {at} does not exist."),
            ),
            Text::new("Begin opnieuw, zonder --resume.", "Begin anew, without --resume."),
        )),
        (true, true) | (false, false) => Ok(()),
    }
}

/// Writes the answer to a question to `out`, which must not exist. It gets its name only when it is whole; what is not
/// whole stays beside it, to go on with.
///
/// # Errors
/// A sentence naming file, fault and fix.
pub fn write(source: &Source<'_>, question: &Question, out: &Path, how: How) -> Result<Written, Complaint> {
    check(out, how.resume)?;
    let paths = Paths::of(out);
    let fail = |error: std::io::Error| failed(&paths.bundle, &error);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&paths.bundle)
        .map_err(fail)?;
    if file.try_lock().is_err() {
        return Err(Complaint::usage(
            Text::new(
                format!("{} wordt al geschreven.", paths.bundle.display()),
                format!("{} is being written already.", paths.bundle.display()),
            ),
            Text::new("Wacht tot die export klaar is.", "Wait until that export is done."),
        ));
    }
    let state = if how.resume {
        State::load(source, question, how.views, &paths)?
    } else {
        let state = State::new(pins(source, question, how.views)?);
        state.save(&paths)?;
        state
    };
    file.set_len(state.end()).map_err(fail)?;
    let mut to = BufWriter::with_capacity(1 << 20, file);
    std::io::Seek::seek(&mut to, std::io::SeekFrom::End(0)).map_err(fail)?;
    let mut job = bundle::Job {
        source,
        paths: &paths,
        archive: Archive::resume(to, state.members.clone()),
        state,
        progress: Progress::new(paths.progress.clone()),
    };
    let count = job.members()?;
    let (size, to) = (job.state.pins.size, job.archive.finish().map_err(fail)?);
    to.get_ref().sync_all().map_err(fail)?;
    files::replace(&paths.bundle, out)?;
    paths.clear();
    Ok(Written { count, size, complete: question.is_period() })
}

/// What decides the bytes of an export that begins here.
fn pins(source: &Source<'_>, question: &Question, views: bool) -> Result<Pins, Complaint> {
    let (secret, log) = source.key;
    let bug = |error: &dyn std::error::Error| Complaint::bug(error.to_string());
    let (checkpoint, note) = if let Some(bytes) = &source.witnessed.checkpoint {
        let note = Note::parse(bytes).map_err(|error| bug(&error))?;
        let found = Checkpoint::verify_note(&note, &log.origin, &log.key).map_err(|error| bug(&error))?;
        (found, note)
    } else {
        let size = source.log.size();
        let made = Checkpoint::new(&log.origin, size, source.log.root(size)?).map_err(|error| bug(&error))?;
        let note = made.sign_with(&log.key, |bytes| secret.sign(bytes)).map_err(|error| bug(&error))?;
        (made, note)
    };
    let size = checkpoint.size();
    if size > source.log.size() || source.log.root(size)? != *checkpoint.root() {
        return Err(source.log.damaged("what witnesses signed is not what it holds"));
    }
    let policies = source.witnessed.policies.iter().take(POLICIES);
    Ok(Pins {
        question: question.clone(),
        views,
        log_key: log.key.to_string(),
        size,
        root: *checkpoint.root(),
        created: source.now,
        checkpoint: note.to_string(),
        policies: policies.map(|(covenant, policy)| (covenant.to_string(), policy.clone())).collect(),
        stride: STRIDE,
    })
}

fn failed(file: &Path, error: &dyn std::fmt::Display) -> Complaint {
    let at = file.display();
    Complaint::usage(
        Text::new(
            format!("De export is onderbroken bij {at}: {error}."),
            format!("The export was interrupted at {at}: {error}."),
        ),
        Text::new(
            "Zorg voor ruimte en schrijfrechten en geef dezelfde opdracht met --resume erbij.",
            "See to space and permission to write, and give the same command with --resume.",
        ),
    )
}

#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod tests;
