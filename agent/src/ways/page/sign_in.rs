//! Signing in and out, and the language.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::web::form::Form;
use seinhuis_shell::{clock, lang};

use super::guard::{Speaks, Visit, set_cookie};
use super::layout::{self, Error};
use super::trouble::Trouble;
use super::{Desk, Shown};

/// How long the answer to a wrong code waits.
const SLOW: Duration = Duration::from_secs(1);
/// Most characters of an access code.
const CODE_MAX: usize = 128;
/// Before each field of a form that came when the session was over, in the form that signs in.
const KEPT: &str = "kept:";
/// The path that such a form was for.
const KEPT_PATH: &str = "kept_path";
/// What is kept so: forms that somebody filled in. Anything else is done anew.
const KEPT_UNDER: &str = "/new/";

/// The page that asks for an access code, in front of what was asked for. A form that was filled in goes along.
pub(super) fn ask(desk: &Desk, uri: &Uri, form: Option<&Form>, asked: Lang) -> Response {
    let query = uri.query().unwrap_or_default();
    let chosen = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "lang");
    let lang = chosen.and_then(|(_, value)| lang::parse(&value).ok()).unwrap_or(asked);
    let mut kept = Form::default();
    if let Some(form) = form.filter(|_| uri.path().starts_with(KEPT_UNDER)) {
        kept.put(KEPT_PATH, uri.path());
        for (name, value) in form.all().filter(|(name, _)| *name != "token") {
            kept.put(&format!("{KEPT}{name}"), value);
        }
    }
    shown(desk, lang, form.is_some(), false, &kept)
}

fn shown(desk: &Desk, lang: Lang, ended: bool, wrong: bool, kept: &Form) -> Response {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let errors = if wrong {
        vec![Error::new(
            "code",
            t("Deze toegangscode geldt hier niet.", "This access code does not count here."),
        )]
    } else {
        Vec::new()
    };
    let title = t("Aanmelden", "Sign in");
    let main = html! {
        (layout::summary(lang, &errors))
        h1 { (title) }
        @if ended {
            div class="notice" role="status" {
                p { (t("Uw sessie was voorbij. Er is niets verstuurd.", "Your session was over. Nothing was sent.")) }
                @if kept.all().next().is_some() {
                    p { (t("Wat u invulde blijft staan als u zich nu aanmeldt.", "What you filled in stays if you sign in now.")) }
                }
            }
        }
        p { (t(
            "Deze pagina is van de agent van uw organisatie en staat op deze machine. U hebt een toegangscode nodig; de beheerder van de agent maakt die.",
            "This page is of your organisation's agent and is on this machine. You need an access code; the agent's administrator makes it.",
        )) }
        form method="post" action="/sign-in" {
            (hidden_all(kept))
            input type="hidden" name="lang" value=(t("nl", "en"));
            div class="field" {
                label for="code" { (t("Toegangscode", "Access code")) }
                @for error in &errors { p class="error" id="code-error" { (error.text) } }
                input type="password" id="code" name="code" autocomplete="current-password" maxlength=(CODE_MAX) required
                    aria-invalid=[wrong.then_some("true")] aria-describedby=[wrong.then_some("code-error")];
            }
            button type="submit" { (title) }
        }
        p { (t(
            "Na een kwartier zonder handeling, en na acht uur, meldt u zich opnieuw aan.",
            "After a quarter of an hour without doing anything, and after eight hours, you sign in again.",
        )) }
    };
    layout::page(&desk.name, None, lang, &layout::title_of(title, &errors, lang), &main)
}

fn hidden_all(form: &Form) -> Markup {
    html! { @for (name, value) in form.all() { input type="hidden" name=(name) value=(value); } }
}

/// Signs in. A wrong code waits, and many of them get no answer.
pub(super) async fn sign_in(
    State(desk): State<Desk>,
    Extension(Speaks(asked)): Extension<Speaks>,
    Extension(form): Extension<Form>,
) -> Shown {
    let lang = lang::parse(form.text("lang")).unwrap_or(asked);
    let (code, now) = (form.text("code").trim(), clock::now());
    let found = if code.len() <= CODE_MAX { desk.persons.find(code, now)? } else { None };
    let kept: Form = form.all().filter(|(name, _)| *name == KEPT_PATH || name.starts_with(KEPT)).collect();
    let Some(person) = found else {
        if desk.strangers.tell() {
            tracing::warn!("somebody gave an access code that does not count; told once a minute at most");
        }
        if !desk.wrong.is_bearable() {
            return Err(Trouble::too_many());
        }
        tokio::time::sleep(SLOW).await;
        let mut response = shown(&desk, lang, false, true, &kept);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let cookie = desk.sessions.begin(&person.id, lang, now);
    tracing::info!(person = %person.id, "somebody signed in on the page");
    let path = kept.text(KEPT_PATH);
    let mut response = if path.starts_with(KEPT_UNDER) && layout::is_path(path) {
        let session = desk.sessions.find(&cookie, now).ok_or_else(Trouble::old_form)?;
        go_on(&desk, lang, &session.token, path, &kept)
    } else {
        layout::see_other("/")
    };
    let field = HeaderValue::from_str(&set_cookie(&cookie)).map_err(|_| Trouble::old_form())?;
    response.headers_mut().insert(SET_COOKIE, field);
    Ok(response)
}

/// The page that brings back a form that came when the session was over.
fn go_on(desk: &Desk, lang: Lang, token: &str, path: &str, kept: &Form) -> Response {
    let fields: Form =
        kept.all().filter_map(|(name, value)| Some((name.strip_prefix(KEPT)?, value))).collect();
    let title = lang.pick("U bent weer aangemeld", "You are signed in again");
    let main = html! {
        h1 { (title) }
        p { (lang.pick(
            "Er is nog niets verstuurd. Ga verder met wat u had ingevuld.",
            "Nothing was sent yet. Go on with what you had filled in.",
        )) }
        form method="post" action=(path) {
            // The first of the fields of one name counts.
            input type="hidden" name="token" value=(token);
            input type="hidden" name="do" value="check";
            (hidden_all(&fields.without("do")))
            button type="submit" { (lang.pick("Verder met het formulier", "Go on with the form")) }
        }
    };
    layout::page(&desk.name, None, lang, title, &main)
}

pub(super) async fn sign_out(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    desk.sessions.end(&visit.cookie);
    let mut response = layout::see_other("/");
    response
        .headers_mut()
        .insert(SET_COOKIE, HeaderValue::from_str(&set_cookie("")).map_err(|_| Trouble::old_form())?);
    Ok(response)
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
