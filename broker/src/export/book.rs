//! The workbook, made beside the bundle by a thread of its own: it takes as long as all the rest of the views.

use std::fs::File;
use std::io::BufWriter;

use seinhuis_shell::complaint::Complaint;

use super::bundle::read;
use super::failed;
use super::find;
use super::progress::Aside;
use super::state::Paths;
use super::xlsx::{Limits, Workbook};
use crate::log::Log;
use crate::log::row::problem;

/// Makes the workbook, while others go on.
///
/// # Errors
/// A sentence when an entry cannot be read or the file not be written, or that what it is made beside has ended.
pub(super) fn make(log: &Log, paths: &Paths, about: &[String], aside: &Aside) -> Result<(), Complaint> {
    let fail = |error: std::io::Error| failed(&paths.workbook, &error);
    let file = File::create(&paths.workbook).map_err(fail)?;
    let mut book = Workbook::new(BufWriter::with_capacity(1 << 20, file), Limits::default());
    sheets(&mut book, log, paths, aside)?;
    book.finish(about).map(drop).map_err(fail)
}

/// Fills sheet after sheet.
fn sheets(
    book: &mut Workbook<BufWriter<File>>,
    log: &Log,
    paths: &Paths,
    aside: &Aside,
) -> Result<(), Complaint> {
    let fail = |error: std::io::Error| failed(&paths.workbook, &error);
    let mut reader = log.reader();
    let mut indexes = find::indexes(&paths.runs, 0).map_err(fail)?;
    let mut next = indexes.next().transpose().map_err(fail)?;
    while next.is_some() {
        let Some(mut sheet) = book.sheet().map_err(fail)? else { return Ok(()) };
        while let Some(index) = next.filter(|_| sheet.has_room()) {
            let entry = reader.entry(index)?;
            let (row, time) = read(entry).ok_or_else(|| log.damaged(&problem(entry)))?;
            sheet.row(index, time, &row).map_err(fail)?;
            if !aside.tick() {
                return Err(fail(std::io::ErrorKind::Interrupted.into()));
            }
            next = indexes.next().transpose().map_err(fail)?;
        }
        sheet.end().map_err(fail)?;
    }
    Ok(())
}
