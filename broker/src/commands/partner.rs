//! Partners.

use std::path::Path;

use seinhuis_broker_core::Suspendable;
use seinhuis_shared::enrol::{EnrolRequest, NodeKind, REQUEST_MAX, fingerprint};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;
use serde_json::Value;

use super::request::{Request, ask};
use crate::home::Home;

pub(super) fn add(home: &Home, path: &Path, read_out: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let bytes = files::read(path, REQUEST_MAX)?;
    let request = EnrolRequest::verify(&bytes)
        .map_err(|refusal| Complaint::from_refusal(refusal).about(&path.display().to_string()))?;
    let real = fingerprint(&bytes);
    if !read_out.eq_ignore_ascii_case(&real) {
        return Err(Complaint::refused(
            Text::new(
                format!("De vingerafdruk van {} is {real}, niet {read_out}.", path.display()),
                format!("The fingerprint of {} is {real}, not {read_out}.", path.display()),
            ),
            Text::new(
                "Bel de partner en vergelijk opnieuw; is het anders, gooi de aanvraag dan weg.",
                "Call the partner and compare again; if it differs, throw the request away.",
            ),
        ));
    }
    if request.kind != NodeKind::Agent {
        return Err(Complaint::refused(
            Text::new("Dit is de aanvraag van een broker.", "This is a broker's request."),
            Text::new("Gebruik de aanvraag van de agent.", "Use the agent's request."),
        ));
    }
    let answer = ask(
        home,
        &Request::AddPartner {
            oin: request.oin,
            name: request.name.clone(),
            key: request.signing_key.to_bytes(),
        },
    )?;
    let (oin, name) = (request.oin, request.name);
    ui.answer(
        &Text::new(
            format!("Partner {name} ({oin}) is aangemeld{}.", entry(&answer, " in logregel ")),
            format!("Partner {name} ({oin}) is registered{}.", entry(&answer, " in log entry ")),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// " in log entry 7", or nothing when nothing changed.
pub(super) fn entry(answer: &Value, before: &str) -> String {
    answer.get("entry").map(|index| format!("{before}{index}")).unwrap_or_default()
}

pub(super) fn revoke(home: &Home, oin: Oin, reason: Option<&str>, ui: Ui) -> Result<Outcome, Complaint> {
    let reason = reason.map(|text| sha256(text.as_bytes()).0);
    let answer = ask(home, &Request::RevokePartner { oin, reason })?;
    ui.answer(
        &Text::new(
            format!("De toegang van {oin} is ingetrokken{}.", entry(&answer, " in logregel ")),
            format!("The access of {oin} is revoked{}.", entry(&answer, " in log entry ")),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// Keeps a partner out for now.
pub(super) fn suspend(home: &Home, oin: Oin, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(
        home,
        &Request::Suspend { what: Suspendable::Partner(oin), reason: super::log::purpose(reason)? },
    )?;
    ui.answer(
        &Text::new(
            format!(
                "De toegang van {oin} is opgeschort{}; wat ervoor komt wacht. Hervat met `seinhuis-broker partner resume {oin} --reason \"…\"`.",
                entry(&answer, " in logregel ")
            ),
            format!(
                "The access of {oin} is suspended{}; what comes for it waits. Resume with `seinhuis-broker partner resume {oin} --reason \"…\"`.",
                entry(&answer, " in log entry ")
            ),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// Ends a suspension and tells of it: of what, as people call it, and what comes then.
pub(super) fn resume_what(
    home: &Home,
    what: Suspendable,
    (nl, en): (&str, &str),
    then: (&str, &str),
    reason: &str,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Resume { what, reason: super::log::purpose(reason)? })?;
    let said = match answer.get("entry") {
        Some(index) => Text::new(
            format!("{nl} is hervat in logregel {index}; {}.", then.0),
            format!("{en} is resumed in log entry {index}; {}.", then.1),
        ),
        None => Text::new(
            format!("{nl} was niet opgeschort; er is niets veranderd."),
            format!("{en} was not suspended; nothing has changed."),
        ),
    };
    ui.answer(&said, &answer);
    Ok(Outcome::Done)
}

/// Lets a partner that was suspended in again.
pub(super) fn resume(home: &Home, oin: Oin, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let (nl, en) = (format!("De toegang van {oin}"), format!("The access of {oin}"));
    let then = ("zijn agent komt vanzelf terug", "its agent comes back by itself");
    resume_what(home, Suspendable::Partner(oin), (&nl, &en), then, reason, ui)
}

pub(super) fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Partners)?;
    let heading = [
        "OIN",
        "naam / name",
        "sleutel / key",
        "verbonden / connected",
        "opgeschort / suspended",
        "ingetrokken / revoked",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for row in answer.as_array().into_iter().flatten() {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let key = text("key").chars().take(16).collect();
        rows.push(vec![
            text("oin"),
            text("name"),
            key,
            text("connected"),
            text("suspended"),
            text("revoked"),
        ]);
    }
    ui.answer(&Text::same(ui.table(&rows)), &answer);
    Ok(Outcome::Done)
}
