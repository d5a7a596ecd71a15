//! Backups: what the store and the logs held at one committed point, as a folder that says what has to be in it.
//!
//! ```text
//! store/journal/segment-…   the journal up to that point; the index is derived from it
//! log/FOLDER/tile/…         what each log has in files; of the log that grows only what is complete
//! log/FOLDER/checkpoint     the signed checkpoint of that point
//! manifest.json             every file with its size and SHA-256
//! manifest.note             written last: a C2SP signed note by the log's key over the manifest's SHA-256
//! ```
//!
//! Without its note a backup is not whole. The note also says whose it is: rows of the store, such as who the
//! partners are, are believed when a broker starts, so that what somebody else made up is not put back. Private keys
//! and settings are not in it: whoever has a backup reads who exchanged with whom, and can neither open a packet nor
//! sign a second history.

mod restore;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use seinhuis_journal::Snapshot;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::tile::TilePath;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};

use crate::log::beyond::{ASIDE, place};
use crate::log::edge::CHECKPOINT;
use crate::{SOFTWARE, store};

pub(crate) use restore::restore;

/// What the note is about, and the version of this form.
const FORMAT: &str = "seinhuis/backup/1";
const MANIFEST: &str = "manifest.json";
const NOTE: &str = "manifest.note";
/// Most bytes of a file of a log: a bundle of the longest entries.
const LOG_FILE_MAX: usize = 32 * 1024 * 1024;

/// What the store and the logs hold after one turn.
#[derive(Debug)]
pub struct Point {
    /// The store.
    pub(crate) store: Snapshot,
    /// The logs, from the first.
    pub(crate) logs: Vec<LogPoint>,
}

/// A log after one turn.
#[derive(Debug)]
pub(crate) struct LogPoint {
    pub(crate) origin: String,
    /// The name of its folder.
    pub(crate) folder: String,
    /// Where that is.
    pub(crate) dir: PathBuf,
    pub(crate) size: u64,
    /// Whether it has ended.
    pub(crate) closed: bool,
    /// Its signed checkpoint; empty when nothing is logged.
    pub(crate) note: Vec<u8>,
}

/// What has to be in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    /// What made it.
    software: String,
    /// When, in milliseconds since 1970.
    created: Timestamp,
    /// Number of the journal's last record in it.
    pub(crate) sequence: u64,
    /// The logs, from the first.
    pub(crate) logs: Vec<LogLine>,
    /// The files, by path.
    pub(crate) files: Vec<FileLine>,
}

impl Manifest {
    /// How many bytes all files have together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|line| line.size).sum()
    }
}

/// A log in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLine {
    pub(crate) origin: String,
    pub(crate) size: u64,
}

/// A file in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileLine {
    /// Its place below the folder, with `/` between the parts.
    path: String,
    /// Its length in bytes.
    size: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    sha256: String,
}

impl FileLine {
    fn of(path: &str, bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { path: path.to_owned(), size, sha256: sha256(bytes).to_string() }
    }
}

/// Makes the folder of a backup, which must not exist.
///
/// # Errors
/// A sentence when it does, or cannot be made.
pub(crate) fn begin(out: &Path) -> Result<(), Complaint> {
    if out.exists() {
        return Err(Complaint::usage(
            Text::new(format!("{} bestaat al.", out.display()), format!("{} exists already.", out.display())),
            Text::new("Kies een andere map.", "Choose another folder."),
        ));
    }
    files::make_private_dir(out)
}

/// Copies what there is at a point into `out`, its manifest and note last; `go_on` is asked before every file.
///
/// # Errors
/// A sentence naming the file that is damaged, or cannot be read or written, or that it was not to go on; `out` is then
/// no whole backup.
pub(crate) fn write(
    point: &Point,
    (secret, log): &(SigningKey, LogKey),
    out: &Path,
    now: Timestamp,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Manifest, Complaint> {
    let mut copy = Copy::new(out);
    for file in point.store.files() {
        if !go_on() {
            return Err(cut_off(out));
        }
        let bytes = file.read().map_err(|error| store::complaint(&error))?;
        copy.add(&format!("store/{}", file.path()), &bytes)?;
    }
    for one in &point.logs {
        copy.log(one, go_on)?;
    }
    copy.settle()?;
    let logs = point.logs.iter().map(|one| LogLine { origin: one.origin.clone(), size: one.size }).collect();
    let manifest = Manifest {
        format: FORMAT.into(),
        software: SOFTWARE.into(),
        created: now,
        sequence: point.store.sequence(),
        logs,
        files: copy.lines,
    };
    let bytes = serde_json::to_vec_pretty(&manifest).map_err(|error| Complaint::bug(error.to_string()))?;
    files::write_private(&out.join(MANIFEST), &bytes, Existing::Keep)?;
    let text = note_text(log, &bytes);
    let note = Note::new(&text, vec![log.key.sign_with(&text, |bytes| secret.sign(bytes))])
        .map_err(|error| Complaint::bug(error.to_string()))?;
    files::write_private(&out.join(NOTE), note.to_string().as_bytes(), Existing::Keep)?;
    Ok(manifest)
}

/// What the note of a manifest says.
fn note_text(log: &LogKey, manifest: &[u8]) -> String {
    format!("{}\n{FORMAT}\n{}\n", log.origin, sha256(manifest))
}

fn cut_off(out: &Path) -> Complaint {
    let out = out.display();
    Complaint::usage(
        Text::new(
            format!("De broker stopt; de reservekopie in {out} is niet heel."),
            format!("The broker stops; the backup in {out} is not whole."),
        ),
        Text::new(
            "Verwijder die map en geef de opdracht nog eens, met een andere map of als zij weg is.",
            "Remove that folder and give the command again, with another folder or when it is gone.",
        ),
    )
}

/// A folder that is being filled.
#[derive(Debug)]
struct Copy {
    dir: PathBuf,
    lines: Vec<FileLine>,
    folders: BTreeSet<PathBuf>,
}

impl Copy {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), lines: Vec::new(), folders: BTreeSet::new() }
    }

    /// Writes a file that is not there yet. Its name is durable after [`Copy::settle`].
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Complaint> {
        let at = self.dir.join(path);
        let folder = files::parent(&at);
        if !self.folders.contains(&folder) {
            files::make_private_dir(&folder)?;
            let ours = folder.ancestors().take_while(|folder| *folder != self.dir);
            self.folders.extend(ours.map(Path::to_path_buf));
        }
        write_new(&at, bytes).map_err(|error| Complaint::io(Doing::Write, &at, &error))
    }

    /// Writes a file, and the line about it.
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), Complaint> {
        self.put(path, bytes)?;
        self.lines.push(FileLine::of(path, bytes));
        Ok(())
    }

    /// Puts the names of all files on stable storage.
    fn settle(&self) -> Result<(), Complaint> {
        self.folders.iter().chain([&self.dir]).try_for_each(|folder| flush(folder))
    }

    /// Copies the files of a log that belong to its point.
    fn log(&mut self, one: &LogPoint, go_on: &mut dyn FnMut() -> bool) -> Result<(), Complaint> {
        let below = format!("log/{}", one.folder);
        let mut found = Vec::new();
        walk(&one.dir, "tile", &mut found)?;
        found.retain(|path| path.parse().is_ok_and(|path| belongs(path, one.size, one.closed)));
        if one.closed {
            // What was set aside when it was closed by hand is evidence of what was lost.
            walk(&one.dir, ASIDE, &mut found)?;
        }
        for path in &found {
            if !go_on() {
                return Err(cut_off(&self.dir));
            }
            self.add(&format!("{below}/{path}"), &files::read(&one.dir.join(path), LOG_FILE_MAX)?)?;
        }
        // The one in the folder may be newer than this point; the lines of witnesses come with those of a closed log.
        let shown = one.dir.join(CHECKPOINT);
        let checkpoint =
            if one.closed && shown.exists() { files::read(&shown, LOG_FILE_MAX)? } else { one.note.clone() };
        if checkpoint.is_empty() { Ok(()) } else { self.add(&format!("{below}/{CHECKPOINT}"), &checkpoint) }
    }
}

/// Whether a file is one of the log's first `size` entries, and stays as it is: the partial ones do when it has ended.
fn belongs(path: TilePath, size: u64, closed: bool) -> bool {
    let (level, index, width) = place(path);
    let whole = |level: u32| size.checked_shr(8 * level).unwrap_or(0);
    let (own, full) = (whole(level.into()), whole(u32::from(level) + 1));
    index < full && width == 256 || closed && index == full && u64::from(width) == own % 256
}

/// The files below `dir`/`part`, by their path below `dir`, in order. What is not there has none: folders of partial
/// files come and go.
fn walk(dir: &Path, part: &str, found: &mut Vec<String>) -> Result<(), Complaint> {
    let folder = dir.join(part);
    let fail = |error: io::Error| Complaint::io(Doing::OpenFolder, &folder, &error);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(fail)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().into_string().map_err(|_| fail(ErrorKind::InvalidData.into()))?;
        names.push((name, entry.file_type().map_err(fail)?.is_dir()));
    }
    names.sort();
    for (name, is_dir) in names {
        let path = format!("{part}/{name}");
        if is_dir {
            walk(dir, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn flush(folder: &Path) -> Result<(), Complaint> {
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.map_err(|error| Complaint::io(Doing::Write, folder, &error))
}
