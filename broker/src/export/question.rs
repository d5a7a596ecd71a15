//! What an auditor asks for.

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Neighbouring entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Index of the first.
    pub(super) first: u64,
    /// How many.
    pub(super) count: u64,
}

/// A question to the log. What is absent is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Why the export is made.
    pub purpose: String,
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

    /// Whether an entry of the period belongs to the answer.
    pub fn takes(&self, entry: &Entry) -> bool {
        let organisation =
            self.organisation.is_none_or(|oin| [entry.from, entry.to, entry.subject].contains(&Some(oin)));
        let result = self.result.as_deref().is_none_or(|result| {
            if result == Kind::Accepted.as_str() {
                entry.kind == Kind::Accepted
            } else {
                entry.reason.is_some_and(|reason| reason.to_string() == result)
            }
        });
        organisation
            && result
            && self.flow.as_ref().is_none_or(|flow| entry.flow.as_ref() == Some(flow))
            && self.kind.as_deref().is_none_or(|kind| entry.kind.as_str() == kind)
            && self.case.as_ref().is_none_or(|case| entry.case.is_some_and(|own| own.to_string() == *case))
    }
}
