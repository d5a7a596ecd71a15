//! What a source keeps over a restart: how far it is, which rows were refused and why, and what an operator asked for.
//!
//! How far it is, is written after the rows that it covers are on stable storage, in the outbox or among those refused. What
//! was done since is done again, which sends nothing twice, because the id of a row's message follows from the row's id.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::query::Place;

/// Most refused rows that are kept; with more the source waits.
pub(super) const REFUSED_MAX: usize = 1000;
/// How many messages back rows with a lower mark are looked for, at most.
const LATE_ROWS_MAX: u64 = 10_000;
/// Into how many parts the time is divided in which such rows may turn up.
const PARTS: u64 = 16;
/// Most bytes of a file of these.
const FILE_MAX: usize = 8 << 20;
/// Most bytes of what an operator asked for about one row.
const WISH_MAX: usize = 4096;
/// Most of those that are looked at in one go.
const WISHES_MAX: usize = 1000;
/// Most characters of why a row was refused.
const WHY_MAX: usize = 2000;

/// How far a source is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Rows with a lower mark are settled for good; none at the very first.
    pub(super) low: Option<String>,
    /// The last row of the pass that is under way.
    pub(super) at: Option<Place>,
    /// When that pass began: what was committed since below a mark that it had gone by is not read in it.
    #[serde(default)]
    begun: Option<Timestamp>,
    /// Marks that were reached, oldest first.
    reached: VecDeque<Reached>,
    /// How many messages were made.
    pub(crate) taken: u64,
}

/// A mark that was reached at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached {
    at: Timestamp,
    taken: u64,
    mark: String,
}

impl Progress {
    /// The highest mark that was seen, as far as it is kept.
    pub(crate) fn mark(&self) -> Option<&str> {
        let at = self.at.as_ref().map(|place| place.mark.as_str());
        at.or_else(|| self.reached.back().map(|one| one.mark.as_str())).or(self.low.as_deref())
    }

    /// A pass begins, unless one is under way.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.begun.get_or_insert(now);
    }

    /// Notes that rows up to this mark were gone through, unless that was noted not long ago.
    pub(super) fn reach(&mut self, mark: &str, now: Timestamp, late: Span) {
        let soon = self.reached.back().is_some_and(|last| {
            let elapsed = now.0.saturating_sub(last.at.0);
            let few = self.taken.saturating_sub(last.taken) < LATE_ROWS_MAX / PARTS;
            last.mark == mark || (few && elapsed < late.0 / PARTS)
        });
        if !soon {
            self.reached.push_back(Reached { at: now, taken: self.taken, mark: mark.to_owned() });
        }
    }

    /// A pass went through all rows there are: the next begins where rows may still turn up.
    ///
    /// What turned up below a mark while the pass went on was read only if the pass had not gone by that mark yet. So a mark
    /// counts as old by when the pass began: then nothing may have turned up below it since.
    pub(super) fn pass(&mut self, late: Span) {
        self.at = None;
        let begun = self.begun.take().unwrap_or_default();
        while let Some(first) = self.reached.front() {
            let old = begun.0.saturating_sub(first.at.0) >= late.0;
            let far = self.taken.saturating_sub(first.taken) > LATE_ROWS_MAX;
            if !old && !far {
                break;
            }
            self.low = self.reached.pop_front().map(|first| first.mark);
        }
    }
}

/// A row that was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    /// Its mark.
    pub(crate) mark: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// By what the same row is recognised without being kept: a keyed hash.
    pub(super) print: String,
    /// Why, and what to do, in Dutch and English.
    pub(crate) what: (String, String),
    pub(crate) advice: (String, String),
    /// The number in the refusal table, when there is one.
    pub(crate) refusal: Option<u16>,
    /// Whether an operator gave it up: it is kept for as long as the query gives it.
    #[serde(default)]
    pub(crate) dropped: bool,
}

impl Refused {
    pub(super) fn new(mark: &str, print: &str, why: &Complaint, now: Timestamp) -> Self {
        let cut = |text: &str| text.chars().take(WHY_MAX).collect();
        let both = |text: &Text| (cut(&text.nl), cut(&text.en));
        Self {
            mark: mark.to_owned(),
            since: now,
            print: print.to_owned(),
            what: both(&why.what),
            advice: both(&why.advice),
            refusal: why.refusal.map(seinhuis_shared::refusal::Refusal::number),
            dropped: false,
        }
    }
}

/// Refused rows by their ids.
pub(crate) type Refusals = BTreeMap<String, Refused>;

/// What an operator asks for about a row that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// The row.
    pub(crate) id: String,
    /// To give it up, rather than to try it again.
    pub(crate) drop: bool,
}

/// The files of a source.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    dir: PathBuf,
    name: String,
}

impl Files {
    pub(crate) fn new(home: &Path, name: &str) -> Self {
        Self { dir: home.join("sql"), name: name.to_owned() }
    }

    fn progress_path(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.name))
    }

    fn refused_path(&self) -> PathBuf {
        self.dir.join(format!("{}.refused.json", self.name))
    }

    fn wishes_dir(&self) -> PathBuf {
        self.dir.join(format!("{}.wishes", self.name))
    }

    /// How far the source is.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub(crate) fn progress(&self) -> Result<Progress, Complaint> {
        Ok(read(&self.progress_path())?.unwrap_or_default())
    }

    /// The rows that were refused.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub(crate) fn refused(&self) -> Result<Refusals, Complaint> {
        Ok(read(&self.refused_path())?.unwrap_or_default())
    }

    pub(super) fn keep_progress(&self, progress: &Progress) -> Result<(), Complaint> {
        write(&self.progress_path(), progress)
    }

    pub(super) fn keep_refused(&self, refused: &Refusals) -> Result<(), Complaint> {
        write(&self.refused_path(), refused)
    }

    fn wish_path(&self, id: &str) -> PathBuf {
        // An id may be no name for a file, and is not to stand in one.
        self.wishes_dir().join(format!("{}.json", HEXLOWER.encode(&sha256(id.as_bytes()).0)))
    }

    /// Asks for something about a row; the running agent does it, or the next one that runs.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub(crate) fn wish(&self, wish: &Wish) -> Result<(), Complaint> {
        write(&self.wish_path(&wish.id), wish)
    }

    /// Whether something that was asked for about a row is still to be done.
    pub(crate) fn is_wished(&self, id: &str) -> bool {
        self.wish_path(id).exists()
    }

    /// What is asked for.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub(super) fn wishes(&self) -> Result<Vec<Wish>, Complaint> {
        let dir = self.wishes_dir();
        let fail = |error: io::Error| Complaint::io(Doing::OpenFolder, &dir, &error);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut wishes = Vec::new();
        for entry in entries.take(WISHES_MAX) {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                let wish: Option<Wish> = serde_json::from_slice(&files::read(&path, WISH_MAX)?).ok();
                match wish {
                    Some(wish) => wishes.push(wish),
                    // Nobody can do what does not read.
                    None => remove(&path)?,
                }
            }
        }
        Ok(wishes)
    }

    pub(super) fn wish_done(&self, wish: &Wish) -> Result<(), Complaint> {
        remove(&self.wish_path(&wish.id))
    }

    /// What was kept. What does not read is put aside, and told: nothing of it is known then.
    pub(super) fn restore(&self) -> Result<(Progress, Refusals, Option<Complaint>), Complaint> {
        let (progress, unread) = restored(&self.progress_path())?;
        let (refused, also) = restored(&self.refused_path())?;
        Ok((progress, refused, unread.or(also)))
    }
}

/// Gives up rows that the operator dropped and that the query gives no more: a whole pass `met` those it still gives.
pub(super) fn tidy(refused: &mut Refusals, met: &BTreeSet<String>) {
    refused.retain(|id, row| !row.dropped || met.contains(id));
}

fn remove(path: &Path) -> Result<(), Complaint> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Complaint::io(Doing::Remove, path, &error)),
        _ => Ok(()),
    }
}

/// What is in a file, if there is one.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Complaint> {
    match fs::symlink_metadata(path) {
        Ok(_) => files::read(path, FILE_MAX).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Complaint::io(Doing::Read, path, &error)),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Complaint> {
    let Some(bytes) = bytes(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| unreadable(path))
}

fn restored<T: DeserializeOwned + Default>(path: &Path) -> Result<(T, Option<Complaint>), Complaint> {
    let Some(bytes) = bytes(path)? else { return Ok((T::default(), None)) };
    if let Ok(kept) = serde_json::from_slice(&bytes) {
        return Ok((kept, None));
    }
    let aside = path.with_extension(format!("{}.unreadable", clock::now().0));
    files::move_new(path, &aside).map_err(|error| Complaint::io(Doing::Write, path, &error))?;
    Ok((T::default(), Some(unreadable(&aside))))
}

fn unreadable(path: &Path) -> Complaint {
    let path = path.display();
    Complaint::usage(
        Text::new(
            format!("Wat in {path} werd bewaard, is niet te lezen."),
            format!("What was kept in {path} cannot be read."),
        ),
        Text::new(
            "De agent begint zonder: bij start, en zonder lijst van geweigerde rijen. Wat al is verstuurd, gaat niet nog eens weg.",
            "The agent begins without it: at start, and without a list of refused rows. What was sent is not sent once more.",
        ),
    )
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Complaint> {
    let bytes = serde_json::to_vec(value).map_err(|error| Complaint::bug(error.to_string()))?;
    files::make_private_dir(&files::parent(path))?;
    files::write_private(path, &bytes, Existing::Replace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATE: Span = Span::seconds(300);

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_800_000_000_000 + seconds * 1000)
    }

    #[test]
    fn rows_are_settled_when_no_lower_mark_can_turn_up_any_more() {
        let mut progress = Progress::default();
        progress.reach(&10.to_string(), at(0), LATE);
        progress.begin(at(0));
        progress.pass(LATE);
        assert_eq!((progress.low.clone(), progress.mark()), (None, Some("10")));
        progress.reach(&20.to_string(), at(100), LATE);
        progress.begin(at(100));
        progress.pass(LATE);
        progress.begin(at(299));
        progress.pass(LATE);
        assert_eq!(progress.low, None);
        progress.begin(at(300));
        progress.pass(LATE);
        assert_eq!(progress.low.as_deref(), Some("10"));
        progress.begin(at(400));
        progress.pass(LATE);
        assert_eq!(progress.low.as_deref(), Some("20"));
        assert_eq!(progress.mark(), Some("20"));
    }

    #[test]
    fn a_pass_that_takes_long_settles_nothing_that_turned_up_behind_it() {
        let mut progress = Progress::default();
        progress.begin(at(0));
        progress.reach("10", at(1), LATE);
        // A row below it is committed here, and this pass has gone by; a restart does not begin it anew.
        progress.begin(at(250));
        progress.pass(LATE);
        assert_eq!(progress.low, None, "however late it ends");
        progress.begin(at(400));
        progress.pass(LATE);
        assert_eq!(progress.low.as_deref(), Some("10"), "this one read it");
    }

    #[test]
    fn marks_that_are_reached_soon_after_another_are_not_all_kept() {
        let mut progress = Progress::default();
        for second in 0..10_000 {
            progress.reach(&second.to_string(), at(second), LATE);
            progress.begin(at(second));
            progress.pass(LATE);
            assert!(progress.reached.len() <= 18, "{}", progress.reached.len());
        }
        let low: u64 = progress.low.unwrap().parse().unwrap();
        assert!((9_650..=9_700).contains(&low), "{low}");
    }

    #[test]
    fn with_very_many_rows_only_the_last_are_looked_at_again() {
        let mut progress = Progress::default();
        for rows in 0..100 {
            progress.taken += 500;
            progress.reach(&rows.to_string(), at(0), LATE);
        }
        progress.begin(at(0));
        progress.pass(LATE);
        let low: u64 = progress.low.unwrap().parse().unwrap();
        assert!((70..=80).contains(&low), "{low}");
    }

    #[test]
    fn what_an_operator_asks_for_waits_until_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), "zaken");
        let wish = Wish { id: "../../etc/passwd".into(), drop: true };
        assert!(files.wishes().unwrap().is_empty() && !files.is_wished(&wish.id));
        files.wish(&wish).unwrap();
        files.wish(&wish).unwrap();
        assert_eq!(files.wishes().unwrap(), std::slice::from_ref(&wish));
        files.wish_done(&wish).unwrap();
        assert!(!files.is_wished(&wish.id) && files.wishes().unwrap().is_empty());
    }

    #[test]
    fn what_is_kept_and_does_not_read_is_put_aside_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), "zaken");
        let progress = Progress { taken: 7, ..Progress::default() };
        files.keep_progress(&progress).unwrap();
        files.keep_refused(&Refusals::new()).unwrap();
        fs::write(files.refused_path(), "{half").unwrap();
        assert!(files.refused().unwrap_err().what.en.contains("zaken.refused.json"));
        let (kept, refused, told) = files.restore().unwrap();
        assert_eq!((kept, refused.len()), (progress, 0));
        assert!(told.unwrap().what.en.contains(".unreadable"));
        assert_eq!(fs::read_dir(dir.path().join("sql")).unwrap().count(), 2, "it is still there");
    }

    proptest! {
        /// However looks and times fall, what is settled is a mark that was reached long enough ago.
        #[test]
        fn nothing_is_settled_too_soon(steps in prop::collection::vec((0..200_u64, 0..5_u64), 1..100)) {
            let (mut progress, mut now, mut mark) = (Progress::default(), 0, 0);
            let mut reached = BTreeMap::new();
            for (seconds, rows) in steps {
                now += seconds;
                for _ in 0..rows {
                    mark += 1;
                    reached.insert(mark, now);
                    progress.reach(&mark.to_string(), at(now), LATE);
                }
                progress.begin(at(now));
                progress.pass(LATE);
                if let Some(low) = &progress.low {
                    let low: u64 = low.parse().unwrap();
                    prop_assert!(reached[&low] + 300 <= now, "{low} was reached at {}", reached[&low]);
                }
            }
        }
    }
}
