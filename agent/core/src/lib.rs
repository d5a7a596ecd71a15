//! Every decision of the agent: what is sealed, sent, believed, stored, acknowledged and when.
//!
//! [`Core::handle`] takes an [`Input`] and the time, and puts what is to be done into a [`Turn`]: rows to
//! make durable, then things to send, answer and tell. The shell commits the rows before it does any of the
//! rest; that order is the whole promise. Nothing here does IO, reads a clock or draws randomness: chance,
//! encryption and the signing key come in through [`Ports`].
//!
//! [`Agreed`] holds the covenants and what the parties said of them · [`Cases`] what they decided about cases ·
//! [`minimise`] judges a body before it is sealed · `outbox` keeps packets until a verdict is proved, and `outbox::release` until a person decides · `inbox` repeats every check on what arrives · [`onward`] says where a body comes from and keeps consents ·
//! `corrections` tells every earlier recipient that a message is wrong, `marks` takes that in · `retention` erases bodies at their term · `records` keeps processings for this organisation's own log of them, [`register`] of whom messages were exchanged and whether they were told · `trust` pins the exchange log, `logs` and `following` go from one to the next, `witness` cosigns it · `prekeys` makes and
//! fetches encryption keys · [`backoff`] says how long to wait · [`rows`] is what is durable.
#![warn(missing_docs, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod agreed;
pub mod backoff;
pub mod carrier;
mod cases;
mod corrections;
mod engine;
mod follow;
mod following;
mod inbox;
mod logs;
mod marks;
pub mod minimise;
pub mod onward;
mod outbox;
mod ports;
mod prekeys;
mod records;
pub mod register;
mod retention;
mod rotation;
pub mod rows;
mod service;
mod status;
mod trust;
mod turn;
mod witness;
mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "testing"))]
pub mod toy;

pub use agreed::{Agreed, Extent};
pub use cases::Cases;
pub use corrections::CorrectRequest;
pub use engine::{Core, Settings};
pub use follow::{Step, Track};
pub use following::OfferedLog;
pub use minimise::{PushRequest, Rejection, Target};
pub use onward::{Grant, Source};
pub use outbox::{
    HELD_BYTES_MAX, HELD_MAX, Held, OUTBOX_BYTES_MAX, OUTBOX_MAX, REASON_MAX, Release, WINDOW_BYTES,
    WINDOW_PACKETS,
};
pub use ports::{Chance, Crypto, Locker, Ports, Pseudonyms, Recording};
pub use records::pseudonym;
pub use register::Telling;
pub use rotation::Turning;
pub use rows::{
    ActRow, AlarmKind, AlarmRow, CaseEnd, ConsumedRow, CorrectionKind, CorrectionRow, CorrectionState,
    CosignedRow, DetailRow, Duty, DutyRow, ErasedRow, Exchange, ExchangeRow, Ground, InboxRow, InformsRow,
    LogRow, MarkRow, Noted, NoticesRow, Operation, OutboxRow, PersonFile, PersonRow, PlaceRow, ProposalRow,
    ProvenanceRow, Reached, RecordRow, ReleaseRow, Remark, RestoreError, RotationRow, Row, Stage, SubjectRow,
    TakeBackRow, WordRow, Write,
};
pub use status::{Peer, Status};
pub use turn::{Event, Input, Pushed, Reply, Send, Turn, Unfetched};
pub use witness::Quorum;
