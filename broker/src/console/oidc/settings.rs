//! `[console.oidc]` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::http::Http;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

use crate::console::accounts::Role;

/// Most bytes of a text of these settings.
const TEXT_MAX: usize = 256;

/// At which provider people sign in. The complete sample explains each key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The provider as it names itself; empty when there is none.
    pub issuer: String,
    /// As what the console is known there.
    pub client_id: String,
    /// The file with the client's secret; empty for a client without.
    pub secret_file: PathBuf,
    /// The PEM file with authorities that vouch for the provider's TLS; those of the machine when empty.
    pub authorities: PathBuf,
    /// The claim that says what somebody is.
    pub role_claim: String,
    /// Which of its texts gives which role.
    pub(crate) roles: BTreeMap<String, Role>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            secret_file: PathBuf::new(),
            authorities: PathBuf::new(),
            role_claim: "roles".into(),
            roles: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Whether there is a provider.
    pub(super) fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// # Errors
    /// A sentence naming the key and what to write.
    pub(in crate::console) fn check(&self) -> Result<(), Complaint> {
        if *self == Self::default() {
            return Ok(());
        }
        let text = |text: &str| {
            !text.is_empty()
                && text.len() <= TEXT_MAX
                && text.trim() == text
                && !text.contains(char::is_control)
        };
        let issuer = text(&self.issuer)
            && self.issuer.bytes().all(|byte| byte.is_ascii_graphic())
            && !self.issuer.contains(['?', '#'])
            && Http::check(&self.issuer).is_ok();
        let wrong = if !issuer {
            Some((
                "issuer",
                "het adres zoals de aanbieder zichzelf noemt, met https:// (http:// op deze machine zelf), zonder vraagteken of hekje",
                "the address as the provider names itself, with https:// (http:// on this machine itself), without question mark or hash",
            ))
        } else if !text(&self.client_id) {
            Some((
                "client_id",
                "waaronder de console bij de aanbieder bekend is",
                "as what the console is known at the provider",
            ))
        } else if !text(&self.role_claim) {
            Some(("role_claim", "de naam van een claim", "the name of a claim"))
        } else if self.roles.is_empty() || !self.roles.keys().all(|name| text(name)) {
            Some((
                "roles",
                "onder [console.oidc.roles] minstens één regel als \"beheer\" = \"operator\"",
                "under [console.oidc.roles] at least one line as \"admins\" = \"operator\"",
            ))
        } else {
            None
        };
        wrong.map_or(Ok(()), |(key, nl, en)| {
            Err(Complaint::usage(
                Text::new(
                    format!("console.oidc.{key} ontbreekt of kan niet."),
                    format!("console.oidc.{key} is missing or not possible."),
                ),
                Text::new(format!("Schrijf {nl}."), format!("Write {en}.")),
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut Settings)) -> bool {
        let mut settings = Settings {
            issuer: "https://login.example/realms/x".into(),
            client_id: "seinhuis".into(),
            roles: [("beheer".to_owned(), Role::Operator)].into(),
            ..Settings::default()
        };
        change(&mut settings);
        settings.check().is_ok()
    }

    #[test]
    fn a_provider_is_named_whole_or_not_at_all() {
        assert!(Settings::default().check().is_ok() && !Settings::default().is_on());
        assert!(checked(|_| ()) && checked(|settings| settings.issuer = "http://127.0.0.1:9400".into()));
        for issuer in [
            "",
            "http://login.example",
            "login.example",
            "https://a/?x",
            "https://a/#x",
            "https://a b",
            "https://u:p@a",
        ] {
            assert!(!checked(|settings| settings.issuer = issuer.into()), "{issuer}");
        }
        assert!(!checked(|settings| settings.client_id = String::new()));
        assert!(!checked(|settings| settings.client_id = "a\nb".into()));
        assert!(!checked(|settings| settings.role_claim = String::new()));
        assert!(!checked(|settings| settings.roles.clear()), "nobody would have a role");
        assert!(!checked(|settings| settings.roles = [(String::new(), Role::Viewer)].into()));
    }
}
