//! The local HTTP API: an application hands over, another takes over.

use seinhuis_tests::http::Client;
use seinhuis_tests::process;
use seinhuis_tests::stage::PATIENCE;
use serde_json::json;

use super::token;
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// Sends a signal twice under one key, and takes it over.
pub(super) fn play(show: &mut Show) -> Told {
    let (police, town) = (show.stage.member("politie"), show.stage.member("gemeente"));
    let sender = Client {
        token: token(&show.stage, police, "zaaksysteem", &["send:F02"])?,
        ..show.ways.police.clone()
    };
    let receiver = Client {
        token: token(&show.stage, town, "zaaksysteem", &["receive:F02"])?,
        ..show.ways.town.clone()
    };
    let sample = show.sample("F02")?;
    let signal = json!({ "flow": "F02", "to": ["gemeente"], "step": "1", "body": sample.value["body"] });
    let first = sender.push("melding-2026-17", &signal)?;
    let (message, again) = (first.json(), sender.push("melding-2026-17", &signal)?);
    let id = text(&message, "msg_id").to_owned();
    check(
        first.status == 202 && text(&message, "state") == "accepted",
        format!("De API nam het signaal niet aan: {message}"),
        format!("The API did not take the signal: {message}"),
    )?;
    check(
        again.status == 200 && text(&again.json(), "msg_id") == id,
        "Hetzelfde signaal werd tweemaal aangenomen.",
        "The same signal was taken twice.",
    )?;
    let stranger = Client { token: "shs_".to_owned(), ..sender.clone() };
    check(
        stranger.get("/v1/messages")?.status == 401 && sender.get("/v1/inbox")?.json()["items"] == json!([]),
        "Wie geen recht heeft, kreeg toch iets.",
        "Somebody without a right got something all the same.",
    )?;
    let position = arrived(&receiver, &id)?;
    let body = receiver.get(&format!("/v1/inbox/{position}/body"))?.json();
    check(
        body == sample.value["body"]
            && receiver.ask("POST", &format!("/v1/inbox/{position}/consumed"), &[], "")?.status == 200,
        "Het zaaksysteem van de gemeente kreeg iets anders.",
        "The municipality's case system got something else.",
    )?;
    process::until("it is taken over", PATIENCE, || {
        let seen = sender.get(&format!("/v1/messages/{id}"));
        seen.is_ok_and(|seen| seen.json()["reached"] == "consumed")
    })?;
    show.expect(Some("politie"), &["gemeente".to_owned()]);
    show.teller.right(
        "API      F02 politie → gemeente: tweemaal gestuurd, één bericht; overgenomen, en de afzender weet het",
        "API      F02 politie → gemeente: sent twice, one message; taken over, and its sender knows",
    );
    Ok(())
}

/// Waits until a message is in an application's inbox; its position there.
fn arrived(receiver: &Client, id: &str) -> Told<u64> {
    let mut found = None;
    let waited = process::until("it arrives", PATIENCE, || {
        let page = receiver.get("/v1/inbox?open=true&limit=200").map(|page| page.json()).unwrap_or_default();
        let rows = page["items"].as_array().cloned().unwrap_or_default();
        found = rows.iter().find(|row| text(row, "msg_id") == id).and_then(|row| row["position"].as_u64());
        found.is_some()
    });
    waited?;
    found.ok_or_else(Trouble::bug)
}
