//! The agent's configuration file.

mod folder;
mod sql;
mod subjects;
mod takers;
mod webhook;

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use seinhuis_agent_core::carrier::Fallback;
use seinhuis_journal::Options;
use seinhuis_shared::ids::Oin;
use seinhuis_shell::cli::Telemetry;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::enrolment::check_name;
use seinhuis_shell::grant::is_place;
use seinhuis_shell::lang::Text;
use seinhuis_shell::otlp::{self, Encoding};
use seinhuis_shell::renewal;
use seinhuis_shell::room::{KEEP_FREE_MAX_MIB, KEEP_FREE_MIB, Keeper};
use seinhuis_shell::tls::Kx;
use serde::Deserialize;

pub use self::folder::Folder;
pub(crate) use self::folder::overlap;
pub use self::sql::Sql;
pub use self::subjects::Subjects;
use self::takers::Taker;
pub use self::webhook::Webhook;
use crate::ways::{api, page};

/// The sample with every key, commented: the list of known keys and the manual in one.
pub const COMPLETE_SAMPLE: &str = include_str!("../samples/complete.toml");
/// The sample with only what has to be filled in.
pub const BASIC_SAMPLE: &str = include_str!("../samples/basic.toml");

/// `agent.toml`. The complete sample explains each key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This organisation.
    pub oin: Oin,
    /// Its name as people know it.
    pub name: String,
    /// Transport settings.
    #[serde(default)]
    pub transport: Transport,
    /// The program's own log.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Storage settings.
    #[serde(default)]
    pub store: Store,
    /// This organisation's log of processings.
    #[serde(default)]
    pub ldv: Ldv,
    /// Renewing the certificate.
    #[serde(default)]
    pub renewal: renewal::Settings,
    /// The rights of data subjects.
    #[serde(default)]
    pub subjects: Subjects,
    /// The local HTTP API.
    #[serde(default)]
    pub api: api::Settings,
    /// The page for people.
    #[serde(default)]
    pub page: page::Settings,
    /// Folders in which files are left to be sent, or put as they come in.
    #[serde(default)]
    pub folder: Vec<Folder>,
    /// Applications that are told of what came in.
    #[serde(default)]
    pub webhook: Vec<Webhook>,
    /// Queries of which each row becomes a signal.
    #[serde(default)]
    pub sql: Vec<Sql>,
}

/// `[transport]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transport {
    /// `host:port`, or empty for the card's address.
    pub broker: String,
    /// The local address.
    pub bind: SocketAddr,
    /// Key exchange.
    pub key_exchange: Kx,
    /// Whether several datagrams may leave in one system call (GSO).
    pub segmentation_offload: bool,
    /// Whether the broker may be reached over TCP.
    pub fallback: Fallback,
    /// `host:port` over TCP, or empty for the card's.
    pub fallback_broker: String,
    /// After how many seconds on TCP QUIC is tried again for the first time.
    pub quic_again: u64,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            broker: String::new(),
            bind: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            key_exchange: Kx::Hybrid,
            segmentation_offload: true,
            fallback: Fallback::Auto,
            fallback_broker: String::new(),
            quic_again: 300,
        }
    }
}

impl Transport {
    fn check(&self) -> Result<(), Complaint> {
        for (key, place) in
            [("transport.broker", &self.broker), ("transport.fallback_broker", &self.fallback_broker)]
        {
            if !place.is_empty() && !is_place(place) {
                return Err(Complaint::usage(
                    Text::new(
                        format!("{key} {place:?} is geen host:poort."),
                        format!("{key} {place:?} is not host:port."),
                    ),
                    Text::new(
                        "Schrijf bijvoorbeeld broker.voorbeeld.nl:7443, of laat het leeg.",
                        "Write for instance broker.example.nl:7443, or leave it empty.",
                    ),
                ));
            }
        }
        if (1..=3600).contains(&self.quic_again) {
            return Ok(());
        }
        Err(Complaint::usage(
            Text::new(
                "transport.quic_again moet 1 tot 3600 zijn.",
                "transport.quic_again must be 1 to 3600.",
            ),
            Text::new("Gebruik 300, de standaardwaarde.", "Use 300, the default."),
        ))
    }
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Length of a journal segment in MiB.
    pub segment_mib: u64,
    /// How often the index follows the journal, in milliseconds.
    pub index_interval_ms: u64,
    /// Room that is kept free on the disk, in MiB; 0 for none.
    pub keep_free_mib: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { segment_mib: 16, index_interval_ms: 1000, keep_free_mib: KEEP_FREE_MIB }
    }
}

impl Store {
    /// The settings as the journal takes them.
    pub fn options(&self) -> Options {
        Options {
            segment_bytes: self.segment_mib.saturating_mul(1 << 20),
            index_interval: Duration::from_millis(self.index_interval_ms),
            ..Options::default()
        }
    }

    /// Who looks after the room on the disk of the store in `dir`.
    pub fn keeper(&self, dir: &Path) -> Keeper {
        Keeper::new(self.keep_free_mib, vec![dir.to_path_buf()])
    }
}

/// `[ldv]`: where the processings of this organisation are logged (Logboek Dataverwerkingen).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ldv {
    /// Where spans go (OTLP over HTTP), or empty for nowhere.
    pub endpoint: String,
    /// How they are written.
    pub encoding: Encoding,
    /// A PEM file with the authorities that are trusted, or empty for those of the machine.
    pub authorities: String,
    /// The name of this system in the log.
    pub service_name: String,
    /// The processing activity in the organisation's register, as a URI, for flows that have none below; empty for
    /// the covenant's flow.
    pub processing_activity: String,
    /// The processing activity for each flow.
    pub activities: BTreeMap<String, String>,
    /// The web page of each partner, by OIN.
    pub partners: BTreeMap<String, String>,
    /// Most messages that wait to be logged.
    pub queue: usize,
    /// Whether nothing is processed that cannot be logged.
    pub required: bool,
}

impl Default for Ldv {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            encoding: Encoding::Protobuf,
            authorities: String::new(),
            service_name: "seinhuis-agent".to_owned(),
            processing_activity: String::new(),
            activities: BTreeMap::new(),
            partners: BTreeMap::new(),
            queue: 10_000,
            required: true,
        }
    }
}

impl Ldv {
    /// Whether processings are logged.
    pub const fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }

    fn check(&self) -> Result<(), Complaint> {
        if self.is_on() {
            otlp::check("ldv.endpoint", &self.endpoint)?;
        }
        if !(1..=1_000_000).contains(&self.queue) {
            return Err(Complaint::usage(
                Text::new("ldv.queue moet 1 tot 1000000 zijn.", "ldv.queue must be 1 to 1000000."),
                Text::new("Gebruik 10000, de standaardwaarde.", "Use 10000, the default."),
            ));
        }
        let uris = self
            .activities
            .values()
            .chain(self.partners.values())
            .chain(Some(&self.processing_activity).filter(|own| !own.is_empty()));
        for uri in uris {
            let plain = uri.bytes().all(|byte| byte.is_ascii_graphic());
            if !plain || uri.len() > 512 || !uri.contains(':') {
                return Err(Complaint::usage(
                    Text::new(
                        format!("{uri:?} in [ldv] is geen URI."),
                        format!("{uri:?} in [ldv] is no URI."),
                    ),
                    Text::new(
                        "Schrijf een URI, zoals https://register.voorbeeld.nl/verwerkingen/12.",
                        "Write a URI, such as https://register.example.nl/processings/12.",
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// A sentence with file, line and key.
    pub fn load(path: &Path) -> Result<Self, Complaint> {
        let config: Self = seinhuis_shell::config::load(path, COMPLETE_SAMPLE)?;
        config.check().map_err(|complaint| complaint.about(&path.display().to_string()))?;
        Ok(config)
    }

    /// Reads a configuration text; `name` is what the sentences call it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self, Complaint> {
        let config: Self = seinhuis_shell::config::parse(name, text, COMPLETE_SAMPLE)?;
        config.check().map_err(|complaint| complaint.about(name))?;
        Ok(config)
    }

    /// What takes messages over.
    fn takers(&self) -> Vec<Taker<'_>> {
        let folders = self.folder.iter().filter(|folder| folder.consume && folder.filled().is_some());
        let folders = folders.map(|folder| ("[[folder]]", &folder.name, &folder.flows));
        let webhooks = self.webhook.iter().filter(|webhook| webhook.consume && webhook.is_on());
        let webhooks = webhooks.map(|webhook| ("[[webhook]]", &webhook.name, &webhook.flows));
        folders.chain(webhooks).map(|(table, name, flows)| Taker { table, name, flows }).collect()
    }

    fn check(&self) -> Result<(), Complaint> {
        check_name(&self.name)?;
        self.ldv.check()?;
        self.transport.check()?;
        self.renewal.check()?;
        self.api.check()?;
        self.page.check()?;
        folder::check(&self.folder)?;
        webhook::check(&self.webhook)?;
        takers::check(&self.takers())?;
        sql::check(&self.sql)?;
        if !(1..=1024).contains(&self.store.segment_mib) {
            return Err(Complaint::usage(
                Text::new("store.segment_mib moet 1 tot 1024 zijn.", "store.segment_mib must be 1 to 1024."),
                Text::new("Gebruik 16, de standaardwaarde.", "Use 16, the default."),
            ));
        }
        if !(10..=60_000).contains(&self.store.index_interval_ms) {
            return Err(Complaint::usage(
                Text::new(
                    "store.index_interval_ms moet 10 tot 60000 zijn.",
                    "store.index_interval_ms must be 10 to 60000.",
                ),
                Text::new("Gebruik 1000, de standaardwaarde.", "Use 1000, the default."),
            ));
        }
        if self.store.keep_free_mib > KEEP_FREE_MAX_MIB {
            return Err(Complaint::usage(
                Text::new(
                    "store.keep_free_mib moet 0 tot 1048576 zijn.",
                    "store.keep_free_mib must be 0 to 1048576.",
                ),
                Text::new("Gebruik 256, de standaardwaarde.", "Use 256, the default."),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_valid_and_say_the_defaults() {
        let basic = Config::parse("basic.toml", BASIC_SAMPLE).unwrap();
        let mut complete = Config::parse("complete.toml", COMPLETE_SAMPLE).unwrap();
        let (folders, webhooks) =
            (std::mem::take(&mut complete.folder), std::mem::take(&mut complete.webhook));
        assert_eq!(folders, [Folder { name: "voorbeeld".into(), ..Folder::default() }]);
        assert_eq!(webhooks, [Webhook { name: "voorbeeld".into(), ..Webhook::default() }]);
        let sql = std::mem::take(&mut complete.sql);
        let filled = [&sql[0].host, &sql[0].database, &sql[0].user].iter().all(|text| !text.is_empty());
        assert!(filled && sql.len() == 1);
        let Sql { every_s, late_s, timeout_s, rows, mark, port, .. } = Sql::default();
        let said = &sql[0];
        assert_eq!(
            (said.every_s, said.late_s, said.timeout_s, said.rows),
            (every_s, late_s, timeout_s, rows)
        );
        assert_eq!((&said.mark, said.port), (&mark, port));
        assert_eq!(basic, complete);
    }

    #[test]
    fn mistakes_are_told_with_place_and_fix() {
        let with = |more: &str| Config::parse("agent.toml", &format!("{BASIC_SAMPLE}{more}")).unwrap_err();
        let error = with("[transport]\nborker = \"x:1\"\n");
        assert!(error.what.en.contains("line 6") && error.advice.en.contains("broker"), "{error}");
        assert!(with("[transport]\nbroker = \"example\"\n").what.en.contains("host:port"));
        assert!(with("[transport]\nbroker = \"example:0\"\n").what.en.contains("host:port"));
        assert!(with("[transport]\nfallback_broker = \"example\"\n").what.en.contains("fallback_broker"));
        assert!(with("[transport]\nfallback = \"maybe\"\n").what.en.contains("fallback"));
        for wrong in [0, 3601] {
            let error = with(&format!("[transport]\nquic_again = {wrong}\n"));
            assert!(error.what.en.contains("quic_again"), "{error}");
        }
        assert!(with("[store]\nsegment_mib = 0\n").what.en.contains("segment_mib"));
        assert!(with("[store]\nsegment_mib = 1025\n").what.en.contains("segment_mib"));
        for wrong in [0, 9, 60_001] {
            let error = with(&format!("[store]\nindex_interval_ms = {wrong}\n"));
            assert!(error.what.en.contains("index_interval_ms"), "{error}");
        }
        assert!(with("[store]\nkeep_free_mib = 1048577\n").what.en.contains("keep_free_mib"));
        for (wrong, said) in [
            ("endpoint = \"http://log.example/v1/traces\"", "ldv.endpoint"),
            ("queue = 0", "ldv.queue"),
            ("processing_activity = \"geen uri\"", "no URI"),
            ("activities = { F01 = \"x\" }", "no URI"),
        ] {
            assert!(with(&format!("[ldv]\n{wrong}\n")).what.en.contains(said), "{wrong}");
        }
        for wrong in ["0.0.0.0:7480", "192.0.2.1:7480", "[::]:7480", "localhost:7480", "127.0.0.1", "7480"] {
            assert!(with(&format!("[api]\nlisten = {wrong:?}\n")).what.en.contains("api.listen"), "{wrong}");
        }
        for wrong in ["0.0.0.0:7481", "[::]:7481", "localhost:7481", "7481"] {
            assert!(
                with(&format!("[page]\nlisten = {wrong:?}\n")).what.en.contains("page.listen"),
                "{wrong}"
            );
        }
        assert!(with("[transport]\nkey_exchange = \"rsa\"\n").what.en.contains("key_exchange"));
        assert!(
            Config::parse("agent.toml", "oin = \"1\"\nname = \"x\"\n").unwrap_err().what.en.contains("oin")
        );
    }
}
