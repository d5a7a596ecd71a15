//! Alarms by webhook: one POST with an event of `CloudEvents` in JSON, signed (Standard Webhooks).

use std::time::Duration;

use seinhuis_monitor::alarms::Notice;
use seinhuis_shared::operation::organisation;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::http::{Http, HttpError};
use seinhuis_shell::lang::Text;
use seinhuis_shell::webhook::{Secrets, fields};
use serde_json::{Value, json};

use super::settings::WebhookSettings;
use super::{Batch, file, secrets};
use crate::config::Config;
use crate::home::Home;

/// Of an event in structured mode (`CloudEvents`, HTTP protocol binding 3.2).
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The way to a receiver. Its address may hold a secret of the receiver, so it is shown in no log.
pub(crate) struct Hook {
    http: Http,
    url: String,
    host: String,
    patience: Duration,
    secrets: Secrets,
    source: String,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hook({})", self.host)
    }
}

impl Hook {
    /// # Errors
    /// A sentence when the authorities cannot be read, or there is no secret and none can be made.
    pub(super) fn new(settings: &WebhookSettings, config: &Config, home: &Home) -> Result<Self, Complaint> {
        let ca = Some(file(home, &settings.ca)).filter(|_| !settings.ca.as_os_str().is_empty());
        let secrets = secrets(home);
        secrets.ensure(clock::now())?;
        Ok(Self {
            http: Http::new(ca.as_deref())?,
            url: settings.url.clone(),
            host: settings.host(),
            patience: Duration::from_secs(settings.timeout_s),
            secrets,
            source: format!("{}:systeem:seinhuis-broker", organisation(config.oin)),
        })
    }

    pub(super) fn place(&self) -> String {
        self.host.clone()
    }

    /// # Errors
    /// A sentence that says what went wrong.
    pub(super) async fn send(&self, batch: &Batch) -> Result<(), Complaint> {
        let now = clock::now();
        let body = event(&self.source, batch).to_string().into_bytes();
        let signed = fields(&self.secrets.standing(now)?.all, &batch.id, now, &body);
        let fields: Vec<_> = [("content-type", CONTENT_TYPE.to_owned())].into_iter().chain(signed).collect();
        let (nl, en) = match self.http.tell(&self.url, &fields, body, self.patience).await {
            Ok(head) if (200..300).contains(&head.status) => return Ok(()),
            Ok(head) => (
                format!("antwoordt met status {}", head.status),
                format!("answers with status {}", head.status),
            ),
            Err(HttpError::NoAnswer { why, .. }) => {
                (format!("geeft geen antwoord: {why}"), format!("gives no answer: {why}"))
            }
            Err(HttpError::BadAddress(_) | HttpError::TooLong { .. }) => {
                ("kan niet worden gevraagd".to_owned(), "cannot be asked".to_owned())
            }
        };
        Err(Complaint::usage(
            Text::new(
                format!("De ontvanger van alarmen op {} {nl}.", self.host),
                format!("The receiver of alarms at {} {en}.", self.host),
            ),
            Text::new(
                "Controleer [alerts.webhook]: adres, ca, en of de ontvanger hetzelfde geheim heeft (seinhuis-broker alerts secret). Het wordt vanzelf opnieuw geprobeerd.",
                "See to [alerts.webhook]: address, ca, and whether the receiver has the same secret (seinhuis-broker alerts secret). It is tried again by itself.",
            ),
        ))
    }
}

fn event(source: &str, batch: &Batch) -> Value {
    let kind = if batch.notices.is_empty() { "nl.seinhuis.alarm.test" } else { "nl.seinhuis.alarm" };
    json!({
        "specversion": "1.0",
        "id": batch.id,
        "source": source,
        "type": kind,
        "time": batch.at.to_string(),
        "datacontenttype": "application/json",
        "data": { "notices": batch.notices.iter().map(notice).collect::<Vec<_>>(), "more": batch.more },
    })
}

fn notice(notice: &Notice) -> Value {
    let alarm = &notice.alarm;
    json!({
        "turn": notice.turn,
        "at": notice.at.to_string(),
        "code": alarm.code,
        "subject": alarm.subject,
        "severity": alarm.severity,
        "since": alarm.since.to_string(),
        "what": alarm.what,
        "advice": alarm.advice,
    })
}
