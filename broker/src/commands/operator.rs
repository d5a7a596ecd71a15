//! Accounts of people who use the console.

use std::path::PathBuf;

use clap::Subcommand;
use seinhuis_shared::ids::Digest;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};

use crate::console::accounts::{Account, Accounts, Role, Secrets};
use crate::console::{note, one_sign_in, registrable};
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
        /// The PEM file with the certificate that counts in the place of password and codes
        #[arg(long)]
        certificate: Option<PathBuf>,
    },
    /// Give an account a new password and new codes, or another certificate
    Reset {
        /// Whose
        name: String,
        /// The PEM file with the certificate that counts in the place of password and codes
        #[arg(long)]
        certificate: Option<PathBuf>,
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
    let config = home.load_config()?;
    let accounts = Accounts::new(&home.operators());
    match command {
        Operator::Add { name, role, certificate } => {
            let certificate = certificate.map(|path| registrable(home, &config, &path)).transpose()?;
            let given = give(&accounts, &name, Some(role), certificate)?;
            note(home, "account-add", &name)?;
            shown(&given, &name, ui);
        }
        Operator::Reset { name, certificate } => {
            let certificate = certificate.map(|path| registrable(home, &config, &path)).transpose()?;
            let given = give(&accounts, &name, None, certificate)?;
            note(home, "account-reset", &name)?;
            shown(&given, &name, ui);
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

/// What an account signs in with from now on.
enum Given {
    Secrets(Secrets),
    Certificate(Digest),
}

/// Makes an account in this role, or gives the one that is there something else to sign in with.
fn give(
    accounts: &Accounts,
    name: &str,
    role: Option<Role>,
    certificate: Option<Digest>,
) -> Result<Given, Complaint> {
    let now = clock::now();
    match certificate {
        None => accounts.set(name, role, now).map(Given::Secrets),
        Some(certificate) => {
            accounts.set_certificate(name, role, certificate, now).map(|()| Given::Certificate(certificate))
        }
    }
}

fn shown(given: &Given, name: &str, ui: Ui) {
    let Secrets { password, secret, uri } = match given {
        Given::Secrets(secrets) => secrets,
        Given::Certificate(certificate) => return certified(certificate, name, ui),
    };
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

fn certified(certificate: &Digest, name: &str, ui: Ui) {
    let text = Text::new(
        format!(
            "{name} meldt zich aan met het certificaat met deze vingerafdruk, en met niets anders:\n\n{certificate}"
        ),
        format!(
            "{name} signs in with the certificate with this fingerprint, and nothing else:\n\n{certificate}"
        ),
    );
    ui.answer(&text, &json!({ "name": name, "certificate": certificate.to_string() }));
}

fn list(accounts: &Accounts, ui: Ui) -> Result<(), Complaint> {
    let all = accounts.all()?;
    let heads = ["naam / name", "rol / role", "gemaakt / made", "aanmelden / sign-in"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        let by = one.certificate.as_ref().map_or_else(
            || "wachtwoord + code / password + code".to_owned(),
            |certificate| format!("certificaat / certificate {certificate}"),
        );
        vec![one.name.clone(), one.role.to_string(), one.made.clone(), by]
    }));
    let row = |one: &Account| json!({ "name": one.name, "role": one.role, "made": one.made, "certificate": one.certificate });
    let value: Value = all.iter().map(row).collect();
    ui.answer(&Text::same(ui.table(&rows)), &value);
    Ok(())
}
