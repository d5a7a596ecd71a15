//! What every page has: the frame around it, and the pieces it is put together from.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};
use seinhuis_monitor::Board;
use seinhuis_shared::refusal::Lang;

use super::Desk;
use super::guard::Visit;

/// A part of the console.
type Part = (&'static str, &'static str, &'static str);

/// The parts of the console: path, and name in Dutch and English.
const PARTS: [Part; 11] = [
    ("/", "Nu", "Now"),
    ("/flows", "Stromen", "Flows"),
    ("/alarms", "Alarmen", "Alarms"),
    ("/queues", "Wachtrijen", "Queues"),
    ("/refusals", "Weigeringen", "Refusals"),
    ("/agents", "Agenten", "Agents"),
    ("/log", "Logboek", "Log"),
    ("/covenants", "Convenant", "Covenant"),
    ("/storage", "Opslag", "Storage"),
    ("/exports", "Exports", "Exports"),
    ("/acts", "Beheer", "Acts"),
];

/// The name of the part at a path.
pub(super) fn title_of(path: &str, lang: Lang) -> &'static str {
    let part = PARTS.iter().find(|(own, ..)| *own == path);
    part.map_or("Seinhuis", |(_, nl, en)| lang.pick(nl, en))
}

/// A page with its frame.
pub(super) fn page(desk: &Desk, visit: Option<&Visit>, lang: Lang, title: &str, main: &Markup) -> Response {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let text = html! {
        (DOCTYPE)
        html lang=(t("nl", "en")) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – " (desk.name) " – Seinhuis" }
                link rel="stylesheet" href="/style.css";
                @if visit.is_some() { script src="/live.js" defer {} }
            }
            body {
                a class="skip" href="#main" { (t("Naar de inhoud", "To the content")) }
                header {
                    p class="brand" {
                        span class="mark" aria-hidden="true" { span {} span {} }
                        strong { "Seinhuis" } " " span class="place" { (desk.name) }
                    }
                    @if let Some(visit) = visit { (signed_in(visit)) } @else { (languages(lang)) }
                }
                @if let Some(visit) = visit { (parts(desk, visit)) }
                main id="main" tabindex="-1" { (main) }
                footer { p { (t(
                    "De broker ziet wie iets stuurt, aan wie en volgens welke afspraak; nooit wat erin staat.",
                    "The broker sees who sends something, to whom and by which agreement; never what is in it.",
                )) } }
            }
        }
    };
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], text.into_string()).into_response()
}

/// A page for somebody who is signed in.
pub(super) fn shown(desk: &Desk, visit: &Visit, title: &str, main: &Markup) -> Response {
    page(desk, Some(visit), visit.lang, title, main)
}

/// A page of which the part that is alive follows what happens.
pub(super) fn live(desk: &Desk, visit: &Visit, title: &str, board: &Board, part: &Markup) -> Response {
    let lang = visit.lang;
    let main = html! {
        div class="head" {
            h1 { (title) }
            div class="pulse" {
                p { (lang.pick("Stand van", "As of")) " " time datetime=(board.now) { (clock(board)) } }
                button type="button" id="pause" class="plain" hidden aria-pressed="false"
                    data-stop=(lang.pick("Bijwerken pauzeren", "Pause updates"))
                    data-go=(lang.pick("Bijwerken hervatten", "Resume updates")) {
                    (lang.pick("Bijwerken pauzeren", "Pause updates"))
                }
            }
        }
        p id="lost" class="notice" role="status" hidden { (lang.pick(
            "De verbinding met de broker is weg. Wat hier staat is van het tijdstip hierboven.",
            "The connection to the broker is gone. What is here is of the time above.",
        )) }
        div id="live" data-live=(visit.path) { (part) }
    };
    shown(desk, visit, title, &main)
}

/// Hours, minutes and seconds of a board, in UTC.
pub(super) fn clock(board: &Board) -> String {
    let text = board.now.to_string();
    let time = text.split('T').nth(1).and_then(|time| time.get(..8)).unwrap_or_default();
    format!("{time} UTC")
}

fn signed_in(visit: &Visit) -> Markup {
    let lang = visit.lang;
    let (other, name) = if lang == Lang::Nl { ("en", "English") } else { ("nl", "Nederlands") };
    let (nl, en) = visit.role.called();
    html! {
        div class="who" {
            span { (visit.name) ", " (lang.pick(nl, en)) }
            form method="post" action="/language" {
                (token(&visit.token))
                input type="hidden" name="lang" value=(other);
                input type="hidden" name="back" value=(visit.path);
                button type="submit" class="plain" lang=(other) { (name) }
            }
            form method="post" action="/sign-out" {
                (token(&visit.token))
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

fn parts(desk: &Desk, visit: &Visit) -> Markup {
    let asked = desk.asked.count(seinhuis_shell::clock::now());
    let path = visit.path.split('?').next().unwrap_or_default();
    let current = |of: &str| match path.strip_prefix(of) {
        Some("") => Some("page"),
        Some(rest) if of != "/" && rest.starts_with('/') => Some("true"),
        _ => None,
    };
    html! {
        nav aria-label=(visit.lang.pick("Onderdelen", "Parts")) {
            ul {
                @for (href, nl, en) in PARTS {
                    li {
                        a href=(href) aria-current=[current(href)] { (visit.lang.pick(nl, en)) }
                        @if href == "/acts" && asked > 0 {
                            " " a class="waits" href="/acts/asked" { (asked) " " (visit.lang.pick("wacht op een tweede", "waits for a second")) }
                        }
                    }
                }
            }
        }
    }
}

/// What every form of this session brings back.
pub(super) fn token(token: &str) -> Markup {
    html! { input type="hidden" name="token" value=(token); }
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

/// How something is: said with a word and a sign, and with a colour besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Good,
    Attention,
    Bad,
}

impl State {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Attention => "attention",
            Self::Bad => "bad",
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Good => "●",
            Self::Attention => "▲",
            Self::Bad => "■",
        }
    }
}

/// A word that says how something is.
pub(super) fn state(state: State, text: &str) -> Markup {
    html! { span class={ "state " (state.class()) } { span aria-hidden="true" { (state.sign()) } " " (text) } }
}

/// One number that leads to what is behind it.
pub(super) fn tile(href: &str, name: &str, value: &str, how: State, said: &str, below: &Markup) -> Markup {
    html! {
        li class={ "tile " (how.class()) } {
            a href=(href) {
                span class="name" { (name) }
                span class="value" { (value) }
                span class="said" { span aria-hidden="true" { (how.sign()) } " " (said) }
            }
            (below)
        }
    }
}

/// A line through values, with what it shows in words for who does not see it.
pub(super) fn sparkline(values: &[u64], said: &str) -> Markup {
    let (width, height) = (240_usize, 36_usize);
    let most = values.iter().copied().max().unwrap_or_default().max(1);
    let last = values.len().saturating_sub(1).max(1);
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let up = usize::try_from(value.saturating_mul(32) / most).unwrap_or_default();
            format!("{},{}", at * width / last, height - 2 - up)
        })
        .collect();
    html! {
        svg class="spark" viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(said) preserveAspectRatio="none" {
            polyline points=(points.join(" ")) {}
        }
    }
}

/// The answer to a form that was carried out: the page that shows it.
pub(super) fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path.to_owned())]).into_response()
}

/// Whether a text is a path of the console, and of no other site.
pub(super) fn is_path(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'-' | b'_' | b'?' | b'=' | b'&' | b'.' | b'%' | b'+')
    };
    text.starts_with('/') && !text.starts_with("//") && text.len() <= 512 && text.bytes().all(plain)
}

/// The value of a field of the query; empty when it is not there.
pub(super) fn asked(uri: &axum::http::Uri, name: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let found = form_urlencoded::parse(query.as_bytes()).find(|(own, _)| own == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_no_other_site() {
        for good in ["/", "/refusals?from=00000099000000001000", "/log/find?kind=refused&to="] {
            assert!(is_path(good), "{good}");
        }
        for wrong in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "/a:b", "/@x"]
        {
            assert!(!is_path(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_sparkline_says_in_words_what_it_shows() {
        let line = sparkline(&[0, 4, 2], "0 tot 4 per minuut").into_string();
        assert!(
            line.contains("aria-label=\"0 tot 4 per minuut\"") && line.contains("0,34 120,2 240,18"),
            "{line}"
        );
        assert!(sparkline(&[], "").into_string().contains("points=\"\""));
    }
}
