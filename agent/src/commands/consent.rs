//! Consent to pass on: giving it about a message that was sent, and the consents of others.

use clap::{Args, Subcommand};
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::{clock, keys};

use super::messages::table;
use super::push::follow;
use super::request::{GrantText, Look, Request, ask};
use crate::home::Home;

#[derive(Debug, Subcommand)]
pub(super) enum Consent {
    /// Allow somebody to pass on a message of this organisation; signed, and sent to the holder
    Give(Box<Give>),
    /// Show the consents of others that this organisation holds and that are good now
    List,
}

#[derive(Debug, Args)]
pub(super) struct Give {
    /// The message id of the message that was sent
    msg: String,
    /// Who may pass it on: an OIN or a role
    #[arg(long)]
    holder: String,
    /// To whom: OINs or roles, separated by commas
    #[arg(long, required = true, value_delimiter = ',')]
    to: Vec<String>,
    /// Until when, such as 2026-12-31, at most 366 days ahead; 90 days when left out
    #[arg(long)]
    until: Option<String>,
    /// Why, for the holder; no personal data
    #[arg(long)]
    reason: String,
    /// A reference of your own
    #[arg(long, default_value = "toestemming")]
    reference: String,
    /// The step of the case; that of the case itself when it is known here
    #[arg(long)]
    step: Option<String>,
    /// Wait so many seconds for the broker's answer
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

pub(super) fn consent(home: &Home, command: Consent, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Consent::Give(give) => {
            let Give { msg, holder, to, until, reason, reference, step, wait } = *give;
            let msg_id = clock::uuid_v7(clock::now(), keys::random()).to_string();
            let text =
                GrantText { msg_id: msg_id.clone(), about: msg, holder, to, until, step, reference, reason };
            follow(home, &msg_id, ask(home, Request::Grant(Box::new(text)))?, wait, ui)
        }
        Consent::List => list(home, ui),
    }
}

fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::Look(Look::Consents))?;
    if value.as_array().is_none_or(Vec::is_empty) {
        ui.answer(&Text::new("Geen toestemmingen.", "No consents."), &value);
        return Ok(Outcome::Done);
    }
    let heading = ui.lang.pick("HERKOMST PAKKET AAN TOT", "ORIGIN PACKET TO UNTIL");
    table(&value, heading, &["origin", "packet", "to", "until"], ui);
    Ok(Outcome::Done)
}
