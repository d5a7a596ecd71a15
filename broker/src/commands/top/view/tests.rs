use seinhuis_monitor::alarms::{Code, Said};
use seinhuis_monitor::{
    LaneRow, LogState, Offset, QueueRow, QuorumRow, RefusalRow, Run, Storage, WitnessRow,
};

use super::super::sheet::width;
use super::*;

const TOWN: &str = "00000099000000001000";
const POLICE: &str = "00000099000000002000";

fn agents(now: Timestamp) -> Vec<AgentRow> {
    let agent = |oin, name: &str, links: Vec<LinkRow>| AgentRow {
        oin,
        name: name.into(),
        added: Timestamp(5),
        revoked: None,
        suspended: None,
        software: Some("agent/0.1\u{1b}[31m".into()).filter(|_| !links.is_empty()),
        last_seen: Some(now.minus(Span::hours(5))),
        certificate_ends: Some(now.plus(Span::days(40))),
        prekeys_end: Some(now.plus(Span::days(9))),
        redelivered: 17,
        clock: Some(Offset { least_ms: 2990, most_ms: 3010 }),
        links,
    };
    let link = LinkRow {
        transport: "quic".into(),
        since: now.minus(Span::days(3)),
        rtt_us: Some(12_300),
        sent_lost: Some((1000, 4)),
        certificate_ends: now.plus(Span::days(40)),
    };
    vec![
        agent(TOWN.parse().unwrap(), "Gemeente Voorbeeldstad\u{1b}]0;boo\u{7}", vec![]),
        agent(POLICE.parse().unwrap(), "Politie\u{202e}", vec![link]),
    ]
}

fn alarm(now: Timestamp) -> Alarm {
    let code = Code::RecipientSilent;
    let what = Said::new("Er wachten 3 pakketten.\u{1b}[2J", "3 packets wait.\u{1b}[2J");
    Alarm {
        code,
        subject: TOWN.into(),
        severity: Severity::Page,
        since: now.minus(Span::minutes(20)),
        what,
        advice: code.advice(),
        acknowledged: None,
    }
}

fn log(now: Timestamp) -> LogState {
    LogState {
        origin: "x/2030".into(),
        logs: 1,
        size: 4242,
        root: None,
        last_entry: now,
        year_refused: false,
        checked: Some(now.minus(Span::hours(6))),
        failures: vec![],
    }
}

fn witness(now: Timestamp) -> WitnessRow {
    WitnessRow {
        name: TOWN.into(),
        size: Some(4200),
        behind_since: Some(now.minus(Span::minutes(50))),
        reachable: false,
        refused: 0,
        remark: None,
        suspect: None,
    }
}

/// A board with something on each page, and texts of partners that a terminal would obey.
pub(in super::super) fn board() -> Board {
    let now = Timestamp(1_900_000_000_000);
    let (town, police): (Oin, Oin) = (TOWN.parse().unwrap(), POLICE.parse().unwrap());
    let place = |minutes| Some(Place { position: 7, at: now.minus(Span::minutes(minutes)) });
    let minute = Minute { accepted: 12, refused: 1, delivered: 11, ended: 0 };
    Board {
        now,
        started: now.minus(Span::days(2)),
        software: "seinhuis-broker/0.1".into(),
        since: None,
        behind: 0,
        minutes: vec![minute; 60],
        quarters: vec![],
        hour: Minute { accepted: 720, ..minute },
        day: minute,
        suspended_flows: Vec::new(),
        suspended_intake: None,
        waiting: 3,
        oldest: place(20).map(|place| place.at),
        log: log(now),
        lanes: vec![LaneRow {
            from: police,
            to: town,
            flow: "F02".into(),
            message_type: "melding".into(),
            step: "1".into(),
            accepted: 30,
            stored: 20,
            quarantined: 1,
            ended: 2,
            hour: 9,
            last_accepted: place(1),
            last_delivered: None,
        }],
        refusals: vec![RefusalRow { from: Some(police), reason: 205, count: 8, hour: 2, last: place(3) }],
        queues: vec![QueueRow {
            oin: town,
            packets: 3,
            bytes: 9000,
            inflight: 1,
            frozen: 0,
            oldest: place(20),
            oldest_open: place(20),
            expires: Some(now.plus(Span::hours(30))),
        }],
        agents: agents(now),
        covenants: vec![],
        quorums: vec![QuorumRow {
            id: "c".into(),
            version: 1,
            wanted: 2,
            of: 3,
            witnesses: vec![],
            size: None,
            age_ms: 61_000,
        }],
        witnesses: vec![witness(now)],
        awaiting: false,
        waiting_for: vec![],
        storage: Storage { free_bytes: Some(5 << 30), ..Storage::default() },
        certificate_ends: None,
        console: None,
        acts: vec![],
        kinds: vec![],
        run: Run::default(),
        alarms: vec![alarm(now)],
        disk_full: Some(now.plus(Span::days(3))),
    }
}

fn page(board: &Board, page: Page, lang: Lang, most: usize) -> String {
    let lines = View { board, lang }.lines(page, most, Sort::default());
    lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_page_says_what_is_on_the_board() {
    let board = board();
    for (on, words) in [
        (
            Page::Now,
            vec![
                "ALARM (1, with haste: 1): 3 packets wait",
                "12 a minute, 720 in the hour",
                "████",
                "the oldest 20 min",
                "1 of 2",
                "61 s old",
                "4242 entries, checked 6 h",
                "5 GiB free, 3 days until the disk is full",
            ],
        ),
        (Page::Flows, vec!["Politie", "Gemeente Voorbeeldstad", "F02", "melding", "60 s"]),
        (Page::Queues, vec!["Gemeente Voorbeeldstad", TOWN, "20 min", "30 h", "8 KiB", "17"]),
        (
            Page::Agents,
            vec![
                "away",
                "connected",
                "3 d",
                "40 d",
                "quic",
                "13 ms",
                "4 ‰",
                "agent/0.1",
                "9 d",
                "17",
                "+3000 ms ± 10 ms",
                "42, 50 min",
            ],
        ),
        (Page::Refusals, vec!["Politie", "205", "bad-signature", "sender", "3 min"]),
        (Page::Alarms, vec!["NOW  recipient-silent", TOWN, "for 20 min", "→ Call this organisation"]),
    ] {
        let text = page(&board, on, Lang::En, 200);
        for word in words {
            assert!(text.contains(word), "{word} in\n{text}");
        }
        assert_ne!(text, page(&board, on, Lang::Nl, 200), "{on:?} in Dutch");
    }
}

#[test]
fn nothing_of_a_partner_reaches_the_terminal_as_a_command_and_every_line_fits() {
    let board = board();
    for on in Page::ALL {
        for most in [0, 1, 10, 20, 40, 80, 300] {
            for line in page(&board, on, Lang::Nl, most).lines() {
                assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
                // Of an alarm's text at least something is shown.
                assert!(width(line) <= most.max(8), "{on:?} at {most}: {line:?}");
            }
        }
    }
}

#[test]
fn an_empty_broker_says_so_on_every_page() {
    let mut board = board();
    (board.lanes, board.queues, board.agents) = (vec![], vec![], vec![]);
    (board.refusals, board.alarms, board.minutes) = (vec![], vec![], vec![]);
    (board.disk_full, board.storage.free_bytes, board.oldest) = (None, None, None);
    board.quorums.clear();
    for on in [Page::Flows, Page::Queues, Page::Agents, Page::Refusals, Page::Alarms] {
        let text = page(&board, on, Lang::Nl, 80);
        assert_eq!(text, on.empty(Lang::Nl));
    }
    let now = page(&board, Page::Now, Lang::Nl, 80);
    assert!(now.contains("In orde: 0 van 0 agents") && now.contains("niet gevraagd"), "{now}");
}
