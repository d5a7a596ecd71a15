//! Access codes of people who use the page.

use std::collections::BTreeSet;

use clap::Subcommand;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::json;

use super::messages;
use crate::home::Home;
use crate::ways::page::person::{self, May, Persons};
use crate::ways::pass::DAYS_MAX;

#[derive(Debug, Subcommand)]
pub(super) enum Person {
    /// Make an access code for a person; it is shown this once
    Add {
        /// Who: the name that stands with what this person makes and decides. One code for each name
        name: String,
        /// What this person may do, separated by commas: read, push, release, each for one flow too as in read:F01, cases,
        /// decide, subjects
        #[arg(long = "may", required = true, value_name = "RIGHT", value_delimiter = ',')]
        rights: Vec<May>,
        /// For how many days
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
        days: u32,
    },
    /// Show the people who have a code: what they may do, until when
    List,
    /// Take a code away: its person is signed out at once
    Revoke {
        /// Its id, as in the list
        id: String,
    },
}

pub(super) fn person(home: &Home, command: Person, ui: Ui) -> Result<Outcome, Complaint> {
    // Says so when this is no agent's folder.
    home.load_config()?;
    let persons = Persons::new(&home.persons());
    match command {
        Person::Add { name, rights, days } => add(&persons, &name, rights.into_iter().collect(), days, ui),
        Person::List => {
            let value = json!(persons.all()?.iter().map(shown).collect::<Vec<_>>());
            let heading =
                ui.lang.pick("ID NAAM GEMAAKT GELDIG-TOT RECHTEN", "ID NAME MADE VALID-UNTIL RIGHTS");
            messages::table(&value, heading, &["id", "name", "created", "expires", "rights"], ui);
            Ok(Outcome::Done)
        }
        Person::Revoke { id } => {
            let gone = persons.revoke(&id)?;
            let text = Text::new(
                format!("De toegangscode {id} van {} werkt niet meer.", gone.name),
                format!("The access code {id} of {} works no more.", gone.name),
            );
            ui.answer(&text, &shown(&gone));
            Ok(Outcome::Done)
        }
    }
}

fn add(
    persons: &Persons,
    name: &str,
    rights: BTreeSet<May>,
    days: u32,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let (person, code) = persons.add(name, rights, days, clock::now())?;
    let mut value = shown(&person);
    value["code"] = code.as_str().into();
    let said = Text::new(
        format!(
            "Toegangscode {} voor {name}, geldig tot {}:\n\n{}\n\nDit wordt één keer getoond. Geef het alleen aan {name}, niet per e-mail.",
            person.id, person.expires, *code
        ),
        format!(
            "Access code {} for {name}, valid until {}:\n\n{}\n\nThis is shown once. Give it to {name} only, not by e-mail.",
            person.id, person.expires, *code
        ),
    );
    ui.answer(&said, &value);
    Ok(Outcome::Done)
}

fn shown(person: &person::Person) -> serde_json::Value {
    json!({
        "id": person.id, "name": person.name, "rights": person.rights,
        "created": person.created, "expires": person.expires,
    })
}
