//! `[console.certificates]` of the configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

use crate::console::settings::is_origin;

/// Where people come with certificates, and whose count. The complete sample explains each key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// An address with a port; empty when nobody comes so.
    pub listen: String,
    /// How browsers reach it: `https://`, a name and perhaps a port.
    pub origin: String,
    /// The PEM file with the certificate that browsers are shown, and those between it and its authority.
    pub certificate: PathBuf,
    /// The PEM file with its private key.
    pub key: PathBuf,
    /// The PEM file with the authorities whose certificates let people in.
    pub authorities: PathBuf,
    /// The PEM file with their revocation lists; empty for none.
    pub revocations: PathBuf,
}

/// Where it listens, and how browsers call that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::console) struct Place {
    pub(in crate::console) address: SocketAddr,
    pub(in crate::console) origin: String,
}

impl Settings {
    /// Where people come with certificates; nowhere when nothing is filled in.
    ///
    /// # Errors
    /// A sentence naming the key and what to write.
    pub(in crate::console) fn place(&self) -> Result<Option<Place>, Complaint> {
        if *self == Self::default() {
            return Ok(None);
        }
        let there = |path: &Path| !path.as_os_str().is_empty();
        let (key, nl, en) = match self.listen.parse::<SocketAddr>() {
            Err(_) => (
                "listen",
                "een adres met poort, zoals 192.0.2.7:7491",
                "an address with a port, such as 192.0.2.7:7491",
            ),
            Ok(_) if !is_origin(&self.origin) => (
                "origin",
                "https:// en de naam waaronder browsers de console hier bereiken, met de poort als die niet 443 is, zonder pad, in kleine letters",
                "https:// and the name under which browsers reach the console here, with the port unless it is 443, without a path, in lower case",
            ),
            Ok(_) if !there(&self.certificate) => (
                "certificate",
                "het PEM-bestand met het certificaat van deze naam",
                "the PEM file with the certificate of this name",
            ),
            Ok(_) if !there(&self.key) => (
                "key",
                "het PEM-bestand met de sleutel van dat certificaat",
                "the PEM file with the key of that certificate",
            ),
            Ok(_) if !there(&self.authorities) => (
                "authorities",
                "het PEM-bestand met de autoriteiten die certificaten aan mensen geven",
                "the PEM file with the authorities that give certificates to people",
            ),
            Ok(address) => return Ok(Some(Place { address, origin: self.origin.clone() })),
        };
        Err(Complaint::usage(
            Text::new(
                format!("console.certificates.{key} ontbreekt of kan niet."),
                format!("console.certificates.{key} is missing or not possible."),
            ),
            Text::new(format!("Schrijf {nl}."), format!("Write {en}.")),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(change: impl FnOnce(&mut Settings)) -> Result<Option<Place>, Complaint> {
        let mut settings = Settings {
            listen: "192.0.2.7:7491".into(),
            origin: "https://console.example:7491".into(),
            certificate: "console.pem".into(),
            key: "console.key".into(),
            authorities: "people.pem".into(),
            revocations: PathBuf::new(),
        };
        change(&mut settings);
        settings.place()
    }

    #[test]
    fn the_listener_for_certificates_is_named_whole_or_not_at_all() {
        assert_eq!(Settings::default().place().unwrap(), None);
        let place = placed(|_| ()).unwrap().unwrap();
        assert_eq!((place.address.port(), place.origin.as_str()), (7491, "https://console.example:7491"));
        let wrong = |key: &str, change: fn(&mut Settings)| {
            let complaint = placed(change).unwrap_err();
            assert!(
                complaint.what.en.contains(&format!("console.certificates.{key} ")),
                "{}",
                complaint.what.en
            );
        };
        wrong("listen", |settings| settings.listen = String::new());
        wrong("listen", |settings| settings.listen = "console.example:7491".into());
        wrong("origin", |settings| settings.origin = "http://console.example".into());
        wrong("certificate", |settings| settings.certificate = PathBuf::new());
        wrong("key", |settings| settings.key = PathBuf::new());
        wrong("authorities", |settings| settings.authorities = PathBuf::new());
        wrong("listen", |settings| {
            *settings = Settings { revocations: "crl.pem".into(), ..Settings::default() };
        });
    }
}
