//! How the ways in and out of the agent do: what is wrong with each, since when, and what to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Lang;
use serde_json::{Value, json};

/// What a way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The local API.
    Api,
    /// A folder whose files are sent.
    FolderOut,
    /// A folder in which deliveries are put.
    FolderIn,
    /// A query of which each row is a signal.
    Sql,
    /// A webhook.
    Webhook,
}

impl Kind {
    /// In the answers of the agent.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::FolderOut => "folder-out",
            Self::FolderIn => "folder-in",
            Self::Sql => "sql",
            Self::Webhook => "webhook",
        }
    }
}

/// What is wrong with a way.
#[derive(Debug, Clone)]
struct Wrong {
    since: Timestamp,
    complaint: Complaint,
}

/// A way as it stands.
#[derive(Debug)]
struct Way {
    place: String,
    wrong: Option<Wrong>,
}

/// Every way of an agent. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standings(Arc<Mutex<BTreeMap<(Kind, String), Way>>>);

impl Standings {
    /// There is a way of this name that leads to `place`; who looks after it tells how it does.
    pub(crate) fn open(&self, kind: Kind, name: &str, place: &str) -> Told {
        let way = Way { place: place.to_owned(), wrong: None };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((kind, name.to_owned()), way);
        Told { kind, name: name.to_owned(), all: self.clone() }
    }

    /// Each way, for the answers of the agent: what kind, which name, where it leads, and since when what is wrong.
    pub(crate) fn to_json(&self) -> Value {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let way = |((kind, name), way): (&(Kind, String), &Way)| {
            let wrong = way.wrong.as_ref();
            let both = |text: &seinhuis_shell::lang::Text| [text.nl.clone(), text.en.clone()];
            json!({
                "kind": kind.as_str(),
                "name": name,
                "place": way.place,
                "since": wrong.map(|wrong| wrong.since.to_string()),
                "problem": wrong.map(|wrong| both(&wrong.complaint.what)),
                "advice": wrong.map(|wrong| both(&wrong.complaint.advice)),
            })
        };
        all.iter().map(way).collect()
    }
}

/// Tells how one way does: in the agent's answers, and in its log once for each time that it is otherwise.
#[derive(Debug)]
pub(crate) struct Told {
    kind: Kind,
    name: String,
    all: Standings,
}

impl Told {
    /// What came of looking after it; nothing where that is a complaint, which is told.
    pub(crate) fn about<T>(&self, result: Result<T, Complaint>) -> Option<T> {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = &mut all.get_mut(&(self.kind, self.name.clone()))?.wrong;
        let (way, name) = (self.kind.as_str(), self.name.as_str());
        match result {
            Ok(value) => {
                if wrong.take().is_some() {
                    tracing::info!(way, name, "it works again");
                }
                Some(value)
            }
            Err(complaint) => {
                if wrong.as_ref().is_none_or(|wrong| wrong.complaint != complaint) {
                    tracing::warn!(way, name, complaint = complaint.show(Lang::En), "it does not work");
                }
                let since = wrong.as_ref().map_or_else(clock::now, |wrong| wrong.since);
                *wrong = Some(Wrong { since, complaint });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use seinhuis_shell::lang::Text;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_since_its_beginning_until_it_is_right() {
        let wrong =
            |what: &str| Complaint::usage(Text::new(format!("{what}-nl"), what), Text::new("doe", "do"));
        let all = Standings::default();
        let told = all.open(Kind::Webhook, "zaken", "zaken.example");
        let shown = || all.to_json()[0].clone();
        assert_eq!((&shown()["kind"], &shown()["since"]), (&json!("webhook"), &Value::Null));
        assert_eq!(told.about::<()>(Err(wrong("a"))), None);
        let since = shown()["since"].clone();
        assert_eq!((&shown()["problem"], &shown()["advice"]), (&json!(["a-nl", "a"]), &json!(["doe", "do"])));
        told.about::<()>(Err(wrong("b")));
        assert_eq!((&shown()["problem"][1], &shown()["since"]), (&json!("b"), &since));
        assert_eq!(told.about(Ok(7)), Some(7));
        assert_eq!(shown()["problem"], Value::Null);
    }
}
