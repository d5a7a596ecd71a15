//! Release by a person: what waits, what is in it, and the decision. Who made a message does not decide about it.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use data_encoding::BASE64;
use maud::{Markup, html};
use seinhuis_agent_core::REASON_MAX;
use seinhuis_shared::covenant::Level;
use seinhuis_shell::complaint::{Complaint, Exit};
use seinhuis_shell::web::form::Form;
use serde_json::Value;

use super::flows::{name, names};
use super::guard::Visit;
use super::layout::{self, Error};
use super::shape::readable;
use super::trouble::Trouble;
use super::words::{self, text, when};
use super::{Desk, Shown};
use crate::commands::request::{Look, Request};

/// What waits for release that this person may decide about or made.
pub(super) async fn waiting(desk: &Desk, visit: &Visit) -> Result<Vec<Value>, Trouble> {
    let all = desk.agent.ask(Request::Look(Look::Held)).await?;
    let may = |row: &&Value| visit.person.releases(text(row, "flow"));
    Ok(all.as_array().into_iter().flatten().filter(may).cloned().collect())
}

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let (all, names) = (waiting(&desk, &visit).await?, desk.agent.query(names).await?);
    let mut rows: Vec<Vec<Markup>> = Vec::new();
    for row in &all {
        let maker = desk.makers.of(text(row, "msg_id")).await;
        rows.push(vec![
            html! { a href={ "/release/" (text(row, "msg_id")) } { (text(row, "flow")) " · " (readable(text(row, "type"))) } },
            html! { (to(row, &names)) },
            html! { (text(row, "level")) },
            html! { (maker.as_deref().unwrap_or(t("een systeem of opdracht", "a system or command"))) },
            when(text(row, "since")),
        ]);
    }
    let title = t("Vrijgeven", "Release");
    let heads = [
        t("Bericht", "Message"),
        t("Aan", "To"),
        t("Niveau", "Level"),
        t("Gemaakt door", "Made by"),
        t("Wacht sinds", "Waits since"),
    ];
    let main = html! {
        h1 { (title) }
        p { (t(
            "Wat over personen gaat, gaat pas weg als iemand anders dan de maker het heeft bekeken en vrijgegeven.",
            "What is about persons leaves only when somebody else than its maker has looked at it and released it.",
        )) }
        @if rows.is_empty() { p { (t("Niets wacht op vrijgave.", "Nothing waits for release.")) } }
        @else { (layout::table(title, &heads, &rows)) }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

fn to(row: &Value, names: &std::collections::BTreeMap<String, String>) -> String {
    let all = row["to"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.map(|oin| name(names, oin).to_owned()).collect::<Vec<_>>().join(", ")
}

/// A message that waits, when this person may decide about its flow.
async fn visible(desk: &Desk, visit: &Visit, id: &str) -> Result<Value, Trouble> {
    let all = waiting(desk, visit).await?;
    if !all.iter().any(|row| text(row, "msg_id") == id) {
        return Err(Trouble::nothing());
    }
    Ok(desk.agent.ask(Request::Look(Look::HeldBody { msg_id: id.to_owned() })).await?)
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Shown {
    let row = visible(&desk, &visit, &id).await?;
    shown(&desk, &visit, &row, &Form::default(), &[]).await
}

async fn shown(desk: &Desk, visit: &Visit, row: &Value, form: &Form, errors: &[Error]) -> Shown {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let id = text(row, "msg_id");
    let bytes =
        BASE64.decode(text(row, "body").as_bytes()).map_err(|error| Complaint::bug(error.to_string()))?;
    let body: Value = serde_json::from_slice(&bytes).map_err(|error| Complaint::bug(error.to_string()))?;
    let (names, maker) = (desk.agent.query(names).await?, desk.makers.of(id).await);
    let own = desk.makers.is_own(id, &visit.person.name).await;
    let level = text(row, "level").parse::<Level>().map(|level| level.label(lang)).unwrap_or_default();
    let categories = row["categories"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let categories = categories.map(readable).collect::<Vec<_>>().join(", ");
    let title = t("Vrijgeven of tegenhouden", "Release or deny");
    let main = html! {
        (layout::summary(lang, errors))
        h1 id="form" tabindex="-1" { (title) }
        (layout::facts(&[
            (t("Bericht", "Message"), html! { (text(row, "flow")) " · " span lang="nl" { (readable(text(row, "type"))) } }),
            (t("Aan", "To"), html! { (to(row, &names)) }),
            (t("Niveau", "Level"), html! { (text(row, "level")) " · " (level) }),
            (t("Gegevens", "Data"), html! { span lang="nl" { (categories) } }),
            (t("Stap", "Step"), html! { (text(row, "step")) }),
            (t("Zaak", "Case"), html! { code { (text(row, "case")) } }),
            (t("Gemaakt door", "Made by"), html! { (maker.as_deref().unwrap_or(t("een systeem of opdracht", "a system or command"))) }),
            (t("Wacht sinds", "Waits since"), when(text(row, "since"))),
            (t("Geldig tot", "Valid until"), when(text(row, "expires"))),
        ]))
        h2 { (t("Inhoud", "Content")) }
        (words::body(&body, lang))
        @if own {
            p class="notice" { strong { (t(
                "U maakte dit bericht zelf; iemand anders beslist erover.",
                "You made this message yourself; somebody else decides about it.",
            )) } }
        } @else if desk.makers.is_lost(id).await {
            p class="notice" { strong { (t(
                "Wie dit bericht maakte is niet meer bekend; de beheerder beslist erover met een opdracht.",
                "Who made this message is not known any more; the administrator decides about it by command.",
            )) } }
        } @else {
            @if maker.is_none() {
                p class="notice" { (t(
                    "Dit kwam niet via deze pagina. Beslis er alleen over als u het niet zelf maakte.",
                    "This did not come by this page. Decide about it only if you did not make it yourself.",
                )) }
            }
            (decision(visit, id, form, errors))
        }
    };
    let mut response = layout::shown(&desk.name, visit, &layout::title_of(title, errors, lang), &main);
    if !errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn decision(visit: &Visit, id: &str, form: &Form, errors: &[Error]) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let error = |id: &str| errors.iter().find(|error| error.id == id).map(|error| error.text.clone());
    let (chosen, why) = (error("approve"), error("reason"));
    let described = if why.is_some() { "reason-hint reason-error" } else { "reason-hint" };
    html! {
        h2 { (t("Uw besluit", "Your decision")) }
        form method="post" action={ "/release/" (id) } novalidate {
            (layout::token(visit))
            fieldset aria-describedby=[chosen.as_ref().map(|_| "approve-error")] {
                legend { (t("Mag dit weg?", "May this leave?")) }
                @if let Some(text) = &chosen { p class="error" id="approve-error" { (text) } }
                div class="option" {
                    input type="radio" id="approve" name="decision" value="approve" required checked[form.text("decision") == "approve"];
                    label for="approve" { (t("Ja, geef vrij", "Yes, release it")) }
                }
                div class="option" {
                    input type="radio" id="deny" name="decision" value="deny" required checked[form.text("decision") == "deny"];
                    label for="deny" { (t("Nee, houd tegen: het eindigt en de inhoud wordt gewist", "No, deny it: it ends and its content is erased")) }
                }
            }
            div class="field" {
                label for="reason" { (t("Reden", "Reason")) }
                p class="hint" id="reason-hint" { (t(
                    "Verplicht bij tegenhouden. Blijft hier, met uw naam. Geen persoonsgegevens.",
                    "Required for a denial. Stays here, with your name. No personal data.",
                )) }
                @if let Some(text) = &why { p class="error" id="reason-error" { (text) } }
                input type="text" id="reason" name="reason" maxlength=(REASON_MAX) autocomplete="off" value=(form.text("reason"))
                    aria-describedby=(described) aria-invalid=[why.as_ref().map(|_| "true")];
            }
            button type="submit" { (t("Leg het besluit vast", "Record the decision")) }
        }
    }
}

/// Carries out a person's decision, under this person's name.
pub(super) async fn decide(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    Extension(form): Extension<Form>,
) -> Shown {
    let row = visible(&desk, &visit, &id).await?;
    if desk.makers.is_own(&id, &visit.person.name).await || desk.makers.is_lost(&id).await {
        return Err(Trouble::four_eyes());
    }
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let (decision, reason) = (form.text("decision"), form.text("reason").trim());
    let mut errors = Vec::new();
    if !matches!(decision, "approve" | "deny") {
        errors.push(Error::new("approve", t("Kies of dit weg mag.", "Choose whether this may leave.")));
    }
    if decision == "deny" && reason.is_empty() {
        errors.push(Error::new(
            "reason",
            t("Noem de reden van het tegenhouden.", "Name the reason of the denial."),
        ));
    }
    if !errors.is_empty() {
        return shown(&desk, &visit, &row, &form, &errors).await;
    }
    let request = Request::Release {
        msg_id: id.clone(),
        approve: decision == "approve",
        role: visit.person.name.clone(),
        reason: reason.to_owned(),
    };
    match desk.agent.ask(request).await {
        Ok(_) => Ok(layout::see_other(&format!("/sent/{id}"))),
        Err(complaint) if complaint.exit == Exit::Refused => {
            let what = [&complaint.what, &complaint.advice].map(|text| text.in_lang(visit.lang)).join(" ");
            shown(&desk, &visit, &row, &form, &[Error::new("form", what)]).await
        }
        Err(complaint) => Err(complaint.into()),
    }
}
