//! What must hold for every decoder and any bytes.
//!
//! Each check takes arbitrary bytes, says whether they are accepted, and panics when the decoder breaks its
//! promise: bytes are refused or re-encode to themselves, what is accepted is within its bounds, nothing
//! else panics. The fuzz targets
//! in `fuzz/fuzz_targets` search for bytes that break one; `tests/corpus.rs` replays the ones committed.
//!
//! Where a digest or signature keeps mutated bytes out, a check also wraps the bytes in a right digest or
//! signature of its own ([`known`]), so that what lies behind is reached.
#![warn(missing_docs)]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a check reports")]

pub mod answers;
pub mod case;
pub mod control;
pub mod covenant;
pub mod export;
pub mod journal;
pub mod known;
pub mod log;
pub mod packet;
pub mod rotation;
pub mod rows;
pub mod shell;

/// The name of a fuzz target and of its corpus folder, and its check.
pub type Target = (&'static str, Check);

/// Takes any bytes and says whether they are accepted; panics when a promise is broken.
pub type Check = fn(&[u8]) -> bool;

/// Every check.
pub const TARGETS: &[Target] = &[
    ("acknowledgement", answers::acknowledgement),
    ("add_checkpoint", log::add_checkpoint),
    ("agent_config", shell::agent_config),
    ("agent_rows", rows::agent_rows),
    ("body", covenant::body),
    ("broker_card", shell::broker_card),
    ("broker_config", shell::broker_config),
    ("broker_rows", rows::broker_rows),
    ("case_decision", case::decision),
    ("certificate", shell::certificate),
    ("checkpoint", log::checkpoint),
    ("consent", answers::consent),
    ("content", packet::content),
    ("control", control::control),
    ("cosignature", answers::cosignature),
    ("covenant", covenant::canonical),
    ("covenant_toml", covenant::source),
    ("csr", shell::csr),
    ("csv", shell::csv),
    ("encrypt", packet::encrypt),
    ("enrolment", packet::enrolment),
    ("entries", answers::entries),
    ("entry", log::entry),
    ("entry_bundle", log::entry_bundle),
    ("export", export::bundle),
    ("export_policy", export::policy),
    ("frame", packet::frame),
    ("grant", shell::grant),
    ("journal_record", journal::record),
    ("journal_segment", journal::segment),
    ("json", covenant::json),
    ("ledger", shell::ledger),
    ("note", log::note),
    ("packet", packet::packet),
    ("packet_parts", packet::packet_parts),
    ("policy", log::policy),
    ("prekeys", packet::prekeys),
    ("proof", log::proof),
    ("receipt", log::receipt),
    ("receipt_file", log::receipt_file),
    ("rotation", rotation::rotation),
    ("schema", covenant::schema),
    ("sealed_key", shell::sealed_key),
    ("sign1", packet::sign1),
    ("succession", answers::succession),
    ("tile", log::tile),
    ("tile_path", log::tile_path),
    ("vkey", log::vkey),
    ("vote", covenant::vote),
    ("wire", packet::wire),
    ("witness_answer", log::witness_answer),
];
