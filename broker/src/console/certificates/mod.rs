//! Signing in with a certificate, on a listener of the broker's own with TLS.
//!
//! Nobody without a certificate of the authorities that are named comes through the handshake. Which one it is says TLS and
//! nothing else: each connection has a desk of its own that knows it, and what a request brings along is not asked. It opens
//! nothing by itself: the account that has it is chosen with a button, and what follows is a session as every other.

mod gate;
mod settings;

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::lang;
use seinhuis_shell::web::form::Form;

pub(super) use self::gate::Gate;
pub(crate) use self::gate::{in_order, registrable};
pub use self::settings::Settings;

use super::accounts::Signed;
use super::guard::{Speaks, begin};
use super::sign_in::led_on;
use super::trouble::Trouble;
use super::{Desk, Known, Shown};

/// Where signing in with a certificate is asked for.
pub(super) const SIGN_IN: &str = "/sign-in/certificate";

/// What the page that asks who it is says of the certificate; nothing where none is shown.
pub(super) fn offer(desk: &Desk, lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let Some(certificate) = desk.whence.certificate() else { return html! {} };
    match desk.accounts.of_certificate(&certificate) {
        Ok(Some(signed)) => html! {
            form method="post" action=(SIGN_IN) {
                input type="hidden" name="lang" value=(t("nl", "en"));
                button type="submit" {
                    (t("Aanmelden met het certificaat van", "Sign in with the certificate of")) " " (signed.name)
                }
            }
        },
        Ok(None) => html! {
            div class="notice" {
                p { (t(
                    "Het certificaat dat uw browser toont hoort bij geen account.",
                    "The certificate that your browser shows belongs to no account.",
                )) }
                p { (t(
                    "Sluit de browser en kies een ander certificaat, of geef wie de broker beheert uw certificaat met deze vingerafdruk:",
                    "Close the browser and choose another certificate, or give who keeps the broker your certificate, with this fingerprint:",
                )) }
                p { code { (certificate) } }
            }
        },
        Err(complaint) => {
            tracing::error!("{}", complaint.what.en);
            html! {}
        }
    }
}

/// Signs in who has the account of the certificate that this connection was made with.
pub(super) async fn sign_in(
    State(desk): State<Desk>,
    Extension(Speaks(asked)): Extension<Speaks>,
    Extension(form): Extension<Form>,
) -> Shown {
    let lang = lang::parse(form.text("lang")).unwrap_or(asked);
    let certificate = desk.whence.certificate().ok_or_else(Trouble::nothing)?;
    let found = desk.accounts.of_certificate(&certificate);
    let found = found.map_err(|complaint| Trouble::out_of_order(&complaint))?;
    let Some(Signed { name, role, mark }) = found else {
        // Whoever has some certificate can ask for this: it fills no log.
        if !desk.wrong.is_bearable() {
            return Err(Trouble::too_many());
        }
        tracing::warn!(%certificate, "a certificate without an account was shown on the console");
        return Err(Trouble::no_account());
    };
    let cookie = begin(&desk, &name, Known::Account { mark }, lang);
    tracing::info!(%role, "somebody signed in to the console with a certificate");
    led_on(&cookie)
}
