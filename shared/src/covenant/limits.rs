//! Bounds on a covenant document; those shared with packets stand in [`crate::limits`].

pub use crate::limits::{BODY_MAX, CATEGORIES_MAX, COVENANT_MAX, RECIPIENTS_MAX, TEXT_MAX, TTL_MAX};

/// Most bytes of the TOML parts together.
pub const SOURCE_MAX: usize = 1024 * 1024;
/// Most bytes of one schema as read or in canonical form.
pub const SCHEMA_MAX: usize = 64 * 1024;
/// Most bytes of a text for people: a title, a clause, an explanation.
pub const PROSE_MAX: usize = 2000;
/// Most parties.
pub const PARTIES_MAX: usize = 256;
/// Most signing keys of one party: the running key and its successor, with slack.
pub const KEYS_MAX: usize = 4;
/// Most witnesses that are no party.
pub const OUTSIDE_MAX: usize = 16;
/// Most parties with a witness key: with the others no more than a trust policy holds.
pub const WITNESSES_MAX: usize = 48;
/// Most bytes of an address.
pub const URL_MAX: usize = 255;
/// Most flows.
pub const FLOWS_MAX: usize = 256;
/// Most routes of one flow.
pub const ROUTES_MAX: usize = 32;
/// Most message types.
pub const TYPES_MAX: usize = 256;
/// Most message types of one flow.
pub const FLOW_TYPES_MAX: usize = 8;
/// Most data categories in a covenant.
pub const ALL_CATEGORIES_MAX: usize = 256;
/// Most purposes, and most legal bases.
pub const CLAUSES_MAX: usize = 64;
/// Most legal bases of one flow.
pub const FLOW_BASES_MAX: usize = 8;
/// Most decisions under Wpg article 20.
pub const DECISIONS_MAX: usize = 64;
/// Most conditions, and most of them on one flow.
pub const CONDITIONS_MAX: usize = 16;
/// Longest time a superseded version may still be used, in days.
pub const OVERLAP_DAYS_MAX: u32 = 366;
/// Longest retention or log term, in days: thirty years.
pub const DAYS_MAX: u32 = 10_958;
/// How deep a body may nest.
pub const BODY_DEPTH: usize = 16;
/// How deep a schema may nest: every level of a body is `properties` and one name in it.
pub const SCHEMA_DEPTH: usize = 36;
/// Most characters a text field of a body may allow.
pub const FIELD_TEXT_MAX: u64 = 20_000;
/// Most items an array field of a body may allow.
pub const FIELD_ITEMS_MAX: u64 = 1000;
/// Most values an `enum` lists, and most properties one object names.
pub const FIELD_NAMES_MAX: usize = 256;

const _: () = {
    assert!(SOURCE_MAX <= COVENANT_MAX * 2, "what is read is in proportion to what is signed");
    assert!(SCHEMA_DEPTH > 2 * BODY_DEPTH, "a schema can describe the deepest body");
};
