//! The page for people, as a browser without scripts has it: somebody fills in a form, somebody else reads.

use seinhuis_tests::site::{Site, borrowed, filled, hidden, hidden_all};

use super::{person, taken_over};
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// Makes, looks at, sends and reads a signal.
pub(super) fn play(show: &mut Show) -> Told {
    let sample = show.sample("F02")?;
    let (police, town) = (show.stage.member("politie"), show.stage.member("gemeente"));
    let code = person(&show.stage, police, "Anna de Vries", "push:F02")?;
    let nobody = Site::new(show.ways.police_page);
    check(
        nobody.get("/")?.text().contains("name=\"code\"") && nobody.get("/new")?.status == 401,
        "Wie niet is aangemeld, wordt niet om een toegangscode gevraagd.",
        "Who is not signed in is not asked for an access code.",
    )?;
    let anna = Site::signed_in(show.ways.police_page, &code)?;
    let path = anna.form_for("F02")?;
    let key = hidden(&anna.get(&path)?.text(), "key");
    let mut fields = filled(&sample.value, &key, "check");
    fields.push(("to".to_owned(), town.oin.clone()));
    let look = anna.post(&path, &borrowed(&fields))?;
    let page = look.text();
    check(
        look.status == 200
            && page.contains(&sample.canary)
            && outbox(show)? == show.sent.get("politie").copied(),
        "Wat is ingevuld, wordt niet eerst getoond.",
        "What was filled in is not shown first.",
    )?;
    let mut shown = hidden_all(&page);
    shown.retain(|(name, _)| name != "token");
    shown.push(("do".to_owned(), "send".to_owned()));
    let (sent, again) = (anna.post(&path, &borrowed(&shown))?, anna.post(&path, &borrowed(&shown))?);
    let message = sent.field("location").to_owned();
    check(
        (sent.status, again.status) == (303, 303) && again.field("location") == message,
        format!("Tweemaal klikken is niet één bericht: {} {message}", sent.status),
        format!("Clicking twice is not one message: {} {message}", sent.status),
    )?;
    let id = message.rsplit('/').next().unwrap_or_default().to_owned();
    let row = show.arrival(town, &id)?;
    read(show, &format!("/inbox/{}", row["position"]), &sample.canary)?;
    taken_over(show, police, &id)?;
    check(
        anna.get(&message)?.status == 200 && text(&row, "flow") == "F02",
        "De afzender ziet haar eigen bericht niet.",
        "The sender does not see her own message.",
    )?;
    show.expect(Some("politie"), &["gemeente".to_owned()]);
    show.teller.right(
        "pagina   F02 politie → gemeente: aangemeld, ingevuld, bekeken en tweemaal op versturen geklikt: één bericht; gelezen en overgenomen",
        "page     F02 politie → gemeente: signed in, filled in, looked at and sent with two clicks: one message; read and taken over",
    );
    Ok(())
}

/// How many messages the police's agent keeps as sent.
fn outbox(show: &Show) -> Told<Option<u64>> {
    let listed = show.stage.agent(show.stage.member("politie"), &["outbox", "list", "-n", "100000"])?;
    Ok(listed.as_array().and_then(|rows| u64::try_from(rows.len()).ok()))
}

/// Somebody at the municipality finds the message, reads it and says that it is taken over.
fn read(show: &Show, path: &str, canary: &str) -> Told {
    let town = show.stage.member("gemeente");
    let code = person(&show.stage, town, "Bram Bakker", "read:F02")?;
    let bram = Site::signed_in(show.ways.town_page, &code)?;
    let listed = bram.get("/inbox")?.text().contains(&format!("href=\"{path}\""));
    let shown = bram.get(path)?.text().contains(canary);
    check(
        listed && shown,
        "De gemeente vindt het bericht niet op haar pagina.",
        "The municipality does not find the message on its page.",
    )?;
    let taken = bram.post(&format!("{path}/consumed"), &[])?;
    if taken.status == 303 {
        return Ok(());
    }
    Err(Trouble::new(
        format!("Het overnemen is geweigerd ({}).", taken.status),
        format!("Taking over was refused ({}).", taken.status),
    ))
}
