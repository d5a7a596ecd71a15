//! Flows, and all of them together: intake.

use seinhuis_broker_core::Suspendable;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::Value;

use super::partner::{entry, resume_what};
use super::request::{Request, ask};
use crate::home::Home;

/// Shows the flows of the covenants, and since when which are suspended.
pub(super) fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Flows)?;
    let heading = ["stroom / flow", ui.lang.pick("waarvoor", "what for"), "opgeschort / suspended"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for row in answer.as_array().into_iter().flatten() {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        rows.push(vec![text("flow"), text(ui.lang.pick("nl", "en")), text("suspended")]);
    }
    ui.answer(&Text::same(ui.table(&rows)), &answer);
    Ok(Outcome::Done)
}

/// Has what is sent on a flow put off.
pub(super) fn suspend(home: &Home, flow: &str, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let reason = super::log::purpose(reason)?;
    let answer = ask(home, &Request::Suspend { what: Suspendable::Flow(flow.to_owned()), reason })?;
    ui.answer(
        &Text::new(
            format!(
                "Stroom {flow} is opgeschort{}; wat aangenomen was wordt bezorgd. Hervat met `seinhuis-broker flow resume {flow} --reason \"…\"`.",
                entry(&answer, " in logregel ")
            ),
            format!(
                "Flow {flow} is suspended{}; what was accepted is delivered. Resume with `seinhuis-broker flow resume {flow} --reason \"…\"`.",
                entry(&answer, " in log entry ")
            ),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// What comes when a flow, or every flow, goes on.
const THEN: (&str, &str) =
    ("wat is uitgesteld komt vanzelf opnieuw", "what was put off comes again by itself");

/// Lets a flow go on.
pub(super) fn resume(home: &Home, flow: &str, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let (nl, en) = (format!("Stroom {flow}"), format!("Flow {flow}"));
    resume_what(home, Suspendable::Flow(flow.to_owned()), (&nl, &en), THEN, reason, ui)
}

/// Has what is sent on every flow put off, so that the mailboxes run empty.
pub(super) fn suspend_intake(home: &Home, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let reason = super::log::purpose(reason)?;
    let answer = ask(home, &Request::Suspend { what: Suspendable::Intake, reason })?;
    ui.answer(
        &Text::new(
            format!(
                "Er wordt niets nieuws aangenomen{}; wat aangenomen was wordt bezorgd. `seinhuis-broker mailbox list` zegt wat nog wacht. Hervat met `seinhuis-broker intake resume --reason \"…\"`.",
                entry(&answer, ", vastgelegd in logregel ")
            ),
            format!(
                "Nothing new is accepted{}; what was accepted is delivered. `seinhuis-broker mailbox list` says what still waits. Resume with `seinhuis-broker intake resume --reason \"…\"`.",
                entry(&answer, ", recorded in log entry ")
            ),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// Accepts again on every flow that is not suspended itself.
pub(super) fn resume_intake(home: &Home, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    resume_what(home, Suspendable::Intake, ("De aanname", "Intake"), THEN, reason, ui)
}
