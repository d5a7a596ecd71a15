//! What is wrong at one moment.

use std::collections::BTreeMap;

use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::{Span, Timestamp};

use super::{BROKER, CONSOLE, Code, ENGINE, Finding, Limits, REVOCATIONS, Said, Samples, Severity, length};
use crate::board::{AgentRow, Board};

/// Most senders whose refusals are told of: those with the most.
const SENDERS_MAX: usize = 50;
/// The subject of refusals of which the sender is not known.
const UNKNOWN: &str = "unknown";

/// A channel over which alarms are told, and does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// `mail` or `webhook`.
    pub name: &'static str,
    /// Since when nothing arrived.
    pub since: Timestamp,
}

/// Everything on the list that is wrong: as the board and what went before show it, and with the channels that fail.
pub fn find(board: &Board, samples: &Samples, channels: &[Channel], limits: &Limits) -> Vec<Finding> {
    let mut all = Vec::new();
    recipients(board, limits, &mut all);
    refusals(board, limits, &mut all);
    certificates(board, limits, &mut all);
    revocations(board, &mut all);
    witnesses(board, samples, limits, &mut all);
    storage(board, samples, limits, &mut all);
    log(board, limits, &mut all);
    for channel in channels {
        let long = length(board.now.since(channel.since));
        let what = Said::new(
            format!("Alarmen komen al {} niet aan over {}.", long.nl, channel.name),
            format!("Alarms have not arrived over {} for {}.", channel.name, long.en),
        );
        all.push(of(Code::ChannelFailed, channel.name, Severity::Ticket, what));
    }
    all
}

impl Finding {
    /// That the engine has not answered for so long: it waits for the disk.
    pub fn stuck(long: Span) -> Self {
        let long = length(long);
        let what = Said::new(
            format!("De broker antwoordt al {} niet: vastleggen op de schijf komt niet klaar.", long.nl),
            format!("The broker has not answered for {}: making durable on the disk does not end.", long.en),
        );
        // A subject of its own: turns that are slow are told apart from none that ends.
        of(Code::FlushSlow, ENGINE, Severity::Page, what)
    }

    /// That the engine has stopped by itself: nobody can look at it then.
    pub fn stopped() -> Self {
        let code = Code::BrokerStopped;
        of(code, BROKER, Severity::Page, code.meaning())
    }
}

fn of(code: Code, subject: impl Into<String>, severity: Severity, what: Said) -> Finding {
    Finding { code, subject: subject.into(), severity, what }
}

fn minutes(count: u32) -> Span {
    Span::minutes(u64::from(count))
}

/// Since when a partner has no connection, as far as this run of the broker knows; none while it has one.
fn away(agent: &AgentRow, board: &Board) -> Option<Timestamp> {
    let unknown = board.started.max(agent.added);
    agent.links.is_empty().then(|| agent.last_seen.unwrap_or(unknown))
}

fn recipients(board: &Board, limits: &Limits, all: &mut Vec<Finding>) {
    let agents: BTreeMap<Oin, &AgentRow> = board.agents.iter().map(|agent| (agent.oin, agent)).collect();
    for queue in &board.queues {
        // What is held because what it rests on fell away waits for people, not for an agent; so does all of one whose
        // access was taken away.
        let open = queue.packets.saturating_sub(queue.frozen);
        // One that the operator suspended is away because of that.
        let takes = |agent: &&&AgentRow| agent.revoked.is_none() && agent.suspended.is_none() && open > 0;
        let Some(agent) = agents.get(&queue.oin).filter(takes) else { continue };
        let (oin, name) = (queue.oin, &agent.name);
        if let Some(away) = away(agent, board) {
            let long = board.now.since(away);
            if long > minutes(limits.recipient_silent_minutes) {
                let long = length(long);
                let (nl, en) = match open {
                    1 => ("Er wacht 1 pakket".to_owned(), "1 packet waits".to_owned()),
                    _ => (format!("Er wachten {open} pakketten"), format!("{open} packets wait")),
                };
                let what = Said::new(
                    format!("{nl} voor {name}: al {} geen verbinding.", long.nl),
                    format!("{en} for {name}, which has had no connection for {}.", long.en),
                );
                all.push(of(Code::RecipientSilent, oin.to_string(), Severity::Page, what));
            }
            continue;
        }
        let Some(oldest) = queue.oldest_open else { continue };
        let long = board.now.since(oldest.at);
        if long > minutes(limits.oldest_waiting_minutes) {
            let long = length(long);
            let what = Said::new(
                format!("Het oudste pakket voor {name}, met verbinding, wacht al {}.", long.nl),
                format!("The oldest packet for {name}, which is connected, has waited for {}.", long.en),
            );
            all.push(of(Code::OldestWaiting, oin.to_string(), Severity::Page, what));
        }
    }
}

fn refusals(board: &Board, limits: &Limits, all: &mut Vec<Finding>) {
    let mut senders: BTreeMap<Option<Oin>, u32> = BTreeMap::new();
    for row in &board.refusals {
        let count = senders.entry(row.from).or_default();
        *count = count.saturating_add(row.hour);
    }
    let mut many: Vec<_> =
        senders.into_iter().filter(|(_, count)| *count > limits.refusals_per_hour).collect();
    many.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (from, count) in many.into_iter().take(SENDERS_MAX) {
        let subject = from.map_or_else(|| UNKNOWN.to_owned(), |oin| oin.to_string());
        let (nl, en) = match from {
            Some(oin) => {
                let known = board.agents.iter().find(|agent| agent.oin == oin);
                let name = known.map_or_else(|| oin.to_string(), |agent| agent.name.clone());
                (format!("Van {name}"), format!("of {name}"))
            }
            None => ("Van onbekende afzenders".to_owned(), "of senders that are not known".to_owned()),
        };
        let what = Said::new(
            format!("{nl} zijn in het afgelopen uur {count} pakketten geweigerd."),
            format!("{count} packets {en} were refused in the last hour."),
        );
        all.push(of(Code::RefusalBurst, subject, Severity::Ticket, what));
    }
}

fn certificates(board: &Board, limits: &Limits, all: &mut Vec<Finding>) {
    let mut one = |subject: String, ends: Timestamp, (nl, en): (&str, &str)| {
        let left = ends.since(board.now);
        let days = |count: u32| Span::days(u64::from(count));
        if left >= days(limits.certificate_days) {
            return;
        }
        let haste = left < days(limits.certificate_page_days);
        let severity = if haste { Severity::Page } else { Severity::Ticket };
        let what = if left == Span(0) {
            Said::new(
                format!("Het certificaat van {nl} is verlopen."),
                format!("The certificate of {en} has ended."),
            )
        } else {
            let long = length(left);
            Said::new(
                format!("Het certificaat van {nl} verloopt over {}.", long.nl),
                format!("The certificate of {en} ends in {}.", long.en),
            )
        };
        all.push(of(Code::CertificateEnds, subject, severity, what));
    };
    if let Some(ends) = board.certificate_ends {
        one(BROKER.to_owned(), ends, ("de broker", "the broker"));
    }
    if let Some(papers) = board.console {
        one(CONSOLE.to_owned(), papers.certificate_ends, ("de console", "the console"));
    }
    for agent in board.agents.iter().filter(|agent| agent.revoked.is_none()) {
        if let Some(ends) = agent.certificate_ends {
            one(agent.oin.to_string(), ends, (&agent.name, &agent.name));
        }
    }
}

/// A revocation list of the console counts for days or weeks, as its authority has it: it is told of when a quarter is left.
fn revocations(board: &Board, all: &mut Vec<Finding>) {
    let Some(list) = board.console.and_then(|papers| papers.list) else { return };
    let (left, whole) = (list.ends.since(board.now), list.ends.since(list.begins));
    let (severity, what) = if left == Span(0) {
        let what = Said::new(
            "Een intrekkingslijst van de console geldt niet meer: met een certificaat komt niemand binnen.",
            "A revocation list of the console counts no more: nobody comes in with a certificate.",
        );
        (Severity::Page, what)
    } else if left.0 < whole.0 / 4 {
        let long = length(left);
        let what = Said::new(
            format!(
                "Een intrekkingslijst van de console geldt nog {}; daarna komt met een certificaat niemand binnen.",
                long.nl
            ),
            format!(
                "A revocation list of the console counts for {} more; after that nobody comes in with a certificate.",
                long.en
            ),
        );
        (Severity::Ticket, what)
    } else {
        return;
    };
    all.push(of(Code::CertificateEnds, REVOCATIONS.to_owned(), severity, what));
}

fn witnesses(board: &Board, samples: &Samples, limits: &Limits, all: &mut Vec<Finding>) {
    for quorum in &board.quorums {
        let age = Span(quorum.age_ms);
        if age <= minutes(limits.quorum_minutes) {
            continue;
        }
        let haste = age > minutes(limits.quorum_page_minutes);
        let severity = if haste { Severity::Page } else { Severity::Ticket };
        let (name, long) = (format!("{} v{}", quorum.id, quorum.version), length(age));
        let (wanted, of_all) = (quorum.wanted, quorum.of);
        let what = Said::new(
            format!("Het jongste quorum van {name} ({wanted} van {of_all}) is {} oud.", long.nl),
            format!("The newest quorum of {name} ({wanted} of {of_all}) is {} old.", long.en),
        );
        all.push(of(Code::QuorumOld, name, severity, what));
    }
    if board.awaiting {
        let names = board.waiting_for.join(", ");
        let what = Said::new(
            format!("De broker dient nog niet; hij wacht op {names}."),
            format!("The broker does not serve yet; it waits for {names}."),
        );
        all.push(of(Code::WitnessesAwaited, BROKER, Severity::Page, what));
    }
    for witness in &board.witnesses {
        let name = &witness.name;
        if witness.suspect.is_some() {
            let what = Said::new(
                format!(
                    "Getuige {name} zegt iets dat kan betekenen dat er twee geschiedenissen van het log zijn."
                ),
                format!(
                    "Witness {name} says something that may mean that there are two histories of the log."
                ),
            );
            all.push(of(Code::WitnessContradicts, name.as_str(), Severity::Page, what));
        }
        let refused = samples.refused(board, name, witness.refused);
        if refused >= u64::from(limits.witness_refusals) {
            let what = Said::new(
                format!("In tien minuten waren {refused} antwoorden van getuige {name} niet bruikbaar."),
                format!("In ten minutes {refused} answers of witness {name} were of no use."),
            );
            all.push(of(Code::WitnessRefuses, name.as_str(), Severity::Ticket, what));
        }
    }
}

fn storage(board: &Board, samples: &Samples, limits: &Limits, all: &mut Vec<Finding>) {
    if samples.is_slow(board, limits.flush_millis) {
        let millis = limits.flush_millis;
        let what = Said::new(
            format!(
                "In de laatste tien minuten duurde vastleggen vaker dan 1 op 100 keer langer dan {millis} ms."
            ),
            format!(
                "In the last ten minutes making durable took longer than {millis} ms more often than 1 in 100 times."
            ),
        );
        all.push(of(Code::FlushSlow, BROKER, Severity::Ticket, what));
    }
    if board.storage.scarce {
        all.push(of(Code::DiskScarce, BROKER, Severity::Page, Code::DiskScarce.meaning()));
        return;
    }
    let left = samples.full_at(board).map(|full| full.since(board.now));
    if let Some(left) = left.filter(|left| *left < Span::days(u64::from(limits.disk_days))) {
        let haste = left < Span::hours(u64::from(limits.disk_page_hours));
        let severity = if haste { Severity::Page } else { Severity::Ticket };
        let long = length(left);
        let what = Said::new(
            format!("Zoals het de laatste uren gaat, is de schijf over {} vol.", long.nl),
            format!("As it went in the last hours, the disk is full in {}.", long.en),
        );
        all.push(of(Code::DiskFilling, BROKER, severity, what));
    }
}

fn log(board: &Board, limits: &Limits, all: &mut Vec<Finding>) {
    if let Some((nl, en)) = board.log.failures.first() {
        let what = Said::new(
            format!("De zelfcontrole van het log vond: {nl}"),
            format!("The log's self-check found: {en}"),
        );
        all.push(of(Code::SelfCheckFailed, BROKER, Severity::Page, what));
    }
    if board.log.year_refused {
        all.push(of(Code::YearRefused, BROKER, Severity::Page, Code::YearRefused.meaning()));
    }
    let ahead = board.log.last_entry.since(board.now);
    if ahead > Span::seconds(u64::from(limits.clock_seconds)) {
        let long = length(ahead);
        let what = Said::new(
            format!("De klok loopt {} achter op de laatste logregel.", long.nl),
            format!("The clock is {} behind the last entry of the log.", long.en),
        );
        all.push(of(Code::ClockBehind, BROKER, Severity::Ticket, what));
    }
    if board.behind > limits.behind_entries {
        let behind = board.behind;
        let what = Said::new(
            format!("{behind} logregels zijn geschreven en nog niet geteld."),
            format!("{behind} entries of the log are written and not counted yet."),
        );
        all.push(of(Code::CountingBehind, BROKER, Severity::Ticket, what));
    }
}

#[cfg(test)]
pub(crate) mod tests;
