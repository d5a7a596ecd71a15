//! A review as plain text, for terminals and letters.

use super::{Block, Review, Table};
use crate::covenant::words::{Words, shown};
use crate::refusal::Lang;

const WIDTH: usize = 100;
/// Deeper than any line begins by itself: text of a document cannot pass for a line of the review.
const CONTINUED: &str = "        ";

impl Review {
    /// The review as plain text in `lang`, lines of at most 100 characters as far as words allow.
    pub fn text(&self, lang: Lang) -> String {
        let mut out = String::new();
        let title = shown(self.title.text(lang));
        heading(&mut out, &title, '=');
        for section in &self.sections {
            out.push('\n');
            heading(&mut out, &shown(section.heading.text(lang)), '-');
            for block in &section.blocks {
                out.push('\n');
                self::block(&mut out, block, lang);
            }
        }
        out
    }
}

fn heading(out: &mut String, text: &str, line: char) {
    out.push_str(text);
    out.push('\n');
    out.extend(core::iter::repeat_n(line, text.chars().count().min(WIDTH)));
    out.push('\n');
}

fn block(out: &mut String, block: &Block, lang: Lang) {
    match block {
        Block::Paragraph(words) => wrap(out, "", &shown(words.text(lang))),
        Block::List(items) => {
            for item in items {
                wrap(out, "- ", &shown(item.text(lang)));
            }
        }
        Block::Facts(caption, facts) => {
            wrap(out, "", &shown(caption.text(lang)));
            for (name, value) in facts {
                fact(out, "  ", name, value, lang);
            }
        }
        Block::Table(table) => rows(out, table, lang),
    }
}

fn fact(out: &mut String, indent: &str, name: &Words, value: &Words, lang: Lang) {
    let value = shown(value.text(lang));
    if !value.is_empty() {
        let line = format!("{}: {value}", shown(name.text(lang)));
        wrap(out, indent, &line);
    }
}

/// Row after row: a table as wide as a page does not fit a terminal.
fn rows(out: &mut String, table: &Table, lang: Lang) {
    wrap(out, "", &shown(table.caption.text(lang)));
    for row in &table.rows {
        let Some((first, cells)) = row.split_first() else { continue };
        wrap(out, "- ", &shown(first.text(lang)));
        for (name, value) in table.head.iter().skip(1).zip(cells) {
            fact(out, "    ", name, value, lang);
        }
    }
}

fn wrap(out: &mut String, first: &str, text: &str) {
    out.push_str(first);
    let mut column = first.chars().count();
    let mut fresh = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !fresh && column.saturating_add(length).saturating_add(1) > WIDTH {
            out.push('\n');
            out.push_str(CONTINUED);
            column = CONTINUED.len();
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            column = column.saturating_add(1);
        }
        out.push_str(word);
        column = column.saturating_add(length);
        fresh = false;
    }
    out.push('\n');
}
