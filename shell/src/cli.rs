//! What every command line has in common: language, output for people or machines, exit codes, log.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::complaint::{self, Complaint};
use crate::lang::{self, Lang, Text};
use crate::passphrase;

/// The flags every program takes. Flatten into the program's own arguments.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Language of what is printed: nl or en [default: `SEINHUIS_LANG`, else LANG]
    #[arg(long, global = true, value_name = "nl|en", value_parser = lang::parse)]
    pub lang: Option<Lang>,
    /// Print JSON for machines instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// File with the passphrase of sealed keys, for its owner alone. Without it: the systemd credential
    /// `seinhuis-passphrase`, else the terminal
    #[arg(long, global = true, value_name = "FILE", env = passphrase::VARIABLE)]
    pub passphrase_file: Option<PathBuf>,
}

/// `[telemetry]` in a configuration: the program's own log, as [`start_log`] takes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Log level.
    pub level: String,
    /// Whether log lines are JSON.
    pub json: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { level: "info".into(), json: false }
    }
}

/// How a program that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0: done.
    Done,
    /// 1: the answer is no (refused, not verified, something expires), already told to the user.
    No,
}

/// Where a program prints: in one language, for people or for machines.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    /// The language.
    pub lang: Lang,
    /// Whether the output is JSON.
    pub json: bool,
}

impl Ui {
    /// From the common flags and the environment.
    pub fn new(common: &Common) -> Self {
        Self { lang: lang::choose(common.lang), json: common.json }
    }

    /// Prints a line for people; nothing in JSON mode.
    pub fn say(&self, text: &Text) {
        if !self.json {
            print_line(text.in_lang(self.lang));
        }
    }

    /// Prints the answer: `text` for people, `value` as one line of JSON for machines.
    pub fn answer(&self, text: &Text, value: &serde_json::Value) {
        if self.json {
            print_line(&value.to_string());
        } else {
            print_line(text.in_lang(self.lang));
        }
    }

    /// Rows in aligned columns, the first row being the heading.
    pub fn table(&self, rows: &[Vec<String>]) -> String {
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Names and values under each other, values aligned.
pub fn aligned(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect::<Vec<_>>().join("\n")
}

thread_local! {
    static CAPTURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body` and returns what it would have printed on this thread's standard output: for programs that
/// embed another's commands, and for tests.
pub fn captured<T>(body: impl FnOnce() -> T) -> (T, String) {
    let outer = CAPTURE.replace(Some(String::new()));
    let result = body();
    (result, CAPTURE.replace(outer).unwrap_or_default())
}

fn print_line(line: &str) {
    let taken = CAPTURE.with_borrow_mut(|capture| {
        capture.as_mut().map(|text| {
            text.push_str(line);
            text.push('\n');
        })
    });
    if taken.is_some() {
        return;
    }
    // A reader that stopped reading (`| head`) wants no more, and that is no fault.
    _ = writeln!(io::stdout().lock(), "{line}");
}

/// Runs a program: parses `args` (the program's name first), runs `body`, tells a complaint, and turns
/// the result into the exit code: 0 done, 1 refused or not verified, 2 usage or surroundings.
pub fn main<A: Parser>(
    args: impl IntoIterator<Item = OsString>,
    common: impl FnOnce(&A) -> Common,
    body: impl FnOnce(A, Ui) -> Result<Outcome, Complaint>,
) -> ExitCode {
    let parsed = match A::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version come this way too, with exit code 0.
            _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let common = common(&parsed);
    let ui = Ui::new(&common);
    passphrase::read_from(common.passphrase_file, ui.lang);
    match body(parsed, ui) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(complaint) => {
            complaint::report(&complaint, ui.lang, ui.json);
            ExitCode::from(complaint.exit.code())
        }
    }
}

/// A runtime for a program that serves others, with a thread for each processor.
///
/// # Errors
/// When the system gives no thread.
pub fn runtime() -> Result<Runtime, Complaint> {
    built(&mut Builder::new_multi_thread())
}

/// A runtime for one task, on the thread that waits for it.
///
/// # Errors
/// When the system does not give what it needs.
pub fn runtime_here() -> Result<Runtime, Complaint> {
    built(&mut Builder::new_current_thread())
}

fn built(builder: &mut Builder) -> Result<Runtime, Complaint> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Complaint::bug(format!("the system gives no runtime: {error}")))
}

/// Ends when somebody asks the program to stop: Ctrl-C or SIGTERM.
pub async fn asked_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Starts the log on standard error.
///
/// `level` comes from the configuration; `SEINHUIS_LOG` overrides it. Either is one level, or
/// comma-separated `target=level` pairs. What the levels mean:
///
/// - `error`: the promise is in danger; somebody has to act now (a failed flush, a damaged file).
/// - `warn`: something failed that will be tried again or that the other side must mend.
/// - `info`: start, stop, connections, configuration: a few lines an hour in quiet times.
/// - `debug`: each packet by its id and outcome.
/// - `trace`: each frame by kind and length.
///
/// No level prints a body, a name, a key or a file's content: log lines hold ids, numbers, sizes.
///
/// # Errors
/// A sentence when the level cannot be read.
pub fn start_log(level: &str, json: bool) -> Result<(), Complaint> {
    let setting = std::env::var("SEINHUIS_LOG").ok().filter(|value| !value.is_empty());
    let setting = setting.as_deref().unwrap_or(level);
    let filter = log_filter(setting)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A second start in one process (tests) keeps the first.
    _ = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    Ok(())
}

fn log_filter(setting: &str) -> Result<EnvFilter, Complaint> {
    EnvFilter::builder().parse(setting).map_err(|error| {
        Complaint::usage(
            Text::new(
                format!("Het logniveau {setting:?} is onbekend: {error}."),
                format!("The log level {setting:?} is unknown: {error}."),
            ),
            Text::new(
                "Kies error, warn, info, debug of trace (configuratie of SEINHUIS_LOG).",
                "Choose error, warn, info, debug or trace (configuration or SEINHUIS_LOG).",
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        fail: bool,
    }

    fn run(args: &[&str], outcome: Outcome) -> ExitCode {
        let args = ["program"].iter().chain(args).map(OsString::from);
        main::<Program>(
            args,
            |program| program.common.clone(),
            |program, ui| {
                assert_eq!(ui.lang, Lang::Nl);
                if program.fail {
                    return Err(Complaint::usage(Text::same("x"), Text::same("y")));
                }
                Ok(outcome)
            },
        )
    }

    #[test]
    fn exit_codes_say_done_no_or_wrong_use() {
        let same = |a: ExitCode, b: u8| assert_eq!(format!("{a:?}"), format!("{:?}", ExitCode::from(b)));
        same(run(&["--lang", "nl"], Outcome::Done), 0);
        same(run(&["--lang", "nl"], Outcome::No), 1);
        same(run(&["--lang", "nl", "--fail"], Outcome::Done), 2);
        same(run(&["--lang", "nl", "--json", "--fail"], Outcome::Done), 2);
        same(run(&["--lang", "de"], Outcome::Done), 2);
        same(run(&["--unknown"], Outcome::Done), 2);
        same(run(&["--help"], Outcome::Done), 0);
    }

    #[test]
    fn people_and_machines_each_get_their_own_answer() {
        let answer = |json| {
            let ui = Ui { lang: Lang::Nl, json };
            let print = || {
                ui.say(&Text::new("bezig", "busy"));
                ui.answer(&Text::new("klaar", "done"), &serde_json::json!({ "done": true }));
            };
            captured(print).1
        };
        assert_eq!(answer(false), "bezig\nklaar\n");
        assert_eq!(answer(true), "{\"done\":true}\n");
    }

    #[test]
    fn columns_line_up() {
        let ui = Ui { lang: Lang::En, json: false };
        let rows = [vec!["a".into(), "b".into()], vec!["één".into(), "x".into()]];
        assert_eq!(ui.table(&rows), "a    b\néén  x");
        assert_eq!(aligned(&[("a", "1".into()), ("bcd", "2".into())]), "a    1\nbcd  2");
    }

    #[test]
    fn a_wrong_log_level_is_told() {
        assert!(log_filter("info").is_ok() && log_filter("warn,seinhuis_broker=debug").is_ok());
        assert!(log_filter("seinhuis=loudly").unwrap_err().what.nl.contains("onbekend"));
    }
}
