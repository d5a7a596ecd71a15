use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::time::Timestamp;

use super::*;
use crate::board::{
    AgentRow, HandshakesRow, LinkRow, LogState, QueueRow, QuorumRow, Run, Storage, WitnessRow,
};
use crate::distribution::FLUSH_MILLIS;
use crate::offset::Offset;
use crate::series::Minute;
use crate::tally::{Place, Seen, Tally};

const POLICE: &str = "00000099000000002000";
const TOWN: &str = "00000099000000001000";
const STRANGER: &str = "00000099000000009999";
/// What no metric may show, wherever it was.
const SECRET: &str = "Jan Jansen";

fn oin(text: &str) -> Oin {
    text.parse().unwrap()
}

fn agent(text: &str, links: Vec<LinkRow>) -> AgentRow {
    AgentRow {
        oin: oin(text),
        name: SECRET.into(),
        added: Timestamp(1),
        revoked: None,
        suspended: None,
        software: (!links.is_empty()).then(|| SECRET.into()),
        last_seen: None,
        certificate_ends: links.first().map(|link| link.certificate_ends),
        prekeys_end: Some(Timestamp(8_000_250)),
        redelivered: 7,
        clock: (!links.is_empty()).then_some(Offset { least_ms: -2600, most_ms: -2400 }),
        links,
    }
}

fn link() -> LinkRow {
    LinkRow {
        transport: "quic".into(),
        since: Timestamp(1),
        rtt_us: Some(2500),
        sent_lost: Some((1, 0)),
        certificate_ends: Timestamp(9_000_500),
    }
}

/// Entries as a log may have them, also of what was refused.
fn entries() -> Vec<Entry> {
    let entry = |kind, reason| {
        let mut entry = Entry::new(kind, Timestamp(10), [0; 16]);
        (entry.from, entry.to) = (Some(oin(POLICE)), Some(oin(TOWN)));
        (entry.flow, entry.message_type) = (Some("F02".into()), Some("signaal".into()));
        entry.reason = reason;
        entry
    };
    let mut all = vec![
        entry(Kind::Accepted, None),
        entry(Kind::Accepted, None),
        entry(Kind::Delivered, None),
        entry(Kind::Delivered, Some(418)),
        entry(Kind::Refused, Some(404)),
        entry(Kind::Refused, Some(9)),
        entry(Kind::Operator, None),
    ];
    for from in [Some(oin(STRANGER)), Some(oin("00000099000000008888")), None] {
        all.push(Entry { from, ..entry(Kind::Refused, Some(205)) });
    }
    for one in &mut all {
        one.detail = Some(SECRET.into());
        if one.kind == Kind::Refused {
            (one.flow, one.message_type) = (Some(SECRET.into()), Some(SECRET.into()));
        }
    }
    all
}

fn log() -> LogState {
    LogState {
        origin: SECRET.into(),
        logs: 1,
        size: 10,
        root: None,
        last_entry: Timestamp(10),
        year_refused: false,
        checked: None,
        failures: vec![(SECRET.into(), SECRET.into())],
    }
}

fn witness() -> WitnessRow {
    WitnessRow {
        name: "outside-a\\b\"c\nd".into(),
        size: Some(10),
        behind_since: None,
        reachable: true,
        refused: 2,
        remark: Some(SECRET.into()),
        suspect: None,
    }
}

fn board() -> Board {
    let mut tally = Tally::default();
    for entry in &entries() {
        tally.take(&Seen::from(entry));
    }
    let mut storage = Storage { disk_bytes: 4096, free_bytes: Some(1 << 40), ..Storage::default() };
    for millis in [0, 3, 9000] {
        storage.flush.count(millis, FLUSH_MILLIS);
    }
    Board {
        now: Timestamp(1_764_500_000_250),
        started: Timestamp(1_764_400_000_000),
        software: "seinhuis-broker/0.1.0".into(),
        since: Some(Timestamp(10)),
        behind: 0,
        minutes: Vec::new(),
        quarters: Vec::new(),
        hour: Minute::default(),
        day: Minute::default(),
        waiting: 3,
        oldest: None,
        log: log(),
        lanes: Vec::new(),
        refusals: Vec::new(),
        queues: vec![QueueRow {
            oin: oin(TOWN),
            packets: 3,
            bytes: 900,
            inflight: 1,
            frozen: 0,
            oldest: Some(Place { position: 1, at: Timestamp(10_250) }),
            oldest_open: None,
            expires: None,
        }],
        agents: vec![agent(POLICE, vec![link()]), agent(TOWN, Vec::new())],
        suspended_flows: vec![],
        suspended_intake: None,
        covenants: Vec::new(),
        quorums: [(Some(5), 4000), (None, 90_250)]
            .map(|(size, age_ms)| QuorumRow {
                id: SECRET.into(),
                version: 1,
                wanted: 1,
                of: 2,
                witnesses: Vec::new(),
                size,
                age_ms,
            })
            .to_vec(),
        witnesses: vec![witness()],
        awaiting: false,
        waiting_for: Vec::new(),
        storage,
        certificate_ends: None,
        console: None,
        acts: tally.acts().cloned().collect(),
        kinds: Vec::new(),
        alarms: Vec::new(),
        disk_full: None,
        run: Run {
            handshakes: vec![HandshakesRow { transport: "quic".into(), done: 4, failed: 1 }],
            ..tally.totals().run()
        },
    }
}

fn lines(board: Board, format: Format) -> Vec<String> {
    render(&Arc::new(board), format).lines().map(str::to_owned).collect()
}

/// The labels of a line of text, each with its value as it stands there.
fn labels(line: &str) -> Vec<(&str, &str)> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let Some((inner, _)) = rest.rsplit_once("\"} ") else { return Vec::new() };
    inner.split("\",").map(|pair| pair.split_once("=\"").unwrap()).collect()
}

#[test]
fn a_board_is_shown_in_both_formats() {
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let all = lines(board(), format);
        for wanted in [
            r#"seinhuis_build_info{version="seinhuis-broker/0.1.0"} 1"#,
            "seinhuis_start_timestamp_seconds 1764400000.0",
            "seinhuis_clock_timestamp_seconds 1764500000.25",
            "seinhuis_serving 1.0",
            r#"seinhuis_backpressure{kind="disk"} 0.0"#,
            r#"seinhuis_packets_accepted_total{from="00000099000000002000",to="00000099000000001000",flow="F02",type="signaal"} 2"#,
            r#"seinhuis_packets_delivered_total{from="00000099000000002000",to="00000099000000001000",flow="F02"} 1"#,
            r#"seinhuis_packets_quarantined_total{from="00000099000000002000",to="00000099000000001000",flow="F02"} 1"#,
            r#"seinhuis_packets_refused_total{from="00000099000000002000",reason="unknown-flow"} 1"#,
            r#"seinhuis_packets_refused_total{from="00000099000000002000",reason="unknown"} 1"#,
            r#"seinhuis_packets_refused_total{from="unknown",reason="bad-signature"} 3"#,
            r#"seinhuis_queue_packets{to="00000099000000001000",state="waiting"} 2.0"#,
            r#"seinhuis_queue_packets{to="00000099000000001000",state="inflight"} 1.0"#,
            r#"seinhuis_queue_packets{to="00000099000000002000",state="waiting"} 0.0"#,
            r#"seinhuis_queue_bytes{to="00000099000000001000"} 900.0"#,
            r#"seinhuis_queue_oldest_timestamp_seconds{to="00000099000000001000"} 10.25"#,
            r#"seinhuis_agent_connected{agent="00000099000000002000"} 1.0"#,
            r#"seinhuis_agent_connected{agent="00000099000000001000"} 0.0"#,
            r#"seinhuis_agent_certificate_expiry_timestamp_seconds{agent="00000099000000002000"} 9000.5"#,
            r#"seinhuis_agent_round_trip_seconds{agent="00000099000000002000"} 0.0025"#,
            r#"seinhuis_packets_redelivered_total{to="00000099000000001000"} 7"#,
            r#"seinhuis_agent_prekey_expiry_timestamp_seconds{agent="00000099000000001000"} 8000.25"#,
            r#"seinhuis_agent_clock_offset_seconds{agent="00000099000000002000"} -2.5"#,
            r#"seinhuis_agent_clock_margin_seconds{agent="00000099000000002000"} 0.1"#,
            r#"seinhuis_connections{kind="quic"} 1.0"#,
            r#"seinhuis_handshakes_total{kind="quic"} 4"#,
            r#"seinhuis_handshake_failures_total{kind="quic"} 1"#,
            r#"seinhuis_log_entries_total{kind="refused"} 5"#,
            "seinhuis_log_cosigned_size_entries 0.0",
            "seinhuis_log_quorum_timestamp_seconds 1764499910.0",
            "seinhuis_log_selfcheck_failures 1.0",
            r#"seinhuis_commit_duration_seconds_bucket{le="0.001"} 1"#,
            r#"seinhuis_commit_duration_seconds_bucket{le="0.005"} 2"#,
            r#"seinhuis_commit_duration_seconds_bucket{le="+Inf"} 3"#,
            "seinhuis_commit_duration_seconds_sum 9.003",
            "seinhuis_commit_duration_seconds_count 3",
        ] {
            assert!(all.iter().any(|line| line == wanted), "{format:?} lacks {wanted}:\n{}", all.join("\n"));
        }
        assert_eq!(all.last().map(String::as_str) == Some("# EOF"), format == Format::OpenMetrics);
        for absent in [
            "queue_oldest_timestamp_seconds{to=\"00000099000000002000\"",
            "agent_clock_offset_seconds{agent=\"00000099000000001000\"",
            "log_selfcheck_timestamp_seconds ",
        ] {
            let shown = |line: &String| !line.starts_with('#') && line.contains(absent);
            assert!(!all.iter().any(shown), "{absent} is not known");
        }
    }
}

#[test]
fn what_makes_a_line_end_or_a_label_close_is_escaped() {
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let all = lines(board(), format);
        let wanted = r#"seinhuis_log_witness_size_entries{witness="outside-a\\b\"c\nd"} 10.0"#;
        assert!(all.iter().any(|line| line == wanted), "{}", all.join("\n"));
        let known = |line: &String| line.starts_with("# ") || line.starts_with("seinhuis_");
        assert!(all.iter().all(known), "{}", all.join("\n"));
    }
}

#[test]
fn no_label_is_other_than_from_a_closed_set_and_nothing_else_of_the_board_is_shown() {
    let mut board = board();
    board.witnesses[0].name = TOWN.into();
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let text = render(&Arc::new(board.clone()), format);
        assert!(!text.contains(SECRET), "{text}");
        for foreign in [STRANGER, "00000099000000008888"] {
            assert!(!text.contains(foreign), "an organisation that is no partner");
        }
        let mut seen = BTreeSet::new();
        for (label, value) in text.lines().flat_map(labels) {
            seen.insert(label);
            let party = [POLICE, TOWN].contains(&value);
            let right = match label {
                "from" => party || value == UNKNOWN,
                "to" | "agent" | "witness" => party,
                "flow" => value == "F02",
                "type" => value == "signaal",
                "reason" => {
                    value == UNKNOWN || seinhuis_shared::refusal::TABLE.iter().any(|row| row.slug == value)
                }
                "state" => ["waiting", "inflight", "frozen"].contains(&value),
                "kind" => {
                    ["disk", "witnesses", "quic", "tcp", "journal", "live"].contains(&value)
                        || value.parse::<Kind>().is_ok()
                }
                "version" => value == "seinhuis-broker/0.1.0",
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                _ => false,
            };
            assert!(right, "{label}={value}");
        }
        assert_eq!(seen.len(), 11, "{seen:?}");
    }
}

#[test]
fn no_two_lines_are_of_one_series() {
    let all = lines(board(), Format::Prometheus);
    let series: Vec<&str> = all
        .iter()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
        .collect();
    assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len());
}

#[test]
fn every_metric_of_the_table_is_in_the_text_once_with_its_labels() {
    let text = render(&Arc::new(board()), Format::Prometheus);
    let names: BTreeSet<String> = METRICS.iter().map(Metric::name).collect();
    assert_eq!(names.len(), METRICS.len(), "a name that is there twice");
    for metric in METRICS {
        let head = format!("# TYPE {} ", metric.name());
        assert_eq!(text.lines().filter(|line| line.starts_with(&head)).count(), 1, "{head}");
        assert!(!metric.nl.is_empty() && !metric.en.is_empty() && !metric.en.contains('|'));
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.split(['{', ' ']).next().unwrap();
        let metric = METRICS.iter().find(|metric| metric.series().iter().any(|one| one == series));
        let metric = metric.unwrap_or_else(|| panic!("{line}"));
        let found: Vec<&str> =
            labels(line).into_iter().map(|(label, _)| label).filter(|label| *label != "le").collect();
        assert_eq!(found, metric.labels, "{line}");
    }
}

#[test]
fn a_partner_whose_access_is_taken_away_is_no_agent_that_is_away() {
    let mut board = board();
    board.agents[1].revoked = Some(Timestamp(5));
    let all = lines(board, Format::Prometheus);
    assert!(
        !all.iter().any(|line| line.starts_with("seinhuis_agent_connected{agent=\"00000099000000001000\""))
    );
    assert!(all.iter().any(|line| line.contains("queue_bytes{to=\"00000099000000001000\"} 900")));
}

#[test]
fn floats_are_exact_where_they_can_be() {
    for value in [0, 1, 1000, u64::from(u32::MAX), 1 << 33, (1 << 53) - 1] {
        assert_eq!(format!("{:.0}", float(value)), value.to_string());
    }
}

#[test]
fn a_broker_that_waits_or_has_no_room_does_not_serve() {
    let mut board = board();
    assert!(board.serves());
    board.awaiting = true;
    assert!(!board.serves());
    (board.awaiting, board.storage.scarce) = (false, true);
    assert!(!board.serves());
    let all = lines(board, Format::Prometheus);
    assert!(all.iter().any(|line| line == "seinhuis_serving 0.0"));
    assert!(all.iter().any(|line| line == r#"seinhuis_backpressure{kind="disk"} 1.0"#));
}
