//! The register of processing activities (AVG 30), a row a flow of a covenant version, with what passed in the period.

use std::fmt::Write as _;

use seinhuis_shared::covenant::{Covenant, Flow, Level, Party, Role};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Lang;

use crate::book::Book;
use crate::cells::{MARK, row};

const COLUMNS: [&str; 17] = [
    "convenant (covenant)",
    "versie (version)",
    "hash",
    "stroom (flow)",
    "verwerkingsactiviteit (processing activity)",
    "doel (purpose)",
    "grondslagen (bases)",
    "verwerkingsverantwoordelijken die verstrekken (disclosing controllers)",
    "ontvangers (recipients)",
    "betrokkenen (data subjects)",
    "gegevenscategorieën (categories of data)",
    "niveaus (levels)",
    "bewaartermijn (retention)",
    "beveiliging (security measures)",
    "aangenomen (accepted)",
    "bezorgd (delivered)",
    "geweigerd (refused)",
];

const SECURITY: &str = "end-to-end versleuteld en ondertekend; alleen velden uit het schema; uitwisselingslog (end-to-end encrypted and signed; fields of the schema alone; exchange log)";

fn rows(book: &Book) -> impl Iterator<Item = [String; 17]> + '_ {
    book.covenants().flat_map(move |(hash, covenant)| {
        covenant.flows.iter().map(move |flow| line(book, hash, covenant, flow))
    })
}

fn parties(covenant: &Covenant, roles: impl Fn(Role) -> bool) -> String {
    let named = |party: &&Party| roles(party.role);
    let names: Vec<String> = covenant
        .parties
        .iter()
        .filter(named)
        .map(|party| format!("{} ({})", party.name, party.role.label(Lang::Nl)))
        .collect();
    names.join(", ")
}

fn line(book: &Book, hash: &Digest, covenant: &Covenant, flow: &Flow) -> [String; 17] {
    let counts = book.counts(hash, &flow.id);
    let purpose = covenant.purposes.iter().find(|clause| clause.code == flow.purpose);
    let bases = covenant.bases.iter().filter(|clause| flow.bases.contains(&clause.code));
    let categories = covenant.categories.iter().filter(|one| flow.categories.contains(&one.code));
    let personal = flow.levels.iter().any(|level| level.is_personal());
    let subjects = if personal {
        "personen over wie de stroom gaat (persons)"
    } else {
        "geen: groepsgegevens (none: about a group)"
    };
    let retention = match flow.retention_days {
        Some(days) => format!("{days} dagen (days). {}", flow.retention),
        None => format!("volgt de zaak (follows the case). {}", flow.retention),
    };
    [
        covenant.title.clone(),
        covenant.version.to_string(),
        hash.to_string(),
        flow.id.clone(),
        flow.nl.clone(),
        purpose.map_or_else(|| flow.purpose.clone(), |clause| clause.nl.clone()),
        bases.map(|clause| clause.nl.as_str()).collect::<Vec<_>>().join(", "),
        parties(covenant, |role| flow.routes.iter().any(|route| route.from.contains(&role))),
        parties(covenant, |role| flow.routes.iter().any(|route| route.to.contains(&role))),
        subjects.to_owned(),
        categories.map(|one| one.nl.as_str()).collect::<Vec<_>>().join(", "),
        flow.levels.iter().map(|level: &Level| level.as_str()).collect::<Vec<_>>().join(" "),
        retention,
        SECURITY.to_owned(),
        counts.accepted.to_string(),
        counts.delivered.to_string(),
        counts.refused.to_string(),
    ]
}

/// How many rows there are.
pub(crate) fn count(book: &Book) -> u64 {
    u64::try_from(rows(book).count()).unwrap_or(u64::MAX)
}

/// As a spreadsheet.
pub(crate) fn csv(book: &Book) -> String {
    let head = row(COLUMNS);
    rows(book).fold(format!("{MARK}{head}"), |text, cells| text + &row(cells.iter().map(String::as_str)))
}

/// As a page that fetches nothing.
pub(crate) fn html(book: &Book) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"nl\"><meta charset=\"utf-8\"><title>Register van verwerkingsactiviteiten (AVG 30)</title>\n<style>body{font:14px sans-serif}table{border-collapse:collapse}td,th{border:1px solid #888;padding:.3em;vertical-align:top;text-align:left;overflow-wrap:anywhere}</style>\n<h1>Register van verwerkingsactiviteiten (AVG 30) · Register of processing activities (GDPR 30)</h1>\n<table><tr>",
    );
    let cell = |page: &mut String, tag: &str, text: &str| {
        // Writing to a string cannot fail.
        _ = write!(page, "<{tag}>{}</{tag}>", escape(text));
    };
    for name in COLUMNS {
        cell(&mut page, "th", name);
    }
    for cells in rows(book) {
        page.push_str("</tr>\n<tr>");
        for text in cells {
            cell(&mut page, "td", &text);
        }
    }
    page.push_str("</tr></table></html>\n");
    page
}

/// Text in a page: what would be markup is shown, and what would hide or turn text is written out.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                _ = write!(out, "[U+{:04X}]", u32::from(c));
            }
            c if c.is_control() && c != '\n' => _ = write!(out, "[U+{:04X}]", u32::from(c)),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_covenant_becomes_markup() {
        assert_eq!(escape("<b a='x'>&\u{202e}\""), "&lt;b a=&#39;x&#39;&gt;&amp;[U+202E]&quot;");
    }
}
