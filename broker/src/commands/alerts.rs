//! Alarms, and how they are told.

use clap::Subcommand;
use seinhuis_monitor::alarms::{BROKER, Code};
use seinhuis_shared::time::Span;
use seinhuis_shell::cli::{self, Outcome, Ui};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use seinhuis_shell::webhook::{KEEP_MAX_H, Secret};
use serde_json::{Value, json};

use super::partner::entry;
use super::request::{Request, ask_running};
use crate::alerts::{Channel, secrets};
use crate::home::Home;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the alarms that hold, and how the channels do over which they are told; exit code 1 when something is wrong
    List,
    /// Send a message over each channel that says nothing but that alarms arrive; exit code 1 when one does not
    Test,
    /// Take up an alarm that holds: until it becomes worse or is over it is not told again
    Acknowledge {
        /// Its code, as list shows it
        code: Code,
        /// What it is about, as list shows it
        #[arg(default_value = BROKER)]
        subject: String,
        /// What you do about it, in a sentence; only its hash is in the log
        #[arg(long)]
        reason: String,
    },
    /// Show the secret that the receiver of the webhook checks signatures with; one is made when there is none
    Secret {
        /// Make a new one. The one before counts beside it for a while, so that the receiver can follow
        #[arg(long)]
        rotate: bool,
        /// For how many hours the one before still counts; 0 for a secret that may be in wrong hands
        #[arg(long, requires = "rotate", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=i64::from(KEEP_MAX_H)))]
        keep: u32,
    },
}

pub(super) fn alerts(home: &Home, command: &Command, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Command::List => list(home, ui),
        Command::Test => test(home, ui),
        Command::Acknowledge { code, subject, reason } => acknowledge(home, *code, subject, reason, ui),
        Command::Secret { rotate, keep } => secret(home, rotate.then_some(*keep), ui),
    }
}

fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask_running(&home.socket(), &Request::Alarms)?;
    let rows = |key: &str| answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let (alarms, channels) = (rows("alarms"), rows("channels"));
    let failing = channels.iter().any(|channel| !channel["failing"].is_null());
    ui.answer(&Text::new(shown(&alarms, &channels, Lang::Nl), shown(&alarms, &channels, Lang::En)), &answer);
    Ok(if alarms.is_empty() && !failing { Outcome::Done } else { Outcome::No })
}

fn shown(alarms: &[Value], channels: &[Value], lang: Lang) -> String {
    let word = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let said = |of: &Value, key: &str| word(of.get(key).unwrap_or(&Value::Null), lang.pick("nl", "en"));
    let alarm = |alarm: &Value| {
        let [severity, code, subject, since] =
            ["severity", "code", "subject", "since"].map(|key| word(alarm, key));
        let (what, advice) = (said(alarm, "what"), said(alarm, "advice"));
        let taken = word(alarm, "acknowledged");
        let taken = if taken.is_empty() {
            taken
        } else {
            format!(", {} {taken}", lang.pick("in behandeling sinds", "taken up since"))
        };
        let head = format!("{severity} {code} {subject} ({} {since}{taken})", lang.pick("sinds", "since"));
        format!("✗ {head}\n    {what}\n    {advice}")
    };
    let channel = |channel: &Value| {
        let (name, failing) = (word(channel, "name"), word(channel, "failing"));
        let waiting = channel.get("waiting").and_then(Value::as_u64).unwrap_or_default();
        let waits = lang.pick("wachtend", "waiting");
        if failing.is_empty() {
            format!("✓ {name}: {waiting} {waits}")
        } else {
            let (no, error) =
                (lang.pick("niets komt aan sinds", "nothing arrives since"), said(channel, "error"));
            format!("✗ {name}: {no} {failing}, {waiting} {waits}: {error}")
        }
    };
    let none = |empty: bool, text: &str| empty.then(|| text.to_owned());
    let lines = none(alarms.is_empty(), lang.pick("Er zijn geen alarmen.", "There are no alarms."))
        .into_iter()
        .chain(alarms.iter().map(alarm))
        .chain(none(
            channels.is_empty(),
            lang.pick(
                "Alarmen worden nergens gemeld: [alerts.mail] en [alerts.webhook] zijn leeg.",
                "Alarms are told nowhere: [alerts.mail] and [alerts.webhook] are empty.",
            ),
        ))
        .chain(channels.iter().map(channel));
    lines.collect::<Vec<_>>().join("\n")
}

fn acknowledge(home: &Home, code: Code, subject: &str, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let reason = super::log::purpose(reason)?;
    let request = Request::TakeUp { code, subject: subject.to_owned(), reason };
    let answer = ask_running(&home.socket(), &request)?;
    ui.answer(
        &Text::new(
            format!(
                "Alarm {code} ({subject}) is in behandeling{}; het wordt pas weer gemeld als het erger wordt of voorbij is.",
                entry(&answer, ", vastgelegd in logregel ")
            ),
            format!(
                "Alarm {code} ({subject}) is taken up{}; it is told again only when it becomes worse or is over.",
                entry(&answer, ", recorded in log entry ")
            ),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

fn test(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let channels = Channel::all(home, &home.load_config()?)?;
    if channels.is_empty() {
        return Err(Complaint::refused(
            Text::new("Er is geen weg om alarmen te melden.", "There is no channel to tell alarms over."),
            Text::new(
                "Vul [alerts.mail] of [alerts.webhook] in (docs/operating.md).",
                "Fill in [alerts.mail] or [alerts.webhook] (docs/operating.md).",
            ),
        ));
    }
    let runtime = cli::runtime_here()?;
    let (mut lines, mut values) = ((Vec::new(), Vec::new()), Vec::new());
    for channel in &channels {
        let (name, place) = (channel.name(), channel.place());
        let sent = runtime.block_on(channel.test());
        values.push(json!({
            "name": name, "arrived": sent.is_ok(),
            "problem": sent.as_ref().err().map(|complaint| complaint.to_json(ui.lang)),
        }));
        match sent {
            Ok(()) => {
                lines.0.push(format!("✓ {name}: {place} nam de proef aan."));
                lines.1.push(format!("✓ {name}: {place} took the test."));
            }
            Err(complaint) => {
                lines.0.push(format!("✗ {name}: {}", complaint.show(Lang::Nl).replace('\n', "\n    ")));
                lines.1.push(format!("✗ {name}: {}", complaint.show(Lang::En).replace('\n', "\n    ")));
            }
        }
    }
    let all = values.iter().all(|value| value["arrived"] == true);
    ui.answer(&Text::new(lines.0.join("\n"), lines.1.join("\n")), &Value::Array(values));
    Ok(if all { Outcome::Done } else { Outcome::No })
}

fn secret(home: &Home, rotate: Option<u32>, ui: Ui) -> Result<Outcome, Complaint> {
    let (secrets, now) = (secrets(home), clock::now());
    if let Some(keep) = rotate {
        secrets.rotate(&Secret::generate(), Span::hours(u64::from(keep)), now)?;
    }
    let standing = secrets.ensure(now)?;
    let text = standing.all.first().map(Secret::text).unwrap_or_default();
    let said = Text::new(
        format!(
            "Geheim van de alarmen, van {}:\n\n{}\n\nGeef het alleen aan de ontvanger die de handtekening controleert.",
            standing.made, *text
        ),
        format!(
            "Secret of the alarms, of {}:\n\n{}\n\nGive it to the receiver that checks the signature only.",
            standing.made, *text
        ),
    );
    let value =
        json!({ "secret": text.as_str(), "made": standing.made, "before_until": standing.before_until });
    ui.answer(&said, &value);
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_and_channels_that_fail_each_get_a_line() {
        assert!(
            shown(&[], &[], Lang::Nl).contains("geen alarmen")
                && shown(&[], &[], Lang::En).contains("nowhere")
        );
        let alarm = json!({
            "severity": "page", "code": "disk-scarce", "subject": "broker", "since": "2030-01-01",
            "what": { "nl": "vol", "en": "full" }, "advice": { "nl": "ruim op", "en": "make room" },
        });
        let channel = |failing: Value| json!({ "name": "mail", "waiting": 3, "failing": failing, "error": { "nl": "weg", "en": "gone" } });
        let said = shown(&[alarm], &[channel(json!("2030-01-02"))], Lang::En);
        assert!(
            said.contains("✗ page disk-scarce broker (since 2030-01-01)\n    full\n    make room"),
            "{said}"
        );
        assert!(said.contains("✗ mail: nothing arrives since 2030-01-02, 3 waiting: gone"), "{said}");
        assert!(shown(&[], &[channel(Value::Null)], Lang::Nl).contains("✓ mail: 3 wachtend"));
    }
}
