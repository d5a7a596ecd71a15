//! One message to a receiver, and what its answer means.

use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use seinhuis_shared::ids::Oin;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::http::{Head, Http, HttpError};
use seinhuis_shell::lang::Text;
use seinhuis_shell::webhook::{self, Secrets};
use seinhuis_shell::{clock, keys};
use serde_json::json;

use crate::config::Webhook;
use crate::ways::event::Occurrence;

/// Of an event in structured mode (`CloudEvents`, HTTP protocol binding 3.2).
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";
/// How long a receiver that has gone is left alone.
const GONE: Duration = Duration::from_hours(1);

/// A message for a receiver. It may hold content, so it is shown in no log.
pub(crate) struct Message {
    /// The same for the same message, however often it is sent.
    pub(crate) id: String,
    /// An event, as JSON.
    pub(crate) body: String,
}

/// A message that says nothing but that the agent of this organisation can reach the receiver.
pub(crate) fn ping(own: Oin) -> Message {
    let id = format!("ping-{}", HEXLOWER.encode(&keys::random::<16>()));
    let (name, subject, time) = ("webhook.ping".to_owned(), "ping".to_owned(), clock::now().to_string());
    let event = Occurrence { id: id.clone(), name, subject, time }.cloud(own, &json!({}));
    Message { id, body: event.to_string() }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver took it.
    Taken,
    /// It refuses this message; of others that says nothing.
    Refused(Complaint),
    /// It takes nothing at the moment, and may have asked for some time.
    Down(Complaint, Option<Duration>),
}

/// The way to a receiver. Its address may hold a secret of the receiver, so it is shown in no log.
pub(crate) struct Post {
    http: Http,
    url: String,
    host: String,
    patience: Duration,
    secrets: Secrets,
}

impl Post {
    /// To the receiver of a webhook, of the agent in `home`.
    ///
    /// # Errors
    /// A sentence when the authorities that are trusted cannot be read, or there is no secret and none can be made.
    pub(crate) fn new(webhook: &Webhook, home: &Path) -> Result<Self, Complaint> {
        let about = |complaint: Complaint| complaint.about(&format!("webhook {:?}", webhook.name));
        let ca = Some(home.join(&webhook.ca)).filter(|_| !webhook.ca.as_os_str().is_empty());
        let http = Http::new(ca.as_deref()).map_err(about)?;
        let secrets = super::secrets(home, &webhook.name);
        secrets.ensure(clock::now()).map_err(about)?;
        let patience = Duration::from_secs(webhook.timeout_s);
        Ok(Self { http, url: webhook.url.clone(), host: webhook.host(), patience, secrets })
    }

    /// Sends a message, signed with every secret that counts.
    ///
    /// # Errors
    /// A sentence when there is no secret to sign it with; nothing is sent then.
    pub(crate) async fn send(&self, message: &Message) -> Result<Verdict, Complaint> {
        let now = clock::now();
        let body = message.body.as_bytes();
        let signed = webhook::fields(&self.secrets.standing(now)?.all, &message.id, now, body);
        let fields: Vec<_> = [("content-type", CONTENT_TYPE.to_owned())].into_iter().chain(signed).collect();
        let answer = self.http.tell(&self.url, &fields, body.to_vec(), self.patience).await;
        Ok(judge(answer, &self.host))
    }
}

/// What an answer, or none, means.
fn judge(answer: Result<Head, HttpError>, host: &str) -> Verdict {
    let Head { status, retry_after } = match answer {
        Ok(head) => head,
        Err(error) => return Verdict::Down(no_answer(host, &error), None),
    };
    let what = Text::new(
        format!("De ontvanger op {host} antwoordt met status {status}."),
        format!("The receiver at {host} answers with status {status}."),
    );
    let complaint = |nl: &str, en: &str| Complaint::usage(what.clone(), Text::new(nl, en));
    let advice = match status {
        200..=299 => return Verdict::Taken,
        400 | 409 | 413 | 422 => {
            return Verdict::Refused(complaint(
                "Zoek in de toepassing uit waarom zij dit bericht weigert; het wordt vanzelf opnieuw gestuurd, en latere van dezelfde zaak wachten.",
                "Find out in the application why it refuses this message; it is sent again by itself, and later ones of its case wait.",
            ));
        }
        300..=399 => (
            "Doorverwijzingen worden niet gevolgd: zet het echte adres in webhook.url.",
            "Redirects are not followed: put the real address in webhook.url.",
        ),
        401 | 403 => (
            "Controleer of de toepassing hetzelfde geheim heeft (seinhuis-agent webhook secret) en of haar klok gelijk loopt.",
            "See whether the application has the same secret (seinhuis-agent webhook secret) and the right time.",
        ),
        408 | 425 | 429 | 503 => (
            "De toepassing heeft het te druk. Er gaat niets verloren; het wordt vanzelf opnieuw geprobeerd.",
            "The application is too busy. Nothing is lost; it is tried again by itself.",
        ),
        410 => {
            let told = complaint(
                "De toepassing zegt dat dit adres voorgoed weg is: verbeter webhook.url of haal de [[webhook]] weg. Er gaat niets verloren.",
                "The application says that this address is gone for good: mend webhook.url or remove the [[webhook]]. Nothing is lost.",
            );
            return Verdict::Down(told, Some(retry_after.unwrap_or_default().max(GONE)));
        }
        404 | 405 | 415 => (
            "Controleer webhook.url: de toepassing neemt daar geen gebeurtenissen aan.",
            "See to webhook.url: the application takes no events there.",
        ),
        _ => (
            "Bekijk het log van de toepassing. Er gaat niets verloren; het wordt vanzelf opnieuw geprobeerd.",
            "See the application's log. Nothing is lost; it is tried again by itself.",
        ),
    };
    Verdict::Down(complaint(advice.0, advice.1), retry_after)
}

fn no_answer(host: &str, error: &HttpError) -> Complaint {
    let why = match error {
        HttpError::NoAnswer { why, .. } => why.clone(),
        HttpError::BadAddress(_) | HttpError::TooLong { .. } => "no request can be made".to_owned(),
    };
    Complaint::usage(
        Text::new(
            format!("De ontvanger op {host} geeft geen antwoord: {why}."),
            format!("The receiver at {host} gives no answer: {why}."),
        ),
        Text::new(
            "Kijk of de toepassing draait, of het adres en het netwerk kloppen, en of haar certificaat van een vertrouwde autoriteit is (webhook.ca). Er gaat niets verloren; het wordt vanzelf opnieuw geprobeerd.",
            "See whether the application runs, whether address and network are right, and whether its certificate is of a trusted authority (webhook.ca). Nothing is lost; it is tried again by itself.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, seconds: Option<u64>) -> Verdict {
        judge(Ok(Head { status, retry_after: seconds.map(Duration::from_secs) }), "zaken.example")
    }

    #[test]
    fn every_status_means_something_and_none_of_them_loses_anything() {
        for status in 100..=999 {
            match of(status, None) {
                Verdict::Taken => assert!((200..300).contains(&status)),
                Verdict::Refused(told) => {
                    assert!([400, 409, 413, 422].contains(&status), "{status}");
                    assert!(told.what.nl.contains(&status.to_string()) && told.what.nl != told.what.en);
                }
                Verdict::Down(told, asked) => {
                    assert!(told.what.en.contains("zaken.example"), "{told}");
                    assert_eq!(asked.is_some(), status == 410, "{status}");
                }
            }
        }
        assert!(matches!(of(307, None), Verdict::Down(told, _) if told.advice.en.contains("not followed")));
    }

    #[test]
    fn who_asks_for_time_gets_it_and_who_is_gone_an_hour_at_least() {
        let asked = |status, seconds| match of(status, Some(seconds)) {
            Verdict::Down(_, asked) => asked.map(|asked| asked.as_secs()),
            Verdict::Taken | Verdict::Refused(_) => None,
        };
        assert_eq!(
            (asked(429, 7), asked(503, 7), asked(410, 7), asked(410, 7200)),
            (Some(7), Some(7), Some(3600), Some(7200))
        );
    }
}
