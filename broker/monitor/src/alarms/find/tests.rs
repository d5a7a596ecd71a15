use super::*;
use crate::board::{
    LinkRow, List, LogState, Papers, QueueRow, QuorumRow, RefusalRow, Run, Storage, WitnessRow,
};
use crate::series::Minute;
use crate::tally::Place;

pub(in crate::alarms) const TOWN: &str = "00000099000000001000";
const START: Timestamp = Timestamp(1_900_000_000_000);

/// A board of a broker with one partner that is connected, and nothing wrong.
pub(crate) fn board() -> Board {
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
        software: Some("agent/1".into()),
        last_seen: None,
        certificate_ends: Some(START.plus(Span::days(60))),
        prekeys_end: None,
        redelivered: 0,
        clock: None,
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
        quarters: vec![],
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
        console: None,
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
    let (oldest_open, expires) = (oldest, None);
    QueueRow { oin, packets: 4, bytes: 9, inflight: 0, frozen: 1, oldest, oldest_open, expires }
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
        board.queues.push(queue(board, Span::minutes(16)));
    };
    holds(alarm, waits, |board| board.queues.clear());
    holds(alarm, waits, |board| board.queues[0] = queue(board, Span::minutes(15)));
    holds(alarm, waits, |board| board.queues[0].frozen = 4);
    // One that is held may be as old as it likes; the oldest of the others counts.
    holds(alarm, waits, |board| {
        let younger = queue(board, Span::minutes(15)).oldest;
        board.queues[0].oldest_open = younger;
    });
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
    board.refusals = (0..200).map(|number| RefusalRow { from: oin(number), ..row(401, 999, true) }).collect();
    assert_eq!(found(&board, &Samples::default()).len(), SENDERS_MAX, "bounded");
}

#[test]
fn what_lets_people_in_at_the_console_is_told_of_before_it_ends() {
    let papers = |board: &Board, days, (begins, ends): (u64, u64)| {
        let (begins, ends) = (board.now.minus(Span::hours(begins)), board.now.plus(Span::hours(ends)));
        let certificate_ends = board.now.plus(Span::days(days));
        Some(Papers { certificate_ends, list: Some(List { begins, ends }) })
    };
    for (days, severity) in [(29, Severity::Ticket), (6, Severity::Page), (0, Severity::Page)] {
        holds(
            (Code::CertificateEnds, CONSOLE, severity),
            |board| board.console = papers(board, days, (1, 9)),
            |board| board.console = papers(board, 30, (1, 9)),
        );
    }
    for (list, severity) in [((31, 9), Severity::Ticket), ((20, 0), Severity::Page)] {
        holds(
            (Code::CertificateEnds, REVOCATIONS, severity),
            |board| board.console = papers(board, 90, list),
            |board| board.console = papers(board, 90, (30, 10)),
        );
    }
}

#[test]
fn a_certificate_that_ends_is_told_of_a_month_and_a_week_before() {
    let left = |board: &Board, days| Some(board.now.plus(Span::days(days)));
    for (days, severity) in [(29, Severity::Ticket), (6, Severity::Page), (0, Severity::Page)] {
        let own = |board: &mut Board| board.certificate_ends = left(board, days);
        holds((Code::CertificateEnds, BROKER, severity), own, |board| {
            board.certificate_ends = left(board, 30);
        });
        let partner = |board: &mut Board| board.agents[0].certificate_ends = left(board, days);
        let alarm = (Code::CertificateEnds, TOWN, severity);
        holds(alarm, partner, |board| board.agents[0].certificate_ends = left(board, 90));
        holds(alarm, partner, |board| board.agents[0].revoked = Some(board.now));
        let gone = |board: &mut Board| {
            partner(board);
            board.agents[0].links.clear();
            board.agents[0].software = None;
        };
        holds(alarm, gone, |board| board.agents[0].certificate_ends = None);
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
                witnesses: vec![],
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
    WitnessRow {
        name: "outside-a".into(),
        size: None,
        behind_since: None,
        reachable: true,
        refused,
        remark: Some("no signature".to_owned()),
        suspect: None,
    }
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
