//! The entries of the exchange log this organisation is party to, each proved, from the broker.

use clap::{Args, Subcommand};
use seinhuis_agent_core::Unfetched;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
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
    entries: Vec<Value>,
    next: Option<u64>,
}

pub(super) fn log(home: &Home, args: Log, ui: Ui) -> Result<Outcome, Complaint> {
    let mut question = match args.command {
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
    let mut all = Vec::new();
    while all.len() < args.lines {
        let (value, _) = ask(home, Request::Log(question.clone()))?;
        let page: Page = read(value)?;
        all.extend(page.entries);
        match page.next {
            Some(next) => question.first = next,
            None => break,
        }
    }
    all.truncate(args.lines);
    let heading = ui.lang.pick(
        "REGEL TIJD SOORT BERICHT VAN AAN STROOM UITKOMST REDEN",
        "ENTRY TIME KIND MESSAGE FROM TO FLOW RESULT REASON",
    );
    let columns = ["index", "at", "kind", "msg_id", "from", "to", "flow", "result", "refusal"];
    table(&Value::Array(all), heading, &columns, ui);
    Ok(Outcome::Done)
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
    let shown = entries.entries.iter().filter_map(|one| {
        let entry = Entry::parse(&one.entry).ok()?;
        Some(row(one.index, &entry, &String::from_utf8_lossy(&one.entry)))
    });
    Ok(json!(Page { entries: shown.collect(), next: entries.next }))
}

fn row(index: u64, entry: &Entry, text: &str) -> Value {
    json!({
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
