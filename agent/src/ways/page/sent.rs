//! What was sent: how far it is at each recipient, and taking it back.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_shared::ids::MsgId;
use serde_json::Value;

use super::flows::{name, names};
use super::guard::Visit;
use super::inbox::{ROWS, before};
use super::trouble::Trouble;
use super::words::{self, text, when};
use super::{Desk, Shown, correct, layout};
use crate::commands::present;
use crate::commands::request::Request;

/// Why a message is taken back, as the log has it.
const TAKEN_BACK: &str = "withdrawn";

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>, uri: Uri) -> Shown {
    let (lang, person, before) = (visit.lang, visit.person.clone(), before(&uri));
    let find = move |view: &crate::engine::View<'_>| {
        (present::sent_back(view, before, ROWS, |flow| person.follows(flow)), names(view))
    };
    let (page, names) = desk.agent.query(find).await?;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Verstuurd", "Sent");
    let to = |row: &Value| {
        let all = row["to"].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.map(|oin| name(&names, oin).to_owned()).collect::<Vec<_>>().join(", ")
    };
    let rows: Vec<Vec<Markup>> = page
        .items
        .iter()
        .map(|row| {
            vec![
                html! { a href={ "/sent/" (text(row, "msg_id")) } { (text(row, "flow")) " · " (when(text(row, "created"))) } },
                html! { (to(row)) },
                html! { (words::stage(text(row, "state"), lang)) @if let Some(why) = words::refusal(&row["refusal"], lang) { ": " (why) } },
                html! { (reached(row, &visit)) },
            ]
        })
        .collect();
    let heads = [
        t("Bericht", "Message"),
        t("Aan", "To"),
        t("Stand", "State"),
        t("Bij de ontvanger", "At the recipient"),
    ];
    let main = html! {
        h1 { (title) }
        @if rows.is_empty() { p { (t("Er is niets verstuurd dat u mag volgen.", "Nothing was sent that you may follow.")) } }
        @else { (layout::table(title, &heads, &rows)) }
        (layout::earlier("/sent", page.next, page.more, lang))
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

/// How far a message is at its recipients, in short.
fn reached(row: &Value, visit: &Visit) -> String {
    let all = row["recipients"].as_array().map(Vec::as_slice).unwrap_or_default();
    match all {
        [] => "–".to_owned(),
        [one] => words::reached(text(one, "reached"), visit.lang).to_owned(),
        several => {
            let over = several.iter().filter(|one| text(one, "reached") == "consumed").count();
            format!("{over}/{} {}", several.len(), visit.lang.pick("overgenomen", "taken over"))
        }
    }
}

/// The message of this id, when this person may follow it.
pub(super) async fn visible(desk: &Desk, visit: &Visit, id: &str) -> Result<(MsgId, Value), Trouble> {
    let id: MsgId = id.parse().map_err(|_| Trouble::nothing())?;
    let found = desk.agent.query(move |view| present::message(view, id)).await?;
    let row = found.map_err(|_| Trouble::nothing())?;
    if visit.person.follows(text(&row, "flow")) { Ok((id, row)) } else { Err(Trouble::nothing()) }
}

/// The same, when this person may change what is said of it.
pub(super) async fn own(desk: &Desk, visit: &Visit, id: &str) -> Result<(MsgId, Value), Trouble> {
    let (id, row) = visible(desk, visit, id).await?;
    if visit.person.pushes(text(&row, "flow")) { Ok((id, row)) } else { Err(Trouble::not_allowed()) }
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Shown {
    let (id, row) = visible(&desk, &visit, &id).await?;
    let names = desk.agent.query(names).await?;
    let corrections = correct::of(&desk, Some(id)).await?;
    let maker = desk.makers.of(&id.to_string()).await;
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = format!("{} {}", t("Bericht onder", "Message under"), text(&row, "flow"));
    let recipients: Vec<Vec<Markup>> = row["recipients"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            vec![
                html! { (name(&names, text(one, "to"))) },
                html! { (words::reached(text(one, "reached"), lang)) @if let Some(why) = words::refusal(&one["refusal"], lang) { ": " (why) } },
                when(text(one, "at")),
            ]
        })
        .collect();
    let heads = [t("Ontvanger", "Recipient"), t("Stand", "State"), t("Sinds", "Since")];
    let main = html! {
        h1 { (title) }
        (status(&row, &visit))
        (about(&row, &visit, maker.as_deref()))
        @if !recipients.is_empty() { (layout::table(t("Bij de ontvangers", "At the recipients"), &heads, &recipients)) }
        @if !corrections.is_empty() { (correct::table(&corrections, &names, &visit)) }
        (actions(&row, &visit))
    };
    Ok(layout::shown(&desk.name, &visit, &title, &main))
}

/// What became of a message, in a sentence.
fn status(row: &Value, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let told = match text(row, "state") {
        "held" => t(
            "Wacht op vrijgave door een collega. Tot dan gaat er niets weg.",
            "Waits for release by a colleague. Nothing leaves until then.",
        ),
        "draft" => t(
            "In de wachtrij. De agent verstuurt het zodra dat kan; u hoeft niets te doen.",
            "Queued. The agent sends it as soon as it can; you need not do anything.",
        ),
        "sealed" => t("Verzegeld en onderweg.", "Sealed and on its way."),
        "accepted" => {
            t("Aangenomen door de broker, met ontvangstbewijs.", "Accepted by the broker, with a receipt.")
        }
        "denied" => t(
            "Tegengehouden: het is niet verstuurd en de inhoud is gewist.",
            "Denied: it was not sent and its content is erased.",
        ),
        "expired" => {
            t("Verlopen: het kon niet op tijd worden verstuurd.", "Expired: it could not be sent in time.")
        }
        _ => t("Geweigerd: het is niet bij de ontvanger.", "Refused: it is not at the recipient."),
    };
    html! { p class="notice" role="status" { strong { (told) } @if let Some(why) = words::refusal(&row["refusal"], visit.lang) { " " (why) "." } } }
}

fn about(row: &Value, visit: &Visit, maker: Option<&str>) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let case = text(row, "case");
    let release = &row["release"];
    let outcome = if text(release, "outcome") == "approved" {
        t("vrijgegeven door", "released by")
    } else {
        t("tegengehouden door", "denied by")
    };
    layout::facts(&[
        (t("Stap", "Step"), html! { (text(row, "step")) }),
        (
            t("Zaak", "Case"),
            html! {
                @if case.is_empty() { (t("geen", "none")) }
                @else if visit.person.sees_cases() { a href={ "/cases/" (case) } { (case) } }
                @else { code { (case) } }
            },
        ),
        (
            t("Aangeboden", "Handed over"),
            html! { (when(text(row, "created"))) @if let Some(maker) = maker { " · " (maker) } },
        ),
        (
            t("Vrijgave", "Release"),
            html! {
                @if release.is_null() { (t("geen besluit", "no decision")) }
                @else { (outcome) " " (text(release, "role")) ", " (when(text(release, "at"))) @if !text(release, "reason").is_empty() { ": " (text(release, "reason")) } }
            },
        ),
        (t("Geldig tot", "Valid until"), when(text(row, "expires"))),
        (t("Bericht-id", "Message id"), html! { code { (text(row, "msg_id")) } }),
    ])
}

fn actions(row: &Value, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let (id, state) = (text(row, "msg_id"), text(row, "state"));
    let waits = matches!(state, "draft" | "held");
    let out = matches!(state, "sealed" | "accepted");
    let may = visit.person.pushes(text(row, "flow"));
    html! {
        div class="actions" {
            @if !row["receipt"].is_null() { a class="button" href={ "/sent/" (id) "/receipt" } { (t("Ontvangstbewijs", "Receipt")) } }
            @if may && out {
                a class="button" href={ "/sent/" (id) "/correction" } { (t("Corrigeren", "Correct")) }
                a class="button" href={ "/sent/" (id) "/withdrawal" } { (t("Intrekken", "Withdraw")) }
            }
            @if may && (waits || out) && row["taken_back"].is_null() {
                form method="post" action={ "/sent/" (id) "/take-back" } {
                    (layout::token(visit))
                    button type="submit" class="plain" { (t("Terugnemen van wie het nog niet heeft", "Take back from who does not have it yet")) }
                }
            }
        }
    }
}

/// Takes a message back from who does not have it yet.
pub(super) async fn take_back(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Shown {
    let (id, _) = own(&desk, &visit, &id).await?;
    desk.agent.ask(Request::TakeBack { msg_id: id.to_string(), reason: TAKEN_BACK.to_owned() }).await?;
    Ok(layout::see_other(&format!("/sent/{id}")))
}
