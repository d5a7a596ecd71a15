//! The broker's configuration file.

use std::net::SocketAddr;
use std::path::Path;

use seinhuis_broker_core::Rate;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::limits::{
    MAILBOX_BYTES, MAILBOX_PACKETS, QUOTA_BYTES, QUOTA_BYTES_BURST, QUOTA_PACKETS, QUOTA_PACKETS_BURST,
    QUOTA_QUESTIONS, QUOTA_QUESTIONS_BURST, QUOTA_REFUSALS, QUOTA_REFUSALS_BURST, QUOTA_REMEMBERED,
    QUOTA_WORDS, QUOTA_WORDS_BURST,
};
use seinhuis_shell::cli::Telemetry;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::is_place;
use seinhuis_shell::lang::Text;
use seinhuis_shell::renewal;
use seinhuis_shell::room::{KEEP_FREE_MAX_MIB, KEEP_FREE_MIB};
use seinhuis_shell::tls::Kx;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::alerts;
use crate::console;
use crate::traces;

/// The sample with every key, commented: the list of known keys and the manual in one.
pub const COMPLETE_SAMPLE: &str = include_str!("../samples/complete.toml");
/// The sample with only what has to be filled in.
pub const BASIC_SAMPLE: &str = include_str!("../samples/basic.toml");

/// `broker.toml`. The complete sample explains each key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker's name as people know it.
    pub name: String,
    /// The organisation that runs it.
    pub oin: Oin,
    /// The UDP address it listens on.
    pub listen: SocketAddr,
    /// Where agents connect: `host:port`.
    pub advertise: String,
    /// The origin of the first exchange log. One that ends in a year is followed by the next year's by itself.
    pub log_origin: String,
    /// Keeping and checking the exchange logs.
    #[serde(default)]
    pub log: Log,
    /// Publishing the exchange logs.
    #[serde(default)]
    pub publish: Publish,
    /// The console for people.
    #[serde(default)]
    pub console: console::Settings,
    /// Metrics and health for the operator's monitoring.
    #[serde(default)]
    pub metrics: Metrics,
    /// Traces of what passes, for the operator's collector.
    #[serde(default)]
    pub traces: traces::Settings,
    /// Bounds on what waits.
    #[serde(default)]
    pub mailbox: Mailbox,
    /// What each partner may bring.
    #[serde(default)]
    pub quota: Quota,
    /// Transport settings.
    #[serde(default)]
    pub transport: Transport,
    /// The program's own log, not the exchange log.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Storage settings.
    #[serde(default)]
    pub store: Store,
    /// Witnesses of the exchange log.
    #[serde(default)]
    pub witnesses: Witnesses,
    /// Renewing the certificate.
    #[serde(default)]
    pub renewal: renewal::Settings,
    /// Telling the operator what is wrong.
    #[serde(default)]
    pub alerts: alerts::Settings,
}

/// `[mailbox]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mailbox {
    /// Most packets waiting for one recipient.
    pub packets: usize,
    /// Most bytes waiting for one recipient.
    pub bytes: u64,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { packets: MAILBOX_PACKETS, bytes: MAILBOX_BYTES }
    }
}

/// `[quota]`: what each partner may bring before it has to wait.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Packets a second.
    pub packets: u64,
    /// Most packets at once, after a time with less.
    pub packets_burst: u64,
    /// Bytes of packets a second.
    pub bytes: u64,
    /// Most bytes at once, after a time with less.
    pub bytes_burst: u64,
    /// Refusals a minute that are logged.
    pub refusals: u64,
    /// Most refusals at once, after a time with less.
    pub refusals_burst: u64,
    /// Words other than packets a second.
    pub words: u64,
    /// Most such words at once.
    pub words_burst: u64,
    /// Questions a second.
    pub questions: u64,
    /// Most questions at once.
    pub questions_burst: u64,
    /// Most packets whose outcome is remembered.
    pub remembered: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            packets: QUOTA_PACKETS,
            packets_burst: QUOTA_PACKETS_BURST,
            bytes: QUOTA_BYTES,
            bytes_burst: QUOTA_BYTES_BURST,
            refusals: QUOTA_REFUSALS,
            refusals_burst: QUOTA_REFUSALS_BURST,
            words: QUOTA_WORDS,
            words_burst: QUOTA_WORDS_BURST,
            questions: QUOTA_QUESTIONS,
            questions_burst: QUOTA_QUESTIONS_BURST,
            remembered: QUOTA_REMEMBERED,
        }
    }
}

impl Quota {
    /// As the core counts it.
    pub fn of_core(&self) -> seinhuis_broker_core::Quota {
        let rate = |per_minute, burst| Rate { per_minute, burst };
        seinhuis_broker_core::Quota {
            packets: rate(self.packets.saturating_mul(60), self.packets_burst),
            bytes: rate(self.bytes.saturating_mul(60), self.bytes_burst),
            refusals: rate(self.refusals, self.refusals_burst),
            words: rate(self.words.saturating_mul(60), self.words_burst),
            questions: rate(self.questions.saturating_mul(60), self.questions_burst),
            remembered: self.remembered,
        }
    }

    /// The first value that lets nothing through, with what it has to be.
    fn wrong(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let one = |key, value: u64| (value == 0).then_some((key, "minstens 1", "at least 1"));
        let packet = ("quota.bytes_burst", "minstens 2 MiB", "at least 2 MiB");
        one("quota.packets", self.packets)
            .or_else(|| one("quota.packets_burst", self.packets_burst))
            .or_else(|| one("quota.bytes", self.bytes))
            .or_else(|| (self.bytes_burst < 2 * 1024 * 1024).then_some(packet))
            .or_else(|| one("quota.refusals", self.refusals))
            .or_else(|| one("quota.refusals_burst", self.refusals_burst))
            .or_else(|| one("quota.words", self.words))
            .or_else(|| one("quota.words_burst", self.words_burst))
            .or_else(|| one("quota.questions", self.questions))
            .or_else(|| one("quota.questions_burst", self.questions_burst))
            .or_else(|| {
                (self.remembered < 1000).then_some(("quota.remembered", "minstens 1000", "at least 1000"))
            })
    }
}

/// `[transport]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transport {
    /// Key exchange.
    pub key_exchange: Kx,
    /// Most connections that are being set up at one time, over each transport.
    pub max_handshakes: usize,
    /// Whether several datagrams may leave in one system call (GSO).
    pub segmentation_offload: bool,
    /// The TCP address for agents whose network stops UDP; nowhere when empty.
    #[serde(deserialize_with = "address_or_nothing")]
    pub fallback: Option<SocketAddr>,
    /// Where agents find that address, `host:port`; the host of `advertise` with the port of `fallback` when empty.
    pub fallback_advertise: String,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            key_exchange: Kx::Hybrid,
            max_handshakes: 256,
            segmentation_offload: true,
            fallback: None,
            fallback_advertise: String::new(),
        }
    }
}

/// An address, or none for an empty text.
fn address_or_nothing<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

/// Days, or nothing for none.
fn days_or_nothing<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    Ok(Some(u32::deserialize(from)?).filter(|days| *days != 0))
}

/// `[witnesses]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Witnesses {
    /// How old a quorum may become before the operator is warned, in seconds.
    pub warn_after: u64,
    /// How old it may become before packets under its covenant are put off, in seconds; 0 for never.
    pub stop_after: u64,
    /// A PEM file with the authorities that vouch for witnesses that are no party; those of the machine when empty.
    pub authorities: std::path::PathBuf,
}

impl Default for Witnesses {
    fn default() -> Self {
        Self { warn_after: 600, stop_after: 0, authorities: std::path::PathBuf::new() }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Days that texts of entries are kept at least, when that is longer than what every covenant says.
    #[serde(deserialize_with = "days_or_nothing")]
    pub retention_days: Option<u32>,
    /// In how many hours every file of the logs is read and checked.
    pub self_check_hours: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { retention_days: None, self_check_hours: 24 }
    }
}

/// `[publish]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// The TCP address on which the logs' files are served over HTTP; nowhere without it.
    pub listen: Option<SocketAddr>,
}

/// `[metrics]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// The TCP address on which metrics and health are served over HTTP; nowhere when empty.
    #[serde(deserialize_with = "address_or_nothing")]
    pub listen: Option<SocketAddr>,
    /// Whether that may be another address than one of this machine itself.
    pub anywhere: bool,
}

impl Metrics {
    /// Whether anybody on a network could read what the configuration does not say may be read there.
    fn is_exposed(&self) -> bool {
        !self.anywhere && self.listen.is_some_and(|listen| !listen.ip().is_loopback())
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

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// A sentence naming the file, the line and key, and what to write.
    pub fn load(path: &Path) -> Result<Self, Complaint> {
        let config: Self = seinhuis_shell::config::load(path, COMPLETE_SAMPLE)?;
        config.check().map_err(|error| error.about(&path.display().to_string()))?;
        Ok(config)
    }

    /// Where agents find the TCP address, `host:port`; nowhere when there is none.
    pub fn fallback_place(&self) -> Option<String> {
        let listen = self.transport.fallback?;
        if !self.transport.fallback_advertise.is_empty() {
            return Some(self.transport.fallback_advertise.clone());
        }
        let (host, _) = self.advertise.rsplit_once(':')?;
        Some(format!("{host}:{}", listen.port()))
    }

    fn check(&self) -> Result<(), Complaint> {
        self.console.check()?;
        self.renewal.check()?;
        self.alerts.check()?;
        self.traces.check()?;
        let host_and_port = is_place(&self.advertise);
        let origin = !self.log_origin.is_empty()
            && self.log_origin.len() <= 128
            && self.log_origin.chars().all(|c| c.is_ascii_graphic() && c != '+');
        let wrong = if !host_and_port {
            Some(("advertise", "host:poort", "host:port"))
        } else if !origin {
            Some((
                "log_origin",
                "zichtbare tekens zonder spatie of plusteken",
                "visible characters, no space or plus",
            ))
        } else if self.mailbox.packets == 0 || self.mailbox.bytes < 2 * 1024 * 1024 {
            Some(("mailbox", "minstens 1 pakket en 2 MiB", "at least 1 packet and 2 MiB"))
        } else if let Some(wrong) = self.quota.wrong() {
            Some(wrong)
        } else if self.metrics.is_exposed() {
            Some((
                "metrics.listen",
                "een adres van deze machine zelf, zoals 127.0.0.1:9464. Een ander adres kan alleen met metrics.anywhere = true: iedereen die er dan bij kan, leest zonder versleuteling mee wie met wie uitwisselt en hoeveel",
                "an address of this machine itself, such as 127.0.0.1:9464. Another one is possible only with metrics.anywhere = true: whoever can reach it then reads, unencrypted, who exchanges with whom and how much",
            ))
        } else if !(1..=8760).contains(&self.log.self_check_hours) {
            Some(("log.self_check_hours", "1 tot 8760", "1 to 8760"))
        } else if !(1..=1024).contains(&self.store.segment_mib) {
            Some(("store.segment_mib", "1 tot 1024", "1 to 1024"))
        } else if !(10..=60_000).contains(&self.store.index_interval_ms) {
            Some(("store.index_interval_ms", "10 tot 60000", "10 to 60000"))
        } else if self.store.keep_free_mib > KEEP_FREE_MAX_MIB {
            Some(("store.keep_free_mib", "0 tot 1048576", "0 to 1048576"))
        } else if !(1..=65_536).contains(&self.transport.max_handshakes) {
            Some(("transport.max_handshakes", "1 tot 65536", "1 to 65536"))
        } else if self.transport.fallback.is_some_and(|listen| listen.port() == 0) {
            Some((
                "transport.fallback",
                "adres:poort, met een poort boven 0",
                "address:port, with a port above 0",
            ))
        } else if self.fallback_place().is_some_and(|place| !is_place(&place))
            || (self.transport.fallback.is_none() && !self.transport.fallback_advertise.is_empty())
        {
            Some((
                "transport.fallback_advertise",
                "host:poort, en alleen samen met transport.fallback",
                "host:port, and only together with transport.fallback",
            ))
        } else if !(120..=604_800).contains(&self.witnesses.warn_after) {
            Some(("witnesses.warn_after", "120 tot 604800", "120 to 604800"))
        } else if self.witnesses.stop_after != 0 && !(300..=2_592_000).contains(&self.witnesses.stop_after) {
            Some(("witnesses.stop_after", "0, of 300 tot 2592000", "0, or 300 to 2592000"))
        } else {
            None
        };
        match wrong {
            None => Ok(()),
            Some((key, nl, en)) => Err(Complaint::usage(
                Text::new(
                    format!("De waarde van {key} kan niet."),
                    format!("The value of {key} is not possible."),
                ),
                Text::new(format!("Geef {key}: {nl}."), format!("Give {key}: {en}.")),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Complaint> {
        let config: Config = seinhuis_shell::config::parse("broker.toml", text, COMPLETE_SAMPLE)?;
        config.check().map(|()| config)
    }

    #[test]
    fn the_samples_are_right_and_the_complete_one_shows_the_defaults() {
        let basic = parse(BASIC_SAMPLE).unwrap();
        let complete = parse(COMPLETE_SAMPLE).unwrap();
        assert_eq!(basic, complete);
    }

    #[test]
    fn the_core_gets_the_quotas_that_are_configured() {
        assert_eq!(parse(BASIC_SAMPLE).unwrap().quota.of_core(), seinhuis_broker_core::Quota::default());
        let own = "\n[quota]\npackets = 2\npackets_burst = 3\nbytes = 4\nbytes_burst = 5000000\nrefusals = 6\n\
                   refusals_burst = 7\nwords = 8\nwords_burst = 9\nquestions = 10\nquestions_burst = 11\n\
                   remembered = 8000\n";
        let quota = parse(&format!("{BASIC_SAMPLE}{own}")).unwrap().quota.of_core();
        let rate = |per_minute, burst| Rate { per_minute, burst };
        assert_eq!((quota.packets, quota.bytes), (rate(120, 3), rate(240, 5_000_000)));
        assert_eq!((quota.refusals, quota.remembered), (rate(6, 7), 8000));
        assert_eq!((quota.words, quota.questions), (rate(480, 9), rate(600, 11)));
    }

    #[test]
    fn traces_go_to_an_address_that_reads_them_or_nowhere() {
        let with = |more: &str| parse(&format!("{BASIC_SAMPLE}\n[traces]\n{more}\n"));
        assert!(with("endpoint = \"https://collector.example/v1/traces\"\none_in = 100").is_ok());
        for (wrong, said) in [
            ("endpoint = \"http://collector.example/v1/traces\"", "traces.endpoint"),
            ("one_in = 0", "traces.one_in"),
        ] {
            assert!(with(wrong).unwrap_err().what.en.contains(said), "{wrong}");
        }
    }

    #[test]
    fn a_quota_that_lets_nothing_through_is_named() {
        for key in [
            "packets",
            "packets_burst",
            "bytes",
            "bytes_burst",
            "refusals",
            "refusals_burst",
            "words",
            "words_burst",
            "questions",
            "questions_burst",
            "remembered",
        ] {
            let complaint = parse(&format!("{BASIC_SAMPLE}\n[quota]\n{key} = 0\n")).unwrap_err();
            assert!(complaint.what.en.contains(&format!("quota.{key} ")), "{}", complaint.what.en);
        }
        let complaint = parse(&format!("{BASIC_SAMPLE}\n[quota]\nbytes_burst = 1000000\n")).unwrap_err();
        assert!(complaint.what.en.contains("quota.bytes_burst"), "less than one packet");
    }

    #[test]
    fn room_to_keep_free_can_be_configured_and_switched_off() {
        let with = |mib: &str| parse(&format!("{BASIC_SAMPLE}\n[store]\nkeep_free_mib = {mib}\n"));
        assert_eq!(with("0").unwrap().store.keep_free_mib, 0);
        assert_eq!(with("1048576").unwrap().store.keep_free_mib, KEEP_FREE_MAX_MIB);
        assert!(with("1048577").unwrap_err().what.en.contains("store.keep_free_mib"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        let text = BASIC_SAMPLE.replace("listen =", "listn =");
        let complaint = parse(&text).unwrap_err();
        let shown = complaint.show(seinhuis_shell::lang::Lang::En);
        assert!(shown.contains("listn") && shown.contains("listen"), "{shown}");
    }

    #[test]
    fn a_longer_term_for_texts_can_be_configured() {
        let with = |days: &str| parse(&format!("{BASIC_SAMPLE}\n[log]\nretention_days = {days}\n"));
        assert_eq!(with("3000").unwrap().log.retention_days, Some(3000));
        assert_eq!(with("0").unwrap().log.retention_days, None);
        assert!(with("-1").is_err());
    }

    #[test]
    fn the_place_over_tcp_follows_from_what_is_configured() {
        let with = |more: &str| parse(&format!("{BASIC_SAMPLE}\n[transport]\n{more}"));
        assert_eq!(with("").unwrap().fallback_place(), None);
        let place = with("fallback = \"[::]:443\"\n").unwrap().fallback_place();
        assert_eq!(place.as_deref(), Some("broker.example:443"));
        let own = "fallback = \"[::]:8443\"\nfallback_advertise = \"tcp.example:443\"\n";
        assert_eq!(with(own).unwrap().fallback_place().as_deref(), Some("tcp.example:443"));
        for (wrong, key) in [
            ("fallback = \"[::]:0\"\n", "transport.fallback "),
            ("fallback = \"broker.example:443\"\n", "fallback"),
            ("fallback = \"[::]:443\"\nfallback_advertise = \"tcp.example\"\n", "fallback_advertise"),
            ("fallback_advertise = \"tcp.example:443\"\n", "fallback_advertise"),
        ] {
            let complaint = with(wrong).unwrap_err();
            assert!(complaint.what.en.contains(key), "{}", complaint.what.en);
        }
    }

    #[test]
    fn metrics_leave_this_machine_only_when_the_configuration_says_so() {
        let with = |text: &str| parse(&format!("{BASIC_SAMPLE}\n[metrics]\n{text}"));
        assert_eq!(parse(BASIC_SAMPLE).unwrap().metrics, Metrics::default(), "off");
        for right in ["127.0.0.1:9464", "127.0.0.2:1", "[::1]:9464"] {
            let listen = with(&format!("listen = \"{right}\"\n")).unwrap().metrics.listen;
            assert_eq!(listen, right.parse().ok());
        }
        for wide in ["0.0.0.0:9464", "[::]:9464", "192.0.2.7:9464", "[::ffff:192.0.2.7]:9464"] {
            let listen = format!("listen = \"{wide}\"\n");
            let complaint = with(&listen).unwrap_err();
            assert!(complaint.what.en.contains("metrics.listen"), "{}", complaint.what.en);
            assert!(complaint.advice.en.contains("metrics.anywhere"), "{}", complaint.advice.en);
            assert!(with(&format!("{listen}anywhere = false\n")).is_err());
            assert!(with(&format!("{listen}anywhere = true\n")).is_ok());
        }
        assert_eq!(with("listen = \"\"\n").unwrap().metrics.listen, None);
        assert!(with("listen = \"9464\"\n").is_err());
    }

    #[test]
    fn impossible_values_are_named() {
        for (from, to, key) in [
            ("advertise = \"broker.example:7443\"", "advertise = \"broker.example\"", "advertise"),
            ("/uitwisseling/", "/uit wisseling/", "log_origin"),
        ] {
            assert!(BASIC_SAMPLE.contains(from), "{from}");
            let complaint = parse(&BASIC_SAMPLE.replace(from, to)).unwrap_err();
            assert!(complaint.what.en.contains(key), "{}", complaint.what.en);
        }
    }
}
