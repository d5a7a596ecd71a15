//! CSV as spreadsheets save it, in bounded memory: rows of cells, with the line on which each row begins.

use std::io::{self, BufRead};

/// Most bytes of one row.
pub(super) const ROW_MAX: usize = 1 << 20;
/// Most cells of one row.
pub(super) const CELLS_MAX: usize = 1000;
/// How far the first line is looked for a separator.
const FIRST_MAX: usize = 64 * 1024;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// Its cells, or what is wrong with it.
    pub(super) cells: Result<Vec<Vec<u8>>, Fault>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is longer than [`ROW_MAX`], or has more than [`CELLS_MAX`] cells.
    TooLong,
    /// Something follows the quote that closes a cell.
    AfterQuote,
    /// A quote opens a cell and none closes it.
    Unclosed,
}

impl Row {
    /// Whether it may hold rows that come after it, because nothing says where it was to end. The next begins on line
    /// `next`.
    pub(super) fn is_lost(&self, next: u64) -> bool {
        match self.cells {
            Err(Fault::TooLong | Fault::Unclosed) => true,
            // The quote that closed a cell may be one that was to open another, lines below.
            Err(Fault::AfterQuote) => next > self.line.saturating_add(1),
            Ok(_) => false,
        }
    }
}

/// Where the reader is in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Plain,
    Quoted,
    /// After a quote in a quoted cell: its end, or the first of two that stand for one.
    Quote,
    /// After a carriage return: a line feed belongs to it.
    Return,
}

/// Reads rows.
#[derive(Debug)]
pub(super) struct Reader<R> {
    source: R,
    separator: u8,
    line: u64,
    at: u64,
}

/// A row that is being read.
#[derive(Debug, Default)]
struct Draft {
    cells: Vec<Vec<u8>>,
    cell: Vec<u8>,
    bytes: usize,
    fault: Option<Fault>,
}

impl Draft {
    fn push(&mut self, byte: u8) {
        self.bytes = self.bytes.saturating_add(1);
        if self.bytes > ROW_MAX {
            self.wrong(Fault::TooLong);
        } else {
            self.cell.push(byte);
        }
    }

    fn end_cell(&mut self) {
        let cell = std::mem::take(&mut self.cell);
        if self.cells.len() >= CELLS_MAX {
            self.wrong(Fault::TooLong);
        } else {
            self.cells.push(cell);
        }
    }

    fn wrong(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Whether the line held nothing at all.
    fn is_blank(&self) -> bool {
        self.fault.is_none() && self.cells.is_empty() && self.cell.is_empty()
    }

    fn end(mut self, line: u64) -> Row {
        self.end_cell();
        Row { line, cells: self.fault.map_or(Ok(self.cells), Err) }
    }
}

impl<R: BufRead> Reader<R> {
    /// Goes on at a place in a file: so many bytes from its begin, on this line.
    pub(super) const fn resumed(source: R, separator: u8, at: u64, line: u64) -> Self {
        Self { source, separator, line, at }
    }

    /// How many bytes were read, and on which line the next row begins.
    pub(super) const fn place(&self) -> (u64, u64) {
        (self.at, self.line)
    }

    /// The next row; none at the end. Lines that hold nothing are passed over.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        let (mut draft, mut state, mut begun) = (Draft::default(), State::Begin, self.line);
        loop {
            let buffer = self.source.fill_buf()?;
            let Some(&byte) = buffer.first() else {
                if state == State::Quoted {
                    draft.wrong(Fault::Unclosed);
                }
                let empty = draft.is_blank() && matches!(state, State::Begin | State::Return);
                return Ok((!empty).then(|| draft.end(begun)));
            };
            if state == State::Return && byte != b'\n' {
                self.line = self.line.saturating_add(1);
                if !draft.is_blank() {
                    return Ok(Some(draft.end(begun)));
                }
                (state, begun) = (State::Begin, self.line);
                continue;
            }
            self.source.consume(1);
            self.at = self.at.saturating_add(1);
            let ends = byte == b'\n' && state != State::Quoted;
            if byte == b'\n' {
                self.line = self.line.saturating_add(1);
            }
            if ends {
                if !draft.is_blank() || state == State::Quote {
                    return Ok(Some(draft.end(begun)));
                }
                (state, begun) = (State::Begin, self.line);
                continue;
            }
            state = self.step(&mut draft, state, byte);
        }
    }

    fn step(&self, draft: &mut Draft, state: State, byte: u8) -> State {
        match (state, byte) {
            (State::Quoted, b'"') => State::Quote,
            (State::Quoted, _) | (State::Quote, b'"') => {
                draft.push(byte);
                State::Quoted
            }
            (State::Begin, b'"') => State::Quoted,
            (_, b'\r') => State::Return,
            (_, byte) if byte == self.separator => {
                draft.end_cell();
                State::Begin
            }
            (State::Quote, _) => {
                draft.wrong(Fault::AfterQuote);
                State::Plain
            }
            (State::Begin | State::Plain | State::Return, _) => {
                draft.push(byte);
                State::Plain
            }
        }
    }
}

/// How a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// What separates cells.
    pub(super) separator: u8,
    /// Where the first row begins: after a byte order mark and a line `sep=;`.
    pub(super) at: usize,
    /// On which line.
    pub(super) line: u64,
    /// Whether a byte order mark says that it is UTF-8.
    pub(super) marked: bool,
}

/// Looks how a file begins; none for UTF-16, as spreadsheets save "Unicode text". Without a separator that is `given`, it
/// is the one that the first line has most of.
pub(super) fn begin(bytes: &[u8], given: Option<u8>) -> Option<Begin> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return None;
    }
    let marked = bytes.strip_prefix(b"\xef\xbb\xbf");
    let (mut at, text) = marked.map_or((0_usize, bytes), |text| (3, text));
    let mut line = 1;
    let mut first = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let mut said = None;
    if let Some([separator]) = first.strip_prefix(b"sep=") {
        said = Some(*separator);
        at = at.saturating_add(first.len());
        let rest = text.get(first.len()..).unwrap_or_default();
        let end = if rest.starts_with(b"\r\n") { 2 } else { usize::from(!rest.is_empty()) };
        (at, line) = (at.saturating_add(end), 2);
    }
    first = first.get(..first.len().min(FIRST_MAX)).unwrap_or_default();
    let count = |separator: u8| first.split(|byte| *byte == separator).count();
    // Of equal counts the last is the most: a line without any has a semicolon, as Dutch spreadsheets do.
    let most = [b'\t', b',', b';'].into_iter().max_by_key(|one| count(*one)).unwrap_or(b';');
    Some(Begin { separator: given.or(said).unwrap_or(most), at, line, marked: marked.is_some() })
}

/// Writes a row, each cell between quotes where it has to be.
pub(super) fn write_row(out: &mut String, separator: u8, cells: impl IntoIterator<Item = String>) {
    let separator = char::from(separator);
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.push(separator);
        }
        if cell.contains([separator, '"', '\n', '\r']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &[u8]) -> Vec<Row> {
        let mut reader = Reader::resumed(text, b';', 0, 1);
        let mut rows = Vec::new();
        while let Some(row) = reader.next().unwrap() {
            rows.push(row);
        }
        rows
    }

    fn cells(text: &str) -> Vec<(u64, Vec<String>)> {
        let all = rows(text.as_bytes()).into_iter();
        let text = |cells: Vec<Vec<u8>>| cells.into_iter().map(|it| String::from_utf8(it).unwrap()).collect();
        all.map(|row| (row.line, text(row.cells.unwrap()))).collect()
    }

    #[test]
    fn rows_are_read_as_spreadsheets_write_them() {
        let text = "a;b\r\n1;\"x;\"\"y\"\"\r\nz\"\r\n\r\n;\n\"\"\nlast;2";
        let own = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            cells(text),
            [
                (1, own(&["a", "b"])),
                (2, own(&["1", "x;\"y\"\r\nz"])),
                (5, own(&["", ""])),
                (6, own(&[""])),
                (7, own(&["last", "2"])),
            ]
        );
        assert_eq!(cells("a\rb\r"), [(1, own(&["a"])), (2, own(&["b"]))], "as old Macs do");
        assert_eq!(cells("a;5\" pijp"), [(1, own(&["a", "5\" pijp"]))]);
        assert!(cells("").is_empty() && cells("\n\r\n\r").is_empty());
    }

    #[test]
    fn a_row_that_is_wrong_is_told_and_the_next_is_read() {
        let told = rows(b"\"a\"x;1\nb;2\n\"c;3\nd");
        assert_eq!(told[0], Row { line: 1, cells: Err(Fault::AfterQuote) });
        assert_eq!(told[1].cells.as_ref().unwrap().len(), 2);
        assert_eq!(told[2], Row { line: 3, cells: Err(Fault::Unclosed) });
        let long = [vec![b'x'; ROW_MAX + 1], b"\nb".to_vec()].concat();
        let all = rows(&long);
        assert_eq!((all[0].cells.clone(), all[1].line), (Err(Fault::TooLong), 2));
        let many = ";".repeat(CELLS_MAX);
        assert_eq!(rows(many.as_bytes())[0].cells, Err(Fault::TooLong));
    }

    #[test]
    fn the_separator_is_found_in_the_first_line() {
        let separator = |text: &str| begin(text.as_bytes(), None).map(|begin| begin.separator);
        assert_eq!(separator("a;b,c;d\n"), Some(b';'));
        assert_eq!(separator("a,b\n;;;"), Some(b','));
        assert_eq!(separator("a\tb"), Some(b'\t'));
        assert_eq!(separator("alleen"), Some(b';'));
        let begins = |text: &[u8]| begin(text, None);
        assert_eq!(begins(b"\xef\xbb\xbfa;b"), Some(Begin { separator: b';', at: 3, line: 1, marked: true }));
        assert_eq!(begins(b"sep=,\r\na;b,"), Some(Begin { separator: b',', at: 7, line: 2, marked: false }));
        assert_eq!(begins(b"\xff\xfea\0"), None);
        assert_eq!(begin(b"a;b", Some(b',')).unwrap().separator, b',');
    }

    proptest! {
        #[test]
        fn any_bytes_are_rows_and_reading_goes_on_anywhere(
            bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b';'), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200)
        ) {
            let all = rows(&bytes);
            let mut reader = Reader::resumed(bytes.as_slice(), b';', 0, 1);
            let mut again = Vec::new();
            loop {
                let (at, line) = reader.place();
                let rest = bytes.get(usize::try_from(at).unwrap()..).unwrap();
                reader = Reader::resumed(rest, b';', at, line);
                let Some(row) = reader.next().unwrap() else { break };
                again.push(row);
            }
            prop_assert_eq!(all, again);
        }

        #[test]
        fn what_is_written_reads_back(cells in prop::collection::vec("[a-z;\"\r\n]{1,5}", 1..5)) {
            let mut text = String::new();
            write_row(&mut text, b';', cells.clone());
            let read = rows(text.as_bytes());
            prop_assert_eq!(read.len(), 1);
            let bytes: Vec<Vec<u8>> = cells.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(&read[0].cells, &Ok(bytes));
        }
    }
}
