//! Drafts to a person: the letter that tells, and the answer to a request with its data; to print, or as a file.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::web::form::Form;
use serde_json::Value;

use super::super::guard::Visit;
use super::super::layout::{self, Error};
use super::super::{Desk, Shown};
use super::one::about;
use super::{Field, day_of, found, known, shared};
use crate::commands::register::letter::{self as text, To};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// That there are data.
    Letter,
    /// What was exchanged.
    Answer,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Letter => "letter",
            Self::Answer => "answer",
        }
    }

    const fn title(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::Letter, Lang::Nl) => "Brief om te informeren",
            (Self::Letter, Lang::En) => "Letter that tells",
            (Self::Answer, Lang::Nl) => "Antwoord op een verzoek",
            (Self::Answer, Lang::En) => "Answer to a request",
        }
    }
}

/// To whom a letter is, by the words of the command.
fn to(form: &Form) -> Option<To> {
    match form.text("to") {
        "person" => Some(To::Person),
        "representatives" => Some(To::Representatives),
        _ => None,
    }
}

pub(in super::super) async fn show_letter(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(person): Path<String>,
) -> Shown {
    show(&desk, &visit, &person, Kind::Letter).await
}

pub(in super::super) async fn show_answer(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(person): Path<String>,
) -> Shown {
    show(&desk, &visit, &person, Kind::Answer).await
}

pub(in super::super) async fn letter(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(person): Path<String>,
    Extension(form): Extension<Form>,
) -> Shown {
    write(&desk, &visit, &person, Kind::Letter, &form).await
}

pub(in super::super) async fn answer(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(person): Path<String>,
    Extension(form): Extension<Form>,
) -> Shown {
    write(&desk, &visit, &person, Kind::Answer, &form).await
}

async fn show(desk: &Desk, visit: &Visit, person: &str, kind: Kind) -> Shown {
    let id = known(desk, visit, person).await?;
    let found = found(desk, id, Timestamp(0), false).await?;
    Ok(form_of(desk, visit, (id, kind), &found, &Form::default(), &[]))
}

/// Writes what a button of the form asks for.
async fn write(desk: &Desk, visit: &Visit, person: &str, kind: Kind, form: &Form) -> Shown {
    let id = known(desk, visit, person).await?;
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let since = form.text("since").trim();
    let from = if since.is_empty() { Some(Timestamp(0)) } else { day_of(since) };
    let found = found(desk, id, from.unwrap_or(Timestamp(0)), kind == Kind::Answer).await?;
    let mut errors = Vec::new();
    if from.is_none() {
        errors.push(Error::new(
            "since",
            t("Kies een dag, of laat het leeg.", "Choose a day, or leave it empty."),
        ));
    }
    // Nobody is told by a slip of the hand what was decided not to be told.
    if shared::is_silent(&found) && form.text("despite") != "yes" {
        errors.push(Error::new(
            "despite",
            t(
                "Over deze persoon is besloten om het vertellen uit te stellen of achterwege te laten. Mag dit toch, vink dat dan aan.",
                "It was decided about this person that telling is postponed or left out. If this may be done all the same, say so.",
            ),
        ));
    }
    if !errors.is_empty() || form.text("do") == "edit" {
        return Ok(form_of(desk, visit, (id, kind), &found, form, &errors));
    }
    if kind == Kind::Answer && form.text("do") == "data" {
        let data = serde_json::to_vec_pretty(&text::data(&found));
        let data = data.map_err(|error| Complaint::bug(error.to_string()))?;
        return Ok(saved("application/json", "data.json", data));
    }
    let letters = match kind {
        Kind::Letter => text::telling(&desk.name, &found, to(form), visit.lang),
        Kind::Answer => vec![text::answer(&desk.name, &found, visit.lang)],
    };
    if form.text("do") == "file" {
        return Ok(saved("text/plain; charset=utf-8", "letter.txt", text::file(&letters).into_bytes()));
    }
    Ok(to_print(desk, visit, (id, kind), form, &letters))
}

/// A file. Its name is the same for everybody: browsers list what they saved.
fn saved(kind: &'static str, name: &'static str, bytes: Vec<u8>) -> Response {
    let name = format!("attachment; filename=\"{name}\"");
    ([(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, name)], bytes).into_response()
}

/// What can be had of it as a file.
fn files(kind: Kind, lang: Lang) -> Markup {
    html! {
        button type="submit" name="do" value="file" class="plain" { (lang.pick("Bewaar de brief als bestand", "Save the letter as a file")) }
        @if kind == Kind::Answer {
            button type="submit" name="do" value="data" class="plain" { (lang.pick("Bewaar de gegevens met bewijzen (JSON)", "Save the data with proofs (JSON)")) }
        }
    }
}

/// The letters as they are printed: the rest of the page is not.
fn to_print(
    desk: &Desk,
    visit: &Visit,
    (id, kind): (Digest, Kind),
    form: &Form,
    letters: &[String],
) -> Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let rest = form.without("do").without("token");
    let main = html! {
        div class="unprinted" {
            h1 { (kind.title(lang)) }
            p { (t(
                "Een concept: lees het na voordat u het verstuurt. Afdrukken doet u met de browser. Wat u afdrukt of bewaart, bewaakt u zelf.",
                "A draft: read it before you send it. Print it with the browser. What you print or save is yours to keep safe.",
            )) }
            form method="post" action=(path(id, kind)) class="actions" {
                (layout::token(visit))
                @for (name, value) in rest.all() { input type="hidden" name=(name) value=(value); }
                (files(kind, lang))
                button type="submit" name="do" value="edit" class="plain" { (t("Aanpassen", "Change")) }
            }
        }
        @for letter in letters { div class="letter" { (letter) } }
        p class="unprinted" { a href={ "/subjects/" (id) } { (t("Terug naar de betrokkene", "Back to the person")) } }
    };
    layout::shown(&desk.name, visit, kind.title(lang), &main)
}

fn path(id: Digest, kind: Kind) -> String {
    format!("/subjects/{id}/{}", kind.word())
}

fn form_of(
    desk: &Desk,
    visit: &Visit,
    (id, kind): (Digest, Kind),
    found: &Value,
    form: &Form,
    errors: &[Error],
) -> Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = kind.title(lang);
    let main = html! {
        (layout::summary(lang, errors))
        h1 id="form" tabindex="-1" { (title) }
        (about(&found["persons"][0], visit))
        @if kind == Kind::Answer {
            p { (t(
                "Staat de betrokkene onder meer regels in het register, bijvoorbeeld met naam en met alleen een nummer, maak dan van elk een antwoord.",
                "If the person is in the register under more than one row, for instance by name and by number alone, make an answer of each.",
            )) }
        }
        form method="post" action=(path(id, kind)) novalidate {
            (layout::token(visit))
            (choices(kind, form, errors, lang))
            @if shared::is_silent(found) { (despite(form, errors, lang)) }
            div class="actions" {
                button type="submit" name="do" value="show" { (t("Toon om na te lezen", "Show to read")) }
                (files(kind, lang))
            }
        }
        p { a href={ "/subjects/" (id) } { (t("Terug naar de betrokkene", "Back to the person")) } }
    };
    let mut response = layout::shown(&desk.name, visit, &layout::title_of(title, errors, lang), &main);
    if !errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// To whom the letter is, or from when on the answer is.
fn choices(kind: Kind, form: &Form, errors: &[Error], lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    match kind {
        Kind::Letter => {
            let hint = t(
                "Jonger dan 16, of van onbekende leeftijd: ook aan de wettelijk vertegenwoordigers, tenzij u anders kiest.",
                "Under 16, or of unknown age: to the legal representatives too, unless you choose otherwise.",
            );
            let all = [
                ("person".to_owned(), t("alleen de betrokkene", "the person alone").to_owned()),
                (
                    "representatives".to_owned(),
                    t("alleen de wettelijk vertegenwoordigers", "the legal representatives alone").to_owned(),
                ),
            ];
            let field =
                Field { id: "to", label: html! { (t("Aan wie", "To whom")) }, hint: Some(hint), errors };
            field.choice(t("zoals bij de leeftijd past", "as fits the age"), &all, form.text("to"), None)
        }
        Kind::Answer => {
            let hint = t("Leeg: alles wat is bewaard.", "Empty: everything that is kept.");
            let field = Field {
                id: "since",
                label: html! { (t("Vanaf welke dag", "From which day on")) },
                hint: Some(hint),
                errors,
            };
            field.line("date", None, form.text("since"))
        }
    }
}

/// That it may be done although it was decided not to tell.
fn despite(form: &Form, errors: &[Error], lang: Lang) -> Markup {
    let error = errors.iter().find(|error| error.id == "despite");
    html! {
        div class="field" {
            @if let Some(error) = error { p class="error" id="despite-error" { (error.text) } }
            div class="option" {
                input type="checkbox" id="despite" name="despite" value="yes" checked[form.text("despite") == "yes"]
                    aria-describedby=[error.map(|_| "despite-error")] aria-invalid=[error.map(|_| "true")];
                label for="despite" { (lang.pick(
                    "Maak dit, hoewel is besloten het vertellen uit te stellen of achterwege te laten",
                    "Make this, although it was decided to postpone telling or leave it out",
                )) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_to_whom_is_chosen_and_else_to_whom_the_age_says() {
        let of = |value: &str| to(&[("to", value)].into_iter().collect::<Form>());
        assert_eq!((of("person"), of("representatives")), (Some(To::Person), Some(To::Representatives)));
        assert_eq!((of(""), of("x")), (None, None));
    }

    #[test]
    fn a_file_is_saved_under_a_name_that_names_nobody() {
        let response = saved("application/json", "data.json", Vec::new());
        let field = |name| response.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(field(CONTENT_DISPOSITION), "attachment; filename=\"data.json\"");
        assert_eq!(field(CONTENT_TYPE), "application/json");
    }
}
