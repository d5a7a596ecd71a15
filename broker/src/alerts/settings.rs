//! `[alerts]` of the configuration.

use std::path::PathBuf;

use lettre::Address;
use seinhuis_monitor::alarms::Limits;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::is_place;
use seinhuis_shell::http::{self, Http};
use seinhuis_shell::lang::Text;
use serde::Deserialize;

/// Most people that mail goes to.
const TO_MAX: usize = 20;

/// `[alerts]`: what the operator is told of by itself, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// By mail.
    pub mail: MailSettings,
    /// By webhook.
    pub webhook: WebhookSettings,
    /// From where on something is wrong.
    pub limits: Limits,
}

/// How the mail relay is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// It begins in the clear, and nothing is said before TLS (RFC 3207).
    #[default]
    Starttls,
    /// From the first byte on (RFC 8314).
    #[serde(rename = "tls")]
    Implicit,
    /// In the clear, for a relay on this machine.
    None,
}

/// `[alerts.mail]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailSettings {
    /// The relay, `host:port`; no mail when empty.
    pub relay: String,
    /// How it is spoken to.
    pub tls: Tls,
    /// A PEM file with the authorities that are trusted; those of the machine when empty.
    pub ca: PathBuf,
    /// The user at the relay; none when empty.
    pub user: String,
    /// The file with its password.
    pub password: PathBuf,
    /// From whom.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

impl MailSettings {
    /// Whether mail is sent.
    pub const fn is_on(&self) -> bool {
        !self.relay.is_empty()
    }

    /// Host and port of the relay.
    pub(super) fn place(&self) -> Option<(&str, u16)> {
        let (host, port) = self.relay.rsplit_once(':').filter(|_| is_place(&self.relay))?;
        Some((host.trim_matches(['[', ']']), port.parse().ok()?))
    }
}

/// `[alerts.webhook]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSettings {
    /// Where alarms are posted; nowhere when empty.
    pub url: String,
    /// A PEM file with the authorities that are trusted; those of the machine when empty.
    pub ca: PathBuf,
    /// How long an answer may take, in seconds.
    pub timeout_s: u64,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self { url: String::new(), ca: PathBuf::new(), timeout_s: 10 }
    }
}

impl WebhookSettings {
    /// Whether alarms are posted.
    pub const fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// The host, for people: the address may hold a secret.
    pub(super) fn host(&self) -> String {
        http::host(&self.url).unwrap_or_default()
    }
}

/// Whether a host is this machine itself.
fn is_loopback(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback())
}

impl Settings {
    /// Checks what the file says.
    ///
    /// # Errors
    /// A sentence that names the first value that is not possible, and says what it has to be.
    pub(crate) fn check(&self) -> Result<(), Complaint> {
        let wrong = self.mail_wrong().or_else(|| self.webhook_wrong()).or_else(|| self.limits.wrong());
        wrong.map_or(Ok(()), |(key, nl, en)| {
            Err(Complaint::usage(
                Text::new(
                    format!("De waarde van {key} kan niet."),
                    format!("The value of {key} is not possible."),
                ),
                Text::new(format!("Geef {key}: {nl}."), format!("Give {key}: {en}.")),
            ))
        })
    }

    fn mail_wrong(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let mail = &self.mail;
        if !mail.is_on() {
            return None;
        }
        let Some((host, _)) = mail.place() else {
            return Some(("alerts.mail.relay", "host:poort", "host:port"));
        };
        let address = |text: &String| text.is_ascii() && text.parse::<Address>().is_ok();
        if mail.tls == Tls::None && !is_loopback(host) {
            Some((
                "alerts.mail.tls",
                "starttls of tls; none kan alleen voor een relay op deze machine",
                "starttls or tls; none is only possible for a relay on this machine",
            ))
        } else if mail.user.is_empty() != mail.password.as_os_str().is_empty() {
            Some((
                "alerts.mail.password",
                "samen met user, of geen van beide",
                "together with user, or neither",
            ))
        } else if !address(&mail.from) {
            Some(("alerts.mail.from", "een mailadres", "a mail address"))
        } else if mail.to.is_empty() || mail.to.len() > TO_MAX || !mail.to.iter().all(address) {
            Some(("alerts.mail.to", "1 tot 20 mailadressen", "1 to 20 mail addresses"))
        } else {
            None
        }
    }

    fn webhook_wrong(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let webhook = &self.webhook;
        if webhook.is_on() && Http::check(&webhook.url).is_err() {
            Some((
                "alerts.webhook.url",
                "https://…, of http://127.0.0.1… voor deze machine zelf",
                "https://…, or http://127.0.0.1… for this machine itself",
            ))
        } else if !(1..=300).contains(&webhook.timeout_s) {
            Some(("alerts.webhook.timeout_s", "1 tot 300", "1 to 300"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> MailSettings {
        MailSettings {
            relay: "mail.example:587".into(),
            from: "seinhuis@stad.example".into(),
            to: vec!["beheer@stad.example".into()],
            ..MailSettings::default()
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let wrong = |mail, webhook| {
            let settings = Settings { mail, webhook, limits: Limits::default() };
            settings.check().err().map(|complaint| complaint.what.en)
        };
        let hook = |url: &str, timeout_s| WebhookSettings {
            url: url.into(),
            timeout_s,
            ..WebhookSettings::default()
        };
        assert_eq!(wrong(mail(), hook("https://x.example/y", 10)), None);
        let local = MailSettings { relay: "[::1]:25".into(), tls: Tls::None, ..mail() };
        assert_eq!(wrong(local, WebhookSettings::default()), None);
        for (mail, key) in [
            (MailSettings { relay: "mail.example".into(), ..mail() }, "alerts.mail.relay"),
            (MailSettings { tls: Tls::None, ..mail() }, "alerts.mail.tls"),
            (MailSettings { user: "x".into(), ..mail() }, "alerts.mail.password"),
            (MailSettings { password: "x".into(), ..mail() }, "alerts.mail.password"),
            (MailSettings { from: "nobody".into(), ..mail() }, "alerts.mail.from"),
            (MailSettings { from: "Seinhuis <seinhuis@stad.example>".into(), ..mail() }, "alerts.mail.from"),
            (MailSettings { from: "a@b.example\r\nBcc: c@d.example".into(), ..mail() }, "alerts.mail.from"),
            (MailSettings { to: vec![], ..mail() }, "alerts.mail.to"),
            (MailSettings { to: vec!["x".into()], ..mail() }, "alerts.mail.to"),
            (MailSettings { to: vec!["a@b.example".into(); 21], ..mail() }, "alerts.mail.to"),
        ] {
            assert!(wrong(mail, WebhookSettings::default()).unwrap().contains(key), "{key}");
        }
        for (url, timeout, key) in [
            ("http://x.example/", 10, "alerts.webhook.url"),
            ("https://user:pass@x.example/", 10, "alerts.webhook.url"),
            ("https://x.example/", 0, "alerts.webhook.timeout_s"),
            ("", 301, "alerts.webhook.timeout_s"),
        ] {
            assert!(wrong(mail(), hook(url, timeout)).unwrap().contains(key), "{key}");
        }
    }
}
