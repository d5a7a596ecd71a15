//! Who is to be told that there are data about them, and finding a person.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use seinhuis_shared::ids::CaseId;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;
use seinhuis_shell::web::form::Form;
use serde_json::Value;

use super::super::cases::from;
use super::super::guard::Visit;
use super::super::inbox::ROWS;
use super::super::layout::{self, Error};
use super::super::shape::readable;
use super::super::words::{self, DAY_MS, day, text};
use super::super::{Desk, Shown};
use super::{Field, see, shared, view};
use crate::commands::register::letter;
use crate::commands::request::{Look, Request};

/// Before the name of a field in the form that searches.
const BY: &str = "by.";
/// Most characters of what is searched for; what is longer identifies nobody.
const VALUE_MAX: usize = 200;

/// Whether the list is of everybody.
fn is_all(uri: &Uri) -> bool {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "all" && value == "yes")
}

/// How long there still is to tell a person, in days, or how long it is too late.
fn left(due: &str, now: Timestamp, lang: Lang) -> Markup {
    let Some(due) = Timestamp::parse(due) else { return html! { "–" } };
    let late = now.0.saturating_sub(due.0);
    if late > 0 {
        let days = late.div_ceil(DAY_MS);
        let word = if days == 1 {
            lang.pick("dag te laat", "day overdue")
        } else {
            lang.pick("dagen te laat", "days overdue")
        };
        return html! { strong { (days) " " (word) } };
    }
    let days = due.0.saturating_sub(now.0).div_ceil(DAY_MS);
    html! { (days) " " (if days == 1 { lang.pick("dag", "day") } else { lang.pick("dagen", "days") }) }
}

/// Whether a person was told, or who does that.
pub(super) fn state(row: &Value, lang: Lang) -> String {
    let duty = text(row, "duty");
    let ours = !row["due"].is_null();
    match duty {
        "open" if !ours => format!("{} {}", lang.pick("informeert:", "told by:"), text(row, "informs")),
        "postponed" if ours => {
            let until = text(row, "due");
            let day = until.get(..10).unwrap_or(until);
            format!("{} {day}", lang.pick("uitgesteld tot", "postponed until"))
        }
        _ => words::duty(duty, lang).to_owned(),
    }
}

fn table(caption: &str, rows: &[&Value], lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let now = clock::now();
    let row = |row: &&Value| {
        vec![
            html! { a href={ "/subjects/" (text(row, "person")) } {
                @if row["readable"] == false { (t("niet te openen", "does not open")) } @else { (letter::who(row)) }
            } },
            html! { (state(row, lang)) },
            day(text(row, "due")),
            left(text(row, "due"), now, lang),
            day(text(row, "first")),
            html! { (row["messages"]) },
        ]
    };
    let heads = [
        t("Wie", "Who"),
        t("Stand", "State"),
        t("Uiterlijk", "Due"),
        t("Nog", "Left"),
        t("Eerste bericht", "First message"),
        t("Berichten", "Messages"),
    ];
    layout::table(caption, &heads, &rows.iter().map(row).collect::<Vec<_>>())
}

/// Those who are to be told, overdue first; everybody when that is asked.
pub(in super::super) async fn list(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
) -> Shown {
    see(&visit)?;
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let (all, from) = (is_all(&uri), from(&uri));
    let mut rows = desk.agent.ask(Request::Look(Look::Register { all })).await?;
    shared::elsewhere(&mut rows, &desk.subjects);
    // What is due elsewhere is only with everybody.
    let rows: Vec<&Value> =
        rows.as_array().into_iter().flatten().filter(|row| all || !row["due"].is_null()).collect();
    let shown: Vec<&Value> = rows.iter().skip(from).take(ROWS).copied().collect();
    let next = from.saturating_add(ROWS);
    let title = t("Betrokkenen", "Data subjects");
    let caption = if all {
        t("Iedereen in het register", "Everybody in the register")
    } else {
        t("Nog te informeren", "To be told")
    };
    let main = html! {
        h1 { (title) }
        p { (t(
            "Wie in een bericht over personen wordt genoemd, moet dat binnen een maand horen (AVG artikel 14), en mag vragen wat is uitgewisseld (AVG artikel 15, Wpg artikel 25).",
            "Who is named in a message about persons has to be told so within a month (GDPR article 14), and may ask what was exchanged (GDPR article 15, Police Data Act article 25).",
        )) }
        div class="actions" {
            a class="button" href="/subjects/search" { (t("Zoek een persoon", "Find a person")) }
            @if all { a href="/subjects" { (t("Alleen wie nog te informeren is", "Only who is to be told")) } }
            @else { a href="/subjects?all=yes" { (t("Iedereen in het register", "Everybody in the register")) } }
        }
        @if let Some(late) = visit.to_tell.map(|one| one.late).filter(|late| *late > 0) {
            p class="notice" { strong { (late) " " (t("te laat.", "overdue.")) } }
        }
        @if shown.is_empty() { p { @if all { (t("Er staat niemand in het register.", "Nobody is in the register.")) }
            @else { (t("Er hoeft hier nu niemand te worden geïnformeerd.", "Nobody is to be told here now.")) } } }
        @else { (table(caption, &shown, lang)) }
        @if next < rows.len() {
            p { a href={ "/subjects?" (if all { "all=yes&" } else { "" }) "from=" (next) } { (t("Meer betrokkenen", "More data subjects")) } }
        }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

pub(in super::super) async fn show_search(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
) -> Shown {
    see(&visit)?;
    let fields = desk.agent.query(view::fields).await??;
    Ok(searching(&desk, &visit, &fields, &Form::default(), &[], None))
}

/// The persons of whom all that was filled in fits.
pub(in super::super) async fn search(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
) -> Shown {
    see(&visit)?;
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let names = desk.agent.query(view::fields).await??;
    // The form's own fields and no others: whoever makes up one learns nothing, and it is in no error.
    let filled = |name: &String| {
        let value = form.text(&format!("{BY}{name}")).trim();
        (!value.is_empty()).then(|| (name.clone(), value.chars().take(VALUE_MAX).collect::<String>()))
    };
    let fields: BTreeMap<String, String> = names.iter().filter_map(filled).collect();
    let case = Some(form.text("case").trim().to_owned()).filter(|case| !case.is_empty());
    let mut errors = Vec::new();
    if case.as_ref().is_some_and(|case| case.parse::<CaseId>().is_err()) {
        errors.push(Error::new(
            "case",
            t("Geef het pseudoniem van een zaak.", "Give the pseudonym of a case."),
        ));
    } else if fields.is_empty() && case.is_none() {
        errors.push(Error::new("form", t("Vul in waarop u zoekt.", "Fill in what you search for.")));
    }
    if !errors.is_empty() {
        return Ok(searching(&desk, &visit, &names, &form, &errors, None));
    }
    let mut found = desk.agent.ask(Request::Look(Look::Search { fields, case })).await?;
    shared::elsewhere(&mut found, &desk.subjects);
    Ok(searching(&desk, &visit, &names, &form, &[], Some(&found)))
}

/// The form, with who was found.
fn searching(
    desk: &Desk,
    visit: &Visit,
    names: &BTreeSet<String>,
    form: &Form,
    errors: &[Error],
    found: Option<&Value>,
) -> Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Zoek een persoon", "Find a person");
    let found = found.map(|found| found.as_array().into_iter().flatten().collect::<Vec<_>>());
    let main = html! {
        (layout::summary(lang, errors))
        h1 id="form" tabindex="-1" { (title) }
        @if let Some(found) = &found { (candidates(found, lang)) }
        @if names.is_empty() { p { (t("Er staat niemand in het register.", "Nobody is in the register.")) } }
        @else {
            @if found.is_some() { h2 { (t("Opnieuw zoeken", "Search again")) } }
            p { (t(
                "Alles wat u invult moet kloppen; hoofdletters en spaties doen er niet toe. Wat u invult komt niet in het adres en wordt niet bewaard.",
                "All that you fill in has to fit; capitals and spaces do not matter. What you fill in is not in the address and is not kept.",
            )) }
            form method="post" action="/subjects/search" novalidate {
                (layout::token(visit))
                @for name in names {
                    @let id = format!("{BY}{name}");
                    @let kind = if name.ends_with("datum") { "date" } else { "text" };
                    @let label = html! { span lang="nl" { (readable(name)) } };
                    (Field { id: &id, label, hint: None, errors }.line(kind, Some(VALUE_MAX), form.text(&id)))
                }
                @let hint = t("Het pseudoniem; voor wie alleen met een nummer is genoemd.", "The pseudonym; for who was named by number alone.");
                (Field { id: "case", label: html! { (t("Zaak", "Case")) }, hint: Some(hint), errors }.line("text", Some(36), form.text("case")))
                button type="submit" { (t("Zoeken", "Search")) }
            }
        }
        p { a href="/subjects" { (t("Terug naar de betrokkenen", "Back to the data subjects")) } }
    };
    let mut response = layout::shown(&desk.name, visit, &layout::title_of(title, errors, lang), &main);
    if !errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// Who fits. A person says which of them it is.
fn candidates(found: &[&Value], lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let shown: Vec<&Value> = found.iter().take(ROWS).copied().collect();
    html! {
        div role="status" {
            @if found.is_empty() { p { (t("Niemand in het register past hierbij.", "Nobody in the register fits this.")) } }
            @else {
                p { (t(
                    "Ga zelf na wie het is: twee personen kunnen dezelfde naam hebben.",
                    "Make sure who it is: two people can have one name.",
                )) }
                @if found.len() > shown.len() { p { (found.len()) " " (t("gevonden; zoek nauwkeuriger om de rest te zien.", "found; search more closely to see the rest.")) } }
            }
        }
        @if !shown.is_empty() { (table(t("Gevonden", "Found"), &shown, lang)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn days_are_counted_to_the_last_one_and_beyond_it() {
        let now = Timestamp::parse("2026-03-01T12:00:00Z").unwrap();
        let shown = |due: &str| left(due, now, Lang::En).into_string();
        assert_eq!(shown("2026-03-03T12:00:00Z"), "2 days");
        assert_eq!(shown("2026-03-02T11:00:00Z"), "1 day");
        assert_eq!(shown("2026-03-01T12:00:00Z"), "0 days");
        assert_eq!(shown("2026-03-01T11:00:00Z"), "<strong>1 day overdue</strong>");
        assert_eq!(shown("2026-02-26T11:00:00Z"), "<strong>4 days overdue</strong>");
        assert_eq!(shown(""), "–");
    }

    #[test]
    fn what_is_done_elsewhere_is_told_by_whom() {
        let of = |duty: &str, due: Value| {
            state(&json!({ "duty": duty, "due": due, "informs": "gemeente" }), Lang::Nl)
        };
        assert_eq!(of("open", Value::Null), "informeert: gemeente");
        assert_eq!(of("open", "2026-03-01".into()), "nog te informeren");
        assert_eq!(of("postponed", "2026-03-01T00:00:00Z".into()), "uitgesteld tot 2026-03-01");
        assert_eq!(
            (of("informed", Value::Null), of("exempt", Value::Null)),
            ("geïnformeerd".into(), "uitgezonderd".into())
        );
    }

    #[test]
    fn a_name_is_text_and_the_address_has_the_key_alone() {
        let row = json!({ "person": "00ff", "duty": "open", "due": "2026-03-01T00:00:00Z", "first": "2026-02-01T00:00:00Z",
            "messages": 2, "readable": true, "details": [["naam", "<b>Timo</b>"]] });
        let shown = table("x", &[&row], Lang::Nl).into_string();
        assert!(shown.contains("href=\"/subjects/00ff\"") && shown.contains("&lt;b&gt;Timo"), "{shown}");
        assert_eq!(shown.matches("Timo").count(), 1);
    }
}
