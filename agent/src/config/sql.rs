//! `[[sql]]`: a query on a `PostgreSQL` database, of which each row becomes a signal.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

use super::folder::check_name;
use crate::ways::rows::Defaults;

/// Most sources of one agent.
const SOURCES_MAX: usize = 16;
/// Most rows of one look.
const ROWS_MAX: u32 = 5000;

/// One of `[[sql]]`. The complete sample explains each key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sql {
    /// What the agent calls it.
    pub name: String,
    /// The server: a name or address, or the folder of its Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// As whom to log in.
    pub user: String,
    /// The file with the password, or empty for none.
    pub password: PathBuf,
    /// A PEM file with the authorities that are trusted for the server, or empty for no TLS.
    pub ca: PathBuf,
    /// The file with the query.
    pub query: PathBuf,
    /// The file that says which column is which field.
    pub mapping: PathBuf,
    /// The column of the high-water mark.
    pub mark: String,
    /// The mark that the first look begins at.
    pub start: String,
    /// How often it is looked at, in seconds.
    pub every_s: u64,
    /// For how long rows with a lower mark may still turn up, in seconds.
    pub late_s: u64,
    /// How long the query may take, in seconds.
    pub timeout_s: u64,
    /// Most rows of one look.
    pub rows: u32,
    /// The flow of rows of which the mapping says none, or empty.
    pub flow: String,
    /// Their recipients.
    pub to: Vec<String>,
    /// Their step, or empty.
    pub step: String,
    /// Their message type, or empty.
    #[serde(rename = "type")]
    pub message_type: String,
    /// Their case, or empty.
    pub case: String,
    /// Their legal basis, or empty.
    pub basis: String,
}

impl Default for Sql {
    fn default() -> Self {
        let (none, no_file) = (String::new, PathBuf::new);
        Self {
            name: none(),
            host: none(),
            port: 5432,
            database: none(),
            user: none(),
            password: no_file(),
            ca: no_file(),
            query: no_file(),
            mapping: no_file(),
            mark: "mark".to_owned(),
            start: none(),
            every_s: 30,
            late_s: 300,
            timeout_s: 30,
            rows: 500,
            flow: none(),
            to: Vec::new(),
            step: none(),
            message_type: none(),
            case: none(),
            basis: none(),
        }
    }
}

impl Sql {
    /// The path of the server's Unix socket, if it is reached over one.
    pub fn socket(&self) -> Option<PathBuf> {
        self.host.starts_with('/').then(|| Path::new(&self.host).join(format!(".s.PGSQL.{}", self.port)))
    }

    /// Whether what is said goes over TLS.
    pub fn is_secured(&self) -> bool {
        !self.ca.as_os_str().is_empty()
    }

    /// What it says of rows where the mapping says nothing.
    pub(crate) fn defaults(&self) -> Defaults<'_> {
        let Self { flow, to, step, message_type, case, basis, .. } = self;
        Defaults { flow, to, step, message_type, case, basis }
    }

    fn check(&self) -> Result<(), Complaint> {
        check_name("sql", &self.name)?;
        let given = [
            ("host", !self.host.is_empty()),
            ("port", self.port != 0),
            ("database", !self.database.is_empty()),
            ("user", !self.user.is_empty()),
            ("query", !self.query.as_os_str().is_empty()),
            ("mapping", !self.mapping.as_os_str().is_empty()),
            ("mark", !self.mark.is_empty()),
        ];
        if let Some((key, _)) = given.iter().find(|(_, given)| !given) {
            return Err(Complaint::usage(
                Text::new(
                    format!("sql.{key} van {:?} is leeg.", self.name),
                    format!("sql.{key} of {:?} is empty.", self.name),
                ),
                Text::new("Vul het in; zie docs/sql.md.", "Fill it in; see docs/sql.md."),
            ));
        }
        let texts = [&self.host, &self.database, &self.user, &self.mark, &self.start];
        if texts.iter().any(|text| text.contains('\0') || text.len() > 255) {
            return Err(Complaint::usage(
                Text::new(
                    format!(
                        "Een tekst van [[sql]] {:?} is te lang of heeft een teken dat niet kan.",
                        self.name
                    ),
                    format!(
                        "A text of [[sql]] {:?} is too long or has a character that cannot be.",
                        self.name
                    ),
                ),
                Text::new("Gebruik hoogstens 255 leesbare tekens.", "Use at most 255 printable characters."),
            ));
        }
        let numbers = [
            ("every_s", self.every_s, 1, 86_400, 30),
            ("late_s", self.late_s, 0, 86_400, 300),
            ("timeout_s", self.timeout_s, 1, 3600, 30),
            ("rows", u64::from(self.rows), 1, u64::from(ROWS_MAX), 500),
        ];
        if let Some((key, _, least, most, usual)) =
            numbers.iter().find(|(_, value, least, most, _)| !(least..=most).contains(&value))
        {
            return Err(Complaint::usage(
                Text::new(
                    format!("sql.{key} van {:?} moet {least} tot {most} zijn.", self.name),
                    format!("sql.{key} of {:?} must be {least} to {most}.", self.name),
                ),
                Text::new(
                    format!("Gebruik {usual}, de standaardwaarde."),
                    format!("Use {usual}, the default."),
                ),
            ));
        }
        self.check_way()
    }

    /// That passwords and rows cross no network in plain text.
    fn check_way(&self) -> Result<(), Complaint> {
        let local = self.socket().is_some();
        if local && self.is_secured() {
            return Err(Complaint::usage(
                Text::new(
                    format!("sql.ca van {:?} hoort niet bij een Unix-socket.", self.name),
                    format!("sql.ca of {:?} does not go with a Unix socket.", self.name),
                ),
                Text::new(
                    "Laat ca leeg, of noem de server bij zijn naam.",
                    "Leave ca empty, or name the server.",
                ),
            ));
        }
        let loopback = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if local || loopback || self.is_secured() {
            return Ok(());
        }
        Err(Complaint::usage(
            Text::new(
                format!("sql.host {:?} is een andere machine, en zonder ca is er geen TLS.", self.host),
                format!("sql.host {:?} is another machine, and without ca there is no TLS.", self.host),
            ),
            Text::new(
                "Noem in ca het PEM-bestand met de CA van de server; voor deze machine zelf: schrijf 127.0.0.1, of de map van de Unix-socket.",
                "Name in ca the PEM file with the server's CA; for this machine itself: write 127.0.0.1, or the folder of the Unix socket.",
            ),
        ))
    }
}

/// Whether these sources can be used beside one another.
pub(super) fn check(sources: &[Sql]) -> Result<(), Complaint> {
    if sources.len() > SOURCES_MAX {
        return Err(Complaint::usage(
            Text::new(
                format!("Er zijn meer dan {SOURCES_MAX} [[sql]]."),
                format!("There are more than {SOURCES_MAX} [[sql]]."),
            ),
            Text::new("Voeg query's samen.", "Join queries."),
        ));
    }
    for (at, source) in sources.iter().enumerate() {
        source.check()?;
        if sources.iter().take(at).any(|other| other.name == source.name) {
            return Err(Complaint::usage(
                Text::new(
                    format!("Twee [[sql]] heten {:?}.", source.name),
                    format!("Two [[sql]] are called {:?}.", source.name),
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

    const GOOD: &str = "name = \"zaken\"\nhost = \"/run/postgresql\"\ndatabase = \"d\"\nuser = \"u\"\nquery = \"q.sql\"\nmapping = \"m.toml\"\n";

    fn parse(more: &str) -> Result<Config, String> {
        Config::parse("agent.toml", &format!("{BASIC_SAMPLE}{more}")).map_err(|error| error.what.en)
    }

    #[test]
    fn sources_are_read_and_mistakes_are_told() {
        let with = |more: &str| parse(&format!("[[sql]]\n{GOOD}{more}\n"));
        let source = &with("").unwrap().sql[0];
        assert_eq!(source.socket().unwrap().to_str(), Some("/run/postgresql/.s.PGSQL.5432"));
        for (wrong, said) in [
            ("every_s = 0", "every_s"),
            ("late_s = 86401", "late_s"),
            ("timeout_s = 0", "timeout_s"),
            ("rows = 0", "rows"),
            ("rows = 5001", "rows"),
            ("port = 0", "sql.port"),
            ("mark = \"\"", "sql.mark"),
            ("start = \"\\u0000\"", "too long"),
            ("ca = \"ca.pem\"", "Unix socket"),
            ("wachtwoord = \"x\"", "wachtwoord"),
        ] {
            let error = with(wrong).unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
        for key in ["name", "host", "database", "user", "query", "mapping"] {
            let without: Vec<&str> = GOOD.lines().filter(|line| !line.starts_with(key)).collect();
            let without = without.join("\n");
            let error = parse(&format!("[[sql]]\n{without}")).unwrap_err();
            assert!(error.contains(&format!("sql.{key}")), "{error}");
        }
        let twice = format!("[[sql]]\n{GOOD}");
        assert!(parse(&twice.repeat(2)).unwrap_err().contains("are called"));
        assert!(parse(&twice.repeat(17)).unwrap_err().contains("more than"));
    }

    #[test]
    fn nothing_crosses_a_network_in_plain_text() {
        let at = |host: &str, more: &str| {
            let text = GOOD.replace("/run/postgresql", host);
            parse(&format!("[[sql]]\n{text}{more}\n"))
        };
        for (host, more) in [("127.0.0.1", ""), ("::1", ""), ("db.example.nl", "ca = \"ca.pem\"")] {
            assert!(at(host, more).is_ok(), "{host}");
        }
        for host in ["db.example.nl", "192.0.2.1", "localhost", "0.0.0.0", "::ffff:192.0.2.1"] {
            assert!(at(host, "").unwrap_err().contains("no TLS"), "{host}");
        }
    }
}
