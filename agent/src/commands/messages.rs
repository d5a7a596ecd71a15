//! Looking at what was sent and received.

use std::io::Write as _;

use data_encoding::BASE64;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::cli::{Outcome, Ui, aligned};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::Value;

use super::request::{Look, Request, ask};
use crate::home::Home;

pub(super) fn cell(row: &Value, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) if text.is_empty() => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

fn refusal(row: &Value) -> String {
    let number = row.pointer("/refusal/number").and_then(Value::as_u64);
    let known = number.and_then(|number| u16::try_from(number).ok()).and_then(Refusal::from_number);
    known.map_or_else(|| number.map_or_else(|| "-".into(), |n| n.to_string()), |refusal| refusal.to_string())
}

pub(super) fn table(value: &Value, heading: &str, columns: &[&str], ui: Ui) {
    table_of(value, value, heading, columns, ui);
}

/// Shows a list as a table to people, and `value` to machines.
pub(super) fn table_of(list: &Value, value: &Value, heading: &str, columns: &[&str], ui: Ui) {
    let mut rows = vec![heading.split(' ').map(str::to_owned).collect::<Vec<_>>()];
    for row in list.as_array().into_iter().flatten() {
        let cells = columns.iter().map(|key| if *key == "refusal" { refusal(row) } else { cell(row, key) });
        rows.push(cells.collect());
    }
    ui.answer(&Text::same(ui.table(&rows)), value);
}

pub(super) fn outbox(home: &Home, lines: u64, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::Look(Look::Outbox { lines }))?;
    let heading = ui.lang.pick(
        "NR BERICHT STAND STROOM STAP AAN ONTVANGST GEMAAKT REDEN",
        "NO MESSAGE STATE FLOW STEP TO REACHED CREATED REASON",
    );
    let columns = ["position", "msg_id", "state", "flow", "step", "to", "reached", "created", "refusal"];
    table(&value, heading, &columns, ui);
    Ok(Outcome::Done)
}

/// One message sent, with what a person decided about it.
pub(super) fn sent(home: &Home, id: String, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::Look(Look::Message { msg_id: id }))?;
    let words = [
        ("bericht", "message", "msg_id"),
        ("stand", "state", "state"),
        ("stroom", "flow", "flow"),
        ("stap", "step", "step"),
        ("aan", "to", "to"),
        ("zaak", "case", "case"),
        ("aangeboden", "pushed", "created"),
        ("geldig tot", "valid until", "expires"),
        ("afgesloten", "decided", "decided"),
        ("pakket", "packet", "packet"),
    ];
    let shown = |lang: Lang| {
        let mut rows: Vec<(&str, String)> =
            words.iter().map(|(nl, en, key)| (lang.pick(nl, en), cell(&value, key))).collect();
        rows.push((lang.pick("reden", "reason"), refusal(&value)));
        let decided = super::push::decision(&value, lang);
        let none = lang.pick("geen besluit", "no decision").to_owned();
        rows.push((lang.pick("vrijgave", "release"), if decided.is_empty() { none } else { decided }));
        rows.extend(reached(&value, lang));
        aligned(&rows)
    };
    ui.answer(&Text::new(shown(Lang::Nl), shown(Lang::En)), &value);
    Ok(Outcome::Done)
}

/// How far the message is at each recipient, and whether it is taken back.
fn reached(value: &Value, lang: Lang) -> Vec<(&'static str, String)> {
    let words = |at: &str| match at {
        "accepted" => lang.pick("aangenomen voor", "accepted for"),
        "stored" => lang.pick("opgeslagen bij", "stored at"),
        "quarantined" => lang.pick("in quarantaine bij", "quarantined at"),
        "consumed" => lang.pick("overgenomen door", "consumed by"),
        "withdrawn" => lang.pick("teruggenomen van", "taken back from"),
        "expired" => lang.pick("verlopen voor", "expired for"),
        _ => lang.pick("vernietigd voor", "shredded for"),
    };
    let mut rows = Vec::new();
    for one in value.get("recipients").and_then(Value::as_array).into_iter().flatten() {
        rows.push((words(&cell(one, "reached")), format!("{} {}", cell(one, "to"), cell(one, "at"))));
    }
    if let Some(taken) = value.get("taken_back").filter(|taken| !taken.is_null()) {
        let how = match (taken.get("done").and_then(Value::as_bool), refusal(taken)) {
            (Some(true), _) => {
                lang.pick("vastgelegd; wie het al had staat hierboven", "logged; who had it is above").into()
            }
            (_, none) if none == "-" => lang.pick("wacht op de broker", "waits for the broker").to_owned(),
            (_, refused) => refused,
        };
        rows.push((lang.pick("terugnemen", "taking back"), how));
    }
    rows
}

/// Takes a message back from who does not have it.
pub(super) fn take_back(home: &Home, id: String, reason: String, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::TakeBack { msg_id: id, reason })?;
    let id = cell(&value, "msg_id");
    let here = value.get("taken_back").is_none_or(Value::is_null);
    let text = if here {
        Text::new(
            format!("{id} is teruggenomen voordat het verstuurd was."),
            format!("{id} is taken back before it was sent."),
        )
    } else {
        Text::new(
            format!(
                "{id} wordt teruggenomen van wie het niet heeft; `outbox show` zegt van wie. Wie het al heeft: trek het daar in met `withdraw`."
            ),
            format!(
                "{id} is taken back from who does not have it; `outbox show` says from whom. Who has it already: withdraw it there with `withdraw`."
            ),
        )
    };
    ui.answer(&text, &value);
    Ok(Outcome::Done)
}

/// Reports that the own application took a message over.
pub(super) fn consumed(home: &Home, id: String, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::Consumed { id })?;
    let id = cell(&value, "msg_id");
    let text = Text::new(
        format!("Dat {id} is overgenomen, is vastgelegd en wordt de afzender gemeld."),
        format!("That {id} was taken over is kept, and its sender is told."),
    );
    ui.answer(&text, &value);
    Ok(Outcome::Done)
}

pub(super) fn inbox(home: &Home, lines: u64, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::Look(Look::Inbox { lines }))?;
    let heading = ui.lang.pick(
        "NR BERICHT STAND STROOM SOORT VAN OPGESLAGEN VOLGORDE OVERGENOMEN HERZIEN BEWAREN-TOT GEWIST REDEN",
        "NO MESSAGE STATE FLOW TYPE FROM STORED ORDER CONSUMED REVISED KEEP-UNTIL ERASED REASON",
    );
    table(
        &value,
        heading,
        &[
            "position",
            "msg_id",
            "state",
            "flow",
            "type",
            "from",
            "stored",
            "remark",
            "consumed",
            "revised",
            "keep_until",
            "erased",
            "refusal",
        ],
        ui,
    );
    Ok(Outcome::Done)
}

pub(super) fn erase(home: &Home, id: String, ground: String, ui: Ui) -> Result<Outcome, Complaint> {
    let (value, _) = ask(home, Request::Erase { id, ground })?;
    let id = cell(&value, "msg_id");
    let text = Text::new(
        format!(
            "De inhoud van {id} is gewist; de regel blijft als bewijs. De gemeente krijgt een bevestiging."
        ),
        format!(
            "The body of {id} is erased; its row stays as evidence. The municipality gets a confirmation."
        ),
    );
    ui.answer(&text, &value);
    Ok(Outcome::Done)
}

pub(super) fn read(home: &Home, look: Look, raw: bool, ui: Ui) -> Result<Outcome, Complaint> {
    let (mut value, _) = ask(home, Request::Look(look))?;
    let encoded = value.get("body").and_then(Value::as_str);
    let body = encoded.and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let Some(body) = body else {
        return Err(quarantined(&value));
    };
    if raw {
        // A reader that stopped reading wants no more, and that is no fault.
        _ = std::io::stdout().lock().write_all(&body);
        return Ok(Outcome::Done);
    }
    // A stored body has passed its schema, so it is JSON.
    let shown: Value = serde_json::from_slice(&body).unwrap_or_default();
    let pretty = serde_json::to_string_pretty(&shown).unwrap_or_default();
    let (nl, en) = (heading(&value, true), heading(&value, false));
    if let Some(object) = value.as_object_mut() {
        object.insert("body".into(), shown);
    }
    ui.answer(&Text::new(format!("{nl}\n\n{pretty}"), format!("{en}\n\n{pretty}")), &value);
    Ok(Outcome::Done)
}

fn heading(value: &Value, nl: bool) -> String {
    let words = [
        ("bericht", "message", "msg_id"),
        ("van", "from", "from"),
        ("stroom", "flow", "flow"),
        ("soort", "type", "type"),
        ("stap", "step", "step"),
        ("niveau", "level", "level"),
        ("zaak", "case", "case"),
        ("antwoord op", "in reply to", "in_reply_to"),
        ("herkomst", "origin", "origin"),
        ("doorgeven", "passing on", "handling"),
        ("oorspronkelijk pakket", "original packet", "source"),
        ("verzegeld", "sealed", "sealed"),
        ("aangenomen", "accepted", "accepted"),
        ("log", "log", "log"),
        ("logregel", "log entry", "entry"),
        ("volgorde", "order", "remark"),
        ("herzien", "revised", "revised"),
        ("herzien door", "revised by", "revised_by"),
        ("uitwerking", "effect", "effect"),
        ("bewaren (dagen)", "keep (days)", "retention_days"),
        ("bewaren tot", "keep until", "keep_until"),
    ];
    let rows: Vec<(&str, String)> = words
        .iter()
        .map(|(dutch, english, key)| (if nl { *dutch } else { *english }, cell(value, key)))
        .collect();
    aligned(&rows)
}

fn quarantined(value: &Value) -> Complaint {
    let number = value.pointer("/refusal/number").and_then(Value::as_u64);
    let known = number.and_then(|number| u16::try_from(number).ok()).and_then(Refusal::from_number);
    let about = cell(value, "msg_id");
    match known {
        Some(refusal) => Complaint::from_refusal(refusal).about(&about),
        None => Complaint::refused(
            Text::new("Dit bericht heeft geen leesbare inhoud.", "This message has no readable body."),
            Text::new("Vraag de afzender het opnieuw te sturen.", "Ask the sender to send it again."),
        )
        .about(&about),
    }
}
