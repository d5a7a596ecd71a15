//! Single rows of the store, read between two turns.

use seinhuis_agent_core::Write;
use seinhuis_agent_core::rows::{
    InboxRow, NoticesRow, OutboxRow, ProvenanceRow, ReleaseRow, position_key, table,
};
use seinhuis_journal::Store;
use seinhuis_shared::ids::MsgId;

/// One row of the store; none when it is not there, or does not read.
fn row(store: &dyn Store, of: u8, key: &[u8]) -> Option<Write> {
    Write::read(of, key, &store.get(of, key).ok()??).ok()
}

/// What is stored about where the body of a received message comes from, if that is more than its flow says.
pub(crate) fn provenance_row(store: &dyn Store, position: u64) -> Option<ProvenanceRow> {
    let Write::Provenance(_, row) = row(store, table::PROVENANCE, &position_key(position))? else {
        return None;
    };
    Some(row)
}

/// What a person decided about a message, if somebody did.
pub(crate) fn release_row(store: &dyn Store, msg_id: &MsgId) -> Option<ReleaseRow> {
    let Write::Release(_, row) = row(store, table::RELEASE, &msg_id.0)? else { return None };
    Some(row)
}

/// One row of the outbox.
pub(crate) fn outbox_row(store: &dyn Store, position: u64) -> Option<OutboxRow> {
    let Write::Outbox(_, row) = row(store, table::OUTBOX, &position_key(position))? else { return None };
    Some(*row)
}

/// One row of the inbox.
pub(crate) fn inbox_row(store: &dyn Store, position: u64) -> Option<InboxRow> {
    let Write::Inbox(_, row) = row(store, table::INBOX, &position_key(position))? else { return None };
    Some(*row)
}

/// Notices that are kept, by their number.
pub(crate) fn notices_row(store: &dyn Store, number: u64) -> Option<NoticesRow> {
    let Write::Notices(_, row) = row(store, table::NOTICES, &position_key(number))? else { return None };
    Some(*row)
}
