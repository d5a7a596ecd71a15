//! Talking to a running agent over its control socket, as the commands do, without a process for each call.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use seinhuis_agent::home::Home;
use seinhuis_shared::ids::MsgId;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::{answer, control};
use seinhuis_tests::forge;
use seinhuis_tests::samples::Sample;
use serde_json::{Value, json};

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

fn ask(home: &Path, request: &Value) -> Result<Value, Complaint> {
    let socket = Home::new(home).socket();
    let reply = control::call::<_, Value>(&socket, request, PATIENCE)
        .map_err(|error| error.complaint("seinhuis-agent", &socket))?;
    answer::decode(reply)
}

/// Hands a sample over under a new id. When this returns `Ok`, the agent has it on stable storage.
///
/// # Errors
/// The agent's complaint.
pub(crate) fn push(home: &Path, sample: &Sample) -> Result<MsgId, Complaint> {
    let id = forge::new_id();
    let text = |key: &str| sample.value.get(key).cloned().unwrap_or_default();
    let request = json!({ "push": {
        "msg_id": id.to_string(),
        "flow": sample.flow,
        "to": sample.to,
        "step": text("step"),
        "case": text("case"),
        "message_type": sample.message_type,
        "basis": text("basis"),
        "body": BASE64.encode(&forge::body(sample)),
    }});
    ask(home, &request).map(|_| id)
}

/// A message's row in the outbox.
///
/// # Errors
/// The agent's complaint.
pub(crate) fn sent(home: &Path, id: &str) -> Result<Value, Complaint> {
    ask(home, &json!({ "look": { "message": { "msg_id": id } } }))
}

/// Messages sent and received that have reached their end, by the agent's own count.
///
/// # Errors
/// The agent's complaint.
pub(crate) fn counts(home: &Path) -> Result<Counts, Complaint> {
    let status = ask(home, &json!({ "look": "status" }))?;
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    Ok(Counts {
        accepted: number("/outbox/accepted"),
        refused: number("/outbox/refused") + number("/outbox/expired") + number("/outbox/denied"),
        stored: number("/inbox/stored"),
        quarantined: number("/inbox/quarantined"),
        alarms: alarms(&status, |kind| kind != STRANGER),
    })
}

/// The alarm of an agent that is told of a packet which it did not send itself: scene 5 causes it, and tells.
const STRANGER: &str = "unknown-notice";

/// Whether an agent raised that alarm.
///
/// # Errors
/// The agent's complaint.
pub(crate) fn was_impersonated(home: &Path) -> Result<bool, Complaint> {
    Ok(alarms(&ask(home, &json!({ "look": "status" }))?, |kind| kind == STRANGER) > 0)
}

fn alarms(status: &Value, counts: impl Fn(&str) -> bool) -> usize {
    let all = status.get("alarms").and_then(Value::as_array).into_iter().flatten();
    all.filter(|alarm| counts(alarm.get("kind").and_then(Value::as_str).unwrap_or_default())).count()
}

/// What an agent counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Sent and accepted.
    pub(crate) accepted: u64,
    /// Sent and refused, expired or denied.
    pub(crate) refused: u64,
    /// Received and stored.
    pub(crate) stored: u64,
    /// Received and found wanting.
    pub(crate) quarantined: u64,
    /// Alarms, but for the one that scene 5 causes.
    pub(crate) alarms: usize,
}
