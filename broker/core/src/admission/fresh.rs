//! Freshness: made in the past, not yet over, and not valid for longer than anything may be.

use seinhuis_shared::limits::{CLOCK_SKEW, TTL_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use super::authentic::Authentic;
use super::received::Rejected;

/// An authentic packet that is valid at the time it was looked at.
#[derive(Debug)]
pub struct Fresh(pub(super) Box<Authentic>);

impl Authentic {
    /// Holds the packet's times against the broker's clock.
    ///
    /// # Errors
    /// A [`Rejected`] with [`Refusal::TtlTooLong`], [`Refusal::Expired`] or [`Refusal::FromTheFuture`].
    pub fn fresh(self: Box<Self>, now: Timestamp) -> Result<Fresh, Box<Rejected>> {
        let context = self.context();
        let ttl = context.expires.since(context.issued);
        let refusal = if ttl.0 == 0 || ttl > TTL_MAX {
            Some(Refusal::TtlTooLong)
        } else if context.expires <= now {
            Some(Refusal::Expired)
        } else if context.issued > now.plus(CLOCK_SKEW) {
            Some(Refusal::FromTheFuture)
        } else {
            None
        };
        match refusal {
            Some(refusal) => Err(self.reject(refusal)),
            None => Ok(Fresh(self)),
        }
    }
}
