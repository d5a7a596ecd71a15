//! Tokens of applications that use the local API.

use std::collections::BTreeSet;

use clap::Subcommand;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::json;

use super::messages;
use crate::home::Home;
use crate::ways::api::token::{self, Right, Tokens};
use crate::ways::pass::DAYS_MAX;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token for an application; its text is shown this once
    Add {
        /// The application: lower-case letters, digits and dashes
        application: String,
        /// What it may do: send:F01 or send:*, receive:F01 or receive:*, cases, decide, status; may be given more than once
        #[arg(long = "allow", required = true, value_name = "RIGHT")]
        rights: Vec<Right>,
        /// For how many days
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
        days: u32,
    },
    /// Show the tokens: of which application, what they allow, until when
    List,
    /// Take a token away, at once
    Revoke {
        /// Its id, as in the list
        id: String,
    },
}

pub(super) fn token(home: &Home, command: Token, ui: Ui) -> Result<Outcome, Complaint> {
    // Says so when this is no agent's folder.
    home.load_config()?;
    let tokens = Tokens::new(&home.api_tokens());
    match command {
        Token::Add { application, rights, days } => {
            add(&tokens, &application, rights.into_iter().collect(), days, ui)
        }
        Token::List => {
            let value = json!(tokens.all()?.iter().map(shown).collect::<Vec<_>>());
            let heading = ui
                .lang
                .pick("ID TOEPASSING GEMAAKT GELDIG-TOT RECHTEN", "ID APPLICATION MADE VALID-UNTIL RIGHTS");
            messages::table(&value, heading, &["id", "application", "created", "expires", "rights"], ui);
            Ok(Outcome::Done)
        }
        Token::Revoke { id } => {
            let gone = tokens.revoke(&id)?;
            let text = Text::new(
                format!("Het token {id} van {} werkt niet meer.", gone.name),
                format!("The token {id} of {} works no more.", gone.name),
            );
            ui.answer(&text, &shown(&gone));
            Ok(Outcome::Done)
        }
    }
}

fn add(
    tokens: &Tokens,
    application: &str,
    rights: BTreeSet<Right>,
    days: u32,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let (token, text) = tokens.add(application, rights, days, clock::now())?;
    let mut value = shown(&token);
    value["token"] = text.as_str().into();
    let said = Text::new(
        format!(
            "Token {} voor {application}, geldig tot {}:\n\n{}\n\nDit wordt één keer getoond. Geef het alleen aan {application}.",
            token.id, token.expires, *text
        ),
        format!(
            "Token {} for {application}, valid until {}:\n\n{}\n\nThis is shown once. Give it to {application} only.",
            token.id, token.expires, *text
        ),
    );
    ui.answer(&said, &value);
    Ok(Outcome::Done)
}

fn shown(token: &token::Token) -> serde_json::Value {
    json!({
        "id": token.id, "application": token.name, "rights": token.rights,
        "created": token.created, "expires": token.expires,
    })
}
