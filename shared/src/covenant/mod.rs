//! The covenant: what partners have agreed may be sent, as a document, and the pure judgement over it.
//!
//! [`Covenant`] is the document: written by people as TOML ([`Covenant::from_toml`]), hashed as canonical
//! CBOR ([`Covenant::to_bytes`]). [`Compiled`] is one validated version with its hash and its indexes.
//! [`evaluate`] answers whether one packet may pass, and names the rule in a [`Permit`] or the reason in
//! a refusal. [`check_body`] holds a plaintext body against the schema of its message type and against
//! what its sender declared about it. The rules of [`law`] hold whatever a document says.
//!
//! For the people who sign there are [`review::Review`], which tells what a version allows, [`difference`],
//! which tells what it changes, and [`lint::lint`], which tells what is allowed and looks wrong.
//!
//! The parties' signatures are made over [`Covenant::hash`] and therefore live beside the document, not
//! in it: [`Agreement`] holds them, and judges packets only while the version is in force.

pub mod agreement;
mod body;
mod compiled;
mod declared;
mod difference;
mod document;
mod error;
mod evaluate;
pub mod json;
pub mod law;
pub mod limits;
pub mod lint;
pub mod review;
pub mod schema;
mod source;
mod validate;
mod vocabulary;
pub mod witnesses;
mod words;

#[cfg(test)]
mod tests;

pub use agreement::{Agreement, Agreements};
pub use body::{DeclareError, Found, check_body};
pub use compiled::Compiled;
pub(crate) use declared::is_code;
pub use declared::{Declared, DeclaredError};
pub use difference::{Change, difference};
pub use document::{
    CaseRule, Category, Clause, Condition, Covenant, Decision, FORMAT, FORMAT_INFORMS, Flow, InFlight,
    MessageType, Outside, Party, Requirement, Route, StepRule,
};
pub use error::{CovenantError, Place};
pub use evaluate::{Permit, Question, Size, evaluate};
pub use source::Part;
pub use vocabulary::{Fate, Handling, Level, Role, Special, Step};
pub use words::Words;
