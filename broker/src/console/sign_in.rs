//! Signing in and out, and the language.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::web::form::Form;
use seinhuis_shell::{clock, lang};

use super::accounts::{Given, NAME_MAX, PASSWORD_MAX, SignIn, Signed};
use super::guard::{Speaks, Visit, begin, set_cookie};
use super::trouble::Trouble;
use super::{Desk, Known, Shown, certificates, layout, oidc, place};

/// Where what somebody knows is given.
pub(super) const SIGN_IN: &str = "/sign-in";
/// How long the answer to a wrong sign-in waits.
const SLOW: Duration = Duration::from_secs(1);

/// The page that asks who it is, in front of what was asked for.
pub(super) fn ask(desk: &Desk, uri: &Uri, ended: bool, asked: Lang) -> Response {
    let lang = lang::parse(&layout::asked(uri, "lang")).unwrap_or(asked);
    shown(desk, lang, ended, false)
}

fn shown(desk: &Desk, lang: Lang, ended: bool, wrong: bool) -> Response {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Aanmelden", "Sign in");
    let main = html! {
        div class="sign-in" {
            @if wrong {
                div class="trouble" role="alert" tabindex="-1" autofocus {
                    p { strong { (t(
                        "Naam, wachtwoord of code klopt niet.",
                        "Name, password or code is not right.",
                    )) } }
                    p { (t(
                        "Na vijf keer verkeerd wacht een account een kwartier. Een code geldt één keer.",
                        "After five times wrong an account waits a quarter of an hour. A code counts once.",
                    )) }
                }
            }
            h1 { (title) }
            @if ended {
                p class="notice" role="status" { (t(
                    "Uw sessie was voorbij. Er is niets gedaan.",
                    "Your session was over. Nothing was done.",
                )) }
            }
            (certificates::offer(desk, lang))
            @if let Some(provider) = &desk.provider {
                p { a class="button" href={ (oidc::START) "?lang=" (t("nl", "en")) } {
                    (t("Aanmelden bij", "Sign in at")) " " (provider.host())
                } }
            }
            @if desk.local && (desk.provider.is_some() || desk.whence.certificate().is_some()) {
                h2 { (t("Met een account van de broker", "With an account of the broker")) }
            }
            @if desk.local { (form_of_accounts(lang)) } @else { (form_of_codes(lang)) }
        }
    };
    let first = if wrong { t("Fout: ", "Error: ") } else { "" };
    layout::page(desk, None, lang, &format!("{first}{title}"), &main)
}

/// The form for who has an account.
fn form_of_accounts(lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    html! {
        form method="post" action=(SIGN_IN) {
            input type="hidden" name="lang" value=(t("nl", "en"));
            (name_field(lang))
            div class="field" {
                label for="password" { (t("Wachtwoord", "Password")) }
                input id="password" name="password" type="password" autocomplete="current-password"
                    maxlength=(PASSWORD_MAX) required aria-describedby="password-hint";
                p class="hint" id="password-hint" { (t(
                    "Of een eenmalige code van seinhuis-broker operator login.",
                    "Or a code for one sign-in of seinhuis-broker operator login.",
                )) }
            }
            div class="field" {
                label for="code" { (t("Code uit uw app", "Code of your app")) }
                input id="code" name="code" type="text" inputmode="numeric" autocomplete="one-time-code" maxlength="10"
                    aria-describedby="code-hint";
                p class="hint" id="code-hint" { (t(
                    "Zes cijfers. Leeg bij een eenmalige code.",
                    "Six digits. Empty with a code for one sign-in.",
                )) }
            }
            button type="submit" { (t("Aanmelden", "Sign in")) }
        }
        p class="quiet" { (t(
            "Nog geen account? Wie de broker beheert maakt er een met seinhuis-broker operator add.",
            "No account yet? Who keeps the broker makes one with seinhuis-broker operator add.",
        )) }
    }
}

/// The form for when accounts do not count: for who keeps the broker, when the provider is away.
fn form_of_codes(lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    html! {
        h2 { (t("Met een eenmalige code", "With a code for one sign-in")) }
        form method="post" action=(SIGN_IN) {
            input type="hidden" name="lang" value=(t("nl", "en"));
            (name_field(lang))
            div class="field" {
                label for="password" { (t("Eenmalige code", "Code for one sign-in")) }
                input id="password" name="password" type="password" autocomplete="off"
                    maxlength=(PASSWORD_MAX) required aria-describedby="password-hint";
                p class="hint" id="password-hint" { (t(
                    "Wie de broker beheert maakt hem met seinhuis-broker operator login.",
                    "Who keeps the broker makes it with seinhuis-broker operator login.",
                )) }
            }
            button type="submit" class="plain" { (t("Aanmelden", "Sign in")) }
        }
    }
}

fn name_field(lang: Lang) -> Markup {
    html! {
        div class="field" {
            label for="name" { (lang.pick("Naam", "Name")) }
            input id="name" name="name" type="text" autocomplete="username" maxlength=(NAME_MAX) required;
        }
    }
}

/// Signs in. What is wrong waits, and often wrong gets no answer.
pub(super) async fn sign_in(
    State(desk): State<Desk>,
    Extension(Speaks(asked)): Extension<Speaks>,
    Extension(form): Extension<Form>,
) -> Shown {
    let lang = lang::parse(form.text("lang")).unwrap_or(asked);
    let now = clock::now();
    // So few passwords are looked at at a time that they take no memory from packets.
    let place = place(&desk.looking).await?;
    let (accounts, given, once_alone) = (desk.accounts.clone(), form.clone(), !desk.local);
    let looked = tokio::task::spawn_blocking(move || {
        let _place = place;
        let (name, password, code) =
            (given.text("name").trim(), given.text("password").trim(), given.text("code").trim());
        if name.chars().count() > NAME_MAX || password.len() > PASSWORD_MAX || code.len() > 10 {
            return Ok(SignIn::Wrong);
        }
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        accounts.sign_in(&Given { name, password, code: &code, once_alone }, now)
    });
    let came = looked.await.map_err(|error| Complaint::bug(error.to_string()))?;
    let came = came.map_err(|complaint| Trouble::out_of_order(&complaint))?;
    let SignIn::In(signed) = came else {
        if !desk.wrong.is_bearable() {
            return Err(Trouble::too_many());
        }
        tracing::warn!(locked = matches!(came, SignIn::Locked(_)), "a sign-in to the console was refused");
        tokio::time::sleep(SLOW).await;
        let mut response = shown(&desk, lang, false, true);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let Signed { name, role, mark } = signed;
    let cookie = begin(&desk, &name, Known::Account { mark }, lang);
    tracing::info!(%role, "somebody signed in to the console");
    led_on(&cookie)
}

/// Leads to the first page, with this in the cookie.
pub(super) fn led_on(cookie: &str) -> Shown {
    let mut response = layout::see_other("/");
    let field = HeaderValue::from_str(&set_cookie(cookie)).map_err(|_| Trouble::old_form())?;
    response.headers_mut().insert(SET_COOKIE, field);
    Ok(response)
}

pub(super) async fn sign_out(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    desk.sessions.end(&visit.cookie);
    led_on("")
}

/// Chooses the language of this session.
pub(super) async fn language(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
) -> Shown {
    let lang = lang::parse(form.text("lang")).unwrap_or(visit.lang);
    desk.sessions.speak(&visit.cookie, lang);
    let back = form.text("back");
    Ok(layout::see_other(if layout::is_path(back) { back } else { "/" }))
}
