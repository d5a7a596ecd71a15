//! The workbook, made beside the bundle by a thread of its own: it takes as long as all the rest of the views.

use std::fs::File;
use std::io::BufWriter;
use std::thread::{Scope, ScopedJoinHandle};

use seinhuis_shell::complaint::Complaint;

use super::bundle::read;
use super::find;
use super::progress::Aside;
use super::row::problem;
use super::state::Paths;
use super::xlsx::{Limits, Workbook};
use super::{Source, failed};
use crate::log::Log;

/// What a workbook is made of.
pub(super) struct Making<'a> {
    log: &'a Log,
    paths: &'a Paths,
    about: Vec<String>,
    aside: Aside,
}

/// A workbook under way.
pub(super) struct Made<'scope>(ScopedJoinHandle<'scope, Result<(), Complaint>>);

impl Made<'_> {
    /// Waits until it is in its file.
    pub(super) fn wait(self) -> Result<(), Complaint> {
        self.0.join().unwrap_or_else(|_| Err(Complaint::bug("the thread that made the workbook failed")))
    }
}

impl<'a> Making<'a> {
    pub(super) const fn new(source: &Source<'a>, paths: &'a Paths, about: Vec<String>, aside: Aside) -> Self {
        Self { log: source.log, paths, about, aside }
    }

    /// Makes it, while others go on.
    pub(super) fn start<'scope>(self, scope: &'scope Scope<'scope, '_>) -> Made<'scope>
    where
        'a: 'scope,
    {
        Made(scope.spawn(move || self.make()))
    }

    fn make(self) -> Result<(), Complaint> {
        let fail = |error: std::io::Error| failed(&self.paths.workbook, &error);
        let file = File::create(&self.paths.workbook).map_err(fail)?;
        let mut book = Workbook::new(BufWriter::with_capacity(1 << 20, file), Limits::default());
        self.sheets(&mut book)?;
        book.finish(&self.about).map(drop).map_err(fail)
    }

    /// Fills sheet after sheet.
    fn sheets(&self, book: &mut Workbook<BufWriter<File>>) -> Result<(), Complaint> {
        let fail = |error: std::io::Error| failed(&self.paths.workbook, &error);
        let mut reader = self.log.reader();
        let mut indexes = find::indexes(&self.paths.runs, 0).map_err(fail)?;
        let mut next = indexes.next().transpose().map_err(fail)?;
        while next.is_some() {
            let Some(mut sheet) = book.sheet().map_err(fail)? else { return Ok(()) };
            while let Some(index) = next.filter(|_| sheet.has_room()) {
                let entry = reader.entry(index)?;
                let (row, time) = read(entry).ok_or_else(|| self.log.damaged(&problem(entry)))?;
                sheet.row(index, time, &row).map_err(fail)?;
                if !self.aside.tick() {
                    return Err(fail(std::io::ErrorKind::Interrupted.into()));
                }
                next = indexes.next().transpose().map_err(fail)?;
            }
            sheet.end().map_err(fail)?;
        }
        Ok(())
    }
}
