//! What this agent's covenants say about the exchange log.

use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::request::{Look, Request, ask, read};
use crate::home::Home;

/// The trust policy of a covenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PolicyView {
    /// The hash of the version.
    pub(super) covenant: String,
    /// The covenant.
    pub(super) id: String,
    /// Which version.
    pub(super) version: u32,
    /// The policy (C2SP tlog-policy).
    pub(super) policy: String,
}

/// Prints the policy of the covenant in force that asks a quorum; by the first digits of its hash if there are more.
pub(super) fn policy(home: &Home, covenant: Option<&str>, ui: Ui) -> Result<Outcome, Complaint> {
    let all: Vec<PolicyView> = read(ask(home, Request::Look(Look::Policies))?.0)?;
    let fits = |one: &&PolicyView| covenant.is_none_or(|wanted| one.covenant.starts_with(wanted));
    let fitting: Vec<&PolicyView> = all.iter().filter(fits).collect();
    let [one] = &fitting[..] else {
        let known: Vec<String> =
            all.iter().map(|one| format!("{} {} v{}", one.covenant, one.id, one.version)).collect();
        let known = known.join(", ");
        return Err(Complaint::usage(
            Text::new(
                format!("{} convenanten die passen vragen om getuigen ({known}).", fitting.len()),
                format!("{} covenants that fit ask for witnesses ({known}).", fitting.len()),
            ),
            Text::new(
                "Geef de eerste cijfers van de hash van een ervan.",
                "Give the first digits of the hash of one of them.",
            ),
        ));
    };
    ui.answer(&Text::same(one.policy.trim_end()), &json!(one));
    Ok(Outcome::Done)
}
