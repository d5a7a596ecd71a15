//! `[[webhook]]`: an application of the organisation's own that is told of what came in, over HTTPS.

use std::collections::BTreeSet;
use std::path::PathBuf;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::http;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

/// Most webhooks of one agent: each has a thread while it waits for its receiver.
const WEBHOOKS_MAX: usize = 16;
/// Most bytes of an address.
const URL_MAX: usize = 2048;

/// One of `[[webhook]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// What the agent calls it.
    pub name: String,
    /// Where deliveries are told, or empty for nowhere.
    pub url: String,
    /// A PEM file with the authorities that are trusted there, from the agent's folder on, or empty for those of the machine.
    pub ca: PathBuf,
    /// The flows whose deliveries are told; all when empty.
    pub flows: BTreeSet<String>,
    /// Whether the body of a message goes along.
    pub content: bool,
    /// Whether a message that the receiver took counts as taken over.
    pub consume: bool,
    /// How long an answer may take, in seconds.
    pub timeout_s: u64,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            ca: PathBuf::new(),
            flows: BTreeSet::new(),
            content: false,
            consume: false,
            timeout_s: 10,
        }
    }
}

impl Webhook {
    /// Whether it leads anywhere.
    pub const fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// The machine it leads to: of the address that is told where everything else of it may be secret.
    pub fn host(&self) -> String {
        http::host(&self.url).unwrap_or_default()
    }

    fn check(&self) -> Result<(), Complaint> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Err(Complaint::usage(
                Text::new(
                    format!("webhook.name {:?} kan niet.", self.name),
                    format!("webhook.name {:?} cannot be.", self.name),
                ),
                Text::new(
                    "Geef elke [[webhook]] een naam van 1 tot 32 tekens a-z, 0-9 en -.",
                    "Give each [[webhook]] a name of 1 to 32 characters a-z, 0-9 and -.",
                ),
            ));
        }
        if self.is_on() && (self.url.len() > URL_MAX || http::host(&self.url).is_none()) {
            return Err(not_safe(&self.name));
        }
        if !(1..=60).contains(&self.timeout_s) {
            return Err(Complaint::usage(
                Text::new("webhook.timeout_s moet 1 tot 60 zijn.", "webhook.timeout_s must be 1 to 60."),
                Text::new("Gebruik 10, de standaardwaarde.", "Use 10, the default."),
            ));
        }
        if self.consume && !self.content {
            return Err(Complaint::usage(
                Text::new(
                    format!("webhook {:?} heeft consume = true zonder content = true.", self.name),
                    format!("webhook {:?} has consume = true without content = true.", self.name),
                ),
                Text::new(
                    "Wie alleen hoort dat er iets is, heeft het nog niet overgenomen: zet content = true, of laat de toepassing het zelf melden (docs/api.md).",
                    "Who is only told that there is something has not taken it over: set content = true, or have the application report it itself (docs/api.md).",
                ),
            ));
        }
        Ok(())
    }
}

/// The address is not repeated: it may hold a secret of the receiver.
fn not_safe(name: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("webhook.url van {name:?} is geen adres waar dit heen mag."),
            format!("webhook.url of {name:?} is no address that this may go to."),
        ),
        Text::new(
            "Schrijf https://…, of http://127.0.0.1… voor deze machine zelf, zonder gebruikersnaam of wachtwoord erin.",
            "Write https://…, or http://127.0.0.1… for this machine itself, with no user name or password in it.",
        ),
    )
}

/// Whether these webhooks can be used beside one another.
pub(super) fn check(webhooks: &[Webhook]) -> Result<(), Complaint> {
    if webhooks.len() > WEBHOOKS_MAX {
        return Err(Complaint::usage(
            Text::new(
                format!("Er zijn meer dan {WEBHOOKS_MAX} [[webhook]]."),
                format!("There are more than {WEBHOOKS_MAX} [[webhook]]."),
            ),
            Text::new(
                "Laat één toepassing de rest verder vertellen.",
                "Have one application tell the others.",
            ),
        ));
    }
    for (at, webhook) in webhooks.iter().enumerate() {
        webhook.check()?;
        if webhooks.iter().take(at).any(|other| other.name == webhook.name) {
            return Err(Complaint::usage(
                Text::new(
                    format!("Twee [[webhook]] heten {:?}.", webhook.name),
                    format!("Two [[webhook]] are called {:?}.", webhook.name),
                ),
                Text::new("Geef elk een eigen naam.", "Give each a name of its own."),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{BASIC_SAMPLE, Config};

    fn parse(more: &str) -> Result<Config, String> {
        Config::parse("agent.toml", &format!("{BASIC_SAMPLE}{more}")).map_err(|error| error.what.en)
    }

    const GOOD: &str = "[[webhook]]\nname = \"a\"\nurl = \"https://zaken.example/hook\"\n";

    #[test]
    fn webhooks_are_read_and_mistakes_are_told() {
        let config = parse(GOOD).unwrap();
        assert_eq!((config.webhook.len(), config.webhook[0].host().as_str()), (1, "zaken.example"));
        assert!(
            !config.webhook[0].content && !config.webhook[0].consume,
            "no content unless it is asked for"
        );
        for (wrong, said) in [
            ("", "webhook.name"),
            ("name = \"A b\"", "webhook.name"),
            ("name = \"a\"\ntimeout_s = 0", "timeout_s"),
            ("name = \"a\"\ntimeout_s = 61", "timeout_s"),
            ("name = \"a\"\nconsume = true", "without content"),
            ("name = \"a\"\nuri = \"x\"", "uri"),
        ] {
            let error = parse(&format!("[[webhook]]\n{wrong}\n")).unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
        assert!(parse(&GOOD.repeat(2)).unwrap_err().contains("are called"));
        let many: Vec<String> = (0..17).map(|at| format!("[[webhook]]\nname = \"a{at}\"\n")).collect();
        assert!(parse(&many.concat()).unwrap_err().contains("more than"));
    }

    #[test]
    fn nothing_goes_over_a_network_unencrypted_and_a_secret_in_an_address_is_not_repeated() {
        for wrong in [
            "http://zaken.example/geheim",
            "http://192.0.2.1/geheim",
            "http://127.0.0.1.example/geheim",
            "https://wie:geheim@zaken.example/",
            "ftp://127.0.0.1/geheim",
            "zaken.example/geheim",
            &format!("https://zaken.example/geheim{}", "x".repeat(2048)),
        ] {
            let error = parse(&format!("[[webhook]]\nname = \"a\"\nurl = \"{wrong}\"\n")).unwrap_err();
            assert!(error.contains("webhook.url") && !error.contains("geheim"), "{wrong}: {error}");
        }
        for good in ["http://127.0.0.1:8080/x", "http://[::1]:1/", "http://localhost/", "https://192.0.2.1/"]
        {
            assert!(parse(&format!("[[webhook]]\nname = \"a\"\nurl = \"{good}\"\n")).is_ok(), "{good}");
        }
    }

    #[test]
    fn one_flow_is_taken_over_in_one_place_be_it_a_folder_or_a_webhook() {
        let hook = |more: &str| format!("{GOOD}content = true\nconsume = true\n{more}\n");
        let folder = |more: &str| format!("[[folder]]\nname = \"b\"\nin = \"/b\"\n{more}\n");
        for (one, other) in [("", ""), ("flows = [\"F01\"]", ""), ("flows = [\"F01\"]", "flows = [\"F01\"]")]
        {
            assert!(parse(&(folder(one) + &hook(other))).unwrap_err().contains("same flow"), "{one} {other}");
        }
        assert!(parse(&(folder("flows = [\"F01\"]") + &hook("flows = [\"F02\"]"))).is_ok());
        assert!(parse(&(folder("consume = false") + &hook(""))).is_ok());
        let second = hook("").replace("\"a\"", "\"c\"");
        assert!(parse(&(hook("") + &second)).unwrap_err().contains("same flow"));
        assert!(parse(&(folder("") + GOOD)).is_ok(), "who is told takes nothing over");
    }
}
