//! The broker's folder: which file is where.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::{BrokerCard, CardFormat, Grant};
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use seinhuis_shell::renewal::Folder;

use crate::SOFTWARE;
use crate::config::Config;

/// The folder a broker lives in.
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
        self.0.join("broker.toml")
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

    /// The key that proves the enrolment request.
    pub fn signing_key(&self) -> PathBuf {
        self.keys().join("signing.key")
    }

    /// The key that signs the exchange log.
    pub fn log_key(&self) -> PathBuf {
        self.keys().join("log.key")
    }

    /// What shows that there are two histories of this log; while it is there nothing is served.
    pub fn fork(&self) -> PathBuf {
        self.0.join("fork-evidence.txt")
    }

    /// What the partnership CA issued.
    pub fn grant(&self) -> PathBuf {
        self.0.join("grant.json")
    }

    /// The partnership's revocation list, kept fresh by the operator.
    pub fn crl(&self) -> PathBuf {
        self.0.join("crl.pem")
    }

    /// The journal and its index.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The exchange log's files.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Where a backup is put back before it gets its place.
    pub fn restoring(&self) -> PathBuf {
        self.0.join("restoring")
    }

    /// What is known of alarms that were told, and the secret with which they are signed.
    pub fn alerts(&self) -> PathBuf {
        self.0.join("alerts")
    }

    /// The socket on which commands reach the running broker.
    pub fn socket(&self) -> PathBuf {
        self.0.join("broker.sock")
    }

    /// The card that partners get.
    pub fn card(&self) -> PathBuf {
        self.0.join("broker.json")
    }

    /// The accounts of people who use the console.
    pub fn operators(&self) -> PathBuf {
        self.0.join("operators.json")
    }

    /// Exports that were asked for on the console.
    pub fn exports(&self) -> PathBuf {
        self.0.join("exports")
    }

    /// Who did what on the console, and why.
    pub fn acts(&self) -> PathBuf {
        self.0.join("console-acts.jsonl")
    }

    /// How far of that the acts on accounts are in the log.
    pub fn acts_logged(&self) -> PathBuf {
        self.0.join("console-acts.logged")
    }

    /// What waits on the console for a second person.
    pub fn asked(&self) -> PathBuf {
        self.0.join("console-asked.json")
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn load_config(&self) -> Result<Config, Complaint> {
        Config::load(&self.config())
    }

    /// Reads what the CA issued. The revocation list beside it, when there is one, replaces the grant's
    /// unless a renewed grant brought one that was made later.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn load_grant(&self) -> Result<Grant, Complaint> {
        self.renewal().load().map_err(|complaint| {
            if self.grant().exists() {
                complaint
            } else {
                complaint.advise(Text::new(
                    "Geef broker-request.cose aan de partnerschaps-CA (seinhuis-certs issue) en zet het antwoord hier neer.",
                    "Give broker-request.cose to the partnership CA (seinhuis-certs issue) and put its answer here.",
                ))
            }
        })
    }

    /// The log's public identity.
    ///
    /// # Errors
    /// A sentence when the key cannot be read or the origin cannot name one.
    pub fn log_identity(&self, origin: &str) -> Result<(SigningKey, LogKey), Complaint> {
        let secret = keys::load_signing(&self.log_key())?;
        let verifying = VerifyingKey::from_bytes(&secret.public().to_bytes())
            .map_err(|_| Complaint::bug("a generated key is not on the curve"))?;
        let key = VerifierKey::new(origin, verifying).map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("log_origin kan niet: {error}"),
                    format!("log_origin is not possible: {error}"),
                ),
                Text::new("Kies een andere log_origin.", "Choose another log_origin."),
            )
        })?;
        Ok((secret, LogKey { origin: origin.to_owned(), key }))
    }

    /// The card partners get, from the configuration, with the log they begin with.
    pub fn make_card(&self, config: &Config, log: &LogKey) -> BrokerCard {
        let server_name = config.advertise.rsplit_once(':').map_or("", |(host, _)| host);
        BrokerCard {
            format: CardFormat::V1,
            name: config.name.clone(),
            oin: config.oin,
            address: config.advertise.clone(),
            fallback: config.fallback_place(),
            server_name: server_name.trim_matches(['[', ']']).to_owned(),
            log_origin: log.origin.clone(),
            log_key: log.key.to_string(),
            software: SOFTWARE.to_owned(),
        }
    }
}
