//! CSV files: each row a signal, as a mapping file says.
//!
//! A file moves to `sent` before its first row is handed over, so that nobody changes it meanwhile. How far it is, is on
//! stable storage after every few rows; what was done since then is done again after a restart, which sends nothing
//! twice, because the id of a row's message follows from the file and the line, or from the row's own number.

mod decode;
mod follow;
mod rows;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};

use self::decode::{Reader, begin};
use super::place::{Looked, Name, Place, Seen, at, cannot_write, exists};
use super::taking::{Taken, not_readable, open};
use super::watch::{Found, Stamp};
use crate::config::Folder;
use crate::ways::rows::mapping::{Encoding, Mapping};
use crate::ways::rows::{Addressed, cells};

/// Most bytes of a CSV file.
const FILE_MAX: u64 = 4 << 30;
/// Most bytes of what is kept about files under way.
const STATE_MAX: usize = 1 << 20;
/// How much of a file is looked at to see how it begins, and most bytes of its header.
const BEGIN: u64 = 64 * 1024;

/// The CSV files of a folder.
#[derive(Debug)]
pub(super) struct Csv {
    way: String,
    mapping: Mapping,
    /// What the folder says of rows where the mapping says nothing.
    otherwise: Addressed,
    kept: PathBuf,
    state: Option<State>,
    /// When receipts are next completed.
    follow_at: Option<Instant>,
}

/// What is kept over a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    job: Option<Job>,
    /// The files with rows that have no verdict yet, by what they are called in `sent`.
    following: BTreeSet<String>,
}

/// A file that is being handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    /// What it is called in `sent`.
    stem: String,
    stamp: Stamp,
    /// The hash of its bytes, hexadecimal.
    hash: String,
    header: Vec<String>,
    separator: u8,
    /// Whether it says itself that it is UTF-8.
    #[serde(default)]
    marked: bool,
    /// Where the next row begins, and on which line.
    at: u64,
    line: u64,
    accepted: u64,
    refused: u64,
    /// How long the files beside it are.
    receipts: u64,
    rows: u64,
    told: u64,
}

impl Csv {
    /// Reads the mapping, if the folder has one.
    pub(super) fn load(folder: &Folder, home: &Path) -> Result<Option<Self>, Complaint> {
        if folder.mapping.as_os_str().is_empty() || folder.watched().is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            way: folder.name.clone(),
            mapping: Mapping::load(&home.join(&folder.mapping))?,
            otherwise: folder.defaults().addressed(),
            kept: home.join("folders").join(format!("{}.rows.json", folder.name)),
            state: None,
            follow_at: None,
        }))
    }

    /// Reads what is under way, once.
    pub(super) fn restore(&mut self, place: &Place) -> Result<(), Complaint> {
        if self.state.is_some() {
            return Ok(());
        }
        let mut state = State::default();
        if exists(&self.kept).map_err(at(&files::parent(&self.kept)))? {
            match serde_json::from_slice(&files::read(&self.kept, STATE_MAX)?) {
                Ok(kept) => state = kept,
                Err(_) => return Err(self.begin_anew()?),
            }
        }
        // One that was not moved yet is found again where it was.
        if let Some(job) = &state.job
            && job.accepted.saturating_add(job.refused) == 0
            && !exists(&place.sent.join(job.file())).map_err(at(&place.sent))?
        {
            state.job = None;
        }
        self.state = Some(state);
        Ok(())
    }

    /// Puts aside what is kept and does not read, and begins without: what to tell of that.
    fn begin_anew(&mut self) -> Result<Complaint, Complaint> {
        let aside = self.kept.with_extension(format!("{}.unreadable", clock::now().0));
        files::move_new(&self.kept, &aside).map_err(at(&files::parent(&self.kept)))?;
        self.state = Some(State::default());
        Ok(unreadable(&aside))
    }

    /// Whether a file is under way, as far as is known.
    pub(super) fn is_busy(&self) -> bool {
        self.state.as_ref().is_none_or(|state| state.job.is_some())
    }

    fn keep(&self) -> Result<(), Complaint> {
        let Some(state) = &self.state else { return Ok(()) };
        let bytes = serde_json::to_vec(state).map_err(|error| Complaint::bug(error.to_string()))?;
        files::make_private_dir(&files::parent(&self.kept))?;
        files::write_private(&self.kept, &bytes, Existing::Replace)
    }

    /// Begins with a file: reads how it begins, and moves it to `sent`; or puts it aside.
    pub(super) fn begin(&mut self, place: &Place, path: &Path, found: &Found) -> Result<Taken, Complaint> {
        let (fail, name) = (at(&place.dir), Name::of(&found.name));
        let seen = Seen::Outside(found);
        let refuse =
            |why: &Complaint| place.refuse(Looked { path, name: &name, seen }, why).map(Taken::refused);
        if found.stamp.size() > FILE_MAX {
            return refuse(&too_large());
        }
        let file = match open(path, found.stamp) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Taken::Later),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return refuse(&not_readable()),
            Err(error) => return Err(fail(error)),
        };
        let hash = hash(&file).map_err(&fail)?;
        let job = match look(&self.mapping, &mut &file, (found.stamp, hash)).map_err(&fail)? {
            Ok(job) => job,
            Err(why) => return refuse(&why),
        };
        if Stamp::of(&file.metadata().map_err(&fail)?) != found.stamp {
            return Ok(Taken::Later);
        }
        let name = name
            .free(|name| Ok(name.is_free(&place.sent)? && name.is_free(&place.refused)?))
            .map_err(at(&place.sent))?;
        self.state.get_or_insert_default().job = Some(Job { stem: name.stem.clone(), ..job });
        self.keep()?;
        let moved = place.take_away(path, &place.sent.join(name.file()), seen);
        if !matches!(moved, Ok(true)) {
            self.state.get_or_insert_default().job = None;
            self.keep()?;
        }
        let taken = |there: bool| if there { Taken::Sent } else { Taken::Later };
        moved.map(taken).map_err(|_| cannot_write(&place.sent))
    }
}

/// How a file begins; or why none of it can be handed over.
fn look(
    mapping: &Mapping,
    file: &mut (impl Read + Seek),
    (stamp, hash): (Stamp, String),
) -> io::Result<Result<Job, Complaint>> {
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(BEGIN).read_to_end(&mut first)?;
    let Some(begin) = begin(&first, mapping.separator()) else { return Ok(Err(utf16())) };
    let at = u64::try_from(begin.at).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(at))?;
    // What is longer is no header: it is kept while the file is under way.
    let file = file.take(BEGIN.saturating_add(1));
    let mut reader = Reader::resumed(BufReader::new(file), begin.separator, at, begin.line);
    let Some(row) = reader.next()? else { return Ok(Err(no_header(""))) };
    if reader.place().0.saturating_sub(at) > BEGIN {
        return Ok(Err(bad_header()));
    }
    let encoding = encoding(mapping, begin.marked);
    let read = |bytes: &Vec<u8>| cells::text(bytes, encoding).ok();
    let cells = row.cells.ok().and_then(|cells| cells.iter().map(read).collect::<Option<Vec<_>>>());
    let Some(header) = cells else { return Ok(Err(bad_header())) };
    let header: Vec<String> = header.into_iter().map(|cell| cell.trim().to_owned()).collect();
    for column in mapping.columns() {
        if header.iter().filter(|cell| cell.as_str() == column).count() != 1 {
            return Ok(Err(no_header(column)));
        }
    }
    let (at, line) = reader.place();
    Ok(Ok(Job {
        stem: String::new(),
        stamp,
        hash,
        header,
        separator: begin.separator,
        marked: begin.marked,
        at,
        line,
        accepted: 0,
        refused: 0,
        receipts: 0,
        rows: 0,
        told: 0,
    }))
}

/// A row: its line, and its body or why it is refused.
pub(crate) type Body = (u64, Result<Vec<u8>, Text>);

/// Reads a CSV text by a mapping, as a folder does.
///
/// # Errors
/// What is wrong with the mapping, or with the text as a whole.
pub fn bodies(mapping: &str, text: &[u8]) -> Result<Vec<Body>, Complaint> {
    let mapping = Mapping::parse("mapping.toml", mapping)?;
    let bug = |error: io::Error| Complaint::bug(error.to_string());
    let begun = look(&mapping, &mut Cursor::new(text), (Stamp::default(), String::new())).map_err(bug)?;
    let job = begun?;
    let rest = usize::try_from(job.at).ok().and_then(|at| text.get(at..)).unwrap_or_default();
    let mut reader = Reader::resumed(rest, job.separator, job.at, job.line);
    let mut bodies = Vec::new();
    while let Some(row) = reader.next().map_err(bug)? {
        bodies.push((row.line, rows::body(&mapping, &job, &row)));
    }
    Ok(bodies)
}

/// How the bytes of a file are to be read. What it says itself goes before what is expected of it: what comes back with
/// refused rows is UTF-8, however the file came.
const fn encoding(mapping: &Mapping, marked: bool) -> Encoding {
    if marked { Encoding::Utf8 } else { mapping.encoding }
}

impl Job {
    fn file(&self) -> String {
        format!("{}.csv", self.stem)
    }
}

/// The hash of a file of any size.
fn hash(mut file: &File) -> io::Result<String> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(HEXLOWER.encode(context.finish().as_ref()));
        }
        context.update(buffer.get(..read).unwrap_or_default());
    }
}

/// What is told when nobody knows any more which file was under way.
fn unreadable(aside: &Path) -> Complaint {
    let aside = aside.display();
    Complaint::usage(
        Text::new(
            format!(
                "Het was niet te lezen hoe ver de CSV-bestanden waren; wat daarvan was bewaard, staat nu in {aside}."
            ),
            format!("How far the CSV files were could not be read; what was kept of that is now {aside}."),
        ),
        Text::new(
            "Zet een bestand in sent dat meer rijen heeft dan zijn receipt.csv opnieuw in de map; met een eigen nummer (id) of ongewijzigd gaat geen rij dubbel weg.",
            "Put a file in sent that has more rows than its receipt.csv in the folder again; with a number of its own (id), or unchanged, no row is sent twice.",
        ),
    )
}

fn too_large() -> Complaint {
    let gib = FILE_MAX >> 30;
    Complaint::usage(
        Text::new(
            format!("Het bestand is groter dan {gib} GiB."),
            format!("The file is larger than {gib} GiB."),
        ),
        Text::new("Verdeel het over meer bestanden.", "Divide it over more files."),
    )
}

fn utf16() -> Complaint {
    Complaint::usage(
        Text::new("Het bestand is UTF-16 (\"Unicode-tekst\").", "The file is UTF-16 (\"Unicode text\")."),
        Text::new("Bewaar het als \"CSV UTF-8\".", "Save it as \"CSV UTF-8\"."),
    )
}

fn bad_header() -> Complaint {
    Complaint::usage(
        Text::new(
            "De kopregel (regel 1) is niet te lezen: de tekens passen niet bij de codering, een aanhalingsteken is niet gesloten, of hij is langer dan 64 KiB.",
            "The header (line 1) cannot be read: its characters do not fit the encoding, a quote is not closed, or it is longer than 64 KiB.",
        ),
        Text::new(
            "Bewaar als \"CSV UTF-8\", of zet encoding = \"windows-1252\" in de mapping.",
            "Save as \"CSV UTF-8\", or set encoding = \"windows-1252\" in the mapping.",
        ),
    )
}

fn no_header(column: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De kopregel (regel 1) heeft niet precies één kolom {column:?}."),
            format!("The header (line 1) does not have exactly one column {column:?}."),
        ),
        Text::new(
            "Maak de kopregel gelijk aan de kolommen in de mapping, of pas de mapping aan en start de agent opnieuw.",
            "Make the header the same as the columns in the mapping, or change the mapping and start the agent anew.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MAPPING: &str = include_str!("../../../../../covenants/samples/csv/02-F02-politie.mapping.toml");

    fn begun(text: &[u8]) -> Result<Job, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        fs::write(&path, text).unwrap();
        let file = File::open(&path).unwrap();
        let mapping = Mapping::parse("m.toml", MAPPING).unwrap();
        let begun = look(&mapping, &mut &file, (Stamp::default(), hash(&file).unwrap()));
        begun.unwrap().map_err(|why| why.what.en)
    }

    #[test]
    fn a_file_that_cannot_be_read_by_its_header_is_refused_whole() {
        let sample = include_bytes!("../../../../../covenants/samples/csv/02-F02-politie.csv");
        let job = begun(sample).unwrap();
        assert_eq!((job.separator, job.line, job.header[0].as_str()), (b';', 2, "Kenmerk"));
        assert_eq!(job.hash.len(), 64);
        let text = String::from_utf8(sample.to_vec()).unwrap();
        assert!(begun(text.replace("Wijk", "Buurt").as_bytes()).unwrap_err().contains("\"Wijk\""));
        assert!(begun(text.replace("Plek", "Wijk").as_bytes()).unwrap_err().contains("exactly one"));
        assert!(job.marked && !begun(&sample[3..]).unwrap().marked);
        assert!(begun(b"").unwrap_err().contains("header"));
        assert!(begun(b"\xff\xfea").unwrap_err().contains("UTF-16"));
        assert!(begun(b"caf\xe9;b\n").unwrap_err().contains("header"));
        assert!(begun(b"\"a;b\n").unwrap_err().contains("header"));
    }
    #[test]
    fn what_is_kept_and_does_not_read_is_told_and_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        let mut csv = Csv {
            way: "a".into(),
            mapping: Mapping::parse("m.toml", MAPPING).unwrap(),
            otherwise: Addressed::default(),
            kept: dir.path().join("a.rows.json"),
            state: None,
            follow_at: None,
        };
        assert!(csv.is_busy(), "nobody knows yet");
        fs::write(&csv.kept, "{\"job\": half").unwrap();
        let told = csv.restore(&place).unwrap_err();
        assert!(told.what.en.contains(".unreadable") && !csv.kept.exists(), "{told}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "it is still there");
        csv.restore(&place).unwrap();
        assert!(!csv.is_busy());
        // What cannot be looked at is not taken for what is not there.
        fs::write(dir.path().join("file"), "").unwrap();
        (csv.state, csv.kept) = (None, dir.path().join("file/a.rows.json"));
        assert!(csv.restore(&place).is_err() && csv.is_busy());
    }

    #[test]
    fn a_header_is_bounded() {
        let long = |more: usize| begun(&[vec![b'x'; more], b"\n1;2\n".to_vec()].concat()).unwrap_err();
        assert!(long(64 * 1024).contains("longer than"));
        assert!(!long(64 * 1024 - 1).contains("longer than"));
    }

    #[test]
    fn a_header_that_says_it_is_utf_8_is_read_so() {
        let mut mapping = Mapping::parse("m.toml", MAPPING).unwrap();
        mapping.encoding = Encoding::Windows1252;
        let sample = include_str!("../../../../../covenants/samples/csv/02-F02-politie.csv");
        let mut text = Cursor::new(sample.replacen("Kenmerk", "Kenmerk;Café", 1).into_bytes());
        let job = look(&mapping, &mut text, (Stamp::default(), String::new())).unwrap().unwrap();
        assert_eq!(job.header[1], "Café");
    }
}
