//! Under which pseudonym a person stands in this organisation's log of processings.

use clap::Args;
use seinhuis_agent_core::pseudonym;
use seinhuis_shared::covenant::schema::{Scope, Subject, normal};
use seinhuis_shared::ids::{CaseId, MsgId};
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::json;
use zeroize::Zeroizing;

use crate::home::Home;

#[derive(Debug, Args)]
pub(super) struct Who {
    /// A field that identifies the person, as NAME=VALUE; all of those that do together in the schema
    #[arg(long = "field", required = true)]
    fields: Vec<String>,
    /// The case, for a field that identifies within it
    #[arg(long)]
    case: Option<CaseId>,
}

pub(super) fn subject(home: &Home, who: &Who, ui: Ui) -> Result<Outcome, Complaint> {
    let vault = home.vault()?;
    let Some(recording) = vault.ports().recording else {
        return Err(Complaint::usage(
            Text::new(
                "Deze agent logt geen verwerkingen: er zijn geen pseudoniemen.",
                "This agent logs no processings: there are no pseudonyms.",
            ),
            Text::new(
                "Vul [ldv] in agent.toml in (docs/views.md).",
                "Fill in [ldv] in agent.toml (docs/views.md).",
            ),
        ));
    };
    let subject = person(who)?;
    // What identifies within a case is bound to the case; the message counts only where neither does.
    let name = pseudonym(&subject, who.case, &MsgId([0; 16]), recording.pseudonyms).to_string();
    ui.answer(
        &Text::same(format!("{name} ({})", subject.kind)),
        &json!({ "data_subject_id": name, "data_subject_id_type": subject.kind }),
    );
    Ok(Outcome::Done)
}

fn person(who: &Who) -> Result<Subject, Complaint> {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for field in &who.fields {
        fields.push(field.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Complaint::usage(
                Text::new("Een veld heeft de vorm NAAM=WAARDE.", "A field has the form NAME=VALUE."),
                Text::new("Bijvoorbeeld: --field zaakpersoon=P03.", "For instance: --field zaakpersoon=P03."),
            )
        })?);
    }
    // In the order in which records have them.
    fields.sort_unstable();
    let kind = fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("+");
    let mut identifier = Zeroizing::new(String::new());
    for (_, value) in fields {
        identifier.push_str(&normal(value));
        identifier.push('\0');
    }
    let scope = if who.case.is_some() { Scope::Case } else { Scope::Always };
    Ok(Subject { kind, scope, identifier })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_as_in_a_body() {
        let who = |fields: &[&str], case: Option<u8>| Who {
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            case: case.map(|fill| CaseId([fill; 16])),
        };
        let one = person(&who(&["naam= Jan  de Vries", "geboortedatum=2009-01-02"], None)).unwrap();
        assert_eq!((one.kind.as_str(), one.scope), ("geboortedatum+naam", Scope::Always));
        assert_eq!(one.identifier.as_str(), "2009-01-02\0jan de vries\0");
        assert_eq!(person(&who(&["zaakpersoon=P03"], Some(1))).unwrap().scope, Scope::Case);
        assert!(person(&who(&["P03"], None)).is_err() && person(&who(&["=P03"], None)).is_err());
    }
}
