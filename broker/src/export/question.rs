//! What an auditor asks for.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::log::row::{Field, Row};

/// Bytes of a purpose at least and at most.
const PURPOSE: std::ops::RangeInclusive<usize> = 10..=256;

/// Whether a text says why something is done, as far as its form goes.
pub(crate) fn is_purpose(text: &str) -> bool {
    PURPOSE.contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A question to the log. What is absent is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Why the export is made.
    pub purpose: String,
    /// Who asked for it: an organisation and a function, no person.
    pub asked_by: Option<String>,
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Sender, recipient or subject.
    pub organisation: Option<Oin>,
    /// The flow.
    pub flow: Option<String>,
    /// What happened, such as `accepted`.
    pub kind: Option<String>,
    /// `accepted`, or the number of a refusal.
    pub result: Option<String>,
    /// The case's pseudonym, a UUID.
    pub case: Option<String>,
}

impl Question {
    /// Whether nothing but a period is asked, so that the answer can be complete.
    pub const fn is_period(&self) -> bool {
        self.organisation.is_none()
            && self.flow.is_none()
            && self.kind.is_none()
            && self.result.is_none()
            && self.case.is_none()
    }

    /// Whether a time, in milliseconds since 1970, is in the period asked for.
    pub(super) fn spans(&self, time: u64) -> bool {
        self.from.is_none_or(|from| time >= from.0) && self.until.is_none_or(|until| time < until.0)
    }

    /// What to look for in entries of the period.
    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { question: self, organisation: self.organisation.map(|oin| oin.to_string()) }
    }
}

/// A question, put so that an entry is compared as it stands.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    question: &'a Question,
    organisation: Option<String>,
}

impl Wanted<'_> {
    /// Whether an entry of the period belongs to the answer.
    pub(super) fn takes(&self, row: &Row<'_>) -> bool {
        let asked = self.question;
        let is = |field: Field, wanted: &String| row.get(field).is_some_and(|value| value == wanted.as_str());
        let same = |field: Field, wanted: &Option<String>| wanted.as_ref().is_none_or(|one| is(field, one));
        let party =
            |oin: &String| [Field::From, Field::To, Field::Subject].iter().any(|field| is(*field, oin));
        let result = |result: &String| {
            let field = if result == Kind::Accepted.as_str() { Field::Kind } else { Field::Reason };
            is(field, result)
        };
        same(Field::Flow, &asked.flow)
            && same(Field::Kind, &asked.kind)
            && same(Field::Case, &asked.case)
            && self.organisation.as_ref().is_none_or(party)
            && asked.result.as_ref().is_none_or(result)
    }
}
