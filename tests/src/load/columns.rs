//! The columns of a table of points, the same for Markdown and for the page.

use serde_json::Value;

/// A column: what it says, where in a point's figures its numbers are, what they are divided by, and digits.
struct Column {
    head: &'static str,
    places: &'static [&'static str],
    unit: f64,
    digits: usize,
}

const fn column(head: &'static str, places: &'static [&'static str], unit: f64, digits: usize) -> Column {
    Column { head, places, unit, digits }
}

const COLUMNS: [Column; 17] = [
    column("body, bytes", &["/plan/body_bytes"], 1.0, 0),
    column("senders", &["/plan/pairs"], 1.0, 0),
    column("recipients each", &["/plan/recipients"], 1.0, 0),
    column("packets/s", &["/full/packets_per_second"], 1.0, 0),
    column("deliveries/s", &["/full/deliveries_per_second"], 1.0, 0),
    column("bodies, MB/s", &["/full/body_megabytes_per_second"], 1.0, 2),
    column(
        "full speed, ms: ack p50, p99",
        &["/full/acknowledged/p50_us", "/full/acknowledged/p99_us"],
        1e3,
        0,
    ),
    column(
        "full speed, ms: end to end p50, p99",
        &["/full/end_to_end/p50_us", "/full/end_to_end/p99_us"],
        1e3,
        0,
    ),
    column("paced, packets/s", &["/paced/rate"], 1.0, 0),
    column(
        "paced, ms: ack p50, p99, p99.9, max",
        &[
            "/paced/acknowledged/p50_us",
            "/paced/acknowledged/p99_us",
            "/paced/acknowledged/p999_us",
            "/paced/acknowledged/max_us",
        ],
        1e3,
        0,
    ),
    column(
        "paced, ms: end to end p50, p99, p99.9, max",
        &[
            "/paced/end_to_end/p50_us",
            "/paced/end_to_end/p99_us",
            "/paced/end_to_end/p999_us",
            "/paced/end_to_end/max_us",
        ],
        1e3,
        0,
    ),
    column(
        "CPU µs/packet: broker, agents",
        &["/per_packet/broker_cpu_us", "/per_packet/agents_cpu_us"],
        1.0,
        0,
    ),
    column(
        "flushes of journals/packet: broker, agents",
        &["/per_packet/broker_fsyncs", "/per_packet/agent_fsyncs"],
        1.0,
        3,
    ),
    column(
        "kB to disk/packet: broker, agents",
        &["/per_packet/broker_written_bytes", "/per_packet/agents_written_bytes"],
        1e3,
        1,
    ),
    column("most RSS, MiB: broker, agents", &["/broker/loaded_rss", "/agents/loaded_rss"], 1_048_576.0, 0),
    column(
        "kept bytes/packet: journal, log",
        &["/per_packet/journal_bytes_delivered", "/per_packet/log_file_bytes"],
        1.0,
        0,
    ),
    column(
        "disk at the end, MiB: broker, agents",
        &["/broker/disk_bytes", "/agents/disk_bytes"],
        1_048_576.0,
        0,
    ),
];

/// What stands above each column.
pub(super) fn heads() -> Vec<&'static str> {
    COLUMNS.iter().map(|column| column.head).collect()
}

/// A point's row. A number that was not measured is a dash.
pub(super) fn cells(point: &Value) -> Vec<String> {
    let one = |column: &Column| {
        let number = |place: &&str| match point.pointer(place).and_then(Value::as_f64) {
            Some(number) => rounded(number / column.unit, column.digits),
            None => "–".to_owned(),
        };
        column.places.iter().map(number).collect::<Vec<_>>().join(" / ")
    };
    COLUMNS.iter().map(one).collect()
}

/// A number with so many digits behind the point; more of them where it would be nothing otherwise.
pub(super) fn rounded(number: f64, digits: usize) -> String {
    let more =
        if digits == 0 && number != 0.0 && number.abs() < 10.0 && number.fract() != 0.0 { 1 } else { digits };
    format!("{number:.more$}")
}

/// All points as a table in Markdown.
pub(super) fn markdown(points: &[Value]) -> String {
    let heads = heads();
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut out = line(&heads.iter().map(ToString::to_string).collect::<Vec<_>>());
    out.push_str(&line(&vec!["---:".to_owned(); heads.len()]));
    for point in points {
        out.push_str(&line(&cells(point)));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_a_cell_for_every_column_and_a_dash_for_what_was_not_measured() {
        let point = json!({
            "plan": { "body_bytes": 256, "pairs": 4, "recipients": 1 },
            "full": { "packets_per_second": 4321.4, "acknowledged": { "p50_us": 141_200, "p99_us": 3_050 } },
        });
        let cells = cells(&point);
        assert_eq!(cells.len(), heads().len());
        assert_eq!(&cells[..4], ["256", "4", "1", "4321"]);
        assert_eq!(cells[6], "141 / 3.0");
        assert_eq!(cells[7], "– / –");
        let table = markdown(&[point]);
        assert!(table.lines().all(|line| line.matches('|').count() == heads().len() + 1), "{table}");
    }
}
