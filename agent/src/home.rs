//! The agent's folder: which file is where, and what is in it.

use std::path::{Path, PathBuf};

use seinhuis_agent_core::Settings;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::grant::{BrokerCard, Grant};
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use seinhuis_shell::renewal::Folder;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::secrets::Vault;

/// The folder an agent lives in.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// Takes a folder; nothing is looked at yet.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_path_buf())
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.0.join("agent.toml")
    }

    /// The folder of private keys.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The TLS key.
    pub fn tls_key(&self) -> PathBuf {
        self.keys().join("tls.key")
    }

    /// Certificate, revocation list and TLS key: what says who this node is, and what a renewal replaces.
    pub fn renewal(&self) -> Folder {
        let next = self.keys().join("tls.next.key");
        Folder { grant: self.grant(), crl: self.crl(), key: self.tls_key(), next }
    }

    /// The key that signs packets and that covenants pin.
    pub fn signing_key(&self) -> PathBuf {
        self.keys().join("signing.key")
    }

    /// The signing key that is to take its place, while a rotation is under way.
    pub fn next_signing_key(&self) -> PathBuf {
        self.keys().join("signing.next.key")
    }

    /// The key with which this agent cosigns the exchange log.
    pub fn witness_key(&self) -> PathBuf {
        self.keys().join("witness.key")
    }

    /// The key that encrypts what is secret in the store.
    pub fn store_key(&self) -> PathBuf {
        self.keys().join("store.key")
    }

    /// The key of the pseudonyms under which this organisation logs whom its messages are about.
    pub fn pseudonym_key(&self) -> PathBuf {
        self.keys().join("pseudonym.key")
    }

    /// What the partnership CA issued.
    pub fn grant(&self) -> PathBuf {
        self.0.join("grant.json")
    }

    /// A fresher revocation list than the grant's, when the operator puts one there.
    pub fn crl(&self) -> PathBuf {
        self.0.join("crl.pem")
    }

    /// The broker's card.
    pub fn card(&self) -> PathBuf {
        self.0.join("broker.json")
    }

    /// The journal and its index.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The socket on which commands reach the running agent.
    pub fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The tokens of applications that use the local API.
    pub fn api_tokens(&self) -> PathBuf {
        self.0.join("api-tokens.json")
    }

    /// The access codes of people who use the page.
    pub fn persons(&self) -> PathBuf {
        self.0.join("persons.json")
    }

    /// Who made what is on its way, of what people made on the page.
    pub fn makers(&self) -> PathBuf {
        self.0.join("makers.json")
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn load_config(&self) -> Result<Config, Complaint> {
        Config::load(&self.config()).map_err(|complaint| {
            if self.config().exists() {
                complaint
            } else {
                complaint.advise(Text::new(
                    "Maak de agent eerst: seinhuis-agent init --oin OIN --name NAAM (of noem de map met --home).",
                    "Make the agent first: seinhuis-agent init --oin OIN --name NAME (or name its folder with --home).",
                ))
            }
        })
    }

    /// Reads what the CA issued. The revocation list beside it, when there is one, replaces the grant's
    /// unless a renewed grant brought one that was made later.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn load_grant(&self) -> Result<Grant, Complaint> {
        self.renewal().load().map_err(|complaint| self.not_enrolled(complaint, &self.grant()))
    }

    /// Reads the broker's card.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn load_card(&self) -> Result<BrokerCard, Complaint> {
        BrokerCard::load(&self.card()).map_err(|complaint| self.not_enrolled(complaint, &self.card()))
    }

    #[expect(clippy::unused_self, reason = "reads as a method of the folder that is not enrolled")]
    fn not_enrolled(&self, complaint: Complaint, path: &Path) -> Complaint {
        if path.exists() {
            return complaint;
        }
        complaint.advise(Text::new(
            "Meld de agent eerst aan: seinhuis-agent enrol --request BESTAND, en daarna enrol --accept.",
            "Enrol the agent first: seinhuis-agent enrol --request FILE, and then enrol --accept.",
        ))
    }

    /// The exchange log of the broker, from its card.
    ///
    /// # Errors
    /// A sentence when the card's key is not one.
    pub fn log_key(&self, card: &BrokerCard) -> Result<LogKey, Complaint> {
        let key: VerifierKey = card.log_key.parse().map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("De logsleutel op {} is onbruikbaar: {error}", self.card().display()),
                    format!("The log key on {} cannot be used: {error}", self.card().display()),
                ),
                Text::new("Vraag de kaart opnieuw op bij de broker.", "Ask the broker for its card again."),
            )
        })?;
        Ok(LogKey { origin: card.log_origin.clone(), key })
    }

    /// What the core needs to know.
    ///
    /// # Errors
    /// As [`Home::load_config`], [`Home::load_card`] and [`Home::log_key`].
    pub fn settings(&self) -> Result<Settings, Complaint> {
        Ok(Settings { oin: self.load_config()?.oin, log: self.log_key(&self.load_card()?)? })
    }

    /// Reads the keys that the core is lent.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn vault(&self) -> Result<Vault, Complaint> {
        files::check_private_dir(&self.keys())?;
        let store_key = keys::load_symmetric(&self.store_key())?;
        let signer = keys::load_signing(&self.signing_key())?;
        let witness = self.witness_key();
        let witness = if witness.exists() { Some(keys::load_signing(&witness)?) } else { None };
        let vault = Vault::new(&store_key, signer)?
            .with_witness(witness)
            .with_files(self.signing_key(), self.next_signing_key())?;
        let ldv = self.load_config()?.ldv;
        if !ldv.is_on() {
            return Ok(vault);
        }
        Ok(vault.recording(&*self.names()?, ldv.queue, ldv.required))
    }

    /// The key of pseudonyms; made when it is not there yet.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn names(&self) -> Result<Zeroizing<[u8; 32]>, Complaint> {
        let path = self.pseudonym_key();
        if path.exists() { keys::load_symmetric(&path) } else { keys::generate_symmetric(&path) }
    }
}

#[cfg(test)]
mod tests {
    use seinhuis_shell::files::Existing;

    use super::*;
    use crate::fixture::{self, Ca};

    #[test]
    fn the_fresher_revocation_list_counts() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::new();
        let home = fixture::home(dir.path(), &ca, "00000099000000009000", "127.0.0.1:1");
        let granted = home.load_grant().unwrap().crl;
        for (year, replaces) in [(2109, false), (2111, true)] {
            let beside = ca.crl(year);
            files::write(&home.crl(), beside.as_bytes(), Existing::Replace).unwrap();
            let wanted = if replaces { &beside } else { &granted };
            assert_eq!(home.load_grant().unwrap().crl, *wanted, "{year}");
        }
        for nonsense in ["", "no list", &granted[..granted.len() / 2]] {
            files::write(&home.crl(), nonsense.as_bytes(), Existing::Replace).unwrap();
            assert!(home.load_grant().unwrap_err().what.en.contains("revocation list"), "{nonsense:?}");
        }
    }
}
