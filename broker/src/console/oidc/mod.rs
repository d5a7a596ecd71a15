//! Signing in at an OpenID provider of the organisation's own: authorization code with PKCE (OpenID Connect Core 1.0,
//! section 3.1; RFC 7636).
//!
//! Of the provider nothing is believed but what it signed for this console, for this browser and just now. Its answers are
//! bounded in size and time and lead nowhere else. What it says of a person is kept for as long as the session lasts, in
//! memory alone.

mod pages;
mod provider;
mod settings;
mod token;
mod under_way;

pub(super) use self::pages::{back, start};
pub(super) use self::provider::Provider;
pub use self::settings::Settings;

use super::accounts::Role;

/// Where signing in at the provider begins.
pub(super) const START: &str = "/sign-in/provider";
/// Where the provider leads a browser back to.
pub(super) const BACK: &str = "/sign-in/back";

/// Somebody whom the provider knows, as of the moment of signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// What stays the same of them: the issuer and its `sub`.
    pub(super) id: String,
    /// What people call them.
    pub(super) name: String,
    /// In which role they are here.
    pub(super) role: Role,
}
