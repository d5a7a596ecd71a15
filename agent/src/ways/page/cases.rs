//! Cases with their steps, and this organisation's decisions about them.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::CaseId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::keys;
use seinhuis_shell::web::form::Form;
use serde_json::Value;

use super::flows::{in_force, name, names};
use super::guard::Visit;
use super::inbox::ROWS;
use super::person::May;
use super::trouble::Trouble;
use super::words::{text, when};
use super::{Desk, Shown, layout};
use crate::commands::present;
use crate::commands::request::{ActText, Look, Request};

/// What a decision says, in words.
fn words(act: &Value, visit: &Visit) -> String {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    match serde_json::from_value::<ActText>(act.clone()) {
        Ok(act) => act.words(visit.lang),
        Err(_) => t("een besluit", "a decision").to_owned(),
    }
}

/// Where a case is.
fn state(case: &Value, visit: &Visit) -> String {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    match text(case, "state") {
        "" => t("nog niet vastgelegd", "not logged yet").to_owned(),
        "closed" => t("gesloten", "closed").to_owned(),
        step => format!("{} {step}", t("stap", "step")),
    }
}

fn see(visit: &Visit) -> Result<(), Trouble> {
    if visit.person.sees_cases() { Ok(()) } else { Err(Trouble::not_allowed()) }
}

fn decides(visit: &Visit) -> Result<(), Trouble> {
    if visit.person.may(&May::Decide) { Ok(()) } else { Err(Trouble::not_allowed()) }
}

/// Where in the list to begin.
pub(super) fn from(uri: &Uri) -> usize {
    let mut all = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    all.find(|(name, _)| name == "from").and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>, uri: Uri) -> Shown {
    see(&visit)?;
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let all = desk.agent.ask(Request::Look(Look::Cases)).await?;
    let mut all: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    all.sort_by_key(|case| text(case, "state") == "closed");
    let from = from(&uri);
    let rows: Vec<Vec<Markup>> = all
        .iter()
        .skip(from)
        .take(ROWS)
        .map(|case| {
            let last =
                case["decisions"].as_array().and_then(|all| all.last()).map_or("", |one| text(one, "at"));
            vec![
                html! { a href={ "/cases/" (text(case, "case")) } { (text(case, "case")) } },
                html! { (state(case, &visit)) },
                when(last),
            ]
        })
        .collect();
    let next = from.saturating_add(ROWS);
    let title = t("Zaken", "Cases");
    let heads = [t("Zaak", "Case"), t("Stand", "State"), t("Laatste besluit", "Last decision")];
    let main = html! {
        h1 { (title) }
        @if rows.is_empty() { p { (t("Er zijn hier geen zaken bekend.", "No cases are known here.")) } }
        @else { (layout::table(title, &heads, &rows)) }
        @if next < all.len() { p { a href={ "/cases?from=" (next) } { (t("Meer zaken", "More cases")) } } }
        @if visit.person.may(&May::Decide) {
            form method="post" action="/cases" class="actions" {
                (layout::token(&visit))
                // Drawn with the form, so that a double click opens one.
                input type="hidden" name="case" value=(CaseId(keys::random()));
                button type="submit" { (t("Open een zaak", "Open a case")) }
            }
        }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

/// Begins a case under the pseudonym of the form.
pub(super) async fn open(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
) -> Shown {
    decides(&visit)?;
    let case: CaseId = form.text("case").parse().map_err(|_| Trouble::old_form())?;
    if desk.sessions.first(&visit.cookie, &case.to_string()) {
        let request = Request::Decide { case: case.to_string(), act: ActText::Open, covenant: None };
        desk.agent.ask(request).await?;
    }
    Ok(layout::see_other(&format!("/cases/{case}")))
}

/// How a case stands here; one that nobody told this agent of is not there.
async fn known(desk: &Desk, case: &str) -> Result<(CaseId, Value), Trouble> {
    let case: CaseId = case.parse().map_err(|_| Trouble::nothing())?;
    let value = desk.agent.query(move |view| present::case(view, case)).await?;
    if value["state"].is_null() && value["waiting"].is_null() {
        return Err(Trouble::nothing());
    }
    Ok((case, desk.agent.ask(Request::Look(Look::Case { case: case.to_string() })).await?))
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(case): Path<String>,
) -> Shown {
    see(&visit)?;
    let (case, value) = known(&desk, &case).await?;
    let person = visit.person.clone();
    let find = move |view: &crate::engine::View<'_>| {
        let wanted =
            |row: &seinhuis_agent_core::rows::InboxRow| row.case == Some(case) && person.reads(&row.flow);
        (present::received_back(view, None, ROWS, false, wanted), names(view), in_force(view))
    };
    let (received, names, under) = desk.agent.query(find).await?;
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let title = t("Zaak", "Case");
    let covenant =
        under.iter().map(|one| one.compiled.covenant()).find(|one| one.id == text(&value, "covenant"));
    let main = html! {
        h1 { (title) }
        (layout::facts(&[
            (t("Pseudoniem", "Pseudonym"), html! { code { (case) } }),
            (t("Stand", "State"), html! { (state(&value, &visit)) }),
            (t("Voorwaarden die gelden", "Conditions that hold"), html! { (conditions(&value, &names)) }),
        ]))
        @if !value["waiting"].is_null() {
            p class="notice" { (words(&value["waiting"]["act"], &visit)) ": "
                @if let Some(refusal) = value["waiting"]["refused"].as_u64().and_then(|one| u16::try_from(one).ok()).and_then(Refusal::from_number) {
                    (t("geweigerd. ", "refused. ")) (refusal.what(visit.lang))
                } @else { (t("nog niet vastgelegd", "not logged yet")) }
            }
        }
        (history(&value, &names, &visit))
        @if !received.items.is_empty() {
            h2 { (t("Ontvangen in deze zaak", "Received in this case")) }
            ul { @for row in &received.items {
                li { a href={ "/inbox/" (row["position"]) } { (text(row, "flow")) " · " (super::shape::readable(text(row, "type"))) }
                    " · " (name(&names, text(row, "from"))) }
            } }
        }
        @if visit.person.ever(|may| matches!(may, May::Push(_))) && text(&value, "state") != "closed" {
            p { a class="button" href={ "/new?case=" (case) } { (t("Nieuw bericht in deze zaak", "New message in this case")) } }
        }
        @if visit.person.may(&May::Decide) && text(&value, "state") != "closed" {
            @if let Some(covenant) = covenant { (decisions(&visit, case, covenant)) }
        }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

fn conditions(case: &Value, names: &BTreeMap<String, String>) -> String {
    let one = |stated: &Value| {
        let by = stated["by"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let by = by.map(|oin| name(names, oin).to_owned()).collect::<Vec<_>>().join(", ");
        format!("{} ({by})", text(stated, "code"))
    };
    let all: Vec<String> = case["conditions"].as_array().into_iter().flatten().map(one).collect();
    if all.is_empty() { "–".to_owned() } else { all.join("; ") }
}

/// Every decision, in order.
fn history(case: &Value, names: &BTreeMap<String, String>, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let all = case["decisions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |one: &Value| {
        vec![
            when(text(one, "at")),
            html! { (name(names, text(one, "party"))) },
            html! { (words(&one["act"], visit)) },
        ]
    };
    let heads = [t("Wanneer", "When"), t("Wie", "Who"), t("Besluit", "Decision")];
    html! {
        @if !all.is_empty() {
            (layout::table(t("Besluiten", "Decisions"), &heads, &all.iter().map(row).collect::<Vec<_>>()))
        }
    }
}

/// What can be decided. What is not this organisation's to decide, the covenant refuses.
fn decisions(visit: &Visit, case: CaseId, covenant: &seinhuis_shared::covenant::Covenant) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    html! {
        h2 { (t("Beslissen", "Decide")) }
        form method="post" action={ "/cases/" (case) } {
            (layout::token(visit))
            div class="field" {
                label for="decision" { (t("Besluit", "Decision")) }
                select id="decision" name="decision" required {
                    option value="" { (t("Kies", "Choose")) }
                    @for rule in &covenant.steps {
                        option value={ "step:" (rule.step) } { (t("naar stap ", "to step ")) (rule.step) " · " (visit.lang.pick(rule.nl.as_str(), rule.en.as_str())) }
                    }
                    @for condition in &covenant.conditions {
                        option value={ "holds:" (condition.code) } { (t("stel vast: ", "state: ")) (visit.lang.pick(condition.nl.as_str(), condition.en.as_str())) }
                        option value={ "ends:" (condition.code) } { (t("trek in: ", "take back: ")) (visit.lang.pick(condition.nl.as_str(), condition.en.as_str())) }
                    }
                    option value="close" { (t("sluit de zaak, voorgoed", "close the case, for good")) }
                }
            }
            button type="submit" { (t("Leg het besluit vast", "Record the decision")) }
        }
    }
}

pub(super) async fn decide(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(case): Path<String>,
    Extension(form): Extension<Form>,
) -> Shown {
    decides(&visit)?;
    let (case, _) = known(&desk, &case).await?;
    let decision = form.text("decision");
    let act = match decision.split_once(':') {
        Some(("step", step)) => {
            let step: Step = step.parse().map_err(|_| Trouble::old_form())?;
            ActText::Step(step.to_string())
        }
        Some(("holds", code)) if is_code(code) => ActText::Condition { code: code.to_owned(), holds: true },
        Some(("ends", code)) if is_code(code) => ActText::Condition { code: code.to_owned(), holds: false },
        None if decision == "close" => ActText::Close,
        Some(_) | None => return Err(Trouble::old_form()),
    };
    desk.agent.ask(Request::Decide { case: case.to_string(), act, covenant: None }).await?;
    Ok(layout::see_other(&format!("/cases/{case}")))
}

/// Whether a text looks like the code of a condition.
fn is_code(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}
