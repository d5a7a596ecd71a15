//! What is wrong at one moment.

use std::collections::BTreeMap;

use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::{Span, Timestamp};

use super::{BROKER, Code, ENGINE, Finding, Limits, Said, Samples, Severity, length};
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
        let oin = queue.oin;
        if let Some(away) = away(agent, board) {
            let long = board.now.since(away);
            if long > minutes(limits.recipient_silent_minutes) {
                let long = length(long);
                let (nl, en) = match open {
                    1 => ("Er wacht 1 pakket".to_owned(), "1 packet waits".to_owned()),
                    _ => (format!("Er wachten {open} pakketten"), format!("{open} packets wait")),
                };
                let what = Said::new(
                    format!("{nl} voor {oin}, dat al {} geen verbinding heeft.", long.nl),
                    format!("{en} for {oin}, which has had no connection for {}.", long.en),
                );
                all.push(of(Code::RecipientSilent, oin.to_string(), Severity::Page, what));
            }
            continue;
        }
        // Of a queue with frozen packets it is not known which one is the oldest that can go.
        let Some(oldest) = queue.oldest.filter(|_| queue.frozen == 0) else { continue };
        let long = board.now.since(oldest.at);
        if long > minutes(limits.oldest_waiting_minutes) {
            let long = length(long);
            let what = Said::new(
                format!("Het oudste pakket voor {oin}, dat verbinding heeft, wacht al {}.", long.nl),
                format!("The oldest packet for {oin}, which is connected, has waited for {}.", long.en),
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
            Some(oin) => (format!("Van {oin}"), format!("of {oin}")),
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
    for agent in &board.agents {
        // After a renewal the connections of before may stay for a while.
        if let Some(ends) = agent.links.iter().map(|link| link.certificate_ends).max() {
            let oin = agent.oin.to_string();
            one(oin.clone(), ends, (&oin, &oin));
        }
    }
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
pub(super) mod tests {
    use super::*;
    use crate::board::{LinkRow, LogState, QueueRow, QuorumRow, RefusalRow, Run, Storage, WitnessRow};
    use crate::series::Minute;
    use crate::tally::Place;

    pub(in crate::alarms) const TOWN: &str = "00000099000000001000";
    const START: Timestamp = Timestamp(1_900_000_000_000);

    /// A board of a broker with one partner that is connected, and nothing wrong.
    pub(in crate::alarms) fn board() -> Board {
        let link = LinkRow {
            transport: "quic".into(),
            since: START,
            rtt_us: None,
            sent_lost: None,
            certificate_ends: START.plus(Span::days(60)),
        };
        let agent = AgentRow {
            oin: TOWN.parse().unwrap(),
            name: "Gemeente".into(),
            added: Timestamp(5),
            revoked: None,
            suspended: None,
            software: None,
            last_seen: None,
            links: vec![link],
        };
        let log = LogState {
            origin: "broker.example/2030".into(),
            logs: 1,
            size: 9,
            root: None,
            last_entry: START,
            year_refused: false,
            checked: None,
            failures: vec![],
        };
        Board {
            now: START.plus(Span::hours(1)),
            started: START,
            software: "x".into(),
            since: None,
            behind: 0,
            minutes: vec![],
            hour: Minute::default(),
            day: Minute::default(),
            suspended_flows: Vec::new(),
            suspended_intake: None,
            waiting: 0,
            oldest: None,
            log,
            lanes: vec![],
            refusals: vec![],
            queues: vec![],
            agents: vec![agent],
            covenants: vec![],
            quorums: vec![],
            witnesses: vec![],
            awaiting: false,
            waiting_for: vec![],
            storage: Storage { free_bytes: Some(1 << 40), keep_free_bytes: 1 << 28, ..Storage::default() },
            certificate_ends: Some(START.plus(Span::days(60))),
            acts: vec![],
            kinds: vec![],
            run: Run::default(),
            alarms: vec![],
            disk_full: None,
        }
    }

    fn queue(board: &Board, age: Span) -> QueueRow {
        let oldest = Some(Place { position: 3, at: board.now.minus(age) });
        let oin = TOWN.parse().unwrap();
        QueueRow { oin, packets: 4, bytes: 9, inflight: 0, frozen: 1, oldest, expires: None }
    }

    fn found(board: &Board, samples: &Samples) -> Vec<(Code, String, Severity)> {
        let all = find(board, samples, &[], &Limits::default());
        for one in &all {
            assert!(one.what.nl.ends_with('.') && one.what.en.ends_with('.') && one.what.nl != one.what.en);
        }
        all.into_iter().map(|one| (one.code, one.subject, one.severity)).collect()
    }

    /// What `wrong` does to a board is found, on this subject; and nothing is once `mend` did its work.
    #[track_caller]
    fn holds(
        (code, subject, severity): (Code, &str, Severity),
        wrong: impl Fn(&mut Board),
        mend: impl Fn(&mut Board),
    ) {
        let (mut board, samples) = (board(), Samples::default());
        assert_eq!(found(&board, &samples), [], "nothing is wrong");
        wrong(&mut board);
        assert_eq!(found(&board, &samples), [(code, subject.to_owned(), severity)]);
        mend(&mut board);
        assert_eq!(found(&board, &samples), [], "{code} without its cause");
    }

    #[test]
    fn a_recipient_that_is_away_for_long_is_told_of_when_something_waits_for_it() {
        let alarm = (Code::RecipientSilent, TOWN, Severity::Page);
        let away = |board: &mut Board| {
            board.queues.push(queue(board, Span::minutes(1)));
            board.agents[0].links.clear();
        };
        holds(alarm, away, |board| board.queues.clear());
        holds(alarm, away, |board| board.queues[0].frozen = 4);
        holds(alarm, away, |board| board.agents[0].last_seen = Some(board.now.minus(Span::minutes(10))));
        holds(alarm, away, |board| board.agents[0].added = board.now.minus(Span::minutes(9)));
        holds(alarm, away, |board| board.started = board.now.minus(Span::minutes(9)));
        holds(alarm, away, |board| board.agents[0].revoked = Some(board.now));
    }

    #[test]
    fn a_packet_that_waits_too_long_for_one_that_is_connected_is_told_of() {
        let alarm = (Code::OldestWaiting, TOWN, Severity::Page);
        let waits = |board: &mut Board| {
            board.queues.push(QueueRow { frozen: 0, ..queue(board, Span::minutes(16)) });
        };
        holds(alarm, waits, |board| board.queues.clear());
        holds(alarm, waits, |board| board.queues[0] = queue(board, Span::minutes(15)));
        holds(alarm, waits, |board| board.queues[0].frozen = 4);
    }

    #[test]
    fn many_refusals_of_one_sender_in_an_hour_are_told_of() {
        let row = |reason, hour, known: bool| RefusalRow {
            from: TOWN.parse().ok().filter(|_| known),
            reason,
            count: 5000,
            hour,
            last: None,
        };
        for (known, subject) in [(true, TOWN), (false, UNKNOWN)] {
            let many = |board: &mut Board| board.refusals = vec![row(401, 60, known), row(402, 41, known)];
            holds((Code::RefusalBurst, subject, Severity::Ticket), many, |board| board.refusals[1].hour = 40);
        }
        let mut board = board();
        let oin = |number: usize| format!("{number:020}").parse().ok();
        board.refusals =
            (0..200).map(|number| RefusalRow { from: oin(number), ..row(401, 999, true) }).collect();
        assert_eq!(found(&board, &Samples::default()).len(), SENDERS_MAX, "bounded");
    }

    #[test]
    fn a_certificate_that_ends_is_told_of_a_month_and_a_week_before() {
        let left = |board: &Board, days| Some(board.now.plus(Span::days(days)));
        for (days, severity) in [(29, Severity::Ticket), (6, Severity::Page), (0, Severity::Page)] {
            let own = |board: &mut Board| board.certificate_ends = left(board, days);
            holds((Code::CertificateEnds, BROKER, severity), own, |board| {
                board.certificate_ends = left(board, 30);
            });
            let partner = |board: &mut Board| {
                board.agents[0].links[0].certificate_ends = left(board, days).unwrap();
            };
            holds((Code::CertificateEnds, TOWN, severity), partner, |board| {
                let renewed = LinkRow {
                    certificate_ends: left(board, 90).unwrap(),
                    ..board.agents[0].links[0].clone()
                };
                board.agents[0].links.push(renewed);
            });
            holds((Code::CertificateEnds, TOWN, severity), partner, |board| board.agents[0].links.clear());
        }
    }

    #[test]
    fn a_quorum_that_grows_old_is_told_of_and_with_haste_after_an_hour() {
        for (age, severity) in [(16, Severity::Ticket), (61, Severity::Page)] {
            let old = |board: &mut Board| {
                let age_ms = Span::minutes(age).0;
                board.quorums.push(QuorumRow {
                    id: "c".into(),
                    version: 2,
                    wanted: 2,
                    of: 3,
                    size: None,
                    age_ms,
                });
            };
            let mend = |board: &mut Board| board.quorums[0].age_ms = Span::minutes(15).0;
            holds((Code::QuorumOld, "c v2", severity), old, mend);
        }
        holds(
            (Code::WitnessesAwaited, BROKER, Severity::Page),
            |board| (board.awaiting, board.waiting_for) = (true, vec![TOWN.into()]),
            |board| board.awaiting = false,
        );
    }

    fn witness(refused: u64) -> WitnessRow {
        let remark = Some("no signature".to_owned());
        WitnessRow { name: "outside-a".into(), size: None, reachable: true, refused, remark, suspect: None }
    }

    #[test]
    fn a_witness_that_contradicts_is_told_of_at_once() {
        let alarm = (Code::WitnessContradicts, "outside-a", Severity::Page);
        let says = |board: &mut Board| {
            board.witnesses.push(WitnessRow { suspect: Some("says-larger".into()), ..witness(9) });
        };
        holds(alarm, says, |board| board.witnesses[0].suspect = None);
    }

    #[test]
    fn a_witness_whose_answers_are_of_no_use_in_ten_minutes_is_told_of() {
        let (mut board, mut samples) = (board(), Samples::default());
        board.witnesses.push(witness(100));
        samples.take(&board);
        assert_eq!(found(&board, &samples), [], "what was before does not count");
        board.now = board.now.plus(Span::minutes(5));
        board.witnesses[0].refused = 102;
        assert_eq!(found(&board, &samples), []);
        board.witnesses[0].refused = 103;
        assert_eq!(found(&board, &samples), [(Code::WitnessRefuses, "outside-a".into(), Severity::Ticket)]);
        samples.take(&board);
        board.now = board.now.plus(Span::minutes(10));
        assert_eq!(found(&board, &samples), [], "that is over");
        board.witnesses[0] = WitnessRow { name: "outside-b".into(), ..witness(50) };
        assert_eq!(found(&board, &samples), [], "one that is new");
    }

    #[test]
    fn flushes_that_are_slow_in_ten_minutes_are_told_of() {
        let (mut board, mut samples) = (board(), Samples::default());
        let flushed = |board: &mut Board, millis: u64, times: u32| {
            (0..times).for_each(|_| board.storage.flush.count(millis, crate::FLUSH_MILLIS));
        };
        flushed(&mut board, 9000, 500);
        samples.take(&board);
        assert_eq!(found(&board, &samples), [], "what was before does not count");
        board.now = board.now.plus(Span::minutes(5));
        flushed(&mut board, 250, 1000);
        flushed(&mut board, 251, 10);
        assert_eq!(found(&board, &samples), [], "1 in 100 is");
        flushed(&mut board, 251, 1);
        let slow = (Code::FlushSlow, BROKER.to_owned(), Severity::Ticket);
        assert_eq!(found(&board, &samples), std::slice::from_ref(&slow));
        samples.take(&board);
        board.now = board.now.plus(Span::minutes(9));
        flushed(&mut board, 9000, 19);
        assert_eq!(found(&board, &samples), [], "too few to say");
        flushed(&mut board, 9000, 1);
        assert_eq!(found(&board, &samples), [slow], "above every step");
    }

    #[test]
    fn a_disk_that_is_full_or_will_be_is_told_of() {
        let full = |board: &mut Board| board.storage.scarce = true;
        holds((Code::DiskScarce, BROKER, Severity::Page), full, |board| board.storage.scarce = false);
        for (hours, severity) in [(5, Some(Severity::Page)), (90, Some(Severity::Ticket)), (100, None)] {
            let (mut board, mut samples) = (board(), Samples::default());
            let (start, left, step) = (board.now, hours * 60, 1_u64 << 20);
            for minute in 0..120 {
                board.now = start.plus(Span::minutes(minute));
                board.storage.free_bytes = Some(board.storage.keep_free_bytes + (120 + left - minute) * step);
                samples.take(&board);
            }
            let wanted: Vec<_> =
                severity.map(|one| (Code::DiskFilling, BROKER.to_owned(), one)).into_iter().collect();
            assert_eq!(found(&board, &samples), wanted);
            board.storage.free_bytes = None;
            assert_eq!(found(&board, &samples), [], "nobody knows");
            full(&mut board);
            assert_eq!(found(&board, &samples), [(Code::DiskScarce, BROKER.to_owned(), Severity::Page)]);
        }
    }

    #[test]
    fn what_is_wrong_with_log_clock_and_counting_is_told_of() {
        holds(
            (Code::SelfCheckFailed, BROKER, Severity::Page),
            |board| board.log.failures.push(("bundel 1 klopt niet.".into(), "bundle 1 is wrong.".into())),
            |board| board.log.failures.clear(),
        );
        holds(
            (Code::YearRefused, BROKER, Severity::Page),
            |board| board.log.year_refused = true,
            |board| board.log.year_refused = false,
        );
        holds(
            (Code::ClockBehind, BROKER, Severity::Ticket),
            |board| board.log.last_entry = board.now.plus(Span::seconds(11)),
            |board| board.log.last_entry = board.now.plus(Span::seconds(10)),
        );
        holds(
            (Code::CountingBehind, BROKER, Severity::Ticket),
            |board| board.behind = 10_001,
            |board| board.behind = 10_000,
        );
    }

    #[test]
    fn a_channel_that_fails_and_an_engine_that_stopped_are_told_of() {
        let (board, limits) = (board(), Limits::default());
        let fails = [Channel { name: "mail", since: board.now.minus(Span::hours(3)) }];
        let all = find(&board, &Samples::default(), &fails, &limits);
        assert_eq!((all[0].code, all[0].subject.as_str()), (Code::ChannelFailed, "mail"));
        assert!(all[0].what.nl.contains("3 uur"), "{:?}", all[0].what);
        assert!(find(&board, &Samples::default(), &[], &limits).is_empty());
        assert_eq!(Finding::stopped().severity, Severity::Page);
        assert!(Finding::stuck(Span::minutes(3)).what.en.contains("3 minutes"));
    }
}
