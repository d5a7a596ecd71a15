//! Handing over a signal.

mod lines;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use seinhuis_shared::limits::BODY_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use seinhuis_shell::{clock, files, keys};
use serde_json::Value;

use super::request::{From, Look, PushText, Request, ask};
use super::signal;
use crate::home::Home;

/// Most bytes of a signal: a body with its addressing.
const SIGNAL_MAX: usize = BODY_MAX * 2;
/// How often a waiting push looks.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct Push {
    /// The body as JSON, or a signal file with flow, to, step and body; `-` reads standard input
    #[arg(required_unless_present = "lines")]
    file: Option<PathBuf>,
    /// Take a signal from each line, of standard input when no file is named, and answer each with a line of JSON:
    /// docs/scripts.md
    #[arg(long, conflicts_with_all = ["id", "wait", "reply_to", "from", "trace"])]
    lines: bool,
    /// The covenant's flow, such as F01
    #[arg(long)]
    flow: Option<String>,
    /// The recipients: OINs or roles, separated by commas
    #[arg(long, value_delimiter = ',')]
    to: Vec<String>,
    /// The step of the case; may be left out when the flow is open in one step only
    #[arg(long)]
    step: Option<String>,
    /// The case's pseudonym (UUID)
    #[arg(long)]
    case: Option<String>,
    /// The message type; may be left out when only one fits
    #[arg(long = "type")]
    message_type: Option<String>,
    /// The legal basis; the flow's first when left out
    #[arg(long)]
    basis: Option<String>,
    /// The covenant's hash; may be left out when one covenant in force has the flow
    #[arg(long)]
    covenant: Option<String>,
    /// How long the packet is valid, such as 14d, 12h or 30m
    #[arg(long, value_parser = span)]
    ttl: Option<Span>,
    /// The message id (UUID): the same one again sends nothing twice
    #[arg(long)]
    id: Option<String>,
    /// The message this answers
    #[arg(long)]
    reply_to: Option<String>,
    /// Pass on a received message: its number in the inbox, or its message id. Origin and handling code go along
    #[arg(long, value_name = "MSG")]
    from: Option<String>,
    /// What the recipient may do with it: partners or consent; stricter than the covenant asks, never wider
    #[arg(long)]
    handling: Option<String>,
    /// W3C trace id
    #[arg(long)]
    trace: Option<String>,
    /// Wait so many seconds for the broker's answer
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

/// Reads a span such as `14d`, `12h`, `30m` or `45s`.
fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("{text:?} is not a time such as 14d, 12h, 30m or 45s");
    let unit: fn(u64) -> Span = match text.chars().last() {
        Some('d') => Span::days,
        Some('h') => Span::hours,
        Some('m') => Span::minutes,
        Some('s') => Span::seconds,
        _ => return Err(wrong()),
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse().ok());
    number.map(unit).ok_or_else(wrong)
}

pub(super) fn push(home: &Home, push: &Push, ui: Ui) -> Result<Outcome, Complaint> {
    if push.lines {
        return lines::lines(home, push, ui);
    }
    let bytes = files::read_or_stdin(push.source(), SIGNAL_MAX)?;
    let text = compose(push, &bytes)?;
    let msg_id = text.msg_id.clone();
    let (value, from) = ask(home, Request::Push(Box::new(text)))?;
    follow(home, &msg_id, (value, from), push.wait, ui)
}

/// Waits so many seconds for the broker's answer to a message that is on its way, and tells what became of it.
/// One that waits for a person is not waited for.
pub(super) fn follow(
    home: &Home,
    msg_id: &str,
    (mut value, from): (Value, From),
    wait: Option<u64>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    if let (Some(seconds), From::Agent) = (wait, from) {
        let patience = Duration::from_secs(seconds);
        let begun = Instant::now();
        while matches!(state(&value), "draft" | "sealed") && begun.elapsed() < patience {
            std::thread::sleep(LOOK);
            value = ask(home, Request::Look(Look::Message { msg_id: msg_id.to_owned() }))?.0;
        }
    }
    tell(&value, from, ui);
    Ok(if matches!(state(&value), "refused" | "expired" | "denied") { Outcome::No } else { Outcome::Done })
}

fn state(value: &Value) -> &str {
    value.get("state").and_then(Value::as_str).unwrap_or_default()
}

impl Push {
    /// Where signals come from; `-` for standard input.
    fn source(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new("-"))
    }
}

/// Puts flags and file together; a flag wins.
fn compose(push: &Push, bytes: &[u8]) -> Result<PushText, Complaint> {
    let text = signal::read(bytes).map_err(|error| {
        let file = push.source().display();
        Complaint::usage(
            Text::new(
                format!("{file} is geen goed seinbestand: {error}."),
                format!("{file} is not a good signal file: {error}."),
            ),
            signal::allowed(),
        )
    })?;
    addressed(push, text)
}

/// Puts what flags say over what was read; both together have to say under which flow and to whom.
fn addressed(push: &Push, mut text: PushText) -> Result<PushText, Complaint> {
    let over = |flag: &Option<String>, file: &mut Option<String>| {
        if flag.is_some() {
            file.clone_from(flag);
        }
    };
    over(&push.step, &mut text.step);
    over(&push.case, &mut text.case);
    over(&push.message_type, &mut text.message_type);
    over(&push.basis, &mut text.basis);
    over(&push.covenant, &mut text.covenant);
    over(&push.reply_to, &mut text.in_reply_to);
    over(&push.trace, &mut text.trace);
    over(&push.from, &mut text.source);
    over(&push.handling, &mut text.handling);
    if let Some(flow) = &push.flow {
        text.flow.clone_from(flow);
    }
    if !push.to.is_empty() {
        text.to.clone_from(&push.to);
    }
    text.ttl_ms = push.ttl.map(|span| span.0);
    let fresh = || clock::uuid_v7(clock::now(), keys::random()).to_string();
    text.msg_id = push.id.clone().unwrap_or_else(fresh);
    let missing = if text.flow.is_empty() {
        "--flow"
    } else if text.to.is_empty() {
        "--to"
    } else {
        return Ok(text);
    };
    Err(Complaint::usage(
        Text::new(format!("{missing} ontbreekt."), format!("{missing} is missing.")),
        Text::new(
            "Geef het op, of lever een seinbestand met flow, to, step en body.",
            "Give it, or supply a signal file with flow, to, step and body.",
        ),
    ))
}

/// What a person decided about a message, in words.
pub(super) fn decision(value: &Value, lang: Lang) -> String {
    let text = |key: &str| value.pointer(key).and_then(Value::as_str).unwrap_or_default();
    let outcome = match text("/release/outcome") {
        "approved" => lang.pick("vrijgegeven", "released"),
        "denied" => lang.pick("tegengehouden", "denied"),
        _ => return String::new(),
    };
    let by = lang.pick("door", "by");
    let said = format!(
        "{outcome} {by} {}, {}: {}",
        text("/release/role"),
        text("/release/at"),
        text("/release/reason")
    );
    said.trim_end_matches(": ").to_owned()
}

fn tell(value: &Value, from: From, ui: Ui) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let id = text("msg_id");
    let connected = value.get("connected").and_then(Value::as_bool).unwrap_or(true);
    let entries = value.pointer("/receipt/entries").map(Value::to_string).unwrap_or_default();
    let refusal = value
        .pointer("/refusal/number")
        .and_then(Value::as_u64)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(Refusal::from_number);
    let (nl, en) = match (state(value), refusal) {
        ("accepted", _) => (
            format!("Aangenomen: {id}, logregel {entries}."),
            format!("Accepted: {id}, log entry {entries}."),
        ),
        ("refused" | "expired", Some(refusal)) => {
            let complaint = Complaint::from_refusal(refusal);
            (
                format!("Geweigerd: {id}. {} {}", complaint.what.nl, complaint.advice.nl),
                format!("Refused: {id}. {} {}", complaint.what.en, complaint.advice.en),
            )
        }
        ("denied", _) => (
            format!("Tegengehouden: {id}. {}", decision(value, Lang::Nl)),
            format!("Denied: {id}. {}", decision(value, Lang::En)),
        ),
        ("held", _) => (
            format!(
                "Wacht op vrijgave door een mens: {id}. Bekijk het met `seinhuis-agent release show {id}` en beslis met `release approve` of `release deny`; tot dan gaat er niets weg."
            ),
            format!(
                "Waits for release by a person: {id}. See it with `seinhuis-agent release show {id}` and decide with `release approve` or `release deny`; nothing leaves until then."
            ),
        ),
        ("draft", _) => (
            format!(
                "In de wachtrij: {id}. De agent wacht op een ontvangstsleutel van elke ontvanger, of op de stand van de zaak; zodra die er is, verzegelt en verstuurt hij."
            ),
            format!(
                "Queued: {id}. The agent waits for a key of every recipient, or for how the case stands; then it seals and sends."
            ),
        ),
        _ if from == From::Store => (
            format!("In de wachtrij: {id}. De agent draait niet; start hem met `seinhuis-agent run`."),
            format!("Queued: {id}. The agent is not running; start it with `seinhuis-agent run`."),
        ),
        _ if !connected => (
            format!("In de wachtrij: {id}. De broker is nu niet bereikbaar; de agent levert later."),
            format!("Queued: {id}. The broker is away; the agent delivers later."),
        ),
        _ => (format!("Verzegeld en onderweg: {id}."), format!("Sealed and on its way: {id}.")),
    };
    ui.answer(&Text::new(nl, en), value);
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    pub(super) fn args(file: &str) -> Push {
        Push {
            file: Some(file.into()),
            lines: false,
            flow: None,
            to: vec![],
            step: None,
            case: None,
            message_type: None,
            basis: None,
            covenant: None,
            ttl: None,
            id: None,
            reply_to: None,
            trace: None,
            from: None,
            handling: None,
            wait: None,
        }
    }

    #[test]
    fn a_signal_file_brings_its_addressing_and_flags_win() {
        let file = br#"{"flow": "F01", "to": ["gemeente"], "step": "1", "canary": "x", "body": {"a":  1}}"#;
        let text = compose(&args("x"), file).unwrap();
        assert_eq!((text.flow.as_str(), text.step.as_deref()), ("F01", Some("1")));
        assert_eq!(BASE64.decode(text.body.as_bytes()).unwrap(), br#"{"a":  1}"#, "the body's exact bytes");
        let text =
            compose(&Push { flow: Some("F02".into()), to: vec!["om".into()], ..args("x") }, file).unwrap();
        assert_eq!((text.flow.as_str(), text.to.as_slice()), ("F02", &["om".to_owned()][..]));
    }

    #[test]
    fn an_unknown_key_or_missing_addressing_is_told() {
        let error = compose(&args("x"), br#"{"flow": "F01", "too": [], "body": {}}"#).unwrap_err();
        assert!(error.what.en.contains("too"), "{error}");
        assert!(compose(&args("x"), br#"{"body": {}}"#).unwrap_err().what.en.contains("--flow"));
        let no_to = Push { flow: Some("F01".into()), ..args("x") };
        assert!(compose(&no_to, b"{}").unwrap_err().what.en.contains("--to"));
    }

    #[test]
    fn spans_are_read_with_their_unit() {
        assert_eq!(span("14d"), Ok(Span::days(14)));
        assert_eq!(span("90s"), Ok(Span::seconds(90)));
        for wrong in ["", "d", "14", "-1d", "1w", "1.5h", "é"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
