//! A case and its steps: signed decisions, the state they fold into, and what that state lets pass.
//!
//! A case is a random pseudonym. [`CaseDecision`]s form a chain: each names the digest of the one before,
//! so that of two taken at the same time the first to be logged counts and the other is told that the case
//! moved ([`Refusal::CaseMoved`]). [`CaseState`] is the fold over that chain; everybody makes it from the
//! signed bytes and believes nobody's summary. [`admits`] judges a packet against it, beside
//! [`crate::covenant::evaluate`].
//!
//! Time is the broker's log time of a decision. A decision counts from that instant on, so a broker gives
//! it a later instant than every entry before it in the log.

mod admits;
mod decision;
mod state;

pub use admits::admits;
pub use decision::{Act, CaseDecision, FORMAT, Verified};
pub use state::{Applied, CaseState, Event, Stage, Standing};

use crate::covenant::Compiled;
use crate::ids::{Oin, Thumbprint};
use crate::refusal::Refusal;
use crate::signing::PublicKey;
use crate::time::Timestamp;

/// Verifies the bytes of a decision and applies it to a case that may not have begun yet.
///
/// `compiled` is the version the decision names ([`CaseDecision::claimed`] tells which), `key_of` gives a
/// party's key, `at` is the broker's log time. On an error `state` is as it was.
///
/// # Errors
/// Those of [`CaseDecision::verify`], [`CaseState::open`] and [`CaseState::apply`].
pub fn apply(
    state: &mut Option<CaseState>,
    bytes: &[u8],
    key_of: impl FnOnce(Oin, Thumbprint) -> Option<PublicKey>,
    compiled: &Compiled,
    at: Timestamp,
) -> Result<Applied, Refusal> {
    let verified = CaseDecision::verify(bytes, key_of)?;
    if let Some(state) = state {
        return state.apply(&verified, compiled, at);
    }
    *state = Some(CaseState::open(&verified, compiled, at)?);
    Ok(Applied::Now)
}

fn ensure(holds: bool, otherwise: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(otherwise) }
}
