//! A folder in which a system leaves files.

use std::fs;
use std::path::PathBuf;

use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Stage, process};
use serde_json::{Value, json};

use crate::show::{Show, text};
use crate::trouble::{Told, check};

/// The folder in which youth work's case system leaves files.
fn folder(stage: &Stage) -> PathBuf {
    stage.dir.join("jongerenwerk-uit")
}

/// Has youth work's agent watch it.
pub(super) fn open(stage: &Stage) -> Told {
    let out = folder(stage);
    fs::create_dir_all(&out)?;
    let watched =
        format!("\n[[folder]]\nname = \"zaaksysteem\"\nout = {:?}\nevery_s = 1\n", out.to_string_lossy());
    Ok(stage.configure_agent(stage.member("jongerenwerk"), &watched)?)
}

/// Leaves a signal there.
pub(super) fn play(show: &mut Show) -> Told {
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
        "map      F01 jongerenwerk → gemeente: het bestand is verstuurd, met het ontvangstbewijs ernaast",
        "folder   F01 jongerenwerk → gemeente: the file is sent, with the receipt beside it",
    );
    Ok(())
}
