//! `[page]` of the configuration.

use std::net::SocketAddr;

use seinhuis_shell::complaint::Complaint;
use serde::Deserialize;

use crate::ways::api::settings::loopback;

/// Where the page for people is. The complete sample explains each key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A loopback address with a port, or empty for none.
    pub listen: String,
}

impl Settings {
    /// The address of `listen`; none when it is empty.
    ///
    /// # Errors
    /// A sentence when it is no address of this machine itself: what is shown here is not encrypted on its way.
    pub fn address(&self) -> Result<Option<SocketAddr>, Complaint> {
        loopback("page.listen", &self.listen, "127.0.0.1:7481")
    }

    /// # Errors
    /// As [`Settings::address`].
    pub(crate) fn check(&self) -> Result<(), Complaint> {
        self.address().map(drop)
    }
}
