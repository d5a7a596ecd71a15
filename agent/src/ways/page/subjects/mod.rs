//! Data subjects: who is to be told, what was exchanged about a person, and what is done for that person.
//!
//! The addresses here hold a person's key in the register. It is an HMAC over what identifies the person, under a key that
//! is derived from the store's: who sees an address, in a browser's history or over a shoulder, can try no names against
//! it. It is the same for the same person, which says no more than that somebody looked at one person twice. No name is in
//! an address or a title; what is searched for and written goes in forms.

mod act;
mod acts;
mod letters;
mod list;
mod one;

use maud::{Markup, html};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::Timestamp;
use serde_json::Value;

pub(super) use self::acts::{act, show as show_act};
pub(super) use self::letters::{answer, letter, show_answer, show_letter};
pub(super) use self::list::{list, search, show_search};
pub(super) use self::one::one;
use super::Desk;
use super::guard::Visit;
use super::layout::Error;
use super::person::May;
use super::trouble::Trouble;
use crate::commands::register::{acts as shared, view};
use crate::commands::request::{Look, Request};

/// How many persons this organisation has to tell that there are data about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToTell {
    /// Those not told yet.
    pub(super) open: u64,
    /// Those of them for whom it is too late.
    pub(super) late: u64,
}

/// How many there are, for a person who looks after them.
pub(super) async fn to_tell(desk: &Desk, visit: &Visit) -> Option<ToTell> {
    see(visit).ok()?;
    let status = desk.agent.query(view::status).await.ok()?;
    let (open, late) = shared::to_tell(&status, &desk.subjects);
    Some(ToTell { open, late })
}

fn see(visit: &Visit) -> Result<(), Trouble> {
    if visit.person.may(&May::Subjects) { Ok(()) } else { Err(Trouble::not_allowed()) }
}

/// The person of an address, if this one may know of persons and the register has that one.
async fn known(desk: &Desk, visit: &Visit, person: &str) -> Result<Digest, Trouble> {
    see(visit)?;
    let id: Digest = person.parse().map_err(|_| Trouble::nothing())?;
    let there = desk.agent.query(move |view| view.core.person(&id).is_some()).await?;
    if there { Ok(id) } else { Err(Trouble::nothing()) }
}

/// A person and the messages from a moment on, as a command gets them.
async fn found(desk: &Desk, id: Digest, since: Timestamp, proofs: bool) -> Result<Value, Trouble> {
    let look = Look::Persons { persons: vec![id.to_string()], since: since.to_string(), proofs };
    let mut found = desk.agent.ask(Request::Look(look)).await?;
    shared::elsewhere(&mut found["persons"], &desk.subjects);
    Ok(found)
}

/// A field of a form, around what is filled in.
struct Field<'a> {
    id: &'a str,
    label: Markup,
    hint: Option<&'a str>,
    errors: &'a [Error],
}

impl Field<'_> {
    fn error(&self) -> Option<&Error> {
        self.errors.iter().find(|error| error.id == self.id)
    }

    /// The ids of what describes it.
    fn described(&self) -> Option<String> {
        let hint = self.hint.map(|_| format!("{}-hint", self.id));
        let error = self.error().map(|_| format!("{}-error", self.id));
        let all: Vec<String> = error.into_iter().chain(hint).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }

    fn around(&self, input: &Markup) -> Markup {
        html! {
            div class="field" {
                label for=(self.id) { (self.label) }
                @if let Some(hint) = self.hint { p class="hint" id={ (self.id) "-hint" } { (hint) } }
                @if let Some(error) = self.error() { p class="error" id={ (self.id) "-error" } { (error.text) } }
                (input)
            }
        }
    }

    /// A line of text, or a day.
    fn line(&self, kind: &str, max: Option<usize>, value: &str) -> Markup {
        self.around(&html! {
            input type=(kind) id=(self.id) name=(self.id) value=(value) autocomplete="off" maxlength=[max]
                aria-describedby=[self.described()] aria-invalid=[self.error().map(|_| "true")];
        })
    }

    /// One of these values, each with what it is called, in a language of its own where it is not the page's.
    fn choice(&self, nothing: &str, values: &[(String, String)], chosen: &str, lang: Option<&str>) -> Markup {
        self.around(&html! {
            select id=(self.id) name=(self.id) aria-describedby=[self.described()] aria-invalid=[self.error().map(|_| "true")] {
                option value="" { (nothing) }
                @for (value, text) in values { option value=(value) lang=[lang] selected[value == chosen] { (text) } }
            }
        })
    }
}

/// The day that somebody filled in.
fn day_of(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).filter(|_| text.len() == "2026-01-01".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day_and_nothing_else() {
        assert!(day_of("2026-03-01").is_some());
        for wrong in ["", "2026-02-30", "2026-03-01T10:00:00Z", "1 maart", "2026-3-1"] {
            assert_eq!(day_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_field_is_named_described_and_marked_when_it_is_wrong() {
        let errors = [Error::new("role", "Noem de rol.")];
        let field =
            Field { id: "role", label: html! { "Rol" }, hint: Some("Zoals regisseur."), errors: &errors };
        let shown = field.line("text", Some(30), "\"><b>").into_string();
        for wanted in [
            "<label for=\"role\">Rol</label>",
            "aria-describedby=\"role-error role-hint\"",
            "aria-invalid=\"true\"",
            "value=\"&quot;&gt;&lt;b&gt;\"",
            "maxlength=\"30\"",
        ] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
        let right = Field { errors: &[], ..field };
        assert!(!right.line("text", None, "").into_string().contains("aria-invalid"));
    }
}
