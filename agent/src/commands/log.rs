//! The exchange logs this agent follows, and going on with one that the operator began by hand.

use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::request::{From, Look, Request, ask, read};
use crate::engine::View;
use crate::home::Home;

/// One log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogView {
    /// Its origin.
    origin: String,
    /// Entries, as far as proved to this agent; the final number for all but the last.
    size: Option<u64>,
    /// Its root.
    root: Option<String>,
    /// Whether it was caught contradicting itself.
    forked: bool,
}

/// A log that the operator began by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OfferedView {
    /// Its origin.
    origin: String,
    /// The log before it.
    old: String,
    /// Entries of that log which this agent has proved.
    believed: u64,
    /// How many it has in the end, by the broker.
    last: u64,
    /// Whether these extend what this agent has proved.
    consistent: bool,
    /// Whether the operator began it by hand; otherwise a year was over.
    by_hand: bool,
    /// Logs this agent was with since, and that the broker does not know.
    unknown: Vec<String>,
}

/// The logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogsView {
    /// From the first.
    logs: Vec<LogView>,
    /// What a person can accept.
    offered: Option<OfferedView>,
}

pub(super) fn view(view: &View<'_>) -> LogsView {
    let logs = view
        .core
        .logs()
        .map(|(origin, pin)| LogView {
            origin: origin.to_owned(),
            size: pin.map(|pin| pin.size),
            root: pin.map(|pin| pin.root.to_string()),
            forked: pin.is_some_and(|pin| pin.forked),
        })
        .collect();
    let offered = view.core.offered_log().map(|offered| OfferedView {
        origin: offered.new.clone(),
        old: offered.old.clone(),
        believed: offered.pin.map_or(0, |pin| pin.size),
        last: offered.last,
        consistent: offered.consistent,
        by_hand: offered.by_hand,
        unknown: offered.unknown.clone(),
    });
    LogsView { logs, offered }
}

impl LogsView {
    fn lines(&self, lang: Lang) -> Vec<String> {
        let newest = self.logs.len().saturating_sub(1);
        let mut lines: Vec<String> =
            self.logs
                .iter()
                .enumerate()
                .map(|(place, log)| {
                    let size = log.size.unwrap_or_default();
                    let entries = lang.pick("regels bewezen", "entries proved");
                    let state = match (place == newest, log.forked) {
                        (true, true) => lang
                            .pick("  GESPLITST: niets gaat meer weg", "  FORKED: nothing is sent any more"),
                        (false, true) => lang.pick(
                            "  gesloten; GESPLITST: het bewijs is bewaard",
                            "  closed; FORKED: the evidence is kept",
                        ),
                        (false, false) => lang.pick("  gesloten", "  closed"),
                        (true, false) => "",
                    };
                    format!("{}  {size} {entries}{state}", log.origin)
                })
                .collect();
        if let Some(offered) = &self.offered {
            lines.extend(offered.lines(lang));
        }
        lines
    }
}

impl OfferedView {
    fn lines(&self, lang: Lang) -> Vec<String> {
        let Self { origin, old, believed, last, .. } = self;
        let begun = match (self.by_hand, lang) {
            (true, Lang::Nl) => {
                format!(
                    "De beheerder van de broker is met de hand een nieuw log begonnen: {origin}, na {old}."
                )
            }
            (true, Lang::En) => {
                format!("The broker's operator began a new log by hand: {origin}, after {old}.")
            }
            (false, Lang::Nl) => format!(
                "Het jaar van {old} is voorbij en {origin} volgt erop. Deze agent gaat daar niet vanzelf heen."
            ),
            (false, Lang::En) => format!(
                "The year of {old} is over and {origin} follows on it. This agent does not go there by itself."
            ),
        };
        let lost = match (self.consistent, lang) {
            (true, Lang::Nl) => format!(
                "Dat log sluit aan op wat deze agent bewezen heeft: {believed} regels, {last} aan het eind."
            ),
            (false, Lang::Nl) => format!(
                "LET OP: dat log sluit NIET aan op wat deze agent bewezen heeft. Van de {believed} regels die deze agent zag kunnen er ontbreken of anders zijn; de broker zegt dat het er {last} waren."
            ),
            (true, Lang::En) => {
                format!("That log extends what this agent has proved: {believed} entries, {last} in the end.")
            }
            (false, Lang::En) => format!(
                "MIND: that log does NOT extend what this agent has proved. Of the {believed} entries this agent saw some may be missing or different; the broker says there were {last}."
            ),
        };
        let unknown = self.unknown.join(", ");
        let given_up = match lang {
            Lang::Nl => format!(
                "LET OP: deze agent was al in {unknown}. De broker kent dat niet meer; wat hier ervan bekend is blijft als bewijs bewaard."
            ),
            Lang::En => format!(
                "MIND: this agent was in {unknown} already. The broker does not know it any more; what is known of it here is kept as evidence."
            ),
        };
        let what = match lang {
            Lang::Nl => format!(
                "Vraag de beheerder waarom, vergelijk met andere deelnemers, en ga daarna verder met: seinhuis-agent log accept-origin --origin {origin}"
            ),
            Lang::En => format!(
                "Ask the operator why, compare with other partners, and then go on with: seinhuis-agent log accept-origin --origin {origin}"
            ),
        };
        let given_up = Some(given_up).filter(|_| !self.unknown.is_empty());
        [begun, lost].into_iter().chain(given_up).chain([what]).collect()
    }
}

/// The origins of all logs, from the first.
pub(super) fn origins(home: &Home) -> Result<Vec<String>, Complaint> {
    let (answer, _) = ask(home, Request::Look(Look::Logs))?;
    let view: LogsView = read(answer)?;
    Ok(view.logs.into_iter().map(|log| log.origin).collect())
}

pub(super) fn show(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let (answer, _) = ask(home, Request::Look(Look::Logs))?;
    tell(&read(answer)?, ui);
    Ok(Outcome::Done)
}

/// Shows what can be accepted, or accepts it when its origin is given.
pub(super) fn accept(home: &Home, origin: Option<String>, ui: Ui) -> Result<Outcome, Complaint> {
    let (answer, from) = ask(home, Request::Look(Look::Logs))?;
    let view: LogsView = read(answer)?;
    if view.offered.is_none() {
        return Err(nothing(from));
    }
    let Some(origin) = origin else {
        tell(&view, ui);
        return Ok(Outcome::No);
    };
    let (answer, _) = ask(home, Request::AcceptOrigin { origin })?;
    tell(&read(answer)?, ui);
    Ok(Outcome::Done)
}

fn tell(view: &LogsView, ui: Ui) {
    let text = |lang| view.lines(lang).join("\n");
    ui.answer(&Text::new(text(Lang::Nl), text(Lang::En)), &json!(view));
}

fn nothing(from: From) -> Complaint {
    let advice = match from {
        From::Agent => Text::new(
            "Bekijk met `seinhuis-agent status` of er een sessie met de broker is.",
            "See with `seinhuis-agent status` whether there is a session with the broker.",
        ),
        From::Store => Text::new(
            "Start de agent: hij haalt bij de broker op wat er te aanvaarden is.",
            "Start the agent: it fetches from the broker what there is to accept.",
        ),
    };
    Complaint::usage(
        Text::new("Er is geen nieuw log om te aanvaarden.", "There is no new log to accept."),
        advice,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_what_may_be_lost_before_accepting() {
        let log = |origin: &str, forked| LogView { origin: origin.into(), size: Some(9), root: None, forked };
        let offered = OfferedView {
            origin: "a/b".into(),
            old: "a/2026".into(),
            believed: 9,
            last: 5,
            consistent: false,
            by_hand: true,
            unknown: vec![],
        };
        let view = LogsView { logs: vec![log("a/2025", false), log("a/2026", true)], offered: Some(offered) };
        let nl = view.lines(Lang::Nl).join("\n");
        let en = view.lines(Lang::En).join("\n");
        assert!(nl.contains("a/2025  9 regels bewezen  gesloten") && nl.contains("GESPLITST"), "{nl}");
        assert!(en.contains("does NOT extend") && en.contains("accept-origin --origin a/b"), "{en}");
        assert!(!nl.contains("was al in"), "{nl}");
        let sound = OfferedView { consistent: true, ..view.offered.unwrap() };
        assert!(sound.lines(Lang::En).join("\n").contains("extends what this agent has proved"));
        let ahead = OfferedView { by_hand: false, unknown: vec!["a/2027".into()], ..sound };
        let (nl, en) = (ahead.lines(Lang::Nl).join("\n"), ahead.lines(Lang::En).join("\n"));
        assert!(nl.contains("was al in a/2027") && nl.contains("niet vanzelf"), "{nl}");
        assert!(en.contains("was in a/2027 already") && en.contains("accept-origin --origin a/b"), "{en}");
        let left = LogsView { logs: vec![log("a/2026", true), log("a/b", false)], offered: None };
        assert!(left.lines(Lang::Nl).join("\n").contains("gesloten; GESPLITST: het bewijs is bewaard"));
    }
}
