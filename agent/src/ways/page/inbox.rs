//! What came in: looked at, read, answered and taken over.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use data_encoding::BASE64;
use maud::{Markup, html};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use serde_json::Value;

use super::flows::{name, names};
use super::guard::Visit;
use super::trouble::Trouble;
use super::words::{self, text, when};
use super::{Desk, Shown, layout};
use crate::commands::present;
use crate::commands::request::{Look, Request};

/// Rows on a page.
pub(super) const ROWS: usize = 50;

/// A number in the query; none when it is not there or does not read.
pub(super) fn before(uri: &Uri) -> Option<u64> {
    let mut all = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    all.find(|(name, _)| name == "before").and_then(|(_, value)| value.parse().ok())
}

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>, uri: Uri) -> Shown {
    let (lang, person, before) = (visit.lang, visit.person.clone(), before(&uri));
    let find = move |view: &crate::engine::View<'_>| {
        let page = present::received_back(view, before, ROWS, false, |row| person.reads(&row.flow));
        (page, names(view))
    };
    let (page, names) = desk.agent.query(find).await?;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Ontvangen", "Received");
    let rows: Vec<Vec<Markup>> = page
        .items
        .iter()
        .map(|row| {
            let position = row["position"].as_u64().unwrap_or_default();
            vec![
                html! { a href={ "/inbox/" (position) } { (text(row, "flow")) " · " (super::shape::readable(text(row, "type"))) } },
                html! { (name(&names, text(row, "from"))) },
                when(text(row, "stored")),
                html! { (state(row, &visit)) },
                kept_until(row, &visit),
            ]
        })
        .collect();
    let heads = [
        t("Bericht", "Message"),
        t("Van", "From"),
        t("Opgeslagen", "Stored"),
        t("Stand", "State"),
        t("Bewaren", "Keep"),
    ];
    let main = html! {
        h1 { (title) }
        @if rows.is_empty() { p { (t("Er is niets ontvangen dat u mag lezen.", "Nothing was received that you may read.")) } }
        @else { (layout::table(title, &heads, &rows)) }
        (layout::earlier("/inbox", page.next, page.more, lang))
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

/// How a message received stands.
pub(super) fn state(row: &Value, visit: &Visit) -> &'static str {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    if text(row, "state") == "quarantined" {
        t("in quarantaine", "quarantined")
    } else if !row["erased"].is_null() {
        t("inhoud gewist", "content erased")
    } else if row["revised"] == "withdrawn" {
        t("ingetrokken door de afzender", "withdrawn by its sender")
    } else if row["revised"] == "corrected" {
        t("gecorrigeerd door de afzender", "corrected by its sender")
    } else if !row["consumed"].is_null() {
        t("overgenomen", "taken over")
    } else {
        t("nog te verwerken", "to be processed")
    }
}

/// How long a body is kept still.
fn kept_until(row: &Value, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    if !row["erased"].is_null() {
        return html! { (t("gewist op ", "erased on ")) (when(text(row, "erased"))) };
    }
    match row["keep_until"].as_str() {
        Some(until) => words::countdown(until, clock::now(), visit.lang),
        None if text(row, "state") == "quarantined" => html! { "–" },
        None => html! { (t("zolang de zaak loopt", "as long as the case runs")) },
    }
}

/// The delivery at this position, when this person may read it.
async fn visible(desk: &Desk, visit: &Visit, at: &str) -> Result<(u64, Value), Trouble> {
    let position: u64 = at.parse().map_err(|_| Trouble::nothing())?;
    let found = desk.agent.query(move |view| present::received(view, position)).await?;
    let row = found.map_err(|_| Trouble::nothing())?;
    if visit.person.reads(text(&row, "flow")) { Ok((position, row)) } else { Err(Trouble::nothing()) }
}

/// One message. That its body was read is on record before it is shown.
pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(at): Path<String>,
    uri: Uri,
) -> Shown {
    let (position, row) = visible(&desk, &visit, &at).await?;
    let withdrawn = row["revised"] == "withdrawn";
    let asked = uri.query() == Some("withdrawn=true");
    let readable = row["erased"].is_null() && text(&row, "state") == "stored" && (!withdrawn || asked);
    let row = if readable {
        desk.agent.ask(Request::Look(Look::Read { id: position.to_string(), withdrawn: asked })).await?
    } else {
        row
    };
    let body = match row["body"].as_str() {
        Some(encoded) => {
            let bytes =
                BASE64.decode(encoded.as_bytes()).map_err(|error| Complaint::bug(error.to_string()))?;
            Some(serde_json::from_slice::<Value>(&bytes).map_err(|error| Complaint::bug(error.to_string()))?)
        }
        None => None,
    };
    let names = desk.agent.query(names).await?;
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = format!("{} · {}", text(&row, "flow"), super::shape::readable(text(&row, "type")));
    let main = html! {
        h1 { (title) }
        @if withdrawn {
            div class="notice" {
                p { strong { (t("De afzender heeft dit bericht ingetrokken; gebruik de inhoud niet meer.", "Its sender withdrew this message; do not use its content any more.")) } }
                @if !readable && row["erased"].is_null() {
                    p { a href={ "/inbox/" (position) "?withdrawn=true" } { (t("Toon de inhoud toch", "Show the content all the same")) } }
                }
            }
        }
        @if row["revised"] == "corrected" {
            p class="notice" { strong { (t(
                "De afzender heeft dit bericht later gecorrigeerd: zie het latere bericht onder F36.",
                "Its sender corrected this message later: see the later message under F36.",
            )) } }
        }
        (about(&row, &visit, name(&names, text(&row, "from"))))
        @if let Some(body) = &body {
            h2 { (t("Inhoud", "Content")) }
            (words::body(body, lang))
        }
        (actions(&row, &visit, position))
    };
    Ok(layout::shown(&desk.name, &visit, &title, &main))
}

fn about(row: &Value, visit: &Visit, from: &str) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let handling = match text(row, "handling") {
        "consent" => t("alleen met toestemming van de herkomst", "only with the consent of its origin"),
        "partners" => t(
            "binnen het convenant en de zaak, met de herkomst erbij",
            "within the covenant and the case, naming its origin",
        ),
        _ => "–",
    };
    let case = text(row, "case");
    layout::facts(&[
        (t("Van", "From"), html! { (from) }),
        (
            t("Stand", "State"),
            html! { (state(row, visit)) @if let Some(why) = words::refusal(&row["refusal"], visit.lang) { ": " (why) } },
        ),
        (t("Stap en niveau", "Step and level"), html! { (text(row, "step")) " · " (text(row, "level")) }),
        (
            t("Zaak", "Case"),
            html! {
                @if case.is_empty() { (t("geen", "none")) }
                @else if visit.person.sees_cases() { a href={ "/cases/" (case) } { (case) } }
                @else { code { (case) } }
            },
        ),
        (t("Verzegeld", "Sealed"), when(text(row, "sealed"))),
        (
            t("Aangenomen door de broker", "Accepted by the broker"),
            html! { (when(text(row, "accepted"))) " · " (t("logregel", "log entry")) " " (row["entry"]) },
        ),
        (t("Doorgeven", "Passing on"), html! { (handling) }),
        (t("Bewaren", "Keep"), kept_until(row, visit)),
        (t("Bericht-id", "Message id"), html! { code { (text(row, "msg_id")) } }),
    ])
}

fn actions(row: &Value, visit: &Visit, position: u64) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let counts = text(row, "state") == "stored" && row["erased"].is_null() && row["revised"] != "withdrawn";
    let case = text(row, "case");
    let answer = if case.is_empty() { String::new() } else { format!("&case={case}") };
    html! {
        @if counts {
            h2 { (t("Wat u kunt doen", "What you can do")) }
            div class="actions" {
                @if row["consumed"].is_null() {
                    form method="post" action={ "/inbox/" (position) "/consumed" } {
                        (layout::token(visit))
                        button type="submit" { (t("Overgenomen", "Taken over")) }
                    }
                }
                @if visit.person.ever(|may| matches!(may, super::person::May::Push(_))) {
                    a class="button" href={ "/new?answers=" (text(row, "msg_id")) (answer) } { (t("Antwoorden", "Answer")) }
                }
            }
            @if row["consumed"].is_null() {
                p class="hint" { (t(
                    "Met Overgenomen verklaart uw organisatie, getekend, aan de afzender dat zij het bericht heeft verwerkt.",
                    "With Taken over your organisation states, signed, to the sender that it has processed the message.",
                )) }
            }
        }
    }
}

/// Says that this organisation took a delivery over.
pub(super) async fn consumed(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(at): Path<String>,
) -> Shown {
    let (position, _) = visible(&desk, &visit, &at).await?;
    desk.agent.ask(Request::Consumed { id: position.to_string() }).await?;
    Ok(layout::see_other(&format!("/inbox/{position}")))
}
