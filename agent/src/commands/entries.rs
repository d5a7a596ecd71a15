//! The entries of the exchange log this organisation is party to, each proved, from the broker.

use clap::{Args, Subcommand};
use seinhuis_agent_core::Unfetched;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::origin_of;
use seinhuis_shared::wire::{Entries, FetchEntries};
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::messages::table;
use super::request::{Request, ask, moment, read};
use super::{log, policy, present};
use crate::home::Home;

/// What `log` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Log {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only entries at or after this date or instant, RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// Only entries before this date or instant
    #[arg(long)]
    until: Option<String>,
    /// Only entries of this kind, such as accepted or delivered
    #[arg(long)]
    kind: Option<String>,
    /// Only entries of this flow
    #[arg(long)]
    flow: Option<String>,
    /// In the log with this origin, of those that `log list` shows; the one that grows when left out
    #[arg(long)]
    origin: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, default_value_t = 1000)]
    lines: usize,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one entry
    Show {
        /// Its index
        index: u64,
        /// In the log with this origin
        #[arg(long)]
        origin: Option<String>,
    },
    /// Show the exchange logs this agent followed, from the first, and how much of each is proved
    List,
    /// Go on with a log that the broker's operator began by hand, after a fork or a backup that was put back;
    /// without --origin only show what that would mean (exit code 1)
    AcceptOrigin {
        /// The new log's origin, as shown
        #[arg(long)]
        origin: Option<String>,
    },
    /// Print whose cosignatures a covenant asks under the log's checkpoints: its C2SP tlog-policy, for an auditor
    Policy {
        /// The first digits of the covenant's hash, when more than one in force asks a quorum
        covenant: Option<String>,
    },
}

/// A question, on its way to the running agent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogText {
    /// The log's origin.
    origin: Option<String>,
    /// The first index that is looked at.
    first: u64,
    /// Whether that one alone is asked for.
    one: bool,
    /// Not before, in milliseconds since 1970.
    from: Option<u64>,
    /// Before, in milliseconds since 1970.
    until: Option<u64>,
    /// The kind.
    kind: Option<String>,
    /// The flow.
    flow: Option<String>,
}

impl From<LogText> for FetchEntries {
    fn from(text: LogText) -> Self {
        Self {
            origin: text.origin,
            first: text.first,
            one: text.one,
            from: text.from.map(Timestamp),
            until: text.until.map(Timestamp),
            kind: text.kind,
            flow: text.flow,
        }
    }
}

/// A page of the answer.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    /// The log's origin.
    log: String,
    entries: Vec<Value>,
    next: Option<u64>,
}

pub(super) fn log(home: &Home, args: Log, ui: Ui) -> Result<Outcome, Complaint> {
    let question = match args.command {
        Some(Command::List) => return log::show(home, ui),
        Some(Command::AcceptOrigin { origin }) => return log::accept(home, origin, ui),
        Some(Command::Policy { covenant }) => return policy::policy(home, covenant.as_deref(), ui),
        Some(Command::Show { index, origin }) => {
            LogText { origin, first: index, one: true, ..LogText::default() }
        }
        None => LogText {
            from: args.from.as_deref().map(moment).transpose()?.map(|at| at.0),
            until: args.until.as_deref().map(moment).transpose()?.map(|at| at.0),
            kind: args.kind.as_deref().map(kind).transpose()?,
            flow: args.flow,
            origin: args.origin,
            ..LogText::default()
        },
    };
    let page = |question: &LogText| read(ask(home, Request::Log(question.clone()))?.0);
    let all = pages(question, args.lines, page, || log::origins(home))?;
    let heading = ui.lang.pick(
        "LOG REGEL TIJD SOORT BERICHT VAN AAN STROOM UITKOMST REDEN",
        "LOG ENTRY TIME KIND MESSAGE FROM TO FLOW RESULT REASON",
    );
    let columns = ["log", "index", "at", "kind", "msg_id", "from", "to", "flow", "result", "refusal"];
    table(&Value::Array(all), heading, &columns, ui);
    Ok(Outcome::Done)
}

/// Page after page, in one log: the one that was asked for, or the one that grew at the first page. When that has ended
/// meanwhile it goes on in the one after it.
fn pages(
    mut question: LogText,
    lines: usize,
    mut page: impl FnMut(&LogText) -> Result<Page, Complaint>,
    mut logs: impl FnMut() -> Result<Vec<String>, Complaint>,
) -> Result<Vec<Value>, Complaint> {
    let on = question.origin.is_none() && !question.one;
    let mut all = Vec::new();
    while all.len() < lines {
        let Page { log, entries, next } = page(&question)?;
        all.extend(entries);
        let place = match next {
            Some(next) => Some((log, next)),
            None if on => logs()?.into_iter().skip_while(|one| *one != log).nth(1).map(|log| (log, 0)),
            None => None,
        };
        let Some((log, first)) = place else { break };
        (question.origin, question.first) = (Some(log), first);
    }
    all.truncate(lines);
    Ok(all)
}

fn kind(text: &str) -> Result<String, Complaint> {
    text.parse::<Kind>().map(|kind| kind.as_str().to_owned()).map_err(|_| {
        let known = Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        Complaint::usage(
            Text::new(format!("{text} is geen soort logregel."), format!("{text} is no kind of entry.")),
            Text::new(format!("Kies uit: {known}."), format!("Choose one of: {known}.")),
        )
    })
}

/// The answer of the running agent as JSON.
pub(super) fn page(answer: Result<Box<Entries>, Unfetched>) -> Result<Value, Complaint> {
    let entries = answer.map_err(|error| unfetched(&error))?;
    let log = origin_of(&entries.checkpoint).to_owned();
    let shown = entries.entries.iter().filter_map(|one| {
        let entry = Entry::parse(&one.entry).ok()?;
        Some(row(&log, one.index, &entry, &String::from_utf8_lossy(&one.entry)))
    });
    Ok(json!(Page { log: log.clone(), entries: shown.collect(), next: entries.next }))
}

fn row(log: &str, index: u64, entry: &Entry, text: &str) -> Value {
    json!({
        "log": log,
        "index": index,
        "at": entry.time.to_string(),
        "kind": entry.kind.as_str(),
        "msg_id": entry.msg_id.map(|id| id.to_string()),
        "from": entry.from.map(|oin| oin.to_string()),
        "to": entry.to.map(|oin| oin.to_string()),
        "subject": entry.subject.map(|oin| oin.to_string()),
        "flow": entry.flow,
        "result": entry.result,
        "refusal": present::reason(entry.reason.unwrap_or_default()),
        "entry": text,
    })
}

fn unfetched(error: &Unfetched) -> Complaint {
    match error {
        Unfetched::NotConnected => not_connected(),
        Unfetched::Refused(number) => match Refusal::from_number(*number) {
            Some(refusal) => Complaint::from_refusal(refusal),
            None => Complaint::refused(
                Text::same(number.to_string()),
                Text::new("Werk de agent bij.", "Update the agent."),
            ),
        },
        Unfetched::False(detail) => Complaint::refused(
            Text::new(
                format!("De broker gaf logregels die niet kloppen: {detail}."),
                format!("The broker gave log entries that are not right: {detail}."),
            ),
            Text::new(
                "Er is alarm geslagen (zie `status`). Bewaar dit en spreek de beheerder van de broker aan.",
                "An alarm was raised (see `status`). Keep this and call the broker's operator to account.",
            ),
        ),
    }
}

/// The log is at the broker: nothing can be asked without a connection.
pub(super) fn not_connected() -> Complaint {
    Complaint::refused(
        Text::new("Er is geen verbinding met de broker.", "There is no connection with the broker."),
        Text::new(
            "Start de agent (`seinhuis-agent run`) en wacht tot `status` een verbinding meldt.",
            "Start the agent (`seinhuis-agent run`) and wait until `status` reports a connection.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two entries a page of a log with this many.
    fn of(log: &str, size: u64, question: &LogText) -> Page {
        let end = (question.first + 2).min(size);
        let entries = (question.first..end).map(|index| json!([log, index])).collect();
        Page { log: log.to_owned(), entries, next: (end < size).then_some(end) }
    }

    #[test]
    fn pages_go_on_in_the_next_log_when_theirs_ends_meanwhile() {
        let mut asked = 0;
        let rolls_over = |question: &LogText| {
            // The log that grows is another one after the first page.
            asked += 1;
            let grows = if asked == 1 { "2026" } else { "2027" };
            Ok(match question.origin.as_deref().unwrap_or(grows) {
                "2026" => of("2026", 5, question),
                _ => of("2027", 1, question),
            })
        };
        let known = || Ok(["2025", "2026", "2027"].map(str::to_owned).to_vec());
        let all = pages(LogText::default(), 100, rolls_over, known).unwrap();
        let numbers = [0, 1, 2, 3, 4].map(|index| json!(["2026", index]));
        assert_eq!(all, [&numbers[..], &[json!(["2027", 0])]].concat());
        // A log that was asked for by name is that one alone, and a bound is one.
        let one = LogText { origin: Some("2025".into()), ..LogText::default() };
        assert_eq!(pages(one, 100, |asked| Ok(of("2025", 3, asked)), known).unwrap().len(), 3);
        let few = pages(LogText::default(), 3, |asked| Ok(of("2026", 9, asked)), known).unwrap();
        assert_eq!(few.len(), 3);
    }
}
