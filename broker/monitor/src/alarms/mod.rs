//! What is wrong, as a fixed list: which alarms there are, what each says, and when it holds.
//!
//! [`find`] looks at a [`Board`](crate::Board) and at how things went ([`Samples`]); [`Ledger`] decides what of it is told
//! and when. An alarm is about an organisation, a witness, a covenant, a channel or the broker: never about a person, and
//! never about content.

mod code;
mod find;
mod ledger;
mod samples;

use std::fmt;

use seinhuis_shared::refusal::Lang;
use seinhuis_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

pub use code::{Code, markdown};
pub use find::{Channel, find};
pub use ledger::{Ledger, Notice, Turn};
pub use samples::Samples;

#[cfg(test)]
pub(crate) use find::tests::board;

/// The subject of what is about the broker itself.
pub const BROKER: &str = "broker";
/// What alarms about the certificate of the console are about.
pub const CONSOLE: &str = "console";
/// What alarms about the revocation lists of the console are about.
pub const REVOCATIONS: &str = "console-revocations";
/// The subject of what is about the broker's engine, while nothing becomes durable.
pub const ENGINE: &str = "engine";

/// One text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Dutch.
    pub nl: String,
    /// English.
    pub en: String,
}

impl Said {
    /// Both texts.
    pub fn new(nl: impl Into<String>, en: impl Into<String>) -> Self {
        Self { nl: nl.into(), en: en.into() }
    }

    /// The text in `lang`.
    pub fn in_lang(&self, lang: Lang) -> &str {
        lang.pick(&self.nl, &self.en)
    }
}

/// How much haste there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Within some working days.
    Ticket,
    /// Now.
    Page,
}

impl Severity {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }

    /// The word for people.
    pub const fn word(self, lang: Lang) -> &'static str {
        match self {
            Self::Ticket => lang.pick("binnenkort", "soon"),
            Self::Page => lang.pick("NU", "NOW"),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Which alarm it is.
    pub code: Code,
    /// What it is about: an OIN, a witness, a covenant, a channel, [`BROKER`], [`CONSOLE`] or
    /// [`REVOCATIONS`].
    pub subject: String,
    /// How much haste there is.
    pub severity: Severity,
    /// What happened.
    pub what: Said,
}

/// An alarm that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// Which.
    pub code: Code,
    /// What it is about, as of a [`Finding`].
    pub subject: String,
    /// How much haste there is.
    pub severity: Severity,
    /// Since when it was found, without a break that counts.
    pub since: Timestamp,
    /// What happened.
    pub what: Said,
    /// What to do next.
    pub advice: Said,
    /// Since when somebody has taken it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Timestamp>,
}

/// `[alerts.limits]`: from where on something is wrong, and how often it is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// In how many hours an alarm that lasts is told again.
    pub repeat_hours: u32,
    /// How many minutes what was wrong has to be right before its alarm is over. It doubles each time the alarm comes
    /// back within a day, up to `repeat_hours`.
    pub over_after_minutes: u32,
    /// How many minutes a recipient may be without a connection while something waits for it.
    pub recipient_silent_minutes: u32,
    /// How many minutes a packet may wait for a recipient that is connected.
    pub oldest_waiting_minutes: u32,
    /// How many packets of one sender may be refused in an hour.
    pub refusals_per_hour: u32,
    /// How many days before its end a certificate is told of.
    pub certificate_days: u32,
    /// How many days before its end there is haste.
    pub certificate_page_days: u32,
    /// How many minutes old the newest quorum of a covenant may become.
    pub quorum_minutes: u32,
    /// At how many minutes there is haste.
    pub quorum_page_minutes: u32,
    /// How many answers of a witness in ten minutes may be of no use.
    pub witness_refusals: u32,
    /// Within how many milliseconds 99 of 100 turns have to be durable: one of [`crate::FLUSH_MILLIS`].
    pub flush_millis: u64,
    /// How many days before the disk is full, as it goes, it is told.
    pub disk_days: u32,
    /// How many hours before that there is haste.
    pub disk_page_hours: u32,
    /// How many seconds the last entry of the log may be ahead of the clock.
    pub clock_seconds: u32,
    /// How many entries of the log may be written and not counted.
    pub behind_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            repeat_hours: 12,
            over_after_minutes: 10,
            recipient_silent_minutes: 10,
            oldest_waiting_minutes: 15,
            refusals_per_hour: 100,
            certificate_days: 30,
            certificate_page_days: 7,
            quorum_minutes: 15,
            quorum_page_minutes: 60,
            witness_refusals: 3,
            flush_millis: 250,
            disk_days: 4,
            disk_page_hours: 12,
            clock_seconds: 10,
            behind_entries: 10_000,
        }
    }
}

impl Limits {
    /// The first value that is not possible, with what it has to be in Dutch and English.
    pub fn wrong(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let positive = |key, value: u64| (value == 0).then_some((key, "minstens 1", "at least 1"));
        let page = |key, page: bool| {
            (!page).then_some((key, "met haast niet eerder dan zonder", "haste no earlier than without"))
        };
        let wide = u64::from;
        positive("alerts.limits.repeat_hours", wide(self.repeat_hours))
            .or_else(|| positive("alerts.limits.over_after_minutes", wide(self.over_after_minutes)))
            .or_else(|| {
                positive("alerts.limits.recipient_silent_minutes", wide(self.recipient_silent_minutes))
            })
            .or_else(|| positive("alerts.limits.oldest_waiting_minutes", wide(self.oldest_waiting_minutes)))
            .or_else(|| positive("alerts.limits.refusals_per_hour", wide(self.refusals_per_hour)))
            .or_else(|| positive("alerts.limits.quorum_minutes", wide(self.quorum_minutes)))
            .or_else(|| positive("alerts.limits.witness_refusals", wide(self.witness_refusals)))
            .or_else(|| positive("alerts.limits.clock_seconds", wide(self.clock_seconds)))
            .or_else(|| positive("alerts.limits.behind_entries", self.behind_entries))
            .or_else(|| {
                page(
                    "alerts.limits.certificate_page_days",
                    self.certificate_page_days <= self.certificate_days,
                )
            })
            .or_else(|| {
                page("alerts.limits.quorum_page_minutes", self.quorum_page_minutes >= self.quorum_minutes)
            })
            .or_else(|| {
                let days = Span::days(wide(self.disk_days));
                page("alerts.limits.disk_page_hours", Span::hours(wide(self.disk_page_hours)) <= days)
            })
            .or_else(|| {
                (!crate::FLUSH_MILLIS.contains(&self.flush_millis)).then_some((
                    "alerts.limits.flush_millis",
                    "1, 2, 5, 10, 25, 50, 100, 250, 500, 1000 of 2500",
                    "1, 2, 5, 10, 25, 50, 100, 250, 500, 1000 or 2500",
                ))
            })
    }
}

/// How long something takes or took, in the largest unit of which there are two: `90 minutes`, `36 hours`, `3 days`.
pub fn length(span: Span) -> Said {
    let whole = |unit: Span| span.0.checked_div(unit.0).unwrap_or_default();
    let units = [
        (Span::days(1), "dagen", "days"),
        (Span::hours(1), "uur", "hours"),
        (Span::minutes(1), "minuten", "minutes"),
    ];
    let fits = units.into_iter().find(|(unit, ..)| whole(*unit) >= 2);
    let (unit, nl, en) = fits.unwrap_or((Span::seconds(1), "seconden", "seconds"));
    let count = whole(unit);
    Said::new(format!("{count} {nl}"), format!("{count} {en}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_said_in_the_largest_unit_of_which_there_are_two() {
        for (span, nl, en) in [
            (Span(0), "0 seconden", "0 seconds"),
            (Span::seconds(119), "119 seconden", "119 seconds"),
            (Span::minutes(119), "119 minuten", "119 minutes"),
            (Span::hours(47), "47 uur", "47 hours"),
            (Span::hours(48), "2 dagen", "2 days"),
        ] {
            assert_eq!(length(span), Said::new(nl, en));
        }
    }

    #[test]
    fn limits_that_would_tell_nothing_or_the_wrong_haste_are_named() {
        assert_eq!(Limits::default().wrong(), None);
        let wrong = |limits: Limits| limits.wrong().map(|(key, ..)| key);
        let usual = Limits::default;
        for (limits, key) in [
            (Limits { repeat_hours: 0, ..usual() }, "alerts.limits.repeat_hours"),
            (Limits { over_after_minutes: 0, ..usual() }, "alerts.limits.over_after_minutes"),
            (Limits { recipient_silent_minutes: 0, ..usual() }, "alerts.limits.recipient_silent_minutes"),
            (Limits { oldest_waiting_minutes: 0, ..usual() }, "alerts.limits.oldest_waiting_minutes"),
            (Limits { refusals_per_hour: 0, ..usual() }, "alerts.limits.refusals_per_hour"),
            (Limits { quorum_minutes: 0, ..usual() }, "alerts.limits.quorum_minutes"),
            (Limits { witness_refusals: 0, ..usual() }, "alerts.limits.witness_refusals"),
            (Limits { clock_seconds: 0, ..usual() }, "alerts.limits.clock_seconds"),
            (Limits { behind_entries: 0, ..usual() }, "alerts.limits.behind_entries"),
            (Limits { certificate_page_days: 31, ..usual() }, "alerts.limits.certificate_page_days"),
            (Limits { quorum_page_minutes: 14, ..usual() }, "alerts.limits.quorum_page_minutes"),
            (Limits { disk_page_hours: 97, ..usual() }, "alerts.limits.disk_page_hours"),
            (Limits { flush_millis: 251, ..usual() }, "alerts.limits.flush_millis"),
        ] {
            assert_eq!(wrong(limits), Some(key));
        }
    }
}
