//! What a browser is led through: to the provider, and back from it.

use axum::Extension;
use axum::extract::State;
use axum::http::header::{LOCATION, REFRESH, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use maud::html;
use seinhuis_shell::web::origin;
use seinhuis_shell::{clock, lang};
use zeroize::Zeroizing;

use super::provider::{Brought, Failed};
use super::under_way::LASTS;
use super::{BACK, Person, Provider};
use crate::console::guard::{Speaks, begin, set_cookie};
use crate::console::trouble::Trouble;
use crate::console::{Desk, Known, Shown, layout};

/// What ties a sign-in to the browser in which it began. The session's own cookie is `SameSite=Strict`: a browser does not
/// send it along where another site leads here, as the provider does. This one it has to send then, and `Lax` lets it, with
/// requests that show a page and no others. It opens nothing: it counts once, for minutes, with the right state.
const COOKIE: &str = "__Host-seinhuis-sign-in";
/// Most bytes of what the provider leads back with.
const QUERY_MAX: usize = 8 * 1024;

/// Leads to the provider.
pub(in crate::console) async fn start(
    State(desk): State<Desk>,
    Extension(Speaks(asked)): Extension<Speaks>,
    headers: HeaderMap,
    uri: Uri,
) -> Shown {
    let provider = desk.provider.as_ref().ok_or_else(Trouble::nothing)?;
    let lang = lang::parse(&layout::asked(&uri, "lang")).unwrap_or(asked);
    let back = format!("{}{BACK}", desk.whence.own(&headers));
    let (place, cookie) = provider.begin(&back, lang, clock::now()).await.map_err(|failed| told(&failed))?;
    let place = HeaderValue::from_str(&place).map_err(|_| Trouble::nothing())?;
    let mut response = (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response();
    keep(&mut response, &format!("{COOKIE}={}; {} Max-Age={}", *cookie, cookie_of("Lax"), LASTS.0 / 1000))?;
    Ok(response)
}

/// What is said of the cookie. `__Host-` has browsers keep it for this origin alone.
fn cookie_of(same_site: &str) -> String {
    format!("Path=/; Secure; HttpOnly; SameSite={same_site};")
}

/// Takes up what the provider leads back with.
pub(in crate::console) async fn back(State(desk): State<Desk>, headers: HeaderMap, uri: Uri) -> Shown {
    let provider = desk.provider.as_ref().ok_or_else(Trouble::nothing)?;
    let signed_in = ended(provider, &headers, &uri).await;
    let (Person { id, name, role }, lang) = signed_in.map_err(|failed| told(&failed))?;
    let known = Known::Provider { name, role };
    let cookie = begin(&desk, &id, known, lang);
    tracing::info!(%role, "somebody signed in to the console at the provider");
    let title = lang.pick("Aangemeld", "Signed in");
    let main = html! {
        h1 { (title) }
        p { a href="/" { (lang.pick("Naar Nu", "To Now")) } }
    };
    let mut response = layout::page(&desk, None, lang, title, &main);
    // A redirect would still be the provider's leading: the browser would ask for the next page without the session. This page
    // is the console's own, and so is what it leads to.
    response.headers_mut().insert(REFRESH, HeaderValue::from_static("0; url=/"));
    keep(&mut response, &set_cookie(&cookie))?;
    keep(&mut response, &format!("{COOKIE}=; {} Max-Age=0", cookie_of("Lax")))?;
    Ok(response)
}

async fn ended(
    provider: &Provider,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<(Person, seinhuis_shared::refusal::Lang), Failed> {
    let cookie = origin::cookie(headers, COOKIE).ok_or(Failed::NotBegun)?;
    if uri.query().is_some_and(|query| query.len() > QUERY_MAX) {
        return Err(Failed::NotBegun);
    }
    let brought = Brought {
        state: layout::asked(uri, "state"),
        code: Zeroizing::new(layout::asked(uri, "code")),
        error: layout::asked(uri, "error"),
        iss: layout::asked(uri, "iss"),
    };
    provider.end(cookie, &brought, clock::now()).await
}

fn keep(response: &mut Response, cookie: &str) -> Result<(), Trouble> {
    let field = HeaderValue::from_str(cookie).map_err(|_| Trouble::old_form())?;
    response.headers_mut().append(SET_COOKIE, field);
    Ok(())
}

/// What a person is told of it; what there is more to know is in the log of the broker.
fn told(failed: &Failed) -> Trouble {
    match failed {
        // Anybody who reaches the console can ask for these: they fill no log.
        Failed::NotBegun | Failed::Busy => tracing::debug!(why = %failed, "a way back from the provider"),
        Failed::Away(_) | Failed::Refused(_) | Failed::Token(_) | Failed::NoRole => {
            tracing::warn!(why = %failed, "a sign-in at the provider came to nothing");
        }
    }
    match failed {
        Failed::NotBegun => Trouble::not_begun(),
        Failed::Busy => Trouble::many_at_a_time(),
        Failed::Away(_) | Failed::Token(_) => Trouble::provider_is_away(),
        Failed::Refused(_) => Trouble::provider_refused(),
        Failed::NoRole => Trouble::no_role(),
    }
}
