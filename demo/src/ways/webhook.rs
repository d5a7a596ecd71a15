//! A webhook: an application of the municipality is told of what came in, signed, and told again when it could not take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock;
use seinhuis_tests::http::Client;
use seinhuis_tests::receiver::{Act, Got, Receiver};
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Stage, process};

use super::{taken_over, token};
use crate::control;
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// How far the moment of an attempt may be off (Standard Webhooks 1.0, *Timestamps*).
const SLACK: Span = Span::minutes(5);
/// A secret that nobody has.
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The application.
#[derive(Debug)]
pub(super) struct Hook {
    receiver: Receiver,
    /// With which the agent signs.
    secret: String,
    /// Whether it cannot take the next message.
    refuses: Arc<AtomicBool>,
}

impl Hook {
    /// Whether a request is from the agent, and of this moment.
    fn believes(&self, got: &Got) -> bool {
        let seconds: u64 = got.field("webhook-timestamp").parse().unwrap_or_default();
        let (at, now) = (Timestamp(seconds.saturating_mul(1000)), clock::now());
        got.is_signed(&self.secret) && !got.is_signed(OTHER) && at.max(now).since(at.min(now)) <= SLACK
    }

    /// What it was told about a message.
    fn about(&self, id: &str) -> Vec<Got> {
        let all = self.receiver.messages().into_iter();
        all.filter(|got| text(&got.json(), "subject") == id).collect()
    }
}

/// Starts the application, and has the municipality's agent tell it of breaches (F38), without their content.
pub(super) fn open(stage: &Stage) -> Told<Hook> {
    let town = stage.member("gemeente");
    let refuses = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&refuses);
    let receiver = Receiver::new(move |got| {
        let refused = !got.is_ping() && once.swap(false, Ordering::SeqCst);
        Act::status(if refused { 503 } else { 200 })
    })?;
    let address = receiver.address;
    let settings =
        format!("\n[[webhook]]\nname = \"meldingen\"\nurl = \"http://{address}/\"\nflows = [\"F38\"]\n");
    stage.configure_agent(town, &settings)?;
    let made = stage.agent(town, &["webhook", "secret", "meldingen"])?;
    Ok(Hook { receiver, secret: text(&made, "secret").to_owned(), refuses })
}

/// Sends a notice that the application cannot take at first, and that it fetches and takes over then.
pub(super) fn play(show: &mut Show) -> Told {
    let sample = show.sample("F38")?;
    let (police, town) = (show.stage.member("politie"), show.stage.member("gemeente"));
    let hook = &show.ways.hook;
    // The notice of scene 3 is not the one that is refused.
    process::until("the first notice is told", PATIENCE, || !hook.receiver.messages().is_empty())?;
    hook.refuses.store(true, Ordering::SeqCst);
    let id = control::push(&police.home, &sample)?.to_string();
    process::until("it is told again", PATIENCE, || hook.about(&id).len() >= 2)?;
    let told = hook.about(&id);
    let [first, again] = told.as_slice() else { return Err(Trouble::bug()) };
    check(
        hook.believes(first) && hook.believes(again),
        "Een webhookbericht is niet ondertekend zoals het hoort.",
        "A webhook's message is not signed as it should be.",
    )?;
    check(
        first.id() == again.id() && first.body == again.body && text(&again.json(), "id") == again.id(),
        "De tweede poging is een ander bericht dan de eerste.",
        "The second attempt is another message than the first.",
    )?;
    check(
        !String::from_utf8_lossy(&again.body).contains(&sample.canary),
        "De webhook kreeg inhoud waar hij niet om vroeg.",
        "The webhook got content that it did not ask for.",
    )?;
    let position = again.position().ok_or_else(Trouble::bug)?;
    let api =
        Client { token: token(&show.stage, town, "meldingen", &["receive:F38"])?, ..show.ways.town.clone() };
    let body = api.get(&format!("/v1/inbox/{position}/body"))?.json();
    check(
        body == sample.value["body"]
            && api.ask("POST", &format!("/v1/inbox/{position}/consumed"), &[], "")?.status == 200,
        "De toepassing van de gemeente haalde iets anders op.",
        "The municipality's application fetched something else.",
    )?;
    taken_over(show, police, &id)?;
    show.expect_sample(&sample);
    show.teller.right(
        "webhook  F38 politie → gemeente: ondertekend gemeld, na een 503 nog eens onder hetzelfde nummer; opgehaald en overgenomen",
        "webhook  F38 politie → gemeente: told, signed, and after a 503 once more under the same id; fetched and taken over",
    );
    Ok(())
}
