//! What Dutch law and standards ask to see of the exchange log, made from an export that was verified first.
//!
//! docs/views.md says which view is for whom, and what its fields are. Nothing is made of a bundle that is not good.
//! Memory grows with the messages in a bundle, by about 200 bytes each: what became of a message stands after it.

mod adl;
mod book;
mod cells;
mod fsc;
mod ldv;
mod police;
mod read;
mod register;

use core::fmt;
use core::str::FromStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::operation;
use seinhuis_verify::{Failure, Good, Key, Verdict, verify};
use sha2::{Digest as _, Sha256};

use book::Book;

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// `ldv.jsonl`: Logboek Dataverwerkingen, as OTLP/JSON.
    Ldv,
    /// `adl.jsonl`: Authorization Decision Log.
    Adl,
    /// `fsc.jsonl`: FSC transaction log.
    Fsc,
    /// `wpg.csv`: disclosures of police data (Wpg 32a, Bpg 6:4).
    Wpg,
    /// `wjsg39j.csv`: disclosures of prosecution data (Wjsg 39j).
    Wjsg39j,
    /// `register-art30.csv` and `.html`: the register of processing activities per flow (AVG 30).
    Register,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 6] = [Self::Ldv, Self::Adl, Self::Fsc, Self::Wpg, Self::Wjsg39j, Self::Register];

    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ldv => "ldv",
            Self::Adl => "adl",
            Self::Fsc => "fsc",
            Self::Wpg => "wpg",
            Self::Wjsg39j => "wjsg39j",
            Self::Register => "register-art30",
        }
    }

    /// The files it makes.
    pub const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Ldv => &["ldv.jsonl"],
            Self::Adl => &["adl.jsonl"],
            Self::Fsc => &["fsc.jsonl"],
            Self::Wpg => &["wpg.csv"],
            Self::Wjsg39j => &["wjsg39j.csv"],
            Self::Register => &["register-art30.csv", "register-art30.html"],
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for View {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|view| view.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("{text:?} is no view: {names}")
        })
    }
}

/// Why there are no views.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    /// The bundle does not verify.
    #[error("the bundle is not good ({}): {}", .0.code, .0.text)]
    NotGood(Failure),
    /// The bundle verifies and does not read: it is of another version.
    #[error("the bundle is good and cannot be read: {0}; use the version of the software that made it")]
    Unread(String),
    /// Something is at a place where a view goes.
    #[error("{} is there already; name another folder", .0.display())]
    Taken(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {error}", place.display())]
    Io {
        /// Which file.
        place: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

fn io_at(place: &Path) -> impl FnOnce(io::Error) -> ViewsError {
    |error| ViewsError::Io { place: place.to_path_buf(), error }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What the bundle shows.
    pub good: Good,
    /// The files, and how many records each holds.
    pub files: Vec<(&'static str, u64)>,
    /// Entries whose covenant is not in the bundle: they are in no list that asks for the sender's role.
    pub without_covenant: u64,
}

/// One entry, with the bytes that are its leaf.
pub(crate) struct Leaf<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) hash: Digest,
}

impl<'a> Leaf<'a> {
    fn new(entry: &'a Entry, bytes: &[u8]) -> Self {
        Self { entry, hash: Digest(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()) }
    }

    /// The span of this entry.
    pub(crate) fn span(&self) -> [u8; 8] {
        operation::entry_span(&self.hash)
    }

    /// The trace of the message the entry is about; one of its own when no trace is known.
    pub(crate) fn trace(&self, book: &Book) -> [u8; 16] {
        let known = self.entry.packet.and_then(|packet| book.trace(&packet));
        self.entry.trace.or(known).map_or_else(|| operation::entry_trace(&self.hash), |trace| trace.0)
    }
}

/// What a view does with the entries: it is shown each of them once, in the order of the log.
trait Draw {
    /// Takes an entry; how many records that makes.
    fn entry(&mut self, leaf: &Leaf<'_>, book: &Book, out: &mut dyn Write) -> io::Result<u64>;

    /// What stands before the records.
    fn head(&self) -> &'static str {
        ""
    }
}

/// Verifies a bundle and writes views of it into a folder, which is made if it is not there.
///
/// # Errors
/// [`ViewsError`]. Nothing is written for a bundle that is not good, and what was begun is removed.
pub fn write(bundle: &Path, key: &Key, out: &Path, views: &[View]) -> Result<Made, ViewsError> {
    // One handle for checking and for reading: what is read is the file that was checked.
    let mut file = File::open(bundle).map_err(io_at(bundle))?;
    let good = match verify(&mut file, key, None).map_err(io_at(bundle))? {
        Verdict::Good(good) => good,
        Verdict::Bad(failure) => return Err(ViewsError::NotGood(failure)),
    };
    let mut source = read::Source::open(file, &good)?;
    let mut book = Book::new(source.covenants()?);
    source.entries(|entry, _| {
        book.note(entry);
        Ok(())
    })?;
    let names: Vec<&str> = views.iter().flat_map(|view| view.files()).copied().collect();
    if let Some(taken) = names.iter().map(|name| out.join(name)).find(|place| place.exists()) {
        return Err(ViewsError::Taken(taken));
    }
    fs::create_dir_all(out).map_err(io_at(out))?;
    let made = draw(&mut source, &book, out, views);
    match made {
        Ok(files) => Ok(Made { files, without_covenant: book.without_covenant, good }),
        Err(error) => {
            // What is half is worse than nothing; the first error is the one to tell.
            for name in names {
                _ = fs::remove_file(out.join(name));
            }
            Err(error)
        }
    }
}

fn create(place: &Path) -> Result<BufWriter<File>, ViewsError> {
    let file = OpenOptions::new().write(true).create_new(true).open(place).map_err(io_at(place))?;
    Ok(BufWriter::new(file))
}

/// A view that is being drawn.
struct Drawing {
    name: &'static str,
    place: PathBuf,
    view: Box<dyn Draw>,
    file: BufWriter<File>,
    count: u64,
}

fn draw(
    source: &mut read::Source,
    book: &Book,
    out: &Path,
    views: &[View],
) -> Result<Vec<(&'static str, u64)>, ViewsError> {
    let mut drawn: Vec<Drawing> = Vec::new();
    for view in views {
        let (&[name] | &[name, ..]) = view.files() else { continue };
        let place = out.join(name);
        let drawer: Box<dyn Draw> = match view {
            View::Ldv => Box::new(ldv::Ldv::new(&source.origin)),
            View::Adl => Box::new(adl::Adl::new(&source.origin)),
            View::Fsc => Box::new(fsc::Fsc),
            View::Wpg => Box::new(police::Disclosures::of_police()),
            View::Wjsg39j => Box::new(police::Disclosures::of_prosecution()),
            View::Register => continue,
        };
        let mut file = create(&place)?;
        file.write_all(drawer.head().as_bytes()).map_err(io_at(&place))?;
        drawn.push(Drawing { name, place, view: drawer, file, count: 0 });
    }
    source.entries(|entry, bytes| {
        let leaf = Leaf::new(entry, bytes);
        for drawing in &mut drawn {
            let made = drawing.view.entry(&leaf, book, &mut drawing.file).map_err(io_at(&drawing.place))?;
            drawing.count = drawing.count.saturating_add(made);
        }
        Ok(())
    })?;
    let mut made = Vec::new();
    for Drawing { name, place, file, count, .. } in drawn {
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(io_at(&place))?;
        made.push((name, count));
    }
    if views.contains(&View::Register) {
        for (name, text) in View::Register.files().iter().zip([register::csv(book), register::html(book)]) {
            let place = out.join(name);
            let mut file = create(&place)?;
            file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(io_at(&place))?;
            made.push((name, register::count(book)));
        }
    }
    Ok(made)
}
