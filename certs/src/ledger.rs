//! The ledger: what was issued and revoked. One JSON file that people can read, replaced atomically.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use data_encoding::HEXLOWER;
use seinhuis_shared::ids::{Digest, Oin, Thumbprint};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::grant::Kind;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};

/// Most bytes of a ledger: some hundred thousand certificates.
const LEDGER_MAX: usize = 64 * 1024 * 1024;

/// Texts as they print, for values that serde would write as bytes.
mod shown {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Why a certificate was revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A private key is or may be known to others.
    KeyCompromise,
    /// The partner left the partnership, or the node was taken out of use.
    Cessation,
    /// Another certificate replaces it.
    Superseded,
    /// No reason is given.
    Unspecified,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::KeyCompromise => "key-compromise",
            Self::Cessation => "cessation",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        })
    }
}

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// When.
    #[serde(with = "seinhuis_shell::clock::text")]
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its serial number: 16 bytes, hexadecimal.
    pub serial: String,
    /// What it is for.
    pub kind: Kind,
    /// The organisation.
    pub oin: Oin,
    /// Its name.
    pub name: String,
    /// The broker's hosts.
    pub hosts: Vec<String>,
    /// The thumbprint of the node's signing key.
    #[serde(with = "shown")]
    pub signing_key: Thumbprint,
    /// SHA-256 of the request.
    #[serde(with = "shown")]
    pub request: Digest,
    /// When the request was made.
    #[serde(with = "seinhuis_shell::clock::text")]
    pub requested: Timestamp,
    /// When the certificate was issued.
    #[serde(with = "seinhuis_shell::clock::text")]
    pub issued: Timestamp,
    /// When it ends.
    #[serde(with = "seinhuis_shell::clock::text")]
    pub not_after: Timestamp,
    /// Its revocation, if it was revoked.
    pub revoked: Option<Revoked>,
}

impl Record {
    /// Whether the certificate can be used at this time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.not_after
    }

    /// Whether a revocation list made at `now` need not hold this certificate any more: it has ended, and the list before,
    /// which counts from `last` on, was made when it had ended and was revoked already (RFC 5280 §3.3).
    pub fn is_past(&self, last: Timestamp, now: Timestamp) -> bool {
        self.not_after <= now
            && self.revoked.is_some_and(|revoked| self.not_after <= last && revoked.at <= last)
    }

    /// The bytes of the serial number.
    pub fn serial_bytes(&self) -> Vec<u8> {
        HEXLOWER.decode(self.serial.as_bytes()).unwrap_or_default()
    }
}

/// The version marker inside a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// The only version.
    #[serde(rename = "seinhuis-ledger/1")]
    V1,
}

/// Everything the CA remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// `seinhuis-ledger/1`.
    pub format: Format,
    /// The partnership's name.
    pub name: String,
    /// The number of the latest revocation list; each has a higher one.
    pub crl_number: u64,
    /// How many days a revocation list counts.
    pub crl_days: u16,
    /// All certificates, oldest first.
    pub certificates: Vec<Record>,
}

impl Ledger {
    /// The ledger of a new CA.
    pub fn new(name: &str, crl_days: u16) -> Self {
        Self { format: Format::V1, name: name.to_owned(), crl_number: 0, crl_days, certificates: Vec::new() }
    }

    /// Reads the ledger and checks that it does not contradict itself.
    ///
    /// # Errors
    /// A sentence naming the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, Complaint> {
        Self::parse(path, &files::read(path, LEDGER_MAX)?)
    }

    /// Reads the bytes of a ledger; `path` is what the sentences call it.
    ///
    /// # Errors
    /// As [`Ledger::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Complaint> {
        let ledger: Self =
            serde_json::from_slice(bytes).map_err(|error| damaged(path, &error.to_string()))?;
        let mut serials = BTreeSet::new();
        for record in &ledger.certificates {
            if record.serial_bytes().len() != 16 {
                return Err(damaged(
                    path,
                    &format!("serial {:?} is not 32 hexadecimal digits", record.serial),
                ));
            }
            if !serials.insert(&record.serial) {
                return Err(damaged(path, &format!("serial {} occurs twice", record.serial)));
            }
            if record.not_after <= record.issued {
                return Err(damaged(path, &format!("certificate {} ends before it begins", record.serial)));
            }
        }
        Ok(ledger)
    }

    /// Writes the ledger, whole or not at all.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn save(&self, path: &Path, existing: Existing) -> Result<(), Complaint> {
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|error| Complaint::bug(format!("ledger: {error}")))?;
        bytes.push(b'\n');
        files::write_private(path, &bytes, existing)
    }

    /// The latest certificate of each node, oldest first.
    pub fn latest(&self) -> Vec<&Record> {
        let mut seen = BTreeSet::new();
        let mut latest: Vec<_> =
            self.certificates.iter().rev().filter(|record| seen.insert((record.oin, record.kind))).collect();
        latest.reverse();
        latest
    }

    /// The latest certificate of one node.
    pub fn latest_of(&self, oin: Oin, kind: Kind) -> Option<&Record> {
        self.certificates.iter().rev().find(|record| record.oin == oin && record.kind == kind)
    }
}

fn damaged(path: &Path, cause: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Het grootboek {} is beschadigd: {cause}.", path.display()),
            format!("The ledger {} is damaged: {cause}.", path.display()),
        ),
        Text::new(
            "Zet de laatste reservekopie terug en vul aan uit de map issued; geef tot dan niets uit.",
            "Put back the latest backup and complete it from the folder issued; issue nothing until then.",
        ),
    )
}
