//! What documents, reviews and warnings say to people, in both languages at once.

use core::fmt::Write as _;

use super::document::Covenant;
use super::vocabulary::{Level, Role, Step};
use crate::ids::Oin;
use crate::refusal::Lang;
use crate::time::{Span, Timestamp};

/// One sentence or name in both languages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Words {
    /// In Dutch.
    pub nl: String,
    /// In English.
    pub en: String,
}

impl Words {
    /// Both texts.
    pub fn new(nl: impl Into<String>, en: impl Into<String>) -> Self {
        Self { nl: nl.into(), en: en.into() }
    }

    /// The same text in both languages: names, numbers, codes.
    pub fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { nl: text.clone(), en: text }
    }

    /// The text in `lang`.
    pub fn text(&self, lang: Lang) -> &str {
        lang.pick(&self.nl, &self.en)
    }

    /// This, and `other` after it, with `between` in the middle.
    #[must_use]
    pub(super) fn then(mut self, between: &str, other: &Self) -> Self {
        self.nl.push_str(between);
        self.nl.push_str(&other.nl);
        self.en.push_str(between);
        self.en.push_str(&other.en);
        self
    }
}

/// Items with commas, and a word before the last.
pub(super) fn list(items: impl IntoIterator<Item = Words>, last: &Words) -> Words {
    let items: Vec<Words> = items.into_iter().collect();
    let Some((end, before)) = items.split_last() else { return Words::new("geen", "none") };
    let mut sum: Option<Words> = None;
    for item in before {
        sum = Some(match sum {
            Some(sum) => sum.then(", ", item),
            None => item.clone(),
        });
    }
    match sum {
        Some(sum) => Words::new(
            format!("{} {} {}", sum.nl, last.nl, end.nl),
            format!("{} {} {}", sum.en, last.en, end.en),
        ),
        None => end.clone(),
    }
}

/// Items with commas, and "and" before the last.
pub(super) fn and(items: impl IntoIterator<Item = Words>) -> Words {
    list(items, &Words::new("en", "and"))
}

/// Items with semicolons, for texts that have commas of their own.
pub(super) fn row(items: impl IntoIterator<Item = Words>) -> Words {
    let joined = items.into_iter().reduce(|sum, item| sum.then("; ", &item));
    joined.unwrap_or_else(|| Words::new("geen", "none"))
}

/// Codes or names that are the same in both languages, with "and" before the last.
pub(super) fn and_same<T: ToString>(items: impl IntoIterator<Item = T>) -> Words {
    and(items.into_iter().map(|item| Words::same(item.to_string())))
}

/// A role as the subject or object of a sentence.
pub(super) fn role(role: Role) -> Words {
    let (nl, en) = match role {
        Role::Gemeente => ("de gemeente", "the municipality"),
        Role::Politie => ("de politie", "the police"),
        Role::Jongerenwerk => ("het jongerenwerk", "youth work"),
        Role::Om => ("het OM", "the public prosecution service"),
        Role::Boa => ("de boa", "the municipal enforcement officers"),
        Role::Pga => ("de persoonsgerichte aanpak", "the person-centred approach"),
        Role::Zvh => ("het Zorg- en Veiligheidshuis", "the care and safety house"),
        Role::LokaalTeam => ("het lokaal team", "the local team"),
    };
    Words::new(nl, en)
}

/// Roles in a sentence.
pub(super) fn roles<'a>(all: impl IntoIterator<Item = &'a Role>) -> Words {
    and(all.into_iter().map(|one| role(*one)))
}

/// Who informs data subjects.
pub(super) fn informs(covenant: &Covenant) -> Words {
    if covenant.informs.is_empty() {
        Words::new("niet afgesproken", "not agreed")
    } else {
        roles(&covenant.informs)
    }
}

/// Roles of which one suffices.
pub(super) fn any_role<'a>(all: impl IntoIterator<Item = &'a Role>) -> Words {
    list(all.into_iter().map(|one| role(*one)), &Words::new("of", "or"))
}

/// `2 partijen`.
pub(super) fn parties(number: u8) -> Words {
    match number {
        1 => Words::new("1 partij", "1 party"),
        _ => Words::new(format!("{number} partijen"), format!("{number} parties")),
    }
}

/// `stap 2B en 3`.
pub(super) fn steps<'a>(all: impl IntoIterator<Item = &'a Step>) -> Words {
    let all: Vec<Step> = all.into_iter().copied().collect();
    if Step::ALL.iter().all(|step| all.contains(step)) {
        return Words::new("elke stap", "every step");
    }
    let names = and_same(&all);
    let plural = if all.len() == 1 { "step" } else { "steps" };
    Words::new(format!("stap {}", names.nl), format!("{plural} {}", names.en))
}

/// `niveau P1 en P3`.
pub(super) fn levels<'a>(all: impl IntoIterator<Item = &'a Level>) -> Words {
    let all: Vec<Level> = all.into_iter().copied().collect();
    let names = and_same(&all);
    let plural = if all.len() == 1 { "level" } else { "levels" };
    Words::new(format!("niveau {}", names.nl), format!("{plural} {}", names.en))
}

/// A date; an instant that is not midnight with its time.
pub(super) fn date(instant: Timestamp) -> String {
    let text = instant.to_string();
    text.strip_suffix("T00:00:00.000Z").map(str::to_owned).unwrap_or(text)
}

/// A number of days; whole years as such too.
pub(super) fn days(number: u32) -> Words {
    let years = number.wrapping_div(365);
    // Leap days: up to one in every year that is counted.
    let whole = years > 0
        && number.saturating_sub(years.saturating_mul(365)) <= years.wrapping_div(4).saturating_add(1);
    let (mut nl, mut en) = match number {
        1 => ("1 dag".to_owned(), "1 day".to_owned()),
        _ => (format!("{number} dagen"), format!("{number} days")),
    };
    if whole {
        let plural = if years == 1 { "" } else { "s" };
        _ = write!(nl, " ({years} jaar)");
        _ = write!(en, " ({years} year{plural})");
    }
    Words { nl, en }
}

/// A span in days where it is whole days.
pub(super) fn span(span: Span) -> Words {
    const DAY: u64 = Span::days(1).0;
    match u32::try_from(span.0.wrapping_div(DAY)) {
        Ok(number) if span == Span::days(number.into()) => days(number),
        Ok(_) | Err(_) => Words::same(format!("{} ms", span.0)),
    }
}

/// Yes or no.
pub(super) fn yes_no(yes: bool) -> Words {
    if yes { Words::new("ja", "yes") } else { Words::new("nee", "no") }
}

/// A party by its name and OIN; the OIN alone for who is none.
pub(super) fn party(covenant: &Covenant, oin: Oin) -> String {
    covenant
        .parties
        .iter()
        .find(|party| party.oin == oin)
        .map_or_else(|| oin.to_string(), |party| format!("{} ({oin})", party.name))
}

/// Text from a document as it may be shown: what would move, hide or reverse what stands around it is
/// written out, so that nobody signs something else than he reads.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str(" ¶ "),
            _ if c.is_control() || is_invisible(c) => _ = write!(out, "[U+{:04X}]", u32::from(c)),
            _ => out.push(c),
        }
    }
    out
}

/// Marks of direction, joiners, spaces without width, line separators, tags and variation selectors.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_people_write_them() {
        assert_eq!(and_same::<&str>([]), Words::new("geen", "none"));
        assert_eq!(and_same(["a"]).nl, "a");
        assert_eq!(and_same(["a", "b"]), Words::new("a en b", "a and b"));
        assert_eq!(and_same(["a", "b", "c"]).en, "a, b and c");
        assert_eq!(steps(&[Step::S2B, Step::S3]), Words::new("stap 2B en 3", "steps 2B and 3"));
        assert_eq!(steps(Step::ALL).nl, "elke stap");
        assert_eq!(levels(&[Level::P3]), Words::new("niveau P3", "level P3"));
    }

    #[test]
    fn dates_and_terms_read_as_people_write_them() {
        assert_eq!(date(Timestamp::parse("2026-03-01").unwrap()), "2026-03-01");
        assert_eq!(date(Timestamp::parse("2026-03-01T12:00:00Z").unwrap()), "2026-03-01T12:00:00.000Z");
        assert_eq!(days(1).en, "1 day");
        assert_eq!(days(90).nl, "90 dagen");
        assert_eq!(days(365).en, "365 days (1 year)");
        assert_eq!(days(1826).nl, "1826 dagen (5 jaar)");
        assert_eq!(days(400).nl, "400 dagen");
    }

    #[test]
    fn what_hides_or_reverses_text_is_written_out() {
        assert_eq!(shown("a\u{202E}b\u{1b}[2Jc\nd\u{200B}é"), "a[U+202E]b[U+001B][2Jc ¶ d[U+200B]é");
    }
}
