//! What every page has: the frame around it, and the pieces it is put together from.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::web::form::Form;

use super::guard::Visit;
use super::person::{May, Person};

/// A part of the page.
type Part = (&'static str, &'static str, &'static str, fn(&Person) -> bool);

/// The part that counts, for who looks after it, what is to be done.
const SUBJECTS: &str = "/subjects";

/// The parts of the page: path, name in Dutch and English, and who has to do with it.
const PARTS: [Part; 8] = [
    ("/", "Begin", "Start", |_| true),
    ("/inbox", "Ontvangen", "Received", |person| person.ever(|may| matches!(may, May::Read(_)))),
    ("/new", "Nieuw bericht", "New message", |person| person.ever(|may| matches!(may, May::Push(_)))),
    ("/sent", "Verstuurd", "Sent", follows),
    ("/release", "Vrijgeven", "Release", |person| person.ever(|may| matches!(may, May::Release(_)))),
    ("/corrections", "Correcties", "Corrections", follows),
    ("/cases", "Zaken", "Cases", Person::sees_cases),
    (SUBJECTS, "Betrokkenen", "Data subjects", |person| person.may(&May::Subjects)),
];

fn follows(person: &Person) -> bool {
    person.ever(|may| matches!(may, May::Read(_) | May::Push(_) | May::Release(_)))
}

/// What is wrong with a field of a form.
#[derive(Debug, Clone)]
pub(super) struct Error {
    /// The id of the element to go to.
    pub(super) id: String,
    /// What is wrong, in the language of the page.
    pub(super) text: String,
}

impl Error {
    pub(super) fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), text: text.into() }
    }
}

/// A page with its frame.
pub(super) fn page(
    organisation: &str,
    visit: Option<&Visit>,
    lang: Lang,
    title: &str,
    main: &Markup,
) -> Response {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let text = html! {
        (DOCTYPE)
        html lang=(t("nl", "en")) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Seinhuis" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                a class="skip" href="#main" { (t("Naar de inhoud", "To the content")) }
                header {
                    p class="brand" { strong { "Seinhuis" } " " span { (organisation) } }
                    @if let Some(visit) = visit { (signed_in(visit, lang)) } @else { (languages(lang)) }
                }
                @if let Some(visit) = visit { (parts(visit, lang)) }
                main id="main" tabindex="-1" { (main) }
                footer { p { (t(
                    "Wat u hier ziet staat op deze machine en is niet voor anderen. Meld u af als u weggaat.",
                    "What you see here is on this machine and not for others. Sign out when you leave.",
                )) } }
            }
        }
    };
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], text.into_string()).into_response()
}

/// A page for somebody who is signed in.
pub(super) fn shown(organisation: &str, visit: &Visit, title: &str, main: &Markup) -> Response {
    page(organisation, Some(visit), visit.lang, title, main)
}

fn signed_in(visit: &Visit, lang: Lang) -> Markup {
    let (other, name) = if lang == Lang::Nl { ("en", "English") } else { ("nl", "Nederlands") };
    html! {
        div class="who" {
            span { (visit.person.name) }
            form method="post" action="/language" {
                (token(visit))
                input type="hidden" name="lang" value=(other);
                input type="hidden" name="back" value=(visit.path);
                button type="submit" class="plain" lang=(other) { (name) }
            }
            form method="post" action="/sign-out" {
                (token(visit))
                button type="submit" class="plain" { (lang.pick("Afmelden", "Sign out")) }
            }
        }
    }
}

fn languages(lang: Lang) -> Markup {
    html! {
        p class="who" {
            @if lang == Lang::Nl { a href="/?lang=en" lang="en" hreflang="en" { "English" } }
            @else { a href="/?lang=nl" lang="nl" hreflang="nl" { "Nederlands" } }
        }
    }
}

fn parts(visit: &Visit, lang: Lang) -> Markup {
    let path = visit.path.split('?').next().unwrap_or_default();
    let current = |of: &str| match path.strip_prefix(of) {
        Some("") => Some("page"),
        Some(rest) if of != "/" && rest.starts_with('/') => Some("true"),
        _ => None,
    };
    html! {
        nav aria-label=(lang.pick("Onderdelen", "Parts")) {
            ul {
                @for (href, nl, en, has) in PARTS {
                    @if has(&visit.person) {
                        li { a href=(href) aria-current=[current(href)] {
                            (lang.pick(nl, en))
                            @if let Some(to_tell) = visit.to_tell.filter(|one| href == SUBJECTS && one.open > 0) {
                                " " span class="badge" { (to_tell.open) span class="away" { " " (lang.pick("nog te informeren", "still to be told")) } }
                            }
                        } }
                    }
                }
            }
        }
    }
}

/// What every form of this session brings back.
pub(super) fn token(visit: &Visit) -> Markup {
    html! { input type="hidden" name="token" value=(visit.token); }
}

/// What was filled in, to be sent as it is or changed: after a look at it all.
pub(super) fn look(visit: &Visit, action: &str, form: &Form, send: &str) -> Markup {
    let rest = form.without("do").without("token");
    html! {
        form method="post" action=(action) class="actions" {
            (token(visit))
            @for (name, value) in rest.all() { input type="hidden" name=(name) value=(value); }
            button type="submit" name="do" value="send" { (send) }
            button type="submit" name="do" value="edit" class="plain" { (visit.lang.pick("Aanpassen", "Change")) }
        }
    }
}

/// The title of a page with a form: that something is wrong comes first.
pub(super) fn title_of(title: &str, errors: &[Error], lang: Lang) -> String {
    if errors.is_empty() { title.to_owned() } else { format!("{}: {title}", lang.pick("Fout", "Error")) }
}

/// All that is wrong with a form, each with a link to its field. It has the focus when the page opens.
pub(super) fn summary(lang: Lang, errors: &[Error]) -> Markup {
    html! {
        @if !errors.is_empty() {
            div class="errors" role="alert" tabindex="-1" autofocus aria-labelledby="errors-title" {
                h2 id="errors-title" { (lang.pick("Dit klopt nog niet", "This is not right yet")) }
                ul { @for error in errors { li { a href={ "#" (error.id) } { (error.text) } } } }
            }
        }
    }
}

/// Names with their values.
pub(super) fn facts(rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl class="facts" {
            @for (name, value) in rows { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// A table that can be scrolled sideways with the keyboard where it does not fit. The first cell of a row heads it.
pub(super) fn table(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div class="scroll" role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (nth, cell) in row.iter().enumerate() {
                                @if nth == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The link to what came before, when there is more.
pub(super) fn earlier(path: &str, before: u64, more: bool, lang: Lang) -> Markup {
    html! {
        @if more {
            p { a href={ (path) "?before=" (before) } { (lang.pick("Eerdere berichten", "Earlier messages")) } }
        }
    }
}

/// The answer to a form that was carried out: the page that shows it.
pub(super) fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path.to_owned())]).into_response()
}

/// Whether a text is a path of this page, and of no other site.
pub(super) fn is_path(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'?' | b'=' | b'&' | b'.')
    };
    text.starts_with('/') && !text.starts_with("//") && text.len() <= 512 && text.bytes().all(plain)
}

/// The id of the element of the field at a JSON pointer.
pub(super) fn id_of(pointer: &str) -> String {
    format!("f{}", pointer.replace('/', "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_no_other_site() {
        for good in ["/", "/inbox?before=50", "/new/00ff/F01/signaal_groepsgedrag?case=6f1c-2d&answers=1"] {
            assert!(is_path(good), "{good}");
        }
        for wrong in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/a\nb",
            "/a:b",
            "/@evil.example",
        ] {
            assert!(!is_path(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_comes_first_and_leads_to_its_field() {
        let errors = [Error::new(id_of("/locatie/wijk"), "Wijk ontbreekt")];
        assert_eq!(title_of("Nieuw", &errors, Lang::Nl), "Fout: Nieuw");
        let shown = summary(Lang::Nl, &errors).into_string();
        assert!(shown.contains("href=\"#f.locatie.wijk\"") && shown.contains("autofocus"), "{shown}");
        assert_eq!(summary(Lang::Nl, &[]).into_string(), "");
    }
}
