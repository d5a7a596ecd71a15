//! The entries as tables of text, for programs and for spreadsheets.

use std::io::Write as _;

use crate::log::row::{Field, Row};

/// The columns after the index, in the order of the question an auditor asks: when, what, who, under what.
pub(super) const COLUMNS: [Field; 25] = [
    Field::Time,
    Field::Kind,
    Field::From,
    Field::To,
    Field::Flow,
    Field::MessageType,
    Field::Step,
    Field::Level,
    Field::Categories,
    Field::Purpose,
    Field::Basis,
    Field::Case,
    Field::MsgId,
    Field::Result,
    Field::Reason,
    Field::Subject,
    Field::Detail,
    Field::Recipients,
    Field::SizeClass,
    Field::Covenant,
    Field::Packet,
    Field::Statement,
    Field::Key,
    Field::Trace,
    Field::Activity,
];

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// RFC 4180, for programs.
    Plain,
    /// As Dutch spreadsheet programs open it with a double click: semicolons, and a mark that it is UTF-8.
    Excel,
}

impl Style {
    const fn separator(self) -> u8 {
        match self {
            Self::Plain => b',',
            Self::Excel => b';',
        }
    }

    /// The names of the columns.
    pub(super) fn head(self) -> String {
        let mark = if self == Self::Excel { "\u{feff}" } else { "" };
        let mut head = format!("{mark}index");
        for column in COLUMNS {
            head.push(char::from(self.separator()));
            head.push_str(column.name());
        }
        head + "\r\n"
    }

    /// Adds an entry as a row; `time` is its time in words.
    pub(super) fn row(self, out: &mut Vec<u8>, index: u64, time: &str, row: &Row<'_>) {
        // Writing to memory cannot fail.
        _ = write!(out, "{index}");
        for column in COLUMNS {
            out.push(self.separator());
            if column == Field::Time {
                out.extend_from_slice(time.as_bytes());
            } else if let Some(value) = row.get(column) {
                self.cell(out, &value);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// A cell. What a spreadsheet would take for a formula gets an apostrophe in front; in the form for spreadsheets
    /// what it would take for a number and round too, such as an OIN.
    fn cell(self, out: &mut Vec<u8>, text: &str) {
        let formula = matches!(text.as_bytes().first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'));
        let number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'e' | b'E');
        let long = self == Self::Excel && text.len() > 11 && text.bytes().all(number);
        let mark: &[u8] = if formula || long { b"'" } else { b"" };
        // All of it is looked at, many bytes at a time.
        let special = |byte: u8| matches!(byte, b',' | b';' | b'"' | b'\n' | b'\r');
        if text.bytes().fold(false, |found, byte| found | special(byte)) {
            for part in [b"\"", mark, text.replace('"', "\"\"").as_bytes(), b"\""] {
                out.extend_from_slice(part);
            }
        } else {
            out.extend_from_slice(mark);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(style: Style, text: &str) -> String {
        let mut out = Vec::new();
        style.cell(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_becomes_a_formula_a_rounded_number_or_a_second_cell() {
        for style in [Style::Plain, Style::Excel] {
            assert_eq!(cell(style, "=1+1"), "'=1+1");
            assert_eq!(cell(style, "-2"), "'-2");
            assert_eq!(cell(style, "@SUM(A1)"), "'@SUM(A1)");
            assert_eq!(cell(style, "1024"), "1024");
            assert_eq!(cell(style, "a;b,c"), "\"a;b,c\"");
            assert_eq!(cell(style, "=\"x\";y"), "\"'=\"\"x\"\";y\"");
        }
        assert_eq!(cell(Style::Excel, "00000099000000001000"), "'00000099000000001000");
        assert_eq!(cell(Style::Plain, "00000099000000001000"), "00000099000000001000");
        assert_eq!(cell(Style::Excel, "123456789e12"), "'123456789e12");
    }

    #[test]
    fn every_row_has_the_cells_of_its_head() {
        let entry = br#"{"flow":"a,b;c","kind":"start","salt":"00","time":5,"v":1}"#;
        let row = Row::read(entry).unwrap();
        for (style, separator) in [(Style::Plain, ','), (Style::Excel, ';')] {
            let mut out = Vec::new();
            style.row(&mut out, 7, "1970", &row);
            let out = String::from_utf8(out).unwrap();
            let quoted = out.replacen("\"a,b;c\"", "flow", 1);
            assert_eq!(quoted.split(separator).count(), style.head().split(separator).count());
            assert!(out.starts_with(&format!("7{separator}1970{separator}start")) && out.ends_with("\r\n"));
        }
        assert!(Style::Excel.head().starts_with("\u{feff}index;time;kind;"));
        assert!(Style::Plain.head().starts_with("index,time,kind,"));
    }
}
