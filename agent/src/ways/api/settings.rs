//! `[api]` of the configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

/// Where the local HTTP API listens. The complete sample explains each key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A loopback address with a port, or empty for none.
    pub listen: String,
    /// The path of a Unix socket, from the agent's folder on, or empty for none.
    pub socket: String,
}

impl Settings {
    /// Whether anything is listened on.
    pub const fn is_on(&self) -> bool {
        !self.listen.is_empty() || !self.socket.is_empty()
    }

    /// The address of `listen`; none when it is empty.
    ///
    /// # Errors
    /// A sentence when it is no address of this machine itself: what is said here is not encrypted, and a token that
    /// crosses a network is not secret any more.
    pub fn address(&self) -> Result<Option<SocketAddr>, Complaint> {
        loopback("api.listen", &self.listen, "127.0.0.1:7480")
    }

    /// The socket's path for an agent in `home`; none when there is none.
    pub fn socket_in(&self, home: &Path) -> Option<PathBuf> {
        (!self.socket.is_empty()).then(|| home.join(&self.socket))
    }

    /// # Errors
    /// As [`Settings::address`].
    pub(crate) fn check(&self) -> Result<(), Complaint> {
        self.address().map(drop)
    }
}

/// An address of this machine itself, from the text of a key; none when it is empty.
///
/// # Errors
/// A sentence when it is another address, or none.
pub(crate) fn loopback(key: &str, text: &str, example: &str) -> Result<Option<SocketAddr>, Complaint> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    address.map(Some).ok_or_else(|| {
        Complaint::usage(
            Text::new(
                format!("{key} {text:?} is geen loopback-adres met poort."),
                format!("{key} {text:?} is no loopback address with a port."),
            ),
            Text::new(
                format!(
                    "Schrijf bijvoorbeeld {example}. Voor andere machines: zet een eigen webserver met TLS ervoor."
                ),
                format!(
                    "Write for instance {example}. For other machines: put a web server of your own with TLS in front."
                ),
            ),
        )
    })
}
