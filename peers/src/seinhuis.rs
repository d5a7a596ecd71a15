//! Seinhuis itself, as its own load generator measures it.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use seinhuis_tests::load;
use serde_json::Value;

use crate::figures::{Confirm, Measured};
use crate::peer::Facts;
use crate::{Failure, Plan, place};

/// What is said of it.
pub(crate) const FACTS: Facts = Facts {
    name: "Seinhuis",
    flushes: "its journal, once for all that came meanwhile, before it confirms; so do all agents theirs",
    durable: true,
    install: "nothing: it is built with this",
};

/// Where the broker's flushes are to be written, for the process that becomes the broker.
const CALLS: &str = "SEINHUIS_PEERS_CALLS";

/// Runs the program of Seinhuis that the arguments select, its broker under `strace` where that is asked.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let is = |place: Option<&OsString>, word: &str| place.is_some_and(|arg| arg == word);
    if let (Some(calls), true, true) =
        (std::env::var_os(CALLS), is(args.get(1), "broker"), is(args.last(), "run"))
    {
        let words: Vec<OsString> = place::strace(Path::new(&calls)).collect();
        let (program, options) = words.split_first()?;
        // As a grandchild, so that the broker has the number of this process.
        let mut strace = Command::new(program);
        let failed = strace.args(options).arg("-D").args(&args).env_remove(CALLS).exec();
        eprintln!("strace cannot be started: {failed}");
        return Some(ExitCode::from(2));
    }
    seinhuis_tests::process::dispatch(args)
}

/// Measures it.
///
/// # Errors
/// Whatever keeps it from being measured.
pub(crate) fn measure(plan: &Plan) -> Result<Measured, Failure> {
    let load = load::Plan {
        pairs: plan.pairs,
        body: plan.body,
        seconds: plan.seconds,
        window: plan.window,
        quorum: false,
        ..load::Plan::default()
    };
    let figures = load::run(&load, None).map_err(|error| error.to_string())?;
    let confirm = |latency: load::Latency| Confirm { p50: latency.p50, p99: latency.p99 };
    Ok(Measured {
        packets: u64::try_from(figures.packets)?,
        per_second: figures.packets_per_second,
        full: confirm(figures.full_ack),
        half_rate: figures.paced_rate,
        half: confirm(figures.paced_ack),
        server_cpu: figures.broker_cpu,
        clients_cpu: figures.agents_cpu,
        flushes: None,
    })
}

/// Flushes a packet of its broker at full speed, counted from outside in a run of its own.
///
/// # Errors
/// Whatever keeps them from being counted.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn count_flushes(plan: &Plan) -> Result<f64, Failure> {
    let dir = tempfile::Builder::new().prefix("seinhuis-peers-").tempdir()?;
    let (calls, json) = (dir.path().join("calls"), dir.path().join("json"));
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--only", "seinhuis", "--no-trace", "--json"])
        .arg(&json)
        .args(plan.words())
        .env(CALLS, &calls)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut at = Vec::new();
    if let Some(steps) = child.stderr.take() {
        for step in BufReader::new(steps).lines() {
            // The load generator tells each step as it begins; the one after this is another run.
            if step?.contains("full speed") || at.len() == 1 {
                at.push(place::flushes(&calls)?);
            }
        }
    }
    let ended = child.wait()?;
    let [began, done, ..] = at[..] else {
        return Err(format!("the run under strace ended with {ended}").into());
    };
    let figures: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    let packets = figures["systems"][0]["measured"]["packets"].as_u64().ok_or("it was not measured")?;
    Ok((done - began) as f64 / packets as f64)
}
