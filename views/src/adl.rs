//! Authorization Decision Log: one access evaluation a decision to accept or refuse a message.

use std::io::{self, Write};

use data_encoding::HEXLOWER;
use seinhuis_shared::refusal::{Lang, Refusal};
use serde_json::{Map, Value, json};

use crate::book::Book;
use crate::{Draw, Leaf};

pub(crate) struct Adl {
    origin: String,
}

impl Adl {
    pub(crate) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned() }
    }
}

/// An object of what is there.
fn object<const N: usize>(fields: [(&str, Option<String>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect()
}

impl Draw for Adl {
    fn entry(&mut self, leaf: &Leaf<'_>, book: &Book, out: &mut dyn Write) -> io::Result<u64> {
        let entry = leaf.entry;
        let decision = match entry.kind.as_str() {
            "accepted" => true,
            "refused" => false,
            _ => return Ok(0),
        };
        let mut attributes = Map::new();
        if let Some(covenant) = &entry.covenant {
            attributes
                .insert("adl.core.policies".into(), json!({ "covenant": format!("sha256:{covenant}") }));
        }
        attributes
            .insert("adl.core.information".into(), json!({ "exchange-log": format!("leaf:{}", leaf.hash) }));
        let properties = object([
            ("to", entry.to.map(|oin| oin.to_string())),
            ("message_type", entry.message_type.clone()),
            ("step", entry.step.clone()),
            ("level", entry.level.clone()),
            ("categories", entry.categories.clone()),
            ("purpose", entry.purpose.clone()),
            ("basis", entry.basis.clone()),
            ("case", entry.case.map(|case| case.to_string())),
            ("msg_id", entry.msg_id.map(|id| id.to_string())),
            ("packet", entry.packet.map(|digest| digest.to_string())),
        ]);
        let from = entry.from.map(|oin| oin.to_string()).unwrap_or_default();
        // A packet whose context could not be read names no flow.
        let flow = entry.flow.clone().unwrap_or_else(|| "unknown".to_owned());
        let record = json!({
            "trace_id": HEXLOWER.encode(&leaf.trace(book)),
            "span_id": HEXLOWER.encode(&leaf.span()),
            "event_name": "adl.access_evaluation",
            "timestamp": entry.time.0,
            "status": "Unset",
            "attributes": attributes,
            "resource": { "service.name": "seinhuis-broker", "seinhuis.log": self.origin },
            "body": {
                "adl.core.request": {
                    "subject": { "type": "organisation", "id": from },
                    "action": { "name": "send" },
                    "resource": { "type": "flow", "id": flow, "properties": properties },
                    "context": { "time": entry.time.to_string() },
                },
                "adl.core.response": response(decision, entry.reason),
            },
        });
        serde_json::to_writer(&mut *out, &record)?;
        out.write_all(b"\n")?;
        Ok(1)
    }
}

fn response(decision: bool, reason: Option<u16>) -> Value {
    let Some(number) = reason else { return json!({ "decision": decision }) };
    let text = |lang| Refusal::from_number(number).map(|refusal| refusal.what(lang));
    json!({
        "decision": decision,
        "context": {
            "reason_admin": { "nl": text(Lang::Nl), "en": text(Lang::En) },
            "reason": number,
        },
    })
}
