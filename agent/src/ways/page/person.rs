//! Who may use the page: people of this organisation, each with an access code and what it lets them do in which flows.

use std::fmt;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};

use crate::ways::pass::{Flow, Kind, NAME_MAX, Pass, Passes};

/// A person, without the code.
pub type Person = Pass<May>;
/// The people of an agent.
pub type Persons = Passes<May>;

/// One thing that a person may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum May {
    /// Read what came in of this flow, and say that it is taken over.
    Read(Flow),
    /// Make signals of this flow, and correct and withdraw them.
    Push(Flow),
    /// Read what waits for release of this flow, and decide about what others made.
    Release(Flow),
    /// See cases.
    Cases,
    /// Decide about cases, as far as the covenant lets this organisation.
    Decide,
    /// Look after the rights of data subjects: see who they are and what was exchanged about them, in whatever flow, keep
    /// whether they were told, and have it corrected and erased.
    Subjects,
}

impl fmt::Display for May {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, flow) = match self {
            Self::Read(flow) => ("read", flow),
            Self::Push(flow) => ("push", flow),
            Self::Release(flow) => ("release", flow),
            Self::Cases => return f.write_str("cases"),
            Self::Decide => return f.write_str("decide"),
            Self::Subjects => return f.write_str("subjects"),
        };
        match flow {
            Flow::Every => f.write_str(word),
            Flow::Only(name) => write!(f, "{word}:{name}"),
        }
    }
}

impl From<May> for String {
    fn from(may: May) -> Self {
        may.to_string()
    }
}

impl std::str::FromStr for May {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, flow) = match text.split_once(':') {
            Some((word, flow)) => (word, Flow::read(flow).filter(|flow| *flow != Flow::Every)),
            None => (text, Some(Flow::Every)),
        };
        let read = match (word, flow) {
            ("cases", Some(Flow::Every)) => Some(Self::Cases),
            ("decide", Some(Flow::Every)) => Some(Self::Decide),
            ("subjects", Some(Flow::Every)) => Some(Self::Subjects),
            ("read", Some(flow)) => Some(Self::Read(flow)),
            ("push", Some(flow)) => Some(Self::Push(flow)),
            ("release", Some(flow)) => Some(Self::Release(flow)),
            _ => None,
        };
        read.ok_or_else(|| {
            "choose read, push, release, each for one flow too as in read:F01, cases, decide or subjects"
                .to_owned()
        })
    }
}

impl TryFrom<String> for May {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Kind for May {
    const PREFIX: &'static str = "shp_";
    const CALLED: (&'static str, &'static str) = ("toegangscode", "access code");
    const COMMAND: &'static str = "person";
    // Two codes for one person would be four eyes of one.
    const ONE_EACH: bool = true;

    fn check_name(name: &str) -> Result<(), Complaint> {
        let plain = |one: char| one.is_alphanumeric() || matches!(one, ' ' | '-' | '.' | '\'');
        let good = (1..=NAME_MAX).contains(&name.chars().count())
            && name.chars().all(plain)
            && name.starts_with(char::is_alphabetic)
            && !name.ends_with(' ')
            && !name.contains("  ");
        if good {
            return Ok(());
        }
        Err(Complaint::usage(
            Text::new(
                format!("{name:?} is geen naam van een persoon."),
                format!("{name:?} is no name of a person."),
            ),
            Text::new(
                "Gebruik 1 tot 64 letters, cijfers, spaties, punten en streepjes, zoals \"Anna de Vries\".",
                "Use 1 to 64 letters, digits, spaces, dots and dashes, such as \"Anna de Vries\".",
            ),
        ))
    }
}

impl Person {
    /// Whether this person reads what came in of a flow.
    pub fn reads(&self, flow: &str) -> bool {
        self.rights.iter().any(|right| matches!(right, May::Read(own) if own.holds(flow)))
    }

    /// Whether this person makes signals of a flow.
    pub fn pushes(&self, flow: &str) -> bool {
        self.rights.iter().any(|right| matches!(right, May::Push(own) if own.holds(flow)))
    }

    /// Whether this person decides about what others made of a flow.
    pub fn releases(&self, flow: &str) -> bool {
        self.rights.iter().any(|right| matches!(right, May::Release(own) if own.holds(flow)))
    }

    /// Whether this person sees what became of what was sent of a flow; a body is not shown with it.
    pub fn follows(&self, flow: &str) -> bool {
        self.reads(flow) || self.pushes(flow) || self.releases(flow)
    }

    /// Whether this person sees cases.
    pub fn sees_cases(&self) -> bool {
        self.may(&May::Cases) || self.may(&May::Decide)
    }

    /// Whether there is anything of this kind that this person may do, in whatever flow.
    pub(super) fn ever(&self, kind: impl Fn(&May) -> bool) -> bool {
        self.rights.iter().any(kind)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use seinhuis_shared::time::{Span, Timestamp};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn rights(texts: &[&str]) -> BTreeSet<May> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rights_read_as_they_print_and_nothing_else_reads() {
        let all = ["read", "read:F01", "push", "push:F02", "release", "release:F09"];
        for text in all.into_iter().chain(["cases", "decide", "subjects"]) {
            assert_eq!(text.parse::<May>().unwrap().to_string(), text);
        }
        let wrong =
            ["", "read:", "read:*", "read:F 1", "Read", "cases:F01", "decide:F01", "all", "*", "send"];
        for text in wrong.into_iter().chain(["subjects:F01", "subject", "register"]) {
            assert!(text.parse::<May>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_person_may_what_is_named_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let persons = Persons::new(&dir.path().join("persons.json"));
        let (anna, code) = persons.add("Anna de Vries", rights(&["read:F01", "push"]), 1, NOW).unwrap();
        assert!(code.starts_with("shp_") && code.len() > 40);
        assert!(anna.reads("F01") && !anna.reads("F02") && anna.pushes("F02") && !anna.releases("F01"));
        assert!(anna.follows("F09") && !anna.sees_cases() && !anna.may(&May::Subjects));
        assert_eq!(persons.find(&code, NOW).unwrap(), Some(anna));
    }

    #[test]
    fn a_person_has_one_code_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let persons = Persons::new(&dir.path().join("persons.json"));
        let (anna, _) = persons.add("Anna", rights(&["push"]), 1, NOW).unwrap();
        assert!(persons.add("anna", rights(&["release"]), 1, NOW).unwrap_err().what.en.contains(&anna.id));
        assert!(persons.add("Anna", rights(&["release"]), 1, NOW.plus(Span::days(2))).is_ok(), "it ended");
        persons.add("Bram", rights(&["push"]), 1, NOW).unwrap();
        for wrong in ["", " Anna", "Anna ", "An  na", "An\nna", "<b>", "7", &"a".repeat(65)] {
            assert!(persons.add(wrong, rights(&["push"]), 1, NOW).is_err(), "{wrong:?}");
        }
    }
}
