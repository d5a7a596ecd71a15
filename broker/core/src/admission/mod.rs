//! Admission: from bytes with a connection to a permit, one type for each check that was passed.
//!
//! [`Received`] → [`Authentic`] → [`Fresh`] → [`Permitted`]. Each type has one constructor, in the file
//! that does the check, so that no path can skip one. What fails becomes a [`Rejected`], which is logged.

mod authentic;
mod fresh;
mod permitted;
mod received;

pub use authentic::Authentic;
pub use fresh::Fresh;
pub use permitted::Permitted;
pub use received::{Received, Rejected};
