//! One page of a set of points: charts, each with its table, and every figure. It fetches nothing.

use std::fmt::Write as _;

use serde_json::Value;

use super::chart::{self, Chart, LINES, Line, escaped};
use super::columns;
use super::latency::PLACES;
use super::scale::spread;

const STYLE: &str = include_str!("page.css");

/// What a point is of: body, senders, recipients of each packet.
const AXES: [&str; 3] = ["/plan/body_bytes", "/plan/pairs", "/plan/recipients"];
const BODY: usize = 0;
const SENDERS: usize = 1;
const RECIPIENTS: usize = 2;

/// The whole page.
pub(super) fn page(conditions: &Value, points: &[Value]) -> String {
    let mut out = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Seinhuis: what it carries</title><style>",
    );
    out.push_str(chart::STYLE);
    out.push_str(STYLE);
    out.push_str("</style></head><body><main><h1>What Seinhuis carries on one machine</h1>");
    out.push_str(
        "<p>Every packet is sealed, signed, judged, logged, flushed, delivered, opened and acknowledged as in production: one broker in a process, all agents and the generator in another, over QUIC on the loopback interface. A packet is delivered when its last recipient has it on stable storage.</p>",
    );
    told(&mut out, conditions);
    let points: Vec<&Value> = points.iter().collect();
    for chart in charts(&points) {
        out.push_str(&chart.html());
    }
    every(&mut out, &points);
    out.push_str("</main></body></html>\n");
    out
}

/// The conditions, as they are named.
fn told(out: &mut String, conditions: &Value) {
    out.push_str("<dl>");
    for (name, value) in conditions.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escaped(&name.replace('_', " ")), escaped(&value));
    }
    out.push_str("</dl>");
}

/// Every figure of every point.
fn every(out: &mut String, points: &[&Value]) {
    out.push_str("<section><h2>Every point</h2><p>Paced: pushes at half the rate of full speed, each at its appointed time and counted from it, whatever became of those before it. The figures a packet are of the run at full speed.</p><div class=\"wide\"><table><caption>Figures of each point</caption><thead><tr>");
    for head in columns::heads() {
        _ = write!(out, "<th scope=\"col\">{}</th>", escaped(head));
    }
    out.push_str("</tr></thead><tbody>");
    for point in points {
        out.push_str("<tr>");
        for cell in columns::cells(point) {
            _ = write!(out, "<td>{}</td>", escaped(&cell));
        }
        out.push_str("</tr>");
        if let Some(failed) = point.get("failed").and_then(Value::as_str) {
            let span = columns::heads().len();
            _ = write!(
                out,
                "<tr><td class=\"failed\" colspan=\"{span}\">Not measured: {}</td></tr>",
                escaped(failed)
            );
        }
    }
    out.push_str("</tbody></table></div></section>");
}

fn charts(points: &[&Value]) -> Vec<Chart> {
    let (few, usual) = (least(points, RECIPIENTS), middle(points, SENDERS));
    let each = format!("{few} recipient(s) of each packet");
    let senders = format!("{usual} sender(s)");
    let speed = |axis, by, kept, title: &str, about: String| {
        throughput(points, (axis, by, kept), title, format!("Packets a second at full speed; {about}."))
    };
    vec![
        speed(BODY, SENDERS, (RECIPIENTS, few), "Throughput by length of body", each.clone()),
        speed(SENDERS, BODY, (RECIPIENTS, few), "Throughput by senders", each.clone()),
        speed(RECIPIENTS, BODY, (SENDERS, usual), "Throughput by recipients of each packet", senders.clone()),
        distribution(points, (few, usual), "end_to_end", "Latency end to end", &format!("{senders}, {each}")),
        distribution(
            points,
            (few, usual),
            "acknowledged",
            "Latency of the acknowledgement",
            &format!("{senders}, {each}"),
        ),
    ]
}

/// Packets a second along one axis, a line for each value of another, where a third is kept.
fn throughput(
    points: &[&Value],
    (axis, by, (kept, at)): (usize, usize, (usize, u64)),
    title: &str,
    about: String,
) -> Chart {
    let of: Vec<&Value> = points.iter().copied().filter(|point| on(point, kept) == Some(at)).collect();
    let (across, lines) = (values(&of, axis), values(&of, by));
    let lines = lines.into_iter().take(LINES).map(|line| Line {
        name: named(by, line),
        values: across
            .iter()
            .map(|place| {
                let point =
                    of.iter().find(|point| on(point, axis) == Some(*place) && on(point, by) == Some(line))?;
                point
                    .pointer("/full/packets_per_second")
                    .or_else(|| point.pointer("/paced/delivered_per_second"))?
                    .as_f64()
            })
            .collect(),
    });
    let words = ["bytes of each body", "senders", "recipients of each packet"];
    Chart {
        title: title.to_owned(),
        about,
        across: words.get(axis).copied().unwrap_or_default().into(),
        up: "packets a second".into(),
        lines: lines.collect(),
        places: spread(&across.iter().map(|value| float(*value)).collect::<Vec<_>>())
            .into_iter()
            .zip(across.iter().map(|value| if axis == BODY { bytes(*value) } else { value.to_string() }))
            .collect(),
    }
}

/// How latency is distributed, a line for each length of body.
fn distribution(points: &[&Value], (few, usual): (u64, u64), of: &str, title: &str, about: &str) -> Chart {
    let kept =
        points.iter().filter(|point| on(point, RECIPIENTS) == Some(few) && on(point, SENDERS) == Some(usual));
    let lines = kept.take(LINES).map(|point| {
        let at = point.pointer(&format!("/paced/{of}/at_us")).and_then(Value::as_array);
        let rate = point.pointer("/paced/rate").and_then(Value::as_f64).unwrap_or_default();
        Line {
            name: format!(
                "{} at {}/s",
                named(BODY, on(point, BODY).unwrap_or_default()),
                columns::rounded(rate, 0)
            ),
            values: at.into_iter().flatten().map(|pair| Some(pair.get(1)?.as_f64()? / 1000.0)).collect(),
        }
    });
    let count = float(u64::try_from(PLACES.len()).unwrap_or(1)) - 1.0;
    let labels = PLACES.iter().map(|place| if *place < 1.0 { percent(*place) } else { "max".to_owned() });
    Chart {
        title: title.to_owned(),
        about: format!(
            "Of packets pushed at appointed times, half as many a second as at full speed; {about}."
        ),
        across: "share of all packets that took no longer".into(),
        up: "milliseconds".into(),
        lines: lines.collect(),
        places: (0..).zip(labels).map(|(at, label)| (float(at) / count, label)).collect(),
    }
}

/// Where a point is on an axis.
fn on(point: &Value, axis: usize) -> Option<u64> {
    point.pointer(AXES.get(axis)?)?.as_u64()
}

/// The values on an axis, from low to high.
fn values(points: &[&Value], axis: usize) -> Vec<u64> {
    let mut values: Vec<u64> = points.iter().filter_map(|point| on(point, axis)).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn least(points: &[&Value], axis: usize) -> u64 {
    values(points, axis).first().copied().unwrap_or_default()
}

fn middle(points: &[&Value], axis: usize) -> u64 {
    let values = values(points, axis);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

fn named(axis: usize, value: u64) -> String {
    match (axis, value) {
        (BODY, _) => format!("bodies of {}", bytes(value)),
        (SENDERS, 1) => "1 sender".to_owned(),
        (SENDERS, _) => format!("{value} senders"),
        (_, 1) => "1 recipient".to_owned(),
        _ => format!("{value} recipients"),
    }
}

fn bytes(value: u64) -> String {
    if value >= 1024 && value.is_multiple_of(1024) {
        format!("{} KiB", value / 1024)
    } else {
        format!("{value} B")
    }
}

fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn float(number: u64) -> f64 {
    super::figures::float(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn point(body: u64, pairs: u64, recipients: u64, speed: f64) -> Value {
        let at: Vec<_> = PLACES.iter().zip(1..).map(|(place, ms)| json!([place, ms * 1000])).collect();
        json!({
            "plan": { "body_bytes": body, "pairs": pairs, "recipients": recipients },
            "full": { "packets_per_second": speed },
            "paced": { "rate": speed / 2.0, "end_to_end": { "at_us": at }, "acknowledged": { "at_us": at } },
        })
    }

    fn matrix() -> Vec<Value> {
        let mut points = Vec::new();
        for body in [256, 16_384] {
            for pairs in [1, 4, 16] {
                for recipients in [1, 4] {
                    points.push(point(body, pairs, recipients, 1e6 / float(body * recipients)));
                }
            }
        }
        points
    }

    #[test]
    fn each_chart_has_a_line_for_each_value_of_its_other_axis() {
        let points = matrix();
        let points: Vec<&Value> = points.iter().collect();
        let charts = charts(&points);
        let lines: Vec<usize> = charts.iter().map(|chart| chart.lines.len()).collect();
        assert_eq!(lines, [3, 2, 2, 2, 2]);
        assert_eq!(charts[0].lines[1].name, "4 senders");
        assert_eq!(charts[0].lines[1].values, [Some(1e6 / 256.0), Some(1e6 / 16_384.0)]);
        assert_eq!(charts[2].lines[0].values, [Some(1e6 / 256.0), Some(1e6 / 1024.0)]);
        assert_eq!(charts[3].lines[0].values[8], Some(9.0));
        let labels: Vec<&str> = charts[3].places.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["50 %", "75 %", "90 %", "95 %", "99 %", "99.5 %", "99.9 %", "99.99 %", "max"]);
    }

    #[test]
    fn a_point_that_could_not_be_measured_leaves_a_gap_and_says_why() {
        let mut points = matrix();
        points[0] = json!({ "plan": points[0]["plan"], "failed": "it ended <badly>" });
        let html = page(&json!({ "processors": 2 }), &points);
        assert!(html.contains("Not measured: it ended &lt;badly&gt;"));
        let points: Vec<&Value> = points.iter().collect();
        assert_eq!(charts(&points)[0].lines[0].values[0], None);
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let html = page(&json!({ "processor": "<x>" }), &matrix());
        assert!(html.starts_with("<!DOCTYPE html>"));
        for word in ["http:", "https:", "src=", "<script", "<link", "@import", "url("] {
            assert!(!html.contains(word), "{word}");
        }
        assert!(html.contains("prefers-color-scheme: dark") && html.contains("&lt;x&gt;"));
        assert_eq!(
            html.matches("<caption>").count(),
            6,
            "every chart has its table, and all points have one"
        );
    }

    #[test]
    fn nothing_measured_is_a_page_too() {
        assert!(page(&Value::Null, &[]).contains("Every point"));
    }
}
