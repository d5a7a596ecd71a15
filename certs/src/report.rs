//! What an operator looks at: all certificates, and what ends soon.

use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::cli::Ui;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::ledger::{Ledger, Record};

/// A list lives weeks, so looking further ahead than this for its end would always find it.
const CRL_AHEAD: Span = Span::days(7);

/// Something that ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    what: Text,
    kind: &'static str,
    serial: Option<String>,
    not_after: Timestamp,
}

fn state(record: &Record, now: Timestamp, lang: Lang) -> String {
    match record.revoked {
        Some(revoked) => format!("{} ({})", lang.pick("ingetrokken", "revoked"), revoked.reason),
        None if record.is_valid(now) => lang.pick("geldig", "valid").to_owned(),
        None => lang.pick("verlopen", "ended").to_owned(),
    }
}

/// All certificates, as a table and for machines.
pub(crate) fn list(ledger: &Ledger, ui: Ui, now: Timestamp) -> (Text, Value) {
    let table = |lang: Lang| {
        let heads = lang
            .pick("serienummer|soort|OIN|geldig tot|staat|naam", "serial|kind|OIN|valid until|state|name");
        let mut rows: Vec<Vec<String>> = vec![heads.split('|').map(str::to_owned).collect()];
        rows.extend(ledger.certificates.iter().map(|record| {
            vec![
                record.serial.clone(),
                record.kind.to_string(),
                record.oin.to_string(),
                record.not_after.to_string(),
                state(record, now, lang),
                record.name.clone(),
            ]
        }));
        ui.table(&rows)
    };
    let rows: Vec<Value> = ledger
        .certificates
        .iter()
        .map(|record| {
            json!({
                "serial": record.serial, "kind": record.kind, "oin": record.oin, "name": record.name,
                "signing_key": record.signing_key.to_string(), "not_after": record.not_after.to_string(),
                "valid": record.is_valid(now), "revoked": record.revoked.map(|revoked| revoked.reason),
            })
        })
        .collect();
    (Text::new(table(Lang::Nl), table(Lang::En)), json!({ "certificates": rows }))
}

/// Everything whose end matters, soonest first: the CA, its list, and each node's latest certificate
/// unless it was revoked. Earlier ones were replaced.
pub(crate) fn ends(ca: &Authority, now: Timestamp) -> Result<Vec<End>, Complaint> {
    let mut ends = vec![
        End {
            what: Text::new("de CA zelf", "the CA itself"),
            kind: "ca",
            serial: None,
            not_after: ca.ca_end(),
        },
        End {
            what: Text::new("de intrekkingslijst", "the revocation list"),
            kind: "crl",
            serial: None,
            not_after: ca.crl_end()?,
        },
    ];
    let alive = |record: &&Record| record.revoked.is_none() && !long_gone(record, now);
    ends.extend(ca.ledger().latest().into_iter().filter(alive).map(|record| End {
        what: Text::same(format!("{} {} ({})", record.oin, record.kind, record.name)),
        kind: "certificate",
        serial: Some(record.serial.clone()),
        not_after: record.not_after,
    }));
    ends.sort_by_key(|end| end.not_after);
    Ok(ends)
}

/// A node that let its certificate lapse a year ago has left without saying so.
fn long_gone(record: &Record, now: Timestamp) -> bool {
    now.since(record.not_after) > Span::days(365)
}

/// What ends within so many days, for people and for machines, and whether there is anything.
pub(crate) fn expiry(ends: &[End], within: u16, ui: Ui, now: Timestamp) -> (Text, Value, bool) {
    let ahead = Span::days(u64::from(within));
    let soon: Vec<&End> = ends
        .iter()
        .filter(|end| end.not_after <= now.plus(if end.kind == "crl" { ahead.min(CRL_AHEAD) } else { ahead }))
        .collect();
    let text = |lang: Lang| {
        if soon.is_empty() {
            let next = ends.first().map(|end| format!("{} ({})", end.not_after, end.what.in_lang(lang)));
            let next = next.unwrap_or_default();
            return match lang {
                Lang::Nl => format!("Binnen {within} dagen verloopt niets. Eerstvolgende: {next}."),
                Lang::En => format!("Nothing ends within {within} days. Next: {next}."),
            };
        }
        let rows: Vec<Vec<String>> = soon
            .iter()
            .map(|end| {
                vec![
                    end.not_after.to_string(),
                    when(end.not_after, now, lang),
                    end.what.in_lang(lang).to_owned(),
                ]
            })
            .collect();
        let next = lang.pick(
            "Vraag de partners om een nieuwe aanvraag (renew); maak een nieuwe lijst met crl.",
            "Ask the partners for a new request (renew); make a new list with crl.",
        );
        format!("{}\n{next}", ui.table(&rows))
    };
    let rows: Vec<Value> = soon
        .iter()
        .map(|end| {
            json!({
                "kind": end.kind, "what": end.what.en, "serial": end.serial,
                "not_after": end.not_after.to_string(), "ended": end.not_after <= now,
            })
        })
        .collect();
    (
        Text::new(text(Lang::Nl), text(Lang::En)),
        json!({ "within_days": within, "ends": rows }),
        !soon.is_empty(),
    )
}

fn when(end: Timestamp, now: Timestamp, lang: Lang) -> String {
    let days = end.since(now).0 / Span::days(1).0;
    if end <= now {
        lang.pick("verlopen", "ended").to_owned()
    } else {
        format!("{days} {}", lang.pick("dagen", "days"))
    }
}
