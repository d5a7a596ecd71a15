//! Accounts of people who use the console.

use clap::Subcommand;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};

use crate::console::accounts::{Accounts, Role, Secrets};
use crate::console::{note, one_sign_in};
use crate::home::Home;

#[derive(Debug, Subcommand)]
pub(super) enum Operator {
    /// Make an account; its password and what makes its codes are shown this once
    Add {
        /// Who
        name: String,
        /// What for: operator, auditor, partner-manager, viewer
        #[arg(long)]
        role: Role,
    },
    /// Give an account a new password and new codes
    Reset {
        /// Whose
        name: String,
    },
    /// Make a code with which an account signs in once, within ten minutes, without anything else
    Login {
        /// Whose
        name: String,
    },
    /// Show the accounts
    List,
    /// Take an account away: whoever is signed in with it is signed out
    Remove {
        /// Whose
        name: String,
    },
}

pub(super) fn operator(home: &Home, command: Operator, ui: Ui) -> Result<Outcome, Complaint> {
    // Says so when this is no broker's folder.
    home.load_config()?;
    let accounts = Accounts::new(&home.operators());
    match command {
        Operator::Add { name, role } => {
            let secrets = accounts.set(&name, Some(role), clock::now())?;
            note(home, "account-add", &name)?;
            shown(&secrets, &name, ui);
        }
        Operator::Reset { name } => {
            let secrets = accounts.set(&name, None, clock::now())?;
            note(home, "account-reset", &name)?;
            shown(&secrets, &name, ui);
        }
        Operator::Login { name } => {
            let code = one_sign_in(home, &name)?;
            note(home, "account-login", &name)?;
            let text = Text::new(
                format!(
                    "Eenmalige code van {name}, tien minuten geldig, in plaats van het wachtwoord:\n\n{}",
                    *code
                ),
                format!(
                    "Code for one sign-in of {name}, for ten minutes, in the place of the password:\n\n{}",
                    *code
                ),
            );
            ui.answer(&text, &json!({ "name": name, "code": code.as_str() }));
        }
        Operator::List => list(&accounts, ui)?,
        Operator::Remove { name } => {
            accounts.remove(&name)?;
            note(home, "account-remove", &name)?;
            let text = Text::new(
                format!("{name} heeft geen account meer."),
                format!("{name} has no account any more."),
            );
            ui.answer(&text, &json!({ "name": name }));
        }
    }
    Ok(Outcome::Done)
}

fn shown(secrets: &Secrets, name: &str, ui: Ui) {
    let Secrets { password, secret, uri } = secrets;
    let text = Text::new(
        format!(
            "Account van {name}. Dit wordt één keer getoond; geef het alleen aan {name}, niet per e-mail.\n\nWachtwoord        {}\nVoor de code-app  {}\n                  {}",
            **password, **secret, **uri
        ),
        format!(
            "Account of {name}. This is shown once; give it to {name} alone, not by mail.\n\nPassword          {}\nFor the code app  {}\n                  {}",
            **password, **secret, **uri
        ),
    );
    let value = json!({
        "name": name, "password": password.as_str(), "secret": secret.as_str(), "uri": uri.as_str(),
    });
    ui.answer(&text, &value);
}

fn list(accounts: &Accounts, ui: Ui) -> Result<(), Complaint> {
    let all = accounts.all()?;
    let mut rows = vec![["naam / name", "rol / role", "gemaakt / made"].map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| vec![one.name.clone(), one.role.to_string(), one.made.clone()]));
    let value: Value =
        all.iter().map(|one| json!({ "name": one.name, "role": one.role, "made": one.made })).collect();
    ui.answer(&Text::same(ui.table(&rows)), &value);
    Ok(())
}
