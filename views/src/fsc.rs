//! FSC transaction log: a record when the broker takes a message in, and one when it hands it out.

use std::io::{self, Write};

use data_encoding::HEXLOWER;
use serde_json::json;

use crate::book::Book;
use crate::{Draw, Leaf};

pub(crate) struct Fsc;

impl Draw for Fsc {
    fn entry(&mut self, leaf: &Leaf<'_>, book: &Book, out: &mut dyn Write) -> io::Result<u64> {
        let entry = leaf.entry;
        let direction = match entry.kind.as_str() {
            "accepted" => "DIRECTION_INCOMING",
            "delivered" => "DIRECTION_OUTGOING",
            _ => return Ok(0),
        };
        let (Some(from), Some(to), Some(covenant), Some(flow)) =
            (entry.from, entry.to, entry.covenant, &entry.flow)
        else {
            return Ok(0);
        };
        let record = json!({
            "transaction_id": HEXLOWER.encode(&leaf.trace(book)),
            "direction": direction,
            "grant_hash": covenant.to_string(),
            "source": { "type": "SOURCE_TYPE_SOURCE", "outway_peer_id": from.to_string() },
            "destination": { "type": "DESTINATION_TYPE_DESTINATION", "service_peer_id": to.to_string() },
            // A service's name has at least three characters; a flow's may have one.
            "service_name": format!("flow-{flow}"),
            "created_at": entry.time.0 / 1000,
        });
        serde_json::to_writer(&mut *out, &record)?;
        out.write_all(b"\n")?;
        Ok(1)
    }
}
