//! What of a board is on which page.

use std::collections::BTreeMap;

use seinhuis_monitor::alarms::{Alarm, Severity};
use seinhuis_monitor::{AgentRow, Board, FLUSH_MILLIS, LinkRow, Minute, Place};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::{Fault, Refusal};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::lang::Lang;

use super::sheet::{Cell, Column, Sheet, Sort, bars, bytes, printable, short, wrapped};

/// Most characters of a sentence of an alarm.
const SENTENCE_MAX: usize = 600;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Page {
    Now,
    Flows,
    Queues,
    Agents,
    Refusals,
    Alarms,
}

impl Page {
    pub(super) const ALL: [Self; 6] =
        [Self::Now, Self::Flows, Self::Queues, Self::Agents, Self::Refusals, Self::Alarms];

    pub(super) const fn title(self, lang: Lang) -> &'static str {
        match self {
            Self::Now => lang.pick("Nu", "Now"),
            Self::Flows => lang.pick("Stromen", "Flows"),
            Self::Queues => lang.pick("Wachtrijen", "Queues"),
            Self::Agents => lang.pick("Agenten", "Agents"),
            Self::Refusals => lang.pick("Weigeringen", "Refusals"),
            Self::Alarms => lang.pick("Alarmen", "Alarms"),
        }
    }

    /// What is said where there is nothing to show.
    const fn empty(self, lang: Lang) -> &'static str {
        match self {
            Self::Now | Self::Flows => lang.pick("Er ging nog niets.", "Nothing went yet."),
            Self::Queues => lang.pick("Er wacht niets.", "Nothing waits."),
            Self::Agents => lang.pick("Er zijn nog geen partners.", "There are no partners yet."),
            Self::Refusals => lang.pick("Er is niets geweigerd.", "Nothing was refused."),
            Self::Alarms => lang.pick("Er zijn geen alarmen.", "There are no alarms."),
        }
    }
}

/// How a line stands out; always beside words that say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Headings.
    Strong,
    /// Without haste.
    Ticket,
    /// With haste.
    Page,
}

/// A line of a page.
pub(super) type Line = (Tone, String);

/// A board in one language.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) board: &'a Board,
    pub(super) lang: Lang,
}

impl View<'_> {
    /// A page in lines of at most so many columns; the first is its heading.
    pub(super) fn lines(self, page: Page, most: usize, sort: Sort) -> Vec<Line> {
        let sheet = match page {
            Page::Now => return self.now(most),
            Page::Alarms => return self.alarms(most),
            Page::Flows => self.flows(),
            Page::Queues => self.queues(),
            Page::Agents => self.agents(),
            Page::Refusals => self.refusals(),
        };
        if sheet.rows.is_empty() {
            return vec![(Tone::Plain, page.empty(self.lang).to_owned())];
        }
        let mut sheet = sheet;
        sheet.sort(sort);
        let mut lines = sheet.lines(most, sort).into_iter();
        let heading = lines.next().map(|heading| (Tone::Strong, heading));
        heading.into_iter().chain(lines.map(|line| (Tone::Plain, line))).collect()
    }

    /// How many columns the table of a page has.
    pub(super) fn columns(self, page: Page) -> usize {
        match page {
            Page::Now | Page::Alarms => 0,
            Page::Flows => self.flows().columns.len(),
            Page::Queues => self.queues().columns.len(),
            Page::Agents => self.agents().columns.len(),
            Page::Refusals => self.refusals().columns.len(),
        }
    }

    /// How it stands, in a sentence.
    pub(super) fn state(self) -> Line {
        let pick = |nl: String, en: String| self.lang.pick(&nl, &en).to_owned();
        let alarms = &self.board.alarms;
        let haste = alarms.iter().filter(|alarm| alarm.severity == Severity::Page).count();
        if let Some(first) = alarms.first() {
            let (all, what) = (alarms.len(), printable(first.what.in_lang(self.lang), SENTENCE_MAX));
            let tone = if haste > 0 { Tone::Page } else { Tone::Ticket };
            let nl = format!("ALARM ({all}, met haast: {haste}): {what}");
            return (tone, pick(nl, format!("ALARM ({all}, with haste: {haste}): {what}")));
        }
        let (waiting, (up, all)) = (self.board.waiting, self.board.connected());
        let nl =
            format!("In orde: {up} van {all} agents verbonden, {waiting} pakketten wachten, geen alarmen.");
        let en = format!("In order: {up} of {all} agents connected, {waiting} packets wait, no alarms.");
        (Tone::Plain, pick(nl, en))
    }

    fn ago(self, at: Timestamp) -> String {
        short(self.board.now.since(at), self.lang)
    }

    fn age(self, at: Option<Timestamp>) -> Cell {
        Cell::shown(at, |at| self.board.now.since(at).0, |at| self.ago(at))
    }

    fn ends(self, at: Option<Timestamp>) -> Cell {
        Cell::shown(at, |at| at.0, |at| short(at.since(self.board.now), self.lang))
    }

    fn now(self, most: usize) -> Vec<Line> {
        let board = self.board;
        let word = |nl, en| self.lang.pick(nl, en);
        let rate = |of: fn(&Minute) -> u32| {
            let last = board.minutes.last().map_or(0, of);
            let each = word("per minuut", "a minute");
            format!("{last} {each}, {} {}", of(&board.hour), word("in het uur", "in the hour"))
        };
        let trend = |of: fn(&Minute) -> u32| bars(board.minutes.iter().map(of));
        let oldest = board.oldest.map(|at| format!(", {} {}", word("de oudste", "the oldest"), self.ago(at)));
        let (up, all) = board.connected();
        let quorum = board.quorums.iter().map(|quorum| quorum.age_ms).max();
        let quorum = quorum.map_or_else(
            || word("niet gevraagd", "not asked").to_owned(),
            |age| format!("{} {}", short(Span(age), self.lang), word("oud", "old")),
        );
        let free = board.storage.free_bytes.map_or_else(|| "?".to_owned(), bytes);
        let (left, days) = (board.disk_left(), word("dagen", "days"));
        let days = left.days().map_or_else(String::new, |left| format!("{left} {days} "));
        let flush = board.storage.flush;
        let slowest = flush.quantile(990, FLUSH_MILLIS).map_or_else(
            || if flush.total() == 0 { "-".to_owned() } else { "> 2500 ms".to_owned() },
            |millis| format!("≤ {millis} ms"),
        );
        let checked = board.log.checked.map_or_else(|| "-".to_owned(), |at| self.ago(at));
        let rows = [
            (word("Aangenomen", "Accepted"), rate(|one| one.accepted), trend(|one| one.accepted)),
            (word("Geweigerd", "Refused"), rate(|one| one.refused), trend(|one| one.refused)),
            (word("Bezorgd", "Delivered"), rate(|one| one.delivered), trend(|one| one.delivered)),
            (
                word("Wachtend", "Waiting"),
                format!("{}{}", board.waiting, oldest.unwrap_or_default()),
                String::new(),
            ),
            (word("Agents", "Agents"), format!("{up} {} {all}", word("van", "of")), String::new()),
            (word("Quorum", "Quorum"), quorum, String::new()),
            (
                word("Logboek", "Log"),
                format!(
                    "{} {}, {} {checked}",
                    board.log.size,
                    word("regels", "entries"),
                    word("nagelezen", "checked")
                ),
                String::new(),
            ),
            (
                word("Schijf", "Disk"),
                format!("{free} {}, {days}{}", word("vrij", "free"), left.said(self.lang)),
                String::new(),
            ),
            (word("Vastleggen", "Flush"), format!("99 %: {slowest}"), String::new()),
        ];
        let column = |name, spare| Column { name, spare };
        let sheet = Sheet {
            columns: vec![column("", 0), column("", 0), column("", 1)],
            rows: rows
                .into_iter()
                .map(|(name, value, trend)| [name, &value, &trend].map(Cell::text).to_vec())
                .collect(),
        };
        let (tone, state) = self.state();
        let mut lines: Vec<Line> = wrapped(&state, most).into_iter().map(|line| (tone, line)).collect();
        lines.push((Tone::Plain, String::new()));
        lines.extend(sheet.lines(most, Sort::default()).into_iter().skip(1).map(|line| (Tone::Plain, line)));
        lines
    }

    fn flows(self) -> Sheet {
        let column = |nl, en, spare| Column { name: self.lang.pick(nl, en), spare };
        let columns = vec![
            column("VAN", "FROM", 0),
            column("AAN", "TO", 0),
            column("STROOM", "FLOW", 0),
            column("UUR", "HOUR", 0),
            column("LAATST", "LAST", 2),
            column("BEZORGD", "DELIVERED", 3),
            column("AANGENOMEN", "ACCEPTED", 4),
            column("OPGESLAGEN", "STORED", 5),
            column("ONBRUIKBAAR", "UNUSABLE", 6),
            column("GEËINDIGD", "ENDED", 7),
            column("STAP", "STEP", 8),
            column("BERICHT", "MESSAGE", 9),
        ];
        let names = Names::of(self.board);
        let at = |place: Option<Place>| place.map(|place| place.at);
        let row = |lane: &seinhuis_monitor::LaneRow| {
            vec![
                Cell::name(names.of_oin(&lane.from)),
                Cell::name(names.of_oin(&lane.to)),
                Cell::text(&lane.flow),
                Cell::number(lane.hour),
                self.age(at(lane.last_accepted)),
                self.age(at(lane.last_delivered)),
                Cell::number(lane.accepted),
                Cell::number(lane.stored),
                Cell::number(lane.quarantined),
                Cell::number(lane.ended),
                Cell::text(&lane.step),
                Cell::text(&lane.message_type),
            ]
        };
        Sheet { columns, rows: self.board.lanes.iter().map(row).collect() }
    }

    fn queues(self) -> Sheet {
        let column = |nl, en, spare| Column { name: self.lang.pick(nl, en), spare };
        let columns = vec![
            column("ONTVANGER", "RECIPIENT", 0),
            column("PAKKETTEN", "PACKETS", 0),
            column("OUDSTE", "OLDEST", 1),
            column("VERLOOPT", "EXPIRES", 3),
            column("OMVANG", "SIZE", 4),
            column("ONDERWEG", "IN-FLIGHT", 5),
            column("BEVROREN", "FROZEN", 6),
            column("OPNIEUW", "AGAIN", 7),
            column("OIN", "OIN", 8),
        ];
        let names = Names::of(self.board);
        let again: BTreeMap<Oin, u64> =
            self.board.agents.iter().map(|agent| (agent.oin, agent.redelivered)).collect();
        let row = |queue: &seinhuis_monitor::QueueRow| {
            vec![
                Cell::name(names.of_oin(&queue.oin)),
                Cell::number(queue.packets),
                self.age(queue.oldest.map(|place| place.at)),
                self.ends(queue.expires),
                Cell::shown(Some(queue.bytes), |count| count, bytes),
                Cell::number(queue.inflight),
                Cell::number(queue.frozen),
                Cell::number(again.get(&queue.oin).copied().unwrap_or_default()),
                Cell::text(queue.oin.as_str()),
            ]
        };
        Sheet { columns, rows: self.board.queues.iter().map(row).collect() }
    }

    fn agents(self) -> Sheet {
        let column = |nl, en, spare| Column { name: self.lang.pick(nl, en), spare };
        let columns = vec![
            column("PARTNER", "PARTNER", 0),
            column("TOESTAND", "STATE", 0),
            column("SINDS", "SINCE", 1),
            column("CERTIFICAAT", "CERTIFICATE", 2),
            column("VIA", "VIA", 4),
            column("HEEN-EN-TERUG", "ROUND-TRIP", 5),
            column("VERLOREN", "LOST", 6),
            column("SOFTWARE", "SOFTWARE", 3),
            column("PREKEYS", "PREKEYS", 7),
            column("KLOK", "CLOCK", 8),
            column("OPNIEUW", "AGAIN", 9),
            column("GETUIGE", "WITNESS", 10),
            column("OIN", "OIN", 11),
        ];
        let lost = |(sent, lost): (u64, u64)| {
            let per_mille = lost.saturating_mul(1000).checked_div(sent).unwrap_or_default();
            format!("{per_mille} ‰")
        };
        let row = |agent: &AgentRow| {
            // The newest says the most.
            let link = agent.links.iter().max_by_key(|link| link.since);
            let state = match (agent.revoked, link) {
                (Some(_), _) => self.lang.pick("ingetrokken", "revoked"),
                (None, Some(_)) => self.lang.pick("verbonden", "connected"),
                (None, None) => self.lang.pick("weg", "away"),
            };
            let since = agent.revoked.or_else(|| link.map(|link| link.since)).or(agent.last_seen);
            let of = |get: fn(&LinkRow) -> Option<u64>| link.and_then(get);
            vec![
                Cell::name(&agent.name),
                Cell::text(state),
                self.age(since),
                self.ends(agent.certificate_ends),
                Cell::text(link.map_or("-", |link| &link.transport)),
                Cell::shown(of(|link| link.rtt_us), |us| us, |us| format!("{} ms", us.div_ceil(1000))),
                Cell::shown(link.and_then(|link| link.sent_lost), |(_, lost)| lost, lost),
                Cell::text(agent.software.as_deref().unwrap_or("-")),
                self.ends(agent.prekeys_end),
                // By how far it is away, whichever way.
                Cell::shown(agent.clock, |clock| clock.middle_ms().unsigned_abs(), |clock| clock.to_string()),
                Cell::number(agent.redelivered),
                self.witnessing(agent),
                Cell::text(agent.oin.as_str()),
            ]
        };
        Sheet { columns, rows: self.board.agents.iter().map(row).collect() }
    }

    /// How many entries a partner is behind as a witness of the log, and since when.
    fn witnessing(self, agent: &AgentRow) -> Cell {
        let witness = self.board.witness(&agent.oin);
        let lag = witness.and_then(|witness| self.board.lag(witness));
        let since = witness.and_then(|witness| witness.behind_since);
        let since = since.map_or_else(String::new, |at| format!(", {}", self.ago(at)));
        Cell::shown(lag, |lag| lag, |lag| format!("{lag}{since}"))
    }

    fn refusals(self) -> Sheet {
        let column = |nl, en, spare| Column { name: self.lang.pick(nl, en), spare };
        let columns = vec![
            column("VAN", "FROM", 0),
            column("REDEN", "REASON", 0),
            column("NAAM", "NAME", 1),
            column("UUR", "HOUR", 0),
            column("AANTAL", "COUNT", 2),
            column("LAATST", "LAST", 3),
            column("AAN ZET", "TO ACT", 4),
        ];
        let names = Names::of(self.board);
        let row = |row: &seinhuis_monitor::RefusalRow| {
            let refusal = Refusal::from_number(row.reason);
            vec![
                Cell::name(
                    row.from.as_ref().map_or(self.lang.pick("onbekend", "unknown"), |oin| names.of_oin(oin)),
                ),
                Cell::number(row.reason),
                Cell::text(refusal.map_or("-", Refusal::slug)),
                Cell::number(row.hour),
                Cell::number(row.count),
                self.age(row.last.map(|place| place.at)),
                Cell::text(refusal.map_or("-", |refusal| fault(refusal, self.lang))),
            ]
        };
        Sheet { columns, rows: self.board.refusals.iter().map(row).collect() }
    }

    fn alarms(self, most: usize) -> Vec<Line> {
        let said = |alarm: &Alarm| {
            let tone = if alarm.severity == Severity::Page { Tone::Page } else { Tone::Ticket };
            let (subject, since) = (printable(&alarm.subject, 64), self.ago(alarm.since));
            let word = alarm.severity.word(self.lang);
            let head = format!("{word}  {}  {subject}  {} {since}", alarm.code, self.lang.pick("al", "for"));
            let texts = [("  ", &alarm.what), ("  → ", &alarm.advice)];
            let below = texts.into_iter().flat_map(|(before, text)| {
                let text = printable(text.in_lang(self.lang), SENTENCE_MAX);
                let lines = wrapped(&text, most.saturating_sub(4));
                lines.into_iter().map(move |line| (Tone::Plain, format!("{before}{line}")))
            });
            [(tone, super::sheet::cut(&head, most))].into_iter().chain(below).collect::<Vec<_>>()
        };
        if self.board.alarms.is_empty() {
            return vec![(Tone::Plain, Page::Alarms.empty(self.lang).to_owned())];
        }
        self.board.alarms.iter().flat_map(said).collect()
    }
}

fn fault(refusal: Refusal, lang: Lang) -> &'static str {
    match refusal.row().fault {
        Fault::Sender => lang.pick("afzender", "sender"),
        Fault::Recipient => lang.pick("ontvanger", "recipient"),
        Fault::Broker => lang.pick("beheerder", "operator"),
        Fault::Covenant => lang.pick("partijen", "parties"),
        Fault::Passing => lang.pick("niemand", "nobody"),
    }
}

/// Names of partners by OIN.
struct Names<'a>(BTreeMap<Oin, &'a str>);

impl<'a> Names<'a> {
    fn of(board: &'a Board) -> Self {
        Self(board.agents.iter().map(|agent| (agent.oin, agent.name.as_str())).collect())
    }

    /// The name; the OIN of one that has none.
    fn of_oin<'b>(&'b self, oin: &'b Oin) -> &'b str {
        self.0.get(oin).copied().unwrap_or_else(|| oin.as_str())
    }
}

#[cfg(test)]
pub(super) mod tests;
