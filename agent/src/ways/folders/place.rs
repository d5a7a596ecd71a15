//! The folders that files go to once they are taken, and what they are called there.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::{Lang, Text};

use super::watch::{Found, Stamp};

/// Most bytes of a file's name without its ending, so that there is room for what is put beside it.
const STEM_MAX: usize = 160;

/// What is put beside a file.
const BESIDE: [&str; 4] = ["receipt.json", "receipt.csv", "uitleg.txt", "origineel.csv"];

/// What is written to try whether something can be.
const TRIAL: &str = ".seinhuis.tmp";

/// A watched folder with the two it has in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) sent: PathBuf,
    pub(super) refused: PathBuf,
}

/// What a file is called: its stem, and its ending in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) stem: String,
    pub(super) ending: String,
}

/// A file of the folder that was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked<'a> {
    pub(super) path: &'a Path,
    /// What it is called where it goes.
    pub(super) name: &'a Name,
    pub(super) seen: Seen<'a>,
}

/// What was seen of a file, to tell whether it still is the one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'a> {
    /// What is in it. The same content is the same message, whichever file it is in.
    Bytes(&'a [u8]),
    /// How it looks from outside, where what is in it did not matter.
    Outside(&'a Found),
}

impl Seen<'_> {
    /// Whether this file is the one.
    fn is(self, path: &Path) -> bool {
        let same = match self {
            Self::Bytes(bytes) => files::read_itself(path, bytes.len()).map(|now| now == bytes),
            Self::Outside(found) => fs::symlink_metadata(path)
                .map(|meta| Stamp::of(&meta) == found.stamp && meta.file_type() == found.kind),
        };
        // One that was tidied away at once is not missed.
        same.unwrap_or_else(|error| error.kind() == ErrorKind::NotFound)
    }
}

impl Name {
    /// A name that can be written anywhere: UTF-8 without control characters, of bounded length.
    pub(super) fn of(name: &OsStr) -> Self {
        let path = Path::new(name);
        let plain = |part: Option<&OsStr>| {
            let text = part.unwrap_or_default().to_string_lossy().into_owned();
            text.replace(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER, "_")
        };
        let mut stem = plain(path.file_stem());
        while stem.len() > STEM_MAX {
            stem.pop();
        }
        // What others call a receipt is none.
        if let Some(own) = stem.strip_suffix(".receipt") {
            stem = format!("{own}_receipt");
        }
        let ending = plain(path.extension()).to_lowercase().chars().take(16).collect();
        Self { stem, ending }
    }

    pub(super) fn file(&self) -> String {
        if self.ending.is_empty() { self.stem.clone() } else { format!("{}.{}", self.stem, self.ending) }
    }

    pub(super) fn beside(&self, ending: &str) -> String {
        format!("{}.{ending}", self.stem)
    }

    /// The same name as long as `free`, else with a number, and after a few of those with the time.
    pub(super) fn free(&self, mut free: impl FnMut(&Self) -> io::Result<bool>) -> io::Result<Self> {
        let now = clock::now().0;
        let numbered = (2..10).map(|number| format!("-{number}"));
        let timed = (0..u32::MAX).map(|number| format!("-{now}-{number}"));
        for suffix in std::iter::once(String::new()).chain(numbered).chain(timed) {
            let name = Self { stem: format!("{}{suffix}", self.stem), ending: self.ending.clone() };
            if free(&name)? {
                return Ok(name);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Whether nothing in `dir` has this name or is beside a file of this name.
    pub(super) fn is_free(&self, dir: &Path) -> io::Result<bool> {
        for name in BESIDE.iter().map(|ending| self.beside(ending)).chain([self.file()]) {
            if exists(&dir.join(name))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether there is anything at this path, be it a link.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A full path without `..`, by what is written alone.
pub(super) fn as_named(path: &Path) -> PathBuf {
    parts(path, |_| None)
}

/// Where a path leads: without links and `..`, as far as there is anything on it. A folder may be on a drive that is away.
pub(super) fn leads_to(path: &Path) -> PathBuf {
    parts(path, |at| fs::canonicalize(at).ok())
}

fn parts(path: &Path, real: impl Fn(&Path) -> Option<PathBuf>) -> PathBuf {
    // Without a working directory there is nothing that a relative path leads to.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut at = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            at.pop();
        } else {
            at.push(part);
            at = real(&at).unwrap_or(at);
        }
    }
    at
}

/// That a folder is one itself, and not a link that somebody put in its place: whoever leaves files beside it can.
pub(super) fn is_itself(dir: &Path) -> Result<(), Complaint> {
    let meta = fs::symlink_metadata(dir).map_err(at(dir))?;
    if meta.is_dir() { Ok(()) } else { Err(at(dir)(ErrorKind::NotADirectory.into())) }
}

/// Makes a folder with this mode.
fn make(dir: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(dir)?;
    let made = files::open_dir_itself(dir)?;
    let found = made.metadata()?.permissions().mode() & 0o7777;
    if found & 0o777 == mode {
        return Ok(());
    }
    let set = |mode: u32| made.set_permissions(fs::Permissions::from_mode(mode));
    // The bit that hands on the group of a folder comes from the one above it. A hardened service may keep it, not set it.
    set(found & !0o777 | mode).or_else(|_| set(mode))
}

/// A complaint of a file operation that names the folder alone: names of files are of the partner's making, and what is
/// told of a folder goes to the log.
pub(super) fn at(dir: &Path) -> impl Fn(io::Error) -> Complaint {
    move |error| Complaint::io(Doing::OpenFolder, dir, &error)
}

impl Place {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), sent: dir.join("sent"), refused: dir.join("refused") }
    }

    /// Makes the two folders where they are missing. Never the watched one itself: one that is missing is a drive that
    /// is away.
    pub(super) fn ready(&self) -> Result<(), Complaint> {
        let meta = fs::metadata(&self.dir).map_err(at(&self.dir))?;
        if !meta.is_dir() {
            return Err(at(&self.dir)(ErrorKind::NotADirectory.into()));
        }
        for dir in [&self.sent, &self.refused] {
            if exists(dir).map_err(at(dir))? {
                is_itself(dir)?;
            } else {
                // Who may leave files here may fetch them again.
                make(dir, meta.permissions().mode() & 0o777).map_err(at(dir))?;
            }
        }
        Ok(())
    }

    /// Tries that a file can go where it is to go, so that nothing is handed over that then has to stay.
    pub(super) fn probe(&self) -> Result<(), Complaint> {
        let here = self.dir.join(TRIAL);
        files::write_private(&here, b"", Existing::Replace).map_err(|_| cannot_write(&self.dir))?;
        for dir in [&self.sent, &self.refused] {
            let there = dir.join(TRIAL);
            fs::rename(&here, &there).and_then(|()| fs::rename(&there, &here)).map_err(at(dir))?;
            // On a full disk a file can be moved, but nothing can be put beside it.
            try_out(dir)?;
        }
        fs::remove_file(&here).map_err(at(&self.dir))
    }

    /// Removes what was left of files that were being written.
    pub(super) fn clear(&self) -> Result<(), Complaint> {
        for dir in [&self.dir, &self.sent, &self.refused] {
            files::clear_temporaries(dir).map_err(at(dir))?;
        }
        Ok(())
    }

    /// Moves a file out of this folder. Who left it may have put another in its place since it was looked at: that one
    /// stays, to be taken next. Whether it was the one.
    pub(super) fn take_away(&self, from: &Path, to: &Path, seen: Seen<'_>) -> io::Result<bool> {
        match files::move_new(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound && !exists(from)? => return Ok(false),
            moved => moved?,
        }
        if seen.is(to) {
            return Ok(true);
        }
        self.put_back(to, from).map(|()| false)
    }

    fn put_back(&self, moved: &Path, from: &Path) -> io::Result<()> {
        let taken = |error: &io::Error| error.kind() == ErrorKind::AlreadyExists;
        match files::move_new(moved, from) {
            Err(error) if taken(&error) => {}
            back => return back,
        }
        // A third was put there meanwhile; both are to be taken.
        let name = Name::of(from.file_name().unwrap_or_default());
        let back = name.free(|name| match files::move_new(moved, &self.dir.join(name.file())) {
            Err(error) if taken(&error) => Ok(false),
            back => back.map(|()| true),
        });
        back.map(|_| ())
    }

    /// Puts a file that is refused where it is out of the way, with why beside it. Whether it was still there.
    pub(super) fn refuse(&self, file: Looked<'_>, why: &Complaint) -> Result<bool, Complaint> {
        is_itself(&self.refused)?;
        let free = file.name.free(|name| name.is_free(&self.refused));
        let name = free.map_err(at(&self.refused))?;
        explained(&self.refused, &name, why, || {
            self.take_away(file.path, &self.refused.join(name.file()), file.seen)
        })
    }
}

/// Tries that a file can be put in a folder.
pub(super) fn try_out(dir: &Path) -> Result<(), Complaint> {
    let path = dir.join(TRIAL);
    files::write_private(&path, b"x", Existing::Replace).map_err(|_| cannot_write(dir))?;
    fs::remove_file(&path).map_err(at(dir))
}

/// Moves a file to where it is called `name`, with why beside it. Whether it was moved.
///
/// First comes the explanation: a file that is gone from its folder without one is a riddle. Of a file that stays where it
/// is, nothing is told, or each look would tell it again.
pub(super) fn explained(
    dir: &Path,
    name: &Name,
    why: &Complaint,
    moving: impl FnOnce() -> io::Result<bool>,
) -> Result<bool, Complaint> {
    let told = dir.join(name.beside("uitleg.txt"));
    explain(&told, &name.file(), why)?;
    let moved = moving();
    if !matches!(moved, Ok(true)) {
        fs::remove_file(&told).map_err(at(dir))?;
    }
    moved.map_err(at(dir))
}

/// Writes why a file was refused, in both languages.
fn explain(path: &Path, file: &str, why: &Complaint) -> Result<(), Complaint> {
    let text = format!("{file}\n\nNederlands\n{}\n\nEnglish\n{}\n", why.show(Lang::Nl), why.show(Lang::En));
    files::write_shared(path, text.as_bytes(), Existing::Replace)
        .map_err(|_| cannot_write(&files::parent(path)))
}

/// That something could not be put in a folder.
pub(super) fn cannot_write(dir: &Path) -> Complaint {
    let dir = dir.display();
    Complaint::usage(
        Text::new(format!("In {dir} is niet te schrijven."), format!("Nothing can be written in {dir}.")),
        Text::new(
            "Controleer rechten en ruimte van de map; de agent gaat vanzelf verder.",
            "Check the permissions and the room of the folder; the agent goes on by itself.",
        ),
    )
}

/// That a file could not be added to in a folder.
pub(super) fn cannot_add(dir: &Path, error: &io::Error) -> Complaint {
    if error.kind() != ErrorKind::InvalidInput {
        return cannot_write(dir);
    }
    let dir = dir.display();
    Complaint::usage(
        Text::new(
            format!("In {dir} is een bestand dat de agent aan het schrijven was door iets anders vervangen."),
            format!("In {dir} a file that the agent was writing was replaced by something else."),
        ),
        Text::new(
            "Haal weg wat er niet van de agent zelf is; de agent gaat vanzelf verder.",
            "Take away what is not the agent's own; the agent goes on by itself.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use proptest::prelude::*;

    use super::*;

    fn looked<'a>(path: &'a Path, name: &'a Name, bytes: &'a [u8]) -> Looked<'a> {
        Looked { path, name, seen: Seen::Bytes(bytes) }
    }

    #[test]
    fn a_file_that_was_replaced_since_it_was_read_stays_to_be_taken_next() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        place.ready().unwrap();
        let [from, other, to] = ["a.json", "a-2.json", "sent/a.json"].map(|name| dir.path().join(name));
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        fs::write(&from, "new").unwrap();
        assert!(!place.take_away(&from, &to, Seen::Bytes(b"old")).unwrap());
        assert!(!place.take_away(&from, &to, Seen::Bytes(b"newer")).unwrap());
        let meta = fs::symlink_metadata(&from).unwrap();
        let found = Found { name: "a.json".into(), stamp: Stamp::default(), kind: meta.file_type() };
        assert!(!place.take_away(&from, &to, Seen::Outside(&found)).unwrap());
        let why = Complaint::usage(Text::same("wrong"), Text::same("so"));
        let name = Name::of(OsStr::new("a.json"));
        assert!(!place.refuse(looked(&from, &name, b"old"), &why).unwrap());
        assert_eq!(text(&from), "new");
        assert!(
            !to.exists() && fs::read_dir(&place.refused).unwrap().next().is_none(),
            "nothing is told of it"
        );
        // A third that came meanwhile is not overwritten.
        fs::write(&to, "second").unwrap();
        place.put_back(&to, &from).unwrap();
        assert_eq!((text(&from), text(&other)), ("new".into(), "second".into()));
        let found = Found { stamp: Stamp::of(&meta), ..found };
        assert!(place.take_away(&from, &to, Seen::Outside(&found)).unwrap());
        assert!(place.take_away(&other, &dir.path().join("sent/b"), Seen::Bytes(b"second")).unwrap());
        assert!(!place.take_away(&from, &dir.path().join("sent/c"), Seen::Bytes(b"new")).unwrap(), "gone");
        fs::write(&from, "x").unwrap();
        assert!(place.take_away(&from, &dir.path().join("none/c"), Seen::Bytes(b"x")).is_err());
    }

    #[test]
    fn names_are_made_writable() {
        let file = |name: &[u8]| Name::of(OsStr::from_bytes(name)).file();
        assert_eq!(file(b"Signaal 1.JSON"), "Signaal 1.json");
        assert_eq!(file(b"a\xff\n.json"), "a__.json");
        assert_eq!(file(b"x.receipt.json"), "x_receipt.json");
        assert_eq!(file(b"zonder"), "zonder");
        assert!(file(&[b'a'; 255]).len() <= STEM_MAX);
    }

    proptest! {
        #[test]
        fn any_name_becomes_one_that_can_be_written(bytes in prop::collection::vec(any::<u8>(), 1..255)) {
            let name = Name::of(OsStr::from_bytes(&bytes));
            prop_assert!(name.beside("receipt.json").len() <= 240 && name.file().len() <= 240);
            prop_assert!(!name.file().contains(['\n', '\0']));
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let name = Name::of(OsStr::new("a.json"));
        let mut names = Vec::new();
        for _ in 0..12 {
            let free = name.free(|name| name.is_free(dir.path())).unwrap();
            fs::write(dir.path().join(free.beside("receipt.json")), "x").unwrap();
            names.push(free.file());
        }
        assert_eq!(names[..3], ["a.json", "a-2.json", "a-3.json"]);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 12);
    }

    #[test]
    fn a_refused_file_goes_aside_with_an_explanation_in_both_languages() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        place.ready().unwrap();
        place.probe().unwrap();
        let why = Complaint::usage(Text::new("Fout hier.", "Wrong here."), Text::new("Doe dit.", "Do this."));
        let name = Name::of(OsStr::new("a.json"));
        for _ in 0..2 {
            let from = dir.path().join("a.json");
            fs::write(&from, "{}").unwrap();
            assert!(place.refuse(looked(&from, &name, b"{}"), &why).unwrap());
            assert!(!from.exists());
        }
        let told = fs::read_to_string(dir.path().join("refused/a-2.uitleg.txt")).unwrap();
        for words in ["a-2.json", "Fout hier.", "Doe dit.", "Wrong here.", "Do this."] {
            assert!(told.contains(words), "{told}");
        }
        assert!(dir.path().join("refused/a-2.json").exists());
    }

    #[test]
    fn a_file_that_cannot_be_moved_is_not_explained_again_at_every_look() {
        let dir = tempfile::tempdir().unwrap();
        let name = Name::of(OsStr::new("a.json"));
        let why = Complaint::usage(Text::same("wrong"), Text::same("so"));
        let told = dir.path().join("a.uitleg.txt");
        let moving = || {
            assert!(told.exists(), "nothing is moved before it is explained");
            Err(ErrorKind::PermissionDenied.into())
        };
        assert!(explained(dir.path(), &name, &why, moving).is_err());
        assert!(!told.exists());
        assert!(explained(dir.path(), &name, &why, || Ok(true)).unwrap() && told.exists());
    }

    #[test]
    fn a_path_leads_where_its_links_lead() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(real.join("a/b")).unwrap();
        std::os::unix::fs::symlink("a/b", real.join("link")).unwrap();
        let all =
            [("a/b", "a/b"), ("link", "a/b"), ("link/../c", "a/c"), ("none/../a/x", "a/x"), ("no/x", "no/x")];
        for (path, leads) in all {
            assert_eq!(leads_to(&real.join(path)), real.join(leads), "{path}");
        }
        assert_eq!(as_named(&real.join("link/../c")), real.join("c"));
        assert_eq!(leads_to(Path::new("none")), std::env::current_dir().unwrap().join("none"));
    }

    #[test]
    fn the_folders_are_for_whom_the_watched_one_is_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2770)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let watched = mode(dir.path());
        let place = Place::new(dir.path());
        place.ready().unwrap();
        assert_eq!((mode(&place.sent), mode(&place.refused)), (watched, watched));
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_seen_right_before_it_is_used() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = Place::new(dir.path());
        place.ready().unwrap();
        let from = dir.path().join("a.json");
        fs::write(&from, "{}").unwrap();
        fs::remove_dir(&place.refused).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &place.refused).unwrap();
        let why = Complaint::usage(Text::same("wrong"), Text::same("so"));
        let name = Name::of(OsStr::new("a.json"));
        assert!(place.refuse(looked(&from, &name, b"{}"), &why).is_err());
        assert!(from.exists() && fs::read_dir(elsewhere.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let away = dir.path().join("away");
        assert!(Place::new(&away).ready().unwrap_err().what.en.contains("away"));
        assert!(!away.exists(), "a drive that is away is not made");
        let place = Place::new(dir.path());
        std::os::unix::fs::symlink("/", dir.path().join("sent")).unwrap();
        assert!(place.ready().unwrap_err().what.en.contains("sent"), "a link is not followed");
        fs::remove_file(dir.path().join("sent")).unwrap();
        place.ready().unwrap();
        fs::remove_dir(dir.path().join("refused")).unwrap();
        assert!(place.probe().is_err(), "what cannot be put aside");
        place.ready().unwrap();
        fs::set_permissions(dir.path().join("sent"), fs::Permissions::from_mode(0o500)).unwrap();
        // The superuser writes everywhere.
        let super_user = fs::write(dir.path().join("sent/x"), "").is_ok();
        assert_eq!(place.probe().is_ok(), super_user);
    }
}
