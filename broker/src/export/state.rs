//! What is known of an export that is not whole, so that it can go on where it stopped.
//!
//! Everything that decides a byte of the bundle is pinned when the export begins: question, size and root of the log,
//! its signed checkpoint, the time. An export that was resumed is therefore the same file as one that was not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};

use super::archive::{self, Member};
use super::find::{self, Found};
use super::question::Question;
use super::{Source, failed};

const FORMAT: &str = "seinhuis/export-state/2";
const STATE_MAX: usize = 4 << 20;

/// What decides the bytes of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pins {
    pub(super) question: Question,
    pub(super) views: bool,
    pub(super) log_key: String,
    pub(super) size: u64,
    #[serde(with = "text")]
    pub(super) root: Digest,
    pub(super) created: Timestamp,
    pub(super) checkpoint: String,
    /// By the hash of their covenant.
    pub(super) policies: BTreeMap<String, String>,
    /// Entries between two cuts of a member.
    pub(super) stride: u64,
}

/// A member of which a part is on stable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    /// What is there.
    pub(super) part: Member,
    /// Of how many entries.
    pub(super) entries: u64,
}

/// The state file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    format: String,
    pub(super) pins: Pins,
    pub(super) found: Option<Found>,
    /// A checkpoint at or before the first entry, once that is known and if there is one.
    pub(super) begin: Option<String>,
    /// The covenants that entries name, once all were read.
    pub(super) covenants: Option<Vec<String>>,
    /// The members that are whole.
    pub(super) members: Vec<Member>,
    /// The one after them.
    pub(super) begun: Option<Begun>,
}

/// The files an export that is not whole consists of.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) bundle: PathBuf,
    state: PathBuf,
    pub(super) runs: PathBuf,
    pub(super) workbook: PathBuf,
    pub(super) progress: PathBuf,
}

/// Where the progress of an export to `out` is written.
pub(crate) fn progress_of(out: &Path) -> PathBuf {
    Paths::of(out).progress
}

impl Paths {
    pub(super) fn of(out: &Path) -> Self {
        let with = |end: &str| {
            let mut name = out.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        Self {
            bundle: with(".partial"),
            state: with(".partial.state"),
            runs: with(".partial.runs"),
            workbook: with(".partial.xlsx"),
            progress: with(".partial.progress"),
        }
    }

    /// Removes what only an export that is not whole needs.
    pub(super) fn clear(&self) {
        for path in [&self.state, &self.runs, &self.workbook, &self.progress] {
            // It may never have been there; what stays is in nobody's way but that of an export of the same name.
            _ = fs::remove_file(path);
        }
    }
}

impl State {
    /// How many bytes of the bundle are known to be good.
    pub(super) fn end(&self) -> u64 {
        self.begun.as_ref().map_or_else(|| archive::end_of(&self.members), |begun| begun.part.end())
    }

    /// Of an export that begins.
    pub(super) fn new(pins: Pins) -> Self {
        let format = FORMAT.to_owned();
        Self { format, pins, found: None, begin: None, covenants: None, members: Vec::new(), begun: None }
    }

    /// Puts it on stable storage.
    pub(super) fn save(&self, paths: &Paths) -> Result<(), Complaint> {
        let bytes = serde_json::to_vec(self).map_err(|error| Complaint::bug(error.to_string()))?;
        files::write(&paths.state, &bytes, Existing::Replace)
    }

    /// Reads the state of an interrupted export and holds it against question, log and files.
    ///
    /// # Errors
    /// A sentence when something is not as it was.
    pub(super) fn load(
        source: &Source<'_>,
        question: &Question,
        views: bool,
        paths: &Paths,
    ) -> Result<Self, Complaint> {
        let bytes = files::read(&paths.state, STATE_MAX)?;
        let state: Self = serde_json::from_slice(&bytes)
            .ok()
            .filter(|state: &Self| state.format == FORMAT)
            .ok_or_else(|| {
            changed("het bestand met de stand is niet te lezen", "the file with its state does not read")
        })?;
        let pins = &state.pins;
        if pins.question != *question || pins.views != views {
            return Err(changed("de vraag is een andere", "the question is another one"));
        }
        let same_log = pins.log_key == source.key.1.key.to_string()
            && pins.size <= source.log.size()
            && source.log.root(pins.size)? == pins.root;
        if !same_log {
            return Err(changed("het log is een ander", "the log is another one"));
        }
        let fail = |error: std::io::Error| failed(&paths.bundle, &error);
        let part = state.begun.as_ref().map(|begun| &begun.part);
        let whole =
            File::open(&paths.bundle).and_then(|file| archive::begins_with(file, &state.members, part));
        let runs =
            state.found.as_ref().is_none_or(|found| find::is_whole(&paths.runs, found).unwrap_or(false));
        if !runs || !whole.map_err(fail)? {
            return Err(changed("het onvolledige bestand is veranderd", "the unfinished file was changed"));
        }
        Ok(state)
    }
}

/// Digests as people read them: in JSON their bytes would be a list of numbers.
pub(super) mod text {
    use seinhuis_shared::ids::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::export) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(in crate::export) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(|_| de::Error::custom("not a digest"))
    }
}

fn changed(nl: &str, en: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De onderbroken export kan niet verder: {nl}."),
            format!("The interrupted export cannot go on: {en}."),
        ),
        Text::new(
            "Verwijder de bestanden waarvan de naam op .partial of .partial.* eindigt en begin opnieuw, zonder --resume.",
            "Remove the files whose names end in .partial or .partial.* and begin anew, without --resume.",
        ),
    )
}
