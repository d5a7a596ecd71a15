//! Exports of the exchange log: a bundle that anybody can check without this broker (docs/log.md).

mod bundle;
mod csv;
mod question;
mod readme;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

pub use question::Question;
use question::Run;

use crate::log::Log;

/// What an export is made from.
#[expect(missing_debug_implementations, reason = "it holds a way to look something up")]
pub struct Source<'a> {
    /// The log.
    pub log: &'a Log,
    /// Its key.
    pub key: &'a (SigningKey, LogKey),
    /// A covenant version in canonical form, if the broker holds it.
    pub covenant: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
    /// Now.
    pub now: Timestamp,
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

/// Writes the answer to a question to `out`, which must not exist. It gets its name only when it is whole.
///
/// # Errors
/// A sentence naming file, fault and fix.
pub fn write(source: &Source<'_>, question: &Question, out: &Path) -> Result<Written, Complaint> {
    if out.exists() {
        return Err(Complaint::usage(
            Text::new(format!("{} bestaat al.", out.display()), format!("{} exists already.", out.display())),
            Text::new("Kies een andere naam.", "Choose another name."),
        ));
    }
    let size = source.log.size();
    let (runs, count) = find(source.log, question, size)?;
    let fail = |error: std::io::Error| failed(out, &error.to_string());
    let partial = partial(out);
    let file = File::options().write(true).create(true).truncate(true).open(&partial).map_err(fail)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let parts = bundle::Parts {
        source,
        question,
        runs: &runs,
        count,
        checkpoint: Checkpoint::new(&source.key.1.origin, size, source.log.root(size)?)
            .map_err(|error| Complaint::bug(error.to_string()))?,
    };
    let written = bundle::write(&parts, &mut file, out).and_then(|()| {
        file.flush().map_err(fail)?;
        file.get_ref().sync_all().map_err(fail)?;
        std::fs::rename(&partial, out).map_err(fail)?;
        File::open(files::parent(out)).and_then(|folder| folder.sync_all()).map_err(fail)
    });
    if written.is_err() {
        // What is left of it is no export; its name says so too.
        _ = std::fs::remove_file(&partial);
    }
    written.map(|()| Written { count, size, complete: question.is_period() })
}

fn partial(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn failed(out: &Path, error: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De export naar {} is mislukt: {error}.", out.display()),
            format!("The export to {} failed: {error}.", out.display()),
        ),
        Text::new(
            "Zorg voor ruimte en schrijfrechten, of vraag een kortere periode.",
            "See to space and permission to write, or ask for a shorter period.",
        ),
    )
}

/// Where the entries stand that belong to the question; their number.
fn find(log: &Log, question: &Question, size: u64) -> Result<(Vec<Run>, u64), Complaint> {
    let begin = match question.from {
        Some(from) => first_at(log, size, from)?,
        None => log.purged(),
    };
    let end = match question.until {
        Some(until) => first_at(log, size, until)?.max(begin),
        None => size,
    };
    if question.is_period() {
        // The neighbours on both sides show that nothing before or after belongs to it.
        let first = if question.from.is_some() { begin.saturating_sub(1) } else { 0 };
        if first < log.purged() {
            return Err(purged(log)?);
        }
        let last = if question.until.is_some() { end.saturating_add(1).min(size) } else { end };
        let count = last.saturating_sub(first);
        let run = Run { first, count };
        return Ok((if count == 0 { vec![] } else { vec![run] }, count));
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut count = 0;
    for index in begin..end {
        let entry = log.parsed(index)?;
        if !question.takes(&entry) {
            continue;
        }
        count += 1;
        match runs.last_mut() {
            Some(run) if run.first + run.count == index => run.count += 1,
            _ => runs.push(Run { first: index, count: 1 }),
        }
    }
    Ok((runs, count))
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
    let (mut low, mut high) = (log.purged().min(size), size);
    while low < high {
        let middle = low + (high - low) / 2;
        if log.parsed(middle)?.time < at {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
