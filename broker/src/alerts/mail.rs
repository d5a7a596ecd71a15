//! Alarms by mail, over a relay of the organisation (RFC 6409).

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, BASE64_MIME};
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, Tls as SmtpTls, TlsParameters, TlsVersion,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;
use zeroize::Zeroizing;

use super::settings::{MailSettings, Tls};
use super::{Batch, file, subject, words};
use crate::config::Config;
use crate::home::Home;

/// How long the relay may take for a whole message.
const PATIENCE: Duration = Duration::from_mins(1);
/// Most bytes of a file with a password.
const PASSWORD_MAX: usize = 1024;
/// Most bytes of a file with authorities.
const AUTHORITIES_MAX: usize = 1 << 20;

/// The way to a relay.
#[derive(Debug)]
pub(crate) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Address,
    to: Vec<Address>,
    host: String,
    name: String,
}

impl Mail {
    /// # Errors
    /// A sentence when password or authorities cannot be read, or the settings cannot be used.
    pub(super) fn new(settings: &MailSettings, config: &Config, home: &Home) -> Result<Self, Complaint> {
        let (host, port) = settings.place().ok_or_else(|| Complaint::bug("an unchecked relay"))?;
        let address = |text: &String| {
            text.parse::<Address>().map_err(|error| Complaint::bug(format!("an unchecked address: {error}")))
        };
        let tls = match settings.tls {
            Tls::None => SmtpTls::None,
            Tls::Starttls => SmtpTls::Required(parameters(settings, host, home)?),
            Tls::Implicit => SmtpTls::Wrapper(parameters(settings, host, home)?),
        };
        let own = config.advertise.rsplit_once(':').map_or("localhost", |(own, _)| own);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .hello_name(ClientId::Domain(own.to_owned()))
            .timeout(Some(PATIENCE));
        if !settings.user.is_empty() {
            let secret = Zeroizing::new(files::read_private(&file(home, &settings.password), PASSWORD_MAX)?);
            let text = std::str::from_utf8(&secret).map_err(|_| unusable_password(settings))?;
            builder =
                builder.credentials(Credentials::new(settings.user.clone(), text.trim_end().to_owned()));
        }
        Ok(Self {
            transport: builder.build(),
            from: address(&settings.from)?,
            to: settings.to.iter().map(address).collect::<Result<_, _>>()?,
            host: host.to_owned(),
            name: config.name.clone(),
        })
    }

    pub(super) fn place(&self) -> String {
        self.host.clone()
    }

    /// # Errors
    /// A sentence that says what went wrong.
    pub(super) async fn send(&self, batch: &Batch) -> Result<(), Complaint> {
        let envelope = Envelope::new(Some(self.from.clone()), self.to.clone());
        let envelope = envelope.map_err(|error| Complaint::bug(error.to_string()))?;
        let message = self.message(batch, SystemTime::now());
        let sent =
            tokio::time::timeout(PATIENCE, self.transport.send_raw(&envelope, message.as_bytes())).await;
        let why = match sent {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => reason(&error),
            Err(_) => "it took too long".to_owned(),
        };
        Err(Complaint::usage(
            Text::new(
                format!("De mailrelay {} nam de alarmen niet aan: {why}.", self.host),
                format!("The mail relay {} did not take the alarms: {why}.", self.host),
            ),
            Text::new(
                "Controleer [alerts.mail]: adres, tls, ca, user en password; en of deze machine de relay mag gebruiken. Het wordt vanzelf opnieuw geprobeerd.",
                "See to [alerts.mail]: address, tls, ca, user and password; and whether this machine may use the relay. It is tried again by itself.",
            ),
        ))
    }

    /// The message as it goes over the line (RFC 5322), its text in base64 (RFC 2045): ASCII in short lines.
    fn message(&self, batch: &Batch, now: SystemTime) -> String {
        let to: Vec<&str> = self.to.iter().map(AsRef::as_ref).collect();
        // RFC 5322, 3.3 has the zone as a number.
        let date = httpdate::fmt_http_date(now).replace("GMT", "+0000");
        let subject = header(&format!("[{}] {}", self.name, subject(batch)));
        let text = BASE64_MIME.encode(body(&self.name, batch).as_bytes());
        // RFC 3834: no notice of absence answers what is sent by itself.
        format!(
            "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{id}@{domain}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{text}",
            from = self.from,
            to = to.join(",\r\n "),
            id = batch.id,
            domain = self.from.domain(),
        )
    }
}

/// A text as the value of a header field: as it is when it is short ASCII, else in encoded words (RFC 2047) on lines of
/// their own. Without what would end the line.
pub(super) fn header(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if text.is_ascii() && text.len() <= 200 && !text.contains("=?") {
        return text;
    }
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        // 45 bytes are 60 in base64; an encoded word has at most 75.
        if word.len().saturating_add(c.len_utf8()) > 45 {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded = words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64.encode(word.as_bytes())));
    encoded.collect::<Vec<_>>().join("\r\n ")
}

/// Dutch, then English.
fn body(name: &str, batch: &Batch) -> String {
    let (mut nl, mut en) = (String::new(), String::new());
    if batch.notices.is_empty() {
        nl.push_str("Dit is een proef. Alarmen van deze broker komen hier aan; er is niets te doen.\n");
        en.push_str("This is a test. Alarms of this broker arrive here; there is nothing to do.\n");
    }
    for notice in &batch.notices {
        let (own_nl, own_en) = words(notice);
        // Writing into a string does not fail.
        _ = writeln!(nl, "{own_nl}");
        _ = writeln!(en, "{own_en}");
    }
    if batch.more > 0 {
        _ = writeln!(nl, "En nog {} eerdere meldingen: seinhuis-broker alerts list.", batch.more);
        _ = writeln!(en, "And {} earlier notices: seinhuis-broker alerts list.", batch.more);
    }
    format!("{name}\n\n{nl}\n-- English --\n\n{en}")
}

fn parameters(settings: &MailSettings, host: &str, home: &Home) -> Result<TlsParameters, Complaint> {
    let mut builder = TlsParameters::builder(host.to_owned()).set_min_tls_version(TlsVersion::Tlsv13);
    if !settings.ca.as_os_str().is_empty() {
        let path = file(home, &settings.ca);
        let certificate = Certificate::from_pem(&files::read(&path, AUTHORITIES_MAX)?).map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("In {} staan geen bruikbare certificaten: {error}.", path.display()),
                    format!("There are no usable certificates in {}: {error}.", path.display()),
                ),
                Text::new(
                    "Geef bij alerts.mail.ca een PEM-bestand met de autoriteit van de relay.",
                    "Give at alerts.mail.ca a PEM file with the relay's authority.",
                ),
            )
        })?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| Complaint::bug(error.to_string()))
}

fn unusable_password(settings: &MailSettings) -> Complaint {
    let path = settings.password.display();
    Complaint::usage(
        Text::new(format!("{path} bevat geen wachtwoord."), format!("{path} holds no password.")),
        Text::new("Zet er één regel tekst in.", "Put one line of text in it."),
    )
}

/// What went wrong, down to the cause, in one line: a relay answers what it likes.
fn reason(error: &lettre::transport::smtp::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
