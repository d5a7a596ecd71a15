//! What waits at the broker.

use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::Value;

use super::partner::entry;
use super::request::{Request, ask};
use crate::home::Home;

/// Shows what waits for each recipient, and what of it is damaged; exit code 1 when something is.
pub(super) fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let answer = ask(home, &Request::Mailboxes)?;
    let rows: Vec<Value> = answer.as_array().cloned().unwrap_or_default();
    ui.answer(&Text::new(lines(&rows, Lang::Nl), lines(&rows, Lang::En)), &answer);
    let damaged = rows.iter().any(|row| damaged(row).next().is_some());
    Ok(if damaged { Outcome::No } else { Outcome::Done })
}

fn damaged(row: &Value) -> impl Iterator<Item = &Value> {
    row.get("damaged").and_then(Value::as_array).into_iter().flatten()
}

fn lines(rows: &[Value], lang: Lang) -> String {
    let word = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let mut lines = Vec::new();
    for row in rows {
        let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
        let (oin, oldest) = (word(row, "oin"), word(row, "oldest"));
        let (packets, bytes) = (number("packets"), number("bytes"));
        lines.push(match lang {
            Lang::Nl => format!("{oin}: {packets} pakketten, {bytes} bytes, het oudste van {oldest}"),
            Lang::En => format!("{oin}: {packets} packets, {bytes} bytes, the oldest of {oldest}"),
        });
        for one in damaged(row) {
            let (packet, from, msg_id) = (word(one, "packet"), word(one, "from"), word(one, "msg_id"));
            let fault = one.pointer(lang.pick("/fault/0", "/fault/1")).and_then(Value::as_str);
            let fault = fault.unwrap_or_default();
            lines.push(match lang {
                Lang::Nl => format!(
                    "  BESCHADIGD, wordt niet bezorgd: {packet}, bericht {msg_id} van {from}. {fault}\n  Beëindig het met `seinhuis-broker mailbox drop {packet} --reason \"…\"`; de afzender hoort dat en kan opnieuw sturen."
                ),
                Lang::En => format!(
                    "  DAMAGED, not delivered: {packet}, message {msg_id} of {from}. {fault}\n  End it with `seinhuis-broker mailbox drop {packet} --reason \"…\"`; its sender is told and can send again."
                ),
            });
        }
    }
    if lines.is_empty() {
        lines.push(lang.pick("Er wacht niets.", "Nothing waits.").to_owned());
    }
    lines.join("\n")
}

/// Ends a packet that is damaged.
pub(super) fn end(home: &Home, packet: Digest, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let reason = super::log::purpose(reason)?;
    let answer = ask(home, &Request::DropDamaged { packet: packet.0, reason })?;
    ui.answer(
        &Text::new(
            format!(
                "Pakket {packet} is beëindigd{}; de afzender hoort het.",
                entry(&answer, " in logregel ")
            ),
            format!("Packet {packet} is ended{}; its sender is told.", entry(&answer, " in log entry ")),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// Has all that waits for a partner offered again.
pub(super) fn requeue(home: &Home, oin: Oin, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let reason = super::log::purpose(reason)?;
    let answer = ask(home, &Request::Requeue { oin, reason })?;
    let said = if answer.get("entry").is_some() {
        Text::new(
            format!(
                "De verbindingen van {oin} zijn gesloten{}; zijn agent komt vanzelf terug en krijgt alles wat wacht opnieuw aangeboden, het oudste eerst.",
                entry(&answer, " in logregel ")
            ),
            format!(
                "The connections of {oin} are closed{}; its agent comes back by itself and is offered all that waits again, the oldest first.",
                entry(&answer, " in log entry ")
            ),
        )
    } else {
        Text::new(
            format!("{oin} is niet verbonden; wat wacht wordt aangeboden zodra zijn agent er is."),
            format!("{oin} is not connected; what waits is offered as soon as its agent is there."),
        )
    };
    ui.answer(&said, &answer);
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_damaged_packet_gets_a_line_that_says_what_to_do() {
        assert_eq!(lines(&[], Lang::En), "Nothing waits.");
        let of = |damaged: Value| {
            [json!({ "oin": "A", "packets": 2, "bytes": 9, "oldest": "2026-03-01", "damaged": damaged })]
        };
        assert_eq!(lines(&of(json!([])), Lang::Nl), "A: 2 pakketten, 9 bytes, het oudste van 2026-03-01");
        let one = json!([{ "packet": "ab", "msg_id": "m", "from": "B", "fault": ["stuk", "broken"] }]);
        for (lang, words) in [(Lang::Nl, ["BESCHADIGD", "stuk"]), (Lang::En, ["DAMAGED", "broken"])] {
            let said = lines(&of(one.clone()), lang);
            assert!(words.iter().chain(&["mailbox drop ab"]).all(|word| said.contains(word)), "{said}");
        }
    }
}
