//! The entries as a workbook (ECMA-376), row by row.
//!
//! Own code, because a library that writes workbooks keeps a sheet in memory or unpacked on disk, and an export holds
//! millions of rows. Every cell but the index and the time is text that a spreadsheet takes for text also when somebody
//! edits it, so that no OIN loses its zeros and nothing becomes a formula.

use std::fmt::Write as _;
use std::io::{self, Seek, Write};

use super::archive::{Archive, Form, Method, Open};
use super::csv::COLUMNS;
use crate::log::row::{Field, Row};

/// Rows of a sheet at most, its head included.
const ROWS: u64 = 1_048_576;
/// Bytes of a sheet, and of a workbook, at which to stop: sizes in a workbook have 32 bits.
const SHEET_MAX: u64 = 3 << 30;
const BOOK_MAX: u64 = 3 << 30;
/// Sheets of entries at most: more than any spreadsheet program holds in memory.
const SHEETS: usize = 16;

/// Where a workbook stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    rows: u64,
    sheets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: ROWS, sheets: SHEETS }
    }
}

/// A workbook under way.
#[derive(Debug)]
pub(super) struct Workbook<W> {
    archive: Archive<W>,
    limits: Limits,
    sheets: usize,
    /// Rows written, heads apart.
    written: u64,
    full: bool,
}

impl<W: Write + Seek> Workbook<W> {
    pub(super) const fn new(to: W, limits: Limits) -> Self {
        Self { archive: Archive::new(to, Form::Workbook), limits, sheets: 0, written: 0, full: false }
    }

    /// Begins the next sheet; nothing when there may be no more.
    pub(super) fn sheet(&mut self) -> io::Result<Option<Sheet<'_, W>>> {
        if self.sheets == self.limits.sheets || self.archive.len() > BOOK_MAX {
            self.full = true;
            return Ok(None);
        }
        self.sheets += 1;
        let name = format!("xl/worksheets/sheet{}.xml", self.sheets + 1);
        let mut open = self.archive.begin(&name, Method::Deflated)?;
        let width = |at| if at == 2 { 24 } else { 16 };
        let mut widths = String::new();
        for at in 1..=COLUMNS.len() + 1 {
            // Writing to a string cannot fail.
            _ = write!(widths, r#"<col min="{at}" max="{at}" width="{}" customWidth="1"/>"#, width(at));
        }
        let mut head = format!(
            r#"{XML}<worksheet xmlns="{MAIN}"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><cols>{widths}</cols><sheetData><row>"#
        );
        for name in std::iter::once("index").chain(COLUMNS.map(Field::name)) {
            cell(&mut head, name, HEAD);
        }
        head.push_str("</row>");
        open.write_all(head.as_bytes())?;
        Ok(Some(Sheet {
            open,
            rows: 1,
            most: self.limits.rows,
            text: String::new(),
            written: &mut self.written,
        }))
    }

    /// Writes the first sheet and what holds the sheets together.
    pub(super) fn finish(mut self, about: &[String]) -> io::Result<W> {
        let mut first = format!(
            r#"{XML}<worksheet xmlns="{MAIN}"><cols><col min="1" max="1" width="110" customWidth="1"/></cols><sheetData>"#
        );
        let stops = self.full.then(|| {
            format!(
                "Dit werkboek houdt op na {0} regels; entries.jsonl heeft ze alle. · This workbook stops after {0} entries; entries.jsonl has them all.",
                self.written
            )
        });
        for line in about.iter().chain(&stops) {
            first.push_str("<row>");
            cell(&mut first, line, TEXT);
            first.push_str("</row>");
        }
        first.push_str("</sheetData></worksheet>");
        let (mut types, mut links, mut names) = (String::new(), String::new(), String::new());
        for at in 1..=self.sheets + 1 {
            let name = if at == 1 { "uitleg".to_owned() } else { format!("logregels {}", at - 1) };
            // Writing to a string cannot fail.
            _ = write!(
                types,
                r#"<Override PartName="/xl/worksheets/sheet{at}.xml" ContentType="{SHEET}.worksheet+xml"/>"#
            );
            _ = write!(
                links,
                r#"<Relationship Id="rId{at}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{at}.xml"/>"#
            );
            _ = write!(names, r#"<sheet name="{name}" sheetId="{at}" r:id="rId{at}"/>"#);
        }
        let styles = self.sheets + 2;
        let archive = &mut self.archive;
        let mut put = |name: &str, text: String| archive.member(name, Method::Deflated, text.as_bytes());
        put("xl/worksheets/sheet1.xml", first)?;
        put("xl/styles.xml", format!("{XML}{STYLES}"))?;
        put(
            "xl/workbook.xml",
            format!(
                r#"{XML}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>"#
            ),
        )?;
        put(
            "xl/_rels/workbook.xml.rels",
            format!(
                r#"{XML}<Relationships xmlns="{LINKS}">{links}<Relationship Id="rId{styles}" Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>"#
            ),
        )?;
        put(
            "_rels/.rels",
            format!(
                r#"{XML}<Relationships xmlns="{LINKS}"><Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
            ),
        )?;
        put(
            "[Content_Types].xml",
            format!(
                r#"{XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="{SHEET}.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="{SHEET}.styles+xml"/>{types}</Types>"#
            ),
        )?;
        self.archive.finish()
    }
}

/// A sheet under way.
#[derive(Debug)]
pub(super) struct Sheet<'a, W: Write + Seek> {
    open: Open<'a, W>,
    rows: u64,
    most: u64,
    text: String,
    written: &'a mut u64,
}

impl<W: Write + Seek> Sheet<'_, W> {
    /// Whether another row fits.
    pub(super) const fn has_room(&self) -> bool {
        self.rows < self.most && self.open.size() < SHEET_MAX
    }

    /// Adds an entry; `time` is its time in milliseconds since 1970.
    pub(super) fn row(&mut self, index: u64, time: u64, row: &Row<'_>) -> io::Result<()> {
        self.text.clear();
        _ = write!(self.text, "<row><c><v>{index}</v></c>");
        for column in COLUMNS {
            if column == Field::Time {
                let (days, millis) = (time / DAY + EPOCH, time % DAY);
                // Nine decimals of a day are finer than a millisecond.
                let part = millis * 1_000_000_000 / DAY;
                _ = write!(self.text, "{DATE}{days}.{part:09}</v></c>");
            } else if let Some(value) = row.get(column) {
                cell(&mut self.text, &value, TEXT);
            } else {
                self.text.push_str("<c/>");
            }
        }
        self.text.push_str("</row>");
        self.rows += 1;
        *self.written += 1;
        self.open.write_all(self.text.as_bytes())
    }

    /// Ends the sheet.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.open.write_all(b"</sheetData></worksheet>")?;
        self.open.end()
    }
}

const XML: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const LINKS: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const DAY: u64 = 86_400_000;
/// 1 January 1970, as spreadsheets count days.
const EPOCH: u64 = 25_569;

/// Beginnings of cells by style. Text has a quote in front that is not shown: what is in it stays text.
const TEXT: &str = r#"<c s="1" t="inlineStr"><is>"#;
const DATE: &str = r#"<c s="2"><v>"#;
const HEAD: &str = r#"<c s="3" t="inlineStr"><is>"#;
const STYLES: &str = r#"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd\ hh:mm:ss.000"/></numFmts><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1" applyNumberFormat="1"/><xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/></cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>"#;

fn cell(out: &mut String, text: &str, style: &str) {
    out.push_str(style);
    // White space at the ends would be trimmed; to say so of every cell is a fifth of all that has to be packed.
    let trimmed = text.trim().len() < text.len();
    out.push_str(if trimmed { r#"<t xml:space="preserve">"# } else { "<t>" });
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && !matches!(byte, b'&' | b'<' | b'>' | b'_');
    // All of it is looked at, many bytes at a time.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.push_str(text);
    } else {
        // `_x0041_` is how a spreadsheet writes a character by its number: a text that looks so is kept as it is.
        for char in text.replace("_x", "_x005F_x").chars() {
            match char {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                // Not in XML 1.0, or not worth keeping in a view.
                '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
                control if control.is_control() => out.push('\u{fffd}'),
                other => out.push(other),
            }
        }
    }
    out.push_str("</t></is></c>");
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    fn part(book: &[u8], name: &str) -> String {
        let mut zip = zip::ZipArchive::new(Cursor::new(book)).unwrap();
        let mut text = String::new();
        zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn book(rows: u64, limits: Limits) -> Vec<u8> {
        let entry = "{\"basis\":\"=1+1\",\"flow\":\"<a>&_x0041_\",\"from\":\"00000099000000001000\",\"kind\":\"start\",\"level\":\" a  b \",\"purpose\":\"é\u{ffff}\",\"salt\":\"00\",\"time\":1780000000123,\"v\":1}";
        let row = Row::read(entry.as_bytes()).unwrap();
        let mut book = Workbook::new(Cursor::new(Vec::new()), limits);
        let mut left = 0..rows;
        let mut index = left.next();
        while index.is_some() {
            let Some(mut sheet) = book.sheet().unwrap() else { break };
            while let Some(at) = index.filter(|_| sheet.has_room()) {
                sheet.row(at, row.time().unwrap(), &row).unwrap();
                index = left.next();
            }
            sheet.end().unwrap();
        }
        book.finish(&["bewijst niets".to_owned()]).unwrap().into_inner()
    }

    #[test]
    fn cells_are_text_and_dates_are_dates() {
        let book = book(1, Limits::default());
        let sheet = part(&book, "xl/worksheets/sheet2.xml");
        for cell in [
            r#"<c><v>0</v></c><c s="2"><v>46170."#,
            r#"<c s="1" t="inlineStr"><is><t>=1+1</t></is></c>"#,
            r#"<t xml:space="preserve"> a  b </t>"#,
            "<t>&lt;a&gt;&amp;_x005F_x0041_</t>",
            "<t>é\u{fffd}</t>",
            r#"<c s="1" t="inlineStr"><is><t>00000099000000001000</t></is></c>"#,
        ] {
            assert!(sheet.contains(cell), "{cell}\n{sheet}");
        }
        // 2026-05-28T20:26:40.123Z.
        assert!(sheet.contains("<v>46170.851853275</v>"), "{sheet}");
        assert!(!sheet.contains("<f>"), "no formula");
        assert!(part(&book, "xl/worksheets/sheet1.xml").contains("bewijst niets"));
        assert!(part(&book, "xl/styles.xml").contains(r#"quotePrefix="1""#));
    }

    #[test]
    fn sheets_are_split_and_a_book_that_is_full_says_so() {
        let limits = Limits { rows: 4, sheets: 3 };
        for (rows, sheets, full) in
            [(0, 0, false), (3, 1, false), (4, 2, false), (9, 3, false), (10, 3, true)]
        {
            let book = book(rows, limits);
            let names = part(&book, "xl/workbook.xml");
            assert_eq!(names.matches("logregels").count(), sheets, "{rows}");
            let about = part(&book, "xl/worksheets/sheet1.xml");
            assert_eq!(about.contains("stops after 9 entries"), full, "{rows}");
        }
    }
}
