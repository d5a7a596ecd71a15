//! Between the core's writes and the store's turns.

use std::sync::Arc;

use seinhuis_broker_core::{Change, Table, Write};
use seinhuis_journal::{BlobId, RowChange, Store, StoreError, Turn};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;

/// The writes of one turn as one journal record.
pub(crate) fn turn(writes: Vec<Write>) -> Turn {
    let mut turn = Turn::default();
    for write in writes {
        match write.change() {
            Change::Put { table, key, value } => turn.rows.push(RowChange { table, key, value: Some(value) }),
            Change::Delete { table, key } => turn.rows.push(RowChange { table, key, value: None }),
            Change::Keep { blob, bytes } => turn.blobs.push((BlobId(blob), Arc::unwrap_or_clone(bytes))),
            Change::Erase { blob } => turn.drops.push(BlobId(blob)),
        }
    }
    turn
}

/// A row as the core reads it back: table, key, value.
pub(crate) type TableRow = (Table, Vec<u8>, Vec<u8>);

/// Every row, in the order in which the core reads them back.
pub(crate) fn rows(store: &dyn Store) -> Result<Vec<TableRow>, StoreError> {
    let mut all = Vec::new();
    for table in Table::ALL {
        all.extend(store.scan(table.number())?.into_iter().map(|(key, value)| (table, key, value)));
    }
    Ok(all)
}

/// A store's fault, told to the operator.
pub(crate) fn complaint(error: &StoreError) -> Complaint {
    Complaint::usage(
        Text::new(format!("De opslag weigert: {}", error.dutch()), format!("The store refuses: {error}")),
        Text::new(
            "Volg de aanwijzing in de melding; `seinhuis-broker doctor` toont de toestand. Wat aangenomen is, blijft bewaard.",
            "Follow the hint in the message; `seinhuis-broker doctor` shows the state. What was accepted is kept.",
        ),
    )
}
