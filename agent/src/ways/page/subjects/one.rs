//! One person: what is known, the duty to tell with its history, and what was exchanged.

use axum::Extension;
use axum::extract::{Path, State};
use maud::{Markup, html};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;
use serde_json::Value;

use super::super::guard::Visit;
use super::super::layout;
use super::super::shape::readable;
use super::super::words::{self, countdown, day, text, when};
use super::super::{Desk, Shown};
use super::{acts, found, known, list};
use crate::commands::register::letter;

pub(in super::super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(person): Path<String>,
) -> Shown {
    let id = known(&desk, &visit, &person).await?;
    let found = found(&desk, id, Timestamp(0), false).await?;
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    // Titles are kept with addresses: they name nobody.
    let title = t("Betrokkene", "Data subject");
    let main = html! {
        h1 { (title) }
        (about(&found["persons"][0], &visit))
        div class="actions" {
            a class="button" href={ "/subjects/" (id) "/letter" } { (t("Brief om te informeren", "Letter that tells")) }
            a class="button" href={ "/subjects/" (id) "/answer" } { (t("Antwoord op een verzoek", "Answer to a request")) }
        }
        (acts::offered(&id.to_string(), &found, visit.lang))
        (history(&found["persons"][0], &visit))
        (exchanged(&found, &visit))
        p { a href="/subjects" { (t("Terug naar de betrokkenen", "Back to the data subjects")) } }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

/// Who it is, and the duty to tell.
pub(super) fn about(person: &Value, visit: &Visit) -> Markup {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let details = person["details"].as_array().into_iter().flatten();
    let details = details.filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?)));
    let due = text(person, "due");
    html! {
        dl class="facts" {
            // What partners call it, in the covenant's language.
            @for (field, value) in details { div { dt lang="nl" { (readable(field)) } dd { (value) } } }
            @if person["readable"] == false {
                div { dt { (t("Wie", "Who")) } dd { strong { (t("deze regel is niet te openen met keys/store.key", "this row does not open with keys/store.key")) } } }
            }
            @let case = text(person, "case");
            @if !case.is_empty() { div { dt { (t("Zaak", "Case")) } dd { @if visit.person.sees_cases() { a href={ "/cases/" (case) } { (case) } } @else { code { (case) } } } } }
            div { dt { (t("Stand", "State")) } dd { (list::state(person, lang)) } }
            @if !due.is_empty() { div { dt { (t("Uiterlijk informeren", "Tell at the latest")) } dd { (countdown(due, clock::now(), lang)) } } }
            div { dt { (t("Eerste bericht", "First message")) } dd { (when(text(person, "first"))) } }
        }
    }
}

/// What was decided about telling.
fn history(person: &Value, visit: &Visit) -> Markup {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let row = |one: &Value| {
        vec![
            when(text(one, "at")),
            html! { (words::duty(text(one, "duty"), lang)) @if !one["until"].is_null() { " " (t("tot", "until")) " " (day(text(one, "until"))) } },
            html! { (text(one, "role")) },
            html! { (text(one, "reason")) },
        ]
    };
    let rows: Vec<_> = person["decisions"].as_array().into_iter().flatten().map(row).collect();
    let heads = [
        t("Wanneer", "When"),
        t("Wat", "What"),
        t("In welke rol", "In which role"),
        t("Hoe of waarom", "How or why"),
    ];
    html! {
        h2 { (t("De informatieplicht", "The duty to tell")) }
        @if rows.is_empty() { p { (t("Er is nog niets over vastgelegd.", "Nothing is kept about it yet.")) } }
        @else { (layout::table(t("Wat is vastgelegd", "What is kept"), &heads, &rows)) }
    }
}

/// What is called so in the covenant.
pub(super) fn called<'v>(value: &'v Value, visit: &Visit) -> &'v str {
    text(value, visit.lang.pick("nl", "en"))
}

/// With whom a message was exchanged, and what became of it there.
pub(super) fn with(message: &Value, visit: &Visit) -> String {
    let each = message["with"].as_array().into_iter().flatten().map(|party| {
        let oin = text(party, "oin");
        let name = party["name"].as_str().unwrap_or(oin);
        match letter::fate(message, oin, visit.lang) {
            Some(fate) => format!("{name} ({fate})"),
            None => name.to_owned(),
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Every message about the person, the last first.
fn exchanged(found: &Value, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let row = |one: &Value| {
        let sent = one["direction"] == "sent";
        let flow = text(&one["flow"], "code");
        let categories = one["categories"].as_array().into_iter().flatten().map(|one| called(one, visit));
        vec![
            when(text(one, "at")),
            html! { (if sent { t("verstrekt aan", "given to") } else { t("ontvangen van", "received from") }) " " (with(one, visit)) },
            html! { (called(&one["type"], visit)) " (" (flow) ")" },
            html! { (categories.collect::<Vec<_>>().join(", ")) },
            html! { (called(&one["purpose"], visit)) },
            html! { (called(&one["basis"], visit)) },
            kept(one, visit),
            proof(one, flow, visit),
        ]
    };
    let rows: Vec<_> = found["messages"].as_array().into_iter().flatten().rev().map(row).collect();
    let heads = [
        t("Wanneer", "When"),
        t("Met wie", "With whom"),
        t("Bericht", "Message"),
        t("Gegevens", "Data"),
        t("Doel", "Purpose"),
        t("Grondslag", "Legal basis"),
        t("Inhoud", "Content"),
        t("Bewijs", "Proof"),
    ];
    html! {
        h2 { (t("Wat is uitgewisseld", "What was exchanged")) }
        p { (t(
            "Van de laatste vier jaar, en langer waar het convenant zijn logboek of de inhoud langer bewaart.",
            "Of the last four years, and longer where the covenant keeps its log or the content longer.",
        )) }
        (layout::table(t("Berichten over deze persoon", "Messages about this person"), &heads, &rows))
    }
}

/// Until when the body is kept here, or that it is gone. What was sent is kept by its recipients alone.
fn kept(message: &Value, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let state = &message["state"];
    html! {
        @if message["direction"] == "sent" { (t("hier niet bewaard", "not kept here")) }
        @else if !state["erased"].is_null() { (t("gewist op", "erased on")) " " (day(text(state, "erased"))) }
        @else if !state["keep_until"].is_null() { (t("bewaard tot", "kept until")) " " (day(text(state, "keep_until"))) }
        @else { (t("bewaard:", "kept:")) " " span lang="nl" { (text(message, "retention")) } }
    }
}

/// Where the proof of a message is, as far as this one may follow its flow.
fn proof(message: &Value, flow: &str, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let id = text(message, "msg_id");
    html! {
        @if message["direction"] == "sent" && visit.person.follows(flow) && !message["state"]["receipt"].is_null() {
            a href={ "/sent/" (id) "/receipt" } { (t("ontvangstbewijs", "receipt")) }
        } @else if message["direction"] == "received" && visit.person.reads(flow) {
            a href={ "/inbox/" (message["position"]) } { (t("het bericht", "the message")) }
        } @else { code { (id) } }
    }
}
