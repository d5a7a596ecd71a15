//! The first page: what waits for this person, and how the agent is doing.

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use seinhuis_shell::clock;
use serde_json::Value;

use super::guard::Visit;
use super::person::May;
use super::words::{text, when};
use super::{Desk, Shown, correct, layout, release};
use crate::commands::present;
use crate::commands::request::{Look, Request};

/// Most messages that are counted as to be processed.
const COUNTED: usize = 500;

/// One thing that waits.
struct Tile {
    href: &'static str,
    count: String,
    label: &'static str,
}

pub(super) async fn show(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let mut tiles = Vec::new();
    if visit.person.ever(|may| matches!(may, May::Read(_))) {
        let person = visit.person.clone();
        let find = move |view: &crate::engine::View<'_>| {
            present::received_back(view, None, COUNTED, true, |row| person.reads(&row.flow))
        };
        let page = desk.agent.query(find).await?;
        let more = if page.more { "+" } else { "" };
        let count = format!("{}{more}", page.items.len());
        tiles.push(Tile {
            href: "/inbox",
            count,
            label: t("ontvangen, nog te verwerken", "received, to be processed"),
        });
    }
    if visit.person.ever(|may| matches!(may, May::Release(_))) {
        let waiting = release::waiting(&desk, &visit).await?;
        tiles.push(Tile {
            href: "/release",
            count: waiting.len().to_string(),
            label: t("wachten op vrijgave", "waiting for release"),
        });
    }
    let followed = correct::followed(&desk, &visit).await?;
    let now = clock::now();
    let open = followed.iter().filter(|row| matches!(text(row, "state"), "open" | "waiting")).count();
    let overdue = followed.iter().filter(|row| correct::is_overdue(row, now)).count();
    if open > 0 {
        tiles.push(Tile {
            href: "/corrections",
            count: open.to_string(),
            label: t("correcties niet bevestigd", "corrections not confirmed"),
        });
    }
    if overdue > 0 {
        tiles.push(Tile {
            href: "/corrections",
            count: overdue.to_string(),
            label: t("daarvan te laat", "of those overdue"),
        });
    }
    tiles.extend(tell(&visit));
    let status = desk.agent.ask(Request::Look(Look::Status)).await?;
    let title = t("Begin", "Start");
    let main = html! {
        h1 { (t("Wat er wacht", "What waits")) }
        (connection(&status, &visit))
        ul class="tiles" {
            @for tile in &tiles { li { a href=(tile.href) { span class="count" { (tile.count) } " " (tile.label) } } }
        }
        @if visit.person.ever(|may| matches!(may, May::Push(_))) {
            p { a class="button" href="/new" { (t("Nieuw bericht", "New message")) } }
        }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

/// Who is to be told that there are data about them.
fn tell(visit: &Visit) -> Vec<Tile> {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let Some(to_tell) = visit.to_tell else { return Vec::new() };
    let open = (to_tell.open, t("betrokkenen nog te informeren", "data subjects still to be told"));
    let late = (to_tell.late, t("daarvan te laat", "of those overdue"));
    let some = [open, late].into_iter().take(if to_tell.late == 0 { 1 } else { 2 });
    some.map(|(count, label)| Tile { href: "/subjects", count: count.to_string(), label }).collect()
}

/// Whether there is a connection, what waits to leave, and what is wrong.
fn connection(status: &Value, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let connected = status["link"]["connected"] == true;
    let queued = ["drafts", "queued", "deferred", "in_flight"];
    let queued: u64 = queued.iter().filter_map(|key| status["outbox"][key].as_u64()).sum();
    let oldest = text(&status["outbox"], "oldest");
    html! {
        div class="notice" {
            p {
                @if connected { (t("Verbonden met de broker sinds ", "Connected to the broker since ")) (when(text(&status["link"], "since"))) "." }
                @else { strong { (t(
                    "Niet verbonden met de broker. Wat u verstuurt wacht op deze machine en gaat vanzelf weg zodra er verbinding is.",
                    "Not connected to the broker. What you send waits on this machine and leaves by itself once there is a connection.",
                )) } }
            }
            @if queued > 0 {
                p { (queued) " " (t("onderweg", "on their way"))
                    @if !oldest.is_empty() { ", " (t("de oudste van ", "the oldest of ")) (when(oldest)) } "." }
            }
            @if status["log"]["forked"] == true {
                p { strong { (t(
                    "ALARM: het uitwisselingslog spreekt zichzelf tegen. Er gaat niets meer weg. Waarschuw de beheerder.",
                    "ALARM: the exchange log contradicts itself. Nothing is sent any more. Warn the administrator.",
                )) } }
            }
        }
    }
}
