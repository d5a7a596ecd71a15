//! How names, moments and amounts are written for people.

use std::collections::BTreeMap;

use maud::{Markup, html};
use seinhuis_monitor::{Board, Place};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::time::{Span, Timestamp};

use super::guard::Visit;

/// For whom a page is made, and what it needs to name things.
#[derive(Debug)]
pub(super) struct Ctx {
    pub(super) lang: Lang,
    now: Timestamp,
    names: BTreeMap<Oin, String>,
}

impl Ctx {
    pub(super) fn new(board: &Board, visit: &Visit) -> Self {
        Self {
            lang: visit.lang,
            now: board.now,
            names: board.agents.iter().map(|agent| (agent.oin, agent.name.clone())).collect(),
        }
    }

    pub(super) fn t(&self, nl: &'static str, en: &'static str) -> &'static str {
        self.lang.pick(nl, en)
    }

    /// The name of an organisation; its number when it is not known.
    pub(super) fn name(&self, oin: Oin) -> String {
        self.names.get(&oin).cloned().unwrap_or_else(|| oin.to_string())
    }

    /// The name of an organisation, which leads to its page when it is a partner.
    pub(super) fn partner(&self, oin: Oin) -> Markup {
        html! {
            @if let Some(name) = self.names.get(&oin) { a href={ "/agents/" (oin) } { (name) } }
            @else { code { (oin) } }
        }
    }

    /// How long ago a moment was, with the moment itself.
    pub(super) fn ago(&self, at: Timestamp) -> Markup {
        html! { time datetime=(at) title=(at) { (span(self.now.since(at), self.lang)) " " (self.t("geleden", "ago")) } }
    }

    /// How long it is until a moment.
    pub(super) fn until(&self, at: Timestamp) -> Markup {
        let text = if at <= self.now {
            self.t("voorbij", "over").to_owned()
        } else {
            format!("{} {}", self.t("nog", "in"), span(at.since(self.now), self.lang))
        };
        html! { time datetime=(at) title=(at) { (text) } }
    }

    /// How long ago the entry at a place was written, which leads to it.
    pub(super) fn place(&self, place: Option<Place>) -> Markup {
        html! {
            @if let Some(place) = place { a href={ "/log/" (place.position) } { (self.ago(place.at)) } }
            @else { (self.t("nooit", "never")) }
        }
    }

    /// A refusal: its number and what it means.
    pub(super) fn refusal(&self, number: u16) -> String {
        Refusal::from_number(number)
            .map_or_else(|| number.to_string(), |refusal| format!("{number} {}", refusal.what(self.lang)))
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }
}

/// A span in its largest unit.
pub(super) fn span(span: Span, lang: Lang) -> String {
    let (minute, hour, day) = (Span::minutes(1).0, Span::hours(1).0, Span::days(1).0);
    match span.0 {
        ms if ms < minute => format!("{} s", ms / 1000),
        ms if ms < hour => format!("{} min", ms / minute),
        ms if ms < 2 * day => format!("{} {}", ms / hour, lang.pick("u", "h")),
        ms => format!("{} {}", ms / day, lang.pick("dagen", "days")),
    }
}

/// A number with its thousands apart.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A thin space, at which no line is broken.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Bytes in their largest unit of 1024.
pub(super) fn bytes(value: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut rest, mut unit) = (value, 0, 0);
    while whole >= 1024 && unit + 1 < units.len() {
        (rest, whole, unit) = (whole % 1024, whole / 1024, unit + 1);
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 || whole >= 100 {
        format!("{whole} {name}")
    } else {
        format!("{whole}.{} {name}", rest * 10 / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_so_that_people_read_them_at_once() {
        let n = |value| number(value).replace('\u{202f}', " ");
        assert_eq!([n(0), n(999), n(1000), n(1_234_567)], ["0", "999", "1 000", "1 234 567"]);
        let all = [0, 1023, 1024, 1536, 200 << 20, 3 << 40].map(bytes);
        assert_eq!(all, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "200 MiB", "3.0 TiB"]);
        let all = [59_999, 60_000, 7_200_000, 200_000_000].map(|ms| span(Span(ms), Lang::Nl));
        assert_eq!(all, ["59 s", "1 min", "2 u", "2 dagen"]);
    }
}
