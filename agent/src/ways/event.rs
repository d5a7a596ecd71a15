//! What happened, as an event of `CloudEvents` 1.0 (the NL GOV profile).

use seinhuis_agent_core::rows::InboxRow;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::operation::{organisation, span_id};
use serde_json::{Value, json};

/// What happened, by name.
pub(super) struct Occurrence {
    /// The event's id: the same for the same event, however often it is told.
    pub(super) id: String,
    /// The end of its type.
    pub(super) name: String,
    /// What it happened to.
    pub(super) subject: String,
    /// When.
    pub(super) time: String,
}

impl Occurrence {
    /// That a message was received.
    pub(super) fn received(id: String, row: &InboxRow) -> Self {
        Self {
            id,
            name: "message.received".to_owned(),
            subject: row.msg_id.to_string(),
            time: row.stored.to_string(),
        }
    }

    /// As an event of the agent of this organisation.
    pub(super) fn cloud(self, own: Oin, data: &Value) -> Value {
        json!({
            "specversion": "1.0",
            "id": self.id,
            "source": format!("{}:systeem:seinhuis-agent", organisation(own)),
            "type": format!("nl.seinhuis.{}", self.name),
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "data": data,
        })
    }
}

/// An event of [`Occurrence::received`], in the trace of its message.
pub(super) fn received(id: String, own: Oin, row: &InboxRow, data: &Value) -> Value {
    let mut event = Occurrence::received(id, row).cloud(own, data);
    if let (Some(trace), Some(sender)) = (row.trace, row.sender) {
        let parent = data_encoding::HEXLOWER.encode(&span_id(&row.packet, own, sender, 0));
        event["traceparent"] = format!("00-{trace}-{parent}-01").into();
    }
    event
}
