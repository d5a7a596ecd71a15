//! Scene 4: partners' own systems hand over and take over, without a command.

use std::fs;

use seinhuis_tests::http::Client;
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Member, Stage, ports, process};
use serde_json::{Value, json};

use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// Where the systems of a partnership find their agents.
#[derive(Debug)]
pub(crate) struct Ways {
    police: Client,
    town: Client,
}

impl Ways {
    /// Opens the ways in the settings of agents that do not run yet.
    ///
    /// # Errors
    /// Settings that cannot be written.
    pub(crate) fn open(stage: &Stage) -> Told<Self> {
        let api = |role: &str| -> Told<Client> {
            let address = ports::free()?;
            stage.configure_agent(stage.member(role), &format!("\n[api]\nlisten = \"{address}\"\n"))?;
            Ok(Client { address, token: String::new() })
        };
        let ways = Self { police: api("politie")?, town: api("gemeente")? };
        let out = folder(stage);
        fs::create_dir_all(&out)?;
        let watched =
            format!("\n[[folder]]\nname = \"zaaksysteem\"\nout = {:?}\nevery_s = 1\n", out.to_string_lossy());
        stage.configure_agent(stage.member("jongerenwerk"), &watched)?;
        Ok(ways)
    }
}

/// The folder in which youth work's case system leaves files.
fn folder(stage: &Stage) -> std::path::PathBuf {
    stage.dir.join("jongerenwerk-uit")
}

/// Sends a signal in each way.
///
/// # Errors
/// What does not arrive, or arrives twice.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(4, "Systemen leveren zelf aan", "Systems hand over by themselves");
    over_http(show)?;
    in_a_folder(show)
}

fn token(stage: &Stage, member: &Member, right: &str) -> Told<String> {
    let made = stage.agent(member, &["token", "add", "zaaksysteem", "--allow", right])?;
    Ok(text(&made, "token").to_owned())
}

fn over_http(show: &mut Show) -> Told {
    let (police, town) = (show.stage.member("politie"), show.stage.member("gemeente"));
    let sender = Client { token: token(&show.stage, police, "send:F02")?, ..show.ways.police.clone() };
    let receiver = Client { token: token(&show.stage, town, "receive:F02")?, ..show.ways.town.clone() };
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
        "F02 politie → gemeente over HTTP: tweemaal gestuurd, één bericht; overgenomen, en de afzender weet het",
        "F02 politie → gemeente over HTTP: sent twice, one message; taken over, and its sender knows",
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

fn in_a_folder(show: &mut Show) -> Told {
    let sample = show.sample("F01")?;
    let out = folder(&show.stage);
    let signal = json!({ "flow": "F01", "to": ["gemeente"], "step": "1", "body": sample.value["body"] });
    fs::write(out.join("melding.json"), signal.to_string())?;
    let mut receipt = Value::Null;
    process::until("the file is sent", PATIENCE, || {
        let text = fs::read(out.join("sent/melding.receipt.json")).unwrap_or_default();
        receipt = serde_json::from_slice(&text).unwrap_or_default();
        receipt["state"] == "accepted"
    })?;
    let id = text(&receipt, "msg_id").to_owned();
    show.arrival(show.stage.member("gemeente"), &id)?;
    check(
        !out.join("melding.json").exists(),
        "Het bestand ligt nog in de map.",
        "The file is still in the folder.",
    )?;
    // Nothing stays behind but what agents keep encrypted: the broker's folder is searched for content later.
    fs::remove_dir_all(&out)?;
    fs::create_dir_all(&out)?;
    show.expect(Some("jongerenwerk"), &["gemeente".to_owned()]);
    show.teller.right(
        "F01 jongerenwerk → gemeente uit een map: verstuurd, met het ontvangstbewijs ernaast",
        "F01 jongerenwerk → gemeente from a folder: sent, with the receipt beside it",
    );
    show.sum(
        ("systemen", "één signaal over HTTP en één uit een map, elk één keer".to_owned()),
        ("systems", "one signal over HTTP and one from a folder, each once".to_owned()),
    );
    Ok(())
}
