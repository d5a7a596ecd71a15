//! `[console]` of the configuration.

use std::net::SocketAddr;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

use super::acts::NAMES;
use super::{Certificates, Oidc};

/// Where the console is. The complete sample explains each key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A loopback address with a port, or empty for none.
    pub listen: String,
    /// How browsers reach it through the organisation's own web server: `https://` and a name; empty when they do not.
    pub origin: String,
    /// Whether people sign in with accounts of the broker's own.
    pub local: bool,
    /// Acts that two people do: one asks, another agrees. By their names in the book of the console.
    pub four_eyes: Vec<String>,
    /// The OpenID provider at which they sign in besides.
    pub oidc: Oidc,
    /// Where they come with certificates.
    pub certificates: Certificates,
}

impl Default for Settings {
    fn default() -> Self {
        let (listen, origin) = (String::new(), String::new());
        let (four_eyes, oidc, certificates) = (Vec::new(), Oidc::default(), Certificates::default());
        Self { listen, origin, local: true, four_eyes, oidc, certificates }
    }
}

impl Settings {
    /// The address of `listen`; none when it is empty.
    ///
    /// # Errors
    /// A sentence when it is no address of this machine itself: what is shown here is not encrypted on its way.
    pub fn address(&self) -> Result<Option<SocketAddr>, Complaint> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let address = self.listen.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
        address.map(Some).ok_or_else(|| {
            Complaint::usage(
                Text::new(
                    format!("console.listen {:?} is geen loopback-adres met poort.", self.listen),
                    format!("console.listen {:?} is no loopback address with a port.", self.listen),
                ),
                Text::new(
                    "Schrijf bijvoorbeeld 127.0.0.1:7490. Voor andere machines: zet een eigen webserver met TLS ervoor en noem die in console.origin, of vul [console.certificates] in.",
                    "Write for instance 127.0.0.1:7490. For other machines: put a web server of your own with TLS in front and name it in console.origin, or fill in [console.certificates].",
                ),
            )
        })
    }

    /// The origin of `origin`; none when it is empty.
    ///
    /// # Errors
    /// A sentence when it is no `https://` with a name and perhaps a port.
    pub(crate) fn origin(&self) -> Result<Option<String>, Complaint> {
        if self.origin.is_empty() {
            return Ok(None);
        }
        is_origin(&self.origin).then(|| Some(self.origin.clone())).ok_or_else(|| {
            Complaint::usage(
                Text::new(
                    format!("console.origin {:?} kan niet.", self.origin),
                    format!("console.origin {:?} is not possible.", self.origin),
                ),
                Text::new(
                    "Schrijf https:// en de naam waaronder browsers de console bereiken, met de poort als die niet 443 is, zonder pad, in kleine letters.",
                    "Write https:// and the name under which browsers reach the console, with the port unless it is 443, without a path, in lower case.",
                ),
            )
        })
    }

    /// # Errors
    /// As [`Settings::address`], for `origin`, for what is known of the provider, and for the listener for certificates.
    pub(crate) fn check(&self) -> Result<(), Complaint> {
        self.address()?;
        self.origin()?;
        let unknown = self.four_eyes.iter().find(|name| !NAMES.contains(&name.as_str()));
        if let Some(name) = unknown {
            let names = NAMES.join(", ");
            return Err(Complaint::usage(
                Text::new(
                    format!("console.four_eyes noemt {name:?}; zo'n daad is er niet."),
                    format!("console.four_eyes names {name:?}; there is no such act."),
                ),
                Text::new(format!("Kies uit: {names}."), format!("Choose from: {names}.")),
            ));
        }
        self.certificates.place()?;
        self.oidc.check()
    }
}

/// Whether a text is `https://` with a name and perhaps a port, as browsers write it: they leave the usual one out.
pub(super) fn is_origin(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | ':');
    let right = |name: &str| !name.is_empty() && name.chars().all(plain) && !name.ends_with(":443");
    text.strip_prefix("https://").is_some_and(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, origin: &str) -> Settings {
        Settings { listen: listen.into(), origin: origin.into(), ..Settings::default() }
    }

    #[test]
    fn the_console_listens_on_this_machine_alone() {
        assert_eq!(settings("", "").address().unwrap(), None);
        assert!(settings("127.0.0.1:7490", "").address().unwrap().is_some());
        assert!(settings("[::1]:7490", "").address().unwrap().is_some());
        for wrong in ["0.0.0.0:7490", "192.0.2.1:7490", "127.0.0.1", "localhost:7490", "x"] {
            assert!(settings(wrong, "").check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn acts_for_two_people_are_named_as_the_book_names_them() {
        let of = |names: &[&str]| {
            let four_eyes = names.iter().map(|name| (*name).to_owned()).collect();
            Settings { four_eyes, ..Settings::default() }.check()
        };
        assert!(of(&NAMES).is_ok() && of(&[]).is_ok());
        assert!(of(&["partner-revoke", "revoke"]).unwrap_err().what.en.contains("\"revoke\""));
    }

    #[test]
    fn an_origin_is_https_and_a_name() {
        assert_eq!(
            settings("", "https://console.example").origin().unwrap().unwrap(),
            "https://console.example"
        );
        assert!(settings("", "https://console.example:8443").check().is_ok());
        for wrong in [
            "http://console.example",
            "console.example",
            "https://",
            "https://a/b",
            "https://A.example",
            "https://a.example:443",
        ] {
            assert!(settings("", wrong).check().is_err(), "{wrong}");
        }
    }
}
