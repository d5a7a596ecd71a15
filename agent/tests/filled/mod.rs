//! An inbox for an agent without a broker.

use seinhuis_agent_core::Locker as _;
use seinhuis_agent_core::rows::{InboxRow, Remark, position_key, table};
use seinhuis_journal::{JournalStore, RowChange, Store as _, Turn};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::{CaseId, Digest, MsgId};
use seinhuis_shared::receipt::{ProvedEntry, Receipt};
use seinhuis_shell::clock;

use crate::office::{Office, TOWN};

/// What nobody but the receiver may see.
pub(crate) const CONTENT: &str = "{\"naam\":  \"Jansen-van-de-test\", \"getal\": 1.0}";

/// Messages received, as a broker would have brought them, from a place of the inbox on: the flow and the case of each. The
/// agent must not run.
pub(crate) fn fill(office: &Office, from: u64, messages: &[(&str, u8)]) {
    let home = office.home();
    let options = home.load_config().unwrap().store.options();
    let (mut store, _) = JournalStore::open(&home.store(), options).unwrap();
    let vault = home.vault().unwrap();
    let mut rows = Vec::new();
    for (position, (flow, case)) in (from..).zip(messages) {
        let key = position_key(position);
        let body = vault.lock(table::BODY, &key, CONTENT.as_bytes()).unwrap();
        let row = seinhuis_agent_core::Write::Inbox(position, Box::new(row(position, flow, *case)));
        let body = seinhuis_agent_core::Write::Body(position, Some(body));
        rows.extend([row.row(), body.row()].map(|row| RowChange {
            table: row.table,
            key: row.key,
            value: row.value,
        }));
    }
    store.commit(Turn { rows, ..Turn::default() }).unwrap();
    Box::new(store).close().unwrap();
}

fn row(position: u64, flow: &str, case: u8) -> InboxRow {
    let number = u8::try_from(position).unwrap() + 1;
    let proved = ProvedEntry { index: 0, entry: Bytes(vec![1]), path: vec![] };
    let receipt =
        Receipt { version: 1, checkpoint: Bytes(b"localhost/log\n1\n".to_vec()), entries: vec![proved] };
    let now = clock::now();
    InboxRow {
        msg_id: MsgId([number; 16]),
        packet: Digest([number; 32]),
        outcome: 0,
        sender: Some(TOWN.parse().unwrap()),
        flow: flow.to_owned(),
        covenant: None,
        case: (case > 0).then_some(CaseId([case; 16])),
        message_type: "signaal".into(),
        step: "1".into(),
        level: "groep".into(),
        in_reply_to: None,
        media_type: "application/json".into(),
        issued: now,
        accepted: now,
        stored: now,
        trace: None,
        index: position,
        link: Digest([number; 32]),
        remark: Remark::InOrder,
        retention_days: Some(30),
        receipt: Bytes(receipt.to_bytes()),
    }
}
