//! One HTML page that carries everything it needs: no script, nothing from outside, every text escaped.

use std::fmt::Write as _;

use seinhuis_shared::ids::Digest;
use sha2::{Digest as _, Sha256};

/// Contrast of text and lines is 4.5 to 1 or more, on white.
const STYLE: &str = "
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; color: #111; background: #fff; }
h1 { font-size: 1.7rem; line-height: 1.25; }
h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 2px solid #154273; }
[lang=en] { color: #333; }
.proves { border: 3px solid #154273; padding: 0 1rem; font-size: 1.1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; }
caption { text-align: left; font-weight: 600; }
th, td { border: 1px solid #767676; padding: .2rem .5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
thead th { background: #e8edf3; }
td.n { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
code, .hash { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 3px solid #154273; }
svg { max-width: 100%; height: auto; font: 13px system-ui, sans-serif; }
@media print {
  @page { size: A4; margin: 18mm 15mm; }
  body { font-size: 9.5pt; max-width: none; padding: 0; }
  .first { break-after: page; }
  .scroll { overflow: visible; }
  h2, caption { break-after: avoid; }
  tr, svg { break-inside: avoid; }
  thead { display: table-header-group; }
}
";

/// A text as HTML, in an element or an attribute. What steers the direction of text is left out.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A page under way.
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn begin(title: &str) -> Self {
        let hash = data_encoding::BASE64.encode(&Sha256::digest(STYLE.as_bytes()));
        let title = escaped(title);
        // The one style is named by its hash, so that no other can be slipped in.
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"nl\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        ))
    }

    pub(super) fn end(mut self) -> String {
        self.0.push_str("</main>\n</body>\n</html>\n");
        self.0
    }

    pub(super) fn raw(&mut self, html: &str) {
        self.0.push_str(html);
        self.0.push('\n');
    }

    pub(super) fn heading(&mut self, nl: &str, en: &str) {
        _ = writeln!(self.0, "<h2>{} · <span lang=\"en\">{}</span></h2>", escaped(nl), escaped(en));
    }

    /// A paragraph in each language.
    pub(super) fn say(&mut self, nl: &str, en: &str) {
        _ = writeln!(self.0, "<p>{}</p>\n<p lang=\"en\">{}</p>", escaped(nl), escaped(en));
    }

    /// A table: caption and heads in both languages. A head without Dutch is of a column in English. The first cell of a
    /// row is its head; what is after `texts` cells is a number. Without rows there is no table, as heads of nothing are
    /// read out for nothing.
    pub(super) fn table<C: Into<Cell>>(
        &mut self,
        caption: (&str, &str),
        heads: &[(&str, &str)],
        texts: usize,
        rows: impl IntoIterator<Item = Vec<C>>,
    ) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            let [nl, en] =
                [(caption.0, "geen"), (caption.1, "none")].map(|(of, none)| format!("{of}: {none}."));
            return self.say(&nl, &en);
        }
        let name = escaped(caption.0);
        // What can be scrolled can be reached with the keyboard.
        _ = write!(
            self.0,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table><caption>{}</caption><thead><tr>",
            both(caption)
        );
        for head in heads {
            _ = write!(self.0, "<th scope=\"col\">{}</th>", both(*head));
        }
        self.0.push_str("</tr></thead><tbody>\n");
        for row in rows {
            self.0.push_str("<tr>");
            for (at, cell) in row.into_iter().enumerate() {
                let english = heads.get(at).is_some_and(|(nl, _)| nl.is_empty());
                let (open, close) = match at {
                    0 => ("<th scope=\"row\">", "</th>"),
                    _ if english => ("<td lang=\"en\">", "</td>"),
                    _ if at < texts => ("<td>", "</td>"),
                    _ => ("<td class=\"n\">", "</td>"),
                };
                let cell = match cell.into() {
                    Cell::Text(text) => escaped(&text),
                    Cell::Both(nl, en) => both((nl, en)),
                };
                _ = write!(self.0, "{open}{cell}{close}");
            }
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</tbody></table></div>\n");
    }
}

/// What is in a cell.
pub(super) enum Cell {
    /// A text as it is.
    Text(String),
    /// A text of the report's own, in both languages.
    Both(&'static str, &'static str),
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A text in both languages, or in the one there is.
fn both((nl, en): (&str, &str)) -> String {
    let english = || format!("<span lang=\"en\">{}</span>", escaped(en));
    match (nl, en) {
        ("", _) => english(),
        (nl, en) if nl == en || en.is_empty() => escaped(nl),
        (nl, _) => format!("{} · {}", escaped(nl), english()),
    }
}

/// The hash, where it has to be found again by eye.
pub(super) fn short(hash: &Digest) -> String {
    hash.to_string().chars().take(16).collect()
}
