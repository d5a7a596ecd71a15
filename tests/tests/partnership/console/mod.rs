//! The console of a real broker: an operator's day in a real browser, and whoever else comes along.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod accounts;
mod acts;
mod certificates;
mod day;
mod oidc;
mod pair;
mod strangers;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_NOPAD;
use seinhuis_shared::entry::Entry;
use seinhuis_tests::stage::text;
use seinhuis_tests::{Stage, ports};
use totp_rs::Builder;

use seinhuis_tests::site::Site;

/// Has the broker serve the console, from its next start on.
fn open(stage: &Stage) -> SocketAddr {
    open_with(stage, "")
}

/// The same, with more settings.
fn open_with(stage: &Stage, more: &str) -> SocketAddr {
    let address = ports::free().unwrap();
    stage.configure(&format!("\n[console]\nlisten = \"{address}\"\n{more}")).unwrap();
    address
}

/// What somebody signs in with.
struct Account {
    name: &'static str,
    password: String,
    secret: String,
}

impl Account {
    fn new(stage: &Stage, name: &'static str, role: &str) -> Self {
        let made = stage.broker(&["operator", "add", name, "--role", role]).unwrap();
        Self { name, password: text(&made, "password").to_owned(), secret: text(&made, "secret").to_owned() }
    }

    /// The code that the app shows so many half minutes from now.
    fn code(&self, steps: u64) -> String {
        let secret = BASE32_NOPAD.decode(self.secret.as_bytes()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Builder::new().with_secret(secret).build().unwrap().generate(now + 30 * steps).to_string()
    }
}

/// The last entry of the log but for those about accounts, which come a moment after.
fn last_act(stage: &Stage) -> Entry {
    let all = stage.log_tail(20).unwrap();
    all.into_iter().rev().find(|entry| entry.detail.as_deref() != Some("account-changed")).unwrap()
}

/// Somebody who signed in with a code for one sign-in.
fn signed_in(stage: &Stage, address: SocketAddr, name: &str) -> Site {
    let made = stage.broker(&["operator", "login", name]).unwrap();
    Site::signed_in_with(address, &[("name", name), ("password", text(&made, "code"))]).unwrap()
}
