//! The witness' configuration file.

use std::net::SocketAddr;
use std::path::Path;

use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shell::cli::Telemetry;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

/// The sample with every key.
pub(crate) const COMPLETE_SAMPLE: &str = include_str!("../samples/complete.toml");

/// `witness.toml`. The sample explains each key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The TCP address it listens on.
    pub listen: SocketAddr,
    /// The verifier keys of the logs it knows.
    pub logs: Vec<String>,
    /// The program's own log.
    #[serde(default)]
    pub telemetry: Telemetry,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// A sentence naming the file, the line and key, and what to write.
    pub fn load(path: &Path) -> Result<Self, Complaint> {
        seinhuis_shell::config::load(path, COMPLETE_SAMPLE)
    }

    /// The logs.
    ///
    /// # Errors
    /// A sentence naming the key that is none, or that there is one origin twice.
    pub fn keys(&self) -> Result<Vec<VerifierKey>, Complaint> {
        let mut keys: Vec<VerifierKey> = Vec::new();
        for text in &self.logs {
            let key = text.parse::<VerifierKey>().map_err(|error| wrong(text, &error.to_string()))?;
            if keys.iter().any(|known| known.name() == key.name()) {
                return Err(wrong(text, "its log stands there twice"));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

fn wrong(text: &str, error: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De sleutel {text:?} in logs is niet bruikbaar: {error}"),
            format!("The key {text:?} in logs cannot be used: {error}"),
        ),
        Text::new(
            "Neem log_key over uit de kaart van de broker (broker.json).",
            "Take over log_key from the broker's card (broker.json).",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_right_and_a_log_stands_there_once() {
        let config: Config =
            seinhuis_shell::config::parse("witness.toml", COMPLETE_SAMPLE, COMPLETE_SAMPLE).unwrap();
        assert_eq!(config.keys().unwrap().len(), 1);
        let twice = Config { logs: vec![config.logs[0].clone(); 2], ..config.clone() };
        assert!(twice.keys().unwrap_err().what.en.contains("twice"));
        let none = Config { logs: vec!["x".into()], ..config };
        assert!(none.keys().is_err());
    }
}
