//! Tables and texts that fit a terminal, whatever partners put in them.

use std::cmp::Ordering;

use ratatui::text::Span as Cells;
use seinhuis_shared::time::Span;
use seinhuis_shell::lang::Lang;

/// Most characters of one text of a partner.
const TEXT_MAX: usize = 64;
/// Most columns of the terminal that a name takes.
const NAME_MAX: usize = 24;
/// Between two columns.
const GAP: &str = "  ";

/// A text of others without what a terminal would obey or what would hide a part of it: control characters and escape
/// sequences, and characters that take no room or turn the direction around. At most so many characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
    };
    let shown = |c: char| if c.is_control() || hidden(c) { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(most).map(shown).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// How many columns of the terminal a text takes.
pub(super) fn width(text: &str) -> usize {
    Cells::raw(text).width()
}

/// The beginning of a text that takes at most so many columns.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let (mut out, mut taken) = (String::new(), 0_usize);
    let mut buffer = [0; 4];
    for c in text.chars() {
        let next = taken.saturating_add(width(c.encode_utf8(&mut buffer)));
        // The last column is for the sign that there is more.
        if next >= most {
            break;
        }
        out.push(c);
        taken = next;
    }
    if most > 0 {
        out.push('…');
    }
    out
}

/// A text in lines of at most so many columns, broken between words where that can be.
pub(super) fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let word = cut(word, most);
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(&word),
            Some(line) if width(line).saturating_add(width(&word)) < most => {
                line.push(' ');
                line.push_str(&word);
            }
            Some(_) | None => lines.push(word),
        }
    }
    lines
}

/// A length of time in few characters.
pub(super) fn short(span: Span, lang: Lang) -> String {
    let whole = |unit: Span| span.0.checked_div(unit.0).unwrap_or_default();
    let units = [(Span::days(1), "d", "d"), (Span::hours(1), "u", "h"), (Span::minutes(1), "min", "min")];
    let fits = units.into_iter().find(|(unit, ..)| whole(*unit) >= 2);
    let (unit, nl, en) = fits.unwrap_or((Span::seconds(1), "s", "s"));
    format!("{} {}", whole(unit), lang.pick(nl, en))
}

/// A number of bytes in few characters.
pub(super) fn bytes(count: u64) -> String {
    let units = [(40_u32, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.into_iter().find(|(shift, _)| count >> shift >= 2);
    fits.map_or_else(|| format!("{count} B"), |(shift, unit)| format!("{} {unit}", count >> shift))
}

/// Numbers as a row of bars, the highest as high as a bar gets.
pub(super) fn bars(values: impl Iterator<Item = u32> + Clone) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = u64::from(values.clone().max().unwrap_or_default()).max(1);
    let bar = |value: u32| {
        // What is more than nothing shows.
        let height = u64::from(value).saturating_mul(8).div_ceil(highest);
        usize::try_from(height).ok().and_then(|height| BARS.get(height)).copied().unwrap_or('█')
    };
    values.map(bar).collect()
}

/// One field of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    /// By what it is sorted; the text when there is nothing.
    by: Option<u64>,
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self { text: printable(text, TEXT_MAX), by: None }
    }

    /// The name of a partner, so short that there is room for another.
    pub(super) fn name(text: &str) -> Self {
        Self { text: cut(&printable(text, TEXT_MAX), NAME_MAX), by: None }
    }

    pub(super) fn number(number: impl Into<u64>) -> Self {
        let number = number.into();
        Self { text: number.to_string(), by: Some(number) }
    }

    /// What is shown otherwise than it is sorted; a dash, before all others, for nothing.
    pub(super) fn shown<T: Copy>(
        value: Option<T>,
        by: impl Fn(T) -> u64,
        text: impl Fn(T) -> String,
    ) -> Self {
        match value {
            Some(value) => Self { text: text(value), by: Some(by(value)) },
            None => Self { text: "-".to_owned(), by: Some(0) },
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.by, other.by) {
            (Some(own), Some(other)) => own.cmp(&other),
            (Some(_) | None, _) => self.text.cmp(&other.text),
        }
    }
}

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Of those that do not fit the ones with the highest number are left out first; one with 0 stays.
    pub(super) spare: u8,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// By which column a table is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sort {
    /// The column; as the broker gives it when there is none.
    pub(super) column: Option<usize>,
    /// Whether the highest is first.
    pub(super) down: bool,
}

impl Sheet {
    pub(super) fn sort(&mut self, sort: Sort) {
        let Some(column) = sort.column else {
            if sort.down {
                self.rows.reverse();
            }
            return;
        };
        self.rows.sort_by(|a, b| {
            let order = match (a.get(column), b.get(column)) {
                (Some(a), Some(b)) => a.order(b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            if sort.down { order.reverse() } else { order }
        });
    }

    /// Heading and rows as lines of at most so many columns of the terminal; what does not fit at all is cut.
    pub(super) fn lines(&self, most: usize, sort: Sort) -> Vec<String> {
        let heading = |at: usize, column: &Column| match sort.column {
            Some(sorted) if sorted == at => format!("{}{}", column.name, if sort.down { '▼' } else { '▲' }),
            Some(_) | None => column.name.to_owned(),
        };
        let heading: Vec<String> =
            self.columns.iter().enumerate().map(|(at, column)| heading(at, column)).collect();
        let cells = |at: usize| self.rows.iter().filter_map(move |row| row.get(at));
        let widths: Vec<usize> = heading
            .iter()
            .enumerate()
            .map(|(at, name)| cells(at).map(|cell| width(&cell.text)).chain([width(name)]).max().unwrap_or(0))
            .collect();
        let shown = self.fitting(&widths, most);
        let line = |texts: Vec<(&str, bool)>| {
            let padded = shown.iter().filter_map(|at| {
                let ((text, right), wide) = (texts.get(*at)?, widths.get(*at)?);
                let room = " ".repeat(wide.saturating_sub(width(text)));
                Some(if *right { format!("{room}{text}") } else { format!("{text}{room}") })
            });
            cut(padded.collect::<Vec<_>>().join(GAP).trim_end(), most)
        };
        let right = |at: usize| cells(at).next().is_some_and(|cell| cell.by.is_some());
        let first = heading.iter().enumerate().map(|(at, name)| (name.as_str(), right(at))).collect();
        let rows = self
            .rows
            .iter()
            .map(|row| line(row.iter().map(|cell| (cell.text.as_str(), cell.by.is_some())).collect()));
        [line(first)].into_iter().chain(rows).collect()
    }

    /// The columns that are shown.
    fn fitting(&self, widths: &[usize], most: usize) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let spare = |at: &usize| self.columns.get(*at).map_or(0, |column| column.spare);
        let taken = |shown: &[usize]| {
            shown
                .iter()
                .filter_map(|at| widths.get(*at))
                .fold(0_usize, |sum, wide| sum.saturating_add(*wide).saturating_add(GAP.len()))
        };
        while taken(&shown).saturating_sub(GAP.len()) > most {
            let Some(next) = shown.iter().copied().filter(|at| spare(at) > 0).max_by_key(spare) else {
                break;
            };
            shown.retain(|at| *at != next);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_partner_is_obeyed_or_hidden() {
        let evil = "Gemeente\u{1b}[2J\u{1b}]0;x\u{7}\r\n\u{9b}31m\u{202e}nrecord\u{200b}\u{fe0f}\u{e0041}!";
        let shown = printable(evil, 64);
        assert!(shown.starts_with("Gemeente\u{fffd}[2J") && shown.ends_with('!'), "{shown:?}");
        assert!(
            shown.chars().all(|c| !c.is_control()) && !shown.contains(['\u{202e}', '\u{200b}', '\u{fe0f}'])
        );
        assert_eq!(printable("Café Zuid-Oost", 64), "Café Zuid-Oost");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert!(Cell::text(&"x".repeat(1000)).text.chars().count() <= TEXT_MAX + 1);
    }

    #[test]
    fn texts_fit_whatever_their_letters() {
        assert_eq!(
            (cut("abcdef", 6), cut("abcdef", 4), cut("abc", 0)),
            ("abcdef".into(), "abc…".into(), String::new())
        );
        for most in 1..20 {
            for text in ["een zin van enkele woorden", "漢字漢字漢字 漢字", "langewoordenzonderspatie"]
            {
                assert!(width(&cut(text, most)) <= most.max(1), "{text} {most}");
                assert!(wrapped(text, most).iter().all(|line| width(line) <= most.max(1)), "{text} {most}");
            }
        }
        assert_eq!(wrapped("een twee drie", 8), ["een twee", "drie"]);
    }

    #[test]
    fn lengths_sizes_and_bars_are_short() {
        let all = [Span::seconds(5), Span::minutes(2), Span::hours(3), Span::days(9)];
        assert_eq!(all.map(|span| short(span, Lang::Nl)), ["5 s", "2 min", "3 u", "9 d"]);
        assert_eq!(short(Span::hours(3), Lang::En), "3 h");
        assert_eq!([0, 2047, 2048, 5 << 30].map(bytes), ["0 B", "2047 B", "2 KiB", "5 GiB"]);
        assert_eq!(bars([0, 1, 50, 100].into_iter()), " ▁▄█");
        assert_eq!(bars([0, 0].into_iter()), "  ");
        assert_eq!(bars([u32::MAX].into_iter()), "█");
    }

    fn sheet() -> Sheet {
        let column = |name, spare| Column { name, spare };
        let row = |name: &str, count: u64| vec![Cell::text(name), Cell::number(count), Cell::text("0.1")];
        Sheet {
            columns: vec![column("NAAM", 0), column("AANTAL", 1), column("SOFTWARE", 2)],
            rows: vec![row("gemeente", 9), row("politie", 10), row("om", 0)],
        }
    }

    #[test]
    fn a_table_is_sorted_by_numbers_as_numbers() {
        let mut sheet = sheet();
        let first = |sheet: &Sheet| sheet.rows[0][0].text.clone();
        sheet.sort(Sort { column: Some(1), down: true });
        assert_eq!(first(&sheet), "politie");
        sheet.sort(Sort { column: Some(1), down: false });
        assert_eq!(first(&sheet), "om");
        sheet.sort(Sort { column: Some(0), down: false });
        assert_eq!(first(&sheet), "gemeente");
        sheet.sort(Sort { column: Some(9), down: false });
        sheet.sort(Sort { column: None, down: true });
        assert_eq!(first(&sheet), "politie");
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns_and_no_line_that_does_not_fit() {
        let sort = Sort { column: Some(1), down: true };
        let lines = sheet().lines(80, sort);
        assert_eq!(lines[0], "NAAM      AANTAL▼  SOFTWARE");
        assert_eq!(lines[1], "gemeente        9  0.1");
        assert_eq!(sheet().lines(17, sort)[0], "NAAM      AANTAL▼");
        assert_eq!(sheet().lines(16, sort)[1], "gemeente");
        for most in 0..40 {
            assert!(sheet().lines(most, sort).iter().all(|line| width(line) <= most), "{most}");
        }
        assert_eq!(Sheet::default().lines(10, Sort::default()), [""]);
    }
}
