//! `docs/metrics.md` holds the table of metrics, and the alerts and dashboard name no metric that is not in it: code and
//! what operators are given cannot drift apart.
//!
//! With `SEINHUIS_BLESS=1` the table is rewritten instead of compared.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use seinhuis_monitor::metrics::{self, METRICS, Metric};
use serde_json::Value;

const TABLE_BEGINS: &str = "<!-- metrics: begin -->\n";
const TABLE_ENDS: &str = "<!-- metrics: end -->\n";

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(tree(path)).unwrap()
}

#[test]
fn the_document_holds_the_table_of_metrics() {
    let found = read("docs/metrics.md");
    let (before, rest) = found.split_once(TABLE_BEGINS).unwrap();
    let (table, after) = rest.split_once(TABLE_ENDS).unwrap();
    if std::env::var_os("SEINHUIS_BLESS").is_some() {
        let text = [before, TABLE_BEGINS, &metrics::markdown(), TABLE_ENDS, after].concat();
        fs::write(tree("docs/metrics.md"), text).unwrap();
        return;
    }
    assert_eq!(table, metrics::markdown(), "docs/metrics.md differs: run with SEINHUIS_BLESS=1");
}

/// Every name of this program's in a text.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("seinhuis_"))
        .collect()
}

fn known(text: &str, whose: &str) -> usize {
    let series: BTreeSet<String> = METRICS.iter().flat_map(Metric::series).collect();
    let metrics: BTreeSet<String> = METRICS.iter().map(Metric::name).collect();
    let named = named(text);
    for name in &named {
        assert!(
            series.contains(*name) || metrics.contains(*name),
            "{whose} names {name}, which there is not"
        );
    }
    named.len()
}

#[test]
fn alerts_and_their_cases_name_metrics_that_there_are() {
    assert!(known(&read("monitoring/alerts.yml"), "alerts.yml") > 20);
    assert!(known(&read("monitoring/alerts.test.yml"), "alerts.test.yml") > 20);
    assert!(known(&read("docs/metrics.md"), "metrics.md") >= METRICS.len());
}

#[test]
fn every_alert_has_its_words_in_both_languages_and_a_case_in_which_it_fires() {
    let (alerts, cases) = (read("monitoring/alerts.yml"), read("monitoring/alerts.test.yml"));
    let all: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!(all.len() > 20, "{}", all.len());
    for alert in all {
        let name = alert.lines().next().unwrap();
        for key in ["summary", "summary_en", "description", "description_en", "action", "action_en"] {
            let line = alert.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
            assert!(line.is_some_and(|text| text.len() > 10), "{name} lacks {key}");
        }
        let severity = |word| alert.contains(&format!("severity: {word}\n"));
        assert!(severity("page") || severity("ticket"), "{name} is for nobody");
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "{name} fires in no case");
    }
}

#[test]
fn the_dashboard_names_metrics_that_there_are() {
    let text = read("monitoring/grafana.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert!(known(&text, "grafana.json") > 30);
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id that is there twice: {panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
    }
}

/// Whether promtool is there; without it a test says so and is passed over, but not where it is required.
fn promtool_is_there() -> bool {
    if Command::new("promtool").arg("--version").output().is_ok() {
        return true;
    }
    let what = "this test needs promtool (Debian: prometheus)";
    assert!(std::env::var_os("SEINHUIS_PROMETHEUS_REQUIRED").is_none(), "{what}");
    eprintln!("SKIPPED: {what}");
    false
}

fn promtool(args: &[&str]) {
    let ran = Command::new("promtool").args(args).current_dir(tree("monitoring")).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{error}");
}

#[test]
fn alerts_are_rules_that_prometheus_takes() {
    if promtool_is_there() {
        promtool(&["check", "rules", "alerts.yml"]);
    }
}

#[test]
fn alerts_fire_when_they_should_and_no_sooner() {
    if promtool_is_there() {
        promtool(&["test", "rules", "alerts.test.yml"]);
    }
}
