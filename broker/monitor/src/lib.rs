//! What an operator sees of a broker, and never a word of content.
//!
//! Entries of the exchange log are counted as they are written ([`Tally`]), so that every number leads to the entries
//! behind it and is the same after a restart. How queues, connections, witnesses and storage stand at one moment is put
//! beside that ([`Board`]). What of it is wrong follows from a fixed list ([`alarms`]). Pure: who reads logs and clocks
//! gives them.

pub mod alarms;
mod board;
mod distribution;
pub mod metrics;
mod offset;
mod reading;
mod series;
mod tally;
mod totals;

pub use board::{
    AgentRow, Board, CovenantRow, HandshakesRow, LaneRow, LinkRow, List, LogState, PacketsRow, Papers,
    QueueRow, QuorumRow, RefusalRow, Run, Storage, WitnessRow,
};
pub use distribution::{BATCH_ENTRIES, Distribution, FLUSH_MILLIS};
pub use offset::Offset;
pub use reading::{DiskLeft, Without};
pub use series::{Minute, Quarter, Series, WINDOW};
pub use tally::{Act, Lane, Place, Recent, Refusals, Seen, Tally};
pub use totals::Totals;
