//! The rows that broker and agent keep: one byte for the table, one for the length of the key.

use seinhuis_agent_core::Write as AgentWrite;
use seinhuis_agent_core::rows::table;
use seinhuis_broker_core::{Change, Table, Write as BrokerWrite};

fn split(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([table, length], rest) = data.split_first_chunk::<2>()?;
    let (key, value) = rest.split_at_checked(usize::from(*length))?;
    Some((*table, key, value))
}

/// A row of the agent.
pub fn agent_rows(data: &[u8]) -> bool {
    let Some((table, key, value)) = split(data) else { return false };
    // The one row without a key that is looked at.
    let key = if table == table::META { &[] } else { key };
    let read = AgentWrite::read(table, key, value);
    if let Ok(write) = &read {
        let row = write.row();
        let alone = matches!(table, table::PIN | table::BUNDLE);
        assert!(row.table == table && (alone || row.key == key), "a row moves to another place");
        assert_eq!(row.value.as_deref(), Some(value), "a row re-encodes otherwise");
    }
    read.is_ok()
}

/// A row of the broker.
pub fn broker_rows(data: &[u8]) -> bool {
    let Some((number, key, value)) = split(data) else { return false };
    let Some(table) = Table::ALL.into_iter().find(|table| table.number() == number) else { return false };
    let Some(write) = BrokerWrite::from_row(table, key, value) else { return false };
    let Change::Put { table: number, key: own, value: bytes } = write.change() else { return false };
    let exact = !matches!(table, Table::Partners | Table::Prekeys);
    // Keys of these tables are an OIN; what follows it is not looked at.
    assert!(number == table.number() && (own == key || (!exact && key.starts_with(&own))), "another place");
    assert_eq!(bytes, value, "a row re-encodes otherwise");
    true
}
