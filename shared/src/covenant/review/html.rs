//! A review as one HTML page: no script, nothing from outside, every text escaped.

use super::{Block, Review, Section, Table};
use crate::covenant::words::shown;
use crate::refusal::Lang;

/// Nothing runs and nothing is fetched, also when the page is opened from a disk.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid; }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { border: 1px solid #888; padding: .25rem .5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; hyphens: auto; }
.scroll th { overflow-wrap: break-word; }
#matrix table { table-layout: fixed; min-width: 50rem; }
thead th { background: #8882; }
.facts th { width: 16rem; font-weight: 500; }
.scroll { overflow-x: auto; }
.hash { overflow-wrap: anywhere; font-family: ui-monospace, monospace; }
#changes { border: 2px solid; padding: 0 1rem 1rem; }
#changes h2 { border: 0; margin-top: 1rem; }
@media print {
  @page { size: A4; margin: 18mm 15mm; }
  @page wide { size: A4 landscape; margin: 15mm; }
  #matrix { page: wide; }
  #matrix table { font-size: 8pt; }
  #matrix table, #parties table { break-inside: avoid; }
  body { font-size: 9.5pt; max-width: none; padding: 0; color: #000; background: #fff; }
  nav { display: none; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
  caption { break-after: avoid; }
  tr { break-inside: avoid; }
  thead { display: table-header-group; }
  thead th { background: none; }
}
";

impl Review {
    /// The review as one complete HTML page in `lang`. It needs no more than the policy it carries itself:
    /// no script, no image, no font, no link outside the page.
    pub fn html(&self, lang: Lang) -> String {
        let mut page = Page { out: String::new(), lang };
        page.out.push_str("<!DOCTYPE html>\n<html lang=\"");
        page.out.push_str(lang.pick("nl", "en"));
        page.out.push_str(
            "\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"",
        );
        page.text(POLICY);
        page.out.push_str("\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        page.element("title", self.title.text(lang));
        page.out.push_str("<style>");
        page.out.push_str(STYLE);
        page.out.push_str("</style>\n</head>\n<body>\n<header>\n");
        page.element("h1", self.title.text(lang));
        page.out.push_str("<p class=\"hash\">SHA-256 ");
        page.text(&self.hash.to_string());
        page.out.push_str("</p>\n</header>\n");
        page.contents(&self.sections);
        page.out.push_str("<main>\n");
        for section in &self.sections {
            page.section(section);
        }
        page.out.push_str("</main>\n</body>\n</html>\n");
        page.out
    }
}

struct Page {
    out: String,
    lang: Lang,
}

impl Page {
    /// The one way by which text of a document reaches the page.
    fn text(&mut self, text: &str) {
        for c in shown(text).chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                _ => self.out.push(c),
            }
        }
    }

    /// An element; `open` is its name with attributes, which come from this file alone.
    fn element(&mut self, open: &'static str, text: &str) {
        let name = open.split(' ').next().unwrap_or(open);
        self.out.push('<');
        self.out.push_str(open);
        self.out.push('>');
        self.text(text);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    fn contents(&mut self, sections: &[Section]) {
        let label = self.lang.pick("Inhoud", "Contents");
        self.out.push_str("<nav aria-label=\"");
        self.text(label);
        self.out.push_str("\">\n<ol>\n");
        for section in sections {
            self.out.push_str("<li><a href=\"#");
            self.text(section.id);
            self.out.push_str("\">");
            self.text(section.heading.text(self.lang));
            self.out.push_str("</a></li>\n");
        }
        self.out.push_str("</ol>\n</nav>\n");
    }

    fn section(&mut self, section: &Section) {
        self.out.push_str("<section id=\"");
        self.text(section.id);
        self.out.push_str("\">\n");
        self.element("h2", section.heading.text(self.lang));
        for block in &section.blocks {
            self.block(block);
        }
        self.out.push_str("</section>\n");
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(words) => self.element("p", words.text(self.lang)),
            Block::List(items) => {
                self.out.push_str("<ul>\n");
                for item in items {
                    self.element("li", item.text(self.lang));
                }
                self.out.push_str("</ul>\n");
            }
            Block::Facts(caption, facts) => {
                self.out.push_str("<table class=\"facts\">\n");
                self.element("caption", caption.text(self.lang));
                self.out.push_str("<tbody>\n");
                for (name, value) in facts {
                    self.out.push_str("<tr>");
                    self.element("th scope=\"row\"", name.text(self.lang));
                    self.element("td", value.text(self.lang));
                    self.out.push_str("</tr>\n");
                }
                self.out.push_str("</tbody>\n</table>\n");
            }
            Block::Table(table) => self.table(table),
        }
    }

    fn table(&mut self, table: &Table) {
        // Who has no mouse reaches a table wider than the screen by its focus.
        self.out.push_str("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"");
        self.text(table.caption.text(self.lang));
        self.out.push_str("\">\n<table>\n");
        self.element("caption", table.caption.text(self.lang));
        self.out.push_str("<thead>\n<tr>");
        for name in &table.head {
            self.element("th scope=\"col\"", name.text(self.lang));
        }
        self.out.push_str("</tr>\n</thead>\n<tbody>\n");
        for row in &table.rows {
            self.out.push_str("<tr>");
            for (index, cell) in row.iter().enumerate() {
                let open = if index == 0 { "th scope=\"row\"" } else { "td" };
                self.element(open, cell.text(self.lang));
            }
            self.out.push_str("</tr>\n");
        }
        self.out.push_str("</tbody>\n</table>\n</div>\n");
    }
}
