//! The bundle itself, member by member.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::thread;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shell::complaint::Complaint;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::archive::{Archive, Method, Open};
use super::book;
use super::csv::Style;
use super::find::{self, Found};
use super::progress::Progress;
use super::report::{self, Tally};
use super::state::{Begun, Paths, Pins, State};
use super::{Source, failed, readme};
use crate::log::Reader;
use crate::log::row::{Row, problem};

/// The format, as manifest and signed sums name it.
const FORMAT: &str = "seinhuis/export/1";
/// Covenant versions in a bundle at most: a bundle has 4,096 members.
const COVENANTS: usize = 4000;
/// A member that is packed already.
const WORKBOOK: &str = "entries.xlsx";
/// One of hashes only.
const LEAVES: &str = "leaves.bin";
/// What does not get smaller.
const STORED: [&str; 2] = [WORKBOOK, LEAVES];

type Out = BufWriter<File>;
type Member<'a> = Open<'a, Out>;

/// An export under way.
pub(super) struct Job<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) paths: &'a Paths,
    pub(super) archive: Archive<Out>,
    pub(super) state: State,
    pub(super) progress: Progress,
}

impl Pins {
    /// `manifest.json`. `serde_json` writes keys in order and no spaces, and escapes what RFC 8785 escapes.
    fn manifest(&self, origin: &str, count: u64) -> Value {
        let question = &self.question;
        let mut manifest = json!({
            "count": count,
            "created": self.created.0,
            "format": FORMAT,
            "log_key": self.log_key,
            "origin": origin,
            "proves": if question.is_period() { "complete" } else { "selection" },
            "purpose": question.purpose,
            "size": self.size,
        });
        let asked = [
            ("asked_by", question.asked_by.as_ref().map(|who| json!(who))),
            ("from", question.from.map(|at| json!(at.0))),
            ("until", question.until.map(|at| json!(at.0))),
            ("organisation", question.organisation.map(|oin| json!(oin.to_string()))),
            ("flow", question.flow.as_ref().map(|flow| json!(flow))),
            ("kind", question.kind.as_ref().map(|kind| json!(kind))),
            ("result", question.result.as_ref().map(|result| json!(result))),
            ("case", question.case.as_ref().map(|case| json!(case))),
        ];
        for (key, value) in asked {
            if let Some(value) = value {
                manifest[key] = value;
            }
        }
        manifest
    }
}

impl Job<'_> {
    /// Writes every member that is not there yet; the number of entries.
    pub(super) fn members(&mut self) -> Result<u64, Complaint> {
        let found = self.find()?;
        let passes = if self.state.pins.views { 5 } else { 2 };
        self.progress.more(found.count.saturating_mul(passes));
        let origin = self.source.key.1.origin.clone();
        let pins = self.state.pins.clone();
        let manifest = pins.manifest(&origin, found.count).to_string();
        self.text("README.txt", &readme::text(&pins, &origin, found.count))?;
        self.text("manifest.json", &manifest)?;
        self.text("checkpoint.txt", &pins.checkpoint)?;
        for (covenant, policy) in &pins.policies {
            self.text(&format!("policies/{covenant}.txt"), policy)?;
        }
        self.begin()?;
        self.long("entries.jsonl", b"", self.source.log.checking_reader(), |line, _, entry| {
            line.extend_from_slice(entry);
            line.push(b'\n');
            Some(())
        })?;
        self.whole("runs.txt", |job, member| {
            for run in find::runs(&job.paths.runs).map_err(|error| job.failed(&error))? {
                let line = run.and_then(|run| writeln!(member, "{} {}", run.first, run.count));
                line.map_err(|error| job.failed(&error))?;
            }
            Ok(())
        })?;
        self.whole("proof.txt", proof)?;
        self.whole(LEAVES, leaves)?;
        if pins.views {
            self.tables(found.count)?;
        }
        let covenants = self.report(&pins, found.count)?;
        self.covenants(&covenants)?;
        self.sums(&origin)?;
        Ok(found.count)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Complaint {
        failed(&self.paths.bundle, error)
    }

    fn find(&mut self) -> Result<Found, Complaint> {
        if let Some(found) = self.state.found {
            return Ok(found);
        }
        let pins = &self.state.pins;
        let log = self.source.log;
        let found = find::find(log, &pins.question, pins.size, &self.paths.runs, &mut self.progress)?;
        let begin = (self.source.begin)(found.first.unwrap_or(pins.size));
        self.state.begin = begin.map(|note| String::from_utf8_lossy(&note).into_owned());
        self.state.found = Some(found);
        self.state.save(self.paths)?;
        Ok(found)
    }

    /// Whether a member is there already.
    fn has(&self, name: &str) -> bool {
        self.archive.members().iter().any(|member| member.name == name)
    }

    /// What is in the archive is on stable storage, and the state says so.
    fn keep(&mut self) -> Result<(), Complaint> {
        stable(self.archive.get_mut()).map_err(|error| failed(&self.paths.bundle, &error))?;
        self.state.members = self.archive.members().to_vec();
        self.state.begun = None;
        self.state.save(self.paths)
    }

    fn text(&mut self, name: &str, text: &str) -> Result<(), Complaint> {
        if self.has(name) {
            return Ok(());
        }
        let put = self.archive.member(name, Method::Deflated, text.as_bytes());
        put.map_err(|error| self.failed(&error))
    }

    /// Writes a member whose size nobody knows before, and keeps it.
    fn whole(
        &mut self,
        name: &str,
        fill: impl FnOnce(&Part<'_>, &mut Member<'_>) -> Result<(), Complaint>,
    ) -> Result<(), Complaint> {
        if self.has(name) {
            return Ok(());
        }
        let method = if STORED.contains(&name) { Method::Stored } else { Method::Deflated };
        let mut member =
            self.archive.begin(name, method).map_err(|error| failed(&self.paths.bundle, &error))?;
        let part = Part { source: self.source, paths: self.paths, pins: &self.state.pins };
        fill(&part, &mut member)?;
        member.end().map_err(|error| failed(&self.paths.bundle, &error))?;
        self.keep()
    }

    /// A checkpoint from before the first entry, and what leads from it to the one the export rests on.
    fn begin(&mut self) -> Result<(), Complaint> {
        let Some(begin) = self.state.begin.clone() else { return Ok(()) };
        let log = &self.source.key.1;
        let checkpoint = Note::parse(begin.as_bytes())
            .ok()
            .and_then(|note| Checkpoint::verify_note(&note, &log.origin, &log.key).ok())
            .ok_or_else(|| Complaint::bug("a checkpoint that was witnessed does not read"))?;
        let proof = self.source.log.consistency(checkpoint.size(), self.state.pins.size)?;
        let lines: Vec<String> = proof.iter().map(|hash| format!("{hash}\n")).collect();
        self.text("begin.txt", &begin)?;
        self.text("consistency.txt", &lines.concat())
    }

    fn table(&mut self, name: &str, style: Style) -> Result<(), Complaint> {
        let head = style.head();
        self.long(name, head.as_bytes(), self.source.log.reader(), |line, index, entry| {
            let (row, time) = read(entry)?;
            style.row(line, index, &Timestamp(time).to_string(), &row);
            Some(())
        })
    }

    /// Writes a member with something for each entry, and keeps it again and again, so that it is gone on with where
    /// it was cut last. `put` gives nothing for what is no entry.
    fn long(
        &mut self,
        name: &str,
        head: &[u8],
        mut reader: Reader<'_>,
        mut put: impl FnMut(&mut Vec<u8>, u64, &[u8]) -> Option<()>,
    ) -> Result<(), Complaint> {
        if self.has(name) {
            return Ok(());
        }
        let fail = |error: io::Error| failed(&self.paths.bundle, &error);
        let begun = self.state.begun.clone().filter(|begun| begun.part.name == name);
        let mut done = begun.as_ref().map_or(0, |begun| begun.entries);
        let mut member = if let Some(Begun { part, .. }) = &begun {
            let mut file = File::open(&self.paths.bundle).map_err(fail)?;
            file.seek(SeekFrom::Start(part.inside())).map_err(fail)?;
            self.archive.reopen(part, file).map_err(fail)?
        } else {
            // A cut keeps what is before this member too.
            self.state.members = self.archive.members().to_vec();
            let mut member = self.archive.begin(name, Method::Deflated).map_err(fail)?;
            member.write_all(head).map_err(fail)?;
            member
        };
        let mut line = Vec::new();
        self.progress.tick(done);
        for index in find::indexes(&self.paths.runs, done).map_err(fail)? {
            let index = index.map_err(fail)?;
            let entry = reader.entry(index)?;
            line.clear();
            put(&mut line, index, entry).ok_or_else(|| self.source.log.damaged(&problem(entry)))?;
            member.write_all(&line).map_err(fail)?;
            self.progress.tick(1);
            done += 1;
            if done.is_multiple_of(self.state.pins.stride) {
                let part = member.cut().map_err(fail)?;
                stable(member.get_mut()).map_err(fail)?;
                self.state.begun = Some(Begun { part, entries: done });
                self.state.save(self.paths)?;
            }
        }
        member.end().map_err(fail)?;
        self.keep()
    }

    /// The tables, and the workbook: an archive of its own, with sizes in front of its members, made beside the bundle.
    fn tables(&mut self, count: u64) -> Result<(), Complaint> {
        let (log, paths, aside) = (self.source.log, self.paths, self.progress.aside());
        let about = readme::about(&self.state.pins, &self.source.key.1.origin, count);
        thread::scope(|scope| {
            let workbook =
                (!self.has(WORKBOOK)).then(|| scope.spawn(|| book::make(log, paths, &about, &aside)));
            let tables = self
                .table("entries.csv", Style::Plain)
                .and_then(|()| self.table("entries-excel.csv", Style::Excel));
            if tables.is_err() {
                aside.end();
            }
            let made = workbook.map_or(Ok(()), |made| {
                made.join()
                    .unwrap_or_else(|_| Err(Complaint::bug("the thread that made the workbook failed")))
            });
            tables.and(made)
        })?;
        self.whole(WORKBOOK, |job, member| {
            let book = File::open(&job.paths.workbook);
            let copied =
                book.and_then(|book| io::copy(&mut io::BufReader::with_capacity(1 << 20, book), member));
            copied.map(drop).map_err(|error| failed(&job.paths.workbook, &error))
        })
    }

    /// Gives every entry of the answer with its time.
    fn rows(&mut self, mut each: impl FnMut(u64, &Row<'_>)) -> Result<(), Complaint> {
        let mut reader = self.source.log.reader();
        for index in find::indexes(&self.paths.runs, 0).map_err(|error| self.failed(&error))? {
            let entry = reader.entry(index.map_err(|error| self.failed(&error))?)?;
            let (row, time) = read(entry).ok_or_else(|| self.source.log.damaged(&problem(entry)))?;
            each(time, &row);
            self.progress.tick(1);
        }
        Ok(())
    }

    /// The report, and which covenants entries name.
    fn report(&mut self, pins: &Pins, count: u64) -> Result<Vec<Digest>, Complaint> {
        if let Some(known) = self.state.covenants.as_ref().filter(|_| !pins.views || self.has("report.html"))
        {
            return Ok(known.iter().filter_map(|hash| hash.parse().ok()).collect());
        }
        let mut tally = Tally::default();
        self.rows(|time, row| tally.add(pins.question.spans(time), time, row))?;
        let covenants: Vec<Digest> = tally.covenants().take(COVENANTS).collect();
        self.state.covenants = Some(covenants.iter().map(Digest::to_string).collect());
        if pins.views {
            let page = report::html(self.source, pins, &tally, count, self.state.begin.as_deref());
            self.whole("report.html", |job, member| {
                member.write_all(page.as_bytes()).map_err(|error| job.failed(&error))
            })?;
        }
        Ok(covenants)
    }

    fn covenants(&mut self, named: &[Digest]) -> Result<(), Complaint> {
        for hash in named {
            let name = format!("covenants/{hash}.cbor");
            if let Some(bytes) = (self.source.covenant)(hash).filter(|_| !self.has(&name)) {
                let put = self.archive.member(&name, Method::Deflated, &bytes);
                put.map_err(|error| self.failed(&error))?;
            }
        }
        Ok(())
    }

    /// The sums of all members before them, and the log's signature under those.
    fn sums(&mut self, origin: &str) -> Result<(), Complaint> {
        let members = self.archive.members().iter();
        let sums: Vec<String> = members.map(|member| format!("{}  {}\n", member.sum, member.name)).collect();
        let sums = sums.concat();
        let (key, log) = self.source.key;
        let digest = Digest(Sha256::digest(sums.as_bytes()).into());
        let text = format!("{origin}\n{FORMAT}\n{digest}\n");
        let note = Note::new(&text, vec![log.key.sign_with(&text, |bytes| key.sign(bytes))])
            .map_err(|error| Complaint::bug(error.to_string()))?;
        self.text("SHA256SUMS", &sums)?;
        self.text("SHA256SUMS.note", &note.to_string())
    }
}

/// Puts what was written on stable storage.
fn stable(out: &mut Out) -> io::Result<()> {
    out.flush()?;
    out.get_ref().sync_data()
}

/// What a member is made from.
struct Part<'a> {
    source: &'a Source<'a>,
    paths: &'a Paths,
    pins: &'a Pins,
}

impl Part<'_> {
    fn failed(&self, error: &dyn std::fmt::Display) -> Complaint {
        failed(&self.paths.bundle, error)
    }
}

/// The hashes that lead, with those of the lines, to the root.
fn proof(part: &Part<'_>, member: &mut Member<'_>) -> Result<(), Complaint> {
    let (mut trouble, mut unread) = (None, None);
    let indexes = find::indexes(&part.paths.runs, 0).map_err(|error| part.failed(&error))?;
    let indexes = indexes.map_while(|index| index.map_err(|error| unread = Some(error)).ok());
    part.source.log.subset_proof(indexes, part.pins.size, &mut |hash| {
        if trouble.is_none() {
            trouble = writeln!(member, "{hash}").err();
        }
    })?;
    unread.or(trouble).map_or(Ok(()), |error| Err(part.failed(&error)))
}

/// The hash of each entry, from the tiles: the log's own word about every line.
fn leaves(part: &Part<'_>, member: &mut Member<'_>) -> Result<(), Complaint> {
    for index in find::indexes(&part.paths.runs, 0).map_err(|error| part.failed(&error))? {
        let leaf = part.source.log.leaf(index.map_err(|error| part.failed(&error))?)?;
        member.write_all(&leaf.0).map_err(|error| part.failed(&error))?;
    }
    Ok(())
}

/// An entry's fields and its time; nothing for what is none.
pub(super) fn read(entry: &[u8]) -> Option<(Row<'_>, u64)> {
    let row = Row::read(entry)?;
    Some((row, row.time()?))
}
