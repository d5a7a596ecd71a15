//! Whether the entries belong to what was asked, and whether a period is shown whole.

use crate::entry::Entry;
use crate::manifest::{Manifest, Question};
use crate::runs::Places;
use crate::{Code, Failure, Proves};

const FILE: &str = "entries.jsonl";

/// Follows the entries; keeps the first thing that does not fit.
pub(crate) struct Asked<'a> {
    question: &'a Question,
    proves: Proves,
    size: u64,
    places: Places,
    /// The line of an entry at or after `until`, which may only be the last.
    beyond: Option<u64>,
    first: u64,
    last: u64,
    lines: u64,
    failure: Option<Failure>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(manifest: &'a Manifest, places: Places) -> Self {
        let mut asked = Self {
            question: &manifest.question,
            proves: manifest.proves,
            size: manifest.size,
            places,
            beyond: None,
            first: 0,
            last: 0,
            lines: 0,
            failure: None,
        };
        if asked.proves == Proves::Complete && !asked.question.is_period() {
            asked.fail(None, "manifest.json", "says complete, but more than a period was asked for");
        }
        if asked.proves == Proves::Complete && places.runs != u64::from(asked.size > 0) {
            asked.fail(None, "runs.txt", "is not the one run of a complete export");
        }
        asked
    }

    fn fail(&mut self, line: Option<u64>, file: &str, text: &str) {
        let failure = Failure { line, ..Failure::new(Code::BadQuestion, file, text) };
        self.failure.get_or_insert(failure);
    }

    /// Takes the entry of a line.
    pub(crate) fn entry(&mut self, line: u64, entry: &Entry<'_>) {
        self.lines = line;
        self.last = entry.time;
        if line == 1 {
            self.first = entry.time;
        }
        if self.failure.is_some() {
            return;
        }
        let early = self.question.from.is_some_and(|from| entry.time < from);
        let late = self.question.until.is_some_and(|until| entry.time >= until);
        match self.proves {
            Proves::Selection => {
                if early || late || !entry.belongs(self.question) {
                    self.fail(Some(line), FILE, "does not belong to what was asked");
                }
            }
            Proves::Complete => {
                if let Some(beyond) = self.beyond {
                    self.fail(Some(beyond), FILE, "is after the period and not the last line");
                } else if early && line > 1 {
                    self.fail(Some(line), FILE, "is before the period and not the first line");
                }
                self.beyond = late.then_some(line);
            }
        }
    }

    /// What does not fit, when all entries were taken.
    pub(crate) fn finish(mut self) -> Option<Failure> {
        if self.proves == Proves::Complete && self.lines > 0 {
            let before =
                self.places.first == Some(0) || self.question.from.is_some_and(|from| self.first < from);
            let after =
                self.places.end == self.size || self.question.until.is_some_and(|until| self.last >= until);
            if !before {
                self.fail(
                    Some(1),
                    FILE,
                    "leaves open what came before it: it is not the log's first, nor before the period",
                );
            }
            if !after {
                let line = self.lines;
                self.fail(
                    Some(line),
                    FILE,
                    "leaves open what came after it: it is not the log's last, nor after the period",
                );
            }
        }
        self.failure
    }
}
